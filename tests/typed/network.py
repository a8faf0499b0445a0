"""A network of one's own."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import hopfax as hx


class Adapted(eqx.Module):
    """The state: a field and how tired each neuron is."""

    field: jax.Array
    fatigue: jax.Array


class Tiring(hx.AbstractFlow):
    """Neurons tire, so that no memory lasts."""

    patterns: hx.Patterns
    strength: jax.Array
    tau: jax.Array

    def init(self, *, field: jax.Array, fatigue: jax.Array | None = None) -> Adapted:
        return Adapted(field, jnp.zeros_like(field) if fatigue is None else fatigue)

    def rates(self, state: Adapted) -> jax.Array:
        return jnp.tanh(3 * state.field)

    def overlaps(self, state: Adapted) -> jax.Array:
        return self.patterns.overlap(self.rates(state))

    def vector_field(self, t: Any, state: Adapted, inputs: hx.Inputs | None = None) -> Adapted:
        pull = self.patterns.field(self.overlaps(state)) - self.strength * state.fatigue
        if inputs is not None and inputs.current is not None:
            pull = pull + inputs.current
        return Adapted(pull - state.field, (self.rates(state) - state.fatigue) / self.tau)

    def energy(self, state: Adapted, inputs: hx.Inputs | None = None) -> jax.Array:
        raise ValueError("a network that tires descends no energy.")

    def domain(self) -> Iterator[hx.Bound]:
        yield hx.Bound("tau", self.tau, 0.0, strict=True)


patterns = hx.patterns.hadamard(3, 16)
tiring = Tiring(patterns, strength=jnp.array(0.8), tau=jnp.array(10.0))
run = hx.simulate(tiring, tiring.init(field=patterns.xi[0]), jnp.linspace(0.0, 30.0, 31))
