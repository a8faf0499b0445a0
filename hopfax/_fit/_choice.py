"""Which optimiser a fit uses, and by which mode its derivatives are taken."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import optax
import optimistix as optx
from jax.sharding import AxisType

from ._batches import first
from ._steppers import ByLeastSquares, ByOptax, Problem, derivative_matters
from ._variables import Variables

#: What a user may give as `optimizer`.
Optimizer: TypeAlias = optax.GradientTransformation | optx.AbstractGaussNewton | None

_FEW = 16  # parameters up to which forward derivatives cost less than reverse ones


class Choice(NamedTuple):
    """How a fit goes: by which steps, whether with forward derivatives, whether on residuals."""

    stepper: ByOptax | ByLeastSquares
    forward: bool
    residual: bool


@functools.lru_cache(maxsize=8)
def adam(rate: float) -> optax.GradientTransformation:
    """Adam, one and the same object for each rate.

    Compiled programs are told apart by the object: a new one would compile every fit anew.
    """
    return optax.adam(rate)


def levenberg_marquardt(tolerance: float) -> optx.AbstractGaussNewton:
    """Levenberg-Marquardt of optimistix, with longer steps.

    By default it lengthens a step only where its linear model predicted the loss to 1 %; here 25 %
    are enough, which saves steps, and each step is a simulation.
    """
    solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    search = optx.ClassicalTrustRegion(high_cutoff=0.75)
    return eqx.tree_at(lambda s: s.search, solver, search)


def choose(
    model: Any,
    loss: Callable[..., Any],
    variables: Variables,
    data: Any,
    batch_size: int | None,
    optimizer: Optimizer,
    tolerance: float,
    derivative: str,
) -> Choice:
    """What a fit of these `variables` uses, given what the user asked for.

    **Raises:** ValueError/TypeError naming `batch_size` or `optimizer`.
    """
    projects = any(project is not None for project in variables.projections)
    if batch_size is not None:
        data = first(data, batch_size)
    known = derivative_matters(loss)
    forward = derivative == "forward" or (derivative == "auto" and known and variables.size <= _FEW)
    probe = Problem(model, loss, variables, forward)
    output = eqx.filter_eval_shape(lambda: probe.output(variables.start(), data))
    shape = output.shape
    residual = shape != ()
    squares = residual and not projects and batch_size is None
    if isinstance(optimizer, optx.AbstractGaussNewton) and not squares:
        raise ValueError(
            "`optimizer`: least squares needs a loss that returns residuals, all data at once, and "
            "reparametrisations (hopfax.constraints) in place of projections."
        )
    if optimizer is None:
        optimizer = levenberg_marquardt(tolerance) if squares else adam(0.05)
    if isinstance(optimizer, optx.AbstractGaussNewton):
        _check_mesh(output)
        if derivative == "auto" and known:
            forward = variables.size <= max(_FEW, 4 * shape[0])
        return Choice(ByLeastSquares(optimizer), forward, True)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "`optimizer` must be an optax optimizer or a Gauss-Newton solver of optimistix "
            "(GaussNewton, LevenbergMarquardt, IndirectLevenbergMarquardt, Dogleg, or one of your "
            "own that is an optimistix.AbstractGaussNewton), got "
            f"{type(optimizer).__name__}."
        )
    return Choice(ByOptax(optimizer), forward, residual)


def _check_mesh(output: Any) -> None:
    """ValueError if residuals lie on a mesh with explicit axes: no linear solver takes them."""
    mesh = getattr(output.sharding, "mesh", None)
    if mesh is not None and AxisType.Explicit in mesh.axis_types:
        raise ValueError(
            "`loss` makes residuals on a mesh with explicit axes, and least squares are not solved "
            "there: make the mesh by jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType"
            ".Auto,) * len(names)), or wrap the function that fits in jax.sharding.auto_axes."
        )
