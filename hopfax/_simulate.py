"""One run: a network, a start, save times -> a `Trajectory`."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np

from . import _engines, _status
from ._arguments import Arguments, checked, quarantine, warn_about
from ._engines import Auto, Diffrax, EventDriven
from ._errors import (
    SimulationError,
    as_count,
    check_array,
    check_bool,
    check_callable,
    check_option,
)
from ._trajectory import Trajectory, check_observed
from ._types import ArrayLike, Input, State, is_concrete
from .networks import AbstractFlow, Inputs, Reduction, value_at


def simulate(
    network: AbstractFlow,
    state0: State,
    ts: ArrayLike,
    *,
    stimulus: Input = None,
    current: Input = None,
    noise: ArrayLike | None = None,
    key: jax.Array | None = None,
    method: Diffrax | EventDriven | Auto | Literal["auto"] = "auto",
    derivative: Literal["reverse", "forward"] = "reverse",
    observe: Callable | None = None,
    event: Callable | None = None,
    max_steps: int | None = 65536,
    throw: bool = True,
) -> Trajectory:
    r"""Integrate a network and save overlaps and saliency at the times `ts`.

    The smallest exact form is chosen: classes of equal neurons, the span of the patterns, or all
    neurons (`Trajectory.stats["reduction"]` says which); the cost of the first does not depend on
    N. Works under `jit`, `vmap` and `grad`. Every new shape, such as another number of save times,
    is compiled once, in seconds, so give many runs one shape; programs are kept until they take
    too many of the memory maps that Linux allows a process, then released with a warning.

    **Arguments:**

    - `network`, `state0`: from `network.init(...)`, or `final` of an earlier run.
    - `ts`: (T,) save times in fast time constants, not decreasing; the run starts at `ts[0]`.
    - `stimulus`: input that sets saliency (of an `InputDrivenHopfield`; a `TwoTimescaleHopfield`
      adds it to its own). (N,), or a `diffrax.AbstractPath` such as `hopfax.Pulses`.
    - `current`: input added to the field. (N,) or a path.
    - `noise`: $\sigma$ of $dx = \dots dt + \sigma\, dB$, independent for every neuron (in the
      currents of a rate network with `noise_in="currents"`). Needs `key`,
      which with the time fixes the path $B(t)$, whatever `ts`, at constant steps for each `dt0`.
      In a saturated well the field then fluctuates with standard deviation $\sigma / \sqrt 2$.
    - `method`: "auto" integrates hard tanh exactly, event by event (`EventDriven`), likewise rates
      with kinks, and gives diffrax what that cannot do: smooth activations, `noise`, `event`,
      inputs other than constants and `Pulses`, for `TwoTimescaleHopfield` a `stimulus`, for rates
      more than 64 neurons without classes, `keep_diagonal=False`. Or say which, with its
      settings: `EventDriven(order=24, tol=1e-14)`, `Diffrax(solver, controller)`.
    - `derivative`: which derivative the run will serve best, "reverse" (`grad`, `vjp`) or "forward"
      (`jvp`, `jacfwd`), which is cheaper for few parameters. Event-driven derivatives are exact;
      those of diffrax are its steps'. All nestings of both modes are there with either: a Hessian
      by `jax.hessian`, its product with a vector by `jvp` of `grad`. Third derivatives only of
      smooth activations; by diffrax no second ones where the equation has kinks (TypeError).
    - `observe`: a function `(t, state, network) -> pytree` saved at every `ts`; `state` is always
      the full one. With a fourth argument `inputs` it is also given the stimulus and current of
      that time, a `hopfax.Inputs`. Define it once, at module level: a new lambda is a new
      compilation.
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
    method = _engines.as_method(method)
    check_bool(throw, "throw")
    max_steps = None if max_steps is None else as_count(max_steps, "max_steps", most=2**31 - 1)
    for name, function in (("observe", observe), ("event", event)):
        if function is not None:
            check_callable(function, name)
    steps = method if isinstance(method, Diffrax) else None
    warn_about(given, None if steps is None else steps.controller)
    saves, memories = given.ts.shape[0], network.patterns.P
    check_array("overlaps and saliency", 2 * given.ts.dtype.itemsize, ts=saves, P=memories)
    reduction = _reduction(given, "auto" if steps is None else steps.reduction)
    given, valid = quarantine(given)
    network, inputs = given.network, (given.stimulus, given.current)
    if event is not None:
        _check_event(event, given, network)
    observe = _with_inputs(observe, *inputs)
    check_observed(observe, given.state0, network, saves, "ts")
    noisy = given.noise is not None
    system, core = network.forms.reduced(
        network, given.state0, given.ts[0], *inputs, noisy, reduction
    )
    task = _engines.Task(system, core, given.ts, valid, network)
    settings = _engines.Settings(reduction, derivative, max_steps)
    private = _engines.Noise(given.noise, given.key)
    trajectory = _engines.integrate(task, settings, method, private, inputs, observe, event)
    if throw:
        _raise_if_failed(trajectory, network, max_steps)
    return trajectory


class _Observe(eqx.Module):
    """A function of `(t, state, network, inputs)` as one of the first three."""

    function: Callable
    stimulus: Input
    current: Input

    def __call__(self, t, state: State, network: AbstractFlow) -> Any:
        inputs = Inputs(value_at(self.stimulus, t), value_at(self.current, t))
        return self.function(t, state, network, inputs=inputs)


def _with_inputs(observe: Callable | None, stimulus: Input, current: Input) -> Callable | None:
    """`observe`, which is given the inputs if it has an argument of that name."""
    try:
        wanted = observe is not None and "inputs" in inspect.signature(observe).parameters
    except (TypeError, ValueError):  # it does not say what it takes
        wanted = False
    return _Observe(observe, stimulus, current) if observe is not None and wanted else observe


def _check_event(event: Callable, given: Arguments, network: AbstractFlow) -> None:
    """TypeError unless an event returns one bool or float."""
    found = eqx.filter_eval_shape(event, given.ts[0], given.state0, network)
    if not isinstance(found, bool | float) and getattr(found, "shape", None) != ():
        raise TypeError("`event` must be a function that returns one bool or float.")


def _reduction(given: Arguments, wanted: Reduction) -> Reduction:
    network, run = given.network, (given.state0, given.current, given.noise)
    if (reason := network.forms.inexact(wanted, network, *run)) is not None:
        raise ValueError(f"reduction={wanted!r} is not exact here: {reason}.")
    return network.forms.smallest(network, *run) if wanted == "auto" else wanted


def _raise_if_failed(trajectory: Trajectory, network: AbstractFlow, max_steps) -> None:
    if not is_concrete(trajectory.status):
        return
    code = int(trajectory.status)
    if code in (_status.OK, _status.STOPPED_BY_EVENT):
        return
    reached = np.isfinite(np.asarray(trajectory.overlaps)).all(-1)
    last = float(np.asarray(trajectory.ts)[reached][-1]) if reached.any() else float("nan")
    why = _status.meaning(code)
    if code == _status.MAX_STEPS:
        why = f"needed more than `max_steps` steps; {_help_with_steps(trajectory, network)}"
    raise SimulationError(
        f"the run ended with status {_status.name(code)}: {why}. Last save "
        f"reached: t = {last:g} of {float(trajectory.ts[-1]):g}, after "
        f"{int(trajectory.counters['steps'])} steps (`max_steps` = {max_steps}). "
        "`throw=False` returns what there is.",
        code,
    )


_COARSE = 0.03  # of the shortest time constant: what the float of the times must resolve
_STIFF = 60000  # shortest time constants; an explicit step is about three of them at most


def _help_with_steps(trajectory: Trajectory, network: AbstractFlow) -> str:
    """What helps a run that needed too many steps, by what it is short of: digits of its times,
    longer steps, or steps."""
    ts = np.asarray(trajectory.ts)
    furthest, span = np.abs(ts).max(), float(ts[-1]) - float(ts[0])
    slow = network.slow_constant()
    shortest = 1.0 if slow is None else min(1.0, float(np.min(np.asarray(slow))))
    coarse = float(np.finfo(ts.dtype).eps * furthest)
    double = 'double precision, jax.config.update("jax_enable_x64", True)'
    single = ts.dtype == np.float32
    if single and coarse > _COARSE * shortest:
        begin = ", or let `ts` begin at 0" if span < furthest / 2 else ""
        near = f"float32 tells times near {furthest:.3g} apart by {coarse:.1g} only"
        return f"{near}: use {double}{begin}"
    if span > _STIFF * shortest:
        return (
            f"the run lasts {span / shortest:.2g} times its shortest time constant, of which an "
            "explicit step spans about three: use an implicit solver, "
            "method=hopfax.Diffrax(solver=diffrax.Kvaerno5())"
            f"{f', in {double}' if single else ''}"
        )
    if trajectory.method == "event-driven":
        return "raise `max_steps`, or let diffrax integrate it, method=hopfax.Diffrax()"
    return "raise `max_steps`, or loosen the tolerance of the `controller`"
