"""How large is an installation, and how long does its import take?

`python -m benchmarks.install`: the packages that hopfax and each of its extras need, as they are
installed here, by the sizes of their files without compiled bytecode; then the processor time of
imports, each in fresh processes.
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable

from packaging.requirements import Requirement

from ._measure import report

EXTRAS = ("io", "plot", "cli", "data", "web", "dask", "flax")
IMPORTS = ("pass", "import jax", "import diffrax, optimistix, optax", "import hopfax")


def needed(extra: str) -> set[str]:
    """Names of the packages that hopfax needs with an extra ("" for none), itself included."""
    found: set[str] = set()
    waiting = [("hopfax", ("", extra))]
    while waiting:
        name, extras = waiting.pop()
        for text in importlib.metadata.requires(name) or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras):
                if one.name not in found and installed(one.name):
                    waiting.append((one.name, ("", *one.extras)))
                    found.add(one.name)
    return found | {"hopfax"}


def installed(name: str) -> bool:
    """Whether there is such a package here."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def size(names: Iterable[str]) -> float:
    """Size of the files of some packages in MiB, without bytecode."""
    total = 0
    for name in names:
        for file in importlib.metadata.files(name) or ():
            path = file.locate()
            if file.suffix != ".pyc" and os.path.isfile(path):
                total += os.path.getsize(path)
    return total / 2**20


def seconds(statement: str) -> float:
    """Processor time of a fresh process that executes a statement."""
    code = f"import os\n{statement}\nt = os.times()\nprint(t.user + t.system)"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def main():
    """JSON lines: sizes, then times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    core = needed("")
    jax = {"jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum"} & {
        name.replace("-", "_") for name in core
    }
    report("install", what="hopfax", MiB=size(["hopfax"]), packages=1)
    report("install", what="JAX, NumPy and SciPy", MiB=size(jax), packages=len(jax))
    report("install", what="core", MiB=size(core), packages=len(core))
    for extra in EXTRAS:
        more = needed(extra) - core
        report("install", what=f"with {extra}, more", MiB=size(more), packages=len(more))
    together = set[str]().union(
        core, *(needed(extra) for extra in ("io", "plot", "cli", "data", "web"))
    )
    report("install", what="all", MiB=size(together), packages=len(together))
    for statement in IMPORTS:
        seconds(statement)  # writes bytecode, reads files
    for statement in IMPORTS:
        times = [seconds(statement) for _ in range(repeats)]
        report("install", what=statement, fastest_s=min(times), median_s=statistics.median(times))


if __name__ == "__main__":
    main()
