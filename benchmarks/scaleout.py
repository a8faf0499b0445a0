"""What does a cluster of processes cost beside this process, and what if its scheduler dies?

`python -m benchmarks.scaleout [--points 1000000] [--workers 4]`: points of workload W1 (P = 4,
T = 10 tau, reduced to a mean dwell) through a store, by the threads of this process, and by a Dask
cluster of single-threaded processes on this machine whose scheduler is killed when half of the
blocks are stored. The same call then goes on with a new scheduler and new workers. Both stores must
hold the same bits.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hopfax as hx
from hopfax._sweep._program import tile_width, workers_of

from ._measure import report
from ._workloads import workload
from .sweeps import gains, point

_BLOCKS = 48  # of a sweep; on 4 workers a dozen each, so that few wait for the last
_PATIENCE = "5s"  # for which a client looks for a scheduler that is gone
ROOT = Path(__file__).resolve().parents[1]


def marked(store: Path) -> list[float]:
    """When each block that is stored was complete, in order."""
    times = []
    for marker in (store / "done").glob("*"):
        with contextlib.suppress(OSError):  # being renamed
            times.append(marker.stat().st_mtime)
    return sorted(times)


class Cluster:
    """A Dask scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, workers: int):
        self.file = folder / f"scheduler-{time.time_ns()}.json"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1"}
        if "JAX_PLATFORMS" not in environment:  # several processes cannot share a GPU's memory
            environment["JAX_PLATFORMS"] = "cpu"
        self._log = open(folder / "cluster.log", "ab")

        def start(what: str, *options: str) -> subprocess.Popen:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard"]
            command += ["--scheduler-file", str(self.file), *options]
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdout=self._log, stderr=self._log
            )

        self.scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0")
        each = ("--nthreads", "1", "--no-nanny", "--death-timeout", "60")
        self.workers = [start("worker", *each) for _ in range(workers)]

    def end(self) -> None:
        """Kill what still runs."""
        for process in (self.scheduler, *self.workers):
            process.kill()
            process.wait()
        self._log.close()


@contextlib.contextmanager
def cluster_of(folder: Path, workers: int) -> Iterator[tuple[Cluster, Any]]:
    """A cluster and a client of it, once all workers are there."""
    from distributed import Client

    cluster = Cluster(folder, workers)
    try:
        while not cluster.file.exists():
            if cluster.scheduler.poll() is not None:
                raise RuntimeError((folder / "cluster.log").read_text())
            time.sleep(0.05)
        with Client(scheduler_file=str(cluster.file), timeout="60s") as client:
            client.wait_for_workers(workers, timeout=120)
            yield cluster, client
    finally:
        cluster.end()


def killed_at(cluster: Cluster, store: Path, blocks: int) -> threading.Thread:
    """A thread that kills the scheduler and the workers when so many blocks are stored."""

    def watch():
        while len(marked(store)) < blocks and cluster.scheduler.poll() is None:
            time.sleep(0.02)
        for process in (cluster.scheduler, *cluster.workers):
            process.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def by_cluster(
    folder: Path, workers: int, sweep, blocks: int
) -> tuple[Any, list[float], list[str]]:
    """The sweep by a cluster whose scheduler dies when so many blocks are stored, and by a second
    one: its dataset, the seconds of both legs, and what the first one said."""
    store, seconds, said = folder / "cluster", [], []
    with cluster_of(folder, workers) as (cluster, client):
        watching = killed_at(cluster, store, blocks)
        begin = time.perf_counter()
        try:
            sweep(store, executor=client)
        except BaseException as error:  # the client's own, of whatever kind; Ctrl-C is told below
            if isinstance(error, KeyboardInterrupt):
                raise
            said = [type(error).__name__, *getattr(error, "__notes__", ())]
        seconds.append(time.perf_counter() - begin)
        watching.join()
    with cluster_of(folder, workers) as (_, client):
        begin = time.perf_counter()
        ds = sweep(store, executor=client)
        seconds.append(time.perf_counter() - begin)
    return ds, seconds, said


def rate_while_busy(times: list[float], each: float, workers: int) -> float:
    """Points a second between the first time that each worker has stored a block, and the last
    block; `times`: when blocks were stored, `each`: points of a block."""
    times = times[workers - 1 :] if len(times) > 2 * workers else times
    return (len(times) - 1) * each / max(times[-1] - times[0], 1e-9) if len(times) > 1 else 0.0


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """One JSON line, and the shares in words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10**6)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args(arguments)
    import dask

    jax.config.update("jax_enable_x64", True)
    dask.config.set({"distributed.comm.timeouts.connect": _PATIENCE})
    work, total = workload("w1"), given.points
    grid, each = {"kappa": gains(work, total)}, -(-total // _BLOCKS)
    tile = min(tile_width(), each)
    chunk = tile * -(-each // tile)  # whole tiles

    def sweep(store, **how):
        options = dict(tile=tile, chunk=chunk, progress=False, on_failure="ignore")
        return hx.sweep(point(work), grid, store=store, **options, **how)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        with hx.compilation_cache(folder / "programs"):
            here = sweep(folder / "here").dwell.values
            alone = marked(folder / "here")
            half, each = len(alone) // 2, total / len(alone)
            ds, seconds, said = by_cluster(folder, given.workers, sweep, half)
            there = ds.dwell.values
        legs = marked(folder / "cluster")
    gaps = np.diff(legs)  # what the second cluster stored comes a while after the first's
    cut = int(np.argmax(gaps[half - given.workers : half + given.workers])) + half - given.workers
    parts = [legs[: cut + 1], legs[cut + 1 :]]
    here_rate = rate_while_busy(alone, each, workers_of(jax.local_devices()[:1]))
    rates = [rate_while_busy(part, each, given.workers) for part in parts]
    row = {
        "points": total,
        "workers": given.workers,
        "in_process_a_second": here_rate,
        "cluster_a_second": rates,
        "share": [rate / here_rate for rate in rates],
        "seconds_of_both_legs": seconds,
        "blocks": len(legs),
        "blocks_of_the_first": len(parts[0]),
        "first_said": said,
        "same_bits": bool(np.array_equal(here, there, equal_nan=True)),
    }
    report("scaleout", **row)
    print("shares of the speed in one process: {:.2f}, then {:.2f}".format(*row["share"]))
    return row


if __name__ == "__main__":
    main()
