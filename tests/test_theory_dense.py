"""The theory of dense memory against closed forms, quadrature, simulation and itself."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import erf
from scipy.stats import binom

import hopfax as hx
from hopfax import (
    Exponential,
    ManyBody,
    Power,
    Quadratic,
    RectifiedPower,
    Simplicial,
    Softmax,
)
from hopfax.theory import dense
from hopfax.theory.dense._finite import finite
from hopfax.theory.dense._moments import moment_of_signs

DIGITS9 = 6e-10  # half a unit in the last of 9 decimals, and rounding
#: What quasi-random paths are off: four of their standard errors, and the rounding of float32.
SPREAD, ROUNDING = 4, 2e-6


def scaled(interaction, alpha):
    """The load at scaled load `alpha`."""
    return alpha / dense.kernel(interaction)(jnp.ones(()))


def close(value, expected, atol):
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol)


# Kernels


def gaussian_pair(f, g, C, p=None):
    """E f(x) g(y) of unit Gaussians of correlation C, by product quadrature."""
    x, w = hermegauss(60)
    w = w / w.sum()
    X, Y = x[:, None], C * x[:, None] + math.sqrt(1 - C**2) * x[None]
    return (w[:, None] * w[None] * f(X) * g(Y)).sum()


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("C", [-0.6, 0.3, 0.9])
def test_power_kernel_is_a_gaussian_moment_and_its_slope_that_of_the_derivatives(n, C):
    model, p = dense.kernel(Power(n)), n - 1
    # the quadrature is exact for polynomials; rtol is rounding
    power = lambda x: x**p  # noqa: E731
    np.testing.assert_allclose(model(jnp.asarray(C)), gaussian_pair(power, power, C), rtol=1e-11)
    slope = lambda x: p * x ** (p - 1)  # noqa: E731
    np.testing.assert_allclose(
        model.slope(jnp.asarray(C)), gaussian_pair(slope, slope, C), rtol=1e-11
    )
    double_factorial = math.prod(range(2 * p - 1, 0, -2))
    np.testing.assert_allclose(model(jnp.ones(())), double_factorial, rtol=1e-13)


def test_kernels_at_one_half():
    at = [(Power(3), 1.5, 2), (Power(4), 5.25, 13.5), (Power(5), 28.5, 84)]
    at += [(ManyBody(3), 0.5, 2), (ManyBody(4), 0.75, 4.5), (Quadratic(), 0.5, 1)]
    at += [(Power(2), 0.5, 1), (ManyBody(2), 0.5, 1)]
    for interaction, value, slope in at:
        model = dense.kernel(interaction)
        close(model(jnp.asarray(0.5)), value, 1e-13)
        close(model.slope(jnp.asarray(0.5)), slope, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 4, 5])
def test_rectified_kernel(n):
    model, p = dense.kernel(RectifiedPower(n)), n - 1
    # half the power kernel at C = 1, nothing at C = -1, a product of means at C = 0
    one = math.prod(range(2 * p - 1, 0, -2)) / 2
    mean = 2 ** (p / 2) * math.gamma((p + 1) / 2) / (2 * math.sqrt(math.pi))
    close(model(jnp.asarray([1.0, -1.0, 0.0])), [one, 0.0, mean**2], 1e-10)
    slopes = model.slope(jnp.asarray([1.0, -1.0]))
    close(slopes, [p**2 * math.prod(range(2 * p - 3, 0, -2)) / 2, 0.0], 1e-10)
    # trapezoidal rule on the positive quadrant; error of its edge (h^2)
    x = np.linspace(0, 9, 1801)
    C, h = 0.4, x[1]
    density = np.exp(-(x[:, None] ** 2 + x**2 - 2 * C * x[:, None] * x) / (2 * (1 - C**2)))
    total = (x[:, None] ** p * x**p * density).sum() * h**2 / (2 * np.pi * np.sqrt(1 - C**2))
    close(model(jnp.asarray(C)), total, 1e-6)


def test_variances_enter_a_kernel_homogeneously():
    for interaction, degree in ((Power(3), 2), (Power(4), 3), (RectifiedPower(4), 3)):
        model = dense.kernel(interaction)
        a, b, C = (jnp.asarray(v) for v in (0.7, 1.8, 0.5))
        size = jnp.sqrt(a * b)
        np.testing.assert_allclose(model(C, a, b), size**degree * model(C / size), rtol=1e-12)
        np.testing.assert_allclose(
            model.slope(C, a, b), size ** (degree - 1) * model.slope(C / size), rtol=1e-12
        )


def test_a_mixture_of_orders():
    model = dense.kernel(Simplicial({4: 0.8, 3: -0.5, 1: 2.0}))
    C = jnp.asarray(0.3)
    expected = 0.8**2 * 6 * 0.3**3 + (3 / 4 * 0.5) ** 2 * 2 * 0.3**2 + (2 / 4) ** 2
    np.testing.assert_allclose(model(C), expected, rtol=1e-13)
    np.testing.assert_allclose(model.signal(C), 0.8 * 0.3**3, rtol=1e-13)
    pure, plain = dense.kernel(Simplicial({4: 1.0})), dense.kernel(ManyBody(4))
    np.testing.assert_allclose(pure(C), plain(C), rtol=1e-14)


def own_kernel(C):
    return 1 + 2 * C**2


def test_a_kernel_of_your_own():
    model = dense.Kernel(own_kernel, 3)  # that of Power(3)
    for mine, theirs in zip(
        dense.first_steps(model, 0.08, 0.8, 2),
        dense.first_steps(Power(3), 0.08, 0.8, 2),
        strict=True,
    ):
        close(mine, theirs, 1e-13)


# Memoryless theory


@pytest.mark.parametrize(
    "n, overlap, scaled_load, power, many_body",
    [
        (3, 0.83848227257559, 0.25219043077067, 0.084063476923557, 0.12609521538534),
        (4, 0.91792194016309, 0.19786011919538, 0.013190674613025, 0.032976686532564),
        (5, 0.94724252458237, 0.17277255401901, 0.0016454528954192, 0.0071988564174589),
        (6, 0.96198723501239, 0.15767953657619, 0.00016685665246158, 0.001313996138135),
        (7, 0.97069247344988, 0.14734517145717, 1.4174619668799e-5, 0.00020464607146828),
        (8, 0.97636905906670, 0.13970033273052, 1.0337834959894e-6, 2.7718319986215e-5),
    ],
)
def test_capacity(n, overlap, scaled_load, power, many_body):
    result = dense.capacity(Power(n))
    # the digits that are known
    close(result.overlap, overlap, 1e-10)
    close(result.scaled, scaled_load, 1e-12)
    np.testing.assert_allclose(result.load, power, rtol=1e-12)
    np.testing.assert_allclose(dense.capacity(ManyBody(n)).load, many_body, rtol=1e-12)
    np.testing.assert_allclose(dense.capacity(RectifiedPower(n)).load, 2 * power, rtol=1e-12)


def test_capacity_of_order_two():
    result = dense.capacity(Quadratic())
    close(result.load, 0.13790556649, 1e-11)
    close(result.overlap, 0.96741711569, 1e-9)  # flat: half the digits of the load


def test_capacity_of_a_mixture_moves_with_its_weights():
    mixture = Simplicial({3: 1.0, 2: 0.5})

    def load(b):
        return dense.capacity(eqx.tree_at(lambda s: s.weights[3], mixture, jnp.asarray(b))).load

    b = 1.3
    # by hand: signal b m^2, noise 2 b^2 C^2 + (2/3)^2 / 4 C
    np.testing.assert_allclose(load(b), 0.25219043077067 * b**2 / (2 * b**2 + 1 / 9), rtol=1e-12)
    slope = (load(b + 1e-5) - load(b - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(load)(b), slope, rtol=1e-8)  # step^2 and rounding / step


def test_map_iterates():
    close(
        dense.map_trajectory(Power(3), 0.05, 0.6, 6)[1:],
        [0.647378264343, 0.720795448060, 0.820229567110, 0.917630754625, 0.970306424143]
        + [0.984939813493],
        1e-12,
    )
    starts = dense.map_trajectory(Power(3), 0.08, np.array([0.8, 0.9]), 4)
    close(starts[0, 1:], [0.808581574762, 0.817983584904, 0.827994746139, 0.838314341807], 1e-12)
    close(starts[1], dense.map_trajectory(ManyBody(3), 0.12, 0.9, 4), 1e-13)
    close(
        dense.map_trajectory(Power(4), 0.01, 0.85, 3)[1:],
        [0.887184434779, 0.928612036286, 0.961318213412],
        1e-12,
    )


def test_map_fixed_points():
    alpha = np.array([0.05, 0.10, 0.15, 0.20, 0.24, 0.2521, 0.2523])
    points = dense.map_fixed_points(Power(3), alpha / 3)
    unstable = [0.2865626645, 0.4162553703, 0.527466222, 0.6394475353, 0.7534240715]
    stable = [0.9999922533, 0.9983786117, 0.9883343099, 0.9611385943, 0.9066108251]
    close(points.unstable[:5], unstable, 6e-11)
    close(points.stable[:5], stable, 6e-11)
    assert list(np.asarray(points.exists)) == [True] * 6 + [False]
    assert np.isnan(points.stable[6]) and np.isnan(points.unstable[6])
    for side in (points.unstable, points.stable):
        moved = dense.map_step(Power(3), alpha[:6] / 3, side[:6])
        close(moved, side[:6], 1e-9)  # a fold magnifies the rounding of m


def test_fixed_points_of_order_two_solve_the_resummed_equations():
    points = dense.map_fixed_points(Quadratic(), 0.1)
    for m in points[:2]:  # R = alpha / (1 - chi)^2, m = erf(m / sqrt(2R))
        y = float(jax.scipy.special.erfinv(m))
        R = (float(m) / y) ** 2 / 2
        chi = math.sqrt(2 / (math.pi * R)) * math.exp(-(y**2))
        np.testing.assert_allclose(0.1 / (1 - chi) ** 2, R, rtol=1e-9)
    top = dense.capacity(Quadratic()).load
    assert dense.map_fixed_points(Quadratic(), top - 1e-9).exists
    assert not dense.map_fixed_points(Quadratic(), top + 1e-9).exists


@pytest.mark.parametrize("side", ["unstable", "stable"])
@pytest.mark.parametrize("interaction, load", [(Power(3), 0.06), (Quadratic(), 0.1)])
def test_fixed_points_are_differentiable(interaction, load, side):
    value = lambda load: getattr(dense.map_fixed_points(interaction, load), side)  # noqa: E731
    slope = (value(load + 1e-6) - value(load - 1e-6)) / 2e-6
    # rounding / step
    np.testing.assert_allclose(jax.grad(value)(load), slope, rtol=1e-6)


def test_a_negative_signal_retrieves_nothing():
    interaction = Simplicial({3: -1.0})
    assert np.isnan(dense.capacity(interaction).load)
    assert not dense.map_fixed_points(interaction, 0.01).exists


# First steps by quadrature

FIRST_STEPS = [
    (Power(3), 0.15, 0.6, [0.647378264, 0.775336701, 0.871792272, 0.945723268]),
    (Power(3), 0.24, 0.8, [0.808581575, 0.877007068, 0.887336012, 0.906038944]),
    (Power(3), 0.30, 0.9, [0.860819833, 0.887780419, 0.869730476, 0.874940644]),
    (Power(3), 0.30, 1.0, [0.932110845, 0.923863004, 0.906717505, 0.904255339]),
    (Power(4), 0.20, 0.95, [0.944780967, 0.961540026, 0.956383746, 0.958644096]),
    (ManyBody(3), 0.24, 0.8, [0.808581575, 0.894500971, 0.904692591, 0.928033521]),
    (ManyBody(4), 0.20, 0.95, [0.944780967, 0.969517211, 0.962533169, 0.966943869]),
]


@pytest.mark.slow
@pytest.mark.parametrize("interaction, alpha, m0, overlaps", FIRST_STEPS)
def test_first_steps(interaction, alpha, m0, overlaps):
    result = dense.first_steps(interaction, scaled(interaction, alpha), m0)
    close(result.overlap, [m0, *overlaps], 2 * DIGITS9)


def test_first_overlaps_and_responses():
    result = dense.first_steps(Power(3), 0.08, 0.8)
    C = np.eye(4)
    C[1, 0], C[2, 0], C[2, 1] = 0.646865260, 0.736543299, 0.793586339
    C[3] = 0.709868810, 0.868876322, 0.869604396, 1
    close(result.correlation, C + C.T - np.eye(4), 2 * DIGITS9)
    G, Gam = np.zeros((4, 4)), np.zeros((4, 4))
    G[1, 0], G[2, 1], G[3, 0], G[3, 2] = 0.693803494, 0.484410278, 0.126114223, 0.362697582
    Gam[1, 0], Gam[2, 1], Gam[3, 0], Gam[3, 2] = 0.143615161, 0.123014842, 0.028647857, 0.100929092
    close(result.response, G, 2 * DIGITS9)
    close(result.feedback, Gam, 2 * DIGITS9)
    other = dense.first_steps(ManyBody(3), 0.12, 0.8)
    close(other.correlation[[2, 3], [1, 2]], [0.765273478, 0.854722663], 2 * DIGITS9)
    close(other.response[3], [0.120485019, 0, 0.317471869, 0], 2 * DIGITS9)
    close(other.feedback[1, 0], 0.215422741, 2 * DIGITS9)


@pytest.mark.slow
def test_fewer_steps_are_the_same_steps():
    four = dense.first_steps(Power(3), 0.08, 0.8)
    for steps in (2, 3):
        fewer = dense.first_steps(Power(3), 0.08, 0.8, steps)
        close(fewer.overlap, four.overlap[: steps + 1], 1e-15)
        for mine, all_of_them in zip(fewer[1:], four[1:], strict=True):
            close(mine, all_of_them[:steps, :steps], 1e-15)


def test_first_steps_of_order_two():
    close(dense.first_steps(Quadratic(), 0.2, 0.9, 2).overlap[2], 0.93503, 6e-6)
    close(dense.first_steps(Quadratic(), 0.12, 0.6, 2).overlap[2], 0.95697, 6e-6)
    result = dense.first_steps(Quadratic(), 0.08, 0.4, 2)
    close(result.overlap[2], 0.93325, 4e-5)
    close(result.feedback[1, 0], 0.08 * result.response[1, 0], 1e-15)


def test_first_steps_with_an_input():
    model = dense.input_driven_kernel()
    result = dense.first_steps(model, 0.15, 0.5, 2, stimulus_overlap=0.8)
    close(result.overlap, [0.5, 0.631312, 0.835075], 6e-7)
    result = dense.first_steps(model, 0.15, 0.5, 2, stimulus_overlap=0.802083)
    close(result.overlap[1:], [0.632255, 0.836026], 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("interaction", [Power(3), Quadratic()])
def test_first_steps_are_differentiable_under_vmap_and_nan_out_of_range(interaction):
    steps = 2 if interaction.order == 2 else 4

    def overlaps(load, m0):
        found = dense.first_steps(interaction, load, m0, steps).overlap
        return found[1:], found

    load, m0 = float(scaled(interaction, 0.2)), 0.8
    d, e = 1e-4 * load, 1e-5
    points = np.array([load, load + d, load - d, load, load, load / 4, -0.1, load])
    starts = np.array([m0, m0, m0, m0 + e, m0 - e, 0.3, m0, 1.5])
    slopes = jax.jacfwd(overlaps, argnums=(0, 1), has_aux=True)
    (by_load, by_m0), many = jax.jit(jax.vmap(slopes))(points, starts)
    # central differences: error step^2 f''' / 6 and 1e-13 / step
    slope = (many[1, 1:] - many[2, 1:]) / (2 * d)
    np.testing.assert_allclose(by_load[0], slope, rtol=2e-6, atol=1e-7)
    slope = (many[3, 1:] - many[4, 1:]) / (2 * e)
    np.testing.assert_allclose(by_m0[0], slope, rtol=1e-6, atol=1e-7)
    for i in (0, 5):
        close(many[i], dense.first_steps(interaction, points[i], starts[i], steps).overlap, 1e-14)
    assert np.isnan(many[6:]).all()


# The effective neuron on paths


#: One program for most tests of signs at order 3: the number of programs is what takes time.
PATHS = {"steps": 6, "paths": 2**15}
#: The same for longer horizons.
EDGE = {"steps": 12, "paths": 2**10}


@pytest.fixture(scope="module")
def moderate():
    """n = 3, scaled load 0.24, from overlap 0.8."""
    return dense.solve_gfa(Power(3), 0.08, 0.8, **PATHS)


@pytest.mark.slow
def test_paths_agree_with_quadrature(moderate):
    exact = dense.first_steps(Power(3), 0.08, 0.8)
    error = np.asarray(moderate.error[:5])
    assert (error < 2e-4).all()
    close(moderate.overlap[:5], exact.overlap, SPREAD * 2e-4)
    assert (abs(moderate.overlap[:5] - exact.overlap) <= SPREAD * error + ROUNDING).all()
    # overlaps C are plain means over paths: a few 1e-4
    close(moderate.correlation[:4, :4], exact.correlation, 1e-3)
    close(moderate.correlation[4, [0, 2]], [0.735193781, 0.931636457], 1e-3)
    close(moderate.response[:4, :4], exact.response, 5e-4)
    close(moderate.feedback[:4, :4], exact.feedback, 5e-4)


def effective_neuron(interaction, load, m0, steps, *, beta=None, phi=None, S=100_000, seed=0):
    """The same theory by plain Monte Carlo in NumPy, with other means: the whole covariance is
    factored anew at each step and the response is measured by shifting single fields."""
    rng = np.random.default_rng(seed)
    model, delta = dense.kernel(interaction), 0.1
    h = [np.where(rng.random(S) < (1 + m0) / 2, 1.0, -1.0)]
    z, u = rng.standard_normal((steps, S)), rng.random((steps, S))
    m, G = [m0], np.zeros((steps, steps))

    def path(t_end, L, Gam, kick=None):
        """Answers and the last mean under a field `kick` = (time, size)."""
        answers = [h[0]]
        for t in range(t_end + 1):
            field = float(model.signal(jnp.asarray(m[t]))) + L[t, :t] @ z[:t]
            field = field + sum(Gam[t, s] * answers[s] for s in range(t))
            if kick is not None and kick[0] == t:
                field = field + kick[1]
            full = field + L[t, t] * z[t]
            if phi is not None:
                answers.append(phi(full))
                mean = answers[-1].mean()
            elif beta is not None:
                answers.append(np.where(u[t] < (1 + np.tanh(beta * full)) / 2, 1.0, -1.0))
                mean = np.tanh(beta * full).mean()
            else:
                answers.append(np.where(full > 0, 1.0, -1.0))
                mean = erf(field / (2**0.5 * L[t, t])).mean()
        return answers, mean

    for t in range(steps):
        H = np.array(h)
        C = jnp.asarray(H @ H.T / S)
        g = G[: t + 1, : t + 1]
        if model.resummed:
            B = np.linalg.inv(np.eye(t + 1) - g)
            R, Gam = load * B @ C @ B.T, load * B @ g
        else:
            square = jnp.diagonal(C)
            a, b = jnp.broadcast_arrays(square[:, None], square[None])
            variances = (a, b) if phi is not None else ()
            R, Gam = load * model(C, *variances), load * model.slope(C, *variances) * g
        # neurons that no longer move make it singular
        L, Gam = np.linalg.cholesky(R + 1e-9 * np.eye(t + 1)), np.asarray(Gam)
        answers, mean = path(t, L, Gam)
        h.append(answers[-1])
        m.append(mean)
        if t + 1 < steps:
            for s in range(t + 1):
                up, down = (path(t, L, Gam, (s, sign * delta))[1] for sign in (1, -1))
                G[t + 1, s] = (up - down) / (2 * delta)
    return np.array(m), G


SETTINGS = {
    "signs": (Power(3), 0.1, 0.9, PATHS, {}),
    "n-body": (ManyBody(4), 0.03, 0.95, {"steps": 5, "paths": 2**13}, {}),
    "order 2": (Quadratic(), 0.2, 0.9, {"steps": 6, "paths": 2**14}, {}),
    "Glauber": (Power(3), 0.06, 0.8, {"steps": 5, "paths": 2**13, "beta": 4.0}, {"beta": 4.0}),
    "graded": (
        Power(3),
        0.06,
        0.8,
        {"steps": 5, "paths": 2**13, "activation": hx.Tanh(3.0)},
        {"phi": lambda u: np.tanh(3 * u)},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_paths_agree_with_plain_monte_carlo(name):
    interaction, load, m0, options, others = SETTINGS[name]
    mine = dense.solve_gfa(interaction, load, m0, **options)
    m, G = effective_neuron(interaction, load, m0, 5, **others)
    # 1e5 samples: 3e-3 in C, less in m of the next step, and it grows along the trajectory
    close(mine.overlap[:6], m, 5e-3)
    # shifts of 0.1: bias of second order, up to 1 %, and 7e-3 of noise
    close(mine.response[:5, :5], G, 1.5e-2)
    assert (abs(G) > 0.05).sum() >= 4  # there is something to compare
    if name in ("Glauber", "graded"):  # a one-dimensional integral against 2^13 Sobol points
        gain = 4 if name == "Glauber" else 3
        x, w = hermegauss(120)
        phi = np.tanh(gain * (0.64 + math.sqrt(3 * 0.06) * x))
        close(mine.overlap[1], w @ phi / w.sum(), 1e-4)
        if name == "graded":
            close(mine.correlation[1, 1], w @ phi**2 / w.sum(), 1e-4)


def test_trajectories_of_order_two():
    result = dense.solve_gfa(Quadratic(), 0.2, 0.9, 6, paths=2**14)
    # simulation, N = 8192, M - 1 = 0.2 N, 150 networks of 8 runs; four standard errors
    simulated = [0.95576, 0.93490, 0.90700, 0.87758, 0.84570, 0.81204]
    errors = np.array([0.00011, 0.00020, 0.00031, 0.00044, 0.00056, 0.00068])
    assert (abs(result.overlap[1:] - np.array(simulated)) < SPREAD * errors + 5e-4).all()
    exact = dense.first_steps(Quadratic(), 0.2, 0.9, 2)
    close(result.overlap[:3], exact.overlap, 2e-4)
    result = dense.solve_gfa(Quadratic(), 0.12, 0.6, 6, paths=2**14)
    close(result.overlap[1:5], [0.9167, 0.95697, 0.9728, 0.9810], 2e-3)  # plain Monte Carlo
    result = dense.solve_gfa(Quadratic(), 0.08, 0.4, 6, paths=2**14)
    close(result.overlap[1:5], [0.8427, 0.93325, 0.9799, 0.9968], 2e-3)


def test_self_coupling_of_order_two():
    result = dense.solve_gfa(Quadratic(), 0.1, 0.5, 2, paths=2**14, self_coupling=True)
    # by hand: the first field m0 + alpha h(0) + v is a mixture of two Gaussians
    s, p = np.array([1, -1]), np.array([0.75, 0.25])
    close(result.overlap[1], p @ erf((0.5 + 0.1 * s) / math.sqrt(0.2)), 1e-4)
    close(jnp.diagonal(result.feedback), [0.1, 0.1], 1e-12)


def test_an_input_driven_trajectory():
    model = dense.input_driven_kernel()
    result = dense.solve_gfa(model, 0.15, 0.5, 6, paths=2**13, stimulus_overlap=0.8)
    exact = dense.first_steps(model, 0.15, 0.5, 2, stimulus_overlap=0.8)
    close(result.overlap[:3], exact.overlap, 2e-4)
    # plain Monte Carlo of an independent program, three digits
    close(result.overlap[3:], [0.8166, 0.8537, 0.8343, 0.8505], 3e-3)


def test_even_lags_do_not_respond(moderate):
    T = moderate.feedback.shape[0]
    lag = np.arange(T + 1)[:, None] - np.arange(T)[None]
    assert (np.asarray(moderate.response)[(lag % 2 == 0) | (lag < 0)] == 0).all()
    assert (np.asarray(moderate.response)[(lag % 2 == 1) & (lag > 0)] > 0).all()


def test_overlaps_of_signs_are_a_gram_matrix(moderate):
    C = np.asarray(moderate.correlation)
    close(C, C.T, 0)
    close(np.diagonal(C), 1, ROUNDING)
    assert np.linalg.eigvalsh(C).min() > -ROUNDING


def test_long_trajectories():
    result = dense.solve_gfa(Power(3), 0.08, 1.0, 20, paths=2**12)
    # an independent program at 2^15 paths; it and a third one differ by up to 2e-3
    tolerance = 3e-3 + SPREAD * np.asarray(result.error)[[5, 10, 20]]
    at = np.asarray(result.overlap)[[5, 10, 20]]
    assert (abs(at - [0.9424, 0.9389, 0.9351]) < tolerance).all()
    assert result.error.max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "interaction, alpha, times, overlaps",
    [
        (Power(3), 0.24, (5, 10, 20, 40), (0.9424, 0.9389, 0.9351, 0.9330)),
        (Power(3), 0.30, (5, 10, 20, 40, 60), (0.8945, 0.8821, 0.8676, 0.8550, 0.8480)),
        (ManyBody(3), 0.30, (5, 10, 20, 40), (0.9092, 0.9060, 0.8969, 0.8890)),
        (Power(4), 0.20, (5, 10, 20, 40), (0.9627, 0.9592, 0.9575, 0.9558)),
    ],
)
def test_very_long_trajectories(interaction, alpha, times, overlaps):
    load = scaled(interaction, alpha)
    result = dense.solve_gfa(interaction, load, 1.0, times[-1], paths=2**14)
    # as above
    tolerance = 3e-3 + SPREAD * np.asarray(result.error)[list(times)]
    assert (abs(np.asarray(result.overlap)[list(times)] - overlaps) < tolerance).all()


def test_a_diagram_is_the_loop_over_its_points_and_nan_out_of_range():
    def solve(load, m0):
        return dense.solve_gfa(Power(3), load, m0, 5, paths=2**8, scrambles=1)

    loads, starts = jnp.array([0.03, 0.08, 0.2, -0.1, 0.1]), jnp.array([0.5, -0.8, 1.0, 0.5, 1.5])
    many = jax.jit(jax.vmap(solve))(loads, starts)
    for i in range(3):
        one = solve(loads[i], starts[i])
        close(many.overlap[i], one.overlap, 1e-5)  # float32 sums in another order
    assert np.isnan(one.error).all() and np.isfinite(one.overlap).all()  # one scramble, no spread
    assert np.isnan(many.overlap[3:]).all()


def test_odd_orders_pull_the_negative_of_a_memory_to_the_memory():
    result = dense.solve_gfa(Power(3), 0.01, -0.9, **PATHS)
    assert result.overlap[5] > 0.99
    result = dense.solve_gfa(RectifiedPower(4), 0.001, -0.9, 5, paths=2**8)
    assert abs(result.overlap[-1]) < 0.1


def test_frozen_trajectories_stay_regular():
    result = dense.solve_gfa(Power(3), 1e-4, 1.0, **EDGE)
    close(result.overlap, 1, ROUNDING)
    assert all(np.isfinite(part).all() for part in result)


def test_another_seed_is_another_estimate(moderate):
    again, other = (dense.solve_gfa(Power(3), 0.08, 0.8, **PATHS, seed=s).overlap for s in (0, 1))
    assert (moderate.overlap == again).all() and (moderate.overlap[3:] != other[3:]).all()


@pytest.mark.slow
def test_float32_is_enough(moderate):
    single = [jnp.asarray(value, jnp.float32) for value in (0.08, 0.8)]
    result = dense.solve_gfa(Power(3), *single, **PATHS)
    assert {part.dtype for part in result} == {jnp.dtype("float32")}
    # a few signs of 2^15 may turn over
    close(result.overlap, moderate.overlap, 1e-4)
    steps = dense.first_steps(Power(3), *single)
    assert {part.dtype for part in steps} == {jnp.dtype("float32")}
    close(steps.overlap, dense.first_steps(Power(3), 0.08, 0.8).overlap, 1e-5)
    assert dense.map_fixed_points(Power(3), single[0]).stable.dtype == jnp.float32
    close(dense.map_fixed_points(Power(3), single[0]).stable, 0.9066108251, 1e-5)
    assert dense.exponential_load(single[1], single[0]).one_step.dtype == jnp.float32


@pytest.mark.parametrize(("load", "steps", "gain"), [(0.05, 40, 3.0), (0.2, 40, 1.5)])
def test_graded_units_at_rest_stay_there(load, steps, gain):
    """Both once went off: a trajectory at rest brings no new noise, and rounding errors grew."""
    runs = []
    for dtype in (jnp.float32, jnp.float64):
        at = [jnp.asarray(value, dtype) for value in (load, 0.6)]
        units = {"activation": hx.Tanh(gain), "paths": 2**8, "scrambles": 2}
        runs.append(dense.solve_gfa(Quadratic(), *at, steps, **units))
    single, double = runs
    # 4e-6 at rest, for the noise that is added; above capacity less than the spread of scrambles
    close(single.overlap, double.overlap, 1e-5 + 2 * double.error.max())


# Derivatives


def test_graded_units_are_differentiable():
    def overlap(load, m0, gain):
        activation = hx.Tanh(gain)
        run = dense.solve_gfa(Power(3), load, m0, 4, paths=2**8, scrambles=2, activation=activation)
        return run.overlap[-1]

    at = [jnp.asarray(value) for value in (0.06, 0.8, 3.0)]
    run = jax.jit(jax.value_and_grad(overlap, argnums=(0, 1, 2)))
    for i, slope in enumerate(run(*at)[1]):
        up, down = list(at), list(at)
        up[i], down[i] = at[i] * (1 + 1e-5), at[i] * (1 - 1e-5)
        # the derivative of the estimate itself: step^2 and rounding / step
        difference = (run(*up)[0] - run(*down)[0]) / (2e-5 * at[i])
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"beta": 4.0}, {"activation": hx.HardTanh(2.0)}])
def test_sampled_signs_refuse_to_be_differentiated(options):
    def overlap(load, m0):
        return dense.solve_gfa(Power(3), load, m0, 2, paths=2**6, **options).overlap[-1]

    for argument in (0, 1):
        for transform in (jax.grad, jax.jacfwd):
            with pytest.raises(TypeError, match="first_steps"):
                transform(overlap, argnums=argument)(0.05, 0.8)
            with pytest.raises(TypeError, match="first_steps"):
                jax.jit(transform(overlap, argnums=argument))(0.05, 0.8)


# Edges of retrieval


@pytest.mark.slow
def test_basin_edge():
    T, paths = EDGE["steps"], EDGE["paths"]
    found = {
        alpha: dense.basin_edge(Power(3), alpha / 3, T, paths=paths) for alpha in (0.05, 0.15, 0.24)
    }
    for alpha, edge in {0.05: 0.2729, 0.15: 0.4878, 0.24: 0.6807}.items():
        # the same at 2^15 paths; two cells of the bisection
        close(found[alpha].overlap, edge, 2 / 1024 + SPREAD * float(found[alpha].error))
        assert found[alpha].error < 4e-3
        assert found[alpha].overlap < dense.map_fixed_points(Power(3), alpha / 3).unstable
    assert found[0.24].horizon == T and found[0.24].fraction == 0.9
    close(found[0.24].plateau, 0.9381, 3e-3)
    # what it says: on either side of it, by plain Monte Carlo as well
    for alpha, edge in found.items():
        for shift, retrieved in ((-0.02, False), (0.02, True)):
            start = float(edge.overlap) + shift
            mine = dense.solve_gfa(Power(3), alpha / 3, start, **EDGE).overlap
            # shifts of 0.1 bias its response by up to 1 %
            other, _ = effective_neuron(Power(3), alpha / 3, start + shift / 2, T, S=40_000)
            for end in (mine[-1], other[-1]):
                assert (end > 0.9 * edge.plateau) == retrieved
    assert np.isnan(dense.basin_edge(Power(3), 0.3, T, paths=paths).overlap)


@pytest.mark.slow
def test_longer_horizons_find_lower_edges():
    for alpha, edge in {0.05: 0.2708, 0.15: 0.4768, 0.24: 0.6580}.items():  # at 2^16 paths
        found = dense.basin_edge(Power(3), alpha / 3, 30, paths=2**11)
        close(found.overlap, edge, 2 / 1024 + SPREAD * float(found.error))
        assert found.error < 4e-3
        assert found.overlap < dense.map_fixed_points(Power(3), alpha / 3).unstable
    assert found.overlap < 0.6807 - SPREAD * float(found.error)  # that of 12 steps
    close(found.plateau, 0.9345, 3e-3)


def test_convergence_time():
    T, paths = EDGE["steps"], EDGE["paths"]
    run = dense.convergence_time(Power(3), 0.1 / 3, 0.5, T, paths=paths)
    close(run.time, 5, 0.5)
    m = dense.solve_gfa(Power(3), 0.1 / 3, 0.5, **EDGE).overlap
    assert abs(m[5] - m[T]) < 0.005 < abs(m[4] - m[T])
    assert (run.horizon, run.tolerance) == (T, 0.005)
    slow = dense.convergence_time(Power(3), 0.08, 0.8, T, paths=paths, tolerance=1e-6)
    assert np.isnan(slow.time)  # still on its way


@pytest.mark.slow
def test_apparent_capacity():
    found = dense.apparent_capacity(Power(3), 20, 0.8, paths=2**11)
    close(3 * found.load, 0.34, 5e-3)  # read off long runs, two digits
    assert 0 < 3 * found.error < 5e-3
    assert (found.horizon, found.threshold) == (20, 0.8)
    assert np.isnan(dense.apparent_capacity(Power(3), 20, 0.001, paths=2**11).load)


# Exponential loads


def test_exponential_thresholds():
    result = dense.exponential_load(np.array([1.0, 0.8, 0.6]), 1.0)
    close(result.one_step, [0.6749972526, 0.3680642, 0.1927448], 5e-8)
    close(result.one_step[0], 0.6749972526, 5e-11)
    assert list(np.asarray(result.frozen)) == [False, True, True]
    close(result.free_energy[0], 0.5662191695, 5e-11)
    close(result.rigorous[0], math.log(2) / 2, 1e-14)
    assert (result.rigorous <= result.free_energy).all()
    assert (result.free_energy <= result.one_step).all()
    # both branches meet at m = tanh 2 rate
    m = math.tanh(2 * 0.7)
    below, above = dense.exponential_load(np.array([m - 1e-9, m + 1e-9]), 0.7).one_step
    close(below, above, 1e-8)
    assert np.isnan(dense.exponential_load(1.2, 1.0).one_step)
    assert np.isnan(dense.exponential_load(0.5, 0.7).rigorous)


@pytest.mark.parametrize("m, rate", [(1.0, 1.0), (0.8, 1.0), (0.9, 0.3)])
def test_one_step_at_an_exponential_load(m, rate):
    """Without patterns: the number of memories at each overlap is Poisson, half of each sign."""
    N, rng = 200, np.random.default_rng(0)
    threshold = float(dense.exponential_load(m, rate).one_step)
    X = np.arange(-N, N + 1, 2)
    log_p = binom.logpmf((X + N) // 2, N, 0.5)

    def errors(alpha, trials=400):
        mean = np.exp(alpha * N + log_p)
        few = mean < 1e6
        count = rng.poisson(np.where(few, mean, 0.0), (trials, X.size))
        signed = np.where(few, 2 * rng.binomial(count, 0.5) - count, 0)
        signed = signed + np.where(few, 0, np.sqrt(mean) * rng.standard_normal(signed.shape))
        noise = (signed * np.exp(rate * (X - N * m))).sum(1)
        return (1 + noise < 0).mean()

    # the exponents of signal and noise differ by at least 0.05 N / 2 = 5 there, up to log N
    assert errors(threshold - 0.06) < 0.02
    assert errors(threshold + 0.06) > 0.25


@pytest.mark.parametrize(("aside", "sizes"), [(-0.08, (16, 40)), (0.08, (16, 24))])
def test_the_first_step_decides_at_exponential_loads(aside, sizes):
    """Runs from overlap 3/4, aside of the threshold: more neurons make the verdict of the first
    step clearer, and further steps agree with it."""
    load, ends = float(dense.exponential_load(0.75, 1.0).one_step) + aside, []
    for N in sizes:
        made = hx.GeneratedPatterns(jr.key(N), round(math.exp(load * N)), N)
        memory = hx.DenseMemory(hx.patterns.pack(made), Exponential(1.0))
        targets = jax.vmap(memory.patterns.pattern)(jnp.arange(100) % memory.patterns.P)

        def run(key, target, memory=memory, N=N):
            cue = jnp.where(jr.permutation(key, N) < N // 8, -target, target)
            spins = hx.iterate(memory, hx.SpinState(cue), 6, observe=_spins, track=[0]).observed
            return spins @ target / N

        ends.append(np.asarray(jax.vmap(run)(jr.split(jr.key(1), 100), targets)))
    few, many = (m.mean(0) for m in ends)
    if aside < 0:
        assert few[1] < many[1] and many[1] > 0.98
        at_once, at_last = (np.array([(m[:, t] == 1).mean() for m in ends]) for t in (1, 6))
        assert (at_last > at_once).all() and at_last[1] > 0.95 > 0.85 > at_last[0]
    else:
        assert many[1] < few[1] < 0.6 and many[2] < many[1] / 2 and many[6] < few[6] < 0.2


def _spins(t, state, network):
    return state.spins


@pytest.mark.parametrize("load", [0.25, 0.38, 0.45])  # the threshold is 0.380
def test_attention_adds_no_noise_to_itself(load):
    """The overlap after one step from a memory, at two sizes, to 4 standard errors."""
    beta, weights = 0.5, []
    for N in (16, 24):
        M = round(math.exp(load * N))
        made = hx.patterns.pack(hx.GeneratedPatterns(jr.key(N), M, N))
        memory = hx.DenseMemory(made, Softmax(beta))
        starts = jax.vmap(made.pattern)(jnp.arange(64) % M)
        m = (jax.vmap(lambda h, n=memory: n.step(hx.SpinState(h)).spins)(starts) * starts).mean(1)
        w = 1 / (1 + M * math.cosh(beta) ** N * math.exp(-beta * N))
        assert abs(m.mean() - (w + (1 - w) * math.tanh(beta))) < 4 * m.std() / 8 + 1e-3
        weights.append(w)
    # more neurons make the verdict of the free-energy criterion clearer
    below = load < float(dense.exponential_load(1.0, beta).free_energy) - 1e-3
    above = load > float(dense.exponential_load(1.0, beta).free_energy) + 1e-3
    assert (weights[1] > weights[0]) == below and (weights[1] < weights[0] - 1e-3) == above


# Finite size


def test_moments_of_sums_of_signs():
    for K in (1, 2, 7, 399):
        assert moment_of_signs(K, 2) == K
        assert moment_of_signs(K, 4) == 3 * K**2 - 2 * K
        assert moment_of_signs(K, 6) == 15 * K**3 - 30 * K**2 + 16 * K
    brute = sum(math.comb(9, j) * (9 - 2 * j) ** 10 for j in range(10)) / 2**9
    assert moment_of_signs(9, 10) == brute


SIGNS = [
    Quadratic(),
    Power(4),
    RectifiedPower(3),
    ManyBody(4),
    Simplicial({3: 1.0, 2: 0.7, 1: 0.3}),
]


@pytest.mark.parametrize("interaction", SIGNS)
def test_forces_at_finite_size_and_their_noise(interaction):
    N = 11
    y = np.arange(-(N - 1.0), N, 2)
    force, noise = finite(dense.kernel(interaction), jnp.asarray(y), N)
    # rounding; the exact mean over all sums of 10 signs
    expected = interaction.force(jnp.asarray(y), N) / interaction.scale(N)
    np.testing.assert_allclose(force, expected, rtol=1e-12, atol=1e-15)
    weights = binom.pmf((y + N - 1) / 2, N - 1, 0.5)
    np.testing.assert_allclose(float(noise), weights @ np.asarray(force) ** 2, rtol=1e-12)


def test_the_first_step_of_large_networks_overflows_nowhere():
    """High orders of many neurons, in float32 too; one memory alone makes no noise."""
    m0 = np.float32(0.9)
    sure = [(Power(8), 10_000, 10**9), (Power(12), 10_000, 10**30), (ManyBody(9), 5000, 10**9)]
    for interaction, N, M in sure:
        for start in (m0, 0.9):
            assert float(dense.finite_first_step(interaction, N, M, start)) == 1.0
    # overlap 1 of 101: half a neuron's worth; all that agree with it tie, the others see it
    alone = dense.finite_first_step(Quadratic(), 101, 1, 1 / 101)
    assert float(alone) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="`m0` must be in"):
        dense.finite_first_step(Power(3), 100, 10, 3.0)


@pytest.mark.parametrize("interaction", [Quadratic(), Power(3), ManyBody(3)])
def test_finite_first_step(interaction):
    N, M, m0, networks = 40, 300, 0.8, 400
    if interaction.order == 2:
        M = 20
    rng = np.random.default_rng(1)
    right = []
    for _ in range(networks):
        xi = rng.choice([-1.0, 1.0], (M, N))
        h = xi[0].copy()
        h[rng.choice(N, 4, replace=False)] *= -1
        y = xi @ h
        y = y[:, None] - xi * h
        field = (xi * np.asarray(interaction.force(jnp.asarray(y), N))).sum(0)
        right.append((np.sign(field) * xi[0]).mean())
    error = np.std(right) / math.sqrt(networks)
    theory = dense.finite_first_step(interaction, N, M, m0)
    # four standard errors, and what the noise of few memories lacks to be Gaussian
    close(np.mean(right), theory, SPREAD * error + 0.01)
    large = dense.finite_first_step(Power(3), 100_000, 80 * 10**7 + 1, m0)
    close(large, dense.first_steps(Power(3), 0.08, m0, 1).overlap[1], 1e-4)  # 1/N


# Errors


@pytest.mark.parametrize("interaction", [Exponential(1.0), Softmax(2.0)])
def test_exponential_interactions_have_no_kernel(interaction):
    with pytest.raises(ValueError, match="not|no Gaussian.*exponential_load"):
        dense.kernel(interaction)
    with pytest.raises(ValueError, match="exponential_load"):
        dense.solve_gfa(interaction, 0.1, 0.8, 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: dense.kernel(RectifiedPower(2)), ValueError, "order 2"),
        (lambda: dense.kernel(Simplicial({2: 1.0})), ValueError, "order 2"),
        (lambda: dense.kernel("power"), TypeError, "`interaction` must be"),
        (lambda: dense.Kernel(own_kernel, 2), ValueError, "`order`.*at least 3, got 2"),
        (lambda: dense.Kernel(own_kernel, 3.0), TypeError, "`order` must be a whole number"),
        (lambda: dense.Kernel(3, 3), TypeError, "`function` must be a function"),
        (lambda: dense.capacity(dense.input_driven_kernel()), ValueError, "`interaction`.*input"),
        (lambda: dense.map_step(Power(3), 0.0, 0.5), ValueError, "`load` must be > 0, but is 0"),
        (lambda: dense.first_steps(Power(3), 0.1, 0.5, 5), ValueError, "`steps`.*at most 4"),
        (lambda: dense.first_steps(Quadratic(), 0.1, 0.5, 3), ValueError, "`steps`.*at most 2"),
        (lambda: dense.first_steps(Power(3), -0.1, 0.5), ValueError, "`load` must be > 0"),
        (lambda: dense.first_steps(Power(3), 0.1, 1.5), ValueError, r"`m0` must be in \[-1, 1\]"),
        (lambda: dense.first_steps(Power(3), np.ones(2), 0.5), ValueError, "`load`.*shape.*vmap"),
        (
            lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 0),
            ValueError,
            "`steps` must be a whole number >= 1",
        ),
        (lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2.0), TypeError, "`steps`.*Python int"),
        (lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2, paths=100), ValueError, "power of two"),
        (
            lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2, beta=0.0),
            ValueError,
            "`beta` must be > 0",
        ),
        (lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2, seed=-1), ValueError, "`seed`"),
        (
            lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2, beta=1.0, activation=hx.Tanh()),
            ValueError,
            "`beta`.*leave it out",
        ),
        (
            lambda: dense.solve_gfa(Power(3), 0.1, 0.5, 2, stimulus_overlap=0.5),
            ValueError,
            "`stimulus_overlap` is for",
        ),
        (
            lambda: dense.solve_gfa(dense.input_driven_kernel(), 0.1, 0.5, 2),
            ValueError,
            "`stimulus_overlap` is missing",
        ),
        (
            lambda: dense.solve_gfa(dense.Kernel(own_kernel, 3), 0.1, 0.5, 2, activation=hx.Tanh()),
            ValueError,
            "signs only",
        ),
        (
            lambda: dense.finite_first_step(dense.Kernel(own_kernel, 3), 50, 9, 0.5),
            ValueError,
            "finite N",
        ),
        (lambda: dense.exponential_load(0.5, 0.0), ValueError, "`rate` must be > 0"),
        (lambda: dense.apparent_capacity(Power(3), 5, 1.0 + 1e-3), ValueError, "`threshold`"),
        (lambda: dense.basin_edge(Power(3), 0.1, 5, fraction=0.0), ValueError, "`fraction`"),
    ],
)
def test_errors_say_what_to_do(call, error, message, as_a_user_runs_it):
    with pytest.raises(error, match=message):
        call()


# Orders and loads that no float holds


@pytest.mark.parametrize("n", [4, 12, 20, 30, 80])
def test_rectified_kernels_of_high_order(n):
    """Against a sum over a plane of Gaussian pairs, which is exact for smooth integrands."""
    p, kernel = n - 1, dense.kernel(RectifiedPower(n))

    def expected(p, c):
        x = np.linspace(0.0, math.sqrt(2 * p) + 9, 2001)[1:, None]
        log = p * (np.log(x) + np.log(x.T)) - (x**2 - 2 * c * x * x.T + x.T**2) / (2 - 2 * c**2)
        total = np.exp(log - log.max()).sum() * x[0, 0] ** 2
        return total * np.exp(log.max()) / (2 * np.pi * math.sqrt(1 - c**2))

    for c in (-0.9, -0.5, 0.0, 0.5, 0.9):
        small = 1e-9 if p > 6 else 1e-6  # the sum's own error, of order p + 1 in its step
        np.testing.assert_allclose(kernel(jnp.asarray(c)), expected(p, c), rtol=small)
        if p > 6:
            slope = p**2 * expected(p - 1, c)
            np.testing.assert_allclose(kernel.slope(jnp.asarray(c)), slope, rtol=1e-9)
    whole = math.prod(range(1, 2 * p, 2)) / 2
    np.testing.assert_allclose(kernel(jnp.asarray(1.0)), whole, rtol=1e-12)


@pytest.mark.parametrize("interaction", [Power(30), ManyBody(36), RectifiedPower(30)])
def test_orders_whose_loads_are_no_floats_are_refused(interaction):
    with jax.enable_x64(False):
        calls = (
            lambda: dense.capacity(interaction),
            lambda: dense.kernel(interaction)(jnp.ones(())),
            lambda: dense.map_step(interaction, 1e-30, 0.9),
            lambda: dense.first_steps(interaction, 1e-30, 0.9),
            lambda: dense.solve_gfa(interaction, 1e-30, 0.9, 2, paths=2**4),
            lambda: dense.basin_edge(interaction, 1e-30, 2, paths=2**4),
            lambda: dense.apparent_capacity(interaction, 2, paths=2**4),
        )
        for call in calls:
            with pytest.raises(ValueError, match="too small for float32; enable double"):
                call()
    for order in (20, 26):  # and those that are hold
        with jax.enable_x64(False):
            load = float(dense.capacity(Power(order)).load)
        np.testing.assert_allclose(load, float(dense.capacity(Power(order)).load), rtol=1e-5)


def test_loads_that_paths_do_not_hold():
    for load in (1e-70, 1e70):
        for call in (
            lambda load=load: dense.solve_gfa(Power(3), load, 0.9, 2, paths=2**4),
            lambda load=load: dense.basin_edge(Power(3), load, 2, paths=2**4),
            lambda load=load: dense.convergence_time(Power(3), load, 0.9, 2, paths=2**4),
        ):
            with pytest.raises(ValueError, match="`load`.*paths hold"):
                call()
    far = jax.vmap(lambda load: dense.solve_gfa(Power(3), load, 0.9, 2, paths=2**4).overlap)
    found = far(jnp.asarray([1e-70, 1e-50, 1e50]))
    assert np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    np.testing.assert_allclose(found[1, 1:], 1.0)
