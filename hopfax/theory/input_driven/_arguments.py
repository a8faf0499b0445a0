"""Arguments of the theory of the input-driven field: activation, saliencies, N, noise."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation
from ..._errors import as_number, check_at_least, check_finite, check_type, shown
from ..._types import ArrayLike, is_concrete
from .._parameters import floats


class Softened(eqx.Module):
    r"""The activation under private noise, $\psi_s(x) = E\,\psi(x + s g)$, and $\psi$ itself at
    $s = 0$."""

    activation: AbstractActivation
    std: Float[Array, ""]

    def __call__(self, x: Array) -> Array:
        noisy = self.std > 0
        std = jnp.where(noisy, self.std, 1.0).astype(x.dtype)
        return jnp.where(noisy, self.activation.averaged(x, std), self.activation(x))

    def slope(self, x: Array) -> Array:
        noisy = self.std > 0
        std = jnp.where(noisy, self.std, 1.0).astype(x.dtype)
        averaged = jax.jvp(lambda x: self.activation.averaged(x, std), (x,), (jnp.ones_like(x),))[1]
        return jnp.where(noisy, averaged, self.activation.slope(x))


def check_activation(activation: Any) -> None:
    """TypeError unless `activation` is one of hopfax."""
    check_type(activation, "activation", AbstractActivation, "an activation, as hopfax.Tanh()")


def slope_at_zero(activation: AbstractActivation | Softened, like: jax.Array) -> jax.Array:
    r"""$\psi'(0)$, in the dtype of `like`."""
    return activation.slope(jnp.zeros((), like.dtype))


def inverse_size(N: int | float) -> float:
    """1/N of a network without self-couplings, 0 for `math.inf`.

    **Raises:** TypeError unless `N` is a known number, ValueError unless it is at least 2.
    """
    number = as_number(N, "N")
    if not number >= 2:
        raise ValueError(
            "`N` must be at least 2 neurons, or math.inf for a network with self-couplings, but "
            f"is {shown(N)}."
        )
    return 0.0 if number == math.inf else 1 / number


def check_saliencies(value: jax.Array, name: str, least: int = 1) -> None:
    """ValueError unless `value` is a finite vector of at least `least` entries."""
    if value.ndim != 1 or value.shape[0] < least:
        raise ValueError(
            f"`{name}` must have shape (P,) with P >= {least}, an entry for each memory, but has "
            f"shape {value.shape}. Use jax.vmap for many."
        )
    check_finite(value, name)


def finite_floats(**values: ArrayLike) -> tuple[jax.Array, ...]:
    """`floats` of which none is infinite. **Raises:** ValueError, TypeError."""
    made = floats(**values)
    for name, value in zip(values, made, strict=True):
        check_finite(value, name)
    return made


def check_noise(noise: jax.Array) -> None:
    """ValueError for a negative noise."""
    check_at_least(noise, "noise", 0.0, strict=False)


def check_below(value: jax.Array, name: str, bound: float) -> None:
    """ValueError unless a known `value` lies in [0, `bound`)."""
    check_at_least(value, name, 0.0, strict=False)
    if is_concrete(value) and not bool((value < bound).all()):
        worst = float(value.max())
        raise ValueError(f"`{name}` must be below {bound:g}, but is {worst:g}.")
