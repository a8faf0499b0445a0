"""Melodies, in which notes have several successors, replayed by a recurrent layer."""

import numpy as np
import pytest

from hopfax.examples import melodies


@pytest.mark.slow
def test_a_layer_with_contexts_replays_what_a_gru_learns():
    notes = melodies.as_notes(melodies.MELODIES["Ode to Joy"][:15])
    followed = {(a, b) for a, b in zip(notes[:-1], notes[1:], strict=True)}
    assert len(followed) > len(np.unique(notes)) + 3  # most notes have several successors
    found = melodies.run(melodies.MELODIES["Ode to Joy"][:15], epochs=100)
    assert found["contexts"] == found["trained"] == found["gru"] == 1
    assert found["alone"] == found["alone_trained"] == found["notes"] == 15
    assert found["plain"] < 0.6  # without contexts
    assert found["losses"][1] < found["losses"][0]


def test_notes_before_the_first_wrong_one_are_counted():
    notes = melodies.as_notes("CDECC")
    assert notes.tolist() == [0, 1, 2, 0, 0]
    assert melodies._right([0, 1, 2, 0, 0, 1], notes) == 5
    assert melodies._right([0, 1, 0], notes) == 2
    assert melodies._right([], notes) == 0
