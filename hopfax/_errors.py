"""Errors and the checks that raise them: what was given, what was expected, what to do.

Structure (shape, dtype kind) is checked always, also under a trace. Values are checked when they
are concrete; under a trace they become a status instead (see `_status`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._types import default_float, is_concrete


class SimulationError(RuntimeError):
    """A run ended with a status that is not OK; `.status` holds the code(s)."""

    def __init__(self, message: str, status: Any = None):
        super().__init__(message)
        self.status = status


class SweepFailed(RuntimeError):
    """Raised by `sweep(..., on_failure="raise")` after every point was computed and stored;
    `.dataset` holds all of it."""

    def __init__(self, message: str, dataset: Any = None):
        super().__init__(message)
        self.dataset = dataset


class StoreError(OSError):
    """A place on disk does not hold what it should, or holds what a sweep must not replace."""


class StoreBusy(StoreError):
    """Another process writes to the same store."""


class StoreCorrupt(StoreError):
    """A file of a stored sweep is damaged; nothing was changed."""


class ConfigMismatch(StoreError):
    """A store holds the sweep of other settings; the message names those that differ."""


class LoadError(ValueError):
    """A file does not hold what `load` expects; nothing was loaded."""


class SweepWarning(UserWarning):
    """Some points of a sweep failed."""


class FitWarning(UserWarning):
    """A fit ended, but not with what was asked for."""


class PhysicsWarning(UserWarning):
    """The run is legal, but it will probably not show what it was set up to show."""


def as_float(value: Any, name: str, dtype: Any = None) -> jax.Array:
    """`value` as a real floating array of `dtype` (default: its own, or the default float)."""
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise TypeError(f"`{name}` must be a rectangular array of real numbers.") from error
    kind = value.dtype
    real = jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)
    if not (real or kind == np.bool_):
        raise TypeError(f"`{name}` must hold real numbers, but its dtype is {kind}.")
    if dtype is None:
        wide = jnp.issubdtype(kind, jnp.floating) and jnp.finfo(kind).bits >= 32
        dtype = jax.dtypes.canonicalize_dtype(kind) if wide else default_float()
    return jnp.asarray(value, dtype=dtype)


def check_shape(value: Any, name: str, shape: tuple, meaning: str, hint: str = "") -> None:
    """ValueError unless `value` has exactly `shape`."""
    if tuple(value.shape) != tuple(shape):
        text = f"`{name}` must have shape {meaning} = {tuple(shape)}, got {tuple(value.shape)}."
        raise ValueError(f"{text} {hint}".rstrip())


def check_scalar_or(value: Any, name: str, size: int, meaning: str) -> None:
    """ValueError unless `value` is a scalar or has shape `(size,)`."""
    if tuple(value.shape) not in ((), (size,)):
        raise ValueError(
            f"`{name}` must be a scalar or have shape {meaning} = ({size},), "
            f"got {tuple(value.shape)}."
        )


def check_finite(value: Any, name: str) -> None:
    """ValueError naming the first NaN or infinite entry of a concrete array."""
    if value is None or not is_concrete(value):
        return
    bad = ~np.isfinite(np.asarray(value))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f" at index {index}" if index else ""
        raise ValueError(f"`{name}` must be finite, but is {np.asarray(value)[index]}{where}.")


def check_at_least(value: Any, name: str, bound: float, *, strict: bool, hint: str = "") -> None:
    """ValueError unless a concrete `value` is finite and (strictly) above `bound`."""
    check_finite(value, name)
    if value is None or not is_concrete(value):
        return
    array = np.asarray(value)
    bad = array <= bound if strict else array < bound
    if bad.any():
        sign = ">" if strict else ">="
        text = f"`{name}` must be {sign} {bound:g}, but is {array[bad].ravel()[0]:g}."
        raise ValueError(f"{text} {hint}".rstrip())


def as_count(value: Any, name: str, least: int = 1) -> int:
    """`value` as a Python int; ValueError unless it is a whole number of at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"`{name}` must be a whole number >= {least}, got {value!r}.")
    return int(value)


def check_option(value: Any, name: str, options: tuple) -> None:
    """ValueError unless `value` is one of `options`."""
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"`{name}` must be one of {listed}, but is {value!r}.")


def missing(package: str, extra: str, what: str) -> ImportError:
    """The error for a missing optional package: what needs it and the line that brings it."""
    return ImportError(f'{what} needs {package}: pip install "hopfax[{extra}]"')
