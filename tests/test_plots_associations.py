"""The picture of an inspection: what is drawn where."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402

INSPECT = eqx.filter_jit(hx.nn.inspect)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def seen(Q, steps=3):
    layer = hx.nn.HopfieldRetrieval(2, 4, steps=steps, beta=jnp.array([0.5, 5.0]), key=jr.key(0))
    return INSPECT(layer, jr.normal(jr.key(1), (Q, 4)), jr.normal(jr.key(2), (5, 4)))


def heights_of(ax: Any):
    return [bar.get_height() for bar in ax.patches]


def test_a_column_for_each_head_shows_weights_energies_and_effective_items():
    found = seen(3)
    figure = hx.plots.associations(found)
    axes = np.array(figure.axes[:6]).reshape(3, 2)
    for h in range(2):
        matrix, energies, items = axes[:, h]
        assert matrix.get_title() == f"head {h}"
        (image,) = matrix.images
        assert_close(image.get_array(), found.weights[h], 0, "as it is")
        assert image.get_clim() == (0.0, float(found.weights.max()))  # the same in all heads
        for q, line in enumerate(energies.lines):
            expected = found.energy[:, h, q] - found.energy[-1, h, q]
            assert_close(line.get_ydata(), expected, 0, "the same difference")
        heights = heights_of(items)
        assert_close(heights, found.effective[h], 0, "as it is")
        assert items.get_ylim()[1] > found.effective.max()
        fills = [bar.get_facecolor() for bar in items.patches]
        lines = [to_rgba(line.get_color()) for line in energies.lines]
        assert fills == lines and len(set(fills)) == 3


@pytest.mark.slow
def test_one_state_is_drawn_by_bars_and_one_step_has_no_energies():
    found = seen(1)
    figure = hx.plots.associations(found)
    assert len(figure.axes) == 4  # and no scale of colours
    heights = heights_of(figure.axes[1])
    assert_close(heights, found.weights[1, 0], 0, "as it is")
    assert figure.axes[1].get_title() == f"head 1, {found.effective[1, 0]:.3g} effective items"
    assert len(hx.plots.associations(seen(2, steps=1)).axes) == 5
    dense = hx.nn.DenseMemoryLayer(4, 6, interaction=hx.Softmax(1.0), steps=2, key=jr.key(0))
    into = plt.figure()
    found = hx.nn.inspect(dense, dense.memories[1])
    assert hx.plots.associations(found, into) is into
    heights = heights_of(into.axes[0])
    assert_close(heights, found.weights, 0, "as it is")
    line = np.asarray(into.axes[1].lines[0].get_ydata())
    assert_close(line, found.energy - found.energy[2], 0, "the same difference")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_is_no_inspection_is_named():
    with pytest.raises(TypeError, match="`inspection` must be what hopfax.nn.inspect returns"):
        hx.plots.associations(np.ones((2, 3)))
    with pytest.raises(TypeError, match="`figure` must be"):
        hx.plots.associations(seen(2), plt.figure().subplots())
