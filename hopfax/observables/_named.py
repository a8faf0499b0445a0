"""Observables by name, for the points of a sweep."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array

from .._trajectory import Trajectory
from ._sequence import dwell_times, summary, switch_times, visited


def _ends(trajectory: Trajectory) -> Array:
    return trajectory.overlaps[-1]


def _last_saliency(trajectory: Trajectory) -> Array:
    if trajectory.saliency is None:
        raise ValueError("'saliency_end' needs a network whose saliency is part of the dynamics.")
    return trajectory.saliency[-1]


_SUMMARY = ("regime", "switches", "dwell", "overlap")
_FUNCTIONS: dict[str, Callable[[Trajectory], Array]] = {
    "switch_times": switch_times,
    "dwell_times": dwell_times,
    "visited": visited,
    "overlaps_end": _ends,
    "saliency_end": _last_saliency,
    "overlaps": lambda trajectory: trajectory.overlaps,
    "saliency": lambda trajectory: trajectory.saliency,  # type: ignore[return-value]
}

#: What can be asked for by name.
NAMES = (*_SUMMARY, *_FUNCTIONS)


class Selected(eqx.Module):
    """The named observables of a trajectory, as a dict.

    Of `summary`: "regime", "switches", "dwell", "overlap". Padded to a fixed length:
    "switch_times", "dwell_times", "visited". (P,) at the last save: "overlaps_end",
    "saliency_end". (T, P) at all: "overlaps", "saliency".

    **Raises:** ValueError with the nearest names for an unknown one.
    """

    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, names: str | Sequence[str]):
        self.names = (names,) if isinstance(names, str) else tuple(names)
        for name in self.names:
            if name not in NAMES:
                near = difflib.get_close_matches(str(name), NAMES, n=3, cutoff=0.4) or NAMES
                listed = ", ".join(map(repr, near))
                raise ValueError(f"`observe`: there is no observable {name!r}; is it {listed}?")

    def __call__(self, trajectory: Trajectory) -> dict[str, Any]:
        """Their values."""
        whole = summary(trajectory)
        return {
            name: whole[name] if name in whole else _FUNCTIONS[name](trajectory)
            for name in self.names
        }
