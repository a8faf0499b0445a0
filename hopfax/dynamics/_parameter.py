"""One number that makes a network: what a branch is followed in."""

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
    """A network as a function of one of its parameters; made by `along`.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    make(3.0).activation.gain  # 3
    make.name  # activation.gain
    ```
    """

    network: Network
    name: str = eqx.field(static=True)
    place: Any = eqx.field(static=True)

    def __call__(self, value: ArrayLike) -> Network:
        """The network in which the parameter has this value."""
        dtype = self.network.patterns.dtype
        path, entries, shape, whole, unset = self.place
        if entries is not None:
            entries = tuple(e if isinstance(e, int) else e.values for e in entries)
        place = _names.Place(path, entries, shape, whole, unset)
        bare = _Bare(self.network)
        value = jnp.broadcast_to(jnp.asarray(value, dtype), shape)
        return place.put(bare, value).network


def along(network: AbstractFlow, name: str) -> Along:
    r"""A network as a function of one of its parameters, for `branch` and its like.

    **Arguments:**

    - `network`: the network, with the values of all other parameters.
    - `name`: of the parameter, as in `hopfax.sweep`: "kappa", "bias", "activation.gain" (or
      "gain"), "transition[1,0]". A parameter with an entry for each memory gets the value in all
      of them.

    **Returns:** a function of one number; it is a PyTree, so that another network of the same shape
    needs no new compilation.

    **Raises:** ValueError for a name that the network does not have.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    hx.dynamics.along(network, "gain")(3.0).activation.gain  # 3
    ```
    """
    check_flow(network, ", which has no flow.")
    bare = _Bare(network)
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
    return Along(network, full, (place.path, entries, place.shape, place.whole, place.unset))


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


def as_maker(make: Any) -> tuple[Callable[[Any], Any], str]:
    """A function that makes a network of one number, and the name of that number."""
    if isinstance(make, AbstractFlow):
        raise TypeError(
            "`make` must be a function of one number that returns a network; of this network, "
            'hopfax.dynamics.along(network, "kappa") is one, for the parameter of that name.'
        )
    check_callable(make, "make")
    name = make.name if isinstance(make, Along) else "parameter"
    return make, name


def made(make: Callable[[Any], Any], value: float, dtype: Any = None) -> AbstractFlow:
    """The network at a value. **Raises:** TypeError if it is none."""
    network = make(as_float(value, "between", dtype))
    check_kind(
        network, AbstractFlow, f"make({value:g})", "; networks in continuous time have states"
    )
    return network
