"""Networks: each wraps one set of equations; `simulate` and `sweep` run them all."""

from ._base import (
    AbstractFlow as AbstractFlow,
    AbstractHopfield as AbstractHopfield,
    AbstractMap as AbstractMap,
    AbstractNetwork as AbstractNetwork,
    AbstractQuadraticHopfield as AbstractQuadraticHopfield,
    Bound as Bound,
    FieldState as FieldState,
    Inputs as Inputs,
    check_domain as check_domain,
    in_domain as in_domain,
)
from ._dense import DenseMemory as DenseMemory, SpinState as SpinState
from ._dense_flow import DenseFlow as DenseFlow
from ._hopfield import Hopfield as Hopfield, OneTimescaleHopfield as OneTimescaleHopfield
from ._input_driven import InputDrivenHopfield as InputDrivenHopfield
from ._sequential import TwoTimescaleHopfield as TwoTimescaleHopfield, cyclic as cyclic
