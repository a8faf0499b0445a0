"""Does one process survive any number of shapes, and what does looking after that cost?

`python -m benchmarks.shapes [--shapes 300]`: that many runs of one network, each with another
number of save times and so with a program of its own, in one process. Reported every 25 shapes: the
memory maps of the process, its memory, and how many programs it has compiled. At the end: the time
of a call of `hopfax._programs.tidy` and of a compiled function with and without it. Compilation
takes about 6 s a shape on one core; `XLA_FLAGS=--xla_backend_optimization_level=0` makes it 2.
"""

import argparse
import timeit
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp

import hopfax as hx
from hopfax import _programs

from ._measure import report


def _state() -> dict[str, int]:
    maps, compiled = _programs._maps(), _programs._Kept.compiled
    return {"maps": maps, "memory_MB": _programs._memory() // 10**6, "programs": compiled}


def shapes(number: int) -> None:
    """One run for each of so many shapes; the greatest numbers of maps and megabytes seen."""
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start, most = network.init(saliency=[4.0, 0.0, 0.0, 0.0]), _state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(number):
            hx.simulate(network, start, jnp.linspace(0.0, 100.0, 2 + k))
            now = _state()
            most = {name: max(most[name], now[name]) for name in now}
            if (k + 1) % 25 == 0:
                report("shapes", shapes=k + 1, **now)
    said = [str(w.message) for w in caught if w.category is RuntimeWarning]
    report("shapes at most", shapes=number, **most, limit=_programs._limit(), warnings=said)


def overhead() -> None:
    """Microseconds of a call: of a look, and of a small compiled function, plain and with it."""

    def double(x):
        return 2 * x

    x, plain, looking = jnp.ones(4), eqx.filter_jit(double), _programs.jitted(double)
    runs = {"look": _programs.tidy, "plain": lambda: plain(x), "looking": lambda: looking(x)}
    for run in runs.values():
        run()
    turns = {name: [] for name in runs}
    for _ in range(15):
        for name, run in runs.items():
            turns[name].append(timeit.timeit(run, number=2000) / 2000)
    report("overhead", **{f"{name}_us": 1e6 * min(times) for name, times in turns.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=300)
    number = parser.parse_args().shapes
    jax.config.update("jax_enable_x64", True)
    overhead()
    shapes(number)


if __name__ == "__main__":
    main()
