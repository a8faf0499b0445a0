"""The memoryless theory: a map of the overlap, its iterates and its fixed points."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.scipy.special import erf
from jaxtyping import Array, Bool, Float

from ..._errors import as_count, check_array, check_at_least
from ..._programs import jitted
from ..._roots import implicit_root
from ..._types import ArrayLike
from .._parameters import floats
from .._search import bisect
from ._arguments import checked_bias, plain_kernel
from ._capacity import highest, level, recalled, strengths
from ._kernels import Kernel, Model

_LEAST = 1e-6  # the slope below which a fixed point counts as the fold


class MapFixedPoints(NamedTuple):
    """Overlaps at which the memoryless theory stands still; NaN above capacity.

    `unstable`, `stable`: the two fixed points. `exists`: whether there are any.

    **Example:**

    ```python
    points = hx.theory.dense.map_fixed_points(hx.Power(3), 0.05)
    points.unstable, points.stable, points.exists  # 0.5275, 0.9883, True
    ```
    """

    unstable: Float[Array, "..."]
    stable: Float[Array, "..."]
    exists: Bool[Array, "..."]


def map_step(
    interaction: Model, load: ArrayLike, m: ArrayLike, *, bias: ArrayLike | None = None
) -> Float[Array, "..."]:
    r"""One step without memory of the past.

    $$m \mapsto \mathrm{erf}\Big( \frac{m^{n-1}}{\sqrt{2 \alpha K(1)}} \Big).$$

    For memories of mean a (`bias`, see `solve_gfa`) the load $\alpha$ is replaced by
    $\alpha\, (1 - a^2)^{2-n}$, and erf(x) by $\frac12 \sum_\pm \mathrm{erf}[(1 \pm a)\, x]$, the
    mean over two groups of neurons.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. `load`: $\alpha > 0$. `m`: overlap.
    `bias`: mean of the memories' entries, in (-1, 1), of a network with the usual threshold.

    **Returns:** the next overlap, broadcast over `load` and `m`. Exact for the first step from a
    state that does not depend on the other patterns; from the second step on the network retrieves
    better than this. At order 2 only the first step is meaningful.

    **Raises:** ValueError for `load` <= 0, a `bias` out of range or an interaction without Gaussian
    kernel.

    Assumes zero temperature and $N \to \infty$ (for the first step at finite N see
    `finite_first_step`).

    **Example:**

    ```python
    hx.theory.dense.map_step(hx.Power(3), 0.05, 0.6)  # 0.6474
    hx.theory.dense.map_step(hx.Power(3), 0.05, 0.6, bias=0.3)  # 0.6081
    ```
    """
    model = plain_kernel(interaction, "map_step")
    load, m = floats(load=load, m=m)
    check_at_least(load, "load", 0.0, strict=True)
    return _step(model, load, m, None if bias is None else checked_bias(bias, model, m.dtype))


def map_trajectory(
    interaction: Model,
    load: ArrayLike,
    m0: ArrayLike,
    steps: int,
    *,
    bias: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """The iterates of `map_step`, the start included.

    **Arguments:** `interaction`, `load`, `bias`: as in `map_step`. `m0`: overlap of the start.
    `steps`: how many steps.

    **Returns:** overlaps, with a new last axis of length `steps` + 1.

    **Raises:** as `map_step` does.

    Meant for a comparison with `solve_gfa`, which is the theory of what simulations show.

    **Example:**

    ```python
    hx.theory.dense.map_trajectory(hx.Power(3), 0.05, 0.6, 3)  # 0.6, 0.6474, 0.7208, 0.8202
    ```
    """
    model = plain_kernel(interaction, "map_trajectory")
    load, m0 = floats(load=load, m0=m0)
    check_at_least(load, "load", 0.0, strict=True)
    steps = as_count(steps, "steps")
    load, m0 = jnp.broadcast_arrays(load, m0)
    bias = None if bias is None else checked_bias(bias, model, m0.dtype)
    check_array("the overlaps", 2 * m0.dtype.itemsize, steps=steps, points=m0.size)

    def move(m, _):
        new = _step(model, load, m, bias)
        return new, new

    rest = jax.lax.scan(move, m0, None, length=steps)[1]
    return jnp.moveaxis(jnp.concatenate([m0[None], rest]), 0, -1)


def map_fixed_points(interaction: Model, load: ArrayLike) -> MapFixedPoints:
    r"""Overlaps that the memoryless theory maps to themselves: the replica-symmetric states.

    $m = \mathrm{erf}(x)$ with $\mathrm{erf}(x)^{n-1}/x = \sqrt{2 \alpha K(1)}$ on either side of
    its maximum, or the equation of `capacity` at order 2.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. `load`: $\alpha > 0$.

    **Returns:** a `MapFixedPoints`, broadcast over `load`; NaN and `exists` False above capacity.
    `unstable` is the edge of the basin of the *map*; that of the network lies lower (`basin_edge`).
    Differentiable.

    **Raises:** ValueError for `load` <= 0 or an interaction without Gaussian kernel.

    Assumes zero temperature and $N \to \infty$.

    **Example:**

    ```python
    load = np.array([0.05, 0.08, 0.09])  # the capacity is 0.084
    hx.theory.dense.map_fixed_points(hx.Power(3), load).stable  # 0.9883, 0.9066, nan
    ```
    """
    model = plain_kernel(interaction, "map_fixed_points")
    (load,) = floats(load=load)
    check_at_least(load, "load", 0.0, strict=True)
    return MapFixedPoints(*fixed_points(level, highest(model.order), model, load))


def _step(kernel, load, m, bias):
    signal, noise = strengths(kernel, m, bias)
    return recalled(signal / jnp.sqrt(2 * load * noise), bias)


@jitted
def fixed_points(
    level: Callable, fold: float, kernel: Kernel, load: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."], Bool[Array, "..."]]:
    r"""Lower and upper solution of level(order, x) = $\sqrt{2 \alpha'}$, as overlaps erf(x), and
    whether they exist; `level` has one maximum, at x = `fold`."""
    one = jnp.ones_like(load)
    signal = kernel.signal(one)
    target = jnp.sqrt(2 * load * kernel(one)) / jnp.where(signal > 0, signal, 1.0)
    order = kernel.order
    top = fold * one
    excess = lambda x: level(order, x) - stop_gradient(target)  # noqa: E731
    exists = (load > 0) & (signal > 0) & (excess(top) >= 0)
    last = jnp.maximum(1 / stop_gradient(target), 2 * top)
    stable = bisect(lambda x: -excess(x), top, last)
    unstable = bisect(excess, 0 * top, top)
    points = (erf(_polished(level, order, x, target)) for x in (unstable, stable))
    unstable, stable = (jnp.where(exists, m, jnp.nan) for m in points)
    return unstable, stable, exists


def _polished(level, order, x, target):
    """One Newton step from `x`, with the derivatives with respect to `target`. At the fold the
    slope vanishes: there the step is left out, and derivatives are 0."""
    function, x = eqx.Partial(_excess, level, order, target), stop_gradient(x)
    value, slope = jax.jvp(function, (x,), (jnp.ones_like(x),))
    regular = abs(slope) > _LEAST
    x = x - jnp.where(regular, value / jnp.where(regular, slope, 1.0), 0.0)
    return implicit_root(function, stop_gradient(x), _LEAST)


def _excess(level, order, target, x):
    return level(order, x) - target
