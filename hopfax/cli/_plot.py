"""`hopfax plot`: the default picture of a stored sweep."""

import dataclasses
import pathlib
from typing import Any

from tyro.conf import Positional

from . import _common


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep, also an unfinished one: curves, a map, or a map for every value of more
    axes.

    Example: hopfax plot hopfax-out/sweep-0123abcd --out figure.pdf
    """

    store: Positional[pathlib.Path]
    """A sweep's folder (which holds sweep.json), or the one that `hopfax sweep` wrote to, of any
    network."""
    out: pathlib.Path | None = None
    """Where to draw: a .png, .pdf or .svg file (default: beside the store)."""
    theory: bool = True
    """Lay the predictions over it, where there are any."""

    def __call__(self) -> int:
        """Draw and say where."""
        from .. import open_sweep
        from . import _sweep_dense, _sweep_rate

        inside = self.store / "sweep"
        store = inside if (inside / "sweep.json").is_file() else self.store
        out = self.out or store.with_name(f"{store.name}.png")
        out = out if out.suffix else out.with_name(f"{out.name}.png")
        if out.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"`out` must end in .png, .pdf or .svg, got {str(out)!r}.")
        with _common.precision("float64"):
            dataset = _sweep_rate.stored(self.store)
            if dataset is None and not (store / "sweep.json").is_file():
                dataset = _sweep_dense.stored(self.store)
            if dataset is None:
                dataset = open_sweep(store, partial=True).load()
            figure = draw(dataset, theory=self.theory)
            out.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(out, dpi=150)
        waiting = int((dataset["status"] == -1).sum())
        gap = f"; {waiting} of {dataset['status'].size} points have not been run" if waiting else ""
        _common.say(f"drawn to {out}{gap}")
        return 0


def draw(dataset: Any, *, theory: bool = True) -> Any:
    """A figure of any sweep, as `hopfax.plots.overview` draws it.

    **Raises:** ValueError for a sweep with nothing to draw.
    """
    from .. import plots

    return plots.overview(dataset, require()(), theory=theory)


def require() -> Any:
    """matplotlib's Figure, which draws without a display.

    **Raises:** ImportError naming the extra if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        from .._errors import missing

        raise missing("matplotlib", "plot", "drawing") from error
    return Figure
