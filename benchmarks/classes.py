"""What do the exact classes of equal neurons save in a network of a million?

`python -m benchmarks.classes [--neurons 1000000]`: one run of workload W1's kind over ten slow time
constants, in full (diffrax on every neuron) and by its classes (by events), with and without the
time to find them. The full run is slow: it is made once. Linux, one core.
"""

import argparse
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from ._workloads import BIAS
from .rivals import pin

TAU, KAPPA = 50.0, 8.0


def main():
    """One JSON line a form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=10**6)
    N = parser.parse_args().neurons
    pin(1)
    jax.config.update("jax_enable_x64", True)
    patterns = hx.patterns.hadamard(4, N)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=KAPPA, tau=TAU, bias=BIAS)
    start = network.init(saliency=[KAPPA, 0.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 10 * TAU, 201)

    def full(times):
        control = diffrax.PIDController(rtol=1e-6, atol=1e-6, pcoeff=0.3, icoeff=0.4)
        method = hx.Diffrax(controller=control, reduction="sites")
        return hx.simulate(network, start, times, method=method, derivative="forward").overlaps

    def with_classification():
        return hx.simulate(network, start, ts).overlaps

    classes = patterns.site_classes().patterns
    small = hx.TwoTimescaleHopfield(classes, hx.cyclic(4), kappa=KAPPA, tau=TAU, bias=BIAS)
    small_start = small.init(saliency=[KAPPA, 0.0, 0.0, 0.0])
    solve = jax.jit(lambda state: hx.simulate(small, state, ts).overlaps)
    times = interleaved({"with": with_classification, "alone": lambda: solve(small_start)})
    jax.block_until_ready(full(jnp.zeros(201)))  # compiles, and goes nowhere
    begin = time.perf_counter()
    exact = np.asarray(full(ts))
    whole = time.perf_counter() - begin
    error = float(np.abs(exact - np.asarray(solve(small_start))).max())
    report("classes", N=N, form="full", rtol=1e-6, median_s=whole)
    for name, label in (("alone", "classes, solve alone"), ("with", "classes, found each time")):
        row = {"ratio": whole / times[name]["median_s"], "difference_from_full": error}
        report("classes", N=N, form=label, **times[name], **row)
        print(f"{label}: {times[name]['median_s']:.3g} s of {whole:.3g} s, {row['ratio']:.0f} x")
    print(f"largest difference of overlaps: {error:.1e}, the error of the full run's 1e-6")


if __name__ == "__main__":
    main()
