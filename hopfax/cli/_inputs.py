"""Starts and inputs of runs as the commands are given them, by coefficients in the memories."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ._axes import numbers_of


def coefficients(
    given: Sequence[float], name: str, P: int, axes: Iterable[str] = ()
) -> dict[str, Any] | None:
    """An input by its coefficients in the first memories; None for none.

    `axes`: of a sweep; if they have coefficients of this input, the others are 0.

    **Raises:** ValueError naming the option.
    """
    if not given and not any(axis.startswith(f"{name}.weights") for axis in axes):
        return None
    if len(given) > P:
        raise ValueError(f"`{name}` has {len(given)} coefficients, but there are {P} memories.")
    if not np.isfinite(given).all():
        raise ValueError(f"`{name}` must be finite, got {list(given)}.")
    return {"weights": np.pad(np.asarray(given, float), (0, P - len(given)))}


def start_of(init: Sequence[Sequence[str]], usual: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `network.init` as --init has them, or else the usual ones."""
    return {name: numbers_of("init", name, rest) for name, *rest in init} if init else usual


def input_of(network: Any, given: Sequence[float], name: str) -> Any:
    """An input (N,) of a single run, None for none. **Raises:** as `coefficients`."""
    found = coefficients(given, name, network.patterns.P)
    return None if found is None else network.patterns.field(found["weights"])
