"""Memories as the explorer holds them: as signs and as active neurons, perhaps as images."""

import dataclasses
import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from .. import patterns
from ..patterns import Patterns, SiteClasses
from ..patterns._images import binarised, decoded

#: Neurons of memories that are made, the side of the square that they are shown as, and the share
#: of active ones in the memories of the rate family that are no plain sets.
SIDE = 32
ACTIVE = 0.4
#: Longest side to which uploaded images are made smaller, and how many of them there may be.
LONGEST, MOST = 64, 64
#: Memories up to which all possible classes of neurons are written down.
_ALL = 7


class Classes(NamedTuple):
    """Classes of equal neurons, so many that their number hardly depends on the memories; and the
    class and the sign of every neuron."""

    patterns: Patterns
    index: np.ndarray
    sign: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Memories:
    """The memories of a network. `shape`: height and width as which one is shown, if it is."""

    signs: Patterns
    active: Patterns
    shape: tuple[int, int] | None
    pictures: bool = False

    @property
    def P(self) -> int:
        """How many."""
        return self.signs.P

    @property
    def N(self) -> int:
        """How many neurons."""
        return self.signs.N

    @functools.cached_property
    def by_sign(self) -> Classes:
        """Classes of neurons that are equal up to a sign."""
        return _padded(self.signs.site_classes(), self.signs.binary and self.P <= _ALL, 1.0)

    @functools.cached_property
    def by_column(self) -> Classes:
        """Classes of neurons that are equal in all sets of active ones."""
        return _padded(self.active.column_classes(), self.P <= _ALL, 0.0)

    @functools.cached_property
    def crosstalk(self) -> float:
        """The largest overlap of two memories, as signs."""
        gram = np.array(self.signs.gram(), dtype=float)
        np.fill_diagonal(gram, 0.0)
        return float(np.abs(gram).max(initial=0.0))

    @functools.cached_property
    def even(self) -> bool:
        """Whether all sets have as many active neurons."""
        active = np.asarray(self.active.xi).sum(1)
        return bool((active == active[0]).all())


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Where memories come from: `make(P)` makes the first P of them. `most`: how many there are."""

    title: str
    most: int
    make: Callable[[int], Memories]

    def first(self, count: int) -> Memories:
        """So many memories, or all that there are, made once."""
        return _made(self, min(count, self.most))


@functools.lru_cache(maxsize=32)
def _made(source: Source, count: int) -> Memories:
    return source.make(count)


def hadamard(most: int) -> Source:
    """Orthogonal signs."""

    def make(P: int) -> Memories:
        N = SIDE**2
        columns = P if P < N.bit_length() else list(range(1, P + 1))
        signs = patterns.hadamard(columns, N)
        return Memories(signs, patterns.active(signs), (SIDE, SIDE))

    return Source("orthogonal (Hadamard)", most, make)


def random(most: int, seed: int) -> Source:
    """Random signs, and sets of equal size drawn with the same numbers."""

    def make(P: int) -> Memories:
        levels = np.asarray(jax.random.normal(jax.random.key(seed), (most, SIDE**2)))[:P]
        signs = Patterns(np.where(levels > 0, 1.0, -1.0), binary=True)
        return Memories(signs, patterns.active(levels, ACTIVE), (SIDE, SIDE))

    return Source("random", most, make)


def pictures(title: str, levels: np.ndarray, names: Sequence[str] = ()) -> Source:
    """Images (P, height, width) of grey levels: bright pixels are +1, or active.

    **Raises:** ValueError for one that no level parts.
    """
    signs = binarised(levels, "median", names)

    def make(P: int) -> Memories:
        first = Patterns(signs.xi[:P], binary=True)
        shape = (levels.shape[1], levels.shape[2])
        return Memories(first, patterns.active(levels[:P], ACTIVE), shape, True)

    return Source(title, len(levels), make)


def later(title: str, most: int, levels: Callable[[], np.ndarray]) -> Source:
    """So many images whose grey levels are read when they are first shown."""

    def make(P: int) -> Memories:
        return pictures(title, levels()).make(P)

    return Source(title, most, make)


def given(title: str, signs: Patterns, shape: tuple[int, int] | None) -> Source:
    """Patterns from a file: signs, or numbers of which the positive ones are active.

    **Raises:** ValueError for patterns of which some have no active, or no silent neuron.
    """
    active = patterns.active(signs)

    def make(P: int) -> Memories:
        return Memories(
            Patterns(signs.xi[:P]), Patterns(active.xi[:P], binary=False), shape, shape is not None
        )

    return Source(title, signs.P, make)


def uploaded(files: Sequence[tuple[str, bytes]]) -> Source:
    """Images whose files were sent, made as large as the first one, but no side longer than
    `LONGEST`.

    **Raises:** ValueError naming the file that is no sound image, or for too few or too many.
    """
    if not 2 <= len(files) <= MOST:
        raise ValueError(f"choose from 2 to {MOST} images at once, got {len(files)}.")
    shape, levels = None, []
    for name, content in files:
        if shape is None:
            height, width = decoded(io.BytesIO(content), name, None, 1).shape
            scale = min(1.0, LONGEST / max(height, width))
            shape = (max(1, math.floor(height * scale)), max(1, math.floor(width * scale)))
        levels.append(decoded(io.BytesIO(content), name, shape, len(files)))
    names = [name for name, _ in files]
    return pictures(f"your images ({len(files)})", np.stack(levels), names)


def _padded(found: SiteClasses, all_there: bool, entry: float) -> Classes:
    """Classes with empty ones added up to a power of two, unless all possible ones are there."""
    small, C = found.patterns, found.patterns.N
    index, sign = np.asarray(found.index), np.asarray(found.sign)
    size = C if all_there else 2 ** max(3, (C - 1).bit_length())
    xi = np.pad(np.asarray(small.xi), ((0, 0), (0, size - C)), constant_values=entry)
    counts = np.pad(np.asarray(found.counts), (0, size - C))
    merged = Patterns(xi, binary=small.binary, counts=counts, check_patterns=False)
    return Classes(merged, index, sign)
