"""The separation loss: against NumPy, its gradient, and the claim that it is made for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx


def itself(memories):
    return memories


def reference(memories, t, on_sphere):
    xi = np.asarray(memories)
    if on_sphere:
        xi = xi / np.linalg.norm(xi, axis=1)[:, None]
    M = len(xi)
    pairs = [np.exp(-t * ((xi[m] - xi[n]) ** 2).sum()) for m in range(M) for n in range(m)]
    return np.log(np.mean(pairs))


@pytest.mark.parametrize("on_sphere", [True, False])
def test_the_loss_is_that_of_numpy(on_sphere):
    heads = jr.normal(jr.key(0), (2, 5, 3))
    loss = hx.losses.separation(itself, t=1.5, on_sphere=on_sphere)
    each = [reference(memories, 1.5, on_sphere) for memories in heads]
    assert_close(loss(heads[0]), each[0], 1e-12, "the same sums")
    assert_close(loss(heads), np.mean(each), 1e-12, "the same sums")
    assert_close(loss([heads[0], heads[1]]), np.mean(each), 1e-12, "the same sums")
    way = jr.normal(jr.key(1), heads.shape)
    slope = (jax.grad(loss)(heads) * way).sum()
    difference = (loss(heads + 1e-6 * way) - loss(heads - 1e-6 * way)) / 2e-6
    assert_close(difference, slope, 2e-9, "h^2, and rounding over h")


def test_a_memory_of_zeros_or_two_equal_ones_have_finite_gradients():
    memories = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.3, 0.4]])
    slopes = jax.grad(hx.losses.separation(itself))(memories)
    assert np.isfinite(slopes).all()
    assert_close(slopes[0], slopes[1], 1e-15, "none sets them apart")


def smallest(keys):
    """The smallest distance of two directions."""
    keys = np.asarray(keys) / np.linalg.norm(keys, axis=1)[:, None]
    return np.linalg.norm(keys[:, None] - keys, axis=2)[~np.eye(len(keys), dtype=bool)].min()


@pytest.mark.slow
def test_a_crowded_memory_retrieves_more_once_its_keys_are_spread():
    M, d = 24, 12
    keys = jr.split(jr.key(0), 3)
    crowded = 2.0 * jr.normal(jr.key(9), (d,)) + 0.5 * jr.normal(keys[0], (M, d))
    norms, maps = ("association",), ("query", "memory")
    layer = hx.nn.HopfieldRetrieval(
        1, d, norms=norms, projections=maps, use_bias=False, beta=4.0, key=keys[1]
    )
    noisy = crowded + 0.3 * jr.normal(keys[2], (40, M, d))
    loss = hx.losses.separation(lambda layer: hx.nn.stored_keys(layer, crowded))

    def shared(weight):  # states are compared by the same map as the stored
        both = (weight, weight)
        return eqx.tree_at(lambda it: (it.query_proj.weight, it.memory_proj.weight), layer, both)

    @jax.jit
    def success(weight):
        found = shared(weight)(noisy.reshape(-1, d), crowded).reshape(noisy.shape)
        error = jnp.linalg.norm(found - crowded, axis=-1)
        return (error < 0.5 * jnp.linalg.norm(noisy - crowded, axis=-1)).mean()

    start = jnp.eye(d)
    slope = jax.grad(lambda weight: loss(shared(weight)))
    weight = jax.jit(lambda w: jax.lax.fori_loop(0, 200, lambda _, w: w - 0.5 * slope(w), w))(start)
    before, after = (hx.nn.stored_keys(shared(w), crowded)[0] for w in (start, weight))
    assert loss(shared(weight)) < loss(shared(start)) - 1.0
    assert smallest(after) > 2 * smallest(before)
    assert success(start) < 0.5 and success(weight) > 0.9


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match="`where` must be"):
        hx.losses.separation(jnp.eye(3))
    with pytest.raises(ValueError, match="`t` must be"):
        hx.losses.separation(itself, t=0.0)
    with pytest.raises(ValueError, match=r"at least two memories.*got shape \(1, 3\)"):
        hx.losses.separation(itself)(jnp.ones((1, 3)))
    with pytest.raises(TypeError, match="`memory` is needed"):
        hx.nn.stored_keys(hx.nn.HopfieldRetrieval(1, 2, key=jr.key(0)))
