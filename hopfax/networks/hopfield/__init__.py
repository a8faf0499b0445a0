"""Hopfield networks with quadratic energies: one timescale, driven by input, slow synapses, two
timescales."""

from ._input_driven import InputDrivenHopfield as InputDrivenHopfield
from ._one_timescale import Hopfield as Hopfield, OneTimescaleHopfield as OneTimescaleHopfield
from ._slow_synapse import SlowSynapseHopfield as SlowSynapseHopfield
from ._two_timescale import (
    TwoTimescaleHopfield as TwoTimescaleHopfield,
    seeds_of as seeds_of,
)
