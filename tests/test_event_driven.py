"""The event-driven integrator: against the reference, itself at other orders, and differences.

Compilation is most of the time of these tests. So runs share their shapes (three memories, 16
neurons, the save times `TS`) and orders (16 where a run must be exact, 12 elsewhere), one program
gives values and derivatives where it can, and what several tests look at is a module's fixture.
"""

import dataclasses
from functools import partial

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
from hopfax._engines.hopfield import _integrate, _series, _solve, _transit
from hopfax._engines.hopfield._lanes_last import groups_of
from hopfax._engines.hopfield._plateau import Plateau
from hopfax._engines.hopfield._search import plateau_curvature

EXACT = hx.EventDriven(order=16, tol=1e-14)
TS = np.linspace(0.0, 100.0, 51)
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


def ring(transition=None, **changes):
    """The cycle of the zoo, scenario S1, in its form with parameters for every memory."""
    network, state = zoo.cycle(**changes)
    if transition is not None:
        network = eqx.tree_at(lambda n: n.transition, network, jnp.asarray(transition))
    return per_memory(network), state


def random_ring():
    """S1 with correlated memories."""
    network, state = ring(bias=0.05)
    rng = np.random.default_rng(23)
    patterns = hx.Patterns(np.tile(rng.choice([-1.0, 1.0], (3, 8)), 2)).gauge_cycle()
    network = eqx.tree_at(lambda n: n.patterns, network, patterns)
    return network, network.init(saliency=state.saliency)


RINGS = {
    "S1": lambda: ring(),
    "S3": lambda: ring(kappa=3.5, tau=50.0, bias=0.01),
    "S7": lambda: ring(ref.SCENARIOS["S7"]["transition"]),
    "collapse": lambda: ring(kappa=2.5, tau=5.0),
    "per memory": lambda: ring(
        kappa=np.array([5.0, 6.0, 4.5]),
        tau=np.array([20.0, 7.0, 30.0]),
        bias=np.array([2, 1, 0]) / 100,
    ),
    "tau = 1": lambda: ring(tau=np.array([1.0, 1.0, 20.0])),
    "tau near 1": lambda: ring(
        tau=np.array([1.0 + 1e-9, 1.0 - 1e-5, 0.9]), bias=np.array([0.02, 0.03, 0.025])
    ),
    "correlated": random_ring,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RINGS)
def test_a_ring_follows_the_reference(name):
    network, state = RINGS[name]()
    run = hx.simulate(network, state, TS, method=EXACT)
    m, z, switches = follow(lambda k: two_timescale(network), network, state, TS)
    # Some thirty switches lie in a run with tau near 1; a plateau in powers of 1 - 1 / tau would
    # lose 1e-7 by cancellation.
    assert_follows(run, (m, z), 1e-9 if name == "tau near 1" else AGREE)
    assert run.stats["reduction"] == "classes"
    assert np.abs(np.diff(m, axis=0)).max() > 0.05  # something happened
    if name in ("S1", "S3", "S7", "per memory"):  # the others' overlaps cross far below 1/10 too
        number = int(run.switches.count)
        assert number >= 1
        found = np.asarray(run.switches.time)[:number]
        assert_close(found, switches[:number], 10 * AGREE, "slopes of 0.1 and more")
        assert_escapes(run, network, state)


def test_the_curvature_of_margins_on_a_plateau_is_bounded():
    """And the bound is met within a factor, where the fast part is over."""
    draw = np.random.default_rng(0).normal
    rate, t = jnp.full((3, 1), 0.05), jnp.linspace(0.0, 60.0, 61)
    rows, y = jnp.asarray(draw(size=(5, 3))), jnp.zeros((3, 200))
    fast, lag = jnp.asarray(draw(size=(3, 200))), jnp.asarray(10 * draw(size=(3, 200)))
    closed = Plateau(y, fast, lag, y, y, rate)
    s = jnp.asarray(np.sign(draw(size=(5, 200))))
    curve, brief = plateau_curvature(rows[..., None], s, closed, y)
    steady = jnp.abs(rows) @ curve

    def curvature(t):
        return jax.jvp(lambda t: closed.y_and_slope(t)[1], (t,), (jnp.ones_like(t),))[1]

    towards = jnp.stack([-s * (rows @ curvature(x)) for x in t])
    assert (towards <= steady + brief * jnp.exp(-t[:, None, None]) + 1e-12).all()
    assert (towards[8:] / steady).max() > 0.4


def assert_escapes(run, network, state):
    """At every escape the memory that is left next has a saliency of 1 in the reference."""
    escapes = np.asarray(run.escapes)[np.isfinite(run.escapes)]
    assert len(escapes) >= 1
    ts = np.array([0.0, *escapes, TS[-1]])
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
def even_readout_from_a_start_outside_the_span():
    network, state = zoo.cycle(readout="abs", bias=np.array([0.02, -0.02, 0.02]))
    field = state.field + np.sin(np.arange(1.0, 17.0))
    state = network.init(saliency=state.saliency, field=field)
    return network, state, {}, lambda k: two_timescale(network), ()


@case
def one_timescale_with_a_gain():
    Q, patterns = 2.0 * np.eye(3) + 1.5 * ref.cyclic(3), hx.patterns.hadamard(3, 16)
    network = hx.OneTimescaleHopfield(patterns, Q, activation=hx.HardTanh(1.5))
    rhs = partial(ref.rhs_one_timescale, xi=np.asarray(patterns.xi), Q=Q)
    return network, network.init(weights=[2.0, 0.05, 0.0]), {}, lambda k: rhs, ()


@case
def square_readout_of_pseudo_inverse_overlaps_with_a_current():
    base, _ = random_ring()
    rng = np.random.default_rng(1)
    current, field = 0.1 * rng.normal(size=16), rng.normal(size=16)
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
    network, state = zoo.cycle(readout="relu")
    edges, values = [0.0, 7.0, 29.0, 150.0], np.random.default_rng(2).normal(size=(3, 16))
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
    patterns = hx.Patterns(np.random.default_rng(5).choice([-1.0, 1.0], (3, 16)))
    network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh(1.5))
    xi, rng = np.asarray(patterns.xi), np.random.default_rng(6)
    edges, values = [0.0, 7.3, 40.0, 150.0], rng.normal(size=(3, 3)) @ xi * 2
    current, state = 0.3 * rng.normal(size=16), network.init(field=rng.normal(size=16))
    inputs = {"stimulus": hx.Pulses(edges, values), "current": current}

    def rhs(k):
        return partial(ref.rhs_idp, xi=xi, stimulus=values[k], current=current)

    return network, state, inputs, rhs, edges[1:-1]


@case
def classic_with_a_gain():
    patterns = hx.Patterns(np.random.default_rng(7).choice([-1.0, 1.0], (3, 16)))
    network = hx.Hopfield(patterns, activation=hx.HardTanh(2.0))
    state = network.init(field=np.random.default_rng(8).normal(size=16))
    rhs = partial(ref.rhs_classic, xi=np.asarray(patterns.xi))
    return network, state, {}, lambda k: rhs, ()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_follows_the_reference(name):
    network, state, inputs, rhs, edges = CASES[name]()
    run = hx.simulate(network, state, TS, method=EXACT, **inputs)
    m, z, _ = follow(rhs, network, state, TS, edges)
    # The reference steps over the kink of such a readout at m = 0.
    assert_follows(run, (m, z), 1e-10 if name.startswith("relu") else AGREE)
    assert np.abs(np.diff(m, axis=0)).max() > 0.05  # something happened


# ------------------------------------------------------------------------------- orders and batches


def run_with(method):
    """Overlaps, switch and escape times, and status of a cycle, as a function of its gain."""
    network, _ = zoo.cycle(bias=0.01)

    def run(kappa):
        changed = eqx.tree_at(lambda n: n.kappa, network, kappa)
        state = changed.init(saliency=jnp.zeros(3).at[0].set(kappa))
        out = hx.simulate(changed, state, 2 * TS, method=method, throw=False)
        return out.overlaps, out.switches.time, out.escapes, out.status

    return run


KAPPAS = np.linspace(4.5, 20.0, 100)  # more lanes than one group has, and no multiple of that
SOME = [0, 1, 55, 99]  # of both groups


@pytest.fixture(scope="module")
def batch():
    """Many lanes at the default order: a function of their gains and its values; and every trace of
    the integrator is noted."""
    traces, integrator = [], _integrate.differentiable_outputs

    def counted(*args, **how):
        traces.append(args)
        return integrator(*args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_integrate, "differentiable_outputs", counted)
        together = jax.jit(jax.vmap(run_with(hx.EventDriven())))
        values = jax.tree.map(np.asarray, together(KAPPAS))
        assert len(traces) == 1
        yield together, values, traces


@pytest.fixture(scope="module")
def exact():
    """The same lanes at two high orders."""
    methods = EXACT, hx.EventDriven(order=24, tol=1e-14)
    runs = (jax.jit(jax.vmap(run_with(method))) for method in methods)
    return [jax.tree.map(np.asarray, run(KAPPAS)) for run in runs]


def spread(a, b):
    """The largest difference of overlaps in every lane."""
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return np.abs(a - b).max((1, 2))


@pytest.mark.slow
def test_two_high_orders_give_the_same_run(exact):
    low, high = exact
    gaps = spread(low[0], high[0])
    assert np.quantile(gaps, 0.9) <= 1e-12, "rounding, amplified by the transits"
    for k, name in ((1, "switches"), (2, "escapes")):
        a, b = low[k], high[k]
        assert (np.isfinite(a) == np.isfinite(b)).all() and np.isfinite(a).sum() > 3 * len(KAPPAS)
        assert np.nanmax(np.abs(a - b)) <= 20.0 * 1e-10, f"rounding of 1e-14 over slopes: {name}"


@pytest.mark.slow
def test_the_default_order_keeps_what_it_promises(batch, exact):
    gaps = spread(batch[1][0], exact[1][0])
    assert gaps.max() > 1e-13, "another order"
    assert np.median(gaps) <= 1e-9 and np.quantile(gaps, 0.9) <= 1e-8, "tol 1e-9 a step"


def assert_same_steps(some, other):
    """Lanes that were integrated in batches of other widths agree."""
    for one, two in zip(some, other, strict=True):
        one, two = (np.asarray(v, float) for v in (one, two))
        assert (np.isfinite(one) == np.isfinite(two)).all()
        gap = np.abs(np.nan_to_num(one) - np.nan_to_num(two)).max()
        assert gap < 1e-11, "the same steps; rounding, amplified by the transits"


@pytest.mark.slow
def test_a_batch_in_groups_is_a_loop_and_is_traced_once(batch):
    _, lanes, traces = batch
    before = len(traces)  # that of the batch, and those of other tests
    run = run_with(hx.EventDriven())
    for k in SOME:
        assert_same_steps(run(KAPPAS[k]), [values[k] for values in lanes])
    assert len(traces) == before  # that of the batch does for all of the loop


def test_groups_hold_all_lanes_and_little_else():
    assert groups_of(64) == (1, 64) and groups_of(65) == (1, 72)  # not twice 64
    for lanes in range(1, 700):
        groups, width = groups_of(lanes)
        assert lanes <= groups * width < lanes + 8 * groups
        assert groups == 1 or 48 <= width <= 96


@pytest.mark.parametrize("bad", [np.nan, -1.0, 1e300])
def test_a_bad_lane_changes_no_bit_of_the_others(batch, bad):
    together, good, _ = batch
    others = np.arange(len(KAPPAS)) != 2
    out = together(np.where(others, KAPPAS, bad))
    for a, b in zip(out, good, strict=True):
        assert np.array_equal(np.asarray(a)[others], b[others], equal_nan=True)
    assert int(out[3][2]) != 0


@pytest.mark.slow
def test_nested_batches(batch):
    nested = jax.jit(jax.vmap(jax.vmap(run_with(hx.EventDriven()))))(KAPPAS[SOME].reshape(2, 2))
    flat = [np.asarray(values).reshape(4, *values.shape[2:]) for values in nested]
    assert_same_steps(flat, [values[SOME] for values in batch[1]])


# -------------------------------------------------------------------------------------- derivatives

# A tie of classes would be split by a step of a difference, so every memory has its own bias; and
# with four neurons, all of them different, the span form has the kinks of the class form.
SMOOTH = hx.EventDriven(order=12, tol=1e-14)
SIXTH = np.array([-1 / 60, 3 / 20, -3 / 4, 0.0, 3 / 4, -3 / 20, 1 / 60])  # error h^6
FOURTH = np.array([0.0, 1 / 12, -2 / 3, 0.0, 2 / 3, -1 / 12, 0.0])
STEP = 2e-4


def sequence(free, derivative, binary):
    """Saves in and around two switches, the times of events, and the end, of a ring of three."""
    patterns = hx.Patterns(free["xi"], binary=binary, check_patterns=False)
    parts = {key: free[key] for key in ("kappa", "tau", "bias")}
    network = hx.TwoTimescaleHopfield(patterns, free["transition"], **parts)
    state = network.init(saliency=free["saliency"], weights=free["weights"])
    run = hx.simulate(network, state, free["ts"], method=SMOOTH, derivative=derivative)
    final = run.final.field, run.final.saliency
    return run.overlaps, run.saliency, run.switches.time[:2], run.escapes[:2], *final


FREE = {
    "kappa": np.array([5.0, 6.0, 4.5]),
    "tau": np.array([20.0, 18.0, 22.0]),
    "transition": ref.cyclic(3) + 0.03,
    "bias": np.array([0.02, 0.03, 0.025]),
    "xi": ref.hadamard((1, 2, 3), 4),
    "saliency": np.array([4.0, 0.1, 0.2]),
    "weights": np.array([0.6, 0.33, 0.2]),
    "ts": np.linspace(0.0, 70.0, 51),
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
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def by_forward_mode(function, free, moves):
    """Directional derivatives, a leaf of `free` a row: by forward mode, and by central differences
    of the values that the same program returns. Differences are NaN where two orders disagree,
    because a kink of the overlaps passes the save while the leaf is moved."""
    zero = jax.tree.map(np.zeros_like, free)
    points = [along(free, moves, n, STEP * k) for n in free for k in range(-3, 4)]
    rates = [zero | {n: moves[n]} for n in free for _ in range(-3, 4)]
    both = jax.jit(jax.vmap(lambda at, rate: jax.jvp(function, (at,), (rate,))))
    values, tangents = jax.tree.map(
        lambda v: np.asarray(v).reshape(len(free), 7, *v.shape[1:]),
        both(stacked(points), stacked(rates)),
    )
    six, four = ([np.tensordot(v, w / STEP, (1, 0)) for v in values] for w in (SIXTH, FOURTH))
    pairs = zip(six, four, strict=True)
    known = [np.where(np.abs(a - b) < 1e-5 * (1 + np.abs(a)), a, np.nan) for a, b in pairs]
    return [v[:, 3] for v in tangents], known


def by_reverse_mode(function, free, moves):
    """The same of one weighted sum of all values; and the weights."""
    shapes = jax.eval_shape(function, free)
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=s.shape) for s in shapes]

    def total(free):
        return sum((w * v).sum() for w, v in zip(weights, function(free), strict=True))

    gradient = jax.jit(jax.grad(total))(free)
    return np.array([np.vdot(gradient[name], moves[name]) for name in free]), weights


def assert_derivatives(forward_mode, reverse_mode, names):
    by_tangent, by_difference = forward_mode
    by_reverse, weights = reverse_mode
    for forward, difference in zip(by_tangent, by_difference, strict=True):
        for row, name in enumerate(names):
            known = np.isfinite(difference[row])
            assert known.mean() > 0.8
            size = np.abs(difference[row][known]).max(initial=0.0)
            why = f"{name}: rounding of 1e-12 over a step of 2e-4, relative to the largest"
            assert_close(forward[row][known], difference[row][known], 1e-7 * (1 + size), why)
    for row in range(len(names)):
        assert max(np.nanmax(np.abs(values[row])) for values in by_difference) > 1e-3
    pairs = zip(by_tangent, weights, strict=True)
    expected = sum(np.tensordot(v, w, w.ndim) for v, w in pairs)
    gap = np.abs(by_reverse - expected) / np.abs(expected)
    assert gap.max() < 1e-10, "rounding, amplified by the transits"


def short_chunks(patch, marks, steps):
    """Few marks and short chunks, so that marks are thinned out on a run of ordinary length."""
    for module in (_solve, _integrate):
        patch.setattr(module, "MARKS", marks)
    for name in ("solve", "pull_back"):
        patch.setattr(_integrate, name, _in_chunks_of(steps, getattr(_integrate, name)))


def _in_chunks_of(steps, function):
    def changed(*args):
        options = [isinstance(arg, _integrate.Options) for arg in args]
        pairs = zip(args, options, strict=True)
        return function(*(dataclasses.replace(a, chunk=steps) if o else a for a, o in pairs))

    return changed


@pytest.mark.slow
def test_derivatives_of_a_sequence_with_more_chunks_than_marks(monkeypatch):
    """Forward mode and differences in the span form, reverse mode in that of classes."""
    moves = directions(FREE)
    span = partial(sequence, derivative="forward", binary=False)
    forward_mode = by_forward_mode(span, FREE, moves)
    short_chunks(monkeypatch, marks=2, steps=4)
    back = partial(sequence, derivative="reverse", binary=True)
    assert_derivatives(forward_mode, by_reverse_mode(back, FREE, moves), FREE)


def pulsed(free, derivative):
    """An input-driven network under two stimuli, with a current and a start outside the span: its
    overlaps, the time of a switch, and the end."""
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
    return run.overlaps, run.switches.time[:1], run.final.field


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
        "ts": np.linspace(0.0, 9.0, 51),
    }
    moves = directions(free)
    moves["edges"] = np.array([0.0, 1.0, 0.0])
    forward, reverse = (partial(pulsed, derivative=kind) for kind in ("forward", "reverse"))
    forward_mode = by_forward_mode(forward, free, moves)
    assert_derivatives(forward_mode, by_reverse_mode(reverse, free, moves), free)


@pytest.mark.parametrize(
    "square, mixed, fed", [(False, False, False), (True, True, False), (False, True, True)]
)
def test_the_adjoint_of_the_series(square, mixed, fed):
    P, Q, L, K = 2, 3, 2, 5
    rng = np.random.default_rng(12)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    mix, feed = (draw(P, P, L) if there else None for there in (mixed, fed))
    law = _series.Law(draw(P, L), draw(Q - P, L), draw(P, P, L), draw(1, L), mix, square, feed)
    cell = _series.Cell(draw(P, L), draw(P, Q, L), draw(P, L))
    args = draw(Q, L), draw(P, L), cell, law
    shapes = jax.eval_shape(partial(_series.expand_reverse, K), *args)
    bar = jax.tree.map(lambda leaf: draw(*leaf.shape), shapes)

    def pulled(expand, args):
        _, pull = jax.vjp(lambda *args: _series._apart(expand(K, *args)), *args)
        y, z, cell_bar, law_bar = pull(bar)
        return y, z, cell_bar.constant, cell_bar.linear, law_bar  # the slope has none

    kinds = _series.expand, _series.expand_reverse
    bars = jax.jit(lambda args: [pulled(kind, args) for kind in kinds])(args)
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


def crowd():
    """A ring of 72 neurons, each with kinks of its own, and its start."""
    xi = np.tile(ref.hadamard((1, 2, 3), 8), 9) * (1 + 0.2 * np.sin(np.arange(72.0)))
    patterns = hx.Patterns(xi, binary=False)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.02)
    return network, network.init(saliency=[4.0, 0.0, 0.0])


CROWDED = np.linspace(0.0, 70.0, 51)


def crowded(kappa, derivative):
    """Its overlaps and the times of two switches, as a function of its gain."""
    network, state = crowd()
    network = eqx.tree_at(lambda n: n.kappa, network, kappa)
    method = hx.EventDriven(tol=1e-10)
    run = hx.simulate(network, state, CROWDED, method=method, derivative=derivative)
    return run.overlaps, run.switches.time[:2]


@pytest.fixture(scope="module")
def forward_mode():
    """The same with derivatives in forward mode."""
    forward = partial(crowded, derivative="forward")
    return jax.jit(lambda kappa: jax.jvp(forward, (kappa,), (jnp.ones_like(kappa),)))


@pytest.mark.slow
def test_transits_with_very_many_classes(forward_mode, monkeypatch):
    """Against the reference, differences, and reverse mode."""
    kappa, (network, state) = jnp.asarray(5.0), crowd()
    (m, switch), rates = forward_mode(kappa)
    expected, _, switches = follow(lambda k: two_timescale(network), network, state, CROWDED)
    why = "tol 1e-10 a step, amplified by the kinks inside the steps"
    assert_close(m, expected, 1e-5, why)
    assert_close(switch, switches[:2], 2e-5, why)
    up, down = (forward_mode(kappa + h)[0] for h in (0.02, -0.02))
    for a, b, rate in zip(up, down, rates, strict=True):
        assert_close((a - b) / 0.04, rate, 0.02 * np.abs(rate).max(), "other steps")
    short_chunks(monkeypatch, marks=4, steps=16)
    rng = np.random.default_rng(5)
    weights = rng.normal(size=m.shape), rng.normal(size=2)

    def total(kappa):
        values = crowded(kappa, "reverse")
        return sum((w * v).sum() for w, v in zip(weights, values, strict=True))

    by_forward = sum((w * v).sum() for w, v in zip(weights, rates, strict=True))
    assert abs(jax.jit(jax.grad(total))(kappa) - by_forward) < 1e-9 * abs(by_forward), "rounding"


@pytest.mark.slow
@pytest.mark.long
def test_many_derivatives_at_once_with_very_many_classes(forward_mode, monkeypatch):
    """A batch on the way back rounds otherwise than the run did and takes other Runge-Kutta steps;
    no part of the run may be left out or counted twice for that."""
    short_chunks(monkeypatch, marks=4, steps=8)  # several chunks for each mark
    kappa = jnp.asarray(5.0)
    reverse = jax.jit(jax.jacrev(lambda kappa: crowded(kappa, "reverse")[1]))(kappa)
    forward = forward_mode(kappa)[1][1]
    np.testing.assert_allclose(reverse, forward, rtol=0.02, err_msg="other steps")


# --------------------------------------------------------------------------------- what is returned


@pytest.mark.slow
def test_float32_stays_float32():
    xi = np.asarray(hx.patterns.hadamard(3, 16).xi, np.float32)
    network = hx.TwoTimescaleHopfield(hx.Patterns(xi), hx.cyclic(3), kappa=5, tau=20, bias=0.02)
    run = hx.simulate(network, network.init(saliency=[4, 0, 0]), TS)
    assert run.method == "event-driven"
    floats = [x for x in jax.tree.leaves(run) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    expected = ref.run_scenario(ref.SCENARIOS["S1"], TS)
    assert_close(run.overlaps, expected.m, 3e-4, "1e-7 relative to seeds of 0.02, amplified")
    assert_close(run.switches.time[:3], expected.switches[:3], 1e-3, "the same")


@pytest.mark.slow
def test_between_the_saves():
    network, state = ring()
    method = dataclasses.replace(EXACT, dense=True)
    run = hx.simulate(network, state, TS, method=method)
    times = np.random.default_rng(1).permutation(np.linspace(0.0, 99.0, 49))  # with the ends, as TS
    between = run.evaluate(times)
    order = np.argsort(times)
    m, z, _ = follow(lambda k: two_timescale(network), network, state, times[order])
    assert_close(between["overlaps"][order], m, AGREE, "the reference")
    assert_close(between["saliency"][order], z, 10 * AGREE, "the reference")


@pytest.mark.slow
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
    options: dict = {
        "Tanh": {"activation": hx.Tanh(2.0)},
        "keep_diagonal": {"keep_diagonal": False},
    }
    path = diffrax.LinearInterpolation(jnp.array([0.0, 9.0]), jnp.zeros((2, 16)))
    inputs = {
        "noise": {"noise": 0.1, "key": jr.key(0)},
        "event": {"event": never},
        "current": {"current": path},
    }
    return *zoo.cycle(**options.get(key, {})), inputs.get(key, {})


@pytest.mark.parametrize("key", ["Tanh", "noise", "event", "keep_diagonal", "current"])
def test_what_it_cannot_do_is_named(key):
    network, state, inputs = _without(key)
    with pytest.raises(ValueError, match=key):
        hx.simulate(network, state, TS, method=hx.EventDriven(), **inputs)


def test_what_it_cannot_do_is_left_to_diffrax():
    network, state, _ = _without("keep_diagonal")
    run = eqx.filter_eval_shape(hx.simulate, network, state, TS)
    assert run.method == "diffrax"


@pytest.mark.parametrize(
    "bad", [{"order": 2}, {"order": -1}, {"tol": 0.0}, {"tol": 1.0}, {"switches": 0}]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
        hx.EventDriven(**bad)


def test_the_method_must_be_one():
    network, state = zoo.cycle()
    with pytest.raises(TypeError, match="method"):
        hx.simulate(network, state, [0.0, 1.0], method=3)
