"""Grids: named axes and their product."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Axis(NamedTuple):
    """One dimension of a grid: a name, and the values of one or (zipped) several parameters."""

    dim: str
    values: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """Points along the axis."""
        return len(next(iter(self.values.values())))


def parse(grid: Mapping[Any, Any]) -> list[Axis]:
    """Axes from `{"kappa": values, ("tau", "bias"): (values, values)}`; a tuple zips its names."""
    if not isinstance(grid, Mapping) or not grid:
        raise ValueError('`grid` must be a non-empty dict such as {"kappa": [3, 4, 5]}.')
    axes, seen = [], set()
    for names, values in grid.items():
        zipped = isinstance(names, tuple)
        names = names if zipped else (names,)
        values = values if zipped else (values,)
        if len(names) != len(values):
            raise ValueError(
                f"zipped axis {names} has {len(names)} names but {len(values)} lists of values."
            )
        arrays = {name: _array(name, value) for name, value in zip(names, values, strict=True)}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name!r}: {length}" for name, length in lengths.items())
            raise ValueError(f"zipped axes must have equal lengths, got {listed}.")
        if twice := seen & set(names):
            raise ValueError(f"{sorted(twice)[0]!r} is on two axes.")
        seen |= set(names)
        axes.append(Axis("+".join(names), arrays))
    if (points := math.prod(axis.size for axis in axes)) > 2**31 - 1:
        raise ValueError(f"the grid has {points} points; at most 2^31 - 1 are possible.")
    return axes


def _array(name: Any, values: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise TypeError(f"axis names must be strings (or tuples of them to zip), got {name!r}.")
    array = np.asarray(values)
    if array.ndim == 0:
        raise ValueError(f"axis {name!r} must list its values; for one value write [{array}].")
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise TypeError(f"axis {name!r} must hold numbers, but its dtype is {array.dtype}.")
    return array


def lanes(axes: list[Axis]) -> dict[str, np.ndarray]:
    """Every parameter's value at every point, in row-major order of the axes."""
    shape = tuple(axis.size for axis in axes)
    index = np.indices(shape).reshape(len(shape), -1)
    return {
        name: array[place]
        for axis, place in zip(axes, index, strict=True)
        for name, array in axis.values.items()
    }
