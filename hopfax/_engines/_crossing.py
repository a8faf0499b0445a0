r"""The first time at which a class leaves its cell, and roots inside a step.

Every boundary is a margin $g(t) \ge 0$, linear in the field, whose curvature is bounded from below
over the rest of the step: $\ddot g \ge -M$. So from any time $t$ no boundary is met before the
root of $g + \dot g h - M h^2/2 = 0$. Repeating that finds the first crossing of any of them, from
below, quadratically, and never jumps over one; stopped early it is still a safe step.
"""

import jax.numpy as jnp
from jax import lax


def slack(dtype) -> float:
    """Margins are met this much late, so that rounding cannot flip a class back and forth."""
    return 64 * float(jnp.finfo(dtype).eps)


def tangle(dtype) -> float:
    """Crossings closer in time than this are taken as one; its square is below rounding."""
    return float(jnp.finfo(dtype).eps) ** 0.5


def safe_time(margin, slope, curvature):
    """A lower bound of the time to the first root."""
    margin = jnp.maximum(margin, 0.0)
    root = jnp.sqrt(slope**2 + 2 * curvature * margin)
    falling = slope < 0
    above = jnp.where(falling, 2 * margin, slope + root)
    return above / jnp.where(falling, root - slope, curvature)


def margins(u, du, s):
    """Two margins a class, and their slopes: to the boundary ahead, and for a linear class to the
    other one (out of reach for a saturated class).

    `u`: gain times field. `s`: 0 in a linear class, else the sign of saturation.
    """
    saturated = jnp.abs(s)
    linear = 1 - saturated
    ahead = (linear - saturated) + (s - linear) * u
    other = 1 + u + 1e9 * saturated
    return (ahead, (s - linear) * du), (other, du)


def left(margin, slope):
    """Whether a margin is used up: met within `tangle`, and falling."""
    late = slack(margin.dtype)
    return (slope < 0) & (margin + late <= -tangle(margin.dtype) * slope)


def root_of(where, make, high, looks: int):
    """Root of a function that falls through zero in [0, high]; 0 but `where`.

    Regula falsi with halved weights of an end that stays (Illinois), and a last Newton step.
    """

    def find():
        function, low = make(), jnp.zeros_like(high)

        def narrow(_, bracket):
            low, high, above, below, side = bracket
            t = (low * below - high * above) / (below - above)
            value = function(t)[0]
            ahead = value > 0
            above = jnp.where(ahead, value, jnp.where(side < 0, above / 2, above))
            below = jnp.where(ahead, jnp.where(side > 0, below / 2, below), value)
            below = jnp.where(below < above, below, above - 1)  # where there is no root
            low, high = jnp.where(ahead, t, low), jnp.where(ahead, high, t)
            return low, high, above, below, jnp.where(ahead, 1, -1).astype(side.dtype)

        above, below = function(low)[0], function(high)[0]
        below = jnp.where(below < above, below, above - 1)
        bracket = (low, high, above, below, jnp.zeros(high.shape, jnp.int32))
        t = lax.fori_loop(0, looks, narrow, bracket)[1]
        value, slope = function(t)
        t = t - value / jnp.where(slope < 0, slope, -jnp.inf)
        return jnp.where(where, jnp.clip(t, 0.0, high), 0.0)

    return lax.cond(where.any(), find, lambda: jnp.zeros_like(high))


def moved(where, make, root):
    """The root with its derivative, by the implicit function theorem: one Newton step of value
    zero. NaN but `where`."""
    stop = lax.stop_gradient

    def move():
        value, slope = make()(root)
        slope = stop(jnp.where(where & (slope != 0), slope, -1.0))
        return jnp.where(where, root - (value - stop(value)) / slope, jnp.nan)

    return lax.cond(where.any(), move, lambda: jnp.full_like(root, jnp.nan))
