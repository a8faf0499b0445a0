r"""Rate networks with piecewise-linear activations, in steps from kink to kink.

Every neuron is on one linear piece of $\phi$: silent, linear or saturated. Between the times at
which a neuron (or class of equal neurons) meets a kink the motion is analytic: linear, or with slow
saliencies bilinear. A Taylor series of variable step carries it, cut at the first such time, which
is found as for Hopfield networks (`_crossing`). With $x = \sum_k x_k t^k$ the coefficients are

    x_k, z_k  -->  overlaps m_k  -->  currents I_k (a Cauchy product of z and m)  -->  rates
                                                                                        |
    x_(k+1) = (rate_k - x_k) / (k + 1)  <-----------------------------------------------+

Here diffrax does the rest, saves, derivatives and events: it is given a solver whose step is the
series (`SeriesStep`) and a controller that ends it in time (`UntilKink`). Step times carry no
derivative, and need none, as motion is continuous across kinks.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..._inputs import Pulses
from ...networks import AbstractRates, Core, RateSystem
from .._crossing import margins, safe_time, slack, tangle
from .._methods import Diffrax, EventDriven

_LOOKS = 6  # at the margins in a step; a search that has not ended ends the step
_CAPS = (1.0, 0.5, 0.2, 0.08, 0.03)  # parts of a step up to which to look


def by_kinks(method: EventDriven, system: RateSystem) -> Diffrax:
    """What diffrax is given so that it goes from kink to kink."""
    tol = max(method.tol, 8 * float(jnp.finfo(system.t0.dtype).eps))
    return Diffrax(
        SeriesStep(system, method.order),
        UntilKink(system, method.order, tol),
        dense=method.dense,
        switches=method.switches,
    )


class Expansion(eqx.Module):
    """Taylor coefficients of a state, stacked along a leading axis."""

    core: Core
    u: Array  # of u = 2 rho (I - I*) - 1, which is -1 at the lower kink and 1 at the upper one
    side: Array  # the piece each neuron is on: -1 silent, 0 linear, 1 saturated

    def at(self, h: Any) -> Core:
        """The state a time `h` after the expansion point."""
        return jax.tree.map(lambda terms: _horner(terms, h), self.core)

    def radius(self, tol: float) -> Array:
        """The time up to which the last two terms stay below `tol`, relative to the first term (or
        to 1 if that is smaller)."""
        leaves = jax.tree.leaves(self.core)
        last = len(self.u) - 1
        tiny = jnp.finfo(self.u.dtype).tiny

        def size(k):
            return jnp.stack([jnp.abs(leaf[k]).max() for leaf in leaves]).max()

        scale = tol * jnp.maximum(size(0), 1.0)
        terms = ((scale / jnp.maximum(size(k), tiny)) ** (1 / k) for k in (last - 1, last))
        return jnp.minimum(*terms)


class _Terms(eqx.Module):
    """Coefficients of orders 0 to K of all that a step computes; those not yet known are zero, so
    that they drop out of Cauchy products."""

    x: Array
    slow: Array | None
    m: Array
    saliency: Array | None
    current: Array

    def put(self, k, **values: Any) -> "_Terms":
        """The same with coefficients of order k."""

        def at(terms, value):
            return lax.dynamic_update_index_in_dim(terms, value.astype(terms.dtype), k, 0)

        new = {name: jax.tree.map(at, getattr(self, name), v) for name, v in values.items()}
        return _Terms(**(vars(self) | new))


def expand(system: RateSystem, t: Array, core: Core, order: int) -> Expansion:
    """The Taylor series of the motion from `core` on, each neuron on its piece."""
    network, patterns = system.network, system.network.patterns
    phi: Any = network.activation
    rho, threshold = (v.astype(core.main.dtype) for v in (phi.gain, phi.threshold))
    saliency, input_now = system.saliency(t, core), system.current
    if isinstance(input_now, diffrax.AbstractPath):
        input_now = input_now.evaluate(t, left=False)

    def room(leaf):
        return jnp.zeros((order + 1, *leaf.shape), leaf.dtype).at[0].set(leaf)

    m = jnp.zeros(patterns.P, core.main.dtype)
    kept = jax.tree.map(room, (core.main, core.slow, m, saliency, jnp.zeros_like(core.main)))

    def extend(k, terms: _Terms, side: Any) -> _Terms:
        """The terms with the currents of order k, and the state of order k + 1 that follows from
        them. With `side` None the rates are those of the activation itself, whatever the piece."""
        x, slow = (jax.tree.map(lambda leaf: leaf[k], part) for part in (terms.x, terms.slow))
        m, mean = system.wiring.overlaps(patterns, x), patterns.mean(x)
        terms = terms.put(k, m=m)
        if saliency is not None and slow is not None:
            # Order 0 is the saliency that is felt, which a stimulus adds to; higher orders are
            # those of the slow state, as the stimulus is constant inside a step.
            first = jnp.asarray(k == 0)
            terms = terms.put(k, saliency=jnp.where(first, saliency, slow))
        now = system.wiring.currents(patterns, _product(network, terms, k), mean)
        if (more := network.uniform(mean, slow)) is not None:
            now = now + more
        for more in (network.constant(), input_now):
            if more is not None:
                now = now + jnp.where(jnp.asarray(k == 0), more, 0.0)
        terms = terms.put(k, current=now)
        rate = phi(now)
        if side is not None:
            value, base = jnp.where(k == 0, side, 0.0), jnp.where(k == 0, threshold, 0.0)
            rate = jnp.where(side == 0, rho * (now - base), jnp.maximum(value, 0.0))
        # The last order has no following one: it is written over, and read no more.
        n = jnp.asarray(k + 1, x.dtype)
        change = jax.tree.map(lambda leaf: leaf / n, network.slow_rate(m, mean, slow))
        return terms.put(jnp.minimum(k + 1, order), x=(rate - x) / n, slow=change)

    empty = _Terms(*kept)
    # The piece is told by the currents and their slopes, which are continuous across kinks: they
    # are the same whichever of its pieces a neuron at a kink is put on for the moment.
    ahead = extend(1, extend(0, empty, None), jnp.zeros_like(core.main)).current
    side = lax.stop_gradient(_side(phi, ahead[0], ahead[1]))
    terms = lax.fori_loop(0, order, lambda k, terms: extend(k, terms, side), empty)
    last = extend(order, terms, side).current
    u = (2 * rho * last).at[0].add(-2 * rho * threshold - 1)
    return Expansion(Core(terms.x, terms.slow), u, side)


def _product(network: AbstractRates, terms: _Terms, k) -> Array:
    """Coefficient k of the drive: the Cauchy product of saliencies and overlaps, and what a network
    adds to it, linear in saliencies."""
    if terms.saliency is None:
        return network.drive(terms.m[k], None)
    orders = jnp.arange(len(terms.m))
    opposite = jnp.roll(terms.saliency[::-1], k + 1, axis=0)  # number k - j at j
    product = jnp.where((orders <= k)[:, None], terms.m * opposite, 0.0).sum(0)
    more = network.added(terms.saliency[k])
    return product if more is None else product + more


def _side(phi: Any, current: Array, change: Array) -> Array:
    """The linear piece each neuron is on.

    A neuron at a kink belongs to the piece it is moving into, and so does one that meets the kink
    within the time `tangle`. By its current alone it would be put back on the piece that it leaves,
    and the step would have no length."""
    rho, threshold = (v.astype(current.dtype) for v in (phi.gain, phi.threshold))
    u, du = 2 * rho * (current - threshold) - 1, 2 * rho * change
    near = slack(u.dtype) + tangle(u.dtype) * jnp.abs(du)

    def above(edge):
        return jnp.where(jnp.abs(u - edge) <= near, du > 0, u > edge)

    top = above(1.0) if phi.ceiling == 1 else jnp.zeros(u.shape, bool)
    return jnp.where(top, 1.0, jnp.where(above(-1.0), 0.0, -1.0)).astype(u.dtype)


def _horner(terms: Array, h: Any) -> Array:
    """The value at `h` of a polynomial, coefficients lowest first."""
    total = terms[-1]
    for k in range(len(terms) - 2, -1, -1):
        total = total * h + terms[k]
    return total


class Polynomial(diffrax.AbstractLocalInterpolation):
    """Dense output: the series itself, exact inside the step."""

    t0: Any
    t1: Any
    core: Core  # coefficients

    def evaluate(self, t0, t1=None, left=True):
        """The state at `t0`; with `t1`, its increment from `t0` to `t1`."""
        del left

        def at(t):
            return jax.tree.map(lambda terms: _horner(terms, t - self.t0), self.core)

        if t1 is None:
            return at(t0)
        return jax.tree.map(lambda late, early: late - early, at(t1), at(t0))


class SeriesStep(diffrax.AbstractSolver):
    """One step is the Taylor series of the cell in which it begins."""

    system: RateSystem
    degree: int = eqx.field(static=True)
    kicks: bool = eqx.field(static=True, default=False)  # whether second derivatives are right
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable] = Polynomial

    def order(self, terms):
        """The degree of the series."""
        return self.degree

    def init(self, terms, t0, t1, y0, args):
        """No state is carried from step to step."""
        return None

    def step(self, terms, t0, t1, y0: Core, args, solver_state, made_jump):
        """The series at the end of the step."""
        series = expand(self.system, jnp.asarray(t0), y0, self.degree)
        end = series.at(t1 - t0)
        if self.kicks:
            end = _kicked(self.system, series, end, t1 - t0)
        return end, None, dict(core=series.core), None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The vector field."""
        return terms.vf(t0, y0, args)


def _kicked(system: RateSystem, series: Expansion, end: Core, h: Any) -> Core:
    r"""The state at the end of a step, with what the crossings there add to second derivatives.

    The step ends at a fixed time, and a neuron that meets its kink a time $\delta t$ earlier or
    later follows another piece in between: its rate lacks the area $\dot u\, \delta t^2 / 4$ of a
    triangle, $(u - e)^2 / (4 \dot u)$ with the kink at $e = \pm 1$. In the run this is zero, and so
    is its first derivative."""
    change = jnp.arange(1, len(series.u), dtype=series.u.dtype)[:, None] * series.u[1:]
    u, du = _horner(series.u, h), _horner(change, h)
    phi: Any = system.network.activation
    rho, threshold = (v.astype(u.dtype) for v in (phi.gain, phi.threshold))
    # The piece that each neuron goes on with, as the next step will find it.
    after = lax.stop_gradient(_side(phi, (u + 1) / (2 * rho) + threshold, du / (2 * rho)))
    crosses = lax.stop_gradient((after != series.side) & (du != 0))
    opens = jnp.where(series.side == 0, -1.0, 1.0)  # 1 for a neuron that becomes linear
    edge = jnp.where(series.side == 0, after, series.side)
    area = jnp.where(crosses, u - edge, 0.0) ** 2 / (4 * jnp.where(crosses, du, 1.0))
    return Core(end.main + opens * area, end.slow, end.noise)


class UntilKink(diffrax.AbstractStepSizeController):
    """Ends a step where the series ceases to be accurate, an input jumps or a neuron meets a kink,
    whichever comes first.

    The series that tells is expanded here and again in the solver. diffrax has no place to hand it
    over from a controller to a solver; the compiler cannot merge the two."""

    system: RateSystem
    degree: int = eqx.field(static=True)
    tol: float = eqx.field(static=True)

    def wrap(self, direction):
        """Itself: runs go forward in time only."""
        return self

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        """The end of the first step."""
        return self.end(t0, y0), None

    def adapt_step_size(
        self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
    ):
        """The end of the next step. Every step is accepted: its error was bounded before."""
        following = self.end(t1, y1_candidate)
        return True, t1, following, False, None, diffrax.RESULTS.successful

    def end(self, t, core: Core) -> Array:
        """The time at which a step from `t` ends."""
        edge = self._edge(jnp.asarray(t))
        # Of all step ends only edges of the user's inputs have derivatives: the slope of the motion
        # jumps there, and not at a kink.
        system, t, core, until = lax.stop_gradient((self.system, jnp.asarray(t), core, edge))
        series = expand(system, t, core, self.degree)
        reach = jnp.minimum(series.radius(self.tol), until - t)
        length = _first_crossing(series, reach, system.network.activation.ceiling)
        # A step of no length would be tried for ever. In this shortest one a neuron may pass its
        # kink unseen, by rounding.
        soonest = 8 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(t), 1.0)
        ahead = t + jnp.maximum(length, soonest)
        return jnp.where(length >= until - t, edge, ahead)

    def _edge(self, t):
        """The time of the next jump of an input; infinity if there is none."""
        inputs = [v for v in (self.system.stimulus, self.system.current) if isinstance(v, Pulses)]
        following = [jnp.where(v.edges > t, v.edges, jnp.inf).min() for v in inputs]
        return jnp.stack([jnp.asarray(jnp.inf, t.dtype), *following]).min()


def _first_crossing(series: Expansion, reach: Array, ceiling: float) -> Array:
    """The first time up to `reach` at which a neuron leaves its piece, or a safe time before it."""
    u, side = series.u, series.side
    late, dtype = slack(u.dtype), u.dtype
    du = u[1:] * jnp.arange(1, len(u), dtype=dtype)[:, None]
    unbounded = (side == 0) & (ceiling > 1)  # threshold-linear: no upper kink

    def search(cap):
        """The first crossing before `cap`, or a safe time, by the bound on curvature up to it."""
        # |u''| is at most the sum of k (k - 1) |u_k| cap^(k - 2).
        curvature, power = jnp.zeros_like(u[0]), jnp.ones((), dtype)
        for k in range(2, len(u)):
            curvature = curvature + (k * (k - 1) * power) * jnp.abs(u[k])
            power = power * cap
        curvature = curvature + float(jnp.finfo(dtype).eps) ** 2  # no division by zero

        def advance(_, t):
            both = margins(_horner(u, t), _horner(du, t), side)
            ahead, other = (safe_time(g + late, slope, curvature) for g, slope in both)
            ahead = jnp.where(unbounded, jnp.inf, ahead)
            t_next = t + jnp.minimum(ahead, other).min()
            return jnp.where(t_next < cap, t_next, cap)

        return lax.fori_loop(0, _LOOKS, advance, jnp.zeros((), dtype))

    # The shorter the part of the step for which a bound must hold, the closer it is: with the one
    # for the whole step alone, the looks would be used up on the first part of it. All times found
    # are safe, and the latest is taken.
    caps = reach * jnp.asarray(_CAPS, dtype)
    return jax.vmap(search)(caps).max()
