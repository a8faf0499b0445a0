r"""Roots of one memory: its amplitude, and the noise that it stands.

All are found by bisection between bounds that hold them, frozen, with derivatives from the equation
that they solve.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from ..._roots import implicit_root
from .._search import bisect
from ._arguments import Softened, slope_at_zero


def amplitude(z, activation):
    r"""The positive root of $a = z \psi(a)$, and whether there is one; 0 where there is none."""
    exists = z * slope_at_zero(activation, z) > 1
    z = jnp.where(exists, z, 2 / slope_at_zero(activation, z))
    a = implicit_root(eqx.Partial(_balance, z, activation), stop_gradient(_found(z, activation)))
    return jnp.where(exists, a, 0.0), exists


def _found(z, activation):
    """By bisection and a Newton step: near the threshold the root is a small number."""
    z, activation = stop_gradient((z, activation))
    a = bisect(lambda a: _balance(z, activation, a), 1e-9 * z, 1.001 * z)  # psi <= 1
    slope = 1 - z * activation.slope(a)
    step = _balance(z, activation, a) / jnp.where(slope > 0, slope, 1.0)
    return jnp.where(abs(step) < 1e-6 * a, a - step, a)


def _balance(z, activation, a):
    return a - z * activation(a)


def lost_at(alpha, activation):
    r"""Standard deviation $s$ of the noise at which $\alpha\, \psi_s'(0) = 1$, and whether there is
    one. As $|\psi| \le 1$, $\psi_s'(0) = E[g\, \psi(s g)]/s \le \sqrt{2/\pi}/s$ bounds it."""
    exists = alpha * slope_at_zero(activation, alpha) > 1
    alpha = jnp.where(exists, alpha, 2 / slope_at_zero(activation, alpha))
    still, frozen = stop_gradient((activation, alpha))
    s = bisect(lambda s: -_excess(frozen, still, s), 0 * frozen, frozen * float(np.sqrt(2 / np.pi)))
    s = implicit_root(eqx.Partial(_excess, alpha, activation), stop_gradient(s))
    return jnp.where(exists, s, 0.0), exists


def _excess(alpha, activation, s):
    """Growth rate of a weak overlap with the memory, under noise of standard deviation `s`."""
    return alpha * _slopes_at_zero(activation, s) - 1


def _slopes_at_zero(activation, s):
    """The slope at the origin for each standard deviation of an array."""

    def one(s):
        return Softened(activation, s).slope(jnp.zeros((), s.dtype))

    return jnp.vectorize(one)(s)
