"""Networks of firing rates that store memories at chosen currents."""

from ._dale import DaleRateMemory as DaleRateMemory
from ._family import AbstractRateMemory as AbstractRateMemory
from ._memories import InputDrivenRateMemory as InputDrivenRateMemory, RateMemory as RateMemory
from ._threshold_linear import ThresholdLinearNetwork as ThresholdLinearNetwork
from ._two_timescale import TwoTimescaleRateMemory as TwoTimescaleRateMemory
