"""What the interaction of a dense memory sees: similarities, weights of memories, and values that
memories carry, against NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx
from hopfax.patterns import GeneratedPatterns, Patterns, pack

RNG = np.random.default_rng(0)
GREY = RNG.uniform(-1, 1, (7, 12)) * RNG.uniform(0.3, 2, (7, 1))
WEIGHTS = RNG.uniform(0.2, 3, 7)
REAL, SIGNS = RNG.normal(size=12), np.sign(RNG.normal(size=12))
FORCES = {
    "softmax": (hx.Softmax(0.7), REAL),
    "exponential": (hx.Exponential(0.3), SIGNS),
    "cubic": (hx.Power(3), SIGNS),
    "near": (hx.Epanechnikov(0.12), REAL),
}
CASES = [
    *((name, "dot") for name in ("softmax", "exponential", "cubic")),
    *((name, "cosine") for name in ("softmax", "exponential", "cubic")),
    *((name, "euclidean") for name in ("softmax", "exponential", "near")),
]


def similarity(xi, x, kind):
    if kind == "cosine":
        return len(x) * xi @ x / np.linalg.norm(xi, axis=1) / np.linalg.norm(x)
    return xi @ x if kind == "dot" else -((xi - x) ** 2).sum(1) / 2


def written_out(name, xi, x, kind, w):
    """The field and the energy."""
    s = similarity(xi, x, kind)
    if name == "cubic":
        return (w * s**2) @ xi / len(x) ** 2, -(w * s**3).sum()
    if name == "near":
        near = w * (1 + 0.12 * s > 0)
        return near @ xi / near.sum(), -np.log((w * np.maximum(1 + 0.12 * s, 0)).sum()) / 0.12
    rate = 0.7 if name == "softmax" else 0.3
    force = w * np.exp(rate * s)
    u = force @ xi / force.sum()
    if name == "exponential":
        return u, -force.sum()
    return u, -np.log(force.sum()) / rate + (x @ x / 2 if kind == "dot" else 0)


def made(name, kind, weights=None, **options):
    interaction, x = FORCES[name]
    how = {"similarity": kind, "weights": weights, "keep_diagonal": True} | options
    memory = hx.DenseMemory(Patterns(GREY), interaction, block=3, **how)
    return memory, memory.init(x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_fields_and_energies_written_out(name, kind, weighted):
    memory, state = made(name, kind, WEIGHTS if weighted else None)
    w = WEIGHTS if weighted else np.ones(7)
    u, energy = written_out(name, GREY, np.asarray(state.spins), kind, w)
    assert np.allclose(memory.field(state), u, rtol=1e-12, atol=1e-14)
    if kind == "cosine":
        with pytest.raises(ValueError, match="similarity='cosine' there is none"):
            memory.energy(state)
    else:
        assert np.isclose(memory.energy(state), energy, rtol=1e-12)
    if name == "exponential" and kind != "cosine":
        assert np.isclose(memory.log_energy(state), np.log(-energy), rtol=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("update", ["parallel", "cyclic"])
def test_all_similarities_of_signs_are_one(kind, update):
    generated = GeneratedPatterns(jr.key(0), 7, 12)
    for patterns in (generated, pack(generated)):
        how = dict(keep_diagonal=True, update=update, weights=WEIGHTS)
        one, other = (
            hx.DenseMemory(patterns, hx.Exponential(0.3), similarity=s, **how)
            for s in ("dot", kind)
        )
        state = one.init(SIGNS)
        assert np.allclose(one.field(state), other.field(state), rtol=1e-12)
        assert (one.step(state).spins == other.step(state).spins).all()


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_neurons_in_turn_see_the_same_similarities(kind):
    memory, state = made("exponential", kind, WEIGHTS, update="cyclic")
    h = np.array(SIGNS)
    for i in range(12):
        h[i] = np.sign(written_out("exponential", GREY, h, kind, WEIGHTS)[0][i])
    assert (memory.step(state).spins == h).all() and (h != SIGNS).any()


@pytest.mark.parametrize("interaction", [hx.Power(3), hx.ManyBody(3), hx.Exponential(0.3)])
@pytest.mark.parametrize("update", ["parallel", "cyclic"])
def test_a_weight_of_two_is_a_memory_twice(interaction, update):
    """With neurons left out, on paths of exact sums (which take no weights) and others."""
    xi = np.sign(RNG.normal(size=(5, 12)))
    twice = hx.DenseMemory(
        Patterns(xi[[0, 1, 1, 2, 3, 4]], check_patterns=False), interaction, update=update
    )
    weighed = hx.DenseMemory(Patterns(xi), interaction, update=update, weights=[1, 2, 1, 1, 1])
    state = twice.init(SIGNS)
    assert np.allclose(twice.field(state), weighed.field(state), rtol=1e-12)
    assert (twice.step(state).spins == weighed.step(state).spins).all()
    assert np.isclose(twice.energy(state), weighed.energy(state), rtol=1e-12)


def test_weights_have_derivatives():
    memory, state = made("softmax", "euclidean", WEIGHTS)

    def first(w):
        return eqx.tree_at(lambda m: m.weights, memory, w).field(state)[0]

    step = 1e-6 * np.eye(7)[2]
    w = jnp.asarray(WEIGHTS)
    wanted = (first(w + step) - first(w - step)) / 2e-6
    assert np.isclose(eqx.filter_grad(first)(w)[2], wanted, rtol=1e-6)


def test_means_of_near_memories():
    """Mean shift: energies fall, runs rest after few steps, and what is far moves nothing."""
    memory = hx.DenseMemory(Patterns(GREY), hx.Epanechnikov(0.3))
    starts = GREY + 0.5 * RNG.normal(size=GREY.shape)
    for start in starts:
        run = hx.iterate(memory, memory.init(start), 8, observe=_energy)
        assert (np.diff(run.observed) <= 1e-12).all() and run.stats["moved"] == 0
        x = np.asarray(run.final.spins)
        near = ((GREY - x) ** 2).sum(1) < 2 / 0.3
        assert near.any() and np.allclose(x, GREY[near].mean(0), rtol=1e-12)
    far = memory.init(np.full(12, 50.0))
    assert (memory.step(far).spins == 50).all() and np.isinf(memory.energy(far))
    with pytest.raises(ValueError, match="`stimulus`: the saliencies"):
        memory.field(far, jnp.asarray(REAL))


def _energy(t, state, network):
    return network.energy(state)


def test_cosines_recall_grey_digits_that_products_do_not():
    """Twenty digits whose lower half is erased: by products the brighter memories win."""
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    grey = load_digits().images[:20].reshape(20, 64) / 16
    seen = jnp.arange(64) < 32
    for kind, clamped, most, least in (("dot", None, 2, 2), ("cosine", seen, 20, 20)):
        memory = hx.DenseMemory(Patterns(grey), hx.Softmax(1.0), similarity=kind)

        def end(cue, memory=memory, clamped=clamped):
            run = hx.iterate(memory, hx.SpinState(cue), 10, clamped=clamped)
            return run.final.spins

        ends = jax.vmap(end)(jnp.where(seen, jnp.asarray(grey), 0.0))
        away = ((np.asarray(ends)[:, None] - grey) ** 2).sum(-1)
        right = int((away.argmin(1) == np.arange(20)).sum())
        assert least <= right <= most, kind


@pytest.mark.parametrize(("name", "kind"), [("softmax", "dot"), ("near", "euclidean")])
def test_values_that_memories_carry(name, kind):
    memory, state = made(name, kind, WEIGHTS)
    values = RNG.normal(size=(7, 3))
    x = np.asarray(state.spins)
    s = similarity(GREY, x, kind)
    force = WEIGHTS * (np.exp(0.7 * s) if name == "softmax" else (1 + 0.12 * s > 0))
    wanted = force @ values / force.sum()
    assert np.allclose(memory.associate(state, values), wanted, rtol=1e-12)
    assert np.allclose(memory.associate(state, GREY), memory.field(state), rtol=1e-12)


def test_values_of_signs_see_all_neurons():
    patterns = GeneratedPatterns(jr.key(0), 50, 40)
    memory = hx.DenseMemory(patterns, hx.Power(3), block=16)
    values = np.sign(RNG.normal(size=(50, 8)))
    xi = np.stack([patterns.pattern(mu) for mu in range(50)])
    cue = patterns.corrupt(jr.key(1), 3, 4)
    found = memory.associate(memory.init(cue), values)
    assert np.allclose(found, (xi @ np.asarray(cue)) ** 2 @ values / 40**2, rtol=1e-12)
    assert (jnp.sign(found) == values[3]).all()


def test_distances_of_long_vectors_are_not_rounded():
    """In single precision, a thousand times as long as they are apart."""
    xi = (1000 + RNG.normal(size=(9, 40))).astype(np.float32)
    x = (1000 + RNG.normal(size=40)).astype(np.float32)
    s = similarity(xi.astype(float), x.astype(float), "euclidean")
    wanted = np.exp(0.3 * (s - s.max()))
    with jax.enable_x64(False):
        memory = hx.DenseMemory(Patterns(xi), hx.Softmax(0.3), similarity="euclidean")
        found = memory.associate(memory.init(x), np.eye(9, dtype=np.float32))
        one = memory.associate(memory.init(x), np.arange(9, dtype=np.float32))
    assert found.dtype == np.float32 and np.allclose(found, wanted / wanted.sum(), rtol=3e-4)
    assert one.shape == () and np.isclose(one, np.asarray(found) @ np.arange(9), rtol=1e-4)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_values_weights_and_similarities():
    grey, signs = Patterns(GREY), hx.patterns.hadamard(4, 16)
    for make, words in (
        (lambda: hx.DenseMemory(grey, hx.Softmax(), similarity="l2"), "`similarity` must be"),
        (lambda: hx.DenseMemory(grey, hx.Epanechnikov(), similarity="dot"), "'euclidean' with"),
        (lambda: hx.DenseMemory(signs, hx.Power(3), similarity="cosine"), "keep_diagonal=True"),
        (lambda: hx.DenseMemory(signs, hx.Power(3), similarity="euclidean"), "Power cannot take"),
        (
            lambda: hx.DenseMemory(
                signs, hx.Power(3), similarity="cosine", learning="pseudo_inverse"
            ),
            "decorrelates dot products",
        ),
        (lambda: hx.DenseMemory(signs, hx.Power(3), weights=[1, 2]), r"`weights` must have shape"),
        (lambda: hx.DenseMemory(signs, hx.Power(3), weights=[1, 0, 1, 1]), "`weights` must be > 0"),
        (lambda: hx.DenseFlow(grey, hx.Epanechnikov()), "function of distances"),
        (lambda: hx.DenseSequence(signs, hx.Epanechnikov(), hx.Power(3), share=0.5), "`hold` and"),
        (lambda: _associated(signs, np.ones(3)), r"`values` must have a row, or a number"),
        (lambda: _associated(signs, np.full((4, 1), np.nan)), "`values`"),
        (lambda: _associated(signs, signs), "`values` must be an array"),
        (lambda: _associated(signs, np.ones((4, 1)), transition="chain"), "`associate` is of"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            make()


def _associated(patterns, values, **options):
    memory = hx.DenseMemory(patterns, hx.Power(3), **options)
    return memory.associate(memory.init(patterns.pattern(0)), values)
