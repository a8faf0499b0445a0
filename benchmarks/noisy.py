"""What does a run under private noise cost, against a loop in NumPy?

`python -m benchmarks.noisy [--runs 64] [--repeats 5]`: a cycle of four memories of 1024 neurons
over ten slow time constants, 10,000 steps of 0.05, by Euler and Maruyama in NumPy (the field by its
projections), by `hopfax.simulate` and per run of `hopfax.sweep`, in turns on one core. Beside them
the errors of both schemes along one path, against steps 16 times as short, and the error of the
stationary variance of the noise. Linux.
"""

import argparse
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from .rivals import pin

P, N, TAU, KAPPA, BIAS, SIGMA, STEP = 4, 1024, 50.0, 8.0, 0.01, 0.3, 0.05
SAVES, LENGTH = 201, 10 * TAU
START = [KAPPA, 0.0, 0.0, 0.0]


class Plain(NamedTuple):
    """The network's arrays, for NumPy."""

    xi: np.ndarray
    transition: np.ndarray

    def overlaps(self, x):
        """Of a field of all neurons."""
        return self.xi @ np.clip(x, -1.0, 1.0) / N

    def slow(self, m, z):
        """The rate of the saliencies."""
        return (KAPPA * (self.transition @ m) - z) / TAU


def maruyama(plain: Plain, increments, h: float, every: int) -> np.ndarray:
    """Overlaps after every `every` steps of Euler and Maruyama, with these increments."""
    z = np.array(START)
    x, found = (z + BIAS) @ plain.xi, []
    for k, dB in enumerate(increments):
        m = plain.overlaps(x)
        if k % every == 0:
            found.append(m)
        x = x + h * ((z * m + BIAS) @ plain.xi - x) + SIGMA * dB
        z = z + h * plain.slow(m, z)
    return np.array([*found, plain.overlaps(x)])


def filtered(plain: Plain, increments, h: float, every: int) -> np.ndarray:
    """The same by the scheme of hopfax: filtered noise r with its exact law, Heun for the rest."""
    z = np.array(START)
    y, r, found = z + BIAS, np.zeros(N), []
    spread = SIGMA * np.sqrt(-np.expm1(-2 * h) / (2 * h))
    for k, dB in enumerate(increments):
        m = plain.overlaps(y @ plain.xi + r)
        if k % every == 0:
            found.append(m)
        r = np.exp(-h) * r + spread * dB
        first = z * m + BIAS - y, plain.slow(m, z)
        y1, z1 = y + h * first[0], z + h * first[1]
        m = plain.overlaps(y1 @ plain.xi + r)
        second = z1 * m + BIAS - y1, plain.slow(m, z1)
        y, z = (v + h * (a + b) / 2 for v, a, b in zip((y, z), first, second, strict=True))
    return np.array([*found, plain.overlaps(y @ plain.xi + r)])


def errors(plain: Plain, finer: int = 16, length: float = 100.0) -> dict[str, float]:
    """Largest and mean absolute differences of overlaps, from a run with steps `finer` times as
    short along the same path (two switches)."""
    h, steps = STEP / finer, round(length / STEP)
    fine = np.sqrt(h) * np.random.default_rng(0).standard_normal((steps * finer, N))
    coarse = fine.reshape(steps, finer, N).sum(1)
    exact = filtered(plain, fine, h, finer)
    found = {}
    for name, scheme in (("numpy", maruyama), ("hopfax", filtered)):
        gap = np.abs(scheme(plain, coarse, STEP, 1) - exact)
        found |= {f"{name}_error_max": float(gap.max()), f"{name}_error_mean": float(gap.mean())}
    return found


def main():
    """One JSON line a way, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    pin(1)
    jax.config.update("jax_enable_x64", True)
    patterns = hx.patterns.hadamard(P, N)
    plain = Plain(np.asarray(patterns.xi), np.roll(np.eye(P), 1, axis=0))
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(P), kappa=KAPPA, tau=TAU, bias=BIAS)
    start, ts = network.init(saliency=START), jnp.linspace(0.0, LENGTH, SAVES)
    steps, seeds = round(LENGTH / STEP), iter(range(10**6))
    point = hx.Point(network, dict(saliency=START), ts, noise=SIGMA)
    grid = dict(kappa=np.linspace(6.0, 12.0, args.runs))

    def by_numpy():
        rng = np.random.default_rng(next(seeds))
        draws = (np.sqrt(STEP) * rng.standard_normal(N) for _ in range(steps))
        return maruyama(plain, draws, STEP, steps // (SAVES - 1))

    def one():
        return hx.simulate(network, start, ts, noise=SIGMA, key=jax.random.key(next(seeds)))

    def many():
        key = jax.random.key(next(seeds))
        return hx.sweep(point, grid, key=key, tile=args.runs, progress=False)["switches"].data

    begin = time.perf_counter()
    found = errors(plain)
    report("noisy errors", **found, seconds=time.perf_counter() - begin)
    times = interleaved(
        {"numpy": by_numpy, "simulate": lambda: one().overlaps, "sweep": many}, args.repeats
    )
    base = times["numpy"]["cpu_s"]
    for name, count in (("numpy", 1), ("simulate", 1), ("sweep", args.runs)):
        each = times[name]["cpu_s"] / count
        scheme = "numpy" if name == "numpy" else "hopfax"
        own = {k.removeprefix(f"{scheme}_"): v for k, v in found.items() if k.startswith(scheme)}
        report("noisy", way=name, runs=count, per_run_s=each, ratio=base / each, **own)
        numbers = f"{each:.4f} s a run, {base / each:5.2f} x NumPy"
        print(f"{name:<10} {numbers}, error {own['error_max']:.1e} (mean {own['error_mean']:.1e})")


if __name__ == "__main__":
    main()
