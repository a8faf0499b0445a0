"""What every network owes: its physics. Everything else has a default here."""

import abc
import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float

from .._errors import (
    PhysicsWarning,
    as_float,
    check_at_least,
    check_finite,
    check_shape,
    shown,
    warn,
)
from .._report import Report, Reported, fields_report, in_brief, matrix_svg
from .._types import ArrayLike, Input, PerNeuron, PerPattern, State
from ..patterns import AbstractPatterns, Patterns
from ..patterns._base import unsigned
from ._forms import AbstractForms, Sites
from ._resting import name_by_overlaps
from ._states import Inputs, neurons_of

_Flow = TypeVar("_Flow", bound="AbstractFlow")
_Model = TypeVar("_Model")


class Bound(NamedTuple):
    """Domain of a parameter: `value`, usually its own, is finite and `>= lower` (`> lower` if
    `strict`). `label` says what `value` is otherwise.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(4, 16), activation=hx.Tanh(2.0))
    [bound.name for bound in network.domain()]  # activation.gain, which is > 0
    ```
    """

    name: str
    value: Array
    lower: float = -np.inf
    strict: bool = False
    hint: str = ""
    label: str = ""

    def holds(self) -> Bool[Array, ""]:
        """Whether `value` is inside, as an array (works under a trace)."""
        above = self.value > self.lower if self.strict else self.value >= self.lower
        return (jnp.isfinite(self.value) & above).all()


class AbstractNetwork(Reported, eqx.Module):
    """Patterns, parameters and an equation of motion, for one network and one state.

    Batches are made with `jax.vmap`. Subclasses are final.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    isinstance(network, hx.AbstractNetwork)  # True
    network.overlaps(network.init(field=patterns.xi[1]))  # 0, 0.964, 0, 0
    network.options()["learning"]  # hebbian
    ```
    """

    patterns: AbstractVar[AbstractPatterns]

    @abc.abstractmethod
    def overlaps(self, state: Any) -> PerPattern:
        r"""Overlaps $m_\mu$ of `state` with the memories."""

    @abc.abstractmethod
    def domain(self) -> Iterable[Bound]:
        """The domain of every parameter, checked before a run."""

    def for_theory(self) -> dict[str, Any]:
        """What functions of `hopfax.theory` that are given this network read of it, by names.

        **Raises:** ValueError where none of them is for such networks.
        """
        raise ValueError(
            f"`network`: no theory reads a {type(self).__name__} as such; give it the numbers."
        )

    def _report(self) -> Report:
        found = fields_report(self, f"{type(self).__name__} of {in_brief(self.patterns)}")
        rows = [(name, text) for name, text in found.rows if name != "patterns"]

        def picture() -> str:
            fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
            return "".join(
                matrix_svg(value, f"{name}: from column to row")
                for name, value in fields.items()
                if name != "patterns" and np.ndim(value) == 2
            )

        return found._replace(rows=rows, picture=picture)

    def options(self) -> dict[str, Any]:
        """What besides arrays makes the network what it is, by name: its options, and the classes
        of its parts. They are written beside the results of a sweep."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata.get("static", False):
                found[field.name] = value
            elif isinstance(value, eqx.Module) and not isinstance(value, AbstractPatterns):
                found[field.name] = type(value).__name__
        return found


class AbstractFlow(AbstractNetwork):
    r"""A network in continuous time.

    A new network is a final subclass with a field `patterns` and the six abstract methods below:
    its physics. It then runs in `simulate`, `sweep`, `refine` and `fit`, on all its neurons and
    through diffrax, and is saved, loaded and drawn like any other. A state is a pytree of floating
    arrays, whose first array has one number a neuron, $x$; private noise acts on that one.

    The other methods have defaults, and a network that knows more overrides them: it may take a
    stimulus (`stimulated`), have saliencies (`saliencies`), a slow time constant (`slow_constant`,
    `slow_rate`), smaller exact forms (`forms`), or warn of runs that will disappoint (`pitfalls`).

    **Example:**

    ```python
    class Rectified(hx.AbstractFlow):
        patterns: hx.Patterns

        def init(self, *, field):
            return jnp.asarray(field)

        def rates(self, state):
            return jnp.maximum(jnp.tanh(3 * state), 0.0)

        def overlaps(self, state):
            return self.patterns.overlap(self.rates(state))

        def vector_field(self, t, state, inputs=None):
            return self.patterns.field(self.overlaps(state)) - state

        def energy(self, state, inputs=None):
            return jnp.sum(state**2) / 2

        def domain(self):
            return ()

    network = Rectified(hx.patterns.hadamard(3, 16))
    start = network.init(field=network.patterns.xi[1])
    hx.simulate(network, start, jnp.array([0.0, 5.0])).overlaps[-1]  # 0, 0.436, 0
    ```
    """

    #: Whether a run "never", "optional"ly or always ("required") has a `stimulus`.
    stimulated: ClassVar[Literal["never", "optional", "required"]] = "never"
    #: The exact forms of a run: on all neurons, unless a family knows smaller ones.
    forms: ClassVar[AbstractForms] = Sites()
    #: Whether the numbers of neurons are rates, which are not negative.
    nonnegative: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, *args: Any, **start: Any) -> State:
        """A start state, from named arrays that the subclass lists.

        With `*args` type checkers let a subclass name whatever it needs; starts have names only.
        """

    @abc.abstractmethod
    def vector_field(self, t: Any, state: State, inputs: Inputs | None = None) -> State:
        r"""Time derivative of `state`, in units of the fast time constant $\tau_x = 1$."""

    @abc.abstractmethod
    def rates(self, state: State) -> PerNeuron:
        """Firing rates of all neurons."""

    @abc.abstractmethod
    def energy(self, state: State, inputs: Inputs | None = None) -> Float[Array, ""]:
        """The energy that the flow descends. **Raises:** ValueError where there is none."""

    def saliencies(self, state: State, inputs: Inputs | None = None) -> PerPattern | None:
        """Saliency of every memory now; None where all are equal for ever."""
        return None

    def slow_constant(self) -> Array | None:
        r"""$\tau$, the time constant of what is slow, a scalar or (P,); None where nothing is."""
        return None

    def escape_level(self) -> Float[Array, ""] | None:
        """The saliency below which an active memory is unstable; None where it is not known."""
        return None

    def checked(self, state: State) -> State:
        """`state` in the patterns' dtype.

        **Raises:** TypeError/ValueError if it is none of this network's: its arrays are not
        floats, the first has not one number a neuron, or `vector_field` and `overlaps` do not take
        it or return something of another shape.
        """
        return _checked_state(self, state)

    def pitfalls(self, state: State, current: Input, noise: Any) -> Iterable[str]:
        """Why a legal run with concrete values will hardly show what it is meant to show; nothing,
        unless a subclass knows better."""
        return ()

    def crowded(self) -> bool:
        """Whether there are more memories than fields linear in the overlaps can hold: more than
        neurons, unless a subclass knows better."""
        return self.patterns.P > self.patterns.N

    def resting(self, state: State) -> str:
        """What a state of rest, with known values, is called: by its overlaps, unless a subclass
        knows better."""
        return name_by_overlaps(np.asarray(self.overlaps(state)))

    def merged(self: _Flow) -> _Flow:
        """The network with classes of equal neurons in place of neurons, where these are known and
        make it smaller. It is the same for starts without a difference between equal neurons, and
        without private inputs or noise."""
        return self.forms.merged(self)


class AbstractMap(AbstractNetwork):
    """A network in discrete time.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    isinstance(memory, hx.AbstractMap)  # True: `hopfax.iterate` runs it
    state = memory.step(memory.init(memory.patterns.xi[2]))
    memory.overlaps(state)  # 0, 0, 1, 0
    ```
    """

    @property
    @abc.abstractmethod
    def random(self) -> bool:
        """Whether a step draws random numbers."""

    @abc.abstractmethod
    def init(self, spins: ArrayLike) -> Any:
        """A start state."""

    def checked(self, state: Any) -> Any:
        """`state` as it comes: `init` has checked it."""
        return state

    @property
    def signs(self) -> bool:
        """Whether states are +-1, so that steps have no derivative."""
        return False

    def prepared(self, clamped: Bool[Array, " N"] | None = None) -> Any:
        """What makes the steps of a run, by a method `step` as below: the network, or one that has
        computed what all steps share. Neurons that are `clamped` stay as they are: here they are
        put back after each step."""
        return self if clamped is None else _Clamped(self, clamped)

    @abc.abstractmethod
    def holds(self, state: Any) -> Bool[Array, ""]:
        """Whether `state` is a legal one, as an array (works under a trace)."""

    @abc.abstractmethod
    def step(
        self, state: Any, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> Any:
        """The state after one step."""


class _Clamped(eqx.Module):
    """A network in discrete time of which some neurons are put back after each step."""

    network: AbstractMap
    clamped: Bool[Array, " N"]

    def step(self, state: Any, stimulus: PerNeuron | None, key: jax.Array | None) -> Any:
        new = self.network.step(state, stimulus, key)
        spins = jnp.where(self.clamped, state.spins, new.spins)
        return dataclasses.replace(new, spins=spins)


def parameter(value: ArrayLike, name: str, patterns: Patterns) -> Array:
    """A parameter in the dtype of the patterns: a scalar or one value a memory."""
    value = as_float(value, name, patterns.xi.dtype)
    if value.shape not in ((), (patterns.P,)):
        raise ValueError(
            f"`{name}` must be a scalar or have shape (P,) = ({patterns.P},), got {value.shape}."
        )
    return value


def _checked_state(network: AbstractFlow, state: State) -> State:
    kind, N, dtype = type(network).__name__, network.patterns.N, network.patterns.dtype

    def cast(path: Any, leaf: Any) -> Array:
        name = "state0" + jax.tree_util.keystr(path)
        leaf = as_float(leaf, name, dtype)
        check_finite(leaf, name)
        return leaf

    state = jax.tree_util.tree_map_with_path(cast, state)
    if not jax.tree.leaves(state):
        raise TypeError(f"`state0` of a {kind} must hold arrays, got {state!r}.")
    check_shape(neurons_of(state), "state0 (its first array, one number a neuron)", (N,), "(N,)")
    given = jnp.zeros(N, dtype) if network.stimulated == "required" else None

    def rate_of(state):
        return network.vector_field(jnp.zeros((), dtype), state, Inputs(given))

    rate = jax.eval_shape(rate_of, state)
    wanted = jax.eval_shape(lambda s: s, state)
    if jax.tree.structure(rate) != jax.tree.structure(wanted) or _shapes(rate) != _shapes(wanted):
        raise ValueError(
            f"{kind}.vector_field must return the derivative of every array of the state, "
            f"{wanted}, but returns {rate}."
        )
    m = jax.eval_shape(network.overlaps, state)
    if getattr(m, "shape", None) != (network.patterns.P,):
        raise ValueError(
            f"{kind}.overlaps must return an array of shape (P,) = ({network.patterns.P},), but "
            f"returns {m}."
        )
    return state


def _shapes(tree: Any) -> list[tuple[tuple[int, ...], Any]]:
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def check_kind(
    network: Any, kind: type | tuple[type, ...], name: str = "network", why: str = ""
) -> None:
    """TypeError unless the argument `name` is a `kind` of network, or one of several."""
    if not isinstance(network, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or a ".join(each.__name__.removeprefix("Abstract") for each in kinds)
        raise TypeError(f"`{name}` must be a {wanted}, got {type(network).__name__}{why}.")


def check_flow(network: Any, instead: str) -> None:
    """TypeError unless `network` runs in continuous time. `instead`: what to do with one in
    discrete time."""
    if isinstance(network, AbstractMap):
        raise TypeError(f"`network` is a {type(network).__name__}, in discrete time{instead}")
    if not isinstance(network, AbstractFlow):
        raise TypeError(f"`network` must be a hopfax network, got {type(network).__name__}.")
    check_patterns(network.patterns)


def check_map(network: Any) -> None:
    """TypeError unless `network` runs in discrete time."""
    if not isinstance(network, AbstractMap):
        raise TypeError(
            f"`network` must be a network in discrete time, got {type(network).__name__}; flows "
            "are integrated by hopfax.simulate."
        )


def merged(model: _Model) -> _Model:
    """A network with classes of equal neurons in place of neurons; any other model as it is."""
    return model.merged() if isinstance(model, AbstractFlow) else model


def without_stimulus(network: AbstractFlow) -> str:
    """What to say of a network that lacks its stimulus."""
    return (
        f"{type(network).__name__} needs a `stimulus` of shape (N,): without one every saliency "
        "is zero. (Additive input is `current`.)"
    )


def check_state(state: Any, kind: type, network: AbstractNetwork) -> None:
    """TypeError unless `state` is a `kind` of state, ValueError if it is of another network."""
    if not isinstance(state, kind):
        raise TypeError(f"`state` must come from network.init(...), got {shown(state)}.")
    shape, N = jnp.shape(neurons_of(state)), network.patterns.N
    if shape[-1:] != (N,):
        raise ValueError(f"`state` must be of {N} neurons, but has shape {shape}.")


def checked_inputs(inputs: Any) -> Inputs:
    """The inputs, or none. **Raises:** TypeError for anything else."""
    if inputs is None:
        return Inputs()
    if not isinstance(inputs, Inputs):
        raise TypeError(f"`inputs` must be hopfax.Inputs(stimulus, current), got {shown(inputs)}.")
    return inputs


def check_patterns(patterns: Any) -> None:
    """TypeError unless they are stored `Patterns`."""
    if not isinstance(patterns, Patterns):
        raise TypeError(
            f"`patterns` must be a hopfax Patterns, got {type(patterns).__name__}; "
            "wrap the array: Patterns(xi)."
        )


def warn_unsigned(patterns: Patterns) -> None:
    """PhysicsWarning for memories that a network of signs takes, but without a negative entry."""
    if (found := unsigned(patterns)) is not None:
        warn(
            f"{found}. This network takes them as they are; memories without negative entries all "
            "resemble each other, and mixtures of them are retrieved. For signs: Patterns(2 * xi - "
            "1) of entries 0 and 1, hopfax.patterns.from_images(xi) of grey values. Sets of active "
            "neurons are for the firing-rate family: RateMemory(hopfax.patterns.active(xi)).",
            PhysicsWarning,
        )


def check_domain(network: AbstractNetwork) -> None:
    """Raise ValueError naming the first concrete parameter outside its domain."""
    if isinstance(network.patterns, Patterns):
        network.patterns.check_values()
    for bound in network.domain():
        name = bound.label or bound.name
        check_at_least(bound.value, name, bound.lower, strict=bound.strict, hint=bound.hint)


def in_domain(network: AbstractNetwork) -> Bool[Array, ""]:
    """Whether every parameter is inside its domain, as an array (works under a trace)."""
    fine = jnp.asarray(True)
    if isinstance(network.patterns, Patterns):
        fine = network.patterns.legal()
    for bound in network.domain():
        fine = fine & bound.holds()
    return fine
