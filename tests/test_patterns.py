"""Patterns: products, sources, and the exact classes of equal neurons."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings, strategies as st
from scipy.linalg import hadamard as sylvester

import hopfax as hx


@pytest.mark.parametrize(("columns", "N"), [([1, 2, 4], 8), ([0, 3, 5, 6], 24), (4, 256)])
def test_hadamard(columns, N):
    patterns = hx.patterns.hadamard(columns, N)
    columns = columns if isinstance(columns, list) else [1, 2, 4, 8]
    order = 2 ** max(columns).bit_length()
    expected = np.tile(sylvester(order)[:, columns].T, (1, N // order))
    assert (np.asarray(patterns.xi) == expected).all() and patterns.binary
    assert_close(patterns.gram(), np.eye(len(columns)), 1e-15, "exactly orthogonal")


def test_products():
    rng = np.random.default_rng(0)
    xi, rates, weights = rng.normal(size=(3, 50)), rng.normal(size=50), rng.normal(size=3)
    patterns = hx.Patterns(xi)
    assert_close(patterns.overlap(jnp.asarray(rates)), xi @ rates / 50, 1e-13, "rounding")
    assert_close(patterns.field(jnp.asarray(weights)), xi.T @ weights, 1e-13, "rounding")
    assert_close(patterns.gram(), xi @ xi.T / 50, 1e-13, "rounding")
    assert not patterns.binary


@pytest.mark.slow
@given(
    P=st.integers(1, 9),
    N=st.integers(1, 60),
    seed=st.integers(0, 2**31),
    real=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_classes_reproduce_every_product(P, N, seed, real):
    rng = np.random.default_rng(seed)
    xi = rng.choice([-2.0, 0.5, 1.0], (P, N)) if real else rng.choice([-1.0, 1.0], (P, N))
    patterns = hx.Patterns(xi, check_patterns=False)
    classes = patterns.site_classes()
    assert float(classes.counts.sum()) == N
    assert_close(classes.expand(classes.patterns.xi[0]), xi[0], 1e-15, "averages of equals")
    rebuilt = classes.sign * classes.patterns.xi[:, classes.index]
    assert_close(rebuilt, xi, 1e-15, "averages of equals")
    weights = rng.normal(size=P)
    small = classes.patterns.field(jnp.asarray(weights))
    assert_close(classes.expand(small), patterns.field(jnp.asarray(weights)), 1e-12, "rounding")
    overlaps = classes.patterns.overlap(jnp.tanh(small))
    full = patterns.overlap(jnp.tanh(patterns.field(jnp.asarray(weights))))
    assert_close(overlaps, full, 1e-12, "rounding, odd activation")
    assert_close(classes.patterns.gram(), patterns.gram(), 1e-12, "rounding")
    averaged = classes.average(jnp.asarray(xi[0]))
    assert_close(averaged[classes.index], classes.patterns.xi[0][classes.index], 1e-12, "rounding")


def test_number_of_classes():
    patterns = hx.patterns.random(jr.key(0), 4, 1000)
    assert patterns.site_classes().patterns.xi.shape == (4, 8)
    few = hx.patterns.random(jr.key(0), 10, 30)
    assert few.site_classes().patterns.N <= 30
    empty = hx.patterns.hadamard([0, 1, 2, 3], 16).site_classes()  # the last is a product
    assert sorted(empty.counts.tolist()) == [0, 0, 0, 0, 4, 4, 4, 4]
    assert np.isfinite(empty.patterns.xi).all()


def test_classes_work_under_jit_and_differentiate():
    patterns = hx.patterns.random(jr.key(0), 3, 40)
    eager = patterns.site_classes()
    jitted = jax.jit(lambda p: p.site_classes())(patterns)
    assert (jitted.index == eager.index).all() and (jitted.counts == eager.counts).all()

    def overlap(xi, form):
        p = hx.Patterns(xi, binary=True)
        q = p.site_classes().patterns if form else p
        return q.overlap(jnp.tanh(q.field(jnp.array([0.3, -0.2, 0.5])))).sum()

    g = [jax.grad(overlap)(patterns.xi, form) for form in (True, False)]
    assert_close(g[0], g[1], 1e-14, "class averages carry first derivatives exactly")
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda xi: hx.Patterns(xi).site_classes().counts)(patterns.xi)


def test_classifying_neurons_needs_no_more_memory_than_the_patterns():
    """So a million neurons are no trouble: nothing of the size of neurons times classes is made."""
    P, N = 7, 2**14
    xi = jax.ShapeDtypeStruct((P, N), jnp.float64)
    program = jax.jit(lambda xi: hx.Patterns(xi, binary=True).site_classes()).lower(xi).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4 * 8 * P * N


def test_gauge_cycle():
    for seed in range(8):
        patterns = hx.patterns.random(jr.key(seed), 4, 255)
        gram = np.asarray(patterns.gram())
        around = np.prod([gram[mu, (mu + 1) % 4] for mu in range(4)])
        if around < 0:
            with pytest.raises(ValueError, match="product of consecutive overlaps"):
                patterns.gauge_cycle()
        else:
            turned = patterns.gauge_cycle()
            new = np.asarray(turned.gram())
            assert all(new[mu, (mu + 1) % 4] > 0 for mu in range(4))
            assert (np.abs(turned.xi) == np.abs(patterns.xi)).all() and turned.binary
    with pytest.raises(ValueError, match="exactly 0.*bias"):
        hx.patterns.hadamard(3, 8).gauge_cycle()


def test_random_correlated_and_corrupt():
    P, N, rho = 5, 20000, 0.3
    patterns = hx.patterns.correlated(jr.key(0), P, N, rho)
    off = np.asarray(patterns.gram())[~np.eye(P, dtype=bool)]
    assert np.abs(off - rho).max() < 4 / N**0.5 * 2  # 4 standard errors, template included
    flipped = patterns.corrupt(jr.key(1), 2, 123)
    assert int((flipped != patterns.xi[2]).sum()) == 123
    assert (hx.patterns.random(jr.key(0), 3, 9).xi == hx.patterns.random(jr.key(0), 3, 9).xi).all()


def test_images_and_files(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 6, 8)).astype(np.uint8)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    patterns = hx.patterns.from_images(tmp_path)
    level = np.median(pictures.reshape(3, -1), axis=1)[:, None, None]
    expected = np.where(pictures > level, 1.0, -1.0)
    assert (np.asarray(patterns.xi).reshape(3, 6, 8) == expected).all()
    assert (hx.patterns.from_images(pictures.astype(float)).xi == patterns.xi).all()
    assert hx.patterns.from_images(tmp_path, shape=(3, 4)).xi.shape == (3, 12)
    Image.fromarray(pictures[0, :4]).save(tmp_path / "9.jpg")
    with pytest.raises(ValueError, match="differ in size"):
        hx.patterns.from_images(tmp_path)
    with pytest.raises(ValueError, match="no PNG or JPEG"):
        (tmp_path / "empty").mkdir()
        hx.patterns.from_images(tmp_path / "empty")
    with pytest.raises(ValueError, match="uniform"):
        hx.patterns.from_images(np.ones((2, 4, 4)))

    np.save(tmp_path / "xi.npy", np.asarray(patterns.xi))
    np.savez(tmp_path / "xi.npz", xi=np.asarray(patterns.xi), other=1)
    for file in ("xi.npy", "xi.npz"):
        assert (hx.patterns.load(tmp_path / file).xi == patterns.xi).all()
    np.savez(tmp_path / "bad.npz", a=1, b=2)
    with pytest.raises(ValueError, match="must hold an array `xi`"):
        hx.patterns.load(tmp_path / "bad.npz")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        hx.patterns.load(tmp_path / "pickle.npy")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1,-1,0\n-1,0.5,1\n", "utf-8"),
        ("a,b,c\n1,-1,0\n\n-1,0.5,1", "utf-8-sig"),
        ("0,1,2\n1,-1,0\n-1,.5,1\n", "utf-8"),  # as pandas names columns
        ("sep=;\n1;-1;0;\n-1;0,5;1;\n", "utf-16"),
        ("a b;c, d;\u00e9\n1;-1;0\n-1;0,5;1\n", "latin-1"),
        ('"a"\t"b"\t"c"\n1\t-1\t0\n-1\t5e-1\t1\n', "utf-8"),
    ],
)
def test_tables_of_memories(text, encoding, tmp_path):
    (tmp_path / "xi.csv").write_text(text, encoding)
    assert hx.patterns.load(tmp_path / "xi.csv").xi.tolist() == [[1, -1, 0], [-1, 0.5, 1]]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1,0,1\n0,1\n", "line 2: a memory needs 3 entries, as line 1 has, but this one has 2"),
        ("a,b\n\n1,0\n0,x\n", "line 4: entry 2 is 'x'; a memory is a row of numbers, -1 and 1"),
        ("1,,1\n0,1,1\n", "line 1: a memory is a row of numbers"),
        ("1,0,1\n0,nan,1\n", "line 2: entry 2 is 'nan'"),
        (",0,1\n0,1,-1\n", "to_csv"),
        ("1;0,5\n0.5;1\n", "line 2: has '.' in a number, where line 1 has ','"),
        ("1 0 1\n0 1 1\n", "separated by comma, semicolon or tab"),
        ("a,b\n", "line 1: there is a header, and no row below it"),
        (" \n", "is empty"),
    ],
)
def test_what_is_no_table_of_memories_names_its_line(text, match, tmp_path):
    (tmp_path / "xi.csv").write_text(text)
    with pytest.raises(ValueError, match=f"`path`: .*xi.csv.*{match}"):
        hx.patterns.load(tmp_path / "xi.csv")


def test_sets_of_active_neurons():
    patterns = hx.patterns.balanced(0.2, 1000)
    gram = np.asarray(patterns.xi) @ np.asarray(patterns.xi).T
    assert (gram == np.where(np.eye(6), 200, 40)).all()
    assert int(np.asarray(patterns.xi).all(0).sum()) == 40
    flower = hx.patterns.sunflower(5, 0.2, 0.4, 1000)
    gram = np.asarray(flower.xi) @ np.asarray(flower.xi).T
    assert (gram == np.where(np.eye(5), 200, 80)).all()
    few = hx.patterns.sparse(jr.key(0), 7, 50, 0.3)
    assert (np.asarray(few.xi).sum(1) == 15).all() and set(np.unique(few.xi)) == {0.0, 1.0}
    assert len(np.unique(np.asarray(few.xi), axis=0)) == 7
    cue = hx.patterns.degrade(few, jr.key(1), 2, 9)
    assert cue.sum() == 9 and (np.asarray(cue) <= np.asarray(few.xi[2])).all()
    other = hx.patterns.degrade(few, jr.key(2), 2, 9)
    assert (np.asarray(cue) != np.asarray(other)).any()
    made = hx.patterns.active(np.array([[3.0, -1.0, 2.0, 2.0], [0.0, 5.0, -2.0, 1.0]]), 0.5)
    assert (np.asarray(made.xi) == [[1, 0, 1, 0], [0, 1, 0, 1]]).all()
    assert (np.asarray(hx.patterns.active(hx.Patterns([[1.0, -1.0]])).xi) == [[1, 0]]).all()


@pytest.mark.parametrize("P", [3, 9])
def test_column_classes(P):
    patterns = hx.patterns.sparse(jr.key(P), P, 400, 0.25)
    xi = np.asarray(patterns.xi)
    classes = patterns.column_classes()
    assert (np.asarray(classes.patterns.xi)[:, np.asarray(classes.index)] == xi).all()
    assert np.asarray(classes.counts).sum() == 400
    found = np.unique(xi, axis=1).shape[1]
    assert (np.asarray(classes.counts) > 0).sum() == found
    assert classes.patterns.N == (8 if P == 3 else found)
    if P == 3:
        traced = jax.jit(lambda xi: hx.Patterns(xi).column_classes().counts)(xi)
        assert (np.asarray(traced) == np.asarray(classes.counts)).all()


def test_columns_of_other_entries_are_no_classes_of_zeros_and_ones():
    xi = np.where(np.arange(8) < 4, 1.0, 0.0)[None] * [[1.0], [1.0]]
    xi[1, 0] = 0.7
    classes = hx.Patterns(xi).column_classes()
    assert (np.asarray(classes.patterns.xi)[:, np.asarray(classes.index)] == xi).all()
    hidden = jax.jit(lambda xi: hx.Patterns(xi).column_classes().patterns.xi)(xi)
    assert np.isnan(hidden).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hx.patterns.balanced(0.3, 900), "`q` must be 1/2"),
        (lambda: hx.patterns.balanced(0.2, 1010), "multiple of 1/q"),
        (lambda: hx.patterns.sunflower(3, 0.2, 0.33, 100), "q N and r q N whole"),
        (lambda: hx.patterns.sunflower(30, 0.2, 0.5, 100), "`N` must be at least 310"),
        (lambda: hx.patterns.sparse(jr.key(0), 3, 10, 0.33), "`q` must give a whole"),
        (lambda: hx.patterns.active(np.ones((2, 4)), 1.0), "`q` must leave"),
        (lambda: hx.patterns.active(np.ones(4)), "a row for every memory"),
        (
            lambda: hx.patterns.degrade(hx.patterns.balanced(0.5, 8), jr.key(0), 0, 5),
            "`kept` must be at most 4",
        ),
    ],
)
def test_impossible_sets_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
