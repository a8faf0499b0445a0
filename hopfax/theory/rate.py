r"""Exact theory of firing-rate associative memories: storage, stability and what coexists.

Rates $x \ge 0$ of N neurons store P memories $\xi^\mu \in \{0, 1\}^N$ of activity q,

$$\dot x = -x + \phi(W x + u), \qquad
W = \frac{\alpha}{N} (\Xi - \beta)(\Xi - \beta)^T + \frac{\gamma}{N} 1 1^T,$$

so that the silent neurons of a memory receive the current a and fire at $\phi_a = \phi(a)$, the
active ones b and $\phi_b = \phi(b)$; $x = \phi_a + (\phi_b - \phi_a)\, \xi^\mu$ is an exact
equilibrium. Two numbers govern the rest: the inverse secant slope
$\kappa = (b - a) / (\phi_b - \phi_a)$, which is the gain of the memories, and the background
$\gamma$, net inhibition where it is negative.

Three ways to build W, `learning`: "covariance" is the above, for one overlap r q N between any two
memories; "projection" has $\kappa Z (Z^T Z)^{-1} Z^T$, $Z = \Xi - q$, in place of the first term,
exact for any overlaps; "pseudo_inverse" $H \bar X^+$ (target currents, stored rates) is exact for
any activities, and not symmetric.

What holds for which P:

- `design`, `spectrum`, `memory_eigenvalues` and `dale_eigenvalues`: any.
- `stability`: the memory in the plane of its active and silent groups, span$\{1_S, 1_{S^c}\}$. It
  is all there is for P = 1. For P > 1 unstable there is unstable; stable needs the rest of
  `memory_eigenvalues`, or of `balanced_spectrum` for the balanced set.
- `planar_equilibria`, `critical_saliency_planar`: the plane is invariant for any P (r = q, or
  projection), so these are equilibria of the network. That nothing else attracts
  (`globally_stable`) is a statement for P = 1: without input further memories are equilibria too.

`phi` is a rate activation of `hopfax`. Rates are in units of the greatest rate, currents in those
of the threshold, time in those of the membrane.

Model and sufficient conditions: Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388. Exact
spectra, planar reduction, thresholds of saliency and inhibition are derived here.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float, Inexact, Int

from .._errors import (
    as_count,
    as_float,
    check_at_least,
    check_finite,
    check_option,
    check_shape,
)
from .._rate_activations import (
    AbstractRateActivation,
    HardSigmoid,
    Logistic,
    RectifiedTanh,
    ThresholdLinear,
)
from .._types import is_concrete
from . import _rate_memory, _rate_planar
from ._parameters import floats
from ._rate_design import Design as Design, design as _design, eigenvalues, planar, root
from ._search import bisect

_LEARNING = ("projection", "covariance", "pseudo_inverse")


class Spectrum(NamedTuple):
    r"""Eigenvalues of W: `kappa` `multiplicity` times, `upper`, `lower`; all others are 0.

    `largest`: the greatest of those that W has.
    """

    kappa: Float[Array, "..."]
    upper: Float[Array, "..."]
    lower: Float[Array, "..."]
    largest: Float[Array, "..."]
    multiplicity: int


class Stability(NamedTuple):
    r"""A memory in the plane of its groups; NaN and False where none exists.

    `slope_silent`, `slope_active`: $\phi'(a), \phi'(b)$. `trace`, `determinant`: T and $\Delta$ of
    $D_\phi W$ there. `block`: the greatest eigenvalue of the Jacobian there, negative where it is
    stable. `sufficient`: the published condition for stability (any P). `unstable`: that for
    instability (any P). `unstable_active`: the simpler one, from the active group alone.
    """

    kappa: Float[Array, "..."]
    gamma: Float[Array, "..."]
    slope_silent: Float[Array, "..."]
    slope_active: Float[Array, "..."]
    trace: Float[Array, "..."]
    determinant: Float[Array, "..."]
    block: Float[Array, "..."]
    sufficient: Bool[Array, "..."]
    unstable: Bool[Array, "..."]
    unstable_active: Bool[Array, "..."]


class BalancedSpectrum(NamedTuple):
    r"""Eigenvalues of the Jacobian at a memory of the balanced set.

    `block`: the two of the plane, shape (..., 2), the greater one first. `active`:
    $\kappa \phi'(b) - 1$, once. `silent`: $\kappa \phi'(a) - 1$, P - 2 times. The rest is -1.
    `greatest` is the largest of all, `stable` whether it is negative.
    """

    block: Float[Array, "... 2"]
    active: Float[Array, "..."]
    silent: Float[Array, "..."]
    greatest: Float[Array, "..."]
    stable: Bool[Array, "..."]


class MemoryEigenvalues(NamedTuple):
    r"""Eigenvalues of the Jacobian at one memory, on the span of the weights; the rest is -1.

    `eigenvalues`: by falling real part, shape (P+1,); complex for "pseudo_inverse".
    `greatest`: the largest real part of the whole Jacobian. `residual`: by how much the current in
    the memory misses its targets at most; where it is not rounding, the memory is no equilibrium
    and the verdict is that of the targets.
    """

    eigenvalues: Inexact[Array, " P+1"]
    greatest: Float[Array, ""]
    stable: Bool[Array, ""]
    residual: Float[Array, ""]


class PlanarEquilibria(NamedTuple):
    """All equilibria of the planar system by rising `active` rate; NaN in places left over.

    `active`, `silent`: rates of the two groups, shape (most,). `eigenvalues`: of the planar
    Jacobian, (most, 2), the greater one first. `exists`, `stable`: (most,). `count`: how many there
    are, also beyond `most`.
    """

    active: Float[Array, " most"]
    silent: Float[Array, " most"]
    eigenvalues: Float[Array, "most 2"]
    exists: Bool[Array, " most"]
    stable: Bool[Array, " most"]
    count: Int[Array, ""]


class GlobalStability(NamedTuple):
    r"""Whether every orbit ends in the memory.

    `stable`: the verdict: one equilibrium, and its overlap is above 1/2. `single`: one equilibrium.
    `overlap`: $(s - c)/(\phi_b - \phi_a)$ of the equilibrium with the greatest one; 1 in the memory
    as stored, 0 in a uniform state.
    """

    stable: Bool[Array, ""]
    single: Bool[Array, ""]
    overlap: Float[Array, ""]


class CriticalSaliency(NamedTuple):
    r"""Where the memory ends as its saliency falls.

    `saliency`: $s_c$. `gain`: $g^*$. `rate`: of the active neurons there. `exists`: whether the
    formula holds, $\gamma \le 0$ and a fold on the active branch; `saliency` is NaN otherwise.
    """

    saliency: Float[Array, "..."]
    gain: Float[Array, "..."]
    rate: Float[Array, "..."]
    exists: Bool[Array, "..."]


class PlanarSaliency(NamedTuple):
    """`saliency` where the memory ends and both rates there; NaN where it does not."""

    saliency: Float[Array, ""]
    active: Float[Array, ""]
    silent: Float[Array, ""]
    exists: Bool[Array, ""]


class DaleEigenvalues(NamedTuple):
    """Eigenvalues (P+2,) of the extended Jacobian on the span, by falling real part; the rest is
    -1. `greatest`: the largest real part of all."""

    eigenvalues: Inexact[Array, " P+2"]
    greatest: Float[Array, ""]
    stable: Bool[Array, ""]


class Crosstalk(NamedTuple):
    r"""`deviation`: standard deviation of the current in a memory. `margin`: distance of the
    nearer of a, b from the steep zone $[I^*, I^* + 1/\rho]$, negative inside."""

    deviation: Float[Array, "..."]
    margin: Float[Array, "..."]


class Phase(NamedTuple):
    r"""What a design of the balanced set does; NaN and `storage` -1 where there is none.

    `eigenvalue`: the greatest one of the Jacobian at a memory. `margin`:
    $1 - \max(\phi'(a), \phi'(b)) \max(\kappa, \gamma)$, positive where the sufficient condition
    holds. `storage`: -1 no design, 0 unstable, 1 stable, 2 stable by the sufficient condition too.
    """

    kappa: Float[Array, "..."]
    gamma: Float[Array, "..."]
    eigenvalue: Float[Array, "..."]
    stable: Bool[Array, "..."]
    margin: Float[Array, "..."]
    storage: Int[Array, "..."]


# Design


def design(phi: AbstractRateActivation, a: Any, b: Any, q: Any, r: Any = None) -> Design:
    r"""Weights that make re-scaled memories equilibria with currents a and b.

    With $D = \phi_b - \phi_a$ and $m = (1-q) \phi_a + q \phi_b$,

    $$\alpha = \frac{b - a}{q (1 - r) D}, \qquad
    \beta = \frac{q\,((1 - r) \phi_a + r \phi_b)}{m}, \qquad
    \gamma = \frac{(1 - \beta) a + \beta b}{m}, \qquad \kappa = \frac{b - a}{D}.$$

    **Arguments:**

    - `phi`: the activation.
    - `a`, `b`: currents of silent and of active neurons, a < b.
    - `q`: activity of the memories, in (0, 1).
    - `r`: overlap of two memories in units of q N, in [0, 1); default q, that of independent ones.

    **Returns:** a `Design`, broadcast over a, b, q, r. Under a trace what does not exist is NaN.

    **Raises:** ValueError for a >= b, q or r out of range, $\phi_a = \phi_b$ or m = 0.

    Assumes equal activities and overlaps. Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.
    """
    return _checked(phi, a, b, q, r)[0]


def spectrum(
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    q: Any,
    r: Any = None,
    P: int = 1,
    learning: str = "covariance",
) -> Spectrum:
    r"""Eigenvalues of the weights.

    Projection, or covariance with r = q: $\kappa$ P times and $\gamma$. Covariance in general:
    $\kappa$ P - 1 times and those of

    $$\begin{pmatrix} \alpha (d + (P-1) c) & \alpha \sqrt P (q - \beta) \\
    \gamma \sqrt P (q - \beta) & \gamma \end{pmatrix}, \qquad
    d = q - 2 \beta q + \beta^2, \quad c = r q - 2 \beta q + \beta^2.$$

    **Arguments:** `phi`, `a`, `b`, `q`, `r`: as in `design`. `P`: the number of memories.
    `learning`: "covariance", or "projection", for which r does not matter.

    **Returns:** a `Spectrum`, broadcast.

    **Raises:** ValueError as `design` does, and for another `learning` or P < 1.

    Derived here for the design of arXiv:2411.07388.
    """
    P = as_count(P, "P")
    check_option(learning, "learning", ("covariance", "projection"))
    made, _, _, q, r = _checked(phi, a, b, q, r if learning == "covariance" else None)
    return Spectrum(*_spectrum(made, q, r, P), P - 1)


@eqx.filter_jit
def _spectrum(made, q, r, P):
    beta = made.beta
    first = made.alpha * (q + (P - 1) * r * q + P * (beta**2 - 2 * beta * q))
    off = made.alpha * made.gamma * P * (q - beta) ** 2
    gap = root((first - made.gamma) ** 2 / 4 + off)
    upper, lower = ((first + made.gamma) / 2 + sign * gap for sign in (1, -1))
    largest = jnp.maximum(made.kappa, upper) if P > 1 else upper
    return made.kappa, upper, lower, largest


# Stability of a memory


def stability(phi: AbstractRateActivation, a: Any, b: Any, q: Any) -> Stability:
    r"""A stored memory against perturbations of its active and of its silent group.

    On span$\{1_S, 1_{S^c}\}$, with $d = \phi'$, $D_\phi W$ acts as

    $$\begin{pmatrix} d_b (\gamma q + \kappa (1-q)) & d_b (\gamma - \kappa)(1-q) \\
    d_a (\gamma - \kappa) q & d_a (\gamma (1-q) + \kappa q) \end{pmatrix}, \qquad
    \Delta = d_a d_b \kappa \gamma,$$

    with real eigenvalues. They are below 1 iff $1 - T + \Delta > 0$ and $T < 2$. Conditions for
    any P: stable if $\max(d_a, d_b) \max(\kappa, \gamma) < 1$; unstable if

    $$q (\gamma - \kappa)(d_b - d_a) - (1 - d_b \kappa)(1 - d_a \gamma) > 0
    \quad \text{(published), or if} \quad d_b (\gamma q + \kappa (1-q)) > 1.$$

    The published one is $1 - T + \Delta < 0$, a single eigenvalue above 1; the last one adds cases
    with two.

    **Arguments:** as `design`; r = q, or projection.

    **Returns:** a `Stability`, broadcast. `block` < 0 is exact for P = 1, necessary for any P.

    **Raises:** ValueError as `design` does.

    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388, for the first two conditions; the
    block and the last condition are derived here.
    """
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    return _stability(phi, made, a, b, q)


@eqx.filter_jit
def _stability(phi, made, a, b, q):
    kappa, gamma = made.kappa, made.gamma
    silent, active = (jnp.where(made.exists, phi.slope(v), jnp.nan) for v in (a, b))
    couplings = planar(kappa, gamma, q)
    trace = active * couplings.A + silent * couplings.E
    determinant = active * silent * kappa * gamma
    block = eigenvalues(couplings, active, silent)[0]
    sufficient = jnp.maximum(active, silent) * jnp.maximum(kappa, gamma) < 1
    lost = q * (gamma - kappa) * (active - silent)
    unstable = lost - (1 - active * kappa) * (1 - silent * gamma) > 0
    return Stability(
        kappa,
        gamma,
        silent,
        active,
        trace,
        determinant,
        jnp.where(made.exists, block, jnp.nan),
        sufficient,
        unstable,
        active * couplings.A > 1,
    )


def balanced_spectrum(phi: AbstractRateActivation, a: Any, b: Any, q: Any) -> BalancedSpectrum:
    r"""All eigenvalues of the Jacobian at a memory of the balanced set, in closed form.

    The set has $P = 1 + 1/q$ memories with r = q: a core of $q^2 N$ neurons active in all, and
    $q (1-q) N$ blocks of P neurons with one memory active per block. Permutations of the P - 1
    blocks-mates that are silent leave a memory as it is. On vectors that are constant on these and
    of mean 0, $D_\phi W$ is $\kappa \phi'(a)$; on the core against the rest of the active group
    it is $\kappa \phi'(b)$; what is left is the planar block of `stability`.

    **Arguments:** as `design`. The set exists where 1/q is whole; in between this interpolates.

    **Returns:** a `BalancedSpectrum`, broadcast over a, b, q.

    **Raises:** ValueError as `design` does.

    Set: Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388; spectrum derived here.
    """
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    return _balanced(phi, made, a, b, q)


@eqx.filter_jit
def _balanced(phi, made, a, b, q):
    silent, active = phi.slope(a), phi.slope(b)
    block = jnp.stack(eigenvalues(planar(made.kappa, made.gamma, q), active, silent), -1)
    active, silent = made.kappa * active - 1, made.kappa * silent - 1
    block = jnp.where(made.exists[..., None], block, jnp.nan)
    greatest = jnp.maximum(block[..., 0], jnp.maximum(active, silent))
    return BalancedSpectrum(block, active, silent, greatest, greatest < 0)


def memory_eigenvalues(
    xi: Any,
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    mu: int | Int[Array, ""],
    learning: str = "projection",
) -> MemoryEigenvalues:
    r"""Exact linear stability of memory mu among any others, from a (P+1) x (P+1) matrix.

    $W = F K F^T$ with P + 1 columns F, so that the eigenvalues of $-1 + D_\phi W$ are -1 and those
    of $K F^T D_\phi F - 1$. They are real for symmetric weights; the cost is $P^2 N$.

    **Arguments:**

    - `xi`: the memories, 0 or 1, shape (P, N).
    - `phi`, `a`, `b`: as in `design`. Activity and mean overlap are measured.
    - `mu`: which memory.
    - `learning`: "projection", "covariance" or "pseudo_inverse".

    **Returns:** a `MemoryEigenvalues`. Differentiable in a, b and `phi`, for simple eigenvalues.

    **Raises:** ValueError for entries other than 0 and 1, unequal activities with "projection",
    memories that are linearly dependent (with "projection" after their mean is taken off), a
    `learning` that does not exist, and as `design` does.

    Derived here for the design of arXiv:2411.07388.
    """
    xi, a, b, mu = _patterns(xi, phi, a, b, mu, learning)
    values, residual = _rate_memory.memory(xi, phi, a, b, mu, learning)
    greatest = _greatest(values, xi.shape[1])
    return MemoryEigenvalues(values, greatest, greatest < 0, residual)


# The planar system


def planar_equilibria(
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    q: Any,
    saliency: Any = 1.0,
    input_active: Any = 0.0,
    input_silent: Any = 0.0,
    most: int = 9,
) -> PlanarEquilibria:
    r"""All states of rest in which the active group of a memory fires at one rate, s, and the
    others at one, c.

    With mean rate $m = q s + (1-q) c$ and saliency $\sigma$,

    $$\dot s = -s + \phi(\gamma m + \sigma \kappa (1-q)(s-c) + u_S), \qquad
    \dot c = -c + \phi(\gamma m - \sigma \kappa q (s-c) + u_C).$$

    For P = 1 the groups synchronise and every orbit converges to one of these. For P > 1 (r = q or
    projection) they are equilibria, and unstable here is unstable in the network; stable here is
    not enough, and there are others.

    Piecewise-linear activations: one linear system in each pair of straight pieces. Otherwise a
    scan of the current of the active group along up to three branches of that of the silent one,
    with sign changes and turning points of the residual, and bisection. Two equilibria that are
    about to vanish in a fold are found down to a distance of about 1e-7. A continuum (singular
    cell of a piecewise-linear activation) is left out.

    **Arguments:**

    - `phi`, `a`, `b`, `q`: as in `design`, scalars; one of the four activations of `hopfax`.
    - `saliency`: $\sigma$, 1 for the plain network.
    - `input_active`, `input_silent`: $u_S, u_C$.
    - `most`: places for equilibria, a Python int.

    **Returns:** a `PlanarEquilibria`, to 1e-12 in float64. Differentiable. At a kink slopes are
    those of the flat side.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the network of arXiv:2411.07388.
    """
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    _check_known(phi)
    inputs = _scalars(
        q.dtype, saliency=saliency, input_active=input_active, input_silent=input_silent
    )
    _scalars(q.dtype, a=a, b=b, q=q)
    most = as_count(most, "most")
    rates, values, exists, count = _rate_planar.equilibria(
        phi, inputs[0] * made.kappa, made.gamma, q, tuple(inputs[1:]), most
    )
    stable = exists & (values[:, 0] < 0)
    return PlanarEquilibria(rates[:, 0], rates[:, 1], values, exists, stable, count)


def globally_stable(
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    q: Any,
    saliency: Any = 1.0,
    input_active: Any = 0.0,
    input_silent: Any = 0.0,
) -> GlobalStability:
    r"""Whether a single memory attracts every start.

    The planar system descends an energy, so a single equilibrium attracts everything.

    **Arguments:** as in `planar_equilibria`.

    **Returns:** a `GlobalStability`: exact for P = 1. For more memories False is final, True is
    not: without input the other memories are equilibria as well.

    **Raises:** as `planar_equilibria` does.

    Derived here for the network of arXiv:2411.07388.
    """
    found = planar_equilibria(phi, a, b, q, saliency, input_active, input_silent)
    made = _checked(phi, a, b, q, None)[0]
    overlaps = (found.active - found.silent) / (made.active - made.silent)
    overlap = jnp.where(found.exists, overlaps, -jnp.inf).max()
    overlap = jnp.where(found.count > 0, overlap, jnp.nan)
    single = found.count == 1
    return GlobalStability(single & (overlap > 0.5), single, overlap)


# Saliency


def critical_saliency(phi: AbstractRateActivation, a: Any, b: Any, q: Any) -> CriticalSaliency:
    r"""Saliency below which a memory is no equilibrium of the input-driven network, in closed form.

    With the silent neurons at rate 0 the active ones obey $S = \phi(g S)$,
    $g = \gamma q + \sigma \kappa (1-q)$, so that

    $$\sigma_c = \frac{g^* - \gamma q}{\kappa (1-q)}, \qquad g^* = \phi^{-1}(S)/S
    \text{ at its local minimum on the active branch.}$$

    Logistic: $S = 1/(1 + e^{-t})$ with $e^t - t = 1 + 4 \rho I^*$. Rectified tanh: $S = \tanh t$
    with $\sinh(2t)/2 - t = \rho I^*$. Hard sigmoid: S = 1, $g^* = I^* + 1/\rho$.

    **Arguments:** as in `design`.

    **Returns:** a `CriticalSaliency`, broadcast over a, b, q. NaN for $\gamma > 0$, where the
    silent group gives way first (see `critical_saliency_planar`), for $I^* < 0$ and for
    threshold-linear neurons, which have no such minimum. Short of the exact value by 1e-4 (logistic
    of gain 4.8 and threshold 0.2), as silent neurons are not entirely silent.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the design of arXiv:2411.07388.
    """
    made, _, _, q, _ = _checked(phi, a, b, q, None)
    _check_known(phi)
    return CriticalSaliency(*_critical_saliency(phi, made, q))


@eqx.filter_jit
def _critical_saliency(phi, made, q):
    gain, rate, fold = _active_branch(phi, q.dtype)
    saliency = (gain - made.gamma * q) / (made.kappa * (1 - q))
    exists = made.exists & fold & (made.gamma <= 0)
    gain, rate = (jnp.where(fold, part, jnp.nan) for part in (gain, rate))
    return jnp.where(exists, saliency, jnp.nan), gain, rate, exists


def _active_branch(phi, dtype):
    """g*, S and whether there is a minimum; t is frozen, as g is stationary there."""
    rho, start = phi.gain.astype(dtype), phi.threshold.astype(dtype)
    one = jnp.ones((), dtype)
    if isinstance(phi, ThresholdLinear):
        return one, one, one < 0
    if isinstance(phi, HardSigmoid):
        return start + 1 / rho, one, start >= 0
    fold = (start > 0) & (rho > 0)
    load = jnp.where(fold, rho * start, 1.0)
    if isinstance(phi, Logistic):
        high = jnp.minimum(jnp.sqrt(8 * load), jnp.log(8 * load + 4)) + 1e-3
        t = _frozen_root(lambda t: jnp.exp(t) - t - 1 - 4 * load, high)
        rate = 1 / (1 + jnp.exp(-t))
        return (start + (2 + t) / (4 * rho)) / rate, rate, fold
    high = jnp.minimum(jnp.cbrt(1.5 * load), jnp.log(4 * load + 4) + 1)
    t = _frozen_root(lambda t: jnp.sinh(2 * t) / 2 - t - load, high + 1e-3)
    return (start + t / rho) / jnp.tanh(t), jnp.tanh(t), fold


def _frozen_root(function, high):
    return stop_gradient(bisect(function, 0 * high, high))


def critical_saliency_planar(phi: AbstractRateActivation, a: Any, b: Any, q: Any) -> PlanarSaliency:
    r"""Saliency at which the memory ends, exactly, for any sign of the background.

    Without additive input the mean current of the planar system does not contain the saliency:
    $q\,(y - \gamma \phi(y)) + (1-q)(z - \gamma \phi(z)) = 0$ is a curve of the two currents on
    which $\sigma = (y - z)/(\kappa (\phi(y) - \phi(z)))$. It is followed from the memory, (b, a) at
    $\sigma = 1$, to the first minimum of $\sigma$, a fold, or to where the groups no longer differ.

    **Arguments:** as in `design`, scalars; one of the four activations of `hopfax`.

    **Returns:** a `PlanarSaliency`, to 1e-10 in float64. NaN if the memory is not stable in the
    plane, or does not end at a positive saliency. For P > 1 (r = q) the equilibrium ends there,
    but may lose its stability in other directions before. Differentiable.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the network of arXiv:2411.07388.
    """
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    _check_known(phi)
    a, b, q = _scalars(q.dtype, a=a, b=b, q=q)
    saliency, currents = _rate_planar.fold(phi, made.kappa, made.gamma, q, a, b)
    exists = (_stability(phi, made, a, b, q).block < 0) & ~jnp.isnan(saliency)
    parts = (saliency, phi(currents[0]), phi(currents[1]))
    return PlanarSaliency(*(jnp.where(exists, part, jnp.nan) for part in parts), exists=exists)


# Contraction


def contraction_rate(phi: AbstractRateActivation, eigenvalue: Any) -> Float[Array, "..."]:
    r"""Rate at which any two orbits approach, for symmetric weights: $1 - \rho \lambda^+$.

    **Arguments:** `phi`: its gain $\rho$ is the greatest slope. `eigenvalue`: $\lambda$, the
    greatest of W (`spectrum(...).largest`).

    **Returns:** the rate in a suitable Euclidean norm, for every constant input; positive: one
    equilibrium, globally exponentially stable. Not positive: this test says nothing.

    A network that stores a memory is never certified: by the mean value theorem
    $\rho \ge (\phi_b - \phi_a)/(b - a) = 1/\kappa$, and $\kappa$ is an eigenvalue.
    Centorrino, Gokhale, Davydov, Russo, Bullo 2023, arXiv:2302.13452.
    """
    _check_phi(phi)
    (eigenvalue,) = floats(eigenvalue=eigenvalue)
    return 1 - phi.gain.astype(eigenvalue.dtype) * jnp.maximum(eigenvalue, 0.0)


def contraction_rate_max_norm(phi: AbstractRateActivation, weights: Any) -> Float[Array, ""]:
    r"""The same in the maximum norm, for any weights:

    $$1 - \max_i \Big[ \rho \Big( W_{ii} + \sum_{j \ne i} |W_{ij}| \Big) \Big]^+,$$

    minus the logarithmic norm $\mu_\infty$ of the Jacobian at its largest over all slopes.

    **Arguments:** `phi`: as above. `weights`: W, shape (N, N).

    **Returns:** the rate; positive: as in `contraction_rate`.

    **Raises:** ValueError if `weights` is not square.

    Centorrino, Gokhale, Davydov, Russo, Bullo 2023, arXiv:2302.13452.
    """
    _check_phi(phi)
    (weights,) = floats(weights=weights)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise ValueError(f"`weights` must have shape (N, N), got {weights.shape}.")
    own = jnp.diagonal(weights)
    row = own + abs(weights).sum(1) - abs(own)
    return 1 - phi.gain.astype(weights.dtype) * jnp.maximum(row.max(), 0.0)


# Dale's law


def dale_inhibition(
    xi: Any, phi: AbstractRateActivation, a: Any, b: Any, learning: str = "projection"
) -> Float[Array, ""]:
    r"""Smallest strength c of a global inhibitory unit that leaves excitatory weights alone.

    $$c = N \max(0, -\min_{ij} W_{ij}), \qquad W_E = W + \frac cN 1 1^T \ge 0.$$

    **Arguments:** as in `memory_eigenvalues`.

    **Returns:** c; for the balanced set it is $\max(0, \kappa - \gamma)$. The cost is $P n^2$ for
    n distinct columns of `xi`, or N of them under a trace.

    **Raises:** as `memory_eigenvalues` does.

    Derived here for the design of arXiv:2411.07388.
    """
    xi, a, b, _ = _patterns(xi, phi, a, b, 0, learning)
    return _rate_memory.inhibition(xi, phi, a, b, learning)


def dale_jacobian(
    xi: Any,
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    mu: int | Int[Array, ""],
    tau: Any,
    inhibition: Any = None,
    learning: str = "projection",
) -> Float[Array, "n n"]:
    r"""Jacobian at a memory of the network with excitatory weights and one inhibitory unit.

    $$\dot x = -x + \phi(W_E x - c\, y\, 1 + u), \quad \tau_I \dot y = -y + \langle x \rangle,
    \qquad J = \begin{pmatrix} -1 + D_\phi W_E & -c D_\phi 1 \\ 1^T / (N \tau_I) & -1/\tau_I
    \end{pmatrix}.$$

    **Arguments:** `xi`, `phi`, `a`, `b`, `mu`, `learning`: as in `memory_eigenvalues`. `tau`:
    $\tau_I > 0$. `inhibition`: c; default that of `dale_inhibition`.

    **Returns:** the whole matrix, n = N + 1, neurons first. `dale_eigenvalues` does not need it.

    **Raises:** ValueError for `tau` <= 0, and as `memory_eigenvalues` does.

    Derived here for the design of arXiv:2411.07388.
    """
    xi, a, b, mu, tau, c = _dale(xi, phi, a, b, mu, tau, inhibition, learning)
    return _rate_memory.dale_jacobian(xi, phi, a, b, mu, tau, c, learning)


def dale_eigenvalues(
    xi: Any,
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    mu: int | Int[Array, ""],
    tau: Any,
    inhibition: Any = None,
    learning: str = "projection",
) -> DaleEigenvalues:
    r"""Exact linear stability with an inhibitory unit, from a (P+2) x (P+2) matrix.

    On perturbations $D_\phi F g$ of the rates and $y / \sqrt N$ of the unit, with
    $M = F^T D_\phi F$ and e the constant column of F, the Jacobian of `dale_jacobian` acts as

    $$\begin{pmatrix} -1 + (K + c\, e e^T) M & -c\, e \\ e^T M / \tau_I & -1/\tau_I \end{pmatrix}.$$

    **Arguments:** as in `dale_jacobian`.

    **Returns:** a `DaleEigenvalues`; $\tau_I \to 0$ is `memory_eigenvalues` and $-1/\tau_I$.

    **Raises:** as `dale_jacobian` does.

    Derived here for the design of arXiv:2411.07388.
    """
    xi, a, b, mu, tau, c = _dale(xi, phi, a, b, mu, tau, inhibition, learning)
    values = _rate_memory.dale(xi, phi, a, b, mu, tau, c, learning)
    greatest = _greatest(values, xi.shape[1])
    return DaleEigenvalues(values, greatest, greatest < 0)


def critical_inhibition(
    phi: AbstractRateActivation, a: Any, b: Any, q: Any, inhibition: Any = None
) -> Float[Array, "..."]:
    r"""Time constant of the inhibitory unit from which on a memory oscillates away.

    The unit couples to the planar block alone (r = q or projection). With trace t and determinant
    $\delta$ of that block of the Jacobian, and t', $\delta'$ those for $\gamma + c$ in place of
    $\gamma$, the three eigenvalues solve
    $\tau z^3 + (1 - \tau t') z^2 + (\tau \delta' - t) z + \delta = 0$. By the criterion of Hurwitz
    they cross at the smallest positive root of

    $$-t' \delta' \tau^2 + (\delta' + t t' - \delta)\, \tau - t = 0.$$

    A memory that is stable while the unit stands still is stable for every $\tau_I$ (for any P and
    symmetric weights: $1 + \tau z$ and the response $c\, e^T M (z + 1 - K' M)^{-1} e$ of the
    excitatory network are positive real, so their sum has no zero with Re z >= 0). So is each
    stable memory of the balanced set with the smallest c, where the block has the eigenvalues
    $\kappa \phi' - 1$.

    **Arguments:** `phi`, `a`, `b`, `q`: as in `design`. `inhibition`: c; default
    $\max(0, \kappa - \gamma)$, that of the balanced set.

    **Returns:** the critical $\tau_I$, broadcast; infinite where the memory is stable for all of
    them, NaN where it is not stable in the plane to begin with. Other directions do not feel the
    unit. Differentiable.

    **Raises:** ValueError for `inhibition` < 0, and as `design` does.

    Derived here for the design of arXiv:2411.07388.
    """
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    if inhibition is None:
        c = jnp.maximum(made.kappa - made.gamma, 0.0)
    else:
        c = as_float(inhibition, "inhibition", q.dtype)
        check_at_least(c, "inhibition", 0.0, strict=False)
    return _critical_inhibition(phi, made, a, b, q, c)


@eqx.filter_jit
def _critical_inhibition(phi, made, a, b, q, c):
    silent, active = phi.slope(a), phi.slope(b)

    def block(gamma):
        couplings = planar(made.kappa, gamma, q)
        trace = active * couplings.A + silent * couplings.E
        return trace - 2, 1 - trace + active * silent * made.kappa * gamma

    trace, determinant = block(made.gamma)
    trace_E, determinant_E = block(made.gamma + c)
    second = -trace_E * determinant_E
    first = determinant_E + trace * trace_E - determinant
    tau = _smallest_positive_root(second, first, -trace)
    return jnp.where((trace < 0) & (determinant > 0), tau, jnp.nan)


def _smallest_positive_root(second, first, zeroth):
    """Of second x^2 + first x + zeroth with zeroth > 0; infinity where there is none."""
    square = first**2 - 4 * second * zeroth
    gap = root(square)
    # 2 zeroth / (-first +- gap): without cancellation for either, regular for second = 0
    parts = (-first + gap, -first - gap)
    roots = [jnp.where(p > 0, 2 * zeroth / jnp.where(p > 0, p, 1.0), jnp.inf) for p in parts]
    return jnp.where(square >= 0, jnp.minimum(*roots), jnp.inf)


# Random memories


def crosstalk(
    phi: AbstractRateActivation,
    a: Any,
    b: Any,
    q: Any,
    P: int,
    N: int,
    activity: str = "fixed",
) -> Crosstalk:
    r"""Noise of the current in a memory among random ones, with the covariance design for r = q.

    Memories of exactly q N active neurons overlap by chance alone,

    $$\sigma^2 = (b - a)^2\, \frac{q (1-q)(P - 1)}{N - 1}.$$

    With independent neurons (Bernoulli) activities fluctuate as well: the others couple to the
    second moment of the rates and not to their variance, and the memory's own weight and mean are
    off,

    $$\sigma^2 = \frac{\kappa^2}{N} \Big[ (P - 1)\,(q \phi_b^2 + (1-q) \phi_a^2)
    + (\phi_a + (1-q) D)^2 \Big] + \frac{\gamma^2 D^2 q (1-q)}{N}.$$

    **Arguments:** `phi`, `a`, `b`, `q`: as in `design`; `q` is the activity of the design, not a
    measured one. `P`, `N`: memories and neurons. `activity`: "fixed" or "bernoulli".

    **Returns:** a `Crosstalk`, broadcast over a, b, q. Over neurons and draws, to leading order in
    1/N for "bernoulli". Retrieval is reliable while it is well below the margin. "projection" has
    no crosstalk.

    **Raises:** ValueError for P < 1, N < 2, another `activity`, and as `design` does.

    Derived here for the design of arXiv:2411.07388.
    """
    P, N = as_count(P, "P"), as_count(N, "N", 2)
    check_option(activity, "activity", ("fixed", "bernoulli"))
    made, a, b, q, _ = _checked(phi, a, b, q, None)
    difference = made.active - made.silent
    if activity == "fixed":
        variance = (b - a) ** 2 * q * (1 - q) * (P - 1) / (N - 1)
    else:
        others = (P - 1) * (q * made.active**2 + (1 - q) * made.silent**2)
        own = (made.silent + (1 - q) * difference) ** 2
        mean = made.gamma**2 * difference**2 * q * (1 - q)
        variance = (made.kappa**2 * (others + own) + mean) / N
    start, width = phi.threshold.astype(q.dtype), 1 / phi.gain.astype(q.dtype)
    margin = jnp.minimum(start - a, b - start - width)
    deviation = jnp.where(made.exists, root(variance), jnp.nan)
    return Crosstalk(deviation, jnp.where(made.exists, margin, jnp.nan))


# Phase diagram


def phase(
    gain: Any,
    threshold: Any,
    a: Any,
    b: Any,
    q: Any = 0.2,
    activation: type[AbstractRateActivation] = Logistic,
) -> Phase:
    r"""Whether a design stores stably, at one point of a diagram.

    By the closed form of `balanced_spectrum`. There is no regime of global stability: the P
    memories of the set are equilibria side by side.

    **Arguments:** `gain`, `threshold`: $\rho, I^*$, scalars. `a`, `b`, `q`: as in `design`. A value
    out of range is no error here. `activation`: the class of $\phi$.

    **Returns:** a `Phase`. A pure function of named values: `jax.vmap` and `hopfax.sweep` take it
    over any of them.

    **Raises:** TypeError if `activation` is no class of rate activations.

    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388, and derived here.
    """
    if not (isinstance(activation, type) and issubclass(activation, AbstractRateActivation)):
        raise TypeError(
            "`activation` must be a class of rate activations, as hopfax.Logistic, but is "
            f"{activation!r}."
        )
    gain, threshold, a, b, q = floats(gain=gain, threshold=threshold, a=a, b=b, q=q)
    fine = (gain > 0) & (gain < jnp.inf) & (abs(threshold) < jnp.inf)
    phi = activation(  # type: ignore[call-arg]
        jnp.where(fine, gain, 1.0), jnp.where(fine, threshold, 0.0)
    )
    made = _design(phi, a, b, q, q)
    exists = made.exists & fine
    made = made._replace(kappa=jnp.where(exists, made.kappa, jnp.nan), exists=exists)
    made = made._replace(gamma=jnp.where(exists, made.gamma, jnp.nan))
    values = _balanced(phi, made, a, b, q)
    slopes = jnp.maximum(phi.slope(a), phi.slope(b))
    margin = 1 - slopes * jnp.maximum(made.kappa, made.gamma)
    storage = jnp.where(values.stable, jnp.where(margin > 0, 2, 1), 0)
    storage = jnp.where(exists, storage, -1).astype(jnp.int32)
    return Phase(made.kappa, made.gamma, values.greatest, values.stable, margin, storage)


# Checks


def _check_phi(phi):
    if not isinstance(phi, AbstractRateActivation):
        raise TypeError(
            f"`phi` must be a rate activation, as hopfax.Logistic(), but is {type(phi).__name__}."
        )


def _check_known(phi):
    known = (Logistic, RectifiedTanh, HardSigmoid, ThresholdLinear)
    if not isinstance(phi, known):
        names = ", ".join(kind.__name__ for kind in known)
        raise TypeError(
            f"`phi` must be one of {names}, whose turning points are known, but is "
            f"{type(phi).__name__}."
        )


def _checked(phi, a, b, q, r):
    """The design and its arguments in one dtype; errors for what is known to be out of range."""
    _check_phi(phi)
    values = {"a": a, "b": b, "q": q} | ({} if r is None else {"r": r})
    a, b, q, *rest = floats(**values)
    r = rest[0] if rest else q
    for name, value in (("a", a), ("b", b)):
        check_finite(value, name)
    if _all_concrete(a, b) and bool((a >= b).any()):
        first, second = (np.broadcast_arrays(*map(np.asarray, (a, b)))[i].ravel() for i in (0, 1))
        at = np.argmax(first >= second)
        raise ValueError(
            "`a`, the current of silent neurons, must be below `b`, that of active ones, but "
            f"a = {first[at]:g} and b = {second[at]:g}."
        )
    _check_range(q, "q", "the activity of the memories, in (0, 1)", q > 0)
    if rest:
        _check_range(r, "r", "the overlap of memories in units of q N, in [0, 1)", r >= 0)
    made = _design(phi, a, b, q, r)
    if _all_concrete(a, b, q, r, phi.gain, phi.threshold) and not bool(made.exists.all()):
        bad = np.argmin(np.ravel(made.exists))
        shape = made.exists.shape
        silent, active = (np.ravel(jnp.broadcast_to(phi(v), shape))[bad] for v in (a, b))
        raise ValueError(
            f"`a` and `b` must lead to different rates, but phi(a) = {silent:g} and phi(b) = "
            f"{active:g}: put the threshold of `phi` between them."
        )
    return made, a, b, q, r


def _check_range(value, name, meaning, above):
    if is_concrete(value) and not bool((above & (value < 1)).all()):
        bad = np.asarray(value)[~np.asarray(above & (value < 1))].ravel()[0]
        raise ValueError(f"`{name}` must be {meaning}, but is {bad:g}.")


def _all_concrete(*values):
    return all(map(is_concrete, values))


def _scalars(dtype, **values):
    arrays = [as_float(value, name, dtype) for name, value in values.items()]
    for name, value in zip(values, arrays, strict=True):
        check_shape(value, name, (), "()", "Use jax.vmap or hopfax.sweep for many.")
        check_finite(value, name)
    return arrays


def _patterns(xi, phi, a, b, mu, learning):
    """Memories and currents in one dtype; errors for memories that cannot be stored like this."""
    _check_phi(phi)
    check_option(learning, "learning", _LEARNING)
    xi, a, b = floats(xi=xi, a=a, b=b)
    if xi.ndim != 2 or 0 in xi.shape:
        raise ValueError(f"`xi` must have shape (P, N), got {xi.shape}.")
    for name, value in (("a", a), ("b", b)):
        check_shape(value, name, (), "()", "Use jax.vmap or hopfax.sweep for many.")
    if is_concrete(mu):
        mu = as_count(np.asarray(mu).item(), "mu", 0)
        if mu >= len(xi):
            raise ValueError(f"`mu` must be one of the {len(xi)} memories, but is {mu}.")
    q = r = 0.5
    if is_concrete(xi):
        q, r = _check_patterns(np.asarray(xi), learning)
    _checked(phi, a, b, q, r)
    return xi, a, b, jnp.asarray(mu)


def _check_patterns(xi, learning):
    """Activity and overlap of the memories."""
    if not ((xi == 0) | (xi == 1)).all():
        raise ValueError("`xi` must hold only 0 and 1.")
    P, N = xi.shape
    active = xi.sum(1)
    if learning == "projection" and (active != active[0]).any():
        raise ValueError(
            "`xi` must have equally many active neurons in every memory for learning='projection', "
            f"but they range from {active.min():g} to {active.max():g}: use 'pseudo_inverse'."
        )
    if learning != "covariance":
        rows = xi - xi.mean() if learning == "projection" else xi
        gram = rows.astype(float) @ rows.T.astype(float)
        rank = np.linalg.matrix_rank(gram, hermitian=True)
        if rank < P:
            raise ValueError(
                f"`xi` must hold linearly independent memories for learning={learning!r}, but "
                f"{P} of them span {rank} dimensions."
            )
    q = active.mean() / N
    if P == 1 or learning != "covariance":
        return q, q
    pairs = ((xi.sum(0) ** 2).sum() - active.sum()) / (P * (P - 1))
    return q, pairs / max(q * N, 1.0)


def _dale(xi, phi, a, b, mu, tau, inhibition, learning):
    xi, a, b, mu = _patterns(xi, phi, a, b, mu, learning)
    (tau,) = _scalars(xi.dtype, tau=tau)
    check_at_least(tau, "tau", 0.0, strict=True)
    if inhibition is None:
        c = _rate_memory.inhibition(xi, phi, a, b, learning)
    else:
        (c,) = _scalars(xi.dtype, inhibition=inhibition)
        check_at_least(c, "inhibition", 0.0, strict=False)
    return xi, a, b, mu, tau, c


def _greatest(values, N):
    """The largest real part; N neurons more than the span has dimensions add -1."""
    greatest = values.real[0]
    return jnp.maximum(greatest, -1.0) if N >= len(values) else greatest
