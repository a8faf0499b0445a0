"""Exact theory, computed apart from the networks: where they agree, that is evidence."""

import importlib
from typing import TYPE_CHECKING

from . import sequential as sequential

if TYPE_CHECKING:
    from . import dense as dense


def __getattr__(name: str):
    """`dense` is imported when it is first used."""
    if name == "dense":
        return importlib.import_module(f"{__name__}.dense")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), "dense"})
