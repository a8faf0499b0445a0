"""The state of a long fit in a file: a sealed JSON header, then the arrays. No pickle.

The header says of which fit it is, by all arrays and settings, and by functions and classes with
their code and the values that they close over. Of the library's own classes only the last part of
the name counts, so that a file stays readable when a class moves to another module.
"""

import pathlib
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import ConfigMismatch, warn
from .._files import Source, open_sealed, write_sealed
from .._identity import describe, difference

_FORMAT = "hopfax-fit"
_HOME = re.compile(r"^hopfax[\w.]*:_?")  # the module of a class of the library


def identity(parts: dict[str, Any]) -> dict[str, str]:
    """What is fitted and how, as text; functions enter by their code and what it reaches.

    **Raises:** TypeError for an object that cannot be told from another.
    """
    found: dict[str, str] = {}
    for name, part in parts.items():
        found |= describe(part, name, within=True)
    return _portable(found)


def _portable(config: dict[str, str]) -> dict[str, str]:
    """Without the modules in which the library's classes stand."""
    return {where: _HOME.sub("", entry) for where, entry in config.items()}


def write(path: pathlib.Path, config: dict[str, str], carry: Any) -> None:
    """Writes the state of a fit. The file is replaced at once, so that a fit that is killed while
    it writes leaves the old one."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(carry) if eqx.is_array_like(leaf)]
    write_sealed(path, _FORMAT, {"config": config}, leaves)


def read(path: pathlib.Path, config: dict[str, str], like: Any) -> Any:
    """The state in a file; `like` if there is none.

    **Raises:** LoadError for a damaged file, ConfigMismatch for that of another fit. Warns
    (UserWarning) of a file of an earlier version.
    """
    if not path.exists():
        return like
    with open_sealed(path, _FORMAT, {"config"}, "checkpoint") as source:
        stored = source.header.get("config")
        if not isinstance(stored, dict) or not all(type(v) is str for v in stored.values()):
            raise source.error("is damaged: its header does not say of which fit it is.")
        if (stored := _portable(stored)) != config:
            raise ConfigMismatch(
                f"`checkpoint`: {path} belongs to another fit, which differs in "
                f"{difference(stored, config)}. Choose another file, or delete it."
            )
        carry = jax.tree_util.tree_map_with_path(lambda at, leaf: _leaf(source, at, leaf), like)
        source.end()
    if not source.sealed:
        warn(
            f"`checkpoint`: {path} was written by an earlier version and is not sealed, so that "
            "damage to it may go unnoticed.",
            UserWarning,
        )
    return carry


def _leaf(source: Source, at: Any, like: Any) -> Any:
    """The next number or array, of the kind of `like`."""
    if not eqx.is_array_like(like):
        return like
    kind = np.asarray(like)
    found = source.array(f"the state{jax.tree_util.keystr(at)}", kind.shape, kind.dtype)
    if isinstance(like, jax.Array):
        return jnp.asarray(found)
    return found if isinstance(like, np.ndarray) else type(like)(found.item())
