"""The event-driven integrator: against the reference, itself at other orders, and differences."""

import dataclasses
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import reference as ref
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax._engines.hopfield import _integrate, _run, _series, _solve, _transit

EXACT = hx.EventDriven(order=24, tol=1e-14)
TS = np.linspace(0.0, 150.0, 31)
AGREE = 2e-11  # the reference's 3e-14 a step, amplified a hundredfold by the transits
DOP853 = ref.DOP853


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    """The reference locates events on DOP853's dense output. That has order 7 only: over steps of
    8, as on plateaus, it loses 1e-7 of a switch time (scenario S3), over these nothing."""
    monkeypatch.setattr(ref, "DOP853", partial(DOP853, max_step=0.5))


# ---------------------------------------------------------------------------------- the reference


def two_timescale(network, current=0.0):
    """The reference's right-hand side of a TwoTimescaleHopfield."""
    pairs = ((key, getattr(network, key)) for key in ("transition", "kappa", "tau", "bias"))
    return partial(
        ref.rhs_two_timescale,
        xi=np.asarray(network.patterns.xi),
        current=current,
        readout=network.readout,
        learning=network.learning,
        **{key: np.asarray(value) for key, value in pairs},
    )


def follow(rhs, network, state, ts, edges=()):
    """The reference, restarted where an input jumps; `rhs(k)` holds from `edges[k - 1]` on."""
    xi, activation = np.asarray(network.patterns.xi), ref.HardTanh()
    if network.activation.gain is not None:
        activation = ref.HardTanh(float(network.activation.gain))
    field, z = np.asarray(state.field), state.saliency
    z = None if z is None else np.asarray(z)
    bounds = [ts[0], *edges, ts[-1]]
    m, saliency, crossings = [], [], []
    for k, (a, b) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        inner = ts[(ts > a) & (ts < b)]
        run = ref.integrate(
            rhs(k),
            xi,
            field,
            z,
            [a, *inner, b],
            activation=activation,
            learning=network.learning,
            rtol=3e-14,  # with 1e-12 transits amplify its errors to 1e-10, as rounding falls
        )
        field, z = run.x[-1], None if z is None else run.z[-1]
        kept = np.isin(run.ts, ts) & (run.ts < b) | (run.ts == ts[-1])
        m.append(run.m[kept])
        saliency.append(run.z[kept])
        crossings.append(run.switches)
    return np.concatenate(m), np.concatenate(saliency), np.concatenate(crossings)


def assert_follows(run, expected, atol=AGREE):
    """Overlaps and saliency agree with the reference."""
    m, z = expected
    assert run.method == "event-driven" and int(run.status) == 0
    assert_close(run.overlaps, m, atol, "the reference")
    if run.saliency is not None and z.shape[1]:
        assert_close(run.saliency, z, 10 * atol, "the reference; saliencies reach 5")


def per_memory(network):
    """The same with a gain, a time constant and a bias for every memory: one compilation of all."""
    P = network.patterns.P
    parts = [jnp.broadcast_to(v, (P,)) for v in (network.kappa, network.tau, network.bias)]
    return eqx.tree_at(lambda n: (n.kappa, n.tau, n.bias), network, parts)


def scenario(name, **changes):
    return zoo.of_scenario(ref.SCENARIOS[name] | changes)


def ring(**changes):
    """S1 in its form with parameters for every memory."""
    network, _ = scenario("S1", **changes)
    return per_memory(network), network.init(saliency=jnp.array([4.0, 0.0, 0.0]))


def random_ring():
    """S1 with correlated memories."""
    network, state = ring(bias=0.05)
    rng = np.random.default_rng(23)
    patterns = hx.Patterns(rng.choice([-1.0, 1.0], (3, 8))).gauge_cycle()
    network = eqx.tree_at(lambda n: n.patterns, network, patterns)
    return network, network.init(saliency=state.saliency)


RINGS = {
    "S1": lambda: ring(),
    "S3": lambda: ring(kappa=3.5, tau=100.0, bias=0.01),
    "S7": lambda: ring(transition=ref.SCENARIOS["S7"]["transition"]),
    "per memory": lambda: ring(kappa=(5.0, 6.0, 4.5), tau=(20.0, 7.0, 30.0), bias=(0.02, 0.01, 0)),
    "tau = 1": lambda: ring(tau=(1.0, 1.0, 20.0)),
    "tau near 1": lambda: ring(tau=(1.0 + 1e-9, 1.0 - 1e-5, 0.9), bias=(0.02, 0.03, 0.025)),
    "correlated": random_ring,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RINGS)
def test_a_ring_follows_the_reference(name):
    network, state = RINGS[name]()
    run = hx.simulate(network, state, TS, method=EXACT)
    m, z, switches = follow(lambda k: two_timescale(network), network, state, TS)
    # Some forty switches lie in a run with tau near 1; a plateau in powers of 1 - 1 / tau would
    # lose 1e-7 by cancellation.
    assert_follows(run, (m, z), 1e-9 if name == "tau near 1" else AGREE)
    assert run.stats["reduction"] == "classes"
    if name in ("S1", "S3", "S7", "per memory"):  # the others' overlaps cross far below 1/10 too
        number = int(run.switches.count)
        assert number >= 1
        found = np.asarray(run.switches.time)[:number]
        assert_close(found, switches[:number], 10 * AGREE, "slopes of 0.1 and more")
        assert_escapes(run, network, state)


def assert_escapes(run, network, state):
    """At every escape the memory that is left next has a saliency of 1 in the reference."""
    escapes = np.asarray(run.escapes)[np.isfinite(run.escapes)]
    assert len(escapes) >= 1
    ts = np.array([0.0, *escapes, 150.0])
    _, z, _ = follow(lambda k: two_timescale(network), network, state, ts)
    source = np.asarray(run.switches.source)[: len(escapes)]
    left = z[1:-1][source >= 0, source[source >= 0]]
    assert_close(left, np.ones(len(left)), 10 * AGREE, "the reference; slopes of 1/tau")


CASES = {}


def case(function):
    """A run that the reference repeats: network, state, the library's inputs, right-hand sides."""
    CASES[function.__name__] = function
    return function


@case
def four_memories_that_collapse():
    network, state = scenario("S2")
    return network, state, {}, lambda k: two_timescale(network), ()


@case
def a_start_outside_the_span():
    network, state = scenario("S4")
    return network, state, {}, lambda k: two_timescale(network), ()


@case
def one_timescale_with_a_gain():
    s = ref.SCENARIOS["S6"]
    network, state = scenario("S6")
    network = eqx.tree_at(lambda n: n.activation, network, hx.HardTanh(1.5))
    return network, state, {}, lambda k: ref.rhs_of(s), ()


@case
def even_readout():
    network, state = scenario("S8")
    return network, state, {}, lambda k: two_timescale(network), ()


@case
def square_readout_of_pseudo_inverse_overlaps_with_a_current():
    base, _ = random_ring()
    rng = np.random.default_rng(1)
    current, field = 0.1 * rng.normal(size=8), rng.normal(size=8)
    network = hx.TwoTimescaleHopfield(
        base.patterns,
        base.transition,
        kappa=6.0,
        tau=10.0,
        bias=0.05,
        readout="square",
        learning="pseudo_inverse",
    )
    state = network.init(saliency=[4.0, 1.0, 0.5], field=field + 2 * base.patterns.xi[0])
    return network, state, {"current": current}, lambda k: two_timescale(network, current), ()


@case
def relu_readout_with_pulses_of_current():
    network, state = zoo.cycle(N=8, readout="relu")
    edges, values = [0.0, 7.0, 29.0, 150.0], np.random.default_rng(2).normal(size=(3, 8))
    pulses = hx.Pulses(edges, values)
    return (
        network,
        state,
        {"current": pulses},
        lambda k: two_timescale(network, current=values[k]),
        edges[1:-1],
    )


@case
def pulses_of_stimulus():
    patterns = hx.Patterns(np.random.default_rng(5).choice([-1.0, 1.0], (3, 12)))
    network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh(1.5))
    xi, rng = np.asarray(patterns.xi), np.random.default_rng(6)
    edges, values = [0.0, 7.3, 40.0, 150.0], rng.normal(size=(3, 3)) @ xi * 2
    current, state = 0.3 * rng.normal(size=12), network.init(field=rng.normal(size=12))
    inputs = {"stimulus": hx.Pulses(edges, values), "current": current}

    def rhs(k):
        return partial(ref.rhs_idp, xi=xi, stimulus=values[k], current=current)

    return network, state, inputs, rhs, edges[1:-1]


@case
def classic_with_a_gain():
    patterns = hx.Patterns(np.random.default_rng(7).choice([-1.0, 1.0], (3, 12)))
    network = hx.Hopfield(patterns, activation=hx.HardTanh(2.0))
    state = network.init(field=np.random.default_rng(8).normal(size=12))
    rhs = partial(ref.rhs_classic, xi=np.asarray(patterns.xi))
    return network, state, {}, lambda k: rhs, ()


@pytest.mark.parametrize("name", CASES)
def test_a_run_follows_the_reference(name):
    network, state, inputs, rhs, edges = CASES[name]()
    run = hx.simulate(network, state, TS, method=EXACT, **inputs)
    m, z, _ = follow(rhs, network, state, TS, edges)
    # The reference steps over the kink of such a readout at m = 0.
    assert_follows(run, (m, z), 1e-10 if name.startswith("relu") else AGREE)
    assert np.abs(np.diff(m, axis=0)).max() > 0.05  # something happened


# ----------------------------------------------------------------------------------- its own orders


def run_with(method, ts):
    """Overlaps, switch and escape times, and status of a cycle, as a function of its gain."""
    network, _ = zoo.cycle(P=4, N=256, tau=50.0, bias=0.01)

    def run(kappa):
        changed = eqx.tree_at(lambda n: n.kappa, network, kappa)
        state = changed.init(saliency=jnp.zeros(4).at[0].set(kappa))
        out = hx.simulate(changed, state, ts, method=method, throw=False)
        return out.overlaps, out.switches.time, out.escapes, out.status

    return run


LONG = np.linspace(0.0, 500.0, 201)
KAPPAS = np.linspace(4.5, 20.0, 70)  # more than a block of lanes, and no multiple of one


@pytest.fixture(scope="module")
def orders():
    """The same batch at three orders."""
    methods = {20: hx.EventDriven(20, 1e-14), 26: hx.EventDriven(26, 1e-14), 12: hx.EventDriven()}
    out = {}
    for order, method in methods.items():
        together = jax.jit(jax.vmap(run_with(method, LONG)))
        out[order] = jax.tree.map(np.asarray, together(KAPPAS))
    return out


def spread(a, b):
    """The largest difference of overlaps in every lane."""
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return np.abs(a - b).max((1, 2))


@pytest.mark.slow
def test_two_high_orders_give_the_same_run(orders):
    gaps = spread(orders[20][0], orders[26][0])
    assert np.quantile(gaps, 0.9) <= 1e-12, "rounding, amplified by the transits"
    for k, name in ((1, "switches"), (2, "escapes")):
        a, b = orders[20][k], orders[26][k]
        assert (np.isfinite(a) == np.isfinite(b)).all() and np.isfinite(a).sum() > 3 * len(KAPPAS)
        assert np.nanmax(np.abs(a - b)) <= 50.0 * 1e-10, f"rounding of 1e-14 over slopes: {name}"


@pytest.mark.slow
def test_the_default_order_keeps_what_it_promises(orders):
    gaps = spread(orders[12][0], orders[26][0])
    assert gaps.max() > 1e-13, "another order"
    assert np.median(gaps) <= 1e-9 and np.quantile(gaps, 0.9) <= 1e-8, "tol 1e-9 a step"


# ------------------------------------------------------------------------------------------ batches


SOME = np.linspace(4.5, 8.0, 4)
SHORT = np.linspace(0.0, 400.0, 9)


TRACES = []


def counted(*args):
    TRACES.append(args)
    return _integrate.integrate(*args)


@pytest.fixture(scope="module")
def lanes():
    """Four lanes: a function of their gains and its values; and every trace is counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "integrate", counted)
        TRACES.clear()
        together = jax.jit(jax.vmap(run_with(hx.EventDriven(), SHORT)))
        yield together, together(SOME)


def test_a_batch_is_a_loop_and_is_traced_once(lanes):
    run = run_with(hx.EventDriven(), SHORT)
    for k, kappa in enumerate(SOME):
        alone = run(kappa)
        for one, all in zip(alone, lanes[1], strict=True):
            same = np.isfinite(one) == np.isfinite(all[k])
            assert np.asarray(same).all()
            gap = np.nanmax(np.abs(np.nan_to_num(one) - np.nan_to_num(all[k])))
            assert gap < 1e-11, "the same steps; rounding, amplified by the transits"
    assert len(TRACES) == 1  # one for the batch and all of the loop


@pytest.mark.parametrize("bad", [np.nan, -1.0, 1e300])
def test_a_bad_lane_changes_no_bit_of_the_others(lanes, bad):
    together, good = lanes
    kappas = np.where(np.arange(4) == 2, bad, SOME)
    out = together(kappas)
    for a, b in zip(out, good, strict=True):
        others = [0, 1, 3]
        assert np.array_equal(np.asarray(a)[others], np.asarray(b)[others], equal_nan=True)
    assert int(out[3][2]) != 0


def test_nested_batches(lanes):
    run = run_with(hx.EventDriven(), SHORT)
    nested = jax.jit(jax.vmap(jax.vmap(run)))(SOME.reshape(2, 2))
    for a, b in zip(nested, lanes[1], strict=True):
        flat = np.asarray(a).reshape(b.shape)
        np.testing.assert_allclose(flat, b, rtol=0, atol=1e-11, err_msg="the same lanes")


@pytest.mark.slow
def test_a_wide_batch_goes_in_blocks(lanes, orders):
    """70 lanes agree with four of them that ran apart."""
    together, _ = lanes
    picked = [0, 1, 63, 69]
    apart = together(KAPPAS[picked])
    number = int((np.asarray(apart[1]) < 400.0).sum(1).min())  # switches before both horizons
    assert number >= 1
    wide = orders[12][1][picked, :number]
    assert_close(apart[1][:, :number], wide, 1e-6, "tol 1e-9: saves do not end the same steps")


# -------------------------------------------------------------------------------------- derivatives

# A tie of classes would be split by a step of a difference, so every memory has its own bias; and
# with four neurons, all of them different, the span form has the kinks of the class form.
SMOOTH = hx.EventDriven(order=12, tol=1e-14)
SIXTH = np.array([-1 / 60, 3 / 20, -3 / 4, 0.0, 3 / 4, -3 / 20, 1 / 60])  # error h^6
FOURTH = np.array([0.0, 1 / 12, -2 / 3, 0.0, 2 / 3, -1 / 12, 0.0])
STEP = 2e-4


def sequence(free, derivative, binary):
    """Saves in and around two switches, and the times of events, of a ring of three memories."""
    patterns = hx.Patterns(free["xi"], binary=binary, check_patterns=False)
    parts = {key: free[key] for key in ("kappa", "tau", "bias")}
    network = hx.TwoTimescaleHopfield(patterns, free["transition"], **parts)
    state = network.init(saliency=free["saliency"], weights=free["weights"])
    run = hx.simulate(network, state, free["ts"], method=SMOOTH, derivative=derivative)
    return run.overlaps, run.saliency, run.switches.time[:2], run.escapes[:2]


FREE = {
    "kappa": np.array([5.0, 6.0, 4.5]),
    "tau": np.array([20.0, 18.0, 22.0]),
    "transition": ref.cyclic(3) + 0.03,
    "bias": np.array([0.02, 0.03, 0.025]),
    "xi": ref.hadamard((1, 2, 3), 4),
    "saliency": np.array([4.0, 0.1, 0.2]),
    "weights": np.array([0.6, 0.33, 0.2]),
    "ts": np.linspace(0.0, 70.0, 71),
}


def directions(free, zero_first=("ts",)):
    """One for every leaf, of size 1; times keep their start."""
    keys = jr.split(jr.key(3), len(free))
    moves = {}
    for key, (name, value) in zip(keys, free.items(), strict=True):
        move = np.asarray(jr.uniform(key, value.shape, minval=-1.0))
        moves[name] = move * (np.arange(len(move)) > 0) if name in zero_first else move
    return moves


def along(free, moves, name, step):
    """`free` with one leaf moved."""
    return free | {name: free[name] + step * moves[name]}


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def differences(function, free, moves):
    """Directional derivatives by central differences, a leaf of `free` a row. NaN where two orders
    disagree, because a kink of the overlaps passes the save while the leaf is moved."""
    points = [along(free, moves, n, STEP * k) for n in free for k in range(-3, 4)]
    values = jax.jit(jax.vmap(function))(stacked(points))
    values = [np.asarray(v).reshape(len(free), 7, *v.shape[1:]) for v in values]
    six, four = ([np.tensordot(v, w / STEP, (1, 0)) for v in values] for w in (SIXTH, FOURTH))
    pairs = zip(six, four, strict=True)
    return [np.where(np.abs(a - b) < 1e-5 * (1 + np.abs(a)), a, np.nan) for a, b in pairs]


def tangents(function, free, moves):
    """The same by forward mode."""
    zero = jax.tree.map(np.zeros_like, free)
    rates = stacked([zero | {name: moves[name]} for name in free])
    return jax.jit(jax.vmap(lambda rate: jax.jvp(function, (free,), (rate,))[1]))(rates)


def pulled(function, free, moves):
    """By reverse mode, of one weighted sum of all values; and the weights."""
    shapes = jax.eval_shape(function, free)
    keys = jr.split(jr.key(4), len(shapes))
    weights = [jr.normal(k, s.shape) for k, s in zip(keys, shapes, strict=True)]

    def total(free):
        return sum((w * v).sum() for w, v in zip(weights, function(free), strict=True))

    gradient = jax.jit(jax.grad(total))(free)
    return np.array([np.vdot(gradient[name], moves[name]) for name in free]), weights


def assert_derivatives(by_tangent, by_difference, pull, names):
    by_reverse, weights = pull
    for forward, difference in zip(by_tangent, by_difference, strict=True):
        for row, name in enumerate(names):
            known = np.isfinite(difference[row])
            assert known.mean() > 0.8
            size = np.abs(difference[row][known]).max(initial=0.0)
            why = f"{name}: rounding of 1e-12 over a step of 2e-4, relative to the largest"
            pair = np.asarray(forward)[row][known], difference[row][known]
            assert_close(*pair, 1e-7 * (1 + size), why)
    for row in range(len(names)):
        assert max(np.nanmax(np.abs(values[row])) for values in by_difference) > 1e-3
    pairs = zip(by_tangent, weights, strict=True)
    expected = sum(np.tensordot(v, w, w.ndim) for v, w in pairs)
    gap = np.abs(by_reverse - expected) / np.abs(expected)
    assert gap.max() < 1e-10, "rounding, amplified by the transits"


@pytest.mark.slow
def test_derivatives_of_a_sequence(monkeypatch):
    """Differences in the span form, forward mode in that of classes, and reverse mode with marks
    so few that they are thinned out."""
    moves = directions(FREE)
    span = partial(sequence, derivative="forward", binary=False)
    classes = partial(sequence, derivative="forward", binary=True)
    by_difference, by_tangent = differences(span, FREE, moves), tangents(classes, FREE, moves)
    for module in (_solve, _integrate):
        monkeypatch.setattr(module, "MARKS", 2)
    options = _run._options
    monkeypatch.setattr(
        _run, "_options", lambda *args: dataclasses.replace(options(*args), chunk=4)
    )
    back = partial(sequence, derivative="reverse", binary=True)
    assert_derivatives(by_tangent, by_difference, pulled(back, FREE, moves), FREE)


def pulsed(free, derivative):
    """An input-driven network under two stimuli, with a current and a start outside the span."""
    patterns = hx.Patterns(free["xi"], binary=False, check_patterns=False)
    network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh(free["gain"]))
    stimulus = hx.Pulses(free["edges"], free["values"])
    run = hx.simulate(
        network,
        network.init(field=free["field"]),
        free["ts"],
        stimulus=stimulus,
        current=free["current"],
        method=SMOOTH,
        derivative=derivative,
    )
    return run.overlaps, run.switches.time[:1]


@pytest.mark.slow
def test_derivatives_with_inputs():
    """Start, gain, current, stimuli and the time at which one follows the other."""
    rng = np.random.default_rng(11)
    xi = rng.choice([-1.0, 1.0], (2, 6))
    free = {
        "gain": np.array(1.5),
        "xi": xi,
        "field": rng.normal(size=6),
        "current": 0.3 * rng.normal(size=6),
        "edges": np.array([0.0, 3.3, 12.0]),
        "values": np.array([[2.0, 0.5], [0.4, 2.2]]) @ xi,
        "ts": np.linspace(0.0, 9.0, 37),
    }
    moves = directions(free)
    moves["edges"] = np.array([0.0, 1.0, 0.0])
    forward, reverse = (partial(pulsed, derivative=kind) for kind in ("forward", "reverse"))
    by_difference = differences(forward, free, moves)
    by_tangent = tangents(forward, free, moves)
    assert_derivatives(by_tangent, by_difference, pulled(reverse, free, moves), free)


def test_the_end_moves_with_the_flow():
    """d(final state)/d(end) is the vector field there, for a field outside the span too."""
    network, _ = zoo.cycle(N=8)
    state = network.init(saliency=[4.0, 1.0, 0.5], field=np.arange(8.0) - 3)

    def end(stop):
        ts = jnp.stack([stop * 0, stop])
        return hx.simulate(network, state, ts, derivative="forward").final

    stop = jnp.asarray(2.0)
    final, rate = jax.jvp(end, (stop,), (jnp.ones_like(stop),))
    flow = network.vector_field(stop, final, hx.Inputs())
    assert_close(rate.saliency, flow.saliency, 1e-10, "rounding")
    assert_close(rate.field, flow.field, 1e-8, "tol 1e-9 of the run")


@pytest.mark.slow
def test_reverse_equals_forward_over_thousands_of_steps():
    """More chunks than marks, without help."""
    network, state = zoo.cycle(bias=0.02, tau=5.0, kappa=4.0)
    ts = np.linspace(0.0, 9000.0, 401)

    def last(kappa, derivative):
        changed = eqx.tree_at(lambda n: n.kappa, network, kappa)
        method = hx.EventDriven(order=5, tol=1e-6)
        run = hx.simulate(changed, state, ts, method=method, derivative=derivative)
        return run.saliency.sum(), run.counters["steps"]

    kappa = jnp.asarray(4.0)
    forward = partial(last, derivative="forward")
    _, rate, steps = jax.jit(lambda k: jax.jvp(forward, (k,), (k / k,), has_aux=True))(kappa)
    gradient, _ = jax.jit(jax.grad(partial(last, derivative="reverse"), has_aux=True))(kappa)
    assert int(steps) > 64 * _solve.MARKS
    assert abs(gradient - rate) < 1e-8 * abs(rate), "rounding of thousands of steps"


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_adjoint_of_the_series(square, mixed):
    P, Q, L, K = 2, 3, 2, 5
    rng = np.random.default_rng(12)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    mix = draw(P, P, L) if mixed else None
    law = _series.Law(draw(P, L), draw(Q - P, L), draw(P, P, L), draw(1, L), mix, square)
    cell = _series.Cell(draw(P, L), draw(P, Q, L), draw(P, L))
    args = draw(Q, L), draw(P, L), cell, law
    bar = jax.tree.map(lambda leaf: draw(*leaf.shape), _series.expand_reverse(K, *args))
    bars = []
    for expand in (_series.expand, _series.expand_reverse):
        _, pull = jax.vjp(lambda *args, e=expand: _series._apart(e(K, *args)), *args)
        y, z, cell_bar, law_bar = pull(bar)
        bars.append((y, z, cell_bar.constant, cell_bar.linear, law_bar))  # the slope has none
    for one, other in zip(*map(jax.tree.leaves, bars), strict=True):
        assert_close(other, one, 1e-12 * (1 + np.abs(one).max()), "rounding")


# ------------------------------------------------------------------------------- very many classes


def test_dense_output_is_that_of_tsit5():
    rng = np.random.default_rng(13)
    k = jnp.asarray(rng.normal(size=(7, 4)))
    y0 = jnp.asarray(rng.normal(size=4))
    path = diffrax.Tsit5.interpolation_cls(t0=0.0, t1=1.0, y0=y0, y1=y0, k=k)
    for t in (0.1, 0.5, 0.9):
        powers = t ** np.arange(1, 5)
        mine = y0 + (_transit._DENSE @ powers) @ k
        assert_close(mine, path.evaluate(t), 1e-13, "rounding")


@pytest.mark.slow
def test_transits_with_128_classes():
    network, _ = zoo.cycle(P=8, N=256, kappa=8.0, bias=np.linspace(0.02, 0.03, 8))
    state = network.init(saliency=jnp.zeros(8).at[0].set(4.0))
    ts = np.linspace(0.0, 36.0, 37)
    method = hx.EventDriven(tol=1e-9)

    def overlaps(kappa, derivative="reverse"):
        changed = eqx.tree_at(lambda n: n.kappa, network, kappa)
        run = hx.simulate(changed, state, ts, method=method, derivative=derivative)
        return run.overlaps, run.switches.time[:1]

    kappa = jnp.asarray(8.0)
    m, switch = overlaps(kappa)
    expected, _, switches = follow(lambda k: two_timescale(network), network, state, ts)
    why = "tol 1e-9 a step, amplified a thousandfold by the kinks inside the steps"
    assert_close(m, expected, 1e-5, why)
    assert_close(switch, switches[:1], 1e-5, why)
    forward = partial(overlaps, derivative="forward")
    _, rates = jax.jit(lambda k: jax.jvp(forward, (k,), (jnp.ones_like(k),)))(kappa)
    weights = jr.normal(jr.key(5), m.shape)

    def total(kappa):
        m, switch = overlaps(kappa)
        return (weights * m).sum() + switch[0]

    by_forward = (weights * rates[0]).sum() + rates[1][0]
    assert abs(jax.jit(jax.grad(total))(kappa) - by_forward) < 1e-9 * abs(by_forward), "rounding"
    up, down = (total(kappa + h) for h in (0.01, -0.01))
    assert abs((up - down) / 0.02 - by_forward) < 1e-2 * abs(by_forward), "square of the step"


@pytest.mark.slow
@pytest.mark.long
def test_many_derivatives_at_once_with_128_classes(monkeypatch):
    """A batch on the way back rounds otherwise than the run did and takes other Runge-Kutta steps;
    no part of the run may be left out or counted twice for that."""
    for module in (_integrate, _solve):
        monkeypatch.setattr(module, "MARKS", 4)  # several chunks a mark
    network, state = zoo.cycle(P=8, N=256, kappa=5.0, bias=np.linspace(0.02, 0.03, 8))
    method = hx.EventDriven(tol=1e-12)

    def switches(kappa, derivative):
        net = eqx.tree_at(lambda n: n.kappa, network, kappa)
        ts = jnp.array([0.0, 270.0])
        run = hx.simulate(net, state, ts, method=method, derivative=derivative)
        return run.switches.time[:8]

    kappa = jnp.asarray(5.0)
    forward = jax.jit(lambda k: jax.jvp(lambda k: switches(k, "forward"), (k,), (1.0,))[1])(kappa)
    reverse = jax.jit(jax.jacrev(lambda k: switches(k, "reverse")))(kappa)
    assert jnp.isfinite(forward).all()
    np.testing.assert_allclose(reverse, forward, rtol=1e-3, err_msg="other steps")


# --------------------------------------------------------------------------------- what is returned


def test_float32_stays_float32():
    xi = np.asarray(hx.patterns.hadamard(3, 8).xi, np.float32)
    network = hx.TwoTimescaleHopfield(hx.Patterns(xi), hx.cyclic(3), kappa=5, tau=20, bias=0.02)
    ts = np.linspace(0.0, 100.0, 21)
    run = hx.simulate(network, network.init(saliency=[4, 0, 0]), ts)
    floats = [x for x in jax.tree.leaves(run) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    expected = ref.run_scenario(ref.SCENARIOS["S1"], ts)
    assert_close(run.overlaps, expected.m, 3e-4, "1e-7 relative to seeds of 0.02, amplified")
    assert_close(run.switches.time[:3], expected.switches[:3], 1e-3, "the same")


@pytest.mark.slow
def test_between_the_saves():
    network, state = ring()
    method = dataclasses.replace(EXACT, dense=True)
    times = np.array([149.0, 0.0, 30.81287824, 61.5, 20.25, 91.3])  # in no order
    run = hx.simulate(network, state, np.array([0.0, 75.0, 150.0]), method=method)
    between = run.evaluate(times)
    order = np.argsort(times)
    m, z, _ = follow(lambda k: two_timescale(network), network, state, times[order])
    assert_close(between["overlaps"][order], m, AGREE, "the reference")
    assert_close(between["saliency"][order], z, 10 * AGREE, "the reference")


def test_a_run_that_needs_too_many_steps():
    network, state = ring()
    whole = hx.simulate(network, state, TS, method=EXACT)
    run = hx.simulate(network, state, TS, method=EXACT, max_steps=12, throw=False)
    assert hx.STATUS[int(run.status)][0] == "max_steps" and int(run.counters["steps"]) == 12
    reached = np.asarray(np.isfinite(run.overlaps).all(-1))
    assert 2 < reached.sum() < len(TS) and not reached[np.argmin(reached) :].any()
    assert_close(run.overlaps[reached], whole.overlaps[reached], 0.0, "the same steps")
    assert_close(run.saliency[reached], whole.saliency[reached], 0.0, "the same steps")
    assert np.isnan(run.saliency[~reached]).all()
    with pytest.raises(hx.SimulationError, match="max_steps"):
        hx.simulate(network, state, TS, method=EXACT, max_steps=12)


def never(t, state, network):
    return t > 1e9


def _without(key):
    network, state = zoo.cycle(N=8)
    if key == "Tanh":
        network, state = zoo.cycle(N=8, activation=hx.Tanh(2.0))
    if key == "keep_diagonal":
        network, state = zoo.cycle(N=8, keep_diagonal=False)
    inputs = {
        "noise": {"noise": 0.1, "key": jr.key(0)},
        "event": {"event": never},
        "current": {
            "current": diffrax.LinearInterpolation(jnp.array([0.0, 9.0]), jnp.zeros((2, 8)))
        },
    }
    return network, state, inputs.get(key, {})


@pytest.mark.parametrize("key", ["Tanh", "noise", "event", "keep_diagonal", "current"])
def test_what_it_cannot_do_is_named_and_left_to_diffrax(key):
    network, state, inputs = _without(key)
    ts = jnp.array([0.0, 2.0])
    with pytest.raises(ValueError, match=key):
        hx.simulate(network, state, ts, method=hx.EventDriven(), **inputs)
    run = eqx.filter_eval_shape(hx.simulate, network, state, ts, **inputs)
    assert run.method == "diffrax"
    plain = eqx.filter_eval_shape(hx.simulate, *zoo.cycle(N=8), ts)
    assert plain.method == "event-driven"


@pytest.mark.parametrize(
    "bad", [{"order": 2}, {"order": -1}, {"tol": 0.0}, {"tol": 1.0}, {"switches": 0}]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
        hx.EventDriven(**bad)


def test_the_method_must_be_one():
    network, state = zoo.cycle()
    method: Any = 3
    with pytest.raises(TypeError, match="method"):
        hx.simulate(network, state, [0.0, 1.0], method=method)
