"""Pictures of runs, sweeps and theory, by matplotlib (extra `plot`).

Every function draws into the Axes given as `ax` or `axes` (or makes them) and returns them; those
of several panels with a layout of their own, `facets` and `overview`, draw into a `figure`.
"""

from ._dense import retrieval_diagram as retrieval_diagram
from ._film import film_strip as film_strip
from ._maps import saliency_map as saliency_map
from ._panels import (
    facets as facets,
    maps as maps,
    overview as overview,
    scatter as scatter,
)
from ._rate import storage_diagram as storage_diagram
from ._runs import trajectory as trajectory
from ._sweeps import (
    curves as curves,
    dwell_curve as dwell_curve,
    phase_diagram as phase_diagram,
)
