"""Markov chains, prediction suffix trees and hidden Markov models, and the log-loss of them all.

Chains and trees are made here apart from the library, in plain NumPy; hidden Markov models are
hmmlearn's.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

Line = list[int]
Context = tuple[int, ...]
Counted = dict[Context, collections.Counter]
DEEPEST = 8  # items of a history of a tree
PARTS = 4  # of the learnt lines, each predicted by the others


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What gives a number for each next item after each entry of a line, (K, P); a softmax of these
    times an inverse temperature is its probability."""

    logits: Callable[[Line], np.ndarray]
    contexts: int
    parameters: int

    def losses(self, lines: list[Line], beta: float) -> np.ndarray:
        """Log-loss of each line in nats, from its second note on."""
        return np.array([_loss(self.logits(line[:-1]), line, beta).sum() for line in lines])


def _loss(logits: np.ndarray, line: Line, beta: float) -> np.ndarray:
    scaled = beta * logits
    logs = scaled - np.logaddexp.reduce(scaled, axis=1)[:, None]
    return -logs[np.arange(len(line) - 1), line[1:]]


def crossed(
    make: Callable[[list[Line]], Predictor], lines: list[Line], parts: int = PARTS
) -> tuple[float, float]:
    """The inverse temperature of least log-loss per note, when each part of the lines is predicted
    from the others, and that log-loss."""
    from scipy.optimize import minimize_scalar

    told = []
    for held in range(min(parts, PARTS)):
        model = make([line for k, line in enumerate(lines) if k % PARTS != held])
        told += [(model.logits(line[:-1]), line) for line in lines[held::PARTS]]
    notes = sum(len(line) - 1 for _, line in told)

    def loss(t: float) -> float:
        return sum(_loss(logits, line, np.exp(t)).sum() for logits, line in told) / notes

    found = minimize_scalar(loss, bounds=(-3.0, 1.5), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


@dataclasses.dataclass(frozen=True)
class Interpolated:
    """Probabilities after each context, smoothed by those of the next shorter one."""

    after: Mapping[Context, np.ndarray]

    @staticmethod
    def markov(lines: list[Line], P: int, order: int, escape: float) -> "Interpolated":
        """Every context of up to `order` items that occurs; see `_smoothed`."""
        counted = counts(lines, order)
        after: dict[Context, np.ndarray] = {}
        for context in sorted(counted, key=len):
            shorter = after[context[1:]] if context else np.full(P, 1 / P)
            after[context] = _smoothed(counted[context], shorter, escape)
        return Interpolated(after)

    @staticmethod
    def kneser_ney(lines: list[Line], P: int, order: int) -> "Interpolated":
        """The same contexts by absolute discounting, where in shorter ones an item counts once for
        each longer one that it follows (Kneser and Ney 1995; discounts of Ney, Essen and Kneser
        1994)."""
        counted: Counted = collections.defaultdict(collections.Counter)
        for line in lines:
            for k in range(1, len(line)):
                counted[tuple(line[max(0, k - order) : k])][line[k]] += 1
        after: dict[Context, np.ndarray] = {}
        for length in range(order, 0, -1):
            for context in [context for context in counted if len(context) == length]:
                counted[context[1:]].update(dict.fromkeys(counted[context], 1))
        for length in range(order + 1):
            level = {s: counter for s, counter in counted.items() if len(s) == length}
            discount = _discount(level.values())
            for context, counter in level.items():
                shorter = after[context[1:]] if context else np.full(P, 1 / P)
                count = _dense(counter, P)
                left = discount * np.count_nonzero(count)
                after[context] = (np.maximum(count - discount, 0) + left * shorter) / count.sum()
        return Interpolated(after)

    @staticmethod
    def tree(lines: list[Line], P: int, price: float, escape: float) -> "Interpolated":
        """The contexts that gain more likelihood than `price` over the longest kept end of them."""
        return Interpolated(_pruned(counts(lines, DEEPEST), P, price, escape))

    def predictor(self) -> Predictor:
        """With a logarithm of the probabilities as logits."""
        size = len(self.after)
        return Predictor(self._logits, size, size * (self.after[()].size - 1))

    def _logits(self, line: Line) -> np.ndarray:
        rows = []
        for k in range(1, len(line) + 1):
            context = tuple(line[max(0, k - DEEPEST) : k])
            while context not in self.after:
                context = context[1:]
            rows.append(np.log(self.after[context]))
        return np.array(rows)


def counts(lines: list[Line], deepest: int) -> Counted:
    """What followed each history of up to `deepest` items, how often."""
    counted: Counted = collections.defaultdict(collections.Counter)
    for line in lines:
        for k in range(1, len(line)):
            for depth in range(min(deepest, k) + 1):
                counted[tuple(line[k - depth : k])][line[k]] += 1
    return counted


def price_of(lines: list[Line], P: int, contexts: int, escape: float) -> float:
    """The price of a context that leaves at most so many, up to the last one."""
    counted = counts(lines, DEEPEST)
    low, high = 0.0, 100.0
    for _ in range(10):
        price = (low + high) / 2
        size = len(_pruned(counted, P, price, escape))
        low, high = (price, high) if size > contexts else (low, price)
    return high


def _pruned(counted: Counted, P: int, price: float, escape: float) -> dict[Context, np.ndarray]:
    whole = _smoothed(counted[()], np.full(P, 1 / P), escape)
    after: dict[Context, np.ndarray] = {(): whole}
    for context in sorted(counted, key=len)[1:]:
        counter, end = counted[context], context[1:]
        while end not in after:
            end = end[1:]
        coarse, new = after[end], escape * len(counter)
        total = counter.total() + new
        gain = sum(n * np.log((n / coarse[i] + new) / total) for i, n in counter.items())
        if gain > price:
            after[context] = _smoothed(counter, coarse, escape)
    return after


def _dense(counter: collections.Counter, P: int) -> np.ndarray:
    count = np.zeros(P)
    count[list(counter)] = list(counter.values())
    return count


def _smoothed(counter: collections.Counter, shorter: np.ndarray, escape: float) -> np.ndarray:
    """An item that is new after a context counts `escape` times for the shorter one: once in the
    estimate of Witten and Bell (1991)."""
    new = escape * len(counter)
    return (_dense(counter, shorter.size) + new * shorter) / (counter.total() + new)


def _discount(counters) -> float:
    often = collections.Counter(n for counter in counters for n in counter.values())
    return often[1] / (often[1] + 2 * often[2]) if often[1] else 0.5


def hidden_markov(lines: list[Line], P: int, states: int, seed: int = 0) -> Predictor:
    """hmmlearn's model, by expectation maximisation with a little of each prior count."""
    from hmmlearn.hmm import CategoricalHMM

    model = CategoricalHMM(
        states,
        n_features=P,
        transmat_prior=1 + 1 / states,
        emissionprob_prior=1 + 1 / P,
        n_iter=40,
        tol=1.0,
        random_state=seed,
    )
    model.fit(np.concatenate(lines)[:, None], [len(line) for line in lines])

    def logits(line: Line) -> np.ndarray:
        rows, belief = [], model.startprob_
        for item in line:
            belief = belief * model.emissionprob_[:, item]
            belief = belief / max(belief.sum(), 1e-300) @ model.transmat_
            rows.append(np.log(np.maximum(belief @ model.emissionprob_, 1e-12)))
        return np.array(rows)

    return Predictor(logits, states, states * (states - 1) + states * (P - 1))


def parts_of(lines: list[Line], folds: int) -> Iterator[tuple[list[Line], list[Line]]]:
    """What is learnt and what is held out, each line once."""
    for fold in range(folds):
        yield [line for k, line in enumerate(lines) if k % folds != fold], lines[fold::folds]
