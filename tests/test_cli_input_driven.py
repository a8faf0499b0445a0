"""The command line of the input-driven field: reproduce."""

import json

import pytest
from cli_helpers import elsewhere as elsewhere


@pytest.mark.slow
@pytest.mark.long
def test_every_claim_of_the_input_driven_field_holds(command, tmp_path):
    status, out, err = command("reproduce", "input_driven", "--out", "rep")
    assert status == 0, err
    claims = json.loads((tmp_path / "rep/claims.json").read_text())
    assert all(claim["holds"] and claim["why"] and claim["conditions"] for claim in claims)
    assert len({claim["claim"] for claim in claims}) == len(claims) > 30
    pictures = {"competition", "barriers", "noise"}
    assert {file.stem for file in (tmp_path / "rep").glob("*.png")} == pictures
    assert "noise at which the stronger memory is lost" in out
