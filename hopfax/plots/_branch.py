"""Branches of states of rest and of orbits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import as_indices, check_option, check_type
from ..dynamics import Branch
from ._axes import COLOURS, Artist, Axes, Style, check_axes, new_axes
from ._legends import legend_below

_MARKS = {
    "fold": "o",
    "branch point": "D",
    "Hopf point": "s",
    "period doubling": "^",
    "Neimark-Sacker point": "v",
    "cusp": "*",
    "turning point": ">",
    "Bogdanov-Takens point": "X",
    "fold-Hopf point": "s",
    "fold-flip point": "^",
    "fold-Neimark-Sacker point": "v",
}
_SHOWS = ("auto", "overlap", "saliency", "returns", "threshold")


def branch(
    found: Any,
    *,
    show: str = "auto",
    memories: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw branches over their parameter: solid where stable, dashed where not.

    Markers stand at folds, branch points, Hopf points, period doublings and Neimark-Sacker points.
    Of a curve of folds it is the threshold over the second parameter, solid where a stable branch
    begins there; markers stand at cusps and its other special points.

    **Arguments:**

    - `found`: of `hopfax.dynamics.branch`, `orbit_branch` or `fold_curve`, one or several.
    - `show`: "overlap" or "saliency" of the memories, "returns", the time after which an orbit
      comes back, "threshold", the first parameter of folds, or "auto": the threshold of folds, the
      returns of orbits, else overlaps.
    - `memories`: which of them (default: all).
    - `ax`: where to draw.

    **Returns:** the Axes.

    **Raises:** TypeError/ValueError for what is no branch, or does not have what is to be shown.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    found = hx.dynamics.branch(make, network.init(weights=[0.9, 0.0, 0.0]), (2.0, 0.5))
    ax = hx.plots.branch(found, memories=[0])
    plt.close(ax.figure)
    ```
    """
    check_axes(ax)
    check_option(show, "show", _SHOWS)
    branches: list[Branch] = [found] if isinstance(found, Branch) else list(found)
    for one in branches:
        check_type(one, "found", Branch, "a branch, as of hopfax.dynamics.branch")
    if not branches:
        raise ValueError("`found` must hold at least one branch, got none.")
    if show == "auto":
        show = "overlap" if branches[0].returns is None else "returns"
        show = show if branches[0].threshold is None else "threshold"
    ax = new_axes((6.0, 4.0)) if ax is None else ax
    kinds: set[str] = set()
    for one in branches:
        values = _values(one, show, memories)
        for lane in range(values.shape[0]):
            parameter = np.atleast_2d(one.parameter)[lane]
            stable = np.atleast_2d(one.stable)[lane]
            for column in range(values.shape[2]):
                colour = COLOURS[(column if values.shape[2] > 1 else lane) % len(COLOURS)]
                piecewise(ax, parameter, values[lane, :, column], stable, colour)
        kinds |= _mark(ax, one, show, memories)
    ax.set_xlabel(branches[0].name)
    labels = {"returns": "time of return", "threshold": branches[0].threshold_name}
    ax.set_ylabel(labels.get(show) or show)
    handles: list[Artist] = [
        ax.plot([], [], color="0.3", ls=ls, label=label)[0] for ls, label in _STYLES
    ]
    handles += [mark(ax, kind, [], [], kind) for kind in sorted(kinds)]
    legend_below(ax, handles, 3)
    return ax


_STYLES = (("-", "stable"), ("--", "unstable"))


def mark(ax: Axes, kind: str, x: Any, y: Any, text: str = "") -> Artist:
    """A marker at special points of a kind, with `text` for the legend."""
    style: Style = dict(color="0.2", mfc="white", ls="none", zorder=4)
    return ax.plot(x, y, marker=_MARKS[kind], label=text, **style)[0]


def _values(found: Branch, show: str, memories: Sequence[int] | None) -> np.ndarray:
    """What is shown, (lanes, points, columns)."""
    shown = {
        "overlap": found.overlaps,
        "saliency": found.saliency,
        "returns": found.returns,
        "threshold": found.threshold,
    }[show]
    if shown is None:
        raise ValueError(f"`found` has no {show}; use show='overlap'.")
    lanes, points = np.atleast_2d(found.parameter).shape
    values = np.asarray(shown).reshape(lanes, points, -1)
    if memories is None or show in ("returns", "threshold"):
        return values
    columns = np.asarray(as_indices(memories, "memories", found.overlaps.shape[-1]))
    return values[..., columns]


def piecewise(ax: Axes, x: np.ndarray, y: np.ndarray, stable: np.ndarray, colour: str) -> None:
    """A curve in pieces: solid where stable, dashed where not."""
    there = np.isfinite(x)
    x, y, stable = x[there], y[there], stable[there]
    cuts = np.flatnonzero(np.diff(stable.astype(int))) + 1
    for part in np.split(np.arange(len(x)), cuts):
        if not part.size:
            continue
        reach = np.append(part, part[-1] + 1) if part[-1] + 1 < len(x) else part
        ax.plot(x[reach], y[reach], color=colour, ls="-" if stable[part[0]] else "--")


def _mark(ax: Axes, found: Branch, show: str, memories: Sequence[int] | None) -> set[str]:
    """Markers at the special points of a branch, and their kinds."""
    for point in found.special:
        shown = {
            "overlap": point.overlaps,
            "saliency": point.saliency,
            "returns": point.returns,
            "threshold": point.threshold,
        }
        heights = np.ravel(np.asarray(shown[show], float))
        if memories is not None and show not in ("returns", "threshold"):
            heights = heights[np.asarray(memories)]
        places = np.full(len(heights), point.parameter)
        mark(ax, point.kind, places, heights)
    return {point.kind for point in found.special}
