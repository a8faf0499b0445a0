"""Observables of one state: functions `(t, state, network)` for `simulate(observe=...)`."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..networks import AbstractFlow


def energy(t: Any, state: Any, network: AbstractFlow) -> Float[Array, ""]:
    """The network's energy at frozen saliency and without inputs (`network.energy`)."""
    return network.energy(state)


def mixture(t: Any, state: Any, network: AbstractFlow) -> Int[Array, ""]:
    r"""How many memories are mixed in the state: overlaps with $1/4 < |m| < 3/4$.

    The odd mixture $\mathrm{sgn}(\xi^1 + \xi^2 + \xi^3)$ of three orthogonal memories has overlap
    1/2 with each; it is stable for equal saliencies above 2, which gains near 5 reach.
    """
    m = jnp.abs(network.overlaps(state))
    return jnp.sum((m > 0.25) & (m < 0.75), dtype=jnp.int32)
