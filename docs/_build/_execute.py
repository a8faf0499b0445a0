"""Runs the code of a page, or of a notebook, in a kernel of its own, and keeps what it shows."""

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Runs before the first block: a warning about physics that a page does not expect is a mistake.
SETUP = """
import warnings as _warnings
import hopfax as _hopfax
_hopfax.compilation_cache()
_warnings.simplefilter("error", _hopfax.PhysicsWarning)
%matplotlib inline
%config InlineBackend.rc = {"figure.dpi": 110, "figure.figsize": (6.4, 3.8)}
"""
#: Seconds that one block may take.
LIMIT = 1200

_FENCE = re.compile(r"^```python(?P<words>[^\n`]*)\n(?P<code>.*?)^```[ ]*$", re.M | re.S)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
#: The name of what was drawn, which says nothing beside the picture.
_DRAWN = re.compile(r"<(Axes|Figure|matplotlib|Subfigure|BarContainer)|^\[?\(?Text\(")


class PageError(Exception):
    """A page that cannot be built; the message names the page."""


@dataclasses.dataclass(frozen=True)
class Code:
    """A block of code of a page. `hidden` ones are run and not shown, those that are not `run` are
    only shown."""

    source: str
    hidden: bool = False
    run: bool = True
    alt: str = ""


@dataclasses.dataclass(frozen=True)
class Output:
    """What a block shows: a text, or a picture as the bytes of a PNG file."""

    text: str = ""
    picture: bytes = b""


def parts_of_page(text: str) -> list[str | Code]:
    """Prose and blocks of a page, in order. Only blocks at the left margin are code of the page."""
    parts: list[str | Code] = []
    end = 0
    for found in _FENCE.finditer(text):
        words = found["words"]
        alt = re.search(r'alt="([^"]*)"', words)
        names = re.sub(r'alt="[^"]*"', "", words).split()
        if unknown := set(names) - {"hide", "norun"}:
            raise PageError(f"a block of Python is marked {', '.join(sorted(unknown))}.")
        parts.append(text[end : found.start()])
        parts.append(
            Code(found["code"], "hide" in names, "norun" not in names, alt[1] if alt else "")
        )
        end = found.end()
    return [*parts, text[end:]]


def parts_of_notebook(text: str) -> list[str | Code]:
    """Prose and cells of a notebook, in order."""
    return [
        Code("".join(cell["source"]) + "\n")
        if cell["cell_type"] == "code"
        else "".join(cell["source"]) + "\n\n"
        for cell in json.loads(text)["cells"]
    ]


def digest(parts: Sequence[str | Code]) -> str:
    """Of the code that is run: outputs belong to it."""
    code = "\0".join(part.source for part in parts if isinstance(part, Code) and part.run)
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def run(page: str, parts: Sequence[str | Code]) -> tuple[list[list[Output]], float]:
    """The outputs of every block that is run, and the seconds that all of them took.

    **Raises:** PageError naming page and block if one fails.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat import v4

    sources = [SETUP, *(part.source for part in parts if isinstance(part, Code) and part.run)]
    book = v4.new_notebook(cells=[v4.new_code_cell(source.rstrip()) for source in sources])
    keep = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONWARNINGS")}
    environment = keep | {"JAX_ENABLE_X64": "1", "PYTHONPATH": _path(), "COLUMNS": "100"}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            book, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise PageError(f"{page}: a block of its code fails.\n{_plain(str(error))}") from error
    seconds = time.perf_counter() - began
    return [_shown(cell["outputs"]) for cell in book.cells[1:]], seconds


def _path() -> str:
    """Where the hopfax that is documented lies, whatever is installed."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])])


def _plain(text: str) -> str:
    return _ESCAPES.sub("", text)


def _shown(outputs: Sequence[Any]) -> list[Output]:
    """Printed text is joined. A bar of progress and the name of a drawn object say nothing."""
    shown: list[Output] = []
    drawn = sum("image/png" in out.get("data", {}) for out in outputs)
    for out in outputs:
        data = out.get("data", {})
        if out["output_type"] == "stream":
            if out["name"] == "stdout":
                shown.append(Output(_plain(out["text"]).rstrip()))
        elif "image/png" in data:
            # a figure that is also the value of the last line would be shown twice
            if drawn <= 1 or out["output_type"] == "display_data":
                shown.append(Output(picture=small(base64.b64decode(data["image/png"]))))
        elif "text/plain" in data:
            text = _plain(data["text/plain"]).rstrip()
            if not (drawn and _DRAWN.search(text)):
                shown.append(Output(text))
    return _joined(shown)


def _joined(outputs: Sequence[Output]) -> list[Output]:
    """Lines that were printed one after another are one text."""
    made: list[Output] = []
    for output in outputs:
        if output.text and made and made[-1].text:
            made[-1] = Output(f"{made[-1].text}\n{output.text}")
        elif output.text or output.picture:
            made.append(output)
    return made


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG file, which its header holds."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def small(picture: bytes) -> bytes:
    """The same picture in at most 128 colours, a third of the bytes."""
    from PIL import Image

    opened = Image.open(io.BytesIO(picture)).convert("RGB")
    buffer = io.BytesIO()
    opened.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
