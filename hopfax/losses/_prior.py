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


class Pooled(AbstractLoss):
    """What members of a group have in common; made by `pooled`."""

    sigma: Float[Array, "..."]
    where: Callable = eqx.field(static=True)

    def __call__(self, network: Any, *, derivative="reverse"):
        parts = []
        for leaf in jax.tree.leaves(self.where(network)):
            if leaf.ndim < 1 or leaf.shape[0] < 2:
                raise ValueError(
                    "`where` must select arrays with an entry for each of at least two members "
                    f"along their first axis, got shape {leaf.shape}."
                )
            parts.append(((leaf - leaf.mean(0)) / jnp.asarray(self.sigma, leaf.dtype)).ravel())
        return jnp.concatenate(parts)


def pooled(where: Callable, *, sigma: ArrayLike) -> Pooled:
    r"""A hierarchical prior: members of a group differ by $\sigma$, about a mean that is not known.

    $$r_g = (v_g - \bar v)/\sigma, \qquad \bar v = \frac1G \sum_g v_g$$

    This is the prior $v_g \sim N(\mu, \sigma^2)$ with $\mu$ integrated out, uniform before; so the
    mean of the group needs no parameter of its own. Members whose data say little are drawn towards
    the others (partial pooling, shrinkage). How much members differ is mostly not known: take the
    variance of their values when fitted without this prior, less the mean square of their standard
    errors (DerSimonian, Laird 1986, doi:10.1016/0197-2456(86)90046-2), as docs/howto/posteriors.md
    does.
    Gelman et al. 2013, *Bayesian Data Analysis*, chapter 5.

    **Arguments:** `where`: the arrays, whose first axis counts the members. `sigma`: the standard
    deviation of members; it broadcasts against each array.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:** gains of three subjects, who share everything else; see `subjects`.

    ```python
    import equinox as eqx

    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    group = eqx.tree_at(lambda net: net.kappa, network, jnp.array([4.5, 5.0, 5.8]))
    alike = hx.losses.pooled(lambda net: net.kappa, sigma=0.5)
    alike(group)  # -1.2, -0.2, 1.4
    ```
    """
    check_callable(where, "where", "a function of the model, as lambda net: net.kappa")
    return Pooled(_positive(sigma, "sigma"), where)


def _positive(value: ArrayLike, name: str) -> Float[Array, "..."]:
    value = as_float(value, name)
    check_at_least(value, name, 0.0, strict=True)
    return value
