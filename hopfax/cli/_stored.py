"""What a command has written to a folder, as a dataset."""

import pathlib
from typing import Any

from . import _families
from ._output import open_store
from ._settings import FILE, family_in


def stored(place: pathlib.Path) -> Any:
    """The dataset at a place, in memory; of an unfinished sweep, what is there.

    The settings in the folder, or in the one that it is a part of, name the family, which knows how
    its sweeps are stored.

    **Raises:** StoreError if there is none.
    """
    folder = settings_folder(place)
    if folder is None:
        return open_store(place)
    return _families.cell(family_of(folder), "sweep").stored(place, folder)


def family_of(folder: pathlib.Path, command: str = "sweep") -> str:
    """The family of networks that the settings in a folder are of."""
    return family_in(folder / FILE, command) or _families.FAMILIES[0]


def settings_folder(place: pathlib.Path) -> pathlib.Path | None:
    """The folder with the settings of a sweep: the place, or the one that it is a part of; None if
    there is none, as of a store of `hopfax.sweep`."""
    return next((f for f in (place, place.parent) if (f / FILE).is_file()), None)
