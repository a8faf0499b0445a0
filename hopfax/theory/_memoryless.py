"""Theory without memory of the past: the map, its fixed points and fold; exponential loads."""

import math
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.scipy.special import erf, xlogy

from ._search import bisect


def step(kernel, load, m):
    return erf(kernel.signal(m) / jnp.sqrt(2 * load * kernel(jnp.ones_like(load))))


def _level(order, x):
    r"""$\sqrt{2 \alpha'}$ of the state $m = \mathrm{erf}(x)$, with one maximum in x."""
    if order == 2:
        return erf(x) / x - 2 / math.sqrt(math.pi) * jnp.exp(-(x**2))
    return erf(x) ** (order - 1) / x


@lru_cache
def _fold(order):
    """Where `_level` is largest, in Python floats."""
    low, high = 0.1, 6.0
    for _ in range(80):
        x = (low + high) / 2
        gauss = 2 / math.sqrt(math.pi) * math.exp(-(x**2))
        if order == 2:
            slope = gauss / x - math.erf(x) / x**2 + 2 * x * gauss
        else:
            slope = (order - 1) * x * gauss - math.erf(x)
        low, high = (x, high) if slope > 0 else (low, x)
    return (low + high) / 2


@lru_cache
def critical(order):
    """Scaled load and overlap at capacity, for a signal of weight 1."""
    x = _fold(order)
    m = math.erf(x)
    if order == 2:
        return (m / x - 2 / math.sqrt(math.pi) * math.exp(-(x**2))) ** 2 / 2, m
    return m ** (2 * order - 2) / (2 * x**2), m


@eqx.filter_jit
def fixed_points(kernel, load):
    one = jnp.ones_like(load)
    signal = kernel.signal(one)
    target = jnp.sqrt(2 * load * kernel(one)) / jnp.where(signal > 0, signal, 1.0)
    order = kernel.order
    fold = _fold(order) * one
    excess = lambda x: _level(order, x) - stop_gradient(target)  # noqa: E731
    exists = (load > 0) & (signal > 0) & (excess(fold) >= 0)
    last = jnp.maximum(1 / stop_gradient(target), 2 * fold)
    stable = bisect(lambda x: -excess(x), fold, last)
    unstable = bisect(excess, 0 * fold, fold)
    points = (erf(_polished(order, x, target)) for x in (unstable, stable))
    unstable, stable = (jnp.where(exists, m, jnp.nan) for m in points)
    return unstable, stable, exists


def _polished(order, x, target):
    """One Newton step from `x`, which carries the derivative with respect to `target`."""
    x = stop_gradient(x)
    value, slope = jax.jvp(lambda x: _level(order, x), (x,), (jnp.ones_like(x),))
    regular = abs(slope) > 1e-6
    return x - jnp.where(regular, (value - target) / jnp.where(regular, slope, 1.0), 0.0)


def exponential(m, rate):
    inside = (m >= 0) & (m <= 1)
    m = jnp.where(inside, m, 0.5)
    entropy = (xlogy(1 + m, 1 + m) + xlogy(1 - m, 1 - m)) / 2
    log_cosh = lambda x: x + jnp.log1p(jnp.exp(-2 * x)) - math.log(2.0)  # noqa: E731

    def threshold(k):
        frozen = m < jnp.tanh(k * rate)
        return jnp.where(frozen, entropy, k * rate * m - log_cosh(k * rate)), frozen

    one_step, frozen = threshold(2)
    rigorous = jnp.where(rate == 1, entropy / 2, jnp.nan)
    seen = lambda x: jnp.where(inside, x, jnp.nan)  # noqa: E731
    return seen(one_step), frozen & inside, seen(threshold(1)[0]), seen(rigorous)
