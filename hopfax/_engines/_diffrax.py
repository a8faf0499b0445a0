"""The engine for everything that diffrax can integrate, which is every run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from .. import _status
from .._inputs import Pulses
from .._programs import jitted
from .._trajectory import Switches, Trajectory
from ..networks import AbstractSystem, Core
from ._brownian import CellPath, GridPath, GridSteps
from ._checks import without_checks_made
from ._groups import in_groups, width
from ._methods import Diffrax
from ._nesting import (
    THIRD,
    AbstractRun,
    Flags,
    Leaves,
    along,
    differentiable_outputs,
    put,
)
from ._noise import BLOCK, OrnsteinBlocks, OrnsteinHeun
from ._switches import Divergence, Log, SwitchLog, UserEvent, locate
from ._task import Settings, Task, blanked, dated
from .kinks import SeriesStep

_FIXED_STEP = 0.05  # of noisy runs, in fast time constants


class Noise(eqx.Module):
    """Strength and key of private noise; None for none."""

    strength: Float[Array, ""] | None = None
    key: jax.Array | None = None


def complete(method: Diffrax, task: Task, private: Noise, inputs, single: bool = False) -> Diffrax:
    """Fill in the defaults that depend on noise and dtype, and step onto the edges of pulses.
    `single`: under noise, do not take several steps at once."""
    noisy, dtype = private.strength is not None, task.ts.dtype
    solver, controller, dt0 = method.solver, method.controller, method.dt0
    exact = solver is None and task.core.noise is not None
    if solver is None:
        solver = OrnsteinHeun() if exact else diffrax.ShARK() if noisy else diffrax.Tsit5()
    if controller is None and (noisy or not isinstance(solver, diffrax.AbstractAdaptiveSolver)):
        controller = diffrax.ConstantStepSize()
    if controller is None:
        tolerance = 1e-8 if dtype == np.float64 else 1e-5
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, pcoeff=0.3, icoeff=0.4)
    if dt0 is None and isinstance(controller, diffrax.ConstantStepSize):
        dt0 = _FIXED_STEP
    if noisy and isinstance(controller, diffrax.ConstantStepSize):
        controller = GridSteps(1 if single or method.dense else BLOCK if exact else 1)
    edges = [v.edges for v in inputs if isinstance(v, Pulses)]
    if edges and isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        controller = diffrax.ClipStepSizeController(
            controller, jump_ts=jnp.sort(jnp.concatenate(edges))
        )
    solver = _with_tolerances(solver, controller)
    dt0 = None if dt0 is None else jnp.asarray(dt0, dtype)
    if exact and isinstance(controller, GridSteps):
        solver = None  # `OrnsteinBlocks`, which is made of the run
    return Diffrax(solver, controller, dt0, method.reduction, method.dense, method.switches)


def _with_tolerances(solver: Any, controller: Any) -> Any:
    """An implicit solver whose equations are solved to the tolerances of the steps, unless it has
    its own. diffrax does the same for its run, but steps are repeated to find switches."""
    implicit = isinstance(solver, diffrax.AbstractImplicitSolver)
    if not implicit or not isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        return solver
    names = ("rtol", "atol", "norm")
    unset = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)().rtol
    open_ = [name for name in names if getattr(solver.root_finder, name, None) is unset]
    found = [getattr(controller, name) for name in open_]
    return eqx.tree_at(lambda s: [getattr(s.root_finder, k) for k in open_], solver, found)


class _Driven(eqx.Module):
    """The terms of a run, its path of noise at constant steps, and the strength of its noise."""

    terms: Any
    path: GridPath | None = None
    strength: Array | None = None

    def within(self, t, core: Core) -> Core:
        """The state at `t`, which was interpolated linearly between the ends of a step. At constant
        steps the noise follows its path there; else it stays a straight line."""
        if self.path is None or self.strength is None:
            return core
        return self.path.bent(t, core, self.strength)


def _driven(task: Task, method: Diffrax, private: Noise) -> _Driven:
    drift = diffrax.ODETerm(task.system.derivative)
    if private.strength is None or private.key is None:
        return _Driven(drift)
    area = _levy_area(method.solver)
    grid, shapes = None, _shapes(task.core)
    if isinstance(method.controller, GridSteps):
        assert method.dt0 is not None  # by `complete`
        grid = _grid_path(task, method.dt0, private, area)
    if method.solver is None:
        return _Driven(drift, grid, private.strength)
    path = CellPath(key=private.key, shape=shapes, levy_area=area) if grid is None else grid
    noisy = task.core.main if task.core.noise is None else task.core.noise
    given = private.strength

    def on(leaf):
        return jnp.ones_like(leaf) * given if leaf is noisy else jnp.zeros_like(leaf)

    strength = jax.tree.map(on, task.core)

    def diffusion(t, y, args):
        return lx.DiagonalLinearOperator(strength)

    terms = diffrax.MultiTerm(drift, diffrax.ControlTerm(diffusion, path))
    return _Driven(terms, grid, given)


def _shapes(core: Core) -> Core:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), core)


def _grid_path(task: Task, dt0: Array, private: Noise, area: Any) -> GridPath:
    assert private.key is not None
    return GridPath(private.key, dt0, task.ts[0], _shapes(task.core), area)


def _levy_area(solver: Any) -> Any:
    """What a solver reads of a path: increments alone, or with their space-time areas."""
    least = getattr(solver, "minimal_levy_area", diffrax.BrownianIncrement)
    whole = issubclass(diffrax.SpaceTimeLevyArea, least)
    return diffrax.SpaceTimeLevyArea if whole else diffrax.BrownianIncrement


class _Over(eqx.Module):
    """Stops a run of `GridSteps` at the first point of the grid that is not before its end."""

    begin: Array
    end: Array

    def __call__(self, t, core: Core, args, **kwargs) -> Array:
        """Whether the run is over; it makes one step at least."""
        return (t >= self.end) & (t > self.begin)


@jitted
def run(
    task: Task,
    settings: Settings,
    method: Diffrax,
    private: Noise,
    observe: Callable | None = None,
    event: Callable | None = None,
    name: str = "diffrax",
) -> Trajectory:
    """Integrate one run by a method that is `complete`."""
    given = (task, settings, method, private, observe, event)
    arrays, rest = eqx.partition(given, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    steps = _Steps(structure, rest, name)
    values, facts = differentiable_outputs(steps, leaves, forward=settings.derivative == "forward")
    return steps.trajectory(values, facts)


class _Steps(AbstractRun):
    """A run by diffrax, of the arrays of its arguments.

    diffrax's adjoints differentiate a run once: checkpoints in reverse, a loop of unknown length
    forward. A second time it is pushed forward by that loop, and its gradient by loops of bounded
    length (`diffrax.DirectAdjoint`), which JAX differentiates in any way, if slowly."""

    def __init__(self, structure: Any, rest: Any, name: str):
        self.structure, self.rest, self.name = structure, rest, name
        self.layout: Any = None  # of the trajectory, known once it was traced
        self.backs: dict[Flags, Any] = {}  # the structures of pullbacks, likewise

    def _traced(self, leaves: Leaves, adjoint: str | None = None, order: int = 0) -> Trajectory:
        task, settings, method, private, observe, event = self._given(leaves)
        if order > 1:
            method = _to_second_order(task, method, order)
        loops = str(settings.derivative if adjoint is None else adjoint)
        how = _scanned(method, loops), settings, loops
        return _integrated(task, how, private, (observe, event), self.name)

    def _split(self, trajectory: Trajectory) -> tuple[list, list]:
        values, rest = eqx.partition(trajectory, eqx.is_inexact_array)
        facts, rest = eqx.partition(rest, eqx.is_array)
        values, first = jax.tree.flatten(values)
        facts, second = jax.tree.flatten(facts)
        self.layout = first, second, rest
        return values, facts

    def trajectory(self, values: Leaves, facts: Leaves) -> Trajectory:
        """What the arrays of a run are put together to."""
        first, second, rest = self.layout
        return eqx.combine(
            jax.tree.unflatten(first, values), jax.tree.unflatten(second, facts), rest
        )

    def outputs(self, leaves):
        task, _, _, private, *_ = self._given(leaves)
        if private.strength is None:
            return self._split(self._traced(leaves))
        core = task.core  # of N numbers under noise
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(core))
        return in_groups(lambda leaves: self._split(self._traced(leaves)), width(size))(leaves)

    def _given(self, leaves: Leaves) -> tuple:
        """Task, settings, method, noise, observer and event."""
        return eqx.combine(jax.tree.unflatten(self.structure, leaves), self.rest)

    def recorded(self, leaves, flags):
        values, back, facts = self._pullback(leaves, flags, "reverse")
        record, self.backs[flags] = jax.tree.flatten(back)
        return values, facts, record

    def _pullback(self, leaves, flags, adjoint, order=0):
        parts = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]

        def values_of(parts):
            return self._split(self._traced(put(leaves, flags, parts), adjoint, order))

        return jax.vjp(values_of, parts, has_aux=True)

    def pushed(self, leaves, rates, flags):
        parts = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]

        def values_of(parts):
            return self._split(self._traced(put(leaves, flags, parts), "forward"))

        values, rates, facts = jax.jvp(values_of, (parts,), (list(rates),), has_aux=True)
        return values, facts, rates

    def push(self, leaves, directions, flags):
        def values_of(leaves):
            return self._split(self._traced(leaves, "forward", len(flags)))[0]

        return along(values_of, leaves, directions, flags)

    def pull(self, leaves, record, cotangent, flags):
        return jax.tree.unflatten(self.backs[flags], record)(list(cotangent))[0]

    def pull_along(self, leaves, cotangent, directions, flags, wanted):
        def adjoint(leaves):
            back = self._pullback(leaves, wanted, "direct", len(flags) + 1)[1]
            return back(list(cotangent))[0]

        return along(adjoint, leaves, directions, flags)


def _to_second_order(task: Task, method: Diffrax, order: int) -> Diffrax:
    """The method with second derivatives that are right. **Raises:** TypeError where none is."""
    if isinstance(method.solver, SeriesStep):
        if order > 2:
            raise TypeError(THIRD)
        solver = dataclasses.replace(method.solver, kicks=True)
        return eqx.tree_at(lambda method: method.solver, method, solver)
    if (kinked := task.system.kinks()) is not None:
        raise TypeError(_KINKED.format(kinked))
    return method


_KINKED = (
    "second derivatives by diffrax are wrong here, whose steps pass over the kinks of {}: take "
    'method="auto" or hopfax.EventDriven(...) if it can integrate this run, else differences of '
    "first derivatives."
)


def _scanned(method: Diffrax, adjoint: str) -> Diffrax:
    """The method with a loop over the stages of a step that the adjoint can differentiate."""
    kind = {"forward": "lax", "direct": "bounded"}.get(adjoint)
    if kind is None or getattr(method.solver, "scan_kind", "") not in (None, "lax"):
        return method
    solver = eqx.tree_at(lambda s: s.scan_kind, method.solver, kind, is_leaf=lambda x: x is None)
    return eqx.tree_at(lambda method: method.solver, method, solver)


def _integrated(
    task: Task,
    how: tuple[Diffrax, Settings, str],
    private: Noise,
    looks: tuple[Callable | None, Callable | None],
    name: str,
) -> Trajectory:
    (method, settings, adjoint), (observe, event) = how, looks
    system, network = task.system, task.network
    assert method.controller is not None  # by `complete`
    driven = _driven(task, method, private)
    grid = isinstance(method.controller, GridSteps)
    cells = method.controller.cells if isinstance(method.controller, GridSteps) else 1
    solver = _solver(system, method, driven, cells)

    def save(t, core, args):
        core = driven.within(t, core)
        seen = None if observe is None else observe(t, system.state(t, core), network)
        evidence = None if core.slow is None else system.evidence(t)
        return system.overlaps(t, core), system.saliency(t, core), seen, evidence

    tests: list[Any] = [Divergence()]
    if event is not None:
        tests.append(UserEvent(event, system, network))
    subs = {
        "saves": diffrax.SubSaveAt(ts=task.ts, fn=save),
        "end": diffrax.SubSaveAt(t1=True),
    }
    if grid:  # the run is over at a point of the grid, and its last state was before
        tests.append(_Over(task.ts[0], task.ts[-1]))
        subs["last"] = diffrax.SubSaveAt(ts=task.ts[-1:])
    adjoints = {
        "reverse": diffrax.RecursiveCheckpointAdjoint,
        "forward": diffrax.ForwardMode,
        "direct": diffrax.DirectAdjoint,
    }
    with without_checks_made():
        solution = diffrax.diffeqsolve(
            driven.terms,
            solver,
            t0=task.ts[0],
            t1=jnp.full_like(task.ts[-1], jnp.inf) if grid else task.ts[-1],
            dt0=_forward(method.dt0),
            y0=task.core,
            saveat=diffrax.SaveAt(
                subs=subs,
                dense=method.dense,
                solver_state=True,
            ),
            stepsize_controller=method.controller,
            adjoint=adjoints[adjoint](),
            event=diffrax.Event(tuple(tests)),
            max_steps=None if settings.max_steps is None else -(-settings.max_steps // cells),
            throw=False,
        )
    return _harvest(task, solution, solver, driven, (settings.reduction, name, cells))


def _solver(system: AbstractSystem, method: Diffrax, driven: _Driven, cells: int) -> Any:
    """The solver of a run, with its log of switches."""
    if method.solver is not None:
        return SwitchLog(method.solver, system, method.switches, driven.strength is not None)
    assert driven.path is not None and driven.strength is not None  # by `complete`
    return OrnsteinBlocks(system, driven.path, driven.strength, method.switches, cells)


def _forward(dt0: Any) -> Any:
    """A first step that leads forward; NaN, with which a run ends at once, in place of another."""
    return None if dt0 is None else jnp.where(dt0 > 0, dt0, jnp.nan)


def _harvest(
    task: Task, solution, solver: Any, driven: _Driven, how: tuple[str, str, int]
) -> Trajectory:
    reduction, name, cells = how  # of every step
    reached = jnp.isfinite(solution.ts["saves"])
    t_end, end = _end(solution, driven)
    status = _status_of(solution, task, end)
    reached = reached & (status != _status.INVALID_PARAMETER)

    overlaps, saliency, seen, evidence = blanked(solution.ys["saves"], reached)
    log: Log = solution.solver_state[1]
    counters = {
        "steps": cells * solution.stats["num_steps"],
        "accepted": cells * solution.stats["num_accepted_steps"],
        "rejected": cells * solution.stats["num_rejected_steps"],
    }
    path = solution.interpolation
    switches = _until(locate(log, solver, driven.terms), task.ts[-1])
    time = dated(switches.time, (task, driven.strength))
    switches = dataclasses.replace(switches, time=time)
    return Trajectory(
        ts=task.ts,
        overlaps=overlaps,
        saliency=saliency,
        observed=seen,
        final=task.system.state(t_end, end),
        status=status,
        switches=switches,
        counters=counters,
        reduction=reduction,
        method=name,
        dense=None if path is None else _Dense(path, task.system, driven),
        evidence=evidence,
    )


def _until(log: Switches, end: Array) -> Switches:
    """The log of a run without switches after its end, on the way to the next point of a grid."""
    late = log.time > end
    return Switches(
        jnp.where(late, jnp.nan, log.time),
        jnp.where(late, -1, log.source),
        jnp.where(late, -1, log.target),
        log.retrieved & ~late,
        log.count - jnp.sum(late, dtype=log.count.dtype),
    )


class _Dense(eqx.Module):
    """Overlaps and saliency from a solver's dense output."""

    path: Any
    system: AbstractSystem
    driven: _Driven

    def __call__(self, times) -> dict[str, Array | None]:
        def at(t):
            core = self.driven.within(t, self.path.evaluate(t))
            return self.system.overlaps(t, core), self.system.saliency(t, core)

        overlaps, saliency = jax.vmap(at)(times)
        return {"overlaps": overlaps, "saliency": saliency}


def _end(solution, driven: _Driven) -> tuple[Array, Any]:
    """The last time and state of a run: where it ended or, if it went on to the next point of a
    grid, at its last save."""
    at = {
        name: jax.tree.map(lambda leaf: leaf[-1], (solution.ts[name], solution.ys[name]))
        for name in ("end", "last")
        if name in solution.ts
    }
    if "last" not in at:
        return at["end"]
    t, core = at["last"]
    saved = jnp.isfinite(t)
    last = t, driven.within(jnp.where(saved, t, 0.0), core)
    return jax.tree.map(lambda last, end: jnp.where(saved, last, end), last, at["end"])


def _status_of(solution, task: Task, end) -> Array:
    """Our code from the solver's result, by name, and from a look at the values."""
    results = diffrax.RESULTS
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(end)]).all()
    late = solution.ts["end"][-1] > task.ts[-1]
    diverged, *stopped = solution.event_mask
    code = jnp.asarray(_status.SOLVER_FAILED, jnp.int32)
    code = jnp.where(solution.result == results.successful, _status.OK, code)
    code = jnp.where(solution.result == results.max_steps_reached, _status.MAX_STEPS, code)
    over = stopped.pop() if "last" in solution.ts else False
    for mask in stopped:
        code = jnp.where(mask, _status.STOPPED_BY_EVENT, code)
    code = jnp.where(diverged, _status.DIVERGED, code)
    code = jnp.where(over | late, _status.OK, code)  # what comes after its end is not the run's
    code = jnp.where(finite, code, _status.NONFINITE)
    return jnp.where(task.valid, code, _status.INVALID_PARAMETER).astype(jnp.int32)
