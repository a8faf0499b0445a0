"""Stored sweeps among careless hands and strangers: what is ours to remove, what is shown of a
store that is being written, what a marker proves, and what is read of a store from elsewhere."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import attacks
import jax
import numpy as np
import points
import pytest
import xarray as xr
from helpers import ROOT

import hopfax as hx
from hopfax._files import sealed, unsealed
from hopfax._sweep import _locks, _open, _plan, _run, _store

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.filterwarnings(r"ignore:\d+ of \d+ points failed")


def run(store, grid=points.GRID, **options):
    return hx.sweep(points.wave, grid, store=store, **points.OPTIONS | options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "store"
    run(place)
    return place


@pytest.fixture
def store(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


def everything(folder):
    """All files of a folder but locks, with their contents."""
    files = (file for file in folder.rglob("*") if file.is_file() and "lock" not in file.name)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


OTHER = {"x": points.GRID["x"][:4], "y": points.GRID["y"]}


# Whose is it?


def without_manifest(store):
    (store / "sweep.json").unlink()


def with_the_manifest_of_another_program(store):
    (store / "sweep.json").write_text('{"sweep": ["weights", "biases"]}')


def with_a_left_over_lock(store):
    without_manifest(store)
    (store / ".writer.lock").write_text("")


def with_a_folder_for_a_manifest(store):
    without_manifest(store)
    (store / "sweep.json").mkdir()


def with_deep_json(store):
    (store / "sweep.json").write_text('{"schema": ' + "[" * 10**5)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        without_manifest,
        with_the_manifest_of_another_program,
        with_a_left_over_lock,
        with_a_folder_for_a_manifest,
        with_deep_json,
    ],
)
def test_what_no_manifest_lists_is_not_ours(store, change, overwrite):
    (store / "inputs.npz").write_text("theirs")
    change(store)
    before = everything(store)
    for grid in (OTHER, points.GRID):
        with pytest.raises(hx.StoreError, match="nothing touched"):
            run(store, grid, overwrite=overwrite)
    with pytest.raises(hx.StoreError):
        hx.open_sweep(store, partial=True)
    assert everything(store) == before


@pytest.mark.parametrize("name", ["data.zarr/mine/zarr.json", "done/notes.txt", "inputs.npz"])
def test_a_file_among_ours_keeps_the_sweep_from_being_replaced(store, name):
    (store / name).parent.mkdir(exist_ok=True)
    (store / name).write_text("theirs")
    before = everything(store)
    with pytest.raises(hx.StoreError, match=f"{name} does not belong .* nothing touched"):
        run(store, OTHER, overwrite=True)
    assert everything(store) == before


def test_a_file_beside_ours_stays(store):
    (store / "thesis.tex").write_text("all of it")
    (store / "done.tmp").write_text("theirs")
    run(store, OTHER, overwrite=True)
    assert hx.open_sweep(store).sizes["x"] == 4
    assert (store / "thesis.tex").read_text() == "all of it" and (store / "done.tmp").exists()


def test_links_are_not_followed(store, tmp_path):
    """The data were moved to a larger disk."""
    (store / "data.zarr").rename(tmp_path / "large")
    (store / "data.zarr").symlink_to(tmp_path / "large")
    before = everything(tmp_path / "large")
    with pytest.raises(hx.StoreError, match="data.zarr does not belong"):
        run(store, OTHER, overwrite=True)
    assert everything(tmp_path / "large") == before


def test_a_store_is_removed_with_what_it_lists_and_nothing_else(store, tmp_path):
    shutil.copytree(store, tmp_path / "other")
    (tmp_path / "other" / "thesis.tex").write_text("all of it")
    for place in (store, tmp_path / "other"):
        _store.Store(place).remove()
    assert not store.exists()
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    with pytest.raises(hx.StoreError, match="holds no sweep; nothing touched"):
        _store.Store(tmp_path / "other").remove()


def test_inputs_of_somebody_else_are_not_written_over(store):
    (store / "done" / "00000003.json").unlink()
    np.savez(store / "inputs.npz", np.arange(3))
    before = everything(store)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(hx.StoreError, match="inputs.npz was not written by this sweep"):
            run(store, executor=executor)
        assert everything(store) == before
        (store / "inputs.npz").unlink()
        run(store, executor=executor)
        (store / "done" / "00000003.json").unlink()
        run(store, executor=executor)  # its own it may write again


# Read while it is written


def test_what_is_opened_is_one_state_of_the_store(store, whole):
    """Whatever is written, repaired or lost before its values are looked at."""
    for k in (1, 4):
        (store / "done" / f"{k:08d}.json").unlink()
    opened = hx.open_sweep(store, partial=True)
    for k in (1, 4):  # complete by now
        shutil.copy(whole / "done" / f"{k:08d}.json", store / "done")
    first = opened.load()
    missing = (first.status == -1).values
    assert missing[4:8].all() and missing[16:20].all() and missing.sum() == 128
    for name in ("value", "powers"):
        bad = (np.isnan(first[name].values).reshape(24, 16, -1)).any(-1)
        assert (bad == (first.status.values != 0)).all()
    assert hx.open_sweep(store).load().identical(hx.open_sweep(whole).load())


def damaged_file(store):
    file = store / "data.zarr" / "value" / "c" / "2" / "0"
    content = bytearray(file.read_bytes())
    content[9] ^= 4
    file.write_bytes(content)


LATER = {
    "a marker goes": lambda store: (store / "done" / "00000002.json").unlink(),
    "a file goes": lambda store: (store / "data.zarr/value/c/2/0").unlink(),
    "a bit flips": damaged_file,
    "the sweep is replaced": lambda store: run(store, OTHER, overwrite=True),
}


@pytest.mark.parametrize("later", LATER)
def test_what_is_lost_later_is_blank_or_an_error(store, later):
    partial, complete = hx.open_sweep(store, partial=True), hx.open_sweep(store)
    LATER[later](store)
    gone = slice(8, 12)
    assert np.isnan(partial.value[gone]).all()
    with pytest.raises(hx.StoreCorrupt, match=r"value/c/2/0 has been changed, .* was opened"):
        complete.value[gone].load()
    assert (partial.status[gone] == -1).all()


@pytest.mark.parametrize("later", LATER)
def test_a_block_is_shown_as_a_whole_or_not_at_all(store, later):
    opened = hx.open_sweep(store, partial=True)
    assert (opened.status[8:12].values == 0).sum() > 32
    LATER[later](store)
    with pytest.raises(hx.StoreCorrupt, match="since the sweep was opened"):
        opened.value[8:12].load()


def test_a_store_that_is_replaced_while_it_is_opened_is_said(store, monkeypatch):
    opened = _open.dataset_of

    def replaced(*arguments):
        shutil.rmtree(store / "data.zarr")
        return opened(*arguments)

    monkeypatch.setattr(_open, "dataset_of", replaced)
    with pytest.raises(hx.StoreError, match="was replaced or removed while it was opened"):
        hx.open_sweep(store)


def test_no_reader_ever_sees_half_a_block(tmp_path):
    """Readers beside a writer: wherever the status is 0, all values are there."""
    looks, over = [], threading.Event()

    def look():
        while not over.is_set():
            try:
                opened = hx.open_sweep(tmp_path / "store", partial=True)
                status, values = opened.status.values, opened.value.values
            except hx.StoreError:  # none yet, or replaced meanwhile
                continue
            looks.append((status == 0).sum())
            assert not np.isnan(values[status == 0]).any()
            assert np.isnan(values[status == -1]).all()

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(look)
        for _ in range(3):
            run(tmp_path / "store", chunk=8, overwrite=(tmp_path / "store").exists())
        over.set()
        reader.result()
    assert len(looks) > 3


def test_an_opened_store_can_be_sent_to_a_worker(store):
    opened = pickle.loads(pickle.dumps(hx.open_sweep(store)))
    assert opened.load().identical(hx.open_sweep(store).load())


# Markers


def marker(store, k):
    return store / "done" / f"{k:08d}.json"


def test_a_marker_never_records_a_file_that_is_not_there(store, monkeypatch):
    """As when two processes write one block: a requeued task of a job array."""
    marker(store, 2).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(_store, "checksum", lambda file: [-1, 0])
        patched.setattr(_store.Store, "damaged", lambda self, manifest: [])
        with pytest.raises(hx.StoreError, match="was written, but is not there.* Run the same"):
            run(store)
    assert not marker(store, 2).exists()
    run(store)
    # one that an earlier version left
    found = unsealed(marker(store, 2).read_bytes())
    (store / "data.zarr/value/c/2/0").unlink()
    marker(store, 2).write_bytes(sealed(found | {"files": found["files"] | {"value": [-1, 0]}}))
    with pytest.raises(hx.StoreCorrupt, match="is damaged: 5 of 6"):
        hx.open_sweep(store)
    run(store)
    assert hx.open_sweep(store).status.shape == (24, 16)


def test_swapped_blocks_are_told(store, whole):
    """All files of two blocks, markers too."""
    files = [path.replace("/2/", "/{}/") for path in everything(store) if "/c/2/" in path]
    for path in (*files, "done/0000000{}.json"):
        one, other = store / path.format(2), store / path.format(3)
        kept = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(kept)
    with pytest.raises(hx.StoreCorrupt, match=r"done/00000002.json is damaged, and 1 more"):
        hx.open_sweep(store)
    run(store)
    assert points.files_of(store) == points.files_of(whole)


def test_every_flipped_bit_of_a_marker_is_blamed_on_it(store):
    file, opened = marker(store, 2), _store.Store(store)
    manifest, content = opened.manifest(), file.read_bytes()
    for k in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[k // 8] ^= 1 << k % 8
        file.write_bytes(bytes(flipped))
        if opened.done(manifest, 2) is None:  # or a blank became another blank
            assert opened.damage(manifest, 2) == file


@pytest.mark.parametrize("name", ["done/00000002.json", "data.zarr/value/c/2/0"])
def test_a_folder_in_the_place_of_a_file_is_named(store, name):
    (store / name).unlink()
    (store / name).mkdir()
    with pytest.raises(hx.StoreCorrupt, match=f"{name} is damaged"):
        hx.open_sweep(store)
    with pytest.raises(hx.StoreCorrupt, match=f"{name} must be a file, but is a folder.* away"):
        run(store)
    (store / name).rmdir()
    run(store)
    assert hx.open_sweep(store).status.shape == (24, 16)


@pytest.mark.parametrize("name", ["done/00000002.json", "data.zarr/value/c/2/0", "data.zarr/x/c/0"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(store, name):
    (store / name).unlink()
    os.mkfifo(store / name)
    with pytest.raises(hx.StoreCorrupt, match=f"{name} is damaged"):
        hx.open_sweep(store)


# Stores from elsewhere


def crafted(store, change):
    """A store whose manifest fits, with another description of its variable `value`."""
    file = store / "data.zarr" / "value" / "zarr.json"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))
    (store / "data.zarr" / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})
    )
    manifest = unsealed((store / "sweep.json").read_bytes())
    for name in manifest["files"]:
        manifest["files"][name] = _store.checksum(store / name)
    (store / "sweep.json").write_bytes(sealed(manifest))


def codec(name):
    return lambda found: found.update(codecs=[{"name": name, "configuration": {"id": "pickle"}}])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (codec("numcodecs.pickle"), "codec 'numcodecs.pickle'"),
        (codec("sharding_indexed"), "codec 'sharding_indexed'"),
        (lambda found: found.update(zarr_format=2), "format 2"),
        (lambda found: found.update(data_type="variable_length_bytes"), "only numbers"),
        (lambda found: found.update(storage_transformers=[{"name": "x"}]), "transformers"),
        (lambda found: found.clear(), "zarr_format"),
    ],
)
def test_a_crafted_store_is_refused_before_zarr_sees_it(store, monkeypatch, change, named):
    crafted(store, change)
    monkeypatch.setattr(xr, "open_zarr", None)
    with pytest.raises(hx.StoreCorrupt, match=f"value/zarr.json is damaged or not to .*{named}"):
        hx.open_sweep(store, partial=True)


def test_a_zarr_of_format_2_with_a_pickle_runs_nothing(store, tmp_path):
    """The codec of numcodecs that unpickles what it decodes."""
    flag = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return open, (str(flag), "w")

    shutil.rmtree(store / "data.zarr" / "value")
    (store / "data.zarr" / "value").mkdir()
    described = {
        **dict(zarr_format=2, shape=[1], chunks=[1], dtype="|O", order="C", fill_value=None),
        **dict(compressor=None, filters=[{"id": "pickle", "protocol": 4}]),
    }
    (store / "data.zarr" / "value" / ".zarray").write_text(json.dumps(described))
    (store / "data.zarr" / "value" / "0").write_bytes(pickle.dumps(np.array([Payload()], object)))
    manifest = unsealed((store / "sweep.json").read_bytes())
    manifest["files"] = {
        "data.zarr/value/.zarray": _store.checksum(store / "data.zarr/value/.zarray")
    }
    (store / "sweep.json").write_bytes(sealed(manifest))
    with pytest.raises(hx.StoreCorrupt, match="zarr's format 2; only format 3"):
        hx.open_sweep(store, partial=True)
    assert not flag.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../outside": [1, 1]}},
        {"files": {"data.zarr/../../outside": [1, 1]}},
        {"files": {"data.zarr/x": ["1", 1]}},
        {"variables": [["../../value", [], "float64"]]},
        {"variables": [["value", [], "object"]]},
        {"variables": [["value", [-1], "float64"]]},
        {"shape": [24]},
        {"shape": [24, "16"]},
        {"block": [0, 16]},
        {"config": None},
    ],
)
def test_a_crafted_manifest_is_refused(store, change):
    (store.parent / "outside").write_text("precious")
    manifest = unsealed((store / "sweep.json").read_bytes())
    (store / "sweep.json").write_bytes(sealed(manifest | change))
    for action in (hx.open_sweep, run, lambda place: run(place, OTHER, overwrite=True)):
        with pytest.raises(hx.StoreCorrupt, match="sweep.json"):
            action(store)
    assert (store.parent / "outside").exists()


# Locks


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, code, whole):
    def none(file, kind):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(hx.SweepWarning, match=r"has no locks .* one process at a time .* `part="):
        run(tmp_path / "store")
    assert points.files_of(tmp_path / "store") == points.files_of(whole)


@pytest.mark.parametrize("part", [None, (0, 1), (0, 2)])
def test_locks_hold_over_nfs(tmp_path, monkeypatch, part):
    """There a lock is one on bytes: sharing it needs a file open for reading, holding it alone one
    open for writing; EBADF otherwise."""
    real = fcntl.flock

    def flock(file, kind):
        flags = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        needed = os.O_RDONLY if kind & fcntl.LOCK_SH else os.O_WRONLY
        if flags not in (needed, os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    found = run(tmp_path / "store", part=part)
    assert (found.status != -1).sum() == (192 if part == (0, 2) else 384)


def test_other_errors_of_locks_come_out(tmp_path, monkeypatch):
    def broken(file, kind):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"):
        run(tmp_path / "store")


def test_workers_of_a_run_that_lost_the_store_write_no_more(store):
    with _locks.writer(store, shared=False) as first:
        with _locks.worker(store, first):
            pass
    with _locks.writer(store, shared=False):
        with pytest.raises(RuntimeError, match="another process has taken over"):
            with _locks.worker(store, first):
                raise AssertionError
    with _locks.writer(store, shared=True) as part, _locks.writer(store, shared=True) as other:
        for name in (part, other):
            with _locks.worker(store, name):
                pass


def test_whoever_takes_over_waits_for_the_last_worker(store):
    with _locks.writer(store, shared=False) as first:
        pass
    order, begun = [], threading.Event()

    def works():
        with _locks.locked(store / ".workers.lock", shared=True, wait=True):
            begun.set()
            threading.Event().wait(0.2)
            order.append("worker")

    thread = threading.Thread(target=works)
    thread.start()
    begun.wait()
    with _locks.writer(store, shared=False) as second:
        order.append("writer")
    thread.join()
    assert order == ["worker", "writer"] and first != second


ORPHANS = """
import multiprocessing, os, signal, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
import hopfax as hx
import points

if __name__ == "__main__":
    points.use_double()
    store = sys.argv[1]

    def kill():
        while len(os.listdir(store + "/done")) < 2 if os.path.isdir(store + "/done") else True:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        hx.sweep(points.wave, points.GRID, store=store, executor=executor,
                 **points.OPTIONS | dict(chunk=8))
"""


@pytest.mark.slow
def test_orphans_do_not_write_into_the_sweep_that_follows(tmp_path, whole):
    """The driver is killed, its worker lives on; another sweep takes the folder."""
    script, store = tmp_path / "orphans.py", tmp_path / "store"
    script.write_text(ORPHANS)
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, script, store],
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )
    try:
        assert process.wait() == -signal.SIGKILL
        run(store, OTHER, overwrite=True)
        assert hx.open_sweep(store).load().identical(run(None, OTHER))
        assert _store.Store(store).marked(_store.Store(store).manifest()) == [0]
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its worker


def test_the_last_part_removes_what_killed_ones_left_half_written(store):
    for k in (2, 3):
        (store / "done" / f"{k:08d}.json").unlink()
    left = store / "data.zarr" / "value" / "c" / "3" / f"0.{'0' * 32}.partial"
    left.write_text("half")
    run(store, part=(0, 2))
    assert left.exists()  # somebody may be writing it
    run(store, part=(1, 2))
    assert not left.exists()


def test_a_store_that_is_removed_while_it_is_written_promises_nothing(tmp_path, monkeypatch):
    write = _store.Store.write

    def removed(self, manifest, k, *rest):
        shutil.rmtree(tmp_path / "store")
        write(self, manifest, k, *rest)

    monkeypatch.setattr(_plan, "workers_of", lambda devices: 1)
    monkeypatch.setattr(_store.Store, "write", removed)
    with pytest.raises(Exception) as caught:
        run(tmp_path / "store")
    assert "was removed while the sweep ran: nothing can be resumed" in caught.value.__notes__[0]


# Global state


@pytest.mark.parametrize("wide", [True, False])
def test_double_precision_of_a_context_reaches_the_threads(tmp_path, wide):
    with jax.enable_x64(wide):
        memory = hx.sweep(points.wave, points.GRID, **points.OPTIONS)
        stored = run(tmp_path / "store")
        with ThreadPoolExecutor(2) as executor:
            by_others = run(tmp_path / "other", executor=executor)
            assert executor.submit(lambda: jax.config.read("jax_enable_x64")).result()  # as before
    assert memory.value.dtype == ("float64" if wide else "float32")
    assert stored.load().identical(memory) and by_others.load().identical(memory)
    assert jax.config.read("jax_enable_x64")  # the tests have it


# Ctrl-C


def press():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100):  # Python looks for signals between two steps
        pass


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("becomes", ["nothing", "another error"])
def test_ctrl_c_that_a_callback_swallows_is_raised(
    tmp_path, monkeypatch, interruptible, becomes, stored
):
    prepare = _plan.prepare

    def swallowing(*arguments):
        try:
            press()
        except KeyboardInterrupt:
            if becomes == "another error":
                raise RuntimeError("INTERNAL: callback failed") from None
        return prepare(*arguments)

    monkeypatch.setattr(_run, "prepare", swallowing)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "store" if stored else None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if stored:
        monkeypatch.undo()
        run(tmp_path / "store")


def test_ctrl_c_that_somebody_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# Mutations


def test_no_mutation_of_a_store_goes_wrong_silently(whole, tmp_path):
    seen = attacks.stores(whole, tmp_path, 2 * len(attacks.KINDS), run)
    assert seen["refused"] > 10 and seen["mended"] > 10
