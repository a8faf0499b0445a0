"""What the integrator is given, how it is compiled, and the state that it carries.

The runs of a batch are called lanes, and every array has them as its last axis. In the shapes, B is
their number; L is B or, for a value that all lanes share, 1; P counts memories, C classes of equal
neurons (or neurons), and Q coordinates of the field.

The field is written in coordinates y: the P coefficients of the patterns, and after them one for
every direction outside their span (that of a start there, those of currents). The gain times the
field of class c is then u_c = (rows y)_c, and its firing rate is u_c clipped to [-1, 1].
"""

import dataclasses
from typing import Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._status import LIMIT
from ._series import Cell, Law, contract

Readout: TypeAlias = Literal["linear", "abs", "square", "relu"]
Transit: TypeAlias = Literal["series", "runge-kutta"]
#: How a step is made: by the series (or in closed form, lane by lane), or all lanes in one way.
Mode: TypeAlias = Literal["series", "plateau", "runge-kutta"]

FIRST = 1e-2  # length of the first Runge-Kutta step of a transit


class Options(eqx.Module):
    """What is fixed when the integrator is compiled."""

    order: int = eqx.field(static=True)
    tol: float = eqx.field(static=True)
    readout: Readout = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    slots: int = eqx.field(static=True)  # the most saves inside one step of a transit
    chunk: int = eqx.field(static=True)  # the most steps between two readings of the record
    log: int = eqx.field(static=True)  # switches that can be noted
    reverse: bool = eqx.field(static=True)
    transit: Transit = eqx.field(static=True)
    kicks: bool = eqx.field(static=True, default=False)  # whether second derivatives are right

    @property
    def twice(self) -> "Options":
        """The options of a run whose second derivatives are asked for. A Runge-Kutta step passes
        over kinks, and would lose what each of them adds."""
        return dataclasses.replace(self, transit="series", kicks=True)

    @property
    def onward(self) -> "Options":
        """The options of what is only pushed forward, in a derivative of second order: JAX refuses
        that where an adjoint is written by hand, as it is of `expand_reverse`."""
        return dataclasses.replace(self, reverse=False) if self.kicks else self

    @property
    def watches(self) -> bool:
        """Whether a step ends where an overlap changes sign, because the readout has a kink there.
        Runge-Kutta steps pass over all kinks."""
        return self.readout in ("abs", "relu") and self.transit == "series"


class Pieces(eqx.Module):
    """Inputs that jump at `edges` and are constant between them. Row k of `push` and `levels` holds
    in piece k, which ends at edge k."""

    edges: Float[Array, "E L"]
    push: Float[Array, "E+1 X L"]  # of the coordinates in extra directions
    levels: Float[Array, "E+1 P L"] | None  # the saliency itself, where the stimulus sets it


class Problem(eqx.Module):
    """The runs of all lanes: their equation of motion, their start and their save times."""

    law: Law
    rows: Float[Array, "C Q L"]  # gain times the patterns, a class (or neuron) a row
    read: Float[Array, "P C L"]  # makes overlaps of firing rates
    threshold: Float[Array, " L"]  # 1 / gain, the saliency at which a memory loses its stability
    pieces: Pieces | None
    ts: Float[Array, "T L"]  # save times, from the start of the run
    y0: Float[Array, "Q L"]
    z0: Float[Array, "P L"]
    stop: Float[Array, " B"] | None = None  # where a repeated part of a run ends

    @property
    def until(self) -> Float[Array, "..."]:
        """The time at which the steps of a lane end."""
        return self.ts[-1] if self.stop is None else jnp.minimum(self.ts[-1], self.stop)

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        leaves = (self.ts, self.y0, self.z0, self.rows, self.read, self.threshold)
        law = self.law
        more = (law.bias, law.push, law.drive, law.rate, law.mix, law.feed)
        pieces = () if self.pieces is None else tuple(vars(self.pieces).values())
        return max(leaf.shape[-1] for leaf in (*leaves, *more, *pieces) if leaf is not None)

    def law_at(self, piece: Int[Array, " B"]) -> Law:
        """The law of motion in a piece of the input."""
        if self.pieces is None:
            return self.law
        return eqx.tree_at(lambda law: law.push, self.law, pick(self.pieces.push, piece))

    def cell(self, s, slope) -> Cell:
        """The cell in which the classes have saturation `s` and the readout has this slope."""
        P, C = self.read.shape[:2]
        Q = self.rows.shape[1]
        pairs = self.read[:, None] * jnp.swapaxes(self.rows, 0, 1)  # (P, Q, C, L)
        linear = contract(pairs.reshape(P * Q, C, -1), 1 - jnp.abs(s))
        return Cell(contract(self.read, s), linear.reshape(P, Q, -1), slope)


class State(eqx.Module):
    """The state of every lane between two steps. Derivatives reach t, y and z alone."""

    t: Float[Array, " B"]
    y: Float[Array, "Q B"]
    z: Float[Array, "P B"]
    s: Float[Array, "C B"]  # saturation: the sign of a saturated class, 0 of a linear one
    # Whether the lane is on a plateau. Up to date only where transits are made in Runge-Kutta
    # steps, which have to know it before a step; for the series it is cheaper to ask `s`.
    on_plateau: Bool[Array, " B"]
    sign: Float[Array, "P B"]  # of the overlaps, on which the slope of the readout depends
    leader: Int[Array, " B"]  # the memory with the largest overlap
    height: Float[Array, " B"]  # the size of that overlap
    saved: Int[Array, " B"]  # how many save times have passed
    piece: Int[Array, " B"]  # the piece of the input
    length: Float[Array, " B"]  # of the next Runge-Kutta step
    steps: Int[Array, " B"]
    jumps: Int[Array, " B"]  # steps on plateaus

    def active(self, end, max_steps: int) -> Bool[Array, " B"]:
        """The lanes that go on. Written so that a lane whose time or state is not a number stops:
        a comparison with NaN is false."""
        sizes = jnp.max(jnp.abs(jnp.concatenate([self.y, self.z])), axis=0)
        return (self.t < end) & (self.steps < max_steps) & (sizes < LIMIT)


class Reach(eqx.Module):
    """How far a step goes, and what is different after it."""

    time: Float[Array, " B"]  # from the start of the step
    s: Float[Array, "C B"]
    on_plateau: Bool[Array, " B"]
    turned: Bool[Array, "P B"]  # which overlaps have changed sign
    length: Float[Array, " B"]  # of the next Runge-Kutta step


def start(problem: Problem) -> State:
    """The state at time zero."""
    B, dtype = problem.lanes, problem.y0.dtype
    y, z = (jnp.broadcast_to(v, (v.shape[0], B)) for v in (problem.y0, problem.z0))
    u = contract(problem.rows, y)
    s = jnp.where(jnp.abs(u) >= 1, jnp.sign(u), 0.0).astype(dtype)
    m = contract(problem.read, jnp.clip(u, -1.0, 1.0))
    zero = jnp.zeros(B, jnp.int32)
    t = jnp.zeros(B, dtype)
    saved = passed(problem.ts, t)
    piece = zero if problem.pieces is None else passed(problem.pieces.edges, t)
    leader, height = highest(jnp.abs(m))
    sign = jnp.where(m < 0, -1.0, 1.0).astype(dtype)
    on_plateau = (s != 0).all(0)
    return State(t, y, z, s, on_plateau, sign, leader, height, saved, piece, t + FIRST, zero, zero)


def next_edge(problem: Problem, state: State) -> Float[Array, " B"]:
    """The time of the next jump of an input; infinity if there is none."""
    if problem.pieces is None:
        return jnp.full_like(state.t, jnp.inf)
    edges = problem.pieces.edges
    # By number and not by time: a step that ends on an edge must not find the same edge again.
    ahead = jnp.arange(len(edges), dtype=state.piece.dtype)[:, None] >= state.piece
    return jnp.where(ahead, edges, jnp.inf).min(0)


def next_saves(
    ts: Float[Array, "T L"], saved: Int[Array, " B"], number: int
) -> list[Float[Array, "..."]]:
    """The next save times, as many as `number`; the last one again where there are no more."""
    T, L = ts.shape
    index = [jnp.minimum(saved + r, T - 1) for r in range(number)]
    if L == 1:
        return [ts[i, 0] for i in index]
    return [jnp.take_along_axis(ts, i[None], axis=0)[0] for i in index]


def limits(
    problem: Problem, options: Options, state: State
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """How far a step may go at most, on a plateau and in a transit.

    No step goes beyond the end of the run or the next jump of an input. A step of a transit also
    ends where its slots for saves are used up: the polynomial is not kept, and a save that lies in
    it and has no slot would be lost. A plateau is kept whole by its few coefficients."""
    limit = jnp.minimum(problem.ts[-1], next_edge(problem, state)) - state.t
    more = state.saved + options.slots < problem.ts.shape[0]
    full = next_saves(problem.ts, state.saved, options.slots)[-1] - state.t
    return limit, jnp.where(more, jnp.minimum(limit, full), limit)


def passed(times, t) -> Int[Array, " B"]:
    """How many of the times, in order, are not later than `t`."""
    return (times <= t).sum(0, dtype=jnp.int32)


def readout_slope(readout: Readout, sign):
    """f(m) / m while the overlaps keep their signs (for "square" it is not used)."""
    if readout == "abs":
        return sign
    if readout == "relu":
        return (sign + 1) / 2
    return jnp.ones_like(sign)


def pick(values, index):
    """`values[index]` of every lane: from (K, ..., L) and (B,) to (..., B).

    A masked sum over the few rows, where an indexed access would have to gather lane by lane and
    its derivative to scatter."""
    k = jnp.arange(values.shape[0], dtype=index.dtype)
    mask = k.reshape((-1,) + (1,) * (values.ndim - 1)) == index
    return jnp.where(mask, values, 0).sum(0, dtype=values.dtype)


def highest(values):
    """Index and size of the largest entry along the first axis; the first one of equals."""
    if values.shape[0] > 16:
        index = jnp.argmax(values, axis=0).astype(jnp.int32)
        return index, values.max(0)
    # Selects between whole rows, which vectorise over lanes; argmax is a reduction over pairs.
    index, best = jnp.zeros(values.shape[1:], jnp.int32), values[0]
    for k in range(1, values.shape[0]):
        above = values[k] > best
        index, best = jnp.where(above, jnp.int32(k), index), jnp.where(above, values[k], best)
    return index, best
