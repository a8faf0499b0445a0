"""The theory of rate memories against dense matrices, brute force and itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, run_python

import hopfax as hx
from hopfax import HardSigmoid, Logistic, RectifiedTanh, ThresholdLinear
from hopfax.theory import rate

FOUR = 5e-5 + 1e-12  # half a unit in the last of 4 decimals
SIX = 5e-7 + 1e-12
ROUNDING = 1e-10  # of eigenvalues of matrices of size 100 and norm 10, in float64
WHY = "rounding"


# An independent account in NumPy


def curves(phi):
    """phi and its slope."""
    rho, start = float(phi.gain), float(phi.threshold)
    if isinstance(phi, Logistic):
        value = lambda y: 1 / (1 + np.exp(np.clip(2 - 4 * rho * (y - start), -700, 700)))  # noqa: E731
        return value, lambda y: 4 * rho * value(y) * (1 - value(y))
    if isinstance(phi, RectifiedTanh):
        value = lambda y: np.tanh(rho * np.maximum(y - start, 0))  # noqa: E731
        return value, lambda y: rho * (1 - value(y) ** 2) * (y > start)
    value = lambda y: np.clip(rho * (y - start), 0, phi.ceiling)  # noqa: E731
    return value, lambda y: rho * ((y > start) & (rho * (y - start) < phi.ceiling))


def weights(xi, phi, a, b, learning="covariance", q=None, r=None):
    """W, from the equations of the paper."""
    f, _ = curves(phi)
    P, N = xi.shape
    q = xi.mean() if q is None else q
    if r is None:
        gram = xi @ xi.T
        r = gram[~np.eye(P, dtype=bool)].mean() / (q * N) if P > 1 else q
    low, high = f(a), f(b)
    if learning == "pseudo_inverse":
        return (a + (b - a) * xi).T @ np.linalg.pinv((low + (high - low) * xi).T)
    if learning == "projection":
        r = q
    mean = (1 - q) * low + q * high
    beta = q * ((1 - r) * low + r * high) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    if learning == "projection":
        Z = (xi - q).T
        first = (b - a) / (high - low) * Z @ np.linalg.pinv(Z)
    else:
        first = (b - a) / (q * (1 - r) * (high - low)) / N * (xi - beta).T @ (xi - beta)
    return first + gamma / N


def jacobian(xi, phi, a, b, mu, learning="covariance"):
    slope = curves(phi)[1](a + (b - a) * xi[mu])
    return slope[:, None] * weights(xi, phi, a, b, learning) - np.eye(xi.shape[1])


def falling(values):
    return np.sort(np.real(values))[::-1]


def balanced(q, N):
    """1 + 1/q memories: a core of q^2 N neurons, blocks with one memory active in each."""
    P, core = 1 + round(1 / q), round(q**2 * N)
    blocks = np.tile(np.eye(P), round(q * (1 - q) * N))
    return np.concatenate([np.ones((P, core)), blocks], axis=1)


def sunflower(P, q, r, N):
    core, petal = round(r * q * N), round((1 - r) * q * N)
    xi = np.zeros((P, N))
    xi[:, :core] = 1
    for mu in range(P):
        xi[mu, core + mu * petal : core + (mu + 1) * petal] = 1
    return xi


def sparse(seed, P, N, q):
    """Exactly q N active neurons."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(N) < q * N, (P, 1)), axis=1) * 1.0


# Design


@pytest.mark.parametrize("phi", [Logistic(), RectifiedTanh(), HardSigmoid(3.0, 0.1)])
def test_the_design_stores_memories_of_any_one_overlap(phi):
    for xi, r in ((sunflower(5, 0.2, 0.4, 100), 0.4), (balanced(0.2, 100), None)):
        made = rate.design(phi, 0.05, 0.95, 0.2, r)
        Z = xi - float(made.beta)
        W = float(made.alpha) / 100 * Z.T @ Z + float(made.gamma) / 100
        rates = float(made.silent) + float(made.active - made.silent) * xi
        assert_close(rates @ W, 0.05 + 0.9 * xi, 1e-13, WHY)
        assert_close(made.mean, rates[0].mean(), 1e-14, WHY)


def test_the_design_at_the_reference_values():
    made = rate.design(Logistic(), -0.3, 0.95, 0.2, 0.4)
    assert_close(made.alpha, 10.416805, SIX, "digits given")
    assert_close(made.beta, 0.399991, SIX, "digits given")
    assert_close(made.gamma, 0.999910, SIX, "digits given")
    assert_close(made.kappa, 1.25 / float(made.active - made.silent), 1e-14, WHY)


def test_independent_memories_are_the_default():
    both = rate.design(Logistic(), 0.1, 0.9, 0.3), rate.design(Logistic(), 0.1, 0.9, 0.3, 0.3)
    for one, other in zip(*both, strict=True):
        assert_close(one, other, 0.0, "the same numbers")
    assert_close(both[0].beta, 0.3, 1e-15, "beta = q for r = q")


# Spectrum of the weights


def test_spectrum_at_the_reference_values():
    found = rate.spectrum(Logistic(), -0.3, 0.95, 0.2, 0.4, 5)
    assert_close(found.kappa, 1.250017, SIX, "digits given")
    assert_close(found.upper, 5.846345, SIX, "digits given")
    assert_close(found.lower, 0.570113, SIX, "digits given")
    assert found.multiplicity == 4
    assert_close(found.largest, found.upper, 0.0, "the same number")


@pytest.mark.parametrize("a", [-0.9, 0.1])
@pytest.mark.parametrize("P, q, r", [(5, 0.2, 0.4), (1, 0.2, 0.5), (3, 0.25, 0.0), (4, 0.2, 0.2)])
def test_spectrum_is_that_of_the_matrix(P, q, r, a):
    xi = sunflower(P, q, r, 100)
    found = rate.spectrum(Logistic(), a, 0.95, q, r, P)
    W = weights(xi, Logistic(), a, 0.95, q=q, r=r)
    mine = np.concatenate([np.full(found.multiplicity, found.kappa), [found.upper, found.lower]])
    mine = np.concatenate([mine, np.zeros(99 - P)])
    assert_close(np.sort(mine), np.linalg.eigvalsh(W), ROUNDING, WHY)
    assert_close(found.largest, mine.max(), 1e-14, WHY)


def test_spectrum_of_a_projection():
    xi = sparse(0, 7, 60, 0.3)
    found = rate.spectrum(Logistic(), -0.3, 0.95, 0.3, P=7, learning="projection")
    W = weights(xi, Logistic(), -0.3, 0.95, "projection")
    mine = np.concatenate([np.full(6, found.kappa), [found.upper, found.lower], np.zeros(52)])
    assert_close(np.sort(mine), np.linalg.eigvalsh(W), ROUNDING, WHY)


# Stability of a memory


TABLE = [
    (Logistic, -0.3, 0.2, 1.2500, -0.2500, -0.9999, -0.9998),
    (Logistic, -0.3, 0.5, 1.2516, -0.2503, -0.9762, -0.9687),
    (Logistic, -0.3, 0.8, 1.7685, -0.3537, 4.3476, 6.0363),
    (Logistic, 0.1, 0.2, 0.8669, 1.2525, -0.5695, -0.5695),
    (RectifiedTanh, -0.3, 0.5, 1.2837, -0.2567, -0.7574, -0.6807),
    (RectifiedTanh, 0.1, 0.8, 1.3778, 2.1883, 3.5786, 3.5786),
    (HardSigmoid, -0.3, 0.2, 1.2500, -0.2500, -1.0000, -1.0000),
    (HardSigmoid, -0.3, 0.75, 1.3021, -0.2604, 3.7500, 5.2500),
]


@pytest.mark.parametrize("kind, a, threshold, kappa, gamma, block, greatest", TABLE)
def test_the_table_of_stability(kind, a, threshold, kappa, gamma, block, greatest):
    phi, xi = kind(4.8, threshold), balanced(0.2, 25)
    plane, all_of_it = rate.stability(phi, a, 0.95, 0.2), rate.balanced_spectrum(phi, a, 0.95, 0.2)
    found = (plane.kappa, plane.gamma, plane.block, all_of_it.greatest)
    for mine, given in zip(found, (kappa, gamma, block, greatest), strict=True):
        assert_close(mine, given, FOUR, "digits given")
    assert bool(all_of_it.stable) == (greatest < 0)
    J = jacobian(xi, phi, a, 0.95, 0)
    dense = falling(np.linalg.eigvals(J))
    assert_close(all_of_it.greatest, dense[0], ROUNDING, WHY)
    for learning in ("projection", "covariance") if kind is Logistic else ():  # compiled once
        small = rate.memory_eigenvalues(xi, phi, a, 0.95, 0, learning)
        assert_close(small.greatest, dense[0], ROUNDING, WHY)
        assert_close(small.residual, 0.0, 1e-12, "the memory is an equilibrium")
    # the plane by itself: J restricted to the two groups
    groups = np.stack([xi[0], 1 - xi[0]])
    plane_J = (groups @ J @ groups.T) / groups.sum(1)[:, None]
    assert_close(plane.block, falling(np.linalg.eigvals(plane_J))[0], ROUNDING, WHY)
    trace, determinant = np.trace(plane_J + np.eye(2)), np.linalg.det(plane_J + np.eye(2))
    assert_close(plane.trace, trace, ROUNDING, WHY)
    assert_close(plane.determinant, determinant, ROUNDING, WHY)


@pytest.mark.parametrize("q, N", [(0.5, 4), (1 / 3, 9), (0.1, 100)])
@pytest.mark.parametrize("phi", [Logistic(2.0, 0.3), RectifiedTanh(3.0, 0.0)])
def test_all_eigenvalues_of_the_balanced_set(q, N, phi):
    P, N = 1 + round(1 / q), N
    found = rate.balanced_spectrum(phi, 0.1, 0.8, q)
    dense = falling(np.linalg.eigvals(jacobian(balanced(q, N), phi, 0.1, 0.8, 1)))
    mine = np.concatenate(
        [found.block, [found.active], np.full(P - 2, found.silent), np.full(N - P - 1, -1.0)]
    )
    assert_close(falling(mine), dense, ROUNDING, WHY)


@pytest.mark.parametrize("learning", ["projection", "covariance", "pseudo_inverse"])
def test_memory_eigenvalues_are_those_of_the_whole_jacobian(learning):
    phi, a, b = Logistic(2.5, 0.3), 0.1, 0.9
    exact = learning != "covariance"  # which is exact for equal overlaps alone
    xi = sparse(3, 6, 25, 0.2) if exact else sunflower(6, 0.2, 0.4, 25)
    if learning == "pseudo_inverse":
        xi[2, :15] = 1  # of another activity
    for mu in (0, 2):
        found = rate.memory_eigenvalues(xi, phi, a, b, mu, learning)
        dense = falling(np.linalg.eigvals(jacobian(xi, phi, a, b, mu, learning)))
        mine = np.append(np.real(found.eigenvalues), np.full(25 - len(found.eigenvalues), -1.0))
        assert_close(falling(mine), dense, ROUNDING, WHY)
        assert_close(found.greatest, dense[0], ROUNDING, WHY)
        assert bool(found.stable) == (dense[0] < 0)
        f, _ = curves(phi)
        current = weights(xi, phi, a, b, learning) @ f(a + (b - a) * xi[mu])
        off = abs(current - a - (b - a) * xi[mu]).max()
        assert_close(found.residual, off, 1e-11, WHY)
        assert off < 1e-11


def test_conditions_for_stability_and_instability():
    """Both published conditions against the exact block, for 20000 designs."""
    draw = np.random.default_rng(1).uniform
    a, q = draw(-1, 0.6, 20000), draw(0.05, 0.95, 20000)
    b, phi = a + draw(0.05, 1.5, 20000), Logistic(3.0, 0.2)
    found = jax.tree.map(np.asarray, rate.stability(phi, a, b, q))
    clear, stable = abs(found.block) > 1e-9, found.block < 0
    hurwitz = (1 - found.trace + found.determinant > 0) & (found.trace < 2)
    assert (hurwitz == stable)[clear].all()
    assert stable[found.sufficient].all() and (stable & ~found.sufficient).any()
    assert not stable[found.unstable & clear].any()
    assert not stable[found.unstable_active & clear].any()
    # what the second adds to the first has two eigenvalues above 1
    more = found.unstable_active & ~found.unstable & clear
    assert more.any() and (found.determinant[more] > 1).all() and (found.trace[more] > 2).all()
    # storage excludes contraction
    largest = rate.spectrum(phi, a, b, q, P=3).largest
    assert (rate.contraction_rate(phi, largest) <= 1e-12).all()
    # the smallest inhibition never destabilises a memory of the balanced set
    stable = np.asarray(rate.balanced_spectrum(phi, a, b, q).stable)
    tau = np.asarray(rate.critical_inhibition(phi, a, b, q))
    assert stable.any() and np.isinf(tau[stable]).all()
    assert np.isfinite(tau).any()  # P = 1 alone


def test_saturated_groups_make_the_sufficient_condition_sharp():
    """d_a = 0 and gamma < kappa: the balanced set is stable iff kappa d_b < 1."""
    phi, b = RectifiedTanh(1.4, 0.2), np.linspace(0.25, 1.5, 50)
    made, plane = rate.balanced_spectrum(phi, -0.3, b, 0.2), rate.stability(phi, -0.3, b, 0.2)
    assert (np.asarray(made.stable) == np.asarray(plane.sufficient)).all()
    assert bool(made.stable.any()) and not bool(made.stable.all())
    assert_close(made.active, plane.kappa * plane.slope_active - 1, 1e-15, WHY)


# The planar system


def planar_residual(phi, a, b, q, s, c, saliency=1.0, u_S=0.0, u_C=0.0):
    f, d = curves(phi)
    kappa = saliency * (b - a) / (f(b) - f(a))
    gamma = ((1 - q) * a + q * b) / ((1 - q) * f(a) + q * f(b))
    mean = q * s + (1 - q) * c
    y = gamma * mean + kappa * (1 - q) * (s - c) + u_S
    z = gamma * mean - kappa * q * (s - c) + u_C
    first = d(y) * np.array([gamma * q + kappa * (1 - q), (gamma - kappa) * (1 - q)])
    second = d(z) * np.array([(gamma - kappa) * q, gamma * (1 - q) + kappa * q])
    J = np.stack([first, second]) - np.eye(2)
    return max(abs(f(y) - s), abs(f(z) - c)), falling(np.linalg.eigvals(J))


def check_equilibria(found, phi, *design, **inputs):
    """Each is one, with the eigenvalues of the Jacobian; they are in order, and an odd number."""
    n = int(found.count)
    for i in range(n):
        s, c = float(found.active[i]), float(found.silent[i])
        off, values = planar_residual(phi, *design, s, c, **inputs)
        assert off < 1e-12
        assert_close(found.eigenvalues[i], values, 1e-9, "rounding, times the gain")
        assert bool(found.stable[i]) == (values[0] < 0)
    assert (np.diff(found.active[:n]) >= 0).all()
    assert n % 2 == 1  # their indices add up to 1
    assert np.asarray(found.exists).sum() == n and np.isnan(found.active[n:]).all()


INHIBITED, EXCITED = (-0.3, 0.95, 0.2), (0.1, 0.95, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design, inputs, rates, stable",
    [
        (INHIBITED, (0, 0), [(0.0029, 0.0029), (0.2651, 0.0006), (1.0, 0.0)], "+-+"),
        (INHIBITED, (0.3, 0), [(1.0, 0.0)], "+"),
        (EXCITED, (0.3, 0.3), [(1.0, 1.0)], "+"),
    ],
)
def test_planar_equilibria_at_the_reference_values(design, inputs, rates, stable):
    found = rate.planar_equilibria(Logistic(), *design, 1.0, *inputs)
    n = int(found.count)
    assert n == len(rates)
    assert_close(np.stack([found.active, found.silent], 1)[:n], np.array(rates), FOUR, "digits")
    assert "".join("+" if v else "-" for v in found.stable[:n]) == stable
    check_equilibria(found, Logistic(), *design, u_S=inputs[0], u_C=inputs[1])


def test_seven_planar_equilibria_with_a_background_of_excitation():
    found = rate.planar_equilibria(Logistic(), *EXCITED)
    assert int(found.count) == 7
    check_equilibria(found, Logistic(), *EXCITED)
    stable = np.stack([found.active, found.silent], 1)[np.asarray(found.stable)]
    expected = np.array([(0.0031, 0.0031), (1.0, 0.0195), (1.0, 1.0)])
    assert_close(stable, expected, FOUR, "digits given")


def test_groups_that_do_not_feel_each_other_have_nine_equilibria():
    """gamma = kappa: each group is a neuron x = phi(kappa x) with three equilibria."""
    phi, b, q = Logistic(), 0.95, 0.2
    low, high = -0.3, 0.1
    for _ in range(60):
        a = (low + high) / 2
        made = rate.design(phi, a, b, q)
        low, high = (a, high) if made.gamma < made.kappa else (low, a)
    found = rate.planar_equilibria(phi, a, b, q)
    assert int(found.count) == 9
    alone = np.unique(np.round(found.active, 9))
    assert len(alone) == 3
    f, _ = curves(phi)
    assert_close(f(float(made.kappa) * alone), alone, 1e-7, "a fixed point rounded to 1e-9")
    pairs = np.stack([found.active, found.silent], 1)
    product = np.array([(s, c) for s in alone for c in alone])
    gaps = abs(pairs[:, None] - product).max(2).min(0)
    assert_close(gaps, np.zeros(9), 1e-8, "rounded to 1e-9")
    assert int(found.stable.sum()) == 4


def brute_force(phi, a, b, q, saliency, u_S, u_C):
    """Newton from everywhere, damped."""
    f, d = curves(phi)
    rho, start = float(phi.gain), float(phi.threshold)
    kappa = saliency * (b - a) / (f(b) - f(a))
    gamma = ((1 - q) * a + q * b) / ((1 - q) * f(a) + q * f(b))
    A, B = gamma * q + kappa * (1 - q), (gamma - kappa) * (1 - q)
    C, E = (gamma - kappa) * q, gamma * (1 - q) + kappa * q
    far = abs(kappa) + abs(gamma) + 1.5
    at = [start - 3 / rho, start + 4 / rho]
    grid = np.concatenate([np.linspace(*at, 80), np.linspace(-far, far, 80)])
    y, z = (part.ravel() for part in np.meshgrid(grid, grid))
    for step in range(60):
        first, second = y - A * f(y) - B * f(z) - u_S, z - C * f(y) - E * f(z) - u_C
        a11, a12, a21, a22 = 1 - A * d(y), -B * d(z), -C * d(y), 1 - E * d(z)
        det = a11 * a22 - a12 * a21
        det = np.where(abs(det) < 1e-14, 1e-14, det)
        dy, dz = (a22 * first - a12 * second) / det, (a11 * second - a21 * first) / det
        size = 1.0
        if step < 40:
            size = np.minimum(1, 0.5 / rho / np.maximum(np.maximum(abs(dy), abs(dz)), 1e-300))
        y, z = y - size * dy, z - size * dz
    off = np.maximum(abs(y - A * f(y) - B * f(z) - u_S), abs(z - C * f(y) - E * f(z) - u_C))
    points = np.stack([y, z], 1)[off < 1e-11]
    kept = []
    for point in points[np.lexsort(np.round(points.T, 9))]:
        if not any(abs(point - other).max() < 1e-7 for other in kept):
            kept.append(point)
    return f(np.array(kept))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Logistic, RectifiedTanh, HardSigmoid])
def test_planar_equilibria_are_all_there_are(kind):
    draw = np.random.default_rng(7).uniform
    counts = []
    for i in range(12):
        phi = kind(np.exp(draw(0.0, 3.2)), draw(-0.3, 0.8))
        start, width, q = float(phi.threshold), 1 / float(phi.gain), draw(0.05, 0.6)
        a, b = start + 0.3 * width - draw(0, 1.0), start + 0.6 * width + draw(0, 1.0)
        inputs = (draw(-0.5, 2.0), *draw(-0.5, 0.5, 2)) if i % 2 else (1.0, 0.0, 0.0)
        found = rate.planar_equilibria(phi, a, b, q, *inputs)
        mine = np.stack([found.active, found.silent], 1)[: int(found.count)]
        expected = brute_force(phi, a, b, q, *inputs)
        assert len(mine) == len(expected), (phi, a, b, q, inputs)
        gaps = abs(mine[:, None] - expected).max(2)
        assert max(gaps.min(0).max(), gaps.min(1).max()) < 1e-8
        counts.append(len(mine))
    assert max(counts) >= 5


@pytest.mark.parametrize("design", [INHIBITED, EXCITED])
def test_piecewise_linear_equilibria(design):
    found = rate.planar_equilibria(HardSigmoid(), *design)
    check_equilibria(found, HardSigmoid(), *design)
    expected = brute_force(HardSigmoid(), *design, 1.0, 0.0, 0.0)
    assert int(found.count) == len(expected) >= 3
    mine = np.stack([found.active, found.silent], 1)[: len(expected)]
    assert abs(mine[:, None] - expected).max(2).min(0).max() < 1e-10
    few = rate.planar_equilibria(HardSigmoid(), *design, most=2)
    assert int(few.count) == len(mine) and few.active.shape == (2,)
    memory = curves(HardSigmoid())[0](np.array(design[1::-1]))
    nearest = np.sort(np.argsort(abs(mine - memory).max(1))[:2])  # the memory itself, and one more
    assert_close(few.active, mine[nearest, 0], 0.0, "the same numbers")
    assert abs(np.stack([few.active, few.silent], 1) - memory).max(1).min() < 1e-12


def test_threshold_linear_equilibria_may_be_outside_the_unit_square():
    phi = ThresholdLinear(0.6, -1.0)  # memory: rates 0.3 and 0.9 of currents -0.5 and 0.5
    found = rate.planar_equilibria(phi, -0.5, 0.5, 0.2, 1.0, 3.0)
    check_equilibria(found, phi, -0.5, 0.5, 0.2, u_S=3.0)
    assert found.active[0] > 1


def test_what_does_not_exist_is_nan_under_a_trace():
    a = jnp.array([-0.3, 0.95, 1.2])
    design = jax.vmap(lambda a: rate.design(Logistic(), a, 0.95, 0.2))(a)
    assert np.asarray(design.exists).tolist() == [True, False, False]
    assert np.isnan(design.gamma).tolist() == [False, True, True]
    found = jax.vmap(lambda a: rate.planar_equilibria(HardSigmoid(), a, 0.95, 0.2))(a)
    assert np.asarray(found.count).tolist() == [3, 0, 0]
    assert not np.asarray(found.exists)[1:].any() and np.isnan(found.active[1:]).all()


def test_global_stability_under_an_aligned_input():
    expected = [
        (INHIBITED, (0.0, 0.0), False, False, 1.0),
        (INHIBITED, (0.3, 0.0), True, True, 1.0),
        (EXCITED, (0.3, 0.3), False, True, 0.0),  # one equilibrium, and it is no memory
    ]
    for design, inputs, stable, single, overlap in expected:
        found = rate.globally_stable(Logistic(), *design, 1.0, *inputs)
        assert (bool(found.stable), bool(found.single)) == (stable, single)
        assert_close(found.overlap, overlap, 1e-4, "neurons are not entirely saturated")


# Saliency


def test_critical_saliency_at_the_reference_values():
    found = rate.critical_saliency(Logistic(), *INHIBITED)
    assert_close(found.gain, 0.463418, SIX, "digits given")
    assert_close(found.saliency, 0.513409, SIX, "digits given")
    assert_close(found.rate, 0.870959, SIX, "digits given")
    found = rate.critical_saliency(Logistic(4.8, 0.5), *INHIBITED)
    assert_close(found.gain, 0.794504, SIX, "digits given")
    assert_close(found.saliency, 0.843467, SIX, "digits given")
    assert_close(found.rate, 0.929471, SIX, "digits given")
    found, made = rate.critical_saliency(Logistic(), *EXCITED), rate.design(Logistic(), *EXCITED)
    assert not bool(found.exists) and np.isnan(found.saliency)
    formula = (found.gain - made.gamma * 0.2) / (made.kappa * 0.8)
    assert_close(formula, 0.307, 5e-4, "digits given")
    assert_close(rate.critical_saliency_planar(Logistic(), *INHIBITED).saliency, 0.51353, 5e-6, "")
    assert_close(rate.critical_saliency_planar(Logistic(), *EXCITED).saliency, 0.90892, 5e-6, "")


@pytest.mark.parametrize("phi", [Logistic(3.0, 0.35), RectifiedTanh(5.0, 0.3), HardSigmoid()])
def test_the_gain_of_the_active_branch_is_a_minimum(phi):
    found = rate.critical_saliency(phi, *INHIBITED)
    S = np.linspace(0.5 if isinstance(phi, Logistic) else 0.01, 1 - 1e-9, 400001)
    gains = np.asarray(phi.inverse(jnp.asarray(S))) / S
    assert_close(found.gain, gains.min(), 1e-8, "the grid's square, or its end for hard sigmoid")
    assert_close(found.rate, S[gains.argmin()], 3e-6, "the grid")


def test_without_a_minimum_there_is_no_critical_saliency():
    for phi in (Logistic(4.8, -0.1), RectifiedTanh(4.8, -0.1), ThresholdLinear(0.6, -0.1)):
        found = rate.critical_saliency(phi, -0.3, 0.9, 0.2)
        assert not bool(found.exists) and np.isnan(found.saliency) and np.isnan(found.gain)


@pytest.mark.parametrize("phi", [RectifiedTanh(), HardSigmoid()])
def test_the_formula_is_exact_where_silent_neurons_are_silent(phi):
    formula = rate.critical_saliency(phi, *INHIBITED)
    exact = rate.critical_saliency_planar(phi, *INHIBITED)
    assert_close(exact.saliency, formula.saliency, 1e-12, WHY)
    assert_close(exact.active, formula.rate, 1e-7, "square root of rounding")
    assert_close(exact.silent, 0.0, 0.0, "below threshold")


@pytest.mark.parametrize("design", [INHIBITED, EXCITED])
def test_two_equilibria_vanish_at_the_critical_saliency(design):
    """Also a test of the scan: next to the fold they are 1e-4 apart and found all the same."""
    critical = float(rate.critical_saliency_planar(Logistic(), *design).saliency)
    before, after = (
        rate.planar_equilibria(Logistic(), *design, critical * (1 + shift))
        for shift in (1e-8, -1e-8)
    )
    assert int(before.count) == int(after.count) + 2
    check_equilibria(before, Logistic(), *design, saliency=critical * (1 + 1e-8))
    nearest = np.min(abs(np.asarray(before.eigenvalues[: int(before.count), 0])))
    assert nearest < 5e-3  # of order sqrt(1e-8) times the gain


def test_a_memory_that_fades_into_the_uniform_state_ends_there():
    """Weakly modulated rates in the linear range: no fold, an exchange of stability."""
    phi, design = Logistic(1.27, 0.204), (-0.716, 0.189, 0.57)
    found = rate.critical_saliency_planar(phi, *design)
    assert_close(found.active, found.silent, 1e-6, "the groups no longer differ")
    f, d = curves(phi)
    made, c = rate.design(phi, *design), float(found.active)
    assert_close(f(float(made.gamma) * c), c, 1e-7, "uniform")
    slope = d(float(made.gamma) * c)
    assert_close(found.saliency, 1 / (float(made.kappa) * slope), 1e-6, "marginal")


@pytest.mark.slow
def test_a_memory_that_fades_into_silence_ends_at_the_kink():
    """Rectified neurons with threshold 0 have no fold: active and silent group meet at the kink, on
    whose two sides the slopes differ, so that g* is 1 / gain."""
    phi = RectifiedTanh(4.8, 0.0)
    found, made = rate.critical_saliency_planar(phi, *INHIBITED), rate.design(phi, *INHIBITED)
    formula = (1 / 4.8 - made.gamma * 0.2) / (made.kappa * 0.8)
    assert_close(found.saliency, formula, 1e-12, WHY)
    assert float(found.active) == float(found.silent) == 0.0
    for shift, held in ((1e-3, True), (-1e-3, False)):
        scaled = float(formula) * (1 + shift)
        near = rate.planar_equilibria(phi, *INHIBITED, scaled)
        assert bool((near.exists & (near.active > near.silent)).any()) == held


def test_a_memory_that_is_not_stable_has_no_critical_saliency():
    found = rate.critical_saliency_planar(Logistic(4.8, 0.8), *INHIBITED)
    assert not bool(found.exists) and np.isnan(found.saliency)


# Contraction


def test_contraction_and_its_limits():
    phi = Logistic()
    assert_close(
        rate.contraction_rate(phi, jnp.array([0.1, -3.0])), np.array([0.52, 1.0]), 1e-15, ""
    )
    W = np.random.default_rng(0).normal(size=(8, 8)) / 60
    found = rate.contraction_rate_max_norm(phi, W)
    rows = 4.8 * (np.diag(W) + abs(W).sum(1) - abs(np.diag(W)))
    assert_close(found, 1 - max(rows.max(), 0), 1e-14, WHY)
    # no Jacobian is less contracting in the maximum norm, and one is as much
    worst = -np.inf
    for corner in range(2**8):
        J = 4.8 * np.array([corner >> i & 1 for i in range(8)])[:, None] * W - np.eye(8)
        norm = (np.diag(J) + abs(J).sum(1) - abs(np.diag(J))).max()
        worst = max(worst, norm)
    assert_close(-worst, found, 1e-14, WHY)
    assert found > 0


# Dale's law


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "learning",
    [
        "projection",
        pytest.param("covariance", marks=SLOW),
        pytest.param("pseudo_inverse", marks=SLOW),
    ],
)
def test_dale_eigenvalues_are_those_of_the_extended_jacobian(learning):
    phi, a, b, mu, tau = Logistic(2.5, 0.3), 0.05, 0.9, 1, 2.0
    xi = sunflower(6, 0.2, 0.4, 25) if learning == "covariance" else sparse(4, 6, 25, 0.2)
    W = weights(xi, phi, a, b, learning)
    c = rate.dale_inhibition(xi, phi, a, b, learning)
    assert_close(c, -25 * W.min(), 1e-11, WHY)
    slope = curves(phi)[1](a + (b - a) * xi[mu])[:, None]
    J = np.block(
        [
            [slope * (W + float(c) / 25) - np.eye(25), -float(c) * slope],
            [np.full((1, 25), 1 / 25 / tau), np.array([[-1 / tau]])],
        ]
    )
    assert_close(rate.dale_jacobian(xi, phi, a, b, mu, tau, learning=learning), J, 1e-12, WHY)
    found = rate.dale_eigenvalues(xi, phi, a, b, mu, tau, learning=learning)
    mine = np.append(found.eigenvalues, np.full(26 - len(found.eigenvalues), -1.0))
    assert_close(falling(mine), falling(np.linalg.eigvals(J)), 1e-8, "defective -1")
    assert_close(found.greatest, falling(np.linalg.eigvals(J))[0], ROUNDING, WHY)


def test_fast_inhibition_is_the_plain_network():
    xi, design = balanced(0.2, 25), (Logistic(), 0.0, 0.95)
    plain = rate.memory_eigenvalues(xi, *design, 0)
    fast = rate.dale_eigenvalues(xi, *design, 0, 1e-7)
    assert_close(np.real(fast.eigenvalues[:-1]), plain.eigenvalues, 1e-5, "of order tau")
    assert_close(fast.eigenvalues[-1].real * 1e-7, -1.0, 1e-5, "of order tau")


def test_a_saturated_memory_is_stable_with_slow_inhibition():
    found = rate.dale_eigenvalues(balanced(0.2, 25), Logistic(), -0.3, 0.95, 0, 5.0)
    assert_close(found.greatest, -0.2, 1e-3, "almost saturated")
    assert bool(found.stable)
    assert np.isinf(rate.critical_inhibition(Logistic(), *INHIBITED))


def test_inhibition_of_the_balanced_set():
    for a in (-0.3, 0.1):
        c = rate.dale_inhibition(balanced(0.2, 25), Logistic(), a, 0.95)
        made = rate.design(Logistic(), a, 0.95, 0.2)
        assert_close(c, max(0.0, float(made.kappa - made.gamma)), 1e-12, WHY)


def test_critical_inhibition_is_where_the_memory_starts_to_oscillate():
    strong = (Logistic(1.25488, 0.09915), -0.2125, 0.96406, 41.285, 6)
    one = (Logistic(7.56547, 0.56775), -0.97698, 0.74785, None, 1)  # stable for P = 1 alone
    for phi, a, b, c, P in (strong, one):
        xi = balanced(0.2, 25)[:P]
        tau = float(rate.critical_inhibition(phi, a, b, 0.2, c))
        assert 0 < tau < 10
        for factor, stable in ((0.999, True), (1.001, False)):
            found = rate.dale_eigenvalues(xi, phi, a, b, 0, factor * tau, c)
            assert bool(found.stable) == stable
        at = rate.dale_eigenvalues(xi, phi, a, b, 0, tau, c)
        assert_close(at.greatest, 0.0, 1e-10, WHY)
        assert abs(at.eigenvalues[0].imag) > 0.1


# Random memories


def test_crosstalk_at_the_reference_values():
    fixed = rate.crosstalk(Logistic(), *INHIBITED, 14, 1000)
    assert_close(fixed.deviation, 0.057, 5e-4, "digits given")
    assert_close(fixed.margin, 0.5, 1e-12, "a = -0.3 from I* = 0.2")
    # 0.070 was measured over 20 draws, whose standard error is 0.0035
    bernoulli = rate.crosstalk(Logistic(), *INHIBITED, 14, 1000, "bernoulli")
    assert_close(bernoulli.deviation, 0.070, 2 * 0.0035, "standard error of the measurement")


@pytest.mark.parametrize("activity", ["fixed", "bernoulli"])
def test_crosstalk_is_the_noise_of_simulated_currents(activity):
    P, N, q, a, b, phi = 6, 200, 0.2, 0.1, 0.95, Logistic()
    f, _ = curves(phi)
    mean = (1 - q) * f(a) + q * f(b)
    alpha = (b - a) / (q * (1 - q) * (f(b) - f(a)))
    gamma = ((1 - q) * a + q * b) / mean
    rng, squares = np.random.default_rng(5), []
    for seed in range(1500):
        xi = sparse(seed, P, N, q) if activity == "fixed" else (rng.random((P, N)) < q) * 1.0
        rates = f(a + (b - a) * xi[0])
        current = alpha / N * (xi - q).T @ ((xi - q) @ rates) + gamma * rates.mean()
        squares.append(((current - a - (b - a) * xi[0]) ** 2).mean())
    error = np.std(squares) / len(squares) ** 0.5
    variance = float(rate.crosstalk(phi, a, b, q, P, N, activity).deviation) ** 2
    assert_close(np.mean(squares), variance, 4 * error, "four standard errors")
    assert error < 0.03 * variance


# Phase diagram


def test_phases_are_those_of_the_table_and_beyond():
    for kind, a, threshold, kappa, gamma, _, greatest in TABLE:
        found = rate.phase(4.8, threshold, a, 0.95, activation=kind)
        assert_close(found.eigenvalue, greatest, FOUR, "digits given")
        assert_close(found.kappa, kappa, FOUR, "digits given")
        assert_close(found.gamma, gamma, FOUR, "digits given")
        assert int(found.storage) == (2 if greatest < 0 else 0)
        assert (found.margin > 0) == bool(
            rate.stability(kind(4.8, threshold), a, 0.95, 0.2).sufficient
        )
    # stable, though the sufficient condition does not say so
    assert int(rate.phase(1.5, 0.2, 0.6, 0.9, 0.5, HardSigmoid).storage) in (0, 1)
    for bad in (
        (4.8, 0.2, 0.95, 0.95, 0.2),
        (-1.0, 0.2, -0.3, 0.95, 0.2),
        (4.8, 0.2, -0.3, 0.95, 1.0),
    ):
        found = rate.phase(*bad)
        assert int(found.storage) == -1 and not bool(found.stable) and np.isnan(found.eigenvalue)


def test_phases_of_a_grid():
    draw = np.random.default_rng(0).uniform
    columns = (draw(1, 10, 2000), draw(-0.2, 1, 2000), draw(-1, 1, 2000), draw(-1, 2, 2000))

    def eigenvalue(*columns):
        found = rate.phase(*columns)
        return found.eigenvalue, found

    run = jax.value_and_grad(eigenvalue, argnums=(0, 1, 2, 3), has_aux=True)
    (_, found), gradient = jax.jit(jax.vmap(run))(*columns)
    regime = np.asarray(found.storage)
    assert set(regime.tolist()) == {-1, 0, 1, 2}
    assert (np.asarray(found.stable) == (regime > 0)).all()
    assert (np.isnan(found.eigenvalue) == (regime < 0)).all()
    assert all(np.isfinite(part[regime >= 0]).all() for part in gradient)
    for i in range(10):
        alone = rate.phase(*(float(column[i]) for column in columns))
        for one, other in zip(alone, found, strict=True):
            np.testing.assert_allclose(one, other[i], rtol=1e-10, err_msg="fused differently")


# Derivatives, precision, imports


def differences(function, x, h):
    """The gradient by central differences of fourth order, one compilation for all."""
    run = jax.jit(function)
    slopes = []
    for direction in jnp.eye(len(x)):
        far, near = (run(x + k * h * direction) - run(x - k * h * direction) for k in (2, 1))
        slopes.append((8 * near - far) / (12 * h))
    return np.array(slopes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Logistic, HardSigmoid])
def test_derivatives_of_critical_saliencies(kind):
    def exact(x):
        return rate.critical_saliency_planar(kind(x[0], x[1]), x[2], x[3], x[4]).saliency

    def formula(x):
        return rate.critical_saliency(kind(x[0], x[1]), x[2], x[3], x[4]).saliency

    x = jnp.array([4.0, 0.3, -0.4, 0.9, 0.25])
    for function in (exact, formula):
        gradient, expected = jax.jit(jax.grad(function))(x), differences(function, x, 1e-3)
        assert_close(gradient, expected, 1e-8, "h^4 and rounding over h")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Logistic, HardSigmoid])
def test_derivatives_of_planar_equilibria(kind):
    def function(x):
        phi = kind(x[0], x[1])
        found = rate.planar_equilibria(phi, x[2], 0.95, 0.2, x[3], 0.05, -0.02)
        return jnp.nansum(jnp.sin(3 * found.active) + found.silent + found.eigenvalues[:, 0])

    x = jnp.array([4.0, 0.25, 0.05, 0.9])
    gradient, expected = jax.jit(jax.grad(function))(x), differences(function, x, 1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, err_msg="rounding over h")


@pytest.mark.slow
def test_derivatives_of_eigenvalues():
    xi = sparse(6, 6, 25, 0.2)

    def function(x):
        phi = Logistic(x[0], x[1])
        found = rate.memory_eigenvalues(xi, phi, x[2], x[3], 1)
        values = found.eigenvalues  # several are equal: taken together they are smooth
        return values.sum() + (values**3).sum() + found.greatest

    x = jnp.array([2.5, 0.3, 0.1, 0.9])
    gradient, expected = jax.jit(jax.grad(function))(x), differences(function, x, 2e-4)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, err_msg="h^4 and rounding over h")


@pytest.mark.slow
def test_float32_stays_float32():
    phi = eqx.tree_at(lambda p: (p.gain, p.threshold), HardSigmoid(), replace_fn=jnp.float32)
    a, b, q = (jnp.float32(v) for v in INHIBITED)
    results = [
        rate.stability(phi, a, b, q),
        rate.balanced_spectrum(phi, a, b, q),
        rate.planar_equilibria(phi, a, b, q),
        rate.critical_saliency(phi, a, b, q),
        rate.critical_inhibition(phi, a, b, q),
        rate.crosstalk(phi, a, b, q, 5, 100),
        rate.memory_eigenvalues(balanced(0.2, 25).astype(np.float32), phi, a, b, 0),
    ]
    for leaf in jax.tree.leaves(results):
        assert leaf.dtype != jnp.float64


@pytest.mark.slow
def test_it_is_imported_when_it_is_used():
    code = """
import sys, hopfax
before = "hopfax.theory.rate" in sys.modules
print(before, hopfax.theory.rate.__name__, "rate" in dir(hopfax.theory))
"""
    assert run_python(code) == "False hopfax.theory.rate True"


# Bad input


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.95, 0.95, 0.2), "`a`, the current of silent neurons, must be below `b`"),
        ((-0.3, 0.95, 0.0), r"`q` must be the activity of the memories, in \(0, 1\), but is 0"),
        ((-0.3, 0.95, 1.2), "`q` must be"),
        ((-0.3, 0.95, 0.2, 1.0), "`r` must be the overlap"),
        ((-0.3, 0.95, 0.2, -0.1), "`r` must be the overlap"),
        ((-0.3, np.nan, 0.2), "`b` must not be nan"),
        ((-0.3, 0.1, 0.2), "must lead to different rates, but phi"),
    ],
)
def test_a_design_that_does_not_exist_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        rate.design(HardSigmoid(), *arguments)


class Step(hx.AbstractRateActivation):
    gain: jax.Array
    threshold: jax.Array
    ceiling = 1.0

    def __call__(self, y):
        return (y > self.threshold).astype(y.dtype)

    def slope(self, y):
        return y * 0

    def inverse(self, x):
        return x * 0

    def potential(self, x):
        return x * 0


def test_bad_input(as_a_user_runs_it):
    phi, xi = Logistic(), balanced(0.2, 25)
    step = Step(jnp.ones(()), jnp.ones(()) / 2)
    with pytest.raises(TypeError, match="`phi` must be a rate activation"):
        rate.stability(np.tanh, -0.3, 0.95, 0.2)
    with pytest.raises(TypeError, match="`phi` must be one of Logistic"):
        rate.planar_equilibria(step, -0.3, 0.95, 0.2)
    assert bool(rate.stability(step, -0.3, 0.95, 0.2).sufficient)  # any activation will do here
    with pytest.raises(TypeError, match="`activation` must be a class"):
        rate.phase(4.8, 0.2, -0.3, 0.95, activation=Logistic())
    with pytest.raises(ValueError, match="`a` must have shape"):
        rate.planar_equilibria(phi, jnp.array([-0.3, 0.1]), 0.95, 0.2)
    with pytest.raises(ValueError, match="`learning` must be one of 'covariance'"):
        rate.spectrum(phi, -0.3, 0.95, 0.2, learning="pseudo_inverse")
    with pytest.raises(ValueError, match="`learning` must be one of 'projection'"):
        rate.memory_eigenvalues(xi, phi, -0.3, 0.95, 0, "hebb")
    with pytest.raises(ValueError, match="only 0 and 1"):
        rate.memory_eigenvalues(2 * xi - 1, phi, -0.3, 0.95, 0)
    with pytest.raises(ValueError, match="`mu` must be one of the 6 memories, 0..5, but is 6"):
        rate.memory_eigenvalues(xi, phi, -0.3, 0.95, 6)
    with pytest.raises(ValueError, match=r"`xi` must have shape \(P, N\)"):
        rate.memory_eigenvalues(xi[0], phi, -0.3, 0.95, 0)
    uneven = xi.copy()
    uneven[0, -1] = 1
    uneven[0, -2] = 1
    with pytest.raises(ValueError, match="equally many active neurons.*pseudo_inverse"):
        rate.memory_eigenvalues(uneven, phi, -0.3, 0.95, 0)
    with pytest.raises(ValueError, match="linearly independent.*2 of them span 1"):
        rate.memory_eigenvalues(xi[[0, 0]], phi, -0.3, 0.95, 0)
    with pytest.raises(ValueError, match="`tau` must be > 0"):
        rate.dale_eigenvalues(xi, phi, -0.3, 0.95, 0, 0.0)
    with pytest.raises(ValueError, match="`inhibition` must be >= 0"):
        rate.critical_inhibition(phi, -0.3, 0.95, 0.2, -1.0)
    with pytest.raises(ValueError, match=r"`weights` must have shape \(N, N\)"):
        rate.contraction_rate_max_norm(phi, np.ones((2, 3)))
    with pytest.raises(ValueError, match="`activity` must be one of"):
        rate.crosstalk(phi, -0.3, 0.95, 0.2, 4, 100, "gaussian")
    with pytest.raises(ValueError, match="`N` must be a whole number >= 2"):
        rate.crosstalk(phi, -0.3, 0.95, 0.2, 4, 1)
