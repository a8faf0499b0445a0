"""Arguments of the theory: one dtype for all of them, and checks that every family needs."""

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_float, check_shape
from .._types import ArrayLike, default_float


def floats(**values: ArrayLike) -> tuple[jax.Array, ...]:
    """All values as arrays of one dtype: that of the arrays among them, Python numbers follow."""
    kinds = [jnp.result_type(v) for v in values.values() if hasattr(v, "dtype")]
    kinds = [k for k in kinds if jnp.issubdtype(k, jnp.floating) and jnp.finfo(k).bits >= 32]
    dtype = np.result_type(*kinds) if kinds else default_float()
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return tuple(as_float(value, name, dtype) for name, value in values.items())


def check_scalar(value: jax.Array, name: str) -> None:
    """ValueError unless `value` is a scalar; functions of one point are mapped by `jax.vmap`."""
    check_shape(value, name, (), "()", "Use jax.vmap or hopfax.sweep for many.")
