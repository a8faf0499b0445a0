"""How a sweep will be computed: devices, blocks and their order, and what that will cost.

One tile is run beforehand whose points are spread evenly over the grid. Its time says how many
points take a few seconds, which is the size of a block: what is computed when a sweep is killed is
lost, and every block costs files. The steps of its points say where in the grid runs are long:
blocks from there are computed first, so that no worker is left alone with one of them at the end.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np

from .._errors import as_count, shown
from .._progress import duration
from .._report import Report, Reported
from ._grid import Blocks
from ._job import Job, Variable, flat, variables
from ._point import Point
from ._program import Device, Program, workers_of
from ._recipe import Loop, Programs, Recipe, Work, work_of

_SECONDS = 3.0  # that a block takes: what a killed sweep may lose
_BYTES = 2**26  # of a block's outputs at most
_EACH = 6  # blocks for every worker at least, so that all end at about the same time
_FEW = 32  # tiles at least in blocks with cut tiles, which are computed twice: 2 of 32 are 6 %
_WORTH = 64  # tiles of a sweep from which on it is worth to run one beforehand


@dataclasses.dataclass(frozen=True, repr=False)
class SweepPlan(Reported):
    """How a sweep would be computed. Times are estimates from one tile spread over the grid.

    - `points`, `tile`, `tiles`: points in all, points computed together, and how often.
    - `block`, `blocks`: the shape of the part of the grid that is stored at a time, and how many
      such parts there are.
    - `devices`, `workers`: which devices compute, and how many threads keep them busy.
    - `variables`: dtype and shape of every output of a point.
    - `bytes`: of all outputs, before compression. `memory`: bytes that all workers need to compute.
    - `compile_seconds`, `seconds`: how long compiling takes, and everything else.

    Printed, it is a table.

    **Example:**

    ```python
    plan = hx.sweep_plan(hx.theory.sequential.fixed_points, {"kappa": np.linspace(4, 8, 10000)})
    plan.points, plan.tile, plan.tiles  # 10000 points in 40 tiles of 256
    plan.volume  # '210 kB'
    ```
    """

    points: int
    tile: int
    tiles: int
    block: tuple[int, ...]
    blocks: int
    devices: tuple[str, ...]
    workers: int
    variables: Mapping[str, str]
    bytes: int
    memory: int
    compile_seconds: float
    seconds: float

    @property
    def hardware(self) -> str:
        """The devices and threads, in words."""
        number = len(self.devices)
        threads = f"{self.workers} threads" if self.workers > 1 else "1 thread"
        return f"{f'{number} x ' if number > 1 else ''}{self.devices[0]}, {threads}"

    @property
    def duration(self) -> str:
        """The time without compilation, in words."""
        return duration(self.seconds)

    @property
    def volume(self) -> str:
        """The size of the outputs before compression, in words."""
        return size(self.bytes)

    def _report(self) -> Report:
        outputs = ", ".join(f"{name} ({kind})" for name, kind in self.variables.items())
        rows = (
            ("points", f"{self.points:,} in {self.tiles:,} tiles of {self.tile:,}"),
            ("blocks", f"{self.blocks:,} of {' x '.join(map(str, self.block))} points"),
            ("on", self.hardware),
            ("outputs", f"{outputs}: {self.volume} before compression"),
            ("memory", f"{size(self.memory)} to compute in"),
            (
                "time",
                f"about {self.duration}, after {self.compile_seconds:.1f} s to compile",
            ),
        )
        return Report("", rows)


class Prepared(NamedTuple):
    """A compiled job, and what was measured on one tile of it (None if nothing was)."""

    job: Job
    program: Program
    workers: int
    variables: list[Variable]
    probe: "_Probe | None"

    def blocks(self, chunk: int | Literal["auto"]) -> Blocks:
        """The grid in blocks of about `chunk` points, or of a few seconds' work."""
        if chunk != "auto":
            return self.job.cut(chunk)
        lanes, tile = _block_points(self), self.job.tile
        blocks = self.job.cut(lanes)
        if math.prod(blocks.block) % tile and self.job.tiles >= _WORTH:
            blocks = self.job.cut(max(lanes, _FEW * tile))
        return blocks

    def order(self, blocks: Blocks) -> list[int]:
        """The blocks in the order in which to compute them, the most expensive first."""
        return np.argsort(-_costs(blocks, self.probe), kind="stable").tolist()

    def plan(self, blocks: Blocks) -> SweepPlan:
        """What the whole sweep will cost in these blocks."""
        job, program, devices = self.job, self.program, self.program.devices
        each = sum(variable.bytes for variable in self.variables)
        seconds = float("nan")
        if self.probe is not None:
            parallel = len(devices) if len(devices) > 1 else self.workers
            seconds = max(job.tiles / parallel, 1.0) * self.probe.seconds
        lanes = min(math.prod(blocks.block), job.grid.size)
        return SweepPlan(
            points=job.grid.size,
            tile=job.tile,
            tiles=job.tiles,
            block=blocks.block,
            blocks=blocks.number,
            devices=tuple(_named(d) for d in devices),
            workers=self.workers,
            variables=_kinds(self.variables),
            bytes=each * job.grid.size,
            memory=self.workers * (program.memory + 2 * each * lanes),
            compile_seconds=program.compile_seconds,
            seconds=seconds,
        )


class PreparedLoop(NamedTuple):
    """The jobs of a recipe. Measured are the first one and, for a plan, one in the middle and the
    last: each has to be compiled for that."""

    job: Loop
    program: Programs
    workers: int
    variables: list[Variable]
    measured: list[Prepared]

    def blocks(self, chunk: int | Literal["auto"]) -> Blocks:
        """The grid in blocks of one made point each, as large as the first point asks for."""
        if chunk != "auto" or not self.job.inside.axes:
            return self.job.cut(self.job.tile if chunk == "auto" else chunk)
        return self.job.cut(math.prod(self.measured[0].blocks("auto").block))

    def order(self, blocks: Blocks) -> list[int]:
        """The blocks as they come, so that every point is made once."""
        return list(range(blocks.number))

    def plan(self, blocks: Blocks) -> SweepPlan:
        """What the whole sweep will cost in these blocks."""
        each = [one.plan(Blocks((1,), (1,))) for one in self.measured]
        made = self.job.around.size
        size = sum(variable.bytes for variable in self.variables) * self.job.grid.size
        return dataclasses.replace(
            each[0],
            points=self.job.grid.size,
            tiles=self.job.tiles,
            block=blocks.block,
            blocks=blocks.number,
            workers=self.workers,
            variables=_kinds(self.variables),
            bytes=size,
            memory=max(plan.memory for plan in each),
            compile_seconds=self.job.programs() * float(np.mean([p.compile_seconds for p in each])),
            seconds=made * float(np.mean([plan.seconds for plan in each])),
        )


AnyPrepared: TypeAlias = Prepared | PreparedLoop


def prepare(job: Work, devices: Sequence[Device], measure: bool = False) -> AnyPrepared:
    """Compile a job, or of a recipe's what is measured. **Raises:** as `prepare_one`."""
    if isinstance(job, Job):
        return prepare_one(job, devices, measure)
    last = job.around.size - 1
    others = np.unique([last // 2, last]) if measure else []
    made = [job.example(), *(job.tried(int(n)) for n in others)]
    parts = [prepare_one(one, devices, measure) for one in _different(made)]
    return PreparedLoop(job, job.program(devices), parts[0].workers, job.variables(), parts)


def _different(made: Sequence[Job | ValueError]) -> list[Job]:
    """Those points that could be made, each once."""
    return list({job.first: job for job in made if isinstance(job, Job)}.values())


def prepare_one(job: Job, devices: Sequence[Device], measure: bool = False) -> Prepared:
    """Compile a job and, with `measure` or where it has many tiles, run one tile to measure it.

    There are fewer workers than cores where their programs would fill half of the memory.

    **Raises:** ValueError if a single tile does not fit into memory.
    """
    program = job.program(devices)
    _check_memory(program, devices[0])
    workers = workers_of(devices)
    while workers > 1 and workers * program.memory > _capacity(devices[0]) / 2:
        workers -= 1
    probe = _probe(job, program) if measure or job.tiles >= _WORTH else None
    return Prepared(
        job, program, workers, variables(flat(program.outputs), job.grid, job.dims), probe
    )


def _kinds(variables: list[Variable]) -> dict[str, str]:
    """Dtype and shape of every variable, as text."""
    return {v.name: f"{v.dtype}{list(v.shape) if v.shape else ''}" for v in variables}


class _Probe(NamedTuple):
    """What was measured on one tile: its lanes, the steps of each, and the seconds it took."""

    lanes: np.ndarray
    steps: np.ndarray
    seconds: float


def _probe(job: Job, program: Program) -> _Probe:
    """Run and time one tile whose points are spread evenly over the grid."""
    lanes = np.linspace(0, job.grid.size - 1, job.tile).round().astype(np.int64)
    begin = time.perf_counter()
    out = job.run(program, lanes)
    seconds = time.perf_counter() - begin
    if seconds < 1:  # once more, without what only a first call costs, and in a full call
        tiles = program.strip * len(program.devices) if seconds < 0.1 else 1
        begin = time.perf_counter()
        job.run(program, np.tile(lanes, tiles))
        seconds = (time.perf_counter() - begin) / max(tiles // len(program.devices), 1)
    steps = np.asarray(out.get("steps", np.ones(job.tile)), float)
    return _Probe(lanes, steps, seconds)


def _block_points(prepared: Prepared) -> int:
    """How many points a block has: a few seconds' work, within `_BYTES`, and at least a tile.

    There are enough blocks for all workers unless that would cut tiles.
    """
    job, probe = prepared.job, prepared.probe
    bytes_each = max(1, sum(variable.bytes for variable in prepared.variables))
    most = [_BYTES // bytes_each, -(-job.grid.size // (_EACH * prepared.workers))]
    if probe is not None:
        tiles = len(prepared.program.devices) * _SECONDS / max(probe.seconds, 1e-6)
        most.append(int(tiles * job.tile))
    return max(min(most), job.tile)


def _costs(blocks: Blocks, probed: _Probe | None) -> np.ndarray:
    """An estimate of the cost of every block: the most steps that one of its measured points took.

    The maximum, as a tile runs until its longest lane ends. A block without a measured point has
    the cost of the next one.
    """
    if probed is None:
        return np.ones(blocks.number)
    edges = [blocks.lanes(k)[0] for k in range(blocks.number)]
    first = np.searchsorted(probed.lanes, edges)
    last = np.append(first[1:], len(probed.lanes))
    costs = [
        probed.steps[min(a, len(probed.steps) - 1) : max(b, a + 1)].max(initial=0.0)
        for a, b in zip(first, last, strict=True)
    ]
    return np.array(costs)


def _check_memory(program: Program, device: Device) -> None:
    """ValueError if a call of the program needs more memory than there is."""
    if program.memory > _capacity(device):
        raise ValueError(
            f"a tile of {program.tile} points needs {size(program.memory)}, but there are only "
            f"{size(_capacity(device))}: use a smaller `tile`, or let the points return less."
        )


def _capacity(device: Device) -> int:
    """How many bytes of memory a device has; very many where that cannot be found out."""
    stats = None if device.platform == "cpu" else device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63


def _named(device: Device) -> str:
    kind = device.device_kind
    return kind if kind == device.platform else f"{device.platform} ({kind})"


def local_devices(devices: int | Sequence[Device] | None) -> list[Device]:
    """The devices that a number or a list of them means; for None all that this process has.

    **Raises:** ValueError if there are not so many, TypeError for anything else.
    """
    there = jax.local_devices()
    if devices is None:
        return there
    if isinstance(devices, int | np.integer) and not isinstance(devices, bool):
        if not 1 <= devices <= len(there):
            hint = (
                ' More of a CPU must be asked for first: jax.config.update("jax_num_cpu_devices", '
                f"{devices})."
                if there[0].platform == "cpu"
                else ""
            )
            raise ValueError(
                f"`devices` is {devices}, but this process has {len(there)} "
                f"({there[0].platform}).{hint}"
            )
        return there[:devices]
    given = devices
    devices = list(devices) if isinstance(devices, list | tuple) else []
    if not devices or not all(isinstance(device, jax.Device) for device in devices):
        raise TypeError(
            f"`devices` must be a number or a list of jax.local_devices(), got {shown(given)}."
        )
    return devices


def size(number: int | float) -> str:
    """A number of bytes with its unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def checked_chunk(chunk: Any) -> int | Literal["auto"]:
    """The argument `chunk`; TypeError or ValueError unless it is a positive int or "auto"."""
    if isinstance(chunk, str) and chunk == "auto":
        return chunk
    return as_count(chunk, "chunk")


def sweep_plan(
    point: Point | Recipe | Callable,
    grid: Mapping[Any, Any],
    *,
    key: jax.Array | None = None,
    tile: int | None = None,
    chunk: int | Literal["auto"] = "auto",
    devices: int | Sequence[Device] | None = None,
) -> SweepPlan:
    """How long `hopfax.sweep` would take with the same arguments, and how large its results are.

    Compiles the points and runs one tile of them, spread evenly over the grid; of a `Recipe`, one
    of the first point that it makes, of one in the middle and of the last.

    **Arguments:** as of `hopfax.sweep`.

    **Returns:** a `SweepPlan`; printed, it is a table.

    **Raises:** ValueError/TypeError as `hopfax.sweep`; ValueError if a tile would not fit into
    memory.

    **Example:**

    ```python
    plan = hx.sweep_plan(hx.theory.sequential.fixed_points, {"kappa": np.linspace(4, 8, 10000)})
    print(plan)  # points   10,000 in 40 tiles of 256 ...
    ```
    """
    job = work_of(point, grid, key, tile)
    if job.grid.size == 0:
        raise ValueError("`grid` has an axis of no points: there is nothing to plan.")
    prepared = prepare(job, local_devices(devices), measure=True)
    return prepared.plan(prepared.blocks(checked_chunk(chunk)))
