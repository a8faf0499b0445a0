"""`hopfax run`: one sequence of memories, beside what the theory says about it."""

import dataclasses
import pathlib
from typing import Any, ClassVar, Literal

import numpy as np

import hopfax as hx

from ..._serialise import notes
from .. import _options, _runs
from .._console import say
from .._families import Family
from .._folder import Folder
from .._limits import check_positive
from .._machine import Precision, precision
from .._memories import are_random, check_seed_used, memories_of
from .._models import check_alone, load_flow
from . import _other, _run_picture, _run_report
from ._networks import ACTIVATIONS, Activation, Readout
from ._run_result import Result, simulate

Learning = Literal["hebbian", "pseudo_inverse", "both"]
_BOTH = ("hebbian", "pseudo_inverse")
#: Options that say what the network is: not to be set where it comes from a file.
_OF_THE_MODEL = ("patterns", "memories", "neurons", "order", "kappa", "tau", "bias", "readout")
_OF_THE_MODEL += ("learning", "activation", "gain", "threshold", "transpose")


@dataclasses.dataclass(frozen=True)
class Run:
    """Simulate one sequence of memories and compare its switches with theory.

    The memories call each other in a cycle; a table lists when each switch took place and when it
    was predicted. Written are the trajectory, the network and a picture; memories that are images
    are shown along the sequence. Example: hopfax run --patterns digits --learning both
    """

    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    patterns: _options.SignSource = "hadamard"
    memories: _options.Memories = None
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    order: tuple[int, ...] = ()
    """The cycle as memory indices, e.g. 0 2 1 (default: all memories in turn)."""
    kappa: float = 5.0
    """Gain of the slow equation."""
    tau: float = 50.0
    """Slow over fast time constant."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions."""
    horizon: float | None = None
    """Length of the run in slow time constants (default: 10, or 1.6 for every memory)."""
    saliency0: tuple[float, ...] = (4.0,)
    """Start saliency of the cycle's first memory, or one value for every memory."""
    readout: Readout = "linear"
    """What the slow equation reads of an overlap."""
    learning: Learning = "hebbian"
    """Learning rule; both runs the two and shows them side by side."""
    activation: Activation = "hard_tanh"
    """Activation of the neurons."""
    gain: float = 1.0
    """Slope of the activation at the origin."""
    noise: _options.Noise = 0.0
    seed: int = 0
    """Seed of noise and of random patterns."""
    image_shape: _options.ImageShape = None
    threshold: str = "median"
    """Grey level above which a pixel is +1: median, mean or otsu of each image, or a number."""
    model: pathlib.Path | None = None
    """A saved network to run in place of one made from the options above; of another kind than
    two timescales it starts as --init says, and without them `horizon` is in fast ones."""
    classes: _options.Classes = None
    init: _options.AxisOptions = ()
    """NAME VALUE,VALUE,... of the start of a model of another kind, e.g. weights 0.6,0.3,0
    (default: memory 0); may be given again."""
    stimulus: tuple[float, ...] = ()
    """Coefficients of a stimulus in the memories, for such a model."""
    current: tuple[float, ...] = ()
    """Coefficients of a current in the memories, for such a model."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: _options.RunFolder = None
    picture: _options.Picture = "run.png"
    overwrite: _options.RunAgain = False

    #: Options that came later: settings from before do not have them.
    LATER: ClassVar[dict[str, Any]] = {"init": (), "stimulus": (), "current": ()}

    def __call__(self) -> int:
        """Run, print, write."""
        check_alone(self, _OF_THE_MODEL)
        check_seed_used(self.seed, bool(self.noise) or are_random(self.patterns))
        network = None if self.model is None else load_flow(self.model, self.classes)
        if network is not None and not isinstance(network, hx.TwoTimescaleHopfield):
            return _other.run(self)
        for name in ("init", "stimulus", "current"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` is for a `model` of another kind than two timescales, whose start "
                    "is `saliency0`; hopfax sweep takes it for any."
                )
        rules = _BOTH if self.learning == "both" and self.model is None else ("",)
        suffixes = [f"-{rule}" if rule else "" for rule in rules]
        models = [f"model{suffix}.hopfax" for suffix in suffixes]
        trajectories = [f"trajectory{suffix}.zarr" for suffix in suffixes]
        place = _runs.place_of(self, models, trajectories)
        with precision(self.precision):
            networks, shape = self._networks()
            command = self._noted()
            runs = {name: command._simulated(network) for name, network in networks.items()}
            for suffix, (name, run) in zip(suffixes, runs.items(), strict=True):
                _write(run, place, suffix, shape)
                say(_run_report.report(run, name))
            if shape is not None:
                say("\n".join(_run_report.explain(runs)) + "\n")
            place.draw(self.picture, _run_picture.draw(runs, shape))
        _runs.record(place, self)
        say(f"written to {place.path}")
        return 0

    def _networks(self) -> tuple[dict[str, Any], tuple[int, int] | None]:
        """The network for every learning rule, and the images' height and width if they are."""
        if self.model is not None:
            return {"model": load_flow(self.model, self.classes)}, self.image_shape
        memories, shape = memories_of(self, shown=True)
        order = self.order or tuple(range(memories.P))
        if sorted(set(order)) != sorted(order) or not set(order) <= set(range(memories.P)):
            raise ValueError(
                f"`order` must list different memories of 0..{memories.P - 1}, got {list(order)}."
            )
        transition = np.zeros((memories.P, memories.P))
        for current, following in zip(order, order[1:] + order[:1], strict=True):
            transition[following, current] = 1.0
        kind = ACTIVATIONS[self.activation]
        rules = _BOTH if self.learning == "both" else (self.learning,)
        networks = {
            rule: hx.TwoTimescaleHopfield(
                memories,
                transition,
                kappa=self.kappa,
                tau=self.tau,
                bias=self.bias,
                readout=self.readout,
                activation=kind() if self.gain == 1.0 else kind(self.gain),
                learning=rule,
            )
            for rule in rules
        }
        return networks, shape

    def _noted(self) -> "Run":
        """With start and horizon as the model's file notes them, where none are given."""
        if self.model is None:
            return self
        found, given = notes(self.model), {}
        for name, default in (("saliency0", (4.0,)), ("horizon", None)):
            if getattr(self, name) == default and name in found:
                value = found[name]
                given[name] = tuple(value) if isinstance(value, list) else value
        return dataclasses.replace(self, **given)

    def _simulated(self, network: hx.TwoTimescaleHopfield) -> Result:
        P = network.patterns.P
        horizon = max(10.0, 1.6 * P) if self.horizon is None else self.horizon
        check_positive("horizon", horizon)
        start = self._start(P, self.order[0] if self.order else 0)
        return simulate(network, start, horizon, self.noise, self.seed)

    def _start(self, P: int, first: int) -> np.ndarray:
        """The start saliencies of `P` memories."""
        given = np.asarray(self.saliency0, dtype=float)
        if not np.isfinite(given).all():
            raise ValueError(f"`saliency0` must be finite, got {list(self.saliency0)}.")
        if given.size == 1:
            return np.where(np.arange(P) == first, given, 0.0)
        if given.size != P:
            raise ValueError(
                f"`saliency0` must be one number or {P}, one a memory, got {given.size}."
            )
        return given


def _write(run: Result, place: Folder, suffix: str, shape) -> None:
    dataset = run.trajectory.to_xarray()
    dataset = dataset.drop_vars(dataset.data_vars.keys() & {"observed"})
    unit = {"units": "fast time constants"}
    for name, times in (("predicted_switch", run.predicted), ("predicted_escape", run.escapes)):
        dataset[name] = (name, times, unit)
    if shape is not None:
        frames = run.frames.reshape(-1, *shape)
        dataset["frame"] = (("frame_time", "row", "column"), frames, {"long_name": "firing rate"})
        dataset = dataset.assign_coords(frame_time=("frame_time", run.frame_times, unit))
    dataset.attrs["regime"] = run.regime
    place.write_zarr(f"trajectory{suffix}.zarr", dataset)
    place.write(f"model{suffix}.hopfax", lambda partial: hx.save(partial, run.network))
