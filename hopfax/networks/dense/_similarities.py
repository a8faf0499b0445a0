r"""How alike a state and each memory are, and how much each memory counts.

An interaction acts on the similarity $X_\mu$ of the state $x$ with memory $\mu$,

$$\xi^\mu \cdot x, \qquad N \frac{\xi^\mu \cdot x}{|\xi^\mu|\, |x|}, \qquad
-\tfrac12 |\xi^\mu - x|^2,$$

of which the second and the third need the lengths of the memories beside the overlaps. They are
the first one, up to a constant, where patterns and states are signs. A memory of weight $w_\mu$
counts $w_\mu$ times, $F \to w_\mu F$: its force is multiplied by that, or its exponent raised by
$\log w_\mu$, which is the same as a greater similarity.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._distances import Epanechnikov
from ..._errors import as_float, check_at_least, check_option, check_shape
from ..._interactions import AbstractInteraction
from ..._types import ArrayLike, PerNeuron, PerPattern
from ...patterns import AbstractPatterns
from .._base import Bound
from ._blocks import Block
from ._stream import collect

if TYPE_CHECKING:
    from ._memory import DenseMemory

Similarity: TypeAlias = Literal["dot", "cosine", "euclidean"]
SIMILARITIES = ("dot", "cosine", "euclidean")


class Seen(eqx.Module):
    """What the interaction of a memory sees of overlaps."""

    interaction: AbstractInteraction
    weights: PerPattern | None
    similarity: Similarity = eqx.field(static=True)
    N: int = eqx.field(static=True)

    @property
    def plain(self) -> bool:
        """Whether it sees the overlaps as they are, and memories count alike."""
        return self.similarity == "dot" and self.weights is None

    def of_block(
        self, block: Block, X: Float[Array, " b"], h: PerNeuron
    ) -> tuple[Float[Array, " b"], Float[Array, " b"] | None]:
        """The similarities of a block with overlaps `X`, and the factors of its forces."""
        squares = None if self.similarity == "dot" else block.squares()
        weights = self.weights
        if weights is not None:
            weights = weights[jnp.minimum(block.numbers, weights.size - 1)]
        return self._found(X, squares, weights, h)

    def of_all(
        self, X: PerPattern, squares: PerPattern | None, h: PerNeuron
    ) -> tuple[PerPattern, PerPattern | None]:
        """The same of all memories, whose squared lengths are `squares`."""
        return self._found(X, squares, self.weights, h)

    def squares(self, patterns: AbstractPatterns, block: int) -> PerPattern | None:
        """The squared lengths of all memories, where they are needed."""
        if self.similarity == "dot":
            return None
        return collect(patterns, lambda block, _: block.squares(), None, block)

    def _found(self, X, squares, weights, h):
        if self.similarity == "cosine":
            size = squares * (h**2).sum()
            X = self.N * jnp.where(size > 0, X / jnp.sqrt(jnp.where(size > 0, size, 1.0)), 0.0)
        elif self.similarity == "euclidean":
            X = X - (squares + (h**2).sum()) / 2
        if weights is None or not self.interaction.exponential:
            return X, weights
        return X + jnp.log(weights) / self.interaction.force(jnp.ones((), X.dtype), self.N), None


def seen_by(memory: "DenseMemory") -> Seen:
    """What the interaction of a memory sees."""
    return Seen(memory.interaction, memory.weights, memory.similarity, memory.patterns.N)


def as_weights(weights: ArrayLike | None, patterns: AbstractPatterns) -> PerPattern | None:
    """The weights of memories. **Raises:** ValueError unless there is one for each, above 0."""
    if weights is None:
        return None
    weights = as_float(weights, "weights", patterns.dtype)
    check_shape(weights, "weights", (patterns.P,), "(P,)")
    check_at_least(weights, "weights", 0.0, strict=True)
    return weights


def default_similarity(interaction: AbstractInteraction) -> Similarity:
    """That of signs, unless the interaction is one of distances."""
    return "euclidean" if isinstance(interaction, Epanechnikov) else "dot"


def check_similarity(memory: "DenseMemory") -> None:
    """ValueError for a similarity that does not fit the other arguments."""
    check_option(memory.similarity, "similarity", SIMILARITIES)
    distances = isinstance(memory.interaction, Epanechnikov)
    if distances and memory.similarity != "euclidean":
        raise ValueError(
            f"`similarity` must be 'euclidean' with Epanechnikov, got {memory.similarity!r}."
        )
    if memory.similarity == "dot":
        return
    given = f"`similarity={memory.similarity!r}`"
    if not memory.keep_diagonal:
        raise ValueError(
            f"{given} is that of whole states, of which no neuron is left out: say "
            "keep_diagonal=True."
        )
    if memory.learning == "pseudo_inverse":
        raise ValueError(f"{given}: learning='pseudo_inverse' decorrelates dot products alone.")
    if memory.similarity == "euclidean" and not (distances or memory.interaction.exponential):
        raise ValueError(
            f"{given} is negative, minus half a squared distance, which "
            f"{type(memory.interaction).__name__} cannot take; use Softmax, Epanechnikov or "
            "Exponential."
        )


def weight_bounds(weights: PerPattern | None) -> Iterator[Bound]:
    """That weights are positive."""
    if weights is not None:
        yield Bound("weights", weights, 0.0, True)
