"""The search for the global minimum, where a fit from the given start ends in a false one."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx

START = dict(saliency=[4.0, 0.0, 0.0])
SIGMA = 0.05


def where(network):
    return network.kappa, network.tau, network.bias


def moved(network, kappa, tau, bias):
    """The network with its parameters multiplied."""
    factors = zip(where(network), (kappa, tau, bias), strict=True)
    return eqx.tree_at(where, network, tuple(value * factor for value, factor in factors))


@pytest.fixture(scope="module")
def seen():
    """A network, and its overlaps over eight dwells, with noise and a gap."""
    network, state = zoo.cycle(P=3, N=16, kappa=4.6, tau=30.0, bias=0.015)
    ts = jnp.linspace(0.0, 330.0, 111)
    run = hx.simulate(network, state, ts)
    values = run.overlaps + SIGMA * jr.normal(jr.key(0), run.overlaps.shape)
    values = values.at[40:55].set(jnp.nan)
    return network, hx.losses.overlap_path(ts, values, init=START, sigma=SIGMA)


def fit(network, loss, **options):
    settings = dict(where=where, constraint=hx.constraints.Positive(), absolute_sigma=True)
    return hx.fit(network, loss, progress=False, **settings, **options)


@pytest.mark.slow
def test_the_global_minimum_is_found_where_the_start_leads_to_a_false_one(seen, tmp_path):
    network, loss = seen
    guess = moved(network, 1.25, 1.25, 0.7)
    with pytest.warns(hx.FitWarning, match="this is a false minimum"):
        stuck = fit(guess, loss, starts=1)
    assert stuck.ending == "converged, poor fit" and np.isnan(stuck.stderr).all()
    told, file = [], tmp_path / "fit.ckpt"
    found = fit(guess, loss, callback=lambda progress: told.append(progress), checkpoint=file)
    assert found.ending == "converged" and not found.goodness.poor
    assert float(found.loss) <= float(hx.losses.value(loss(network)))
    assert found.losses.size > 1 and float(found.losses.min()) == float(found.loss)
    assert_close(found.losses[0], stuck.loss, 1e-9, "the fit from the given start is the first")
    off = (np.asarray(found.values) - np.asarray(where(network))) / np.asarray(found.stderr)
    assert np.abs(off).max() < 4, "four standard errors"
    assert told[-1].loss == float(found.loss)
    again = fit(guess, loss, checkpoint=file)
    np.testing.assert_array_equal(found.values, again.values)


@pytest.mark.slow
def test_a_good_fit_is_not_searched(seen):
    network, loss = seen
    found = fit(moved(network, 1.02, 1.0, 1.0), loss)
    assert found.ending == "converged" and found.losses.size == 1


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_starts_are_a_number_or_auto():
    with pytest.raises((TypeError, ValueError), match="`starts`"):
        hx.fit(jnp.ones(2), lambda m: m, where=lambda m: m, starts="many", progress=False)
