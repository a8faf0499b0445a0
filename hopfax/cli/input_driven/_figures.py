"""The figures of `hopfax reproduce input_driven`."""

from typing import Any

import numpy as np

import hopfax as hx

from ...plots._axes import COLOURS
from ...theory import input_driven as theory
from .._picture import new_figure
from ._cases import AMPLITUDE, SIGMAS, STEEP, STRONG, WEAK
from ._measured import Results

_STATES = ("memory 1", "memory 2", "both", "a mixture", "nothing")


def competition(found: Results) -> Any:
    """What is stable over mixture and amplitude, for two overlaps, with the edges that were
    measured."""
    from matplotlib.colors import ListedColormap

    figure = new_figure(figsize=(11.0, 4.2))
    axes = figure.subplots(1, 2, sharey=True)
    s, A = np.linspace(0.0, 1.0, 401), np.linspace(0.6, 4.0, 341)
    colours = ListedColormap([*COLOURS[:2], COLOURS[6], COLOURS[3], "0.92"])
    for ax, quarters in zip(axes, (0, 1), strict=True):
        flags = theory.stable_states(s, A[:, None], overlap=quarters / 4)
        first, second, mixture, _ = map(np.asarray, flags)
        kind = np.where(first & second, 2, np.where(first, 0, np.where(second, 1, 4)))
        kind = np.where(mixture, 3, kind)
        picture = ax.pcolormesh(s, A, kind, cmap=colours, vmin=-0.5, vmax=4.5, rasterized=True)
        for edge, value in found.edges:
            if edge.quarters == quarters and isinstance(edge.activation, hx.HardTanh):
                ax.plot([value, 1 - value], [edge.amplitude] * 2, "ko", mfc="white", ms=6)
        ax.set(xlabel="part $s$ of memory 2", title=f"overlap {quarters / 4:g}")
    axes[0].set_ylabel("amplitude $A$")
    bar = figure.colorbar(picture, ax=axes, ticks=range(5))
    bar.ax.set_yticklabels(_STATES)
    return figure


def barriers(found: Results) -> Any:
    """Energies of both memories and of the saddle between them, with those that were measured."""
    figure = new_figure(figsize=(6.4, 3.8))
    ax = figure.subplots()
    s = np.linspace(0.0, 1.0, 201)
    made = theory.barrier(s, AMPLITUDE, hx.Tanh(2.0))
    energies = {"memory 1": made.first, "memory 2": made.second, "saddle": made.saddle}
    for colour, (label, values) in zip(COLOURS, energies.items(), strict=False):
        ax.plot(s, values, color=colour, label=label)
    ax.plot([one[0] for one in found.saddles], [one[2] for one in found.saddles], "ko", ms=5)
    ax.set(xlabel="part $s$ of memory 2", ylabel="energy per neuron")
    ax.legend()
    return figure


def noise(found: Results) -> Any:
    """Overlaps of both networks over the noise, from either memory."""
    figure = new_figure(figsize=(11.0, 4.0))
    axes = figure.subplots(1, 2, sharey=True)
    psi, sigma = hx.HardTanh(STEEP), np.linspace(0.02, 2.0, 100)
    window = theory.noise_window(STRONG, WEAK, psi)
    right = theory.driven_overlap(STRONG, sigma, psi)
    wrong = theory.driven_overlap(WEAK, sigma, psi, rival=STRONG)
    axes[0].plot(sigma, right.overlap, color=COLOURS[0], label="stimulated memory")
    held = np.where(wrong.stable, wrong.overlap, np.nan)
    axes[0].plot(sigma, held, color=COLOURS[1], label="weaker memory, while it is stable")
    axes[0].axvspan(float(window.low), 2.0, color="0.94", label="the stronger alone is stable")
    axes[0].set_title("input-driven")
    for mu in range(2):
        m = np.array(
            [theory.additive_overlaps([STRONG, WEAK], one, psi).overlaps[mu] for one in sigma]
        )
        axes[1].plot(sigma, m, color=COLOURS[mu], label=f"memory {mu + 1}")
    axes[1].set_title("classic, the stimulus as a current")
    for ax, m in zip(axes, (found.driven, found.classic), strict=True):
        for start, mark in ((0, "o"), (1, "x")):
            for mu in range(2):
                ax.plot(SIGMAS, m[:, start, mu], mark, color=COLOURS[mu], ms=6, mew=1.4)
        ax.set_xlabel(r"noise $\sigma$")
        ax.legend(fontsize="small")
    axes[0].set_ylabel("overlap (o: started in 1, x: in 2)")
    return figure
