"""How long until the first result, with no compiled program kept and with all of them kept?

`python -m benchmarks.startup`: every number is of fresh processes. Cold is with an empty folder of
compiled programs, warm is the next process with the same folder; `compile_s` is what a first call
takes more than a second one in its process: tracing, and compiling or reading what was kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

import hopfax as hx
from hopfax.cli._console import number, table

from ._measure import report

DERIVATIVE = 3.0920043446  # of the second switch, at EventDriven(order=24, tol=1e-14)
CALLS = ("forward", "reverse", "diffrax")
COMMANDS = {
    "import": [sys.executable, "-c", "import hopfax"],
    "help": [sys.executable, "-m", "hopfax", "--help"],
    "doctor": [sys.executable, "-m", "hopfax", "doctor"],
    "sweep": [sys.executable, "-m", "hopfax", "sweep"],
}


def second_switch(kappa, activation=hx.HardTanh(), derivative="reverse"):
    """Time of the second switch of four memories at tau = 20."""
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 1024),
        hx.cyclic(4),
        kappa=kappa,
        tau=20.0,
        bias=0.01,
        activation=activation,
    )
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = jnp.array([0.0, 80.0])
    return hx.simulate(network, start, ts, derivative=derivative).switches.time[1]


def call(name: str) -> dict[str, float]:
    """First and second call in this process, and the error of the value."""
    calls: dict[str, Callable] = {
        "forward": lambda kappa: second_switch(kappa, derivative="forward"),
        "reverse": jax.grad(second_switch),
        "diffrax": lambda kappa: second_switch(kappa, hx.Tanh(), "forward"),
    }
    jax.config.update("jax_enable_x64", True)
    with hx.compilation_cache():
        kappa = jnp.asarray(5.0)
        values, times = [], []
        for _ in range(2):
            begin = time.perf_counter()
            values.append(float(calls[name](kappa)))
            times.append(time.perf_counter() - begin)
    assert values[0] == values[1]
    row = {"first_s": times[0], "second_s": times[1], "compile_s": times[0] - times[1]}
    return row | ({"error": abs(values[0] - DERIVATIVE)} if name == "reverse" else {})


def process(command: list[str], folder: str) -> tuple[float, str]:
    """Seconds that a process takes in `folder`, where it also keeps programs; what it printed."""
    apart = ("JAX_COMPILATION_CACHE_DIR", "EQX_ON_ERROR")
    environment = {name: value for name, value in os.environ.items() if name not in apart}
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [root, *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {"XDG_CACHE_HOME": folder, "PYTHONPATH": os.pathsep.join(paths)}
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - begin, done.stdout


def once() -> dict[tuple[str, str], dict[str, float]]:
    """Every measurement once, each pair of cold and warm in a folder of its own."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "warm") if name == "sweep" else ("any",):
                again = ["--overwrite"] * (state == "warm")
                rows[name, state] = {"total_s": process(command + again, folder)[0]}
    for name in CALLS:
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "warm"):
                command = [sys.executable, "-m", "benchmarks.startup", "--call", name]
                total, printed = process(command, folder)
                rows[name, state] = {"total_s": total} | json.loads(printed)
    error = rows["reverse", "cold"]["error"]
    assert error < 1e-7, f"the derivative is off by {error}"  # right first, then fast
    return rows


def main():
    """JSON lines, then a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--call", choices=CALLS)
    options = parser.parse_args()
    if options.call is not None:
        print(json.dumps(call(options.call)))
        return
    process(COMMANDS["import"], tempfile.gettempdir())  # reads the files into the page cache
    runs = [once() for _ in range(options.repeats)]
    rows = []
    for name, state in runs[0]:
        found = {
            key: statistics.median(run[name, state][key] for run in runs)
            for key in runs[0][name, state]
        }
        report("startup", what=name, programs=state, repeats=options.repeats, **found)
        columns = [found.get(key, float("nan")) for key in ("total_s", "first_s", "compile_s")]
        rows.append((name, state, *(number(value, 2) for value in columns)))
    print(table(("what", "programs", "process s", "first call s", "compile s"), rows))


if __name__ == "__main__":
    main()
