"""Fixed points of layers: where they are known, how they are counted, and what the report says."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close
from scipy.optimize import brentq

import hopfax as hx


def two(beta):
    """Two orthogonal memories: on the line between them x = (a, 1 - a) with a = s(beta (2a - 1)),
    s the logistic function, which has three solutions above beta = 2 and one below."""
    layer = hx.nn.DenseMemoryLayer(2, 2, interaction=hx.Softmax(beta), key=jr.key(0))
    return eqx.tree_at(lambda it: it.memories, layer, jnp.eye(2))


def test_two_memories_become_one_mean_at_the_known_temperature():
    found = hx.nn.attractors(two(4.0), starts=jnp.array([[0.5, 0.5], [0.6, 0.1]]))
    a = brentq(lambda a: a - 1 / (1 + np.exp(-4.0 * (2 * a - 1))), 0.6, 1.0, xtol=1e-14)
    # an update changes a state by less than 2e-12 (1 + |x|), which is 0.69 of what is left
    expected = [[a, 1 - a], [1 - a, a], [0.5, 0.5]]
    assert_close(found.states, expected, 1e-10, "at rest within the tolerance")
    assert found.starts.tolist() == [2, 1, 1] and found.memories.tolist() == [1, 1, 0]
    assert found.end.tolist() == [0, 1, 2, 0] and found.stored.tolist() == [True, True]
    assert found.stable.tolist() == [True, True, False]
    p = np.array([a, 1 - a])
    assert_close(found.effective[0], np.exp(-(p * np.log(p)).sum()), 1e-9, "see above")
    energy = p @ p / 2 - np.log(np.exp(4.0 * p).sum()) / 4.0
    assert_close(found.energy[0], energy, 1e-12, "flat at a fixed point")
    assert_close(found.ahead[0], a - 0.5, 1e-10, "of overlaps divided by N = 2")
    warm = hx.nn.attractors(two(1.9), random=20, key=jr.key(1))
    assert_close(warm.states, [[0.5, 0.5]], 1e-9, "see above, with a rate of 0.95")
    assert warm.starts.tolist() == [22] and warm.stable.all() and not warm.stored.any()
    assert hx.nn.RETRIEVED[warm.retrieved[0]] == "the mean of many"


@pytest.mark.slow
def test_one_head_goes_where_many_steps_of_the_layer_go():
    options = dict(qk_size=5, beta=jnp.array([2.0, 1.0]), key=jr.key(0))
    layer = hx.nn.HopfieldRetrieval(2, 4, **options)
    memory, queries = jr.normal(jr.key(1), (6, 4)), jr.normal(jr.key(2), (7, 4))
    found = hx.nn.attractors(layer, memory, queries, head=1)
    many = hx.nn.HopfieldRetrieval(2, 4, steps=400, **options)
    seen = hx.nn.inspect(many, queries, memory)
    end = found.end[6:]
    assert (end >= 0).all()
    assert_close(found.energy[end], seen.energy[-1, 1], 1e-9, "both at rest")
    assert_close(found.effective[end], seen.effective[1], 1e-6, "both at rest")
    assert_close(found.ahead[end], seen.ahead[1], 1e-6, "both at rest")
    assert (found.nearest[end] == seen.weights[1].argmax(-1)).all()
    assert len(found.starts) > 1 or found.starts[0] == 13


@pytest.mark.slow
def test_the_report_says_what_was_found():
    table = hx.nn.HopfieldLookup(30, 1, 16, norms=(), projections=(), beta=4.0, key=jr.key(0))
    found = hx.nn.attractors(table, random=10, key=jr.key(1))
    assert found.starts.sum() == 40 and found.memories.sum() == 30
    text = str(found).split("\n")
    assert text[0] == f"{len(found.starts)} fixed points from 40 starts"
    alone = int(found.stored.sum())
    assert alone > 20 and text[1] == f"  retrieved alone from themselves: {alone} of 30 memories"
    assert text[2].startswith(f"  0   item {found.nearest[0]}; {found.starts[0]} starts")
    assert text[-1] == f"  and {len(found.starts) - 12} more"
    hurried = hx.nn.attractors(two(4.0), max_steps=1)
    assert (hurried.end == -1).all() and not hurried.stored.any() and hurried.states.shape == (0, 2)
    assert "not at rest in time: 2 starts" in str(hurried)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_does_not_fit_is_named():
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jr.key(0))
    with pytest.raises(TypeError, match="`memory` is needed"):
        hx.nn.attractors(layer)
    with pytest.raises(ValueError, match="`head` must be below `num_heads` = 2"):
        hx.nn.attractors(layer, jnp.ones((3, 4)), head=2)
    with pytest.raises(ValueError, match=r"`starts` must have shape \(n, query_size\)"):
        hx.nn.attractors(layer, jnp.ones((3, 4)), jnp.ones(4))
    with pytest.raises(ValueError, match="`key` is needed for random starts"):
        hx.nn.attractors(layer, jnp.ones((3, 4)), random=2)
    with pytest.raises(TypeError, match="`memory` of a DenseMemoryLayer is its own"):
        hx.nn.attractors(two(1.0), jnp.ones((3, 2)))
    with pytest.raises(TypeError, match="`layer` must be a DenseMemoryLayer"):
        hx.nn.attractors(None)
