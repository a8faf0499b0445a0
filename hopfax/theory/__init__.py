"""Exact theory, computed apart from the networks: where they agree, that is evidence."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import dense as dense, rate as rate, sequential as sequential

_LATE = ("dense", "rate", "sequential")


def __getattr__(name: str):
    """Each is imported when it is first used."""
    if name in _LATE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATE})
