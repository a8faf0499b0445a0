"""Pictures of branches, of orbits beneath a sweep, and of basins."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import normal_forms as nf
import numpy as np
import pytest
import xarray as xr

import hopfax as hx
from hopfax.observables import REGIMES

plots = hx.plots


@pytest.fixture(scope="module")
def cusp():
    network = nf.plane(nf.cusp)
    make = hx.dynamics.along(network, "parameter")
    starts = jax.vmap(lambda x: network.init(x=x))(jnp.array([[-1.4, 0.0], [9.0, 9.0]]))
    return hx.dynamics.branch(make, starts, (-1.0, 1.0), step=0.05)


def lines(ax, style):
    return [
        line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_linestyle() == style
    ]


def test_stable_parts_are_solid_and_folds_are_marked(cusp):
    ax = plots.branch(cusp)
    edge = 2 / (3 * np.sqrt(3))
    solid, dashed = lines(ax, "-"), lines(ax, "--")
    assert len(solid) == 2 and len(dashed) == 1  # the second start led nowhere
    # the unstable part lies between the folds, to a step of the branch
    assert np.ptp(dashed[0].get_xdata()) == pytest.approx(2 * edge, abs=0.15)
    marks = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert np.allclose(
        sorted(float(np.ravel(line.get_xdata())[0]) for line in marks), [-edge, edge]
    )
    assert ax.get_xlabel() == "parameter" and ax.get_ylabel() == "overlap"
    plt.close(ax.figure)


def test_what_a_branch_does_not_have_is_named(cusp):
    with pytest.raises(ValueError, match="`found` has no saliency"):
        plots.branch(cusp, show="saliency")
    with pytest.raises(ValueError, match="`memories`"):
        plots.branch(cusp, memories=[3])
    with pytest.raises(TypeError, match="`found` must be a branch"):
        plots.branch([3])
    with pytest.raises(ValueError, match="`found` must hold at least one"):
        plots.branch([])
    plt.close("all")


def orbits(**changed):
    """A made-up branch of orbits: the dwell is 2 tau +- sqrt(kappa - 3) tau, tau = 20."""
    kappa = np.array([5.0, 4.0, 3.0, 4.0, 5.0])
    dwell = 20 * (2 + np.array([1, 1, 0, -1, -1]) * np.sqrt(kappa - 3))
    rows, none = np.zeros((5, 1)), np.zeros(0)
    parts = dict(name="kappa", parameter=kappa, overlaps=rows, saliency=None, spectrum=rows)
    parts |= dict(stable=np.array([True, True, False, False, False]), vectors=rows, ended="")
    fold = hx.dynamics.Special("fold", 3.0, 0, none, none, None, None, none, returns=40.0)
    parts |= dict(special=[fold], look=max, returns=dwell, order=np.array([1, 2, 0]))
    return hx.dynamics.Branch(**parts | changed)


def swept():
    """A made-up sweep over the gain, the separation of timescales 20."""
    kappa = np.linspace(2.0, 5.0, 7)
    regime = np.where(kappa >= 3, REGIMES.index("sequence"), REGIMES.index("collapse"))
    found = {"regime": ("kappa", regime), "dwell": ("kappa", np.where(kappa >= 3, 50.0, np.nan))}
    return xr.Dataset(found, {"kappa": kappa}, {"parameters": '{"tau": 20.0}'})


def test_orbits_lie_beneath_the_dwells_of_a_sweep_in_its_units():
    ax = plots.bifurcation(swept(), orbits=orbits())
    solid, dashed = (
        [line for line in lines(ax, style) if line.get_color() == "black"] for style in ("-", "--")
    )
    assert len(solid) == len(dashed) == 1
    np.testing.assert_allclose(solid[0].get_ydata(), [2 + 2**0.5, 3.0, 2.0])
    np.testing.assert_allclose(dashed[0].get_ydata(), [2.0, 1.0, 2 - 2**0.5])
    (fold,) = [line for line in ax.lines if str(line.get_label()).startswith("fold")]
    assert fold.get_xdata() == [3.0] and fold.get_ydata() == [2.0]
    assert fold.get_label() == r"fold, $\kappa$ = 3"
    with pytest.raises(ValueError, match="along the axis of the sweep, 'kappa'.*'tau'"):
        plots.bifurcation(swept(), orbits=orbits(name="tau"))
    with pytest.raises(ValueError, match="come back after one dwell.*without a relabelling"):
        plots.bifurcation(swept(), orbits=orbits(order=None))
    with pytest.raises(ValueError, match="come back after one dwell.*a branch of no orbits"):
        plots.bifurcation(swept(), orbits=orbits(returns=None))
    plt.close("all")


def test_a_basin_map_names_what_runs_end_in():
    ends = np.array(
        [
            [[0.9, 0.0, 0.1], [-0.9, 0.1, 0.0], [0.5, -0.5, 0.5]],
            [[0.0, 0.0, 0.0], [0.2, 0.1, 0.0], [0.0, 0.0, 0.9]],
            [[0.0, 0.1, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.9]],
        ]
    )
    regime = np.full((3, 3), REGIMES.index("undecided"))
    regime[2, 0], regime[2, 1] = REGIMES.index("collapse"), REGIMES.index("sequence")
    status = np.zeros((3, 3), int)
    status[2, 2] = 3  # failed, so that its overlap does not count
    a, b = "init.weights[0]", "init.weights[1]"
    data = {"overlaps_end": ((a, b, "pattern"), ends), "regime": ((a, b), regime)}
    data |= {"status": ((a, b), status)}
    dataset = xr.Dataset(data, {a: [0.0, 1.0, 2.0], b: [0.0, 1.0, 2.0]})
    ax = plots.basin_map(dataset)
    words = ["sequence", "memory 0", "-memory 0", "memory 2", "mixture 0 -1 2", "spurious"]
    words += ["silent", "collapse"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*words, "failed"]
    codes = np.array([[1, 2, 4], [6, 5, 3], [7, 0, -1]]).T
    shown = ax.collections[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(shown, -1).reshape(3, 3), codes)
    assert ax.get_xlabel() == "start weight $y_{0}(0)$"
    for wrong in (dataset.isel({a: 0}), dataset.drop_vars("overlaps_end")):
        with pytest.raises(ValueError, match="`dataset` must have `overlaps_end` over two axes"):
            plots.basin_map(wrong)
    plt.close("all")
