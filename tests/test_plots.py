"""Pictures: what is drawn, where, and under which name."""

import functools
import json
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax import plots
from hopfax._sweep import _dataset
from hopfax.plots import _cycle
from hopfax.plots._cycle import cycle_of, edges, note
from hopfax.theory.sequential import _handover

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.container import ErrorbarContainer  # noqa: E402
from matplotlib.legend import Legend  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

KAPPA = np.linspace(3.0, 6.0, 7)
START = np.array([1.1, 1.5, 3.0])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def made_up(**changes: Any):
    """A stored sweep of a 4-cycle: sequences wherever kappa >= 4 and z(0) >= 1.5."""
    settings = {
        "network.transition": np.roll(np.eye(4), 1, axis=0).tolist(),
        "network.kappa": 5.0,
        "network.tau": 20.0,
        "network.bias": 0.0,
        "init['saliency']": [1.1, 0.0, 0.0, 0.0],
        "activation": "HardTanh",
        "ts": [0.0, 5.0, 10.0],
        "per_tau": True,
    }
    lasting = (KAPPA[:, None] >= 4) & (START >= 1.5)
    dims = ("kappa", "init.saliency[0]")
    return xr.Dataset(
        {
            "regime": (dims, np.where(lasting, 0, 1).astype(np.int8)),
            "status": (dims, np.zeros(lasting.shape, np.int32)),
            "dwell": (dims, np.where(lasting, 20.0 * np.log(KAPPA)[:, None], 7.0)),
            "switches": (dims, np.where(lasting, 9, 2)),
        },
        {"kappa": KAPPA, "init.saliency[0]": START},
        {"network": "TwoTimescaleHopfield", "settings": json.dumps(settings | changes)},
    )


def texts(ax):
    """What all legends of an Axes say, one after the other."""
    legends = ax.findobj(Legend)
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def titles(ax):
    return [legend.get_title().get_text() for legend in ax.findobj(Legend)]


def drawn(ax, part):
    """The only drawn line whose label contains `part`."""
    (found,) = [curve for curve in ax.lines if part in str(curve.get_label())]
    return found


def line(ax, part):
    """The points of that line."""
    found = drawn(ax, part)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_phase_diagram_names_the_regimes_that_are_there_and_both_limits():
    ax = plots.phase_diagram(made_up())
    names = texts(ax)
    assert names[:2] == ["sequence", "collapse"]
    assert len(names) == 4 and all(r"\tau \to \infty" in name for name in names[2:])
    assert "4.00" in names[2] and r"P \to \infty" in names[2]
    assert "3.61" in names[3] and "P = 4" in names[3]
    assert "kappa" in ax.get_xlabel() and "z_{0}(0)" in ax.get_ylabel()
    assert titles(ax) == ["regime", "theory"]
    first, second, third = ax.get_title().split("\n")
    assert first == r"cycle, $P = 4$, $\tau = 20$, $b = 0$, horizon $10\,\tau$"
    assert second == "hard tanh, no noise" and "none is derived" in third  # without a seed


def test_the_drawn_edges_are_those_of_the_theory():
    ax = plots.phase_diagram(made_up())
    kappa, edge = line(ax, r"P \to \infty")
    assert_close(kappa[0], np.array(4.0), 1e-12, "the vertical part stands at the critical gain")
    lower = (kappa - np.sqrt(kappa * (kappa - 4))) / 2  # Z_- of the endless chain
    assert_close(edge[1:], lower[1:], 1e-12, "closed form")
    kappa, edge = line(ax, "P = 4")
    assert_close(edge[1:], hx.theory.sequential.basin_edge(kappa[1:], 4), 1e-12, "same function")


def test_the_regime_map_has_gain_along_x_also_if_it_is_the_second_axis():
    data = made_up()
    for dataset in (data, data.transpose("init.saliency[0]", "kappa")):
        ax = plots.phase_diagram(dataset, theory=False)
        codes = np.asarray(ax.collections[0].get_array()).reshape(len(START), len(KAPPA))
        assert (codes == data["regime"].values.T).all()
        assert not ax.lines


def test_failed_points_have_a_colour_of_their_own():
    data = made_up()
    data["status"][0, 0] = 2
    assert "failed" in texts(plots.phase_diagram(data, theory=False))


@pytest.mark.slow
def test_the_prediction_at_finite_separation_is_compiled_once(monkeypatch):
    traced = []
    original = _handover.handover
    monkeypatch.setattr(
        _handover, "handover", lambda *a, **k: traced.append(0) or original(*a, **k)
    )
    few = functools.partial(_cycle.gains, number=6)  # which take their time
    monkeypatch.setattr(_cycle, "gains", few)
    ax = plots.phase_diagram(made_up(**{"network.bias": 0.01}))
    once = len(traced)
    kappa, edge = line(ax, r"$\tau = 20$")
    gain = hx.theory.sequential.critical_gain(4, tau=20.0, bias=0.01)
    assert_close(kappa[0], np.asarray(gain), 1e-12, "same function")
    assert (np.diff(edge) <= 0).all() and edge[-1] < 1.2
    axes = plots.facets(cube(tau=[10.0, 50.0], bias=[0.005]))
    assert once > 0 and len(traced) == once  # all panels share it (no other test here compiles it)
    for ax, tau in zip(axes, (10.0, 50.0), strict=True):
        expected = hx.theory.sequential.critical_gain(4, tau=tau, bias=0.005)
        assert_close(line(ax, rf"$\tau = {tau:g}$")[0][0], expected, 1e-12, "same function")


def test_the_exact_threshold_is_solid_and_the_theory_beside_it_dotted(asked):
    known = {"kappa": [3.6], "over": ""}
    data = made_up(**{"network.bias": 0.01})
    before = plots.phase_diagram(data)
    assert drawn(before, r"$P = 4$, $\tau = 20$").get_linestyle() == "-"
    ax = plots.phase_diagram(data.assign_attrs(exact_threshold=json.dumps(known)))
    exact = drawn(ax, r"exact: $\kappa_c = 3.6000$")
    assert exact.get_linestyle() == "-" and set(exact.get_xdata()) == {3.6}
    assert drawn(ax, r"asymptotic, $P = 4$, $\tau = 20$").get_linestyle() == ":"
    assert drawn(ax, r"$P \to \infty$").get_linestyle() == "-."
    known = {"kappa": [3.5, 3.9], "over": "tau", "values": [10.0, 30.0]}
    swept = made_up().rename({"init.saliency[0]": "tau"}).assign_coords(tau=[10.0, 20.0, 30.0])
    swept = swept.assign_attrs(exact_threshold=json.dumps(known))
    assert line(plots.phase_diagram(swept), r"exact: $\kappa_c(\tau)$")[0].tolist() == [3.5, 3.9]
    other = swept.rename(tau="horizon")  # an axis along which it is not known
    assert not any("exact" in text for text in texts(plots.phase_diagram(other)))


def test_a_network_outside_the_theory_gets_no_curves():
    shortcut = np.roll(np.eye(4), 1, axis=0)
    shortcut[2, 0] = 0.5
    for change in (
        {"network.transition": shortcut.tolist()},
        {"activation": "Tanh"},
        {"network.activation.gain": 2.0},
        {"noise": 0.1},
    ):
        data = made_up(**change)
        assert cycle_of(data) is None
        assert not plots.phase_diagram(data).lines
    started = made_up(**{"init['saliency']": [1.1, 0.5, 0.0, 0.0]})
    assert not plots.phase_diagram(started).lines  # the edge is that of a start on one memory
    assert cycle_of(made_up().assign_attrs(network="Hopfield")) is None
    assert cycle_of(xr.Dataset()) is None


def test_a_selected_panel_tells_its_own_parameters(asked):
    data = made_up().assign_coords(tau=50.0, bias=0.02)
    assert cycle_of(data) == (4, 50.0, 0.02, True, 0.0)
    assert cycle_of(data.assign_coords({"transition[1,0]": 0.5})) is None
    assert cycle_of(data.assign_coords({"transition[1,0]": 1.0})) is not None  # as it was
    assert cycle_of(made_up(noise=0.1).assign_coords(noise=0.0)) is not None
    other = {"init.saliency[1]": 0.5}
    assert plots.phase_diagram(data.assign_coords({"init.saliency[1]": 0.0})).lines
    assert not plots.phase_diagram(data.assign_coords(other)).lines


def test_a_dataset_says_what_was_run_in_attributes_of_its_own():
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start, ts = {"saliency": np.array([4.0, 0.0, 0.0, 0.0])}, np.linspace(0.0, 100.0, 51)

    def cycle(grid, **options):
        attributes = _dataset.attributes(hx.Point(network, start, ts, **options), 16, None)
        return cycle_of(xr.Dataset(coords=grid, attrs=attributes))

    assert cycle({}) == (4, 20.0, 0.01, True, 0.0)
    assert cycle({"tau": ("tau", [1.0, 2.0])}) == (4, None, 0.01, True, 0.0)
    assert cycle({"transition[1,0]": 0.5}) is None
    assert cycle({}, current=np.ones(16)) is None and cycle({}, noise=0.1) is None


def test_a_swept_tau_is_no_single_tau():
    swept = made_up().rename({"init.saliency[0]": "tau"})
    cycle = cycle_of(swept)
    assert cycle is not None and cycle.tau is None and not cycle.finite
    assert "tau" in plots.phase_diagram(swept).get_ylabel()


def test_phase_diagram_refuses_what_is_no_map():
    with pytest.raises(ValueError, match="`dataset`"):
        plots.phase_diagram(made_up().isel(kappa=0))
    with pytest.raises(ValueError, match="`dataset`"):
        plots.phase_diagram(made_up().drop_vars("regime"))


def test_dwell_curve_takes_the_largest_start_and_only_sequences():
    ax = plots.dwell_curve(made_up())
    kappa, dwell = line(ax, "last dwell")
    expected = np.where(kappa >= 4, np.log(kappa), np.nan)
    np.testing.assert_allclose(dwell, expected, rtol=1e-12)  # in units of tau
    kappa, dwell = line(ax, "P = 4")
    upper = hx.theory.sequential.fixed_points(kappa, 4).upper
    assert_close(dwell, jnp.log(upper), 1e-12, "same function")
    assert "tau" in ax.get_ylabel()
    with pytest.raises(ValueError, match="`dwell` over `kappa`"):
        plots.dwell_curve(made_up().drop_vars("dwell"))


def test_a_dwell_curve_is_of_the_row_with_most_sequences():
    data = made_up()
    data["regime"][:, -1] = 1
    data["dwell"][:, -2] *= 2
    ax = plots.dwell_curve(data)
    kappa, dwell = line(ax, "last dwell")
    expected = np.where(kappa >= 4, 2 * np.log(kappa), np.nan)
    np.testing.assert_allclose(dwell, expected, rtol=1e-12)
    assert ax.get_title().splitlines()[-1].endswith(f"= {START[-2]:.4g}")


def test_the_predicted_dwell_is_that_of_the_drawn_row():
    taus = np.array([10.0, 40.0, 20.0])
    ax = plots.dwell_curve(cube(tau=taus).isel({"init.saliency[0]": 2}))
    _, dwell = line(ax, "last dwell")
    assert_close(dwell[-1], np.log(6.0) / 2, 1e-12, "made with tau = 20, drawn in units of 40")
    assert r"$\tau = 40$" in ax.get_title()


def test_curves_draws_every_number_of_a_line_and_spells_out_codes():
    data = made_up().isel({"init.saliency[0]": 2})
    data["regime"].attrs = hx.observables.regime_attributes()
    axes = plots.curves(data)
    labels = [ax.get_ylabel() for ax in axes]
    assert labels == [
        "regime",
        "dwell (fast time\nconstants)",
        "switches",
    ]  # no status: all is well
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["sequence", "collapse"]
    data["status"][1] = 1
    assert len(plots.curves(data)) == 4
    with pytest.raises(ValueError, match="`dataset`"):
        plots.curves(made_up())
    with pytest.raises(ValueError, match="`axes` must hold 4"):
        plots.curves(data, axes)


def test_curves_mark_what_failed_and_what_has_not_been_run():
    data = made_up().isel({"init.saliency[0]": 2})
    data["status"][1], data["status"][5:] = 2, -1
    data["switches"][5:] = -1
    axes = plots.curves(data)
    assert texts(axes[0]) == ["failed", "not run"]
    failed, rest = axes[0].patches
    assert_close(failed.get_x() + np.array([0, failed.get_width()]), [3.25, 3.75], 1e-12, "a cell")
    assert rest.get_hatch() and not failed.get_hatch()
    assert np.isnan(axes[-1].lines[0].get_ydata()[[1, 5, 6]]).all()  # no -1 among the counts


def cube(**values):
    """The made-up sweep, once more for every value of further axes."""
    data = made_up()
    for name, value in values.items():
        data = data.expand_dims({name: value}, axis=-1).copy(deep=True)
    return data.transpose(*values, ...)  # the map's axes need not come first


@pytest.fixture
def asked(monkeypatch):
    """The (tau, bias) for which the finite-tau theory was asked, answered without computing."""
    found = []

    def critical_gain(P=math.inf, *, tau=math.inf, bias=0.0):
        return jnp.asarray(3.0 if tau == math.inf else 2.0 + 1 / tau)

    def basin_edge(kappa, P=math.inf):
        return jnp.full(np.shape(kappa), 1.2)

    def known_edge(kappa, P, tau, bias):
        found.append((tau, bias))
        return basin_edge(kappa)

    monkeypatch.setattr("hopfax.plots._cycle.known_edge", known_edge)
    monkeypatch.setattr(hx.theory.sequential, "critical_gain", critical_gain)
    monkeypatch.setattr(hx.theory.sequential, "basin_edge", basin_edge)
    return found


def test_every_panel_has_the_theory_of_its_own_parameters(asked):
    axes = plots.facets(cube(tau=[10.0, 20.0, 50.0], bias=[0.0, 0.01]))
    assert asked == [(10.0, 0.01), (20.0, 0.01), (50.0, 0.01)]  # none without a seed
    titles = [ax.get_title() for ax in axes]
    assert titles[:2] == [
        r"$\tau$ = 10, $b$ = 0",
        r"$\tau$ = 10, $b$ = 0.01: $\kappa_c = 2.10$",
    ]
    assert [len(ax.lines) for ax in axes] == [2, 3] * 3
    kappa, _ = line(axes[5], r"$\tau = 50$")
    assert_close(kappa[0], np.array(2.02), 1e-12, "starts at its critical gain")
    legends = axes[0].figure.legends
    assert [legend.get_title().get_text() for legend in legends] == ["regime", "theory"]
    words = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert words[:2] == ["sequence", "collapse"] and len(words) == 5
    assert r"$\kappa_c = 3.00$" in words[2] and "of the panel" in words[4]


def test_facets_choose_evenly_and_say_so():
    data = cube(tau=np.arange(10.0, 23.0), a=np.arange(3.0))
    data["regime"][-1, -1] = 2
    axes = plots.facets(data, theory=False)
    assert len(axes) == 4 * 3
    assert axes[0].get_title() == r"$\tau$ = 10, a = 0"
    assert axes[-1].get_title() == r"$\tau$ = 22, a = 2"
    last = axes[0].figure.get_suptitle().splitlines()[-1]
    assert r"$\tau$ = 10, 14, 18, 22 (4 of 13 values)" == last
    codes = [np.asarray(ax.collections[0].get_array()) for ax in axes]
    assert (codes[0] == made_up()["regime"].values.T).all()  # gain along x
    assert (codes[-1] == 2).all() and (codes[-2] == codes[0]).all()
    colour = axes[0].collections[0].cmap  # of all panels, also where a regime is missing
    assert colour.N == 3 and all(ax.collections[0].cmap == colour for ax in axes)
    assert axes[-1].get_xlabel() and not axes[0].get_xlabel()
    assert len(plots.facets(cube(tau=np.arange(2.0, 12.0)), theory=False)) == 8
    assert len(plots.facets(cube(a=range(5), b=range(5), c=range(5)), theory=False)) == 16


def test_facets_without_regime_share_one_scale_of_the_first_variable():
    data = cube(tau=[1.0, 2.0])[["switches", "status", "dwell"]]
    data["switches"][1] += 100
    axes = plots.facets(data)
    assert {ax.collections[0].get_clim() for ax in axes} == {(2.0, 109.0)}
    (bar,) = set(axes[0].figure.axes) - set(axes)
    assert bar.get_ylabel() == "switches" and not axes[0].lines


def test_facets_span_the_longest_axes_where_there_is_no_gain():
    data = cube(tau=[1.0, 2.0]).rename({"kappa": "a", "init.saliency[0]": "b"})
    axes = plots.facets(data)
    assert len(axes) == 2 and axes[0].get_xlabel() == "a"
    with pytest.raises(ValueError, match="three axes"):
        plots.facets(made_up())


def test_maps_draw_every_number_of_a_point():
    data = made_up().drop_vars("regime")
    data["late"] = data["dwell"] > 10
    data["trace"] = data["dwell"].expand_dims(trace_0=2, axis=-1)  # no number: left out
    axes = plots.maps(data)
    bars = axes[0].figure.axes[3:]
    assert [bar.get_ylabel() for bar in bars] == [
        "dwell (fast time constants)",
        "switches",
        "late",
    ]
    assert [tick.get_text() for tick in bars[2].get_yticklabels()] == ["no", "yes"]
    shown = np.asarray(axes[1].collections[0].get_array()).reshape(3, 7)
    assert (shown == data["switches"].values.T).all()
    data["status"][0, 0] = 4
    axes = plots.maps(data)
    ticks = axes[0].figure.axes[4].get_yticklabels()  # of the bar beside the first, `status`
    assert len(axes) == 4 and [tick.get_text() for tick in ticks] == ["ok", "invalid_parameter"]


def test_what_has_not_been_run_is_hatched_and_no_failure():
    data = made_up()
    data["status"][0, 0], data["status"][5:] = 2, -1
    data["regime"][5:] = -1
    data["dwell"][5:], data["dwell"][1, 1] = np.nan, np.nan
    ax = plots.phase_diagram(data, theory=False)
    assert texts(ax) == ["sequence", "collapse", "failed", "not run"]
    assert ax.patch.get_hatch()
    masked = np.ma.getmaskarray(ax.collections[0].get_array()).reshape(3, 7)
    assert masked[:, 5:].all() and masked[0, 0] and masked.sum() == 7
    failed = np.ma.getmaskarray(ax.collections[1].get_array()).reshape(3, 7)
    assert not failed[0, 0] and (~failed).sum() == 1  # through the rest the ground shows
    above = plots.maps(data[["dwell", "status"]])[0]
    assert texts(above) == ["failed", "not run", "no value"]
    assert not plots.phase_diagram(made_up(), theory=False).patch.get_hatch()


def along(tau, bias, **changes):
    """The made-up sweep with `tau` and `bias` zipped in place of the start saliency."""
    data = made_up(**changes).rename({"init.saliency[0]": "tau+bias"}).drop_vars("tau+bias")
    return data.assign_coords(tau=("tau+bias", tau), bias=("tau+bias", bias))


def test_a_zipped_axis_is_drawn_by_a_monotone_coordinate_or_by_number():
    ax = plots.phase_diagram(along([4.0, 2.0, 9.0], [0.3, 0.2, 0.1]))
    assert ax.get_ylabel() == r"bias $b$ and $\tau$"
    assert_close(ax.get_ylim(), [0.05, 0.35], 1e-12, "borders of the cells")
    ax = plots.phase_diagram(along([4.0, 2.0, 9.0], [0.3, 0.1, 0.2]))
    assert ax.get_ylabel() == "number along tau+bias" and ax.get_ylim() == (-0.5, 2.5)
    ax = plots.phase_diagram(along([10.0, 100.0, 1000.0], [0.3, 0.1, 0.2]))
    assert ax.get_yscale() == "log"
    assert_close(ax.get_ylim(), [10**0.5, 10**3.5], 1e-9, "evenly in the logarithm")
    for few, scale in (([1.0, 3.0, 10.0], "log"), ([1.0, 2.0, 10.0], "linear")):
        assert plots.phase_diagram(along(few, [0.3, 0.1, 0.2])).get_yscale() == scale


def cloud():
    """The made-up sweep as a list of points in random order, of a start saliency and a gain."""
    order = np.random.default_rng(0).permutation(21)
    names = ["init.saliency[0]", "kappa"]
    data = made_up().stack(point=["kappa", "init.saliency[0]"]).reset_index("point")
    values = {name: ("+".join(names), data[name].values[order]) for name in names}
    return data.drop_vars(names).isel(point=order).rename(point="+".join(names)), values


def test_unstructured_points_are_scattered():
    data, values = cloud()
    data = data.assign_coords(values)
    data["status"][0] = 2
    (ax,) = plots.overview(data).axes
    assert ax.get_xlabel() == r"gain $\kappa$"
    failed, good = ax.collections
    expected = np.stack([data["kappa"], data["init.saliency[0]"]], axis=1)
    assert_close(good.get_offsets(), expected[1:], 0, "the same points")
    assert (good.get_array() == data["regime"].values[1:]).all() and len(failed.get_offsets()) == 1
    assert texts(ax)[:3] == ["sequence", "collapse", "failed"]
    assert len(ax.lines) == 2  # the limits; tau and seed are those of all points
    third = data.assign_coords(tau=(data["regime"].dims, np.arange(21.0)[::-1] % 5))
    assert plots.scatter(third)[0].get_title(loc="right") == "2 of 3 parameters"
    assert len(plots.scatter(data[["dwell", "switches", "status"]])) == 3
    with pytest.raises(ValueError, match="two parameters"):
        plots.scatter(data.drop_vars("kappa"))


def replicates():
    """Four seeds of the made-up sweep; seed k fails the first k gains, all fail the last."""
    data = cube(seed=np.arange(4)).transpose(..., "seed")
    for k in range(4):
        data["status"][:k, :, k] = 3
    data["status"][-1] = 3
    data["regime"][3, 2, 0] = 1  # one of four seeds collapses
    data["dwell"][4, 2] = np.array([1.0, 2.0, 3.0, np.nan])
    return data


def test_seeds_are_averaged_and_sequences_counted():
    figure = plots.overview(replicates())
    first, *_, last = figure.get_suptitle().splitlines()
    assert last == "mean over 4 seeds, of those that succeeded" and "P = 4" in first
    names = [ax.get_ylabel() for ax in figure.axes[-4:]]
    assert names == ["share of sequence", "dwell (fast time constants)", "switches", "status"]
    share, dwell, _, _ = (ax.collections[0].get_array().reshape(3, 7) for ax in figure.axes[:4])
    assert_close(share[2, :6], [0, 0, 1, 0.75, 1, 1], 1e-12, "counted by hand")
    assert np.ma.getmaskarray(share)[:, 6].all() and not np.ma.getmaskarray(share)[:, :6].any()
    assert_close(dwell[2, 4], np.array(2.0), 1e-12, "mean of those that have a value")
    assert figure.axes[0].collections[0].get_clim() == (0, 1)


def test_without_a_sequence_the_most_frequent_regime_is_counted():
    data = replicates()
    data["regime"] = data["regime"] + 1  # locked and collapse
    figure = plots.overview(data.isel({"init.saliency[0]": 2}))
    assert figure.axes[1].get_ylabel() == "share of collapse"
    assert len(plots.overview(data[["status", "dwell"]].isel(kappa=1, seed=slice(1))).axes) == 1


def test_overview_draws_any_number_of_axes():
    data = made_up()
    assert [len(plots.overview(data).axes), len(plots.overview(data.isel(kappa=0)).axes)] == [2, 2]
    figure = plt.figure()
    assert plots.overview(data.drop_vars("dwell"), figure) is figure and len(figure.axes) == 1
    single = cube(a=[7.0])
    figure = plots.overview(single)
    assert len(figure.axes) == 2 and figure.get_suptitle() == "a = 7"
    many = xr.Dataset({f"v{k}": data["dwell"] for k in range(8)} | {"status": data["status"]})
    figure = plots.overview(many)
    assert len(figure.axes) == 6 * 2 and figure.get_suptitle() == "the first 6 of 8 variables"
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.overview(data.isel(kappa=slice(0)))


def test_overview_puts_an_axis_in_order():
    data = made_up().isel({"init.saliency[0]": 2, "kappa": [3, 0, 5]})
    kappa, dwell = line(plots.overview(data, theory=False).axes[0], "last dwell")
    assert_close(kappa, KAPPA[[0, 3, 5]], 0, "sorted")
    np.testing.assert_array_equal(dwell, [np.nan, *data["dwell"].values[[0, 2]] / 20.0])


def run_by_hand(saliency=True, switches=True):
    ts = np.linspace(0.0, 10.0, 11)
    m = np.stack([ts < 5, ts >= 5], axis=1).astype(float)
    at = jnp.array([5.0])[: int(switches)]
    log = hx.Switches(at, at.astype(int), at.astype(int), at > 0, jnp.array(at.size))
    return hx.Trajectory(
        ts=jnp.asarray(ts),
        overlaps=jnp.asarray(m),
        saliency=jnp.asarray(2 * m) if saliency else None,
        observed=None,
        final=None,
        status=jnp.array(0),
        switches=log,
        counters={},
        reduction="classes",
    )


def test_trajectory_draws_overlaps_above_saliencies():
    patterns = hx.patterns.hadamard(2, 4)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(2), kappa=3.0, tau=5.0, activation=hx.HardTanh(2.0)
    )
    axes = plots.trajectory(run_by_hand(), network, predicted=[5.0, math.nan, 99.0])
    assert len(axes) == 2
    assert_close(axes[0].lines[1].get_ydata(), run_by_hand().overlaps[:, 1], 0, "the same numbers")
    assert texts(axes[0]) == ["memory 0", "memory 1", "predicted switch"]
    assert "z = 0.5" in axes[1].texts[0].get_text()  # 1 / gain
    assert "fast time constants" in axes[1].get_xlabel()
    assert len(axes[0].lines) == 3  # of the predictions one lies inside the run
    still = plots.trajectory(run_by_hand(switches=False), network, predicted=[5.0])
    assert len(still[0].lines) == 2 and texts(still[0]) == ["memory 0", "memory 1"]


def test_trajectory_without_saliency_needs_one_axes():
    _, ax = plt.subplots()
    assert list(plots.trajectory(run_by_hand(saliency=False), axes=ax)) == [ax]
    with pytest.raises(ValueError, match="`axes` must hold 2"):
        plots.trajectory(run_by_hand(), axes=ax)


def handed_over(alive=11, retrieved=True):
    """A run that goes from memory 0 to memory 1 at time 5, if it does, and ends after `alive`
    saves."""
    run, one = run_by_hand(), jnp.array([1])
    fades = jnp.where(jnp.arange(11)[:, None] < alive, run.overlaps, 0.0)
    log = hx.Switches(jnp.array([5.0]), 0 * one, one, jnp.array([retrieved]), jnp.array(1))
    return eqx.tree_at(lambda traj: (traj.overlaps, traj.switches), run, (fades, log))


def bars(ax):
    """Row, start and end of every bar."""
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    rows = [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches]
    return [(row, *map(float, end)) for row, end in zip(rows, ends, strict=True)]


def test_a_raster_has_a_bar_from_switch_to_switch_until_nothing_is_retrieved():
    ax = plots.raster(handed_over(alive=9), items=["do", "re"])
    assert bars(ax) == [(0, 0.0, 5.0), (1, 5.0, 8.0)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["do", "re"]
    shared = plots.raster(handed_over(), items=[7, 7])
    assert bars(shared) == [(0, 0.0, 5.0), (0, 5.0, 10.0)]
    assert [text.get_text() for text in shared.get_yticklabels()] == ["7"]


def test_a_raster_of_a_batch_has_a_row_for_every_run():
    runs = handed_over(), handed_over(alive=4, retrieved=False)
    ax = plots.raster(jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs))
    assert bars(ax) == [(0, 0.0, 5.0), (0, 5.0, 10.0), (1, 0.0, 3.0)]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[2] != colours[1]
    assert texts(ax) == ["0", "1"] and ax.get_ylabel() == "run"


def test_a_raster_shows_steps_and_refuses_other_items():
    patterns = hx.patterns.hadamard(2, 16)
    memory = hx.DenseMemory(patterns, hx.Power(3), transition="cyclic", keep_diagonal=True)
    ax = plots.raster(hx.iterate(memory, memory.init(patterns.xi[0]), 3))
    bars = [bar.get_extents().x0 for bar in ax.patches]
    starts = ax.transData.inverted().transform([(x, 0) for x in bars])[:, 0]
    assert ax.get_xlabel() == "step" and np.allclose(starts, [0, 1, 2, 3])
    with pytest.raises(ValueError, match="`items` must have shape"):
        plots.raster(handed_over(), items=["do", "re", "mi"])
    with pytest.raises(TypeError, match="`items` must be one for each memory"):
        plots.raster(handed_over(), items="do")


def test_saliency_map_marks_the_fixed_points_and_follows_the_orbit():
    ax = plots.saliency_map(5.0, Z0=1.5)
    x, y = line(ax, "orbit")
    assert_close(np.array([x[0], y[0]]), [1.5, 1.0], 0, "starts on the axis")
    on = y != x
    assert_close(y[1:][on[1:]][0], np.array(5 * (1 - 1 / 1.5)), 1e-12, "the map")
    upper = (5 + math.sqrt(5)) / 2
    assert_close(line(ax, "stable, $Z = 3.618$")[0], [upper], 1e-12, "closed form")
    assert r"\tau \to \infty" in ax.get_title()


def test_a_collapsing_orbit_falls_off_and_has_no_fixed_points():
    ax = plots.saliency_map(3.5, P=4, Z0=4.0)
    _, y = line(ax, "orbit")
    assert y[-1] == 1.0
    assert not any("stable" in str(curve.get_label()) for curve in ax.lines)


def test_pictures_go_where_they_are_told():
    figure, ax = plt.subplots()
    assert plots.phase_diagram(made_up(), ax) is ax
    assert plots.dwell_curve(made_up(), ax) is ax
    assert plots.saliency_map(5.0, ax=ax) is ax
    assert plt.get_fignums() == [figure.number]


def test_missing_matplotlib_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "hopfax\[plot\]"'):
        plots.saliency_map(5.0)


# Rate memories


def storage(**more: Any):
    """A storage diagram over gain and threshold: stable where the threshold is below 0.5."""
    gain, threshold = np.linspace(1.0, 5.0, 5), np.linspace(0.0, 1.0, 4)
    dims, shape = ("gain", "threshold", "a", "b"), (5, 4, 1, 1)
    eigenvalue = np.broadcast_to((threshold - 0.5)[:, None, None], shape).copy()
    codes = np.where(eigenvalue < -0.2, 2, np.where(eigenvalue < 0, 1, 0)).astype(np.int8)
    codes[4, 3] = -1
    eigenvalue[4, 3] = np.nan
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "unstable stable certified"}
    data = {
        "storage": (dims, codes, flags),
        "eigenvalue": (dims, eigenvalue),
        "status": (dims, np.zeros(shape, int)),
    }
    coords = {"gain": gain, "threshold": threshold, "a": [-0.3], "b": [0.95]}
    data |= {name: (dims, value.reshape(shape)) for name, value in more.items()}
    return xr.Dataset(data, coords, {"activation": "hard_sigmoid", "q": 0.2, "input": 0.3})


def test_a_storage_diagram_shows_areas_the_border_and_simulations():
    distance = np.full((5, 4), np.nan)
    distance[0] = [1e-9, 0.5, 0.5, 0.5]  # the second contradicts the eigenvalue
    alone = np.zeros((5, 4))
    alone[:2, :2] = 1
    ax = plots.storage_diagram(storage(distance=distance, alone=alone))
    names = texts(ax)
    assert names[:3] == [
        "unstable",
        "stable, but not by the sufficient condition",
        "stable by the sufficient condition",
    ]
    assert any("no design" in name for name in names) and any("u_S = 0.3" in n for n in names)
    assert r"\rho" in ax.get_xlabel() and "I^*" in ax.get_ylabel()
    assert "hard sigmoid" in ax.get_title() and "0.95" in ax.get_title()
    for part, places in (("attracts", [0]), ("repels", [1, 2, 3]), ("differ", [1])):
        x, y = line(ax, part)
        assert_close(x, np.ones(len(places)), 1e-12, "the first gain")
        assert_close(y, np.array(places) / 3, 1e-12, "the thresholds of these runs")
    border = [
        c for c in ax.collections if len(c.get_paths()) and np.ravel(c.get_linewidth())[0] > 2
    ]
    (path,) = border[0].get_paths()
    height = np.asarray(path.vertices)[:, 1]
    assert_close(height, np.full(len(height), 0.5), 1e-12, "the eigenvalue's 0")
    bare = plots.storage_diagram(storage(), theory=False)
    assert not any("exact" in name for name in texts(bare))


def test_the_overview_of_a_storage_diagram_is_one():
    figure = plots.overview(storage())
    (ax,) = figure.axes
    assert "stable by the sufficient condition" in texts(ax)
    with pytest.raises(ValueError, match="`dataset` must have `storage`"):
        plots.storage_diagram(storage().isel(gain=[0]))


@pytest.mark.parametrize(
    ("changed", "finite"),
    [
        (dict(), True),
        (dict(bias=0.05), False),  # beyond the domain of the finite separation
        (dict(readout="square"), None),
        (dict(keep_diagonal=False), None),
        (dict(patterns=hx.Patterns(np.sign(np.random.default_rng(0).normal(size=(4, 16))))), None),
    ],
)
def test_theory_is_for_the_settings_that_it_was_derived_for(changed, finite):
    options: Any = dict(kappa=5.0, tau=50.0, bias=0.01) | changed
    patterns = options.pop("patterns", hx.patterns.hadamard(4, 16))
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), **options)
    start = {"saliency": np.array([4.0, 0.0, 0.0, 0.0])}
    point = hx.Point(network, start, np.linspace(0.0, 100.0, 51))
    data = xr.Dataset(attrs=_dataset.attributes(point, 16, None))
    data = data.assign_coords(kappa=[3.0, 5.0]).assign_coords({"init.saliency[0]": [1.0, 3.0]})
    cycle = cycle_of(data)
    assert (cycle is None) if finite is None else (cycle is not None and cycle.finite == finite)
    found = edges(data, "kappa", "init.saliency[0]", 5.0)
    assert [edge.finite for edge in found] == (
        [] if finite is None else [False] * 2 + [True] * finite
    )
    assert ("prediction is derived" in note(data, found)) == (finite is None)
    assert (note(data, found) == "") == (finite is True)


@pytest.mark.slow
def test_a_fit_shows_its_data_residuals_intervals_and_what_is_open(as_a_user_runs_it):
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = np.linspace(0.0, 40.0, 21)
    rng = np.random.default_rng(0)
    seen = hx.simulate(network, network.init(**start), ts).saliency
    seen = seen + 0.05 * rng.standard_normal((21, 4))
    loss = hx.losses.saliency_path(ts, seen, init=start, sigma=0.05)
    columns = np.zeros((4, 4), bool)
    columns[1, 0] = columns[2, 3] = True  # memory 3 is not active until time 40
    found = hx.fit(
        network,
        loss,
        where=lambda net: net.transition,
        constraint=hx.constraints.Masked(columns),
        absolute_sigma=True,
        progress=False,
    )
    assert float(found.stderr[1]) > 1
    profile = found.profile("transition[1, 0]")
    figure = hx.plots.fit(found, profiles=[profile])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:4] == ["data and model", "residuals", "intervals of 95 %", "transition matrix"]
    data, residuals, intervals, matrix = figure.axes[:4]
    np.testing.assert_allclose(data.lines[0].get_ydata(), seen[:, 0])
    drawn = np.stack([line.get_ydata() for line in residuals.lines[:4]], axis=1)
    np.testing.assert_allclose(drawn, loss(found.model).reshape(21, 4), rtol=1e-6, atol=1e-9)
    hatched = [p.get_extents().bounds for p in matrix.patches if p.get_hatch()]
    cell = matrix.transData.transform([(2.5, 1.5), (3.5, 2.5)])
    np.testing.assert_allclose(hatched[0][:2], cell.min(0))
    assert len(hatched) == 1  # from memory 3 to memory 2
    low, high = found.interval(0.95)
    text = [label.get_text() for label in intervals.get_yticklabels()]
    assert text[0].endswith(f"\n{float(low[0]):.4g} to {float(high[0]):.4g}")
    curve = figure.axes[-1].lines[0]
    np.testing.assert_allclose(curve.get_xdata(), profile.values)
    with pytest.raises(TypeError, match="`profiles`"):
        hx.plots.fit(found, profiles=["kappa"])
    plt.close(figure)


# One axis


def test_a_bifurcation_shows_dwells_regimes_and_both_thresholds():
    data = made_up().isel({"init.saliency[0]": 2})
    data["steps"] = data["switches"]
    ax = plots.bifurcation(data)
    assert titles(ax) == ["regime", "simulation", "theory"]
    kappa, dwell = line(ax, "last dwell")
    expected = np.where(KAPPA >= 4, np.log(KAPPA), np.nan)
    np.testing.assert_allclose(dwell, expected, rtol=1e-12)  # in units of tau; collapses have none
    assert_close(line(ax, "threshold")[0], [3.75, 3.75], 1e-12, "between two neighbours")
    assert r"$\kappa$ = 3.75" in texts(ax)[3]
    critical = float(hx.theory.sequential.critical_gain(4))
    assert_close(line(ax, r"\tau \to \infty")[0], [critical] * 2, 1e-12, "same function")
    grid = [c for c in ax.lines if len(c.get_xdata()) > 10][0]
    upper = hx.theory.sequential.fixed_points(np.asarray(grid.get_xdata()), 4).upper
    assert_close(grid.get_ydata(), np.log(upper), 1e-12, "same function")
    patches = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    bands = [(p.get_x(), p.get_x() + p.get_width()) for p in patches]
    assert_close(bands, [(3.75, 6.25), (2.75, 3.75)], 1e-12, "sequence, then collapse")
    figure = plots.overview(data)
    labels = [panel.get_ylabel() for panel in figure.axes]
    assert labels == [r"dwell / $\tau$", "switches"]  # no solver steps
    with pytest.raises(ValueError, match="`dataset` must have `dwell` and `regime`"):
        plots.bifurcation(made_up())


def test_every_dwell_is_drawn_where_there_are_all():
    data = made_up().isel({"init.saliency[0]": 2})
    times = np.arange(21.0).reshape(7, 3)
    times[0] = np.nan
    data["dwell_times"] = (("kappa", "dwell_times_0"), times)
    kappa, dwell = line(plots.bifurcation(data, theory=False), "every dwell")
    assert_close(kappa, np.repeat(KAPPA[1:], 3), 1e-12, "each at its gain")
    assert_close(dwell, times[1:].ravel() / 20.0, 1e-12, "in units of tau")


def test_means_over_seeds_have_error_bars():
    data = replicates().isel({"init.saliency[0]": 2})
    ax = plots.bifurcation(data, theory=False)
    assert texts(ax) == ["mean of seeds, standard error"]
    (bars,) = (container for container in ax.containers if isinstance(container, ErrorbarContainer))
    # At the fifth gain dwells of 1, 2 and 3: their mean is 2, its standard error 1 / sqrt(3).
    (at,) = [s for s in bars.lines[2][0].get_segments() if len(s) and s[0, 0] == KAPPA[4]]
    assert_close(at[:, 1], (2 + np.array([-1, 1]) / np.sqrt(3)) / 20, 1e-12, "by hand")
    assert len(plots.curves(data)[0].containers) == 1


def test_critical_gains_are_drawn_over_tau_also_with_self_loops():
    data = made_up().rename({"init.saliency[0]": "tau"}).assign_coords(tau=[10.0, 20.0, 40.0])
    assert cycle_of(data) == (4, None, 0.0, True, 0.0)  # no seed: nothing at finite tau
    ax = plots.phase_diagram(data)
    assert_close(line(ax, r"P \to \infty")[0], [4.0, 4.0], 1e-12, "upright")
    assert len(ax.lines) == 2
    loops = np.roll(np.eye(4), 1, axis=0) + 0.2 * np.eye(4)
    data = data.assign_coords(kappa=np.linspace(2.0, 6.0, 7))
    looped = plots.phase_diagram(
        data.assign_attrs(made_up(**{"network.transition": loops.tolist()}).attrs)
    )
    assert "A_{\\mu\\mu} = 0.2" in looped.get_title()
    gain = line(looped, r"\tau \to \infty")[0][0]
    own = hx.theory.sequential.critical_gain(4, self_loop=0.2 * gain)
    assert_close(own, np.array(gain), 1e-9, "critical for its own self-loop")
    assert_close(line(looped, "held for ever")[0], [5.0, 5.0], 1e-12, "1 / 0.2")


def test_what_lies_outside_is_not_listed():
    ax = plots.phase_diagram(made_up().isel(kappa=slice(4)))  # gains up to 4.5
    assert len(ax.lines) == 2
    ax = plots.phase_diagram(made_up().isel(kappa=slice(2)))  # up to 3.75
    assert [r"P = 4" in text for text in texts(ax)[1:]] == [True] and len(ax.lines) == 1


def test_more_memories_than_colours_have_dashes_and_many_are_said_to_repeat():
    def run(P):
        one = run_by_hand(saliency=False)
        overlaps = jnp.tile(one.overlaps[:, :1], (1, P))
        return eqx.tree_at(lambda r: r.overlaps, one, overlaps)

    (ax,) = plots.trajectory(run(20))
    looks = {(curve.get_color(), curve.get_linestyle()) for curve in ax.lines}
    assert len(looks) == 20 and texts(ax) == [str(mu) for mu in range(20)]
    assert titles(ax) == ["memory"]
    (ax,) = plots.trajectory(run(40))
    assert texts(ax) == [] and titles(ax) == ["40 memories; colours and dashes repeat every 32"]


def test_a_handover_between_two_saves_is_drawn_where_it_happens():
    network, start = zoo.cycle()
    ts = jnp.linspace(0.0, 100.0, 6)  # 20 apart; a handover takes some fast time constants
    plain, dense = (
        hx.simulate(network, start, ts, method=hx.EventDriven(dense=dense))
        for dense in (False, True)
    )
    ax = plots.trajectory(plain)[0]
    assert titles(ax)[0].startswith("saves are too far apart") and len(ax.lines[0].get_xdata()) == 6
    # a long sentence takes nothing of the width of the Axes
    ax.figure.set_size_inches(6.4, 3.8)
    ax.figure.canvas.draw()
    assert ax.get_position().width > 0.8
    ax = plots.trajectory(dense)[0]
    times, overlap = (np.asarray(v) for v in (ax.lines[0].get_xdata(), ax.lines[0].get_ydata()))
    first = float(dense.switches.time[0])
    near = np.abs(times - first) < 8
    assert near.sum() > 40 and (np.diff(times) >= 0).all()
    assert_close(overlap[near], dense.evaluate(times[near])["overlaps"][:, 0], 1e-12, "exact")
    assert "too far apart" not in " ".join(texts(ax) + titles(ax))
