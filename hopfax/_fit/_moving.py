"""The networks that move by themselves, and what a design of a sequence must know of each.

Designs are made for `TwoTimescaleHopfield` with hard tanh of unit gain, whose memories end at a
saliency of 1. Another network follows the same map of saliencies with another level in place of 1:
gains and saliencies of a design are divided by `slope`, the inverse of that level.
"""

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from ..networks import TwoTimescaleHopfield, TwoTimescaleRateMemory
from ..theory.rate import critical_saliency_planar

Moving: TypeAlias = TwoTimescaleHopfield | TwoTimescaleRateMemory


def slope(network: Moving) -> float:
    """The inverse of the saliency at which an active memory ends: of a Hopfield network the slope
    of its activation at zero.

    **Raises:** ValueError where it is not known.
    """
    return _SLOPES[type(network)](network)


def of_rates(network: Moving) -> bool:
    """Whether it is a network of firing rates, for which there are designs and refinements only."""
    return type(network) is TwoTimescaleRateMemory


def _of_hopfield(network: TwoTimescaleHopfield) -> float:
    return float(network.activation.slope(jnp.zeros((), network.patterns.dtype)))


def _of_rates(network: TwoTimescaleRateMemory) -> float:
    q = np.mean(np.asarray(network.patterns.mean(network.patterns.xi)))
    level = float(critical_saliency_planar(network.activation, network.a, network.b, q).saliency)
    if not level > 0:
        raise ValueError(
            "`network`: it is not known at which saliency its memories end "
            "(theory.rate.critical_saliency_planar is NaN), so that no transition can be designed. "
            "Fit one by hopfax.fit with losses.saliency_path or losses.switch_times."
        )
    return 1 / level


_SLOPES: dict[type, Any] = {
    TwoTimescaleHopfield: _of_hopfield,
    TwoTimescaleRateMemory: _of_rates,
}
