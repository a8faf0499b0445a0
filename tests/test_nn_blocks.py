"""Encoder and decoder blocks: the same results as theirs, dropout, masks, and what is refused.

`data/torch_blocks.json` holds the state dicts, options, inputs and results in float64 of
`HopfieldEncoderLayer` and `HopfieldDecoderLayer` of ml-jku's hopfield-layers (version 1.0.2) and of
`TransformerEncoderLayer` and `TransformerDecoderLayer` of PyTorch (2.14), of random weights.
"""

import json
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import ROOT, assert_close

import hopfax as hx

CASES = json.loads((ROOT / "tests/data/torch_blocks.json").read_text())
NORMS = ("norm_residual", "norm_residual_self", "norm_residual_cross", "norm_output")


def state_of(case):
    return {name: np.asarray(value) for name, value in case["state"].items()}


def part_of(case, prefix, told):
    """What `from_torch` reads of a Hopfield module inside a block."""
    state = {
        name.removeprefix(prefix): value
        for name, value in state_of(case).items()
        if name.startswith(prefix)
    }
    size = state["association_core.out_proj.weight"].shape
    core: dict[str, Any] = dict(query_as_static=False, key_as_static=False, value_as_static=False)
    core |= dict(embed_dim=size[0], kdim=size[0], vdim=size[0], head_dim=size[1] // 2, dropout=0.0)
    core |= dict(add_zero_attn=False, value_as_connected=False, normalize_pattern=False)
    norms = ("norm_stored_pattern", "norm_state_pattern", "norm_pattern_projection")
    return SimpleNamespace(
        state_dict=lambda: state,
        training=False,
        association_core=SimpleNamespace(**core, num_heads=told["num_heads"]),
        association_activation=None,
        scaling=told["scaling"],
        update_steps_max=told["update_steps_max"],
        **dict.fromkeys(norms, SimpleNamespace(eps=1e-5)),
    )


def module_of(case, training=False, dropout=0.0):
    """What `from_torch` reads of a block, without PyTorch."""

    def activation():
        pass

    activation.__name__ = case["activation"]
    eps, drops = SimpleNamespace(eps=1e-5), SimpleNamespace(p=dropout)
    found: dict[str, Any] = dict(state_dict=lambda: state_of(case), training=training)
    if case["kind"].startswith("Hopfield"):
        prefixes = sorted({name.split(".")[0] for name in case["state"] if "assoc" in name})
        parts = dict(zip(reversed(prefixes), case["told"], strict=True))
        found |= {name: part_of(case, f"{name}.", told) for name, told in parts.items()}
        found |= dict(activation_residual=activation, dropout_residual=drops)
        return SimpleNamespace(**found, **dict.fromkeys(NORMS, eps))
    attention = SimpleNamespace(num_heads=2, dropout=dropout)
    found |= dict(activation=activation, dropout=drops, norm_first=case["norm_first"])
    found |= dict(self_attn=attention, multihead_attn=attention)
    return SimpleNamespace(**found, norm1=eps, norm2=eps, norm3=eps)


def results(block, case):
    """Of all examples."""
    inputs = tuple(jnp.asarray(case[name]) for name in ("x", "y") if name in case)
    mask: Any = "causal" if case.get("causal") else None
    if "padding" not in case:
        return jax.vmap(lambda *xs: block(*xs, mask=mask))(*inputs)
    counts = ~jnp.asarray(case["padding"])
    return jax.vmap(lambda x, y, m: block(x, y, mask=mask, memory_mask=m))(*inputs, counts)


@pytest.mark.parametrize("name", CASES)
def test_blocks_with_their_weights_give_their_results(name):
    case = CASES[name]
    block = hx.nn.from_torch(module_of(case))
    assert_close(results(block, case), case["out"], 1e-12, "the same sums")
    told, options = case.get("told", [{}]), {}
    options = {k: case[k] for k in ("activation", "norm_first") if k in case}
    if name == "encoder":
        options |= dict(beta=told[0]["scaling"], steps=told[0]["update_steps_max"] + 1)
    again = hx.nn.from_torch(state_of(case), num_heads=2, **options)
    if name == "decoder":  # one number of steps for both is not theirs
        assert jax.tree.structure(again) != jax.tree.structure(block)
    else:
        assert_close(results(again, case), case["out"], 1e-12, "the same sums")
    given = hx.nn.to_torch(block)
    if case["kind"].startswith("Hopfield"):
        assert given.keys() == case["state"].keys()
        for key, value in given.items():
            np.testing.assert_array_equal(value, case["state"][key])


def test_dropout_is_of_training_alone_and_keeps_the_mean():
    x = jr.normal(jr.key(1), (3, 4))
    options = dict(dropout=0.5, norm_first=True, key=jr.key(0))
    block = hx.nn.HopfieldEncoder(2, 4, width=5, **options)
    with pytest.raises(ValueError, match="`key` is needed in training"):
        block(x)
    at_rest = eqx.nn.inference_mode(block)
    plain = hx.nn.HopfieldEncoder(2, 4, width=5, norm_first=True, key=jr.key(0))
    assert (at_rest(x) == plain(x)).all()
    # with no inner map, what is added in both halves is linear in what is dropped
    weight = jnp.zeros_like(block.outer.weight)
    block, at_rest = (
        eqx.tree_at(lambda it: it.outer.weight, it, weight) for it in (block, at_rest)
    )
    many = jax.vmap(lambda key: block(x, key=key))(jr.split(jr.key(2), 4000))
    error = many.std(0) / np.sqrt(4000)
    assert (error > 1e-4).all()
    assert (jnp.abs(many.mean(0) - at_rest(x)) < 4 * error).all(), "4 standard errors"


def test_weights_are_dropped_in_both_retrievals():
    x, y = jr.normal(jr.key(1), (2, 3, 4))
    block = hx.nn.HopfieldDecoder(2, 4, weight_dropout=0.5, key=jr.key(0))
    with pytest.raises(ValueError, match="`key` is needed in training"):
        block(x, y)
    assert block.association.dropout is not None and block.memory_association.dropout is not None
    assert block.dropout is None
    assert jnp.abs(block(x, y, key=jr.key(3)) - block(x, y, key=jr.key(4))).max() > 1e-3


def test_dropout_of_a_module_is_taken_over():
    for name in ("decoder", "norm first"):
        block = hx.nn.from_torch(module_of(CASES[name], dropout=0.3))
        assert_close(results(block, CASES[name]), CASES[name]["out"], 1e-12, "the same sums")
        training = hx.nn.from_torch(module_of(CASES[name], training=True, dropout=0.3))
        assert isinstance(training, hx.nn.HopfieldDecoder | hx.nn.HopfieldEncoder)
        assert training.dropout is not None
        assert training.dropout.p == 0.3 and not training.dropout.inference


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_does_not_fit_is_named():
    nn, key = hx.nn, jr.key(0)
    with pytest.raises(ValueError, match="`activation` must be one of 'relu', 'gelu'"):
        nn.HopfieldEncoder(2, 4, activation="tanh", key=key)
    with pytest.raises(TypeError, match="`output_size` is no option of a block"):
        nn.HopfieldEncoder(2, 4, output_size=3, key=key)
    with pytest.raises(ValueError, match=r"`size` = 4 .* but they have 2; give `vo_size`"):
        nn.HopfieldEncoder(2, 4, projections=("query", "memory", "value"), vo_size=1, key=key)
    with pytest.raises(ValueError, match=r"`dropout` must lie in \[0, 1\)"):
        nn.HopfieldDecoder(2, 4, dropout=1.0, key=key)
    with pytest.raises(ValueError, match="`size` must be"):
        nn.HopfieldEncoder(2, 0, key=key)
    block = nn.HopfieldEncoder(2, 4, key=key)
    for shape in ((4,), (3, 5), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"`x` must have shape \(S, size\).*jax.vmap"):
            block(jnp.ones(shape))
    with pytest.raises(ValueError, match="`memory` must have shape"):
        nn.HopfieldDecoder(2, 4, memory_size=3, key=key)(jnp.ones((2, 4)), jnp.ones((5, 4)))


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_cannot_be_read_is_said():
    case = CASES["encoder"]
    with pytest.raises(ValueError, match="`num_heads` is needed"):
        hx.nn.from_torch(state_of(case))
    state = state_of(case)
    del state["linear_output.bias"]
    with pytest.raises(ValueError, match="`source` has no 'linear_output.bias'"):
        hx.nn.from_torch(state, num_heads=2)
    with pytest.raises(ValueError, match="has the activation .* but blocks have relu or gelu"):
        hx.nn.from_torch(module_of(case | {"activation": "tanh"}))
