"""Sweeps: names, labels, what can be swept, and what is refused."""

import functools
import json

import jax
import jax.random as jr
import numpy as np
import points
import pytest
import zoo

import hopfax as hx
from hopfax._sweep._job import job_of

KAPPAS = np.array([3.0, 4.0, 5.0, 6.0, 7.0])
TRACES = []


def ends(trajectory):
    """An observable at module level, which notes when it is traced."""
    TRACES.append(1)
    return {"z": trajectory.final.saliency, "first": trajectory.switches.time[0]}


@functools.cache
def point(**options):
    network, _ = zoo.cycle(bias=0.02)
    return hx.Point(
        network,
        dict(saliency=[4.0, 0.0, 0.0]),
        np.linspace(0.0, 60.0, 7),
        observe=ends,
        method=zoo.fixed(),
        **options,
    )


@functools.cache
def grid_run():
    before = len(TRACES)
    ds = hx.sweep(point(), {"kappa": KAPPAS, "init.saliency[0]": [3.0, 4.0]}, tile=4)
    assert len(TRACES) == before + 1  # for three tiles
    return ds


@pytest.mark.slow
def test_a_sweep_is_a_labelled_loop():
    ds = grid_run()
    assert ds.z.dims == ("kappa", "init.saliency[0]", "z_0") and ds.sizes["kappa"] == 5
    assert ds.attrs["network"] == "TwoTimescaleHopfield" and ds.attrs["tile"] == 4
    assert json.loads(ds.attrs["settings"])["network.tau"] == 20.0
    assert (ds.status == 0).all() and ds.status.attrs["flag_meanings"].startswith("not_run ok")
    for kappa in (3.0, 6.0):
        for z0 in (3.0, 4.0):
            network, state = zoo.cycle(kappa=kappa, start=z0)
            alone = hx.simulate(network, state, np.linspace(0.0, 60.0, 7), method=zoo.fixed())
            here = ds.sel({"kappa": kappa, "init.saliency[0]": z0})
            np.testing.assert_allclose(here.z, alone.final.saliency, rtol=0, atol=1e-9)
            np.testing.assert_allclose(here["first"], alone.switches.time[0], rtol=0, atol=1e-9)


def test_zipped_elements_and_whole_arrays():
    A = np.asarray(hx.cyclic(3))
    grid = {("tau", "bias"): ([20.0, 30.0], [0.02, 0.03]), "transition": np.stack([A, 1.1 * A])}
    ds = hx.sweep(point(), grid, tile=4)
    assert ds.z.dims[:2] == ("tau+bias", "transition")
    assert ds.tau.dims == ("tau+bias",) and ds.transition_value.shape == (2, 3, 3)
    network, state = zoo.cycle(tau=30.0, bias=0.03)
    network = hx.TwoTimescaleHopfield(network.patterns, 1.1 * A, kappa=5.0, tau=30.0, bias=0.03)
    alone = hx.simulate(
        network, network.init(saliency=[4.0, 0, 0]), np.linspace(0.0, 60.0, 7), method=zoo.fixed()
    )
    np.testing.assert_allclose(ds.z.values[1, 1], alone.final.saliency, rtol=0, atol=1e-9)


def test_any_function_can_be_swept():
    calls = []

    def function(x, y):
        calls.append(1)
        return {"sum": x + y, "nested": {"product": x * y}}

    ds = hx.sweep(function, {"x": np.arange(5.0), "y": np.arange(300.0)})
    np.testing.assert_array_equal(ds["sum"], np.add.outer(np.arange(5.0), np.arange(300.0)))
    np.testing.assert_array_equal(ds["nested_product"][2], 2 * np.arange(300.0))
    assert len(calls) == 1  # one trace for six tiles
    theory = hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [3.0, 5.0]})
    assert np.isnan(theory.upper[0]) and (theory.status == 0).all()  # no solution is an answer
    np.testing.assert_allclose(theory.upper[1], (5 + 5**0.5) / 2)


def test_a_sweep_of_runs_is_traced_once():
    grid_run()
    before = len(TRACES)
    hx.sweep(point(), {"kappa": np.linspace(2.0, 5.0, 7), "init.saliency[0]": [2.0]}, tile=4)
    assert len(TRACES) == before  # other values, same shapes


def test_random_points_do_not_depend_on_the_grid():
    one = hx.sweep(points.draw, {"scale": np.ones(10)}, key=jr.key(0), tile=3)
    two = hx.sweep(points.draw, {"scale": np.ones(7)}, key=jr.key(0), tile=5)
    assert (one.value.values[:7] == two.value.values).all()
    assert len(np.unique(one.value)) == 10
    with pytest.raises(ValueError, match="pass sweep.*key"):
        hx.sweep(points.draw, {"scale": np.ones(3)})


def test_an_empty_axis_gives_an_empty_dataset():
    ds = hx.sweep(point(), {"kappa": [], "init.saliency[0]": [3.0, 4.0]})
    assert ds.z.shape == (0, 2, 3) and set(ds.data_vars) == {"z", "first", "status", "steps"}


@pytest.mark.parametrize(
    ("grid", "error", "text"),
    [
        ({"kapa": [1.0]}, ValueError, "unknown parameter 'kapa'; did you mean 'kappa'"),
        ({"init.saliencies[0]": [1.0]}, ValueError, "did you mean 'init.saliency'"),
        (
            {"init.saliency[3]": [1.0]},
            ValueError,
            r"`init.saliency` has shape \(3,\)",
        ),
        ({"transition[0]": [1.0]}, ValueError, r"`transition` has shape \(3, 3\)"),
        ({("kappa", "tau"): ([1.0, 2.0], [1.0])}, ValueError, "'kappa': 2, 'tau': 1"),
        ({("kappa", "tau"): ([1.0],)}, ValueError, "2 names but 1 lists"),
        ({"kappa": 5.0}, ValueError, r"write \[5.0\]"),
        ({"kappa": ["a"]}, TypeError, "must hold real numbers"),
        ({"kappa": [1.0], ("kappa", "tau"): ([1.0], [1.0])}, ValueError, "on two axes"),
        ({}, ValueError, "non-empty dict"),
        ({"kappa": np.ones((2, 4))}, ValueError, r"values of shape \(4,\)"),
        ({"kappa": np.zeros(70000), "tau": np.zeros(70000)}, ValueError, "4900000000 points"),
    ],
)
def test_bad_grids(grid, error, text):
    with pytest.raises(error, match=text):
        hx.sweep(point(), grid)


def test_bad_options_and_functions():
    with pytest.raises(ValueError, match="`tile`"):
        hx.sweep(point(), {"kappa": [1.0]}, tile=0)
    with pytest.raises(ValueError, match="no `noise`"):
        hx.sweep(point(), {"kappa": [1.0]}, key=jr.key(0))
    with pytest.raises(ValueError, match="unknown parameter 'z'; did you mean"):
        hx.sweep(lambda x, y: x, {"z": [1.0]})
    with pytest.raises(ValueError, match="`per_tau`"):
        patterns = hx.patterns.hadamard(2, 8)
        hx.Point(hx.Hopfield(patterns), dict(weights=[1.0, 0]), [0.0, 1.0], per_tau=True)
    noisy = hx.Point(point().network, dict(saliency=[4.0, 0, 0]), [0.0, 1.0], noise=0.1)
    with pytest.raises(ValueError, match="`noise` needs sweep"):
        hx.sweep(noisy, {"kappa": [1.0]})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_network():
    """A tile holds the patterns once (0.4 MB here), and no field of all neurons for each lane."""
    network, _ = zoo.cycle(P=3, N=2**14)
    big = hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), np.linspace(0.0, 60.0, 7))
    job = job_of(big, {"kappa": np.linspace(3.0, 7.0, 256)}, None, 256)
    memory = job.program(jax.devices()[:1]).memory
    assert memory < 5e6, "one field for each of the 256 lanes would be 34 MB"


def test_a_plot_of_xarray_names_the_regimes(tmp_path):
    """As `ds.regime.plot()` labels its bar of colours; in memory and from a store alike."""
    from matplotlib import pyplot as plt

    network, _ = zoo.cycle()
    start = dict(saliency=[4.0, 0.0, 0.0])
    point = hx.Point(network, start, np.linspace(0.0, 100.0, 51))
    grid = {"kappa": [1.0, 5.0], "init.saliency[0]": [2.0, 4.0]}
    here = hx.sweep(point, grid)
    there = hx.sweep(point, grid, store=tmp_path / "store").load()
    assert here.regime.attrs["long_name"] == there.regime.attrs["long_name"]
    drawn = here.regime.plot()  # type: ignore[operator]
    text = " ".join(drawn.colorbar.ax.get_ylabel().split())
    assert text.startswith("regime: 0 sequence, 1 collapse, 2 locked")
    assert "0 ok, 1 max_steps" in there.status.attrs["long_name"]
    plt.close("all")
