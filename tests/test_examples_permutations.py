"""Hidden permutations are learnt and replayed."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from hopfax.examples import permutations as example


def overlaps(path, P=4):
    return np.eye(P)[path]


def test_a_replay_is_judged():
    following = np.array([1, 2, 0, 3])  # 0 -> 1 -> 2 -> 0, and 3 alone
    assert example.cycles(following) == [3, 1]
    good = overlaps([0, 0, 1, 2, 2, 0, 1, 2, 0])
    assert example.recalled(good) == [0, 1, 2, 0, 1, 2, 0]
    assert example.goes_round(good, following, 0, 2)
    assert not example.goes_round(good, following, 0, 3)  # too short
    assert not example.goes_round(good, following, 1, 1)  # another cue
    assert not example.goes_round(overlaps([0, 1, 0, 1, 2, 0]), following, 0, 1)
    assert not example.goes_round(overlaps([0, 2, 1, 0]), following, 0, 1)
    assert example.goes_round(0.9 * overlaps([3, 3, 3]), following, 3, 2)
    assert not example.goes_round(overlaps([3, 3, 0]), following, 3, 2)
    fading = np.concatenate([overlaps([3, 3]), np.zeros((1, 4))])
    assert not example.goes_round(fading, following, 3, 2)


@pytest.mark.slow
def test_examples_follow_the_permutation():
    items, following = jr.rademacher(jr.key(0), (6, 64), float), example.hidden(jr.key(1), 6)
    made = jax.jit(example.examples, static_argnums=(3, 4))
    shown, target = made(jr.key(2), items, following, 5, 3)
    assert shown.shape == (5, 3, 64) and target.shape == (5, 3)
    m = jnp.einsum("btn,pn->btp", shown, items) / 64
    assert (following[m.argmax(-1)] == target).all()
    assert 0.7 < float(m.max(-1).mean()) < 0.9  # a tenth of the signs is wrong
    assert (following[target[:, :-1]] == target[:, 1:]).all()
    assert example.cycles(np.asarray(example.hidden(jr.key(1), 6, one_cycle=True))) == [6]


@pytest.mark.slow
def test_permutations_are_recovered_and_replayed():
    found = example.run(items=8, seed=7, seeds=5)
    assert found["recovered"].all() and (found["replayed"] == 1).all()
    assert (found["entry"] > 0.9).all()
    assert max(map(max, found["cycles"])) > 3


@pytest.mark.slow
def test_a_long_loop_is_learnt_and_as_slow_as_theory_says():
    found = example.run(items=16, seed=3, seeds=3, one_cycle=True)
    assert found["recovered"].all() and (found["replayed"] == 1).all()
    assert found["cycles"] == 3 * [[16]]
    # Theory is that of orthogonal memories; these are random, read by the pseudo-inverse.
    assert example.simulated_dwell(found["layer"]) == pytest.approx(example.dwell(), rel=0.02)


@pytest.mark.parametrize("seeds", ["0", "-1"])
def test_no_seeds_are_refused(seeds, capsys):
    with pytest.raises(SystemExit):
        example.main(["--", seeds])
    assert "seeds: must be at least 1" in capsys.readouterr().err
