"""Linear stability of one memory among given others."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Inexact, Int

from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation
from ..._types import ArrayLike
from .._told import takes_network
from . import _network
from ._plane import certain
from ._weights import (
    at_memory,
    checked_index,
    checked_memories,
    factors,
    general_eigenvalues,
    greatest_of_all,
    symmetric_eigenvalues,
)


class MemoryEigenvalues(NamedTuple):
    r"""Eigenvalues of the Jacobian at one memory, on the span of the weights; all others are -1.

    `eigenvalues`: by falling real part, shape (P+1,); complex for "pseudo_inverse".
    `greatest`: the largest real part of the whole Jacobian, `stable` whether it is negative by more
    than rounding. `residual`: the greatest distance of a current in the memory from its target, a
    or b. If the rates of the memory do not follow from its currents, it is no equilibrium: the
    eigenvalues are NaN and `stable` is False, whatever a run that starts there may do.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    found = hx.theory.rate.memory_eigenvalues(xi, hx.Logistic(), 0.1, 0.95, 0)
    found.eigenvalues.shape, found.residual < 1e-12  # (7,), True: an equilibrium
    ```
    """

    eigenvalues: Inexact[Array, " P+1"]
    greatest: Float[Array, ""]
    stable: Bool[Array, ""]
    residual: Float[Array, ""]


@takes_network(_network.memory)
def memory_eigenvalues(
    xi: ArrayLike,
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    mu: int | Int[Array, ""],
    learning: str = "projection",
) -> MemoryEigenvalues:
    r"""Exact linear stability of memory mu among any others, from a (P+1) x (P+1) matrix.

    With $W = F^T K F$, F of shape (P+1, N), the Jacobian $-1 + D_\phi W$ has the eigenvalues
    $\lambda - 1$ with $\lambda$ those of $K (F D_\phi F^T)$; all others are -1.

    **Arguments:**

    - `xi`: the memories, 0 or 1, shape (P, N).
    - `phi`, `a`, `b`: as in `design`; activity and overlap are measured on `xi`.
    - `mu`: which memory.
    - `learning`: "projection", "covariance" or "pseudo_inverse".

    A `RateMemory` or `InputDrivenRateMemory`, given first, stands for what it has of these.

    **Returns:** a `MemoryEigenvalues`. Differentiable in a, b and `phi`, for simple eigenvalues. At
    a kink of `phi` the steeper side counts. With "covariance" memories of unequal activities or
    overlaps are no equilibria, unless their neurons are entirely saturated: they have NaN, and
    `residual` says why.

    **Raises:** ValueError for entries other than 0 and 1, unequal activities with "projection",
    memories that are linearly dependent (with "projection" after their mean is taken off), a
    `learning` that does not exist, and as `design` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    found = hx.theory.rate.memory_eigenvalues(xi, hx.Logistic(), 0.1, 0.95, 0)
    found.greatest, found.stable  # -0.5695, True
    ```
    """
    memories = checked_memories(xi, phi, a, b, learning)
    mu = checked_index(mu, memories)
    values, residual = _at_memory(memories, mu)
    greatest = greatest_of_all(values, memories.xi.shape[1])
    return MemoryEigenvalues(values, greatest, certain(-greatest), residual)


@jitted
def _at_memory(memories, mu):
    """Eigenvalues of the Jacobian on the span, and how far the current is off its targets."""
    F, K = factors(memories)
    slopes, residual = at_memory(memories, F, K, mu)
    M = (F * slopes) @ F.T
    if memories.learning == "pseudo_inverse":
        return general_eigenvalues(K @ M) - 1, residual
    return symmetric_eigenvalues(K, M) - 1, residual
