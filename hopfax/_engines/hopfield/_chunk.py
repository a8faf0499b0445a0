"""A chunk of steps: a loop that keeps what each step leaves behind, and what is read off that.

Saves and log entries are not written step by step. In a batch every lane has its own next save, and
to write there would be a scatter in each step, which costs more than the step itself. A step only
stores its record, in row n of a `Trace` (the same row for all lanes), and after some 64 steps
`read_off` gathers from these rows what belongs to each save time and to each entry of the logs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..._programs import traced_once
from ._plateau import plateau
from ._problem import Options, Problem, State, readout_slope
from ._step import Plan, Record, step

_step = traced_once(step)  # for the shapes of its outputs, and in the loop


class Trace(eqx.Module):
    """A chunk, step by step along a leading axis S: the state before (if kept), what was decided,
    and the record. Only the first `number` rows are used."""

    states: State | None
    plan: Plan
    record: Record
    number: Int[Array, ""]


class Mark(eqx.Module):
    """The start of a chunk: the state, and how many entries the logs have."""

    state: State
    switches: Int[Array, " B"]
    escapes: Int[Array, " B"]


class Readings(eqx.Module):
    """What is read off one chunk, each with a mask of the places that it fills."""

    saved: Bool[Array, "T B"]
    y: Float[Array, "T P B"]
    z: Float[Array, "T P B"]
    switched: Bool[Array, "K B"]
    switch: Float[Array, "K B"]
    escaped: Bool[Array, "K B"]
    escape: Float[Array, "K B"]


def chunk(
    problem: Problem, options: Options, state: State, repeated: Bool[Array, ""] | None = None
) -> tuple[State, Trace]:
    """Up to `options.chunk` steps, while a lane is not yet at its end.

    Unless `repeated` is None, the state before every step is kept as well. Where it is true the
    steps go on until the chunk ends where it ended in the run: in a batch of another width they may
    round otherwise, so that more of them are needed, and there is room for half as many again."""
    size = most = options.chunk
    keep = repeated is not None
    if repeated is not None:
        size += size // 2
        most = jnp.where(repeated, size, most)
    # All rows are there from the start, as a loop cannot make its carry longer.
    plan, record = jax.eval_shape(_step, problem, options, state)[1:]
    rows = (state if keep else None, plan, record)
    empty = jax.tree.map(lambda row: jnp.zeros((size, *row.shape), row.dtype), rows)
    end = lax.stop_gradient(problem.until)

    def going(carry):
        # The chunk ends with the lanes: a loop of a fixed number of steps would go on without any.
        state, trace = carry
        return (trace.number < most) & state.active(end, options.max_steps).any()

    def body(carry):
        state, trace = carry
        after, plan, record = _step(problem, options, state)

        def put(all, one):
            return lax.dynamic_update_index_in_dim(all, one, trace.number, 0)

        states = jax.tree.map(put, trace.states, state if keep else None)
        plan, record = jax.tree.map(put, (trace.plan, trace.record), (plan, record))
        return after, Trace(states, plan, record, trace.number + 1)

    states, plan, record = empty
    trace = Trace(states, plan, record, jnp.zeros((), jnp.int32))
    return lax.while_loop(going, body, (state, trace))


def read_off(problem: Problem, options: Options, trace: Trace, mark: Mark) -> Readings:
    """Saves and log entries of a chunk that began at `mark`; differentiable."""
    plan, record = trace.plan, trace.record
    T = problem.ts.shape[0]
    R, (S, P, B) = len(record.slots), record.y.shape
    k = jnp.arange(T, dtype=jnp.int32)[:, None]
    # The step that holds save k: the first one whose `last` exceeds k. Counting those before it is
    # one comparison of all pairs; a search would be a loop of gathers.
    used = (jnp.arange(S, dtype=jnp.int32) < trace.number)[:, None, None]
    place = (used & (plan.last[:, None] <= k)).sum(0, dtype=jnp.int32)
    saved = (place < trace.number) & (k >= plan.first[0])
    place = jnp.minimum(place, S - 1)
    held = jnp.concatenate(  # side by side, so that one gather serves all
        [
            record.t[:, None],
            plan.on_plateau[:, None].astype(record.t.dtype),
            record.m,
            record.y,
            record.z,
        ],
        axis=1,
    )
    held = jnp.take_along_axis(held, place[:, None], axis=0)
    t, on_plateau = held[:, 0], held[:, 1] > 0
    m, y, z = held[:, 2 : 2 + P], held[:, 2 + P : 2 + 2 * P], held[:, 2 + 2 * P :]
    # In a transit save k is in slot k - first of its step.
    first = jnp.take_along_axis(plan.first, place, axis=0)
    slot = place * R + jnp.clip(k - first, 0, R - 1)
    slots = jnp.stack([jnp.concatenate(pair, axis=1) for pair in record.slots], axis=1)
    slots = slots.reshape(S * R, 2 * P, B)
    slots = jnp.take_along_axis(slots, slot[:, None], axis=0)
    # On a plateau it follows from the closed form, of which only the part in the patterns is asked.
    law = eqx.tree_at(lambda law: law.push, problem.law, problem.law.push[:0])

    def closed(y, z, m, t):
        slope = readout_slope(options.readout, jnp.where(m < 0, -1.0, 1.0))
        return plateau(y, z, m, slope, law).at(t)

    # Saves that are not on a plateau take part with time 0: exponentials of what may be a negative
    # time would overflow, and an infinity that is not used still makes derivatives NaN.
    late = jnp.where(saved & on_plateau, problem.ts - t, 0.0)
    closed_y, closed_z = jax.vmap(closed)(y, z, m, late)
    on_plateau = on_plateau[:, None]
    values_y = jnp.where(on_plateau, closed_y, slots[:, :P])
    values_z = jnp.where(on_plateau, closed_z, slots[:, P:])
    switched, switch = entries(plan.switched, record.switch, mark.switches, options.log)
    escaped, escape = entries(plan.escaped, record.escape, mark.escapes, options.log)
    return Readings(saved, values_y, values_z, switched, switch, escaped, escape)


def entries(new: Bool[Array, "S B"], values, before: Int[Array, " B"], size: int):
    """The entries that a chunk adds to a log of `size` places, which has `before` already: the
    `values` of the steps that are `new`, in order. With a mask of the places that they take."""
    # As in `read_off`, the step that makes entry k is the first one after which there are more
    # than k, by counting those before it.
    number = before + jnp.cumsum(new, axis=0, dtype=jnp.int32)
    k = jnp.arange(size, dtype=jnp.int32)[:, None]
    place = (number[:, None] <= k).sum(0, dtype=jnp.int32)
    here = (place < new.shape[0]) & (k >= before)
    place = jnp.minimum(place, new.shape[0] - 1)
    return here, jnp.take_along_axis(values, place, axis=0)
