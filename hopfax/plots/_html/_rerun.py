"""Points of a sweep that are simulated again, so that a click shows overlaps and saliencies.

A sweep keeps of every run a few numbers only. Of some points, evenly spread over what is shown, the
whole run is made again, by the sweep's own job: the same point, the same key, the same random
numbers. Its saves are so dense that handovers show, and are then thinned to those through which
straight lines stay within `_TOLERANCE` of the whole range (Douglas and Peucker's method):

    a run     801 saves  ------.         .-------
                                \\       /
    is kept   6 of them  o-----o.o-----o.o------o

How many runs there are is bounded by `runs` and by `bytes`, at `_KNOTS` kept saves a run at most.
"""

import dataclasses
import heapq
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import _status
from ..._errors import PhysicsWarning, hushed
from ..._sweep import Point
from ..._sweep._grid import Grid
from ..._sweep._job import Job, flat
from ..._sweep._point import FunctionPoint
from ..._sweep._recipe import Loop, work_of
from ..._trajectory import Trajectory
from ..._types import Dataset
from .._grid import dims_of, flags_of
from ._diagram import Diagram

_SAVES = 801  # before thinning
_KNOTS = 160  # saves of a run that are kept, at most
_TOLERANCE = 0.003  # of the range, by which the kept lines may miss a save
_MEMORIES = 16  # of a run, those with the largest overlaps
_TILE, _ROOM = 32, 1 << 27  # runs that are computed together, and bytes of their overlaps
_SEEDS, _MADE = 3, 6  # so many seeds, and so many made points of a recipe, each compiled anew


class Runs(NamedTuple):
    """Runs of some points of a sweep.

    `place`: (n, axes) where they lie in the dataset. `spot`: (n, 2) along x and y, from 0 to 1.
    `slider`: (n, sliders) places. `seed`: (n,) number of the seed in `seeds`. `status`, `regime`:
    codes (n,), the latter None where the sweep has none. `memories`: (n, K) of which these are.
    `times`: of each run. `overlap`, `saliency`: of each run (its times, K); None without.
    """

    place: np.ndarray
    spot: np.ndarray
    slider: np.ndarray
    seed: np.ndarray
    seeds: list[str]
    status: np.ndarray
    regime: np.ndarray | None
    memories: np.ndarray
    times: list[np.ndarray]
    overlap: list[np.ndarray]
    saliency: list[np.ndarray] | None
    unit: str
    notes: list[str]


class Again(NamedTuple):
    """What a sweep computed, to be computed again: as they were given to `hopfax.sweep`.

    `grid`: None for that of the dataset. `wide`: whether in double precision, None for as it is
    set. `most`: points, where each takes long. `notes`: about the runs.
    """

    point: Any
    key: Any = None
    grid: Mapping[Any, Any] | None = None
    wide: bool | None = None
    most: int = 100_000
    notes: tuple[str, ...] = ()


class _Curves(eqx.Module):
    """What is kept of a run: some of its memories over time, and the regime of the sweep."""

    observe: Callable | None

    def __call__(self, run: Any) -> dict[str, Any]:
        found = run if isinstance(run, Mapping) else _of_trajectory(run)
        overlap = jnp.asarray(found["overlaps"])
        number = min(overlap.shape[-1], _MEMORIES)
        height = jnp.nan_to_num(jnp.abs(overlap)).max(0)
        chosen = jnp.sort(jax.lax.top_k(height, number)[1])
        kept = {"time": found["ts"], "overlap": overlap[:, chosen], "memory": chosen}
        if found.get("saliency") is not None:
            kept["saliency"] = found["saliency"][:, chosen]
        if self.observe is not None:
            outputs = self.observe(run)
            if isinstance(outputs, Mapping) and "regime" in outputs:
                kept["regime"] = outputs["regime"]
        return kept


def _of_trajectory(run: Trajectory) -> dict[str, Any]:
    return {"ts": run.ts, "overlaps": run.overlaps, "saliency": run.saliency}


class _FunctionRun(eqx.Module):
    """A function that returns a run, as the function of a job."""

    function: Callable
    wants_key: bool = eqx.field(static=True)

    def __call__(self, values: Mapping[str, Any], key: Any = None) -> dict[str, Any]:
        run = self.function(**values, **({"key": key} if self.wants_key else {}))
        if not isinstance(run, Trajectory) and not (
            isinstance(run, Mapping) and {"ts", "overlaps"} <= set(run)
        ):
            raise TypeError(
                "`point` must be a hopfax.Point, a Recipe, or a function that returns a "
                "hopfax.Trajectory (or a dict with `ts` and `overlaps`); this one returned "
                f"{type(run).__name__}, of which no run is drawn."
            )
        status = run.status if isinstance(run, Trajectory) else run.get("status", _status.OK)
        return _Curves(None)(run) | {"status": jnp.asarray(status, jnp.int32)}


def simulated(again: Again, dataset: Dataset, shown: Diagram, runs: int, size: int) -> Runs:
    """Runs of some of the shown points of a sweep, those that the sweep has computed.

    **Arguments:** `runs`: how many at most. `size`: bytes that they may take in a file, at most.

    **Raises:** ValueError or TypeError if the point is not the one that was swept.
    """
    grid = grid_of(dataset) if again.grid is None else again.grid
    wide = bool(jax.config.read("jax_enable_x64")) if again.wide is None else again.wide
    with hushed(PhysicsWarning), jax.enable_x64(wide):
        work = work_of(again.point, grid, again.key, _width(again.point))
        _check(work.grid, dataset)
        curves = 2 * _MEMORIES if _has_many(work) else 2 * _memories(work)
        most = max(min(runs, again.most, size // (_KNOTS * (4 + 2 * curves) * 4 // 3)), 1)
        outer = dims_of(dataset)[: work.outer] if isinstance(work, Loop) else ()
        chosen = _chosen(dataset, shown, most, outer)
        found = _computed(work, chosen["lane"])
    return _runs(found, chosen, again, dataset)


def grid_of(dataset: Dataset) -> dict[Any, Any]:
    """The grid of a sweep's dataset, as `hopfax.sweep` was given it."""
    grid: dict[Any, Any] = {}
    for dim in dims_of(dataset):
        names, values = [], []
        for name in dim.split("+"):
            key = name if name in dataset.coords else f"{name}_value"
            if key not in dataset.coords:
                raise ValueError(f"`dataset` has no coordinate of its axis {dim!r}.")
            words = flags_of(dataset[key])
            array = dataset[key].values
            names.append(name)
            values.append([words[int(v)] for v in array] if words else array)
        grid[names[0] if len(names) == 1 else tuple(names)] = (
            values[0] if len(names) == 1 else tuple(values)
        )
    return grid


def _check(grid: Grid, dataset: Dataset) -> None:
    sizes = {dim: dataset.sizes[dim] for dim in dims_of(dataset)}
    own = dict(zip(grid.dims, grid.shape, strict=True))
    if list(sizes.items()) != list(own.items()):
        raise ValueError(f"`point`: its sweep has the axes {own}, and the dataset {sizes}.")


def _memories(work: Any) -> int:
    """How many memories a run has, at most `_MEMORIES`."""
    function = work.example().function if isinstance(work, Loop) else work.function
    P = function.network.patterns.P if isinstance(function, Point) else _MEMORIES
    return min(P, _MEMORIES)


def _width(point: Any) -> int:
    """How many runs are computed together: fewer of many memories, all of whose overlaps are there
    at one time."""
    P = point.network.patterns.P if isinstance(point, Point) else 1
    return max(min(_TILE, _ROOM // (8 * _SAVES * P)), 1)


def _has_many(work: Any) -> bool:
    return isinstance(work, Loop)  # whose points may differ in their sizes


def _chosen(
    dataset: Dataset, shown: Diagram, most: int, outer: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The points to simulate: their lanes, and where they are shown."""
    roles = shown.places
    sizes = {dim: 1 if role == "fixed" else len(at) for dim, (role, at) in roles.items()}
    counts = _counts(sizes, {dim: role for dim, (role, _) in roles.items()}, most, outer)
    within = {dim: _some(sizes[dim], counts[dim]) for dim in sizes}
    mesh = np.meshgrid(*within.values(), indexing="ij")
    ranks = {dim: axis.ravel() for dim, axis in zip(within, mesh, strict=True)}
    place = np.stack([roles[dim][1][rank] for dim, rank in ranks.items()], axis=1)
    shape = [dataset.sizes[dim] for dim in dims_of(dataset)]
    lane: Any = np.ravel_multi_index(tuple(place.T), shape)
    status = dataset["status"].values.ravel() if "status" in dataset else np.zeros(np.prod(shape))
    there = status[lane] != _status.NOT_RUN
    spot = np.zeros((len(lane), 2))
    sliders = []
    seed = np.zeros(len(lane), int)
    for dim, (role, _) in roles.items():
        if role in ("x", "y"):
            spot[:, "xy".index(role)] = ranks[dim] / max(sizes[dim] - 1, 1)
        elif role == "slider":
            sliders.append(ranks[dim])
        elif role == "seed":
            seed = np.searchsorted(within[dim], ranks[dim])
    if shown.kind == "cloud":
        spot = _spots(shown, next(ranks[dim] for dim, (role, _) in roles.items() if role == "x"))
    slider = np.stack(sliders, axis=1) if sliders else np.zeros((len(lane), 0), int)
    found = {"lane": lane, "place": place, "spot": spot, "slider": slider, "seed": seed}
    return {name: array[there] for name, array in found.items()}


def _spots(shown: Diagram, cells: np.ndarray) -> np.ndarray:
    """Where points of a cloud lie, from 0 to 1 along x and y."""
    assert shown.y is not None
    found = [
        (one.values[cells] - one.values.min()) / (np.ptp(one.values) or 1.0)
        for one in (shown.x, shown.y)
    ]
    return np.stack(found, axis=1)


def _counts(
    sizes: Mapping[str, int], roles: Mapping[str, str], most: int, outer: tuple[str, ...]
) -> dict[str, int]:
    """How many values of every axis are simulated: in proportion to its length, of sliders rather
    more, of seeds few."""
    weight = {"slider": 4.0, "seed": 0.05}
    counts = dict.fromkeys(sizes, 1)
    left = {dim for dim, size in sizes.items() if size > 1}
    while left:
        dim = max(left, key=lambda d: sizes[d] / counts[d] * weight.get(roles[d], 1.0))
        more = counts | {dim: counts[dim] + 1}
        made = math.prod(more[d] for d in outer)
        full = more[dim] > (min(sizes[dim], _SEEDS) if roles[dim] == "seed" else sizes[dim])
        if full or math.prod(more.values()) > most or made > _MADE:
            left.discard(dim)
        else:
            counts = more
    return counts


def _some(size: int, number: int) -> np.ndarray:
    """So many of the places 0 to `size` - 1, each in the middle of its part."""
    if number >= size:
        return np.arange(size)
    return np.unique(((np.arange(number) + 0.5) * size / number - 0.5).round().astype(int))


def _computed(work: Any, lanes: np.ndarray) -> dict[str, Any]:
    """What `_Curves` keeps of the runs of these lanes, by name, a list over runs; and whether they
    are of a `Point`, which tells more than curves."""
    inside = work.inside.size if isinstance(work, Loop) else work.grid.size
    found: dict[str, Any] = {"index": [], "points": True}
    for n in np.unique(lanes // max(inside, 1)):
        job = work.tried(int(n)) if isinstance(work, Loop) else work
        if not isinstance(job, Job):  # a point that cannot be made
            continue
        found["points"] = isinstance(job.function, Point)
        mine = np.flatnonzero(lanes // max(inside, 1) == n)
        outputs = _of_job(job, lanes[mine] - int(n) * inside)
        found["index"] += list(mine)
        for name, leaf in outputs.items():
            found.setdefault(name, []).extend(leaf)
    return found


def _of_job(job: Job, lanes: np.ndarray) -> dict[str, np.ndarray]:
    job = dataclasses.replace(job, function=_watched(job.function))
    padded = np.resize(lanes, -(-len(lanes) // job.tile) * job.tile)
    values = job.grid.at(padded)
    numbers = values.pop("seed") if job.seeded else job.first + padded
    program = job.program(jax.devices()[:1])
    outputs = flat(program.run(values, numbers))  # also those of runs that failed, up to there
    return {name: np.asarray(leaf)[: len(lanes)] for name, leaf in outputs.items()}


def _watched(function: Any) -> Any:
    """The function of a job, which returns the run as `_Curves` keeps it."""
    if isinstance(function, FunctionPoint):
        return _FunctionRun(function.function, function.wants_key)
    ts = np.asarray(function.ts)
    fine = jnp.asarray(np.linspace(ts[0], ts[-1], _SAVES) if len(ts) > 1 else ts, function.ts.dtype)
    places = lambda point: (point.observe, point.ts)  # noqa: E731
    return eqx.tree_at(places, function, (_Curves(function.observe), fine))


def _runs(found: dict[str, Any], chosen: Any, again: Again, dataset: Dataset) -> Runs:
    """The runs, thinned."""
    kept = np.array(found["index"], int)
    times, overlap, saliency = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for k in range(len(kept)):
        time, m = np.asarray(found["time"][k], float), np.asarray(found["overlap"][k], float)
        z = np.asarray(found["saliency"][k], float) if "saliency" in found else m[:, :0]
        at = thinned(time, np.concatenate([_scaled(m), _scaled(z)], axis=1))
        times.append(time[at])
        overlap.append(m[at])
        saliency.append(z[at])
    regime = np.array(found["regime"], int) if "regime" in found else None
    status = np.array(found.get("status", np.zeros(len(kept))), int)
    seeds = np.unique(chosen["seed"])
    width = max((len(m) for m in found["memory"]), default=0)
    memories = np.full((len(kept), width), -1)
    for k, which in enumerate(found["memory"]):
        memories[k, : len(which)] = which
    places = {name: array[kept] for name, array in chosen.items()}
    told = _differences(dataset, places["place"], status, regime) if found["points"] else []
    return Runs(
        places["place"],
        places["spot"],
        places["slider"],
        places["seed"],
        _seed_words(dataset, places, seeds),
        status,
        regime,
        memories,
        times,
        overlap,
        saliency if "saliency" in found else None,
        "steps" if not found["points"] and _whole(times) else "fast time constants",
        [*again.notes, *told],
    )


def _whole(times: list[np.ndarray]) -> bool:
    """Whether all times are whole numbers: those of steps."""
    return all(bool((time == np.round(time)).all()) for time in times)


def _seed_words(dataset: Dataset, places: Mapping[str, np.ndarray], seeds: np.ndarray) -> list[str]:
    dims = dims_of(dataset)
    if "seed" not in dims or "seed" not in dataset.coords or len(seeds) < 2:
        return []
    column = places["place"][:, dims.index("seed")]
    return [str(int(dataset["seed"].values[column[places["seed"] == k][0]])) for k in seeds]


def _differences(
    dataset: Dataset, place: np.ndarray, status: np.ndarray, regime: np.ndarray | None
) -> list[str]:
    """A note on runs that ended otherwise than the sweep says."""
    at = tuple(place.T)
    wrong = np.zeros(len(place), bool)
    if "status" in dataset:
        wrong |= np.asarray(dataset["status"].values)[at] != status
    if regime is not None and "regime" in dataset:
        stored = np.asarray(dataset["regime"].transpose(*dims_of(dataset)).values)[at]
        wrong |= (stored != regime) & (status == _status.OK)
    if not wrong.any():
        return [f"All {len(place)} runs that were made again ended as the sweep says."]
    return [
        f"{int(wrong.sum())} of the {len(place)} runs that were made again ended otherwise than "
        "the sweep says: at denser saves another regime may be told, and settings or files may "
        "have changed since."
    ]


def _scaled(curves: np.ndarray) -> np.ndarray:
    """Curves in units of their whole range."""
    known = curves[np.isfinite(curves)]
    return curves / ((float(np.ptp(known)) if known.size else 0.0) or 1.0)


def thinned(time: np.ndarray, curves: np.ndarray, most: int = _KNOTS) -> np.ndarray:
    """The places of at most so many saves between which straight lines show all curves.

    Begins with the ends and takes, again and again, the save that the lines miss by most. Saves
    that were not reached, which are NaN, are left out.
    """
    good = np.flatnonzero(np.isfinite(curves).all(1) & np.isfinite(time))
    if good.size <= 2:
        return good
    time, curves = time[good], curves[good]
    kept, heap = {0, len(good) - 1}, []

    def look(a: int, b: int) -> None:
        if b - a < 2:
            return
        share = (time[a + 1 : b] - time[a]) / ((time[b] - time[a]) or 1.0)
        line = curves[a] + share[:, None] * (curves[b] - curves[a])
        missed = np.abs(curves[a + 1 : b] - line).max(1)
        worst = int(missed.argmax())
        if missed[worst] > _TOLERANCE:
            heapq.heappush(heap, (-float(missed[worst]), a + 1 + worst, a, b))

    look(0, len(good) - 1)
    while heap and len(kept) < most:
        _, middle, a, b = heapq.heappop(heap)
        kept.add(middle)
        look(a, middle)
        look(middle, b)
    return good[sorted(kept)]
