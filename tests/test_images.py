"""Images and arrays of every kind: each becomes the signs that a plain calculation gives, or is
refused with its name and what to do. PNG files are written here byte by byte, so that what is in
them does not depend on the library that reads them."""

import io
import itertools
import struct
import warnings
import zlib

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

import hopfax as hx

LUMA = np.array([0.299, 0.587, 0.114])
#: Colours, one a block of 8 x 8 pixels: far from each other in luma, so that JPEG changes no sign.
COLOURS = np.array([[[250, 20, 30], [10, 250, 40]], [[20, 20, 240], [255, 250, 240]]], np.uint8)
BLOCKS = COLOURS.repeat(8, 0).repeat(8, 1)
GREY = np.array([[3, 200, 90], [250, 40, 160]], np.uint8).repeat(8, 0).repeat(8, 1)


def signs(levels, threshold=127.5):
    """What a threshold makes of grey levels, and that no rounding can change it."""
    levels = np.asarray(levels, float)
    cut = {"mean": np.mean, "median": np.median}.get(threshold, lambda _: threshold)(levels)
    far = np.abs(levels - cut)
    assert far[far > 0].min() > 1, "the example is too close to the threshold"
    return np.where(levels > cut, 1.0, -1.0)


def read(folder, **options):
    found = hx.patterns.from_images(folder, **options)
    assert found.binary
    return np.asarray(found.xi)


def alone(folder, name, content):
    """A folder with this file in it and no other image."""
    for other in folder.iterdir():
        other.unlink()
    (folder / name).write_bytes(content)
    return folder


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(samples, colour, depth, palette=None, clear=None, extra=()):
    """A PNG file of samples (height, width, channels)."""
    height, width = samples.shape[:2]
    lines = []
    for row in samples.reshape(height, -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        else:
            bits = "".join(format(int(value), f"0{depth}b") for value in row)
            bits += "0" * (-len(bits) % 8)
            line = bytes(int(bits[k : k + 8], 2) for k in range(0, len(bits), 8))
        lines.append(b"\0" + line)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *extra]
    if palette is not None:
        parts.append(chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes()))
    if clear is not None:
        parts.append(chunk(b"tRNS", clear))
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b"")])


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_png_of_every_depth(depth, transparent, tmp_path):
    rng, most = np.random.default_rng(depth), 2**depth - 1
    for trial in range(4):
        samples = rng.integers(0, most + 1, (5, 7))
        samples[0, :3] = 0, most, 0
        full = 65535 if depth == 16 else 255
        levels, clear = samples * (full / most), None
        if transparent:
            level = int(samples[2, 2]) if trial else 0
            levels = np.where(samples == level, full, levels)
            clear = struct.pack(">H", level)
        content = png(samples[..., None], 0, depth, clear=clear)
        folder = alone(tmp_path, "a.png", content)
        cut = full / 2
        if (levels > cut).all():
            with pytest.raises(ValueError, match=r"a\.png"):
                read(folder, threshold=cut)
            continue
        assert (read(folder, threshold=cut)[0] == np.where(levels > cut, 1, -1).ravel()).all()
        mean = np.where(levels > levels.mean(), 1, -1).ravel()
        assert (read(folder, threshold="mean")[0] == mean).all()


def test_sixteen_bits_are_kept(tmp_path):
    """Clipped at 255 the mean of these would part the first from the others."""
    content = png(np.array([[100, 1000], [20000, 60000]])[..., None], 0, 16)
    assert read(alone(tmp_path, "a.png", content), threshold="mean")[0].tolist() == [-1, -1, -1, 1]
    small = read(tmp_path, threshold=10_000, shape=(2, 2))[0]
    assert small.tolist() == [-1, -1, 1, 1]
    levels = np.array([[100, 1000], [20000, 60000]], np.uint16)
    array = hx.patterns.from_images(levels[None], threshold="mean")
    assert np.asarray(array.xi).tolist() == [[-1, -1, -1, 1]]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_other_png_of_8_bits_are_right_and_of_16_are_refused(colour, channels, tmp_path):
    rng = np.random.default_rng(colour)
    samples = rng.choice([0, 64, 128, 255], (6, 7, channels))
    part = samples[..., -1:] / 255 if channels in (2, 4) else 1.0
    own = samples[..., :1] if channels < 3 else samples[..., :3] @ LUMA[:, None]
    levels = (own * part + 255 * (1 - part))[..., 0]
    for cut in (60.5, 140.5, 200.5):
        if np.abs(levels - cut).min() > 1:
            content = png(samples, colour, 8)
            found = read(alone(tmp_path, "a.png", content), threshold=cut)[0]
            assert (found == signs(levels, cut).ravel()).all()
    with pytest.raises(
        ValueError, match=r"a\.png: it has colours or transparency of 16 bits.*save"
    ):
        read(alone(tmp_path, "a.png", png(samples * 257, colour, 16)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes(depth, transparent, tmp_path):
    rng = np.random.default_rng(depth)
    many = min(2**depth, 12)
    palette = rng.integers(0, 256, (many, 3))
    samples = rng.integers(0, many, (6, 7))
    alpha = rng.choice([0, 100, 255], many) if transparent else np.full(many, 255)
    levels = palette @ LUMA * alpha / 255 + 255 * (1 - alpha / 255)
    clear = bytes(alpha.astype(np.uint8)) if transparent else None
    ranks = np.sort(np.unique(levels[samples]))
    gap = np.argmax(np.diff(ranks))
    cut = (ranks[gap] + ranks[gap + 1]) / 2
    content = png(samples[..., None], 3, depth, palette, clear)
    found = read(alone(tmp_path, "a.png", content), threshold=cut)[0]
    assert (found == signs(levels[samples], cut).ravel()).all()


def test_one_colour_may_be_transparent(tmp_path):
    clear = struct.pack(">HHH", *BLOCKS[0, 0])
    levels = np.where((BLOCKS == BLOCKS[0, 0]).all(-1), 255.0, BLOCKS @ LUMA)
    found = read(alone(tmp_path, "a.png", png(BLOCKS, 2, 8, clear=clear)), threshold=127.5)
    assert (found[0] == signs(levels).ravel()).all()


def test_black_on_nothing_is_a_letter_and_white_on_nothing_is_refused(tmp_path):
    letter = np.zeros((8, 8), int)
    letter[2:6, 3] = 255
    for ink in (0, 255):
        content = png(np.stack([np.full((8, 8), ink), letter], -1), 4, 8)
        folder = alone(tmp_path, "letter.png", content)
        if ink:
            with pytest.raises(ValueError, match=r"letter\.png.* uniform: all .* level 255"):
                read(folder, threshold="otsu")
        else:
            assert (read(folder, threshold="otsu")[0] == np.where(letter, -1, 1).ravel()).all()


#: Which pixel of the file comes to place (row, column), for each EXIF orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a.T[::-1],
}


def orientation(number):
    """EXIF data with this orientation and nothing else."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, number, 0, 0)


@pytest.mark.parametrize("number", UPRIGHT)
def test_pictures_are_turned_upright(number, tmp_path):
    upright = UPRIGHT[number](GREY)
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", quality=95, exif=b"Exif\0\0" + orientation(number))
    turned = png(GREY[..., None], 0, 8, extra=[chunk(b"eXIf", orientation(number))])
    deep = png(GREY[..., None] * 257.0, 0, 16, extra=[chunk(b"eXIf", orientation(number))])
    for name, content, cut in (
        ("a.jpg", file.getvalue(), 127.5),
        ("a.png", turned, 127.5),
        ("b.png", deep, 127.5 * 257),
    ):
        found = read(alone(tmp_path, name, content), threshold=cut)[0]
        assert (found == signs(upright).ravel()).all(), name
        asked = read(tmp_path, threshold=cut, shape=upright.shape)[0]
        assert (asked == signs(upright).ravel()).all(), name


def modes():
    """Pictures in the modes of Pillow that these formats have, and their grey levels on white."""
    colour = Image.fromarray(BLOCKS)
    grey = Image.fromarray(GREY)
    half = np.where(GREY > 100, 255, 60).astype(np.uint8)  # opaque, and mostly transparent
    on_white = GREY * (half / 255) + 255 * (1 - half / 255)
    faded = BLOCKS @ LUMA * (100 / 255) + 255 * (1 - 100 / 255)
    rgba = colour.copy()
    rgba.putalpha(100)
    yield "1", Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)
    yield "L", grey, GREY
    yield "LA", Image.merge("LA", (grey, Image.fromarray(half))), on_white
    yield "P", colour.quantize(4), BLOCKS @ LUMA
    yield "PA", colour.quantize(4).convert("PA"), BLOCKS @ LUMA
    yield "RGB", colour, BLOCKS @ LUMA
    yield "RGBA", rgba, faded
    yield "RGBX", colour.convert("RGBX"), BLOCKS @ LUMA
    yield "CMYK", colour.convert("CMYK"), BLOCKS @ LUMA
    yield "YCbCr", colour.convert("YCbCr"), BLOCKS @ LUMA
    yield "HSV", colour.convert("HSV"), BLOCKS @ LUMA
    yield "I;16", Image.fromarray(GREY.astype(np.uint16) * 257), GREY * 257.0


MODES = {name: (picture, levels) for name, picture, levels in modes()}


def written(kind, mode):
    """A file of this format and mode, and its grey levels; None if Pillow does not write it, or not
    as it is."""
    picture, levels = MODES[mode]
    if kind in ("GIF", "BMP") and mode in ("LA", "RGBA", "I;16"):
        return None
    file = io.BytesIO()
    more = {"quality": 95, "subsampling": 0} if kind == "JPEG" and mode != "L" else {}
    try:
        picture.save(file, kind, **more)
    except (OSError, ValueError, KeyError, SystemError):
        return None
    return file.getvalue(), np.asarray(levels, float)


def test_every_mode_in_every_format(tmp_path):
    seen = 0
    for kind, mode in itertools.product(("PNG", "JPEG", "GIF", "BMP"), MODES):
        if (found := written(kind, mode)) is None:
            continue
        content, levels = found
        ranks = np.unique(levels)
        widest = np.argmax(np.diff(ranks))
        cut = ranks[widest : widest + 2].mean()
        xi = read(alone(tmp_path, "a.png", content), threshold=cut)
        assert (xi[0] == signs(levels, cut).ravel()).all(), (kind, mode)
        seen += 1
    assert seen >= 19


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_pictures_that_move_are_refused(kind, tmp_path):
    file = io.BytesIO()
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY), Image.fromarray(GREY.T[:16, :24])]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:2])
    with pytest.raises(ValueError, match=r"a\.png: it has 2 frames; save one"):
        read(alone(tmp_path, "a.png", file.getvalue()))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16"])
def test_a_single_pixel_is_uniform(mode, tmp_path):
    file = io.BytesIO()
    Image.new(mode, (1, 1)).save(file, "PNG")
    for threshold in (*hx.patterns._images.NAMED, 3.0):
        with pytest.raises(ValueError, match=r"image 0 \(a\.png\) is uniform: all its pixels"):
            read(alone(tmp_path, "a.png", file.getvalue()), threshold=threshold)


def test_what_is_left_out_is_counted(tmp_path):
    folder = alone(tmp_path, "a.png", png(GREY[..., None], 0, 8))
    for name in ("b.gif", "c.TIF", "d.webp", "e.bmp"):
        (folder / name).write_bytes(b"")
    for name in ("notes.txt", ".hidden.gif"):
        (folder / name).write_bytes(b"")
    text = r"1 are read, and 4 of other formats \(b.gif, c.TIF, d.webp, ...\) are left out"
    with pytest.warns(hx.PhysicsWarning, match=text):
        read(folder)
    (folder / "a.png").unlink()
    with pytest.raises(ValueError, match=r"no PNG or JPEG files in .*, but 4 of other formats"):
        read(folder)


# Thresholds


def parted(levels):
    """Otsu's classes by trying every level: least spread within, in exact numbers."""
    spread = {}
    for level in np.unique(levels)[:-1]:
        classes = [levels[levels <= level], levels[levels > level]]
        spread[level] = sum(((c - c.mean()) ** 2).sum() for c in classes)
    return np.where(levels > min(spread, key=spread.get), 1, -1)


def test_otsu_is_the_least_spread_within_two_classes():
    rng = np.random.default_rng(0)
    for trial in range(60):
        size = rng.integers(2, 40)
        levels = (rng.normal(size=size), rng.integers(0, 65536, size), rng.integers(0, 3, size))
        levels = np.asarray(levels[trial % 3], float) * 10.0 ** rng.integers(-5, 6)
        if len(np.unique(levels)) > 1:
            found = hx.patterns.from_images(levels[None], threshold="otsu")
            assert (np.asarray(found.xi)[0] == parted(levels)).all()


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_the_error_names_a_threshold_that_works():
    letter = np.full((8, 8), 255.0)
    letter[2:6, 3] = 20
    for threshold in ("median", 255, 300.0, 3):
        with pytest.raises(
            ValueError, match="image 0 is uniform after.*between 20 and 255"
        ) as told:
            hx.patterns.from_images(letter[None], threshold=threshold)
        assert "`threshold`='otsu'" in str(told.value)
    found = hx.patterns.from_images(letter[None], threshold="otsu")
    assert (np.asarray(found.xi)[0] == np.where(letter > 100, 1, -1).ravel()).all()
    for bad in (np.nan, np.inf, "isodata", None, [1.0, 2.0]):
        with pytest.raises((ValueError, TypeError), match="`threshold` must"):
            hx.patterns.from_images(letter[None], threshold=bad)


# Arrays

KINDS = "?bBhHiIlLqQefd"
SIGNS = np.array([[1, -1, 1, 1], [-1, 1, 1, -1], [1, 1, -1, -1]])
LEVELS = np.array([[9, 100, 3, 77], [1, 2, 120, 90], [5, 60, 50, 4]])


def forms(array):
    """An array in every order and byte order."""
    yield "C", np.ascontiguousarray(array)
    yield "Fortran", np.asfortranarray(array)
    yield "strided", np.repeat(array, 2, axis=1)[:, ::2]
    if array.dtype.itemsize > 1:
        yield "other bytes", array.astype(array.dtype.newbyteorder())


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_number(kind, tmp_path):
    boolean = np.dtype(kind) == np.bool_
    unsigned = np.dtype(kind).kind == "u"
    stored = SIGNS > 0 if boolean else (LEVELS if unsigned else SIGNS).astype(kind)
    levels = LEVELS > 50 if boolean else LEVELS.astype(kind)
    cut = 0.5 if boolean else np.median(LEVELS, axis=1, keepdims=True)
    bright = np.where(LEVELS > 50 if boolean else LEVELS > cut, 1, -1)
    for name, array in forms(stored):
        np.save(tmp_path / "xi.npy", array)
        found = hx.patterns.load(tmp_path / "xi.npy")
        assert (np.asarray(found.xi) == (LEVELS if unsigned else SIGNS)).all(), name
    for name, array in forms(levels):
        assert (np.asarray(hx.patterns.from_images(array).xi) == bright).all(), name


def test_other_numbers_and_masks():
    bright = np.where(LEVELS > np.median(LEVELS, axis=1, keepdims=True), 1, -1)
    for source in (
        LEVELS.astype(ml_dtypes.bfloat16),
        LEVELS.astype(np.longdouble),
        LEVELS.tolist(),
        np.ma.array(LEVELS),
        np.ma.array(LEVELS, mask=False),
        LEVELS.reshape(3, 2, 2),
    ):
        assert (np.asarray(hx.patterns.from_images(source).xi) == bright).all()
    masked = np.ma.array(LEVELS, mask=LEVELS == 77)
    with pytest.raises(ValueError, match="`source`.*masked"):
        hx.patterns.from_images(masked)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (LEVELS * 1j, "complex128"),
        (LEVELS.astype(str), "<U"),
        (LEVELS.astype("M8[s]"), "datetime64|dates"),
        (LEVELS.astype("m8[s]"), "timedelta64|durations"),
        ([[1, 2], [3]], "rectangular"),
        (LEVELS[0], r"must have shape \(P, height, width\)"),
        (np.float64(3.0), r"must have shape \(P, height, width\)"),
        (LEVELS.reshape(3, 2, 2, 1), r"colours take the mean"),
        (np.zeros((0, 4)), "at least one pixel"),
        (np.zeros((4, 0)), "at least one pixel"),
        (np.where(LEVELS == 77, np.nan, LEVELS), r"`source` must be finite, but is nan"),
        (np.where(LEVELS == 77, np.inf, LEVELS), r"`source` must be finite, but is inf"),
        (hx.Patterns(SIGNS), "`source`"),
    ],
)
def test_arrays_that_are_no_images(source, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError), match=text) as told:
            hx.patterns.from_images(source)
    assert "`source`" in str(told.value)


def test_a_shape_is_for_files():
    with pytest.raises(ValueError, match="`shape` is for the images of a folder"):
        hx.patterns.from_images(LEVELS, shape=(2, 2))


@pytest.mark.parametrize(
    "array",
    [
        np.array(1.0),
        np.ones(3),
        np.ones((2, 2, 2)),
        np.zeros((0, 4)),
        np.zeros((4, 0)),
        np.where(LEVELS == 77, np.nan, LEVELS),
        np.where(LEVELS == 77, -np.inf, LEVELS),
        np.zeros((2, 4)),
        SIGNS * 1j,
        SIGNS.astype("F"),
        SIGNS.astype("G"),
        SIGNS.astype("S2"),
        SIGNS.astype("U2"),
        SIGNS.astype("M8[s]"),
        SIGNS.astype("m8[s]"),
        np.zeros(3, [("a", float), ("b", int)]),
        np.zeros((2, 3), "V4"),
    ],
)
def test_files_that_hold_no_patterns(array, tmp_path):
    for name, shape in itertools.product(("xi.npy", "xi.npz"), ("C", "F")):
        save = np.save if name == "xi.npy" else np.savez
        save(tmp_path / name, np.asarray(array, order=shape))
        with pytest.raises(ValueError, match=rf"`path`: .*{name}") as told:
            hx.patterns.load(tmp_path / name)
        assert "\n" not in str(told.value)
