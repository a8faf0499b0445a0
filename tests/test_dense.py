"""Dense memories against sums written out, one neuron at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings, strategies as st
from test_interactions import potential

import hopfax as hx

#: Eight neurons, five patterns: integer fields and three steps, calculated by hand and apart.
XI = ("++++++++", "+-+-++--", "++--+--+", "-++--+-+", "+--++++-")
START = "--+-+++-"
ROWS = {
    "power 2": ([7, -5, 1, 7, -3, 5, -3, -5], "+-++-+--", "--+-+++-", "+-++-+--"),
    "power 3": ([43, 1, -7, -25, 35, 3, -33, 1], "++--++-+", "+++-+--+", "++--++-+"),
    "power 4": ([127, -53, 25, 127, -99, 53, -99, -53], "+-++-+--", "--+-+++-", "+-++-+--"),
    "power 5": ([787, 1, -79, -625, 707, 3, -705, 1], "++--++-+", "++--+--+", "++--+--+"),
    "3-body": ([22, -6, -14, -18, 14, -18, -26, -6], "+---+---", "+++-++-+", "---+--+-"),
    "4-body": ([-6, 42, 6, -6, -42, -42, -42, 42], "-++----+", "-++--+-+", "-++--+-+"),
    "difference 3": ([264, 8, -40, -152, 216, 24, -200, 8], "++--++-+", "+++-+--+", "++--++-+"),
    "kept 3": ([36, -4, -4, -28, 36, 4, -28, -4], "+---++--", "+-+-++--", "+-+-++--"),
    "kept 4": ([8, -136, 120, 8, 8, 136, 8, -136], "+-+++++-", "+--++++-", "+--++++-"),
    "rectified 3": ([35, -8, 0, 1, 9, 10, -25, -8], "+-++++--", "+-+-+++-", "+-++++--"),
    "exponential": (
        [170.898885, -17.317468, 0.685972, 2.343664, 20.460154, 23.489791, -148.095067, -17.317468],
        "+-++++--",
        "+-+-+++-",
        "+-++++--",
    ),
}
LAWS = {
    "power 2": (hx.Power(2), {}),
    "power 3": (hx.Power(3), {}),
    "power 4": (hx.Power(4), {}),
    "power 5": (hx.Power(5), {}),
    "3-body": (hx.ManyBody(3), {}),
    "4-body": (hx.ManyBody(4), {}),
    "difference 3": (hx.Power(3), {"rule": "difference"}),
    "kept 3": (hx.Power(3), {"keep_diagonal": True}),
    "kept 4": (hx.Power(4), {"keep_diagonal": True}),
    "rectified 3": (hx.RectifiedPower(3), {}),
    "exponential": (hx.Exponential(1.0), {}),
}


def signs(text):
    return np.array([1.0 if c == "+" else -1.0 for c in text])


def text(spins):
    return "".join("+" if s > 0 else "-" for s in np.asarray(spins))


#: Energies of the start, calculated by hand.
ENERGIES = {"power 2": -36.0, "power 3": -8.0, "power 4": -528.0}


@eqx.filter_jit
def field(network, h, stimulus=None):
    return network.field(hx.SpinState(jnp.asarray(h)), stimulus)


@eqx.filter_jit
def step(network, h, stimulus=None, key=None):
    return network.step(hx.SpinState(jnp.asarray(h)), stimulus, key).spins


def raw(network, u, X):
    """The sum of forces whose scaled form is `u`."""
    if network.interaction.exponential:
        return u * np.exp(float(network.interaction.reduction()) * (X + 1)).sum()
    scale = network.interaction.scale(network.patterns.N)
    return u * scale * (2 * network.interaction.reduction() if network.rule != "leading" else 1)


@pytest.mark.parametrize(
    ("name", "packed"),
    [*((name, False) for name in ROWS), ("power 3", True), ("exponential", True)],
)
def test_the_network_of_eight_neurons(name, packed):
    xi, start = np.stack([signs(row) for row in XI]), signs(START)
    interaction, options = LAWS[name]
    patterns = hx.Patterns(xi)
    patterns = hx.patterns.pack(patterns) if packed else patterns
    network = hx.DenseMemory(patterns, interaction, block=2, **options)
    run = hx.iterate(network, network.init(start), 3, observe=_everything)
    felt, energies, spins = run.observed
    fields, *later = ROWS[name]
    found = raw(network, np.asarray(felt[0]), xi @ start)
    if name == "exponential":
        assert_close(found, fields, 1e-6, "six decimals are given")
    else:
        assert (np.abs(found - fields) < 1e-9).all()  # integers
    assert [text(row) for row in spins[1:]] == later
    assert name not in ENERGIES or energies[0] == ENERGIES[name]


def _everything(t, state, network):
    return network.field(state), network.energy(state), state.spins


def random_case(seed, N=7, M=6):
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], (M, N)), rng.choice([-1.0, 1.0], N), rng


INTERACTIONS = {
    "quadratic": hx.Quadratic(),
    "power 3": hx.Power(3),
    "power 4": hx.Power(4),
    "rectified 3": hx.RectifiedPower(3),
    "rectified 4": hx.RectifiedPower(4),
    "3-body": hx.ManyBody(3),
    "4-body": hx.ManyBody(4),
    "simplicial": hx.Simplicial({1: 0.4, 2: -0.5, 3: 1.0}),
    "polynomial": hx.Polynomial({1: 0.4, 2: -0.5, 3: 1.0}),
    "exponential": hx.Exponential(0.7),
}


def differences(interaction, xi, h):
    """sum_mu of F with neuron i up minus F with it down, each from the definition of F."""
    out = np.zeros(len(h))
    for i in range(len(h)):
        for row in xi:
            ends = [
                potential(interaction, np.where(np.arange(len(h)) == i, s, h) * row)
                for s in (1, -1)
            ]
            out[i] += float(ends[0]) - float(ends[1])
    return out


@pytest.mark.parametrize("name", list(INTERACTIONS))
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_difference_rule_is_the_gain_of_turning_one_neuron(name, seed):
    xi, h, _ = random_case(seed)
    interaction = INTERACTIONS[name]
    network = hx.DenseMemory(hx.Patterns(xi, check_patterns=False), interaction, rule="difference")
    u = np.asarray(field(network, h))
    found, expected = raw(network, u, xi @ h), differences(interaction, xi, h)
    if interaction.exponential:
        found = found * 2 * np.sinh(0.7)
    assert_close(found, expected, 1e-9 * (1 + np.abs(expected).max()), "rounding")


@pytest.mark.parametrize("name", list(INTERACTIONS))
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_forces_without_the_neuron_itself(name, seed):
    """The even and odd parts against a sum over the other neurons, for every interaction."""
    xi, h, rng = random_case(seed)
    N, interaction = len(h), INTERACTIONS[name]
    stimulus = rng.normal(size=N)
    patterns = hx.Patterns(xi, check_patterns=False)
    y = (xi @ h)[:, None] - xi * h
    f = np.asarray(interaction.force(jnp.asarray(y), N))
    X = xi @ h
    if interaction.exponential:
        f, scale = np.exp(f), np.exp(0.7 * (X + 1)).sum()
    else:
        scale = interaction.scale(N)
    expected = (xi * f).sum(0) / scale
    small = 1e-11 * (1 + np.abs(f).max())
    found = field(hx.DenseMemory(patterns, interaction, block=4), h)
    assert_close(found, expected, small, "rounding")
    driven = (xi * f * (xi @ stimulus)[:, None]).sum(0) / scale / N
    packed = hx.DenseMemory(hx.patterns.pack(patterns), interaction)
    assert_close(field(packed, h, jnp.asarray(stimulus)), driven, small, "rounding")


@pytest.mark.parametrize("update", ["parallel", "cyclic"])
def test_a_tie_keeps_the_neuron(update):
    """Two neurons, two orthogonal patterns: every field is zero."""
    patterns = hx.Patterns([[1.0, 1.0], [1.0, -1.0]])
    network = hx.DenseMemory(patterns, hx.Quadratic(), update=update)
    for h in ([-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]):
        assert (field(network, h) == 0).all() and step(network, h).tolist() == h


@pytest.mark.parametrize("order", [2, 3, 5])  # powers 1, 2 and 4 of the overlap
def test_graded_neurons_without_themselves(order):
    xi, _, rng = random_case(order)
    h = rng.uniform(-1, 1, xi.shape[1])
    network = hx.DenseMemory(
        hx.Patterns(xi, check_patterns=False), hx.Power(order), activation=hx.Tanh(3.0)
    )
    y = (xi @ h)[:, None] - xi * h
    expected = (xi * y ** (order - 1)).sum(0) / len(h) ** (order - 1)
    assert_close(step(network, h), np.tanh(3 * expected), 1e-12, "rounding")


@pytest.mark.parametrize("interaction", [hx.RectifiedPower(3), hx.Exponential(0.3)])
def test_other_graded_neurons_without_themselves(interaction):
    """Term by term, in several blocks, and their derivatives by the states of others."""
    xi, _, rng = random_case(4)
    h = rng.uniform(-1, 1, xi.shape[1])
    network = hx.DenseMemory(
        hx.Patterns(xi, check_patterns=False), interaction, activation=hx.Tanh(3.0), block=3
    )

    def expected(h):
        y = (xi @ h)[:, None] - xi * h
        if isinstance(interaction, hx.RectifiedPower):
            return (xi * np.maximum(y, 0) ** 2).sum(0) / len(h) ** 2
        return (xi * np.exp(0.3 * y)).sum(0) / np.exp(0.3 * (xi @ h + 1)).sum()

    assert_close(step(network, h), np.tanh(3 * expected(h)), 1e-12, "rounding")
    by_all = jax.jacobian(lambda h: network.field(hx.SpinState(h)))(jnp.asarray(h))
    move = 1e-6 * rng.normal(size=h.size)
    change = (expected(h + move) - expected(h - move)) / 2
    assert_close(by_all @ move, change, 1e-12, "differences")


# Energy


@pytest.mark.parametrize(
    ("name", "packed"),
    [*((name, False) for name in INTERACTIONS), ("power 3", True), ("exponential", True)],
)
def test_energies_are_sums_over_all_blocks(name, packed):
    """Blocks of 4 of 10 patterns: the last one overlaps the one before."""
    xi, h, _ = random_case(1, M=10)
    patterns = hx.Patterns(xi, check_patterns=False)
    patterns = hx.patterns.pack(patterns) if packed else patterns
    network = hx.DenseMemory(patterns, INTERACTIONS[name], block=4)
    expected = -sum(float(potential(INTERACTIONS[name], row * h)) for row in xi)
    energy, overlaps = _energy_and_overlaps(network, jnp.asarray(h))
    assert_close(energy, expected, 1e-11 * (1 + abs(expected)), "rounding")
    assert_close(overlaps, xi @ h / len(h), 1e-15, "integers over N")


@eqx.filter_jit
def _energy_and_overlaps(network, h):
    return network.energy(hx.SpinState(h)), network.overlaps(hx.SpinState(h))


def _energy(t, state, network):
    return network.energy(state)


def many(network, seed, runs=60, steps=4):
    """Rises of the energy in random starts: all changes, in units of its size."""
    N = network.patterns.N
    starts = jnp.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], (runs, N)))
    keys = jr.split(jr.key(seed), runs)

    def one(h, key):
        key = key if network.random else None
        state = hx.SpinState(h)
        return hx.iterate(network, state, steps, key=key, observe=_energy, throw=False).observed

    found = np.asarray(jax.vmap(one)(starts, keys))
    return np.diff(found, axis=1) / np.abs(found).max()


EXACT = 1e-12  # rounding of energies, in units of the largest


@pytest.mark.parametrize(
    ("name", "update"), [*((name, "cyclic") for name in INTERACTIONS), ("power 3", "random")]
)
def test_one_by_one_with_the_difference_rule_never_raises_the_energy(name, update):
    patterns = hx.patterns.random(jr.key(1), 60, 17)
    network = hx.DenseMemory(patterns, INTERACTIONS[name], rule="difference", update=update)
    changes = many(network, 2)
    assert changes.max() <= EXACT and changes.min() < -1e-3


def test_one_by_one_with_the_leading_rule_is_exact_only_for_some():
    patterns = hx.patterns.random(jr.key(1), 60, 17)
    for interaction in (hx.Quadratic(), hx.Exponential(0.7), hx.ManyBody(3)):
        assert many(hx.DenseMemory(patterns, interaction, update="cyclic"), 3).max() <= EXACT
    xi = np.random.default_rng(3).choice([-1.0, 1.0], (35, 12))
    crowded = hx.Patterns(xi, check_patterns=False)
    rises = many(hx.DenseMemory(crowded, hx.Power(3), update="cyclic"), 4, runs=400)
    assert 0 < (rises > EXACT).mean() < 0.02  # rarely, and only in overloaded networks


def test_parallel_updates():
    patterns = hx.patterns.random(jr.key(1), 60, 17)
    convex = (hx.Quadratic(), hx.Power(4), hx.RectifiedPower(3), hx.Exponential(0.7))
    for interaction in convex:
        assert many(hx.DenseMemory(patterns, interaction, keep_diagonal=True), 5).max() <= EXACT
    # Without the diagonal, or where F is not convex, it can rise.
    assert many(hx.DenseMemory(patterns, hx.Power(4)), 5).max() > 1e-6
    assert many(hx.DenseMemory(patterns, hx.Power(3), keep_diagonal=True), 5).max() > 1e-6


def test_parallel_quadratic_updates_descend_another_function():
    """L = -sum_i |sum_j J_ij h_j(t)| never rises, so the end is a fixed point or a 2-cycle."""
    patterns = hx.patterns.random(jr.key(1), 30, 17)
    network = hx.DenseMemory(patterns, hx.Quadratic())
    for seed in range(10):
        start = np.random.default_rng(seed).choice([-1.0, 1.0], 17)
        run = hx.iterate(network, network.init(start), 30, observe=_size_and_spins)
        size, spins = run.observed
        assert np.diff(-np.asarray(size)).max() <= 1e-12
        assert (spins[-1] == spins[-3]).all()


def _size_and_spins(t, state, network):
    return jnp.abs(network.field(state)).sum(), state.spins


# One by one


ONE_BY_ONE = {
    "power": (hx.Power(3), {}),
    "exponential": (hx.Exponential(0.3), {}),
    "difference": (hx.Power(4), {"rule": "difference"}),
    "kept": (hx.Power(3), {"keep_diagonal": True}),
    "exponential kept": (hx.Exponential(0.3), {"keep_diagonal": True}),
}


@pytest.mark.parametrize(
    ("name", "driven"), [*((name, True) for name in ONE_BY_ONE), ("power", False)]
)
def test_one_by_one_is_a_loop_over_neurons(name, driven):
    """Against parallel fields; for "power" also of patterns from other sources."""
    made = hx.GeneratedPatterns(jr.key(4), 50, 37)
    stored = hx.Patterns(made.rows(0, 50))
    sources = {"stored": stored}
    if name == "power" and not driven:
        sources |= {"packed": hx.patterns.pack(made), "generated": made}
    interaction, options = ONE_BY_ONE[name]
    stimulus = jr.normal(jr.key(9), (37,)) if driven else None
    parallel = hx.DenseMemory(stored, interaction, **options)
    h = made.corrupt(jr.key(0), 0, 10)
    expected = np.array(h)
    for i in range(37):
        u = float(field(parallel, expected, stimulus)[i])
        expected[i] = expected[i] if u == 0 else np.sign(u)
    for source, patterns in sources.items():
        network = hx.DenseMemory(patterns, interaction, update="cyclic", block=16, **options)
        assert (step(network, h, stimulus) == expected).all(), source


def test_one_by_one_at_a_temperature_feels_the_same_fields():
    """The first neuron of a step: P(up) = (1 + tanh(beta u)) / 2 within 4 errors of 3000 draws."""
    patterns = hx.patterns.random(jr.key(1), 30, 15)
    state = hx.SpinState(patterns.pattern(0))
    for interaction in (hx.Exponential(1.0), hx.Power(3)):
        network = hx.DenseMemory(patterns, interaction, update="cyclic", beta=2.0)
        draws = jax.vmap(lambda key, n=network: n.step(state, key=key).spins[0])(
            jr.split(jr.key(2), 3000)
        )
        cold = hx.DenseMemory(patterns, interaction)
        expected = np.tanh(2.0 * float(field(cold, state.spins)[0]))
        assert abs(float(draws.mean()) - expected) < 4 * np.sqrt((1 - expected**2) / 3000)


def test_random_order_visits_every_neuron_once():
    """With a memory strong enough to flip every neuron that is wrong, one step is enough."""
    patterns = hx.patterns.random(jr.key(0), 1, 200)
    network = hx.DenseMemory(patterns, hx.Power(3), update="random")
    start = patterns.corrupt(jr.key(1), 0, 60)
    one, two = (step(network, start, key=jr.key(k)) for k in (1, 2))
    assert (one == patterns.xi[0]).all() and (two == one).all()
    busy = hx.DenseMemory(hx.patterns.random(jr.key(0), 900, 60), hx.Power(3), update="random")
    start = busy.patterns.pattern(0)
    ends = {text(step(busy, start, key=jr.key(k))) for k in range(5)}
    assert len(ends) > 1  # the order matters there


# Temperature


def test_glauber_probabilities():
    """P(up) = (1 + tanh(beta u)) / 2, within 4 standard errors of 4000 draws."""
    xi, h, _ = random_case(3)
    network = hx.DenseMemory(hx.Patterns(xi, check_patterns=False), hx.Power(3), beta=0.8)
    state = network.init(h)
    draws = jax.vmap(lambda key: network.step(state, key=key).spins)(jr.split(jr.key(0), 4000))
    expected = np.tanh(0.8 * np.asarray(field(network, h)))
    error = 4 * np.sqrt((1 - expected**2) / 4000) + 1e-12
    assert (np.abs(np.asarray(draws).mean(0) - expected) < error).all()
    cold = hx.DenseMemory(network.patterns, hx.Power(3), beta=1e9)
    frozen = hx.DenseMemory(network.patterns, hx.Power(3))
    assert (step(cold, h, key=jr.key(0)) == step(frozen, h)).all()


# Softmax and exponential


def test_softmax_is_attention():
    rng = np.random.default_rng(0)
    xi, x = rng.normal(size=(11, 6)), rng.normal(size=6)
    network = hx.DenseMemory(hx.Patterns(xi), hx.Softmax(1.3), block=4)
    weights = np.exp(1.3 * xi @ x)
    expected = weights @ xi / weights.sum()
    run = hx.iterate(network, network.init(x), 40, observe=_energy)
    assert_close(step(network, x), expected, 1e-12, "rounding")
    lse = np.log(weights.sum()) / 1.3
    assert_close(run.observed[0], -lse + x @ x / 2, 1e-12, "rounding")
    assert np.diff(run.observed).max() <= 1e-12  # never raised
    grad = jax.grad(lambda x: step(network, x)[0])(jnp.asarray(x))
    h = 1e-6
    shifted = [step(network, x + s * h * np.eye(6)[2])[0] for s in (1, -1)]
    assert_close(grad[2], (shifted[0] - shifted[1]) / (2 * h), 1e-8, "h^2")


def test_softmax_retrieves_one_of_many():
    patterns = hx.patterns.random(jr.key(0), 2000, 64)
    network = hx.DenseMemory(hx.patterns.pack(patterns), hx.Softmax(1.0))
    run = hx.iterate(network, network.init(patterns.corrupt(jr.key(1), 5, 8)), 2, track=[5, 6])
    assert run.overlaps[-1, 0] > 1 - 1e-6 and abs(run.overlaps[-1, 1]) < 0.5


@pytest.mark.parametrize("rate", [1.0, 8.0, 30.0, 100.0])
def test_rare_disagreement_is_not_lost_among_agreement(rate):
    """In float32, two of three memories disagree with neuron 0, at e^(-2 rate) of the sum."""
    xi = np.ones((3, 32), np.float32)
    xi[1:, 0] = -1
    patterns = hx.Patterns(xi, check_patterns=False)
    network = hx.DenseMemory(patterns, hx.Exponential(rate))
    found = float(field(network, np.ones(32, np.float32))[0])
    # all three have the same overlap with the other neurons: one for, two against
    expected = -np.exp(-2 * rate) / (1 + 2 * np.exp(-2 * rate))
    assert abs(found - expected) < 1e-5 * abs(expected) + 1e-44  # rounding, underflow


@pytest.mark.parametrize(
    "interaction",
    [hx.Exponential(3.0), hx.Exponential(100.0), hx.Softmax(3.0)],
    ids=["exp", "steep", "lse"],
)
def test_large_exponents_overflow_nowhere(interaction):
    """Exponents up to 1e5, far beyond what even float64 can hold."""
    xi = np.asarray(hx.patterns.random(jr.key(0), 30, 1000).xi, np.float32)
    patterns = hx.Patterns(xi)
    network = hx.DenseMemory(patterns, interaction, block=8)
    run = hx.iterate(network, network.init(patterns.corrupt(jr.key(0), 3, 300)), 2)
    assert run.overlaps.dtype == jnp.float32
    assert np.isfinite(run.overlaps).all() and run.overlaps[-1, 3] > 0.999


# What was measured elsewhere


def test_the_diagonal_freezes_even_orders():
    """Kept, it adds (n-1) (n-3)!! alpha N^((n-2)/2) h: 1.92 for n = 4, N = 64, alpha = 0.01."""
    N, alpha = 64, 0.01
    found = []
    for seed in range(12):
        patterns = hx.patterns.random(jr.key(seed), round(alpha * N**3), N)
        h = patterns.corrupt(jr.key(seed), 0, N // 2)
        kept = field(hx.DenseMemory(patterns, hx.Power(4), keep_diagonal=True), h)
        without = field(hx.DenseMemory(patterns, hx.Power(4)), h)
        found.append(float(((kept - without) * h).mean()))
    # Known exactly: sum over mu of 3 X^2 + 1 for X of N - 1 others, plus terms of zero mean.
    predicted = 3 * alpha * N
    assert abs(np.mean(found) - predicted) < 4 * np.std(found) / np.sqrt(12) + 3 * alpha


def test_input_driven_saliency_is_a_weight_of_every_memory():
    """With the stored pattern itself as stimulus it alone has saliency 1, and is retrieved."""
    N = 120
    patterns = hx.GeneratedPatterns(jr.key(0), round(0.05 * N**2), N)
    network = hx.DenseMemory(patterns, hx.Quadratic())
    start = network.init(patterns.corrupt(jr.key(1), 0, 30))
    driven = hx.iterate(network, start, 6, track=[0], stimulus=patterns.pattern(0))
    alone = hx.iterate(network, start, 6, track=[0])  # six memories a neuron: far too many
    assert driven.overlaps[-1, 0] > 0.95 and alone.overlaps[-1, 0] < 0.8


# Arguments


@pytest.fixture
def memories():
    return hx.patterns.random(jr.key(0), 4, 12)


CASES = [
    (dict(interaction="power"), "`interaction` must be one such as Power"),
    (dict(rule="exact"), "`rule` must be one of"),
    (dict(update="serial"), "`update` must be one of"),
    (dict(beta=0.0), "`beta` must be > 0"),
    (dict(beta=[1.0, 2.0]), "`beta` must have shape"),
    (dict(interaction=hx.ManyBody(3), learning="pseudo_inverse"), "is not for ManyBody"),
    (dict(block=0), "`block` must be a whole number >= 1, got 0"),
    (dict(block=True), "`block` must be a whole number >= 1 .*, got True"),
    (dict(activation=np.tanh), "`activation` must be a hopfax activation"),
    (dict(keep_diagonal="no"), "`keep_diagonal` must be True or False"),
    (dict(interaction=hx.Power(400)), "`interaction` of order 400 at N = 12"),
    (dict(beta=1.0, activation=hx.Tanh()), "temperature of signs"),
    (dict(update="cyclic", activation=hx.Tanh()), "graded neurons move in parallel"),
    (dict(interaction=hx.Softmax(), keep_diagonal=False), "no self-coupling to leave out"),
    (dict(interaction=hx.ManyBody(3), keep_diagonal=True), "different neurons"),
    (dict(rule="difference", keep_diagonal=True), "compares the two signs"),
]


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(("options", "words"), CASES, ids=[words for _, words in CASES])
def test_options_that_contradict_each_other(memories, options, words):
    interaction = (
        options.pop("interaction", hx.Power(3)) if "interaction" in options else hx.Power(3)
    )
    with pytest.raises((ValueError, TypeError), match=words):
        hx.DenseMemory(memories, interaction, **options)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_patterns_and_states(memories):
    with pytest.raises(TypeError, match="wrap the array"):
        hx.DenseMemory(np.ones((2, 3)), hx.Power(3))
    with pytest.raises(ValueError, match="needs patterns of \\+-1"):
        hx.DenseMemory(hx.Patterns([[0.5, 1.0]]), hx.Power(3))
    network = hx.DenseMemory(memories, hx.Power(3))
    with pytest.raises(ValueError, match="`spins` must have shape \\(N,\\) = \\(12,\\)"):
        network.init(np.ones(3))
    with pytest.raises(ValueError, match="`spins` must be \\+-1"):
        network.init(np.full(12, 0.5))
    with pytest.raises(ValueError, match="column for every neuron"):
        hx.DenseMemory(memories.site_classes().patterns, hx.Power(3))
    with pytest.raises(ValueError, match="`stimulus` must have shape"):
        network.field(network.init(np.ones(12)), [1.0, 2.0])
    with pytest.raises(ValueError, match="needs a `key`"):
        hx.DenseMemory(memories, hx.Power(3), beta=1.0).step(network.init(np.ones(12)))


# The flow


def flow(interaction, **options):
    patterns = hx.patterns.random(jr.key(0), 3, 40)
    network = hx.DenseFlow(patterns, interaction, activation=hx.Tanh(3.0), **options)
    return network, network.init(weights=[0.9, 0.2, -0.1])


def test_quadratic_flow_is_the_hopfield_network():
    network, state = flow(hx.Quadratic())
    classic = hx.Hopfield(network.patterns, activation=hx.Tanh(3.0))
    a, b = (net.vector_field(0.0, state) for net in (network, classic))
    assert_close(a.field, b.field, 1e-14, "the same sums")
    assert_close(network.energy(state), classic.energy(state), 1e-12, "rounding")


def test_only_linear_forces_are_crowded_by_more_memories_than_neurons():
    patterns = hx.Patterns(jr.rademacher(jr.key(0), (9, 8), float))
    for force, linear in ((hx.Quadratic(), True), (hx.Power(3), False), (hx.Softmax(1.0), False)):
        assert hx.DenseFlow(patterns, force).crowded() == linear


def test_cubic_flow_is_input_driven_by_its_own_state():
    network, state = flow(hx.Power(3))
    driven = hx.InputDrivenHopfield(network.patterns, activation=hx.Tanh(3.0))
    own = hx.Inputs(stimulus=network.activation(state.field))
    a, b = network.vector_field(0.0, state), driven.vector_field(0.0, state, own)
    assert_close(a.field, b.field, 1e-14, "the same sums")


FLOWS = [hx.Power(3), hx.Power(4), hx.RectifiedPower(3), hx.Exponential(0.05), hx.Softmax(0.1)]


@pytest.mark.parametrize("tau", [None, 0.5])
@pytest.mark.parametrize("interaction", FLOWS, ids=lambda i: type(i).__name__)
def test_energy_of_the_flow_changes_as_it_must(interaction, tau):
    r"""dE/dt = -sum psi' x'^2 - N tau_h w' f'(w) w', from the vector field alone."""
    network, state = flow(interaction, tau_hidden=tau)
    if tau is not None:  # hidden units not at rest
        state = network.init(weights=[0.9, 0.2, -0.1], saliency=[0.2, 0.4, 0.3])
    current = jnp.linspace(-0.1, 0.1, 40)
    inputs = hx.Inputs(current=current)
    rate = network.vector_field(0.0, state, inputs)
    found = jax.jvp(lambda s: network.energy(s, inputs), (state,), (rate,))[1]
    slope = network.activation.slope(state.field)
    expected = -(slope * rate.field**2).sum()
    if tau is not None:
        bend = jax.jvp(lambda w: network.recurrent(w, w), (state.saliency,), (rate.saliency,))[1]
        expected = expected - 40 * tau * (rate.saliency * bend).sum()
    assert_close(found, expected, 1e-10, "rounding")
    assert tau is not None or found < 0


@pytest.mark.slow
def test_the_flow_runs_on_its_classes():
    network, state = flow(hx.Power(3))
    ts = jnp.linspace(0.0, 5.0, 6)
    runs = {
        kind: hx.simulate(network, state, ts, method=hx.Diffrax(reduction=kind))
        for kind in ("classes", "span", "sites")
    }
    for run in runs.values():
        assert_close(run.overlaps, runs["sites"].overlaps, 1e-6, "tolerance 1e-8 of the solver")
    assert hx.simulate(network, state, ts).reduction == "classes"


@pytest.mark.slow
def test_fast_hidden_units_are_the_limit_of_slow_ones():
    """The gap closes in proportion to tau_h."""
    ts = jnp.array([0.0, 1.0, 2.0])
    network, state = flow(hx.Power(3))
    limit = hx.simulate(network, state, ts).overlaps[-1]
    gaps = []
    for tau in (0.02, 0.01):
        slow, start = flow(hx.Power(3), tau_hidden=tau)
        gaps.append(np.abs(hx.simulate(slow, start, ts).overlaps[-1] - limit).max())
    assert 1.7 < gaps[0] / gaps[1] < 2.3


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_flows(memories):
    with pytest.raises(ValueError, match="states of \\+-1 only"):
        hx.DenseFlow(memories, hx.ManyBody(3))
    with pytest.raises(ValueError, match="`tau_hidden` must be > 0"):
        hx.DenseFlow(memories, hx.Power(3), tau_hidden=0.0)
    with pytest.raises(TypeError, match="`interaction` must be one such"):
        hx.DenseFlow(memories, 3)
    with pytest.raises(TypeError, match="`patterns` must be a hopfax Patterns"):
        hx.DenseFlow(hx.patterns.pack(memories), hx.Power(3))
    with pytest.raises(ValueError, match="needs `tau_hidden`"):
        hx.DenseFlow(memories, hx.Power(3)).init(weights=np.ones(4), saliency=np.ones(4))
