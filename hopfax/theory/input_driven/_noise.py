r"""Private noise: the input-driven field, and the classic one with the same stimulus as a current.

For $N \to \infty$ at fixed P each field is $x_i = (\Xi a)_i + w_i$ with independent Gaussian $w_i$
of standard deviation $s = \sigma/\sqrt 2$, once stationary, and overlaps are those of a noiseless
network with the averaged activation $\psi_s$.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_index
from ..._programs import jitted
from ..._roots import implicit_point
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar
from .._search import bisect
from ._amplitude import amplitude, lost_at
from ._arguments import Softened, check_activation, check_noise, check_saliencies, finite_floats

_MOST = 12  # memories of the classic network, whose combinations of signs are all followed
_STEPS, _STEP = 2000, 0.2  # of the flow to rest, in time constants


class NoisyOverlap(NamedTuple):
    r"""The overlap that a memory keeps under noise.

    `overlap`: $m_\mu$, 0 where it is lost; all other overlaps are 0. `exists`: whether it is
    retrieved at all. `stable`: whether it is, and is stable against the other memory.

    **Example:**

    ```python
    found = hx.theory.input_driven.driven_overlap(2.0, [0.5, 1.5, 2.5])
    found.overlap, found.exists  # [0.9998, 0.8291, 0], [True, True, False]
    ```
    """

    overlap: Float[Array, "..."]
    exists: Bool[Array, "..."]
    stable: Bool[Array, "..."]


class NoiseWindow(NamedTuple):
    r"""The noise under which the stronger of two memories is the only stable one.

    `low`: $\sigma$ above which the weaker memory is unstable; `high`: the one above which the
    stronger is lost. `exists`: whether the stronger is retrieved without noise; both are 0 where
    not.

    **Example:**

    ```python
    found = hx.theory.input_driven.noise_window(2.0, 1.2)
    found.low, found.high  # 0.5908, 2.0967
    ```
    """

    low: Float[Array, "..."]
    high: Float[Array, "..."]
    exists: Bool[Array, "..."]


class AdditiveOverlaps(NamedTuple):
    """Where the classic network ends with the stimulus as a current.

    `overlaps`: (P,). `kept`: whether that of the memory in which it began is the largest.
    `settled`: whether it had come to rest.

    **Example:**

    ```python
    found = hx.theory.input_driven.additive_overlaps([1.0, 0.4], 0.5, hx.HardTanh(2.0))
    found.overlaps, found.kept  # [0.9999, 0.0001], True
    ```
    """

    overlaps: Float[Array, " P"]
    kept: Bool[Array, ""]
    settled: Bool[Array, ""]


def driven_overlap(
    alpha: ArrayLike,
    noise: ArrayLike,
    activation: AbstractActivation = HardTanh(),
    rival: ArrayLike = 0.0,
) -> NoisyOverlap:
    r"""The overlap of the input-driven network with a retrieved memory under private noise.

    $$a = \alpha\, \psi_s(a), \qquad m = \psi_s(a), \qquad
    \psi_s(x) = E\, \psi(x + s g), \quad s = \sigma/\sqrt 2 .$$

    It exists for $\alpha\, \psi_s'(0) > 1$ and falls to 0 continuously at `noise_limit`; it is
    stable against another memory of saliency $\alpha_\nu$ for $\alpha_\nu \psi_s'(a) < 1$.

    **Arguments:**

    - `alpha`: $\alpha$ of the memory.
    - `noise`: $\sigma \ge 0$ of the stochastic differential equation.
    - `activation`: $\psi$, concave on the positive side.
    - `rival`: $\alpha_\nu$, the largest saliency of the other memories.

    **Returns:** a `NoisyOverlap`, broadcast over `alpha`, `noise` and `rival`. Exact for $N \to
    \infty$ at a fixed number of orthogonal memories. In a finite network the overlaps fluctuate by
    $O(1/\sqrt N)$, and noise makes rare escapes that this leaves out. Without self-couplings the
    limit is the same. Differentiable.

    **Raises:** ValueError for numbers that are not finite, or a negative noise; TypeError for no
    activation.

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    hx.theory.input_driven.driven_overlap(2.0, 1.2 * 2**0.5).overlap  # 0.7162
    ```
    """
    alpha, noise, rival = finite_floats(alpha=alpha, noise=noise, rival=rival)
    check_activation(activation)
    check_noise(noise)
    return NoisyOverlap(*_driven(alpha, noise, activation, rival))


@jitted
def _driven(alpha, noise, activation, rival):
    def one(alpha, noise, rival):
        psi = Softened(activation, noise / 2**0.5)
        a, exists = amplitude(alpha, psi)
        held = exists & (noise >= 0)
        overlap = jnp.where(exists, psi(a), 0.0)
        return overlap, held, held & (rival * psi.slope(a) < 1)

    return jnp.vectorize(one)(alpha, noise, rival)


def noise_limit(
    alpha: ArrayLike, activation: AbstractActivation = HardTanh()
) -> Float[Array, "..."]:
    r"""Noise strength $\sigma$ above which a memory of saliency `alpha` is lost.

    $\alpha\, \psi_s'(0) = 1$ at $\sigma = \sqrt 2\, s$. Hard tanh of gain g:
    $\sigma = 1/(g\, \mathrm{erf}^{-1}(1/(g \alpha)))$.

    **Arguments:** `alpha`: $\alpha$. `activation`: $\psi$, concave on the positive side.

    **Returns:** $\sigma$ of the stochastic differential equation, broadcast over `alpha`; 0 for
    $\alpha\, \psi'(0) \le 1$, where the memory is not retrieved without noise either. Exact as
    `driven_overlap`.

    **Raises:** ValueError for `alpha` that is not finite; TypeError for no activation.

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    hx.theory.input_driven.noise_limit(2.0)  # 2.0967
    hx.theory.input_driven.noise_limit(2.0, hx.Tanh(10.0))  # 2.2531
    ```
    """
    (alpha,) = finite_floats(alpha=alpha)
    check_activation(activation)
    return _limit(alpha, activation)


@jitted
def _limit(alpha, activation):
    return 2**0.5 * lost_at(alpha, activation)[0]


def noise_window(
    strong: ArrayLike, weak: ArrayLike, activation: AbstractActivation = HardTanh()
) -> NoiseWindow:
    r"""The noise at which the stronger of two memories is the only one that is stable.

    The weaker memory loses its stability to the stronger one, in a pitchfork bifurcation, where

    $$\alpha_1\, \psi_s'(a) = 1, \qquad a = \alpha_2\, \psi_s(a), \qquad \alpha_1 > \alpha_2,$$

    before it is lost by itself; the stronger is lost at its `noise_limit`. In between a network
    ends in the memory that the stimulus resembles most, or in its negative, wherever it started.

    **Arguments:** `strong`, `weak`: $\alpha_1 > \alpha_2$. `activation`: $\psi$, concave on the
    positive side.

    **Returns:** a `NoiseWindow`, broadcast over both saliencies. `low` is 0 where the weaker memory
    is not stable without noise either. Exact as `driven_overlap`. Differentiable.

    **Raises:** ValueError for numbers that are not finite, or `weak` that is not below `strong`;
    TypeError for no activation. Under a trace such values give NaN.

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    hx.theory.input_driven.noise_window(2.0, 1.9).low  # 1.9150
    ```
    """
    strong, weak = finite_floats(strong=strong, weak=weak)
    check_activation(activation)
    ordered = weak < strong
    if is_concrete(ordered) and not bool(ordered.all()):
        raise ValueError("`weak` must be below `strong`, the larger of the two saliencies.")
    found = NoiseWindow(*_window(strong, weak, activation))
    return found._replace(low=jnp.where(ordered, found.low, jnp.nan))


@jitted
def _window(strong, weak, activation):
    def one(strong, weak):
        last, exists = lost_at(strong, activation)
        end, there = lost_at(weak, activation)
        bare = Softened(activation, jnp.zeros_like(weak))
        stays = there & (strong * bare.slope(amplitude(weak, bare)[0]) < 1)
        alphas = jnp.where(stays, strong, 2.0), jnp.where(stays, weak, 1.0)
        frozen, still = stop_gradient((alphas, activation))

        def rises(s):
            psi = Softened(still, s)
            return frozen[0] * psi.slope(amplitude(frozen[1], psi)[0]) - 1

        s = bisect(rises, 0 * weak, jnp.where(stays, stop_gradient(end), 1.0), 48)
        a = amplitude(frozen[1], Softened(still, s))[0]
        edge = eqx.Partial(_edge, *alphas, activation)
        s = implicit_point(edge, stop_gradient(jnp.stack([a, s])))[1]
        return 2**0.5 * jnp.where(stays, s, 0.0), 2**0.5 * last, exists

    return jnp.vectorize(one)(strong, weak)


def _edge(strong, weak, activation, unknown):
    a, s = unknown
    psi = Softened(activation, s)
    return jnp.stack([a - weak * psi(a), strong * psi.slope(a) - 1])


def additive_overlaps(
    weights: ArrayLike,
    noise: ArrayLike,
    activation: AbstractActivation = HardTanh(),
    mu: int = 0,
) -> AdditiveOverlaps:
    r"""The overlaps of the classic Hopfield network that gets the stimulus as an additive current,
    under private noise.

    $$\dot x = -x + \sum_\nu (m_\nu + c_\nu)\, \xi^\nu + \sigma\, \dot B, \qquad
    m_\nu = E_\xi\Big[\xi^\nu\,
    \psi_s\Big(\sum_\lambda (m_\lambda + c_\lambda)\, \xi^\lambda\Big)\Big] \text{ at rest},$$

    with the average over all combinations of signs of the memories. It is what to compare
    `driven_overlap` with, of the same stimulus $\sum_\nu c_\nu \xi^\nu$: there it makes the
    saliencies $\alpha = c$, here the current.

    **Arguments:**

    - `weights`: $c$, (P,), at most 12 memories.
    - `noise`: $\sigma \ge 0$, a scalar.
    - `activation`: $\psi$. The saliency of all memories is 1, so that the network has memories of
        its own for $\psi'(0) > 1$ alone.
    - `mu`: the memory in which it starts, $x(0) = \xi^\mu + \sum_\nu c_\nu \xi^\nu$.

    **Returns:** an `AdditiveOverlaps`: where the mean-field flow from that start ends. Exact for
    $N \to \infty$ at a fixed number of orthogonal memories all of whose combinations of signs are
    equally frequent (as two orthogonal memories are for any N), but for rare escapes by noise.
    `settled` is False where 400 time constants were not enough, as next to a bifurcation.
    Differentiable.

    **Raises:** ValueError for other shapes, more than 12 memories, numbers that are not finite, a
    negative noise or `mu` out of range; TypeError for no activation.

    Hopfield, PNAS 81 (1984), for the network; derived here for the comparison with Betteti, Baggio,
    Bullo, Zampieri, Science Advances 2025, arXiv:2411.05849.

    **Example:**

    ```python
    steep = hx.HardTanh(2.0)
    hx.theory.input_driven.additive_overlaps([0.6, 0.1], 0.3, steep, mu=1).kept  # False
    hx.theory.input_driven.additive_overlaps([0.3, 0.1], 0.3, steep, mu=1).kept  # True: held
    ```
    """
    weights, noise = finite_floats(weights=weights, noise=noise)
    check_saliencies(weights, "weights")
    check_activation(activation)
    check_scalar(noise, "noise")
    check_noise(noise)
    P = len(weights)
    if P > _MOST:
        raise ValueError(f"`weights` must be of at most {_MOST} memories, but has {P}.")
    start = jnp.asarray(as_index(mu, "mu", P, "memories"))
    return AdditiveOverlaps(*_additive(weights, noise, activation, start))


@jitted
def _additive(weights, noise, activation, mu):
    P = len(weights)
    # All combinations of signs, up to a common one: psi is odd.
    signs = 1 - 2 * ((np.arange(2 ** (P - 1))[:, None] >> np.arange(P)) & 1)
    signs = jnp.asarray(signs, weights.dtype)
    rest = eqx.Partial(_unrest, signs, weights, Softened(activation, noise / 2**0.5))
    frozen, still = eqx.partition(rest, eqx.is_array)
    still = eqx.combine(stop_gradient(frozen), still)
    start = stop_gradient(weights) + jnp.where(jnp.arange(P) == mu, 1.0, 0.0).astype(weights.dtype)
    a = jax.lax.fori_loop(0, _STEPS, lambda _, a: a - _STEP * still(a), start)
    a = jax.lax.fori_loop(0, 3, lambda _, a: _newton(still, a), a)
    settled = abs(still(a)).max() < 1e3 * jnp.finfo(a.dtype).eps * (1 + abs(a).max())
    m = implicit_point(rest, stop_gradient(a)) - weights
    return m, jnp.argmax(m) == mu, settled


def _newton(function, a):
    """A step of Newton's method, if it is small: else this is no root yet."""
    step = jnp.linalg.solve(jax.jacfwd(function)(a), function(a))
    near = jnp.isfinite(step).all() & (abs(step) < 1e-2).all()
    return jnp.where(near, a - step, a)


def _unrest(signs, weights, psi, a):
    """Minus the time derivative of the field's coefficients."""
    return a - weights - signs.T @ psi(signs @ a) / len(signs)
