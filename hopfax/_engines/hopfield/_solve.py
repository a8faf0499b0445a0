"""All steps of all lanes, and what is read off them: saves, switches, escapes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._plateau import plateau
from ._problem import Problem, State, readout_slope, start
from ._step import Options, Plan, Record, again, step

MARKS = 64  # starts of chunks kept for the way back


class Values(eqx.Module):
    """What derivatives reach."""

    y: Float[Array, "T P B"]
    z: Float[Array, "T P B"]
    switch: Float[Array, "K B"]
    escape: Float[Array, "K B"]
    end_y: Float[Array, "Q B"]
    end_z: Float[Array, "P B"]


class Facts(eqx.Module):
    """The rest."""

    source: Int[Array, "K B"]
    target: Int[Array, "K B"]
    retrieved: Bool[Array, "K B"]
    switches: Int[Array, " B"]
    escapes: Int[Array, " B"]
    steps: Int[Array, " B"]
    jumps: Int[Array, " B"]
    t: Float[Array, " B"]


class Piece(eqx.Module):
    """Outputs of one chunk of steps, with masks of where they belong."""

    saved: Bool[Array, "T B"]
    y: Float[Array, "T P B"]
    z: Float[Array, "T P B"]
    switched: Bool[Array, "K B"]
    switch: Float[Array, "K B"]
    escaped: Bool[Array, "K B"]
    escape: Float[Array, "K B"]


class Trace(eqx.Module):
    """A chunk, step by step (leading axis S): states before, what was decided, and what is left.
    Only the first `number` are used."""

    states: State | None
    plan: Plan
    record: Record
    number: Int[Array, ""]


def chunk(
    problem: Problem, options: Options, state: State, keep: bool = False
) -> tuple[State, Trace]:
    """Up to `options.chunk` steps, while a lane is not yet at its end.

    `keep`: the states too, of steps that are made again, up to where they ended. In a batch of
    another width they may round differently, so that it takes more of them: there is room for half
    as many again."""
    size = options.chunk + (options.chunk // 2 if keep else 0)
    plan, record = jax.eval_shape(partial(step, problem, options), state)[1:]
    rows = (state if keep else None, plan, record)
    empty = jax.tree.map(lambda row: jnp.zeros((size, *row.shape), row.dtype), rows)
    end = lax.stop_gradient(problem.until)

    def going(carry):
        state, trace = carry
        return (trace.number < size) & state.active(end, options.max_steps).any()

    def body(carry):
        state, trace = carry
        after, plan, record = step(problem, options, state)

        def put(all, one):
            return lax.dynamic_update_index_in_dim(all, one, trace.number, 0)

        states = jax.tree.map(put, trace.states, state if keep else None)
        plan, record = jax.tree.map(put, (trace.plan, trace.record), (plan, record))
        return after, Trace(states, plan, record, trace.number + 1)

    states, plan, record = empty
    trace = Trace(states, plan, record, jnp.zeros((), jnp.int32))
    return lax.while_loop(going, body, (state, trace))


def harvest(problem: Problem, options: Options, trace: Trace, mark: "Mark") -> Piece:
    """Saves and log entries of a chunk."""
    plan, record = trace.plan, trace.record
    T = problem.ts.shape[0]
    R, (S, P, B) = len(record.slots), record.y.shape
    k = jnp.arange(T, dtype=jnp.int32)[:, None]
    # The step that holds save k: the first one whose `last` exceeds k.
    used = (jnp.arange(S, dtype=jnp.int32) < trace.number)[:, None, None]
    place = (used & (plan.last[:, None] <= k)).sum(0, dtype=jnp.int32)
    saved = (place < trace.number) & (k >= plan.first[0])
    place = jnp.minimum(place, S - 1)
    held = jnp.concatenate(
        [
            record.t[:, None],
            plan.flat[:, None].astype(record.t.dtype),
            record.m,
            record.y,
            record.z,
        ],
        axis=1,
    )
    held = jnp.take_along_axis(held, place[:, None], axis=0)
    t, flat = held[:, 0], held[:, 1] > 0
    m, y, z = held[:, 2 : 2 + P], held[:, 2 + P : 2 + 2 * P], held[:, 2 + 2 * P :]
    first = jnp.take_along_axis(plan.first, place, axis=0)
    slot = place * R + jnp.clip(k - first, 0, R - 1)
    slots = jnp.stack([jnp.concatenate(pair, axis=1) for pair in record.slots], axis=1)
    slots = slots.reshape(S * R, 2 * P, B)
    slots = jnp.take_along_axis(slots, slot[:, None], axis=0)
    law = eqx.tree_at(lambda law: law.push, problem.law, problem.law.push[:0])

    def closed(y, z, m, t):
        slope = readout_slope(options.readout, jnp.where(m < 0, -1.0, 1.0))
        return plateau(y, z, m, slope, law).at(t)

    late = jnp.where(saved & flat, problem.ts - t, 0.0)
    closed_y, closed_z = jax.vmap(closed)(y, z, m, late)
    flat = flat[:, None]
    values_y = jnp.where(flat, closed_y, slots[:, :P])
    values_z = jnp.where(flat, closed_z, slots[:, P:])
    switched, switch = _slots(plan.new, record.switch, mark.switches, options.log)
    escaped, escape = _slots(plan.fled, record.escape, mark.escapes, options.log)
    return Piece(saved, values_y, values_z, switched, switch, escaped, escape)


def _slots(new, values, before, size: int):
    """`values` where `new`, in order, put behind the `before` first entries of a log."""
    number = before + jnp.cumsum(new, axis=0, dtype=jnp.int32)
    k = jnp.arange(size, dtype=jnp.int32)[:, None]
    place = (number[:, None] <= k).sum(0, dtype=jnp.int32)
    here = (place < new.shape[0]) & (k >= before)
    place = jnp.minimum(place, new.shape[0] - 1)
    return here, jnp.take_along_axis(values, place, axis=0)


def _blank(problem: Problem, options: Options, state: State) -> tuple[Values, Facts]:
    P, K, B = state.z.shape[0], options.log, problem.lanes
    none, zero = jnp.full((K, B), -1, jnp.int32), jnp.zeros(B, jnp.int32)
    unknown = jnp.full((K, B), jnp.nan, state.y.dtype)
    at_start = (problem.ts <= 0)[:, None]
    y, z = (jnp.where(at_start, v, jnp.nan) for v in (state.y[:P], state.z))
    values = Values(y, z, unknown, unknown, state.y, state.z)
    facts = Facts(none, none, jnp.zeros((K, B), bool), zero, zero, zero, zero, state.t)
    return values, facts


def _merge(values: Values, facts: Facts, piece: Piece, plan: Plan, state: State):
    def put(mask, new, old):
        return jnp.where(_aligned(mask, new), new, old)

    K = facts.source.shape[0]
    number = facts.switches + jnp.cumsum(plan.new, axis=0, dtype=jnp.int32)
    k = jnp.arange(1, K + 1, dtype=jnp.int32)[:, None]
    hit = ((number[:, None] == k) & plan.hit[:, None]).any(0)
    source, target = (
        put(piece.switched, _slots(plan.new, v, facts.switches, K)[1], old)
        for v, old in ((plan.source, facts.source), (plan.target, facts.target))
    )
    escapes = facts.escapes + plan.fled.sum(0, dtype=jnp.int32)
    facts = Facts(
        source,
        target,
        facts.retrieved | hit,
        number[-1],
        escapes,
        state.steps,
        state.jumps,
        state.t,
    )
    values = Values(
        put(piece.saved, piece.y, values.y),
        put(piece.saved, piece.z, values.z),
        put(piece.switched, piece.switch, values.switch),
        put(piece.escaped, piece.escape, values.escape),
        state.y,
        state.z,
    )
    return values, facts


class Mark(eqx.Module):
    """The start of a chunk, for the way back."""

    state: State
    switches: Int[Array, " B"]
    escapes: Int[Array, " B"]


class Run(eqx.Module):
    """A run so far; `marks` holds the start of every `stride`-th chunk along a leading axis."""

    state: State
    values: Values
    facts: Facts
    marks: Mark
    chunks: Int[Array, ""]
    stride: Int[Array, ""]


def solve(problem: Problem, options: Options, marks: int = 0) -> Run:
    """Integrate all lanes to their ends, keeping up to `marks` starts of chunks."""
    state = start(problem)
    values, facts = _blank(problem, options, state)
    mark = Mark(state, facts.switches, facts.escapes)
    kept = jax.tree.map(lambda leaf: jnp.zeros((marks, *leaf.shape), leaf.dtype), mark)
    end = lax.stop_gradient(problem.ts[-1])
    none = jnp.zeros((), jnp.int32)

    def body(run):
        mark = Mark(run.state, run.facts.switches, run.facts.escapes)
        kept, stride = _keep(run, mark) if marks else (run.marks, run.stride)
        state, trace = chunk(problem, options, run.state)
        piece = harvest(problem, options, trace, mark)
        values, facts = _merge(run.values, run.facts, piece, trace.plan, state)
        return Run(state, values, facts, kept, run.chunks + 1, stride)

    def going(run):
        return run.state.active(end, options.max_steps).any()

    return lax.while_loop(going, body, Run(state, values, facts, kept, none, none + 1))


def _keep(run: Run, mark: Mark) -> tuple[Mark, Array]:
    """Put a mark on every `stride`-th chunk; where there are too many, on half as many."""
    kept, stride = run.marks, run.stride
    full = run.chunks == MARKS * stride
    kept = lax.cond(full, lambda: jax.tree.map(_thinned, kept), lambda: kept)
    stride = jnp.where(full, 2 * stride, stride)
    place = run.chunks // stride

    def put(all, one):
        return lax.dynamic_update_index_in_dim(all, one, place, 0)

    due = run.chunks % stride == 0
    return lax.cond(due, lambda: jax.tree.map(put, kept, mark), lambda: kept), stride


def _thinned(marks):
    return jnp.concatenate([marks[::2], marks[1::2]])


def stopped(problem: Problem, stop: Float[Array, " B"]) -> Problem:
    """With an end of its own for every lane."""
    return eqx.tree_at(lambda p: p.stop, problem, stop, is_leaf=lambda leaf: leaf is None)


def pull_back(
    parts: Any,
    rebuild: Callable[[Any], Problem],
    options: Options,
    marks: Mark,
    number,
    cotangent: Values,
) -> tuple[Any, Array, Array]:
    """The adjoint of `solve` with respect to `parts` of a problem, and to its start. `number`: of
    chunks, and of chunks a mark.

    Chunk by chunk from the last, each one repeated from its mark; then step by step, along the
    plans that were made, so that no crossing is searched for twice. A repeated chunk ends where the
    next one begins, also where it rounds differently (in a batch of another width) and so takes
    other steps: else there would be gaps.
    """
    problem = rebuild(parts)
    chunks, stride = number

    def back(i, carry, trace, stop):
        total, moving_bar = carry
        index = trace.number - 1 - i
        state, plan, record_bar = jax.tree.map(
            lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False),
            (trace.states, trace.plan, trace.record),
        )

        def moved(parts, t, y, z):
            problem = stopped(rebuild(parts), stop)
            start = eqx.tree_at(lambda s: (s.t, s.y, s.z), state, (t, y, z))
            return again(problem, options, start, plan)

        _, pull = jax.vjp(moved, parts, state.t, state.y, state.z)
        more, *moving_bar = pull((moving_bar, record_bar))
        return jax.tree.map(jnp.add, total, more), tuple(moving_bar)

    def forward(_, mark, stop):
        state, trace = chunk(stopped(problem, stop), options, mark.state)
        new, fled = (v.sum(0, dtype=jnp.int32) for v in (trace.plan.new, trace.plan.fled))
        return Mark(state, mark.switches + new, mark.escapes + fled)

    def pieces(first, begun, end):
        """In how many chunks the way from a mark to the next one is made again: in as many, but
        for Runge-Kutta steps, of which other rounding may make more."""
        if options.transit == "series":
            return jnp.minimum(stride, chunks - first)

        def short(carry):
            return carry[1].state.active(end, options.max_steps).any()

        def more(carry):
            return carry[0] + 1, forward(0, carry[1], end)

        return lax.while_loop(short, more, (jnp.zeros_like(first), begun))[0]

    def group(i, carry):
        place = -(-chunks // stride) - 1 - i
        first = place * stride
        begun = jax.tree.map(lambda leaf: leaf[place], marks)
        following = jnp.minimum(place + 1, marks.state.t.shape[0] - 1)
        end = problem.ts[-1] + jnp.zeros_like(begun.state.t)
        end = jnp.where(first + stride < chunks, marks.state.t[following], end)
        end = lax.stop_gradient(end)
        count = pieces(first, begun, end)
        part = partial(body, begun=begun, end=end, count=count)
        return lax.fori_loop(0, count, part, (*carry, end))[:2]

    def body(i, carry, begun, end, count):
        total, moving_bar, stop = carry
        mark = lax.fori_loop(0, count - 1 - i, partial(forward, stop=end), begun)
        _, trace = chunk(stopped(problem, stop), options, mark.state, keep=True)

        def outputs(parts, record):
            filled = eqx.tree_at(lambda t: t.record, trace, record)
            piece = harvest(rebuild(parts), options, filled, mark)
            masks = (piece.saved, piece.saved, piece.switched, piece.escaped)
            return (piece.y, piece.z, piece.switch, piece.escape), masks

        _, pull, masks = jax.vjp(outputs, parts, trace.record, has_aux=True)
        wanted = (cotangent.y, cotangent.z, cotangent.switch, cotangent.escape)
        more, record_bar = pull(tuple(map(_masked, masks, wanted)))
        total = jax.tree.map(jnp.add, total, more)
        trace = eqx.tree_at(lambda t: t.record, trace, record_bar)
        steps = partial(back, trace=trace, stop=stop)
        total, moving_bar = lax.fori_loop(0, trace.number, steps, (total, moving_bar))
        return total, moving_bar, mark.state.t

    t_bar = jnp.zeros_like(cotangent.end_y[0])
    carry = (jax.tree.map(jnp.zeros_like, parts), (t_bar, cotangent.end_y, cotangent.end_z))
    total, (_, y_bar, z_bar) = lax.fori_loop(0, -(-chunks // stride), group, carry)
    at_start = (problem.ts <= 0)[:, None]  # these saves are the start itself
    first_y, first_z = (jnp.where(at_start, c, 0.0).sum(0) for c in (cotangent.y, cotangent.z))
    return total, y_bar.at[: first_y.shape[0]].add(first_y), z_bar + first_z


def _masked(mask, value):
    return jnp.where(_aligned(mask, value), value, 0.0)


def _aligned(mask, value):
    """A mask of saves or slots, shaped to select in `value`."""
    return mask.reshape(mask.shape[0], *(1,) * (value.ndim - 2), mask.shape[1])
