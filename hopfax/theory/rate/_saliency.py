"""The saliency below which a memory of the input-driven network is no equilibrium."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation, HardSigmoid, Logistic, ThresholdLinear
from ..._roots import implicit_root
from ..._types import ArrayLike
from .._search import bisect
from .._told import takes_network
from . import _network
from ._design import check_known, checked_design, checked_scalars
from ._fold import fold
from ._plane import certain
from ._stability import plane_stability

#: The rate of silent neurons up to which they count as silent.
_QUIET = 3e-4


class CriticalSaliency(NamedTuple):
    r"""Where the memory ends as its saliency falls, by the closed form of `critical_saliency`.

    `saliency`: $\sigma_c$. `gain`: $g^*$. `rate`: $S$, that of the active neurons there. `exists`:
    whether the formula holds, which needs $\gamma \le 0$, a memory that is stable in its plane and
    lies on the active branch, and silent neurons that are silent; `saliency` is NaN otherwise.

    **Example:**

    ```python
    found = hx.theory.rate.critical_saliency(hx.Logistic(), -0.3, 0.95, 0.2)
    found.gain, found.rate  # 0.4634, 0.8710
    ```
    """

    saliency: Float[Array, "..."]
    gain: Float[Array, "..."]
    rate: Float[Array, "..."]
    exists: Bool[Array, "..."]


class PlanarSaliency(NamedTuple):
    """Where the memory ends as its saliency falls, from the planar system.

    `saliency`: the last one at which the memory is an equilibrium. `active`, `silent`: the rates
    there. `exists`: whether there is such a saliency; all others are NaN otherwise.

    **Example:**

    ```python
    found = hx.theory.rate.critical_saliency_planar(hx.HardSigmoid(), -0.3, 0.95, 0.2)
    found.active, found.silent  # 1.0, 0.0
    ```
    """

    saliency: Float[Array, ""]
    active: Float[Array, ""]
    silent: Float[Array, ""]
    exists: Bool[Array, ""]


@takes_network(_network.memory)
def critical_saliency(
    phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike
) -> CriticalSaliency:
    r"""Saliency below which a memory is no equilibrium of the input-driven network, in closed form.

    If the silent neurons have rate 0, the active ones obey $S = \phi(g S)$,
    $g = \gamma q + \sigma \kappa (1-q)$, so that

    $$\sigma_c = \frac{g^* - \gamma q}{\kappa (1-q)}, \qquad g^* = \phi^{-1}(S)/S
    \text{ at its local minimum on the active branch.}$$

    Logistic: $S = 1/(1 + e^{-t})$ with $e^t - t = 1 + 4 \rho I^*$. Rectified tanh: $S = \tanh t$
    with $\sinh(2t)/2 - t = \rho I^*$. Hard sigmoid: S = 1, $g^* = I^* + 1/\rho$.

    **Arguments:** as in `design`.

    A `RateMemory` or `InputDrivenRateMemory`, given first, stands for what it has of these.

    **Returns:** a `CriticalSaliency`, broadcast over a, b and q. NaN for $\gamma > 0$, where the
    silent group loses its state first (see `critical_saliency_planar`), for $I^* < 0$, also for
    $I^* = 0$ unless the activation is the hard sigmoid, and for threshold-linear neurons, which
    have no such minimum, and where the memory is unstable in its plane. For logistic neurons,
    whose rate is never exactly 0, it is too small, by about ten times the rate of the silent
    neurons there: 1e-4 at gain 4.8 and threshold 0.2. Where that rate is above 3e-4 it is NaN, so
    that the error stays below 0.005.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    hx.theory.rate.critical_saliency(hx.Logistic(), -0.3, 0.95, 0.2).saliency  # 0.5134
    ```
    """
    stored = checked_design(phi, a, b, q)
    check_known(phi)
    return CriticalSaliency(*_critical_saliency(stored))


@jitted
def _critical_saliency(stored):
    q, made = stored.q, stored.made
    gain, rate, fold = _active_branch(stored.phi, q.dtype)
    saliency = (gain - made.gamma * q) / (made.kappa * (1 - q))
    exists = made.exists & fold & (made.gamma <= 0)
    quiet = stored.phi((made.gamma - saliency * made.kappa) * q * rate) <= _QUIET
    held = certain(-plane_stability(stored).block) & (made.active >= rate)
    exists = exists & quiet & held
    gain, rate = (jnp.where(fold, part, jnp.nan) for part in (gain, rate))
    return jnp.where(exists, saliency, jnp.nan), gain, rate, exists


def _active_branch(phi, dtype):
    """g*, S, and whether there is a minimum."""
    rho, start = phi.gain.astype(dtype), phi.threshold.astype(dtype)
    one = jnp.ones((), dtype)
    if isinstance(phi, ThresholdLinear):
        return one, one, one < 0
    if isinstance(phi, HardSigmoid):
        return start + 1 / rho, one, start >= 0
    fold = (start > 0) & (rho > 0)
    scaled = jnp.where(fold, rho * start, 1.0)
    if isinstance(phi, Logistic):
        high = jnp.minimum(jnp.sqrt(8 * scaled), jnp.log(8 * scaled + 4)) + 1e-3
        t = _root_of(_turn_of_logistic, scaled, high)
        rate = 1 / (1 + jnp.exp(-t))
        return (start + (2 + t) / (4 * rho)) / rate, rate, fold
    high = jnp.minimum(jnp.cbrt(1.5 * scaled), jnp.log(4 * scaled + 4) + 1)
    t = _root_of(_turn_of_tanh, scaled, high + 1e-3)
    return (start + t / rho) / jnp.tanh(t), jnp.tanh(t), fold


def _turn_of_logistic(scaled, t):
    return jnp.exp(t) - t - 1 - 4 * scaled


def _turn_of_tanh(scaled, t):
    return jnp.sinh(2 * t) / 2 - t - scaled


def _root_of(function, scaled, high):
    function = eqx.Partial(function, scaled)
    return implicit_root(function, stop_gradient(bisect(function, 0 * high, high)))


@takes_network(_network.memory)
def critical_saliency_planar(
    phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike
) -> PlanarSaliency:
    r"""Saliency at which the memory ends, exactly, for any sign of the background.

    Without additive input the mean current of the planar system does not contain the saliency:
    $q\,(y - \gamma \phi(y)) + (1-q)(z - \gamma \phi(z)) = 0$ is a curve of the two currents on
    which $\sigma = (y - z)/(\kappa (\phi(y) - \phi(z)))$. It is followed from the memory, (b, a) at
    $\sigma = 1$, to the first minimum of $\sigma$, a saddle-node bifurcation, or to where the two
    groups have become equal.

    **Arguments:** as in `design`, scalars; one of the four activations of `hopfax`.

    A `RateMemory` or `InputDrivenRateMemory`, given first, stands for what it has of these.

    **Returns:** a `PlanarSaliency`, accurate to 1e-10 in float64. NaN if the memory is not stable
    in the plane, or does not end at a positive saliency. For P > 1 (r = q) the equilibrium ends
    there, but it may lose its stability in other directions before. Differentiable.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the network of arXiv:2411.07388.

    **Example:**

    ```python
    found = hx.theory.rate.critical_saliency_planar(hx.HardSigmoid(), -0.3, 0.95, 0.2)
    found.saliency  # 0.4583 = (I* + 1/rho - gamma q) / (kappa (1 - q))
    ```
    """
    stored = checked_scalars(phi, a, b, q)
    phi, a, b, q, _, made = stored
    saliency, currents = fold(phi, made.kappa, made.gamma, q, a, b)
    exists = certain(-plane_stability(stored).block) & ~jnp.isnan(saliency)
    parts = (saliency, phi(currents[0]), phi(currents[1]))
    return PlanarSaliency(*(jnp.where(exists, part, jnp.nan) for part in parts), exists=exists)
