r"""Synaptic design of rate memories by itself: from two currents to $\alpha, \beta, \gamma$.

Nothing here looks at a network: patterns enter as an array, weights as factors $W = F K F^T$.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Design(NamedTuple):
    r"""Weights that store two currents, and the rates they lead to; NaN where none exist.

    `alpha`, `beta`, `gamma`: $\alpha, \beta, \gamma$. `kappa`: $\kappa$, the inverse secant slope.
    `silent`, `active`: $\phi_a, \phi_b$. `mean`: $m$, the mean rate of a memory.
    """

    alpha: Float[Array, "..."]
    beta: Float[Array, "..."]
    gamma: Float[Array, "..."]
    kappa: Float[Array, "..."]
    silent: Float[Array, "..."]
    active: Float[Array, "..."]
    mean: Float[Array, "..."]
    exists: Bool[Array, "..."]


def design(phi, a, b, q, r):
    """Without checks: what is out of range is NaN."""
    exists = (a < b) & (q > 0) & (q < 1) & (r >= 0) & (r < 1)
    exists = exists & (abs(a) < jnp.inf) & (abs(b) < jnp.inf)
    q, r = jnp.where(exists, q, 0.5), jnp.where(exists, r, 0.5)
    silent, active = phi(a), phi(b)
    exists = exists & (active > silent)
    silent, active = jnp.where(exists, silent, 0.0), jnp.where(exists, active, 1.0)
    mean = (1 - q) * silent + q * active
    kappa = (b - a) / (active - silent)
    beta = q * ((1 - r) * silent + r * active) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    alpha = kappa / (q * (1 - r))
    parts = (alpha, beta, gamma, kappa, silent, active, mean)
    return Design(*(jnp.where(exists, part, jnp.nan) for part in parts), exists=exists)


class Planar(NamedTuple):
    r"""Couplings of the active group (rate s) and the silent group (rate c).

    Currents are $y = A s + B c + u_S$ and $z = C s + E c + u_C$; B and C have one sign.
    """

    A: Array
    B: Array
    C: Array
    E: Array


def planar(kappa, gamma, q):
    difference = gamma - kappa
    return Planar(
        gamma * q + kappa * (1 - q),
        difference * (1 - q),
        difference * q,
        gamma * (1 - q) + kappa * q,
    )


def eigenvalues(couplings, active, silent):
    """Of the planar Jacobian where the slopes are `active` and `silent`; the greater one first."""
    A, B, C, E = couplings
    first, second = active * A, silent * E
    gap = root((first - second) ** 2 / 4 + active * silent * B * C)
    return (first + second) / 2 + gap - 1, (first + second) / 2 - gap - 1


def root(square):
    """Square root of what rounding may have made negative; its derivative at 0 is 0."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), square * 0)


def measure(xi):
    """Activity and mean relative overlap of 0/1 patterns; one alone counts as independent."""
    P, N = xi.shape
    q = xi.mean()
    if P == 1:
        return q, q
    pairs = ((xi.sum(0) ** 2).sum() - (xi**2).sum()) / (P * (P - 1))
    return q, pairs / (q * N)


def factors(xi, phi, a, b, learning):
    """F of shape (P+1, N), its last row constant, and K with W = F^T K F; the design behind it."""
    P, N = xi.shape
    q, r = measure(xi)
    made = design(phi, a, b, q, r if learning == "covariance" else q)
    one = jnp.ones((1, N), xi.dtype)
    K = jnp.zeros((P + 1, P + 1), xi.dtype)
    if learning == "pseudo_inverse":  # H = kappa Xbar + (a - kappa phi_a) 1 1^T
        rows = made.silent + (made.active - made.silent) * xi
        inverse = jnp.linalg.inv(rows @ rows.T / N)
        K = K.at[:P, :P].set(made.kappa * inverse)
        K = K.at[P, :P].set((a - made.kappa * made.silent) * inverse.sum(0))
    elif learning == "projection":
        rows = xi - q
        K = (
            K.at[:P, :P]
            .set(made.kappa * jnp.linalg.inv(rows @ rows.T / N))
            .at[P, P]
            .set(made.gamma)
        )
    else:
        rows = xi - made.beta
        K = jnp.diag(jnp.append(jnp.full(P, made.alpha), made.gamma))
    return jnp.concatenate([rows, one]) / N**0.5, K, made
