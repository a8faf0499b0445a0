"""Orbits and their branches as a page: the time of return over the parameter, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._palette import COLOURS
from ..._types import Dataset
from .._grid import Scale
from ._figures import Figures, new_figure
from ._page import Page, Table, made_on, render
from ._words import as_html

_COLUMNS = ("kind", "at", "time of return")
_SHAPES = ("circle", "diamond", "square", "triangle", "inverted_triangle")


def page_of_orbits(dataset: Dataset, told: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """What `hopfax dynamics` wrote as a page. `told`: its results; `tables`: further ones."""
    name = str(dataset.attrs["parameter"])
    title = f"Critical {name} {told['critical_gain']:.10g}: {told['end']}"
    text = (
        f"<p>The stable orbit ends there; just below, {as_html(told['below'])}. At a {name} of "
        f"{told['gain']:.6g} its period is {told['period']:.10g} fast time constants.</p>"
    )
    sizes = [np.hypot(*one) for one in told["multipliers"]]
    multipliers = [(str(k + 1), f"{size:.6g}") for k, size in enumerate(sizes) if size > 1e-9]
    head = f"Floquet multipliers at a {name} of {told['gain']:.6g}, of one return"
    shown = [
        Table("Special points", _COLUMNS, _special(dataset, name), (1, 2), half=True),
        Table(head, ("number", "size"), multipliers, (0, 1), half=True),
        *tables,
    ]
    figures = _branches(dataset, name)
    notes = [f"Branch {k}: {as_html(why)}." for k, why in enumerate(_ends(dataset))]
    run = {"title": "Where the sequence begins", "text": text, "drawn": False, "seeds": []}
    label = f"Time of return over the {name}: stable solid, unstable dashed"
    return render(
        Page(title, [made_on()], {}, figures.roots, {}, run, shown, notes, matrix=as_html(label))
    )


def _ends(dataset: Dataset) -> list[str]:
    ended = dataset.attrs["ended"]
    return [ended] if isinstance(ended, str) else list(ended)


def _kinds(dataset: Dataset) -> list[str]:
    """The kind of each special point."""
    words = str(dataset["special_kind"].attrs["flag_meanings"]).split()
    return [words[int(code)].replace("_", " ") for code in dataset["special_kind"].values]


def _special(dataset: Dataset, name: str) -> list[tuple[str, str, str]]:
    places, times = dataset[f"special_{name}"].values, dataset["special_returns"].values
    rows = zip(_kinds(dataset), places, times, strict=True)
    return [(kind, f"{place:.10g}", f"{time:.8g}") for kind, place, time in rows]


def _branches(dataset: Dataset, name: str) -> Figures:
    """The branches, in pieces that are stable or not, and markers at their special points."""
    x = Scale("", name, dataset[name].values)
    figure = new_figure(x, Scale("", "time of return", dataset["returns"].values), 380)
    for k in np.unique(dataset["branch"].values):
        here = dataset.isel(point=dataset["branch"].values == k)
        stable = here["stable"].values.astype(bool)
        cuts = np.flatnonzero(np.diff(stable.astype(int))) + 1
        for part in np.split(np.arange(stable.size), cuts):
            reach = np.append(part, part[-1] + 1) if part[-1] + 1 < stable.size else part
            along = (here[name].values[reach], here["returns"].values[reach])
            dash = "solid" if stable[part[0]] else "dashed"
            colour = COLOURS[int(k) % len(COLOURS)]
            figure.line(*along, line_color=colour, line_dash=dash, line_width=1.8)
    kinds = np.array(_kinds(dataset))
    for kind, shape in zip(sorted(set(kinds)), _SHAPES, strict=False):
        at = kinds == kind
        places = dataset[f"special_{name}"].values[at], dataset["special_returns"].values[at]
        look: dict[str, Any] = dict(marker=shape, size=9, fill_color="white", line_color="#1B1B23")
        figure.scatter(*places, legend_label=str(kind), **look)
    if kinds.size:
        figure.legend.location = "center_right"
    return Figures({"matrix": figure}, {})
