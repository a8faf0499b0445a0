"""What a view asks for and what it shows, apart from any widgets."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import _status
from ._memories import Memories

#: Looks of what the theory predicts, and of what is there to compare with; numbers from 0 on are
#: those of memories.
THEORY, PLAIN = -1, -2


class Knob(NamedTuple):
    """A number that is set by a slider."""

    name: str
    title: str
    low: float
    high: float
    step: float
    value: float


class Choice(NamedTuple):
    """One of several words."""

    name: str
    title: str
    options: tuple[str, ...]


class Line(NamedTuple):
    """A curve; `look` is the number of its memory, `THEORY` or `PLAIN`."""

    x: np.ndarray
    y: np.ndarray
    look: int


class Dot(NamedTuple):
    """A point; `filled` where it was measured, or is stable."""

    x: float
    y: float
    look: int
    filled: bool = True


class Panel(NamedTuple):
    """A diagram. `timed`: its x axis is that of the run, on which the chosen moment is marked."""

    title: str
    xlabel: str
    ylabel: str
    lines: tuple[Line, ...]
    xs: tuple[float, float]
    ys: tuple[float, float]
    dots: tuple[Dot, ...] = ()
    timed: bool = False


class Row(NamedTuple):
    """A quantity as the theory predicts it and as it was measured; NaN or "" where there is none,
    None for what takes longer and is not computed yet."""

    quantity: str
    predicted: float | None
    measured: float | str


class Frames(NamedTuple):
    """What the neurons did: `values` (T, C) of classes of equal ones, and the class and the sign of
    every neuron. `top`: the value that is shown as white, -`top` as black; of rates `low` is black.
    `signs`: only the sign is shown."""

    values: np.ndarray
    index: np.ndarray
    sign: np.ndarray
    low: float = -1.0
    top: float = 1.0
    signs: bool = True

    def at(self, k: int) -> np.ndarray:
        """The neurons at save `k`, (N,), from -1 for black to 1 for white."""
        found = self.sign * self.values[k, self.index]
        if self.signs:
            return np.sign(found)
        return 2 * (found - self.low) / (self.top - self.low) - 1


class Shown(NamedTuple):
    """All that a view shows of one run. `unit`: in which `times` are told; `overlaps` (T, K) of the
    first memories; `outcome` and `notes` are sentences, and `status` is one of `hopfax.STATUS`."""

    panels: tuple[Panel, ...]
    rows: tuple[Row, ...]
    outcome: str
    notes: tuple[str, ...]
    times: np.ndarray
    unit: str
    overlaps: np.ndarray
    frames: Frames
    status: int = 0


class View(NamedTuple):
    """A kind of network: what it is, what it asks for, and what computes it from the memories and
    the settings. `counts`: the numbers of memories that it offers. With False as its third
    argument, `compute` leaves out predictions that take longer than the run."""

    name: str
    title: str
    about: str
    knobs: tuple[Knob, ...]
    choices: tuple[Choice, ...]
    counts: tuple[int, ...]
    count: int
    compute: Callable[[Memories, Mapping[str, Any], bool], Shown]

    def defaults(self) -> dict[str, Any]:
        """The settings that it begins with."""
        numbers = {knob.name: knob.value for knob in self.knobs}
        return numbers | {choice.name: choice.options[0] for choice in self.choices}


def failure(status: int) -> str:
    """How a run that did not get to its end ended, in words; "" for one that did."""
    if status == _status.OK:
        return ""
    name, meaning = _status.name(status), _status.meaning(status)
    return f"The run failed with status {name}: {meaning}."


def span(*values: Any, least: tuple[float, float]) -> tuple[float, float]:
    """The range of an axis on which all of these numbers have room, and at least these two."""
    found = np.concatenate([np.ravel(np.asarray(value, dtype=float)) for value in values])
    found = found[np.isfinite(found)]
    low, high = (
        min(found.min(initial=math.inf), least[0]),
        max(found.max(initial=-math.inf), least[1]),
    )
    room = 0.04 * (high - low)
    return float(low - room), float(high + room)
