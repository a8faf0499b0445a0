"""Pictures of branches."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import normal_forms as nf
import numpy as np
import pytest

import hopfax as hx

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
