r"""Exact theory of sequential retrieval: gains, dwells, basins and itineraries.

A fast field retrieves the memory whose saliency $z_\mu$ is large; the retrieved memory charges its
successors and loses its own saliency:

$$\dot x = -x + \sum_\mu (z_\mu m_\mu + b_\mu) \xi^\mu, \qquad
\tau \dot z = -z + \kappa A m, \qquad m_\mu = \langle \xi^\mu, \psi(x) \rangle / N.$$

Unless a function says otherwise it assumes orthogonal memories, hard tanh of unit gain, all sign
combinations of the memories equally frequent, a linear readout and the **singular limit**
$\tau \to \infty$ with a vanishing seed $b$. Time is in units of the fast time constant. An active
memory then has $m = 1$ exactly and gives way when its saliency has fallen to 1.

`P` is the number of memories in a closed cycle, `math.inf` an endless chain in which no memory
comes back. The often quoted critical gain 4 is the limit $P \to \infty$, $\tau \to \infty$. Every
finite cycle needs less; finite $\tau$ with a strong seed lowers the threshold further, a weak seed
can raise it a little (P = 3, $\tau$ = 50: 2.80 at b = 0.01, 3.05 at b = 0.001).

With finite `tau` the same functions solve the handover between two memories numerically (two
overlaps, fixed-step Runge-Kutta) and join it to the exact exponentials between handovers. Against
simulations with P = 3, 4, 5 and $\tau$ = 20 to 500 dwells agree to 0.001 $\tau$ at $\kappa = 5$,
critical gains are about $2 b$ too large, basin edges 1 % too large. What is left out is the
response of the overlaps that take no part in a handover, which is O(b).

Model and endless-chain map: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Finite cycles, finite
$\tau$, self-loops, general transitions, smooth activations and noise are derived here.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erfinv
from jaxtyping import Array, Bool, Float

from .._activations import AbstractActivation, GaussianAverage, HardTanh
from .._errors import as_float, check_at_least, check_finite, check_shape
from . import _drift, _handover, _singular
from ._itinerary import OUTCOMES as OUTCOMES, Itinerary as Itinerary, itinerary as itinerary
from ._parameters import check_finite_tau, check_no_bias, check_P, floats, gain_of, is_value


class FixedPoints(NamedTuple):
    """Saliencies at which a sequence repeats itself; NaN where there is none above 1."""

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]
    exists: Bool[Array, "..."]


# Critical gain


def critical_gain(
    P: int | float = math.inf,
    *,
    tau: Any = math.inf,
    bias: Any = 0.0,
    activation: AbstractActivation = HardTanh(),
    self_loop: Any = 0.0,
    noise: Any = 0.0,
) -> Float[Array, "..."]:
    r"""Smallest gain $\kappa$ that sustains a cycle of `P` memories.

    Hard tanh, singular limit, with $q$ = (saliency 1)/(saliency $Z$) for $s = 0$:

    $$\kappa_c = \frac1g \min_{0 < q \le 1} \Big[ \frac{1 - s}{q} + \sum_{j=0}^{P-2} q^j \Big],
    \qquad \kappa_c(\infty) = \frac{(1 + \sqrt{1 - s})^2}{g},$$

    which is 2, 3, 3.6107, 3.8344, ... for P = 2, 3, 4, 5, ... and 4 for the endless chain. Up to
    P = 3 the minimum lies at $q = 1$, where the cycle appears with vanishing dwell.

    Other activations (endless chain): the active memory drifts along $a = z \psi(a)$ and gives way
    where $Z \psi'(a) = 1$; the gain that reproduces $Z$ is

    $$\kappa = \frac{Z}{z I}, \quad I = \int_z^Z \frac{\psi(a(\zeta))}{\zeta^2} d\zeta, \quad
    z = \frac{a}{\psi(a)},$$

    minimised over $a$. The escape must be a jump, which it is for $\psi''' > 0$ there (tanh, erf);
    otherwise check it before trusting the result. Noise turns $\psi$ into its Gaussian average.

    **Arguments:**

    - `P`: memories in the cycle, an integer >= 2, or `math.inf` for an endless chain.
    - `tau`: separation of the timescales, `math.inf` for the singular limit. A finite `tau` > 1
        takes hard tanh, no self-loop, no noise, and P >= 3.
    - `bias`: the seed $b > 0$ that a finite `tau` needs: on all memories of a cycle, or on the next
        memory of an endless chain.
    - `activation`: $\psi$; its gain divides the critical gain.
    - `self_loop`: $s = \kappa A_{\mu\mu}$, held fixed while $\kappa$ varies; below 1/gain.
    - `noise`: $\sigma$ of the stochastic differential equation; the standard deviation at a site is
        $\sigma / \sqrt 2$. Exact for infinitely many sites.

    **Returns:** $\kappa_c$, broadcast over `tau` and `bias`, or over `self_loop`; NaN where nothing
    sustains a cycle. Differentiable in every parameter.

    **Raises:** ValueError for a combination that is not derived, or a parameter out of its range.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for $\kappa_c(\infty) = 4$; the rest is
    derived here.
    """
    P = check_P(P)
    if not isinstance(activation, AbstractActivation):
        raise TypeError(f"`activation` must be an activation, but is {type(activation).__name__}.")
    smooth = not isinstance(activation, HardTanh) or not is_value(noise, 0.0)
    if not is_value(tau, math.inf):
        if smooth or not is_value(self_loop, 0.0):
            raise ValueError(
                "`tau` must be math.inf with a smooth `activation`, `noise` or `self_loop`: "
                "no finite-`tau` theory is derived for them."
            )
        tau, bias, gain = floats(tau=tau, bias=bias, gain=gain_of(activation))
        check_finite_tau(P, tau, bias)
        return _handover.critical_gain(P, tau, gain * bias) / gain
    check_no_bias(bias)
    if not smooth:
        s, gain = floats(self_loop=self_loop, gain=gain_of(activation))
        check_finite(s, "self_loop")
        return _singular.critical_gain(P, gain * s) / gain
    if P != math.inf or not is_value(self_loop, 0.0):
        raise ValueError(
            "`P` must be math.inf and `self_loop` 0 with a smooth `activation` or `noise`: "
            "only the endless chain without self-loops is derived for them."
        )
    if not is_value(noise, 0.0):
        noise = as_float(noise, "noise")
        check_shape(noise, "noise", (), "()")
        check_at_least(noise, "noise", 0.0, strict=False)
        activation = GaussianAverage(activation, noise / math.sqrt(2.0))
    return _drift.critical_gain(activation)


# The saliency map and its fixed points


def saliency_map(Z: Any, kappa: Any, P: int | float = math.inf) -> Float[Array, "..."]:
    r"""Saliency with which the next memory starts.

    $$Z_{t+1} = \kappa (1 - 1/Z_t) + \prod_{k=t+2-P}^{t} 1/Z_k,$$

    where the product is what is left of the next memory's last visit, absent in an endless chain.

    **Arguments:**

    - `Z`: for `P = math.inf` the present $Z_t$, of any shape. Otherwise the last P - 1 of them
        along the last axis, oldest first; `math.inf` for a visit that never took place.
    - `kappa`: the gain, broadcast against $Z_t$.
    - `P`: memories in the cycle, or `math.inf`.

    **Returns:** $Z_{t+1}$, NaN where some visit had $Z \le 1$: there the sequence has collapsed.

    **Raises:** ValueError if the last axis of `Z` does not have length P - 1.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201; the product is derived here. Singular limit.
    """
    P = check_P(P)
    Z, kappa = floats(Z=Z, kappa=kappa)
    if P == math.inf:
        return jnp.where(Z > 1, kappa * (1 - 1 / jnp.where(Z > 1, Z, 2.0)), jnp.nan)
    if Z.ndim == 0 or Z.shape[-1] != P - 1:
        raise ValueError(f"`Z` must hold P - 1 = {P - 1} values in its last axis, got {Z.shape}.")
    inverse = 1 / jnp.where(Z > 1, Z, 2.0)
    new = kappa * (1 - inverse[..., -1]) + jnp.prod(inverse, axis=-1)
    return jnp.where(jnp.all(Z > 1, axis=-1), new, jnp.nan)


def saliency_orbit(
    Z0: Any, kappa: Any, steps: int, P: int | float = math.inf
) -> Float[Array, "... T"]:
    r"""Saliencies $Z_0, Z_1, \dots$ of successive memories from $z(0) = Z_0 e_1$.

    Iterates `saliency_map`; the first memory to carry a residual is number P, because the memories
    before it had never been active.

    **Arguments:** `Z0`: the first saliency. `kappa`: the gain. `steps`: how many transitions.
    `P`: memories in the cycle, or `math.inf`.

    **Returns:** `steps` + 1 values along a new last axis, NaN from the first $Z \le 1$ on; the
    finite ones are the memories that were retrieved.

    **Raises:** ValueError for `steps` < 0 or `P` < 2.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, with the finite cycle derived here.
    """
    P = check_P(P)
    if steps < 0:
        raise ValueError(f"`steps` must be >= 0, but is {steps}.")
    Z0, kappa = floats(Z0=Z0, kappa=kappa)
    return _singular.orbit(Z0, kappa, steps, P)


def fixed_points(
    kappa: Any, P: int | float = math.inf, *, tau: Any = math.inf, bias: Any = 0.0
) -> FixedPoints:
    r"""Saliencies $Z$ at which a sequence repeats itself.

    $$Z_\pm = \tfrac12 \big(\kappa \pm \sqrt{\kappa^2 - 4 \kappa}\big) \quad (P = \infty), \qquad
    \kappa = Z + \sum_{j=0}^{P-2} Z^{-j} \quad (P < \infty).$$

    **Arguments:**

    - `kappa`: the gain.
    - `P`: memories in the cycle, an integer >= 2, or `math.inf`.
    - `tau`, `bias`: as in `critical_gain`. With finite `tau`, $Z$ is the saliency of the next
        memory at the moment when the first site lets go of the active one.

    **Returns:** `lower` (unstable) and `upper` (stable), broadcast, NaN where there is none; and
    `exists`, whether `upper` does. In the singular limit only $Z > 1$ counts, so `lower` is NaN for
    P <= 3 and for `kappa` >= P. With finite `tau` it is NaN, too, where the unstable cycle would
    not complete its handovers (far above the fold). Differentiable, but for the fold itself.

    **Raises:** ValueError for `P` < 2, `tau` <= 1, or a finite `tau` with P = 2 or without a seed.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the endless chain; finite P and finite
    $\tau$ are derived here.
    """
    P = check_P(P)
    if is_value(tau, math.inf):
        check_no_bias(bias)
        return FixedPoints(*_singular.fixed_points(floats(kappa=kappa)[0], P))
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias)
    lower, upper, _ = _handover.fixed_points(kappa, P, tau, bias)
    return FixedPoints(lower, upper, ~jnp.isnan(upper))


def basin_edge(
    kappa: Any, P: int | float = math.inf, *, tau: Any = math.inf, bias: Any = 0.0
) -> Float[Array, "..."]:
    r"""Smallest $Z_0$ for which the sequence started from $z(0) = Z_0 e_1$ goes on for ever.

    For an endless chain this is $Z_-$ of `fixed_points`. In a finite cycle the memories not yet
    visited lack their residual saliency, so that the edge can lie above the steady $Z_+$; it is
    found by bisection on `saliency_orbit` (300 transitions).

    **Arguments:** `kappa`, `P`, `tau`, `bias`: as in `fixed_points`.

    **Returns:** the edge, at least 1 in the singular limit, NaN where every start collapses.
    Differentiable in the singular limit; with finite `tau` the derivative is NaN.

    **Raises:** ValueError as `fixed_points` does.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the endless chain; the rest is derived
    here.
    """
    P = check_P(P)
    if is_value(tau, math.inf):
        check_no_bias(bias)
        (kappa,) = floats(kappa=kappa)
        return fixed_points(kappa).lower if P == math.inf else _singular.basin_edge(kappa, P)
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias)
    return _handover.basin_edge(kappa, P, tau, bias)


def visited_before_collapse(Z0: Any, kappa: Any) -> Float[Array, "..."]:
    r"""How many memories an endless chain retrieves before it collapses.

    The number of $t$ with $Z_t > 1$. For $\kappa < 4$ the map is a rotation,
    $Z_t = \sqrt\kappa \sin((t+1) \theta + \varphi) / \sin(t \theta + \varphi)$ with
    $\cos \theta = \sqrt\kappa / 2$, so the count is $\lceil (\pi - \varphi) / \theta \rceil - 2$,
    at most about $2 \pi / \sqrt{4 - \kappa}$.

    **Arguments:** `Z0`: the first saliency. `kappa`: the gain.

    **Returns:** the count as a float: infinite where the sequence goes on for ever, 0 for
    $Z_0 \le 1$; NaN in the cases with $\kappa \ge 4$ that collapse from below $Z_-$, for which
    `saliency_orbit` gives the number.

    Derived here from the map of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Singular limit.
    """
    return _singular.visited(*floats(Z0=Z0, kappa=kappa))


# Times


def escape_time(Z: Any, tau: Any, gain: Any = 1.0) -> Float[Array, "..."]:
    r"""When an active memory without a self-loop loses its equilibrium: $\tau \ln(g Z)$.

    **Arguments:** `Z`: its saliency at the start. `tau`: the slow time constant. `gain`: $g$ of
    the hard tanh.

    **Returns:** the time in fast time constants, broadcast; NaN for $g Z < 1$.

    **Raises:** ValueError unless `tau` > 0 and `gain` > 0.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Exact: the activity stays saturated till then.
    """
    Z, tau, gain = floats(Z=Z, tau=tau, gain=gain)
    check_at_least(tau, "tau", 0.0, strict=True)
    check_at_least(gain, "gain", 0.0, strict=True)
    retrieved = gain * Z >= 1
    return jnp.where(retrieved, tau * jnp.log(jnp.where(retrieved, gain * Z, 1.0)), jnp.nan)


def switch_time(Z0: Any, kappa: Any, tau: Any, bias: Any) -> Float[Array, "..."]:
    r"""When memory 2 overtakes memory 1 ($m_1 = m_2$), to first order in $\epsilon = 1/\tau$.

    $$T = \tau \ln \frac{Z_0}{(1 - \epsilon)(1 + b)} + s, \qquad
    \epsilon (1 + b) \Big[ \frac{e^{r s} - 1 - r s}{r^2} + \frac{e^{r s} - 1}{r} \Big] = 1,$$

    with $r = (z_1 + z_2)/2 - 1$, $z_1 = (1 - \epsilon)(1 + b)$, $z_2 = \kappa (1 - z_1 / Z_0)$. The
    bias $b$ acts on memory 2 alone; sites where the memories differ desaturate at $z_1 = 1 + b$.

    **Arguments:** `Z0`: saliency of memory 1 at time 0, all others 0. `kappa`: the gain. `tau`: the
    slow time constant. `bias`: the seed $b$.

    **Returns:** the time in fast time constants, broadcast; NaN where $r \le 0$ (memory 2 does not
    take over by itself), $b \le 0$ (there is no seed) or $Z_0$ is below the escape. For
    $Z_0 = 4$, $\kappa = 5$, $b = 0.01$ it is short by 0.0011 $\tau$ at $\tau = 20$ and 1e-5 $\tau$
    at 200; worse for $b \ll \epsilon$ and small $r$.

    **Raises:** ValueError unless `tau` > 1.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.
    """
    Z0, kappa, tau, bias = floats(Z0=Z0, kappa=kappa, tau=tau, bias=bias)
    check_at_least(tau, "tau", 1.0, strict=True)
    return _singular.switch_time(Z0, kappa, tau, bias)


def dwell_time(
    kappa: Any, tau: Any, P: int | float = math.inf, bias: Any = 0.01
) -> Float[Array, "..."]:
    r"""How long the steady sequence stays in each memory: the period divided by `P`.

    In the singular limit $T = \tau \ln Z_+$ with $Z_+$ of `fixed_points`; here the handover is
    added, which takes a time of order $\ln \tau$.

    **Arguments:**

    - `kappa`: the gain.
    - `tau`: the slow time constant, finite and > 1.
    - `P`: memories in the cycle, an integer >= 3, or `math.inf`.
    - `bias`: the seed $b > 0$, on all memories of a cycle or the next one of an endless chain.

    **Returns:** the time in fast time constants, broadcast; NaN where no cycle sustains itself.
    For P = 4 and $\kappa = 5$ simulation gives the same within 0.001 $\tau$ ($\tau$ from 20 to 500,
    $b$ = 0.01 and 0.001).

    **Raises:** ValueError for `tau` <= 1, a `bias` that is not positive, or P < 3.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.
    """
    P = check_P(P)
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias)
    return tau * _handover.fixed_points(kappa, P, tau, bias)[2]


def gain_for_period(period: Any, P: int | float, tau: Any) -> Float[Array, "..."]:
    r"""The gain at which a cycle of `P` memories has the wanted period.

    $$Z = e^{T / (P \tau)}, \qquad \kappa = Z + \sum_{j=0}^{P-2} Z^{-j}.$$

    **Arguments:** `period`: $T$, of the whole cycle. `P`: memories in the cycle. `tau`: the slow
    time constant.

    **Returns:** $\kappa$, exact in the singular limit; at finite $\tau$ the period is longer by
    P handovers. NaN for a period so short that the cycle is the unstable one.

    **Raises:** ValueError for `period` <= 0, `tau` <= 0 or `P` < 2.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.
    """
    P = check_P(P)
    if P == math.inf:
        raise ValueError("`P` must be finite: an endless chain has no period.")
    period, tau = floats(period=period, tau=tau)
    check_at_least(period, "period", 0.0, strict=True)
    check_at_least(tau, "tau", 0.0, strict=True)
    q = jnp.exp(-period / (P * tau))
    stable = q <= _singular.best_decay(P, jnp.zeros_like(q))
    return jnp.where(stable, _singular.gain(q, P, 0.0), jnp.nan)


# One memory held by a frozen saliency


def retrieval_amplitude(z: Any, activation: AbstractActivation = HardTanh()) -> Float[Array, "..."]:
    r"""Amplitude $a$ of the retrieved state $x = a \xi^\mu$: the positive root of $a = z \psi(a)$.

    **Arguments:** `z`: the frozen saliency. `activation`: $\psi$, concave on the positive side.

    **Returns:** $a$, broadcast over `z`; NaN for $z \psi'(0) \le 1$, where only the origin is left.
    The overlap is $a / z$.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Orthogonal
    memories; stable while no $z_\nu \psi'(a)$ exceeds 1.
    """
    return _drift.amplitude(floats(z=z)[0], activation)


def noise_limit(z: Any) -> Float[Array, "..."]:
    r"""Noise strength $\sigma$ above which a memory of saliency `z` can no longer be retrieved.

    The averaged hard tanh has slope $\mathrm{erf}(1 / (s \sqrt 2))$ at the origin; $z$ times it is
    1 at $s = 1 / (\sqrt 2\, \mathrm{erf}^{-1}(1/z))$, and $\sigma = \sqrt 2\, s$.

    **Arguments:** `z`: the frozen saliency.

    **Returns:** $\sigma$ of the stochastic differential equation, broadcast; 0 at $z = 1$, NaN
    below.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Hard tanh,
    infinitely many sites.
    """
    (z,) = floats(z=z)
    return jnp.where(z >= 1, 1 / erfinv(1 / jnp.where(z >= 1, z, 2.0)), jnp.nan)
