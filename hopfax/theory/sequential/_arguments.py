"""Arguments of the theory of sequences: number of memories, time constant and seed."""

import math
from typing import Any

import jax
import numpy as np

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_count, check_at_least, check_type, in_words, shown
from ..._types import ArrayLike, is_concrete
from ._domain import EDGE_LEAST, domain

_MOST = 10**6  # memories in a cycle


def is_value(value: ArrayLike, special: float) -> bool:
    """Whether `value` is known now to be the number `special`; what is no number, is not."""
    if isinstance(value, str | bytes | list | tuple | np.ma.MaskedArray) or not is_concrete(value):
        return False
    try:
        return np.ndim(value) == 0 and bool(float(value) == special)
    except (TypeError, ValueError, OverflowError):
        return False


def gain_of(activation: HardTanh) -> jax.Array | float:
    return 1.0 if activation.gain is None else activation.gain


def check_activation(activation: Any) -> None:
    """TypeError unless `activation` is one of hopfax."""
    check_type(activation, "activation", AbstractActivation, "an activation, as hopfax.Tanh()")


def check_P(P: int | float) -> int | float:
    """`P` as a Python int, or `math.inf`."""
    if is_value(P, math.inf):
        return math.inf
    try:
        P = as_count(P, "P", 2)
    except (TypeError, ValueError) as error:
        text = f"`P` must be an integer >= 2 or math.inf, but is {shown(P)}."
        raise type(error)(text) from None
    if P > _MOST:
        raise ValueError(
            f"`P` must be at most {_MOST:,}, but is {P}: some sums have a term for each memory, "
            f"{in_words(8 * int(P))} of them, added one by one. Take math.inf, from which so long "
            "a cycle differs by less than rounding for any `kappa` far below P."
        )
    return P


def check_no_bias(bias: ArrayLike) -> None:
    """ValueError for a seed in the singular limit."""
    if not is_value(bias, 0.0):
        raise ValueError("`bias` must be 0 with `tau=math.inf`: there the seed vanishes as well.")


def check_finite_tau(
    P: int | float, tau: jax.Array, bias: jax.Array, kappa: ArrayLike = 0.0
) -> None:
    """ValueError where the theory of finite `tau` does not hold; under a trace the result is NaN
    there."""
    if P == 2:
        raise ValueError(
            "`P` must be >= 3 with finite `tau`: two memories charge each other during a handover, "
            "for which nothing is derived. Simulate (hopfax.refine finds thresholds), or take "
            "tau=math.inf for the limit of separate timescales."
        )
    check_at_least(tau, "tau", 1.0, strict=True)
    hint = "Without a seed no transition takes place at finite `tau`."
    check_at_least(bias, "bias", 0.0, strict=True, hint=hint)
    if sentence := domain(P, tau, bias, kappa):
        raise ValueError(f"{sentence} (See `domain`, of `P`, `tau`, `bias` and `kappa`.)")


def check_edge(edge: jax.Array, kappa: jax.Array) -> None:
    """ValueError where a basin reaches below the saliencies that the search for its edge covers."""
    if not is_concrete(edge):
        return
    below = np.asarray(edge) <= EDGE_LEAST
    if below.any():
        gains = np.broadcast_to(np.asarray(kappa), below.shape)[below]
        raise ValueError(
            f"No prediction is derived for `kappa` = {float(gains[0]):g}: sequences start from "
            f"saliencies below {EDGE_LEAST:g}, where the first memory is no plateau. Simulate "
            "(hopfax.refine finds the edge)."
        )
