"""Memories as layers for other people's models.

Each is an unbatched `equinox.Module`: made with a `key=`, called on one example, batched by
`jax.vmap`. A recurrent one has `init()` and `step(state, u)` besides the call on a whole sequence,
`layer(us)`, or `layer(us, state)`, which also returns the state after it; `mask` leaves steps out.
Outputs have the dtype of the inputs; inside, layers compute in at least float32. `to_functional`
opens a layer for code that knows nothing of Equinox; `hopfax.nn.flax` puts it into a Flax model.
"""

from .._constant import Constant
from ._attractors import Attractors, attractors
from ._blocks import HopfieldDecoder, HopfieldEncoder
from ._dense_layer import DenseMemoryLayer, Settled
from ._energy_transformer import EnergyTransformer
from ._functional import to_functional
from ._inspect import Inspection, inspect
from ._inspect_dense import DenseInspection
from ._kinds import RETRIEVED
from ._linear import LinearSystem, Modes
from ._positions import AbstractPositions, RelativeBias, Rotary
from ._residuals import annihilator, deadbeat_gain, parity_relations
from ._retrieval import HopfieldRetrieval
from ._selection import Bank, Gates, ResidualSelection, Selection
from ._selectors import (
    AbstractSelector,
    ResidualSelector,
    SaliencySelector,
    TwoTimescaleSelector,
)
from ._separations import (
    AbstractSeparation,
    Entmax,
    KSubsets,
    Normmax,
    TopK,
)
from ._sequence_memory import ExponentialEuler, SequenceMemory
from ._store import store, stored_keys
from ._stored import Stored
from ._tables import HopfieldLookup, HopfieldPooling
from ._torch import from_torch, to_torch

__all__ = [
    "AbstractPositions",
    "AbstractSelector",
    "AbstractSeparation",
    "Attractors",
    "Bank",
    "Constant",
    "DenseInspection",
    "DenseMemoryLayer",
    "EnergyTransformer",
    "Entmax",
    "ExponentialEuler",
    "Gates",
    "HopfieldDecoder",
    "HopfieldEncoder",
    "HopfieldLookup",
    "HopfieldPooling",
    "HopfieldRetrieval",
    "Inspection",
    "KSubsets",
    "LinearSystem",
    "Modes",
    "Normmax",
    "RETRIEVED",
    "RelativeBias",
    "ResidualSelection",
    "ResidualSelector",
    "Rotary",
    "SaliencySelector",
    "Selection",
    "SequenceMemory",
    "Settled",
    "Stored",
    "TopK",
    "TwoTimescaleSelector",
    "annihilator",
    "attractors",
    "deadbeat_gain",
    "from_torch",
    "inspect",
    "parity_relations",
    "store",
    "stored_keys",
    "to_functional",
    "to_torch",
]


def __dir__():
    return sorted(__all__)
