"""Pictures of runs, sweeps and theory, by matplotlib (extra `plot`).

Every function draws into the Axes given as `ax` or `axes`, or into new ones, and returns them.
`facets` and `overview`, whose panels depend on the dataset, draw into a `figure`. `report` writes
an HTML file that can be hovered and clicked (Bokeh, extra `web`). `COLOURS` are the colours of
lines, told apart by the colour-blind and in greyscale.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .._palette import COLOURS as COLOURS
from ._associations import associations as associations
from ._basins import basin_map as basin_map
from ._bifurcation import bifurcation as bifurcation
from ._branch import branch as branch
from ._dense import retrieval_diagram as retrieval_diagram
from ._film import film_strip as film_strip
from ._graph import transition_graph as transition_graph
from ._maps import saliency_map as saliency_map
from ._panels import (
    facets as facets,
    maps as maps,
    overview as overview,
    scatter as scatter,
)
from ._raster import raster as raster
from ._rate import storage_diagram as storage_diagram
from ._runs import trajectory as trajectory
from ._sweeps import (
    curves as curves,
    dwell_curve as dwell_curve,
    phase_diagram as phase_diagram,
)

if _TYPE_CHECKING:
    from ._fit import fit as fit
    from ._html._report import report as report

__all__ = [
    "COLOURS",
    "associations",
    "basin_map",
    "bifurcation",
    "branch",
    "curves",
    "dwell_curve",
    "facets",
    "film_strip",
    "fit",
    "maps",
    "overview",
    "phase_diagram",
    "raster",
    "report",
    "retrieval_diagram",
    "saliency_map",
    "scatter",
    "storage_diagram",
    "trajectory",
    "transition_graph",
]


#: Late: they take all that fits, or sweeps, along.
_LATE = {"fit": "_fit", "report": "_html._report"}


def __getattr__(name: str):
    if name not in _LATE:
        raise AttributeError(f"module 'hopfax.plots' has no attribute {name!r}")
    return getattr(_importlib.import_module(f"hopfax.plots.{_LATE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
