"""Events of a run: divergence, and the log of switches kept while the solver steps."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._reductions import Core, System
from ._trajectory import Switches

LIMIT = 1e9  # every network here is bounded by its saliencies, far below
FLOOR = 0.1  # overlaps below this are no memory at all
RETRIEVED = 0.5


class Divergence(eqx.Module):
    """Stops a run whose state is not finite or beyond all reason."""

    def __call__(self, t, core: Core, args, **kwargs) -> Bool[Array, ""]:
        """Whether to stop."""
        sizes = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(core)]
        return ~jnp.all(jnp.stack(sizes) < LIMIT)


class UserEvent(eqx.Module):
    """A user's `event(t, state, network)`, which sees the full state."""

    function: Any
    system: System
    network: Any

    def __call__(self, t, core: Core, args, **kwargs) -> Array:
        """The user's value."""
        return self.function(t, self.system.state(t, core), self.network)


class Log(eqx.Module):
    """Steps in which the leading memory changed; part of the solver's state."""

    leader: Int[Array, ""]
    count: Int[Array, ""]
    begin: Float[Array, " K"]
    end: Float[Array, " K"]
    core: Core  # (K, ...) the state at `begin`
    source: Int[Array, " K"]
    target: Int[Array, " K"]
    retrieved: Bool[Array, " K"]


class SwitchLog(diffrax.AbstractWrappedSolver):
    """Wraps a solver so that it notes every step in which another memory takes the lead.

    Only the step is noted (its ends and its first state, a few numbers); where in it the overlaps
    cross is found after the run, by `locate`.
    """

    solver: diffrax.AbstractSolver
    system: System
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
        """As the wrapped solver's (`with_loops` sets it)."""
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

    def init(self, terms, t0, t1, y0, args):
        """The wrapped solver's state and an empty log."""
        inner = self.solver.init(terms, t0, t1, y0, args)
        magnitude = jnp.abs(self.system.overlaps(t0, y0))
        size = self.capacity
        nothing = jnp.full(size, jnp.nan, magnitude.dtype)
        code = jnp.full(size, -1, jnp.int32)
        cores = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), y0)
        leader = jnp.argmax(magnitude).astype(jnp.int32)
        zero = jnp.zeros((), jnp.int32)
        return inner, Log(leader, zero, nothing, nothing, cores, code, code, jnp.zeros(size, bool))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step of the wrapped solver, and a look at who leads after it."""
        inner, log = solver_state
        y1, error, info, inner, result = self.solver.step(terms, t0, t1, y0, args, inner, made_jump)
        magnitude = jnp.abs(self.system.overlaps(t1, y1))
        return y1, error, info, (inner, _note(log, magnitude, t0, t1, y0)), result


def _note(log: Log, magnitude, t0, t1, y0) -> Log:
    leader = jnp.argmax(magnitude).astype(jnp.int32)
    top = magnitude[leader]
    # Below the floor nobody leads, and whoever led last goes on being named.
    new = (leader != log.leader) & (top > FLOOR)
    slots = jnp.arange(log.begin.shape[0], dtype=jnp.int32)
    here = new & (slots == log.count)

    def put(array, value):  # a select, which is far cheaper than a scatter in a batch
        mask = here.reshape(here.shape + (1,) * (array.ndim - 1))
        return jnp.where(mask, value, array)

    latest = slots == jnp.where(new, log.count, log.count - 1)
    passed = log.retrieved | (latest & (top > RETRIEVED))
    return Log(
        leader=jnp.where(new, leader, log.leader),
        count=log.count + new.astype(jnp.int32),
        begin=put(log.begin, t0),
        end=put(log.end, t1),
        core=jax.tree.map(put, log.core, y0),
        source=put(log.source, log.leader),
        target=put(log.target, leader),
        retrieved=passed,
    )


def locate(log: Log, solver: SwitchLog, terms: Any, args: Any = None) -> Switches:
    """Repeat the noted steps and find the crossing in each by bisection of the dense output.

    Derivatives follow from the implicit function theorem: one Newton step whose value is nothing.
    """

    def crossing(begin, end, core, source, target):
        used = source >= 0
        begin, end = jnp.where(used, begin, 0.0), jnp.where(used, end, 1.0)
        begin, end = jax.lax.stop_gradient((begin, end))
        inner = solver.solver.init(terms, begin, end, core, args)
        _, _, info, _, _ = solver.solver.step(terms, begin, end, core, args, inner, True)
        path = solver.solver.interpolation_cls(t0=begin, t1=end, **info)

        def gap(t):
            m = jnp.abs(solver.system.overlaps(t, path.evaluate(t)))
            return m[source] - m[target]

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            ahead = gap(middle) > 0
            return jnp.where(ahead, middle, low), jnp.where(ahead, high, middle)

        frozen = jax.lax.fori_loop(0, 52, halve, (begin, end))
        root = jax.lax.stop_gradient((frozen[0] + frozen[1]) / 2)
        slope = jax.lax.stop_gradient(jax.jvp(gap, (root,), (jnp.ones_like(root),))[1])
        value = gap(root)
        correction = (value - jax.lax.stop_gradient(value)) / jnp.where(slope == 0, 1.0, slope)
        return jnp.where(used, root - correction, jnp.nan)

    time = jax.vmap(crossing)(log.begin, log.end, log.core, log.source, log.target)
    return Switches(time, log.source, log.target, log.retrieved, log.count)
