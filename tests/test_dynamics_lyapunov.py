"""Lyapunov exponents: of states of rest, of closed orbits, and of chaos."""

import jax.numpy as jnp
import normal_forms as nf
import numpy as np
import pytest
import zoo

import hopfax as hx


def hopfield():
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    return network, network.init(weights=[1.0, 0.1, 0.0])


@pytest.mark.slow
def test_at_rest_they_are_the_eigenvalues():
    network, start = hopfield()
    rest = hx.dynamics.steady_state(network, start)
    found = hx.dynamics.lyapunov(network, rest.state, horizon=20.0)
    wanted = np.real(rest.spectrum.eigenvalues)
    assert np.abs(found.exponents - wanted).max() < 1e-9  # steps of Dopri8 of a quarter of 1 / rate
    longer = hx.dynamics.lyapunov(network, rest.state, horizon=20.0, interval=10.0)
    assert np.abs(longer.exponents - wanted).max() < 1e-9
    assert found.others == 13 and found.dimension == 0.0


@pytest.mark.slow
def test_on_an_orbit_they_are_the_logarithms_of_its_multipliers():
    network, start = zoo.cycle()
    orbit = hx.dynamics.orbit(network, start)
    returns = float(orbit.returns)
    times = dict(horizon=30 * returns, transient=30 * returns, interval=returns / 3)
    found = hx.dynamics.lyapunov(network, orbit.state, **times, count=3)
    wanted = np.append(0.0, np.log(np.abs(orbit.multipliers[:2])) / returns)
    # Gram-Schmidt's directions have settled to the ratio of multipliers to the 30th power
    assert np.abs(found.exponents - wanted).max() < 1e-8
    assert np.isnan(found.dimension) or found.dimension == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_chaos():
    network = nf.plane(nf.lorenz, 28.0, N=3)
    times = dict(horizon=150.0, transient=20.0, interval=0.25)
    found = hx.dynamics.lyapunov(network, network.init(x=[1.0, 1.0, 20.0]), **times)
    # the divergence of the flow is constant: the sum is exact, but for the steps' errors
    assert found.exponents.sum() == pytest.approx(-41 / 3, abs=1e-6)
    known = np.array([0.9056, 0.0, -14.5723])
    assert (np.abs(found.exponents - known) < 4 * found.errors + 0.01).all()  # 2 / horizon
    assert found.dimension == pytest.approx(2.062, abs=0.01)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(horizon=-1.0), "`horizon` must be a time > 0"),
        (dict(transient=-1.0), "`transient` must be a time >= 0"),
        (dict(interval=30.0), "`interval` must lie between 0 and `horizon` = 20"),
        (dict(count=4), "`count`"),
    ],
)
def test_bad_arguments_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        hx.dynamics.lyapunov(*hopfield(), **{"horizon": 20.0, **change})


@pytest.mark.slow
def test_directions_that_part_too_far_are_told():
    network = nf.plane(lambda x, y, p: (60.0 * x, -y))
    with pytest.raises(hx.SimulationError, match="the run from `start` has diverged"):
        hx.dynamics.lyapunov(network, jnp.array([1.0, 1.0]), horizon=40.0, interval=20.0)
