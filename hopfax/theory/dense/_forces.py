"""Forces of the interactions, as a Gaussian pair of overlaps and a finite network see them."""

import abc
import math
from fractions import Fraction
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._interactions import AbstractInteraction
from ._moments import absolute_moment, distinct, distinct_noise, moment_of_signs, pair_moments

Values = Float[Array, "..."]


class AbstractForce(eqx.Module):
    """A force that knows its kernel, its signal, and both at finite N."""

    @abc.abstractmethod
    def __call__(self, C: Values) -> Values:
        """K(C) for states that are signs."""

    @abc.abstractmethod
    def largest(self) -> int:
        """K(1), rounded up, where no weights are known."""

    @abc.abstractmethod
    def graded(self, C: Values, a: Values, b: Values) -> Values:
        """K(C) for states of the variances a and b."""

    @abc.abstractmethod
    def signal(self, m: Values) -> Values:
        """The signal of the recalled memory at overlap m."""

    @abc.abstractmethod
    def finite(self, y: Values, N: int) -> tuple[Values, float | Float[Array, ""]]:
        """The force at overlap y with N - 1 neurons, over $N^p$, and its second moment over random
        signs, over $N^{2p}$. Divided like this neither overflows."""


class Linear(AbstractForce):
    """$f(y) = y$ of order 2. The kernel is half of the story: the memories react to each other."""

    def __call__(self, C):
        return C

    def largest(self):
        return 1

    def graded(self, C, a, b):
        return C

    def signal(self, m):
        return m

    def finite(self, y, N):
        return y / N, (N - 1) / N**2


class InputDriven(AbstractForce):
    r"""$f(y) = y$, with memories that are weighted by their overlap with an input."""

    def __call__(self, C):
        return C

    def largest(self):
        return 1

    def graded(self, C, a, b):
        return C

    def signal(self, m):
        return m

    def finite(self, y, N):
        raise ValueError("`interaction` must not be the input-driven network: not derived.")


class Power(AbstractForce):
    """$f(y) = y^p$."""

    p: int = eqx.field(static=True)

    def __call__(self, C):
        return self.graded(C, jnp.ones_like(C), jnp.ones_like(C))

    def largest(self):
        return math.prod(range(1, 2 * self.p, 2))

    def graded(self, C, a, b):
        terms = enumerate(pair_moments(self.p))
        return sum(float(A) * (a * b) ** ((self.p - k) // 2) * C**k for k, A in terms if A)

    def signal(self, m):
        return m**self.p

    def finite(self, y, N):
        return (y / N) ** self.p, float(
            Fraction(moment_of_signs(N - 1, 2 * self.p), N ** (2 * self.p))
        )


class ManyBody(AbstractForce):
    r"""$f = p!\, e_p$, the p-th elementary symmetric polynomial of the products $\xi_j h_j$."""

    p: int = eqx.field(static=True)

    def __call__(self, C):
        return float(math.factorial(self.p)) * C**self.p

    def largest(self):
        return math.factorial(self.p)

    def graded(self, C, a, b):
        return self(C)

    def signal(self, m):
        return m**self.p

    def finite(self, y, N):
        return distinct(y / N, N, self.p), distinct_noise(N, self.p)


class Mixture(AbstractForce):
    """A sum of many-body forces, with a weight for each order."""

    weights: dict[int, Float[Array, ""]]

    def _sizes(self, dtype):
        n = max(self.weights)
        return {k: (k / n) * b.astype(dtype) for k, b in self.weights.items()}

    def __call__(self, C):
        sizes = self._sizes(C.dtype).items()
        return sum(size**2 * float(math.factorial(k - 1)) * C ** (k - 1) for k, size in sizes)

    def largest(self):
        return math.factorial(max(self.weights) - 1)

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
            noise = noise + size**2 * float(N) ** (k - n) * distinct_noise(N, k - 1)
        return force, noise


class Polynomial(AbstractForce):
    r"""A sum of powers, $\sum_k w_k N^{(n-k)/2} y^{k-1}$ with $w_k = k b_k / n$."""

    weights: dict[int, Float[Array, ""]]

    def _sizes(self, dtype):
        n = max(self.weights)
        return {k: (k / n) * b.astype(dtype) for k, b in self.weights.items()}

    def __call__(self, C):
        return self.graded(C, jnp.ones_like(C), jnp.ones_like(C))

    def largest(self):
        return math.prod(range(1, 2 * max(self.weights) - 2, 2))

    def graded(self, C, a, b):
        # In Hermite polynomials, E He_j(x) He_j(y) = j! C^j, at the variances a and b.
        total = jnp.zeros_like(C * a * b)
        for j in range(max(self.weights)):
            left, right = self._coefficient(j, a), self._coefficient(j, b)
            total = total + float(math.factorial(j)) * left * right * C**j
        return total

    def _coefficient(self, j, variance):
        total = jnp.zeros_like(variance)
        for k, size in self._sizes(variance.dtype).items():
            if (half := k - 1 - j) >= 0 and half % 2 == 0:
                half //= 2
                pairs = math.factorial(k - 1) / (2**half * math.factorial(half))
                total = total + size * (pairs / math.factorial(j)) * variance**half
        return total

    def signal(self, m):
        n = max(self.weights)
        return self._sizes(m.dtype)[n] * m ** (n - 1)

    def finite(self, y, N):
        n, root = max(self.weights), float(N) ** 0.5
        sizes = {k: size * root ** (k - n) for k, size in self._sizes(y.dtype).items()}
        force = sum(size * (y / N) ** (k - 1) for k, size in sizes.items())
        noise = jnp.zeros((), y.dtype)
        for k, one in sizes.items():
            for q, other in sizes.items():
                if (power := k + q - 2) % 2 == 0:
                    noise = noise + one * other * absolute_moment(N, power)
        return force, noise


class Rectified(AbstractForce):
    r"""$f(y) = \max(y, 0)^p$."""

    p: int | float = eqx.field(static=True)

    def __call__(self, C):
        return _arc_cosine(self.p, C)

    def largest(self):
        return _moment(self.p)

    def graded(self, C, a, b):
        size = jnp.sqrt(a * b)
        return size**self.p * _arc_cosine(self.p, C / size)

    def signal(self, m):
        return jnp.maximum(m, 0.0) ** self.p

    def finite(self, y, N):
        return (jnp.maximum(y, 0.0) / N) ** self.p, absolute_moment(N, 2 * self.p) / 2


class Own(AbstractForce):
    r"""A force that is proportional to $|y|^p$ on either side of zero, of an interaction of one's
    own: $f(y) = a \max(y, 0)^p + b \max(-y, 0)^p$ in units of its scale. Any homogeneous function
    of one variable is of this form."""

    interaction: AbstractInteraction
    p: int | float = eqx.field(static=True)

    def sides(self, dtype):
        """The factors a and b."""
        y = jnp.asarray([1.0, -1.0], dtype) * _SIDES
        return self.interaction.force(y, _SIDES) / self.interaction.scale(_SIDES)

    def __call__(self, C):
        return self.graded(C, jnp.ones_like(C), jnp.ones_like(C))

    def largest(self):
        return _moment(self.p)

    def graded(self, C, a, b):
        up, down = self.sides(C.dtype)
        size = jnp.sqrt(a * b)
        alike, opposite = (_arc_cosine(self.p, s * C / size) for s in (1, -1))
        return size**self.p * ((up**2 + down**2) * alike + 2 * up * down * opposite)

    def signal(self, m):
        up, down = self.sides(m.dtype)
        return jnp.where(m > 0, up, down) * jnp.abs(m) ** self.p

    def finite(self, y, N):
        up, down = self.sides(y.dtype)
        return self.signal(y / N), (up**2 + down**2) / 2 * absolute_moment(N, 2 * self.p)


_SIDES = 64  # neurons at which the sides of a force are evaluated; any number will do


def _moment(p):
    r"""$E\, |g|^{2p}$ of a unit Gaussian, $(2p - 1)!!$, rounded up."""
    if isinstance(p, int):
        return math.prod(range(1, 2 * p, 2))
    return math.ceil(math.exp(math.lgamma(p + 0.5) + p * math.log(2.0) - math.log(math.pi) / 2))


def _arc_cosine(p, c):
    r"""$E \max(x, 0)^p \max(y, 0)^p$ of unit Gaussians with correlation c.

    In polar coordinates, where x and y are the distance times the cosines of two angles that differ
    by $\arccos c$, it is an integral of positive terms, which loses no digits at any c:

    $$J_p(c) = \frac{p!}{2\pi} \int_0^{\pi - \arccos c} (\cos u + c)^p\, du,$$

    with $p! = \Gamma(p + 1)$ where p is no whole number. By Price's theorem its slope is $p^2$
    times the same of $p - 1$. This is given as a rule of differentiation, since that of the formula
    itself is 0 / 0 at c = 1 and c = -1.
    """

    @jax.custom_jvp
    def value(c):
        c = jnp.clip(c, -1.0, 1.0)  # here, as its derivative at 1 would be a half
        rest, weights = (jnp.asarray(part, c.dtype) for part in _legendre())
        last = 2 * jnp.arcsin(jnp.sqrt((1 + c) / 2))  # of u, where cos u = -c
        # cos u + c, without the difference of two numbers near 1, at u = last (1 - rest)
        half = last[..., None] / 2
        height = 2 * jnp.sin(half * (2 - rest)) * jnp.sin(half * rest)
        mean = (weights * jnp.where(height > 0, height, 1.0 if p == 0 else 0.0) ** p).sum(-1)
        factorial = math.factorial(p) if isinstance(p, int) else math.gamma(p + 1)
        return float(factorial) / (2 * math.pi) * last * mean

    @value.defjvp
    def _(primals, tangents):
        (c,), (dc,) = primals, tangents
        slope = p**2 * _arc_cosine(p - 1, c) if p else 1 / (2 * jnp.pi * jnp.sqrt(1 - c**2))
        return value(c), slope * dc

    return value(c)


@lru_cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (0, 1) and weights of a quadrature that is exact to rounding for every order: that
    of Legendre in the square root, in which fractional powers at 0 are smooth enough."""
    nodes, weights = np.polynomial.legendre.leggauss(96)
    root = (nodes + 1) / 2
    return root**2, root * weights
