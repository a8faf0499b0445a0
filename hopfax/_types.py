"""Names for the types that run through the library (P patterns, N neurons, T times)."""

from typing import TYPE_CHECKING, Any, TypeAlias

import diffrax
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from xarray import Dataset as Dataset
else:  # xarray is an optional package, so nothing is checked at run time
    #: What a sweep returns and a store holds: an `xarray.Dataset`.
    Dataset: TypeAlias = Any

#: A JAX array or tracer, a NumPy array, a Python number, or nested lists of these.
ArrayLike: TypeAlias = Any
#: One number for each of P patterns.
PerPattern = Float[Array, " P"]
#: One number for each of N neurons.
PerNeuron = Float[Array, " N"]
#: What `network.init` returns: a pytree of arrays, whose fields differ from network to network.
State: TypeAlias = Any
#: An input to the neurons: constant, an array (N,); changing in time, a diffrax path; or none.
Input: TypeAlias = ArrayLike | diffrax.AbstractPath | None
#: A hopfax network of any family, which alone knows the names of its parameters.
Network: TypeAlias = Any


def is_concrete(x: Any) -> bool:
    """Whether the value of `x` can be looked at now (it is no tracer)."""
    return not isinstance(x, Tracer)


def default_float() -> np.dtype:
    """The float that JAX gives to `1.0`: float64 with `jax_enable_x64`, else float32."""
    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64))
