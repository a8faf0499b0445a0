"""Models to and from files: a JSON header, then the arrays. No pickle, no code."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _activations, _interactions, _rate_activations, constraints, networks, patterns
from ._engines import EventDriven
from ._errors import LoadError

_FORMAT = "hopfax-model"
_SCHEMA = 1
#: Of which the layers in `nn` are made.
_PARTS = (eqx.nn.Linear, eqx.nn.LayerNorm, EventDriven)


@functools.cache
def _registry() -> dict[str, type]:
    """The classes that a file may name: the public modules of this library and the layers of
    Equinox that its own are made of, and nothing else."""
    from . import nn  # not before a file is read or written

    homes = (_activations, _interactions, _rate_activations, constraints, networks, nn, patterns)
    found: dict[str, type] = {kind.__name__: kind for kind in _PARTS}
    for home in homes:
        for name, item in vars(home).items():
            public = isinstance(item, type) and issubclass(item, eqx.Module)
            if public and not name.startswith("Abstract"):
                found[name] = item
    return found


def save(path: Any, model: eqx.Module, *, notes: dict[str, Any] | None = None) -> None:
    """Write a network (or patterns, a state, an activation) to a file.

    The first line is a JSON header with classes, options and array shapes; the arrays follow in
    NumPy's format. The file appears only when it is complete. `notes`: anything that can be written
    as JSON, kept in the header, e.g. how the model was made.

    A class from outside hopfax, such as a network of your own, is named by its module and its own
    name; `load` then wants it in `classes`.

    **Raises:** TypeError if `model` holds something that is neither an array, a number, a string,
    None, nor an equinox Module that can be found again by its name.

    **Example:**

    ```python
    hx.save("memories.hopfax", hx.patterns.hadamard(4, 16), notes={"why": "an example"})
    hx.load("memories.hopfax").xi.shape  # 4, 16
    ```
    """
    path = pathlib.Path(path)
    leaves: list[np.ndarray] = []
    header = {"format": _FORMAT, "schema": _SCHEMA, "model": _encode(model, "model", leaves)}
    if notes is not None:
        header["notes"] = notes
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            for leaf in leaves:
                np.save(file, _plain(leaf), allow_pickle=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Any, *, cast: bool = False, classes: Iterable[type] = ()) -> Any:
    """Read what `save` wrote.

    A file names classes and never brings code: those of hopfax are known, others are taken from
    `classes` and from nowhere else. A class is filled field by field; its `__init__` does not run.

    **Arguments:** `cast`: allow float64 arrays to become float32 where double precision is off.
    `classes`: classes from outside hopfax that the file may name, e.g. a network of your own.

    **Raises:** LoadError, naming the file and what is wrong with it, if it is truncated, of another
    format or schema, or names an unknown class. Never a partial model.

    **Example:**

    ```python
    hx.save("memories.hopfax", hx.patterns.hadamard(4, 16))
    hx.load("memories.hopfax").xi.shape  # 4, 16
    ```
    """
    path = pathlib.Path(path)
    known = _registry() | {_name(kind): _module(kind) for kind in classes}
    with open(path, "rb") as file:
        header = _header(path, file)
        try:
            model = _decode(header.get("model"), "model", _Source(path, file, cast, known))
        except (TypeError, ValueError) as error:
            if isinstance(error, LoadError):
                raise
            raise LoadError(f"{path}: the header is damaged.") from error
        if file.read(1):
            raise LoadError(f"{path} goes on after the last array of its header.")
    return model


def notes(path: Any) -> dict[str, Any]:
    """What was noted in a file's header; empty if nothing was."""
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        found = _header(path, file).get("notes")
    return found if isinstance(found, dict) else {}


def _header(path: pathlib.Path, file: Any) -> dict[str, Any]:
    try:
        header = json.loads(file.readline())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LoadError(f"{path}: the first line is no JSON header of a hopfax model.") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise LoadError(f"{path} is no hopfax model.")
    if header.get("schema") != _SCHEMA:
        raise LoadError(
            f"{path} has schema {header.get('schema')!r}; this version reads {_SCHEMA}."
        )
    return header


def _name(kind: type) -> str | None:
    """How a file names a class; None for one that cannot be found again by a name."""
    if _registry().get(kind.__name__) is kind:
        return kind.__name__
    own = kind.__module__.split(".")[0] != "hopfax" and "<locals>" not in kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}" if own else None


def _module(kind: Any) -> type:
    if not (isinstance(kind, type) and issubclass(kind, eqx.Module)):
        raise TypeError(f"`classes` must list classes derived from equinox.Module, got {kind!r}.")
    return kind


class _Source(NamedTuple):
    """A file that is read: what it may name, and how its arrays are taken."""

    path: pathlib.Path
    file: Any
    cast: bool
    known: dict[Any, type]


def _encode(value: Any, where: str, leaves: list[np.ndarray]) -> Any:
    if isinstance(value, jax.Array | np.ndarray):
        array = np.asarray(value)
        leaves.append(array)
        return {"array": [list(array.shape), str(array.dtype)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if type(value) in (tuple, list):
        entries = [_encode(item, f"{where}[{k}]", leaves) for k, item in enumerate(value)]
        return {type(value).__name__: entries}
    if isinstance(value, dict):
        entries = [[key, _encode(value[key], f"{where}[{key!r}]", leaves)] for key in value]
        return {"dict": entries}
    kind = type(value)
    if not isinstance(value, eqx.Module) or (name := _name(kind)) is None:
        raise TypeError(
            f"`{where}` is a {kind.__qualname__}, which cannot be saved: it is neither a public "
            "hopfax class nor an equinox Module defined at the top of a module of your own."
        )
    fields = {
        field.name: _encode(getattr(value, field.name), f"{where}.{field.name}", leaves)
        for field in dataclasses.fields(value)
    }
    return {"class": name, "fields": fields}


def _decode(node: Any, where: str, source: _Source) -> Any:
    path = source.path
    if not isinstance(node, dict):
        raise LoadError(f"{path}: the header is damaged at {where}.")
    if "array" in node:
        return _read_array(node["array"], where, source)
    if "value" in node:
        return node["value"]
    if "dict" in node:
        return {key: _decode(entry, f"{where}[{key!r}]", source) for key, entry in node["dict"]}
    for kind in (tuple, list):
        if kind.__name__ in node:
            entries = enumerate(node[kind.__name__])
            return kind(_decode(e, f"{where}[{k}]", source) for k, e in entries)
    name = node.get("class")
    if name not in source.known:
        hint = ""
        if isinstance(name, str) and "." in name:
            hint = f" If it is yours, pass load(..., classes=[{name.rsplit('.', 1)[-1]}])."
        raise LoadError(f"{path}: {where} is of the unknown class {name!r}.{hint}")
    kind = source.known[name]
    expected = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(node.get("fields"), dict) or set(node["fields"]) != expected:
        raise LoadError(
            f"{path}: {where} ({node['class']}) must have fields {sorted(expected)}, but has "
            f"{sorted(node.get('fields', {}))}."
        )
    values = {
        name: _decode(node["fields"][name], f"{where}.{name}", source)
        for name in (field.name for field in dataclasses.fields(kind))
    }
    model = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(model, name, value)
    return model


def _plain(array: np.ndarray) -> np.ndarray:
    """Of types that NumPy's format does not know (bfloat16) the bits."""
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


def _read_array(expected: Any, where: str, source: _Source) -> jax.Array:
    path = source.path
    try:
        array = np.load(source.file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LoadError(f"{path} is truncated or damaged at {where}.") from error
    shape, dtype = tuple(expected[0]), expected[1]
    if dtype == "bfloat16" and array.dtype == np.uint16:
        array = array.view(jnp.bfloat16)
    if array.shape != shape or str(array.dtype) != dtype:
        raise LoadError(
            f"{path}: {where} must be {dtype}{list(shape)}, but the file has "
            f"{array.dtype}{list(array.shape)}."
        )
    narrow = jax.dtypes.canonicalize_dtype(array.dtype)
    if narrow != array.dtype and not source.cast:
        raise LoadError(
            f"{path}: {where} is {array.dtype}, but double precision is off; enable it with "
            'jax.config.update("jax_enable_x64", True), or load(path, cast=True).'
        )
    return jnp.asarray(array.astype(narrow))
