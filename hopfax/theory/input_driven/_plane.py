r"""Two memories in the stimulus: the plane of their mixtures.

Neurons at which the two memories agree have the field $\pm p$, the others $\pm q$, with
$x = a_1 \xi^1 + a_2 \xi^2$, $p = a_1 + a_2$, $q = a_1 - a_2$. With the overlap r of the memories a
fraction $(1 + r)/2$ of the neurons agree,

$$m_{1, 2} = \tfrac{1 + r}{2} \psi(p) \pm \tfrac{1 - r}{2} \psi(q), \qquad
p + d\, \psi(p) = \alpha_1 m_1 + \alpha_2 m_2, \quad
q + d\, \psi(q) = \alpha_1 m_1 - \alpha_2 m_2,$$

where $d = (\alpha_1 + \alpha_2)/N$ without self-couplings, else 0. Everything that is at rest lies
in this plane, as the field has no other parts.

For hard tanh of gain g the system is linear where a neuron is not saturated. With
$\Sigma = \alpha_1 + \alpha_2$, $\alpha_1 - \alpha_2 = \Delta\, y$ and $y = 1 - 2s$, the states that
can be stable are, up to a common sign and with $t = 2/g + 2 d$:

    memory 1    p and q saturated     y > h,  h = (t - Sigma (1 - r)) / (Delta (1 + r))
    mixture     p saturated, q not    g q = y / h with |y| < h, and l h < y^2,
                                      l = (t - Sigma (1 + r)) / (Delta (1 - r))
    nothing     neither               y^2 < l h, l > 0 and h > 0

and memory 2 for y < -h. If h < 0 both memories are stable for |y| < -h, and the mixture is the
saddle between them.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from ..._activations import HardTanh
from ..._roots import implicit_root, implicit_rows
from .._search import bisect
from ._amplitude import amplitude
from ._arguments import slope_at_zero


class Edges(NamedTuple):
    """What is stable at which $y = 1 - 2s$, the difference of the two weights."""

    memory: Float[Array, "..."]  # memory 1 is stable for y above this, memory 2 below minus it
    silence: Float[Array, "..."]  # nothing is retrieved for |y| below this
    jump: Bool[Array, "..."]  # whether memory 1 ends in a jump


def edges(amplitude, overlap, leaks, share, activation) -> Edges:
    """The edges, of one saliency A (1-s), A s and what leaks from it."""
    sums = jnp.where(leaks, amplitude * (1 + overlap), amplitude)
    differences = jnp.where(leaks, amplitude * (1 - overlap), amplitude)
    slope = slope_at_zero(activation, amplitude)
    t = 2 / slope + 2 * sums * share
    h = (t - sums * (1 - overlap)) / (differences * (1 + overlap))
    low = (t - sums * (1 + overlap)) / (differences * (1 - overlap))
    both = h < 0
    product = jnp.where(both, 0.0, jnp.maximum(low, 0.0) * h)
    silence = jnp.where(product > 0, jnp.sqrt(jnp.where(product > 0, product, 1.0)), 0.0)
    if isinstance(activation, HardTanh):
        apart = overlap == 0  # then l = h, but for rounding: there is no mixture between them
        return Edges(h, jnp.where(apart, jnp.maximum(h, 0.0), silence), both | apart)
    pitchfork, jump = _pitchfork(jnp.where(both, amplitude, 0.0), share, activation)
    return Edges(jnp.where(both, pitchfork, h), jnp.maximum(h, 0.0), both & jump)


def _pitchfork(total, share, activation):
    r"""Where a memory loses its stability against the stronger one, orthogonal memories and smooth
    $\psi$: $\alpha_1 = a/\psi(a)$ and $\alpha_2 = 1/\psi'(a)$, whose sum is known and grows with a.

    Whether it jumps there: along the mixtures $\delta\alpha_2$ is minus the coefficient of the
    cubic term, so that they exist before the edge, as saddles, if that is positive."""
    unit = 2 / slope_at_zero(activation, total)
    effective = total * (1 - 2 * share)
    there = effective > unit
    effective = jnp.where(there, effective, 2 * unit)
    frozen, still = stop_gradient((effective, activation))
    a = bisect(lambda a: _sum_of_two(frozen, still, a), 1e-9 * frozen, frozen)
    a = implicit_root(eqx.Partial(_sum_of_two, effective, activation), stop_gradient(a))

    def derivative(function):
        return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    first, curvature = activation.slope(a), derivative(activation.slope)
    alpha, rival = a / activation(a), 1 / first
    cubic = alpha * curvature(a) ** 2 / (2 * (1 - alpha * first)) + derivative(curvature)(a) / 6
    y = (alpha - rival) / jnp.where(there, total, 1.0)
    return jnp.where(there, y, 0.0), there & (cubic > 0)


def _sum_of_two(effective, activation, a):
    """$(a/\\psi + 1/\\psi' - T)\\, \\psi \\psi'$, without a denominator that may vanish."""
    psi, slope = activation(a), activation.slope(a)
    return a * slope + psi - effective * psi * slope


def saddle(first, second, activation) -> tuple[Array, Array, Bool[Array, "..."]]:
    """The mixture between two memories of these saliencies that are both stable: the overlaps with
    them (..., 2), its fields (..., 2), and whether there is one. Orthogonal memories; saliencies
    are those without the missing self-coupling."""
    swapped = second > first
    strong, weak = jnp.maximum(first, second), jnp.minimum(first, second)
    slope = slope_at_zero(activation, first)
    a, exists = amplitude(weak, activation)
    exists = exists & (strong * activation.slope(a) < 1)
    strong, weak = (jnp.where(exists, part, 2 / slope) for part in (strong, weak))
    if isinstance(activation, HardTanh):
        mean, half = (strong + weak) / 2, (strong - weak) / 2
        q = half / (1 - slope * mean)  # between -1/g and 0
        fields = jnp.stack([mean + half * slope * q, q], -1)
    else:
        fields = _smooth_saddle(strong, weak, activation)
    psi = activation(fields)
    m = jnp.stack([psi.sum(-1), psi[..., 0] - psi[..., 1]], -1) / 2
    m = jnp.where(swapped[..., None], m[..., ::-1], m)
    return m, fields, exists


def _smooth_saddle(strong, weak, activation):
    r"""With $r = -q \ge 0$: $p + r = w (\psi(p) + \psi(r))$, $p - r = z (\psi(p) - \psi(r))$, w the
    weaker saliency. For each ratio r/p the first equation has one p; the ratio is bisected."""
    z, w, psi = stop_gradient((strong, weak, activation))

    def inner(ratio):
        def excess(p):
            return (1 + ratio) * p - w * (psi(p) + psi(ratio * p))

        return bisect(excess, 1e-9 * w, 2 * w / (1 + ratio) * 1.001, 56)

    def outer(ratio):
        p = inner(ratio)
        return (1 - ratio) * p - z * (psi(p) - psi(ratio * p))

    ratio = bisect(outer, jnp.zeros_like(w), jnp.ones_like(w), 56)
    p = inner(ratio)
    fields = jnp.stack([p, -ratio * p], -1)
    at_rest = eqx.Partial(_at_rest, strong, weak, activation)
    return implicit_rows(at_rest, stop_gradient(fields))


def _at_rest(strong, weak, activation, fields):
    psi = activation(fields)
    p, q = psi[..., 0], psi[..., 1]
    mean, half = (strong + weak) / 2, (strong - weak) / 2
    return fields - jnp.stack([mean * p + half * q, half * p + mean * q], -1)


def energy(first, second, fields, activation):
    """Energy per neuron of a state with these fields (..., 2) of the neurons that agree and of
    those that do not."""
    psi = activation(fields)
    p, q = psi[..., 0], psi[..., 1]
    m1, m2 = (p + q) / 2, (p - q) / 2
    return activation.potential(fields).mean(-1) - (first * m1**2 + second * m2**2) / 2
