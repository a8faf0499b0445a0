"""What `hopfax reproduce input_driven` measures: edges by bisection, saddles, noisy overlaps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._cases import (
    AMPLITUDE,
    LANES,
    MANY,
    NEURONS,
    ROUNDS,
    SETTLING,
    SIGMAS,
    SILENT,
    STEEP,
    STEP,
    STRONG,
    TIME,
    WEAK,
    WEIGHTS,
    Edge,
    edges,
)


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that is measured."""

    thresholds: dict[str, float]
    rival: float
    edges: list[tuple[Edge, float]]
    silent: float
    saddles: list[tuple[float, np.ndarray, float]]  # s, overlaps, energy per neuron
    leaked: tuple[np.ndarray, np.ndarray, Any]  # saliencies of both stimuli, the memories
    factors: tuple[float, float]  # with and without leakage
    noises: tuple[float, float]  # at which the weaker memory is left, and the stronger is lost
    driven: np.ndarray  # (sigma, start, P): overlaps under noise
    classic: np.ndarray


def results() -> Results:
    """Everything that the claims and figures are about."""
    memories = hx.patterns.hadamard(3, NEURONS)
    random = hx.patterns.random(jax.random.key(0), 3, NEURONS)
    driven, classic = _under_noise()
    return Results(
        thresholds={
            "hard tanh": _threshold(memories, hx.HardTanh(), True, 0.8, 1.2),
            "tanh of gain 10": _threshold(memories, hx.Tanh(10.0), True, 0.05, 0.2),
            "without self-couplings": _threshold(memories, hx.HardTanh(), False, 1.0, 1.4),
        },
        rival=_rival(memories),
        edges=[(edge, _edge(edge)) for edge in edges()],
        silent=_silent(),
        saddles=[_saddle(memories, s) for s in (0.4, 0.5)],
        leaked=_leaked(random),
        factors=(_factor(random, True), _factor(random, False)),
        noises=(_noise_edge(memories, 1), _noise_edge(memories, 0)),
        driven=driven,
        classic=classic,
    )


def pair(quarters: int) -> hx.Patterns:
    """Two memories whose overlap is so many quarters."""
    xi = np.ones((2, NEURONS))
    xi[:, ::2] = -1.0
    xi[1, : NEURONS // 2 - NEURONS // 8 * quarters] *= -1.0
    return hx.Patterns(xi)


def _ends(network, fields, stimuli, ts, given: str = "stimulus") -> np.ndarray:
    """Overlaps (lanes, T, P) of runs from these fields, each with its input."""

    def one(field, stimulus):
        run = hx.simulate(network, network.init(field=field), ts, **{given: stimulus})
        return run.overlaps

    return np.asarray(jax.vmap(one)(jnp.asarray(fields), jnp.asarray(stimuli)))


def _bisected(holds: Callable, low: float, high: float, rounds: int = ROUNDS) -> float:
    """Where `holds`, of an array of values, changes between `low` and `high`."""
    for _ in range(rounds):
        values = np.linspace(low, high, LANES)
        true = holds(values)
        first = int(np.argmax(true != true[0]))
        low, high = values[max(first - 1, 0)], values[first]
    return (low + high) / 2


def _grows(m: np.ndarray) -> np.ndarray:
    """Whether a weak overlap is larger at the last time than in the middle, or has grown by far.
    One that has decayed by far is what the integrator leaves of it."""
    start, middle, end = abs(m).T
    return ((end > middle) & (end > start / 10)) | (end > 100 * start)


def _threshold(memories, activation, keep_diagonal, low, high) -> float:
    """The saliency from which on a weak overlap with memory 0 grows; the others have 0.8 each where
    self-couplings are missing, else none."""
    network = hx.InputDrivenHopfield(memories, activation=activation, keep_diagonal=keep_diagonal)
    xi, others = np.asarray(memories.xi), 0.0 if keep_diagonal else 0.8
    ts = jnp.array([0.0, 50.0, 100.0])

    def holds(alpha):
        stimuli = alpha[:, None] * xi[0] + others * (xi[1] + xi[2])
        return _grows(_ends(network, 1e-4 * np.tile(xi[0], (LANES, 1)), stimuli, ts)[:, :, 0])

    return _bisected(holds, low, high)


def _rival(memories) -> float:
    """The saliency of memory 1 from which on it grows in memory 0 of saliency 1, tanh (2 x)."""
    network = hx.InputDrivenHopfield(memories, activation=hx.Tanh(2.0))
    xi, ts = np.asarray(memories.xi), jnp.array([0.0, 40.0, 80.0])

    def holds(alpha):
        fields = np.tile(xi[0] + 1e-5 * xi[1], (LANES, 1))
        return _grows(_ends(network, fields, xi[0] + alpha[:, None] * xi[1], ts)[:, :, 1])

    return _bisected(holds, 5.0, 7.0)


def _edge(edge: Edge) -> float:
    """The s at which memory 1 is no longer held."""
    memories = pair(edge.quarters)
    network = hx.InputDrivenHopfield(memories, activation=edge.activation)
    xi, ts = np.asarray(memories.xi), jnp.array([0.0, 200.0, 400.0])
    smooth = edge.activation.gain is not None  # there the other memory begins to grow in it

    def holds(s):
        c = edge.amplitude * np.stack([1 - s, s], 1)
        fields = np.tile(3 * xi[0] + (1e-4 if smooth else 1e-3) * xi[1], (LANES, 1))
        m = _ends(network, fields, c @ xi, ts)
        return ~_grows(m[:, :, 1]) if smooth else m[:, -1, 0] > 1 - 1e-5

    return _bisected(holds, edge.low, edge.high)


def _silent() -> float:
    """The s from which on nothing is retrieved: overlap 1/4, amplitude SILENT, hard tanh."""
    memories = pair(1)
    network = hx.InputDrivenHopfield(memories)
    xi, ts = np.asarray(memories.xi), jnp.array([0.0, 100.0, 200.0])

    def holds(s):
        c = SILENT * np.stack([1 - s, s], 1)
        return _grows(_ends(network, 1e-4 * np.tile(xi[0], (LANES, 1)), c @ xi, ts)[:, :, 0])

    return _bisected(holds, 0.0, 0.5)


def _saddle(memories, s: float) -> tuple[float, np.ndarray, float]:
    """The saddle between two memories, tanh of gain 2: runs from the line between the
    memories are bisected by where they end; the one in between comes to the saddle, where it is
    slowest, before it leaves."""
    network = hx.InputDrivenHopfield(memories, activation=hx.Tanh(2.0))
    xi, ts = np.asarray(memories.xi), jnp.linspace(0.0, 20.0, 201)
    stimulus = AMPLITUDE * ((1 - s) * xi[0] + s * xi[1])

    def runs(parts):
        fields = 2.0 * ((1 - parts)[:, None] * xi[0] + parts[:, None] * xi[1])
        return _ends(network, fields, np.tile(stimulus, (LANES, 1)), ts)

    def holds(parts):
        m = runs(parts)[:, -1]
        return m[:, 0] > m[:, 1]

    part = _bisected(holds, 0.2, 0.8 + 1e-3, 5)
    m = runs(np.full(LANES, part))[0]
    speed = abs(np.diff(m, axis=0)).max(1)
    between = m[:-1, :2].min(1) > 0.1  # in neither of the memories
    slowest = int(np.argmin(np.where(between, speed, np.inf)))
    weights = AMPLITUDE * np.array([1 - s, s, 0.0]) * m[slowest]
    inputs = hx.Inputs(stimulus=jnp.asarray(stimulus))
    energy = network.energy(network.init(weights=weights), inputs) / NEURONS
    return s, m[slowest, :2], float(energy)


def _leaked(memories) -> tuple[np.ndarray, np.ndarray, Any]:
    """The saliencies that a network sees of a stimulus, and of the one that undoes the leakage."""
    network = hx.InputDrivenHopfield(memories)
    state = network.init(weights=np.ones(3))
    undone = hx.theory.input_driven.leakage(memories, WEIGHTS).undone
    seen = [
        np.asarray(network.saliencies(state, hx.Inputs(stimulus=memories.field(jnp.asarray(c)))))
        for c in (WEIGHTS, undone)
    ]
    return seen[0], seen[1], memories


def _factor(memories, leaks: bool) -> float:
    """The factor of the stimulus from which on random memory 0 is held."""
    network = hx.InputDrivenHopfield(memories)
    xi, gram = np.asarray(memories.xi), np.asarray(memories.gram())
    c = WEIGHTS if leaks else np.linalg.solve(gram, WEIGHTS)
    ts = jnp.array([0.0, 100.0, 200.0])

    def holds(factor):
        m = _ends(network, 4 * np.tile(xi[0], (LANES, 1)), factor[:, None] * (c @ xi), ts)
        return abs(m[:, -1] - gram[0]).max(1) < 1e-5

    return _bisected(holds, 0.5, 2.5)


def _noise_edge(memories, start: int) -> float:
    """The noise from which on the noiseless network of averaged activation leaves the weaker memory
    for the stronger one (`start` 1), or forgets the stronger one (`start` 0)."""
    network = hx.InputDrivenHopfield(memories, activation=hx.HardTanh(STEEP))
    xi, ts = memories.xi, jnp.array([0.0, 50.0, 100.0])
    stimulus = STRONG * xi[0] + WEAK * xi[1]
    field = xi[1] + 1e-5 * xi[0] if start else 1e-5 * xi[0]

    def one(sigma):
        averaged = network.mean_field(sigma)
        state = averaged.init(field=field)
        return hx.simulate(averaged, state, ts, stimulus=stimulus).overlaps[:, 0]

    def holds(sigma):
        return _grows(np.asarray(jax.vmap(one)(jnp.asarray(sigma))))

    return _bisected(holds, 0.8, 1.4) if start else _bisected(holds, 1.8, 3.0)


def _under_noise() -> tuple[np.ndarray, np.ndarray]:
    """Overlaps, averaged over time, of the input-driven and of the classic network, from the memory
    that is strong in the stimulus and from the weak one."""
    memories, ts = hx.patterns.hadamard(3, MANY), jnp.linspace(0.0, TIME, 181)
    xi, late = memories.xi, np.linspace(0.0, TIME, 181) > SETTLING
    stimulus = STRONG * xi[0] + WEAK * xi[1]
    psi = hx.HardTanh(STEEP)

    def runs(network, given, fields):
        def one(field, sigma):
            options = {given: stimulus, "noise": sigma, "key": jax.random.key(0)}
            state = network.init(field=field)
            return hx.simulate(network, state, ts, method=hx.Diffrax(dt0=STEP), **options).overlaps

        m = [[one(field, sigma) for field in fields] for sigma in SIGMAS]
        return np.asarray(m)[:, :, late].mean(2)

    driven = runs(hx.InputDrivenHopfield(memories, activation=psi), "stimulus", 2 * xi[:2])
    classic = runs(hx.Hopfield(memories, activation=psi), "current", xi[:2] + stimulus)
    return driven, classic
