"""What to read off a run: functions of a trajectory, and functions to pass as `observe`."""

from ._diagnose import diagnose as diagnose
from ._diagnosis import CAUSES as CAUSES, Diagnosis as Diagnosis
from ._named import Selected as Selected
from ._residence import (
    Residence as Residence,
    Stays as Stays,
    residence as residence,
    stays as stays,
)
from ._sequence import (
    REGIMES as REGIMES,
    classify as classify,
    dwell_times as dwell_times,
    escape_times as escape_times,
    regime_attributes as regime_attributes,
    summary as summary,
    switch_times as switch_times,
    visited as visited,
)
from ._state import energy as energy, mixture as mixture

__all__ = [
    "CAUSES",
    "Diagnosis",
    "REGIMES",
    "Residence",
    "Selected",
    "Stays",
    "classify",
    "diagnose",
    "dwell_times",
    "energy",
    "escape_times",
    "mixture",
    "regime_attributes",
    "residence",
    "stays",
    "summary",
    "switch_times",
    "visited",
]


def __dir__() -> list[str]:
    return sorted(__all__)
