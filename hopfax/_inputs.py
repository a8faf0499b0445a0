"""Inputs that change in time, as `diffrax.AbstractPath`s."""

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._errors import as_float, check_finite
from ._types import ArrayLike, is_concrete


class Pulses(diffrax.AbstractPath):
    """A train of constant inputs: `values[k]` from `edges[k]` to `edges[k + 1]`.

    `simulate` steps exactly onto the edges.

    **Arguments:** `edges`: (K + 1,) increasing times. `values`: (K, N), one input vector a row.

    **Raises:** ValueError for wrong shapes, unordered edges or values that are not finite.
    """

    edges: Float[Array, " K+1"]
    values: Float[Array, "K N"]

    def __init__(self, edges: ArrayLike, values: ArrayLike):
        self.values = as_float(values, "values")
        self.edges = as_float(edges, "edges", self.values.dtype)
        if self.values.ndim != 2 or self.values.shape[0] < 1:
            raise ValueError(f"`values` must have shape (K, N), got {self.values.shape}.")
        if self.edges.shape != (len(self.values) + 1,):
            raise ValueError(
                f"`edges` must have shape (K + 1,) = ({len(self.values) + 1},), "
                f"got {self.edges.shape}."
            )
        check_finite(self.edges, "edges")
        check_finite(self.values, "values")
        if is_concrete(self.edges) and not bool((jnp.diff(self.edges) > 0).all()):
            raise ValueError("`edges` must increase.")

    @property
    def t0(self):
        """Start of the first pulse."""
        return self.edges[0]

    @property
    def t1(self):
        """End of the last pulse."""
        return self.edges[-1]

    def evaluate(self, t0, t1=None, left=True):
        """The input at `t0`; with `t1`, its increment from `t0` to `t1`."""
        if t1 is not None:
            return self.evaluate(t1, left=left) - self.evaluate(t0, left=left)
        side = "left" if left else "right"
        index = jnp.searchsorted(self.edges, t0, side=side) - 1
        return self.values[jnp.clip(index, 0, len(self.values) - 1)]
