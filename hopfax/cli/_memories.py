"""Memories as the commands are given them: made up, from files, or images."""

import hashlib
import math
import pathlib
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from .. import patterns
from .._errors import missing
from ..patterns._files import read_images

#: Memories and neurons of made-up patterns, where nothing else is said.
MEMORIES, NEURONS = 4, 1024


@runtime_checkable
class Given(Protocol):
    """The options that say which memories."""

    @property
    def patterns(self) -> str: ...

    @property
    def memories(self) -> int | None: ...

    @property
    def neurons(self) -> int | None: ...

    @property
    def seed(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int] | None: ...

    @property
    def threshold(self) -> str: ...


def memories_of(given: Given) -> tuple[patterns.Patterns, tuple[int, int] | None]:
    """The patterns, and the height and width of the images if they are some."""
    level: Any = given.threshold
    if level not in ("median", "mean"):
        level = float(level)
    path = pathlib.Path(given.patterns).expanduser()
    if given.patterns == "digits":
        images = digits()
        P = len(images) if given.memories is None else given.memories
        if not 1 <= P <= len(images):
            raise ValueError(f"`memories` must lie in 1..10 for digits, got {P}.")
        return patterns.from_images(images[:P], threshold=level), images.shape[1:]
    if path.is_dir():
        images = read_images(path, given.image_shape)
        found = patterns.from_images(images, threshold=level)
        P = found.P if given.memories is None else given.memories
        if not 1 <= P <= found.P:
            raise ValueError(f"`memories` is {P}, but {path} holds {found.P} images.")
        return patterns.Patterns(found.xi[:P]), images.shape[1:]
    found = patterns_from(given.patterns, given.memories, given.neurons, given.seed)
    if given.image_shape is not None and math.prod(given.image_shape) != found.N:
        raise ValueError(f"`image_shape` {given.image_shape} does not make {found.N} neurons.")
    return found, given.image_shape


def patterns_from(
    source: str, P: int | None = None, N: int | None = None, seed: int = 0
) -> patterns.Patterns:
    """Memories from `hadamard`, `random`, a .npy or .npz file, or a folder of PNG/JPEG images.

    **Arguments:** `P`, `N`: memories and neurons, by default 4 and 1024. From a file or folder the
    first `P` are taken (default: all), and a given `N` must be that of the file. `seed`: of the
    random patterns.

    **Raises:** ValueError, or FileNotFoundError, naming `patterns`, `memories` or `neurons`.
    """
    for name, value in (("memories", P), ("neurons", N)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    made = (P or MEMORIES, N or NEURONS)
    if source == "hadamard":
        P, N = made
        many = 2**P > N > P  # columns 1, 2, 4, ... do not suffice; any others are orthogonal, too
        try:
            return patterns.hadamard(list(range(1, P + 1)) if many else P, N)
        except ValueError as error:
            raise ValueError(str(error).replace("`N`", "`neurons`")) from error
    if source == "random":
        return patterns.random(jax.random.key(seed), *made)
    path = pathlib.Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"`patterns` must be hadamard, random, a .npy or .npz file, or a folder of images (for "
            f"`hopfax run` also digits); there is no {source!r}."
        )
    try:
        found = patterns.from_images(path) if path.is_dir() else patterns.load(path)
    except ValueError as error:
        text = str(error).replace("`path`", "`patterns`").replace("`source`", "`patterns`")
        raise ValueError(text) from error
    if P is not None and P > found.P:
        raise ValueError(f"`memories` is {P}, but {source} holds {found.P}.")
    if N is not None and N != found.N:
        raise ValueError(f"`neurons` is {N}, but the memories in {source} have {found.N}.")
    return found if P in (None, found.P) else patterns.Patterns(found.xi[:P])


def digest(array: Any) -> str:
    """SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def digits() -> np.ndarray:
    """The first image of every digit 0..9 in scikit-learn's data set, (10, 8, 8), levels 0..16."""
    images, target = digit_images("--patterns digits")
    return np.stack([images[np.argmax(target == digit)] for digit in range(10)])


def digit_images(what: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and digits of scikit-learn's data set.

    **Raises:** ImportError naming the extra, and `what` needs it, if scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("scikit-learn", "data", what) from error
    found: Any = load_digits()
    return found.images, found.target
