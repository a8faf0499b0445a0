"""States of rest, closed orbits, their stability and their bifurcations, to rounding.

    steady_state, spectrum   where the flow vanishes, and the eigenvalues there
    rest_states              all that a search from many starts finds
    attractors               the same of a network in discrete time
    branch                   states of rest as a parameter varies, through folds
    orbit                    the closed orbit of a sequence: period, dwell, Floquet multipliers
    orbit_branch             orbits as a parameter varies
    fold_curve               folds of either as a second parameter varies
    critical_gain            the gain at which a sequence is born
    basin_edge               from where on a line of starts it is reached
    lyapunov                 Lyapunov exponents of a run, and the dimension of its attractor

All work in the smallest exact form of a network, so that their cost does not depend on N where
classes or the span of the memories carry it.
"""

from ._attractors import Attractors as Attractors, attractors as attractors
from ._basin import BasinEdge as BasinEdge, basin_edge as basin_edge
from ._branch import branch as branch
from ._curves import Branch as Branch, Special as Special
from ._fold_curve import fold_curve as fold_curve
from ._lyapunov import Lyapunov as Lyapunov, lyapunov as lyapunov
from ._orbit import Orbit as Orbit, orbit as orbit
from ._orbit_branch import orbit_branch as orbit_branch
from ._parameter import Along as Along, along as along
from ._rest_states import RestStates as RestStates, rest_states as rest_states
from ._steady import (
    Spectrum as Spectrum,
    SteadyState as SteadyState,
    spectrum as spectrum,
    steady_state as steady_state,
)
from ._thresholds import Threshold as Threshold, critical_gain as critical_gain

__all__ = [
    "Along",
    "Attractors",
    "BasinEdge",
    "Branch",
    "Lyapunov",
    "Orbit",
    "RestStates",
    "Special",
    "Spectrum",
    "SteadyState",
    "Threshold",
    "along",
    "attractors",
    "basin_edge",
    "branch",
    "critical_gain",
    "fold_curve",
    "lyapunov",
    "orbit",
    "orbit_branch",
    "rest_states",
    "spectrum",
    "steady_state",
]


def __dir__() -> list[str]:
    return sorted(__all__)
