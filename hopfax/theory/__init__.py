"""Exact theory, computed apart from the networks: where they agree, that is evidence.

`help(hopfax.theory.NAME)` lists the functions of a family:

sequential    networks of two timescales, whose memories follow each other: critical gains, dwell,
              escape and switch times, basins, which memory follows which
input_driven  the fast field alone under a constant stimulus: which memory wins, barriers,
              correlated memories, noise
dense         dense memories: capacities, the dynamics of infinite networks, edges of basins
rate          memories of firing rates: designs, stability among any memories, equilibria, Dale's
              law
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        dense as dense,
        input_driven as input_driven,
        rate as rate,
        sequential as sequential,
    )

__all__ = ["dense", "input_driven", "rate", "sequential"]


def __getattr__(name: str):
    """Each family is imported when it is first used."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
