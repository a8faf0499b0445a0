r"""Dense memories that hold each memory for a time and then follow to the next one.

Two terms act on the neurons, one with the overlaps of now and one with those of `delay` steps ago.
What a neuron did, $h_i(t')$, enters the overlap with memory $\mu$ through the field of either term.
Through the first it moves that overlap with the factor $\xi^\mu_i$, and through the first it comes
back with the same factor: the square is 1, and the sum over memories is the feedback
$\alpha \lambda^2 K_f' G$. Every other way passes the second term, comes back with the sign of
another memory, as $\xi^\mu_i \xi^{\mu+1}_i$, and vanishes in the sum. The noise of the two terms is
correlated only through the means of the forces: memory $\mu$ enters the field as
$\xi^\mu_i [\lambda f(X^\mu(t)) + (1 - \lambda) \bar f(X^{\mu-1}(t-d))]$, and overlaps with two
memories are independent.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import as_count, as_float, check_within
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar
from ._arguments import checked_beta, checked_point, held_by_paths, plain_kernel, standard_error
from ._kernels import Model
from ._mixture_paths import MixtureSetting, follow_mixture, reached
from ._paths import of_signs
from ._sobol import noise


class MixtureTrajectory(NamedTuple):
    r"""A run through memories that are held for a time, means over scrambles.

    `overlap` $m_k(t)$, (T+1, Q), is that with the memory k calls after the start, for all Q
    memories that T steps can come to; `error` the standard error of its mean over the scrambles
    (NaN with one). `correlation` $C(t, t')$ has shape (T+1, T+1), `response` $G(t, t')$ (T+1, T),
    `feedback` $\Gamma(t, t')$ (T, T).

    **Example:**

    ```python
    power, weights = hx.Power(3), {"share": 0.4, "delay": 2}
    run = hx.theory.dense.mixture_trajectory(power, power, 0.05, 0.9, 4, paths=2**6, **weights)
    run.overlap.shape, run.correlation.shape  # (5, 3), (5, 5)
    ```
    """

    overlap: Float[Array, "T+1 Q"]
    error: Float[Array, "T+1 Q"]
    correlation: Float[Array, "T+1 T+1"]
    response: Float[Array, "T+1 T"]
    feedback: Float[Array, "T T"]


def mixture_trajectory(
    hold: Model,
    follow: Model,
    load: ArrayLike,
    m0: ArrayLike,
    steps: int,
    *,
    share: ArrayLike,
    delay: int = 0,
    beta: ArrayLike = None,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
) -> MixtureTrajectory:
    r"""The overlaps of `DenseSequence` with each memory that it comes to, by the full theory.

    $h_i(t+1) = \mathrm{sgn}\, N^{-p} \sum_\mu [\lambda\, \xi^\mu_i f(X^\mu_i(t)) +
    (1 - \lambda)\, \xi^{\mu+1}_i \bar f(X^\mu_i(t-d))]$ with $M = \alpha N^p$ memories, p = n - 1
    $\ge 2$, and $h(t) = h(0)$ before time 0. As $N \to \infty$ a neuron, its signs multiplied by
    those of the memory of the start, follows

    $$h(t+1) = \mathrm{sgn} \Big[ \sum_{k=0}^{Q-1} \sigma_k
    \{ \lambda\, m_k(t)^p + (1 - \lambda)\, m_{k-1}(t-d)^p \} + v(t) +
    \sum_{t' < t} \Gamma(t, t') h(t') \Big],$$

    $$\langle v(t) v(t') \rangle = \alpha\, [\lambda^2 K(C(t, t')) +
    (1 - \lambda)^2 \bar K(C(t-d, t'-d)) + 2 \lambda (1 - \lambda)\, E f\, E \bar f\,], \qquad
    \Gamma(t, t') = \alpha \lambda^2 K'(C(t, t'))\, G(t, t'),$$

    with random signs $\sigma_k$ of the neuron in the memories that follow ($\sigma_0 = 1$),
    $m_k(t) = \langle \sigma_k h(t) \rangle$, $m_{-1} = 0$, and $E f = \sqrt{K(0)}$, the mean of the
    force, which is 0 for odd forces and many-body ones. Only the term that holds reacts to what the
    neuron did: every loop through the other one comes back with the sign of another memory. One
    memory may be reached in the first step and one more every d + 1 steps.

    Without `share` ($\lambda = 0$) and delay this is `sequence_trajectory`, at $\lambda = 1$
    `solve_gfa`.

    **Arguments:**

    - `hold`, `follow`: the interactions of `DenseSequence`, or their `Kernel`, of one order
        $n \ge 3$. The mean of a force that is not odd is taken as positive.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, a random state of signs; in [-1, 1].
    - `steps`: $T$.
    - `share`: $\lambda$ in [0, 1], the weight of the term that holds.
    - `delay`: $d \ge 0$, a Python int.
    - `beta`, `paths`, `scrambles`, `seed`: as in `solve_gfa`.

    **Returns:** a `MixtureTrajectory`. Errors are largest where a memory gives way to the next, as
    the moment of that shifts. The work grows as paths $\cdot\, T^3$. Under `jit` values out of
    range lead to NaN.

    **Raises:** ValueError for a value out of range, for two orders or order 2, or an interaction
    without Gaussian kernel. **TypeError if it is differentiated**, as sampled signs do not move
    with the parameters.

    Assumes independent unbiased patterns, a sequence that does not close within the run, parallel
    updates, no coupling of neurons to themselves, and $N \to \infty$. Networks scatter by
    $O(N^{-1/2})$ and so change memories at slightly different times: at N = 200, n = 3 and
    $\alpha = 0.1$ overlaps with the third memory that is reached are off by up to 0.05. Derived
    here; the network is that of Kleinfeld 1986; Sompolinsky, Kanter 1986; Chaudhry, Zavatone-Veth,
    Krotov, Pehlevan 2023, arXiv:2306.04532.

    **Example:**

    ```python
    power, weights = hx.Power(3), {"share": 0.4, "delay": 2}
    run = hx.theory.dense.mixture_trajectory(power, power, 0.05, 1.0, 8, paths=2**8, **weights)
    run.overlap.argmax(1)  # 0, 1, 1, 1, 1, 2, 2, 2, 3
    ```
    """
    held, called = _kernel(hold, "hold"), _kernel(follow, "follow")
    if held.order != called.order or held.order < 3:
        raise ValueError(
            "`hold` and `follow` must be of one order, 3 or more, got orders "
            f"{held.order} and {called.order}: at a load of one the other term has no noise or too "
            "much, and memories of order 2 react to each other."
        )
    steps = as_count(steps, "steps")
    delay = min(as_count(delay, "delay", 0), steps)  # nothing but the start is felt by then
    load, m0, _ = checked_point(held, None, load=load, m0=m0)
    share = as_float(share, "share", load.dtype)
    check_scalar(share, "share")
    if is_concrete(share):
        check_within(share, "share", 0.0, 1.0)
    valid = (load > 0) & (abs(m0) <= 1) & (share >= 0) & (share <= 1)
    for model in (held, called):
        valid = valid & held_by_paths(model, load)
    if beta is not None:
        beta = checked_beta(beta, None, load.dtype)
        valid = valid & (beta > 0)
    setting = of_signs(MixtureSetting(held, called, load, m0, share, delay, beta))
    drawn = noise(
        *(held, steps, paths, scrambles, seed),
        thermal=beta is not None,
        horizon="steps",
        others=reached(steps, delay) - 1,
    )
    m, C, G, Gam = follow_mixture(setting, drawn, steps)
    parts = (m.mean(0), standard_error(m), C.mean(0), G.mean(0), Gam.mean(0))
    return MixtureTrajectory(*(jnp.where(valid, part, jnp.nan) for part in parts))


def _kernel(interaction, name):
    """The kernel of the interaction that a user calls `name`."""
    try:
        return plain_kernel(interaction, "mixture_trajectory")
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("`interaction`", f"`{name}`")) from None
