"""Sequences from tables, as programs and spreadsheets of many countries write them.

A table is read if it can mean one thing only: with commas, semicolons or tabs between columns, with
decimal commas where the columns have another separator, in UTF-8, UTF-16 or a code page, `2.0` for
an index, or names in place of all indices. Whatever else there is makes an error that names the
line.
"""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from .._errors import check_bool, check_path, shown
from .._files import NUMBER, Table, as_number, read_bytes, shown_cells, with_point
from .._types import default_float
from ._events import Events

_COLUMNS = ("time", "memory", "sequence")
_MOST = 2**31  # indices are 32-bit integers


class Read(NamedTuple):
    """What is in a table: the sequences, and the names of the memories 0, 1, ..., none where it has
    indices."""

    events: list[Events]
    names: tuple[str, ...]


def read_events(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    first: int | None = None,
    join: bool = False,
) -> list[Events]:
    r"""Sequences from a CSV file with columns `time` and `memory`, and `sequence` if several.

    A row says that `memory` (an index or a name) was entered at `time`. The first row of a sequence
    is its beginning; a last row with an empty `memory` says when the last one gave way. Without a
    header the columns are time, memory, sequence. Columns are separated by commas, semicolons or
    tabs; with the last two, numbers may have decimal commas.

    **Arguments:**

    - `names`: the names of the memories 0, 1, ... that the file uses. Default: names are numbered
        in the order in which they first appear.
    - `first`: whether indices count from 0 or from 1. It must be said where the file names all of
        1 to K and never 0, which can mean either.
    - `join`: rows in which a memory follows itself are joined to one longer stay.

    **Raises:** ValueError naming the file and line; FileNotFoundError.

    **Example:**

    ```python
    with open("events.csv", "w") as file:
        file.write("time,memory\n0.0,0\n25.0,2\n50.0,1\n70.0,\n")
    (events,) = hx.losses.read_events("events.csv")
    events.memory, events.end  # 0, 2, 1, and 70
    ```
    """
    return read_table(path, names=names, first=first, join=join).events


def read_table(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    first: int | None = None,
    join: bool = False,
) -> Read:
    """As `read_events`, with the names that the memories have in the file."""
    check_path(path)
    check_bool(join, "join")
    if names is not None and (
        isinstance(names, str) or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(f"`names` must be a list of the memories' names, got {shown(names)}.")
    if first is not None and (isinstance(first, bool) or first not in (0, 1)):
        raise ValueError(f"`first` must be 0 or 1, got {shown(first)}.")
    table = _Table(os.fsdecode(path), read_bytes(path))
    groups = table.groups()
    rows = [row for group in groups.values() for row in group]
    known = table.known(rows, names)
    offset = 0 if known else table.offset(rows, first)
    numbers = {name: k for k, name in enumerate(known)}

    def indexed(row: _Row) -> _Row:
        if not row.cell:
            return row
        index = numbers[row.cell] if known else _index(row.cell, table.separator)
        assert index is not None
        return row._replace(memory=index - offset)

    made = [table.sequence([indexed(row) for row in group], join) for group in groups.values()]
    return Read(made, known)


class _Row(NamedTuple):
    line: int
    time: float
    cell: str  # what stands for the memory
    memory: int | None = None


class _Table:
    """A table of events."""

    def __init__(self, path: str, content: bytes):
        self.text = Table(path, content)
        self.separator = ","

    def fail(self, line: int, text: str) -> NoReturn:
        self.text.fail(line, text)

    def groups(self) -> dict[str, list[_Row]]:
        """The rows of every sequence."""
        first, line = self.text.lines[0]
        separator, names, header = self._columns(first, line)
        self.separator = separator
        rows = self.text.lines[1:] if header else self.text.lines
        if not rows:
            self.fail(first, "there is a header, and no row below it.")
        found: dict[str, list[_Row]] = {}
        for number, line in rows:
            label, row = self._row(
                number, self.text.cells(number, line, separator), names, separator
            )
            found.setdefault(label, []).append(row)
        if len(found) > 1 and "" in found:
            line = found[""][0].line
            self.fail(line, "`sequence` is empty, and other rows name one; name it in every row.")
        return found

    def _columns(self, number: int, line: str) -> tuple[str, list[str], bool]:
        """The separator, the names of the columns, and whether a header gives them."""
        for separator in self.text.separators:
            cells = self.text.cells(number, line, separator, tolerant=True)
            while len(cells) > 2 and not cells[-1]:
                cells = cells[:-1]
            names = [cell.lower() for cell in cells]
            if {"time", "memory"} <= set(names):
                for name in _COLUMNS:
                    if names.count(name) > 1:
                        self.fail(number, f"the header names `{name}` twice.")
                return separator, names, True
            try:
                if len(cells) > 1 and as_number(cells[0], separator) is not None:
                    if not _is_name(cells[1], separator):
                        _index(cells[1], separator)
                    return separator, list(_COLUMNS[: len(cells)]), False
            except ValueError:
                continue
        names = [cell.lower() for cell in self.text.cells(number, line, self.text.separators[0])]
        if any(name in re.split(r"[\s,;\"]+", line.lower()) for name in ("time", "memory")):
            got = shown_cells(names)
            self.fail(
                number,
                "the header needs columns named `time` and `memory` (and `sequence`, if several), "
                f"got {got}.",
            )
        self.fail(
            number,
            "needs a header, or a number as time and an index as memory, separated by comma, "
            f"semicolon or tab, got {shown_cells(names)}.",
        )

    def _row(
        self, number: int, cells: list[str], names: list[str], separator: str
    ) -> tuple[str, _Row]:
        """The label and content of one row."""
        while len(cells) > len(names) and not cells[-1]:
            cells = cells[:-1]
        least = max(names.index(name) for name in _COLUMNS if name in names) + 1
        if not least <= len(cells) <= len(names):
            many = least if least == len(names) else f"{least} to {len(names)}"
            self.fail(number, f"needs {many} columns, got {shown_cells(cells)}.")
        found = dict(zip(names, cells, strict=False))
        cell, named = found["memory"], _is_name(found["memory"], separator)
        try:
            time = as_number(found["time"], separator)
            if not named:
                _index(cell, separator)
        except ValueError:
            time = None
        if time is None:
            self.fail(
                number,
                "needs a number as time and an index or a name as memory, got "
                f"{shown_cells(cells)}.",
            )
        for cell in (found["time"], "" if named else found["memory"]):
            self.text.check_mark(number, cell)
        return found.get("sequence", ""), _Row(number, time, found["memory"])

    def known(self, rows: list[_Row], names: Sequence[str] | None) -> tuple[str, ...]:
        """The names of the memories, by their indices; empty if the table has indices."""
        cells = [row for row in rows if row.cell]
        if names is not None:
            for row in cells:
                if row.cell not in names:
                    self.fail(row.line, f"{row.cell!r} is none of the memories of `names`.")
            return tuple(names)
        named = [_is_name(row.cell, self.separator) for row in cells]
        if not any(named):
            return ()
        if not all(named):
            row = cells[named.index(not named[0])]
            this, others = ("an index", "names") if named[0] else ("a name", "indices")
            self.fail(
                row.line, f"{row.cell!r} is {this}, and other rows have {others} of memories."
            )
        return tuple(dict.fromkeys(row.cell for row in cells))

    def offset(self, rows: list[_Row], first: int | None) -> int:
        """The index of the first memory, where that is told or clear."""
        found = {_index(row.cell, self.separator): row.line for row in rows if row.cell}
        if first == 1 and 0 in found:
            self.fail(found[0], "the memory is 0, and `first` = 1 says that indices begin at 1.")
        if first is None and len(found) > 1 and set(found) == set(range(1, len(found) + 1)):
            self.fail(
                found[len(found)],
                f"with it the indices of memories are 1 to {len(found)} and never 0. If they count "
                "from 1, say `first` = 1; if memory 0 is never entered, `first` = 0.",
            )
        return first or 0

    def sequence(self, rows: list[_Row], join: bool) -> Events:
        """One sequence from its rows."""
        for before, row in zip(rows, rows[1:], strict=False):
            if before.memory is None:
                self.fail(before.line, "only the last row of a sequence may leave `memory` empty.")
            if not row.time > before.time:
                self.fail(
                    row.line,
                    f"the time must be later than that of line {before.line}, {before.time:.17g}, "
                    f"but is {row.time:.17g} (in {default_float()}).",
                )
            if row.memory == before.memory and not join:
                self.fail(
                    row.line,
                    f"memory {row.cell} follows itself: the network cannot show that; join the "
                    "two rows to one longer stay, or let `join` do it.",
                )
        entered = [row for row in rows if row.memory is not None]
        if len(entered) < 2:
            self.fail(rows[-1].line, "a sequence needs at least two memories, and here it ends.")
        end = rows[-1].time if rows[-1].memory is None else None
        order, times = np.array([row.memory for row in entered]), [row.time for row in entered]
        if join and (order == order[0]).all():
            self.fail(rows[-1].line, "a sequence needs at least two memories, and here it ends.")
        return Events(order, times, end=end, join=join)


def _is_name(cell: str, separator: str) -> bool:
    """Whether a cell is a name, which has a letter and is no number."""
    special = cell.lower() in ("nan", "inf", "-inf", "+inf", "infinity", "none", "na", "null")
    letters = any(letter.isalpha() for letter in cell)
    return letters and not special and not NUMBER.fullmatch(with_point(cell, separator))


def _index(cell: str, separator: str) -> int | None:
    """A whole number from 0 on; None for an empty cell. **Raises:** ValueError for others."""
    if not cell:
        return None
    cell = with_point(cell, separator)
    if not NUMBER.fullmatch(cell) or not (value := float(cell)).is_integer():
        raise ValueError
    if not 0 <= value < _MOST:
        raise ValueError
    return int(value)
