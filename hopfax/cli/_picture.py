"""Figures without a display. matplotlib is imported when the first one is made."""

import importlib.util
from typing import Any

import hopfax as hx

from .._errors import missing

#: What pictures can be written as.
ENDINGS = (".png", ".pdf", ".svg")


def check_ending(name: str, option: str) -> None:
    """ValueError naming the option unless it names a picture."""
    if not name.endswith(ENDINGS):
        raise ValueError(
            f"`{option}` must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, got {name!r}."
        )


def check() -> None:
    """ImportError, as `require` raises it, where matplotlib is not installed. Does not import it,
    which takes a second."""
    if importlib.util.find_spec("matplotlib") is None:
        require()


def require(what: str = "drawing") -> Any:
    """matplotlib's Figure, which draws without a display.

    **Raises:** ImportError naming the extra, and `what` needs it, if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("matplotlib", "plot", what) from error
    return Figure


def new_figure(**options: Any) -> Any:
    """A figure whose parts find their places by themselves."""
    return require()(layout="constrained", **options)


def draw(dataset: Any, *, theory: bool = True) -> Any:
    """A figure of any sweep, as `hopfax.plots.overview` draws it.

    **Raises:** ValueError for a sweep with nothing to draw.
    """
    return hx.plots.overview(dataset, require()(), theory=theory)
