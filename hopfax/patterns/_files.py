"""Memories from files of NumPy.

The files may be a stranger's: they are regular ones, measured before they are read, and nothing in
them runs. Whatever is wrong with one is a ValueError in one line that names it.
"""

import os
import pathlib
import zipfile
from typing import Any, BinaryIO

import numpy as np

from .._errors import (
    check_memory,
    check_path,
)
from .._files import Form, open_regular, read_whole
from ._stored import Patterns

#: Bytes that patterns need for each of their entries, copies and checks included.
ENTRY = 24


def load(path: str | os.PathLike) -> Patterns:
    """Patterns from a .npy file, or from the array `xi` (or the only array) of a .npz file.

    **Raises:** ValueError naming the file for one of another kind, one without such an array, a
    damaged one, one that holds pickled objects, or one too large for this machine.

    **Example:**

    ```python
    np.save("xi.npy", hx.patterns.hadamard(4, 16).xi)
    hx.patterns.load("xi.npy").xi.shape  # (4, 16)
    ```
    """
    check_path(path)
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"`path` must end in .npy or .npz, got {path.name!r}.")
    with open_regular(path) as file:
        try:
            if path.suffix == ".npy":
                found = _read_array(file, os.fstat(file.fileno()).st_size)
            else:
                found = _read_archive(file)
        except ValueError as error:
            raise ValueError(f"`path`: {path} cannot be read: {error}") from error
        except Exception as error:  # of a damaged archive, a dozen kinds
            raise ValueError(f"`path`: {path} is damaged ({type(error).__name__}).") from error
    try:
        return Patterns(found)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`path`: {path} holds no patterns: {error}") from error


def _read_array(file: Any, size: int) -> np.ndarray:
    """The array of numbers that fills a file of `size` bytes."""
    form, values = read_whole(file, size)
    _check_form(form)
    return values()


def _check_form(form: Form) -> None:
    if form.dtype.kind not in "biufc":
        raise ValueError(f"it holds {form.dtype}, not numbers.")
    entries = form.nbytes // form.dtype.itemsize
    kind = f"{form.dtype}{list(form.shape)}"
    check_memory("path", form.nbytes + ENTRY * entries, f"an array of {kind} as patterns")


def _read_archive(file: BinaryIO) -> np.ndarray:
    """The array `xi` of an archive, or its only one."""
    with zipfile.ZipFile(file) as archive:
        arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        names = [info.filename.removesuffix(".npy") for info in arrays]
        wanted = [info for info in arrays if info.filename == "xi.npy"] or arrays
        if len(wanted) != 1:
            listed = ", ".join(repr(name[:40]) for name in names[:5]) or "none"
            more = ", ..." if len(names) > 5 else ""
            raise ValueError(f"it must hold an array `xi`, or only one, but has {listed}{more}.")
        with archive.open(wanted[0]) as member:
            found = _read_array(member, wanted[0].file_size)
            member.read(1)  # which compares the checksum
            return found
