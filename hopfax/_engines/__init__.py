"""The event-driven integrator: Taylor series inside a cell, closed form on plateaus."""

from ._pieces import SeriesStep as SeriesStep, UntilKink as UntilKink
from ._run import (
    UNLIMITED as UNLIMITED,
    EventDriven as EventDriven,
    Settings as Settings,
    Task as Task,
    obstacle as obstacle,
    run as run,
)
