r"""What a crossing adds to second derivatives.

A step ends at a fixed time, where a class met the boundary of its cell in the run. With other
parameters it meets it earlier or later, by $\delta t$, and in between its rate is not the one of
the cell in which the step was made:

    rate  |          . true                 the class leaves saturation at t + dt, dt < 0:
          |        ./                       the shaded triangle is missing from what
       1  +------+'-------- planned         its rate adds up to
          |      t+dt   t

The triangle has the area $\dot u\, \delta t^2 / 2$: first derivatives at fixed ends of steps are
right without it, second ones are not. With the field $u$ of the class at the planned end and the
boundary $e = \pm 1$ it is $(u - e)^2 / (2 \dot u)$, which is zero in the run, and so is its first
derivative. It is added to the state at the end of the step, for every class on its own, so that
classes that cross together, as they do by symmetry, may have derivatives of their own. The kinks of
a readout at $m = 0$ are treated in the same way, but for overlaps that come to rest there because
their last classes saturate: these do not pass through. Third derivatives are not right.
"""

import jax.numpy as jnp

from ._flow import Flow
from ._problem import Options, Problem, State, readout_slope
from ._series import contract

_AT_REST = 1e-5  # of its speed before: an overlap that is no faster after a crossing is at rest


def kicked(problem: Problem, options: Options, state: State, flow: Flow, crossed, t, y, z):
    """(y, z) at the end of a step of length `t`, with what the crossings there add.

    `crossed`: the saturation of the classes afterwards, and which overlaps change sign."""
    after, turned = crossed
    law = problem.law_at(state.piece)
    at, moving = flow.y_and_slope(t)
    fields, speeds = contract(problem.rows, at), contract(problem.rows, moving)
    opens = jnp.abs(state.s) - jnp.abs(after)  # 1 for a class that becomes linear, -1 saturated
    missing = opens * _triangle(opens != 0, fields - (state.s + after), speeds)
    m = contract(problem.read, missing)
    before = readout_slope(options.readout, state.sign)
    read = 2 * flow.cell.overlaps(at) * m if law.square else before * m
    if options.watches:
        bend = readout_slope(options.readout, -state.sign) - before
        overlaps, changes = flow.cell.overlaps(at), contract(flow.cell.linear, moving)
        leaving = contract(problem.cell(after, before).linear, moving)
        passes = jnp.abs(leaving) > _AT_REST * jnp.abs(changes)
        read = read + bend * _triangle(turned & passes, overlaps, changes)
    push = z * m if law.feed is None else jnp.zeros_like(m)
    if law.mix is not None:
        push = push + contract(law.mix, m)
    return y.at[: push.shape[0]].add(push), z + law.rate * contract(law.drive, read)


def _triangle(where, gap, speed):
    """gap^2 / (2 speed), 0 elsewhere."""
    safe = jnp.where(where & (speed != 0), speed, 1.0)
    return jnp.where(where, gap, 0.0) ** 2 / (2 * safe)
