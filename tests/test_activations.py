"""Every activation against its definition, and its Gaussian average against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from scipy.integrate import quad
from scipy.special import erf, erfinv
from scipy.stats import norm

import hopfax as hx

MACHINE = "machine precision"

#: psi of slope 1 and its inverse, in NumPy.
PLAIN = {
    hx.HardTanh: (lambda y: np.clip(y, -1, 1), lambda r: r),
    hx.Tanh: (np.tanh, np.arctanh),
    hx.Erf: (lambda y: erf(np.sqrt(np.pi) * y / 2), lambda r: 2 * erfinv(r) / np.sqrt(np.pi)),
    hx.Rational: (lambda y: y / np.sqrt(1 + y**2), lambda r: r / np.sqrt(1 - r**2)),
    hx.Arctan: (
        lambda y: 2 / np.pi * np.arctan(np.pi * y / 2),
        lambda r: 2 / np.pi * np.tan(np.pi * r / 2),
    ),
}
EVERY = pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
GAINS = pytest.mark.parametrize("gain", [None, 2.5])
XS = np.array([-2.7, -1.3, -0.9, -0.31, -0.05, 0.0, 0.2, 0.38, 0.7, 1.1, 3.2])  # off the kinks


def _averaged_by_quad(psi, x, std, kinks=()):
    points = sorted({p for k in kinks if abs(p := (k - x) / std) < 9} | {0.0})

    def integrand(g):
        return psi(x + std * g) * norm.pdf(g)

    return quad(integrand, -9, 9, points=points, epsabs=1e-13, epsrel=1e-13, limit=200)[0]


def test_all_activations_are_tested():
    final = {
        value
        for value in vars(hx).values()
        if isinstance(value, type)
        and issubclass(value, hx.AbstractActivation)
        and value not in (hx.AbstractActivation, hx.GaussianAverage)
    }
    assert final == set(PLAIN)


@EVERY
@GAINS
def test_value(kind, gain):
    expected = PLAIN[kind][0]((gain or 1.0) * XS)
    assert_close(kind(gain)(jnp.asarray(XS)), expected, 1e-14, MACHINE)


@EVERY
@GAINS
def test_slope_is_the_derivative(kind, gain):
    psi = kind(gain)
    derivative = jax.jit(jax.vmap(jax.grad(lambda x: psi(x))))(jnp.asarray(XS))
    assert_close(psi.slope(jnp.asarray(XS)), derivative, 1e-14, MACHINE)
    assert_close(psi.slope(jnp.asarray(0.0)), gain or 1.0, 1e-14, "the gain is the slope at 0")


@pytest.mark.parametrize("gain", [None, 0.5, 4.0])
def test_hard_tanh_is_flat_from_the_kink_on(gain):
    kink = 1 / (gain or 1.0)
    slope = hx.HardTanh(gain).slope(jnp.array([-kink, kink, np.nextafter(kink, 0.0)]))
    assert_close(slope, [0.0, 0.0, gain or 1.0], 0.0, "exact")


@EVERY
@GAINS
def test_potential_integrates_the_inverse(kind, gain):
    psi, inverse = kind(gain), PLAIN[kind][1]
    for x in np.array([-1.3, -0.2, 0.05, 0.6, 1.9]) / (gain or 1.0):
        rate = float(psi(jnp.asarray(x)))
        area, _ = quad(lambda r: inverse(r) / (gain or 1.0), 0.0, rate, epsabs=1e-13, epsrel=1e-12)
        assert_close(psi.potential(jnp.asarray(x)), area, 1e-10, "quad, steep close to rate 1")


@EVERY
@GAINS
def test_odd_bounded_and_non_decreasing(kind, gain):
    psi, x = kind(gain), np.concatenate([np.linspace(-5, 5, 1001), np.geomspace(6, 1e6, 20)])
    x = jnp.asarray(np.sort(np.concatenate([x, -x])))
    rates = psi(x)
    assert_close(psi(-x), -rates, 1e-15, MACHINE)
    assert bool(jnp.all(jnp.abs(rates) <= 1))
    assert bool(jnp.all(jnp.diff(rates) >= -1e-15))  # a few rounding errors
    assert float(rates[-1]) > 0.999
    assert bool(jnp.all(jnp.isfinite(psi.potential(x)))) and bool(jnp.all(psi.potential(x) >= 0))


@EVERY
@GAINS
def test_averaged(kind, gain):
    std = 0.5 / (gain or 1.0)
    psi, plain = kind(gain), PLAIN[kind][0]
    kinks = (-1 / (gain or 1.0), 1 / (gain or 1.0)) if kind is hx.HardTanh else ()
    xs = (-1.2, 0.0, 0.3, 2.0)

    def scaled(y):
        return plain((gain or 1.0) * y)

    expected = [_averaged_by_quad(scaled, x, std, kinks) for x in xs]
    actual = psi.averaged(jnp.asarray(xs), jnp.asarray(std))
    # Arctan, whose pole is nearest to the real line, is the least accurate: 1e-12
    assert_close(actual, expected, 1e-11, "Gauss-Hermite on a smooth function, gain * std = 0.5")


@pytest.mark.parametrize(
    ("std", "x", "value"), [(0.3, 0.5, 0.494052050537), (0.5, 1, 0.800532432428)]
)
def test_averaged_hard_tanh_has_these_values(std, x, value):
    psi = hx.GaussianAverage(hx.HardTanh(), std)
    assert_close(psi(jnp.asarray(float(x))), value, 5e-13, "twelve printed digits")


@pytest.mark.parametrize("std", [0.05, 0.3, 1.0, 3.0])
def test_averaged_hard_tanh_has_this_slope(std):
    psi = hx.GaussianAverage(hx.HardTanh(), std)
    expected = erf(1 / (std * np.sqrt(2)))
    assert_close(psi.slope(jnp.asarray(0.0)), expected, 1e-13, "psi_s'(0) = erf(1 / (s sqrt 2))")
    expected = norm.cdf((1 - XS) / std) - norm.cdf((-1 - XS) / std)
    assert_close(psi.slope(jnp.asarray(XS)), expected, 1e-13, "probability of |x + s g| < 1")


def test_averaged_agrees_with_samples():
    std, x = 0.6, np.array([-0.4, 0.9])
    draws = np.random.default_rng(0).normal(size=(200_000, 1))
    rates = np.clip(x + std * draws, -1, 1)
    error = 4 * rates.std(axis=0) / np.sqrt(len(draws))
    actual = np.asarray(hx.GaussianAverage(hx.HardTanh(), std)(jnp.asarray(x)))
    assert np.all(np.abs(actual - rates.mean(axis=0)) < error)  # 4 standard errors
    assert np.all(error < 0.01)


@EVERY
def test_averaging_twice_adds_the_variances(kind):
    twice = hx.GaussianAverage(hx.GaussianAverage(kind(), 0.3), 0.4)
    once = hx.GaussianAverage(kind(), 0.5)
    assert_close(twice(jnp.asarray(XS)), once(jnp.asarray(XS)), 1e-11, "sum of two Gaussians")


@pytest.mark.parametrize("kind", [hx.HardTanh, hx.Tanh], ids=lambda kind: kind.__name__)
def test_potential_of_an_average(kind):
    # the integral of the inverse up to psi(x) is x psi(x) - int_0^x psi
    kinks = (-1.0, 1.0) if kind is hx.HardTanh else ()

    def rate(x):
        return _averaged_by_quad(PLAIN[kind][0], x, 0.5, kinks)

    xs = (-2.0, 0.0, 0.4, 1.1)
    expected = [x * rate(x) - quad(rate, 0.0, x, epsabs=1e-12)[0] for x in xs]
    potential = hx.GaussianAverage(kind(), 0.5).potential(jnp.asarray(xs))
    assert_close(potential, expected, 1e-11, "quadrature on both sides")


@EVERY
def test_parameterless_ones_hold_no_array(kind):
    assert jax.tree.leaves(kind()) == []
    assert len(jax.tree.leaves(kind(2.5))) == 1


@pytest.mark.parametrize("gain", [None, 2.5])
@EVERY
def test_the_dtype_of_the_input_is_kept(kind, gain):
    psi = kind(gain)
    x, std = jnp.array([-0.5, 0.2, 4.0], jnp.float32), jnp.float32(0.2)
    averaged = hx.GaussianAverage(psi, 0.2)

    def rates(x, std):
        of_psi = psi(x), psi.slope(x), psi.potential(x), psi.averaged(x, std)
        return *of_psi, averaged(x), averaged.slope(x), averaged.potential(x)

    assert {rate.dtype for rate in jax.eval_shape(rates, x, std)} == {np.dtype("float32")}
    assert_close(psi(x), psi(x.astype(float)), 1e-6, "float32")


@EVERY
def test_gain_is_a_differentiable_leaf(kind):
    x, h = jnp.asarray(0.3), 1e-6

    def rate(gain):
        return kind(gain)(x)

    difference = (rate(1.5 + h) - rate(1.5 - h)) / (2 * h)
    assert_close(jax.grad(rate)(1.5), difference, 1e-9, "central difference")
    gains = jnp.array([0.5, 1.0, 2.0])
    loop = jnp.stack([rate(gain) for gain in gains])
    assert_close(jax.jit(jax.vmap(rate))(gains), loop, 1e-15, MACHINE)


@pytest.mark.parametrize(
    ("gain", "error"),
    [
        (0.0, ValueError),
        (-1.0, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ([1.0, 2.0], ValueError),
        ("steep", TypeError),
        (1j, TypeError),
        ([[1.0], [1.0, 2.0]], TypeError),
    ],
    ids=str,
)
def test_a_bad_gain_is_named(gain, error):
    with pytest.raises(error, match="`gain` must"):
        hx.Tanh(gain)


@EVERY
def test_every_gain_is_checked(kind):
    with pytest.raises(ValueError, match="`gain` must"):
        kind(-1.0)


@pytest.mark.parametrize(
    ("std", "error"), [(0.0, ValueError), ([0.1], ValueError), ("a", TypeError)]
)
def test_a_bad_std_is_named(std, error):
    with pytest.raises(error, match="`std` must"):
        hx.GaussianAverage(hx.Tanh(), std)
