"""The command line of dense memories: sweep, theory, reproduce, plot."""

import dataclasses
import json
import re
import signal

import jax
import matplotlib
import numpy as np
import pytest
import xarray as xr
from cli_helpers import elsewhere as elsewhere, refusal, stopped
from helpers import assert_close
from matplotlib.figure import Figure

import hopfax as hx
from hopfax.cli.dense import _networks, _points
from hopfax.cli.dense._diagram import crossing
from hopfax.cli.dense.sweep import Sweep
from hopfax.cli.plot import stored
from hopfax.theory import dense

matplotlib.use("Agg")

SMALL = ["sweep", "--network", "dense", "--points", "8", "6", "--steps", "4", "--paths", "64"]


# Which family


def test_each_family_has_options_of_its_own(command):
    _, plain, _ = command("sweep", "--help")
    _, other, _ = command("sweep", "--help", "--network", "dense")
    assert "--kappa" in plain and "--orders" not in plain
    assert "--orders" in other and "--kappa" not in other
    for field in dataclasses.fields(Sweep):
        assert "--" + field.name.replace("_", "-") in other
    _, out, _ = command("theory", "--network=dense", "--help")
    assert "--rate" in out and "--tau" not in out
    status, _, err = command("sweep", "--network", "other")
    assert status == 2 and "--network" in err


@pytest.mark.slow
def test_a_settings_file_names_the_family_and_the_command_line_wins(command, tmp_path):
    (tmp_path / "a.toml").write_text('network = "dense"\norders = [3, 4]\n')
    status, out, err = command("theory", "--config", "a.toml")
    assert status == 0 and re.search(r"^4 +0\.917922", out, re.MULTILINE), err
    status, _, err = command("theory", "--config", "a.toml", "--network", "sequential")
    assert status == 2 and "unknown key 'orders'" in refusal(err)
    (tmp_path / "b.toml").write_text('[sweep]\nnetwork = "dense"\n[theory]\nkappa = [5.0]\n')
    status, out, _ = command("theory", "--config", "b.toml")
    assert status == 0 and "Critical gain" in out
    status, _, err = command("sweep", "--network", "dense", "--config", "nowhere.toml")
    assert status == 2 and "`config`" in refusal(err)


# theory


def test_theory_prints_the_known_capacities(command):
    status, out, _ = command("theory", "--network", "dense")
    assert status == 0
    # maxima of erf(x)^(2n-2) / (2 x^2), found apart from this package to 14 digits
    for row in (
        "3 0.838482 0.252190 0.0840635 0.126095",
        "4 0.917922 0.197860 0.0131907 0.0329767",
        "8 0.976369 0.139700 1.03378e-06 2.77183e-05",
    ):
        assert re.search("^" + " +".join(map(re.escape, row.split())) + "$", out, re.MULTILINE)
    # I(0.8) and 2 - ln cosh 2, 1 - ln cosh 1
    assert re.search(r"^1\.00 +0\.674997 +0\.566219 +0\.346574 +many$", out, re.MULTILINE)
    assert re.search(r"^0\.80 +0\.368064 .* a few$", out, re.MULTILINE)
    status, out, _ = command("theory", "--network", "dense", "--orders", 2, "--rate", 2)
    assert "0.967417  0.137906" in out and re.search(r" - +(a few|many)$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["theory", "--network", "dense", "--orders", "1"], "`orders`"),
        (["theory", "--network", "dense", "--overlaps", "1.5"], "`overlaps`"),
        (["theory", "--network", "dense", "--rate", "0"], "`rate`"),
        ([*SMALL, "--orders", "3", "3"], "`orders`"),
        ([*SMALL, "--orders", "1"], "`orders`"),
        ([*SMALL, "--load", "0", "0.3"], "`load` must lie above 0"),
        ([*SMALL, "--load", "0.3", "0.1"], "`load`"),
        ([*SMALL, "--m0", "0", "2"], "`m0` must lie in [-1, 1]"),
        ([*SMALL, "--points", "64"], "`points`"),
        ([*SMALL, "--points", "1", "4"], "`points`"),
        ([*SMALL, "--steps", "0"], "`steps`"),
        ([*SMALL, "--paths", "100"], "`paths` must be a power of two"),
        ([*SMALL, "--scrambles", "1"], "`scrambles`"),
        ([*SMALL, "--seed", "-1"], "`seed`"),
        ([*SMALL, "--simulate", "1"], "`simulate`"),
        ([*SMALL, "--chunk", "0"], "`chunk`"),
        ([*SMALL, "--out", "new", "--resume"], "no sweep in new/sweep/order-3 to resume"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(command, arguments, named, tmp_path):
    status, _, err = command(*arguments)
    assert status == 2 and named in refusal(err)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}


# sweep


@pytest.mark.slow
def test_a_sweep_is_what_the_theory_says_beside_simulations(command, tmp_path):
    asked = [*SMALL, "--points", 3, 6, "--orders", 3, 4, "--load", 0.1, 0.3, "--simulate", 32]
    asked += ["--out", "here"]
    status, out, err = command(*asked)
    assert status == 0 and not err
    assert re.search(r"^3 +0\.2522 ", out, re.MULTILINE) and "36 points in" in out
    folder = tmp_path / "here"
    names = {file.name for file in folder.iterdir()}
    results = {"sweep", "simulated", "diagram.zarr", "diagram.png"}
    assert names == results | {"settings.toml", "written.json"}

    # One dataset, in which every point is what the theory says.
    dataset = xr.open_zarr(folder / "diagram.zarr", consolidated=False).load()
    assert dict(dataset.sizes) == {"order": 2, "load": 3, "m0": 6}
    assert set(dataset.data_vars) == {"overlap", "error", "status", "simulated"}
    assert (dataset["status"] == 0).all() and (dataset["error"] >= 0).all()
    assert dataset["overlap"].dims == ("order", "load", "m0")
    for order, unit in ((3, 3.0), (4, 15.0)):
        part = dataset.sel(order=order)
        assert_close(part["alpha"] * unit, part["load"], 1e-15, "alpha' = (2n - 3)!! alpha")
        load, m0 = float(part["load"][2]), float(part["m0"][4])
        exact = dense.solve_gfa(hx.Power(order), load / unit, m0, 4, paths=64, scrambles=4)
        assert_close(part["overlap"][2, 4], exact.overlap[-1], 1e-6, "float32 paths in a tile")
        assert_close(part["error"][2, 4], exact.error[-1], 1e-6, "float32 paths in a tile")
        # Simulations: from the memory itself at the smallest load nothing is lost.
        assert (part["simulated"][0, -1] > 0.9) and (abs(part["simulated"]) <= 1).all()

    # The same again is read. Fewer orders are another sweep, in whose place no other is left.
    status, again, _ = command(*asked)
    assert status == 0 and "read from here/diagram.zarr" in again
    assert again.split("\n\n")[:4] == out.split("\n\n")[1:5]  # the tables
    assert stored(folder).identical(dataset)
    fewer = ["sweep", "--config", folder / "settings.toml", "--out", "here", "--orders", 3]
    assert "18 points in" in command(*fewer, "--overwrite")[1]
    assert {entry.name for entry in (folder / "sweep").iterdir()} == {"order-3"}
    assert stored(folder)["simulated"].equals(dataset["simulated"].sel(order=[3]))

    status, out, _ = command("plot", "here", "--out", "picture.pdf", "--no-theory")
    assert status == 0 and (tmp_path / "picture.pdf").stat().st_size > 1000


def test_a_dry_run_writes_nothing(command, tmp_path):
    status, out, _ = command(*SMALL, "--dry-run")
    assert status == 0 and "order 3" in out and "48 in 3 tiles of 16" in out
    assert not (tmp_path / "hopfax-out").exists()


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_same_values(command, tmp_path):
    options = [*SMALL, "--orders", "3", "4", "--chunk", "16"]
    status, _ = stopped([*options, "--out", "killed"], signal.SIGKILL, 5, tmp_path)
    assert status == -signal.SIGKILL
    # An order has four blocks, each of two loads. What there is can be drawn.
    partial = stored(tmp_path / "killed")
    assert list(partial["order"].values) == [3, 4] and (partial["status"] == -1).sum() == 36
    status, out, _ = command("plot", "killed")
    assert status == 0 and "36 of 96 points have not been run" in out
    status, out, _ = command("plot", "killed/sweep/order-4", "--out", "order.png")
    assert status == 0 and "36 of 48 points have not been run" in out
    assert command(*options, "--out", "killed", "--resume")[0] == 0
    assert command(*options, "--out", "whole")[0] == 0
    resumed, whole = (stored(tmp_path / name) for name in ("killed", "whole"))
    for name in ("overlap", "error", "status"):
        assert (resumed[name].values == whole[name].values).all()


def test_where_a_curve_falls_below_a_level():
    x = np.array([0.0, 1.0, 2.0])
    assert crossing(x, np.array([1.0, 0.75, 0.25]), 0.5) == 1.5
    assert np.isnan(crossing(x, np.array([1.0, 0.9, 0.8]), 0.5))
    assert np.isnan(crossing(x, np.array([0.4, 0.3, 0.2]), 0.5))


# Simulations


def test_starts_have_exact_overlaps_each_with_its_own_memory():
    law = hx.Power(3)
    patterns = _points.memories(jax.random.key(0), law, 0.15, 64)
    assert patterns.P == round(0.15 / 3 * 64**2)
    states, true = _points.starts(jax.random.key(1), patterns, [1.0, 0.51, 0.0])
    assert_close(true, [1.0, 0.5, 0.0], 1e-15, "16 of 64 flipped is the nearest to 0.51")
    network = hx.DenseMemory(patterns, law)
    found = _points.recall(network, states, 2)
    assert_close(found[:, 0], true, 1e-15, "exact flips")
    for k, spins in enumerate(states):
        run = hx.iterate(network, network.init(spins), 2, track=[k])
        assert_close(found[k], run.overlaps[:, 0], 1e-15, "the same run")


# The picture


def diagram(orders=(3,), simulated=False):
    load, m0 = np.linspace(0.05, 0.35, 6), np.linspace(0.0, 1.0, 5)
    shape = (len(orders), 6, 5)
    overlap = np.broadcast_to((m0 > 2 * load[:, None]) * 0.9, shape).copy()
    dims = ("order", "load", "m0")
    data = {
        "overlap": (dims, overlap),
        "error": (dims, np.where(np.arange(5) == 2, 0.02, 0.001) * np.ones(shape)),
        "status": (dims, np.zeros(shape, int)),
    }
    attrs: dict = {"interaction": "power", "steps": 20}
    if simulated:
        data["simulated"] = (dims, overlap - 0.5)
        attrs["neurons"] = 64
    return xr.Dataset(data, {"order": list(orders), "load": load, "m0": m0}, attrs)


def test_a_diagram_shows_capacity_map_edge_and_error():
    ax = hx.plots.retrieval_diagram(diagram().isel(order=0))
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(words) == 4 and "standard error above 0.01" in words
    lines = {line.get_label(): np.asarray(line.get_xydata()) for line in ax.get_lines()}
    capacity = float(dense.capacity(hx.Power(3)).scaled)
    (name,) = [name for name in lines if "replica-symmetric" in str(name)]
    assert_close(lines[name][:, 0], [capacity] * 2, 1e-12, "a vertical line")
    (name,) = [name for name in lines if "memoryless" in str(name)]
    load, m0 = lines[name][50]
    assert_close(dense.map_step(hx.Power(3), load / 3, m0), m0, 1e-9, "a fixed point")
    bare = hx.plots.retrieval_diagram(diagram().isel(order=0), theory=False)
    assert not bare.get_lines()
    # At order 2 the map is not the theory of trajectories.
    ax = hx.plots.retrieval_diagram(diagram((2,)).isel(order=0))
    assert len(ax.get_lines()) == 1


def test_the_overview_has_a_panel_an_order_and_one_for_its_simulations():
    for dataset, panels in ((diagram(), 1), (diagram((2, 3), simulated=True), 4)):
        figure = hx.plots.overview(dataset, Figure())
        assert len(figure.axes) == panels + 1  # and a bar of colours
        figure.canvas.draw()
    dataset = diagram((3, 4))
    dataset["status"][0, 0, 0] = -1
    dataset["overlap"][0, 0, 0] = np.nan
    hx.plots.overview(dataset, Figure()).canvas.draw()


def test_what_is_no_diagram_is_refused():
    with pytest.raises(ValueError, match="`dataset` must have 'overlap' over load and m0"):
        hx.plots.retrieval_diagram(diagram((2, 3)))
    with pytest.raises(ValueError, match="`variable`"):
        hx.plots.retrieval_diagram(diagram().isel(order=0), variable="error")
    with pytest.raises(ValueError, match="'simulated'"):
        hx.plots.retrieval_diagram(diagram().isel(order=0), variable="simulated")


# reproduce


@pytest.mark.slow
@pytest.mark.long
def test_every_claim_of_the_paper_holds(command, tmp_path):
    status, out, err = command("reproduce", "dense", "--out", "rep")
    assert status == 0, err
    claims = json.loads((tmp_path / "rep/claims.json").read_text())
    assert all(claim["holds"] and claim["why"] and claim["conditions"] for claim in claims)
    assert len({claim["claim"] for claim in claims}) == len(claims) > 40
    by_name = {claim["claim"]: claim for claim in claims}
    # quadrature apart from this package, at alpha' and m0 as they are to the last memory and spin
    exact = {"0.15 from m0 = 0.60": 0.945723, "0.3 from m0 = 0.90": 0.874941}
    for name, value in exact.items():
        assert by_name[f"m(4), alpha' = {name}"]["theory"] == pytest.approx(value, abs=2e-3)
    pictures = {"trajectories", "basin", "capacity", "noise", "images"}
    assert {file.stem for file in (tmp_path / "rep").glob("*.png")} == pictures
    two, three, _ = json.loads((tmp_path / "rep/noise_table.json").read_text())
    assert three["variance"] == pytest.approx([0.12] * 6, rel=0.05)  # alpha' at every time
    assert max(two["variance"]) > 1.2 * two["variance"][0]  # resummed
    assert "resummed at n = 2" in out


@pytest.mark.slow
@pytest.mark.long
def test_every_claim_of_sequences_holds(command, tmp_path):
    status, out, err = command("reproduce", "sequences", "--out", "rep")
    assert status == 0, err
    claims = json.loads((tmp_path / "rep/claims.json").read_text())
    assert all(claim["holds"] and claim["why"] and claim["conditions"] for claim in claims)
    assert len({claim["claim"] for claim in claims}) == len(claims) > 20
    assert [file.name for file in (tmp_path / "rep").glob("*.png")] == ["sequences.png"]


# Memories that call each other


def test_a_run_through_a_cycle_tells_how_many_memories_were_due_and_there(command, tmp_path):
    cycle = ["--transition", "cyclic", "--steps", "6", "--start", "0.75"]
    named = ["--network", "dense", "--patterns", "hadamard", "--memories", "4", "--neurons", "64"]
    status, out, _ = command("run", *named, *cycle, "--out", str(tmp_path / "run"))
    assert status == 0 and "6 of 6 steps recall the memory that is due" in out
    network = hx.load(tmp_path / "run" / "model.hopfax")
    assert _networks.due(network, 3, 6) == 1
    chain = hx.DenseMemory(network.patterns, hx.Power(3), transition="chain")
    assert _networks.due(chain, 2, 6) == 3 and _networks.due(chain, 1, 1) == 2
    still = hx.DenseMemory(network.patterns, hx.Power(3))
    assert _networks.due(still, 2, 6) == 2


def test_a_chain_is_over_after_its_last_memory(command, tmp_path):
    named = ["--memories", "30", "--neurons", "60", "--memory", "28", "--start", "1"]
    chain = ["--network", "dense", *named, "--transition", "chain", "--steps", "4"]
    status, out, _ = command("run", *chain, "--out", str(tmp_path / "run"))
    assert status == 0 and "1 of 1 steps recall" in out and "the chain ends with step 1" in out
    found = xr.open_zarr(tmp_path / "run" / "trajectory.zarr", consolidated=False)
    assert np.isfinite(found.theory[:2]).all() and np.isnan(found.theory[2:]).all()


def test_numbers_of_whole_axes_are_not_rounded(command, tmp_path):
    given = ["--interaction", "rectified_power", "--axis", "order", "2,2.5,3"]
    status, _, err = command("sweep", "--network", "dense", *given, "--out", str(tmp_path / "s"))
    assert status == 2 and "order goes through whole numbers, got 2.5" in err


def test_a_run_of_random_memories_has_its_theory_beside(command, tmp_path):
    """Half way to capacity, at a start from which the memories are reached."""
    named = ["--network", "dense", "--memories", "1600", "--neurons", "200", "--start", "0.9"]
    moved = [*named, "--transition", "cyclic", "--steps", "4", "--out", str(tmp_path / "run")]
    status, out, _ = command("run", *moved)
    assert status == 0 and "(theory 0.99" in out
    found = xr.open_zarr(tmp_path / "run" / "trajectory.zarr", consolidated=False)
    wanted = dense.sequence_trajectory(hx.Power(3), 0.04, 0.9, 4).overlap
    assert np.allclose(found.theory, wanted)
    due = found.overlap.values[np.arange(5), np.arange(5)]
    assert (abs(due - wanted) < 0.05).all() and (due[1:] > 0.9).all()
    status, out, _ = command("run", *named[:-2], "--steps", "2", "--out", str(tmp_path / "still"))
    assert status == 0 and "theory" not in out


@pytest.mark.slow
def test_sweeps_of_moving_memories_read_the_memory_that_is_due(command, tmp_path):
    out = tmp_path / "sweep"
    axes = ["--axis", "transition", "none,cyclic,chain", "--axis", "memory", "0", "1", "2"]
    named = ["--patterns", "hadamard", "--memories", "4", "--neurons", "64", "--steps", "2"]
    command(
        "sweep", "--network", "dense", *axes, *named, "--temperature", "0.01", "--out", str(out)
    )
    found = hx.open_sweep(out / "sweep")
    assert (found["cued_overlap"] == 1).all()  # of orthogonal memories
    assert (found["moved"].values == [[0, 0], [32, 32], [32, 32]]).all()


def test_theory_of_sequences(command):
    asked = ["--orders", "2", "3", "--loads", "0.2", "0.3", "--start", "0.6", "--steps", "3"]
    moving = ["theory", "--network", "dense", "--transition", "cyclic", *asked, "--neurons", "30"]
    status, out, _ = command(*moving)
    assert status == 0 and re.search(r"^2 +0.834871 +0.269062 +0.269062 +0.269062$", out, re.M)
    # edge, lasting overlap and run as in the docstrings of the library
    assert re.search(r"^2 +0.2 +0.3853 +0.9663 +0.8203 +0.8624 +0.9029$", out, re.M)
    assert re.search(r"^2 +0.3 +- +- ", out, re.M)
    law = hx.Power(3)
    counts = [
        hx.theory.dense.error_free_capacity(law, 30, what=w) for w in ("transition", "sequence")
    ]
    assert re.search(rf"^3 +{counts[0]} +{counts[1]} ", out, re.M)
    status, out, _ = command("theory", "--network", "dense", "--orders", "3", "--neurons", "30")
    fixed = dense.error_free_capacity(law, 30, what="memory")
    assert status == 0 and re.search(rf"^3 +{fixed} ", out, re.M)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--loads", "0.1"], "`loads` is of sequences, --transition cyclic"),
        (["--transition", "chain", "--rate", "2"], "`rate` is of memories at rest"),
        (["--transition", "cyclic", "--loads", "0"], "`loads` must be finite and above 0"),
        (["--transition", "cyclic", "--start", "2"], "`start` must lie in [-1, 1]"),
        (["--transition", "cyclic", "--steps", "0"], "`steps` must be at least 1"),
        (["--neurons", "1"], "`neurons` must be 2 to 10000"),
    ],
)
def test_theory_refuses_what_means_nothing(command, options, text):
    status, out, err = command("theory", "--network", "dense", "--orders", "3", *options)
    assert status == 2 and not out and text in refusal(err)


def test_theory_of_a_stored_memory_tells_how_often_it_errs(command, tmp_path):
    patterns = hx.patterns.random(jax.random.key(0), 98, 64)
    for name, options in {
        "moving": {"transition": "cyclic", "keep_diagonal": True},
        "still": {},
        "several": {"transition": np.eye(98) + np.eye(98, k=1)},
    }.items():
        hx.save(tmp_path / name, hx.DenseMemory(patterns, hx.Power(3), **options))
    status, out, _ = command("theory", "--model", str(tmp_path / "moving"))
    found = dense.transition_recall(hx.Power(3), 64, 98, keep_diagonal=True)
    assert status == 0 and "capacity of sequences alpha_c" in out
    assert re.search(rf"^all of the sequence is +{found.sequence:.4f}$", out, re.M)
    status, out, _ = command("theory", "--model", str(tmp_path / "still"))
    chance = dense.exact_recall(hx.Power(3), 64, 98).recall
    assert status == 0 and re.search(rf"^a memory is a fixed point +{chance:.4f}$", out, re.M)
    status, _, err = command("theory", "--model", str(tmp_path / "several"))
    assert status == 2 and "`model` calls its memories in no cycle or chain" in refusal(err)


def test_runs_and_sweeps_of_memories_that_resemble_each_other(command, tmp_path):
    """The pseudo-inverse rule recalls strongly correlated memories, which Hebb's mixes up."""
    named = ["--network", "dense", "--patterns", "correlated:0.9", "--memories", "6"]
    named += ["--neurons", "64", "--interaction", "quadratic", "--start", "0.95"]
    rule = ["--learning", "pseudo_inverse"]
    status, out, _ = command("run", *named, *rule, "--steps", "3", "--out", str(tmp_path / "run"))
    assert status == 0
    network = hx.load(tmp_path / "run" / "model.hopfax")
    assert network.learning == "pseudo_inverse"
    axis = ["--axis", "learning", "hebbian,pseudo_inverse", "--steps", "3"]
    out = tmp_path / "sweep"
    assert command("sweep", *named, *axis, "--out", str(out))[0] == 0
    found = hx.open_sweep(out / "sweep")["cued_overlap"]
    assert float(found[1]) == 1.0 > float(found[0])
    status, _, err = command("sweep", "--network", "dense", *rule)
    assert status == 2 and "`learning` is of runs, which --axis sweeps" in refusal(err)
