"""Networks: each wraps one set of equations; `simulate` and `sweep` run them all."""

from ._base import (
    AbstractFlow as AbstractFlow,
    AbstractMap as AbstractMap,
    AbstractNetwork as AbstractNetwork,
    Bound as Bound,
    check_domain as check_domain,
    check_flow as check_flow,
    check_kind as check_kind,
    check_map as check_map,
    check_state as check_state,
    checked_inputs as checked_inputs,
    in_domain as in_domain,
    merged as merged,
    without_stimulus as without_stimulus,
)
from ._field import (
    AbstractHopfield as AbstractHopfield,
    AbstractQuadraticHopfield as AbstractQuadraticHopfield,
    Learning as Learning,
)
from ._field_forms import HardTanhLaw as HardTanhLaw, HopfieldSystem as HopfieldSystem
from ._forms import (
    AbstractForms as AbstractForms,
    AbstractLaw as AbstractLaw,
    AbstractSystem as AbstractSystem,
    Core as Core,
    Reduction as Reduction,
    Sites as Sites,
    value_at as value_at,
)
from ._slow import Readout as Readout, cyclic as cyclic
from ._states import (
    FieldState as FieldState,
    Inputs as Inputs,
    RateState as RateState,
    neurons_of as neurons_of,
)
from .dense import (
    DenseFlow as DenseFlow,
    DenseMemory as DenseMemory,
    DenseSequence as DenseSequence,
    PairwiseMemory as PairwiseMemory,
    SpinState as SpinState,
)
from .hopfield import (
    Hopfield as Hopfield,
    InputDrivenHopfield as InputDrivenHopfield,
    OneTimescaleHopfield as OneTimescaleHopfield,
    SlowSynapseHopfield as SlowSynapseHopfield,
    TwoTimescaleHopfield as TwoTimescaleHopfield,
    seeds_of as seeds_of,
)
from .rate import (
    AbstractRateMemory as AbstractRateMemory,
    DaleRateMemory as DaleRateMemory,
    InputDrivenRateMemory as InputDrivenRateMemory,
    RateMemory as RateMemory,
    ThresholdLinearNetwork as ThresholdLinearNetwork,
    TwoTimescaleRateMemory as TwoTimescaleRateMemory,
)
from .rate._family import AbstractRates as AbstractRates
from .rate._forms import KinkLaw as KinkLaw, RateSystem as RateSystem
