"""The pages of the theory: every formula has its place, and the tables of agreement are whole."""

import dataclasses
import importlib
import json
import re
import shutil

import pytest
from helpers import ROOT

from docs._build import agreement


def page_of(family):
    return (ROOT / "docs" / "theory" / f"{family}.md").read_text()


@pytest.mark.parametrize("family", agreement.FAMILIES)
def test_every_public_name_of_the_theory_is_linked_on_the_page_of_its_family(family):
    names = importlib.import_module(f"hopfax.theory.{family}").__all__
    linked = re.findall(rf"\]\[hopfax\.theory\.{family}\.(\w+)\]", page_of(family))
    assert set(names) == set(linked)


@pytest.mark.parametrize("family", agreement.TARGETS)
def test_stored_claims_belong_to_the_code_and_all_stand_in_the_table(family):
    assert agreement.stale(family) is None
    stored, table = agreement.load(family), agreement.table(family)
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(stored.claims) > 10
    for claim, row in zip(stored.claims, rows, strict=True):
        assert agreement._escaped(claim["claim"]) in row
        assert ("does not hold" in row) == (not claim["holds"])
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 7, "a bar in a text has to be escaped"
        assert f"\n{int(cells[-1])}. {agreement._escaped(claim['conditions'])}\n" in table


def test_a_claim_that_does_not_hold_is_bold_and_counted(tmp_path, monkeypatch):
    stored = agreement.load("sequential")
    claims = [stored.claims[0] | {"claim": "x|y_z*", "simulation": float("nan"), "holds": False}]
    made = dataclasses.replace(stored, claims=claims + stored.claims[1:3])
    monkeypatch.setattr(agreement, "_STORED", tmp_path)
    (tmp_path / "sequential.json").write_text(json.dumps(dataclasses.asdict(made)))
    table = agreement.table("sequential")
    assert "makes 3 claims; 2 of them hold, 1 do not." in table
    assert r"| **x\|y\_z\*: does not hold** | 4 | nan |" in table


def test_claims_are_out_of_date_when_their_code_changes_or_none_are_stored(tmp_path, monkeypatch):
    copied = shutil.copytree(
        ROOT / "hopfax", tmp_path / "hopfax", ignore=lambda *_: ["__pycache__"]
    )
    monkeypatch.setattr(agreement, "_ROOT", tmp_path)
    before = agreement.digest("sequential")
    (copied / "cli" / "sequential" / "sweep.py").write_text("")
    assert agreement.digest("sequential") == before
    others = "theory/sequential/_times.py", "dynamics/_orbit.py"
    for changed in ("cli/sequential/_checks.py", *others):
        file = copied / changed
        file.write_text(file.read_text() + "# changed\n")
        assert agreement.digest("sequential") != before
        before = agreement.digest("sequential")
    monkeypatch.setattr(agreement, "digest", lambda family: "another")
    assert "has changed since" in agreement.stale("sequential")
    monkeypatch.setattr(agreement, "_STORED", tmp_path)
    assert "python -m docs._build.agreement rate" in agreement.stale("rate")
    with pytest.raises(ValueError, match="`family` must be one of"):
        agreement.load("unheard of")
