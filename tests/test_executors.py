"""Sweeps by other processes: the same files, whoever computes them and whoever dies."""

import concurrent.futures
import multiprocessing
import os

import jax.random as jr
import points
import pytest
import xarray as xr
from helpers import ROOT, run_python

import hopfax as hx
from hopfax._sweep import _store

pytestmark = pytest.mark.filterwarnings(r"ignore:\d+ of \d+ points failed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What this process stores by itself."""
    store = tmp_path_factory.mktemp("whole") / "store"
    hx.sweep(points.wave, points.GRID, store=store, **points.OPTIONS)
    return store


@pytest.fixture
def elsewhere(monkeypatch):
    """Processes started now find the tests' modules and settings."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), str(ROOT)]))
    monkeypatch.setenv("JAX_NUMPY_DTYPE_PROMOTION", "strict")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


def test_threads_of_an_executor(whole, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ds = hx.sweep(
            points.wave, points.GRID, store=tmp_path / "s", executor=pool, **points.OPTIONS
        )
    assert points.files_of(tmp_path / "s") == points.files_of(whole)
    xr.testing.assert_identical(ds.load(), hx.open_sweep(whole).load())


def test_randomness_travels(tmp_path):
    grid, options = {"scale": [1.0] * 12}, dict(tile=4, chunk=4, progress=False)
    here = hx.sweep(points.draw, grid, key=jr.key(3), **options)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        there = hx.sweep(
            points.draw, grid, key=jr.key(3), store=tmp_path / "s", executor=pool, **options
        )
    assert (here.value.values == there.value.values).all()


@pytest.mark.slow
def test_processes_one_of_which_is_killed(whole, tmp_path, elsewhere, monkeypatch):
    """The one that gets block 20; the other has at most one of the first 20 in hand then."""
    # Stopped while they write a compiled program, they would leave half of it for everybody.
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
    options = dict(store=tmp_path / "store", **points.OPTIONS | dict(chunk=8))
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=spawn, initializer=points.dies_once, initargs=(20, tmp_path / "killed")
    ) as pool:
        with pytest.raises(concurrent.futures.BrokenExecutor) as caught:
            hx.sweep(points.wave, points.GRID, executor=pool, **options)
    note = caught.value.__notes__[0]
    assert "of 48 blocks are stored" in note and "run the same sweep again" in note
    assert 19 <= int(note.split()[0]) < 48
    ds = hx.sweep(points.wave, points.GRID, **options)
    xr.testing.assert_identical(ds.load(), hx.open_sweep(whole).load())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what a cluster says of killed workers and busy ports
def test_dask_with_a_worker_that_is_killed(tmp_path, elsewhere):
    """A network, on a cluster: the killed worker costs nothing but time, and no bit."""
    distributed = pytest.importorskip("distributed")
    # First, so that the workers find the compiled program in the cache of the tests.
    straight = hx.sweep(points.network_point(), points.NETWORK_GRID, **points.NETWORK_OPTIONS)
    killed = tmp_path / "killed"
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        client.run(points.dies_once, 4, killed)
        ds = hx.sweep(
            points.network_point(),
            points.NETWORK_GRID,
            store=tmp_path / "store",
            chunk=32,
            executor=client,
            **points.NETWORK_OPTIONS,
        ).load()
    assert killed.exists()
    xr.testing.assert_identical(ds, straight)


def test_what_is_no_executor_is_refused(tmp_path):
    options = dict(store=tmp_path / "s", **points.OPTIONS)
    with pytest.raises(
        TypeError, match="`executor` must be a concurrent.futures.Executor or a dask"
    ):
        hx.sweep(points.wave, points.GRID, executor=4, **options)
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=fork) as pool:
        with pytest.raises(ValueError, match="by fork, in which JAX hangs.*spawn"):
            hx.sweep(points.wave, points.GRID, executor=pool, **options)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="`executor` needs a `store`"):
            hx.sweep(points.wave, points.GRID, executor=pool, **points.OPTIONS)
        with pytest.raises(ValueError, match="`devices` are those of this process"):
            hx.sweep(points.wave, points.GRID, executor=pool, devices=1, **options)


def test_an_error_in_a_worker_comes_back(tmp_path, monkeypatch):
    def broken(self, *arguments):
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(_store.Store, "write", broken)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with pytest.raises(OSError, match="the disk is gone"):
            hx.sweep(
                points.wave, points.GRID, store=tmp_path / "s", executor=pool, **points.OPTIONS
            )


DEVICES = """
import points
points.use_double()
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
import hopfax as hx

def bits(devices, chunk):
    ds = hx.sweep(points.network_point(), points.NETWORK_GRID, devices=devices, chunk=chunk,
                  **points.NETWORK_OPTIONS)
    return {name: ds[name].values for name in ds.data_vars}

one = bits(1, 320)
for devices, chunk in ((1, 64), (2, 48), (jax.devices()[::-1], 100)):
    other = bits(devices, chunk)
    for name in one:
        assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f"), name
print(one["dwell"].tobytes().hex())
"""


@pytest.mark.slow
def test_one_two_and_four_devices_give_the_same_bits(elsewhere):
    there = bytes.fromhex(run_python(DEVICES))
    here = hx.sweep(points.network_point(), points.NETWORK_GRID, **points.NETWORK_OPTIONS)
    assert here.dwell.values.tobytes() == there
