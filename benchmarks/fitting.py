"""Does a fit find what it should, and what does it cost?

`python -m benchmarks.fitting [--only success,cost,...] [--seeds 100] [--rivals a,b]
[--minima a,b]`, in float64:

- success: how often is the order of a random cycle learnt, and in what time? (Most of the time.)
- cost: what a fit costs, each in a process of its own, with its error: gain and transition matrix
  from five periods of switch times, and `_fit_costs`.
- gradient: a reverse-mode gradient of switch times over the run alone, and its error.
- minima: how often is the global minimum found from starts within 30 %? (A row for each truth.)
- batch: many fits side by side over the same in a loop.
- rivals: the same fit by hopfax, diffrax with optax, and torchdiffeq (`requirements-torch.txt`).

What is printed first is timed with the compilation, all else without, unless it says otherwise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from . import _fit_costs, _fit_minima, _fit_rivals
from ._measure import interleaved, report
from ._workloads import BIAS

TAU = 20.0
EXACT = hx.EventDriven(order=24, tol=1e-14)
FITS = 256  # in a batch
NOISE = 0.5  # of its switch times, in fast time constants
PERIODS = 5  # of which the switch times are known in `cost`
CUT = 20  # steps of `cost`'s fits that have no minimum at finite parameters
LONGEST = 2.5  # of a dwell, in slow time constants


def network(patterns, transition, kappa) -> hx.TwoTimescaleHopfield:
    """A network of all parts here."""
    return hx.TwoTimescaleHopfield(patterns, transition, kappa=kappa, tau=TAU, bias=BIAS)


def memories(P: int) -> hx.patterns.Patterns:
    """Rows 1 to P of the smallest Hadamard matrix that has them, of at least 16 neurons."""
    return hx.patterns.hadamard(list(range(1, P + 1)), max(16, 1 << P.bit_length()))


def start(P: int) -> jax.Array:
    """Saliencies of a start in memory 0."""
    return 4.0 * jnp.eye(P)[0]


def following(P: int, rounds: int) -> np.ndarray:
    """The memories that the switches of so many rounds of the cyclic order lead to."""
    return np.tile(np.roll(np.arange(P), -1), rounds)


def switches(given, rounds: int, method="auto") -> np.ndarray:
    """When the cyclic network switches in so many rounds, from a start in memory 0."""
    P = given.patterns.P
    ts = np.array([0.0, LONGEST * TAU * (P * rounds + 1)])
    state = given.init(saliency=start(P))
    run = hx.simulate(given, state, ts, method=method, max_steps=None, throw=False)
    return np.asarray(hx.observables.switch_times(run))[: P * rounds]


def shows(fitted, saliency, order, method="auto", rounds: int = 2) -> bool:
    """Whether a simulation passes the memories of a cycle in order, so many times."""
    count = rounds * len(order)
    ts = np.array([0.0, LONGEST * TAU * (count + 1)])
    state = fitted.init(saliency=saliency)
    run = hx.simulate(fitted, state, ts, method=method, max_steps=None, throw=False)
    wanted = np.append(np.tile(order, rounds), order[0])
    return np.array_equal(hx.observables.visited(run)[: len(wanted)], wanted)


# success


def success(given) -> None:
    """One row for every number of memories and strategy."""
    fewer, few = max(given.seeds // 5, 1), max(given.seeds // 10, 1)
    for P in (4, 8, 16, 32):
        learnt(P, "auto", given.seeds)
        learnt(P, "gradient", given.seeds if P < 16 else fewer)
    learnt(64, "design", few)


def learnt(P: int, strategy: str, seeds: int) -> None:
    """Orders of so many seeds."""
    patterns, rows = memories(P), []
    check = hx.Diffrax(switches=8 * P)  # other than what proves the fit
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(P)
        matrix = jnp.zeros((P, P))
        if strategy == "gradient":
            matrix = jax.nn.softmax(jax.random.normal(jax.random.key(seed), (P, P)), axis=0)
        blank = network(patterns, matrix, 6.0)
        begin = time.perf_counter()
        found = quiet(hx.fit_sequence, blank, order.tolist(), strategy=strategy, progress=False)
        seconds = time.perf_counter() - begin
        parts = (found.network.transition, found.saliency)
        finite = all(bool(jnp.isfinite(part).all()) for part in parts)
        replayed = finite and shows(found.network, found.saliency[0], order, check)
        rows.append((seconds, found.reproduced, replayed, finite))
    times, proved, replayed, finite = zip(*rows, strict=True)
    right = [a and b for a, b in zip(proved, replayed, strict=True)]
    row = {
        "success": statistics.mean(right),
        "reproduced": statistics.mean(proved),
        "replayed": statistics.mean(replayed),
        "nonfinite": finite.count(False),
        "first_s": times[0],
        "median_s": statistics.median(times[1:] or times),
        "max_s": max(times[1:] or times),
    }
    report("fitting", part="success", P=P, strategy=strategy, seeds=seeds, **row)
    print(
        f"{P:>3} {strategy:<8} {sum(right)}/{seeds} learnt, {row['median_s']:.3f} s "
        f"(first {row['first_s']:.1f} s), not finite {row['nonfinite']}"
    )


# cost

SIZES = {
    "span": (lambda: memories(8), "8 memories of 16 neurons"),
    "classes": (lambda: hx.patterns.hadamard(8, 256), "8 memories of 256 neurons, 128 classes"),
}
COSTS = {
    "edges": "kappa and the 8 edges of the cycle",
    "simplex": f"kappa and 64 entries, columns sum to one, {CUT} steps",
    "matrix": f"kappa and 64 entries, {CUT} steps",
    "sequence": "hx.fit_sequence: the matrix, from zero",
}


def cost(given) -> None:
    """Every fit in a fresh process, without a cache of compiled programs."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    _fit_costs.shell(environment)
    for kind in _fit_costs.SEQUENCES:
        _fit_costs.sequence(environment, kind)
    for size, (_, text) in SIZES.items():
        print(f"{text}:")
        for kind, what in COSTS.items():
            command = [sys.executable, "-m", "benchmarks.fitting", "--cost", size, kind]
            begin = time.perf_counter()
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            row = json.loads(done.stdout.splitlines()[-1])
            row["process_s"] = time.perf_counter() - begin
            report("fitting", part="cost", size=size, kind=kind, **row)
            print(
                f"  {what}: {row['fit_s']:.1f} s ({row['process_s']:.1f} s with import and data), "
                f"{row['steps']} steps, {row['ending']}, times within {row['error_times']:.1e}, "
                f"gains of the cycle within {row['error_edges']:.1e}, all within "
                f"{row['error_gains']:.1e}, kappa {row['kappa']:.4f}, "
                f"{row['undetermined']} undetermined"
            )


def fitted_once(size: str, kind: str) -> dict:
    """One of those fits, timed from its call to its result, and how wrong that is."""
    patterns, cycle = SIZES[size][0](), np.asarray(hx.cyclic(8))
    tight = EXACT if size == "span" else hx.EventDriven(tol=1e-12)
    true = network(patterns, jnp.asarray(cycle), 5.0)
    times = switches(true, PERIODS, tight)
    begin = time.perf_counter()
    if kind == "sequence":
        blank = network(patterns, jnp.zeros((8, 8)), 5.0)
        events = hx.Events(
            np.tile(np.arange(8), PERIODS), np.append(0.0, times[:-1]), end=times[-1]
        )
        sequence = quiet(hx.fit_sequence, blank, events, saliency=start(8), progress=False)
        model, result = sequence.network, sequence.fit
    else:
        result = quiet(hx.fit, *guess(patterns, cycle, times, kind), **settings(cycle, kind))
        model = result.model
    seconds = time.perf_counter() - begin
    gains = np.asarray(model.kappa * model.transition)
    found = switches(model, PERIODS, tight)
    late = np.abs(found - times[: len(found)]).max() if len(found) == len(times) else np.inf
    return {
        "fit_s": seconds,
        "parameters": len(result.labels),
        "residuals": len(times),
        "steps": int(result.steps),
        "ending": result.ending,
        "loss": float(result.loss),
        "error_times": float(late),
        "error_edges": float(np.abs(gains - 5 * cycle)[cycle > 0].max()),
        "error_gains": float(np.abs(gains - 5 * cycle).max()),
        "kappa": float(model.kappa),
        "undetermined": int(result.undetermined.sum()),
    }


def guess(patterns, cycle, times, kind: str):
    """Where a fit begins, with all gains of the cycle a third too large, and its loss."""
    matrix = 0.8 * cycle if kind == "edges" else 0.8 * cycle + 0.2 / 8
    loss = hx.losses.switch_times(times, init=dict(saliency=start(8)), order=following(8, PERIODS))
    return network(patterns, jnp.asarray(matrix), 8.0), loss


def settings(cycle, kind: str) -> dict:
    """What is fitted and how long."""
    both = dict(where=lambda net: (net.kappa, net.transition), progress=False)
    if kind == "edges":
        return both | dict(constraint=(None, hx.constraints.Masked(cycle > 0)))
    if kind == "simplex":
        return both | dict(constraint=(None, hx.constraints.Simplex()), steps=CUT)
    return both | dict(steps=CUT)


# gradient


def gradient(given) -> None:
    """One period of switch times, differentiated in the gain, the matrix and the biases."""
    for P in (4, 8, 16):
        patterns, cycle = memories(P), hx.cyclic(P)
        times = switches(network(patterns, cycle, 5.0), 1)
        parameters = (jnp.asarray(6.0), 0.9 * cycle + 0.1 / P, jnp.full(P, BIAS))
        programs = {
            name: losses(patterns, times, method)
            for name, method in (("auto", "auto"), ("exact", EXACT))
        }
        forward, reverse = (jax.jit(f) for f in (programs["auto"], jax.grad(programs["auto"])))
        runs = {
            "forward": lambda run=forward, at=parameters: run(at),
            "reverse": lambda run=reverse, at=parameters: run(at),
        }
        spent = interleaved(runs, 21)
        wrong = {
            f"error_{name}": error_along(f, programs["exact"], parameters)
            for name, f in programs.items()
        }
        own, base = spent["reverse"]["median_s"], spent["forward"]["median_s"]
        row = {"forward_s": base, **spent["reverse"], "ratio": own / base, **wrong}
        report("fitting", part="gradient", P=P, switches=P, **row)
        print(
            f"{P:>3} memories: run {1e3 * base:.3g} ms, gradient {1e3 * own:.3g} ms, "
            f"{own / base:.2f} x, error {wrong['error_auto']:.1e} "
            f"(tight {wrong['error_exact']:.1e})"
        )


def losses(patterns, times, method):
    """The loss of (kappa, transition, bias) by a method."""
    P = patterns.P
    loss = hx.losses.switch_times(
        times, init=dict(saliency=start(P)), order=following(P, 1), method=method
    )

    def number(parameters):
        kappa, transition, bias = parameters
        own = hx.TwoTimescaleHopfield(patterns, transition, kappa=kappa, tau=TAU, bias=bias)
        return hx.losses.value(loss(own, derivative="reverse"))

    return number


def error_along(function, exact, parameters) -> float:
    """The relative error of a gradient along a random direction, against sixth-order differences of
    the exact loss."""
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    # Of the size of each parameter: biases are small.
    along = [
        jnp.abs(leaf).mean() * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    slope = jax.jit(jax.grad(function))(parameters)
    found = sum(float(jnp.vdot(a, s)) for a, s in zip(along, jax.tree.leaves(slope), strict=True))

    @jax.jit
    def moved(step):
        pairs = zip(leaves, along, strict=True)
        return exact(jax.tree.unflatten(structure, [leaf + step * a for leaf, a in pairs]))

    h, weights = 1e-4, {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    expected = sum(w * float(moved(k * h) - moved(-k * h)) / h for k, w in weights.items())
    return abs(found - expected) / abs(expected)


# minima


def minima(given) -> None:
    """One row for each truth, and one for what is fitted: how many are found, and how many by the
    first fit of the search."""
    for kind in given.minima.split(","):
        rows = []
        for seed in range(given.seeds):
            rows.append(quiet(_fit_minima.attempt, kind, seed))
            report("fitting", part="one of minima", kind=kind, seed=seed, **rows[-1])
        row = _fit_minima.table(rows)
        report("fitting", part="minima", kind=kind, truths=given.seeds, **row)
        print(
            f"{kind:<10} {row['arrived']}/{given.seeds} arrived, {row['first_arrived']} of them "
            f"at once, {row['warned']} warned, {row['unsaid']} wrong without a word, "
            f"{row['alarm']} right but called poor; median {row['median_s']:.1f} s, "
            f"at most {row['max_s']:.1f} s",
            flush=True,
        )


# batch


def batch(given) -> None:
    """Gains of 256 noisy recordings of two periods, as called and under `jit`."""
    patterns, cycle = memories(4), hx.cyclic(4)
    times = switches(network(patterns, cycle, 5.0), 2)
    noise = NOISE * np.random.default_rng(0).normal(size=(FITS, len(times)))
    seen = jnp.asarray(times + noise)
    guessed = network(patterns, cycle, 7.0)

    def one(times):
        loss = hx.losses.switch_times(times, init=dict(saliency=start(4)), order=following(4, 2))
        found = quiet(hx.fit, guessed, loss, where=lambda net: net.kappa, progress=False)
        return found.model.kappa, found.steps

    kinds = {"as called": lambda f: f, "under jit": eqx.filter_jit}
    for name, wrap in kinds.items():
        together, single = wrap(eqx.filter_vmap(one)), wrap(one)
        runs = {
            "batch": lambda run=together: run(seen),
            "loop": lambda run=single: [jax.block_until_ready(run(row)) for row in seen],
        }
        try:
            spent = interleaved(runs, 3)
        except jax.errors.JAXTypeError as error:
            print(f"{name}: skipped: {type(error).__name__}")
            continue
        (kappa, steps), alone = runs["batch"](), runs["loop"]()
        apart = max(abs(float(one[0]) - float(k)) for one, k in zip(alone, kappa, strict=True))
        own, base = (spent[k]["median_s"] for k in ("batch", "loop"))
        row = {
            "batch_s": own,
            "loop_s": base,
            "fits_per_s": FITS / own,
            "loop_fits_per_s": FITS / base,
            "ratio": base / own,
            "difference": apart,
            "error": float(jnp.abs(kappa - 5.0).max()),
            "steps_median": float(jnp.median(steps)),
            "steps_max": int(steps.max()),
            "first_s": spent["batch"]["warm_up_s"],
        }
        report("fitting", part="batch", kind=name, fits=FITS, **row)
        print(
            f"{name}: {FITS / own:.0f} fits a second, {FITS / base:.1f} in a loop, "
            f"{base / own:.1f} x; gains differ by {apart:.1e}; "
            f"{row['steps_median']:g} steps, at most {row['steps_max']}"
        )


# rivals


def rivals(given) -> None:
    """One row a rival: how often it finds the order and the saliencies, and in what time."""
    for name in given.rivals.split(","):
        rival = _fit_rivals.RIVALS[name]
        seeds = max(round(rival.share * given.seeds / 5), 1)
        try:
            solve = rival.prepare()
        except ImportError as error:
            report("fitting", part="rivals", rival=name, skipped=f"no {error.name}")
            print(f"{name}: skipped: {error.name} is not installed")
            continue
        tried = [attempt(solve, seed) for seed in range(seeds)]
        shown, errors, times, steps = zip(*tried, strict=True)
        arrived = [t for t, e in zip(times, errors, strict=True) if e <= _fit_rivals.TARGET]
        row = {
            "seeds": seeds,
            "order_found": statistics.mean(shown),
            "arrived": len(arrived) / seeds,
            "error_median": statistics.median(errors),
            "error_max": max(errors),
            "first_s": times[0],
            "median_s": statistics.median(times[1:] or times),
            "steps": statistics.median(steps),
        }
        report("fitting", part="rivals", rival=name, target=_fit_rivals.TARGET, **row)
        print(
            f"{name:<16} order {sum(shown)}/{seeds}, error below {_fit_rivals.TARGET:g} "
            f"{len(arrived)}/{seeds}, median {row['error_median']:.1e}; {row['median_s']:.3f} s "
            f"(first {row['first_s']:.1f} s), {row['steps']:g} steps"
        )


def attempt(solve, seed: int) -> tuple[bool, float, float, int]:
    """Whether the order is shown, the mean squared error of saliencies, seconds and steps."""
    task = _fit_rivals.task(seed)
    solution = solve(task)
    shown = shows(solution.network, task.start, task.order)
    return shown, _fit_rivals.mean_square(task, solution.network), solution.seconds, solution.steps


def quiet(call, *args, **options):
    """A call whose FitWarnings are left to the measures taken here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        return call(*args, **options)


PARTS = {part.__name__: part for part in (success, cost, gradient, minima, batch, rivals)}


def main():
    """The parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--seeds", type=int, default=100, help="a fifth of it where fits are slow")
    parser.add_argument("--rivals", default=",".join(_fit_rivals.RIVALS))
    kinds = _fit_minima.KINDS
    parser.add_argument("--minima", default=",".join(kinds), help="of what, separated by commas")
    parser.add_argument("--cost", nargs=2, help="print only this fit, in this process")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if given.cost:
        print(json.dumps(fitted_once(*given.cost)))
        return
    choices = (given.only, PARTS), (given.rivals, _fit_rivals.RIVALS), (given.minima, kinds)
    for name, known in choices:
        if unknown := set(name.split(",")) - set(known):
            parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    for name in given.only.split(","):
        PARTS[name](given)


if __name__ == "__main__":
    main()
