"""The folder of a sweep, whatever is swept: settings, going on, reading, tidying, whole files."""

import dataclasses
import pathlib
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import xarray as xr
from cli_helpers import elsewhere as elsewhere

import hopfax as hx
from hopfax.cli import _output
from hopfax.cli._folder import Folder

GRID = {"x": np.arange(4.0)}
WRITTEN = {"sweep", "settings.toml", "written.json"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Those of a made-up sweep."""

    power: int = 2
    out: pathlib.Path | None = pathlib.Path("here")
    overwrite: bool = False
    resume: bool = False
    chunk: int | None = None

    def __call__(self, inside=lambda: None):
        """Sweep as the cells do; what was done. `inside` is called when the store is there."""
        _output.check(self)
        output = _output.Output.of(self)
        store, start = output.folder / _output.STORE, time.perf_counter()
        output.check([store], "diagram.png", folders=("diagram.zarr",))
        fresh = self.overwrite or not _output.complete(store)
        with output.computing(store, ("diagram.zarr",)):
            resume = "must" if self.resume else "auto"
            how = dict(resume=resume, overwrite=self.overwrite, progress=False)
            dataset = hx.sweep(square, GRID, store=store, **how)
            inside()
        return output.keep(dataset.load() ** self.power, "diagram.zarr", fresh, start)


def square(x):
    return {"y": x**2}


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def test_the_same_again_is_read_and_the_settings_are_recorded(tmp_path):
    assert Options()().startswith("4 points in")
    here = tmp_path / "here"
    assert names(here) == WRITTEN | {"diagram.zarr"}
    text = (here / "settings.toml").read_text()
    assert tomllib.loads(text) == {"power": 2} and "--config settings.toml" in text.split("\n")[0]
    made = (here / "sweep/sweep.json").stat().st_mtime_ns
    assert Options()() == (
        "read from here/diagram.zarr, which holds these settings (--overwrite computes again)"
    )
    assert (here / "sweep/sweep.json").stat().st_mtime_ns == made
    assert Options(overwrite=True)().startswith("4 points in")
    assert (here / "sweep/sweep.json").stat().st_mtime_ns > made


def test_what_was_made_of_the_stores_is_made_again_if_it_is_gone(tmp_path):
    Options()()
    diagram = tmp_path / "here/diagram.zarr"
    diagram.rename(tmp_path / "moved")
    assert Options()().startswith("4 points in")
    found = _output.open_zarr(tmp_path / "here", "diagram.zarr")
    assert found.identical(_output.open_zarr(tmp_path, "moved"))


def test_a_folder_of_other_settings_is_refused_unless_it_is_to_be_replaced(tmp_path):
    Options()()
    with pytest.raises(hx.StoreError, match="`out`: here holds a sweep of other settings; --over"):
        Options(power=3)()
    assert tomllib.loads((tmp_path / "here/settings.toml").read_text()) == {"power": 2}
    Options(power=3, overwrite=True)()
    assert tomllib.loads((tmp_path / "here/settings.toml").read_text()) == {"power": 3}
    found = _output.open_zarr(tmp_path / "here", "diagram.zarr")
    assert found["y"].values.tolist() == [0, 1, 64, 729]


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        Options()(interrupt)
    (note,) = stop.value.__notes__
    assert note == ("To resume: hopfax sweep --config here/settings.toml --out here --resume")
    assert names(tmp_path / "here") == WRITTEN
    assert Options(resume=True)().startswith("4 points in")  # the diagram was not made
    assert (tmp_path / "here/diagram.zarr").is_dir()


@pytest.mark.parametrize("error", [hx.StoreError, ValueError, TypeError])
def test_no_way_on_is_shown_where_the_input_is_at_fault(error):
    def fail():
        raise error("so not")

    with pytest.raises(error) as stop:
        Options()(fail)
    assert not getattr(stop.value, "__notes__", [])


def test_nothing_is_left_where_nothing_was_begun(tmp_path):
    with pytest.raises(hx.StoreError, match="no sweep in here/sweep to resume"):
        Options(resume=True)()
    assert names(tmp_path) == set()
    (tmp_path / "here").mkdir()
    (tmp_path / "here/notes.txt").write_text("mine")
    with pytest.raises(hx.StoreError):
        Options(resume=True)()
    assert names(tmp_path / "here") == {"notes.txt"}
    deep = tmp_path / "here/sweep/part"
    with pytest.raises(KeyboardInterrupt):
        with _output.Output(Folder(tmp_path / "here"), "text").computing(deep):
            deep.mkdir(parents=True)
            raise KeyboardInterrupt
    assert names(tmp_path / "here") == {"notes.txt"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(chunk=0), "`chunk` must be at least 1, got 0"),
        (dict(resume=True, overwrite=True), "`resume` and `overwrite` contradict"),
        (dict(out=pathlib.Path("afile")), "`out`: afile is a file"),
    ],
)
def test_what_cannot_be_met_is_refused_first(tmp_path, options, match):
    (tmp_path / "afile").write_text("")
    with pytest.raises((ValueError, OSError), match=match):
        Options(**options)()
    assert names(tmp_path) == {"afile"}


def test_the_default_folder_is_told_by_what_is_computed():
    one, same, other = Options(out=None), Options(out=None, chunk=7), Options(3, out=None)
    folders = [_output.Output.of(options).folder for options in (one, same, other)]
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].parent == pathlib.Path("hopfax-out") and folders[0].name[:6] == "sweep-"


def test_a_part_of_a_sweep_is_not_complete_but_can_be_opened(tmp_path):
    store = tmp_path / "here/sweep"
    hx.sweep(square, {"x": np.arange(64.0)}, store=store, tile=16, chunk=16, part=(0, 2))
    assert not _output.complete(store) and _output.is_store(store)
    for place in (store, tmp_path / "here"):
        assert (_output.open_store(place)["status"] == -1).sum() == 32
    hx.sweep(square, {"x": np.arange(64.0)}, store=store, tile=16, chunk=16, part=(1, 2))
    assert _output.complete(store) and not _output.complete(store, tmp_path / "none")
    with pytest.raises(hx.StoreError):
        _output.open_store(tmp_path / "none")


def test_a_dataset_is_there_whole_or_not_at_all(tmp_path):
    class Half:
        def to_zarr(self, place, **options):
            place.mkdir()
            (place / "zarr.json").write_text("{")
            raise KeyboardInterrupt

    place = Folder(tmp_path)
    old = xr.Dataset({"y": ("x", np.arange(3.0))})
    for dataset in (old - 1, old):  # the second one replaces the first
        place.write_zarr("d.zarr", dataset)
    for name in ("d.zarr", "e.zarr"):
        with pytest.raises(KeyboardInterrupt):
            place.write_zarr(name, Half())
    assert _output.open_zarr(tmp_path, "d.zarr").identical(old)
    assert names(tmp_path) == {"d.zarr", "written.json"}


def test_an_array_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(file, *arguments, **options):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    place = Folder(tmp_path)
    place.write_array("a.npy", np.arange(3))
    monkeypatch.setattr("numpy.save", fail)
    with pytest.raises(KeyboardInterrupt):
        place.write_array("a.npy", np.arange(9))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert names(tmp_path) == {"a.npy", "written.json"}


def test_in_the_end_there_are_tables_a_picture_and_what_was_done(tmp_path, monkeypatch, capsys):
    class Figure:
        def savefig(self, file, dpi):
            pathlib.Path(file).write_text("drawn")

    monkeypatch.setattr(_output, "draw", lambda dataset: Figure())
    output = _output.Output(Folder(tmp_path), "text")
    output.finish(xr.Dataset(), "a table", "it was done", "picture.png", "picture.png, more")
    assert (tmp_path / "picture.png").read_text() == "drawn"
    out = capsys.readouterr().out
    assert out == f"a table\n\nit was done\nwritten to {tmp_path}: picture.png, more\n"


def test_output_that_nobody_reads_any_more_is_no_error():
    """As in `hopfax theory | head -1`."""
    command = [sys.executable, "-m", "hopfax", "theory", "--network", "dense"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141 and not said
