"""Memories as layers for other people's models.

Each is an unbatched `equinox.Module`: made with a `key=`, called on one example, batched by
`jax.vmap`. A recurrent one has `init()` and `step(state, u)` besides the call on a whole sequence.
Inputs keep their dtype on the way out; inside is at least float32. `to_functional` opens a layer
for code that knows nothing of Equinox.
"""

from ._dense_layer import DenseMemoryLayer as DenseMemoryLayer, Settled as Settled
from ._functional import to_functional as to_functional
from ._linear import LinearSystem as LinearSystem, Modes as Modes
from ._residuals import (
    annihilator as annihilator,
    deadbeat_gain as deadbeat_gain,
    parity_relations as parity_relations,
)
from ._retrieval import (
    HopfieldLookup as HopfieldLookup,
    HopfieldPooling as HopfieldPooling,
    HopfieldRetrieval as HopfieldRetrieval,
)
from ._selection import (
    Bank as Bank,
    Gates as Gates,
    ResidualSelection as ResidualSelection,
    Selection as Selection,
)
from ._selectors import (
    AbstractSelector as AbstractSelector,
    ResidualSelector as ResidualSelector,
    SaliencySelector as SaliencySelector,
    TwoTimescaleSelector as TwoTimescaleSelector,
)
from ._sequence_memory import (
    ExponentialEuler as ExponentialEuler,
    SequenceMemory as SequenceMemory,
)
