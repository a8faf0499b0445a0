"""All steps of all lanes, what is read off them, and the adjoint of that.

A run is a loop over chunks of steps (`chunk`), and after each the saves, switches and escapes that
lie in it are filled in (`read_off`). Nothing else is kept: the memory of a run does not grow with
its number of steps.

Reverse mode needs the states of all steps, from the last to the first. They are made again, chunk
by chunk, from marks: states that were kept at the start of every chunk or, in a long run, of every
second, fourth ... chunk (the stride), so that there are at most 64 of them. With stride 2:

      start                                                               end
        M---chunk---+---chunk---M---chunk---+---chunk---M---chunk---+---chunk---|      M is a mark
        |       stretch 0       |       stretch 1       |       stretch 2       |

        ------------------------------ solve ---------------------------------->
                                                                               |       it turns here
                                                         <------ first --------+
                                 <------- then ---------+
         <------- last ---------+

The way back through one stretch takes its chunks one by one, from the last to the first. Each is
reached by running forward from the mark, is run with all of its states kept, and is then walked
back step by step:

        M ---- forward, nothing kept ----> + ==== forward, states kept ====> next M
                                                                               |       it turns here
                                           + <--- step <--- step <--- step <---+
        M ==== forward, states kept =====> +
                                           |                                           and here
        M <--- step <--- step <--- step <--+

Walking back over a step is the `vjp` of `repeat`, which makes the step again along its plan: what
was decided has no derivative and is not decided again. At each turn the cotangents of the saves,
switches and escapes that lie in the chunk enter, by the `vjp` of `read_off`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._chunk import Mark, Readings, Trace, chunk, entries, read_off
from ._problem import Options, Problem, State, start
from ._step import Plan, repeat

MARKS = 64  # the most marks that are kept


class Values(eqx.Module):
    """Outputs that have derivatives."""

    y: Float[Array, "T P B"]
    z: Float[Array, "T P B"]
    switch: Float[Array, "K B"]
    escape: Float[Array, "K B"]
    end_y: Float[Array, "Q B"]
    end_z: Float[Array, "P B"]


class Facts(eqx.Module):
    """Outputs that have no derivatives: memories, counts, and the time at which a lane stopped."""

    source: Int[Array, "K B"]
    target: Int[Array, "K B"]
    retrieved: Bool[Array, "K B"]
    switches: Int[Array, " B"]
    escapes: Int[Array, " B"]
    steps: Int[Array, " B"]
    jumps: Int[Array, " B"]
    t: Float[Array, " B"]


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
    # How long the loop goes on has no derivative.
    end = lax.stop_gradient(problem.ts[-1])
    none = jnp.zeros((), jnp.int32)

    def body(run):
        mark = Mark(run.state, run.facts.switches, run.facts.escapes)
        # Only a run that is differentiated in reverse keeps marks: 64 states of every lane.
        kept, stride = _keep(run, mark) if marks else (run.marks, run.stride)
        state, trace = chunk(problem, options, run.state)
        readings = read_off(problem, options, trace, mark)
        values, facts = _merge(run.values, run.facts, readings, trace.plan, state)
        return Run(state, values, facts, kept, run.chunks + 1, stride)

    def going(run):
        return run.state.active(end, options.max_steps).any()

    return lax.while_loop(going, body, Run(state, values, facts, kept, none, none + 1))


def _blank(problem: Problem, options: Options, state: State) -> tuple[Values, Facts]:
    """The outputs before the first step: saves at the start, and empty logs."""
    P, K, B = state.z.shape[0], options.log, problem.lanes
    none, zero = jnp.full((K, B), -1, jnp.int32), jnp.zeros(B, jnp.int32)
    unknown = jnp.full((K, B), jnp.nan, state.y.dtype)
    at_start = (problem.ts <= 0)[:, None]
    y, z = (jnp.where(at_start, v, jnp.nan) for v in (state.y[:P], state.z))
    values = Values(y, z, unknown, unknown, state.y, state.z)
    facts = Facts(none, none, jnp.zeros((K, B), bool), zero, zero, zero, zero, state.t)
    return values, facts


def _merge(values: Values, facts: Facts, readings: Readings, plan: Plan, state: State):
    """The outputs with what was read off one more chunk."""

    def put(mask, new, old):  # a select; a scatter into each lane's own places would be slow
        return jnp.where(_aligned(mask, new), new, old)

    K = facts.source.shape[0]
    number = facts.switches + jnp.cumsum(plan.switched, axis=0, dtype=jnp.int32)
    k = jnp.arange(1, K + 1, dtype=jnp.int32)[:, None]
    # A memory is retrieved in any step between its switch and the next one, so that this may be
    # a later chunk than that of the switch.
    retrieved = ((number[:, None] == k) & plan.retrieved[:, None]).any(0)
    source, target = (
        put(readings.switched, entries(plan.switched, v, facts.switches, K)[1], old)
        for v, old in ((plan.source, facts.source), (plan.target, facts.target))
    )
    escapes = facts.escapes + plan.escaped.sum(0, dtype=jnp.int32)
    facts = Facts(
        source,
        target,
        facts.retrieved | retrieved,
        number[-1],
        escapes,
        state.steps,
        state.jumps,
        state.t,
    )
    values = Values(
        put(readings.saved, readings.y, values.y),
        put(readings.saved, readings.z, values.z),
        put(readings.switched, readings.switch, values.switch),
        put(readings.escaped, readings.escape, values.escape),
        state.y,
        state.z,
    )
    return values, facts


def _keep(run: Run, mark: Mark) -> tuple[Mark, Array]:
    """The marks with that of the chunk that begins, if it is due.

    How many chunks a run takes is not known beforehand. When all places are taken every second
    mark is given up and the stride is doubled, so that the marks stay evenly spaced."""
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
    """Every second mark in front; the others behind it, to be overwritten."""
    return jnp.concatenate([marks[::2], marks[1::2]])


class _Way(NamedTuple):
    """What every stage of the way back is told. `parts` are the leaves of a problem that are
    differentiated, and `rebuild` makes the problem of them."""

    parts: list[Array]
    rebuild: Callable[[list[Array]], Problem]
    options: Options
    marks: Mark
    chunks: Int[Array, ""]
    stride: Int[Array, ""]
    cotangent: Values
    problem: Problem


def pull_back(
    parts: list[Array],
    rebuild: Callable[[list[Array]], Problem],
    options: Options,
    marks: Mark,
    number: Int[Array, "2"],
    cotangent: Values,
) -> tuple[list[Array], Array, Array]:
    """The adjoint of `solve`: cotangents of `parts`, and of y and z at the start, from those of the
    outputs. `number`: of chunks in the run, and of chunks for each mark (the stride).

    A repeated chunk ends where the next one begins, also where it rounds otherwise (in a batch of
    another width) and so takes other steps. If it made as many steps as it did in the run instead,
    there would be gaps and overlaps between chunks, whose share of the derivative would be lost or
    counted twice.
    """
    problem = rebuild(parts)
    chunks, stride = number
    way = _Way(parts, rebuild, options, marks, chunks, stride, cotangent, problem)
    # At the end of the run the state has the cotangents of what is returned of it; its time is an
    # output without derivatives.
    t_bar = jnp.zeros_like(cotangent.end_y[0])
    carry = (jax.tree.map(jnp.zeros_like, parts), (t_bar, cotangent.end_y, cotangent.end_z))
    stretches = -(-chunks // stride)
    total, (_, y_bar, z_bar) = lax.fori_loop(0, stretches, partial(_back_over_stretch, way), carry)
    at_start = (problem.ts <= 0)[:, None]  # these saves are the start itself
    first_y, first_z = (jnp.where(at_start, c, 0.0).sum(0) for c in (cotangent.y, cotangent.z))
    return total, y_bar.at[: first_y.shape[0]].add(first_y), z_bar + first_z


def _back_over_stretch(way: _Way, i, carry):
    """From the end of a stretch to its mark; `i` counts stretches from the last one.

    `carry` is the sum of the cotangents of `parts` so far, and the cotangents of t, y and z."""
    chunks, stride, marks = way.chunks, way.stride, way.marks
    place = -(-chunks // stride) - 1 - i
    first = place * stride  # the number of the chunk at the mark
    begun = jax.tree.map(lambda leaf: leaf[place], marks)
    # The stretch ends at the next mark, and the last stretch at the end of the run.
    following = jnp.minimum(place + 1, marks.state.t.shape[0] - 1)
    end = way.problem.ts[-1] + jnp.zeros_like(begun.state.t)
    end = jnp.where(first + stride < chunks, marks.state.t[following], end)
    end = lax.stop_gradient(end)
    count = _chunks_in_stretch(way, first, begun, end)
    back = partial(_back_over_chunk, way, begun=begun, end=end, count=count)
    return lax.fori_loop(0, count, back, (*carry, end))[:2]


def _chunks_in_stretch(way: _Way, first, begun: Mark, end):
    """How many chunks it takes to go from a mark to the next one again: as many as in the run, but
    for Runge-Kutta steps, of which other rounding may make more."""
    if way.options.transit == "series":
        return jnp.minimum(way.stride, way.chunks - first)

    def short(carry):
        return carry[1].state.active(end, way.options.max_steps).any()

    def more(carry):
        return carry[0] + 1, _forward(way, end, carry[1])

    return lax.while_loop(short, more, (jnp.zeros_like(first), begun))[0]


def _forward(way: _Way, stop, mark: Mark) -> Mark:
    """The start of the next chunk."""
    return _next(mark, *chunk(_stopped(way.problem, stop), way.options.onward, mark.state))


def _next(mark: Mark, state: State, trace: Trace) -> Mark:
    """The end of the chunk that began at `mark`, at which the next one begins."""
    switches, escapes = (
        v.sum(0, dtype=jnp.int32) for v in (trace.plan.switched, trace.plan.escaped)
    )
    return Mark(state, mark.switches + switches, mark.escapes + escapes)


def _back_over_chunk(way: _Way, i, carry, begun: Mark, end, count):
    """From the end of a chunk to its start; `i` counts from the last of the `count` chunks in the
    stretch from the mark `begun` to `end`. `carry` also has the time at which the chunk ends."""
    total, moving_bar, stop = carry

    def onward(k, carry):
        following, *_ = carry
        repeated = k == count - 1 - i
        problem = _stopped(way.problem, jnp.where(repeated, stop, end))
        state, trace = chunk(problem, way.options.onward, following.state, repeated)
        return _next(following, state, trace), following, trace

    # Chunks before this one are run again and thrown away. With a stride of s that is (s - 1) / 2
    # runs more for each chunk on average; to keep their states would take memory without bound.
    # They are run by the same loop, which makes a fifth of the program less to compile.
    shapes = jax.eval_shape(partial(onward, i), (begun,))[2]
    blank = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    _, mark, trace = lax.fori_loop(0, count - i, onward, (begun, begun, blank))

    # At the turn, cotangents of the outputs that lie in this chunk become those of its records.
    def outputs(parts, record):
        filled = eqx.tree_at(lambda t: t.record, trace, record)
        readings = read_off(way.rebuild(parts), way.options, filled, mark)
        masks = (readings.saved, readings.saved, readings.switched, readings.escaped)
        return (readings.y, readings.z, readings.switch, readings.escape), masks

    _, pull, masks = jax.vjp(outputs, way.parts, trace.record, has_aux=True)
    cotangent = way.cotangent
    wanted = (cotangent.y, cotangent.z, cotangent.switch, cotangent.escape)
    more, record_bar = pull(tuple(map(_masked, masks, wanted)))
    total = jax.tree.map(jnp.add, total, more)
    # From here on the trace carries cotangents in place of records, which are needed no more.
    trace = eqx.tree_at(lambda t: t.record, trace, record_bar)
    steps = partial(_back_over_step, way, trace=trace, stop=stop)
    total, moving_bar = lax.fori_loop(0, trace.number, steps, (total, moving_bar))
    return total, moving_bar, mark.state.t


def _back_over_step(way: _Way, i, carry, trace: Trace, stop):
    """From the end of a step to its start; `i` counts steps from the last one of the chunk."""
    total, moving_bar = carry
    index = trace.number - 1 - i
    state, plan, record_bar = jax.tree.map(
        lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False),
        (trace.states, trace.plan, trace.record),
    )

    def moved(parts, t, y, z):
        problem = _stopped(way.rebuild(parts), stop)
        start = eqx.tree_at(lambda s: (s.t, s.y, s.z), state, (t, y, z))
        return repeat(problem, way.options, start, plan)

    _, pull = jax.vjp(moved, way.parts, state.t, state.y, state.z)
    more, *moving_bar = pull((moving_bar, record_bar))
    return jax.tree.map(jnp.add, total, more), tuple(moving_bar)


def _stopped(problem: Problem, stop: Float[Array, " B"]) -> Problem:
    """The problem with an end of its own for every lane."""
    return eqx.tree_at(lambda p: p.stop, problem, stop, is_leaf=lambda leaf: leaf is None)


def _masked(mask, value):
    """The cotangents of the outputs that a chunk fills in, and 0 for those of other chunks."""
    return jnp.where(_aligned(mask, value), value, 0.0)


def _aligned(mask, value):
    """A mask of saves or log entries, shaped to select in `value`."""
    return mask.reshape(mask.shape[0], *(1,) * (value.ndim - 2), mask.shape[1])
