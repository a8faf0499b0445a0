"""Sweeps over one or two axes: regimes, dwells and curves, with the theory drawn over them."""

import math
import textwrap

import numpy as np

from .._types import Dataset
from ..observables import REGIMES
from ..theory import sequential
from ..theory.sequential._times import known_dwell
from ._axes import (
    COLOURS,
    REGIME_COLOURS,
    Artist,
    Axes,
    Panels,
    Style,
    check_drawing,
    label,
    new_axes,
    new_column,
    panels,
    tau_text,
)
from ._cycle import (
    SINGULAR,
    Cycle,
    cycle_of,
    draw_edges,
    edges,
    gains,
    horizon_text,
    note,
    setting_of,
    setting_text,
    size_text,
    threshold,
)
from ._grid import FAILED, GAPS, NOT_RUN, dims_of, flags_of, gaps, scalars, scale, states, values_of
from ._paint import gap_handles, mesh, paint_of


def phase_diagram(dataset: Dataset, ax: Axes | None = None, *, theory: bool = True) -> Axes:
    r"""Draw a map of the regimes over the two axes of a sweep.

    Where these are the gain $\kappa$ and one start saliency of a plain cycle (each memory calls the
    next), three predictions are drawn of the smallest start that sustains the sequence: for an
    endless chain and for this cycle, both in the limit $\tau \to \infty$, and for this cycle at the
    sweep's own $\tau$ and bias. The theory assumes orthogonal memories. Points that failed or have
    not been run are marked as such.

    **Arguments:** `dataset`: of `hopfax.sweep`, with `regime` over two dimensions. `ax`: where to
    draw. `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset without `regime` over exactly two dimensions.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})

    figure, ax = plt.subplots()
    hx.plots.phase_diagram(ds, ax, theory=False)
    plt.close(figure)
    ```
    """
    check_drawing(dataset, ax=ax, theory=theory)
    if "regime" not in dataset or dataset["regime"].ndim != 2:
        raise ValueError(
            "`dataset` must have `regime` over two dimensions, got "
            f"{dict(dataset['regime'].sizes) if 'regime' in dataset else list(dataset)}."
        )
    ax = new_axes((6.6, 5.6)) if ax is None else ax
    paint = paint_of(dataset, "regime")
    x, y = mesh(ax, dataset, "regime", paint)
    handles = paint.handles() + gap_handles(gaps(dataset, "regime"))
    found = edges(dataset, x.name, y.name, x.limits[1]) if theory else []
    cycle = cycle_of(dataset)
    if found and cycle is not None:
        handles += draw_edges(ax, found, y.limits[1])
        ax.set_title(setting_text(cycle) + horizon_text(dataset), fontsize="medium")
    if theory and x.name == "kappa" and (text := note(dataset, found)):
        before = f"{ax.get_title()}\n" if ax.get_title() else ""
        ax.set_title(before + text, fontsize="medium")
    columns = 2 if len(handles) > 3 else max(len(handles), 1)
    legend_below(ax, handles, columns)
    return ax


def dwell_curve(dataset: Dataset, ax: Axes | None = None, *, theory: bool = True) -> Axes:
    r"""Draw the dwell in one memory, in units of $\tau$, over the gain.

    Drawn are the points whose regime is a sequence. Along every other axis of the sweep, the
    largest value is taken. For a plain cycle the predicted dwell is drawn for its own $\tau$ and
    bias, and for $\tau \to \infty$; the theory assumes orthogonal memories.

    **Arguments:** `dataset`: of `hopfax.sweep`, with `dwell` over `kappa`. `ax`: where to draw.
    `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset without `dwell` over `kappa`.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})

    figure, ax = plt.subplots()
    hx.plots.dwell_curve(ds, ax, theory=False)
    plt.close(figure)
    ```
    """
    check_drawing(dataset, ax=ax, theory=theory)
    if "dwell" not in dataset or "kappa" not in dataset["dwell"].dims:
        raise ValueError("`dataset` must have `dwell` over `kappa`.")
    ax = new_axes((6.0, 4.6)) if ax is None else ax
    row = largest_start(dataset)
    cycle, tau = cycle_of(row), setting_of(row, "tau")
    unit = 1.0 if tau is None else tau
    kappa = row["kappa"].values
    dwell = row["dwell"].values / unit
    if "regime" in row:
        dwell = np.where(row["regime"].values == REGIMES.index("sequence"), dwell, np.nan)
    spots: Style = dict(ms=6, mfc=REGIME_COLOURS["sequence"], mec="none", ls="none")
    ax.plot(kappa, dwell, "o", label="simulation", **spots)
    low, high = ax.get_xlim() if len(kappa) == 1 else (kappa.min(), kappa.max())
    if theory and cycle is not None and cycle.tau is not None:
        _predicted_dwells(ax, cycle, high)
        ax.set_title(setting_text(cycle), fontsize="medium")
    elif tau is not None:  # whichever it is of several
        ax.set_title(tau_text(tau), fontsize="medium")
    ax.set(xlabel=label("kappa"), xlim=(low, high))
    ax.set_ylabel(label("dwell") if tau is None else r"dwell / $\tau$")
    ax.set_ylim(bottom=0)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    legend_below(ax, ax.get_legend_handles_labels()[0], 2)
    return ax


def curves(dataset: Dataset, axes: Panels | None = None) -> np.ndarray:
    """Draw the variables of a sweep over one axis, in panels one above the other.

    Drawn are all variables that are one number at every point; `status` only if some point failed.
    Shaded is where a point failed; hatched, where it has not been run.

    **Arguments:** `dataset`: of `hopfax.sweep` over one axis. `axes`: one Axes for each of these
    variables.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset with no such variable, or another number of Axes.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    ds = hx.sweep(hx.theory.sequential.fixed_points, {"kappa": np.linspace(3.0, 8.0, 11)})
    axes = hx.plots.curves(ds)
    [ax.get_ylabel() for ax in axes]  # exists, lower, upper
    plt.close(axes[0].figure)
    ```
    """
    check_drawing(dataset)
    names, dims = scalars(dataset), dims_of(dataset)
    if len(dims) != 1 or not names:
        raise ValueError(
            "`dataset` must have variables of one number a point over one axis, got "
            f"{ {str(name): tuple(v.sizes) for name, v in dataset.data_vars.items()} }."
        )
    if axes is None:
        axes = new_column(len(names), (6.4, 1.2 + 1.5 * len(names)))
    axes = panels(axes, len(names), "")
    x = scale(dataset, dims[0])
    for ax, name in zip(axes, names, strict=True):
        values = values_of(dataset, name)
        ax.plot(x.values, values, ".-", color=COLOURS[0], lw=1, ms=4)
        ax.set_ylabel(textwrap.fill(label(name), 22), fontsize="small")
        ax.grid(color="0.92")
        flags = flags_of(dataset[name])
        if flags:
            codes = [code for code in flags if (values == code).any()]
            ax.set_yticks(codes, [flags[code] for code in codes])
    _shade(axes, x.edges, states(dataset))
    x.label_axis(axes[-1], "x")
    return axes


def largest_start(dataset: Dataset) -> Dataset:
    """The part of a dataset along `kappa` at the largest value of every other axis."""
    others = [dim for dim in dataset["dwell"].dims if dim != "kappa"]
    place = {
        dim: int(np.argmax(dataset[dim].values)) if dim in dataset.coords else -1 for dim in others
    }
    return dataset.isel(place)


def legend_below(ax: Axes, handles: list[Artist], columns: int) -> None:
    """Put a legend below the Axes and their label."""
    if handles:
        place: Style = dict(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=columns)
        ax.legend(handles=handles, fontsize="small", frameon=False, **place)


def legend_above(ax: Axes, handles: list[Artist]) -> None:
    """Put a legend above the Axes."""
    if handles:
        place: Style = dict(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles))
        ax.legend(handles=handles, fontsize="small", frameon=False, **place)


def _predicted_dwells(ax: Axes, cycle: Cycle, high: float) -> None:
    """Draw the predicted dwells of a cycle, each from its critical gain up to the gain `high`."""
    assert cycle.tau is not None
    critical = threshold(cycle) if cycle.finite else math.nan
    if math.isfinite(critical):
        grid = gains(critical, high)
        curve = known_dwell(grid, cycle.tau, cycle.P, cycle.bias)
        text = f"theory, {size_text(cycle.P)}, {tau_text(cycle.tau)}"
        ax.plot(grid, np.asarray(curve) / cycle.tau, color="black", lw=1.3, label=text)
    for P, style in ((cycle.P, "--"), (math.inf, ":")):
        grid = gains(float(sequential.critical_gain(P)), high)
        curve = np.log(np.asarray(sequential.fixed_points(grid, P).upper))
        text = f"theory, {size_text(P)}, {SINGULAR}"
        ax.plot(grid, curve, color="0.25", lw=1.3, ls=style, label=text)


def _shade(axes: np.ndarray, borders: np.ndarray, missing: np.ndarray) -> None:
    """Mark in all panels the points along x that failed or have not been run."""
    from matplotlib.patches import Patch

    styles: dict[int, Style] = {
        FAILED: dict(facecolor="0.75", edgecolor="none"),
        NOT_RUN: dict(facecolor="white", edgecolor="0.8", hatch="////", lw=0),
    }
    found = {code: np.flatnonzero(missing == code) for code in styles}
    for code, at in found.items():
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if at.size else ():
            for ax in axes:
                ax.axvspan(borders[run[0]], borders[run[-1] + 1], zorder=0, **styles[code])
    there = [code for code, at in found.items() if at.size]
    legend_above(axes[0], [Patch(**styles[code], label=GAPS[code]) for code in there])
