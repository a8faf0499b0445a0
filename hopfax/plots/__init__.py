"""Pictures of runs, sweeps and theory, by matplotlib (extra `plot`).

Every function draws into the Axes given as `ax` (or makes one) and returns it.
"""

from ._film import film_strip as film_strip
from ._maps import saliency_map as saliency_map
from ._runs import trajectory as trajectory
from ._sweeps import (
    curves as curves,
    dwell_curve as dwell_curve,
    phase_diagram as phase_diagram,
)
