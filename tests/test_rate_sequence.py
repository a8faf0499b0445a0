"""Sequences of a rate memory with two timescales: designed, refined, and fitted by `hx.fit`."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

PATTERNS = hx.patterns.sunflower(4, 0.2, 0.2, 50)
SATURATING = dict(kappa=2.0, tau=40.0, bias=0.1, activation=hx.HardSigmoid(4.8, 0.2))


def memory(**options):
    return hx.TwoTimescaleRateMemory(PATTERNS, hx.cyclic(4), **{**SATURATING, **options})


def shown(network, saliency, end):
    run = hx.simulate(network, network.init(saliency=saliency), jnp.array([0.0, end]))
    return np.asarray(hx.observables.visited(run)), np.asarray(hx.observables.switch_times(run))


def test_a_cycle_is_designed():
    found = hx.fit_sequence(memory(), [0, 2, 1, 3], progress=False)
    assert found.reproduced and found.memory == "transition" and len(found.stages) == 1
    visited, _ = shown(found.network, found.saliency[0], 500.0)
    assert visited[:6].tolist() == [0, 2, 1, 3, 0, 2]
    assert float(found.network.kappa) == 2.0


@pytest.mark.slow
def test_times_are_refined():
    """At a bias of 0.2 memories give way before the critical saliency: the design is off by a part
    of a dwell, and least squares on the switch times of the run are not."""
    seen = hx.Events([0, 2, 1, 3], [0.0, 60.0, 105.0, 170.0], end=220.0)
    found = hx.fit_sequence(memory(bias=0.2), seen, progress=False)
    first, second = found.stages
    assert first.name == "design" and first.score == 1.0 and first.error > 5
    assert second.name == "refinement" and found.error < 1e-3
    visited, times = shown(found.network, found.saliency[0], 240.0)
    assert visited[:4].tolist() == [0, 2, 1, 3]
    assert_close(times[:4], [60.0, 105.0, 170.0, 220.0], 1e-3, "tolerance of the fit")


@pytest.mark.slow
def test_what_the_messages_advise_works():
    """`hx.fit` with losses.switch_times takes `where`."""
    network = memory(kappa=2.2)
    start = dict(saliency=jnp.array([1.5, 0.0, 0.0, 0.0]))
    _, times = shown(network, start["saliency"], 200.0)
    with pytest.raises(ValueError, match=r"`where` .*hopfax.fit .*losses.switch_times"):
        hx.fit_sequence(network, [0, 1, 2, 3], where=lambda n: n.kappa)
    loss = hx.losses.switch_times(times[:3], init=start, order=[1, 2, 3])
    found = hx.fit(memory(kappa=2.5), loss, where=lambda n: n.kappa, progress=False)
    assert_close(found.model.kappa, 2.2, 1e-4, "tolerance of the fit")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_is_not_there_for_rates_is_said():
    network = memory()
    for options, match in (
        (dict(memory="contexts"), "of firing rates only 'transition'"),
        (dict(strategy="surrogate"), "of firing rates hopfax.fit fits all else"),
        (dict(constraint=hx.constraints.Positive()), "`constraint` is for a TwoTimescaleHopfield"),
    ):
        with pytest.raises(ValueError, match=match):
            hx.fit_sequence(network, [0, 1, 2, 3], **options)
    with pytest.raises(ValueError, match="memory 1 follows itself"):
        hx.fit_sequence(network, hx.Events([0, 1, 1, 2]))
    with pytest.raises(TypeError, match="TwoTimescaleRateMemory: only these move by themselves"):
        hx.fit_sequence(hx.RateMemory(PATTERNS), [0, 1, 2, 3])
    linear = eqx.tree_at(lambda n: n.activation, network, hx.ThresholdLinear(4.8, 0.2))
    with pytest.raises(ValueError, match="at which saliency its memories end"):
        hx.fit_sequence(linear, [0, 1, 2, 3])
