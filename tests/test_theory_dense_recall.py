"""Exact recall by static dense memories at finite size, against exact sums and simulations."""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

dense = hx.theory.dense
LAWS = {
    "Quadratic": hx.Quadratic(),
    "Power(3)": hx.Power(3),
    "Power(4)": hx.Power(4),
    "ManyBody(3)": hx.ManyBody(3),
    "RectifiedPower(3)": hx.RectifiedPower(3),
}


def forces(interaction, y, N):
    """The force of overlaps without the neuron, exponentials in units of that of the memory."""
    found = np.asarray(interaction.force(jnp.asarray(y, float), N))
    return np.exp(found - float(interaction.rate) * (N - 1)) if interaction.exponential else found


def chances(interaction, N, M, flips):
    """P(S > c) of a right neuron and P(S >= c) of a wrong one, by adding up all whole numbers."""
    one = Counter()
    for k in range(N):
        f = round(float(forces(interaction, N - 1 - 2 * k, N)))
        for s in (1, -1):
            one[s * f] += math.comb(N - 1, k) / 2**N
    total = Counter({0: 1.0})
    for _ in range(M - 1):
        after = Counter()
        for a, p in total.items():
            for b, q in one.items():
                after[a + b] += p * q
        total = after
    right, wrong = (float(forces(interaction, N + s - 2 * flips, N)) for s in (-1, 1))
    above = math.fsum(p for S, p in total.items() if S > right)
    return above, math.fsum(p for S, p in total.items() if S >= wrong)


@pytest.mark.parametrize("name", list(LAWS))
@pytest.mark.parametrize(("N", "M", "flips"), [(11, 6, 1), (12, 5, 2), (12, 6, 0)])
def test_errors_of_one_neuron_are_exact_sums(name, N, M, flips):
    found = dense.exact_recall(LAWS[name], N, M, flips)
    error, uncorrected = chances(LAWS[name], N, M, flips)
    for seen, exact in ((found.error, error), (found.uncorrected, uncorrected)):
        if flips or seen is found.error:
            assert_close(seen, exact, 0.02 * exact + 1e-4, "sums of few terms are not smooth")


def simulated(interaction, N, M, flips, networks, steps=1, seed=0):
    """Shares of cues that one step, and `steps`, lead to the memory, of memories that are fixed
    points, and of neurons that are wrong after one step; of up to 64 memories of each network."""
    rng = np.random.default_rng(seed)
    overlaps = np.arange(-N - 1, N + 2.0)
    F = forces(interaction, overlaps, N)
    even, odd = (F[2:] + F[:-2]) / 2, (F[2:] - F[:-2]) / 2
    tie = 1e-9 * abs(F).max()

    def step(h):
        X = np.rint(h @ xi.T).astype(int) + N
        u = even[X] @ xi - h * odd[X].sum(1, keepdims=True)
        return np.where(abs(u) < tie, h, np.sign(u))

    found = []
    for _ in range(networks):
        xi = rng.choice([-1.0, 1.0], (M, N))
        memories = xi[:64]
        h = memories.copy()
        for row in h:
            row[rng.choice(N, flips, replace=False)] *= -1
        fixed = (step(memories) == memories).all(1).mean()
        h = step(h)
        right, once = (h == memories).mean(), (h == memories).all(1).mean()
        for _ in range(steps - 1):
            h = step(h)
        found.append((once, (h == memories).all(1).mean(), fixed, 1 - right))
    found = np.array(found)
    return found.mean(0), found.std(0, ddof=1) / networks**0.5


@pytest.mark.parametrize(
    ("interaction", "N", "M", "flips", "allowed"),
    [
        (hx.Power(3), 60, 130, 0, 0.01),
        (hx.Power(3), 60, 100, 3, 0.02),
        (hx.Quadratic(), 64, 9, 0, 0.01),
        (hx.Power(4), 30, 400, 0, 0.01),
        (hx.Power(4), 30, 250, 2, 0.02),
        (hx.ManyBody(3), 40, 130, 0, 0.01),
        (hx.RectifiedPower(2.5), 40, 50, 0, 0.01),
        (hx.Exponential(0.5), 14, 300, 0, 0.01),
        (hx.Exponential(1.0), 14, 600, 0, 0.01),
        (hx.Exponential(0.5), 16, 400, 1, 0.03),
        (hx.Exponential(0.2), 40, 1000, 5, 0.08),
    ],
    ids=lambda value: None,
)
def test_all_neurons_are_right_as_often_as_in_networks(interaction, N, M, flips, allowed):
    mean, error = simulated(interaction, N, M, flips, networks=100)
    found = dense.exact_recall(interaction, N, M, flips)
    wrong = (N - flips) * found.error + (flips * found.uncorrected if flips else 0.0)
    assert_close(mean[3], wrong / N, 4 * error[3] + 1e-3 * mean[3], "4 standard errors")
    why = "4 standard errors over networks, and what the approximation is said to be off"
    assert_close(mean[0], found.recall, 4 * error[0] + allowed, why)


def test_memories_at_which_runs_rest_are_fixed_points():
    """One step from a cue is rarely exact, some steps are nearly as often as a memory is fixed."""
    mean, error = simulated(hx.Power(3), 100, 400, 10, networks=20, steps=8)
    fixed, once = (dense.exact_recall(hx.Power(3), 100, 400, k).recall for k in (0, 10))
    assert_close(mean[2], fixed, 4 * error[2] + 0.01, "as above")
    assert_close(mean[0], once, 4 * error[0] + 0.02, "as above")
    assert once < 0.1 and fixed - 0.05 < mean[1] < mean[2]


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_exponential_errors_at_finite_size_pass_the_threshold_of_large_networks(rate):
    """At half the threshold load errors become ever rarer, and above it they do not."""
    load = float(dense.exponential_load(0.8, rate).one_step)
    below, above = (
        [
            dense.exact_recall(
                hx.Exponential(rate), N, round(math.exp(share * load * N)), N // 10
            ).error
            for N in (40, 80)
        ]
        for share in (0.7, 1.3)
    )
    assert below[1] < below[0] / 3
    assert above[1] >= above[0] > 0.05


def test_how_many_memories_are_fixed_points():
    law = hx.Power(3)
    for flips in (0, 6):
        M = dense.error_free_capacity(law, 60, what="memory", flips=flips)
        around = [dense.exact_recall(law, 60, m, flips).recall for m in (M, M + 1)]
        assert around[0] >= 0.5 > around[1]
    mean, error = simulated(law, 60, M, 6, networks=60)
    assert_close(mean[0], 0.5, 4 * error[0] + 0.02, "as above")
    # N^(n-1) / K(1) x^2 with Q(x) = ln 2 / N, at a larger size, times m^(2n-2) for a cue
    N, x = 1000, 3.1973  # the inverse tail of a Gaussian at 6.93e-4
    M = dense.error_free_capacity(law, N, what="memory")
    assert_close(M / (N**2 / (3 * x**2)), 1.0, 0.05, "finite size")
    cued = dense.error_free_capacity(law, N, what="memory", flips=100)
    assert_close(cued / M, 0.8**4, 0.01, "finite size")
    # The strongest exponentials are limited by memories that differ in one neuron
    strong = dense.error_free_capacity(hx.Exponential(2.0), 20, what="memory")
    assert_close(strong / (2 * math.log(2) * 2**20 / 20), 1.0, 0.05, "corrections of 1/N")


def test_a_single_memory_and_double_precision():
    assert dense.exact_recall(hx.Power(3), 10, 1).recall == 1.0
    assert math.isnan(dense.exact_recall(hx.Power(3), 10, 1).uncorrected)
    assert dense.exact_recall(hx.Power(3), 10, 1, flips=2).uncorrected == 0.0


def test_probabilities_are_the_same_in_single_precision():
    with jax.enable_x64(False):
        found = dense.exact_recall(hx.Power(5), 20, 1000).error
    assert_close(found, 0.10569628649014642, 1e-12, "rounding of double precision")


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dense.exact_recall(hx.Power(3), 10, 5, flips=5), "`flips` must be at most 4"),
        (lambda: dense.exact_recall(hx.ManyBody(3), 20, 5, flips=8), "`flips` = 8 of 20 neurons"),
        (lambda: dense.exact_recall(hx.Softmax(1.0), 10, 5), "Softmax"),
        (lambda: dense.error_free_capacity(hx.Power(3), 20, flips=1), "`flips` are of what='mem"),
        (
            lambda: dense.error_free_capacity(hx.Power(3), 20, what="memory", keep_diagonal=True),
            "`keep_diagonal` must be False",
        ),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
