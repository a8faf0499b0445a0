"""What `hopfax run` draws: overlaps and saliencies over time, and images above them."""

from typing import Any

import numpy as np

import hopfax as hx

from ..._palette import look_of
from .._picture import require
from ._run_report import matches
from ._run_result import Result


def draw(runs: dict[str, Result], shape) -> Any:
    """Film (for images), overlaps and saliencies, one column a run."""
    heights = [1.2, 2.0, 2.0] if shape is not None else [2.0, 2.0]
    width, height = 0.4 + 7.6 * len(runs), 1.4 + sum(heights)
    figure = require()(figsize=(width, height))
    sides = {"left": 0.75 / width, "right": 1 - 0.35 / width}
    sides |= {"bottom": 0.55 / height, "top": 1 - (0.4 if shape is not None else 0.85) / height}
    grid = figure.add_gridspec(
        len(heights), len(runs), height_ratios=heights, hspace=0.1, wspace=0.1, **sides
    )
    for column, (name, run) in enumerate(runs.items()):
        axes = [figure.add_subplot(grid[-1, column])]
        for row in reversed(range(len(heights) - 1)):
            axes.insert(0, figure.add_subplot(grid[row, column], sharex=axes[-1]))
        _curves(run, axes[-2:])
        if shape is not None:
            _film(run, axes[0], shape)
            if (legend := axes[1].get_legend()) is not None:
                legend.remove()  # the images say which memory has which colour
        place, y = axes[0].get_position(), 1 - 0.28 / height
        figure.text(place.x0, y, _title(run, name), fontsize="large")
        figure.text(place.x1, y, _lines(run), fontsize="small", color="0.35", ha="right")
    return figure


def _title(run: Result, name: str) -> str:
    tau, kappa = run.network.tau, run.network.kappa
    text = f"{name.replace('_', '-')}, P = {run.network.patterns.P}"
    if tau.ndim == kappa.ndim == 0:
        text += rf", $\kappa$ = {float(kappa):g}, $\tau$ = {float(tau):g}"
    return f"{text}: {run.regime}"


def _curves(run: Result, axes) -> None:
    hx.plots.trajectory(run.trajectory, run.network, predicted=run.predicted, axes=axes)
    if not len(run.predicted) and len(run.switches):
        for ax in axes:
            for time in run.escapes:
                ax.axvline(time, color="0.25", lw=0.8, ls=":", zorder=0)
    axes[0].tick_params(labelbottom=False)


def _lines(run: Result) -> str:
    """What the vertical lines are."""
    if not len(run.switches):  # of which there are none, nothing is drawn
        return ""
    if len(run.predicted):
        return "dashed: predicted for orthogonal memories"
    return r"dotted: escape for $\tau \to \infty$" if len(run.escapes) else ""


def _film(run: Result, ax, shape) -> None:
    visited = run.visited[: len(run.frames)]
    own = matches(run)[visited, np.arange(len(visited))]
    hx.plots.film_strip(
        run.frames.reshape(-1, *shape),
        [f"{mu}" if m > 0.95 else f"{mu}: {m:.2f}" for mu, m in zip(visited, own, strict=True)],
        times=run.frame_times,
        colors=[look_of(int(mu)).colour for mu in visited],
        ax=ax,
    )
