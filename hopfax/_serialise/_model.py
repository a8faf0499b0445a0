"""Saving and loading models."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import numpy as np

from .._errors import LoadError, check_bool, check_path, shown, warn
from .._files import open_sealed, write_sealed
from ._nodes import Reader, decode, encode, name_of, registry

_FORMAT = "hopfax-model"
_ENTRIES = {"model", "notes"}


def save(path: str | os.PathLike[str], model: Any, *, notes: dict[str, Any] | None = None) -> None:
    """Write a network (or patterns, a state, an activation, or a dict of these) to a file.

    The first line is a JSON header with classes, options and array shapes, sealed by a checksum of
    the whole file; the arrays follow in NumPy's format. The file appears only when it is complete,
    and takes the place of one that is there. `notes`: anything that can be written as JSON, kept in
    the header, e.g. how the model was made.

    A class from outside hopfax, such as a network of your own, is named by its module and its own
    name; `load` then wants it in `classes`.

    **Raises:** TypeError if `model` holds something that is neither an array, a number, a string,
    None, nor an equinox Module that can be found again by its name, or if `notes` are not JSON;
    ValueError if one of its modules contradicts itself, so that `load` would refuse it.

    **Example:**

    ```python
    hx.save("memories.hopfax", hx.patterns.hadamard(4, 16), notes={"why": "an example"})
    hx.load("memories.hopfax").xi.shape  # 4, 16
    ```
    """
    check_path(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"`path` must name a file, but {os.fsdecode(path)} is a folder.")
    leaves: list[np.ndarray] = []
    content: dict[str, Any] = {"model": encode(model, "model", leaves)}
    if notes is not None:
        try:
            json.dumps(notes)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"`notes` must be plain data that JSON can hold: {error}.") from error
        content["notes"] = notes
    write_sealed(path, _FORMAT, content, leaves)


def load(path: str | os.PathLike[str], *, cast: bool = False, classes: Iterable[type] = ()) -> Any:
    """Read what `save` wrote.

    A file names classes and never brings code: those of hopfax are known, others are taken from
    `classes` and from nowhere else. A class is filled field by field; its `__init__` does not run
    on the values, but every field is checked: by the annotations and constructors of hopfax's
    classes, and by `__check_init__` of your own.

    **Arguments:** `cast`: allow float64 arrays to become float32 where double precision is off.
    `classes`: classes from outside hopfax that the file may name, e.g. a network of your own. A
    class that has moved to another module since, or from a notebook to a module, is known by its
    name.

    **Raises:** LoadError, naming the file and what is wrong with it, if it is truncated or altered,
    of another format or schema, or names an unknown class; never a partial model.
    FileNotFoundError. Warns (UserWarning) of a file of an earlier version, in which damage can go
    unnoticed.

    **Example:**

    ```python
    hx.save("memories.hopfax", hx.patterns.hadamard(4, 16))
    hx.load("memories.hopfax").xi.shape  # 4, 16
    ```
    """
    check_path(path)
    check_bool(cast, "cast")
    known = _lookup(classes)
    with open_sealed(path, _FORMAT, _ENTRIES) as source:
        reader = Reader(source, cast, known, domain=not source.sealed)
        try:
            model = decode(source.header.get("model"), "model", reader)
        except LoadError:
            raise
        except Exception as error:  # whatever a header that makes no sense leads to
            raise source.error("is damaged: its header makes no sense.") from error
        source.end()
    if not source.sealed:
        warn(
            f"{source.path} was written by an earlier version and is not sealed, so that damage "
            "to it may go unnoticed; save it again.",
            UserWarning,
        )
    return model


def notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What was noted in a file's header; empty if nothing was. **Raises:** as `load`."""
    with open_sealed(path, _FORMAT, _ENTRIES) as source:
        found = source.header.get("notes")
    return found if isinstance(found, dict) else {}


def kind_of(path: str | os.PathLike[str]) -> type | None:
    """The class of the model in a file, which is not read; None for one from outside hopfax and
    for what is no module. **Raises:** as `load`."""
    with open_sealed(path, _FORMAT, _ENTRIES) as source:
        model = source.header.get("model")
    name = model.get("class") if isinstance(model, dict) else None
    return registry().get(name) if isinstance(name, str) else None


def _lookup(classes: Iterable[type]) -> Callable[[str], type | None]:
    """From names in a file to classes: those of hopfax, and the given ones, by the whole name or
    else, where only one has it, by the last part."""
    if not isinstance(classes, type | list | tuple | set | frozenset):
        raise TypeError(f"`classes` must list classes, got {shown(classes)}.")
    classes = [classes] if isinstance(classes, type) else list(classes)
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, eqx.Module)):
            raise TypeError(
                f"`classes` must list classes derived from equinox.Module, got {shown(kind)}."
            )
    named = {name_of(kind): kind for kind in classes}

    def known(name: str) -> type | None:
        if (kind := registry().get(name) or named.get(name)) is not None:
            return kind
        last = name.rsplit(".", 1)[-1]
        alike = [kind for kind in classes if kind.__name__ == last and "." in name]
        return alike[0] if len(alike) == 1 else None

    return known
