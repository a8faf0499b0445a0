"""How fast are the updates of a dense memory, how large may it be, and how fast is its theory?

`python -m benchmarks.dense [--only update,overlaps,moving,large,diagram,capacity,gpu]`, in float32.
torch is compared with where it is installed (`requirements-torch.txt`). `large` takes some minutes
(N = 8192, 5.4 million patterns), once static and once as a sequence; `gpu` does nothing without one
(N = 16384, 21 million).
"""

import argparse
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ._measure import interleaved, report

PARTS = ("update", "overlaps", "moving", "large", "diagram", "capacity", "gpu")
N, M, TRIALS, FLIPS = 1024, 102_400, 100, 200
LOAD = 0.08


def generated(P=M, size=N):
    """The patterns, made anew for every block."""
    return hx.GeneratedPatterns(jr.key(0), P, size)


def starts(patterns, trials=TRIALS, flips=FLIPS):
    """Corrupted copies of pattern 0."""
    return jax.vmap(lambda key: patterns.corrupt(key, 0, flips))(jr.split(jr.key(1), trials))


@eqx.filter_jit
def fields(network, states):
    """What the neurons of all trials feel, (trials, N)."""
    return jax.vmap(lambda h: network.field(hx.SpinState(h)))(states)


@eqx.filter_jit
def sums(network, states):
    """Overlaps of all trials with all memories, (trials, P)."""
    return jax.vmap(lambda h: network.overlaps(hx.SpinState(h)))(states)


def naive(xi, states):
    """The update in NumPy, patterns stored as floats: two products."""
    X = xi @ states.T
    return ((xi.T @ (X**2 + 1)) - states.T * (2 * X).sum(0)).T / np.float32(N) ** 2


def one_by_one(xi, states):
    """The same for one trial after the other, as a loop over trials does it."""
    return np.concatenate([naive(xi, state[None]) for state in states])


def in_torch(xi, states):
    """The same in torch, with all cores; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    a, h = torch.from_numpy(xi), torch.from_numpy(states.copy())

    def run():
        X = a @ h.T
        return (a.T @ (X * X + 1) - h.T * (2 * X).sum(0)).T.numpy() / np.float32(N) ** 2

    return run


def overlaps_in_torch(xi, states):
    """One product in torch."""
    try:
        import torch
    except ImportError:
        return None
    a, h = torch.from_numpy(xi), torch.from_numpy(states.copy())
    return lambda: (a @ h.T).numpy()


def matmul_rate(size=2048, dtype=jnp.float32):
    """A function that multiplies two square matrices, and its operations."""
    x = jr.normal(jr.key(0), (size, size), jnp.float32).astype(dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
    return lambda: product(x), 2 * size**3


def exact_fields(xi, states):
    """In integers: sums of N^2 terms u, for two trials."""
    xi, h = xi.astype(np.int64), np.asarray(states[:2]).astype(np.int64)
    X = xi @ h.T
    return ((xi.T @ (X**2 + 1)) - h.T * (2 * X).sum(0)).T


def update():
    """One update of 100 trials, n = 3, by source of the patterns and by rival."""
    made = generated()
    packed = hx.patterns.pack(made)
    xi = np.asarray(made.rows(0, M))
    stored = hx.Patterns(xi, check_patterns=False)
    states = starts(made)
    h = np.asarray(states)
    sources = {"stored float32": stored, "packed": packed, "generated": made}
    networks = {name: hx.DenseMemory(source, hx.Power(3)) for name, source in sources.items()}
    runs = {name: (lambda n=net: fields(n, states)) for name, net in networks.items()}
    runs["NumPy"] = lambda: naive(xi, h)
    runs["NumPy, one by one, 10 trials"] = lambda: one_by_one(xi, h[:10])
    if (other := in_torch(xi, h)) is not None:
        runs["torch"] = other
    square, operations = matmul_rate()
    exact = exact_fields(xi, states)
    errors = {
        name: float(np.abs(np.asarray(run())[:2].astype(float) * N**2 - exact).max() / exact.std())
        for name, run in runs.items()
    }
    times = interleaved(runs | {"square product": square}, repeats=9)
    rate = operations / times["square product"]["median_s"]
    for name in runs:
        trials = 10 if name.endswith("10 trials") else TRIALS
        work = 4 * M * N * trials / times[name]["median_s"]
        row = {"largest_error_over_std": errors[name], "over_matmul_rate": work / rate}
        if name in networks:
            program = fields.lower(networks[name], states).compile().compiled
            kept = sum(leaf.nbytes for leaf in jax.tree.leaves(sources[name]))
            used = kept + program.memory_analysis().temp_size_in_bytes
            row["memory_over_stored"] = used / (4 * M * N)
        report("update", source=name, N=N, M=M, trials=trials, **row, **times[name])
    report("update", matmul_Gflops=rate / 1e9)
    slow = times["stored float32"]["median_s"]
    ratios = {name: times[name]["median_s"] / slow for name in runs}
    report("update", time_over_stored=ratios)


def overlaps():
    """All overlaps of 100 trials: counted bits against products."""
    made = generated()
    xi = np.asarray(made.rows(0, M))
    states = starts(made)
    stored = jnp.asarray(xi)
    product = jax.jit(lambda h: stored @ h.T)
    counting = hx.DenseMemory(hx.patterns.pack(made), hx.Power(3))
    runs = {
        "counted bits": lambda: sums(counting, states),
        "float32 product": lambda: product(states),
    }
    if (other := overlaps_in_torch(xi, np.asarray(states))) is not None:
        runs["torch"] = other
    exact = xi[:, :].astype(np.int32) @ np.asarray(states[:2]).astype(np.int32).T
    found = np.asarray(sums(counting, states))[:2].T * N
    times = interleaved(runs, repeats=9)
    for name in runs:
        ratio = times["counted bits"]["median_s"] / times[name]["median_s"]
        report("overlaps", by=name, counting_over_this=ratio, **times[name])
    report("overlaps", largest_error=float(np.abs(found - exact).max()))


def moving():
    """What it costs that memories call each other, beside static ones, for 1 and 32 trials; the
    error is that of the fields of a cycle, in integers."""
    made = generated()
    following = np.random.default_rng(0).permutation(M)
    how = {
        "static": {},
        "static, kept": dict(keep_diagonal=True),
        "cyclic": dict(transition="cyclic"),
        "cyclic, kept": dict(transition="cyclic", keep_diagonal=True),
        "by number, kept": dict(transition=following, keep_diagonal=True),
    }
    xi, states = made.rows(0, M), starts(made, 32)
    h, rows = np.asarray(states[0]).astype(np.int64), np.asarray(xi).astype(np.int64)
    exact = np.roll(rows, -1, axis=0).T @ (rows @ h) ** 2
    for name, source in {"packed": hx.patterns.pack(made), "generated": made}.items():
        networks = {k: hx.DenseMemory(source, hx.Power(3), **how[k]) for k in how}
        for trials in (1, 32):
            some = states[:trials]
            runs = {k: (lambda n=net, s=some: fields(n, s)) for k, net in networks.items()}
            found = np.asarray(runs["cyclic, kept"]())[0].astype(float) * N**2
            times = interleaved(runs, repeats=9)
            ratios = {k: times[k]["median_s"] / times["static"]["median_s"] for k in runs}
            report(
                "moving",
                source=name,
                trials=trials,
                time_over_static=ratios,
                static_s=times["static"]["median_s"],
                largest_error_over_std=float(np.abs(found - exact).max() / exact.std()),
            )


def large(size: int, trials: int, steps: int, transition: str | None = None):
    """A memory of `size` neurons at load 0.08, in this process: seconds a step, and its peak. A
    sequence is compared with the map of its overlaps, which holds at all times."""
    P = round(LOAD * size**2)
    flips = size // 10
    kept = transition is not None
    memories = generated(P, size)
    network = hx.DenseMemory(memories, hx.Power(3), transition=transition, keep_diagonal=kept)
    states = starts(network.patterns, trials, flips)
    step = eqx.filter_jit(lambda s: jax.vmap(lambda h: network.step(hx.SpinState(h)).spins)(s))
    found, seconds = [1 - 2 * flips / size], []
    program = step.lower(states).compile()  # compile apart from run
    for step_number in range(1, steps + 1):
        begin = time.perf_counter()
        states = jax.block_until_ready(program(states))
        seconds.append(time.perf_counter() - begin)
        due = network.patterns.pattern(step_number if transition else 0)
        found.append(float((states @ due).mean() / size))
    with jax.enable_x64(True):
        if transition is None:
            exact = hx.theory.dense.first_steps(hx.Power(3), LOAD, found[0], min(steps, 4)).overlap
        else:
            exact = hx.theory.dense.map_trajectory(hx.Power(3), LOAD, found[0], steps)
    error = np.abs(np.asarray(found[: len(exact)]) - np.asarray(exact)[: len(found)]).max()
    lines = open("/proc/self/status").read().splitlines() if sys.platform == "linux" else []
    peak = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), None)
    rate = 4 * P * size * trials / min(seconds)
    report(
        "large",
        **{"N": size, "M": P, "transition": transition, "trials": trials},
        **{"seconds_a_step": seconds, "peak_memory_MiB": peak},
        **{"Gflops": rate / 1e9, "overlaps": found, "largest_difference_from_theory": float(error)},
    )
    return rate


def diagram():
    """Final overlaps over 64 x 64 (load, m0), n = 3, 20 steps, 4 scrambles of 2^10 paths.

    The edge of the basin at a load is where the overlap passes half of that from m0 = 1.
    """
    begin = time.perf_counter()
    loads = np.linspace(0.01, 0.12, 64, dtype=np.float32)
    grid = {"load": loads, "m0": np.linspace(0.0, 1.0, 64, dtype=np.float32)}
    ds = hx.sweep(final_overlap, grid, tile=16, progress=False)
    seconds = time.perf_counter() - begin
    overlap, error, m0 = ds["overlap"].values, ds["error"].values, ds["m0"].values
    edge = m0[(overlap >= overlap[:, -1:] / 2).argmax(axis=1)]
    away = np.abs(m0 - edge[:, None]) > 0.08
    below = (3 * loads < 0.2522)[:, None] & np.ones_like(away)
    report(
        "diagram",
        seconds_with_compilation=seconds,
        failed=int((ds["status"] != 0).sum()),
        largest_error_below_capacity_away_from_edge=float(error[below & away].max()),
        points_above_001_below_capacity=int((error[below] > 0.01).sum()),
        points_above_001_above_capacity=int((error[~below] > 0.01).sum()),
        points=error.size,
    )


def final_overlap(load, m0):
    """Overlap after 20 steps and its standard error."""
    found = hx.theory.dense.solve_gfa(hx.Power(3), load, m0, 20, paths=2**10, scrambles=4)
    return {"overlap": found.overlap[-1], "error": found.error[-1]}


def capacity():
    """Replica-symmetric capacities of n = 3 to 8, in float64."""
    with jax.enable_x64(True):
        begin = time.perf_counter()
        found = [hx.theory.dense.capacity(hx.Power(n)) for n in range(3, 9)]
        scaled = [float(c.scaled) for c in found]
        seconds = time.perf_counter() - begin
    known = [
        *(0.25219043077067, 0.19786011919538, 0.17277255401901),
        *(0.15767953657619, 0.14734517145717, 0.13970033273052),
    ]
    error = max(abs(a - b) for a, b in zip(scaled, known, strict=True))
    report("capacity", seconds_with_compilation=seconds, largest_error=error)


def gpu():
    """N = 16384 at load 0.08 on a GPU: one update against the floor of 4 M N B operations."""
    if jax.default_backend() != "gpu":
        report("gpu", skipped="no GPU")
        return
    product, operations = matmul_rate(8192, jnp.bfloat16)
    floor = operations / interleaved({"bf16": product})["bf16"]["median_s"]
    rate = large(16384, 100, 2)
    report("gpu", bf16_Tflops=floor / 1e12, time_over_floor=floor / rate)


def main():
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--large", nargs=3, type=int, help="N, trials, steps: only this, here")
    parser.add_argument("--transition", choices=["cyclic"], help="of --large")
    given = parser.parse_args()
    if given.large:
        large(*given.large, given.transition)
        return
    for name in given.only.split(","):
        if name not in PARTS:
            parser.error(f"--only: {name!r} is none of {', '.join(PARTS)}")
        if name == "large":  # in a process of its own, whose memory is its own
            command = [sys.executable, "-m", "benchmarks.dense", "--large", "8192", "100", "2"]
            subprocess.run(command, check=True)
            subprocess.run([*command, "--transition", "cyclic"], check=True)
        else:
            {f.__name__: f for f in (update, overlaps, moving, diagram, capacity, gpu)}[name]()


if __name__ == "__main__":
    main()
