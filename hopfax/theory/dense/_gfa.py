"""The full theory for any number of steps, on quasi-random paths."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_count, check_bool
from ..._types import ArrayLike
from ._arguments import (
    check_activation,
    checked_beta,
    checked_bias,
    checked_point,
    held_by_paths,
    standard_error,
)
from ._kernels import Model, kernel
from ._paths import Setting, follow, of_signs
from ._sobol import noise


class Solution(NamedTuple):
    r"""A trajectory of the effective neuron, means over scrambles.

    `overlap` is $m(0), \dots, m(T)$ and `error` the standard error of its mean over the scrambles
    (NaN with one); `correlation` $C(t, t')$ has shape (T+1, T+1), `response` $G(t, t')$ (T+1, T),
    `feedback` $\Gamma(t, t')$ (T, T).

    **Example:**

    ```python
    run = hx.theory.dense.solve_gfa(hx.Power(3), 0.08, 0.8, 2, paths=2**6)
    run.correlation.shape, run.response.shape, run.feedback.shape  # (3, 3), (3, 2), (2, 2)
    run.error[1:] < 1e-2  # True, True
    ```
    """

    overlap: Float[Array, " T+1"]
    error: Float[Array, " T+1"]
    correlation: Float[Array, "T+1 T+1"]
    response: Float[Array, "T+1 T"]
    feedback: Float[Array, "T T"]


def solve_gfa(
    interaction: Model,
    load: ArrayLike,
    m0: ArrayLike,
    steps: int,
    *,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    beta: ArrayLike = None,
    activation: AbstractActivation | None = None,
    stimulus_overlap: ArrayLike = None,
    self_coupling: bool = False,
    bias: ArrayLike = None,
) -> Solution:
    r"""The trajectory of the full theory: the effective neuron on quasi-random paths.

    Forward in time: the overlaps C of all earlier steps give the noise covariance and one more row
    of its Cholesky factor; this draws the next fields, and they give the next overlaps, with the
    last Gaussian integrated out. The response of signs is found by branching: where a path's field
    is put to its threshold, with the density w of that, both answers are followed on the same
    noise, $G(t+1, t') = \langle w\, [h_+(t+1) - h_-(t+1)] \rangle$. Its spread is some 20 times
    smaller than that of the correlation of answer and noise, and it stays regular when the
    trajectory freezes. Even lags of the response vanish at order 3 and above and are skipped.

    **Arguments:**

    - `interaction`: of `hopfax`, or a `Kernel`.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, a random state of signs; in [-1, 1].
    - `steps`: $T$.
    - `paths`: in each scramble, a power of two.
    - `scrambles`: independent scrambled Sobol sequences, whose spread gives `error`.
    - `seed`: of the scrambles, a Python int.
    - `beta`: inverse temperature of parallel Glauber dynamics, $P(h(t+1) = s) =
        (1 + s \tanh \beta u)/2$; without it signs.
    - `activation`: $\phi$ of graded units $h(t+1) = \phi(u(t))$ in place of signs.
    - `stimulus_overlap`: overlap of the input with the memory, for `input_driven_kernel()` alone.
    - `self_coupling`: whether a neuron feels itself, `keep_diagonal=True` of the network. At order
        2 this adds $\alpha h(t)$, and at odd orders of `Power` $\alpha h(t) \sum_{t'} 2\,
        \partial_a K\, G(t, t')$, a being the variance of $h(t)$ in K: at order 3 $2 \alpha h(t)
        \sum_{t'} G(t, t')$, 0 in the first step, but no small correction from the second on. With
        `bias` at orders 2 and 3 alone, of which the second has $-2 a s \alpha\, h(t)^2$ more.
    - `bias`: mean a of the memories' entries, in (-1, 1), of a network with the usual threshold
        (see below); without it 0.

    **Biased memories**, $P(\xi_i = 1) = (1 + a)/2$, are retrieved if their mean is taken out,

    $$u_i = N^{-p} \sum_\mu (\xi^\mu_i - a)\, f\Big( \sum_{j \ne i} (\xi^\mu_j - a)\, h_j \Big),
    \qquad m = \frac{\langle (\xi - a)\, h \rangle}{1 - a^2} .$$

    With $s = 1 - a^2$ the neurons of the two signs of the recalled memory, which are
    $(1 \pm a)/2$ of all, then feel the signal $(1 \mp a)\, (s m)^p$ (times that sign), noise of
    covariance $\alpha s K$ and the feedback $\alpha s^2 K' G$, with K at the covariance $s C$ and
    variances s: in units of $s^p$ the load is $\alpha s^{2-n}$. `m0` is that of a memory with
    $(1 - m_0)/2$ of its neurons flipped at random. **Memories with a common ancestor** $\zeta$, to
    each entry of which they are equal with probability $(1 + b)/2$, are the same with a = b and
    $\xi - b \zeta$ in place of $\xi - a$: multiply all signs by $\zeta$
    (`hopfax.patterns.correlated` makes them, with b the root of `rho`). **Without the threshold**
    nothing is retrieved at any load if n >= 3: a state that resembles a memory has the mean
    $a m_0$, so all overlaps are of order N, and the memories together make a field of order
    $\alpha N^p$ along their mean, or ancestor, to which the state goes.

    **Returns:** a `Solution`. Errors grow along a trajectory and towards capacity: for n = 3 at
    95 % of capacity from m0 = 1 they are 3e-4 at t = 4 and 2e-3 at t = 20 with $4 \cdot 2^{12}$
    paths. The work grows as paths $\cdot\, T^3$, the program does not grow with T. Under
    `jax.vmap` and in sweeps a run takes about $12\, T^2$ bytes per path; a diagram of 64 x 64
    points with T = 20 and $4 \cdot 2^{10}$ paths took 40 s on two cores.
    Where values are not known, under `jit`, those out of range lead to NaN. Paths of signs are kept
    in float32, which moves overlaps by 1e-7; the rest has the dtype of `load` and `m0`.

    **Raises:** ValueError for a value or combination out of range. **TypeError if it is
    differentiated for signs** (`beta` included) or HardTanh: sampled signs do not move with the
    parameters, and the derivative would be wrong without notice. Use `first_steps`, or differences
    with the same seed. With a smooth `activation` all derivatives are those of the estimate.

    Assumes parallel updates and $N \to \infty$. Networks of N neurons differ by some 5/N (more near
    an edge), those of `RectifiedPower` by $O(N^{-1/2})$: 0.01 at N = 800. The self-coupling is left
    out unless asked for. Kept at even n >= 4 it is $(n-1)(n-3)!!\, \alpha N^{(n-2)/2} h(t)$, and of
    order $\alpha N^{(n-2)/2}$ for `RectifiedPower`, which freezes every state. Eissfeller, Opper
    1992, for following effective neurons; Düring, Coolen, Sherrington 1998 for order 2; Amit,
    Gutfreund, Sompolinsky 1987 for the threshold; Mimura, Takeuchi, Sumikawa, Kabashima, Coolen
    2026, arXiv:2506.00851. Branching, the input-driven network, and self-coupling and bias at
    n >= 3 are derived here.

    **Example:** two steps; the same for biased memories; and a network of 256 neurons that stores
    these. Its entries are no signs, so it keeps the diagonal. Single memories of it differ by 0.07.

    ```python
    run = hx.theory.dense.solve_gfa(hx.Power(3), 0.08, 0.8, 2, paths=2**6)
    run.overlap  # 0.8, 0.8086, 0.8770 of first_steps, within a few times run.error
    options = {"bias": 0.5, "self_coupling": True, "paths": 2**6}
    hx.theory.dense.solve_gfa(hx.Power(3), 0.04, 1.0, 2, **options).overlap  # 1.0, 0.8679, 0.8827

    a, N, M = 0.5, 256, 2621  # load 0.04
    up = jax.random.bernoulli(jax.random.key(0), (1 + a) / 2, (M, N))
    xi = jnp.where(up, 1.0, -1.0)
    memory = hx.DenseMemory(hx.Patterns(xi - a), hx.Power(3), keep_diagonal=True)
    state = memory.step(memory.init(xi[0]))
    memory.overlaps(state)[0] / (1 - a**2)  # 0.8177
    ```
    """
    model = kernel(interaction)
    steps = as_count(steps, "steps")
    load, m0, mu = checked_point(model, stimulus_overlap, load=load, m0=m0)
    check_bool(self_coupling, "self_coupling")
    if self_coupling and not model.holds_diagonal:
        raise ValueError(
            "`self_coupling` must be False for this interaction: it is known for Quadratic and for "
            "odd orders of Power alone. At even orders, and with a rectified force, it freezes the "
            "network; interactions of different neurons have none; of others it is not derived."
        )
    valid = (load > 0) & (abs(m0) <= 1) & held_by_paths(model, load)
    if beta is not None:
        beta = checked_beta(beta, activation, load.dtype)
        valid = valid & (beta > 0)
    if activation is not None:
        check_activation(activation, model)
    if bias is not None:
        bias = checked_bias(bias, model, load.dtype, bool(self_coupling))
        valid = valid & (abs(bias) < 1)
    setting = Setting(model, load, m0, beta, activation, mu, bool(self_coupling), bias)
    if activation is None or isinstance(activation, HardTanh):
        setting = of_signs(setting)
    drawn = noise(
        *(model, steps, paths, scrambles, seed),
        thermal=beta is not None,
        graded=activation is not None,
        horizon="steps",
    )
    m, C, G, Gam = follow(setting, drawn, steps)
    parts = (m.mean(0), standard_error(m), C.mean(0), G.mean(0), Gam.mean(0))
    return Solution(*(jnp.where(valid, part, jnp.nan) for part in parts))
