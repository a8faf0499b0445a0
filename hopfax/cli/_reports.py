"""Reports of what commands have written: which folder holds what, and single runs as pages."""

import json
import pathlib
from typing import Any

import numpy as np

from .. import _status
from .._errors import StoreError
from .._files import read_bytes
from ..plots._html._page import Film, Table
from ..plots._html._report import OneRun
from ..plots._html._rerun import Again as Again
from ._output import is_store, open_zarr, store_in
from ._settings import FILE, read

#: What `hopfax dynamics` writes: the branches, and what was found in numbers.
BRANCHES, SUMMARY = "branches.zarr", "dynamics.json"

_MOST = 4  # trajectories of one run: those of several learning rules


def kind_of(place: pathlib.Path) -> str:
    """What a place holds: "sweep", "run", "dynamics" or "fit" (a model).

    **Raises:** FileNotFoundError if it is not there; StoreError if it is nothing of these.
    """
    if place.is_file():
        return "fit"
    if not place.is_dir():
        raise FileNotFoundError(f"`folder`: there is no folder {str(place)!r}.")
    if trajectories(place):
        return "run"
    if (place / BRANCHES).is_dir():
        return "dynamics"
    if is_store(store_in(place)) or (place / FILE).is_file() or (place.parent / FILE).is_file():
        return "sweep"
    if models(place):
        return "fit"
    raise StoreError(
        f"`folder`: {place} holds no sweep, no run, no branches and no model; name a folder that "
        "`hopfax sweep`, `hopfax run`, `hopfax dynamics` or `hopfax fit` wrote to."
    )


def trajectories(folder: pathlib.Path) -> list[str]:
    """The names of the trajectories in a folder."""
    return sorted(p.name for p in folder.glob("trajectory*.zarr") if p.is_dir())[:_MOST]


def models(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files in a folder that may be models of `hopfax fit`."""
    kinds = (".eqx", ".hopfax")
    return sorted(p for p in folder.iterdir() if p.suffix in kinds and p.is_file())


def model_in(place: pathlib.Path) -> pathlib.Path:
    """The model that is meant. **Raises:** ValueError if a folder holds several."""
    if place.is_file():
        return place
    found = models(place)
    if len(found) > 1:
        listed = ", ".join(p.name for p in found)
        raise ValueError(f"`folder`: {place} holds several models, {listed}; name one of them.")
    return found[0]


def settings_table(folder: pathlib.Path, command: str) -> list[Table]:
    """The settings in a folder, as a table."""
    if not (folder / FILE).is_file():
        return []
    found = read(folder / FILE, command)
    rows = [(name.replace("_", " "), str(value)) for name, value in found.items()]
    return [Table("Settings of the command", ("option", "value"), rows, half=True)]


def run_in(folder: pathlib.Path) -> list[OneRun]:
    """The runs that `hopfax run` wrote to a folder."""
    tables = settings_table(folder, "run")
    return [_run(folder, name, tables) for name in trajectories(folder)]


def orbits_in(folder: pathlib.Path) -> tuple[Any, dict[str, Any], list[Table]]:
    """The branches that `hopfax dynamics` wrote to a folder, its results, and its settings."""
    told = json.loads(read_bytes(folder / SUMMARY, "folder", StoreError))
    return open_zarr(folder, BRANCHES), told, settings_table(folder, "dynamics")


def _run(folder: pathlib.Path, name: str, settings: list[Table]) -> OneRun:
    dataset = open_zarr(folder, name)
    outcome = str(dataset.attrs.get("regime", dataset.attrs.get("outcome", "")))
    unit = str(dataset["time"].attrs.get("units", "fast time constants"))
    which = name.removeprefix("trajectory").removesuffix(".zarr").strip("-").replace("_", " ")
    title = f"A run{f', {which}' if which else ''}: {outcome}" if outcome else "A run"
    saliency = dataset["saliency"].values.astype(float) if "saliency" in dataset else None
    tables = [*_switches(dataset, unit), *_status_table(dataset), *settings, _versions(dataset)]
    return OneRun(
        title,
        [],
        dataset["time"].values.astype(float),
        dataset["overlap"].values.astype(float),
        saliency,
        dataset["memory"].values.astype(int),
        unit,
        tables,
        [],
        film=film_of(dataset, unit),
    )


def _switches(dataset: Any, unit: str) -> list[Table]:
    """When each switch took place, and when it was predicted."""
    there = {
        name: dataset[name].values.astype(float)
        for name in ("switch_time", "predicted_switch", "predicted_escape")
        if name in dataset
    }
    rows = max((len(values) for values in there.values()), default=0)
    if not rows:
        return []
    heads = {"switch_time": "measured", "predicted_switch": "predicted"}
    heads |= {"predicted_escape": "escape, tau to infinity"}
    shown = [name for name, values in there.items() if len(values)]

    def cell(name: str, k: int) -> str:
        values = there[name]
        return f"{values[k]:.5g}" if k < len(values) and np.isfinite(values[k]) else "-"

    def which(k: int) -> str:
        if k >= len(there.get("switch_time", ())):
            return "none"
        return f"{int(dataset['switch_source'][k])} to {int(dataset['switch_target'][k])}"

    listed = [(str(k + 1), which(k), *(cell(name, k) for name in shown)) for k in range(rows)]
    head = ("switch", "memories", *(heads[name] for name in shown))
    numbers = range(2, 2 + len(shown))
    return [Table(f"Switches (in {unit})", head, listed, tuple(numbers))]


def _status_table(dataset: Any) -> list[Table]:
    name = str(dataset.attrs.get("status", ""))
    known = dict(_status.STATUS.values())
    if name not in known:
        return []
    return [Table("How the run ended", ("status", "what it means"), [(name, known[name])])]


def _versions(dataset: Any) -> Table:
    names = ("method", "reduction", "steps", "moved")
    rows = [(name, str(dataset.attrs[name])) for name in names if name in dataset.attrs]
    return Table("How it was computed", ("what", "value"), rows, half=True)


def film_of(dataset: Any, unit: str) -> Film | None:
    """What the neurons did, where they are pixels of images."""
    if "frame" not in dataset or dataset["frame"].ndim != 3:
        return None
    frames = dataset["frame"].values.astype(float)
    top = max(float(np.abs(frames).max()), 1e-12)
    share = (frames / top + 1) / 2 if frames.min() < 0 else frames / top
    levels = np.rint(255 * (1 - share)).astype(np.uint8)
    captions = [f"t = {float(time):.4g}" for time in dataset["frame_time"].values]
    return Film(f"What the neurons show (times in {unit})", levels, captions)
