"""What is known of the parameters beforehand, as losses."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import as_float, check_at_least, check_callable
from .._types import ArrayLike
from ._base import AbstractLoss


class Prior(AbstractLoss):
    """What is known of some arrays of a model beforehand; made by `prior` and `sparsity`."""

    mean: Float[Array, "..."]
    sigma: Float[Array, "..."]
    where: Callable = eqx.field(static=True)
    sparse: bool = eqx.field(static=True)

    def __call__(self, network: Any, *, derivative="reverse"):
        parts = []
        for leaf in jax.tree.leaves(self.where(network)):
            mean, sigma = (jnp.asarray(x, leaf.dtype) for x in (self.mean, self.sigma))
            parts.append(((leaf - mean) / sigma).ravel())
        x = jnp.concatenate(parts)
        return x * jnp.sqrt(2 / (jnp.hypot(x, _ROUND) + _ROUND)) if self.sparse else x


#: Below this share of its scale, the density of `sparsity` is rounded off.
_ROUND = 0.01


def prior(where: Callable, mean: ArrayLike = 0.0, *, sigma: ArrayLike) -> Prior:
    r"""A Gaussian prior, $r = (v - \mu)/\sigma$, to be added to the losses of the data.

    The sum is minus the logarithm of a posterior density, and standard errors are those of the
    posterior, if the losses of the data are in units of their standard deviation and the fit has
    `absolute_sigma=True`. With `mean` 0 and a `sigma` far above the entries it decides nothing that
    the data decide, and takes the least norm of all that they leave open.

    **Arguments:** `where`: the arrays, as in `hopfax.fit`. `mean`, `sigma`: of the entries; they
    broadcast against each array.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    known = hx.losses.prior(lambda net: net.kappa, 4.0, sigma=0.5)
    known(network)  # 2
    ```
    """
    check_callable(where, "where", "a function of the model, as lambda net: net.transition")
    return Prior(as_float(mean, "mean"), _positive(sigma, "sigma"), where, False)


def sparsity(where: Callable, *, scale: ArrayLike) -> Prior:
    r"""A prior for entries most of which are zero: $\tfrac12 r^2 = |v| / s$, smooth at zero.

    This is the Laplace density, whose maximum a posteriori is the lasso (Tibshirani 1996,
    doi:10.1111/j.2517-6161.1996.tb02080.x), as residuals.

    **Arguments:** `where`: the arrays, as in `hopfax.fit`. `scale`: the mean size $s$ of an entry.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    few = hx.losses.sparsity(lambda net: net.transition, scale=0.5)
    hx.losses.value(few(network))  # 7.96: four entries of size 2 scales
    ```
    """
    check_callable(where, "where", "a function of the model, as lambda net: net.transition")
    return Prior(jnp.zeros(()), _positive(scale, "scale"), where, True)


def _positive(value: ArrayLike, name: str) -> Float[Array, "..."]:
    value = as_float(value, name)
    check_at_least(value, name, 0.0, strict=True)
    return value
