"""What `inspect` sees in a `DenseMemoryLayer`."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx


def softmax_layer(**options):
    options = dict(interaction=hx.Softmax(0.5), steps=3) | options
    return hx.nn.DenseMemoryLayer(5, 8, **options, key=jr.key(0))


def test_of_softmax_all_is_that_of_numpy():
    layer, x = softmax_layer(), jr.normal(jr.key(1), (8,))
    xi, state, energies = np.asarray(layer.memories), np.asarray(x), []
    for k in range(4):
        scores = 0.5 * xi @ state
        weights = np.exp(scores) / np.exp(scores).sum()
        energies.append(state @ state / 2 - np.log(np.exp(scores).sum()) / 0.5)
        if k < 3:
            state = weights @ xi
    seen = hx.nn.inspect(layer, x)
    assert_close(seen.state, layer(x), 1e-12, "the same sums")
    assert_close(seen.energy, energies, 1e-12, "the same sums")
    assert_close(seen.weights, weights, 1e-12, "the same sums")
    assert_close(seen.overlaps, xi @ state / 8, 1e-12, "the same sums")
    entropy = -(weights * np.log(weights)).sum()
    assert_close(seen.effective, np.exp(entropy), 1e-12, "the same sums")
    down = np.sort(xi @ state / 8)
    assert seen.nearest == weights.argmax() and not seen.converged
    assert_close(seen.ahead, down[-1] - down[-2], 1e-12, "the same sums")


@pytest.mark.parametrize(
    ("beta", "kind", "converged"),
    [(2.0, "one item", True), (1e-3, "the mean of many", True)],
)
def test_kinds_of_fixed_points(beta, kind, converged):
    layer = softmax_layer(interaction=hx.Softmax(beta), steps=None)
    seen = hx.nn.inspect(layer, layer.memories[3])
    assert hx.nn.RETRIEVED[seen.retrieved] == kind and seen.converged == converged
    settled = layer.settle(layer.memories[3])
    assert seen.energy.size == settled.steps + 1 and (np.diff(seen.energy) < 1e-12).all()
    assert_close(seen.state, settled.state, 1e-12, "the same updates")
    if kind == "one item":
        assert seen.nearest == 3


def test_on_the_sphere_a_memory_and_its_negative_are_alike_for_power_alone():
    x = jr.normal(jr.key(1), (8,))
    for interaction, signed in ((hx.Power(4), True), (hx.RectifiedPower(4), False)):
        layer = softmax_layer(interaction=interaction, steps=2)
        seen = hx.nn.inspect(layer, x)
        force = np.asarray(layer.memories @ seen.state) / 8
        size = np.abs(force) if signed else np.maximum(force, 0)
        assert_close(seen.weights, size**3 / (size**3).sum(), 1e-12, "the same sums")
        first = size.argmax()
        assert seen.nearest == first
        others = np.delete(np.abs(force) if signed else force, first)
        assert_close(seen.ahead, size[first] - others.max(), 1e-12, "the same sums")
    nothing = hx.nn.inspect(layer, jnp.zeros(8))
    assert hx.nn.RETRIEVED[nothing.retrieved] == "nothing" and nothing.items == 0


def test_a_known_part_stays_and_a_trace_has_all_steps():
    layer, x = softmax_layer(steps=None, max_steps=20), jr.normal(jr.key(1), (8,))
    known = jnp.arange(8) < 3
    seen = jax.jit(lambda x: hx.nn.inspect(layer, x, known))(x)
    assert seen.energy.shape == (21,)
    assert_close(seen.state[:3], x[:3], 0, "kept")
    with pytest.raises(TypeError, match="takes a state, and what is `known`"):
        hx.nn.inspect(layer, x, mask=known)
