"""`report`: a sweep or a run as one HTML file."""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._errors import (
    as_count,
    as_key,
    check_bool,
    check_path,
    check_type,
    shown as told,
)
from ..._sweep import open_sweep
from ..._trajectory import Trajectory
from ..._types import Dataset
from ...networks import AbstractNetwork
from .._axes import symbol
from .._cycle import heading
from .._grid import dims_of
from . import _figures
from ._diagram import Diagram, Slider, diagram_of
from ._page import (
    MARK,
    Film,
    Page,
    Table,
    curves,
    data_of,
    made_on,
    packed_runs,
    render,
    settings_tables,
    status_table,
)
from ._rerun import Again, Runs, simulated, thinned
from ._words import as_html, as_text

#: How many points are simulated again, and how many bytes of the file their runs may take.
RUNS, SIZE = 400, 2_000_000


def report(
    source: Dataset | Trajectory | str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    point: Any = None,
    key: Any = None,
    network: Any = None,
    title: str | None = None,
    theory: bool = True,
    runs: int = RUNS,
    size: int = SIZE,
) -> pathlib.Path:
    r"""Write a sweep, or a run, as one HTML file that can be hovered, zoomed and clicked.

    Of a sweep it shows a map over two axes, or the values over one, with the predictions of
    `hopfax.plots.overview` over it and a slider for each further axis. Under the pointer a point
    says its values and its status; at a click its overlaps and saliencies over time are drawn
    beside the map, where `point` is given. Tables list how the points ended, the settings and the
    versions. Points that failed, or have not been run, are marked as such. The file needs no server
    and no network, and Bokeh to be made (extra `web`). `hopfax report FOLDER` makes the same of
    what the command line has written, and simulates again without being told how.

    **Arguments:**

    - `source`: the dataset of `hopfax.sweep`, the folder of a stored sweep (also an unfinished
      one), or one run of `hopfax.simulate` or `hopfax.iterate`.
    - `file`: where to write. An earlier report there is replaced, any other file is not.
    - `point`: what was swept, to be simulated again at some points: the `Point` or `Recipe` as it
      was given to `hopfax.sweep`, or a function of the same axes that returns the run.
    - `key`: as it was given to `hopfax.sweep`.
    - `network`: of a run, the network that made it.
    - `title`: the heading of the page.
    - `theory`: whether to draw the predictions.
    - `runs`, `size`: how many points are simulated again, at most, and how many bytes of the file
      their runs may take.

    **Returns:** the path of the file.

    **Raises:** ImportError without Bokeh; FileExistsError for a file that is no report; ValueError
    or TypeError naming the argument at fault; StoreError for a folder without a sweep.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01)
    point = hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), jnp.linspace(0.0, 100.0, 51))
    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})
    file = hx.plots.report(ds, "sweep.html", point=point, runs=6)
    file.stat().st_size  # about 1.3 MB, most of it the script that draws
    ```
    """
    check_path(file, "file")
    check_bool(theory, "theory")
    if title is not None:
        check_type(title, "title", str, "a text")
    runs, size = as_count(runs, "runs", 0), as_count(size, "size", 0)
    _figures.require()
    place = pathlib.Path(file)
    check_replaceable(place)
    key = None if key is None else as_key(key)
    if isinstance(source, Trajectory):
        if network is not None:
            check_type(network, "network", AbstractNetwork, "the network that was run")
        text = page_of_run(of_trajectory(source, network, title or "A run"))
    else:
        dataset, stored = _opened(source)
        again = None if point is None else Again(point, key)
        about = About(title or title_of(dataset), {}, again, [])
        if again is None:
            why = "No runs were made again: `point=` of hopfax.plots.report says what was swept."
            about.notes.append(why if not stored else f"{why} {_SHELL}")
        text = page_of_sweep(dataset, about, theory=theory, runs=runs, size=size)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


_SHELL = "Of what the command line has written, `hopfax report FOLDER` makes them."


class About(NamedTuple):
    """What a page says of a sweep beside its dataset: the title, the settings of a command, how it
    is computed again (None: not at all), and notes. `lines`: below the title."""

    title: str
    settings: Mapping[str, Any]
    again: Again | None
    notes: list[str]
    lines: Sequence[str] = ()


class OneRun(NamedTuple):
    """One run: curves (T, P) at `times`, the numbers of the memories, and what is said of it."""

    title: str
    lines: list[str]
    times: np.ndarray
    overlap: np.ndarray
    saliency: np.ndarray | None
    memories: np.ndarray
    unit: str
    tables: list[Table]
    notes: list[str]
    matrix: tuple[str, np.ndarray] | None = None
    film: Film | None = None


def check_replaceable(place: pathlib.Path) -> None:
    """FileExistsError unless a report can be written there: nothing is there, or a report."""
    if place.is_dir():
        raise IsADirectoryError(f"`file`: {place} is a folder; name a file, such as report.html.")
    if place.exists():
        with place.open("rb") as stream:
            if MARK.encode() not in stream.read(4096):
                raise FileExistsError(
                    f"`file`: {place} is there and no report of hopfax; name another file."
                )


def _opened(source: Any) -> tuple[Dataset, bool]:
    """The dataset that is meant, in memory, and whether it was stored."""
    if isinstance(source, str | os.PathLike):
        place = pathlib.Path(source)
        inside = place / "sweep"
        place = inside if (inside / "sweep.json").is_file() else place
        return open_sweep(place, partial=True).load(), True
    xarray = sys.modules.get("xarray")  # who has a dataset, has imported it
    if xarray is None or not isinstance(source, xarray.Dataset):
        raise TypeError(
            "`source` must be an xarray.Dataset of hopfax.sweep, the folder of a stored sweep, or "
            f"a hopfax.Trajectory, got {told(source)}."
        )
    return source.load(), False


def title_of(dataset: Dataset) -> str:
    """What was swept, as a heading."""
    named = str(dataset.attrs.get("title", "A sweep")).replace("hopfax sweep of", "Sweep of")
    if "network" in dataset.attrs:
        named = f"Sweep of {dataset.attrs['network']}"
    axes = [as_text(symbol(dim)) for dim in dims_of(dataset) if dataset.sizes[dim] > 1]
    return f"{named[:1].upper()}{named[1:]} over {', '.join(axes)}" if axes else named


def page_of_sweep(
    dataset: Dataset, about: About, *, theory: bool = True, runs: int = RUNS, size: int = SIZE
) -> str:
    """A sweep as a page."""
    shown = diagram_of(dataset, theory=theory)
    notes, found = [as_html(note) for note in (*about.notes, *shown.notes)], None
    if about.again is not None and runs:
        found = simulated(about.again, dataset, shown, runs, size)
        found = found if len(found.place) else None
    if found is not None:
        notes = [_how_many(found), *found.notes, *notes]
    figures = _figures.diagram(shown)
    beside = None
    if found is not None:
        beside = _figures.run(found.unit, found.saliency is not None)
    models = figures.models | (beside.models if beside else {})
    roots = figures.roots | (beside.roots if beside else {})
    where = [as_html(line) for line in heading(dataset).split("\n") if line]
    text = "Click a point: its values stand here"
    run = {
        "title": "The point",
        "text": f'<p class="soft">{text}{", and its run is drawn" if found else ""}.</p>',
        "drawn": found is not None,
        "saliency": found is not None and found.saliency is not None,
        "seeds": [] if found is None else found.seeds,
    }
    return render(
        Page(
            about.title,
            [*about.lines, *where, _size(dataset), made_on()],
            data_of(shown, found),
            roots,
            models,
            run,
            [*status_table(dataset), *settings_tables(dataset, about.settings)],
            notes,
            _said(shown),
        )
    )


def _size(dataset: Dataset) -> str:
    sizes = " × ".join(f"{dataset.sizes[dim]:,} {as_html(dim)}" for dim in dims_of(dataset))
    total = int(np.prod([dataset.sizes[dim] for dim in dims_of(dataset)]))
    return f"{total:,} points: {sizes}"


def _how_many(found: Runs) -> str:
    knots = sum(map(len, found.times))
    bytes_ = knots * (4 + 2 * found.memories.shape[1] * (1 + (found.saliency is not None)))
    return (
        f"{len(found.place):,} points, evenly spread, were simulated again when this page was "
        f"made; their runs take {bytes_ * 4 / 3e6:.2g} MB of it. A click shows the nearest of "
        "them. Lines go through at most 160 moments of each run and miss it by less than 0.3 % of "
        "its range; of many memories the 16 with the largest overlaps are drawn."
    )


def _said(shown: Diagram) -> dict[str, Any]:
    """What the page says around a diagram."""
    sliders = [Slider(s.dim, as_html(s.label), s.values) for s in shown.sliders]
    axes = [as_html(one.label) for one in (shown.x, shown.y) if one is not None]
    return {
        "title": f"{' and '.join(axes)}" if len(axes) > 1 else f"Over {axes[0]}",
        "variables": [as_text(variable.label) for variable in shown.variables],
        "sliders": sliders,
        "choice": "Shown" if shown.kind == "axis" else "Colour",
        "help": "Point at a place for its values, click it for its run; drag to move, use the "
        "tools beside the picture to zoom.",
    }


def page_of_run(*runs: OneRun) -> str:
    """One run as a page, or several that are chosen by name: the first one tells the rest."""
    first = runs[0]
    times, overlaps, saliencies = [], [], []
    for run in runs:
        at = thinned(run.times, _scaled(run), 2000)
        if not at.size:
            raise ValueError("no save of this run was reached, so that there is nothing to draw.")
        times.append(run.times[at])
        overlaps.append(run.overlap[at])
        saliencies.append(None if run.saliency is None else run.saliency[at])
    slow = first.saliency is not None
    memories = np.stack([run.memories for run in runs])
    packed = packed_runs(times, overlaps, saliencies if slow else None, memories)
    figures = _figures.run(first.unit, slow, 290)
    roots, models = dict(figures.roots), dict(figures.models)
    if first.matrix is not None:
        beside = _figures.matrix(first.matrix[1], first.matrix[0])
        roots |= beside.roots
        models |= beside.models
    named = [run.title for run in runs]
    told_ = {"title": "Over time", "text": "", "drawn": True, "seeds": [], "saliency": slow}
    return render(
        Page(
            first.title,
            [*map(as_html, first.lines), made_on()],
            curves(packed),
            roots,
            models,
            told_ | {"choices": named if len(named) > 1 else []},
            [table for run in runs for table in run.tables],
            [as_html(note) for note in first.notes],
            None,
            "" if first.matrix is None else as_html(first.matrix[0]),
            first.film,
        )
    )


def _scaled(run: OneRun) -> np.ndarray:
    """The curves of a run in units of their largest value."""
    parts = [run.overlap, *([] if run.saliency is None else [run.saliency])]
    tops = [float(np.nanmax(np.abs(part), initial=0.0)) or 1.0 for part in parts]
    return np.concatenate([part / top for part, top in zip(parts, tops, strict=True)], axis=1)


def of_trajectory(run: Trajectory, network: Any, title: str) -> OneRun:
    """A run, with its switches as a table. **Raises:** ValueError for a batch."""
    overlap = np.asarray(run.overlaps, float)
    if overlap.ndim != 2:
        raise ValueError("`source` must be one run, not a batch.")
    saliency = None if run.saliency is None else np.asarray(run.saliency, float)
    unit = "steps" if run.method == "iterate" else "fast time constants"
    memories = np.arange(overlap.shape[1])
    there = np.flatnonzero(np.isfinite(np.asarray(run.switches.time)))
    rows = [
        (f"{int(run.switches.source[k])} to {int(run.switches.target[k])}", f"{t:.5g}")
        for k, t in ((k, float(run.switches.time[k])) for k in there)
    ]
    tables = [Table("Switches", ("memories", f"time ({unit})"), rows, (1,))] if rows else []
    tables.append(status_of(int(run.status)))
    rows = [(name, str(value)) for name, value in run.stats.items()]
    tables.append(Table("How it was computed", ("what", "value"), rows))
    kind = [
        f"{type(network).__name__}: {network.patterns.P} memories of {network.patterns.N} neurons"
    ]
    return OneRun(
        title,
        kind if network is not None else [],
        np.asarray(run.ts, float),
        overlap,
        saliency,
        memories,
        unit,
        tables,
        [],
    )


def status_of(code: int) -> Table:
    """How one run ended, as a table."""
    from ... import _status

    row = (_status.name(code), _status.meaning(code))
    return Table("How the run ended", ("status", "what it means"), [row])
