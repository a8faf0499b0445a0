"""Runge-Kutta steps through transits with very many classes.

With C classes a transit meets about C kinks one by one, and a series for every one of them costs
more than steps that pass over them. Tableau and dense output are those of diffrax's Tsit5.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._problem import Problem, Readout, State
from ._series import Law, Series, contract

_ORDER = 4  # of the dense output


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
    """f(m)."""
    if readout == "abs":
        return jnp.abs(m)
    if readout == "relu":
        return jnp.maximum(m, 0.0)
    return m * m if readout == "square" else m


class Trial(eqx.Module):
    """Of a Runge-Kutta step: its error over the tolerance, the overlaps before it, and overlaps and
    gain times fields after it."""

    error: Float[Array, " B"]
    before: Float[Array, "P B"]
    m: Float[Array, "P B"]
    u: Float[Array, "C B"]

    @property
    def accepted(self) -> Bool[Array, " B"]:
        """Whether the error is small enough."""
        return self.error <= 1


def slopes(problem: Problem, readout: Readout, law: Law, y, z):
    """Time derivatives of y and z, whatever the cell, with overlaps and gain times fields."""
    u = contract(problem.rows, y)
    m = contract(problem.read, jnp.clip(u, -1.0, 1.0))
    w = z * m + law.bias
    if law.mix is not None:
        w = w + contract(law.mix, m)
    if law.push.shape[0]:
        w = jnp.concatenate([w, jnp.broadcast_to(law.push, (law.push.shape[0], w.shape[1]))])
    return w - y, law.rate * (contract(law.drive, read(readout, m)) - z), m, u


def runge_kutta(problem: Problem, readout: Readout, law: Law, state: State, h, tol: float):
    """The polynomial through a step of length `h`, and what it takes to judge it."""
    tableau = diffrax.Tsit5.tableau
    safe = jnp.where(h > 0, h, 1.0)

    def at(weights):
        """The state displaced by stages with these weights."""
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
    parts = [at(row) for row in _DENSE.T]
    powers = [h / safe ** (j + 1) for j in range(_ORDER)]
    # Not stacked: every coefficient is read on its own.
    y = (state.y, *(dy * p for (dy, _), p in zip(parts, powers, strict=True)))
    z = (state.z, *(dz * p for (_, dz), p in zip(parts, powers, strict=True)))
    return Series(y, z), Trial(error, before, m, u)


def next_length(h, error, accepted):
    """The next step's length, by the error of this one."""
    factor = 0.9 * jnp.maximum(error, 1e-10) ** -0.2
    return h * jnp.clip(factor, 0.2, jnp.where(accepted, 5.0, 1.0))
