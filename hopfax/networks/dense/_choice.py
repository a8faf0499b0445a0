"""By which law the overlaps of a dense memory become fields, and how its neurons answer them."""

import math
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._distances import averages
from ..._interactions import AbstractInteraction, Power, Quadratic
from ..._types import PerNeuron
from . import _laws, _literal, _updates, _whole
from ._similarities import seen_by
from ._stream import overlap_sums
from ._transitions import Carried

if TYPE_CHECKING:
    from ._memory import DenseMemory


def law_of(memory: "DenseMemory", h: PerNeuron, stimulated: bool) -> _laws.AbstractLaw:
    """How the overlaps become fields, for neurons at `h`."""
    interaction, patterns, N = memory.interaction, memory.patterns, memory.patterns.N
    if interaction.exponential:
        if memory.keep_diagonal:
            return _laws.ExponentialWhole(interaction, N)
        if not memory.signs:
            return _literal.LiteralExponential(interaction, h=h, N=N)
        few = patterns.P <= _whole.FEW
        law = _laws.ExponentialOfFew if few else _laws.ExponentialWithoutSelf
        return law(interaction, N)
    force = _force_of(memory)
    if averages(interaction):
        if stimulated:
            raise ValueError(
                "`stimulus`: the saliencies of memories cannot be negative weights of a mean; with "
                f"{type(interaction).__name__} give the memories `weights`."
            )
        return _laws.Mean(force)
    if memory.keep_diagonal:
        return _laws.Whole(force)
    counted = memory.transition is None or memory.transition.signs
    if memory.signs and not stimulated and counted and memory.weights is None:
        parts = _whole.parts_to_add_exactly(interaction, patterns, memory.rule)
        if parts is not None:
            return _whole.SignsExactly(interaction, parts, patterns.P, N, patterns.dtype.name)
    powers = isinstance(interaction, Quadratic | Power)
    if _cancels(interaction, N) or not (memory.signs or powers):
        return _literal.LiteralSum(force, h)
    if memory.signs:
        return _laws.SignsWithoutSelf(force)
    assert isinstance(interaction, Quadratic | Power)
    return _laws.GradedWithoutSelf(force, interaction.order - 1)


def _force_of(memory: "DenseMemory") -> _laws.AbstractForce:
    """The force of one memory."""
    force = _laws.Leading if memory.rule == "leading" else _laws.Difference
    return force(memory.interaction, memory.patterns.N)


def response_of(memory: "DenseMemory") -> _updates.AbstractResponse:
    """How neurons answer their fields."""
    if memory.activation is not None:
        return _updates.Graded(memory.activation)
    if not memory.signs:
        return _updates.Field()
    return _updates.Sign() if memory.beta is None else _updates.Glauber(memory.beta)


def field_of(memory: "DenseMemory", h: PerNeuron, stimulus: PerNeuron | None) -> PerNeuron:
    """The fields of all neurons at `h`."""
    law, size = law_of(memory, h, stimulus is not None), memory.block
    if isinstance(law, _literal.LiteralSum | _literal.LiteralExponential):
        size = _literal.at_once(size, memory.patterns.N)
    elif isinstance(law, _whole.SignsExactly):
        size = min(size, _whole.MOST_AT_ONCE)
    return _laws.fields(law, memory.patterns, h, stimulus, **_how(memory, size))


def _how(memory: "DenseMemory", size: int, signs: bool | None = None) -> dict[str, Any]:
    """What `fields` needs to know of a memory besides its law and patterns."""
    signs = memory.signs if signs is None else signs
    seen = seen_by(memory)
    return {"signs": signs, "size": size, "transition": memory.transition, "seen": seen}


#: The same where neurons do not feel themselves, which is computed by identities of signs.
field_without_self = eqx.filter_custom_jvp(field_of)


@field_without_self.def_jvp
def _(primals, tangents):
    return field_without_self(*primals), eqx.filter_jvp(_literal_field, primals, tangents)[1]


def field_at_a_memory(memory: "DenseMemory") -> Float[Array, ""] | float:
    r"""The size of an exponential field at a memory itself, $e^{-2\beta}$ where neurons are left
    out of their own; 1 else."""
    if not memory.interaction.exponential or memory.keep_diagonal:
        return 1.0
    one = jnp.ones((), memory.patterns.dtype)
    return jnp.exp(-2 * memory.interaction.force(one, memory.patterns.N))


def whole_field(memory: "DenseMemory", x: PerNeuron, stimulus: PerNeuron | None) -> PerNeuron:
    """The fields at `x`, which need not be signs, of neurons that feel themselves."""
    law = law_of(memory, x, stimulus is not None)
    return _laws.fields(law, memory.patterns, x, stimulus, **_how(memory, memory.block, False))


def associated(memory: "DenseMemory", h: PerNeuron, values: Float[Array, "P *K"]) -> Array:
    """What memories that carry `values` call at `h`, all neurons of which are seen."""
    if values.ndim == 1:
        return associated(memory, h, values[:, None])[0]
    law = _laws.ExponentialWhole(memory.interaction, memory.patterns.N)
    if not memory.interaction.exponential:
        kind = _laws.Mean if averages(memory.interaction) else _laws.Whole
        law = kind(_laws.Leading(memory.interaction, memory.patterns.N))
    how: dict[str, Any] = {**_how(memory, memory.block), "transition": Carried(values)}
    return _laws.fields(law, memory.patterns, h, None, **how, answers=values.shape[1])


def decorrelated_field(
    memory: "DenseMemory", h: PerNeuron, stimulus: PerNeuron | None, inverse: Float[Array, "P P"]
) -> PerNeuron:
    """The fields at `h` by decorrelated overlaps."""
    law = law_of(memory, h, stimulus is not None)
    overlaps = inverse @ overlap_sums(memory.patterns, h, memory.signs, memory.block)
    how = _how(memory, memory.block)
    return _laws.fields(law, memory.patterns, h, stimulus, overlaps=overlaps, **how)


def feel_of(
    memory: "DenseMemory",
    h: PerNeuron,
    stimulus: PerNeuron | None,
    inverse: Float[Array, "P P"] | None = None,
) -> _updates.Feel:
    """The field of one neuron after the other, from `h` on; with `inverse` by decorrelated
    overlaps."""
    law, N = law_of(memory, h, stimulus is not None), memory.patterns.N
    saliency = None
    if stimulus is not None:
        saliency = overlap_sums(memory.patterns, stimulus, False, memory.block) / N
    seen = seen_by(memory)
    squares = seen.squares(memory.patterns, memory.block)

    def feel(i, X, xi, old):
        called = xi if memory.transition is None else memory.transition.of_neuron(xi)
        X = X if inverse is None else inverse @ X
        X, weights = seen.of_all(X, squares, h)  # signs, whose length does not change
        given = saliency if weights is None else weights * (1.0 if saliency is None else saliency)
        return law.field_of_one(X, xi, called, old, given)

    return feel


def _literal_field(memory: "DenseMemory", h: PerNeuron, stimulus: PerNeuron | None) -> PerNeuron:
    """The same term by term, for derivatives."""
    patterns, interaction = memory.patterns, memory.interaction
    if interaction.exponential:
        law = _literal.LiteralExponential(interaction, N=patterns.N, h=h)
    else:
        law = _literal.LiteralSum(_force_of(memory), h)
    size = _literal.at_once(memory.block, patterns.N)
    return _laws.fields(law, patterns, h, stimulus, **_how(memory, size), recomputed=True)


def _cancels(interaction: AbstractInteraction, N: int) -> bool:
    """Whether, at usual overlaps, the force grows so fast that its even and its odd part, which are
    larger than itself by this, cost more than a digit."""
    root = math.sqrt(N)
    growth = (root + 1) / max(root - 1, 0.1)
    return (getattr(interaction, "order", 0) - 1) * math.log(growth) > math.log(30.0)
