"""Packed, generated and sharded patterns: the same memories, wherever they are kept."""

import tracemalloc

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close, run_python

import hopfax as hx
from hopfax.networks.dense._blocks import count_bits, project_in_pieces
from hopfax.patterns._base import pack_bits, unpack_bits

SIZES = pytest.mark.parametrize(("P", "N"), [(1, 1), (5, 31), (7, 32), (9, 33), (40, 100)])


@SIZES
def test_packing_keeps_every_entry(P, N):
    stored = hx.patterns.random(jr.key(N), P, N)
    packed = hx.patterns.pack(stored)
    assert packed.bits.nbytes == 4 * P * -(-N // 32)
    assert (packed.rows(0, P) == stored.xi).all()
    for i in {0, N // 2, N - 1}:
        assert (packed.column(i) == stored.xi[:, i]).all()
        assert (jax.jit(lambda k: packed.column(k))(i) == stored.xi[:, i]).all()
    assert (packed.pattern(P - 1) == stored.xi[P - 1]).all()
    assert (packed.corrupt(jr.key(0), 0, N // 3) == stored.corrupt(jr.key(0), 0, N // 3)).all()


@SIZES
def test_generated_patterns_are_the_same_however_they_are_read(P, N):
    made = hx.GeneratedPatterns(jr.key(1), P, N)
    packed = hx.patterns.pack(made)
    assert (made.rows(0, P) == packed.rows(0, P)).all()
    assert (made.words(0, P) == pack_bits(made.rows(0, P) > 0)).all()  # nothing beyond neuron N
    one, column = jax.jit(lambda k: made.rows(k, 1)[0]), jax.jit(lambda i: made.column(i))
    rows = np.asarray(packed.rows(0, P))
    for first in range(P):
        assert (np.asarray(one(first)) == rows[first]).all()
    for i in range(0, N, 7):
        assert (np.asarray(column(i)) == rows[:, i]).all()


def test_generated_patterns_are_random():
    """Means and correlations of 4000 x 96 signs within five standard errors."""
    P, N = 4000, 96
    xi = np.asarray(hx.GeneratedPatterns(jr.key(5), P, N).rows(0, P))
    other = np.asarray(hx.GeneratedPatterns(jr.key(6), P, N).rows(0, P))
    assert set(np.unique(xi)) == {-1.0, 1.0}
    assert abs(xi.mean()) < 5 / np.sqrt(P * N) and abs((xi * other).mean()) < 5 / np.sqrt(P * N)
    across = xi.T @ xi / P - np.eye(N)
    assert np.abs(across).max() < 5 / np.sqrt(P)
    assert abs(np.sqrt((across**2).sum() / (N * (N - 1))) * np.sqrt(P) - 1) < 0.1
    along = xi[:400] @ xi[:400].T / N - np.eye(400)
    assert abs(np.sqrt((along**2).sum() / (400 * 399)) * np.sqrt(N) - 1) < 0.1


def test_large_sets_are_packed_whole():
    made = hx.GeneratedPatterns(jr.key(2), 5000, 33)
    packed = hx.patterns.pack(made)
    assert packed.P == 5000 and (packed.rows(4000, 1000) == made.rows(4000, 1000)).all()
    dirty = hx.PackedPatterns(jnp.full((1, 1), 2**32 - 1, jnp.uint32), 8)
    assert int(dirty.bits[0, 0]) == 255


def test_pack_joins_sources():
    stored, made = hx.patterns.random(jr.key(0), 3, 40), hx.GeneratedPatterns(jr.key(1), 5, 40)
    both = hx.patterns.pack(stored, made)
    assert both.P == 8
    assert (both.rows(0, 3) == stored.xi).all() and (both.rows(3, 5) == made.rows(0, 5)).all()


@pytest.mark.parametrize("N", [1, 32, 70, 512, 700])
def test_counting_bits_is_the_overlap(N):
    rng = np.random.default_rng(N)
    xi, h = rng.choice([-1.0, 1.0], (20, N)), rng.choice([-1.0, 1.0], N)
    words = pack_bits(jnp.asarray(xi > 0))
    assert (np.asarray(unpack_bits(words, N, np.dtype("float32"))) == xi).all()
    unequal = count_bits(words, pack_bits(jnp.asarray(h > 0)))
    assert (N - 2 * np.asarray(unequal) == xi @ h).all()


def test_products_in_pieces_are_those_of_float32():
    """What runs on a GPU: integers below 2^24 and anything else that float32 holds."""
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.choice([-1.0, 1.0], (64, 40)), jnp.float32)
    whole = jnp.asarray(rng.integers(0, 2**17, (3, 64)), jnp.float32)
    for run in (project_in_pieces, jax.jit(project_in_pieces)):
        assert (np.asarray(run(whole, rows)) == np.asarray(whole) @ np.asarray(rows)).all()
    real = jnp.asarray(rng.normal(size=(3, 64)) * 1e5, jnp.float32)
    exact = np.asarray(real, np.float64) @ np.asarray(rows, np.float64)
    error = (
        np.abs(np.asarray(jax.jit(project_in_pieces)(real, rows)) - exact).max()
        / np.abs(exact).max()
    )
    assert error < 1e-6  # a few units of float32's last place


_SHARDS = """
import warnings; warnings.simplefilter("error")
warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
import tracemalloc

import jax
jax.config.update("jax_num_cpu_devices", 3)
import jax.numpy as jnp, hopfax as hx
P, N = 1001, 90
made = hx.GeneratedPatterns(jax.random.key(0), P, N)
stored = hx.Patterns(made.rows(0, P))
packed = hx.patterns.pack(made)
starts = jnp.stack([made.corrupt(jax.random.key(k), 0, 20) for k in range(3)])
kinds = {"stored": stored, "packed": packed, "generated": made}
kinds |= {name + " on 3 devices": hx.patterns.shard(kind) for name, kind in kinds.items()}
def trajectory(patterns, block):
    net = hx.DenseMemory(patterns, hx.Power(3), block=block)
    def observe(t, state, network): return network.field(state)
    run = jax.vmap(lambda h: hx.iterate(net, net.init(h), 3, track=[0], observe=observe))
    out = run(starts)
    return out.observed, out.final.spins
reference = trajectory(stored, P)
assert reference[0].dtype == jnp.float32
assert len(set(reference[0].ravel().tolist())) > 100
for name, patterns in kinds.items():
    for block in (64,) if "dev" in name else (37, 512) if name == "packed" else (37,):
        for a, b in zip(trajectory(patterns, block), reference):
            assert (a == b).all(), (name, block)
u = hx.DenseMemory(kinds["packed on 3 devices"], hx.Exponential(0.5))
v = hx.DenseMemory(packed, hx.Exponential(0.5))
a, b = (net.field(net.init(starts[0])) for net in (u, v))
assert jnp.abs(a - b).max() < 1e-6
assert (u.overlaps(u.init(starts[0])) == v.overlaps(v.init(starts[0]))).all()
few = hx.GeneratedPatterns(jax.random.key(0), 2, N)
for one in (few, packed):
    turns = [hx.DenseMemory(p, hx.Power(3), update="cyclic") for p in (one, hx.patterns.shard(one))]
    a, b = (net.step(net.init(few.corrupt(jax.random.key(1), 0, 30))).spins for net in turns)
    assert (a == b).all()
# eleven memories on three devices: the last one has a row of padding
called = hx.GeneratedPatterns(jax.random.key(4), 11, 40)
spread = [(p, hx.patterns.shard(p)) for p in (hx.patterns.pack(called), called)]
numbers = jnp.array([4, 7, 0, -1, 10, 2, 9, 1, 5, 3, 8])
for transition in ("cyclic", "chain", numbers, jnp.eye(11)[numbers]):
    for one, shared in spread:
        h = one.corrupt(jax.random.key(1), 10, 5)
        how = dict(transition=transition, block=2)
        nets = [hx.DenseMemory(p, hx.Power(3), **how) for p in (one, shared)]
        a, b = (net.field(net.init(h)) for net in nets)
        assert (a == b).all(), str(transition)
print("equal")
"""


@pytest.mark.slow
def test_blocks_packing_and_devices_change_no_bit():
    """Float32, n = 3: sums of integers below 2^24, so no order of adding matters."""
    assert run_python(_SHARDS) == "equal"


def test_streaming_needs_the_memory_of_a_block():
    P, N = 20_000, 256
    made = hx.GeneratedPatterns(jr.key(0), P, N)
    net = hx.DenseMemory(made, hx.Power(3), block=256)
    state = net.init(made.pattern(0))
    program = jax.jit(lambda h: net.field(hx.SpinState(h))).lower(state.spins).compile()
    stored = 8 * P * N  # as the floats of this test run
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * stored


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hx.GeneratedPatterns(jr.key(0), 0, 8), "`P` must be a whole number >= 1.*got 0"),
        (lambda: hx.GeneratedPatterns(jr.key(0), 2**31, 8), "below 2\\^31"),
        (lambda: hx.GeneratedPatterns(jr.key(0), 4, 8).pattern(4), "one of the 4 patterns"),
        (lambda: hx.GeneratedPatterns(jr.key(0), 4, 8).corrupt(jr.key(0), -1, 2), "one of the 4"),
        (
            lambda: hx.patterns.random(jr.key(0), 4, 8).corrupt(jr.key(0), 1, 2.5),
            "`flips` must be a whole number",
        ),
        (lambda: hx.patterns.shard(np.ones((2, 2))), "`patterns` must be hopfax patterns"),
        (lambda: hx.GeneratedPatterns(3, 8, 8), "`key` must be a PRNG key"),
        (lambda: hx.GeneratedPatterns(jr.key(0, impl="rbg"), 8, 8), "Threefry"),
        (lambda: hx.PackedPatterns(jnp.zeros((2, 2), jnp.uint32), 8), "`bits` must be uint32"),
        (lambda: hx.patterns.pack(), "at least one"),
        (lambda: hx.patterns.pack(hx.Patterns([[0.5, 1.0]])), "patterns of \\+-1"),
        (lambda: hx.patterns.pack([[1.0, -1.0]]), "`sources` must be hopfax patterns"),
        (
            lambda: hx.patterns.pack(
                hx.patterns.random(jr.key(0), 2, 8), hx.patterns.random(jr.key(0), 2, 9)
            ),
            "`sources` must have the same N",
        ),
        (lambda: hx.patterns.shard(hx.patterns.random(jr.key(0), 2, 8), []), "`devices`"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_a_shard_on_one_device():
    stored = hx.patterns.random(jr.key(0), 5, 12)
    sharded = hx.patterns.shard(stored)
    with pytest.raises(TypeError, match="sharded already"):
        hx.patterns.shard(sharded)
    nets = [hx.DenseMemory(p, hx.Power(3)) for p in (stored, sharded)]
    a, b = (net.field(net.init(stored.pattern(1))) for net in nets)
    assert_close(a, b, 0.0, "the same integers")
    assert (sharded.column(3) == stored.column(3)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.float32, bool, ">f8"])
def test_files_and_arrays_are_packed_in_pieces(dtype, tmp_path, monkeypatch):
    """With pieces of three rows, of which the last is not full."""
    monkeypatch.setattr("hopfax.patterns._packing._PIECE", 3 * 37 * np.dtype(dtype).itemsize)
    stored = hx.patterns.random(jr.key(0), 11, 37)
    signs = np.asarray(stored.xi > 0 if dtype is bool else stored.xi).astype(dtype)
    np.save(tmp_path / "signs.npy", signs)
    wanted = hx.patterns.pack(stored).bits
    for source in (signs, tmp_path / "signs.npy", str(tmp_path / "signs.npy")):
        packed = hx.patterns.pack(source)
        assert (packed.bits == wanted).all() and packed.N == 37
    assert hx.patterns.pack(stored, signs, tmp_path / "signs.npy").P == 33


def test_packing_a_file_takes_no_more_than_its_bits(tmp_path):
    """A file of 64 MB becomes 8 MB; the greatest memory on the way is that, twice, and a piece."""
    rng = np.random.default_rng(0)
    signs = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.int8, (65536, 1024))
    signs[:] = 1
    signs[rng.integers(0, 65536, 99), rng.integers(0, 1024, 99)] = -1
    signs.flush()
    tracemalloc.start()
    packed = hx.patterns.pack(tmp_path / "big.npy")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert packed.bits.nbytes == 2**23 and most < 100e6
    where = np.flatnonzero(np.asarray(packed.column(5)) < 0)
    assert (where == np.flatnonzero(signs[:, 5] < 0)).all()


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_files_that_cannot_be_packed(tmp_path):
    def saved(array, name="x.npy"):
        np.save(tmp_path / name, array, allow_pickle=True)
        return tmp_path / name

    cut = saved(np.ones((4, 8)), "cut.npy")
    cut.write_bytes(cut.read_bytes()[:-3])
    (tmp_path / "other.npy").write_bytes(b"not an array")
    grey = np.ones((4, 8))
    grey[2, 3] = 0.5
    for make, words in (
        (lambda: saved(grey), r"has 0.5 at row 2, neuron 3; packed patterns are signs"),
        (lambda: saved(np.zeros((2, 3), int)), "has 0 at row 0, neuron 0"),
        (lambda: saved(np.ones(3)), r"must have shape \(P, N\)"),
        (lambda: saved(np.full((2, 2), "a")), "holds <U1, not signs"),
        (lambda: saved(np.array([[object()]])), "pickles"),
        (lambda: saved(np.asfortranarray(np.ones((4, 8)))), "Fortran order"),
        (lambda: cut, "256 bytes, but 253 follow"),
        (lambda: tmp_path / "other.npy", "no array in NumPy's format"),
        (lambda: tmp_path / "x.csv", "must end in .npy"),
        (lambda: tmp_path, "`sources`"),
        (lambda: np.ones((0, 3)), r"must have shape \(P, N\)"),
        (lambda: 3.0, "`sources` must be hopfax patterns, arrays"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            hx.patterns.pack(make())
    with pytest.raises(FileNotFoundError):
        hx.patterns.pack(tmp_path / "none.npy")
