"""Energies of dense memories: sums over the memories of functions of their overlaps."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._interactions import AbstractInteraction, Softmax
from ..._types import PerNeuron, is_concrete
from ...patterns import AbstractPatterns
from ._blocks import Block
from ._laws import lowest
from ._stream import stream

if TYPE_CHECKING:
    from ._memory import DenseMemory


def energy(
    memory: "DenseMemory", spins: PerNeuron, legal: Callable[[Array], Array]
) -> Float[Array, ""]:
    """The energy of a memory at `spins`; `legal` makes NaN of it if they turn out not to be."""
    _check_still(memory, "energy")
    given = memory.interaction, memory.patterns, spins
    how = {"signs": memory.signs, "size": memory.block}
    if isinstance(memory.interaction, Softmax):
        log = log_sum_of_exponentials(*given, **how)
        return legal((spins**2).sum() / 2 - log / memory.interaction.beta.astype(log.dtype))
    if memory.interaction.exponential:
        found = -jnp.exp(log_sum_of_exponentials(*given, **how))
    else:
        found = -sum_of_potentials(*given, **how)
    return _checked_size(memory, legal(found))


def log_energy(memory: "DenseMemory", spins: PerNeuron) -> Float[Array, ""]:
    r"""$\log(-E)$ of an exponential interaction."""
    _check_still(memory, "log_energy")
    if not memory.interaction.exponential or isinstance(memory.interaction, Softmax):
        raise ValueError(
            f"`log_energy` is for Exponential, whose energy overflows; that of "
            f"{type(memory.interaction).__name__} is `energy`."
        )
    how = {"signs": memory.signs, "size": memory.block}
    return log_sum_of_exponentials(memory.interaction, memory.patterns, spins, **how)


def _check_still(memory: "DenseMemory", name: str) -> None:
    """ValueError for the energy of a memory that has none."""
    if memory.learning == "pseudo_inverse":
        raise ValueError(
            f"`{name}`: with learning='pseudo_inverse' there is none, as forces are those of "
            "decorrelated overlaps but act through the memories as they are."
        )
    if memory.transition is not None:
        raise ValueError(
            f"`{name}`: a memory with a `transition` has none, as what a memory calls does not "
            "act on it in turn. That of its memories at rest is the same network's without "
            "`transition`."
        )


def _checked_size(memory: "DenseMemory", energy: Float[Array, ""]) -> Float[Array, ""]:
    """ValueError for an energy beyond the largest float; under a trace it becomes NaN."""
    if is_concrete(energy) and np.isinf(np.asarray(energy)):
        cure = (
            "`log_energy` gives its logarithm"
            if memory.interaction.exponential
            else 'enable double precision (jax.config.update("jax_enable_x64", True))'
        )
        raise ValueError(
            f"the energy of this state with {type(memory.interaction).__name__} is beyond the "
            f"largest {energy.dtype}; {cure}."
        )
    return jnp.where(jnp.isinf(energy), jnp.nan, energy)


def sum_of_potentials(
    interaction: AbstractInteraction,
    patterns: AbstractPatterns,
    h: PerNeuron,
    *,
    signs: bool,
    size: int,
) -> Float[Array, ""]:
    r"""$\sum_\mu F(X_\mu)$, with patterns read in blocks of `size`."""

    def use(block: Block, given):
        interaction, h = given
        potentials = interaction.potential(block.overlaps(h, signs), patterns.N)
        return jnp.where(block.valid, potentials, 0.0).sum()

    zero = jnp.zeros((), h.dtype)
    return stream(patterns, use, jnp.add, zero, (interaction, h), size)


def log_sum_of_exponentials(
    interaction: AbstractInteraction,
    patterns: AbstractPatterns,
    h: PerNeuron,
    *,
    signs: bool,
    size: int,
) -> Float[Array, ""]:
    r"""$\log \sum_\mu e^{\beta X_\mu}$, with patterns read in blocks of `size`."""
    none = lowest(h.dtype)

    def use(block: Block, given):
        interaction, h = given
        exponents = interaction.force(block.overlaps(h, signs), patterns.N)
        return jax.nn.logsumexp(jnp.where(block.valid, exponents, none))

    return stream(patterns, use, jnp.logaddexp, jnp.asarray(none, h.dtype), (interaction, h), size)
