"""One run: a network, a start, save times -> a `Trajectory`."""

from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Bool, Float

from . import _event_driven, _status
from ._arguments import Arguments, checked, quarantine, warn_about
from ._errors import (
    SimulationError,
    as_float,
    check_at_least,
    check_option,
)
from ._event_driven import EventDriven
from ._events import Divergence, Log, SwitchLog, UserEvent, locate
from ._inputs import Pulses
from ._noise import OrnsteinHeun, StepBrownian
from ._trajectory import Trajectory
from ._types import ArrayLike, is_concrete
from .networks import AbstractFlow, AbstractSystem, Core, HopfieldSystem, Reduction

_FIXED_STEP = 0.05  # of noisy runs, in fast time constants


class Diffrax(eqx.Module):
    """How diffrax integrates a run; every field is diffrax's own object, passed through.

    - `solver`: default `Tsit5()`. With noise, a Heun step around the exactly sampled filtered
      noise (strong order 1, exact stationary law at any step); `ShARK()` (strong order 1.5 for
      additive noise) where the field leaves the span of the patterns. `Euler()` gives
      Euler-Maruyama.
    - `controller`: default a PI controller with rtol = atol = 1e-8 in float64 and 1e-5 in float32,
      or with noise constant steps. Hard tanh has kinks at which no Runge-Kutta method keeps its
      order: a tolerance of 1e-8 gives errors of about 1e-5 at worst, and derivatives of switch
      times that are off by 0.1 to 3 %. `EventDriven`, the default there, has no such error.
      Smooth activations keep the order: 1e-8 gives about 2e-7, 1e-10 about 1e-9 for twice the
      time; `Dopri8()` pays below that.
    - `dt0`: the first step, or the only one at constant steps (default 0.05 there).
    - `reduction`: "auto", or insist on "sites", "span" or "classes".
    - `dense`: keep dense output for `Trajectory.evaluate` (costs memory: `max_steps` states).
    - `switches`: how many switches the log of a run can hold; later ones are only counted.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51), method=hx.Diffrax())
    hx.observables.switch_times(run)  # 30.85, 61.18, 91.40
    ```
    """

    solver: diffrax.AbstractSolver | None = None
    controller: diffrax.AbstractStepSizeController | None = None
    dt0: Any = None
    reduction: Reduction = eqx.field(default="auto", static=True)
    dense: bool = eqx.field(default=False, static=True)
    switches: int = eqx.field(default=64, static=True)

    def __check_init__(self):
        check_option(self.reduction, "reduction", ("auto", "sites", "span", "classes"))
        if self.switches < 1:
            raise ValueError(f"`switches` must be at least 1, got {self.switches}.")
        if self.dt0 is not None:
            check_at_least(as_float(self.dt0, "dt0"), "dt0", 0.0, strict=True)
        control = self.controller
        if isinstance(control, diffrax.PIDController) and all(
            is_concrete(tol) and float(tol) <= 0 for tol in (control.rtol, control.atol)
        ):
            raise ValueError("`controller` needs rtol > 0 or atol > 0: with both 0 no step passes.")


def simulate(
    network: AbstractFlow,
    state0: Any,
    ts: ArrayLike,
    *,
    stimulus: Any = None,
    current: Any = None,
    noise: ArrayLike | None = None,
    key: jax.Array | None = None,
    method: Diffrax | EventDriven | Literal["auto"] = "auto",
    derivative: Literal["reverse", "forward"] = "reverse",
    observe: Any = None,
    event: Any = None,
    max_steps: int | None = 65536,
    throw: bool = True,
) -> Trajectory:
    r"""Integrate a network and save overlaps and saliency at the times `ts`.

    The smallest exact form is chosen: classes of equal neurons, the span of the patterns, or all
    neurons (`Trajectory.stats["reduction"]` says which); the cost of the first does not depend on
    N. Works under `jit`, `vmap` and `grad`.

    **Arguments:**

    - `network`, `state0`: from `network.init(...)`, or `final` of an earlier run.
    - `ts`: (T,) save times in fast time constants, not decreasing; the run starts at `ts[0]`.
    - `stimulus`: input that sets saliency (of an `InputDrivenHopfield`; a `TwoTimescaleHopfield`
      adds it to its own). (N,), or a `diffrax.AbstractPath` such as `hopfax.Pulses`.
    - `current`: input added to the field. (N,) or a path.
    - `noise`: $\sigma$ of $dx = \dots dt + \sigma\, dB$, independent for every neuron. Needs `key`.
      In a saturated well the field then fluctuates with standard deviation $\sigma / \sqrt 2$.
    - `method`: "auto" integrates hard tanh exactly, event by event (`EventDriven`), likewise rates
      with kinks, and gives diffrax what that cannot do: smooth activations, `noise`, `event`,
      inputs other than constants and `Pulses`, for `TwoTimescaleHopfield` a `stimulus`, for rates
      more than 64 neurons without classes, `keep_diagonal=False`. Or say which, with its
      settings: `EventDriven(order=24, tol=1e-14)`, `Diffrax(solver, controller)`.
    - `derivative`: which derivative the run will serve, "reverse" (`grad`, `vjp`) or "forward"
      (`jvp`, `jacfwd`). Event-driven derivatives are exact; those of diffrax are its steps'.
    - `observe`: a function `(t, state, network) -> pytree` saved at every `ts`; `state` is always
      the full one. Define it once, at module level: a new lambda is a new compilation.
    - `event`: a function `(t, state, network) -> bool or float`; stops the run when true, or when
      it crosses zero.
    - `max_steps`: the most steps (also rejected ones); None only without reverse derivatives.
    - `throw`: raise if the run fails. Under a trace it never raises; look at `status`.

    **Returns:** a `Trajectory`.

    **Raises:** ValueError/TypeError for bad arguments, before anything is compiled;
    `SimulationError` if the run fails and `throw`.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    run.overlaps[-1]  # 0, 0, 0, 1
    ```
    """
    given = checked(Arguments(network, state0, ts, stimulus, current, noise, key))
    check_option(derivative, "derivative", ("reverse", "forward"))
    chosen = _method(method, given, event)
    warn_about(given, getattr(chosen, "controller", None))
    reduction = _reduction(given, getattr(chosen, "reduction", "auto"))
    given, valid = quarantine(given)
    network, state0, ts = given.network, given.state0, given.ts
    noisy = given.noise is not None
    inputs = given.stimulus, given.current
    system, core = network.reduced(state0, ts[0], *inputs, noisy, reduction)
    if isinstance(chosen, EventDriven) and isinstance(system, HopfieldSystem):
        limit = _event_driven.UNLIMITED if max_steps is None else max_steps
        task = _event_driven.Task(system, core, ts, valid, network)
        settings = _event_driven.Settings(chosen, reduction, derivative, limit)
        trajectory = _event_driven.run(task, settings, observe)
    else:
        run = _Run(system, core, ts, valid, given.noise, given.key, network)
        by_events = isinstance(chosen, EventDriven)
        complete = by_pieces(chosen, system) if by_events else chosen
        complete = _complete(complete, given, core, derivative)
        trajectory = _integrate(run, complete, reduction, derivative, observe, event, max_steps)
    if throw:
        _raise_if_failed(trajectory, max_steps)
    return trajectory


def _method(method: Any, given: Arguments, event: Any) -> Diffrax | EventDriven:
    """The method to use; ValueError if the asked one cannot."""
    if isinstance(method, Diffrax):
        return method
    auto = isinstance(method, str) and method == "auto"
    if not auto and not isinstance(method, EventDriven):
        raise TypeError(
            '`method` must be "auto", hopfax.EventDriven(...) or hopfax.Diffrax(...), got '
            f"{method!r}."
        )
    reason = _event_driven.obstacle(
        given.network, given.stimulus, given.current, given.noise, event
    )
    if reason is None:
        return method if isinstance(method, EventDriven) else EventDriven()
    if auto:
        return Diffrax()
    raise ValueError(
        f'`method=EventDriven(...)` cannot integrate this run: {reason}. "auto" takes diffrax.'
    )


def by_pieces(method: EventDriven, system: Any) -> Diffrax:
    """The event-driven integration of a rate network, by diffrax."""
    tol = max(method.tol, 8 * float(jnp.finfo(system.t0.dtype).eps))
    return Diffrax(
        _event_driven.SeriesStep(system, method.order),
        _event_driven.UntilKink(system, method.order, tol),
        dense=method.dense,
        switches=method.switches,
    )


class _Run(eqx.Module):
    system: AbstractSystem
    core: Core
    ts: Float[Array, " T"]
    valid: Bool[Array, ""]
    noise: Any
    key: Any
    network: AbstractFlow


def _reduction(given: Arguments, wanted: Reduction) -> Reduction:
    network, run = given.network, (given.state0, given.current, given.noise)
    if (reason := network.inexact(wanted, *run)) is not None:
        raise ValueError(f"reduction={wanted!r} is not exact here: {reason}.")
    return network.smallest(*run) if wanted == "auto" else wanted


def _complete(method: Diffrax, given: Arguments, core: Core, derivative: str) -> Diffrax:
    """Fill in the defaults that depend on noise and dtype, and step onto the edges of pulses."""
    noisy, dtype = given.noise is not None, given.ts.dtype
    solver, controller, dt0 = method.solver, method.controller, method.dt0
    if solver is None:
        exact = core.noise is not None
        solver = OrnsteinHeun() if exact else diffrax.ShARK() if noisy else diffrax.Tsit5()
    if controller is None and (noisy or not isinstance(solver, diffrax.AbstractAdaptiveSolver)):
        controller = diffrax.ConstantStepSize()
    if controller is None:
        tolerance = 1e-8 if dtype == np.float64 else 1e-5
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, pcoeff=0.3, icoeff=0.4)
    if dt0 is None and isinstance(controller, diffrax.ConstantStepSize):
        dt0 = _FIXED_STEP
    if derivative == "forward" and getattr(solver, "scan_kind", "") is None:
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "lax", is_leaf=lambda x: x is None)
    edges = [v.edges for v in (given.stimulus, given.current) if isinstance(v, Pulses)]
    if edges and isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        controller = diffrax.ClipStepSizeController(
            controller, jump_ts=jnp.sort(jnp.concatenate(edges))
        )
    dt0 = None if dt0 is None else jnp.asarray(dt0, dtype)
    return Diffrax(solver, controller, dt0, method.reduction, method.dense, method.switches)


def _terms(run: _Run, method: Diffrax) -> Any:
    drift = diffrax.ODETerm(run.system.derivative)
    if run.noise is None:
        return drift
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), run.core)
    if isinstance(method.controller, diffrax.ConstantStepSize):
        path = StepBrownian(run.key, shapes, _levy_area(method.solver))
    else:
        span = (run.ts[-1] - run.ts[0]) * 2.0**-20
        path = diffrax.VirtualBrownianTree(
            run.ts[0], run.ts[-1], span, shapes, run.key, _levy_area(method.solver)
        )
    noisy = run.core.main if run.core.noise is None else run.core.noise
    strength = jax.tree.map(
        lambda leaf: jnp.ones_like(leaf) * run.noise if leaf is noisy else jnp.zeros_like(leaf),
        run.core,
    )

    def diffusion(t, y, args):
        return lx.DiagonalLinearOperator(strength)

    return diffrax.MultiTerm(drift, diffrax.ControlTerm(diffusion, path))


def _levy_area(solver) -> Any:
    area = getattr(solver, "minimal_levy_area", diffrax.BrownianIncrement)
    known = (diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return next((kind for kind in known if issubclass(kind, area)), diffrax.BrownianIncrement)


@eqx.filter_jit
def _integrate(
    run: _Run, method: Diffrax, reduction, derivative, observe, event, max_steps
) -> Trajectory:
    system, network = run.system, run.network
    assert method.solver is not None and method.controller is not None  # by `_complete`
    solver = SwitchLog(method.solver, system, method.switches)
    terms = _terms(run, method)

    def save(t, core, args):
        seen = None if observe is None else observe(t, system.state(t, core), network)
        evidence = None if core.slow is None else system.evidence(t)
        return system.overlaps(t, core), system.saliency(t, core), seen, evidence

    tests = (Divergence(),)
    if event is not None:
        tests += (UserEvent(event, system, network),)
    adjoints = {"reverse": diffrax.RecursiveCheckpointAdjoint, "forward": diffrax.ForwardMode}
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        t0=run.ts[0],
        t1=run.ts[-1],
        dt0=method.dt0,
        y0=run.core,
        saveat=diffrax.SaveAt(
            subs={
                "saves": diffrax.SubSaveAt(ts=run.ts, fn=save),
                "end": diffrax.SubSaveAt(t1=True),
            },
            dense=method.dense,
            solver_state=True,
        ),
        stepsize_controller=method.controller,
        adjoint=adjoints[derivative](),
        event=diffrax.Event(tests),
        max_steps=max_steps,
        throw=False,
    )
    return _harvest(run, solution, solver, terms, reduction)


def _harvest(run: _Run, solution, solver: SwitchLog, terms, reduction) -> Trajectory:
    reached = jnp.isfinite(solution.ts["saves"])
    end = jax.tree.map(lambda leaf: leaf[-1], solution.ys["end"])
    t_end = solution.ts["end"][-1]
    status = _status_of(solution, run.valid, end)
    reached = reached & (status != _status.INVALID_PARAMETER)

    def blank(leaf):
        mask = reached.reshape(reached.shape + (1,) * (leaf.ndim - 1))
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.where(mask, leaf, jnp.nan)
        return leaf if leaf.dtype == bool else jnp.where(mask, leaf, -1)

    overlaps, saliency, seen, evidence = jax.tree.map(blank, solution.ys["saves"])
    log: Log = solution.solver_state[1]
    counters = {
        "steps": solution.stats["num_steps"],
        "accepted": solution.stats["num_accepted_steps"],
        "rejected": solution.stats["num_rejected_steps"],
    }
    path = solution.interpolation
    by_events = isinstance(solver.solver, _event_driven.SeriesStep)
    return Trajectory(
        ts=run.ts,
        overlaps=overlaps,
        saliency=saliency,
        observed=seen,
        final=run.system.state(t_end, end),
        status=status,
        switches=locate(log, solver, terms),
        counters=counters,
        reduction=reduction,
        method="event-driven" if by_events else "diffrax",
        dense=None if path is None else _Dense(path, run.system),
        evidence=evidence,
    )


class _Dense(eqx.Module):
    """Overlaps and saliency from a solver's dense output."""

    path: Any
    system: AbstractSystem

    def __call__(self, times) -> dict[str, Array | None]:
        def at(t):
            core = self.path.evaluate(t)
            return self.system.overlaps(t, core), self.system.saliency(t, core)

        overlaps, saliency = jax.vmap(at)(times)
        return {"overlaps": overlaps, "saliency": saliency}


def _status_of(solution, valid, end) -> Array:
    """Our code from the solver's result, by name, and from a look at the values."""
    results = diffrax.RESULTS
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(end)]).all()
    diverged, *stopped = solution.event_mask
    code = jnp.asarray(_status.SOLVER_FAILED, jnp.int32)
    code = jnp.where(solution.result == results.successful, _status.OK, code)
    code = jnp.where(solution.result == results.max_steps_reached, _status.MAX_STEPS, code)
    for mask in stopped:
        code = jnp.where(mask, _status.STOPPED_BY_EVENT, code)
    code = jnp.where(diverged, _status.DIVERGED, code)
    code = jnp.where(finite, code, _status.NONFINITE)
    return jnp.where(valid, code, _status.INVALID_PARAMETER).astype(jnp.int32)


def _raise_if_failed(trajectory: Trajectory, max_steps) -> None:
    if not is_concrete(trajectory.status):
        return
    code = int(trajectory.status)
    if code in (_status.OK, _status.STOPPED_BY_EVENT):
        return
    reached = np.isfinite(np.asarray(trajectory.overlaps)).all(-1)
    last = float(np.asarray(trajectory.ts)[reached][-1]) if reached.any() else float("nan")
    raise SimulationError(
        f"the run ended with status {_status.name(code)}: {_status.meaning(code)}. Last save "
        f"reached: t = {last:g} of {float(trajectory.ts[-1]):g}, after "
        f"{int(trajectory.counters['steps'])} steps (`max_steps` = {max_steps}). "
        "`throw=False` returns what there is.",
        code,
    )
