"""Colours of a sweep's points: numbers, codes, and what has no value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import Dataset
from ._axes import COLOURS, REGIME_COLOURS, Artist, Axes, Figure, Panels, Style, label
from ._grid import (
    FAILED,
    GAPS,
    NO_VALUE,
    NOT_RUN,
    SHARE,
    Scale,
    dims_of,
    flags_of,
    gaps,
    scale,
    sides,
    values_of,
)

if TYPE_CHECKING:
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize
else:
    BoundaryNorm = Colorbar = Colormap = ListedColormap = Normalize = Any

_FAILED = REGIME_COLOURS["failed"]
_KNOWN = REGIME_COLOURS | {"ok": REGIME_COLOURS["collapse"]}
_HATCH: Style = dict(facecolor="white", edgecolor="0.7", hatch="////", linewidth=0.0)


class Paint(NamedTuple):
    """How the values of a variable become colours, the same in all panels of a figure.

    `words`: the codes that occur and their meanings, in ascending order; empty for numbers.
    """

    label: str
    words: dict[int, str]
    colours: Colormap
    norm: Normalize

    def places(self, values: np.ndarray) -> np.ma.MaskedArray:
        """What is given to the colour map: the numbers, or the places of the codes in `words`."""
        if self.words:
            places = np.searchsorted(list(self.words), np.nan_to_num(values))
            return np.ma.masked_array(places, np.isnan(values))
        return np.ma.masked_invalid(values)

    def bar(self, figure: Figure, axes: Panels) -> Colorbar:
        """Put a colour bar beside `axes`."""
        from matplotlib.cm import ScalarMappable

        bar = figure.colorbar(ScalarMappable(self.norm, self.colours), ax=axes)
        bar.set_label(self.label)
        if self.words:
            bar.set_ticks(range(len(self.words)), labels=list(self.words.values()))
            bar.ax.tick_params(length=0, which="both")
        return bar

    def handles(self) -> list[Artist]:
        """The entries of a legend for the codes."""
        from matplotlib.patches import Patch

        fills = [self.colours(place) for place in range(len(self.words))]
        return [
            Patch(facecolor=fill, edgecolor="0.4", lw=0.5, label=word)
            for fill, word in zip(fills, self.words.values(), strict=True)
        ]


def paint_of(dataset: Dataset, name: str) -> Paint:
    """The colours of a variable: of the codes that occur, or of the range of its numbers."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize

    values, flags = values_of(dataset, name), flags_of(dataset[name])
    present = values[~np.isnan(values)]
    if flags:
        words = {code: flags[code] for code in sorted(flags) if (present == code).any()}
        known = fills_of(flags)
        fills = [known[word] for word in words.values()] or ["white"]
        norm = BoundaryNorm(np.arange(len(fills) + 1) - 0.5, len(fills))
        return Paint(label(name), words, ListedColormap(fills), norm)
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    return Paint(label(name), {}, colours, Normalize(*range_of(name, present)))


def fills_of(flags: Mapping[int, str]) -> dict[str, str]:
    """The colour of every word that the codes of a variable mean."""
    spare = {word: COLOURS[k % len(COLOURS)] for k, word in enumerate(flags.values())}
    return spare | _KNOWN


def range_of(name: str, present: np.ndarray) -> tuple[float, float]:
    """The numbers at the ends of the colours of a variable, of its values that there are."""
    low, high = (present.min(), present.max()) if present.size else (0.0, 1.0)
    if name.startswith(SHARE):
        low, high = 0.0, 1.0
    elif low == high:
        low, high = low - 0.1 * abs(low), high + (0.1 * abs(high) or 1.0)
    return float(low), float(high)


def mesh(ax: Axes, dataset: Dataset, name: str, paint: Paint) -> tuple[Scale, Scale]:
    """Draw a colour map of `name` over the two axes of a dataset. Returns the scales of x and y.

    Failed points have the colour of failure, those without a value are white, and those that have
    not been run show the hatched ground of the Axes.
    """
    x, y = sides(dataset)
    across, up = scale(dataset, x), scale(dataset, y)
    values, missing = values_of(dataset, name), gaps(dataset, name)
    if dims_of(dataset)[0] == x:
        values, missing = values.T, missing.T
    across.label_axis(ax, "x")
    up.label_axis(ax, "y")
    place = (across.edges, up.edges)
    options: Style = dict(cmap=paint.colours, norm=paint.norm, rasterized=True)
    ax.pcolormesh(*place, paint.places(values), **options)
    filled = np.ma.masked_array(missing, (missing == 0) | (missing == NOT_RUN))
    if not filled.mask.all():
        fills, norm = _gap_colours()
        ax.pcolormesh(*place, filled, cmap=fills, norm=norm, rasterized=True)
    if (missing == NOT_RUN).any():  # what is hatched is the ground, which shows through
        ax.patch.set(**_HATCH)
    ax.set(xlim=across.limits, ylim=up.limits)
    return across, up


def cloud(ax: Axes, dataset: Dataset, name: str, x: Scale, y: Scale, paint: Paint) -> None:
    """Draw the points of a sweep over one axis, each at its own `x` and `y`, coloured by `name`."""
    values, missing = values_of(dataset, name), gaps(dataset, name)
    size = float(np.clip(20000 / max(values.size, 1), 4, 40))
    points: Style = dict(s=size, rasterized=values.size > 5000)
    styles: dict[int, Style] = {
        FAILED: dict(marker="x", c=_FAILED, linewidths=0.8),
        NOT_RUN: dict(marker="o", facecolors="none", edgecolors="0.75", linewidths=0.6),
        NO_VALUE: dict(marker="o", c="0.88"),
    }
    for code, style in styles.items():
        at = missing == code
        if at.any():
            ax.scatter(x.values[at], y.values[at], **points, **style, label=GAPS[code])
    at = missing == 0
    colours = paint.places(values[at])
    edge: Style = dict(edgecolors="0.3", linewidths=0.3, cmap=paint.colours, norm=paint.norm)
    ax.scatter(x.values[at], y.values[at], c=colours, **points, **edge)
    x.label_axis(ax, "x")
    y.label_axis(ax, "y")


def gap_handles(missing: np.ndarray) -> list[Artist]:
    """The entries of a legend for the kinds of gaps that occur."""
    from matplotlib.patches import Patch

    styles: dict[int, Style] = {
        FAILED: dict(facecolor=_FAILED, edgecolor="0.4", lw=0.5),
        NOT_RUN: _HATCH,
        NO_VALUE: dict(facecolor="white", edgecolor="0.4", lw=0.5),
    }
    return [Patch(**styles[k], label=GAPS[k]) for k in styles if (missing == k).any()]


def _gap_colours() -> tuple[ListedColormap, BoundaryNorm]:
    """The colours of the codes of failed points and of points without a value."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    return ListedColormap([_FAILED, "white"]), BoundaryNorm([0.0, 2.0, 4.0], 2)
