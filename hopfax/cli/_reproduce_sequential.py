"""`hopfax reproduce sequential`: figures 2 and 3 of arXiv:2603.03201."""

import dataclasses
import math
from typing import Any

import numpy as np

from ._reproduce import Claim, Outcome, claim, new_figure

P, TAU, BIAS, START = 4, 50.0, 0.01, 4.0  # of the simulations that the figures show
HORIZON, SAVES = 40.0, 2001  # in slow time constants
SEPARATIONS = (50.0, 100.0, 200.0)  # at which the threshold is measured
LANES = 16  # gains tried at each separation at once, twice
Q_SELF, Q_NEXT = 2.0, 1.5  # of the comparison without a slow variable


def reproduce() -> Outcome:
    """Claims and figures."""
    results = _results()
    figures = {
        "fig2_map": _figure_map(results),
        "fig3_sequences": _figure_sequences(results),
        "one_timescale": _figure_one_timescale(results),
    }
    return Outcome(_claims(results), figures)


@dataclasses.dataclass(frozen=True)
class _Sequence:
    """One simulated two-timescale run; times in fast time constants."""

    ts: np.ndarray
    overlaps: np.ndarray
    saliency: np.ndarray
    switches: np.ndarray
    regime: str


@dataclasses.dataclass(frozen=True)
class _Results:
    gains: dict[int, float]  # critical gains of cycles in the singular limit, closed form
    orbits: dict[int, float]  # the same from orbits of the map
    chain: float
    thresholds: np.ndarray  # predicted, at SEPARATIONS
    measured: np.ndarray
    resolution: np.ndarray
    collapse: _Sequence
    entrained: _Sequence
    seeded: _Sequence  # with a seed on the next memory alone
    dwells: dict[float, tuple[float, float]]  # tau -> (predicted, measured)
    one: tuple[np.ndarray, np.ndarray]  # times and overlaps of the one-timescale run
    first_switch: float


# Measurements


def _observe(trajectory):
    """What the figures and claims need of a run."""
    import hopfax as hx

    return {
        "overlaps": trajectory.overlaps,
        "saliency": trajectory.saliency,
        "switch": hx.observables.switch_times(trajectory),
        **hx.observables.summary(trajectory),
    }


def _results() -> _Results:
    import jax.numpy as jnp

    import hopfax as hx

    from ..theory import sequential as theory

    point = hx.Point(
        hx.TwoTimescaleHopfield(
            hx.patterns.hadamard(P, 2**P), hx.cyclic(P), kappa=5.0, tau=TAU, bias=np.full(P, BIAS)
        ),
        {"saliency": START * np.eye(P)[0]},
        np.linspace(0.0, HORIZON, SAVES),
        observe=_observe,
        per_tau=True,
    )
    uniform, alone = np.full(P, BIAS), BIAS * np.eye(P)[1]
    shown = [(3.0, TAU, uniform), (5.0, TAU, uniform), (5.0, TAU, alone)]
    shown += [(5.0, tau, uniform) for tau in SEPARATIONS[1:]]
    count = len(SEPARATIONS)
    thresholds = np.asarray(theory.critical_gain(P, tau=np.array(SEPARATIONS), bias=BIAS))
    low, high = np.full(count, 2.8), np.full(count, 3.7)
    kept: list[_Sequence] = []
    for _ in range(2):  # the second time between the two gains that the first one found
        grid = np.linspace(low, high, LANES)  # (LANES, count)
        lanes = [
            (kappa, tau, uniform)
            for row in grid
            for kappa, tau in zip(row, SEPARATIONS, strict=True)
        ]
        found = _sweep(point, shown + lanes)
        kept = [_sequence(found, k, tau) for k, (_, tau, _) in enumerate(shown)]
        alive = found["regime"].values[len(shown) :].reshape(LANES, count)
        alive = alive == hx.observables.REGIMES.index("sequence")
        dead = LANES - 1 - np.argmax(~alive[::-1], axis=0)  # the last gain that collapses
        above = np.minimum(dead + 1, LANES - 1)
        low, high = grid[dead, np.arange(count)], grid[above, np.arange(count)]
    collapse, entrained, seeded, *slower = kept
    taus = np.array(SEPARATIONS)
    predicted = np.asarray(theory.dwell_time(5.0, taus, P, BIAS))
    runs = (entrained, *slower)
    ends = [run.switches[-1] - run.switches[-2] for run in runs]
    dwells = {
        tau: (float(a), float(b)) for tau, a, b in zip(SEPARATIONS, predicted, ends, strict=True)
    }
    network = hx.OneTimescaleHopfield(
        hx.patterns.hadamard(P, 2**P), Q_SELF * jnp.eye(P) + Q_NEXT * hx.cyclic(P)
    )
    one = hx.simulate(
        network, network.init(weights=np.array([2.0, 0.05, 0.0, 0.0])), np.linspace(0, 100, 1001)
    )
    return _Results(
        gains={size: float(theory.critical_gain(size)) for size in range(2, 9)},
        orbits={size: _threshold_of_orbits(size) for size in range(2, 7)},
        chain=_threshold_of_orbits(math.inf),
        thresholds=thresholds,
        measured=(low + high) / 2,
        resolution=(high - low) / 2,
        collapse=collapse,
        entrained=entrained,
        seeded=seeded,
        dwells=dwells,
        one=(np.asarray(one.ts), np.asarray(one.overlaps)),
        first_switch=float(theory.switch_time(START, 5.0, TAU, BIAS)),
    )


def _sweep(point, lanes) -> Any:
    import hopfax as hx

    kappa, tau, bias = (np.array(values) for values in zip(*lanes, strict=True))
    grid = {("kappa", "tau", "bias"): (kappa, tau, bias)}
    return hx.sweep(point, grid, tile=len(lanes), progress=False, on_failure="raise")


def _sequence(found, lane: int, tau: float) -> _Sequence:
    import hopfax as hx

    run = found.isel({found["regime"].dims[0]: lane})
    switches = run["switch"].values
    return _Sequence(
        np.linspace(0.0, HORIZON, SAVES) * tau,
        run["overlaps"].values,
        run["saliency"].values,
        switches[np.isfinite(switches)],
        hx.observables.REGIMES[int(run["regime"])],
    )


def _threshold_of_orbits(size: float | int, steps: int = 4000) -> float:
    """The smallest gain at which an orbit of the saliency map is still above 1 after `steps`.

    By bisection; every orbit starts as if all memories had just been active with saliency kappa.
    """
    low, high = 1.0, 6.0
    for _ in range(3):
        gains = np.linspace(low, high, 65)
        history = [gains.copy() for _ in range(1 if size == math.inf else int(size) - 1)]
        for _ in range(steps):
            Z = history[-1]
            residual = 0.0 if size == math.inf else 1 / np.prod(history, axis=0)
            new = np.where(Z > 1, gains * (1 - 1 / np.maximum(Z, 1e-9)) + residual, 0.0)
            # Below a threshold at Z = 1 the orbit creeps there; count that as the end.
            history = [*history[1:], np.where(new > 1 + 1e-3, new, 1.0)]
        alive = history[-1] > 1
        first = int(np.argmax(alive))
        low, high = gains[max(first - 1, 0)], gains[first]
    return float(high)


# Claims


def _claims(found: _Results) -> list[Claim]:
    from ..theory import sequential as theory

    settings = f"P = {P}, tau = {TAU:g}, uniform bias {BIAS:g}, z(0) = {START:g} e_0"
    singular = "singular limit: tau -> infinity, vanishing seed, orthogonal memories, hard tanh"
    creep = "an orbit just below threshold survives the 4000 steps that are followed"
    claims = [
        claim(
            "critical gain of an endless chain",
            4.0,
            found.chain,
            1e-2,
            creep,
            f"P -> infinity; {singular}; simulation: orbits of Z -> kappa (1 - 1/Z)",
        )
    ]
    for size, value in found.orbits.items():
        claims.append(
            claim(
                f"critical gain of a cycle of {size}",
                found.gains[size],
                value,
                1e-2,
                creep,
                f"P = {size}; {singular}; simulation: orbits of the map with residuals",
            )
        )
    fixed = theory.fixed_points(5.0)
    orbit = np.asarray(theory.saliency_orbit(START, 5.0, 60))
    edge = _edge_of_basin(5.0)
    claims += [
        claim(
            "stable saliency of the endless chain at kappa = 5",
            fixed.upper,
            orbit[-1],
            1e-6,
            "60 steps of a contraction by 0.38 each",
            f"P -> infinity; {singular}; simulation: the orbit from Z = {START:g}",
        ),
        claim(
            "smallest start saliency that lasts at kappa = 5",
            fixed.lower,
            edge,
            1e-4,
            "bisected to 1e-6; an orbit starting that close is followed for 200 steps",
            f"P -> infinity; {singular}; simulation: orbits, bisected over their start",
        ),
        claim(
            "kappa = 3 collapses: largest overlap in the last tenth, against a memory's 1",
            1.0,
            np.abs(found.collapse.overlaps[-SAVES // 10 :]).max(),
            0.9,
            "what is left is the response to the bias",
            f"{settings}, horizon {HORIZON:g} tau; {len(found.collapse.switches)} switches before",
            "below",
        ),
        claim(
            "kappa = 5 is entrained: largest overlap in mid-dwell, last five dwells",
            1.0,
            _purity(found.entrained),
            2e-2,
            "the seed lowers the overlap by O(bias)",
            f"{settings}, horizon {HORIZON:g} tau, {len(found.entrained.switches)} switches",
        ),
    ]
    limit = float(np.log(theory.fixed_points(5.0, P).upper))
    for tau, (predicted, measured) in found.dwells.items():
        claims.append(
            claim(
                f"steady dwell / tau at kappa = 5, tau = {tau:g}",
                predicted / tau,
                measured / tau,
                1e-3,
                "the response of bystanders, O(bias), is not in the theory",
                f"P = {P}, uniform bias {BIAS:g}; theory with the handover at this tau",
            )
        )
    tau = SEPARATIONS[-1]
    claims += [
        claim(
            f"limit of the steady dwell / tau at kappa = 5, measured at tau = {tau:g}",
            limit,
            found.dwells[tau][1] / tau,
            math.log(tau) / tau,
            "the handover lasts O(ln tau) fast time constants",
            f"P = {P}, tau -> infinity for the theory (ln Z); the simulation lies above",
        ),
        claim(
            "first switch / tau",
            found.first_switch / TAU,
            found.seeded.switches[0] / TAU,
            1e-3,
            "the formula is of first order in 1/tau",
            f"P = {P}, kappa = 5, tau = {TAU:g}, bias {BIAS:g} on memory 1 alone, "
            f"z(0) = {START:g} e_0",
        ),
        claim(
            "first switch / tau, seed on all memories",
            found.first_switch / TAU,
            found.entrained.switches[0] / TAU,
            (P - 2) * BIAS,
            "with it the first sites let go at z = 1 + (P - 2) bias instead of 1 + bias",
            f"{settings}, kappa = 5; the formula is for a seed on memory 1 alone",
        ),
    ]
    horizon = f"survival to {HORIZON:g} tau from z(0) = {START:g} e_0, uniform bias {BIAS:g}"
    rows = zip(SEPARATIONS, found.thresholds, found.measured, found.resolution, strict=True)
    for tau, predicted, measured, resolution in rows:
        claims.append(
            claim(
                f"critical gain of a cycle of {P} at tau = {tau:g}",
                predicted,
                measured,
                2 * BIAS + 0.02,
                "the theory leaves out bystanders, which costs 2 bias; slow collapse near "
                "threshold outlasts the horizon",
                f"{horizon}; bisected to +-{resolution:.1g}",
            )
        )
    for k, tau in enumerate(SEPARATIONS):
        larger = [*found.measured[k + 1 :], found.gains[P]]
        claims.append(
            claim(
                f"critical gain of a cycle of {P}: tau = {tau:g} lies below all larger tau",
                min(larger),
                found.measured[k],
                float(found.resolution.max()),
                "the resolution of the measured gains",
                f"{horizon}; the limit tau -> infinity is {found.gains[P]:.4f}, for this P, not 4",
                "below",
            )
        )
    late = found.one[1][len(found.one[1]) // 2 :]
    claims.append(
        claim(
            "one timescale: largest late overlap is far from a pure memory's 1",
            1.0,
            np.abs(late).max(),
            0.25,
            "a state within 1/4 of a memory would count as retrieved",
            f"Q = {Q_SELF:g} I + {Q_NEXT:g} Cyc, P = {P}, second half of 100 time constants; no "
            f"pure memory is an equilibrium because {Q_SELF:g} - {Q_NEXT:g} < 1",
            "below",
        )
    )
    return claims


def _edge_of_basin(kappa: float) -> float:
    """The smallest start from which an orbit of the endless chain goes on, by bisection."""
    low, high = 1.0, kappa
    for _ in range(40):
        middle = Z = (low + high) / 2
        for _ in range(200):
            Z = kappa * (1 - 1 / Z) if Z > 1 else 0.0
        low, high = (low, middle) if Z > 1 else (middle, high)
    return high


def _purity(run: _Sequence) -> float:
    """The smallest, over the last five full dwells, of the largest overlap in mid-dwell."""
    middles = (run.switches[-6:-1] + run.switches[-5:]) / 2
    nearest = np.argmin(np.abs(run.ts[:, None] - middles), axis=0)
    return float(np.abs(run.overlaps[nearest]).max(axis=1).min())


# Figures


def _figure_map(found: _Results) -> Any:
    """Cobwebs below, at and above the chain's critical gain; thresholds of finite cycles."""
    from .. import plots
    from ..plots._axes import COLOURS

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


def _figure_sequences(found: _Results) -> Any:
    """Overlaps and saliencies of the two-timescale network at gains 3 and 5."""
    from ..plots._axes import COLOURS

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


def _figure_one_timescale(found: _Results) -> Any:
    """Mixed states of the one-timescale network beside pure ones of the two-timescale network."""
    from ..plots._axes import COLOURS

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
