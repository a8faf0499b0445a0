"""Programs that are kept traced: never another one than that which would be traced."""

import itertools
import json
import shutil
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mutations

import hopfax as hx
from hopfax import _cache, _programs, _traced
from hopfax._sweep import _program

TIMES = []  # when `steps` was traced, with which number


@_programs.kept
def steps(x, number):
    TIMES.append(number)
    return {"sum": jnp.cumsum(x)[-number:], "two": (x * number, None, [x[0]])}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs are kept, as by a process that began after the last change of a file."""
    monkeypatch.setattr(_traced, "_BEGUN", float("inf"))
    house = _traced._house
    house.cache_clear()
    forget()
    with hx.compilation_cache(tmp_path / "programs") as place:
        yield place / "traced"
    forget()
    house.cache_clear()


def forget():
    """As if this were another process."""
    for clear in _programs._Kept.caches:
        clear()
    TIMES.clear()


X = np.arange(3.0)


def results(number=2, x=X):
    """What `steps` gives in a new process, in bytes, and whether it was traced there."""
    forget()
    out = steps(jnp.asarray(x), number)
    assert type(out["two"]) is tuple and type(out["two"][2]) is list and out["two"][1] is None
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(out)], bool(TIMES)


def test_another_process_does_not_trace_and_has_the_same_bits(folder):
    first, traced = results()
    assert traced
    assert results() == (first, False)
    with jax.disable_jit():
        plain = steps.__wrapped__(jnp.asarray(X), 2)
    assert [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(plain)] == first


def test_every_program_has_a_key_of_its_own(folder, monkeypatch):
    def changed(option, value):
        before = getattr(jax.config, option)
        jax.config.update(option, value)
        try:
            return results()
        finally:
            jax.config.update(option, before)

    def in_environment(name, value):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            return results()

    house = _traced._house()
    cases = [
        results,
        lambda: results(number=1),
        lambda: results(x=np.arange(4.0)),
        lambda: results(x=X.astype(np.float32)),
        lambda: changed("jax_numpy_dtype_promotion", "standard"),
        lambda: changed("jax_default_prng_impl", "rbg"),
        lambda: in_environment("EQX_ON_ERROR", "breakpoint"),
    ]
    for case, expected in itertools.product(cases, (True, False)):
        assert case()[1] is expected
    for k in range(len(house)):  # a file of hopfax, Python, the machine, each version
        monkeypatch.setattr(_traced, "_house", lambda k=k: [*house[:k], "other", *house[k + 1 :]])
        assert results()[1]
    assert len(list(folder.iterdir())) == len(cases) + len(house)


def test_a_damaged_file_is_never_used(folder):
    expected, _ = results()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for damaged in itertools.chain([b"", whole[:-1]], mutations(whole, 0, 40)):
        if damaged == whole:
            continue
        file.write_bytes(damaged)
        assert results() == (expected, True)
        assert file.read_bytes()[_traced._SEAL :][:8] == whole[_traced._SEAL :][:8]  # made anew
        assert results() == (expected, False)


def test_another_program_in_the_place_of_this_one_is_never_used(folder):
    expected, _ = results(number=2)
    (file,) = folder.iterdir()
    results(number=1)
    (other,) = set(folder.iterdir()) - {file}
    shutil.copy(other, file)  # whole and sealed
    assert results(number=2) == (expected, True)


def test_no_program_is_kept_of_files_that_were_changed_since_the_process_began(folder, monkeypatch):
    monkeypatch.setattr(_traced, "_BEGUN", 0.0)
    _traced._house.cache_clear()
    assert [results()[1], results()[1]] == [True, True]
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_fails_nothing(folder):
    folder.write_text("a file")
    assert [results()[1], results()[1]] == [True, True]


def test_without_a_folder_nothing_is_kept(folder):
    jax.config.update("jax_compilation_cache_dir", None)
    _cache._Traced.folder = None
    assert results()[1]
    assert not folder.exists()


def test_derivatives_batches_and_programs_around_it_are_as_ever(folder):
    x = jnp.asarray(X)

    def total(x):
        return steps(x, 2)["sum"].sum()

    np.testing.assert_array_equal(jax.grad(total)(x), [2.0, 2.0, 1.0])
    np.testing.assert_array_equal(jax.jit(total)(x), total(x))
    np.testing.assert_array_equal(jax.vmap(total)(jnp.stack([x, 2 * x])), [4.0, 8.0])
    np.testing.assert_array_equal(jax.jit(lambda: total(jnp.asarray(X)))(), 4.0)


def double(x):
    return {"double": 2 * x}


class Mine(eqx.Module):
    """Of a user: nothing tells its code from that of an earlier version."""

    size: int = 1


def plain(x):
    return x


@pytest.mark.parametrize(
    "value", [double, Mine(), object(), {1: 2}, np.ones(2), lambda x: x, jnp.sin(1.0)]
)
def test_what_has_no_words_is_not_kept(folder, value):
    structs = (jax.ShapeDtypeStruct((), np.float64),)
    assert _traced.kept_traced("plain", plain, value, structs) is plain
    assert _traced.kept_traced("plain", plain, (1, "x", hx.HardTanh(), 0.5), structs) is not plain


def test_outputs_of_other_kinds_are_traced_as_ever(folder):
    structs = (jax.ShapeDtypeStruct((), np.float64),)
    for function in (lambda x: hx.HardTanh(x), lambda x: 1.0, lambda x: jnp.asarray(1) * 2.0):
        assert _traced.kept_traced("f", function, None, structs) is function


def swept(point, grid):
    _program._compiled.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = hx.sweep(point, grid, tile=4, progress=False)
    return {name: values.values.tobytes() for name, values in dataset.items()}


@pytest.mark.slow
def test_sweeps_have_the_bits_that_they_have_without(folder):
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
    )
    point = hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), np.linspace(0.0, 100.0, 9))
    cases = [
        (point, {"kappa": np.linspace(3.0, 8.0, 5)}),
        (hx.theory.sequential.fixed_points, {"kappa": np.linspace(3.0, 8.0, 5)}),
        (double, {"x": np.linspace(3.0, 8.0, 5)}),  # a user's, not kept
    ]
    kept = [[swept(*case) for _ in range(2)] for case in cases]
    sweeps = list(folder.iterdir())
    _cache._Traced.folder = None
    for case, both in zip(cases, kept, strict=True):
        assert [swept(*case)] * 2 == both
    heads = [file.read_bytes()[_traced._SEAL + 8 :] for file in sweeps]
    outputs = [json.JSONDecoder().raw_decode(head.decode("latin-1"))[0]["out"] for head in heads]
    assert sum("regime" in out for out in outputs) == 1
    assert sum("upper" in out for out in outputs) == 1
    assert not any("double" in out for out in outputs)
