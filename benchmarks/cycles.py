"""Where does the time of an event-driven sweep go? By part, and by how wide a group of lanes is.

`python -m benchmarks.cycles [--points 3072]`. Points are those of workload W1, as close together as
in a sweep of a million, so that lanes hardly wait for each other. The share of a part is that of
the operations whose source is in that file of the engine, as JAX's profiler sees them on one core;
each operation is one call of a kernel, whose start costs some tenths of a microsecond and is a part
of its time.
"""

import argparse
import collections
import re
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np

from hopfax._engines.hopfield import _lanes_last

from ._measure import interleaved, report
from ._workloads import workload
from .sweeps import point

WIDTHS = 32, 64, 128
PARTS = "series", "search", "decide", "advance"  # scopes that the engine names
NO_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": ""}  # which takes over wide sums


def compiled(width: int, total: int, options: dict | None = None):
    """The program of so many points, stepping in groups of so many lanes, and its points."""
    work = workload("w1")
    spacing = (work.kappas[-1] - work.kappas[0]) / 1e6
    kappas = work.kappas[0] + spacing * np.arange(total)
    base = point(work)
    usual, _lanes_last._WIDTH = _lanes_last._WIDTH, width
    jax.clear_caches()
    try:
        program = jax.jit(jax.vmap(lambda kappa: base({"kappa": kappa})["dwell"])).lower(kappas)
        return program.compile(compiler_options=options), kappas
    finally:
        _lanes_last._WIDTH = usual


def sources(text: str) -> dict[str, str]:
    """The part of the engine that an instruction of a program belongs to, the innermost one."""
    pairs = re.findall(r'^\s*(?:ROOT )?%(\S+) = .*op_name="([^"]*)"', text, re.MULTILINE)
    return {
        name: next((word for word in reversed(path.split("/")) if word in PARTS), "the rest")
        for name, path in pairs
    }


def profile(program, kappas) -> tuple[collections.Counter, collections.Counter]:
    """Nanoseconds and calls of every instruction, without those that only contain others."""
    folder = tempfile.mkdtemp()
    try:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(kappas))
        (file,) = Path(folder).rglob("*.xplane.pb")
        time, calls = collections.Counter(), collections.Counter()
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for line in plane.lines:
                for event in line.events:
                    time[event.name] += event.duration_ns
                    calls[event.name] += 1
        return time, calls
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3072)
    options = parser.parse_args()
    programs = {f"{width} lanes": compiled(width, options.points) for width in WIDTHS}
    wide = compiled(WIDTHS[-1], options.points, NO_LIBRARY)
    programs[f"{WIDTHS[-1]} lanes, sums not by a library"] = wide
    runs = {name: (lambda p=program, k=at: p(k)) for name, (program, at) in programs.items()}
    usual = np.asarray(runs["64 lanes"]())
    for name, row in interleaved(runs).items():
        error = float(np.abs(np.asarray(runs[name]()) - usual).max())
        each = 1e6 * row["cpu_s"] / options.points
        report("width", groups=name, us_a_run=round(each, 1), difference=error)

    program, kappas = programs["64 lanes"]
    parts, names = collections.Counter(), sources(program.as_text())
    time, calls = profile(program, kappas)
    for name, spent in time.items():
        if name in names and not name.startswith(("while", "call", "conditional", "cond")):
            parts[names[name]] += spent
    for name, spent in parts.most_common():
        number = sum(calls[k] for k in time if names.get(k) == name)
        report("part", part=name, share=round(spent / parts.total(), 3), calls=number)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
