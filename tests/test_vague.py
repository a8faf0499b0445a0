"""A parameter of which the data tell next to nothing is named."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx


def rates(t, state, network):
    return state.rates


def where(network):
    return network.activation.gain, network.activation.threshold


def test_gain_and_threshold_from_ten_noisy_neurons_are_said_to_be_open():
    """A memory is held at chosen currents, whatever the activation, so that rates tell little of
    it: 4.7 +- 15 came without a word."""
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 32)
    network = hx.RateMemory(patterns, activation=hx.Logistic(4.8, 0.2))
    cue = network.init(weights=[0.8, 0.3, 0.1])
    ts = jnp.linspace(0.0, 12.0, 25)
    run = hx.simulate(network, cue, ts, observe=rates)
    seen = run.observed + 0.05 * jr.normal(jr.key(0), run.observed.shape)
    ten = jnp.where(jnp.arange(32) < 10, seen, jnp.nan)
    guess = eqx.tree_at(where, network, (jnp.array(4.0), jnp.array(0.25)))
    loss = hx.losses.field_path(ts, ten, init=dict(rates=cue.rates), sigma=0.05)
    settings = dict(where=where, absolute_sigma=True, progress=False)
    with pytest.warns(
        hx.FitWarning, match=r"hardly determine activation.gain, activation.threshold: .*larger"
    ):
        found = hx.fit(guess, loss, **settings)
    assert found.ending == "converged"
    assert (np.asarray(found.stderr) > np.abs(np.asarray(found.values))).all()
    assert str(found).count("hardly determined") == 2
    # What the message advises: they are known together, and one if the other is.
    known = hx.identifiability(found.model, loss, where=where)
    assert not known.known.any() and float(known.sizes[0]) < 0.2 < 5 < float(known.sizes[1])


def test_a_small_parameter_with_a_small_error_is_no_cause_for_a_warning():
    """What counts is the largest number of an array, at the start and at the end."""

    def loss(model):
        return jnp.concatenate([model["a"] - jnp.array([1.0, 1e-4]), 0.2 * jnp.ones(2)])

    found = hx.fit({"a": jnp.ones(2)}, loss, where=lambda m: m["a"], progress=False)
    assert float(found.stderr[1]) > float(found.values[1])
    assert "hardly" not in str(found)
