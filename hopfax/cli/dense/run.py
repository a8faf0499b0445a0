"""`hopfax run --network dense`: one recall by a dense memory."""

import dataclasses
import pathlib

import jax
import jax.random as jr
import numpy as np

from .. import _options, _runs
from .._families import Family
from .._limits import check_seed
from .._machine import Precision, precision
from .._models import check_alone
from . import _networks, _options as own

_TRACKED = 32  # memories whose overlaps are kept


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a dense memory from one of its memories with some signs changed, step by step.

    A table lists the overlaps at the start and at the end. Written are the trajectory, the network
    and a picture; memories that are images are shown along the run.
    Example: hopfax run --network dense --patterns digits --interaction power:4 --start 0.5
    A sequence: hopfax run --network dense --patterns digits --transition cyclic --steps 20
    """

    network: Family = "dense"
    """Family of networks; each has options of its own."""
    patterns: own.DenseSource = "random"
    memories: _options.Memories = None
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    image_shape: _options.ImageShape = None
    threshold: _options.Threshold = None
    interaction: str = "power"
    """Interaction: quadratic, power:4, rectified_power:3, many_body:3, exponential:1, softmax:1 or
    simplicial:2=0.5,3=1; the number is the order (3), or the rate or beta (1)."""
    temperature: own.Temperature = 0.0
    update: own.Update = "parallel"
    transition: own.Transition = "none"
    learning: own.Learning = "hebbian"
    start: own.Start = 0.6
    memory: own.Cued = 0
    steps: int = 10
    """How many steps, each an update of every neuron."""
    seed: int = 0
    """Seed of random memories, of the changed signs and of the temperature."""
    model: pathlib.Path | None = None
    """A saved network in discrete time to run in place of one made from the options."""
    classes: _options.Classes = None
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: _options.RunFolder = None
    picture: _options.Picture = "run.png"
    overwrite: _options.RunAgain = False

    def __call__(self) -> int:
        """Run, print, write."""
        kept = [name for name in _networks.OF_THE_MODEL if name != "image_shape"]
        check_alone(self, (*kept, "update", "transition", "learning"))
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
            # those of a sequence are the ones that are due
            tracked = [(self.memory + k) % P for k in range(min(P, _TRACKED))]
            due = np.array([_networks.due(network, self.memory, t) for t in range(self.steps + 1)])
            theory = _networks.theory_of(self, network, flips)
            run = _runs.steps(network, state, self.steps, tracked, noise, due, theory)
            return _runs.finish(run, place, shape, self)
