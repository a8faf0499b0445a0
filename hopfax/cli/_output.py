"""The folder that a command writes to.

Every sweep keeps the same rules: `settings.toml` records what was asked, and a folder of other
settings is refused. The same command goes on with what is unfinished and reads what is complete. If
it is stopped, the error says how to go on; if nothing was begun, nothing is left behind. What is
written in one piece appears there whole or not at all.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

import hopfax

from ._console import say
from ._picture import draw
from ._settings import FILE, plain, settings, to_toml

#: The folder of the dataset, in the folder of a sweep.
STORE = "sweep"


@runtime_checkable
class Options(Protocol):
    """The options that every sweep has about its folder."""

    @property
    def out(self) -> pathlib.Path | None: ...

    @property
    def overwrite(self) -> bool: ...

    @property
    def resume(self) -> bool: ...

    @property
    def chunk(self) -> int | None: ...


def check(options: Options) -> None:
    """ValueError or OSError for options about the folder that cannot be met."""
    if options.chunk is not None and options.chunk < 1:
        raise ValueError(f"`chunk` must be at least 1, got {options.chunk}.")
    if options.resume and options.overwrite:
        raise ValueError("`resume` and `overwrite` contradict each other.")
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise NotADirectoryError(f"`out`: {options.out} is a file; name a folder.")


def default_folder(command: str, settings: Mapping[str, Any]) -> pathlib.Path:
    """`hopfax-out/<command>-<hash8>`, one place for each choice of settings (not created)."""
    text = json.dumps(plain(settings), sort_keys=True)
    return pathlib.Path("hopfax-out") / f"{command}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder of one sweep, with the text of its settings.

    `more` are further options that the command needs to go on with it.
    """

    folder: pathlib.Path
    record: str
    overwrite: bool = False
    more: str = ""

    @classmethod
    def of(cls, options: Options, *comments: str, more: str = "", **other: Any) -> "Output":
        """The output of a sweep with these options. `comments` are further lines of the settings,
        `other` values to record in place of some options."""
        again = f"hopfax {hopfax.__version__}; again: hopfax sweep --config {FILE}"
        record = to_toml(settings(options) | other, (again, *comments))
        folder = options.out or default_folder("sweep", {"record": record})
        return cls(folder, record, options.overwrite, more)

    @property
    def settings(self) -> pathlib.Path:
        """The file of settings."""
        return self.folder / FILE

    @property
    def again(self) -> str:
        """The command that goes on with this sweep."""
        command = f"hopfax sweep --config {self.settings} --out {self.folder}"
        return f"{command}{self.more} --resume"

    def refuse_others(self) -> None:
        """StoreError if the folder holds a sweep of other settings, which is not to be replaced."""
        file = self.settings
        if file.is_file() and file.read_text() != self.record and not self.overwrite:
            raise hopfax.StoreError(
                f"`out`: {self.folder} holds a sweep of other settings; --overwrite replaces it, "
                "--out FOLDER writes elsewhere."
            )

    def clear(self, *places: pathlib.Path) -> None:
        """Remove what an earlier sweep made there, if it is to be replaced."""
        for place in places if self.overwrite else ():
            shutil.rmtree(place, ignore_errors=True)

    @contextlib.contextmanager
    def computing(self, store: pathlib.Path) -> Iterator[None]:
        """Record the settings and run what is inside, which begins by writing to `store`.

        If that fails before the store is there, files and folders are removed again; later, the
        error is given the line that goes on (unless the input is at fault: that would not help).
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.settings.write_text(self.record)
            yield
        except BaseException as error:
            if not is_store(store):  # nothing was begun
                between = [place for place in store.parents if self.folder in place.parents]
                _remove_empty(self.settings, store / ".writer.lock", store, *between, self.folder)
            elif not isinstance(error, hopfax.StoreError | ValueError | TypeError):
                error.add_note(f"To resume: {self.again}")
            raise

    def keep(self, dataset: Any, name: str, fresh: bool, start: float) -> str:
        """Write what was made of several stores, unless it is there and none of it `fresh`; say
        which. `start` is as in `was_computed`."""
        place = self.folder / name
        if not fresh and place.exists():
            return was_read(place)
        write_zarr(dataset, place)
        return was_computed(dataset, "points", start)

    def finish(self, dataset: Any, tables: str, work: str, picture: str, others: str) -> None:
        """Print the tables, draw the dataset, and say what was done and what was written."""
        say(tables)
        draw(dataset).savefig(self.folder / picture, dpi=150)
        say(f"\n{work}\nwritten to {self.folder}: {others}")


def was_read(place: pathlib.Path) -> str:
    """That a result was there already."""
    return f"read from {place}, which holds these settings (--overwrite computes again)"


def was_computed(dataset: Any, what: str, start: float) -> str:
    """How many points a result has and how long they took, from `start` on the performance
    counter."""
    return f"{dataset['status'].size} {what} in {time.perf_counter() - start:.1f} s"


def complete(*stores: pathlib.Path) -> bool:
    """Whether there are these stores, with every point of each."""
    try:
        for store in stores:
            hopfax.open_sweep(store)
    except hopfax.StoreError:
        return False
    return True


def store_in(place: pathlib.Path) -> pathlib.Path:
    """The store that a folder is, or that a command put into it."""
    inside = place / STORE
    return inside if is_store(inside) else place


def is_store(place: pathlib.Path) -> bool:
    """Whether a folder is a store of `hopfax.sweep`, complete or not."""
    return (place / "sweep.json").is_file()


def open_store(place: pathlib.Path) -> Any:
    """The dataset of `store_in`, in memory; of an unfinished sweep, what is there.

    **Raises:** StoreError if there is none.
    """
    return hopfax.open_sweep(store_in(place), partial=True).load()


def refuse_earlier(folder: pathlib.Path, names: tuple[str, ...], overwrite: bool) -> None:
    """FileExistsError if the folder holds one of these files, not to be replaced."""
    if not overwrite and any((folder / name).exists() for name in names):
        raise FileExistsError(f"`out`: {folder} holds an earlier run; --overwrite replaces it.")


def write_zarr(dataset: Any, path: pathlib.Path) -> None:
    """Write `dataset` beside `path`, then move it there: a reader sees all of it or nothing."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        dataset.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_zarr(path: pathlib.Path) -> Any:
    """What `write_zarr` wrote, in memory."""
    import xarray as xr

    return xr.open_zarr(path, consolidated=False).load()


def write_array(array: np.ndarray, path: pathlib.Path) -> None:
    """Write a .npy file: a reader sees all of it or what was there before."""
    partial = path.with_name(f".{path.name}.partial.npy")
    np.save(partial, array)
    os.replace(partial, path)


def _remove_empty(*places: pathlib.Path) -> None:
    """Remove files, and folders if nothing is in them, in this order."""
    for place in places:
        with contextlib.suppress(OSError):
            place.rmdir() if place.is_dir() else place.unlink()
