"""Runge-Kutta steps through transits with very many classes.

With C classes a transit meets about C kinks one by one, and a series for every one of them costs
more than steps that pass over them (from about 64 classes on). Such a step knows no cells: it
evaluates the clipped rates at its stages, and its error control pays for the kinks inside with
short steps. Tableau and dense output are those of diffrax's Tsit5, of which every lane takes a step
of its own length; a rejected one is a step of length 0.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._problem import Options, Problem, Reach, Readout, State, limits
from ._series import Law, Series, contract

_ORDER = 4  # of the dense output
_ROUNDING = 8  # units in the last place by which a step may miss the end of repeated steps

# Dense output of Tsit5 (Tsitouras, Comput. Math. Appl. 62, 770 (2011)): row i holds the weight of
# stage i as a polynomial in t/h, from the first power on.
_DENSE = np.array(
    [
        [1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216],
        [0.0, 0.1317, -0.2234, 0.1017],
        [0.0, 3.930296236894751, -5.941033872131505, 2.490627285651252793],
        [0.0, -12.411077166933676, 30.33818863028232, -16.54810288924490272],
        [0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928122],
        [0.0, -27.896526289197286, 65.09189467479366, -34.87065786149660974],
        [0.0, 1.5, -4.0, 2.5],
    ]
)


def read(readout: Readout, m):
    """The readout f(m)."""
    if readout == "abs":
        return jnp.abs(m)
    if readout == "relu":
        return jnp.maximum(m, 0.0)
    return m * m if readout == "square" else m


class Trial(eqx.Module):
    """What a Runge-Kutta step is judged by."""

    error: Float[Array, " B"]  # over the tolerance
    before: Float[Array, "P B"]  # the overlaps before the step
    m: Float[Array, "P B"]  # and after it
    u: Float[Array, "C B"]  # gain times fields after it

    @property
    def small(self) -> Bool[Array, " B"]:
        """Whether the error is within the tolerance."""
        return self.error <= 1


def slopes(problem: Problem, readout: Readout, law: Law, y, z):
    """Time derivatives of y and z, overlaps, and gain times fields, whatever the cell."""
    u = contract(problem.rows, y)
    m = contract(problem.read, jnp.clip(u, -1.0, 1.0))
    w = law.pushed(m, z) + law.bias
    if law.mix is not None:
        w = w + contract(law.mix, m)
    if law.push.shape[0]:
        w = jnp.concatenate([w, jnp.broadcast_to(law.push, (law.push.shape[0], w.shape[1]))])
    return w - y, law.rate * (contract(law.drive, read(readout, m)) - z), m, u


def runge_kutta(problem: Problem, readout: Readout, law: Law, state: State, h, tol: float):
    """The polynomial through a step of length `h`, and what the step is judged by."""
    tableau = diffrax.Tsit5.tableau
    safe = jnp.where(h > 0, h, 1.0)  # lanes that wait have h = 0 and must not divide by it

    def at(weights):
        """The sum of the stages with these weights, for y and for z."""
        rows = zip(weights, stages, strict=False)
        moves = [(float(w) * dy, float(w) * dz) for w, (dy, dz) in rows if w != 0]
        return tuple(sum(parts) for parts in zip(*moves, strict=True))

    dy, dz, m, u = slopes(problem, readout, law, state.y, state.z)
    stages, before = [(dy, dz)], m
    for weights in tableau.a_lower:
        dy, dz = at(weights)
        dy, dz, m, u = slopes(problem, readout, law, state.y + h * dy, state.z + h * dz)
        stages.append((dy, dz))  # the last one is at the end of the step
    error_y, error_z = at(tableau.b_error)
    parts = ((error_y, state.y), (error_z, state.z))
    squares = jnp.concatenate([(e / (1 + jnp.abs(v))) ** 2 for e, v in parts])
    error = h * jnp.sqrt(squares.mean(0)) / tol
    # Coefficients of powers of t, in place of diffrax's of t/h: as the series has them.
    parts = [at(row) for row in _DENSE.T]
    powers = [h / safe ** (j + 1) for j in range(_ORDER)]
    # Not stacked: every coefficient is read on its own.
    y = (state.y, *(dy * p for (dy, _), p in zip(parts, powers, strict=True)))
    z = (state.z, *(dz * p for (_, dz), p in zip(parts, powers, strict=True)))
    return Series(y, z), Trial(error, before, m, u)


def trial_length(problem: Problem, options: Options, state: State) -> Float[Array, " B"]:
    """The length of the next Runge-Kutta step; 0 for a lane that waits on its plateau."""
    moving = state.active(problem.until, options.max_steps) & ~state.on_plateau
    length = jnp.minimum(state.length, limits(problem, options, state)[1])
    return jnp.where(moving, length, 0.0)


def accept(problem: Problem, options: Options, state: State, trial: Trial) -> Reach:
    """Take a step if its error is small and it ends in time; else none, and try a shorter one."""
    length, left = trial_length(problem, options, state), problem.until - state.t
    # Repeated steps end at `until`, where they ended in the run. There a trial of full length may
    # have been rejected before, so it is judged at that length again. Only a good one is cut: it
    # oversteps because it rounds otherwise. Cutting all would begin another schedule of steps.
    beyond = length - left > _ROUNDING * jnp.finfo(left.dtype).eps * jnp.abs(problem.until)
    accepted = trial.small & ~beyond
    # A step that was cut short, by a save or the edge of a pulse, says little on the next length:
    # without this a dense grid of saves would keep all steps short.
    cut = accepted & (length < state.length)
    following = next_length(length, trial.error, accepted)
    following = jnp.where(trial.small & beyond, left, following)
    return Reach(
        time=jnp.where(accepted, length, 0.0),
        s=jnp.where(accepted, jnp.clip(jnp.trunc(trial.u), -1.0, 1.0), state.s),
        on_plateau=accepted & (jnp.abs(trial.u).min(0) >= 1),
        turned=jnp.zeros(state.sign.shape, bool),
        length=jnp.where(cut, jnp.maximum(following, state.length), following),
    )


def next_length(h, error, accepted):
    """The length of the next step, by the error of this one: an error of order h^5 is brought to
    0.9^5 of the tolerance, in factors of at most 5. After a rejection it does not grow."""
    factor = 0.9 * jnp.maximum(error, 1e-10) ** -0.2
    return h * jnp.clip(factor, 0.2, jnp.where(accepted, 5.0, 1.0))
