"""Aliases for the shapes that run through the library (P patterns, N neurons, T times)."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

#: A JAX array or tracer, a NumPy array, or a Python number.
ArrayLike = Any
PerPattern = Float[Array, " P"]
PerNeuron = Float[Array, " N"]


def is_concrete(x: Any) -> bool:
    """Whether the value of `x` can be looked at now (it is no tracer)."""
    return not isinstance(x, Tracer)


def default_float() -> np.dtype:
    """The float that JAX gives to `1.0`: float64 with `jax_enable_x64`, else float32."""
    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64))
