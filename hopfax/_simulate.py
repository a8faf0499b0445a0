"""One run: a network, a start, save times -> a `Trajectory`."""

import operator
import warnings
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Bool, Float

from . import _status
from ._errors import (
    PhysicsWarning,
    SimulationError,
    as_float,
    check_at_least,
    check_finite,
    check_option,
    check_shape,
)
from ._events import Divergence, Log, SwitchLog, UserEvent, locate
from ._inputs import Pulses
from ._noise import OrnsteinHeun, StepBrownian
from ._reductions import Core, Reduction, System, build, choose, refuse
from ._trajectory import Trajectory, dense_output
from ._types import ArrayLike, is_concrete
from .networks import (
    AbstractHopfield,
    FieldState,
    InputDrivenHopfield,
    TwoTimescaleHopfield,
    check_domain,
    in_domain,
)
from .patterns import as_key

_FIXED_STEP = 0.05  # of noisy runs, in fast time constants


class Diffrax(eqx.Module):
    """How diffrax integrates a run; every field is diffrax's own object, passed through.

    - `solver`: default `Tsit5()`. With noise, a Heun step around the exactly sampled filtered
      noise (strong order 1, exact stationary law at any step); `ShARK()` (strong order 1.5 for
      additive noise) where the field leaves the span of the patterns. `Euler()` gives
      Euler-Maruyama.
    - `controller`: default a PI controller with rtol = atol = 1e-8 in float64 and 1e-5 in float32,
      or with noise constant steps. Hard tanh has kinks at which no Runge-Kutta method keeps its
      order, so the error of a run is larger than the tolerance: 1e-8 gives about 1e-5 at worst.
    - `dt0`: the first step, or the only one at constant steps (default 0.05 there).
    - `reduction`: "auto", or insist on "sites", "span" or "classes".
    - `dense`: keep dense output for `Trajectory.evaluate` (costs memory: `max_steps` states).
    - `switches`: how many switches the log of a run can hold; later ones are only counted.
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
    network: AbstractHopfield,
    state0: FieldState,
    ts: ArrayLike,
    *,
    stimulus: Any = None,
    current: Any = None,
    noise: ArrayLike | None = None,
    key: jax.Array | None = None,
    method: Diffrax | Literal["auto"] = "auto",
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
    - `stimulus`: input that sets saliency (`InputDrivenHopfield` only). (N,), or a
      `diffrax.AbstractPath` such as `hopfax.Pulses`.
    - `current`: input added to the field. (N,) or a path.
    - `noise`: $\sigma$ of $dx = \dots dt + \sigma\, dB$, independent for every neuron. Needs `key`.
      In a saturated well the field then fluctuates with standard deviation $\sigma / \sqrt 2$.
    - `method`: a `Diffrax` with solver, controller and first step; "auto" for its defaults.
    - `derivative`: which derivative the run will serve, "reverse" (checkpointed) or "forward".
    - `observe`: a function `(t, state, network) -> pytree` saved at every `ts`; `state` is always
      the full one. Define it once, at module level: a new lambda is a new compilation.
    - `event`: a function `(t, state, network) -> bool or float`; stops the run when true, or when
      it crosses zero.
    - `max_steps`: the most steps (also rejected ones); None only without reverse derivatives.
    - `throw`: raise if the run fails. Under a trace it never raises; look at `status`.

    **Returns:** a `Trajectory`.

    **Raises:** ValueError/TypeError for bad arguments, before anything is compiled;
    `SimulationError` if the run fails and `throw`.
    """
    given = _checked(_Arguments(network, state0, ts, stimulus, current, noise, key))
    check_option(derivative, "derivative", ("reverse", "forward"))
    method = Diffrax() if isinstance(method, str) and method == "auto" else method
    if not isinstance(method, Diffrax):
        raise TypeError(f'`method` must be "auto" or hopfax.Diffrax(...), got {method!r}.')
    warn_about(given, method)
    reduction = _reduction(given, method.reduction)
    given, valid = _quarantine(given)
    network, state0, ts = given.network, given.state0, given.ts
    noisy = given.noise is not None
    system, core = build(network, state0, ts[0], given.stimulus, given.current, noisy, reduction)
    run = _Run(system, core, ts, valid, given.noise, given.key, network)
    method = _complete(method, given, reduction, derivative)
    trajectory = _integrate(run, method, reduction, derivative, observe, event, max_steps)
    if throw:
        _raise_if_failed(trajectory, max_steps)
    return trajectory


class _Arguments(eqx.Module):
    network: Any
    state0: Any
    ts: Any
    stimulus: Any
    current: Any
    noise: Any
    key: Any


class _Run(eqx.Module):
    system: System
    core: Core
    ts: Float[Array, " T"]
    valid: Bool[Array, ""]
    noise: Any
    key: Any
    network: AbstractHopfield


def _checked(given: _Arguments) -> _Arguments:
    """Structure always, values where they are concrete; everything in the patterns' dtype."""
    network, state0 = given.network, given.state0
    if not isinstance(network, AbstractHopfield):
        raise TypeError(f"`network` must be a hopfax network, got {type(network).__name__}.")
    if not isinstance(state0, FieldState):
        raise TypeError(f"`state0` must come from network.init(...), got {type(state0).__name__}.")
    dtype = network.patterns.xi.dtype
    check_domain(network)
    state0 = _checked_state(network, state0, dtype)
    ts = as_float(given.ts, "ts", dtype)
    _check_times(ts)
    stimulus = _checked_input(given.stimulus, "stimulus", network, ts)
    current = _checked_input(given.current, "current", network, ts)
    if stimulus is not None and not isinstance(network, InputDrivenHopfield):
        raise ValueError(
            f"{type(network).__name__} has no `stimulus`; additive input is `current`. Only "
            "InputDrivenHopfield lets the stimulus set saliency."
        )
    if stimulus is None and isinstance(network, InputDrivenHopfield):
        network.saliency(None, None)  # says what is missing
    noise, key = given.noise, given.key
    if noise is not None:
        noise = as_float(noise, "noise", dtype)
        check_shape(noise, "noise", (), "()")
        check_at_least(noise, "noise", 0.0, strict=False)
        if key is None:
            raise ValueError("`noise` needs a `key`: make one with jax.random.key(seed).")
        key = as_key(key)
    elif key is not None:
        raise ValueError("`key` is used only with `noise`; leave it out or set `noise`.")
    return _Arguments(network, state0, ts, stimulus, current, noise, key)


def _checked_state(network, state0: FieldState, dtype) -> FieldState:
    P, N = network.patterns.xi.shape
    field = as_float(state0.field, "state0.field", dtype)
    check_shape(field, "state0.field", (N,), "(N,)")
    check_finite(field, "state0.field")
    saliency = state0.saliency
    if isinstance(network, TwoTimescaleHopfield) and saliency is None:
        raise ValueError("`state0.saliency` is missing; make the state with network.init(...).")
    if saliency is not None:
        saliency = as_float(saliency, "state0.saliency", dtype)
        check_shape(saliency, "state0.saliency", (P,), "(P,)")
        check_finite(saliency, "state0.saliency")
    weights = state0.weights
    if weights is not None:
        weights = as_float(weights, "state0.weights", dtype)
        check_shape(weights, "state0.weights", (P,), "(P,)")
        check_finite(weights, "state0.weights")
        spanned = network.patterns.field(weights)
        if is_concrete(field) and is_concrete(spanned):
            gap = np.max(np.abs(np.asarray(field) - np.asarray(spanned)))
            if gap > 1e-3 * (1 + np.max(np.abs(np.asarray(field)))):
                raise ValueError(
                    "`state0.field` and `state0.weights` disagree (field = sum_mu weights_mu "
                    "xi^mu); make the state with network.init(field=...) instead of editing it."
                )
    return FieldState(field, saliency, weights)


def _check_times(ts) -> None:
    if ts.ndim != 1 or ts.shape[0] < 1:
        raise ValueError(f"`ts` must have shape (T,) with T >= 1, got {ts.shape}.")
    if not is_concrete(ts):
        return
    times = np.asarray(ts)
    if np.isinf(times).any():
        raise ValueError("`ts` must be finite; integrate to a finite horizon and test for rest.")
    check_finite(ts, "ts")
    if (np.diff(times) < 0).any():
        k = int(np.argmax(np.diff(times) < 0))
        raise ValueError(
            f"`ts` must not decrease, but ts[{k}] = {times[k]:g} > ts[{k + 1}] = {times[k + 1]:g}."
        )


def _checked_input(value, name, network, ts):
    if value is None:
        return None
    N, dtype = network.patterns.N, network.patterns.xi.dtype
    if not isinstance(value, diffrax.AbstractPath):
        value = as_float(value, name, dtype)
        check_shape(value, name, (N,), "(N,)")
        check_finite(value, name)
        return value
    shape = jax.eval_shape(value.evaluate, ts[0])
    if getattr(shape, "shape", None) != (N,):
        raise ValueError(f"`{name}` must give arrays of shape (N,) = ({N},), but gives {shape}.")
    if is_concrete(ts) and is_concrete(value.t0) and is_concrete(value.t1):
        begin, end = float(value.t0), float(value.t1)
        if float(ts[0]) < begin or float(ts[-1]) > end:
            raise ValueError(
                f"`{name}` covers times {begin:g} to {end:g}, but `ts` runs from "
                f"{float(ts[0]):g} to {float(ts[-1]):g}; lengthen the path (for silence, by a "
                "pulse of zeros)."
            )
    return value


def warn_about(given: _Arguments, method: Diffrax) -> None:
    """PhysicsWarning for runs that are legal but will hardly show what they are meant to show."""
    network, state0 = given.network, given.state0
    if network.patterns.P > network.patterns.N:
        _warn("more patterns than neurons (P > N): overlaps of this linear kind cannot hold them.")
    rtol = getattr(method.controller, "rtol", None)
    if given.ts.dtype == np.float32 and rtol is not None and is_concrete(rtol) and rtol < 1e-6:
        _warn(
            f"rtol = {float(rtol):g} is below what float32 resolves; use rtol >= 1e-6 or enable "
            'double precision: jax.config.update("jax_enable_x64", True).'
        )
    if not isinstance(network, TwoTimescaleHopfield):
        return
    looked_at = (network.patterns, network.bias, network.transition, network.activation, state0)
    if all(is_concrete(leaf) for leaf in jax.tree.leaves(looked_at)):
        with jax.ensure_compile_time_eval():  # these values are known, also inside a trace
            _warn_about_seeds(given)


def _warn_about_seeds(given: _Arguments) -> None:
    network, noise = given.network, given.noise
    P = network.patterns.P
    bias, calls = np.asarray(network.offset()), np.asarray(network.transition)
    if given.current is not None or not calls.any():
        return
    noisy = noise is not None and (not is_concrete(noise) or float(noise) > 0)
    gram = (
        np.eye(P) if network.learning == "pseudo_inverse" else np.asarray(network.patterns.gram())
    )
    called = (calls != 0) & ~np.eye(P, dtype=bool)
    # What pushes `next` while `current` is active: its bias, and its overlap times a saliency > 1.
    seeds = np.where(called, gram + bias[:, None], 0.0)
    m = np.asarray(network.overlaps(given.state0))
    small = 64 * np.finfo(m.dtype).eps
    alone = np.abs(m).max() > 0.5 and np.sum(np.abs(m) > small) == 1
    if alone and not noisy and not (np.abs(seeds) > small).any():
        _warn(
            "this start cannot move: the memories are exactly orthogonal and the field lies on one "
            "of them, so no other overlap ever differs from zero. Seed the transitions with a "
            "small `bias` (e.g. 0.01), with `noise`, or with correlated patterns."
        )
    elif network.readout == "linear" and (seeds < -small).any():
        where = np.argwhere(seeds < -small)[0]
        _warn(
            f"`readout='linear'` with a negative seed: memory {where[1]} calls memory {where[0]} "
            f"through overlap {gram[tuple(where)]:.3g} and bias {bias[where[0]]:.3g}. A transition "
            "into -xi makes the next saliencies negative and ends the sequence. Use a larger "
            "`bias`, patterns.gauge_cycle(), learning='pseudo_inverse', or `readout='abs'` or "
            "'square'."
        )
    elif network.readout == "linear" and noisy and not (seeds > small).any():
        _warn(
            "`readout='linear'` with noise as the only seed, which has no sign: a transition into "
            "-xi makes the next saliencies negative and ends the sequence. Use a `bias` > 0, or "
            "`readout='abs'` or 'square'."
        )


def _warn(text: str) -> None:
    warnings.warn(text, PhysicsWarning, stacklevel=5)


def _reduction(given: _Arguments, wanted: Reduction) -> Reduction:
    network, state0, current, noise = given.network, given.state0, given.current, given.noise
    refuse(wanted, network, state0, current, noise)
    return choose(network, state0, current, noise) if wanted == "auto" else wanted


def _quarantine(given: _Arguments) -> tuple[_Arguments, Bool[Array, ""]]:
    """Put something harmless in place of a run that has a value outside its domain, so that a bad
    point of a batch takes a few steps like any other; its status says INVALID_PARAMETER and its
    output is discarded."""
    network, state0, ts = given.network, given.state0, given.ts
    start = (state0.saliency, state0.field if state0.weights is None else state0.weights)
    inputs = [v for v in (given.stimulus, given.current) if isinstance(v, jax.Array)]
    valid = in_domain(network) & (jnp.diff(ts) >= 0).all()
    for leaf in jax.tree.leaves((start, inputs, ts)):
        valid = valid & jnp.isfinite(leaf).all()
    if given.noise is not None:
        valid = valid & jnp.isfinite(given.noise) & (given.noise >= 0)

    def safe(value, harmless: Any = 0.0):
        return None if value is None else jnp.where(valid, value, harmless)

    for bound in network.domain():
        lowest = 0.0 if np.isinf(bound.lower) else bound.lower
        value = safe(bound.value, lowest + 1.0 if bound.strict else lowest)
        network = eqx.tree_at(operator.attrgetter(bound.name), network, value)
    xi = network.patterns.xi  # large and shared: only its own faults may touch it
    network = eqx.tree_at(lambda n: n.patterns.xi, network, jnp.where(jnp.isfinite(xi), xi, 1.0))
    stimulus, current = (
        safe(v) if isinstance(v, jax.Array) else v for v in (given.stimulus, given.current)
    )
    state0 = jax.tree.map(safe, state0)
    ts = safe(ts, jnp.linspace(0.0, 1.0, ts.shape[0], dtype=ts.dtype))
    noise = safe(given.noise)
    return _Arguments(network, state0, ts, stimulus, current, noise, given.key), valid


def _complete(method: Diffrax, given: _Arguments, reduction: str, derivative: str) -> Diffrax:
    """Fill in the defaults that depend on noise and dtype, and step onto the edges of pulses."""
    noisy, dtype = given.noise is not None, given.ts.dtype
    solver, controller, dt0 = method.solver, method.controller, method.dt0
    if solver is None:
        exact = noisy and reduction == "span"
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
        return system.overlaps(t, core), system.saliency(t, core), seen

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

    overlaps, saliency, seen = jax.tree.map(blank, solution.ys["saves"])
    log: Log = solution.solver_state[1]
    counters = {
        "steps": solution.stats["num_steps"],
        "accepted": solution.stats["num_accepted_steps"],
        "rejected": solution.stats["num_rejected_steps"],
    }
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
        dense=dense_output(solution, run.system),
    )


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
