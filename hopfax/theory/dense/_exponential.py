"""Loads of the exponential interaction, whose noise is not Gaussian."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float

from ..._errors import check_at_least
from ..._types import ArrayLike
from .._parameters import floats


class ExponentialLoad(NamedTuple):
    r"""Thresholds of $\alpha = \ln M / N$ for the exponential interaction.

    `one_step`: below it a state of overlap m is mapped to the memory in one step. `frozen`: whether
    the noise there is that of a few memories. `free_energy`: the criterion of the random energy
    model, which is lower, as it leaves out that the signs of the noise cancel. `rigorous`: the
    bound of the theorem, proved at rate 1 (NaN for others).

    **Example:**

    ```python
    load = hx.theory.dense.exponential_load(0.8)
    load.rigorous, load.free_energy, load.one_step  # 0.1840, 0.3662, 0.3681
    ```
    """

    one_step: Float[Array, "..."]
    frozen: Bool[Array, "..."]
    free_energy: Float[Array, "..."]
    rigorous: Float[Array, "..."]


def exponential_load(m: ArrayLike, rate: ArrayLike = 1.0) -> ExponentialLoad:
    r"""One-step thresholds of the exponential interaction $F(X) = e^{\lambda X}$.

    A state of overlap m with one of $M = e^{\alpha N}$ memories is mapped to it if the signal
    $e^{\lambda N m}$ exceeds the noise of all others, whose sum of random signs has the exponent
    $(\alpha + \ln\cosh 2\lambda)/2$ or, once a few memories dominate it, $\lambda x^*$ with
    $I(x^*) = \alpha$:

    $$\alpha_1(m) = \begin{cases} I(m) & m < \tanh 2\lambda \quad \text{(frozen)} \\
    2 \lambda m - \ln\cosh 2\lambda & \text{else,} \end{cases} \qquad
    I(x) = \tfrac{1+x}{2} \ln(1+x) + \tfrac{1-x}{2} \ln(1-x).$$

    The free-energy criterion adds up the noise without signs, which puts $\lambda$ in place of
    $2\lambda$ and $\lambda m - \ln\cosh\lambda$ in the second line. The theorem of Demircigil et
    al. guarantees $I(m)/2$ for rate 1.

    Further steps change nothing of this as $N \to \infty$. Below the threshold signal and noise
    differ by a factor that is exponential in N, so that but an exponentially small part of the
    neurons is wrong after one step, and the memory itself is at rest, as $\alpha_1(1) >
    \alpha_1(m)$. Above it the signs are those of the noise, the overlap is exponentially small, and
    at a smaller overlap the threshold is lower still. There is no slow recall from outside, as with
    powers, whose noise remembers the state. At finite N the second step repairs most errors of the
    first where there are few.

    The weights of `Softmax` have no signs, so the free-energy criterion, with $\lambda = \beta$, is
    that of its first step from a state h of signs: below it the mean of memories that it returns is
    the memory; above it the mean of all others, $\tanh(\beta h)$ for $\alpha > I(\tanh \beta)$,
    which shrinks from step to step if $\beta < 1$, or else of the few that are nearest. From the
    memory itself the weight of the memory is, also at finite N,
    $w = 1/(1 + M \cosh^N\!\beta\; e^{-\beta N})$ on average, and the next overlap
    $w + (1 - w) \tanh \beta$. Recall by attention adds no noise to itself but this exponentially
    small part.

    **Arguments:** `m`: overlap of the state, in [0, 1]. `rate`: $\lambda > 0$.

    **Returns:** an `ExponentialLoad`, broadcast over `m` and `rate`; NaN for m outside [0, 1].

    **Raises:** ValueError for `rate` <= 0.

    Demircigil, Heusel, Löwe, Upgang, Vermet 2017, arXiv:1702.01929; Lucibello, Mézard 2024,
    arXiv:2304.14964, for the random energy model. The one-step threshold is derived here. Assumes
    signs, $N \to \infty$. At finite N and M `exact_recall` has the probability of an error.

    **Example:**

    ```python
    hx.theory.dense.exponential_load(1.0).one_step  # 0.6750: close to ln 2
    ```
    """
    m, rate = floats(m=m, rate=rate)
    check_at_least(rate, "rate", 0.0, strict=True)
    m, rate = jnp.broadcast_arrays(m, rate)
    return ExponentialLoad(*_thresholds(m, rate))


def _thresholds(m, rate):
    inside = (m >= 0) & (m <= 1)
    m = jnp.where(inside, m, 0.5)
    entropy = (xlogy(1 + m, 1 + m) + xlogy(1 - m, 1 - m)) / 2
    log_cosh = lambda x: x + jnp.log1p(jnp.exp(-2 * x)) - math.log(2.0)  # noqa: E731

    def threshold(k):
        frozen = m < jnp.tanh(k * rate)
        return jnp.where(frozen, entropy, k * rate * m - log_cosh(k * rate)), frozen

    one_step, frozen = threshold(2)
    rigorous = jnp.where(rate == 1, entropy / 2, jnp.nan)
    seen = lambda x: jnp.where(inside, x, jnp.nan)  # noqa: E731
    return seen(one_step), frozen & inside, seen(threshold(1)[0]), seen(rigorous)
