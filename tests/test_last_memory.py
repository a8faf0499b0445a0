"""What is known of the last memory of a sequence is fitted like all else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax._fit._proof import compare

INIT = dict(saliency=jnp.array([4.0, 0.0, 0.0, 0.0]))
NETWORK = hx.TwoTimescaleHopfield(
    hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
)


@pytest.fixture(scope="module")
def run():
    return hx.simulate(NETWORK, NETWORK.init(**INIT), jnp.array([0.0, 110.0]))


@pytest.fixture(scope="module")
def times(run):
    return np.asarray(hx.observables.switch_times(run))  # 30.85, 61.18, 91.40


def test_a_memory_that_leaves_too_early_is_a_residual(times):
    """The third switch comes at 91.4: before 95 it contradicts the data, after 80 it does not."""
    for order in (None, [1, 2]):
        for until, early in ((95.0, times[2] - 95.0), (80.0, 0.0), (90.0, 0.0)):
            loss = hx.losses.switch_times(times[:2], init=INIT, order=order, until=until, sigma=0.5)
            found = loss(NETWORK)
            assert_close(found, [0.0, 0.0, early / 0.5], 1e-6, "tolerance of the run")
    several = hx.losses.switch_times(times[:2], init=INIT, until=95.0, sigma=[0.5, 2.0])
    assert_close(several(NETWORK)[2], (times[2] - 95.0) / 2.0, 1e-6, "the last sigma")


def test_only_until_is_a_datum_of_the_time_after_the_last_switch(times):
    """The third switch, at 91.4, is no residual however long the run is, unless `until` says so."""
    for end in (85.0, 110.0):
        loss = hx.losses.switch_times(times[:2], init=INIT, end=end)
        assert_close(loss(NETWORK), [0.0, 0.0], 1e-6, "tolerance of the run")
    watched = hx.losses.switch_times(times[:2], init=INIT, end=110.0, until=110.0)
    assert_close(watched(NETWORK)[2], times[2] - 110.0, 1e-6, "tolerance of the run")


@pytest.mark.slow
def test_the_loss_of_the_order_sees_no_times():
    def loss(*times, **options):
        return float(hx.losses.order(hx.Events([0, 1, 2], *times, **options), P=4)(NETWORK))

    seen = [0.0, 30.0, 60.0]
    assert loss() == loss(seen) == loss(seen, end=61.0) == loss(seen, until=900.0)


@pytest.mark.slow
def test_its_derivative_is_that_of_the_switch(times):
    def of(until):
        loss = hx.losses.switch_times(times[:2], init=INIT, until=until)
        return lambda k: loss(with_kappa(k), derivative="forward")[2]

    late, early = (jax.jvp(of(u), (jnp.asarray(5.0),), (jnp.asarray(1.0),)) for u in (80.0, 95.0))
    assert late[1] == 0.0
    h = 1e-4
    difference = (of(95.0)(jnp.asarray(5 + h)) - of(95.0)(jnp.asarray(5 - h))) / (2 * h)
    assert_close(early[1], difference, 1e-4 * abs(float(difference)), "a difference of order h^2")


def with_kappa(kappa):
    return hx.TwoTimescaleHopfield(
        NETWORK.patterns, NETWORK.transition, kappa=kappa, tau=20.0, bias=0.01
    )


def test_the_comparison_of_a_run_counts_the_end(run, times):
    memory, begin = [0, 1, 2], [0.0, *times[:2]]
    for options, error in (
        ({}, 0.0),
        (dict(end=times[2]), 0.0),
        (dict(end=times[2] + 7.0), 7.0),
        (dict(end=times[2] - 7.0), 7.0),
        (dict(until=times[2] - 7.0), 0.0),
        (dict(until=times[2] + 7.0), 7.0),
    ):
        score, found = compare(run, hx.Events(memory, begin, **options))
        assert score == 1.0
        assert_close(found, error, 1e-6, "tolerance of the run")
    # The last memory does not give way in the run: it does so after its end, 110, at the earliest.
    late = hx.Events([0, 1, 2, 3], [0.0, *times], end=times[2] + 10.0)
    assert_close(compare(run, late)[1], 110.0 - times[2] - 10.0, 1e-9, "the end of the run")


def test_the_event_map_sees_the_last_dwell():
    start = [4.0, 0.0, 0.0, 0.0]

    def residuals(**options):
        target = hx.Events([0, 1], [0.0, 30.0], **options)
        return np.asarray(hx.losses.event_map(target, saliency=start)(NETWORK))

    plain = residuals()
    found = {u: residuals(until=u)[plain.size :] for u in (31.0, 300.0)}
    exact = {u: residuals(end=u)[plain.size :] for u in (31.0, 300.0)}
    assert (residuals(end=31.0)[: plain.size] == plain).all()
    assert exact[31.0][0] > 10 and found[31.0][0] == 0  # it stays longer than that
    assert exact[300.0][0] < -100 and found[300.0][0] == exact[300.0][0]
    assert (exact[31.0][1:] == 0).all()  # nobody in particular follows


def test_ends_that_mean_nothing_are_refused():
    for options, message in (
        (dict(time=None, end=5.0), "`end` is a time"),
        (dict(time=None, until=5.0), "`until` is a time"),
        (dict(time=[0.0, 1.0], end=5.0, until=5.0), "not with `end`"),
        (dict(time=[0.0, 1.0], end=5.0, until=5.0, cycle=True), "not for a `cycle`"),
        (dict(time=[0.0, 1.0], until=0.5), "`end` or `until` come last"),
        (dict(time=[0.0, np.inf]), "finite, but entry 1 is inf"),
        (dict(time=[np.nan, 1.0]), "finite, but entry 0 is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            hx.Events([0, 1], **options)
    with pytest.raises(ValueError, match="`until` must have shape"):
        hx.losses.switch_times([1.0], init=INIT, until=[1.0, 2.0])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["auto", "surrogate"])
def test_the_end_of_a_sequence_is_fitted(strategy):
    """Memory 3 gave way at about 218 where 260 was asked for, and nobody said so."""
    seen = hx.Events([0, 1, 2, 3], [0.0, 60.0, 125.0, 190.0], end=260.0)
    network = hx.TwoTimescaleHopfield(
        NETWORK.patterns, NETWORK.transition, kappa=5.0, tau=50.0, bias=0.01
    )
    found = hx.fit_sequence(network, seen, strategy=strategy, progress=False)
    run = hx.simulate(
        found.network, found.network.init(saliency=found.saliency[0]), jnp.array([0.0, 300.0])
    )
    assert found.reproduced
    assert_close(hx.observables.switch_times(run)[:4], [60.0, 125.0, 190.0, 260.0], 1e-6, "exact")
    assert found.error < 1e-6 and "the order is reproduced" in str(found)


@pytest.mark.slow
def test_times_that_are_far_off_are_said_to_be():
    """One gain cannot keep three dwells of 20, 60 and 30."""
    seen = hx.Events([0, 1, 2, 3], [0.0, 20.0, 80.0, 110.0])
    with pytest.warns(
        hx.FitWarning, match=r"order is reproduced, but the times are off by .* sigma"
    ):
        found = hx.fit_sequence(
            NETWORK, seen, where=lambda n: n.kappa, saliency=INIT["saliency"], progress=False
        )
    assert found.reproduced and found.deviation > 4 and found.error == found.deviation
    assert "the order is reproduced" in str(found) and "sigma" in str(found)
