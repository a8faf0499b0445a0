"""`hopfax sweep --network dense`: which starts a dense memory completes, at which load."""

import dataclasses
import math
import os
import pathlib
import shutil
import time
import tomllib
from typing import Any, Literal

import numpy as np

from . import _common, _dense

#: The dataset of all orders, and the stores, one an order, from which it is made.
DIAGRAM, STORES, SIMULATED = "diagram.zarr", "sweep", "simulated"


@dataclasses.dataclass(frozen=True)
class DenseSweep:
    """Map what a dense memory retrieves over load and start, by the exact theory of its dynamics.

    Without options: order 3, 64 x 64 points, the overlap after 20 steps and its error. Written are
    the dataset diagram.zarr over order, load and start, the picture diagram.png and settings.toml
    for --config. The same command goes on with a sweep that was interrupted, and reads one that is
    complete. Example: hopfax sweep --network dense --orders 2 3 4 --simulate 256
    """

    network: Literal["sequential", "dense", "rate"] = "dense"
    """Family of networks; each has options of its own."""
    interaction: _dense.Interaction = "power"
    """Interaction: power, sum of (xi.h)^n, or many_body, over distinct neurons."""
    orders: tuple[int, ...] = (3,)
    """Orders n of the interaction."""
    load: tuple[float, float] = (0.01, 0.4)
    """Least and largest scaled load alpha' = alpha K(1), alpha = M / N^(n-1) (at n = 3: 3 alpha for
    power, 2 alpha for many_body)."""
    m0: tuple[float, float] = (0.0, 1.0)
    """Least and largest overlap of the start."""
    points: tuple[int, ...] = (64, 64)
    """How many loads and how many starts."""
    steps: int = 20
    """After how many steps the overlap is taken."""
    paths: int = 1024
    """Paths of the effective neuron in each scramble, a power of two."""
    scrambles: int = 4
    """Scrambled sequences, whose spread gives the error."""
    seed: int = 0
    """Seed of the scrambles and of simulations."""
    simulate: int | None = None
    """Simulate one run at every point, too, with so many neurons. The runs of a load share their
    memories; each load takes some seconds, as a program is compiled for its number of memories."""
    precision: _common.Precision = "float64"
    """Floating-point precision of the theory; simulations have float32."""
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
                for order in self.orders:
                    plan = hx.sweep_plan(self._point(order), self._grid(), **self._how())
                    _common.say(f"order {order}\n{plan}")
                return 0
            self._check_settings(folder / "settings.toml", record)
            start = time.perf_counter()
            dataset, fresh = self._run(folder, record)
            if self.simulate is not None:
                dataset = self._beside(dataset, folder)
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

    def _check(self) -> None:
        if not self.orders or min(self.orders) < 2 or len(set(self.orders)) < len(self.orders):
            raise ValueError(f"`orders` must be different, of at least 2, got {list(self.orders)}.")
        limits = {"load": (0.0, math.inf), "m0": (-1.0, 1.0)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"`{name}` needs finite MIN < MAX, got {low:g} {high:g}.")
            if low < least or high > most or (name == "load" and low == 0):
                allowed = "above 0" if name == "load" else "in [-1, 1]"
                raise ValueError(f"`{name}` must lie {allowed}, got {low:g} {high:g}.")
        if len(self.points) != 2 or min(self.points) < 2:
            listed = " ".join(map(str, self.points))
            raise ValueError(f"`points` must be two numbers of at least 2, got {listed}.")
        for name, least in (("steps", 1), ("scrambles", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if self.paths < 1 or self.paths & (self.paths - 1):
            raise ValueError(f"`paths` must be a power of two, got {self.paths}.")
        if self.simulate is not None and self.simulate < 2:
            raise ValueError(f"`simulate` must be at least 2 neurons, got {self.simulate}.")
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

    def _point(self, order: int) -> _dense.Effective:
        numbers = (self.steps, self.paths, self.scrambles, self.seed)
        return _dense.Effective(self.interaction, order, *numbers)

    def _grid(self) -> dict[str, np.ndarray]:
        loads, starts = self.points
        return {"load": np.linspace(*self.load, loads), "m0": np.linspace(*self.m0, starts)}

    def _how(self) -> dict[str, Any]:
        return {"tile": _dense.TILE, "chunk": "auto" if self.chunk is None else self.chunk}

    def _run(self, folder: pathlib.Path, record: str) -> tuple[Any, bool]:
        """Write the settings, then compute what the stores lack, one order after the other; the
        dataset of all, and whether anything was missing."""
        import hopfax as hx

        from .. import StoreError

        stores, file = folder / STORES, folder / "settings.toml"
        if self.overwrite:
            for place in (folder / DIAGRAM, folder / SIMULATED, *stores.glob("order-*")):
                if place.name not in {f"order-{order}" for order in self.orders}:
                    shutil.rmtree(place, ignore_errors=True)
        first = self.orders[0]
        done = [_complete(stores / f"order-{order}") for order in self.orders]
        if not all(done) or self.overwrite:
            plan = hx.sweep_plan(self._point(first), self._grid(), **self._how())
            each = f", each of {len(self.orders)} orders" if len(self.orders) > 1 else ""
            took = f"about {plan.duration} to compute on {plan.hardware}{each}"
            _common.say(f"{plan.points:,} points, {self.points[0]:,} loads: {took}\n")
        parts = []
        try:
            stores.mkdir(parents=True, exist_ok=True)
            file.write_text(record)
            for order in self.orders:
                parts.append(
                    hx.sweep(
                        self._point(order),
                        self._grid(),
                        store=stores / f"order-{order}",
                        resume="must" if self.resume and order == first else "auto",
                        overwrite=self.overwrite,
                        **self._how(),
                    )
                )
        except BaseException as error:
            store = stores / f"order-{first}"
            if not (store / "sweep.json").is_file():  # nothing was begun
                _common.remove_empty(file, store / ".writer.lock", store, stores, folder)
            elif not isinstance(error, StoreError | ValueError | TypeError):
                error.add_note(f"To resume: {_again(folder)}")
            raise
        return together(parts, self.orders, self._point(first)), not all(done)

    def _beside(self, dataset: Any, folder: pathlib.Path) -> Any:
        """The dataset with simulations, a load at a time; what there is already is read."""
        assert self.simulate is not None
        (folder / SIMULATED).mkdir(exist_ok=True)
        rows = []
        try:
            with _common.precision("float32"):
                for order in self.orders:
                    file = folder / SIMULATED / f"order-{order}.npy"
                    rows.append(self._simulated(order, file))
        except BaseException as error:
            error.add_note(f"To resume: {_again(folder)}")
            raise
        dims = ("order", "load", "m0")
        name = f"overlap after {self.steps} steps of one run with {self.simulate} neurons"
        simulated = (dims, np.stack(rows), {"long_name": name})
        return dataset.assign(simulated=simulated).assign_attrs(neurons=self.simulate)

    def _simulated(self, order: int, file: pathlib.Path) -> np.ndarray:
        import jax

        import hopfax as hx

        assert self.simulate is not None
        law, grid = _dense.law(self.interaction, order), self._grid()
        found = np.full(self.points, np.nan, np.float32)
        if file.is_file():
            found = np.load(file)
        for k in np.flatnonzero(np.isnan(found).any(1)):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), order), k)
            memories, cues = jax.random.split(key)
            patterns = _dense.memories(memories, law, float(grid["load"][k]), self.simulate)
            states, _ = _dense.starts(cues, patterns, grid["m0"])
            found[k] = _dense.recall(hx.DenseMemory(patterns, law), states, self.steps)[:, -1]
            partial = file.with_name(f".{file.name}.partial.npy")
            np.save(partial, found)
            os.replace(partial, file)  # a reader sees all of it or what was there before
        return found


def _again(folder: pathlib.Path) -> str:
    """The command that goes on with this sweep."""
    return f"hopfax sweep --config {folder / 'settings.toml'} --out {folder} --resume"


def _complete(store: pathlib.Path) -> bool:
    from .. import StoreError, open_sweep

    try:
        open_sweep(store)
    except StoreError:
        return False
    return True


def together(parts: list[Any], orders: Any, point: _dense.Effective) -> Any:
    """One dataset over order, load and m0 of the sweeps of each order, in memory."""
    import xarray as xr

    loaded = [part.load() for part in parts]
    index = xr.DataArray(list(orders), dims="order", name="order")
    index.attrs["long_name"] = "order n of the interaction"
    dataset = xr.concat(loaded, index, combine_attrs="drop_conflicts")
    dataset = _dense.labelled(dataset.transpose("order", "load", "m0"), point)
    scales = [_dense.scale(_dense.law(point.interaction, order)) for order in orders]
    alpha = dataset["load"].values / np.array(scales)[:, None]
    text = {"long_name": "load alpha = M / N^(n-1)"}
    return dataset.assign_coords(alpha=(("order", "load"), alpha, text))


def stored(place: pathlib.Path) -> Any:
    """The diagram in a folder that `hopfax sweep --network dense` wrote to, or what is there of an
    unfinished one; None if the folder is none."""
    import xarray as xr

    from .. import open_sweep

    folder = place if (place / "settings.toml").is_file() else place.parent
    stores = sorted((folder / STORES).glob("order-*/sweep.json"))
    if (folder / DIAGRAM).is_dir():
        return xr.open_zarr(folder / DIAGRAM, consolidated=False).load()
    if not stores or not (folder / "settings.toml").is_file():
        return None
    asked = tomllib.loads((folder / "settings.toml").read_text())
    begun = [n for n in asked["orders"] if (folder / STORES / f"order-{n}/sweep.json").is_file()]
    parts = [open_sweep(folder / STORES / f"order-{n}", partial=True) for n in begun]
    numbers = (asked[name] for name in ("steps", "paths", "scrambles", "seed"))
    return together(parts, begun, _dense.Effective(asked["interaction"], begun[0], *numbers))


def report(dataset: Any) -> str:
    """Capacities, edges of the basin in the diagram and of the map, and how sure they are."""
    from ..plots._dense import ROUGH
    from ..theory import dense

    steps = dataset.attrs["steps"]
    rows, edges = [], []
    for k, order in enumerate(dataset["order"].values):
        part = dataset.isel(order=k)
        law = _dense.law(dataset.attrs["interaction"], int(order))
        end = dense.capacity(law)
        load, m0 = part["load"].values, part["m0"].values
        apparent = crossing(load, part["overlap"].values[:, int(np.argmax(m0))], 0.5)
        rough, failed = int((part["error"] > ROUGH).sum()), int((part["status"] != 0).sum())
        rows.append(
            (str(int(order)), _common.number(end.scaled), _common.number(apparent), rough, failed)
        )
        for at in np.linspace(0, len(load) - 1, 6).round().astype(int)[1:-1]:
            start = crossing(m0, -part["overlap"].values[at], -0.5)
            unstable = math.nan  # at order 2 the map says nothing of trajectories
            if order > 2:
                unstable = dense.map_fixed_points(law, load[at] / _dense.scale(law)).unstable
            cells = (load[at], start, unstable)
            edges.append((str(int(order)), *(_common.number(cell, 3) for cell in cells)))
    head = (
        "order n",
        "replica-symmetric",
        f"m({steps}) = 1/2 from m0 = {float(dataset['m0'].max()):g}",
        f"error above {ROUGH:g}",
        "failed",
    )
    first = _common.table(head, rows)
    head = ("order n", "load", f"edge after {steps} steps", "memoryless map")
    return f"Capacity, scaled load\n\n{first}\n\nEdge of the basin\n\n{_common.table(head, edges)}"


def crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Where y first falls below a level, by interpolation; NaN if it does not."""
    below = np.flatnonzero(y < level)
    if not below.size or below[0] == 0:
        return math.nan
    k = below[0]
    return float(x[k - 1] + (y[k - 1] - level) / (y[k - 1] - y[k]) * (x[k] - x[k - 1]))
