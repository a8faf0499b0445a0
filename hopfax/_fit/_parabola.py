r"""Whether the loss is a parabola as far as the standard errors reach.

Standard errors take the residuals as linear around the minimum: two of them away along any axis of
the covariance the loss has risen by $\tfrac12 2^2 s^2$, with the variance $s^2$ of the residuals.
This is tried, both ways along the two weakest axes, where the errors reach furthest, by the program
of the fit. It costs as much as four steps.

A loss that rises much faster lies in a bent valley, or has steps. The errors then say little, and
such a valley may have another, lower end of which no residual tells: overlaps of a rate network
left gain, threshold and time constant nearly exchangeable, and of two minima (losses 45.4 and 39.1
at 66 degrees of freedom) the upper one, 19 to 32 errors off, was as good a fit by every test. There
the loss rose by 10 to 23 times as much as the errors said; where they are right, by 0.9 to 2 times.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._types import is_concrete
from ._loop import Job, advance, start_at
from ._result import CONVERGED, FitResult, vague
from ._steppers import ByLeastSquares
from ._variables import Vectors

_AWAY = 2.0  # standard errors: about the ends of an interval of 95 %
_AXES = 2  # the weakest ones
_OFF = 6.0  # times what the errors say that the loss may rise; at a bound it need not rise at all
_RESOLVED = 10.0  # tolerances of the fit that a standard error must have, to be one of noise


class Rise(NamedTuple):
    """How the loss rises beside a minimum.

    - `ratios`: by how much it rises, as a multiple of what the standard errors say, `away` of them
      from it.
    - `lowest`: the least loss that was met, and `there`, the free entries.
    """

    ratios: np.ndarray
    away: float
    lowest: float
    there: Vectors

    @property
    def off(self) -> bool:
        """Whether standard errors say little here. A run that fails at such a distance (its loss is
        infinite) is no parabola either."""
        return bool((~(self.ratios < _OFF)).any())


def rise_of(job: Job, result: FitResult) -> Rise | None:
    """How the loss rises beside the end of a fit; None where there are no standard errors, or none
    that say anything of the data: those of a fit without noise are as small as its tolerance. Where
    a parameter is hardly determined, which is said, no parabola is to be expected."""
    fitted = isinstance(job.stepper, ByLeastSquares) and job.settings.starts == 1
    if not fitted or result.scale is None or not is_concrete(result.loss):
        return None
    scale, least = result.scale, float(result.loss)
    free, errors = np.asarray(scale.free), np.asarray(scale.stderr)
    known = np.isfinite(errors) & (errors > 0)
    resolved = errors > _RESOLVED * job.settings.tolerance * (1 + np.abs(free))
    if int(result.status) != CONVERGED or not (known & resolved).any() or result.goodness is None:
        return None
    if vague(result):
        return None
    left = float(scale.left)
    unit = 1.0 if np.isinf(left) else 2 * least / left
    errors = np.where(known, errors, 0.0)
    safe = np.where(known, errors, 1.0)
    alike = np.where(known[:, None] & known, np.asarray(scale.covariance), 0.0)
    sizes, axes = np.linalg.eigh(alike / safe / safe[:, None])
    _, back = ravel_pytree(job.problem.variables.start())
    one, ratios, lowest, there = jnp.asarray(1, jnp.int32), [], np.inf, None
    for size, axis in list(zip(sizes, axes.T, strict=True))[-_AXES:]:
        for sign in (-1, 1) if size > 0 else ():
            away = sign * _AWAY * np.sqrt(size) * errors * axis
            vectors = back(jnp.asarray(free + away, scale.free.dtype))
            loss = float(advance(job, start_at(job, vectors), one).least)
            ratios.append((loss - least) / (0.5 * _AWAY**2 * unit))
            if there is None or loss < lowest:
                lowest, there = loss, vectors
    return None if there is None else Rise(np.array(ratios), _AWAY, lowest, there)
