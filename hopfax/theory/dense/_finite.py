"""The first step at finite size, and forces there."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from ..._distances import averages
from ..._errors import as_count
from ..._interactions import AbstractInteraction
from ..._types import ArrayLike, is_concrete
from .._parameters import floats
from ._forces import AbstractForce
from ._kernels import Kernel, Model, is_own, kernel


def finite_first_step(interaction: Model, N: int, M: int, m0: ArrayLike) -> Float[Array, "..."]:
    r"""Overlap after one step at finite size, in the Gaussian approximation of the noise.

    $$m_1 = \sum_{s = \pm 1} \frac{1 + s m_0}{2}\, \mathrm{erf}
    \frac{f(N m_0 - s)}{\sqrt{2 (M - 1) V}},$$

    with the exact second moment $V = E f(Y)^2$, Y a sum of N - 1 random signs.

    **Arguments:** `interaction`: of `hopfax`, or its `Kernel`. `N`, `M`: neurons and memories,
    Python ints. `m0`: overlap of the start, with an exact number of flipped neurons.

    **Returns:** the mean overlap, broadcast over `m0`, accurate to about 0.002 at N = 400. Signal
    and self-exclusion are exact, the noise of M - 1 memories is taken for Gaussian.

    **Raises:** ValueError for N < 2, M < 1, m0 outside [-1, 1] or an interaction without a
    finite-size form.

    Assumes signs, zero temperature, the leading update rule without self-coupling. Derived here.

    **Example:**

    ```python
    hx.theory.dense.finite_first_step(hx.Power(3), N=100, M=800, m0=0.8)  # 0.8058
    hx.theory.dense.first_steps(hx.Power(3), 0.08, 0.8, 2).overlap[1]  # 0.8086 for N to infinity
    ```
    """
    model = kernel(interaction)
    N, M = as_count(N, "N", 2, 2**31 - 1), as_count(M, "M", most=10**30)
    (m0,) = floats(m0=m0)
    if is_concrete(m0) and not bool((abs(m0) <= 1).all()):
        raise ValueError(f"`m0` must be in [-1, 1], but is {m0[abs(m0) > 1].ravel()[0]:g}.")
    total = jnp.zeros_like(m0)
    for s in (1.0, -1.0):
        force, noise = finite(model, N * m0 - s, N)
        if M == 1:  # no noise, and a tie keeps the neuron
            answer = jnp.where(force == 0, s, jnp.sign(force))
        else:
            spread = jnp.sqrt(jnp.asarray(2.0 * (M - 1) * noise, m0.dtype))
            answer = erf(force / spread)
        total = total + (1 + s * m0) / 2 * answer
    return total


def finite(
    kernel: Kernel, y: Float[Array, "..."], N: int
) -> tuple[Float[Array, "..."], float | Float[Array, ""]]:
    """Force of one memory at N neurons over $N^p$, and its second moment over $N^{2p}$."""
    if not isinstance(kernel.function, AbstractForce):
        raise ValueError(
            "`interaction` must be one of hopfax: a function K(C) of your own does not say what "
            "the force is at finite N."
        )
    return kernel.function.finite(y, N)


class Force(NamedTuple):
    """A force at finite N as a function of overlaps, in units of that of one overlap. `whole`: what
    the number 1 is in these units, if forces are whole numbers; else 0."""

    of: Callable[[Any], np.ndarray]
    whole: float


def force_at(interaction: AbstractInteraction, N: int, top: int) -> Force:
    """The force of overlaps among N neurons in units of that of the overlap `top`.

    **Raises:** ValueError for an interaction whose force is not known or has no signal.
    """

    def values(force: Callable, y: Any) -> np.ndarray:
        with jax.enable_x64(True):  # nothing is compiled here
            found = force(jnp.asarray(y, jnp.float64))
        if not is_concrete(found):
            raise TypeError("`interaction` must have known numbers, but they are traced by JAX.")
        return np.asarray(found, float)

    if averages(interaction):
        kind = type(interaction).__name__
        raise ValueError(f"`interaction` must be of signs, but the states of {kind} are means.")
    if isinstance(interaction, AbstractInteraction) and interaction.exponential:
        exponent = partial(values, lambda y: interaction.force(y, N))
        return Force(lambda y: np.exp(exponent(y) - exponent(top)), 0.0)
    if is_own(interaction):
        force, unit = partial(values, lambda y: interaction.force(y, N)), 1.0
    else:
        model = kernel(interaction)
        force = partial(values, lambda y: finite(model, y, N)[0])
        unit = float(N) ** -(model.order - 1)
    signal = float(force(top))
    if not signal > 0:
        raise ValueError(
            f"`N` = {N} neurons are too few for this interaction: a memory that is recalled "
            "gives no signal."
        )
    return Force(lambda y: force(y) / signal, unit / signal)
