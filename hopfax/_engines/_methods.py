"""How a run is integrated, as the user says it."""

from typing import Any

import diffrax
import equinox as eqx

from .._errors import (
    as_count,
    as_float,
    as_number,
    check_array,
    check_at_least,
    check_bool,
    check_option,
    check_shape,
    check_type,
    shown,
)
from .._types import is_concrete
from ..networks import Reduction

_MOST_ORDER = 256  # of a Taylor series
_ENTRY = 32  # bytes of an entry of the log of switches, at least


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
        if (
            not isinstance(self.order, int)
            or isinstance(self.order, bool)
            or not 3 <= self.order <= _MOST_ORDER
        ):
            raise ValueError(
                f"`order` must be an int of at least 3, and at most {_MOST_ORDER}, got "
                f"{shown(self.order)}; from 24 on a series has no error but rounding."
            )
        if not 0 < as_number(self.tol, "tol") < 1:
            raise ValueError(f"`tol` must lie between 0 and 1, got {self.tol!r}.")
        check_bool(self.dense, "dense")
        as_count(self.switches, "switches")
        check_array("the log of switches", _ENTRY, switches=self.switches)


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
        check_bool(self.dense, "dense")
        as_count(self.switches, "switches")
        check_array("the log of switches", _ENTRY, switches=self.switches)
        if self.dt0 is not None:
            dt0 = as_float(self.dt0, "dt0")
            check_shape(dt0, "dt0", (), "()")
            check_at_least(dt0, "dt0", 0.0, strict=True)
        if self.solver is not None:
            check_type(self.solver, "solver", diffrax.AbstractSolver, "a solver of diffrax")
        if self.controller is not None:
            kind = diffrax.AbstractStepSizeController
            check_type(self.controller, "controller", kind, "a step size controller of diffrax")
        control = self.controller
        if isinstance(control, diffrax.PIDController) and all(
            is_concrete(tol) and float(tol) <= 0 for tol in (control.rtol, control.atol)
        ):
            raise ValueError("`controller` needs rtol > 0 or atol > 0: with both 0 no step passes.")


class Auto(eqx.Module):
    """Exact integration where the law of motion is known and piecewise polynomial, steps of diffrax
    elsewhere. `simulate(method="auto")` is this one."""

    exact: EventDriven = EventDriven()
    steps: Diffrax = Diffrax()


def as_method(method: Any) -> Auto | Diffrax | EventDriven:
    """A method as the user says it. **Raises:** TypeError for anything else."""
    if isinstance(method, Auto | Diffrax | EventDriven):
        return method
    if isinstance(method, str) and method == "auto":
        return Auto()
    raise TypeError(
        '`method` must be "auto", hopfax.EventDriven(...) or hopfax.Diffrax(...), got '
        f"{shown(method)}."
    )
