"""The theory of sequential retrieval against closed forms, reference numbers and itself."""

import math
from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax.theory import sequential

INF = math.inf


def cyclic(P):
    return np.roll(np.eye(P), 1, axis=0)


def start(P, Z0):
    return Z0 * np.eye(P)[0]


def slope(function, x, step):
    return (float(function(x + step)) - float(function(x - step))) / (2 * step)


# Critical gain


@pytest.mark.parametrize(
    "P, gain",
    [
        (2, 2.0),
        (3, 3.0),
        (4, 3.610718613276),
        (5, 3.834437249029),
        (10, 3.995993831075),
        (INF, 4.0),
    ],
)
def test_critical_gain_of_a_cycle(P, gain):
    # half a unit in the last of 12 decimals
    np.testing.assert_allclose(sequential.critical_gain(P), gain, rtol=0, atol=6e-13)
    halved = sequential.critical_gain(P, activation=hx.HardTanh(2.0))
    np.testing.assert_allclose(halved, gain / 2, rtol=1e-12)


def test_critical_gain_with_self_loops():
    gain = sequential.critical_gain(self_loop=np.array([-1.0, 0.0, 0.3, 0.6, 1.0, 2.0]))
    expected = [5.828427, 4.0, 3.373320, 2.664911, np.inf, np.inf]  # a self-loop of 1 locks
    np.testing.assert_allclose(gain, expected, rtol=0, atol=5e-7)


def test_critical_gain_with_self_loops_in_a_cycle_closes_the_itinerary():
    # an independent check: just above, a cycle started on its fixed point goes on; below it ends
    s, P = -0.5, 4
    gain = float(sequential.critical_gain(P, self_loop=s))
    q = np.linspace(0.05, 1, 200001)
    curve = (1 - s) / q + 1 + q + q**2
    np.testing.assert_allclose(gain, curve.min(), rtol=1e-9)
    q = q[curve.argmin()]
    steady = [s + (1 - s) / q, q**2, q, 1.0]  # active; left 3, 2, 1 dwells ago
    for factor, outcome in ((1.002, 0), (0.99, 1)):
        A = factor * cyclic(P) + s / gain * np.eye(P)
        saliency0 = np.array([steady[0], steady[1], steady[2], steady[3]])
        run = sequential.itinerary(A, gain, 1.0, saliency0, 200)
        assert int(run.outcome) == outcome


@pytest.mark.parametrize(
    "activation, gain",
    [
        (hx.Erf(), 5.5550),
        (hx.Tanh(), 5.8914),
        (hx.Rational(), 6.7094),
        (hx.Arctan(), 8.0119),
    ],
)
def test_critical_gain_of_smooth_activations(activation, gain):
    # half a unit in the last of five digits
    np.testing.assert_allclose(sequential.critical_gain(activation=activation), gain, rtol=1.2e-5)


@pytest.mark.slow
def test_critical_gain_with_noise():
    for std, gain in ((0.05, 4.0863), (0.2, 4.4240), (0.4, 5.0636), (0.8, 6.9398)):
        noisy = sequential.critical_gain(noise=std * math.sqrt(2.0))
        np.testing.assert_allclose(noisy, gain, rtol=0, atol=6e-5)
    weak = sequential.critical_gain(noise=0.01 * math.sqrt(2.0))
    assert 4.0 < weak < 4.02  # tends to the hard tanh


@pytest.mark.slow
def test_gradients_of_the_critical_gain():
    gain = lambda s: sequential.critical_gain(4, self_loop=s)  # noqa: E731
    np.testing.assert_allclose(jax.grad(gain)(0.2), slope(gain, 0.2, 1e-5), rtol=1e-8)
    gain = lambda noise: sequential.critical_gain(noise=noise)  # noqa: E731
    np.testing.assert_allclose(jax.grad(gain)(0.5), slope(gain, 0.5, 1e-4), rtol=1e-6)
    gain = lambda g: sequential.critical_gain(activation=hx.Tanh(g))  # noqa: E731
    value, derivative = jax.value_and_grad(gain)(2.0)
    np.testing.assert_allclose(value, 5.8914 / 2, rtol=1.2e-5)  # proportional to 1/g
    np.testing.assert_allclose(derivative, -value / 2, rtol=1e-6)


# The map


def test_map_and_orbit_of_the_endless_chain_follow_the_moebius_closed_forms():
    t = np.arange(8)
    orbit = sequential.saliency_orbit(3.0, 5.0, 7)
    low, high = (5 - 5**0.5) / 2, (5 + 5**0.5) / 2
    np.testing.assert_allclose(
        (orbit - high) / (orbit - low), (low / high) ** t * (3 - high) / (3 - low), rtol=1e-10
    )
    orbit = sequential.saliency_orbit(3.0, 4.0, 7)
    np.testing.assert_allclose(1 / (orbit - 2), 1 + t / 2, rtol=1e-12)
    theta = np.arccos(3.9**0.5 / 2)
    phi = np.arctan2(np.sin(theta), 4 / 3.9**0.5 - np.cos(theta))
    expected = 3.9**0.5 * np.sin((t + 1) * theta + phi) / np.sin(t * theta + phi)
    np.testing.assert_allclose(sequential.saliency_orbit(4.0, 3.9, 7), expected, rtol=1e-12)
    np.testing.assert_allclose(sequential.saliency_map(expected[:-1], 3.9), expected[1:])


def test_map_with_history_is_the_orbit_of_a_cycle():
    orbit = sequential.saliency_orbit(4.0, 5.0, 12, P=4)
    np.testing.assert_allclose(orbit[3], 5 * (1 - 1 / orbit[2]), rtol=1e-14)  # no residual yet
    for t in range(3, 12):
        new = sequential.saliency_map(orbit[t - 2 : t + 1], 5.0, P=4)
        np.testing.assert_allclose(new, orbit[t + 1], rtol=1e-14)
    collapsed = sequential.saliency_map(np.array([[2.0, 0.9, 2.0], [2.0, 2.0, 2.0]]), 5.0, P=4)
    np.testing.assert_array_equal(collapsed, [np.nan, 2.625])


def test_fixed_points():
    for P, Z in (
        (2, 4.0),
        (3, 3.732050807569),
        (4, 3.651093408937),
        (5, 3.627365084712),
        (INF, 3.618033988750),
    ):
        np.testing.assert_allclose(sequential.fixed_points(5.0, P).upper, Z, rtol=0, atol=6e-13)
    np.testing.assert_allclose(sequential.fixed_points(3.5, 3).upper, 2.0, rtol=1e-12)
    np.testing.assert_allclose(sequential.fixed_points(3.8, 4).upper, 2.094697054583, rtol=1e-12)
    lower, upper, exists = sequential.fixed_points(np.array([3.9, 4.0, 5.0]))
    np.testing.assert_allclose(lower, [np.nan, 2.0, (5 - 5**0.5) / 2], rtol=1e-14)
    np.testing.assert_allclose(upper, [np.nan, 2.0, (5 + 5**0.5) / 2], rtol=1e-14)
    np.testing.assert_array_equal(exists, [False, True, True])
    lower, upper, exists = sequential.fixed_points(jnp.array([3.6, 3.62, 3.8, 4.5]), 4)
    np.testing.assert_array_equal(exists, [False, True, True, True])
    assert jnp.isnan(lower[0]) and jnp.isnan(lower[3])  # no unstable cycle from kappa = P on
    for Z in (lower[1:3], upper[1:3]):
        np.testing.assert_allclose(Z + 1 + 1 / Z + 1 / Z**2, [3.62, 3.8], rtol=1e-12)
    assert not sequential.fixed_points(2.9, 3).exists and not sequential.fixed_points(1.9, 2).exists


def test_gradients_of_the_fixed_points():
    for branch, P in ((0, 4), (1, 4), (1, INF), (0, INF)):
        kappa = 3.8 if P == 4 else 4.5
        root = lambda k: sequential.fixed_points(k, P)[branch]  # noqa: B023, E731
        np.testing.assert_allclose(jax.grad(root)(kappa), slope(root, kappa, 1e-5), rtol=1e-6)
    assert jax.grad(lambda k: jnp.nansum(sequential.fixed_points(k).upper))(3.0) == 0


@pytest.mark.slow
def test_basin_edge():
    for P, kappa, edge, atol in (
        (3, 3.05, 2.440, 5e-4),
        (4, 3.65, 2.078, 5e-4),
        (3, 3.5, 1.75, 1e-9),
        (4, 5.0, 1.369, 5e-4),
        (INF, 5.0, (5 - 5**0.5) / 2, 1e-14),
    ):
        found = sequential.basin_edge(kappa, P)
        np.testing.assert_allclose(found, edge, rtol=0, atol=atol)
        orbits = sequential.saliency_orbit(found * np.array([0.9999, 1.0001]), kappa, 250, P)
        np.testing.assert_array_equal(np.isfinite(orbits[:, -1]), [False, True])
    assert jnp.isposinf(sequential.basin_edge(3.5, 4)) and jnp.isposinf(sequential.basin_edge(3.5))
    edge = lambda k: sequential.basin_edge(k, 4)  # noqa: E731
    np.testing.assert_allclose(jax.grad(edge)(4.5), slope(edge, 4.5, 1e-4), rtol=1e-5)


# Itineraries


def test_memories_visited_before_collapse():
    gains = np.array([3.0, 3.5, 3.9, 3.99, 4.0, 5.0])
    counts = sequential.visited_before_collapse(4.0, gains)
    np.testing.assert_array_equal(counts, [4, 6, 17, 60, INF, INF])
    orbits = sequential.saliency_orbit(4.0, gains[:4], 100)
    np.testing.assert_array_equal(np.isfinite(orbits).sum(axis=1), counts[:4])
    assert sequential.visited_before_collapse(0.9, 5.0) == 0
    starts = np.linspace(1.01, 8.0, 50)
    orbits = sequential.saliency_orbit(starts, 3.3, 20)
    expected = np.isfinite(orbits).sum(axis=1)
    np.testing.assert_array_equal(sequential.visited_before_collapse(starts, 3.3), expected)


@pytest.mark.parametrize(
    "kappa, P, visited",
    [(3, 4, 4), (3.5, 4, 11), (3.5, 5, 7), (3.5, 6, 6), (3.8, 5, 25), (3.8, 6, 14)],
)
def test_itinerary_of_a_collapsing_cycle(kappa, P, visited):
    run = sequential.itinerary(cyclic(P), kappa, 10.0, start(P, 4.0), 30)
    expected = np.where(np.arange(30) < visited, np.arange(30) % P, -1)
    np.testing.assert_array_equal(run.memory, expected)
    assert sequential.OUTCOMES[int(run.outcome)] == "collapse"
    assert not run.tie and not run.contested
    orbit = np.array(sequential.saliency_orbit(4.0, kappa, 29, P))
    own = np.asarray(run.saliency)[np.arange(visited), expected[:visited]]
    np.testing.assert_allclose(own, orbit[:visited], rtol=1e-12)
    dwells = np.diff(np.asarray(run.time)[:visited])
    np.testing.assert_allclose(dwells, 10 * np.log(orbit[: visited - 1]), rtol=1e-12)
    assert np.isnan(run.time[visited:]).all() and np.isnan(run.saliency[visited:]).all()


def test_itinerary_locks_branches_and_collapses_at_once():
    A = cyclic(3) + np.diag([0.0, 0.0, 0.3])
    run = sequential.itinerary(A, 5.0, 1.0, start(3, 4.0), 6)
    np.testing.assert_array_equal(run.memory, [0, 1, 2, -1, -1, -1])
    assert sequential.OUTCOMES[int(run.outcome)] == "locked"

    run = sequential.itinerary(cyclic(3), 5.0, 1.0, start(3, 0.9), 3)
    assert sequential.OUTCOMES[int(run.outcome)] == "collapse" and run.memory[0] == -1

    for second, tie, contested in ((0.98, True, True), (0.8, False, True), (0.1, False, False)):
        A = np.zeros((3, 3))
        A[1:, 0] = second, 1.0
        A[0, 1:] = 1.0
        run = sequential.itinerary(A, 5.0, 1.0, start(3, 4.0), 2)
        np.testing.assert_array_equal(run.memory, [0, 2])
        assert bool(run.tie) == tie and bool(run.contested) == contested


def test_two_alternating_gains_sustain_each_other_up_to_the_exact_threshold():
    # 1/sqrt(g1) + 1/sqrt(g2) <= 1 on a long cycle, where residuals have died out
    P, g1 = 60, 3.2
    g2 = 1 / (1 - g1**-0.5) ** 2
    for factor, outcome in ((1.02, "sequence"), (0.98, "collapse")):
        kappa = factor * np.where(np.arange(P) % 2 == 1, g1, g2)  # gain of the driven memory
        run = sequential.itinerary(cyclic(P), kappa, 1.0, start(P, 4.0), 58)
        assert sequential.OUTCOMES[int(run.outcome)] == outcome


def test_itinerary_with_a_time_constant_for_each_memory():
    tau, kappa = np.array([5.0, 20.0, 10.0]), np.array([4.0, 5.0, 6.0])
    run = sequential.itinerary(cyclic(3), kappa, tau, start(3, 4.0), 3)
    T = 5 * math.log(4)
    z1 = 5 * (1 - math.exp(-T / 20))
    np.testing.assert_allclose(run.saliency[1], [1.0, z1, 0.0], rtol=1e-12)
    np.testing.assert_allclose(run.time[1], T, rtol=1e-12)
    # memory 1 starts with z < 1, so nothing takes over from memory 0 if it charges too slowly
    slow = sequential.itinerary(cyclic(3), 4.0, np.array([5.0, 500.0, 10.0]), start(3, 4.0), 3)
    assert slow.outcome == 1 and slow.memory[1] == -1


def test_gradients_and_batches_of_itineraries():
    def second_switch(kappa):
        return sequential.itinerary(cyclic(4), kappa, 7.0, start(4, 4.0), 4).time[2]

    np.testing.assert_allclose(jax.grad(second_switch)(5.0), 7 / 5.0, rtol=1e-12)  # tau / kappa
    gains = jnp.array([3.0, 4.0, 5.0])
    batch = jax.vmap(second_switch)(gains)
    np.testing.assert_allclose(batch, [second_switch(float(k)) for k in gains], rtol=1e-14)


# Times


def test_switch_time_formula():
    eps = np.array([0.05, 0.02, 0.01, 0.005, 0.001])
    table = [1.532480, 1.450874, 1.418414, 1.399835, 1.382202]
    times = sequential.switch_time(4.0, 5.0, 1 / eps, 0.01)
    np.testing.assert_allclose(times * eps, table, rtol=0, atol=6e-7)
    simulated = np.array([1.533569, 1.451058, 1.418456, 1.399844, 1.382202])
    assert (np.abs(times * eps - simulated) < 0.5 * eps**2).all()  # first order in eps
    assert jnp.isnan(sequential.switch_time(4.0, 1.0, 50.0, 0.01))  # r < 0
    assert jnp.isnan(sequential.switch_time(4.0, 5.0, 50.0, 0.0))  # no seed
    point = (4.0, 5.0, 50.0, 0.01)
    gradient = jax.grad(sequential.switch_time, argnums=(0, 1, 2, 3))(*point)
    for i, step in enumerate((1e-4, 1e-4, 1e-3, 1e-5)):
        ends = []
        for sign in (-1, 1):
            Z0, kappa, tau, bias = np.array(point) + sign * step * np.eye(4)[i]
            ends.append(float(sequential.switch_time(Z0, kappa, tau, bias)))
        numeric = (ends[1] - ends[0]) / (2 * step)
        np.testing.assert_allclose(gradient[i], numeric, rtol=1e-5)


def test_escape_time_and_inverse_design():
    np.testing.assert_allclose(sequential.escape_time(4.0, 50.0), 50 * math.log(4), rtol=1e-15)
    np.testing.assert_allclose(sequential.escape_time(2.0, 50.0, 3.0), 50 * math.log(6), rtol=1e-15)
    assert jnp.isnan(sequential.escape_time(0.5, 50.0))
    for P in (2, 3, 4, 7):
        kappa = sequential.gain_for_period(P * 30.0, P, 25.0)
        Z = sequential.fixed_points(kappa, P).upper
        np.testing.assert_allclose(25 * jnp.log(Z), 30.0, rtol=1e-11)
    assert jnp.isnan(sequential.gain_for_period(4 * 0.3, 4, 1.0))  # below the fold at 0.4196


def test_static_retrieval():
    amplitude = sequential.retrieval_amplitude
    np.testing.assert_allclose(amplitude(2.0, hx.Tanh()), 1.91500804815, rtol=0, atol=6e-12)
    np.testing.assert_allclose(amplitude(0.5, hx.Tanh(10.0)), 0.49995456086, rtol=0, atol=6e-12)
    np.testing.assert_allclose(amplitude(np.array([0.9, 2.0])), [np.nan, 2.0], rtol=1e-14)
    np.testing.assert_allclose(sequential.noise_limit(2.0) / 2**0.5, 1.482602218506, rtol=1e-12)
    assert jnp.isnan(sequential.noise_limit(0.9))
    a = lambda z: amplitude(z, hx.Tanh())  # noqa: E731
    np.testing.assert_allclose(jax.grad(a)(2.0), slope(a, 2.0, 1e-5), rtol=1e-8)


# Finite tau; the numbers come from simulations of the full network


@pytest.fixture(scope="module")
def taus():
    """As many values everywhere: the tests share two compiled programs for P = 4."""
    return np.array([20.0, 50.0, 100.0])


@pytest.fixture(scope="module")
def strong(taus):
    """The critical gains of four memories with a strong seed."""
    return sequential.critical_gain(4, tau=taus, bias=0.01)


@pytest.mark.slow
def test_dwell_time_meets_the_simulated_dwells():
    taus = np.array([20.0, 100.0, 500.0])
    kappa = np.full(3, 5.0)
    strong, weak = (sequential.dwell_time(kappa, taus, 4, b) / taus for b in (0.01, 0.001))
    # the overlaps that are left out are O(bias); the worst deviation found is 6e-4
    np.testing.assert_allclose(strong, [1.5121, 1.3493, 1.2976], rtol=0, atol=1e-3)
    np.testing.assert_allclose(weak, [1.5321, 1.3574, 1.3107], rtol=0, atol=1e-3)
    limit = math.log(float(sequential.fixed_points(5.0, 4).upper))
    gaps = np.asarray(weak) - limit
    assert (gaps > 0).all() and (np.diff(gaps) < 0).all()  # a handover takes time, ever less


def test_critical_gain_at_finite_tau_meets_the_simulated_one(taus, strong):
    three = sequential.critical_gain(3, tau=taus, bias=0.01)
    for gain, simulated in ((strong, [2.98, 3.0955, 3.2175]), (three, [2.812, 2.787, 2.792])):
        difference = np.asarray(gain) - simulated
        assert (difference > 0).all() and (difference < 0.025).all()  # about 2 b, as documented
    weak = sequential.critical_gain(4, tau=taus, bias=0.001)  # leaves a smaller error
    np.testing.assert_allclose(weak[1:], [3.2823, 3.3268], rtol=0, atol=5e-3)
    scaled = sequential.critical_gain(4, tau=taus, bias=0.005, activation=hx.HardTanh(2.0))
    np.testing.assert_allclose(2 * scaled, strong)


def test_fixed_points_at_finite_tau_bracket_the_fold(strong):
    kappa = float(strong[2]) * np.array([0.99, 1.001, 1.1])
    lower, upper, exists = sequential.fixed_points(kappa, 4, tau=np.full(3, 100.0), bias=0.01)
    np.testing.assert_array_equal(exists, [False, True, True])
    assert jnp.isnan(upper[0])
    assert lower[1] < upper[1] < 1.1 * lower[1]


def test_basin_edge_at_finite_tau_meets_the_simulated_one():
    edge = sequential.basin_edge(np.array([5.0, 4.0, 3.4, 3.0]), 4, tau=100.0, bias=0.01)
    # documented: 1 % too large
    np.testing.assert_allclose(edge, [1.1418, 1.2939, 1.6375, np.inf], rtol=0.012)
    gradient = jax.grad(lambda k: sequential.basin_edge(k, 4, tau=100.0, bias=0.01))(5.0)
    assert jnp.isnan(gradient)  # rather than a wrong zero


@pytest.mark.slow  # reverse mode through two Runge-Kutta searches compiles for half a minute
def test_gradients_at_finite_tau(taus):
    # the fixed Runge-Kutta steps across kinks leave a noise of 1e-6 in the values
    gain = lambda b: sequential.critical_gain(4, tau=taus, bias=b).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(gain)(0.008), slope(gain, 0.008, 1e-3), rtol=0.05)
    dwell = lambda k: (sequential.dwell_time(k, taus, 4, 0.01) / taus).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(dwell)(5.0), slope(dwell, 5.0, 1e-2), rtol=1e-3)


DOMAIN = [
    # P, tau, bias, and what the sentence names
    (4, 4e4, 0.01, "tau = 40000"),
    (4, 3.0, 0.01, "tau = 3"),
    (4, 100.0, 0.05, "bias = 0.05"),
    (4, 100.0, 1e-5, "bias = 1e-05"),
    (6, 100.0, 0.01, "P = 6"),
]


@pytest.mark.parametrize(("P", "tau", "bias", "named"), DOMAIN)
def test_theory_beyond_its_domain_refuses_in_a_sentence(P, tau, bias, named):
    """It gave 3.821 for 3.628, 3.046 for 1.362 and NaN, found by simulation."""
    assert named in sequential.domain(P, tau, bias)
    for call in (
        lambda: sequential.critical_gain(P, tau=tau, bias=bias),
        lambda: sequential.fixed_points(5.0, P, tau=tau, bias=bias),
        lambda: sequential.basin_edge(5.0, P, tau=tau, bias=bias),
        lambda: sequential.dwell_time(5.0, tau, P, bias),
    ):
        with pytest.raises(ValueError, match=f"No prediction is derived for {named}"):
            call()


def test_the_domain_of_the_theory():
    assert sequential.domain(4, 50.0, 0.01) == "" == sequential.domain(INF, 8.0, 0.005)
    assert sequential.domain(4, np.array([10.0, 1000.0]), np.array([0.001, 0.01])) == ""
    assert "tau = 8" in sequential.domain(5, 8.0, 0.005)
    assert "tau = 2000" in sequential.domain(4, np.array([50.0, 2000.0]), 0.01)
    assert "tau = nan" in sequential.domain(4, np.nan, 0.01)


def test_under_a_trace_theory_is_nan_beyond_its_domain(taus):
    gains = jax.jit(lambda tau: sequential.critical_gain(4, tau=tau, bias=0.01))
    found = gains(np.array([20.0, 4e4, 100.0]))
    np.testing.assert_array_equal(np.isnan(found), [False, True, False])


# By bisection of event-driven runs of 40 tau from z(0) = 4 e_1, to 0.001: over tau = 10, 20, 50,
# 100, 300, 1000 for P = 4.
SIMULATED = {
    0.001: [3.4305, 3.3024, 3.2792, 3.3243, 3.4427, 3.5477],
    0.003: [3.2255, 3.1656, 3.2047, 3.2828, 3.4391, 3.5490],
    0.01: [2.9532, 2.9764, 3.0924, 3.2157, 3.4281, 3.5587],
}


@pytest.mark.slow
def test_critical_gains_lie_within_their_band_all_over_the_domain():
    taus, biases = np.array([10.0, 20, 50, 100, 300, 1000]), np.array(list(SIMULATED))
    gains = sequential.critical_gain(4, tau=taus[None], bias=biases[:, None])
    difference = np.asarray(gains) - np.array(list(SIMULATED.values()))
    band = np.asarray(sequential.error_band(biases))[:, None]
    assert (difference > -0.002).all() and (difference < band + 0.001).all()


#: The same of basins, to 0.002: kappa, and the edge over tau.
BASINS = {
    4.0: [1.1296, 1.1683, 1.2192, 1.2931, 1.4636, 1.5813],
    5.0: [0.9890, 1.0417, 1.1050, 1.1401, 1.2333, 1.3159],
    6.0: [0.9204, 0.9767, 1.0417, 1.0804, 1.1331, 1.2122],
}


@pytest.mark.slow
def test_basin_edges_are_close_all_over_the_domain():
    taus, kappas = np.array([10.0, 20, 50, 100, 300, 1000]), np.array(list(BASINS))
    edges = sequential.basin_edge(kappas[:, None], 4, tau=taus[None], bias=0.01)
    ratio = np.asarray(edges) / np.array(list(BASINS.values()))
    assert (ratio > 0.997).all() and (ratio < 1.035).all()


# Inputs


@pytest.mark.slow
def test_single_precision_stays_single():
    kappa = jnp.float32(5.0)
    for result in (
        sequential.fixed_points(kappa, 4).upper,
        sequential.basin_edge(kappa, 4),
        sequential.saliency_orbit(4.0, kappa, 3, 4),
        sequential.switch_time(4.0, kappa, 50.0, 0.01),
        sequential.critical_gain(4, self_loop=jnp.float32(0.1)),
        sequential.critical_gain(activation=hx.Tanh(jnp.float32(1.0))),
        sequential.itinerary(cyclic(3).astype(np.float32), kappa, 1.0, [4, 0, 0], 3).time,
        sequential.basin_edge(kappa, 4, tau=50.0, bias=0.01),
    ):
        assert result.dtype == jnp.float32 and jnp.isfinite(result).all()


def test_functions_run_under_jit_and_vmap():
    def results(kappa):
        return (
            sequential.fixed_points(kappa, 4).upper,
            sequential.basin_edge(kappa, 4),
            sequential.saliency_orbit(4.0, kappa, 5, 4),
            sequential.visited_before_collapse(3.0, kappa),
            sequential.switch_time(4.0, kappa, 50.0, 0.01),
        )

    gains = jnp.array([3.7, 5.0])
    for mapped, own in zip(jax.jit(jax.vmap(results))(gains), results(gains), strict=True):
        np.testing.assert_allclose(mapped, own, rtol=1e-13)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: sequential.critical_gain(1), ValueError, "`P` must be an integer >= 2"),
        (lambda: sequential.critical_gain(3.5), TypeError, "`P` must be an integer >= 2"),
        (lambda: sequential.critical_gain(4, activation=hx.Tanh()), ValueError, "`P` must be"),
        (lambda: sequential.critical_gain(4, noise=0.1), ValueError, "`P` must be math.inf"),
        (lambda: sequential.critical_gain(noise=-0.1), ValueError, "`noise` must be >= 0"),
        (
            lambda: sequential.critical_gain(noise=0.1, tau=9.0),
            ValueError,
            "`tau` must be math.inf",
        ),
        (lambda: sequential.critical_gain(4, tau=9.0), ValueError, "`bias` must be > 0"),
        (lambda: sequential.critical_gain(4, bias=0.1), ValueError, "`bias` must be 0"),
        (lambda: sequential.critical_gain(2, tau=9.0, bias=0.1), ValueError, "`P` must be >= 3"),
        (
            lambda: sequential.fixed_points(4.0, 4, tau=0.5, bias=0.1),
            ValueError,
            "`tau` must be > 1",
        ),
        (lambda: sequential.dwell_time(5.0, INF, 4), ValueError, "`tau` must be finite"),
        (
            lambda: sequential.saliency_map(np.ones(4), 5.0, 4),
            ValueError,
            "`Z` must hold P - 1 = 3",
        ),
        (
            lambda: sequential.saliency_orbit(4.0, 5.0, -1),
            ValueError,
            "`steps` must be a whole number >= 0",
        ),
        (lambda: sequential.escape_time(4.0, 0.0), ValueError, "`tau` must be > 0"),
        (lambda: sequential.switch_time(4.0, 5.0, 1.0, 0.1), ValueError, "`tau` must be > 1"),
        (lambda: sequential.gain_for_period(-1.0, 4, 1.0), ValueError, "`period` must be > 0"),
        (lambda: sequential.gain_for_period(1.0, INF, 1.0), ValueError, "`P` must be finite"),
        (lambda: sequential.fixed_points("5"), TypeError, "`kappa` must hold real numbers"),
        (
            lambda: sequential.itinerary(np.eye(3), 5.0, 1.0, np.ones(4), 3),
            ValueError,
            "`transition` must have shape",
        ),
        (
            lambda: sequential.itinerary(np.eye(3), np.ones(2), 1.0, np.ones(3), 3),
            ValueError,
            "`kappa` must be a scalar or",
        ),
        (
            lambda: sequential.itinerary(np.eye(3), 5.0, -1.0, np.ones(3), 3),
            ValueError,
            "`tau` must be > 0",
        ),
        (
            lambda: sequential.itinerary(np.eye(3), 5.0, 1.0, np.ones(3), 0),
            ValueError,
            "`steps` must be a whole number >= 1",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_fixed_points_keep_their_digits_at_any_gain():
    gains = [5.0, 1e3, 1e8, 1e17, 1e30, 1e100]
    getcontext().prec = 60
    for P in (3, 4, 6):
        found = sequential.fixed_points(np.array(gains), P)
        for gain, Z in zip(gains, np.asarray(found.upper), strict=True):
            excess = Decimal(Z) + sum(Decimal(Z) ** -j for j in range(P - 1)) - Decimal(gain)
            assert abs(excess) < Decimal(gain) * Decimal(4e-16)  # two roundings
        edge = np.asarray(sequential.basin_edge(np.array(gains), P))
        assert np.all(np.diff(edge) <= 0) and 1 <= edge[-1] < 1 + 1e-12
    chain = sequential.fixed_points(np.array([*gains, 1e300, np.inf]))
    for gain, low, high in zip(gains, *(np.asarray(v)[:-2] for v in chain[:2]), strict=True):
        root = (1 - 4 / Decimal(gain)).sqrt()
        assert abs(Decimal(high) / Decimal(gain) * 2 / (1 + root) - 1) < Decimal(4e-16)
        assert abs(Decimal(low) * (1 + root) / 2 - 1) < Decimal(4e-16)
    np.testing.assert_array_equal(chain.lower[-2:], 1.0)
    np.testing.assert_array_equal(chain.upper[-2:], [1e300, np.inf])
    assert sequential.fixed_points(np.inf, 4).upper == np.inf
    # At a huge gain the next memory takes over as soon as the first lets go: Z0 / z1 counts alone.
    time = sequential.switch_time(8.0, np.array([1e17, 1e30, 1e100]), 100.0, 0.01)
    np.testing.assert_allclose(time, 100 * np.log(8 / (0.99 * 1.01)), rtol=1e-12)


@pytest.mark.slow
def test_gains_beyond_what_was_checked_are_refused():
    for call in (
        lambda k: sequential.fixed_points(k, 4, tau=100.0, bias=0.01).upper,
        lambda k: sequential.dwell_time(k, 100.0, 4, 0.01),
        lambda k: sequential.basin_edge(k, 4, tau=100.0, bias=0.01),
    ):
        with pytest.raises(ValueError, match="kappa = 1e\\+08: .* up to 1000"):
            call(1e8)
        assert jnp.isnan(jax.jit(call)(1e8))
    # Simulated from 0.3 at this gain the cycle goes on for ever, so that 0.8 would be no edge.
    with pytest.raises(ValueError, match="`kappa` = 50: .* below 0.8"):
        sequential.basin_edge(50.0, 3, tau=100.0, bias=0.01)
    assert jnp.isnan(jax.jit(lambda k: sequential.basin_edge(k, 3, tau=100.0, bias=0.01))(50.0))


# Slow synapses


def test_dwells_by_slow_synapses_in_closed_form():
    strength, threshold = np.array([0.5, 0.6, 0.85]), 1 - 1 / 1.8
    found = sequential.synapse_dwell(strength, P=2)
    np.testing.assert_allclose(found.dwell, 2 * np.arctanh(threshold / strength), rtol=1e-12)
    chain = sequential.synapse_dwell(strength)
    q = (1 - np.sqrt(2 * threshold / strength - 1)) / 2
    np.testing.assert_allclose(chain.dwell, -np.log(q), rtol=1e-12)
    long = sequential.synapse_dwell(strength, P=60)  # differs by the trace of the last lap
    np.testing.assert_allclose(long.dwell, chain.dwell, rtol=1e-10)
    # Neurons of two states: hard tanh of a gain without bound.
    two_states = sequential.synapse_dwell(1.5, gain=1e15).dwell
    np.testing.assert_allclose(two_states, -np.log((1 - np.sqrt(2 / 1.5 - 1)) / 2), rtol=1e-12)


def test_many_stages_are_a_pure_delay():
    gaps = [sequential.synapse_dwell(0.8, stages=k).dwell - 1 for k in (100, 400)]
    # The distribution of the delay has the standard deviation 1 / sqrt(k).
    assert 0 < gaps[1] < gaps[0] < 0.2
    assert abs(gaps[0] / gaps[1] - 2) < 0.05


@pytest.mark.parametrize(("P", "stages"), [(2, 1), (3, 1), (4, 1), (INF, 1), (INF, 2)])
def test_a_dwell_exists_in_the_range_alone(P, stages):
    lower, upper = (float(v) for v in sequential.synapse_range(P, gain=1.5, stages=stages))
    assert lower == pytest.approx(1 / 3)
    strengths = [lower * 0.999, lower * 1.001, min(upper, 50.0) * 0.999, min(upper, 50.0) * 1.001]
    found = sequential.synapse_dwell(strengths, P, gain=1.5, stages=stages)
    assert found.exists.tolist() == [False, True, True, upper > 50.0]
    assert (upper > 50.0) == (P == 2)
    assert (np.isfinite(found.dwell) == found.exists).all()


@pytest.mark.parametrize("options", [dict(P=4), dict(stages=3)])
def test_derivatives_of_dwells_by_slow_synapses(options):
    def of_strength(strength):
        return sequential.synapse_dwell(strength, **options).dwell

    def of_gain(gain):
        return sequential.synapse_dwell(0.7, gain=gain, **options).dwell

    for function, x in ((of_strength, 0.7), (of_gain, 1.8)):
        # Rounding of 1e-15 over a step of 1e-5, and the third derivative times its square.
        assert jax.jit(jax.grad(function))(x) == pytest.approx(slope(function, x, 1e-5), 1e-7)


def test_what_slow_synapses_are_not_derived_for():
    with pytest.raises(ValueError, match="`gain` must be > 1.*No memory is stable"):
        sequential.synapse_dwell(0.8, gain=1.0)
    with pytest.raises(ValueError, match="`P` must be math.inf with `stages` = 2"):
        sequential.synapse_range(4, stages=2)
