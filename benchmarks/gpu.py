"""Is hopfax right on a GPU, and how fast? One command: checks against the CPU, then a table.

`python -m benchmarks.gpu [--small] [--only checks,table,gradient,dense,store] [--minutes 9]`

It says first which device it runs on, and does the same on a CPU, `--small` in seconds. What is
compared is computed in the same process on `jax.devices("cpu")` (leave JAX_PLATFORMS unset, or name
both: "cuda,cpu"). Parts that no longer fit into the minutes are listed as left out. The exit status
is 1 if a check has failed.
"""

import argparse
import functools
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ._measure import report
from ._workloads import workload
from .batch import TOLERANCES, final
from .dense import fields, matmul_rate
from .sweeps import gains, point

PARTS = ("checks", "table", "gradient", "dense", "store")
CHECKED = 64  # gains at which a device is compared with the CPU
#: The largest median difference from the reference, by precision and method. By events it is that
#: of rounding, by diffrax that of the tolerance.
GATES = {
    ("float64", "event-driven"): 1e-9,
    ("float64", "diffrax"): 1e-6,
    ("float32", "event-driven"): 1e-5,
    ("float32", "diffrax"): 1e-3,
}
_LONG = 10.0  # seconds of a run from which on it is not repeated


class Sizes(NamedTuple):
    """How much is computed."""

    batches: tuple[int, ...]
    gradient: int  # lanes
    dense: tuple[int, int, int]  # neurons, patterns, states
    store: int  # points
    square: int  # side of the product that shows the device's rate


FULL = Sizes(tuple(10**k for k in range(2, 7)), 10**4, (4096, 2**18, 128), 10**6, 8192)
SMALL = Sizes((CHECKED,), CHECKED, (64, 512, 4), 300, 256)


class Session:
    """The clock of a session, and what has failed or was left out."""

    def __init__(self, minutes: float):
        self.end = time.perf_counter() + 60 * minutes
        self.failed: list[str] = []
        self.left_out: list[str] = []

    def has_time(self, name: str, seconds: float = 0.0) -> bool:
        """Whether a part that takes about so long still fits; else it is noted as left out."""
        fits = time.perf_counter() + seconds < self.end
        if not fits:
            self.left_out.append(name)
        return fits

    def check(self, name: str, passed: bool, **row) -> None:
        """Say how a check went."""
        passed = bool(passed)
        report("gpu check", check=name, passed=passed, **row)
        print(f"{'passed' if passed else 'FAILED':<7} {name}", flush=True)
        if not passed:
            self.failed.append(name)


def timed(run) -> tuple[float, float]:
    """Seconds of the first call, with compilation, and the median of what follows (one call if that
    is long)."""
    begin = time.perf_counter()
    jax.block_until_ready(run())
    first, times = time.perf_counter() - begin, []
    while len(times) < 3 and sum(times) < _LONG:
        begin = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - begin)
    return first, float(np.median(times))


def methods(precision: str) -> dict:
    """By events and by diffrax, at the tolerances of that precision."""
    exact, tol = TOLERANCES[precision]
    control = diffrax.PIDController(rtol=tol, atol=tol, pcoeff=0.3, icoeff=0.4)
    return {
        "event-driven": hx.EventDriven(order=12, tol=exact),
        "diffrax": hx.Diffrax(controller=control),
    }


@functools.cache
def program(precision: str, name: str):
    """Final saliencies of W1 over given gains, compiled once for each number of them."""
    return jax.jit(partial(final, workload("w1"), methods(precision)[name]))


def on_cpu(function, *given):
    """The value of a function on the CPU of this process, as NumPy arrays."""
    with jax.default_device(jax.devices("cpu")[0]):
        given = jax.tree.map(np.asarray, given)  # nothing stays on the other device
        return jax.tree.map(np.asarray, jax.jit(function)(*given))


def checks(session: Session, _: Sizes) -> None:
    """Final saliencies of W1 at some gains against an exact run on the CPU; the same bits twice."""
    work = workload("w1")
    kappas = gains(work, CHECKED)
    exact = on_cpu(partial(final, work, hx.EventDriven(order=24, tol=1e-14)), kappas)
    for (precision, name), gate in GATES.items():
        run, given = program(precision, name), kappas.astype(precision)
        found, again = np.asarray(run(given)), np.asarray(run(given))
        error = np.abs(found - exact).max(1)
        row = {"median": float(np.median(error)), "largest": float(error.max()), "gate": gate}
        label = f"{name}, {precision}"
        session.check(f"{label}: as on the CPU", np.median(error) < gate, **row)
        session.check(f"{label}: the same bits twice", np.array_equal(found, again))


def table(session: Session, sizes: Sizes) -> None:
    """Points a second against the size of a batch."""
    work = workload("w1")
    print(f"{'points':>9}  {'precision':<9}  {'method':<12}  {'first call':>10}  points/s")
    for precision in TOLERANCES:
        for name in methods(precision):
            seconds = 0.0
            for size in sizes.batches:
                label = f"{size} points, {name}, {precision}"
                if not session.has_time(label, 4 * seconds):
                    continue
                kappas = gains(work, size).astype(precision)
                first, seconds = timed(partial(program(precision, name), kappas))
                row = {"size": size, "precision": precision, "method": name}
                report("gpu table", **row, a_second=size / seconds, first_s=first, median_s=seconds)
                speed = f"{first:>9.1f} s  {size / seconds:.3g}"
                print(f"{size:>9}  {precision:<9}  {name:<12}  {speed}", flush=True)


def gradient(session: Session, sizes: Sizes) -> None:
    """Derivatives of final saliencies by the gains in reverse mode, against forward mode on the
    CPU, and their time over that of the runs."""
    work, size = workload("w1"), sizes.gradient
    method = methods("float64")["event-driven"]
    kappas = gains(work, size)

    def total(kappas):
        return final(work, method, kappas).sum()

    def slopes(kappas):
        ones = jnp.ones_like(kappas)
        return jax.jvp(partial(final, work, method), (kappas,), (ones,))[1].sum(1)

    some = np.linspace(0, size - 1, min(size, CHECKED)).astype(int)
    exact = on_cpu(slopes, kappas[some])
    runs, back = program("float64", "event-driven"), jax.jit(jax.grad(total))
    run_s, back_s = timed(partial(runs, kappas))[1], timed(partial(back, kappas))[1]
    error = np.abs(np.asarray(back(kappas))[some] - exact) / (1 + np.abs(exact))
    row = {"size": size, "over_run": back_s / run_s, "run_s": run_s, "gradient_s": back_s}
    session.check("gradient: as on the CPU", np.median(error) < 1e-6, largest=error.max(), **row)
    print(f"gradient of {size} runs: {back_s / run_s:.2f} times the runs", flush=True)


def bandwidth() -> float:
    """Bytes a second that a copy reads and writes."""
    size = 2**28 if jax.default_backend() != "cpu" else 2**22
    copy = jax.jit(lambda x: x + 1)
    x = jnp.zeros(size, jnp.float32)
    return 2 * x.nbytes / timed(lambda: copy(x))[1]


def dense(session: Session, sizes: Sizes) -> None:
    """One update of a batch of states, n = 3, against the floor: 4 M N B operations at the rate of
    a square product (bfloat16 on a GPU), or all patterns read once."""
    N, M, B = sizes.dense
    made = hx.GeneratedPatterns(jr.key(0), M, N)
    cpu = jax.default_backend() == "cpu"
    product, operations = matmul_rate(sizes.square, jnp.float32 if cpu else jnp.bfloat16)
    rate, speed = operations / timed(product)[1], bandwidth()
    states = jax.vmap(lambda key: made.corrupt(key, 0, N // 5))(jr.split(jr.key(1), B))
    xi, h = np.asarray(made.rows(0, M), float), np.asarray(states[:2], float)
    X = xi @ h.T  # whole numbers, exact in float64
    exact = ((xi.T @ (X**2 + 1)) - h.T * (2 * X).sum(0)).T
    sources = {
        "stored": lambda: hx.Patterns(jnp.asarray(xi, jnp.float32), check_patterns=False),
        "packed": lambda: hx.patterns.pack(made),
        "made anew": lambda: made,
    }
    for name, source in sources.items():
        if not session.has_time(f"dense, {name}"):
            continue
        patterns = source()
        network = hx.DenseMemory(patterns, hx.Power(3))
        seconds = timed(partial(fields, network, states))[1]
        found = np.asarray(fields(network, states))[:2] * float(N) ** 2
        error = float(np.abs(found - exact).max() / exact.std())
        kept = sum(leaf.nbytes for leaf in jax.tree.leaves(patterns))
        floor = max(4 * M * N * B / rate, kept / speed)
        row = {"N": N, "M": M, "B": B, "median_s": seconds, "over_floor": seconds / floor}
        row |= {"product_Tflops": rate / 1e12, "copy_GB_a_second": speed / 1e9, "error": error}
        session.check(f"dense update, {name}: as in float64", error < 1e-4, **row)
        print(f"dense update, {name}: {seconds:.3g} s, {seconds / floor:.2f} floors", flush=True)


def store(session: Session, sizes: Sizes) -> None:
    """All points through a store, some of them against the CPU, and the bits of a second sweep in
    other blocks."""
    work, total = workload("w1"), sizes.store
    grid = {"kappa": gains(work, total)}
    options = dict(progress=False, on_failure="ignore")
    with tempfile.TemporaryDirectory() as folder:

        def swept(name, **more):
            begin = time.perf_counter()
            ds = hx.sweep(point(work), grid, store=Path(folder) / name, **options, **more)
            return ds.dwell.values, time.perf_counter() - begin

        found, first = swept("first")
        again, second = swept("again", chunk=max(total // 3, 1))
    some = np.linspace(0, total - 1, min(CHECKED, total)).astype(int)
    base = point(work)
    exact = on_cpu(jax.vmap(lambda kappa: base({"kappa": kappa})["dwell"]), grid["kappa"][some])
    error = np.nanmedian(np.abs(found[some] - exact))
    row = {"points": total, "first_s": first, "second_s": second, "a_second": total / second}
    session.check("store: as on the CPU", error < 1e-6, median=float(error), **row)
    same = np.array_equal(found, again, equal_nan=True)
    session.check("store: the same bits in other blocks", same)
    print(f"{total} points through the store: {total / second:.3g}/s", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Say what it runs on, do the parts, list what failed or was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for a CPU, in seconds")
    parser.add_argument("--only", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--minutes", type=float, default=9.0, help="that it may take")
    given = parser.parse_args(arguments)
    if unknown := set(given.only.split(",")) - set(PARTS):
        parser.error(f"--only: {sorted(unknown)} are none of {', '.join(PARTS)}")
    jax.config.update("jax_enable_x64", True)
    device, sizes = jax.devices()[0], SMALL if given.small else FULL
    print(f"This runs on {device.platform}: {device.device_kind}, with JAX {jax.__version__}.")
    if device.platform == "cpu":
        print("There is no GPU here: these are the figures of a CPU.")
    session = Session(given.minutes)
    parts = {f.__name__: f for f in (checks, table, gradient, dense, store)}
    # What is longest comes last, so that a check is not what is left out.
    for name in ("checks", "dense", "gradient", "store", "table"):
        if name in given.only.split(",") and session.has_time(name):
            try:
                parts[name](session, sizes)
            except Exception as error:  # the other parts are still worth their figures
                traceback.print_exc()
                session.failed.append(f"{name} ({type(error).__name__})")
    for what, names in (("failed", session.failed), ("left out", session.left_out)):
        if names:
            print(f"{what}: {'; '.join(names)}")
    return 1 if session.failed else 0


if __name__ == "__main__":
    sys.exit(main())
