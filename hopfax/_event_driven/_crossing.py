r"""The first time at which a class leaves its cell.

Every boundary is a margin $g(t) \ge 0$, linear in the field, whose curvature is bounded from below
over the rest of the step: $\ddot g \ge -M$. So from any time $t$ no boundary is met before the
root of $g + \dot g h - M h^2/2 = 0$. Repeating that finds the first crossing of any of them, from
below, quadratically, and never jumps over one; stopped early it is still a safe step.
"""

import jax.numpy as jnp


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
