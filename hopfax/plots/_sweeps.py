"""Sweeps over one or two axes: regimes, dwells and curves, with the theory drawn over them."""

import math
import textwrap
from typing import Any

import numpy as np

from .._types import Dataset
from ..observables import REGIMES
from ..theory import sequential
from ..theory.sequential._times import known_dwell
from ._axes import (
    COLOURS,
    REGIME_COLOURS,
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
    boundaries,
    cycle_of,
    draw_edges,
    gains,
    heading,
    note,
    setting_of,
    size_text,
    threshold,
)
from ._grid import (
    FAILED,
    NOT_RUN,
    dims_of,
    error_of,
    flags_of,
    gaps,
    here,
    over_seeds,
    scalars,
    scale,
    states,
    values_of,
)
from ._legends import legend_above, legends_below
from ._paint import gap_handles, mesh, paint_of


def phase_diagram(dataset: Dataset, ax: Axes | None = None, *, theory: bool = True) -> Axes:
    r"""Draw a map of the regimes over the two axes of a sweep.

    Where these are the gain $\kappa$ and one start saliency of a plain cycle (each memory calls the
    next), three predictions are drawn of the smallest start that sustains the sequence: for an
    endless chain and for this cycle, both in the limit $\tau \to \infty$, and for this cycle at the
    sweep's own $\tau$ and bias. Over the gain and $\tau$ it is the critical gain, also of cycles
    with self-loops (in the limit). Those that lie inside are named. The theory assumes orthogonal
    memories. Points that failed or have
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
    regimes = paint.handles() + gap_handles(gaps(dataset, "regime"))
    found = boundaries(dataset, x, y) if theory else []
    lines = draw_edges(ax, found, y.limits[1])
    why = note(dataset, found) if theory and x.name == "kappa" else ""
    title = [heading(dataset), why]
    ax.set_title("\n".join(line for line in title if line), fontsize="medium")
    legends_below(ax, {"regime": regimes, "theory": [*lines]})
    return ax


def dwell_curve(dataset: Dataset, ax: Axes | None = None, *, theory: bool = True) -> Axes:
    r"""Draw the dwell in one memory, in units of $\tau$, over the gain.

    Drawn are the points whose regime is a sequence, at those values of the other axes of the sweep
    that have most of them (of several such, the largest; others are named in the title). For a
    plain cycle the predicted dwell is drawn for its own $\tau$ and bias, and for
    $\tau \to \infty$; the theory assumes orthogonal memories.

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
    row, where = fullest_row(dataset)
    cycle, tau = cycle_of(row), setting_of(row, "tau")
    unit = 1.0 if tau is None else tau
    kappa = row["kappa"].values
    dwell = row["dwell"].values / unit
    dwell = np.where(_cycling(row), dwell, np.nan)
    spots: Style = dict(ms=6, mfc=REGIME_COLOURS["sequence"], mec="black", mew=0.4, ls="none")
    error = error_of(row, "dwell")
    if error is not None and np.isfinite(error).any():
        bars: Style = dict(yerr=error / unit, capsize=2, ecolor="0.4")
        ax.errorbar(kappa, dwell, fmt="o", label="mean of seeds, standard error", **bars, **spots)
    else:
        ax.plot(kappa, dwell, "o", label="last dwell", **spots)
    low, high = ax.get_xlim() if len(kappa) == 1 else (kappa.min(), kappa.max())
    if theory and cycle is not None and cycle.tau is not None and not cycle.loop:
        _predicted_dwells(ax, cycle, high)
    title = [heading(row), where]
    ax.set_title("\n".join(line for line in title if line), fontsize="medium")
    ax.set(xlabel=label("kappa"), xlim=(low, high))
    ax.set_ylabel(label("dwell") if tau is None else r"dwell / $\tau$")
    ax.set_ylim(bottom=0)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    found = ax.get_legend_handles_labels()[0]
    legends_below(ax, {"simulation": found[:1], "theory": found[1:]})
    return ax


def curves(dataset: Dataset, axes: Panels | None = None) -> np.ndarray:
    """Draw the variables of a sweep over one axis, in panels one above the other.

    Drawn are all variables that are one number at every point, but solver steps; `status` only if
    some point failed. An axis `seed` is averaged over, with standard errors as bars. Shaded is
    where a point failed; hatched, where it has not been run.

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
    dataset, _ = over_seeds(dataset)
    names, dims = shown_scalars(dataset), dims_of(dataset)
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
        error = error_of(dataset, name)
        if error is not None and np.isfinite(error).any():
            ax.errorbar(x.values, values, error, fmt=".-", color=COLOURS[0], lw=1, ms=4, capsize=2)
        else:
            ax.plot(x.values, values, ".-", color=COLOURS[0], lw=1, ms=4)
        ax.set_ylabel(textwrap.fill(label(name), 22), fontsize="small")
        ax.grid(color="0.92")
        flags = flags_of(dataset[name])
        if flags:
            codes = [code for code in flags if (values == code).any()]
            ax.set_yticks(codes, [flags[code] for code in codes])
    missing = shade(axes, x.edges, dataset)
    legend_above(axes[0], gap_handles(missing))
    x.label_axis(axes[-1], "x")
    return axes


def largest_start(dataset: Dataset) -> Dataset:
    """The part of a dataset along `kappa` at the largest value of every other axis."""
    others = [dim for dim in dataset["dwell"].dims if dim != "kappa"]
    place = {
        dim: int(np.argmax(dataset[dim].values)) if dim in dataset.coords else -1 for dim in others
    }
    return dataset.isel(place)


def fullest_row(dataset: Dataset) -> tuple[Dataset, str]:
    """The part of a dataset along `kappa` with the most dwells of sequences, and where that is if
    not at the largest values of the other axes; of several such, that at the largest."""
    others = [str(dim) for dim in dataset["dwell"].dims if dim != "kappa"]
    counts = _cycling(dataset).sum("kappa").transpose(*others).values

    def values(place: Any) -> list[float]:
        found = zip(others, place, strict=True)
        return [float(dataset[dim][k]) if dim in dataset.coords else k for dim, k in found]

    places = [tuple(map(int, place)) for place in np.argwhere(counts == counts.max())]
    best, last = max(places, key=values), max(np.ndindex(counts.shape), key=values)
    row = dataset.isel(dict(zip(others, best, strict=True)))
    if best == last:
        return row, ""
    return row, ", ".join(
        part
        for dim, k in zip(others, best, strict=True)
        for part in here(dataset, dim, k)
        if dim not in ("tau", "bias")  # which the heading has
    )


def _cycling(dataset: Dataset) -> Any:
    """Where there is a dwell in a sequence."""
    found = dataset["dwell"].notnull()
    return (
        found & (dataset["regime"] == REGIMES.index("sequence")) if "regime" in dataset else found
    )


def _predicted_dwells(ax: Axes, cycle: Cycle, high: float) -> None:
    """Draw the predicted dwells of a cycle, each from its critical gain up to the gain `high`."""
    for grid, curve, style in predicted_dwells(cycle, high):
        ax.plot(grid, curve, lw=1.3, **style)


def predicted_dwells(cycle: Cycle, high: float) -> list[tuple[np.ndarray, np.ndarray, Style]]:
    r"""Gains up to `high`, the dwells predicted there in units of $\tau$, and how to draw them: at
    the separation of timescales of the cycle, if it has one, and in the limit."""
    found: list[tuple[np.ndarray, np.ndarray, Style]] = []
    critical = threshold(cycle) if cycle.finite else math.nan
    if math.isfinite(critical):
        assert cycle.tau is not None
        grid = gains(critical, high)
        curve = np.asarray(known_dwell(grid, cycle.tau, cycle.P, cycle.bias)) / cycle.tau
        text = f"{size_text(cycle.P)}, {tau_text(cycle.tau)}"
        found.append((grid, curve, dict(color="black", label=text)))
    for P, line in ((cycle.P, "--"), (math.inf, ":")):
        grid = gains(float(sequential.critical_gain(P)), high)
        curve = np.log(np.asarray(sequential.fixed_points(grid, P).upper))
        text = f"{size_text(P)}, {SINGULAR}"
        found.append((grid, curve, dict(color="0.25", ls=line, label=text)))
    return found


def shown_scalars(dataset: Dataset) -> list[str]:
    """The variables to draw: solver steps say nothing of the network, and come only alone."""
    names = scalars(dataset)
    return [name for name in names if name != "steps"] or names


def shade(axes: np.ndarray, borders: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Mark in all panels the points along x that failed or have not been run; their codes."""
    missing = states(dataset)
    styles: dict[int, Style] = {
        FAILED: dict(facecolor=REGIME_COLOURS["failed"], edgecolor="none"),
        NOT_RUN: dict(facecolor="white", edgecolor="0.7", hatch="////", lw=0),
    }
    for code, style in styles.items():
        at = np.flatnonzero(missing == code)
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if at.size else ():
            for ax in axes:
                ax.axvspan(borders[run[0]], borders[run[-1] + 1], zorder=0, **style)
    return missing
