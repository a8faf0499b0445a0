"""Numbers that a layer holds and that are not learned."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt

from .._types import ArrayLike
from ._precision import arrived

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Frozen(eqx.Module):
    r"""An array that is part of a layer and is not learned.

    It is kept as the bits of its numbers, which are integers: no derivative reaches them, and
    neither `equinox.filter(layer, equinox.is_inexact_array)` nor `to_functional` nor Flax counts
    them as parameters, so that weight decay does not move them.

    **Arguments:** `value`: any array of real numbers.

    **Raises:** TypeError/ValueError for anything else.

    **Example:**

    ```python
    table = hx.nn.Frozen(jnp.array([0.5, 2.0]))
    table.value  # 0.5, 2.0
    ```
    """

    bits: UInt[Array, "..."]
    dtype: str = eqx.field(static=True)

    def __init__(self, value: ArrayLike):
        value = arrived(value, "value")
        self.dtype = jnp.dtype(value.dtype).name
        self.bits = lax.bitcast_convert_type(value, _WORDS[value.dtype.itemsize])

    @property
    def value(self) -> Float[Array, "..."]:
        """The numbers."""
        return lax.bitcast_convert_type(self.bits, jnp.dtype(self.dtype))


def held(value: Any) -> Any:
    """The numbers of an array that may be frozen; None for None."""
    return value.value if isinstance(value, Frozen) else value
