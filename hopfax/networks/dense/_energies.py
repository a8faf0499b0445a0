"""Energies of dense memories: sums over the memories of functions of their overlaps."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._distances import Epanechnikov
from ..._interactions import Softmax
from ..._types import PerNeuron, is_concrete
from ._blocks import Block
from ._laws import lowest
from ._similarities import seen_by
from ._stream import stream

if TYPE_CHECKING:
    from ._memory import DenseMemory


def energy(
    memory: "DenseMemory", spins: PerNeuron, legal: Callable[[Array], Array]
) -> Float[Array, ""]:
    """The energy of a memory at `spins`; `legal` makes NaN of it if they turn out not to be."""
    _check_still(memory, "energy")
    interaction = memory.interaction
    if isinstance(interaction, Softmax):
        log = _log_sum_of_exponentials(memory, spins)
        own = (spins**2).sum() / 2 if memory.similarity == "dot" else 0.0  # else in the distance
        return legal(own - log / interaction.beta.astype(log.dtype))
    if isinstance(interaction, Epanechnikov):
        total = _sum_of_potentials(memory, spins)
        return legal(-jnp.log(total) / interaction.beta.astype(total.dtype))
    if interaction.exponential:
        found = -jnp.exp(_log_sum_of_exponentials(memory, spins))
    else:
        found = -_sum_of_potentials(memory, spins)
    return _checked_size(memory, legal(found))


def log_energy(memory: "DenseMemory", spins: PerNeuron) -> Float[Array, ""]:
    r"""$\log(-E)$ of an exponential interaction."""
    _check_still(memory, "log_energy")
    if not memory.interaction.exponential or isinstance(memory.interaction, Softmax):
        raise ValueError(
            f"`log_energy` is for Exponential, whose energy overflows; that of "
            f"{type(memory.interaction).__name__} is `energy`."
        )
    return _log_sum_of_exponentials(memory, spins)


def _check_still(memory: "DenseMemory", name: str) -> None:
    """ValueError for the energy of a memory that has none."""
    if memory.learning == "pseudo_inverse":
        raise ValueError(
            f"`{name}`: with learning='pseudo_inverse' there is none, as forces are those of "
            "decorrelated overlaps but act through the memories as they are."
        )
    if memory.similarity == "cosine":
        raise ValueError(
            f"`{name}`: with similarity='cosine' there is none, as memories act through themselves "
            "as they are, not scaled to one length."
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
            if energy.dtype == np.float32
            else "there is none as a number"
        )
        raise ValueError(
            f"the energy of this state with {type(memory.interaction).__name__} is beyond the "
            f"largest {energy.dtype}; {cure}."
        )
    return jnp.where(jnp.isinf(energy), jnp.nan, energy)


def _sum_of_potentials(memory: "DenseMemory", h: PerNeuron) -> Float[Array, ""]:
    r"""$\sum_\mu w_\mu F(X_\mu)$, with patterns read in blocks."""
    N, signs = memory.patterns.N, memory.signs

    def use(block: Block, given):
        seen, h = given
        X, weights = seen.of_block(block, block.overlaps(h, signs), h)
        potentials = seen.interaction.potential(X, N) * (1.0 if weights is None else weights)
        return jnp.where(block.valid, potentials, 0.0).sum()

    zero = jnp.zeros((), h.dtype)
    return stream(memory.patterns, use, jnp.add, zero, (seen_by(memory), h), memory.block)


def _log_sum_of_exponentials(memory: "DenseMemory", h: PerNeuron) -> Float[Array, ""]:
    r"""$\log \sum_\mu w_\mu e^{\beta X_\mu}$, with patterns read in blocks."""
    N, signs, none = memory.patterns.N, memory.signs, lowest(h.dtype)

    def use(block: Block, given):
        seen, h = given
        exponents = seen.interaction.force(seen.of_block(block, block.overlaps(h, signs), h)[0], N)
        return jax.nn.logsumexp(jnp.where(block.valid, exponents, none))

    start, given = jnp.asarray(none, h.dtype), (seen_by(memory), h)
    return stream(memory.patterns, use, jnp.logaddexp, start, given, memory.block)
