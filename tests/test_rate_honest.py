"""What rate memories do not hold is refused, or said."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax.theory import rate

FLOWER = hx.patterns.sunflower(3, 0.25, 0.5, 16)
XI = np.asarray(FLOWER.xi)
TS = np.array([0.0, 20.0])


def unit(P):
    return np.eye(P)[0]


def texts(make):
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    return [str(one.message) for one in caught if one.category is hx.PhysicsWarning]


def digits():
    """Four memories of unequal activities and overlaps, as drawn things have."""
    draw = np.random.default_rng(2).uniform(size=(4, 40))
    xi = draw < np.array([0.15, 0.25, 0.4, 0.5])[:, None]
    xi[:, :2] = True
    return xi * 1.0


# Theory


def test_a_state_that_is_no_equilibrium_has_no_verdict():
    phi, xi = hx.Logistic(), digits()
    for mu in range(4):
        found = rate.memory_eigenvalues(xi, phi, -0.3, 0.95, mu, "covariance")
        dale = rate.dale_eigenvalues(xi, phi, -0.3, 0.95, mu, 1.0, learning="covariance")
        for one in (found, dale):
            assert float(one.residual) > 0.1
            assert not bool(one.stable) and np.isnan(one.greatest)
            assert np.isnan(one.eigenvalues).all()
    J = rate.dale_jacobian(xi, phi, -0.3, 0.95, 0, 1.0, learning="covariance")
    assert np.isnan(J[:-1]).any(1).all()
    exact = rate.memory_eigenvalues(xi, phi, -0.3, 0.95, 0, "pseudo_inverse")
    assert float(exact.residual) < 1e-12 and np.isfinite(exact.greatest)


def test_saturated_neurons_rest_where_their_currents_are_off():
    """Crosstalk that stays in the flat parts moves no rate: an equilibrium, by its own currents."""
    xi = np.asarray(hx.patterns.sparse(jax.random.key(0), 3, 100, 0.2).xi)
    found = rate.memory_eigenvalues(xi, hx.HardSigmoid(), -0.3, 0.95, 0, "covariance")
    assert float(found.residual) > 1e-3 and bool(found.stable) and float(found.greatest) == -1.0


def test_at_a_kink_the_steeper_side_counts():
    """a at the threshold: rates a little above it grow, by the exact slope there."""
    phi = hx.HardSigmoid(4.0, 0.1)
    found = rate.stability(phi, 0.1, 0.95, 0.5)
    assert float(found.slope_silent) == 4.0 and float(found.slope_active) == 0.0
    kappa, gamma = 0.85, (0.1 + 0.95) / 1.0
    silent = 4 * (0.5 * gamma + 0.5 * kappa) - 1
    assert float(found.block) == pytest.approx(silent, abs=1e-12) and silent > 0
    rest = rate.planar_equilibria(phi, 0.1, 0.95, 0.5)
    memory = np.flatnonzero((np.asarray(rest.active) == 1) & (np.asarray(rest.silent) == 0))
    assert len(memory) == 1 and not rest.stable[memory[0]]


def test_a_continuum_is_said_and_no_point_of_it_is_listed():
    """Both groups on the linear piece: the line through the memory (0.7, 0.2) is all equilibria."""
    phi, a, b, q = hx.HardSigmoid(0.8, -0.6), -0.35, 0.275, 0.2
    found = rate.planar_equilibria(phi, a, b, q)
    assert bool(found.continuum)
    kappa, m = 1.25, 0.2 * 0.7 + 0.8 * 0.2
    gamma = (0.8 * a + 0.2 * b) / m
    along = lambda t: np.array([0.7 + 0.8 * t, 0.2 - 0.2 * t])  # noqa: E731  the mean stays
    for t in (-0.2, 0.0, 0.1):
        s, c = along(t)
        mean = 0.2 * s + 0.8 * c
        y, z = gamma * mean + kappa * 0.8 * (s - c), gamma * mean - kappa * 0.2 * (s - c)
        assert abs(0.8 * (y + 0.6) - s) < 1e-12 and abs(0.8 * (z + 0.6) - c) < 1e-12
    listed = np.stack([found.active, found.silent], 1)[np.asarray(found.exists)]
    on_line = np.abs(0.2 * listed[:, 0] + 0.8 * listed[:, 1] - m) < 1e-9
    assert int(found.count) == len(listed) and not on_line.any()
    assert not bool(rate.globally_stable(phi, a, b, q).single)
    assert not bool(rate.balanced_spectrum(phi, a, b, q).stable)  # marginal
    assert not bool(rate.stability(phi, a, b, q).sufficient)


def test_the_memory_is_kept_however_few_places_there_are():
    for phi, a in ((hx.HardSigmoid(), -0.3), (hx.Logistic(), 0.1)):
        found = rate.planar_equilibria(phi, a, 0.95, 0.2, most=1)
        made = rate.design(phi, a, 0.95, 0.2)
        assert int(found.count) > 1
        assert float(found.active[0]) == pytest.approx(float(made.active), abs=1e-9)
        assert float(found.silent[0]) == pytest.approx(float(made.silent), abs=1e-9)


def test_a_single_equilibrium_that_is_unstable_attracts_nothing():
    """Threshold-linear neurons, whose rates grow without limit from beside it."""
    rho, start, a, b, q, u = 0.4405, 0.0552, -0.5226, 0.4875, 0.8808, np.array([-0.145, 0.191])
    f = lambda y: rho * np.maximum(y - start, 0)  # noqa: E731
    kappa, gamma = (b - a) / (f(b) - f(a)), ((1 - q) * a + q * b) / ((1 - q) * f(a) + q * f(b))
    W = np.array(
        [
            [gamma * q + kappa * (1 - q), (gamma - kappa) * (1 - q)],
            [(gamma - kappa) * q, gamma * (1 - q) + kappa * q],
        ]
    )
    found = rate.planar_equilibria(hx.ThresholdLinear(rho, start), a, b, q, 1.0, *u)
    assert int(found.count) == 1
    x = np.array([float(found.active[0]), float(found.silent[0])]) * 1.01
    for _ in range(6000):
        x = x + 0.02 * (f(W @ x + u) - x)
    assert x.max() > 100
    verdict = rate.globally_stable(hx.ThresholdLinear(rho, start), a, b, q, 1.0, *u)
    assert bool(verdict.single) and not bool(verdict.stable)


def test_rates_that_are_not_told_apart_are_no_design():
    for call in (
        lambda: rate.design(hx.Logistic(), -3.0, -2.9, 0.2),
        lambda: hx.RateMemory(FLOWER, a=-3.0, b=-2.9),
    ):
        with pytest.raises(ValueError, match="phi\\(b\\)"):
            call()
    assert int(rate.phase(4.8, 0.2, -3.0, -2.9).storage) == -1


def test_the_closed_saliency_is_silent_about_unstable_memories():
    lost = rate.critical_saliency(hx.HardSigmoid(2.98, 0.114), -0.257, 0.343, 0.278)
    assert not bool(lost.exists) and np.isnan(lost.saliency)  # b is on the steep piece
    loud = rate.critical_saliency(hx.Logistic(2.0, 0.3), -0.1, 1.5, 0.2)
    assert not bool(loud.exists)  # silent neurons have a rate of some percent


def test_the_margin_of_threshold_linear_neurons_is_none():
    phi = hx.ThresholdLinear(4.8, 0.2)
    assert np.isneginf(rate.crosstalk(phi, -0.3, 0.95, 0.2, 5, 100).margin)


# Networks


def test_the_constructor_warns_of_crosstalk():
    uneven = hx.Patterns(digits())
    for make in (hx.RateMemory, hx.InputDrivenRateMemory):
        (text,) = texts(lambda make=make: make(uneven, learning="covariance"))
        assert "unequal activities" in text and "'pseudo_inverse'" in text
    draw = np.random.default_rng(1)
    xi = np.zeros((6, 40))
    for row in xi:
        row[draw.permutation(40)[:8]] = 1
    (text,) = texts(lambda: hx.RateMemory(hx.Patterns(xi), learning="covariance"))
    assert "unequal overlaps" in text and "'projection'" in text
    assert not texts(lambda: hx.RateMemory(FLOWER, learning="covariance"))
    assert not texts(lambda: hx.RateMemory(uneven, learning="pseudo_inverse"))


def test_threshold_linear_neurons_hold_a_memory_by_default():
    disjoint = hx.Patterns(np.kron(np.eye(3, 4), np.ones(4)))
    assert not texts(lambda: hx.RateMemory(disjoint, activation=hx.ThresholdLinear()))
    network = hx.RateMemory(disjoint, activation=hx.ThresholdLinear())
    run = hx.simulate(network, network.init(weights=[0.8, 0.1, 0.1]), np.array([0.0, 200.0]))
    np.testing.assert_allclose(run.overlaps[-1], unit(3), atol=1e-6)
    (text,) = texts(lambda: hx.RateMemory(disjoint, activation=hx.ThresholdLinear(4.8, 0.2)))
    assert "does not hold memory 0" in text


def test_a_start_on_an_unstable_equilibrium_is_said():
    """In a run and in a sweep; beside it, and where it is stable, nothing."""
    network = hx.RateMemory(FLOWER, activation=hx.Logistic(4.8, 0.8))
    exact = network.init(weights=unit(3))
    (text,) = texts(lambda: hx.simulate(network, exact, TS))
    assert "unstable equilibrium" in text
    found = rate.memory_eigenvalues(XI, hx.Logistic(4.8, 0.8), -0.3, 0.95, 0)
    assert f"{float(found.greatest):.3g}" in text
    beside = hx.RateState(exact.rates + 1e-6)
    assert not texts(lambda: hx.simulate(network, beside, TS))
    held = hx.RateMemory(FLOWER)
    assert not texts(lambda: hx.simulate(held, held.init(weights=unit(3)), TS))
    point = hx.Point(held, {"weights": unit(3)}, TS)
    grid = {"activation.threshold": [0.2, 0.8]}
    (text,) = texts(lambda: hx.sweep(point, grid, progress=False))
    assert text.startswith("at 1 of 2 points looked at, the run starts exactly on an unstable")


def test_delayed_inhibition_counts_in_the_eigenvalue_of_a_start():
    """tau_I beyond the Hopf bifurcation of theory: said; before it: not."""
    phi, a, b, c = hx.Logistic(1.25488, 0.09915), -0.2125, 0.96406, 41.285
    balanced = hx.patterns.balanced(0.2, 25)
    tau = float(rate.critical_inhibition(phi, a, b, 0.2, c))
    for factor, unstable in ((0.9, 0), (1.2, 1)):
        network = hx.DaleRateMemory(
            balanced, tau_inhibition=factor * tau, inhibition=c, a=a, b=b, activation=phi
        )
        start = network.init(weights=unit(6))
        said = list(network.forms.pitfalls(network, start, None, None))
        assert len(said) == unstable


def test_other_attractors_than_memories_have_their_own_regime():
    """An overlap of 2 at rest is no storage."""

    def regime(m):
        run = hx.simulate(held, start, np.linspace(0.0, 20.0, 21))
        overlaps = jnp.broadcast_to(jnp.asarray(m), run.overlaps.shape)
        run = eqx.tree_at(lambda r: r.overlaps, run, overlaps)
        return hx.observables.REGIMES[int(hx.observables.classify(run))]

    held = hx.RateMemory(FLOWER)
    start = held.init(weights=unit(3))
    assert regime([1.0, 0.0, 0.0]) == "locked" == regime([0.95, 0.0, 0.1])
    assert regime([2.0, 0.0, 0.0]) == "spurious" == regime([-2.0, 0.0, 0.0])


@pytest.mark.parametrize("learning", ["projection", "covariance", "pseudo_inverse"])
def test_traced_patterns_that_cannot_be_stored_are_a_status(learning):
    def status(xi):
        network = hx.RateMemory(hx.Patterns(xi, check_patterns=False), learning=learning)
        start = hx.RateState(jnp.full(16, 0.1))
        run = hx.simulate(network, start, TS, throw=False)
        return run.status

    silent = XI * np.array([[0.0], [1.0], [1.0]])
    full = np.maximum(XI, np.array([[1.0], [0.0], [0.0]]))
    bad = [2 * XI - 1, np.where(XI == 0, np.nan, XI), silent, full, XI[[0, 0, 0]]]
    if learning != "covariance":
        bad.append(XI[[0, 0, 1]])
    if learning == "projection":
        uneven = XI.copy()
        uneven[0, -1] = 1
        bad.append(uneven)
    found = jax.jit(jax.vmap(status))(jnp.asarray(np.stack([XI, *bad])))
    assert found.tolist() == [0] + [4] * len(bad)


def test_dale_stays_dale_or_is_refused():
    network = hx.DaleRateMemory(FLOWER, tau_inhibition=1.0)
    other = eqx.tree_at(lambda n: n.b, network, jnp.asarray(2.5))
    W = np.asarray(hx.RateMemory(FLOWER, b=2.5).wiring().most_negative(FLOWER))
    assert float(network.inhibition) + W < -0.1
    with pytest.raises(ValueError, match=r"`inhibition \+ N min W` must be >= 0"):
        hx.simulate(other, network.init(weights=unit(3)), TS)
    with pytest.raises(ValueError, match=r"`inhibition \+ N min W` must be >= 0"):
        hx.DaleRateMemory(FLOWER, tau_inhibition=1.0, inhibition=0.1)
    point = hx.Point(network, {"weights": unit(3)}, TS)
    found = hx.sweep(point, {"b": [0.95, 2.5]}, progress=False, on_failure="ignore")
    assert found.status.values.tolist() == [0, 4]


def test_starts_below_zero_are_refused():
    network = hx.RateMemory(FLOWER)
    dale = hx.DaleRateMemory(FLOWER, tau_inhibition=1.0)
    for call, name in (
        (lambda: network.init(rates=np.full(16, -5.0)), "`rates` has entries down to -5"),
        (lambda: network.init(weights=-unit(3)), "`weights` leads to rates down to -"),
        (lambda: dale.init(weights=unit(3), inhibition=-2.0), "`inhibition` goes down to -2"),
    ):
        with pytest.raises(ValueError, match=name):
            call()

    @jax.jit
    def status(low):
        start = network.init(rates=jnp.full(16, low))
        return hx.simulate(network, start, TS, throw=False).status

    assert [int(status(low)) for low in (0.1, -5.0)] == [0, 4]
