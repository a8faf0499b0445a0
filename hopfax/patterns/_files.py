"""Memories from files: images, and arrays of NumPy.

The files may be a stranger's: they are regular ones, measured before they are read, and nothing in
them runs. Whatever is wrong with one is a ValueError in one line that names it.
"""

import os
import pathlib
import warnings
import zipfile
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np

from .._errors import check_finite, check_memory, check_option, missing
from .._files import Form, open_regular, read_whole
from .._types import ArrayLike
from ._stored import Patterns

#: Bytes that patterns need for each of their entries, copies and checks included.
_ENTRY = 24
#: Endings of images in a folder, and what may be in them. Of the formats that Pillow knows, others
#: start programs (EPS) or have no business here.
_ENDINGS, _FORMATS = (".png", ".jpg", ".jpeg"), ("PNG", "JPEG", "GIF", "BMP")

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

    **Raises:** ValueError if sizes differ, if all pixels of an image end up with the same sign, or
    naming a file that is no image, is damaged, or is too large for this machine.

    **Example:**

    ```python
    images = np.arange(24.0).reshape(2, 3, 4) % 7  # two images of 3 x 4 pixels
    patterns = hx.patterns.from_images(images)
    patterns.P, patterns.N  # 2, 12
    ```
    """
    if isinstance(source, str | os.PathLike):
        images = read_images(source, shape)
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

    **Raises:** ValueError naming the file for one of another kind, one without such an array, a
    damaged one, one that holds pickled objects, or one too large for this machine.

    **Example:**

    ```python
    np.save("xi.npy", hx.patterns.hadamard(4, 16).xi)
    hx.patterns.load("xi.npy").xi.shape  # (4, 16)
    ```
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"`path` must end in .npy or .npz, got {path.name!r}.")
    with open_regular(path) as file:
        try:
            if path.suffix == ".npy":
                found = _read_array(file, os.fstat(file.fileno()).st_size)
            else:
                found = _read_archive(file)
        except ValueError as error:
            raise ValueError(f"`path`: {path} cannot be read: {error}") from error
        except Exception as error:  # of a damaged archive, a dozen kinds
            raise ValueError(f"`path`: {path} is damaged ({type(error).__name__}).") from error
    try:
        return Patterns(found)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`path`: {path} holds no patterns: {error}") from error


def _read_array(file: Any, size: int) -> np.ndarray:
    """The array of numbers that fills a file of `size` bytes."""
    form, values = read_whole(file, size)
    _check_form(form)
    return values()


def _check_form(form: Form) -> None:
    if form.dtype.kind not in "biufc":
        raise ValueError(f"it holds {form.dtype}, not numbers.")
    entries = form.nbytes // form.dtype.itemsize
    kind = f"{form.dtype}{list(form.shape)}"
    check_memory("path", form.nbytes + _ENTRY * entries, f"an array of {kind} as patterns")


def _read_archive(file: BinaryIO) -> np.ndarray:
    """The array `xi` of an archive, or its only one."""
    with zipfile.ZipFile(file) as archive:
        arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        names = [info.filename.removesuffix(".npy") for info in arrays]
        wanted = [info for info in arrays if info.filename == "xi.npy"] or arrays
        if len(wanted) != 1:
            listed = ", ".join(repr(name[:40]) for name in names[:5]) or "none"
            more = ", ..." if len(names) > 5 else ""
            raise ValueError(f"it must hold an array `xi`, or only one, but has {listed}{more}.")
        with archive.open(wanted[0]) as member:
            found = _read_array(member, wanted[0].file_size)
            member.read(1)  # which compares the checksum
            return found


def read_images(source: str | os.PathLike, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The images in a folder in the order of their names, as grey values (P, height, width).

    **Raises:** as `from_images`.
    """
    folder = pathlib.Path(source)
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "io", "reading images") from error
    if not folder.is_dir():
        raise ValueError(f"`source` must be a folder of images or an array, but {folder} is none.")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _ENDINGS)
    if not files:
        raise ValueError(f"`source`: no PNG or JPEG files in {folder}.")
    images: list[np.ndarray] = []
    for file in files:
        with open_regular(file, "source") as content, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                images.append(_read_image(content, shape, len(files)))
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise ValueError(
                    f"`source`: {file} has more pixels than a picture should have; make it "
                    "smaller (or raise PIL.Image.MAX_IMAGE_PIXELS)."
                ) from error
            except _TooLarge as error:
                raise ValueError(f"`source`: {file}: {error}") from error
            except Exception as error:  # of a damaged image, a dozen kinds
                raise ValueError(
                    f"`source`: {file} is no PNG or JPEG image, or a damaged one "
                    f"({type(error).__name__})."
                ) from error
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images differ in size {sorted(sizes)}; pass `shape=(height, width)`.")
    return np.stack(images)


class _TooLarge(Exception):
    """An image that does not fit into memory."""


def _read_image(content: BinaryIO, shape: tuple[int, int] | None, many: int) -> np.ndarray:
    """One of so many images of the same size."""
    from PIL import Image

    with Image.open(content, formats=_FORMATS) as image:
        height, width = (image.height, image.width) if shape is None else shape
        size = 8 * image.height * image.width + _ENTRY * many * height * width
        try:
            check_memory("source", size, f"{many} images of {height} x {width} pixels")
        except ValueError as error:
            raise _TooLarge(error) from error
        grey = image.convert("L")
        grey = grey if shape is None else grey.resize((width, height))
        return np.asarray(grey, dtype=float)
