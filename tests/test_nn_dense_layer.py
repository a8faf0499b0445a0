"""Dense memories as layers: descent, completion, derivatives of a fixed point, errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

INTERACTIONS = {
    "lse": hx.Softmax(0.3),
    "poly": hx.Power(4),
    "relu": hx.RectifiedPower(3),
}
KNOWN = jnp.arange(12) < 6
ROUNDING = "float64, sums over 12 entries"


def _layer(kind, **options):
    """Eight memories of 12 entries, and a state near the third."""
    layer = hx.nn.DenseMemoryLayer(8, 12, interaction=INTERACTIONS[kind], **options, key=jr.key(0))
    return layer, layer.memories[2] + 0.4 * jr.normal(jr.key(1), (12,))


def test_a_step_is_what_the_papers_write():
    x = _layer("lse")[1]
    for kind in INTERACTIONS:
        layer = _layer(kind)[0]
        Xi = np.asarray(layer.memories)
        m = Xi @ np.asarray(x) / 12
        if kind == "lse":
            weights = np.exp(0.3 * 12 * m)
            expected = Xi.T @ (weights / weights.sum())
        else:
            v = Xi.T @ (m**3 if kind == "poly" else np.maximum(m, 0) ** 2)
            expected = v * np.sqrt(12 / (v @ v))
        assert_close(layer(x), expected, 1e-13, ROUNDING)
        twice = _layer(kind, steps=2)[0]
        assert_close(twice(x), layer(layer(x)), 1e-13, ROUNDING)


def test_softmax_is_the_map_of_the_library():
    layer, x = _layer("lse")
    memory = hx.DenseMemory(hx.Patterns(layer.memories), hx.Softmax(0.3))
    expected = memory.step(memory.init(x)).spins
    assert_close(layer(x), expected, 1e-13, ROUNDING)


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_no_step_raises_the_energy(kind):
    layer = _layer(kind)[0]
    free = jax.jit(jax.vmap(layer))
    clamped = jax.jit(jax.vmap(lambda x: layer(x, KNOWN)))
    energy = jax.jit(jax.vmap(layer.energy))
    for update in (free, clamped):
        states = update(jr.normal(jr.key(2), (100, 12)))  # in the ball, if there is one
        for _ in range(5):
            after = update(states)
            assert (energy(after) <= energy(states) + 1e-12).all()
            states = after
    assert (energy(jnp.roll(states, 1, axis=1)) > energy(states)).any()  # other states are higher


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_a_memory_is_restored_and_completed(kind):
    # 8 memories of 200 entries: overlaps with the others are near 1/sqrt(200).
    sharp = {"lse": hx.Softmax(1.0), "poly": hx.Power(4), "relu": hx.RectifiedPower(4)}
    layer = hx.nn.DenseMemoryLayer(8, 200, interaction=sharp[kind], steps=4, key=jr.key(3))
    memory = layer.memories[5] / jnp.sqrt(jnp.mean(layer.memories[5] ** 2))
    layer = eqx.tree_at(lambda it: it.memories, layer, layer.memories.at[5].set(memory))
    noisy = memory + jr.normal(jr.key(4), (200,))
    # the others' forces are at most (3/sqrt(200))^3 = 1 % each; with softmax e^-150
    bound = 1e-10 if kind == "lse" else 0.05
    assert_close(layer(noisy), memory, bound, "what the other memories add")
    known = jnp.arange(200) < 100
    half = jnp.where(known, memory, 0.0)
    completed = layer(half, known)
    assert (completed[known] == memory[known]).all()
    error = jnp.sqrt(jnp.mean((completed - memory)[~known] ** 2))
    assert error < 0.15, error  # half the overlap, and a free norm that is not the memory's
    assert jnp.sqrt(jnp.mean((half - memory)[~known] ** 2)) > 0.8


def test_the_scale_of_the_input_does_not_matter_on_the_sphere():
    layer, x = _layer("relu", steps=2)
    assert_close(layer(1e-30 * x), layer(x), 1e-13, ROUNDING)
    assert_close(jnp.mean(layer(x) ** 2), 1.0, 1e-14, ROUNDING)
    assert_close(jnp.mean(layer(x, jnp.arange(12) < 4)[4:] ** 2), 1.0, 1e-14, ROUNDING)
    single = jnp.float32
    low = hx.nn.DenseMemoryLayer(
        8, 12, interaction=hx.Power(8), dtype=single, key=jr.key(0)
    )  # forces near 1e-35 at overlaps near 1e-5
    assert_close(jnp.mean(low((1e-5 * x).astype(single)) ** 2), 1.0, 1e-6, "float32")
    for interaction in (hx.Power(20), hx.RectifiedPower(20)):  # 1e-57 and 1e57
        high = eqx.tree_at(lambda it: it.interaction, low, interaction)
        small, large = (high((scale * x).astype(single)) for scale in (1e-3, 1e3))
        assert_close(jnp.mean(small**2), 1.0, 1e-6, "float32")
        assert_close(small, large, 1e-4, "rounding of x times 19")


def test_a_state_that_meets_no_memory_is_zero():
    layer, x = _layer("relu", steps=2)
    gradient = jax.jit(jax.grad(lambda x: layer(x).sum()))
    assert (layer(jnp.zeros(12)) == 0).all() and (gradient(jnp.zeros(12)) == 0).all()
    assert (gradient(x) != 0).any()


def _loss(layer, x, known):
    return jnp.sin(layer(x, known)).sum()


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_derivatives_at_rest_are_those_of_many_steps(kind):
    layer, x = _layer(kind, steps=None)
    unrolled, _ = _layer(kind, steps=300)
    gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda parts, k: _loss(*parts, k)))
    value, found = gradient((layer, x), KNOWN)
    expected_value, expected = gradient((unrolled, x), KNOWN)
    why = "tol is 2e-12, and the map contracts"
    assert_close(value, expected_value, 1e-10, why)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jnp.abs(other).max() > 1e-3
        assert_close(one, other, 1e-8, why)
    assert (found[1][KNOWN] != 0).any() and (found[1][~KNOWN] == 0).all()
    # and finite differences of the value along one direction of the memories
    direction, h = jr.normal(jr.key(5), (8, 12)), 1e-5
    value_at = eqx.filter_jit(
        lambda s: _loss(
            eqx.tree_at(lambda it: it.memories, layer, layer.memories + s * direction), x, KNOWN
        )
    )
    slope = (value_at(h) - value_at(-h)) / (2 * h)
    assert_close((found[0].memories * direction).sum(), slope, 1e-6, "h^2 and tol / h")


def test_a_free_fixed_point_has_no_derivative_by_its_start():
    layer, x = _layer("lse", steps=None)
    gradient = jax.jit(jax.grad(lambda x: _loss(layer, x, None)))
    assert (gradient(x) == 0).all()
    assert_close(layer(x), _layer("lse", steps=300)[0](x), 1e-10, "tol is 2e-12")


def test_failing_to_converge_is_said_not_raised():
    layer, x = _layer("poly", steps=None, max_steps=2)
    settled = eqx.filter_jit(layer.settle)(x)
    assert not settled.converged and settled.steps == 2
    assert_close(settled.state, _layer("poly", steps=2)[0](x), 1e-13, "the last state")
    assert jnp.isfinite(eqx.filter_jit(layer)(x)).all()
    settled = eqx.filter_jit(_layer("poly")[0].settle)(x)  # whatever `steps`
    assert settled.converged and 2 < settled.steps < 256
    one_fails = jax.vmap(layer.settle)(jnp.stack([x, _layer("poly", steps=300)[0](x)]))
    assert (one_fails.converged == jnp.array([False, True])).all()


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_errors_say_what_to_do():
    make, key = hx.nn.DenseMemoryLayer, jr.key(0)
    for options, text in (
        (dict(num_memories=0), "`num_memories` must be a whole number >= 1"),
        (dict(steps=0), "`steps` must be a whole number >= 1, got 0"),
        (dict(tol=-1.0), "`tol` must be between 0 and 1, got -1.0"),
    ):
        with pytest.raises(ValueError, match=text):
            make(**{"num_memories": 3, "size": 4, **options}, key=key)
    with pytest.raises(TypeError, match="`interaction` must be Softmax"):
        make(3, 4, interaction=hx.ManyBody(3), key=key)
    assert type(make(3, 4, tol=np.float32(1e-4), key=key).tol) is float  # files hold no others
    layer = make(3, 4, key=key)
    with pytest.raises(ValueError, match=r"`x` must have shape \(size,\) = \(4,\).*jax.vmap"):
        layer(jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="`known` must have shape"):
        layer(jnp.ones(4), jnp.ones(3, bool))
    with pytest.raises(TypeError, match="`known` must be boolean"):
        layer(jnp.ones(4), jnp.ones(4))


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_a_beta_that_training_has_made_negative_is_refused():
    layer = hx.nn.DenseMemoryLayer(3, 4, interaction=hx.Softmax(1.0), key=jr.key(0))
    layer = eqx.tree_at(lambda it: it.interaction.beta, layer, jnp.asarray(-0.1))
    x = jnp.ones(4)
    for call in (layer, layer.settle, layer.energy):
        with pytest.raises(ValueError, match=r"`interaction.beta` must be > 0, but is -0.1.*clip"):
            call(x)
    assert np.isnan(
        jax.jit(lambda beta: eqx.tree_at(lambda it: it.interaction.beta, layer, beta)(x))(
            jnp.asarray(-0.1)
        )
    ).all()


def test_gradients_at_rest_are_exported():
    layer = hx.nn.DenseMemoryLayer(3, 4, steps=None, key=jr.key(0))
    parameters, apply = hx.nn.to_functional(layer)
    gradient = jax.jit(jax.grad(lambda parameters, x: apply(parameters, x).sum()))
    x = jnp.ones(4)
    served = jax.export.export(gradient)(parameters, x).serialize()  # refuses to call back
    back = jax.export.deserialize(served).call(parameters, x)
    assert_close(back["memories"], gradient(parameters, x)["memories"], 1e-14, "the same program")
