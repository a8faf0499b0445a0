r"""Private noise: a solver that samples its filtered part exactly.

A run under noise is integrated by diffrax with constant steps. Where the field is written in the
span of the patterns, noise takes it out of the span, in as many directions as there are neurons;
but what lies outside is filtered by the leak alone, and is an Ornstein-Uhlenbeck process that can
be sampled exactly beside the few coefficients in the span:

$$x = \sum_\mu y_\mu \xi^\mu + r, \qquad dr = -r\,dt + \sigma\,dB, \qquad
r(t + h) = e^{-h} r(t) + \sigma \sqrt{\tfrac{1 - e^{-2h}}{2h}}\, \Delta B,$$

which has the exact law at any step h (Euler-Maruyama inflates the stationary variance by
$1/(1 - h/2)$). y and z take a Heun step between the ends of r: strong order 1 in h.

At constant steps diffrax takes as one step a *block* of such steps, between points of a grid of
absolute time:

    time     0                     8h                    16h
             |--------------------|---|---|---|---|--------|---   blocks of 8 cells of length h
                                     t0                           a run that begins within a block
                                   .   x---|---|---|--------|     has no steps in the cells before

All random numbers of a block are drawn at once, and what diffrax does between steps (saves, events,
its own state) is done once a block. Saves within a block are read from its states.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..networks import AbstractSystem, Core
from ._brownian import GridPath, place, times_of
from ._switches import empty_log, note_block

BLOCK = 8  # cells: of more the states in between leave a processor's cache in a batch


class OrnsteinHeun(diffrax.AbstractStratonovichSolver, diffrax.AbstractItoSolver):
    """One step of any length, of a run in the span form under noise."""

    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """Order of convergence without noise: 2, as Heun's method."""
        return 2

    def strong_order(self, terms):
        """Order of strong convergence with noise: 1."""
        return 1

    def init(self, terms, t0, t1, y0, args):
        """No state is carried from step to step."""
        return None

    def step(self, terms, t0, t1, y0: Core, args, solver_state, made_jump):
        """The state at `t1`: first the filtered noise by its exact law, then a Heun step of the
        rest, which sees the noise at both ends."""
        assert y0.noise is not None
        drift, diffusion = terms.terms
        h = t1 - t0
        kick = diffusion.vf_prod(t0, y0, args, diffusion.contr(t0, t1)).noise
        noise = jnp.exp(-h) * y0.noise + _spread(h) * kick
        y1 = _heun(drift.vf, (t0, t1, h), y0, noise, args)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The drift, of which diffrax takes the size of a first step."""
        return terms.terms[0].vf(t0, y0, args)


def _spread(h):
    """Standard deviation of the filtered noise after a step over that of an increment."""
    # expm1, because 1 - exp(-2h) loses all digits at small steps.
    return jnp.sqrt(-jnp.expm1(-2 * h) / (2 * h))


def _heun(field: Callable, times: tuple, y: Core, noise: Array, args: Any) -> Core:
    """A Heun step of `main` and `slow`, with the noise at its end known."""
    t0, t1, h = times

    def moved(rate: Core) -> Core:
        slow = jax.tree.map(lambda a, b: a + h * b, y.slow, rate.slow)
        return Core(y.main + h * rate.main, slow, noise)

    first = field(t0, y, args)
    second = field(t1, moved(first), args)
    return moved(jax.tree.map(lambda a, b: (a + b) / 2, first, second))


class BlockPath(diffrax.AbstractLocalInterpolation):
    """The states of a block at the ends of its steps, with straight lines between them."""

    t0: Any
    t1: Any
    times: Float[Array, " T"]
    cores: Core  # every leaf with leading axis T

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Core:
        """The state at `t0`, or its change from `t0` to `t1`."""
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        last = self.times.shape[0] - 2
        k = jnp.clip(jnp.sum(self.times[1:] < t0), 0, last)
        begin, end = self.times[k], self.times[k + 1]
        part = jnp.where(end > begin, (t0 - begin) / jnp.where(end > begin, end - begin, 1.0), 1.0)

        def between(leaf):
            p = part.astype(leaf.dtype)
            return (1 - p) * leaf[k] + p * leaf[k + 1]  # exact at both ends

        return jax.tree.map(between, self.cores)


class _Cell(NamedTuple):
    """A step of a block: its ends, and the filtered noise after it, which is `decay` times that
    before, `kick` times the numbers drawn, and `back` times the bridge at the start of the run."""

    begin: Array
    end: Array
    decay: Array
    kick: Array
    back: Array


class OrnsteinBlocks(diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver):
    """`block` steps at once of a run in the span form under noise, and the log of its switches."""

    system: AbstractSystem
    path: GridPath
    strength: Array
    capacity: int = eqx.field(static=True)
    block: int = eqx.field(static=True)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable] = BlockPath

    def order(self, terms):
        """Order of convergence without noise: 2, as Heun's method."""
        return 2

    def strong_order(self, terms):
        """Order of strong convergence with noise: 1."""
        return 1

    def init(self, terms, t0, t1, y0, args):
        """An empty log; the second of a pair, as that of other solvers."""
        magnitude = jnp.abs(self.system.overlaps(t0, y0))
        return None, empty_log(magnitude, jnp.full((), jnp.nan, magnitude.dtype), self.capacity)

    def func(self, terms, t0, y0, args):
        """The drift."""
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0: Core, args, solver_state, made_jump):
        """The state at the end of the block, its states in between, and the log."""
        here = place(jax.lax.stop_gradient(jnp.asarray(t0)), self.path.length)
        first = here.cell // self.block * self.block
        numbers = first + jnp.arange(self.block, dtype=jnp.int32)
        cells = self._cells(numbers, t0)
        behind = self.path.behind

        def forward(core: Core, given: tuple[_Cell, Array]):
            cell, drawn = given
            assert core.noise is not None
            noise = cell.decay * core.noise + cell.kick * drawn.astype(behind.dtype)
            noise = noise + cell.back * behind
            overlaps = self.system.overlaps(cell.begin, core)  # which the step needs, too
            times = cell.begin, cell.end, cell.end - cell.begin
            return _heun(terms.vf, times, core, noise, args), (core, overlaps)

        y1, (cores, overlaps) = jax.lax.scan(forward, y0, (cells, self.path.drawn(numbers)))
        last = self.system.overlaps(t1, y1)
        cores = jax.tree.map(lambda some, one: jnp.concatenate([some, one[None]]), cores, y1)
        times = jnp.append(cells.begin, cells.end[-1])
        overlaps = jnp.concatenate([overlaps, last[None]])
        log = note_block(solver_state[1], jnp.abs(overlaps), times)
        return y1, None, dict(times=times, cores=cores), (None, log), diffrax.RESULTS.successful

    def _cells(self, numbers, t0) -> _Cell:
        """The steps of a block; those before the run begins have no length."""
        path, here = self.path, place(jax.lax.stop_gradient(t0), self.path.length)
        active = numbers >= here.cell
        ends = jnp.where(active, times_of(numbers + 1, path.length), t0)
        begins = jnp.append(t0, ends[:-1])
        h = ends - begins
        spread = jnp.where(h > 0, _spread(jnp.where(h > 0, h, 1.0)), 0.0)
        kick = spread * self.strength * jnp.sqrt(path.length)
        begun = numbers == path.start.cell
        part = jnp.where(begun, 1 - path.start.passed, 1.0)
        return _Cell(begins, ends, jnp.exp(-h), kick * part, jnp.where(begun, -kick, 0.0))
