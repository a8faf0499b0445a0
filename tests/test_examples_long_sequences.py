"""A text and a film as one sequence of a dense memory."""

import numpy as np
import pytest

import hopfax as hx
from hopfax.examples import long_sequences as example


def test_a_text_is_replayed_to_its_end_by_high_orders_alone(capsys):
    text = example.letters(300)
    assert "".join(example.ALPHABET[k] for k in text).startswith("special method names")
    exact = example.of_text(text, 20, 8, hx.Exponential(1.0))
    assert exact == (0.0, 0.0, 281)
    wrong = example.of_text(text, 20, 8, hx.Power(2))
    assert wrong.symbols > 0.5 and wrong.items > 0.9 and wrong.first < 10


def test_windows_that_come_twice_are_refused():
    with pytest.raises(ValueError, match="`window`"):
        example.windows(example.letters(300), 2, 8)
    with pytest.raises(ValueError, match="`letters`"):
        example.letters(10**6)


def test_a_film_of_images_that_resemble_each_other():
    frames = example.film()[:200]
    assert len(np.unique(frames, axis=0)) == 200
    assert example.of_film(frames, hx.Exponential(3.0)).items == 0
    assert example.of_film(frames, hx.Power(3)).items > 0.9


def test_the_capacity_of_random_sequences_is_that_of_runs():
    """At N = 64 and order 3 errors begin between half and twice what the theory says."""
    law = example.capacity(hx.Power(3), 64)

    def replayed(M):
        items = np.random.default_rng(0).choice([-1.0, 1.0], (int(M), 64))
        states = example.replayed(items, hx.Power(3), 0)
        return (states == items).all()

    assert replayed(law / 2) and not replayed(2 * law)
    assert example.capacity(hx.Exponential(1.0), 432) == np.inf
