"""Pictures: what is drawn, where, and under which name."""

import json
import math
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close

import hopfax as hx
from hopfax import plots
from hopfax.plots._sweeps import cycle_of

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

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
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, part):
    """The only drawn line whose label contains `part`."""
    (found,) = [curve for curve in ax.lines if part in str(curve.get_label())]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_phase_diagram_names_the_regimes_that_are_there_and_both_limits():
    ax = plots.phase_diagram(made_up())
    names = texts(ax)
    assert names[:2] == ["sequence", "collapse"]
    assert len(names) == 4 and all(r"\tau \to \infty" in name for name in names[2:])
    assert "4.00" in names[2] and r"P \to \infty" in names[2]
    assert "3.61" in names[3] and "P = 4" in names[3]
    assert "kappa" in ax.get_xlabel() and "z_{0}(0)" in ax.get_ylabel()
    assert "10" in ax.get_title() and "20" in ax.get_title()  # horizon and tau


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
def test_the_prediction_at_finite_separation_bears_its_tau():
    ax = plots.phase_diagram(made_up(**{"network.bias": 0.01}))
    kappa, edge = line(ax, r"$\tau = 20$")
    gain = hx.theory.sequential.critical_gain(4, tau=20.0, bias=0.01)
    assert_close(kappa[0], np.asarray(gain), 1e-12, "same function")
    assert (np.diff(edge) <= 0).all() and edge[-1] < 1.2


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
    with pytest.raises(ValueError, match="`dataset`.*coordinate"):
        plots.phase_diagram(made_up().drop_vars("kappa"))


def test_dwell_curve_takes_the_largest_start_and_only_sequences():
    ax = plots.dwell_curve(made_up())
    kappa, dwell = line(ax, "simulation")
    expected = np.where(kappa >= 4, np.log(kappa), np.nan)
    np.testing.assert_allclose(dwell, expected, rtol=1e-12)  # in units of tau
    kappa, dwell = line(ax, "P = 4")
    upper = hx.theory.sequential.fixed_points(kappa, 4).upper
    assert_close(dwell, jnp.log(upper), 1e-12, "same function")
    assert "tau" in ax.get_ylabel()
    with pytest.raises(ValueError, match="`dwell` over `kappa`"):
        plots.dwell_curve(made_up().drop_vars("dwell"))


def test_curves_draws_every_number_of_a_line_and_spells_out_codes():
    data = made_up().isel({"init.saliency[0]": 2})
    data["regime"].attrs = hx.observables.regime_attributes()
    axes = plots.curves(data)
    labels = [ax.get_ylabel() for ax in axes]
    assert labels == ["regime", "dwell (fast time constants)", "switches"]  # no status: all is well
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["sequence", "collapse"]
    data["status"][1] = 1
    assert len(plots.curves(data)) == 4
    with pytest.raises(ValueError, match="`dataset`"):
        plots.curves(made_up())
    with pytest.raises(ValueError, match="`axes` must hold 4"):
        plots.curves(data, axes)


def run_by_hand(saliency=True):
    ts = np.linspace(0.0, 10.0, 11)
    m = np.stack([ts < 5, ts >= 5], axis=1).astype(float)
    no = jnp.zeros(0)
    log = hx.Switches(no, no.astype(int), no.astype(int), no.astype(bool), jnp.array(0))
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


def test_trajectory_without_saliency_needs_one_axes():
    _, ax = plt.subplots()
    assert list(plots.trajectory(run_by_hand(saliency=False), axes=ax)) == [ax]
    with pytest.raises(ValueError, match="`axes` must hold 2"):
        plots.trajectory(run_by_hand(), axes=ax)


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
