r"""The effective neuron of a network in continuous time, followed on quasi-random paths.

Time is cut into steps of equal length d, and the field counts as a straight line through the last
two times where it is known,

$$x(t+d) = e^{-d} x(t) + a\, u(t) + b\, [u(t) - u(t-d)], \qquad
a = 1 - e^{-d}, \quad b = (e^{-d} - 1 + d) / d,$$

an exponential Adams-Bashforth step: exact where the field is such a line, of second order
otherwise, and of no stiffness in the relaxation. A network that is integrated like this has an
exact theory of its own at every d, which is the sweep of `_paths`: the field of a time is made of
the correlations and responses of that time and earlier ones. Nothing is approximated but the
network's own equation, and the order in d is that of the scheme.

A smooth process has Gaussians that bring ever less that is new, and so the Cholesky factor is kept
from vanishing as in `_paths`. The response $\partial \psi(x(t)) / \partial u(t')$ of a path obeys
the same step, driven by the unit field at t' and by its own feedback.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation
from ..._programs import jitted
from ._kernels import Kernel
from ._paths import cholesky_row, graded_share
from ._sobol import Noise


class FlowSetting(NamedTuple):
    """What a trajectory depends on."""

    kernel: Kernel
    load: Float[Array, ""]
    weight: Float[Array, ""]
    spread: Float[Array, ""]
    horizon: Float[Array, ""]
    activation: AbstractActivation


class _Paths(NamedTuple):
    """Everything that grows with time."""

    m: Array  # (T + 1,) overlap
    C: Array  # (T + 1, T + 1)
    G: Array  # (T + 1, T)
    L: Array  # (T, T) lower, unit diagonal where not yet known
    B: Array  # (T, T) (1 - G)^-1, for order 2
    h: Array  # (T + 1, S) rates
    moved: Array  # (T, T, S) derivatives of the rates, [time, source]


class _Neuron(NamedTuple):
    """The present of every path, (S,), or its derivative by the fields of all times, (T, S)."""

    x: Array
    u: Array  # the field of the time before


@jitted
def follow_flow(setting: FlowSetting, noise: Noise, steps: int):
    """Overlap, C and G of every scramble, one after the other to keep memory small."""
    return jax.lax.map(lambda noise: _follow(setting, noise, steps), noise)


def _follow(setting, noise, T):
    dtype = setting.load.dtype
    z = jnp.asarray(noise.gauss, dtype)
    start = jax.scipy.special.ndtri(jnp.asarray(noise.start, dtype))
    x = setting.weight + setting.spread * start
    h = setting.activation(x)
    S, zeros = x.shape[0], lambda *shape: jnp.zeros(shape, dtype)
    paths = _Paths(
        m=zeros(T + 1).at[0].set(h.mean()),
        C=zeros(T + 1, T + 1).at[0, 0].set((h**2).mean()),
        G=zeros(T + 1, T),
        L=jnp.eye(T, dtype=dtype),
        B=jnp.eye(T, dtype=dtype),
        h=zeros(T + 1, S).at[0].set(h),
        moved=zeros(T, T, S),
    )
    neuron, derivative = _Neuron(x, zeros(S)), _Neuron(zeros(T, S), zeros(T, S))

    def move(carry, t):
        paths, neuron, derivative = carry
        return _step(setting, z, paths, neuron, derivative, t), None

    paths = jax.lax.scan(move, (paths, neuron, derivative), jnp.arange(T))[0][0]
    return paths.m, paths.C, paths.G


def _step(setting, z, paths, neuron, derivative, t):
    """Fields at time t, and the neurons at t + 1."""
    T = z.shape[0]
    R, feedback, B = _reaction(setting, paths, t)
    share = graded_share(z.dtype)
    row, spread, L = cholesky_row(paths.L, R.at[t].multiply(1 + share), t, share)
    signal = setting.kernel.signal(paths.m[t])
    u = signal + row @ z + spread * z[t] + feedback @ paths.h[:T]
    du = jax.nn.one_hot(t, T, dtype=z.dtype)[:, None] + jnp.tensordot(feedback, paths.moved, 1)

    advance = _scheme(setting.horizon / T, t)
    neuron, derivative = advance(neuron, u), advance(derivative, du)
    h = setting.activation(neuron.x)
    moved = setting.activation.slope(neuron.x) * derivative.x
    H = paths.h.at[t + 1].set(h)
    C = H @ h / h.size
    paths = _Paths(
        m=paths.m.at[t + 1].set(h.mean()),
        C=paths.C.at[t + 1].set(C).at[:, t + 1].set(C),
        G=paths.G.at[t + 1].set(moved.mean(-1)),
        L=L,
        B=B,
        h=H,
        moved=paths.moved.at[t + 1].set(moved),  # the last time, no source of feedback, is dropped
    )
    return paths, neuron, derivative


def _scheme(d, t):
    """One step of the scheme; the first has no field before it, and takes the field as constant."""
    a = -jnp.expm1(-d)
    b = jnp.where(t > 0, 1 - a / d, 0.0)

    def advance(neuron, u):
        x = jnp.exp(-d) * neuron.x + a * u + b * (u - neuron.u)
        return _Neuron(x, u)

    return advance


def _reaction(setting, paths, t):
    """Covariance of the noise with that of earlier times, feedback of the rates, and B."""
    kernel, load = setting.kernel, setting.load
    T, G = paths.B.shape[0], paths.G[t]
    if kernel.resummed:
        b = G @ paths.B + jax.nn.one_hot(t, T, dtype=G.dtype)
        B = paths.B.at[t].set(b)
        return load * (B @ (paths.C[:T, :T] @ b)), load * b, B
    C, square = paths.C[t, :T], jnp.diagonal(paths.C)
    now = square[t] * jnp.ones_like(C)
    others = jnp.where(jnp.arange(T) <= t, square[:T], 1.0)  # those to come are not known yet
    R, by_overlap = jax.jvp(lambda C: kernel(C, now, others), (C,), (jnp.ones_like(C),))
    itself = load * (kernel.own(C, now, others) * G).sum()
    return load * R, (load * by_overlap * G).at[t].add(itself), paths.B
