r"""A text and a film, thousands of items long, stored in a dense memory as one sequence.

Every item is a memory that calls the next one, so the network says them one after the other when
it is shown the first. The text is a page of Python's own help, in 27 letters (a to z and the
blank). As a letter has many successors, the item at a place is the window of the last letters, each
by a code of random signs of its own; windows that share letters resemble each other, and the window
is longer than any passage that comes twice. The film is all digits of scikit-learn
(`pip install "hopfax[data]"`), 8 x 8 pixels each, black or white, which resemble each other far
more; of equal ones the first is taken.

Each is replayed once from its first item with some signs changed, by interactions of several
orders. Counted are the letters (or pixels) that are wrong, the items at which the state is not
exactly the one that is due, and which item was the first such. Beside it: how many *random*
memories of this size are replayed without any error, `hopfax.theory.dense.error_free_capacity`.
Items that resemble each other are fewer.

`python -m hopfax.examples.long_sequences [--letters 2000] [--window 27] [--code 16]`
"""

import argparse
import math
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import Float, Int

from .._errors import as_count, missing
from .._interactions import AbstractInteraction, Exponential, Power
from .._iterate import iterate
from ..networks import DenseMemory
from ..patterns import Patterns, pack
from ..theory.dense import error_free_capacity

ALPHABET = " abcdefghijklmnopqrstuvwxyz"
TOPIC = "specialnames"
INTERACTIONS: dict[str, AbstractInteraction] = {
    **{f"order {n}": Power(n) for n in (2, 3, 4, 6, 10)},
    **{f"exponential, {rate:g}": Exponential(rate) for rate in (1.0, 3.0)},
}


class Replay(NamedTuple):
    """What became of a sequence: how many `symbols` (letters or pixels) and `items` were wrong, of
    how many, and after how many items the first one was."""

    symbols: float
    items: float
    first: int


def letters(count: int) -> Int[np.ndarray, " T"]:
    """The first letters of a page of Python's help, as places in `ALPHABET`."""
    from pydoc_data.topics import topics

    plain = (c if c.isalpha() and c.isascii() else " " for c in topics[TOPIC].lower())
    text = " ".join("".join(plain).split())
    if count > len(text):
        raise ValueError(f"`letters` must be at most {len(text)}, got {count}.")
    return np.array([ALPHABET.index(c) for c in text[:count]])


def windows(text: Int[np.ndarray, " T"], window: int, code: int, seed: int = 0) -> Any:
    """The codes (window, 27, code) of the letters, and the items (T - window + 1, N): the last
    `window` letters at each place."""
    last = np.lib.stride_tricks.sliding_window_view(text, window)
    if len(np.unique(last, axis=0)) < len(last):
        raise ValueError(
            f"`window`: some {window} letters come twice, so that what follows is not known; take "
            "longer ones."
        )
    rng = np.random.default_rng(seed)
    codes = rng.choice([-1.0, 1.0], (window, len(ALPHABET), code))
    items = np.concatenate([codes[k][last[:, k]] for k in range(window)], axis=1)
    return codes, items


def film() -> Float[np.ndarray, "T 64"]:
    """Digits as signs, those that occurred before left out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("scikit-learn", "data", "The film of digits") from error
    found: Any = load_digits()
    signs = np.where(found.data > 7, 1.0, -1.0)
    return signs[np.sort(np.unique(signs, axis=0, return_index=True)[1])]


def replayed(items: np.ndarray, interaction: AbstractInteraction, flips: int) -> np.ndarray:
    """The states of one run through all items, from the first one with `flips` signs changed."""
    patterns = pack(Patterns(items, check_patterns=False))
    # two items that differ in one neuron are the same for it unless it feels itself
    network = DenseMemory(patterns, interaction, transition="chain", keep_diagonal=True)
    start = network.init(patterns.corrupt(jr.key(0), 0, flips))
    how: Any = dict(track=[0], observe=_spins, progress=False)
    return np.asarray(iterate(network, start, len(items) - 1, **how).observed)


def _spins(t, state, network):
    return state.spins


def capacity(interaction: AbstractInteraction, N: int) -> float:
    """So many random memories are replayed without any error in half of all cases."""
    try:
        return float(error_free_capacity(interaction, N, keep_diagonal=True))
    except ValueError:  # more than it counts, 1e30
        return math.inf


def of_text(text: np.ndarray, window: int, code: int, interaction: AbstractInteraction) -> Replay:
    """The replay of a text; the letter at a place is the one whose code the last part of the state
    resembles most."""
    codes, items = windows(text, window, code)
    states = replayed(items, interaction, items.shape[1] // 10)
    said = np.argmax(states[1:, -code:] @ codes[-1].T, axis=1)
    return _replay(said != text[window:], states, items)


def of_film(frames: np.ndarray, interaction: AbstractInteraction) -> Replay:
    """The replay of a film."""
    states = replayed(frames, interaction, 1)
    return _replay(states[1:] != frames[1:], states, frames)


def _replay(wrong: np.ndarray, states: np.ndarray, items: np.ndarray) -> Replay:
    exact = (states[1:] == items[1:]).all(1)
    begun = 2  # the first step completes the start
    failed = np.flatnonzero(~exact[begun:])
    first = int(failed[0]) + begun + 1 if failed.size else len(items)
    return Replay(float(wrong.mean()), float((~exact).mean()), first)


def main(arguments: list[str] | None = None) -> None:
    """Replay both by all interactions, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("letters", 2000), ("window", 27), ("code", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args(arguments)
    for name in ("letters", "window", "code"):
        as_count(getattr(given, name), name)
    text, frames = letters(given.letters), film()
    N, M = given.window * given.code, len(text) - given.window + 1
    kinds = {
        f"text: {M} windows of {N} neurons": (
            N,
            lambda f: of_text(text, given.window, given.code, f),
        ),
        f"film: {len(frames)} digits of 64 neurons": (64, lambda f: of_film(frames, f)),
    }
    for title, (size, run) in kinds.items():
        print(f"\n{title}\n{'':14}  wrong symbols  wrong items  first wrong  random items")
        for name, interaction in INTERACTIONS.items():
            found, law = run(interaction), capacity(interaction, size)
            row = f"{found.symbols:13.3f}  {found.items:11.3f}  {found.first:11}  {law:12.4g}"
            print(f"{name:14}  {row}")


if __name__ == "__main__":
    main()
