"""A model as plain data that JSON can hold, beside a list of its arrays; and back."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import (
    _activations,
    _distances,
    _interactions,
    _rate_activations,
    constraints,
    networks,
    patterns,
)
from .._constant import Constant
from .._engines import EventDriven
from .._errors import LoadError
from .._files import Source
from .._types import is_concrete
from ..networks.dense import _traces, _transitions
from ._check import check, ours
from ._earlier import upgraded

#: Of which the layers in `nn` are made.
_PARTS = (eqx.nn.Linear, eqx.nn.LayerNorm, eqx.nn.Dropout, EventDriven)


@functools.cache
def registry() -> dict[str, type]:
    """The classes that a file may name: the public modules of this library and the layers of
    Equinox that its own are made of, and nothing else."""
    from .. import nn  # not before a file is read or written
    from ..nn import _free, _sequence_memory

    homes = (_activations, _interactions, _distances, _rate_activations)
    homes += (constraints, networks, nn, patterns)
    homes += (_transitions, _traces)
    parts = (*_PARTS, *_free.PARTS, _sequence_memory.Gains)
    found: dict[str, type] = {kind.__name__: kind for kind in parts}
    for home in homes:
        for name, item in vars(home).items():
            public = isinstance(item, type) and issubclass(item, eqx.Module)
            if public and not name.startswith("Abstract"):
                found[name] = item
    return found


def name_of(kind: type) -> str | None:
    """How a file names a class; None for one of hopfax's that are not public."""
    if registry().get(kind.__name__) is kind:
        return kind.__name__
    own = kind.__module__.split(".")[0] != "hopfax"
    return f"{kind.__module__}.{kind.__qualname__}" if own else None


def encode(value: Any, where: str, leaves: list[np.ndarray], checked: bool = False) -> Any:
    """A part of a model as plain data; its arrays are appended to `leaves`. `checked`: it is part
    of something that was checked.

    **Raises:** TypeError for what a file cannot hold, ValueError for a module that could not be
    loaded; both name the part and say what to do.
    """
    if isinstance(value, jax.Array | np.ndarray):
        array = _array(value, where)
        leaves.append(array)
        return {"array": [list(array.shape), str(array.dtype)]}
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if type(value) in (tuple, list):
        entries = [encode(item, f"{where}[{k}]", leaves) for k, item in enumerate(value)]
        return {type(value).__name__: entries}
    if type(value) is dict:
        for key in value:
            if type(key) not in (str, int, float, bool, type(None)):
                raise TypeError(
                    f"`{where}` has the key {key!r}, which cannot be saved; use strings or numbers."
                )
        entries = [[key, encode(value[key], f"{where}[{key!r}]", leaves)] for key in value]
        return {"dict": entries}
    kind = type(value)
    if kind is Constant:  # by its value: a file knows how to narrow numbers, not their bits
        return {"constant": encode(value.value, where, leaves, checked)}
    if not isinstance(value, eqx.Module) or (name := name_of(kind)) is None:
        raise TypeError(f"`{where}` is {_described(value)}")
    if not (checked and ours(kind)):
        try:
            check(value, where)
        except ValueError as error:
            raise ValueError(f"`model` could not be loaded again: {error}") from error
    fields = {
        field.name: encode(getattr(value, field.name), f"{where}.{field.name}", leaves, ours(kind))
        for field in dataclasses.fields(value)
    }
    return {"class": name, "fields": fields}


def _array(value: Any, where: str) -> np.ndarray:
    if not is_concrete(value):
        raise TypeError(f"`{where}` is traced; save outside of jit, vmap and grad.")
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"`{where}` is a PRNG key, which cannot be saved; keep jax.random.key_data(key) in its "
            "place, and make the key by jax.random.wrap_key_data."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biufc" and dtype_of(str(array.dtype)) != array.dtype:
        raise TypeError(f"`{where}` is an array of {array.dtype}; only numbers can be saved.")
    return array


def _described(value: Any) -> str:
    """What something is that cannot be saved, and what to do."""
    kind = type(value)
    text = f"a {kind.__qualname__}, which cannot be saved"
    if isinstance(value, eqx.Module):
        return (
            f"{text}: of hopfax, networks, patterns, states, activations, interactions, "
            "constraints and layers can. A dict of its arrays can be saved, too."
        )
    if callable(value) and (name := getattr(value, "__qualname__", None)) is not None:
        return (
            f"{name}, a {kind.__name__}, which cannot be saved: a file holds no code. Make it a "
            "method of your class, or a small equinox.Module with `__call__`."
        )
    return (
        f"{text}: a model is made of arrays, numbers, strings, None, tuples, lists, dicts and "
        "equinox.Modules, of hopfax or your own. Keep it in one of these."
    )


def dtype_of(name: Any) -> np.dtype | None:
    """The dtype of an array of numbers, by its name; None if there is none."""
    try:
        found = np.dtype(name) if type(name) is str else None
    except TypeError:
        return None
    if found is not None and found.kind == "V" and found.names is None and found.shape == ():
        return found if found in _extended() else None
    return found if found is not None and found.kind in "biufc" else None


@functools.cache
def _extended() -> set[np.dtype]:
    """Dtypes of JAX that NumPy's format does not know, such as bfloat16."""
    kinds = [getattr(jnp, name) for name in dir(jnp) if name.startswith(("bfloat", "float", "int"))]
    found = {np.dtype(kind) for kind in kinds if isinstance(kind, type(jnp.float32))}
    return {dtype for dtype in found if dtype.kind == "V"}


class Reader(NamedTuple):
    """A file that is read: what it may name, and how its arrays are taken."""

    source: Source
    cast: bool
    known: Callable[[str], type | None]
    domain: bool  # whether parameters are checked, too


def decode(node: Any, where: str, reader: Reader, checked: bool = False) -> Any:
    """A part of a model from what `encode` made of it. `checked`: it is part of something that
    will be checked. **Raises:** LoadError."""
    if not isinstance(node, dict):
        raise _damaged(where, reader)
    if "array" in node and len(node) == 1:
        return _read_array(node["array"], where, reader)
    if "value" in node and len(node) == 1:
        if type(node["value"]) not in (bool, int, float, str, type(None)):
            raise _damaged(where, reader)
        return node["value"]
    if "constant" in node and len(node) == 1:
        return Constant(decode(node["constant"], where, reader, checked))
    if "dict" in node and len(node) == 1:
        return {key: decode(entry, f"{where}[{key!r}]", reader) for key, entry in node["dict"]}
    for kind in (tuple, list):
        if kind.__name__ in node and len(node) == 1:
            entries = enumerate(node[kind.__name__])
            return kind(decode(e, f"{where}[{k}]", reader) for k, e in entries)
    if set(node) != {"class", "fields"} or type(node["class"]) is not str:
        raise _damaged(where, reader)
    return _decode_module(node["class"], node["fields"], where, reader, checked)


def _decode_module(name: str, given: Any, where: str, reader: Reader, checked: bool) -> Any:
    source = reader.source
    if (kind := reader.known(name)) is None:
        hint = ""
        if "." in name:
            short = name.rsplit(".", 1)[-1]
            hint = (
                f" If it is yours, define or import it and pass load(..., classes=[{short}]): a "
                "file names classes and holds no code."
            )
        raise source.error(f"cannot be loaded: {where} is of the unknown class {name!r}.{hint}")
    names = [field.name for field in dataclasses.fields(kind)]
    fields = {}
    if isinstance(given, dict):
        fields = {
            field: decode(node, f"{where}.{field}", reader, ours(kind))
            for field, node in given.items()
        }
        if kind.__module__.startswith("hopfax."):
            fields = upgraded(name, fields)
    if set(fields) != set(names):
        found = sorted(given) if isinstance(given, dict) else given
        raise source.error(
            f"does not fit: {where} ({name}) must have fields {sorted(names)}, but has {found}."
        )
    model: Any = object.__new__(kind)
    for field in names:
        object.__setattr__(model, field, fields[field])
    if not (checked and ours(kind)):
        try:
            check(model, where, reader.domain)
        except ValueError as error:
            raise source.error(f"holds no {name} that there can be: {error}") from error
    return model


def _read_array(expected: Any, where: str, reader: Reader) -> jax.Array:
    source = reader.source
    sizes, name = expected
    if (dtype := dtype_of(name)) is None or not all(type(n) is int and n >= 0 for n in sizes):
        raise _damaged(where, reader)
    array = source.array(where, tuple(sizes), dtype)
    narrow = jax.dtypes.canonicalize_dtype(dtype)
    if narrow != dtype and not reader.cast:
        raise source.error(
            f"cannot be loaded: {where} is {dtype}, but double precision is off; enable it with "
            'jax.config.update("jax_enable_x64", True), or load(path, cast=True).'
        )
    return jnp.asarray(array.astype(narrow))


def _damaged(where: str, reader: Reader) -> LoadError:
    return reader.source.error(f"is damaged: its header makes no sense at {where}.")
