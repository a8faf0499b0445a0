"""Interactions of one's own, from outside hopfax, in networks, layers, files and the exact theory,
and fractional orders of a rectified force."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

theory = hx.theory.dense


class Sided(hx.AbstractInteraction):
    """f(y) = up y^p for y > 0 and down |y|^p for y < 0, p = order - 1: any homogeneous force."""

    up: jax.Array
    down: jax.Array
    order: int | float = eqx.field(static=True)
    exponential = False

    def potential(self, X, N):
        n = self.order
        return self.up * jnp.maximum(X, 0) ** n - self.down * jnp.maximum(-X, 0) ** n

    def force(self, y, N):
        return jnp.where(y > 0, self.up, self.down) * jnp.abs(y) ** (self.order - 1)

    def scale(self, N):
        return float(N) ** (self.order - 1)

    def reduction(self):
        return float(self.order)

    def lagrangian(self, m, N):
        return self.potential(m, N).sum() / self.order


class Quartic(hx.AbstractInteraction):
    """The least that an interaction owes."""

    exponential = False

    def potential(self, X, N):
        return X**4

    def force(self, y, N):
        return y**3

    def scale(self, N):
        return float(N) ** 3

    def reduction(self):
        return 4.0

    def lagrangian(self, m, N):
        return (m**4).sum() / 4


class Ordered(Quartic.__bases__[0]):
    """A force of `degree` that says an order of its own."""

    degree: int = eqx.field(static=True)
    order: object = eqx.field(static=True)
    exponential = False

    def potential(self, X, N):
        return X ** (self.degree + 1)

    def force(self, y, N):
        return y**self.degree

    def scale(self, N):
        return float(N) ** self.degree

    def reduction(self):
        return self.degree + 1.0

    def lagrangian(self, m, N):
        return (m ** (self.degree + 1)).sum()


class Exponent(Quartic.__bases__[0]):
    """Forces exp(0.3 y)."""

    exponential = True

    def potential(self, X, N):
        return jnp.exp(0.3 * X)

    def force(self, y, N):
        return 0.3 * y

    def scale(self, N):
        return 1.0

    def reduction(self):
        return 0.3

    def lagrangian(self, m, N):
        return jnp.exp(0.3 * N * m).sum()


class Mixed(Quartic.__bases__[0]):
    """Quadratic and quartic terms at once."""

    exponential = False

    def potential(self, X, N):
        return X**2 / 2 + 2 * X**4 / N**2

    def force(self, y, N):
        return y + 8 * y**3 / N**2

    def scale(self, N):
        return float(N)

    def reduction(self):
        return 1.0

    def lagrangian(self, m, N):
        return (m**2 / 2 + 2 * m**4).sum()


def sided(up, down, order):
    return Sided(jnp.asarray(up), jnp.asarray(down), order)


#: Those of the library, written as one's own.
PAIRS = {
    "Power(3)": (sided(1.0, 1.0, 3), hx.Power(3)),
    "Power(4)": (sided(1.0, -1.0, 4), hx.Power(4)),
    "RectifiedPower(3)": (sided(1.0, 0.0, 3), hx.RectifiedPower(3)),
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rule": "difference"},
        {"keep_diagonal": True},
        {"transition": "cyclic"},
        {"update": "cyclic"},
        {"activation": hx.Tanh(2.0), "keep_diagonal": True},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_memories_of_one_s_own_interaction(options):
    patterns = hx.patterns.random(jr.key(1), 70, 90)  # too many for exact sums
    cue = patterns.corrupt(jr.key(0), 0, 20)
    own, known = (hx.DenseMemory(patterns, kind, **options) for kind in (Quartic(), hx.Power(4)))
    state = own.init(cue)
    assert_close(own.field(state), known.field(state), 1e-13, "rounding of fields near 1")
    assert_close(own.step(state).spins, known.step(state).spins, 1e-13, "rounding")
    if "transition" not in options:
        assert_close(own.energy(state) / known.energy(state), 1.0, 1e-13, "rounding")


def test_flows_layers_and_files_of_one_s_own_interaction(tmp_path):
    patterns = hx.patterns.hadamard(4, 16)
    own, known = (
        hx.DenseFlow(patterns, kind, activation=hx.Tanh(2.0)) for kind in (Quartic(), hx.Power(4))
    )
    state = own.init(weights=[0.8, 0.3, 0.0, 0.0])
    fields = [net.vector_field(0.0, state, hx.Inputs()).field for net in (own, known)]
    assert_close(*fields, 1e-14, "rounding")
    kinds = (Quartic(), hx.Power(4))
    layers = [hx.nn.DenseMemoryLayer(4, 16, interaction=kind, key=jr.key(0)) for kind in kinds]
    x = jr.normal(jr.key(1), (16,))
    assert_close(layers[0](x), layers[1](x), 1e-12, "on the sphere the scale does not matter")
    shares = [hx.nn.inspect(layer, x).weights for layer in layers]
    assert_close(*shares, 1e-12, "rounding")
    # A force that is not homogeneous sees overlaps as they are.
    mixed = hx.nn.DenseMemoryLayer(4, 16, interaction=Mixed(), key=jr.key(0))
    m = np.asarray(mixed.memories) @ np.asarray(x) / 16
    v = (m + 8 * m**3) @ np.asarray(mixed.memories)
    assert_close(mixed(x), 4 * v / np.linalg.norm(v), 1e-12, "rounding")
    for bad in (Exponent(), hx.Epanechnikov()):
        with pytest.raises(TypeError, match="`interaction` must be Softmax.*one of your own"):
            hx.nn.DenseMemoryLayer(4, 16, interaction=bad, key=jr.key(0))
    memory = hx.DenseMemory(patterns, sided(1.0, -0.5, 2.5))
    hx.save(tmp_path / "own", memory)
    loaded = hx.load(tmp_path / "own", classes=[Sided])
    assert eqx.tree_equal(loaded, memory)
    rectified = hx.DenseMemory(patterns, hx.RectifiedPower(2.5))
    hx.save(tmp_path / "rectified", rectified)
    assert hx.load(tmp_path / "rectified").interaction.order == 2.5


@pytest.mark.parametrize("name", list(PAIRS))
def test_own_kernels_are_those_of_the_same_force(name):
    own, known = (theory.kernel(kind) for kind in PAIRS[name])
    C = jnp.linspace(-1.0, 1.0, 21)
    top = known(jnp.ones(()))
    assert_close(own(C) / top, known(C) / top, 1e-14, "rounding")
    assert_close(own.slope(C) / top, known.slope(C) / top, 1e-13, "rounding")
    inner, a, b = 0.8 * C, 0.8 + 0 * C, 0.9 + 0 * C  # |C| at most sqrt(ab)
    assert_close(own(inner, a, b) / top, known(inner, a, b) / top, 1e-13, "rounding")
    m = jnp.asarray([-0.5, 0.5])
    assert_close(own.signal(m), known.signal(m), 1e-15, "rounding")
    for N in (16, 41):
        y = jnp.asarray([-5.0, 8.0])
        for found, expected in zip(
            own.function.finite(y, N), known.function.finite(y, N), strict=True
        ):
            assert_close(found, expected, 1e-14, "rounding")


@pytest.mark.parametrize(
    ("up", "down", "order"), [(1.0, -0.4, 3), (0.7, 0.2, 2.5), (1.0, 0.0, 4.5)]
)
def test_kernels_against_two_integrals(up, down, order):
    """E f(x) f(y) by the midpoint rule in the plane, in polar coordinates: the kinks are rays."""
    p = order - 1
    interaction = hx.RectifiedPower(order) if (up, down) == (1.0, 0.0) else sided(up, down, order)
    angle = (np.arange(200_000) + 0.5) * (2 * np.pi / 200_000)

    def force(x):
        return np.where(x > 0, up, down) * abs(x) ** p

    for C in (-0.9, -0.2, 0.3, 0.8, 1.0):
        x, y = np.cos(angle), C * np.cos(angle) + math.sqrt(1 - C**2) * np.sin(angle)
        radial = 2**p * math.gamma(p + 1)  # E r^(2p) of the distance r
        expected = radial * (force(x) * force(y)).mean()
        found = theory.kernel(interaction)(jnp.asarray(C))
        assert_close(found, expected, 1e-7 * radial, "200,000 points, kinks of power p >= 1.5")
    slope, h = theory.kernel(interaction).slope(jnp.asarray(0.4)), 1e-4
    ends = theory.kernel(interaction)(jnp.asarray([0.4 + h, 0.4 - h]))
    assert_close(slope, (ends[0] - ends[1]) / (2 * h), 1e-5, "central difference")


@pytest.mark.parametrize("N", [16, 41])
def test_moments_of_fractional_order(N):
    from hopfax.theory.dense._moments import absolute_moment

    K = N - 1
    for order in (3.0, 4.5, 7):
        terms = (math.comb(K, k) * abs((K - 2 * k) / N) ** order / 2**K for k in range(N))
        assert_close(absolute_moment(N, order), math.fsum(terms), 1e-15, "rounding")


def test_theory_of_one_s_own_interaction_has_derivatives():
    """The load counts as the inverse square of the signal: f and c f are the same network."""

    def overlap(up, load):
        return theory.first_steps(sided(up, 0.3, 3), load, 0.8, 2).overlap[-1]

    up, by_load = jax.grad(overlap, (0, 1))(jnp.asarray(1.0), 0.08)
    h = 1e-5
    ends = [overlap(jnp.asarray(1.0 + s * h), 0.08) for s in (1, -1)]
    assert_close(up, (ends[0] - ends[1]) / (2 * h), 1e-7, "central difference")
    assert by_load < 0
    # f and 2 f are the same network
    twice = theory.first_steps(sided(2.0, 0.6, 3), 0.08, 0.8, 2).overlap[-1]
    assert_close(twice, overlap(jnp.asarray(1.0), 0.08), 1e-13, "rounding")
    # K(1) = (a^2 + b^2) (2p - 1)!! / 2, in units of the squared signal
    found = theory.capacity(sided(2.0, 0.6, 3))
    expected = theory.capacity(hx.RectifiedPower(3)).load * 2**2 / (2**2 + 0.6**2)
    assert_close(found.load, expected, 1e-14, "rounding")


def test_theory_of_one_s_own_interaction_against_simulation():
    """A force with a kink and different sides, of a fractional order: exact in the first step."""
    law, N, m0 = sided(1.0, -0.5, 2.5), 400, 0.8  # 40 flips
    M = round(0.3 / float(theory.kernel(law)(jnp.ones(()))) * N**1.5)

    @jax.jit
    def after_one_step(key):
        memories, cues = jr.split(key)
        patterns = hx.patterns.random(memories, M, N)
        memory = hx.DenseMemory(patterns, law)

        def run(k, mu):
            xi, wrong = patterns.pattern(mu), jr.permutation(k, N) < 40
            return memory.step(memory.init(jnp.where(wrong, -xi, xi))).spins @ xi / N

        return jax.vmap(run)(jr.split(cues, 20), jnp.arange(20)).mean()

    found = np.array([after_one_step(key) for key in jr.split(jr.key(0), 20)])
    error = found.std(ddof=1) / found.size**0.5
    exact = theory.finite_first_step(law, N, M, m0)
    assert_close(found.mean(), exact, 4 * error + 1 / N, "4 standard errors, and Gaussian noise")
    limit = theory.map_step(law, M / N**1.5, m0)
    assert_close(exact, limit, 4 / N, "finite size")


def test_recall_without_error_takes_own_interactions():
    for own, known in [
        *PAIRS.values(),
        (Exponent(), hx.Exponential(0.3)),
        (Quartic(), hx.Power(4)),
    ]:
        found, expected = (theory.transition_recall(kind, 24, 40) for kind in (own, known))
        assert_close(np.array(found), np.array(expected), 1e-12, "the same sums")


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("interaction", "words"),
    [
        (Quartic(), "`interaction` Quartic has no `order`"),
        (
            Ordered(1, 2),
            "`interaction` Ordered must have as `order` a Python number above 2, got 2",
        ),
        (Ordered(2, "3"), "a Python number above 2"),
        (Mixed(), "`interaction` Mixed has no `order`"),
        (Ordered(3, 3), "`interaction` Ordered of order 3 must have a force proportional to"),
        (hx.Epanechnikov(), "`interaction` Epanechnikov has no theory here"),
        (Exponent(), "`interaction` Exponent has no Gaussian kernel"),
    ],
)
def test_interactions_without_a_kernel_are_refused_by_name(interaction, words):
    with pytest.raises(ValueError, match=words):
        theory.capacity(interaction)


def test_powers_of_several_orders():
    """Forces, kernel and noise of a sum of powers, written out."""
    law = hx.Polynomial({1: 0.3, 2: -0.5, 4: 1.0})
    patterns = hx.patterns.random(jr.key(3), 9, 11)
    xi = np.asarray(patterns.xi)
    cue = np.asarray(patterns.corrupt(jr.key(4), 0, 3))
    y = (xi @ cue)[:, None] - xi * cue
    up, down = (0.3 * 11**1.5 * x - 5.5 * x**2 + x**4 for x in (y + 1, y - 1))
    forces = {"leading": 0.075 * 11**1.5 - 0.25 * 11 * y + y**3, "difference": (up - down) / 8}
    for rule, force in forces.items():
        memory = hx.DenseMemory(patterns, law, rule=rule)
        expected = (xi * force).sum(0) / 11**3
        assert_close(memory.field(memory.init(cue)), expected, 1e-13, "rounding")
    K, C = theory.kernel(law), jnp.asarray([-0.7, 0.2, 1.0])
    # E x^3 = 0, E x^3 y = 3 C, E x^3 y^3 = 9 C + 6 C^3
    written = 0.075**2 + 0.25**2 * C - 2 * 0.25 * 3 * C + 9 * C + 6 * C**3
    assert_close(K(C), written, 1e-13, "rounding")
    a, b, C = jnp.asarray(0.9), jnp.asarray(0.5), jnp.asarray(0.4)
    graded = 0.075**2 + 0.25**2 * C - 0.25 * 3 * C * (a + b) + 9 * a * b * C + 6 * C**3
    assert_close(K(C, a, b), graded, 1e-13, "rounding")
    N, y = 12, np.arange(-11, 12, 2)
    p = np.array([math.comb(11, k) for k in range(12)]) / 2**11
    f = (0.075 * N**1.5 - 0.25 * N * y + y**3) / N**3
    found, noise = K.function.finite(jnp.asarray(y, float), N)
    assert_close(found, f, 1e-14, "rounding")
    assert_close(noise, (p * f**2).sum(), 1e-14, "rounding")
    assert_close(K.signal(jnp.asarray(-0.5)), -(0.5**3), 1e-15, "rounding")
    with pytest.raises(ValueError, match="`interaction` Polynomial of order 2"):
        theory.kernel(hx.Polynomial({2: 1.0}))


@pytest.mark.slow
def test_pairs_and_triples_together_approach_their_theory():
    """Pairs add noise in the limit, and at finite N also a signal smaller by 1/sqrt(N)."""
    law = hx.Polynomial({2: 0.5, 3: 1.0})
    limit = float(theory.map_step(law, 0.24 / (3 + 1 / 9), 0.8))
    gaps = []
    for N, flips in ((100, 10), (400, 40)):
        M = round(0.24 / (3 + 1 / 9) * N**2)

        @jax.jit
        def after_one_step(key, N=N, M=M, flips=flips):
            patterns = hx.patterns.random(key, M, N)
            memory = hx.DenseMemory(patterns, law)

            def run(mu):
                xi = patterns.pattern(mu)
                cue = memory.init(jnp.where(jnp.arange(N) < flips, -xi, xi))
                return memory.step(cue).spins @ xi / N

            return jax.vmap(run)(jnp.arange(20)).mean()

        found = np.array([after_one_step(key) for key in jr.split(jr.key(0), 10)])
        exact = float(theory.finite_first_step(law, N, M, 0.8))
        error = found.std(ddof=1) / found.size**0.5
        assert_close(found.mean(), exact, 4 * error + 1 / N, "4 standard errors, Gaussian noise")
        gaps.append(exact - limit)
    # 0.5 (2/3) m / sqrt(N) is added to a signal of m^2
    assert 0 < gaps[1] < gaps[0] and abs(gaps[0] / gaps[1] - 2) < 0.3


def test_rectified_forces_of_fractional_order():
    patterns = hx.patterns.random(jr.key(3), 9, 11)
    xi = np.asarray(patterns.xi)
    cue = np.asarray(patterns.corrupt(jr.key(4), 0, 3))
    for order in (2.5, 15.5):  # of which a whole order would be added up in whole numbers
        memory = hx.DenseMemory(patterns, hx.RectifiedPower(order))
        y = (xi @ cue)[:, None] - xi * cue  # without the neuron itself
        expected = (xi * np.maximum(y, 0) ** (order - 1)).sum(0) / 11 ** (order - 1)
        assert_close(memory.field(memory.init(cue)), expected, 1e-13, "rounding")
        energy = -(np.maximum(xi @ cue, 0) ** order).sum()
        assert_close(memory.energy(memory.init(cue)) / energy, 1.0, 1e-13, "rounding")
    assert isinstance(hx.RectifiedPower(3.0).order, int)
    for bad in (1.5, math.inf, math.nan):
        with pytest.raises(ValueError, match="`order` must be"):
            hx.RectifiedPower(bad)


class Steep(Quartic):
    """Grows beyond all floats without saying so."""

    def force(self, y, N):
        return jnp.sinh(y)


def test_a_force_that_no_float_holds_is_refused():
    patterns = hx.patterns.random(jr.key(0), 4, 800)
    with pytest.raises(ValueError, match=r"force of Steep is not finite at an overlap of 799"):
        hx.DenseMemory(patterns, Steep())
    hx.DenseMemory(hx.patterns.random(jr.key(0), 4, 400), Steep())
