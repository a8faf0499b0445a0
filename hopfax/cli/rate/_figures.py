"""The figures of `hopfax reproduce rate`."""

from typing import Any

import numpy as np

from ... import plots
from ...plots._axes import COLOURS
from .._picture import new_figure
from ._cases import DELAY_THRESHOLD, HORIZON, INHIBITED, LOW, NEURONS, SURE, Q
from ._measured import Results

_OUTSIDE: dict[str, Any] = dict(loc="outside lower center", ncols=3, frameon=False)


def phase_diagrams(found: Results) -> Any:
    """Where a memory is stable, with simulations."""
    count = len(found.diagrams)
    figure = new_figure(figsize=(6.4 * count, 6.0))
    axes = np.atleast_1d(figure.subplots(1, count))
    handles: dict[str, Any] = {}
    for ax, dataset in zip(axes, found.diagrams, strict=True):
        plots.storage_diagram(dataset, ax)
        for handle in ax.get_legend().legend_handles:
            handles.setdefault(handle.get_label(), handle)
        ax.get_legend().remove()
    figure.legend(handles=list(handles.values()), fontsize="small", **_OUTSIDE)
    return figure


def cues(found: Results) -> Any:
    """Overlap and mean rate at the end over what is kept of a memory."""
    data = found.cues
    figure = new_figure(figsize=(9.6, 4.2))
    left, right = figure.subplots(1, 2)
    share = 100 * data.kept
    for ax, values in ((left, data.overlap), (right, data.mean)):
        spread = np.random.default_rng(0).uniform(-0.9, 0.9, values.shape)
        ax.plot(
            (share[:, None] + spread).ravel(),
            values.ravel(),
            "o",
            ms=3.5,
            mfc="none",
            mec=COLOURS[0],
            label="one cue",
        )
        ax.plot(share, values.mean(1), color=COLOURS[0], lw=1.4, label="mean over cues")
        ax.axvspan(0, 100 * LOW, color="0.94", zorder=0)
        ax.axvspan(100 * SURE, 102, color="#EAF3FA", zorder=0)
        ax.set(xlim=(0, 102), xlabel="active neurons that the cue keeps (%)")
    left.set(ylabel=f"overlap with the memory at $t = {HORIZON:g}$", ylim=(-0.05, 1.08))
    right.set(ylabel=f"mean rate at $t = {HORIZON:g}$", ylim=(-0.01, 0.225))
    levels = {
        "memory, $q$": Q,
        "memory without its core, $q - q^2$": Q - Q**2,
        "core alone, $q^2$": Q**2,
        "quiescent": float(found.planes[0].equilibria[0, 0]),
    }
    for (text, level), ls in zip(levels.items(), ("-", "--", "-.", ":"), strict=True):
        right.axhline(level, color=COLOURS[1], lw=1.2, ls=ls, label=text)
    left.legend(fontsize="small", loc="center right")
    right.legend(fontsize="small", loc="center right")
    figure.suptitle(
        rf"balanced set, $N = {NEURONS}$, $q = {Q:g}$, logistic, $\rho = 4.8$, $I^* = 0.2$, "
        rf"$a = {INHIBITED:g}$, $b = 0.95$",
        fontsize="medium",
    )
    return figure


def phase_planes(found: Results) -> Any:
    """Runs of a single memory in the plane of its two groups, and all states of rest."""
    from matplotlib.lines import Line2D

    figure = new_figure(figsize=(9.6, 9.8))
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, plane in zip(axes.ravel(), found.planes, strict=True):
        ends = plane.paths[:, -1]
        rest = plane.equilibria[plane.stable]
        nearest = np.abs(ends[:, None] - rest).max(-1).argmin(1)
        memory = int(np.argmax(rest[:, 0] - rest[:, 1]))
        for path, k in zip(plane.paths, nearest, strict=True):
            here = COLOURS[0] if k == memory and rest[k, 0] > 0.5 + rest[k, 1] else "0.55"
            here = COLOURS[4] if rest[k, 1] > 0.5 else here
            ax.plot(path[:, 0], path[:, 1], color=here, lw=0.9)
            ax.plot(*path[0], ".", color=here, ms=4, clip_on=False)
        for point, stable in zip(plane.equilibria, plane.stable, strict=True):
            fill = "black" if stable else "white"
            ax.plot(*point, "o", mec="black", mfc=fill, ms=9, mew=1.4, clip_on=False, zorder=5)
        on, off = plane.inputs
        kind = r"\gamma < 0" if plane.a < 0 else r"\gamma > 0"
        which = rf"$u_S = {on:g}$, $u_C = {off:g}$" if on or off else "no input"
        ax.set_title(rf"$a = {plane.a:g}$ (${kind}$), {which}", fontsize="medium")
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    for ax in axes[-1]:
        ax.set_xlabel("rate $s$ of the memory's active neurons")
    for ax in axes[:, 0]:
        ax.set_ylabel("rate $c$ of its silent neurons")
    dot: dict[str, Any] = dict(ls="none", marker="o", mec="black", ms=8, mew=1.4)
    handles = [
        Line2D([], [], mfc="black", label="stable state of rest (theory)", **dot),
        Line2D([], [], mfc="white", label="unstable", **dot),
        Line2D([], [], color=COLOURS[0], label="run that ends in the memory"),
        Line2D([], [], color="0.55", label="in quiescence"),
        Line2D([], [], color=COLOURS[4], label="in saturation"),
    ]
    figure.legend(handles=handles, fontsize="small", **_OUTSIDE)
    return figure


def thresholds(found: Results) -> Any:
    """Overlap of a memory over its saliency, and what delayed inhibition does."""
    figure = new_figure(figsize=(10.4, 4.4))
    left, right = figure.subplots(1, 2)
    for case, colour in zip(found.saliencies, COLOURS, strict=False):
        text = f"$a = {case.a:g}$, $I^* = {case.threshold:g}$"
        s, memory, saddle = case.branch.T
        left.plot(s, memory, color=colour, lw=1.5, label=f"{text}: $s_c = {case.predicted:.4f}$")
        left.plot(s, saddle, color=colour, lw=1.1, ls="--")
        left.plot(*case.runs.T, "o", color=colour, mfc="white", ms=5)
    left.set(xlabel=r"saliency $s_\mu$ of the memory", ylabel="overlap $m_\\mu$ with it")
    left.set(xlim=(0.2, 1.3), ylim=(-0.03, 1.05))
    left.set_title("memory (line) and saddle (dashed); runs (circles)", fontsize="medium")
    left.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 0.06))
    tau, growth, theory = found.delays.T
    right.plot(tau, theory, color=COLOURS[0], lw=1.5, label="greatest eigenvalue")
    right.plot(tau, growth, "o", color=COLOURS[0], mfc="white", ms=5, label="simulation")
    right.axhline(0, color="0.6", lw=0.8)
    text = rf"critical $\tau_I = {found.critical_delay[0]:.3f}$"
    right.axvline(found.critical_delay[0], color=COLOURS[1], lw=1.4, label=text)
    right.set(xlabel=r"time constant of inhibition $\tau_I$ (neurons' time constants)")
    right.set_ylabel("growth rate of a perturbation")
    right.set_title(
        rf"Dale's law, near the border: $I^* = {DELAY_THRESHOLD:g}$, twice the least $c$",
        fontsize="medium",
    )
    right.legend(fontsize="small")
    return figure
