"""What the commands print: lines, tables and numbers."""

import contextlib
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def say(text: str = "") -> None:
    """Print one line (or several) now, also into a pipe."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """Print one line (or several) of an error or a warning."""
    _print(text, sys.stderr)


def _print(text: str, stream: Any) -> None:
    """Print also what the stream has no letters for: names of files are bytes to the system, and
    appear as such; other letters are written as escapes."""
    coding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(coding)
    except UnicodeEncodeError:
        if (raw := getattr(stream, "buffer", None)) is not None:
            with contextlib.suppress(UnicodeEncodeError):
                content = text.encode(coding, "surrogateescape") + b"\n"
                stream.flush()
                raw.write(content)
                raw.flush()
                return
        text = text.encode(coding, "backslashreplace").decode(coding)
    print(text, file=stream, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns under their heads: the first flush left, the others flush right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]

    def join(line):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells[1:]]).rstrip()

    rule = join(["-" * width for width in widths])
    return "\n".join([join(lines[0]), rule, *map(join, lines[1:])])


def number(value: Any, digits: int = 4) -> str:
    """A number for a table; a dash where there is none."""
    value = float(value)
    if math.isnan(value):
        return "-"
    return "inf" if math.isinf(value) else f"{value:.{digits}f}"
