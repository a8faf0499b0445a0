"""The graph of a transition matrix, and the staircase of a run on the saliency map."""

import math

import matplotlib
import numpy as np
import pytest

import hopfax as hx
from hopfax import plots

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import same_color  # noqa: E402
from matplotlib.patches import Circle, FancyArrowPatch  # noqa: E402

TAU, KAPPA = 20.0, 5.0


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def simulated(transition, kappa=KAPPA):
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), transition, kappa=kappa, tau=TAU, bias=0.01
    )
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    return hx.simulate(network, start, np.linspace(0.0, 200.0, 201))


@pytest.fixture(scope="module")
def run():
    return simulated(np.roll(np.eye(4), 1, axis=0))


def arrows(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def circles(ax, filled):
    found = [patch for patch in ax.patches if isinstance(patch, Circle)]
    return [patch for patch in found if bool(patch.get_fill()) == filled]


def nearest(ax, point):
    """The memory whose node is nearest to a point."""
    centres = np.array([node.center for node in circles(ax, True)])
    return int(np.linalg.norm(centres - point, axis=1).argmin())


def ends(ax, arrow):
    """From which memory to which an arrow leads."""
    path = arrow.get_path().vertices  # of the line, before the head is put on
    return nearest(ax, path[0]), nearest(ax, path[2])


@pytest.mark.parametrize("P", [2, 3, 7, 12])
def test_every_entry_has_an_arrow_from_its_column_to_its_row(P):
    A = np.roll(np.eye(P), 1, axis=0) + np.where(np.eye(P), 0.25, 0.0)
    A[0, P // 2] = -0.5
    ax = plots.transition_graph(A)
    off = A * (1 - np.eye(P))
    pairs = [ends(ax, arrow) for arrow in arrows(ax)]
    assert sorted(pairs) == sorted((int(old), int(new)) for new, old in np.argwhere(off))
    assert len(circles(ax, False)) == P  # the rings
    widths = {pair: arrow.get_linewidth() for pair, arrow in zip(pairs, arrows(ax), strict=True)}
    assert widths[(P // 2, 0)] < max(widths.values())
    dashed = [
        pair for pair, arrow in zip(pairs, arrows(ax), strict=True) if arrow.get_linestyle() != "-"
    ]
    assert dashed == [(P // 2, 0)]
    nodes = circles(ax, True)
    for k, node in enumerate(nodes):  # no node covers another one
        for other in nodes[:k]:
            apart = math.dist(node.center, other.center)
            assert apart > 1.5 * (node.radius + other.radius)
    assert [text.get_text() for text in ax.texts] == [str(k) for k in range(P)]


def test_weights_that_are_next_to_nothing_are_left_out():
    A = np.roll(np.eye(4), 1, axis=0)
    A[2, 0] = 0.01
    assert len(arrows(plots.transition_graph(A))) == 4
    assert not arrows(plots.transition_graph(np.zeros((3, 3))))


def test_a_run_colours_what_it_did_and_tells_dwells(run):
    A = np.roll(np.eye(4), 1, axis=0)
    A[0, 2] = 0.05  # which no run of the cycle takes
    ax = plots.transition_graph(A, run, items=["do", "re", "mi", "fa"])
    blue = [a for a in arrows(ax) if same_color(a.get_edgecolor(), plots.COLOURS[0])]
    taken = {ends(ax, arrow) for arrow in blue}
    assert taken == {(0, 1), (1, 2), (2, 3), (3, 0)} and len(arrows(ax)) == 5
    path = hx.observables.visited(run).tolist()
    stays = np.asarray(hx.observables.dwell_times(run))
    pairs = list(zip(path[1:], stays, strict=False))
    mean = [np.mean([stay for mu, stay in pairs if mu == k]) for k in range(4)]
    texts = [text.get_text() for text in ax.texts]
    assert texts[::2] == ["do", "re", "mi", "fa"]
    assert texts[1::2] == [f"{stay:.3g}" for stay in mean]
    radii = np.array([node.radius for node in circles(ax, True)])
    np.testing.assert_allclose(radii**2 / radii.max() ** 2, mean / np.max(mean), rtol=1e-12)


def test_a_graph_refuses_what_is_none(run):
    with pytest.raises(ValueError, match="`transition`"):
        plots.transition_graph(np.ones((2, 3)))
    with pytest.raises(ValueError, match="`transition`"):
        plots.transition_graph(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="`items`"):
        plots.transition_graph(np.eye(4), items=["a"])
    with pytest.raises(ValueError, match="`run`"):
        plots.transition_graph(np.eye(3), run)


def staircase(ax):
    (curve,) = [curve for curve in ax.lines if curve.get_label() == "simulated run"]
    return np.asarray(curve.get_xdata(), float), np.asarray(curve.get_ydata(), float)


def test_the_staircase_of_a_run_goes_from_each_entry_to_the_next(run):
    ax = plots.saliency_map(KAPPA, 4, run=run)
    x, y = staircase(ax)
    escapes = np.asarray(run.escapes)
    escapes = escapes[np.isfinite(escapes)]
    path = hx.observables.visited(run).tolist()
    z = np.asarray(run.saliency)
    entered = [4.0] + [
        float(np.interp(t, run.ts, z[:, mu])) for t, mu in zip(escapes, path[1:], strict=False)
    ]
    assert y[0] == 1.0 and x[0] == 4.0 and len(entered) >= 5
    np.testing.assert_allclose(x[::2], entered[: len(x[::2])], rtol=1e-9)
    # The theory of the limit: at the first escape kappa (1 - 1 / 4), to the lag of x behind z,
    # which is of order 1 / tau, and a linear interpolation between saves 1 apart.
    assert abs(x[2] - KAPPA * 0.75) < 2 / TAU


def test_the_staircase_of_a_run_that_ended_falls_off():
    run = simulated(np.roll(np.eye(4), 1, axis=0), kappa=2.0)
    _, y = staircase(plots.saliency_map(2.0, 4, run=run))
    assert y[-1] == 1.0
    with pytest.raises(ValueError, match="`Z0`"):
        plots.saliency_map(2.0, 4, Z0=3.0, run=run)
    silent = hx.OneTimescaleHopfield(hx.patterns.hadamard(4, 16), np.eye(4))
    still = hx.simulate(silent, silent.init(weights=[2.0, 0.0, 0.0, 0.0]), np.linspace(0.0, 5.0, 6))
    with pytest.raises(ValueError, match="`run` has no saliencies"):
        plots.saliency_map(2.0, 4, run=still)
