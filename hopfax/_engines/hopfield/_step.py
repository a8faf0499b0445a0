"""One step of every lane: up to the next crossing, or as far as the series carries."""

from functools import partial
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..._trajectory import FLOOR, RETRIEVED
from .._crossing import left, margins, moved, root_of, safe_time, slack
from ._plateau import Plateau, plateau
from ._problem import FIRST, Problem, Readout, State, highest, passed, pick, readout_slope
from ._series import Cell, Series, contract, expand, expand_reverse, horner_slope
from ._transit import Trial, next_length, runge_kutta

_SEARCH = 5  # looks at the margins in a step; a search that has not ended ends the step
_POLISH = {"series": 8, "plateau": 8, "runge-kutta": 3}  # looks for a root in a bracket
_PATIENCE = 2  # lanes wait on a plateau until half as many are there as in transit
_ROUNDING = 8  # units in the last place by which a step may miss the end of repeated steps


Transit: TypeAlias = Literal["series", "runge-kutta"]


class Options(eqx.Module):
    """What is fixed when the integrator is compiled."""

    order: int = eqx.field(static=True)
    tol: float = eqx.field(static=True)
    readout: Readout = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    slots: int = eqx.field(static=True)  # saves inside one step of the series
    chunk: int = eqx.field(static=True)  # steps between two looks at the record
    log: int = eqx.field(static=True)  # switches that can be noted
    reverse: bool = eqx.field(static=True)
    transit: Transit = eqx.field(static=True)

    @property
    def watches(self) -> bool:
        """Whether changes of sign of the overlaps end a step, because the readout has a kink."""
        return self.readout in ("abs", "relu") and self.transit == "series"


class Record(eqx.Module):
    """What a step leaves behind, for saves and logs."""

    t: Float[Array, " B"]
    y: Float[Array, "P B"]
    z: Float[Array, "P B"]
    m: Float[Array, "P B"]
    slots: tuple[tuple[Float[Array, "P B"], Float[Array, "P B"]], ...]  # not stacked: slow to fuse
    switch: Float[Array, " B"]  # NaN without one
    escape: Float[Array, " B"]  # NaN without one


class Plan(eqx.Module):
    """What was decided about a step: where it ends and what happens in it. It has no derivative."""

    t: Float[Array, " B"]
    at_end: Bool[Array, " B"]
    at_edge: Bool[Array, " B"]
    flat: Bool[Array, " B"]
    first: Int[Array, " B"]  # saves `first` to `last - 1` lie in the step
    last: Int[Array, " B"]
    source: Int[Array, " B"]
    target: Int[Array, " B"]
    new: Bool[Array, " B"]  # whether `target` takes the lead
    hit: Bool[Array, " B"]  # whether it is retrieved
    fled: Bool[Array, " B"]  # whether `source` loses its stability
    switch: Float[Array, " B"]  # when, from the start of the step
    escape: Float[Array, " B"]
    m: Float[Array, "P B"]  # the overlaps at its end


Mode: TypeAlias = Literal["series", "plateau", "runge-kutta"]


class Flow(eqx.Module):
    """The motion from the start of a step: closed where all is saturated, else a polynomial, which
    is the series in a cell or that of a Runge-Kutta step. One of the two may be None."""

    cell: Cell
    series: Series | None
    plateau: Plateau | None
    flat: Bool[Array, " B"]
    trial: Trial | None  # of Runge-Kutta

    def at(self, t):
        """(y, z)."""
        return self._joined(lambda closed: closed.at(t), lambda series: series.at(t))

    def motion(self, t):
        """y and its time derivative."""
        return self._joined(
            lambda closed: closed.motion(t), lambda series: horner_slope(series.y, t)
        )

    def saliency(self, index, t):
        """The saliency of memory `index` and its time derivative."""

        def closed(plateau):
            parts = plateau.target, plateau.slow, jnp.broadcast_to(plateau.rate, plateau.slow.shape)
            target, slow, rate = (pick(part, index) for part in parts)
            decay = slow * jnp.exp(-rate * t)
            return target + decay, -rate * decay

        return self._joined(
            closed, lambda series: horner_slope([pick(z, index) for z in series.z], t)
        )

    def _joined(self, closed, polynomial):
        if self.series is None:
            return closed(self.plateau)
        if self.plateau is None:
            return polynomial(self.series)
        pair = zip(closed(self.plateau), polynomial(self.series), strict=True)
        return tuple(jnp.where(self.flat, one, other) for one, other in pair)


def motion(problem: Problem, options: Options, state: State, mode: Mode) -> Flow:
    """The motion of every lane from where it is."""
    slope = readout_slope(options.readout, state.sign)
    law = problem.law_at(state.piece)
    if mode == "runge-kutta":
        length = lax.stop_gradient(_length(problem, options, state))
        series, trial = runge_kutta(problem, options.readout, law, state, length, options.tol)
        cell = Cell(trial.before, slope[:, None] * 0, slope)
        return Flow(cell, series, None, jnp.zeros_like(state.flat), trial)
    if mode == "plateau":
        cell = Cell(contract(problem.read, state.s), slope[:, None] * 0, slope)
        closed = plateau(state.y, state.z, cell.constant, slope, law)
        return Flow(cell, None, closed, jnp.ones_like(state.flat), None)
    cell = problem.cell(state.s, slope)
    expansion = expand_reverse if options.reverse else expand
    series: Any = expansion(options.order, state.y, state.z, cell, law)
    closed = plateau(state.y, state.z, cell.constant, slope, law)
    return Flow(cell, series, closed, (state.s != 0).all(0), None)  # not carried: dearer here


def jumping(problem: Problem, options: Options, state: State) -> Bool[Array, ""]:
    """Whether Runge-Kutta steps pause for the lanes that wait on a plateau: many leave it at once,
    so that crossings are searched for a few times and not in every step."""
    active = state.active(problem.until, options.max_steps)
    waiting, moving = (active & state.flat).sum(), (active & ~state.flat).sum()
    return (moving == 0) | (waiting > moving // _PATIENCE)


def step(problem: Problem, options: Options, state: State) -> tuple[State, Plan, Record]:
    """Advance every lane that is not yet at its end."""

    def make(mode: Mode, state: State):
        flow = motion(problem, options, state, mode)
        after, plan = decide(*lax.stop_gradient((problem, options, state, flow)), mode)
        (t, y, z), record = advance(problem, options, state, flow, plan)
        return eqx.tree_at(lambda s: (s.t, s.y, s.z), after, (t, y, z)), plan, record

    if options.transit == "series":
        return make("series", state)
    still = lax.stop_gradient(jumping(problem, options, state))
    return lax.cond(still, partial(make, "plateau"), partial(make, "runge-kutta"), state)


def again(problem: Problem, options: Options, state: State, plan: Plan):
    """(t, y, z) after a step that was decided on, and its record; differentiable."""

    def make(mode: Mode, state: State):
        return advance(problem, options, state, motion(problem, options, state, mode), plan)

    if options.transit == "series":
        return make("series", state)
    return lax.cond(plan.flat[0], partial(make, "plateau"), partial(make, "runge-kutta"), state)


class Found(eqx.Module):
    """How far a step goes, the saturation after it (is it complete?), which overlaps change sign at
    its end, and how long the next Runge-Kutta step is to be."""

    time: Float[Array, " B"]
    s: Float[Array, "C B"]
    flat: Bool[Array, " B"]
    turned: Bool[Array, "P B"]
    length: Float[Array, " B"]


def decide(
    problem: Problem, options: Options, state: State, flow: Flow, mode: Mode
) -> tuple[State, Plan]:
    """Where the step ends, and all of the state after it that has no derivative."""
    end, edge = problem.ts[-1], _edge(problem, state)
    active = state.active(problem.until, options.max_steps)
    if mode != "series":
        active = active & (state.flat == flow.flat)
    accept = mode == "runge-kutta"
    found = (_accept if accept else _search)(problem, options, state, flow)
    at_end, at_edge = found.time >= end - state.t, found.time >= edge - state.t
    t = jnp.where(found.time >= problem.until - state.t, problem.until, state.t + found.time)
    t = jnp.where(at_end, end, jnp.where(at_edge, edge, t))
    t = jnp.where(active, t, state.t)
    at_end, at_edge = at_end & active, at_edge & active & ~at_end
    y, z = flow.at(t - state.t)

    if flow.trial is not None:
        m = jnp.where(t > state.t, flow.trial.m, flow.trial.before)
    elif mode == "plateau":
        m = flow.cell.constant
    else:
        m = contract(problem.read, jnp.clip(contract(problem.rows, y), -1.0, 1.0))
    leader, height = highest(jnp.abs(m))
    new = active & (leader != state.leader) & (height > FLOOR)
    leader = jnp.where(new, leader, state.leader)
    height = jnp.where(new, height, pick(jnp.abs(m), leader))
    before, now = (pick(v, state.leader) for v in (state.z, z))
    fled = active & (state.height > RETRIEVED)
    fled = fled & (before > problem.threshold) & (now <= problem.threshold)
    events, zero = Events(problem, options, m, state.leader, leader), jnp.zeros_like(t)
    root = partial(root_of, high=t - state.t, looks=_POLISH[mode])
    plan = Plan(
        t=t,
        at_end=at_end,
        at_edge=at_edge,
        flat=flow.flat,
        first=state.saved,
        last=jnp.where(active, passed(problem.ts, t), state.saved),
        source=state.leader,
        target=leader,
        new=new,
        hit=active & (height > RETRIEVED),
        fled=fled,
        switch=zero if mode == "plateau" else root(new, partial(events.gap, flow)),
        escape=root(fled, partial(events.excess, flow)),
        m=m,
    )
    after = State(
        t,
        y,
        z,
        s=jnp.where(active, found.s, state.s),
        flat=jnp.where(active, found.flat, state.flat),
        sign=jnp.where(found.turned & active, -state.sign, state.sign),
        leader=leader,
        height=height,
        saved=plan.last,
        piece=state.piece + at_edge.astype(jnp.int32),
        length=jnp.where(active, found.length, state.length),
        steps=state.steps + active.astype(jnp.int32),
        jumps=state.jumps + (active & flow.flat).astype(jnp.int32),
    )
    return after, plan


def advance(problem: Problem, options: Options, state: State, flow: Flow, plan: Plan):
    """(t, y, z) after a step that was decided on, and its record; differentiable."""
    # Times are constants but where the user set them: at the end and at the edges of inputs.
    t = jnp.where(plan.at_end, problem.ts[-1], plan.t)
    if problem.pieces is not None:
        t = jnp.where(plan.at_edge, _edge(problem, state), t)
    y, z = flow.at(t - state.t)
    if problem.pieces is not None and problem.pieces.levels is not None:
        following = state.piece + plan.at_edge.astype(jnp.int32)
        z = jnp.where(plan.at_edge, pick(problem.pieces.levels, following), z)
    P = state.z.shape[0]
    if flow.series is None:  # saves on a plateau are read off its closed form later
        slots = [(jnp.zeros_like(state.y), jnp.zeros_like(state.z))] * options.slots
    else:
        slots = [
            flow.at(jnp.where(ts <= plan.t, ts, state.t) - state.t)
            for ts in _upcoming(problem.ts, plan.first, options.slots)
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
        else state.t + moved(plan.new, partial(events.gap, flow), plan.switch),
        escape=state.t + moved(plan.fled, partial(events.excess, flow), plan.escape),
    )
    return (t, y, z), record


def _upcoming(ts, saved, slots: int) -> list[Float[Array, " B"]]:
    """The next save times; the last one again where there are no more."""
    T, L = ts.shape
    index = [jnp.minimum(saved + r, T - 1) for r in range(slots)]
    if L == 1:
        return [ts[i, 0] for i in index]
    return [jnp.take_along_axis(ts, i[None], axis=0)[0] for i in index]


def _edge(problem: Problem, state: State) -> Float[Array, " B"]:
    """When an input jumps next."""
    if problem.pieces is None:
        return jnp.full_like(state.t, jnp.inf)
    edges = problem.pieces.edges
    ahead = jnp.arange(len(edges), dtype=state.piece.dtype)[:, None] >= state.piece
    return jnp.where(ahead, edges, jnp.inf).min(0)


def _limit(problem: Problem, options: Options, state: State):
    """How far a step may go: to the end or the next jump of an input; and a polynomial, which has
    slots for a few saves only."""
    limit = jnp.minimum(problem.ts[-1], _edge(problem, state)) - state.t
    more = state.saved + options.slots < problem.ts.shape[0]
    full = _upcoming(problem.ts, state.saved, options.slots)[-1] - state.t
    return limit, jnp.where(more, jnp.minimum(limit, full), limit)


def _length(problem: Problem, options: Options, state: State):
    """The length of a Runge-Kutta step; 0 for a lane that waits on its plateau."""
    moving = state.active(problem.until, options.max_steps) & ~state.flat
    length = jnp.minimum(state.length, _limit(problem, options, state)[1])
    return jnp.where(moving, length, 0.0)


def _accept(problem: Problem, options: Options, state: State, flow: Flow) -> Found:
    """Take a Runge-Kutta step if its error is small."""
    trial = flow.trial
    assert trial is not None
    length, left = _length(problem, options, state), problem.until - state.t
    beyond = length - left > _ROUNDING * jnp.finfo(left.dtype).eps * jnp.abs(problem.until)
    accepted = trial.accepted & ~beyond
    cut = accepted & (length < state.length)
    following = next_length(length, trial.error, accepted)
    # Only a good step is cut: a cut trial of a bad one would begin another schedule.
    following = jnp.where(trial.accepted & beyond, left, following)
    return Found(
        time=jnp.where(accepted, length, 0.0),
        s=jnp.where(accepted, jnp.clip(jnp.trunc(trial.u), -1.0, 1.0), state.s),
        flat=accepted & (jnp.abs(trial.u).min(0) >= 1),
        turned=jnp.zeros(state.sign.shape, bool),
        length=jnp.where(cut, jnp.maximum(following, state.length), following),
    )


def _search(problem: Problem, options: Options, state: State, flow: Flow) -> Found:
    """The first crossing, up to where the series carries."""
    rows, s, closed, cell = problem.rows, state.s, flow.plateau, flow.cell
    assert closed is not None
    late = slack(s.dtype)
    reach, full = _limit(problem, options, state)
    # On a plateau y'' = bend e^-t + rate^2 lag phi with 0 <= phi <= 1.
    P = state.z.shape[0]
    bend = closed.fast.at[:P].add(-(1 + closed.rate) * closed.lag)
    curve = jnp.zeros_like(state.y).at[:P].add(closed.rate**2 * jnp.abs(closed.lag))
    brief = jnp.maximum(-s * contract(rows, bend), 0.0)
    turning = None
    tiny = float(jnp.finfo(reach.dtype).eps) ** 2  # a curvature of 0 has no root to divide by
    if flow.series is not None:
        reach = jnp.where(flow.flat, reach, jnp.minimum(full, flow.series.radius(options.tol)))
        power, turns = jnp.ones_like(reach), jnp.zeros_like(state.y)
        length = jnp.where(flow.flat, 0.0, reach)
        for k in range(2, len(flow.series.y)):
            turns = turns + (k * (k - 1) * power) * jnp.abs(flow.series.y[k])
            power = power * length
        curve, brief = jnp.where(flow.flat, curve, turns), jnp.where(flow.flat, brief, 0.0)
        turning = contract(jnp.abs(cell.linear), turns) + tiny if options.watches else None
    steady = contract(jnp.abs(rows), curve) + tiny

    def look(t):
        y, dy = flow.motion(t)
        ahead, other = margins(contract(rows, y), contract(rows, dy), s)
        if turning is None:
            return ahead, other, None
        dm = contract(cell.linear, dy)
        return ahead, other, (state.sign * cell.overlaps(y), state.sign * dm)

    def advance(_, t):
        ahead, other, sign = look(t)
        curvature = steady + brief * jnp.exp(-t)
        wait = jnp.minimum(
            safe_time(ahead[0] + late, ahead[1], curvature),
            safe_time(other[0] + late, other[1], curvature),
        ).min(0)
        if turning is not None and sign is not None:
            wait = jnp.minimum(wait, safe_time(sign[0] + late, sign[1], turning).min(0))
        return jnp.minimum(t + wait, reach)

    t = lax.fori_loop(0, _SEARCH, advance, jnp.zeros_like(reach))
    ahead, other, sign = look(t)
    after = jnp.where(left(*ahead), 1 - jnp.abs(s), jnp.where(left(*other), -1.0, s))
    turned = jnp.zeros(state.sign.shape, bool) if sign is None else left(*sign)
    flat = (after != 0).all(0) if flow.series is None else state.flat
    return Found(t, after.astype(s.dtype), flat, turned, jnp.full_like(t, FIRST))


class Events(eqx.Module):
    """Functions of time in a step whose roots are logged."""

    problem: Problem
    options: Options
    m: Float[Array, "P B"]  # the overlaps at the end of the step
    source: Int[Array, " B"]
    target: Int[Array, " B"]

    def gap(self, flow: Flow):
        """How far `source` leads before `target`, and the slope of that, as a function of time."""
        series, k = flow.series, jnp.arange(self.m.shape[0], dtype=self.source.dtype)[:, None]
        assert series is not None  # only transits change overlaps
        # Each has a sign where it leads: before the step and after it.
        before = jnp.sign(flow.cell.overlaps(lax.stop_gradient(series.y[0])))
        weight = jnp.where(k == self.source, lax.stop_gradient(before), 0.0)
        weight = weight - jnp.where(k == self.target, jnp.sign(self.m), 0.0)
        if self.options.transit == "series":
            # Inside a cell the gap is a polynomial too.
            linear = (weight[:, None] * flow.cell.linear).sum(0)
            terms = (linear * jnp.asarray(series.y)).sum(1)
            return partial(horner_slope, terms.at[0].add((weight * flow.cell.constant).sum(0)))
        weight = contract(jnp.swapaxes(self.problem.read, 0, 1), weight)

        def value_and_slope(t):
            y, dy = horner_slope(series.y, t)
            u, du = contract(self.problem.rows, y), contract(self.problem.rows, dy)
            du = jnp.where(jnp.abs(u) < 1, du, 0.0)
            return (weight * jnp.clip(u, -1.0, 1.0)).sum(0), (weight * du).sum(0)

        return value_and_slope

    def excess(self, flow: Flow):
        """How far the saliency of `source` lies above the threshold, and the slope of that, as a
        function of time."""

        def value_and_slope(t):
            z, dz = flow.saliency(self.source, t)
            return z - self.problem.threshold, dz

        return value_and_slope
