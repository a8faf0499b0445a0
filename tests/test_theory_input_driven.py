"""The theory of the input-driven field against closed forms, limiting cases and itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfinv

import hopfax as hx

theory = hx.theory.input_driven
SMOOTH = [hx.Tanh(2.0), hx.Erf(2.0), hx.Rational(2.0), hx.Arctan(2.0)]


def slope(function, x, step=1e-5):
    return (float(function(x + step)) - float(function(x - step))) / (2 * step)


# One memory


def test_hard_tanh_retrieves_what_is_above_its_threshold_whatever_the_others():
    found = theory.retrieval([1.2, 9.0, -1.0])
    assert found.exists and found.stable and found.amplitude == 1.2 and found.overlap == 1
    np.testing.assert_array_equal(found.eigenvalues, [-1, -1, -1])
    below = theory.retrieval([0.99, 9.0, -1.0])
    assert not below.exists and not below.stable and below.overlap == 0
    halved = theory.retrieval([0.6, 0.1], activation=hx.HardTanh(2.0))
    assert halved.exists and not theory.retrieval([0.6, 0.1]).exists


def test_a_smooth_memory_has_the_known_amplitude_and_falls_to_zero_at_its_threshold():
    found = theory.retrieval([2.0, 0.0], activation=hx.Tanh())
    np.testing.assert_allclose(found.amplitude, 1.91500804815, rtol=0, atol=5e-12)  # its digits
    near = theory.retrieval([1.0 + 1e-8, 0.0], activation=hx.Tanh())
    # m = sqrt(3 (alpha - 1)) to first order in alpha - 1
    np.testing.assert_allclose(near.overlap, math.sqrt(3e-8), rtol=1e-6)
    assert not theory.retrieval([1.0, 0.0], activation=hx.Tanh()).exists


def test_thresholds_are_where_existence_and_stability_change():
    for N, others in ((math.inf, [0.7, 0.4]), (16, [0.7, 0.4]), (16, [-0.9, 0.1])):
        for activation in (hx.HardTanh(1.5), hx.Tanh(2.0)):
            edge = float(theory.retrieval_threshold(sum(others), activation, N))
            for factor, exists in ((1.001, True), (0.999, False)):
                alpha = [factor * edge, *others]
                assert bool(theory.retrieval(alpha, 0, activation, N).exists) is exists
    edge = float(theory.rival_threshold(1.3, hx.Tanh()))
    assert theory.retrieval([1.3, 0.999 * edge], 0, hx.Tanh()).stable
    assert not theory.retrieval([1.3, 1.001 * edge], 0, hx.Tanh()).stable
    assert theory.rival_threshold(1.3) == math.inf
    np.testing.assert_allclose(theory.rival_threshold(0.3, hx.Tanh(2.0)), 0.5, rtol=1e-12)


def test_without_self_couplings_the_network_tends_to_the_one_that_has_them():
    alpha = [1.4, 1.2, 0.3]
    whole = theory.retrieval(alpha, 0, hx.Tanh(2.0))
    gaps = [
        abs(theory.retrieval(alpha, 0, hx.Tanh(2.0), N).overlap - whole.overlap) for N in (1e3, 1e4)
    ]
    np.testing.assert_allclose(gaps[0] / gaps[1], 10, rtol=0.02)  # first order in 1/N
    # strong inhibition outside the span: -1 - d psi'(a) > 0 there, unless N = P
    low = [-0.6, -2.1, -2.1]
    assert not theory.retrieval(low, 0, hx.Tanh(2.0), 4).stable
    assert theory.retrieval(low, 0, hx.Tanh(2.0), 3).stable


# Two memories


def test_edges_of_hard_tanh_are_the_closed_forms():
    A = np.array([0.9, 1.5, 2.0, 4.0])
    found = theory.competition(A)
    np.testing.assert_allclose(found.first[1:], 1 - 1 / A[1:], rtol=1e-14)
    np.testing.assert_array_equal(found.exists, [False, True, True, True])
    np.testing.assert_array_equal(found.bistable, [False, False, False, True])
    np.testing.assert_array_equal(found.silent, [True, True, False, False])
    np.testing.assert_array_equal(found.mixed, [False] * 4)
    assert np.isnan(found.first[0]) and np.isnan(found.silent_low[3])
    np.testing.assert_allclose([found.silent_low[0], found.silent_high[0]], [0, 1])
    np.testing.assert_allclose(found.silent_low[1], found.first[1], rtol=1e-14)


def test_correlated_memories_tend_to_orthogonal_ones_and_have_a_mixture_before():
    near, far = (theory.competition(1.6, overlap=r) for r in (1e-6, 0.0))
    np.testing.assert_allclose(near.first, far.first, atol=2e-6)  # first order in r
    assert near.mixed and not far.mixed
    np.testing.assert_allclose(near.silent_low, far.silent_low, atol=2e-6)
    # B = 2: both edges in the middle
    r = 0.3
    middle = theory.competition(2 / (1 - r * r), overlap=r)
    np.testing.assert_allclose(middle.first, 0.5, atol=1e-14)


def test_without_leakage_two_correlated_memories_have_the_margin_of_all_correlated_ones():
    """`competition` and `correlated_retrieval` derive the same edge in two ways."""
    r, A = 0.25, 3.0
    xi = np.ones((2, 16))
    xi[1, :6] = -1.0
    for leaks in (True, False):
        edge = float(theory.competition(A, overlap=r, leaks=leaks).first)
        weights = A * np.array([1 - edge, edge])
        found = theory.correlated_retrieval(xi, weights, leaks=leaks)
        np.testing.assert_allclose(found.margin[0], 1.0, rtol=1e-12)
        np.testing.assert_allclose(found.bound, found.margin, rtol=1e-12)  # two memories: exact


def test_the_ranges_of_one_mixture_are_those_of_the_edges():
    s = np.linspace(0.0, 1.0, 998)  # none of them is an edge
    for A, r in ((3.0, 0.0), (1.5, 0.0), (1.6, 0.3), (1.05, 0.3), (0.8, 0.0), (3.0, 0.3)):
        edges = theory.competition(A, overlap=r)
        found = theory.stable_states(s, A, overlap=r)
        some = np.stack([np.asarray(part) for part in found])
        exclusive = some.sum(0) - np.where(edges.bistable, some[0] & some[1], 0)
        np.testing.assert_array_equal(exclusive, 1)  # something, and one thing, everywhere
        np.testing.assert_array_equal(found.second, found.first[::-1])
        assert bool(edges.mixed) == some[2].any() and bool(edges.silent) == some[3].any()
        if edges.exists:
            np.testing.assert_array_equal(found.first, s < edges.first)


@pytest.mark.slow
@pytest.mark.parametrize("activation", SMOOTH)
def test_smooth_mixtures_are_saddles_for_every_mixture(activation):
    """Between the edges the saddle has one unstable direction, and it joins memory 1 or 2 at them:
    so the pitchfork is subcritical, as `jump` says, and no mixture is stable."""
    for A in (1.1, 1.6, 4.0):
        edges = theory.competition(A, activation)
        assert edges.bistable and edges.jump
        s = np.linspace(float(edges.second) + 1e-4, float(edges.first) - 1e-4, 41)
        found = theory.barrier(s, A, activation)
        assert found.exists.all()
        m = np.asarray(found.overlaps)
        assert (np.diff(m[:, 0]) > 0).all()  # one branch, from memory 2 to memory 1
        first, second = A * (1 - s), A * s
        fields = np.stack([first * m[:, 0] + second * m[:, 1], first * m[:, 0] - second * m[:, 1]])
        p, q = np.asarray(activation.slope(jnp.asarray(fields)))
        mean = A / 2
        determinant = 1 - mean * (p + q) + first * second * p * q
        assert (determinant < 0).all()  # eigenvalues of both signs
        gap = np.minimum(found.from_first, found.from_second)
        assert (gap > -1e-14).all() and gap[[0, -1]].max() < 1e-2 * gap.max()


def test_steep_activations_tend_to_hard_tanh():
    hard = theory.barrier(0.4, 3.0, hx.HardTanh(50.0))
    smooth = theory.barrier(0.4, 3.0, hx.Tanh(50.0))
    np.testing.assert_allclose(smooth.from_first, hard.from_first, atol=0.02)  # O(1/gain)
    edges = theory.competition(3.0, hx.Tanh(50.0)).first, theory.competition(3.0).first
    assert 0.67 < edges[0] < 1 and edges[1] < edges[0]


def test_barriers_of_hard_tanh_are_the_closed_forms():
    s, A, g = np.array([0.4, 0.5, 0.6]), 3.0, 1.5
    found = theory.barrier(s, A, hx.HardTanh(g))
    first, second = A * (1 - s) - 1 / g, A * s - 1 / g
    np.testing.assert_allclose(found.first, -first / 2, rtol=1e-13)
    np.testing.assert_allclose(found.from_first, first**2 / (2 * (first + second)), rtol=1e-13)
    np.testing.assert_allclose(found.from_second, second**2 / (2 * (first + second)), rtol=1e-13)
    np.testing.assert_allclose(found.overlaps.sum(-1), 1.0, rtol=1e-13)
    one = theory.barrier(0.9, A, hx.HardTanh(g))
    assert one.second_exists and not one.first_exists and not one.exists
    assert np.isnan(one.first) and np.isnan(one.saddle) and not np.isnan(one.second)


# Noise


def test_noise_limits_are_the_closed_forms():
    alpha = np.array([0.5, 1.2, 2.0])
    for g in (1.0, 2.0):
        found = theory.noise_limit(alpha, hx.HardTanh(g))
        expected = np.where(g * alpha > 1, 1 / (g * erfinv(1 / np.maximum(g * alpha, 1.0))), 0.0)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = theory.noise_limit(alpha, hx.Erf(2.0))
    expected = np.sqrt(np.maximum((2 * alpha) ** 2 - 1, 0.0) / np.pi)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_overlaps_without_noise_and_at_its_limit():
    still = theory.driven_overlap([2.0, 0.5], 0.0)
    np.testing.assert_array_equal(still.overlap, [1.0, 0.0])
    np.testing.assert_array_equal(still.exists, [True, False])
    # digits of an independent evaluation at standard deviation 0.5 and 1.2, alpha = 2
    found = theory.driven_overlap(2.0, 2**0.5 * np.array([0.5, 1.2, 1.6]))
    np.testing.assert_allclose(found.overlap, [0.995548, 0.716191, 0.0], atol=5e-7)
    limit = float(theory.noise_limit(2.0))
    last = theory.driven_overlap(2.0, limit * np.array([1 - 1e-6, 1 + 1e-6]))
    assert 0 < last.overlap[0] < 0.01 and last.overlap[1] == 0


@pytest.mark.slow
def test_the_window_is_where_the_weaker_memory_alone_is_unstable():
    psi = hx.HardTanh(1.5)
    for weak in (0.8, 1.4, 1.9):
        low, high, exists = theory.noise_window(2.0, weak, psi)
        sigma = np.linspace(0.02, float(high) * 1.05, 101)
        stable = np.asarray(theory.driven_overlap(weak, sigma, psi, rival=2.0).stable)
        np.testing.assert_array_equal(stable, sigma < low)  # it changes once
        kept = np.asarray(theory.driven_overlap(2.0, sigma, psi, rival=weak).stable)
        np.testing.assert_array_equal(kept, sigma < high)
        assert exists
    unstable = theory.noise_window(2.0, 1.2, hx.Erf())  # without noise, too
    assert unstable.low == 0 and unstable.exists
    assert theory.noise_window(2.0, 0.3, psi).low == 0  # the weaker memory is none
    none = theory.noise_window(0.5, 0.2)
    assert not none.exists and none.low == none.high == 0


@pytest.mark.slow
def test_one_memory_of_the_classic_network_obeys_its_scalar_equation():
    psi, c, sigma = hx.Erf(2.0), 0.3, 0.7
    m = 1.0
    for _ in range(500):
        m = float(psi.averaged(jnp.asarray(m + c), jnp.asarray(sigma / 2**0.5)))
    found = theory.additive_overlaps([c], sigma, psi)
    np.testing.assert_allclose(found.overlaps, [m], rtol=1e-12)
    several = theory.additive_overlaps([c, 0.0, 0.0], sigma, psi)
    np.testing.assert_allclose(several.overlaps, [m, 0.0, 0.0], atol=1e-12)
    assert found.settled and several.settled and several.kept
    # the field m + c exceeds c m: of one stimulated memory the current keeps the larger overlap
    for alpha in (0.8, 2.0):
        driven = theory.driven_overlap(alpha, sigma, psi).overlap
        assert theory.additive_overlaps([alpha], sigma, psi).overlaps[0] > driven


# Leakage


def test_leakage_and_its_undoing():
    gram = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, -0.3], [0.0, -0.3, 1.0]])
    c = np.array([1.5, 0.0, 0.5])
    found = theory.leakage(gram, c)
    np.testing.assert_allclose(found.saliency, [1.5, 0.15, 0.5], rtol=1e-14)
    np.testing.assert_allclose(gram @ found.undone, c, atol=1e-15)
    twice = theory.leakage(np.ones((2, 2)), [1.0, 0.0])
    assert not twice.independent and np.isnan(twice.undone).all()
    plain = theory.leakage(np.eye(2), [1.0, 0.5])
    np.testing.assert_array_equal(plain.saliency, plain.undone)


def test_orthogonal_memories_have_their_saliencies_as_margins():
    xi = hx.patterns.hadamard(3, 16).xi
    found = theory.correlated_retrieval(xi, [1.5, 0.5, 0.0], hx.HardTanh(2.0))
    np.testing.assert_allclose(found.margin, [1.5, 0.5, 0.0], atol=1e-15)
    np.testing.assert_array_equal(found.exists, [True, False, False])  # 0.5 is the edge itself
    np.testing.assert_allclose(found.factor, [1 / 3, 1.0, np.inf], rtol=1e-14)


# Transformations, networks and bad input


def test_a_network_stands_for_its_parameters():
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.InputDrivenHopfield(patterns, activation=hx.Tanh(2.0), keep_diagonal=False)
    alpha = [1.2, 0.5, 0.1]
    found, again = theory.retrieval(network, alpha), theory.retrieval(alpha, 0, hx.Tanh(2.0), 16)
    np.testing.assert_array_equal(found.overlap, again.overlap)
    edge = theory.competition(network, 2.0).first
    np.testing.assert_array_equal(edge, theory.competition(2.0, hx.Tanh(2.0), N=16).first)
    energies = theory.barrier(network, 0.5, 3.0).saddle
    np.testing.assert_array_equal(energies, theory.barrier(0.5, 3.0, hx.Tanh(2.0), N=16).saddle)
    loose = hx.patterns.random(jax.random.key(0), 3, 16)
    found = theory.leakage(hx.InputDrivenHopfield(loose), alpha)
    np.testing.assert_array_equal(found.saliency, theory.leakage(loose.gram(), alpha).saliency)
    exact = hx.InputDrivenHopfield(loose, learning="pseudo_inverse")
    assert theory.retrieval(exact, alpha).exists


@pytest.mark.parametrize(
    ("options", "call", "text"),
    [
        (dict(), lambda n: theory.retrieval(n, [1.0, 1.0, 1.0]), "memories overlap by up to"),
        (dict(), lambda n: theory.competition(n, 2.0), "also for two of Hebbian"),
        (dict(), lambda n: theory.barrier(n, 0.5, 2.0), "for orthogonal ones"),
        (
            dict(keep_diagonal=False),
            lambda n: theory.correlated_retrieval(n, [1.0, 1.0, 1.0]),
            "`learning='hebbian'` and `keep_diagonal=True`",
        ),
        (dict(), lambda n: hx.theory.sequential.fixed_points(n, 5.0), "do not follow each other"),
    ],
)
def test_a_network_of_which_there_is_no_theory_is_refused(options, call, text):
    patterns = hx.patterns.random(jax.random.key(0), 3, 16)
    with pytest.raises(ValueError, match=text):
        call(hx.InputDrivenHopfield(patterns, **options))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: theory.retrieval(2.0), ValueError, r"`alpha` must have shape \(P,\)"),
        (lambda: theory.retrieval([1.0, np.inf]), ValueError, "`alpha` must be finite"),
        (lambda: theory.retrieval([1.0], 1), ValueError, "`mu` must be one of the 1 memories"),
        (lambda: theory.retrieval([1.0], N=1), ValueError, "`N` must be at least 2 neurons"),
        (lambda: theory.retrieval([1.0], activation="tanh"), TypeError, "activation"),  # type: ignore[arg-type]
        (lambda: theory.competition(-1.0), ValueError, "`amplitude` must be > 0"),
        (lambda: theory.competition(2.0, overlap=1.0), ValueError, "`overlap` must be below 1"),
        (lambda: theory.competition(2.0, overlap=-0.1), ValueError, "`overlap` must be >= 0"),
        (
            lambda: theory.competition(2.0, hx.Tanh(), overlap=0.1),
            ValueError,
            "derived for hard tanh alone",
        ),
        (lambda: theory.stable_states(1.1, 2.0), ValueError, "`s` must lie between 0 and 1"),
        (lambda: theory.barrier(-0.1, 2.0), ValueError, "`s` must be >= 0"),
        (lambda: theory.driven_overlap(2.0, -0.1), ValueError, "`noise` must be >= 0"),
        (lambda: theory.noise_window(1.0, 2.0), ValueError, "`weak` must be below `strong`"),
        (lambda: theory.additive_overlaps([0.1] * 13, 0.1), ValueError, "at most 12 memories"),
        (lambda: theory.leakage(np.eye(3), [1.0, 1.0]), ValueError, r"`gram` must have shape"),
        (
            lambda: theory.correlated_retrieval(np.ones((2, 4)), [1.0]),
            ValueError,
            r"`xi` must have shape \(P, N\) with P = 1",
        ),
    ],
)
def test_bad_input_is_named(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


@pytest.mark.slow
def test_under_a_trace_what_is_outside_has_flags_and_no_exception():
    edges = jax.jit(lambda A, r: theory.competition(A, hx.Tanh(2.0), overlap=r))(2.0, 0.1)
    assert np.isnan(edges.first) and not edges.exists
    states = jax.jit(theory.stable_states)(jnp.asarray(1.5), jnp.asarray(2.0))
    assert not any(bool(part) for part in states)
    assert np.isnan(jax.jit(theory.noise_window)(1.0, 2.0).low)


@pytest.mark.slow
def test_results_have_derivatives_and_are_the_same_mapped_and_compiled():
    functions = {
        "overlap": lambda x: theory.retrieval(jnp.array([x, 0.3]), activation=hx.Tanh(2.0)).overlap,
        "pitchfork": lambda x: theory.competition(2 * x, hx.Tanh(2.0)).first,
        "gain": lambda x: theory.competition(3.0, hx.Tanh(x)).first,
        "mixture": lambda x: theory.competition(0.8 * x, overlap=0.3).silent_low,
        "saddle": lambda x: theory.barrier(0.45, 2 * x, hx.Tanh(2.0)).overlaps[0],
        "barrier": lambda x: theory.barrier(0.45, 2 * x, hx.Tanh(2.0)).from_first,
        "limit": lambda x: theory.noise_limit(x, hx.Erf(2.0)),
        "window": lambda x: theory.noise_window(x, 1.0, hx.Erf(2.0)).low,
        "noise": lambda x: theory.driven_overlap(1.5, x, hx.Erf(2.0)).overlap,
        "classic": lambda x: theory.additive_overlaps(
            jnp.array([x, 0.4]), 0.9, hx.Erf(2.0)
        ).overlaps[1],
        "factor": lambda x: theory.correlated_retrieval(
            hx.patterns.random(jax.random.key(1), 3, 16).xi, jnp.array([x, 0.2, 0.1])
        ).factor[0],
    }
    at = jnp.array([1.3, 1.35])
    for name, function in functions.items():
        values = np.array([float(function(x)) for x in at])
        assert np.isfinite(values).all(), name
        mapped = jax.jit(jax.vmap(function))(at)
        np.testing.assert_allclose(mapped, values, rtol=1e-12, err_msg=name)
        # differences of second order at steps of 1e-5: 1e-10, and rounding of 1e-11
        np.testing.assert_allclose(
            jax.grad(function)(1.3), slope(function, 1.3), rtol=1e-6, atol=1e-8, err_msg=name
        )
