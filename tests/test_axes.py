"""What can be an axis: inputs, starts, entries, what a point lacks, and what points are made of."""

import concurrent.futures
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import recipes
import xarray as xr
import zoo
from scipy import stats

import hopfax as hx
from hopfax._misc import wilson
from hopfax.plots._cycle import cycle_of

TIMES = np.linspace(0.0, 20.0, 5)


def last_overlaps(run):
    """Overlaps at the end."""
    return {"m": run.overlaps[-1], "all": run.overlaps}


def driven(**options) -> Any:
    """An input-driven network, for which nothing but its stimulus decides."""
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.InputDrivenHopfield(patterns)
    options = dict(observe=last_overlaps, stimulus=dict(weights=[2.0, 0.0, 0.0])) | options
    return hx.Point(network, dict(weights=[0.3, 0.3, 0.0]), TIMES, **options)


def alone(network, weights, stimulus, **options):
    """The overlaps at the end of one run."""
    start = network.init(weights=weights)
    return hx.simulate(network, start, TIMES, stimulus=stimulus, **options).overlaps[-1]


@pytest.mark.slow
def test_inputs_and_gains_are_axes():
    point = driven()
    patterns = point.network.patterns
    ds = hx.sweep(point, {"stimulus.weights[1]": [0.0, 3.0], "gain": [1.0, 2.0]})
    assert ds.m.dims == ("stimulus.weights[1]", "gain", "m_0")
    for i, weight in enumerate((0.0, 3.0)):
        for k, gain in enumerate((1.0, 2.0)):
            network = hx.InputDrivenHopfield(patterns, activation=hx.HardTanh(gain))
            stimulus = patterns.field(jnp.array([2.0, weight, 0.0]))
            expected = alone(network, [0.3, 0.3, 0.0], stimulus)
            np.testing.assert_allclose(ds.m[i, k], expected, rtol=0, atol=1e-9)  # the solver's tol


@pytest.mark.slow
def test_a_stimulus_and_a_current_as_arrays_and_as_one_number():
    point = driven(stimulus=2 * np.asarray(hx.patterns.hadamard(3, 16).xi[1]))
    xi = np.asarray(point.network.patterns.xi)
    grid = {"stimulus": np.stack([2 * xi[0], 3 * xi[1]]), "current": [0.0, 1.5]}
    ds = hx.sweep(point, grid)
    assert ds.attrs["driven"] == 1 and ds.stimulus_value.shape == (2, 16)
    for i in range(2):
        expected = alone(point.network, [0.3, 0.3, 0.0], grid["stimulus"][i], current=1.5)
        np.testing.assert_allclose(ds.m[i, 1], expected, rtol=0, atol=1e-9)  # the solver's tol
        every = alone(point.network, [0.3, 0.3, 0.0], grid["stimulus"][i], current=np.full(16, 1.5))
        np.testing.assert_array_equal(expected, every)
    assert abs(ds.m[:, 1] - ds.m[:, 0]).max() > 0.1


@pytest.mark.parametrize(
    ("name", "value", "entries"),
    [
        ("transition[i,i]", 0.5, {(0, 0): 0.5, (1, 1): 0.5, (2, 2): 0.5}),
        ("transition[1,0]", 0.5, {(1, 0): 0.5}),
        ("transition[i,0]", [0.1, 0.2, 0.3], {(0, 0): 0.1, (1, 0): 0.2, (2, 0): 0.3}),
        ("transition[0,-1]", 0.5, {(0, 2): 0.5}),
    ],
)
def test_letters_in_brackets_stand_for_all_places(name, value, entries):
    network, _ = zoo.cycle()
    point: Any = hx.Point(network, dict(saliency=4.0), TIMES)
    expected = np.array(hx.cyclic(3))
    for place, entry in entries.items():
        expected[place] = entry
    np.testing.assert_array_equal(point.with_values({name: value}).network.transition, expected)


def test_names_are_found_by_their_last_word_and_what_is_missing_has_one():
    network, _ = zoo.cycle()
    point: Any = hx.Point(network, dict(saliency=4.0), TIMES)
    assert {"init.saliency", "activation.gain", "noise", "current", "stimulus"} <= set(
        point.names()
    )
    assert (
        "stimulus"
        not in hx.Point(zoo.networks()["Hopfield"].network, dict(weights=1.0), TIMES).names()
    )
    changed: Any = point.with_values(
        {"saliency": 2.0, "noise": 0.1, "current[3]": 1.0, "gain": 3.0}
    )
    assert changed.init["saliency"] == 2.0 and changed.noise == 0.1
    np.testing.assert_array_equal(changed.current, np.eye(16)[3])
    assert changed.network.activation.gain == 3.0
    pulses = hx.Pulses([0.0, 1.0], np.ones((1, 16)))
    both = hx.Point(network, dict(saliency=4.0), [0.0, 1.0], stimulus=pulses, current=pulses)
    assert {"stimulus.values", "current.edges"} <= set(both.names())
    with pytest.raises(ValueError, match="'values'; it|may be 'stimulus.values' and 'current"):
        both.with_values({"values": 1.0})
    with pytest.raises(ValueError, match=r"'transition\[i,3\]' does not exist"):
        point.with_values({"transition[i,3]": 1.0})
    with pytest.raises(ValueError, match="'P' says how the network is made.*Recipe"):
        point.with_values({"P": 3})
    with pytest.raises(ValueError, match="`stimulus` must be an array.*a dict of \\['weight'\\]"):
        driven(stimulus=dict(weight=1.0))


@pytest.mark.parametrize("name", ["field", "weights"])
def test_one_number_starts_every_neuron_or_memory_alike(name):
    for specimen in (zoo.networks()["Hopfield"], zoo.networks()["DenseFlow"]):
        network = specimen.network
        size = network.patterns.N if name == "field" else network.patterns.P
        some, every = (network.init(**{name: v}) for v in (0.2, np.full(size, 0.2)))
        np.testing.assert_array_equal(some.field, every.field)
    rate = zoo.rate_networks()["TwoTimescaleRateMemory"].network
    one = rate.init(saliency=0.5, rates=0.2)
    np.testing.assert_array_equal(one.rates, np.full(rate.patterns.N, 0.2))
    np.testing.assert_array_equal(one.saliency, np.full(rate.patterns.P, 0.5))
    memory = zoo.maps()["DenseMemory"]
    stimuli = (0.1, np.full(memory.network.patterns.N, 0.1))
    runs = [hx.iterate(memory.network, memory.state, 2, stimulus=u) for u in stimuli]
    np.testing.assert_array_equal(runs[0].overlaps, runs[1].overlaps)


def test_dimensions_keep_the_names_that_one_gives_them(tmp_path):
    names = {"m": "memory", "all": ("time", "memory")}
    grid = {"stimulus.weights[1]": [0.0, 3.0], "gain": [1.0, 2.0]}
    ds = hx.sweep(driven(), grid, dims=names, store=tmp_path / "s")
    assert ds.m.dims[2:] == ("memory",) and ds["all"].dims[2:] == ("time", "memory")
    there = hx.open_sweep(tmp_path / "s")
    assert there.load().identical(ds.load())
    for bad, text in [
        ({"q": "x"}, "`dims` names 'q'; the points return"),
        ({"m": ("a", "b")}, r"'m' has shape \(3,\).* needs 1 names"),
        ({"m": "gain"}, "'gain' is the name of an axis"),
        ({"m": "x", "all": ("x", "y")}, "'x' would have both 5 and 3"),
    ]:
        with pytest.raises(ValueError, match=text):
            hx.sweep(driven(), grid, dims=bad)
    with pytest.raises(TypeError, match="`dims`: 'all' must have different names"):
        hx.sweep(driven(), grid, dims={"all": ("x", "x")})


GRID = {"kappa": np.linspace(3.0, 6.0, 5), "P": [2, 3], "correlation": [0.0, 0.3]}
OPTIONS = dict(tile=4, dims={"z": "memory"})


@pytest.fixture(scope="module")
def made():
    """A sweep over sizes and correlations, each of which is another network."""
    return hx.sweep(hx.Recipe(recipes.cycle), GRID, **OPTIONS)


@pytest.mark.slow
def test_sizes_and_correlations_are_axes_of_a_recipe(made):
    assert made.z.dims == ("P", "correlation", "kappa", "memory") and made.sizes["memory"] == 3
    for P in (2, 3):
        for correlation in (0.0, 0.3):
            own = recipes.cycle(P, correlation=correlation)
            ds = hx.sweep(own, {"kappa": GRID["kappa"]}, **OPTIONS)
            here = made.sel(P=P, correlation=correlation)
            np.testing.assert_array_equal(here.z[:, :P], ds.z)  # the same tiles, the same bits
            np.testing.assert_array_equal(here.switches, ds.switches)
            assert np.isnan(here.z[:, P:]).all()


@pytest.mark.slow
def test_a_sweep_of_a_recipe_is_planned_shared_and_resumed(made, tmp_path):
    sweep = hx.Recipe(recipes.cycle)
    plan = hx.sweep_plan(sweep, GRID, tile=4)
    assert (plan.points, plan.tiles, plan.blocks, plan.block) == (20, 8, 8, (1, 1, 4))
    assert plan.variables["z"] == "float64[3]"
    store = dict(store=tmp_path / "s", chunk=2, **OPTIONS)
    half = hx.sweep(sweep, GRID, part=(0, 2), **store)
    assert 0 < int((half.status == -1).sum()) < 20
    ds = hx.sweep(sweep, GRID, resume="must", **store)
    assert ds.load().identical(made)
    with pytest.raises(hx.ConfigMismatch, match="grid.P"):
        hx.sweep(sweep, {**GRID, "P": [2, 4]}, **store)
    executed = hx.sweep(
        sweep,
        GRID,
        executor=concurrent.futures.ThreadPoolExecutor(2),
        **(store | {"store": tmp_path / "t"}),
    )
    assert executed.load().identical(made)


def test_words_and_seeds_make_points_and_so_does_a_function_without_axes():
    ds = hx.sweep(hx.Recipe(recipes.dice), {"sides": [2, 3], "kind": ["fair", "loaded"]})
    assert ds.faces.dims == ("sides", "kind", "faces_0") and ds.faces.dtype == np.int64
    np.testing.assert_array_equal(ds.faces[1], [[0, 1, 2], [0, -1, -1]])  # blank beyond
    assert ds.kind.values.tolist() == [0, 1] and ds.kind.attrs["flag_meanings"] == "fair loaded"
    (ax,) = hx.plots.curves(ds.isel(sides=0)[["status"]])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["fair", "loaded"]
    plt.close(ax.figure)
    ds = hx.sweep(hx.Recipe(recipes.dice), {"shift": [0, 5], "seed": [1, 2], "sides": [2]})
    assert ds.faces.dims[:3] == ("seed", "sides", "shift")
    np.testing.assert_array_equal(ds.faces[:, 0, 1], [[6, 7], [7, 8]])
    assert hx.sweep(hx.Recipe(recipes.usual), {"shift": [0, 5]}).faces.shape == (2, 2)


def test_every_point_of_a_recipe_has_random_numbers_of_its_own():
    grid = {"draw": [0, 1, 2], "shift": np.zeros(5)}
    ds = hx.sweep(hx.Recipe(recipes.luck), grid, key=jax.random.key(0), tile=2)
    assert len(np.unique(ds.drawn)) == 15
    one = hx.sweep(recipes.Luck(), {"shift": np.zeros(15)}, key=jax.random.key(0), tile=2)
    np.testing.assert_array_equal(ds.drawn.values.ravel(), one.drawn)  # told by their numbers
    seeded = {"draw": [0, 1], "shift": [0.0], "seed": [3, 4]}
    ds = hx.sweep(hx.Recipe(recipes.luck), seeded)
    np.testing.assert_array_equal(ds.drawn[0], ds.drawn[1])
    assert ds.drawn[0, 0, 0] != ds.drawn[0, 0, 1]


@pytest.mark.parametrize(
    ("grid", "known"),
    [
        ({"kappa": [], "init.saliency[0]": []}, True),
        ({"kappa": [], "gain": []}, False),
        ({"kappa": [], "transition[i,i]": []}, False),
        ({"kappa": [], "noise": [], "seed": np.zeros(0, int)}, False),
        ({"kappa": [], "current": []}, False),
    ],
)
def test_no_theory_is_drawn_where_an_axis_leaves_its_domain(grid, known):
    network, _ = zoo.cycle()
    ds = hx.sweep(hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), TIMES), grid)
    assert (cycle_of(ds) is not None) == known


@pytest.mark.parametrize(
    ("recipe", "grid", "error", "text"),
    [
        (recipes.dice, {"shift": [0]}, ValueError, "lacks 'sides', of which the recipe"),
        (recipes.dice, {("sides", "shift"): ([1], [2])}, ValueError, "let the recipe take both"),
        (recipes.dice, {"sides": [1], "shift": ["a"]}, TypeError, "real numbers"),
        (recipes.dice, {"sides": []}, ValueError, "no points: nothing can be made"),
        (recipes.dice, {"sides": [2], "kind": ["odd"]}, KeyError, "odd"),
        (recipes.dice, {"sides": [2], "sift": [1]}, ValueError, "did you mean 'shift'"),
        (recipes.nothing, {"sides": [2, 3]}, TypeError, "`make` must .* at sides = 2 it returned"),
        (recipes.mixed, {"sides": [2, 3]}, TypeError, r"'faces' is int64\[2\] .* float64\[3\]"),
    ],
)
def test_what_cannot_be_made(recipe, grid, error, text):
    with pytest.raises(error, match=text):
        hx.sweep(hx.Recipe(recipe), grid)


def test_an_error_of_a_recipe_says_at_which_values():
    with pytest.raises(KeyError) as caught:
        hx.sweep(hx.Recipe(recipes.dice), {"sides": [2], "kind": ["odd"]})
    assert "The recipe was asked for sides = 2, kind = odd." in caught.value.__notes__
    with pytest.raises(TypeError, match="got a Recipe: refine the points"):
        hx.refine(hx.Recipe(recipes.dice), {}, along="shift", between=(0, 1))


def test_a_point_that_cannot_be_made_is_a_status(tmp_path):
    """Odd sides are refused by the recipe: the first ones, those in the middle, and the last."""
    grid = {"sides": [1, 2, 3, 4, 5], "shift": [0, 5]}
    recipe, store = hx.Recipe(recipes.even), dict(store=tmp_path / "s", tag="1")
    with pytest.warns(hx.SweepWarning, match="6 of 10 .*6 invalid_parameter.*sides must be even"):
        ds = hx.sweep(recipe, grid, **store, chunk=1).load()
    assert ds.status.values.tolist() == [[4, 4], [0, 0]] * 2 + [[4, 4]]
    assert ds.faces[1, 1].values.tolist() == [5, 6, -1, -1] and (ds.faces[::2] == -1).all()
    again = dict(on_failure="ignore")
    assert hx.sweep(recipe, grid, **again).identical(ds)
    assert hx.sweep(recipe, grid, **again, **store).load().identical(ds)  # read again
    assert hx.sweep_plan(recipe, grid).points == 10
    with pytest.raises(ValueError, match="sides must be even, got 1"):
        hx.sweep(recipe, {"sides": [1, 3]})


def test_an_ensemble_is_a_summary_of_its_runs():
    grid = {"scale": [1.0, 2.0]}
    ds = hx.ensemble(recipes.walk, 200, grid, key=jax.random.key(0), on_failure="ignore")
    runs = hx.sweep(
        recipes.walk,
        {**grid, "seed": np.arange(200)},
        key=jax.random.key(0),
        on_failure="ignore",
    )
    good = runs.status.values == 0
    assert 0 < ds.failed[0] < 100
    for k in range(2):
        x, up = runs.x.values[k][good[k]], runs.up.values[k][good[k]]
        assert ds["count"][k] == len(x)
        np.testing.assert_allclose(ds.x[k], x.mean(), rtol=1e-12)
        np.testing.assert_allclose(ds.x_stderr[k], stats.sem(x), rtol=1e-12)
        quantiles = np.quantile(x, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(ds.x_quantile[:, k], quantiles, rtol=1e-12)
        interval = stats.binomtest(int(up.sum()), len(up)).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(ds.up_fraction[k], up.mean(), rtol=1e-12)
        np.testing.assert_allclose([ds.up_low[k], ds.up_high[k]], interval, rtol=1e-9)
        # What is NaN in a run that succeeded is left out of that output alone.
        some = runs.above.values[k][good[k]]
        np.testing.assert_allclose(ds.above[k], np.nanmean(some), rtol=1e-12)
        np.testing.assert_allclose(ds.above_quantile[1, k], np.nanmedian(some), rtol=1e-12)


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_wilsons_interval(hits):
    number = xr.DataArray([10, 0])
    low, high = wilson(xr.DataArray([hits, 0]), number, 0.9)
    expected = stats.binomtest(hits, 10).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-9, atol=1e-12)
    assert (low[1], high[1]) == (0.0, 1.0)  # nothing is known
    assert low[0] != 0 or hits == 0


@pytest.mark.slow
def test_an_ensemble_of_a_point_that_is_given_its_noise_by_an_axis():
    network, _ = zoo.cycle()
    point = hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), TIMES)
    with pytest.raises(ValueError, match="`noise` needs sweep"):
        hx.sweep(point, {"noise": [0.0, 2.0]})
    ds = hx.ensemble(point, [3, 5, 8], {"noise": [0.0, 2.0]}, level=0.5, quantiles=0.5)
    assert ds.regime_fraction.dims == ("noise", "regime") and (ds["count"] == 3).all()
    np.testing.assert_array_equal(ds.regime_fraction.sum("regime"), 1.0)
    assert "sequence" in ds.regime.values and (ds.regime_low <= ds.regime_fraction).all()
    assert ds.overlap_stderr[0] == 0 and ds.overlap_stderr[1] > 0
    assert not ds.regime_fraction.attrs.keys() & {"flag_meanings"}
    with pytest.raises(ValueError, match="`level` must lie between 0 and 1"):
        hx.ensemble(point, level=95.0)
    with pytest.raises(ValueError, match="say by `seeds` which"):
        hx.ensemble(point, grid={"seed": [1]})
    with pytest.raises(ValueError, match="the point has no `noise`"):
        hx.ensemble(point, 3)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_is_no_number_of_seeds_is_named():
    point = recipes.walk
    with pytest.raises(TypeError, match="`seeds`.*given as `key=`"):
        hx.ensemble(point, jax.random.key(0))
    with pytest.raises(TypeError, match="`grid` must map names of axes.*got 16"):
        hx.ensemble(point, 3, 16)
