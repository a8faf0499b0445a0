"""Every activation of rate networks against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import assert_close
from scipy.integrate import quad

import hopfax as hx

RHO, START = 3.0, 0.1
#: In NumPy, at the gain and threshold of the specimens.
PLAIN = {
    "Logistic": lambda y: 1 / (1 + np.exp(-4 * RHO * (y - START - 1 / (2 * RHO)))),
    "RectifiedTanh": lambda y: np.where(y > START, np.tanh(RHO * (y - START)), 0.0),
    "HardSigmoid": lambda y: np.clip(RHO * (y - START), 0.0, 1.0),
    "ThresholdLinear": lambda y: RHO * np.maximum(y - START, 0.0),
}
EVERY = pytest.mark.parametrize("name", PLAIN)
YS = np.array([-40.0, -0.7, -0.05, 0.09, 0.11, 0.2, 0.27, 0.4, 0.45, 2.0, 40.0])  # off the kinks


@EVERY
def test_value_and_slope(name):
    phi = zoo.rate_activations()[name]
    assert_close(phi(jnp.asarray(YS)), PLAIN[name](YS), 1e-13, "rounding")
    ahead, behind = (PLAIN[name](YS + h) for h in (1e-6, -1e-6))
    slope = phi.slope(jnp.asarray(YS))
    assert_close(slope, (ahead - behind) / 2e-6, 1e-8, "central differences")
    assert_close(jax.vmap(jax.grad(phi))(jnp.asarray(YS)), slope, 1e-13, "rounding")
    assert slope.max() <= phi.gain and phi(jnp.asarray(YS)).max() <= phi.ceiling
    if name == "Logistic":
        assert float(phi.slope(phi.inverse(jnp.asarray(0.5)))) == pytest.approx(RHO, rel=1e-14)


@EVERY
def test_inverse_and_potential(name):
    phi = zoo.rate_activations()[name]
    x = jnp.array([0.05, 0.3, 0.5, 0.9])
    assert_close(phi(phi.inverse(x)), x, 1e-14, "rounding")
    for rate in (0.05, 0.5, 0.9, 1.0):
        area = quad(lambda s: float(phi.inverse(jnp.asarray(s))), 0.0, rate, epsabs=1e-11)[0]
        assert_close(phi.potential(jnp.asarray(rate)), area, 1e-9, "quadrature")
    slope = jax.vmap(jax.grad(phi.potential))(x)
    assert_close(slope, phi.inverse(x), 1e-13, "the derivative of an integral")
    out = phi.potential(jnp.array([-0.5, 0.0, 1.0, 1.5]))
    assert np.isfinite(out).all() and out[0] == out[1] == 0
    assert (out[2] == out[3]) == (phi.ceiling == 1)


def test_saturated_slopes_keep_their_digits():
    phi = hx.Logistic()
    far = float(phi.slope(jnp.asarray(2.0)))
    assert far == pytest.approx(4 * 4.8 * np.exp(-(4 * 4.8 * 1.8 - 2)), rel=1e-12)


@pytest.mark.parametrize("kind", [type(phi) for phi in zoo.rate_activations().values()])
def test_bad_parameters_are_named(kind):
    with pytest.raises(ValueError, match="`gain` must be > 0"):
        kind(gain=0.0)
    with pytest.raises(ValueError, match="`threshold` must be finite"):
        kind(threshold=np.nan)
    with pytest.raises(ValueError, match="`threshold` must be a number, or"):
        kind(threshold=np.zeros((2, 2)))
    phi = kind(np.float32(2.0))
    assert phi(jnp.ones(3, jnp.float32)).dtype == jnp.float32


def test_slopes_have_derivatives_however_far_in_saturation():
    for name, phi in zoo.rate_activations().items():
        bend = jax.grad(phi.slope)(jnp.asarray(1e3, jnp.float32))
        assert float(bend) == 0, name
