"""Dense associative memories: the energy is a sum of nonlinear functions of the overlaps."""

from ._domain import interaction_bounds as interaction_bounds
from ._flow import DenseFlow as DenseFlow
from ._memory import DenseMemory as DenseMemory
from ._pairwise import PairwiseMemory as PairwiseMemory
from ._sequence import DenseSequence as DenseSequence
from ._spins import SpinState as SpinState
