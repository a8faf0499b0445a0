"""Whether a model is one that its classes could have made.

A model in a file is put together field by field, without the constructors that check their
arguments. What a field may hold is said by its class, and only there, so the class is asked:

1. by the annotations of its fields: the type of a value, the options it may have, the shape of an
   array;
2. by its constructor, where that takes the fields as they are: it must accept them and make the
   same of them;
3. by `__check_init__`, which Equinox calls after every constructor.

The first two look at kinds and shapes only, under an abstract evaluation, so that nothing is
computed and a parameter may have any value. A network's `domain` says which are allowed; it is
checked before every run, and here on request.
"""

import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import jaxtyping
import numpy as np

from .._constant import Constant
from ..networks import AbstractNetwork
from ..networks._base import check_domain

#: Leading axes that an ensemble of models may have, as `jax.vmap` over constructors makes it.
_AXES = 2


def check(model: eqx.Module, where: str, domain: bool = False) -> None:
    """ValueError, saying which field is at fault, unless its classes could have made `model`.

    Modules of hopfax inside one of hopfax are checked with it; those inside a class from elsewhere
    are not. Arrays with leading axes in common are taken for an ensemble of models.

    **Arguments:** `where`: what the model is called. `domain`: check the parameters of networks,
    too.
    """
    arrays, rest = eqx.partition(model, _is_array)
    leaves = jax.tree.leaves(arrays)
    first = None
    for axes in range(_AXES + 1):
        lead = {leaf.shape[:axes] for leaf in leaves}
        if axes and (len(lead) != 1 or len(min(lead)) < axes):
            break
        try:
            _check_structure(arrays, rest, axes, where)
            for one in _members(arrays, rest, axes):
                for place, node in _nodes(one, where):
                    with _named(place):
                        _check_own(node)
                        if domain and not axes and isinstance(node, AbstractNetwork):
                            check_domain(node)
            return
        except ValueError as error:
            first = first or error
    if first is not None:
        raise first


def ours(kind: type) -> bool:
    """Whether a class is one of hopfax, or a layer of Equinox that its own are made of."""
    return kind.__module__.split(".")[0] in ("hopfax", "equinox")


def _nodes(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """A module, and those of hopfax inside it, by what they are called."""
    yield where, value
    if ours(type(value)):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            inner = inner.value if isinstance(inner, Constant) else inner
            if isinstance(inner, eqx.Module) and ours(type(inner)):
                yield from _nodes(inner, f"{where}.{field.name}")


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Whatever a class says of its fields, as a ValueError in one line that says of which."""
    try:
        yield
    except Exception as error:
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{where}: {text}") from error


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _check_structure(arrays: Any, rest: Any, axes: int, where: str) -> None:
    """The annotations and constructors, for one member of an ensemble."""

    def of_one(arrays: Any) -> None:
        for place, node in _nodes(eqx.combine(arrays, rest), where):
            if ours(type(node)):
                with _named(place):
                    _check_annotations(node)
                    _check_constructor(node)

    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), arrays)
    jax.eval_shape(of_one, one)


def _members(arrays: Any, rest: Any, axes: int) -> Iterator[Any]:
    if not axes:
        yield eqx.combine(arrays, rest)
        return
    flat = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[axes:]), arrays)
    for k in range(len(jax.tree.leaves(flat)[0])):
        yield eqx.combine(jax.tree.map(lambda x, k=k: x[k], flat), rest)


def _check_own(model: Any) -> None:
    """`__check_init__` of all its classes."""
    for kind in type(model).__mro__:
        if "__check_init__" in vars(kind):
            vars(kind)["__check_init__"](model)


def _check_annotations(model: Any) -> None:
    with jaxtyping.jaxtyped("context"):  # in which equal letters are equal sizes
        for field in dataclasses.fields(model):
            value = getattr(model, field.name)
            if not _agrees(value, field.type):
                raise ValueError(f"`{field.name}` must be {_text(field.type)}, got {_seen(value)}.")


@typing.no_type_check  # a checked function would have sizes of its own
def _agrees(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; True for annotations of other kinds."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    value = value.item() if isinstance(value, np.generic) else value
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in inner)
    if origin in (typing.Union, types.UnionType):
        return any(_agrees(value, option) for option in inner)
    if origin is dict:
        return isinstance(value, dict) and all(
            _agrees(key, inner[0]) and _agrees(entry, inner[1]) for key, entry in value.items()
        )
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        inner = inner[:1] * len(value) if inner[-1:] == (Ellipsis,) else inner
        return len(inner) == len(value) and all(map(_agrees, value, inner))
    if hint is None:
        return value is None
    if hint in (bool, int, str):
        return type(value) is hint
    if hint is float:
        return type(value) in (int, float)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _text(hint: Any) -> str:
    """An annotation, for a message."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_text, inner))
    if hint in (None, type(None)):
        return "None"
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return f"{hint.dtype.__name__}[{', '.join(hint.dim_str.split())}]"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _seen(value: Any) -> str:
    """A value, for a message, in which arrays are told by dtype and shape."""
    if _is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, eqx.Module):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) < 80 else f"a {type(value).__name__}"


def _check_constructor(model: Any) -> None:
    kind = type(model)
    takes = inspect.signature(kind.__init__).parameters
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    if kind.__module__.startswith("equinox."):  # layers of Equinox make their arrays by a key
        fields = {name: value for name, value in fields.items() if name in takes}
        fields |= {"key": jr.key(0)} if "key" in takes else {}
    elif not set(fields) <= set(takes):
        return
    again = kind(**fields)
    if jax.tree.structure(again) != jax.tree.structure(model) or any(
        np.shape(a) != np.shape(b)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True)
    ):
        raise ValueError("its fields contradict each other.")
