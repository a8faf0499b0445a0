"""Weights of hopfield-layers: every option, read from a module and from its state dict.

`data/hopfield_layers_states.json` holds the state dicts, options, inputs and results in float64 of
modules of ml-jku's hopfield-layers (version 1.0.2, PyTorch 2.13) with random weights.
"""

import json
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import ROOT

import hopfax as hx

CASES = json.loads((ROOT / "tests/data/hopfield_layers_states.json").read_text())
#: What a state dict does not tell of these cases.
UNTOLD = {
    "sizes": dict(beta=0.7, steps=3),
    "scaling, no biases": dict(beta=1.5),
    "static": dict(projections=["query", "output"], vo_size=4),
    "zero association": dict(extra_items=("zero",), steps=2),
    "until at rest": dict(beta=2.0, steps=None),
}
#: Norms without weights leave no trace in a state dict, and a module without weights has none.
FROM_MODULES_ONLY = (
    "norms without weights, hopfield space, mask",
    "nothing but association",
    "connected",
)


def state_of(case):
    return {name: np.asarray(value) for name, value in case["state"].items()}


def module_of(case):
    """What `from_torch` reads of a module, without PyTorch."""
    told: dict[str, Any] = case["told"] | {"dropout": 0.0}
    norms, scaling = told.pop("norms"), told.pop("scaling")
    norms = {name: eps and SimpleNamespace(eps=eps) for name, eps in norms.items()}
    inner = dict(
        association_core=SimpleNamespace(**told),
        association_activation=None,
        scaling=scaling,
        update_steps_max=told["update_steps_max"],
        **norms,
    )
    outer = dict(state_dict=lambda: state_of(case), training=False)
    inner = SimpleNamespace(**outer, **inner)
    return inner if case["kind"] == "Hopfield" else SimpleNamespace(hopfield=inner, **outer)


def results(layer, case):
    """Of both examples, laid out as theirs."""
    args = [jnp.asarray(value) for value in case["args"]]
    stored, state, values = (*args, None, None)[:3]
    inputs = (state, stored, values) if case["kind"] == "Hopfield" else (stored,)
    counts = None
    if case["padding"] is not None:
        counts = ~jnp.asarray(case["padding"])
    elif case["association"] is not None:
        counts = jnp.broadcast_to(~jnp.asarray(case["association"]), (2, 3, 5))
    out = jax.vmap(lambda x, m: layer(*x, mask=m))(inputs, counts)
    return out.reshape(np.shape(case["out"]))


@pytest.mark.parametrize("name", CASES)
def test_layers_with_their_weights_give_their_results(name):
    case = CASES[name]
    options = dict(query_size=4) if name == "nothing but association" else {}
    layer = hx.nn.from_torch(module_of(case), **options)
    np.testing.assert_allclose(results(layer, case), case["out"], atol=1e-12)
    if name not in FROM_MODULES_ONLY:
        heads = case["told"]["num_heads"]
        layer = hx.nn.from_torch(state_of(case), num_heads=heads, **UNTOLD.get(name, {}))
        np.testing.assert_allclose(results(layer, case), case["out"], atol=1e-12)
        given = hx.nn.to_torch(layer)
        without = {name for name in case["state"] if "bias_k" in name or "bias_v" in name}
        assert given.keys() == case["state"].keys() - without
        for key, value in given.items():
            np.testing.assert_array_equal(value, case["state"][key])


def test_what_is_not_trained_is_frozen():
    for name, tables in (("pooling", ["queries"]), ("lookup with targets", ["memory", "values"])):
        case = CASES[name]
        module = module_of(case)
        module.pooling_weights = module.lookup_weights = SimpleNamespace(requires_grad=False)
        layer = hx.nn.from_torch(module)
        np.testing.assert_allclose(results(layer, case), case["out"], atol=1e-12)
        assert all(isinstance(getattr(layer, table), hx.nn.Constant) for table in tables)
        state = hx.nn.to_torch(layer)
        assert state.keys() == case["state"].keys()


def test_dropout_is_taken_over():
    case = CASES["pooling"]
    module, x = module_of(case), jnp.asarray(case["args"][0][0])
    module.hopfield.association_core.dropout = 0.5
    at_rest = hx.nn.from_torch(module)
    np.testing.assert_allclose(at_rest(x).ravel(), case["out"][0], atol=1e-12)
    module.training = True
    with pytest.raises(ValueError, match="`key` is needed in training"):
        hx.nn.from_torch(module)(x)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_cannot_be_read_is_said():
    case = CASES["plain"]
    with pytest.raises(ValueError, match="`num_heads` is needed"):
        hx.nn.from_torch(state_of(case))
    with pytest.raises(ValueError, match="12 rows, .* Is `num_heads` right"):
        hx.nn.from_torch(state_of(case), num_heads=5)
    with pytest.raises(TypeError, match="`source` must be a module of hopfield-layers"):
        hx.nn.from_torch([1.0])
    module = module_of(case)
    module.association_activation = np.tanh
    with pytest.raises(ValueError, match="`association_activation`, which no layer here has"):
        hx.nn.from_torch(module)
    module = module_of(case)
    module.update_steps_max = np.array([1, 2])
    with pytest.raises(ValueError, match="update_steps_max = .*give `steps`"):
        hx.nn.from_torch(module)
    module.scaling = [0.5, 2.0]
    with pytest.raises(ValueError, match="`scaling` for each head"):
        hx.nn.from_torch(module, steps=1)
    layer = hx.nn.from_torch(module, steps=2, beta=[0.5, 2.0])
    assert isinstance(layer, hx.nn.HopfieldRetrieval) and layer.steps == 2
    with pytest.raises(ValueError, match="give `query_size`"):
        hx.nn.from_torch(module_of(CASES["nothing but association"]))
    with pytest.raises(TypeError, match="`layer` must be a HopfieldRetrieval"):
        hx.nn.to_torch(None)
    for options, text in (
        (dict(separation=hx.nn.TopK(2)), "`separation`, which no module"),
        (dict(positions=hx.nn.Rotary()), "`positions`, which no module"),
        (dict(extra_items=("bias",)), "`bias_item`, which no module"),
        (dict(num_kv_heads=1), "1 heads of keys for 2"),
    ):
        with pytest.raises(ValueError, match=text):
            hx.nn.to_torch(hx.nn.HopfieldPooling(3, 2, 4, **options, key=jr.key(0)))


def test_weights_go_through_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    pool = hx.nn.HopfieldPooling(3, 2, 4, output_size=5, key=jr.key(1))
    numpy.save_file(hx.nn.to_torch(pool), tmp_path / "pool.safetensors")
    again = hx.nn.from_torch(numpy.load_file(tmp_path / "pool.safetensors"), num_heads=2)
    x = jr.normal(jr.key(2), (7, 4))
    np.testing.assert_array_equal(again(x), pool(x))
