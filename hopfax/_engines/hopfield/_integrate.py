"""The integrator as one function of a problem, with its derivatives.

Along a fixed schedule of steps and cells the solution is a smooth function of everything, and
because the motion is continuous across the boundaries of cells, derivatives at that fixed schedule
are those of the solution: no correction is due at a crossing.

    integrate --+-- _forward   (custom_jvp)  tangents are carried along, of what is differentiated
                |
                +-- _backward  (custom_vjp)  `solve` with marks, and `pull_back` along them

JAX differentiates a loop of unknown length forward but not in reverse, so that a program is made
for one of the two. Each rule hands its work to `lanes_last`, which decides how a batch is run:
derivatives of a batch are a batch of derivatives, in one loop.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from ._lanes_last import lane_count, lanes_last
from ._problem import Options, Problem
from ._solve import MARKS, Facts, Values, pull_back, solve


def integrate(problem: Problem, options: Options) -> tuple[Values, Facts]:
    """Run every lane of `problem` from its start to its last save time. `options.reverse` says
    which derivatives the run will serve."""
    return (_backward if options.reverse else _forward)(options, problem)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _forward(options: Options, problem: Problem) -> tuple[Values, Facts]:
    def run(problem):
        out = solve(problem, options)
        return out.values, out.facts

    return lanes_last(run)(problem)


@partial(_forward.defjvp, symbolic_zeros=True)
def _forward_jvp(options, primals, tangents):
    """Values and their tangents, in one loop along the schedule of the values.

    Only leaves of the problem that are differentiated have tangents here. Zeros for all others, the
    patterns among them, would be carried through every operation of every step."""
    (problem,), (tangent,) = primals, tangents
    rates = jax.tree.structure(problem).flatten_up_to(tangent)  # symbolic zeros are leaves too
    moving = Moving(tuple(type(rate) is not SymbolicZero for rate in rates))

    def run(args):
        problem, rates = args
        # A value that lanes share may have a tangent of its own in each of them, as in a Jacobian.
        pairs = [
            jnp.broadcast_arrays(*pair) for pair in zip(moving.of(problem), rates, strict=True)
        ]

        def values_of(parts):
            out = solve(moving.put(problem, parts), options)
            return out.values, out.facts

        parts, rates = [p for p, _ in pairs], [r for _, r in pairs]
        values, rates, facts = jax.jvp(values_of, (parts,), (rates,), has_aux=True)
        return values, facts, rates

    def varies(batched):
        # In a Jacobian only tangents are batched, and values are the same in all lanes.
        values = any(jax.tree.leaves(batched[0]))
        return values, values, True

    rates = [rate for rate, flag in zip(rates, moving.flags, strict=True) if flag]
    values, facts, rates = lanes_last(run, varies)((problem, rates))
    return (values, facts), (rates, jax.tree.map(_no_tangent, facts))


class Moving(eqx.Module):
    """Which leaves of a problem are differentiated, in the order of `jax.tree.leaves`."""

    flags: tuple[bool, ...] = eqx.field(static=True)

    def of(self, problem: Problem) -> list[Array]:
        """The leaves that are differentiated."""
        return [x for x, flag in zip(jax.tree.leaves(problem), self.flags, strict=True) if flag]

    def put(self, problem: Problem, parts: list[Array]) -> Problem:
        """The problem with these leaves replaced."""
        leaves, structure = jax.tree.flatten(problem)
        new = iter(parts)
        both = [next(new) if f else x for x, f in zip(leaves, self.flags, strict=True)]
        return jax.tree.unflatten(structure, both)


def _no_tangent(leaf):
    """The tangent of an output without derivatives, in the dtype that JAX wants for its kind."""
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _backward(options: Options, problem: Problem) -> tuple[Values, Facts]:
    # Without a gradient no marks are kept: this is the program of `_forward`.
    return _forward(options, problem)


def _backward_forward(options, problem):
    # What is not differentiated is left out of the adjoint, as of the tangents above.
    perturbed = tuple(leaf.perturbed for leaf in jax.tree.leaves(problem, is_leaf=_is_primal))
    problem = jax.tree.map(lambda leaf: leaf.value, problem, is_leaf=_is_primal)

    def run(problem):
        out = solve(problem, options, MARKS)
        # Every output of `lanes_last` needs lanes: two numbers that all share are repeated.
        number = jnp.stack([out.chunks, out.stride])[:, None]
        number = jnp.broadcast_to(number, (2, out.facts.t.shape[0]))
        return out.values, out.facts, out.marks, number

    values, facts, marks, number = lanes_last(run)(problem)
    return (values, facts), (problem, Moving(perturbed), marks, number)


def _is_primal(leaf) -> bool:
    """Whether it is a value with the flag `perturbed`, as `symbolic_zeros` passes them."""
    return hasattr(leaf, "perturbed")


def _backward_backward(options, residuals, cotangents):
    problem, moving, marks, number = residuals
    values = jax.tree.map(_instantiated, cotangents[0], is_leaf=_is_zero)

    def run(args):
        problem, marks, number, cotangent = args
        # Every lane has derivatives of its own, also with respect to what lanes share; they are
        # summed in the end (`_narrowed`).
        lanes = lane_count(args)
        marks, cotangent = _widened((marks, cotangent), lanes)
        parts = _widened(moving.of(problem), lanes)
        rebuild = partial(moving.put, problem)
        return pull_back(parts, rebuild, options, marks, number.max(1), cotangent)

    parts, y0, z0 = lanes_last(run)((problem, marks, number, values))
    # The start enters a run by its first state alone, and is no part of what steps depend on.
    total = moving.put(jax.tree.map(jnp.zeros_like, problem), parts)
    total = eqx.tree_at(lambda p: (p.y0, p.z0), total, (y0, z0))
    return (jax.tree.map(_narrowed, total, problem),)


_backward.defvjp(_backward_forward, _backward_backward, symbolic_zeros=True)


def _is_zero(leaf) -> bool:
    return isinstance(leaf, SymbolicZero)


def _instantiated(leaf):
    """The cotangent as an array, also where it is a symbolic zero."""
    return jnp.zeros(leaf.shape, leaf.dtype) if _is_zero(leaf) else leaf


def _widened(tree, lanes: int):
    """The tree with every lane axis of full length."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], lanes)), tree)


def _narrowed(cotangent, leaf):
    """The cotangent of a leaf, summed over lanes where they share it."""
    if leaf.shape[-1] == 1 and cotangent.shape[-1] > 1:
        return cotangent.sum(-1, keepdims=True)
    return cotangent
