"""Sums over sets of different signs: elementary symmetric polynomials."""

import math
from functools import lru_cache

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._misc import not_differentiable

_EXACT_BELOW = 4  # orders up to this are as exact by recursion
_EXACT_SIGNS = 256  # up to so many signs higher orders are looked up
_OF_SIGNS = (
    "sums over sets of different neurons (ManyBody, Simplicial) have no derivative with respect to "
    "patterns or states here: they are computed by an identity that holds for signs only. "
    "Differentiate the weights alone, or use Power."
)

Values = Float[Array, "..."]


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
