"""Closed orbits: from a simulated sequence to its exact period, dwells and multipliers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _status
from .._errors import SimulationError, as_number, check_bool, check_option
from .._report import Report, Reported
from .._simulate import simulate
from .._trajectory import Trajectory
from .._types import PerPattern, State
from ..networks import AbstractFlow
from ..observables import visited
from ._reduced import Given, checked, reduced, tolerance
from ._shooting import Shooting, exactly, is_symmetric, relabelling

_SAVES = 6001  # of the run in which the return is looked for
_SLOW = 90.0  # slow time constants that it lasts
_BEGIN = 0.6  # the part of it after which the transient counts as over
_NEAR = 0.2  # a return is nearer than this part of the largest distance
_CORRECTIONS = 25
_GONE = 1e-9  # multipliers below it are shown as none


class Orbit(Reported, eqx.Module):
    r"""A closed orbit, $S\, \Phi_D(u) = u$.

    - `state`: the full state at a moment of it. `overlaps`, `saliency`: there, (P,).
    - `returns`: $D$, the time after which the state comes back, with memories relabelled if `order`
      is given: the dwell of each memory in a cycle of equal ones.
    - `order`: (P,) `order[k]` is the memory that then stands where k stood; None without
      relabelling.
    - `period`: the time after which the state itself comes back.
    - `multipliers`: (n - 1,) complex, of one return, the largest first (Floquet multipliers of the
      relabelled flow; of the whole period they are powers of these). That of a shift along the
      orbit, which is 1, is left out; those of the dimensions outside of the exact form are exp(-D).
    - `residual`: of the equations. `status`: 0, or a code of `hopfax.STATUS` for what is no orbit.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    found = hx.dynamics.orbit(network, network.init(saliency=[4.0, 0.0, 0.0, 0.0]))
    found.returns / 100  # 1.349328450: the dwell in slow time constants
    found.multipliers[0]  # 0.2585
    ```
    """

    state: State
    overlaps: PerPattern
    saliency: PerPattern | None
    returns: Float[Array, ""]
    order: Any
    multipliers: np.ndarray
    residual: float
    status: int
    vector: np.ndarray

    @property
    def period(self) -> Array:
        """The time after which the state itself comes back."""
        return self.returns * rounds(self.order)

    @property
    def converged(self) -> bool:
        """Whether this is an orbit."""
        return self.status == _status.OK

    @property
    def stable(self) -> bool:
        """Whether small perturbations decay: all multipliers lie inside the unit circle."""
        return self.converged and bool((np.abs(self.multipliers) < 1).all())

    def _report(self) -> Report:
        if not self.converged:
            title = f"no closed orbit was found: {_status.meaning(self.status)}"
            return Report(title, [("residual", f"{self.residual:.2g}")])
        rows = [("period", f"{float(self.period):.12g}")]
        if self.order is not None:
            rows.append(("return", f"{float(self.returns):.12g}, with memories relabelled"))
        sizes = [f"{size:.6g}" for size in np.abs(self.multipliers) if size > _GONE]
        listed = ", ".join([*sizes[:6], *["smaller ones"] * (len(sizes) < len(self.multipliers))])
        rows += [("|multipliers|", listed), ("residual", f"{self.residual:.2g}")]
        return Report(f"{'stable' if self.stable else 'unstable'} closed orbit", rows)


def rounds(order: Any) -> int:
    """How often memories are relabelled until all have their own names again."""
    if order is None:
        return 1
    order = np.asarray(order)
    now, count = order, 1
    while (now != np.arange(len(order))).any():
        now, count = order[now], count + 1
    return count


def orbit(
    network: AbstractFlow,
    start: State,
    *,
    horizon: float | None = None,
    relabel: str = "auto",
    throw: bool = True,
) -> Orbit:
    r"""The closed orbit that a run from a start settles on.

    The network is simulated, a moment at which the state comes back is looked for, and the orbit
    through it is found by Newton's method on $S\, \Phi_D(u) = u$ (shooting), with derivatives
    through the run: hard tanh by exact events, anything else by tight steps of Dopri8. The flow is
    that of the exact form, so that the equations are 2 P + 1 for a two-timescale network of any N.

    Where the memories follow each other in a cycle and the equation is the same for all of them
    (equal gains, a bias and overlaps that do not tell them apart), one dwell is the whole orbit:
    S relabels each memory by its predecessor, and neurons, or classes of equal ones, by those of
    the memories so named. Else the whole period is shot.

    **Arguments:**

    - `network`, `start`: a start from which the orbit is reached, or near it.
    - `horizon`: the time that is simulated, of which the last 40 % must hold a return; by default
      90 slow time constants of the network.
    - `relabel`: "auto", or "never" for the whole period in any case.
    - `throw`: raise if no orbit is found; else look at `status`.

    **Returns:** an `Orbit`.

    **Raises:** ValueError/TypeError for bad arguments; `SimulationError` where the run comes to
    rest, does not come back, or Newton's method does not converge.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    found = hx.dynamics.orbit(network, network.init(saliency=[4.0, 0.0, 0.0, 0.0]))
    found.period  # 539.73138018
    found.stable  # True
    ```
    """
    start = checked(network, start, "start")
    check_option(relabel, "relabel", ("auto", "never"))
    check_bool(throw, "throw")
    horizon = horizon_of(network, horizon)
    guess, why = _returning(network, start, horizon, relabel == "auto")
    found = None if guess is None else closed(network, start, *guess)
    if found is not None and found.converged:
        return found
    if found is not None:
        why = f"Newton's method does not converge: residual {found.residual:.2g}"
    if throw:
        raise SimulationError(
            f"no closed orbit was found from `start`: {why}. Start nearer to it, or give more "
            "time by `horizon`; `throw=False` returns what there is.",
            _status.SOLVER_FAILED,
        )
    return found if found is not None else _nothing(network, start)


def horizon_of(network: AbstractFlow, horizon: Any) -> float:
    """A time, by default of 90 slow time constants. **Raises:** ValueError where there are none."""
    if horizon is not None:
        return checked_horizon(horizon)
    slow = network.slow_constant()
    if slow is None:
        raise ValueError(
            f"`horizon` is needed, as {type(network).__name__} has no slow time constant: give a "
            "time, in fast time constants, in which a run settles on the orbit and goes round."
        )
    return _SLOW * max(1.0, float(jnp.max(slow)))


def checked_horizon(horizon: Any) -> float:
    """A time. **Raises:** TypeError/ValueError for anything else."""
    horizon = as_number(horizon, "horizon")
    if not 0 < horizon < np.inf:
        raise ValueError(f"`horizon` must be a time > 0, got {horizon:g}.")
    return horizon


class _Seen(eqx.Module):
    """What is recorded of a run: the vector of the exact form."""

    def __call__(self, t: Any, state: State, network: AbstractFlow) -> Float[Array, " n"]:
        return reduced(network, state, Given()).start


_SEEN = _Seen()


def _returning(
    network: AbstractFlow, start: State, horizon: float, relabel: bool
) -> tuple[Any, str]:
    """A vector, a time and an order after which it nearly comes back; or None, and why."""
    form = reduced(network, start, Given())
    ts = jnp.linspace(0.0, horizon, _SAVES, dtype=network.patterns.dtype)
    state = reduced(network, start, Given()).state(form.start)
    method = exactly(ts.dtype)
    run = simulate(network, state, ts, method=method, observe=_SEEN, throw=False)
    if int(run.status) != _status.OK:
        return None, f"the run ended with status {_status.name(int(run.status))}"
    seen = np.asarray(run.observed)
    later = seen[int(_BEGIN * _SAVES) :]
    if np.ptp(later, axis=0).max() < 1e-6 * max(1.0, np.abs(later).max()):
        return None, "the run comes to rest"
    order = _order(network, run, form) if relabel else None
    back = later if order is None else later[:, np.asarray(relabelling(form, order))]
    distance = np.linalg.norm(back - later[0], axis=1)
    far = distance.max()
    left = np.flatnonzero(distance > far / 2)
    first = left[0] if order is None else 1
    near = [
        k
        for k in range(max(first, 1), len(distance) - 1)
        if distance[k] <= min(distance[k - 1], distance[k + 1]) and distance[k] < _NEAR * far
    ]
    if not near:
        return None, "the state does not come back within the last 40 % of it"
    spacing = horizon / (_SAVES - 1)
    return (later[0], near[0] * spacing, order), ""


def _order(network: AbstractFlow, run: Trajectory, form: Any) -> np.ndarray | None:
    """Which memory follows which, where that is one cycle of all and a symmetry of the network."""
    P = network.patterns.P
    seen = visited(run)[-(P + 1) :]
    if len(seen) < P + 1 or len(set(seen[:-1].tolist())) < P or seen[0] != seen[-1]:
        return None
    order = np.empty(P, int)
    order[seen[:-1]] = seen[1:]
    places = relabelling(form, order)
    same = places is not None and is_symmetric(form, places, jax.random.key(0))
    return order if same else None


def closed(
    network: AbstractFlow, template: State, vector: np.ndarray, time: float, order: Any
) -> Orbit:
    """The orbit near a vector that comes back after about this time."""
    dtype = network.patterns.dtype
    places = relabelling(reduced(network, template, Given()), order)
    equation = Shooting(Fixed(network), template, places, time, dtype)
    u = np.append(vector, 1.0)[None]
    zero = np.zeros(1)
    memory = equation.remembered(u, zero)
    scale = max(1.0, float(np.abs(vector).max()))
    best, before = u, np.inf
    slope = equation.slope(u, zero, memory, np.array([True]))
    for _ in range(_CORRECTIONS):
        size = float(np.abs(slope.residual).max())
        if not size < before * (1 - 1e-3):
            break
        best, before, kept = u, size, slope
        try:
            change = np.linalg.solve(slope.by_state[0], slope.residual[0])
        except np.linalg.LinAlgError:
            break
        u = u - min(1.0, 0.3 / max(abs(change[-1]), 1e-300)) * change[None]
        slope = equation.slope(u, zero, memory, np.array([True]))
    fine = before < tolerance(dtype) * scale
    if not np.isfinite(before):
        return _nothing(network, template)
    status = _status.OK if fine else _status.SOLVER_FAILED
    return shown(
        network, template, best[0], time, order, equation.spectrum(kept)[0], before, status
    )


class Fixed(eqx.Module):
    """A network as a function of a number on which it does not depend."""

    network: Any

    def __call__(self, value: Any) -> Any:
        return self.network


def shown(
    network: AbstractFlow,
    template: State,
    vector: np.ndarray,
    scale: float,
    order: Any,
    multipliers: np.ndarray,
    residual: float,
    status: int,
) -> Orbit:
    """The orbit through a vector of the shooting equations."""
    form = reduced(network, template, Given())
    u = jnp.asarray(vector[:-1], network.patterns.dtype)
    returns = jnp.asarray(vector[-1] * scale, u.dtype)
    return Orbit(
        form.state(u),
        form.overlaps(u),
        form.saliency(u),
        returns,
        order,
        multipliers,
        residual,
        status,
        vector,
    )


def _nothing(network: AbstractFlow, template: State) -> Orbit:
    form = reduced(network, template, Given())
    nan = np.full(form.start.size + 1, np.nan)
    none = np.zeros(0, complex)
    return shown(network, template, nan, 1.0, None, none, float("nan"), _status.SOLVER_FAILED)
