"""How many memories a matrix of imperfect synapses holds."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array

from ..._errors import as_number, check_callable
from ..._misc import gaussian_moments
from .._search import minimise


class SynapticCapacity(NamedTuple):
    r"""`load`: $\alpha_c = P/N$ of a matrix of synapses. `overlap`: that of the last retrieval
    state. `noise`: d, the variance of what is no memory in the synapses, relative to that of the
    other memories.

    **Example:**

    ```python
    found = hx.theory.dense.synaptic_capacity(jnp.sign)
    found.load, found.overlap, found.noise  # 0.1018, 0.9480, 0.5708
    ```
    """

    load: float
    overlap: float
    noise: float


def synaptic_capacity(
    synapses: Callable[[Array], Array] | None = None, kept: float = 1.0
) -> SynapticCapacity:
    r"""The capacity of `hopfax.PairwiseMemory`, whose synapses are few, or hold few values.

    A function g of the Hebbian sum z of a pair, of which a share c is kept, is

    $$\frac{c_{ij}\, g(z_{ij})}{c\, \langle z g \rangle} = z_{ij} + \sqrt d\, \eta_{ij}, \qquad
    d = \frac{\langle g^2 \rangle}{c\, \langle z g \rangle^2} - 1,$$

    with symmetric noise $\eta$ of unit variance, uncorrelated with z, such as that of a spin glass.
    It adds $\alpha d$ to the variance of the fields, but does not react to the state as the other
    memories do. At temperature zero, with $m = \mathrm{erf}(x)$ and
    $\chi = 2 x e^{-x^2} / (\sqrt\pi\, m)$,

    $$\alpha_c = \max_x \frac{m^2}{2 x^2} \Big/ \Big[ \frac1{(1 - \chi)^2} + d \Big].$$

    Clipped synapses, g = sgn, have $d = \pi/2 - 1$ and $\alpha_c = 0.102$; with half of the pairs
    d = 1 and $\alpha_c = 0.0865$. Sompolinsky, Phys. Rev. A 34, 2571 (1986).

    **Arguments:** `synapses`: g, an odd function written with jax.numpy or NumPy; default: z as it
    is. `kept`: c, in (0, 1].

    **Returns:** a `SynapticCapacity`.

    **Raises:** ValueError/TypeError for a function that does not grow with z, or another `kept`.

    Assumes random memories of signs, $N \to \infty$, and replica symmetry.

    **Example:**

    ```python
    hx.theory.dense.synaptic_capacity(kept=0.5).load  # 0.0865
    ```
    """
    kept = as_number(kept, "kept")
    if not 0 < kept <= 1:
        raise ValueError(f"`kept` must lie in (0, 1], got {kept}.")
    slope, size = 1.0, 1.0
    if synapses is not None:
        check_callable(synapses, "synapses", "an odd function of an array, such as jnp.sign")
        slope, size = gaussian_moments(synapses)
    noise = size / (kept * slope**2) - 1

    def inverse_load(x):
        m = erf(x)
        chi = 2 * x * jnp.exp(-(x**2)) / (math.sqrt(math.pi) * m)
        return 2 * x**2 / m**2 * (1 / (1 - chi) ** 2 + noise)

    x, least = minimise(inverse_load, 0.01, 6.0, rounds=8)
    return SynapticCapacity(1 / float(least), float(erf(x)), noise)
