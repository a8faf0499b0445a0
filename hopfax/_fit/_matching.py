r"""A start for fits to a trace of saliencies: the slow equation alone, without a run.

The slopes of the observed saliencies are compared with those that the network gives to them,

$$r(t) = \dot z(t) - f\big(\hat z(t), k(t)\big),$$

where $\hat z$ and $\dot z$ are the middle and the slope of a straight line through the values
observed near t, and k is the active memory: the largest one of those that fall. The field is taken
to rest in it. Nothing is integrated, so no run can be late, and for the transition matrix this is
a linear regression, with one minimum. Lines that cross a switch, or a gap, are left out.

Two-stage estimates of this kind: J. M. Varah 1982, doi:10.1137/0903003. They are less accurate than
a fit of the run, which goes on from here.
"""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._types import Network
from ..losses import AbstractLoss, Recording
from ..losses._base import Derivative
from ..losses._terms import Path
from ._steppers import Problem

_REACH = 1 / 3  # of the slow time constant, to either side: so far the lines reach
_FEWEST = 2  # but so many rows of the trace to either side at least


class Matched(AbstractLoss):
    """Slopes of saliencies, compared with those of the network.

    - `saliency`, `weights`: (R, P) where the network is, and its field.
    - `slope`: (R, P) the observed slopes, NaN for what is not known.
    """

    saliency: Float[Array, "R P"]
    weights: Float[Array, "R P"]
    slope: Float[Array, "R P"]

    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, " r"]:
        def made(saliency, weights):
            state = network.init(saliency=saliency, weights=weights)
            rate = network.vector_field(jnp.zeros(()), state)
            return jax.jvp(network.saliencies, (state,), (rate,))[1]

        known = ~jnp.isnan(self.slope)
        difference = jax.vmap(made)(self.saliency, self.weights) - jnp.where(known, self.slope, 0.0)
        return jnp.where(known, difference, 0.0).ravel()


def matched(problem: Problem) -> Problem | None:
    """The problem with the slopes of its trace of saliencies in place of the run; None if it has no
    such trace, or if something from outside moves them."""
    loss, network = problem.loss, problem.model
    if not isinstance(loss, Recording) or loss.stimulus is not None:
        return None
    paths = [term for term in loss.terms if isinstance(term, Path) and term.of == "saliency"]
    takes = inspect.signature(network.init).parameters
    if not paths or set(loss.init) != {"saliency"} or "weights" not in takes:
        return None
    constant = network.slow_constant()
    if constant is None:
        return None
    return eqx.tree_at(lambda p: p.loss, problem, _slopes(paths[0], jnp.mean(constant)))


def _slopes(path: Path, constant: Float[Array, ""]) -> Matched:
    """The slopes of a trace, with the rows around switches left out."""
    ts, values = path.ts, path.values
    row = jnp.arange(ts.size)
    near = jnp.abs(ts[:, None] - ts) <= _REACH * constant
    near = near | (jnp.abs(row[:, None] - row) <= _FEWEST)
    saliency, slope = _lines(ts, values, near)
    known = jnp.isfinite(slope).all(axis=1)
    falling = jnp.where(slope < 0, saliency, -jnp.inf)
    active = jnp.where(known, jnp.argmax(falling, axis=1), -1)
    # The active memory is the same in all rows that a line joins.
    same = jnp.where(near & known, active == active[:, None], True).all(axis=1)
    slope = jnp.where((known & same)[:, None], slope, jnp.nan)
    saliency = jnp.where(known[:, None], saliency, 1.0)
    at_rest = jnp.arange(values.shape[1]) == active[:, None]
    return Matched(saliency, jnp.where(at_rest, saliency, 0.0), slope)


def _lines(
    ts: Float[Array, " T"], values: Float[Array, "T P"], near: Bool[Array, "T T"]
) -> tuple[Float[Array, "T P"], Float[Array, "T P"]]:
    """The straight line through the values `near` each time, by least squares: its value in the
    middle of its times, and its slope; NaN where less than three times were observed.

    In the middle, because the slope of a curve beside it is another one, and at the ends of the
    trace or of a gap the times that are near all lie to one side.
    """
    seen = near[:, :, None] & ~jnp.isnan(values)
    away = (ts - ts[:, None])[:, :, None]
    values = jnp.where(seen, values, 0.0)
    weight = seen.astype(values.dtype)
    count, first, second = (jnp.sum(weight * away**power, axis=1) for power in (0, 1, 2))
    level, tilt = (jnp.sum(values * away**power, axis=1) for power in (0, 1))
    spread = count * second - first**2
    fine = (count >= 3) & (spread > 0)
    count, spread = (jnp.where(fine, value, jnp.nan) for value in (count, spread))
    return level / count, (count * tilt - first * level) / spread
