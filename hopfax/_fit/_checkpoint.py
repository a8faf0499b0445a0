"""The state of a long fit in a file: a JSON header, then the arrays. No pickle.

The header says of which fit it is, by all arrays, settings and names of functions and classes. Of
the library's own classes only the last part of the name counts, so that a file stays readable when
a class moves to another module.
"""

import json
import os
import pathlib
import re
from typing import Any

import equinox as eqx

from .._errors import ConfigMismatch, LoadError
from .._identity import describe, difference

_FORMAT, _SCHEMA = "hopfax-fit", 1
_HOME = re.compile(r"^hopfax[\w.]*:_?")  # the module of a class of the library


def identity(parts: dict[str, Any]) -> dict[str, str]:
    """What is fitted and how, as text; functions enter by their names."""
    found: dict[str, str] = {}
    for name, part in parts.items():
        found |= describe(part, name, tag="by name")
    return _portable(found)


def _portable(config: dict[str, str]) -> dict[str, str]:
    """Without the modules in which the library's classes stand."""
    return {where: _HOME.sub("", entry) for where, entry in config.items()}


def write(path: pathlib.Path, config: dict[str, str], carry: Any) -> None:
    """Writes the state of a fit. The file is replaced at once, so that a fit that is killed while
    it writes leaves the old one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            header = {"format": _FORMAT, "schema": _SCHEMA, "config": config}
            file.write(json.dumps(header).encode() + b"\n")
            eqx.tree_serialise_leaves(file, carry)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: pathlib.Path, config: dict[str, str], like: Any) -> Any:
    """The state in a file; `like` if there is none.

    **Raises:** LoadError for a damaged file, ConfigMismatch for that of another fit.
    """
    if not path.exists():
        return like
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline())
            known = header["format"] == _FORMAT and header["schema"] == _SCHEMA
        except (ValueError, KeyError, TypeError) as error:
            raise LoadError(f"`checkpoint`: {path} is no checkpoint of a fit.") from error
        if not known:
            raise LoadError(f"`checkpoint`: {path} is no checkpoint of this version.")
        if (stored := _portable(header["config"])) != config:
            raise ConfigMismatch(
                f"`checkpoint`: {path} belongs to another fit, which differs in "
                f"{difference(stored, config)}. Choose another file, or delete it."
            )
        try:
            carry = eqx.tree_deserialise_leaves(file, like)
            over = file.read(1)
        except Exception as error:
            raise LoadError(f"`checkpoint`: {path} is truncated or damaged.") from error
    if over:
        raise LoadError(f"`checkpoint`: {path} goes on after its last array.")
    return carry
