"""Times: when the next memory takes over, how long each one lasts, and the gain for a period."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import check_at_least
from ..._types import ArrayLike
from .._parameters import floats
from .._told import takes_network
from . import _handover, _network, _singular
from ._arguments import check_finite_tau, check_P
from ._domain import only_inside


def escape_time(Z: ArrayLike, tau: ArrayLike, gain: ArrayLike = 1.0) -> Float[Array, "..."]:
    r"""When an active memory without a self-loop loses its equilibrium: $\tau \ln(g Z)$.

    **Arguments:** `Z`: its saliency at the start. `tau`: the slow time constant. `gain`: $g$ of
    the hard tanh.

    **Returns:** the time in fast time constants, broadcast; NaN for $g Z < 1$.

    **Raises:** ValueError unless `tau` > 0 and `gain` > 0.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Exact: the activity stays saturated till then.

    **Example:**

    ```python
    hx.theory.sequential.escape_time(4.0, 50.0)  # 69.3147 = 50 ln 4
    ```
    """
    Z, tau, gain = floats(Z=Z, tau=tau, gain=gain)
    check_at_least(tau, "tau", 0.0, strict=True)
    check_at_least(gain, "gain", 0.0, strict=True)
    retrieved = gain * Z >= 1
    return jnp.where(retrieved, tau * jnp.log(jnp.where(retrieved, gain * Z, 1.0)), jnp.nan)


def switch_time(
    Z0: ArrayLike, kappa: ArrayLike, tau: ArrayLike, bias: ArrayLike
) -> Float[Array, "..."]:
    r"""When the second memory overtakes the first, to first order in $\epsilon = 1/\tau$.

    $$T = \tau \ln \frac{Z_0}{(1 - \epsilon)(1 + b)} + s, \qquad
    \epsilon (1 + b) \Big[ \frac{e^{r s} - 1 - r s}{r^2} + \frac{e^{r s} - 1}{r} \Big] = 1,$$

    with $r = (z_1 + z_2)/2 - 1$, $z_1 = (1 - \epsilon)(1 + b)$, $z_2 = \kappa (1 - z_1 / Z_0)$. The
    bias $b$ acts on the second memory (index 1) alone; sites where the two memories differ
    desaturate at $z_1 = 1 + b$. At $T$ the two overlaps are equal, $m_1 = m_2$.

    **Arguments:** `Z0`: saliency of the first memory at time 0, all others 0. `kappa`: the gain.
    `tau`: the slow time constant. `bias`: the seed $b$.

    **Returns:** the time in fast time constants, broadcast; NaN where $r \le 0$ (the second memory
    does not take over by itself), $b \le 0$ (there is no seed) or $Z_0$ is below $z_1$. For
    $Z_0 = 4$, $\kappa = 5$, $b = 0.01$ it is too short by 0.0011 $\tau$ at $\tau = 20$ and by 1e-5
    $\tau$ at 200; by more for $b \ll \epsilon$ and small $r$.

    **Raises:** ValueError unless `tau` > 1.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Example:**

    ```python
    hx.theory.sequential.switch_time(4.0, 5.0, 20.0, 0.01)  # 30.6496
    ```
    """
    Z0, kappa, tau, bias = floats(Z0=Z0, kappa=kappa, tau=tau, bias=bias)
    check_at_least(tau, "tau", 1.0, strict=True)
    return _singular.switch_time(Z0, kappa, tau, bias)


@takes_network(_network.cycle)
def dwell_time(
    kappa: ArrayLike, tau: ArrayLike, P: int | float = math.inf, bias: ArrayLike = 0.01
) -> Float[Array, "..."]:
    r"""How long the steady sequence stays in each memory: the period divided by `P`.

    In the singular limit $T = \tau \ln Z_+$ with $Z_+$ of `fixed_points`; here the handover is
    added, which takes a time of order $\ln \tau$.

    **Arguments:**

    - `kappa`: the gain.
    - `tau`: the slow time constant, finite and > 1.
    - `P`: memories in the cycle, an integer >= 3, or `math.inf`.
    - `bias`: the seed $b > 0$, on all memories of a cycle or the next one of an endless chain.

    A `TwoTimescaleHopfield` that is a plain cycle, given first, stands for all parameters that it
    has; keywords win.

    **Returns:** the time in fast time constants, broadcast; NaN where no cycle sustains itself.
    Simulation gives the same within 0.001 $\tau$ for P = 4 and $\kappa = 5$ ($\tau$ from 20 to
    500), and within 0.005 $\tau$ all over the `domain` from 0.15 above the critical gain.

    **Raises:** ValueError for `tau` <= 1, a `bias` that is not positive, or P < 3.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Example:**

    ```python
    hx.theory.sequential.dwell_time(5.0, 20.0, 4)  # 30.23 = 1.512 tau
    ```
    """
    P = check_P(P)
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    check_finite_tau(P, tau, bias, kappa)
    return known_dwell(kappa, tau, P, bias)


def known_dwell(
    kappa: ArrayLike, tau: ArrayLike, P: int | float, bias: ArrayLike
) -> Float[Array, "..."]:
    """`dwell_time`, with NaN in place of an error where it is not derived."""
    kappa, tau, bias = floats(kappa=kappa, tau=tau, bias=bias)
    dwell = tau * _handover.fixed_points(kappa, P, tau, bias)[2]
    return only_inside(dwell, P, tau, bias, kappa)


def gain_for_period(period: ArrayLike, P: int | float, tau: ArrayLike) -> Float[Array, "..."]:
    r"""The gain at which a cycle of `P` memories has the wanted period.

    $$Z = e^{T / (P \tau)}, \qquad \kappa = Z + \sum_{j=0}^{P-2} Z^{-j}.$$

    **Arguments:** `period`: $T$, of the whole cycle. `P`: memories in the cycle. `tau`: the slow
    time constant.

    **Returns:** $\kappa$, exact in the singular limit; at finite $\tau$ the period is longer by
    P handovers. NaN for a period so short that the cycle is the unstable one.

    **Raises:** ValueError for `period` <= 0, `tau` <= 0 or `P` < 2.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Example:**

    ```python
    hx.theory.sequential.gain_for_period(103.6, 4, 20.0)  # 4.9997: with this period Z = 3.651
    ```
    """
    P = check_P(P)
    if P == math.inf:
        raise ValueError("`P` must be finite: an endless chain has no period.")
    period, tau = floats(period=period, tau=tau)
    check_at_least(period, "period", 0.0, strict=True)
    check_at_least(tau, "tau", 0.0, strict=True)
    q = jnp.exp(-period / (P * tau))
    stable = q <= _singular.best_decay(P, jnp.zeros_like(q))
    return jnp.where(stable, _singular.gain(q, P, 0.0), jnp.nan)
