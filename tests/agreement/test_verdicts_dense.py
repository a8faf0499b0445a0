"""Verdicts of the theory of dense memories, at random parameters, on both sides of every edge.

Networks of a few hundred neurons are simulated in NumPy, on memories drawn anew. The theory is that
of infinitely many neurons: how far from an edge its verdict is tried is a finite-size band, stated
at each test.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

import hopfax as hx
from hopfax.theory import dense as theory

#: Neurons in simulations of each order: as many as memories of the wanted load allow.
NEURONS = {2: 1536, 3: 320, 4: 96}
CHEAP = [hx.Quadratic(), hx.Power(3), hx.ManyBody(3)]
ALL = [*CHEAP, hx.Power(4), hx.ManyBody(4)]


def force(interaction, y, N):
    """The reduced force at the sum y of N - 1 signs."""
    p = interaction.order - 1
    if not isinstance(interaction, hx.ManyBody):
        return y**p
    older, last = np.ones_like(y), y
    for k in range(2, p + 1):
        older, last = last, y * last - (k - 1) * (N + 1 - k) * older
    return last


def overlap_after(interaction, load, wrong, steps, rng, networks=4, trials=25):
    """Mean overlap after some steps from starts with so many wrong neurons.

    The force at X without the neuron itself, X - xi h, is even(X) - xi h odd(X).
    """
    N, found = NEURONS[interaction.order], []
    M = round(float(load) * N ** (interaction.order - 1))
    for _ in range(networks):
        xi = rng.choice(np.array([-1, 1], np.float32), (M, N))
        h = xi[:trials].T.copy()
        for trial in range(h.shape[1]):
            h[rng.choice(N, wrong, replace=False), trial] *= -1
        for _ in range(steps):
            X = (xi @ h).astype(float)
            up, down = force(interaction, X + 1, N), force(interaction, X - 1, N)
            even, odd = ((up + s * down).astype(np.float32) / 2 for s in (1, -1))
            u = xi.T @ even - h * odd.sum(0)
            h = np.where(u == 0, h, np.sign(u)).astype(np.float32)
        found.append((h.T * xi[:trials]).mean())
    return float(np.mean(found))


def check_apparent_capacities(many, seed):
    rng = np.random.default_rng(seed)
    for k in range(many):
        interaction, horizon = CHEAP[k % 3], (3, 6)[k // 3 % 2]
        N = NEURONS[interaction.order]
        wrong, threshold = int(rng.integers(0, N // 16)), rng.uniform(0.5, 0.9)
        edge = theory.apparent_capacity(
            interaction, horizon, threshold, m0=1 - 2 * wrong / N, paths=2**10
        )
        low, high = (
            overlap_after(interaction, f * edge.load, wrong, horizon, rng) for f in (0.8, 1.2)
        )
        assert low > threshold > high, (interaction, horizon, threshold, wrong, low, high)


def check_basins(many, seed):
    rng = np.random.default_rng(seed)
    for k in range(many):
        interaction, horizon = CHEAP[k % 3], (3, 6)[k // 3 % 2]
        N, unit = NEURONS[interaction.order], float(theory.kernel(interaction)(jnp.ones(())))
        load = rng.uniform(0.05, 0.2) / unit if k % 3 else rng.uniform(0.03, 0.1)
        edge = theory.basin_edge(interaction, load, horizon, paths=2**10)
        above = 0.12 if k % 3 else 0.06
        low, high = (
            overlap_after(interaction, load, round((1 - m0) * N / 2), horizon, rng)
            for m0 in (float(edge.overlap) - 0.08, float(edge.overlap) + above)
        )
        goal = 0.9 * float(edge.plateau)
        assert low < goal < high, (interaction, horizon, load, edge, low, high)


def check_exponential_loads(many, seed):
    """The number of memories at each overlap is Poisson, half of either sign: nothing is drawn but
    these. N = 200: there the exponents of signal and noise differ by 0.04 N / 2 = 4, to log N."""
    N, rng = 200, np.random.default_rng(seed)
    X = np.arange(-N, N + 1, 2)
    log_p = binom.logpmf((X + N) // 2, N, 0.5)
    m, rate = rng.uniform(0.4, 1.0, many), 10 ** rng.uniform(-1.0, 0.3, many)
    edges = np.asarray(theory.exponential_load(m, rate).one_step)

    def errors(alpha, m, rate, trials=300):
        mean = np.exp(alpha * N + log_p)
        few = mean < 1e6
        count = rng.poisson(np.where(few, mean, 0.0), (trials, X.size))
        signed = np.where(few, 2 * rng.binomial(count, 0.5) - count, 0)
        signed = signed + np.where(few, 0, np.sqrt(mean) * rng.standard_normal(signed.shape))
        noise = (signed * np.exp(np.minimum(rate * (X - N * m), 600.0))).sum(1)
        return (1 + noise < 0).mean()

    for edge, *state in zip(edges, m, rate, strict=True):
        assert errors(edge - 0.04, *state) < 0.02, (edge, state)
        assert errors(edge + 0.04, *state) > 0.25, (edge, state)


@pytest.mark.slow
def test_a_few_verdicts():
    check_apparent_capacities(3, 0)
    check_basins(3, 0)
    check_exponential_loads(20, 0)


@pytest.mark.long
def test_apparent_capacities():
    """The overlap after `horizon` steps crosses the threshold within 20 % of the load, the band of
    some hundred neurons: near an edge they retrieve worse, and its slope in the load is small."""
    check_apparent_capacities(70, 1)


@pytest.mark.long
def test_basins():
    """The start at which the plateau is reached lies within -0.08 and +0.12 of the edge (+0.06 at
    order 2): fluctuations of the overlap after a step, N^-1/2, tip trajectories over."""
    check_basins(70, 1)


@pytest.mark.slow
def test_exponential_loads():
    check_exponential_loads(150, 1)


@pytest.mark.slow
@pytest.mark.parametrize("interaction", ALL, ids=lambda i: f"{type(i).__name__} {i.order}")
def test_capacities(interaction):
    """From a memory itself, 20 steps. Below the replica-symmetric capacity the overlap stays above
    that of the last retrieval state; as retrieval decays slowly above it, at 1.8 times the load it
    has fallen below for certain."""
    edge, rng = theory.capacity(interaction), np.random.default_rng(0)
    low, high = (overlap_after(interaction, f * edge.load, 0, 20, rng, 2) for f in (0.9, 1.8))
    assert low > edge.overlap > high + 0.1
