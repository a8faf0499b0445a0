"""Exact moments: of Gaussian pairs, of sums of signs, and of products of distinct signs."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def pair_moments(p: int) -> tuple[int, ...]:
    r"""$A_{pk}$ of $E\,x^p y^p = \sum_k A_{pk} C^k$ for $k = 0, \dots, p$."""
    factor = math.factorial
    return tuple(
        factor(p) ** 2 // (2 ** (p - k) * factor((p - k) // 2) ** 2 * factor(k))
        if (p - k) % 2 == 0
        else 0
        for k in range(p + 1)
    )


def moment_of_signs(K: int, order: int) -> int:
    """$E Y^{order}$ of the sum Y of K independent signs, exactly: the coefficient of cosh(t)^K."""
    half = order // 2
    f = [Fraction(1, math.factorial(2 * j)) for j in range(half + 1)]
    g = [Fraction(1)]
    for m in range(1, half + 1):
        terms = ((K * j - (m - j)) * f[j] * g[m - j] for j in range(1, m + 1))
        g.append(sum(terms, Fraction(0)) / m)
    return int(g[half] * math.factorial(order))


def absolute_moment(N: int, order: int | float) -> float:
    r"""$E\, |Y/N|^{order}$ of the sum Y of N - 1 independent signs: exactly for even orders, else
    to rounding."""
    if isinstance(order, int) and order % 2 == 0:
        return float(Fraction(moment_of_signs(N - 1, order), N**order))
    K = N - 1
    far = min(K, int(40 * math.sqrt(N)))  # what is beyond is less than 1e-300 of all
    y = np.arange(K % 2, far + 1, 2.0)
    ratios = np.log((K + 2 - y[1:]) / (K + y[1:]))  # of the binomials of y and y - 2
    weights = np.exp(np.concatenate([[0.0], np.cumsum(ratios)])) * np.where(y > 0, 2.0, 1.0)
    return float(weights @ (y / N) ** order / weights.sum())


def distinct(x: Float[Array, "..."], N: int, k: int) -> Float[Array, "..."]:
    r"""$k!\, e_k / N^k$ with $e_k$ the k-th elementary symmetric polynomial of N - 1 signs with sum
    $N x$, by the recursion in k. Written apart from `hopfax._interactions`, which it is tested
    against."""
    older, last = jnp.ones_like(x), x
    for j in range(2, k + 1):
        older, last = last, x * last - (j - 1) * (N + 1 - j) / N**2 * older
    return last if k else older


def distinct_noise(N: int, k: int) -> float:
    r"""The second moment of `distinct` over N - 1 random signs, $k!^2 \binom{N-1}{k} / N^{2k}$."""
    return float(Fraction(math.factorial(k) ** 2 * math.comb(N - 1, k), N ** (2 * k)))
