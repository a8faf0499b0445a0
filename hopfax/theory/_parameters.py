"""Arguments of the theory: one dtype for all of them, and checks that every family needs."""

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_real, cast, check_not_nan, check_shape
from .._types import ArrayLike, default_float

#: What another function of the theory gives, and NaN where it says that there is none.
_ANSWERS = ("Z", "Z0", "z", "m")


def floats(**values: ArrayLike) -> tuple[jax.Array, ...]:
    """All values as arrays of one dtype: that of the arrays among them, Python numbers follow.

    **Raises:** TypeError for anything but real numbers, ValueError for NaN in a parameter.
    """
    found = {name: as_real(value, name) for name, value in values.items()}
    own = [jnp.result_type(v) for n, v in found.items() if hasattr(values[n], "dtype")]
    kinds = [k for k in own if jnp.issubdtype(k, jnp.floating) and jnp.finfo(k).bits >= 32]
    dtype = np.result_type(*kinds) if kinds else default_float()
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    made = {name: cast(value, name, dtype) for name, value in found.items()}
    for name, value in made.items():
        if name not in _ANSWERS:
            check_not_nan(value, name)
    return tuple(made.values())


def check_scalar(value: jax.Array, name: str) -> None:
    """ValueError unless `value` is a scalar; functions of one point are mapped by `jax.vmap`."""
    check_shape(value, name, (), "()", "Use jax.vmap or hopfax.sweep for many.")
