r"""From scores to weights: regularised argmaxes that may give most items a weight of exactly zero.

A separation maps the scores $z_s$ of S stored items to weights,

$$p(z) = \arg\max_{p \in \Delta} \; z \cdot p - \Omega(p), \qquad
\Omega^*(z) = \max_{p \in \Delta} \; z \cdot p - \Omega(p), \qquad \nabla \Omega^* = p,$$

with the simplex $\Delta$ (or, of `KSubsets`, a part of it) and a convex $\Omega$, whose choice
decides how sparse they are. A memory whose state is $q \leftarrow \sum_s p_s k_s$, with
$z_s = \beta q \cdot k_s$, never raises its energy $E = \tfrac12 |q|^2 - \Omega^*(z) / \beta$
(Santos et al. 2024, arXiv:2402.13725).

Each has one unknown number, a threshold. It is found by halving an interval, and then by two Newton
steps that are differentiated: one makes the first derivatives right, the other the second.
"""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._errors import as_count, as_number, check_at_least

Scores = Float[Array, "... S"]
#: Halvings of an interval no longer than some units, after which Newton's steps end in rounding.
_HALVINGS = {4: 22, 8: 36}
_NEAR = 1e-2  # below this log1p(x) / x is a polynomial, by its rounding right also in float64


class AbstractSeparation(eqx.Module):
    r"""How scores become weights. To write one of your own, give these three.

    **Example:**

    ```python
    sparse = hx.nn.Entmax(2.0)
    sparse.weights(jnp.array([1.0, 0.6, -1.0]))  # 0.7, 0.3, 0
    ```
    """

    @abc.abstractmethod
    def weights(self, scores: Scores) -> Scores:
        """The weights, at least zero, with sum one; of scores of minus infinity they are zero.

        **Arguments:** `scores`: (..., S), of which in each row one at least is finite.
        """

    @abc.abstractmethod
    def conjugate(self, scores: Scores) -> Float[Array, "..."]:
        r"""$\Omega^*(z)$, of which the weights are the gradient."""

    @property
    @abc.abstractmethod
    def margin(self) -> Any:
        r"""The difference of the largest score to all others from which on the weight of that item
        is one and all others zero; infinite if it never is.
        """


class Entmax(AbstractSeparation):
    r"""$\alpha$-entmax: $p_s = [1 + (\alpha - 1)(z_s - \tau)]_+^{1/(\alpha - 1)}$, with $\tau$ such
    that their sum is one, and $\Omega(p) = (\sum_s p_s^\alpha - 1) / (\alpha(\alpha - 1))$.

    $\alpha = 1$ is softmax, $\alpha = 2$ sparsemax (Martins, Astudillo 2016, arXiv:1602.02068). The
    larger $\alpha$, the fewer items have a weight (Peters, Niculae, Martins 2019,
    arXiv:1905.05702). One item alone is retrieved, exactly, where its score is ahead by the margin
    $1/(\alpha - 1)$.

    **Arguments:**

    - `alpha`: $\alpha \ge 1$.
    - `learn`: whether $\alpha$ is trained (Correia, Niculae, Martins 2019, arXiv:1909.00015), by
        the logarithm of $\alpha - 1$, which must then be positive at the start.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    hx.nn.Entmax(2.0).weights(jnp.array([1.0, 0.6, -1.0]))  # 0.7, 0.3, 0
    hx.nn.Entmax(1.5, learn=True).alpha  # 1.5
    ```
    """

    fixed: float | None = eqx.field(static=True)
    log_excess: Float[Array, ""] | None

    def __init__(self, alpha: float = 1.5, *, learn: bool = False):
        alpha = as_number(alpha, "alpha")
        check_at_least(alpha, "alpha", 1.0, strict=learn)
        self.fixed = None if learn else alpha
        self.log_excess = jnp.log(jnp.asarray(alpha - 1.0)) if learn else None

    @property
    def excess(self) -> Any:
        r"""$\alpha - 1$."""
        if self.fixed is not None:
            return self.fixed - 1
        assert self.log_excess is not None
        return jnp.exp(self.log_excess)

    @property
    def alpha(self) -> Any:
        r"""$\alpha$, a number or, where it is learned, an array."""
        return 1 + self.excess

    @property
    def margin(self):
        e = self.excess
        return math.inf if isinstance(e, float) and e == 0 else 1 / e

    def weights(self, scores):
        e = jnp.asarray(self.excess, scores.dtype)
        top = lax.stop_gradient(scores.max(-1, keepdims=True))
        # The largest weight is at most one and at least 1/S.
        safe = jnp.where(e > 0, e, 1.0)
        spread = jnp.log(jnp.asarray(scores.shape[-1], scores.dtype))
        far = jnp.where(e > 0, -jnp.expm1(-safe * spread) / safe, spread)

        def excess(tau):
            weights, slope = _powered(scores - tau, e)
            return weights.sum(-1, keepdims=True) - 1, slope.sum(-1, keepdims=True)

        tau = _root(excess, top, top + far)
        return _powered(scores - tau, e)[0]

    def conjugate(self, scores):
        p, e = self.weights(scores), jnp.asarray(self.excess, scores.dtype)
        gained = jnp.where(p > 0, p * scores, 0.0).sum(-1)
        # (p^alpha - p) / (alpha - 1) is p ln p at alpha = 1.
        logs = jnp.log(jnp.where(p > 0, p, 1.0))
        safe = jnp.where(e > 0, e, 1.0)
        each = jnp.where(e > 0, jnp.expm1(safe * logs) / safe, logs)
        return gained - (p * each).sum(-1) / (1 + e)


def _powered(u: Array, e: Array) -> tuple[Array, Array]:
    """$[1 + e u]_+^{1/e}$ and minus its derivative by u; exponentials where e is zero."""
    inside = 1 + e * u
    fine = (inside > 0) & jnp.isfinite(u)
    u = jnp.where(fine, u, 0.0)
    x = e * u
    near = jnp.abs(x) < _NEAR
    safe = jnp.where(near, 1.0, x)
    # log1p(x) / x
    series = sum(((-x) ** k / (k + 1) for k in range(8)), jnp.zeros_like(x))
    weights = jnp.exp(u * jnp.where(near, series, jnp.log1p(safe) / safe))
    slope = weights / jnp.where(fine, inside, 1.0)
    return jnp.where(fine, weights, 0.0), jnp.where(fine, -slope, 0.0)


class Normmax(AbstractSeparation):
    r"""$\alpha$-normmax: $p_s \propto [z_s - \tau]_+^{1/(\alpha - 1)}$, with $\tau$ such that
    $\sum_s [z_s - \tau]_+^{\alpha/(\alpha - 1)} = 1$, and $\Omega(p) = \|p\|_\alpha - 1$.

    Items with weights have more equal ones than by `Entmax`, and one item alone is retrieved,
    exactly, where its score is ahead by 1, whatever $\alpha$ (Blondel, Martins, Niculae 2020,
    arXiv:1901.02324; Santos et al. 2024, arXiv:2402.13725).

    **Arguments:** `alpha`: $\alpha > 1$; the larger, the more equal are the weights.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    hx.nn.Normmax(2.0).weights(jnp.array([1.0, 0.6, -1.0]))  # 0.71, 0.29, 0
    ```
    """

    alpha: float = eqx.field(static=True)

    def __init__(self, alpha: float = 2.0):
        self.alpha = as_number(alpha, "alpha")
        check_at_least(self.alpha, "alpha", 1.0, strict=True)

    @property
    def margin(self):
        return 1.0

    def _parts(self, scores: Scores) -> tuple[Array, Array]:
        """The weights before they are divided by their sum, and $\tau$."""
        a, S = self.alpha, jnp.asarray(scores.shape[-1], scores.dtype)
        top = lax.stop_gradient(scores.max(-1, keepdims=True))

        def excess(tau):
            u, fine = _above(scores - tau)
            total = jnp.where(fine, u ** (a / (a - 1)), 0.0).sum(-1, keepdims=True)
            slope = jnp.where(fine, u ** (1 / (a - 1)), 0.0).sum(-1, keepdims=True)
            return total - 1, -slope * a / (a - 1)

        tau = _root(excess, top - 1.0, top - S ** ((1 - a) / a))
        u, fine = _above(scores - tau)
        return jnp.where(fine, u ** (1 / (a - 1)), 0.0), tau

    def weights(self, scores):
        parts, _ = self._parts(scores)
        return parts / parts.sum(-1, keepdims=True)

    def conjugate(self, scores):
        # z p = tau + |p| on the support, by the condition of the optimum.
        return self._parts(scores)[1][..., 0] + 1


class KSubsets(AbstractSeparation):
    r"""Sets of k items in place of one: $p_s = [z_s - \tau]_0^1 / k$, clipped to [0, 1], with
    $\tau$ such that the clipped ones sum to k; $\Omega(p) = \tfrac k2 |p|^2$ on weights of at most
    $1/k$.

    This is SparseMAP (Niculae et al. 2018, arXiv:1802.04223) for sets of k items: where k items are
    ahead of all others by 1, each has exactly $1/k$, and what is retrieved is their mean (Santos et
    al. 2024, arXiv:2402.13725). k = 1 is sparsemax. Scores are those of the whole set: the
    difference of two items enters as it is, whatever k.

    **Arguments:** `k`: items of a set; of fewer stored items each has an equal weight.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    hx.nn.KSubsets(2).weights(jnp.array([2.0, 1.0, -1.0]))  # 0.5, 0.5, 0
    ```
    """

    k: int = eqx.field(static=True)

    def __init__(self, k: int):
        self.k = as_count(k, "k")

    @property
    def margin(self):
        return 1.0

    def _clipped(self, scores: Scores) -> tuple[Array, Array]:
        """The clipped ones, and how many items each row has room for."""
        there = jnp.isfinite(scores)
        room = jnp.minimum(there.sum(-1, keepdims=True), self.k).astype(scores.dtype)
        top = lax.stop_gradient(scores.max(-1, keepdims=True))
        low = lax.stop_gradient(jnp.where(there, scores, jnp.inf).min(-1, keepdims=True))

        def excess(tau):
            u = scores - tau
            inner = (u > 0) & (u < 1)
            some = jnp.maximum(inner.sum(-1, keepdims=True), 1)
            total = jnp.clip(jnp.where(there, u, 0.0), 0.0, 1.0).sum(-1, keepdims=True)
            return total - room, -some.astype(scores.dtype)

        tau = _root(excess, low - 1.0, top)
        return jnp.clip(jnp.where(there, scores - tau, 0.0), 0.0, 1.0), room

    def weights(self, scores):
        clipped, room = self._clipped(scores)
        return clipped / room

    def conjugate(self, scores):
        clipped, room = self._clipped(scores)
        gained = jnp.where(clipped > 0, clipped * scores, 0.0) - jnp.square(clipped) / 2
        return gained.sum(-1) / room[..., 0]


class TopK(AbstractSeparation):
    r"""Softmax over the k largest scores; all others have the weight zero.

    It is no gradient: where the k-th and the next item change places the weights jump, and
    `conjugate` is that of the items which are left.

    **Arguments:** `k`: how many.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    hx.nn.TopK(2).weights(jnp.array([0.0, jnp.log(3.0), -9.0]))  # 0.25, 0.75, 0
    ```
    """

    k: int = eqx.field(static=True)

    def __init__(self, k: int):
        self.k = as_count(k, "k")

    @property
    def margin(self):
        return 0.0 if self.k == 1 else math.inf

    def _largest(self, scores: Scores) -> Scores:
        try:
            if self.k >= scores.shape[-1]:
                return scores
        except jax.errors.InconclusiveDimensionOperation as error:
            raise ValueError(
                f"`k` = {self.k} must be less than the number of items, which is not known here: "
                f"say so, as jax.export.symbolic_shape('S', constraints=['S >= {self.k + 1}'])."
            ) from error
        # Of equal ones the first: as many as k, whatever their values.
        _, places = lax.top_k(scores, self.k)
        kept = jax.nn.one_hot(places, scores.shape[-1], dtype=bool).any(-2)
        return jnp.where(kept, scores, -jnp.inf)

    def weights(self, scores):
        return jax.nn.softmax(self._largest(scores), axis=-1)

    def conjugate(self, scores):
        return jax.nn.logsumexp(self._largest(scores), axis=-1)


def _above(u: Array) -> tuple[Array, Array]:
    """What is positive, with 1 in place of the rest, whose powers have no derivative; and where."""
    fine = (u > 0) & jnp.isfinite(u)
    return jnp.where(fine, u, 1.0), fine


def _root(function: Callable[[Array], tuple[Array, Array]], low: Array, high: Array) -> Array:
    """Where a falling function is zero, between `low`, where it is positive, and `high`.

    `function`: its value and its derivative. The last two steps are Newton's, and differentiated.
    """

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        above = function(middle)[0] > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    halvings = _HALVINGS.get(np.dtype(low.dtype).itemsize, 22)
    low, high = lax.fori_loop(0, halvings, halve, lax.stop_gradient((low, high)))
    tau = lax.stop_gradient((low + high) / 2)
    for _ in range(2):
        value, slope = function(tau)
        tau = tau - value / jnp.where(slope < 0, slope, -1.0)
    return tau
