"""The input-driven field: theory meets simulation. They share no code above the activations.

All runs of a kind are one call of a program, P = 3 memories and N = 16 neurons.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

theory = hx.theory.input_driven
MEMORIES = hx.patterns.hadamard(3, 16)
STEEP = hx.Tanh(2.0)


def ends(network, fields, stimuli, time=80.0, current=None):
    """Overlaps at which runs from these fields end, each with its stimulus."""

    def one(field, stimulus):
        options = dict(stimulus=stimulus) if current is None else dict(current=stimulus)
        ts = jnp.array([0.0, time])
        return hx.simulate(network, network.init(field=field), ts, **options).overlaps[-1]

    return np.asarray(jax.vmap(one)(jnp.asarray(fields), jnp.asarray(stimuli)))


def pushed(rng, fields, by=1e-2):
    """The fields, each neuron moved at random: 1e-2 is far inside the basin of what is stable, at
    least 0.05 from an edge, and grows to another state within the time of a run where it is not."""
    return fields + by * rng.normal(size=np.shape(fields))


@pytest.mark.parametrize(
    ("activation", "keep_diagonal"), [(hx.HardTanh(1.5), True), (STEEP, False)]
)
@pytest.mark.slow
def test_memories_are_held_where_the_theory_says(activation, keep_diagonal):
    rng = np.random.default_rng(0)
    network = hx.InputDrivenHopfield(MEMORIES, activation=activation, keep_diagonal=keep_diagonal)
    N = math.inf if keep_diagonal else 16
    alpha = rng.uniform(0.0, 2.5, (120, 3))
    found = jax.vmap(lambda a: theory.retrieval(a, 0, activation, N))(alpha)
    effective = alpha - alpha.sum(1, keepdims=True) * (0 if keep_diagonal else 1 / 16)
    growth = np.max(found.eigenvalues, 1)
    clear = (abs(growth) > 0.1) & (abs(effective[:, 0] * activation.gain - 1) > 0.1)
    a = np.where(found.exists, found.amplitude, 1.0)
    xi = np.asarray(MEMORIES.xi)
    m = ends(network, pushed(rng, a[:, None] * xi[0]), alpha @ xi, 200.0)
    expected = np.stack([found.overlap, 0 * growth, 0 * growth], 1)
    held = abs(m - expected).max(1) < 1e-6  # the slowest decay, exp(-0.1 t), and the solver's 1e-8
    stable = np.asarray(found.stable)
    assert 20 < stable[clear].sum() < clear.sum() - 20  # both sides are there
    wrong = clear & (held != stable) & found.exists
    np.testing.assert_array_equal(wrong, False)
    gone = clear & ~np.asarray(found.exists)
    assert (abs(m[gone, 0]) < 1e-3).all()  # at the origin, or in another memory


def overlapping(shared):
    """Two memories of N = 16 with this overlap, in quarters."""
    xi = np.ones((2, 16))
    xi[0, ::2] = -1.0
    xi[1] = xi[0]
    xi[1, : 8 - 2 * shared] *= -1.0
    return hx.Patterns(xi)


@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.slow
def test_which_memory_wins_as_the_mixture_varies(shared):
    """Hard tanh: from memory 1, memory 2, a mixture and near the origin, the states that attract
    are those that the theory says are stable, and no other."""
    rng = np.random.default_rng(1)
    patterns, overlap = overlapping(shared), shared / 4
    assert_close(patterns.gram()[0, 1], overlap, 1e-15, "made so")
    network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh())
    xi = np.asarray(patterns.xi)
    s = np.linspace(0.02, 0.98, 13)
    A = np.array([0.85, 1.3, 1.7, 3.2])[:, None]
    c = np.stack([A * (1 - s), A * s], -1)  # (4, 13, 2)
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [0.7, 0.7], [0.01, 0.01]])[:, None, None]
    fields = pushed(rng, np.broadcast_to(weights, (4, *c.shape)) @ xi)
    stimuli = np.broadcast_to(c @ xi, fields.shape)
    m = ends(network, fields.reshape(-1, 16), stimuli.reshape(-1, 16), 2000.0)
    m = abs(m.reshape(4, *c.shape))
    # Relaxation at rates of 0.005 and more, for 2000 time constants, leaves exp(-10).
    memories = [[1.0, overlap], [overlap, 1.0]]
    first, second = (abs(m - np.array(memory)).max(-1) < 1e-3 for memory in memories)
    nothing = m.max(-1) < 0.02
    seen = (first, second, ~first & ~second & ~nothing, nothing)
    found = theory.stable_states(network, s, A)
    edges = np.stack(np.broadcast_arrays(*theory.competition(network, A)[:4]), -1)
    clear = ~(abs(s[:, None] - edges) < 0.015).any(-1)  # an edge that is not there is NaN
    assert clear.sum() > 40
    for kind, flag, reached in zip(found._fields, found, seen, strict=True):
        np.testing.assert_array_equal(reached.any(0)[clear], flag[clear], err_msg=kind)


@pytest.mark.slow
def test_the_pitchfork_of_a_smooth_activation():
    """tanh: memory 1 is left just above its edge, for memory 2, and held just below."""
    rng = np.random.default_rng(2)
    network = hx.InputDrivenHopfield(MEMORIES, activation=STEEP)
    A = np.array([0.8, 1.1, 1.5, 2.5])
    found = theory.competition(network, A)
    np.testing.assert_array_equal(found.jump, A > 1.0)
    s = found.first[None] + np.array([-0.02, 0.02])[:, None]
    alpha = np.stack([A * (1 - s), A * s, 0 * s], -1).reshape(-1, 3)
    one = np.broadcast_to(1.0 * np.asarray(MEMORIES.xi[0]), (8, 16))
    m = abs(ends(network, pushed(rng, one), alpha @ np.asarray(MEMORIES.xi), 1000.0))
    m = m.reshape(2, 4, 3)
    assert (m[0, :, 0] > 0.1).all() and (m[0, :, 1:] < 1e-6).all()
    assert (m[1, :, 0] < 1e-6).all()
    np.testing.assert_array_equal(m[1, :, 1] > 0.5, A > 1.0)  # else nothing is left, below A = 1


@pytest.mark.parametrize(
    ("activation", "keep_diagonal"), [(hx.HardTanh(1.5), True), (STEEP, False)]
)
def test_energies_of_wells_and_saddle_are_those_of_the_network(activation, keep_diagonal):
    network = hx.InputDrivenHopfield(MEMORIES, activation=activation, keep_diagonal=keep_diagonal)
    xi, s, A = np.asarray(MEMORIES.xi), np.array([0.42, 0.5, 0.55]), 3.0
    found = theory.barrier(network, s, A)
    assert found.exists.all()
    missing = 0.0 if keep_diagonal else A / 16
    for k in range(3):
        alpha = np.array([A * (1 - s[k]), A * s[k], 0.0])
        inputs = hx.Inputs(stimulus=jnp.asarray(alpha @ xi))
        m = np.append(found.overlaps[k], 0.0)
        states = [(alpha - missing) * m]
        for mu in range(2):
            one = theory.retrieval(network, alpha, mu)
            states.append(float(one.amplitude) * np.eye(3)[mu])
        values = []
        for weights in states:
            state = network.init(field=weights @ xi)
            rate = network.vector_field(0.0, state, inputs).field
            assert_close(rate, np.zeros(16), 1e-12, "it is at rest")
            values.append(float(network.energy(state, inputs)) / 16)
        expected = [found.saddle[k], found.first[k], found.second[k]]
        assert_close(values, np.array(expected), 1e-13, "rounding")


@pytest.mark.parametrize("activation", [hx.HardTanh(), STEEP])
@pytest.mark.slow
def test_runs_from_both_sides_of_the_saddle_end_in_both_memories(activation):
    network = hx.InputDrivenHopfield(MEMORIES, activation=activation)
    s, A = np.array([0.4, 0.5, 0.57]), 3.0
    m = np.asarray(theory.barrier(network, s, A).overlaps)
    alpha = np.stack([A * (1 - s), A * s, 0 * s], 1)
    aside = 0.02 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    weights = np.pad(alpha[:, :2] * m + aside[:, None], ((0, 0), (0, 0), (0, 1)))
    xi = np.asarray(MEMORIES.xi)
    end = ends(network, weights.reshape(-1, 3) @ xi, np.tile(alpha @ xi, (2, 1)), 200.0)
    np.testing.assert_array_equal(np.argmax(end, 1), [0, 0, 0, 1, 1, 1])
    assert (end.max(1) > 0.9).all() and (np.sort(abs(end), 1)[:, :2] < 1e-6).all()


def random_memories(seed):
    return hx.patterns.random(jax.random.key(seed), 3, 16)


def test_leakage_is_what_the_network_sees():
    patterns, c = random_memories(0), jnp.array([2.0, 0.5, -0.3])
    network = hx.InputDrivenHopfield(patterns)
    state, found = network.init(weights=jnp.ones(3)), theory.leakage(network, c)
    for weights, expected in ((c, found.saliency), (found.undone, c)):
        inputs = hx.Inputs(stimulus=patterns.field(weights))
        assert_close(network.saliencies(state, inputs), expected, 1e-13, "rounding")


@pytest.mark.slow
def test_correlated_memories_hold_from_their_factor_on():
    """Random memories: 1 % above the factor the memory is held exactly, 1 % below it is not."""
    seen = 0
    for seed in range(6):
        patterns = random_memories(seed)
        network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh(2.0))
        c = np.array([1.0, 0.3, 0.1])
        xi, gram = np.asarray(patterns.xi), np.asarray(patterns.gram())
        for leaks in (True, False):
            found = theory.correlated_retrieval(network, c, leaks=leaks)
            assert (np.asarray(found.bound) <= np.asarray(found.margin) + 1e-12).all()
            if not np.isfinite(found.factor[0]):
                continue
            weights = c if leaks else np.asarray(theory.leakage(network, c).undone)
            factors = float(found.factor[0]) * np.array([0.99, 1.01])
            m = ends(network, np.stack([3 * xi[0]] * 2), factors[:, None] * (weights @ xi), 100.0)
            off = abs(m - gram[0]).max(1)
            assert off[0] > 1e-3 and off[1] < 1e-9
            seen += 1
    assert seen > 6


@pytest.mark.parametrize("activation", [hx.HardTanh(1.5), hx.Erf(2.0)])
@pytest.mark.slow
def test_noise_of_the_mean_field_network(activation):
    """The noiseless network of averaged activation: overlaps, where the memory is lost, and where
    the weaker of two is left for the stronger."""
    rng = np.random.default_rng(3)
    xi = np.asarray(MEMORIES.xi)
    strong, weak = 2.0, 1.3
    window = theory.noise_window(strong, weak, activation)
    limit = theory.noise_limit(strong, activation)
    assert_close(window.high, limit, 1e-14, "one root")
    sigma = np.array([0.3, 0.85 * window.low, 1.15 * window.low, 0.95 * limit, 1.1 * limit])
    found = theory.driven_overlap(strong, sigma, activation, rival=weak)
    weaker = theory.driven_overlap(weak, sigma, activation, rival=strong)
    np.testing.assert_array_equal(weaker.stable, [True, True, False, False, False])
    fields = pushed(rng, np.stack([2 * xi[0], 2 * xi[1]]))
    for k, noise in enumerate(sigma):
        network = hx.InputDrivenHopfield(MEMORIES, activation=activation).mean_field(noise)
        stimulus = np.stack([strong * xi[0] + weak * xi[1]] * 2)
        m = abs(ends(network, fields, stimulus, 400.0))
        first = np.array([found.overlap[k], 0.0, 0.0])
        second = np.array([0.0, weaker.overlap[k], 0.0])
        reason = "what is left of a relaxation of rate 0.02 or more after 400 time constants"
        assert_close(m[0], first, 1e-3, reason)
        assert_close(m[1], second if weaker.stable[k] else first, 1e-3, reason)


@pytest.mark.slow
def test_the_classic_network_with_a_current_under_noise():
    """Mean-field runs of the classic network, from both memories, against its closure."""
    xi, activation = np.asarray(MEMORIES.xi), hx.HardTanh(2.0)
    c = np.array([0.3, 0.15, 0.0])
    for sigma in (0.2, 0.5, 1.0):
        network = hx.Hopfield(MEMORIES, activation=activation).mean_field(sigma)
        fields = (np.eye(3)[:2] + c) @ xi
        m = ends(network, fields, np.stack([c @ xi] * 2), 400.0, current=True)
        for mu in range(2):
            found = theory.additive_overlaps(c, sigma, activation, mu)
            assert found.settled and bool(found.kept) == (np.argmax(m[mu]) == mu)
            assert_close(m[mu], found.overlaps, 1e-6, "the tolerance of the run")


@pytest.mark.slow
def test_noisy_networks_of_many_neurons_have_these_overlaps():
    """The stochastic networks themselves, N = 1024, overlaps averaged over 30 time constants."""
    patterns, N, c, sigma = hx.patterns.hadamard(3, 1024), 1024, jnp.array([2.0, 0.8, 0.0]), 1.4
    steep = hx.HardTanh(1.5)
    driven = hx.InputDrivenHopfield(patterns, activation=steep)
    classic = hx.Hopfield(patterns, activation=steep)
    stimulus, ts = patterns.field(c), jnp.linspace(0.0, 50.0, 101)
    step = hx.Diffrax(dt0=0.05)  # a Heun step around the exact noise: an error of h^2 or so
    for network, given in ((driven, "stimulus"), (classic, "current")):
        start = network.init(weights=jnp.array([2.0, 0.0, 0.0]))
        options = {given: stimulus, "noise": sigma, "key": jax.random.key(1), "method": step}
        run = hx.simulate(network, start, ts, **options)
        m = np.asarray(run.overlaps)[41:].mean(0)
        if network is driven:
            expected = np.array([theory.driven_overlap(2.0, sigma, steep).overlap, 0.0, 0.0])
        else:
            expected = theory.additive_overlaps(c, sigma, steep).overlaps
        # One neuron's rate varies by at most 1, over 30 time constants, correlated for 1 to 3 of
        # them: a standard error of sqrt(3/30)/sqrt(N) = 0.01; four of them.
        assert_close(m, expected, 4 * (3 / 30) ** 0.5 / N**0.5, "four standard errors")
