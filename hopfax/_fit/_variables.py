"""Which arrays of a model are fitted, as what, and under which names."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import check_finite, check_type, shown
from .._programs import jitted
from .._types import is_concrete
from ..constraints import AbstractConstraint, Masked, Unconstrained

Vectors = tuple[Float[Array, " _"], ...]


class Variables(eqx.Module):
    """The fitted arrays of a model; an optimiser sees the vector of free entries of each."""

    base: tuple[Array, ...]  # free arrays at the start
    constraints: tuple[AbstractConstraint, ...]
    entries: tuple[Array, ...]  # flat indices of what moves
    projections: tuple[Callable | None, ...] = eqx.field(static=True)
    places: tuple[int, ...] = eqx.field(static=True)  # among the model's leaves
    names: tuple[str, ...] = eqx.field(static=True)
    whole: tuple[bool, ...] = eqx.field(static=True)  # whether all entries move

    @property
    def dtype(self) -> Any:
        """That of the first array, in which losses are recorded."""
        return self.base[0].dtype

    @property
    def size(self) -> int:
        """How many numbers are fitted."""
        return sum(entry.size for entry in self.entries)

    def start(self) -> Vectors:
        """The free entries at the start."""
        pairs = zip(self.base, self.entries, strict=True)
        return tuple(base.ravel()[entry] for base, entry in pairs)

    def values(self, vectors: Vectors) -> tuple[Array, ...]:
        """The parameters that belong to free entries, each in its own shape."""
        found = []
        for k, vector in enumerate(vectors):
            base = self.base[k]
            free = vector if self.whole[k] else base.ravel().at[self.entries[k]].set(vector)
            found.append(self.constraints[k].value(free.reshape(base.shape)))
        return tuple(found)

    def moving(self, vectors: Vectors) -> Float[Array, " n"]:
        """The entries of the parameters that are fitted, one after the other."""
        pairs = zip(self.values(vectors), self.entries, strict=True)
        return jnp.concatenate([value.ravel()[entry] for value, entry in pairs])

    def put(self, model: Any, vectors: Vectors) -> Any:
        """The model with the parameters that belong to these free entries."""
        leaves, structure = jax.tree.flatten(model)
        for place, value in zip(self.places, _values(self, vectors), strict=True):
            leaves[place] = value
        return jax.tree.unflatten(structure, leaves)

    def projected(self, vectors: Vectors) -> Vectors:
        """The free entries after the projections, where there are any."""
        found = list(vectors)
        for k, project in enumerate(self.projections):
            if project is not None:
                moved = project(vectors[k].reshape(self.base[k].shape))
                check_type(moved, "constraint", jax.Array, "a projection that returns an array")
                found[k] = moved.ravel()
        return tuple(found)


@jitted
def _values(variables: Variables, vectors: Vectors) -> tuple[Array, ...]:
    """`Variables.values` in one program, not in one for each operation."""
    return variables.values(vectors)


@jitted
def moving(variables: Variables, vectors: Vectors) -> Float[Array, " n"]:
    """`Variables.moving` in one program."""
    return variables.moving(vectors)


@jitted
def first(variables: Variables) -> Vectors:
    """The free entries before the first step, in one program."""
    return variables.projected(variables.start())


def variables_of(model: Any, where: Callable, constraint: Any) -> tuple[Variables, tuple[str, ...]]:
    """What `where` selects of a model, under `constraint`, and a name for every number that is
    fitted.

    The names are no part of the variables, so that fits of other entries of the same arrays run the
    same compiled program.

    **Raises:** TypeError/ValueError naming `where` or `constraint`, or the array that violates it.
    """
    picked = _picked(model, where)
    leaves = jax.tree.leaves(model)
    check_constraint(constraint)
    constraints = constraint if isinstance(constraint, tuple | list) else [constraint]
    groups = len(picked)
    if len(constraints) == 1 and not isinstance(constraint, tuple | list):
        constraints = constraints * groups
    if len(constraints) != groups:
        raise ValueError(
            f"`constraint` must be one for all, or as many as `where` selects ({groups}), got "
            f"{len(constraints)}."
        )
    rows = [
        _row(place, name, leaves[place], own)
        for group, own in zip(picked, constraints, strict=True)
        for place, name in group
    ]
    base, kinds, entries, projections, places, names, labels, whole = zip(*rows, strict=True)
    if len(set(places)) < len(places):
        raise ValueError("`where` selects the same array twice.")
    labels = tuple(itertools.chain.from_iterable(labels))
    return Variables(base, kinds, entries, projections, places, names, whole), labels


def check_constraint(constraint: Any) -> None:
    """TypeError unless it is a constraint, a projection, None, or a tuple of these."""
    for part in constraint if isinstance(constraint, tuple | list) else [constraint]:
        if part is not None and (isinstance(part, type) or not callable(part)):
            if not isinstance(part, AbstractConstraint):
                raise TypeError(
                    "`constraint` must be one of hopfax.constraints, a projection such as "
                    f"optax.projections.projection_non_negative, or None, got {shown(part)}."
                )


def _row(place: int, name: str, value: Any, constraint: Any) -> tuple:
    """One selected array: the fields of `Variables` for it, and the names of its entries."""
    if not eqx.is_inexact_array(value):
        raise TypeError(
            f"`where` selects {name}, which is no array of real numbers but {shown(value)}."
        )
    check_finite(value, name)
    projection = None
    if constraint is None:
        constraint = Unconstrained()
    elif not isinstance(constraint, AbstractConstraint):
        constraint, projection = Unconstrained(), constraint
    if isinstance(constraint, Masked):
        constraint = constraint.around(value)
    moves = constraint.moves(value)
    known = is_concrete(moves)
    entries = np.flatnonzero(np.asarray(moves)) if known else np.arange(value.size)
    if entries.size == 0:
        raise ValueError(f"`constraint` leaves nothing of {name} to fit.")
    labels = [_entry(name, entry, value.shape) for entry in entries.tolist()]
    whole = entries.size == value.size
    entries = jnp.asarray(entries, jnp.int32)
    free = constraint.free(value, name)
    return free, constraint, entries, projection, place, name, labels, whole


def _entry(name: str, entry: int, shape: tuple[int, ...]) -> str:
    """The name of one number, e.g. `transition[1, 0]`."""
    return f"{name}{[int(i) for i in np.unravel_index(entry, shape)]}" if shape else name


class _Label:
    """Stands for a leaf of the model while `where` selects."""

    def __init__(self, place: int, name: str):
        self.place, self.name = place, name


def _picked(model: Any, where: Callable) -> list[list[tuple[int, str]]]:
    """Places and names of the leaves that `where` selects, by what it returns."""
    if not callable(where):
        raise TypeError(f"`where` must be a function of the model, got {shown(where)}.")
    paths, structure = jax.tree_util.tree_flatten_with_path(model)
    labels = [_Label(k, _name(path)) for k, (path, _) in enumerate(paths)]
    try:
        selected = where(jax.tree.unflatten(structure, labels))
    except Exception as error:
        error.add_note("`where` may only select arrays of the model, e.g. lambda net: net.kappa.")
        raise
    groups = list(selected) if isinstance(selected, tuple | list) else [selected]
    found = []
    for group in groups:
        inside = [leaf for leaf in jax.tree.leaves(group) if isinstance(leaf, _Label)]
        if not inside:
            raise ValueError(f"`where` selects nothing that can be fitted: {shown(group)}.")
        found.append([(label.place, label.name) for label in inside])
    return found


def _name(path: Any) -> str:
    """The path of a leaf as a user writes it, e.g. `patterns.xi`."""
    return jax.tree_util.keystr(path).replace("']", "").replace("['", ".").lstrip(".")
