"""What is fitted of a sequence, a network and where its sequences start, and losses of both."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Network
from ..losses import AbstractLoss, Recording
from ..losses._terms import Compared
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
    """Recordings of several sequences, each from the trial's own start, and what is known of the
    network beforehand."""

    recordings: tuple[Recording, ...]
    prior: AbstractLoss | None = None

    def __call__(self, network: Network, *, derivative="reverse"):
        parts = [*self._started(network), *([] if self.prior is None else [self.prior])]
        return jnp.concatenate([one(network.network, derivative=derivative) for one in parts])

    def compared(self, network: Network) -> list[Compared]:
        """What was seen of each sequence beside what the network shows, for a picture."""
        return [row for one in self._started(network) for row in one.compared(network.network)]

    def _started(self, network: Network) -> list[Recording]:
        """The recordings from the trial's starts."""
        pairs = zip(self.recordings, network.saliency, strict=True)
        return [eqx.tree_at(lambda r: r.init["saliency"], r, z) for r, z in pairs]
