r"""How sure a least-squares fit is of its parameters.

At the end of a fit the residuals are taken as linear in the parameters, $r + J\,\delta u$. Their
covariance is then that of linear regression, $(J^T J)^{-1}$. Directions in which $J$ is zero, or no
larger than its own error, are not determined by the data; whatever has a share in them gets an
infinite error rather than a large one that means nothing.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from .._programs import jitted
from .._types import is_concrete
from ._goodness import Goodness, columns, goodness
from ._intervals import Scale
from ._loop import Job, evaluated
from ._steppers import ByLeastSquares, Problem
from ._variables import Variables, Vectors


class Certainty(eqx.Module):
    """Standard errors, the covariance matrix, which parameters have none, and how many numbers are
    left to judge the residuals by."""

    stderr: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    undetermined: Bool[Array, " n"]
    left: Float[Array, ""]


def certainty_of(
    job: Job, vectors: Vectors, absolute: bool, converged: Bool[Array, ""]
) -> tuple[Certainty, Goodness | None, Scale]:
    """The `certainty` of parameters at the end of a fit, whether the fit is any good, and the
    certainty of the free entries behind the parameters.

    **Arguments:** `absolute`: whether the standard deviations of the data are known. `converged`:
    whether the parameters are right to the tolerance of the fit.

    Where it is not, there are no errors: their formula holds for the right model, close to the
    global minimum.

    The Jacobian is computed twice, at points that differ by far less than its scale: where steps
    of the simulation are adaptive, other parameters have other steps, and the difference shows how
    large the error of the Jacobian is.
    """
    problem, data = job.problem, job.data
    here = all(is_concrete(leaf) for leaf in jax.tree.leaves((job, vectors)))
    if here and job.settings.starts == 1 and isinstance(job.stepper, ByLeastSquares):
        (residuals, own), (_, other) = (evaluated(job, v) for v in (vectors, _aside(vectors)))
        jacobians = own, other
    else:
        residuals, jacobians = _jacobians(problem, vectors, data)
    parts = problem.loss, problem.model
    layout = columns(parts, data, lambda: jax.eval_shape(problem.output, vectors, data))
    # Known errors tell a misfit however far the fit was from its end, where the Jacobian of a run
    # that is wrong altogether can be of any size.
    tolerance = jnp.where(jnp.logical_or(converged, not absolute), job.settings.tolerance, 0.0)
    return _judged(problem.variables, vectors, residuals, jacobians, layout, absolute, tolerance)


@jitted
def _aside(vectors: Vectors) -> Vectors:
    """A point that differs by far less than the scale of a Jacobian."""
    flat, back = ravel_pytree(vectors)
    return back(flat + jnp.finfo(flat.dtype).eps ** 0.75 * (1 + jnp.abs(flat)))


@jitted
def _jacobians(
    problem: Problem, vectors: Vectors, data: Any
) -> tuple[Float[Array, " r"], tuple[Float[Array, "r n"], Float[Array, "r n"]]]:
    """The residuals at a point, and their derivatives there and beside it."""
    both = jax.tree.map(lambda *parts: jnp.stack(parts), vectors, _aside(vectors))
    residuals, jacobians = jax.lax.map(lambda v: problem.jacobian(v, data), both)
    return residuals[0], (jacobians[0], jacobians[1])


@jitted
def _judged(
    variables: Variables,
    vectors: Vectors,
    residuals: Float[Array, " r"],
    jacobians: tuple[Float[Array, "r n"], Float[Array, "r n"]],
    layout: int,
    absolute: bool,
    tolerance: Float[Array, ""],
) -> tuple[Certainty, Goodness | None, Scale]:
    """`certainty_of` from residuals and derivatives."""
    flat, back = ravel_pytree(vectors)
    jacobian, other = jacobians
    slope = jax.jacfwd(lambda v: variables.moving(back(v)))(flat)
    fine = jnp.isfinite(jacobian).all() & jnp.isfinite(residuals).all()
    jacobian = jnp.where(fine, jacobian, 0.0)
    noise = jnp.where(jnp.isfinite(other), other - jacobian, 0.0)
    # What was not observed (NaN in the data) has a residual of zero whatever the parameters are.
    seen = (residuals != 0) | (jacobian != 0).any(1)
    n = flat.size
    both = jnp.concatenate([slope, jnp.eye(n, dtype=flat.dtype)])
    of_both, known = certainty(residuals, seen, jacobian, noise, both, absolute)
    stderr, covariance, lost = of_both.stderr, of_both.covariance, of_both.undetermined
    sure = Certainty(stderr[:n], covariance[:n, :n], lost[:n], of_both.left)
    left = jnp.full_like(of_both.left, jnp.inf) if absolute else of_both.left
    scale = Scale(variables, flat, stderr[n:], covariance[n:, n:], left)
    if not layout:
        return sure, None, scale
    # Parameters that are wrong by the tolerance leave residuals of this size.
    rounding = float(jnp.finfo(flat.dtype).eps) ** 0.5
    off = jnp.where(tolerance > 0, jnp.maximum(tolerance, rounding), 0.0).astype(flat.dtype)
    least = off * jnp.linalg.norm(jacobian * (1 + jnp.abs(flat)))
    found = goodness(residuals, seen, known, least, layout, absolute)
    stderr = jnp.where(found.poor & ~sure.undetermined, jnp.nan, sure.stderr)
    covariance = jnp.where(found.poor, jnp.nan, sure.covariance)
    own = jnp.where(found.poor, jnp.nan, scale.stderr)
    scale = eqx.tree_at(lambda s: s.stderr, scale, own)
    return Certainty(stderr, covariance, sure.undetermined, sure.left), found, scale


def _largest(matrix: Float[Array, "r n"]) -> Float[Array, ""]:
    """The largest singular value; `jnp.linalg.norm` makes r * r numbers on the way."""
    return jnp.linalg.svd(matrix, full_matrices=False, compute_uv=False).max(initial=0.0)


def certainty(
    residuals: Float[Array, " r"],
    seen: Bool[Array, " r"],
    jacobian: Float[Array, "r n"],
    noise: Float[Array, "r n"],
    slope: Float[Array, "m n"],
    absolute: bool,
) -> tuple[Certainty, Int[Array, ""]]:
    r"""Errors of numbers $v(u)$ from the Gauss-Newton matrix of $J = \partial r/\partial u$.

    $\mathrm{cov}(v) = V (J^T J)^{-1} V^T$ with $V = \partial v/\partial u$ (`slope`), times the
    reduced chi-squared of the residuals `seen` unless `absolute`. The columns of $J$ are first
    scaled to length one, so that units do not matter. Then directions whose singular value is below
    rounding, or below the `noise` of $J$, are not determined, and parameters with any share in them
    have no error.

    **Returns:** the errors, and how many directions are determined.
    """
    r, n = jacobian.shape
    length = jnp.linalg.norm(jacobian, axis=0)
    unit = 1 / jnp.where(length > 0, length, 1.0)
    jacobian, noise, slope = jacobian * unit, noise * unit, slope * unit
    # All n rows, but of many residuals never all r columns, which would be r * r numbers.
    _, sizes, rows = jnp.linalg.svd(jacobian, full_matrices=r < n)
    sizes = jnp.concatenate([sizes, jnp.zeros(max(n - r, 0), sizes.dtype)])
    rounding = jnp.finfo(sizes.dtype).eps ** 0.5 * jnp.max(sizes)
    floor = jnp.maximum(rounding, _largest(noise))
    known = sizes > floor
    scaled = jnp.where(known, 1 / jnp.where(known, sizes, 1.0), 0.0)[:, None] * rows
    spread = slope @ (scaled.T @ scaled) @ slope.T
    free = (seen.sum() - known.sum()).astype(sizes.dtype)
    if not absolute:
        reduced = jnp.sum(jnp.square(residuals)) / jnp.maximum(free, 1.0)
        spread = spread * jnp.where(free > 0, reduced, jnp.nan)
    lost = jnp.where(known[:, None], 0.0, rows @ slope.T)
    whole = jnp.sum(jnp.square(slope), axis=1)
    share = jnp.finfo(sizes.dtype).eps ** 0.25  # 1e-4 in double precision
    undetermined = jnp.sum(jnp.square(lost), axis=0) > share * whole
    unknown = undetermined[:, None] | undetermined[None, :]
    covariance = jnp.where(unknown, jnp.nan, spread)
    stderr = jnp.where(undetermined, jnp.inf, jnp.sqrt(jnp.diagonal(spread)))
    return Certainty(stderr, covariance, undetermined, free), known.sum()
