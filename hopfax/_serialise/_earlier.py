"""What models that an earlier version wrote lack, or had in another form."""

from collections.abc import Callable
from typing import Any

import numpy as np

Fields = dict[str, Any]


def upgraded(name: str, fields: Fields) -> Fields:
    """The fields of a module of hopfax as its class has them today; the same if nothing is known.

    **Arguments:** `name`: of the class. `fields`: what the file holds, decoded.
    """
    return _EARLIER[name](fields) if name in _EARLIER else fields


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


def _selection(fields: Fields) -> Fields:
    """Convolutions by FFT are gone: they were the slowest form, and mixed all steps."""
    return fields | ({"mode": "auto"} if fields.get("mode") == "fft" else {})


_EARLIER: dict[str, Callable[[Fields], Fields]] = {
    "HopfieldRetrieval": _retrieval,
    "ResidualSelection": _selection,
    "ResidualSelector": _residual_selector,
    "Selection": _selection,
}
