"""What is observed of a run whose saliencies a stimulus sets."""

import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx

PATTERNS = hx.patterns.hadamard(3, 8)
STIMULUS = PATTERNS.field(jnp.array([2.0, 1.2, 0.0]))
TS = jnp.linspace(0.0, 4.0, 3)


def seen(t, state, network, inputs):
    """Both inputs, as they are at the time."""
    return inputs


def hopfield(activation=hx.HardTanh(), **options):
    network = hx.InputDrivenHopfield(PATTERNS, activation=activation)
    start = network.init(weights=[0.3, 0.2, 0.1])
    return network, hx.simulate(network, start, TS, **dict(stimulus=STIMULUS) | options)


@pytest.mark.parametrize("activation", [hx.HardTanh(), hx.Tanh(3.0)])
def test_the_energy_of_an_input_driven_run_falls(activation):
    network, run = hopfield(activation, observe=hx.observables.energy)
    at_end = network.energy(run.final, hx.Inputs(stimulus=STIMULUS))
    assert_close(run.observed[-1], at_end, 1e-10, "the same function of the same state")
    steps = np.diff(run.observed)
    assert (steps <= 0).all() and steps[0] < 0  # at rest it stands still


@pytest.mark.slow
def test_the_energy_of_input_driven_rates():
    network, start, options = zoo.networks()["InputDrivenRateMemory"]
    run = hx.simulate(network, start, TS, observe=hx.observables.energy, **options)
    at_end = network.energy(run.final, hx.Inputs(stimulus=options["stimulus"]))
    assert_close(run.observed[-1], at_end, 1e-10, "the same function of the same state")


def test_an_observer_may_ask_for_the_inputs_of_the_time():
    early = hx.Pulses([0.0, 2.0, 8.0], [STIMULUS, 2 * STIMULUS])
    _, run = hopfield(stimulus=early, observe=seen)
    assert_close(run.observed.stimulus[:, 0] / STIMULUS[0], [1.0, 2.0, 2.0], 1e-12, "as given")
    assert run.observed.current is None


def test_elsewhere_the_energy_is_without_inputs_as_before():
    network, start = zoo.cycle(bias=0.02)
    current = jnp.full(network.patterns.N, 0.1)
    run = hx.simulate(network, start, TS, current=current, observe=hx.observables.energy)
    assert_close(run.observed[-1], network.energy(run.final), 1e-10, "the same function")


@pytest.mark.parametrize("name", ["summary", "switch_times", "dwell_times", "visited", "classify"])
def test_all_other_observables_of_such_a_run(name):
    _, run = hopfield()
    getattr(hx.observables, name)(run)
    assert int(hx.observables.mixture(0.0, run.final, hopfield()[0])) >= 0
