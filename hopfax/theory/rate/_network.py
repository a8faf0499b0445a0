"""What the theory of rate memories reads of a network."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..._types import is_concrete

_WHOLE = 1e-9  # a difference of activities or overlaps that is rounding


def memory(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Activation, currents, memories and their activity.

    **Raises:** ValueError if the activities differ, or the design couples the groups of neurons in
    another way than the function takes.
    """
    found = {name: told[name] for name in ("phi", "a", "b", "learning", "xi") if name in told}
    if "phi" not in found:
        raise ValueError("`phi`, `a` and `b` are needed: give the network, not its patterns.")
    if "q" not in names:
        return found
    if not is_concrete(told["gram"]):
        raise ValueError("`network`: its memories must be known, not be traced.")
    gram = np.asarray(told["gram"], float)  # of entries 0 and 1: activities, and shared neurons
    activity = np.diag(gram)
    if np.ptp(activity) > _WHOLE:
        raise ValueError("`network`: its memories must have one activity, but they differ.")
    q, shared = float(activity[0]), gram[~np.eye(len(gram), dtype=bool)]
    if told["learning"] != "projection" and np.abs(shared - q * q).max(initial=0.0) > _WHOLE:
        raise ValueError(
            "`network`: this function is for `learning='projection'`, or memories of which any two "
            "share q^2 N neurons; memory_eigenvalues(network, mu=0) is for any."
        )
    return found | {"q": q}
