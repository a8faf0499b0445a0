"""Tasks are drawn as they say: every place, value and condition, and how often each comes."""

import itertools
import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

from hopfax.examples.tasks import induction_attempt, induction_head, selective_copying

pytestmark = pytest.mark.slow  # what is tested are examples, and each compiles

FOUR_ERRORS = "four standard errors of the sample"


def drawn(task, count, seed=0, **sizes):
    """Many sequences as NumPy arrays."""
    many = jax.jit(jax.vmap(lambda key: task(key, **sizes)))
    return jax.tree.map(np.asarray, many(jr.split(jr.key(seed), count)))


def assert_uniform(sample, first, last, every=True):
    """Each of first..last comes equally often, and nothing else comes."""
    counts = np.bincount(sample.ravel(), minlength=last + 1)
    assert sample.min() >= first and sample.max() <= last
    p, n = 1 / (last - first + 1), sample.size
    assert_close(
        counts[first:] / n,
        np.full(last - first + 1, p),
        4 * math.sqrt(p * (1 - p) / n),
        FOUR_ERRORS,
    )


@pytest.fixture(scope="module")
def copying():
    return drawn(selective_copying, 4000, values=5, items=3, context=9)


def test_copying_answers_are_the_values_in_order(copying):
    tokens, targets = copying
    assert tokens.shape == (4000, 12) and targets.shape == (4000, 3)
    assert tokens.dtype == targets.dtype == np.int32
    assert (tokens[:, 9:] == 6).all()
    context = tokens[:, :9]
    assert (context != 6).all() and ((context != 0).sum(1) == 3).all()
    assert_close(context[context != 0].reshape(-1, 3), targets, 0, "whole numbers")


def test_copying_values_and_places_are_uniform(copying):
    tokens, targets = copying
    for item in range(3):
        assert_uniform(targets[:, item], 1, 5)
    places = np.argwhere(tokens[:, :9] != 0)[:, 1].reshape(-1, 3)
    number = {triple: n for n, triple in enumerate(itertools.combinations(range(9), 3))}
    assert_uniform(np.array([number[tuple(triple)] for triple in places.tolist()]), 0, 83)


def test_copying_fills_the_context_at_the_smallest_length():
    tokens, targets = drawn(selective_copying, 10, values=2, items=4, context=4)
    assert_close(tokens[:, :4], targets, 0, "no place is left for noise")


def multiset_knower(items, values):
    """Token accuracy and cross-entropy of who knows which values came, but not their order."""
    accuracy = loss = 0.0
    for triple in itertools.product(range(values), repeat=items):
        share = np.bincount(triple, minlength=values) / items
        # Nothing is learned from earlier answers: the queries do not contain them.
        accuracy += share.max()
        loss -= (share[share > 0] * np.log(share[share > 0])).sum()
    return accuracy / values**items, loss / values**items


def test_the_plateau_of_who_knows_the_values_but_not_their_order():
    accuracy, loss = multiset_knower(3, 8)
    # All different (42/64): 1/3 and log 3; two equal (21/64): 2/3 and 0.6365; all equal: 1 and 0.
    assert_close(accuracy, (42 / 3 + 21 * 2 / 3 + 1) / 64, 1e-12, "rounding")
    assert_close(accuracy, 0.454, 2e-3, "figure printed with three digits")
    assert_close(loss, 0.929, 2e-3, "figure printed with three digits")


@pytest.mark.parametrize("trigger", [(2,), (0, 1), (1, 1), (0, 1, 0)])
def test_induction_has_the_trigger_twice_and_its_follower_is_the_answer(trigger):
    T, L = 24, len(trigger)
    tokens, target = drawn(induction_head, 4000, values=4, trigger=trigger, length=T)
    assert tokens.shape == (4000, T) and target.shape == (4000,)
    assert tokens.dtype == target.dtype == np.int32
    assert tokens.min() == 0 and tokens.max() == 3
    windows = np.lib.stride_tricks.sliding_window_view(tokens, L, axis=1)
    occurs = (windows == np.array(trigger)).all(-1)
    assert (occurs.sum(1) == 2).all() and occurs[:, -1].all()
    place = occurs.argmax(1)
    assert place.min() == L and place.max() == T - 2 * L - 2
    assert_close(tokens[np.arange(4000), place + L], target, 0, "whole numbers")


def test_one_token_triggers_come_at_uniform_places_among_uniform_others():
    tokens, target = drawn(induction_head, 8000, values=4, trigger=(2,), length=12)
    assert_uniform((tokens == 2).argmax(1), 1, 8)
    other = np.array([0, 1, -1, 2])
    assert_uniform(other[target], 0, 2)
    for step in (0, 4, 10):  # those that hold no trigger
        assert_uniform(other[tokens[tokens[:, step] != 2, step]], 0, 2)


def avoiding(trigger, values, length):
    """The accepted sequences and their places, all of them, by enumeration."""
    L, accepted = len(trigger), []
    for place in range(L, length - 2 * L - 1):
        free = [t for t in range(length - L) if not place <= t < place + L]
        for fill in itertools.product(range(values), repeat=len(free)):
            tokens = np.empty(length, int)
            tokens[free] = fill
            tokens[place : place + L] = tokens[-L:] = trigger
            found = [tuple(tokens[t : t + L]) == trigger for t in range(length - L + 1)]
            if sum(found) == 2:
                accepted.append(tokens)
    return np.array(accepted)


def test_longer_triggers_are_drawn_uniformly_from_all_sequences_that_hold_them_twice():
    # Two values, 10 steps: few enough to count each. `(0, 0)` overlaps itself, the harder case.
    every = avoiding((0, 0), 2, 10)
    code = {tuple(tokens): n for n, tokens in enumerate(every)}
    assert len(code) == len(every) > 10  # the places follow from the tokens
    tokens, _ = drawn(induction_head, 20000, values=2, trigger=(0, 0), length=10)
    assert_uniform(np.array([code[tuple(row)] for row in tokens.tolist()]), 0, len(every) - 1)


def acceptance(trigger, values, length):
    """The chance that an attempt is accepted, by counting along the matching automaton."""
    L = len(trigger)

    def matched(state, token):
        """How much of the trigger's beginning the last tokens spell, after one more."""
        spelt = trigger[:state] + (token,)
        lengths = range(min(len(spelt), L), -1, -1)
        return next(k for k in lengths if spelt[len(spelt) - k :] == trigger[:k])

    total, places = 0.0, range(L, length - 2 * L - 1)
    for place in places:
        chance = np.zeros(L + 1)
        chance[0] = 1.0
        for t in range(length):
            planted = t - place if place <= t < place + L else t - (length - L)
            tokens = [trigger[planted]] if 0 <= planted < L else range(values)
            after = np.zeros(L + 1)
            for state, token in itertools.product(range(L + 1), tokens):
                after[matched(state, token)] += chance[state] / len(tokens)
            if t not in (place + L - 1, length - 1):
                after[L] = 0.0
            chance = after
        total += chance.sum() / len(places)
    return total


@pytest.mark.parametrize("trigger, expected", [((0, 1), 0.39), ((0, 1, 2), 0.89)])
def test_attempts_are_accepted_as_often_as_they_should(trigger, expected):
    exact = acceptance(trigger, 8, 64)
    assert_close(exact, expected, 0.01, "figure printed with two digits")
    _, accepted = drawn(induction_attempt, 20000, values=8, trigger=trigger, length=64)
    error = math.sqrt(exact * (1 - exact) / 20000)
    assert_close(accepted.mean(), exact, 4 * error, FOUR_ERRORS)


def test_the_same_key_gives_the_same_sequence_in_a_batch_or_alone():
    sizes = dict(values=3, trigger=(0, 1), length=20)
    tokens, target = drawn(induction_head, 5, seed=3, **sizes)
    alone = jax.jit(lambda key: induction_head(key, **sizes))(jr.split(jr.key(3), 5)[4])
    assert_close(alone.tokens, tokens[4], 0, "whole numbers")
    assert_close(alone.target, target[4], 0, "whole numbers")
    assert (tokens[0] != tokens[1]).any()


@pytest.mark.parametrize(
    "task, wrong, error, text",
    [
        (selective_copying, dict(items=5, context=4), ValueError, "`context` must be >= 5, got 4"),
        (selective_copying, dict(values=0), ValueError, "`values` must be >= 1, got 0"),
        (selective_copying, dict(items=1.0), TypeError, "`items` must be a Python int, got float"),
        (induction_head, dict(values=1), ValueError, "`values` must be >= 2, got 1"),
        (induction_head, dict(trigger=()), TypeError, "`trigger` must be a tuple"),
        (induction_head, dict(trigger=(0, 8)), ValueError, r"from 0 to values - 1 = 7, got \(0, 8"),
        (
            induction_head,
            dict(trigger=(0, 1), length=7),
            ValueError,
            "`length` must be >= 8, got 7",
        ),
    ],
)
def test_sizes_that_cannot_be_are_named(task, wrong, error, text, as_a_user_runs_it):
    with pytest.raises(error, match=text):
        task(jr.key(0), **wrong)


def test_a_number_is_no_key():
    with pytest.raises(TypeError, match="jax.random.key"):
        selective_copying(jnp.zeros(()))
