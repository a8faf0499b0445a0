"""Names of axes: how a named value finds its place in a point.

A name is a path through the point, "kappa", "activation.gain", "init.saliency", "stimulus.weights",
or its last word where that is the only such one ("gain"). In brackets stand places in that array, a
number or a letter for each axis; a letter stands for all places, the same letter for the same one:

    transition[1,0]   one entry         transition[i,i]   the diagonal: what calls itself
    transition[i,0]   column 0          init.saliency[i]  all entries

What the point was not given but could have (noise, a current, the gain of an activation) has a
name, too, and a shape; it is then 0 wherever the axis does not say otherwise, a gain 1.
"""

import difflib
import re
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(?:\[([-0-9a-z, ]+)\])?")
#: The parts of a point that are named by their own names; the network's parameters have no prefix.
_PARTS = ("init", "noise", "stimulus", "current")


class Place(NamedTuple):
    """Where a named value stands in a point.

    `path`: the words that lead to the array. `entries`: the entries that the name means, None for
    all. `shape`: that of the value. `whole`: the shape of the array. `unset`: what stands there if
    the point was not given it, None if it was.
    """

    path: tuple[Any, ...]
    entries: tuple[Any, ...] | None
    shape: tuple[int, ...]
    whole: tuple[int, ...]
    unset: float | None

    def getter(self, point: Any) -> Any:
        """The array in a point, None if it was not given it."""
        for word in self.path:
            point = point[word] if isinstance(point, dict | list | tuple) else getattr(point, word)
        return point

    def put(self, point: Any, value: Array) -> Any:
        """The point with a value in this place."""
        old = self.getter(point)
        if self.entries is None:
            new = jnp.broadcast_to(value, self.whole)
        else:
            filled = jnp.full(self.whole, self.unset or 0.0, value.dtype) if old is None else old
            new = filled.at[self.entries].set(value)
        return eqx.tree_at(self.getter, point, new, is_leaf=lambda leaf: leaf is None)


def names(point: Any) -> list[str]:
    """The names of everything in a point that can be an axis."""
    return [*_given(point), *_absent(point)]


def find(point: Any, name: str) -> Place:
    """Where a name stands in a point.

    **Raises:** ValueError for an unknown or an ambiguous name, with the nearest known ones; for
    places that the array does not have.
    """
    given, absent = _given(point), _absent(point)
    match = _NAME.fullmatch(name)
    known = [*given, *absent]
    base = None if match is None else _resolved(match.group(1), known)
    if match is None or base is None:
        raise unknown(name, known)
    if base in given:
        path, whole, unset = given[base], given_shape(point, given[base]), None
    else:
        path, whole, unset = absent[base]
    index = match.group(2)
    if index is None:
        return Place(path, None, whole, whole, unset)
    where, shape = _entries(name, base, index, whole)
    return Place(path, where, shape, whole, unset)


def given_shape(point: Any, path: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of the array to which a path leads."""
    return tuple(np.shape(Place(path, None, (), (), None).getter(point)))


class UnknownName(ValueError):
    """A name that cannot be swept, and those that can."""

    def __init__(self, text: str, name: str, known: list[str]):
        super().__init__(text)
        self.name, self.known = name, known


def unknown(name: str, known: list[str]) -> UnknownName:
    """The error for a name that cannot be swept; it lists the nearest that can."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    listed = ", ".join(map(repr, near))
    hint = "(`along`, `grid` and `values` name parameters.)"
    if name in _SIZES:
        hint = (
            f"{name!r} says how the network is made: sweep a recipe, "
            f"hopfax.Recipe(function of {name}), which makes the point."
        )
    text = f"unknown parameter {name!r}; did you mean {listed}? {hint}"
    return UnknownName(text, name, known)


#: What people call the sizes of a network and the properties of its memories.
_SIZES = ("P", "N", "memories", "neurons", "correlation", "rho", "learning", "readout")


def _given(point: Any) -> dict[str, tuple[Any, ...]]:
    """The names of all arrays that a point holds, with the paths that lead to them."""
    found = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(point.network):
        name = jax.tree_util.keystr(path).lstrip(".")
        found[name] = ("network", *map(_word, path))
    for part in _PARTS:
        for path, _ in jax.tree_util.tree_leaves_with_path(getattr(point, part)):
            words = (part, *map(_word, path))
            found[".".join(map(str, words))] = words
    return found


def _absent(point: Any) -> dict[str, tuple[tuple[Any, ...], tuple[int, ...], float]]:
    """The names of what a point was not given but could have: path, shape, and what it is then."""
    found: dict[str, tuple[tuple[Any, ...], tuple[int, ...], float]] = {}
    every = jax.tree_util.tree_leaves_with_path(point.network, is_leaf=lambda leaf: leaf is None)
    for path, leaf in every:
        if leaf is None and path and _word(path[-1]) == "gain":
            name = jax.tree_util.keystr(path).lstrip(".")
            found[name] = (("network", *map(_word, path)), (), 1.0)
    neurons = (point.network.patterns.N,)
    shapes = {"noise": (), "current": neurons, "stimulus": neurons}
    if point.network.stimulated == "never":
        del shapes["stimulus"]
    for part, shape in shapes.items():
        if getattr(point, part) is None:
            found[part] = ((part,), shape, 0.0)
    return found


def _word(key: Any) -> Any:
    """What leads one step along a path: the name of a field, or the key of an entry."""
    return getattr(key, "name", getattr(key, "key", getattr(key, "idx", None)))


def _resolved(word: str, known: list[str]) -> str | None:
    """The full name that a word means: itself, or the only one that ends in it; else None."""
    if word in known:
        return word
    ending = [name for name in known if name.endswith(f".{word}")]
    if len(ending) > 1:
        listed = " and ".join(map(repr, ending))
        raise ValueError(f"unknown parameter {word!r}: it may be {listed}; say which.")
    return ending[0] if ending else None


def _entries(
    name: str, base: str, index: str, whole: tuple[int, ...]
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The places in an array that the text in brackets means, and the shape of their values.

    **Raises:** ValueError if the array has no such places.
    """
    parts = [part.strip() for part in index.split(",")]
    wrong = ValueError(f"{name!r} does not exist: `{base}` has shape {whole}.")
    if len(parts) != len(whole):
        raise wrong
    sizes: dict[str, int] = {}
    for part, size in zip(parts, whole, strict=True):
        if part.isalpha() and len(part) == 1:
            if sizes.setdefault(part, size) != size:
                raise wrong
        elif not re.fullmatch(r"-?\d+", part) or not -size <= int(part) < size:
            raise wrong
    letters = list(sizes)

    def places(letter: str) -> np.ndarray:
        along = [sizes[letter] if other == letter else 1 for other in letters]
        return np.arange(sizes[letter]).reshape(along)

    where = tuple(places(part) if part in sizes else int(part) for part in parts)
    return where, tuple(sizes.values())
