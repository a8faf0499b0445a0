"""The folder that a command writes to.

Nothing there is removed or written over but what hopfax wrote, as the record in that folder says
(`Ledger`): not what somebody else put there, and not what was edited since. All of it is looked at
before anything is computed. What is written in one piece appears there whole or not at all, and is
listed before it appears, so that whatever a killed command leaves can be gone on with.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from .._files import FILE as RECORD, Ledger


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder, and whether what hopfax wrote there before is replaced."""

    path: pathlib.Path
    overwrite: bool = False

    @property
    def ledger(self) -> Ledger:
        """What hopfax wrote there."""
        return Ledger(self.path)

    def check(self, *files: str, folders: tuple[str, ...] = (), again: bool = False) -> None:
        """OSError or ValueError unless these can be written. To be called before computing.

        `folders`: those of them that are folders. `again`: what hopfax wrote is replaced without
        being asked to, as by a command that goes on.
        """
        check_place(self.path)
        for name in files:
            self._check_name(name)
        self.ledger.check((*files, *folders), self.overwrite or again)

    def check_named(self, name: str) -> None:
        """As `check`, for a file that the user named: what is not ours is replaced if asked to."""
        check_place(self.path)
        self._check_name(name)
        if not self.overwrite and (there := self.ledger.foreign(name)) is not None:
            raise FileExistsError(
                f"`out`: {there} was not written by hopfax, or was changed since; --overwrite "
                "replaces it."
            )

    def write(self, name: str, make: Callable[[pathlib.Path], Any], *, named: bool = False) -> None:
        """Write the file or folder `name`, which `make` makes at another place beside it.

        `named`: what is there may be somebody else's, as in `check_named`.

        **Raises:** FileExistsError if something that is not ours has appeared there.
        """
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(_beside(place.name))
        try:
            make(partial)
            if named and self.overwrite and not place.is_dir():
                place.unlink(missing_ok=True)
            self.ledger.move(partial, name)
        finally:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):
                partial.unlink()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of these bytes."""
        self.write(name, lambda partial: partial.write_bytes(content))

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Write a .npy file."""
        self.write(name, lambda partial: np.save(partial, array, allow_pickle=False))

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file."""
        self.write_bytes(name, (json.dumps(content, indent=2) + "\n").encode())

    def draw(self, name: str, figure: Any, dpi: int = 130, *, named: bool = False) -> None:
        """Write a picture."""
        self.write(name, lambda partial: figure.savefig(partial, dpi=dpi), named=named)

    def write_zarr(self, name: str, dataset: Any) -> None:
        """Write a dataset."""
        how: dict[str, Any] = dict(mode="w", zarr_format=3, consolidated=False)
        self.write(name, lambda partial: dataset.to_zarr(partial, **how))

    def _check_name(self, name: str) -> None:
        place = self.path / name
        if name == RECORD:
            raise ValueError(
                f"`out`: {place} is where hopfax records what it writes; use another name."
            )
        if place.is_dir():
            raise IsADirectoryError(f"`out`: {place} is a folder, where a file is to be written.")
        _lstat(place.with_name(_beside(place.name)))  # which is too long if any is


def check_place(folder: pathlib.Path) -> None:
    """OSError naming `out` unless a folder is there, or can be made, and can be written to."""
    above = folder
    while not _lstat(above) and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise NotADirectoryError(f"`out`: {above} is a file; name a folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"`out`: no permission to write in {above}; name another folder.")


def _lstat(place: pathlib.Path) -> bool:
    """Whether something is there. **Raises:** OSError if nothing can be: for too long a name."""
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise type(error)(f"`out`: {error.strerror}: {place}") from error
    return True


def _beside(name: str) -> str:
    """A name that nobody can foresee, of the same kind."""
    return f".{secrets.token_hex(4)}.{name}"
