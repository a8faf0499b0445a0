"""From a run's arguments to the integrator's problem, and from its output to a `Trajectory`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import _status
from ..._inputs import Pulses
from ..._programs import jitted
from ..._trajectory import Switches, Trajectory
from ...networks import Core, HardTanhLaw, HopfieldSystem
from .._methods import EventDriven
from .._task import Settings, Task, blanked, dated
from ._integrate import integrate
from ._problem import Options, Pieces, Problem
from ._series import Law

_MANY = 64  # classes beyond which a series for every kink costs more than steps over them
_UNLIMITED = 2**31 - 1  # steps, where `max_steps` is None


@jitted
def run(
    task: Task, settings: Settings, method: EventDriven, observe: Callable | None = None
) -> Trajectory:
    """Integrate one run of a network with hard tanh by events."""
    system, ts = task.system, task.ts
    law = system.law(task.core)
    assert isinstance(system, HopfieldSystem) and isinstance(law, HardTanhLaw)  # as for this engine
    problem = _problem(system, law, task.core, ts)
    values, facts = integrate(problem, _options(system, settings, method, law, ts))
    values, facts = jax.tree.map(lambda leaf: leaf[..., 0], (values, facts))
    slow = task.core.slow
    P = values.y.shape[1]

    def core_of(y, z):
        return Core(y, None if slow is None else z.reshape(slow.shape))

    end = core_of(values.end_y[:P], values.end_z)
    done = facts.t >= ts[-1] - ts[0]
    status = _status_of(done, task.valid, end)
    reached = jnp.isfinite(values.y).all(-1) & (status != _status.INVALID_PARAMETER)

    def save(t, y, z):
        core = core_of(y, z)
        seen = None if observe is None else observe(t, system.state(t, core), task.network)
        return system.overlaps(t, core), system.saliency(t, core), seen

    safe = (jnp.where(reached[:, None], leaf, 0.0) for leaf in (values.y, values.z))
    overlaps, saliency, seen = blanked(jax.vmap(save)(ts, *safe), reached)
    return Trajectory(
        ts=ts,
        overlaps=overlaps,
        saliency=saliency,
        observed=seen,
        final=system.state(jnp.where(done, ts[-1], ts[0] + facts.t), end),
        status=status,
        switches=Switches(
            dated(ts[0] + values.switch, task),
            facts.source,
            facts.target,
            facts.retrieved,
            facts.switches,
        ),
        counters={"steps": facts.steps, "jumps": facts.jumps},
        reduction=settings.reduction,
        method="event-driven",
        escapes=None if law.couplings.slow is None else ts[0] + values.escape,
        dense=_Again(task, settings, method) if method.dense else None,
    )


class _Again(eqx.Module):
    """Overlaps and saliency at any times, by integrating to just these."""

    task: Task
    settings: Settings
    method: EventDriven

    def __call__(self, times) -> dict[str, Array | None]:
        order = jnp.argsort(times)
        ts = jnp.concatenate([self.task.ts[:1], times[order], self.task.ts[-1:]])
        task = eqx.tree_at(lambda task: task.ts, self.task, ts)
        again = run(task, self.settings, self.method)
        back = jnp.argsort(order)
        pair = (again.overlaps, again.saliency)
        overlaps, saliency = (None if v is None else v[1:-1][back] for v in pair)
        return {"overlaps": overlaps, "saliency": saliency}


def _options(
    system: HopfieldSystem, settings: Settings, method: EventDriven, law: HardTanhLaw, ts: Array
) -> Options:
    T, slow, most = ts.shape[0], law.couplings.slow, settings.max_steps
    return Options(
        order=method.order,
        tol=max(method.tol, 8 * float(jnp.finfo(ts.dtype).eps)),
        readout="linear" if slow is None else slow.readout,
        max_steps=_UNLIMITED if most is None else most,
        slots=min(2 + T // 512, 8),
        chunk=64 if T <= 512 else min(T // 8, 1024),
        log=method.switches,
        reverse=settings.derivative == "reverse",
        transit="series" if system.network.patterns.N <= _MANY else "runge-kutta",
    )


def _problem(system: HopfieldSystem, law: HardTanhLaw, core: Core, ts) -> Problem:
    patterns = system.network.patterns
    dtype = patterns.xi.dtype
    gain = law.gain
    share = jnp.ones(patterns.N, dtype) if patterns.counts is None else patterns.counts
    read = patterns.xi * (share / patterns.size)
    read = read if system.decoder is None else system.decoder @ read
    directions, start, push = _outside(system, dtype)
    edges, starts = _edges(system, ts[0])
    pieces = None
    if edges is not None:
        levels = None
        if isinstance(system.stimulus, Pulses):
            levels = _lane(jax.vmap(system.evidence)(starts))
        pieces = Pieces(_lane(edges - ts[0]), _lane(jax.vmap(push)(starts)), levels)
    motion, z0 = _motion(law, core, push(ts[0]))
    rows = gain * jnp.concatenate([patterns.xi, directions]).T
    y0 = jnp.concatenate([core.main, start])
    # Where the slow part is no saliency, no memory has a level below which it is unstable.
    level = 1 / gain if law.couplings.synapse is None else jnp.asarray(-_status.LIMIT, dtype)
    fixed = _lane(rows), _lane(read), _lane(level)
    return Problem(motion, *fixed, pieces, _lane(ts - ts[0]), _lane(y0), _lane(z0))


def _lane(array):
    return array[..., None]


def _outside(system: HopfieldSystem, dtype):
    """Directions outside the patterns' span, where the field starts along them, and what pushes it
    along them at a time."""
    rest, current = system.rest, system.current
    decaying = jnp.zeros((0, system.patterns.N), dtype) if rest is None else rest[None]
    start = jnp.ones(len(decaying), dtype)
    unpushed = jnp.zeros(len(decaying), dtype)
    if current is None:
        N = system.network.patterns.N  # classes, if nothing lies outside
        return decaying[:, :N], start, lambda t: unpushed
    driven = current.values if isinstance(current, Pulses) else jnp.asarray(current)[None]
    directions = jnp.concatenate([decaying, driven])
    start = jnp.concatenate([start, jnp.zeros(len(driven), dtype)])

    def push(t):
        if not isinstance(current, Pulses):
            return jnp.concatenate([unpushed, jnp.ones(1, dtype)])
        here = jnp.searchsorted(current.edges[1:-1], t, side="right")
        which = jnp.arange(len(driven), dtype=here.dtype)
        return jnp.concatenate([unpushed, (which == here).astype(dtype)])

    return directions, start, push


def _edges(system: HopfieldSystem, t0):
    """Times at which inputs jump, and the start of every piece between them; None if none does."""
    inputs = [v for v in (system.stimulus, system.current) if isinstance(v, Pulses)]
    inner = [v.edges[1:-1] for v in inputs if v.edges.shape[0] > 2]
    if not inner:
        return None, None
    edges = jnp.sort(jnp.concatenate(inner))
    return edges, jnp.concatenate([jnp.minimum(t0, edges[0] - 1)[None], edges])


def _motion(law: HardTanhLaw, core: Core, push) -> tuple[Law, Any]:
    """The law of motion and the start of its slow part: of saliency where it has dynamics, else of
    a saliency that stands still (rate 0) or, for a matrix of couplings, of none."""
    K, offset, slow, synapse = law.couplings
    P, dtype = K.shape[0], K.dtype
    bias = _lane(jnp.zeros(P, dtype) if offset is None else offset)
    if slow is not None:
        drive, rate = slow.drive[..., None], slow.rate
        return Law(bias, _lane(push), drive, _lane(rate), None, slow.readout == "square"), core.slow
    if synapse is not None:
        drive, mix = jnp.eye(P, dtype=dtype), K if K.ndim == 2 else jnp.diag(K)
        drive, rate, mix, feed = map(_lane, (drive, synapse.rate, mix, synapse.feed))
        return Law(bias, _lane(push), drive, rate, mix, False, feed), core.slow.reshape(P)
    still, none = jnp.zeros((1, 1), dtype), jnp.zeros((P, P, 1), dtype)
    mix, z0 = (None, K) if K.ndim == 1 else (_lane(K), jnp.zeros(P, dtype))
    return Law(bias, _lane(push), none, still, mix, False), z0


def _status_of(reached, valid, end: Core) -> Array:
    sizes = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(end)])
    code = jnp.where(reached, _status.OK, _status.MAX_STEPS)
    code = jnp.where((sizes < _status.LIMIT).all(), code, _status.DIVERGED)
    code = jnp.where(jnp.isfinite(sizes).all(), code, _status.NONFINITE)
    return jnp.where(valid, code, _status.INVALID_PARAMETER).astype(jnp.int32)
