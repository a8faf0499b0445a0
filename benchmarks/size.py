"""Does a network of a million neurons cost more than one of a thousand?

`python -m benchmarks.size`: the same 256 gains on both, in turns; then peak memory, each size in a
process of its own (Linux).
"""

import argparse
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report

SIZES = (1024, 2**20)
KAPPAS = np.linspace(4.5, 20.0, 256)


def point(N):
    """Workload W1: four Hadamard memories, tau = 50, ten slow time constants, 201 saves."""
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, N), hx.cyclic(4), kappa=5.0, tau=50.0, bias=0.01
    )
    return hx.Point(network, dict(saliency=[5.0, 0, 0, 0]), jnp.linspace(0.0, 500.0, 201))


def run(N):
    """One sweep."""
    return hx.sweep(point(N), {"kappa": KAPPAS}, progress=False).dwell.values


def main():
    """Time, error and memory of both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-of", type=int)
    size = parser.parse_args().memory_of
    jax.config.update("jax_enable_x64", True)
    if size is not None:
        run(size)
        # not ru_maxrss, which a child inherits from its parent
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["VmHWM"].split()[0]) // 1024)
        return
    dwells = {N: run(N) for N in SIZES}
    gap = np.abs(dwells[SIZES[0]] - dwells[SIZES[1]])
    error = float(np.nanmax(gap))
    assert error < 1e-6 and np.isfinite(gap).sum() > 200, f"the sizes disagree by {error}"
    times = interleaved({str(N): lambda N=N: run(N) for N in SIZES})
    for N in SIZES:
        command = [sys.executable, "-m", "benchmarks.size", "--memory-of", str(N)]
        memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = {"N": N, "points": len(KAPPAS), "largest_difference_of_dwells": error}
        report("size", **row, **times[str(N)], peak_memory_MiB=int(memory))
    ratio = times[str(SIZES[1])]["median_s"] / times[str(SIZES[0])]["median_s"]
    report("size", ratio_of_medians=ratio)


if __name__ == "__main__":
    main()
