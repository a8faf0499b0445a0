"""Spins of dense memories against whole numbers, and their derivatives against differences."""

import math
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx


def symmetric(K, y, k):
    """e_k of K signs with sum y, by counting."""
    up, down = (K + y) // 2, (K - y) // 2
    return sum((-1) ** j * math.comb(down, j) * math.comb(up, k - j) for j in range(k + 1))


def potential(kind, n, X, N):
    """F(X) as a Python number."""
    if kind == "rectified":
        return max(X, 0) ** n
    return X**n if kind == "power" else math.factorial(n) * symmetric(N, X, n)


def force(kind, n, y, N, rule):
    """The force of one memory, as a Python number."""
    if rule == "difference" and kind != "many":
        return potential(kind, n, y + 1, N) - potential(kind, n, y - 1, N)
    if kind == "simplicial":  # weights 3 and, of order n - 2, 1: the factors of N are whole
        second = (n - 2) * math.factorial(n - 3) * symmetric(N - 1, y, n - 3) * N
        return 3 * n * math.factorial(n - 1) * symmetric(N - 1, y, n - 1) + second
    if kind == "exponential":  # of rate ln 2
        return 2 ** (y + N)
    if kind == "many":
        return math.factorial(n - 1) * symmetric(N - 1, y, n - 1)
    return potential(kind, n - 1, y, N)


def made(kind, n):
    return {
        "power": hx.Power,
        "rectified": hx.RectifiedPower,
        "many": hx.ManyBody,
        "simplicial": lambda n: hx.Simplicial({n: 3.0, n - 2: 1.0}),
        "exponential": lambda n: hx.Exponential(math.log(2.0)),
    }[kind](n)


@eqx.filter_jit
def stepped(network, states):
    return jax.vmap(lambda h: network.step(hx.SpinState(h)).spins)(states)


def whole_steps(xi, states, forces, update):
    """The next states in whole numbers; a tie keeps the spin."""
    new = states.copy()
    for t, h in enumerate(states):
        h = h.copy()
        for i in range(len(h)):
            y = xi @ h - xi[:, i] * h[i]
            u = sum(s * forces[k] for s, k in zip(xi[:, i].tolist(), y.tolist(), strict=True))
            new[t, i] = h[i] if u == 0 else (1 if u > 0 else -1)
            if update == "cyclic":
                h[i] = new[t, i]
    return new


def wrong_spins(kind, n, N, M, dtype, seed, *, trials=10, source=None, **options):
    """How many spins of a step differ from whole numbers, of how many."""
    rng = np.random.default_rng(seed)
    xi, states = rng.choice([-1, 1], (M, N)), rng.choice([-1, 1], (trials, N))
    if rng.random() < 0.5:  # near the memories, too
        states = np.where(rng.random((trials, N)) < 0.2, -1, 1) * xi[rng.integers(0, M, trials)]
    rule, update = options.get("rule", "leading"), options.get("update", "parallel")
    forces = {y: force(kind, n, y, N, rule) for y in range(N - 1, -N, -2)}
    with jax.enable_x64(dtype == "float64"):
        patterns = hx.Patterns(xi.astype(dtype), check_patterns=False)
        patterns = hx.patterns.pack(patterns) if source == "packed" else patterns
        network = hx.DenseMemory(patterns, made(kind, n), **options)
        found = np.asarray(stepped(network, jnp.asarray(states, dtype)))
    expected = whole_steps(xi, states, forces, update)
    return int((found != expected).sum()), expected.size


CASES = {
    "power": ("power", 30, 16, 5, {}),
    "rectified": ("rectified", 30, 16, 5, {}),
    "many-body": ("many", 18, 16, 5, {}),  # more neurons than there are: all fields are ties
    "many-body, 12": ("many", 12, 16, 5, {}),
    "many neurons": ("power", 12, 200, 3, {}),
    "difference": ("power", 24, 16, 5, {"rule": "difference"}),
    "in turn": ("power", 24, 16, 5, {"update": "cyclic"}),
    "packed": ("rectified", 24, 16, 5, {"source": "packed"}),
    "blocks": ("power", 20, 16, 40, {"block": 7}),
    "simplicial": ("simplicial", 16, 16, 5, {}),
    "exponential": ("exponential", 2, 16, 2, {}),
    "exponential, in turn": ("exponential", 2, 16, 2, {"update": "cyclic"}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(CASES))
def test_spins_are_those_of_whole_numbers(name, dtype):
    """Sums of forces of many digits cancel, and ties keep the spin: no spin may be another."""
    kind, n, N, M, options = CASES[name]
    runs = [wrong_spins(kind, n, N, M, dtype, seed, **options) for seed in range(4)]
    assert sum(wrong for wrong, _ in runs) == 0 and sum(many for _, many in runs) >= 640


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["power", "rectified", "many", "simplicial"])
def test_spins_of_all_orders_and_sizes(kind, dtype):
    """100,000 spins in all, of orders 2 to 40 and 4 to 64 neurons."""
    rng, wrong, many = np.random.default_rng(5), 0, 0
    while many < 13_000:
        N, M = int(rng.integers(4, 65)), int(rng.integers(1, 41))
        most = int(math.log(float(np.finfo(dtype).max)) / math.log(N))
        n = int(rng.integers(3 if kind == "simplicial" else 2, min(40, most) + 1))
        rule = "difference" if kind in ("power", "rectified") and rng.random() < 0.3 else "leading"
        update = "cyclic" if rng.random() < 0.2 else "parallel"
        given = (kind, n, N, M, dtype, int(rng.integers(2**31)))
        bad, some = wrong_spins(*given, trials=8, rule=rule, update=update)
        wrong, many = wrong + bad, many + some
    assert wrong == 0


def test_many_body_sums_of_few_signs_are_exact():
    """Beyond the number of signs nothing is left; below it the recursion would lose all digits."""
    with jax.enable_x64(False):
        for n, N in ((18, 16), (14, 16), (9, 12)):
            X = np.arange(-N, N + 1, 2)
            found = hx.ManyBody(n).potential(jnp.asarray(X, jnp.float32), N)
            expected = [float(potential("many", n, int(x), N)) for x in X]
            assert_close(found, np.float32(expected), 0.0, "rounded once")


def test_ordinary_fields_of_few_neurons_are_exact_to_rounding():
    """Real weights of the memories, or graded neurons: against fractions."""
    rng = np.random.default_rng(0)
    xi, h = rng.choice([-1, 1], (5, 16)), rng.choice([-1, 1], 16)
    graded = rng.integers(-8, 9, 16) / 8
    stimulus = rng.integers(-8, 9, 16) / 8
    for state, drive, options in (
        (h, stimulus, {}),
        (graded, None, {"activation": hx.Tanh()}),
    ):
        network = hx.DenseMemory(hx.Patterns(xi), hx.Power(30), **options)
        given = None if drive is None else jnp.asarray(drive)
        u = network.field(hx.SpinState(jnp.asarray(state, float)), given)
        F = [Fraction(x) for x in state.tolist()]
        for i in range(16):
            total = Fraction(0)
            for row in xi.tolist():
                y = sum(a * b for a, b in zip(row, F, strict=True)) - row[i] * F[i]
                s = 1
                if drive is not None:
                    s = sum(a * Fraction(b) for a, b in zip(row, drive.tolist(), strict=True)) / 16
                total += row[i] * s * y**29
            expected = float(total / 16**29)
            assert abs(float(u[i]) - expected) <= 1e-12 * abs(expected) + 1e-300


# Derivatives


P, N, RATE = 5, 9, 0.7
FELT = {
    "power": (hx.Power(4), {}),
    "rectified": (hx.RectifiedPower(4), {}),
    "difference": (hx.Power(4), {"rule": "difference"}),
    "graded": (hx.Power(4), {"activation": hx.Tanh(2.0)}),
    "exponential": (hx.Exponential(RATE), {}),
    "kept": (hx.Power(4), {"keep_diagonal": True}),
    "exponential kept": (hx.Exponential(RATE), {"keep_diagonal": True}),
}


def written_out(name, xi, h, stimulus):
    """The fields as they are defined, for entries that need not be signs."""
    X = xi @ h
    y = np.broadcast_to(X[:, None], xi.shape) if "kept" in name else X[:, None] - xi * h
    scale = N**3
    if "exponential" in name:
        f, scale = np.exp(RATE * (y - ("kept" not in name))), np.exp(RATE * X).sum()
    elif name == "rectified":
        f = np.maximum(y, 0) ** 3
    elif name == "difference":
        f, scale = (y + 1) ** 4 - (y - 1) ** 4, 8 * N**3
    else:
        f = y**3
    weight = 1 if stimulus is None else (xi @ stimulus)[:, None] / N
    return (xi * f * weight).sum(0) / scale


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("name", list(FELT))
def test_derivatives_of_fields(name, driven):
    """In memories and states, against differences of the sum as it is written: xi^2 = 1 at signs
    alone, so it must not be differentiated. Differences of step 1e-6 are good to 1e-8."""
    rng = np.random.default_rng(3)
    xi, h = rng.choice([-1.0, 1.0], (P, N)), rng.choice([-1.0, 1.0], N)
    xi[:2] = h  # two memories share the largest overlap
    xi[0, 0], xi[1, 1] = -h[0], -h[1]
    h = rng.uniform(-1, 1, N) if name == "graded" else h
    stimulus = jnp.asarray(rng.normal(size=N)) if driven else None
    weights, moves = rng.normal(size=N), (rng.normal(size=(P, N)), rng.normal(size=N))
    interaction, options = FELT[name]

    def loss(xi, h):
        patterns = hx.Patterns(xi, binary=True, check_patterns=False)
        network = hx.DenseMemory(patterns, interaction, block=3, **options)
        return weights @ network.field(hx.SpinState(h), stimulus)

    def along(z, w):
        state = written_out(name, xi + z * moves[0], h + w * moves[1], stimulus)
        return weights @ state

    e = 1e-6
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(xi), jnp.asarray(h))
    for k, expected in enumerate(
        ((along(e, 0) - along(-e, 0)) / 2 / e, (along(0, e) - along(0, -e)) / 2 / e)
    ):
        found = (gradient[k] * moves[k]).sum()
        assert_close(found, expected, 1e-7 * (1 + abs(expected)), "differences")


def test_derivatives_of_steep_exponentials_are_finite():
    """Blocks of 4 of 10 memories: rows of the last one were in the one before."""
    patterns = hx.patterns.random(jr.key(0), 10, 100)
    state = hx.SpinState(patterns.corrupt(jr.key(1), 3, 20))

    def felt(rate):
        return hx.DenseMemory(patterns, hx.Exponential(rate), block=4).field(state)

    value, slope = jax.jvp(felt, (jnp.asarray(50.0),), (jnp.asarray(1.0),))
    up, down = felt(50.001), felt(49.999)
    assert np.isfinite(value).all()
    assert_close(slope, (up - down) / 0.002, 1e-6 * np.abs(slope).max() + 1e-9, "differences")


def test_second_derivatives_of_fields():
    rng = np.random.default_rng(4)
    xi, h = rng.choice([-1.0, 1.0], (P, N)), rng.choice([-1.0, 1.0], N)
    move, weights = jnp.asarray(rng.normal(size=(P, N))), rng.normal(size=N)

    def loss(z):
        return weights @ written_out("power", xi + z * np.asarray(move), h, None)

    def field(xi):
        patterns = hx.Patterns(xi, binary=True, check_patterns=False)
        return weights @ hx.DenseMemory(patterns, hx.Power(4)).field(hx.SpinState(jnp.asarray(h)))

    twice = jax.jvp(lambda x: jax.jvp(field, (x,), (move,))[1], (jnp.asarray(xi),), (move,))[1]
    expected = (loss(1e-4) - 2 * loss(0.0) + loss(-1e-4)) / 1e-8
    assert_close(twice, expected, 1e-6 * abs(expected), "differences of step 1e-4")


def test_energies_of_packed_memories_have_the_derivatives_of_stored_ones():
    """Counted bits have none of their own; they would be zero."""
    rng = np.random.default_rng(5)
    xi, h = rng.choice([-1.0, 1.0], (P, N)), rng.choice([-1.0, 1.0], N)
    stored = hx.Patterns(xi, check_patterns=False)
    for patterns in (stored, hx.patterns.pack(stored)):
        network = hx.DenseMemory(patterns, hx.Power(4), block=2)
        slope = jax.grad(lambda h, n=network: n.energy(hx.SpinState(h)))(jnp.asarray(h))
        assert_close(slope, -4 * (xi @ h) ** 3 @ xi, 1e-12 * 1e4, "whole numbers")
        m = jax.jacrev(lambda h, n=network: n.overlaps(hx.SpinState(h)))(jnp.asarray(h))
        assert_close(m, xi / N, 1e-15, "whole numbers over N")


XI = hx.patterns.random(jr.key(0), 4, 12).xi


def _grown(scale):
    return hx.Patterns(scale * XI, binary=True, check_patterns=False)


REFUSED = {
    "temperature": lambda x: (
        hx.DenseMemory(_grown(1.0), hx.Power(3), beta=x)
        .step(hx.SpinState(XI[0]), key=jr.key(0))
        .spins.sum()
    ),
    "memories": lambda x: hx.iterate(
        hx.DenseMemory(_grown(x), hx.Power(3)), hx.SpinState(XI[0]), 2
    ).overlaps[-1, 0],
    "rate, in turn": lambda x: (
        hx.DenseMemory(_grown(1.0), hx.Exponential(x), update="cyclic")
        .step(hx.SpinState(XI[0]))
        .spins.sum()
    ),
    "sets of neurons": lambda x: hx.DenseMemory(_grown(x), hx.ManyBody(3)).energy(
        hx.SpinState(XI[0])
    ),
}


@pytest.mark.parametrize("transform", [jax.grad, jax.jacfwd])
@pytest.mark.parametrize("name", list(REFUSED))
def test_derivatives_that_would_be_zero_or_wrong_are_refused(name, transform):
    with pytest.raises(TypeError, match="no derivative"):
        transform(REFUSED[name])(1.0)


def test_weights_of_simplices_are_differentiable():
    """Fields are linear in them."""
    patterns = _grown(1.0)

    def felt(b):
        memory = hx.DenseMemory(patterns, hx.Simplicial({2: b, 3: 1.0}))
        return memory.field(hx.SpinState(-XI[1]))

    slope = jax.jacfwd(felt)(0.5)
    assert_close(slope, felt(1.5) - felt(0.5), 1e-13, "rounding")


# States and memories that are not what they are said to be


def test_states_that_are_not_signs():
    """Known: an error that names them; under a trace NaN, and a run has a status."""
    stored = hx.patterns.random(jr.key(0), 4, 12)
    bad = jnp.full(12, 0.5)
    for patterns in (stored, hx.patterns.pack(stored)):
        memory = hx.DenseMemory(patterns, hx.Power(3))
        for use in (memory.energy, memory.field, memory.overlaps, memory.step):
            with pytest.raises(ValueError, match=r"`state.spins` must be \+-1"):
                use(hx.SpinState(bad))
            with pytest.raises(ValueError, match=r"`state.spins` must have shape"):
                use(hx.SpinState(jnp.ones(3)))
        traced = _all_of(memory, jnp.stack([bad, stored.xi[0]]))
        for leaf in jax.tree.leaves(traced):
            assert np.isnan(leaf[0]).all() and np.isfinite(leaf[1]).all()


@eqx.filter_jit
def _all_of(memory, states):
    def one(h):
        state = hx.SpinState(h)
        return (
            memory.energy(state),
            memory.field(state),
            memory.overlaps(state),
            memory.step(state).spins,
        )

    return jax.vmap(one)(states)


def test_declared_signs_that_are_none():
    """Rows become NaN under a trace, and runs say so; known ones raise."""

    @jax.jit
    def run(scale):
        memory = hx.DenseMemory(_grown(scale), hx.Power(3))
        found = hx.iterate(memory, hx.SpinState(XI[0]), 2)
        return found.status, memory.field(hx.SpinState(XI[0]))

    status, felt = run(jnp.asarray(1.01))
    assert hx.STATUS[int(status)][0] == "invalid_parameter" and np.isnan(felt).all()
    status, felt = run(jnp.asarray(1.0))
    assert int(status) == 0 and np.isfinite(felt).all()
    moved = eqx.tree_at(
        lambda m: m.patterns.xi, hx.DenseMemory(_grown(1.0), hx.Power(3)), 1.01 * XI
    )
    with pytest.raises(ValueError, match=r"entries \+-1"):
        hx.iterate(moved, hx.SpinState(XI[0]), 2)
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda x: hx.patterns.pack(hx.Patterns(x, binary=True)).bits)(XI)


def test_real_patterns_without_the_diagonal_get_advice_that_works():
    real = hx.Patterns(0.5 * XI)
    for options in ({}, {"activation": hx.Tanh()}):
        with pytest.raises(ValueError, match="use keep_diagonal=True"):
            hx.DenseMemory(real, hx.Power(3), **options)
        hx.DenseMemory(real, hx.Power(3), keep_diagonal=True, **options)
    with pytest.raises(ValueError, match=r"say Patterns\(xi, binary=True\)"):
        jax.jit(lambda xi: hx.DenseMemory(hx.Patterns(xi), hx.Power(3)).field(XI[0]))(XI)


def test_the_logarithm_of_an_energy_that_overflows():
    patterns = hx.patterns.random(jr.key(0), 5, 784)
    memory = hx.DenseMemory(patterns, hx.Exponential(1.5), block=2)
    state = memory.init(patterns.pattern(1))
    X = np.asarray(patterns.xi @ state.spins)
    expected = 1.5 * X.max() + math.log(np.exp(1.5 * (X - X.max())).sum())
    assert_close(memory.log_energy(state), expected, 1e-12 * expected, "rounding")
    with pytest.raises(ValueError, match="log_energy"):
        memory.energy(state)
    assert np.isnan(jax.jit(lambda h: memory.energy(hx.SpinState(h)))(state.spins))
    small = hx.DenseMemory(patterns, hx.Exponential(0.01))
    assert_close(jnp.exp(small.log_energy(state)), -small.energy(state), 1e-9, "rounding")
    with pytest.raises(ValueError, match="`log_energy` is for Exponential"):
        hx.DenseMemory(patterns, hx.Power(3)).log_energy(state)
    with jax.enable_x64(False):
        twins = hx.Patterns(jnp.ones((5, 10)), check_patterns=False)
        large = hx.DenseMemory(twins, hx.Power(38))  # 10^38 each, 3.4e38 at most
        with pytest.raises(ValueError, match="double precision"):
            large.energy(large.init(jnp.ones(10)))
