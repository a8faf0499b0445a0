"""States of rest: where a network's flow vanishes, and whether it returns there."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float, Int

from .. import _status
from .._errors import SimulationError, as_count, check_bool
from .._programs import jitted
from .._report import Report, Reported, in_brief
from .._roots import implicit_point
from .._types import Input, PerPattern, State, is_concrete
from ..networks import AbstractFlow
from ._reduced import Given, Reduced, checked, checked_inputs, left_out, reduced, tolerance

_SINGULAR = 1e-9  # of the largest singular value: below it a state of rest is one of a continuum


class Spectrum(Reported, eqx.Module):
    r"""Eigenvalues of a network's Jacobian at a state, from the small matrix of its exact form.

    With $x' = -x + \Xi\, w(m)$ the Jacobian of N neurons is $-I + \Xi B$ with a $B$ of shape
    (P, N), so that by Sylvester's identity its eigenvalues are those of the P x P matrix
    $-I + B\, \Xi$, and -1 for all other dimensions.

    - `eigenvalues`: (n,) complex, those of the exact form, the largest real part first.
    - `others`: how many more there are, all of them -1.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    found = hx.dynamics.spectrum(network, network.init(weights=[0.0, 0.0, 0.0]))
    found.eigenvalues  # 1, 1, 1: slope - 1 for each memory
    found.others  # 13
    ```
    """

    eigenvalues: np.ndarray
    others: int = eqx.field(static=True)

    @property
    def unstable(self) -> Any:
        """How many eigenvalues have a positive real part."""
        return (np.real(self.eigenvalues) > tolerance(np.real(self.eigenvalues).dtype)).sum(-1)

    def _report(self) -> Report:
        values = np.asarray(self.eigenvalues)
        listed = ", ".join(_complex(value) for value in values[..., :8].ravel()[:8])
        more = values.shape[-1] - 8
        tail = [f"  and {more} more of the exact form"] if more > 0 else []
        if self.others:
            tail.append(f"  and {self.others} more, all -1")
        title = "spectrum"
        if np.ndim(self.unstable) == 0:
            title += f": unstable in {self.unstable} directions"
        return Report(title, head=[f"  {listed}"], tail=tail)


def _complex(value: Any) -> str:
    if abs(value.imag) <= 1e-12 * max(1.0, abs(value)):
        return f"{value.real:.6g}"
    return f"{value.real:.6g}{value.imag:+.6g}i"


def spectrum_of(jacobian: Any, others: int) -> Spectrum:
    """The spectrum of a small Jacobian, with `others` eigenvalues -1 beside it."""
    values = np.linalg.eigvals(np.asarray(jacobian)) + 0j
    if others < 0:  # dependent memories: the small form has directions that the neurons have not
        nearest = np.argsort(np.abs(values + 1), axis=-1)[..., -others:]
        values = np.take_along_axis(values, nearest, axis=-1)
    order = np.lexsort((np.imag(values), -np.real(values)), axis=-1)
    return Spectrum(np.take_along_axis(values, order, axis=-1), max(others, 0))


class SteadyState(Reported, eqx.Module):
    r"""A state of rest, $F(u) = 0$.

    - `state`: the full state. `overlaps`: its overlaps (P,). `saliency`: (P,) or None.
    - `residual`: the largest entry of the time derivative there.
    - `status`: 0 if the residual is as small as rounding allows, else a code of `hopfax.STATUS`;
      then it is *no* state of rest, and says so wherever it is shown.
    - `jacobian`: (n, n), of the exact form (span or classes) that was solved.
    - `others`: the dimensions outside that form; they relax with rate 1.

    `spectrum`, `stable`, `isolated` are computed from these when they are asked for.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    rest = hx.dynamics.steady_state(network, network.init(weights=[1.0, 0.1, 0.0]))
    rest.overlaps  # 0.957504, 0, 0
    rest.stable  # True
    ```
    """

    state: State
    overlaps: PerPattern
    saliency: PerPattern | None
    residual: Float[Array, ""]
    status: Int[Array, ""]
    jacobian: Float[Array, "n n"]
    others: int = eqx.field(static=True)

    @property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the Jacobian."""
        return spectrum_of(self.jacobian, self.others)

    @property
    def converged(self) -> Any:
        """Whether this is a state of rest."""
        return self.status == _status.OK

    @property
    def stable(self) -> Any:
        """Whether small perturbations of this state of rest decay: all eigenvalues have negative
        real parts. False for what is no state of rest."""
        top = np.real(self.spectrum.eigenvalues).max(-1, initial=-1.0)
        return np.asarray(self.converged) & (top < -tolerance(self.jacobian.dtype))

    @property
    def isolated(self) -> Any:
        """Whether no other state of rest lies arbitrarily near: the Jacobian is regular. Where it
        is not, there is a line or a surface of them, as at the edge of a cell of hard tanh, or
        this is a bifurcation."""
        values = np.linalg.svd(np.asarray(self.jacobian), compute_uv=False)
        return values.min(-1) > _SINGULAR * values.max(-1)

    def _report(self) -> Report:
        if np.ndim(self.status):
            fine = int(np.sum(np.asarray(self.converged)))
            return Report(f"{fine} states of rest, of {np.size(self.status)} starts")
        kind = "stable" if self.stable else "unstable"
        title = f"{kind} state of rest" if self.converged else "no state of rest was found"
        rows = [("overlaps", in_brief(self.overlaps))]
        if self.saliency is not None:
            rows.append(("saliency", in_brief(self.saliency)))
        rows.append(("residual", f"{float(self.residual):.2g}"))
        if not self.converged:
            return Report(title, [*rows, ("status", _status.name(int(self.status)))])
        tail = [] if self.isolated else ["  not isolated: others lie arbitrarily near"]
        return Report(title, rows, tail=tail, parts=[self.spectrum._report()])


def steady_state(
    network: AbstractFlow,
    state: State,
    *,
    stimulus: Input = None,
    current: Input = None,
    max_steps: int = 256,
    throw: bool = True,
) -> SteadyState:
    r"""The state of rest that Newton's method finds from a start, stable or not.

    $F(u) = 0$ is solved in the smallest exact form of the network: P weights and P saliencies of a
    two-timescale network, whatever N. Steps are damped (Levenberg 1944, Marquardt 1963), so that
    bad starts do not diverge; Newton's own steps end the search, to rounding. With hard tanh
    $F$ is piecewise linear, and the last step is exact. It need not be the state that the flow
    reaches from there: for that, simulate first and give the end of the run.

    Works under `jit` and `vmap`; derivatives in every parameter by the implicit function theorem,
    $du = -(\partial_u F)^{-1} \partial_p F\, dp$ (zero where the Jacobian is singular, at a fold).

    **Arguments:**

    - `network`, `state`: from `network.init(...)`, or `final` of a run: where the search begins.
    - `stimulus`, `current`: constant inputs, (N,).
    - `max_steps`: the most steps of the search.
    - `throw`: raise if none is found; else look at `status`.

    **Returns:** a `SteadyState`.

    **Raises:** ValueError/TypeError for bad arguments; `SimulationError` if none is found from here
    and `throw`.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    hx.dynamics.steady_state(network, network.init(weights=[1.0, 0.1, 0.0]))
    mixed = hx.dynamics.steady_state(network, network.init(weights=[0.5, 0.5, 0.0]))
    mixed.overlaps, mixed.stable  # 0.457, 0.457, 0; False
    ```
    """
    state = checked(network, state)
    given = checked_inputs(network, stimulus, current)
    max_steps = as_count(max_steps, "max_steps")
    check_bool(throw, "throw")
    found = _found(network, state, given, max_steps)
    if throw and is_concrete(found.status) and np.ndim(found.status) == 0 and not found.converged:
        raise SimulationError(
            f"no state of rest was found from `state`: after at most {max_steps} steps the time "
            f"derivative is still {float(found.residual):.3g}. Start nearer to one, for example at "
            "the end of a run; `throw=False` returns what there is.",
            int(found.status),
        )
    return found


@jitted
def _found(network: AbstractFlow, state: State, given: Given, max_steps: int) -> SteadyState:
    form = reduced(network, state, given)
    return solved(form, form.start, left_out(network, form), max_steps)[1]


def solved(
    form: Reduced, start: Float[Array, " n"], others: int, max_steps: int
) -> tuple[Float[Array, " n"], SteadyState]:
    """The state of rest near a vector of a form: its vector, and all that is told of it."""
    tol = tolerance(start.dtype)
    fixed, start = jax.lax.stop_gradient((form, start))
    solution = optx.root_find(
        lambda u, fixed: fixed.rate(u),
        optx.LevenbergMarquardt(rtol=tol, atol=tol),
        start,
        args=fixed,
        max_steps=max_steps,
        throw=False,
    )
    u = implicit_point(form.rate, _polished(fixed, solution.value))
    residual = jnp.abs(form.rate(u)).max()
    scale = jnp.maximum(jnp.abs(u).max(), 1.0)
    status = jnp.where(residual <= tol * scale, _status.OK, _status.SOLVER_FAILED)
    status = jnp.where(jnp.isfinite(residual), status, _status.NONFINITE)
    return u, SteadyState(
        form.state(u),
        form.overlaps(u),
        form.saliency(u),
        residual,
        status.astype(jnp.int32),
        jax.jacfwd(form.rate)(u),
        others,
    )


def _polished(form: Any, u: Float[Array, " n"]) -> Float[Array, " n"]:
    """Two plain Newton steps, each taken if it makes the residual smaller."""
    for _ in range(2):
        rate = form.rate(u)
        trial = u - jnp.linalg.solve(jax.jacfwd(form.rate)(u), rate)
        better = jnp.abs(form.rate(trial)).max() < jnp.abs(rate).max()
        u = jnp.where(better, trial, u)
    return u


def spectrum(
    network: AbstractFlow, state: State, *, stimulus: Input = None, current: Input = None
) -> Spectrum:
    r"""Eigenvalues of the Jacobian of a network's flow at a state.

    Those of the full matrix of N neurons, from that of the exact form: see `Spectrum`. At a state
    that does not rest they tell how neighbouring runs part or meet just now. At a kink of the
    activation the derivative of one side is taken. A part of a `field` outside the span of the
    memories counts as decayed: it is the spectrum at the state that the span keeps.

    **Arguments:** `network`, `state`: as of `steady_state`. `stimulus`, `current`: constant inputs.

    **Returns:** a `Spectrum`. Not under `jit`: eigenvalues are computed by NumPy.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    rest = hx.dynamics.steady_state(network, network.init(weights=[1.0, 0.1, 0.0]))
    hx.dynamics.spectrum(network, rest.state).eigenvalues  # -0.834, -0.834, -0.834
    ```
    """
    state = checked(network, state)
    given = checked_inputs(network, stimulus, current)
    jacobian, others = _jacobian(network, state, given)
    return spectrum_of(jacobian, others)


def _jacobian(network: AbstractFlow, state: State, given: Given) -> tuple[Any, int]:
    form = reduced(network, state, given)
    return _of_form(form), left_out(network, form)


@jitted
def _of_form(form: Any) -> Float[Array, "n n"]:
    return jax.jacfwd(form.rate)(form.start)
