"""What a function, a class or an object is made of, so that two of them can be told apart.

A function is its compiled code (instructions, constants and names, without lines and files) and
the values that it can reach: defaults, what it closes over, and the globals that its code names.
"""

import enum
import hashlib
import inspect
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

_MADE = "<string>"  # the file of methods that dataclasses write
_HEAP = 1 << 9  # flag of a class that was defined in Python
_PLAIN = (bytes, complex, range, slice, type(...), type(NotImplemented), pathlib.PurePath)


def inside(value: Any, known: set[str]) -> tuple[str, dict[str, Any]] | None:
    """A text that names what `value` itself is, and the values that it is made of, by their places;
    None if that cannot be seen. Functions of the packages `known` are their names."""
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}", {}
    if isinstance(value, types.MethodType):
        return "method", {"self": value.__self__, "function": value.__func__}
    if isinstance(value, _PLAIN):
        return repr(value), {}
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}", {}
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} {sorted(map(repr, value))}", {}
    if isinstance(value, type):
        return _class(value, known)
    if isinstance(value, types.FunctionType):
        return _function(value, known)
    if _importable(value):  # a builtin function, a ufunc
        return f"{value.__module__}:{value.__qualname__}", {}
    if callable(wrapped := getattr(value, "__wrapped__", None)):  # jax.jit, functools.cache
        return f"wrapped by {type(value).__qualname__}", {"wrapped": wrapped}
    return _object(value)


def _importable(value: Any) -> bool:
    name, home = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    here: Any = sys.modules.get(home) if isinstance(home, str) else None
    for part in name.split(".") if isinstance(name, str) else ():
        here = getattr(here, part, None)
    return here is value and name is not None


def _known(value: Any, known: set[str]) -> bool:
    home = getattr(value, "__module__", None) or ""
    return home.split(".")[0] in known or home.split(".")[0] in sys.stdlib_module_names


def _function(value: types.FunctionType, known: set[str]) -> tuple[str, dict[str, Any]]:
    name = f"{value.__module__}:{value.__qualname__}"
    if _known(value, known) and _importable(value):
        return name, {}
    code = value.__code__
    parts: dict[str, Any] = {"defaults": value.__defaults__, "keywords": value.__kwdefaults__}
    for cell, bound in zip(code.co_freevars, value.__closure__ or (), strict=True):
        try:
            parts[cell] = bound.cell_contents
        except ValueError:  # not assigned yet
            parts[cell] = None
    if _known(value, known):  # a function that was made by one of a package
        return name, parts
    called = set(_names(code))
    for word in sorted(called & value.__globals__.keys()):
        found = value.__globals__[word]
        parts[word] = found
        if isinstance(found, types.ModuleType) and not _is_package(found, known):
            own = sorted(called & vars(found).keys())
            parts |= {f"{word}.{entry}": vars(found)[entry] for entry in own}
    return f"{name} code {_sha(_text(code))}", {k: v for k, v in parts.items() if v is not None}


def _is_package(module: types.ModuleType, known: set[str]) -> bool:
    """Whether a module belongs to Python or to an installed package, whose values are its own."""
    first = module.__name__.split(".")[0]
    path = getattr(module, "__file__", None) or ""
    return first in known or first in sys.stdlib_module_names or "site-packages" in path


def _names(code: types.CodeType) -> Iterator[str]:
    """Names of globals and attributes in a code and in the functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _text(code: types.CodeType) -> str:
    """A code as text that does not depend on where it stands."""
    constants = [_constant(each) for each in code.co_consts]
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return repr((code.co_code, constants, counts, names))


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _text(value)
    if isinstance(value, tuple):
        return repr([_constant(each) for each in value])
    if isinstance(value, frozenset):  # whose order changes with the seed of hashes
        return repr(sorted(map(repr, value)))
    return repr(value)


def _class(value: type, known: set[str]) -> tuple[str, dict[str, Any]]:
    """A class by its name and, if it is the user's, by its methods and those of its bases."""
    name = f"{value.__module__}:{value.__qualname__}"
    parts: dict[str, Any] = {}
    if _known(value, known) and _importable(value):
        return name, parts
    for base in reversed(value.__mro__):
        for word, entry in vars(base).items():
            method = _method(entry)
            if isinstance(method, types.FunctionType) and not _known(method, known):
                if method.__code__.co_filename != _MADE and word not in _MAKING:
                    parts[word] = method
    return name, parts


#: Methods that make an instance; what they have made is compared itself.
_MAKING = {"__init__", "__new__", "__post_init__", "__check_init__", "__init_subclass__"}


def _method(entry: Any) -> Any:
    """The function of a method, property, or of what Equinox wraps it in."""
    for name in ("fget", "__func__", "func", "method"):
        if isinstance(found := getattr(entry, name, None), types.FunctionType):
            entry = found
    return inspect.unwrap(entry) if callable(entry) else entry


def _object(value: Any) -> tuple[str, dict[str, Any]] | None:
    """An object by its class and attributes, if all of its state is in these."""
    kinds = [kind for kind in type(value).__mro__ if kind is not object]
    if not all(kind.__flags__ & _HEAP for kind in kinds):
        return None
    slots = [name for kind in kinds for name in _slots(kind)]
    if not slots and not hasattr(value, "__dict__"):
        return None
    state = {name: getattr(value, name, None) for name in slots} | getattr(value, "__dict__", {})
    return "object", {"class": type(value)} | state


def _slots(kind: type) -> list[str]:
    named = vars(kind).get("__slots__", ())
    named = (named,) if isinstance(named, str) else tuple(named)
    return [name for name in named if name not in ("__dict__", "__weakref__")]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
