"""Inputs that change in time: paths of diffrax."""

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._errors import as_float, check_finite
from ._types import ArrayLike, is_concrete


class Pulses(diffrax.AbstractPath):
    """Constant inputs one after the other: `values[k]` from `edges[k]` to `edges[k + 1]`.

    `simulate` steps exactly onto the edges, so that no step covers a jump.

    **Arguments:** `edges`: (K + 1,) increasing times. `values`: (K, N), one input vector a row.

    **Raises:** ValueError for wrong shapes, unordered edges or values that are not finite.

    **Example:**

    ```python
    pulses = hx.Pulses(edges=[0.0, 1.0, 3.0], values=[[1.0, -1.0], [0.0, 0.0]])
    pulses.evaluate(0.5)  # 1, -1
    pulses.evaluate(2.0)  # 0, 0
    ```
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
                f"`edges` must have shape (K + 1,) = ({len(self.values) + 1},) for K `values`, "
                f"got {self.edges.shape}."
            )
        check_finite(self.edges, "edges")
        check_finite(self.values, "values")
        if (
            is_concrete(self.edges)
            and not (np.asarray(self.edges)[1:] > np.asarray(self.edges)[:-1]).all()
        ):
            raise ValueError("`edges` must increase.")

    @property
    def t0(self) -> Float[Array, ""]:
        """The time at which the first pulse begins."""
        return self.edges[0]

    @property
    def t1(self) -> Float[Array, ""]:
        """The time at which the last pulse ends."""
        return self.edges[-1]

    def evaluate(self, t0, t1=None, left=True):
        """The input at time `t0`, or with `t1` the difference of the inputs at `t1` and `t0`. At an
        edge the pulse before it counts if `left`, else the one after it."""
        if t1 is not None:
            return self.evaluate(t1, left=left) - self.evaluate(t0, left=left)
        side = "left" if left else "right"
        index = jnp.searchsorted(self.edges, t0, side=side) - 1
        return self.values[jnp.clip(index, 0, len(self.values) - 1)]
