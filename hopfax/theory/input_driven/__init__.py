r"""Theory of the input-driven field by itself: a stimulus that stands still, and what it retrieves.

The stimulus $u$ sets the depth of the well of each memory instead of pushing the neurons,

$$\dot x = -x + \sum_\mu \alpha_\mu m_\mu\, \xi^\mu, \qquad
\alpha_\mu = \frac1N\, \xi^\mu \cdot u, \qquad m_\mu = \frac1N\, \xi^\mu \cdot \psi(x) .$$

Unless a function says otherwise it assumes orthogonal memories of entries 1 and -1, self-couplings
(`keep_diagonal=True`), a constant stimulus, no additive current and no noise. Results then hold for
any number of neurons; those with noise are for $N \to \infty$ at a fixed number of memories.

    one memory       `retrieval`, `retrieval_threshold`, `rival_threshold`
    two memories     `competition` and `stable_states` (which one wins), `barrier`
                     (how deep the wells are)
    correlated ones  `leakage`, `correlated_retrieval`
    noise            `driven_overlap`, `noise_limit`, `noise_window`; `additive_overlaps` of the
                     classic network with the stimulus as a current

Model: Betteti, Baggio, Bullo, Zampieri, Science Advances 2025, arXiv:2411.05849. Stability,
bifurcations of mixtures, barriers, margins of correlated memories and the comparison under noise
are derived here.
"""

from ._barrier import Barrier, barrier
from ._competition import Competition, StableStates, competition, stable_states
from ._leakage import CorrelatedRetrieval, Leakage, correlated_retrieval, leakage
from ._noise import (
    AdditiveOverlaps,
    NoiseWindow,
    NoisyOverlap,
    additive_overlaps,
    driven_overlap,
    noise_limit,
    noise_window,
)
from ._retrieval import Retrieval, retrieval, retrieval_threshold, rival_threshold

__all__ = [
    "AdditiveOverlaps",
    "Barrier",
    "Competition",
    "CorrelatedRetrieval",
    "Leakage",
    "NoiseWindow",
    "NoisyOverlap",
    "Retrieval",
    "StableStates",
    "additive_overlaps",
    "barrier",
    "competition",
    "correlated_retrieval",
    "driven_overlap",
    "leakage",
    "noise_limit",
    "noise_window",
    "rival_threshold",
    "retrieval",
    "retrieval_threshold",
    "stable_states",
]


def __dir__():
    return sorted(__all__)
