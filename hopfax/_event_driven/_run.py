"""From a run's arguments to the integrator's problem, and from its output to a `Trajectory`."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .. import _status
from .._activations import HardTanh
from .._inputs import Pulses
from .._trajectory import Switches, Trajectory
from ..networks import (
    AbstractQuadraticHopfield,
    AbstractRateMemory,
    Core,
    Hopfield,
    HopfieldSystem,
    InputDrivenHopfield,
    OneTimescaleHopfield,
    TwoTimescaleHopfield,
)
from ._integrate import integrate
from ._pieces import rate_obstacle
from ._problem import Pieces, Problem
from ._series import Law
from ._step import Options

_KNOWN = (Hopfield, InputDrivenHopfield, OneTimescaleHopfield, TwoTimescaleHopfield)
_MANY = 64  # classes beyond which a series for every kink costs more than steps over them
UNLIMITED = 2**31 - 1


class EventDriven(eqx.Module):
    r"""Exact integration of networks with hard tanh, event by event.

    Between the times at which a neuron (or class of equal neurons) meets $|g x| = 1$ the motion is
    polynomial; it is integrated by a Taylor series of variable step, cut at the first such time.
    While all neurons are saturated it has a closed form, and one step covers the plateau whatever
    $\tau$. There is no error but the series' truncation and rounding, switch and escape times are
    roots of the solution itself, and derivatives are exact, because the motion is continuous
    across the boundaries of cells.

    With more than 64 neurons (or classes) a transit meets so many boundaries that it is made in
    Runge-Kutta steps of tolerance `tol` instead, whose errors are larger than that; plateaus stay
    closed. `Diffrax` is as good there if plateaus are short (tau below about 100).

    Rate networks with a hard sigmoid or threshold-linear neurons go from kink to kink in the same
    way, in classes or with at most 64 neurons, but without closed plateaus.

    - `order`: of the Taylor series.
    - `tol`: the size of its last terms, relative to the state, that a step may have. With
      `EventDriven(order=24, tol=1e-14)` errors are those of rounding. Not below 8 ulp.
    - `dense`: keep what `Trajectory.evaluate` needs (of a rate network `order` + 1 states for each
      of `max_steps` steps).
    - `switches`: how many switches the log of a run can hold; later ones are only counted.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    ts, method = jnp.linspace(0.0, 100.0, 51), hx.EventDriven(dense=True)
    run = hx.simulate(network, start, ts, method=method)
    run.evaluate(10.0)["saliency"]  # 2.426, 1.967, 0, 0
    ```
    """

    order: int = eqx.field(default=12, static=True)
    tol: float = eqx.field(default=1e-9, static=True)
    dense: bool = eqx.field(default=False, static=True)
    switches: int = eqx.field(default=64, static=True)

    def __check_init__(self):
        if not isinstance(self.order, int) or self.order < 3:
            raise ValueError(f"`order` must be an int of at least 3, got {self.order!r}.")
        if not 0 < self.tol < 1:
            raise ValueError(f"`tol` must lie between 0 and 1, got {self.tol!r}.")
        if self.switches < 1:
            raise ValueError(f"`switches` must be at least 1, got {self.switches}.")


def obstacle(network: Any, stimulus: Any, current: Any, noise: Any, event: Any) -> str | None:
    """Why a run cannot be integrated by events; None if it can."""
    for name, value in (("stimulus", stimulus), ("current", current)):
        if isinstance(value, diffrax.AbstractPath) and not isinstance(value, Pulses):
            return f"`{name}` changes in time other than by hopfax.Pulses"
    if isinstance(network, AbstractRateMemory):
        return rate_obstacle(network, current, noise, event)
    reasons = {
        f"the law of {type(network).__name__} is not known to it": type(network) not in _KNOWN,
        f"{type(network.activation).__name__} is not piecewise linear": not isinstance(
            network.activation, HardTanh
        ),
        "`keep_diagonal=False` takes the field out of the patterns' span": (
            not network.keep_diagonal
        ),
        "`noise` has no events": noise is not None,
        "a `stimulus` beside the slow saliency is not known to it": (
            stimulus is not None and isinstance(network, TwoTimescaleHopfield)
        ),
        "a user's `event` is looked for at the steps of a Runge-Kutta method": event is not None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class Task(eqx.Module):
    """A run: its reduced system and start, its save times, and whether its values are legal."""

    system: Any  # a HopfieldSystem
    core: Core
    ts: Array
    valid: Bool[Array, ""]
    network: Any  # the full one


class Settings(eqx.Module):
    """How to run it."""

    method: EventDriven
    reduction: str = eqx.field(static=True)
    derivative: str = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)


@eqx.filter_jit
def run(task: Task, settings: Settings, observe: Any = None) -> Trajectory:
    """Integrate one run by events."""
    system, ts, method = task.system, task.ts, settings.method
    values, facts = integrate(_problem(system, task.core, ts), _options(task, settings))
    values, facts = jax.tree.map(lambda leaf: leaf[..., 0], (values, facts))
    slow = task.core.slow is not None
    P = values.y.shape[1]
    end = Core(values.end_y[:P], values.end_z if slow else None)
    done = facts.t >= ts[-1] - ts[0]
    status = _status_of(done, task.valid, end)
    reached = jnp.isfinite(values.y).all(-1) & (status != _status.INVALID_PARAMETER)

    def save(t, y, z):
        core = Core(y, z if slow else None)
        seen = None if observe is None else observe(t, system.state(t, core), task.network)
        return system.overlaps(t, core), system.saliency(t, core), seen

    def blank(leaf):
        mask = reached.reshape(reached.shape + (1,) * (leaf.ndim - 1))
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.where(mask, leaf, jnp.nan)
        return leaf if leaf.dtype == bool else jnp.where(mask, leaf, -1)

    safe = (jnp.where(reached[:, None], leaf, 0.0) for leaf in (values.y, values.z))
    overlaps, saliency, seen = jax.tree.map(blank, jax.vmap(save)(ts, *safe))
    return Trajectory(
        ts=ts,
        overlaps=overlaps,
        saliency=saliency,
        observed=seen,
        final=system.state(jnp.where(done, ts[-1], ts[0] + facts.t), end),
        status=status,
        switches=Switches(
            ts[0] + values.switch, facts.source, facts.target, facts.retrieved, facts.switches
        ),
        counters={"steps": facts.steps, "jumps": facts.jumps},
        reduction=settings.reduction,
        method="event-driven",
        escapes=ts[0] + values.escape if slow else None,
        dense=_Again(task, settings) if method.dense else None,
    )


class _Again(eqx.Module):
    """Overlaps and saliency at any times, by integrating to just these."""

    task: Task
    settings: Settings

    def __call__(self, times) -> dict[str, Array | None]:
        order = jnp.argsort(times)
        ts = jnp.concatenate([self.task.ts[:1], times[order], self.task.ts[-1:]])
        task = eqx.tree_at(lambda task: task.ts, self.task, ts)
        again = run(task, self.settings)
        back = jnp.argsort(order)
        pair = (again.overlaps, again.saliency)
        overlaps, saliency = (None if v is None else v[1:-1][back] for v in pair)
        return {"overlaps": overlaps, "saliency": saliency}


def _options(task: Task, settings: Settings) -> Options:
    method, T = settings.method, task.ts.shape[0]
    return Options(
        order=method.order,
        tol=max(method.tol, 8 * float(jnp.finfo(task.ts.dtype).eps)),
        readout=getattr(task.network, "readout", "linear"),
        max_steps=settings.max_steps,
        slots=min(2 + T // 512, 8),
        chunk=64 if T <= 512 else min(T // 8, 1024),
        log=method.switches,
        reverse=settings.derivative == "reverse",
        transit="series" if task.system.network.patterns.N <= _MANY else "runge-kutta",
    )


def _problem(system: HopfieldSystem, core: Core, ts) -> Problem:
    network, patterns = system.network, system.network.patterns
    dtype = patterns.xi.dtype
    gain = getattr(network.activation, "gain", None)
    gain = jnp.ones((), dtype) if gain is None else gain.astype(dtype)
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
    law, z0 = _law(system, core, ts[0], push(ts[0]))
    rows = gain * jnp.concatenate([patterns.xi, directions]).T
    y0 = jnp.concatenate([core.main, start])
    fixed = _lane(rows), _lane(read), _lane(1 / gain)
    return Problem(law, *fixed, pieces, _lane(ts - ts[0]), _lane(y0), _lane(z0))


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
    driven = current.values if isinstance(current, Pulses) else current[None]
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


def _law(system: HopfieldSystem, core: Core, t0, push) -> tuple[Law, Any]:
    """The law of motion and the start of its slow part: of saliency where it has dynamics, else of
    a saliency that stands still (rate 0) or, for a matrix of couplings, of none."""
    network = system.network
    assert isinstance(network, AbstractQuadraticHopfield)  # as every known one
    P, dtype = network.patterns.P, network.patterns.xi.dtype
    offset = network.offset()
    bias = _lane(jnp.zeros(P, dtype) if offset is None else offset)
    if isinstance(network, TwoTimescaleHopfield):
        drive = jnp.broadcast_to(network.kappa, (P,))[:, None] * network.transition
        rate = jnp.atleast_1d(1 / network.tau)
        square = network.readout == "square"
        return Law(bias, _lane(push), _lane(drive), _lane(rate), None, square), core.slow
    still, none = jnp.zeros((1, 1), dtype), jnp.zeros((P, P, 1), dtype)
    K = network.coupling(system.saliency(t0, core))
    mix, z0 = (None, K) if K.ndim == 1 else (_lane(K), jnp.zeros(P, dtype))
    return Law(bias, _lane(push), none, still, mix, False), z0


def _status_of(reached, valid, end: Core) -> Array:
    sizes = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(end)])
    code = jnp.where(reached, _status.OK, _status.MAX_STEPS)
    code = jnp.where((sizes < _status.LIMIT).all(), code, _status.DIVERGED)
    code = jnp.where(jnp.isfinite(sizes).all(), code, _status.NONFINITE)
    return jnp.where(valid, code, _status.INVALID_PARAMETER).astype(jnp.int32)
