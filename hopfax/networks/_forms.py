r"""How a run is made smaller without approximation, and what an engine is given of it.

A run of a network can be integrated in several *forms*: on all neurons ("sites"), on the
coefficients of the field in the patterns ("span"), or on classes of equal neurons ("classes").
`Sites` serves every network by its own `vector_field`; a family that has smaller exact forms says
so by a subclass of `AbstractForms` of its own. A form makes of a run an `AbstractSystem`, the
equation that an engine integrates, and a `Core`, where it starts.
"""

import abc
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from .._types import Input, Network, PerPattern, State
from ..patterns import Patterns
from ._states import Inputs

Reduction: TypeAlias = Literal["auto", "sites", "span", "classes"]
_Flow = TypeVar("_Flow")


class Core(eqx.Module):
    """What is integrated of a state: `main`, the part that all else follows from, `slow`, what has
    a time constant of its own, and `noise` (N,), the filtered private noise if it is carried
    along. Private noise acts on `main`, or on `noise` where there is one."""

    main: Array
    slow: Any  # an array, several, or None
    noise: Float[Array, " N"] | None = None


class AbstractLaw(eqx.Module):
    """What an exact engine needs to know of a run. Each engine has a subclass of its own."""


class HardTanhCells(NamedTuple):
    r"""$\dot u = -u + \mathrm{back}\; \psi(\mathrm{into}\; u + \mathrm{base}) + \mathrm{offset}$
    with $\psi(x) = \mathrm{clip}(\mathrm{gain}\; x, -1, 1)$ of each neuron or class: linear in
    each cell of neurons that are saturated or not."""

    into: Float[Array | np.ndarray, "C n"]
    base: Float[Array | np.ndarray, " C"]
    back: Float[Array | np.ndarray, "n C"]
    offset: Float[Array | np.ndarray, " n"]
    gain: Float[Array | np.ndarray, ""]


class AbstractSystem(eqx.Module):
    """One run's equation of motion in a form of it."""

    patterns: AbstractVar[Patterns]  # all of them, also where classes are integrated

    @abc.abstractmethod
    def derivative(self, t, core: Core, args: Any = None) -> Core:
        """Right-hand side, in the form that diffrax wants."""

    @abc.abstractmethod
    def overlaps(self, t, core: Core) -> PerPattern:
        """Overlaps of the reduced state; equal to those of the full network."""

    @abc.abstractmethod
    def state(self, t, core: Core) -> State:
        """The full state that the user sees."""

    @property
    def sites(self) -> Patterns | None:
        """Patterns that have a column for each entry of `main`; None where `main` has an entry for
        each memory."""
        return self.patterns

    @property
    def small(self) -> bool:
        """Whether a state is a few numbers whatever N, so that many can be kept."""
        return False

    def saliency(self, t, core: Core) -> PerPattern | None:
        """Saliency now: part of the state, or read from the stimulus; None where there is none."""
        return None

    def evidence(self, t) -> PerPattern | None:
        """Overlaps of the stimulus with the memories now; None without a stimulus."""
        return None

    def settled(self, core: Core) -> tuple["AbstractSystem", Core]:
        """The equation of motion long after the start, when nothing that the start or a constant
        input leaves outside of `core` still changes, and where it then starts. The system itself,
        unless it depends on time."""
        return self, core

    def law(self, core: Core) -> AbstractLaw | str:
        """What an exact engine needs to integrate this run from `core` on, or a sentence that says
        why none can."""
        return f"the law of {type(self).__name__} is not known to it"

    def cells(self, core: Core) -> HardTanhCells | None:
        """The whole equation, once `settled`, where it is that of hard tanh on a linear field; else
        None."""
        return None

    def kinks(self) -> str | None:
        """What in the equation has kinks, as a noun; None if it is smooth, or if that is not known.
        Steps that pass over kinks have wrong second derivatives."""
        return None


class AbstractForms(eqx.Module):
    """The exact forms of a network's runs.

    The arguments of its methods: `network` and `state`, all neurons; `current`, the additive input;
    `noise`, None where there is none.
    """

    @abc.abstractmethod
    def smallest(self, network: Network, state: State, current: Input, noise: Any) -> Reduction:
        """The smallest exact form of a run. It depends on structure alone, or on values that are
        known (no tracers)."""

    @abc.abstractmethod
    def inexact(
        self, wanted: Reduction, network: Network, state: State, current: Input, noise: Any
    ) -> str | None:
        """Why the form `wanted` is not exact for a run, as a clause; None if it is exact."""

    @abc.abstractmethod
    def reduced(
        self,
        network: Network,
        state: State,
        t0: Any,
        stimulus: Input,
        current: Input,
        noisy: bool,
        reduction: Reduction,
    ) -> tuple[AbstractSystem, Core]:
        """The equation of a run in this form, and its start."""

    def pitfalls(
        self, network: Network, state: State, stimulus: Input, current: Input
    ) -> Iterable[str]:
        """Why a run without noise from this start, where its values are known, will hardly show
        what it is meant to show."""
        return ()

    @abc.abstractmethod
    def merged(self, network: _Flow) -> _Flow:
        """`network` with classes of equal neurons in place of neurons, where these are known and
        make it smaller; else itself."""


class Sites(AbstractForms):
    """All neurons, by the network's own `vector_field`: exact for every network."""

    def smallest(self, network, state, current, noise):
        """All neurons."""
        return "sites"

    def inexact(self, wanted, network, state, current, noise):
        """Only "sites" is known to be exact."""
        if wanted in ("auto", "sites"):
            return None
        return f"{type(network).__name__} has no smaller form than all its neurons"

    def reduced(self, network, state, t0, stimulus, current, noisy, reduction):
        """The network's own equation. The first array of the state is the neurons'."""
        (main, *slow), shape = jax.tree.flatten(state)
        system = SitesSystem(network.patterns, network, stimulus, current, shape)
        return system, Core(main, tuple(slow) or None)

    def merged(self, network):
        """The network itself."""
        return network


class SitesSystem(AbstractSystem):
    """A run on all neurons: `main` is the first array of the state, one number a neuron, `slow`
    the others."""

    patterns: Patterns
    network: Network
    stimulus: Input
    current: Input
    shape: Any = eqx.field(static=True)  # the tree structure of a state

    def state(self, t, core: Core) -> State:
        """The state, put together again."""
        slow = () if core.slow is None else core.slow
        return jax.tree.unflatten(self.shape, [core.main, *slow])

    def _inputs(self, t) -> Inputs:
        return Inputs(value_at(self.stimulus, t), value_at(self.current, t))

    def derivative(self, t, core: Core, args: Any = None) -> Core:
        """The network's vector field."""
        rate = self.network.vector_field(t, self.state(t, core), self._inputs(t))
        main, *slow = jax.tree.leaves(rate)
        return Core(main, tuple(slow) or None)

    def overlaps(self, t, core: Core) -> PerPattern:
        """The network's overlaps."""
        return self.network.overlaps(self.state(t, core))

    def saliency(self, t, core: Core) -> PerPattern | None:
        """The network's saliencies, if it has any."""
        return self.network.saliencies(self.state(t, core), self._inputs(t))

    def law(self, core: Core) -> AbstractLaw | str:
        """A vector field alone does not tell where it has kinks."""
        return f"the law of {type(self.network).__name__} is not known to it"


def value_at(value: Input, t: Any) -> Array | None:
    """The value of a stimulus or current at a time; at a jump that after it."""
    if isinstance(value, diffrax.AbstractPath):
        return value.evaluate(jnp.asarray(t), left=False)
    return value
