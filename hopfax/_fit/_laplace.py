r"""The Laplace approximation of a density: a Gaussian around its maximum.

The maximum is found by Newton steps, which need the second derivatives that the approximation
consists of, so that all is one program: on most networks it is the compiler that takes the time.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import as_count, as_key
from .._programs import jitted
from .._types import is_concrete

_STEPS = 100  # towards the maximum, at most
_FLAT = 1e-6  # share of the largest second derivative, that a step takes for smaller ones
_PART = 0.3  # share of an entry in a direction from which on a message names it


class Laplace(eqx.Module):
    r"""A density by the Gaussian that has its maximum and its second derivatives there.

    - `mode`: (n,) the free parameters at the maximum $\hat u$ of the density of free parameters; it
      is not that of `hopfax.fit`, which minimises the residuals alone.
    - `covariance`: (n, n) the inverse of $H = -\partial^2 \ln p / \partial u^2$.
    - `height`: $\ln p(\hat u)$.
    - `log_evidence`: the logarithm of $\int p\, du \approx p(\hat u) (2\pi)^{n/2} / \sqrt{\det H}$,
      without the factors that `hopfax.log_density` leaves out: models of the same data can be
      compared once $-\ln (\sigma \sqrt{2\pi})$ is added for every number under a Gaussian prior.

    Called with free parameters it returns $\ln p(\hat u) - \frac12 (u - \hat u)^T H (u - \hat u)$,
    the approximation of $\ln p(u)$, so that `jnp.exp(density(u) - laplace(u))` are the importance
    weights of its draws. MacKay 2003, *Information Theory, Inference, and Learning Algorithms*,
    chapter 27.

    **Example:**

    ```python
    density = hx.log_density(
        {"a": jnp.array(0.5)},
        lambda model: (model["a"] - jnp.array([1.0, 1.4])) / 0.2,
        where=lambda model: model["a"],
    )
    found = density.laplace()
    found.mode, found.covariance  # 1.2, 0.02
    draws = found.draws(jax.random.key(0), 1000)
    density.values(draws)["a"].std()  # 0.14
    ```
    """

    mode: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    height: Float[Array, ""]
    log_evidence: Float[Array, ""]

    def __call__(self, free: Float[Array, " n"]) -> Float[Array, ""]:
        """The logarithm of the approximate density."""
        off = free - self.mode
        return self.height - off @ jnp.linalg.solve(self.covariance, off) / 2

    def draws(self, key: jax.Array, number: int) -> Float[Array, "number n"]:
        """So many draws of free parameters; `values` of the density maps them to parameters."""
        number = as_count(number, "number")
        unit = jr.normal(as_key(key), (number, self.mode.size), self.mode.dtype)
        return self.mode + unit @ jnp.linalg.cholesky(self.covariance).T


class _Climb(eqx.Module):
    """A search for the maximum, and what is known where it is."""

    at: Float[Array, " n"]
    height: Float[Array, ""]
    slope: Float[Array, " n"]
    sizes: Float[Array, " n"]  # second derivatives of -ln p, rising, and their directions
    directions: Float[Array, "n n"]
    step: Float[Array, " n"]  # the next one
    left: Float[Array, ""]  # what it promises, twice: the squared distance in standard errors
    share: Float[Array, ""]  # of it that is taken
    count: Int[Array, ""]


@jitted
def _climbed(density: Any, start: Float[Array, " n"]) -> _Climb:
    """The end of Newton steps, upwards along all directions: by the sizes of the second
    derivatives. A step that leads down is made shorter."""
    eps = float(jnp.finfo(start.dtype).eps)

    def slope(u):
        height, gradient = jax.value_and_grad(density)(u)
        return gradient, (height, gradient)

    def look(climb: _Climb) -> _Climb:
        trial = climb.at + climb.share * climb.step
        second, (height, gradient) = jax.jacfwd(slope, has_aux=True)(trial)
        second = jnp.where(jnp.isfinite(second), second, 0.0)
        sizes, directions = jnp.linalg.eigh(-(second + second.T) / 2)
        most = jnp.max(jnp.abs(sizes))
        least = jnp.where(most > 0, jnp.maximum(jnp.abs(sizes), _FLAT * most), 1.0)
        along = gradient @ directions
        step, left = directions @ (along / least), jnp.sum(jnp.square(along) / least)
        one, count = jnp.ones_like(height), climb.count + 1
        better = _Climb(trial, height, gradient, sizes, directions, step, left, one, count)
        worse = eqx.tree_at(lambda c: (c.share, c.count), climb, (climb.share / 4, count))
        rises = height >= climb.height - 8 * eps * jnp.abs(climb.height)
        return jax.tree.map(lambda a, b: jnp.where(rises, a, b), better, worse)

    def goes_on(climb: _Climb) -> Array:
        far = (climb.left > eps**0.75) & (climb.share > eps)
        return (climb.count < _STEPS) & (far | (climb.count == 0))

    zero, square = jnp.zeros_like(start), jnp.zeros((start.size, start.size), start.dtype)
    number = jnp.zeros((), start.dtype)
    begun = _Climb(
        start,
        number - jnp.inf,
        zero,
        zero,
        square,
        zero,
        number,
        number + 1,
        jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(goes_on, look, begun)


def laplace(
    density: Callable[..., Any], start: Float[Array, " n"], labels: tuple[str, ...]
) -> Laplace:
    """The approximation of a density, whose maximum is searched for from `start`."""
    top = _climbed(density, start)
    if is_concrete(top.height):
        _check(top, labels)
    eps, n = float(jnp.finfo(start.dtype).eps), start.size
    good = jnp.isfinite(top.height) & _falls_off(top, eps) & (top.left < eps**0.25)
    inverse = jnp.where(good, 1 / jnp.where(good, top.sizes, 1.0), jnp.nan)
    covariance = (top.directions * inverse) @ top.directions.T
    evidence = top.height + (n * math.log(2 * math.pi) + jnp.log(inverse).sum()) / 2
    mode, height = jnp.where(good, top.at, jnp.nan), jnp.where(good, top.height, jnp.nan)
    return Laplace(mode, covariance, height, evidence)


def _falls_off(top: _Climb, eps: float) -> Any:
    """Whether the density falls off in all directions, by more than rounding."""
    return (top.sizes[0] > eps**0.75 * top.sizes[-1]) & (top.sizes[0] > 0)


def _check(top: _Climb, labels: tuple[str, ...]) -> None:
    """ValueError saying why there is no approximation."""
    eps = float(jnp.finfo(top.at.dtype).eps)
    if not np.isfinite(float(top.height)):
        raise ValueError(
            "`start`: the density is zero there, because the run fails or the parameters have "
            "none; begin at parameters with which the network runs (hopfax.fit finds some)."
        )
    if not bool(_falls_off(top, eps)):
        direction = np.asarray(top.directions)[:, 0]
        direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
        parts = [k for k in np.argsort(-np.abs(direction)) if abs(direction[k]) > _PART]
        text = " ".join(f"{direction[k]:+.2g} {labels[k]}" for k in parts).removeprefix("+")
        raise ValueError(
            "the second derivatives are not those of a maximum: the density does not fall off "
            f"along {text} (free parameters), where -d2 ln p is {float(top.sizes[0]):.2g}; the "
            f"largest is {float(top.sizes[-1]):.2g}. What the data leave open, a prior must "
            "decide: add hopfax.losses.prior to the loss, or free fewer parameters."
        )
    if not float(top.left) < eps**0.25:
        raise ValueError(
            f"no maximum of the density was found: after {int(top.count)} steps the search is "
            f"{float(top.left) ** 0.5:.2g} standard errors away from where its slope would vanish. "
            "Begin nearer to it, as at the result of hopfax.fit."
        )
