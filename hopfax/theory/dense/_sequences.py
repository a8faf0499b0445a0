r"""Sequences of memories: the field of memory mu + 1 is driven by the overlap with memory mu.

Why this theory is exact in closed form, while that of static memories needs paths. Let
$y_\mu(t) = N^{-1/2} \sum_i \xi^\mu_i h_i(t)$ be the overlap with a memory that is not due. What a
neuron did, $h_i(t')$, enters $y_\mu$ with the factor $\xi^\mu_i$, moves the next overlap
$y_{\mu+1}$, and comes back to the neuron with the factor $\xi^{\mu+2}_i$. Summed over $\mu$ the
product $\xi^\mu_i \xi^{\mu+2}_i$ has a random sign and vanishes as $N^{-1/2}$; with static memories
it is $(\xi^\mu_i)^2 = 1$, which is the feedback $\Gamma$. For the same reason a coupling of the
neuron to itself, $\xi^\mu_i \xi^{\mu+1}_i$, vanishes. What is left is Gaussian noise, whose
covariance follows from
$y_{\mu+1}(t+1) = z_{\mu+1}(t+1) + G(t+1, t)\, N^{(1-p)/2} f(y_\mu(t))$
with a Gaussian z of covariance C: at p = 1 the overlaps carry the noise on, from p = 2 on they do
not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, Tanh
from ..._errors import as_count, check_array, check_at_least, check_within
from ..._programs import jitted
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar, floats
from ._arguments import check_activation, checked_beta, plain_kernel
from ._kernels import Model
from ._orthants import two


class SequenceTrajectory(NamedTuple):
    r"""A run through a sequence of memories, a last axis of times 0, ..., T.

    `overlap`: $m(t)$ with the memory that is due at time t. `noise`: the variance of the noise in
    the field of time t. `response`: $G(t+1, t)$, the only one that is not 0; its last entry is that
    of the step after the last.

    **Example:**

    ```python
    run = hx.theory.dense.sequence_trajectory(hx.Quadratic(), 0.2, 0.6, 3)
    run.noise, run.response  # 0.2, 0.3052, 0.2702, 0.2406 and 0.7254, 0.4797, 0.3877, 0.2989
    ```
    """

    overlap: Float[Array, "... T+1"]
    noise: Float[Array, "... T+1"]
    response: Float[Array, "... T+1"]


def sequence_trajectory(
    interaction: Model,
    load: ArrayLike,
    m0: ArrayLike,
    steps: int,
    *,
    beta: ArrayLike = None,
    activation: AbstractActivation | None = None,
) -> SequenceTrajectory:
    r"""The overlap with the memory that is due, along a sequence of memories.

    $h_i(t+1) = \mathrm{sgn}\, N^{-p} \sum_\mu \xi^{\mu+1}_i f(X^\mu_i(t))$ goes from each of
    $M = \alpha N^{n-1}$ memories to the next. With the overlap $m$ of the memory that is due and
    the variance v of the noise,

    $$m(t+1) = \mathrm{erf} \frac{m(t)^p}{\sqrt{2 v(t)}}, \qquad v(t) = \begin{cases}
    \alpha K(1) & n \ge 3 \\ \alpha \rho(t) & n = 2, \end{cases}$$

    $$\rho(t+1) = 1 + G(t+1, t)^2 \rho(t), \qquad
    G(t+1, t) = \sqrt{\tfrac{2}{\pi v(t)}}\, e^{-m(t)^2 / 2 v(t)}, \qquad \rho(0) = 1 .$$

    For $n \ge 3$ this is `map_trajectory`, here exact at all times: the retarded self-interaction
    vanishes since the memory which a neuron's past calls is not the one that it came from, and
    overlaps do not carry noise on. At order 2 they do, which gives $\rho$. At inverse temperature
    $\beta$, or for graded units $h(t+1) = \phi(u(t))$, erf is replaced by
    $E\, \phi(m^p + \sqrt v g)$ with $\phi(u) = \tanh \beta u$, G by
    $E\, \phi'$, 1 in $\rho$ by $q(t+1) = \langle h(t+1)^2 \rangle$, and K(1) by K at the
    variance q(t).

    **Arguments:**

    - `interaction`: of `hopfax`, or a `Kernel`.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, signs that are random otherwise; in [-1, 1].
    - `steps`: $T$.
    - `beta`: inverse temperature of parallel Glauber dynamics, $P(h(t+1) = s) =
        (1 + s \tanh \beta u)/2$; without it signs.
    - `activation`: $\phi$ of graded units.

    **Returns:** a `SequenceTrajectory`, broadcast over `load` and `m0`. Differentiable. Exact to
    rounding; with an `activation` whose square has a kink, as HardTanh, to 1e-5.

    **Raises:** ValueError for a value out of range, for `beta` together with `activation`, or an
    interaction without Gaussian kernel. Under `jit`, where values are not known, those out of range
    lead to NaN.

    Assumes independent unbiased patterns whose sequence does not close within the run (a cycle of
    M memories, a chain, a permutation of long cycles), parallel updates and $N \to \infty$, with or
    without a coupling of the neurons to themselves. Networks of N neurons scatter by
    $O(N^{-1/2})$; where this makes some of them lose the sequence, their mean is lower: for n = 3
    and N = 200 by 0.014 after four steps from m0 = 0.9 at 95 % of capacity, by 0.03 at 119 %.
    Order 2: Düring, Coolen, Sherrington 1998, cond-mat/9805073. Orders from 3 on
    and graded units: derived here.

    **Example:**

    ```python
    run = hx.theory.dense.sequence_trajectory(hx.Quadratic(), 0.2, 0.6, 3)
    run.overlap  # 0.6, 0.8203, 0.8624, 0.9029
    hx.theory.dense.sequence_trajectory(hx.Power(3), 0.05, 0.6, 3).overlap  # 0.6, 0.6474, ...
    ```
    """
    model = plain_kernel(interaction, "sequence_trajectory")
    load, m0 = _checked(load, m0)
    steps = as_count(steps, "steps")
    valid = (load > 0) & (abs(m0) <= 1)
    if beta is not None:
        beta = checked_beta(beta, activation, load.dtype)
        valid = valid & (beta > 0)
    if activation is not None:
        check_activation(activation, model)
    load, m0, valid = jnp.broadcast_arrays(load, m0, valid)
    check_array("the overlaps", 3 * m0.dtype.itemsize, steps=steps, points=m0.size)
    parts = _followed(model, beta, activation, load.ravel(), m0.ravel(), steps)
    return SequenceTrajectory(
        *(
            jnp.where(valid[..., None], part.reshape(*m0.shape, steps + 1), jnp.nan)
            for part in parts
        )
    )


def sequence_correlation(
    interaction: Model, load: ArrayLike, m0: ArrayLike, steps: int
) -> Float[Array, "T T"]:
    r"""$C(t, t') = N^{-1} \sum_i h_i(t) h_i(t')$ of two states along a sequence of memories.

    The memories that are due at two times are independent, so the signals $\pm x(t)$, in units of
    the noise $\sqrt{v(t)}$, have independent signs, and only the noise correlates the states:

    $$C(t+1, t'+1) = \tfrac12 \sum_{s = \pm 1} E\, \mathrm{sgn}(x(t) + g)\,
    \mathrm{sgn}(s\, x(t') + g'), \qquad E\, g g' = K(C(t, t')) / K(1), \qquad C(t, 0) = 0 .$$

    Where K(0) = 0 (`Quadratic`, `ManyBody`, `Power` of even order) states of different times are
    not correlated. `Power` of odd order and `RectifiedPower` have $K(0) > 0$: part of their noise
    is a random field $\propto \sum_\mu \xi^{\mu+1}_i$, the same at all times.

    **Arguments:** `interaction`, `load`, `m0`, `steps`: as in `sequence_trajectory`; `load` and
    `m0` are scalars.

    **Returns:** C of the times 0 to `steps`, to 1e-8 in float64. Differentiable.

    **Raises:** ValueError for a value out of range or an interaction without Gaussian kernel.

    Assumes signs, zero temperature and what `sequence_trajectory` does. Derived here.

    **Example:**

    ```python
    hx.theory.dense.sequence_correlation(hx.Power(3), 0.3, 0.5, 2)[2, 1]  # 0.2084
    hx.theory.dense.sequence_correlation(hx.ManyBody(3), 0.3, 0.5, 2)[2, 1]  # 0
    ```
    """
    model = plain_kernel(interaction, "sequence_correlation")
    load, m0 = _checked(load, m0)
    check_scalar(load, "load")
    check_scalar(m0, "m0")
    steps = as_count(steps, "steps")
    nodes = 128 if model.order > 2 else 1  # of the quadrature within
    check_array("the correlations", nodes * m0.dtype.itemsize, steps=steps, again=steps)
    valid = (load > 0) & (abs(m0) <= 1)
    if model.resummed:
        return jnp.where(valid, jnp.eye(steps + 1, dtype=m0.dtype), jnp.nan)
    return jnp.where(valid, _correlated(model, load, m0, steps), jnp.nan)


def _checked(load, m0):
    load, m0 = floats(load=load, m0=m0)
    check_at_least(load, "load", 0.0, strict=True)
    if is_concrete(m0):
        check_within(m0, "m0", -1.0, 1.0)
        m0 = jnp.clip(m0, -1.0, 1.0)
    return load, m0


@jitted
def _followed(kernel, beta, activation, load, m0, steps):
    """The trajectories of vectors of loads and starts, each quantity with the times last."""

    def one(load, m0):
        def variance(q, rho):
            if kernel.resummed:
                return load * rho
            return load * (kernel(q) if activation is None else kernel(q, q, q))

        def move(state, _):
            m, q, rho = state
            v = variance(q, rho)
            mean, square, G = _answer(kernel.signal(m), jnp.sqrt(v), beta, activation)
            return (mean, square, square + G**2 * rho), (m, v, G)

        one = jnp.ones_like(m0)
        return jax.lax.scan(move, (m0, one, one), None, length=steps + 1)[1]

    return jax.vmap(one)(load, m0)


def _answer(c, spread, beta, activation):
    """Mean, mean square and mean slope of the answer to a field c + `spread` g, g Gaussian."""
    if beta is None and activation is None:
        x = c / spread
        slope = 2 * jnp.exp(-(x**2) / 2) / ((2 * jnp.pi) ** 0.5 * spread)
        return erf(x / 2**0.5), jnp.ones_like(c), slope
    phi = activation or Tanh(beta)
    mean, slope = jax.jvp(lambda c: phi.averaged(c, spread), (c,), (jnp.ones_like(c),))
    if beta is not None:
        return mean, jnp.ones_like(c), slope
    g = jnp.asarray(np.linspace(-8.5, 8.5, 1001), c.dtype)
    weight = jnp.exp(-(g**2) / 2)
    return mean, (weight * phi(c + spread * g) ** 2).sum() / weight.sum(), slope


@jitted
def _correlated(kernel, load, m0, steps):
    """C, one row of all lags k at a time: C(t + k, t) gives C(t + 1 + k, t + 1)."""
    one = jnp.ones_like(m0)
    noise = jnp.sqrt(load * kernel(one))

    def move(m, _):
        x = kernel.signal(m) / noise
        return erf(x / 2**0.5), x

    x = jax.lax.scan(move, m0, None, length=steps)[1]
    lags = jnp.arange(1, steps + 1)

    def advance(C, t):
        late = x[jnp.minimum(t + lags, steps - 1)]  # what is beyond the end is cut off below
        rho = kernel(C) / kernel(one)
        both = two(late, x[t] * jnp.ones_like(late), rho) + two(late, -x[t] + 0 * late, rho)
        return 2 * (both - ndtr(late)), C

    times = jnp.arange(steps)
    rows = jax.lax.scan(advance, jnp.zeros(steps, m0.dtype), times)[1]  # C(t + k, t) at [t, k - 1]
    t = jnp.arange(steps + 1)
    low, lag = jnp.minimum(t[:, None], t), abs(t[:, None] - t)
    found = rows[jnp.minimum(low, steps - 1), jnp.maximum(lag, 1) - 1]
    return jnp.where(lag == 0, 1.0, found)
