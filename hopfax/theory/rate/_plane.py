r"""A memory in the plane of its active and its silent group, span$\{1_S, 1_{S^c}\}$.

If all active neurons have the rate s and all silent ones the rate c, their currents are
$y = A s + B c + u_S$ and $z = C s + E c + u_C$: the network acts on the two groups as a system of
two neurons. This holds for any number of memories with overlap r = q, and for projection.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array


class Couplings(NamedTuple):
    r"""Couplings between the active group (rate s) and the silent group (rate c).

    `A` and `E` are those of a group with itself. `B` and `C` have the same sign.
    """

    A: Array
    B: Array
    C: Array
    E: Array


def couplings(kappa: Array, gamma: Array, q: Array) -> Couplings:
    difference = gamma - kappa
    return Couplings(
        gamma * q + kappa * (1 - q),
        difference * (1 - q),
        difference * q,
        gamma * (1 - q) + kappa * q,
    )


def eigenvalues(between: Couplings, active: Array, silent: Array) -> tuple[Array, Array]:
    r"""Eigenvalues of the planar Jacobian, the greater one first. $\phi'$ is `active` in the active
    and `silent` in the silent group. Both are real, as B and C have the same sign."""
    A, B, C, E = between
    first, second = active * A, silent * E
    gap = root((first - second) ** 2 / 4 + active * silent * B * C)
    return (first + second) / 2 + gap - 1, (first + second) / 2 - gap - 1


def certain(value: Array) -> Array:
    """Whether a number is positive by more than the rounding errors of an eigenvalue. What is zero
    up to these is marginal, and nothing follows from its sign."""
    return value > 1024 * jnp.finfo(value.dtype).eps


def root(square: jax.Array) -> jax.Array:
    """Square root of a number that rounding may have made negative. Its derivative at 0 is 0, where
    that of `jnp.sqrt` would be infinite and turn gradients into NaN."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), square * 0)
