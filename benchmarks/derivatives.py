"""What do exact derivatives cost, in time and in compilation, and are they right?

`python -m benchmarks.derivatives`: 256 gains of workload W1 on one core, in turns: the run alone,
its derivative in the gain by forward mode, and its gradient in all parameters by reverse mode. Then
the compile times, cold and from a persistent cache, each in a process of its own. Linux.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from ._workloads import BIAS, Workload, workload
from .rivals import pin

KINDS = ("forward", "jvp", "reverse")
METHOD = hx.EventDriven(order=12, tol=1e-9)
EXACT = hx.EventDriven(order=24, tol=1e-14)


def overlaps(work: Workload, derivative, method, parameters):
    """Overlaps of one run, from every parameter that it has."""
    kappa, tau, transition, bias, xi, saliency = parameters
    patterns = hx.Patterns(xi, binary=True, check_patterns=False)
    network = hx.TwoTimescaleHopfield(patterns, transition, kappa=kappa, tau=tau, bias=bias)
    start = network.init(saliency=saliency)
    run = hx.simulate(network, start, work.ts, method=method, derivative=derivative, throw=False)
    return run.overlaps


def programs(work: Workload, method=METHOD):
    """The three programs, on all gains."""
    P = work.patterns.P
    weights = jax.random.normal(jax.random.key(0), (len(work.ts), P))
    shared = (work.tau, hx.cyclic(P), jnp.full(P, BIAS), work.patterns.xi)

    def parameters(kappa):
        return kappa, *shared, kappa * jnp.eye(P)[0]

    def forward(kappa):
        return (weights * overlaps(work, "forward", method, parameters(kappa))).sum()

    def gradient(kappa):
        def loss(given):
            return (weights * overlaps(work, "reverse", method, given)).sum()

        return jax.grad(loss)(parameters(kappa))

    def slope(kappa):
        return jax.jvp(forward, (kappa,), (jnp.ones_like(kappa),))[1]

    kinds = zip(KINDS, (forward, slope, gradient), strict=True)
    return {name: jax.jit(jax.vmap(function)) for name, function in kinds}


def errors(work: Workload) -> dict[str, float]:
    """Relative differences: of the slope from sixth-order differences of exact runs (the median of
    the gains: where a save falls within their width of a kink, they are wrong), and the largest of
    the gradient along the gain from the slope."""
    work = work.at(work.spread(16))
    kappas, found = jnp.asarray(work.kappas), programs(work, EXACT)
    h, weights = 1e-4, {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    differences = sum(
        w * (found["forward"](kappas + k * h) - found["forward"](kappas - k * h)) / h
        for k, w in weights.items()
    )
    slope, gradient = found["jvp"](kappas), found["reverse"](kappas)
    along = gradient[0] + gradient[-1][:, 0]
    scale = np.abs(slope).max()
    return {
        "error_of_jvp": float(np.median(np.abs(slope - differences)) / scale),
        "error_of_reverse": float(np.abs(along - slope).max() / scale),
    }


def compile_time(kind: str) -> float:
    """Seconds from a traced program to its first result."""
    work = workload("w1")
    program, kappas = programs(work)[kind], jnp.asarray(work.kappas)
    begin = time.perf_counter()
    jax.block_until_ready(program(kappas))
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    jax.block_until_ready(program(kappas))
    return first - (time.perf_counter() - begin)


def compile_times(kind: str) -> tuple[float, float]:
    """In two fresh processes: with an empty cache, and with the one that is then full."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        command = [sys.executable, "-m", "benchmarks.derivatives", "--compile", kind]

        def seconds() -> float:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            return json.loads(done.stdout)

        return seconds(), seconds()


def main():
    """One JSON line a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", choices=KINDS, help="print only this, in this process")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if given.compile:
        print(json.dumps(compile_time(given.compile)))
        return
    pin(1)
    work = workload("w1")
    kappas = jnp.asarray(work.kappas)
    runs = {name: partial(program, kappas) for name, program in programs(work).items()}
    times, wrong = interleaved(runs), errors(work)
    for name in KINDS:
        cold, cached = compile_times(name)
        own, base = times[name]["cpu_s"], times["forward"]["cpu_s"]
        row = {"ratio": own / base, "compile_cold_s": cold, "compile_cached_s": cached}
        report("derivatives", program=name, points=len(kappas), **times[name], **row, **wrong)
        print(f"{name:<8} {own:.4f} s, {own / base:.2f} x, compiled in {cold:.2f} / {cached:.2f} s")
    print(", ".join(f"{name} {value:.1e}" for name, value in wrong.items()))


if __name__ == "__main__":
    main()
