"""Where retrieval ends in the replica-symmetric theory."""

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float

from ._arguments import plain_kernel
from ._kernels import Model


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


def capacity(interaction: Model) -> Capacity:
    r"""Largest load at which the replica-symmetric theory has a retrieval state.

    Order n >= 3, with $p = n - 1$ and $m = \mathrm{erf}(x)$:

    $$\alpha'_c = \max_x \frac{\mathrm{erf}(x)^{2p}}{2 x^2}, \qquad \alpha_c = \alpha'_c / K(1);$$

    order 2, where the reaction of the memories to each other is summed up (Amit, Gutfreund,
    Sompolinsky 1985):
    $\sqrt{2 \alpha_c} = \max_y\, [\mathrm{erf}(y)/y - 2 e^{-y^2} / \sqrt\pi]$, 0.13790556649.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. A signal of weight b, as in
    `Simplicial`, counts $b^2$ times.

    **Returns:** a `Capacity`, to machine precision; NaN if b is not positive. Differentiable in the
    weights of an interaction.

    **Raises:** ValueError for an interaction without Gaussian kernel, or the input-driven one.

    Assumes zero temperature and $N \to \infty$. In trajectories retrieval does not end abruptly:
    above this load it survives for some time as a slow decay (`apparent_capacity`). For n = 3
    retrieval ends at $\alpha' = 0.252$. Gardner 1987; Abbott, Arian 1987; Krotov, Hopfield 2016,
    arXiv:1606.01164.

    **Example:**

    ```python
    hx.theory.dense.capacity(hx.Quadratic()).load  # 0.1379
    ```
    """
    model = plain_kernel(interaction, "capacity")
    one = jnp.ones(())
    signal, noise = model.signal(one), model(one)
    scaled, overlap = _critical(model.order)
    scaled = jnp.where(signal > 0, scaled * signal**2, jnp.nan)
    return Capacity(scaled / noise, scaled, jnp.where(signal > 0, overlap, jnp.nan))


def level(order, x):
    r"""$\sqrt{2 \alpha'}$ at which $m = \mathrm{erf}(x)$ is a state of the replica-symmetric
    theory, for a signal of weight 1. It has one maximum in x: the capacity."""
    if order == 2:
        return erf(x) / x - 2 / math.sqrt(math.pi) * jnp.exp(-(x**2))
    return erf(x) ** (order - 1) / x


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
