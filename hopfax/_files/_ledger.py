"""What hopfax wrote into a folder, which is all that it may replace or remove there.

A command that writes files keeps a record of them beside them (`Ledger`); a stored sweep has its
manifest. Whatever neither lists belongs to somebody else: it is never removed and never written
over, with `overwrite` or without.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterable

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
        try:
            return unsealed(read_bytes(self._file, "out", StoreError))["files"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"`out`: {self._file}, which lists what hopfax wrote there, is damaged or another "
                "program's; nothing touched. Name another folder, or move that file away."
            ) from error

    def foreign(self, name: str) -> pathlib.Path | None:
        """A file at or below `name` that is not listed, or not as it was written; None if all that
        is there is ours."""
        listed = self.files()
        for file in files_below(self.folder / name):
            if listed.get(self._inside(file)) != checksum(file):
                return file
        return None

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
        listed = self.files()
        for name in names:
            below = f"{name}/"
            listed = {k: v for k, v in listed.items() if k != name and not k.startswith(below)}
            for file in files_below(self.folder / name):
                listed[self._inside(file)] = checksum(file)
        write_whole(self._file, sealed({"by": "hopfax", "files": listed}))

    def remove(self, *names: str) -> None:
        """Remove what is listed at or below these names, and the folders that this leaves empty.

        **Raises:** FileExistsError, before anything is removed, if something there is not ours.
        """
        self.check(names, overwrite=True)
        for name in names:
            found = [self._inside(file) for file in files_below(self.folder / name)]
            remove(self.folder, found)
        self.add(*names)

    def _inside(self, file: pathlib.Path) -> str:
        return file.relative_to(self.folder).as_posix()


def files_below(place: pathlib.Path) -> list[pathlib.Path]:
    """All files (and links, which are not followed) at or below a place, in order."""
    if place.is_symlink() or not place.is_dir():
        return [place] if os.path.lexists(place) else []
    found = []
    for folder, inner, files in os.walk(place):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        found += [pathlib.Path(folder, name) for name in (*files, *links)]
    return sorted(found)


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
