"""Damaged model files: no damage goes unnoticed, and none gives another error than LoadError."""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import mutations, rewritten

import hopfax as hx
from hopfax._constant import Constant
from hopfax._serialise._check import check


def _models():
    return {
        "network": zoo.cycle(activation=hx.GaussianAverage(hx.Tanh(2.0), 0.3), readout="abs")[0],
        "rate network": zoo.rate_networks()["TwoTimescaleRateMemory"].network,
        "memory": zoo.maps()["packed"].network,
        "layer": zoo.layers()["Selection"].layer,
        "interaction": hx.Simplicial({2: 0.5, 3: 1.0}),
    }


MODELS = _models()


def loaded(file):
    """What is in the file, and whether there was a warning; None if it is refused in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return hx.load(file), [w.category for w in caught]
        except hx.LoadError as error:
            text = str(error)
            assert str(file) in text and "\n" not in text and len(text) < 1000, text
            return None


@pytest.mark.parametrize("name", MODELS)
def test_none_of_1500_damaged_files_is_read(name, tmp_path):
    file = tmp_path / "model.hopfax"
    hx.save(file, MODELS[name])
    whole = file.read_bytes()
    for damaged in mutations(whole, 7, 300):
        if damaged != whole:
            file.write_bytes(damaged)
            assert loaded(file) is None


@pytest.mark.slow
def test_no_bit_of_the_header_can_be_flipped(tmp_path):
    """Among them are those of the schema, which tells which files have a seal."""
    file = tmp_path / "model.hopfax"
    hx.save(file, MODELS["interaction"])
    whole = file.read_bytes()
    for bit in range(8 * len(whole.split(b"\n")[0])):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        assert loaded(file) is None


@pytest.mark.parametrize("name", MODELS)
def test_damaged_files_of_an_earlier_version(name, tmp_path):
    """They have no seal: damage to a number goes unnoticed, but there is a warning, and whatever
    is read is a model that its class could have made."""
    file = tmp_path / "model.hopfax"
    hx.save(file, MODELS[name])
    rewritten(file, lambda header: None, sealed=False)
    whole = file.read_bytes()
    refused = 0
    for damaged in mutations(whole, 11, 120):
        file.write_bytes(damaged)
        if (found := loaded(file)) is None:
            refused += 1
            continue
        model, warned = found
        assert UserWarning in warned or damaged == whole
        if isinstance(model, eqx.Module):
            check(model, "model", domain=True)
    assert refused > 60


# The fields of every class


def _altered(model, name, value):
    made = object.__new__(type(model))
    for field in dataclasses.fields(model):
        kept = getattr(model, field.name)
        object.__setattr__(made, field.name, value if field.name == name else kept)
    return made


def _wrong(value):
    """Values that are wrong in the place of this one, whatever its class."""
    if isinstance(value, jax.Array):
        other = np.zeros(value.shape, float if value.dtype == bool else bool)
        return [3.0, "lilear", other, {"a": 1}]
    if isinstance(value, bool):
        return [1, "true", None]
    if isinstance(value, int):
        return [-1, 0, 2.5, True, "3"]
    if isinstance(value, float):
        return ["x", None, True]
    if isinstance(value, str):
        return [value + "x", value.upper(), 3, None]
    return ["lilear", object(), MODELS["memory"]]


def _specimens():
    networks = {k: v for k, v in zoo.networks().items() if k != "from outside"}
    found = [*(s.network for s in networks.values()), *(s.state for s in networks.values())]
    found += [s.network for s in zoo.maps().values()]
    found += [layer.layer for layer in zoo.layers().values()]
    for parts in (zoo.interactions(), zoo.activations(), zoo.rate_activations()):
        found += parts.values()
    found += [hx.constraints.zero_diagonal(2), hx.patterns.hadamard(3, 16).site_classes()]
    kinds = {}
    for thing in found:
        for node in _nodes(thing):
            kinds.setdefault(type(node), node)
    return list(kinds.values())


def _nodes(thing):
    yield thing
    for field in dataclasses.fields(thing):
        inner = getattr(thing, field.name)
        inner = inner.value if isinstance(inner, Constant) else inner
        if isinstance(inner, eqx.Module):
            yield from _nodes(inner)


#: "block" of HopfieldRetrieval, where it is "auto"; "steps" of a delay, where there is one.
ALLOWED = [("block", None), ("block", 3), ("steps", 0)]


@pytest.mark.parametrize("model", _specimens(), ids=lambda m: type(m).__name__)
def test_no_field_of_any_class_holds_what_it_must_not(model):
    check(model, "model", domain=isinstance(model, hx.AbstractNetwork))
    for field in dataclasses.fields(model):
        for wrong in _wrong(getattr(model, field.name)):
            if isinstance(wrong, np.ndarray):
                if type(model) is eqx.nn.Linear:
                    continue  # which Equinox allows
            elif (field.name, wrong) in ALLOWED:
                continue
            elif type(model) is hx.RectifiedPower and wrong == 2.5:
                continue  # an order that need not be whole
            with pytest.raises(ValueError, match="model"):
                check(_altered(model, field.name, wrong), "model")


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (hx.patterns.hadamard(2, 4), "xi", jnp.full((2, 4), 0.3)),
        (hx.patterns.hadamard(2, 4), "counts", jnp.ones(3)),
        (MODELS["network"], "transition", jnp.ones((4, 4))),
        (MODELS["network"], "kappa", jnp.ones(2)),
        (MODELS["network"], "patterns", hx.patterns.hadamard(4, 16)),
        (MODELS["memory"], "beta", jnp.ones(1)),
        (MODELS["memory"].patterns, "neurons", 100),
        (MODELS["layer"].bank, "bias", jnp.ones(7)),
        (hx.HardTanh(2.0), "gain", jnp.ones(2, int)),
        (zoo.layers()["HopfieldRetrieval"].layer, "num_heads", 3),
        (zoo.layers()["HopfieldRetrieval"].layer, "query_size", 5),
        (zoo.layers()["SequenceMemory"].layer.parameters, "kappa", jnp.ones(5)),
        (zoo.layers()["SequenceMemory"].layer.parameters.kappa, "constraint", Constant(3)),
        (zoo.layers()["SequenceMemory"].layer, "dt", -1.0),
    ],
)
def test_fields_must_fit_each_other(model, name, value):
    with pytest.raises(ValueError, match="model"):
        check(_altered(model, name, value), "model")
