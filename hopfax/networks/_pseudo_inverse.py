r"""The pseudo-inverse rule reads overlaps through $C^{-1}$, the inverse of a Gram matrix.

Memories of which one is a sum of others have no such inverse. In floating point there always is
one, made of rounding errors and different on every machine. So the condition number
$\|C\| \|C^{-1}\|$ is looked at wherever the inverse is used: in the constructor, which refuses; in
the domain of the network, which becomes the status of a run; and in the inverse itself, which is
NaN.
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import is_concrete
from ..patterns import Patterns
from ._base import Bound

#: An inverse has lost all but the last 6 bits of its digits where the reciprocal of the condition
#: number (in the norm of the largest sum of a column) is this many roundings. Where memories are
#: dependent it is about one rounding.
_ROUNDINGS = 64


def inverse_gram(patterns: Patterns) -> Float[Array, "P P"]:
    """$C^{-1}$; NaN where it does not exist."""
    return known_inverse(patterns.gram())


def known_inverse(gram: Float[Array, "P P"]) -> Float[Array, "P P"]:
    """The inverse of a Gram matrix; NaN where it does not exist."""
    inverse = jnp.linalg.inv(gram)
    return jnp.where(_reciprocal(jnp, gram, inverse) > _least(gram), inverse, jnp.nan)


def independence(patterns: Patterns) -> Iterator[Bound]:
    """The domain of memories for the pseudo-inverse rule: they are linearly independent."""
    label = "the reciprocal condition number of the Gram matrix of patterns"
    hint = f"{_RULE}: leave out those that are sums of others, or use learning='hebbian'."
    yield Bound("patterns.xi", _condition(patterns), _least(patterns), True, hint, label)


def check_independent(patterns: Patterns) -> None:
    """ValueError for memories that the pseudo-inverse rule cannot store, as far as is known."""
    P, N = patterns.xi.shape
    if P > N:
        raise ValueError(f"{_RULE}, but {P} memories of {N} neurons cannot be.")
    if is_concrete(patterns.xi) and not _condition(patterns) > _least(patterns):
        raise ValueError(
            f"{_RULE}, but memory {_first_dependent(patterns)} of `patterns` is a sum of multiples "
            f"of those before it, to the rounding of {patterns.dtype}. Leave it out, or use "
            "learning='hebbian'."
        )


_RULE = "learning='pseudo_inverse' needs linearly independent memories"


def _least(numbers: Patterns | Array) -> float:
    return _ROUNDINGS * float(jnp.finfo(numbers.dtype).eps)


def _condition(patterns: Patterns) -> Any:
    """The reciprocal condition number of the Gram matrix, 0 for a singular one."""
    if not (is_concrete(patterns.xi) and is_concrete(patterns.counts)):
        gram = patterns.gram()
        return _reciprocal(jnp, gram, jnp.linalg.inv(gram))
    xi = np.asarray(patterns.xi)  # known, also inside a trace
    counts = np.ones(patterns.N) if patterns.counts is None else np.asarray(patterns.counts)
    gram = (xi * (counts / counts.sum()).astype(xi.dtype)) @ xi.T
    try:
        return _reciprocal(np, gram, np.linalg.inv(gram))
    except np.linalg.LinAlgError:
        return np.zeros((), gram.dtype)


def _reciprocal(numpy: Any, matrix: Any, inverse: Any) -> Any:
    condition = numpy.abs(matrix).sum(0).max() * numpy.abs(inverse).sum(0).max()
    return numpy.where(numpy.isfinite(condition), 1 / condition, 0.0)


def _first_dependent(patterns: Patterns) -> int:
    """The first memory that adds least to the span of those before it, compared with its length."""
    triangle = np.linalg.qr(np.asarray(patterns.xi, float).T, mode="r")
    lengths = np.linalg.norm(triangle, axis=0)
    added = np.abs(np.diagonal(triangle)) / lengths
    small = added < np.sqrt(_least(patterns))
    return int(np.argmax(small)) if small.any() else int(np.argmin(added))
