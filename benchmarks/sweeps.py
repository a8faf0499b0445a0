"""What does a sweep cost beside its bare integrator: blocks, store, devices, threads?

`python -m benchmarks.sweeps [--points 1000000] [--only million|overhead|devices]`. Points are those
of workload W1 (P = 4, T = 10 tau), reduced to a mean dwell. On a GPU the same command measures it
there: the million through the store, and the bits with the points in other blocks.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import hopfax as hx
from hopfax._sweep._program import tile_width, workers_of

from ._measure import interleaved, report
from ._workloads import Workload, workload

BARE = 8192  # lanes of a call of the bare integrator on a CPU


def mean_dwell(trajectory):
    """All that is kept of a run."""
    return {"dwell": jnp.nanmean(jnp.diff(trajectory.switches.time))}


def point(work: Workload) -> hx.Point:
    """W1 at a gain, started with saliency kappa = 4.5 on the first memory."""
    start = np.zeros(work.patterns.P)
    start[0] = work.kappas[0]
    return hx.Point(work.network(5.0), {"saliency": start}, work.ts[[0, -1]], observe=mean_dwell)


def gains(work: Workload, total: int) -> np.ndarray:
    """So many gains over the range of the workload."""
    return np.linspace(work.kappas[0], work.kappas[-1], total)


def bare(work: Workload, kappas: np.ndarray):
    """The same runs by the integrator alone: jit(vmap), wide calls, a thread a core."""
    base = point(work)
    solve = jax.jit(jax.vmap(lambda kappa: base({"kappa": kappa})["dwell"]))
    width = BARE if jax.default_backend() == "cpu" else tile_width()
    width = min(width, len(kappas))
    parts = [kappas[k : k + width] for k in range(0, len(kappas) - width + 1, width)]
    jax.block_until_ready(solve(parts[0]))

    def run():
        with ThreadPoolExecutor(workers_of(jax.local_devices()[:1])) as pool:
            return np.concatenate(list(pool.map(lambda part: np.asarray(solve(part)), parts)))

    return run


def fresh(folder: str) -> str:
    """A place in `folder` where nothing is."""
    place = Path(folder) / "store"
    shutil.rmtree(place, ignore_errors=True)
    return str(place)


def million(total: int) -> None:
    """All points through the store, beside the bare integrator, in turns; and the memory."""
    work = workload("w1")
    kappas = gains(work, total)
    alone = bare(work, kappas)
    with tempfile.TemporaryDirectory() as folder:

        def stored():
            ds = hx.sweep(point(work), {"kappa": kappas}, store=fresh(folder), progress=False)
            return ds.dwell.values

        gap = np.nanmax(np.abs(stored()[: len(alone())] - alone()))
        times = interleaved({"bare": alone, "store": stored}, repeats=3)
        again = time.perf_counter()
        kept = fresh(folder)
        hx.sweep(point(work), {"kappa": kappas}, store=kept, progress=False)
        first = hx.open_sweep(kept).dwell.values
        other = hx.sweep(
            point(work), {"kappa": kappas}, store=fresh(folder), chunk=65536, progress=False
        )
        same = bool(np.array_equal(first, other.dwell.values, equal_nan=True))
        seconds = time.perf_counter() - again
    rates = {name: total / row["median_s"] for name, row in times.items()}
    command = [sys.executable, "-m", "benchmarks.sweeps", "--memory-of", str(total)]
    memory = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    row = {"points": total, "rate": rates, "share": rates["store"] / rates["bare"]}
    report("million", **row, largest_difference=float(gap), same_bits_in_other_blocks=same)
    report("million", peak_memory_MiB=memory, two_more_s=seconds, **times["store"])


def memory_of(total: int) -> None:
    """Peak memory of one stored sweep in this process (Linux)."""
    work = workload("w1")
    with tempfile.TemporaryDirectory() as folder:
        hx.sweep(point(work), {"kappa": gains(work, total)}, store=fresh(folder), progress=False)
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["VmHWM"].split()[0]) // 1024)


def overhead(total: int) -> None:
    """The same sweep in memory and through the store, in blocks of some seconds' work."""
    work = workload("w1")
    grid = {"kappa": gains(work, total)}
    rate = total / interleaved({"run": bare(work, grid["kappa"])}, 1)["run"]["median_s"]
    chunk = int(2 * rate / workers_of(jax.local_devices()))  # two seconds of one thread
    with tempfile.TemporaryDirectory() as folder:
        options = dict(chunk=chunk, progress=False)

        def run(**where):
            return hx.sweep(point(work), grid, **options, **where).dwell.values

        runs = {"memory": run, "store": lambda: run(store=fresh(folder))}
        same = bool(np.array_equal(runs["memory"](), runs["store"](), equal_nan=True))
        times = interleaved(runs, repeats=7)
    row = {name: values["median_s"] for name, values in times.items()}
    cpu = {f"{name}_cpu": values["cpu_s"] for name, values in times.items()}
    share = {kind: row["store"] / row["memory"] - 1 for kind in ("wall",)}
    share["cpu"] = cpu["store_cpu"] / cpu["memory_cpu"] - 1
    report("overhead", points=total, chunk=chunk, **row, **cpu, share=share, same_bits=same)


def sharded(work: Workload, kappas: np.ndarray):
    """The alternative to `shard_map`: one vmapped program whose batch is laid over the devices, so
    that all wait for the slowest lane of all."""
    base = point(work)
    mesh = jax.make_mesh((len(jax.local_devices()),), ("lane",), axis_types=(AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("lane"))
    solve = jax.jit(
        jax.vmap(lambda kappa: base({"kappa": kappa})["dwell"]),
        in_shardings=place,
        out_shardings=place,
    )
    width = 256 * len(jax.local_devices())
    parts = [kappas[k : k + width] for k in range(0, len(kappas) - width + 1, width)]
    return lambda: np.concatenate([np.asarray(solve(jax.device_put(p, place))) for p in parts])


def by_placement(work: Workload, kappas: np.ndarray):
    """The other alternative: a program for every device, compiled for each, and a thread each."""
    base = point(work)
    solve = jax.vmap(lambda kappa: base({"kappa": kappa})["dwell"])
    homes = [jax.sharding.SingleDeviceSharding(device) for device in jax.local_devices()]
    programs = [jax.jit(solve, in_shardings=home, out_shardings=home) for home in homes]
    parts = [kappas[k : k + 256] for k in range(0, len(kappas) - 255, 256)]

    def run():
        def mine(k):
            return [np.asarray(programs[k](part)) for part in parts[k :: len(homes)]]

        with ThreadPoolExecutor(len(homes)) as pool:
            return list(pool.map(mine, range(len(homes))))

    return run


def devices(total: int) -> None:
    """One thread, two threads, two devices of a CPU; each against one device and one thread."""
    from hopfax._sweep import _plan

    work = workload("w1")
    grid = {"kappa": gains(work, total)}
    count = len(jax.local_devices())

    def run(number, threads=None):
        original = _plan.workers_of
        if threads is not None:
            _plan.workers_of = lambda devices: threads
        try:
            return hx.sweep(point(work), grid, devices=number, progress=False).dwell.values
        finally:
            _plan.workers_of = original

    runs = {
        "1 device, 1 thread": partial(run, 1, 1),
        "1 device, a thread a core": partial(run, 1),
        f"{count} devices (shard_map)": partial(run, count),
    }
    results = {name: one() for name, one in runs.items()}
    runs["alternative: a batch laid over the devices"] = sharded(work, grid["kappa"])
    runs["alternative: a program and a thread a device"] = by_placement(work, grid["kappa"])
    first = next(iter(results.values()))
    same = all(np.array_equal(first, other, equal_nan=True) for other in results.values())
    times = interleaved(runs, repeats=5)
    base = next(iter(times.values()))["median_s"]
    for name, row in times.items():
        report("devices", how=name, points=total, ratio=base / row["median_s"], **row)
    report("devices", same_bits=bool(same))


def main():
    """One JSON line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10**6)
    parser.add_argument("--only", choices=("million", "overhead", "devices"))
    parser.add_argument("--memory-of", type=int)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if given.memory_of is not None:
        memory_of(given.memory_of)
        return
    if given.only in (None, "devices"):
        jax.config.update("jax_num_cpu_devices", 2)
        devices(min(given.points, 40_000))
    if given.only in (None, "overhead"):
        overhead(min(given.points, 400_000))
    if given.only in (None, "million"):
        million(given.points)


if __name__ == "__main__":
    main()
