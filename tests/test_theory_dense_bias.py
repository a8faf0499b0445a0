"""The theory of biased dense memories against its equations, solved apart from it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import erf
from scipy.stats import norm

import hopfax as hx
from hopfax.theory import dense

A, S = 0.6, 1 - 0.6**2
#: Signs of the recalled memory, their shares, and the signal that they feel.
XI = np.array([1, -1])
SHARE, SEEN = (1 + A * XI) / 2, 1 - A * XI
PATHS = 1e-4  # what 4 x 2^13 quasi-random paths are off, and float32


def two_steps(load, m0, order):
    """Two steps of signs in closed form: overlaps, C(1, 0), G(1, 0), Gamma(1, 0)."""
    p, starts = order - 1, np.array([1, -1])
    R = load * S**2 if order == 2 else load * S**order * (2 * p - 1)
    signal = lambda m: SEEN * (S * m) ** p  # noqa: E731
    answers = erf(signal(m0) / math.sqrt(2 * R))
    m1 = SHARE @ (SEEN * answers) / S
    C = m0 * (SHARE @ answers)
    G = SHARE @ (2 * norm.pdf(signal(m0), scale=math.sqrt(R)))
    if order == 2:
        R, feedback = R * (1 + 2 * S * G * C + (S * G) ** 2), load * S * (S * G)
    else:  # K = 1 + 2 C^2 at variances S: S^2 + 2 (S C)^2, of which the slope is 4 S C
        feedback = load * S**2 * 4 * S * C * G
    fields = signal(m1)[:, None] + feedback * starts
    both = SHARE[:, None] * SEEN[:, None] * (1 + m0 * starts) / 2
    m2 = (both * erf(fields / math.sqrt(2 * R))).sum() / S
    return [m0, m1, m2], C, G, feedback


@pytest.mark.parametrize(("interaction", "load"), [(hx.Power(3), 0.03), (hx.Quadratic(), 0.05)])
def test_two_steps_of_biased_memories(interaction, load):
    run = dense.solve_gfa(interaction, load, 0.8, 2, bias=A, paths=2**13)
    m, C, G, feedback = two_steps(load, 0.8, interaction.order)
    assert_close(run.overlap, m, PATHS, "quasi-random paths")
    assert_close(run.correlation[1, 0], C, PATHS, "as above")
    assert_close(run.response[1, 0], G, 4 * PATHS, "G is of order 2")
    assert_close(run.feedback[1, 0], feedback, PATHS, "as above")
    if interaction.order == 3:
        no_past = dense.map_trajectory(interaction, load, 0.8, 1, bias=A)
        assert_close(no_past, m[:2], 1e-12, "the first step has no past")


def test_self_couplings_of_biased_memories_in_the_first_step():
    load, m0, starts = 0.05, 0.8, np.array([1, -1])
    both = SHARE[:, None] * SEEN[:, None] * (1 + m0 * starts) / 2
    for interaction, signal, own, R in (
        (hx.Quadratic(), SEEN * S * m0, load * S * starts, load * S**2),
        # the third moment of xi - a, -2 a s, along the memory's sign
        (hx.Power(3), SEEN * (S * m0) ** 2 - 2 * A * S * load * XI, 0 * starts, 3 * load * S**3),
    ):
        run = dense.solve_gfa(interaction, load, m0, 2, bias=A, self_coupling=True, paths=2**13)
        m1 = (both * erf((signal[:, None] + own) / math.sqrt(2 * R))).sum() / S
        assert_close(run.overlap[1], m1, PATHS, "quasi-random paths")
    # at order 3 from the second step on: 2 alpha s^3 G
    assert_close(run.feedback[1, 1], 2 * load * S**3 * run.response[1, 0], 1e-6, "float32")


def test_a_self_coupling_of_order_three_mixes_even_and_odd_times():
    """The second step, where h(2) depends on h(1) by the self-coupling and by their noise."""
    load, m0, starts = 0.08, 0.8, np.array([1, -1])
    r, p = 3 * load, (1 + m0 * starts) / 2
    c0, width = m0**2, math.sqrt(2 * r)
    m1 = erf(c0 / width)
    G = 2 * norm.pdf(c0, scale=math.sqrt(r))
    feedback, own = 4 * load * m0 * m1 * G, 2 * load * G
    rho = (1 + 2 * (m0 * m1) ** 2) / 3
    spread = width * math.sqrt(1 - rho**2)
    second = lambda v0, h1: erf(  # noqa: E731
        (m1**2 + feedback * starts[:, None] + own * h1 + rho * v0) / spread
    )
    fine = np.linspace(-6, 6, 200_001) * math.sqrt(r)
    density = norm.pdf(fine, scale=math.sqrt(r)) * (fine[1] - fine[0])
    m2 = p @ (second(fine, np.sign(c0 + fine)) @ density)
    both = [p @ second(np.full(1, -c0), h1)[:, 0] for h1 in (1, -1)]
    G20 = norm.pdf(c0, scale=math.sqrt(r)) * (both[0] - both[1])
    run = dense.solve_gfa(hx.Power(3), load, m0, 2, self_coupling=True, paths=2**13)
    assert_close(run.overlap, [m0, m1, m2], PATHS, "quasi-random paths")
    assert_close(run.response[2, 0], G20, 2 * PATHS, "quasi-random paths")
    assert G20 > 0.05  # an even lag


@pytest.mark.slow
def test_one_step_at_a_temperature_and_of_graded_neurons():
    load, m0, gain = 0.03, 0.8, 4.0
    x, w = hermegauss(160)
    w = w / w.sum()
    u = (SEEN * (S * m0) ** 2)[:, None] + math.sqrt(3 * load * S**3) * x
    answers = np.tanh(gain * u)
    m1, C = SHARE @ (SEEN * (answers @ w)) / S, SHARE @ (answers**2 @ w)
    for options in ({"beta": gain}, {"activation": hx.Tanh(gain)}):
        run = dense.solve_gfa(hx.Power(3), load, m0, 2, bias=A, paths=2**13, **options)
        assert_close(run.overlap[1], m1, 3 * PATHS, "quasi-random paths")
    assert_close(run.correlation[1, 1], C, 3 * PATHS, "quasi-random paths")
    # noise of the second field: K at the variances s of a sign and s C of a graded state
    second = dense.kernel(hx.Power(3))
    K = second(S * run.correlation[1, 0], S * run.correlation[1, 1], jnp.asarray(S))
    c10, c11 = run.correlation[1, :2]
    assert_close(K, S**2 * (c11 + 2 * c10**2), 1e-12, "x^2 y^2 of a Gaussian pair")


@pytest.mark.slow
def test_graded_neurons_are_differentiable_in_the_bias():
    def overlap(bias):
        options = {"activation": hx.Tanh(3.0), "paths": 2**8, "scrambles": 1}
        return dense.solve_gfa(hx.Power(3), 0.03, 0.8, 3, bias=bias, **options).overlap[-1]

    step = 1e-4
    slope = (overlap(A + step) - overlap(A - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(overlap))(A), slope, rtol=1e-5)


def test_no_bias_is_a_bias_of_zero_and_its_sign_makes_no_difference():
    options = {"steps": 2, "paths": 2**13}
    none = dense.solve_gfa(hx.Power(3), 0.05, 0.8, **options)
    for a, expected in (
        (0.0, none),
        (-A, dense.solve_gfa(hx.Power(3), 0.05, 0.8, bias=A, **options)),
    ):
        run = dense.solve_gfa(hx.Power(3), 0.05, 0.8, bias=a, **options)
        for mine, theirs in zip(run[:1] + run[2:], expected[:1] + expected[2:], strict=True):
            assert_close(mine, theirs, 1e-5, "sums in float32 in another order")
    many = jax.jit(jax.vmap(lambda a: dense.solve_gfa(hx.Power(3), 0.05, 0.8, bias=a, **options)))
    found = many(jnp.array([A, 1.0, -1.2])).overlap
    assert np.isfinite(found[0]).all() and np.isnan(found[1:]).all()


# Capacity


def highest_of_order_two(a):
    """The load at which the equations of the retrieval state, in the field h = s m + sqrt(R) z,
    lose their solution: for each x = m / sqrt(2 R') that of m, the susceptibility and the load."""
    xi, best = np.array([1, -1]), 0.0
    share, seen = (1 + a * xi) / 2, 1 - a * xi
    for x in np.linspace(0.3, 12, 20_000):
        m = share @ (seen * erf(seen * x)) / (1 - a**2)
        noise = (m / x) ** 2 / 2  # R' = alpha / (1 - chi)^2, in units of s^2
        chi = share @ (2 * norm.pdf(seen * m, scale=math.sqrt(noise)))
        best = max(best, noise * (1 - chi) ** 2 if chi < 1 else 0.0)
    return best


@pytest.mark.parametrize("a", [0.3, -0.7])
def test_capacity_of_biased_memories(a):
    s, found = 1 - a**2, dense.capacity(hx.Power(4), bias=a)
    # the map just touches the diagonal
    step = lambda m, load: dense.map_step(hx.Power(4), load, m, bias=a)  # noqa: E731
    m = np.linspace(0.3, 1, 20_001)
    assert (step(m, 1.0001 * found.load) < m).all()
    assert (step(m, 0.9999 * found.load) > m).any()
    assert_close(step(found.overlap, found.load), found.overlap, 1e-9, "rounding of the load")
    np.testing.assert_allclose(found.scaled, 15 * found.load, rtol=1e-12)
    # the noise by hand, with the two groups
    x = found.overlap**3 / np.sqrt(2 * found.load * 15 * s**-2)
    assert_close((erf((1 + a) * x) + erf((1 - a) * x)) / 2, found.overlap, 1e-9, "as above")
    np.testing.assert_allclose(
        dense.capacity(hx.Quadratic(), bias=a).load, highest_of_order_two(a), rtol=1e-6
    )  # the grid of x, squared


def test_capacity_without_bias_and_over_biases():
    for interaction in (
        hx.Quadratic(),
        hx.Power(3),
        hx.ManyBody(5),
        hx.Simplicial({3: 1.2, 2: 0.5}),
    ):
        plain, zero = dense.capacity(interaction), dense.capacity(interaction, bias=0.0)
        np.testing.assert_allclose(np.asarray(zero), np.asarray(plain), rtol=1e-12)
    load = lambda a: dense.capacity(hx.Power(3), bias=a).load  # noqa: E731
    a = jnp.array([-0.95, 0.0, 0.3, 0.5, 0.9, 1.0])
    loads = jax.vmap(load)(a)
    assert (np.diff(loads[1:5]) < 0).all() and loads[0] < loads[4] and np.isnan(loads[5])
    np.testing.assert_allclose(
        jax.grad(load)(0.3), (load(0.3 + 1e-4) - load(0.3 - 1e-4)) / 2e-4, rtol=1e-6
    )
    # two maxima: the majority decides below 0.8, and the minority alone is right beyond 0.9
    low, high = (dense.capacity(hx.Power(6), bias=a).overlap for a in (0.8, 0.95))
    assert low > 0.9 and high < 0.6


def own_kernel(C):
    return 1 + 2 * C**2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dense.solve_gfa(hx.Power(3), 0.1, 0.5, 2, bias=1.0), r"`bias` must be in \(-1, 1"),
        (lambda: dense.capacity(hx.Power(3), bias=-1.0), r"`bias` must be in \(-1, 1"),
        (lambda: dense.map_step(hx.Power(3), 0.1, 0.5, bias=np.zeros(2)), "`bias`.*shape"),
        (
            lambda: dense.solve_gfa(
                dense.input_driven_kernel(), 0.1, 0.5, 2, bias=0.1, stimulus_overlap=0.5
            ),
            "`bias` is not derived",
        ),
        (
            lambda: dense.solve_gfa(hx.Power(5), 0.001, 0.5, 2, bias=0.1, self_coupling=True),
            "`bias` with `self_coupling`.*order is 5",
        ),
        (
            lambda: dense.solve_gfa(dense.Kernel(own_kernel, 3), 0.1, 0.5, 2, bias=0.1),
            "signs only.*biased",
        ),
        (
            lambda: dense.solve_gfa(hx.Power(4), 0.01, 0.5, 2, self_coupling=True),
            "`self_coupling` must be False.*freezes",
        ),
        (
            lambda: dense.solve_gfa(hx.ManyBody(3), 0.1, 0.5, 2, self_coupling=True),
            "`self_coupling` must be False.*have none",
        ),
    ],
)
def test_errors_say_what_to_do(call, message, as_a_user_runs_it):
    with pytest.raises(ValueError, match=message):
        call()
