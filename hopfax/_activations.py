r"""Pointwise activations $\psi$: odd, non-decreasing, bounded by 1."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from ._errors import as_float, check_at_least, check_shape
from ._misc import gaussian_average


class AbstractActivation(eqx.Module):
    r"""An odd, non-decreasing $\psi$ with $|\psi| \le 1$ and $\psi'(0)$ = `slope(0)`.

    To add one, write a final subclass with the four methods below.
    """

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\psi(x)$, the firing rate."""

    @abc.abstractmethod
    def slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\psi'(x)$."""

    @abc.abstractmethod
    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\int_0^{\psi(x)} \psi^{-1}(s)\, ds$, the single-site term of the energy."""

    @abc.abstractmethod
    def averaged(self, x: Float[Array, "..."], std: Float[Array, ""]) -> Float[Array, "..."]:
        r"""$\psi_s(x) = E\,\psi(x + s g)$ with $g \sim N(0, 1)$ and $s$ = `std`."""


def _gain(value):
    if value is None:
        return None
    value = as_float(value, "gain")
    check_shape(value, "gain", (), "()")
    check_at_least(value, "gain", 0.0, strict=True)
    return value


def _scaled(gain, x):
    return x if gain is None else gain.astype(x.dtype) * x


def _slope0(gain, x):
    return jnp.ones((), x.dtype) if gain is None else gain.astype(x.dtype)


def _density(x):
    return jnp.exp(-(x**2) / 2) / np.sqrt(2 * np.pi).astype(x.dtype)


class HardTanh(AbstractActivation):
    r"""$\psi(x) = \mathrm{clip}(g x, -1, 1)$, the piecewise-linear limit of all others.

    The slope is $g$ for $|g x| < 1$ and 0 from $|g x| = 1$ on.

    **Arguments:** `gain`: the slope $g > 0$ at the origin; without it $g = 1$ and the activation
    holds no array.
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain=None):
        self.gain = _gain(gain)

    def __call__(self, x):
        return jnp.clip(_scaled(self.gain, x), -1.0, 1.0)

    def slope(self, x):
        inside = jnp.abs(_scaled(self.gain, x)) < 1
        return jnp.where(inside, _slope0(self.gain, x), jnp.zeros((), x.dtype))

    def potential(self, x):
        return self(x) ** 2 / (2 * _slope0(self.gain, x))

    def averaged(self, x, std):
        x, s = _scaled(self.gain, x), _scaled(self.gain, std)
        up, down = (1 - x) / s, (-1 - x) / s
        inside = ndtr(up) - ndtr(down)
        edges = s * (_density(down) - _density(up))
        return 1 - ndtr(up) - ndtr(down) + x * inside + edges


class Tanh(AbstractActivation):
    r"""$\psi(x) = \tanh(g x)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain=None):
        self.gain = _gain(gain)

    def __call__(self, x):
        return jnp.tanh(_scaled(self.gain, x))

    def slope(self, x):
        return _slope0(self.gain, x) * (1 - self(x) ** 2)

    def potential(self, x):
        y = jnp.abs(_scaled(self.gain, x))
        log_cosh = y + jnp.log1p(jnp.exp(-2 * y)) - np.log(2.0).astype(x.dtype)
        return (y * jnp.tanh(y) - log_cosh) / _slope0(self.gain, x)

    def averaged(self, x, std):
        return gaussian_average(self, self.slope, _slope0(self.gain, x), x, std)


class Erf(AbstractActivation):
    r"""$\psi(x) = \mathrm{erf}(\sqrt\pi\, g x / 2)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain=None):
        self.gain = _gain(gain)

    def __call__(self, x):
        return erf(_scaled(self.gain, x) * float(np.sqrt(np.pi) / 2))

    def slope(self, x):
        return _slope0(self.gain, x) * jnp.exp(-(_scaled(self.gain, x) ** 2) * float(np.pi / 4))

    def potential(self, x):
        y = _scaled(self.gain, x) ** 2 * float(np.pi / 4)
        return -jnp.expm1(-y) * float(2 / np.pi) / _slope0(self.gain, x)

    def averaged(self, x, std):
        width = jnp.sqrt(1 + (_scaled(self.gain, std) ** 2) * float(np.pi / 2))
        return self(x / width)


class Rational(AbstractActivation):
    r"""$\psi(x) = g x / \sqrt{1 + (g x)^2}$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain=None):
        self.gain = _gain(gain)

    def __call__(self, x):
        y = _scaled(self.gain, x)
        return y / jnp.sqrt(1 + y**2)

    def slope(self, x):
        return _slope0(self.gain, x) * (1 + _scaled(self.gain, x) ** 2) ** -1.5

    def potential(self, x):
        y = _scaled(self.gain, x) ** 2
        root = jnp.sqrt(1 + y)
        return y / (root * (1 + root)) / _slope0(self.gain, x)

    def averaged(self, x, std):
        return gaussian_average(self, self.slope, _slope0(self.gain, x), x, std)


class Arctan(AbstractActivation):
    r"""$\psi(x) = \frac{2}{\pi} \arctan(\pi g x / 2)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain=None):
        self.gain = _gain(gain)

    def __call__(self, x):
        return jnp.arctan(_scaled(self.gain, x) * float(np.pi / 2)) * float(2 / np.pi)

    def slope(self, x):
        return _slope0(self.gain, x) / (1 + (_scaled(self.gain, x) * float(np.pi / 2)) ** 2)

    def potential(self, x):
        y = (_scaled(self.gain, x) * float(np.pi / 2)) ** 2
        return jnp.log1p(y) * float(2 / np.pi**2) / _slope0(self.gain, x)

    def averaged(self, x, std):
        return gaussian_average(self, self.slope, _slope0(self.gain, x), x, std)


class GaussianAverage(AbstractActivation):
    r"""$\psi_s(x) = E\,\psi(x + s g)$: what private Gaussian noise of standard deviation $s$ on
    every neuron makes of $\psi$.

    For a fixed number of patterns and infinitely many neurons a noisy network is *exactly* the
    noiseless network with this activation. HardTanh and Erf have closed forms, the others use
    quadrature.

    **Arguments:** `activation`: the $\psi$ of one neuron. `std`: $s > 0$; the noise strength
    $\sigma$ of the stochastic differential equation gives $s = \sigma / \sqrt 2$.
    """

    activation: AbstractActivation
    std: Float[Array, ""]

    def __init__(self, activation: AbstractActivation, std):
        self.activation = activation
        self.std = as_float(std, "std")
        check_shape(self.std, "std", (), "()")
        check_at_least(self.std, "std", 0.0, strict=True)

    def __call__(self, x):
        return self.activation.averaged(x, self.std.astype(x.dtype))

    def slope(self, x):
        ones = jnp.ones_like(x)
        return eqx.filter_jvp(self, (x,), (ones,))[1]

    def potential(self, x):
        nodes, weights = np.polynomial.legendre.leggauss(64)  # x psi(x) - int_0^x psi
        u = jnp.asarray((nodes + 1) / 2, dtype=x.dtype)
        integral = x * jnp.tensordot(self(x[..., None] * u), jnp.asarray(weights / 2, x.dtype), 1)
        return x * self(x) - integral

    def averaged(self, x, std):
        total = jnp.sqrt(self.std.astype(x.dtype) ** 2 + std**2)
        return self.activation.averaged(x, total)
