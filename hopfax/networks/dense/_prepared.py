r"""A dense memory as the steps of a run need it: with the inverse Gram matrix, if it is of use.

By the pseudo-inverse rule forces are those of decorrelated overlaps,

$$\tilde m = C^{-1} m, \qquad C_{\mu\nu} = \xi^\mu \cdot \xi^\nu / N, \qquad
u_i = \frac1s \sum_\mu \eta^\mu_i\, f(N \tilde m_\mu).$$

At a memory its own decorrelated overlap is 1 and all others are 0, however the memories resemble
each other.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._types import PerNeuron
from ...patterns import AbstractPatterns, Patterns
from .._base import Bound
from .._pseudo_inverse import check_independent, independence, known_inverse
from ._checks import checked_key, checked_stimulus, known_spins
from ._choice import decorrelated_field, feel_of, field_of, field_without_self, response_of
from ._spins import SpinState
from ._stream import overlap_sums
from ._updates import kept, one_by_one

if TYPE_CHECKING:
    from ._memory import DenseMemory


class Prepared(eqx.Module):
    """A memory with what all steps of a run share."""

    memory: "DenseMemory"
    inverse: Float[Array, "P P"] | None
    clamped: Bool[Array, " N"] | None = None

    def field(self, h: PerNeuron, stimulus: PerNeuron | None) -> PerNeuron:
        """The fields of the neurons at `h`."""
        if self.inverse is not None:
            return decorrelated_field(self.memory, h, stimulus, self.inverse)
        felt = field_of if self.memory.keep_diagonal else field_without_self
        return felt(self.memory, h, stimulus)

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """As that of the memory."""
        memory, patterns = self.memory, self.memory.patterns
        key = checked_key(memory, key)
        respond = response_of(memory)
        h, legal = known_spins(memory, state)
        stimulus = checked_stimulus(memory, stimulus)
        if memory.update == "parallel":
            new = respond(self.field(h, stimulus), h, key)
            return SpinState(legal(kept(self.clamped, h, new)))
        feel = feel_of(memory, h, stimulus, self.inverse)
        X = overlap_sums(patterns, h, memory.signs, memory.block)
        how = memory.update, key, self.clamped
        return SpinState(legal(one_by_one(feel, respond, patterns.column, h, X, *how)))


def prepared(memory: "DenseMemory", clamped: Bool[Array, " N"] | None = None) -> Prepared:
    """The memory with what all steps of a run share, and the neurons that stay as they are."""
    decorrelated = memory.learning == "pseudo_inverse"
    return Prepared(memory, inverse_of(memory) if decorrelated else None, clamped)


def inverse_of(memory: "DenseMemory") -> Float[Array, "P P"]:
    """$C^{-1}$, of patterns of any kind; NaN where there is none."""
    patterns, signs = memory.patterns, memory.patterns.binary

    def row(mu):
        return overlap_sums(patterns, patterns.rows(mu, 1)[0], signs, memory.block) / patterns.N

    gram = jax.lax.map(row, jnp.arange(patterns.P, dtype=jnp.int32))
    return known_inverse(gram)


def check_stored(patterns: AbstractPatterns) -> None:
    """ValueError for memories that are not linearly independent, as far as is known."""
    if patterns.P > patterns.N:
        raise ValueError(
            "learning='pseudo_inverse' needs linearly independent memories, but "
            f"{patterns.P} memories of {patterns.N} neurons cannot be."
        )
    if isinstance(patterns, Patterns):
        check_independent(patterns)


def stored_bounds(patterns: AbstractPatterns) -> Iterator[Bound]:
    """That memories are linearly independent, where all of them are at hand."""
    if isinstance(patterns, Patterns):
        yield from independence(patterns)
