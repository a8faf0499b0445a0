"""Digits completed by memories: better than by their nearest neighbour, and only if trained."""

import jax.random as jr
import pytest

from hopfax.examples import digits


@pytest.mark.slow
def test_memories_beat_the_baselines_and_the_untrained():
    found = digits.run(seed=0, steps=300)
    nearest, regression = found["nearest"], found["regression"]
    # Of 500 digits: the standard error of an accuracy is 0.014, most of it shared by all.
    assert 0.85 < nearest["accuracy"] < 0.93 and 0.83 < regression["accuracy"] < 0.90
    assert found["retrieval"]["accuracy"] > nearest["accuracy"] + 0.005
    for name in digits.MODELS:
        assert found[name]["error"] < 0.95 * min(nearest["error"], regression["error"]), name
        assert found[name]["accuracy"] > regression["accuracy"], name


@pytest.mark.slow
def test_an_untrained_table_knows_nothing():
    train, test = digits.load(jr.key(0))
    assert train.images.shape == (1297, 64) and test.images.shape == (500, 64)
    for make in (digits.Lookup, digits.Dense):
        accuracy, error = digits.scores(make(jr.key(1)), test, train)
        assert accuracy < 0.4 and error > 0.8
    # while the training set, untrained, is a nearest neighbour of sorts
    assert digits.scores(digits.Retrieval(jr.key(1)), test, train)[0] > 0.7


def test_the_command_prints_a_table(capsys, monkeypatch):
    monkeypatch.setattr(digits, "run", lambda seed, steps: {"x": {"accuracy": 0.5, "error": 1.0}})
    digits.main(["--seed", "3"])
    assert "x               0.500    1.000" in capsys.readouterr().out


def test_no_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        digits.main(["--steps", "0"])
    assert "--steps: must be at least 1" in capsys.readouterr().err
