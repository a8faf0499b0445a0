"""Batches: some rows of the data, drawn anew at every step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int

from .._types import ArrayLike


def first(data: Any, size: int) -> Any:
    """The first `size` rows of every array of the data.

    **Raises:** ValueError naming `batch_size` if there are less, or if the arrays differ in length.
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in _arrays(data)}
    if len(lengths) != 1 or lengths == {()} or not 1 <= size <= next(iter(lengths))[0]:
        raise ValueError(
            "`batch_size` must lie between 1 and the length of `data`'s leading axis, got "
            f"{size} and axes {sorted(lengths)}."
        )
    return _rows(data, jnp.arange(size, dtype=jnp.int32))


def drawn(data: Any, size: int | None, key: Array, step: ArrayLike) -> Any:
    """The rows for one step, without replacement; all the data if `size` is None."""
    if size is None:
        return data
    count = _arrays(data)[0].shape[0]
    chosen = jr.choice(jr.fold_in(jr.fold_in(key, 2), step), count, (size,), replace=False)
    return _rows(data, chosen)


def _arrays(data: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(data) if eqx.is_array_like(leaf)]


def _rows(data: Any, chosen: Int[Array, " size"]) -> Any:
    return jax.tree.map(lambda leaf: leaf[chosen] if eqx.is_array_like(leaf) else leaf, data)
