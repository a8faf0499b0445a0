"""Which solver and tolerance for smooth activations?

`python -m benchmarks.smooth [--gain 4]`: 64 gains of workload W1 with tanh on one core, by diffrax
on the classes of equal neurons: error beside time for three solvers at six tolerances, in turns.
Linux.
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
from .rivals import pin

SOLVERS = {"Tsit5": diffrax.Tsit5(), "Dopri8": diffrax.Dopri8(), "Bosh3": diffrax.Bosh3()}
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-12)


def overlaps(work: Workload, gain: float, method, kappas):
    """Overlaps (lanes, saves, P), and the mean number of steps."""

    def lane(kappa):
        network = hx.TwoTimescaleHopfield(
            work.patterns,
            hx.cyclic(work.patterns.P),
            kappa=kappa,
            tau=work.tau,
            bias=BIAS,
            activation=hx.Tanh(gain),
        )
        start = network.init(saliency=kappa * jnp.eye(work.patterns.P)[0])
        run = hx.simulate(network, start, work.ts, method=method, throw=False)
        return run.overlaps, run.counters["steps"]

    found, steps = jax.vmap(lane)(kappas)
    return found, steps.mean()


def method(solver, tolerance: float, **weights):
    """A method with a controller of that tolerance."""
    control = diffrax.PIDController(rtol=tolerance, atol=tolerance, **weights)
    return hx.Diffrax(solver, control)


def main():
    """One JSON line a setting, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gain", type=float, default=4.0)
    gain = parser.parse_args().gain
    pin(1)
    jax.config.update("jax_enable_x64", True)
    work = workload("w1")
    work = work.at(work.spread(64))
    kappas, PI = jnp.asarray(work.kappas), dict(pcoeff=0.3, icoeff=0.4)
    methods = {
        f"{name} {tolerance:g}": method(solver, tolerance, **PI)
        for name, solver in SOLVERS.items()
        for tolerance in (TOLERANCES if name != "Bosh3" else TOLERANCES[:3])
    }
    methods["Tsit5 1e-08, I only"] = method(diffrax.Tsit5(), 1e-8)
    exact = overlaps(work, gain, method(diffrax.Dopri8(), 1e-13, **PI), kappas)[0]
    programs = {n: jax.jit(partial(overlaps, work, gain, m)) for n, m in methods.items()}
    times = interleaved({n: partial(p, kappas) for n, p in programs.items()}, repeats=3)
    for name, program in programs.items():
        found, steps = program(kappas)
        error = np.abs(np.asarray(found) - np.asarray(exact)).max((1, 2))
        row = {"error_median": float(np.median(error)), "error_max": float(error.max())}
        report("smooth", setting=name, gain=gain, steps=float(steps), **row, **times[name])
        numbers = f"{times[name]['cpu_s']:.4f} s {steps:7.0f} steps"
        print(f"{name:<20} {numbers}  {row['error_median']:.1e} {row['error_max']:.1e}")


if __name__ == "__main__":
    main()
