"""`hopfax sweep`: the phase diagram of a two-timescale network."""

import dataclasses
import math
import pathlib
from typing import Any, ClassVar, Literal

import jax
import numpy as np

import hopfax as hx

from ...observables import REGIMES
from .. import _options, _output
from .._console import number, table
from .._families import Family
from .._limits import check_noise, check_points, check_positive
from .._machine import Precision
from .._memories import absolute, are_random, check_seed_used, described
from .._models import check_alone, load_flow
from .._settings import options_from
from .._sweeping import Work, check_where, noise_key, outcomes, swept
from . import _sweep_task
from ._exact import Exact, with_threshold
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
    are the dataset sweep/, the picture phase_diagram.png, in which the exact threshold is a solid
    line beside the theory (threshold.json), and settings.toml for --config. The same
    command goes on with a sweep that was interrupted, and reads one that is complete.
    A million runs: hopfax sweep --points 1000000 (--dry-run first tells what it takes).
    """

    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    patterns: _options.SignSource = "hadamard"
    memories: _options.Memories = None
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    image_shape: _options.ImageSize = None
    threshold: _options.Threshold = None
    seed: int = 0
    """Seed of random patterns."""
    axis: _options.AxisOptions = ()
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
    init: _options.Init = ()
    stimulus: tuple[float, ...] = ()
    """Coefficients of a stimulus in the memories, e.g. 2 0 0."""
    current: tuple[float, ...] = ()
    """Coefficients of a current in the memories."""
    model: pathlib.Path | None = None
    """A saved network, of any kind in continuous time, in place of one made from the options above;
    without a slow time constant `horizon` is in fast ones."""
    classes: _options.Classes = None
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: _options.SweepFolder = None
    store: _options.Store = None
    overwrite: _options.SweepAgain = False
    resume: _options.Resume = False
    devices: _options.Devices = None
    dask: _options.Dask = None
    part: _options.Part = None
    chunk: _options.Chunk = None
    dry_run: _options.DryRun = False

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
        return swept(self, self._work)

    def _check(self) -> None:
        for name in ("kappa", "saliency"):
            value = getattr(self, name)
            said = " ".join(f"{number:g}" for number in value)
            fine = len(value) == (1 if self.axis else 2) and all(map(math.isfinite, value))
            if not fine or (len(value) == 2 and value[0] >= value[1]):
                raise ValueError(f"`{name}` needs finite MIN < MAX, got {said}.")
        check_alone(self, _sweep_task.OF_THE_MODEL, (_sweep_task.KAPPA,))
        activation_of(self.activation)
        check_noise(self.noise)
        listed = " ".join(map(str, self.points))
        enough = len(self.points) in (1, 2) and min(self.points) > 0
        check_points(self.points)
        if not enough or min(gains_and_starts(self.points)) < 2:
            raise ValueError(
                f"`points` must be two numbers of at least 2 or one of at least 4, got {listed}."
            )
        for name in ("tau", "horizon"):
            check_positive(name, getattr(self, name))
        axes = [name for name, *_ in self.axis]
        drawn = are_random(self.patterns) or "correlation" in axes
        check_seed_used(self.seed, drawn or bool(self.noise) or "noise" in axes)
        check_where(self)
        if not math.isfinite(self.bias):
            raise ValueError(f"`bias` must be finite, got {self.bias:g}.")

    def _memories(self) -> hx.Patterns:
        """The memories, at least two of them."""
        if self.model is not None:
            return load_flow(self.model, self.classes).patterns
        return _sweep_task.cycle_memories(self)

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
        return noise_key(self, [name for name, *_ in self.axis])

    def _work(self) -> Work:
        memories = self._memories()
        output = _output.Output.of(self, described(memories), **absolute(self))
        task, grid = self.task(memories)
        gains = "" if self.axis else f", {gains_and_starts(self.points)[0]:,} gains"
        exact = Exact(self, memories, output)

        def tables(dataset: Any) -> str:
            hints = [] if self.axis else advice(memories, dataset, self)
            return "\n".join([report(dataset, memories, self), "", exact.line(), *hints])

        def soon() -> None:
            theory_ahead(memories, self)
            exact.compute()

        made: dict[str, Any] = dict(words=_sweep_task.WORDS, of=gains, soon=soon)
        return Work(self, task, grid, self.key(), output, PICTURE, exact.onto, tables, **made)


def stored(place: pathlib.Path, folder: pathlib.Path) -> Any:
    """The dataset at a place in a folder that this command wrote to, with the exact threshold.

    **Raises:** StoreError if there is none.
    """
    return with_threshold(_output.open_store(place), folder)


def again(folder: pathlib.Path) -> Any:
    """What the sweep in a folder computed, by its settings, to be computed again."""
    from .._reports import Again  # late: it takes all of hopfax.plots along

    asked = options_from(folder / _output.FILE, "sweep", Sweep)
    asked = _sweep_task.fixed(asked) if asked.axis else asked
    wide = asked.precision == "float64"
    with jax.enable_x64(wide):
        task, grid = asked.task(asked._memories())
        return Again(task, asked.key(), grid, wide)


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
