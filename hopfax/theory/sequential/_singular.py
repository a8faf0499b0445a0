"""The singular limit of cycles and endless chains: maps, their fixed points, folds and basins."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from ..._misc import differentiable_once
from ..._programs import kept
from ..._roots import implicit_root
from .._search import bisect

#: The first derivative follows from long orbits, along which rounding grows: what is left of it is
#: small in first derivatives and not in second ones.
_SECOND = (
    "second derivatives of the edge of a basin are not known: take differences of first "
    "derivatives, by jax.grad or jax.jvp."
)
_LEAST = 1e-6  # the slope of the gain below which a fixed point counts as the fold


@kept
def critical_gain(P, s):
    possible = s < 1
    s = jnp.where(possible, s, 0.0)
    q = best_decay(P, s)
    kappa = (1 + jnp.sqrt(1 - s)) ** 2 if P == math.inf else gain(q, P, s)
    return jnp.where(possible, kappa, jnp.inf)


def gain(q, P, s):
    """Gain of the steady cycle in which a saliency that is not driven decays by the factor `q` in
    each dwell."""
    powers = 1 / (1 - q) if P == math.inf else _polynomial(q, [1.0] * (int(P) - 1))
    return (1 - s) / q + powers


def best_decay(P, s):
    """The factor `q` at which `gain`, which is convex, is smallest."""
    if P == math.inf:
        root = jnp.sqrt(1 - s)
        return root / (1 + root)
    function = eqx.Partial(_gain_turns, P, s)
    return implicit_root(function, stop_gradient(bisect(function, 0 * s, 0 * s + 1)))


def _gain_turns(P, s, q):
    """Zero where the derivative of the gain is."""
    return q**2 * _polynomial(q, [float(j) for j in range(1, int(P) - 1)]) - (1 - s)


def _polynomial(q, coefficients):
    """Sum of `coefficients[j] * q**j`."""
    if not coefficients:
        return jnp.zeros_like(q)
    return jnp.polyval(jnp.asarray(coefficients[::-1], q.dtype), q, unroll=1)


@kept
def orbit(Z0, kappa, steps, P):
    return jnp.vectorize(lambda Z, k: _one_orbit(Z, k, steps, P), signature="(),()->(t)")(Z0, kappa)


def _one_orbit(Z0, kappa, steps, P):
    def step(carry, _):
        # left: decay in each of the last P - 1 dwells; 0 for dwells before the start
        Z, alive, left = carry
        new = kappa * (1 - 1 / jnp.where(alive, Z, 2.0)) + jnp.prod(left)
        alive = alive & (new > 1)
        decay = 1 / jnp.where(alive, new, 2.0)
        left = left if P == math.inf else jnp.roll(left, -1).at[-1].set(decay)
        return (new, alive, left), jnp.where(alive, new, jnp.nan)

    left = jnp.zeros(1 if P == math.inf else int(P) - 1, Z0.dtype)
    _, rest = jax.lax.scan(step, (Z0, Z0 > 1, left), None, length=steps)
    return jnp.concatenate([jnp.where(Z0 > 1, Z0, jnp.nan)[None], rest])


@kept
def fixed_points(kappa, P):
    if P == math.inf:
        exists = kappa >= 4
        square = 1 - 4 / jnp.where(exists, kappa, 4.0)
        root = jnp.sqrt(jnp.where(square > 0, square, 1.0))
        sum_of_both = 1 + jnp.where(square > 0, root, 0.0)
        # The product of both is kappa; their difference would lose all digits at a large gain.
        lower, upper = 2 / sum_of_both, kappa * sum_of_both / 2
    else:
        q = best_decay(P, jnp.zeros_like(kappa))
        exists = (kappa >= gain(q, P, 0.0)) & (q / kappa < 1)
        bounded = jnp.where(exists & (kappa < jnp.inf), kappa, 2.0 * P)
        excess = lambda q: gain(q, P, 0.0) - bounded  # noqa: E731
        rising = bisect(excess, q, jnp.ones_like(q))
        # As a share of kappa, which it approaches: q = 1 / Z itself may be smaller than any step.
        share = bisect(lambda u: excess(1 / (u * bounded)), 1 / (q * bounded), jnp.ones_like(q))
        falling = 1 / (share * bounded)
        lower, upper = (1 / _root_of_gain(q, bounded, P) for q in (rising, falling))
        exists = exists & (falling < 1 - 1e-12)
        upper = jnp.where(kappa < jnp.inf, upper, kappa)
        lower = jnp.where(kappa < P, lower, jnp.nan)
    return jnp.where(exists, lower, jnp.nan), jnp.where(exists, upper, jnp.nan), exists


def _root_of_gain(q, kappa, P):
    """One Newton step from `q`, with the derivatives with respect to `kappa`. Where the gain is
    smallest the slope vanishes: there the step is left out, and derivatives are 0."""
    function, q = eqx.Partial(_excess_gain, kappa, P), stop_gradient(q)
    value, slope = jax.jvp(function, (q,), (jnp.ones_like(q),))
    regular = jnp.abs(slope) > _LEAST
    step = jnp.where(regular, value / jnp.where(regular, slope, 1.0), 0.0)
    return implicit_root(function, stop_gradient(q - step), _LEAST)


def _excess_gain(kappa, P, q):
    return gain(q, P, 0.0) - kappa


@kept
def basin_edge(kappa, P):
    kappa = differentiable_once(kappa, _SECOND)

    def one(kappa):
        k = stop_gradient(kappa)

        def dies(x):  # x = 1 / Z0
            return jnp.where(jnp.isnan(_one_orbit(1 / x, k, 300, P)[-1]), 1.0, -1.0)

        start = jnp.full_like(k, 1e-6)
        Z0 = 1 / bisect(dies, start, jnp.ones_like(k), 56)
        Z0 = Z0 * (1 + 1e-13)  # on the surviving side of the edge
        # Near the edge all orbits leave along one direction: there d Z_t = 0 along the edge.
        transitions = 2 * int(P) + 16
        last = lambda Z: _one_orbit(Z, k, transitions, P)[-1]  # noqa: E731
        slope = jax.jvp(last, (Z0,), (jnp.ones_like(Z0),))[1]
        moved = _one_orbit(Z0, kappa, transitions, P)[-1]
        # At a huge gain the second memory forgets the first to the last bit, and the edge is 1.
        steep = slope != 0
        change = (moved - stop_gradient(moved)) / jnp.where(steep, slope, 1.0)
        Z0 = Z0 - jnp.where(steep, change, 0.0)
        return jnp.where(dies(start) < 0, Z0, jnp.inf)

    return jnp.vectorize(one)(kappa)


@kept
def visited(Z0, kappa):
    Z0, kappa = jnp.broadcast_arrays(Z0, kappa)
    below = (kappa < 4) & (kappa > 0)
    root = jnp.sqrt(jnp.where(below, kappa, 1.0))
    theta = jnp.arccos(root / 2)
    phi = jnp.arctan2(jnp.sin(theta), Z0 / root - jnp.cos(theta))
    count = jnp.maximum(jnp.ceil((jnp.pi - phi) / theta) - 2, 1.0)
    lower = jnp.where(kappa >= 4, fixed_points(kappa, math.inf)[0], jnp.inf)
    count = jnp.where(below, count, jnp.where(Z0 >= lower, jnp.inf, jnp.nan))
    return jnp.where(Z0 > 1, count, 0.0)


def _growth(r, target, s):
    """How much the seed has grown after a time s, less `target`."""
    x = r * s
    # The quotients lose digits near 0, and their derivatives more of them.
    small = jnp.abs(x) < 0.1
    y, first, second = jnp.where(small, 1.0, x), 1.0, 1.0
    near = jnp.where(small, x, 0.0)
    for k in range(10, 2, -1):
        first, second = 1 + near / k * first, 1 + near / (k + 1) * second
    first, second = 1 + near / 2 * first, (1 + near / 3 * second) / 2
    first = jnp.where(small, first, jnp.expm1(y) / y)
    second = jnp.where(small, second, (jnp.expm1(y) - y) / y**2)
    return s**2 * second + s * first - target


@kept
def switch_time(Z0, kappa, tau, bias):
    z1 = (1 - 1 / tau) * (1 + bias)
    r = (z1 + kappa * (1 - z1 / Z0)) / 2 - 1
    valid = (r > 0) & (Z0 > z1) & (bias > 0)
    r, Z0, b = jnp.where(valid, r, 1.0), jnp.where(valid, Z0, 2 * z1), jnp.where(valid, bias, 0.0)
    target = tau / (1 + b)

    r_, target_ = stop_gradient((r, target))
    low = jnp.log1p(target_ * r_ * (r_ / (1 + r_))) / r_
    high = jnp.minimum(jnp.sqrt(2 * target_), jnp.log1p(target_ * r_) / r_)
    s = stop_gradient(bisect(eqx.Partial(_growth, r_, target_), low, high))
    s = implicit_root(eqx.Partial(_growth, r, target), s)
    return jnp.where(valid, tau * jnp.log(Z0 / z1) + s, jnp.nan)
