"""Are sequences with a long history shown, and how well is the next item predicted?

`python -m benchmarks.sequences [--only span,replay,prediction] [--seeds 20] [--lines N] [--skip N]
[--folds 5] [--stored FILE]`, in float64:

- span: cycles of 8 memories, each three times, in random order: how many are shown?
- replay: every soprano line of up to 60 notes of Bach's chorales is learnt, and replayed from its
  first note with noise in the start; how many of how many?
- prediction: each fifth of the lines, in random order, is held out in turn. What is the log-loss
  per note of a network of contexts (`memory="suffixes"`), listening, and of Markov chains,
  prediction suffix trees and hidden Markov models, made apart (`_suffix_rivals`)? Whatever of a
  model is chosen (its inverse temperature, how often what is new counts) is chosen on the learnt
  lines, each quarter of them predicted from the others. Differences come with the standard error
  of independent lines.

The chorales come with music21 (`pip install music21 hmmlearn`); `--stored FILE` keeps what was read
of them.
"""

import argparse
import functools
import importlib.util
import statistics
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx
from hopfax._fit._listening import listened, predicting
from hopfax._fit._strategies import Task
from hopfax._fit._suffixes import suffixes

from ._chorales import Line, soprano_lines
from ._measure import report
from ._suffix_rivals import (
    Interpolated,
    Line as Told,
    Predictor,
    crossed,
    hidden_markov,
    parts_of,
    price_of,
)

TAU, KAPPA, BIAS = 20.0, 6.0, 0.01
NEURONS = 64
NOISE = 0.05  # standard deviation of every neuron's field at the start
LONGEST = 60  # notes of a line
ESCAPES = (1.0, 2.0, 4.0)  # how often an item that is new after a context counts


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
    chosen = chosen[given.skip :]
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
        print(f"{len(line)} notes, {times[-1]:.1f} s", flush=True)
        if seen != line:
            print(f"{name}: {found}; shown {seen} of {line}", flush=True)
        if count % 10 == 0 or count == len(chosen):
            row = {"lines": count, "reproduced": proved, "replayed_from_noise": replayed}
            report("replay", **row, notes=notes, median_s=statistics.median(times))


def prediction(given) -> None:
    """Held-out lines: the log-loss per note of the network and of its rivals."""
    lines = soprano_lines(given.stored)
    kinds = alphabet(lines)
    P, told = len(kinds), [[kinds[note] for note in line] for line in lines.values()]
    order = np.random.default_rng(0).permutation(len(told))
    told = [told[k] for k in order[: given.lines]]
    rows: dict[str, list[tuple[np.ndarray, Predictor, float, float]]] = {}
    notes: list[int] = []
    for learnt, held in parts_of(told, given.folds):
        notes += [len(line) - 1 for line in held]
        for name, make in models(learnt, P):
            if name.replace(",", " ").split()[0] not in given.models.split(","):
                continue
            begin = time.perf_counter()
            model, beta = make()
            losses = model.losses(held, beta)
            rows.setdefault(name, []).append((losses, model, beta, time.perf_counter() - begin))
            compared(rows, name, np.array(notes))  # of the parts so far


def compared(rows, name: str, notes: np.ndarray) -> None:
    """A row of the table: log-loss per note, and by how much it exceeds that of the first model,
    with the standard error of lines that are independent."""
    of_lines, models, betas, seconds = zip(*rows[name], strict=True)
    losses = np.concatenate(of_lines)
    more = losses - np.concatenate([part for part, *_ in next(iter(rows.values()))])
    mean = more.sum() / notes.sum()
    error = np.sqrt(((more - mean * notes) ** 2).sum()) / notes.sum()
    row = {"log_loss": losses.sum() / notes.sum(), "more_than_first": mean, "error": error}
    row |= {"beta": statistics.mean(betas), "s": statistics.mean(seconds)}
    for key in ("contexts", "parameters"):
        row[key] = statistics.mean(getattr(model, key) for model in models)
    count = {"parts": len(models), "lines": notes.size, "notes": int(notes.sum())}
    report("prediction", model=name, **row, **count)


def models(lines: list[Told], P: int):
    """Every model by name, and what makes it and its inverse temperature of these lines alone."""
    size: dict[str, int] = {}

    def of_network() -> tuple[Predictor, float]:
        events = [hx.Events(line) for line in lines]
        task = Task(network(P), events, None, None, None, 1.0, False, False)
        made = predicting(task)  # `fit_sequence` proves it by simulation, which takes far longer
        net, items, beta = made.trial.network, made.items, made.beta
        assert items is not None and beta is not None
        different = np.unique(suffixes(events, P).probability, axis=0)
        size["memories"], size["contexts"] = items.size, len(different)
        entries = int(jnp.count_nonzero(net.transition))
        listen = functools.partial(listened, net, items, dwell=None)
        return Predictor(listen, items.size, entries), beta

    def chosen(*makers) -> tuple[Predictor, float]:
        """The best of some, each by how it predicts parts of the lines from the others."""
        tried = [crossed(make, lines) for make in makers]
        best = min(range(len(tried)), key=lambda k: tried[k][1])
        return makers[best](lines), tried[best][0]

    def chain(order: int, escapes=(1.0,)):
        def make(escape, lines):
            return Interpolated.markov(lines, P, order, escape).predictor()

        return lambda: chosen(*(functools.partial(make, escape) for escape in escapes))

    def kneser_ney(order: int):
        return lambda: chosen(lambda lines: Interpolated.kneser_ney(lines, P, order).predictor())

    def tree(sized: str, escapes=(1.0,)):
        def make(price, escape, lines):
            return Interpolated.tree(lines, P, price, escape).predictor()

        def made():
            prices = [price_of(lines, P, size[sized], escape) for escape in escapes]
            pairs = zip(prices, escapes, strict=True)
            return chosen(*(functools.partial(make, *pair) for pair in pairs))

        return made

    def hidden(states: int):
        def make() -> tuple[Predictor, float]:
            beta, _ = crossed(lambda lines: hidden_markov(lines, P, states), lines, parts=1)
            return hidden_markov(lines, P, states), beta

        return make

    yield "network", of_network
    yield "tree, as many memories", tree("memories")
    yield "tree, as many memories, escape chosen", tree("memories", ESCAPES)
    yield "tree, as many contexts, escape chosen", tree("contexts", ESCAPES)
    for order in range(5):
        yield f"markov {order}, Witten-Bell", chain(order)
    yield "markov 2, escape chosen", chain(2, ESCAPES)
    for order in (1, 2, 3, 4):
        yield f"markov {order}, Kneser-Ney", kneser_ney(order)
    if importlib.util.find_spec("hmmlearn") is not None:
        yield "hidden markov, 32 states", hidden(32)


def alphabet(lines: dict[str, Line]) -> dict[tuple[int, float], int]:
    """A number for every kind of note."""
    return {note: k for k, note in enumerate(sorted({n for line in lines.values() for n in line}))}


def main() -> None:
    """The rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="span,replay,prediction")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--lines", type=int, default=None, help="about how many (default: all)")
    parser.add_argument("--skip", type=int, default=0, help="of replay: so many of the shortest")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--models", default="network,tree,markov,hidden", help="of prediction")
    parser.add_argument("--stored", default=None)
    given = parser.parse_args()
    parts = {"span": span, "replay": replay, "prediction": prediction}
    for name in given.only.split(","):
        parts[name](given)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
