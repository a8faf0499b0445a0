"""One run, over time."""

import numpy as np

from .._errors import as_float, check_type
from .._palette import DIFFERENT
from .._trajectory import Trajectory
from .._types import ArrayLike
from ..networks import AbstractFlow, AbstractNetwork
from ._axes import Artist, Axes, Line, Panels, Style, look_of, new_column, panels


def trajectory(
    traj: Trajectory,
    network: AbstractFlow | None = None,
    *,
    predicted: ArrayLike = None,
    axes: Panels | None = None,
) -> np.ndarray:
    r"""Draw the overlaps of a run, and below them its saliencies if it has any.

    Every memory has a colour of its own, from the ninth on with other dashes; 32 are told apart.
    Handovers that fall between two saves are drawn as they were if the run kept dense output
    (`hopfax.EventDriven(dense=True)`); if not, the legend says so.

    **Arguments:** `traj`: of `hopfax.simulate`. `network`: the network that made it; then the
    saliency below which a memory is no equilibrium any more, $1/\psi'(0)$, is drawn too.
    `predicted`: switch times from theory, in fast time constants, drawn as vertical lines over a
    run that switches at all. `axes`: two Axes (one without saliency), from top to bottom.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a batch of runs, or another number of Axes.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    axes = hx.plots.trajectory(run, network)
    [ax.get_ylabel() for ax in axes]  # overlap $m$, saliency $z$
    plt.close(axes[0].figure)
    ```
    """
    check_type(traj, "traj", Trajectory, "a trajectory of hopfax.simulate")
    if network is not None:
        check_type(network, "network", AbstractNetwork, "the network that was run")
    rows = 1 if traj.saliency is None else 2
    if axes is None:
        axes = new_column(rows, (7.2, 2.2 + 1.6 * rows))
    axes = panels(axes, rows, " for this run")
    if np.ndim(traj.overlaps) != 2:
        raise ValueError("`traj` must be one run, not a batch.")
    ts, overlaps, saliency, coarse = _sampled(traj)
    lines = [_line(axes[0], ts, m, mu) for mu, m in enumerate(overlaps.T)]
    axes[0].set_ylabel("overlap $m$")
    low = min(0.0, float(np.nanmin(overlaps, initial=0.0)))
    axes[0].set_ylim(1.12 * low - 0.04, 1.08)
    if saliency is not None:
        for mu, z in enumerate(saliency.T):
            _line(axes[1], ts, z, mu)
        axes[1].set_ylabel("saliency $z$")
        level = None if network is None else network.escape_level()
        if level is not None:
            level = float(level)
            axes[1].axhline(level, color="0.5", lw=0.9, ls=":")
            text = f"escape, $z = {level:.3g}$"
            place = dict(xytext=(3, 0), textcoords="offset points", va="center", rotation=90)
            place |= dict(xy=(1, level), xycoords=("axes fraction", "data"))
            axes[1].annotate(text, fontsize="x-small", color="0.35", **place)
    marks: list[Artist] = []
    if predicted is not None:
        times = np.ravel(np.asarray(as_float(predicted, "predicted")))
        times = times[np.isfinite(times) & (times >= ts[0]) & (times <= ts[-1])]
        times = times if _switches(traj).size else times[:0]
        style = dict(color="0.25", lw=0.8, ls="--", zorder=0, label="predicted switch")
        marks = [ax.axvline(time, **style) for ax in axes for time in times][:1]
    _name(axes[0], lines, marks, coarse)
    axes[-1].set_xlabel("step" if traj.method == "iterate" else "time (fast time constants)")
    axes[-1].set_xlim(ts[0], ts[-1])
    return axes


def _line(ax: Axes, ts: np.ndarray, values: np.ndarray, mu: int) -> Line:
    look = look_of(mu)
    (line,) = ax.plot(ts, values, color=look.colour, ls=look.dashes, lw=1.4, label=f"memory {mu}")
    return line


def _name(ax: Axes, lines: list[Line], marks: list[Artist], coarse: bool) -> None:
    """The legend: memories up to so many as differ. Its title holds what is a sentence, which as an
    entry would be a column, and take its width from the Axes."""
    handles, notes = [*lines[:DIFFERENT], *marks], []
    columns = min(len(handles), _SPELT)
    if len(lines) > _SPELT:  # of many, the number alone finds room
        columns = 6 if marks else 8
        for mu, line in enumerate(lines):
            line.set_label(str(mu))
        notes.append("memory")
    if len(lines) > DIFFERENT:
        handles = [*marks]
        notes = [f"{len(lines)} memories; colours and dashes repeat every {DIFFERENT}"]
    if coarse:
        notes.insert(0, "saves are too far apart to show the handovers: use dense=True")
    if handles or notes:
        place: Style = dict(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        style: Style = dict(fontsize="small", frameon=False, ncols=max(columns, 1))
        ax.legend(
            handles=handles,
            title="\n".join(notes) or None,
            title_fontsize="small",
            **style,
            **place,
        )


def _switches(traj: Trajectory) -> np.ndarray:
    """The times of all crossings of a run."""
    times = np.ravel(np.asarray(traj.switches.time))
    return times[np.isfinite(times)]


def _sampled(traj: Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, bool]:
    """Times, overlaps and saliencies of a run, at its saves and, where these are far apart, around
    its switches; and whether they are, and nothing is known of what is between them."""
    ts, overlaps = np.asarray(traj.ts), np.asarray(traj.overlaps)
    saliency = None if traj.saliency is None else np.asarray(traj.saliency)
    switches = _switches(traj)
    apart = float(np.median(np.diff(ts))) if len(ts) > 1 else 0.0
    if apart <= _FINE or not switches.size:
        return ts, overlaps, saliency, False
    if traj.dense is None:
        return ts, overlaps, saliency, True
    near = (switches[:, None] + np.linspace(-_HANDOVER, _HANDOVER, 49)).ravel()
    end = ts[np.isfinite(overlaps).all(axis=1)].max(initial=ts[0])
    near = near[(near > ts[0]) & (near < end)]
    found = traj.evaluate(near)
    times = np.concatenate([ts, near])
    order = np.argsort(times, kind="stable")
    overlaps = np.concatenate([overlaps, np.asarray(found["overlaps"])])[order]
    if saliency is not None:
        saliency = np.concatenate([saliency, np.asarray(found["saliency"])])[order]
    return times[order], overlaps, saliency, False


_SPELT = 7  # memories up to which the legend says "memory 0"
_FINE = 1.5  # fast time constants between two saves that show a handover
_HANDOVER = 8.0  # fast time constants before and after a switch
