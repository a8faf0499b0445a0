"""`Recipe`: points that are made, and sweeps over what they are made of.

    grid           P x N x kappa x tau         the recipe takes P and N, its points kappa and tau
    a made point   P = 3, N = 64               a job of its own over kappa x tau, in its own tiles
    blocks         one value of P and N each   so one store holds them all, resumed like any other

Where two made points have the same shapes, they share one compiled program: their patterns are
arguments of it. Outputs whose shapes differ, as (P,) does, are kept in the largest, blank beyond.
Values of which no point can be made are data as well: blank, with the status of a bad parameter.
"""

import collections
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np

from .. import _status
from .._errors import as_count, check_callable, shown
from .._identity import describe, digest
from ._grid import Blocks, Grid, cut, parse
from ._job import (
    Dims,
    Job,
    Record,
    Variable,
    blank,
    check_names,
    checked_dims,
    job_of,
    job_on,
    output_shapes,
    variables,
    warn_of_pitfalls,
)
from ._point import Point
from ._program import Device, signature, tile_width

_KEPT = 8  # made points that are kept with their programs


class Recipe(eqx.Module):
    """How points are made: sizes, correlations and choices as axes of a sweep.

    A `Point` has parameters, which change from run to run inside one compiled program. What decides
    how the network is made in the first place, such as the numbers of memories and neurons, the
    correlation of the patterns or the learning rule, is an argument of a function that makes the
    point. `hopfax.sweep` calls it for every combination of these axes and sweeps the points one
    after the other, into one dataset.

    **Arguments:** `make`: a function of named values that returns a `Point`, or a function that
    `hopfax.sweep` takes. The axes of a grid that bear the names of its arguments are its own, the
    others those of the point. It is given numbers of Python, and words where these are listed; in
    the dataset words are numbered, as `attrs["flag_meanings"]` says. Where it raises a ValueError,
    as for more orthogonal memories than neurons, the points have the status `invalid_parameter`
    and the sweep goes on, unless no point at all can be made.

    **Example:**

    ```python
    def cycle(P, N=16, correlation=0.0):
        patterns = hx.patterns.correlated(jax.random.key(0), P, N, correlation)
        network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(P), kappa=5.0, tau=20.0, bias=0.05)
        return hx.Point(network, dict(saliency=4.0 * jnp.eye(P)[0]), jnp.linspace(0.0, 100.0, 26))

    ds = hx.sweep(hx.Recipe(cycle), {"P": [2, 3], "kappa": [2.0, 6.0]})
    ds.regime.dims  # P, kappa
    ```
    """

    make: Callable

    def __init__(self, make: Callable):
        check_callable(make, "make")
        self.make = make

    def arguments(self) -> list[str]:
        """The names of what the function takes."""
        return list(inspect.signature(self.make).parameters)

    def __call__(self, **values: Any) -> Point | Callable:
        """The point that is made of these values.

        **Raises:** TypeError if it is none; what the function raises, with a note of the values.
        """
        named = ", ".join(f"{name} = {value}" for name, value in values.items())
        try:
            point = self.make(**values)
        except Exception as error:
            error.add_note(f"The recipe was asked for {named}.")
            raise
        if isinstance(point, type) or not callable(point):
            raise TypeError(
                f"`make` must return a hopfax.Point, but at {named} it returned {shown(point)}."
            )
        return point


class Impossible(eqx.Module):
    """In place of the job of a point that cannot be made: what it would return, blank.

    `shapes`: of the outputs of a point that can be made, by flat names. `first`: as in `Job`.
    """

    shapes: dict[str, jax.ShapeDtypeStruct] = eqx.field(static=True)
    first: int = eqx.field(static=True)

    def block(
        self, blocks: Blocks, k: int, program: Any, stop: Callable[[], bool]
    ) -> tuple[dict[str, np.ndarray], Record]:
        """As of `Job`."""
        del program, stop
        shape = tuple(s.stop - s.start for s in blocks.slices(k))
        code = _status.INVALID_PARAMETER
        status = np.full(shape, code, self.shapes["status"].dtype)
        outputs = {n: np.zeros(shape + leaf.shape, leaf.dtype) for n, leaf in self.shapes.items()}
        failed = list(blocks.lanes(k)[:1])
        return blank(outputs | {"status": status}), Record({code: status.size}, failed, 0.0)


class Made(NamedTuple):
    """The job of one made point, and its program; none of a point that cannot be made."""

    job: Job | Impossible
    program: Any


class Programs:
    """The programs of all made points of a loop, compiled when they are asked for.

    Threads that ask for different ones compile them at the same time; a few are kept.
    """

    def __init__(self, loop: "Loop", devices: Sequence[Device]):
        self.loop, self.devices = loop, tuple(devices)
        self._kept: collections.OrderedDict[int, concurrent.futures.Future] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def of(self, n: int) -> Made:
        """The job and the program of made point `n`."""
        with self._lock:
            mine = n not in self._kept
            future = self._kept.setdefault(n, concurrent.futures.Future())
            self._kept.move_to_end(n)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if mine:
            try:
                future.set_result(self._made(n))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _made(self, n: int) -> Made:
        job = self.loop.tried(n)
        if isinstance(job, Job):
            return Made(job, job.program(self.devices))
        shapes = output_shapes(self.loop.example())
        return Made(Impossible(shapes, n * self.loop.inside.size), None)


class Loop(eqx.Module):
    """What a sweep of a recipe computes: the jobs of its points, one after the other.

    `function`: the recipe. `grid`: all axes, those of the recipe first. `outer`: how many these
    are. The rest as in `Job`.
    """

    function: Recipe
    grid: Grid
    key: jax.Array | None
    seeded: bool = eqx.field(static=True)
    tile: int = eqx.field(static=True)
    dims: Dims = eqx.field(static=True)
    outer: int = eqx.field(static=True)

    @property
    def around(self) -> Grid:
        """The axes of the recipe."""
        return Grid(self.grid.axes[: self.outer])

    @property
    def inside(self) -> Grid:
        """The axes of every point that is made."""
        return Grid(self.grid.axes[self.outer :])

    @property
    def tiles(self) -> int:
        """The number of tiles of all points."""
        return self.around.size * -(-self.inside.size // self.tile)

    def made(self, n: int) -> Job:
        """The job of made point `n`.

        **Raises:** what the recipe raises; ValueError or TypeError for axes that the point lacks.
        """
        values = {k: v[0] for k, v in self.around.at(np.array([n])).items()}
        values = {k: v.item() if v.ndim == 0 else v for k, v in values.items()}
        point, first = self.function(**values), n * self.inside.size
        return job_on(point, self.inside, self.key, self.tile, self.dims, first)

    def tried(self, n: int) -> Job | ValueError:
        """The job of made point `n`, or why there is no such point."""
        try:
            return self.made(n)
        except ValueError as error:
            return error

    def possible(self) -> Iterator[Job]:
        """The jobs of all points that can be made.

        **Raises:** ValueError if there are none: that of the first point.
        """
        why: ValueError | None = None
        for n in range(self.around.size):
            job = self.tried(n)
            if isinstance(job, Job):
                why = None
                yield job
            elif n == 0:
                why = job
        if why is not None:
            raise why

    def example(self) -> Job:
        """The job of the first point that can be made. **Raises:** as `possible`."""
        return next(self.possible())

    def why(self, lane: int) -> str:
        """Why the point of which a lane is a run cannot be made; "" if it can."""
        error = self.tried(lane // max(self.inside.size, 1))
        return "" if isinstance(error, Job) else str(error)

    def program(self, devices: Sequence[Device]) -> Programs:
        """The programs of all points, none of them compiled yet."""
        return Programs(self, devices)

    def cut(self, lanes: int) -> Blocks:
        """The grid in blocks of about `lanes` points, each of one made point."""
        shape = self.inside.shape or (1,)
        block = cut(shape, lanes, self.tile).block if self.inside.axes else ()
        return Blocks(self.grid.shape, (1,) * self.outer + block)

    def variables(self) -> list[Variable]:
        """The variables of the dataset, each in the largest shape that it has in any point.

        **Raises:** TypeError if the points return different outputs, or of different dtypes.
        """
        known: dict[Any, dict[str, Any]] = {}
        largest: dict[str, Any] = {}
        for job in self.possible():
            which = signature((job.function, job.grid.structs()))
            if which not in known:
                known[which] = output_shapes(job)
            largest = _largest(largest or known[which], known[which])
        if not largest:
            raise ValueError("`grid`: an axis of the recipe has no points: nothing can be made.")
        return variables(largest, self.grid, self.dims)

    def programs(self) -> int:
        """How many different programs there are to compile."""
        possible = self.possible()
        return len({signature((job.function, job.grid.structs())) for job in possible})

    def identity(self, tag: str | None) -> dict[str, str]:
        """What is computed at every point, as text: the recipe, and what it makes."""
        made = {}
        for n in range(self.around.size):
            job = self.tried(n)
            is_there = isinstance(job, Job)
            made[str(n)] = digest(job.identity(tag) if is_there else {"impossible": str(job)})
        return describe(self.function, "point", tag) | {"point.made": f"sha256 {digest(made)}"}

    def block(
        self, blocks: Blocks, k: int, program: Programs, stop: Callable[[], bool]
    ) -> tuple[dict[str, np.ndarray], Record]:
        """The outputs of block `k`, in its shape, and how it went."""
        place = np.unravel_index(k, blocks.counts)
        n = int(np.ravel_multi_index(place[: self.outer], self.around.shape))
        shape, block = blocks.shape[self.outer :], blocks.block[self.outer :]
        inner = Blocks(shape or (1,), block or (1,))
        own = int(np.ravel_multi_index(place[self.outer :] or (0,), inner.counts))
        job, compiled = program.of(n)
        outputs, record = job.block(inner, own, compiled, stop)
        ahead = tuple(s.stop - s.start for s in blocks.slices(k))
        outputs = {name: _within(leaf, ahead, len(shape or (1,))) for name, leaf in outputs.items()}
        failed = [job.first + lane for lane in record.failed]
        return outputs, record._replace(failed=failed)


def _largest(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes that hold the outputs of two points.

    **Raises:** TypeError if they are not alike.
    """
    if set(one) != set(two):
        differ = sorted(set(one) ^ set(two))
        raise TypeError(f"`make`: all points must return the same outputs; some lack {differ}.")
    found = {}
    for name, leaf in one.items():
        other = two[name]
        if leaf.dtype != other.dtype or len(leaf.shape) != len(other.shape):
            raise TypeError(
                f"`make`: the output {name!r} is {leaf.dtype}{list(leaf.shape)} of one point and "
                f"{other.dtype}{list(other.shape)} of another."
            )
        shape = tuple(map(max, leaf.shape, other.shape))
        found[name] = jax.ShapeDtypeStruct(shape, leaf.dtype)
    return found


def _within(leaf: np.ndarray, shape: tuple[int, ...], axes: int) -> np.ndarray:
    """An output of a made point, over its own `axes` axes, over those of a block of all."""
    return leaf.reshape(shape + leaf.shape[axes:])


#: What a sweep computes.
Work: TypeAlias = Job | Loop


def work_of(
    point: Point | Recipe | Callable,
    grid: Mapping[Any, Any],
    key: jax.Array | None,
    tile: int | None,
    dims: Any = None,
) -> Work:
    """What `sweep(point, grid, key=key, tile=tile, dims=dims)` computes.

    **Raises:** as `job_of`; ValueError for axes that the recipe needs, or that it cannot have.
    """
    if not isinstance(point, Recipe):
        return job_of(point, grid, key, tile, dims)
    axes = _outermost(point, parse(grid, point.arguments()))
    outer = sum(set(axis.values) <= set(point.arguments()) for axis in axes.axes)
    if not outer:
        return job_of(point(), grid, key, tile, dims)
    inside = Grid(axes.axes[outer:])
    if tile is None:
        tile = min(tile_width(), 1 << max(inside.size - 1, 0).bit_length())
    seeded = "seed" in inside.parameters
    key = jax.random.key(0) if seeded and key is None else key
    loop = Loop(point, axes, key, seeded, as_count(tile, "tile"), checked_dims(dims), outer)
    check_names(axes)
    if loop.around.size:
        first = loop.example()
        if isinstance(first.function, Point):
            warn_of_pitfalls(first.function, first.grid)
    return loop


def _outermost(recipe: Recipe, grid: Grid) -> Grid:
    """The grid with the axes of the recipe first.

    **Raises:** ValueError for an axis that is shared with the point, and for arguments that are
    missing.
    """
    known = inspect.signature(recipe.make).parameters
    around, inside = [], []
    for axis in grid.axes:
        own = set(axis.values) & set(known)
        if own and own != set(axis.values):
            raise ValueError(
                f"`grid`: the axis {axis.dim!r} zips {min(own)!r}, of which the point is made, "
                "with a parameter of the point; let the recipe take both."
            )
        (around if own else inside).append(axis)
    for name, p in known.items():
        needed = p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        if needed and name not in grid.parameters:
            raise ValueError(f"`grid` lacks {name!r}, of which the recipe makes its points.")
    return Grid((*around, *inside))
