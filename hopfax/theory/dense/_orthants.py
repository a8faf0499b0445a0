"""Gaussian orthant probabilities by one-dimensional quadrature, smooth in all arguments."""

import functools

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

_legendre = functools.cache(np.polynomial.legendre.leggauss)  # not at import, where it takes long


def _rule(end):
    """Nodes of the Gauss-Legendre rule in $[0, end]$ and weights, along a new last axis."""
    nodes, weights = _legendre(128)
    nodes = jnp.asarray((nodes + 1) / 2, end.dtype) * end[..., None]
    return nodes, jnp.asarray(weights / 2, end.dtype) * end[..., None]


def _angle(rho):
    """The arcsine, kept away from the ends, where the density is not defined."""
    limit = 1 - 16 * float(jnp.finfo(rho.dtype).eps)
    return jnp.arcsin(jnp.clip(rho, -limit, limit))


def _density(x, y, theta):
    """2 pi cos(theta) times the density of two unit Gaussians of correlation sin(theta)."""
    return jnp.exp(-(x**2 + y**2 - 2 * x * y * jnp.sin(theta)) / (2 * jnp.cos(theta) ** 2))


def two(x, y, rho):
    r"""$P(X < x, Y < y)$ of unit Gaussians with correlation `rho`:
    $\Phi(x) \Phi(y) + \frac{1}{2\pi} \int_0^{\arcsin \rho} \dots d\theta$ (Plackett 1954)."""
    x, y, rho = jnp.broadcast_arrays(x, y, rho)
    theta, weight = _rule(_angle(rho))
    integral = (weight * _density(x[..., None], y[..., None], theta)).sum(-1)
    return ndtr(x) * ndtr(y) + integral / (2 * jnp.pi)


def three(x, y, z, rho_xy, rho_xz, rho_yz):
    r"""$P(X < x, Y < y, Z < z)$ of unit Gaussians: from the value for an X independent of Y and Z,
    integrated along a path on which both correlations with X grow (Plackett 1954)."""
    x, y, z, a, b, c = jnp.broadcast_arrays(x, y, z, rho_xy, rho_xz, rho_yz)
    total = ndtr(x) * two(y, z, c)
    x, y, z, c = (v[..., None] for v in (x, y, z, c))
    for this, own, that, other in ((a, y, b, z), (b, z, a, y)):
        theta, weight = _rule(_angle(this))
        sine = jnp.sin(theta)
        # correlation of the other one with X on the way
        ratio = that / jnp.where(this == 0, 1.0, this)
        part = jnp.where((this == 0)[..., None], 0.0, ratio[..., None] * sine)
        cos2 = 1 - sine**2
        mean = ((part - c * sine) * x + (c - part * sine) * own) / cos2
        left = 1 - c**2 - part**2 - sine**2 + 2 * c * part * sine
        spread = jnp.sqrt(jnp.maximum(left / cos2, 16 * float(jnp.finfo(x.dtype).eps)))
        integrand = _density(x, own, theta) * ndtr((other - mean) / spread)
        total = total + (weight * integrand).sum(-1) / (2 * jnp.pi)
    return total
