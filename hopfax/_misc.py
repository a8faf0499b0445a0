"""Gaussian averages and other small numerics that no library brings ready-made."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def gaussian_average(
    function: Callable, x: Float[Array, "..."], std: Float[Array, ""], nodes: int = 101
) -> Float[Array, "..."]:
    r"""$E\,f(x + s g)$ with $g \sim N(0, 1)$, by Gauss-Hermite quadrature.

    For smooth `function`; a kink costs accuracy (use a closed form there).
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = jnp.asarray(weights / weights.sum(), dtype=x.dtype)
    points = jnp.asarray(points, dtype=x.dtype)
    return jnp.tensordot(function(x[..., None] + std * points), weights, axes=1)
