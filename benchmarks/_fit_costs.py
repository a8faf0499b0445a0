"""What it costs to fit a sequence: `python -m benchmarks.fitting --only cost`.

- `shell`: five rows of switch times by the command `hopfax fit`, with an empty cache of compiled
  programs (cold) and with a full one (warm).
- `sequence`: `hx.fit_sequence` on noisy switch times of a cycle that is given as a long log, from
  no matrix; `python -m benchmarks._fit_costs KIND` is one of them. Its gains are compared with the
  truth in their own standard errors.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import jax
import numpy as np

import hopfax as hx

from ._measure import report

ROWS = "time,memory\n0,0\n31,1\n60,2\n93,3\n122,\n"
TIMES = (31.0, 60.0, 93.0, 122.0)
TAU = 50.0
NOISE = 0.5  # of switch times, in fast time constants
#: Memories, neurons and events of each sequence.
SEQUENCES = {"events": (6, 1024, 200), "P12": (12, 16, 48), "P16": (16, 32, 64)}


def shell(environment: dict[str, str]) -> None:
    """One row cold and one warm."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "rows.csv").write_text(ROWS)
        cached = environment | {"XDG_CACHE_HOME": str(place / "cache")}
        for kind in ("cold", "warm"):
            model = place / f"{kind}.eqx"
            command = [sys.executable, "-m", "hopfax", "fit", "rows.csv", "--out", str(model)]
            begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, env=cached, cwd=place, capture_output=True, check=True)
            seconds, after = time.perf_counter() - begin, _processor(before)
            wrong = _missed(model)
            row = {"process_s": seconds, "processor_s": after, "error_times": wrong}
            report("fitting", part="cost", kind=f"shell, {kind}", **row)
            print(
                f"hopfax fit on five rows, {kind}: {seconds:.1f} s ({after:.1f} s of processors), "
                f"times within {wrong:.1e} of a dwell"
            )


def _processor(before: resource.struct_rusage) -> float:
    """Seconds of processors that processes which have ended took since."""
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime


def _missed(model: pathlib.Path) -> float:
    """The largest error of the times of a model's own run, in mean dwells."""
    from hopfax._serialise import notes

    network, found = hx.load(model), notes(model)
    dwell = TIMES[-1] / len(TIMES) * found["unit"]
    state = network.init(saliency=np.array(found["saliency0"]))
    ts = np.array([0.0, 1.2 * TIMES[-1] * found["unit"]])
    run = hx.simulate(network, state, ts, throw=False)
    times = np.asarray(hx.observables.switch_times(run))[: len(TIMES)]
    if len(times) < len(TIMES):
        return float("inf")
    return float(np.abs(times - np.array(TIMES) * found["unit"]).max() / dwell)


def sequence(environment: dict[str, str], kind: str) -> None:
    """One row, of a fresh process without a cache."""
    command = [sys.executable, "-m", "benchmarks._fit_costs", kind]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1]) | {"process_processor_s": _processor(before)}
    report("fitting", part="cost", kind=kind, **row)
    print(
        f"{row['events']} events of a cycle of {row['P']}, noise {NOISE}: {row['fit_s']:.1f} s "
        f"({row['processor_s']:.1f} s of processors), reproduced: {row['reproduced']}, "
        f"{row['ending']}, {row['parameters']} numbers, {row['undetermined']} undetermined; times "
        f"of the truth within {row['error_times']:.2f}, gains of the cycle within "
        f"{row['error_gains']:.2g}, at most {row['pull']:.1f} standard errors"
    )


def fitted(kind: str) -> dict:
    """One of those fits, timed from its call to its result, and how wrong that is."""
    P, N, count = SEQUENCES[kind]
    patterns = hx.patterns.hadamard(list(range(1, P + 1)) if N < 64 else P, N)
    cycle = np.asarray(hx.cyclic(P))
    true = hx.TwoTimescaleHopfield(patterns, cycle, kappa=5.0, tau=TAU, bias=0.01)
    times = _switches(true, 4.0 * np.eye(P)[0], count)
    seen = times + NOISE * np.random.default_rng(0).normal(size=count)
    events = hx.Events(np.arange(count) % P, np.append(0.0, seen[:-1]), end=seen[-1])
    blank = hx.TwoTimescaleHopfield(patterns, np.zeros((P, P)), kappa=5.0, tau=TAU, bias=0.01)
    begin, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        found = hx.fit_sequence(blank, events, sigma=NOISE, progress=False)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    gains = np.asarray(found.network.kappa * found.network.transition)
    own = _switches(found.network, found.saliency[0], count)
    fit = found.fit
    pulls = []
    if fit is not None and fit.stderr is not None:
        for label, value, error in zip(fit.labels, fit.values, fit.stderr, strict=True):
            if label.startswith("transition["):
                entry = tuple(int(k) for k in label[len("transition[") : -1].split(","))
                pulls.append(abs(float(value) - cycle[entry]) / float(error))
    return {
        "P": P,
        "events": count,
        "fit_s": seconds,
        "processor_s": busy,
        "reproduced": found.reproduced,
        "ending": "" if fit is None else fit.ending,
        "parameters": 0 if fit is None else len(fit.labels),
        "undetermined": -1 if fit is None else int(np.isinf(np.asarray(fit.stderr)).sum()),
        "error_times": float(np.abs(own - times).max()) if len(own) == count else float("inf"),
        "error_gains": float(np.abs(gains - 5 * cycle)[cycle > 0].max()),
        "pull": max(pulls, default=float("nan")),
    }


def _switches(network, saliency, count: int) -> np.ndarray:
    """When the network switches at first."""
    ts = np.array([0.0, 2.5 * TAU * (count + 1)])
    method = hx.EventDriven(switches=4 * count)
    run = hx.simulate(network, network.init(saliency=saliency), ts, method=method, throw=False)
    return np.asarray(hx.observables.switch_times(run))[:count]


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps(fitted(sys.argv[1])))
