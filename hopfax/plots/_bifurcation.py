"""Sweeps over one axis: how long the memories last, and where the regime changes."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from .._errors import check_type
from .._types import Dataset
from ..dynamics import Branch
from ..theory import sequential
from ._axes import COLOURS, REGIME_COLOURS, Axes, Style, check_drawing, label, new_axes, symbol
from ._branch import mark, piecewise
from ._cycle import Cycle, cycle_of, gains, heading, looped_gain, setting_of, single_start
from ._grid import Scale, dims_of, error_of, flags_of, over_seeds, scale, values_of
from ._legends import legends_below
from ._paint import gap_handles, paint_of
from ._sweeps import shade

_NAMED = 3  # measured thresholds that are written out


def is_bifurcation(dataset: Dataset) -> bool:
    """Whether a sweep over one axis has dwells and regimes (or shares of them over seeds)."""
    named = "regime" in dataset or any(str(v).startswith("share of") for v in dataset.data_vars)
    return len(dims_of(dataset)) == 1 and "dwell" in dataset and named


def bifurcation(
    dataset: Dataset,
    ax: Axes | None = None,
    *,
    theory: bool = True,
    orbits: Branch | None = None,
) -> Axes:
    r"""Draw how long each memory lasts over the one axis of a sweep, above bands of its regimes.

    Where the sweep has `dwell_times`, every dwell of every run is a point; else the last dwell, or
    the mean over seeds with its standard error. Measured thresholds, in the middle between two
    points of which one is a sequence, are named in the legend. Predicted for a cycle are the dwell
    over the gain or the separation of timescales, and the critical gain or the smallest start: at
    the sweep's own $\tau$ and bias where that is derived, and for $\tau \to \infty$.

    The dots may be laid over the exact `orbits`: stable ones are a solid line, on which the last
    dwells lie, unstable ones a dashed one, and a fold where both meet is the exact threshold. What
    the theory predicts is then dotted.

    **Arguments:**

    - `dataset`: of `hopfax.sweep` over one axis (and `seed`), with `dwell` and `regime`.
    - `ax`: where to draw. `theory`: whether to draw the predictions.
    - `orbits`: of `hopfax.dynamics.orbit_branch` along that axis, for the same network, whose
      memories are relabelled, so that each comes back after one dwell.

    **Returns:** the Axes.

    **Raises:** ValueError for another dataset, or orbits along something else or without a dwell.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0]})
    figure, ax = plt.subplots()
    hx.plots.bifurcation(ds, ax, theory=False)
    ax.get_ylabel()  # dwell / $\tau$
    plt.close(figure)
    ```
    """
    check_drawing(dataset, ax=ax, theory=theory)
    if orbits is not None:
        check_type(orbits, "orbits", Branch, "a branch, as of hopfax.dynamics.orbit_branch")
    if len(dims_of(dataset)) > 1:
        dataset, _ = over_seeds(dataset)
    if not is_bifurcation(dataset):
        raise ValueError(
            "`dataset` must have `dwell` and `regime` over one axis (and `seed`), got "
            f"{ {str(name): tuple(v.sizes) for name, v in dataset.data_vars.items()} }."
        )
    ax = new_axes((6.8, 4.8)) if ax is None else ax
    x = scale(dataset, dims_of(dataset)[0])
    tau = setting_of(dataset, "tau")
    unit = 1.0 if tau is None else tau
    bands = _bands(ax, dataset, x)
    measured = _dwells(ax, dataset, x, unit)
    measured += _measured(ax, dataset, x)
    low, high = x.limits
    exact = [] if orbits is None else _exact(ax, orbits, x, unit)
    predicted = _predicted(ax, dataset, x, unit, bool(exact)) if theory else []
    ax.set(xlim=(low, high))
    top = ax.get_ylim()[1]
    ax.set_ylim(0, top)
    x.label_axis(ax, "x")
    ax.set(xlim=(low, high))
    ax.set_ylabel(label("dwell") if tau is None else r"dwell / $\tau$")
    ax.set_title(heading(dataset), fontsize="medium")
    legends_below(ax, {"regime": bands, "simulation": measured, "theory": exact + predicted})
    return ax


def _bands(ax: Axes, dataset: Dataset, x: Scale) -> list[Any]:
    """Bands of the regimes behind everything; the entries of their legend."""
    if "regime" not in dataset:
        return []
    paint, values = paint_of(dataset, "regime"), values_of(dataset, "regime")
    for code, word in paint.words.items():
        at = np.flatnonzero(values == code)
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if at.size else ():
            colour = REGIME_COLOURS.get(word, "0.9")
            ax.axvspan(
                float(x.edges[run[0]]), float(x.edges[run[-1] + 1]), color=colour, lw=0, zorder=0
            )
    missing = shade(np.array([ax]), x.edges, dataset)
    return paint.handles() + gap_handles(missing)


def _dwells(ax: Axes, dataset: Dataset, x: Scale, unit: float) -> list[Any]:
    """The dwells as points; of means over seeds with error bars."""
    style: Style = dict(color=COLOURS[2], mfc="white", mec=COLOURS[2], ls="none", zorder=3)
    dim = dims_of(dataset)[0]
    if "dwell_times" in dataset and dataset["dwell_times"].ndim == 2:
        every = np.asarray(dataset["dwell_times"].transpose(dim, ...).values, float) / unit
        across = np.broadcast_to(x.values[:, None], every.shape)
        return ax.plot(
            across[np.isfinite(every)],
            every[np.isfinite(every)],
            "o",
            ms=3.5,
            label="every dwell",
            **style,
        )
    dwell = values_of(dataset, "dwell") / unit
    if "regime" in dataset:
        words = flags_of(dataset["regime"])
        codes = [code for code, word in words.items() if word == "sequence"]
        dwell = np.where(np.isin(values_of(dataset, "regime"), codes), dwell, np.nan)
    error = error_of(dataset, "dwell")
    if not np.isfinite(dwell).any():
        return []
    if error is None or not np.isfinite(error).any():
        return ax.plot(x.values, dwell, "o", ms=5, label="last dwell", **style)
    bars: Style = dict(yerr=error / unit, capsize=2, label="mean of seeds, standard error")
    return [ax.errorbar(x.values, dwell, fmt="o", ms=5, **bars, **style)]


def _measured(ax: Axes, dataset: Dataset, x: Scale) -> list[Any]:
    """Lines where a sequence begins or ends, between two neighbouring points that were run."""
    if "regime" not in dataset:
        return []
    values = values_of(dataset, "regime")
    code = [c for c, word in flags_of(dataset["regime"]).items() if word == "sequence"]
    inside = np.isin(values, code)
    known = np.isfinite(values)
    at = np.flatnonzero((inside[1:] != inside[:-1]) & known[1:] & known[:-1])
    places = [float(x.edges[k + 1]) for k in at]
    style: Style = dict(color=COLOURS[1], lw=1.6, ls="-", zorder=2)
    lines = [ax.axvline(place, **style) for place in places]
    if lines:
        name = symbol(x.name) if x.name else "number"
        text = ", ".join(f"{place:.4g}" for place in places[:_NAMED])
        lines[0].set_label(
            f"threshold, {name} = {text}" + (", ..." if len(places) > _NAMED else "")
        )
    return lines[:1]


class Prediction(NamedTuple):
    """What the theory says over one axis: the dwell `y` over `x`, or (without `y`) a value of `x`
    at which something changes. `text`: for the legend, "" for none. `finite`: whether it is for
    the sweep's own separation of timescales."""

    text: str
    finite: bool
    x: np.ndarray
    y: np.ndarray | None = None


def predictions(dataset: Dataset, x: Scale, unit: float) -> list[Prediction]:
    """What the theory says over the gain, the separation of timescales, or one start saliency,
    dwells in units of `unit`; what has no point inside the limits of `x` is left out."""
    cycle = cycle_of(dataset)
    low, high = x.limits
    if cycle is None:
        return []
    if x.name == "kappa":
        found = _over_gain(cycle, high)
    elif x.name == "tau":
        found = _over_tau(cycle, setting_of(dataset, "kappa"), max(low, 1.5), high, unit)
    elif single_start(dataset, x.name):
        found = _over_start(dataset, cycle)
    else:
        return []
    return [one for one in found if _seen(one, low, high)]


def _seen(one: Prediction, low: float, high: float) -> bool:
    """Whether a prediction has a point inside the limits of x."""
    known = np.isfinite(one.x if one.y is None else one.y)
    return bool(((one.x >= low) & (one.x <= high) & known).any())


_FINITE: Style = dict(color="black", lw=1.8, ls="-")
_LIMIT: Style = dict(color="0.25", lw=1.4, ls="--")


def _exact(ax: Axes, orbits: Branch, x: Scale, unit: float) -> list[Any]:
    """Draw the dwells of exact orbits. Returns what is named.

    **Raises:** ValueError for orbits that are not along `x`, or of whole periods.
    """
    if orbits.returns is None or orbits.order is None:
        what = "no orbits" if orbits.returns is None else "orbits without a relabelling of memories"
        raise ValueError(
            f"`orbits` must come back after one dwell, but it is a branch of {what}; draw it with "
            "hopfax.plots.branch."
        )
    if orbits.name != x.name:
        raise ValueError(
            f"`orbits` must be along the axis of the sweep, {x.name!r}, but is along "
            f"{orbits.name!r}."
        )
    parameter, dwell = np.atleast_2d(orbits.parameter), np.atleast_2d(orbits.returns) / unit
    inside = (parameter >= x.limits[0]) & (parameter <= x.limits[1])
    stable = np.atleast_2d(orbits.stable)
    for lane in range(len(parameter)):
        piecewise(ax, parameter[lane], dwell[lane], stable[lane], "black")
    kinds = ((stable, "-", "stable"), (~stable, "--", "unstable"))
    lines: list[Any] = [
        ax.plot([], [], color="black", ls=dashes, label=f"exact orbits, {words}")[0]
        for there, dashes, words in kinds
        if (there & inside).any()
    ]
    for point in orbits.special:
        if x.limits[0] <= point.parameter <= x.limits[1] and point.returns is not None:
            text = f"{point.kind}, {symbol(x.name)} = {point.parameter:.7g}"
            lines.append(mark(ax, point.kind, point.parameter, point.returns / unit, text))
    return lines


def _predicted(
    ax: Axes, dataset: Dataset, x: Scale, unit: float, beside: bool = False
) -> list[Any]:
    """Draw the predictions, dotted if `beside` exact orbits. Returns those lines that are named."""
    lines: list[Any] = []
    for one in predictions(dataset, x, unit):
        style: Style = _FINITE if one.finite else _LIMIT
        if beside:
            style = style | dict(ls=":" if one.finite else "-.", lw=1.2)
        style = style | ({"label": one.text} if one.text else {})
        line = ax.axvline(one.x[0], **style) if one.y is None else ax.plot(one.x, one.y, **style)[0]
        lines += [line] if one.text else []
    return lines


def _over_gain(cycle: Cycle, high: float) -> list[Prediction]:
    """The dwell over the gain, which begins at the critical one, at which a line stands."""
    critical = looped_gain(cycle.P, cycle.loop)
    cases = [(critical, r"$\tau \to \infty$", None)] if math.isfinite(critical) else []
    if cycle.finite:
        how: Any = dict(tau=cycle.tau, bias=cycle.bias)
        own = float(sequential.critical_gain(cycle.P, **how))
        cases.append((own, r"these $\tau$ and $b$", how))
    found = []
    for critical, words, how in cases:
        finite, text = how is not None, rf"{words}: $\kappa_c = {critical:.3f}$"
        found.append(Prediction(text, finite, np.array([critical])))
        grid = gains(critical, high)
        if finite and cycle.tau is not None:  # under a trace, what is not derived is NaN
            dwell = jax.vmap(partial(sequential.dwell_time, P=cycle.P, **how))(grid) / cycle.tau
        elif cycle.tau is not None and not cycle.loop:
            dwell = np.log(np.asarray(sequential.fixed_points(grid, cycle.P).upper))
        else:
            continue
        found.append(Prediction("", finite, grid, np.asarray(dwell)))
    return found


def _over_tau(cycle: Cycle, kappa: Any, low: float, high: float, unit: float) -> list[Prediction]:
    if kappa is None or cycle.loop:
        return []
    grid = np.linspace(low, high, 60)
    upper = float(sequential.fixed_points(kappa, cycle.P).upper)
    text = r"dwell, $\tau \to \infty$"
    found = [Prediction(text, False, grid, grid * math.log(upper) / unit)]
    if cycle.bias is not None and not sequential.domain(cycle.P, 50.0, cycle.bias):
        one = partial(sequential.dwell_time, kappa, P=cycle.P, bias=cycle.bias)
        curve = np.asarray(jax.vmap(lambda tau: one(tau=tau))(grid)) / unit
        found.append(Prediction(r"dwell at each $\tau$", True, grid, curve))
    return found


def _over_start(dataset: Dataset, cycle: Cycle) -> list[Prediction]:
    kappa = setting_of(dataset, "kappa")
    found: list[Prediction] = []
    if kappa is None or cycle.loop:
        return found
    edge = float(sequential.basin_edge(kappa, cycle.P))
    if math.isfinite(edge):
        text = rf"$\tau \to \infty$: smallest start {edge:.3f}"
        found.append(Prediction(text, False, np.array([edge])))
    if cycle.finite:
        own = float(sequential.basin_edge(kappa, cycle.P, tau=cycle.tau, bias=cycle.bias))
        if math.isfinite(own):
            text = rf"at $\tau$, $b$: smallest start {own:.3f}"
            found.append(Prediction(text, True, np.array([own])))
    return found
