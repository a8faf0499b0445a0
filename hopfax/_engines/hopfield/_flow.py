"""The motion of every lane from the start of a step on, as a function of time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from ._plateau import Plateau, plateau
from ._problem import Mode, Options, Problem, State, pick, readout_slope
from ._series import Cell, Series, contract, expand, expand_reverse, horner_slope
from ._transit import Trial, runge_kutta, trial_length


class Flow(eqx.Module):
    """The motion from the start of a step: the closed form of a plateau where all is saturated,
    elsewhere a polynomial, which is the series of a cell or that of a Runge-Kutta step.

    Lanes of both kinds step together by the series, and both parts are there. With Runge-Kutta
    transits a step is of one kind, and the other part is None."""

    cell: Cell
    series: Series | None
    plateau: Plateau | None
    on_plateau: Bool[Array, " B"]
    trial: Trial | None  # of a Runge-Kutta step

    def at(self, t):
        """(y, z)."""
        return self._joined(lambda closed: closed.at(t), lambda series: series.at(t))

    def y_and_slope(self, t):
        """y and its time derivative."""
        return self._joined(
            lambda closed: closed.y_and_slope(t), lambda series: horner_slope(series.y, t)
        )

    def saliency(self, index, t):
        """The saliency of memory `index` and its time derivative."""

        def closed(plateau):
            parts = plateau.target, plateau.slow, jnp.broadcast_to(plateau.rate, plateau.slow.shape)
            target, slow, rate = (pick(part, index) for part in parts)
            decay = slow * jnp.exp(-rate * t)
            return target + decay, -rate * decay

        return self._joined(
            closed, lambda series: horner_slope([pick(z, index) for z in series.z], t)
        )

    def _joined(self, closed, polynomial):
        """A pair of values, in every lane from the part that holds there."""
        if self.series is None:
            return closed(self.plateau)
        if self.plateau is None:
            return polynomial(self.series)
        pair = zip(closed(self.plateau), polynomial(self.series), strict=True)
        return tuple(jnp.where(self.on_plateau, one, other) for one, other in pair)


def flow_from(problem: Problem, options: Options, state: State, mode: Mode) -> Flow:
    """The motion of every lane from `state` on."""
    # Overlaps keep their signs inside a step, so that the readout has one slope there.
    slope = readout_slope(options.readout, state.sign)
    law = problem.law_at(state.piece)
    if mode == "runge-kutta":
        # The length is a constant like all step ends (see `_step`): its derivative, through the
        # error of the step before, is no part of the solution's.
        length = lax.stop_gradient(trial_length(problem, options, state))
        series, trial = runge_kutta(problem, options.readout, law, state, length, options.tol)
        cell = Cell(trial.before, slope[:, None] * 0, slope)
        return Flow(cell, series, None, jnp.zeros_like(state.on_plateau), trial)
    if mode == "plateau":
        cell = Cell(contract(problem.read, state.s), slope[:, None] * 0, slope)
        closed = plateau(state.y, state.z, cell.constant, slope, law)
        return Flow(cell, None, closed, jnp.ones_like(state.on_plateau), None)
    # By the series every lane is expanded and has a closed form as well, and each takes its own:
    # lanes of a batch are computed together, whatever one of them needs.
    cell = problem.cell(state.s, slope)
    expansion: Any = expand_reverse if options.reverse else expand
    series: Series = expansion(options.order, state.y, state.z, cell, law)
    closed = plateau(state.y, state.z, cell.constant, slope, law)
    return Flow(cell, series, closed, (state.s != 0).all(0), None)
