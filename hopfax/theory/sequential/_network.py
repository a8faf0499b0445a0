"""What the theory of sequences reads of a network: a plain cycle, or any transition matrix."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..._activations import HardTanh
from ..._types import is_concrete

_SMALL = 1e-6  # overlap of two memories up to which they are orthogonal to the theory


def cycle(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The parameters of a plain cycle, in which each memory calls the next with weight 1 and itself
    with weight `self_loop`.

    **Raises:** ValueError where the network is another, or has what the function does not take.
    """
    if "activation" in told and "transition" not in told:
        raise ValueError("`network`: its memories do not follow each other; give the numbers.")
    _check_orthogonal(told)
    found = {"P": told["P"]}
    if "transition" not in told:
        return found  # patterns alone
    _check_equation(told)
    found["self_loop"] = _self_loop(told["transition"])
    found |= {name: _one(told[name], name) for name in ("kappa", "tau", "bias")}
    if "self_loop" not in names and found["self_loop"] != 0:
        raise ValueError(
            "`network`: its memories call themselves, of which this function has no theory; "
            "critical_gain and itinerary do."
        )
    return found | _activation(told, names)


def any_order(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The parameters of a network with any transition matrix. **Raises:** as `cycle`."""
    _check_orthogonal(told)
    if "transition" not in told:
        raise ValueError("`transition` is needed: give the network, not its patterns.")
    _check_equation(told)
    _activation(told, names)
    return {name: told[name] for name in ("transition", "kappa", "tau")}


def _check_orthogonal(told: Mapping[str, Any]) -> None:
    gram = told["gram"]
    if not is_concrete(gram):
        return
    apart = np.abs(np.asarray(gram) - np.diag(np.diag(gram))).max(initial=0.0)
    if apart > _SMALL:
        raise ValueError(
            f"`network`: its memories overlap by up to {apart:.3g}, but the theory is for "
            "orthogonal ones (or learning='pseudo_inverse'); give the numbers to use it all the "
            "same."
        )


def _check_equation(told: Mapping[str, Any]) -> None:
    if told["readout"] != "linear" or not told["keep_diagonal"]:
        raise ValueError(
            "`network`: the theory is for `readout='linear'` and `keep_diagonal=True`; give the "
            "numbers to use it all the same."
        )


def _self_loop(transition: Any) -> Any:
    if not is_concrete(transition):
        raise ValueError("`network`: its transition matrix must be known, not be traced.")
    A = np.asarray(transition)
    loop = A[0, 0]
    if not np.array_equal(A - loop * np.eye(len(A)), np.roll(np.eye(len(A)), 1, axis=0)):
        raise ValueError(
            "`network`: its memories do not call each other in a plain cycle, as hopfax.cyclic(P) "
            "has it; itinerary(network, saliency0, steps) is for any transition matrix."
        )
    return loop


def _one(value: Any, name: str) -> Any:
    if np.ndim(value) == 0:
        return value
    if not is_concrete(value) or not np.all(np.asarray(value) == np.asarray(value)[0]):
        raise ValueError(f"`network`: `{name}` must be the same for all memories of a cycle.")
    return value[0]


def _activation(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    activation = told["activation"]
    if "activation" in names:
        return {"activation": activation}
    gain = activation.gain if isinstance(activation, HardTanh) else np.nan
    if gain is not None and (not is_concrete(gain) or float(gain) != 1.0):
        raise ValueError(
            "`network`: this function is for a hard tanh of gain 1; critical_gain takes others."
        )
    return {}
