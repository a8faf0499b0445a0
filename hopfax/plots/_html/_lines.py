"""What the theory says about a picture, as lines; the same as in `hopfax.plots.overview`."""

from typing import Any, NamedTuple

import numpy as np

from ..._types import Dataset
from .._bifurcation import predictions as over_one_axis
from .._cycle import boundaries, edges, setting_of
from .._dense import PREDICTED, is_diagram, predictions as of_dense
from .._grid import Scale, dims_of, sides, values_of
from .._rate import CONDITIONS

_DASHES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashdot"}
#: Greys by the names that matplotlib has for them.
_GREYS = {"0.2": "#333333", "0.25": "#404040", "0.45": "#737373"}


class Curve(NamedTuple):
    """A line: its points, its look, and what it is, as a label. `of`: the variable that its `y` is
    a value of, "" where the line holds for any."""

    text: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    dash: str
    width: float
    of: str = ""


def _curve(text: str, x: Any, y: Any, style: tuple[str, str, float], of: str = "") -> Curve:
    dash, colour, width = style
    x, y = np.asarray(x, float), np.asarray(y, float)
    return Curve(text, x, y, _GREYS.get(colour, colour), _DASHES[dash], width, of)


def _upright(text: str, at: float, y: tuple[float, float], style: tuple[str, str, float]) -> Curve:
    return _curve(text, [at, at], y, style)


def over_map(dataset: Dataset, x: Scale, y: Scale) -> list[Curve]:
    """The lines over a map with the scales `x` and `y`."""
    if is_diagram(dataset) and (x.name, y.name) == ("load", "m0"):
        return _retrieval(dataset, x, y)
    if {"storage", "eigenvalue"} <= set(dataset.data_vars):
        return _conditions(dataset, x, y)
    found = boundaries(dataset, x, y)
    lines = [_curve(edge.name, *edge.path(y.limits[1]), edge.look) for edge in found]
    return [line for line in lines if _visible(line, x.limits, y.limits)]


def over_cloud(dataset: Dataset, x: Scale, y: Scale) -> list[Curve]:
    """The lines over points at these places."""
    top, right = float(np.max(y.values)), float(np.max(x.values))
    found = edges(dataset, x.name, y.name, right)
    return [_curve(edge.name, *edge.path(top), edge.look) for edge in found]


def over_axis(dataset: Dataset, x: Scale) -> list[Curve]:
    """The lines over one axis: dwells, in fast time constants, and where something changes, from
    -1 to 2, which stand for the whole height."""
    tau = setting_of(dataset, "tau")
    unit = 1.0 if tau is None else tau
    found, low, high = [], *x.limits
    for one in over_one_axis(dataset, x, unit):
        style = ("-", "black", 1.8) if one.finite else ("--", "0.25", 1.4)
        if one.y is None:
            found.append(_upright(one.text, float(one.x[0]), (-1.0, 2.0), style))
            continue
        inside = (one.x >= low) & (one.x <= high)
        found.append(_curve(one.text, one.x[inside], one.y[inside] * unit, style, "dwell"))
    return found


def _visible(line: Curve, x: tuple[float, float], y: tuple[float, float]) -> bool:
    """Whether some piece of a line lies inside."""
    a, b = line.x, line.y
    if len(a) < 2:
        return False
    across = (np.minimum(a[1:], a[:-1]) <= x[1]) & (np.maximum(a[1:], a[:-1]) >= x[0])
    up = (np.minimum(b[1:], b[:-1]) <= y[1]) & (np.maximum(b[1:], b[:-1]) >= y[0])
    return bool((across & up).any())


def _retrieval(dataset: Dataset, x: Scale, y: Scale) -> list[Curve]:
    """The capacity, the unstable fixed point of the map, and the edge of what is retrieved."""
    found = []
    for one in of_dense(dataset, *x.limits):
        if one.start is None:
            found.append(_upright(one.text, float(one.load[0]), y.limits, ("-", PREDICTED, 1.6)))
        else:
            found.append(_curve(one.text, one.load, one.start, ("--", PREDICTED, 1.6)))
    values = _along(dataset, "overlap") - 0.5
    return found + _contours("overlap 1/2", x, y, values, ("-", "black", 1.4))


def _conditions(dataset: Dataset, x: Scale, y: Scale) -> list[Curve]:
    """Where the conditions of stability change."""
    found = []
    for name, (text, style) in CONDITIONS.items():
        if name in dataset:
            look = (style.get("linestyles", "-"), style["colors"], style["linewidths"])
            found += _contours(text, x, y, _along(dataset, name), look)
    return found


def _along(dataset: Dataset, name: str) -> np.ndarray:
    """The values of a variable with the axis drawn along y first."""
    values = values_of(dataset, name)
    return values.T if dims_of(dataset)[0] == sides(dataset)[0] else values


def _contours(
    text: str, x: Scale, y: Scale, values: np.ndarray, style: tuple[str, str, float]
) -> list[Curve]:
    """The pieces of the line on which values are zero; only the first is named."""
    from contourpy import contour_generator  # which comes with Bokeh

    good = values[np.isfinite(values)]
    if min(values.shape) < 2 or not good.size or good.min() >= 0 or good.max() <= 0:
        return []
    made: Any = contour_generator(x.values, y.values, np.ma.masked_invalid(values))
    pieces = [piece for piece in made.lines(0.0) if len(piece) > 1]
    return [
        _curve(text if not k else "", piece[:, 0], piece[:, 1], style)
        for k, piece in enumerate(pieces)
    ]
