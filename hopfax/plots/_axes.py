"""Axes, colours and labels that the pictures share."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .._errors import check_bool, check_type, missing, shown
from .._palette import COLOURS as COLOURS, REGIME_COLOURS as REGIME_COLOURS, look_of as look_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist as Artist
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.lines import Line2D as Line
else:  # matplotlib is an optional package, so nothing is checked at run time
    Artist = Axes = Figure = Line = Any

#: One Axes or several, as `pyplot.subplots` returns them.
Panels: TypeAlias = Axes | Sequence[Axes] | np.ndarray
#: Keyword arguments of a function of matplotlib.
Style: TypeAlias = dict[str, Any]

_LABELS = {
    "kappa": r"gain $\kappa$",
    "tau": r"separation of timescales $\tau$ (fast time constants)",
    "bias": r"bias $b$",
    "noise": r"noise $\sigma$",
    "regime": "regime",
    "dwell": "dwell (fast time constants)",
    "switches": "switches",
    "overlap": "largest overlap at the end",
    "steps": "solver steps",
    "status": "status",
}
_SYMBOLS = {"kappa": r"\kappa", "tau": r"\tau", "bias": "b", "noise": r"\sigma"}


def check_drawing(dataset: Any, *, ax: Any = None, figure: Any = None, theory: Any = True) -> None:
    """TypeError unless these are a dataset of xarray, Axes and a figure of matplotlib (or None),
    and True or False."""
    xarray = sys.modules.get("xarray")  # who has a dataset, has imported it
    if xarray is None or not isinstance(dataset, xarray.Dataset):
        raise TypeError(
            f"`dataset` must be an xarray.Dataset, as of hopfax.sweep, got {shown(dataset)}."
        )
    check_axes(ax)
    check_figure(figure)
    check_bool(theory, "theory")


def check_figure(figure: Any) -> None:
    """TypeError unless `figure` is a figure of matplotlib, or None."""
    if figure is not None:
        from matplotlib.figure import FigureBase

        check_type(figure, "figure", FigureBase, "a figure of matplotlib")


def check_axes(ax: Any, name: str = "ax") -> None:
    """TypeError unless `ax` is one Axes of matplotlib, or None."""
    if ax is not None:
        from matplotlib.axes import Axes

        check_type(ax, name, Axes, "one Axes of matplotlib")


def panels(axes: Any, number: int, what: str) -> np.ndarray:
    """Axes as an array. **Raises:** TypeError for what is none, ValueError for another number."""
    found = axes
    if not isinstance(axes, np.ndarray):
        found = np.empty(len(axes) if isinstance(axes, list | tuple) else 1, dtype=object)
        found[:] = axes if isinstance(axes, list | tuple) else [axes]
    found = np.atleast_1d(found).ravel()
    for ax in found:
        check_axes(np.nan if ax is None else ax, "axes")
    if found.size != number:
        raise ValueError(f"`axes` must hold {number} Axes{what}, got {found.size}.")
    return found


def new_axes(size: tuple[float, float]) -> Axes:
    """The Axes of a new figure, `size` in inches."""
    return new_figure(size).subplots()


def new_column(rows: int, size: tuple[float, float]) -> np.ndarray:
    """The Axes of a new figure, one above the other, which share x."""
    return np.atleast_1d(new_figure(size).subplots(rows, 1, sharex=True))


def new_figure(size: tuple[float, float] = (6.4, 4.8)) -> Figure:
    """A new figure of pyplot, `size` in inches; ImportError without matplotlib."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise missing("matplotlib", "plot", "hopfax.plots") from error
    return pyplot.figure(figsize=size, layout="constrained")


def label(name: str) -> str:
    """What to write beside an axis for the variable or coordinate `name`."""
    found = _start(name)
    if found:
        word, letter, index = found
        return rf"start {word} ${letter}_{{{index}}}(0)$"
    return _LABELS.get(name, name.replace("_", " "))


def symbol(name: str) -> str:
    """The symbol of the coordinate `name`, for a title."""
    found = _start(name)
    text = f"{found[1]}_{{{found[2]}}}(0)" if found else _SYMBOLS.get(name)
    return name.replace("_", " ") if text is None else f"${text}$"


def tau_text(tau: int | float) -> str:
    """A separation of timescales for a legend."""
    return rf"$\tau = {tau:g}$"


def _start(name: str) -> tuple[str, str, str] | None:
    """Which single entry of a start `name` is: what it is, its letter and its memory; else None."""
    for word, letter in (("saliency", "z"), ("weights", "y")):
        inner = name.removeprefix(f"init.{word}[")
        if inner != name:
            return word.removesuffix("s"), letter, inner.removesuffix("]")
    return None
