"""Arguments that several functions of dense memory share, and their checks."""

import jax
import jax.numpy as jnp
import numpy as np

from ..._activations import AbstractActivation
from ..._errors import as_float, check_at_least
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar, floats
from ._kernels import Kernel, Model, kernel


def plain_kernel(interaction: Model, name: str) -> Kernel:
    """The kernel, for the function `name`, which does not know the input-driven network."""
    model = kernel(interaction)
    if model.input_driven:
        raise ValueError(
            f"`interaction` of `{name}` cannot be the input-driven network: its map depends on the "
            "input. Use `first_steps` or `solve_gfa` with `stimulus_overlap`."
        )
    return model


def checked_point(
    model: Kernel, stimulus_overlap: ArrayLike | None, **values: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Two values and the overlap with the stimulus, None without one, as scalars of one dtype. The
    first value must be positive, all others in [-1, 1]."""
    if model.input_driven != (stimulus_overlap is not None):
        raise ValueError(
            "`stimulus_overlap` is missing: the input-driven network needs the overlap of the "
            "input with the recalled memory."
            if stimulus_overlap is None
            else "`stimulus_overlap` is for `input_driven_kernel()` alone; leave it out."
        )
    first, second = values
    if stimulus_overlap is not None:
        values["stimulus_overlap"] = stimulus_overlap
    arrays = dict(zip(values, floats(**values), strict=True))
    for name, value in arrays.items():
        check_scalar(value, name)
        if name != first and is_concrete(value) and not abs(float(value)) <= 1:
            raise ValueError(f"`{name}` must be in [-1, 1], but is {float(value):g}.")
    check_at_least(arrays[first], first, 0.0, strict=True)
    return arrays[first], arrays[second], arrays.get("stimulus_overlap")


_FARTHEST_LOAD = 60  # decimal powers; the paths are in float32, whose squares reach 76


def held_by_paths(model: Kernel, load: jax.Array) -> jax.Array:
    """Whether quasi-random paths hold fields at this load.

    **Raises:** ValueError if it is known and they do not.
    """
    scaled = load * model(jnp.ones_like(load))
    power = abs(jnp.log10(jnp.where(load > 0, scaled, 1.0)))
    if is_concrete(power) and not float(power) <= _FARTHEST_LOAD:
        raise ValueError(
            f"`load` {float(load):g} is a scaled load alpha K(1) of {float(scaled):g}; paths hold "
            f"1e-{_FARTHEST_LOAD} to 1e{_FARTHEST_LOAD}, and retrieval ends near 0.2."
        )
    return power <= _FARTHEST_LOAD


def check_fraction(value: jax.Array, name: str) -> None:
    """ValueError unless a known `value` is in (0, 1)."""
    check_at_least(value, name, 0.0, strict=True)
    if is_concrete(value) and not float(value) < 1:
        raise ValueError(f"`{name}` must be in (0, 1), but is {float(value):g}.")


def standard_error(values: jax.Array) -> jax.Array:
    """Standard error of the mean over the scrambles, the first axis; NaN with one scramble."""
    count = values.shape[0]
    if count == 1:
        return jnp.full_like(values[0], jnp.nan)
    return values.std(0, ddof=1) / count**0.5


def checked_beta(
    beta: ArrayLike, activation: AbstractActivation | None, dtype: np.dtype
) -> jax.Array:
    """The inverse temperature of signs as a scalar > 0."""
    if activation is not None:
        raise ValueError("`beta` is the temperature of signs: leave it out with `activation`.")
    beta = as_float(beta, "beta", dtype)
    check_scalar(beta, "beta")
    check_at_least(beta, "beta", 0.0, strict=True)
    return beta


def checked_bias(
    bias: ArrayLike, model: Kernel, dtype: np.dtype, self_coupling: bool = False
) -> jax.Array:
    """The mean of the memories' entries as a scalar in (-1, 1)."""
    if model.input_driven:
        raise ValueError("`bias` is not derived for the input-driven network.")
    if self_coupling and model.order > 3:
        raise ValueError(
            f"`bias` with `self_coupling` must be of order 2 or 3, but the order is {model.order}: "
            "at higher ones the field that neurons make for themselves grows with N."
        )
    bias = as_float(bias, "bias", dtype)
    check_scalar(bias, "bias")
    if is_concrete(bias) and not abs(float(bias)) < 1:
        raise ValueError(f"`bias` must be in (-1, 1), but is {float(bias):g}.")
    return bias


def check_activation(activation: AbstractActivation, model: Kernel) -> None:
    """TypeError unless it is an activation; ValueError for the input-driven network."""
    if not isinstance(activation, AbstractActivation):
        name = type(activation).__name__
        raise TypeError(f"`activation` must be an activation of hopfax, but is {name}.")
    if model.input_driven:
        raise ValueError("`activation` is not derived for the input-driven network.")
