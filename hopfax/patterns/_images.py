"""Memories from images: files in a folder, or arrays of grey levels.

The files may be a stranger's: they are regular ones, measured before they are read, and nothing in
them runs. Whatever is wrong with one is a ValueError in one line that names it.
"""

import io
import math
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np

from .._errors import (
    PhysicsWarning,
    as_number,
    as_real,
    check_finite,
    check_memory,
    check_option,
    missing,
    warn,
)
from .._files import open_regular
from .._types import ArrayLike
from ._files import ENTRY
from ._stored import Patterns

#: Endings of images in a folder, and what may be in them. Of the formats that Pillow knows, others
#: start programs (EPS) or have no business here.
_ENDINGS, _FORMATS = (".png", ".jpg", ".jpeg"), ("PNG", "JPEG", "GIF", "BMP")
#: Endings of images that are not read.
_OTHERS = set(
    ".apng .avif .bmp .dib .eps .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jxl .pbm .pcx .pgm "
    ".pnm .ppm .psd .raw .svg .tga .tif .tiff .webp .xbm .xpm".split()
)
_PIXEL = 32  # bytes that a pixel takes while an image is read

Named: TypeAlias = Literal["median", "mean", "otsu"]
Content: TypeAlias = BinaryIO | io.BytesIO
Threshold: TypeAlias = float | int | Named
#: Thresholds by name.
NAMED: tuple[Named, ...] = ("median", "mean", "otsu")


class Images(NamedTuple):
    """Grey levels (P, height, width), and the name of each file."""

    levels: np.ndarray
    names: list[str]


def from_images(
    source: str | os.PathLike | ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
    threshold: Threshold = "median",
) -> Patterns:
    """Binary patterns from images: bright pixels +1, dark ones -1.

    Files are read as grey levels, 0 to 255, or to 65535 for PNG files of 16-bit grey; colours by
    their luma $0.299 R + 0.587 G + 0.114 B$. Transparent pixels lie on white, and pictures are
    turned upright as their EXIF data say.

    **Arguments:**

    - `source`: a folder of PNG or JPEG files (read in the order of their names), or an array of
      shape (P, height, width) or (P, N). Booleans need no threshold: True is bright.
    - `shape`: files are resized to (height, width); needed if their sizes differ.
    - `threshold`: pixels above it are bright. A grey level, or one for each image: "median",
      "mean", or "otsu", the level that parts its pixels into two classes whose means lie apart
      most, $n_0 n_1 (\\mu_1 - \\mu_0)^2$ (Otsu 1979, doi:10.1109/TSMC.1979.4310076).

    A `PhysicsWarning` counts images of other formats that are left out.

    **Raises:** ValueError/TypeError if sizes differ, for entries that are masked or no real
    numbers, if all pixels of an image end up with the same sign, or naming a file that is no image,
    is damaged, has several frames, or is too large for this machine.

    **Example:**

    ```python
    images = np.arange(24.0).reshape(2, 3, 4) % 7  # two images of 3 x 4 pixels
    patterns = hx.patterns.from_images(images)
    patterns.P, patterns.N  # 2, 12
    ```
    """
    if isinstance(source, str | os.PathLike):
        levels, names = read_images(source, shape)
        return binarised(levels, threshold, names)
    if shape is not None:
        raise ValueError("`shape` is for the images of a folder; an array has its own.")
    return binarised(_levels_of(source), threshold)


def binarised(levels: np.ndarray, threshold: Threshold, names: Sequence[str] = ()) -> Patterns:
    """Binary patterns of grey levels, as `from_images`. `names`: of the images in messages."""
    flat = levels.reshape(len(levels), -1) if levels.size else levels
    if not flat.size:
        raise ValueError(f"`source` must hold at least one pixel, but has shape {levels.shape}.")
    check_finite(flat, "source")
    if isinstance(threshold, str):
        check_option(threshold, "threshold", NAMED)
        if flat.dtype == np.bool_:
            cut = np.full((len(flat), 1), 0.5)
        elif threshold == "otsu":
            cut = np.array([[_otsu(row)] for row in flat])
        else:
            cut = getattr(np, threshold)(flat, axis=1, keepdims=True)
    else:
        cut = np.full((len(flat), 1), _number(threshold))
    bright = flat > cut
    for mu in np.flatnonzero(bright.all(1) | ~bright.any(1)).tolist():
        name = f"image {mu}" + (f" ({names[mu]})" if names else "")
        low, high = (float(end(flat[mu])) for end in (np.min, np.max))
        if low == high:
            raise ValueError(
                f"{name} is uniform: all its pixels have the level {low:g}, and no `threshold` "
                "parts them. Leave it out."
            )
        which = "above" if not bright[mu].any() else "at or below"
        raise ValueError(
            f"{name} is uniform after `threshold`={threshold!r}: its levels lie between {low:g} "
            f"and {high:g}, and none is {which} {float(cut[mu, 0]):g}. `threshold`='otsu' parts "
            "them."
        )
    return Patterns(np.where(bright, 1.0, -1.0), binary=True)


def _number(threshold: Any) -> float:
    """A threshold that is a grey level."""
    level = as_number(threshold, "threshold")
    if not math.isfinite(level):
        raise ValueError(f"`threshold` must be finite, got {level}.")
    return level


def _otsu(levels: np.ndarray) -> float:
    """The greatest level of the darker class, of all that occur.

    Libraries find it from a histogram of 256 bins, in which 16-bit images lose their depth; the
    sorted levels themselves need no bins.
    """
    values, counts = np.unique(levels.astype(float), return_counts=True)
    if values.size == 1:
        return values[0]
    size = np.abs(values).max()
    where = values / size - values[0] / size
    below = np.cumsum(counts)[:-1]
    above = levels.size - below
    darker = np.cumsum(counts * where)
    gap = (darker[-1] - darker[:-1]) / above - darker[:-1] / below
    return values[np.argmax(below * above * gap**2)]


def _levels_of(source: ArrayLike) -> np.ndarray:
    """Grey levels, or booleans, in an array of images."""
    array = np.asarray(as_real(source, "source"))
    if array.ndim not in (2, 3):
        hint = " Of colours take the mean, source.mean(-1)." if array.ndim == 4 else ""
        raise ValueError(
            f"`source` must have shape (P, height, width) or (P, N), got {array.shape}.{hint}"
        )
    return array if array.dtype == np.bool_ else array.astype(float)


# Files


def read_images(source: str | os.PathLike, shape: tuple[int, int] | None = None) -> Images:
    """The images in a folder in the order of their names.

    **Raises:** as `from_images`.
    """
    folder = pathlib.Path(source)
    if not folder.is_dir():
        raise ValueError(f"`source` must be a folder of images or an array, but {folder} is none.")
    files = files_in(folder)
    images: list[np.ndarray] = []
    for file in files:
        with open_regular(file, "source") as content:
            images.append(decoded(content, file, shape, len(files)))
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images differ in size {sorted(sizes)}; pass `shape=(height, width)`.")
    return Images(np.stack(images), [file.name for file in files])


def decoded(
    content: Content, name: str | os.PathLike, shape: tuple[int, int] | None, many: int
) -> np.ndarray:
    """The grey levels of an open image file, one of so many of this shape. `name`: of the file in
    messages.

    **Raises:** ValueError naming it for anything but a sound image; ImportError without pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "io", "reading images") from error
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _read_image(content, shape, many)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(
                f"`source`: {name} has more pixels than a picture should have; make it "
                "smaller (or raise PIL.Image.MAX_IMAGE_PIXELS)."
            ) from error
        except _Refused as error:
            raise ValueError(f"`source`: {name}: {error}") from error
        except Exception as error:  # of a damaged image, a dozen kinds
            raise ValueError(
                f"`source`: {name} is no PNG or JPEG image, or a damaged one "
                f"({type(error).__name__})."
            ) from error


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files to be read, at least one; a warning says which images are not."""
    there = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    files = [file for file in there if file.suffix.lower() in _ENDINGS]
    others = [file.name for file in there if file.suffix.lower() in _OTHERS]
    more = ", ..." if len(others) > 3 else ""
    listed = f"{len(others)} of other formats ({', '.join(others[:3])}{more})"
    if not files:
        found = f", but {listed}: convert them" if others else ""
        raise ValueError(f"`source`: no PNG or JPEG files in {folder}{found}.")
    if others:
        warn(
            f"of the images in {folder}, {len(files)} are read, and {listed} are left out, as they "
            "are not PNG or JPEG files; convert them.",
            PhysicsWarning,
        )
    return files


class _Refused(Exception):
    """An image that is fine, but cannot be read rightly."""


def _read_image(content: Content, shape: tuple[int, int] | None, many: int) -> np.ndarray:
    """One of so many images of the same size."""
    from PIL import Image, ImageOps

    with Image.open(content, formats=_FORMATS) as image:
        height, width = (image.height, image.width) if shape is None else shape
        size = _PIXEL * image.height * image.width + ENTRY * many * height * width
        try:
            check_memory("source", size, f"{many} images of {height} x {width} pixels")
        except ValueError as error:
            raise _Refused(error) from error
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format in ("GIF", "PNG"):  # not MPO, a photograph and its previews
            raise _Refused(f"it has {frames} frames; save one of them as an image of its own.")
        depth = _depth(image, content)
        ImageOps.exif_transpose(image, in_place=True)
        grey = _grey(image, depth)
        if shape is not None:
            if isinstance(grey, np.ndarray):
                grey = Image.fromarray(grey.astype(np.float32))
            grey = np.asarray(grey.resize((width, height)), dtype=float).clip(0, _full(depth))
        return np.asarray(grey, dtype=float)


def _full(depth: int) -> float:
    """The level of white."""
    return 2.0 ** max(depth, 8) - 1


def _depth(image: Any, content: Content) -> int:
    """The bits of a sample. **Raises:** _Refused if Pillow would drop some of them."""
    if image.format != "PNG":
        return 8
    place = content.tell()
    content.seek(24)  # in the header, which is the first chunk
    depth, colour = content.read(2)
    content.seek(place)
    if depth == 16 and colour != 0:
        raise _Refused(
            "it has colours or transparency of 16 bits, of which only 8 can be read; save it with "
            "8 bits, or as 16-bit grey."
        )
    return depth


def _grey(image: Any, depth: int) -> Any:
    """A picture of 8 bits, or an array, of grey levels, with what is transparent on white."""
    clear = image.info.get("transparency")
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        grey = image if depth == 16 else image.convert("L")
        if clear is None and depth < 16:
            return grey
        levels = np.asarray(grey, dtype=float)  # those of the file, times a number
        unit = _full(depth) / (2**depth - 1)
        return levels if clear is None else np.where(levels == clear * unit, _full(depth), levels)
    if clear is None and image.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return image.convert("L")
    colours = image.convert("RGBA")
    opaque = np.asarray(colours.getchannel("A"), dtype=float) / 255
    levels = np.asarray(colours.convert("RGB").convert("L"), dtype=float)
    return levels * opaque + 255 * (1 - opaque)
