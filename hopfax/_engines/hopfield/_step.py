"""One step of every lane: decide where it ends, advance to there, record what happened.

Each neuron is linear or saturated; all states with the same neurons saturated, at the same signs,
are a cell. Inside a cell the motion is smooth, so a run is made in steps that each stay in one
cell. A lane is on a plateau while all its neurons are saturated, and in a transit between two
plateaus:

            plateau           transit                 plateau
    --|-----------------|----|--|----|------|---------------------------|--
         closed form    ^    series, cell   ^                           ^
                       kink  by cell       all saturated               kink

What ends a step is the first of

    - a kink: a class meets |gain x| = 1, or an overlap m meets 0 under a readout |m| or max(m, 0);
    - in a transit, where the series carries no further, or where its slots for saves are used up;
    - the edge of a pulse, at which the law of motion changes;
    - the end of the run.

Each step has two parts, of which the first is never differentiated:

    State --flow_from--> Flow --decide--> Plan, State after     without derivatives: the end of the
      |                   |                |                    step, the cell after it, who leads,
      |                   |                |                    which saves and events lie in it
      +-------------------+----------------+
      |
      +--advance--> (t, y, z) after, Record                     differentiable, along the plan; from
                                                                the record saves and times of events
                                                                are read later

This is exact. The ends of steps do depend on parameters, but the motion is continuous across them,
so that to move an end changes nothing to first order; derivatives at fixed ends are those of the
solution. (Ends that the user sets, the last save and edges of pulses, keep theirs.) It is also what
the adjoint rests on: `repeat` makes a step again along its plan, without any search.

By the series, lanes on plateaus and in transits step together, each in its own way. With very many
classes a step is of one kind for all lanes: lanes that reach a plateau wait until enough others
have, while Runge-Kutta steps carry the rest on (`jumping`).
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..._trajectory import FLOOR, RETRIEVED
from .._crossing import differentiable, root_of
from ._flow import Flow, flow_from
from ._kick import kicked
from ._problem import (
    Mode,
    Options,
    Problem,
    State,
    highest,
    next_edge,
    next_saves,
    passed,
    pick,
)
from ._search import search
from ._series import Series, contract, horner, horner_slope
from ._transit import accept

_POLISH = {"series": 8, "plateau": 8, "runge-kutta": 3}  # looks for a root in its bracket
_PATIENCE = 2  # lanes wait on a plateau until half as many are there as in transit


class Record(eqx.Module):
    """What a step leaves behind, for saves and logs."""

    t: Float[Array, " B"]  # the start of the step, as are y, z and m
    y: Float[Array, "P B"]
    z: Float[Array, "P B"]
    m: Float[Array, "P B"]
    # (y, z) at the saves inside the step. Not stacked: a stack is not fused with what makes its
    # parts, and would be a slow copy in every step.
    slots: tuple[tuple[Float[Array, "P B"], Float[Array, "P B"]], ...]
    switch: Float[Array, " B"]  # NaN without one
    escape: Float[Array, " B"]  # NaN without one


class Plan(eqx.Module):
    """What was decided about a step: where it ends and what happens in it. It has no derivative."""

    t: Float[Array, " B"]
    at_end: Bool[Array, " B"]
    at_edge: Bool[Array, " B"]
    on_plateau: Bool[Array, " B"]
    first: Int[Array, " B"]  # saves `first` to `last - 1` lie in the step
    last: Int[Array, " B"]
    source: Int[Array, " B"]
    target: Int[Array, " B"]
    switched: Bool[Array, " B"]  # whether `target` takes the lead from `source`
    retrieved: Bool[Array, " B"]  # whether `target` is retrieved
    escaped: Bool[Array, " B"]  # whether `source` loses its stability
    switch: Float[Array, " B"]  # when, from the start of the step
    escape: Float[Array, " B"]
    m: Float[Array, "P B"]  # the overlaps at its end
    # the cell after it and which overlaps change sign; where second derivatives are asked for
    crossed: tuple[Float[Array, "C B"], Bool[Array, "P B"]] | None = None


def jumping(problem: Problem, options: Options, state: State) -> Bool[Array, ""]:
    """Whether Runge-Kutta steps pause for the lanes that wait on a plateau.

    So many leave it at once. Otherwise nearly every step would have to search for crossings, for
    the few lanes that are on a plateau just then."""
    active = state.active(problem.until, options.max_steps)
    waiting, moving = (active & state.on_plateau).sum(), (active & ~state.on_plateau).sum()
    return (moving == 0) | (waiting > moving // _PATIENCE)


def step(problem: Problem, options: Options, state: State) -> tuple[State, Plan, Record]:
    """Advance every lane that is not yet at its end."""

    def make(mode: Mode, state: State):
        flow = flow_from(problem, options, state, mode)
        # All arguments are stopped. When only some were, derivatives were wrong at saves inside a
        # transit and right everywhere else, which is easily overlooked.
        after, plan = decide(*lax.stop_gradient((problem, options, state, flow)), mode)
        (t, y, z), record = advance(problem, options, state, flow, plan)
        return eqx.tree_at(lambda s: (s.t, s.y, s.z), after, (t, y, z)), plan, record

    if options.transit == "series":
        return make("series", state)
    still = lax.stop_gradient(jumping(problem, options, state))
    return lax.cond(still, partial(make, "plateau"), partial(make, "runge-kutta"), state)


def repeat(problem: Problem, options: Options, state: State, plan: Plan):
    """(t, y, z) after a step that was decided on, and its record; differentiable."""

    def make(mode: Mode, state: State):
        return advance(problem, options, state, flow_from(problem, options, state, mode), plan)

    if options.transit == "series":
        return make("series", state)
    still = plan.on_plateau[0]  # the step was of one kind for all lanes
    return lax.cond(still, partial(make, "plateau"), partial(make, "runge-kutta"), state)


@jax.named_scope("decide")
def decide(
    problem: Problem, options: Options, state: State, flow: Flow, mode: Mode
) -> tuple[State, Plan]:
    """Where the step ends, and all of the state after it that has no derivative."""
    ends = problem.ts[-1], next_edge(problem, state)
    active = state.active(problem.until, options.max_steps)
    if mode != "series":  # lanes of the other kind wait
        active = active & (state.on_plateau == flow.on_plateau)
    if flow.trial is not None:
        reach = accept(problem, options, state, flow.trial)
    else:
        reach = search(problem, options, state, flow)
    t, at_end, at_edge = _end(problem, state, ends, reach.time, active)
    y, z = flow.at(t - state.t)
    m = _overlaps_at(problem, state, flow, t, y)
    leader, height, switched = _lead(state, m, active)
    escaped = _escapes(problem, state, z, active)
    events, zero = Events(problem, options, m, state.leader, leader), jnp.zeros_like(t)
    root = partial(root_of, high=t - state.t, looks=_POLISH[mode])
    plan = Plan(
        t=t,
        at_end=at_end,
        at_edge=at_edge,
        on_plateau=flow.on_plateau,
        first=state.saved,
        last=jnp.where(active, passed(problem.ts, t), state.saved),
        source=state.leader,
        target=leader,
        switched=switched,
        retrieved=active & (height > RETRIEVED),
        escaped=escaped,
        switch=zero if mode == "plateau" else root(switched, partial(events.gap, flow)),
        escape=root(escaped, partial(events.excess, flow)),
        m=m,
        crossed=(jnp.where(active, reach.s, state.s), reach.turned & active)
        if options.kicks
        else None,
    )
    after = State(
        t,
        y,
        z,
        s=jnp.where(active, reach.s, state.s),
        on_plateau=jnp.where(active, reach.on_plateau, state.on_plateau),
        sign=jnp.where(reach.turned & active, -state.sign, state.sign),
        leader=leader,
        height=height,
        saved=plan.last,
        piece=state.piece + at_edge.astype(jnp.int32),
        length=jnp.where(active, reach.length, state.length),
        steps=state.steps + active.astype(jnp.int32),
        jumps=state.jumps + (active & flow.on_plateau).astype(jnp.int32),
    )
    return after, plan


def _end(problem: Problem, state: State, ends, time, active):
    """The time at which the step ends, and whether that is the end of the run or an edge.

    These are taken as they are given. As the sum of a start and a length they would be off by
    rounding, and a save at the very end could be missed."""
    end, edge = ends
    at_end, at_edge = time >= end - state.t, time >= edge - state.t
    t = jnp.where(time >= problem.until - state.t, problem.until, state.t + time)
    t = jnp.where(at_end, end, jnp.where(at_edge, edge, t))
    t = jnp.where(active, t, state.t)
    return t, at_end & active, at_edge & active & ~at_end


def _overlaps_at(problem: Problem, state: State, flow: Flow, t, y):
    """The overlaps at the end of the step."""
    if flow.trial is not None:
        return jnp.where(t > state.t, flow.trial.m, flow.trial.before)
    if flow.series is None:  # on a plateau they stand still
        return flow.cell.constant
    return contract(problem.read, jnp.clip(contract(problem.rows, y), -1.0, 1.0))


def _lead(state: State, m, active):
    """The memory that leads after the step, its overlap, and whether it is another one than before.
    With all overlaps below the floor nobody leads, and whoever led last goes on being named."""
    leader, height = highest(jnp.abs(m))
    switched = active & (leader != state.leader) & (height > FLOOR)
    leader = jnp.where(switched, leader, state.leader)
    height = jnp.where(switched, height, pick(jnp.abs(m), leader))
    return leader, height, switched


def _escapes(problem: Problem, state: State, z, active):
    """Whether the memory that is retrieved loses its stability in the step: its saliency falls
    through the threshold."""
    before, now = (pick(v, state.leader) for v in (state.z, z))
    escaped = active & (state.height > RETRIEVED)
    return escaped & (before > problem.threshold) & (now <= problem.threshold)


@jax.named_scope("advance")
def advance(problem: Problem, options: Options, state: State, flow: Flow, plan: Plan):
    """(t, y, z) after a step that was decided on, and its record; differentiable."""
    # Times are constants but where the user set them: at the end and at the edges of inputs.
    t = jnp.where(plan.at_end, problem.ts[-1], plan.t)
    if problem.pieces is not None:
        t = jnp.where(plan.at_edge, next_edge(problem, state), t)
    y, z = flow.at(t - state.t)
    if plan.crossed is not None:
        y, z = kicked(problem, options, state, flow, plan.crossed, t - state.t, y, z)
    if problem.pieces is not None and problem.pieces.levels is not None:
        following = state.piece + plan.at_edge.astype(jnp.int32)
        z = jnp.where(plan.at_edge, pick(problem.pieces.levels, following), z)
    P = state.z.shape[0]
    if flow.series is None:  # saves on a plateau are read off its closed form later
        slots = [(jnp.zeros_like(state.y), jnp.zeros_like(state.z))] * options.slots
    else:
        # Slots beyond the step are filled at its start: the polynomial may overflow out there, and
        # an infinity that is not used still makes derivatives NaN.
        slots = [
            flow.at(jnp.where(ts <= plan.t, ts, state.t) - state.t)
            for ts in next_saves(problem.ts, plan.first, options.slots)
        ]
    events = Events(problem, options, plan.m, plan.source, plan.target)
    nothing = jnp.full_like(state.t, jnp.nan)
    record = Record(
        t=state.t,
        y=state.y[:P],
        z=state.z,
        m=flow.cell.constant,
        slots=tuple((y[:P], z) for y, z in slots),
        switch=nothing
        if flow.series is None
        else state.t + differentiable(plan.switched, lambda: events.gap(flow).value, plan.switch),
        escape=state.t
        + differentiable(plan.escaped, lambda: events.excess(flow).value, plan.escape),
    )
    return (t, y, z), record


class Events(eqx.Module):
    """Functions of time in a step whose roots are logged."""

    problem: Problem
    options: Options
    m: Float[Array, "P B"]  # the overlaps at the end of the step
    source: Int[Array, " B"]
    target: Int[Array, " B"]

    def gap(self, flow: Flow):
        """|m_source| - |m_target| and its slope, as a function of time in the step."""
        series, k = flow.series, jnp.arange(self.m.shape[0], dtype=self.source.dtype)[:, None]
        assert series is not None  # only transits change overlaps
        # Each overlap has a sign where its memory leads: `source` before the step and `target`
        # after it. Fixed there, the signs do not flip while the overlap passes through zero.
        before = jnp.sign(flow.cell.overlaps(lax.stop_gradient(series.y[0])))
        weight = jnp.where(k == self.source, lax.stop_gradient(before), 0.0)
        weight = weight - jnp.where(k == self.target, jnp.sign(self.m), 0.0)
        if self.options.transit == "series":
            # Inside a cell the gap is a polynomial too, with one coefficient in place of Q.
            linear = (weight[:, None] * flow.cell.linear).sum(0)
            terms = (linear * jnp.asarray(series.y)).sum(1)
            return _Polynomial(terms.at[0].add((weight * flow.cell.constant).sum(0)))
        weight = contract(jnp.swapaxes(self.problem.read, 0, 1), weight)
        return _ClippedGap(series, self.problem.rows, weight)

    def excess(self, flow: Flow):
        """The saliency of `source` above the threshold, and its slope, as a function of time."""
        return _Excess(flow, self.source, self.problem.threshold)


class _Polynomial(eqx.Module):
    """A polynomial, coefficients lowest first, and its slope."""

    terms: Float[Array, "K B"]

    def __call__(self, t):
        return horner_slope(self.terms, t)

    def value(self, t):
        return horner(self.terms, t)


class _ClippedGap(eqx.Module):
    """A weighted sum of clipped fields along a polynomial, and its slope."""

    series: Series
    rows: Float[Array, "C Q L"]
    weight: Float[Array, "C B"]

    def __call__(self, t):
        y, dy = horner_slope(self.series.y, t)
        u, du = contract(self.rows, y), contract(self.rows, dy)
        du = jnp.where(jnp.abs(u) < 1, du, 0.0)
        return (self.weight * jnp.clip(u, -1.0, 1.0)).sum(0), (self.weight * du).sum(0)

    def value(self, t):
        return self(t)[0]


class _Excess(eqx.Module):
    """A saliency above a threshold, and its slope."""

    flow: Flow
    index: Int[Array, " B"]
    threshold: Float[Array, " L"]

    def __call__(self, t):
        z, dz = self.flow.saliency(self.index, t)
        return z - self.threshold, dz

    def value(self, t):
        return self(t)[0]
