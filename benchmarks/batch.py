"""How many trajectories a second, against the size of the batch?

`python -m benchmarks.batch [--sizes 100 1000 10000 100000 1000000] [--precision float64]`: final
saliencies of workload W1's kind on whatever device JAX finds (meant for a GPU), by events and by
diffrax, in turns, with the error of both at 64 of the gains.
"""

import argparse
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from ._workloads import BIAS, Workload, workload

TOLERANCES = {"float64": (1e-9, 1e-9), "float32": (1e-6, 1e-5)}  # by events, by diffrax


def final(work: Workload, method, kappas):
    """Saliencies at the end of every run, over its gain."""
    dtype = kappas.dtype
    patterns = hx.Patterns(work.patterns.xi.astype(dtype), binary=True)
    ts = jnp.asarray(work.ts[[0, -1]], dtype)

    def lane(kappa):
        network = hx.TwoTimescaleHopfield(
            patterns, hx.cyclic(patterns.P), kappa=kappa, tau=work.tau, bias=BIAS
        )
        start = network.init(saliency=kappa * jnp.eye(patterns.P, dtype=dtype)[0])
        return hx.simulate(network, start, ts, method=method, throw=False).saliency[-1] / kappa

    return jax.vmap(lane)(kappas)


def main():
    """One JSON line a size and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [10**k for k in range(2, 7)]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--precision", choices=TOLERANCES, default="float64")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    work, (exact_tol, tol) = workload("w1"), TOLERANCES[given.precision]
    control = diffrax.PIDController(rtol=tol, atol=tol, pcoeff=0.3, icoeff=0.4)
    methods = {
        "event-driven": hx.EventDriven(order=12, tol=exact_tol),
        "diffrax": hx.Diffrax(controller=control),
    }
    programs = {name: jax.jit(partial(final, work, method)) for name, method in methods.items()}
    reference = jax.jit(partial(final, work, hx.EventDriven(order=24, tol=1e-14)))
    for size in given.sizes:
        kappas = np.linspace(work.kappas[0], work.kappas[-1], size).astype(given.precision)
        runs = {name: partial(program, kappas) for name, program in programs.items()}
        times = interleaved(runs, repeats=3)
        sample = np.linspace(0, size - 1, 64).astype(int)
        exact = np.asarray(reference(kappas[sample].astype(np.float64)))
        for name, run in runs.items():
            error = np.abs(np.asarray(run())[sample] - exact).max(1)
            row = {"error_median": float(np.median(error)), "error_max": float(error.max())}
            row["a_second"] = size / times[name]["median_s"]
            setting = {"precision": given.precision, "size": size, "method": name}
            report("batch", **setting, **row, **times[name])
            print(f"{size:>8} {name:<13} {row['a_second']:.3g}/s  {row['error_median']:.1e}")


if __name__ == "__main__":
    main()
