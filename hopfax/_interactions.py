r"""Interactions of dense associative memories: the function $F$ of $E = -\sum_\mu F(X_\mu)$.

$X_\mu = \sum_i \xi^\mu_i h_i$ is the overlap of the state with a memory, not divided by N. Neuron
$i$ feels the field $u_i \propto \sum_\mu \xi^\mu_i f(X^\mu_i)$. Here $f = F'/r$ is the **reduced**
force, without a constant factor $r$ of the derivative, and $X^\mu_i$ is the overlap without
neuron $i$.
"""

import abc
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from ._errors import as_count, as_float, check_at_least, check_finite, check_shape, shown
from ._misc import not_differentiable
from ._types import ArrayLike

_EXACT_BELOW = 4  # orders up to this are as exact by recursion
_EXACT_SIGNS = 256  # up to so many signs higher orders are looked up
_OF_SIGNS = (
    "sums over sets of different neurons (ManyBody, Simplicial) have no derivative with respect to "
    "patterns or states here: they are computed by an identity that holds for signs only. "
    "Differentiate the weights alone, or use Power."
)

Values = Float[Array, "..."]


class AbstractInteraction(eqx.Module):
    r"""How the overlap with a memory enters the energy.

    To add one, write a final subclass. `exponential` says whether forces are $e^{\beta X}$ up to a
    constant factor; they are then added with their largest exponent taken out, as they would
    overflow. An attribute `order`, if there is one, is the number n of neurons that interact at
    once: energies are then of size $N^n$. With an order, and a force proportional to
    $|y|^{n-1}$ on either side of zero, `hopfax.theory.dense` holds for it, too.

    **Example:**

    ```python
    class Quartic(hx.AbstractInteraction):
        exponential = False
        order = 4

        def potential(self, X, N):
            return X**4 / 4

        def force(self, y, N):
            return y**3

        def scale(self, N):
            return float(N) ** 3

        def reduction(self):
            return 1.0

        def lagrangian(self, m, N):
            return (m**4).sum() / 4

    hx.DenseMemory(hx.patterns.hadamard(4, 16), Quartic())
    hx.theory.dense.capacity(Quartic()).load  # 0.0132, that of Power(4)
    ```
    """

    exponential: AbstractClassVar[bool]

    @abc.abstractmethod
    def potential(self, X: Values, N: int) -> Values:
        r"""$F(X)$ of the whole overlap `X`, for states of N signs."""

    @abc.abstractmethod
    def force(self, y: Values, N: int) -> Values:
        r"""$f(y)$ of an overlap `y` without one of the N neurons; of an exponential interaction
        not the force but its *exponent*."""

    @abc.abstractmethod
    def scale(self, N: int) -> float:
        r"""The number by which the sum of forces is divided, so that the neurons of a stored memory
        feel fields near 1."""

    @abc.abstractmethod
    def reduction(self) -> float | Float[Array, ""]:
        r"""The constant factor $r$ in $F' = r f$."""

    @abc.abstractmethod
    def lagrangian(self, m: Float[Array, " P"], N: int | Values) -> Float[Array, ""]:
        r"""$L(m)$ for graded states with overlaps $m = X/N$. Its derivative
        $\partial L/\partial m_\mu$ is the weight of memory $\mu$ in the field.

        **Raises:** ValueError where the interaction is defined for signs only.
        """


def difference(interaction: AbstractInteraction, y: Values, N: int) -> Values:
    r"""$F(y + 1) - F(y - 1)$, the difference in energy between the two signs of a neuron that is
    not part of the overlap `y`. It tends to $2 r f(y)$ at large N; for n-body interactions the two
    are equal at any N."""
    return interaction.potential(y + 1, N) - interaction.potential(y - 1, N)


def _order(order: Any, at_least: int = 2) -> int:
    """`order`, if it is a Python int and not too small."""
    return as_count(order, "order", at_least)


def _real_order(order: Any) -> int | float:
    """`order`, if it is a Python number and at least 2; an int where it is whole."""
    if not isinstance(order, float) or order.is_integer():
        return _order(int(order) if isinstance(order, float) else order)
    if not 2 <= order < math.inf:
        raise ValueError(f"`order` must be a finite number >= 2, got {order:g}.")
    return order


class Quadratic(AbstractInteraction):
    r"""$F(X) = X^2/2$, $f(X) = X$: the classical Hopfield model (1982), which stores 0.138 N random
    memories.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Quadratic())
    state = memory.init(memory.patterns.pattern(0))
    memory.field(state)  # 12/16 times the memory: each of 4 memories has lost one self-coupling
    memory.energy(state)  # -128.0
    ```
    """

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

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    memory.energy(memory.init(memory.patterns.pattern(0)))  # -4096.0 = -16^3
    ```
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

    **Arguments:** `order`: $n \ge 2$, a Python int, or a float such as 2.5.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.RectifiedPower(3))
    memory.energy(memory.init(-memory.patterns.pattern(0)))  # 0: the negative is no memory
    ```
    """

    order: int | float = eqx.field(static=True)
    exponential = False

    def __init__(self, order: int | float):
        self.order = _real_order(order)

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
    r"""Interactions of n different neurons at a time (Gardner 1987; Abbott, Arian 1987):

    $$F(X) = n!\, e_n(\xi \circ h), \qquad f = (n-1)!\, e_{n-1}(\xi \circ h \text{ without } i),$$

    with $e_k$ the elementary symmetric polynomials of N signs. They depend on the sum $y$ of the
    signs alone: $k!\,e_k = y\,(k-1)!\,e_{k-1} - (k-1)(N-k+2)\,(k-2)!\,e_{k-2}$. Unlike in $X^n$ no
    neuron occurs twice in a term. That takes out noise, so $(2n-3)!!/(n-1)!$ times as many memories
    can be stored.

    **Arguments:** `order`: $n \ge 2$, a Python int.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard([1, 2, 4], 16), hx.ManyBody(3))
    memory.energy(memory.init(memory.patterns.pattern(0)))  # -3360 = -16 * 15 * 14, for one memory
    ```
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
    r"""A mixture of interactions of k different neurons at a time, for several orders k:

    $$F(X) = \sum_k b_k\, k!\, N^{(n-k)/2}\, e_k(\xi \circ h), \qquad n = \max k.$$

    Every set of k neurons is a simplex of the simplicial Hopfield networks of Burns, Fukai 2023
    (arXiv:2305.05179), where all sets of up to n neurons are present; the sets are never
    enumerated. With this scaling all orders contribute noise of the same size at
    $M = \alpha N^{n-1}$ memories, but only the highest order contributes signal. The plain sum over
    all simplices has $b_k = N^{-(n-k)/2}/k!$.

    **Arguments:** `weights`: $b_k$ for every order $k$ (a Python int, at least 1), as a dict.

    **Raises:** ValueError/TypeError for other orders or weights, or if the highest order is 1.

    **Example:**

    ```python
    interaction = hx.Simplicial({2: 0.5, 3: 1.0})
    interaction.order  # 3
    interaction.potential(jnp.array(16.0), 16)  # 3840.0 = 3360 + 0.5 * 4 * 240
    ```
    """

    weights: dict[int, Float[Array, ""]]
    exponential = False

    def __init__(self, weights: Mapping[int, ArrayLike]):
        if not isinstance(weights, Mapping) or not weights:
            raise ValueError(f"`weights` must be a dict of order -> weight, got {shown(weights)}.")
        orders = sorted(as_count(order, "order", 1) for order in weights)
        self.weights = {order: as_float(weights[order], f"weights[{order}]") for order in orders}
        for order, weight in self.weights.items():
            check_shape(weight, f"weights[{order}]", (), "()")
            check_finite(weight, f"weights[{order}]")
        as_count(max(weights), "order", 2)

    @property
    def order(self) -> int:
        """The highest order $n$."""
        return max(self.weights)

    def _mixture(self, y: Values, K: int, N: int, less: int) -> Values:
        r"""The potential (`less` = 0) of K signs with sum `y`, or the force (`less` = 1), in which
        $(k/n)\, (k-1)!\, e_{k-1}$ stands in place of $k!\, e_k$."""
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
    float64). The fields never do, as their largest exponent is taken out.

    **Arguments:** `rate`: $\lambda > 0$.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Exponential(0.5))
    memory.energy(memory.init(memory.patterns.pattern(0)))  # -(exp(8) + 3) = -2983.96
    ```
    """

    rate: Float[Array, ""]
    exponential = True

    def __init__(self, rate: ArrayLike = 1.0):
        self.rate = positive(rate, "rate")

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
    r"""The modern Hopfield network (Ramsauer et al. 2021, arXiv:2008.02217), for real states $x$:

    $$E = -\frac1\beta \log \sum_\mu e^{\beta\, \xi^\mu \cdot x} + \frac12 x \cdot x, \qquad
    x \leftarrow \sum_\mu \xi^\mu\, \mathrm{softmax}_\mu(\beta\, \xi^\mu \cdot x).$$

    One update is one step of attention with the patterns as keys and values. It never raises the
    energy. This energy is not a sum over memories; `potential` is $e^{\beta X}$, the term of one
    memory inside the logarithm.

    **Arguments:** `beta`: inverse temperature $\beta > 0$.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Softmax(0.5))
    state = memory.init(0.5 * memory.patterns.pattern(0))
    memory.overlaps(memory.step(state))  # 0.9479, 0.0174, 0.0174, 0.0174
    ```
    """

    beta: Float[Array, ""]
    exponential = True

    def __init__(self, beta: ArrayLike = 1.0):
        self.beta = positive(beta, "beta")

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
    r"""$k!\, e_k$ of K signs with sum `y`, for $k = 0, \dots,$ `order`: the sum, over all ordered
    choices of k different signs, of their product.

    **Raises:** TypeError if it is differentiated with respect to `y`.
    """
    # The recursion holds for signs only, where the square of each is 1.
    y = not_differentiable(y, _OF_SIGNS)
    terms = [jnp.ones_like(y), y]
    for k in range(2, order + 1):
        terms.append(y * terms[-1] - (k - 1) * (K - k + 2) * terms[-2])
    if order <= _EXACT_BELOW or K > _EXACT_SIGNS:
        return terms[: order + 1]
    # At few signs and high orders rounding would be all that is left of small terms.
    place = (K - y) / 2
    known = (place == jnp.round(place)) & (place >= 0) & (place <= K)
    index = jnp.where(known, place, 0.0).astype(jnp.int32)
    most = float(jnp.finfo(y.dtype).max)
    for k, numbers in enumerate(distinct_sums(K, order)):
        table = [float(x) if abs(x) <= most else math.copysign(math.inf, x) for x in numbers]
        terms[k] = jnp.where(known, jnp.asarray(table, y.dtype)[index], terms[k])
    return terms[: order + 1]


@lru_cache(maxsize=64)
def distinct_sums(K: int, order: int) -> tuple[tuple[int, ...], ...]:
    r"""$k!\, e_k$ of K signs as whole numbers, for $k = 0, \dots,$ `order` and the sums
    $K, K - 2, \dots, -K$."""
    sums = range(K, -K - 1, -2)
    rows = [[1] * (K + 1), list(sums)]
    for k in range(2, order + 1):
        factor = (k - 1) * (K - k + 2)
        rows.append([y * a - factor * b for y, a, b in zip(sums, rows[-1], rows[-2], strict=True)])
    return tuple(map(tuple, rows[: order + 1]))


def positive(value: ArrayLike, name: str) -> Array:
    """`value` as a positive scalar array."""
    value = as_float(value, name)
    check_shape(value, name, (), "()")
    check_at_least(value, name, 0.0, strict=True)
    return value


def _signs_only(interaction: AbstractInteraction) -> ValueError:
    return ValueError(
        f"{type(interaction).__name__} is defined for states of +-1 only (its sets of different "
        "neurons); graded states need Quadratic, Power, RectifiedPower, Exponential or Softmax."
    )
