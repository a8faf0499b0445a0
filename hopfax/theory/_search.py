"""Searches with a fixed number of evaluations, so that they run under jit and vmap.

None of them is differentiated: callers freeze the result and add one Newton step of their own,
which carries the derivatives.
"""

import jax
import jax.numpy as jnp


def bisect(function, low, high, rounds=64):
    """Where `function` changes sign between `low` (function <= 0) and `high` (function > 0)."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        right = function(middle) > 0
        return jnp.where(right, low, middle), jnp.where(right, middle, high)

    low, high = jax.lax.fori_loop(0, rounds, halve, (low, high))
    return (low + high) / 2


def multisect(holds, start, end, points, rounds):
    """For each of n intervals the place from which on `holds` is true up to the end.

    `start` and `end` have shape (n,); `start` may be the greater one. `holds` is evaluated at
    (n, points) places at once, and each round keeps one of the `points` - 1 parts. Where `holds` is
    false at the end, the result is exactly `end`. `holds` also returns a tree of whatever else it
    found at these places.

    **Returns:** the two ends of the last part, of which the second is the place, and what was found
    at each.
    """

    def divide(ends):
        start, end = ends
        grid = jnp.linspace(start, end, points, axis=1)
        true, more = holds(grid)
        true = true.astype(jnp.int32)
        last = jnp.cumprod(true[:, ::-1], axis=1).sum(axis=1, keepdims=True)  # true up to the end
        first = jnp.clip(points - last, 1, points - 1)
        both = jnp.where(last == 0, points - 1, jnp.concatenate([first - 1, first], axis=1))

        def at(found):
            return tuple(jnp.take_along_axis(found, both, axis=1).T)

        return at(grid), jax.tree.map(at, more)

    none = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(divide, (start, end)))
    loop = jax.lax.fori_loop(0, rounds, lambda _, state: divide(state[0]), ((start, end), none[1]))
    return loop


def minimise(function, low, high, points=33, rounds=3):
    """Where a vectorised function with one minimum in [`low`, `high`] is smallest, and its value
    there. NaN counts as infinity."""

    def divide(_, carry):
        low, high = carry[:2]
        grid = jnp.linspace(low, high, points)
        values = function(grid)
        best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
        low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, points - 1)]
        return low, high, grid[best], values[best]

    return jax.lax.fori_loop(0, rounds, divide, (low, high, low, low))[2:]
