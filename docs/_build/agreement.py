"""Agreement tables: the claims of `hopfax reproduce`, stored beside the site and shown on it.

A page of the theory has a line `<!-- agreement: TARGET -->`, in whose place the builder puts
`table(TARGET)`; a target is a family, or a part of one, as `sequences` of the dense memories.
Nothing in such a table is typed: it is made from a file TARGET.json in docs/stored/reproduce, which
`store` writes from a run of `hopfax reproduce TARGET`. That run takes minutes, so it is not
repeated for each build. Instead the file holds a digest of the source text that decides what is
claimed, measured and predicted, and `stale` says when that text has changed.

    python -m docs._build.agreement sequential dense rate    # run and store them again
"""

import dataclasses
import datetime
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import hopfax
from hopfax.cli import _families

_ROOT = pathlib.Path(__file__).parents[2]
_STORED = _ROOT / "docs" / "stored" / "reproduce"

#: The families that have the command, and all that it takes.
FAMILIES = tuple(_families.families_with("reproduce"))
TARGETS = (*FAMILIES, *_families.PARTS)

_RELATIONS = {"equal": "", "below": "must lie below", "above": "must lie above"}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What a run of `hopfax reproduce` found, and of which hopfax."""

    family: str
    hopfax: str  # version
    date: str
    seconds: float
    settings: dict[str, Any]
    digest: str
    claims: list[dict[str, Any]]


def store(family: str) -> Agreement:
    """Run `hopfax reproduce` for a family and store its claims.

    **Raises:** RuntimeError if the command fails; claims that do not hold are no failure.
    """
    settings = {"precision": "float64"}
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hopfax", "reproduce", family, *options, "--out", folder]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
        found = pathlib.Path(folder) / "claims.json"
        if done.returncode not in (0, 1) or not found.exists():
            raise RuntimeError(f"`hopfax reproduce {family}` failed:\n{done.stderr[-2000:]}")
        claims = json.loads(found.read_text())
    made = Agreement(
        family,
        hopfax.__version__,
        datetime.datetime.now(datetime.UTC).date().isoformat(),
        round(time.monotonic() - start, 1),
        settings,
        digest(family),
        claims,
    )
    _STORED.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(made), indent=1, ensure_ascii=False)
    _path(family).write_text(text + "\n")
    return made


def load(family: str) -> Agreement:
    """What is stored of a family.

    **Raises:** FileNotFoundError if nothing is; the message says how to store it.
    """
    path = _path(family)
    if not path.exists():
        raise FileNotFoundError(
            f"no claims of {family!r} are stored in {path}; "
            f"`python -m docs._build.agreement {family}` stores them."
        )
    return Agreement(**json.loads(path.read_text()))


def stale(family: str) -> str | None:
    """Why what is stored of a family is out of date, in a sentence; None if it is not."""
    again = f"`python -m docs._build.agreement {family}` stores them again"
    try:
        stored = load(family)
    except FileNotFoundError as error:
        return str(error)
    if stored.digest != digest(family):
        return f"the code behind the claims of {family!r} has changed since {stored.date}; {again}."
    return None


def table(family: str) -> str:
    """The claims of a family as a Markdown table, with the conditions of each below it."""
    stored = load(family)
    conditions = list(dict.fromkeys(claim["conditions"] for claim in stored.claims))
    places = {text: number for number, text in enumerate(conditions, 1)}
    lines = [
        '<div class="agreement" markdown>',
        "",
        _heading(stored),
        "",
        "| claim | predicted | simulated | difference | tolerance | why this tolerance | under |",
        "|---|--:|--:|--:|--:|---|--:|",
    ]
    for claim in stored.claims:
        name, relation = _escaped(claim["claim"]), _RELATIONS[claim["relation"]]
        name = name if not relation else f"{name} ({relation})"
        name = name if claim["holds"] else f"**{name}: does not hold**"
        values = (claim[key] for key in ("theory", "simulation", "difference", "tolerance"))
        why, under = _escaped(claim["why"]), places[claim["conditions"]]
        lines.append(f"| {name} | {' | '.join(map(_number, values))} | {why} | {under} |")
    lines += ["", "Conditions, by the number in the last column:", ""]
    lines += [f"{number}. {_escaped(text)}" for text, number in places.items()]
    lines += ["", "</div>"]
    return "\n".join(lines) + "\n"


#: What is claimed, measured and asked, in the folder of a family of the command line.
_CLAIMING = ("reproduce", "_checks", "_measured", "_cases", "_many_body")


def digest(family: str) -> str:
    """A digest of the source text on which the claims of a family rest: its theory, what is claimed
    of it and measured, and the exact orbits and thresholds, if these are called."""
    package = _ROOT / "hopfax"
    shared = (package / "theory").glob("_[a-z]*.py")  # without the index of all families
    names = _CLAIMING if family in FAMILIES else (f"_{family}", "_measured")
    family = _families.PARTS.get(family, family)
    paths = [*shared, *(package / "theory" / family).glob("*.py")]
    named = [package / "cli" / family / f"{name}.py" for name in names]
    claiming = [path for path in named if path.exists()]
    if any("hx.dynamics." in path.read_text() for path in claiming):
        paths += (package / "dynamics").glob("*.py")
    made = hashlib.sha256()
    for path in sorted([*paths, *claiming]):
        text = path.read_text().replace("\r\n", "\n")
        made.update(f"{path.relative_to(_ROOT).as_posix()}\n{len(text)}\n{text}".encode())
    return made.hexdigest()[:16]


def _path(family: str) -> pathlib.Path:
    if family not in TARGETS:
        raise ValueError(f"`family` must be one of {', '.join(TARGETS)}, got {family!r}.")
    return _STORED / f"{family}.json"


def _heading(stored: Agreement) -> str:
    count = len(stored.claims)
    held = sum(claim["holds"] for claim in stored.claims)
    verdict = "all of them hold" if held == count else f"{held} of them hold, {count - held} do not"
    settings = ", ".join(f"{name} {value}" for name, value in stored.settings.items())
    return (
        f"`hopfax reproduce {stored.family}` ({settings}; hopfax {stored.hopfax}, {stored.date}, "
        f"{stored.seconds:.0f} s) makes {count} claims; {verdict}."
    )


def _number(value: float) -> str:
    """Five digits, as in the command's own table, or the whole number."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.5g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.1e}"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`*_[]|#$":  # the backslash first, as it is added to the others
        text = text.replace(sign, "\\" + sign)
    return text.replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    for name in sys.argv[1:] or TARGETS:
        made = store(name)
        print(_heading(made))
