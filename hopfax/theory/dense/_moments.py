"""Exact moments: of Gaussian pairs, of sums of signs, and of products of distinct signs."""

import math
from fractions import Fraction

import jax.numpy as jnp
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
