"""Roots that a search has found, with the derivatives of what they are roots of."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def implicit_root(
    function: Callable[[Array], Array], root: Float[Array, "..."], least: float = 0.0
) -> Float[Array, "..."]:
    r"""`root`, element by element a root of `function`, with derivatives of every order in both
    modes.

    From $g(x, p) = 0$ follows $dx = -\partial_p g\, dp / \partial_x g$. The rule is written in
    terms of this root again, and not of its value, so that it can be differentiated in its turn. A
    Newton step whose slope is held fixed, the usual way, has the right first derivative and a wrong
    second one.

    **Arguments:**

    - `function`: $g$. What it depends on are the arrays that it holds, as a module or an
      `equinox.Partial` does; a closure hides them.
    - `root`: where it is zero. It is returned as it is; a derivative of it is ignored.
    - `least`: the derivative is 0 where the slope of the function is not larger than this, as at a
      fold.
    """
    return _known(function, root, least)


@eqx.filter_custom_jvp
def _known(function, root, least):
    return root


@_known.def_jvp
def _(primals, tangents):
    function, root, least = primals
    change = tangents[0]
    root = _known(function, root, least)
    moved = _moved(function, root, change)
    slope = jax.jvp(function, (root,), (jnp.ones_like(root),))[1]
    regular = jnp.abs(slope) > least
    return root, jnp.where(regular, -moved / jnp.where(regular, slope, 1.0), 0.0)


def implicit_point(
    function: Callable[[Array], Array], point: Float[Array, " n"]
) -> Float[Array, " n"]:
    r"""The same for a system of equations: `point`, where all components of `function` are zero,
    with $dx = -(\partial_x g)^{-1}\, \partial_p g\, dp$. 0 where the matrix is singular."""
    return _known_point(function, point)


@eqx.filter_custom_jvp
def _known_point(function, point):
    return point


@_known_point.def_jvp
def _(primals, tangents):
    function, point = primals
    point = _known_point(function, point)
    moved = _moved(function, point, tangents[0])
    matrix = jax.jacfwd(function)(point)
    # The sign, as the determinant of a large matrix may be smaller than all numbers.
    regular = jnp.abs(jnp.linalg.slogdet(jax.lax.stop_gradient(matrix))[0]) > 0
    matrix = jnp.where(regular, matrix, jnp.eye(len(point), dtype=point.dtype))
    return point, jnp.where(regular, -jnp.linalg.solve(matrix, moved), 0.0)


def implicit_rows(
    function: Callable[[Array], Array], points: Float[Array, "... n"]
) -> Float[Array, "... n"]:
    """The same for many points, each a row of the last axis, on which its row of `function` depends
    and no other: one linear system of size n for each."""
    return _known_rows(function, points)


@eqx.filter_custom_jvp
def _known_rows(function, points):
    return points


@_known_rows.def_jvp
def _(primals, tangents):
    function, points = primals
    points = _known_rows(function, points)
    moved = _moved(function, points, tangents[0])
    n = points.shape[-1]

    def column(direction):
        """How all rows change when the same entry of each does."""
        return jax.jvp(function, (points,), (jnp.broadcast_to(direction, points.shape),))[1]

    matrix = jax.vmap(column, out_axes=-1)(jnp.eye(n, dtype=points.dtype))
    regular = jnp.abs(jnp.linalg.slogdet(jax.lax.stop_gradient(matrix))[0]) > 0
    matrix = jnp.where(regular[..., None, None], matrix, jnp.eye(n, dtype=points.dtype))
    change = -jnp.linalg.solve(matrix, moved[..., None])[..., 0]
    return points, jnp.where(regular[..., None], change, 0.0)


def _moved(function: Callable[[Array], Array], at: Array, change: Any) -> Array:
    """How the values of a function change with what it holds; zero where they do not depend on what
    changes, which Equinox tells by None."""
    moved = eqx.filter_jvp(lambda function: function(at), (function,), (change,))[1]
    return jnp.zeros_like(at) if moved is None else moved
