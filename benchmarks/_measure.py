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
    """Median, least and largest wall time of each, in turns A B A B ..., after one warm-up."""
    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - begin)
    return {
        name: {"median_s": statistics.median(t), "min_s": min(t), "max_s": max(t)}
        for name, t in times.items()
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
