"""Averages over a Gaussian variable, values without a derivative, intervals of probabilities."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

_Tree = TypeVar("_Tree")


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _blocked(x, message):
    return x


@_blocked.defjvp
def _(message, primals, tangents):
    raise TypeError(message)


def not_differentiable(tree: _Tree, message: str) -> _Tree:
    """The same tree, which raises a TypeError with this message when it is differentiated."""
    return jax.tree.map(lambda x: _blocked(x, message) if eqx.is_inexact_array(x) else x, tree)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _once(parts, message):
    return parts


@_once.defjvp
def _(message, primals, tangents):
    return [_blocked(x, message) for x in primals[0]], tangents[0]


def differentiable_once(tree: _Tree, message: str) -> _Tree:
    """The same tree, which raises a TypeError with this message when it is differentiated twice, in
    whatever mode. To be given all that a function depends on, at once."""
    moving, still = eqx.partition(tree, eqx.is_inexact_array)
    parts, structure = jax.tree.flatten(moving)
    return eqx.combine(jax.tree.unflatten(structure, _once(parts, message)), still)


def gaussian_average(
    psi: Callable,
    slope: Callable,
    gain: Float[Array, ""],
    x: Float[Array, "..."],
    std: Float[Array, ""],
    nodes: int = 101,
) -> Float[Array, "..."]:
    r"""$E\,\psi(x + s g)$ with $g \sim N(0, 1)$ for an odd $\psi$ of slope `gain` at 0.

    $\psi$ must be analytic on the real line: a kink, also one in its slope, costs many digits.

    Where $\psi$ varies slowly over the width $s$ of the noise, Gauss-Hermite quadrature is exact to
    rounding. Where $\psi$ is steeper it would miss the step, so there the average is

    $$E\,\psi(x + s g) = \int_0^\infty \psi'(u)\, [\Phi((x + u)/s) - \Phi((u - x)/s)]\, du$$

    by the trapezoidal rule in $w$, with $u = \sinh(w) / \mathrm{gain}$: its points are dense near
    the step and still reach beyond the noise.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = jnp.asarray(weights / weights.sum(), dtype=x.dtype)
    points = jnp.asarray(points, dtype=x.dtype)
    wide = jnp.tensordot(psi(x[..., None] + std * points), weights, axes=1)

    unit = jnp.linspace(0.0, 1.0, nodes, dtype=x.dtype)
    last = jnp.arcsinh(gain * (jnp.abs(x) + 9 * std))[..., None]
    w = last * unit
    u = jnp.sinh(w) / gain
    between = ndtr((x[..., None] + u) / std) - ndtr((u - x[..., None]) / std)
    values = slope(u) * between * jnp.cosh(w) / gain
    steep = (values.sum(-1) - (values[..., 0] + values[..., -1]) / 2) * last[..., 0] / (nodes - 1)
    return jnp.where(gain * std > 1, steep, wide)


def gaussian_moments(function: Callable) -> tuple[float, float]:
    r"""$\langle z\, g(z) \rangle$ and $\langle g(z)^2 \rangle$ over a standard normal z, of a
    function of arrays that may jump: to 1e-5, and to rounding if it does so at 0 alone.

    **Raises:** ValueError unless both are finite, the first is positive and the mean of g is 0.
    """
    z = (np.arange(_CELLS) + 0.5) * (2 * _FARTHEST / _CELLS) - _FARTHEST
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    try:
        g = np.asarray(function(z))
    except Exception as error:
        raise ValueError(
            "`synapses` must be a function of an array, written with jax.numpy or NumPy (jnp.where "
            f"in place of if); of one it raises {type(error).__name__}: {error}"
        ) from error
    if g.shape != z.shape or g.dtype.kind not in "biuf":
        raise ValueError(
            "`synapses` must be a function of an array that returns one of the same shape, but "
            f"made {g.dtype} {g.shape} of {z.dtype} {z.shape}."
        )
    g = g.astype(float)
    slope, size = float((weight * z * g).sum()), float((weight * g**2).sum())
    mean = float((weight * g).sum())
    if not (np.isfinite(size) and slope > 1e-12):
        raise ValueError(
            "`synapses` must be a function that grows with z, as jnp.sign does; the mean of "
            f"z g(z) over a standard normal z is {slope:g}, and that of g(z)^2 {size:g}."
        )
    if abs(mean) > 1e-6 * size**0.5:
        raise ValueError(
            f"`synapses` must be an odd function, but its mean over a standard normal z is "
            f"{mean:g}: subtract it, as all neurons would excite each other by it."
        )
    return slope, size


_FARTHEST, _CELLS = 10.0, 2**18


def wilson(hits: Any, number: Any, level: float) -> tuple[Any, Any]:
    """Wilson's confidence interval of a probability, of `hits` in `number` trials; the whole of
    [0, 1] where there are none."""
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    middle = (hits + z**2 / 2) / (number + z**2)
    some = np.maximum(number, 1)
    half = z * np.sqrt(hits * (number - hits) / some + z**2 / 4) / (number + z**2)
    # With no hit, or with nothing else, an end is exact, which rounding must not spoil.
    return (middle - half) * (hits != 0), 1 - (1 - middle - half) * (hits != number)
