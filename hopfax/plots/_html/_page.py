"""The file: what the script is given, the tables, and all of it as one page."""

import datetime
import html
import importlib.metadata
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import _status
from ..._palette import COLOURS, DASHES, REGIME_COLOURS, look_of
from ..._types import Dataset
from ...observables import REGIMES
from ._diagram import Diagram, Variable, gap_words, statuses
from ._pack import packed, rounded
from ._rerun import Runs
from ._words import as_html, as_text

#: By which a report is known as one.
MARK = '<meta name="generator" content="hopfax report">'
_DASHES: dict[str, str] = dict(zip(DASHES, ("solid", "dashed", "dotted", "dashdot"), strict=True))
_LONG = 160  # letters of a value in a table


class Table(NamedTuple):
    """A table of a page; `numbers`: which columns hold numbers; `folded`: what is written where it
    is folded away, "" where it is not; `half`: whether it needs half the width only."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    folded: str = ""
    half: bool = False


class Film(NamedTuple):
    """Images: levels from 0 to 255 (frames, rows, columns), and what is written below each."""

    title: str
    frames: np.ndarray
    captions: list[str]


class Page(NamedTuple):
    """What a page shows. `data`: for the script. `figures`, `models`: of Bokeh."""

    title: str
    lines: list[str]
    data: dict[str, Any]
    figures: dict[str, Any]
    models: dict[str, Any]
    run: dict[str, Any]
    tables: list[Table]
    notes: list[str]
    diagram: dict[str, Any] | None = None
    matrix: str = ""
    film: Film | None = None


def render(page: Page) -> str:
    """The page as HTML: one file that asks for nothing else."""
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.events import DocumentReady
    from bokeh.models import CustomJS
    from bokeh.resources import INLINE
    from jinja2 import Template

    document = Document()
    for name, figure in page.figures.items():
        figure.name = name
        document.add_root(figure)
    names = ", ".join(page.models)
    start = CustomJS(args=page.models, code=f"window.hopfax.start({{ {names} }})")
    document.js_on_event(DocumentReady, start)
    data = page.data
    if page.film is not None:
        data = data | {"film": _film(page.film)}
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    variables: dict[str, Any] = {
        **{"heading": html.escape(page.title), "lines": page.lines, "data": text},
        **{"css": _part("page.css"), "script": _part("page.js"), "diagram": page.diagram},
        **{"run": page.run, "tables": page.tables, "notes": page.notes},
        **{"matrix": page.matrix, "film": page.film},
    }
    template: Any = Template(_part("page.html"))
    options: dict[str, Any] = dict(template=template, template_variables=variables)
    made = file_html(document, INLINE, title=page.title, **options)
    return made.replace("<head>", f"<head>\n{MARK}", 1)


def _part(name: str) -> str:
    return (
        importlib.resources.files("hopfax.plots._html").joinpath(name).read_text(encoding="utf-8")
    )


def _film(film: Film) -> dict[str, Any]:
    _, rows, columns = film.frames.shape
    frames = packed(film.frames, "u1")
    return {"rows": rows, "columns": columns, "frames": frames, "times": film.captions}


def made_on() -> str:
    """When and by what a page was made, as a line."""
    now = datetime.datetime.now().astimezone().strftime("%-d %B %Y, %H:%M (UTC%z)")
    return f"Report made on {now} by hopfax {importlib.metadata.version('hopfax')}"


# What the script is given


def data_of(shown: Diagram, runs: Runs | None) -> dict[str, Any]:
    """A diagram and the runs of its points, for the script."""
    cells = shown.status.shape[1]
    found = {
        "kind": shown.kind,
        "cells": cells,
        "x": _axis(shown.x, shown.kind),
        "y": None if shown.y is None else _axis(shown.y, shown.kind),
        "borders": _borders(shown),
        "sliders": [{"label": as_html(s.label), "values": s.values} for s in shown.sliders],
        "others": {as_html(k): _numbers(v) for k, v in shown.others.items()},
        "variables": [_variable(variable) for variable in shown.variables],
        "status": packed(shown.status, "i1"),
        "statuses": _statuses(),
        "lines": [[_line(line) for line in lines] for lines in shown.lines],
        "gaps": gap_words(),
        "failed": REGIME_COLOURS["failed"],
        "palette": _palette(),
        "first": _first(shown, runs),
    }
    if shown.kind == "cloud":
        found["points"] = {"x": shown.x.values.tolist(), "y": _up(shown).tolist()}
        found["spots"] = {name: _share(one) for name, one in (("x", shown.x), ("y", shown.y))}
    return found | curves(None if runs is None else _of_runs(runs, shown))


def curves(runs: dict[str, Any] | None) -> dict[str, Any]:
    """Runs with what is needed to draw them."""
    looks = [look_of(mu) for mu in range(len(COLOURS) * len(DASHES))]
    listed = [{"colour": look.colour, "dash": _DASHES[look.dashes]} for look in looks]
    return {"runs": runs, "looks": listed, "regimes": list(REGIMES)}


def _statuses() -> dict[str, Any]:
    fine = (_status.OK, _status.STOPPED_BY_EVENT)
    return {str(c): [name, text, c in fine] for c, (name, text) in _status.STATUS.items()}


def _palette() -> list[str]:
    from bokeh.palettes import Viridis256

    return list(Viridis256)


def _axis(scale: Any, kind: str) -> dict[str, Any]:
    words = list(scale.words) or [f"{value:.5g}" for value in scale.values]
    return {"label": as_html(scale.label), "words": words}


def _up(shown: Diagram) -> np.ndarray:
    return np.zeros(0) if shown.y is None else shown.y.values


def _borders(shown: Diagram) -> dict[str, Any] | None:
    """The borders and the middles of the cells of a map, along x and along y."""
    if shown.kind == "cloud":
        return None
    y = shown.y
    return {
        **{"across": shown.x.edges.tolist(), "x": shown.x.values.tolist()},
        **{"up": [0.0, 1.0] if y is None else y.edges.tolist()},
        **{"y": [0.5] if y is None else y.values.tolist()},
    }


def _numbers(values: np.ndarray) -> dict[str, str]:
    return packed(values, "f4")


def _share(scale: Any) -> dict[str, str]:
    values = scale.values
    return _numbers((values - values.min()) / (np.ptp(values) or 1.0))


def _variable(variable: Variable) -> dict[str, Any]:
    words = {str(code): word.replace("_", " ") for code, word in variable.words.items()}
    return {
        "name": variable.name,
        "short": as_html(variable.short),
        "label": as_html(variable.label),
        "plain": as_text(variable.short),
        "values": _numbers(variable.values),
        "why": packed(variable.why, "u1"),
        "error": None if variable.error is None else _numbers(variable.error),
        "words": words or None,
        "colours": {str(code): colour for code, colour in variable.colours.items()},
        "range": list(variable.range),
    }


def _line(line: Any) -> dict[str, Any]:
    known = np.isfinite(line.x) & np.isfinite(line.y)
    return {
        **{"x": line.x[known].tolist(), "y": line.y[known].tolist(), "text": as_html(line.text)},
        **{"colour": line.colour, "dash": line.dash, "width": line.width, "of": line.of},
    }


def _first(shown: Diagram, runs: Runs | None) -> int:
    """The cell that is chosen when the page opens: a run that has most to show, in the middle of
    what is a sequence; -1 for none."""
    if runs is None or not len(runs.place):
        return -1
    cells = cells_of(runs, shown)
    here = np.flatnonzero((cells >= 0) & (runs.slider == 0).all(1) & (runs.seed == 0))
    if not here.size:
        return -1
    moving = here
    if runs.regime is not None and (runs.regime[here] == REGIMES.index("sequence")).any():
        moving = here[runs.regime[here] == REGIMES.index("sequence")]
    middle = np.median(runs.spot[moving], axis=0)
    best = moving[int(((runs.spot[moving] - middle) ** 2).sum(1).argmin())]
    return int(cells[best])


def cells_of(runs: Runs, shown: Diagram) -> np.ndarray:
    """The cell of every run in its slice."""
    across = len(shown.x.values)
    if shown.kind == "cloud":
        lying = next(at for role, at in shown.places.values() if role == "x")
        column = runs.place[:, [role for role, _ in shown.places.values()].index("x")]
        return np.searchsorted(lying, column)
    up = 1 if shown.y is None else len(shown.y.values)
    x = np.rint(runs.spot[:, 0] * max(across - 1, 1)).astype(int)
    y = np.rint(runs.spot[:, 1] * max(up - 1, 1)).astype(int)
    return y * across + x


def _of_runs(runs: Runs, shown: Diagram) -> dict[str, Any]:
    cells = cells_of(runs, shown)
    sizes = [len(slider.values) for slider in shown.sliders]
    first = np.zeros(len(cells), int)
    for k, size in enumerate(sizes):
        first = first * size + runs.slider[:, k]
    words = [_named(runs, shown, k, int(cells[k])) for k in range(len(cells))]
    found = packed_runs(runs.times, runs.overlap, runs.saliency, runs.memories)
    return found | {
        "spot": packed(runs.spot, "f4"),
        "slider": packed(runs.slider, "i4"),
        "seed": packed(runs.seed, "i4"),
        "seeds": runs.seeds,
        "status": packed(runs.status, "i4"),
        "regime": None if runs.regime is None else packed(runs.regime, "i4"),
        "cell": packed(cells, "i4"),
        "exact": packed(first * shown.status.shape[1] + cells, "i4"),
        "words": words,
    }


def packed_runs(
    times: Sequence[np.ndarray],
    overlap: Sequence[np.ndarray],
    saliency: Sequence[np.ndarray] | None,
    memories: np.ndarray,
) -> dict[str, Any]:
    """Runs as few numbers: times in single precision, curves in 65,535 steps of their range."""

    def kept(curves: Sequence[np.ndarray]) -> dict[str, Any]:
        parts = [rounded(np.asarray(curve, float)) for curve in curves]
        values = np.concatenate([part[0].ravel() for part in parts])
        low, high = [part[1] for part in parts], [part[2] for part in parts]
        return {"values": packed(values, "u2"), "low": low, "high": high}

    return {
        "count": len(times),
        "width": memories.shape[1],
        "memories": packed(memories, "i4"),
        "start": np.cumsum([0, *map(len, times)]).tolist(),
        "time": packed(np.concatenate(times), "f4"),
        "overlap": kept(overlap),
        "saliency": None if saliency is None else kept(saliency),
    }


def _named(runs: Runs, shown: Diagram, k: int, cell: int) -> str:
    """The parameters of a run, as HTML."""
    across = len(shown.x.values)
    x = cell if shown.kind == "cloud" else cell % across
    parts = [f"{as_html(shown.x.label)} = {_axis(shown.x, '')['words'][x]}"]
    if shown.y is not None:
        y = cell if shown.kind == "cloud" else cell // across
        parts.append(f"{as_html(shown.y.label)} = {_axis(shown.y, '')['words'][y]}")
    for place, slider in zip(runs.slider[k], shown.sliders, strict=True):
        parts.append(f"{as_html(slider.label)} = {slider.values[int(place)]}")
    if runs.seeds:
        parts.append(f"seed {runs.seeds[int(runs.seed[k])]}")
    return ", ".join(parts)


# Tables


def status_table(dataset: Dataset) -> list[Table]:
    """The statuses of all points of a sweep, and their regimes."""
    rows = [(name, f"{count:,}", meaning) for name, count, meaning in statuses(dataset)]
    if not rows:
        return []
    return [Table("How the points ended", ("status", "points", "what it means"), rows, (1,))]


def settings_tables(dataset: Dataset, settings: Mapping[str, Any]) -> list[Table]:
    """What was asked for, what was swept, and the versions."""
    tables, attrs = [], dataset.attrs
    if settings:
        rows = [(name.replace("_", " "), _short(value)) for name, value in settings.items()]
        tables.append(Table("Settings of the command", ("option", "value"), rows, half=True))
    kept = ("title", "network", "interaction", "steps", "paths", "scrambles", "activation", "q")
    rows = [(name, _short(attrs[name])) for name in kept if name in attrs]
    rows += [(name, text) for name, text in _parsed(attrs.get("versions")).items()]
    rows += [(name, _short(attrs[name])) for name in ("device", "tile", "key") if attrs.get(name)]
    if "x64" in attrs:
        rows.append(("precision", "float64" if attrs["x64"] else "float32"))
    if rows:
        tables.append(Table("Versions and machine", ("what", "value"), rows, half=True))
    point = _parsed(attrs.get("settings"))
    if point:
        rows = [(name, _short(value)) for name, value in point.items()]
        tables.append(Table("The point", ("setting", "value"), rows, (), f"{len(rows)} settings"))
    return tables


def _parsed(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "sha256" in value:
        shape = " x ".join(map(str, value.get("shape", ())))
        return f"array {shape}, sha256 {str(value['sha256'])[:16]}"
    text = str(value) if isinstance(value, str | int | float) else json.dumps(value, default=str)
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."
