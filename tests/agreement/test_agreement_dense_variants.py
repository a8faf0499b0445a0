"""Biased and correlated memories, diluted interactions and self-couplings of dense memories: finite
networks, most of them written out in NumPy, against the theory of infinite ones.

Errors are those over realisations of the memories. Trajectories of N neurons lie below the theory
by up to 7/N, those of biased memories, whose own means differ, by up to 10/N.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.theory import dense as theory

SHIFT = {"biased": 10, "diluted": 7}  # times 1/N
STEPS, PATHS = 4, 2**11


def field(Z, h, order=3):
    """Fields (runs, N) of powers for any entries `Z` (M, N), no neuron feeling itself."""
    X, square = h @ Z.T, Z * Z
    if order == 2:
        return (X @ Z - h * square.sum(0)) / Z.shape[1]
    own = 2 * h * (X @ square) - h**2 * (square * Z).sum(0)
    return (X**2 @ Z - own) / Z.shape[1] ** 2


def flipped(rng, xi, flips):
    """The rows of `xi` with so many entries turned over in each."""
    wrong = np.argsort(rng.random(xi.shape), axis=1) < flips
    return np.where(wrong, -xi, xi)


def over_realisations(one, count):
    found = np.stack([one(np.random.default_rng(seed)) for seed in range(count)])
    return found.mean(0), found.std(0, ddof=1) / count**0.5


def biased(rng, M, N, a, ancestor):
    """Memories of mean a, and the mean itself: of all neurons alike, or along an ancestor."""
    mean = a * np.where(rng.random(N) < 0.5, 1.0, -1.0) if ancestor else np.full(N, a)
    return np.where(rng.random((M, N)) < (1 + mean) / 2, 1.0, -1.0), mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "ancestor", "sizes"),
    [
        (3, False, ((96, 20), (288, 8))),
        (3, True, ((96, 20), (288, 8))),
        (2, False, ((400, 40), (1200, 40))),
    ],
    ids=["biased", "a common ancestor", "order 2"],
)
def test_memories_whose_mean_is_taken_out(order, ancestor, sizes):
    a, load, m0 = (0.5, 0.04, 0.9) if order == 3 else (0.4, 0.06, 0.8)
    interaction = hx.Power(order)

    def trajectory(rng, N):
        xi, mean = biased(rng, round(load * N ** (order - 1)), N, a, ancestor)
        Z, runs = xi - mean, 30
        h, found = flipped(rng, xi[:runs], round((1 - m0) * N / 2)), []
        for t in range(STEPS + 1):
            found.append((Z[:runs] * h).mean() / (1 - a**2))
            h = np.sign(field(Z, h, order)) if t < STEPS else h
        return np.array(found)

    for N, count in sizes:
        start = 1 - 2 * round((1 - m0) * N / 2) / N
        found, error = over_realisations(lambda rng, N=N: trajectory(rng, N), count)
        alpha = load if order == 3 else load - 1 / N  # the recalled memory makes no noise
        expected = theory.solve_gfa(interaction, alpha, start, STEPS, bias=a, paths=PATHS)
        assert error.max() < 0.015
        assert_close(found, expected.overlap, 4 * error.max() + SHIFT["biased"] / N, "as above")


def test_noise_and_feedback_of_biased_memories():
    """The fields after one step: their variance, and half the difference of neurons that began
    right and wrong."""
    a, load, m0, N, runs = 0.6, 0.03, 0.8, 384, 60
    flips = round((1 - m0) * N / 2)

    def fields(rng):
        xi, mean = biased(rng, round(load * N**2), N, a, False)
        Z, xi = xi - mean, xi[:runs]
        h = flipped(rng, xi, flips)
        u = xi * field(Z, np.sign(field(Z, h)))
        kinds = [(xi > 0) == up for up in (True, False)]
        right = xi == h
        parts = [(u[k & right].mean() - u[k & ~right].mean()) / 2 for k in kinds]
        rest = u - sum(k * u[k].mean() for k in kinds)
        shares = [(1 + a) / 2, (1 - a) / 2]
        feedback = np.dot(shares, parts)
        return np.array([feedback, (rest**2).mean() - feedback**2 * (1 - m0**2)])

    found, error = over_realisations(fields, 12)
    s = 1 - a**2
    run = theory.solve_gfa(hx.Power(3), load, 1 - 2 * flips / N, STEPS, bias=a, paths=PATHS)
    expected = run.feedback[1, 0], load * s**3 * 3
    assert error.max() < 0.0012
    assert_close(found[0], expected[0], 4 * error[0] + 0.5 / N, "four errors and 1/2N")
    assert_close(found[1], expected[1], 4 * error[1] + 1 / N, "four errors and 1/N")


@pytest.mark.slow
def test_the_recipe_for_a_network_of_biased_memories():
    """Real-valued patterns keep the diagonal, which the theory knows."""
    a, load, m0, N, runs = 0.4, 0.05, 0.9, 320, 30
    flips = round((1 - m0) * N / 2)

    def trajectory(rng):
        xi, mean = biased(rng, round(load * N**2), N, a, False)
        network = hx.DenseMemory(hx.Patterns(xi - mean), hx.Power(3), keep_diagonal=True)
        found = _run(network, jnp.asarray(flipped(rng, xi[:runs], flips)))
        return np.asarray(found) / (1 - a**2)

    found, error = over_realisations(trajectory, 8)
    options = {"bias": a, "self_coupling": True, "paths": PATHS}
    expected = theory.solve_gfa(hx.Power(3), load, 1 - 2 * flips / N, STEPS, **options)
    without = theory.solve_gfa(hx.Power(3), load, 1 - 2 * flips / N, STEPS, bias=a, paths=PATHS)
    assert_close(found, expected.overlap, 4 * error.max() + 8 / N, "four errors and 8/N")
    assert (abs(expected.overlap - without.overlap)[1:3] > 0.01).all()  # the diagonal shows


@jax.jit
def _run(network, starts):
    """Mean overlaps of runs with their own memories."""

    def trial(mu, h):
        def step(state, _):
            return network.step(state), network.overlaps(state)[mu]

        return jax.lax.scan(step, hx.SpinState(h), length=STEPS + 1)[1]

    return jax.vmap(trial)(jnp.arange(len(starts)), starts).mean(0)


@pytest.mark.parametrize("ancestor", [False, True], ids=["biased", "a common ancestor"])
def test_without_the_threshold_the_state_goes_to_the_mean(ancestor):
    """At a twentieth of the capacity of memories without bias."""
    lost = []
    for N in (100, 400, 800):
        rng = np.random.default_rng(N)
        xi, mean = biased(rng, round(0.004 * N**2), N, 0.4, ancestor)
        h = np.sign(field(xi, np.sign(field(xi, xi[:10]))))
        lost.append((h == np.sign(mean)).mean())
    assert lost[0] < 0.9 and lost[2] == 1.0  # memories agree with it in 70 % of their entries


@pytest.mark.slow
def test_the_mean_of_the_stored_memories_takes_out_part_of_the_noise():
    """K(C) - K(0) in place of K, which is the kernel of three-body interactions."""
    load, m0 = 0.08, 0.8

    def trajectory(rng, N):
        xi = np.where(rng.random((round(load * N**2), N)) < 0.5, 1.0, -1.0)
        Z, runs = xi - xi.mean(0), 30
        h, found = flipped(rng, xi[:runs], round((1 - m0) * N / 2)), []
        for t in range(STEPS + 1):
            found.append((Z[:runs] * h).mean())
            h = np.sign(field(Z, h)) if t < STEPS else h
        return np.array(found)

    for N, count in ((96, 10), (288, 6)):
        start = 1 - 2 * round((1 - m0) * N / 2) / N
        found, error = over_realisations(lambda rng, N=N: trajectory(rng, N), count)
        expected = theory.solve_gfa(hx.ManyBody(3), load, start, STEPS, paths=PATHS)
        assert error.max() < 0.01
        assert_close(found, expected.overlap, 4 * error.max() + 3 / N, "four errors and 3/N")


# Diluted interactions


def triples(rng, xi, kept):
    """Couplings of triples of different neurons, a fraction of which is kept and strengthened."""
    M, N = xi.shape
    J = (np.einsum("mi,mj->mij", xi, xi).reshape(M, -1).T @ xi).reshape(N, N, N) / kept
    i = np.arange(N)
    ordered = (i[:, None, None] < i[:, None]) & (i[:, None] < i)
    chosen = (rng.random((N, N, N)) < kept) & ordered
    every = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return J * sum(chosen.transpose(axes) for axes in every)


def pairs(rng, xi, kept):
    N = xi.shape[1]
    chosen = np.triu(rng.random((N, N)) < kept, 1)
    return xi.T @ xi * (chosen + chosen.T) / kept


def of_triples(J, h):
    """Fields of power 2 of N, for every row of `h`; a sum over ordered pairs is 2! e_2."""
    N = J.shape[0]
    return np.stack([J.reshape(N * N, N) @ one for one in h]).reshape(-1, N, N) @ h[..., None]


@pytest.mark.slow
def test_diluted_triples_are_whole_ones_at_a_higher_load():
    kept, scaled, m0, runs = 0.2, 0.1, 0.8, 20

    def trajectory(rng, N):
        xi = np.where(rng.random((round(kept * scaled * N**2), N)) < 0.5, 1.0, -1.0)
        J = triples(rng, xi.astype(np.float32), kept)
        h, found = flipped(rng, xi[:runs], round((1 - m0) * N / 2)).astype(np.float32), []
        for t in range(STEPS + 1):
            found.append((xi[:runs] * h).mean())
            if t < STEPS:
                u = of_triples(J, h)[..., 0]
                h = np.where(u == 0, h, np.sign(u))
        return np.array(found)

    for N, count in ((50, 20), (100, 8)):
        start = 1 - 2 * round((1 - m0) * N / 2) / N
        found, error = over_realisations(lambda rng, N=N: trajectory(rng, N), count)
        expected = theory.solve_gfa(hx.ManyBody(3), scaled, start, STEPS, paths=PATHS)
        whole = theory.solve_gfa(hx.ManyBody(3), kept * scaled, start, STEPS, paths=PATHS)
        assert_close(found, expected.overlap, 4 * error.max() + 4 / N, "four errors and 4/N")
        assert whole.overlap[1] - expected.overlap[1] > 0.1  # it matters


def test_noise_of_diluted_triples_and_pairs():
    """Covariance of the fields of two random states."""
    kept, weight, C, N, runs = {2: 0.6, 3: 0.3}, 1.2, 0.5, 64, 100

    def covariance(rng):
        xi = np.where(rng.random((200, N)) < 0.5, 1.0, -1.0)
        J, W = triples(rng, xi.astype(np.float32), kept[3]), pairs(rng, xi, kept[2])
        one = np.where(rng.random((runs, N)) < 0.5, 1.0, -1.0)
        u = []
        for h in (one, flipped(rng, one, round((1 - C) / 2 * N))):
            u.append(of_triples(J, h)[..., 0] + 2 / 3 * weight * N**0.5 * h @ W)
        return np.array([(u[0] * u[k]).mean() for k in (0, 1)]) / N**4

    found, error = over_realisations(covariance, 16)
    mixture = hx.Simplicial({3: 1.0, 2: weight * (kept[3] / kept[2]) ** 0.5})
    expected = 200 / N**2 / kept[3] * theory.kernel(mixture)(jnp.array([1.0, C]))
    assert (error / expected < 0.015).all()
    assert (abs(found / expected - 1) < 4 * error / expected + 3 / N).all()  # (1 - 1/N)(1 - 2/N)


# Neurons that feel themselves


def own_fields(interaction, N, load, m0, steps, realisations, runs=30):
    """What neurons feel of themselves, over their present state, after `steps` steps of a network
    that keeps its diagonal, and the overlaps until then."""
    M, flips = round(load * N ** (interaction.order - 1)), round((1 - m0) * N / 2)

    @jax.jit
    def one(key):
        memories, starts = jr.split(key)
        patterns = hx.GeneratedPatterns(memories, M, N)
        kept, out = (hx.DenseMemory(patterns, interaction, keep_diagonal=k) for k in (True, False))

        def trial(mu, key):
            xi = patterns.pattern(mu)
            state = hx.SpinState(jnp.where(jr.permutation(key, N) < flips, -xi, xi))
            m = [xi @ state.spins / N]
            for _ in range(steps):
                state = kept.step(state)
                m.append(xi @ state.spins / N)
            own = (kept.field(state) - out.field(state)) * state.spins
            return jnp.stack([own.mean(), *m])

        return jax.vmap(trial)(jnp.arange(runs), jr.split(starts, runs)).mean(0)

    found = np.stack([one(key) for key in jr.split(jr.key(4), realisations)])
    return found.mean(0), found.std(0, ddof=1) / realisations**0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "load", "sizes"),
    [(3, 0.08, (128, 384)), pytest.param(5, 0.0016, (48, 80), marks=pytest.mark.long)],
)
def test_at_odd_orders_a_neuron_feels_itself_from_the_second_step_on(n, load, sizes):
    for N in sizes:
        m0 = 1 - 2 * round(0.1 * N) / N
        found, error = own_fields(hx.Power(n), N, load, m0, 1, 16)
        run = theory.solve_gfa(hx.Power(n), load, m0, STEPS, self_coupling=True, paths=PATHS)
        own = run.feedback[1, 1] + (n - 1) * found[2] ** (n - 2) / N  # of the recalled memory
        assert run.feedback[0, 0] == 0 and run.feedback[1, 1] > 0.1
        assert_close(found[0], own, 4 * error[0] + 1 / N, "four errors and 1/N")
        if n == 3:
            by_hand = 2 * load * run.response[1, 0]
            assert_close(run.feedback[1, 1], by_hand, 1e-6, "2 alpha G, in float32")


def test_at_even_orders_and_rectified_a_neuron_that_feels_itself_is_frozen():
    for interaction, load, N, own in (
        (hx.Power(4), 0.005, 96, 3 * 0.005 * 96),
        (hx.RectifiedPower(3), 0.08, 400, 0.08 * (2 * 400 / np.pi) ** 0.5),
    ):
        found, _ = own_fields(interaction, N, load, 0.8, 0, 2)
        np.testing.assert_allclose(found[0], own, rtol=0.1)  # fluctuations and 1/N
        _, *m = own_fields(interaction, N, load, 0.8, 2, 2)[0]
        assert abs(m[2] - m[0]) < 0.02  # though far below capacity
