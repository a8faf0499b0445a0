"""Linear stability of a stored rate memory on the span of its weights, with cost P^2 N."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from .._types import is_concrete
from ._rate_design import factors


@eqx.filter_jit
def memory(xi, phi, a, b, mu, learning):
    """Eigenvalues of the Jacobian on the span, and how far the current is off its targets."""
    F, K, made = factors(xi, phi, a, b, learning)
    target = a + (b - a) * xi[mu]
    rates = made.silent + (made.active - made.silent) * xi[mu]
    residual = abs(F.T @ (K @ (F @ rates)) - target).max()
    M = (F * phi.slope(target)) @ F.T
    if learning == "pseudo_inverse":
        return _general(K @ M) - 1, residual
    return _symmetric(K, M) - 1, residual


def _symmetric(K, M):
    """Eigenvalues of K M, greatest first, for symmetric K and M >= 0: they are real.

    Each is a quotient t.MKMt / t.Mt that does not move, to first order, with t: the vectors are
    frozen, and the derivatives are those of simple eigenvalues.
    """
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


def _general(matrix):
    """Complex eigenvalues, the greatest real part first; NaN for what is not finite."""
    known = jnp.isfinite(matrix).all()
    values = jnp.linalg.eigvals(jnp.where(known, matrix, jnp.eye(len(matrix), dtype=matrix.dtype)))
    values = values[jnp.argsort(-stop_gradient(values.real))]
    return jnp.where(known, values, jnp.nan)


# Dale's law


def inhibition(xi, phi, a, b, learning):
    """The smallest c with W + c/N >= 0, from the distinct columns where these are known."""
    columns = xi
    if is_concrete(xi):
        columns = jnp.asarray(np.unique(np.asarray(xi), axis=1))
    return _inhibition(xi, columns, phi, a, b, learning)


@eqx.filter_jit
def _inhibition(xi, columns, phi, a, b, learning):
    P, N = xi.shape
    _, K, made = factors(xi, phi, a, b, learning)
    if learning == "pseudo_inverse":
        rows = made.silent + (made.active - made.silent) * columns
    else:
        rows = columns - (made.beta if learning == "covariance" else xi.mean())
    rows = jnp.concatenate([rows, jnp.ones((1, columns.shape[1]), xi.dtype)])
    left = K.T @ rows  # N W_ij = left_i . rows_j
    lowest = jax.lax.map(lambda row: (row @ rows).min(), left.T, batch_size=256).min()
    return jnp.maximum(-lowest, 0.0)


@eqx.filter_jit
def dale(xi, phi, a, b, mu, tau, c, learning):
    """Eigenvalues of the extended Jacobian on the span and the inhibitory unit."""
    F, K, _ = factors(xi, phi, a, b, learning)
    M = (F * phi.slope(a + (b - a) * xi[mu])) @ F.T
    size = len(K)
    last = jnp.zeros(size, xi.dtype).at[-1].set(1.0)
    excitation = (K + c * last[:, None] * last) @ M - jnp.eye(size, dtype=xi.dtype)
    top = jnp.concatenate([excitation, -c * last[:, None]], 1)
    bottom = jnp.append(M[-1], -1.0)[None] / tau
    return _general(jnp.concatenate([top, bottom]))


@eqx.filter_jit
def dale_jacobian(xi, phi, a, b, mu, tau, c, learning):
    F, K, _ = factors(xi, phi, a, b, learning)
    N = xi.shape[1]
    slopes = phi.slope(a + (b - a) * xi[mu])[:, None]
    excitation = slopes * (F.T @ K @ F + c / N) - jnp.eye(N, dtype=xi.dtype)
    top = jnp.concatenate([excitation, -c * slopes], 1)
    bottom = jnp.append(jnp.full(N, 1 / N, xi.dtype), -1.0)[None] / tau
    return jnp.concatenate([top, bottom])
