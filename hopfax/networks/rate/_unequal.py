"""Networks whose neurons differ: in time constants, thresholds, gains and levels."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._errors import as_float
from ..._types import ArrayLike, is_concrete
from ...patterns import Patterns, SiteClasses
from .._base import Bound

#: What may be one number for all neurons, or one for each.
_LEVELS = ("a", "b", "activation.gain", "activation.threshold")


def per_neuron(value: ArrayLike, name: str, patterns: Patterns) -> Float[Array, "*#N"]:
    """A parameter in the dtype of the patterns: a scalar, or one value a neuron."""
    value = as_float(value, name, patterns.dtype)
    if value.shape not in ((), (patterns.N,)):
        raise ValueError(
            f"`{name}` must be a number or have shape (N,) = ({patterns.N},), got {value.shape}."
        )
    return value


def time_constants(value: ArrayLike | None, patterns: Patterns) -> Float[Array, "*#N"] | None:
    """The time constants of the rates; None where all are 1."""
    return None if value is None else per_neuron(value, "tau_rates", patterns)


def levels_of(network: Any) -> dict[str, Any]:
    """What decides the rates that a network holds, by name."""
    phi = network.activation
    values = (network.a, network.b, phi.gain, phi.threshold)
    return dict(zip(_LEVELS, values, strict=True))


def unequal_levels(network: Any) -> list[str]:
    """The names of levels that are given for each neuron."""
    return [name for name, value in levels_of(network).items() if value.ndim]


def is_unequal(network: Any) -> bool:
    """Whether neurons may differ in anything but their memories, or have time constants."""
    return network.tau_rates is not None or bool(unequal_levels(network))


def check_unequal(network: Any) -> None:
    """ValueError for levels of another size than the network, and for designs that hold memories
    only where all neurons have the same."""
    given, N = unequal_levels(network), network.patterns.N
    for name in given:
        if (shape := levels_of(network)[name].shape) != (N,):
            raise ValueError(f"`{name}` must be a number or have shape (N,) = ({N},), got {shape}.")
    if given and network.learning != "pseudo_inverse":
        names = " and ".join(f"`{name}`" for name in given)
        raise ValueError(
            f"{names} for each neuron: learning={network.learning!r} holds memories only where "
            "all neurons have the same levels. learning='pseudo_inverse' holds them for any; "
            "thresholds that the synapses do not know of are a `current` of the opposite sign."
        )


def unequal_bounds(network: Any) -> list[Bound]:
    """Domain of the time constants."""
    if network.tau_rates is None:
        return []
    return [Bound("tau_rates", network.tau_rates, 0.0, True)]


def _parts(network: Any) -> list[Any]:
    """All that may have one value a neuron."""
    own = [] if network.tau_rates is None else [network.tau_rates]
    return [*levels_of(network).values(), *own]


def equal_in_classes(network: Any) -> bool:
    """Whether neurons that have the same memories are known to be equal in all else."""
    each = [value for value in _parts(network) if value.ndim]
    if not each:
        return True
    xi = network.patterns.xi
    if not all(map(is_concrete, [xi, *each])):
        return False
    with jax.ensure_compile_time_eval():  # these values are known, also inside a trace
        index = np.asarray(network.patterns.column_classes().index)
    for value in map(np.asarray, each):
        first = np.zeros(index.max() + 1, value.dtype)
        first[index] = value
        if (first[index] != value).any():
            return False
    return True


def in_classes(network: Any, classes: SiteClasses) -> Any:
    """The network of classes of neurons that are equal in all. A class without neurons gets the
    values of neuron 0, which have no effect."""

    def of_class(value: Array) -> Array:
        if not value.ndim:
            return value
        mean = classes.average(value)
        return jnp.where(classes.counts > 0, mean, value[0])

    def places(network: Any) -> list[Any]:
        return [network.patterns, *_parts(network)]

    values = [classes.patterns, *map(of_class, _parts(network))]
    return eqx.tree_at(places, network, values)
