r"""Brownian paths that are functions of their key and of time alone.

Whoever asks for a path, from where, until when and with which saves, one key gives one path:

    time    0        h        2h       3h       4h           cells of fixed length, numbered from
            |--------|--------|----o---|-----x--|            time 0; the key of a cell is folded
              key 0    key 1    key 2    key 3               from its number
                                   t0        t1

At constant steps a cell is a step, or several are (`GridSteps`, `GridPath`). A run that ends within
a step at `x` integrates to the end of that step and reads its last state in between, as it does for
a save, so that the end moves no step. One that begins within a cell at `o` takes the rest of the
cell's increment. What a path does within a cell, a Brownian bridge, is drawn from a tree of the
cell's own, where it is needed. Adaptive and given steps draw from one tree in each cell of
`CellPath`.
"""

from typing import Any, Literal, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PyTree

from ..networks import Core
from ._normal import normals, words_of

_Increment: TypeAlias = diffrax.BrownianIncrement | diffrax.SpaceTimeLevyArea

_NEAR = 1e-6  # of a cell: closer to a point of the grid is on it
_LEVELS = 8  # of a bridge: two times in the same 256th of a cell are independent given its ends
_CELL = 16.0  # fast time constants: a cell of `CellPath`
_TOLERANCE = 2.0**-18 * _CELL


class Place(NamedTuple):
    """The cell that a time is in, and the part of it that has passed."""

    cell: Int[Array, ""]
    passed: Float[Array, ""]


def place(t: Float[Array, ""], length: Float[Array, ""]) -> Place:
    """Where on the grid of cells of this length a time is. Times that rounding has put beside a
    point of the grid are on it."""
    cells = t / length
    near = jnp.maximum(_NEAR, 8 * jnp.finfo(cells.dtype).eps * jnp.abs(cells))
    index = jnp.floor(cells + near)
    passed = cells - index
    return Place(index.astype(jnp.int32), jnp.where(passed > near, passed, 0.0))


class GridSteps(diffrax.AbstractStepSizeController):
    """Constant steps of `cells` times `dt0` between points of the grid `k * dt0` of absolute time.

    diffrax's `ConstantStepSize` changes all steps a little, so that a whole number of them fits the
    run; a path that is drawn step by step is then another one for every end.
    """

    cells: int = eqx.field(static=True, default=1)  # of a step, which ends at a multiple of them

    def wrap(self, direction):
        """Nothing depends on the direction: runs go forward."""
        return self

    def init(self, terms, t0: Any, t1, y0, dt0, args, func, error_order):
        """The end of the first step, which is the next point of the grid."""
        ahead = (place(t0, dt0).cell // self.cells + 1) * self.cells
        return times_of(ahead, dt0), (ahead, dt0)

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, state):
        """Every step is kept; the next one ends at the next point of the grid."""
        here, dt0 = state
        ahead = here + self.cells
        return True, t1, times_of(ahead, dt0), False, (ahead, dt0), diffrax.RESULTS.successful


def times_of(number: Int[Array, "..."], length: Float[Array, ""]) -> Float[Array, "..."]:
    """When the cells with these numbers begin."""
    return number.astype(length.dtype) * length


class GridPath(diffrax.AbstractBrownianPath):
    r"""The increments of a Brownian path over the steps of `GridSteps`: one draw a step.

    Far cheaper than a Brownian tree. A step that reverse mode repeats gets the same noise. If the
    run begins when a part $\theta$ of a cell of length $h$ has passed, its first step gets
    $(1 - \theta) \Delta W - \sqrt h\, b(\theta)$, where $b$ is the bridge of the cell.
    """

    key: jax.Array
    words: tuple[Array, Array]  # of the key: for the increments, and for their areas
    length: Float[Array, ""]
    start: Place
    behind: Array  # the bridge at the start
    shape: Core = eqx.field(static=True)
    noisy: Literal["main", "noise"] = eqx.field(static=True)
    levy_area: type[_Increment] = eqx.field(static=True)

    def __init__(self, key, length, t0, shape: Core, levy_area: type[_Increment]):
        """**Arguments:** `length`: of a cell. `t0`: when the run begins. `shape`: of the state.
        `levy_area`: what the solver asks for, increments alone or with their areas."""
        self.key, self.length = key, jax.lax.stop_gradient(length)
        self.words = words_of(jr.fold_in(key, 0)), words_of(jr.fold_in(key, 1))
        self.shape, self.levy_area = shape, levy_area
        self.noisy = "main" if shape.noise is None else "noise"
        self.start = place(jax.lax.stop_gradient(t0), self.length)
        self.behind = self._bridge(self.start)

    @property
    def t0(self):
        """Minus infinity: a path without beginning."""
        return -jnp.inf

    @property
    def t1(self):
        """Infinity: a path without end."""
        return jnp.inf

    def evaluate(self, t0: Any, t1: Any = None, left=True, use_levy=False) -> Any:
        """The increment over the step from `t0` to `t1`, with `use_levy` with its Levy area. Noise
        acts on one part of the state; the increments of the others are zero."""
        assert t1 is not None, "the path is known step by step"
        middle = jax.lax.stop_gradient(t0 + t1) / 2  # its cell is that of the step, come rounding
        cell = jnp.floor(middle / self.length).astype(jnp.int32)
        begun = cell == self.start.cell
        part = jnp.where(begun, 1 - self.start.passed, 1.0)
        zero = jax.tree.map(_zero, self.shape)
        drawn = self._normals(self.words[0], cell)
        bent = _as(part, self.behind) * drawn - jnp.where(begun, self.behind, 0.0)
        W = self._put(zero, _as(jnp.sqrt(self.length), bent) * bent)
        if not use_levy:
            return W
        h = part * self.length
        dt = jax.tree.map(lambda leaf: _as(h, leaf), zero)
        if self.levy_area is diffrax.BrownianIncrement:
            return diffrax.BrownianIncrement(dt=dt, W=W)
        other = self._normals(self.words[1], cell)
        H = self._put(zero, _as(jnp.sqrt(h / 12), other) * other)
        return diffrax.SpaceTimeLevyArea(dt=dt, W=W, H=H)

    def bent(self, t: Float[Array, ""], core: Core, strength: Array) -> Core:
        """The state at `t`, which was interpolated linearly between the ends of its step, with what
        the path does within the step: its difference from the straight line."""
        here = place(jax.lax.stop_gradient(t), self.length)
        ahead = (1 - here.passed) / (1 - self.start.passed)
        ahead = jnp.where(here.cell == self.start.cell, ahead, 0.0)
        bridge = self._bridge(here) - _as(ahead, self.behind) * self.behind
        aside = _as(strength * jnp.sqrt(self.length), bridge) * bridge
        return self._put(core, getattr(core, self.noisy) + aside)

    def _put(self, core: Core, new: Array) -> Core:
        return eqx.tree_at(lambda c: getattr(c, self.noisy), core, new)

    def drawn(self, cells: Int[Array, " K"]) -> Array:
        """The standard normal numbers (K, ...) of cells, in single precision."""
        struct = getattr(self.shape, self.noisy)
        drawn = normals(self.words[0], cells.astype(jnp.uint32), struct.size)
        return drawn.reshape(-1, *struct.shape)

    def _normals(self, words: Array, number: Int[Array, ""]) -> Array:
        struct = getattr(self.shape, self.noisy)
        drawn = normals(words, number.astype(jnp.uint32)[None], struct.size)
        return drawn.reshape(struct.shape).astype(struct.dtype)

    def _bridge(self, here: Place) -> Array:
        """The standard Brownian bridge of a cell, zero at its ends. The cell is halved until the
        last level, at which the bridge is drawn where it is wanted: at a part p of an interval of
        width w, it is normal about the line through its ends with variance p (1 - p) w."""
        cell_key = jr.fold_in(jr.fold_in(self.key, 2), here.cell.astype(jnp.uint32))
        words, passed = words_of(cell_key), here.passed
        zero = _zero(getattr(self.shape, self.noisy))

        def halve(level, carry):  # nodes of the tree are numbered as those of a binary heap
            node, begin, a, b, _ = carry
            width = 0.5 ** level.astype(passed.dtype)
            part = jnp.where(level == _LEVELS, (passed - begin) / width, 0.5)
            spread = jnp.sqrt(jnp.maximum(part * (1 - part) * width, 0.0))
            drawn = _as(spread, a) * self._normals(words, node)
            inner = a + _as(part, a) * (b - a) + drawn
            later = passed >= begin + width / 2
            begin = begin + jnp.where(later, width / 2, 0.0)
            a, b = jnp.where(later, inner, a), jnp.where(later, b, inner)
            return 2 * node + later.astype(node.dtype), begin, a, b, inner

        def drawn():
            first = (jnp.ones_like(here.cell), jnp.zeros_like(passed), zero, zero, zero)
            *_, inner = jax.lax.fori_loop(0, _LEVELS + 1, halve, first)
            return jnp.where(passed > 0, inner, 0.0)

        # In a batch, `cond` on a value of each lane would draw for every save on the grid, too.
        return jax.lax.cond(eqxi.unvmap_any(passed > 0), drawn, lambda: zero)


def _zero(leaf: Any) -> Array:
    return jnp.zeros(leaf.shape, leaf.dtype)


def _as(value: Any, leaf: Array) -> Array:
    return jnp.asarray(value, leaf.dtype)


class CellPath(diffrax.AbstractBrownianPath):
    r"""A Brownian path for steps of any length: a Brownian tree in each cell of absolute time.

    A tree on the run's own interval, as diffrax has it, would be another path for every end. The
    increments $W$ of adjacent intervals add, and their space-time areas $H$ as the integrals
    $\int W\, dt = h (H + W / 2)$ do.
    """

    key: jax.Array
    shape: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    levy_area: type[_Increment] = eqx.field(static=True)

    @property
    def t0(self):
        """Minus infinity: a path without beginning."""
        return -jnp.inf

    @property
    def t1(self):
        """Infinity: a path without end."""
        return jnp.inf

    def evaluate(self, t0: Any, t1: Any = None, left=True, use_levy=False) -> Any:
        """The increment from `t0` to `t1`, with `use_levy` together with its Levy area."""
        assert t1 is not None, "the path has no value at a single time"
        t0, t1 = (jax.lax.stop_gradient(t) for t in (t0, t1))
        first, last = (f(t / _CELL).astype(jnp.int32) for f, t in ((jnp.floor, t0), (jnp.ceil, t1)))
        zero = jax.tree.map(_zero, self.shape)

        def further(carry):
            cell, W, integral = carry
            begin = cell.astype(t0.dtype) * _CELL
            a, b = (jnp.clip(t - begin, 0.0, _CELL) for t in (t0, t1))
            piece: Any = self._tree(cell).evaluate(a, b, use_levy=True)
            if self.levy_area is diffrax.SpaceTimeLevyArea:
                # Not by its `dt`, which diffrax 0.7 scales wrongly if the path is a pytree.
                integral = jax.tree.map(
                    lambda total, w, dw, h: total + _as(b - a, h) * (w + h + dw / 2),
                    *(integral, W, piece.W, piece.H),
                )
            return cell + 1, jax.tree.map(jnp.add, W, piece.W), integral

        def more(carry):
            return carry[0] < last

        _, W, integral = jax.lax.while_loop(more, further, (first, zero, zero))
        if not use_levy:
            return W
        dt = jax.tree.map(lambda leaf: (t1 - t0).astype(leaf.dtype), zero)
        if self.levy_area is diffrax.BrownianIncrement:
            return diffrax.BrownianIncrement(dt=dt, W=W)
        H = jax.tree.map(
            lambda total, w, h: total / jnp.where(h > 0, h, 1.0) - w / 2, integral, W, dt
        )
        return diffrax.SpaceTimeLevyArea(dt=dt, W=W, H=H)

    def _tree(self, cell: Int[Array, ""]) -> diffrax.VirtualBrownianTree:
        key = jr.fold_in(self.key, cell.astype(jnp.uint32))
        return diffrax.VirtualBrownianTree(0.0, _CELL, _TOLERANCE, self.shape, key, self.levy_area)
