"""States of rest of rate networks, their names and basins, and times of escape under noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax.networks._resting import name_by_rates

PATTERNS = hx.patterns.sunflower(3, 0.25, 0.5, 16)  # a core of two neurons, two more in each memory
XI = np.asarray(PATTERNS.xi)
SILENT, ACTIVE = (float(hx.Logistic()(jnp.asarray(y))) for y in (-0.3, 0.95))


def phi(y):
    return 1 / (1 + np.exp(-4 * 4.8 * (y - 0.2) + 2))


def weights():
    """The matrix of the projection design."""
    Z = XI - 0.25
    gamma = (0.75 * -0.3 + 0.25 * 0.95) / (0.75 * SILENT + 0.25 * ACTIVE)
    return 1.25 / (ACTIVE - SILENT) * Z.T @ np.linalg.inv(Z @ Z.T) @ Z + gamma / 16


@pytest.mark.parametrize(
    ("levels", "name"),
    [
        (XI[1], "memory 1"),
        (0.6 * XI[1], "memory 1"),
        (0.3 * XI[1], "weak memory 1"),
        (XI.max(0), "mixture 0 1 2"),
        (XI.min(0), "mixture 0 1 2"),
        (np.maximum(XI[0], XI[2]), "mixture 0 2"),
        (0 * XI[0], "silent"),
        (0 * XI[0] + 0.97, "saturated"),
        (0 * XI[0] + 0.5, "uniform"),
        (XI[0] - XI.min(0), "spurious"),
    ],
)
def test_states_of_rest_are_named_by_their_active_neurons(levels, name):
    assert name_by_rates(np.asarray(levels, float), XI, np.ones(16)) == name
    there = np.append(levels, 0.7), np.c_[XI, [0, 1, 1]], np.append(np.ones(16), 0)
    assert name_by_rates(*there) == name  # a class without neurons says nothing


@pytest.mark.slow
def test_basins_of_a_rate_memory_are_those_of_a_plain_simulation():
    network = hx.RateMemory(PATTERNS)
    rows = np.random.default_rng(0).uniform(0, 1, (48, 16))
    starts = jax.vmap(lambda rates: network.init(rates=rates))(jnp.asarray(rows))
    found = hx.dynamics.rest_states(network, network.init(rates=rows[0]), starts=starts)
    x, W = rows.copy(), weights()
    for _ in range(4000):  # Euler's method: it ends where the flow does, but next to an edge
        x += 0.05 * (phi(x @ W) - x)
    ends = [name_by_rates(row, XI, np.ones(16)) for row in x]
    names, shares = np.array(found.names), found.shares
    assert found.unsettled == 0 and shares.sum() == pytest.approx(1.0)
    for name in {*ends, *names[shares > 0]}:
        assert abs(shares[names == name].sum() - ends.count(name) / 48) < 1.5 / 48, name
    memories = {f"memory {k}" for k in range(3)}
    stable = {n for n, state in zip(names, found.states, strict=True) if state.stable}
    assert memories | {"silent", "spurious", "mixture 0 1 2"} <= stable
    assert {f"weak memory {k}" for k in range(3)} <= set(names)  # the saddles below them
    low, high = found.intervals.T
    assert (low <= shares).all() and (shares <= high).all() and low[shares > 0].min() > 0
    by_class = hx.dynamics.rest_states(network, network.init(weights=[1.0, 0.0, 0.0]), count=48)
    assert by_class.unsettled == 0 and by_class.shares.sum() == pytest.approx(1.0)


def test_starts_of_another_form_are_refused():
    network = hx.RateMemory(PATTERNS)
    like = network.init(weights=[1.0, 0.0, 0.0])
    for starts in (like, network.rescaled([1.0, 0.0, 0.0])):
        with pytest.raises(ValueError, match="`starts` must be states of the form of `like`"):
            hx.dynamics.rest_states(network, like, starts=starts)


def test_states_of_rest_of_threshold_linear_neurons_are_named_by_their_support():
    network = hx.ThresholdLinearNetwork([[0.0, -1.5], [-1.5, 0.0]], 1.0)
    rates = {"support 0": [1.0, 0.0], "support 0 1": [0.4, 0.4], "silent": [0.0, 0.0]}
    assert all(network.resting(network.init(rates=x)) == name for name, x in rates.items())


@pytest.mark.slow
def test_times_of_escape_from_a_rate_memory_are_those_of_a_plain_simulation():
    r"""Noise in the currents, by Euler and Maruyama: residence times agree to their errors."""
    network = hx.RateMemory(PATTERNS, noise_in="currents")
    start, ts = network.init(weights=[1.0, 0.0, 0.0]), jnp.linspace(0.0, 50.0, 201)

    def run(key):
        return hx.simulate(network, start, ts, noise=0.6, key=key)

    runs = jax.vmap(run)(jax.random.split(jax.random.key(0), 64))
    stays = hx.observables.stays(runs)
    ours = hx.observables.residence(stays.time[:, 0], stays.left[:, 0])
    assert (stays.memory[:, 0] == 0).all()
    rng, W, h = np.random.default_rng(1), weights(), 0.025
    read = np.linalg.inv((Z := XI - 0.25) @ Z.T) @ Z / (ACTIVE - SILENT)
    x, eta = np.tile(SILENT + (ACTIVE - SILENT) * XI[0], (256, 1)), np.zeros((256, 16))
    times = np.full(256, np.nan)
    for k in range(1, 2001):
        x += h * (phi(x @ W + eta) - x)
        eta += -h * eta + 0.6 * np.sqrt(h) * rng.normal(size=eta.shape)
        if k % 10 == 0:  # as often as runs are saved
            times[np.isnan(times) & (x @ read[0] < 0.25)] = h * k
    left = ~np.isnan(times)
    plain = hx.observables.residence(np.where(left, times, 50.0), left)
    error = np.hypot(ours.stderr, plain.stderr)
    # Euler's step shortens the memory of the noise by h / 2; escapes are read off saves.
    assert abs(ours.mean - plain.mean) < 4 * error + 0.05 * plain.mean and error < 0.15 * ours.mean
