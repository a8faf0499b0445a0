r"""Activations $\phi$ of firing-rate networks: from the current into a neuron to its rate."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from ._errors import as_float, check_at_least, check_finite, check_shape
from ._types import ArrayLike


class AbstractRateActivation(eqx.Module):
    r"""A non-decreasing $\phi \ge 0$ of the current into a neuron.

    `gain` is its greatest slope $\rho$, `threshold` the current $I^*$ from which on it rises, and
    `ceiling` the least upper bound of its values, 1 or infinity. Gain and threshold are numbers, or
    one for each neuron, (N,). To add one, write a final subclass with these and the four methods.

    **Example:**

    ```python
    phi = hx.HardSigmoid(gain=2.0, threshold=0.1)
    isinstance(phi, hx.AbstractRateActivation)  # True
    phi.ceiling  # 1.0
    phi(phi.inverse(jnp.array(0.3)))  # 0.3
    ```
    """

    gain: eqx.AbstractVar[Float[Array, "*#N"]]
    threshold: eqx.AbstractVar[Float[Array, "*#N"]]
    #: The least upper bound of the rates: 1, or infinity.
    ceiling: eqx.AbstractClassVar[float]

    @abc.abstractmethod
    def __call__(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\phi(y)$, the rate at current `y`."""

    @abc.abstractmethod
    def slope(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\phi'(y)$, the slope at current `y`."""

    @abc.abstractmethod
    def inverse(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\phi^{-1}(x)$, the current at rate `x`. At the ends of the range of rates it is the
        limit from inside, where that is finite."""

    @abc.abstractmethod
    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\int_0^x \phi^{-1}(s)\, ds$, the single-site term of the energy, at rate `x`. A rate
        outside the range counts as the end that is nearest to it."""


def _parameters(gain: ArrayLike, threshold: ArrayLike) -> tuple[Array, Array]:
    """A positive gain and a finite threshold, as arrays, each a scalar or one value a neuron."""
    gain, threshold = as_float(gain, "gain"), as_float(threshold, "threshold")
    for name, value in (("gain", gain), ("threshold", threshold)):
        if value.ndim > 1 or not value.size:
            raise ValueError(
                f"`{name}` must be a number, or one for each neuron, (N,), got {value.shape}."
            )
    if gain.ndim and threshold.ndim:
        check_shape(threshold, "threshold", gain.shape, "that of `gain`,")
    check_at_least(gain, "gain", 0.0, strict=True)
    check_finite(threshold, "threshold")
    return gain, threshold


def least_gap(dtype: Any) -> float:
    """By how much the rates of active and silent neurons must differ, in units of the greatest rate
    of bounded activations: runs do not resolve less, and the weights, which are inverse to it,
    would only amplify rounding."""
    return float(jnp.finfo(dtype).eps) ** 0.5


def steepest(phi: AbstractRateActivation, y: Array) -> Array:
    r"""$\phi'(y)$; within rounding of a kink that of its steeper side, which decides whether a
    state there is stable."""
    slope = phi.slope(y)
    if isinstance(phi, Logistic):
        return slope
    rho, start = _of(phi, y)
    near = 8 * jnp.finfo(y.dtype).eps * (abs(y) + abs(start) + 1 / rho)
    return jnp.maximum(slope, jnp.maximum(phi.slope(y - near), phi.slope(y + near)))


def _of(phi: AbstractRateActivation, x: Array) -> tuple[Array, Array]:
    """Gain and threshold in the dtype of `x`."""
    return phi.gain.astype(x.dtype), phi.threshold.astype(x.dtype)


class Logistic(AbstractRateActivation):
    r"""The logistic function: $\phi(y) = 1 / (1 + e^{-4\rho\,(y - I^* - 1/(2\rho))})$.

    The rate is 1/2 at $I^* + 1/(2\rho)$, where the tangent is the rising line of `HardSigmoid`.
    The defaults are those of Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.

    **Arguments:** `gain`: $\rho > 0$, the greatest slope. `threshold`: $I^*$. Each a
    number, or (N,).

    **Example:**

    ```python
    phi = hx.Logistic(gain=2.0, threshold=0.1)
    phi(jnp.array([0.1, 0.35, 0.6]))  # 0.1192, 0.5000, 0.8808
    ```
    """

    gain: Float[Array, "*#N"]
    threshold: Float[Array, "*#N"]
    ceiling = 1.0

    def __init__(self, gain: ArrayLike = 4.8, threshold: ArrayLike = 0.2):
        self.gain, self.threshold = _parameters(gain, threshold)

    def __call__(self, y):
        rho, start = _of(self, y)
        return sigmoid(4 * rho * (y - start) - 2)

    def slope(self, y):
        rate = self(y)
        return 4 * self.gain.astype(y.dtype) * rate * self(2 * self._centre(y) - y)

    def _centre(self, y):
        rho, start = _of(self, y)
        return start + 1 / (2 * rho)

    def inverse(self, x):
        return self._centre(x) + (jnp.log(x) - jnp.log1p(-x)) / (4 * self.gain.astype(x.dtype))

    def potential(self, x):
        x = jnp.clip(x, 0.0, 1.0)
        entropy = xlogy(x, x) + xlogy(1 - x, 1 - x)
        return self._centre(x) * x + entropy / (4 * self.gain.astype(x.dtype))


class RectifiedTanh(AbstractRateActivation):
    r"""Silent up to a threshold, then a hyperbolic tangent: $\phi(y) = \tanh(\rho\,(y - I^*))$ for
    $y > I^*$, else 0. It has a kink at $I^*$.

    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.

    **Arguments:** `gain`: $\rho > 0$, the slope above the kink. `threshold`: $I^*$. Each a
    number, or (N,).

    **Example:**

    ```python
    phi = hx.RectifiedTanh(gain=2.0, threshold=0.1)
    phi(jnp.array([0.0, 0.35, 0.6]))  # 0.0000, 0.4621, 0.7616
    ```
    """

    gain: Float[Array, "*#N"]
    threshold: Float[Array, "*#N"]
    ceiling = 1.0

    def __init__(self, gain: ArrayLike = 4.8, threshold: ArrayLike = 0.2):
        self.gain, self.threshold = _parameters(gain, threshold)

    def __call__(self, y):
        rho, start = _of(self, y)
        return jnp.tanh(rho * jnp.maximum(y - start, 0.0))

    def slope(self, y):
        rho, start = _of(self, y)
        tail = jnp.exp(-2 * rho * jnp.maximum(y - start, 0.0))
        steep = 4 * rho * tail / (1 + tail) ** 2  # 1/cosh^2, which overflows nowhere
        return jnp.where(y > start, steep, jnp.zeros((), y.dtype))

    def inverse(self, x):
        rho, start = _of(self, x)
        return start + jnp.arctanh(x) / rho

    def potential(self, x):
        rho, start = _of(self, x)
        x = jnp.clip(x, 0.0, 1.0)
        entropy = (xlogy(1 + x, 1 + x) + xlogy(1 - x, 1 - x)) / 2
        return start * x + entropy / rho


class HardSigmoid(AbstractRateActivation):
    r"""Piecewise linear: $\phi(y) = \mathrm{clip}(\rho\,(y - I^*), 0, 1)$.

    **Arguments:** `gain`: $\rho > 0$, the slope between the two kinks. `threshold`: $I^*$.
    Each a number, or (N,).

    **Example:**

    ```python
    phi = hx.HardSigmoid(gain=2.0, threshold=0.1)
    phi(jnp.array([0.0, 0.35, 0.85]))  # 0.0, 0.5, 1.0
    ```
    """

    gain: Float[Array, "*#N"]
    threshold: Float[Array, "*#N"]
    ceiling = 1.0

    def __init__(self, gain: ArrayLike = 4.8, threshold: ArrayLike = 0.2):
        self.gain, self.threshold = _parameters(gain, threshold)

    def __call__(self, y):
        rho, start = _of(self, y)
        return jnp.clip(rho * (y - start), 0.0, 1.0)

    def slope(self, y):
        rho, start = _of(self, y)
        inside = (y > start) & (rho * (y - start) < 1)
        return jnp.where(inside, rho, jnp.zeros((), y.dtype))

    def inverse(self, x):
        rho, start = _of(self, x)
        return start + x / rho

    def potential(self, x):
        rho, start = _of(self, x)
        x = jnp.clip(x, 0.0, 1.0)
        return start * x + x**2 / (2 * rho)


class ThresholdLinear(AbstractRateActivation):
    r"""Silent up to a threshold, then linear: $\phi(y) = \rho \max(y - I^*, 0)$, without an upper
    bound.

    An active neuron is always in the steep part, so that a memory is held by inhibition alone: a
    single one, or disjoint ones, at thresholds between the current a of silent neurons and 0. At
    higher thresholds every memory is unstable, and rates grow without limit.

    **Arguments:** `gain`: $\rho > 0$, the slope above threshold. `threshold`: $I^*$. Each a
    number, or (N,).

    **Example:**

    ```python
    phi = hx.ThresholdLinear(gain=2.0, threshold=0.1)
    phi(jnp.array([0.0, 0.35, 5.1]))  # 0.0, 0.5, 10.0
    ```
    """

    gain: Float[Array, "*#N"]
    threshold: Float[Array, "*#N"]
    ceiling = float(np.inf)

    def __init__(self, gain: ArrayLike = 4.8, threshold: ArrayLike = -0.1):
        self.gain, self.threshold = _parameters(gain, threshold)

    def __call__(self, y):
        rho, start = _of(self, y)
        return rho * jnp.maximum(y - start, 0.0)

    def slope(self, y):
        rho, start = _of(self, y)
        return jnp.where(y > start, rho, jnp.zeros((), y.dtype))

    def inverse(self, x):
        rho, start = _of(self, x)
        return start + x / rho

    def potential(self, x):
        rho, start = _of(self, x)
        x = jnp.maximum(x, 0.0)
        return start * x + x**2 / (2 * rho)
