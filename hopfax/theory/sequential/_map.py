"""The saliency map of successive memories: its fixed points, its basin, and where it collapses."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._errors import as_count, check_array
from ..._types import ArrayLike
from .._parameters import floats
from .._told import takes_network
from . import _handover, _network, _singular
from ._arguments import check_edge, check_finite_tau, check_no_bias, check_P, is_value
from ._domain import EDGE_LEAST, only_inside


class FixedPoints(NamedTuple):
    """Saliencies at which a sequence repeats itself; NaN where there is none above 1.

    `lower` (unstable), `upper` (stable), and `exists`: whether `upper` does.

    **Example:**

    ```python
    Z = hx.theory.sequential.fixed_points(5.0)
    Z.lower, Z.upper, Z.exists  # 1.3820, 3.6180, True
    ```
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]
    exists: Bool[Array, "..."]


def saliency_map(Z: ArrayLike, kappa: ArrayLike, P: int | float = math.inf) -> Float[Array, "..."]:
    r"""Saliency with which the next memory starts.

    $$Z_{t+1} = \kappa (1 - 1/Z_t) + \prod_{k=t+2-P}^{t} 1/Z_k,$$

    where the product is what is left of the next memory's last visit, absent in an endless chain.

    **Arguments:**

    - `Z`: for `P = math.inf` the present $Z_t$, of any shape. Otherwise the last P - 1 of them
        along the last axis, oldest first; `math.inf` for a visit that never took place.
    - `kappa`: the gain, broadcast against $Z_t$.
    - `P`: memories in the cycle, or `math.inf`.

    **Returns:** $Z_{t+1}$, NaN where some visit had $Z \le 1$: there the sequence has collapsed.

    **Raises:** ValueError if the last axis of `Z` does not have length P - 1.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201; the product is derived here. Singular limit.

    **Example:**

    ```python
    hx.theory.sequential.saliency_map(4.0, 5.0)  # 3.75
    hx.theory.sequential.saliency_map([jnp.inf, jnp.inf, 4.0], 5.0, P=4)  # 3.75: first visits
    hx.theory.sequential.saliency_map([2.0, 2.0, 4.0], 5.0, P=4)  # 3.8125: with a residual
    ```
    """
    P = check_P(P)
    Z, kappa = floats(Z=Z, kappa=kappa)
    if P == math.inf:
        return jnp.where(Z > 1, kappa * (1 - 1 / jnp.where(Z > 1, Z, 2.0)), jnp.nan)
    if Z.ndim == 0 or Z.shape[-1] != P - 1:
        raise ValueError(f"`Z` must hold P - 1 = {P - 1} values in its last axis, got {Z.shape}.")
    inverse = 1 / jnp.where(Z > 1, Z, 2.0)
    new = kappa * (1 - inverse[..., -1]) + jnp.prod(inverse, axis=-1)
    return jnp.where(jnp.all(Z > 1, axis=-1), new, jnp.nan)


def saliency_orbit(
    Z0: ArrayLike, kappa: ArrayLike, steps: int, P: int | float = math.inf
) -> Float[Array, "... T"]:
    r"""Saliencies $Z_0, Z_1, \dots$ of successive memories from $z(0) = Z_0 e_1$.

    Iterates `saliency_map`; the first memory to carry a residual is number P, because the memories
    before it had never been active.

    **Arguments:** `Z0`: the first saliency. `kappa`: the gain. `steps`: how many transitions.
    `P`: memories in the cycle, or `math.inf`.

    **Returns:** `steps` + 1 values along a new last axis, NaN from the first $Z \le 1$ on; the
    finite ones belong to the memories that were retrieved.

    **Raises:** ValueError for `steps` < 0 or `P` < 2.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, with the finite cycle derived here.

    **Example:**

    ```python
    hx.theory.sequential.saliency_orbit(4.0, 5.0, 3)  # 4, 3.75, 3.6667, 3.6364
    hx.theory.sequential.saliency_orbit(4.0, 3.0, 3)  # 4, 2.25, 1.6667, 1.2
    ```
    """
    P = check_P(P)
    steps = as_count(steps, "steps", 0)
    Z0, kappa = floats(Z0=Z0, kappa=kappa)
    orbits = math.prod(np.broadcast_shapes(Z0.shape, kappa.shape))
    check_array("the saliencies", 2 * Z0.dtype.itemsize, steps=steps, orbits=orbits)
    return _singular.orbit(Z0, kappa, steps, P)


@takes_network(_network.cycle)
def fixed_points(
    kappa: ArrayLike, P: int | float = math.inf, *, tau: ArrayLike = math.inf, bias: ArrayLike = 0.0
) -> FixedPoints:
    r"""Saliencies $Z$ at which a sequence repeats itself.

    $$Z_\pm = \tfrac12 \big(\kappa \pm \sqrt{\kappa^2 - 4 \kappa}\big) \quad (P = \infty), \qquad
    \kappa = Z + \sum_{j=0}^{P-2} Z^{-j} \quad (P < \infty).$$

    **Arguments:**

    - `kappa`: the gain.
    - `P`: memories in the cycle, an integer >= 2, or `math.inf`.
    - `tau`, `bias`: as in `critical_gain`. With finite `tau`, $Z$ is the saliency of the next
        memory at the moment when the first site lets go of the active one.

    A `TwoTimescaleHopfield` that is a plain cycle, given first, stands for all parameters that it
    has; keywords win.

    **Returns:** `lower` (unstable) and `upper` (stable), broadcast, NaN where there is none; and
    `exists`, whether `upper` does. In the singular limit only $Z > 1$ counts, so `lower` is NaN for
    P <= 3 and for `kappa` >= P. With finite `tau` it is NaN, too, where the unstable cycle would
    not complete its handovers (far above the saddle-node bifurcation). Differentiable, except at
    the bifurcation itself.

    **Raises:** ValueError for `P` < 2, `tau` <= 1, or a finite `tau` with P = 2, without a seed,
    outside its `domain` or with `kappa` above 1000.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the endless chain; finite P and finite
    $\tau$ are derived here.

    **Example:**

    ```python
    hx.theory.sequential.fixed_points(5.0, 4).upper  # 3.6511
    hx.theory.sequential.fixed_points(np.array([3.9, 4.0, 5.0])).upper  # nan, 2, 3.6180
    ```
    """
    P = check_P(P)
    if is_value(tau, math.inf):
        check_no_bias(bias)
        return FixedPoints(*_singular.fixed_points(floats(kappa=kappa)[0], P))
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias, kappa)
    found = _handover.fixed_points(kappa, P, tau, bias)[:2]
    lower, upper = (only_inside(Z, P, tau, bias, kappa) for Z in found)
    return FixedPoints(lower, upper, ~jnp.isnan(upper))


@takes_network(_network.cycle)
def basin_edge(
    kappa: ArrayLike, P: int | float = math.inf, *, tau: ArrayLike = math.inf, bias: ArrayLike = 0.0
) -> Float[Array, "..."]:
    r"""Smallest $Z_0$ for which the sequence started from $z(0) = Z_0 e_1$ goes on for ever.

    For an endless chain this is $Z_-$ of `fixed_points`. In a finite cycle the memories not yet
    visited lack their residual saliency, so that the edge can lie above the steady $Z_+$; it is
    found by bisection on `saliency_orbit` (300 transitions).

    **Arguments:** `kappa`, `P`, `tau`, `bias`: as in `fixed_points`.

    A `TwoTimescaleHopfield` that is a plain cycle, given first, stands for all parameters that it
    has; keywords win.

    **Returns:** the edge, at least 1 in the singular limit, infinite where every start collapses;
    NaN, which is possible under a trace alone, where no prediction is derived. Differentiable in
    the singular limit; with finite `tau` the derivative is NaN, and in simulations of cycles the
    edge lies between 4 % below this and 0.6 % above it.

    **Raises:** ValueError as `fixed_points` does, and with finite `tau` where the edge lies below
    0.8 (large gains), where the first memory is no plateau and nothing is derived.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the endless chain; the rest is derived
    here.

    **Example:**

    ```python
    hx.theory.sequential.basin_edge(5.0)  # 1.3820 = fixed_points(5.0).lower
    hx.theory.sequential.basin_edge(5.0, 4)  # 1.3695
    ```
    """
    P = check_P(P)
    if is_value(tau, math.inf):
        check_no_bias(bias)
        (kappa,) = floats(kappa=kappa)
        if P != math.inf:
            return _singular.basin_edge(kappa, P)
        chain = fixed_points(kappa)
        return jnp.where(chain.exists | jnp.isnan(kappa), chain.lower, jnp.inf)
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias, kappa)
    edge = _handover.basin_edge(kappa, P, tau, bias)
    check_edge(edge, kappa)
    return _derived(edge, kappa, P, tau, bias)


def known_edge(
    kappa: ArrayLike, P: int | float, tau: ArrayLike, bias: ArrayLike
) -> Float[Array, "..."]:
    """`basin_edge` at finite `tau`, with NaN in place of an error where it is not derived."""
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    return _derived(_handover.basin_edge(kappa, P, tau, bias), kappa, P, tau, bias)


def _derived(edge, kappa, P, tau, bias):
    return only_inside(jnp.where(edge > EDGE_LEAST, edge, jnp.nan), P, tau, bias, kappa)


def visited_before_collapse(Z0: ArrayLike, kappa: ArrayLike) -> Float[Array, "..."]:
    r"""How many memories an endless chain retrieves before it collapses.

    The number of $t$ with $Z_t > 1$. For $\kappa < 4$ the map is a rotation,
    $Z_t = \sqrt\kappa \sin((t+1) \theta + \varphi) / \sin(t \theta + \varphi)$ with
    $\cos \theta = \sqrt\kappa / 2$, so the count is $\lceil (\pi - \varphi) / \theta \rceil - 2$,
    at most about $2 \pi / \sqrt{4 - \kappa}$.

    **Arguments:** `Z0`: the first saliency. `kappa`: the gain.

    **Returns:** the count as a float: infinite where the sequence goes on for ever, 0 for
    $Z_0 \le 1$; NaN in the cases with $\kappa \ge 4$ that collapse from below $Z_-$, for which
    `saliency_orbit` gives the number.

    Derived here from the map of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Singular limit.

    **Example:**

    ```python
    hx.theory.sequential.visited_before_collapse(4.0, np.array([3.0, 3.9, 5.0]))  # 4, 17, inf
    ```
    """
    return _singular.visited(*floats(Z0=Z0, kappa=kappa))
