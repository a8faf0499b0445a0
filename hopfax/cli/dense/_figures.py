"""The figures of `hopfax reproduce dense`."""

from typing import Any

import numpy as np

from ... import plots
from ...plots._axes import COLOURS
from ...plots._dense import paint
from .._picture import new_figure
from ._measured import (
    APPARENT,
    CASES,
    EDGES,
    FLIPPED,
    FRACTION,
    HORIZON,
    HORIZONS,
    IMAGE_STEPS,
    NOISE_LOAD,
    NOISE_START,
    NOISE_STEPS,
    ONE_RSB,
    ORDER,
    RS,
    STEPS,
    Results,
    Run,
    crossing,
)


def trajectories(found: Results) -> Any:
    """Overlap over time: theory, simulation, map."""
    figure = new_figure(figsize=(12.6, 4.3))
    axes = figure.subplots(1, len(CASES), sharey=True)
    for ax, load in zip(axes, CASES, strict=True):
        for run, colour in zip((r for r in found.runs if r.load == load), COLOURS, strict=False):
            t = np.arange(STEPS + 1)
            ax.plot(t, run.map, ":", color=colour, lw=1.2)
            ax.plot(t, run.theory, "-", color=colour, lw=1.4, label=f"$m_0 = {run.start:.1f}$")
            points = dict(fmt="o", ms=4, mfc="white", capsize=2, lw=1)
            ax.errorbar(t, run.mean, run.spread, color=colour, **points)
        critical = found.capacity[ORDER]
        word = "below" if load < critical else "above"
        ax.set_title(
            rf"$\alpha' = {load:g}$, {word} $\alpha'_c = {critical:.3f}$", fontsize="medium"
        )
        ax.set(xlabel="step $t$", xlim=(-0.3, STEPS + 0.3), ylim=(-0.02, 1.02))
        ax.grid(color="0.93")
        ax.legend(fontsize="small", loc="center right" if load < 0.2 else "lower left")
    axes[0].set_ylabel("overlap $m$")
    figure.legend(handles=_kinds(found.runs[0]), **_OUTSIDE)
    return figure


_OUTSIDE: dict[str, Any] = dict(loc="outside upper center", ncols=3, frameon=False)


def _kinds(run: Run) -> list[Any]:
    from matplotlib.lines import Line2D

    count = len(run.overlaps)
    grey: dict[str, Any] = dict(color="0.3")
    points: dict[str, Any] = dict(marker="o", mfc="white", ls="none", ms=5)
    return [
        Line2D([], [], lw=1.4, label=r"theory, $N \to \infty$", **grey),
        Line2D(
            [], [], label=f"simulation, $N = {run.neurons}$, {count} realisations", **grey, **points
        ),
        Line2D([], [], ls=":", label="memoryless map", **grey),
    ]


def basin(found: Results) -> Any:
    """What is retrieved from where."""
    figure = new_figure(figsize=(7.4, 6.4))
    ax = figure.subplots()
    plots.retrieval_diagram(found.diagram, ax)
    handles = list(ax.get_legend().legend_handles)
    values, errors = np.array(found.edges).T
    name = f"edge of the basin: {FRACTION:g} of the plateau in {HORIZON} steps"
    style = dict(color=COLOURS[4], fmt="o-", ms=6, mec="black", lw=1.4, zorder=5)
    handles.append(ax.errorbar(EDGES, values, errors, label=name, **style))
    ax.get_legend().remove()
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize="small", frameon=False
    )
    paint(found.diagram, "overlap").bar(figure, ax)
    return figure


def capacity(found: Results) -> Any:
    """Overlap over load after several times, and where it crosses a threshold."""
    figure = new_figure(figsize=(11.6, 4.8))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for T, colour in zip(HORIZONS, COLOURS, strict=False):
        m, error = found.curves[:, T], 2 * found.curve_errors[:, T]
        left.fill_between(found.loads, m - error, m + error, color=colour, alpha=0.25, lw=0)
        left.plot(found.loads, m, color=colour, lw=1.4, label=f"theory, $T = {T}$")
    for k, run in enumerate(found.ends):
        T = run.overlaps.shape[1] - 1
        style = dict(fmt="o", ms=5, mfc="white", color=COLOURS[HORIZONS.index(T)], capsize=2)
        name = f"simulation, $N = {run.neurons}$, $T = {T}$" if k == 0 else None
        left.errorbar(run.load, run.mean[T], run.spread[T], label=name, **style)
    for ax in (left, right):
        names = ("replica symmetric", "1-step RSB", "apparent")
        for value, ls, name in zip((RS, ONE_RSB, APPARENT), ("-", "--", ":"), names, strict=True):
            draw = ax.axvline if ax is left else ax.axhline
            text = f"{name}, {'~' if name == 'apparent' else ''}{value:g}"
            draw(value, color="0.4", ls=ls, lw=1.1, label=text if ax is left else None)
    left.set(xlabel=r"load $\alpha'$", ylabel="overlap $m(T)$ from $m_0 = 1$", ylim=(0, 1.0))
    left.set_xlim(found.loads[0], found.loads[-1])
    left.set_title("$n = 3$: retrieval above capacity decays slowly", fontsize="medium")
    left.legend(fontsize="small", loc="lower left")
    every = np.arange(6, HORIZONS[-1] + 1, 2)  # odd and even times lie a little apart
    for threshold, colour in zip((0.9, 0.85, 0.8), COLOURS[4:], strict=False):
        loads = [crossing(found, int(T), threshold) for T in every]
        right.plot(every, loads, color=colour, lw=1.6, label=f"$m(T) = {threshold:g}$")
    right.set(xlabel="time $T$", ylabel=r"load $\alpha'$", ylim=(0.24, 0.385))
    right.set_title("apparent capacity at a threshold", fontsize="medium")
    right.legend(fontsize="small", loc="upper right")
    return figure


def noise(found: Results) -> Any:
    """Noise and feedback over time for orders 2, 3, 4."""
    figure = new_figure(figsize=(9.6, 3.9))
    left, right = figure.subplots(1, 2)
    t = np.arange(NOISE_STEPS)
    for row, colour in zip(found.noise, COLOURS, strict=False):
        kind = "resummed" if row.order == 2 else r"$\alpha'$"
        line = dict(ls="--" if row.order == 4 else "-", marker=".", color=colour)
        left.plot(t, row.variance / NOISE_LOAD, label=f"$n = {row.order}$, {kind}", **line)
        right.plot(t[1:], row.total[1:], label=f"$n = {row.order}$", **line)
        style = dict(fmt="o", ms=8, mfc="none", color=colour, capsize=3)
        left.errorbar(1, row.measured[0] / NOISE_LOAD, row.errors[0] / NOISE_LOAD, **style)
        right.errorbar(1, row.measured[1], row.errors[1], **style)
    left.set(xlabel="time $t$", ylabel=r"noise $R(t, t) / \alpha'$", ylim=(0, None))
    right.set(xlabel="time $t$", ylabel=r"feedback $\sum_{t'} \Gamma(t, t')$", ylim=(0, None))
    right.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize="small")
    right.legend(fontsize="small")
    figure.suptitle(
        rf"$\alpha' = {NOISE_LOAD:g}$, $m_0 = {NOISE_START:g}$: theory (dots), measured (circles)",
        fontsize="medium",
    )
    return figure


def images(found: Results) -> Any:
    """Cue, steps, result and what was stored."""
    images = found.images
    shown = [0, 1, 2, 3, 4, IMAGE_STEPS]
    count = len(images.frames)
    figure = new_figure(figsize=(1.35 * (len(shown) + 1), 1.5 * count + 0.9))
    axes = figure.subplots(count, len(shown) + 1, squeeze=False)
    for k, row in enumerate(axes):
        for ax, t in zip(row, shown, strict=False):
            ax.imshow(images.frames[k, t], cmap="gray", vmin=-1, vmax=1)
            ax.set_xlabel(f"$m = {images.own[k, t]:.2f}$", fontsize="small", labelpad=2)
        row[-1].imshow(images.stored[k], cmap="gray", vmin=-1, vmax=1)
        for ax in row:
            ax.set(xticks=[], yticks=[])
    words = [f"cue, {FLIPPED:.0%} flipped", *(f"step {t}" for t in shown[1:]), "stored"]
    for ax, word in zip(axes[0], words, strict=True):
        ax.set_title(word, fontsize="small")
    figure.suptitle(
        rf"digits among random memories: $N = 1024$, $n = 3$, $\alpha' = {images.load:.2f}$",
        fontsize="medium",
    )
    return figure
