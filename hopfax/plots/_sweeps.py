"""Sweeps: regime maps, dwells and curves, with the theory laid over the measurement."""

import json
import math
from typing import Any, NamedTuple

import numpy as np

from .. import _status
from ..observables import REGIMES
from ..theory import sequential
from ._axes import COLOURS, REGIME_COLOURS, label, new_axes, tau_text

_SINGULAR = r"$\tau \to \infty$"


class Cycle(NamedTuple):
    """What the sequential theory needs to know of a sweep."""

    P: int
    tau: float | None
    bias: float | None

    @property
    def finite(self) -> bool:
        """Whether the theory of finite separation applies."""
        return self.P > 2 and (self.tau or 0) > 1 and (self.bias or 0) > 0


def cycle_of(dataset: Any) -> Cycle | None:
    """The cycle that a sweep of two-timescale networks ran, read from the dataset's attributes.

    None unless the network is a plain cycle (each memory calls the next with weight 1) with hard
    tanh and no noise, for which the theory stands. `tau` or `bias` is None where it is no single
    number.
    """
    try:
        settings = json.loads(dataset.attrs["settings"])
        transition = np.asarray(settings["network.transition"], dtype=float)
    except (KeyError, ValueError, TypeError):
        return None
    P = len(transition)
    cyclic = P > 1 and np.array_equal(transition, np.roll(np.eye(P), 1, axis=0))
    plain = settings.get("activation") == "HardTanh" and "noise" not in settings
    if dataset.attrs.get("network") != "TwoTimescaleHopfield" or not (cyclic and plain):
        return None
    if "network.activation.gain" in settings:
        return None

    def single(name):
        value = settings.get(f"network.{name}")
        swept = any(str(axis).split("[")[0] == name for axis in dataset.coords)
        return float(value) if isinstance(value, int | float) and not swept else None

    return Cycle(P, single("tau"), single("bias"))


def phase_diagram(dataset: Any, ax: Any = None, *, theory: bool = True) -> Any:
    r"""Map of the regimes over the two axes of a sweep.

    Over a map of the gain $\kappa$ and one start saliency of a plain cycle, three predictions are
    drawn: where a start just suffices to sustain the sequence, for an endless chain and for this
    cycle (both $\tau \to \infty$), and for this cycle at the sweep's own $\tau$ and seed. The
    theory assumes orthogonal memories.

    **Arguments:** `dataset`: of `hopfax.sweep`, with `regime` over two dimensions. `ax`: where to
    draw. `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset without `regime` over exactly two dimensions.
    """
    if "regime" not in dataset or dataset["regime"].ndim != 2:
        raise ValueError(
            "`dataset` must have `regime` over two dimensions, got "
            f"{dict(dataset['regime'].sizes) if 'regime' in dataset else list(dataset)}."
        )
    dims = [str(dim) for dim in dataset["regime"].dims]
    for dim in dims:
        if dim not in dataset.coords or dataset[dim].ndim != 1:
            raise ValueError(
                f"`dataset`: dimension {dim!r} has no single coordinate to draw it by."
            )
    x, y = ("kappa", *(d for d in dims if d != "kappa")) if "kappa" in dims else dims
    ax = new_axes(size=(6.6, 5.6)) if ax is None else ax
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    codes, names = _codes(dataset.transpose(y, x, ...))
    colours = ListedColormap([REGIME_COLOURS[name] for name in names])
    norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
    xs, ys = dataset[x].values, dataset[y].values
    ax.pcolormesh(xs, ys, codes, cmap=colours, norm=norm, shading="nearest", rasterized=True)
    ax.set(xlabel=label(x), ylabel=label(y))
    limits = (ax.get_xlim(), ax.get_ylim())
    handles: list[Any] = [
        Patch(facecolor=REGIME_COLOURS[name], edgecolor="0.4", lw=0.5, label=name)
        for code, name in enumerate(names)
        if (codes == code).any()
    ]
    cycle = cycle_of(dataset)
    if theory and cycle is not None and x == "kappa" and _single_start(dataset, y):
        handles += _edges(ax, cycle, *limits)
        ax.set_title(_setting(cycle) + _horizon(dataset), fontsize="medium")
    ax.set(xlim=limits[0], ylim=limits[1])
    columns = 2 if len(handles) > 3 else max(len(handles), 1)
    _legend_below(ax, handles, columns)
    return ax


def dwell_curve(dataset: Any, ax: Any = None, *, theory: bool = True) -> Any:
    r"""Dwell in one memory, in units of $\tau$, over the gain.

    Of a map, the row with the largest start value (along every other axis) is drawn, and of it the
    sustained sequences. For a plain cycle the predicted dwell is drawn for the sweep's own $\tau$
    and seed, and for $\tau \to \infty$; the theory assumes orthogonal memories.

    **Arguments:** `dataset`: of `hopfax.sweep`, with `dwell` over `kappa`. `ax`: where to draw.
    `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset without `dwell` over `kappa`.
    """
    if "dwell" not in dataset or "kappa" not in dataset["dwell"].dims:
        raise ValueError("`dataset` must have `dwell` over `kappa`.")
    ax = new_axes(size=(6.0, 4.6)) if ax is None else ax
    row = largest_start(dataset)
    cycle = cycle_of(dataset)
    tau = cycle.tau if cycle is not None else None
    unit = 1.0 if tau is None else tau
    kappa = row["kappa"].values
    dwell = row["dwell"].values / unit
    if "regime" in row:
        dwell = np.where(row["regime"].values == REGIMES.index("sequence"), dwell, np.nan)
    spots = dict(ms=6, mfc=REGIME_COLOURS["sequence"], mec="none", ls="none")
    ax.plot(kappa, dwell, "o", label="simulation", **spots)
    low, high = ax.get_xlim() if len(kappa) == 1 else (kappa.min(), kappa.max())
    if theory and cycle is not None and cycle.tau is not None:
        if cycle.finite:
            grid = _gains(_threshold(cycle), high)
            curve = sequential.dwell_time(grid, cycle.tau, cycle.P, cycle.bias)
            text = f"theory, $P = {cycle.P}$, {tau_text(cycle.tau)}"
            ax.plot(grid, np.asarray(curve) / unit, color="black", lw=1.3, label=text)
        for P, style in ((cycle.P, "--"), (math.inf, ":")):
            grid = _gains(float(sequential.critical_gain(P)), high)
            curve = np.log(np.asarray(sequential.fixed_points(grid, P).upper))
            text = f"theory, {_size(P)}, {_SINGULAR}"
            ax.plot(grid, curve, color="0.25", lw=1.3, ls=style, label=text)
        ax.set_title(_setting(cycle), fontsize="medium")
    ax.set(xlabel=label("kappa"), xlim=(low, high))
    ax.set_ylabel(label("dwell") if tau is None else r"dwell / $\tau$")
    ax.set_ylim(bottom=0)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    _legend_below(ax, ax.get_legend_handles_labels()[0], 2)
    return ax


def curves(dataset: Any, axes: Any = None) -> Any:
    """Every variable of a one-dimensional sweep that is one number a point, one above the other.

    **Arguments:** `dataset`: of `hopfax.sweep` over one axis. `axes`: as many Axes as there are
    such variables (but `status`, which is drawn only where some point failed).

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset with no such variable.
    """
    names = [str(name) for name in dataset.data_vars if drawable(dataset, str(name))]
    dims = {str(dataset[name].dims[0]) for name in names}
    if len(dims) != 1:
        raise ValueError(
            "`dataset` must have variables of one number a point over one axis, got "
            f"{ {str(name): tuple(v.sizes) for name, v in dataset.data_vars.items()} }."
        )
    (dim,) = dims
    if axes is None:
        axes = new_axes(len(names), size=(6.4, 1.2 + 1.5 * len(names)))
    axes = np.atleast_1d(np.asarray(axes, dtype=object))
    if axes.size != len(names):
        raise ValueError(f"`axes` must hold {len(names)} Axes, got {axes.size}.")
    x = dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])
    for ax, name in zip(axes, names, strict=True):
        ax.plot(x, dataset[name].values, ".-", color=COLOURS[0], lw=1, ms=4)
        ax.set_ylabel(label(name), fontsize="small")
        ax.grid(color="0.92")
        meanings = dataset[name].attrs.get("flag_meanings")
        if meanings:
            values = np.unique(dataset[name].values)
            flags = np.asarray(dataset[name].attrs["flag_values"]).tolist()
            words = dict(zip(flags, meanings.split(), strict=True))
            ax.set_yticks(values, [words.get(int(v), str(v)) for v in values])
    axes[-1].set_xlabel(label(dim))
    return axes


def drawable(dataset: Any, name: str) -> bool:
    """Whether `curves` draws this variable: one number a point, and not a `status` all ok."""
    variable = dataset[name]
    return variable.ndim == 1 and (name != "status" or bool((variable.values != _status.OK).any()))


def largest_start(dataset: Any) -> Any:
    """The row over `kappa` at the largest value along every other axis of the grid."""
    others = [dim for dim in dataset["dwell"].dims if dim != "kappa"]
    place = {
        dim: int(np.argmax(dataset[dim].values)) if dim in dataset.coords else -1 for dim in others
    }
    return dataset.isel(place)


def _codes(dataset: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Regime codes, with one more code for the points that failed."""
    names = (*REGIMES, "failed")
    codes = dataset["regime"].values.astype(int)
    bad = ~np.isin(dataset["status"].values, (_status.OK, _status.STOPPED_BY_EVENT))
    return np.where(bad | (codes < 0), len(REGIMES), codes), names


def _single_start(dataset: Any, y: str) -> bool:
    """Whether all start saliencies but the one along `y` are zero."""
    if not y.startswith("init.saliency["):
        return False
    start = np.array(json.loads(dataset.attrs["settings"])["init['saliency']"], dtype=float)
    start[int(y.removeprefix("init.saliency[").removesuffix("]"))] = 0.0
    return not start.any()


def _edges(ax, cycle: Cycle, xlim, ylim) -> list:
    lines = []
    cases = [(math.inf, math.inf, ":"), (cycle.P, math.inf, "--")]
    if cycle.finite:
        assert cycle.tau is not None
        cases.append((cycle.P, cycle.tau, "-"))
    for P, tau, style in cases:
        finite = tau != math.inf
        options: dict[str, Any] = dict(tau=tau, bias=cycle.bias) if finite else {}
        gain = float(sequential.critical_gain(P, **options))
        kappa = _gains(gain, xlim[1])
        edge = np.asarray(sequential.basin_edge(kappa, P, **options))
        known = np.isfinite(edge)
        # The boundary goes on straight up at the critical gain, below which no start suffices.
        kappa = np.concatenate([[gain], kappa[known]])
        edge = np.concatenate([[ylim[1]], edge[known]])
        separation = tau_text(tau) if finite else _SINGULAR
        text = rf"theory, {_size(P)}, {separation}: $\kappa_c = {gain:.2f}$"
        colour, width = ("black", 1.6) if finite else ("0.2", 1.3)
        lines += ax.plot(kappa, edge, ls=style, color=colour, lw=width, label=text)
    return lines


def _threshold(cycle: Cycle) -> float:
    return float(sequential.critical_gain(cycle.P, tau=cycle.tau, bias=cycle.bias))


def _gains(low: Any, high: Any, number: int = 40) -> np.ndarray:
    """Gains from just above a threshold up, denser near it, where the curves are steep."""
    return low + max(high - low, 0.0) * np.linspace(0.005, 1.0, number) ** 2 + 1e-6


def _size(P: int | float) -> str:
    return r"$P \to \infty$" if P == math.inf else f"$P = {int(P)}$"


def _setting(cycle: Cycle) -> str:
    parts = [f"cycle of {cycle.P} memories"]
    parts += [] if cycle.tau is None else [tau_text(cycle.tau)]
    parts += [] if cycle.bias is None else [rf"$b = {cycle.bias:g}$"]
    return ", ".join(parts)


def _horizon(dataset: Any) -> str:
    settings = json.loads(dataset.attrs["settings"])
    ts = settings.get("ts")
    if not isinstance(ts, list):
        return ""
    unit = r"\tau" if settings.get("per_tau") else r"\tau_x"
    return rf", horizon ${ts[-1]:g}\,{unit}$"


def _legend_below(ax, handles, columns: int) -> None:
    if handles:
        place = dict(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=columns)
        ax.legend(handles=handles, fontsize="small", frameon=False, **place)
