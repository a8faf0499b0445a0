"""`hopfax sweep`: the phase diagram of a two-timescale network."""

import contextlib
import dataclasses
import math
import pathlib
import time
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np

import hopfax as hx

from ...observables import REGIMES
from .. import _output
from .._ahead import ahead
from .._axes import AxisOptions
from .._console import number, say, table
from .._families import Family
from .._limits import check_points
from .._machine import Precision, host_devices, precision
from .._memories import digest, named, path_of
from .._models import check_alone, load_flow
from .._picture import check
from .._sweeping import Work, outcomes
from . import _sweep_task
from ._networks import activation_of
from ._run_result import ORTHOGONAL, crosstalk

PICTURE = "phase_diagram.png"
_ASPECT = 1.6  # gains for every start saliency


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Map what a cycle of memories does over its gain and start saliency, or over any axes.

    --axis NAME LO HI COUNT [log], given once or more, sweeps anything instead: kappa, tau, bias,
    saliency (of memory 0 at the start), noise, current, gain, transition[i,i], transition[1,0];
    memories, neurons, correlation, pattern_seed, of which networks are made, one after the other;
    learning, readout or activation, by words (--axis learning hebbian,pseudo_inverse); seed, of
    the noise.

    Without options: 4 Hadamard memories in 1024 neurons, timescales 100 apart, 10,240 runs. Written
    are the dataset sweep/, the picture phase_diagram.png and settings.toml for --config. The same
    command goes on with a sweep that was interrupted, and reads one that is complete.
    A million runs: hopfax sweep --points 1000000 (--dry-run first tells what it takes).
    """

    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    patterns: str = "hadamard"
    """Memories: hadamard, random, correlated:RHO (signs that overlap by RHO on average), digits
    (scikit-learn's 8 x 8 digits, one of each), a .npy or .npz file, or a folder of PNG or JPEG
    images."""
    memories: int | None = None
    """How many memories (default: 4, or all that the source has)."""
    neurons: int | None = None
    """How many neurons (default: 1024, or as the source says)."""
    transpose: bool = False
    """A memory is a column of the .npy or .npz file, not a row."""
    image_shape: tuple[int, int] | None = None
    """Height and width to which images of a folder are resized."""
    threshold: str | None = None
    """Grey level above which a pixel is +1: median (the default), mean or otsu of each image, or a
    number."""
    seed: int = 0
    """Seed of random patterns."""
    axis: AxisOptions = ()
    """NAME LO HI COUNT [log] or NAME VALUE,VALUE,...: sweeps this; may be given again."""
    kappa: tuple[float, ...] = (2.5, 6.5)
    """Least and largest gain; with --axis one number (5)."""
    saliency: tuple[float, ...] = (1.02, 3.0)
    """Least and largest start saliency of memory 0, with --axis one number (4); the other memories
    start at 0."""
    points: tuple[int, ...] = (128, 80)
    """How many gains and how many start saliencies, or how many runs in all."""
    tau: float = 100.0
    """Slow over fast time constant."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions."""
    horizon: float = 20.0
    """Length of a run in slow time constants."""
    readout: Literal["linear", "abs", "square", "relu"] = "linear"
    """What the slow equation reads of an overlap."""
    learning: Literal["hebbian", "pseudo_inverse"] = "hebbian"
    """Learning rule; pseudo_inverse undoes correlations between memories."""
    activation: str = "hard_tanh"
    """Activation of the neurons, hard_tanh, tanh, erf, rational or arctan, with a gain: tanh:4."""
    noise: float = 0.0
    """Strength of the noise on every neuron, of the same seed as random patterns."""
    init: AxisOptions = ()
    """NAME VALUE,VALUE,... of a start, e.g. weights 0.6,0.3,0 (default: memory 0); may be given
    again."""
    stimulus: tuple[float, ...] = ()
    """Coefficients of a stimulus in the memories, e.g. 2 0 0."""
    current: tuple[float, ...] = ()
    """Coefficients of a current in the memories."""
    model: pathlib.Path | None = None
    """A saved network, of any kind in continuous time, in place of one made from the options above;
    without a slow time constant `horizon` is in fast ones."""
    classes: pathlib.Path | None = None
    """A Python file with the class of that network, if it is not one of hopfax's; it is run."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: pathlib.Path | None = None
    """A TOML file with these settings; options on the command line win."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/sweep-<hash of the settings>)."""
    store: pathlib.Path | None = None
    """Folder of the dataset (default: sweep, in the output folder)."""
    overwrite: bool = False
    """Compute again and replace an earlier result in the output folder."""
    resume: bool = False
    """Insist on going on with a sweep that is there already."""
    devices: int | None = None
    """How many devices to use (default: all); more than one of a CPU are made when asked for."""
    dask: str | None = None
    """Address of a Dask scheduler whose workers, seeing the same folder, do the work."""
    part: tuple[int, int] | None = None
    """K N: do only the K-th of N parts (K from 0), for the tasks of a job array."""
    chunk: int | None = None
    """About how many runs are stored at a time (default: what takes some seconds)."""
    dry_run: bool = False
    """Only say how long it would take and how large the result would be."""

    #: Options that came later: settings from before do not have them.
    LATER: ClassVar[dict[str, Any]] = {
        **{"axis": (), "activation": "hard_tanh", "noise": 0.0},
        **{"init": (), "stimulus": (), "current": ()},
    }

    def __call__(self) -> int:
        """Compute, go on with or find the dataset, draw it, print the table."""
        return _sweep_task.fixed(self)._swept() if self.axis else self._swept()

    def _swept(self) -> int:
        self._check()
        check()  # rather now than after the computation
        if self.devices is not None:
            host_devices(self.devices)
        with precision(self.precision):
            memories = self._memories()
            output = self._place(memories)
            store = self.store or output.folder / _output.STORE
            task = self._work(*self.task(memories))
            if self.dry_run:
                say(str(task.plan()))
                return 0
            output.check([store], PICTURE)
            complete, start = not self.overwrite and _output.complete(store), time.perf_counter()
            work = _output.was_read(store)
            soon = contextlib.nullcontext()
            if not complete and self.part is None:  # of a part nothing is drawn
                soon = ahead(partial(theory_ahead, memories, self))
            with soon:
                if not complete:
                    gains = "" if self.axis else f", {gains_and_starts(self.points)[0]:,} gains"
                    task.announce(store, gains)
                dataset = task.compute(store, output)
            if not complete:
                work = _output.was_computed(dataset, "runs", start)
            if (dataset["status"] == -1).any():
                say(self._part_done(output))
                return 0
            dataset = dataset.load()
            hints = [] if memories is None or self.axis else advice(memories, dataset, self)
        with precision("float64"):  # the theory, whatever the runs had
            tables = "\n".join([report(dataset, memories, self), *hints])
            output.finish(dataset, tables, work, PICTURE, f"{PICTURE}, settings.toml; {store}")
        return 0

    def _check(self) -> None:
        for name in ("kappa", "saliency"):
            value = getattr(self, name)
            said = " ".join(f"{number:g}" for number in value)
            fine = len(value) == (1 if self.axis else 2) and all(map(math.isfinite, value))
            if not fine or (len(value) == 2 and value[0] >= value[1]):
                raise ValueError(f"`{name}` needs finite MIN < MAX, got {said}.")
        check_alone(self, _sweep_task.OF_THE_MODEL, (_sweep_task.KAPPA,))
        activation_of(self.activation)
        if not (0 <= self.noise < math.inf):
            raise ValueError(f"`noise` must be finite and >= 0, got {self.noise:g}.")
        listed = " ".join(map(str, self.points))
        enough = len(self.points) in (1, 2) and min(self.points) > 0
        check_points(self.points)
        if not enough or min(gains_and_starts(self.points)) < 2:
            raise ValueError(
                f"`points` must be two numbers of at least 2 or one of at least 4, got {listed}."
            )
        for name in ("tau", "horizon"):
            value = getattr(self, name)
            if not (0 < value < math.inf):
                raise ValueError(f"`{name}` must be finite and > 0, got {value:g}.")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"`part` must be K N with 0 <= K < N, got {self.part}.")
        if self.part is not None and self.overwrite:
            raise ValueError("`overwrite` with `part` would remove what the other parts did.")
        if self.devices is not None and self.dask is not None:
            raise ValueError("`devices` are those of this process; leave them out with `dask`.")
        _output.check(self)
        if not math.isfinite(self.bias):
            raise ValueError(f"`bias` must be finite, got {self.bias:g}.")

    def _memories(self) -> hx.Patterns:
        """The memories, at least two of them."""
        if self.model is not None:
            return load_flow(self.model, self.classes).patterns
        return _sweep_task.cycle_memories(self)

    def _place(self, memories: hx.Patterns) -> _output.Output:
        """The output folder; its settings say also which memories they meant."""
        other = {}
        if not named(self.patterns):
            other["patterns"] = str(path_of(self.patterns).resolve())
        for name in ("model", "classes"):
            if (file := getattr(self, name)) is not None:
                other[name] = str(file.resolve())
        sha = digest(memories.xi)[:16]
        which = f"memories: {memories.P} of {memories.N} neurons, sha256 {sha}"
        return _output.Output.of(self, which, **other)

    def task(self, memories: Any) -> tuple[Any, dict[str, Any]]:
        """The point, or the recipe of several, and the grid."""
        if self.axis:
            grid = _sweep_task.grid_of(self)
            return _sweep_task.task(self, memories, grid), grid
        gains, starts = gains_and_starts(self.points)
        return _sweep_task.point(self, memories), {
            "kappa": np.linspace(self.kappa[0], self.kappa[1], gains),
            "init.saliency[0]": np.linspace(self.saliency[0], self.saliency[1], starts),
        }

    def key(self) -> Any:
        """The key of noise, if there is any."""
        noisy = bool(self.noise) or any(name == "noise" for name, *_ in self.axis)
        return jax.random.key(self.seed) if noisy else None

    def _work(self, point: Any, grid: dict[str, Any]) -> Work:
        """What `hopfax.sweep` computes, and how."""
        how = ("chunk", "devices", "dask", "part", "overwrite", "resume")
        return Work(point, grid, self.key(), **{name: getattr(self, name) for name in how})

    def _part_done(self, output: _output.Output) -> str:
        assert self.part is not None
        return (
            f"part {self.part[0]} of {self.part[1]} is done, others are not yet. When all are, "
            f"this draws the result:\n{output.again}"
        )


def stored(place: pathlib.Path, folder: pathlib.Path) -> Any:
    """The dataset at a place in a folder that this command wrote to.

    **Raises:** StoreError if there is none.
    """
    del folder  # the place tells it
    return _output.open_store(place)


def gains_and_starts(points: tuple[int, ...]) -> tuple[int, int]:
    """How many gains and start saliencies make so many runs, if need be (a prime) a few less."""
    if len(points) != 1:
        return points[0], points[-1]
    total = points[0]
    middle = max(round(math.sqrt(total * _ASPECT)), 1)
    near = sorted(range(middle // 2, 2 * middle), key=lambda gains: abs(gains - middle))
    gains = next((gains for gains in near if gains and total % gains == 0), middle)
    return gains, total // gains


def report(dataset: Any, memories: Any, settings: Sweep) -> str:
    """Thresholds of a cycle, measured and predicted, and the count of every regime."""
    parts = [] if settings.axis else [_thresholds(dataset, memories, settings)]
    return "\n\n".join([*parts, outcomes(dataset)])


def _thresholds(dataset: Any, memories: Any, settings: Sweep) -> str:
    """The table of thresholds of the gain."""
    name = f"measured from z_0(0) = {settings.saliency[1]:g}, within {settings.horizon:g} tau"
    rows = [(name, threshold(dataset)), *predictions(memories, settings)]
    return table(("threshold of the gain kappa", ""), rows)


def predictions(memories: Any, settings: Sweep) -> list[tuple[str, str]]:
    """Critical gains by the theory, as rows of the table: those whose assumptions hold."""
    theory, P = hx.theory.sequential, memories.P
    apart, rows = crosstalk(memories) < ORTHOGONAL, []
    if not _derived(apart, settings):
        return [("theory: no prediction is derived for these settings", "-")]
    name = f"theory, P = {P}, tau = {settings.tau:g}, bias {settings.bias:g}"
    if not apart or theory.domain(P, settings.tau, settings.bias):
        rows.append((f"{name}: no prediction is derived", "-"))
    else:
        gain = theory.critical_gain(P, tau=settings.tau, bias=settings.bias)
        error = theory.error_band(settings.bias)
        rows.append((f"{name}, to {number(error, 2)}", number(gain, 3)))
    rows.append((f"theory, P = {P}, tau -> infinity", number(theory.critical_gain(P), 3)))
    endless = number(theory.critical_gain(), 3)
    return [*rows, ("theory, P -> infinity, tau -> infinity", endless)]


def _derived(apart: bool, settings: Sweep) -> bool:
    """Whether there is a theory for the settings, with memories that are orthogonal or not."""
    plain = settings.activation == "hard_tanh" and not settings.noise and settings.model is None
    driven = settings.init or settings.stimulus or settings.current
    plain = plain and settings.readout == "linear" and not driven
    return plain and (apart or settings.learning == "pseudo_inverse")


def theory_ahead(memories: Any, settings: Sweep) -> None:
    """Evaluate the theory that table and picture of the default axes will show, the same functions
    at as many gains, so that it is traced and compiled."""
    from ...plots import _cycle, _sweeps  # late: it takes all of hopfax.plots along

    apart = not settings.axis and crosstalk(memories) < ORTHOGONAL
    if settings.axis or not _derived(apart, settings):
        return
    predictions(memories, settings)
    cycle = _cycle.Cycle(memories.P, settings.tau, settings.bias, apart)
    _cycle.edges_of(cycle, settings.kappa[1])
    _sweeps.predicted_dwells(cycle, settings.kappa[1])


def advice(memories: Any, dataset: Any, settings: Sweep) -> list[str]:
    """What a reader should know of these memories, as lines after the table."""
    gram = np.array(memories.gram(), dtype=float)
    size = crosstalk(memories)
    lines = []
    if size > ORTHOGONAL and settings.learning == "hebbian":
        lines.append(
            f"\nThe memories overlap by up to {size:.3f}; the theory is for orthogonal ones "
            "(--learning pseudo_inverse)."
        )
    if (dataset["regime"].values == REGIMES.index("sequence")).any():
        return lines
    following = np.diagonal(np.roll(gram, -1, axis=0))  # overlap of each memory with the next
    if settings.bias == 0 and size <= ORTHOGONAL:
        lines.append("\nNo run is a sequence: nothing seeds the transitions (--bias 0.01).")
    elif settings.readout == "linear" and settings.learning == "hebbian" and following.min() < 0:
        lines.append(
            "\nNo run is a sequence. Neighbours on the cycle overlap negatively, which retrieves\n"
            "the next memory with the wrong sign; --readout abs or --learning pseudo_inverse helps."
        )
    return lines


def threshold(dataset: Any) -> str:
    """The gain from which on the largest start saliency sustains the sequence, and its accuracy.

    Every larger gain of the grid sustains it as well; the one a grid step below does not.
    """
    from ...plots._sweeps import largest_start  # late: it takes all of hopfax.plots along

    row = largest_start(dataset)
    kappa = row["kappa"].values
    lasting = row["regime"].values == REGIMES.index("sequence")
    first = len(kappa) - int(np.argmin(lasting[::-1])) if not lasting.all() else 0
    if first == 0:
        return f"below {kappa[0]:.3f}"
    if first == len(kappa):
        return "none: the largest kappa does not sustain it"
    return f"{kappa[first]:.3f} (grid step {kappa[first] - kappa[first - 1]:.3f})"
