"""The figures of `hopfax reproduce sequential`."""

from typing import Any

import numpy as np

from ... import plots
from ...plots._axes import COLOURS
from .._picture import new_figure
from ._measured import BIAS, Q_NEXT, Q_SELF, SEPARATIONS, START, TAU, P, Results


def saliency_map(found: Results) -> Any:
    """Cobwebs below, at and above the chain's critical gain; thresholds of finite cycles."""
    figure = new_figure(figsize=(17.5, 4.7))
    axes = figure.subplots(1, 4)
    for ax, kappa in zip(axes, (3.0, 4.0, 5.0), strict=False):
        plots.saliency_map(kappa, Z0=START, ax=ax)
    ax = axes[3]
    sizes = np.array(list(found.gains))
    ax.axhline(4.0, color="0.5", lw=1, ls=":")
    ax.text(sizes[-1], 4.01, r"endless chain, $P \to \infty$", ha="right", va="bottom", fontsize=9)
    ax.plot(sizes, list(found.gains.values()), "-", color=COLOURS[0], lw=1)
    label = r"cycle of $P$, $\tau \to \infty$ (theory)"
    ax.plot(sizes, list(found.gains.values()), "o", color=COLOURS[0], label=label)
    label = r"the same from orbits of the map"
    ax.plot(list(found.orbits), list(found.orbits.values()), "x", color="black", label=label)
    rows = zip(SEPARATIONS, found.thresholds, found.measured, COLOURS[1:], strict=False)
    for tau, predicted, measured, colour in rows:
        style = dict(color=colour, ls="none", ms=8)
        ax.plot(P - 0.12, predicted, ">", label=rf"$\tau$ = {tau:g}: theory", **style)
        ax.plot(P + 0.12, measured, "<", label="        simulation", **style)
    ax.set(xlabel="memories $P$ in the cycle", ylabel=r"critical gain $\kappa_c$")
    ax.set_title(f"finite cycles; finite $\\tau$ with seed {BIAS:g}", fontsize="medium")
    ax.legend(fontsize="small", loc="lower right")
    ax.set_ylim(1.8, 4.25)
    return figure


def sequences(found: Results) -> Any:
    """Overlaps and saliencies of the two-timescale network at gains 3 and 5."""
    span = 12 * TAU
    figure = new_figure(figsize=(13.5, 5.2))
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    runs = {3.0: found.collapse, 5.0: found.entrained}
    for column, (kappa, run) in enumerate(runs.items()):
        top, bottom = axes[:, column]
        for mu in range(P):
            top.plot(run.ts, run.overlaps[:, mu], color=COLOURS[mu], lw=1.3, label=f"memory {mu}")
            bottom.plot(run.ts, run.saliency[:, mu], color=COLOURS[mu], lw=1.3)
        bottom.axhline(1.0, color="0.5", lw=0.9, ls=":")
        inside = run.switches[run.switches < span]
        word = "collapse" if run.regime == "collapse" else "entrained"
        top.set_title(
            rf"$\kappa$ = {kappa:g}: {word} ($P$ = {P}, $\tau$ = {TAU:g}, "
            rf"bias {BIAS:g}; threshold here {found.measured[0]:.2f})",
            fontsize="medium",
        )
        if run.regime == "collapse":
            top.text(
                0.985,
                0.9,
                f"{len(inside)} switches, then no memory",
                transform=top.transAxes,
                ha="right",
                fontsize="small",
            )
        bottom.set_xlabel("time (fast time constants)")
        top.set_xlim(0, span)
    predicted = found.first_switch + np.arange(64) * found.dwells[TAU][0]
    for ax in axes[:, 1]:
        for time in predicted[predicted < span]:
            mark = ax.axvline(time, color="0.25", lw=0.8, ls="--", zorder=0)
    axes[1, 1].legend([mark], ["predicted switch"], fontsize="small", loc="upper right")
    axes[1, 0].text(span, 1.0, "escape, $z = 1$ ", ha="right", va="bottom", fontsize="small")
    axes[0, 0].set_ylabel("overlap $m$")
    axes[1, 0].set_ylabel("saliency $z$")
    axes[1, 0].set_ylim(-0.1, 4.7)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=P, frameon=False
    )
    return figure


def one_timescale(found: Results) -> Any:
    """Mixed states of the one-timescale network beside pure ones of the two-timescale network."""
    figure = new_figure(figsize=(13.5, 3.4))
    axes = figure.subplots(1, 2, sharey=True)
    ts, overlaps = found.one
    late = ts[len(ts) // 2]
    reached = float(np.abs(overlaps[len(ts) // 2 :]).max())
    run = found.entrained
    end = 6 * TAU
    for mu in range(P):
        axes[0].plot(ts, overlaps[:, mu], color=COLOURS[mu], lw=1.3, label=f"memory {mu}")
        axes[1].plot(run.ts, run.overlaps[:, mu], color=COLOURS[mu], lw=1.3)
    axes[0].plot([late, ts[-1]], [reached, reached], color="0.25", lw=0.9, ls="--")
    axes[0].text(ts[-1], reached + 0.04, f"largest: {reached:.3f}", ha="right", fontsize="small")
    title = rf"one timescale, $Q = {Q_SELF:g}\,I + {Q_NEXT:g}\,$Cyc: mixed states"
    axes[0].set_title(title, fontsize="medium")
    title = rf"two timescales, $\kappa$ = 5, $\tau$ = {TAU:g}: pure memories ($P$ = {P})"
    axes[1].set_title(title, fontsize="medium")
    axes[0].set(xlim=(0, ts[-1]), ylabel="overlap $m$", xlabel="time (time constants)")
    axes[1].set(xlim=(0, end), xlabel="time (fast time constants)")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=P, frameon=False
    )
    return figure
