"""One run, over time."""

import numpy as np

from .._errors import as_float, check_type
from .._trajectory import Trajectory
from .._types import ArrayLike
from ..networks import AbstractFlow, AbstractNetwork
from ._axes import COLOURS, Artist, Panels, new_column, panels


def trajectory(
    traj: Trajectory,
    network: AbstractFlow | None = None,
    *,
    predicted: ArrayLike = None,
    axes: Panels | None = None,
) -> np.ndarray:
    r"""Draw the overlaps of a run, and below them its saliencies if it has any.

    Every memory has a colour of its own.

    **Arguments:** `traj`: of `hopfax.simulate`. `network`: the network that made it; then the
    saliency below which a memory is no equilibrium any more, $1/\psi'(0)$, is drawn too.
    `predicted`: switch times from theory, in fast time constants, drawn as vertical lines. `axes`:
    two Axes (one without saliency), from top to bottom.

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
    ts, overlaps = np.asarray(traj.ts), np.asarray(traj.overlaps)
    if overlaps.ndim != 2:
        raise ValueError("`traj` must be one run, not a batch.")
    lines = [
        axes[0].plot(ts, m, color=COLOURS[mu % len(COLOURS)], lw=1.4, label=f"memory {mu}")[0]
        for mu, m in enumerate(overlaps.T)
    ]
    axes[0].set_ylabel("overlap $m$")
    low = min(0.0, float(np.nanmin(overlaps, initial=0.0)))
    axes[0].set_ylim(1.12 * low - 0.04, 1.08)
    if traj.saliency is not None:
        for mu, z in enumerate(np.asarray(traj.saliency).T):
            axes[1].plot(ts, z, color=COLOURS[mu % len(COLOURS)], lw=1.4)
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
        style = dict(color="0.25", lw=0.8, ls="--", zorder=0, label="predicted switch")
        marks = [ax.axvline(time, **style) for ax in axes for time in times][:1]
    handles = (lines if len(lines) <= 12 else []) + marks
    if handles:
        place = dict(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(handles), 7))
        axes[0].legend(handles=handles, fontsize="small", frameon=False, **place)
    axes[-1].set_xlabel("time (fast time constants)")
    axes[-1].set_xlim(ts[0], ts[-1])
    return axes
