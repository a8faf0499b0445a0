"""Programs that are kept traced: what a function does to arrays, without the Python that says so.

To run a function of JAX is to trace it (Python runs once and leaves a list of operations), to lower
that to a program, and to compile the program. JAX's cache of compiled programs saves only the last
of the three. Here the program itself is kept, by `jax.export`, so that the next process does not
trace at all:

    function, static parts, shapes --words--> key --> <folder>/<key>.program
                                                         |
                            seal: the sha256 of what follows
                            key, skeleton of the outputs
                            what jax.export wrote

A program that is not the function's would be a wrong result. So the key is made of everything that
the program depends on: the text of every file of hopfax, the versions of the packages below it and
of Python, the platform, JAX's options, and all that the function was given, in words. Only what can
be put into words completely is kept: plain values, and functions and classes of hopfax and the
packages that it stands on, which their versions tell. For anything else, a class or a function of
the user's above all, the function is traced as ever. And a file counts only if its seal and its key
are right; any other is replaced.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._cache import traced_folder

_FORMAT = 1
_MOST = 2**26  # bytes of a file that is read
_SEAL = 32  # bytes of its checksum
#: Packages whose functions and classes are told by their names and these versions.
_BELOW = ("jax", "jaxlib", "diffrax", "equinox", "optimistix", "lineax", "numpy", "scipy")
_OPTIONS = (
    *("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_matmul_precision"),
    *("jax_default_prng_impl", "jax_threefry_partitionable", "jax_random_seed_offset"),
)
#: When this module was imported, less some seconds for those that were imported before it. Files
#: that were changed since may not be those that this process runs.
_BEGUN = time.time() - 2.0


def kept_traced(
    name: str, function: Callable[..., Any], static: Any, structs: tuple[Any, ...]
) -> Callable[..., Any]:
    """`function`, or a function that does the same by a program that is kept.

    **Arguments:** `name`: of the function. `static`: all that it holds beside its arguments.
    `structs`: shape and dtype of every array of its arguments.

    **Returns:** a function of the same arguments, to be compiled. It is `function` itself where no
    programs are kept, or where this one cannot be.
    """
    folder = traced_folder()
    if folder is None or not _plain(structs):
        return function
    try:
        key = _key(name, static, structs)
    except _Unknown:
        return function
    place = folder / f"{key}.program"
    try:
        found = _read(place, key)
        if found is None:
            found = _made(function, structs)
            _write(place, key, *found)
        skeleton, program = found
        call = jax.export.deserialize(bytearray(program)).call
    except Exception:  # whatever the reason: it is traced, as it would be without all this
        return function

    def run(*args):
        return _filled(skeleton, call(*jax.tree.leaves(args)))

    return run


class _Unknown(Exception):
    """Something has no words that tell it from all others."""


def _plain(structs: Any) -> bool:
    """Whether all arrays are of plain numbers."""
    leaves = jax.tree.leaves(structs)
    return all(
        hasattr(leaf, "dtype")
        and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
        and not getattr(leaf, "weak_type", False)
        for leaf in leaves
    )


def _made(function: Callable[..., Any], structs: tuple[Any, ...]) -> tuple[Any, bytes]:
    """The skeleton of the outputs and the program.

    **Raises:** _Unknown for outputs that are not plain trees of arrays.
    """
    leaves, structure = jax.tree.flatten(structs)
    skeletons = []

    def flat(*leaves):
        out = function(*jax.tree.unflatten(structure, leaves))
        found: list[Any] = []
        skeletons.append(_skeleton(out, found))
        if not _plain([jax.typeof(leaf) for leaf in found]):
            raise _Unknown
        return found

    # The default platform by the name that programs have it: "cuda" of what devices call "gpu". A
    # program that is exported for "gpu" is refused by the very device.
    platforms = [jax.export.default_export_platform()]
    exported = jax.export.export(jax.jit(flat), platforms=platforms)(*leaves)
    return skeletons[-1], bytes(exported.serialize())


def _skeleton(tree: Any, leaves: list[Any]) -> Any:
    """A tree with numbers in place of its arrays, which are added to `leaves`, as JSON holds it."""
    if tree is None:
        return None
    if isinstance(tree, jax.Array):
        leaves.append(tree)
        return len(leaves) - 1
    if type(tree) in (tuple, list):
        return [type(tree).__name__, *(_skeleton(part, leaves) for part in tree)]
    if type(tree) is dict and all(type(name) is str for name in tree):
        return {name: _skeleton(part, leaves) for name, part in tree.items()}
    raise _Unknown


def _filled(skeleton: Any, leaves: Any) -> Any:
    """The tree whose skeleton this is."""
    if skeleton is None:
        return None
    if isinstance(skeleton, int):
        return leaves[skeleton]
    if isinstance(skeleton, dict):
        return {name: _filled(part, leaves) for name, part in skeleton.items()}
    kind, *parts = skeleton
    filled = [_filled(part, leaves) for part in parts]
    return tuple(filled) if kind == "tuple" else filled


def _write(place: pathlib.Path, key: str, skeleton: Any, program: bytes) -> None:
    head = json.dumps({"format": _FORMAT, "key": key, "out": skeleton}).encode()
    content = len(head).to_bytes(8, "little") + head + program
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        try:
            file.write(hashlib.sha256(content).digest() + content)
            file.close()
            os.replace(file.name, place)  # whole, or not at all
        except BaseException:
            os.unlink(file.name)
            raise


def _read(place: pathlib.Path, key: str) -> tuple[Any, bytes] | None:
    """What is kept at a place under a key; None if there is nothing, or it is not as written."""
    try:
        with open(place, "rb") as file:
            content = file.read(_MOST)
    except OSError:
        return None
    seal, content = content[:_SEAL], content[_SEAL:]
    if hashlib.sha256(content).digest() != seal:
        return None
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    if head["format"] != _FORMAT or head["key"] != key:
        return None
    return head["out"], content[8 + size :]


def _key(name: str, static: Any, structs: Any) -> str:
    """What the program depends on, as one number. **Raises:** _Unknown."""
    options = [(option, str(getattr(jax.config, option))) for option in _OPTIONS]
    options += sorted(pair for pair in os.environ.items() if pair[0].startswith("EQX_"))
    devices = [jax.export.default_export_platform(), len(jax.devices())]
    parts = [_FORMAT, name, _house(), options, devices, _words(static), _words(structs)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.cache
def _house() -> list[str]:
    """All files of hopfax and the versions of what it stands on. **Raises:** _Unknown if a file was
    changed since this process began, or a version is not known."""
    root, digest = pathlib.Path(__file__).parent, hashlib.sha256()
    try:
        for file in sorted(root.rglob("*.py")):
            if file.stat().st_mtime > _BEGUN:
                raise _Unknown
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root)} {len(content)}\n".encode() + content)
        versions = [f"{name} {version(name)}" for name in _BELOW]
    except (OSError, PackageNotFoundError) as error:
        raise _Unknown from error
    return [digest.hexdigest(), sys.version, platform.machine(), *versions]


def _words(value: Any) -> Any:
    """A value in words (JSON), which no other value has. **Raises:** _Unknown if it has none."""
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return [type(value).__name__, value]
    if type(value) is float:
        return ["float", value.hex()]
    if isinstance(value, jax.ShapeDtypeStruct):
        return ["array", str(value.dtype), list(value.shape), repr(value.sharding)]
    if type(value) in (tuple, list):
        return [type(value).__name__, [_words(part) for part in value]]
    if type(value) is dict and all(type(name) is str for name in value):
        return ["dict", [[name, _words(part)] for name, part in value.items()]]
    if isinstance(value, np.dtype):
        return ["dtype", str(value)]
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return ["partial", [_words(part) for part in parts]]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return [type(value).__name__, _known(value)]
    if dataclasses.is_dataclass(value):
        fields = [[f.name, _words(getattr(value, f.name))] for f in dataclasses.fields(value)]
        return ["object", _known(type(value)), fields]
    raise _Unknown


def _known(value: Any) -> str:
    """The name of a function or class of hopfax, or of what it stands on. **Raises:** _Unknown."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(module, str) or module.split(".")[0] not in ("hopfax", *_BELOW):
        raise _Unknown
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value or not re.fullmatch(r"[\w.]+", name):
        raise _Unknown
    return f"{module}.{name}"
