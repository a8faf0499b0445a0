"""Verdicts of the theory of sequences, at random parameters, on both sides of what they tell apart.

Cycles are simulated event by event, all draws of one P together; endless chains by Runge-Kutta
steps in NumPy, three memories at a time. Parameters outside the domain must be refused.
"""

import math

import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx

theory = hx.theory.sequential
COLLAPSE, SEQUENCE = hx.observables.REGIMES.index("collapse"), 0


def draws(rng, many, least):
    """Separations of timescales and seeds all over the domain, its corners first."""
    tau = np.exp(rng.uniform(math.log(least), math.log(1000.0), many))
    bias = np.exp(rng.uniform(math.log(1e-3), math.log(1e-2), many))
    tau[:4], bias[:4] = [least, least, 1000.0, 1000.0], [1e-3, 1e-2, 1e-3, 1e-2]
    return tau, bias


def cycles(P, cases, tau, bias, turns=60):
    """Regimes and last dwells over tau of cycles that start at saliency Z0, a row for every case,
    `(kappa, Z0)`."""
    network, _ = zoo.cycle(P=P, N=2 ** max(P, 4))
    ts = np.linspace(0.0, turns, 4 * turns + 1)
    start = dict(saliency=np.zeros(P))
    point = hx.Point(network, start, ts, per_tau=True, max_steps=2**20)
    kappa, Z0 = (np.concatenate(parts) for parts in zip(*cases, strict=True))
    taus, biases = np.tile(tau, len(cases)), np.tile(bias, len(cases))
    names = ("kappa", "tau", "bias", "init.saliency[0]")
    found = hx.sweep(point, {names: (kappa, taus, biases, Z0)}, tile=64, on_failure="raise")
    shape = (len(cases), -1)
    return found.regime.values.reshape(shape), (found.dwell.values / taus).reshape(shape)


def check_cycles(P, many, seed):
    rng = np.random.default_rng(seed)
    tau, bias = draws(rng, many, 10.0)
    critical = np.asarray(theory.critical_gain(P, tau=tau, bias=bias))
    below = critical - np.asarray(theory.error_band(bias)) - 0.005
    kappa = critical + rng.uniform(0.15, 3.0, many)
    edge = np.asarray(theory.basin_edge(kappa, P, tau=tau, bias=bias))
    high = np.full(many, 4.0)
    cases = [(below, high), (critical + 0.002, high), (kappa, 0.96 * edge), (kappa, 1.006 * edge)]
    regime, dwell = cycles(P, [*cases, (kappa, high)], tau, bias)
    for row, expected in zip(regime, (COLLAPSE, SEQUENCE, COLLAPSE, SEQUENCE), strict=False):
        np.testing.assert_array_equal(row, expected)
    predicted = np.asarray(theory.dwell_time(kappa, tau, P, bias)) / tau
    assert_close(dwell[-1], predicted, 5e-3, "the stated accuracy, from 0.15 above critical")


@pytest.mark.slow
def test_a_few_verdicts_of_a_cycle():
    check_cycles(4, 8, 0)


@pytest.mark.long
@pytest.mark.parametrize("P", [3, 4, 5])
def test_verdicts_of_cycles_all_over_the_domain(P):
    """Critical gains within `error_band`, basin edges from 4 % below to 0.6 % above."""
    check_cycles(P, 60, P)


def handovers(Z0, kappa, tau, bias, most, steps=1500):
    """How many handovers of an endless chain succeed, at most `most`, and the last dwell over tau.

    Three memories: active, next (the only one with a seed) and the one after. Signs of sites agree
    or differ between the first two, with fields s and d. Long stretches of saturated sites are
    exponentials; where sites move, a fixed number of steps covers the longest passage.
    """
    z1, z2, clock = Z0 + 0.0, 0.0 * Z0, 0.0 * Z0
    before, dwell, alive, number = clock, np.nan, Z0 > 0, np.zeros(len(Z0), int)
    h = (0.03 * tau + 12 + 8 * np.sqrt(tau)) / steps

    def slope(y):
        s, d, z1, z2, z3 = y
        agree, differ = np.clip(s, -1, 1), np.clip(d, -1, 1)
        m1, m2 = (agree + differ) / 2, (agree - differ) / 2
        fast = -s + z1 * m1 + z2 * m2 + bias, -d + z1 * m1 - z2 * m2 - bias
        slow = -z1 / tau, (kappa * m1 - z2) / tau, (kappa * m2 - z3) / tau
        return np.stack([*fast, *slow])

    for _ in range(most):
        wait = np.log(np.maximum(z1 / (1.02 * (1 - 1 / tau) * (1 + bias)), 1))
        z1, z2 = z1 * np.exp(-wait), z2 * np.exp(-wait) - kappa * np.expm1(-wait)
        lag, clock = z1 / (1 - 1 / tau), clock + wait
        y, switch, done = np.stack([lag + bias, lag - bias, z1, z2, 0 * z1]), np.nan, z1 < 0
        for _ in range(steps):
            a = slope(y)
            b = slope(y + h / 2 * a)
            c = slope(y + h / 2 * b)
            new = y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c))
            crosses = (y[1] > 0) & (new[1] <= 0) & np.isnan(switch)
            part = y[1] / np.where(crosses, y[1] - new[1], 1.0)
            switch = np.where(crosses, clock + h * part / tau, switch)
            clock = np.where(done, clock, clock + h / tau)
            y = np.where(done, y, new)
            done |= (y[1] <= -1) & (y[0] >= 1)
            if done.all():
                break
        alive &= done
        number += alive
        dwell, before = switch - before, switch
        z1, z2 = np.where(alive, y[3], 2.0), y[4]
    return number, dwell


@pytest.mark.long
def test_verdicts_of_endless_chains_all_over_the_domain():
    """Nothing is left out here: gains to 0.005, edges to 0.5 %, dwells to 0.001 tau. Just below the
    critical gain a chain passes its ghost in at most 2 pi / sqrt(0.02) = 44 handovers and lives on
    for as many as its start is above: 120 tell."""
    rng, many = np.random.default_rng(1), 40
    tau, bias = draws(rng, many, 5.0)
    critical = np.asarray(theory.critical_gain(tau=tau, bias=bias))
    kappa = critical + rng.uniform(0.15, 3.0, many)
    edge = np.asarray(theory.basin_edge(kappa, tau=tau, bias=bias))
    predicted = np.asarray(theory.dwell_time(kappa, tau, math.inf, bias)) / tau
    high = np.full(many, 4.0)
    near = [(critical - 0.01, high), (critical + 0.005, high)]
    far = [(kappa, 0.995 * edge), (kappa, 1.005 * edge), (kappa, high)]
    (gains, starts), both = zip(*near, strict=True), np.tile([tau, bias], 2)
    number, _ = handovers(np.concatenate(starts), np.concatenate(gains), *both, 120)
    np.testing.assert_array_equal((number == 120).reshape(2, -1), [[False] * many, [True] * many])
    (gains, starts), all3 = zip(*far, strict=True), np.tile([tau, bias], 3)
    number, dwell = handovers(np.concatenate(starts), np.concatenate(gains), *all3, 32)
    survived = (number == 32).reshape(3, -1)
    np.testing.assert_array_equal(survived, np.array([[False], [True], [True]]) & (tau > 0))
    assert_close(dwell.reshape(3, -1)[2], predicted, 1e-3, "digits of 1500 steps a handover")


def test_random_settings_outside_are_refused_in_a_sentence():
    """200 of them: at least one of P, tau and bias is out."""
    rng = np.random.default_rng(2)
    calls = (
        lambda P, tau, bias: theory.critical_gain(P, tau=tau, bias=bias),
        lambda P, tau, bias: theory.fixed_points(5.0, P, tau=tau, bias=bias),
        lambda P, tau, bias: theory.basin_edge(5.0, P, tau=tau, bias=bias),
        lambda P, tau, bias: theory.dwell_time(5.0, tau, P, bias),
    )
    for k in range(200):
        P = [3, 4, 5, math.inf][rng.integers(4)]
        tau, bias = 10 ** rng.uniform(1.01, 2.99), 10 ** rng.uniform(-2.99, -2.01)
        out = rng.integers(3)
        if out == 0:
            P = int(rng.integers(6, 40))
        elif out == 1:
            least = 4.999 if P == math.inf else 9.999
            tau = float([rng.uniform(1.01, least), 10 ** rng.uniform(3.01, 6)][rng.integers(2)])
        else:
            bias = 10 ** float([rng.uniform(-9, -3.01), rng.uniform(-1.99, 0)][rng.integers(2)])
        named = f"P = {P}" if out == 0 else f"tau = {tau:g}" if out == 1 else f"bias = {bias:g}"
        assert f"No prediction is derived for {named}" in theory.domain(P, tau, bias)
        with pytest.raises(ValueError, match="No prediction is derived for"):
            calls[k % 4](P, tau, bias)


@pytest.mark.long
@pytest.mark.parametrize("P", [3, 4, 5])
def test_singular_verdicts_at_large_separations(P):
    """tau = 1e4, b = 1e-3: critical gains within 0.05, basin edges within 3 %. The distance is
    O(log(tau) / (tau r)) with r the rate of a handover, and of the bias."""
    rng, many = np.random.default_rng(P), 12
    tau, bias = np.full(many, 1e4), np.full(many, 1e-3)
    critical = np.full(many, theory.critical_gain(P))
    kappa = critical + rng.uniform(0.3, 3.0, many)
    edge, high = np.asarray(theory.basin_edge(kappa, P)), np.full(many, 4.0)
    cases = [
        (critical - 0.05, high),
        (critical + 0.05, high),
        (kappa, 0.97 * edge),
        (kappa, 1.03 * edge),
        (kappa, high),
    ]
    regime, dwell = cycles(P, cases, tau, bias, 40)
    for row, expected in zip(regime, (COLLAPSE, SEQUENCE) * 2, strict=False):
        np.testing.assert_array_equal(row, expected)
    predicted = np.log(np.asarray(theory.fixed_points(kappa, P).upper))
    assert_close(dwell[-1], predicted, 5e-3, "O(log(tau) / tau) and O(b)")


@pytest.mark.slow
def test_memories_visited_before_a_chain_collapses():
    """200 chains at tau = 1e4, where a handover charges the next memory by O(log(tau) / tau) more:
    those whose number is the same with gains 1.5 % smaller and larger."""
    rng, many = np.random.default_rng(3), 200
    Z0, kappa = rng.uniform(1.1, 5.0, many), rng.uniform(1.5, 3.7, many)
    predicted, *near = (
        np.asarray(theory.visited_before_collapse(f * Z0, f * kappa)) for f in (1.0, 0.985, 1.015)
    )
    clear = (predicted == near[0]) & (predicted == near[1])
    number, _ = handovers(Z0, kappa, np.full(many, 1e4), np.full(many, 1e-3), 16, 4000)
    assert clear.sum() > 120 and (predicted[clear] < 16).all()
    np.testing.assert_array_equal(number[clear] + 1, predicted[clear])
