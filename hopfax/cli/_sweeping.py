"""Sweeps over axes that a command is given: planned, announced, computed, drawn."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import hopfax as hx

from ..observables import REGIMES
from . import _output
from ._console import say, table
from ._limits import check_results
from ._machine import dask_client, precision


@dataclasses.dataclass(frozen=True)
class Work:
    """What `hopfax.sweep` computes, and how: `point` (or a recipe) and `grid`, and options of the
    same names."""

    point: Any
    grid: dict[str, Any]
    key: Any = None
    chunk: int | None = None
    devices: int | None = None
    dask: str | None = None
    part: tuple[int, int] | None = None
    overwrite: bool = False
    resume: bool = False

    def _how(self) -> dict[str, Any]:
        chunk = "auto" if self.chunk is None else self.chunk
        return {"chunk": chunk, "devices": None if self.dask else self.devices, "key": self.key}

    def plan(self) -> Any:
        """What it takes."""
        return hx.sweep_plan(self.point, self.grid, **self._how())

    def announce(self, store: pathlib.Path, of: str = "") -> None:
        """Say how many runs there are, how long they take, and how large the result is.

        **Raises:** ValueError if the result, which is drawn in the end, does not fit into memory.
        """
        plan = self.plan()
        if self.part is None and self.dask is None:
            check_results([plan.points], plan.bytes)
        runs = f"{plan.points:,} runs{of}"
        if self.dask is not None:
            say(f"{runs}, by the workers of {self.dask}, to {store} ({plan.volume})\n")
            return
        time = f"about {plan.duration} to compute on {plan.hardware}"
        say(f"{runs}: {time}; {plan.volume} to {store}\n")

    def compute(self, store: pathlib.Path, output: _output.Output) -> Any:
        """Compute what the store lacks; the dataset."""
        with contextlib.ExitStack() as stack:
            executor = None
            if self.dask is not None:
                executor = stack.enter_context(dask_client(self.dask))
            stack.enter_context(output.computing(store))
            return hx.sweep(
                self.point,
                self.grid,
                store=store,
                resume="must" if self.resume else "auto",
                overwrite=self.overwrite,
                part=self.part,
                executor=executor,
                **self._how(),
            )


def swept(
    asked: Any,
    work: Work,
    output: _output.Output,
    picture: str,
    label: Callable[[Any], Any],
    report: Callable[[Any], str],
) -> int:
    """Compute, go on with or find the sweep of a command in its folder, draw it, print the table.

    `label`: what gives the dataset its names. `report`: the table. In the precision that is set.
    """
    if asked.dry_run:
        say(str(work.plan()))
        return 0
    store = output.folder / _output.STORE
    output.check([store], picture)
    complete, start = not asked.overwrite and _output.complete(store), time.perf_counter()
    done = _output.was_read(store)
    if not complete:
        work.announce(store)
    dataset = work.compute(store, output)
    if not complete:
        done = _output.was_computed(dataset, "runs", start)
    dataset = label(dataset.load())
    with precision("float64"):
        output.finish(dataset, report(dataset), done, picture, f"{picture}, settings.toml; {store}")
    return 0


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
