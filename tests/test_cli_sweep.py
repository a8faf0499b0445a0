"""`hopfax sweep` of sequences: from the first run on, planned, shared, interrupted, resumed."""

import json
import re
import signal
import sys
import tomllib
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from cli_helpers import elsewhere as elsewhere, refusal, stopped

import hopfax as hx
from hopfax.cli._memories import memories_of
from hopfax.cli._output import Output
from hopfax.cli._picture import draw
from hopfax.cli._stored import stored
from hopfax.cli.sequential import sweep as sequential
from hopfax.cli.sequential._exact import Exact
from hopfax.cli.sequential.sweep import Sweep, gains_and_starts, threshold

#: With four memories in 16 neurons and tiles of 16 runs all tests share one compiled program.
SMALL = ["sweep", "--points", "6", "4", "--tau", "20", "--horizon", "6", "--neurons", "16"]
UNSEEDED = [*SMALL, "--bias", "0"]  # no theory at finite tau, which takes long to compile
LONGER = [*UNSEEDED, "--points", "16", "8", "--chunk", "16"]

# Without a bias nothing moves, of which the commands warn.
pytestmark = pytest.mark.filterwarnings("ignore:at .* this start cannot move")


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setattr("hopfax._sweep._program._WIDTH", {"cpu": 16})


@pytest.mark.slow
def test_a_sweep_from_first_run_to_rerun(command, tmp_path, monkeypatch):
    # The finite-tau curves of the picture take long to compile and are tested with the plots.
    monkeypatch.setattr("hopfax.plots._sweeps.Cycle.finite", False)
    status, out, err = command(*SMALL)
    assert status == 0 and not err  # bars of progress are for terminals
    (folder,) = (tmp_path / "hopfax-out").iterdir()
    assert re.fullmatch(r"sweep-[0-9a-f]{8}", folder.name)
    assert {file.name for file in folder.iterdir()} == {
        "sweep",
        "phase_diagram.png",
        "settings.toml",
        "threshold.json",
        "written.json",
    }
    dataset = hx.open_sweep(folder / "sweep").load()
    assert dict(dataset.sizes) == {"kappa": 6, "init.saliency[0]": 4}
    assert (dataset["status"] == 0).all()
    assert json.loads(dataset.attrs["settings"])["method"] == repr("auto")

    # kappa_c(P = 4) = 3.611 and kappa_c(infinity) = 4 are exact; at tau = 20, b = 0.01 simulation
    # gave 2.98 +- 0.01 and theory is 2 b too large, so 3.00.
    assert re.search(r"theory, P = 4, tau = 20, bias 0\.01, to 0\.030? +3\.00\d*\n", out)
    assert re.search(r"theory, P = 4, tau -> infinity +3\.611\n", out)
    assert re.search(r"theory, P -> infinity, tau -> infinity +4\.000\n", out)
    exact = re.search(r"exact threshold, the fold of the sequence's orbit: (\S+)\n", out)
    assert exact and abs(float(exact[1]) - 2.98) < 0.01
    measured = re.search(
        r"measured from z_0\(0\) = 3, within 6 tau +(\S+) \(grid step 0\.800\)", out
    )
    assert measured and measured[1] == threshold(dataset).split()[0]
    counts = {name: int(k) for name, k in re.findall(r"^(\w+) +(\d+)$", out, re.MULTILINE)}
    assert counts.pop("failed") == 0 and sum(counts.values()) == 24

    # A picture or a page that is made later has the same line, unless the settings have changed.
    for place in (folder, folder / "sweep"):
        (gain,) = json.loads(stored(place).attrs["exact_threshold"])["kappa"]
        assert f"{gain:.6f}" == exact[1]
    recorded = (folder / "settings.toml").read_text()
    (folder / "settings.toml").write_text(recorded.replace("0.01", "0.02"))
    assert "exact_threshold" not in stored(folder).attrs
    (folder / "settings.toml").write_text(recorded)

    # The same again is read, not computed.
    before = (folder / "sweep" / "sweep.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Exact, "_computed", None)  # it is kept
        status, again, err = command(*SMALL)
    assert status == 0 and "read from" in again and "--overwrite" in again and not err
    assert (folder / "sweep" / "sweep.json").stat().st_mtime_ns == before
    assert again.split("\n\n")[:2] == out.split("\n\n")[1:3]  # the tables

    # The settings it wrote give the same bits.
    assert command("sweep", "--config", folder / "settings.toml", "--out", "copy")[0] == 0
    assert hx.open_sweep("copy/sweep").load().identical(dataset)
    assert (tmp_path / "copy/settings.toml").read_text() == (folder / "settings.toml").read_text()

    assert command("plot", "copy", "--out", "picture.pdf", "--no-theory")[0] == 0
    assert (tmp_path / "picture.pdf").stat().st_size > 1000


@pytest.mark.slow
def test_a_sweep_of_a_file_of_memories_in_float32(command, tmp_path):
    xi = np.array(hx.patterns.hadamard(3, 16).xi)
    np.save("memories.npy", xi)
    options = ["--patterns", "memories.npy", "--precision", "float32", "--memories", 2]
    status, out, _ = command(*UNSEEDED, *options, "--out", "here")
    assert status == 0 and "nothing seeds the transitions" in out
    dataset = hx.open_sweep("here/sweep").load()
    assert dataset.attrs["x64"] == 0 and dataset["overlap"].dtype == np.float32
    assert jax.config.read("jax_enable_x64")  # as before
    settings = tomllib.loads((tmp_path / "here/settings.toml").read_text())
    assert settings["patterns"] == str(tmp_path / "memories.npy")

    # The same settings with another content of the file are other memories.
    np.save("memories.npy", -xi)
    status, _, err = command(*UNSEEDED, *options, "--out", "here")
    assert status == 2 and "other settings" in refusal(err)


def test_the_default_sweep_is_a_useful_one():
    assert np.prod(Sweep().points) >= 10_000
    assert Sweep().kappa[0] < 3 and Sweep().kappa[1] > 4  # both sides of every threshold


def test_one_number_of_points_is_made_of_two():
    assert gains_and_starts((1_000_000,)) == (1250, 800)
    assert gains_and_starts((12, 8)) == (12, 8)
    for total in (4, 97, 10_000, 123_456, 10_000_000):
        gains, starts = gains_and_starts((total,))
        assert 0.9 * total < gains * starts <= total and gains >= starts


@pytest.mark.slow
def test_parts_planned_shared_and_drawn(command, tmp_path):
    status, out, _ = command(*LONGER, "--dry-run")
    assert status == 0 and not (tmp_path / "hopfax-out").exists()
    assert "128 in 8 tiles of 16" in out and re.search(r"time +about .* s, after", out)

    part = [*LONGER, "--out", "here", "--store", "elsewhere"]
    status, out, err = command(*part, "--resume")
    assert status == 2 and "no sweep in elsewhere to resume" in err
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}  # nothing is left behind

    status, out, _ = command(*part, "--part", 0, 2)
    assert status == 0 and re.match(
        r"128 runs, 16 gains: about .* to compute .* to elsewhere\n", out
    )
    assert "part 0 of 2 is done, others are not yet" in out
    (again,) = re.findall(r"^hopfax (sweep .* --resume)$", out, re.MULTILINE)
    assert not (tmp_path / "here/phase_diagram.png").exists()

    # What is there can be drawn, and read.
    status, out, _ = command("plot", "elsewhere", "--no-theory")
    assert status == 0 and "elsewhere.png; 64 of 128 points have not been run" in out
    assert (tmp_path / "elsewhere.png").stat().st_size > 1000
    assert (hx.open_sweep("elsewhere", partial=True).status == -1).sum() == 64

    assert command(*part, "--part", 1, 2)[0] == 0
    status, out, err = command(*again.split())
    assert status == 0 and "read from elsewhere" in out and not err
    assert (tmp_path / "here/phase_diagram.png").stat().st_size > 1000
    status, _, err = command(*LONGER, "--out", "here2", "--store", "elsewhere", "--horizon", 5)
    assert status == 2 and "point.ts" in err and "--overwrite" in err and "To resume" not in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--points", "3"], "`points`"),
        (["--points", "4", "4", "4"], "`points`"),
        (["--devices", "0"], "`devices`"),
        (["--devices", "999"], "`devices` is 999, but JAX has been started with"),
        (["--part", "2", "2"], "`part` must be K N with 0 <= K < N"),
        (["--chunk", "0"], "`chunk`"),
        (["--points", "-3"], "`points`"),
    ],
)
def test_bad_values(command, arguments, named, tmp_path):
    status, _, err = command(*SMALL, *arguments)
    assert status == 2 and named in err and "Traceback" not in err
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}


def test_a_scheduler_that_does_not_answer(command, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def client(address, timeout):
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", client)
    status, _, err = command(*SMALL, "--dask", "tcp://127.0.0.1:1")
    assert status == 2 and "`dask`: no scheduler answers at tcp://127.0.0.1:1" in err
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, err = command(*SMALL, "--dask", "tcp://127.0.0.1:1")
    assert status == 2 and 'pip install "hopfax[dask]"' in err


def test_without_matplotlib_nothing_is_computed_first(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = command(*UNSEEDED)
    assert status == 2 and 'pip install "hopfax[plot]"' in refusal(err)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(command, tmp_path):
    status, err = stopped([*LONGER, "--out", "here"], signal.SIGINT, 2, tmp_path)
    assert status == 130 and "hopfax: interrupted" in err
    stored, blocks = map(int, re.findall(r"(\d+) of (\d+) blocks are stored in here/sweep", err)[0])
    assert 2 <= stored < blocks
    (again,) = re.findall(r"^To resume: hopfax (.*)$", err, re.MULTILINE)
    assert again == "sweep --config here/settings.toml --out here --resume"
    done = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("here/sweep/done/*.json")}
    assert command(*again.split())[0] == 0
    assert (tmp_path / "here/phase_diagram.png").exists()
    assert (hx.open_sweep(tmp_path / "here/sweep").status == 0).all()
    for name, time in done.items():  # what was there was not computed again
        assert (tmp_path / "here/sweep/done" / name).stat().st_mtime_ns == time


# The table and the picture


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([1, 1, 0, 0], "4.000 (grid step 1.000)"),
        ([1, 0, 1, 0], "5.000 (grid step 1.000)"),  # every larger gain must do
        ([0, 0, 0, 0], "below 2.000"),
        ([0, 0, 0, 1], "none: the largest kappa does not sustain it"),
    ],
)
def test_the_measured_threshold(codes, expected):
    rows: Any = np.stack([np.ones(4, np.int8), np.array(codes, np.int8)], axis=1)
    dims = ("kappa", "init.saliency[0]")
    data = {"regime": (dims, rows), "dwell": (dims, rows * 1.0)}
    grid = {"kappa": [2.0, 3.0, 4.0, 5.0], "init.saliency[0]": [1.0, 2.0]}
    assert threshold(xr.Dataset(data, grid)) == expected


def test_plots_of_one_and_of_three_axes():
    def function(a, b=1.0, c=1.0):
        return {"sum": a + b + c}

    two, three = [0.0, 1.0], {"a": [0.0], "b": [1.0], "c": [2.0]}
    for grid in ({"a": two}, three):
        assert len(draw(hx.sweep(function, grid, progress=False)).axes) == 1


@pytest.mark.parametrize(
    ("settings", "patterns", "derived"),
    [
        (dict(), "hadamard", 3),
        (dict(bias=0.05), "hadamard", 2),
        (dict(tau=5e4), "hadamard", 2),
        (dict(readout="square"), "hadamard", 0),
        (dict(), "random", 0),
        (dict(learning="pseudo_inverse"), "random", 2),
    ],
)
def test_the_table_predicts_only_what_is_derived(settings, patterns, derived):
    asked = Sweep(patterns=patterns, memories=4, neurons=64, **settings)
    rows = sequential.predictions(memories_of(asked)[0], asked)
    assert sum(value != "-" for _, value in rows) == derived
    assert all("no prediction is derived" in name for name, value in rows if value == "-")
    assert (derived == 3) == all(value != "-" for _, value in rows)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (dict(), ""),
        (dict(readout="square"), "plain cycles"),
        (dict(patterns="random"), "orthogonal memories"),
        (dict(patterns="random", learning="pseudo_inverse"), ""),
        (dict(bias=0.0), "without a bias"),
        (dict(axis=(("kappa", "2", "5", "4"), ("tau", "20", "80", "4"))), ""),
        (dict(axis=(("kappa", "2", "5", "4"), ("bias", "0.01", "0.05", "4")), bias=0.0), ""),
        (dict(axis=(("kappa", "2", "5", "4"), ("bias", "0", "0.05", "4"))), "or the bias"),
        (dict(axis=(("tau", "20", "80", "4"),)), "over the gain and"),
    ],
)
def test_the_exact_threshold_is_where_it_can_be_had(settings, why):
    asked = Sweep(memories=4, neurons=64, **settings)
    exact = Exact(asked, memories_of(asked)[0], Output.of(asked))
    assert (exact.why_not() == "") == (why == "") and why in exact.why_not()
    if why:
        assert exact.line().startswith("exact threshold: none, ")
