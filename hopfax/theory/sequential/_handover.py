r"""The handover from one memory to the next at finite timescale separation.

While memory 1 gives way to memory 2, every site either agrees or disagrees between the two. With
orthogonal memories and hard tanh the two mean fields obey

$$\dot d = -d + z_1 m_1 - z_2 m_2 + b_1 - b_2, \qquad \dot s = -s + z_1 m_1 + z_2 m_2 + b_1 + b_2,$$
$$m_{1,2} = \tfrac12 E[\psi(s + o) \pm \psi(d + o)], \qquad
\tau \dot z_1 = -z_1, \qquad \tau \dot z_2 = -z_2 + \kappa m_1,$$

where $o$ is what the biases of the other memories add up to at a site (a centred binomial). Fast
and slow dynamics interact here alone: between handovers everything is exponential. The response of
the other overlaps, which is O(bias), is left out, and so two overlaps are enough.

A steady cycle is found in four stages.

1. `handover` integrates these equations from the moment when the first site of the active memory
   desaturates until all sites follow the next one.
2. `_cycle` joins the handover to the exponentials, and finds the dwell and the gain that close the
   cycle, for a given saliency Z of the next memory at the first desaturation.
3. `_gain_at` repeats this with the gain that was found, as the handover depends on it (secant
   method).
4. `_fold` looks for the Z at which that gain is smallest, the saddle-node bifurcation of cycles. On
   either side of it `fixed_points` finds the two cycles of a given gain.

The searches are frozen. Derivatives are those of the equation that their result solves.
"""

import math
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from ..._misc import differentiable_once
from ..._programs import kept, traced_once
from ..._roots import implicit_root
from .._search import minimise, multisect
from ._domain import EDGE_LEAST

#: Runge-Kutta steps of a handover: gains and dwells are accurate to about 1e-6.
STEPS = 512
#: Runge-Kutta steps, and transitions to survive, for basins, where the answer is yes or no.
COARSE_STEPS, TRANSITIONS = 384, 32
#: Places at which a round of the search for an edge looks, and rounds.
GRID, ROUNDS = 9, 6

#: Runge-Kutta steps over kinks, at fixed times, do not see what a kink adds to second derivatives.
_SECOND = (
    "second derivatives of cycles at finite `tau` are not known: take differences of first "
    "derivatives, by jax.grad or jax.jvp, or the limit `tau` = inf."
)


class Handover(NamedTuple):
    r"""Times in units of $\tau$, counted from the moment when the first site desaturates.

    `fall` and `rise` replace the gradual change of the two overlaps by steps: a step at that time
    would charge the saliencies as much as the change does.
    """

    fall: Float[Array, ""]  # the step of overlap 1 from 1 to 0
    rise: Float[Array, ""]  # the step of overlap 2 from 0 to 1
    end: Float[Array, ""]  # when all sites follow memory 2
    done: Bool[Array, ""]


class Cycle(NamedTuple):
    r"""A steady cycle in which the next memory has saliency $Z$ when the first site of the active
    one desaturates."""

    gain: Float[Array, ""]
    dwell: Float[Array, ""]  # in units of tau
    done: Bool[Array, ""]


def _seeds(P, bias):
    """Biases of memories 1 and 2, and the offsets of the site classes with their weights.

    A cycle (finite P) has the bias on all memories, an endless chain on the next one only.
    """
    if P == math.inf:
        return jnp.zeros_like(bias), bias, jnp.zeros_like(bias)[None], np.ones(1)
    others = int(P) - 2
    k = np.arange(others + 1)
    weights = np.array([math.comb(others, int(i)) for i in k], dtype=float) / 2.0**others
    return bias, bias, bias * jnp.asarray(2.0 * k - others, bias.dtype), weights


def letting_go(P, tau, bias):
    """Saliency of the active memory when its first sites desaturate."""
    b1, b2, offsets, _ = _seeds(P, bias)
    return (1 - 1 / tau) * (1 + b2 - b1 + offsets[-1])


def handover(z2, kappa, P, tau, bias, *, z1=None, steps=STEPS, going=None) -> Handover:
    """One handover, by a fixed number of fourth-order Runge-Kutta steps.

    The number is fixed, so that the function can be differentiated and mapped. `z2` is the saliency
    of the next memory at the start, `z1` that of the active one, by default that of `letting_go`.
    With `going` the steps end with the handover: this has no derivative in reverse mode, and where
    `going` is false there is no handover, but whatever is returned.
    """
    b1, b2, offsets, weights = _seeds(P, bias)
    weights = jnp.asarray(weights, bias.dtype)
    z1 = letting_go(P, tau, bias) if z1 is None else z1
    top = offsets[-1]
    window = jnp.minimum(12 + 6 * jnp.sqrt(tau), 1.0 * steps)  # the slowest takes ~ sqrt(2 tau)
    h = window / steps
    # exp(-t/tau) at the starts and middles of all steps: an exponential costs more than the rest
    decays = jnp.exp(-(h / (2 * tau)) * jnp.arange(2 * steps + 1, dtype=bias.dtype))

    def overlaps(y):
        agree = jnp.sum(weights * jnp.clip(y[0] + offsets, -1.0, 1.0))
        differ = jnp.sum(weights * jnp.clip(y[1] + offsets, -1.0, 1.0))
        return (agree + differ) / 2, (agree - differ) / 2

    def slope(decay, y):  # y = s, d, z2 and the discounted areas under m1 and m2
        m1, m2 = overlaps(y)
        active, discount = z1 * decay, 1 / (decay * tau)
        s = -y[0] + active * m1 + y[2] * m2 + b1 + b2
        d = -y[1] + active * m1 - y[2] * m2 + b1 - b2
        return jnp.stack([s, d, (kappa * m1 - y[2]) / tau, discount * m1, discount * m2])

    def step(carry, decays):
        t, y, done = carry
        k1 = slope(decays[0], y)
        k2 = slope(decays[1], y + h / 2 * k1)
        k3 = slope(decays[1], y + h / 2 * k2)
        k4 = slope(decays[2], y + h * k3)
        new = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t, y = jnp.where(done, t, t + h), jnp.where(done, y, new)
        return t, y, done | ((y[1] <= -1 - top) & (y[0] >= 1 + top))

    lag = z1 / (1 - 1 / tau)
    zero = jnp.zeros_like(lag + z2 + kappa)
    y = jnp.stack([lag + b1 + b2 + zero, lag + b1 - b2 + zero, z2 + zero, zero, zero])
    if going is None:
        start = (zero, y, zero > 1)
        each = jnp.stack([decays[:-1:2], decays[1::2], decays[2::2]], axis=1)
        t, y, done = jax.lax.scan(lambda c, d: (step(c, d), None), start, each)[0]
    else:

        def more(carry):
            k, (_, _, done) = carry
            return (k < steps) & ~done

        def next_step(carry):
            k, state = carry
            return k + 1, step(state, jax.lax.dynamic_slice(decays, (2 * k,), (3,)))

        start = (zero, y, ~going | (zero > 1))
        t, y, done = jax.lax.while_loop(more, next_step, (jnp.zeros((), jnp.int32), start))[1]
    rise = jnp.log(jnp.maximum(jnp.exp(t / tau) - y[4], 1e-6))
    return Handover(jnp.log1p(y[3]), rise, t / tau, done)


@partial(traced_once, static=(2,))
def _cycle(Z, kappa, P, tau, bias) -> Cycle:
    """The gain and dwell that close a cycle, if the handover runs as it would at gain `kappa`.

    With overlaps that change in steps (see `Handover`) the saliencies are geometric sums, linear in
    the gain. So the gain can be eliminated, and Newton's method finds the dwell D.
    """
    z1 = letting_go(P, tau, bias)
    passage = handover(Z, kappa, P, tau, bias)

    def gain(D):
        full = 1.0 if P == math.inf else -jnp.expm1(-P * D)
        return z1 * jnp.exp(D) * full / (jnp.exp(passage.fall) - jnp.exp(passage.rise - D))

    def mismatch(D):
        residual = 0.0 if P == math.inf else z1 * jnp.exp(-(P - 1) * D)
        return gain(D) * -jnp.expm1(passage.rise - D) + residual - Z

    D = jnp.log(Z / z1) + passage.rise
    D = _newton(mismatch, jax.lax.fori_loop(0, 7, lambda _, D: _newton(mismatch, D), D))
    return Cycle(gain(D), D, passage.done & (D > passage.end))


def _newton(function, x):
    """One Newton step. If `x` is a root already, the step is 0 and its derivative exact."""
    x = stop_gradient(x)
    value, slope = jax.jvp(function, (x,), (jnp.ones_like(x),))
    return x - value / stop_gradient(slope)


def _gain_at(Z, P, tau, bias) -> Cycle:
    """The steady cycle in which the next memory has saliency `Z`: the secant method for a gain that
    `_cycle` returns as it was given."""

    def step(_, carry):
        before, error, kappa, _ = carry
        cycle = _cycle(Z, kappa, P, tau, bias)
        new = cycle.gain - kappa
        change, rise = kappa - before, new - error
        flat = jnp.abs(rise) < 1e-13
        update = jnp.where(flat, new, -new * change / jnp.where(flat, 1.0, rise))
        settled = jnp.abs(update) < 1e-4 * jnp.abs(kappa)
        valid = cycle.done & settled & (kappa > 0)
        return kappa, new, kappa + update, Cycle(kappa + update, cycle.dwell, valid)

    guess = 2.0 + Z
    cycle = Cycle(guess, guess, guess < 0)
    return jax.lax.fori_loop(0, 7, step, (guess + 1, guess, guess, cycle))[3]


def _fold(P, tau, bias):
    """The saliency at which the gain of a steady cycle is smallest, and that gain."""
    tau, bias = stop_gradient((tau, bias))

    def gain(Z):
        cycle = jax.vmap(lambda Z: _gain_at(Z, P, tau, bias))(Z)
        return jnp.where(cycle.done, cycle.gain, jnp.inf)

    return minimise(gain, jnp.full_like(tau, 0.75), jnp.full_like(tau, 2.75))


def _gain_missing(P, Z, tau, bias, kappa):
    """How much larger than `kappa` the gain of a steady cycle must be if it runs at `kappa`."""
    return _cycle(Z, kappa, P, tau, bias).gain - kappa


@kept
def critical_gain(P, tau, bias):
    """The smallest gain of a steady cycle; NaN where none was found."""

    tau, bias = differentiable_once((tau, bias), _SECOND)

    def one(tau, bias):
        Z, kappa = _fold(P, tau, bias)
        found = jnp.isfinite(kappa)
        Z, kappa = jnp.where(found, Z, 2.0), jnp.where(found, kappa, 4.0)
        kappa = implicit_root(eqx.Partial(_gain_missing, P, Z, tau, bias), kappa)
        return jnp.where(found, kappa, jnp.nan)

    return jnp.vectorize(one)(tau, bias)


def _excess_gain(P, kappa, tau, bias, Z):
    """How much larger than `kappa` the gain of steady cycles with saliencies `Z` must be."""
    return jax.vmap(lambda Z: _cycle(Z, kappa, P, tau, bias).gain - kappa)(Z)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _dwell_at(P, dwell, Z, kappa, tau, bias):
    """`dwell`, which is known to be that of this cycle, with its derivatives."""
    return dwell


@_dwell_at.defjvp
def _(P, primals, tangents):
    def at(Z, kappa, tau, bias):
        return _cycle(Z, kappa, P, tau, bias).dwell

    return primals[0], jax.jvp(at, primals[1:], tangents[1:])[1]


@kept
def fixed_points(kappa, P, tau, bias):
    """Saliencies (unstable, stable) of the steady cycles at gain `kappa`, and the stable dwell."""
    kappa, tau, bias = differentiable_once((kappa, tau, bias), _SECOND)

    def one(kappa, tau, bias):
        fold, threshold = _fold(P, tau, bias)
        k, t, b = stop_gradient((kappa, tau, bias))
        exists = k >= threshold

        def beyond(grids):  # on each branch, from the fold outwards: is the gain it needs above k?
            cycle = jax.vmap(jax.vmap(lambda Z: _cycle(Z, k, P, t, b)))(grids)
            return ~cycle.done | (cycle.gain > k), cycle

        ends = jnp.stack([jnp.full_like(fold, 0.75), k + 1])
        start = jnp.stack([fold, fold])
        Z, cycles = stop_gradient(multisect(beyond, start, ends, 33, 4))
        within, cycle = (Cycle(*(part[i] for part in cycles)) for i in (0, 1))  # of both ends
        # the search also stops where the cycles of a branch end; there the gain is not k
        found = exists & cycle.done & (jnp.abs(cycle.gain - k) < 1e-3 * k)
        # in the last part of the search, of width 1e-6, the gain and the dwell are straight lines
        rise = cycle.gain - within.gain
        share = (k - within.gain) / jnp.where(found & (rise != 0), rise, 1.0)
        Z, dwell = (x[0] + share * (x[1] - x[0]) for x in (Z, (within.dwell, cycle.dwell)))
        Z = jnp.where(found, Z, jnp.where(found[1], Z[1], 2.0))
        Z = implicit_root(eqx.Partial(_excess_gain, P, kappa, tau, bias), Z)
        dwell = jax.vmap(lambda dwell, Z: _dwell_at(P, dwell, Z, kappa, tau, bias))(dwell, Z)
        Z, dwell = (jnp.where(found, x, jnp.nan) for x in (Z, dwell))
        return Z[0], Z[1], dwell[1]

    return jnp.vectorize(one)(kappa, tau, bias)


def _transition(z, kappa, P, tau, bias, going):
    """Saliencies, that of the active memory first, at the end of a handover, from those at the end
    of the one before; and whether this handover ends at all. None is made unless `going`."""
    edge = letting_go(P, tau, bias)
    wait = jnp.log(jnp.maximum(z[0] / edge, 1.0))
    z = (z * jnp.exp(-wait)).at[1].add(-kappa * jnp.expm1(-wait))
    passage = handover(z[1], kappa, P, tau, bias, z1=z[0], steps=COARSE_STEPS, going=going)
    z = z.at[1].add(kappa * jnp.expm1(passage.fall))
    z = z.at[2].add(kappa * (jnp.exp(passage.end) - jnp.exp(passage.rise)))
    z = jnp.roll(z * jnp.exp(-passage.end), -1)
    return (z.at[-1].set(0.0) if P == math.inf else z), passage.done


def _survives(Z0, kappa, P, tau, bias):
    """Whether a cycle that starts from $z = Z_0 e_1$ goes on for `TRANSITIONS` transitions."""

    def step(carry, _):
        z, alive = carry
        z, done = _transition(z, kappa, P, tau, bias, alive)
        return (z, alive & done), None

    size = 3 if P == math.inf else int(P)
    start = jnp.zeros(size, Z0.dtype).at[0].set(Z0)
    return jax.lax.scan(step, (start, Z0 > 0), None, length=TRANSITIONS)[0][1]


@jax.custom_jvp
def _found_by_search(value, *parameters):
    """`value`, with NaN for a derivative rather than a silent zero."""
    return value


@_found_by_search.defjvp
def _(primals, tangents):
    return primals[0], jnp.nan * sum(tangents[1:], tangents[0])  # linear, for reverse mode


@kept
def basin_edge(kappa, P, tau, bias):
    """Smallest initial saliency from which the cycle survives; infinite where none does."""

    def one(kappa, tau, bias):
        k, t, b = stop_gradient((kappa, tau, bias))
        alive = jax.vmap(lambda x: _survives(-1 / x, k, P, t, b))
        start, end = jnp.full_like(k, -1 / EDGE_LEAST), jnp.full_like(k, -0.01)  # x = -1/Z0
        both, _ = multisect(lambda x: (alive(x[0])[None], ()), start[None], end[None], GRID, ROUNDS)
        x = both[1][0]
        lowest = x - start <= 1.5 * (end - start) / (GRID - 1) ** ROUNDS  # it began alive
        edge = jnp.where(lowest, EDGE_LEAST, jnp.where(x < end, -1 / x, jnp.inf))
        return _found_by_search(edge, kappa, tau, bias)

    return jnp.vectorize(one)(kappa, tau, bias)
