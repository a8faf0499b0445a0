"""Errors and the checks that raise them. A message says what was given, what was expected, and what
to do about it.

Shapes and kinds of dtypes are always checked, also under a trace. Values are checked where they are
known. Under a trace they are not, and a bad one gives a run the status INVALID_PARAMETER instead
(see `_status`).
"""

import contextlib
import contextvars
import functools
import math
import os
import pathlib
import sys
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._types import Dataset, is_concrete
from ._values import (
    as_complex as as_complex,
    as_count as as_count,
    as_float as as_float,
    as_index as as_index,
    as_indices as as_indices,
    as_key as as_key,
    as_number as as_number,
    as_real as as_real,
    cast as cast,
    check_bool as check_bool,
    check_callable as check_callable,
    check_mapping as check_mapping,
    check_option as check_option,
    check_path as check_path,
    check_type as check_type,
    shown as shown,
)


class SimulationError(RuntimeError):
    """A run ended with a status that is not OK; `.status` holds its code, a key of `hopfax.STATUS`.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.Patterns([[1e200, -1e200]]), hx.Softmax())
    try:
        hx.iterate(memory, memory.init([1e200, -1e200]), steps=1)  # beyond the largest float
    except hx.SimulationError as error:
        name, meaning = hx.STATUS[error.status]  # "nonfinite"
    ```
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class SweepFailed(RuntimeError):
    """Some points of a `sweep(..., on_failure="raise")` failed. Raised at the end, when all points
    are computed and stored; `.dataset` holds them all.

    **Example:**

    ```python
    try:
        hx.sweep(
            hx.theory.sequential.fixed_points, {"kappa": [5.0, np.nan]}, on_failure="raise"
        )
    except hx.SweepFailed as error:
        error.dataset.status.values  # 0, 4: see hx.STATUS
    ```
    """

    def __init__(self, message: str, dataset: Dataset | None = None):
        super().__init__(message)
        self.dataset = dataset


class StoreError(OSError):
    """A folder holds no sweep where one is needed, or something that a sweep must not replace.

    **Example:**

    ```python
    try:
        hx.open_sweep("nowhere")
    except hx.StoreError as error:
        str(error)  # "nowhere holds no sweep (there is no sweep.json in it)."
    ```
    """


class StoreBusy(StoreError):
    """Another process is writing to the same store.

    **Example:**

    ```python
    point, grid = hx.theory.sequential.fixed_points, {"kappa": [5.0, 6.0]}
    try:
        dataset = hx.sweep(point, grid, store="kappa")
    except hx.StoreBusy:  # not in this example, where nobody else writes
        dataset = hx.open_sweep("kappa", partial=True)  # what there is so far
    ```
    """


class StoreCorrupt(StoreError):
    """A file of a stored sweep is damaged. Nothing in the store was changed.

    **Example:**

    ```python
    import pathlib

    hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [5.0, 6.0]}, store="kappa")
    pathlib.Path("kappa/sweep.json").write_text("damaged")
    try:
        hx.open_sweep("kappa")
    except hx.StoreCorrupt as error:
        str(error)  # names the file and says how to mend it
    ```
    """


class ConfigMismatch(StoreError):
    """A store holds a sweep with other settings; the message names those that differ.

    **Example:**

    ```python
    point = hx.theory.sequential.fixed_points
    hx.sweep(point, {"kappa": [5.0, 6.0]}, store="kappa")
    try:
        hx.sweep(point, {"kappa": [5.0, 7.0]}, store="kappa")
    except hx.ConfigMismatch as error:
        str(error)  # names the grid of kappa
    ```
    """


class LoadError(ValueError):
    """A file does not hold what `load` expects; nothing was loaded.

    **Example:**

    ```python
    import pathlib

    pathlib.Path("notes.txt").write_text("no model")
    try:
        hx.load("notes.txt")
    except hx.LoadError as error:
        str(error)  # "notes.txt: the first line is no JSON header of a hopfax model."
    ```
    """


class SweepWarning(UserWarning):
    """Some points of a sweep failed, or part of a store cannot be read.

    **Example:**

    ```python
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.SweepWarning)
        found = hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [5.0, np.nan]})
    found.status.values  # 0, 4: see hx.STATUS
    ```
    """


class FitWarning(UserWarning):
    """A fit ended, but did not reach what was asked for, or the data do not determine all that was
    fitted.

    **Example:**

    ```python
    import warnings

    warnings.simplefilter("error", hx.FitWarning)  # from here on such a fit raises
    ```
    """


class PhysicsWarning(UserWarning):
    """What was given is legal, but a run will probably not show what it was set up to show.

    **Example:**

    ```python
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.PhysicsWarning)
        hx.Patterns([[1, 1, -1], [-1, -1, 1]])  # the same memory twice, up to its sign
    ```
    """


#: Packages whose code stands between a user's line and what warns: a decorator, the making of a
#: module, a worker thread.
_BETWEEN = {
    *("hopfax", "equinox", "jax", "jaxlib", "jaxtyping", "beartype", "wadler_lindig"),
    *("diffrax", "optimistix", "lineax", "optax", "tyro", "dask", "distributed"),
    *("functools", "contextlib", "threading", "concurrent", "runpy"),
}
_HUSHED: contextvars.ContextVar[tuple[type[Warning], ...]] = contextvars.ContextVar(
    "hushed", default=()
)


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the user's line: the innermost one that belongs to no package in `_BETWEEN`, however
    many calls lie between. In a worker thread, which has no such line, at the outermost one."""
    if issubclass(category, _HUSHED.get()):
        return
    frame: FrameType | None = sys._getframe(1)
    place = frame
    while frame is not None:
        place = frame
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _BETWEEN:
            break
        frame = frame.f_back
    assert place is not None  # this function was called from somewhere
    warnings.warn_explicit(
        text,
        category,
        place.f_code.co_filename,
        place.f_lineno,
        module=place.f_globals.get("__name__", "hopfax"),
        registry=place.f_globals.setdefault("__warningregistry__", {}),
    )


@contextlib.contextmanager
def hushed(category: type[Warning]) -> Iterator[None]:
    """No warnings of a category by `warn` inside. The filters of `warnings` belong to the whole
    process, so that `warnings.catch_warnings` in one thread disturbs the others; this does not."""
    token = _HUSHED.set((*_HUSHED.get(), category))
    try:
        yield
    finally:
        _HUSHED.reset(token)


def check_shape(value: Any, name: str, shape: tuple, meaning: str, hint: str = "") -> None:
    """ValueError unless `value` has exactly `shape`."""
    if tuple(value.shape) != tuple(shape):
        wanted = "(), one number" if meaning == "()" else f"{meaning} = {tuple(shape)}"
        text = f"`{name}` must have shape {wanted}, got {tuple(value.shape)}."
        raise ValueError(f"{text} {hint}".rstrip())


def filled(value: Any, name: str, shape: tuple, meaning: str) -> Any:
    """An array that must have `shape`, for which one number stands for all of its entries.

    **Raises:** ValueError for any other shape.
    """
    if tuple(value.shape) == ():
        return jnp.broadcast_to(value, shape)
    check_shape(value, name, shape, meaning)
    return value


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


def check_not_nan(value: Any, name: str) -> None:
    """ValueError naming the first NaN of a concrete array."""
    if not is_concrete(value):
        return
    bad = np.isnan(np.asarray(value))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"`{name}` must not be nan{f', but is at index {index}' if index else ''}."
        )


def check_at_least(value: Any, name: str, bound: float, *, strict: bool, hint: str = "") -> None:
    """ValueError unless a concrete `value` is finite and >= `bound`, or > `bound` if `strict`."""
    check_finite(value, name)
    if value is None or not is_concrete(value):
        return
    array = np.asarray(value)
    bad = array <= bound if strict else array < bound
    if bad.any():
        sign = ">" if strict else ">="
        text = f"`{name}` must be {sign} {bound:g}, but is {array[bad].ravel()[0]:g}."
        raise ValueError(f"{text} {hint}".rstrip())


def check_within(value: Any, name: str, low: float, high: float) -> None:
    """ValueError unless a concrete `value` lies between `low` and `high`, but for rounding."""
    check_finite(value, name)
    if not is_concrete(value):
        return
    array, room = np.asarray(value), 1e-6 * (high - low)
    bad = (array < low - room) | (array > high + room)
    if bad.any():
        text = f"lie between {low:g} and {high:g}, but is {array[bad].ravel()[0]:g}"
        raise ValueError(f"`{name}` must {text}.")


def check_memory(name: str, size: int, what: str, hint: str = "") -> None:
    """ValueError if `size` bytes are more than this machine has.

    To be called before an array is asked for: what does not fit ends the process on most systems,
    without a word. A size is a Python int, which does not overflow.

    **Arguments:** `name`: the argument at fault. `size`: the bytes that must be there at one time.
    `what`: what takes them. `hint`: what to do, as a sentence.
    """
    if size > (most := machine_memory()):
        text = f"`{name}` is too large: {what} would take {in_words(size)}, and this machine has"
        raise ValueError(f"{text} {in_words(most)} of memory. {hint}".rstrip())


def check_array(what: str, each: int, **sizes: int) -> None:
    """`check_memory` of an array of these sizes, `each` bytes an entry; the argument at fault is
    the largest of them. Sizes that are no whole numbers are left to other checks."""
    if all(isinstance(size, int | np.integer) for size in sizes.values()):
        worst = max(sizes, key=lambda name: sizes[name])
        total = each * math.prod(map(int, sizes.values()))
        shape = " x ".join(f"{int(size):,}" for size in sizes.values())
        check_memory(worst, total, f"{what} ({shape})")


@functools.cache
def machine_memory() -> int:
    """Bytes of memory that this process may have: those of the machine, or fewer where a container
    sets a limit; 1 TB where nothing is known."""
    known = []
    try:
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not on Windows
        known.append(10**12)
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            known.append(int(pathlib.Path("/sys/fs/cgroup", file).read_text()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    return min(size for size in known if size > 0)


def in_words(size: int) -> str:
    """A number of bytes for a message: 5.4 GB."""
    if size >= 10**18:
        return f"10^{len(str(size)) - 1 if size < 10**300 else size.bit_length() * 3 // 10} bytes"
    for unit, one in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= one:
            return f"{size / one:.3g} {unit}"
    return f"{size} bytes"


def missing(package: str, extra: str, what: str) -> ImportError:
    """The error for an optional package that is missing: what needs it, and how to install it."""
    return ImportError(f'{what} needs {package}: pip install "hopfax[{extra}]"')
