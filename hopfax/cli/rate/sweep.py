"""`hopfax sweep --network rate`: which designs store memories stably, and runs over any axes."""

import dataclasses
import math
import pathlib
from typing import Any, ClassVar

import jax
import numpy as np

import hopfax as hx

from .. import _options, _output
from .._console import say
from .._families import Family
from .._limits import check_patterns, check_seed
from .._machine import Precision
from .._settings import FILE, options_from
from .._sweeping import DIAGRAM, announcement, check_diagram, chunk, mapped, noise_key
from . import _diagram, _options as own, _points, _runs
from ._networks import size_of

#: The store of simulations; that of the theory is `_output.STORE`.
SIMULATED = "simulated"
#: What is swept where nothing else is said.
_RANGES = {"threshold": (0.0, 1.0), "a": (-0.6, 0.6)}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Map where a rate memory is stable, over two of gain, threshold and the currents a and b.

    Two of --gain, --threshold, --a, --b are given as MIN MAX and swept; one number fixes a value.
    Without options: threshold 0 to 1 and a from -0.6 to 0.6, 128 x 96 points, by the exact theory
    of the balanced set, and on a coarser grid simulations that perturb a memory. Written are the
    dataset diagram.zarr, the picture diagram.png and settings.toml for --config. The same command
    goes on with a sweep that was interrupted, and reads one that is complete.
    Example: hopfax sweep --network rate --gain 1 12 --threshold 0 1 --a 0.1

    --axis NAME LO HI COUNT [log], given once or more, runs a network over anything instead: gain,
    threshold, a, b, cue (memory 0 at the start), input (to its active neurons), noise,
    init.weights[1], current.weights[1], stimulus.weights[0]; memories, neurons, q, correlation,
    active, pattern_seed, of which networks are made; learning or activation, by words; seed, of the
    noise. Written are the dataset sweep/ and the picture sweep.png.
    Example: hopfax sweep --network rate --axis cue 0 1 20 --axis noise 0,0.1 --patterns sparse
    """

    network: Family = "rate"
    """Family of networks; each has options of its own."""
    gain: tuple[float, ...] | None = None
    """Gain rho of the activation, its greatest slope (default: 4.8)."""
    threshold: tuple[float, ...] | None = None
    """Threshold current I* of the activation (default: 0 1, or 0.2 if two others are swept)."""
    a: tuple[float, ...] | None = None
    """Current of silent neurons (default: -0.6 0.6, or -0.3 if two others are swept)."""
    b: tuple[float, ...] | None = None
    """Current of active neurons (default: 0.95)."""
    points: tuple[int, ...] = (128, 96)
    """How many values of the two that are swept, in the order gain, threshold, a, b."""
    q: float = _points.ACTIVITY
    """Activity, the share of active neurons in a memory: 1/2, 1/3, 1/4, ..."""
    activation: _points.Kind = "logistic"
    """Activation from currents to rates."""
    axis: _options.AxisOptions = ()
    """NAME LO HI COUNT [log] or NAME VALUE,VALUE,...: sweeps this; may be given again. The options
    from here to `part` are for it."""
    patterns: own.RateSource = "balanced"
    memories: own.RateMemories = None
    transpose: _options.Transpose = False
    image_shape: _options.ImageSize = None
    grey: own.Grey = None
    active: own.Active = None
    learning: own.Learning = "projection"
    noise: float = 0.0
    """Strength of the noise on every neuron, of the same seed as random memories."""
    init: own.RateInit = ()
    current: own.Current = ()
    stimulus: own.Stimulus = ()
    horizon: float = 40.0
    """Length of a run in time constants of the neurons (or slow ones, of a model that has some)."""
    model: own.RateModel = None
    classes: _options.Classes = None
    store: _options.Store = None
    devices: _options.Devices = None
    dask: _options.Dask = None
    part: _options.Part = None
    input: float | None = None
    """Also find where this input to the active neurons of a memory leaves no other state of rest in
    its plane, so that a single memory is globally stable (some milliseconds a point). With --axis:
    a current of this size to these neurons."""
    simulate: tuple[int, int] = (12, 10)
    """How many values along each axis are simulated, too; 0 0 for none."""
    neurons: int | None = None
    """Neurons of simulations, a multiple of 1/q^2 (default: about 1000); the theory is exact for
    any number."""
    seed: int = 0
    """Seed of the perturbations."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: _options.SweepFolder = None
    overwrite: _options.SweepAgain = False
    resume: _options.Resume = False
    chunk: _options.Chunk = None
    dry_run: _options.DryRun = False

    #: Options that came later: settings from before do not have them.
    LATER: ClassVar[dict[str, Any]] = {
        **{"axis": (), "patterns": "balanced", "learning": "projection", "noise": 0.0},
        **{"init": (), "current": (), "stimulus": (), "horizon": 40.0},
    }

    def __call__(self) -> int:
        """Compute, go on with or find the diagram, draw it, print the table."""
        if self.axis:
            return _runs.sweep(self)
        self._check()
        return mapped(self, self._dry, self._stores, self._run, _diagram.report)

    def _dry(self) -> str:
        """What it takes."""
        beside = math.prod(self.simulate)
        more = f"and {beside} simulations of {self.size()} neurons" if beside else ""
        return f"{self._plan()}\n{more}"

    def _plan(self) -> Any:
        return hx.sweep_plan(self.theory(), self.grid(), **chunk(self))

    def values(self) -> dict[str, tuple[float, ...]]:
        """What is asked for each value, with the defaults."""
        given = {name: getattr(self, name) for name in _points.VALUES}
        swept = sum(value is not None and len(value) > 1 for value in given.values())
        for name, value in given.items():
            if value is None:
                asked = _RANGES.get(name) if swept < 2 else None
                given[name] = (_points.REFERENCE[name],) if asked is None else asked
                swept += asked is not None
        return given

    def grid(self) -> dict[str, np.ndarray]:
        """The grid; what is fixed is an axis of one value."""
        counts = iter(self.points)
        return {
            name: np.linspace(value[0], value[-1], next(counts))
            if len(value) > 1
            else np.array(value)
            for name, value in self.values().items()
        }

    def coarse_grid(self) -> dict[str, np.ndarray]:
        """The points that are simulated."""
        counts = iter(self.simulate)
        return {
            name: _some(axis, next(counts)) if axis.size > 1 else axis
            for name, axis in self.grid().items()
        }

    def size(self) -> int:
        """Neurons of simulations."""
        return size_of(self.q, self.neurons)

    def asked(self) -> dict[str, Any]:
        """What the reader of the diagram needs to know, as attributes."""
        found = {"activation": self.activation, "q": self.q, "neurons": self.size()}
        return found if self.input is None else found | {"input": self.input}

    def _check(self) -> None:
        check_diagram(self, _runs.OWN, "balanced")
        for name in _points.VALUES:
            value = getattr(self, name)
            if value is None:
                continue
            listed = " ".join(f"{number:g}" for number in value)
            fine = len(value) in (1, 2) and all(math.isfinite(number) for number in value)
            if not fine or (len(value) == 2 and value[0] >= value[1]):
                raise ValueError(
                    f"`{name}` must be one finite number or MIN MAX to be swept, got {listed}."
                )
            if name == "gain" and value[0] <= 0:
                raise ValueError(f"`gain` must be above 0, got {listed}.")
        swept = [name for name, value in self.values().items() if len(value) > 1]
        if len(swept) != 2:
            raise ValueError(
                "two of `gain`, `threshold`, `a` and `b` must be given as MIN MAX, to be swept, "
                f"got {' and '.join(swept) if len(swept) < 3 else ', '.join(swept)}."
            )
        inverse = round(1 / self.q) if 0 < self.q < 1 else 0
        if inverse < 2 or abs(1 / self.q - inverse) > 1e-9:
            raise ValueError(f"`q` must be 1/2, 1/3, 1/4, ..., got {self.q:g}.")
        if self.neurons is not None and (self.neurons < 1 or self.neurons % inverse**2):
            raise ValueError(
                f"`neurons` must be a multiple of 1/q^2 = {inverse**2}, got {self.neurons}."
            )
        if self.input is not None and not math.isfinite(self.input):
            raise ValueError(f"`input` must be finite, got {self.input:g}.")
        if min(self.simulate) < 0:
            raise ValueError(f"`simulate` must not be negative, got {self.simulate}.")
        for name in ("neurons", "seed"):
            if getattr(self, name) and not math.prod(self.simulate):
                raise ValueError(f"`{name}` is for simulations, and --simulate 0 0 makes none.")
        check_seed(self.seed, 0)
        if math.prod(self.simulate):
            check_patterns(inverse + 1, self.size())
        _output.check(self)

    def theory(self) -> _points.Storage:
        """What is computed at every point."""
        return _points.Storage(self.activation, self.q, self.input)

    def simulation(self) -> _points.Perturbed:
        """What is simulated at some."""
        return _points.Perturbed(self.activation, self.q, self.size(), self.seed)

    def _stores(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The store of the theory, and that of simulations if there are any."""
        simulated = [folder / SIMULATED] * bool(math.prod(self.simulate))
        return [folder / _output.STORE, *simulated]

    def _run(self, output: _output.Output, stores: list[pathlib.Path]) -> tuple[Any, bool]:
        """Compute what the stores lack, theory and simulation; both in a dataset, and whether any
        of it was missing."""
        fresh = self.overwrite or not _output.complete(*stores)
        if fresh:
            more = f", and {beside} simulations" if (beside := math.prod(self.simulate)) else ""
            say(f"{announcement(self._plan(), self.points)}{more}\n")
        how: dict[str, Any] = dict(overwrite=self.overwrite, on_failure="ignore")
        with output.computing(stores[0], (DIAGRAM,)):
            resume: Any = "must" if self.resume else "auto"
            more = how | chunk(self)
            found = hx.sweep(self.theory(), self.grid(), store=stores[0], resume=resume, **more)
            beside = None
            for store in stores[1:]:
                beside = hx.sweep(self.simulation(), self.coarse_grid(), store=store, **how)
            if self.overwrite and len(stores) == 1:  # simulations of an earlier sweep
                _output.remove_store(output.folder / SIMULATED)
        return _diagram.together(found, beside, self.asked()), fresh


def again(folder: pathlib.Path) -> Any:
    """What is computed again of the sweep in a folder: its runs, or of a diagram, which is theory,
    simulations that begin near a memory."""
    asked = options_from(folder / FILE, "sweep", Sweep)
    from .._reports import Again  # late: it takes all of hopfax.plots along

    wide = asked.precision == "float64"
    with jax.enable_x64(wide):
        if asked.axis:
            grid = _runs.grid_of(asked)
            return Again(_runs.task_of(asked, grid), noise_key(asked, grid), grid, wide)
        text = (
            "The map is the theory of the memories' stability. The runs are simulations of "
            f"{asked.size()} neurons that begin within {_points.NUDGE:g} of memory 0."
        )
        point = _points.Nudged(asked.simulation())
        return Again(point, None, asked.grid(), wide, 200, (text,))


def _some(values: np.ndarray, number: int) -> np.ndarray:
    """About `number` of the values, evenly spread, away from the ends."""
    number = min(number, len(values))
    places = (np.arange(number) + 0.5) * len(values) / number - 0.5
    return values[np.unique(places.round().astype(int))]


def stored(place: pathlib.Path, folder: pathlib.Path) -> Any:
    """The diagram in a folder that this command wrote to, or what is there of an unfinished one.

    **Raises:** StoreError if there is none.
    """
    if (folder / DIAGRAM).is_dir():
        return _output.open_zarr(folder, DIAGRAM)
    if not _output.is_store(folder / _output.STORE):
        return _output.open_store(place)
    asked, beside = options_from(folder / FILE, "sweep", Sweep), None
    if asked.axis:
        return _runs.labelled(_output.open_store(folder))
    if math.prod(asked.simulate) and _output.is_store(folder / SIMULATED):
        beside = _output.open_store(folder / SIMULATED)
    return _diagram.together(_output.open_store(folder), beside, asked.asked())
