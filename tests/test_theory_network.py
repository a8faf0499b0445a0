"""Theory of a network that is given as such: no number is typed twice, and none is misread."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo

import hopfax as hx

sequential, rate = hx.theory.sequential, hx.theory.rate
SINGULAR: dict[str, Any] = dict(tau=math.inf, bias=0.0)


def cycle(**options) -> Any:
    patterns = options.pop("patterns", hx.patterns.hadamard(4, 16))
    transition = options.pop("transition", hx.cyclic(patterns.P))
    options = dict(kappa=5.0, tau=20.0, bias=0.01) | options
    return hx.TwoTimescaleHopfield(patterns, transition, **options)


def test_a_cycle_stands_for_its_parameters():
    network = cycle()
    expected = sequential.critical_gain(4)
    assert sequential.critical_gain(network, **SINGULAR) == expected
    assert sequential.critical_gain(network.patterns) == expected  # memories alone
    found = sequential.fixed_points(network, **SINGULAR)
    np.testing.assert_array_equal(found.upper, sequential.fixed_points(5.0, 4).upper)
    gains = jnp.array([4.0, 6.0])
    several = sequential.fixed_points(network, kappa=gains, **SINGULAR)
    np.testing.assert_array_equal(several.upper, sequential.fixed_points(gains, 4).upper)
    edge = sequential.basin_edge(network.patterns, 5.0)  # what follows fills the rest
    np.testing.assert_array_equal(edge, sequential.basin_edge(5.0, 4))
    start = jnp.array([4.0, 0.0, 0.0, 0.0])
    path = sequential.itinerary(network, start, 4)
    again = sequential.itinerary(network.transition, 5.0, 20.0, start, 4)
    np.testing.assert_array_equal(path.time, again.time)
    loops = cycle(transition=hx.cyclic(4) + 0.2 * jnp.eye(4))
    found = sequential.critical_gain(loops, **SINGULAR)
    np.testing.assert_array_equal(found, sequential.critical_gain(4, self_loop=0.2))
    steep = cycle(activation=hx.HardTanh(2.0))
    found = sequential.critical_gain(steep, **SINGULAR)
    np.testing.assert_array_equal(found, sequential.critical_gain(4, activation=hx.HardTanh(2.0)))


@pytest.mark.slow
def test_the_dwell_of_a_network_is_that_of_its_parameters():
    found = sequential.dwell_time(cycle(kappa=[5.0] * 4))
    np.testing.assert_array_equal(found, sequential.dwell_time(5.0, 20.0, 4, 0.01))


def correlated():
    return hx.patterns.correlated(jax.random.key(0), 4, 64, 0.3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(patterns=correlated()), "memories overlap by up to .* orthogonal ones"),
        (dict(readout="abs"), "for `readout='linear'`"),
        (dict(keep_diagonal=False), "`keep_diagonal=True`"),
        (dict(transition=2 * hx.cyclic(4)), "plain cycle.* itinerary"),
        (dict(transition=hx.cyclic(4) + 0.1 * jnp.eye(4)), "call themselves"),
        (dict(kappa=[4.0, 5.0, 5.0, 5.0]), "`kappa` must be the same for all"),
        (dict(activation=hx.Tanh(4.0)), "hard tanh of gain 1"),
        (dict(activation=hx.HardTanh(2.0)), "hard tanh of gain 1"),
    ],
)
def test_a_network_of_which_there_is_no_theory_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        sequential.fixed_points(cycle(**options), **SINGULAR)


def test_other_networks_and_other_arguments_are_refused():
    with pytest.raises(ValueError, match="no theory reads a Hopfield as such"):
        sequential.critical_gain(zoo.networks()["Hopfield"].network)
    with pytest.raises(TypeError, match=r"beside a TwoTimescaleHopfield there are 0 arguments"):
        sequential.fixed_points(cycle(), 5.0)
    with pytest.raises(ValueError, match="`transition` is needed"):
        sequential.itinerary(cycle().patterns, jnp.ones(4), 3)
    with pytest.raises(ValueError, match="must be known, not be traced"):
        jax.jit(lambda net: sequential.fixed_points(net, **SINGULAR).upper)(cycle())
    rescued = cycle(patterns=correlated(), learning="pseudo_inverse")
    found = sequential.critical_gain(rescued, **SINGULAR)
    np.testing.assert_array_equal(found, sequential.critical_gain(4))


def test_a_rate_memory_stands_for_its_design():
    sets = hx.patterns.balanced(1 / 2, 16)
    for kind in (hx.RateMemory, hx.InputDrivenRateMemory):
        network = kind(sets)
        numbers = (network.activation, -0.3, 0.95, 0.5)
        found = rate.critical_saliency_planar(network).saliency
        np.testing.assert_array_equal(found, rate.critical_saliency_planar(*numbers).saliency)
    found = rate.memory_eigenvalues(hx.RateMemory(sets), mu=1).eigenvalues
    again = rate.memory_eigenvalues(sets.xi, *numbers[:3], 1).eigenvalues
    np.testing.assert_array_equal(found, again)
    apart = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    with pytest.raises(ValueError, match="for `learning='projection'`, or"):
        rate.critical_saliency(hx.RateMemory(apart, learning="covariance"))
    unequal = hx.Patterns(np.array([[1.0, 1, 0, 0], [1, 0, 0, 0]]), binary=False)
    with pytest.raises(ValueError, match="must have one activity"):
        rate.critical_saliency(hx.RateMemory(unequal, learning="pseudo_inverse"))
    with pytest.raises(ValueError, match="give the network, not its patterns"):
        rate.critical_saliency(sets)
