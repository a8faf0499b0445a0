"""One step of every lane: up to the next crossing, or as far as the series carries."""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._trajectory import FLOOR, RETRIEVED
from ._crossing import left, margins, safe_time, slack
from ._plateau import Plateau, plateau
from ._problem import Problem, Readout, State, highest, pick, readout_slope
from ._series import Cell, Series, contract, expand, expand_reverse, horner_slope

_SEARCH = 5  # looks at the margins in a step; a search that has not ended ends the step
_POLISH = 12


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

    @property
    def signed(self) -> bool:
        """Whether the readout has a kink of its own."""
        return self.readout in ("abs", "relu")


class Record(eqx.Module):
    """What a step leaves behind, for saves and logs."""

    t: Float[Array, " B"]
    y: Float[Array, "P B"]
    z: Float[Array, "P B"]
    m: Float[Array, "P B"]
    slot_y: Float[Array, "R P B"]
    slot_z: Float[Array, "R P B"]
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


class Flow(eqx.Module):
    """The motion from the start of a step: closed where all is saturated, else a series."""

    cell: Cell
    series: Series
    plateau: Plateau
    flat: Bool[Array, " B"]

    def at(self, t):
        """(y, z)."""
        pair = zip(self.plateau.at(t), self.series.at(t), strict=True)
        return tuple(jnp.where(self.flat, closed, other) for closed, other in pair)

    def motion(self, t):
        """y and its time derivative."""
        pair = zip(self.plateau.motion(t), horner_slope(self.series.y, t), strict=True)
        return tuple(jnp.where(self.flat, closed, other) for closed, other in pair)

    def saliency(self, t):
        """z and its time derivative."""
        decay = self.plateau.slow * jnp.exp(-self.plateau.rate * t)
        closed = (self.plateau.target + decay, -self.plateau.rate * decay)
        pair = zip(closed, horner_slope(self.series.z, t), strict=True)
        return tuple(jnp.where(self.flat, one, other) for one, other in pair)


def motion(problem: Problem, options: Options, state: State) -> Flow:
    """The motion of every lane in its present cell."""
    slope = readout_slope(options.readout, state.sign)
    law = problem.law_at(state.piece)
    cell = problem.cell(state.s, slope)
    series = expand_reverse if options.reverse else expand
    return Flow(
        cell,
        series(options.order, state.y, state.z, cell, law),
        plateau(state.y, state.z, cell.constant, slope, law),
        (state.s != 0).all(0),
    )


def step(problem: Problem, options: Options, state: State) -> tuple[State, Plan, Record]:
    """Advance every lane that is not yet at its end."""
    flow = motion(problem, options, state)
    after, plan = decide(*lax.stop_gradient((problem, options, state, flow)))
    (t, y, z), record = advance(problem, options, state, flow, plan)
    return eqx.tree_at(lambda s: (s.t, s.y, s.z), after, (t, y, z)), plan, record


def decide(problem: Problem, options: Options, state: State, flow: Flow) -> tuple[State, Plan]:
    """Where the step ends, and all of the state after it that has no derivative."""
    end = problem.ts[-1]
    active = state.active(end, options.max_steps)
    reach, edge = _reach(problem, options, flow, state)
    found, out, turned = _search(problem.rows, flow, state, reach, options)
    at_end, at_edge = found >= end - state.t, found >= edge - state.t
    t = jnp.where(at_end, end, jnp.where(at_edge, edge, state.t + found))
    t = jnp.where(active, t, state.t)
    at_end, at_edge = at_end & active, at_edge & active & ~at_end
    y, z = flow.at(t - state.t)

    m = contract(problem.read, jnp.clip(contract(problem.rows, y), -1.0, 1.0))
    leader, height = highest(jnp.abs(m))
    new = active & (leader != state.leader) & (height > FLOOR)
    leader = jnp.where(new, leader, state.leader)
    height = jnp.where(new, height, pick(jnp.abs(m), leader))
    before, now = (pick(v, state.leader) for v in (state.z, z))
    fled = active & (state.height > RETRIEVED)
    fled = fled & (before > problem.threshold) & (now <= problem.threshold)
    events = Events(m, state.leader, leader, problem.threshold)
    plan = Plan(
        t=t,
        at_end=at_end,
        at_edge=at_edge,
        flat=flow.flat,
        first=state.saved,
        last=jnp.where(active, (problem.ts <= t).sum(0, dtype=jnp.int32), state.saved),
        source=state.leader,
        target=leader,
        new=new,
        hit=active & (height > RETRIEVED),
        fled=fled,
        switch=_root(new, partial(events.gap, flow), t - state.t),
        escape=_root(fled, partial(events.excess, flow), t - state.t),
    )
    after = State(
        t,
        y,
        z,
        s=jnp.where(active, out, state.s),
        sign=jnp.where(turned & active, -state.sign, state.sign),
        leader=leader,
        height=height,
        saved=plan.last,
        piece=state.piece + at_edge.astype(jnp.int32),
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
    slots = [
        flow.at(jnp.where(ts <= plan.t, ts, state.t) - state.t)
        for ts in _upcoming(problem.ts, plan.first, options.slots)
    ]
    m = flow.cell.overlaps(flow.at(plan.switch)[0])
    events = Events(lax.stop_gradient(m), plan.source, plan.target, problem.threshold)
    record = Record(
        t=state.t,
        y=state.y[:P],
        z=state.z,
        m=flow.cell.constant,
        slot_y=jnp.stack([y[:P] for y, _ in slots]),
        slot_z=jnp.stack([z for _, z in slots]),
        switch=state.t + _moved(plan.new, partial(events.gap, flow), plan.switch),
        escape=state.t + _moved(plan.fled, partial(events.excess, flow), plan.escape),
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


def _reach(problem: Problem, options: Options, flow: Flow, state: State):
    """How far the step may go, and where the next edge of an input lies."""
    edge = _edge(problem, state)
    K, tiny = options.order, jnp.finfo(state.t.dtype).tiny
    size = [
        jnp.maximum(jnp.abs(y).max(0), jnp.abs(z).max(0))
        for y, z in zip(
            *(jnp.stack([c[0], c[K - 1], c[K]]) for c in (flow.series.y, flow.series.z)),
            strict=True,
        )
    ]
    scale = options.tol * jnp.maximum(size[0], 1.0)
    h = jnp.minimum(
        (scale / jnp.maximum(size[1], tiny)) ** (1 / (K - 1)),
        (scale / jnp.maximum(size[2], tiny)) ** (1 / K),
    )
    more = state.saved + options.slots < problem.ts.shape[0]
    full = _upcoming(problem.ts, state.saved, options.slots)[-1]
    h = jnp.where(more, jnp.minimum(h, full - state.t), h)
    h = jnp.where(flow.flat, jnp.inf, h)
    h = jnp.minimum(h, problem.ts[-1] - state.t)
    return jnp.minimum(h, edge - state.t), edge


def _search(rows, flow: Flow, state: State, reach, options: Options):
    """The time to the first crossing (or `reach`), the saturation after it, and which overlaps
    change sign at it."""
    s, closed, cell, late = state.s, flow.plateau, flow.cell, slack(reach.dtype)
    power, curve = jnp.ones_like(reach), jnp.zeros_like(state.y)
    length = jnp.where(flow.flat, 0.0, reach)
    for k in range(2, options.order + 1):
        curve = curve + (k * (k - 1) * power) * jnp.abs(flow.series.y[k])
        power = power * length
    width = jnp.abs(rows)
    P = state.z.shape[0]
    bend = closed.fast.at[:P].add(-(1 + closed.rate) * closed.lag)
    calm = jnp.zeros_like(curve).at[:P].add(closed.rate**2 * jnp.abs(closed.lag))
    # On a plateau y'' = bend e^-t + rate^2 lag phi with 0 <= phi <= 1.
    tiny = float(jnp.finfo(reach.dtype).eps) ** 2  # a curvature of 0 has no root to divide by
    steady = contract(width, jnp.where(flow.flat, calm, curve)) + tiny
    brief = jnp.where(flow.flat, jnp.maximum(-s * contract(rows, bend), 0.0), 0.0)
    turning = contract(jnp.abs(cell.linear), curve) + tiny

    def look(t):
        y, dy = flow.motion(t)
        ahead, other = margins(contract(rows, y), contract(rows, dy), s)
        if not options.signed:
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
        if sign is not None:
            wait = jnp.minimum(wait, safe_time(sign[0] + late, sign[1], turning).min(0))
        return jnp.minimum(t + wait, reach)

    t = lax.fori_loop(0, _SEARCH, advance, jnp.zeros_like(reach))
    ahead, other, sign = look(t)
    after = jnp.where(left(*ahead), 1 - jnp.abs(s), jnp.where(left(*other), -1.0, s))
    turned = jnp.zeros(state.sign.shape, bool) if sign is None else left(*sign)
    return t, after.astype(s.dtype), turned


class Events(eqx.Module):
    """Functions of time in a step whose roots are logged."""

    m: Float[Array, "P B"]  # for the signs of the overlaps
    source: Int[Array, " B"]
    target: Int[Array, " B"]
    threshold: Float[Array, " L"]

    def gap(self, flow: Flow, t):
        """How far `source` leads before `target`, and the slope of that."""
        k = jnp.arange(self.m.shape[0], dtype=self.source.dtype)[:, None]
        sides = (k == self.source).astype(t.dtype) - (k == self.target).astype(t.dtype)
        weight = jnp.sign(self.m) * sides
        constant = (weight * flow.cell.constant).sum(0)
        linear = (weight[:, None] * flow.cell.linear).sum(0)
        y, dy = flow.motion(t)
        return constant + (linear * y).sum(0), (linear * dy).sum(0)

    def excess(self, flow: Flow, t):
        """How far the saliency of `source` lies above the threshold, and the slope of that."""
        z, dz = flow.saliency(t)
        return pick(z, self.source) - self.threshold, pick(dz, self.source)


def _root(where, function, high):
    """Root of a function that falls through zero in [0, high]; 0 but `where`.

    Newton steps inside a shrinking bracket.
    """

    def narrow(_, bracket):
        low, high, t = bracket
        value, slope = function(t)
        low, high = jnp.where(value >= 0, t, low), jnp.where(value <= 0, t, high)
        newton = t - value / jnp.where(slope == 0, -1.0, slope)
        inside = (newton >= low) & (newton <= high)
        return low, high, jnp.where(inside, newton, (low + high) / 2)

    def find():
        bracket = (jnp.zeros_like(high), high, high / 2)
        return jnp.where(where, lax.fori_loop(0, _POLISH, narrow, bracket)[2], 0.0)

    return lax.cond(where.any(), find, lambda: jnp.zeros_like(high))


def _moved(where, function, root):
    """The root with its derivative, by the implicit function theorem: one Newton step of value
    zero. NaN but `where`."""
    stop = lax.stop_gradient

    def move():
        value, slope = function(root)
        slope = stop(jnp.where(where & (slope != 0), slope, -1.0))
        return jnp.where(where, root - (value - stop(value)) / slope, jnp.nan)

    return lax.cond(where.any(), move, lambda: jnp.full_like(root, jnp.nan))
