"""`hopfax sweep`: the phase diagram of a two-timescale network."""

import dataclasses
import math
import pathlib
import time
from typing import Any, Literal

import numpy as np

from . import _common

_SAVES = 100  # over the horizon; they decide the regime


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Map what a cycle of memories does over its gain and start saliency, beside the theory.

    Without options: 4 Hadamard memories in 1024 neurons, timescales 100 apart, 10,240 runs. Written
    are the dataset sweep.zarr, the picture phase_diagram.png and settings.toml for --config.
    """

    patterns: str = "hadamard"
    """Memories: hadamard, random, a .npy or .npz file, or a folder of PNG or JPEG images."""
    memories: int | None = None
    """How many memories (default: 4, or all that the file or folder has)."""
    neurons: int | None = None
    """How many neurons (default: 1024, or as the file or folder says)."""
    seed: int = 0
    """Seed of random patterns."""
    kappa: tuple[float, float] = (2.5, 6.5)
    """Least and largest gain."""
    saliency: tuple[float, float] = (1.02, 3.0)
    """Least and largest start saliency of memory 0; the other memories start at 0."""
    points: tuple[int, int] = (128, 80)
    """How many gains and how many start saliencies."""
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
    precision: _common.Precision = "float64"
    """Floating-point precision."""
    config: pathlib.Path | None = None
    """A TOML file with these settings; options on the command line win."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/sweep-<hash of the settings>)."""
    overwrite: bool = False
    """Compute again and replace an earlier result in the output folder."""

    def __call__(self) -> int:
        """Compute or find the dataset, draw it, print the table."""
        self._check()
        from .. import open_sweep
        from ._plot import draw, require

        require()  # rather now than after the computation
        with _common.precision(self.precision):
            memories = _common.patterns_from(self.patterns, self.memories, self.neurons, self.seed)
            record = self._record(memories)
            folder = self.out or _common.output_folder("sweep", {"record": record})
            store, file = folder / "sweep.zarr", folder / "settings.toml"
            if self._stored(store, file, record):
                dataset = open_sweep(store).load()
                work = f"read from {store}, which holds these settings (--overwrite computes again)"
            else:
                start = time.perf_counter()
                dataset = self._compute(memories, store)
                seconds = time.perf_counter() - start
                number = dataset["status"].size
                work = f"{number} runs in {seconds:.1f} s, {number / seconds:.0f} a second"
                file.write_text(record)
            hints = advice(memories, dataset, self)
        with _common.precision("float64"):  # the theory, whatever the runs had
            _common.say("\n".join([report(dataset, self), *hints]))
            draw(dataset).savefig(folder / "phase_diagram.png", dpi=150)
        _common.say(f"\n{work}\nwritten to {folder}: sweep.zarr, phase_diagram.png, settings.toml")
        return 0

    def _check(self) -> None:
        for name in ("kappa", "saliency"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"`{name}` needs finite MIN < MAX, got {low:g} {high:g}.")
        if min(self.points) < 2:
            raise ValueError(
                f"`points` must be at least 2 2, got {self.points[0]} {self.points[1]}."
            )
        for name in ("tau", "horizon"):
            value = getattr(self, name)
            if not (0 < value < math.inf):
                raise ValueError(f"`{name}` must be finite and > 0, got {value:g}.")
        if not math.isfinite(self.bias):
            raise ValueError(f"`bias` must be finite, got {self.bias:g}.")

    def _record(self, memories: Any) -> str:
        """The text of settings.toml: what was asked, and which memories that meant."""
        import hopfax

        asked = _common.settings(self)
        if self.patterns not in ("hadamard", "random"):
            asked["patterns"] = str(pathlib.Path(self.patterns).expanduser().resolve())
        digest = _common.digest(memories.xi)[:16]
        comments = (
            f"hopfax {hopfax.__version__}; again: hopfax sweep --config settings.toml",
            f"memories: {memories.P} of {memories.N} neurons, sha256 {digest}",
        )
        return _common.to_toml(asked, comments)

    def _stored(self, store: pathlib.Path, file: pathlib.Path, record: str) -> bool:
        """Whether the result of just these settings is there already.

        **Raises:** StoreError if it is another's.
        """
        from .. import StoreError

        if self.overwrite or not store.exists():
            return False
        if file.is_file() and file.read_text() == record:
            return (store / "zarr.json").is_file()
        raise StoreError(
            f"`out`: {store} holds a sweep of other settings; --overwrite replaces it, "
            "--out FOLDER writes elsewhere."
        )

    def _compute(self, memories: Any, store: pathlib.Path) -> Any:
        import hopfax as hx

        network = hx.TwoTimescaleHopfield(
            memories,
            hx.cyclic(memories.P),
            kappa=self.kappa[0],
            tau=self.tau,
            bias=self.bias,
            readout=self.readout,
            learning=self.learning,
        )
        start = np.zeros(memories.P)
        start[0] = self.saliency[0]
        point = hx.Point(
            network,
            {"saliency": start},
            np.linspace(0.0, self.horizon, _SAVES + 1),
            per_tau=True,
        )
        grid = {
            "kappa": np.linspace(*self.kappa, self.points[0]),
            "init.saliency[0]": np.linspace(*self.saliency, self.points[1]),
        }
        # The settings are written after the store: they say that it is complete and whose it is.
        (store.parent / "settings.toml").unlink(missing_ok=True)
        return hx.sweep(point, grid, store=store, overwrite=self.overwrite, progress=True)


def report(dataset: Any, settings: Sweep) -> str:
    """Thresholds, measured and predicted, and the count of every regime."""
    from .. import STATUS
    from ..observables import REGIMES
    from ..theory import sequential

    P = len(dataset_transition(dataset))
    largest = settings.saliency[1]
    rows: list[tuple[str, str]] = []
    found = threshold(dataset)
    name = f"measured from z_0(0) = {largest:g}, within {settings.horizon:g} tau"
    rows.append((name, found))
    if P > 2 and settings.tau > 1 and settings.bias > 0:
        predicted = sequential.critical_gain(P, tau=settings.tau, bias=settings.bias)
        name = f"theory, P = {P}, tau = {settings.tau:g}, bias {settings.bias:g}"
        rows.append((name, _common.number(predicted, 3)))
    limit = _common.number(sequential.critical_gain(P), 3)
    rows.append((f"theory, P = {P}, tau -> infinity", limit))
    endless = _common.number(sequential.critical_gain(), 3)
    rows.append(("theory, P -> infinity, tau -> infinity", endless))
    text = _common.table(("threshold of the gain kappa", ""), rows)

    status, regime = dataset["status"].values, dataset["regime"].values
    good = status == 0
    counts = [(name, int((good & (regime == code)).sum())) for code, name in enumerate(REGIMES)]
    codes, failures = np.unique(status[~good], return_counts=True)
    counts = [(name, count) for name, count in counts if count]
    counts.append(("failed", int((~good).sum())))
    counts += [(f"  {STATUS[int(c)][0]}", int(k)) for c, k in zip(codes, failures, strict=True)]
    return f"{text}\n\n{_common.table(('regime', 'runs'), counts)}"


def advice(memories: Any, dataset: Any, settings: Sweep) -> list[str]:
    """What a reader should know of these memories, as lines after the table."""
    from ..observables import REGIMES

    gram = np.array(memories.gram(), dtype=float)
    np.fill_diagonal(gram, 0.0)
    size = float(np.abs(gram).max(initial=0.0))
    lines = []
    if size > 1e-6 and settings.learning == "hebbian":
        lines.append(
            f"\nThe memories overlap by up to {size:.3f}; the theory is for orthogonal ones "
            "(--learning pseudo_inverse)."
        )
    if (dataset["regime"].values == REGIMES.index("sequence")).any():
        return lines
    following = np.diagonal(np.roll(gram, -1, axis=0))  # overlap of each memory with the next
    if settings.bias == 0 and size <= 1e-6:
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
    from ..observables import REGIMES
    from ..plots._sweeps import largest_start

    row = largest_start(dataset)
    kappa = row["kappa"].values
    lasting = row["regime"].values == REGIMES.index("sequence")
    first = len(kappa) - int(np.argmin(lasting[::-1])) if not lasting.all() else 0
    if first == 0:
        return f"below {kappa[0]:.3f}"
    if first == len(kappa):
        return "none: the largest kappa does not sustain it"
    return f"{kappa[first]:.3f} (grid step {kappa[first] - kappa[first - 1]:.3f})"


def dataset_transition(dataset: Any) -> np.ndarray:
    """The transition matrix that a sweep's attributes record."""
    import json

    return np.asarray(json.loads(dataset.attrs["settings"])["network.transition"])
