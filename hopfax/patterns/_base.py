"""What every set of memories gives: blocks of patterns, one column, one pattern."""

import abc
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float, Integer, UInt32

from .._errors import as_count, as_index, as_key, shown
from .._report import Report, Reported, fields_report
from .._types import PerNeuron, PerPattern, is_concrete

#: The number of a pattern or a neuron, which may be traced.
Index: TypeAlias = int | np.integer | Integer[Array, ""]

WORD = 32  # entries of a packed word: bit j of word w belongs to neuron 32 w + j


class AbstractPatterns(Reported, eqx.Module):
    """P memories of N neurons, wherever they are kept.

    `DenseMemory` reads them in blocks, one after the other, so that no more than one block need
    exist at a time.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    isinstance(patterns, hx.AbstractPatterns)  # True, as for packed and generated ones
    cue = patterns.corrupt(jax.random.key(0), 2, 3)
    cue @ patterns.pattern(2)  # 10: 13 neurons agree, 3 do not
    ```
    """

    binary: AbstractVar[bool]

    @property
    @abc.abstractmethod
    def P(self) -> int:
        """How many patterns there are."""

    @property
    @abc.abstractmethod
    def N(self) -> int:
        """How many neurons each has."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """Floating type of the patterns, and of all that is computed with them."""

    def _report(self) -> Report:
        kind = "" if type(self).__name__ == "Patterns" else f", {type(self).__name__}"
        sign = " of signs" if self.binary else ""
        memories = "1 memory" if self.P == 1 else f"{self.P:,} memories"
        title = f"{memories}{sign}, {self.N:,} neurons{kind}, {self.dtype}"
        return fields_report(self, title, without=("binary",))

    @abc.abstractmethod
    def rows(self, first: Index, size: int) -> Float[Array, "size N"]:
        """The `size` patterns from number `first` on."""

    @abc.abstractmethod
    def words(self, first: Index, size: int) -> UInt32[Array, "size W"] | None:
        """The same patterns as bits, 32 neurons a word; None if they are kept as numbers."""

    @abc.abstractmethod
    def column(self, neuron: Index) -> PerPattern:
        """The entries of all patterns at one neuron."""

    def pattern(self, mu: Index) -> PerNeuron:
        """The pattern with number `mu`, counted from 0.

        **Raises:** ValueError if there is none with that number (a traced one is not checked).
        """
        return self.rows(as_index(mu, "mu", self.P, "patterns"), 1)[0]

    def corrupt(self, key: jax.Array, mu: int, flips: int) -> PerNeuron:
        """Pattern `mu` with exactly `flips` of its entries, drawn at random, changed in sign.

        **Raises:** TypeError/ValueError unless both are whole numbers in range; ValueError for
        patterns without signs, such as active and silent neurons (`hopfax.patterns.degrade`).
        """
        flips = as_count(flips, "flips", 0)
        if flips > self.N:
            raise ValueError(f"`flips` must lie between 0 and N = {self.N}, got {flips}.")
        if (found := unsigned(self)) is not None:
            raise ValueError(
                f"`corrupt` changes signs, but {found}. Cues of sets of active neurons are made by "
                "hopfax.patterns.degrade(patterns, key, mu, kept); signs of grey values by "
                "hopfax.patterns.from_images(xi)."
            )
        rank = jr.permutation(as_key(key), self.N)
        pattern = self.pattern(mu)
        return jnp.where(rank < flips, -pattern, pattern)


def unsigned(patterns: AbstractPatterns) -> str | None:
    """What is wrong with patterns where signs are meant, as the end of a sentence, if none of their
    entries is negative: sets of active neurons, grey values. None for any others, for classes of
    neurons, whose signs have been taken out, and under a trace."""
    stored: Any = getattr(patterns, "inner", patterns)  # of those that are spread over devices
    if patterns.binary or getattr(stored, "counts", None) is not None:
        return None
    if not is_concrete(stored.xi) or (stored.xi.size and np.asarray(stored.xi).min() < 0):
        return None
    xi = np.asarray(stored.xi)
    if ((xi == 0) | (xi == 1)).all():
        return "the entries of `patterns` are 0 and 1, not signs"
    return f"the entries of `patterns` lie between {xi.min():g} and {xi.max():g}, with no sign"


def check_block(patterns: AbstractPatterns, first: Any, size: Any) -> None:
    """TypeError/ValueError unless there are patterns `first` to `first + size - 1`; where `first`
    is traced, only its kind is known."""
    size = as_count(size, "size")
    place = as_index(first, "first", patterns.P, "patterns")
    if isinstance(place, int) and place + size > patterns.P:
        text = f"{patterns.P - place}, from number {place} on, got {shown(size)}"
        raise ValueError(f"`size` must be at most {text}.")


def check_sizes(P: Any, N: Any) -> tuple[int, int]:
    """P patterns of N neurons. **Raises:** TypeError/ValueError unless both are at least 1."""
    return as_count(P, "P"), as_count(N, "N")


def pack_bits(positive: Bool[Array, "... N"]) -> UInt32[Array, "... W"]:
    """Booleans as bits of words, the last word filled up with zeros."""
    N = positive.shape[-1]
    words = -(-N // WORD)
    padding = [(0, 0)] * (positive.ndim - 1) + [(0, words * WORD - N)]
    bits = jnp.pad(positive, padding).reshape(*positive.shape[:-1], words, WORD)
    places = jnp.asarray(np.arange(WORD), jnp.uint32)
    return (bits.astype(jnp.uint32) << places).sum(-1, dtype=jnp.uint32)


def unpack_bits(words: UInt32[Array, "... W"], N: int, dtype: np.dtype) -> Float[Array, "... N"]:
    """The first N bits of words as signs: +1 for a bit that is set, else -1."""
    places = jnp.asarray(np.arange(WORD), jnp.uint32)
    bits = ((words[..., None] >> places) & jnp.uint32(1)).astype(jnp.int8)
    signs = (2 * bits - 1).astype(dtype)
    return signs.reshape(*words.shape[:-1], -1)[..., :N]
