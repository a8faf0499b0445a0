"""What the pages on concepts say is complete."""

import re

from helpers import ROOT

import hopfax as hx

STATUSES = ROOT / "docs" / "concepts" / "statuses.md"


def _rows(section):
    """Code and name of every row of the table of a section."""
    (text,) = re.findall(rf"^## {section}$(.+?)(?=^## |\Z)", STATUSES.read_text(), re.M | re.S)
    rows = re.findall(r"^\| (-?\d+) \| `([\w, ]+)` \| (.+?) \| (.+?) \|$", text, re.M)
    return [(int(code), name) for code, name, *_ in rows]


def test_every_status_has_a_row_with_its_name():
    rows = _rows("What each means, and what to do")
    assert dict(rows) == {code: name for code, (name, _) in hx.STATUS.items()}


def test_every_ending_of_a_fit_has_a_row_with_its_name():
    assert _rows("How a fit ended") == list(enumerate(hx.ENDINGS))


def test_every_cause_of_an_ending_has_its_name_in_a_table():
    text = STATUSES.read_text().split("## Why a sequence ended")[1].split("\n## ")[0]
    first = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    named = [name for cell in first for name in re.findall("`([^`]+)`", cell)]
    assert sorted(named) == sorted(hx.observables.CAUSES)
