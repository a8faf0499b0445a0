"""Grids: named axes, their product, and its cutting into blocks.

A point's place in the grid is its lane: its number in row-major order, the last axis fastest. A
block is a rectangle of the grid whose points are successive lanes, so that it is at once a chunk of
a stored array and a range of lanes to compute.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .._errors import as_real, shown

_POINTS = 2**31 - 1  # of a grid at most, so that the number of a lane is an int32


class Axis(NamedTuple):
    """One dimension of a grid: its name, and the values of its parameters along it.

    An axis has several parameters where they are zipped, i.e. vary together.
    """

    dim: str
    values: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """The number of points along the axis."""
        return len(next(iter(self.values.values())))


class Grid(NamedTuple):
    """The product of some axes."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points along every axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of all axes, in order."""
        return tuple(axis.dim for axis in self.axes)

    @property
    def size(self) -> int:
        """The number of points in all."""
        return math.prod(self.shape)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The values of every parameter along its axis."""
        return {name: array for axis in self.axes for name, array in axis.values.items()}

    def structs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shape and the dtype (as JAX will hold it) of every parameter of one point."""
        return {
            name: jax.ShapeDtypeStruct(array.shape[1:], jax.dtypes.canonicalize_dtype(array.dtype))
            for name, array in self.parameters.items()
        }

    def at(self, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """The value of every parameter at some lanes, which come first in the arrays."""
        if not self.axes:
            return {}
        places = np.unravel_index(lanes, self.shape)
        return {
            name: array[place]
            for axis, place in zip(self.axes, places, strict=True)
            for name, array in axis.values.items()
        }


def parse(grid: Mapping[Any, Any], words: Collection[str] = ()) -> Grid:
    """A grid from `{"kappa": values, ("tau", "bias"): (values, values)}`; a tuple zips.

    `words`: the parameters whose values may also be words.

    **Raises:** ValueError for zipped axes of unequal lengths, a parameter on two axes, or too many
    points; TypeError for names that are no strings and values that are no numbers.
    """
    if not isinstance(grid, Mapping) or not grid:
        text = f"got {shown(grid)}"
        raise ValueError(f'`grid` must be a non-empty dict such as {{"kappa": [3, 4, 5]}}, {text}.')
    axes, seen = [], set()
    for names, values in grid.items():
        zipped = isinstance(names, tuple)
        names = names if zipped else (names,)
        values = values if zipped else (values,)
        if len(names) != len(values):
            raise ValueError(
                f"`grid`: zipped axis {names} has {len(names)} names but {len(values)} lists of "
                "values."
            )
        pairs = zip(names, values, strict=True)
        arrays = {n: _words(v) if n in words and _wordy(v) else _array(n, v) for n, v in pairs}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name!r}: {length}" for name, length in lengths.items())
            raise ValueError(f"`grid`: zipped axes must have equal lengths, got {listed}.")
        if twice := seen & set(names):
            raise ValueError(f"`grid`: {sorted(twice)[0]!r} is on two axes.")
        seen |= set(names)
        axes.append(Axis("+".join(names), arrays))
    found = Grid(tuple(axes))
    if found.size > _POINTS:
        raise ValueError(f"`grid` has {found.size} points; at most 2^31 - 1 are possible.")
    return found


def _wordy(values: Any) -> bool:
    """Whether values are a list of words, each of which can stand in an attribute."""
    listed = isinstance(values, list | tuple | np.ndarray) and len(values) > 0
    return listed and all(isinstance(v, str) and v.split() == [v] for v in values)


def _words(values: Any) -> np.ndarray:
    return np.array([str(value) for value in values])


def _array(name: Any, values: Any) -> np.ndarray:
    """The values of one parameter as an array whose first axis is that of the grid."""
    if not isinstance(name, str):
        raise TypeError(
            f"`grid`: axis names must be strings (or tuples of them to zip), got {name!r}."
        )
    if isinstance(values, str | bytes | int | float | np.generic) or values is None:
        text = f"for one value write [{shown(values)}]"
        raise ValueError(f"`grid`: axis {name!r} must list its values; {text}.")
    array = np.asarray(as_real(values, f"grid[{name!r}]"))
    if array.ndim == 0:
        raise ValueError(
            f"`grid`: axis {name!r} must list its values; for one value write [{array}]."
        )
    if array.dtype.kind in "iu":  # where JAX has 32 bits only, it would wrap what is larger
        held = np.iinfo(jax.dtypes.canonicalize_dtype(array.dtype))
        if array.size and not held.min <= int(array.min()) <= int(array.max()) <= held.max:
            raise ValueError(
                f"`grid`: {name!r} holds integers that {held.dtype} does not: make them floats."
            )
    return array


class Blocks(NamedTuple):
    """A grid of the shape `shape`, cut into blocks of the shape `block` (smaller at the ends).

    A block has one point along the first axes, some along one, and all along the rest: only so are
    its points successive lanes.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of blocks along every axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def number(self) -> int:
        """The number of blocks in all."""
        return math.prod(self.counts)

    def slices(self, k: int) -> tuple[slice, ...]:
        """Where block `k` is in an array over the grid."""
        places = np.unravel_index(k, self.counts)
        return tuple(
            slice(int(p) * b, min((int(p) + 1) * b, n))
            for p, b, n in zip(places, self.block, self.shape, strict=True)
        )

    def points(self, k: int) -> int:
        """The number of points in block `k`."""
        return math.prod(s.stop - s.start for s in self.slices(k))

    def lanes(self, k: int) -> tuple[int, int]:
        """The first lane of block `k`, and the one after its last."""
        first = np.ravel_multi_index([s.start for s in self.slices(k)], self.shape)
        return int(first), int(first) + self.points(k)


def cut(shape: tuple[int, ...], lanes: int, tile: int) -> Blocks:
    """A grid cut into blocks of about `lanes` points, of whole tiles where that is possible.

    A tile across the border of two blocks is computed for both, so whole tiles save work.
    """
    if math.prod(shape) == 0:
        return Blocks(shape, tuple(max(n, 1) for n in shape))
    # As many of the last axes as fit go into the block whole; `inner` counts their points.
    axis = len(shape) - 1
    inner = 1
    while axis > 0 and inner * shape[axis] <= lanes:
        inner *= shape[axis]
        axis -= 1
    # The next axis is cut into the fewest equal parts that fit, rather than leaving a small rest.
    most = max(1, min(lanes // inner, shape[axis]))
    along = -(-shape[axis] // -(-shape[axis] // most))
    whole = tile // math.gcd(inner, tile)  # so many points along it make whole tiles
    if whole <= most < shape[axis]:
        along = max(along // whole, 1) * whole
    block = (1,) * axis + (along,) + shape[axis + 1 :]
    return Blocks(shape, block)
