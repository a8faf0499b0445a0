"""The baselines of one interface: shapes, causality, and what each is defined by."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize
from helpers import assert_close

from hopfax.examples.baselines import (
    BASELINES,
    AttentionLayer,
    LinearBank,
    SelectiveLayer,
    linear_recurrence,
    selective_ssm,
)

pytestmark = pytest.mark.slow  # what is tested are examples, and each compiles

ROUNDING = "rounding in float64"
TOKENS = np.array([0, 3, 0, 1, 5, 2, 0, 4, 6, 6, 1], np.int32)


def made(make, *sizes, seed=0, **options):
    """A model, made in one compiled piece."""
    return eqx.filter_jit(lambda key: make(*sizes, **options, key=key))(jr.key(seed))


def called(model, *inputs):
    return eqx.filter_jit(lambda model, *xs: model(*xs))(model, *inputs)


@pytest.mark.parametrize("name", BASELINES)
def test_small_models_whose_logits_depend_on_no_later_token_and_on_earlier_ones(name):
    model = made(BASELINES[name], 10, 8)
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    assert 1000 <= size <= 2720
    changed = TOKENS.copy()
    changed[5] = 6
    read = eqx.filter_jit(eqx.filter_vmap(model))
    before, after = read(jnp.asarray(np.stack([TOKENS, changed])))
    assert before.shape == (11, 8) and before.dtype == jnp.float64
    assert_close(after[:5], before[:5], 1e-12, ROUNDING)
    assert (jnp.abs(after[5:] - before[5:]).max(1) > 1e-6).all()


def test_the_linear_bank_is_linear_in_one_hot_tokens_and_its_mlp_is_not():
    # Logits of the parts sum to those of the whole, but for the readout's constant.
    def excess(readout):
        model = made(LinearBank, 3, 2, modes=4, readout=readout)
        tokens = jnp.array([[1, 0, 0, 0], [0, 0, 2, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
        first, second, both, none = called(eqx.filter_vmap(model), tokens)
        return jnp.abs(both + none - first - second).max()

    assert excess("linear") < 1e-12
    assert excess("mlp") > 1e-3


def test_the_linear_bank_is_its_impulse_response():
    model = made(LinearBank, 4, 2, modes=5)
    tokens = np.array([1, 3, 0])
    size = np.exp(-np.exp(np.asarray(model.log_decay)))
    decay = size * np.exp(1j * np.asarray(model.angle))
    parts = np.asarray(model.inputs)
    inputs = np.sqrt(1 - size**2)[:, None] * (parts[0] + 1j * parts[1])
    x = sum(decay ** (2 - t) * inputs[:, token] for t, token in enumerate(tokens))
    features = np.concatenate([x.real, x.imag, np.eye(4)[tokens[-1]]])
    last: Any = model.readout
    weight, bias = np.asarray(last.weight), np.asarray(last.bias)
    assert_close(called(model, jnp.asarray(tokens))[-1], weight @ features + bias, 1e-12, ROUNDING)


@pytest.mark.parametrize("query, possible", [(0, True), (1, False), (2, True)])
def test_no_linear_map_of_any_size_always_names_the_second_of_three_tokens(query, possible):
    # Scores are linear in the kernel, entry [step, class, token] here; whether all three kinds of
    # answers can win in all sequences of four places is a linear program.
    rows = []
    for places in itertools.combinations(range(4), 3):
        for values in itertools.product(range(1, 4), repeat=3):
            tokens = np.zeros(4, int)
            tokens[list(places)] = values
            seen = np.eye(4)[tokens]  # (step, token)
            for other in {1, 2, 3} - {values[query]}:
                margin = np.zeros((4, 3, 4))
                margin[:, values[query] - 1] += seen
                margin[:, other - 1] -= seen
                rows.append(margin.ravel())
    margins = np.array(rows)
    found = scipy.optimize.linprog(
        np.zeros(48), A_ub=-margins, b_ub=-np.ones(len(rows)), bounds=(None, None)
    )
    assert found.status == (0 if possible else 2)  # solved, or infeasible


def test_the_associative_scan_is_the_recurrence():
    a, b = jr.uniform(jr.key(0), (2, 13, 3, 2))
    expected, x = [], np.zeros((3, 2))
    for decay, drive in zip(np.asarray(a), np.asarray(b), strict=True):
        x = decay * x + drive
        expected.append(x)
    for mode in ("recurrent", "scan"):
        run = jax.jit(linear_recurrence, static_argnums=2)
        assert_close(run(a, b, mode), np.array(expected), 1e-12, ROUNDING)


def test_the_selective_model_is_the_same_by_scan_and_by_recurrence():
    sizes = dict(layers=2, width=4, inner=6, states=3)
    scan, loop = (
        called(made(selective_ssm, 7, 5, mode=mode, **sizes), jnp.asarray(TOKENS))
        for mode in ("scan", "recurrent")
    )
    assert_close(scan, loop, 1e-10, ROUNDING)


def test_the_selective_layer_is_a_loop_over_its_equations():
    layer = made(SelectiveLayer, 4, inner=6, states=3, taps=2)
    us = jr.normal(jr.key(1), (9, 4))
    weight = {name: np.asarray(getattr(layer, name).weight) for name in ("into", "select", "out")}
    silu = lambda x: x / (1 + np.exp(-x))  # noqa: E731
    delta_weight, delta_bias, kernel, rate, norm_weight, offset, skip = jax.tree.map(
        np.asarray,
        (
            layer.step.weight,
            layer.step.bias,
            layer.kernel,
            jnp.exp(layer.log_rate),
            layer.norm.weight,
            layer.offset,
            layer.skip,
        ),
    )
    h, last, ys = np.zeros((6, 3)), np.zeros(6), []
    for u in np.asarray(us):
        norm = u / np.sqrt(np.mean(u**2) + layer.norm.eps)
        x, z = np.split(weight["into"] @ (norm * norm_weight), 2)
        mixed = kernel[0] * last + kernel[1] * x
        v, last = silu(mixed + offset), x
        low, B, C = np.split(weight["select"] @ v, (1, 4))
        delta = np.log1p(np.exp(delta_weight @ low + delta_bias))
        h = np.exp(-delta[:, None] * rate) * h + np.outer(delta * v, B)
        ys.append(u + weight["out"] @ ((h @ C + skip * v) * silu(z)))
    assert_close(called(layer, us), np.array(ys), 1e-10, ROUNDING)


def test_attention_is_a_loop_over_queries_and_its_positions_are_distances():
    layer = made(AttentionLayer, 8, heads=2, hidden=4)
    xs = jr.normal(jr.key(1), (5, 8))

    def rotated(x, angle):  # pairs (x[i], x[i + 2]) as complex numbers
        return (x[:2] + 1j * x[2:]) * np.exp(1j * angle * np.array([1.0, 1e-2]))

    project = np.asarray(layer.project.weight)
    normed = np.asarray(called(jax.vmap(layer.first), xs))
    q, k, v = (project @ normed.T).T.reshape(5, 3, 2, 4).transpose(1, 0, 2, 3)
    read = np.zeros((5, 2, 4))
    for now in range(5):
        for head in range(2):
            # Turning the query by the distance is turning both by their steps.
            scores = np.array(
                [
                    (
                        rotated(q[now, head], now - then) * rotated(k[then, head], 0).conj()
                    ).real.sum()
                    for then in range(now + 1)
                ]
            )
            weights = np.exp(scores / 2 - scores.max() / 2)
            read[now, head] = weights @ v[: now + 1, head] / weights.sum()
    middle = np.asarray(xs) + read.reshape(5, 8) @ np.asarray(layer.out.weight).T
    expected = middle + called(lambda x: jax.vmap(layer.mlp)(jax.vmap(layer.second)(x)), middle)
    assert_close(called(layer, xs), expected, 1e-10, ROUNDING)


def test_options_that_cannot_be_are_named(as_a_user_runs_it):
    with pytest.raises(ValueError, match="`readout` must be one of 'linear', 'mlp'"):
        LinearBank(3, 2, readout="tree", key=jr.key(0))
    with pytest.raises(ValueError, match="`mode` must be one of 'recurrent', 'scan'"):
        selective_ssm(3, 2, mode="fft", key=jr.key(0))
    with pytest.raises(ValueError, match="`width` must be a multiple of 2 heads = 6, got 8"):
        AttentionLayer(8, heads=3, hidden=4, key=jr.key(0))
