r"""Pointwise activations $\psi$: odd, non-decreasing, bounded by 1."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from ._errors import as_float, check_at_least, check_shape, check_type
from ._misc import gaussian_average
from ._types import ArrayLike


class AbstractActivation(eqx.Module):
    r"""An odd, non-decreasing $\psi$ with $|\psi| \le 1$: from the field of a neuron to its rate.

    To add one, write a final subclass with the four methods below.

    **Example:**

    ```python
    class Saturating(hx.AbstractActivation):
        def __call__(self, x):
            return x / (1 + jnp.abs(x))

        def slope(self, x):
            return (1 + jnp.abs(x)) ** -2

        def potential(self, x):
            return jnp.log1p(jnp.abs(x)) - jnp.abs(self(x))

        def averaged(self, x, std):
            raise NotImplementedError  # only averages over noise need it

    hx.Hopfield(hx.patterns.hadamard(4, 16), activation=Saturating())
    ```
    """

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\psi(x)$, the firing rate at field `x`."""

    @abc.abstractmethod
    def slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\psi'(x)$, the slope of the activation at `x`."""

    @abc.abstractmethod
    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\int_0^{\psi(x)} \psi^{-1}(s)\, ds$, the single-site term of the energy."""

    @abc.abstractmethod
    def averaged(self, x: Float[Array, "..."], std: Float[Array, ""]) -> Float[Array, "..."]:
        r"""$\psi_s(x) = E\,\psi(x + s g)$ with $g \sim N(0, 1)$ and $s$ = `std`."""


def _gain(value: ArrayLike | None) -> Array | None:
    """A gain as a positive scalar array; None stays None."""
    if value is None:
        return None
    value = as_float(value, "gain")
    check_shape(value, "gain", (), "()")
    check_at_least(value, "gain", 0.0, strict=True)
    return value


def _scaled(gain: Array | None, x: Array) -> Array:
    """`gain` times `x`, in the dtype of `x`."""
    return x if gain is None else gain.astype(x.dtype) * x


def _slope0(gain: Array | None, x: Array) -> Array:
    """The slope at the origin, in the dtype of `x`."""
    return jnp.ones((), x.dtype) if gain is None else gain.astype(x.dtype)


def _density(x: Array) -> Array:
    """The density of the standard normal distribution."""
    return jnp.exp(-(x**2) / 2) / np.sqrt(2 * np.pi).astype(x.dtype)


class HardTanh(AbstractActivation):
    r"""$\psi(x) = \mathrm{clip}(g x, -1, 1)$: linear between the kinks at $|g x| = 1$, constant
    beyond. The slope is $g$ for $|g x| < 1$, else 0.

    **Arguments:** `gain`: the slope $g > 0$ at the origin; without it $g = 1$ and the activation
    holds no array.

    **Example:**

    ```python
    psi = hx.HardTanh(2.0)
    psi(jnp.array([-3.0, 0.25, 3.0]))  # -1, 0.5, 1
    psi.slope(jnp.array([-3.0, 0.25, 3.0]))  # 0, 2, 0
    ```
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain: ArrayLike | None = None):
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
    r"""The hyperbolic tangent: $\psi(x) = \tanh(g x)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).

    **Example:**

    ```python
    psi = hx.Tanh(2.0)
    psi(jnp.array([-3.0, 0.25, 3.0]))  # -1.0000, 0.4621, 1.0000
    ```
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain: ArrayLike | None = None):
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
    r"""The error function: $\psi(x) = \mathrm{erf}(\sqrt\pi\, g x / 2)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).

    **Example:**

    ```python
    psi = hx.Erf(2.0)
    psi(jnp.array([-3.0, 0.25, 3.0]))  # -1.0000, 0.4691, 1.0000
    ```
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain: ArrayLike | None = None):
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
    r"""A rational function with a root: $\psi(x) = g x / \sqrt{1 + (g x)^2}$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).

    **Example:**

    ```python
    psi = hx.Rational(2.0)
    psi(jnp.array([-3.0, 0.25, 3.0]))  # -0.9864, 0.4472, 0.9864
    ```
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain: ArrayLike | None = None):
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
    r"""The inverse tangent: $\psi(x) = \frac{2}{\pi} \arctan(\pi g x / 2)$.

    **Arguments:** `gain`: the slope $g > 0$ at the origin (default 1).

    **Example:**

    ```python
    psi = hx.Arctan(2.0)
    psi(jnp.array([-3.0, 0.25, 3.0]))  # -0.9327, 0.4238, 0.9327
    ```
    """

    gain: Float[Array, ""] | None

    def __init__(self, gain: ArrayLike | None = None):
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
    r"""The activation that a neuron has on average under Gaussian noise of its own with standard
    deviation $s$: $\psi_s(x) = E\,\psi(x + s g)$ with $g \sim N(0, 1)$.

    For a fixed number of patterns and infinitely many neurons a noisy network is *exactly* the
    noiseless network with this activation. HardTanh and Erf have closed forms, the others use
    quadrature.

    **Arguments:** `activation`: the $\psi$ of one neuron. `std`: $s > 0$; the noise strength
    $\sigma$ of the stochastic differential equation gives $s = \sigma / \sqrt 2$.

    **Example:**

    ```python
    psi = hx.GaussianAverage(hx.HardTanh(), 0.5)
    psi(jnp.array(1.0))  # 0.8005, where HardTanh has 1
    psi.slope(jnp.array(0.0))  # 0.9545, the probability of |s g| < 1
    ```
    """

    activation: AbstractActivation
    std: Float[Array, ""]

    def __init__(self, activation: AbstractActivation, std: ArrayLike):
        check_type(activation, "activation", AbstractActivation, "an activation, as HardTanh()")
        self.activation = activation
        self.std = as_float(std, "std")
        check_shape(self.std, "std", (), "()")
        check_at_least(self.std, "std", 0.0, strict=True)

    def __call__(self, x):
        return self.activation.averaged(x, self.std.astype(x.dtype))

    def slope(self, x):
        return eqx.filter_jvp(self, (x,), (jnp.ones_like(x),))[1]

    def potential(self, x):
        # The integral of the inverse function is x psi(x) minus that of psi from 0 to x.
        nodes, weights = np.polynomial.legendre.leggauss(64)
        u = jnp.asarray((nodes + 1) / 2, dtype=x.dtype)
        integral = x * jnp.tensordot(self(x[..., None] * u), jnp.asarray(weights / 2, x.dtype), 1)
        return x * self(x) - integral

    def averaged(self, x, std):
        total = jnp.sqrt(self.std.astype(x.dtype) ** 2 + std**2)
        return self.activation.averaged(x, total)
