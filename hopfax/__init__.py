"""hopfax: Hopfield-type associative memories that move, simulated and differentiated in JAX.

    Patterns -> network -> simulate -> Trajectory -> observables
    Point -> sweep -> dataset -> plots          network, loss -> fit -> network

`help(hopfax.NAME)` explains each name and ends with an example that runs. By import hopfax as hx:

Memories        Patterns, SiteClasses; very many: PackedPatterns, GeneratedPatterns,
                ShardedPatterns; AbstractPatterns. `patterns` makes and reads them.
Networks        Hopfield, OneTimescaleHopfield, InputDrivenHopfield, TwoTimescaleHopfield (and
                cyclic, its transition matrix), SlowSynapseHopfield; dense: DenseMemory,
                DenseSequence, DenseFlow, PairwiseMemory;
                firing rates: RateMemory, InputDrivenRateMemory, TwoTimescaleRateMemory,
                DaleRateMemory; of any weights: ThresholdLinearNetwork
  states        FieldState, SpinState, RateState, Inputs
  activations   HardTanh, Tanh, Erf, Arctan, Rational, GaussianAverage; of rates: Logistic,
                HardSigmoid, RectifiedTanh, ThresholdLinear
  interactions  Quadratic, Power, RectifiedPower, ManyBody, Simplicial, Polynomial, Exponential,
                Softmax, Epanechnikov
  of your own   AbstractNetwork, AbstractFlow, AbstractMap, AbstractHopfield,
                AbstractQuadraticHopfield, AbstractRateMemory, AbstractActivation,
                AbstractRateActivation, AbstractInteraction, Bound
Runs            simulate, iterate; Pulses; methods EventDriven, Diffrax; results Trajectory,
                Switches, STATUS. `observables` reads them.
Many runs       sweep, Point, Recipe, sweep_plan, SweepPlan, open_sweep, refine, ensemble. `designs`
                fills ranges.
Dynamics        `dynamics`: states of rest, closed orbits, branches and folds, exact thresholds
Fits            fit, FitResult, Goodness, ENDINGS; fit_sequence, SequenceFit, Events; design_cycle,
                Design; identifiability, Identifiability, Interval, Profile, Experiment;
                log_density, LogDensity, Laplace. `losses`, `constraints`
Files           save, load; compilation_cache, which keeps compiled programs
Figures         `plots`
Layers          `nn`: memories inside other models
Theory          `theory`: sequential, dense, rate, input_driven
Errors          SimulationError, SweepFailed, StoreError, StoreBusy, StoreCorrupt, ConfigMismatch,
                LoadError; warnings PhysicsWarning, SweepWarning, FitWarning
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import (
    constraints as constraints,
    observables as observables,
    patterns as patterns,
    theory as theory,
)
from ._activations import (
    AbstractActivation as AbstractActivation,
    Arctan as Arctan,
    Erf as Erf,
    GaussianAverage as GaussianAverage,
    HardTanh as HardTanh,
    Rational as Rational,
    Tanh as Tanh,
)
from ._cache import compilation_cache as compilation_cache
from ._distances import Epanechnikov as Epanechnikov
from ._engines import Diffrax as Diffrax, EventDriven as EventDriven
from ._errors import (
    ConfigMismatch as ConfigMismatch,
    FitWarning as FitWarning,
    LoadError as LoadError,
    PhysicsWarning as PhysicsWarning,
    SimulationError as SimulationError,
    StoreBusy as StoreBusy,
    StoreCorrupt as StoreCorrupt,
    StoreError as StoreError,
    SweepFailed as SweepFailed,
    SweepWarning as SweepWarning,
)
from ._inputs import Pulses as Pulses
from ._interactions import (
    AbstractInteraction as AbstractInteraction,
    Exponential as Exponential,
    ManyBody as ManyBody,
    Polynomial as Polynomial,
    Power as Power,
    Quadratic as Quadratic,
    RectifiedPower as RectifiedPower,
    Simplicial as Simplicial,
    Softmax as Softmax,
)
from ._iterate import iterate as iterate
from ._rate_activations import (
    AbstractRateActivation as AbstractRateActivation,
    HardSigmoid as HardSigmoid,
    Logistic as Logistic,
    RectifiedTanh as RectifiedTanh,
    ThresholdLinear as ThresholdLinear,
)
from ._serialise import load as load, save as save
from ._simulate import simulate as simulate
from ._status import STATUS as STATUS
from ._sweep import (
    Point as Point,
    Recipe as Recipe,
    SweepPlan as SweepPlan,
    ensemble as ensemble,
    open_sweep as open_sweep,
    refine as refine,
    sweep as sweep,
    sweep_plan as sweep_plan,
)
from ._trajectory import Switches as Switches, Trajectory as Trajectory
from ._version import __version__ as __version__
from .networks import (
    AbstractFlow as AbstractFlow,
    AbstractHopfield as AbstractHopfield,
    AbstractMap as AbstractMap,
    AbstractNetwork as AbstractNetwork,
    AbstractQuadraticHopfield as AbstractQuadraticHopfield,
    AbstractRateMemory as AbstractRateMemory,
    Bound as Bound,
    DaleRateMemory as DaleRateMemory,
    DenseFlow as DenseFlow,
    DenseMemory as DenseMemory,
    DenseSequence as DenseSequence,
    FieldState as FieldState,
    Hopfield as Hopfield,
    InputDrivenHopfield as InputDrivenHopfield,
    InputDrivenRateMemory as InputDrivenRateMemory,
    Inputs as Inputs,
    OneTimescaleHopfield as OneTimescaleHopfield,
    PairwiseMemory as PairwiseMemory,
    RateMemory as RateMemory,
    RateState as RateState,
    SlowSynapseHopfield as SlowSynapseHopfield,
    SpinState as SpinState,
    ThresholdLinearNetwork as ThresholdLinearNetwork,
    TwoTimescaleHopfield as TwoTimescaleHopfield,
    TwoTimescaleRateMemory as TwoTimescaleRateMemory,
    cyclic as cyclic,
)
from .patterns import (
    AbstractPatterns as AbstractPatterns,
    GeneratedPatterns as GeneratedPatterns,
    PackedPatterns as PackedPatterns,
    Patterns as Patterns,
    ShardedPatterns as ShardedPatterns,
    SiteClasses as SiteClasses,
)

if _TYPE_CHECKING:
    from . import (
        designs as designs,
        dynamics as dynamics,
        losses as losses,
        nn as nn,
        plots as plots,
    )
    from ._fit import (
        ENDINGS as ENDINGS,
        Design as Design,
        Experiment as Experiment,
        FitResult as FitResult,
        Goodness as Goodness,
        Identifiability as Identifiability,
        Interval as Interval,
        Laplace as Laplace,
        LogDensity as LogDensity,
        Profile as Profile,
        SequenceFit as SequenceFit,
        design_cycle as design_cycle,
        fit as fit,
        fit_sequence as fit_sequence,
        identifiability as identifiability,
        log_density as log_density,
    )
    from .losses import Events as Events

__all__ = [
    "AbstractActivation",
    "AbstractFlow",
    "AbstractHopfield",
    "AbstractInteraction",
    "AbstractMap",
    "AbstractNetwork",
    "AbstractPatterns",
    "AbstractQuadraticHopfield",
    "AbstractRateActivation",
    "AbstractRateMemory",
    "Bound",
    "Arctan",
    "ConfigMismatch",
    "DaleRateMemory",
    "DenseFlow",
    "DenseMemory",
    "DenseSequence",
    "Design",
    "Diffrax",
    "Epanechnikov",
    "ENDINGS",
    "Erf",
    "EventDriven",
    "Events",
    "Experiment",
    "Exponential",
    "FieldState",
    "FitResult",
    "FitWarning",
    "GaussianAverage",
    "GeneratedPatterns",
    "Goodness",
    "HardSigmoid",
    "HardTanh",
    "Hopfield",
    "Identifiability",
    "InputDrivenHopfield",
    "InputDrivenRateMemory",
    "Inputs",
    "Interval",
    "Laplace",
    "LoadError",
    "LogDensity",
    "Logistic",
    "ManyBody",
    "OneTimescaleHopfield",
    "PackedPatterns",
    "PairwiseMemory",
    "Patterns",
    "PhysicsWarning",
    "Point",
    "Power",
    "Profile",
    "Pulses",
    "Quadratic",
    "RateMemory",
    "RateState",
    "Rational",
    "Recipe",
    "RectifiedPower",
    "RectifiedTanh",
    "STATUS",
    "SequenceFit",
    "ShardedPatterns",
    "Polynomial",
    "Simplicial",
    "SimulationError",
    "SiteClasses",
    "SlowSynapseHopfield",
    "Softmax",
    "SpinState",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "SweepFailed",
    "SweepPlan",
    "SweepWarning",
    "Switches",
    "Tanh",
    "ThresholdLinear",
    "ThresholdLinearNetwork",
    "Trajectory",
    "TwoTimescaleHopfield",
    "TwoTimescaleRateMemory",
    "compilation_cache",
    "constraints",
    "cyclic",
    "design_cycle",
    "designs",
    "dynamics",
    "ensemble",
    "fit",
    "fit_sequence",
    "identifiability",
    "iterate",
    "load",
    "log_density",
    "losses",
    "nn",
    "observables",
    "open_sweep",
    "patterns",
    "plots",
    "refine",
    "save",
    "simulate",
    "sweep",
    "sweep_plan",
    "theory",
    "__version__",
]

#: What is imported when it is first used, and from where: who simulates need not wait.
_LATE = {name: name for name in ("designs", "dynamics", "losses", "nn", "plots")} | {
    "Design": "_fit",
    "ENDINGS": "_fit",
    "Events": "losses",
    "Experiment": "_fit",
    "FitResult": "_fit",
    "Goodness": "_fit",
    "Identifiability": "_fit",
    "Interval": "_fit",
    "Laplace": "_fit",
    "LogDensity": "_fit",
    "Profile": "_fit",
    "SequenceFit": "_fit",
    "design_cycle": "_fit",
    "fit": "_fit",
    "identifiability": "_fit",
    "fit_sequence": "_fit",
    "log_density": "_fit",
}


def __getattr__(name: str):
    if name not in _LATE:
        raise AttributeError(f"module 'hopfax' has no attribute {name!r}")
    module = _importlib.import_module(f"hopfax.{_LATE[name]}")
    return module if _LATE[name] == name else getattr(module, name)


def __dir__():
    return sorted(__all__)
