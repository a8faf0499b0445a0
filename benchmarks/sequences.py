"""Are sequences with a long history shown, and how well is the next item predicted?

`python -m benchmarks.sequences [--only span,replay,prediction] [--seeds 20] [--lines N]
[--stored FILE]`, in float64:

- span: cycles of 8 memories, each three times, in random order: how many are shown?
- replay: every soprano line of up to 60 notes of Bach's chorales is learnt, and replayed from its
  first note with noise in the start; how many of how many?
- prediction: every fourth line is held out. What is the log-loss per note of a network of contexts
  (`memory="suffixes"`), listening, and of Markov chains of orders 1 to 3 and a prediction suffix
  tree with as many contexts, made here apart in NumPy? All have one inverse temperature, fitted on
  a quarter of the lines by models of the other two.

The chorales come with music21 (`pip install music21`); `--stored FILE` keeps what was read of them.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ._chorales import Line, soprano_lines
from ._measure import report
from ._suffix_rivals import Interpolated, Predictor

TAU, KAPPA, BIAS = 20.0, 6.0, 0.01
NEURONS = 64
NOISE = 0.05  # standard deviation of every neuron's field at the start
LONGEST = 60  # notes of a line


def network(P: int, N: int = NEURONS, seed: int = 0) -> hx.TwoTimescaleHopfield:
    """P random memories that know nothing of a sequence."""
    patterns = hx.patterns.random(jr.key(seed), P, N)
    return hx.TwoTimescaleHopfield(patterns, jnp.zeros((P, P)), kappa=KAPPA, tau=TAU, bias=BIAS)


def shown(found: hx.SequenceFit, count: int, seed: int | None) -> list[int]:
    """The items of a run long enough for `count` dwells, with noise in its start unless `seed` is
    None."""
    net, saliency = found.network, found.saliency[0]
    start = net.init(saliency=saliency)
    if seed is not None:
        noise = NOISE * jr.normal(jr.key(seed), start.field.shape, start.field.dtype)
        start = net.init(saliency=saliency, field=start.field + noise)
    method = hx.EventDriven(switches=128)
    run = hx.simulate(net, start, np.array([0.0, (count + 1) * 2.0 * TAU]), method=method)
    return hx.observables.visited(run, items=found.items).tolist()


def span(given) -> None:
    """Cycles in which what comes next depends on three memories or more."""
    right, times = [], []
    for seed in range(given.seeds):
        order = thrice(8, seed)
        begin = time.perf_counter()
        found = hx.fit_sequence(network(8), order, progress=False)
        times.append(time.perf_counter() - begin)
        seen = shown(found, 2 * len(order), seed)
        right.append(seen[: 2 * len(order) + 1] == [*order, *order, order[0]])
    row = {"of": len(right), "shown": sum(right), "memories": found.network.patterns.P}
    report("span", **row, first_s=times[0], median_s=statistics.median(times[1:] or times))


def thrice(P: int, seed: int) -> list[int]:
    """A cycle that passes each memory three times, none after itself."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(np.repeat(np.arange(P), 3))
        if (order != np.roll(order, 1)).all():
            return order.tolist()


def replay(given) -> None:
    """Every line by itself: learnt, and replayed from its first note."""
    lines = soprano_lines(given.stored)
    kinds = alphabet(lines)
    short = {name: line for name, line in lines.items() if len(line) <= LONGEST}
    chosen = sorted(short, key=lambda name: len(short[name]))  # few programs at a time
    if given.lines is not None:
        chosen = chosen[:: max(len(chosen) // given.lines, 1)]
    blank = network(len(kinds))
    proved, replayed, notes, times = 0, 0, 0, []
    for count, name in enumerate(chosen, 1):
        line = [kinds[note] for note in short[name]]
        begin = time.perf_counter()
        found = hx.fit_sequence(blank, hx.Events(line), progress=False)
        times.append(time.perf_counter() - begin)
        seen = shown(found, len(line), count)
        proved, replayed = proved + found.reproduced, replayed + (seen == line)
        notes += len(line)
        if seen != line:
            print(f"{name}: {found}; shown {seen} of {line}", flush=True)
        if count % 10 == 0 or count == len(chosen):
            row = {"lines": count, "reproduced": proved, "replayed_from_noise": replayed}
            report("replay", **row, notes=notes, median_s=statistics.median(times))


def prediction(given) -> None:
    """Held-out lines: the log-loss per note of the network and of its rivals."""
    lines = soprano_lines(given.stored)
    kinds = alphabet(lines)
    told = [[kinds[note] for note in line] for line in lines.values()]
    if given.lines is not None:
        told = told[: given.lines]
    quarters = [told[k::4] for k in range(4)]
    P, few, many = len(kinds), quarters[0] + quarters[1], sum(quarters[:3], [])

    def network_of(lines: list[list[int]]) -> Predictor:
        events = [hx.Events(line) for line in lines]
        found = hx.fit_sequence(network(P), events, memory="suffixes", progress=False)
        entries = int(jnp.count_nonzero(found.network.transition))
        return Predictor(found.listen, found.network.patterns.P, entries)

    contexts = {}

    def tree_of(lines: list[list[int]]) -> Predictor:
        return Interpolated.tree(lines, P, contexts[len(lines)]).predictor()

    makers = {"network": network_of, "tree": tree_of}
    makers |= {
        f"markov {order}": lambda lines, order=order: Interpolated.markov(
            lines, P, order
        ).predictor()
        for order in (1, 2, 3)
    }
    for name, make in makers.items():
        begin = time.perf_counter()
        first = make(few)
        contexts.setdefault(len(few), first.contexts)
        beta = first.temperature(quarters[2])
        model = make(many)
        contexts.setdefault(len(many), model.contexts)
        row = {"log_loss": model.loss(quarters[3], beta), "beta": beta}
        row |= {"contexts": model.contexts, "parameters": model.parameters}
        row |= {"without_beta": None if name == "network" else model.loss(quarters[3], 1.0)}
        notes = sum(len(line) - 1 for line in quarters[3])
        seconds = time.perf_counter() - begin
        report("prediction", model=name, **row, lines=len(many), held_out=notes, s=seconds)


def alphabet(lines: dict[str, Line]) -> dict[tuple[int, float], int]:
    """A number for every kind of note."""
    return {note: k for k, note in enumerate(sorted({n for line in lines.values() for n in line}))}


def main() -> None:
    """The rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="span,replay,prediction")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--lines", type=int, default=None, help="about how many (default: all)")
    parser.add_argument("--stored", default=None)
    given = parser.parse_args()
    parts = {"span": span, "replay": replay, "prediction": prediction}
    for name in given.only.split(","):
        parts[name](given)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
