"""Attractors of networks in discrete time, against all states of small ones."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx

XI = np.sign(np.random.default_rng(3).normal(size=(4, 10)))
ALL = 1.0 - 2.0 * ((np.arange(2**10)[:, None] >> np.arange(10)) & 1)


def _number(h):
    return (h < 0) @ (1 << np.arange(10))


def _after(h, power):
    """The state after one step in parallel, neurons left out."""
    rest = h @ XI.T
    u = sum(XI[mu] * (rest[:, mu, None] - XI[mu] * h) ** (power - 1) for mu in range(4))
    return np.where(u == 0, h, np.sign(u))


@pytest.mark.parametrize("power", [2, 3])
def test_all_attractors_and_their_basins(power):
    """Every state is followed by hand to the state of rest, or the cycle of two, where it ends."""
    after = _number(_after(ALL, power))
    end = np.arange(2**10)
    for _ in range(64):
        end = after[end]
    assert (after[after[end]] == end).all()
    wanted = {}
    for k in end:
        pair = frozenset((int(k), int(after[k])))
        wanted[pair] = wanted.get(pair, 0) + 1
    memory = hx.DenseMemory(hx.Patterns(XI), hx.Power(power))
    found = hx.dynamics.attractors(memory, starts=ALL, steps=64)
    numbers = _number(found.states)
    pairs = [frozenset((int(k), int(after[k]))) for k in numbers]
    assert set(pairs) == set(wanted) and len(pairs) == len(wanted)
    assert np.allclose(found.shares, [wanted[pair] / 2**10 for pair in pairs])
    assert [len(pair) for pair in pairs] == found.periods.tolist()
    assert found.unsettled == 0 and (np.diff(found.shares) <= 0).all()
    energies = -((found.states @ XI.T) ** power).sum(1)
    assert np.allclose(found.energies, energies)
    for name, state, overlap in zip(found.names, found.states, found.overlaps, strict=True):
        assert np.isclose(overlap, _named(name, state))


def _named(name, state):
    """The overlap of a state with what its name says."""
    if name == "spurious":  # less than 3/4 with any memory, and with majorities of three and more
        m = XI @ state / 10
        near = np.argsort(-np.abs(m), kind="stable")[:3]
        three = np.sign((np.sign(m[near])[:, None] * XI[near]).sum(0)) @ state / 10
        assert max(np.abs(m).max(), three) < 0.75
        return max(np.abs(m).max(), three)
    sign = -1 if name.startswith("-") else 1
    words = name.lstrip("-").split()
    if words[0] == "memory":
        return sign * XI[int(words[1])] @ state / 10
    parts = [(-1 if word.startswith("-") else 1) * XI[abs(int(word))] for word in words[1:]]
    return np.sign(np.sum(parts, axis=0)) @ state / 10


def test_random_starts_have_intervals_and_memories_are_tried():
    memory = hx.DenseMemory(hx.patterns.random(jr.key(0), 4, 40), hx.Power(3), update="cyclic")
    found = hx.dynamics.attractors(memory, count=32, key=jr.key(1))
    assert {f"memory {k}" for k in range(4)} <= set(found.names)
    assert np.isclose(found.shares.sum() + found.unsettled, 1)
    assert ((found.intervals[:, 0] <= found.shares) & (found.shares <= found.intervals[:, 1])).all()
    again = hx.dynamics.attractors(memory, count=32, key=jr.key(1))
    other = hx.dynamics.attractors(memory, count=32, key=jr.key(2))
    assert (again.states == found.states).all() and (again.shares == found.shares).all()
    assert other.shares.tolist() != found.shares.tolist()
    assert f"{len(found.names)} attractors" in str(found) and "share" in str(found)


def test_means_of_memories_are_named_by_their_parts():
    """Three clusters: by mean shift their means rest, and no other state that is near a memory."""
    rng = np.random.default_rng(0)
    middles = 3 * rng.normal(size=(3, 20))
    xi = np.concatenate([middles[k] + 0.1 * rng.normal(size=(2, 20)) for k in range(3)])
    memory = hx.DenseMemory(hx.Patterns(xi), hx.Epanechnikov(0.2))
    starts = xi + 0.3 * rng.normal(size=xi.shape)
    found = hx.dynamics.attractors(memory, starts=starts)
    names = dict(zip(found.names, found.shares, strict=True))
    for k in range(3):
        assert np.isclose(names[f"mixture {2 * k} {2 * k + 1}"], 1 / 3)
    assert (found.overlaps[:3] > 0.9999).all() and (found.periods == 1).all()


def test_what_moves_does_not_settle():
    patterns = hx.patterns.random(jr.key(0), 5, 60)
    moving = hx.DenseMemory(patterns, hx.Power(3), transition="cyclic")
    held = hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), share=0.4, delay=4)
    for network in (moving, held):
        found = hx.dynamics.attractors(network, starts=patterns.xi, steps=9)
        assert found.unsettled == 1 and found.energies is None
    kept = hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), share=0.9, delay=4)
    found = hx.dynamics.attractors(kept, starts=patterns.xi, steps=9)
    assert found.unsettled == 0 and sorted(found.names)[:5] == [f"memory {k}" for k in range(5)]


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_arguments_of_attractors():
    patterns = hx.patterns.hadamard(3, 16)
    memory = hx.DenseMemory(patterns, hx.Power(3))
    warm = hx.DenseMemory(patterns, hx.Power(3), beta=1.0)
    for call, words in (
        (lambda: hx.dynamics.attractors(warm), "`network` draws random numbers"),
        (lambda: hx.dynamics.attractors(hx.Hopfield(patterns)), "discrete time"),
        (lambda: hx.dynamics.attractors(memory, starts=jnp.ones(16)), r"`starts` must have shape"),
        (lambda: hx.dynamics.attractors(memory, starts=jnp.ones((2, 3))), "`starts`"),
        (lambda: hx.dynamics.attractors(memory, starts=jnp.zeros((2, 16))), r"`starts` row 0"),
        (lambda: hx.dynamics.attractors(memory, count=0), "`count`"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            call()
