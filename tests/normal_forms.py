"""Textbook flows, written as a user writes a network: each variable is a neuron."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

import hopfax as hx


class Plane(hx.AbstractFlow):
    """x' = flow(x, p)."""

    patterns: hx.Patterns
    parameter: Any
    flow: Callable = eqx.field(static=True)

    def init(self, *, x):
        return jnp.asarray(x, self.patterns.dtype)

    def rates(self, state):
        return state

    def overlaps(self, state):
        return self.patterns.overlap(state)

    def vector_field(self, t, state, inputs=None):
        return jnp.stack(self.flow(*state, self.parameter))

    def energy(self, state, inputs=None):
        raise ValueError("none is known.")

    def domain(self):
        yield hx.Bound("parameter", self.parameter)


def plane(flow, parameter=0.0, N=2):
    """A network with this flow."""
    return Plane(hx.Patterns(jnp.ones((1, N))), jnp.asarray(parameter), flow)


def fold(x, y, p):
    """Two states of rest, x = +- sqrt(p), meet at p = 0."""
    return p - x**2, -y


def transcritical(x, y, p):
    """x = 0 and x = p exchange their stability at p = 0."""
    return p * x - x**2, -y


def pitchfork(x, y, p):
    """x = 0 and x = +- sqrt(p) meet at p = 0."""
    return p * x - x**3, -y


def hopf(x, y, p):
    """An orbit of radius sqrt(p) and period pi is born at p = 0; its multiplier is
    exp(-2 p pi)."""
    r = x**2 + y**2
    return p * x - 2 * y - r * x, 2 * x + p * y - r * y


def cusp(x, y, p):
    """The S of x^3 - x = p: folds at -+ 2 / (3 sqrt(3))."""
    return p + x - x**3, -y


def lorenz(x, y, z, p):
    """Chaos at p = 28: exponents 0.9056, 0, -14.5723, whose sum is the divergence, -41/3."""
    return 10 * (y - x), x * (p - z) - y, x * y - 8 / 3 * z


def van_der_pol(x, y, p):
    """Relaxation oscillations, of period 6.6632868593231 at p = 1."""
    return y, p * (1 - x**2) * y - x


def round_trips(x, y, a, c, d, e, f, p):
    """An orbit on the unit circle, of period 2 pi, and what happens across it, of its own: a
    pitchfork of a at p = 0.3, c + i d that comes back with the opposite sign and doubles the period
    at p = 0.5, e + i f that turns and becomes a torus at p = 0.7. The multipliers are
    exp(2 pi (p - 0.3)), -exp(2 pi (p - 0.5)), -exp(-pi), exp(2 pi (p - 0.7 +- 0.3 i)), exp(-4 pi).
    """
    r, s, h = 1 - x**2 - y**2, c**2 + d**2, p - 0.7 - e**2 - f**2
    # In the frame that turns half as fast as (x, y), one axis grows with p - 1/2, one with -1/2.
    g, q = (p - 1.0) / 2 - s, p / 2
    return (
        *(r * x - y, r * y + x),
        (p - 0.3) * a - a**3,
        *(g * c - d / 2 + q * (x * c + y * d), g * d + c / 2 + q * (y * c - x * d)),
        *(h * e - 0.3 * f, h * f + 0.3 * e),
    )
