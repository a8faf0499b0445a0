"""What the integrator is given, lanes last, and the state that it carries."""

from typing import Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._status import LIMIT
from ._series import Cell, Law, contract

Readout: TypeAlias = Literal["linear", "abs", "square", "relu"]

FIRST = 1e-2  # length of the first Runge-Kutta step of a transit


class Pieces(eqx.Module):
    """Inputs that are constant between `edges`: what pushes the extra coordinates, and (if the
    stimulus sets it) saliency itself."""

    edges: Float[Array, "E L"]
    push: Float[Array, "E+1 X L"]
    levels: Float[Array, "E+1 P L"] | None


class Problem(eqx.Module):
    """One run a lane. Coordinates are the P coefficients of the field in the patterns, followed by
    those of extra directions (a start outside the span, currents)."""

    law: Law
    rows: Float[Array, "C Q L"]  # gain times the patterns, a class (or neuron) a row
    read: Float[Array, "P C L"]  # overlaps of firing rates
    threshold: Float[Array, " L"]  # 1 / gain
    pieces: Pieces | None
    ts: Float[Array, "T L"]  # from the start of the run
    y0: Float[Array, "Q L"]
    z0: Float[Array, "P L"]
    stop: Float[Array, " B"] | None = None  # where steps that are repeated end

    @property
    def until(self) -> Float[Array, "..."]:
        """How far steps go."""
        return self.ts[-1] if self.stop is None else jnp.minimum(self.ts[-1], self.stop)

    @property
    def lanes(self) -> int:
        """How many runs."""
        leaves = (self.ts, self.y0, self.z0, self.rows, self.read, self.threshold)
        more = (self.law.bias, self.law.push, self.law.drive, self.law.rate, self.law.mix)
        pieces = () if self.pieces is None else tuple(vars(self.pieces).values())
        return max(leaf.shape[-1] for leaf in (*leaves, *more, *pieces) if leaf is not None)

    def law_at(self, piece) -> Law:
        """The law during a piece."""
        if self.pieces is None:
            return self.law
        return eqx.tree_at(lambda law: law.push, self.law, pick(self.pieces.push, piece))

    def cell(self, s, slope) -> Cell:
        """The cell with saturation `s`."""
        P, C = self.read.shape[:2]
        Q = self.rows.shape[1]
        pairs = self.read[:, None] * jnp.swapaxes(self.rows, 0, 1)  # (P, Q, C, L)
        linear = contract(pairs.reshape(P * Q, C, -1), 1 - jnp.abs(s))
        return Cell(contract(self.read, s), linear.reshape(P, Q, -1), slope)


class State(eqx.Module):
    """Where every lane is."""

    t: Float[Array, " B"]
    y: Float[Array, "Q B"]
    z: Float[Array, "P B"]
    s: Float[Array, "C B"]  # saturation: 0 where a class is linear
    flat: Bool[Array, " B"]  # whether none is; kept for Runge-Kutta transits only
    sign: Float[Array, "P B"]  # of the overlaps
    leader: Int[Array, " B"]
    height: Float[Array, " B"]  # of the leader's overlap
    saved: Int[Array, " B"]
    piece: Int[Array, " B"]
    length: Float[Array, " B"]  # of the next Runge-Kutta step
    steps: Int[Array, " B"]
    jumps: Int[Array, " B"]

    def active(self, end, max_steps: int) -> Bool[Array, " B"]:
        """Which lanes go on: not one that has diverged, nor one whose time is not a number."""
        sizes = jnp.max(jnp.abs(jnp.concatenate([self.y, self.z])), axis=0)
        return (self.t < end) & (self.steps < max_steps) & (sizes < LIMIT)


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
    flat = (s != 0).all(0)
    return State(t, y, z, s, flat, sign, leader, height, saved, piece, t + FIRST, zero, zero)


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
    """`values[index]` for every lane: (K, ..., L) and (B,) to (..., B)."""
    k = jnp.arange(values.shape[0], dtype=index.dtype)
    mask = k.reshape((-1,) + (1,) * (values.ndim - 1)) == index
    return jnp.where(mask, values, 0).sum(0, dtype=values.dtype)


def highest(values):
    """Index and size of the largest along the first axis; the first of equals."""
    if values.shape[0] > 16:
        index = jnp.argmax(values, axis=0).astype(jnp.int32)
        return index, values.max(0)
    index, best = jnp.zeros(values.shape[1:], jnp.int32), values[0]
    for k in range(1, values.shape[0]):
        above = values[k] > best
        index, best = jnp.where(above, jnp.int32(k), index), jnp.where(above, values[k], best)
    return index, best
