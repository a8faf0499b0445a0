"""One step of an optimiser: optax's on a number, optimistix' least squares on residuals."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from .._errors import shown
from ..losses import AbstractLoss, each, joint, value
from ._variables import Variables, Vectors


class AbstractProblem(eqx.Module):
    """Residuals of free entries, and their derivatives: all that least squares needs."""

    @abc.abstractmethod
    def output(self, vectors: Vectors, data: Any) -> Float[Array, "..."]:
        """What the loss returns, residuals or a number."""

    @abc.abstractmethod
    def jacobian(self, vectors: Vectors, data: Any) -> tuple[Array, Array]:
        """The residuals, as a vector, and their derivatives (residuals, numbers fitted)."""


class Problem(AbstractProblem):
    """A model, which arrays of it are fitted, and by which loss."""

    model: Any
    loss: Callable[..., Any]
    variables: Variables
    forward: bool = eqx.field(static=True)

    def output(self, vectors: Vectors, data: Any) -> Float[Array, "..."]:
        """What the loss returns, residuals or a number."""
        model = self.variables.put(self.model, vectors)
        given = () if data is None else (data,)
        if derivative_matters(self.loss):
            out = self.loss(model, *given, derivative="forward" if self.forward else "reverse")
        else:
            out = self.loss(model, *given)
        if not isinstance(out, jax.Array | np.ndarray | float | int):
            text = f"residuals (an array) or a number, but returns {shown(out)}"
            raise TypeError(f"`loss` must return {text}.")
        return jnp.asarray(out)

    def number(self, vectors: Vectors, data: Any) -> Float[Array, ""]:
        """The loss as a number."""
        return value(self.output(vectors, data))

    def gradient(self, vectors: Vectors, data: Any) -> tuple[Array, Vectors]:
        """The loss as a number, and its gradient."""
        if not self.forward:
            return jax.value_and_grad(self.number)(vectors, data)
        flat, back = ravel_pytree(vectors)
        number, slope = _jacobian(lambda v: self.number(back(v), data), flat)
        return number, back(slope)

    def jacobian(self, vectors: Vectors, data: Any) -> tuple[Array, Array]:
        """The residuals, as a vector, and their derivatives (residuals, numbers fitted)."""
        flat, back = ravel_pytree(vectors)

        def residuals(flat):
            return self.output(back(flat), data).ravel()

        if self.forward:
            return _jacobian(residuals, flat)
        out, pull = jax.vjp(residuals, flat)

        def row(k):
            return pull(jnp.zeros_like(out).at[k].set(1.0))[0]

        each = jnp.arange(out.size)
        if out.size <= _ROWS:
            return out, jax.vmap(row)(each)
        return out, jax.lax.map(row, each, batch_size=_ROWS)  # not r * r numbers at once


_ROWS = 1024  # pullbacks side by side


def derivative_matters(loss: Any) -> bool:
    """Whether a loss wants to be told which derivative its runs will serve."""
    return isinstance(loss, AbstractLoss) or loss is each or loss is joint


def _jacobian(function: Callable[[Array], Array], flat: Float[Array, " n"]) -> tuple[Array, Array]:
    """The value, and the derivatives along its last axis.

    All tangents are carried by one run: vmap over a pushforward computes the value once.
    """

    def push(tangent):
        return jax.jvp(function, (flat,), (tangent,))

    basis = jnp.eye(flat.size, dtype=flat.dtype)
    return jax.vmap(push, out_axes=(None, -1))(basis)


class Step(eqx.Module):
    """What a step has found.

    - `vectors`, `state`: where it went, and what the optimiser remembers.
    - `at`, `loss`, `gradient`: a point, the loss there, and the norm of its gradient there.
    - `done`: whether the optimiser has converged.
    """

    vectors: Vectors
    state: Any
    at: Vectors
    loss: Float[Array, ""]
    gradient: Float[Array, ""]
    done: Bool[Array, ""]


class ByOptax(eqx.Module):
    """A step of an optax optimiser, followed by projections."""

    optimizer: optax.GradientTransformation = eqx.field(static=True)

    def init(self, problem: Problem, vectors: Vectors, data: Any) -> Any:
        """The optimiser's state before the first step."""
        return self.optimizer.init(vectors)

    def step(self, problem: Problem, vectors: Vectors, state: Any, data: Any) -> Step:
        """One step down the gradient; none where the loss or its gradient is not finite."""
        loss, gradient = problem.gradient(vectors, data)
        norm = jnp.linalg.norm(ravel_pytree(gradient)[0])
        fine = jnp.isfinite(norm) & jnp.isfinite(loss)
        gradient = jax.tree.map(lambda g: jnp.where(fine, g, 0.0), gradient)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, state = self.optimizer.update(gradient, state, vectors)
            after: Any = optax.apply_updates(vectors, updates)
            moved = problem.variables.projected(after)
        moved = jax.tree.map(lambda new, old: jnp.where(fine, new, old), moved, vectors)
        return Step(moved, state, vectors, loss, norm, jnp.zeros((), bool))


class Tried(eqx.Module):
    """What a least-squares solver remembers.

    - `trial`: where it looks next, or, before the first step, where it begins.
    - `f_info`: residuals and their derivatives at the last trial that was accepted.
    - `search`, `descent`: the states of the solver's two parts.
    - `first`, `done`: whether no step has been made, and whether it has converged.
    """

    trial: Float[Array, " n"]
    f_info: Any
    search: Any
    descent: Any
    first: Bool[Array, ""]
    done: Bool[Array, ""]


class ByLeastSquares(eqx.Module):
    """A step of a Gauss-Newton solver of optimistix.

    It is the solver's own step (`optimistix.AbstractGaussNewton.step`: its search decides whether
    the last trial is accepted, its descent where the next one is), but for one thing: the solver
    takes the derivatives of a function itself, by as many pullbacks as there are residuals, and
    here they come along with the residuals, as `AbstractProblem.jacobian` computes them. Of a
    function that is known by its pullback alone, r residuals need r pullbacks, and r * r numbers.
    """

    solver: optx.AbstractGaussNewton

    def init(self, problem: AbstractProblem, vectors: Vectors, data: Any) -> Tried:
        """The solver's state before the first step."""
        flat, _ = ravel_pytree(vectors)
        shapes = jax.eval_shape(lambda v: problem.jacobian(v, data), vectors)
        f_info = _info(*(jnp.zeros(shape.shape, shape.dtype) for shape in shapes))
        # Whose step sizes are of the default float, also where parameters are of a shorter one.
        search = jax.tree.map(
            lambda x: x.astype(flat.dtype) if eqx.is_inexact_array(x) else x,
            self.solver.search.init(flat, f_info),
        )
        descent = self.solver.descent.init(flat, f_info)
        return Tried(flat, f_info, search, descent, jnp.asarray(True), jnp.asarray(False))

    def step(self, problem: AbstractProblem, vectors: Vectors, state: Tried, data: Any) -> Step:
        """To the next trial; the first one is the start itself.

        What is recorded belongs to the last trial that the solver has accepted.
        """
        solver, (flat, back) = self.solver, ravel_pytree(vectors)
        tried = _info(*problem.jacobian(back(state.trial), data))
        size, accept, _, search = solver.search.step(
            state.first, flat, state.trial, state.f_info, tried, state.search
        )

        def accepted(descent):
            descent = solver.descent.query(state.trial, tried, descent)
            change = tried.residual - state.f_info.residual
            still = _small(solver, state.trial - flat, state.trial)
            done = still & _small(solver, change, tried.residual)
            return state.trial, tried, descent, done

        def rejected(descent):
            return flat, state.f_info, descent, jnp.asarray(False)

        flat, f_info, descent, done = jax.lax.cond(accept, accepted, rejected, state.descent)
        forth, _ = solver.descent.step(size, descent)
        state = Tried(flat + forth, f_info, search, descent, jnp.asarray(False), done)
        r, jacobian = f_info.residual, f_info.jac.as_matrix()
        done = done | _exhausted(jacobian, r)
        at = back(flat)
        return Step(at, state, at, value(r), jnp.linalg.norm(r @ jacobian), done)


def _small(solver: optx.AbstractGaussNewton, change: Array, value: Array) -> Bool[Array, ""]:
    """Whether a change is within the solver's tolerances of a value."""
    return solver.norm(jnp.abs(change) / (solver.atol + solver.rtol * jnp.abs(value))) < 1


def _info(r: Float[Array, " r"], jacobian: Float[Array, "r n"]) -> Any:
    """Both, as the parts of a solver want them: an `optimistix.FunctionInfo.ResidualJac`."""
    return optx.FunctionInfo.ResidualJac(r, lx.MatrixLinearOperator(jacobian))


def _exhausted(jacobian: Float[Array, "r n"], r: Float[Array, " r"]) -> Bool[Array, ""]:
    """Whether the linear model promises to lower the loss by no more than its rounding.

    Whether a step lowers the loss is then a matter of chance, and the solver would go on until
    chance ends it. In float32 that bound alone would end it a standard error too early where there
    are thousands of residuals: it is at most a hundredth of one, unless that is rounding itself.
    """
    basis, _ = jnp.linalg.qr(jacobian)
    eps = float(jnp.finfo(r.dtype).eps)
    share = min(_ROUNDING * eps, max(_LAST * eps, _WITHIN**2 / r.size))
    return jnp.sum(jnp.square(basis.T @ r)) <= share * jnp.sum(r * r)


_ROUNDING = 1024  # of a loss, in units of its last place
_LAST = 8  # the same, where a sum of squares cannot be told from another
_WITHIN = 0.01  # standard errors
