"""Fitting sequences: designs that are exact, strategies that find them, and what is said if not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

KAPPA, TAU, BIAS = 6.0, 20.0, 0.01


def network(P, transition=None, *, N=None, kappa=KAPPA, tau=TAU):
    """A network of P orthogonal memories that knows nothing of a sequence."""
    N = max(16, 1 << P.bit_length()) if N is None else N
    transition = jnp.zeros((P, P)) if transition is None else transition
    patterns = hx.patterns.hadamard(list(range(1, P + 1)), N)
    return hx.TwoTimescaleHopfield(patterns, transition, kappa=kappa, tau=tau, bias=BIAS)


def random_order(P, seed):
    return np.random.default_rng(seed).permutation(P)


def random_columns(P, seed):
    """Columns of a random stochastic matrix."""
    return jax.nn.softmax(jr.normal(jr.key(seed), (P, P)), axis=0)


def shown(found, order, rounds=2):
    """What a run of the fitted network visits, made here apart from the library's own proof."""
    net = found.network
    length = rounds * len(order) * 2.5 * TAU
    state = net.init(saliency=found.saliency[0])
    method = hx.EventDriven(switches=256)
    run = hx.simulate(net, state, jnp.array([0.0, length]), method=method)
    return hx.observables.visited(run)[: rounds * len(order) + 1].tolist()


# Designs


@pytest.mark.slow
@pytest.mark.parametrize("P", [3, 4, 5, 8])
def test_a_cycle_of_equal_dwells_is_the_closed_form(P):
    period = P * 1.4 * 50.0
    found = hx.design_cycle(np.arange(P), 1.4 * 50.0, tau=50.0)
    kappa = hx.theory.sequential.gain_for_period(period, P, 50.0)
    assert_close(found.kappa, kappa, 1e-10, "machine precision")
    assert_close(found.transition, hx.cyclic(P), 1e-14, "machine precision")
    fixed = hx.theory.sequential.fixed_points(found.kappa, P).upper
    assert_close(P * 50.0 * jnp.log(fixed), period, 1e-9, "back to the period, a root")
    assert found.multiplier < 1


def test_a_cycle_of_unequal_dwells_is_exact_in_the_singular_limit():
    order, dwell = [2, 0, 4, 1], np.array([20.0, 31.0, 24.0, 40.0])
    found = hx.design_cycle(order, dwell, P=5, tau=25.0)
    path = hx.theory.sequential.itinerary(
        found.transition, found.kappa, 25.0, found.saliency[0], 13
    )
    assert path.memory.tolist() == (3 * order + order[:1])
    assert_close(jnp.diff(path.time), jnp.tile(dwell, 3), 1e-10, "machine precision")
    assert found.transition.max() == 1.0 and int((found.transition != 0).sum()) == 4
    # And it is attracted to it: deviations shrink by the multiplier in each round.
    off = found.saliency[0].at[2].add(0.1)
    path = hx.theory.sequential.itinerary(found.transition, found.kappa, 25.0, off, 21)
    errors = jnp.abs(jnp.diff(path.time).reshape(5, 4) - dwell).max(axis=1)
    rate = (errors[4] / errors[1]) ** (1 / 3)  # the multipliers may be complex: on the average
    assert rate == pytest.approx(float(found.multiplier), rel=0.25)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_designs_are_named():
    with pytest.raises(ValueError, match="every memory once"):
        hx.design_cycle([0, 1, 0, 2], 1.0)
    with pytest.raises(ValueError, match="`dwell` must be > 0"):
        hx.design_cycle([0, 1, 2], [1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="`dwell` must be a number or have shape"):
        hx.design_cycle([0, 1, 2], [1.0, 1.0])
    with pytest.raises(ValueError, match="names memory 3, but there are 3"):
        hx.design_cycle([0, 1, 3], 1.0, P=3)


@pytest.mark.slow
# 64 memories take longer than all other tests of designs together; 4 and 16 are designed alike
@pytest.mark.parametrize("P", [4, 16, pytest.param(64, marks=pytest.mark.long)])
def test_designs_of_random_cycles_are_exact(P):
    order = random_order(P, P)
    found = hx.fit_sequence(network(P), order, strategy="design", progress=False)
    assert found.reproduced and [stage.name for stage in found.stages] == ["design"]
    assert shown(found, order) == (2 * order.tolist() + order[:1].tolist())


@pytest.mark.slow
def test_a_gain_that_is_too_small_is_made_up_for_by_the_matrix():
    found = hx.fit_sequence(network(4, kappa=0.5), [0, 2, 1, 3], progress=False)
    assert found.reproduced and found.network.kappa == 0.5
    assert float(found.network.transition.max()) == pytest.approx(10.0)


# Strategies


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["surrogate", "gradient"])
def test_an_order_is_learnt_from_random_columns(strategy):
    """No closed form to start from: all of four seeds for P = 4 (the benchmark counts hundreds)."""
    for seed in range(4):
        order = random_order(4, seed)
        start = network(4, random_columns(4, seed))
        found = hx.fit_sequence(start, order, strategy=strategy, progress=False)
        assert found.reproduced, (seed, str(found))
        assert shown(found, order) == (2 * order.tolist() + order[:1].tolist())
        for leaf in jax.tree.leaves(eqx.filter(found.fit, eqx.is_inexact_array)):
            assert not np.isnan(np.asarray(leaf)).all() or leaf.ndim  # the log is padded with NaN
        assert np.isfinite(found.network.transition).all()


@pytest.mark.slow
@pytest.mark.parametrize("start", ["zero", "uniform", "locking", "wrong"])
def test_the_default_does_not_fall_into_the_known_traps(start):
    """Uniform and locking matrices, from which nothing moves and overlaps have no gradient."""
    matrices = {
        "zero": jnp.zeros((4, 4)),
        "uniform": jnp.full((4, 4), 0.25),
        "locking": jnp.eye(4),
        "wrong": hx.cyclic(4),
    }
    found = hx.fit_sequence(network(4, matrices[start]), [0, 2, 1, 3], progress=False)
    assert found.reproduced and np.isfinite(found.network.transition).all()


# Times


@pytest.fixture(scope="module")
def observed():
    """Six switches of a network with unequal gains."""
    order = [0, 2, 1, 3]
    gains = jnp.array([5.5, 4.8, 6.0, 5.2])
    matrix = jnp.zeros((4, 4)).at[jnp.roll(jnp.array(order), -1), jnp.array(order)].set(gains / 5)
    true = network(4, matrix, kappa=5.0)
    run = hx.simulate(true, true.init(saliency=[4.0, 0, 0, 0]), jnp.array([0.0, 210.0]))
    times = hx.observables.switch_times(run)
    visited = hx.observables.visited(run)
    starts = jnp.concatenate([jnp.zeros(1), times[:-1]])
    return true, hx.Events(visited[:-1], starts, end=times[-1])


@pytest.mark.slow
def test_gains_of_all_edges_are_recovered_from_times(observed):
    true, events = observed
    start = eqx.tree_at(lambda n: n.transition, true, jnp.zeros((4, 4)))
    found = hx.fit_sequence(start, events, saliency=[4.0, 0.0, 0.0, 0.0], progress=False)
    assert found.reproduced and found.error < 1e-6
    assert_close(found.network.transition, true.transition, 1e-6, "exact times: the solver's error")
    assert found.fit.derivative == "forward" and found.fit.labels[0].startswith("transition[")


@pytest.mark.slow
def test_a_cycle_with_times_is_steady(observed):
    dwell = np.array([25.0, 30.0, 21.0, 35.0])
    times = np.concatenate([[0.0], np.cumsum(dwell)])
    target = hx.Events([0, 2, 1, 3], times[:-1], end=times[-1], cycle=True)
    found = hx.fit_sequence(network(4), target, progress=False)
    assert found.reproduced
    assert found.error < 0.05  # the start is the design's, so the first round is not yet steady
    assert found.stages[-1].error < 0.1 * found.stages[0].error


@pytest.fixture(scope="module")
def logged():
    """Times of the first 24 switches of a cycle of three."""
    true = network(3, hx.cyclic(3), N=16)
    ts = jnp.array([0.0, 1200.0])
    run = hx.simulate(true, true.init(saliency=[4.0, 0.0, 0.0]), ts)
    return np.asarray(hx.observables.switch_times(run))[:24]


def log_of(times):
    order = np.arange(len(times)) % 3
    return hx.Events(order, np.append(0.0, times[:-1]), end=times[-1])


@pytest.mark.slow
def test_noise_in_a_long_log_makes_no_transitions(logged):
    seen = logged + 0.3 * np.random.default_rng(0).normal(size=24)
    found = hx.fit_sequence(network(3, N=16), log_of(seen), sigma=0.3, progress=False)
    assert found.reproduced and [s.name for s in found.stages] == ["design", "refinement"]
    labels = ("transition[0, 2]", "transition[1, 0]", "transition[2, 1]", "saliency[0, 0]")
    assert found.fit.labels == labels and found.fit.ending == "converged"
    off = np.asarray(found.fit.values) - np.array([1.0, 1.0, 1.0, 4.0])
    assert np.abs(off / np.asarray(found.fit.stderr)).max() < 4, "four standard errors"
    figure = hx.plots.fit(found.fit)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:3] == ["data and model", "residuals", "intervals of 95 %"]
    assert "transition matrix" in titles


@pytest.mark.slow
@pytest.mark.filterwarnings("default::hopfax.FitWarning")
def test_other_transitions_are_tried_where_the_times_are_missed_by_more_than_noise(logged):
    dwells = np.diff(logged, prepend=0.0) * np.tile([1.0, 1.0, 1.0, 0.7, 1.0, 1.2], 4)
    found = hx.fit_sequence(network(3, N=16), log_of(np.cumsum(dwells)), progress=False)
    names = [stage.name for stage in found.stages]
    assert names[:4] == ["design", "refinement"] * 2
    assert found.error <= found.stages[1].error or np.isnan(found.stages[1].error)


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.5, 2.0, 3.0, 8.0, 30.0])
def test_kappa_is_recovered_from_any_start(observed, kappa):
    true, events = observed
    start = eqx.tree_at(lambda n: n.kappa, true, jnp.asarray(kappa))
    found = hx.fit_sequence(
        start,
        events,
        where=lambda n: n.kappa,
        constraint=hx.constraints.Positive(),
        saliency=[4.0, 0.0, 0.0, 0.0],
        progress=False,
    )
    assert_close(found.network.kappa, 5.0, 1e-8, "exact times: the solver's error")
    assert [stage.name for stage in found.stages] == ["surrogate", "refinement"]


# Beyond cycles


@pytest.mark.slow
def test_the_past_decides_at_a_branch():
    """After memory 2 comes 3 if 0 came before, and 4 if 1 did: beyond any first-order chain."""
    targets = [hx.Events([0, 2, 3]), hx.Events([1, 2, 4])]
    found = hx.fit_sequence(network(5), targets, progress=False)
    assert found.reproduced
    for start, order in zip(found.saliency, ([0, 2, 3], [1, 2, 4]), strict=True):
        state = found.network.init(saliency=start)
        run = hx.simulate(found.network, state, jnp.array([0.0, 200.0]))
        assert hx.observables.visited(run)[:3].tolist() == order
    assert np.count_nonzero(start) == 1  # no hint is hidden in the starts


@pytest.mark.slow
def test_an_input_decides_at_a_branch():
    """Both successors are called alike; a weak current along one of them is the cue."""
    matrix = jnp.zeros((4, 4)).at[1, 0].set(1.0).at[2:, 1].set(0.8)
    net = network(4, matrix, kappa=5.0)
    start = net.init(saliency=[4.0, 0.0, 0.0, 0.0])
    for cue in (2, 3):
        current = 0.05 * net.patterns.xi[cue]
        run = hx.simulate(net, start, jnp.array([0.0, 90.0]), current=current)
        assert hx.observables.visited(run)[:3].tolist() == [0, 1, cue]


@pytest.mark.slow
def test_a_memory_may_occur_twice_in_a_cycle():
    """0 1 0 2: what comes after 0 is told by what came before it."""
    target = hx.Events([0, 1, 0, 2], cycle=True)
    found = hx.fit_sequence(network(3), target, progress=False)
    assert found.reproduced
    assert shown(found, [0, 1, 0, 2])[:8] == [0, 1, 0, 2, 0, 1, 0, 2]


@pytest.mark.slow
def test_what_cannot_be_shown_is_said():
    """The same three memories lead to different ones: no gains do that."""
    target = hx.Events([0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3, 0, 1, 2, 4])
    with pytest.warns(hx.FitWarning, match="transitions are reproduced. A memory with"):
        options = dict(strategy="design", memory="transition", progress=False)
        found = hx.fit_sequence(network(5), target, **options)
    assert not found.reproduced and np.isfinite(found.network.transition).all()


# Bad input


KNOWN = hx.losses.prior(lambda net: net.transition, sigma=0.1)


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("target", "options", "error", "match"),
    [
        ([0, 5], {}, ValueError, "names memory 5, but there are 4"),
        ([0, 1, 2], dict(strategy="best"), ValueError, "`strategy` must be one of"),
        (
            [0, 1],
            dict(strategy="design", where=lambda n: n.kappa),
            ValueError,
            "`where` is not for strategy='design'",
        ),
        ([0, 1, 2], dict(saliency=[1.0, 2.0]), ValueError, "`saliency` must have shape"),
        (
            [hx.Events([0, 1]), hx.Events([0, 1], [0.0, 1.0])],
            {},
            ValueError,
            "either all sequences have times, or none",
        ),
        ([0, 1, 2], dict(prior=0.5), TypeError, "`prior` must be a loss of the network"),
        ([0, 1, 2], dict(prior=KNOWN), ValueError, "`prior` stands beside times"),
        (
            hx.Events([0, 1], [0.0, 1.0]),
            dict(prior=KNOWN),
            ValueError,
            "`prior` needs absolute_sigma=True",
        ),
    ],
)
def test_bad_arguments_are_named(target, options, error, match):
    with pytest.raises(error, match=match):
        hx.fit_sequence(network(4), target, **options)
    with pytest.raises(TypeError, match="`network` must be a TwoTimescale.*, got Hopfield"):
        hx.fit_sequence(hx.Hopfield(hx.patterns.hadamard(3, 8)), [0, 1, 2])


def test_several_orders_without_events_are_told_how():
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 8), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
    )
    with pytest.raises(ValueError, match="`target` .* a list of hopfax.Events where there are sev"):
        hx.fit_sequence(network, [[0, 1, 2], [0, 2, 1]])
