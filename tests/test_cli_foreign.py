"""What commands replace: what hopfax wrote, and nothing else; looked at before anything is done."""

import json
import os
import pathlib

import numpy as np
import pytest
from cli_helpers import elsewhere as elsewhere, refusal

import hopfax as hx
from hopfax._files import Ledger
from hopfax.cli import _output
from hopfax.cli._claims import Outcome, claim
from hopfax.cli._folder import Folder

DENSE = ("sweep", "--network", "dense", "--points", 4, 4, "--steps", 2, "--paths", 64)
RATE = ("sweep", "--network", "rate", "--points", 4, 4, "--neurons", 25)
SWEEP = ("sweep", "--points", 4, 4, "--neurons", 16, "--bias", 0)
RUN = ("run", "--neurons", 64)
FIT = ("fit", "events.csv", "--neurons", 64)
REPRODUCE = ("reproduce", "rate")


def put(*files, folder="here"):
    """Files of somebody else."""
    for name in files:
        file = pathlib.Path(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"precious {name}")


def tree(folder="here"):
    """Everything in a folder but locks: the content of its files, and its folders."""
    return {
        str(place): place.read_bytes() if place.is_file() else None
        for place in pathlib.Path(folder).rglob("*")
        if place.suffix != ".lock"
    }


@pytest.fixture
def nothing_computed(monkeypatch):
    """To compute would fail."""

    def compute(*arguments, **options):
        raise AssertionError("computed")

    for name in ("sweep", "simulate", "fit_sequence", "sweep_plan"):
        monkeypatch.setattr(hx, name, compute)
    monkeypatch.setattr("hopfax.cli.rate.reproduce.reproduce", compute)
    pathlib.Path("events.csv").write_text("time,memory\n0,0\n1,1\n2,0\n")


@pytest.mark.parametrize(
    ("command_line", "foreign"),
    [
        ((*DENSE, "--overwrite"), ("simulated/a.npy", "sweep/order-9/x", "diagram.zarr/x")),
        ((*DENSE, "--overwrite"), ("simulated/order-3.npy",)),
        ((*DENSE, "--overwrite"), ("diagram.zarr/c/0",)),
        ((*DENSE, "--overwrite"), ("sweep/order-3/notes.txt",)),
        ((*DENSE, "--overwrite"), ("settings.toml",)),
        (DENSE, ("diagram.zarr/zarr.json",)),
        (DENSE, ("diagram.png",)),
        ((*RATE, "--overwrite"), ("sweep/x", "simulated/x", "diagram.zarr/x")),
        ((*RATE, "--overwrite"), ("sweep/x",)),
        ((*RATE, "--overwrite"), ("simulated/x",)),
        (RATE, ("diagram.zarr/zarr.json",)),
        (RATE, ("diagram.png",)),
        ((*SWEEP, "--overwrite"), ("sweep/data.zarr/zarr.json", "sweep/done/0.json")),
        ((*SWEEP, "--overwrite"), ("settings.toml",)),
        (SWEEP, ("phase_diagram.png",)),
        (RUN, ("trajectory.zarr/zarr.json",)),
        (RUN, ("model.hopfax",)),
        ((*RUN, "--learning", "both"), ("model-hebbian.hopfax",)),
        ((*RUN, "--overwrite"), ("trajectory.zarr/zarr.json",)),
        ((*RUN, "--overwrite"), ("run.png",)),
        ((*RUN, "--overwrite"), ("settings.toml",)),
        (REPRODUCE, ("cues.png",)),
        ((*REPRODUCE, "--overwrite"), ("claims.json",)),
        ((*REPRODUCE, "--overwrite"), ("stability_table.json",)),
    ],
)
def test_what_is_not_ours_stays(command, nothing_computed, command_line, foreign):
    put("notes.txt", *foreign)
    before = tree()
    status, out, err = command(*command_line, "--out", "here")
    assert status == 2 and not out and tree() == before
    line = refusal(err)
    assert "`out`: here/" in line and any(name.split("/")[0] in line for name in foreign)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("name", ["model.png", "model.eqx"])
def test_a_fit_replaces_neither_picture_nor_model_of_others(
    command, nothing_computed, name, overwrite
):
    put(name, folder=".")
    before = tree(".")
    status, _, err = command(*FIT, "--out", "model.eqx", *overwrite)
    assert status == 2 and name in refusal(err) and tree(".") == before


@pytest.mark.parametrize(
    "options", [DENSE, RATE, SWEEP, RUN, REPRODUCE, (*FIT, "--strategy", "auto")]
)
@pytest.mark.parametrize(
    ("out", "named"),
    [
        ("afile", "afile is a file"),
        ("afile/below/it", "afile is a file"),
        ("closed/new", "no permission to write in closed"),
        ("x" * 300, "`out`: File name too long"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_computed(
    command, nothing_computed, monkeypatch, options, out, named
):
    put("afile", "closed/x", folder=".")
    access = os.access
    monkeypatch.setattr(  # also for root, who may do all
        "os.access", lambda place, mode: "closed" not in str(place) and access(place, mode)
    )
    if options[0] == "fit":
        out = f"{out}/model.eqx"
    before = tree(".")
    status, _, err = command(*options, "--out", out)
    assert status == 2 and "`out`" in refusal(err) and named in err, err
    assert {k: v for k, v in tree(".").items() if "cache" not in k} == before


def test_a_folder_is_not_taken_for_a_file(command, nothing_computed):
    pathlib.Path("here/run.png").mkdir(parents=True)
    status, _, err = command(*RUN, "--out", "here", "--overwrite")
    assert status == 2 and "here/run.png is a folder" in refusal(err)
    status, _, err = command(*FIT, "--out", "here")
    assert status == 2 and "here is a folder" in refusal(err)


# Ours, and ours no more


@pytest.fixture
def claims(command, monkeypatch):
    """A complete folder of a made-up `reproduce`; its command."""
    outcome = Outcome([claim("one", 1, 1, 0, "a count", "here")], {}, "", {"stability_table": [1]})
    monkeypatch.setattr("hopfax.cli.rate.reproduce.reproduce", lambda: outcome)
    line = (*REPRODUCE, "--out", "here")
    assert command(*line)[0] == 0
    return line


def test_what_is_ours_is_replaced_when_asked(command, claims):
    status, _, err = command(*claims)
    assert status == 2 and "here/claims.json is from an earlier run; --overwrite" in refusal(err)
    assert command(*claims, "--overwrite")[0] == 0


def test_what_was_edited_is_somebodys_work(command, claims):
    edited = pathlib.Path("here/stability_table.json")
    edited.write_text("[2]\n")
    before = tree()
    status, _, err = command(*claims, "--overwrite")
    assert status == 2 and f"{edited} is not as hopfax wrote it" in refusal(err)
    assert tree() == before
    edited.rename("mine.json")
    assert command(*claims, "--overwrite")[0] == 0 and json.loads(edited.read_text()) == [1]


def test_a_record_that_is_not_ours_is_no_permission(command, claims):
    pathlib.Path("here/written.json").write_text('{"files": {"claims.json": [1, 2]}}')
    before = tree()
    status, _, err = command(*claims, "--overwrite")
    assert status == 2 and "here/written.json" in refusal(err) and tree() == before


# plot writes where the user says


@pytest.fixture
def store():
    hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [4.0, 5.0]}, store="store")
    return "store"


def test_plot_replaces_a_picture_of_others_only_when_asked(command, store):
    put("figure.png", "store.png", folder=".")
    for arguments, name in ((("--out", "figure.png"), "figure.png"), ((), "store.png")):
        status, _, err = command("plot", store, *arguments)
        assert status == 2 and f"{name} was not written by hopfax" in refusal(err)
        assert pathlib.Path(name).read_text() == f"precious {name}"
        assert command("plot", store, *arguments, "--overwrite")[0] == 0
        assert pathlib.Path(name).stat().st_size > 1000
        assert command("plot", store, *arguments)[0] == 0  # ours by now
    with open("figure.png", "ab") as file:
        file.write(b"a note")
    assert command("plot", store, "--out", "figure.png")[0] == 2


def test_plot_finds_a_place_beside_the_folder_it_is_in(command, store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / store)
    status, out, err = command("plot", ".")
    assert status == 0 and (tmp_path / "store.png").exists(), err


# Folders of sweeps


def square(x):
    return {"y": x**2}


@pytest.fixture
def sweep():
    """Sweeps into a folder as the cells do, with a diagram."""

    def run(inside=lambda: None, record="# first\nx = 1\n", **options):
        output = _output.Output(Folder(pathlib.Path("here"), **options), record)
        store = output.folder / "sweep"
        output.check([store], "diagram.png", folders=("diagram.zarr",))
        with output.computing(store, ("diagram.zarr",)):
            how = dict(overwrite=output.place.overwrite, progress=False)
            dataset = hx.sweep(square, {"x": np.arange(4.0)}, store=store, **how)
            inside()
        output.keep(dataset.load(), "diagram.zarr", False, 0.0)
        output.place.write_bytes("diagram.png", b"a picture")

    return run


def test_a_folder_from_before_there_were_records_is_gone_on_with(sweep):
    sweep()
    for name in ("written.json", "diagram.png"):
        pathlib.Path("here", name).unlink()
    with pytest.raises(FileExistsError, match=r"here/diagram.zarr.* Move it away"):
        sweep()
    pathlib.Path("here/diagram.zarr").rename("moved")
    made = pathlib.Path("here/sweep/sweep.json").stat().st_mtime_ns
    sweep(record="# a later version\nx = 1\n")
    assert pathlib.Path("here/sweep/sweep.json").stat().st_mtime_ns == made
    assert _output.open_zarr(pathlib.Path("here"), "diagram.zarr")["y"].values.tolist()[3] == 9
    with pytest.raises(FileExistsError, match="here/settings.toml is not as hopfax wrote it"):
        sweep(record="# first\nx = 2\n", overwrite=True)


def test_a_refusal_after_the_beginning_leaves_the_settings(sweep, monkeypatch):
    sweep()
    before = tree()

    def busy(*arguments, **options):
        raise hx.StoreBusy("somebody else writes")

    monkeypatch.setattr(hx, "sweep", busy)
    with pytest.raises(hx.StoreBusy):
        sweep(record="# first\nx = 2\n", overwrite=True)
    del before["here/written.json"]
    assert {k: v for k, v in tree().items() if k in before} == {
        k: v for k, v in before.items() if "diagram.zarr" not in k
    }
    assert Ledger(pathlib.Path("here")).foreign("settings.toml") is None


def test_somebody_who_writes_is_told_of_before_anything_is_removed(sweep):
    from hopfax._sweep._store import Store

    sweep()
    before = tree()
    with Store("here/sweep").writing():
        with pytest.raises(hx.StoreBusy):
            sweep(overwrite=True)
    assert tree() == before


def test_a_diagram_that_was_changed_is_not_read(sweep):
    sweep()
    (chunk,) = pathlib.Path("here/diagram.zarr/y/c").iterdir()
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(hx.StoreCorrupt, match="diagram.zarr is not as hopfax wrote it"):
        _output.open_zarr(pathlib.Path("here"), "diagram.zarr")


def test_only_a_stored_sweep_is_removed(sweep):
    sweep()
    put("sweep/notes.txt", "other/sweep.json", "other/data.zarr/x")
    other = tree("here/other")
    for name in ("sweep", "other", "none"):
        _output.remove_store(pathlib.Path("here", name))
    assert tree("here/other") == other
    assert tree("here/sweep") == {"here/sweep/notes.txt": b"precious sweep/notes.txt"}


# Killed at any moment


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("moment", ["made", "listed", "removed", "moved"])
def test_a_killed_command_locks_nobody_out(tmp_path, monkeypatch, kind, moment):
    place = Folder(tmp_path, overwrite=True)

    def write(content):
        def make(partial):
            if kind == "folder":
                partial.mkdir()
                partial = partial / content
            partial.write_text(content)

        place.write("name", make)

    replace = os.replace

    def kill(*arguments, **options):
        raise Killed

    def kill_at_last(source, target):  # not where the record is written
        if pathlib.Path(target).name == "name":
            raise Killed
        replace(source, target)

    write("old")
    with monkeypatch.context() as patch:
        if moment == "removed" or (moment == "listed" and kind == "file"):
            patch.setattr("os.replace", kill_at_last)
        else:
            where = {"made": "Ledger.move", "listed": "remove", "moved": "Ledger.add"}[moment]
            patch.setattr(f"hopfax._files._ledger.{where}", kill)
        with pytest.raises(Killed):
            write("new")
    here = place.path / "name"
    found = None if not here.exists() else here.read_text() if kind == "file" else os.listdir(here)
    expected = "new" if moment == "moved" else "old"
    if kind == "folder":
        expected = None if moment == "removed" else [expected]
    assert found == expected
    assert place.ledger.whole("name") == (found is not None)
    files, folders = (("name",), ()) if kind == "file" else ((), ("name",))
    place.check(*files, folders=folders)
    write("newest")
    assert here.read_text() == "newest" if kind == "file" else os.listdir(here) == ["newest"]
    assert set(os.listdir(tmp_path)) == {"name", "written.json"}


def test_what_appears_meanwhile_is_not_written_over(tmp_path):
    place = Folder(tmp_path, overwrite=True)
    place.check("name")

    def make(partial):
        (tmp_path / "name").write_text("precious")
        partial.write_text("ours")

    with pytest.raises(FileExistsError, match="name"):
        place.write("name", make)
    assert (tmp_path / "name").read_text() == "precious" and os.listdir(tmp_path) == ["name"]


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "other").write_text("precious")
    place = Folder(tmp_path / "here", overwrite=True)
    place.write_bytes("name", b"ours")
    (tmp_path / "here/name").unlink()
    (tmp_path / "here/name").symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError):
        place.check("name")
    place.check_named("name")
    place.write("name", lambda partial: partial.write_text("new"), named=True)
    assert (tmp_path / "other").read_text() == "precious"
    assert not (tmp_path / "here/name").is_symlink()


def test_the_record_itself_is_no_result(tmp_path):
    with pytest.raises(ValueError, match="use another name"):
        Folder(tmp_path).check("written.json")
