"""Model files: what a damaged one says."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo

import hopfax as hx


@pytest.fixture
def file(tmp_path):
    network, _ = zoo.cycle(activation=hx.GaussianAverage(hx.Tanh(2.0), 0.3), readout="square")
    hx.save(tmp_path / "model.eqx", network)
    return tmp_path / "model.eqx"


def edited(file, change):
    head, rest = file.read_bytes().split(b"\n", 1)
    header = json.loads(head)
    change(header)
    file.write_bytes(json.dumps(header).encode() + b"\n" + rest)


def test_options_and_nested_modules_survive(file):
    network = hx.load(file)
    assert network.readout == "square" and isinstance(network.activation.activation, hx.Tanh)
    assert network.patterns.binary and hx.simulate(
        network, network.init(saliency=[4.0, 0, 0]), [0.0, 0.0]
    )


def test_parts_of_layers_survive(tmp_path):
    norm = eqx.nn.LayerNorm((2, 3), dtype=jnp.bfloat16)
    norm = eqx.tree_at(lambda n: n.bias, norm, jnp.array([[0.1, 1e-3, 3.0]] * 2, jnp.bfloat16))
    linear = eqx.nn.Linear(2, 3, use_bias=False, key=jax.random.key(0))
    for thing in (norm, linear):
        hx.save(tmp_path / "part.eqx", thing)
        back = hx.load(tmp_path / "part.eqx")
        assert eqx.tree_equal(back, thing)
        assert {x.dtype for x in jax.tree.leaves(back)} == {x.dtype for x in jax.tree.leaves(thing)}
    assert isinstance(hx.load(tmp_path / "part.eqx"), eqx.nn.Linear)


def test_every_truncation_is_noticed(file):
    whole = file.read_bytes()
    for cut in np.linspace(0, len(whole) - 1, 23, dtype=int):
        file.write_bytes(whole[:cut])
        with pytest.raises(hx.LoadError, match="model.eqx"):
            hx.load(file)
    file.write_bytes(whole + b"x")
    with pytest.raises(hx.LoadError, match="goes on"):
        hx.load(file)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda h: h.update(format="pickle"), "no hopfax model"),
        (lambda h: h.update(schema=99), "schema 99"),
        (lambda h: h["model"].update({"class": "Popen"}), "unknown class 'Popen'"),
        (lambda h: h["model"]["fields"].pop("kappa"), "must have fields"),
        (
            lambda h: h["model"]["fields"].update(kappa={"array": [[3], "float64"]}),
            r"model.kappa must be float64\[3\], but the file has float64\[\]",
        ),
        (
            lambda h: h["model"]["fields"].update(kappa={"array": [[], "float32"]}),
            "model.kappa must be float32",
        ),
        (lambda h: h.pop("model"), "damaged at model"),
        (lambda h: h["model"].update({"class": ["Hopfield"]}), "header is damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"tuple": 3}), "header is damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"dict": [["a"]]}), "header is damaged"),
    ],
)
def test_damaged_headers(file, change, text):
    edited(file, change)
    with pytest.raises(hx.LoadError, match=text):
        hx.load(file)


def test_no_object_arrays(file):
    head = file.read_bytes().split(b"\n", 1)[0]
    with open(file, "wb") as out:
        out.write(head + b"\n")
        np.save(out, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(hx.LoadError, match="damaged"):
        hx.load(file)


def test_what_cannot_be_saved_says_so(tmp_path):
    with pytest.raises(TypeError, match="neither a public hopfax class"):
        hx.save(tmp_path / "x", zoo.tight())
    assert not list(tmp_path.iterdir())


def test_double_precision_is_not_lost_silently(file):
    with jax.enable_x64(False):
        with pytest.raises(hx.LoadError, match="cast=True"):
            hx.load(file)
        assert hx.load(file, cast=True).kappa.dtype == jnp.float32
