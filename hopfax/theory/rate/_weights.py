r"""Given memories and their weights as factors, $W = F^T K F$.

F has shape (P+1, N): a row for each memory and a constant one. The Jacobian at a memory,
$-1 + D_\phi W$, is -1 on all vectors that F maps to zero. What remains is a matrix of size P + 1,
so that its eigenvalues cost $P^2 N$ and not $N^3$.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from ..._errors import as_index, check_option
from ..._misc import differentiable_once
from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation, steepest
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar, floats
from ._design import Stored, check_phi, checked_design

_LEARNING = ("projection", "covariance", "pseudo_inverse")


class Memories(NamedTuple):
    """Memories, the design that stores them, and how the weights are made from it."""

    xi: Float[Array, "P N"]
    stored: Stored
    learning: str


@jitted
def measure(xi):
    """Activity of 0/1 patterns, and the mean overlap of two of them in units of q N; that of a
    single pattern is q, as if it had an independent companion."""
    P, N = xi.shape
    q = xi.mean()
    if P == 1:
        return q, q
    pairs = ((xi.sum(0) ** 2).sum() - (xi**2).sum()) / (P * (P - 1))
    return q, pairs / (q * N)


def factors(memories: Memories) -> tuple[Array, Array]:
    """F and K. K is symmetric, unless `learning` is "pseudo_inverse"."""
    xi, (_, a, _, q, _, made), learning = memories
    P, N = xi.shape
    one = jnp.ones((1, N), xi.dtype)
    K = jnp.zeros((P + 1, P + 1), xi.dtype)
    if learning == "pseudo_inverse":  # target currents kappa Xbar + (a - kappa phi_a) 1 1^T
        rows = made.silent + (made.active - made.silent) * xi
        inverse = jnp.linalg.inv(rows @ rows.T / N)
        K = K.at[:P, :P].set(made.kappa * inverse)
        K = K.at[P, :P].set((a - made.kappa * made.silent) * inverse.sum(0))
    elif learning == "projection":
        rows = xi - q
        inverse = jnp.linalg.inv(rows @ rows.T / N)
        K = K.at[:P, :P].set(made.kappa * inverse).at[P, P].set(made.gamma)
    else:
        rows = xi - made.beta
        K = jnp.diag(jnp.append(jnp.full(P, made.alpha), made.gamma))
    return jnp.concatenate([rows, one]) / N**0.5, K


def target(memories: Memories, mu: Int[Array, ""]) -> Array:
    """Currents of memory mu: a where it is silent, b where it is active."""
    stored = memories.stored
    return stored.a + (stored.b - stored.a) * memories.xi[mu]


def at_memory(memories: Memories, F: Array, K: Array, mu: Int[Array, ""]) -> tuple[Array, Array]:
    """Slopes of all neurons at memory mu, and the greatest distance of a current from its target.

    If the currents do not lead to the rates of the memory, it is no equilibrium, and the slopes are
    NaN: nothing that is said of a perturbation there would be about a state in which the network
    rests. Saturated neurons rest where their currents are off.
    """
    phi, made, wanted = memories.stored.phi, memories.stored.made, target(memories, mu)
    rates = made.silent + (made.active - made.silent) * memories.xi[mu]
    currents = F.T @ (K @ (F @ rates))
    residual, rounding = abs(currents - wanted).max(), jnp.finfo(F.dtype).eps ** 0.5
    exact = residual <= rounding * abs(wanted).max()  # then they are known better than computed
    currents = jnp.where(exact, wanted, currents)
    rests = exact | (abs(phi(currents) - rates).max() <= rounding * made.active)
    return jnp.where(rests, steepest(phi, currents), jnp.nan), residual


# Eigenvalues

_SECOND = (
    "second derivatives of eigenvalues are not known here, whose vectors are held fixed: take "
    "differences of first derivatives, by jax.grad or jax.jvp."
)


def symmetric_eigenvalues(K, M):
    """Eigenvalues of K M, greatest first, for symmetric K and M >= 0: they are real.

    Each is a quotient t.MKMt / t.Mt, which does not change to first order with its vector t. So the
    vectors are frozen, and the derivatives are those of simple eigenvalues.
    """
    K, M = differentiable_once((K, M), _SECOND)
    frozen_K, frozen_M = stop_gradient((K, M))
    squares, V = jnp.linalg.eigh(frozen_M)
    full = squares > jnp.finfo(M.dtype).eps * M.shape[0] * squares[-1]
    roots = jnp.sqrt(jnp.where(full, squares, 0.0))
    U = jnp.linalg.eigh(roots[:, None] * (V.T @ frozen_K @ V) * roots)[1]
    T = V @ (U * jnp.where(full, 1 / jnp.where(full, roots, 1.0), 0.0)[:, None])
    MT = M @ T
    norms = (T * MT).sum(0)
    there = norms > 0.5  # 1, or 0 where M vanishes
    values = jnp.where(there, (MT * (K @ MT)).sum(0) / jnp.where(there, norms, 1.0), 0.0)
    known = jnp.isfinite(K).all() & jnp.isfinite(M).all()
    return jnp.where(known, -jnp.sort(-values), jnp.nan)


def general_eigenvalues(matrix):
    """Complex eigenvalues, the greatest real part first; NaN for a matrix that is not finite."""
    known = jnp.isfinite(matrix).all()
    values = jnp.linalg.eigvals(jnp.where(known, matrix, jnp.eye(len(matrix), dtype=matrix.dtype)))
    values = values[jnp.argsort(-stop_gradient(values.real))]
    return jnp.where(known, values, jnp.nan)


def greatest_of_all(values: Array, N: int) -> Array:
    """The largest real part of the whole Jacobian, which has N neurons. If these are more than the
    span of the weights has dimensions, -1 is an eigenvalue as well."""
    greatest = values.real[0]
    return jnp.maximum(greatest, -1.0) if N >= len(values) else greatest


# Checks


def checked_memories(
    xi: ArrayLike, phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, learning: str
) -> Memories:
    """Memories and their design; ValueError if they are known and cannot be stored like this."""
    check_phi(phi)
    check_option(learning, "learning", _LEARNING)
    xi, a, b = floats(xi=xi, a=a, b=b)
    if xi.ndim != 2 or 0 in xi.shape:
        raise ValueError(f"`xi` must have shape (P, N), got {xi.shape}.")
    check_scalar(a, "a")
    check_scalar(b, "b")
    if is_concrete(xi):
        _check_patterns(np.asarray(xi), learning)
    q, r = measure(xi)
    stored = checked_design(phi, a, b, q, r if learning == "covariance" else None)
    return Memories(xi, stored, learning)


def checked_index(mu: int | Int[Array, ""], memories: Memories) -> Array:
    """Which memory; ValueError if it is known and there is no such one."""
    return jnp.asarray(as_index(mu, "mu", len(memories.xi), "memories"))


def _check_patterns(xi, learning):
    if not ((xi == 0) | (xi == 1)).all():
        raise ValueError("`xi` must hold only 0 and 1.")
    active = xi.sum(1)
    if learning == "projection" and (active != active[0]).any():
        raise ValueError(
            "`xi` must have equally many active neurons in every memory for learning='projection', "
            f"but they range from {active.min():g} to {active.max():g}: use 'pseudo_inverse'."
        )
    if learning == "covariance":
        return
    rows = xi - xi.mean() if learning == "projection" else xi
    gram = rows.astype(float) @ rows.T.astype(float)
    rank = np.linalg.matrix_rank(gram, hermitian=True)
    if rank < len(xi):
        raise ValueError(
            f"`xi` must hold linearly independent memories for learning={learning!r}, but "
            f"{len(xi)} of them span {rank} dimensions."
        )
