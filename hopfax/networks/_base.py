"""What every network has: a state, an equation of motion, and the exact form that is integrated."""

import abc
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar, AbstractVar
from jaxtyping import Array, Bool, Float

from .._errors import as_float, check_at_least, check_finite
from .._types import ArrayLike, PerNeuron, PerPattern
from ..patterns import AbstractPatterns, Patterns

Reduction: TypeAlias = Literal["auto", "sites", "span", "classes"]
_Flow = TypeVar("_Flow", bound="AbstractFlow")


class Bound(NamedTuple):
    """Domain of a parameter: `value`, usually its own, is finite and `>= lower` (`> lower` if
    `strict`). `label` says what `value` is otherwise."""

    name: str
    value: Array
    lower: float = -np.inf
    strict: bool = False
    hint: str = ""
    label: str = ""


class Inputs(NamedTuple):
    """What reaches the neurons at one moment: `stimulus` sets saliency, `current` is added."""

    stimulus: PerNeuron | None = None
    current: PerNeuron | None = None


class AbstractNetwork(eqx.Module):
    """Patterns, parameters and an equation of motion, for one network and one state.

    Batches are made with `jax.vmap`. Subclasses are final.
    """

    patterns: AbstractVar[AbstractPatterns]

    @abc.abstractmethod
    def overlaps(self, state: Any) -> PerPattern:
        r"""Overlaps $m_\mu$ of `state` with the memories."""

    @abc.abstractmethod
    def domain(self) -> Iterable[Bound]:
        """The domain of every parameter, checked before a run."""


class Core(eqx.Module):
    """What is integrated of a state: `main`, the part that all else follows from, `slow`, what has
    a time constant of its own, and `noise` (N,), the filtered private noise if it is carried
    along."""

    main: Array
    slow: Any
    noise: Float[Array, " N"] | None = None


class AbstractSystem(eqx.Module):
    """One run's equation of motion in its reduced form."""

    patterns: AbstractVar[Patterns]  # all of them
    stimulus: AbstractVar[Any]

    @property
    @abc.abstractmethod
    def small(self) -> bool:
        """Whether a state is a few numbers whatever N, so that many can be kept."""

    @abc.abstractmethod
    def derivative(self, t, core: Core, args: Any = None) -> Core:
        """Right-hand side, in the form diffrax wants."""

    @abc.abstractmethod
    def overlaps(self, t, core: Core) -> PerPattern:
        """Overlaps of the reduced state; equal to those of the full network."""

    @abc.abstractmethod
    def saliency(self, t, core: Core) -> PerPattern | None:
        """Saliency now: part of the state, or read from the stimulus."""

    @abc.abstractmethod
    def evidence(self, t) -> PerPattern | None:
        """What the stimulus says of each memory now; None without one."""

    @abc.abstractmethod
    def state(self, t, core: Core) -> Any:
        """The full state that the user sees."""


class AbstractFlow(AbstractNetwork):
    """A network in continuous time.

    Everything that runs networks (`simulate`, `sweep`, `fit`) asks them for what is below and for
    nothing else.
    """

    activation: AbstractVar[Any]
    #: Whether a run "never", "optional"ly or always ("required") has a `stimulus`.
    stimulated: AbstractClassVar[str]

    @abc.abstractmethod
    def init(self, **start: Any) -> Any:
        """A start state, from named arrays that the subclass lists."""

    @abc.abstractmethod
    def vector_field(self, t: Any, state: Any, inputs: Inputs | None = None) -> Any:
        r"""Time derivative of `state`, in units of the fast time constant $\tau_x = 1$."""

    @abc.abstractmethod
    def rates(self, state: Any) -> PerNeuron:
        """Firing rates of all neurons."""

    @abc.abstractmethod
    def energy(self, state: Any, inputs: Inputs | None = None) -> Float[Array, ""]:
        """The energy that the flow descends."""

    @abc.abstractmethod
    def checked(self, state: Any) -> Any:
        """`state` in the patterns' dtype. **Raises:** TypeError/ValueError if it is none of this
        network's."""

    def pitfalls(self, state: Any, current: Any, noise: Any) -> Iterable[str]:
        """Why a legal run with concrete values will hardly show what it is meant to show; nothing,
        unless a subclass knows better."""
        return ()

    @abc.abstractmethod
    def smallest(self, state: Any, current: Any, noise: Any) -> Reduction:
        """The smallest exact form of a run."""

    @abc.abstractmethod
    def inexact(self, wanted: Reduction, state: Any, current: Any, noise: Any) -> str | None:
        """Why a form is not exact here; None if it is."""

    @abc.abstractmethod
    def reduced(
        self, state: Any, t0, stimulus: Any, current: Any, noisy: bool, reduction: Reduction
    ) -> tuple[AbstractSystem, Core]:
        """The system of a run in this form, and its start."""

    @abc.abstractmethod
    def merged(self: _Flow) -> _Flow:
        """The network with classes of equal neurons in place of neurons, where these are known and
        make it smaller. It is the same for starts without a difference between equal neurons, and
        without private inputs or noise."""


class AbstractMap(AbstractNetwork):
    """A network in discrete time."""

    @property
    @abc.abstractmethod
    def random(self) -> bool:
        """Whether a step draws random numbers."""

    @abc.abstractmethod
    def init(self, spins: ArrayLike) -> Any:
        """A start state."""

    @abc.abstractmethod
    def holds(self, state: Any) -> Bool[Array, ""]:
        """Whether `state` is a legal one, as an array (works under a trace)."""

    @abc.abstractmethod
    def step(
        self, state: Any, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> Any:
        """The state after one step."""


def parameter(value: ArrayLike, name: str, patterns: Patterns) -> Array:
    """A parameter in the dtype of the patterns: a scalar or one value a memory."""
    value = as_float(value, name, patterns.xi.dtype)
    if value.shape not in ((), (patterns.P,)):
        raise ValueError(
            f"`{name}` must be a scalar or have shape (P,) = ({patterns.P},), got {value.shape}."
        )
    return value


def without_stimulus(network: AbstractFlow) -> str:
    """What to say of a network that lacks its stimulus."""
    return (
        f"{type(network).__name__} needs a `stimulus` of shape (N,): without one every saliency "
        "is zero. (Additive input is `current`.)"
    )


def check_patterns(patterns: Any) -> None:
    """TypeError unless they are stored `Patterns`."""
    if not isinstance(patterns, Patterns):
        raise TypeError(
            f"`patterns` must be a hopfax Patterns, got {type(patterns).__name__}; "
            "wrap the array: Patterns(xi)."
        )


def check_domain(network: AbstractNetwork) -> None:
    """Raise ValueError naming the first concrete parameter outside its domain."""
    if isinstance(network.patterns, Patterns):
        check_finite(network.patterns.xi, "patterns.xi")
    for bound in network.domain():
        name = bound.label or bound.name
        check_at_least(bound.value, name, bound.lower, strict=bound.strict, hint=bound.hint)


def in_domain(network: AbstractNetwork) -> Bool[Array, ""]:
    """Whether every parameter is inside its domain, as an array (works under a trace)."""
    fine = jnp.asarray(True)
    if isinstance(network.patterns, Patterns):
        fine = jnp.isfinite(network.patterns.xi).all()
    for bound in network.domain():
        above = bound.value > bound.lower if bound.strict else bound.value >= bound.lower
        fine = fine & (jnp.isfinite(bound.value) & above).all()
    return fine
