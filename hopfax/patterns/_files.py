"""Memories from files: images, and arrays of NumPy."""

import os
import pathlib
from typing import Literal, TypeAlias

import numpy as np

from .._errors import check_finite, check_option, missing
from .._types import ArrayLike
from ._stored import Patterns

Threshold: TypeAlias = float | int | Literal["median", "mean"]


def from_images(
    source: str | os.PathLike | ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
    threshold: Threshold = "median",
) -> Patterns:
    """Binary patterns from images: bright pixels +1, dark ones -1.

    **Arguments:**

    - `source`: a folder of PNG or JPEG files (read in the order of their names, as grey values), or
      an array of shape (P, height, width) or (P, N).
    - `shape`: files are resized to (height, width); needed if their sizes differ.
    - `threshold`: pixels above it are bright. A grey value, or "median" or "mean" of each image.

    **Raises:** ValueError if sizes differ, or if all pixels of an image end up with the same sign.

    **Example:**

    ```python
    images = np.arange(24.0).reshape(2, 3, 4) % 7  # two images of 3 x 4 pixels
    patterns = hx.patterns.from_images(images)
    patterns.P, patterns.N  # 2, 12
    ```
    """
    if isinstance(source, str | os.PathLike):
        images = _read_folder(pathlib.Path(source), shape)
    else:
        images = np.asarray(source, dtype=float)
        if images.ndim not in (2, 3):
            raise ValueError(
                f"`source` must have shape (P, height, width) or (P, N), got {images.shape}."
            )
    flat = images.reshape(len(images), -1)
    check_finite(flat, "source")
    if isinstance(threshold, str):
        check_option(threshold, "threshold", ("median", "mean"))
        level = getattr(np, threshold)(flat, axis=1, keepdims=True)
    else:
        level = float(threshold)
    xi = np.where(flat > level, 1.0, -1.0)
    for mu, row in enumerate(xi):
        if np.all(row == row[0]):
            raise ValueError(
                f"image {mu} is uniform after `threshold`={threshold!r}; choose another."
            )
    return Patterns(xi, binary=True)


def load(path: str | os.PathLike) -> Patterns:
    """Patterns from a .npy file, or from the array `xi` (or the only array) of a .npz file.

    **Raises:** ValueError for a file of another kind, or one without such an array.

    **Example:**

    ```python
    np.save("xi.npy", hx.patterns.hadamard(4, 16).xi)
    hx.patterns.load("xi.npy").xi.shape  # (4, 16)
    ```
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"`path` must end in .npy or .npz, got {path.name!r}.")
    found = np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        names = list(found)
        name = "xi" if "xi" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise ValueError(f"{path.name} must hold an array `xi`, but has {names}.")
        found = found[name]
    return Patterns(found)


def _read_folder(folder: pathlib.Path, shape: tuple[int, int] | None) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "io", "reading images") from error
    if not folder.is_dir():
        raise ValueError(f"`source` must be a folder of images or an array, but {folder} is none.")
    endings = {".png", ".jpg", ".jpeg"}
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in endings)
    if not files:
        raise ValueError(f"`source`: no PNG or JPEG files in {folder}.")
    images = []
    for file in files:
        with Image.open(file) as image:
            grey = image.convert("L")
            images.append(
                np.asarray(grey.resize((shape[1], shape[0])) if shape else grey, dtype=float)
            )
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images differ in size {sorted(sizes)}; pass `shape=(height, width)`.")
    return np.stack(images)
