"""Events of a run by diffrax: divergence, and the log of switches kept while the solver steps.

A switch is noticed because after a step another memory leads than before. When in the step the two
overlaps crossed is a root of the solver's dense output, found by bisection. In a batch that would
be searched for in every step, because under `vmap` both branches of a condition are evaluated. So
where states are small the log keeps the step itself, and the search comes after the run:

    run:    step  step  step*  step  step*  step ...        * another memory leads afterwards
                          |            |
    log:               [ (begin, end, state) , (begin, end, state) ]
                          |            |
    locate:            repeat the step, bisect its dense output  -> times

Where states have N numbers that many copies would be too large, and the search is made at once.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._roots import implicit_root
from .._status import LIMIT
from .._trajectory import FLOOR, RETRIEVED, Switches
from .._types import ArrayLike
from ..networks import AbstractSystem, Core


class Divergence(eqx.Module):
    """Stops a run whose state is not finite, or larger than any that a network can reach."""

    def __call__(self, t, core: Core, args, **kwargs) -> Bool[Array, ""]:
        """Whether to stop. A comparison with NaN is false, so that `~` of it stops there too."""
        sizes = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(core)]
        return ~jnp.all(jnp.stack(sizes) < LIMIT)


class UserEvent(eqx.Module):
    """A user's `event(t, state, network)`, which sees the full state."""

    function: Callable[..., Any]
    system: AbstractSystem
    network: Any

    def __call__(self, t, core: Core, args, **kwargs) -> Array:
        """The value of the user's function."""
        return self.function(t, self.system.state(t, core), self.network)


class Step(eqx.Module):
    """A step in which the lead changed: its ends, and the state at its begin."""

    begin: ArrayLike
    end: ArrayLike
    core: Core


class Log(eqx.Module):
    """The changes of the lead so far; part of the solver's state.

    `found` holds, for each, the `Step` if states are small (repeated after the run by `locate`, so
    that a batch does not search in every step), else the time of the crossing. Under noise the
    overlaps before the step are enough to find it.
    """

    leader: Int[Array, ""]
    count: Int[Array, ""]
    before: Float[Array, " P"] | None  # overlaps at the end of the last step, under noise
    found: Step | Array  # every leaf with leading axis K
    source: Int[Array, " K"]
    target: Int[Array, " K"]
    retrieved: Bool[Array, " K"]


def _before(log: Log):
    return log.before


def _is_none(leaf) -> bool:
    return leaf is None


class SwitchLog(diffrax.AbstractWrappedSolver):
    """Wraps a solver so that it notes every step in which another memory takes the lead.

    When in the step the overlaps cross is found after the run if states are a few numbers, as in
    the span form, and at once if they have N numbers. Under noise, where nobody knows the path
    within a step, it is where straight lines through the overlaps at its ends cross.
    """

    solver: diffrax.AbstractSolver
    system: AbstractSystem
    capacity: int = eqx.field(static=True)
    noisy: bool = eqx.field(static=True, default=False)

    @property
    def term_structure(self):
        """The terms that the wrapped solver takes."""
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore
        """The dense output of the wrapped solver."""
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        """What the wrapped solver asks of controls, such as Levy areas."""
        return self.solver.term_compatible_contr_kwargs

    @property
    def scan_kind(self):
        """How the wrapped solver loops over its stages, which diffrax's adjoints look at."""
        return getattr(self.solver, "scan_kind", None)

    @property
    def root_finder(self):
        """What an implicit wrapped solver solves its equations by; diffrax gives it tolerances."""
        return getattr(self.solver, "root_finder")  # noqa: B009

    def order(self, terms):
        """The order of the wrapped solver."""
        return self.solver.order(terms)

    def strong_order(self, terms):
        """The strong order of the wrapped solver."""
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        """The order of the error estimate of the wrapped solver."""
        return self.solver.error_order(terms)

    def func(self, terms, t0, y0, args):
        """The vector field, as the wrapped solver evaluates it."""
        return self.solver.func(terms, t0, y0, args)

    @property
    def deferred(self) -> bool:
        """Whether crossings are located after the run."""
        return self.system.small

    def init(self, terms, t0, t1, y0, args):
        """The wrapped solver's state and an empty log."""
        inner = self.solver.init(terms, t0, t1, y0, args)
        magnitude = jnp.abs(self.system.overlaps(t0, y0))
        unused = jnp.full((), jnp.nan, magnitude.dtype)
        found = Step(unused, unused, y0) if self.deferred else unused
        log = empty_log(magnitude, found, self.capacity)
        return inner, eqx.tree_at(_before, log, magnitude, is_leaf=_is_none) if self.noisy else log

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step of the wrapped solver, and a look at who leads after it."""
        inner, log = solver_state
        y1, error, info, inner, result = self.solver.step(terms, t0, t1, y0, args, inner, made_jump)
        magnitude = jnp.abs(self.system.overlaps(t1, y1))
        leader = jnp.argmax(magnitude).astype(jnp.int32)
        # Below the floor nobody leads, and whoever led last goes on being named.
        new = (leader != log.leader) & (magnitude[leader] > FLOOR)
        if self.noisy:
            found = _met(log.before, magnitude, (log.leader, leader), (t0, t1))
        elif self.deferred:
            found = Step(t0, t1, y0)
        else:
            path = self.interpolation_cls(t0=t0, t1=t1, **info)
            # In a batch, `cond` on a value of each lane would search in every step.
            found = jax.lax.cond(
                eqxi.unvmap_any(new),
                lambda: self.crossing(path, t0, t1, log.leader, leader),
                lambda: jnp.full_like(t0, jnp.nan),
            )
        return y1, error, info, (inner, _note(log, new, leader, magnitude, found)), result

    def crossing(self, path, begin, end, source, target) -> Float[Array, ""]:
        """When $|m_{source}| = |m_{target}|$ between `begin` and `end`.

        Derivatives are those of a root.
        """
        gap = _Gap(self.system, path, source, target)

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            ahead = gap(middle) > 0
            return jnp.where(ahead, middle, low), jnp.where(ahead, high, middle)

        stop = jax.lax.stop_gradient
        # 52 halvings reach the rounding of a float64 in any step.
        low, high = jax.lax.fori_loop(0, 52, halve, stop((begin, end)))
        return implicit_root(gap, stop((low + high) / 2))


class _Gap(eqx.Module):
    """How far the overlap of `source` exceeds that of `target` along a path."""

    system: AbstractSystem
    path: Any
    source: Int[Array, ""]
    target: Int[Array, ""]

    def __call__(self, t):
        m = jnp.abs(self.system.overlaps(t, self.path.evaluate(t)))
        return m[self.source] - m[self.target]


def _met(before, after, leaders, times) -> Float[Array, ""]:
    """When straight lines through the overlaps at both ends of a step meet: those of the memory
    that led and of the one that leads now."""
    (source, target), (begin, end) = leaders, times
    first, last = before[source] - before[target], after[source] - after[target]
    ahead = first > 0  # else the lead was lost before, below the floor
    part = jnp.where(ahead, first / jnp.where(ahead, first - last, 1.0), 0.0)
    return begin + part.astype(begin.dtype) * (end - begin)


def empty_log(magnitude: Float[Array, " P"], found: Any, capacity: int) -> Log:
    """The log of a run that begins with these overlaps. `found`: what stands in empty entries."""
    code = jnp.full(capacity, -1, jnp.int32)
    return Log(
        leader=jnp.argmax(magnitude).astype(jnp.int32),
        count=jnp.zeros((), jnp.int32),
        before=None,
        found=jax.tree.map(lambda leaf: jnp.stack([leaf] * capacity), found),
        source=code,
        target=code,
        retrieved=jnp.zeros(capacity, bool),
    )


def note_block(log: Log, magnitude: Float[Array, "T P"], times: Float[Array, " T"]) -> Log:
    """The log after K steps under noise, from the sizes of the overlaps at their ends."""
    leaders = jnp.argmax(magnitude, axis=1).astype(jnp.int32)
    largest = jnp.max(magnitude, axis=1)

    def one(log: Log, given):
        leader, before, after, ends = given
        new = (leader != log.leader) & (after[leader] > FLOOR)
        return _note(log, new, leader, after, _met(before, after, (log.leader, leader), ends)), None

    def each():
        ends = times[:-1], times[1:]
        return jax.lax.scan(one, log, (leaders[1:], magnitude[:-1], magnitude[1:], ends))[0]

    def none():
        latest = jnp.arange(log.source.shape[0], dtype=jnp.int32) == log.count - 1
        passed = jnp.any(largest[1:] > RETRIEVED)
        return eqx.tree_at(lambda log: log.retrieved, log, log.retrieved | (latest & passed))

    new = jnp.any((leaders[1:] != log.leader) & (largest[1:] > FLOOR))
    return jax.lax.cond(eqxi.unvmap_any(new), each, none)


def _note(log: Log, new, leader, magnitude, found) -> Log:
    """The log after a step, with one entry more where the lead is `new`."""
    slots = jnp.arange(log.source.shape[0], dtype=jnp.int32)
    here = new & (slots == log.count)

    def put(array, value):  # a select, which is far cheaper than a scatter in a batch
        mask = here.reshape(here.shape + (1,) * (array.ndim - 1))
        return jnp.where(mask, value, array)

    # The memory that leads may pass 1/2 in any step until the next switch: every step looks.
    latest = slots == jnp.where(new, log.count, log.count - 1)
    return Log(
        leader=jnp.where(new, leader, log.leader),
        count=log.count + new.astype(jnp.int32),
        before=None if log.before is None else magnitude,
        found=jax.tree.map(put, log.found, found),
        source=put(log.source, log.leader),
        target=put(log.target, leader),
        retrieved=log.retrieved | (latest & (magnitude[leader] > RETRIEVED)),
    )


def locate(log: Log, solver: Any, terms: Any, args: Any = None) -> Switches:
    """The switches of a run with their times: where the search was deferred, the steps that the log
    keeps are repeated."""

    def repeat(step: Step, source, target):
        used = source >= 0
        # Empty entries take part in the arithmetic, as a step of length 1 whose time is not used.
        begin, end = jnp.where(used, step.begin, 0.0), jnp.where(used, step.end, 1.0)
        inner = solver.solver.init(terms, begin, end, step.core, args)
        _, _, info, _, _ = solver.solver.step(terms, begin, end, step.core, args, inner, True)
        path = solver.interpolation_cls(t0=begin, t1=end, **info)
        return jnp.where(used, solver.crossing(path, begin, end, source, target), jnp.nan)

    time = log.found
    if isinstance(time, Step):
        time = jax.vmap(repeat)(time, log.source, log.target)
    return Switches(time, log.source, log.target, log.retrieved, log.count)
