r"""Sequences as deterministic automata: the fewest states that tell all futures apart.

Each entry of each sequence is a state that shows an item and has one successor. Two states may be
one and the same if all that follows from them is equal (Nerode). The classes of such states are
found by refinement of a partition (Moore 1956): at first states are together that show the same
item, then those that agree in their next $2, 4, 8, \dots$ items, by a comparison of pairs of
classes $2^k$ apart (doubling: Karp, Miller, Rosenberg 1972), until no class splits any more. Then
none ever will. So a cycle becomes one of its least period, and sequences that end alike share
their end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..losses import Events

END = -1  # what follows the last state of an open sequence


class Automaton(NamedTuple):
    """A deterministic automaton without input, which shows an item in each of its states.

    - `item`: (Q,) what each state shows.
    - `following`: (Q,) the state after each, `END` after the last of an open sequence.
    - `paths`: for each sequence the state of each of its entries.
    """

    item: np.ndarray
    following: np.ndarray
    paths: list[np.ndarray]


def automaton(sequences: Sequence[Events]) -> Automaton:
    """The smallest automaton that shows all these sequences, each from a state of its own.

    With times, entries are told apart by their dwells, too. States are numbered in the order in
    which they first occur.
    """
    item, following, firsts = _entries(sequences)
    dwell = np.concatenate([_dwells(events) for events in sequences])
    classes = _ranked(item, _ranked(np.nan_to_num(dwell, nan=-1.0)))
    after = following
    while True:
        finer = _ranked(classes, np.where(after == END, END, classes[after]))
        if finer.max() == classes.max():
            break
        classes = finer
        after = np.where(after == END, END, after[after])
    _, first, state = np.unique(classes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by first occurrence
    state = np.argsort(order)[state]
    first = first[order]
    ahead = following[first]
    return Automaton(
        item[first],
        np.where(ahead == END, END, state[ahead]),
        np.split(state, firsts[1:]),
    )


def memory_span(sequences: Sequence[Events]) -> int | None:
    """How many items, the present one among them, decide which comes next; None if no number does.

    1 means that every item has one successor. Where a sequence begins is part of the history: so
    two sequences that begin alike and then part have no such number.
    """
    item, following, firsts = _entries(sequences)
    before = np.full(item.size, END)
    before[following[following != END]] = np.flatnonzero(following != END)
    decided = following != END
    history = _ranked(item)
    for span in range(1, item.size + 1):
        pairs = set(zip(history[decided], item[following[decided]], strict=True))
        if len(pairs) == len({past for past, _ in pairs}):
            return span
        longer = _ranked(item, np.where(before == END, END, history[before]))
        if longer.max() == history.max():
            return None
        history = longer
    return None


def follows_itself(sequences: Sequence[Events]) -> int | None:
    """The first item that comes directly after itself; None if there is none."""
    item, following, _ = _entries(sequences)
    twice = (following != END) & (item == item[following])
    return int(item[np.argmax(twice)]) if twice.any() else None


def _entries(sequences: Sequence[Events]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All entries one after the other: items, places of the next ones, where sequences begin."""
    sizes = [events.memory.size for events in sequences]
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    following = np.arange(1, sum(sizes) + 1)
    for first, size, events in zip(firsts, sizes, sequences, strict=True):
        following[first + size - 1] = first if events.cycle else END
    return np.concatenate([np.asarray(e.memory) for e in sequences]), following, firsts


def _dwells(events: Events) -> np.ndarray:
    return np.zeros(events.memory.size) if events.time is None else np.asarray(events.dwells)


def _ranked(*columns: np.ndarray) -> np.ndarray:
    """The same number for entries that are equal in all columns, from 0 on."""
    table = np.stack(columns, axis=1)
    return np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
