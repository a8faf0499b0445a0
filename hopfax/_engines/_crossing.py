r"""The first time at which a class meets the boundary of its cell, and roots inside a step.

How far a lane stays inside its cell is told by *margins*, one for every boundary: functions
$g(t) \ge 0$, linear in the field, that are zero on the boundary. Over the rest of a step the
curvature of each is bounded from below, $\ddot g \ge -M$, so that from any time $t$

$$g(t + h) \ge g(t) + \dot g(t)\, h - M h^2 / 2,$$

and no boundary is met before the parabola on the right is zero (`safe_time`). Going to that time
and asking again converges to the first crossing of any boundary, from below and quadratically:

    g  |\
       | \ .
       |  \  `.
       |   \    `.            .   the margin g
       |    \      `.         \   the parabola below it, zero at the next time to look
       +-----+-------`.-------> t
       t    next    crossing

It never jumps over a crossing, as a search at sample points does where a margin is negative
between two of them, and a search that is stopped early has still found a safe end for the step.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._roots import implicit_root

#: A function of time in a step (or none, yet to be made): its value and its slope.
ValueAndSlope: TypeAlias = Callable[[Array], tuple[Array, Array]]


def slack(dtype) -> float:
    """How far beyond its boundary a class is when it counts as having crossed it.

    A class that changes cells exactly on the boundary may lie on either side of it by rounding. It
    would be sent back at once, and the run would take steps of length zero for ever."""
    return 64 * float(jnp.finfo(dtype).eps)


def tangle(dtype) -> float:
    """Crossings that are closer in time than this are taken as one.

    Equal memories cross together but for rounding; one by one they would cost a step each. The
    error is of the order of the square of this time, which is below rounding."""
    return float(jnp.finfo(dtype).eps) ** 0.5


def safe_time(margin, slope, curvature):
    """A lower bound of the time to the first zero of a margin: the root of the parabola below it.

    `curvature` is the bound $M > 0$."""
    margin = jnp.maximum(margin, 0.0)
    root = jnp.sqrt(slope**2 + 2 * curvature * margin)
    # The root of a quadratic equation has two forms. Each is taken where it adds two numbers of one
    # sign: the other one would cancel and lose all digits close to the crossing.
    falling = slope < 0
    above = jnp.where(falling, 2 * margin, slope + root)
    return above / jnp.where(falling, root - slope, curvature)


def margins(u, du, s):
    """The two margins of every class, each with its slope.

    A linear class has 1 - u to the upper boundary and 1 + u to the lower one; a saturated class has
    s u - 1 to the boundary that it came through, and a second margin that is out of reach.

    `u`: gain times field, `du` its slope. `s`: 0 in a linear class, else the sign of saturation.
    """
    saturated = jnp.abs(s)
    linear = 1 - saturated
    ahead = (linear - saturated) + (s - linear) * u
    other = 1 + u + 1e9 * saturated
    return (ahead, (s - linear) * du), (other, du)


def has_left(margin, slope):
    """Whether a class leaves its cell through a boundary: it moves towards it and meets it within
    the time `tangle`.

    The slope is asked for as well: a class that lies on a boundary and moves inwards stays."""
    late = slack(margin.dtype)
    # margin / -slope is the time to the crossing; written as a product, for slopes of 0.
    return (slope < 0) & (margin + late <= -tangle(margin.dtype) * slope)


def root_of(
    where: Bool[Array, " B"],
    make: Callable[[], ValueAndSlope],
    high: Float[Array, " B"],
    looks: int,
) -> Float[Array, " B"]:
    """The root of a function that falls through zero in [0, `high`], in the lanes `where` it does;
    0 in all others.

    `make` returns the function. The search runs only if some lane needs a root, as most steps have
    none. The bracket is narrowed `looks` times by regula falsi with halved weights (Illinois),
    which unlike Newton's method cannot leave it; a last Newton step brings the remaining digits.
    """

    def find():
        function, low = make(), jnp.zeros_like(high)

        def narrow(_, bracket):
            low, high, above, below, side = bracket
            t = (low * below - high * above) / (below - above)
            value = function(t)[0]
            ahead = value > 0
            # An end that stays twice has its value halved: otherwise the other end alone would
            # move, and slowly where the function is bent.
            above = jnp.where(ahead, value, jnp.where(side < 0, above / 2, above))
            below = jnp.where(ahead, jnp.where(side > 0, below / 2, below), value)
            # Lanes without a root take part in the arithmetic: it must not divide by zero there.
            below = jnp.where(below < above, below, above - 1)
            low, high = jnp.where(ahead, t, low), jnp.where(ahead, high, t)
            return low, high, above, below, jnp.where(ahead, 1, -1).astype(side.dtype)

        above, below = function(low)[0], function(high)[0]
        below = jnp.where(below < above, below, above - 1)
        bracket = (low, high, above, below, jnp.zeros(high.shape, jnp.int32))
        t = lax.fori_loop(0, looks, narrow, bracket)[1]
        # Where the function does not fall the division is by infinity, and t stays.
        value, slope = function(t)
        t = t - value / jnp.where(slope < 0, slope, -jnp.inf)
        return jnp.where(where, jnp.clip(t, 0.0, high), 0.0)

    return lax.cond(where.any(), find, lambda: jnp.zeros_like(high))


def differentiable(
    where: Bool[Array, " B"],
    make: Callable[[], Callable[[Array], Array]],
    root: Float[Array, " B"],
) -> Float[Array, " B"]:
    r"""A root that was found without derivatives, with the derivatives that it has by the implicit
    function theorem; NaN in all lanes but `where`. `make` returns the function, as a module that
    holds what it depends on. To differentiate the search would cost all of its iterations again and
    be less exact."""

    def move():
        # Lanes without a root take part at time 0: NaN times 0 is NaN on the way back.
        t = implicit_root(make(), jnp.where(where, root, 0.0))
        return jnp.where(where, t, jnp.nan)

    return lax.cond(where.any(), move, lambda: jnp.full_like(root, jnp.nan))
