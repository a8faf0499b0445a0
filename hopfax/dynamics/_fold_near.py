r"""The fold of closed orbits near a known one, within one program.

The equations are those of `_fold_curve`: an orbit that closes, $F(u, p) = 0$, and the bordered
scalar $g = 0$ of a singular $F_u$, here with the null vectors of each step as border. The gradient
of $g$ is a central difference of first derivatives, so that only the way to the solution has its
error. Newton's method goes from one network to the other at once, or where that fails by parts of
the way, on which all parameters move together. At the fold $w^T F_u = 0$ for the left null vector
$w$, hence in every other parameter

$$dp = -\frac{w \cdot \partial_\theta F\, d\theta}{w \cdot \partial_p F}.$$
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._programs import jitted
from .._types import State
from ._reduced import tolerance
from ._shooting import moved, rate_at, shot

_STEPS = 8  # of Newton's method at one part of the way
_ALL = 200  # on the whole way
_LEAST = 1e-3  # part of the way
_LONGER = 2.0  # is the next part, after a good one


class _Walk(NamedTuple):
    """x = (u, D / scale, p) and the part of the way at which it is sought; the last solution and
    its part; the length of the parts; dp by the residuals of F at the last solution."""

    x: Array
    part: Array
    last: Array
    reached: Array
    length: Array
    weight: Array
    tries: Array
    steps: Array


@jitted
def fold_near(
    make: Any,
    to: Any,
    template: State,
    places: Any,
    u: Float[Array, " n"],
    time: Any,
    p: Any,
    derivative: Literal["reverse", "forward"],
) -> Float[Array, ""]:
    """The parameter p of the fold of `to(p)`, from that of `make(p)`, which is an orbit through `u`
    that comes back after `time`. NaN where none is found. Differentiable in what `to` holds,
    in this mode."""
    make, far, u, scale, p = jax.lax.stop_gradient((make, to, u, time, p))
    found = jax.lax.stop_gradient(_walked(make, far, template, places, u, scale, p))
    state, time, p = found.last[:-2], found.last[-2] * scale, found.last[-1]
    closing = moved(to(p), template, state, time, places, derivative) - state
    p = p - found.weight[:-1] @ (closing - jax.lax.stop_gradient(closing))
    return jnp.where(found.reached == 1, p, jnp.nan)


def _between(make: Any, to: Any, part: Array) -> Any:
    """What lies on the way from one to the other, all parameters together."""

    def mixed(a, b):
        return jnp.where(a == b, b, a + part * (b - a)) if eqx.is_inexact_array(b) else b

    return jax.tree.map(mixed, make, to)


def _with_g(equations: Any, x: Array, shift: Array) -> tuple[Array, Array, Array]:
    """The residuals of F and g at x, their derivatives, and dp by the residuals of F."""
    residual, first = equations(x)
    left, _, right = jnp.linalg.svd(first[:, :-1])
    left, right = left[:, -1], right[-1]
    one = jnp.zeros_like(x).at[-1].set(1.0)
    framed = jnp.zeros((x.size, x.size), x.dtype)
    framed = framed.at[:-1].set(jnp.column_stack([first[:, :-1], left])).at[-1, :-1].set(right)
    phi, psi = jnp.linalg.solve(framed, one), jnp.linalg.solve(framed.T, one)[:-1]
    size = jnp.linalg.norm(phi[:-1])
    ends = jnp.stack([x.at[:-1].add(side * shift * phi[:-1] / size) for side in (1, -1)])
    _, (ahead, behind) = jax.lax.map(equations, ends)
    change = (ahead - behind) * size / (2 * shift)
    whole = jnp.concatenate([first, -(psi @ change)[None]])
    return jnp.append(residual, phi[-1]), whole, psi / (psi @ first[:, -1])


def _walked(
    make: Any, to: Any, template: State, places: Any, u: Array, scale: Array, p: Array
) -> _Walk:
    n, shift = u.size, jnp.finfo(u.dtype).eps ** (1 / 3) * jnp.maximum(1.0, jnp.abs(u).max())
    tol = tolerance(u.dtype) * jnp.maximum(1.0, jnp.sqrt((u**2).mean()))

    def conditions(x, last, part, reached):
        there = _between(make, to, part)
        flow = rate_at(_between(make, to, reached), template, last[:n], last[-1])
        flow = flow / jnp.linalg.norm(flow)

        def equations(x):
            residual, by_state, by_p = shot(
                there, template, places, scale, x[:n], x[n], x[-1], last[:n], flow
            )
            return residual, jnp.column_stack([by_state, by_p])

        return _with_g(equations, x, shift)

    def step(walk):
        residual, whole, weight = conditions(walk.x, walk.last, walk.part, walk.reached)
        newton = walk.x - jnp.linalg.solve(whole, residual)
        solved = jnp.abs(residual).max() <= tol
        failed = ~solved & ((walk.tries >= _STEPS) | ~jnp.isfinite(newton).all())
        length = jnp.where(solved, _LONGER * walk.length, walk.length)
        length = jnp.where(failed, walk.length / 4, length)
        last, reached = (
            jnp.where(solved, walk.x, walk.last),
            jnp.where(solved, walk.part, walk.reached),
        )
        anew = solved | failed
        return _Walk(
            jnp.where(anew, last, newton),
            jnp.where(anew, jnp.minimum(1.0, reached + length), walk.part),
            last,
            reached,
            length,
            jnp.where(solved, weight, walk.weight),
            jnp.where(anew, 0, walk.tries + 1),
            walk.steps + 1,
        )

    def more(walk):
        return (walk.reached < 1) & (walk.length > _LEAST) & (walk.steps < _ALL)

    x = jnp.concatenate([u, jnp.stack([jnp.ones_like(p), p])])
    one, none = jnp.ones_like(p), jnp.zeros((), jnp.int32)
    start = _Walk(x, one, x, 0 * one, one, jnp.zeros_like(x[:-1]), none, none)
    return jax.lax.while_loop(more, step, start)
