"""Losses: what they measure, that their gradients are right, and where these vanish."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax import losses

EXACT = hx.EventDriven(order=24, tol=1e-14)
INIT = dict(saliency=[4.0, 0.0, 0.0])
END = 95.0


@pytest.fixture(scope="module")
def run():
    """A cycle of three memories and what was seen of it: three switches."""
    network, state = zoo.cycle(P=3, N=16, kappa=5.0, tau=20.0, bias=0.02)
    ts = jnp.linspace(0.0, END, 24)
    trajectory = hx.simulate(network, state, ts, method=EXACT, observe=_field)
    return network, trajectory, hx.observables.switch_times(trajectory)


def _field(t, state, network):
    return state.field


def of_run(trajectory, times, **options):
    """Every loss of a run, with the run's own observations."""
    ts = trajectory.ts
    options = dict(init=INIT, end=END, **options)
    return {
        "switch_times": losses.switch_times(times, order=[1, 2, 0], **options),
        "dwell_times": losses.dwell_times(jnp.diff(times), order=[1, 2, 0], **options),
        "saliency_path": losses.saliency_path(ts, trajectory.saliency, **options),
        "overlap_path": losses.overlap_path(ts, trajectory.overlaps, **options),
        "field_path": losses.field_path(ts, trajectory.observed, **options),
    }


@pytest.mark.slow
def test_a_network_has_no_residuals_against_itself(run):
    network, trajectory, times = run
    loss = losses.same_run(*of_run(trajectory, times, method=EXACT).values())
    found = loss(network)
    assert found.size == 3 + 2 + 24 * (3 + 3 + 16)
    assert_close(found, jnp.zeros_like(found), 1e-9, "one solution")


@pytest.mark.slow
def test_residuals_are_differences_in_units_of_sigma(run):
    network, trajectory, times = run
    late = losses.switch_times(times - 3.0, init=INIT, sigma=jnp.array([1.0, 2.0, 3.0]))
    assert_close(late(network), jnp.array([3.0, 1.5, 1.0]), 1e-6, "the default tolerance")
    seen = trajectory.saliency.at[5:].set(jnp.nan)  # not observed
    path = losses.saliency_path(trajectory.ts, seen + 1.0, init=INIT, sigma=0.5)
    expected = jnp.where(jnp.arange(24 * 3) < 15, -2.0, 0.0)
    assert_close(path(network), expected, 1e-6, "the default tolerance")


@pytest.mark.slow
def test_a_switch_that_fails_to_come_counts_as_one_at_the_end(run):
    network, _, times = run
    loss = losses.switch_times(times, init=INIT, end=END)

    def at(kappa):
        return loss(eqx.tree_at(lambda n: n.kappa, network, kappa), derivative="forward")

    found, slope = jax.jvp(at, (jnp.asarray(0.5),), (jnp.ones(()),))
    assert_close(found, END - times, 1e-12, "a difference")
    assert_close(slope, jnp.zeros(3), 0.0, "nothing to be learned there")
    wrong = losses.switch_times(times, init=INIT, order=[1, 0, 0], end=END)
    assert_close(wrong(network)[1:], END - times[1:], 1e-12, "from the first wrong one on")
    assert abs(float(wrong(network)[0])) < 1e-6


@pytest.mark.slow
def test_losses_add_and_can_be_weighed(run):
    network, _, times = run
    a = losses.switch_times(times - 1.0, init=INIT)
    b = losses.switch_times(times - 2.0, init=INIT)
    number = losses.order([0, 1, 2], P=3)
    total = a + 3.0 * b
    expected = losses.value(a(network)) + 3.0 * losses.value(b(network))
    assert_close(losses.value(total(network)), expected, 1e-9, "rounding")
    assert total(network).shape == (6,)
    mixed = total + 2.0 * number
    assert_close(mixed(network), expected + 2.0 * number(network), 1e-9, "rounding")


def test_losses_of_one_run_are_simulated_once(run):
    network, trajectory, times = run
    found = of_run(trajectory, times)
    both = losses.same_run(found["switch_times"], found["saliency_path"])
    parts = [found["switch_times"](network), found["saliency_path"](network)]
    assert_close(both(network), jnp.concatenate(parts), 1e-6, "the default tolerance")
    other = losses.switch_times(times, init=dict(saliency=[3.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="begin alike"):
        losses.same_run(found["switch_times"], other)


@pytest.mark.slow
def test_more_switches_than_a_run_logs_by_default_can_be_fitted():
    network, state = zoo.cycle(P=3, N=16, kappa=5.0, tau=5.0, bias=0.02)
    method = hx.EventDriven(switches=128)
    trajectory = hx.simulate(network, state, jnp.array([0.0, 800.0]), method=method)
    times = hx.observables.switch_times(trajectory)
    assert times.size > 70
    loss = losses.switch_times(times, init=INIT, end=800.0)
    assert_close(loss(network), jnp.zeros(times.size), 1e-9, "the same run")


# Gradients


def _direction(network):
    """A random direction in the space of all parameters."""
    leaves, structure = jax.tree.flatten(eqx.filter(network, eqx.is_inexact_array))
    keys = jr.split(jr.key(3), len(leaves))
    steps = [jr.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    if network.patterns.binary:
        steps[0] = jnp.zeros_like(steps[0])
    return jax.tree.unflatten(structure, steps)


def _slopes(loss, network, weights, h, derivatives=("reverse", "forward")):
    """The derivative of weighted sums of residuals along a direction, by each mode and, first, by
    differences of sixth order."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    direction = _direction(network)

    def total(arrays, derivative="reverse"):
        return weights @ loss(eqx.combine(arrays, rest), derivative=derivative)

    def reverse(arrays):
        _, pull = jax.vjp(total, arrays)
        (gradient,) = jax.vmap(pull)(jnp.eye(len(weights)))
        products = jax.tree.map(
            lambda g, d: (g * d).reshape(len(weights), -1).sum(1), gradient, direction
        )
        return sum(jax.tree.leaves(products))

    def forward(arrays):
        return jax.jvp(lambda a: total(a, "forward"), (arrays,), (direction,))[1]

    at = jax.jit(lambda step: total(jax.tree.map(lambda a, d: a + step * d, arrays, direction)))
    modes = {"reverse": reverse, "forward": forward}
    found = [jax.jit(modes[name])(arrays) for name in derivatives]
    if h is not None:
        rows = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
        found.insert(0, sum(w * (at(k * h) - at(-k * h)) / h for k, w in rows.items()))
    return found


def _loose(network):
    """With patterns that may move, no two neurons alike: else a direction that parts neurons which
    meet their kinks together is one in which differences converge only linearly."""
    xi = network.patterns.xi + 0.1 * jr.normal(jr.key(5), network.patterns.xi.shape)
    return eqx.tree_at(lambda n: n.patterns, network, hx.Patterns(xi))


def _blocks(sizes):
    """One random weighted sum for each block of residuals."""
    rows, weights = len(sizes), jr.normal(jr.key(4), (sum(sizes),))
    block = jnp.repeat(jnp.arange(rows), jnp.array(sizes), total_repeat_length=sum(sizes))
    return jnp.where(block == jnp.arange(rows)[:, None], weights, 0.0)


@pytest.mark.slow
@pytest.mark.long
def test_gradients_agree_with_differences_of_the_exact_run(run):
    """Of every loss of a run, in all parameters at once, by both modes. Overlaps are looked at
    within a switch, where they have a gradient."""
    network, trajectory, times = run
    parts = of_run(trajectory, times + 0.3, method=EXACT)
    ts = times[1] + jnp.linspace(-1.5, 1.5, 7)
    parts["overlap_path"] = losses.overlap_path(ts, jnp.zeros((7, 3)), init=INIT, end=END)
    loss = losses.same_run(*parts.values())
    sizes = {"switch_times": 3, "dwell_times": 2, "saliency_path": 72, "overlap_path": 21}
    weights = _blocks([*sizes.values(), 24 * 16])
    differences, reverse, forward = _slopes(loss, _loose(network), weights, 1e-4)
    for name, a, b, c in zip(parts, differences, reverse, forward, strict=True):
        assert abs(b - c) <= 1e-9 * abs(b), (name, b, c)
        assert abs(a - b) <= 1e-7 * abs(b), (name, a, b)


@pytest.mark.slow
def test_gradients_with_128_classes():
    """Beyond 64 classes transits are Runge-Kutta steps, so the bound is that of their tolerance."""
    network, _ = zoo.cycle(P=8, N=256, kappa=5.0, tau=20.0, bias=0.02 + 0.001 * jnp.arange(8.0))
    init = dict(saliency=4.0 * jnp.eye(8)[0])
    loss = losses.switch_times([31.0, 61.0], init=init, end=80.0)
    exact = losses.switch_times([31.0, 61.0], init=init, end=80.0, method=hx.EventDriven(tol=1e-14))
    weights = jnp.array([[1.0, -0.4]])
    (reverse,) = _slopes(loss, network, weights, None, ["reverse"])
    (differences,) = _slopes(exact, network, weights, 1e-5, [])
    assert abs(differences[0] - reverse[0]) <= 1e-4 * abs(reverse[0]), (differences, reverse)


@pytest.mark.slow
def test_gradients_with_noise_on_a_fixed_path():
    network, _ = zoo.cycle(P=3, N=16, kappa=5.0, tau=20.0, bias=0.02)
    ts = jnp.linspace(0.0, 40.0, 9)
    loss = losses.saliency_path(
        ts, jnp.zeros((9, 3)), init=INIT, noise=0.1, key=jr.key(0), method=hx.Diffrax(dt0=0.05)
    )
    differences, reverse = _slopes(loss, _loose(network), _blocks([27]), 1e-7, ["reverse"])
    assert abs(differences[0] - reverse[0]) <= 1e-4 * abs(reverse[0]), (differences, reverse)


# The order of memories


def _with(network, transition, kappa=6.0):
    return eqx.tree_at(
        lambda n: (n.transition, n.kappa),
        network,
        (jnp.asarray(transition), jnp.asarray(kappa)),
    )


@pytest.fixture(scope="module")
def four():
    return zoo.cycle(P=4, N=16, kappa=6.0, tau=20.0, bias=0.01)[0]


@pytest.mark.slow
def test_the_order_loss_learns_from_any_matrix_and_sees_a_lock(four):
    """A uniform matrix of gain 6 locks (6/4 > 1): overlaps stand still, saliencies do not. And a
    memory that holds itself never gives way, however strongly its successor is charged."""
    loss = losses.order([0, 2, 1, 3], P=4)
    value = jax.jit(jax.value_and_grad(lambda A: loss(_with(four, A))))
    for start in (jnp.full((4, 4), 0.25), jnp.eye(4)):
        number, gradient = value(start)
        assert number > 0.5
        for source, target in ((0, 2), (2, 1), (1, 3), (3, 0)):
            column = gradient[:, source]
            assert int(jnp.argmin(column)) == target and column[target] < -1e-3
            assert column[source] > 0  # and away from holding itself
    right = jnp.zeros((4, 4)).at[jnp.array([2, 1, 3, 0]), jnp.array([0, 2, 1, 3])].set(1.0)
    assert value(right)[0] < 0.05
    locking = _with(four, right + jnp.eye(4))
    number, gradient = value(right + jnp.eye(4))
    assert number > 0.5 and jnp.diagonal(gradient).min() > 0.01
    run = hx.simulate(locking, locking.init(saliency=[4.0, 0, 0, 0]), jnp.array([0.0, 200.0]))
    assert hx.observables.switch_times(run).size == 0


def test_the_event_map_is_that_of_the_itinerary():
    """Two derivations of the singular limit: the forced map has no residual on the free one."""
    transition = jnp.array([[0.05, 0.1, 1.0], [1.0, 0.0, 0.2], [0.4, 1.0, -0.1]])
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 8), transition, kappa=[4.5, 5.0, 5.5], tau=[18.0, 20.0, 25.0]
    )
    start = jnp.array([4.0, 0.3, 0.1])
    path = hx.theory.sequential.itinerary(transition, network.kappa, network.tau, start, 7)
    events = hx.Events(path.memory[:-1], path.time[:-1], end=path.time[-1])
    loss = losses.event_map(events, saliency=start, margin=0.01)
    assert path.memory.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert_close(loss(network), jnp.zeros(6 * 6), 1e-10, "machine precision, over six dwells")
    late = losses.event_map(events, saliency=start, margin=0.01, delay=2.0, sigma=0.5)
    blind = hx.Events(path.memory)
    free = losses.event_map(blind, saliency=start, margin=0.01)
    assert_close(free(network), jnp.zeros(6 * 6), 1e-10, "no margin is violated")
    assert late(network)[0] == pytest.approx(4.0, abs=1e-9)


def test_the_event_map_has_a_gradient_where_the_network_locks_or_errs(four):
    loss = losses.event_map(hx.Events([0, 2, 1, 3, 0]), saliency=jnp.array([4.0, 0, 0, 0]))
    for start in (jnp.zeros((4, 4)), jnp.full((4, 4), 0.25), jnp.eye(4), hx.cyclic(4)):
        gradient = jax.grad(lambda A: losses.value(loss(_with(four, A))))(start)
        assert jnp.isfinite(gradient).all() and gradient[2, 0] < 0
        if start[0, 0] > 1 / 6:
            assert gradient[0, 0] > 0


@pytest.mark.slow
def test_long_traces_are_cut_into_windows(run):
    network, trajectory, _ = run
    state = network.init(saliency=INIT["saliency"])
    ts = jnp.linspace(0.0, 240.0, 97)
    long = hx.simulate(network, state, ts)
    windows = losses.shooting(ts, long.saliency, windows=3)
    found = losses.each(network, windows)
    assert found.shape == (3, 33 * 3)
    # No window starts within a switch; each starts with the field at rest, but for a lag of 1/tau.
    assert jnp.abs(found).max() < 0.2
    alone = losses.shooting(ts, long.saliency, windows=1)
    assert jax.tree.leaves(alone)[0].shape[0] == 1
    with pytest.raises(ValueError, match="at least two saves"):
        losses.shooting(ts, long.saliency, windows=100)


# Bad input


def test_recordings_and_pulses_are_made_inside_a_compiled_program():
    """As in many fits side by side, where the values are traced and the times are known."""
    ts, edges = jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0, 2.0])

    def made(values):
        pulses = hx.Pulses(edges, values)
        return hx.losses.overlap_path(ts, values, init=dict(weights=jnp.ones(4)), current=pulses)

    found = eqx.filter_jit(made)(jnp.ones((2, 4)))
    leaves = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(found)]
    assert ts.tolist() in leaves and edges.tolist() in leaves


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_arguments_are_named():
    good = dict(init=INIT)
    with pytest.raises(ValueError, match="`times` must be a vector"):
        losses.switch_times([[1.0]], **good)
    with pytest.raises(ValueError, match="`times` holds no finite"):
        losses.switch_times([np.nan], **good)
    with pytest.raises(ValueError, match="`sigma` must be > 0"):
        losses.switch_times([1.0], sigma=0.0, **good)
    with pytest.raises(ValueError, match="`order` must name the memory"):
        losses.switch_times([1.0, 2.0], order=[1], **good)
    with pytest.raises(TypeError, match="`init` must be a dict"):
        losses.switch_times([1.0], init=[4.0, 0.0])
    with pytest.raises(TypeError, match="unknown option 'ends'"):
        losses.switch_times([1.0], ends=3.0, **good)
    with pytest.raises(ValueError, match="`values` must have a row"):
        losses.saliency_path([0.0, 1.0], np.zeros((3, 3)), **good)
    with pytest.raises(ValueError, match="`ts` must not decrease"):
        losses.overlap_path([1.0, 0.0], np.zeros((2, 3)), **good)
    with pytest.raises(ValueError, match="names memory 4, but there are 4"):
        losses.order([0, 4, 1], P=4)
    with pytest.raises(ValueError, match="`saliency` must be > 1"):
        losses.order([0, 1], P=2, saliency=0.5)
    with pytest.raises(TypeError, match="`target` must be hopfax.Events"):
        losses.event_map([0, 1], saliency=np.ones(2))
    network, _ = zoo.cycle()
    wide = losses.saliency_path([0.0, 1.0], np.zeros((2, 4)), **good)
    with pytest.raises(ValueError, match="must have 3 columns for the saliency"):
        wide(network)
    with pytest.raises(ValueError, match="of one kind"):
        one, two = (losses.switch_times(np.ones(n), **good) for n in (1, 2))
        losses.stack([one, two])


# Events


def test_events_know_their_switches():
    events = hx.Events([0, 2, 1], [5.0, 25.0, 50.0], end=70.0, cycle=True)
    order, times = events.switches
    assert order.tolist() == [2, 1, 0] and times.tolist() == [25.0, 50.0, 70.0]
    assert events.dwells.tolist() == [20.0, 25.0, 20.0]
    twice = events.repeated(2)
    assert twice.memory.tolist() == [0, 2, 1, 0, 2, 1] and not twice.cycle
    assert twice.time.tolist() == [5.0, 25.0, 50.0, 70.0, 90.0, 115.0] and twice.end == 135.0
    assert np.isnan(hx.Events([0, 1], [0.0, 3.0]).dwells[-1])


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_events_are_named():
    with pytest.raises(ValueError, match="at least two indices"):
        hx.Events([0])
    with pytest.raises(ValueError, match="whole numbers, but holds 1.5 at index 1"):
        hx.Events([0.0, 1.5])
    for repeated in (hx.Events([0, 1, 1]), hx.Events([0, 1, 0], cycle=True)):  # for contexts
        with pytest.raises(ValueError, match="follows itself at entry"):
            hx.losses.order(repeated, P=2)
    with pytest.raises(ValueError, match="`memory` must hold indices from 0"):
        hx.Events([0, -1])
    with pytest.raises(ValueError, match="one entry a memory"):
        hx.Events([0, 1], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="entries 1 and 2 are 3 and 2"):
        hx.Events([0, 1, 0], [0.0, 3.0, 2.0])
    with pytest.raises(ValueError, match="`end` must say"):
        hx.Events([0, 1], [0.0, 3.0], cycle=True)


def test_events_are_read_from_a_table(tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("time,memory,sequence\n0,0,a\n1.5,2,a\n3,,a\n\n0,1,b\n2,2,b\n")
    first, second = losses.read_events(file)
    assert first.memory.tolist() == [0, 2] and first.end == 3.0
    assert second.time.tolist() == [0.0, 2.0] and second.end is None
    file.write_text("0,1\n2,0\n")
    (plain,) = losses.read_events(file)
    assert plain.memory.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("time,note\n0,1\n", "needs columns named `time` and `memory`"),
        ("time,memory\n0,1\nx,2\n", "line 3: needs a number"),
        ("time,memory\n0,1\n1,2.5\n", "line 3: needs a number"),
        ("time,memory\n0,1\n1\n", "line 3: needs 2 columns"),
        ("time,memory\n0,1\n1,\n2,0\n", "only the last row"),
        ("time,memory\n0,1\n1,1\n", "follows itself"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, match):
    file = tmp_path / "events.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=match):
        losses.read_events(file)
