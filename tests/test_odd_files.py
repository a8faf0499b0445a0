"""Files of strangers as input: devices, pipes, bombs, damaged and empty ones. Each is refused at
once, in one line that names it, and nothing in it runs."""

import gzip
import io
import os
import pathlib
import pickle
import socket
import tracemalloc
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mutations

import hopfax as hx
from hopfax import _errors
from hopfax._fit import _checkpoint
from hopfax._serialise import notes
from hopfax.cli import _settings
from hopfax.cli._memories import memories_of
from hopfax.cli.sequential.run import Run


class Runs:
    """What would be noticed if a pickle were loaded."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def _npy(array, **kwargs):
    file = io.BytesIO()
    np.save(file, array, **kwargs)
    return file.getvalue()


def _sparse(place, start=b"", size=1 << 40):
    with open(place, "wb") as file:
        file.write(start)
        file.truncate(size)  # takes no space


def _socket(place):
    here = os.open(place.parent, os.O_RDONLY)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{place.name}")
    os.close(here)


def _unreadable(place):
    if os.geteuid() == 0:
        pytest.skip("everything is readable to root")
    place.write_bytes(b"secret")
    place.chmod(0)


#: How to put an odd file in a place.
ODD = {
    "folder": lambda place: place.mkdir(),
    "pipe": os.mkfifo,
    "socket": _socket,
    "device": lambda place: place.symlink_to("/dev/zero"),
    "no device": lambda place: place.symlink_to("/dev/null"),
    "terminal": lambda place: place.symlink_to("/dev/tty"),
    "dangling link": lambda place: place.symlink_to("nowhere"),
    "circle of links": lambda place: place.symlink_to(place),
    "nothing": lambda place: None,
    "empty": lambda place: place.write_bytes(b""),
    "unreadable": _unreadable,
    "huge": _sparse,
    "huge header": lambda place: _sparse(place, b'{"format": "hopfax-model", "schema": 1, "a": "'),
    "sealed and huge": lambda place: _sparse(
        place, b'{"format": "hopfax-model", "schema": 2, "seal": "'
    ),
    "pickle": lambda place: place.write_bytes(pickle.dumps(Runs())),
    "gzip": lambda place: place.write_bytes(gzip.compress(bytes(1 << 24))),
    "deep": lambda place: place.write_bytes(b"[" * 10**5),
    "line without end": lambda place: place.write_bytes(b"{" + b" " * 10**6),
    "noise": lambda place: place.write_bytes(np.random.default_rng(0).bytes(5000)),
    "NULs": lambda place: place.write_bytes(bytes(5000)),
    "pickled array": lambda place: place.write_bytes(
        _npy(np.array([Runs()], dtype=object), allow_pickle=True)
    ),
    "text": lambda place: place.write_text("not at all\n"),
}

#: What reads a file, and how its name ends.
READERS = {
    "load": (hx.load, ".hopfax"),
    "notes": (notes, ".hopfax"),
    "checkpoint": (lambda place: _checkpoint.read(place, {}, jnp.ones(3)), ".ckpt"),
    "array": (hx.patterns.load, ".npy"),
    "archive": (hx.patterns.load, ".npz"),
    "image": (lambda place: hx.patterns.from_images(place.parent), ".png"),
    "table": (hx.losses.read_events, ".csv"),
    "table of memories": (hx.patterns.load, ".csv"),
    "patterns of a command": (
        lambda place: memories_of(Run(patterns=str(place))),
        ".npz",
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_over_100_odd_files_are_refused_in_one_line(reader, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read, ending = READERS[reader]
    place = tmp_path / "inputs" / f"odd{ending}"
    place.parent.mkdir()
    ODD[kind](place)
    if reader == "checkpoint" and not place.exists():
        return  # a fit begins anew
    named = place
    if (reader, kind) in (("image", "nothing"), ("patterns of a command", "folder")):
        named = place.parent  # in which there are no images
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, OSError)) as caught:
            read(place)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    text = str(caught.value)
    assert str(named) in text, text
    assert "\n" not in text and len(text) < 500
    assert peak < 100e6
    assert not pathlib.Path("ran").exists()


def archive(file, **members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "."), content)


XI = np.asarray(hx.patterns.hadamard(4, 16).xi)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "an array `xi`, or only one, but has none"),
        ({"notes__txt": b"x"}, "an array `xi`, or only one, but has none"),
        ({"a__npy": _npy(XI), "b__npy": _npy(XI)}, "an array `xi`, or only one, but has 'a', 'b'"),
        ({"xi__npy": _npy(XI)[:-8]}, r"claims float64\[4, 16\], 512 bytes, but 504 follow"),
        ({"xi__npy": _npy(XI) + b"x"}, "but 513 follow"),
        ({"xi__npy": b"x"}, "no array in NumPy's format"),
        ({"xi__npy": _npy(np.array([Runs()]), allow_pickle=True)}, "object arrays"),
        ({"xi__npy": _npy(np.array(["a"]))}, "<U1, not numbers"),
        ({"xi__npy": _npy(np.array(["2026-01-01"], "M8[D]"))}, "not numbers"),
        ({"xi__npy": _npy(np.zeros(2, [("a", float)]))}, "not numbers"),
        ({"xi__npy": _npy(np.ones(3))}, r"must have shape \(P, N\)"),
        ({"xi__npy": _npy(1j * XI)}, "must hold real numbers"),
        ({"xi__npy": _npy(np.full((2, 3), np.nan))}, "must be finite"),
    ],
)
def test_odd_archives(members, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive("odd.npz", **members)
    with pytest.raises(ValueError, match=rf"`path`: odd.npz .*{text}") as caught:
        hx.patterns.load("odd.npz")
    assert "\n" not in str(caught.value) and not pathlib.Path("ran").exists()
    if list(members) == ["xi__npy"]:
        pathlib.Path("odd.npy").write_bytes(members["xi__npy"])
        with pytest.raises(ValueError, match=rf"`path`: odd.npy .*{text}"):
            hx.patterns.load("odd.npy")


def test_odd_names_in_an_archive_are_names_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive("odd.npz", **{"../../etc/xi__npy": _npy(XI)})
    assert (hx.patterns.load("odd.npz").xi == XI).all()
    assert os.listdir() == ["odd.npz"]
    with zipfile.ZipFile("odd.npz", "w") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("xi.npy", _npy(XI))
        made.writestr("xi.npy", _npy(-XI))
    with pytest.raises(ValueError, match="an array `xi`, or only one, but has 'xi', 'xi'"):
        hx.patterns.load("odd.npz")


def test_what_would_not_fit_into_memory_is_not_unpacked(tmp_path, monkeypatch):
    content = _npy(np.zeros((1000, 50_000), np.uint8))  # 50 MB that take 50 kB
    archive(tmp_path / "bomb.npz", xi__npy=content)
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    (tmp_path / "bomb.npy").write_bytes(content)
    del content
    monkeypatch.setattr(_errors, "machine_memory", lambda: 10**9)
    for name in ("bomb.npz", "bomb.npy"):
        tracemalloc.start()
        with pytest.raises(ValueError, match=rf"`path`: .*{name} .* too large: .* 1.25 GB"):
            hx.patterns.load(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


def test_a_header_that_claims_more_than_there_is(tmp_path):
    content = _npy(XI)
    for claim in (b"(10**15, 16)", b"(999999999999999, 16)", b"(-4, 16)", b"(True, 16)", b"4"):
        head = content[:128].replace(b"(4, 16)", claim)
        head = head.rstrip() + b" " * 200
        head = head[:127] + b"\n"
        (tmp_path / "odd.npy").write_bytes(head + content[128:])
        with pytest.raises(ValueError, match="`path`: .*odd.npy cannot be read"):
            hx.patterns.load(tmp_path / "odd.npy")


def test_arrays_of_other_machines_and_orders_are_read(tmp_path):
    for array in (np.asarray(XI, ">f8"), np.asfortranarray(XI), np.asarray(XI, ">i2")):
        np.save(tmp_path / "xi.npy", array)
        assert (hx.patterns.load(tmp_path / "xi.npy").xi == XI).all()
        np.savez_compressed(tmp_path / "xi.npz", other=1, xi=array)
        assert (hx.patterns.load(tmp_path / "xi.npz").xi == XI).all()


def test_settings_with_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "settings.toml").write_bytes("kappa = 5.0  # \u03ba\r\n".encode("utf-8-sig"))
    assert _settings.read(tmp_path / "settings.toml", "run") == {"kappa": 5.0}


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "jpg"])
def test_damaged_arrays_and_images(kind, tmp_path):
    from PIL import Image

    file = tmp_path / f"0.{kind}"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    if kind in ("png", "jpg"):
        Image.fromarray(pixels).save(file)
    else:
        (np.save if kind == "npy" else np.savez_compressed)(file, np.asarray(XI))
    for damaged in mutations(file.read_bytes(), 3, 100):
        file.write_bytes(damaged)
        try:
            if kind in ("png", "jpg"):
                found = hx.patterns.from_images(tmp_path)
            else:
                found = hx.patterns.load(file)
        except ValueError as error:
            text = str(error)
            assert f"0.{kind}" in text or "uniform" in text, text
            assert "\n" not in text and len(text) < 500
            continue
        if kind == "npz":  # which has checksums
            assert (found.xi == XI).all()


def test_images_that_are_none(tmp_path, monkeypatch):
    from PIL import Image

    pixels = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    pixels.save(tmp_path / "a.png")
    assert hx.patterns.from_images(tmp_path).N == 64
    # PostScript under another name, for which Pillow would start an interpreter
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    (tmp_path / "b.png").write_bytes(script)
    with pytest.raises(ValueError, match="`source`: .*b.png is no PNG or JPEG image"):
        hx.patterns.from_images(tmp_path)
    os.remove(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(ValueError, match="`source`: .*a.png has more pixels"):
        hx.patterns.from_images(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match="`source`: .*a.png has more pixels"):
        hx.patterns.from_images(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(_errors, "machine_memory", lambda: 1000)
    with pytest.raises(ValueError, match="`source`: .*a.png: `source` is too large"):
        hx.patterns.from_images(tmp_path)
