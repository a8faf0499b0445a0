r"""Exact theory of dense associative memory: capacities, trajectories and basins.

N neurons $h_i = \pm 1$ store M independent unbiased patterns (biased or correlated ones: `bias` of
`solve_gfa`) through an interaction of order n,

$$u_i(t) = N^{-p} \sum_\mu \xi^\mu_i f(X^\mu_i(t)) + \theta_i(t), \qquad
h_i(t+1) = \mathrm{sgn}\, u_i(t), \qquad p = n - 1,$$

with all neurons updated at once, the neuron itself left out of its overlap $X^\mu_i$, and $f$ the
reduced force of the interaction. The **load** is $\alpha = M / N^{n-1}$. As $N \to \infty$ a
neuron, its signs multiplied by that of the recalled pattern, follows the effective process (order
$n \ge 3$)

$$h(t+1) = \mathrm{sgn}\Big[ m(t)^p + v(t) + \sum_{t' < t} \Gamma(t, t') h(t') \Big], \qquad
\langle v(t) v(t') \rangle = \alpha K(C), \qquad \Gamma(t, t') = \alpha K'(C)\, G(t, t'),$$

with $m(t) = \langle h(t) \rangle$, $C = \langle h(t) h(t') \rangle$, the response
$G(t, t') = \partial \langle h(t) \rangle / \partial \theta(t')$ and the noise kernel K of
`kernel`. At order 2 memories react to each other, which replaces these by
$\alpha (1-G)^{-1} C (1-G^T)^{-1}$ and $\alpha (1-G)^{-1} G$. The time t of a field $u(t)$ is that
of the state it is computed from.

There are three levels of the theory:

- `capacity`, `map_step`, `map_fixed_points`: without memory of the past ($\Gamma = 0$). The first
  step is exact, and fixed points are those of the replica-symmetric theory. As a description of
  what happens in between it is poor.
- `first_steps`: the full theory up to four steps by quadrature, differentiable.
- `solve_gfa`: the full theory for any number of steps, on quasi-random paths; `basin_edge`,
  `convergence_time` and `apparent_capacity` are read from its trajectories. `solve_flow` is the
  same in continuous time.

A network that goes from each memory to the next has an exact theory without paths:
`sequence_trajectory`, `sequence_capacity` and their companions; one that holds each memory for a
time, `mixture_trajectory`, has one on paths. What is recalled without any error at finite size,
with powers and exponentials, is told by `exact_recall` for static memories, by `transition_recall`
for sequences, and by `error_free_capacity`.

In terms of the scaled load $\alpha' = \alpha K(1)$ all power and n-body models of one order have
the same memoryless map, and so the same $\alpha'_c$.

Generating functional: Düring, Coolen, Sherrington 1998; Mimura, Takeuchi, Sumikawa, Kabashima,
Coolen 2026, arXiv:2506.00851. Asynchronous updates follow a different theory.
"""

from ._capacity import Capacity, capacity
from ._edges import (
    ApparentCapacity,
    BasinEdge,
    ConvergenceTime,
    apparent_capacity,
    basin_edge,
    convergence_time,
)
from ._error_free import error_free_capacity
from ._exact_recall import ExactRecall, exact_recall
from ._exponential import ExponentialLoad, exponential_load
from ._finite import finite_first_step
from ._first_steps import FirstSteps, first_steps
from ._flow import FlowSolution, solve_flow
from ._gfa import Solution, solve_gfa
from ._kernels import Kernel, input_driven_kernel, kernel
from ._map import MapFixedPoints, map_fixed_points, map_step, map_trajectory
from ._mixture import MixtureTrajectory, mixture_trajectory
from ._sequence_capacity import (
    SequenceFixedPoints,
    sequence_capacity,
    sequence_fixed_points,
)
from ._sequences import SequenceTrajectory, sequence_correlation, sequence_trajectory
from ._synapses import SynapticCapacity, synaptic_capacity
from ._transitions import TransitionRecall, transition_recall

__all__ = [
    "ApparentCapacity",
    "BasinEdge",
    "Capacity",
    "ConvergenceTime",
    "ExactRecall",
    "ExponentialLoad",
    "FirstSteps",
    "FlowSolution",
    "Kernel",
    "MapFixedPoints",
    "MixtureTrajectory",
    "SequenceFixedPoints",
    "SequenceTrajectory",
    "Solution",
    "SynapticCapacity",
    "TransitionRecall",
    "apparent_capacity",
    "basin_edge",
    "capacity",
    "convergence_time",
    "error_free_capacity",
    "exact_recall",
    "exponential_load",
    "finite_first_step",
    "first_steps",
    "input_driven_kernel",
    "kernel",
    "map_fixed_points",
    "map_step",
    "map_trajectory",
    "mixture_trajectory",
    "sequence_capacity",
    "sequence_correlation",
    "sequence_fixed_points",
    "sequence_trajectory",
    "solve_flow",
    "solve_gfa",
    "synaptic_capacity",
    "transition_recall",
]


def __dir__():
    return sorted(__all__)
