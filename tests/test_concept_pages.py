"""What the pages on concepts say is complete."""

import re

from helpers import ROOT

import hopfax as hx

STATUSES = ROOT / "docs" / "concepts" / "statuses.md"


def test_every_status_has_a_row_with_its_name():
    rows = re.findall(r"^\| (-?\d+) \| `(\w+)` \| (.+?) \| (.+?) \|$", STATUSES.read_text(), re.M)
    assert {int(code): name for code, name, *_ in rows} == {
        code: name for code, (name, _) in hx.STATUS.items()
    }
