"""What a user gives, made into arrays, counts and keys, or refused with a sentence that names the
argument. Everything that is taken from a user goes through one of these doors, so that the same
value is taken or refused in all places.

A masked entry, a unit, an imaginary part or a date has no place in an array of real numbers: NumPy
drops the first three and counts the last, all in silence. Here they are refused.
"""

import inspect
import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._types import default_float, is_concrete

_LARGEST = 2**53  # beyond it a float64 does not hold every whole number


def as_float(value: Any, name: str, dtype: Any = None) -> jax.Array:
    """`value` as an array of real floats of `dtype`, by default its own dtype where that is a float
    of at least 32 bits, else the default float.

    **Raises:** TypeError for anything but real numbers, ValueError for masked entries and numbers
    that no float holds.
    """
    array = as_real(value, name)
    if dtype is None:
        kind = array.dtype
        wide = jnp.issubdtype(kind, jnp.floating) and jnp.finfo(kind).bits >= 32
        dtype = jax.dtypes.canonicalize_dtype(kind) if wide else default_float()
    return cast(array, name, dtype)


def cast(array: jax.Array | np.ndarray, name: str, dtype: Any) -> jax.Array:
    """An array of real numbers in the float `dtype`.

    **Raises:** ValueError for a number beyond the largest one of `dtype`, which would be infinite.
    """
    if isinstance(array, jax.Array):
        return jnp.asarray(array, dtype=dtype)
    with np.errstate(over="ignore"):
        made = array.astype(dtype)
    if array.dtype.kind in "iuf" and array.itemsize > made.itemsize:
        _refuse(array, np.isinf(made) & ~np.isinf(array), name, f"numbers that {dtype} holds")
    return jax.device_put(made)  # `jnp.asarray` compiles a program for every new shape


def as_real(value: Any, name: str) -> jax.Array | np.ndarray:
    """`value` as an array of real numbers in a dtype that JAX knows, else as it comes.

    **Raises:** as `as_float`.
    """
    array = value if isinstance(value, jax.Array) else _from_outside(value, name)
    kind = array.dtype
    real = jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)
    if (real or kind == np.bool_) and kind.kind != "m":  # to NumPy a duration is an integer
        return array
    raise TypeError(f"`{name}` must hold real numbers, but {_instead(kind, name)}.")


def as_complex(value: Any, name: str) -> np.ndarray:
    """`value` as a finite array of NumPy, of complex or real numbers.

    **Raises:** as `as_float`, and ValueError for NaN and infinite entries.
    """
    array = np.asarray(value if isinstance(value, jax.Array) else _from_outside(value, name))
    if array.dtype.kind != "c":
        array = np.asarray(as_real(array, name))
    _refuse(array, ~np.isfinite(array), name, "finite numbers")
    return array


def as_indices(value: Any, name: str, most: int = 2**31, least: int = 0) -> jax.Array | np.ndarray:
    """`value` as an array of whole numbers from `least` to below `most`, of int64 where they are
    known (as they are in a trace, where they are not). Floats are taken if they are whole.

    **Raises:** TypeError for anything but numbers, ValueError for numbers out of range.
    """
    array = as_real(value, name)
    if array.dtype == np.bool_:
        raise TypeError(f"`{name}` must hold whole numbers, but its dtype is bool.")
    if not is_concrete(array):
        if jnp.issubdtype(array.dtype, jnp.integer):
            return array
        raise TypeError(f"`{name}` must hold whole numbers, but its dtype is {array.dtype}.")
    numbers = np.asarray(array)
    if numbers.dtype.kind not in "iu":
        numbers = numbers.astype(np.float64)
        with np.errstate(invalid="ignore"):
            bad = ~((numbers == np.floor(numbers)) & (np.abs(numbers) <= _LARGEST))
        _refuse(numbers, bad, name, "whole numbers")
    out = (numbers < least) | (numbers >= most)
    _refuse(numbers, out, name, f"indices from {least} to below {most}")
    return numbers.astype(np.int64)


def as_count(value: Any, name: str, least: int = 1, most: int | float = math.inf) -> int:
    """`value` as a Python int.

    **Raises:** TypeError unless it is one whole number, also one of NumPy or JAX; ValueError unless
    `least` <= `value` <= `most`.
    """
    text = f"`{name}` must be a whole number >= {least}"
    if (number := _whole(value)) is None:
        traced = isinstance(value, jax.Array) and not is_concrete(value)
        raise TypeError(
            f"{text} (a Python int), got {'what is traced' if traced else shown(value)}."
        )
    if number < least:
        raise ValueError(f"{text}, got {shown(number)}.")
    if number > most:
        raise ValueError(f"`{name}` must be at most {most:,}, got {shown(number)}.")
    return number


def _whole(value: Any) -> int | None:
    """A whole number as a Python int, also one of NumPy or JAX; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, np.ndarray | np.generic | jax.Array) or np.ma.isMaskedArray(value):
        return None
    if value.ndim or not is_concrete(value):
        return None
    return int(value) if np.dtype(value.dtype).kind in "iu" else None


def as_index(value: Any, name: str, size: int, what: str) -> int | jax.Array:
    """`value` as the number of one of `size` things: a Python int, or as it is in a trace.

    **Raises:** TypeError unless it is one whole number, ValueError unless 0 <= `value` < `size`.
    """
    if isinstance(value, jax.Array) and not is_concrete(value):
        if value.ndim or not jnp.issubdtype(value.dtype, jnp.integer):
            text = f"got a traced array of shape {value.shape} and dtype {value.dtype}"
            raise TypeError(f"`{name}` must be one whole number, {text}.")
        return value
    if (number := _whole(value)) is None:
        raise TypeError(f"`{name}` must be a whole number (a Python int), got {shown(value)}.")
    if not 0 <= number < size:
        text = f"0..{size - 1}, but is {shown(number)}"
        raise ValueError(f"`{name}` must be one of the {size} {what}, {text}.")
    return number


def as_number(value: Any, name: str) -> float:
    """`value`, one real number that is known, as a Python float.

    **Raises:** TypeError for anything but one real number, ValueError for several or NaN.
    """
    array = as_real(value, name)
    if array.ndim:
        raise ValueError(f"`{name}` must be one number, got an array of shape {array.shape}.")
    if not is_concrete(array):
        raise TypeError(f"`{name}` must be known when the program is compiled, but it is traced.")
    if math.isnan(number := float(array)):
        raise ValueError(f"`{name}` must be a number, but is nan.")
    return number


def as_key(key: Any) -> jax.Array:
    """`key` as a single typed PRNG key, also from the older kind, two uint32 words.

    **Raises:** TypeError for anything else, ValueError for a batch of keys.
    """
    hint = "make one with jax.random.key(seed)"
    if not isinstance(key, jax.Array) and not isinstance(key, np.ndarray):
        raise TypeError(f"`key` must be a PRNG key, got {type(key).__name__}; {hint}.")
    batch = key.shape
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.dtype != np.uint32 or key.shape[-1:] != (2,):
            raise TypeError(f"`key` must be a PRNG key, got dtype {key.dtype}; {hint}.")
        batch = key.shape[:-1]
    if batch:
        raise ValueError(f"`key` must be one key, got a batch of shape {batch}; pass a single one.")
    return jnp.asarray(key) if key.shape == () else jr.wrap_key_data(jnp.asarray(key))


def check_type(value: Any, name: str, kind: type | tuple[type, ...], what: str) -> None:
    """TypeError unless `value` is an instance of `kind`; `what` says what was expected, and how one
    is made."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` must be {what}, got {shown(value)}.")


def check_callable(value: Any, name: str, what: str = "a function") -> None:
    """TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"`{name}` must be {what}, got {shown(value)}.")


def check_bool(value: Any, name: str) -> None:
    """TypeError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False, got {shown(value)}.")


def check_path(value: Any, name: str = "path") -> None:
    """TypeError unless `value` is the name of a file or folder."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise TypeError(f"`{name}` must be the name of a file or folder, got {shown(value)}.")


def check_mapping(value: Any, name: str, what: str) -> None:
    """TypeError unless `value` is a dictionary whose keys are text."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"`{name}` must be {what}, got {shown(value)}.")


def check_option(value: Any, name: str, options: tuple) -> None:
    """ValueError unless `value` is one of `options`."""
    if not isinstance(value, str | int | float | None) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"`{name}` must be one of {listed}, but is {shown(value)}.")


def shown(value: Any) -> str:
    """`value` in a message: short, and what it is where that says more."""
    if inspect.isclass(value):
        return f"the class {value.__name__}; call it to make one"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
        return text if len(text) <= 60 else f"{text[:56]} ..."
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(np.shape(value))} and dtype {value.dtype}"
    if inspect.isfunction(value) or inspect.isbuiltin(value) or inspect.ismethod(value):
        return f"the function {getattr(value, '__name__', '')}"
    if isinstance(value, list | tuple | dict | set):
        try:
            text = repr(value)
        except Exception:
            text = ""
        if text and len(text) <= 60:
            return text
    return type(value).__name__


def _from_outside(value: Any, name: str) -> np.ndarray | jax.Array:
    """An array of NumPy in a dtype that JAX knows; of JAX from a list of its arrays."""
    _check_parts(value, name)
    if isinstance(value, np.ma.MaskedArray):
        value = value.data
    try:
        array = np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # a list of tracers
        return jnp.asarray(value)
    except (ValueError, OverflowError) as error:
        raise TypeError(f"`{name}` must be a rectangular array of real numbers.") from error
    except Exception as error:
        text = f"`{name}` must be an array of real numbers, got {type(value).__name__}: {error}"
        raise TypeError(text) from error
    kind = array.dtype
    if kind.kind == "O":
        return _from_objects(array, name)
    if kind.kind == "f" and kind.itemsize > 8:  # long double: 80 or 128 bits
        return array.astype(np.float64)
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


def _check_parts(value: Any, name: str) -> None:
    """Refuse masks and units, which NumPy drops, here and in lists and tuples of such."""
    if isinstance(value, list | tuple):
        if not all(isinstance(part, float | int) for part in value):
            for part in value:
                _check_parts(part, name)
        return
    if isinstance(value, np.ma.MaskedArray):
        if count := int(np.ma.count_masked(value)):
            size = "its only entry" if value.size == 1 else f"{count} of its {value.size} entries"
            raise ValueError(
                f"`{name}` is a masked array, and {size} {'are' if count > 1 else 'is'} masked: "
                f"fill them, as by `{name}.filled(0.0)`, or leave their rows out."
            )
        return
    if type(value) is np.ndarray or isinstance(value, int | float):
        return
    for word in ("units", "unit"):  # of pint, astropy, unyt and others
        own = hasattr(type(value), word) or (isinstance(value, np.ndarray) and hasattr(value, word))
        if own and np.asarray(getattr(value, "magnitude", 0)).dtype.kind not in "mM":
            unit = str(getattr(value, word))
            if unit not in ("", "dimensionless") and not _is_time(value):
                raise TypeError(
                    f"`{name}` has the unit {unit}, and hopfax has none: divide by the unit that "
                    f"you count in, and pass the number."
                )


def _is_time(value: Any) -> bool:
    """Whether `value` is a time of pandas, whose unit is that of its clock."""
    return type(value).__module__.partition(".")[0] == "pandas"


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers in an array of objects, as pandas and long integers make them, as float64."""
    for place, entry in np.ndenumerate(array):
        number = isinstance(entry, int | float | np.integer | np.floating)
        if not number or isinstance(entry, bool):
            if isinstance(entry, list | tuple):
                raise TypeError(f"`{name}` must be a rectangular array of real numbers.")
            what = f"but holds {shown(entry)} at index {place}" if place else f"got {shown(entry)}"
            raise TypeError(f"`{name}` must hold real numbers, {what} (dtype object).")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"`{name}` holds a number too large for a float.") from None


def _instead(kind: Any, name: str) -> str:
    """What an array of another dtype holds, and what to do."""
    if jnp.issubdtype(kind, jax.dtypes.prng_key):
        return f"is a PRNG key ({kind})"
    letter = np.dtype(kind).kind
    if letter in "mM":
        first = f"({name} - {name}[0])" if letter == "M" else name
        what = "dates" if letter == "M" else "durations"
        return f'holds {what}, its dtype is {kind}: divide, as {first} / np.timedelta64(1, "s")'
    if letter == "c":
        return f"its dtype is {kind}: take its real part, {name}.real, if that is what is meant"
    return f"its dtype is {kind}"


def _refuse(numbers: np.ndarray, bad: Any, name: str, what: str) -> None:
    """ValueError that names the first number that is `bad`."""
    bad = np.asarray(bad)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f" at index {place[0] if len(place) == 1 else place}" if place else ""
        raise ValueError(f"`{name}` must hold {what}, but holds {numbers[place]}{where}.")
