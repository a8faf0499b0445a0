"""Noise kernels: what a Gaussian pair of overlaps makes of the force of an interaction."""

import abc
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._interactions import (
    AbstractInteraction,
    Exponential,
    ManyBody,
    Power,
    Quadratic,
    RectifiedPower,
    Simplicial,
    Softmax,
)

Values = Float[Array, "..."]


class Kernel(eqx.Module):
    r"""The noise kernel $K(C) = E\, f(x) f(y)$ of a force $f$, with $x, y$ of covariance C.

    At $M = \alpha N^{n-1}$ memories the fields of two times whose states have overlap C carry noise
    of covariance $\alpha K(C)$, and react to what the neuron itself did with strength
    $\alpha K'(C)$ times the response: one function defines the dynamics.

    **Arguments:**

    - `function`: $K$, written with jax.numpy, elementwise. A function defined once at module level
      or a Module; a fresh lambda makes everything compile again.
    - `order`: $n \ge 3$; the signal is $m^{n-1}$.

    `hopfax.theory.dense.kernel` makes those of the interactions.
    """

    function: Callable
    order: int = eqx.field(static=True)

    def __init__(self, function: Callable, order: int):
        if not callable(function):
            raise TypeError(f"`function` must be a function C -> K(C), got {function!r}.")
        if not isinstance(order, int) or isinstance(order, bool):
            raise TypeError(f"`order` must be a Python int, got {order!r}.")
        if order < 3 and not isinstance(function, _Form):
            raise ValueError(
                f"`order` of a kernel of your own must be at least 3, got {order}: at order 2 the "
                "memories react to each other and K alone does not define the dynamics."
            )
        self.function = function
        self.order = order

    def __call__(
        self, C: Values, variance: Values | None = None, other: Values | None = None
    ) -> Values:
        r"""$K(C)$; for states that are not signs $K$ at the variances $\langle h(t)^2 \rangle$ and
        $\langle h(t')^2 \rangle$.

        **Raises:** ValueError for variances where only signs are known (a function of your own).
        """
        if variance is None and other is None:
            return self.function(C)
        function = self.function
        if not isinstance(function, _Form):
            raise ValueError(
                "this kernel was given for signs only, as a function of C; graded states need "
                "`kernel(interaction)`, which knows the variances as well."
            )
        one = jnp.ones((), C.dtype)
        return function.graded(
            C, one if variance is None else variance, one if other is None else other
        )

    def slope(
        self, C: Values, variance: Values | None = None, other: Values | None = None
    ) -> Values:
        r"""$K'(C)$ at fixed variances."""
        return jax.jvp(lambda C: self(C, variance, other), (C,), (jnp.ones_like(C),))[1]

    def signal(self, m: Values) -> Values:
        r"""What the recalled memory contributes to the field at overlap m: $m^{n-1}$, its positive
        part for a rectified force."""
        if isinstance(function := self.function, _Form):
            return function.signal(m)
        return m ** (self.order - 1)

    @property
    def resummed(self) -> bool:
        """Whether memories react to each other (order 2)."""
        return isinstance(self.function, _Linear)

    @property
    def input_driven(self) -> bool:
        """Whether the memories are weighted by their overlap with an input."""
        return isinstance(self.function, _InputDriven)


def kernel(interaction: AbstractInteraction | Kernel) -> Kernel:
    r"""The noise kernel of an interaction.

    With $A_{pk} = (p!)^2 / (4^{(p-k)/2} ((p-k)/2)!^2\, k!)$ for even $p - k \ge 0$ and $p = n - 1$:

    | interaction | $K(C)$ |
    |---|---|
    | `Quadratic`, order 2 | $C$, and the memories react to each other |
    | `Power` | $\sum_k A_{pk} C^k$ |
    | `RectifiedPower` | half the arc-cosine kernel of order p, normalised to $(2p-1)!!/2$ at 1 |
    | `ManyBody` | $p!\, C^p$ |
    | `Simplicial` | $\sum_k (k b_k / n)^2 (k-1)!\, C^{k-1}$ |

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`, which comes back as it is.

    **Returns:** a `Kernel`.

    **Raises:** ValueError for Exponential and Softmax, whose noise is not Gaussian, and for a
    rectified force of order 2, for which the theory is not known.

    Assumes independent unbiased patterns and $N \to \infty$; the rectified force, which mixes even
    and odd powers, gets there with corrections of $O(N^{-1/2})$, the others of $O(1/N)$.
    Arc-cosine kernels: Cho, Saul 2009. Mimura, Takeuchi, Sumikawa, Kabashima, Coolen 2026,
    arXiv:2506.00851.
    """
    match interaction:
        case Kernel():
            return interaction
        case Quadratic():
            return Kernel(_Linear(), 2)
        case Power(order=2) | ManyBody(order=2):
            return Kernel(_Linear(), 2)
        case Power(order=n):
            return Kernel(_Power(n - 1), n)
        case ManyBody(order=n):
            return Kernel(_ManyBody(n - 1), n)
        case RectifiedPower(order=n):
            if n == 2:
                raise ValueError(
                    "`interaction` RectifiedPower(2) has no exact theory: at order 2 the memories "
                    "react to each other, which is resummed for linear forces only. Use order 3 "
                    "or more, or Quadratic()."
                )
            return Kernel(_Rectified(n - 1), n)
        case Simplicial():
            if interaction.order == 2:
                raise ValueError(
                    "`interaction` Simplicial of order 2 is a quadratic network with a random "
                    "field, for which no theory is derived; use Quadratic() or order 3 or more."
                )
            return Kernel(_Mixture(dict(interaction.weights)), interaction.order)
        case Exponential() | Softmax():
            raise ValueError(
                f"`interaction` {type(interaction).__name__} has no Gaussian kernel: a few "
                "memories make most of its noise. Its one-step thresholds are those of "
                "`hopfax.theory.dense.exponential_load`."
            )
    raise TypeError(
        f"`interaction` must be an interaction of hopfax or a Kernel, got {interaction!r}. Wrap a "
        "function C -> K(C) of your own as Kernel(function, order)."
    )


def input_driven_kernel() -> Kernel:
    r"""The kernel of the input-driven network, $W = \sum_\mu (\xi^\mu \cdot y)\, \xi^\mu
    \xi^{\mu T}$.

    With a fixed input y of $\pm 1$ and $M = \alpha N^2$ memories the noise has covariance
    $\alpha\, [C(t, t') + 2 c(t) c(t')]$, $c(t) = \langle y\, h(t) \rangle$, and the signal is
    $\mu m$, $\mu$ = `stimulus_overlap`, the overlap of the input with the recalled memory.

    **Returns:** a `Kernel` of order 3 with $K(C) = C$.

    Network: Betteti, Baggio, Bullo, Zampieri 2025. The theory at this load is derived here.
    """
    return Kernel(_InputDriven(), 3)


def pair_moments(p: int) -> tuple[int, ...]:
    r"""$A_{pk}$ of $E\,x^p y^p = \sum_k A_{pk} C^k$ for $k = 0, \dots, p$."""
    factor = math.factorial
    return tuple(
        factor(p) ** 2 // (2 ** (p - k) * factor((p - k) // 2) ** 2 * factor(k))
        if (p - k) % 2 == 0
        else 0
        for k in range(p + 1)
    )


class _Form(eqx.Module):
    """A kernel that knows its signal, variances and finite sizes."""

    @abc.abstractmethod
    def __call__(self, C) -> Any:
        """K(C) of signs."""

    @abc.abstractmethod
    def graded(self, C, a, b) -> Any:
        """K(C) at variances a and b."""

    @abc.abstractmethod
    def signal(self, m) -> Any:
        """The signal of the recalled memory."""

    @abc.abstractmethod
    def finite(self, y, N) -> Any:
        """The force at overlap y with N - 1 neurons over $N^p$, and its second moment over random
        signs, over $N^{2p}$: neither overflows."""


class _Linear(_Form):
    def __call__(self, C):
        return C

    def graded(self, C, a, b):
        return C

    def signal(self, m):
        return m

    def finite(self, y, N):
        return y / N, (N - 1) / N**2


class _InputDriven(_Form):
    def __call__(self, C):
        return C

    def graded(self, C, a, b):
        return C

    def signal(self, m):
        return m

    def finite(self, y, N):
        raise ValueError("`interaction` must not be the input-driven network: not derived.")


class _Power(_Form):
    p: int = eqx.field(static=True)

    def __call__(self, C):
        return self.graded(C, jnp.ones_like(C), jnp.ones_like(C))

    def graded(self, C, a, b):
        terms = enumerate(pair_moments(self.p))
        return sum(A * (a * b) ** ((self.p - k) // 2) * C**k for k, A in terms if A)

    def signal(self, m):
        return m**self.p

    def finite(self, y, N):
        return (y / N) ** self.p, float(
            Fraction(moment_of_signs(N - 1, 2 * self.p), N ** (2 * self.p))
        )


class _ManyBody(_Form):
    p: int = eqx.field(static=True)

    def __call__(self, C):
        return math.factorial(self.p) * C**self.p

    def graded(self, C, a, b):
        return self(C)

    def signal(self, m):
        return m**self.p

    def finite(self, y, N):
        return distinct(y / N, N, self.p), _distinct_noise(N, self.p)


class _Mixture(_Form):
    weights: dict[int, Float[Array, ""]]

    def _sizes(self, dtype):
        n = max(self.weights)
        return {k: (k / n) * b.astype(dtype) for k, b in self.weights.items()}

    def __call__(self, C):
        sizes = self._sizes(C.dtype).items()
        return sum(size**2 * math.factorial(k - 1) * C ** (k - 1) for k, size in sizes)

    def graded(self, C, a, b):
        return self(C)

    def signal(self, m):
        n = max(self.weights)
        return self._sizes(m.dtype)[n] * m ** (n - 1)

    def finite(self, y, N):
        n = max(self.weights)
        force, noise = jnp.zeros_like(y), jnp.zeros((), y.dtype)
        for k, size in self._sizes(y.dtype).items():
            force = force + size * float(N) ** ((k - n) / 2) * distinct(y / N, N, k - 1)
            noise = noise + size**2 * float(N) ** (k - n) * _distinct_noise(N, k - 1)
        return force, noise


class _Rectified(_Form):
    p: int = eqx.field(static=True)

    def __call__(self, C):
        return _arc_cosine(self.p, C)

    def graded(self, C, a, b):
        size = jnp.sqrt(a * b)
        return size**self.p * _arc_cosine(self.p, C / size)

    def signal(self, m):
        return jnp.maximum(m, 0.0) ** self.p

    def finite(self, y, N):
        moment = Fraction(moment_of_signs(N - 1, 2 * self.p), 2 * N ** (2 * self.p))
        return (jnp.maximum(y, 0.0) / N) ** self.p, float(moment)


def _arc_cosine(p, c):
    r"""$E \max(x, 0)^p \max(y, 0)^p$; its slope is $p^2$ times the same of $p - 1$ (Price)."""

    @jax.custom_jvp
    def value(c):
        around, angle = _arc_cosine_polynomials(p)
        c = jnp.clip(c, -1.0, 1.0)  # here, as its derivative at 1 would be a half
        even = _polynomial(angle, c) * (jnp.pi - jnp.arccos(c))
        return (_polynomial(around, c) * jnp.sqrt(1 - c**2) + even) / (2 * jnp.pi)

    @value.defjvp
    def _(primals, tangents):
        (c,), (dc,) = primals, tangents
        slope = p**2 * _arc_cosine(p - 1, c) if p else 1 / (2 * jnp.pi * jnp.sqrt(1 - c**2))
        return value(c), slope * dc

    return value(c)


@lru_cache
def _arc_cosine_polynomials(p):
    r"""P and Q of $J_p = P(c) \sin\theta + Q(c) (\pi - \theta)$, $c = \cos\theta$, by
    $J_p' = p^2 J_{p-1}$: $Q = \sum_k A_{pk} c^k$, $(1 - c^2) P' - c P = p^2 (1 - c^2) P_{p-1} - Q$.
    """
    if p == 0:
        return (), (1.0,)
    before = [Fraction(x) for x in _arc_cosine_polynomials(p - 1)[0]]
    right = [-Fraction(a) for a in pair_moments(p)] + [Fraction(0)] * 2
    for i, value in enumerate(before):
        right[i] += p**2 * value
        right[i + 2] -= p**2 * value
    P = [Fraction(0)] * (p + 2)
    for i in range(p, 0, -1):
        P[i - 1] = ((i + 1) * P[i + 1] - right[i]) / i
    return tuple(float(x) for x in P[:p]), tuple(float(a) for a in pair_moments(p))


def _polynomial(coefficients, c):
    total = jnp.zeros_like(c)
    for a in coefficients[::-1]:
        total = total * c + a
    return total


# Finite sizes


def moment_of_signs(K: int, order: int) -> int:
    """$E Y^{order}$ of the sum Y of K independent signs, exactly: the coefficient of cosh(t)^K."""
    half = order // 2
    f = [Fraction(1, math.factorial(2 * j)) for j in range(half + 1)]
    g = [Fraction(1)]
    for m in range(1, half + 1):
        terms = ((K * j - (m - j)) * f[j] * g[m - j] for j in range(1, m + 1))
        g.append(sum(terms, Fraction(0)) / m)
    return int(g[half] * math.factorial(order))


def distinct(x: Values, N: int, k: int) -> Values:
    r"""$k!\, e_k / N^k$ of N - 1 signs with sum $N x$ (written apart from the interactions)."""
    older, last = jnp.ones_like(x), x
    for j in range(2, k + 1):
        older, last = last, x * last - (j - 1) * (N + 1 - j) / N**2 * older
    return last if k else older


def _distinct_noise(N, k):
    return float(Fraction(math.factorial(k) ** 2 * math.comb(N - 1, k), N ** (2 * k)))


def finite(kernel: Kernel, y: Values, N: int) -> tuple[Values, Any]:
    """Force of one memory at N neurons over $N^p$, and its second moment over $N^{2p}$."""
    if not isinstance(kernel.function, _Form):
        raise ValueError(
            "`interaction` must be one of hopfax: a function K(C) of your own does not say what "
            "the force is at finite N."
        )
    return kernel.function.finite(y, N)
