r"""The full theory of dense memories in continuous time, on quasi-random paths."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_count, check_at_least, shown
from ..._interactions import AbstractInteraction
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar, floats
from . import _forces as forces
from ._arguments import check_activation, held_by_paths, standard_error
from ._flow_paths import FlowSetting, follow_flow
from ._kernels import Kernel, kernel
from ._paths import of_signs
from ._sobol import noise


class FlowSolution(NamedTuple):
    r"""A trajectory of the effective neuron in continuous time, means over scrambles.

    `ts` are T + 1 equidistant times from 0 to the horizon. `overlap` is
    $m(t) = \langle \psi(x(t)) \rangle$ and `error` the standard error of its mean over the
    scrambles (NaN with one). `correlation` $C(t, t') = \langle \psi(x(t)) \psi(x(t')) \rangle$ has
    shape (T+1, T+1). `response` $G(t, t')$, (T+1, T), is what a field of unit integral at t' adds
    to $\langle \psi(x(t)) \rangle$, 0 unless t' < t. Where a sum over t' ends it has the weights of
    the scheme: about 1/2 at t' = 0 and 3/2 at the time before t.

    **Example:**

    ```python
    run = hx.theory.dense.solve_flow(hx.Quadratic(), 0.1, 0.4, 2.0, 10, paths=2**6)
    run.ts.shape, run.correlation.shape, run.response.shape  # (11,), (11, 11), (11, 10)
    ```
    """

    ts: Float[Array, " T+1"]
    overlap: Float[Array, " T+1"]
    error: Float[Array, " T+1"]
    correlation: Float[Array, "T+1 T+1"]
    response: Float[Array, "T+1 T"]


def solve_flow(
    interaction: AbstractInteraction | Kernel,
    load: ArrayLike,
    weight: ArrayLike,
    horizon: ArrayLike,
    steps: int,
    *,
    spread: ArrayLike = 0.0,
    activation: AbstractActivation = HardTanh(),
    paths: int = 2**11,
    scrambles: int = 4,
    seed: int = 0,
) -> FlowSolution:
    r"""The trajectory of `DenseFlow` at an extensive load: its dynamical mean-field equations.

    $\dot x = -x + \sum_\mu \xi^\mu m_\mu^p$, $m_\mu = \xi^\mu \cdot \psi(x)/N$, $p = n - 1$, with
    $M = \alpha N^{n-1}$ memories, starts at $x_i = w \xi^1_i + s g_i$, $g_i$ independent Gaussians.
    As $N \to \infty$ a neuron, its signs multiplied by those of the recalled memory, follows

    $$\dot x(t) = -x(t) + m(t)^p + v(t) + \Lambda(t)\, \psi(x(t)) +
    \int_0^t \Gamma(t, t')\, \psi(x(t'))\, dt', \qquad x(0) = w + s g,$$

    $$\langle v(t) v(t') \rangle = \alpha K, \qquad \Gamma = \alpha\, \partial_C K\; G(t, t'),
    \qquad \Lambda(t) = 2 \alpha \int_0^t \partial_q K\; G(t, t')\, dt',$$

    with $m = \langle \psi(x) \rangle$, $C = \langle \psi(x(t)) \psi(x(t')) \rangle$, the response
    $G = \partial \langle \psi(x(t)) \rangle / \partial v(t')$, and the noise kernel
    $K = E\, f(X) f(X')$ of Gaussians of covariance C(t, t') and variances q = C(t, t), C(t', t').
    At order 2 the memories react to each other: with $B = (1 - G)^{-1}$ as operators in time the
    noise has covariance $\alpha B C B^T$ and the feedback is $\alpha B$, whose instantaneous part
    is $\Lambda = \alpha$.

    $\Lambda$ is the coupling of a neuron to itself, which `DenseFlow` keeps:
    $N^{-p} \sum_\mu f'(X^\mu)\, \psi(x_i)$. For odd p the mean of $f'$ over the Gaussian $X^\mu$ is
    not 0, and the sum is $\alpha$ at order 2 and diverges as $N^{(n-2)/2}$ beyond. For even p that
    mean is 0; but memory $\mu$ has shifted its own overlap by
    $N^{1 - p/2} \int G(t, t') f(X(t'))\, dt'$, so that the sum is
    $\alpha \int G\; E\, f''(X(t)) f(X(t'))\, dt'$, which is $\Lambda$; for n = 3
    $2 \alpha \int G(t, t')\, C(t', t')\, dt'$, of the order of $\Gamma$.

    Above capacity the overlap may first rise, as though the memory were recalled, and decay
    thereafter. Cf. Clark 2025, arXiv:2506.05303, for this and for the equations of graded neurons
    (without $\Lambda$); the coupling of neurons to themselves is derived here.

    **Arguments:**

    - `interaction`: `Quadratic()` or `Power` of odd order; or its `Kernel`.
    - `load`: $\alpha > 0$, at order 2 $(M - 1)/N$.
    - `weight`: $w$, the weight of the memory in the start, as in `DenseFlow.init(weights=[w, 0,
        ...])`.
    - `horizon`: the last time, > 0, in time constants of the neurons.
    - `steps`: time steps, T. Their length should be some 0.2: twice as many show what is lost.
    - `spread`: $s \ge 0$, the standard deviation of the start around it.
    - `activation`: $\psi$.
    - `paths`, `scrambles`, `seed`: as in `solve_gfa`.

    **Returns:** a `FlowSolution`. Time steps are those of an exponential Adams-Bashforth scheme,
    $x(t+d) = e^{-d} x(t) + (1 - e^{-d}) u(t) + (e^{-d} - 1 + d)\, [u(t) - u(t-d)]/d$, of second
    order; a network integrated by this scheme has this theory for every step d. The work grows as
    paths $\cdot\, T^3$, memory as 8 bytes times paths $\cdot\, T^2$. Under `jit` values out of
    range lead to NaN. Differentiable with a smooth `activation`.

    **Raises:** ValueError for a value out of range, for an even order from 4 on, and for
    interactions with a rectified or a many-body force. TypeError where a trajectory of HardTanh is
    differentiated, as the slopes of its paths jump.

    Assumes independent unbiased patterns, hidden units without dynamics of their own and
    $N \to \infty$. Networks scatter by $O(N^{-1/2})$ and decay earlier where retrieval is lost: for
    n = 3 at $\alpha = 0.1$ and N = 100 by 0.025 at t = 8, from w = 0.6; near the edge of the basin,
    from w = 0.3 and s = 0.4, by 0.07 at N = 250.

    **Example:**

    ```python
    units = {"activation": hx.Tanh(3.0), "paths": 2**9}
    run = hx.theory.dense.solve_flow(hx.Quadratic(), 0.3, 0.3, 8.0, 32, spread=0.5, **units)
    run.overlap[::8]  # 0.395, 0.66, 0.58, 0.52, 0.49: above capacity it rises and falls again
    ```
    """
    model = _checked_model(interaction)
    steps = as_count(steps, "steps")
    values = floats(load=load, weight=weight, spread=spread, horizon=horizon)
    load, weight, spread, horizon = values
    for name, value in zip(("load", "weight", "spread", "horizon"), values, strict=True):
        check_scalar(value, name)
    check_at_least(load, "load", 0.0, strict=True)
    check_at_least(spread, "spread", 0.0, strict=False)
    check_at_least(horizon, "horizon", 0.0, strict=True)
    check_activation(activation, model)
    moving = (weight != 0) | (spread > 0)
    if is_concrete(moving) and not bool(moving):
        raise ValueError("`weight` or `spread` must not be 0: a network that starts at 0 rests.")
    valid = (load > 0) & (spread >= 0) & (horizon > 0) & moving & held_by_paths(model, load)
    setting = FlowSetting(model, load, weight, spread, horizon, activation)
    if isinstance(activation, HardTanh):
        setting = of_signs(setting)
    drawn = noise(model, steps, paths, scrambles, seed, graded=True, horizon="steps")
    m, C, G = follow_flow(setting, drawn, steps)
    ts = jnp.linspace(0.0, 1.0, steps + 1, dtype=load.dtype) * horizon
    parts = (ts, m.mean(0), standard_error(m), C.mean(0), G.mean(0) * steps / horizon)
    return FlowSolution(*(jnp.where(valid, part, jnp.nan) for part in parts))


def _checked_model(interaction):
    model = kernel(interaction)
    odd_power = isinstance(model.function, forces.Power) and model.order % 2 == 1
    if not (model.resummed or odd_power):
        raise ValueError(
            "`interaction` must be Quadratic() or Power of an odd order, got "
            f"{shown(interaction)}: with other forces the coupling of a neuron to itself, which a "
            "flow keeps, diverges with N (even orders, rectified forces), or a flow has no such "
            "force (many-body)."
        )
    return model
