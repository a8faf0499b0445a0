"""A switch that a run does not make has no time, and no derivative of a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax._undefined import undefined

NETWORK, _ = zoo.cycle(P=3, N=16, kappa=5.0, tau=20.0, bias=0.02)
KEYS = jr.split(jr.key(0), 3)
ENGINES = {
    "event-driven": (hx.EventDriven(), None),
    "diffrax": (hx.Diffrax(), None),
    "noise": (hx.Diffrax(dt0=0.1), 0.1),
}


def times(kappa, engine, derivative, end=45.0):
    """The first two switches of three runs, of which only the first takes place before 45."""
    method, noise = ENGINES[engine]
    network = eqx.tree_at(lambda n: n.kappa, NETWORK, kappa)
    start = network.init(saliency=[4.0, 0.0, 0.0])

    def one(key):
        key = None if noise is None else key
        options = dict(noise=noise, key=key, method=method, derivative=derivative)
        run = hx.simulate(network, start, jnp.array([0.0, end]), **options)
        return hx.observables.switch_times(run)[:2]

    return jax.vmap(one)(KEYS)


@pytest.mark.parametrize(
    "engine",
    [pytest.param(name, marks=[] if name == "noise" else pytest.mark.slow) for name in ENGINES],
)
def test_value_and_derivative_of_a_missing_switch_agree(engine):
    """The mean of times of which some are missing, and of those that took place."""

    def means(kappa, derivative):
        found = times(kappa, engine, derivative)
        return jnp.stack([found.mean(), jnp.nanmean(found)])

    @jax.jit
    def pulled(kappa):
        value, pull = jax.vjp(lambda k: means(k, "reverse"), kappa)
        return value, jax.vmap(pull)(jnp.eye(2))[0]

    reverse = np.array(pulled(5.0))
    pushed = jax.jit(lambda kappa: jax.jvp(lambda k: means(k, "forward"), (kappa,), (1.0,)))
    forward = np.array(pushed(5.0))
    assert np.isnan(reverse[:, 0]).all() and np.isnan(forward[:, 0]).all()
    found = np.array([reverse[:, 1], forward[:, 1]])
    h = 1e-3
    ends = [pushed(5.0 + s * h)[0][1] for s in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * h)
    # The derivatives of diffrax over the kinks of hard tanh are off by some per cent.
    within = 1e-5 if engine == "event-driven" else 0.05 * abs(float(difference))
    assert_close(found[:, 1], [difference] * 2, within, "those that took place")


def test_what_is_masked_stays_finite_and_what_is_not_is_nan():
    def kept(x, use):
        gone = undefined(jnp.zeros(2), {"x": x, "name": "any", "none": None})
        return jnp.where(use, gone, jnp.stack([x, 2 * x])) @ jnp.array([1.0, -1.0])

    for use, wanted in (([False, False], -1.0), ([True, True], np.nan), ([False, True], np.nan)):
        for mode in (jax.grad, jax.jacfwd):
            derivative = mode(lambda x, use=jnp.array(use): kept(x, use))
            np.testing.assert_equal(float(derivative(3.0)), wanted)
            np.testing.assert_equal(np.asarray(jax.vmap(derivative)(jnp.ones(2))), [wanted] * 2)
            np.testing.assert_equal(float(jax.jit(derivative)(3.0)), wanted)
            for outer in (jax.grad, jax.jacfwd):  # all orders of nesting
                wanted_second = abs(0.0 * wanted)  # the plain part is linear
                rows = np.asarray(jax.jit(jax.vmap(outer(derivative)))(jnp.ones(2)))
                np.testing.assert_equal(rows, [wanted_second] * 2)
