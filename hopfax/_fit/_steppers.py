"""One step of an optimiser: optax's on a number, optimistix' least squares on residuals."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
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
        return out, jax.vmap(lambda row: pull(row)[0])(jnp.eye(out.size, dtype=out.dtype))


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


class ByLeastSquares(eqx.Module):
    """A step of an optimistix least-squares solver."""

    solver: optx.AbstractLeastSquaresSolver

    def init(self, problem: AbstractProblem, vectors: Vectors, data: Any) -> Any:
        """The solver's state before the first step."""
        flat, _ = ravel_pytree(vectors)
        residuals = _residuals(problem, vectors, data)
        struct = jax.eval_shape(lambda v: residuals(v, None)[0], flat)
        return self.solver.init(residuals, flat, None, _OPTIONS, struct, None, frozenset())

    def step(self, problem: AbstractProblem, vectors: Vectors, state: Any, data: Any) -> Step:
        """To the next trial; the first one is the start itself.

        What is recorded belongs to the last trial that the solver has accepted.
        """
        flat, back = ravel_pytree(vectors)
        residuals, tags = _residuals(problem, vectors, data), frozenset()
        flat, state, _ = self.solver.step(residuals, flat, None, _OPTIONS, state, tags)
        done, _ = self.solver.terminate(residuals, flat, None, _OPTIONS, state, tags)
        r, jacobian = state.f_info.residual, state.f_info.jac
        slope = jacobian.transpose().mv(r)
        vectors = back(flat)
        done = done | _exhausted(jacobian.as_matrix(), r)
        return Step(vectors, state, vectors, value(r), jnp.linalg.norm(slope), done)


def _exhausted(jacobian: Float[Array, "r n"], r: Float[Array, " r"]) -> Bool[Array, ""]:
    """Whether the linear model promises to lower the loss by no more than its rounding.

    Whether a step lowers the loss is then a matter of chance, and the solver would go on until
    chance ends it.
    """
    basis, _ = jnp.linalg.qr(jacobian)
    return jnp.sum(jnp.square(basis.T @ r)) <= _ROUNDING * jnp.finfo(r.dtype).eps * jnp.sum(r * r)


_ROUNDING = 1024  # of a loss, in units of its last place
_OPTIONS = {"jac": "bwd"}  # which for `_residuals` means: the matrix that came with the values


def _residuals(problem: AbstractProblem, like: Vectors, data: Any) -> Callable[..., Any]:
    """The residuals as a function whose pullback is a product with a matrix.

    The Jacobian is computed along with the residuals, by forward mode if the problem says so, and
    kept for the pullback. Otherwise the solver would keep the pullback as a linear function, that
    is, a compiled program in its state, and every fit would compile anew.
    """
    _, back = ravel_pytree(like)

    @jax.custom_vjp
    def residuals(flat):
        return problem.output(back(flat), data).ravel()

    def forward(flat):
        return problem.jacobian(back(flat), data)

    def backward(jacobian, bar):
        return (bar @ jacobian,)

    residuals.defvjp(forward, backward)

    def with_nothing(flat, args):
        del args
        return residuals(flat), None

    return with_nothing
