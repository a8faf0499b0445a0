"""`hopfax run --network dense`: one recall by a dense memory."""

import dataclasses
import pathlib
from typing import Literal

import jax
import jax.random as jr

from .. import _runs
from .._families import Family
from .._limits import check_seed
from .._machine import Precision, precision
from .._models import check_alone
from . import _networks

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
    patterns: str = "random"
    """Memories: random, hadamard, correlated:RHO, digits, a .npy or .npz file, or a folder of PNG
    or JPEG images."""
    memories: int | None = None
    """How many memories (default: 4, or all that the source has)."""
    neurons: int | None = None
    """How many neurons (default: 1024, or as the source says)."""
    transpose: bool = False
    """A memory is a column of the .npy or .npz file, not a row."""
    image_shape: tuple[int, int] | None = None
    """Height and width: resizes images of a folder, and shows the memories of a file as images."""
    threshold: str | None = None
    """Grey level above which a pixel is +1: median (the default), mean or otsu of each image, or a
    number."""
    interaction: str = "power"
    """Interaction: quadratic, power:4, rectified_power:3, many_body:3, exponential:1, softmax:1 or
    simplicial:2=0.5,3=1; the number is the order (3), or the rate or beta (1)."""
    temperature: float = 0.0
    """Temperature of the neurons, which are signs."""
    update: Literal["parallel", "cyclic", "random"] = "parallel"
    """All neurons at once, or one after the other in this order."""
    start: float = 0.6
    """Overlap of the start with the memory whose signs are changed."""
    memory: int = 0
    """Which memory that is."""
    steps: int = 10
    """How many steps, each an update of every neuron."""
    seed: int = 0
    """Seed of random memories, of the changed signs and of the temperature."""
    model: pathlib.Path | None = None
    """A saved network in discrete time to run in place of one made from the options."""
    classes: pathlib.Path | None = None
    """A Python file with the class of that network, if it is not one of hopfax's; it is run."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: pathlib.Path | None = None
    """A TOML file with these settings; options on the command line win."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/run-<hash of the settings>)."""
    overwrite: bool = False
    """Replace the files of an earlier run in the output folder."""

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
