"""Sweeps and diagrams as commands are asked for them: planned, announced, computed, drawn."""

import contextlib
import dataclasses
import difflib
import pathlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

import hopfax as hx

from .._sweep import UnknownName
from ..observables import REGIMES
from . import _output
from ._ahead import ahead
from ._console import say, table
from ._limits import check_points, check_results
from ._machine import dask_client, host_devices, precision
from ._picture import check
from ._settings import changed

#: Options that say where a sweep over axes is kept, and who does what of it.
WHERE = ("store", "devices", "dask", "part")
#: The dataset of a diagram, and the pictures of sweeps.
DIAGRAM, DIAGRAM_PICTURE, PICTURE = "diagram.zarr", "diagram.png", "sweep.png"


def check_where(asked: Any) -> None:
    """ValueError or OSError for options about the folder and the work that cannot be met."""
    if asked.part is not None and not 0 <= asked.part[0] < asked.part[1]:
        raise ValueError(f"`part` must be K N with 0 <= K < N, got {asked.part}.")
    if asked.part is not None and asked.overwrite:
        raise ValueError("`overwrite` with `part` would remove what the other parts did.")
    if asked.devices is not None and asked.dask is not None:
        raise ValueError("`devices` are those of this process; leave them out with `dask`.")
    _output.check(asked)


def check_axes(asked: Any, of_diagrams: Mapping[str, str]) -> None:
    """ValueError for options that mean nothing to a sweep over axes, which says what does."""
    for name in changed(asked, of_diagrams):
        raise ValueError(f"`{name}` is for diagrams of the theory; {of_diagrams[name]}.")


def check_diagram(asked: Any, own: Iterable[str], memories: str) -> None:
    """ValueError for options that mean nothing without --axis, and for points of no diagram."""
    for name in changed(asked, own):
        raise ValueError(
            f"`{name}` is of runs, which --axis sweeps; diagrams are of {memories} memories."
        )
    for name in changed(asked, WHERE):
        raise ValueError(f"`{name}` is of sweeps by --axis; a diagram is computed in its folder.")
    if len(asked.points) != 2 or min(asked.points) < 2:
        listed = " ".join(map(str, asked.points))
        raise ValueError(f"`points` must be two numbers of at least 2, got {listed}.")
    check_points(asked.points)


def noise_key(asked: Any, axes: Collection[str]) -> Any:
    """The key of noise, if there is any."""
    return jax.random.key(asked.seed) if asked.noise or "noise" in axes else None


@dataclasses.dataclass(frozen=True)
class Work:
    """A sweep over axes, what it computes and what becomes of it.

    `point` (or a recipe), `grid`, `key`: as of `hopfax.sweep`. `picture`: its name in the folder.
    `label`: gives the dataset its names. `report`: the tables. `words`: names of axes that the
    point does not know. `of`: more about the runs. `soon`: what the tables will need, made ready
    while the runs are computed.
    """

    asked: Any
    point: Any
    grid: dict[str, Any]
    key: Any
    output: _output.Output
    picture: str
    label: Callable[[Any], Any]
    report: Callable[[Any], str]
    words: Collection[str] = ()
    of: str = ""
    soon: Callable[[], Any] = lambda: None

    def _how(self) -> dict[str, Any]:
        devices = None if self.asked.dask else self.asked.devices
        return chunk(self.asked) | {"devices": devices, "key": self.key}

    def plan(self) -> Any:
        """What it takes. **Raises:** ValueError for axes that there are not."""
        with _in_shell(self.words):
            return hx.sweep_plan(self.point, self.grid, **self._how())

    def announce(self, store: pathlib.Path) -> None:
        """Say how many runs there are, how long they take, and how large the result is.

        **Raises:** ValueError if the result, which is drawn in the end, does not fit into memory.
        """
        plan, dask = self.plan(), self.asked.dask
        if self.asked.part is None and dask is None:
            check_results([plan.points], plan.bytes)
        runs = f"{plan.points:,} runs{self.of}"
        if dask is not None:
            say(f"{runs}, by the workers of {dask}, to {store} ({plan.volume})\n")
            return
        time = f"about {plan.duration} to compute on {plan.hardware}"
        say(f"{runs}: {time}; {plan.volume} to {store}\n")

    def compute(self, store: pathlib.Path) -> Any:
        """Compute what the store lacks; the dataset."""
        with contextlib.ExitStack() as stack:
            executor = None
            if self.asked.dask is not None:
                executor = stack.enter_context(dask_client(self.asked.dask))
            stack.enter_context(self.output.computing(store))
            return hx.sweep(
                self.point,
                self.grid,
                store=store,
                resume="must" if self.asked.resume else "auto",
                overwrite=self.asked.overwrite,
                part=self.asked.part,
                executor=executor,
                **self._how(),
            )


def swept(asked: Any, prepare: Callable[[], Work]) -> int:
    """Compute, go on with or find the sweep of a command in its folder, draw it, print the tables.

    `prepare`: makes it, in the precision and for the devices that are asked for.
    """
    check()  # rather now than after the computation
    if asked.devices is not None:
        host_devices(asked.devices)
    with precision(asked.precision):
        work = prepare()
        if asked.dry_run:
            say(str(work.plan()))
            return 0
        output, picture = work.output, work.picture
        store = asked.store or output.folder / _output.STORE
        output.check([store], picture)
        complete, start = not asked.overwrite and _output.complete(store), time.perf_counter()
        done = _output.was_read(store)
        soon = contextlib.nullcontext()
        if not complete and not asked.part:  # of a part nothing is drawn
            soon = ahead(work.soon)
        with soon:
            if not complete:
                work.announce(store)
            dataset = work.compute(store)
        if not complete:
            done = _output.was_computed(dataset, "runs", start)
        if (dataset["status"] == -1).any():
            say(_part_done(asked.part, output))
            return 0
        dataset = work.label(dataset.load())
    with precision("float64"):  # the theory, whatever the runs had
        tables = work.report(dataset)
        output.finish(dataset, tables, done, picture, f"{picture}, settings.toml; {store}")
    return 0


def mapped(
    asked: Any,
    plan: Callable[[], str],
    stores: Callable[[pathlib.Path], list[pathlib.Path]],
    run: Callable[[_output.Output, list[pathlib.Path]], tuple[Any, bool]],
    report: Callable[[Any], str],
    *folders: str,
) -> int:
    """Compute, go on with or find the diagram of a command in its folder, draw it, print the
    tables.

    `plan`: says what it takes. `stores`: those in the folder. `run`: computes what they lack; the
    dataset of all, and whether any was lacking. `folders`: what else is written.
    """
    check()  # rather now than after the computation
    output = _output.Output.of(asked)
    with precision(asked.precision):
        if asked.dry_run:
            say(plan())
            return 0
        places = stores(output.folder)
        output.check(places, DIAGRAM_PICTURE, folders=(DIAGRAM, *folders))
        start = time.perf_counter()
        dataset, fresh = run(output, places)
        done = output.keep(dataset, DIAGRAM, fresh, start)
    with precision("float64"):
        others = f"{DIAGRAM}, {DIAGRAM_PICTURE}, settings.toml"
        output.finish(dataset, report(dataset), done, DIAGRAM_PICTURE, others)
    return 0


def announcement(plan: Any, points: tuple[int, ...], times: int = 1, of: str = "") -> str:
    """How many points there are, in one of so many sweeps, and how long they take.

    **Raises:** ValueError if the results do not fit into memory.
    """
    check_results(points, times * plan.bytes)
    return f"{plan.points:,} points{of}: about {plan.duration} to compute on {plan.hardware}"


def chunk(asked: Any) -> dict[str, Any]:
    """How many points are stored at a time, as `hopfax.sweep` takes it."""
    return {"chunk": "auto" if asked.chunk is None else asked.chunk}


def _part_done(part: tuple[int, int], output: _output.Output) -> str:
    return (
        f"part {part[0]} of {part[1]} is done, others are not yet. When all are, this draws the "
        f"result:\n{output.again}"
    )


@contextlib.contextmanager
def _in_shell(words: Collection[str]) -> Iterator[None]:
    """Errors about names of axes tell those that can be typed, `words` among them."""
    try:
        yield
    except UnknownName as error:
        known = [*error.known, *words]
        short = [name.rpartition(".")[2] for name in known]  # which will do, too
        typed = dict.fromkeys([*known, *short])
        near = difflib.get_close_matches(error.name, typed, n=3, cutoff=0.5) or known
        listed = ", ".join(map(repr, near))
        text = f"`axis`: unknown parameter {error.name!r}; did you mean {listed}?"
        raise ValueError(text) from error


def outcomes(dataset: Any) -> str:
    """How many runs ended in which regime, if they have one, and with which failures."""
    status = dataset["status"].values
    good = status == 0
    counts: list[tuple[str, int]] = [("ok", int(good.sum()))]
    if "regime" in dataset:
        codes = dataset["regime"].values
        counts = [(name, int((good & (codes == k)).sum())) for k, name in enumerate(REGIMES)]
    codes, failures = np.unique(status[~good], return_counts=True)
    counts = [(name, count) for name, count in counts if count]
    counts.append(("failed", int((~good).sum())))
    counts += [(f"  {hx.STATUS[int(c)][0]}", int(k)) for c, k in zip(codes, failures, strict=True)]
    return table(("regime" if "regime" in dataset else "outcome", "runs"), counts)
