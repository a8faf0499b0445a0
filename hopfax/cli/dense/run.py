"""`hopfax run --network dense`: one recall by a dense memory."""

import dataclasses
import pathlib

import jax
import jax.random as jr

from .. import _runs
from .._families import Family
from .._limits import check_seed
from .._machine import Precision, precision
from .._models import check_alone
from .._options import (
    Classes,
    Config,
    ImageShape,
    Memories,
    Neurons,
    Picture,
    RunAgain,
    RunFolder,
    Threshold,
    Transpose,
)
from . import _networks
from ._options import Cued, DenseSource, Start, Temperature, Update

_TRACKED = 32  # memories whose overlaps are kept


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a dense memory from one of its memories with some signs changed, step by step.

    A table lists the overlaps at the start and at the end. Written are the trajectory, the network
    and a picture; memories that are images are shown along the run.
    Example: hopfax run --network dense --patterns digits --interaction power:4 --start 0.5
    """

    network: Family = "dense"
    """Family of networks; each has options of its own."""
    patterns: DenseSource = "random"
    memories: Memories = None
    neurons: Neurons = None
    transpose: Transpose = False
    image_shape: ImageShape = None
    threshold: Threshold = None
    interaction: str = "power"
    """Interaction: quadratic, power:4, rectified_power:3, many_body:3, exponential:1, softmax:1 or
    simplicial:2=0.5,3=1; the number is the order (3), or the rate or beta (1)."""
    temperature: Temperature = 0.0
    update: Update = "parallel"
    start: Start = 0.6
    memory: Cued = 0
    steps: int = 10
    """How many steps, each an update of every neuron."""
    seed: int = 0
    """Seed of random memories, of the changed signs and of the temperature."""
    model: pathlib.Path | None = None
    """A saved network in discrete time to run in place of one made from the options."""
    classes: Classes = None
    precision: Precision = "float64"
    """Floating-point precision."""
    config: Config = None
    out: RunFolder = None
    picture: Picture = "run.png"
    overwrite: RunAgain = False

    def __call__(self) -> int:
        """Run, print, write."""
        kept = [name for name in _networks.OF_THE_MODEL if name != "image_shape"]
        check_alone(self, (*kept, "update"))
        _networks.check_run(self)
        check_seed(self.seed)
        place = _runs.place_of(self)
        with precision(self.precision):
            network, shape = _networks.memory_of(self, shown=True)
            P, N = network.patterns.P, network.patterns.N
            _networks.check_start(self.start, self.memory, P)
            cue, noise = jr.split(jax.random.key(self.seed))
            flips = round((1 - self.start) / 2 * N)
            state = network.init(network.patterns.corrupt(cue, self.memory, flips))
            others = [mu for mu in range(min(P, _TRACKED)) if mu != self.memory]
            tracked = [self.memory, *others[: _TRACKED - 1]]
            run = _runs.steps(network, state, self.steps, tracked, noise)
            return _runs.finish(run, place, shape, self)
