"""What a sweep computes, as text: two sweeps are the same if every entry is equal."""

import dataclasses
import functools
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._code import inside

_LISTED = 8  # entries of an array that are written out, not hashed
#: Packages whose functions are known by name; their versions are recorded apart.
_KNOWN = {"hopfax", "jax", "jaxlib", "diffrax", "equinox", "optimistix", "lineax", "optax", "numpy"}


def describe(
    value: Any, where: str, tag: str | None = None, *, within: bool = False
) -> dict[str, str]:
    """Every part of `value` as an entry of text, by its place.

    Arrays enter by dtype, shape and content (floats bit for bit), objects by class and fields,
    functions by the name under which they can be imported and the text of their source; with a
    `tag`, that stands for the source. With `within`, functions, classes and objects of any kind
    enter by their code and the values that it reaches (`hopfax._code`).

    **Raises:** TypeError for a function without such a name or source, and for an object that is
    neither a module, an array nor plain data, unless there is a `tag`; with `within`, for what
    cannot be looked into.
    """
    found: dict[str, str] = {}
    _describe(value, where, found, _Within() if within else tag)
    return found


class _Within:
    """What was looked into already, by identity; it is kept, so that no other takes its place."""

    def __init__(self):
        self.seen: dict[int, tuple[str, Any]] = {}

    def describe(self, value: Any, where: str, found: dict[str, str]) -> None:
        """A function, class or object by what it is made of."""
        parts = inside(value, _KNOWN)
        if parts is None:
            raise TypeError(
                f"`{where}` is a {type(value).__qualname__}, into which a checkpoint cannot look "
                "to tell one fit from another; hand its arrays to the loss by `data=`, or make "
                "them fields of an eqx.Module or of a hopfax.losses.AbstractLoss."
            )
        if parts[1] and id(value) in self.seen:
            found[where] = f"as {self.seen[id(value)][0]}"
            return
        self.seen[id(value)] = where, value
        found[where] = re.sub(r"^(hopfax[\w.]*):", lambda m: place(m[1]) + ":", parts[0])
        for name, part in parts[1].items():
            _describe(part, f"{where}.{name}", found, self)


def _describe(value: Any, where: str, found: dict[str, str], tag: str | _Within | None) -> None:
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        found[where] = _array(value)
    elif value is None or isinstance(value, bool | int | str):
        found[where] = repr(value)
    elif isinstance(value, float):
        found[where] = value.hex()
    elif isinstance(value, functools.partial):
        parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
        _describe(parts, where, found, tag)
    elif isinstance(value, jax.tree_util.PyTreeDef):
        found[where] = str(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _describe_code(type(value), where, found, tag)
        for field in dataclasses.fields(value):
            _describe(getattr(value, field.name, None), f"{where}.{field.name}", found, tag)
    elif isinstance(value, Mapping):
        found[where] = f"{len(value)} entries"
        for key, entry in value.items():
            _describe(entry, f"{where}.{key}", found, tag)
    elif isinstance(value, list | tuple):
        found[where] = f"{type(value).__name__} of {len(value)}"
        for k, entry in enumerate(value):
            _describe(entry, f"{where}[{k}]", found, tag)
    elif callable(value) or isinstance(tag, _Within):
        _describe_code(value, where, found, tag)
    elif tag is not None:
        found[where] = f"{type(value).__qualname__}, tag {tag}"
    else:
        raise TypeError(
            f"`{where}` is a {type(value).__qualname__}, by which a stored sweep cannot be told "
            "from another; pass sweep(..., tag='a name for this version of it')."
        )


def _describe_code(value: Any, where: str, found: dict[str, str], tag: str | _Within | None):
    if isinstance(tag, _Within):
        tag.describe(value, where, found)
    else:
        found[where] = _function(value, where, tag)


def _array(value: Any) -> str:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"{value.dtype} {np.asarray(jax.random.key_data(value)).tolist()}"
    array = np.ascontiguousarray(value)
    kind = f"{array.dtype}{list(np.shape(value))}"
    flat = array.ravel()
    entries = flat.tolist() if array.size <= _LISTED else flat[[0, -1]].tolist()
    listed = [entry.hex() if isinstance(entry, float) else repr(entry) for entry in entries]
    if array.size > _LISTED:
        listed = [*listed[:1], "...", *listed[1:], "sha256", _sha(array.tobytes())]
    return f"{kind} {' '.join(listed)}"


#: Where public names stood in earlier versions, whose stores name them by it.
_FORMER = (
    (
        r"hopfax\.theory\._(singular|handover|itinerary|thresholds|memoryless|drift)",
        "hopfax.theory.sequential",
    ),
    (r"hopfax\.theory\._rate\w*", "hopfax.theory.rate"),
    (r"hopfax\.theory\._(kernels|gfa|first_steps|orthants)", "hopfax.theory.dense"),
    (r"hopfax\.cli\._(dense|rate)", r"hopfax.cli.\1"),
)
#: Classes inside public objects, whose own names have changed since.
_RENAMED = re.compile(r"^(hopfax\.theory\._kernels:)_(?=[A-Z])")


def place(home: str) -> str:
    """The public module of a module of hopfax, by which its functions and classes are known: files
    inside a package, and a network's family, may change without changing what a sweep computes."""
    for former, now in _FORMER:
        home = re.sub(rf"^{former}$", now, home)
    home = re.sub(r"\._.*$", "", home)  # from the first private name on
    return re.sub(r"^hopfax\.networks\..*$", "hopfax.networks", home)


def canonical(config: Mapping[str, str]) -> dict[str, str]:
    """A description with the names and fields of today, whatever version wrote it."""

    def renamed(entry: str) -> str:
        entry = _RENAMED.sub(r"\1", entry)
        found = re.match(r"^(hopfax(?:\.\w+)*):", entry)
        return entry if found is None else place(found[1]) + entry[found.end(1) :]

    known = {key: renamed(entry) for key, entry in config.items()}
    lacking = {f"{key}.{name}": default for key, name, default in _since(known)}
    return lacking | known


def _since(config: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Fields that networks in a description have got since an earlier version, with what such
    networks did without them: the place, the name, and the entry."""
    for key, entry in config.items():
        if re.match(r"^hopfax\.networks:(\w*RateMemory|ThresholdLinearNetwork)$", entry):
            yield key, "tau_rates", "None"
            yield key, "noise_in", "'rates'"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _function(value: Any, where: str, tag: str | None) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    home = getattr(value, "__module__", None) or ""
    known = home.split(".")[0] in _KNOWN
    here: Any = sys.modules.get(home)
    for part in name.split("."):
        here = getattr(here, part, None)
    if tag is not None and not (known and here is value):
        return f"{home}:{name}, tag {tag}"
    if here is not value:
        raise TypeError(
            f"`{where}` is {name}, which cannot be found again by that name; define it at the top "
            "of a module, or pass sweep(..., tag='a name for this version of it')."
        )
    if known:
        return f"{place(home)}:{name}"
    try:
        source = inspect.getsource(inspect.unwrap(value))
    except (OSError, TypeError) as error:
        raise TypeError(
            f"`{where}` is {home}:{name}, whose source is not to be had; pass "
            "sweep(..., tag='a name for this version of it')."
        ) from error
    return f"{home}:{name} sha256 {_sha(source.encode())}"


def digest(config: Mapping[str, Any]) -> str:
    """One hash of all entries of what can be written as JSON."""
    return _sha(json.dumps(config, sort_keys=True).encode())


def difference(stored: Mapping[str, str], asked: Mapping[str, str], most: int = 5) -> str:
    """The entries in which two descriptions differ, for a message."""
    stored, asked = canonical(stored), canonical(asked)
    keys = sorted(k for k in {*stored, *asked} if stored.get(k) != asked.get(k))
    lines = [
        f"{key} ({_readable(stored.get(key))} in the store, {_readable(asked.get(key))} now)"
        for key in keys[:most]
    ]
    return "; ".join(lines) + (f"; and {len(keys) - most} more" if len(keys) > most else "")


def _readable(entry: str | None) -> str:
    """An entry with its hexadecimal floats in decimals and its hashes cut short."""
    if entry is None:
        return "absent"
    words = []
    for word in entry.split(" "):
        try:
            words.append(f"{float.fromhex(word):.12g}" if "0x" in word else word)
        except ValueError:
            words.append(word)
    return " ".join(word[:8] if len(word) == 64 else word for word in words)
