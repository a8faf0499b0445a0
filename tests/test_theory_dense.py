"""The theory of dense memory against closed forms, quadrature, simulation and itself."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from hopfax import (
    ManyBody,
    Power,
    Quadratic,
    RectifiedPower,
    Simplicial,
)
from hopfax.theory import dense

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
        dense.first_steps(model, 0.08, 0.8), dense.first_steps(Power(3), 0.08, 0.8), strict=True
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


def test_fewer_steps_are_the_same_steps():
    four = dense.first_steps(Power(3), 0.08, 0.8)
    for steps in (1, 2, 3):
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


@pytest.mark.parametrize("interaction", [Power(3), ManyBody(4), Quadratic()])
def test_first_steps_are_differentiable(interaction):
    steps = 2 if interaction.order == 2 else 4
    load = float(scaled(interaction, 0.2))

    def overlaps(load, m0):
        return dense.first_steps(interaction, load, m0, steps).overlap[1:]

    forward = jax.jit(overlaps)
    # central differences: error step^2 f''' / 6 and 1e-13 / step
    by_load, by_m0 = jax.jacrev(overlaps, argnums=(0, 1))(load, 0.8)
    d = 1e-4 * load
    slope = (forward(load + d, 0.8) - forward(load - d, 0.8)) / (2 * d)
    np.testing.assert_allclose(by_load, slope, rtol=2e-6, atol=1e-7)
    slope = (forward(load, 0.8 + 1e-5) - forward(load, 0.8 - 1e-5)) / 2e-5
    np.testing.assert_allclose(by_m0, slope, rtol=1e-6, atol=1e-7)


def test_first_steps_are_a_plain_function_under_vmap():
    loads, starts = jnp.array([0.02, 0.08, 0.11]), jnp.array([0.3, 0.8, 1.0])
    many = jax.vmap(lambda load, m0: dense.first_steps(Power(3), load, m0))(loads, starts)
    for i in range(3):
        one = dense.first_steps(Power(3), loads[i], starts[i])
        close(many.overlap[i], one.overlap, 1e-14)
        close(many.feedback[i], one.feedback, 1e-14)
    assert np.isnan(jax.jit(lambda m0: dense.first_steps(Power(3), 0.08, m0).overlap)(1.5)).all()
    assert np.isnan(jax.jit(lambda a: dense.first_steps(Power(3), a, 0.5).overlap)(-0.1)).all()


# The effective neuron on paths


@pytest.fixture(scope="module")
def moderate():
    """n = 3, scaled load 0.24, from overlap 0.8."""
    return dense.solve_gfa(Power(3), 0.08, 0.8, 6, paths=2**15)


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
