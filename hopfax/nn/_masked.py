"""Steps of a sequence that do not count, as padding, taken out and put back."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._errors import as_real, check_shape


class Order(NamedTuple):
    """The steps that count before the others, each kind in its order."""

    mask: Bool[Array, " T"]
    steps: Int[Array, " T"]
    count: Int[Array, ""]

    def taken(self, xs: Array) -> Array:
        """Entries in this order, zeros for those that do not count: 0 times NaN would be NaN."""
        return only(self.mask, xs)[self.steps]

    def put(self, ys: Array) -> Array:
        """Entries back at their places, zeros for those that do not count."""
        return only(self.mask, jnp.zeros_like(ys).at[self.steps].set(ys))


def counted_first(mask: Any, T: Any) -> Order:
    """The order in which the steps that count come first; ValueError/TypeError for no mask."""
    mask = as_mask(mask, T)
    return Order(mask, jnp.argsort(~mask, stable=True), mask.sum())


def as_mask(mask: Any, T: Any, what: str = "a step counts") -> Bool[Array, " T"]:
    """A mask of T steps; ValueError or TypeError for anything else."""
    mask = jnp.asarray(as_real(mask, "mask"))
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`mask` must be boolean, True where {what}, got {mask.dtype}.")
    check_shape(mask, "mask", (T,), "(T,)", "One sequence at a time; for a batch use jax.vmap.")
    return mask


def only(mask: Bool[Array, " T"], xs: Array) -> Array:
    """The entries that count, and zeros in place of the others."""
    return jnp.where(mask.reshape(-1, *(1,) * (xs.ndim - 1)), xs, jnp.zeros((), xs.dtype))
