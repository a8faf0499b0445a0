"""What every benchmark shares: interleaved timings, and one JSON line for every row."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import jax


def interleaved(
    runs: dict[str, Callable[[], Any]], repeats: int = 7
) -> dict[str, dict[str, float]]:
    """Wall and processor times of each, in turns A B A B ..., after one timed warm-up."""
    warm_up = {name: _timed(run)[0] for name, run in runs.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(_timed(run))
    return {name: {**_summary(times[name]), "warm_up_s": warm_up[name]} for name in runs}


def _timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def _summary(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = zip(*times, strict=True)
    return {
        "median_s": statistics.median(wall),
        "min_s": min(wall),
        "max_s": max(wall),
        "cpu_s": statistics.median(cpu),
    }


def report(question: str, **row: Any) -> None:
    """One row as a JSON line, with the machine, the versions and the load."""
    device = jax.devices()[0]
    context = {
        "device": f"{device.platform}: {device.device_kind}",
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "jax": jax.__version__,
        "diffrax": diffrax.__version__,
    }
    print(json.dumps({"question": question, **row, **context}), flush=True)
