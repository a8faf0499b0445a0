"""How a sweep will be computed: devices, blocks and their order, and what that will cost."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from .._lanes import Program, workers_of
from ._grid import Blocks, cut
from ._job import Job, Variable, flat, job_of, variables
from ._point import Point

_SECONDS = 3.0  # of a block: what Ctrl-C or a killed worker may cost
_BYTES = 2**26  # of a block's outputs
_EACH = 6  # blocks for every worker, so that all end at about the same time
_FEW = 32  # tiles of a block that cannot be whole tiles: fewer, and the shared ones cost too much
_WORTH = 64  # tiles from which on one is run beforehand to measure


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """How a sweep would be computed. Times are estimates from one tile spread over the grid.

    - `points`, `tile`, `tiles`: points in all, points computed together, and how often.
    - `block`, `blocks`: the part of the grid that is stored at a time, and how many there are.
    - `devices`, `workers`: which compute, and the threads that feed them.
    - `variables`: dtype and shape of every output of a point.
    - `bytes`: of all outputs, before compression. `memory`: bytes that the workers compute in.
    - `compile_seconds`, `seconds`: of compilation, and of the rest.
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
        """Devices and threads in words."""
        number = len(self.devices)
        threads = f"{self.workers} threads" if self.workers > 1 else "1 thread"
        return f"{f'{number} x ' if number > 1 else ''}{self.devices[0]}, {threads}"

    @property
    def duration(self) -> str:
        """The time without compilation, in words."""
        return duration(self.seconds)

    @property
    def volume(self) -> str:
        """Size of the outputs, in words."""
        return size(self.bytes)

    def __str__(self) -> str:
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
        return "\n".join(f"{name:<8} {text}" for name, text in rows)


class Prepared(NamedTuple):
    """A compiled job, and what one tile of it told."""

    job: Job
    program: Program
    workers: int
    variables: list[Variable]
    probe: "_Probe | None"

    def blocks(self, chunk: int | Literal["auto"]) -> Blocks:
        """Blocks of so many points, or of some seconds' work."""
        shape, tile = self.job.grid.shape, self.job.tile
        if chunk != "auto":
            return cut(shape, chunk, tile)
        lanes = _lanes(self)
        blocks = cut(shape, lanes, tile)
        if math.prod(blocks.block) % tile and self.job.tiles >= _WORTH:
            blocks = cut(shape, max(lanes, _FEW * tile), tile)
        return blocks

    def order(self, blocks: Blocks) -> list[int]:
        """The blocks, the most expensive first, so that no worker ends long after the others."""
        return np.argsort(-_costs(blocks, self.probe), kind="stable").tolist()

    def plan(self, blocks: Blocks) -> SweepPlan:
        """What it all will cost."""
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
            variables={
                v.name: f"{v.dtype}{list(v.shape) if v.shape else ''}" for v in self.variables
            },
            bytes=each * job.grid.size,
            memory=self.workers * (program.memory + 2 * each * lanes),
            compile_seconds=program.compile_seconds,
            seconds=seconds,
        )


def prepare(job: Job, devices: Sequence[Any], measure: bool = False) -> Prepared:
    """Compile a job.

    With many tiles (or `measure`) one tile is run whose points are spread over the whole grid: its
    time tells how long a block may be, the steps of its points where the expensive ones are.
    """
    program = job.program(devices)
    _check_memory(program, devices[0])
    workers = workers_of(devices)
    while workers > 1 and workers * program.memory > _capacity(devices[0]) / 2:
        workers -= 1
    probe = _probe(job, program) if measure or job.tiles >= _WORTH else None
    return Prepared(job, program, workers, variables(flat(program.outputs), job.grid), probe)


class _Probe(NamedTuple):
    lanes: np.ndarray
    steps: np.ndarray
    seconds: float


def _probe(job: Job, program: Program) -> _Probe:
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


def _lanes(prepared: Prepared) -> int:
    """Points of a block: some seconds' work, not too much memory, enough blocks for all workers."""
    job, probe = prepared.job, prepared.probe
    bytes_each = max(1, sum(variable.bytes for variable in prepared.variables))
    most = [_BYTES // bytes_each, -(-job.grid.size // (_EACH * prepared.workers))]
    if probe is not None:
        tiles = len(prepared.program.devices) * _SECONDS / max(probe.seconds, 1e-6)
        most.append(int(tiles * job.tile))
    return max(min(most), job.tile)


def _costs(blocks: Blocks, probed: _Probe | None) -> np.ndarray:
    """The most steps that a probed point of every block took."""
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


def _check_memory(program: Program, device: Any) -> None:
    if program.memory > _capacity(device):
        raise ValueError(
            f"a tile of {program.tile} points needs {size(program.memory)}, but there are only "
            f"{size(_capacity(device))}: use a smaller `tile`, or let the points return less."
        )


def _capacity(device: Any) -> int:
    """Bytes of memory where a device computes."""
    stats = None if device.platform == "cpu" else device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63


def _named(device: Any) -> str:
    kind = device.device_kind
    return kind if kind == device.platform else f"{device.platform} ({kind})"


def local_devices(devices: Any) -> list[Any]:
    """The devices meant by a number, a list, or None for all that this process has.

    **Raises:** ValueError if there are not so many, TypeError for anything else.
    """
    there = jax.local_devices()
    if devices is None:
        return there
    if isinstance(devices, int) and not isinstance(devices, bool):
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
            f"`devices` must be a number or a list of jax.local_devices(), got {given!r}."
        )
    return devices


def size(number: int | float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def duration(seconds: float) -> str:
    """Seconds in words."""
    if np.isnan(seconds):
        return "an unknown time"
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def checked_chunk(chunk: Any) -> int | Literal["auto"]:
    """A positive int, or "auto"."""
    if isinstance(chunk, str) and chunk == "auto":
        return chunk
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f'`chunk` must be a positive int or "auto", got {chunk!r}.')
    return chunk


def sweep_plan(
    point: Point | Callable,
    grid: Mapping[Any, Any],
    *,
    key: jax.Array | None = None,
    tile: int | None = None,
    chunk: int | Literal["auto"] = "auto",
    devices: Any = None,
) -> SweepPlan:
    """What `hopfax.sweep` would do with these arguments, which it has too, without doing it.

    Compiles, and runs one tile whose points are spread over the grid. Print what is returned: the
    time is that of the runs alone.

    **Raises:** ValueError/TypeError as `hopfax.sweep`; ValueError if a tile would not fit into
    memory.
    """
    job = job_of(point, grid, key, tile)
    if job.grid.size == 0:
        raise ValueError("`grid` has an axis of no points: there is nothing to plan.")
    prepared = prepare(job, local_devices(devices), measure=True)
    return prepared.plan(prepared.blocks(checked_chunk(chunk)))
