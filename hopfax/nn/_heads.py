"""The inputs of a retrieval in its heads: checked, normed and projected."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._errors import as_real, check_option, check_shape
from ._precision import on_last

Heads = Float[Array, "n H _"]


def checked(
    layer: Any, query: Array, memory: Array, values: Array | None, mask: Any
) -> tuple[Float[Array, "Q _"], Bool[Array, "_ _ S"] | None]:
    """The queries, as rows, and the mask with all its axes, (1 or H, 1 or Q, S).

    **Raises:** ValueError naming what has another shape, ValueError or TypeError for no mask.
    """
    S = memory.shape[0] if memory.ndim else 0
    _check(query, "query", (*query.shape[:-1][:1], layer.query_size), "(Q, query_size)")
    _check(memory, "memory", (S, layer.memory_size), "(S, memory_size)")
    read = memory if values is None else values
    _check(read, "values", (S, layer.value_size), "(S, value_size)")
    query = query[None] if query.ndim == 1 else query
    mask = jnp.zeros(0, bool) if isinstance(S, int) and S == 0 and mask is None else mask
    return query, _whole(mask, layer.num_heads, query.shape[0], S)


def _whole(mask: Any, H: int, Q: Any, S: Any) -> Bool[Array, "_ _ S"] | None:
    if mask is None:
        return None
    if isinstance(mask, str):
        check_option(mask, "mask", ("causal",))
        return jnp.tri(Q, S, S - Q, dtype=bool)[None]
    mask = jnp.asarray(as_real(mask, "mask"))
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`mask` must be boolean, True where an item counts, got {mask.dtype}.")
    full = (H, Q, S)
    shape = (1,) * (3 - mask.ndim) + mask.shape
    if (
        mask.ndim not in (1, 2, 3)
        or any(n not in (1, most) for n, most in zip(shape[:2], full, strict=False))
        or shape[2] != S
    ):
        raise ValueError(
            f"`mask` must have shape (S,), (Q, S) or (num_heads, Q, S) with (num_heads, Q, S) "
            f"= {full}, or 1 for num_heads or Q, got {mask.shape}."
        )
    return mask.reshape(shape)


def beta_of(layer: Any, dtype: Any) -> Float[Array, "_ 1"]:
    """The inverse temperature of each head, or of all, beside states in heads."""
    return layer.beta.astype(dtype).reshape(-1, 1)


def states_of(layer: Any, query: Float[Array, "Q _"]) -> Heads:
    """The states before the first step."""
    query = _in_heads(layer, layer.query_norm, layer.query_proj, query)
    return on_last(layer.association_norm, query)


def keys_of(layer: Any, memory: Float[Array, "S _"]) -> Heads:
    """What the states are compared with."""
    keys = _in_heads(layer, layer.memory_norm, layer.memory_proj, memory)
    return on_last(layer.association_norm, keys)


def values_of(layer: Any, values: Float[Array, "S _"]) -> Heads:
    """What is read in the end."""
    return _in_heads(layer, layer.value_norm, layer.value_proj, values)


def _in_heads(layer: Any, norm: Any, projection: Any, x: Float[Array, "n _"]) -> Heads:
    """Features (n, size), normed and projected, in heads: (n, H, size of one head)."""
    x = on_last(projection, on_last(norm, x))
    if projection is None:
        return jnp.broadcast_to(x[:, None], (x.shape[0], layer.num_heads, x.shape[1]))
    return x.reshape(x.shape[0], layer.num_heads, x.shape[1] // layer.num_heads)


def _check(value: Array, name: str, shape: tuple, meaning: str) -> None:
    """ValueError unless the input has this shape, with a hint for batches."""
    hint = "One example at a time; for a batch use jax.vmap." if value.ndim > 2 else ""
    check_shape(value, name, shape, meaning, hint)
