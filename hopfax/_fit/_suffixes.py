r"""Prediction suffix trees: what comes next, by the longest end of the history that is known.

Counted is what followed each history of up to eight items. A history $s$ is kept as a *context* if
the probabilities after it are worth it: if by them the items that followed are more probable than
by those of the longest kept end of it, by a factor of more than $\sqrt{n}$ for $n$ items in all
(half of $\ln n$ nats: the price of a parameter, Schwarz 1978). With $N_s$ items after $s$, $d_s$ of
them different, and $n_s(i)$ of them $i$,

$$p(i \mid s) = \frac{n_s(i) + c\, d_s\, p(i \mid \mathrm{end}(s))}{N_s + c\, d_s},$$

uniform in the end. With $c = 1$ this is Witten and Bell's (1991) estimate, by which an item that is
new after $s$ has the probability $d_s / (N_s + d_s)$. But contexts are kept because of what
followed them, and so are too sure of it: on what was not learnt a larger $c$ is better. With all
beginnings of contexts, which then are contexts themselves, the tree is a deterministic automaton:
the context after the next item depends on the present context and that item alone (Ron, Singer and
Tishby 1996). An item that follows itself within one context makes that context two, which take
turns, since a memory cannot follow itself.
"""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..losses import Events

_DEEPEST = 8  # items of a history
NEW = (2.0, 1.0, 4.0)  # the values of c, from the one that is taken where nothing chooses

Context = tuple[int, ...]


class Suffixes(NamedTuple):
    """An automaton with probabilities: in each state one item is shown, and the next is drawn.

    - `item`: (Q,) what each state shows; state i, for i < P, shows item i after an unknown history.
    - `probability`: (Q, P) of the next item.
    - `following`: (Q, P) the state that this leads to.
    - `before`: (Q,) the state that was before, as far as is known; -1 if nothing is.
    """

    item: np.ndarray
    probability: np.ndarray
    following: np.ndarray
    before: np.ndarray


def suffixes(sequences: Sequence[Events], P: int, new: float = NEW[0]) -> Suffixes:
    """The prediction suffix tree of some sequences of P items, as an automaton; `new` is c."""
    counted = _counted(sequences)
    worth = _worth(counted, P, new)
    known = {(i,) for i in range(P)} | {c[:k] for c in worth for k in range(1, len(c) + 1)}
    after: dict[Context, np.ndarray] = {(): _mixed(counted[()], np.full(P, 1 / P), new)}
    contexts = sorted(known, key=lambda context: (len(context), context))
    for context in contexts:
        after[context] = _mixed(counted[context], after[_end(context[1:], after)], new)
    place = {context: k for k, context in enumerate(contexts)}
    probability = np.stack([after[context] for context in contexts])
    following = np.array(
        [[place[_end((*context, i), place)] for i in range(P)] for context in contexts]
    )
    before = np.array([place.get(context[:-1], -1) for context in contexts])
    return _without_loops(
        Suffixes(np.array([c[-1] for c in contexts]), probability, following, before)
    )


def _worth(counted: dict[Context, collections.Counter], P: int, new: float) -> list[Context]:
    """The histories whose probabilities differ enough from those after their ends."""
    price = 0.5 * math.log(max(counted[()].total(), 1))
    kept: dict[Context, np.ndarray] = {(): _mixed(counted[()], np.full(P, 1 / P), new)}
    for context in sorted(counted, key=len)[1:]:
        after, coarse = counted[context], kept[_end(context[1:], kept)]
        less, whole = new * len(after), after.total() + new * len(after)
        gain = sum(n * math.log((n / coarse[i] + less) / whole) for i, n in after.items())
        if len(context) == 1 or gain > price:
            kept[context] = _mixed(after, coarse, new)
    return list(kept)


def _counted(sequences: Sequence[Events]) -> dict[Context, collections.Counter]:
    """How often which item followed each history."""
    counted: dict[Context, collections.Counter] = collections.defaultdict(collections.Counter)
    for events in sequences:
        memory = np.asarray(events.memory).tolist()
        rounds = 1 + _DEEPEST // len(memory) if events.cycle else 0
        whole = memory * rounds + memory + memory[: events.cycle]
        for k in range(len(memory) * rounds + 1, len(whole)):
            for depth in range(min(_DEEPEST, k) + 1):
                counted[tuple(whole[k - depth : k])][whole[k]] += 1
    return counted


def _mixed(after: collections.Counter, coarse: np.ndarray, new: float) -> np.ndarray:
    """Probabilities from counts and those of a shorter history."""
    if not after:
        return coarse
    count, less = np.zeros(coarse.size), new * len(after)
    count[list(after)] = list(after.values())
    return (count + less * coarse) / (count.sum() + less)


def _end(context: Context, known) -> Context:
    """The longest end of a history that is known."""
    while context not in known:
        context = context[1:]
    return context


def _without_loops(tree: Suffixes) -> Suffixes:
    """The automaton with a twin for each state that may follow itself; the two take turns."""
    Q = tree.item.size
    state, symbol = np.nonzero(tree.following == np.arange(Q)[:, None])
    following = np.concatenate([tree.following, tree.following[state]])
    following[state, symbol] = Q + np.arange(state.size)
    return Suffixes(
        np.concatenate([tree.item, tree.item[state]]),
        np.concatenate([tree.probability, tree.probability[state]]),
        following,
        np.concatenate([tree.before, state]),
    )
