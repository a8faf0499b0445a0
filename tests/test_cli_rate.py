"""The command line of rate memories: sweep, theory, reproduce, plot."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
from cli_helpers import elsewhere as elsewhere, refusal
from helpers import assert_close

import hopfax as hx
from hopfax.cli.plot import stored
from hopfax.cli.rate import _figures as figures, _points, _retrieval, _stability, _thresholds
from hopfax.cli.rate._checks import claims as claims_of
from hopfax.cli.rate._diagram import report, together, verdicts
from hopfax.cli.rate._measured import Results
from hopfax.cli.rate.reproduce import tables_of
from hopfax.cli.rate.sweep import Sweep
from hopfax.theory import rate

matplotlib.use("Agg")

SWEEP = ["sweep", "--network", "rate"]
SMALL = [*SWEEP, "--points", "7", "5", "--neurons", "25"]


def test_the_family_has_options_of_its_own(command):
    _, out, _ = command("sweep", "--help", "--network", "rate")
    assert "--orders" not in out and "--kappa" not in out
    for field in dataclasses.fields(Sweep):
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
        ([*SMALL, "--out", "new", "--resume"], "no sweep in new/sweep to resume"),
        (["theory", "--network", "rate", "--threshold", "nan"], "`threshold`"),
        (["theory", "--network", "rate", "--a", "1"], "`a`"),
        (["theory", "--network", "rate", "--q", "1"], "`q`"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(command, arguments, named, tmp_path):
    status, _, err = command(*arguments)
    assert status == 2 and named in refusal(err)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}


def test_two_values_are_swept_and_the_others_keep_their_reference():
    plain = Sweep().grid()
    assert {name: axis.size for name, axis in plain.items()} == {
        "gain": 1,
        "threshold": 128,
        "a": 96,
        "b": 1,
    }
    grid = Sweep(gain=(1.0, 3.0), b=(0.5, 1.0), points=(3, 2)).grid()
    assert grid["gain"].tolist() == [1, 2, 3] and grid["b"].tolist() == [0.5, 1]
    assert grid["threshold"].tolist() == [0.2] and grid["a"].tolist() == [-0.3]
    one = Sweep(a=(0.1,), gain=(1.0, 3.0)).values()  # the other range is a default
    assert one["threshold"] == (0.0, 1.0) and one["a"] == (0.1,) and one["b"] == (0.95,)
    assert Sweep().size() == 1000 and Sweep(q=1 / 3).size() == 999


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
def test_a_sweep_is_what_the_theory_says_beside_simulations(command, tmp_path):
    asked = [*SMALL, "--gain", 2, 10, "--threshold", 0, 1, "--a", 0.1, "--simulate", 4, 3]
    asked += ["--out", "here"]
    status, out, err = command(*asked)
    assert status == 0 and not err
    assert "12, of which 12 agree with the eigenvalue, 0 do not" in out and "35 points in" in out
    folder = tmp_path / "here"
    names = {file.name for file in folder.iterdir()}
    results = {"sweep", "simulated", "diagram.zarr", "diagram.png"}
    assert names == results | {"settings.toml", "written.json"}

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
    assert {row[2] < _points.NUDGE for row in rows} == {True, False}  # some attract, some do not

    status, again, _ = command(*asked)
    assert status == 0 and "read from here/diagram.zarr" in again
    assert stored(folder).identical(dataset)

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
    dataset = together(found, runs, Sweep().asked())
    assert [row[3] for row in verdicts(dataset)] == [True, False, False]
    text = report(dataset)
    assert "Simulations: 3, of which 1 agree with the eigenvalue, 2 do not (1 of them marg" in text
    assert re.search(r"^4\.8 +0\.5 +-0\.3 +0\.95 +0\.5000 +1e-05$", text, re.MULTILINE)
    assert re.search(r"^no design .* +1$", text, re.MULTILINE)


def test_the_theory_of_a_point_holds_no_arrays():
    assert jax.tree.leaves(_points.Storage("logistic", 0.2, None)) == []


# reproduce


def results():
    """Made-up results in which every claim holds."""
    rows = [
        _stability.Row("logistic", -0.3, 0.2, 1.25, -0.25, -1.0, -0.9998, -0.9999, 1e-9),
        _stability.Row("hard_sigmoid", -0.3, 0.75, 1.3, -0.26, 3.75, 5.25, 5.25, 0.9),
    ]
    settings = Sweep(points=(3, 2), simulate=(1, 1))
    dims, shape = _points.VALUES, (1, 3, 2, 1)
    codes = np.array([2, 2, 0, 0, 1, 0]).reshape(shape)
    found = {name: (dims, np.ones(shape)) for name in ("kappa", "gamma", "block", "margin")}
    found |= {"storage": (dims, codes.astype(np.int8)), "status": (dims, np.zeros(shape, int))}
    found |= {"eigenvalue": (dims, np.where(codes > 0, -1.0, 1.0))}
    distance = np.full(shape, np.nan)
    distance[0, 0] = 1e-9
    runs = {"distance": (dims, distance), "status": (dims, np.zeros(shape, int))}
    diagram = together(*(xr.Dataset(v, settings.grid()) for v in (found, runs)), settings.asked())
    cues = _retrieval.Cues(
        np.array([0.05, 0.25, 0.4, 0.5]),
        np.array([[0.0, 0.0], [0.2, 0.0], [0.8, 1.0], [1.0, 1.0]]),
        np.zeros((4, 2)),
        np.array([[0.003, 0.003], [0.041, 0.003], [0.16, 0.2], [0.2, 0.2]]),
    )
    rest = np.array([[0.003, 0.003], [0.27, 0.0], [1.0, 0.0]])
    stable = np.array([True, False, True])
    paths = np.linspace(rest[[1, 1]], rest[[0, 2]], 5).swapaxes(0, 1)
    branch = np.array([[0.52, 0.9, 0.8], [1.0, 1.0, 0.3]])
    saliency = _thresholds.Saliency(-0.3, 0.2, 0.5135, 0.51354, 1e-4, branch, branch[:, :2])
    return Results(
        residuals={"balanced set": 1e-17},
        rows=rows,
        diagrams=[diagram],
        cues=cues,
        planes=[_retrieval.Plane(-0.3, (0.0, 0.0), rest, stable, paths)] * 4,
        saliencies=[saliency],
        moved={
            "saliency alone": (0.0, 0.0, 0.003),
            "with a weak input": (0.0, 1.0, 0.2),
            "old memory salient": (1.0, 0.0, 0.2),
        },
        saturated=np.full(3, 1e-12),
        delays=np.array([[3.0, -0.1, -0.1], [6.0, 0.1, 0.1]]),
        critical_delay=(5.45, 5.46),
        crosstalk=(0.057, 0.0575, 0.001, 1e-18),
    )


def test_claims_tables_and_figures_from_results():
    found = results()
    claims = claims_of(found)
    assert all(claim.holds for claim in claims)
    counts = [claim.simulation for claim in claims if claim.why.startswith("a count")]
    assert counts == [2, 2, 0, 2, 2, 2, 2]
    text = tables_of(found)
    assert re.search(r"^hard sigmoid .* 9\.0e-01 +unstable$", text, re.MULTILINE)
    assert re.search(r"^40% +50% ", text, re.MULTILINE) and "2, of which 2 agree" in text
    for draw in (figures.phase_diagrams, figures.cues, figures.phase_planes, figures.thresholds):
        draw(found).canvas.draw()

    # A number that is off fails its claim, and no other.
    broken = found.rows[0]._replace(growth=-0.98, distance=0.5)
    wrong = dataclasses.replace(found, rows=[broken, found.rows[1]], critical_delay=(5.45, 5.6))
    failed = [claim.claim for claim in claims_of(wrong) if not claim.holds]
    assert len(failed) == 3 and "logistic, a = -0.3, I* = 0.2" in failed[0]


@pytest.mark.slow
def test_cues_end_in_the_memory_in_spurious_states_or_quiescence():
    patterns = hx.patterns.balanced(0.2, 1000)
    cues = _retrieval.cues(patterns, (100, 250, 600), 4)
    assert_close(cues.overlap[2], np.ones(4), 1e-6, "recalled from 60 % of the active neurons")
    assert_close(cues.mean[0], np.full(4, 0.002861), 1e-6, "0.00286 = phi(gamma 0.00286)")
    # of the core, of the memory without it, or nothing
    gaps = abs(cues.mean[1][:, None] - [0.0029, 0.041, 0.16]).min(1)
    assert gaps.max() < 1e-3 and cues.overlap[1].max() < 0.9
    phi = hx.Logistic()
    gamma = float(rate.design(phi, -0.3, 0.95, 0.2).gamma)
    quiet = float(cues.mean[0, 0])
    assert_close(phi(jnp.asarray(gamma * quiet)), quiet, 1e-8, "uniform states")


@pytest.mark.slow
@pytest.mark.long
def test_every_claim_of_the_paper_holds(command, tmp_path):
    status, out, err = command("reproduce", "rate", "--out", "rep")
    assert status == 0, err
    claims = json.loads((tmp_path / "rep/claims.json").read_text())
    assert all(claim["holds"] and claim["why"] and claim["conditions"] for claim in claims)
    assert len({claim["claim"] for claim in claims}) == len(claims) > 35
    pictures = {"phase_diagrams", "cues", "phase_planes", "thresholds"}
    assert {file.stem for file in (tmp_path / "rep").glob("*.png")} == pictures
    rows = json.loads((tmp_path / "rep/stability_table.json").read_text())
    # greatest eigenvalues of N x N Jacobians, found apart from this package
    exact = [-0.9998, -0.9687, 6.0363, -0.5695, -0.6807, 3.5786, -1.0, 5.25]
    assert [row["eigenvalue"] for row in rows] == pytest.approx(exact, abs=5e-5)
    assert [row["growth"] for row in rows] == pytest.approx(exact, abs=2e-4)
    assert [row["stable"] for row in rows] == [value < 0 for value in exact]
    assert "From cues that keep some" in out
