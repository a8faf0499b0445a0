"""`hopfax plot`: the default picture of a stored sweep."""

import dataclasses
import pathlib
from typing import Any

from tyro.conf import Positional

from . import _common


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep: regimes and dwells of a map, or every number of a line.

    Example: hopfax plot hopfax-out/sweep-0123abcd/sweep.zarr --out figure.pdf
    """

    store: Positional[pathlib.Path]
    """A sweep's folder sweep.zarr, or the folder that holds it."""
    out: pathlib.Path | None = None
    """Where to draw: a .png, .pdf or .svg file (default: beside the store)."""
    theory: bool = True
    """Lay the predictions over it, where there are any."""

    def __call__(self) -> int:
        """Draw and say where."""
        from .. import open_sweep

        store = self.store / "sweep.zarr" if (self.store / "sweep.zarr").is_dir() else self.store
        out = self.out or store.with_suffix(".png")
        with _common.precision("float64"):
            figure = draw(open_sweep(store).load(), theory=self.theory)
            out.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(out, dpi=150)
        _common.say(f"drawn to {out}")
        return 0


def draw(dataset: Any, *, theory: bool = True) -> Any:
    """A figure of a sweep: 2 axes, its regimes (and dwells over the gain); 1 axis, all curves.

    **Raises:** ValueError for a sweep over more than two axes or with nothing to draw.
    """
    from .. import plots
    from ..plots._sweeps import drawable

    Figure = require()
    dims = dataset["status"].dims
    if len(dims) == 2 and "regime" in dataset:
        wide = "kappa" in dims and "dwell" in dataset
        figure = Figure(figsize=(12.4 if wide else 6.6, 6.0), layout="constrained")
        axes = figure.subplots(1, 1 + wide, squeeze=False)[0]
        plots.phase_diagram(dataset, axes[0], theory=theory)
        if wide:
            plots.dwell_curve(dataset, axes[1], theory=theory)
        return figure
    if len(dims) != 1:
        raise ValueError(
            f"`store` holds a sweep over {len(dims)} axes {tuple(map(str, dims))}; drawn are one "
            "axis, or two with `regime`. Select the rest in Python: hopfax.open_sweep(...).isel."
        )
    flat = dataset[[name for name, value in dataset.data_vars.items() if value.ndim == 1]]
    number = sum(1 for name in flat.data_vars if drawable(flat, str(name)))
    figure = Figure(figsize=(6.4, 1.2 + 1.5 * number), layout="constrained")
    axes = figure.subplots(max(number, 1), 1, sharex=True, squeeze=False)[:, 0]
    plots.curves(flat, axes)
    return figure


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
