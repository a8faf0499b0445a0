"""`hopfax run --network rate`: one run of a firing-rate memory."""

import dataclasses
import math

from .. import _options, _runs
from .._families import Family
from .._machine import Precision, precision
from .._models import check_alone
from . import _networks, _options as own, _points
from ._runs import check_run, values_of


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a firing-rate memory from a cue, and say which memory it retrieves.

    A table lists the overlaps at the start and at the end. Written are the trajectory, the network
    and a picture; memories that are images are shown along the run.
    Example: hopfax run --network rate --patterns digits --active 0.4 --init weights 0.5,0.2
    """

    network: Family = "rate"
    """Family of networks; each has options of its own."""
    patterns: own.RateSource = "balanced"
    memories: own.RateMemories = None
    neurons: int | None = None
    """How many neurons (default: about 1000, or as the source says)."""
    transpose: _options.Transpose = False
    image_shape: _options.ImageShape = None
    grey: own.Grey = None
    active: own.Active = None
    q: float = _points.ACTIVITY
    """Activity of balanced and sparse memories, the share of active neurons."""
    gain: float = _points.REFERENCE["gain"]
    """Gain rho of the activation, its greatest slope."""
    threshold: float = _points.REFERENCE["threshold"]
    """Threshold current I* of the activation."""
    a: float = _points.REFERENCE["a"]
    """Current of silent neurons."""
    b: float = _points.REFERENCE["b"]
    """Current of active neurons."""
    activation: _points.Kind = "logistic"
    """Activation from currents to rates."""
    learning: own.Learning = "projection"
    init: own.RateInit = ()
    input: float | None = None
    """A current to the active neurons of memory 0."""
    current: own.Current = ()
    stimulus: own.Stimulus = ()
    noise: _options.Noise = 0.0
    horizon: float = 40.0
    """Length of the run in time constants of the neurons (or slow ones, of a model that has
    some)."""
    seed: int = 0
    """Seed of noise and of random memories."""
    model: own.RateModel = None
    classes: _options.Classes = None
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: _options.RunFolder = None
    picture: _options.Picture = "run.png"
    overwrite: _options.RunAgain = False

    def __call__(self) -> int:
        """Run, print, write."""
        check_alone(self, [name for name in _networks.OF_THE_MODEL if name != "image_shape"])
        check_run(self)
        for name in _points.VALUES:
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be finite, got {getattr(self, name):g}.")
        place = _runs.place_of(self)
        with precision(self.precision):
            found, shape = None, self.image_shape
            if self.model is None:
                found, shape = _networks.memories(self, shown=True)
            network = _networks.network(self, found, values_of(self))
            state = network.init(**_networks.start(self, network))
            driven = _networks.inputs(self, network)
            inputs = {
                name: None if value is None else network.patterns.field(value["weights"])
                for name, value in driven.items()
            }
            run = _runs.flow(network, state, self.horizon, self.noise, self.seed, **inputs)
            return _runs.finish(run, place, shape, self, _networks.is_named)
