"""What `hopfax reproduce sequential` measures: thresholds, sequences, orbits of the map."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ...theory import sequential as theory

P, TAU, BIAS, START = 4, 50.0, 0.01, 4.0  # of the simulations that the figures show
HORIZON, SAVES = 40.0, 2001  # in slow time constants
SEPARATIONS = (50.0, 100.0, 200.0)  # at which the threshold is measured
LANES = 16  # gains tried at each separation at once, twice
RESOLVED = 1e-8  # the least part of tau by which dwells are told apart
STEP, LONG = 1e-3, 300.0  # apart of the gains tried around a fold; for how long, in tau
Q_SELF, Q_NEXT = 2.0, 1.5  # of the comparison without a slow variable


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One simulated two-timescale run; times in fast time constants."""

    ts: np.ndarray
    overlaps: np.ndarray
    saliency: np.ndarray
    switches: np.ndarray
    regime: str


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that is measured, and the theory beside it."""

    gains: dict[int, float]  # critical gains of cycles in the singular limit, closed form
    orbits: dict[int, float]  # the same from orbits of the map
    chain: float
    thresholds: np.ndarray  # predicted, at SEPARATIONS
    measured: np.ndarray
    resolution: np.ndarray
    collapse: Sequence
    entrained: Sequence
    seeded: Sequence  # with a seed on the next memory alone
    dwells: dict[float, tuple[float, float]]  # tau -> (predicted, measured)
    one: tuple[np.ndarray, np.ndarray]  # times and overlaps of the one-timescale run
    first_switch: float
    orbits_of: dict[float, hx.dynamics.Threshold]  # tau -> the orbit at gain 5, and its fold
    from_fold: np.ndarray  # thresholds of runs that begin on the orbit at the fold
    decays: dict[float, tuple[float, float]]  # tau -> (factor a dwell, dwells that were left out)


def _observe(trajectory):
    """What the figures and claims need of a run."""
    return {
        "overlaps": trajectory.overlaps,
        "saliency": trajectory.saliency,
        "switch": hx.observables.switch_times(trajectory),
        **hx.observables.summary(trajectory),
    }


def results() -> Results:
    """Everything that the claims and figures are about."""
    (collapse, entrained, seeded, *slower), low, high = _runs()
    found = {tau: hx.dynamics.critical_gain(_network(tau)) for tau in SEPARATIONS}
    return Results(
        gains={size: float(theory.critical_gain(size)) for size in range(2, 9)},
        orbits={size: _threshold_of_orbits(size) for size in range(2, 7)},
        chain=_threshold_of_orbits(math.inf),
        thresholds=np.asarray(theory.critical_gain(P, tau=np.array(SEPARATIONS), bias=BIAS)),
        measured=(low + high) / 2,
        resolution=(high - low) / 2,
        collapse=collapse,
        entrained=entrained,
        seeded=seeded,
        dwells=_dwells([entrained, *slower]),
        one=_one_timescale(),
        first_switch=float(theory.switch_time(START, 5.0, TAU, BIAS)),
        orbits_of=found,
        from_fold=_from_fold(found),
        decays=_decays([entrained, *slower], found),
    )


def _network(tau: float) -> hx.TwoTimescaleHopfield:
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(P, 2**P), hx.cyclic(P), kappa=5.0, tau=tau, bias=np.full(P, BIAS)
    )


def _runs() -> tuple[list[Sequence], np.ndarray, np.ndarray]:
    """The sequences that are shown, and for each separation of timescales the two gains between
    which its threshold lies: the greatest that collapses and the next one.

    All run in one program, twice: the second time the gains lie between those that the first one
    found.
    """
    point = hx.Point(
        _network(TAU),
        {"saliency": START * np.eye(P)[0]},
        np.linspace(0.0, HORIZON, SAVES),
        observe=_observe,
        per_tau=True,
    )
    uniform, alone = np.full(P, BIAS), BIAS * np.eye(P)[1]
    shown = [(3.0, TAU, uniform), (5.0, TAU, uniform), (5.0, TAU, alone)]
    shown += [(5.0, tau, uniform) for tau in SEPARATIONS[1:]]
    count = len(SEPARATIONS)
    low, high = np.full(count, 2.8), np.full(count, 3.7)
    kept: list[Sequence] = []
    for _ in range(2):
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
    return kept, low, high


def _dwells(runs: list[Sequence]) -> dict[float, tuple[float, float]]:
    """The last dwell of the run at each separation, predicted and measured."""
    predicted = np.asarray(theory.dwell_time(5.0, np.array(SEPARATIONS), P, BIAS))
    ends = [run.switches[-1] - run.switches[-2] for run in runs]
    rows = zip(SEPARATIONS, predicted, ends, strict=True)
    return {tau: (float(before), float(end)) for tau, before, end in rows}


def _from_fold(found: dict[float, hx.dynamics.Threshold]) -> np.ndarray:
    """For each separation the gain, bracketed by runs which begin on the orbit at the fold, above
    which they go on."""
    apart = STEP * (np.arange(LANES) - (LANES - 1) / 2)  # around the fold, rounded
    lanes = [(more, tau, end.end) for more in apart for tau, end in found.items()]
    starts = {
        "saliency": np.array([np.asarray(end.saliency) for *_, end in lanes]),
        "weights": np.array([np.asarray(end.state.weights) for *_, end in lanes]),
    }
    values = {
        "kappa": np.array([round(end.parameter, 2) + more for more, _, end in lanes]),
        "tau": np.array([tau for _, tau, _ in lanes]),
        **starts,
    }
    point = hx.Point(
        _network(TAU),
        {name: value[0] for name, value in starts.items()},
        np.linspace(0.0, LONG, 601),
        observe=hx.observables.summary,
        per_tau=True,
    )
    grid = {tuple(values): tuple(values.values())}
    swept: Any = hx.sweep(point, grid, tile=len(lanes), progress=False, on_failure="raise")
    alive = swept["regime"].values.reshape(LANES, -1) == hx.observables.REGIMES.index("sequence")
    dead = LANES - 1 - np.argmax(~alive[::-1], axis=0)
    gains = values["kappa"].reshape(LANES, -1)
    places = np.arange(len(found))
    return (gains[dead, places] + gains[np.minimum(dead + 1, LANES - 1), places]) / 2


def _decays(
    runs: list[Sequence], found: dict[float, hx.dynamics.Threshold]
) -> dict[float, tuple[float, float]]:
    """By which factor what is left of the start shrinks from one dwell to the next, measured in
    late dwells; and how many dwells passed before."""
    measured = {}
    for run, (tau, end) in zip(runs, found.items(), strict=True):
        off = np.abs(np.diff(run.switches) - float(end.orbit.returns))
        late = int(np.flatnonzero(off > RESOLVED * tau)[-1])
        measured[tau] = float(off[late] / off[late - 1]), float(late - 1)
    return measured


def _one_timescale() -> tuple[np.ndarray, np.ndarray]:
    """Times and overlaps of a network without a slow variable."""
    network = hx.OneTimescaleHopfield(
        hx.patterns.hadamard(P, 2**P), Q_SELF * jnp.eye(P) + Q_NEXT * hx.cyclic(P)
    )
    start = network.init(weights=np.array([2.0, 0.05, 0.0, 0.0]))
    run = hx.simulate(network, start, np.linspace(0, 100, 1001))
    return np.asarray(run.ts), np.asarray(run.overlaps)


def _sweep(point, lanes) -> Any:
    kappa, tau, bias = (np.array(values) for values in zip(*lanes, strict=True))
    grid = {("kappa", "tau", "bias"): (kappa, tau, bias)}
    return hx.sweep(point, grid, tile=len(lanes), progress=False, on_failure="raise")


def _sequence(found, lane: int, tau: float) -> Sequence:
    run = found.isel({found["regime"].dims[0]: lane})
    switches = run["switch"].values
    return Sequence(
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


def edge_of_basin(kappa: float) -> float:
    """The smallest start from which an orbit of the endless chain goes on, by bisection."""
    low, high = 1.0, kappa
    for _ in range(40):
        middle = Z = (low + high) / 2
        for _ in range(200):
            Z = kappa * (1 - 1 / Z) if Z > 1 else 0.0
        low, high = (low, middle) if Z > 1 else (middle, high)
    return high


def purity(run: Sequence) -> float:
    """The smallest, over the last five full dwells, of the largest overlap in mid-dwell."""
    middles = (run.switches[-6:-1] + run.switches[-5:]) / 2
    nearest = np.argmin(np.abs(run.ts[:, None] - middles), axis=0)
    return float(np.abs(run.overlaps[nearest]).max(axis=1).min())
