"""Numbers that make a network: what branches, and curves of folds, are followed in."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .. import _names
from .._errors import as_float, check_callable
from .._types import ArrayLike, Network
from ..networks import AbstractFlow, check_flow, check_kind


class _Bare(eqx.Module):
    """What names of parameters are looked for in: a network without a start or inputs."""

    network: Network
    init: None = None
    noise: None = None
    stimulus: None = None
    current: None = None


class Along(eqx.Module):
    """A network as a function of one of its parameters, or of several; made by `along`.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    make(3.0).activation.gain  # 3
    make.names  # ("activation.gain",)
    ```
    """

    network: Network
    names: tuple[str, ...] = eqx.field(static=True)
    places: tuple[Any, ...] = eqx.field(static=True)

    def __call__(self, *values: ArrayLike) -> Network:
        """The network in which the parameters have these values, in the order of `names`."""
        if len(values) != len(self.names):
            listed = ", ".join(self.names)
            raise TypeError(f"a value for each of {listed} is needed, got {len(values)}.")
        bare, dtype = _Bare(self.network), self.network.patterns.dtype
        for value, (path, entries, shape, whole, unset) in zip(values, self.places, strict=True):
            if entries is not None:
                entries = tuple(e if isinstance(e, int) else e.values for e in entries)
            place = _names.Place(path, entries, shape, whole, unset)
            bare = place.put(bare, jnp.broadcast_to(jnp.asarray(value, dtype), shape))
        return bare.network


def along(network: AbstractFlow, *names: str) -> Along:
    r"""A network as a function of one of its parameters, for `branch` and its like, or of two, for
    `fold_curve`.

    **Arguments:**

    - `network`: the network, with the values of all other parameters.
    - `names`: of the parameters, as in `hopfax.sweep`: "kappa", "bias", "activation.gain" (or
      "gain"), "transition[1,0]". A parameter with an entry for each memory gets the value in all
      of them.

    **Returns:** a function of as many numbers; it is a PyTree, so that another network of the same
    shape needs no new compilation.

    **Raises:** ValueError for a name that the network does not have, or for none.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    hx.dynamics.along(network, "gain")(3.0).activation.gain  # 3
    ```
    """
    check_flow(network, ", which has no flow.")
    if not names:
        raise ValueError("`names` must be one name of a parameter or more, got none.")
    found = [_placed(_Bare(network), name) for name in names]
    return Along(network, *map(tuple, zip(*found, strict=True)))


def _placed(bare: _Bare, name: str) -> tuple[str, Any]:
    """The full name of a parameter, and where it is."""
    place = _names.find(bare, name)
    if place.path[0] != "network":
        known = [
            known for known in _names.names(bare) if known not in ("noise", "stimulus", "current")
        ]
        raise _names.unknown(name, known)
    entries = None if place.entries is None else tuple(map(_hashable, place.entries))
    full = ".".join(map(str, place.path[1:]))
    if "[" in name:
        full += name[name.index("[") :]
    return full, (place.path, entries, place.shape, place.whole, place.unset)


def _hashable(entry: Any) -> Any:
    return entry if isinstance(entry, int) else _Indices(entry)


class _Indices:
    """Places along one axis, comparable by value."""

    def __init__(self, values: Any):
        self.values = values

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Indices) and self.values.tolist() == other.values.tolist()


#: What the numbers of a user's own function are called, by how many there are.
_UNNAMED = {1: ("parameter",), 2: ("first", "second")}
_COUNTS = {1: ("one number", '"kappa"'), 2: ("two numbers", '"kappa", "tau"')}


def as_maker(make: Any, count: int = 1) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """A function that makes a network of one number, or two, and their names."""
    numbers, example = _COUNTS[count]
    if isinstance(make, AbstractFlow):
        raise TypeError(
            f"`make` must be a function of {numbers} that returns a network; of this network, "
            f"hopfax.dynamics.along(network, {example}) is one, for parameters of that name."
        )
    check_callable(make, "make")
    names = make.names if isinstance(make, Along) else _UNNAMED[count]
    if len(names) != count:
        raise TypeError(
            f"`make` must be a function of {numbers}, as hopfax.dynamics.along(network, {example}) "
            f"is, but is one of {', '.join(names)}."
        )
    return make, names


def made(make: Callable[..., Any], *values: float) -> AbstractFlow:
    """The network at these values. **Raises:** TypeError if it is none."""
    network = make(*[as_float(value, "between") for value in values])
    listed = ", ".join(f"{value:g}" for value in values)
    check_kind(
        network, AbstractFlow, f"make({listed})", "; networks in continuous time have states"
    )
    return network


class Pair(eqx.Module):
    """A function of two numbers as one of an array of them."""

    make: Any

    def __call__(self, values: Any) -> Any:
        return self.make(values[0], values[1])
