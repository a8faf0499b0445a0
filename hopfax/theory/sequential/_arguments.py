"""Arguments of the theory of sequences: number of memories, time constant and seed."""

import math

import jax
import numpy as np

from ..._activations import HardTanh
from ..._errors import check_at_least, in_words
from ..._types import ArrayLike, is_concrete
from ._domain import domain

_MOST = 10**6  # memories in a cycle


def is_value(value: ArrayLike, special: float) -> bool:
    """Whether `value` is known now to be the number `special`."""
    return is_concrete(value) and np.ndim(value) == 0 and float(value) == special


def gain_of(activation: HardTanh) -> jax.Array | float:
    return 1.0 if activation.gain is None else activation.gain


def check_P(P: int | float) -> int | float:
    """`P` as a Python int, or `math.inf`."""
    if P == math.inf:
        return math.inf
    if isinstance(P, bool) or not isinstance(P, int | np.integer):
        raise TypeError(f"`P` must be an integer >= 2 or math.inf, but is {P!r}.")
    if P < 2:
        raise ValueError(f"`P` must be an integer >= 2 or math.inf, but is {P}.")
    if P > _MOST:
        raise ValueError(
            f"`P` must be at most {_MOST:,}, but is {P}: some sums have a term for each memory, "
            f"{in_words(8 * int(P))} of them, added one by one. Take math.inf, from which so long "
            "a cycle differs by less than rounding for any `kappa` far below P."
        )
    return int(P)


def check_no_bias(bias: ArrayLike) -> None:
    """ValueError for a seed in the singular limit."""
    if not is_value(bias, 0.0):
        raise ValueError("`bias` must be 0 with `tau=math.inf`: there the seed vanishes as well.")


def check_finite_tau(P: int | float, tau: jax.Array, bias: jax.Array) -> None:
    """ValueError where the theory of finite `tau` does not hold; under a trace the result is NaN
    there."""
    if P == 2:
        raise ValueError("`P` must be >= 3 with finite `tau`: two memories alternate as mixtures.")
    check_at_least(tau, "tau", 1.0, strict=True)
    hint = "Without a seed no transition takes place at finite `tau`."
    check_at_least(bias, "bias", 0.0, strict=True, hint=hint)
    if sentence := domain(P, tau, bias):
        raise ValueError(sentence)
