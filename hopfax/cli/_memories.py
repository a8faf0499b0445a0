"""Memories as the commands `run` and `fit` are given them: made up, from files, or images."""

import math
import pathlib
from typing import Any, Protocol, runtime_checkable

import numpy as np

from . import _common


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


def memories_of(given: Given) -> tuple[Any, tuple[int, int] | None]:
    """The patterns, and the height and width of the images if they are some."""
    from .. import patterns

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
        found = patterns.from_images(path, shape=given.image_shape, threshold=level)
        P = found.P if given.memories is None else given.memories
        if not 1 <= P <= found.P:
            raise ValueError(f"`memories` is {P}, but {path} holds {found.P} images.")
        return patterns.Patterns(found.xi[:P]), given.image_shape or _shape_of(path)
    found = _common.patterns_from(given.patterns, given.memories, given.neurons, given.seed)
    if given.image_shape is not None and math.prod(given.image_shape) != found.N:
        raise ValueError(f"`image_shape` {given.image_shape} does not make {found.N} neurons.")
    return found, given.image_shape


def digits() -> np.ndarray:
    """The first image of every digit 0..9 in scikit-learn's data set, (10, 8, 8), levels 0..16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        from .._errors import missing

        raise missing("scikit-learn", "data", "--patterns digits") from error
    found: Any = load_digits()
    return np.stack([found.images[np.argmax(found.target == digit)] for digit in range(10)])


def _shape_of(folder: pathlib.Path) -> tuple[int, int]:
    """Height and width of a folder's images (which from_images has found to be all equal)."""
    from PIL import Image

    endings = {".png", ".jpg", ".jpeg"}
    with Image.open(next(f for f in folder.iterdir() if f.suffix.lower() in endings)) as image:
        return image.height, image.width
