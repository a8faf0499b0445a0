"""`hopfax dynamics`: the orbit of a sequence, and the gain at which it is born."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
import zoo

import hopfax as hx
from hopfax.cli import _output

CYCLE = ("--memories", "3", "--neurons", "16", "--tau", "20", "--bias", "0.02")


@pytest.mark.slow
def test_the_orbit_and_the_threshold_are_printed_and_drawn(command, tmp_path):
    status, out, err = command(
        "dynamics", *CYCLE, "--picture", tmp_path / "dwell.png", "--out", tmp_path / "out"
    )
    assert status == 0, err
    network, _ = zoo.cycle()
    exact = float(hx.dynamics.critical_gain(network).gain)
    (printed,) = re.findall(
        r"^critical gain ([\d.]+): fold; just below, the sequence dies$", out, re.M
    )
    assert float(printed) == pytest.approx(exact, rel=1e-11)
    assert "stable closed orbit" in out and "theory of widely separated timescales: " in out
    assert (tmp_path / "dwell.png").stat().st_size > 10_000

    stored = _output.open_zarr(tmp_path / "out", "branches.zarr")
    assert stored["gain"][0] == 5.0 and stored["stable"][0] and not stored["stable"].all()
    codes, kinds = stored["special_kind"], stored["special_kind"].attrs["flag_meanings"].split()
    folds = stored["special_gain"].values[codes.values == kinds.index("fold")]
    assert np.abs(folds - exact).min() < 1e-10
    assert stored.attrs["ended"] == ["it leaves the interval at 5"]
    told = json.loads((tmp_path / "out/dynamics.json").read_text())
    assert told["critical_gain"] == pytest.approx(exact, rel=1e-11) and told["end"] == "fold"
    status, _, err = command("dynamics", *CYCLE, "--out", tmp_path / "out")
    assert status == 2 and "--overwrite" in err

    status, _, err = command("report", tmp_path / "out")
    assert status == 0, err
    page = (tmp_path / "out/report.html").read_text()
    assert f'<td>fold</td><td class="number">{exact:.10g}</td>' in page
    assert "Branch 0: it leaves the interval at 5." in page and "<td>hadamard</td>" in page

    model = tmp_path / "out/model.hopfax"
    status, again, err = command("dynamics", "--model", model)
    assert status == 0, err
    assert f"critical gain {printed}" in again


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--picture", "dwell.txt"), "`picture` must end in .png"),
        (("--horizon", "-1"), "`horizon` must be"),
        (("--seed", "3"), "`seed`"),
        (("--memories", "0"), "`memories` must be at least 1"),
    ],
)
def test_bad_options_are_named(command, options, text):
    status, _, err = command("dynamics", *CYCLE, *options)
    assert status == 2 and text in err


def test_another_kind_of_model_is_refused(command, tmp_path):
    hx.save(tmp_path / "model.hopfax", hx.Hopfield(hx.patterns.hadamard(3, 16)))
    status, _, err = command("dynamics", "--model", tmp_path / "model.hopfax")
    assert status == 2 and "`model` must hold a TwoTimescaleHopfield" in err


@pytest.mark.slow
def test_a_network_without_a_sequence_says_so(command, tmp_path):
    still = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), jnp.zeros((3, 3)), kappa=5.0, tau=20.0, bias=0.02
    )
    hx.save(tmp_path / "model.hopfax", still)
    status, _, err = command("dynamics", "--model", tmp_path / "model.hopfax")
    assert status == 1 and "no stable sequence was found at gains from 5" in err
