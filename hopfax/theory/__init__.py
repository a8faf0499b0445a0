"""Exact theory, computed apart from the networks: where they agree, that is evidence."""

import importlib
from typing import TYPE_CHECKING

from . import sequential as sequential

if TYPE_CHECKING:
    from . import dense as dense, rate as rate

_LATE = ("dense", "rate")


def __getattr__(name: str):
    """`dense` and `rate` are imported when they are first used."""
    if name in _LATE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATE})
