"""Sweeps on disk: the blocks of a zarr group, and a marker for every block that is complete.

    run/sweep.json            what is computed, and in which blocks; written last at creation
    run/data.zarr/            variables over the grid, one zarr chunk a block; NaN or -1 until then
    run/done/00000012.json    marker of a block, written last: lengths and checksums of its files
    run/inputs.npz            arrays of the job, for other processes; only if there were any
    run/.writer.lock          held while a sweep writes; run/.create.lock while it is made

What counts is decided by the order of writing, so a sweep may be killed at any moment. A block
counts if its marker is there and agrees with all its files; the marker is written after them. The
store holds a sweep if `sweep.json` is there; it is written after everything else that is made at
creation, and removed first when the sweep is replaced. Markers and `sweep.json` contain a hash of
their own content, and appear as a whole or not at all (`_write_whole`).
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._errors import (
    ConfigMismatch,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    SweepWarning,
    missing,
)
from .._identity import canonical, difference, digest
from .._types import Dataset
from ._dataset import attributes_of, dims_of, xarray
from ._grid import Blocks, Grid
from ._job import Record, Variable

_SCHEMA = 1
_MADE = ("sweep.json", "data.zarr", "done", "inputs.npz")  # in the order of removal


class Manifest(NamedTuple):
    """The content of `sweep.json`: which sweep is stored, and in which blocks."""

    config: dict[str, str]
    blocks: Blocks
    variables: list[Variable]
    files: dict[str, list[int]]  # length and checksum of every file made at creation
    environment: dict[str, str]

    @property
    def hash(self) -> str:
        """A hash of the configuration, which every marker repeats."""
        return digest(self.config)


class Store:
    """The folder of one sweep: read and written, one block at a time."""

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

    def check(self) -> None:
        """Check that the folder is missing, empty, or one of a sweep.

        **Raises:** NotADirectoryError if it is a file; StoreError if it holds anything else.
        """
        path = self.path
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise missing("zarr", "io", "storing a sweep") from error
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"`store`: {path} is a file; name a new folder.")
        if path.is_dir():
            names = {entry.name for entry in path.iterdir()}
            if names and not names & {"sweep.json", ".writer.lock"}:
                raise StoreError(
                    f"`store`: {path} is not empty and holds no sweep; nothing touched. Name a new "
                    "folder."
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
        file = self.path / "sweep.json"
        if not file.is_file():
            return None
        try:
            found = json.loads(file.read_text())
            schema, sealed = found["schema"], found.pop("seal")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt(file) from error
        if schema != _SCHEMA:
            raise StoreError(
                f"`store`: {self.path} has schema {schema!r}; this version reads {_SCHEMA}."
            )
        if sealed != digest(found):
            raise _corrupt(file)
        return Manifest(
            config=found["config"],
            blocks=Blocks(tuple(found["shape"]), tuple(found["block"])),
            variables=[
                Variable(name, tuple(shape), np.dtype(dtype))
                for name, shape, dtype in found["variables"]
            ],
            files=found["files"],
            environment=found["environment"],
        )

    def verify(self, manifest: Manifest) -> None:
        """StoreCorrupt, naming the file, unless all files made at creation are as they were."""
        for name, expected in manifest.files.items():
            if _checksum(self.path / name) != expected:
                raise _corrupt(self.path / name)

    def create(self, manifest: Manifest, grid: Grid, labels: Dataset, overwrite: bool) -> Manifest:
        """Make the sweep, unless another process has just done so. Returns the one that is here."""
        with _locked(self.path / ".create.lock", shared=False, wait=True):
            present = None if overwrite else self.manifest()
            if present is not None:
                return present
            for name in _MADE:
                place = self.path / name
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
            self._arrays.clear()
            labels.to_zarr(self.data, mode="w", zarr_format=3, consolidated=False)
            _make_arrays(self.data, manifest, grid)
            (self.path / "done").mkdir()
            made = sorted(file for file in self.data.rglob("*") if file.is_file())
            files = {str(file.relative_to(self.path)): _checksum(file) for file in made}
            manifest = manifest._replace(files=files)
            text = {
                "schema": _SCHEMA,
                "config": manifest.config,
                "shape": manifest.blocks.shape,
                "block": manifest.blocks.block,
                "variables": [[v.name, v.shape, str(v.dtype)] for v in manifest.variables],
                "files": files,
                "environment": manifest.environment,
            }
            _write_whole(self.path / "sweep.json", _sealed(text))
            return manifest

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

    def writing(self, shared: bool = False) -> contextlib.AbstractContextManager[None]:
        """A context in which nobody else writes here; with `shared`, only others that share.

        **Raises:** StoreBusy if somebody else does.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"`store`: cannot make {self.path}: {error.strerror}"
            raise type(error)(error.errno, text) from error
        return _locked(self.path / ".writer.lock", shared=shared, wait=False)

    def tidy(self) -> None:
        """Remove what killed writers left half-written. To be called while nobody else writes."""
        for pattern in ("*.partial", "*.tmp"):
            for file in self.path.rglob(pattern):
                file.unlink(missing_ok=True)

    def write(
        self, manifest: Manifest, k: int, outputs: dict[str, np.ndarray], record: Record
    ) -> None:
        """Store block `k`: its variables, then the marker that makes it count."""
        files = {}
        for variable in manifest.variables:
            file = self._file(manifest, variable, k)
            file.unlink(missing_ok=True)  # or zarr may first read what is damaged there
            self._array(variable.name)[manifest.blocks.slices(k)] = outputs[variable.name]
            files[variable.name] = _checksum(file)
        counts = {str(code): count for code, count in record.counts.items()}
        marker = {"config_hash": manifest.hash, "files": files, **record._asdict()}
        _write_whole(self._marker(k), _sealed(marker | {"counts": counts}))

    def damage(self, manifest: Manifest, k: int) -> pathlib.Path | None:
        """The damaged file of a block that was once complete; None if it was not, or still is."""
        if not self._marker(k).exists() or self.done(manifest, k) is not None:
            return None
        try:
            files = json.loads(self._marker(k).read_text())["files"]
            places = {v.name: self._file(manifest, v, k) for v in manifest.variables}
            bad = [place for name, place in places.items() if _checksum(place) != files[name]]
        except (OSError, ValueError, KeyError, TypeError):
            bad = []
        return bad[0] if bad else self._marker(k)

    def started(self, manifest: Manifest, k: int) -> bool:
        """Whether block `k` has any file, complete or not."""
        return any(self._file(manifest, v, k).exists() for v in manifest.variables)

    def done(self, manifest: Manifest, k: int) -> Record | None:
        """How block `k` went; None unless it is stored and every byte is as it was written."""
        try:
            found = json.loads(self._marker(k).read_text())
            if found.pop("seal") != digest(found) or found["config_hash"] != manifest.hash:
                return None
            for variable in manifest.variables:
                expected = found["files"][variable.name]
                if _checksum(self._file(manifest, variable, k)) != expected:
                    return None
            counts = {int(code): count for code, count in found["counts"].items()}
            return Record(counts, found["failed"], found["seconds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def read(self, manifest: Manifest, k: int) -> dict[str, np.ndarray]:
        """The variables of block `k`."""
        place = manifest.blocks.slices(k)
        return {v.name: np.asarray(self._array(v.name)[place]) for v in manifest.variables}

    def keep_inputs(self, arrays: list[np.ndarray]) -> None:
        """Store the arrays of a job for other processes."""
        content = io.BytesIO()
        np.savez(content, *arrays)
        _write_whole(self.path / "inputs.npz", content.getvalue())

    def inputs(self, number: int) -> list[np.ndarray]:
        """The first `number` arrays that `keep_inputs` stored."""
        with np.load(self.path / "inputs.npz", allow_pickle=False) as found:
            return [found[f"arr_{k}"] for k in range(number)]

    def _marker(self, k: int) -> pathlib.Path:
        return self.path / "done" / f"{k:08d}.json"

    def _file(self, manifest: Manifest, variable: Variable, k: int) -> pathlib.Path:
        """The zarr chunk of a variable that holds block `k`."""
        place = np.unravel_index(k, manifest.blocks.counts)
        names = [str(int(p)) for p in place] + ["0"] * len(variable.shape)
        return self.data.joinpath(variable.name, "c", *names)

    def _array(self, name: str) -> Any:
        """The zarr array of a variable; all are opened at once, by one thread."""
        import zarr

        with self._opening:
            if not self._arrays:
                group = zarr.open_group(self.data, mode="r+")
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


def open_sweep(path: str | os.PathLike, *, partial: bool = False) -> Dataset:
    """The dataset of a stored sweep, whose values are read when they are looked at.

    `xarray.open_zarr(path / "data.zarr")` opens the same, but looks for no damage.

    **Arguments:** `path`: the folder given to `hopfax.sweep(store=...)`. `partial`: also open an
    unfinished sweep; points that have not been run have status -1 (`not_run`) and NaN.

    **Raises:** StoreError if there is no sweep, or without `partial` an unfinished one;
    StoreCorrupt naming a file that is damaged. With `partial`, points in damaged files count as
    not run, and a SweepWarning names a file.

    **Example:**

    ```python
    fixed_points = hx.theory.sequential.fixed_points
    hx.sweep(fixed_points, {"kappa": [4.0, 5.0]}, store="results")
    hx.open_sweep("results").upper  # 2.0, 3.618
    ```
    """
    xarray("open_sweep")
    store = Store(path)
    manifest = store.manifest()
    if manifest is None:
        above = store.path.parent
        hint = f" Name the folder above it, {above}." if (above / "sweep.json").exists() else ""
        raise StoreError(f"{path} holds no sweep (there is no sweep.json in it).{hint}")
    store.verify(manifest)
    number = manifest.blocks.number
    there = [k for k in range(number) if store.done(manifest, k) is not None]
    absent = sorted(set(range(number)) - set(there))
    damaged = [file for k in absent if (file := store.damage(manifest, k)) is not None]
    state, advice = f"{len(there)} of {number} blocks are there", "Run the same sweep again to"
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        state = f"{damaged[0]} is damaged{more}: {state}"
        if partial:
            warnings.warn(f"{state}. {advice} mend it.", SweepWarning, stacklevel=2)
    if absent and not partial:
        kind = StoreCorrupt if damaged else StoreError
        state = state if damaged else f"{path} is unfinished: {state}"
        raise kind(f"{state}. {advice} complete it, or open what there is with `partial=True`.")
    return dataset_of(store, manifest, there)


def dataset_of(store: Store, manifest: Manifest, there: list[int]) -> Dataset:
    """The dataset in a store, blank but for the blocks `there`."""
    dataset = xarray("open_sweep").open_zarr(store.data)
    dataset = dataset[[variable.name for variable in manifest.variables]]
    absent = set(range(manifest.blocks.number)) - set(there)
    if not any(store.started(manifest, k) for k in absent):
        return dataset  # where a chunk has no file, zarr reads what is blank
    # Some block has files but does not count: what must not be seen of it is left out here.
    values = {}
    for variable in manifest.variables:
        shape = manifest.blocks.shape + variable.shape
        values[variable.name] = np.full(shape, variable.blank, variable.dtype)
    for k in there:
        for name, part in store.read(manifest, k).items():
            values[name][manifest.blocks.slices(k)] = part
    return dataset.assign({n: (dataset[n].dims, v, dataset[n].attrs) for n, v in values.items()})


def _nearest(path: pathlib.Path) -> pathlib.Path:
    """The path, or the nearest folder (or file) above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def _checksum(file: pathlib.Path) -> list[int]:
    """The length and CRC-32 of a file; length -1 if there is no file."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return [-1, 0]
    return [len(content), zlib.crc32(content)]


def _write_whole(file: pathlib.Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, also after a loss of power."""
    partial = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(partial, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _sealed(content: dict[str, Any]) -> bytes:
    """The content as JSON, with a hash of all of it as its last entry."""
    content = json.loads(json.dumps(content))  # tuples become lists, as they will be read
    return json.dumps(content | {"seal": digest(content)}, indent=1).encode()


def _corrupt(file: pathlib.Path) -> StoreCorrupt:
    return StoreCorrupt(
        f"`store`: {file} is damaged or incomplete; nothing touched. Bring it back from a copy, or "
        "start anew with `overwrite=True` (--overwrite)."
    )


@contextlib.contextmanager
def _locked(file: pathlib.Path, *, shared: bool, wait: bool) -> Iterator[None]:
    """Hold a lock on a file, which ends with the process however that ends.

    **Arguments:** `shared`: others may hold it too, if they share. `wait`: for those that do not.

    **Raises:** StoreBusy without `wait`, where another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two writers there must keep apart by themselves
        yield
        return
    try:
        handle = open(file, "a")
    except PermissionError as error:
        text = f"`store`: no permission to write in {file.parent}; name another."
        raise PermissionError(text) from error
    with handle:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusy(
                f"`store`: another process is writing to {file.parent}. Wait for it, or let both "
                "share the work with `part=(k, n)` (--part)."
            ) from error
        yield
