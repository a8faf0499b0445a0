"""Bags of which a few instances decide, told apart by a pooling memory."""

import numpy as np
import pytest

from hopfax.examples import bags as example


def test_only_bags_of_one_kind_have_a_signal():
    bags = example.bit_patterns(3, bags=200)
    codes = bags.data @ 2 ** np.arange(8)
    assert (codes > 0).all() and bags.target.sum() == 100
    assert (bags.tells.sum(1) == bags.target).all()
    signals = set(codes[bags.tells])
    assert len(signals) == 8 and not signals & set(codes[~bags.tells])
    bags = example.repertoires(3, bags=20)
    assert (bags.tells.sum(1) == 4 * bags.target).all()
    letters = bags.data.reshape(20, 100, 12, 20).argmax(-1)
    windows = np.lib.stride_tricks.sliding_window_view(letters, 4, axis=2)
    first = windows[bags.tells][0]  # of one carrier, of which one window is the motif
    motif = [w for w in first if (windows == w).all(-1).any(2)[bags.tells].all()]
    assert len(motif) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
def test_a_pool_finds_the_sequences_that_tell():
    found, _ = example.run("repertoires", epochs=15, seeds=1)
    assert found.loss[0, -1] < 0.1 < 0.6 < found.loss[0, 0]
    assert found.held_out[0, -1] > 0.85  # half of the bags are of either kind
    assert found.found[0] > 0.3  # of the weight is on 4 % of the sequences
