"""Of rate memories: where runs end from cues, from a grid of starts, and under new saliencies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ..._programs import jitted
from ...theory import rate
from ._cases import HORIZON, INHIBITED, PLANES, B, Q, phi_of, unit


class Cues(NamedTuple):
    """Where runs from cues end, over what is kept of a memory and over seeds."""

    kept: np.ndarray  # shares
    overlap: np.ndarray  # (shares, seeds), with the memory at the end
    other: np.ndarray  # the greatest with another one
    mean: np.ndarray  # mean rate


class Plane(NamedTuple):
    """Runs of a single memory, and the equilibria of the plane of its two groups."""

    a: float
    inputs: tuple[float, float]
    equilibria: np.ndarray  # (n, 2), active and silent rate
    stable: np.ndarray
    paths: np.ndarray  # (starts, times, 2)


@jitted
def _ends(network, starts, currents, ts):
    """Overlaps, rates at the end and the status of runs from many starts."""

    def one(rates, current):
        run = hx.simulate(network, network.init(rates=rates), ts, current=current, throw=False)
        return run.overlaps[-1], run.final.rates, run.status

    return jax.vmap(one, (0, None if currents is None else 0))(starts, currents)


def cues(balanced, kept, seeds: int) -> Cues:
    """Memory 0 from cues that keep some of its active neurons."""
    network = hx.RateMemory(balanced, a=INHIBITED, b=B)
    count = int(balanced.xi[0].sum())
    silent, active = network.activation(network.a), network.activation(network.b)
    cues = [
        hx.patterns.degrade(balanced, jr.key(seed), 0, round(count * parts / 1000))
        for parts in kept
        for seed in range(seeds)
    ]
    starts = silent + (active - silent) * jnp.stack(cues)
    overlaps, rates, _ = _ends(network, starts, None, np.array([0.0, HORIZON]))
    shape = (len(kept), seeds)
    overlaps = np.asarray(overlaps)
    return Cues(
        np.array(kept) / 1000,
        overlaps[:, 0].reshape(shape),
        overlaps[:, 1:].max(1).reshape(shape),
        np.asarray(rates).mean(1).reshape(shape),
    )


def _groups(t, state, network):
    """Mean rates of active and silent neurons of memory 0."""
    xi = network.patterns.xi[0]
    return jnp.stack([state.rates @ xi / xi.sum(), state.rates @ (1 - xi) / (1 - xi).sum()])


@jitted
def _paths(patterns, starts, a, inputs, ts):
    """Rates of both groups over time: for each case, from each start."""

    def one(a, current, rates):
        network = hx.RateMemory(patterns, a=a, b=B)
        state = network.init(rates=rates)
        run = hx.simulate(network, state, ts, current=current, observe=_groups, throw=False)
        return run.observed

    return jax.vmap(lambda a, u: jax.vmap(lambda x: one(a, u, x))(starts))(a, inputs)


def planes(side: int) -> list[Plane]:
    """Runs of a single memory from a grid of starts, beside all equilibria of its plane."""
    N = 100
    xi = jnp.zeros((1, N)).at[0, : round(Q * N)].set(1.0)
    patterns = hx.Patterns(xi, binary=False)
    grid = jnp.linspace(0.0, 1.0, side)
    corners = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
    starts = corners[:, :1] * xi + corners[:, 1:] * (1 - xi)
    ts = np.concatenate([np.linspace(0.0, 12.0, 121), [100.0]])

    inputs = jnp.stack([on * xi[0] + off * (1 - xi[0]) for _, on, off in PLANES])
    a = jnp.array([case[0] for case in PLANES])
    paths = np.asarray(_paths(patterns, starts, a, inputs, ts))
    found = []
    for (a, on, off), path in zip(PLANES, paths, strict=True):
        rest = rate.planar_equilibria(phi_of(0.2), a, B, Q, input_active=on, input_silent=off)
        there = np.asarray(rest.exists)
        points = np.stack([np.asarray(rest.active), np.asarray(rest.silent)], 1)[there]
        found.append(Plane(a, (on, off), points, np.asarray(rest.stable)[there], path))
    return found


def moved(balanced) -> dict[str, tuple[float, float, float]]:
    """Whether saliency alone moves the state: overlaps with memories 0 and 1, and the mean rate."""
    five = hx.Patterns(balanced.xi[:5], binary=False)
    cases = {
        "saliency alone": ((0.4, 1.0, 0.4, 0.4, 0.4), 0.0),
        "with a weak input": ((0.4, 1.0, 0.4, 0.4, 0.4), 0.15),
        "old memory salient": ((0.7, 1.0, 0.4, 0.4, 0.4), 0.15),
    }

    def one(five, saliency, weak):
        network = hx.InputDrivenRateMemory(five, a=INHIBITED, b=B)
        start = network.init(weights=unit(5))
        stimulus, current = five.field(saliency), weak * five.xi[1]
        ts = np.array([0.0, HORIZON])
        run = hx.simulate(network, start, ts, stimulus=stimulus, current=current, throw=False)
        return run.overlaps[-1, 0], run.overlaps[-1, 1], run.final.rates.mean()

    values = jnp.array([case[0] for case in cases.values()])
    weak = jnp.array([case[1] for case in cases.values()])
    rows = np.stack(jitted(jax.vmap(one, (None, 0, 0)))(five, values, weak), 1)
    return {
        name: (float(row[0]), float(row[1]), float(row[2]))
        for name, row in zip(cases, rows, strict=True)
    }
