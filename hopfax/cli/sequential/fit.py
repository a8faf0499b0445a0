"""`hopfax fit`: from a table of events to a network that shows them."""

import dataclasses
import pathlib
import shlex
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import hopfax as hx

from ..._errors import warn
from ..._fit._memory import branches, skipped
from ..._fit._result import undetermined
from ...losses._tables import read_table
from .. import _interrupt, _options
from .._console import say
from .._families import Family
from .._folder import Folder
from .._machine import Precision, precision
from .._memories import are_random, check_seed_used, memories_of
from .._output import default_folder, option
from .._picture import new_figure, require
from .._settings import settings
from . import _fit_picture

Parameter = Literal["transition", "kappa", "tau", "bias"]
Strategy = Literal["auto", "design", "surrogate", "gradient"]
Memory = Literal["auto", "transition", "contexts", "suffixes"]

_GAP = 10  # mean dwells: a stay that long is named
_SHELL = {"`path`": "PATH", "`first` = ": "--first ", "let `join` do it": "use --join"}
_EVENTS = 2000  # of all targets that a model notes
_DWELL = 1.3  # slow time constants that a mean dwell lasts, where the unit is left to us


@dataclasses.dataclass(frozen=True)
class Fit:
    """Fit a network to an observed sequence of memories, and prove it by simulation.

    The file holds events: columns time and memory (an index or a name), and sequence if several. A
    row says when a memory was entered; a last row without a memory says when the last one gave way.
    The network is written with its start, so that `hopfax run --model FILE` replays it. Example:
    hopfax fit targets.csv --patterns digits --learning pseudo_inverse --out model.eqx
    """

    targets: Annotated[pathlib.Path, tyro.conf.Positional]
    """CSV file with columns time, memory [, sequence]."""
    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    parameters: tuple[Parameter, ...] = ("transition",)
    """What is fitted."""
    strategy: Strategy = "auto"
    """How to find a start; see hopfax.fit_sequence."""
    memory: Memory = "auto"
    """What tells where in a sequence the network is: its transitions alone, a memory for every item
    in each of its contexts, or (with order-only, to predict) for each suffix of a history that
    matters; auto takes the least that does, and says why."""
    cycle: bool = False
    """The sequence repeats for ever (its file then ends with a row without a memory)."""
    first: Literal[0, 1] | None = None
    """Whether the file's indices count from 0 or from 1 (default: 0; where the file names all of 1
    to K and never 0, it must be said)."""
    join: bool = False
    """Join rows in which a memory follows itself to one longer stay."""
    order_only: bool = False
    """Ignore the times."""
    unit: float | None = None
    """Fast time constants in one unit of the file's times (default: so that a mean dwell lasts
    1.3 slow time constants)."""
    sigma: float | None = None
    """Standard deviation of the file's times, in their unit (default: from the misfit)."""
    saliency0: tuple[float, ...] = ()
    """Start saliency of every memory, where it is known (default: part of the fit)."""
    patterns: str = "hadamard"
    """Memories: hadamard, random, digits (scikit-learn's 8 x 8 digits, one of each), a .npy,
    .npz or .csv file, or a folder of PNG or JPEG images."""
    memories: int | None = None
    """How many memories (default: as the file needs, or all that the source has)."""
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    kappa: float = 5.0
    """Gain of the slow equation (the start, if it is fitted)."""
    tau: float = 50.0
    """Slow over fast time constant (the start, if it is fitted)."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions (the start, if it is fitted)."""
    learning: Literal["hebbian", "pseudo_inverse"] = "hebbian"
    """Learning rule; pseudo_inverse for memories that overlap, such as images."""
    image_shape: _options.ImageSize = None
    threshold: str = "median"
    """Grey level above which a pixel is +1: median, mean or otsu of each image, or a number."""
    seed: int = 0
    """Seed of random patterns."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    out: pathlib.Path | None = None
    """The model's file (default: hopfax-out/fit-<hash of the settings>/model.eqx). Beside it are
    written model.png, the replay, and, if times were fitted, model-fit.png with residuals and
    errors."""
    overwrite: bool = False
    """Replace an earlier model."""

    def __call__(self) -> int:
        """Fit, prove, write. Status 1 if the target is not reproduced, 130 after Ctrl-C, which
        writes the best so far."""
        file = self.out or default_folder("fit", settings(self)) / "model.eqx"
        if file.suffix == ".png":
            raise ValueError(f"`out`: {file} is where the picture goes; use another ending.")
        place, picture = Folder(file.parent, self.overwrite), file.with_suffix(".png").name
        closely = f"{file.stem}-fit.png"
        place.check(file.name, picture, closely)
        require("hopfax fit")  # rather now than after the computation
        with precision(self.precision):
            targets, unit, read = self._events()
            network, options = self._network(targets), self._options(unit)
            read += _branches(targets) if self.memory == "auto" else []
            for line in read:  # an option at fault is said before anything else
                say(line)
            with _interrupt.once():
                found = hx.fit_sequence(network, targets, **options)
            say(str(found))
            # What is open where all of a matrix is free, stands in the report.
            if found.fit is not None and found.known is None:
                if (open_ := undetermined(found.fit)) is not None:
                    warn(open_, hx.FitWarning)
            for k, row in enumerate(np.asarray(found.saliency)):
                start = " ".join(f"{value:.6g}" for value in row)
                say(f"start of sequence {k}: saliency0 {start}")
            if found.memory != "transition":
                say(f"its memories show {' '.join(map(str, np.asarray(found.items)))}")
            notes = {
                "items": np.asarray(found.items).tolist(),
                "saliency0": np.asarray(found.saliency)[0].tolist(),
                "horizon": _fit_picture.horizon(found.network, targets[0]),
                "unit": unit,
                "fitted to": self.targets.name,
                "reproduced": bool(found.reproduced),
                "targets": _noted(targets),
                "report": str(found),
            }
            place.write(file.name, lambda partial: hx.save(partial, found.network, notes=notes))
            place.draw(picture, _fit_picture.draw(found, targets))
            written = [str(file), picture]
            if found.fit is not None and found.fit.stderr is not None:
                figure = new_figure(figsize=(11.8, 1.0 + 4.2 * len(targets)))
                place.draw(closely, hx.plots.fit(found.fit, figure=figure))
                written.append(closely)
        replay = shlex.join(["hopfax", "run", *option("model", file)])
        say(f"written to {', '.join(written)}; replay: {replay}")
        if found.interrupted:
            return _interrupt.STATUS
        return 0 if found.reproduced else 1

    def _events(self) -> tuple[list["hx.Events"], float, list[str]]:
        """The target, its times in fast time constants, how many of those make its unit, and what
        is to be said of how the file was read."""
        if not self.targets.exists():
            raise FileNotFoundError(
                f"`targets`: there is no file {self.targets}; give a CSV file with columns time, "
                "memory."
            )
        if not 0 < self.tau < np.inf:
            raise ValueError(f"`tau` must be finite and > 0, got {self.tau:g}.")
        for name in ("unit", "sigma"):
            if self.order_only and getattr(self, name) is not None:
                raise ValueError(f"`{name}` is of the file's times, which `order_only` ignores.")
        try:
            raw, names = read_table(self.targets, first=self.first, join=self.join)
        except ValueError as error:
            raise ValueError(_in_shell(str(error))) from error
        read = []
        if names:
            read.append("memories: " + ", ".join(f"{k} is {name}" for k, name in enumerate(names)))
        self._check_indices(raw)
        dwells = np.concatenate([np.asarray(events.dwells) for events in raw])
        unit = self.unit
        if unit is None:
            unit = _DWELL * self.tau / float(np.nanmean(dwells))
        if not (np.isfinite(unit) and unit > 0):
            raise ValueError(f"`unit` must be > 0, got {unit:g}.")
        made = []
        for events in raw:
            memory, time = np.asarray(events.memory), np.asarray(events.time)
            if self.order_only:
                made.append(hx.Events(memory, cycle=self.cycle))
                continue
            if self.cycle and events.end is None:
                raise ValueError(
                    "`cycle` needs a last row without a memory, which says when the last one gives "
                    "way."
                )
            end = None if events.end is None else (float(events.end) - time[0]) * unit
            made.append(hx.Events(memory, (time - time[0]) * unit, end=end, cycle=self.cycle))
        if not self.order_only:
            read.append(
                f"times are in fast time constants; a unit of the file has {unit:.6g} of them"
            )
            read += _gaps(raw)
        return made, unit, read

    def _check_indices(self, raw: list["hx.Events"]) -> None:
        """ValueError for an index far above what the rows name, if it would set how many memories
        are made."""
        named = np.unique(np.concatenate([np.asarray(events.memory) for events in raw]))
        made_up = self.patterns in ("hadamard", "random") and self.memories is None
        if made_up and named[-1] >= 2 * len(named):
            raise ValueError(
                f"`targets`: {self.targets} names memory {named[-1]}, and {len(named)} memories in "
                f"all; if there are really {named[-1] + 1}, say so: --memories {named[-1] + 1}."
            )

    def _network(self, targets: list["hx.Events"]) -> hx.TwoTimescaleHopfield:
        needed = max(int(np.max(np.asarray(events.memory))) + 1 for events in targets)
        made_up = self.patterns in ("hadamard", "random")
        given = self
        if made_up and self.memories is None:
            given = dataclasses.replace(self, memories=needed)
        check_seed_used(self.seed, are_random(self.patterns))
        memories, _ = memories_of(given)
        if memories.P < needed:
            raise ValueError(
                f"`memories`: {self.targets} names memory {needed - 1}, but there are only "
                f"{memories.P}."
            )
        if self.saliency0:
            fine = len(self.saliency0) == memories.P and np.isfinite(self.saliency0).all()
            if not fine:
                raise ValueError(
                    f"`saliency0` must be {memories.P} finite numbers, one a memory, got "
                    f"{list(self.saliency0)}."
                )
        transition = np.zeros((memories.P, memories.P))
        if "transition" not in self.parameters:  # then it is what the sequences say
            for events in targets:
                source, target = np.asarray(events.memory), np.asarray(events.switches[0])
                transition[target, source[: len(target)]] = 1.0
        return hx.TwoTimescaleHopfield(
            memories,
            transition,
            kappa=self.kappa,
            tau=self.tau,
            bias=self.bias,
            learning=self.learning,
        )

    def _options(self, unit: float) -> dict[str, Any]:
        names = tuple(dict.fromkeys(self.parameters))
        options: dict[str, Any] = {
            "strategy": self.strategy,
            "memory": self.memory,
            "progress": True,
        }
        if self.memory == "suffixes" and not self.order_only:
            raise ValueError("`memory`: suffixes keeps no times; add --order-only.")
        if names != ("transition",):
            if not names:
                raise ValueError("`parameters` must name at least one.")
            if self.order_only:
                raise ValueError(
                    "`order_only` says nothing about kappa, tau and bias; fit the transition alone."
                )
            options["where"] = lambda net: tuple(getattr(net, name) for name in names)
            options["constraint"] = tuple(
                None if name == "transition" else hx.constraints.Positive() for name in names
            )
        if self.sigma is not None:
            options |= {"sigma": self.sigma * unit, "absolute_sigma": True}
        if self.saliency0:
            options["saliency"] = np.asarray(self.saliency0)
        return options


def _in_shell(text: str) -> str:
    """An error of `losses.read_events` by the names that its arguments have in the shell."""
    for name, shell in _SHELL.items():
        text = text.replace(name, shell)
    return text


def _branches(targets: list["hx.Events"]) -> list[str]:
    """A line that names memories with several successors, unless a warning will."""
    several = "" if skipped(targets) else branches(targets)
    if not several:
        return []
    return [
        f"note: {several}; if that is right, a longer memory (contexts) may have to be tried, "
        "which takes longer"
    ]


def _gaps(raw: list["hx.Events"]) -> list[str]:
    """A line for each stay that is far longer than the others: perhaps a gap in a recording."""
    lines = []
    usual = float(np.nanmedian(np.concatenate([np.asarray(events.dwells) for events in raw])))
    for s, events in enumerate(raw):
        of = f" of sequence {s}" if len(raw) > 1 else ""
        for memory, begin, stay in zip(
            *map(np.asarray, (events.memory, events.time, events.dwells)), strict=True
        ):
            if stay > _GAP * usual:
                lines.append(
                    f"note: memory {memory}{of} stays {stay:g} from {begin:g} on, where a median "
                    f"stay is {usual:g} (units of the file); if that is a gap in the recording, "
                    "make two sequences of it"
                )
    return lines


def _noted(targets: list[Any]) -> list[dict[str, Any]]:
    """Targets as a model's file notes them, so long as they are short; else the first ones."""
    found, left = [], _EVENTS
    for events in targets:
        memory = np.asarray(events.memory).tolist()
        if len(memory) > left:
            break
        left -= len(memory)
        time = None if events.time is None else np.asarray(events.time, float).tolist()
        found.append({"memory": memory, "time": time})
    return found


def replayed(file: pathlib.Path) -> Any:
    """The run of a model that this command wrote, for a report. **Raises:** as `replayed` there."""
    from ._fit_report import replayed  # late: it takes all of hopfax.plots along

    return replayed(file)
