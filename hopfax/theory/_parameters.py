"""Arguments of the theory: one dtype, and checks with a reason."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_float, check_at_least
from .._types import default_float, is_concrete


def floats(**values):
    """All values as arrays of one dtype: that of the arrays among them, Python numbers follow."""
    kinds = [jnp.result_type(v) for v in values.values() if hasattr(v, "dtype")]
    kinds = [k for k in kinds if jnp.issubdtype(k, jnp.floating) and jnp.finfo(k).bits >= 32]
    dtype = np.result_type(*kinds) if kinds else default_float()
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return tuple(as_float(value, name, dtype) for name, value in values.items())


def is_value(value, special):
    """Whether `value` is known now to be the number `special`."""
    return is_concrete(value) and np.ndim(value) == 0 and float(value) == special


def gain_of(activation):
    return 1.0 if activation.gain is None else activation.gain


def check_P(P):
    if P == math.inf:
        return math.inf
    if isinstance(P, bool) or not isinstance(P, int | np.integer):
        raise TypeError(f"`P` must be an integer >= 2 or math.inf, but is {P!r}.")
    if P < 2:
        raise ValueError(f"`P` must be an integer >= 2 or math.inf, but is {P}.")
    return int(P)


def check_no_bias(bias):
    if not is_value(bias, 0.0):
        raise ValueError("`bias` must be 0 with `tau=math.inf`: there the seed vanishes as well.")


def check_finite_tau(P, tau, bias):
    if P == 2:
        raise ValueError("`P` must be >= 3 with finite `tau`: two memories alternate as mixtures.")
    check_at_least(tau, "tau", 1.0, strict=True)
    hint = "Without a seed no transition takes place at finite `tau`."
    check_at_least(bias, "bias", 0.0, strict=True, hint=hint)
