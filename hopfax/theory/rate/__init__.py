r"""Exact theory of firing-rate associative memories: storage, stability and what coexists.

Rates $x \ge 0$ of N neurons store P memories $\xi^\mu \in \{0, 1\}^N$ of activity q, the fraction
of active neurons,

$$\dot x = -x + \phi(W x + u), \qquad
W = \frac{\alpha}{N} (\Xi - \beta)(\Xi - \beta)^T + \frac{\gamma}{N} 1 1^T,$$

so that the silent neurons of a memory receive the current a and fire at $\phi_a = \phi(a)$, the
active ones b and $\phi_b = \phi(b)$; $x = \phi_a + (\phi_b - \phi_a)\, \xi^\mu$ is an exact
equilibrium. Stability depends on two numbers: the inverse secant slope
$\kappa = (b - a) / (\phi_b - \phi_a)$, which is the gain of the memories, and the background
$\gamma$, net inhibition where it is negative.

There are three ways to build W, named by `learning`: "covariance" is the above, for memories any
two of which have the same overlap r q N; "projection" has $\kappa Z (Z^T Z)^{-1} Z^T$, $Z = \Xi -
q$, in place of the first term, and is exact for any overlaps; "pseudo_inverse" $H \bar X^+$ (target
currents, stored rates) is exact for any activities, and not symmetric.

For which number of memories each result holds:

- `design`, `spectrum`, `memory_eigenvalues` and `dale_eigenvalues`: any.
- `stability`: perturbations in the plane of the active and the silent group,
  span$\{1_S, 1_{S^c}\}$. For P = 1 these are all that matter. For P > 1 an instability in the plane
  is one of the network; a memory that is stable in the plane is stable if the rest of
  `memory_eigenvalues` (or of `balanced_spectrum`, for the balanced set) is negative too.
- `planar_equilibria`, `critical_saliency_planar`: the plane is invariant for any P (r = q, or
  projection), so these are equilibria of the network. That nothing else attracts
  (`globally_stable`) is a statement for P = 1: without input further memories are equilibria too.

`threshold_linear_fixed_points` is of another kind: it lists the fixed points of a threshold-linear
network of any weights, which stores no memories.

`phi` is a rate activation of `hopfax`. Rates are in units of the greatest rate, currents in those
of the threshold, time in those of the membrane.

Model and sufficient conditions: Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388. Exact
spectra, planar reduction, thresholds of saliency and inhibition are derived here.
"""

from ._crosstalk import Crosstalk, crosstalk
from ._dale import (
    DaleEigenvalues,
    critical_inhibition,
    dale_eigenvalues,
    dale_inhibition,
    dale_jacobian,
)
from ._design import Design, design
from ._memory import MemoryEigenvalues, memory_eigenvalues
from ._phase import Phase, phase
from ._planar import GlobalStability, PlanarEquilibria, globally_stable, planar_equilibria
from ._saliency import (
    CriticalSaliency,
    PlanarSaliency,
    critical_saliency,
    critical_saliency_planar,
)
from ._spectrum import Spectrum, contraction_rate, contraction_rate_max_norm, spectrum
from ._stability import BalancedSpectrum, Stability, balanced_spectrum, stability
from ._threshold_linear import ThresholdLinearFixedPoints, threshold_linear_fixed_points

__all__ = [
    "BalancedSpectrum",
    "CriticalSaliency",
    "Crosstalk",
    "DaleEigenvalues",
    "Design",
    "GlobalStability",
    "MemoryEigenvalues",
    "Phase",
    "PlanarEquilibria",
    "PlanarSaliency",
    "Spectrum",
    "Stability",
    "ThresholdLinearFixedPoints",
    "balanced_spectrum",
    "contraction_rate",
    "contraction_rate_max_norm",
    "critical_inhibition",
    "critical_saliency",
    "critical_saliency_planar",
    "crosstalk",
    "dale_eigenvalues",
    "dale_inhibition",
    "dale_jacobian",
    "design",
    "globally_stable",
    "memory_eigenvalues",
    "phase",
    "planar_equilibria",
    "spectrum",
    "stability",
    "threshold_linear_fixed_points",
]


def __dir__():
    return sorted(__all__)
