"""Memories as the commands are given them: made up, from files, or images."""

import contextlib
import hashlib
import math
import os
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from .. import patterns
from .._errors import PhysicsWarning, check_memory, missing
from ..patterns._files import read_images
from ._limits import check_patterns, check_seed

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
    def transpose(self) -> bool: ...

    @property
    def seed(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int] | None: ...

    @property
    def threshold(self) -> str: ...


def memories_of(given: Given) -> tuple[patterns.Patterns, tuple[int, int] | None]:
    """The patterns, and the height and width of the images if they are some.

    **Raises:** ValueError or OSError naming the option at fault.
    """
    level = _level(given.threshold)
    shape = given.image_shape
    if shape is not None:
        if min(shape) < 1:
            raise ValueError(f"`image_shape` must be two numbers of at least 1, got {list(shape)}.")
        check_memory("image_shape", 8 * math.prod(shape), f"an image of {shape[0]} x {shape[1]}")
    path = path_of(given.patterns)
    images = given.patterns == "digits" or path.is_dir()
    if images and given.transpose:
        raise ValueError("`transpose` is for the memories of a .npy or .npz file.")
    if given.patterns == "digits":
        drawn = digits()
        P = len(drawn) if given.memories is None else given.memories
        if not 1 <= P <= len(drawn):
            raise ValueError(f"`memories` must lie in 1..10 for digits, got {P}.")
        return patterns.from_images(drawn[:P], threshold=level), drawn.shape[1:]
    if path.is_dir():
        with options_named():
            images = read_images(path, shape)
            found = patterns.from_images(images, threshold=level)
        P = found.P if given.memories is None else given.memories
        if not 1 <= P <= found.P:
            raise ValueError(f"`memories` is {P}, but {path} holds {found.P} images.")
        return patterns.Patterns(found.xi[:P]), images.shape[1:]
    numbers = (given.memories, given.neurons, given.seed, given.transpose)
    found = patterns_from(given.patterns, *numbers)
    if shape is not None and math.prod(shape) != found.N:
        raise ValueError(f"`image_shape` {shape} does not make {found.N} neurons.")
    return found, shape


def patterns_from(
    source: str,
    P: int | None = None,
    N: int | None = None,
    seed: int = 0,
    transpose: bool = False,
) -> patterns.Patterns:
    """Memories from `hadamard`, `random`, a .npy or .npz file, or a folder of PNG/JPEG images.

    **Arguments:** `P`, `N`: memories and neurons, by default 4 and 1024. From a file or folder the
    first `P` are taken (default: all), and a given `N` must be that of the file. `seed`: of the
    random patterns. `transpose`: a column of the file is a memory, not a row.

    **Raises:** ValueError, or FileNotFoundError, naming `patterns`, `memories` or `neurons`.
    """
    for name, value in (("memories", P), ("neurons", N)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    check_seed(seed)
    path = path_of(source)
    if transpose and (source in ("hadamard", "random") or path.is_dir()):
        raise ValueError("`transpose` is for the memories of a .npy or .npz file.")
    if source in ("hadamard", "random"):
        return _made(source, P or MEMORIES, N or NEURONS, seed)
    if not path.exists():
        raise FileNotFoundError(
            f"`patterns` must be hadamard, random, a .npy or .npz file, or a folder of images (for "
            f"`hopfax run` also digits); there is no {source!r}."
        )
    if path.is_dir():
        with options_named():
            found = patterns.from_images(path)
    else:
        found = _of_file(path, transpose, N)
    if P is not None and P > found.P:
        raise ValueError(f"`memories` is {P}, but {source} holds {found.P}.")
    if N is not None and N != found.N:
        raise ValueError(f"`neurons` is {N}, but the memories in {source} have {found.N}.")
    return found if P in (None, found.P) else patterns.Patterns(found.xi[:P])


def path_of(source: str) -> pathlib.Path:
    """The path that a text is, with ~ as the shell has it."""
    return pathlib.Path(os.path.expanduser(source))


def _level(threshold: str) -> Any:
    """A threshold of grey levels as the library takes it."""
    if threshold in ("median", "mean"):
        return threshold
    try:
        level = float(threshold)
    except ValueError as error:
        raise ValueError(
            f"`threshold` must be median, mean or a number, got {threshold!r}."
        ) from error
    if not math.isfinite(level):
        raise ValueError(f"`threshold` must be median, mean or a finite number, got {threshold}.")
    return level


def _made(source: str, P: int, N: int, seed: int) -> patterns.Patterns:
    """Orthogonal or random memories."""
    check_patterns(P, N)
    if source == "random":
        return patterns.random(jax.random.key(seed), P, N)
    if P >= N:
        raise ValueError(
            f"`memories` must be fewer than the {N} `neurons` to be orthogonal, got {P}; "
            "--patterns random makes any number."
        )
    # Where columns 1, 2, 4, ... do not suffice, any others are orthogonal, too.
    many = P >= N.bit_length()
    with options_named():
        return patterns.hadamard(list(range(1, P + 1)) if many else P, N)


def _of_file(path: pathlib.Path, transpose: bool, N: int | None) -> patterns.Patterns:
    """The memories in a file of NumPy.

    **Raises:** ValueError if there are more than neurons, as of the transpose, unless `N` says that
    they are meant to be.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhysicsWarning)  # it may be the transpose that is read
        with options_named():
            found = patterns.load(path)
    xi = found.xi.T if transpose else found.xi
    P, columns = xi.shape
    if P > columns != N:
        which = "without" if transpose else "by"
        raise ValueError(
            f"`patterns`: {path} holds {P} memories of {columns} neurons, if a memory is one of "
            f"its {'columns' if transpose else 'rows'}. It is read the other way {which} "
            f"--transpose; --neurons {columns} says that it is meant."
        )
    return patterns.Patterns(xi)


#: Options by the arguments of the library that they become.
_OPTIONS = {"path": "patterns", "source": "patterns", "shape": "image_shape", "columns": "memories"}
_OPTIONS |= {"P": "memories", "N": "neurons"}


@contextlib.contextmanager
def options_named() -> Iterator[None]:
    """Errors of the library inside name the options of the command line, not its own arguments."""
    try:
        yield
    except ValueError as error:

        def option(name: re.Match[str]) -> str:
            return "`" + _OPTIONS.get(name[1], name[1])

        text = re.sub("`([a-zA-Z]+)(?=[`=])", option, str(error))
        raise ValueError(text) from error


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
