"""Memories from files of NumPy, and from tables.

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
from .._files import Form, Table, as_number, open_regular, read_bytes, read_whole, shown_cells
from ._stored import Patterns

#: Bytes that patterns need for each of their entries, copies and checks included.
ENTRY = 24


def load(path: str | os.PathLike) -> Patterns:
    """Patterns from a .npy file, from the array `xi` (or the only array) of a .npz file, or from a
    .csv table with a memory in every row.

    A table has commas, semicolons or tabs between its columns; with the last two, numbers may have
    decimal commas. It may have a header, of names or of the numbers 0, 1, 2, ...

    **Raises:** ValueError naming the file (and the line of a table) for one of another kind, one
    without such an array, a damaged one, one that holds pickled objects, one too large for this
    machine, or a table with anything else than numbers or with rows of different lengths.

    **Example:**

    ```python
    np.save("xi.npy", hx.patterns.hadamard(4, 16).xi)
    hx.patterns.load("xi.npy").xi.shape  # (4, 16)
    ```
    """
    check_path(path)
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz", ".csv"):
        raise ValueError(f"`path` must end in .npy, .npz or .csv, got {path.name!r}.")
    if path.suffix == ".csv":
        return _patterns(path, _read_table(Table(str(path), read_bytes(path))))
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
    return _patterns(path, found)


def _patterns(path: pathlib.Path, found: np.ndarray) -> Patterns:
    try:
        return Patterns(found)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`path`: {path} holds no patterns: {error}") from error


def _read_table(table: Table) -> np.ndarray:
    """The numbers of a table, a memory a row."""
    separator, lines = _layout(table)
    rows: list[list[float]] = []
    for line, text in lines:
        cells = _filled(table.cells(line, text, separator), len(rows[0]) if rows else 1)
        if rows and len(cells) != len(rows[0]):
            entries = f"{len(rows[0])} entries, as line {lines[0][0]}"
            table.fail(line, f"a memory needs {entries} has, but this one has {len(cells)}.")
        found = [as_number(cell, separator) for cell in cells]
        if None in found:
            at = found.index(None)
            table.fail(line, f"entry {at + 1} is {cells[at][:40]!r}; {_EXPECTED}.")
        for cell in cells:
            table.check_mark(line, cell)
        rows.append([value for value in found if value is not None])
    entries = len(rows) * len(rows[0])
    check_memory("path", ENTRY * entries, f"a table of {len(rows)} x {len(rows[0])} as patterns")
    return np.array(rows)


_EXPECTED = (
    "a memory is a row of numbers, -1 and 1 or 0 and 1, separated by comma, semicolon or tab"
)


def _layout(table: Table) -> tuple[str, list[tuple[int, str]]]:
    """The separator of a table of numbers, and its lines without a header."""
    (line, text), *below = table.lines
    for separator in table.separators:
        cells = _filled(table.cells(line, text, separator, tolerant=True), 1)
        values = [as_number(cell, separator) for cell in cells]
        # Under another separator than its own, a line is one cell, or cells with that one in them.
        later = table.separators[table.separators.index(separator) + 1 :]
        other = table.separators if len(cells) < 2 else later
        mixed = None in values and any(value is not None for value in values)
        if not cells or mixed or any(mark in cell for cell in cells for mark in other):
            continue
        counted = len(cells) > 2 and values == list(range(len(cells)))  # as pandas names columns
        if None not in values and not (counted and below):
            return separator, table.lines
        if below:
            return separator, below
        table.fail(line, "there is a header, and no row below it.")
    cells = table.cells(line, text, table.separators[0], tolerant=True)
    index = " (pandas: to_csv(index=False))" if cells and not cells[0] else ""
    table.fail(
        line,
        f"{_EXPECTED}; above them may be a header of names. Got {shown_cells(cells)}{index}.",
    )


def _filled(cells: list[str], least: int) -> list[str]:
    """Cells without empty ones at the end, as far as there are more than so many."""
    while len(cells) > least and not cells[-1]:
        cells = cells[:-1]
    return cells


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
