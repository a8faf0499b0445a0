"""Model files: what a damaged one says."""

import collections
import concurrent.futures
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import rewritten

import hopfax as hx


@pytest.fixture
def file(tmp_path):
    network, _ = zoo.cycle(activation=hx.GaussianAverage(hx.Tanh(2.0), 0.3), readout="square")
    hx.save(tmp_path / "model.eqx", network)
    return tmp_path / "model.eqx"


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
    with pytest.raises(hx.LoadError, match="its checksum is not that"):
        hx.load(file)
    file.write_bytes(whole)
    rewritten(file, lambda h: None, sealed=False)
    unsealed = file.read_bytes()
    for damaged, text in (
        (unsealed[:-3], "truncated or damaged at model"),
        (unsealed + b"x", "goes on"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(hx.LoadError, match=text):
            hx.load(file)


def set_option(name, value):
    return lambda header: header["model"]["fields"].update({name: {"value": value}})


def set_class(name, kind):
    """The class in one field, without fields of its own."""
    node = {"class": kind, "fields": {}}
    return lambda header: header["model"]["fields"].update({name: node})


@pytest.mark.parametrize("sealed", [True, False])
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
        (lambda h: h.pop("model"), "makes no sense at model"),
        (lambda h: h["model"].update({"class": ["Hopfield"]}), "damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"tuple": 3}), "damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"dict": [["a"]]}), "damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"value": {}}), "no sense at model.kappa"),
        (lambda h: h["model"]["fields"].update(kappa={"array": [[-1], "float64"]}), "damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"array": [[], "object"]}), "damaged"),
        (lambda h: h["model"]["fields"].update(kappa={"array": [[10**15], "int8"]}), "model.kappa"),
        (set_option("readout", "lilear"), "`readout` must be 'linear' or 'abs' or .* 'lilear'"),
        (set_option("keep_diagonal", "yes"), "`keep_diagonal` must be bool, got 'yes'"),
        (set_option("kappa", 3.0), r"`kappa` must be Float\[\*#P\], got 3.0"),
        (set_class("activation", "Quadratic"), "model: `activation` must be AbstractActivation"),
    ],
)
def test_damaged_headers(file, change, text, sealed):
    rewritten(file, change, sealed)
    with pytest.raises(hx.LoadError, match=text) as caught:
        hx.load(file)
    assert "model.eqx" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unsealed_file_of_an_earlier_version_is_read_with_a_warning(file, tmp_path):
    sealed = hx.load(file)
    rewritten(file, lambda h: None, sealed=False)
    with pytest.warns(UserWarning, match="model.eqx was written by an earlier version") as caught:
        network = hx.load(file)
    assert eqx.tree_equal(network, sealed) and caught[0].filename == __file__
    hx.save(file, network)
    assert eqx.tree_equal(hx.load(file), sealed)  # without a warning


def test_no_seal_can_be_lost(file):
    """A file of this version without its seal, or with one that has another name, is no file of an
    earlier version."""
    for change in (
        lambda h: h.update(schema=2),
        lambda h: h.update(seal="0" * 64),
        lambda h: h.update(seam="0" * 64),
        lambda h: h.update(schema=True),
        lambda h: h.update(schema=1.0),
    ):
        whole = file.read_bytes()
        rewritten(file, change, sealed=False)
        with pytest.raises(hx.LoadError, match=r"damaged|schema True|schema 1\.0"):
            hx.load(file)
        file.write_bytes(whole)


def test_a_header_that_is_nested_without_end(file):
    for start in (b'{"format": "hopfax-model", "schema": 1, "model": ', b""):
        file.write_bytes(start + b'{"list": [' * 9000 + b"]}" * 9000 + b"}\n")
        with pytest.raises(hx.LoadError, match="model.eqx is no JSON header|no hopfax model"):
            hx.load(file)


def test_no_object_arrays(file):
    head = json.loads(file.read_bytes().split(b"\n", 1)[0])
    del head["seal"]
    with open(file, "wb") as out:
        out.write(json.dumps(head | {"schema": 1}).encode() + b"\n")
        np.save(out, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(hx.LoadError, match="damaged"):
        hx.load(file)


class Anything(eqx.Module):
    """A class of a user, which may hold anything."""

    part: Any


def local_class():
    class Local(eqx.Module):
        part: Any

    return Local


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (zoo.tight(), r"`model.part` is a Diffrax, .* networks, patterns, states"),
        (jnp.tanh, "`model.part` is .*tanh.* a file holds no code. Make it a method"),
        (lambda x: x, "lambda.* a file holds no code"),
        (jax.random.key(0), "is a PRNG key, .*key_data"),
        (np.array([{}], dtype=object), "an array of object; only numbers"),
        (np.array(["a"]), "an array of <U1; only numbers"),
        (np.datetime64("2026-01-01"), "which cannot be saved"),
        (1j, "is a complex, which cannot be saved: a model is made of arrays"),
        ({(0, 1): 2}, r"`model.part` has the key \(0, 1\)"),
        (collections.Counter(), "is a Counter"),
    ],
)
def test_what_cannot_be_saved_says_what_to_do(tmp_path, part, text):
    with pytest.raises(TypeError, match=text) as caught:
        hx.save(tmp_path / "x", Anything(part))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_what_cannot_be_saved_is_named_before_anything_is_written(tmp_path):
    patterns = hx.patterns.hadamard(4, 16)
    with pytest.raises(TypeError, match="`notes` must be plain data"):
        hx.save(tmp_path / "x", patterns, notes={"made": object()})
    with pytest.raises(TypeError, match="`model.xi` is traced; save outside of jit"):
        jax.jit(lambda p: hx.save(tmp_path / "x", p))(patterns)
    with pytest.raises(FileNotFoundError, match="nowhere'$"):
        hx.save(tmp_path / "nowhere" / "x", patterns)
    broken = eqx.tree_at(lambda p: p.xi, patterns, 0.3 * patterns.xi)
    with pytest.raises(ValueError, match=r"model: `binary=True` needs entries \+-1"):
        hx.save(tmp_path / "x", broken)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_saved_as_numbers(tmp_path):
    parts = [np.int64(3), np.float32(0.5), np.bool_(True), None, "a", 2.5, (1, [2]), {1: {"b": -1}}]
    hx.save(tmp_path / "x", Anything(parts))
    assert hx.load(tmp_path / "x", classes=[Anything]).part == parts
    small = jnp.array([0.5, -2.0], jnp.float8_e4m3fn)
    hx.save(tmp_path / "x", {"small": small})
    back = hx.load(tmp_path / "x")["small"]
    assert back.dtype == small.dtype and (back == small).all()


def test_a_class_of_your_own_is_known_by_its_name(tmp_path):
    """Also one that was made inside a function, or has moved since: the user names it."""
    made = local_class()(jnp.ones(2))
    hx.save(tmp_path / "x", made)
    with pytest.raises(hx.LoadError, match=r"unknown class .*Local'. .* classes=\[Local\]"):
        hx.load(tmp_path / "x")
    back = hx.load(tmp_path / "x", classes=[local_class()])
    assert (back.part == 1).all()
    rewritten(tmp_path / "x", lambda h: h["model"].update({"class": "__main__.Anything"}))
    assert isinstance(hx.load(tmp_path / "x", classes=[local_class(), Anything]), Anything)
    with pytest.raises(hx.LoadError, match="unknown class"):
        hx.load(tmp_path / "x", classes=[local_class()])
    with pytest.raises(TypeError, match="`classes` must list classes"):
        hx.load(tmp_path / "x", classes=[dict])


class Picky(eqx.Module):
    """A class of a user that checks what it is made of."""

    part: Any

    def __check_init__(self):
        if self.part != 3:
            raise RuntimeError("the part must be 3\nand nothing else")


def test_the_checks_of_a_class_of_your_own_run_on_loading(tmp_path):
    hx.save(tmp_path / "x", Picky(3))
    assert hx.load(tmp_path / "x", classes=[Picky]).part == 3
    rewritten(tmp_path / "x", lambda h: h["model"]["fields"]["part"].update(value=4))
    with pytest.raises(hx.LoadError, match=r"holds no .*Picky that there can be: .* must be 3$"):
        hx.load(tmp_path / "x", classes=[Picky])


def test_ensembles_go_through_files(tmp_path):
    """Modules whose arrays have axes in front, as `vmap` over constructors makes them."""

    def network(gain):
        return hx.Hopfield(hx.patterns.hadamard(2, 8), activation=hx.Tanh(gain))

    several = eqx.filter_vmap(network)(jnp.array([1.0, 2.0, 3.0]))
    twice = eqx.filter_vmap(eqx.filter_vmap(hx.Tanh))(jnp.ones((2, 3)))
    for model in (several, twice, Anything(several), [several, hx.HardTanh()]):
        hx.save(tmp_path / "x", model)
        assert eqx.tree_equal(hx.load(tmp_path / "x", classes=[Anything]), model)
    mixed = eqx.tree_at(lambda n: n.activation.gain, several, jnp.ones(2))
    with pytest.raises(ValueError, match=r"could not be loaded again: model.patterns: `xi`"):
        hx.save(tmp_path / "x", mixed)


def test_two_threads_that_save_to_one_name_both_succeed(tmp_path):
    models = [hx.patterns.hadamard(k, 16) for k in (1, 2, 4)]
    (tmp_path / "other").write_text("precious")
    (tmp_path / "x").symlink_to(tmp_path / "other")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda model: hx.save(tmp_path / "x", model), 10 * models))
    assert hx.load(tmp_path / "x").P in (1, 2, 4)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["other", "x"]
    assert (tmp_path / "other").read_text() == "precious"  # the link was replaced, not followed


def test_double_precision_is_not_lost_silently(file):
    with jax.enable_x64(False):
        with pytest.raises(hx.LoadError, match="cast=True"):
            hx.load(file)
        assert hx.load(file, cast=True).kappa.dtype == jnp.float32
