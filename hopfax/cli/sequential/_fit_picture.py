"""What `hopfax fit` draws: the replay beside its target, and the transition matrix."""

from typing import Any

import numpy as np

import hopfax as hx

from .._picture import require


def horizon(network: hx.TwoTimescaleHopfield, events: Any) -> float:
    """How long a replay lasts, in slow time constants: the target and a quarter more."""
    tau = float(np.max(np.asarray(network.tau)))
    if events.time is None:
        return float(1.6 * (len(events.memory) + 1) * (2 if events.cycle else 1))
    last = events.end if events.end is not None else events.time[-1]
    whole = float(last - events.time[0]) / tau * (2 if events.cycle else 1)
    return 1.25 * whole


def draw(found: "hx.SequenceFit", targets: list["hx.Events"]) -> Any:
    """The replay of every sequence with its target above it, and the transition matrix."""
    shown = targets[:4]
    figure = require()(figsize=(10.5, 0.9 + 2.4 * len(shown)), layout="constrained")
    grid = figure.add_gridspec(len(shown), 2, width_ratios=[3, 1])
    for row, events in enumerate(shown):
        ax = figure.add_subplot(grid[row, 0])
        _replay(ax, found, row, events)
        if row == len(shown) - 1:
            ax.set_xlabel("time (fast time constants)")
    _matrix(figure.add_subplot(grid[:, 1]), found.network)
    return figure


def _replay(ax: Any, found: "hx.SequenceFit", row: int, events: Any) -> None:
    from ...plots._axes import COLOURS  # late: it takes all of hopfax.plots along

    network, saliency = found.network, found.saliency[row]
    tau = float(np.max(np.asarray(network.tau)))
    ts = np.linspace(0.0, horizon(network, events) * tau, 1201)
    run = hx.simulate(network, network.init(saliency=saliency), ts, throw=False)
    for mu, overlap in enumerate(np.asarray(run.overlaps).T):
        if np.abs(overlap).max() > 0.3:
            ax.plot(ts, overlap, color=COLOURS[mu % len(COLOURS)], label=f"{mu}")
    if events.time is not None:
        whole = events.repeated(2) if events.cycle else events
        begin = np.asarray(whole.time - whole.time[0])
        last = np.nan if whole.end is None else float(whole.end - whole.time[0])
        until = np.append(begin[1:], last if np.isfinite(last) else ts[-1])
        for mu, a, b in zip(np.asarray(whole.memory), begin, until, strict=True):
            colour = COLOURS[mu % len(COLOURS)]
            ax.plot([a, b], [1.12, 1.12], color=colour, lw=6, solid_capstyle="butt")
        ax.text(0.0, 1.22, " target", fontsize="small")
    ax.set(ylabel="overlap", ylim=(-0.15, 1.5), xlim=(0, ts[-1]), yticks=[0, 0.5, 1])
    if handles := ax.get_legend_handles_labels()[0]:
        columns = min(len(handles), 12)
        ax.legend(ncols=columns, fontsize="small", loc="upper right", frameon=False)


def _matrix(ax: Any, network: hx.TwoTimescaleHopfield) -> None:
    kappa = np.broadcast_to(np.asarray(network.kappa), (network.patterns.P,))
    gains = kappa[:, None] * np.asarray(network.transition)
    top = np.abs(gains).max() or 1.0
    image = ax.imshow(gains, cmap="RdBu_r", vmin=-top, vmax=top)
    P = len(gains)
    ticks = np.arange(P) if P <= 12 else np.arange(0, P, max(P // 6, 1))
    ax.set(xticks=ticks, yticks=ticks, xlabel="from memory", ylabel="to memory")
    ax.set_title(r"gain $\kappa A$")
    ax.figure.colorbar(image, ax=ax, shrink=0.7)
