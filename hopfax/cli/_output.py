"""The folder of a sweep, which a command writes to.

Every sweep keeps the same rules: `settings.toml` records what was asked, and a folder of other
settings is refused. The same command goes on with what is unfinished and reads what is complete. If
it is stopped, the error says how to go on; if nothing was begun, nothing is left behind. What may
be written over there is said in `_folder`; stored sweeps have manifests of their own (`Store`).
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import hopfax

from .._files import Ledger, check_regular, check_zarr, read_bytes
from .._sweep._store import Store
from . import _interrupt
from ._console import say
from ._folder import Folder, check_place
from ._picture import draw
from ._settings import FILE, parsed, plain, settings, to_toml

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
    if options.out is not None:
        check_place(options.out)


def default_folder(command: str, settings: Mapping[str, Any]) -> pathlib.Path:
    """`hopfax-out/<command>-<hash8>`, one place for each choice of settings (not created)."""
    text = json.dumps(plain(settings), sort_keys=True)
    return pathlib.Path("hopfax-out") / f"{command}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder of one sweep, with the text of its settings.

    `more` are further words that the command needs to go on with it. `where`: the option that says
    where the stores are.
    """

    place: Folder
    record: str
    more: tuple[str, ...] = ()
    where: str = "out"

    @classmethod
    def of(cls, options: Options, *comments: str, **other: Any) -> "Output":
        """The output of a sweep with these options. `comments` are further lines of the settings,
        `other` values to record in place of some options."""
        again = f"hopfax {hopfax.__version__}; again: hopfax sweep --config {FILE}"
        record = to_toml(settings(options) | other, (again, *comments))
        folder = options.out or default_folder("sweep", {"record": record})
        store: pathlib.Path | None = getattr(options, "store", None)
        if store is None:
            return cls(Folder(folder, options.overwrite), record)
        more = tuple(option("store", store))
        return cls(Folder(folder, options.overwrite), record, more, "store")

    @property
    def folder(self) -> pathlib.Path:
        """The folder."""
        return self.place.path

    @property
    def again(self) -> str:
        """The command that goes on with this sweep, as a shell wants it."""
        words = ["hopfax", "sweep", *option("config", self.folder / FILE)]
        return shlex.join([*words, *option("out", self.folder), *self.more, "--resume"])

    def check(
        self, stores: Sequence[pathlib.Path], *files: str, folders: tuple[str, ...] = ()
    ) -> None:
        """OSError unless the sweep can be written there: its stores, files and further folders.

        To be called before anything is computed. **Raises:** StoreError (FileExistsError) if a
        store (anything else) is not as hopfax wrote it, or is of other settings and not to be
        replaced.
        """
        there = self._recorded()
        if there is not None and not _same(there, self.record) and not self.place.overwrite:
            raise hopfax.StoreError(
                f"`out`: {self.folder} holds a sweep of other settings; --overwrite replaces it, "
                "--out FOLDER writes elsewhere."
            )
        changed = there is not None and not _same(there, self.record)
        self.place.check(*files, *([FILE] * changed), folders=folders, again=True)
        with self._named():
            for store in stores:
                check_store(store, self.place.overwrite)

    @contextlib.contextmanager
    def computing(self, store: pathlib.Path, replaced: tuple[str, ...] = ()) -> Iterator[None]:
        """Record the settings and run what is inside, which begins by writing to `store`.

        If that fails before the store is there, the folder is left as it was; later, the error is
        given the line that goes on (unless the input is at fault: that would not help).
        `replaced`: what an earlier sweep made there, removed first if it is to be replaced.
        """
        before, there, old = self._recorded(), store.exists(), _stamp(store)
        advice = [f"To resume: {self.again}"]
        _interrupt.advise(lambda: advice if is_store(store) else [])
        try:
            self._begin(before)
            if self.place.overwrite:
                self.place.ledger.remove(*replaced)
            with self._named():
                yield
        except BaseException as error:
            new = _stamp(store)
            if new is None or (self.place.overwrite and new == old):  # nothing was begun
                self._undo(before, store, there)
            elif not isinstance(error, hopfax.StoreError | ValueError | TypeError):
                error.add_note(advice[0])
            raise

    def keep(self, dataset: Any, name: str, fresh: bool, start: float) -> str:
        """Write what was made of several stores, unless it is there and none of it `fresh`; say
        which. `start` is as in `was_computed`."""
        if not fresh and self.place.ledger.whole(name):
            return was_read(self.folder / name)
        self.place.write_zarr(name, dataset)
        return was_computed(dataset, "points", start)

    def finish(self, dataset: Any, tables: str, work: str, picture: str, others: str) -> None:
        """Print the tables, draw the dataset, and say what was done and what was written."""
        say(tables)
        self.place.draw(picture, draw(dataset), dpi=150)
        say(f"\n{work}\nwritten to {self.folder}: {others}")

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of a store name the option that says where it is."""
        try:
            yield
        except hopfax.StoreError as error:
            raise type(error)(str(error).replace("`store`", f"`{self.where}`")) from error

    def _recorded(self) -> bytes | None:
        """The settings that are there; None if there are none."""
        try:
            return read_bytes(self.folder / FILE, "out", hopfax.StoreError)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _begin(self, before: bytes | None) -> None:
        """Make the folder and record the settings, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if before is None or not _same(before, self.record):
            self.place.write_bytes(FILE, self.record.encode())

    def _undo(self, before: bytes | None, store: pathlib.Path, there: bool) -> None:
        """Leave the folder as it was before `_begin`."""
        with contextlib.suppress(OSError):
            if before is None:
                self.place.ledger.remove(FILE)
            elif not _same(before, self.record):
                self.place.write_bytes(FILE, before)
        between = [place for place in store.parents if self.folder in place.parents]
        made = [] if there else [store / ".create.lock", store / ".writer.lock", store]
        _remove_empty(*made, *between, self.folder)


def option(name: str, value: Any) -> list[str]:
    """An option as words of a command line, also if its value looks like another one."""
    return [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]


def _same(content: bytes, record: str) -> bool:
    """Whether a file of settings means the same, whichever version wrote it, and how."""

    def meaning(content: bytes) -> Any:
        comments = [line for line in content.splitlines()[1:] if line.startswith(b"#")]
        try:
            return comments, parsed(content)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            return content

    return meaning(content) == meaning(record.encode())


def was_read(place: pathlib.Path) -> str:
    """That a result was there already."""
    return f"read from {place}, which holds these settings (--overwrite computes again)"


def was_computed(dataset: Any, what: str, start: float) -> str:
    """How many points a result has and how long they took, from `start` on the performance
    counter."""
    return f"{dataset['status'].size} {what} in {time.perf_counter() - start:.1f} s"


def complete(*stores: pathlib.Path) -> bool:
    """Whether there are these stores, with every point of each."""
    if not all(map(is_store, stores)):  # without xarray, which takes a second to import
        return False
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


def open_zarr(folder: pathlib.Path, name: str) -> Any:
    """A dataset that a command wrote to a folder, in memory.

    **Raises:** StoreCorrupt if it is not as it was written.
    """
    import xarray as xr

    ledger = Ledger(folder)
    listed = any(file.startswith(f"{name}/") for file in ledger.files())
    if listed and not ledger.whole(name):
        raise hopfax.StoreCorrupt(
            f"{folder / name} is not as hopfax wrote it. Move it away; the same sweep, run again, "
            "makes it anew."
        )
    check_regular(folder / name, "store", hopfax.StoreCorrupt)
    check_zarr(folder / name, "store", hopfax.StoreCorrupt)
    return xr.open_zarr(folder / name, consolidated=False, zarr_format=3).load()


def check_store(place: pathlib.Path, overwrite: bool) -> None:
    """StoreError, as `hopfax.sweep` would raise it later, unless a sweep can be written there."""
    store = Store(place)
    store.check(overwrite)
    if not is_store(place):
        store.check_writable()
    elif overwrite:
        with store.writing():  # nobody else is
            pass
    else:
        store.manifest()


def _stamp(store: pathlib.Path) -> Any:
    """What changes when a store is made anew; None if there is none."""
    try:
        found = (store / "sweep.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def remove_store(place: pathlib.Path) -> None:
    """Remove a stored sweep: what its manifest lists. Whatever is no such store is left alone."""
    with contextlib.suppress(hopfax.StoreError):
        Store(place).remove()


def _remove_empty(*places: pathlib.Path) -> None:
    """Remove files, and folders if nothing is in them, in this order."""
    for place in places:
        with contextlib.suppress(OSError):
            place.rmdir() if place.is_dir() else place.unlink()
