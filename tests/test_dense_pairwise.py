"""Memories in a matrix of synapses, and how many of them imperfect synapses hold."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import erf

import hopfax as hx
from hopfax.theory import dense


@pytest.fixture(scope="module")
def patterns():
    return hx.patterns.random(jr.key(0), 9, 60)


def rounded(z):
    return jnp.clip(jnp.round(z), -1, 1)


def test_perfect_synapses_are_the_classical_model(patterns):
    """Also of patterns in bits, at a temperature, in turn and clamped."""
    start = patterns.corrupt(jr.key(1), 3, 20)
    for how in ({}, {"beta": 2.0}, {"update": "cyclic"}, {"update": "random"}):
        pair = hx.PairwiseMemory(hx.patterns.pack(patterns), **how)
        plain = hx.DenseMemory(patterns, hx.Quadratic(), **how)
        state, key = pair.init(start), jr.key(2) if pair.random else None
        assert jnp.allclose(pair.field(state), plain.field(state), atol=1e-14)
        assert (pair.step(state, key=key).spins == plain.step(state, key=key).spins).all()
    clamped = jnp.arange(60) < 20
    runs = [
        hx.iterate(n, n.init(start), 4, clamped=clamped).final.spins
        for n in (
            hx.PairwiseMemory(patterns, update="cyclic"),
            hx.DenseMemory(patterns, hx.Quadratic(), update="cyclic"),
        )
    ]
    assert (runs[0] == runs[1]).all()


@pytest.mark.parametrize(("g", "kept"), [(np.sign, 1.0), (rounded, 0.5), (None, 0.3)])
def test_the_matrix_written_out(patterns, g, kept):
    key = None if kept == 1 else jr.key(4)
    memory = hx.PairwiseMemory(patterns, synapses=g, kept=kept, key=key)
    xi, W = np.asarray(patterns.xi), np.asarray(memory.W)
    z = xi.T @ xi / 3
    dense_z = np.linspace(-8, 8, 400001)
    weight = np.exp(-(dense_z**2) / 2)
    slope = 1.0
    if g is not None:
        slope = (weight * dense_z * np.asarray(g(dense_z))).sum() / weight.sum()
        z = np.asarray(g(z))
    there = (W != 0) | (z == 0)
    wanted = np.where(np.eye(60) > 0, 0.0, 3 / 60 * z / (kept * slope))
    assert (W == W.T).all() and np.allclose(W[there], wanted[there], rtol=2e-5)
    off = ~np.eye(60, dtype=bool) & (z != 0)
    assert abs((W != 0)[off].mean() - kept) < 4 * np.sqrt(kept * (1 - kept) / 1770) + 1e-12


def test_energies_fall_in_turn(patterns):
    memory = hx.PairwiseMemory(
        patterns, synapses=jnp.sign, kept=0.5, key=jr.key(1), update="cyclic"
    )
    run = hx.iterate(memory, memory.init(patterns.corrupt(jr.key(1), 0, 30)), 6, observe=_energy)
    assert (np.diff(run.observed) <= 1e-12).all() and run.observed[-1] < run.observed[0]
    h = np.asarray(run.final.spins)
    assert np.isclose(run.observed[-1], -h @ np.asarray(memory.W) @ h / 2)
    found = hx.dynamics.attractors(memory, count=16)
    assert found.unsettled == 0 and np.isclose(found.energies[0], memory.energy(_state(found)))


def _energy(t, state, network):
    return network.energy(state)


def _state(found):
    return hx.SpinState(jnp.asarray(found.states[0]))


def test_known_capacities():
    """Amit, Gutfreund, Sompolinsky 1985 without noise; Sompolinsky 1986: 0.102 when clipped."""
    perfect = dense.synaptic_capacity()
    assert np.isclose(perfect.load, dense.capacity(hx.Quadratic()).load, rtol=1e-12)
    assert np.isclose(perfect.overlap, dense.capacity(hx.Quadratic()).overlap, rtol=1e-6)
    clipped = dense.synaptic_capacity(jnp.sign)
    assert np.isclose(clipped.noise, np.pi / 2 - 1, rtol=1e-9) and round(clipped.load, 3) == 0.102
    half = dense.synaptic_capacity(kept=0.5)
    assert half.noise == 1 and clipped.load > half.load
    both = dense.synaptic_capacity(jnp.sign, kept=0.5)
    assert np.isclose(both.noise, np.pi - 1, rtol=1e-9) and both.load < half.load
    # far beyond, the noise of the synapses alone ends it, at alpha d = 2/pi
    few = dense.synaptic_capacity(kept=1e-6)
    assert 0.97 < few.load * few.noise / (2 / np.pi) < 1


def _stationary(load, noise):
    """The overlap at a load, by iteration of the equations of the replica-symmetric theory."""
    m, r = 1.0, 1.0
    for _ in range(2000):
        s = np.sqrt(load * (r + noise))
        C = np.sqrt(2 / np.pi) / s * np.exp(-(m**2) / (2 * s**2))
        m, r = erf(m / np.sqrt(2) / s), 1 / (1 - C) ** 2
    return m


@pytest.mark.parametrize(("g", "kept"), [(jnp.sign, 1.0), (None, 0.5)])
def test_overlaps_at_rest_are_those_of_the_theory(g, kept):
    """Below capacity to 4 standard errors and 3 / N, at two sizes; far above it nothing is kept."""
    noise = dense.synaptic_capacity(g, kept).noise
    for N in (500, 1000):
        for load, least in ((0.06, None), (0.2, 0.6)):
            made = hx.patterns.random(jr.key(N), round(load * N), N)
            key = None if kept == 1 else jr.key(5)
            memory = hx.PairwiseMemory(made, synapses=g, kept=kept, key=key, update="cyclic")
            run = jax.vmap(
                lambda h, memory=memory: hx.iterate(memory, memory.init(h), 20, track=[0])
            )
            ends = run(made.xi[:16]).final.spins
            m = np.asarray((ends * made.xi[:16]).mean(1))
            if least is None:
                aside = 4 * m.std() / 4 + 3 / N
                assert abs(m.mean() - _stationary(load, noise)) < aside
            else:
                assert m.mean() < least


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_arguments_are_named(patterns):
    memory = hx.PairwiseMemory(patterns)
    for call, words in (
        (lambda: hx.PairwiseMemory(patterns.xi), "`patterns` must be"),
        (lambda: hx.PairwiseMemory(hx.Patterns([[0.5, 1.0]])), "`patterns` must be of"),
        (lambda: hx.PairwiseMemory(patterns, kept=0.5), "`key` draws which pairs"),
        (lambda: hx.PairwiseMemory(patterns, key=jr.key(0)), "`key` draws which pairs"),
        (
            lambda: hx.PairwiseMemory(patterns, kept=0.0, key=jr.key(0)),
            r"`kept` must lie in \(0, 1",
        ),
        (lambda: hx.PairwiseMemory(patterns, synapses=3), "`synapses` must be"),
        (
            lambda: hx.PairwiseMemory(patterns, synapses=jnp.abs),
            "`synapses` must be a function tha",
        ),
        (lambda: hx.PairwiseMemory(patterns, synapses=jnp.log), "`synapses`"),
        (lambda: hx.PairwiseMemory(patterns, synapses=lambda z: z + 1), "an odd function, but"),
        (lambda: hx.PairwiseMemory(patterns, synapses=lambda z: z[:3]), "of the same shape"),
        (lambda: dense.synaptic_capacity(lambda z: z >= 0), "an odd function, but"),
        (lambda: dense.synaptic_capacity(lambda z: 1 if z > 0 else -1), "jnp.where in place of if"),
        (lambda: hx.PairwiseMemory(patterns, update="all"), "`update` must be"),
        (lambda: hx.PairwiseMemory(patterns, beta=0.0), "`beta` must be > 0"),
        (lambda: memory.init(np.zeros(60)), "`spins` must be"),
        (lambda: memory.step(memory.init(np.ones(60)), jnp.ones(60)), "`stimulus`"),
        (lambda: dense.synaptic_capacity(kept=2.0), "`kept` must lie"),
        (lambda: dense.synaptic_capacity(jnp.abs), "`synapses` must be a function tha"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            call()
