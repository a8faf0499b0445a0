"""What models that an earlier version wrote lack, or had in another form."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._constant import Constant
from ..constraints import Simplex, Unconstrained

Fields = dict[str, Any]


def upgraded(name: str, fields: Fields) -> Fields:
    """The fields of a module of hopfax as its class has them today; the same if nothing is known.

    **Arguments:** `name`: of the class. `fields`: what the file holds, decoded.
    """
    return _EARLIER[name](fields) if name in _EARLIER else fields


def _dense_memory(fields: Fields) -> Fields:
    """All memories called themselves, by overlaps as they are, and counted alike."""
    lacking = {"transition": None, "learning": "hebbian", "similarity": "dot", "weights": None}
    return lacking | fields


def _rates(fields: Fields) -> Fields:
    """All rates had the time constant 1, and noise acted on them."""
    return {"tau_rates": None, "noise_in": "rates"} | fields


def _residual_selector(fields: Fields) -> Fields:
    """In training, as it was made; before, whether it had noise was up to the call."""
    return {"inference": False} | fields


def _retrieval(fields: Fields) -> Fields:
    """A beta that is not learned was an array, and is a number, or one for each head; weights were
    those of softmax, none was dropped, and no places or further items entered."""
    lacking = dict.fromkeys(
        ("separation", "dropout", "positions", "bias_item", "tol", "compute_dtype")
    )
    lacking |= {"zero_item": False, "max_steps": 256, "num_kv_heads": fields.get("num_heads")}
    fields = lacking | fields
    if "learn_beta" not in fields:
        return fields
    fields = fields | {"fixed_beta": None}
    if not fields.pop("learn_beta"):
        beta = np.exp(np.asarray(fields["log_beta"], float))
        if beta.ndim > 1 or beta.shape not in ((), (fields["num_heads"],)):  # of an ensemble
            beta = beta.reshape(len(beta), -1)[0]
        fields["fixed_beta"] = beta.item() if beta.size == 1 else tuple(beta.tolist())
        fields["log_beta"] = None
    return fields


def _spin_state(fields: Fields) -> Fields:
    """No state remembered earlier ones."""
    return {"past": None} | fields


def _selection(fields: Fields) -> Fields:
    """Convolutions by FFT are gone: they were the slowest form, and mixed all steps."""
    return fields | ({"mode": "auto"} if fields.get("mode") == "fft" else {})


def _sequence_memory(fields: Fields) -> Fields:
    """Patterns, bias and gains were learned as they are, and gain and time constant by logarithms;
    the numbers of the constraint were arrays of the layer."""
    if "parameters" in fields:
        return fields
    from ..nn import _sequence_memory

    fields = dict(fields)
    parameters = {name: fields.pop(name) for name in _OPTIONS}
    transition = _free(fields.pop("free_transition"), fields.pop("constraint"))
    kappa, tau = (jnp.exp(fields.pop(name)) for name in ("log_kappa", "log_tau"))
    start = (fields.pop("patterns"), transition, kappa, tau, fields.pop("bias"))
    fields["parameters"] = _parameters(*start, fields.pop("activation"), parameters)
    current, stimulus = fields.pop("current_gain"), fields.pop("stimulus_gain")
    gains = dict(current=_free(current), stimulus=None if stimulus is None else _free(stimulus))
    return fields | {"gains": _made(_sequence_memory.Gains, gains)}


def _two_timescale_selector(fields: Fields) -> Fields:
    """All numbers of the network were learned as they are, also those that must be positive."""
    if "parameters" in fields:
        return fields
    fields = dict(fields)
    network = fields.pop("network")
    options = {name: vars(network)[name] for name in _OPTIONS}
    start = (network.patterns, _free(network.transition), network.kappa, network.tau, network.bias)
    return fields | {"parameters": _parameters(*start, network.activation, options)}


_OPTIONS = ("readout", "learning", "keep_diagonal")


def _parameters(patterns, transition, kappa, tau, bias, activation, options: Fields) -> Any:
    """What an earlier version learned of a two-timescale network: everything, without bounds."""
    from ..nn._free import FreeNetwork, near

    gains = jax.tree.leaves(eqx.filter(activation, eqx.is_inexact_array))
    fields = dict(
        patterns=_free(patterns.xi),
        counts=Constant(patterns.counts),
        transition=transition,
        kappa=near(kappa, np.inf),
        tau=near(tau, np.inf),
        bias=_free(bias),
        activation=tuple(map(_free, gains)),
        form=Constant(activation),
    )
    return _made(FreeNetwork, fields | options)


def _free(value: Any, constraint: Any = None) -> Any:
    from ..nn._free import Free, Support

    constraint = Unconstrained() if constraint is None else constraint
    if isinstance(constraint, Simplex):
        constraint = Support(jnp.isfinite(value))
        value = jnp.where(constraint.mask, value, 0.0)
    return Free(value, Constant(constraint))


def _made(kind: type, fields: Fields) -> Any:
    """A module of these fields, which are checked later."""
    module = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module


_EARLIER: dict[str, Callable[[Fields], Fields]] = {
    "DaleRateMemory": _rates,
    "DenseMemory": _dense_memory,
    "HopfieldRetrieval": _retrieval,
    "InputDrivenRateMemory": _rates,
    "RateMemory": _rates,
    "ResidualSelection": _selection,
    "ResidualSelector": _residual_selector,
    "Selection": _selection,
    "SequenceMemory": _sequence_memory,
    "SpinState": _spin_state,
    "ThresholdLinearNetwork": _rates,
    "TwoTimescaleRateMemory": _rates,
    "TwoTimescaleSelector": _two_timescale_selector,
}
