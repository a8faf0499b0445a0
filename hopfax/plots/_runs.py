"""One run, over time."""

from typing import Any

import numpy as np

from .._trajectory import Trajectory
from ..networks import AbstractFlow
from ._axes import COLOURS, new_axes


def trajectory(
    traj: Trajectory,
    network: AbstractFlow | None = None,
    *,
    predicted: Any = None,
    axes: Any = None,
) -> Any:
    r"""Overlaps above saliencies (where the network has them), one colour a memory.

    **Arguments:** `traj`: of `hopfax.simulate`. `network`: that it came from; then the saliency at
    which a memory loses its well, $1/\psi'(0)$, is drawn too. `predicted`: switch times from
    theory, in fast time constants, drawn as vertical lines. `axes`: two Axes (one without
    saliency), from top to bottom.

    **Returns:** the array of Axes.
    """
    rows = 1 if traj.saliency is None else 2
    if axes is None:
        axes = new_axes(rows, size=(7.2, 2.2 + 1.6 * rows))
    axes = np.atleast_1d(np.asarray(axes, dtype=object))
    if axes.size != rows:
        raise ValueError(f"`axes` must hold {rows} Axes for this run, got {axes.size}.")
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
    marks: list[Any] = []
    if predicted is not None:
        times = np.ravel(np.asarray(predicted))
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
