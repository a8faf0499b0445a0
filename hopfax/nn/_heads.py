"""The inputs of a retrieval in its heads: checked, normed and projected."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._errors import as_real, check_option, check_shape
from ._attend import Known
from ._precision import affine, on_last
from ._stored import Stored

Heads = Float[Array, "_ n _"]


def checked(
    layer: Any, query: Array, memory: Array | Stored, values: Array | None, mask: Any
) -> tuple[Float[Array, "Q _"], Bool[Array, "_ _ S"] | None]:
    """The queries, as rows, and the mask with all its axes, (1 or H, 1 or Q, S); None if all items
    count, which "causal" leaves to the scores.

    **Raises:** ValueError naming what has another shape, ValueError or TypeError for no mask.
    """
    _check(query, "query", (*query.shape[:-1][:1], layer.query_size), "(Q, query_size)")
    query = query[None] if query.ndim == 1 else query
    if isinstance(memory, Stored):
        S = memory.room
        if values is not None:
            raise ValueError("`values` must not be given with a `Stored` memory, which has them.")
        for name, size in (("keys", layer.qk_size), ("values", layer.vo_size)):
            shape = (layer.num_kv_heads, S, size)
            check_shape(getattr(memory, name), f"memory.{name}", shape, "that of this layer")
    else:
        S = check_items(layer, memory, values)
    mask = jnp.zeros(0, bool) if isinstance(S, int) and S == 0 and mask is None else mask
    return query, _whole_mask(mask, layer.num_heads, query.shape[0], S)


def check_items(layer: Any, memory: Array, values: Array | None) -> Any:
    """How many items there are, S; ValueError naming what has another shape."""
    S = memory.shape[0] if memory.ndim else 0
    _check(memory, "memory", (S, layer.memory_size), "(S, memory_size)")
    read = memory if values is None else values
    _check(read, "values", (S, layer.value_size), "(S, value_size)")
    return S


def _whole_mask(mask: Any, H: int, Q: Any, S: Any) -> Bool[Array, "_ _ S"] | None:
    """A mask with all its axes, (1 or H, 1 or Q, S); None for None and for "causal"."""
    if mask is None:
        return None
    if isinstance(mask, str):
        check_option(mask, "mask", ("causal",))
        return None
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


def beta_of(layer: Any, dtype: Any) -> Float[Array, "_ 1 1"]:
    """The inverse temperature of each head, or of all, beside states in heads."""
    return layer.beta.astype(dtype).reshape(-1, 1, 1)


def states_of(layer: Any, query: Float[Array, "Q _"], places: Any) -> Heads:
    """The states before the first step, (H, Q, d)."""
    states = _in_heads(layer, layer.query_norm, layer.query_proj, query, layer.num_heads)
    return _placed(layer, states, places)


def keys_of(layer: Any, memory: Float[Array, "S _"], places: Any) -> Heads:
    """What the states are compared with, (K, S, d)."""
    keys = _in_heads(layer, layer.memory_norm, layer.memory_proj, memory, layer.num_kv_heads)
    return narrowed(layer, _placed(layer, keys, places))


def values_of(layer: Any, values: Float[Array, "S _"]) -> Heads:
    """What is read in the end, (K, S, e)."""
    values = _in_heads(layer, layer.value_norm, layer.value_proj, values, layer.num_kv_heads)
    return narrowed(layer, values)


def extra_of(layer: Any, dtype: Any) -> Known | None:
    """The extra items that each query retrieves, or None."""
    K, d, e = layer.num_kv_heads, layer.qk_size, layer.vo_size
    keys, values = [], []
    if layer.bias_item is not None:
        keys.append(layer.bias_item[0].astype(dtype))
        values.append(layer.bias_item[1].astype(dtype))
    if layer.zero_item:
        keys.append(jnp.zeros((K, d), dtype))
        values.append(jnp.zeros((K, e), dtype))
    if not keys:
        return None
    keys, values = (narrowed(layer, jnp.stack(x, 1)) for x in (keys, values))
    return Known(keys, values, None)


def narrowed(layer: Any, x: Array) -> Array:
    """Factors of products in the dtype that the layer computes these in, if it has one."""
    return x if layer.compute_dtype is None else x.astype(layer.compute_dtype)


def _placed(layer: Any, heads: Heads, places: Any) -> Heads:
    heads = on_last(layer.association_norm, heads)
    if layer.positions is None:
        return heads
    return layer.positions.turned(heads.swapaxes(0, 1), places).swapaxes(0, 1)


def _in_heads(layer: Any, norm: Any, projection: Any, x: Float[Array, "n _"], heads: int) -> Heads:
    """Features (n, size), normed and projected, in heads: (heads, n, size of one head). With heads
    in front, products are of matrices as they lie in memory."""
    x = _projected(norm, projection, x, layer.compute_dtype)
    if projection is None:
        return jnp.broadcast_to(x, (heads, *x.shape))
    return x.reshape(x.shape[0], heads, x.shape[1] // heads).swapaxes(0, 1)


def _projected(norm: Any, projection: Any, x: Float[Array, "n _"], compute_dtype: Any) -> Array:
    """Features, normed and projected. Scale and shift of the norm become part of the projection,
    which is smaller than what it is applied to: forward and backward take half the time."""
    if norm is None or projection is None:
        return on_last(projection, on_last(norm, x), compute_dtype)
    x = x - x.mean(-1, keepdims=True)
    x = x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + norm.eps)
    weight, bias = projection.weight, projection.bias
    if norm.bias is not None:
        shift = weight @ norm.bias
        bias = shift if bias is None else bias + shift
    if norm.weight is not None:
        weight = weight * norm.weight[None]
    return affine(weight, bias, x, compute_dtype)


def _check(value: Array, name: str, shape: tuple, meaning: str) -> None:
    """ValueError unless the input has this shape, with a hint for batches."""
    hint = "One example at a time; for a batch use jax.vmap." if value.ndim > 2 else ""
    check_shape(value, name, shape, meaning, hint)
