r"""The fields of neurons that do not feel themselves, term by term as they are defined.

$$u_i = \frac1s \sum_\mu \xi^\mu_i\, f(X_\mu - \xi^\mu_i h_i).$$

The laws of `_laws` and `_whole` take this apart by $\xi_i^2 = 1$ (and $h_i^2 = 1$). That gives the
same numbers and costs far less, but no derivatives: an identity that holds at signs alone says
nothing of what is beside them. Derivatives are therefore those of the sum above. It is also used
where a force grows so fast with X that its even and its odd part cancel.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._interactions import AbstractInteraction
from ..._types import PerNeuron
from ._laws import AbstractExponential, AbstractForce, AbstractLaw, added

_AT_ONCE = 2**18  # forces, one for each memory of a block and each neuron


def at_once(block: int, N: int) -> int:
    """How many memories are read at a time."""
    return max(1, min(block, _AT_ONCE // N))


class LiteralSum(AbstractLaw):
    """Forces that are added as they are, for neurons at `h`."""

    force: AbstractForce
    h: PerNeuron

    def factors(self, h):
        return (h,)

    def empty(self, factors) -> Float[Array, " N"]:
        return jnp.zeros_like(factors[0])

    def of_block(self, block, X, saliency):
        rows = block.rows()
        share = jnp.where(block.valid, jnp.ones_like(X), 0.0)
        share = share if saliency is None else share * saliency
        forces = self.force(X[:, None] - rows * self.h)
        return (share[:, None] * block.called() * forces).sum(0)

    def merged(self, a, b):
        return a + b

    def field(self, total, factors):
        return total / self.force.scale()

    def field_of_one(self, X, xi, called, h, saliency):
        return added(called, self.force(X - xi * h), saliency) / self.force.scale()


class LiteralExponential(AbstractExponential):
    r"""Forces $e^{\beta (X - \xi_i h_i)}$, divided by $e^\beta \sum_\mu e^{\beta X_\mu}$."""

    interaction: AbstractInteraction
    h: PerNeuron
    N: int = eqx.field(static=True)

    def factors(self, h):
        return (jnp.ones_like(h)[None],)

    def project(self, block, X, top, share):
        rows = block.rows()
        weights = self.up_to(top, X, share)
        own = jnp.exp(-self.exponent(rows * self.h + 1))
        return (weights[:, None] * block.called() * own).sum(0)[None]

    def field_of_one(self, X, xi, called, h, saliency):
        exponent = self.exponent(X)
        forces = jnp.exp(exponent - exponent.max())
        own = jnp.exp(-self.exponent(xi * h + 1))
        return added(called, forces * own, saliency) / forces.sum()
