r"""Theory of sequential retrieval: gains, dwells, basins and itineraries.

A fast field retrieves the memory whose saliency $z_\mu$ is large; the retrieved memory charges its
successors and loses its own saliency:

$$\dot x = -x + \sum_\mu (z_\mu m_\mu + b_\mu) \xi^\mu, \qquad
\tau \dot z = -z + \kappa A m, \qquad m_\mu = \langle \xi^\mu, \psi(x) \rangle / N.$$

Unless a function says otherwise it assumes orthogonal memories, hard tanh of unit gain, all sign
combinations of the memories equally frequent, a linear readout and the **singular limit**
$\tau \to \infty$ with a vanishing seed $b$. Time is in units of the fast time constant. An active
memory then has $m = 1$ exactly, until its saliency has fallen to 1 and another one takes over. In
this limit the results are exact; at finite $\tau$ they have the errors that are given below.

`P` is the number of memories in a closed cycle, `math.inf` an endless chain in which no memory
comes back. The often quoted critical gain 4 is the limit $P \to \infty$, $\tau \to \infty$. Every
finite cycle needs less; finite $\tau$ with a strong seed lowers the threshold further, a weak seed
can raise it a little (P = 3, $\tau$ = 50: 2.80 at b = 0.01, 3.05 at b = 0.001).

With finite `tau` the same functions solve the handover between two memories numerically (two
overlaps, fixed-step Runge-Kutta) and join it to the exact exponentials between handovers. Against
simulations of cycles with P = 3, 4, 5, all over the `domain`, critical gains are too large by at
most `error_band`, 0.015 + 1.5 b (0.03 at b = 0.01, where 0.02 is usual), simulated basin edges lie
between 4 % below and 0.6 % above the predicted ones (for P = 4, b = 0.01 and $\tau \ge 20$ they
were 0.2 to 2.2 % below), and dwells agree to 0.005 $\tau$ from 0.15 above the critical gain on
(to 0.001 $\tau$ for P = 4, $\kappa = 5$ and $\tau$ from 20 to 500). What is left out is the
response of the overlaps that take no part in a handover, which is O(b). `domain` tells where this
holds; elsewhere these functions refuse.

Of sequences by slow synapses instead (`SlowSynapseHopfield`), without a saliency, `synapse_dwell`
and `synapse_range` tell dwells and strengths in the same limit.

Model and endless-chain map: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Finite cycles, finite
$\tau$, self-loops, general transitions, smooth activations and noise are derived here.
"""

from ._critical_gain import critical_gain
from ._domain import domain, error_band
from ._itinerary import OUTCOMES, Itinerary, itinerary
from ._map import (
    FixedPoints,
    basin_edge,
    fixed_points,
    saliency_map,
    saliency_orbit,
    visited_before_collapse,
)
from ._retrieval import noise_limit, retrieval_amplitude
from ._synapse import SynapseDwell, SynapseRange, synapse_dwell, synapse_range
from ._times import dwell_time, escape_time, gain_for_period, switch_time

__all__ = [
    "OUTCOMES",
    "FixedPoints",
    "Itinerary",
    "SynapseDwell",
    "SynapseRange",
    "basin_edge",
    "critical_gain",
    "domain",
    "dwell_time",
    "error_band",
    "escape_time",
    "fixed_points",
    "gain_for_period",
    "itinerary",
    "noise_limit",
    "retrieval_amplitude",
    "saliency_map",
    "saliency_orbit",
    "switch_time",
    "synapse_dwell",
    "synapse_range",
    "visited_before_collapse",
]


def __dir__():
    return sorted(__all__)
