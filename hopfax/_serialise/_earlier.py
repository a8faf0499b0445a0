"""What models that an earlier version wrote lack, or had in another form."""

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]


def upgraded(name: str, fields: Fields) -> Fields:
    """The fields of a module of hopfax as its class has them today; the same if nothing is known.

    **Arguments:** `name`: of the class. `fields`: what the file holds, decoded.
    """
    return _EARLIER[name](fields) if name in _EARLIER else fields


def _residual_selector(fields: Fields) -> Fields:
    """In training, as it was made; before, whether it had noise was up to the call."""
    return {"inference": False} | fields


_EARLIER: dict[str, Callable[[Fields], Fields]] = {"ResidualSelector": _residual_selector}
