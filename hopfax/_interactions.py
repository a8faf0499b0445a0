r"""Interactions of dense associative memories: the function $F$ of $E = -\sum_\mu F(X_\mu)$.

$X_\mu = \sum_i \xi^\mu_i h_i$ is the overlap of the state with a memory, not divided by N. A neuron
feels $u_i \propto \sum_\mu \xi^\mu_i f(X^\mu_i)$, where $f = F'/r$ is the **reduced** force (the
constant factor $r$ is left out) and $X^\mu_i$ excludes neuron $i$ itself.
"""

import abc
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from ._errors import as_float, check_at_least, check_finite, check_shape
from ._types import ArrayLike

Values = Float[Array, "..."]


class AbstractInteraction(eqx.Module):
    """How the overlap with a memory enters the energy.

    To add one, write a final subclass. `order` is the number of neurons that interact at once;
    `exponential` marks those whose forces are $e^{\\beta X}$ up to a constant, which are added with
    their largest exponent taken out.
    """

    exponential: AbstractClassVar[bool]

    @abc.abstractmethod
    def potential(self, X: Values, N: int) -> Values:
        r"""$F(X)$ of the whole overlap, for states of N signs."""

    @abc.abstractmethod
    def force(self, y: Values, N: int) -> Values:
        r"""$f(y)$ of an overlap that excludes one of the N neurons. For an exponential interaction
        the *exponent* of the force."""

    @abc.abstractmethod
    def scale(self, N: int) -> float:
        r"""By what the sum of forces is divided, so that a stored state feels a field near 1."""

    @abc.abstractmethod
    def reduction(self) -> float | Float[Array, ""]:
        r"""$r$ of $F' = r f$."""

    @abc.abstractmethod
    def lagrangian(self, m: Float[Array, " P"], N: int | Values) -> Float[Array, ""]:
        r"""$L(m)$ of graded states with overlaps $m = X/N$; its gradient $\partial L/\partial
        m_\mu$ is the weight with which memory $\mu$ enters the field.

        **Raises:** ValueError where the interaction is defined for signs only.
        """


def difference(interaction: AbstractInteraction, y: Values, N: int) -> Values:
    r"""$F(y + 1) - F(y - 1)$, what turning one neuron gains: the exact force, $2 r f(y)$ at large
    N. For n-body interactions equal to it at any N."""
    return interaction.potential(y + 1, N) - interaction.potential(y - 1, N)


def _order(order, at_least=2) -> int:
    if not isinstance(order, int) or isinstance(order, bool):
        raise TypeError(f"`order` must be a Python int, got {order!r}.")
    if order < at_least:
        raise ValueError(f"`order` must be at least {at_least}, got {order}.")
    return order


class Quadratic(AbstractInteraction):
    r"""$F(X) = X^2/2$: the classical Hopfield model (1982), $f(X) = X$, capacity 0.138 N."""

    exponential = False
    order = 2

    def potential(self, X, N):
        return X**2 / 2

    def force(self, y, N):
        return y

    def scale(self, N):
        return float(N)

    def reduction(self):
        return 1.0

    def lagrangian(self, m, N):
        return (m**2).sum() / 2


class Power(AbstractInteraction):
    r"""$F(X) = X^n$ (Krotov, Hopfield 2016, arXiv:1606.01164), $f(X) = X^{n-1}$.

    Stores $M = \alpha N^{n-1}$ random patterns. For odd n a state and its negative are not
    equivalent: $-\xi$ is driven to $\xi$.

    **Arguments:** `order`: $n \ge 2$, a Python int.
    """

    order: int = eqx.field(static=True)
    exponential = False

    def __init__(self, order: int):
        self.order = _order(order)

    def potential(self, X, N):
        return X**self.order

    def force(self, y, N):
        return y ** (self.order - 1)

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        return (m**self.order).sum() / self.order


class RectifiedPower(AbstractInteraction):
    r"""$F(X) = \max(X, 0)^n$, $f(X) = \max(X, 0)^{n-1}$ (Krotov, Hopfield 2016, arXiv:1606.01164).

    **Arguments:** `order`: $n \ge 2$, a Python int.
    """

    order: int = eqx.field(static=True)
    exponential = False

    def __init__(self, order: int):
        self.order = _order(order)

    def potential(self, X, N):
        return jnp.maximum(X, 0) ** self.order

    def force(self, y, N):
        return jnp.maximum(y, 0) ** (self.order - 1)

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        return (jnp.maximum(m, 0) ** self.order).sum() / self.order


class ManyBody(AbstractInteraction):
    r"""n different neurons at a time (Gardner 1987; Abbott, Arian 1987):

    $$F(X) = n!\, e_n(\xi \circ h), \qquad f = (n-1)!\, e_{n-1}(\xi \circ h \text{ without } i),$$

    with $e_k$ the elementary symmetric polynomials of N signs, functions of their sum $y$ alone:
    $k!\,e_k = y\,(k-1)!\,e_{k-1} - (k-1)(N-k+2)\,(k-2)!\,e_{k-2}$. Without the self-interactions of
    $X^n$ there is less noise, so more memories: $(2n-3)!!/(n-1)!$ times as many.

    **Arguments:** `order`: $n \ge 2$, a Python int.
    """

    order: int = eqx.field(static=True)
    exponential = False

    def __init__(self, order: int):
        self.order = _order(order)

    def potential(self, X, N):
        return distinct(X, N, self.order)[-1]

    def force(self, y, N):
        return distinct(y, N - 1, self.order - 1)[-1]

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        raise _signs_only(self)


class Simplicial(AbstractInteraction):
    r"""A mixture of n-body interactions: every set of up to n neurons is a simplex (Burns, Fukai
    2023, arXiv:2305.05179, for complete skeletons).

    $$F(X) = \sum_k b_k\, k!\, N^{(n-k)/2}\, e_k(\xi \circ h), \qquad n = \max k.$$

    In this scaling all orders contribute noise of the same size at $M = \alpha N^{n-1}$ memories,
    but only the highest one signal. The plain sum over simplices is $b_k = N^{-(n-k)/2}/k!$; sets
    are never enumerated.

    **Arguments:** `weights`: order $k$ (a Python int, at least 1) -> $b_k$.
    """

    weights: dict[int, Float[Array, ""]]
    exponential = False

    def __init__(self, weights: Mapping[int, ArrayLike]):
        if not isinstance(weights, Mapping) or not weights:
            raise ValueError(f"`weights` must be a dict of order -> weight, got {weights!r}.")
        orders = sorted(_order(order, 1) for order in weights)
        self.weights = {order: as_float(weights[order], f"weights[{order}]") for order in orders}
        for order, weight in self.weights.items():
            check_shape(weight, f"weights[{order}]", (), "()")
            check_finite(weight, f"weights[{order}]")
        _order(max(weights))

    @property
    def order(self) -> int:
        """$n$, the largest order."""
        return max(self.weights)

    def _mixture(self, y, K, N, less):
        terms = distinct(y, K, self.order - less)
        total = jnp.zeros_like(y)
        for k, weight in self.weights.items():
            size = weight.astype(y.dtype) * float(N) ** ((self.order - k) / 2)
            total = total + size * (k / self.order if less else 1.0) * terms[k - less]
        return total

    def potential(self, X, N):
        return self._mixture(X, N, N, 0)

    def force(self, y, N):
        return self._mixture(y, N - 1, N, 1)

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        raise _signs_only(self)


class Exponential(AbstractInteraction):
    r"""$F(X) = e^{\lambda X}$ (Demircigil, Heusel, Lowe, Upgang, Vermet 2017, arXiv:1702.01929).

    Stores exponentially many patterns. $F(X)$ overflows beyond $\lambda X = 88$ in float32 (709 in
    float64); the fields never do, as their largest exponent is taken out.

    **Arguments:** `rate`: $\lambda > 0$.
    """

    rate: Float[Array, ""]
    exponential = True

    def __init__(self, rate=1.0):
        self.rate = _positive(rate, "rate")

    def potential(self, X, N):
        return jnp.exp(self.rate.astype(X.dtype) * X)

    def force(self, y, N):
        return self.rate.astype(y.dtype) * y

    def scale(self, N):
        return 1.0

    def reduction(self):
        return self.rate

    def lagrangian(self, m, N):
        rate = self.rate.astype(m.dtype) * N
        return jnp.exp(rate * (m - 1)).sum() / rate


class Softmax(AbstractInteraction):
    r"""Modern Hopfield network (Ramsauer et al. 2021, arXiv:2008.02217), for real states $x$:

    $$E = -\frac1\beta \log \sum_\mu e^{\beta\, \xi^\mu \cdot x} + \frac12 x \cdot x, \qquad
    x \leftarrow \sum_\mu \xi^\mu\, \mathrm{softmax}_\mu(\beta\, \xi^\mu \cdot x).$$

    One update is one step of attention with the patterns as keys and values; it never raises the
    energy. `potential` is $e^{\beta X}$: the energy is not a sum over memories.

    **Arguments:** `beta`: inverse temperature $\beta > 0$.
    """

    beta: Float[Array, ""]
    exponential = True

    def __init__(self, beta=1.0):
        self.beta = _positive(beta, "beta")

    def potential(self, X, N):
        return jnp.exp(self.beta.astype(X.dtype) * X)

    def force(self, y, N):
        return self.beta.astype(y.dtype) * y

    def scale(self, N):
        return 1.0

    def reduction(self):
        return self.beta

    def lagrangian(self, m, N):
        beta = self.beta.astype(m.dtype) * N
        return jax.nn.logsumexp(beta * m) / beta


def distinct(y: Values, K: int, order: int) -> list[Values]:
    r"""$k!\, e_k$ of K signs with sum $y$ for $k = 0, \dots,$ `order`."""
    terms = [jnp.ones_like(y), y]
    for k in range(2, order + 1):
        terms.append(y * terms[-1] - (k - 1) * (K - k + 2) * terms[-2])
    return terms[: order + 1]


def _positive(value, name):
    value = as_float(value, name)
    check_shape(value, name, (), "()")
    check_at_least(value, name, 0.0, strict=True)
    return value


def _signs_only(interaction) -> ValueError:
    return ValueError(
        f"{type(interaction).__name__} is defined for states of +-1 only (its sets of different "
        "neurons); graded states need Quadratic, Power, RectifiedPower, Exponential or Softmax."
    )
