"""What `hopfax fit` draws: the replay beside its target, and the transition matrix."""

from typing import Any, TypeAlias

import numpy as np

import hopfax as hx

from ..._fit._proof import ROUNDS, replay
from ..._palette import ink_on, look_of
from ...observables import switch_times, visited
from .._picture import require

Moving: TypeAlias = hx.TwoTimescaleHopfield | hx.TwoTimescaleRateMemory
_ROWS = 4  # sequences that are drawn
_NARROW = 0.02  # of the width, below which a number has no room


def horizon(network: Moving, events: Any) -> float:
    """How long a replay lasts, in slow time constants: the target and a quarter more."""
    tau = float(np.max(np.asarray(network.tau)))
    if events.time is None:
        return float(1.6 * (len(events.memory) + 1) * (2 if events.cycle else 1))
    last = events.end if events.end is not None else events.time[-1]
    whole = float(last - events.time[0]) / tau * (2 if events.cycle else 1)
    return 1.25 * whole


def draw(found: "hx.SequenceFit", targets: list["hx.Events"]) -> Any:
    """Every sequence as it is wanted and as the network shows it, and the transition matrix."""
    shown = targets[:_ROWS]
    figure = require()(figsize=(10.5, max(1.4 + 1.5 * len(shown), 3.4)), layout="constrained")
    grid = figure.add_gridspec(len(shown), 2, width_ratios=[3, 1])
    for row, events in enumerate(shown):
        ax = figure.add_subplot(grid[row, 0])
        _sequence(ax, found, row, events)
        if len(targets) > 1:
            ax.set_title(f"sequence {row}", fontsize="small", loc="left")
        if row == len(shown) - 1:
            ax.set_xlabel("time (fast time constants)")
    _matrix(figure.add_subplot(grid[:, 1]), found.network)
    return figure


def _sequence(ax: Any, found: "hx.SequenceFit", row: int, events: Any) -> None:
    """A strip of memories, each in its colour, for the target and for the network's own run.

    Where the last memory was not seen to give way its end is open: dashed, beyond the picture.
    The run is the one that proved the fit, so that no other program has to be compiled.
    """
    run = replay(found.network, found.saliency[row], events)
    end = float(run.ts[-1])
    strips: list[tuple[str, Any, Any, float, bool]] = [
        ("network", visited(run, found.items), switch_times(run), end, True)
    ]
    if events.time is not None:
        whole = events.repeated(ROUNDS) if events.cycle else events
        begin = np.asarray(whole.time) - float(whole.time[0])
        last = whole.end if whole.until is None else whole.until
        last = begin[-1] if last is None else float(last - whole.time[0])
        strips.append(("target", whole.memory, begin[1:], last, whole.end is not None))
    for height, (_, memory, switches, last, seen) in enumerate(strips):
        memory = np.asarray(memory)
        ends = np.append(np.asarray(switches), last)[: len(memory)]
        begins = np.append(0.0, ends[:-1])
        colours = [look_of(int(mu)).colour for mu in memory]
        ax.barh(height, ends - begins, 0.7, begins, color=colours, edgecolor="white", lw=0.5)
        inks = [ink_on(colour) for colour in colours]
        if not seen:  # it stayed for longer than this, nobody knows how long
            ax.barh(height, 2 * end, 0.7, last, fc="none", ec=colours[-1], ls="--", lw=1.5)
            if ends[-1] - begins[-1] <= _NARROW * end:
                ends[-1], inks[-1] = end, "black"
        for mu, a, b, ink in zip(memory, begins, ends, inks, strict=True):
            if b - a > _NARROW * end:
                ax.text((a + b) / 2, height, f"{mu}", ha="center", va="center", color=ink)
    names = [name for name, *_ in strips]
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(-0.6, len(names) - 0.4))
    ax.set_xlim(0.0, end)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _matrix(ax: Any, network: Moving) -> None:
    from ...plots._fit import signed  # late: it takes all of hopfax.plots along

    kappa = np.broadcast_to(np.asarray(network.kappa), (network.patterns.P,))
    gains = kappa[:, None] * np.asarray(network.transition)
    top = np.abs(gains).max() or 1.0
    image = ax.imshow(gains, cmap="RdBu_r", vmin=-top, vmax=top)
    P = len(gains)
    ticks = np.arange(P) if P <= 12 else np.arange(0, P, max(P // 6, 1))
    ax.set(xticks=ticks, yticks=ticks, xlabel="from memory", ylabel="to memory")
    signed(ax, gains, top)
    ax.set_title(r"gain $\kappa A$")
    ax.figure.colorbar(image, ax=ax, shrink=0.7)
