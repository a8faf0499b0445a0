"""`hopfax run --network rate`: one run of a firing-rate memory."""

import dataclasses
import math
import pathlib
from typing import Literal

import jax

from .. import _runs
from .._axes import AxisOptions
from .._families import Family
from .._machine import Precision, precision
from .._models import check_alone
from . import _networks, _points
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
    patterns: str = "balanced"
    """Memories: balanced, sparse (independent, of activity q), or active neurons from hadamard,
    random, correlated:RHO (signs), digits, a .npy or .npz file (positive entries) or a folder of
    PNG or JPEG images (bright pixels)."""
    memories: int | None = None
    """How many memories (default: 1 + 1/q balanced ones, 4, or all that the source has)."""
    neurons: int | None = None
    """How many neurons (default: about 1000, or as the source says)."""
    transpose: bool = False
    """A memory is a column of the .npy or .npz file, not a row."""
    image_shape: tuple[int, int] | None = None
    """Height and width: resizes images of a folder, and shows the memories of a file as images."""
    grey: str | None = None
    """Grey level above which a pixel is active: median (the default), mean or otsu of each image,
    or a number."""
    active: float | None = None
    """Share of neurons that are active in memories from images and files, those with the greatest
    values, so that all have one activity (default: by `grey`, or by sign)."""
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
    learning: Literal["projection", "covariance", "pseudo_inverse"] = "projection"
    """Design of the weights; pseudo_inverse holds memories of different activities."""
    init: AxisOptions = ()
    """NAME VALUE,VALUE,... of a start, e.g. weights 0.6,0.3,0 (default: memory 0 at half its
    rates); may be given again."""
    input: float | None = None
    """A current to the active neurons of memory 0."""
    current: tuple[float, ...] = ()
    """Coefficients of a current in the memories, e.g. 0.1 0 0."""
    stimulus: tuple[float, ...] = ()
    """Coefficients of a stimulus in the memories; the synapses then follow it (input-driven
    plasticity)."""
    noise: float = 0.0
    """Strength of the noise on every neuron."""
    horizon: float = 40.0
    """Length of the run in time constants of the neurons (or slow ones, of a model that has
    some)."""
    seed: int = 0
    """Seed of noise and of random memories."""
    model: pathlib.Path | None = None
    """A saved network, of any kind in continuous time, in place of one made from the options."""
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
            noise = self.noise or None
            key = None if noise is None else jax.random.key(self.seed)
            run = _runs.flow(network, state, self.horizon, noise=noise, key=key, **inputs)
            return _runs.finish(run, place, shape, self)
