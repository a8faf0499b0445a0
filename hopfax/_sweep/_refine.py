"""`refine`: where a class changes along one parameter, to any accuracy, with few points.

    low                                     high
     A    A    A    A    B    B    B    C    C     classes at the coarse points of one lane
                    AAABBB         BBCCCC          the two intervals with a change, divided again

Every interval at whose ends the classes differ is divided by equally many inner points, and those
of its parts are kept at whose ends they differ again, until all are narrower than the tolerance.
There are as many inner points as fill a tile, since a tile costs the same whatever number of its
lanes is of use: one interval is divided into 65 parts at once, 64 intervals are halved.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from .. import _status
from .._errors import as_count, as_float, as_number, check_array, shown
from .._interrupt import heard
from .._progress import check_progress, progress as bar
from .._types import ArrayLike, Dataset
from ..observables import REGIMES
from . import _dataset
from ._grid import Grid
from ._job import Job, Variable, blank, flat, job_of, succeeded
from ._plan import local_devices
from ._point import Point
from ._program import Device, Program
from ._recipe import Recipe

_MOST = 8  # changes that are followed at one point of the grid
_FAILED = -1  # the class of a failed point


class _Brackets(NamedTuple):
    """Intervals at whose ends the classes differ.

    `lane`: at which point of the grid. `low`, `high`: the ends. `below`, `above`: their classes.
    """

    lane: np.ndarray
    low: np.ndarray
    high: np.ndarray
    below: np.ndarray
    above: np.ndarray

    @property
    def width(self) -> np.ndarray:
        return self.high - self.low


def refine(
    point: Point | Callable,
    grid: Mapping[Any, Any],
    *,
    along: str,
    between: ArrayLike,
    of: str = "regime",
    into: str | int | None = None,
    tol: float = 1e-4,
    coarse: int = 8,
    key: jax.Array | None = None,
    tile: int = 64,
    devices: int | Sequence[Device] | None = None,
    progress: bool | Literal["auto"] = "auto",
) -> Dataset:
    r"""Where a class of outcome changes along one parameter: phase boundaries without a fine grid.

    At every point of `grid` the interval `between` is computed in `coarse` steps, then every step
    within which the class changes is divided again and again until it is narrower than `tol`. A
    critical gain to $10^{-4}$ takes 20 to 200 runs at every point of `grid`, in place of $10^4$.

    A change that is undone within one coarse step is missed. At every point of the grid the first 8
    changes are followed.

    **Arguments:**

    - `point`, `key`, `devices`, `progress`: as of `hopfax.sweep`.
    - `grid`: the axes of the curve, as of `hopfax.sweep`; `{}` for a single boundary.
    - `along`, `between`: the parameter, and its least and largest value.
    - `of`: an output of whole numbers, such as "regime" or "status"; a failed point is a class of
      its own.
    - `into`: a class (for "regime" and "status" its name): only changes into and out of it count.
    - `tol`: width of the interval within which a change is known to lie.
    - `tile`: points computed together.

    **Returns:** an `xarray.Dataset` over the grid and `change` (in ascending order, padded with
    NaN): the middle of the interval as a variable named as `along`, its `width`, and the classes
    `below` and `above`. Attribute `points`: how many runs it took.

    **Raises:** ValueError/TypeError naming the argument at fault.

    **Example:**

    ```python
    def exists(kappa):
        return {"exists": hx.theory.sequential.fixed_points(kappa, 4).exists}

    ds = hx.refine(exists, {}, along="kappa", between=(1.0, 6.0), of="exists")
    ds.kappa  # 3.6107: the critical gain of a cycle of four memories
    ds.points  # 138 evaluations
    ```
    """
    coarse = as_count(coarse, "coarse")
    low, high = _limits(along, between, tol, coarse)
    if not isinstance(grid, Mapping):
        raise TypeError(f"`grid` must be a dict of axes, such as {{}}, got {shown(grid)}.")
    if isinstance(point, Recipe):
        raise TypeError(
            "`point` must be a hopfax.Point or a function, got a Recipe: refine the points that it "
            "makes one by one, hopfax.refine(recipe(P=4), ...)."
        )
    if along in grid:
        raise ValueError(f"`along`: {along!r} is also an axis of `grid`.")
    tile = as_count(tile, "tile")
    check_progress(progress)
    job = job_of(point, {**grid, along: np.array([low, high])}, key, tile)
    curve = Grid(job.grid.axes[:-1])
    check_array("the points", 24, coarse=coarse + 1, curve=curve.size)
    program = job.program(local_devices(devices))
    target = _class(of, into, flat(program.outputs))
    lanes = np.arange(curve.size)
    ticks = np.linspace(low, high, coarse + 1)
    steps = _halvings((high - low) / coarse, tol)
    with heard() as stopped, bar(1 + steps, "halving", progress) as moved:
        run = _Runner(job, curve, program, along, of, target, stopped, moved)
        classes = run(np.repeat(lanes, coarse + 1), np.tile(ticks, curve.size))
        found = _changes(lanes, np.tile(ticks, (curve.size, 1)), classes.reshape(-1, coarse + 1))
        moved.update(1)
        while found.lane.size and (wide := found.width > tol).any():
            found = _divide(run, found, wide, tol, tile)
            left = _halvings(float(found.width.max(initial=0.0)), tol)
            moved.update(steps - left)
            steps = left
    return _labelled(found, curve, job, along, of, target, run.points, point)


def _halvings(width: float, tol: float) -> int:
    """How often an interval must be halved until it is narrower than the tolerance."""
    return max(math.ceil(math.log2(width / tol)), 0) if width > 0 else 0


class _Runner:
    """Computes the classes at points of the curves' grid and values of the parameter.

    `points` counts the runs. With a `target` there are two classes: 1 is the target, 0 the rest.
    `stopped` raises KeyboardInterrupt if Ctrl-C was pressed; `shown` is the progress bar.
    """

    def __init__(
        self,
        job: Job,
        curve: Grid,
        program: Program,
        along: str,
        of: str,
        target: int | None,
        stopped: Callable[[], None],
        shown: Any,
    ):
        self.job, self.curve, self.program = job, curve, program
        self.along, self.of, self.target, self.points = along, of, target, 0
        self.stopped, self.shown = stopped, shown

    def __call__(self, lanes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The classes at `values` of the parameter, each at one lane of the curves' grid."""
        count, tile = len(lanes), self.job.tile
        self.points += count
        # The last tile is filled up by repeating the last point, so that all have one shape.
        filled = np.minimum(np.arange(-(-count // tile) * tile), count - 1)
        inputs = self.curve.at(lanes[filled]) if self.curve.axes else {}
        inputs[self.along] = values[filled]
        numbers = inputs.pop("seed") if self.job.seeded else lanes[filled]
        out = blank(flat(self.program.run(inputs, numbers, self.look)))
        self.shown.set_postfix_str(f"{self.points:,} runs")
        classes = out[self.of][:count].astype(np.int64)
        good = succeeded(out["status"][:count]) | (self.of == "status")
        if self.target is not None:
            classes = (classes == self.target).astype(np.int64)
        return np.where(good, classes, _FAILED)

    def look(self) -> bool:
        """Between two calls of the program, whether it is to give up: by Ctrl-C, with an error."""
        self.stopped()
        return False


def _changes(lanes: np.ndarray, values: np.ndarray, classes: np.ndarray) -> _Brackets:
    """The intervals of every row of ascending values in which the class changes."""
    row, column = np.nonzero(np.diff(classes, axis=1))
    parts = (values[row, column], values[row, column + 1])
    return _Brackets(
        lanes[row], *parts, classes[row, column].ravel(), classes[row, column + 1].ravel()
    )


def _divide(run: _Runner, found: _Brackets, wide: np.ndarray, tol: float, tile: int) -> _Brackets:
    """Replace every wide interval by those of its parts at whose ends the classes differ."""
    some = _Brackets(*(part[wide] for part in found))
    # As many inner points as fill a tile, but not more than the tolerance asks for.
    inner = max(1, min(tile // len(some.lane), math.ceil(float(some.width.max()) / tol) - 1))
    share = np.arange(inner + 2) / (inner + 1)
    values = some.low[:, None] + some.width[:, None] * share
    values[:, -1] = some.high  # exactly, whatever the sum was rounded to
    classes = run(np.repeat(some.lane, inner), values[:, 1:-1].ravel()).reshape(-1, inner)
    classes = np.concatenate([some.below[:, None], classes, some.above[:, None]], axis=1)
    new = _changes(some.lane, values, classes)
    rest = _Brackets(*(part[~wide] for part in found))
    both = _Brackets(*map(np.concatenate, zip(rest, new, strict=True)))
    # In order again, and of every lane the first `_MOST`.
    order = np.lexsort((both.low, both.lane))
    both = _Brackets(*(part[order] for part in both))
    first = np.searchsorted(both.lane, both.lane)
    kept = np.arange(len(both.lane)) - first < _MOST
    return _Brackets(*(part[kept] for part in both))


def _labelled(
    found: _Brackets,
    curve: Grid,
    job: Job,
    along: str,
    of: str,
    target: int | None,
    points: int,
    point: Point | Callable,
) -> Dataset:
    """The dataset of all intervals found: those of one lane along the dimension `change`."""
    place = np.arange(len(found.lane)) - np.searchsorted(found.lane, found.lane)
    width = int(place.max(initial=-1)) + 1
    shape, dims = (curve.size, width), (*curve.dims, "change")

    def spread(values: np.ndarray, blank: Any) -> np.ndarray:
        full = np.full(shape, blank, dtype=values.dtype)
        full[found.lane, place] = values
        return full.reshape(*curve.shape, width)

    middle = found.low + found.width / 2
    codes = {} if target is not None else _dataset.attributes_of(Variable(of, (), np.dtype(int)))
    attributes = _dataset.attributes(point, job.tile, job.key)
    dataset = _dataset.coordinates(curve, attributes | {"points": points})
    return _dataset.named(
        dataset.assign(
            {
                along: (dims, spread(middle, np.nan)),
                "width": (dims, spread(found.width, np.nan)),
                "below": (dims, spread(found.below, _FAILED), codes),
                "above": (dims, spread(found.above, _FAILED), codes),
            }
        )
    )


def _limits(along: Any, between: ArrayLike, tol: Any, coarse: Any) -> tuple[float, float]:
    """The ends of `between`; ValueError or TypeError for what is wrong with these arguments."""
    if not isinstance(along, str):
        raise TypeError(f"`along` must be the name of one parameter, got {shown(along)}.")
    ends = np.asarray(as_float(between, "between"), float)
    if ends.shape != (2,) or not np.isfinite(ends).all() or not ends[0] < ends[1]:
        raise ValueError(f"`between` must be (least, largest), got {shown(between)}.")
    smallest = 16 * np.finfo(float).eps * np.abs(ends).max()
    tol = as_number(tol, "tol")
    if not smallest < tol < math.inf:
        raise ValueError(f"`tol` must be above {smallest:.2g}, what floats resolve, got {tol!r}.")
    as_count(coarse, "coarse")
    return float(ends[0]), float(ends[1])


def _class(of: str, into: Any, outputs: dict[str, Any]) -> int | None:
    """The class that `into` means (a number, or the name of a regime or status); None for None."""
    whole = [
        name
        for name, leaf in outputs.items()
        if leaf.shape == () and (np.issubdtype(leaf.dtype, np.integer) or leaf.dtype == bool)
    ]
    if not isinstance(of, str) or of not in whole:
        text = f"one of {whole}, got {shown(of)}"
        raise ValueError(f"`of` must be an output of whole numbers, {text}.")
    if into is None:
        return None
    if isinstance(into, str):
        names: dict[str, dict[str, int]] = {
            "regime": {name: code for code, name in enumerate(REGIMES)},
            "status": {name: code for code, (name, _) in _status.STATUS.items()},
        }
        if into not in names.get(of, {}):
            raise ValueError(f"`into`: {of!r} has no class {into!r}; {list(names.get(of, {}))}.")
        return names[of][into]
    return as_count(into, "into", -1)
