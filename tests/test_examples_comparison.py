"""One task for every family: damaged images, and a sequence."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from matplotlib.figure import Figure

from hopfax.examples import comparison
from hopfax.examples.comparison import Found, Replay, erase, flip, right_order

pytest.importorskip("sklearn")


def test_damage_is_what_it_says():
    images = comparison.load()
    assert images.shape == (10, 64) and images.sum(1).tolist() == [24] * 10
    image = np.asarray(images[3])
    rng = np.random.default_rng(1)
    for share in (0.25, 0.5, 1.0):
        left = erase(rng, image, share)
        assert left.sum() == 24 - round(24 * share) and not (left > image).any()
        turned = flip(rng, image, share)
        assert abs(turned - image).sum() == round(64 * share)
    assert image.sum() == 24  # as it was
    given, again = (comparison.task(2, (0.5,), (0.25,)) for _ in range(2))
    assert given.erased.shape == given.flipped.shape == (1, 2, 10, 64)
    assert jnp.array_equal(given.erased, again.erased)
    assert not jnp.array_equal(given.erased[0, 0], given.erased[0, 1])


@pytest.mark.slow
def test_every_network_holds_every_image():
    images = comparison.load()
    for name, entrant in comparison.networks(images).items():
        network, family = entrant
        for image in images[:3]:
            state = comparison.shown(entrant, image)
            assert jnp.array_equal(family.readout(state), image > 0.5), name
        state = comparison.shown(entrant, images[4])
        if name == "rate":
            field = network.vector_field(0.0, state)
            assert_close(field.rates, np.zeros(64), 1e-12, "an exact equilibrium")
        if name.startswith("dense"):
            assert jnp.array_equal(network.step(state).spins, 2 * images[4] - 1)


def test_the_order_counts_from_the_first_until_it_breaks():
    assert right_order([0, 1, 2, 3], 4) == 4 and right_order([0, 1, 2, 3, 0, 1], 4) == 4
    assert right_order([0, 1, 3, 2], 4) == 2 and right_order([0], 4) == 1
    assert right_order([1, 2], 4) == 0


def test_the_nearest_image_is_found_by_hand():
    images = jnp.eye(3)
    cues = jnp.stack([images, images[jnp.array([0, 2, 1])]])[:, None]
    assert_close(comparison.nearest(images, cues), [[1.0], [1 / 3]], 1e-12, "a mean of three")


def test_table_and_figure():
    given = comparison.task(2)
    shares = np.array([[1.0, 0.8]] * 6)
    run = Replay([0, 1, 2], np.linspace(0.0, 24.0, 4), np.eye(10)[:4])
    found = {
        "nearest image": Found(shares, shares, None),
        "rate": Found(shares - 0.3, shares, run),
    }
    rows = comparison.table(found).splitlines()
    assert rows[2].split() == ["nearest", "image", *["90", "±10"] * 12, "-"]
    assert rows[3].split() == ["rate", *["60", "±10"] * 6, *["90", "±10"] * 6, "3"]
    figure = comparison.draw(given, found)
    assert isinstance(figure, Figure)
    figure.canvas.draw()


@pytest.mark.slow
def test_rates_recall_like_the_others_and_those_with_an_order_go_on():
    given, found = comparison.run(1, only=("dense, n = 20", "rate"))
    assert list(found) == ["nearest image", "dense, n = 20", "rate"]
    for name in ("dense, n = 20", "rate"):
        row = found[name]
        assert row.erased[0] >= 0.9 and row.flipped[0] == 1.0  # of ten images
        assert row.erased[-1] < row.erased[0]
        assert row.replay is not None
        assert row.replay.order == ([0] if name == "rate" else [*range(10)])
    for name in ("slow synapses", "dense, held"):
        order = comparison.replay(comparison.networks(given.images, order=True)[name]).order
        assert right_order(order, 10) == 10
    moving = comparison.networks(given.images, order=True)["two-timescale rate"]
    order = comparison.replay(moving).order
    assert right_order(order, 10) == 10 and order[:12] == [*range(10), 0, 1]


def test_bad_arguments_are_refused(capsys):
    with pytest.raises(SystemExit):
        comparison.main(["--seeds", "0"])
    assert "argument --seeds: must be at least 1, got 0" in capsys.readouterr().err
