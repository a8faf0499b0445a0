"""Where the recall of sequences ends: capacity, stationary states and the edge of the basin."""

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf, erfinv
from jaxtyping import Array, Bool, Float

from ..._errors import check_at_least
from ..._types import ArrayLike
from .._parameters import floats
from ._arguments import plain_kernel
from ._capacity import Capacity, capacity, highest, level
from ._kernels import Model
from ._map import fixed_points


class SequenceFixedPoints(NamedTuple):
    """Overlaps at which the recall of a sequence is stationary; NaN above capacity.

    `unstable`, `stable`: the two fixed points. `edge`: the overlap of a random start from which on
    the sequence is recalled. `exists`: whether there are any.

    **Example:**

    ```python
    points = hx.theory.dense.sequence_fixed_points(hx.Quadratic(), 0.2)
    points.unstable, points.stable, points.edge  # 0.6111, 0.9661, 0.3853
    ```
    """

    unstable: Float[Array, "..."]
    stable: Float[Array, "..."]
    edge: Float[Array, "..."]
    exists: Bool[Array, "..."]


def sequence_capacity(interaction: Model) -> Capacity:
    r"""Largest load at which a sequence of memories is recalled without end.

    Order 2: from $\rho = 1/(1 - G^2)$ of `sequence_trajectory` and $m = \mathrm{erf}(x)$,
    $x = m/\sqrt{2 \alpha \rho}$,

    $$\alpha_c = \max_x \Big[ \frac{\mathrm{erf}(x)^2}{2 x^2} - \frac{2}{\pi} e^{-2x^2} \Big]
    = 0.26906162914 ,$$

    nearly twice the 0.1379 of static memories. Order n >= 3: `capacity`, exact here, while static
    memories obey it in the replica-symmetric approximation only: scaled loads of 0.252190431
    (n = 3), 0.197860119 (4), 0.172772554 (5).

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`.

    **Returns:** a `Capacity`, to machine precision; `overlap` is that with the memory that is due.

    **Raises:** ValueError for an interaction without Gaussian kernel, or the input-driven one.

    Assumes zero temperature and what `sequence_trajectory` does. Above it the sequence fades within
    some steps, more of them the closer the load. Errors are tolerated: for recall without any see
    `error_free_capacity`. Düring, Coolen, Sherrington 1998, cond-mat/9805073 (0.269), for order 2.

    **Example:**

    ```python
    hx.theory.dense.sequence_capacity(hx.Quadratic()).load  # 0.2691
    ```
    """
    model = plain_kernel(interaction, "sequence_capacity")
    if not model.resummed:
        return capacity(model)
    x = _highest()
    load = jnp.asarray(_load(x))
    return Capacity(load, load, jnp.asarray(math.erf(x)))


def sequence_fixed_points(interaction: Model, load: ArrayLike) -> SequenceFixedPoints:
    r"""Stationary overlaps of the recall of a sequence, and the edge of its basin.

    Order n >= 3: those of the map, $m = \mathrm{erf}(m^{n-1} / \sqrt{2 \alpha K(1)})$, with the
    unstable one as the edge. Order 2: $m = \mathrm{erf}(x)$ at both x with
    $\alpha = \mathrm{erf}(x)^2 / 2x^2 - (2/\pi)\, e^{-2x^2}$. There the map of $(m, \rho)$ depends
    on $x = m/\sqrt{2 \alpha \rho}$ alone,

    $$x \mapsto \frac{\mathrm{erf}(x)}{\sqrt{2 \alpha + (4/\pi)\, e^{-2x^2}}},$$

    and increases with it. A start has $\rho = 1$, so the edge is
    $m_0 = x_- \sqrt{2 \alpha}$ with the lower solution $x_-$: below the unstable fixed point, where
    the noise is stronger than at the start.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. `load`: $\alpha > 0$.

    **Returns:** a `SequenceFixedPoints`, broadcast over `load`; NaN and `exists` False above
    capacity. At odd order a start of overlap $-m_0$ is as good as one of $m_0$ (not for
    `RectifiedPower`). Differentiable.

    **Raises:** ValueError for `load` <= 0 or an interaction without Gaussian kernel.

    Assumes zero temperature and what `sequence_trajectory` does. The edge is derived here.

    **Example:**

    ```python
    load = np.array([0.1, 0.2, 0.3])  # the capacity is 0.269
    hx.theory.dense.sequence_fixed_points(hx.Quadratic(), load).edge  # 0.1676, 0.3853, nan
    ```
    """
    model = plain_kernel(interaction, "sequence_fixed_points")
    (load,) = floats(load=load)
    check_at_least(load, "load", 0.0, strict=True)
    if not model.resummed:
        lower, upper, exists = fixed_points(level, highest(model.order), model, load)
        return SequenceFixedPoints(lower, upper, lower, exists)
    lower, upper, exists = fixed_points(_level, _highest(), model, load)
    return SequenceFixedPoints(lower, upper, erfinv(lower) * jnp.sqrt(2 * load), exists)


def _load(x: float) -> float:
    return math.erf(x) ** 2 / (2 * x**2) - 2 / math.pi * math.exp(-2 * x**2)


@lru_cache
def _highest() -> float:
    """The x at which the load of order 2 is largest, by bisection of its slope."""
    low, high = 0.1, 6.0
    for _ in range(80):
        x = (low + high) / 2
        gauss, m = 2 / math.sqrt(math.pi) * math.exp(-(x**2)), math.erf(x)
        slope = m * gauss / x**2 - m**2 / x**3 + 2 * x * gauss**2
        low, high = (x, high) if slope > 0 else (low, x)
    return (low + high) / 2


_SMALL = 0.05  # below it, the series: its error is 1e-11, that of the difference 1e-13 there


def _level(order, x):
    r"""$\sqrt{2 \alpha}$ at which m = erf(x) is stationary at order 2. It vanishes with x, where it
    is the small difference of two squares."""
    small = x < _SMALL
    y = jnp.where(small, x, 0.0) ** 2
    series = 4 / math.pi * (4 / 3 + y * (-76 / 45 + y * (128 / 105 - 0.631534 * y)))
    x = jnp.where(small, 1.0, x)
    full = (erf(x) / x) ** 2 - 4 / math.pi * jnp.exp(-2 * x**2)
    return jnp.where(small, jnp.sqrt(y) * jnp.sqrt(series), jnp.sqrt(full))
