"""How far a step on a plateau or of the series goes: to the first crossing, at most."""

import jax
import jax.numpy as jnp
from jax import lax

from .._crossing import has_left, margins, safe_time, slack
from ._flow import Flow
from ._problem import FIRST, Options, Problem, Reach, State, limits
from ._series import contract

# Looks at the margins in a step, the same number for all lanes. A search that has not ended ends
# the step where it is, which costs another step; more looks would cost all lanes in every step.
_LOOKS = 5


@jax.named_scope("search")
def search(problem: Problem, options: Options, state: State, flow: Flow) -> Reach:
    """The time of the first crossing, or as far as the series carries.

    In a transit the bound on the curvature of a margin is that of its polynomial, term by term; on
    a plateau it follows from the closed form and decays, so that looks soon take long strides.
    """
    rows, s, closed, cell = problem.rows, state.s, flow.plateau, flow.cell
    assert closed is not None
    late = slack(s.dtype)
    reach, full = limits(problem, options, state)
    curve, brief = plateau_curvature(rows, s, closed, state.y)
    turning = None
    tiny = float(jnp.finfo(reach.dtype).eps) ** 2  # `safe_time` divides by the curvature
    if flow.series is not None:
        reach = jnp.where(
            flow.on_plateau, reach, jnp.minimum(full, flow.series.radius(options.tol))
        )
        # |y''| is at most the sum of k (k - 1) |y_k| length^(k - 2).
        power, turns = jnp.ones_like(reach), jnp.zeros_like(state.y)
        length = jnp.where(flow.on_plateau, 0.0, reach)
        for k in range(2, len(flow.series.y)):
            turns = turns + (k * (k - 1) * power) * jnp.abs(flow.series.y[k])
            power = power * length
        curve = jnp.where(flow.on_plateau, curve, turns)
        brief = jnp.where(flow.on_plateau, brief, 0.0)
        turning = contract(jnp.abs(cell.linear), turns) + tiny if options.watches else None
    steady = contract(jnp.abs(rows), curve) + tiny

    def look(t):
        """The margins of all classes at `t`, and of the signs of the overlaps if they matter."""
        y, dy = flow.y_and_slope(t)
        ahead, other = margins(contract(rows, y), contract(rows, dy), s)
        if turning is None:
            return ahead, other, None
        dm = contract(cell.linear, dy)
        return ahead, other, (state.sign * cell.overlaps(y), state.sign * dm)

    def approach(_, t):
        """As far from `t` as no boundary can be met."""
        ahead, other, sign = look(t)
        curvature = steady + brief * jnp.exp(-t)
        # `late`: the search ends a little beyond the boundary, where `has_left` is sure.
        wait = jnp.minimum(
            safe_time(ahead[0] + late, ahead[1], curvature),
            safe_time(other[0] + late, other[1], curvature),
        ).min(0)
        if turning is not None and sign is not None:
            wait = jnp.minimum(wait, safe_time(sign[0] + late, sign[1], turning).min(0))
        return jnp.minimum(t + wait, reach)

    t = lax.fori_loop(0, _LOOKS, approach, jnp.zeros_like(reach))
    ahead, other, sign = look(t)
    # Through the boundary ahead a class becomes linear if it was saturated, and saturated above if
    # it was linear; through the other one a linear class becomes saturated below.
    after = jnp.where(has_left(*ahead), 1 - jnp.abs(s), jnp.where(has_left(*other), -1.0, s))
    turned = jnp.zeros(state.sign.shape, bool) if sign is None else has_left(*sign)
    on_plateau = (after != 0).all(0) if flow.series is None else state.on_plateau
    return Reach(t, after.astype(s.dtype), on_plateau, turned, jnp.full_like(t, FIRST))


def plateau_curvature(rows, s, closed, y):
    r"""A bound on the curvature of margins on a plateau: none bends towards its boundary by more
    than $|rows| \cdot curve + brief\, e^{-t}$.

    There $y'' = bend\, e^{-t} + \rho^2 lag\, \varphi$ with $0 \le \varphi \le 1$. The first part is
    over after a few time units; in a bound that is constant it would keep the looks close together
    for all of the plateau. Of it only what bends a class towards its boundary counts.
    """
    P = closed.lag.shape[0]
    bend = closed.fast.at[:P].add(-(1 + closed.rate) * closed.lag)
    curve = jnp.zeros_like(y).at[:P].add(closed.rate**2 * jnp.abs(closed.lag))
    return curve, jnp.maximum(-s * contract(rows, bend), 0.0)
