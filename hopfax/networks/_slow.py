"""What the two networks of two timescales share: the slow equation of their saliencies."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import as_count, check_memory
from .._types import PerPattern, default_float

Readout: TypeAlias = Literal["linear", "abs", "square", "relu"]
READOUTS = {"linear": lambda m: m, "abs": jnp.abs, "square": jnp.square, "relu": jax.nn.relu}


def cyclic(P: int) -> Float[Array, "P P"]:
    """The transition matrix of the cycle 0 -> 1 -> ... -> P-1 -> 0: entry [mu + 1, mu] is 1.

    **Example:**

    ```python
    hx.cyclic(3)  # memory 0 calls 1: rows 001, 100, 010
    ```
    """
    P = as_count(P, "P")
    check_memory("P", 2 * default_float().itemsize * P * P, f"a matrix of {P:,} x {P:,}")
    return jax.device_put(np.roll(np.eye(P, dtype=default_float()), 1, axis=0))


def saliency_rate(
    overlaps: PerPattern,
    saliency: PerPattern,
    transition: Float[Array, "P P"],
    kappa: Float[Array, "*#P"],
    tau: Float[Array, "*#P"],
    readout: Readout,
) -> PerPattern:
    r"""The slow equation, $\dot z = (-z + \kappa A f(m)) / \tau$."""
    return (kappa * (transition @ READOUTS[readout](overlaps)) - saliency) / tau
