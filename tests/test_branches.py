"""Memories with several successors in a target, which are named before a long search."""

import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax._fit._memory import branches, skipped
from hopfax.cli.sequential.fit import _branches

ROUND = [0, 1, 2, 3]
#: Rounds of four, in the third of which the row of memory 2 is missing.
TORN = [*ROUND, *ROUND, 0, 1, 3, *ROUND]


def test_branches_are_named_with_how_often():
    assert branches([hx.Events(ROUND * 3)]) == ""
    assert branches([hx.Events(TORN)]) == "memory 1 is followed by 2 (3 times) and by 3 (once)"
    two = branches([hx.Events([0, 1, 0, 2]), hx.Events([1, 2, 1])])
    each = [f"memory {a} is followed by {b} (once) and by 2 (once)" for a, b in ((0, 1), (1, 0))]
    assert two == ", ".join(each)
    many = branches([hx.Events([0, 1, 0, 2, 0, 3, 1, 2, 1, 3, 2, 1])])
    assert "and by 2 (once) and 1 more" in many and many.endswith("and 2 more have several")


def test_a_missing_row_is_told_from_a_branch():
    assert skipped([hx.Events(ROUND * 3)]) == ""
    text = skipped([hx.Events(TORN)])
    assert "memory 1 is followed by 2 (3 times) and once by 3, which otherwise follows 2" in text
    assert "a row of memory 2 seems to be missing before entry 10." in text
    times = 25.0 * np.arange(len(TORN))
    both = [hx.Events(ROUND, 25.0 * np.arange(4)), hx.Events(TORN, times)]
    assert "before entry 10 of sequence 1, at t = 250." in skipped(both)
    # a tune that is meant so: no successor is an exception, or several memories have two
    assert skipped([hx.Events([0, 1, 2, 3, 0, 1, 3])]) == ""
    assert skipped([hx.Events([0, 1, 2, 0, 1, 2, 0, 1, 3])]) == ""
    assert skipped([hx.Events([0, 1, 2, 0, 1, 2, 0, 2, 1])]) == ""


def test_the_command_says_what_no_warning_will():
    assert _branches([hx.Events(ROUND * 3)]) == [] == _branches([hx.Events(TORN)])
    (line,) = _branches([hx.Events([0, 1, 0, 2])])
    assert "memory 0 is followed by 1 (once) and by 2 (once)" in line and "contexts" in line


@pytest.mark.slow
def test_a_missing_row_is_warned_of_before_the_search_and_named_in_the_reason():
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), jnp.zeros((4, 4)), kappa=5.0, tau=20.0, bias=0.01
    )
    with pytest.warns(hx.FitWarning, match="a row of memory 2 seems to be missing"):
        found = hx.fit_sequence(network, TORN[4:], progress=False)
    assert "memory 1 is followed by 2 (2 times) and by 3 (once)" in found.reason
