"""How far a network is from what it should do.

A loss is called with a network and returns residuals, or a number; `hopfax.fit` minimises it. The
losses of a run are made from how it begins (`init`) and what was seen of it; they add, and a number
times a loss weighs it. Each says where its gradient vanishes.
"""

from ._base import AbstractLoss as AbstractLoss, each as each, stack as stack, value as value
from ._events import Events as Events, events_of as events_of, read_events as read_events
from ._order import check_memories as check_memories, event_map as event_map, order as order
from ._recording import (
    Recording as Recording,
    dwell_times as dwell_times,
    field_path as field_path,
    overlap_path as overlap_path,
    saliency_path as saliency_path,
    same_run as same_run,
    shooting as shooting,
    switch_times as switch_times,
)
