"""How near to the processor's limit does the event-driven integrator run, and what do a million
trajectories cost?

`python -m benchmarks.rate [--trajectories 1000000]`: useful arithmetic of workload W1 over its time
on one core, beside what that core does in multiplications and additions of vectors that stay in its
cache; then the mean dwell of so many gains on all cores, a thread each. Linux.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from ._workloads import Workload, workload

ORDER, LOOKS = 12, 6  # of the series; looks for a crossing in a step
CHAIN = 256


def useful_flops(P: int, C: int, taylor: float, jumps: float, saves: int) -> float:
    """Additions and multiplications of one trajectory, without those of lanes that wait."""
    K = ORDER
    cell = 2 * P * P * C + 2 * P * C
    series = K * (2 * 2 * P * P + 6 * P) + P * K * (K + 1)
    look = 2 * 2 * C * P + 12 * C
    end = 2 * 2 * C * P + 4 * P * K
    step = cell + series + 4 * P * K + LOOKS * (4 * P * K + look) + end
    jump = 2 * P * C + 4 * P * P + LOOKS * (12 * P + look) + end
    return taylor * step + jumps * jump + saves * 16 * P


def run(work: Workload, ts, kappas):
    """Steps, jumps and mean dwell of every gain."""

    def lane(kappa):
        network = work.network(kappa)
        start = network.init(saliency=kappa * jnp.eye(work.patterns.P)[0])
        method = hx.EventDriven(order=ORDER, tol=1e-9)
        trajectory = hx.simulate(network, start, ts, method=method, throw=False)
        dwell = jnp.nanmean(jnp.diff(trajectory.switches.time))
        return trajectory.counters, dwell, trajectory.overlaps[-1]

    return jax.vmap(lane)(kappas)


def peak(values):
    """Multiplications and additions in chains, elementwise."""
    chains = [values * (1 + 1e-3 * k) for k in range(8)]
    for _ in range(CHAIN):
        chains = [chain * 0.999 + 1e-3 for chain in chains]
    return sum(chains)


def rates(work: Workload) -> None:
    """The two rates of one core."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    kappas = jnp.asarray(work.kappas)
    counters = jax.tree.map(np.asarray, run(work, work.ts, kappas)[0])
    taylor = float((counters["steps"] - counters["jumps"]).mean())
    jumps = float(counters["jumps"].mean())
    flops = useful_flops(work.patterns.P, 2 ** (work.patterns.P - 1), taylor, jumps, len(work.ts))
    solve, limit = jax.jit(partial(run, work, work.ts)), jax.jit(peak)
    values = jnp.linspace(0.0, 1.0, 512)

    def often():
        for _ in range(1000):
            out = limit(values)
        return out

    times = interleaved({"w1": lambda: solve(kappas), "peak": often})
    rate = flops * len(kappas) / times["w1"]["cpu_s"]
    most = 1000 * 8 * (2 * CHAIN + 2) * len(values) / times["peak"]["cpu_s"]
    row = {"flops_a_trajectory": flops, "rate": rate, "peak": most, "share": rate / most}
    report("rate", **row, taylor_steps=taylor, jumps=jumps, **times["w1"])
    speed = f"{rate / 1e9:.2f} of {most / 1e9:.1f} Gflop/s: {rate / most:.1%}"
    print(f"{flops:.3g} flop a trajectory, {speed}")


def many(work: Workload, total: int) -> None:
    """So many gains on all cores."""
    cores = len(os.sched_getaffinity(0))
    chunk = 8192
    ts = np.array([work.ts[0], work.ts[-1]])
    solve = jax.jit(partial(run, work, ts))
    exact = jax.jit(partial(run, work, work.ts))
    kappas = np.linspace(work.kappas[0], work.kappas[-1], total)
    parts = [kappas[k : k + chunk] for k in range(0, total - total % chunk or total, chunk)]
    parts = [part for part in parts if len(part) == len(parts[0])]
    jax.block_until_ready(solve(parts[0]))
    begin = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        dwells = list(pool.map(lambda part: np.asarray(solve(part)[1]), parts))
    seconds = time.perf_counter() - begin
    done = sum(map(len, parts))
    sample = np.linspace(0, len(parts[0]) - 1, 64).astype(int)
    error = float(np.nanmax(np.abs(dwells[0][sample] - np.asarray(exact(parts[0][sample])[1]))))
    row = {"trajectories": done, "threads": cores, "seconds": seconds, "a_second": done / seconds}
    report("rate", **row, difference_of_dwells_with_201_saves=error)
    print(f"{done} trajectories on {cores} cores in {seconds:.1f} s: {done / seconds:.0f} a second")


def main():
    """One JSON line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=10**6)
    parser.add_argument("--only", choices=("rate", "many"))
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    work = workload("w1")
    if given.only != "rate":
        many(work, given.trajectories)
    if given.only != "many":
        rates(work)


if __name__ == "__main__":
    main()
