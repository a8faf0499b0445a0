"""The command line of rate memories: sweep, theory, reproduce, plot."""

import dataclasses
import re
import tomllib

import jax
import matplotlib
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close

import hopfax as hx
from hopfax.cli import _common, _rate
from hopfax.cli._sweep_rate import RateSweep, stored, together, verdicts
from hopfax.theory import rate

matplotlib.use("Agg")

SWEEP = ["sweep", "--network", "rate"]
SMALL = [*SWEEP, "--points", "7", "5", "--neurons", "25"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refusal(err):
    """The one line of an error."""
    lines = [line for line in err.splitlines() if line.startswith("hopfax:")]
    assert len(lines) == 1 and "Traceback" not in err
    return lines[0]


def test_the_family_has_options_of_its_own(command):
    _, out, _ = command("sweep", "--help", "--network", "rate")
    assert "--orders" not in out and "--kappa" not in out
    for field in dataclasses.fields(RateSweep):
        assert "--" + field.name.replace("_", "-") in out
    _, out, _ = command("theory", "--network=rate", "--help")
    assert "--input-active" in out and "--tau" not in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*SMALL, "--gain", "2", "1"], "`gain` must be one finite number or MIN MAX"),
        ([*SMALL, "--gain", "0", "1"], "`gain` must be above 0"),
        ([*SMALL, "--a", "1", "2", "3"], "`a` must be one finite number"),
        ([*SMALL, "--b", "nan"], "`b` must be one finite number"),
        ([*SMALL, "--a", "0.1", "--threshold", "0.2"], "two of `gain`, `threshold`, `a` and `b`"),
        ([*SMALL, "--a", "0", "1", "--b", "1", "2", "--gain", "1", "2"], "got gain, a, b"),
        ([*SMALL, "--points", "4"], "`points`"),
        ([*SMALL, "--q", "0.3"], "`q` must be 1/2, 1/3, 1/4"),
        ([*SMALL, "--neurons", "30"], "`neurons` must be a multiple of 1/q^2 = 25"),
        ([*SMALL, "--input", "inf"], "`input`"),
        ([*SMALL, "--simulate", "-1", "2"], "`simulate`"),
        ([*SMALL, "--seed", "-1"], "`seed`"),
        ([*SMALL, "--chunk", "0"], "`chunk`"),
        ([*SMALL, "--resume", "--overwrite"], "contradict"),
        ([*SMALL, "--out", "afile"], "`out`: afile is a file"),
        ([*SMALL, "--out", "new", "--resume"], "no sweep in new/sweep to resume"),
        (["theory", "--network", "rate", "--threshold", "nan"], "`threshold`"),
        (["theory", "--network", "rate", "--a", "1"], "`a`"),
        (["theory", "--network", "rate", "--q", "1"], "`q`"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(command, arguments, named, tmp_path):
    (tmp_path / "afile").write_text("")
    status, _, err = command(*arguments)
    assert status == 2 and named in refusal(err)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"afile", "cache"}


def test_two_values_are_swept_and_the_others_keep_their_reference():
    plain = RateSweep().grid()
    assert {name: axis.size for name, axis in plain.items()} == {
        "gain": 1,
        "threshold": 128,
        "a": 96,
        "b": 1,
    }
    grid = RateSweep(gain=(1.0, 3.0), b=(0.5, 1.0), points=(3, 2)).grid()
    assert grid["gain"].tolist() == [1, 2, 3] and grid["b"].tolist() == [0.5, 1]
    assert grid["threshold"].tolist() == [0.2] and grid["a"].tolist() == [-0.3]
    one = RateSweep(a=(0.1,), gain=(1.0, 3.0)).values()  # the other range is a default
    assert one["threshold"] == (0.0, 1.0) and one["a"] == (0.1,) and one["b"] == (0.95,)
    assert RateSweep().size() == 1000 and RateSweep(q=1 / 3).size() == 999


@pytest.mark.slow
def test_theory_prints_the_known_numbers(command):
    status, out, err = command("theory", "--network", "rate", "--threshold", "0.2", "0.8")
    assert status == 0, err

    def row(text):
        return re.search("^" + " +".join(map(re.escape, text.split())) + "$", out, re.MULTILINE)

    # kappa, gamma and eigenvalues as the table of the tests of the theory has them
    assert row("0.8 0.000000 0.706822 1.768479 -0.353696 11.052991 0.200000")
    assert row("0.8 0.0000 3.9787 -6.0363 4.3476 6.0363 no")
    assert row("0.2 0.0002 0.0001 0.9998 -0.9999 -0.9998 yes")
    for cells in ("0.0029 0.0029 0.0000", "0.2651 0.0006 0.2644", "1.0000 0.0000 1.0000"):
        assert re.search(r"^0\.2 +" + " +".join(cells.split()), out, re.MULTILINE)
    assert row("0.2 0.463418 0.513409 0.513530 inf")


def test_a_dry_run_writes_nothing(command, tmp_path):
    status, out, _ = command(*SMALL, "--dry-run")
    assert status == 0 and "35" in out and "120 simulations of 25 neurons" in out
    assert not (tmp_path / "hopfax-out").exists()


@pytest.mark.slow
def test_a_sweep_from_first_run_to_rerun(command, tmp_path):
    asked = [*SMALL, "--gain", 2, 10, "--threshold", 0, 1, "--a", 0.1, "--simulate", 4, 3]
    asked += ["--out", "here"]
    status, out, err = command(*asked)
    assert status == 0 and not err
    assert "12, of which 12 agree with the eigenvalue, 0 do not" in out and "35 points in" in out
    folder = tmp_path / "here"
    names = {file.name for file in folder.iterdir()}
    assert names == {"sweep", "simulated", "diagram.zarr", "diagram.png", "settings.toml"}

    # Every point is what the theory says, and simulations are at some of them.
    dataset = xr.open_zarr(folder / "diagram.zarr", consolidated=False).load()
    assert dict(dataset.sizes) == {"gain": 7, "threshold": 5, "a": 1, "b": 1}
    assert (dataset["status"] == 0).all() and int(dataset["distance"].notnull().sum()) == 12
    assert set(np.unique(dataset["storage"])) == {0, 2}
    for k, j in ((0, 0), (3, 3), (6, 2)):
        point = dataset.isel(gain=k, threshold=j, a=0, b=0)
        phi = hx.Logistic(float(point.gain), float(point.threshold))
        spectrum = rate.balanced_spectrum(phi, 0.1, 0.95, 0.2)
        assert_close(point["eigenvalue"], spectrum.greatest, 1e-12, "the same closed form")
        assert int(point["storage"]) > 0 or spectrum.greatest > 0
    rows = verdicts(dataset)
    assert {row[3] for row in rows} == {True}
    assert {row[2] < _rate.NUDGE for row in rows} == {True, False}  # some attract, some do not

    # The same again is read, settings give the same values elsewhere, --overwrite computes again.
    status, again, _ = command(*asked)
    assert status == 0 and "read from here/diagram.zarr" in again
    settings = tomllib.loads((folder / "settings.toml").read_text())
    assert settings["network"] == "rate" and settings["gain"] == [2.0, 10.0]
    rerun = ["sweep", "--config", folder / "settings.toml", "--out", "here"]
    assert "35 points in" in command(*rerun, "--overwrite")[1]
    assert stored(folder).identical(dataset)
    status, _, err = command(*rerun, "--seed", 3)
    assert status == 2 and "`out`: here holds a sweep of other settings" in refusal(err)

    # An unfinished one is drawn from its stores.
    for file in ("diagram.zarr", "simulated"):
        (folder / file).rename(tmp_path / file)
    left = stored(folder)
    assert "distance" not in left and left["eigenvalue"].equals(dataset["eigenvalue"])
    status, out, _ = command("plot", "here", "--out", "picture.pdf", "--no-theory")
    assert status == 0 and (tmp_path / "picture.pdf").stat().st_size > 1000
    status, out, _ = command(*asked, "--resume")
    assert "12, of which 12 agree" in out and stored(folder).identical(dataset)


@pytest.mark.slow
def test_an_input_says_where_a_single_memory_is_globally_stable(command):
    asked = ["--a", -0.3, 0.1, "--threshold", 0.2, 0.8, "--points", 2, 2, "--simulate", 0, 0]
    status, out, err = command(*SWEEP, *asked, "--input", 0.3)
    assert status == 0, err
    # of the four designs, only (I*, a) = (0.2, -0.3) is stable and bistable without the input
    assert re.search(r"^the only state of rest under input 0\.3 to its neurons +1$", out, re.M)


def test_a_disagreement_is_counted_and_listed():
    grid = {"gain": [4.8], "threshold": [0.2, 0.5], "a": [-0.3, 0.1], "b": [0.95]}
    dims, shape = tuple(grid), (1, 2, 2, 1)
    blank = {name: (dims, np.zeros(shape)) for name in ("kappa", "gamma", "block", "margin")}
    found = xr.Dataset(
        {
            **blank,
            "storage": (dims, np.array([2, 2, 0, -1], np.int8).reshape(shape)),
            "eigenvalue": (dims, np.array([-0.5, -0.05, 0.5, np.nan]).reshape(shape)),
            "status": (dims, np.zeros(shape, int)),
        },
        grid,
    )
    runs = xr.Dataset(
        {
            "distance": (dims, np.array([1e-9, 0.3, 1e-5, 0.0]).reshape(shape)),
            "status": (dims, np.zeros(shape, int)),
        },
        grid,
    )
    dataset = together(found, runs, RateSweep())
    assert [row[3] for row in verdicts(dataset)] == [True, False, False]
    from hopfax.cli._sweep_rate import report

    text = report(dataset)
    assert "Simulations: 3, of which 1 agree with the eigenvalue, 2 do not (1 of them marg" in text
    assert re.search(r"^4\.8 +0\.5 +-0\.3 +0\.95 +0\.5000 +1e-05$", text, re.MULTILINE)
    assert re.search(r"^no design .* +1$", text, re.MULTILINE)


def test_settings_name_the_family():
    assert _common.settings(RateSweep())["network"] == "rate"
    assert jax.tree.leaves(_rate.Storage("logistic", 0.2, None)) == []
