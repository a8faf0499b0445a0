"""Of rate memories: the saliency that one needs, and the delay of inhibition that it stands."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ..._programs import jitted
from ...theory import rate
from ._cases import (
    DELAY_FACTOR,
    DELAY_THRESHOLD,
    DELAYS,
    HORIZON,
    INHIBITED,
    LANES,
    NEURONS,
    SALIENCY,
    SATURATED_DELAYS,
    SLOW,
    SMALL,
    B,
    Q,
    phi_of,
    tight,
    unit,
)
from ._points import Perturbed


class Saliency(NamedTuple):
    """The saliency at which a memory ends, and its overlap till then."""

    a: float
    threshold: float
    predicted: float
    measured: float
    resolution: float
    branch: np.ndarray  # (n, 3): saliency, overlap at the memory and at the saddle below it
    runs: np.ndarray  # (n, 2): saliency and simulated overlap


@jitted
def _lowered(patterns, rates, a, threshold, saliencies, horizon):
    """All rates, and the overlap with memory 0, as its saliency is lowered step by step."""
    network = hx.InputDrivenRateMemory(patterns, a=a, b=B, activation=phi_of(threshold))
    ts = jnp.stack([jnp.zeros_like(horizon), horizon])

    def step(rates, s):
        state, stimulus = network.init(rates=rates), s * patterns.xi[0]
        run = hx.simulate(network, state, ts, stimulus=stimulus, throw=False)
        return run.final.rates, (run.final.rates, run.overlaps[-1, 0])

    return jax.lax.scan(step, rates, saliencies)[1]


def saliencies(balanced, cases) -> list[Saliency]:
    """The saliency at which a memory ends, and its overlap till then, for each design."""
    found = []
    for a, threshold in cases:
        predicted = float(rate.critical_saliency_planar(phi_of(threshold), a, B, Q).saliency)
        measured, resolution, runs = _measured(balanced, a, threshold)
        branch = _branch(a, threshold, predicted)
        found.append(Saliency(a, threshold, predicted, measured, resolution, branch, runs))
    return found


def _measured(balanced, a: float, threshold: float) -> tuple[float, float, np.ndarray]:
    """The saliency at which a memory is lost, half the step that it is known to, and the overlaps
    of the first round; each round begins where the one before still held the memory."""
    low, high, every = *SALIENCY, []
    middle = half = np.nan
    network = hx.RateMemory(balanced, a=a, b=B, activation=phi_of(threshold))
    rates = network.rescaled(unit(balanced.P))
    for horizon in (HORIZON, SLOW / 4, SLOW):
        tried = np.linspace(high, low, LANES)
        numbers = map(jnp.asarray, (a, threshold, tried, horizon))
        states, overlap = _lowered(balanced, rates, *numbers)
        every.append(np.stack([tried, np.asarray(overlap)], 1))
        last = int(np.argmax(np.asarray(overlap) < 0.5))  # the first that does not hold it
        known = max(last - 2, 0)  # certainly held: at the last one it may have been leaving
        middle, half = (tried[last - 1] + tried[last]) / 2, (tried[last - 1] - tried[last]) / 2
        low, high, rates = tried[last], tried[known], states[known]
    return float(middle), float(half), every[0]


def _branch(a: float, threshold: float, predicted: float) -> np.ndarray:
    """Overlaps at the memory and at the saddle below it, over saliencies from the critical one."""
    phi = phi_of(threshold)
    unit_overlap = float(phi(jnp.asarray(B)) - phi(jnp.asarray(a)))
    branch = []
    for s in np.linspace(predicted * 1.0005, SALIENCY[1], 40):
        rest = rate.planar_equilibria(phi, a, B, Q, saliency=s)
        there = np.asarray(rest.exists)
        active, silent = (np.asarray(part)[there] for part in (rest.active, rest.silent))
        overlaps = np.sort(active - silent)[::-1] / unit_overlap
        branch.append((s, *overlaps[:2]))
    return np.array(branch)


@jitted
def _distances(test, tau, threshold, strength, ts):
    """Distances over time from a memory, for time constants of inhibition."""

    def one(tau):
        network = hx.DaleRateMemory(
            test.patterns,
            tau_inhibition=tau,
            inhibition=strength,
            a=INHIBITED,
            b=B,
            activation=phi_of(threshold),
        )
        memory = network.rescaled(unit(test.patterns.P))
        rates = memory + SMALL * test.direction
        start = network.init(rates=rates, inhibition=memory.mean())
        watch = _Distance(memory)
        run = hx.simulate(network, start, ts, method=tight(), observe=watch, throw=False)
        return run.observed

    return jax.vmap(one)(tau)


def delays(balanced) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Delayed inhibition: distances at the end from saturated memories; growth of a difference
    from one near its border, measured and predicted, over time constants; the critical one,
    predicted and measured."""
    test, phi = Perturbed("logistic", Q, NEURONS), phi_of(DELAY_THRESHOLD)
    least = {
        threshold: float(rate.dale_inhibition(balanced.xi, phi_of(threshold), INHIBITED, B))
        for threshold in (0.2, DELAY_THRESHOLD)
    }
    early, late = np.linspace(80.0, 130.0, 501), np.linspace(330.0, 380.0, 501)
    ts = np.concatenate([[0.0], early, late])
    taus = jnp.asarray(DELAYS)
    saturated = _distances(
        test, jnp.array(SATURATED_DELAYS), jnp.asarray(0.2), jnp.asarray(least[0.2]), ts
    )
    strength = DELAY_FACTOR * least[DELAY_THRESHOLD]
    far = np.asarray(
        _distances(test, taus, jnp.asarray(DELAY_THRESHOLD), jnp.asarray(strength), ts)
    )
    first, last = far[:, 1:502].max(1), far[:, 502:].max(1)
    growth = np.log(last / first) / 250.0
    predicted = float(rate.critical_inhibition(phi, INHIBITED, B, Q, strength))
    measured = float(np.interp(0.0, growth, np.asarray(taus)))
    spectra = [
        rate.dale_eigenvalues(balanced.xi, phi, INHIBITED, B, 0, tau, strength) for tau in DELAYS
    ]
    growths = np.stack([DELAYS, growth, [float(found.greatest) for found in spectra]], 1)
    return np.asarray(saturated)[:, 1], growths, (predicted, measured)


class _Distance(eqx.Module):
    memory: Any

    def __call__(self, t, state, network):
        return abs(state.rates - self.memory).max()
