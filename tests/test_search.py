"""The search for the global minimum, where a fit from the given start ends in a false one."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax._fit._matching import matched
from hopfax._fit._steppers import Problem
from hopfax._fit._variables import variables_of

# Some of the biases here are so small that one is within a standard error of zero.
pytestmark = pytest.mark.filterwarnings("default:the data hardly determine:hopfax.FitWarning")

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


@pytest.mark.slow
def test_of_small_minima_side_by_side_a_lower_one_is_found():
    """Saves 12 apart: few fall into a switch, and each makes a step in the loss."""
    network, state = zoo.cycle(P=3, N=16, kappa=4.6, tau=30.0, bias=0.015)
    ts = jnp.linspace(0.0, 330.0, 111)
    run = hx.simulate(network, state, ts)
    values = (run.overlaps + SIGMA * jr.normal(jr.key(1), (111, 3))).at[40:55].set(jnp.nan)
    values = jnp.where(jnp.arange(111)[:, None] % 4 == 0, values, jnp.nan)
    loss = hx.losses.overlap_path(ts, values, init=START, sigma=SIGMA)
    guess = moved(network, 1.04, 0.98, 1.0)
    with pytest.warns(hx.FitWarning, match="the loss is no parabola"):  # it has these steps
        one, found = fit(guess, loss, starts=1), fit(guess, loss)
    assert one.ending == "converged" and not one.goodness.poor
    assert float(found.loss) < float(one.loss) - 0.1
    assert_close(found.losses[0], one.loss, 1e-9, "the fit from the given start is the first")
    assert float(found.losses.min()) == float(found.loss)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_starts_are_a_number_or_auto():
    with pytest.raises((TypeError, ValueError), match="`starts`"):
        hx.fit(jnp.ones(2), lambda m: m, where=lambda m: m, starts="many", progress=False)


# A trace of saliencies


CALLS = np.array([[0.0, 0.1, 0.9], [1.0, 0.0, 0.1], [-0.1, 1.1, 0.0]])


def piecewise(kappa, tau, ts):
    """Saliencies in the limit of a slow network, in closed form: the active memory calls by its
    column until it has fallen to one, and the largest one follows it."""
    rows, z, begun, active = [], np.array([4.0, 0.0, 0.0]), 0.0, 0
    for t in ts:
        while (left := begun + tau * np.log(z[active])) < t:  # z exp(-t/tau) = 1
            z = kappa * CALLS[:, active] + (z - kappa * CALLS[:, active]) / z[active]
            begun, active = left, int(np.argmax(z))
        decay = np.exp(-(t - begun) / tau)
        rows.append(kappa * CALLS[:, active] * (1 - decay) + z * decay)
    return np.array(rows)


def calls(network):
    return network.transition


def three(transition):
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), transition, kappa=5.0, tau=30.0, bias=0.01
    )


@pytest.mark.slow
def test_slopes_of_a_trace_give_the_transition_matrix_without_a_run():
    """A straight line over a third of a time constant to either side is wrong by h^2 / 10 = 1 % of
    an exponential's slope, and by a tenth where one of its eleven saves lies before a switch."""
    ts = np.linspace(0.0, 200.0, 101)
    values = piecewise(5.0, 30.0, ts)
    values[20:35] = np.nan
    loss = hx.losses.saliency_path(ts, values, init=dict(saliency=values[0]))
    start = three(CALLS + 0.3 * np.sign(np.random.default_rng(0).normal(size=(3, 3))))
    variables, _ = variables_of(start, calls, None)
    slopes = matched(Problem(start, loss, variables, True)).loss
    known = np.isfinite(slopes.slope).all(axis=1)
    assert known.sum() > 30 and not known[25:30].any()
    off = slopes(three(CALLS)).reshape(101, 3)[known]
    size = np.abs(off).max(axis=1) / np.abs(slopes.slope[known]).max(axis=1)
    assert np.median(size) < 0.012 and size.max() < 0.12
    with pytest.warns(hx.FitWarning, match="correlation of residuals"):  # lines that overlap
        found = hx.fit(start, slopes, where=calls, progress=False)
    assert_close(found.model.transition, CALLS, 0.02, "1 % of slopes up to kappa / tau")


def test_slopes_that_something_else_moves_are_not_compared():
    network = three(CALLS)
    variables, _ = variables_of(network, calls, None)
    ts, seen, init = [0.0, 1.0, 2.0], np.ones((3, 3)), dict(saliency=[4.0, 0.0, 0.0])
    moved = hx.losses.saliency_path(ts, seen, init=init, stimulus=np.ones(16))
    others = hx.losses.overlap_path(ts, seen, init=init)
    rested = hx.losses.saliency_path(ts, seen, init=init | dict(weights=[4.0, 0.0, 0.0]))
    for loss in (moved, others, rested, lambda net: net.kappa):
        assert matched(Problem(network, loss, variables, True)) is None


@pytest.mark.slow
def test_a_transition_matrix_is_found_from_a_trace_with_noise_and_a_gap():
    network, state = zoo.cycle(P=3, N=16, kappa=4.6, tau=30.0, bias=0.015)
    ts = jnp.linspace(0.0, 330.0, 111)
    noise, moves = (jr.normal(jr.key(k), shape) for k, shape in ((1, (111, 3)), (2, (3, 3))))
    values = (hx.simulate(network, state, ts).saliency + 0.15 * noise).at[40:55].set(jnp.nan)
    loss = hx.losses.saliency_path(ts, values, init=START, sigma=0.15)
    guess = eqx.tree_at(calls, network, network.transition + 0.3 * jnp.sign(moves))
    options = dict(where=calls, absolute_sigma=True, progress=False)
    with pytest.warns(hx.FitWarning, match="this is a false minimum"):
        hx.fit(guess, loss, starts=1, **options)
    found = hx.fit(guess, loss, **options)
    assert found.ending == "converged"
    assert float(found.loss) <= float(hx.losses.value(loss(network)))
    off = (np.asarray(found.values) - np.asarray(network.transition).ravel()) / found.stderr
    assert np.abs(off).max() < 4, "four standard errors"
