"""Networks: each wraps one set of equations; `simulate` and `sweep` run them all."""

from ._base import (
    AbstractFlow as AbstractFlow,
    AbstractMap as AbstractMap,
    AbstractNetwork as AbstractNetwork,
    AbstractSystem as AbstractSystem,
    Bound as Bound,
    Core as Core,
    Inputs as Inputs,
    Reduction as Reduction,
    check_domain as check_domain,
    in_domain as in_domain,
    without_stimulus as without_stimulus,
)
from ._dense_flow import DenseFlow as DenseFlow
from ._family import (
    AbstractHopfield as AbstractHopfield,
    AbstractQuadraticHopfield as AbstractQuadraticHopfield,
    Learning as Learning,
)
from ._hopfield import Hopfield as Hopfield, OneTimescaleHopfield as OneTimescaleHopfield
from ._input_driven import InputDrivenHopfield as InputDrivenHopfield
from ._rate import (
    AbstractRateMemory as AbstractRateMemory,
    DaleRateMemory as DaleRateMemory,
    InputDrivenRateMemory as InputDrivenRateMemory,
    RateMemory as RateMemory,
)
from ._rate_reduction import RateSystem as RateSystem
from ._rate_sequential import TwoTimescaleRateMemory as TwoTimescaleRateMemory
from ._reduction import HopfieldSystem as HopfieldSystem
from ._sequential import (
    Readout as Readout,
    TwoTimescaleHopfield as TwoTimescaleHopfield,
    cyclic as cyclic,
)
from ._states import FieldState as FieldState, RateState as RateState
from .dense import DenseMemory as DenseMemory, SpinState as SpinState
