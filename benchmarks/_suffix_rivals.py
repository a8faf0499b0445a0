"""Markov chains and prediction suffix trees in plain NumPy, and the log-loss of any predictor."""

import collections
import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

Line = list[int]
DEEPEST = 8  # items of a history of a tree


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What gives a number for each next item after each entry of a line, (K, P); a softmax of these
    times an inverse temperature is its probability."""

    logits: Callable[[Line], np.ndarray]
    contexts: int
    parameters: int

    def loss(self, lines: list[Line], beta: float) -> float:
        """Log-loss per note in nats, from the second of each line on."""
        return _loss([self.logits(line[:-1]) for line in lines], lines, beta)

    def temperature(self, lines: list[Line]) -> float:
        """The inverse temperature of least log-loss."""
        logits = [self.logits(line[:-1]) for line in lines]
        found = minimize_scalar(
            lambda t: _loss(logits, lines, np.exp(t)), bounds=(-4.0, 3.0), method="bounded"
        )
        return float(np.exp(found.x))


def _loss(logits: list[np.ndarray], lines: list[Line], beta: float) -> float:
    total = 0.0
    for given, line in zip(logits, lines, strict=True):
        scaled = beta * given
        logs = scaled - np.logaddexp.reduce(scaled, axis=1)[:, None]
        total -= logs[np.arange(len(line) - 1), line[1:]].sum()
    return total / sum(len(line) - 1 for line in lines)


@dataclasses.dataclass(frozen=True)
class Interpolated:
    """Probabilities after each context, smoothed by those of the next shorter one (Witten-Bell)."""

    after: dict[tuple[int, ...], np.ndarray]

    @staticmethod
    def markov(lines: list[Line], P: int, order: int) -> "Interpolated":
        """Every context of up to `order` items that occurs."""
        counted = _counted(lines, order)
        after = {(): _smoothed(counted[()], np.full(P, 1 / P))}
        for context in sorted(counted, key=len)[1:]:
            after[context] = _smoothed(counted[context], after[context[1:]])
        return Interpolated(after)

    @staticmethod
    def tree(lines: list[Line], P: int, contexts: int) -> "Interpolated":
        """The `contexts` that gain most likelihood over the longest kept end of them."""
        counted = _counted(lines, DEEPEST)
        low, high = 0.0, 100.0
        for _ in range(12):  # the price of a context that leaves about as many
            price = (low + high) / 2
            after = _pruned(counted, P, price)
            low, high = (price, high) if len(after) > contexts else (low, price)
        return Interpolated(_pruned(counted, P, high))

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


def _counted(lines: list[Line], deepest: int) -> dict[tuple[int, ...], collections.Counter]:
    counted = collections.defaultdict(collections.Counter)
    for line in lines:
        for k in range(1, len(line)):
            for depth in range(min(deepest, k) + 1):
                counted[tuple(line[k - depth : k])][line[k]] += 1
    return counted


def _smoothed(counts: collections.Counter, shorter: np.ndarray) -> np.ndarray:
    count = np.zeros(shorter.size)
    for item, number in counts.items():
        count[item] = number
    return (count + len(counts) * shorter) / (count.sum() + len(counts))


def _pruned(counted, P: int, price: float) -> dict[tuple[int, ...], np.ndarray]:
    after = {(): _smoothed(counted[()], np.full(P, 1 / P))}
    for context in sorted(counted, key=len)[1:]:
        end = context[1:]
        while end not in after:
            end = end[1:]
        fine = _smoothed(counted[context], after[end])
        gain = sum(n * np.log(fine[i] / after[end][i]) for i, n in counted[context].items())
        if gain > price:
            after[context] = fine
    return after
