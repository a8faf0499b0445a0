"""A sweep as data: what is computed at every point, in which tiles and blocks."""

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _names, _status
from .._engines import Diffrax
from .._errors import PhysicsWarning, as_count, as_key, check_array, shown, warn
from .._identity import describe
from .._names import unknown
from ..networks import check_domain
from ..observables import Selected, summary
from ..patterns import ENUMERATED
from ._grid import Blocks, Grid, cut, parse
from ._point import FunctionPoint, Point, takes_seed
from ._program import Device, Program, tile_width

#: Names for the dimensions of some outputs, by the name of the output.
Dims: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,+\[\]-]*")
_LOOKED_AT = 9  # points of a sweep of which it is known before what they will show
_SOME = 5  # failed points of a block that its record names


class Record(NamedTuple):
    """How the computation of a block went.

    `counts`: how many points ended with each status. `failed`: the first lanes that failed.
    `seconds`: how long it took.
    """

    counts: dict[int, int]
    failed: list[int]
    seconds: float


class Variable(NamedTuple):
    """An output of every point: its name, its shape at one point, its dtype as it is kept, and the
    names of its dimensions if it was given some."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    dims: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({', '.join(self.dims)})" if self.dims else ""
        return f"{self.name} {self.dtype}{list(self.shape)}{named}"

    @property
    def blank(self) -> np.generic:
        """What stands where there is no value: NaN; -1 (as a status: not run); else 0."""
        if np.issubdtype(self.dtype, np.inexact):
            return self.dtype.type(np.nan)
        return self.dtype.type(-1 if np.issubdtype(self.dtype, np.signedinteger) else 0)

    def fill(self, values: np.ndarray, axes: int) -> np.ndarray:
        """Values over `axes` axes of a grid in the shape of this variable, blank beyond theirs."""
        own = values.shape[axes:]
        if own == self.shape:
            return values
        found = np.full(values.shape[:axes] + self.shape, self.blank, self.dtype)
        found[(..., *(slice(n) for n in own))] = values
        return found

    @property
    def bytes(self) -> int:
        """How many bytes one point takes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Job(eqx.Module):
    """What a sweep computes: `function(values, key)` at every point of `grid`, in tiles.

    `key`: the key of the sweep, or None. `seeded`: whether the key of a point comes from the grid's
    axis "seed" in place of its lane. `tile`: how many lanes are computed together. `dims`: names
    for the dimensions of some outputs. `first`: the number of the first lane, by which its random
    numbers are told from those of others.
    """

    function: Callable
    grid: Grid
    key: jax.Array | None
    seeded: bool = eqx.field(static=True)
    tile: int = eqx.field(static=True)
    dims: Dims = eqx.field(static=True, default=())
    first: int = eqx.field(static=True, default=0)

    @property
    def tiles(self) -> int:
        """The number of tiles; the last one may reach beyond the last point."""
        return -(-self.grid.size // self.tile)

    def cut(self, lanes: int) -> Blocks:
        """The grid in blocks of about `lanes` points."""
        return cut(self.grid.shape, lanes, self.tile)

    def variables(self) -> list[Variable]:
        """The variables of the dataset, without compiling.

        **Raises:** as `variables`.
        """
        return variables(output_shapes(self), self.grid, self.dims)

    def identity(self, tag: str | None) -> dict[str, str]:
        """What is computed at every point, as text."""
        return describe(self.function, "point", tag)

    def program(self, devices: Sequence[Device]) -> Program:
        """Compile the function for tiles of lanes."""
        structs = self.grid.structs()
        if self.seeded:
            del structs["seed"]
        function = self.function
        if isinstance(function, Point):
            function = with_classes(function, list(structs))
        return Program(function, structs, self.key, self.tile, devices)

    def run(
        self, program: Program, lanes: np.ndarray, stop: Callable[[], bool] = lambda: False
    ) -> dict[str, np.ndarray]:
        """The outputs of whole tiles of lanes by flat names, blank where a point failed."""
        values = self.grid.at(lanes)
        numbers = values.pop("seed") if self.seeded else self.first + lanes
        return blank(flat(program.run(values, numbers, stop)))

    def block(
        self, blocks: Blocks, k: int, program: Program, stop: Callable[[], bool]
    ) -> tuple[dict[str, np.ndarray], Record]:
        """The outputs of block `k`, in its shape, and how it went.

        Computed are all tiles that have a lane in the block, each as a whole: a tile that was cut
        at the border of a block would have other last bits.
        """
        begin = time.perf_counter()
        first, last = blocks.lanes(k)
        start = first // self.tile * self.tile
        # The last tile is filled up by repeating the last point, so that all have one shape.
        lanes = np.arange(start, -(-last // self.tile) * self.tile)
        out = self.run(program, np.minimum(lanes, self.grid.size - 1), stop)
        out = {name: leaf[first - start : last - start] for name, leaf in out.items()}
        codes, counts = np.unique(out["status"], return_counts=True)
        failed = first + np.flatnonzero(~succeeded(out["status"]))[:_SOME]
        record = Record(
            {int(code): int(count) for code, count in zip(codes, counts, strict=True)},
            failed.tolist(),
            time.perf_counter() - begin,
        )
        shape = tuple(s.stop - s.start for s in blocks.slices(k))
        return {n: leaf.reshape(shape + leaf.shape[1:]) for n, leaf in out.items()}, record


def job_of(
    point: Point | Callable,
    grid: Mapping[Any, Any],
    key: jax.Array | None,
    tile: int | None,
    dims: Any = None,
) -> Job:
    """What `sweep(point, grid, key=key, tile=tile, dims=dims)` computes, if it is no recipe.

    **Raises:** ValueError or TypeError for an unknown name, a shape that does not fit, a key that
    is missing or of no use.
    """
    job = job_on(point, parse(grid), key, tile, checked_dims(dims))
    if isinstance(job.function, Point):
        warn_of_pitfalls(job.function, job.grid)
    return job


def job_on(
    point: Point | Callable,
    axes: Grid,
    key: jax.Array | None,
    tile: int | None,
    dims: Dims = (),
    first: int = 0,
) -> Job:
    """What a sweep over a parsed grid computes. **Raises:** as `job_of`."""
    check_names(axes)
    if tile is None:  # no wider than the whole sweep needs
        tile = min(tile_width(), 1 << max(axes.size - 1, 0).bit_length())
    tile = as_count(tile, "tile")
    if isinstance(point, type) or not callable(point):
        what = "a hopfax.Point or a function of named values"
        raise TypeError(f"`point` must be {what}, got {shown(point)}.")
    each = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in axes.parameters.values())
    check_array("the values of a tile", each, tile=tile)
    names = list(axes.parameters)
    seeded = "seed" in names and not takes_seed(point)
    if seeded:
        _check_seeds(axes.parameters["seed"])
        names.remove("seed")
        key = jax.random.key(0) if key is None else key
    if not isinstance(point, Point):
        point = FunctionPoint(point, names)
        if point.wants_key and key is None:
            raise ValueError("the function takes a `key`: pass sweep(..., key=jax.random.key(0)).")
        if seeded and not point.wants_key:
            raise unknown("seed", ["key"])
    else:
        _check_values(point, axes, names)
        noisy = point.noise is not None or "noise" in names
        if not noisy and key is not None:
            given = 'an axis "seed"' if seeded else "`key`"
            raise ValueError(f"{given} is given, but the point has no `noise`.")
        if noisy and key is None:
            raise ValueError("a point with `noise` needs sweep(..., key=jax.random.key(seed)).")
    return Job(point, axes, None if key is None else as_key(key), seeded, tile, dims, first)


def checked_dims(dims: Any) -> Dims:
    """Names of dimensions by the names of outputs, as the user gives them.

    **Raises:** TypeError or ValueError for anything else.
    """
    if dims is None:
        return ()
    if not isinstance(dims, Mapping):
        raise TypeError(f"`dims` must be a dict of names by output, got {shown(dims)}.")
    found = []
    for output, given in dims.items():
        listed = (given,) if isinstance(given, str) else given
        whole = isinstance(listed, tuple | list) and all(isinstance(n, str) for n in listed)
        if not whole or len(set(listed)) < len(listed):
            raise TypeError(f"`dims`: {output!r} must have different names, got {shown(given)}.")
        found.append((str(output), tuple(listed)))
    return tuple(found)


def _check_values(point: Point, axes: Grid, names: list[str]) -> None:
    """ValueError for a bad network, an unknown name, or values of another shape than it has."""
    check_domain(point.network)
    for name in names:
        array = axes.parameters[name]
        shape = _names.find(point, name).shape
        if array.ndim > 1 and array.shape[1:] != shape:
            raise ValueError(
                f"axis {name!r} has values of shape {array.shape[1:]}, but the parameter has "
                f"shape {shape}."
            )


def with_classes(point: Point, names: Iterable[str]) -> Point:
    """The point with classes of equal neurons in place of neurons, if that is exact for a sweep
    over these names, and what is observed does not tell.

    Programs of sweeps find the classes by themselves where there are few memories. Those of many
    depend on the memories' values, which are not known inside."""
    patterns = point.network.patterns
    N, outside = patterns.N, (point.stimulus, point.current)
    given = [*point.init.values(), *jax.tree.leaves((point.stimulus, point.current))]
    shapes = [leaf.shape for leaf in given] + [_names.find(point, name).shape for name in names]
    alike = (
        patterns.P > ENUMERATED
        and point.noise is None
        and "noise" not in names
        and not any(isinstance(value, diffrax.AbstractPath) for value in outside)
        and not any(N in shape for shape in shapes)
    )
    free = not isinstance(point.method, Diffrax) or point.method.reduction == "auto"
    known = point.observe is summary or isinstance(point.observe, Selected)
    if not (alike and free and known):
        return point
    return eqx.tree_at(lambda point: point.network, point, point.network.merged())


def warn_of_pitfalls(point: Point, axes: Grid) -> None:
    """PhysicsWarning if some points of a noiseless sweep will hardly show what they are meant to
    show. A few are looked at, spread over the grid: inside the program values are not known."""
    names = [name for name in axes.parameters if name != "seed"]
    if point.noise is not None or "noise" in names or not axes.size:
        return
    lanes = np.unique(np.linspace(0, axes.size - 1, _LOOKED_AT).round().astype(int))
    values = axes.at(lanes)
    found = [point.pitfalls({name: values[name][k] for name in names}) for k in range(len(lanes))]
    if bad := [texts for texts in found if texts]:
        warn(f"at {len(bad)} of {len(lanes)} points looked at, {bad[0][0]}", PhysicsWarning)


def _check_seeds(seeds: np.ndarray) -> None:
    """ValueError unless all are uint32, which is what is folded into the key."""
    whole = np.issubdtype(seeds.dtype, np.integer) and seeds.ndim == 1
    if not whole or (seeds.size and (seeds.min() < 0 or seeds.max() >= 2**32)):
        raise ValueError("axis 'seed' must hold integers from 0 to 2^32 - 1.")


def output_shapes(job: Job) -> dict[str, jax.ShapeDtypeStruct]:
    """The shape and dtype of every output of one point by flat names, without compiling."""
    structs = job.grid.structs()
    if job.seeded:
        del structs["seed"]
    return flat(eqx.filter_eval_shape(job.function, structs, job.key))


def variables(outputs: dict[str, Any], grid: Grid, dims: Dims = ()) -> list[Variable]:
    """The variables of a dataset that holds these outputs.

    **Arguments:** `outputs`: shape and dtype of every output of one point, by name.

    **Raises:** ValueError for a name that could not name a file, or names an axis, and for names of
    dimensions that do not fit; TypeError for a dtype that cannot be stored.
    """
    found, named, sizes = [], dict(dims), dict[str, int]()
    if strange := set(named) - set(outputs):
        raise ValueError(f"`dims` names {min(strange)!r}; the points return {sorted(outputs)}.")
    for name, leaf in outputs.items():
        if not NAME.fullmatch(name) or len(name) > 100 or ".." in name:
            raise ValueError(
                f"an output is named {name!r}; names may have up to 100 letters, digits and _.-, "
                "and no leading dot."
            )
        if name in grid.parameters or name in grid.dims:
            raise ValueError(f"{name!r} names both an output of the points and an axis.")
        # bfloat16 is no type of NumPy, zarr or xarray; float32 holds all its values.
        dtype = np.dtype(np.float32 if leaf.dtype == jnp.bfloat16 else leaf.dtype)
        if not (np.issubdtype(dtype, np.number) or dtype.kind == "b"):
            raise TypeError(f"the output {name!r} must hold numbers, but its dtype is {dtype}.")
        found.append(Variable(name, tuple(leaf.shape), dtype, named.get(name, ())))
        if name in named:
            _check_dims(found[-1], grid, sizes)
    return found


def _check_dims(variable: Variable, grid: Grid, sizes: dict[str, int]) -> None:
    """ValueError unless the names of dimensions fit the shape, the axes and other variables, whose
    sizes are noted in `sizes`."""
    if len(variable.dims) != len(variable.shape):
        raise ValueError(
            f"`dims`: {variable.name!r} has shape {variable.shape} at every point, so it needs "
            f"{len(variable.shape)} names, got {list(variable.dims)}."
        )
    for dim, size in zip(variable.dims, variable.shape, strict=True):
        if not NAME.fullmatch(dim) or dim in grid.parameters or dim in grid.dims:
            raise ValueError(f"`dims`: {dim!r} is the name of an axis, or can be none.")
        if sizes.setdefault(dim, size) != size:
            raise ValueError(
                f"`dims`: {dim!r} would have both {sizes[dim]} and {size} entries; name it "
                f"otherwise for {variable.name!r}."
            )


def check_names(grid: Grid) -> None:
    """ValueError for an axis whose name could not name a file."""
    for name in (*grid.parameters, *grid.dims):
        if not NAME.fullmatch(name) or len(name) > 100 or ".." in name:
            raise ValueError(
                f"an axis is named {name!r}; names may have up to 100 letters, digits and _.-[]+, "
                "and no leading dot."
            )


def succeeded(status: np.ndarray) -> np.ndarray:
    """Where a run came to its end, or to the user's event, so that its outputs count."""
    return np.isin(status, (_status.OK, _status.STOPPED_BY_EVENT))


def flat(outputs: Any) -> dict[str, Any]:
    """The leaves of nested outputs, by the names on the way to them, joined by "_"."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(outputs):
        parts = [str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path]
        found["_".join(parts)] = leaf
    return found


def blank(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs with `Variable.blank` wherever a point failed; status, steps and bools stay.

    **Raises:** ValueError for a status that is no code.
    """
    _status.check(outputs["status"])
    good = succeeded(outputs["status"])
    kept = {}
    for name, leaf in outputs.items():
        leaf = leaf.astype(np.float32) if leaf.dtype == jnp.bfloat16 else leaf
        if name not in ("status", "steps") and leaf.dtype != bool:
            empty = Variable(name, (), leaf.dtype).blank
            leaf = np.where(good.reshape(good.shape + (1,) * (leaf.ndim - 1)), leaf, empty)
        kept[name] = leaf
    return kept
