"""The theory of sequences in dense memories against closed forms and networks in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import binom, norm

import hopfax as hx
from hopfax import Exponential, ManyBody, Power, Quadratic, RectifiedPower, Simplicial
from hopfax.theory import dense

SPREAD = 4  # standard errors
#: What a network of N neurons may be off, times sqrt(N): order 3, and the random start.
FINITE = 0.3


def forces(interaction, N):
    """The reduced force of a sum of N - 1 signs, over N^p; of the exponential over that of the
    state itself."""
    return {
        "Exponential": lambda y: np.exp(float(interaction.rate) * (y - (N - 1))),
        "Quadratic": lambda y: y / N,
        "Power": lambda y: (y / N) ** 2,
        "RectifiedPower": lambda y: (np.maximum(y, 0) / N) ** 2,
        "ManyBody": lambda y: (y**2 - (N - 1)) / N**2,
    }[type(interaction).__name__]


class Walker:
    """A network that goes round a cycle of random memories, by definition: neuron i sees the
    overlaps without itself. As these are sums of signs, f(X - s) is even(X) - s odd(X)."""

    def __init__(self, rng, interaction, N, M, keep_diagonal=False):
        signs = np.array([-1, 1], np.float32)
        self.xi = rng.choice(signs, (M, N))
        self.f, self.next = forces(interaction, N), np.roll(self.xi, -1, 0)
        self.own = 0 if keep_diagonal else self.xi * self.next

    def start(self, rng, m0):
        h = self.xi[0].copy()
        h[rng.choice(h.size, round(h.size * (1 - m0) / 2), replace=False)] *= -1
        return h

    def field(self, h):
        X = self.xi @ h
        if isinstance(self.own, int):
            return self.f(X) @ self.next
        even, odd = (self.f(X + 1) + self.f(X - 1)) / 2, (self.f(X + 1) - self.f(X - 1)) / 2
        return even @ self.next - h * (odd @ self.own)


def runs(interaction, N, load, m0, steps, networks, answer=np.sign, **keywords):
    """Overlaps with the memories that are due and correlations of the states, of each network."""
    rng = np.random.default_rng(3)
    M = round(load * N ** (getattr(interaction, "order", 2) - 1))
    m, C = [], []
    for _ in range(networks):
        walker = Walker(rng, interaction, N, M, **keywords)
        states = [walker.start(rng, m0)]
        for _ in range(steps):
            states.append(answer(walker.field(states[-1])).astype(np.float32))
        states = np.array(states)
        m.append((states * walker.xi[np.arange(steps + 1) % M]).mean(1))
        C.append(states @ states.T / N)
    return np.array(m), np.array(C)


def agree(sample, expected, N):
    """Whether the mean over networks is as expected but for its error and c / sqrt(N)."""
    error = sample.std(0, ddof=1) / math.sqrt(len(sample))
    allowed = SPREAD * error + FINITE / math.sqrt(N)
    assert (abs(sample.mean(0) - np.asarray(expected)) < allowed).all()


CASES = [
    (Quadratic(), 800, 0.2, 0.6),  # below capacity, above the edge of the basin
    (Quadratic(), 800, 0.2, 0.3),  # below the edge
    (Quadratic(), 800, 0.3, 0.9),  # above capacity
    (Power(3), 200, 0.2 / 3, 0.8),
    (Power(3), 200, 0.3 / 3, 0.9),
    (ManyBody(3), 200, 0.2 / 2, 0.8),
    (RectifiedPower(3), 200, 0.2 / 1.5, 0.8),
]


@pytest.mark.parametrize("interaction, N, load, m0", CASES)
@pytest.mark.parametrize("keep_diagonal", [False, True])
def test_trajectories_are_those_of_networks(interaction, N, load, m0, keep_diagonal):
    steps = 6
    m, _ = runs(interaction, N, load, m0, steps, 20, keep_diagonal=keep_diagonal)
    expected = dense.sequence_trajectory(interaction, load, m0, steps).overlap
    agree(m, expected, N)


def test_finite_temperature_and_graded_units():
    rng = np.random.default_rng(5)
    glauber = lambda u: np.where(rng.random(u.shape) < (1 + np.tanh(4 * u)) / 2, 1, -1)  # noqa: E731
    point = Quadratic(), 800, 0.15, 0.6, 5, 20
    theory = dense.sequence_trajectory(Quadratic(), 0.15, 0.6, 5, beta=4.0).overlap
    agree(runs(*point, answer=glauber)[0], theory, 800)
    theory = dense.sequence_trajectory(Quadratic(), 0.15, 0.6, 5, activation=hx.Tanh(4.0)).overlap
    graded = lambda u: np.tanh(4 * u)  # noqa: E731
    agree(runs(*point, answer=graded, keep_diagonal=True)[0], theory, 800)
    # Order 3 with the diagonal, as X without a neuron is not a sum of signs.
    theory = dense.sequence_trajectory(Power(3), 0.05, 0.8, 5, activation=hx.Tanh(4.0)).overlap
    found = runs(Power(3), 200, 0.05, 0.8, 5, 20, answer=graded, keep_diagonal=True)[0]
    agree(found, theory, 200)


def test_cold_and_steep_units_are_signs():
    signs = dense.sequence_trajectory(Quadratic(), 0.2, 0.6, 3).overlap
    for keywords in (dict(beta=1e4), dict(activation=hx.Tanh(1e4))):
        other = dense.sequence_trajectory(Quadratic(), 0.2, 0.6, 3, **keywords).overlap
        np.testing.assert_allclose(
            other, signs, rtol=0, atol=2e-4
        )  # 1 / gain, and the dip of phi^2


def test_order_three_is_the_map_at_all_times():
    load = np.array([0.05, 0.09])
    run = dense.sequence_trajectory(Power(3), load, 0.7, 5)
    np.testing.assert_allclose(
        run.overlap, dense.map_trajectory(Power(3), load, 0.7, 5), rtol=1e-13
    )
    np.testing.assert_allclose(run.noise, 3 * load[:, None] + np.zeros(6), rtol=1e-13)


def test_states_of_two_times_are_correlated_by_the_noise_alone():
    load, m0, steps, N = 0.3, 0.5, 4, 150
    for interaction in (Power(3), RectifiedPower(3)):
        C = runs(interaction, N, load, m0, steps, 20)[1]
        expected = dense.sequence_correlation(interaction, load, m0, steps)
        agree(C, expected, N)
    # Without a signal the states are those of the arcsine law: 2/pi arcsin(K(0)/K(1)) first.
    quiet = dense.sequence_correlation(Power(3), load, 0.0, steps)
    np.testing.assert_allclose(quiet[2, 1], 2 / math.pi * math.asin(1 / 3), atol=1e-9)
    for interaction in (ManyBody(3), Quadratic()):
        C = dense.sequence_correlation(interaction, load, m0, steps)
        np.testing.assert_allclose(C, np.eye(steps + 1), atol=1e-12)


def test_capacities():
    # by maximising on a fine grid, in NumPy; 1e-8 is what is asked for
    x = np.linspace(0.97, 0.99, 20_001)
    best = (erf(x) ** 2 / (2 * x**2) - 2 / math.pi * np.exp(-2 * x**2)).max()
    found = dense.sequence_capacity(Quadratic())
    assert float(found.load) == pytest.approx(best, abs=1e-8)
    assert float(found.load) == pytest.approx(0.26906162914, abs=1e-11)
    for n, expected in ((3, 0.252190430771), (4, 0.197860119195), (5, 0.172772554019)):
        assert float(dense.sequence_capacity(Power(n)).scaled) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("interaction", [Quadratic(), Power(3), Simplicial({3: 1.0, 2: 0.5})])
def test_stationary_states_and_the_edge_of_the_basin(interaction):
    """Runs that start on either side of the edge, and from the stationary state, by the theory of
    trajectories; nothing above capacity."""
    top = float(dense.sequence_capacity(interaction).load)
    load = np.array([0.3, 0.9, 0.999, 1.001]) * top
    points = dense.sequence_fixed_points(interaction, load)
    assert points.exists.tolist() == [True, True, True, False]
    assert all(np.isnan(part[-1]) for part in points[:3])
    load, edge = load[:3], points.edge[:3]
    for start, expected in ((edge * (1 + 1e-6), points.stable), (edge * (1 - 1e-6), 0 * edge)):
        last = dense.sequence_trajectory(interaction, load, start, 2000).overlap[:, -1]
        # settled, but for the slow end at the fold and the last of the decay
        np.testing.assert_allclose(last, expected[:3], atol=1e-6)
    if interaction.order == 2:
        assert (edge < points.unstable[:3]).all()


def test_gradients_of_edges_and_trajectories():
    for load in (0.02, 0.2):
        for read in (
            lambda a: dense.sequence_fixed_points(Quadratic(), a).edge,
            lambda a: dense.sequence_trajectory(Quadratic(), a, 0.6, 6).overlap[-1],
        ):
            difference = (read(load + 1e-5) - read(load - 1e-5)) / 2e-5
            assert float(jax.grad(read)(load)) == pytest.approx(float(difference), rel=1e-6)
    small = dense.sequence_fixed_points(Quadratic(), np.array([1e-7, 1e-9]))
    # x^2 = 3 pi alpha / 8, and m = 2 x / sqrt(pi)
    expected = np.sqrt(1.5 * np.array([1e-7, 1e-9]))
    np.testing.assert_allclose(small.unstable, expected, rtol=1e-6)


# Recall without error at finite size


def enumerated_error(interaction, N, M):
    """P(S > c) + P(S = c)/2 by adding up M - 1 terms, one after the other."""
    y = np.arange(-(N - 1.0), N, 2)
    f, p = interaction.force(jnp.asarray(y), N), binom.pmf(np.arange(N), N - 1, 0.5) / 2
    f = np.exp(f - f[-1]) if interaction.exponential else np.asarray(f / f[-1])
    sums, chances = np.zeros(1), np.ones(1)
    for _ in range(M - 1):
        sums = (sums[:, None] + np.concatenate([f, -f])).ravel().round(12)
        sums, place = np.unique(sums, return_inverse=True)
        chances = np.bincount(place, (chances[:, None] * np.concatenate([p, p])).ravel())
    tie = abs(sums - 1) < 1e-9
    return chances[(sums > 1) & ~tie].sum() + chances[tie].sum() / 2


ALL = [
    Quadratic(),
    Power(3),
    Power(4),
    ManyBody(4),
    RectifiedPower(3),
    Simplicial({3: 1.0, 2: 0.5}),
]


@pytest.mark.parametrize("interaction", [*ALL, Exponential(0.3), Exponential(1.0)])
def test_the_error_of_a_neuron_is_exact(interaction):
    for N, M in ((7, 2), (8, 5)):
        found = dense.transition_recall(interaction, N, M).error
        # the Gaussian of width 1/20 of the tilt that is added: for few memories, whose sums are
        # far apart, it does less
        assert found == pytest.approx(enumerated_error(interaction, N, M), rel=4e-3)


def test_the_error_of_a_neuron_of_order_two_is_a_binomial_tail():
    for N, M in ((11, 3), (50, 8), (401, 60)):
        K, least = (M - 1) * (N - 1), M * (N - 1) / 2  # signs, and how many must be wrong
        expected = binom.sf(math.floor(least), K, 0.5)
        expected += binom.pmf(least, K, 0.5) / 2 if least % 1 == 0 else 0
        found = dense.transition_recall(Quadratic(), N, M).error
        assert found == pytest.approx(expected, rel=2e-3, abs=0.0)


def test_rare_errors_are_those_of_a_memory_that_equals_the_state():
    """1 memory of 2^119 agrees with all other neurons, and is wrong in a quarter of the cases; the
    logarithms of the generating function are of the size 1e-18."""
    M = 2**60
    found = dense.transition_recall(Exponential(3.0), 120, M).error
    assert found == pytest.approx(M * 2.0**-119 / 4, rel=2e-3, abs=0.0)
    # Where many neurons err nothing overflows.
    assert dense.transition_recall(Exponential(1.0), 60, M).sequence == 0.0


def wrong_neurons(rng, interaction, N, M, keep_diagonal=False):
    """How many neurons are wrong in each transition of a cycle of random memories."""
    xi = rng.choice([-1.0, 1.0], (M, N))
    following = np.roll(xi, -1, 0)
    f = forces(interaction, N)
    X = xi @ xi.T
    if keep_diagonal:
        field = f(X) @ following
    else:
        even, odd = (f(X + 1) + f(X - 1)) / 2, (f(X + 1) - f(X - 1)) / 2
        field = even @ following - xi * (odd @ (xi * following))
    answer = np.where(abs(field) < 1e-9, xi, np.sign(field))
    return (answer != following).sum(1)


@pytest.mark.parametrize(
    "interaction, N, M, networks",
    [
        (Quadratic(), 60, 12, 800),
        (Power(3), 60, 227, 60),
        (ManyBody(3), 30, 100, 200),
        (Exponential(1.0), 12, 300, 60),
        (Exponential(0.3), 16, 60, 400),
    ],
)
@pytest.mark.parametrize("keep_diagonal", [False, True])
def test_transitions_of_networks(interaction, N, M, networks, keep_diagonal):
    rng = np.random.default_rng(7)
    wrong = np.array(
        [wrong_neurons(rng, interaction, N, M, keep_diagonal) for _ in range(networks)]
    )
    theory = dense.transition_recall(interaction, N, M, keep_diagonal=keep_diagonal)
    for sample, expected, off in (
        (wrong.mean(1) / N, theory.error, theory.error / N if keep_diagonal else 0.0),
        ((wrong == 0).mean(1), theory.transition, 0.01),  # Gamma distributed neurons
    ):
        error = sample.std(ddof=1) / math.sqrt(networks)
        assert abs(sample.mean() - expected) < SPREAD * error + off


@pytest.mark.parametrize(
    "interaction, N", [(Power(3), 40), (Quadratic(), 80), (Exponential(1.0), 14)]
)
def test_the_capacity_is_between_what_networks_recall_and_what_they_do_not(interaction, N):
    rng, networks = np.random.default_rng(8), 300

    def recalled(M):
        count = sum(not wrong_neurons(rng, interaction, N, M).any() for _ in range(networks))
        return count / networks, SPREAD * math.sqrt(0.25 / networks)

    M = dense.error_free_capacity(interaction, N)
    assert dense.transition_recall(interaction, N, M).sequence >= 0.5
    assert dense.transition_recall(interaction, N, M + 1).sequence < 0.5
    chance, error = recalled(M)
    assert abs(chance - dense.transition_recall(interaction, N, M).sequence) < error + 0.04
    more, fewer = math.ceil(1.25 * M) + 1, math.floor(0.75 * M) - 1
    assert recalled(more)[0] < 0.5 - error < 0.5 + error < recalled(fewer)[0]


def test_capacities_of_large_networks_obey_their_laws():
    N = 200
    both = [dense.error_free_capacity(Power(3), N, what=w) for w in ("transition", "sequence")]
    for M, places in zip(both, (N, N * both[1]), strict=True):
        x = norm.isf(math.log(2) / places)
        assert pytest.approx(N**2 / 3 / x**2, rel=0.03) == M  # noise of M memories is not Gaussian
    # the exponential: equal memories, and those that differ in one neuron
    expected = math.sqrt(2 * math.log(2) / (1 + 60 / 2)) * 2 ** (60 / 2)
    found = dense.error_free_capacity(Exponential(0.5), 60)
    assert found == pytest.approx(expected, rel=2e-3)
    # rates below 0.22: the noise of all memories
    noise = dense.error_free_capacity(Exponential(0.1), 100)
    assert noise < math.sqrt(2 * math.log(2) / 51) * 2.0**50 / 100
    beta = math.exp(0.2) / math.cosh(0.2)
    assert 0.8 < noise * 2 * 100 * math.log(beta) / beta**99 < 1.5


def test_more_is_asked_of_a_sequence_and_a_higher_probability():
    transition = dense.error_free_capacity(Power(3), 50, 0.9, what="transition")
    likely, sure = (dense.error_free_capacity(Power(3), 50, p) for p in (0.5, 0.99))
    assert sure < likely < transition
    assert dense.error_free_capacity(Quadratic(), 2, 0.99) == 1  # two memories are too many
    alone = dense.transition_recall(Power(3), 10, 1)
    assert alone == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: dense.sequence_trajectory(Power(3), 0.0, 0.5, 2), "`load` must be > 0"),
        (lambda: dense.sequence_trajectory(Power(3), 0.1, 1.5, 2), "`m0` must lie between -1"),
        (lambda: dense.sequence_trajectory(Power(3), 0.1, 0.5, 0), "`steps`"),
        (
            lambda: dense.sequence_trajectory(Power(3), 0.1, 0.5, 2, beta=1, activation=hx.Tanh()),
            "`beta`.*leave it out",
        ),
        (lambda: dense.sequence_correlation(Power(3), np.ones(2), 0.5, 2), "`load`.*shape"),
        (lambda: dense.sequence_capacity(hx.Exponential(1.0)), "no Gaussian kernel"),
        (lambda: dense.sequence_capacity(RectifiedPower(2)), "order 2"),
        (lambda: dense.sequence_fixed_points(dense.input_driven_kernel(), 0.1), "input-driven"),
        (lambda: dense.sequence_fixed_points(Power(3), -0.1), "`load` must be > 0"),
        (lambda: dense.transition_recall(hx.Softmax(1.0), 10, 5), "Softmax"),
        (lambda: dense.transition_recall(Power(3), 1, 5), "`N` must be a whole number >= 2"),
        (lambda: dense.transition_recall(Power(3), 10, 0), "`M` must be a whole number >= 1"),
        (lambda: dense.transition_recall(ManyBody(4), 3, 5), "`N` = 3 neurons are too few"),
        (lambda: dense.error_free_capacity(Power(3), 10, 1.0), r"`probability` must be in \(0, 1"),
        (lambda: dense.error_free_capacity(Power(3), 10, what="item"), "`what` must be one of"),
        (lambda: dense.error_free_capacity(Exponential(9.0), 250), "`N` = 250 has a capacity"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_under_jit_what_is_out_of_range_is_nan():
    run = jax.jit(lambda m0: dense.sequence_trajectory(Power(3), 0.1, m0, 1).overlap)
    assert np.isnan(run(jnp.asarray(1.5))).all()
