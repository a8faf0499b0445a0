"""The benchmarks that nobody can run here in full do run, small, and what they check holds."""

import pytest

pytest.importorskip("distributed")


@pytest.mark.long
def test_the_command_for_a_gpu(capsys):
    from benchmarks import gpu

    assert gpu.main(["--small"]) == 0
    out = capsys.readouterr().out
    assert "This runs on cpu" in out and "FAILED" not in out and "left out" not in out
    for words in ("passed  store: the same bits", "floors", "times the runs", "points/s"):
        assert words in out


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what a cluster says of a scheduler that is killed
def test_a_cluster_whose_scheduler_is_killed(capsys):
    """The same call goes on with another cluster, to the same bits."""
    from benchmarks import scaleout

    row = scaleout.main(["--points", "1000", "--workers", "2"])
    assert row["same_bits"] and 0 < row["blocks_of_the_first"] < row["blocks"]
    assert any("run the same sweep again" in words for words in row["first_said"])
