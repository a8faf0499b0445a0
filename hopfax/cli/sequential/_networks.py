"""Networks of two timescales as the commands' options describe them."""

import math
from typing import Any, Literal, TypeAlias

import hopfax as hx

Activation: TypeAlias = Literal["hard_tanh", "tanh", "erf", "rational", "arctan"]
Readout: TypeAlias = Literal["linear", "abs", "square", "relu"]

ACTIVATIONS: dict[str, Any] = {
    "hard_tanh": hx.HardTanh,
    "tanh": hx.Tanh,
    "erf": hx.Erf,
    "rational": hx.Rational,
    "arctan": hx.Arctan,
}


def activation_of(text: str) -> Any:
    """The activation that a text such as "tanh" or "tanh:4" means.

    **Raises:** ValueError for any other.
    """
    name, colon, gain = text.partition(":")
    try:
        slope = float(gain) if colon else 1.0
    except ValueError:
        slope = math.nan
    if name not in ACTIVATIONS or not 0 < slope < math.inf:
        raise ValueError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}, with a gain if it is not 1 "
            f"(tanh:4), got {text!r}."
        )
    return ACTIVATIONS[name]() if slope == 1.0 else ACTIVATIONS[name](slope)
