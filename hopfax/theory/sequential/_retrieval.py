"""One memory that is held by a frozen saliency."""

import jax.numpy as jnp
from jax.scipy.special import erfinv
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._types import ArrayLike
from .._parameters import floats
from . import _drift
from ._arguments import check_activation


def retrieval_amplitude(
    z: ArrayLike, activation: AbstractActivation = HardTanh()
) -> Float[Array, "..."]:
    r"""Amplitude $a$ of the retrieved state $x = a \xi^\mu$: the positive root of $a = z \psi(a)$.

    **Arguments:** `z`: the frozen saliency. `activation`: $\psi$, concave on the positive side.

    **Returns:** $a$, broadcast over `z`; NaN for $z \psi'(0) \le 1$, where only the origin is left.
    The overlap is $a / z$.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Orthogonal
    memories; stable while no $z_\nu \psi'(a)$ exceeds 1.

    **Example:**

    ```python
    hx.theory.sequential.retrieval_amplitude(2.0, hx.Tanh())  # 1.9150
    ```
    """
    check_activation(activation)
    return _drift.amplitude(floats(z=z)[0], activation)


def noise_limit(z: ArrayLike) -> Float[Array, "..."]:
    r"""Noise strength $\sigma$ above which a memory of saliency `z` can no longer be retrieved.

    The averaged hard tanh has slope $\mathrm{erf}(1 / (s \sqrt 2))$ at the origin; $z$ times it is
    1 at $s = 1 / (\sqrt 2\, \mathrm{erf}^{-1}(1/z))$, and $\sigma = \sqrt 2\, s$.

    **Arguments:** `z`: the frozen saliency.

    **Returns:** $\sigma$ of the stochastic differential equation, broadcast; 0 at $z = 1$, NaN
    below.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Hard tanh,
    infinitely many sites.

    **Example:**

    ```python
    hx.theory.sequential.noise_limit(2.0)  # 2.0967
    ```
    """
    (z,) = floats(z=z)
    return jnp.where(z >= 1, 1 / erfinv(1 / jnp.where(z >= 1, z, 2.0)), jnp.nan)
