"""Observables by name, for the points of a sweep."""

import difflib
from collections.abc import Callable, Sequence

import equinox as eqx
from jaxtyping import Array

from .._errors import shown
from .._trajectory import Trajectory
from ._sequence import dwell_times, summary, switch_times, visited


def _ends(trajectory: Trajectory) -> Array:
    return trajectory.overlaps[-1]


def _saliency(trajectory: Trajectory, name: str = "saliency") -> Array:
    if trajectory.saliency is None:
        raise ValueError(f"{name!r} needs a network whose saliency is part of the dynamics.")
    return trajectory.saliency


_SUMMARY = ("regime", "switches", "dwell", "overlap")
_FUNCTIONS: dict[str, Callable[[Trajectory], Array]] = {
    "switch_times": switch_times,
    "dwell_times": dwell_times,
    "visited": visited,
    "overlaps_end": _ends,
    "saliency_end": lambda trajectory: _saliency(trajectory, "saliency_end")[-1],
    "overlaps": lambda trajectory: trajectory.overlaps,
    "saliency": _saliency,
}

#: The names of all observables that can be asked for by name.
NAMES = (*_SUMMARY, *_FUNCTIONS)


class Selected(eqx.Module):
    """Observables chosen by name: a function from a trajectory to a dict of them.

    From `summary`: "regime", "switches", "dwell", "overlap". Padded to a fixed length:
    "switch_times", "dwell_times", "visited". (P,) at the last save: "overlaps_end",
    "saliency_end". (T, P) at all saves: "overlaps", "saliency".

    **Arguments:** `names`: one name, or several.

    **Raises:** ValueError for an unknown name, with the nearest known ones.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    chosen = hx.observables.Selected(["switches", "overlaps_end"])
    chosen(run)  # switches: 3; overlaps_end: 0, 0, 0, 1
    ```
    """

    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, names: str | Sequence[str]):
        several = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        if not isinstance(names, str) and not (several and names):
            raise TypeError(
                "`observe` must be a function of a trajectory, or `names` of observables such as "
                f"'switches', got {shown(names)}."
            )
        self.names = (names,) if isinstance(names, str) else tuple(names)
        for name in self.names:
            if name not in NAMES:
                near = difflib.get_close_matches(str(name), NAMES, n=3, cutoff=0.4) or NAMES
                listed = ", ".join(map(repr, near))
                raise ValueError(
                    f"`observe`, `names`: there is no observable {name!r}; is it {listed}?"
                )

    def __call__(self, trajectory: Trajectory) -> dict[str, Array]:
        """The observables of a trajectory by name; ValueError if it has no such thing."""
        # A summary is made only where it is asked for: it needs a log of switches.
        whole = summary(trajectory) if set(self.names) & set(_SUMMARY) else {}
        return {
            name: whole[name] if name in whole else _FUNCTIONS[name](trajectory)
            for name in self.names
        }
