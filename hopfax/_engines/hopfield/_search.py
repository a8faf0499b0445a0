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
_RESTING = 1e-5  # a class this close to a boundary, and this slow, is taken to rest on it


def search(problem: Problem, options: Options, state: State, flow: Flow) -> Reach:
    """The time of the first crossing, or as far as the series carries.

    In a transit the bound on the curvature of a margin is that of its polynomial, term by term; on
    a plateau it follows from the closed form and decays, so that looks soon take long strides.
    """
    rows, s, closed, cell = problem.rows, state.s, flow.plateau, flow.cell
    assert closed is not None
    late = slack(s.dtype)
    reach, full = limits(problem, options, state)
    if flow.series is not None:
        reach = jnp.where(
            flow.on_plateau, reach, jnp.minimum(full, flow.series.radius(options.tol))
        )

    def look(t):
        """The margins of all classes at `t`, and of the signs of the overlaps if they matter."""
        y, dy = flow.y_and_slope(t)
        ahead, other = margins(contract(rows, y), contract(rows, dy), s)
        if not options.watches or flow.series is None:
            return ahead, other
        dm = contract(cell.linear, dy)
        return ahead, other, (state.sign * cell.overlaps(y), state.sign * dm)

    zero = jnp.zeros_like(reach)
    start = look(zero)
    steady, brief, turning = _curvatures(problem, options, state, flow, reach, start)

    def approach(t, found):
        """As far from `t`, where this was found, as no boundary can be met."""
        ahead, other, *sign = found
        curvature = steady + brief * jnp.exp(-t)
        # `late`: the search ends a little beyond the boundary, where `has_left` is sure.
        wait = jnp.minimum(
            safe_time(ahead[0] + late, ahead[1], curvature),
            safe_time(other[0] + late, other[1], curvature),
        ).min(0)
        for margin, slope in sign:
            wait = jnp.minimum(wait, safe_time(margin + late, slope, turning).min(0))
        return jnp.minimum(t + wait, reach)

    t = approach(zero, start)
    t = lax.fori_loop(1, _LOOKS, lambda _, t: approach(t, look(t)), t)
    ahead, other, *sign = look(t)
    # Through the boundary ahead a class becomes linear if it was saturated, and saturated above if
    # it was linear; through the other one a linear class becomes saturated below.
    after = jnp.where(has_left(*ahead), 1 - jnp.abs(s), jnp.where(has_left(*other), -1.0, s))
    turned = has_left(*sign[0]) if sign else jnp.zeros(state.sign.shape, bool)
    on_plateau = (after != 0).all(0) if flow.series is None else state.on_plateau
    return Reach(t, after.astype(s.dtype), on_plateau, turned, jnp.full_like(t, FIRST))


def _curvatures(problem: Problem, options: Options, state: State, flow: Flow, reach, start):
    """Bounds on the curvature of margins, steady and brief, and of the signs of overlaps.

    They are sums of bounds of the coordinates. That is cheap, but far too large where a class rests
    on its boundary while others move, because there the coordinates cancel: the run would take
    steps of no length for ever. Lanes in which a class does so at the `start` of the step have the
    curvature of each margin bounded itself."""
    closed = flow.plateau
    assert closed is not None
    curve, brief = plateau_curvature(problem.rows, state.s, closed, state.y)
    tiny = float(jnp.finfo(reach.dtype).eps) ** 2  # `safe_time` divides by the curvature
    series, length = flow.series, jnp.where(flow.on_plateau, 0.0, reach)
    turns = jnp.zeros_like(curve) if series is None else _turns(series, length)
    turning = contract(jnp.abs(flow.cell.linear), turns) if options.watches else None
    bounds = contract(jnp.abs(problem.rows), jnp.where(flow.on_plateau, curve, turns)), turning
    near = [(jnp.abs(g) < _RESTING) & (jnp.abs(slope) < _RESTING) for g, slope in start]
    resting = jnp.stack([places.any(0) for places in near]).any(0)

    def own():
        steady = plateau_bend(problem.rows, state.s, closed)
        if series is None:
            return steady, turning
        steady = jnp.where(flow.on_plateau, steady, _turns(series, length, problem.rows))
        return steady, _turns(series, length, flow.cell.linear) if options.watches else None

    exact = lax.cond(resting.any(), own, lambda: bounds)
    steady, turning = jax.tree.map(lambda a, b: jnp.where(resting, a, b) + tiny, exact, bounds)
    return steady, jnp.where(flow.on_plateau, brief, 0.0), turning


def _turns(series, length, matrix=None):
    r"""The sum of $k (k-1) |y_k| length^{k-2}$, a bound of $|\ddot y|$ up to that time; with a
    matrix $A$, that of $A y$."""
    power = jnp.ones_like(length)
    total = jnp.zeros_like(series.y[0] if matrix is None else contract(matrix, series.y[0]))
    for k in range(2, len(series.y)):
        term = series.y[k] if matrix is None else contract(matrix, series.y[k])
        total = total + (k * (k - 1) * power) * jnp.abs(term)
        power = power * length
    return total


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


def plateau_bend(rows, s, closed):
    r"""The steady part of that bound for each margin, by how the margin itself bends.

    Where all memories have one rate they share $\varphi$, and lags of opposite sign cancel."""
    P = closed.lag.shape[0]
    curve = jnp.zeros_like(closed.fast).at[:P].add(closed.rate**2 * closed.lag)
    if closed.rate.shape[0] == 1:
        return jnp.maximum(-s * contract(rows, curve), 0.0)
    return contract(jnp.abs(rows), jnp.abs(curve))
