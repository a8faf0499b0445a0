"""How far a network is from what it should do.

A loss is called with a network and returns residuals, or a number; `hopfax.fit` minimises it. The
losses of a run are made from how it begins (`init`) and what was seen of it. Losses add, and a
number times a loss weighs it. The documentation of each says where its gradient vanishes.
"""

from ._base import AbstractLoss, each, joint, stack, subjects, value
from ._events import Events, events_of as events_of
from ._observed import (
    dwell_times,
    field_path,
    overlap_path,
    saliency_path,
    shooting,
    switch_times,
)
from ._order import check_memories as check_memories, event_map, order
from ._prior import pooled, prior, sparsity
from ._recording import Recording, same_run
from ._separation import separation
from ._tables import read_events

__all__ = [
    "AbstractLoss",
    "Events",
    "Recording",
    "dwell_times",
    "each",
    "event_map",
    "field_path",
    "joint",
    "order",
    "overlap_path",
    "pooled",
    "prior",
    "read_events",
    "saliency_path",
    "same_run",
    "separation",
    "shooting",
    "sparsity",
    "stack",
    "subjects",
    "switch_times",
    "value",
]


def __dir__():
    return sorted(__all__)
