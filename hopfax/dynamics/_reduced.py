"""A network's equation of motion in its smallest exact form, on one vector.

What decays by itself is left out of it: of N neurons in the span of P memories, the part outside
that span relaxes as exp(-t) whatever else happens. States of rest, orbits and their spectra are
those of the small form, with eigenvalues -1 (multipliers exp(-t)) for what was left out.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._arguments import checked_input
from .._errors import shown
from .._types import Input, State
from ..networks import (
    AbstractFlow,
    check_domain,
    check_flow,
    without_stimulus,
)
from ..networks._forms import AbstractSystem, Core


class Given(NamedTuple):
    """Constant inputs of a network, each (N,) or None."""

    stimulus: Array | None = None
    current: Array | None = None


class Reduced(eqx.Module):
    """A network in its smallest exact form; `core` is a state of it."""

    system: AbstractSystem
    core: Core

    @property
    def start(self) -> Float[Array, " n"]:
        """The state as a vector."""
        return ravel_pytree(self.core)[0]

    def core_of(self, u: Float[Array, " n"]) -> Core:
        """A vector as a state of the form."""
        return ravel_pytree(self.core)[1](u)

    def vector(self, core: Core, main: Any = None, slow: Any = None) -> Float[Array, " n"]:
        """The vector of a state, with these numbers for all of `main`, and for what there is of
        `slow` with an entry for each memory."""
        if main is not None:
            main = jnp.broadcast_to(jnp.asarray(main, core.main.dtype), core.main.shape)
            core = eqx.tree_at(lambda c: c.main, core, main)
        if slow is not None:
            slow = jnp.asarray(slow, core.main.dtype)

            def filled(leaf: Array) -> Array:
                return leaf + slow if leaf.shape[-1:] == slow.shape else leaf

            core = Core(core.main, jax.tree.map(filled, core.slow), core.noise)
        return ravel_pytree(core)[0]

    def rate(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        """The time derivative of a vector."""
        zero = jnp.zeros((), u.dtype)
        return ravel_pytree(self.system.derivative(zero, self.core_of(u)))[0]

    def state(self, u: Float[Array, " n"]) -> State:
        """The full state that the user sees."""
        return self.system.state(jnp.zeros((), u.dtype), self.core_of(u))

    def overlaps(self, u: Float[Array, " n"]) -> Float[Array, " P"]:
        """Overlaps with the memories."""
        return self.system.overlaps(jnp.zeros((), u.dtype), self.core_of(u))

    def saliency(self, u: Float[Array, " n"]) -> Float[Array, " P"] | None:
        """Saliencies of the memories."""
        return self.system.saliency(jnp.zeros((), u.dtype), self.core_of(u))


def reduced(network: AbstractFlow, state: State, given: Given = Given()) -> Reduced:
    """The smallest exact form of a network, from a state of it."""
    zero = jnp.zeros((), network.patterns.dtype)
    form = network.forms.smallest(network, state, given.current, None)
    inputs = (given.stimulus, given.current)
    system, core = network.forms.reduced(network, state, zero, *inputs, False, form)
    return Reduced(*system.settled(core))


def left_out(network: AbstractFlow, form: Reduced) -> int:
    """How many dimensions of the full state the form leaves out. Negative for memories that
    outnumber the neurons."""
    slow = sum(leaf.size for leaf in jax.tree.leaves(form.core.slow))
    return network.patterns.N - (form.start.size - slow)


def checked(network: Any, state: Any, name: str = "state") -> State:
    """A state in the patterns' dtype. **Raises:** TypeError/ValueError naming what is none."""
    check_flow(network, ", which has no flow; its states of rest are those that a step keeps.")
    check_domain(network)
    try:
        return network.checked(state)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("`state0", f"`{name}")) from None


def checked_inputs(network: AbstractFlow, stimulus: Input, current: Input) -> Given:
    """Constant inputs. **Raises:** ValueError/TypeError for others."""
    for name, value in (("stimulus", stimulus), ("current", current)):
        if isinstance(value, diffrax.AbstractPath):
            raise TypeError(
                f"`{name}` must be constant, of shape (N,), as nothing rests under an input that "
                f"changes in time; got {shown(value)}."
            )
    if stimulus is not None and network.stimulated == "never":
        raise ValueError(
            f"{type(network).__name__} has no `stimulus`; additive input is `current`."
        )
    if stimulus is None and network.stimulated == "required":
        raise ValueError(without_stimulus(network))
    none = jnp.zeros(1)
    return Given(
        checked_input(stimulus, "stimulus", network, none),
        checked_input(current, "current", network, none),
    )


def tolerance(dtype: Any) -> float:
    """The residual up to which a solution counts as one: 4e-11 in float64, 2e-5 in float32."""
    return float(np.finfo(dtype).eps) ** (2 / 3)
