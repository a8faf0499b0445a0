"""Memories as the commands are given them: made up, from files, or images."""

import contextlib
import dataclasses
import hashlib
import math
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from .. import patterns
from .._errors import PhysicsWarning, check_memory, missing
from ..patterns._images import NAMED, binarised, read_images
from ._limits import check_patterns, check_seed

#: Memories that have a name; others are of a file or a folder.
NAMES = ("hadamard", "random", "digits")
#: And signs that overlap by so much on average, correlated:0.2.
_CORRELATED = "correlated:"
#: Memories and neurons of made-up patterns, and the threshold of images, if nothing else is said.
MEMORIES, NEURONS, _THRESHOLD = 4, 1024, "median"


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
    def threshold(self) -> str | None: ...


@dataclasses.dataclass(frozen=True)
class Source:
    """`Given`, for a command whose options have other names."""

    patterns: str
    memories: int | None = None
    neurons: int | None = None
    transpose: bool = False
    seed: int = 0
    image_shape: tuple[int, int] | None = None
    threshold: str | None = None


def memories_of(
    given: Given, shown: bool = False, share: float | None = None
) -> tuple[patterns.Patterns, tuple[int, int] | None]:
    """The patterns, and the height and width of the images if they are some.

    **Arguments:** `shown`: whether the command shows memories as images of `image_shape`. `share`:
    of images, the brightest pixels by which they become active neurons, not signs.

    **Raises:** ValueError or OSError naming the option at fault, also one that does nothing.
    """
    path, shape = path_of(given.patterns), given.image_shape
    for name, least in (("memories", 1), ("neurons", 1)):
        if (value := getattr(given, name)) is not None and value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    check_seed(given.seed)
    if shape is not None:
        if min(shape) < 1:
            raise ValueError(f"`image_shape` must be two numbers of at least 1, got {list(shape)}.")
        check_memory("image_shape", 8 * math.prod(shape), f"an image of {shape[0]} x {shape[1]}")
    level = _level(given.threshold or _THRESHOLD)
    if not named(given.patterns) and not path.exists():
        raise FileNotFoundError(
            f"`patterns` must be {', '.join(NAMES)}, correlated:RHO, a .npy, .npz or .csv file, "
            f"or a folder of images; there is no {given.patterns!r}."
        )
    _check_useful(given, shown)
    if given.patterns in ("hadamard", "random") or given.patterns.startswith(_CORRELATED):
        found = _made(given)
    elif path.is_dir() and not named(given.patterns):
        with options_named():
            images = read_images(path, shape)
            found = _of_levels(images.levels, level, share, images.names)
        shape = images.levels.shape[1:]
    elif given.patterns == "digits":
        drawn = digits()
        with options_named():
            found = _of_levels(drawn, level, share)
        shape = drawn.shape[1:]
    else:
        found = _of_file(path, given.transpose, given.neurons)
    if shape is not None and math.prod(shape) != found.N:
        raise ValueError(f"`image_shape` {shape} does not make {found.N} neurons.")
    return _first(found, given), shape


def _of_levels(
    levels: np.ndarray, level: Any, share: float | None, names: Sequence[str] = ()
) -> patterns.Patterns:
    return binarised(levels, level, names) if share is None else patterns.active(levels, share)


def are_images(source: str) -> bool:
    """Whether memories are images with grey levels."""
    return source == "digits" or (not named(source) and path_of(source).is_dir())


def _check_useful(given: Given, shown: bool) -> None:
    """ValueError for an option that does nothing with these patterns."""
    images = are_images(given.patterns)
    folder = images and given.patterns != "digits"
    if given.transpose and (images or named(given.patterns)):
        raise ValueError("`transpose` is for the memories of a .npy, .npz or .csv file.")
    if given.threshold not in (None, _THRESHOLD) and not images:
        raise ValueError(
            "`threshold` is for images (digits or a folder); the numbers of other memories are "
            "taken as they are. hopfax.patterns.from_images(array, threshold=...) makes signs of "
            "an array of images, for a new file."
        )
    if given.image_shape is not None and not folder:
        if given.patterns == "digits":
            raise ValueError("`image_shape` is for other images; digits have 8 x 8 pixels.")
        if not shown:
            raise ValueError("`image_shape` is for a folder of images, which it resizes.")


def _first(found: patterns.Patterns, given: Given) -> patterns.Patterns:
    """The first memories, as many as are asked for."""
    P, N = given.memories, given.neurons
    if P is not None and P > found.P:
        raise ValueError(f"`memories` is {P}, but {given.patterns} holds {found.P}.")
    if N is not None and N != found.N:
        raise ValueError(f"`neurons` is {N}, but the memories in {given.patterns} have {found.N}.")
    return found if P in (None, found.P) else patterns.Patterns(found.xi[:P])


def path_of(source: str) -> pathlib.Path:
    """The path that a text is, with ~ as the shell has it."""
    return pathlib.Path(os.path.expanduser(source))


def _level(threshold: str) -> Any:
    """A threshold of grey levels as the library takes it."""
    if threshold in NAMED:
        return threshold
    known = f"{', '.join(NAMED)} or a"
    try:
        level = float(threshold)
    except ValueError as error:
        raise ValueError(f"`threshold` must be {known} number, got {threshold!r}.") from error
    if not math.isfinite(level):
        raise ValueError(f"`threshold` must be {known} finite number, got {threshold}.")
    return level


def _made(given: Given) -> patterns.Patterns:
    """Orthogonal or random memories."""
    P, N = given.memories or MEMORIES, given.neurons or NEURONS
    check_patterns(P, N)
    if given.patterns == "random":
        return patterns.random(jax.random.key(given.seed), P, N)
    if given.patterns.startswith(_CORRELATED):
        return _correlated(given, P, N)
    if P >= N:
        raise ValueError(
            f"`memories` must be fewer than the {N} `neurons` to be orthogonal, got {P}; "
            "--patterns random makes any number."
        )
    # Where columns 1, 2, 4, ... do not suffice, any others are orthogonal, too.
    many = P >= N.bit_length()
    with options_named():
        return patterns.hadamard(list(range(1, P + 1)) if many else P, N)


def _correlated(given: Given, P: int, N: int) -> patterns.Patterns:
    """Signs that overlap by as much, on average, as the option says."""
    text = given.patterns.removeprefix(_CORRELATED)
    try:
        return patterns.correlated(jax.random.key(given.seed), P, N, float(text))
    except ValueError as error:
        raise ValueError(
            f"`patterns`: correlated:RHO needs an overlap in [0, 1), got {text!r}."
        ) from error


def named(source: str) -> bool:
    """Whether memories are made or known by a name, and not read from a file."""
    return source in NAMES or source.startswith(_CORRELATED)


def are_random(source: str) -> bool:
    """Whether memories are drawn at random, with a seed."""
    return source == "random" or source.startswith(_CORRELATED)


def check_seed_used(seed: int, used: bool) -> None:
    """ValueError for a seed that nothing is drawn with."""
    check_seed(seed)
    if seed and not used:
        raise ValueError("`seed` is of noise and of random memories, of which there are none.")


def absolute(asked: Any, named: Callable[[str], bool] = named) -> dict[str, str]:
    """The files that the options name, wherever one stands: for the settings. `named`: which
    memories are no files."""
    files = {name: getattr(asked, name) for name in ("model", "classes")}
    if not named(asked.patterns):
        files["patterns"] = path_of(asked.patterns)
    return {name: str(file.resolve()) for name, file in files.items() if file is not None}


def described(found: Any) -> str:
    """Which memories these are, as a line of the settings."""
    sha = digest(found.xi)[:16]
    return f"memories: {found.P} of {found.N} neurons, sha256 {sha}"


def _of_file(path: pathlib.Path, transpose: bool, N: int | None) -> patterns.Patterns:
    """The memories in a file of NumPy or a table.

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
def options_named(names: Mapping[str, str] = _OPTIONS) -> Iterator[None]:
    """Errors of the library inside name the options of the command line, not its own arguments."""
    try:
        yield
    except ValueError as error:

        def option(name: re.Match[str]) -> str:
            return "`" + names.get(name[1], name[1])

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
