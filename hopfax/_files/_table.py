"""Tables as programs and spreadsheets of many countries write them.

They have commas, semicolons or tabs between columns, decimal commas where the columns have another
separator, and are in UTF-8, UTF-16 or a code page. What each column means is for the reader of one
kind of table to say.
"""

import codecs
import csv
import io
import re
from typing import NoReturn

import numpy as np

from .._types import default_float

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKS = (  # the longer ones first
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS = (",", ";", "\t")


class Table:
    """The lines of a table that are not empty, with their numbers, and the separators that it may
    have."""

    path: str
    lines: list[tuple[int, str]]
    separators: tuple[str, ...]

    def __init__(self, path: str, content: bytes):
        self.path = path
        self._marks: dict[str, int] = {}  # the first line with a decimal comma, or a point
        numbered = enumerate(io.StringIO(self._decoded(content), newline=""), 1)
        lines = [(n, line.rstrip("\r\n")) for n, line in numbered]
        if lines and (named := re.fullmatch(r"sep=([,;\t])", lines[0][1])):  # as Excel writes
            self.separators = (named[1],)
            lines = lines[1:]
        else:
            self.separators = _SEPARATORS
        self.lines = [(n, line) for n, line in lines if line.strip(' \t,;"')]
        if not self.lines:
            raise ValueError(f"`path`: {path} is empty.")

    def fail(self, line: int, text: str) -> NoReturn:
        """Raise the error for a line."""
        raise ValueError(f"`path`: {self.path}, line {line}: {text}")

    def cells(self, number: int, line: str, separator: str, tolerant: bool = False) -> list[str]:
        """What stands between the separators of a line; if that cannot be told, an error, or, if
        `tolerant`, nothing."""
        try:
            (cells,) = csv.reader([line], delimiter=separator, strict=True)
        except csv.Error as error:
            if tolerant:
                return []
            self.fail(number, f"cannot be taken apart at its separators and quotes: {error}.")
        return [cell.strip() for cell in cells]

    def check_mark(self, number: int, cell: str) -> None:
        """Fail if the number in a cell has a decimal comma where others have a point."""
        for mark, other in ((",", "."), (".", ",")):
            if mark in cell:
                self._marks.setdefault(mark, number)
                if other in self._marks:
                    self.fail(
                        number,
                        f"has {mark!r} in a number, where line {self._marks[other]} has "
                        f"{other!r}: which of them is the decimal point?",
                    )

    def _decoded(self, content: bytes) -> str:
        marked = [pair for pair in _MARKS if content.startswith(pair[0])]
        mark, encoding = marked[0] if marked else (b"", "utf-8")
        content = content.removeprefix(mark)
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            if marked:
                before = content[: error.start].decode(encoding, "ignore")
                self.fail(_line(before), f"there is no text in {encoding} here.")
            text = content.decode("latin-1")  # of any code page, the digits are these
        if (found := _CONTROL.search(text)) is not None:
            what = f"has the control character {found[0]!r}; save the table as UTF-8 text."
            self.fail(_line(text[: found.start()]), what)
        return text


def _line(before: str) -> int:
    """The number of the line that comes after this text."""
    return len(re.findall(r"\r\n|\r|\n", before)) + 1


def with_point(cell: str, separator: str) -> str:
    """A number with a decimal point; with no comma between columns, one may be in it instead."""
    return cell.replace(",", ".", 1) if separator != "," and "." not in cell else cell


def as_number(cell: str, separator: str) -> float | None:
    """A finite number, rounded as it will be; None for anything else."""
    cell = with_point(cell, separator)
    if not NUMBER.fullmatch(cell):
        return None
    with np.errstate(over="ignore"):
        value = float(default_float().type(float(cell)))
    return value if np.isfinite(value) else None


def shown_cells(cells: list[str]) -> str:
    """Some cells, for a message."""
    text = repr(cells)
    return text if len(text) < 120 else f"{text[:120]}..."
