"""Exact theory, computed apart from the networks: where they agree, that is evidence."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import dense as dense, rate as rate, sequential as sequential

__all__ = ["dense", "rate", "sequential"]


def __getattr__(name: str):
    """Each family is imported when it is first used."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
