"""Sweeps on disk: the blocks of a zarr group, and a marker for every block that is complete.

    run/sweep.json            what is computed, and in which blocks; written last at creation
    run/data.zarr/            variables over the grid, one zarr chunk a block; NaN or -1 until then
    run/done/00000012.json    marker of a block, written last: lengths and checksums of its files
    run/inputs.npz            arrays of the job, for other processes; only if there were any
    run/.*.lock               held while a sweep is made or written (see `_locks`)

What counts is decided by the order of writing, so a sweep may be killed at any moment. A block
counts if its marker is there and agrees with all its files; the marker is written after them. The
store holds a sweep if `sweep.json` is there. Markers and `sweep.json` are sealed by a hash of their
own content, and appear as a whole or not at all.

Nothing is removed that a manifest of ours does not list. A sweep is made in a folder of its own,
beside, and moved into place when `.creating.json`, its manifest, lists it; that file is then
renamed `sweep.json`. A sweep that is replaced first has its `sweep.json` renamed `.replaced.json`,
which lists what is to be removed. Whatever is killed in between is finished by the next one.
"""

import contextlib
import importlib.util
import io
import os
import pathlib
import re
import secrets
import shutil
import threading
import warnings
from typing import Any

import numpy as np

from .._errors import ConfigMismatch, StoreCorrupt, StoreError, missing
from .._files import (
    checksum,
    read_bytes,
    remove,
    sealed,
    unsealed,
    write_whole as _write_whole,
)
from .._identity import canonical, difference
from .._types import Dataset
from . import _belongings, _manifest
from ._belongings import CREATING, LOCKS, REPLACED
from ._dataset import attributes_of, dims_of
from ._grid import Grid
from ._job import Record
from ._locks import locked as _locked, writer
from ._manifest import Manifest


class Folder:
    """The folder of one sweep: made, mended, replaced and removed."""

    def __init__(self, path: Any):
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise TypeError(f"`store` must be the path of a folder, got {path!r}.")
        self.path = pathlib.Path(path)
        self._arrays: dict[str, Any] = {}
        self._opening = threading.Lock()

    @property
    def data(self) -> pathlib.Path:
        """The folder of the zarr group."""
        return self.path / "data.zarr"

    def check(self, overwrite: bool = False) -> None:
        """Check that the folder is missing, empty, or one of a sweep, and with `overwrite` that
        there is nothing else in it that replacing the sweep would remove.

        **Raises:** NotADirectoryError if it is a file; StoreError if it holds anything else.
        """
        path = self.path
        if importlib.util.find_spec("zarr") is None:  # imported where it is used, for it takes long
            raise missing("zarr", "io", "storing a sweep")
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"`store`: {path} is a file; name a new folder.")
        manifest = self.manifest() if path.is_dir() else None
        if overwrite and manifest is not None:
            _belongings.refuse_foreign(self.path, manifest)
        if path.is_dir() and manifest is None:
            names = {entry.name for entry in path.iterdir()}
            if not (all(map(_belongings.harmless, names)) or _belongings.begun(path)):
                raise StoreError(
                    f"`store`: {path} is not empty and holds no sweep (there is no sweep.json in "
                    "it); nothing touched. Name a new folder."
                )
        if not (above := _nearest(path)).is_dir():
            raise NotADirectoryError(f"`store`: {above} is a file; name a folder.")

    def check_writable(self) -> None:
        """PermissionError unless the folder can be made or written to."""
        if not os.access(above := _nearest(self.path), os.W_OK):
            raise PermissionError(f"`store`: no permission to write in {above}; name another.")

    def manifest(self) -> Manifest | None:
        """The sweep that is stored here; None if there is none, or its creation was cut short.

        **Raises:** StoreCorrupt if `sweep.json` is damaged; StoreError if a later version wrote it.
        """
        return _manifest.read(self.path / "sweep.json")

    def damaged(self, manifest: Manifest) -> list[str]:
        """Which of the files made at creation are not as they were."""
        return [n for n, expected in manifest.files.items() if checksum(self.path / n) != expected]

    def verify(self, manifest: Manifest) -> None:
        """StoreCorrupt, naming the file, unless all files made at creation are as they were."""
        for name in self.damaged(manifest):
            raise StoreCorrupt(
                f"`store`: {self.path / name} is damaged or missing; nothing touched. Run the same "
                "sweep again to mend it, or start anew with `overwrite=True` (--overwrite)."
            )

    def mend(self, manifest: Manifest, grid: Grid, labels: Dataset) -> None:
        """Make those files again that are damaged: the same sweep makes the same bytes.

        **Raises:** StoreCorrupt, naming the file, if it does not (with other versions of zarr), or
        if there is something in its place that is not a file.
        """
        if not self.damaged(manifest):
            return
        with _locked(self.path / ".create.lock", shared=False, wait=True):
            stage = self._stage()
            try:
                self._make(stage, manifest, grid, labels.assign_attrs(manifest.environment))
                for name in self.damaged(manifest):
                    if checksum(stage / name) != manifest.files[name]:
                        self.verify(manifest)
                    place = self.path / name
                    _refuse_folder(place)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    (stage / name).replace(place)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            self._arrays.clear()

    def create(self, manifest: Manifest, grid: Grid, labels: Dataset, overwrite: bool) -> Manifest:
        """Make the sweep, unless another process has just done so. Returns the one that is here."""
        with _locked(self.path / ".create.lock", shared=False, wait=True):
            _belongings.finish(self.path)
            if (present := self.manifest()) is not None:
                if not overwrite:
                    return present
                self._remove(present)
            for name in ("data.zarr", "done"):
                if os.path.lexists(place := self.path / name):
                    raise StoreError(
                        f"`store`: {place} is there, but no sweep.json that lists what is in it; "
                        "nothing touched. Bring that back, or name a new folder."
                    )
            try:
                return self._created(manifest, grid, labels)
            except BaseException:
                _belongings.finish(self.path)
                raise

    def _created(self, manifest: Manifest, grid: Grid, labels: Dataset) -> Manifest:
        stage = self._stage()
        self._make(stage, manifest, grid, labels)
        made = sorted(file for file in stage.rglob("*") if file.is_file())
        files = {file.relative_to(stage).as_posix(): checksum(file) for file in made}
        manifest = manifest._replace(files=files)
        _write_whole(self.path / CREATING, manifest.text())
        (stage / "data.zarr").replace(self.data)
        stage.rmdir()
        (self.path / "done").mkdir()
        (self.path / CREATING).replace(self.path / "sweep.json")
        return manifest

    def remove(self) -> None:
        """Remove the sweep, and the folder if nothing else is in it.

        **Raises:** StoreError, before anything is removed, if there is no sweep here, or something
        in its folders does not belong to it; StoreBusy while a process writes here.
        """
        if self.manifest() is None:
            raise StoreError(f"`store`: {self.path} holds no sweep; nothing touched.")
        with self.writing(), _locked(self.path / ".create.lock", shared=False, wait=True):
            _belongings.finish(self.path)
            if (present := self.manifest()) is not None:  # nobody else was faster
                self._remove(present)
        remove(self.path.parent, [f"{self.path.name}/{name}" for name in LOCKS])

    def _remove(self, manifest: Manifest) -> None:
        """Remove what the manifest here lists."""
        _belongings.refuse_foreign(self.path, manifest)
        (self.path / "sweep.json").replace(self.path / REPLACED)
        _belongings.finish(self.path)

    def _stage(self) -> pathlib.Path:
        """A new folder in which to make a sweep."""
        stage = self.path / f".creating-{secrets.token_hex(8)}"
        stage.mkdir()
        return stage

    def _make(self, place: pathlib.Path, manifest: Manifest, grid: Grid, labels: Dataset) -> None:
        """Make the zarr group, still without blocks, in a folder."""
        labels.to_zarr(place / "data.zarr", mode="w", zarr_format=3, consolidated=False)
        _make_arrays(place / "data.zarr", manifest, grid)

    def compare(self, manifest: Manifest, config: dict[str, str]) -> None:
        """ConfigMismatch, naming what differs, unless the sweep here is that of `config`.

        `config` may have no entry "chunk", where the size of blocks is left to the store.
        """
        stored = canonical(manifest.config)  # an earlier version may have written it
        blocks = {"chunk": stored["chunk"]}
        asked = blocks | config
        if stored == asked:
            return
        if stored == asked | blocks:
            raise ConfigMismatch(
                f"`store`: {self.path} holds this sweep in blocks of {blocks['chunk']} points. "
                "Leave `chunk` (--chunk) out to go on with it; it changes no result."
            )
        raise ConfigMismatch(
            f"`store`: {self.path} holds another sweep, which differs in "
            f"{difference(manifest.config, asked)}. Name another folder, or replace it with "
            "`overwrite=True` (--overwrite)."
        )

    def writing(self, shared: bool = False) -> contextlib.AbstractContextManager[str]:
        """A context in which nobody else writes here; with `shared`, only others that share. What
        is entered is the name of this run, which its workers need.

        **Raises:** StoreBusy if somebody else does.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"`store`: cannot make {self.path}: {error.strerror}"
            raise type(error)(error.errno, text) from error
        return writer(self.path, shared)

    def tidy(self, manifest: Manifest) -> None:
        """Remove what killed writers of this sweep left half-written. To be called while nobody
        else writes."""
        found = _belongings.files_here(self.path)
        remove(self.path, [name for name in found if _belongings.half(manifest, name)])


class Store(Folder):
    """The folder of one sweep, read and written one block at a time."""

    def __reduce__(self):
        return Store, (self.path,)

    def write(
        self, manifest: Manifest, k: int, outputs: dict[str, np.ndarray], record: Record
    ) -> None:
        """Store block `k`: its variables, then the marker that makes it count.

        **Raises:** StoreError if a file is not there after it was written, as when another process
        writes the same block.
        """
        files = {}
        for variable, name in manifest.chunks(k):
            file = self.path / name
            _refuse_folder(file)
            file.unlink(missing_ok=True)  # or zarr may first read what is damaged there
            values = variable.fill(outputs[variable.name], len(manifest.blocks.shape))
            self._array(variable.name)[manifest.blocks.slices(k)] = values
            files[variable.name] = checksum(file)
            if files[variable.name][0] < 0:
                raise StoreError(
                    f"`store`: {file} was written, but is not there: does another process write "
                    "the same block, or was the store removed? Run the same sweep again."
                )
        _refuse_folder(self.path / manifest.marker(k))
        counts = {str(code): count for code, count in record.counts.items()}
        marker = {"config_hash": manifest.hash, "block": k, "files": files, **record._asdict()}
        _write_whole(self.path / manifest.marker(k), sealed(marker | {"counts": counts}))

    def marked(self, manifest: Manifest) -> list[int]:
        """The blocks that have a marker, good or bad."""
        try:
            names = os.listdir(self.path / "done")
        except OSError:
            return []
        numbers = (int(name[:-5]) for name in names if re.fullmatch(r"\d{8,}\.json", name))
        return sorted(k for k in numbers if k < manifest.blocks.number)

    def damage(self, manifest: Manifest, k: int) -> pathlib.Path | None:
        """The damaged file of a block that was once complete; None if it was not, or still is."""
        marker = self.path / manifest.marker(k)
        if not os.path.lexists(marker) or self.done(manifest, k) is not None:
            return None
        try:
            found = self._marker(manifest, k)
            expected = {name: found["files"][v.name] for v, name in manifest.chunks(k)}
        except (OSError, ValueError, KeyError, TypeError):
            return marker
        bad = [name for name, sizes in expected.items() if checksum(self.path / name) != sizes]
        return self.path / bad[0] if bad else marker

    def done(self, manifest: Manifest, k: int) -> Record | None:
        """How block `k` went; None unless it is stored and every byte is as it was written."""
        try:
            found = self._marker(manifest, k)
            for variable, name in manifest.chunks(k):
                expected = found["files"][variable.name]
                if expected[0] < 0 or checksum(self.path / name) != expected:
                    return None
            counts = {int(code): count for code, count in found["counts"].items()}
            return Record(counts, found["failed"], found["seconds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _marker(self, manifest: Manifest, k: int) -> dict[str, Any]:
        """What the marker of block `k` says. **Raises:** ValueError if it is damaged or that of
        another block or sweep; OSError if there is none."""
        found = unsealed(read_bytes(self.path / manifest.marker(k)))
        if found["config_hash"] != manifest.hash or found.get("block", k) != k:
            raise ValueError("it belongs to another block")
        return found

    def versions(self, manifest: Manifest, k: int) -> tuple[tuple[int, ...], ...] | None:
        """What tells the files of block `k` from others that are put into their places; None if one
        is missing."""
        names = [manifest.marker(k), *(name for _, name in manifest.chunks(k))]
        try:
            found = [(self.path / name).stat() for name in names]
        except OSError:
            return None
        return tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in found)

    def keep_inputs(self, manifest: Manifest, arrays: list[np.ndarray]) -> None:
        """Store the arrays of a job for other processes.

        **Raises:** StoreError if there is a file of that name which is not of this sweep.
        """
        file = self.path / "inputs.npz"
        if os.path.lexists(file) and not _belongings.inputs_are_ours(self.path, manifest):
            raise StoreError(
                f"`store`: {file} was not written by this sweep; nothing touched. Move it away."
            )
        content = io.BytesIO()
        np.savez(content, *arrays, hopfax=np.array(manifest.hash))
        _write_whole(file, content.getvalue())

    def inputs(self, number: int) -> list[np.ndarray]:
        """The first `number` arrays that `keep_inputs` stored."""
        with _belongings.inputs(self.path) as found:
            return [found[f"arr_{k}"] for k in range(number)]

    def _array(self, name: str) -> Any:
        """The zarr array of a variable; all are opened at once, by one thread."""
        import zarr

        with self._opening:
            if not self._arrays:
                group = zarr.open_group(self.data, mode="r+", zarr_format=3)
                self._arrays.update(
                    (key, array.with_config({"write_empty_chunks": True}))
                    for key, array in group.arrays()
                )
            return self._arrays[name]


def _make_arrays(path: pathlib.Path, manifest: Manifest, grid: Grid) -> None:
    """Create the variables in the zarr group, all blank, with one chunk for each block."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    group = zarr.open_group(path, mode="r+")
    blocks = manifest.blocks
    for variable in manifest.variables:
        group.create_array(
            name=variable.name,
            shape=blocks.shape + variable.shape,
            chunks=blocks.block + tuple(max(n, 1) for n in variable.shape),
            dtype=variable.dtype,
            fill_value=variable.blank,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            dimension_names=dims_of(variable, grid),
            attributes=attributes_of(variable),
        )
    with warnings.catch_warnings():  # zarr warns that this part of its format is new
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)  # nothing changes any more but the data


def _nearest(path: pathlib.Path) -> pathlib.Path:
    """The path, or the nearest folder (or file) above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def _refuse_folder(place: pathlib.Path) -> None:
    if place.is_dir():
        raise StoreCorrupt(
            f"`store`: {place} must be a file, but is a folder; nothing touched. Move it away, "
            "then run the same sweep again."
        )
