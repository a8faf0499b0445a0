"""Events of a run: divergence, and the log of switches kept while the solver steps."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._status import LIMIT
from .._trajectory import FLOOR, RETRIEVED, Switches
from ..networks import AbstractSystem, Core


class Divergence(eqx.Module):
    """Stops a run whose state is not finite or beyond all reason."""

    def __call__(self, t, core: Core, args, **kwargs) -> Bool[Array, ""]:
        """Whether to stop."""
        sizes = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(core)]
        return ~jnp.all(jnp.stack(sizes) < LIMIT)


class UserEvent(eqx.Module):
    """A user's `event(t, state, network)`, which sees the full state."""

    function: Any
    system: AbstractSystem
    network: Any

    def __call__(self, t, core: Core, args, **kwargs) -> Array:
        """The user's value."""
        return self.function(t, self.system.state(t, core), self.network)


class Step(eqx.Module):
    """A step in which the lead changed: its ends and its first state."""

    begin: Any
    end: Any
    core: Core


class Log(eqx.Module):
    """The changes of the lead so far; part of the solver's state.

    `found` holds, for each, the `Step` if states are small (repeated after the run by `locate`, so
    that a batch does not search in every step), else the time of the crossing.
    """

    leader: Int[Array, ""]
    count: Int[Array, ""]
    found: Any  # every leaf with leading axis K
    source: Int[Array, " K"]
    target: Int[Array, " K"]
    retrieved: Bool[Array, " K"]


class SwitchLog(diffrax.AbstractWrappedSolver):
    """Wraps a solver so that it notes every step in which another memory takes the lead.

    Where in the step the overlaps cross is found by bisection of the solver's dense output: after
    the run in the span form, whose states are a few numbers; at once where states have N numbers.
    """

    solver: diffrax.AbstractSolver
    system: AbstractSystem
    capacity: int = eqx.field(static=True)

    @property
    def term_structure(self):
        """As the wrapped solver's."""
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore
        """As the wrapped solver's."""
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        """As the wrapped solver's."""
        return self.solver.term_compatible_contr_kwargs

    @property
    def scan_kind(self):
        """As the wrapped solver's ."""
        return getattr(self.solver, "scan_kind", None)

    def order(self, terms):
        """As the wrapped solver's."""
        return self.solver.order(terms)

    def strong_order(self, terms):
        """As the wrapped solver's."""
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        """As the wrapped solver's."""
        return self.solver.error_order(terms)

    def func(self, terms, t0, y0, args):
        """As the wrapped solver's."""
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
        code = jnp.full(self.capacity, -1, jnp.int32)
        log = Log(
            leader=jnp.argmax(magnitude).astype(jnp.int32),
            count=jnp.zeros((), jnp.int32),
            found=jax.tree.map(lambda leaf: jnp.stack([leaf] * self.capacity), found),
            source=code,
            target=code,
            retrieved=jnp.zeros(self.capacity, bool),
        )
        return inner, log

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step of the wrapped solver, and a look at who leads after it."""
        inner, log = solver_state
        y1, error, info, inner, result = self.solver.step(terms, t0, t1, y0, args, inner, made_jump)
        magnitude = jnp.abs(self.system.overlaps(t1, y1))
        leader = jnp.argmax(magnitude).astype(jnp.int32)
        # Below the floor nobody leads, and whoever led last goes on being named.
        new = (leader != log.leader) & (magnitude[leader] > FLOOR)
        if self.deferred:
            found = Step(t0, t1, y0)
        else:
            path = self.interpolation_cls(t0=t0, t1=t1, **info)
            found = jax.lax.cond(
                new,
                lambda: self.crossing(path, t0, t1, log.leader, leader),
                lambda: jnp.full_like(t0, jnp.nan),
            )
        return y1, error, info, (inner, _note(log, new, leader, magnitude, found)), result

    def crossing(self, path, begin, end, source, target) -> Float[Array, ""]:
        """When $|m_{source}| = |m_{target}|$ between `begin` and `end`.

        Derivatives follow from the implicit function theorem: one Newton step of value zero.
        """

        def gap(t):
            m = jnp.abs(self.system.overlaps(t, path.evaluate(t)))
            return m[source] - m[target]

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            ahead = gap(middle) > 0
            return jnp.where(ahead, middle, low), jnp.where(ahead, high, middle)

        stop = jax.lax.stop_gradient
        low, high = jax.lax.fori_loop(0, 52, halve, stop((begin, end)))
        root = stop((low + high) / 2)
        slope = stop(jax.jvp(gap, (root,), (jnp.ones_like(root),))[1])
        value = gap(root)
        return root - (value - stop(value)) / jnp.where(slope == 0, 1.0, slope)


def _note(log: Log, new, leader, magnitude, found) -> Log:
    slots = jnp.arange(log.source.shape[0], dtype=jnp.int32)
    here = new & (slots == log.count)

    def put(array, value):  # a select, which is far cheaper than a scatter in a batch
        mask = here.reshape(here.shape + (1,) * (array.ndim - 1))
        return jnp.where(mask, value, array)

    latest = slots == jnp.where(new, log.count, log.count - 1)
    return Log(
        leader=jnp.where(new, leader, log.leader),
        count=log.count + new.astype(jnp.int32),
        found=jax.tree.map(put, log.found, found),
        source=put(log.source, log.leader),
        target=put(log.target, leader),
        retrieved=log.retrieved | (latest & (magnitude[leader] > RETRIEVED)),
    )


def locate(log: Log, solver: SwitchLog, terms: Any, args: Any = None) -> Switches:
    """The log with times: where they were deferred, the noted steps are repeated."""

    def repeat(step: Step, source, target):
        used = source >= 0
        begin, end = jnp.where(used, step.begin, 0.0), jnp.where(used, step.end, 1.0)
        inner = solver.solver.init(terms, begin, end, step.core, args)
        _, _, info, _, _ = solver.solver.step(terms, begin, end, step.core, args, inner, True)
        path = solver.interpolation_cls(t0=begin, t1=end, **info)
        return jnp.where(used, solver.crossing(path, begin, end, source, target), jnp.nan)

    time = log.found
    if solver.deferred:
        time = jax.vmap(repeat)(log.found, log.source, log.target)
    return Switches(time, log.source, log.target, log.retrieved, log.count)
