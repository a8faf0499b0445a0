"""Where retrieval ends in the replica-symmetric theory."""

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.scipy.special import erf
from jaxtyping import Array, Float

from ..._programs import jitted
from ..._types import ArrayLike
from .._search import bisect
from ._arguments import checked_bias, plain_kernel
from ._kernels import Kernel, Model


class Capacity(NamedTuple):
    r"""Where retrieval ends in the replica-symmetric theory.

    `load` is $\alpha_c$, `scaled` $\alpha'_c = \alpha_c K(1)$, `overlap` that of the last retrieval
    state.

    **Example:**

    ```python
    found = hx.theory.dense.capacity(hx.Power(3))
    found.load, found.scaled, found.overlap  # 0.0841, 0.2522, 0.8385
    ```
    """

    load: Float[Array, ""]
    scaled: Float[Array, ""]
    overlap: Float[Array, ""]


def capacity(interaction: Model, *, bias: ArrayLike | None = None) -> Capacity:
    r"""Largest load at which the replica-symmetric theory has a retrieval state.

    Order n >= 3, with $p = n - 1$ and $m = \mathrm{erf}(x)$:

    $$\alpha'_c = \max_x \frac{\mathrm{erf}(x)^{2p}}{2 x^2}, \qquad \alpha_c = \alpha'_c / K(1);$$

    order 2, where the reaction of the memories to each other is summed up (Amit, Gutfreund,
    Sompolinsky 1985):
    $\sqrt{2 \alpha_c} = \max_y\, [\mathrm{erf}(y)/y - 2 e^{-y^2} / \sqrt\pi]$, 0.13790556649.

    For memories of mean a (`bias`, see `solve_gfa`) there are two groups of neurons, and

    $$\alpha_c = \frac{(1-a^2)^{n-2}}{K(1)} \max_x \frac{m(x)^{2p}}{2 x^2}, \qquad
    m(x) = \tfrac12 \sum_\pm \mathrm{erf}[(1 \pm a)\, x],$$

    and at order 2 $\sqrt{2 \alpha_c} = \max_x\, [m(x)/x - \sum_\pm (1 \mp a)\,
    e^{-(1 \pm a)^2 x^2} / \sqrt\pi]$ (Amit, Gutfreund, Sompolinsky 1987).

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. A signal of weight b, as in
    `Simplicial`, counts $b^2$ times. `bias`: mean of the memories' entries, in (-1, 1), of a
    network with the usual threshold.

    **Returns:** a `Capacity`, to machine precision; NaN if b is not positive. Differentiable in the
    weights of an interaction and in `bias`.

    **Raises:** ValueError for an interaction without Gaussian kernel, or the input-driven one, and
    for a `bias` out of range.

    Assumes zero temperature and $N \to \infty$. In trajectories retrieval does not end abruptly:
    above this load it survives for some time as a slow decay (`apparent_capacity`). For n = 3
    retrieval ends at $\alpha' = 0.252$. Gardner 1987; Abbott, Arian 1987; Krotov, Hopfield 2016,
    arXiv:1606.01164.

    **Example:**

    ```python
    hx.theory.dense.capacity(hx.Quadratic()).load  # 0.1379
    hx.theory.dense.capacity(hx.Quadratic(), bias=0.5).load  # 0.0299
    ```
    """
    model = plain_kernel(interaction, "capacity")
    one = jnp.ones(())
    if bias is None:
        scaled, overlap = _critical(model.order)
    else:
        bias = checked_bias(bias, model, one.dtype)
        scaled, overlap = _biased(model.order, bias)
    signal, noise = strengths(model, one, bias)
    load = jnp.where(signal > 0, scaled * signal**2 / noise, jnp.nan)
    return Capacity(load, load * model(one), jnp.where(signal > 0, overlap, jnp.nan))


def strengths(
    model: Kernel, m: Float[Array, "..."], bias: Float[Array, ""] | None
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The signal of overlap m, and the variance of the noise for each unit of load. The signal of
    biased memories is that of neurons with an entry of 1."""
    if bias is None:
        return model.signal(m), model(jnp.ones_like(m))
    s = 1 - bias**2
    return model.signal(s * m), s * model(s, s, s)


def recalled(x, bias=None):
    r"""The overlap where the signal is x times the noise, times $\sqrt 2$: $\mathrm{erf}(x)$, or
    the mean over the two groups of neurons that biased memories have. These groups have the shares
    $(1 \mp a)/2$ and feel the signal $(1 \pm a)\, x$."""
    return erf(x) if bias is None else (erf((1 + bias) * x) + erf((1 - bias) * x)) / 2


def level(order, x, bias=None):
    r"""$\sqrt{2 \alpha'}$ at which $m = \mathrm{erf}(x)$ is a state of the replica-symmetric
    theory, for a signal of weight 1. It has one maximum in x, the capacity; with a `bias` there may
    be two."""
    if order > 2:
        return recalled(x, bias) ** (order - 1) / x
    a = 0.0 if bias is None else bias
    groups = ((1 + a, 1 - a), (1 - a, 1 + a))  # signal and twice the share
    reaction = sum(share * jnp.exp(-((size * x) ** 2)) for size, share in groups)
    return recalled(x, bias) / x - reaction / math.sqrt(math.pi)


_POINTS = 512  # on which the higher of two maxima is looked for


@jitted
def _biased(
    order: int | float, bias: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Scaled load and overlap at capacity, for a signal of weight 1. The weaker the signal of the
    larger group, the farther the maximum."""
    frozen = stop_gradient(bias)
    x = jnp.geomspace(0.1, 6.0 / (1 - abs(frozen)), _POINTS)
    at = jnp.clip(jnp.argmax(level(order, x, frozen)), 1, _POINTS - 2)
    falls = lambda x: -jax.grad(lambda x: level(order, x, frozen))(x)  # noqa: E731
    top = bisect(falls, x[at - 1], x[at + 1])
    return level(order, top, bias) ** 2 / 2, recalled(top, bias)


@lru_cache
def highest(order: int | float) -> float:
    """The x at which `level` is largest, by bisection of its slope."""
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
def _critical(order: int | float) -> tuple[float, float]:
    """Scaled load and overlap at capacity, for a signal of weight 1."""
    x = highest(order)
    m = math.erf(x)
    if order == 2:
        return (m / x - 2 / math.sqrt(math.pi) * math.exp(-(x**2))) ** 2 / 2, m
    return m ** (2 * order - 2) / (2 * x**2), m
