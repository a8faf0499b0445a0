"""Outputs of pages that are kept: in docs/stored those of pages that take long, which are
committed, and in build/cache those of all others, which spare the next build of the same tree its
runs.

A folder for each page, with outputs.json and its pictures:

    {"code": digest of the code, "library": digest of hopfax's source, "hopfax": version,
     "date": day, "seconds": how long it took,
     "outputs": [[{"text": ...} or {"picture": file}, ...] for every block]}
"""

import datetime
import functools
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hopfax as hx

from ._execute import Code, Output, digest

ROOT = Path(__file__).resolve().parents[2]
STORED, CACHE = ROOT / "docs" / "stored", ROOT / "build" / "cache"
#: Days after which stored outputs are made again.
OLD = 365


@functools.cache
def library() -> str:
    """A digest of hopfax's source."""
    found = hashlib.sha256()
    for file in sorted((ROOT / "hopfax").rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def store(
    root: Path,
    page: str,
    parts: Sequence[str | Code],
    outputs: Sequence[Sequence[Output]],
    seconds: float,
) -> None:
    """Replace what is kept of a page."""
    folder = root / page
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed: list[list[dict[str, str]]] = []
    count = 0
    for block in outputs:
        listed.append([])
        for output in block:
            if output.picture:
                name, count = f"{count}.png", count + 1
                (folder / name).write_bytes(output.picture)
                listed[-1].append({"picture": name})
            else:
                listed[-1].append({"text": output.text})
    found = {
        "code": digest(parts),
        "library": library(),
        "hopfax": hx.__version__,
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds, 1),
        "outputs": listed,
    }
    (folder / "outputs.json").write_text(json.dumps(found, indent=1) + "\n")


def stale(root: Path, page: str, parts: Sequence[str | Code]) -> str | None:
    """Why what is kept of a page cannot be shown, None if it can."""
    found = _read(root / page)
    if found is None:
        return "nothing is stored of it"
    if found["code"] != digest(parts):
        return "its code has changed since its outputs were stored"
    if found["hopfax"] != hx.__version__:
        return f"its outputs are of hopfax {found['hopfax']}"
    if root == CACHE:
        return None if found["library"] == library() else "hopfax has changed"
    age = (datetime.date.today() - datetime.date.fromisoformat(found["date"])).days
    return f"its outputs are {age} days old" if age > OLD else None


def load(root: Path, page: str) -> tuple[list[list[Output]], str]:
    """A page's outputs as they are kept, and a sentence that says when they were made."""
    found = _read(folder := root / page)
    assert found is not None
    outputs = [
        [
            Output(picture=(folder / item["picture"]).read_bytes())
            if "picture" in item
            else Output(item["text"])
            for item in block
        ]
        for block in found["outputs"]
    ]
    made = f"Run with hopfax {found['hopfax']} on {found['date']}, in {found['seconds']:.0f} s."
    return outputs, made


def _read(folder: Path) -> Any:
    file = folder / "outputs.json"
    return json.loads(file.read_text()) if file.is_file() else None
