r"""Interactions of dense associative memories: the function $F$ of $E = -\sum_\mu F(X_\mu)$.

$X_\mu = \sum_i \xi^\mu_i h_i$ is the overlap of the state with a memory, not divided by N. Neuron
$i$ feels the field $u_i \propto \sum_\mu \xi^\mu_i f(X^\mu_i)$. Here $f = F'/r$ is the **reduced**
force, without a constant factor $r$ of the derivative, and $X^\mu_i$ is the overlap without
neuron $i$.
"""

import abc
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from ._distinct import distinct
from ._errors import as_count, as_float, as_number, check_at_least, check_finite, check_shape, shown
from ._types import ArrayLike

Values = Float[Array, "..."]


class AbstractInteraction(eqx.Module):
    r"""How the overlap with a memory enters the energy.

    To add one, write a final subclass, with functions of jax.numpy. `exponential` says whether
    forces are $e^{\beta X}$ up to a constant factor; they are then added with their largest
    exponent taken out, as they would overflow. An attribute `order`, if there is one, is the number
    n of neurons that interact at once: energies are then of size $N^n$. With an order, and a force
    proportional to $|y|^{n-1}$ on either side of zero, `hopfax.theory.dense` holds for it, too.

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
    order = as_number(order, "order")
    if order.is_integer() and order >= 2:
        return _order(int(order))
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
        self.weights = _weights(weights)

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


class Polynomial(AbstractInteraction):
    r"""A sum of powers of several orders,

    $$F(X) = \sum_k b_k\, N^{(n-k)/2}\, X^k, \qquad
    f(X) = \sum_k \frac kn\, b_k\, N^{(n-k)/2}\, X^{k-1}, \qquad n = \max k,$$

    such as pairs and triples of neurons together. The scaling is that of `Simplicial`, whose sets
    of different neurons are here replaced by powers: at $M = \alpha N^{n-1}$ memories all orders
    contribute noise of the same size, but only the highest one contributes signal.

    **Arguments:** `weights`: $b_k$ for every order $k$ (a Python int, at least 1), as a dict.

    **Raises:** ValueError/TypeError for other orders or weights, or if the highest order is 1.

    **Example:**

    ```python
    interaction = hx.Polynomial({2: 0.5, 3: 1.0})
    interaction.potential(jnp.array(16.0), 16)  # 4608.0 = 16^3 + 0.5 * 4 * 16^2
    hx.theory.dense.capacity(interaction).load  # 0.0811: pairs add noise to that of Power(3)
    ```
    """

    weights: dict[int, Float[Array, ""]]
    exponential = False

    def __init__(self, weights: Mapping[int, ArrayLike]):
        self.weights = _weights(weights)

    @property
    def order(self) -> int:
        """The highest order $n$."""
        return max(self.weights)

    def potential(self, X, N):
        return sum(size * X**k for k, size in self._sizes(X, N).items())

    def force(self, y, N):
        n = self.order
        return sum((k / n) * size * y ** (k - 1) for k, size in self._sizes(y, N).items())

    def _sizes(self, X: Values, N: int | Values) -> dict[int, Values]:
        """$b_k N^{(n-k)/2}$."""
        n = self.order
        return {k: b.astype(X.dtype) * N ** ((n - k) / 2) for k, b in self.weights.items()}

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        n = self.order
        sizes = {k: b.astype(m.dtype) * N ** ((k - n) / 2) for k, b in self.weights.items()}
        return jnp.stack([size * m**k for k, size in sizes.items()]).sum() / n


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


def _weights(weights: Any) -> dict[int, Array]:
    """Weights of orders, the highest of which is at least 2, as scalar arrays."""
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f"`weights` must be a dict of order -> weight, got {shown(weights)}.")
    orders = sorted(as_count(order, "order", 1) for order in weights)
    found = {order: as_float(weights[order], f"weights[{order}]") for order in orders}
    for order, weight in found.items():
        check_shape(weight, f"weights[{order}]", (), "()")
        check_finite(weight, f"weights[{order}]")
    as_count(max(weights), "order", 2)
    return found


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
