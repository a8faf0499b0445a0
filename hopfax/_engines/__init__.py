"""Engines: which one integrates a run, or why an exact one cannot.

`diffrax` takes every run. Exact engines take those whose system says, by `law`, that its motion is
piecewise polynomial: `hopfield` for hard tanh, `kinks` for rates.
"""

from ._diffrax import Noise as Noise
from ._engine import integrate as integrate
from ._methods import (
    Auto as Auto,
    Diffrax as Diffrax,
    EventDriven as EventDriven,
    as_method as as_method,
)
from ._task import Settings as Settings, Task as Task
