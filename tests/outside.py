"""A network from outside the library: what a user writes, and nothing else."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import hopfax as hx


class Adapted(eqx.Module):
    """Fields of the neurons, and how tired each is."""

    field: Array
    fatigue: Array


class Tiring(hx.AbstractFlow):
    r"""A Hopfield network whose neurons tire:

    $$\dot x = -x + \sum_\mu m_\mu \xi^\mu - g a + I, \qquad \tau_a \dot a = -a + \psi(x).$$
    """

    patterns: hx.Patterns
    strength: Float[Array, ""]
    tau: Float[Array, ""]

    def init(self, *, field, fatigue=None):
        fatigue = jnp.zeros_like(field) if fatigue is None else fatigue
        return Adapted(*(jnp.asarray(part, self.patterns.dtype) for part in (field, fatigue)))

    def rates(self, state):
        return jnp.tanh(3 * state.field)

    def overlaps(self, state):
        return self.patterns.overlap(self.rates(state))

    def vector_field(self, t, state, inputs=None):
        pull = self.patterns.field(self.overlaps(state)) - self.strength * state.fatigue
        if inputs is not None and inputs.current is not None:
            pull = pull + inputs.current
        tiring = (self.rates(state) - state.fatigue) / self.tau
        return Adapted(pull - state.field, tiring)

    def energy(self, state, inputs=None):
        raise ValueError("a network that tires descends no energy.")

    def domain(self):
        yield hx.Bound("strength", self.strength, 0.0)
        yield hx.Bound("tau", self.tau, 0.0, strict=True)


def tiring(P=3, N=16, strength=0.8, tau=10.0):
    """A small one, and a start near memory 0."""
    patterns = hx.patterns.hadamard(P, N)
    network = Tiring(patterns, jnp.asarray(strength), jnp.asarray(tau))
    return network, network.init(field=patterns.xi[0] + 0.3 * patterns.xi[1])
