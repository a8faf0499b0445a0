"""What hopfax wrote into a folder, which is all that it may replace or remove there.

A command that writes files keeps a record of them beside them (`Ledger`); a stored sweep has its
manifest. Whatever neither lists belongs to somebody else: it is never removed and never written
over, with `overwrite` or without.

A result is listed before it is moved to its place, beside what is there until then. So a process
may be killed at any moment: what it leaves is listed, or listed and absent, which harms nothing.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator

from .._errors import StoreError
from ._io import checksum, read_bytes, sealed, unsealed, write_whole

#: The file of a ledger.
FILE = "written.json"


class Ledger:
    """The record of the files that a command wrote to a folder: their lengths and checksums."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._file = folder / FILE

    def files(self) -> dict[str, list[int]]:
        """What is listed, by path from the folder; nothing where there is no record.

        **Raises:** StoreError for a record that is damaged or not ours.
        """
        return self._read()["files"]

    def foreign(self, name: str) -> pathlib.Path | None:
        """A file at or below `name` that is not listed, or not as it was written; None if all that
        is there is ours."""
        listed = self._read()
        for file in files_below(self.folder / name):
            if checksum(file) not in [part.get(self._inside(file)) for part in listed.values()]:
                return file
        return None

    def whole(self, name: str) -> bool:
        """Whether what was written at or below `name` is all there, as it was written, and nothing
        else is."""
        there = {self._inside(file): checksum(file) for file in files_below(self.folder / name)}
        return bool(there) and there in [_below(part, name) for part in self._read().values()]

    def check(self, names: Iterable[str], overwrite: bool) -> None:
        """FileExistsError unless all of these may be written: they are not there, or with
        `overwrite` they are ours."""
        for name in names:
            place = self.folder / name
            if not os.path.lexists(place):
                continue
            if (other := self.foreign(name)) is not None:
                raise FileExistsError(
                    f"`out`: {other} is not as hopfax wrote it, or was not written by hopfax; "
                    "nothing touched. Move it away, or name another folder."
                )
            if not overwrite:
                raise FileExistsError(
                    f"`out`: {place} is from an earlier run; --overwrite replaces it."
                )

    def add(self, *names: str) -> None:
        """List what was just written at or below these names, in place of what was there before."""
        with _alone(self.folder):
            listed = self._read()
            for name in names:
                for part in listed.values():
                    for file in _below(part, name):
                        del part[file]
                for file in files_below(self.folder / name):
                    listed["files"][self._inside(file)] = checksum(file)
            self._write(listed)

    def move(self, made: pathlib.Path, name: str) -> None:
        """Move a file or folder that is complete to `name`, in place of what was written there
        before, and list it.

        **Raises:** FileExistsError if what is there is not ours.
        """
        self.check([name], overwrite=True)
        place = self.folder / name
        with _alone(self.folder):
            listed = self._read()
            for file in _below(listed["coming"], name):
                del listed["coming"][file]
            for file in files_below(made):
                inside = (place / file.relative_to(made)).relative_to(self.folder)
                listed["coming"][inside.as_posix()] = checksum(file)
            self._write(listed)
        if place.is_dir():
            remove(self.folder, [self._inside(file) for file in files_below(place)])
            prune(place)
        os.replace(made, place)
        self.add(name)

    def remove(self, *names: str) -> None:
        """Remove what is listed at or below these names, and the folders that this leaves empty;
        the record, too, where it lists nothing any more.

        **Raises:** FileExistsError, before anything is removed, if something there is not ours.
        """
        self.check(names, overwrite=True)
        for name in names:
            found = [self._inside(file) for file in files_below(self.folder / name)]
            remove(self.folder, found)
            prune(self.folder / name)
        if self._file.exists():
            self.add(*names)
            if not any(self._read().values()):
                self._file.unlink()

    def _read(self) -> dict[str, dict[str, list[int]]]:
        """What is listed: `files` that were written, and those that were about to come."""
        try:
            found = unsealed(read_bytes(self._file, "out", StoreError))
            listed = {"files": found["files"], "coming": found.get("coming", {})}
            if not all(isinstance(part, dict) for part in listed.values()):
                raise TypeError("no record of files")
            return listed
        except FileNotFoundError:
            return {"files": {}, "coming": {}}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"`out`: {self._file}, which lists what hopfax wrote there, is damaged or another "
                "program's; nothing touched. Name another folder, or move that file away."
            ) from error

    def _write(self, listed: dict[str, dict[str, list[int]]]) -> None:
        write_whole(self._file, sealed({"by": "hopfax", **listed}))

    def _inside(self, file: pathlib.Path) -> str:
        return file.relative_to(self.folder).as_posix()


def _below(files: dict[str, list[int]], name: str) -> dict[str, list[int]]:
    """Those of the files that are at or below a name."""
    return {k: v for k, v in files.items() if k == name or k.startswith(f"{name}/")}


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Keep other processes from the record of a folder meanwhile; without a lock where the system
    has none for folders."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def files_below(place: pathlib.Path) -> list[pathlib.Path]:
    """All files (and links, which are not followed) at or below a place, in order."""
    if place.is_symlink() or not place.is_dir():
        return [place] if os.path.lexists(place) else []
    found = []
    for folder, inner, files in os.walk(place):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        found += [pathlib.Path(folder, name) for name in (*files, *links)]
    return sorted(found)


def prune(place: pathlib.Path) -> None:
    """Remove a folder and those below it as far as nothing is in them."""
    for folder, _, _ in os.walk(place, topdown=False) if not place.is_symlink() else ():
        with contextlib.suppress(OSError):  # something is left in it
            os.rmdir(folder)


def remove(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Remove files by their paths from a folder, then the folders between that are left empty.

    Nothing outside is reached: a path that leaves the folder, or leads through a link, is passed
    over.
    """
    above: set[pathlib.Path] = set()
    for name in names:
        place = folder / name
        between = [p for p in place.parents if p != folder and folder in p.parents]
        if ".." in pathlib.PurePath(name).parts or any(p.is_symlink() for p in between):
            continue
        if folder in place.parents:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
            above.update(between)
    for place in sorted(above, key=lambda p: len(p.parts), reverse=True):
        with contextlib.suppress(OSError):  # something is left in it
            place.rmdir()
