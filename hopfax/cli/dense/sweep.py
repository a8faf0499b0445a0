"""`hopfax sweep --network dense`: which starts are completed at which load, and any other axes."""

import dataclasses
import math
import pathlib
from typing import Any, ClassVar

import jax
import numpy as np

import hopfax as hx

from ..._errors import check_memory
from .. import _options, _output
from .._console import say
from .._families import Family
from .._folder import Folder
from .._limits import check_seed
from .._machine import Precision, precision
from .._settings import FILE, options_from
from .._sweeping import DIAGRAM, announcement, check_diagram, chunk, mapped
from . import _diagram, _networks, _options as own, _points, _runs

#: Where simulations are kept; the stores of the theory, one an order, lie in `_output.STORE`.
SIMULATED = "simulated"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Map what a dense memory retrieves over load and start, by the exact theory of its dynamics.

    Without options: order 3, 64 x 64 points, the overlap after 20 steps and its error. Written are
    the dataset diagram.zarr over order, load and start, the picture diagram.png and settings.toml
    for --config. The same command goes on with a sweep that was interrupted, and reads one that is
    complete. Example: hopfax sweep --network dense --orders 2 3 4 --simulate 256

    --axis NAME LO HI COUNT [log], given once or more, simulates a network over anything instead:
    start (its overlap with a memory), memory (which one), temperature, rate or beta (of the
    interaction), seed; memories, neurons, order, correlation, pattern_seed, of which networks are
    made; interaction, update, transition or learning, by words. Written are the dataset sweep/ and
    the picture sweep.png.
    Example: hopfax sweep --network dense --axis temperature 0 1 11 --axis start 0 1 11
    """

    network: Family = "dense"
    """Family of networks; each has options of its own."""
    interaction: str = "power"
    """Interaction: power, sum of (xi.h)^n, or many_body, over distinct neurons. With --axis also
    quadratic, power:4, rectified_power:3, many_body:3, exponential:1, softmax:1 and
    simplicial:2=0.5,3=1."""
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
    axis: _options.AxisOptions = ()
    """NAME LO HI COUNT [log] or NAME VALUE,VALUE,...: sweeps this; may be given again. The options
    from here to `part` are for it."""
    patterns: own.DenseSource = "random"
    memories: _options.Memories = None
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    image_shape: _options.ImageSize = None
    threshold: _options.Threshold = None
    temperature: own.Temperature = 0.0
    update: own.Update = "parallel"
    transition: own.Transition = "none"
    learning: own.Learning = "hebbian"
    start: own.Start = 0.6
    memory: own.Cued = 0
    model: pathlib.Path | None = None
    """A saved network in discrete time in place of one made from the options."""
    classes: _options.Classes = None
    store: _options.Store = None
    devices: _options.Devices = None
    dask: _options.Dask = None
    part: _options.Part = None
    simulate: int | None = None
    """Simulate one run at every point, too, with so many neurons. The runs of a load share their
    memories; each load takes some seconds, as a program is compiled for its number of memories."""
    precision: Precision = "float64"
    """Floating-point precision of the theory; simulations have float32."""
    config: _options.Config = None
    out: _options.SweepFolder = None
    overwrite: _options.SweepAgain = False
    resume: _options.Resume = False
    chunk: _options.Chunk = None
    dry_run: _options.DryRun = False

    #: Options that came later: settings from before do not have them.
    LATER: ClassVar[dict[str, Any]] = {
        **{"axis": (), "patterns": "random", "temperature": 0.0, "update": "parallel"},
        **{"start": 0.6, "memory": 0, "transition": "none", "learning": "hebbian"},
    }

    def __call__(self) -> int:
        """Compute, go on with or find the diagram, draw it, print the table."""
        if self.axis:
            return _runs.sweep(self)
        self._check()
        return mapped(self, self._dry, self._stores, self._run, _diagram.report, SIMULATED)

    def _dry(self) -> str:
        """What it takes."""
        return "\n".join(f"order {order}\n{self._plan(order)}" for order in self.orders)

    def _plan(self, order: int) -> Any:
        return hx.sweep_plan(self._point(order), self._grid(), **self._how())

    def _stores(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The stores of the theory, one an order."""
        return [folder / _output.STORE / f"order-{order}" for order in self.orders]

    def _check(self) -> None:
        check_diagram(self, _runs.OWN, "random")
        if self.interaction not in _points.INTERACTIONS:
            _networks.interaction_of(self.interaction)
            raise ValueError(
                "`interaction` of a diagram must be power or many_body, with --orders; got "
                f"{self.interaction!r}, which --axis simulates."
            )
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
        check_seed(self.seed, 0)
        for name, least in (("steps", 1), ("scrambles", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if self.paths < 1 or self.paths & (self.paths - 1):
            raise ValueError(f"`paths` must be a power of two, got {self.paths}.")
        if self.simulate is not None and self.simulate < 2:
            raise ValueError(f"`simulate` must be at least 2 neurons, got {self.simulate}.")
        self._check_sizes()
        _output.check(self)

    @property
    def _kind(self) -> Any:
        """The interaction of a diagram, which was checked."""
        return self.interaction

    def _check_sizes(self) -> None:
        """ValueError for paths, orders or simulations that do not fit into memory."""
        size = 4 * _points.TILE * self.paths * (self.steps**2 + self.scrambles)
        name = max(("steps", "paths", "scrambles"), key=lambda name: getattr(self, name))
        what = f"{self.steps} steps of {self.scrambles} x {self.paths} paths"
        check_memory(name, size, what)
        for order in self.orders:
            _points.check_order(order, self._kind, self.precision)
            if self.simulate is not None:
                _points.check_simulation(order, self._kind, self.load[1], self.simulate)

    def _point(self, order: int) -> _points.Effective:
        numbers = (self.steps, self.paths, self.scrambles, self.seed)
        return _points.Effective(self._kind, order, *numbers)

    def _grid(self) -> dict[str, np.ndarray]:
        loads, starts = self.points
        return {"load": np.linspace(*self.load, loads), "m0": np.linspace(*self.m0, starts)}

    def _how(self) -> dict[str, Any]:
        return {"tile": _points.TILE} | chunk(self)

    def _run(self, output: _output.Output, stores: list[pathlib.Path]) -> tuple[Any, bool]:
        """Compute what the stores lack, one order after the other, and simulate; the dataset of
        all, and whether any of its theory was missing."""
        fresh = self.overwrite or not _output.complete(*stores)
        if fresh:
            loads, orders = f", {self.points[0]:,} loads", len(self.orders)
            text = announcement(self._plan(self.orders[0]), self.points, orders, loads)
            say(f"{text}, each of {orders} orders\n" if orders > 1 else f"{text}\n")
        parts = []
        with output.computing(stores[0], (DIAGRAM, SIMULATED)):
            stores[0].parent.mkdir(parents=True, exist_ok=True)
            for order, store in zip(self.orders, stores, strict=True):
                parts.append(
                    hx.sweep(
                        self._point(order),
                        self._grid(),
                        store=store,
                        resume="must" if self.resume and store == stores[0] else "auto",
                        overwrite=self.overwrite,
                        **self._how(),
                    )
                )
            dataset = _diagram.together(parts, self.orders, self._point(self.orders[0]))
            if self.simulate is not None:
                dataset = self._beside(dataset, output)
            if self.overwrite:  # orders of an earlier sweep
                for store in set(stores[0].parent.glob("order-*")) - set(stores):
                    _output.remove_store(store)
        return dataset, fresh

    def _beside(self, dataset: Any, output: _output.Output) -> Any:
        """The dataset with simulations, a load at a time; what there is already is read."""
        with precision("float32"):
            rows = [self._simulated(order, output.place) for order in self.orders]
        dims = ("order", "load", "m0")
        name = f"overlap after {self.steps} steps of one run with {self.simulate} neurons"
        simulated = (dims, np.stack(rows), {"long_name": name})
        return dataset.assign(simulated=simulated).assign_attrs(neurons=self.simulate)

    def _simulated(self, order: int, place: Folder) -> np.ndarray:
        name = f"{SIMULATED}/order-{order}.npy"
        assert self.simulate is not None
        interaction, grid = _points.INTERACTIONS[self._kind](order), self._grid()
        found = np.full(self.points, np.nan, np.float32)
        if place.ledger.whole(name):
            found = np.load(place.path / name, allow_pickle=False)
        for k in np.flatnonzero(np.isnan(found).any(1)):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), order), k)
            memories, cues = jax.random.split(key)
            load = float(grid["load"][k])
            patterns = _points.memories(memories, interaction, load, self.simulate)
            states, _ = _points.starts(cues, patterns, grid["m0"])
            network = hx.DenseMemory(patterns, interaction)
            found[k] = _points.recall(network, states, self.steps)[:, -1]
            place.write_array(name, found)
        return found


def again(folder: pathlib.Path) -> Any:
    """What is computed again of the sweep in a folder: its runs, or of a diagram the overlaps of
    the effective neuron, step by step."""
    asked = options_from(folder / FILE, "sweep", Sweep)
    from .._reports import Again  # late: it takes all of hopfax.plots along

    wide = asked.precision == "float64"
    with jax.enable_x64(wide):
        if asked.axis:
            grid = _runs.grid_of(asked)
            task, _ = _runs.task_of(asked, grid)
            return Again(_runs.watched(task), jax.random.key(asked.seed), grid, wide)
        text = "The curves are those of the theory: the overlap of the effective neuron by steps."
        point = hx.Recipe(_points.Orders(asked._point(asked.orders[0])))
        return Again(point, None, {"order": list(asked.orders), **asked._grid()}, wide, 64, (text,))


def stored(place: pathlib.Path, folder: pathlib.Path) -> Any:
    """The diagram in a folder that this command wrote to, or what is there of an unfinished one;
    at the place of one order's store, that order.

    **Raises:** StoreError if there is none.
    """
    stores = folder / _output.STORE
    if _output.is_store(_output.store_in(place)) and not _output.is_store(stores):
        return _output.open_store(place)
    if (folder / DIAGRAM).is_dir():
        return _output.open_zarr(folder, DIAGRAM)
    asked = options_from(folder / FILE, "sweep", Sweep)
    if asked.axis:
        return _runs.labelled(_output.open_store(folder))
    begun = [n for n in asked.orders if _output.is_store(stores / f"order-{n}")]
    if not begun:
        return _output.open_store(place)
    parts = [_output.open_store(stores / f"order-{n}") for n in begun]
    return _diagram.together(parts, begun, asked._point(begun[0]))
