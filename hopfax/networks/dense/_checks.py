"""What a dense memory refuses: arguments that do not fit together, states that are not its own,
energies that no float holds."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._activations import AbstractActivation
from ..._distances import Epanechnikov, averages
from ..._errors import (
    as_float,
    as_key,
    check_at_least,
    check_finite,
    check_option,
    check_shape,
    shown,
)
from ..._interactions import AbstractInteraction, ManyBody, Simplicial, Softmax
from ..._types import ArrayLike, PerNeuron, is_concrete
from ...patterns import AbstractPatterns
from .._base import AbstractMap
from ._spins import SpinState

if TYPE_CHECKING:
    from ._memory import DenseMemory


def check_arguments(patterns: Any, interaction: Any, **options: str) -> None:
    """TypeError/ValueError for patterns, an interaction or options of another kind."""
    if not isinstance(patterns, AbstractPatterns):
        raise TypeError(
            f"`patterns` must be hopfax patterns, got {type(patterns).__name__}; wrap the "
            "array: Patterns(xi)."
        )
    if not isinstance(interaction, AbstractInteraction):
        raise TypeError(f"`interaction` must be one such as Power(3), got {shown(interaction)}.")
    for name, given in options.items():
        check_option(given, name, OPTIONS[name])


OPTIONS = {
    "rule": ("leading", "difference"),
    "update": ("parallel", "cyclic", "random"),
    "learning": ("hebbian", "pseudo_inverse"),
}


def check_kinds(memory: "DenseMemory") -> None:
    """TypeError/ValueError for an argument that does not fit a dense memory by itself."""
    patterns, interaction = memory.patterns, memory.interaction
    if memory.activation is not None and not isinstance(memory.activation, AbstractActivation):
        raise TypeError(
            "`activation` must be a hopfax activation such as Tanh(), got "
            f"{shown(memory.activation)}."
        )
    if not isinstance(memory.keep_diagonal, bool):
        raise TypeError(
            f"`keep_diagonal` must be True or False, got {shown(memory.keep_diagonal)}."
        )
    if getattr(patterns, "counts", None) is not None:
        raise ValueError(
            "`patterns` have `counts`, so each column stands for several neurons; a dense memory "
            "in discrete time needs a column for every neuron (DenseFlow takes classes)."
        )
    check_force(interaction, patterns)
    order, most = getattr(interaction, "order", 0), float(jnp.finfo(patterns.dtype).max)
    if order * math.log(patterns.N) > math.log(most):
        raise ValueError(
            f"`interaction` of order {order} at N = {patterns.N} has energies of N^{order}, beyond "
            f"what {patterns.dtype} holds ({most:.1e}); enable double precision "
            '(jax.config.update("jax_enable_x64", True)) or use Exponential.'
        )


def check_force(interaction: AbstractInteraction, patterns: AbstractPatterns) -> None:
    """ValueError where the force of an interaction of one's own is not finite."""
    if type(interaction).__module__.split(".")[0] == __name__.split(".")[0]:
        return
    y = jnp.asarray([1.0 - patterns.N, patterns.N - 1.0], patterns.dtype)
    force = interaction.force(y, patterns.N)
    if is_concrete(force) and not np.isfinite(np.asarray(force)).all():
        raise ValueError(
            f"`interaction`: the force of {type(interaction).__name__} is not finite at an overlap "
            f"of {patterns.N - 1} of the N = {patterns.N} neurons in {patterns.dtype}. One that "
            "grows exponentially says `exponential = True` and gives its exponent."
        )


def _not_binary(patterns: AbstractPatterns) -> str:
    """What patterns are that are not known to be +-1, and what to do."""
    if is_concrete(getattr(patterns, "xi", None)):
        return "but these are real-valued: use keep_diagonal=True, or signs of them"
    return (
        "which under a trace is not known: say Patterns(xi, binary=True) if they are (rows that "
        "are not become NaN, and runs have the status invalid_parameter), else keep_diagonal=True"
    )


def check_consistency(memory: "DenseMemory") -> None:
    """ValueError for the first pair of arguments that contradict each other."""
    kind = type(memory.interaction).__name__
    signs, without = memory.signs, not memory.keep_diagonal
    for wrong, message in (
        (
            memory.beta is not None and not signs,
            "`beta` is the temperature of signs; graded neurons have none.",
        ),
        (
            memory.update != "parallel" and not signs,
            f"`update={memory.update!r}` is for signs; graded neurons move in parallel.",
        ),
        (
            averages(memory.interaction) and without,
            f"`keep_diagonal=False`: the state of {kind} is a mean of patterns, which has no "
            "self-coupling to leave out; for signs use Exponential.",
        ),
        (
            without and not memory.patterns.binary,
            f"`keep_diagonal=False` needs patterns of +-1, {_not_binary(memory.patterns)}.",
        ),
        (
            memory.rule == "difference" and not (signs and without),
            "`rule='difference'` compares the two signs of a neuron, so the diagonal is out and "
            "neurons are not graded.",
        ),
        (
            memory.rule == "difference" and memory.transition is not None,
            "`rule='difference'` is what an energy gains by the sign of a neuron; a memory with a "
            "`transition` has no energy, so use rule='leading'.",
        ),
        (
            isinstance(memory.interaction, ManyBody | Simplicial)
            and memory.learning == "pseudo_inverse",
            f"`learning='pseudo_inverse'` is not for {kind}: decorrelated overlaps are no sums "
            "over sets of different neurons; use Power.",
        ),
        (
            memory.learning == "pseudo_inverse" and without,
            "`keep_diagonal=False`: with learning='pseudo_inverse' forces are those of "
            "decorrelated overlaps, in which no neuron can be left out.",
        ),
        (
            isinstance(memory.interaction, ManyBody | Simplicial) and not (signs and without),
            f"{kind} sums over sets of different neurons: there is no diagonal to keep, and "
            "states are +-1.",
        ),
    ):
        if wrong:
            raise ValueError(message)


def checked_spins(memory: AbstractMap, spins: ArrayLike, name: str) -> PerNeuron:
    spins = as_float(spins, name, memory.patterns.dtype)
    check_shape(spins, name, (memory.patterns.N,), "(N,)")
    check_finite(spins, name)
    if memory.signs and is_concrete(spins) and (np.abs(np.asarray(spins)) != 1).any():
        raise ValueError(
            f"`{name}` must be +-1, as the neurons of this {type(memory).__name__} are signs."
        )
    return spins


def known_spins(
    memory: AbstractMap, state: SpinState
) -> tuple[PerNeuron, Callable[[Array], Array]]:
    """The spins of a state, and what makes NaN of a result if they turn out to be illegal."""
    if not isinstance(state, SpinState):
        raise TypeError(
            f"`state` must be a SpinState, from network.init(...), got {type(state).__name__}."
        )
    spins = checked_spins(memory, state.spins, "state.spins")
    if is_concrete(spins):
        return spins, lambda result: result
    held = memory.holds(SpinState(spins))
    return spins, lambda result: jnp.where(held, result, jnp.nan)


def checked_temperature(
    beta: ArrayLike | None, patterns: AbstractPatterns
) -> Float[Array, ""] | None:
    """The inverse temperature of signs, a number above 0."""
    if beta is None:
        return None
    beta = as_float(beta, "beta", patterns.dtype)
    check_shape(beta, "beta", (), "()")
    check_at_least(beta, "beta", 0.0, strict=True)
    return beta


def checked_values(memory: "DenseMemory", values: ArrayLike) -> Float[Array, "P *K"]:
    """What memories carry, a row of numbers each."""
    if isinstance(values, AbstractPatterns):
        raise TypeError(
            "`values` must be an array with a row for each memory, such as patterns.xi."
        )
    if memory.transition is not None or memory.learning == "pseudo_inverse":
        raise ValueError(
            "`associate` is of memories that act by their own overlaps: leave out `transition` "
            "and learning='pseudo_inverse'."
        )
    values = as_float(values, "values", memory.patterns.dtype)
    P = memory.patterns.P
    if values.ndim not in (1, 2) or len(values) != P or not values.size:
        raise ValueError(
            f"`values` must have a row, or a number, for each memory, shape (P, K) = ({P}, K) or "
            f"(P,), got {values.shape}."
        )
    check_finite(values, "values")
    return values


def checked_stimulus(memory: "DenseMemory", stimulus: ArrayLike | None) -> PerNeuron | None:
    if stimulus is None:
        return None
    stimulus = as_float(stimulus, "stimulus", memory.patterns.dtype)
    check_shape(stimulus, "stimulus", (memory.patterns.N,), "(N,)")
    return stimulus


def checked_key(memory: AbstractMap, key: jax.Array | None) -> jax.Array | None:
    """The key of a step. **Raises:** ValueError if it is needed and missing."""
    if memory.random and key is None:
        raise ValueError(
            "this memory draws random numbers (`beta`, or `update='random'`), so it needs a "
            "`key`: make one with jax.random.key(seed)."
        )
    return None if key is None else as_key(key)


def check_same_kind(
    hold: AbstractInteraction, follow: AbstractInteraction, activation: AbstractActivation | None
) -> None:
    """TypeError/ValueError unless the two terms of a sequence are interactions whose neurons are of
    one kind."""
    for name, given in (("hold", hold), ("follow", follow)):
        if not isinstance(given, AbstractInteraction):
            raise TypeError(
                f"`{name}` must be an interaction such as Power(3), got {shown(given)}."
            )
    if isinstance(hold, Epanechnikov) or isinstance(follow, Epanechnikov):
        raise ValueError(
            "`hold` and `follow` cannot be Epanechnikov, whose field is a mean of memories or none."
        )
    if activation is None and isinstance(hold, Softmax) != isinstance(follow, Softmax):
        raise ValueError(
            "`hold` and `follow` must both be Softmax or neither, as its states are means of "
            "memories; for signs use Exponential, or give an `activation`."
        )


def check_felt(follow: AbstractInteraction, signs: bool) -> None:
    """ValueError for an interaction that cannot feel a past that is no state of signs."""
    if isinstance(follow, ManyBody | Simplicial) and not signs:
        raise ValueError(
            f"`follow`: {type(follow).__name__} is of states of signs, and a mean of them (`tau`, "
            "or weights as `delay`) is none; give `delay` as a number of steps."
        )
