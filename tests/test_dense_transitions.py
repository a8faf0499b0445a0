"""Dense memories that call each other, against sums written out."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from jax.experimental import sparse
from scipy.sparse import coo_array, csc_array
from test_dense import random_case, step

import hopfax as hx


def calls(P, kind):
    """The transition as it is given, and as a full matrix with entries [next, current]."""
    A = np.zeros((P, P))
    if kind in ("cyclic", "chain"):
        A[np.arange(1, P), np.arange(P - 1)] = 1
        A[0, P - 1] = kind == "cyclic"
        return kind, A
    rng = np.random.default_rng(P)
    if kind == "numbers":
        following = rng.permutation(P)
        following[2] = -1
        A[following, np.arange(P)] = following >= 0
        return following, A
    A = rng.integers(-2, 3, (P, P)) * (rng.random((P, P)) < (0.4 if kind != "full" else 1.0)) * 0.5
    A[:, 1] = 0  # a memory that calls none
    given = {"full": lambda: A, "bcoo": lambda: sparse.BCOO.fromdense(jnp.asarray(A))}
    return given.get(kind, lambda: coo_array(A))(), A


KINDS = ("cyclic", "chain", "numbers", "full", "sparse", "bcoo")


def distinct(y, K, k):
    """k! times the sum over sets of k of K signs of sum y."""
    up = (K + int(y)) // 2
    s = [1] * up + [-1] * (K - up)
    return math.factorial(k) * sum(math.prod(some) for some in itertools.combinations(s, k))


FORCES = {
    "quadratic": (hx.Quadratic(), lambda y, N: y),
    "power 3": (hx.Power(3), lambda y, N: y**2),
    "power 4": (hx.Power(4), lambda y, N: y**3),
    "rectified 3": (hx.RectifiedPower(3), lambda y, N: max(y, 0.0) ** 2),
    "3-body": (hx.ManyBody(3), lambda y, N: distinct(y, N - 1, 2)),
    "exponential": (hx.Exponential(0.7), lambda y, N: math.exp(0.7 * y)),
}


def field_of(name, xi, A, h, kept, weights=None):
    """The sum of forces on each neuron, over all pairs of memories."""
    P, N = xi.shape
    force, u = FORCES[name][1], np.zeros(N)
    for i in range(N):
        for mu in range(P):
            X = sum(xi[mu, j] * h[j] for j in range(N) if kept or j != i)
            f = force(X, N) * (1.0 if weights is None else weights[mu])
            u[i] += sum(A[nu, mu] * xi[nu, i] for nu in range(P)) * f
    return u


def in_units(network, u, X):
    """A field of the library as a sum of forces."""
    if not network.interaction.exponential:
        return u * network.interaction.scale(network.patterns.N)
    rate = float(network.interaction.rate)
    return u * np.exp(rate * X).sum() * (1.0 if network.keep_diagonal else np.exp(rate))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(FORCES))
def test_fields_are_sums_over_the_memories_that_are_called(name, kind):
    xi, h, _ = random_case(3)
    given, A = calls(len(xi), kind)
    for kept in (False, True):
        if kept and name == "3-body":
            continue
        patterns = hx.Patterns(xi, check_patterns=False)
        network = hx.DenseMemory(
            patterns, FORCES[name][0], transition=given, keep_diagonal=kept, block=4
        )
        u = np.asarray(network.field(network.init(h)))
        expected = field_of(name, xi, A, h, kept)
        wide = 1e-12 * (1 + np.abs(expected).max())
        assert_close(in_units(network, u, xi @ h), expected, wide, "rounding")


def sources(xi):
    stored = hx.Patterns(xi)
    packed = hx.patterns.pack(stored)
    return stored, packed, hx.patterns.shard(stored), hx.patterns.shard(packed)


@pytest.mark.parametrize("kind", ["cyclic", "chain", "numbers", "full"])
def test_the_same_bits_from_every_source_and_block(kind):
    generated = hx.GeneratedPatterns(jax.random.key(4), 11, 40)
    xi = np.asarray(generated.rows(0, 11))
    given, A = calls(11, kind)
    expected = None
    for patterns in (*sources(xi), generated, hx.patterns.shard(generated)):
        for block in (3, 1024) if kind == "cyclic" else (4,):
            network = hx.DenseMemory(patterns, hx.Power(3), transition=given, block=block)
            run = hx.iterate(network, network.init(xi[8]), 4, observe=_felt)
            expected = run.observed if expected is None else expected
            for a, b in zip(run.observed, expected, strict=True):
                assert (a == b).all()
    if kind == "cyclic":  # a memory calls the next one, and few of forty neurons are wrong
        due = xi[(8 + np.arange(5)) % 11]
        assert ((np.asarray(expected[0]) * due).mean(1) > 0.8).all()


def _felt(t, state, network):
    return state.spins, network.field(state)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("given", ["numbers", "matrix", "sparse"])
def test_memories_that_call_themselves_are_the_static_network(given, kept):
    """To the last bit, by the paths of all transitions."""
    xi, h, _ = random_case(5, N=33, M=9)
    one = {"numbers": np.arange(9), "matrix": np.eye(9), "sparse": coo_array(np.eye(9))}[given]
    for interaction in (hx.Power(2), hx.Power(3), hx.Power(4), hx.Exponential(0.3), hx.Softmax()):
        if isinstance(interaction, hx.Softmax) and not kept:
            continue
        patterns = hx.Patterns(xi)
        static = hx.DenseMemory(patterns, interaction, keep_diagonal=kept, block=4)
        moving = hx.DenseMemory(patterns, interaction, transition=one, keep_diagonal=kept, block=4)
        a, b = (network.field(network.init(h)) for network in (static, moving))
        assert (a == b).all()


@pytest.mark.parametrize("kind", ["cyclic", "chain", "numbers", "full"])
@pytest.mark.parametrize("name", ["power 3", "exponential"])
def test_one_neuron_after_the_other(name, kind):
    xi, h, _ = random_case(8)
    given, A = calls(len(xi), kind)
    network = hx.DenseMemory(
        hx.Patterns(xi, check_patterns=False), FORCES[name][0], transition=given, update="cyclic"
    )
    expected = h.copy()
    for i in range(len(h)):
        u = field_of(name, xi, A, expected, False)[i]
        expected[i] = expected[i] if abs(u) < 1e-9 else np.sign(u)
    assert (step(network, h) == expected).all()


def test_a_stimulus_weighs_the_memories_that_call():
    xi, h, rng = random_case(6)
    y = rng.normal(size=len(h))
    given, A = calls(len(xi), "full")
    network = hx.DenseMemory(hx.Patterns(xi, check_patterns=False), hx.Power(3), transition=given)
    found = in_units(network, np.asarray(network.field(network.init(h), jnp.asarray(y))), xi @ h)
    expected = field_of("power 3", xi, A, h, False, xi @ y / len(h))
    assert_close(found, expected, 1e-12 * (1 + np.abs(expected).max()), "rounding")


def test_whole_numbers_are_added_exactly_at_high_orders():
    """Where most of a sum cancels, floats would turn the neuron or miss a tie."""
    xi, h, _ = random_case(1, N=9, M=5)
    for kind in ("cyclic", "chain", "numbers"):
        given, A = calls(5, kind)
        network = hx.DenseMemory(
            hx.Patterns(xi, check_patterns=False), hx.Power(24), transition=given
        )
        X = [[int(xi[mu] @ h - xi[mu, i] * h[i]) for i in range(9)] for mu in range(5)]
        called = (A.T @ xi).astype(int)
        u = [sum(int(called[mu, i]) * X[mu][i] ** 23 for mu in range(5)) for i in range(9)]
        expected = [h[i] if u[i] == 0 else math.copysign(1, u[i]) for i in range(9)]
        assert (step(network, h) == np.array(expected)).all()


def test_graded_neurons_move_and_matrices_have_gradients():
    xi, h, _ = random_case(2, N=12, M=4)
    A, start = jnp.asarray(np.roll(np.eye(4), 1, axis=0)), jnp.asarray(0.9 * h)

    def reached(A, start):
        network = hx.DenseMemory(
            hx.Patterns(xi), hx.Power(3), transition=A, activation=hx.Tanh(3.0)
        )
        return hx.iterate(network, network.init(start), 2).overlaps[-1]

    def literal(A, h):
        for _ in range(2):
            X = (xi @ h)[:, None] - xi * h
            h = jnp.tanh(3.0 * ((A.T @ xi) * X**2).sum(0) / 12**2)
        return xi @ h / 12

    assert_close(reached(A, start), literal(A, start), 1e-13, "rounding")
    for argument in (0, 1):
        found = jax.jacrev(reached, argument)(A, start)
        expected = jax.jacrev(literal, argument)(A, start)
        assert_close(found, expected, 1e-12, "rounding")


def test_permuted_neurons_stay_permuted():
    xi, h, rng = random_case(7, N=20, M=6)
    order = rng.permutation(20)
    states = []
    for columns in (np.arange(20), order):
        network = hx.DenseMemory(hx.Patterns(xi[:, columns]), hx.Power(3), transition="cyclic")
        states.append(hx.iterate(network, network.init(h[columns]), 3).final.spins)
    assert (states[0][order] == states[1]).all()


def test_a_long_sequence_is_replayed():
    patterns = hx.GeneratedPatterns(jax.random.key(0), 200, 160)
    network = hx.DenseMemory(patterns, hx.Power(3), transition="cyclic")
    start = network.init(patterns.corrupt(jax.random.key(1), 190, 20))
    run = hx.iterate(network, start, 30)
    due = (190 + np.arange(31)) % 200
    assert (np.asarray(run.overlaps)[np.arange(2, 31), due[2:]] == 1).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cycle", '"cyclic", "chain"'),
        (np.arange(3), "(P,)"),
        ([0, 1, 2, 9], "memories 0..3"),
        (np.ones(4), "whole numbers"),
        (np.ones((3, 3)), "(P, P)"),
        (np.full((4, 4), np.nan), "finite"),
        (coo_array(np.ones((3, 3))), "(P, P)"),
        (coo_array(1j * np.eye(4)), "real"),
        (coo_array([[0, 0, 0, 0], [0, 0, np.nan, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), "(1, 2)"),
        ([], "(P,)"),
        (np.ones((2, 2, 2)), "(2, 2, 2)"),
        (
            hx.DenseMemory(hx.patterns.hadamard(3, 8), hx.Power(3), transition="chain").transition,
            "among 3 memories",
        ),
    ],
)
def test_wrong_transitions_name_what_is_expected(given, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3), transition=given)
    assert "`transition`" in str(caught.value) and message in str(caught.value)


def test_every_sparse_matrix_is_the_full_one():
    A = np.random.default_rng(0).integers(-1, 3, (4, 4)) * 1.0
    patterns = hx.patterns.random(jax.random.key(1), 4, 12)
    h = patterns.corrupt(jax.random.key(2), 1, 3)
    full = hx.DenseMemory(patterns, hx.Power(3), transition=A)
    expected = full.field(full.init(h))
    kinds = [getattr(sparse, name).fromdense for name in ("BCOO", "BCSR", "COO", "CSR", "CSC")]
    kinds += [lambda A: sparse.BCOO.fromdense(A, n_batch=1), lambda A: csc_array(np.asarray(A))]
    for made in kinds:
        network = hx.DenseMemory(patterns, hx.Power(3), transition=made(jnp.asarray(A)))
        assert (network.field(network.init(h)) == expected).all()
    texts = [
        str(hx.DenseMemory(patterns, hx.Power(3), transition=kind)) for kind in ("cyclic", "chain")
    ]
    assert texts[0] != texts[1]


def test_a_memory_that_moves_has_no_energy():
    network = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3), transition="cyclic")
    with pytest.raises(ValueError, match="transition"):
        network.energy(network.init(network.patterns.pattern(0)))
    with pytest.raises(ValueError, match="difference"):
        hx.DenseMemory(
            hx.patterns.hadamard(4, 16), hx.Power(3), transition="cyclic", rule="difference"
        )


@pytest.mark.parametrize("name", ["power 3", "exponential"])
def test_decorrelated_overlaps_recall_what_resembles_each_other(name):
    """Memories of which any two share 60 % of their signs and more."""
    rng = np.random.default_rng(1)
    common = rng.choice([-1.0, 1.0], 40)
    xi = np.where(rng.random((6, 40)) < 0.85, common, rng.choice([-1.0, 1.0], (6, 40)))
    h = np.where(rng.random(40) < 0.1, -xi[2], xi[2])
    interaction, force = FORCES[name]
    A = np.roll(np.eye(6), 1, axis=0)
    C = xi @ xi.T / 40
    seen = np.linalg.solve(C, xi @ h)
    forces = np.array([force(y, 40) for y in seen])
    expected = (A.T @ xi).T @ forces
    stored = hx.Patterns(xi)
    for patterns in (stored, hx.patterns.pack(stored), hx.patterns.shard(stored)):
        network = hx.DenseMemory(
            patterns, interaction, transition="cyclic", learning="pseudo_inverse", block=4
        )
        u = np.asarray(network.field(network.init(h)))
        u = u * (forces.sum() if network.interaction.exponential else interaction.scale(40))
        assert_close(u, expected, 1e-9 * np.abs(expected).max(), "rounding of the inverse")
    plain = hx.DenseMemory(stored, interaction, transition="cyclic", keep_diagonal=True)
    runs = [hx.iterate(net, net.init(h), 9) for net in (network, plain)]
    due = (2 + np.arange(10)) % 6
    exact = [(np.asarray(run.overlaps)[np.arange(10), due] == 1)[2:].all() for run in runs]
    assert exact[0] and (name == "exponential" or not exact[1])
    one = hx.DenseMemory(
        stored, interaction, transition="cyclic", learning="pseudo_inverse", update="cyclic"
    )
    turned = h.copy()
    for i in range(40):
        seen = np.linalg.solve(C, xi @ turned)
        turned[i] = np.sign((A.T @ xi)[:, i] @ [force(y, 40) for y in seen])
    assert (step(one, h) == turned).all()


def test_dependent_memories_have_no_decorrelated_overlaps():
    with pytest.raises(ValueError, match="pseudo_inverse"):
        hx.DenseMemory(
            hx.patterns.random(jax.random.key(0), 9, 8), hx.Power(3), learning="pseudo_inverse"
        )
    with pytest.raises(ValueError, match="keep_diagonal"):
        hx.DenseMemory(
            hx.patterns.hadamard(4, 16), hx.Power(3), learning="pseudo_inverse", keep_diagonal=False
        )
    network = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3), learning="pseudo_inverse")
    with pytest.raises(ValueError, match="pseudo_inverse"):
        network.energy(network.init(network.patterns.pattern(0)))
