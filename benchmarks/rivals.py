"""What does a gain sweep cost by exact events, and by everything else?

`python -m benchmarks.rivals [--workload w1] [--tau 50] [--threads 1] [--rivals a,b]`: each rival in
turns with the event-driven method, with the errors of both. Times of a rival that runs only some of
the lanes are scaled to all. Rows that need SciPy or torch are skipped without them: see
`requirements-torch.txt`. Linux.
"""

import argparse
import importlib.util
import os

import jax
import numpy as np

from ._measure import interleaved, report
from ._rivals import EVENT_DRIVEN, RIVALS, Rival, reference
from ._workloads import NAMES, Workload, workload

ERRORS = ("error_median", "error_p90", "error_max")
COLUMNS = "{:<17} {:>5} {:>9} {:>9} {:>9}  {:>8} {:>8} {:>8}  {}"


def pin(threads: int) -> None:
    """Use that many cores; to be called before anything computes."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch").set_num_threads(threads)


def measured(work: Workload, rival: Rival, exact: np.ndarray, base, repeats: int) -> dict:
    """Times of a rival, in turns with the run `base` and as if for all lanes, and its errors."""
    lanes = work.spread(rival.lanes)
    run = rival.prepare(work.at(lanes))
    times = interleaved({"rival": run, "event_driven": base}, repeats)
    own = times["rival"]
    scale = len(work.kappas) / len(lanes)
    error = np.abs(run() - exact[lanes]).max((1, 2))  # of every lane, over its saves
    gate = max(rival.gate, work.gate)
    return {
        "lanes_run": len(lanes),
        **{name: scale * own[name] for name in ("median_s", "min_s", "max_s", "cpu_s")},
        "compile_s": own["warm_up_s"] - own["median_s"],
        "event_driven_cpu_s": times["event_driven"]["cpu_s"],
        "error_median": float(np.median(error)),
        "error_p90": float(np.quantile(error, 0.9)),
        "error_max": float(error.max()),
        "gate": gate,
        "passed": bool(error.max() <= gate),
    }


def verdict(row: dict) -> str:
    """How many times the event-driven time a rival takes, where both errors let that count."""
    if "skipped" in row:
        return row["skipped"]
    if not row["passed"]:
        return f"FAILED: error above {row['gate']:g}"
    if not row["event_driven_passed"]:
        return "no ratio: the event-driven error is above its gate"
    return f"{row['cpu_s'] / row['event_driven_cpu_s']:.1f}"


def table(rows: list[dict]) -> str:
    """All rows for people."""
    header = ("lanes", "wall s", "cpu s", "compile", "median", "p90", "max", "cpu ratio")
    lines = [COLUMNS.format("", *header)]
    for row in rows:
        cells = [row.get("lanes_run", "")]
        cells += [f"{row[k]:.4g}" if k in row else "" for k in ("median_s", "cpu_s", "compile_s")]
        cells += [f"{row[k]:.1e}" if k in row else "" for k in ERRORS]
        lines.append(COLUMNS.format(row["rival"], *cells, verdict(row)))
    return "\n".join(lines)


def main():
    """One JSON line a rival, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=NAMES, default="w1")
    parser.add_argument("--tau", type=float, default=50.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rivals", default=",".join(RIVALS), help="separated by commas")
    given = parser.parse_args()
    names = given.rivals.split(",")
    if unknown := set(names) - set(RIVALS):
        parser.error(f"no such rival: {', '.join(unknown)}; there are {', '.join(RIVALS)}")
    pin(given.threads)
    jax.config.update("jax_enable_x64", True)
    work = workload(given.workload, given.tau)
    exact, base = reference(work), EVENT_DRIVEN.prepare(work)
    setting = {k: getattr(given, k) for k in ("workload", "tau", "threads", "repeats")}
    setting["seed"] = work.seed
    rows = []
    for name, rival in {"event_driven": EVENT_DRIVEN, **{n: RIVALS[n] for n in names}}.items():
        try:
            row = measured(work, rival, exact, base, given.repeats)
        except ImportError as error:
            row = {"skipped": f"skipped: {error.name} is not installed"}
        rows.append({"rival": name, **row})
        rows[-1]["event_driven_passed"] = rows[0]["passed"]
        report("rivals", **setting, **rows[-1])
    print(table(rows))


if __name__ == "__main__":
    main()
