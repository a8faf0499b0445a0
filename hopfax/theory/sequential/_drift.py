r"""Endless chains with a smooth activation, in the singular limit.

The amplitude a of the active memory follows its saliency z adiabatically, $a = z \psi(a)$, and the
next memory, of saliency Z, takes over (*escape*) where $Z \psi'(a) = 1$.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from ..._programs import jitted
from ..._roots import implicit_root
from ..._types import default_float
from .._search import bisect, minimise


@jitted
def amplitude(z, activation):
    r"""The positive root of $a = z \psi(a)$, NaN where the origin is the only one."""
    slope = activation.slope(jnp.zeros_like(z))
    exists = z * slope > 1
    z = jnp.where(exists, z, 2 / slope)
    return jnp.where(exists, _root(z, jnp.zeros_like(z), activation), jnp.nan)


def _root(z, low, activation):
    r"""The root of $a = z \psi(a)$ above `low`: by bisection and one Newton step, both frozen, with
    the derivatives of the root."""
    frozen, still = stop_gradient((z, low)), stop_gradient(activation)
    low, high = frozen[1] + 1e-9 * frozen[0], 1.001 * frozen[0]  # the root is at most z: psi <= 1
    a = stop_gradient(bisect(lambda a: a - frozen[0] * still(a), low, high))
    slope = 1 - frozen[0] * still.slope(a)
    a = a - (a - frozen[0] * still(a)) / slope
    return implicit_root(eqx.Partial(_balance, z, activation), stop_gradient(a))


def _balance(z, activation, a):
    return a - z * activation(a)


def _escape(Z, activation):
    r"""Where $Z \psi'(a) = 1$: the amplitude at which memory 2 of saliency `Z` takes over."""
    return bisect(lambda a: 1 - Z * activation.slope(a), jnp.zeros_like(Z), Z)


def _gain(a, activation, nodes=256):
    r"""The gain that reproduces $Z = 1/\psi'(a)$ when the active one escapes at amplitude `a`."""
    Z, z = 1 / activation.slope(a), a / activation(a)
    start = _root(Z, a, activation)
    x, w = np.polynomial.legendre.leggauss(nodes)
    half = (start - a) / 2
    s = a + half * jnp.asarray(1 + x, a.dtype)
    psi = activation(s)
    # the integral of psi(a) / zeta^2 over zeta = a / psi(a)
    kernel = psi * (psi - s * activation.slope(s)) / s**2
    return Z / (z * half * jnp.dot(jnp.asarray(w, a.dtype), kernel))


@jitted
def critical_gain(activation):
    """The smallest gain of an endless chain, minimised over the saliency at escape."""
    still = stop_gradient(activation)
    arrays = [x.dtype for x in jax.tree.leaves(still) if eqx.is_inexact_array(x)]
    zero = jnp.zeros((), arrays[0] if arrays else default_float())
    unit = 1 / still.slope(zero)

    def gain(Z):
        return jax.vmap(lambda Z: _gain(_escape(Z, still), still))(Z)

    Z, _ = minimise(gain, 1.05 * unit, 9.0 * unit, 33, 7)
    # The gain is smallest there: its slope is the equation that the amplitude solves.
    a = implicit_root(eqx.Partial(_slope_of_gain, activation), stop_gradient(_escape(Z, still)))
    return _gain(a, activation)


def _slope_of_gain(activation, a):
    return jax.jvp(lambda a: _gain(a, activation), (a,), (jnp.ones_like(a),))[1]
