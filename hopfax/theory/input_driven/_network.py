"""What the theory of the input-driven field reads of a network, or of memories."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..._types import is_concrete

_SMALL = 1e-6  # overlap of two memories up to which they are orthogonal to the theory


def orthogonal(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Activation and, of a network without self-couplings, the number of neurons; of memories that
    are orthogonal, or stored by the pseudo-inverse rule with self-couplings.

    **Raises:** ValueError for other networks and memories.
    """
    exact = told.get("learning") == "pseudo_inverse" and told.get("keep_diagonal", True)
    if not exact and (apart := _apart(told)) > _SMALL:
        raise ValueError(
            f"`network`: its memories overlap by up to {apart:.3g}, but this function is for "
            "orthogonal ones; correlated_retrieval(network, weights) is for any."
        )
    return _parameters(told)


def pair(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The same, of orthogonal memories, or of two with their overlap where the function takes it.

    **Raises:** ValueError for other networks and memories.
    """
    if told["P"] < 2:
        raise ValueError("`network`: it has one memory, and the function is for two.")
    found = _parameters(told)
    if (apart := _apart(told)) <= _SMALL:
        return found
    rule = told.get("learning", "hebbian")
    if "overlap" not in names or told["P"] != 2 or rule != "hebbian":
        raise ValueError(
            f"`network`: its memories overlap by up to {apart:.3g}, but this function is for "
            "orthogonal ones; `competition` and `stable_states` also for two of Hebbian learning."
        )
    return found | {"overlap": told["gram"][0, 1]}


def memories(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The memories, their Gram matrix, and the activation.

    **Raises:** ValueError for another rule of learning, or without self-couplings.
    """
    if told.get("learning", "hebbian") != "hebbian" or not told.get("keep_diagonal", True):
        raise ValueError(
            "`network`: this function is for `learning='hebbian'` and `keep_diagonal=True`."
        )
    return _parameters(told) | {"xi": told["xi"], "gram": told["gram"]}


def gram(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The Gram matrix alone."""
    return {"gram": told["gram"]}


def _parameters(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {"activation": told["activation"]} if "activation" in told else {}
    if not told.get("keep_diagonal", True):
        found["N"] = told["N"]
    if "transition" in told or "phi" in told:
        raise ValueError("`network`: the theory is for an InputDrivenHopfield, or memories alone.")
    return found | ({"N": math.inf} if "activation" in found and "N" not in found else {})


def _apart(told: Mapping[str, Any]) -> float:
    """The largest overlap of two memories, that of traced ones unknown and taken as 0."""
    if not is_concrete(told["gram"]):
        return 0.0
    found = np.asarray(told["gram"])
    return float(np.abs(found - np.diag(np.diag(found))).max(initial=0.0))
