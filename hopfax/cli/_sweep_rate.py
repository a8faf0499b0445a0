"""`hopfax sweep --network rate`: which designs store their memories stably."""

import dataclasses
import math
import pathlib
import shutil
import time
import tomllib
from typing import Any, Literal

import numpy as np

from . import _common, _rate

#: The dataset of theory and simulation, and the stores from which it is made.
DIAGRAM, STORE, SIMULATED = "diagram.zarr", "sweep", "simulated"
#: What is swept where nothing else is said.
_RANGES = {"threshold": (0.0, 1.0), "a": (-0.6, 0.6)}


@dataclasses.dataclass(frozen=True)
class RateSweep:
    """Map where a rate memory is stable, over two of gain, threshold and the currents a and b.

    Two of --gain, --threshold, --a, --b are given as MIN MAX and swept; one number fixes a value.
    Without options: threshold 0 to 1 and a from -0.6 to 0.6, 128 x 96 points, by the exact theory
    of the balanced set, and on a coarser grid simulations that perturb a memory. Written are the
    dataset diagram.zarr, the picture diagram.png and settings.toml for --config. The same command
    goes on with a sweep that was interrupted, and reads one that is complete.
    Example: hopfax sweep --network rate --gain 1 12 --threshold 0 1 --a 0.1
    """

    network: Literal["sequential", "dense", "rate"] = "rate"
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
    q: float = _rate.ACTIVITY
    """Activity, the share of active neurons in a memory: 1/2, 1/3, 1/4, ..."""
    activation: _rate.Kind = "logistic"
    """Activation from currents to rates."""
    input: float | None = None
    """Also find where this input to the active neurons of a memory leaves no other state of rest in
    its plane, so that a single memory is globally stable (some milliseconds a point)."""
    simulate: tuple[int, int] = (12, 10)
    """How many values along each axis are simulated, too; 0 0 for none."""
    neurons: int | None = None
    """Neurons of simulations, a multiple of 1/q^2 (default: about 1000); the theory is exact for
    any number."""
    seed: int = 0
    """Seed of the perturbations."""
    precision: _common.Precision = "float64"
    """Floating-point precision."""
    config: pathlib.Path | None = None
    """A TOML file with these settings; options on the command line win."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/sweep-<hash of the settings>)."""
    overwrite: bool = False
    """Compute again and replace an earlier result in the output folder."""
    resume: bool = False
    """Insist on going on with a sweep that is there already."""
    chunk: int | None = None
    """About how many points are stored at a time (default: what takes some seconds)."""
    dry_run: bool = False
    """Only say how long it would take and how large the result would be."""

    def __call__(self) -> int:
        """Compute, go on with or find the diagram, draw it, print the table."""
        self._check()
        import hopfax as hx

        from ._plot import draw, require

        require()  # rather now than after the computation
        record = self._record()
        folder = self.out or _common.output_folder("sweep", {"record": record})
        with _common.precision(self.precision):
            if self.dry_run:
                _common.say(str(hx.sweep_plan(self.theory(), self.grid(), **self._how())))
                beside = math.prod(self.simulate)
                _common.say(f"and {beside} simulations of {self.size()} neurons" if beside else "")
                return 0
            self._check_settings(folder / "settings.toml", record)
            start = time.perf_counter()
            fresh = self.overwrite or not _complete(folder, bool(math.prod(self.simulate)))
            dataset = self._run(folder, record, fresh)
            place = folder / DIAGRAM
            fresh = fresh or not place.exists()
            if fresh:
                _common.write_zarr(dataset, place)
            seconds = time.perf_counter() - start
        with _common.precision("float64"):
            _common.say(report(dataset))
            draw(dataset).savefig(folder / "diagram.png", dpi=150)
        work = f"{dataset['status'].size} points in {seconds:.1f} s"
        if not fresh:
            work = f"read from {place}, which holds these settings (--overwrite computes again)"
        _common.say(f"\n{work}\nwritten to {folder}: {DIAGRAM}, diagram.png, settings.toml")
        return 0

    def values(self) -> dict[str, tuple[float, ...]]:
        """What is asked for each value, with the defaults."""
        given = {name: getattr(self, name) for name in _rate.VALUES}
        swept = sum(value is not None and len(value) > 1 for value in given.values())
        for name, value in given.items():
            if value is None:
                asked = _RANGES.get(name) if swept < 2 else None
                given[name] = (_rate.REFERENCE[name],) if asked is None else asked
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
        inverse = round(1 / self.q)
        return self.neurons or max(round(1000 / inverse**2), 1) * inverse**2

    def _check(self) -> None:
        for name in _rate.VALUES:
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
        if len(self.points) != 2 or min(self.points) < 2:
            listed = " ".join(map(str, self.points))
            raise ValueError(f"`points` must be two numbers of at least 2, got {listed}.")
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
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {self.seed}.")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"`chunk` must be at least 1, got {self.chunk}.")
        if self.resume and self.overwrite:
            raise ValueError("`resume` and `overwrite` contradict each other.")
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"`out`: {self.out} is a file; name a folder.")

    def _record(self) -> str:
        """The text of settings.toml."""
        import hopfax

        comment = f"hopfax {hopfax.__version__}; again: hopfax sweep --config settings.toml"
        return _common.to_toml(_common.settings(self), (comment,))

    def _check_settings(self, file: pathlib.Path, record: str) -> None:
        """StoreError if the output folder holds other settings."""
        from .. import StoreError

        if file.is_file() and file.read_text() != record and not self.overwrite:
            raise StoreError(
                f"`out`: {file.parent} holds a sweep of other settings; --overwrite replaces it, "
                "--out FOLDER writes elsewhere."
            )

    def theory(self) -> _rate.Storage:
        """What is computed at every point."""
        return _rate.Storage(self.activation, self.q, self.input)

    def simulation(self) -> _rate.Perturbed:
        """What is simulated at some."""
        return _rate.Perturbed(self.activation, self.q, self.size(), self.seed)

    def _how(self) -> dict[str, Any]:
        return {"chunk": "auto" if self.chunk is None else self.chunk}

    def _run(self, folder: pathlib.Path, record: str, fresh: bool) -> Any:
        """Write the settings, then compute what the stores lack; theory and simulation."""
        import hopfax as hx

        from .. import StoreError

        store, file = folder / STORE, folder / "settings.toml"
        if self.overwrite:
            for place in (folder / DIAGRAM, folder / SIMULATED):
                shutil.rmtree(place, ignore_errors=True)
        grid = self.grid()
        if fresh:
            plan = hx.sweep_plan(self.theory(), grid, **self._how())
            took = f"about {plan.duration} to compute on {plan.hardware}"
            beside = math.prod(self.simulate)
            more = f", and {beside} simulations" if beside else ""
            _common.say(f"{plan.points:,} points: {took}{more}\n")
        how: dict[str, Any] = dict(overwrite=self.overwrite, on_failure="ignore")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(record)
            resume: Any = "must" if self.resume else "auto"
            found = hx.sweep(self.theory(), grid, store=store, resume=resume, **how, **self._how())
            beside = None
            if math.prod(self.simulate):
                where = folder / SIMULATED
                beside = hx.sweep(self.simulation(), self.coarse_grid(), store=where, **how)
        except BaseException as error:
            if not (store / "sweep.json").is_file():  # nothing was begun
                _common.remove_empty(file, store / ".writer.lock", store, folder)
            elif not isinstance(error, StoreError | ValueError | TypeError):
                error.add_note(f"To resume: {_again(folder)}")
            raise
        return together(found, beside, self)


def _some(values: np.ndarray, number: int) -> np.ndarray:
    """About `number` of the values, evenly spread, away from the ends."""
    number = min(number, len(values))
    places = (np.arange(number) + 0.5) * len(values) / number - 0.5
    return values[np.unique(places.round().astype(int))]


def _again(folder: pathlib.Path) -> str:
    """The command that goes on with this sweep."""
    return f"hopfax sweep --config {folder / 'settings.toml'} --out {folder} --resume"


def _complete(folder: pathlib.Path, simulated: bool) -> bool:
    from .. import StoreError, open_sweep

    try:
        for name in (STORE, SIMULATED) if simulated else (STORE,):
            open_sweep(folder / name)
    except StoreError:
        return False
    return True


def together(found: Any, beside: Any, settings: RateSweep) -> Any:
    """One dataset of theory and simulations, in memory, with what its reader needs to know."""
    dataset = found.load()
    if beside is not None:
        runs = beside.load()
        distance = runs["distance"].where(runs["status"] == 0)
        dataset = dataset.assign(distance=distance.reindex_like(dataset))
        name = f"largest distance of a rate from memory 0 at t = {_rate.HORIZON:g}"
        dataset["distance"].attrs["long_name"] = f"{name}, {_rate.NUDGE:g} at the start"
    asked = {"activation": settings.activation, "q": settings.q, "neurons": settings.size()}
    if settings.input is not None:
        asked["input"] = settings.input
    dataset = dataset.assign_attrs(title="storage diagram of a rate memory", **asked)
    names = {
        "gain": "gain rho of the activation",
        "threshold": "threshold current I* of the activation",
        "a": "current of silent neurons",
        "b": "current of active neurons",
        "kappa": "inverse secant slope (b - a) / (phi(b) - phi(a))",
        "gamma": "background weight",
        "eigenvalue": "greatest eigenvalue of the Jacobian at a memory of the balanced set",
        "block": "the same in the plane of the memory",
        "margin": "1 - max(phi'(a), phi'(b)) max(kappa, gamma), positive: certainly stable",
        "storage": "stability of a memory",
    }
    for name, text in names.items():
        dataset[name].attrs["long_name"] = text
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "unstable stable certified"}
    dataset["storage"].attrs |= flags
    return dataset


def stored(place: pathlib.Path) -> Any:
    """The diagram in a folder that `hopfax sweep --network rate` wrote to, or what is there of an
    unfinished one; None if the folder is none."""
    import xarray as xr

    from .. import open_sweep

    folder = place if (place / "settings.toml").is_file() else place.parent
    file = folder / "settings.toml"
    asked = tomllib.loads(file.read_text()) if file.is_file() else {}
    if asked.pop("network", None) != "rate":
        return None
    if (folder / DIAGRAM).is_dir():
        return xr.open_zarr(folder / DIAGRAM, consolidated=False).load()
    if not (folder / STORE / "sweep.json").is_file():
        return None
    given: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in asked.items()}
    beside = None
    if (folder / SIMULATED / "sweep.json").is_file():
        beside = open_sweep(folder / SIMULATED, partial=True)
    return together(open_sweep(folder / STORE, partial=True), beside, RateSweep(**given))


def verdicts(dataset: Any) -> list[tuple[dict[str, float], float, float, bool]]:
    """Of the simulated points: coordinates, eigenvalue, distance, and whether these two agree."""
    from ..plots._grid import dims_of

    eigenvalue, distance = dataset["eigenvalue"].values, dataset["distance"].values
    places = np.argwhere(np.isfinite(distance) & np.isfinite(eigenvalue))
    dims = dims_of(dataset)
    rows = []
    for place in map(tuple, places):
        at = {dim: float(dataset[dim].values[k]) for dim, k in zip(dims, place, strict=True)}
        value, far = float(eigenvalue[place]), float(distance[place])
        rows.append((at, value, far, (value < 0) == (far < _rate.NUDGE)))
    return rows


def report(dataset: Any) -> str:
    """How many points there are of each kind, and whether simulations say the same."""
    codes, failed = dataset["storage"].values, int((dataset["status"].values > 0).sum())
    there = dataset["status"].values == 0
    words = {
        "stable, by the sufficient condition": codes == 2,
        "stable, by the exact eigenvalue alone": codes == 1,
        "unstable": codes == 0,
        "no design (phi(a) = phi(b), or a >= b)": codes == -1,
    }
    rows = [(word, int((there & where).sum())) for word, where in words.items()]
    if failed:
        rows.append(("failed", failed))
    if "alone" in dataset:
        text = f"the only state of rest under input {dataset.attrs['input']:g} to its neurons"
        rows.append((text, int((there & (dataset["alone"].values == 1)).sum())))
    parts = [_common.table(("a memory of the balanced set is", "points"), rows)]
    if "distance" in dataset:
        parts.append(agreement(verdicts(dataset)))
    return "\n\n".join(parts)


def agreement(rows: Any) -> str:
    """How many simulations agree with the eigenvalue, and which do not."""
    wrong = [row for row in rows if not row[3]]
    clear = [row for row in wrong if abs(row[1]) > _rate.MARGINAL]
    lines = [
        f"Simulations: {len(rows)}, of which {len(rows) - len(wrong)} agree with the eigenvalue, "
        f"{len(wrong)} do not",
    ]
    if wrong:
        lines[0] += (
            f" ({len(wrong) - len(clear)} of them marginal, with an eigenvalue within "
            f"{_rate.MARGINAL:g} of 0)"
        )
        names = list(wrong[0][0])
        cells = [
            (*(f"{at[name]:.4g}" for name in names), _common.number(value), f"{far:.2g}")
            for at, value, far, _ in wrong[:8]
        ]
        lines.append("")
        lines.append(_common.table((*names, "eigenvalue", "distance at the end"), cells))
        if len(wrong) > 8:
            lines.append(f"and {len(wrong) - 8} more")
    return "\n".join(lines)
