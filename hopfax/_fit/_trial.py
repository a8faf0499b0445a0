"""What is fitted of a sequence, a network and where its sequences start, and losses of both."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Network
from ..losses import AbstractLoss, Recording
from ._moving import Moving


class Trial(eqx.Module):
    """A network and the saliencies with which each of its sequences starts."""

    network: Moving
    saliency: Float[Array, "S P"]


class OfNetwork(AbstractLoss):
    """A loss of a network, as a loss of a trial."""

    loss: AbstractLoss

    def __call__(self, network: Network, *, derivative="reverse"):
        return self.loss(network.network, derivative=derivative)


class Forced(AbstractLoss):
    """Event maps along several sequences, each from the trial's own start."""

    losses: tuple[AbstractLoss, ...]

    def __call__(self, network: Network, *, derivative="reverse"):
        parts = []
        for loss, saliency in zip(self.losses, network.saliency, strict=True):
            started = eqx.tree_at(lambda one: one.saliency, loss, saliency)
            parts.append(started(network.network, derivative=derivative))
        return jnp.concatenate(parts)


class Replayed(AbstractLoss):
    """Recordings of several sequences, each from the trial's own start."""

    recordings: tuple[Recording, ...]

    def __call__(self, network: Network, *, derivative="reverse"):
        parts = []
        for recording, saliency in zip(self.recordings, network.saliency, strict=True):
            started = eqx.tree_at(lambda one: one.init["saliency"], recording, saliency)
            parts.append(started(network.network, derivative=derivative))
        return jnp.concatenate(parts)
