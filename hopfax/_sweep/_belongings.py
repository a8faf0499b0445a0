"""Which files in the folder of a store are its own, so that they may be removed.

Those that its manifest lists: the files made at creation, the chunks and the marker of every block,
and what a killed writer left of them half-written. `inputs.npz` says itself whose it is.
"""

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._errors import StoreError
from .._files import files_below, open_regular, remove
from . import _manifest
from ._manifest import Manifest

LOCKS = {".writer.lock", ".workers.lock", ".create.lock"}
#: Manifests of a sweep that is being made, and of one that is being removed.
CREATING, REPLACED = ".creating.json", ".replaced.json"
_STAGE = re.compile(r"\.creating-[0-9a-f]{16}")
#: What a writer that was killed leaves: of ours, and of zarr's.
_HALF = re.compile(r"\..+\.[0-9a-f]{16}\.tmp|.+\.[0-9a-f]{32}\.partial")


def files_here(path: pathlib.Path) -> Iterator[str]:
    """All files in the folders of a sweep, by their paths from the store."""
    for place in (path / "data.zarr", path / "done", path / "inputs.npz"):
        for file in files_below(place):
            yield file.relative_to(path).as_posix()


def ours(path: pathlib.Path, manifest: Manifest, name: str) -> bool:
    """Whether a file in the folders of a sweep belongs to it."""
    if name == "inputs.npz":
        return inputs_are_ours(path, manifest)
    return manifest.lists(name) or half(manifest, name)


def half(manifest: Manifest, name: str) -> bool:
    """Whether a file is one that a killed writer of this sweep left half-written."""
    folder, _, last = name.rpartition("/")
    if not _HALF.fullmatch(last):
        return False
    if last.endswith(".tmp"):
        return manifest.lists(f"{folder}/{last[1:].rsplit('.', 2)[0]}")
    whole = last.rsplit(".", 2)[0]
    return manifest.lists(f"{folder}/{whole}") or manifest.lists(f"{folder}/{whole}.json")


def harmless(name: str) -> bool:
    """Whether a file is one that a sweep may leave where it comes to nothing."""
    return name in LOCKS or bool(_STAGE.fullmatch(name) or _HALF.fullmatch(name))


def begun(path: pathlib.Path) -> bool:
    """Whether a sweep was being made or removed here."""
    return any(_manifest.read(path / name) is not None for name in (CREATING, REPLACED))


def refuse_foreign(path: pathlib.Path, manifest: Manifest) -> None:
    """StoreError, naming a file, if there is one in the sweep's folders that is not its own."""
    for name in files_here(path):
        if not ours(path, manifest, name):
            raise StoreError(
                f"`store`: {path / name} does not belong to the sweep in {path}; nothing touched. "
                "Move it away, or name another folder."
            )


def finish(path: pathlib.Path) -> None:
    """Remove what a creation or a removal that was killed had to remove.

    To be called by who holds the lock on creation.
    """
    for file in (path / CREATING, path / REPLACED):
        if (manifest := _manifest.read(file)) is not None:
            remove(path, [name for name in files_here(path) if ours(path, manifest, name)])
            for name in ("done", "data.zarr"):  # empty folders
                for folder in sorted((path / name).rglob("*"), reverse=True):
                    _remove_empty(folder)
                _remove_empty(path / name)
            file.unlink()
    for stage in path.glob(".creating-*"):
        if _STAGE.fullmatch(stage.name) and not stage.is_symlink():
            shutil.rmtree(stage)


@contextlib.contextmanager
def inputs(path: pathlib.Path) -> Iterator[Any]:
    """The arrays of a job in its store, by name."""
    with open_regular(path / "inputs.npz") as file, np.load(file, allow_pickle=False) as found:
        yield found


def inputs_are_ours(path: pathlib.Path, manifest: Manifest) -> bool:
    """Whether the arrays in a store are those of this sweep."""
    try:
        with inputs(path) as found:
            return str(found["hopfax"]) == manifest.hash
    except Exception:  # whatever is wrong with it, it is not ours
        return False


def _remove_empty(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # something of somebody else is in it
        if folder.is_dir() and not folder.is_symlink():
            os.rmdir(folder)
