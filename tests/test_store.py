"""Stored sweeps: killed, damaged, shared, changed; nothing is lost, and nothing silently wrong."""

import errno
import importlib
import linecache
import os
import resource
import shutil
import signal
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import points
import pytest
import xarray as xr
from helpers import ROOT
from hypothesis import HealthCheck, given, settings, strategies as st

import hopfax as hx
from hopfax._sweep import _belongings, _dataset, _store
from hopfax._sweep._grid import Blocks, cut

OPTIONS = points.OPTIONS


# One row of the grid fails on purpose.
pytestmark = pytest.mark.filterwarnings(r"ignore:\d+ of \d+ points failed")


def run(store, **options):
    return hx.sweep(points.wave, points.GRID, store=store, **OPTIONS | options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete store, to be copied, and what is in it."""
    place = tmp_path_factory.mktemp("whole") / "store"
    run(place)
    return place


@pytest.fixture
def store(whole, tmp_path):
    """A copy of a complete store, to be damaged."""
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def written(monkeypatch):
    """The blocks that are written while the test runs."""
    blocks = []
    write = _store.Store.write

    def count(self, manifest, k, outputs, record):
        blocks.append(k)
        write(self, manifest, k, outputs, record)

    monkeypatch.setattr(_store.Store, "write", count)
    return blocks


def python(code, *arguments, **environment):
    """Start a fresh interpreter on a piece of code, from where it finds the tests' modules.

    It keeps away from the shared cache of compiled programs: killed while it writes there, it would
    leave half an entry for everybody.
    """
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    apart = {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    return subprocess.Popen(
        [sys.executable, "-c", "import points; points.use_double()\n" + code, *map(str, arguments)],
        env=os.environ | apart | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# What is stored


def test_a_store_is_the_sweep(whole, written):
    memory = hx.sweep(points.wave, points.GRID, **OPTIONS)
    plain = xr.open_zarr(whole / "data.zarr")
    for other in (hx.open_sweep(whole), plain, run(whole)):
        xr.testing.assert_identical(other.load(), memory)
    assert not written  # it was complete
    assert memory.value.dims == ("x", "y") and memory.powers.dims == ("x", "y", "powers_0")
    bad = memory.isel(x=8)
    assert (bad.status == 3).all() and np.isnan(bad.value).all() and (bad.sign == -1).all()
    assert len(list((whole / "done").iterdir())) == points.BLOCKS


@pytest.mark.parametrize("chunk", [8, 100, 384, "auto"])
def test_the_size_of_blocks_changes_no_bit(whole, tmp_path, chunk):
    other = run(tmp_path / "other", chunk=chunk)
    xr.testing.assert_identical(other.load(), hx.open_sweep(whole).load())


def test_blocks_cover_the_grid_once_and_are_runs_of_lanes():
    for shape, lanes, tile in [
        ((24, 16), 64, 8),
        ((7, 5, 3), 10, 4),
        ((1000,), 64, 16),
        ((3, 999), 50, 8),
    ]:
        blocks = cut(shape, lanes, tile)
        seen = np.zeros(shape, int)
        index = np.arange(seen.size).reshape(shape)
        for k in range(blocks.number):
            first, last = blocks.lanes(k)
            assert (index[blocks.slices(k)].ravel() == np.arange(first, last)).all()
            assert last - first <= max(lanes, tile)
            seen[blocks.slices(k)] += 1
        assert (seen == 1).all()
    assert cut((128, 80), 1280, 256).block == (16, 80)  # whole tiles
    assert cut((1000,), 100, 64) == Blocks((1000,), (64,))


def test_an_empty_sweep_can_be_stored(tmp_path):
    empty = hx.sweep(points.wave, {"x": [], "y": [1.0]}, store=tmp_path / "s", **OPTIONS)
    assert empty.powers.shape == (0, 1, 3)
    xr.testing.assert_identical(hx.open_sweep(tmp_path / "s").load(), empty.load())


# Killed

# By one thread, so that blocks are written one after the other, on any number of cores.
KILL = """
import os, pathlib, signal, sys
import hopfax as hx
from hopfax._sweep import _plan, _store

_plan.workers_of = lambda devices: 1
seen = 0

def dying(home, name, counts):
    function = getattr(home, name)
    def replacement(*arguments):
        global seen
        seen += counts(*arguments)
        if seen == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    setattr(home, name, replacement)

where = sys.argv[2]
if where == "data":  # the block's second variable is written, but not in its place
    dying(pathlib.Path, "replace", lambda file, to: to.match("powers/c/*/*/*"))
elif where == "marker":  # all its variables are in place
    dying(_store, "_write_whole", lambda file, content: file.parent.name == "done")
elif where == "rename":  # its marker is written, too, but not in its place
    dying(pathlib.Path, "replace", lambda file, to: to.parent.name == "done")
hx.sweep(points.wave, points.GRID, store=sys.argv[1], **points.OPTIONS)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["data", "marker", "rename"])
def test_killed_while_writing_the_third_block(whole, tmp_path, written, where):
    store = tmp_path / "store"
    process = python(KILL, store, where)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    partial = hx.open_sweep(store, partial=True)
    done = (partial.status != -1).values
    assert done[:8].all() and not done[8:].any()  # two blocks of four rows
    reference = hx.open_sweep(whole)
    for name in partial.data_vars:
        np.testing.assert_array_equal(partial[name].values[:8], reference[name].values[:8])
    assert np.isnan(partial.value[8:]).all()
    with pytest.raises(hx.StoreError, match="is unfinished: 2 of 6 blocks"):
        hx.open_sweep(store)
    run(store)
    assert sorted(written) == [2, 3, 4, 5]
    assert points.files_of(store) == points.files_of(whole)  # to the last bit of every file


# After some blocks a thread kills the process. Should it be late, at most two more are written.
NETWORK = """
import os, signal, sys, threading, time
import hopfax as hx
from hopfax._sweep import _store

after, delay = int(sys.argv[2]), float(sys.argv[3])
write, lock, begun = _store.Store.write, threading.Lock(), 0

def kill():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)

def counted(*arguments):
    global begun
    with lock:
        begun += 1
        number = begun
    if number > after + 2:
        threading.Event().wait()
    write(*arguments)
    if number == after:
        threading.Thread(target=kill).start()

_store.Store.write = counted
hx.sweep(points.network_point(), points.NETWORK_GRID, store=sys.argv[1], chunk=16,
         **points.NETWORK_OPTIONS)
"""


@pytest.mark.slow
def test_killed_at_some_moment(tmp_path):
    """A network, resumed by another process, and compared with a sweep in one block."""
    store = tmp_path / "store"
    process = python(NETWORK, store, 3, 0.005)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    done = (hx.open_sweep(store, partial=True).status != -1).values
    assert 1 <= done.sum() / 16 <= 5  # of twenty blocks
    options = dict(**points.NETWORK_OPTIONS)
    resumed = hx.sweep(points.network_point(), points.NETWORK_GRID, store=store, **options)
    straight = hx.sweep(points.network_point(), points.NETWORK_GRID, chunk=320, **options)
    xr.testing.assert_identical(resumed.load(), straight)


# Two threads. One block is stored; all others wait until the sweep has heard of Ctrl-C.
INTERRUPTED = """
import concurrent.futures, os, signal, sys, threading
import hopfax as hx
from hopfax._sweep import _drive, _plan, _store

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job is born without
_plan.workers_of = lambda devices: 2
first, begun, over = threading.Lock(), threading.Event(), threading.Event()
write, drive, completed = _store.Store.write, _drive.by_executor, concurrent.futures.as_completed

def waiting(*arguments):
    (begun if first.acquire(blocking=False) else over).wait()
    write(*arguments)
    os.write(1, b"block\\n")  # at once, beside the other thread's

def listening(futures):
    begun.set()
    return completed(futures)

def driven(*arguments):
    try:
        return drive(*arguments)
    finally:
        over.set()

concurrent.futures.as_completed = listening
_store.Store.write, _drive.by_executor = waiting, driven
hx.sweep(points.wave, points.GRID, store=sys.argv[1], **points.OPTIONS | dict(chunk=8))
"""


@pytest.mark.slow
def test_ctrl_c_leaves_a_valid_store(whole, tmp_path):
    """No block is begun any more, and those in hand are stored."""
    process = python(INTERRUPTED, tmp_path / "store")
    assert process.stdout.readline() == "block\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert "KeyboardInterrupt" in err and "run the same sweep again to resume it" in err
    blocks = 1 + out.count("block")
    assert f"{blocks} of 48 blocks are stored in" in err and blocks <= 3
    partial = hx.open_sweep(tmp_path / "store", partial=True)
    assert (partial.status != -1).sum() == 8 * blocks
    ds = run(tmp_path / "store", chunk=8)
    xr.testing.assert_identical(ds.load(), hx.open_sweep(whole).load())


# Damaged


def chunk_of(store, name="value"):
    return store / "data.zarr" / name / "c" / "2" / "0"


def flip(file):
    """Changes a bit: where a file has a seal, of its first digit, since lengths vary; else in the
    middle."""
    content = bytearray(file.read_bytes())
    place = content.rfind(b'"seal": "')
    content[len(content) // 2 if place < 0 else place + len(b'"seal": "')] ^= 16
    file.write_bytes(content)


DAMAGE = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-3]),
    "empty": lambda file: file.write_bytes(b""),
    "flipped": flip,
    "deleted": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["data", "marker"])
def test_only_a_damaged_block_runs_again(store, whole, written, damage, part):
    DAMAGE[damage](chunk_of(store) if part == "data" else store / "done" / "00000002.json")
    file = "data.zarr/value/c/2/0" if part == "data" else "done/00000002.json"
    state = "5 of 6 blocks are there. Run the same sweep again to"
    if (part, damage) == ("marker", "deleted"):  # as if that block had not been run
        with pytest.raises(hx.StoreError, match=f"is unfinished: {state}"):
            hx.open_sweep(store)
        partial = hx.open_sweep(store, partial=True)
    else:
        with pytest.raises(hx.StoreCorrupt, match=f"{file} is damaged: {state} complete it"):
            hx.open_sweep(store)
        with pytest.warns(hx.SweepWarning, match=f"{file} is damaged: {state} mend it"):
            partial = hx.open_sweep(store, partial=True)
    assert (partial.status.values == -1).sum() == 64 and np.isnan(partial.value[8:12]).all()
    run(store)
    assert written == [2]
    assert points.files_of(store) == points.files_of(whole)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_manifest_is_named_and_nothing_touched(store, damage):
    DAMAGE[damage](store / "sweep.json")
    before = points.files_of(store)
    for action in (
        run,
        lambda place: run(place, overwrite=True),  # nothing says any more what is ours to remove
        hx.open_sweep,
        lambda place: hx.open_sweep(place, partial=True),
    ):
        with pytest.raises(hx.StoreCorrupt, match=r"sweep\.json is damaged, or was not written by"):
            action(store)
    assert points.files_of(store) == before


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "name", ["data.zarr/zarr.json", "data.zarr/value/zarr.json", "data.zarr/x/c/0"]
)
def test_a_damaged_description_is_made_again(store, whole, written, damage, name):
    DAMAGE[damage](store / name)
    before = points.files_of(store)
    for partial in (False, True):
        with pytest.raises(hx.StoreCorrupt, match=f"{name} is damaged or missing.* to mend it"):
            hx.open_sweep(store, partial=partial)
    assert points.files_of(store) == before
    run(store)
    assert points.files_of(store) == points.files_of(whole) and not written


def test_all_of_the_data_can_be_made_again(store, whole):
    shutil.rmtree(store / "data.zarr")
    run(store)
    assert points.files_of(store) == points.files_of(whole)


def test_what_cannot_be_made_again_is_said(store, monkeypatch):
    """As with a version of zarr that writes other bytes."""
    (store / "data.zarr" / "x" / "c" / "0").unlink()
    before = points.files_of(store)
    labels = _dataset.coordinates

    def others(grid, attributes):
        return labels(grid, attributes).assign_coords(x=("x", points.GRID["x"] + 1))

    monkeypatch.setattr(_dataset, "coordinates", others)
    with pytest.raises(hx.StoreCorrupt, match="x/c/0 is damaged or missing"):
        run(store)
    assert points.files_of(store) == before


def test_a_sweep_can_be_replaced(store, whole):
    """By another one, and one whose data are damaged by itself."""
    grid = points.GRID | {"x": points.GRID["x"][:4]}
    other = hx.sweep(points.wave, grid, store=store, overwrite=True, **OPTIONS)
    assert other.sizes["x"] == 4 and other.identical(hx.open_sweep(store))
    flip(store / "data.zarr" / "zarr.json")
    run(store, overwrite=True)
    assert points.files_of(store) == points.files_of(whole)


@pytest.mark.slow
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(which=st.integers(0, 10**6), where=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_bit_anywhere_can_go_wrong_silently(whole, tmp_path, which, where, bit):
    """One bit of one file is flipped: the same call gives the same data, or names the file."""
    store = tmp_path / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(whole, store)
    files = sorted(file for file in store.rglob("*") if file.is_file() and "lock" not in file.name)
    file = files[which % len(files)]
    content = bytearray(file.read_bytes())
    content[where % len(content)] ^= 1 << bit
    file.write_bytes(content)
    try:
        found = run(store).load()
    except hx.StoreError as error:
        name = str(file.relative_to(store))
        assert name in str(error) or "has schema" in str(error)
        assert not name.startswith("done/")  # a marker is only written again
    else:
        assert found.identical(hx.open_sweep(whole).load())


def test_what_killed_writers_left_is_removed(store, whole):
    data = store / "data.zarr" / "value"
    left = [
        store / "done" / f".00000003.json.{'0' * 16}.tmp",
        data / "c" / "3" / f"0.{'0' * 32}.partial",
        data / f"zarr.{'0' * 32}.partial",
    ]
    theirs = [store / "done" / "mine.tmp", data / "notes.partial", store / "x.json.1-2.tmp"]
    for file in left + theirs:
        file.write_text("half")
    (store / "done" / "00000003.json").unlink()
    run(store)
    assert not any(file.exists() for file in left) and all(file.exists() for file in theirs)


CREATION = ["stage", "listed", "moved", "done", "whole"]


@pytest.mark.parametrize("at", CREATION)
def test_a_creation_that_was_killed_is_finished(tmp_path, whole, monkeypatch, at):
    """By SIGKILL: nothing that runs after an exception may help."""
    store, made = tmp_path / "store", _store.Store._make
    steps = iter(CREATION)

    class Killed(BaseException):
        pass

    def step(function, *arguments):
        found = function(*arguments)
        if next(steps) == at:
            raise Killed
        return found

    replace, mkdir = type(store).replace, type(store).mkdir
    monkeypatch.setattr(_belongings, "finish", lambda path: None)
    monkeypatch.setattr(_store.Store, "_make", lambda *a: step(made, *a))
    monkeypatch.setattr(
        type(store),
        "replace",
        lambda self, to: (
            step(replace, self, to) if "zarr" not in str(to.parent) else replace(self, to)
        ),
    )
    monkeypatch.setattr(
        type(store),
        "mkdir",
        lambda self, *a, **k: (
            step(lambda: mkdir(self, *a, **k)) if self.name == "done" else mkdir(self, *a, **k)
        ),
    )
    with pytest.raises(Killed):
        run(store)
    monkeypatch.undo()
    if at != "whole":
        with pytest.raises(hx.StoreError, match="holds no sweep"):
            hx.open_sweep(store)
    run(store)
    assert points.files_of(store) == points.files_of(whole)
    assert {f.name for f in store.iterdir()} <= {
        *("sweep.json", "data.zarr", "done", ".writer.lock", ".workers.lock", ".create.lock")
    }


@pytest.mark.parametrize("files", [0, 1, 7, 20])
def test_a_removal_that_was_killed_is_finished(store, whole, monkeypatch, files):
    """First goes what says that there is a sweep."""
    unlink, left = type(store).unlink, [files]

    def killed(self, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        unlink(self, **options)

    monkeypatch.setattr(type(store), "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        run(store, overwrite=True)
    monkeypatch.undo()
    with pytest.raises(hx.StoreError, match="holds no sweep"):
        hx.open_sweep(store)
    run(store)
    assert points.files_of(store) == points.files_of(whole)


def test_files_without_a_marker_mean_nothing(store):
    (store / "done" / "00000002.json").unlink()
    partial = hx.open_sweep(store, partial=True)
    assert (partial.status[8:12] == -1).all() and np.isnan(partial.value[8:12]).all()
    assert (partial.status[12:] != -1).all() and partial.status.attrs["flag_meanings"]


def test_no_room_for_a_file(store, whole):
    """A limit of file size that some, not all, chunk files exceed (no disk can be filled here)."""
    for marker in (store / "done").iterdir():
        marker.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            run(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "run the same sweep again" in caught.value.__notes__[0]
    assert not list(store.rglob("*.partial")) and not list(store.rglob("*.tmp"))
    run(store)
    assert points.files_of(store) == points.files_of(whole)


def test_a_full_disk(tmp_path, whole, monkeypatch):
    """ENOSPC at any file: the error says so, nothing half-written stays, and a rerun completes."""
    real = _store._write_whole
    left = [4]

    def full(file, content):
        left[0] -= 1
        if left[0] < 0:
            partial = file.with_name(file.name + ".tmp")
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial))
            finally:
                partial.unlink(missing_ok=True)
        real(file, content)

    monkeypatch.setattr(_store, "_write_whole", full)
    with pytest.raises(OSError, match="No space left") as caught:
        run(tmp_path / "store")
    assert caught.value.errno == errno.ENOSPC
    assert "3 of 6 blocks are stored" in caught.value.__notes__[0]
    monkeypatch.setattr(_store, "_write_whole", real)
    run(tmp_path / "store")
    assert points.files_of(tmp_path / "store") == points.files_of(whole)


# Shared


def test_a_second_writer_is_refused(store):
    (store / "done" / "00000003.json").unlink()  # or there would be nothing to write
    with _store.Store(store).writing():
        for options in ({}, {"overwrite": True}, {"part": (0, 2)}):
            with pytest.raises(hx.StoreBusy, match="another process is writing"):
                run(store, **options)
    run(store)


def test_parts_make_the_whole(whole, tmp_path, written):
    store = tmp_path / "store"
    with _store.Store(store).writing(shared=True):  # as if others were at it, too
        first = run(store, part=(0, 3))
        assert (first.status != -1).sum() == 128
        with pytest.raises(hx.StoreBusy):
            run(store)
        run(store, part=(1, 3), chunk="auto")  # takes the blocks that are there
        run(store, part=(2, 3))
    assert sorted(written) == list(range(6))
    assert points.files_of(store) == points.files_of(whole)


# Changed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(grid={"x": np.linspace(0.0, 3.5, 24), "y": points.GRID["y"]}), "grid.x "),
        (dict(grid={"y": points.GRID["y"], "x": points.GRID["x"]}), "axes "),
        (dict(tile=16), "tile .8 in the store, 16 now"),
        (dict(chunk=128), r"blocks of \(4, 16\) points. Leave `chunk` .* out"),
        (dict(tile=16, tag="v2"), r"differs in point.function .*; tile .8"),
        (dict(point=lambda x, y: x * y, tag="other"), "point.function "),
        (dict(tag="v2"), "point.function "),
    ],
)
def test_another_sweep_is_refused_by_what_differs(store, change, named):
    point = change.pop("point", points.wave)
    grid = change.pop("grid", points.GRID)
    before = points.files_of(store)
    with pytest.raises(hx.ConfigMismatch, match=named):
        hx.sweep(point, grid, store=store, **OPTIONS | change)
    assert points.files_of(store) == before


@pytest.mark.slow
def test_a_network_is_told_by_its_values(tmp_path):
    grid, options = {"kappa": [4.0, 5.0]}, dict(store=tmp_path / "s", progress=False, tile=2)
    hx.sweep(points.network_point(), grid, **options)
    other = eqx.tree_at(lambda p: p.network.tau, points.network_point(), jnp.asarray(25.0))
    with pytest.raises(hx.ConfigMismatch, match=r"network\.tau .*20 in the store.*25 now"):
        hx.sweep(other, grid, **options)
    with pytest.raises(hx.ConfigMismatch, match=r"point\.observe"):
        hx.sweep(points.network_point(observe="dwell"), grid, **options)
    with pytest.raises(hx.ConfigMismatch, match=r"point\.method"):
        hx.sweep(points.network_point(method=hx.EventDriven(tol=1e-8)), grid, **options)


def test_resume_can_be_insisted_on_or_forbidden(store, tmp_path, as_a_user_runs_it):
    run(store, resume="must")
    with pytest.raises(hx.StoreError, match="no sweep in .* to resume"):
        run(tmp_path / "new", resume="must")
    with pytest.raises(hx.StoreError, match="holds a sweep; `overwrite=True`"):
        run(store, resume="never")
    with pytest.raises(ValueError, match="`resume` must be one of"):
        run(store, resume="maybe")


def test_other_versions_are_said(store, monkeypatch):
    now = _dataset.environment()
    monkeypatch.setattr(_dataset, "environment", lambda: now | {"hopfax_version": "7.0"})
    run(store)  # complete: nothing is computed that could differ
    (store / "done" / "00000000.json").unlink()
    with pytest.warns(hx.SweepWarning, match="other versions.*7.0 now"):
        run(store)


def test_a_store_of_a_later_version_is_refused(store):
    file = store / "sweep.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(hx.StoreError, match="schema 2; this version reads 1"):
        hx.open_sweep(store)


def test_outputs_that_changed_under_a_tag_are_refused(tmp_path):
    grid, options = {"x": np.arange(4.0)}, dict(tile=2, progress=False, tag="v1")
    store = tmp_path / "s"
    hx.sweep(lambda x: {"a": x}, grid, store=store, **options)
    (store / "done" / "00000000.json").unlink()
    with pytest.raises(hx.ConfigMismatch, match="now return b float64"):
        hx.sweep(lambda x: {"b": x}, grid, store=store, **options)


# Functions


def test_functions_need_a_name(tmp_path):
    def local(x):
        return x

    grid, options = {"x": np.arange(4.0)}, dict(tile=2, progress=False)
    for function in (local, lambda x: x):
        with pytest.raises(TypeError, match="`point.function` is .* tag="):
            hx.sweep(function, grid, store=tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()
    hx.sweep(local, grid, store=tmp_path / "s", tag="v1", **options)
    assert hx.sweep(local, grid, **options).value.shape == (4,)  # without a store, anything goes


def test_a_changed_function_is_another(tmp_path, monkeypatch):
    """Told by its source, since results of two versions must not be mixed."""
    (tmp_path / "mine.py").write_text("def f(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("mine")
    options = dict(store=tmp_path / "s", tile=2, progress=False)
    hx.sweep(mine.f, {"x": np.arange(4.0)}, **options)
    (tmp_path / "mine.py").write_text("def f(x):\n    return 2 * x\n")
    linecache.clearcache()
    importlib.reload(mine)
    with pytest.raises(hx.ConfigMismatch, match="point.function .mine:f"):
        hx.sweep(mine.f, {"x": np.arange(4.0)}, **options)


# Names and places


@pytest.mark.parametrize(
    "name", ["", "..", "a..b", ".hidden", "a/b", "a\0b", "a b", "é", "x" * 101, "x"]
)
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="named|names both"):
        hx.sweep(lambda x: {name: x}, {"x": [1.0]}, store=tmp_path / "s", tag="t", progress=False)
    if name != "x":
        with pytest.raises(ValueError, match="an axis is named"):
            hx.sweep(lambda **names: 1.0, {name: [1.0]}, progress=False)
    assert {file.name for file in tmp_path.iterdir()} <= {"s"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_somebody_elses_folder_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(hx.StoreError, match="holds no sweep .*; nothing touched"):
        run(tmp_path, overwrite=overwrite)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(hx.StoreError, match="holds no sweep"):
        hx.open_sweep(tmp_path)


def test_places_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="is a file"):
            run(place)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="no permission to write"):
        run(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_bad_options(tmp_path, as_a_user_runs_it):
    for options, error, text in [
        (dict(chunk=0), ValueError, "`chunk`"),
        (dict(chunk="some"), TypeError, "`chunk`"),
        (dict(part=(2, 2)), ValueError, "0 <= k < n"),
        (dict(part=3), TypeError, r"`part` must be \(k, n\)"),
        (dict(store=None, part=(0, 2)), ValueError, "`part` needs a `store`"),
        (dict(store=None, resume="must"), ValueError, "`resume` needs a `store`"),
        (dict(store=None, overwrite=True), ValueError, "`overwrite` needs a `store`"),
        (dict(resume="must", overwrite=True), ValueError, "contradict"),
        (dict(part=(0, 2), overwrite=True), ValueError, "would delete what the others did"),
        (dict(store=3), TypeError, "`store` must be the name of a file or folder, got 3"),
        (dict(store=""), TypeError, "`store` must be the name of a file or folder, got ''"),
        (dict(devices=0), ValueError, "`devices` is 0, but this process has"),
        (dict(devices="cpu"), TypeError, "`devices` must be"),
        (dict(devices=len(jax.devices()) + 1), ValueError, "jax_num_cpu_devices"),
    ]:
        with pytest.raises(error, match=text):
            run(**dict(store=tmp_path / "s") | options)
    assert not (tmp_path / "s").exists()


def test_the_folder_inside_a_store_is_not_it(whole):
    with pytest.raises(hx.StoreError, match="Name the folder above it, .*store"):
        hx.open_sweep(whole / "data.zarr")


def test_a_complete_store_is_read_where_nothing_can_be_written(whole, monkeypatch):
    def locked(*arguments, **options):
        raise PermissionError

    monkeypatch.setattr(_store, "_locked", locked)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run(whole).load().identical(hx.open_sweep(whole).load())
