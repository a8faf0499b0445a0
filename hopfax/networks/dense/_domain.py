"""The domains of the parameters of interactions."""

from collections.abc import Iterator

from ..._interactions import AbstractInteraction, Polynomial, Simplicial
from .._base import Bound


def interaction_bounds(interaction: AbstractInteraction) -> Iterator[Bound]:
    """The domain of each of an interaction's own parameters."""
    for name in ("rate", "beta"):
        if (value := getattr(interaction, name, None)) is not None:
            yield Bound(f"interaction.{name}", value, 0.0, True)
    if isinstance(interaction, Simplicial | Polynomial):
        for order, weight in interaction.weights.items():
            yield Bound(f"interaction.weights[{order}]", weight)
