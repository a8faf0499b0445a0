"""Lyapunov exponents: how fast neighbouring runs part or meet, in all directions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _status
from .._errors import SimulationError, as_count, as_number
from .._programs import jitted
from .._report import Report, Reported
from .._types import State
from ..networks import AbstractFlow
from ._orbit import checked_horizon
from ._reduced import Given, checked, left_out, reduced
from ._shooting import moved

_ZERO = 1e-6  # of the largest exponent: below it one counts as 0
_BLOCKS = 10  # parts of a run, of whose means the errors are made


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Lyapunov(Reported):
    r"""Lyapunov exponents of a run, in inverse fast time constants.

    - `exponents`: (k,) the largest first, and `errors` (k,), their standard errors, from the means
      of ten parts of the run.
    - `others`: how many more there are outside of the exact form, all of them -1.
    - `dimension`: that of Kaplan and Yorke (1979): $j + \sum_{i \le j} \lambda_i / |\lambda_{j +
      1}|$ with the largest j whose sum is not negative; NaN where too few exponents were computed.
    - `state`: the end of the run.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    found = hx.dynamics.lyapunov(network, network.init(weights=[1.0, 0.1, 0.0]), horizon=40.0)
    found.exponents  # -0.834, -0.834, -0.834: the eigenvalues of the memory
    ```
    """

    exponents: np.ndarray
    errors: np.ndarray
    others: int
    dimension: float
    state: State

    def _report(self) -> Report:
        pairs = zip(self.exponents[:8], self.errors[:8], strict=True)
        listed = ", ".join(f"{value:.4g} +- {error:.1g}" for value, error in pairs)
        tail = [f"  and {self.others} more, all -1"] if self.others else []
        rows = [("", listed), ("Kaplan-Yorke dimension", f"{self.dimension:.4g}")]
        return Report("Lyapunov exponents", rows, tail=tail)


def lyapunov(
    network: AbstractFlow,
    start: State,
    *,
    horizon: float,
    transient: float = 0.0,
    interval: float = 1.0,
    count: int | None = None,
) -> Lyapunov:
    r"""Lyapunov exponents of the run from a start.

    Perturbations are carried along by the exact variational equation of the smallest exact form,
    also through the events of hard tanh, and made orthonormal after every `interval` (Benettin,
    Galgani, Giorgilli, Strelcyn 1980); what they have grown by are the exponents. A positive one
    means chaos; 0 is the direction of the flow on a closed orbit, whose other exponents are the
    logarithms of its multipliers over its period.

    **Arguments:**

    - `network`, `start`: from `network.init(...)`, or `final` of a run.
    - `horizon`: the time over which they are averaged, `transient`: the time before that, in fast
      time constants; both are rounded to whole intervals.
    - `interval`: the time between two orthonormalisations; over it the fastest and the slowest
      direction must not part by more than $10^{15}$.
    - `count`: how many exponents (default: all of the exact form).

    **Returns:** a `Lyapunov`. Not under `jit`.

    **Raises:** ValueError/TypeError for bad arguments; `SimulationError` if the run fails.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.02)
    start = network.init(saliency=[4.0, 0.0, 0.0])
    found = hx.dynamics.lyapunov(network, start, horizon=300.0, transient=300.0, interval=5.0)
    found.exponents[0]  # 0: a closed orbit
    ```
    """
    start = checked(network, start, "start")
    horizon, transient = checked_horizon(horizon), as_number(transient, "transient")
    interval = as_number(interval, "interval")
    if not 0 < interval <= horizon:
        raise ValueError(
            f"`interval` must lie between 0 and `horizon` = {horizon:g}, got {interval:g}."
        )
    if not 0 <= transient < np.inf:
        raise ValueError(f"`transient` must be a time >= 0, got {transient:g}.")
    form = reduced(network, start, Given())
    n = form.start.size
    k = n if count is None else as_count(count, "count", most=n)
    u, time = form.start, jnp.asarray(interval, form.start.dtype)
    directions = jnp.eye(n, k, dtype=u.dtype)
    before, steps = round(transient / interval), max(1, round(horizon / interval))
    grown = []
    for step in range(before + steps):
        u, directions, growth = _carried(network, start, u, directions, time)
        if step >= before:
            grown.append(growth)
    rates = np.stack([np.asarray(growth) for growth in grown]) / interval
    if not np.isfinite(rates).all():
        raise SimulationError(
            "the run from `start` has diverged or failed, or its directions parted by more than "
            f"rounding allows within an `interval` of {interval:g}.",
            _status.NONFINITE,
        )
    return _averaged(rates, left_out(network, form), n, form.state(u))


@jitted
def _carried(network, template, u, directions, time) -> tuple[Array, Array, Float[Array, " k"]]:
    """The state after a time, orthonormal directions there, and what they have grown by."""

    def push(direction):
        return jax.jvp(lambda u: moved(network, template, u, time, None), (u,), (direction,))

    after, pushed = jax.vmap(push, in_axes=1, out_axes=(None, 1))(directions)
    basis, triangle = jnp.linalg.qr(pushed)
    return after, basis, jnp.log(jnp.abs(jnp.diag(triangle)))


def _averaged(rates: np.ndarray, others: int, n: int, state: Any) -> Lyapunov:
    means = np.array([part.mean(0) for part in np.array_split(rates, min(_BLOCKS, len(rates)))])
    parts = len(means)
    spread = means.std(0, ddof=1) if parts > 1 else np.full(rates.shape[1], np.nan)
    exponents, errors = rates.mean(0), spread / np.sqrt(parts)
    order = np.argsort(-exponents)
    exponents, errors = exponents[order], errors[order]
    whole = exponents
    if len(exponents) == n:  # all are known, also those of the dimensions that were left out
        whole = np.sort(np.append(exponents, np.full(max(others, 0), -1.0)))[::-1]
    return Lyapunov(exponents, errors, max(others, 0), _dimension(whole), state)


def _dimension(exponents: np.ndarray) -> float:
    """The Kaplan-Yorke dimension of a spectrum in falling order."""
    sums = np.cumsum(exponents)
    there = np.flatnonzero(sums >= -_ZERO * np.abs(exponents).max())
    if not there.size:
        return 0.0
    j = int(there[-1]) + 1
    if j == len(exponents):
        return float("nan")
    return j + float(sums[j - 1] / abs(exponents[j]))
