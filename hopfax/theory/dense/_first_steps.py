r"""The first four steps of the effective neuron by quadrature.

From order 3 on the feedback $\Gamma(t, t')$ vanishes for even $t - t'$: h(t+1) is influenced by
h(t-1), h(t-3), ..., and the states of even and of odd times form two chains, which only their
correlated noise couples. So no mean of the first four steps needs an integral over more than three
Gaussians (the overlap of h(2) and h(3) does), and `_orthants` reduces these to one dimension.

In the code `s` is the start h(0) = +-1, `s0` the first answer h(1) and `s1` the second one h(2);
`v0`, `v1`, ... is the noise and `c0` the signal of time 0, 1, ...; `b1` is signal and feedback of
time 1. Fields are in units of the standard deviation of the noise.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from ..._errors import as_count
from ..._programs import jitted
from ..._types import ArrayLike
from ._arguments import checked_point
from ._kernels import Model, kernel
from ._orthants import three, two


class FirstSteps(NamedTuple):
    r"""The start of a trajectory.

    `overlap`: $m(0), m(1), \dots$. `correlation`, `response`, `feedback`: $C$, $G$ and $\Gamma$
    among the times 0 to `steps` - 1, the later time first.

    **Example:**

    ```python
    start = hx.theory.dense.first_steps(hx.Power(3), 0.08, 0.8, 2)
    start.correlation[1, 0], start.response[1, 0], start.feedback[1, 0]  # 0.6469, 0.6938, 0.1436
    ```
    """

    overlap: Float[Array, " T+1"]
    correlation: Float[Array, "T T"]
    response: Float[Array, "T T"]
    feedback: Float[Array, "T T"]


def first_steps(
    interaction: Model,
    load: ArrayLike,
    m0: ArrayLike,
    steps: int = 4,
    *,
    stimulus_overlap: ArrayLike = None,
) -> FirstSteps:
    r"""The first steps of the full theory by quadrature, smooth in every parameter.

    With $r = \alpha K(1)$, $p_s = (1 + s m_0)/2$ and $\varphi$ the Gaussian density of variance r,

    $$m_1 = \mathrm{erf} \frac{m_0^p}{\sqrt{2r}}, \quad
    m_2 = \sum_{s = \pm 1} p_s\, \mathrm{erf} \frac{m_1^p + \Gamma_{10} s}{\sqrt{2r}}, \quad
    \Gamma_{10} = \alpha K'(m_0 m_1)\, 2 \varphi(m_0^p),$$

    and so on: even and odd times decouple, so four steps need Gaussian integrals of two and three
    variables, here reduced to one dimension.

    **Arguments:**

    - `interaction`: of `hopfax`, or a `Kernel`.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, which is otherwise random; in [-1, 1].
    - `steps`: up to 4; up to 2 at order 2 and for the input-driven network.
    - `stimulus_overlap`: overlap of the input with the memory, for `input_driven_kernel()` alone.

    **Returns:** a `FirstSteps`, accurate to 1e-8 or better in float64. Where values are not known,
    under `jit`, those out of range lead to NaN. Differentiable in `load`, `m0` and the weights of
    an interaction.

    **Raises:** ValueError for a value out of range.

    Assumes zero temperature, parallel updates, no self-coupling and $N \to \infty$ (networks of
    N neurons with `RectifiedPower` differ by $O(N^{-1/2})$, others by some 5/N). Mimura,
    Takeuchi, Sumikawa, Kabashima, Coolen 2026, arXiv:2506.00851; the reduction is derived here.

    **Example:**

    ```python
    hx.theory.dense.first_steps(hx.Power(3), 0.08, 0.8, 2).overlap  # 0.8, 0.8086, 0.8770
    ```
    """
    model = kernel(interaction)
    most = 2 if model.resummed or model.input_driven else 4
    steps = as_count(steps, "steps")
    if steps > most:
        raise ValueError(
            f"`steps` must be at most {most} for this interaction, but is {steps}; `solve_gfa` "
            "takes any number."
        )
    load, m0, mu = checked_point(model, stimulus_overlap, load=load, m0=m0)
    valid = (load > 0) & (abs(m0) <= 1)
    if model.resummed:
        result = _quadratic(load, m0, steps)
    elif mu is not None:
        valid = valid & (abs(mu) <= 1)
        result = _input_driven(load, m0, mu, steps)
    else:
        result = _plain(model, load, m0, steps)
    return FirstSteps(*(jnp.where(valid, part, jnp.nan) for part in result))


@jitted
def _plain(kernel, load, m0, steps):
    """Overlaps, C, G and Gamma of `steps` <= 4 steps for order >= 3."""
    r = load * kernel(jnp.ones_like(m0))
    root = jnp.sqrt(r)
    rho = lambda C: load * kernel(C) / r  # noqa: E731
    D = lambda C: load * kernel.slope(C)  # noqa: E731
    both = jnp.array([1.0, -1.0], m0.dtype)
    s, p = both, (1 + both * m0) / 2  # h(0) and its probability; a first axis where both matter
    C, G, Gam = {}, {}, {}

    # h(1) = sgn(c0 + v0)
    m = [m0]
    c0 = kernel.signal(m0) / root
    m.append(erf(c0 / 2**0.5))
    C[1, 0] = m0 * m[1]
    G[1, 0] = 2 * _density(c0) / root
    Gam[1, 0] = D(C[1, 0]) * G[1, 0]

    # h(2) = sgn(c1 + Gam10 s + v1)
    if steps > 1:
        b1 = (kernel.signal(m[1]) + Gam[1, 0] * s) / root
        m.append((p * _sign(b1)).sum())
        C[2, 0] = (p * s * _sign(b1)).sum()
        G[2, 1] = (p * 2 * _density(b1)).sum() / root
        r01 = rho(C[1, 0])
        C[2, 1] = (p * _pair(c0, b1, r01)).sum()
        Gam[2, 1] = D(C[2, 1]) * G[2, 1]

    # h(3) = sgn(c2 + Gam21 s0 + v2), s0 = h(1)
    if steps > 2:
        s0 = both
        b2 = (kernel.signal(m[2]) + Gam[2, 1] * s0) / root
        r02 = rho(C[2, 0])
        part = 2 * two(s0 * c0, b2, s0 * r02) - ndtr(s0 * c0)
        m.append(part.sum())
        C[3, 0] = m0 * m[3]
        C[3, 1] = (s0 * part).sum()
        spread = jnp.sqrt(jnp.maximum(1 - r02**2, _tiny(r02)))
        at = (b2 - r02 * c0) / spread  # with v0 at the threshold
        G[3, 0] = _density(c0) / root * (s0 * _sign(at)).sum()
        # density of u2 at 0 and the probability of s0 given it
        given = ndtr(s0 * (c0 - r02 * b2) / spread)
        G[3, 2] = (2 * _density(b2) * given).sum() / root
        Gam[3, 0] = D(C[3, 0]) * G[3, 0]

    # h(4) = sgn(c3 + Gam30 s + Gam32 s1 + v3), s1 = h(2)
    if steps > 3:
        s, p, b1, s1 = s[:, None], p[:, None], b1[:, None], both
        C[3, 2] = (p * _triple(s0, c0, b1, b2, r01, r02, rho(C[2, 1]))).sum()
        Gam[3, 2] = D(C[3, 2]) * G[3, 2]
        b3 = (kernel.signal(m[3]) + Gam[3, 0] * s + Gam[3, 2] * s1) / root
        m.append((p * (2 * two(s1 * b1, b3, s1 * rho(C[3, 1])) - ndtr(s1 * b1))).sum())
    return _padded(m, C, G, Gam, steps)


@jitted
def _quadratic(load, m0, steps):
    """Order 2, two steps: the memories react to each other."""
    root = jnp.sqrt(load)
    m1 = erf(m0 / (root * 2**0.5))
    C, G = {(1, 0): m0 * m1}, {(1, 0): 2 * _density(m0 / root) / root}
    Gam = {(1, 0): load * G[1, 0]}
    spread = jnp.sqrt(load * (1 + 2 * G[1, 0] * C[1, 0] + G[1, 0] ** 2))
    m2 = sum((1 + s * m0) / 2 * _sign((m1 + s * Gam[1, 0]) / spread) for s in (1, -1))
    return _padded([m0, m1, m2][: steps + 1], C, G, Gam, steps)


@jitted
def _input_driven(load, m0, mu, steps):
    """Two steps with an input of overlap mu with the recalled memory."""
    c0 = mu * m0
    spread = jnp.sqrt(load * (1 + 2 * c0**2))
    m1 = erf(mu * m0 / (spread * 2**0.5))
    C, G = {(1, 0): m0 * m1}, {(1, 0): 2 * _density(mu * m0 / spread) / spread}
    Gam = {(1, 0): load * G[1, 0]}
    spread = jnp.sqrt(load * (1 + 2 * (mu * m1) ** 2))
    m2 = jnp.zeros_like(m1)
    for s in (1, -1):
        for y in (1, -1):
            p = (1 + s * m0) * (1 + y * mu) / 4
            m2 = m2 + p * _sign((mu * m1 + Gam[1, 0] * (s + 2 * c0 * y)) / spread)
    return _padded([m0, m1, m2][: steps + 1], C, G, Gam, steps)


def _density(x):
    """The density of a unit Gaussian."""
    return jnp.exp(-(x**2) / 2) / (2 * jnp.pi) ** 0.5


def _sign(x):
    """The mean of sgn(x + g), with a unit Gaussian g."""
    return erf(x / 2**0.5)


def _tiny(x):
    """What is still told apart from 0 next to 1."""
    return 16 * float(jnp.finfo(x.dtype).eps)


def _pair(x, y, rho):
    """The mean of sgn(x + g) sgn(y + g'), with unit Gaussians of correlation rho."""
    return 4 * two(x, y, rho) - 2 * ndtr(x) - 2 * ndtr(y) + 1


def _triple(s, x, y, z, xy, xz, yz):
    """The mean of sgn(y + g') sgn(z + g'') over the cases in which sgn(x + g) is s. The unit
    Gaussians g, g', g'' have the correlations xy, xz, yz."""
    x, xy, xz = s * x, s * xy, s * xz
    return 4 * three(x, y, z, xy, xz, yz) - 2 * two(x, y, xy) - 2 * two(x, z, xz) + ndtr(x)


def _padded(m, C, G, Gam, steps):
    """Overlaps as an array; matrices from their entries {(later, earlier): value}."""
    eye = jnp.eye(steps, dtype=m[0].dtype)

    def matrix(entries, start):
        for (t, s), value in entries.items():
            if t < steps:
                start = start.at[t, s].set(value)
        return start

    C = matrix({**C, **{(s, t): value for (t, s), value in C.items()}}, eye)
    return jnp.stack(m), C, matrix(G, 0 * eye), matrix(Gam, 0 * eye)
