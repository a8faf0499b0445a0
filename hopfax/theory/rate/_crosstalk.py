"""Noise of the current in a memory among random ones."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import as_count, check_option
from ..._rate_activations import AbstractRateActivation
from ..._types import ArrayLike
from ._design import checked_design
from ._plane import root


class Crosstalk(NamedTuple):
    r"""How far random memories disturb the currents in a memory.

    `deviation`: standard deviation $\sigma$ of the current. `margin`: distance of the nearer of a,
    b from the steep part of the activation, $[I^*, I^* + 1/\rho]$; negative inside it, and minus
    infinity for threshold-linear neurons, of which the active ones are always in it.

    **Example:**

    ```python
    noise = hx.theory.rate.crosstalk(hx.Logistic(), -0.3, 0.95, 0.2, P=14, N=1000)
    noise.deviation, noise.margin  # 0.0570, 0.5000: retrieval is reliable
    ```
    """

    deviation: Float[Array, "..."]
    margin: Float[Array, "..."]


def crosstalk(
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    P: int,
    N: int,
    activity: str = "fixed",
) -> Crosstalk:
    r"""Noise of the current in a memory among random ones, for the covariance design with r = q.

    Memories of exactly q N active neurons overlap by chance alone,

    $$\sigma^2 = (b - a)^2\, \frac{q (1-q)(P - 1)}{N - 1}.$$

    If each neuron is active independently (Bernoulli), the activities fluctuate too. The other
    memories then couple to the second moment of the rates, not to their variance, and the weight
    and the mean rate of the memory itself differ from those of the design:

    $$\sigma^2 = \frac{\kappa^2}{N} \Big[ (P - 1)\,(q \phi_b^2 + (1-q) \phi_a^2)
    + (\phi_a + (1-q) D)^2 \Big] + \frac{\gamma^2 D^2 q (1-q)}{N}.$$

    **Arguments:** `phi`, `a`, `b`, `q`: as in `design`; `q` is the activity of the design, not a
    measured one. `P`, `N`: memories and neurons. `activity`: "fixed" or "bernoulli".

    **Returns:** a `Crosstalk`, broadcast over a, b and q. The average is over neurons and draws;
    for "bernoulli" to leading order in 1/N. Retrieval is reliable while the deviation is well below
    the margin. "projection" has no crosstalk.

    **Raises:** ValueError for P < 1, N < 2, another `activity`, and as `design` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    hx.theory.rate.crosstalk(hx.Logistic(), -0.3, 0.95, 0.2, 14, 1000, "bernoulli").deviation
    # 0.0712: more than the 0.0570 of memories with equal activities
    ```
    """
    P, N = as_count(P, "P", most=2**31 - 1), as_count(N, "N", 2, 2**31 - 1)
    check_option(activity, "activity", ("fixed", "bernoulli"))
    _, a, b, q, _, made = checked_design(phi, a, b, q)
    difference = made.active - made.silent
    if activity == "fixed":
        variance = (b - a) ** 2 * q * (1 - q) * (P - 1) / (N - 1)
    else:
        others = (P - 1) * (q * made.active**2 + (1 - q) * made.silent**2)
        own = (made.silent + (1 - q) * difference) ** 2
        mean = made.gamma**2 * difference**2 * q * (1 - q)
        variance = (made.kappa**2 * (others + own) + mean) / N
    start, width = phi.threshold.astype(q.dtype), 1 / phi.gain.astype(q.dtype)
    margin = jnp.minimum(start - a, b - start - width)
    if phi.ceiling != 1.0:
        margin = jnp.full_like(margin, -jnp.inf)
    deviation = jnp.where(made.exists, root(variance), jnp.nan)
    return Crosstalk(deviation, jnp.where(made.exists, margin, jnp.nan))
