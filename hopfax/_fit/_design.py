r"""The transition matrix of a cycle with given dwells, in closed form.

In the limit $\tau \to \infty$ the saliencies relax to $s_\nu = \kappa_\nu A_{\nu\mu}$ while memory
$\mu$ is active, and the memory gives way when its own saliency has fallen to 1. Round a cycle in
which every memory occurs once, this fixes the gains $\kappa A$. Other sequences: `_gains`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import (
    as_count,
    as_float,
    as_indices,
    check_at_least,
    check_memory,
    check_shape,
    shown,
)
from .._types import ArrayLike
from ..losses import Events
from ..losses._order import check_memories
from ..theory.sequential import itinerary, switch_time


class Design(NamedTuple):
    """A transition matrix for a cycle, as `design_cycle` returns it.

    - `kappa`: the largest gain. `transition`: (P, P), the gains divided by `kappa`. Both together
      make a network.
    - `saliency`: (1, P), the saliencies at the start.
    - `multiplier`: the size of the largest Floquet multiplier of the map from round to round. A
      deviation from the cycle is multiplied by it in each round, so the cycle is stable below 1.
      NaN if the cycle does not come round.

    **Example:**

    ```python
    design = hx.design_cycle([0, 2, 1, 3], 30.0, tau=20.0)
    isinstance(design, hx.Design)  # True
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), design.transition, kappa=design.kappa, tau=20.0, bias=0.01
    )
    state = network.init(saliency=design.saliency[0])
    ```
    """

    kappa: Float[Array, ""]
    transition: Float[Array, "P P"]
    saliency: Float[Array, "S P"]
    multiplier: Float[Array, ""]


def design_cycle(
    order: ArrayLike,
    dwell: ArrayLike,
    *,
    P: int | None = None,
    tau: ArrayLike = 1.0,
    delay: ArrayLike = 0.0,
) -> Design:
    r"""The transition matrix of a cycle with given dwells, in closed form.

    With $u_k = T_k/\tau$ the dwell of the $k$-th memory and $U = \sum_k u_k$, only the edges
    $k \to k + 1$ are needed, with gains

    $$g_k = e^{-d}\, \frac{e^{u_{k+1}} - e^{-(U - u_{k+1})}}{1 - e^{-u_k}},$$

    which for equal dwells is $\kappa = Z + \sum_{j=0}^{P-2} Z^{-j}$, $Z = e^u$. At the start every
    saliency has the value that its last visit would have left, so that the cycle is periodic from
    the beginning.

    **Arguments:**

    - `order`: the memories in turn, none twice (else `hopfax.fit_sequence`).
    - `dwell`: $T_k$, one for all or one a memory.
    - `P`: memories of the network (default: as `order` needs).
    - `tau`: slow time constant, in the units of `dwell`.
    - `delay`: $d$, how long a handover takes, in slow time constants; 0 is the singular limit. A
        good value is the difference of `theory.sequential.switch_time` and `escape_time`, divided
        by tau.

    **Returns:** a `Design`. Exact for orthogonal memories, hard tanh of unit gain, a linear readout
    and $\tau \to \infty$.

    **Raises:** ValueError for a memory that occurs twice, or dwells that are not positive.

    Derived for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Example:**

    ```python
    design = hx.design_cycle([0, 2, 1, 3], 30.0, tau=20.0)
    design.kappa  # 5.75
    design.transition[2, 0], design.multiplier < 1  # 1, True
    ```
    """
    memories = np.asarray(as_indices(order, "order"))
    if memories.ndim != 1 or memories.size < 2:
        raise ValueError(f"`order` must list at least two memories, got {shown(order)}.")
    K = memories.size
    if len(set(memories.tolist())) < K:
        raise ValueError(
            f"`order` must name every memory once, got {memories.tolist()}; sequences that pass a "
            "memory twice are for hopfax.fit_sequence."
        )
    P = int(memories.max()) + 1 if P is None else as_count(P, "P")
    check_memory("P", 16 * P * P, f"a matrix of {P:,} x {P:,}")
    check_memories(Events(memories, cycle=True), P)
    dwell, tau, delay = as_float(dwell, "dwell"), as_float(tau, "tau"), as_float(delay, "delay")
    check_at_least(dwell, "dwell", 0.0, strict=True)
    check_at_least(tau, "tau", 0.0, strict=True)
    for name, value in (("tau", tau), ("delay", delay)):
        check_shape(value, name, (), "()")
    check_at_least(delay, "delay", 0.0, strict=False)
    if dwell.shape not in ((), (K,)):
        raise ValueError(f"`dwell` must be a number or have shape ({K},), got {dwell.shape}.")
    u = jnp.broadcast_to(dwell / tau, (K,))
    following = jnp.roll(u, -1)
    whole = u.sum()
    left = jnp.exp(-delay)
    gains = left * (jnp.exp(following) - jnp.exp(following - whole)) / -jnp.expm1(-u)
    if not bool(jnp.isfinite(gains).all()):
        raise ValueError("`dwell` is too long for `tau`: the gains, e^(dwell / tau), overflow.")
    matrix = jnp.zeros((P, P), u.dtype).at[np.roll(memories, -1), memories].set(gains)
    # A memory left with saliency exp(-d) has since seen the dwells from the next one on.
    since = jnp.cumsum(u[::-1])[::-1] - u
    start = jnp.zeros(P, u.dtype).at[memories].set(left * jnp.exp(-since))
    start = start.at[memories[0]].set(left * jnp.exp(u[0]))
    kappa = gains.max()
    multiplier = _multiplier(matrix, start, K)
    return Design(kappa, matrix / kappa, start[None], multiplier)


def _multiplier(matrix: Float[Array, "P P"], start: Float[Array, " P"], K: int) -> Float[Array, ""]:
    """The size of the largest Floquet multiplier of the map that goes once round a cycle of K."""

    def round_(z):
        return itinerary(matrix, 1.0, 1.0, z, K + 1).saliency[-1]

    jacobian = np.asarray(jax.jacfwd(round_)(start))
    if not np.isfinite(jacobian).all():
        return jnp.full((), jnp.nan, start.dtype)
    return jnp.asarray(np.abs(np.linalg.eigvals(jacobian)).max(), start.dtype)


def handover(tau: float, bias: float) -> float:
    """About how long a handover takes, in slow time constants: as in an endless chain at gain 5.

    It depends little on the gain. A network without bias is taken to have one of 1 / tau.
    """
    seed = bias if bias > 0 else 1 / tau
    if not tau > 1:
        return 0.0
    late = float(switch_time(4.0, 5.0, tau, seed)) / tau - math.log(4.0)
    return min(max(late, 0.0), 0.5) if math.isfinite(late) else 0.0
