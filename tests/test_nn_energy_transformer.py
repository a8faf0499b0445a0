"""The energy transformer: its energy and updates against NumPy, when the energy falls, masks."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

X = jr.normal(jr.key(1), (4, 6))


@functools.cache
def block(hidden="relu", steps=3, step_size=0.2):
    made = hx.nn.EnergyTransformer(
        2, 6, 5, qk_size=4, hidden=hidden, steps=steps, step_size=step_size, key=jr.key(0)
    )
    bias, scale = 0.3 * jr.normal(jr.key(2), (6,)), jnp.asarray(0.4)
    return eqx.tree_at(lambda it: (it.bias, it.log_scale), made, (bias, scale))


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def reference(layer, x, sees, there, free):
    """The energy before each update, and the last state, one token and head at a time."""
    wq, wk, xi, delta = (
        np.asarray(a) for a in (layer.query, layer.keys, layer.memories, layer.bias)
    )
    gamma, beta = np.exp(float(layer.log_scale)), layer.beta
    x, energies = np.array(x), []
    for _ in range(layer.steps):
        away = x - x.mean(1)[:, None]
        g = gamma * away / np.sqrt((away**2).mean(1) + 1e-5)[:, None] + delta
        energy, slope = 0.0, np.zeros_like(x)
        for h in range(len(wq)):
            q, k = g @ wq[h].T, g @ wk[h].T
            for c in range(len(x)):
                others = [b for b in range(len(x)) if b != c and sees[c, b]]
                if not others:
                    continue
                scores = beta * k[others] @ q[c]
                energy -= np.log(np.exp(scores).sum()) / beta
                weights = softmax(scores)
                slope[c] -= wq[h].T @ (weights @ k[others])
                for weight, b in zip(weights, others, strict=True):
                    slope[b] -= weight * wk[h].T @ q[c]
        for c in np.flatnonzero(there):
            fields = xi @ g[c]
            if layer.hidden == "relu":
                energy -= (np.maximum(fields, 0) ** 2).sum() / 2
                slope[c] -= np.maximum(fields, 0) @ xi
            else:
                scores = layer.hidden_beta * fields
                energy -= np.log(np.exp(scores).sum()) / layer.hidden_beta
                slope[c] -= softmax(scores) @ xi
        energies.append(energy)
        x[free] -= layer.step_size * slope[free]
    return energies, x


@pytest.mark.parametrize("hidden", ["relu", "softmax"])
def test_energy_and_updates_are_those_of_numpy(hidden):
    layer, all_ = block(hidden), np.ones(4, bool)
    energies, end = reference(layer, X, np.ones((4, 4)), all_, all_)
    assert_close(layer.energy(X), energies[0], 1e-12, "the same sums")
    assert_close(layer(X), end, 1e-12, "the same sums")


def test_known_tokens_stay_and_a_mask_says_who_attends_to_whom():
    layer, all_ = block(), np.ones(4, bool)
    known, sees = np.array([True, False, False, True]), np.tri(4, dtype=bool)
    energies, end = reference(layer, X, sees, all_, ~known)
    assert_close(layer.energy(X, mask=jnp.asarray(sees)), energies[0], 1e-12, "the same sums")
    out = layer(X, jnp.asarray(known), mask=jnp.asarray(sees))
    assert_close(out, end, 1e-12, "the same sums")
    assert (out[known] == X[known]).all()


def test_padding_may_be_anything():
    layer, there = block(), jnp.array([True, True, True, False])
    _, end = reference(layer, X[:3], np.ones((3, 3)), np.ones(3, bool), np.ones(3, bool))
    padded = X.at[3].set(jnp.nan)
    assert_close(layer(padded, mask=there)[:3], end, 1e-12, "the same sums")
    assert np.isnan(layer(padded, mask=there)[3]).all()
    energy = layer.energy(padded, mask=there)
    assert_close(energy, layer.energy(X[:3]), 1e-12, "the same sums")
    slopes = jax.grad(lambda x: layer(x, mask=there)[:3].sum())(padded)
    assert np.isfinite(slopes).all() and (slopes[3] == 0).all()
    # a token alone attends to none, and only memories move it
    assert np.isfinite(layer(X[:1])).all() and jnp.abs(layer(X[:1]) - X[:1]).max() > 1e-3


def test_the_energy_falls_in_small_steps_at_the_rate_of_the_limit():
    free = jnp.array([False, True, True, True])

    def rate(step_size):
        layer = block("relu", 1, step_size)
        return (layer.energy(layer(X, ~free)) - layer.energy(X)) / step_size

    # dE/dt = -d M d, with M the Jacobian of the normed tokens
    layer = block()
    normed = layer._normed(X)
    there = jnp.ones(4, bool)
    d = jax.grad(layer._energy)(normed, ~jnp.eye(4, dtype=bool)[None], there)
    motion = jnp.where(free[:, None], -d, 0.0)
    limit = (d * jax.jvp(layer._normed, (X,), (motion,))[1]).sum()
    assert limit < -1.0
    errors = [abs(float(rate(step) - limit)) for step in (1e-2, 1e-3)]
    assert errors[1] < errors[0] / 8, "an error of first order in the step size"
    # a whole descent in small steps
    energies, x = [], X
    step = eqx.filter_jit(block("relu", 1, 0.02))
    for _ in range(100):
        energies.append(float(layer.energy(x)))
        x = step(x)
    assert (np.diff(energies) < 0).all() and energies[0] - energies[-1] > 1.0


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_does_not_fit_is_named():
    make = functools.partial(hx.nn.EnergyTransformer, key=jr.key(0))
    with pytest.raises(ValueError, match="`size` must be a multiple of `num_heads` = 2"):
        make(2, 5, 3)
    with pytest.raises(ValueError, match="`hidden` must be one of 'relu', 'softmax'"):
        make(2, 4, 3, hidden="tanh")
    with pytest.raises(ValueError, match="`step_size` must be"):
        make(2, 4, 3, step_size=0.0)
    layer = make(2, 4, 3)
    with pytest.raises(ValueError, match=r"`x` must have shape \(S, size\)"):
        layer(jnp.ones(4))
    with pytest.raises(TypeError, match="`known` must be boolean"):
        layer(jnp.ones((3, 4)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"`mask` must have shape \(S,\), \(S, S\) or"):
        layer(jnp.ones((3, 4)), mask=jnp.ones((2, 3), bool))
