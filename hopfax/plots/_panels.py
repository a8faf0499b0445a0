"""Sweeps over any number of axes: colour maps, clouds, small multiples."""

import itertools
import math
from typing import Any

import numpy as np

from ._axes import label, new_figure
from ._cycle import cycle_of, draw_edges, edges, horizon_text, setting_text
from ._dense import diagrams, is_diagram
from ._grid import (
    Scale,
    coordinates,
    dims_of,
    gaps,
    has_regime,
    here,
    most_along,
    ordered,
    over_seeds,
    scalars,
    shown,
    sides,
    spread,
    unstructured,
    without_single,
)
from ._paint import cloud, gap_handles, mesh, paint_of
from ._rate import is_storage, storage_diagram
from ._sweeps import curves, dwell_curve, legend_above, legend_below, phase_diagram

_MOST = 6  # variables in one figure


def overview(dataset: Any, figure: Any = None, *, theory: bool = True) -> Any:
    r"""The picture of a sweep, whatever its axes.

    One axis: `curves`, or `scatter` for a cloud of points. Two: `phase_diagram` (and `dwell_curve`
    over the gain), or `maps` where there is no `regime`. More: `facets`. Axes of one value go into
    the title. An axis `seed` is averaged over: numbers become their mean, and `regime` the share of
    seeds with a sequence (if there is none, with the most frequent regime). Of dense memories over
    load, start and order: `retrieval_diagram`, one an order. Of rate memories: `storage_diagram`.

    **Arguments:** `dataset`: of `hopfax.sweep`, in memory. `figure`: an empty figure to draw into;
    its size is changed. `theory`: whether to draw predictions, where there are any.

    **Returns:** the figure.

    **Raises:** ValueError for a dataset without points or variables.
    """
    if not scalars(dataset) or 0 in (dataset.sizes[dim] for dim in dims_of(dataset)):
        raise ValueError(f"`dataset` has nothing to draw: {dict(dataset.sizes)}.")
    figure = new_figure() if figure is None else figure
    figure.set_layout_engine("constrained")
    if is_diagram(dataset):
        diagrams(dataset, figure, theory=theory)
        return figure
    if is_storage(dataset):
        figure.set_size_inches(6.8, 6.8)
        storage_diagram(dataset, figure.subplots(), theory=theory)
        return figure
    dataset, seeds = over_seeds(ordered(dataset))
    single = cut = ""
    if len(dims_of(dataset)) != 2 or not has_regime(dataset):
        dataset, single = without_single(dataset)
    dims, names = dims_of(dataset), scalars(dataset)
    if len(dims) > 2:
        facets(dataset, figure, theory=theory)
    elif len(dims) == 2 and has_regime(dataset):
        wide = "kappa" in dims and "kappa" in dataset.coords and "dwell" in names
        figure.set_size_inches(12.4 if wide else 6.6, 6.0)
        axes = figure.subplots(1, 1 + wide, squeeze=False)[0]
        phase_diagram(dataset, axes[0], theory=theory)
        if wide:
            dwell_curve(dataset, axes[1], theory=theory)
    elif len(dims) == 1 and not unstructured(dataset):
        figure.set_size_inches(6.4, 1.2 + 1.5 * len(names))
        curves(dataset, figure.subplots(len(names), 1, sharex=True))
    elif len(dims) == 1 and has_regime(dataset):
        scatter(dataset, _split(figure, 1), theory=theory)
    else:
        draw = maps if len(dims) == 2 else scatter
        draw(dataset, _split(figure, len(names[:_MOST])))
        cut = f"the first {_MOST} of {len(names)} variables" if len(names) > _MOST else ""
    _headline(figure, [seeds, single, cut])
    return figure


def maps(dataset: Any, axes: Any = None) -> Any:
    """A colour map of every variable of a sweep over two axes, six at most.

    Drawn are the variables of one number a point; `status` only where some point failed. Points
    that failed or have not been run are marked as such.

    **Arguments:** `dataset`: of `hopfax.sweep` over two axes. `axes`: as many Axes as variables.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset without such variables over exactly two dimensions.
    """
    names, axes = _panels_for(dataset, axes, 2, scalars(dataset))
    for ax, name in zip(axes, names, strict=True):
        paint = paint_of(dataset, name)
        mesh(ax, dataset, name, paint)
        paint.bar(ax.figure, ax)
        legend_above(ax, gap_handles(gaps(dataset, name)))
    return axes


def scatter(dataset: Any, axes: Any = None, *, theory: bool = True) -> Any:
    r"""The points of an unstructured sweep over the first two parameters of its one axis.

    Coloured by `regime`, or by each of the variables of one number a point in a panel of its own,
    six at most. Over the gain and one start saliency of a plain cycle the predictions of
    `phase_diagram` are drawn, if all other values are the same for all points.

    **Arguments:** `dataset`: of `hopfax.sweep` over one axis of several zipped parameters. `axes`:
    one Axes with `regime`, otherwise as many as variables. `theory`: whether to draw predictions.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset over more dimensions, or with less than two parameters.
    """
    regime = has_regime(dataset)
    names, axes = _panels_for(dataset, axes, 1, ["regime"] if regime else scalars(dataset))
    parameters = coordinates(dataset, dims_of(dataset)[0])
    if len(parameters) < 2:
        raise ValueError(f"`dataset` must have two parameters along its axis, got {parameters}.")
    x, y = (Scale(p, label(p), dataset[p].values.astype(float)) for p in parameters[:2])
    if y.name == "kappa":
        x, y = y, x
    for ax, name in zip(axes, names, strict=True):
        paint = paint_of(dataset, name)
        cloud(ax, dataset, name, x, y, paint)
        handles = ax.get_legend_handles_labels()[0]  # of the gaps
        if len(parameters) > 2:
            pad = 18 if handles and not regime else 6
            text = f"2 of {len(parameters)} parameters"
            ax.set_title(text, fontsize="small", loc="right", pad=pad)
        if not regime:
            paint.bar(ax.figure, ax)
            legend_above(ax, handles)
            continue
        handles = paint.handles() + handles
        limits = ax.get_xlim(), ax.get_ylim()
        if theory:
            handles += draw_edges(ax, edges(dataset, x.name, y.name, limits[0][1]), limits[1][1])
        ax.set(xlim=limits[0], ylim=limits[1])
        legend_below(ax, handles, 2 if len(handles) > 3 else max(len(handles), 1))
    return axes


def facets(dataset: Any, figure: Any = None, *, theory: bool = True) -> Any:
    r"""Small multiples of a sweep over three axes or more.

    Every panel is spanned by the gain and a start saliency, or else by the two longest axes; the
    other axes number the panels. Of long ones up to eight (of two axes up to four each) evenly
    spread values are shown, the first and the last among them, and the title says which. Drawn
    are the regimes, for a plain cycle with the predictions at each panel's own $\tau$ and seed, or
    else the first variable of one number a point. Colours are the same in all panels.

    **Arguments:** `dataset`: of `hopfax.sweep`, over three axes or more. `figure`: an empty figure
    to draw into; its size is changed. `theory`: whether to draw the predictions.

    **Returns:** the array of Axes, one a panel.

    **Raises:** ValueError for a dataset over less than three dimensions.
    """
    dims = dims_of(dataset)
    names = scalars(dataset)
    if len(dims) < 3 or not names:
        raise ValueError(f"`dataset` must have variables over three axes or more, got {dims}.")
    figure = new_figure() if figure is None else figure
    figure.set_layout_engine("constrained")
    name = "regime" if has_regime(dataset) else names[0]
    x, y = sides(dataset)
    others = tuple(dim for dim in dims if dim not in (x, y))
    places = {d: spread(dataset.sizes[d], most) for d, most in most_along(others).items()}
    axes = _grid_of(figure, [len(places[dim]) for dim in others])
    paint = paint_of(dataset.isel(places), name)
    handles = paint.handles() if name == "regime" else []
    lines: list[list[Any]] = []
    for ax, place in zip(axes, itertools.product(*places.values()), strict=True):
        at = dict(zip(others, map(int, place), strict=True))
        panel = dataset.isel(at)
        across, up = mesh(ax, panel, name, paint)
        parts = [part for dim, k in at.items() for part in here(dataset, dim, k)]
        title = ",\n".join(", ".join(parts[k : k + 2]) for k in range(0, len(parts), 2))
        found = edges(panel, across.name, up.name, across.limits[1]) if theory and handles else []
        lines.append(draw_edges(ax, found, up.limits[1]))
        title += "".join(rf": $\kappa_c = {edge.critical:.2f}$" for edge in found if edge.finite)
        ax.set(xlim=across.limits, ylim=up.limits)
        ax.set_title(title, fontsize="small")
    if name != "regime":
        paint.bar(figure, list(axes))
    handles += gap_handles(gaps(dataset.isel(places), name)) + _common(lines)
    _finish(figure, axes, handles)
    cycle = cycle_of(dataset) if any(lines) else None
    setting = "" if cycle is None else setting_text(cycle) + horizon_text(dataset)
    _headline(figure, [setting, *(shown(dataset, dim, k) for dim, k in places.items())])
    return axes


def _common(lines: list[list[Any]]) -> list[Any]:
    """One entry of a legend for each kind of prediction in the panels."""
    from matplotlib.lines import Line2D

    kinds: dict[Any, dict[str, Any]] = {}
    for line in itertools.chain(*lines):
        kinds.setdefault(line.get_linestyle(), {})[line.get_label()] = line
    entries = []
    for found in kinds.values():
        text, line = next(iter(found.items()))
        if len(found) > 1:  # each panel has its own
            P = text.split(", ")[1]
            text = rf"theory, {P}, $\tau$ and $b$ of the panel: $\kappa_c$ above it"
        style = dict(ls=line.get_linestyle(), color=line.get_color(), lw=line.get_linewidth())
        entries.append(Line2D([], [], label=text, **style))
    return entries


def _finish(figure: Any, axes: np.ndarray, handles: list[Any]) -> None:
    """One label up the figure, those along it below the lowest panels, and one legend."""
    figure.supylabel(axes[0].get_ylabel(), fontsize="medium")
    for ax in axes:
        lowest = ax.xaxis.get_tick_params()["labelbottom"]
        ax.set(ylabel="", xlabel=ax.get_xlabel() if lowest else "")
    if handles:
        columns = min(len(handles), 3 if figure.get_figwidth() > 8 else 2)
        place = dict(loc="outside lower center", ncols=columns)
        figure.legend(handles=handles, fontsize="small", frameon=False, **place)


def _panels_for(dataset: Any, axes: Any, number: int, names: list[str]) -> tuple[list[str], Any]:
    """The variables to draw and their Axes, new ones for None."""
    names = names[:_MOST]
    dims = dims_of(dataset)
    if len(dims) != number or not names:
        raise ValueError(
            f"`dataset` must have variables of one number a point over {number} "
            f"dimension{'s' * (number > 1)}, got dimensions {dims}."
        )
    axes = _split(new_figure(), len(names)) if axes is None else axes
    axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if axes.size != len(names):
        raise ValueError(f"`axes` must hold {len(names)} Axes, got {axes.size}.")
    return names, axes


def _split(figure: Any, number: int) -> np.ndarray:
    """Panels of a figure, each with room for a colour bar."""
    columns = {1: 1, 2: 2, 4: 2}.get(number, 3)
    rows = math.ceil(number / columns)
    figure.set_size_inches((6.6, 6.0) if number == 1 else (5.0 * columns, 4.0 * rows))
    figure.get_layout_engine().set(wspace=0.06)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[number:]:
        ax.remove()
    return axes[:number]


def _grid_of(figure: Any, counts: list[int]) -> np.ndarray:
    """Small panels that share both sides: one count is wrapped, of more the last runs along x."""
    number, columns = math.prod(counts), counts[-1]
    if len(counts) == 1 and number > 4:
        columns = math.ceil(number / 2)
    rows = math.ceil(number / columns)
    width, height = (3.2, 2.9) if columns < 4 and rows < 3 else (2.7, 2.5)
    figure.set_size_inches(width * columns + 1.2, height * rows + 1.8)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, ax in enumerate(axes[number:], number):
        ax.remove()
        axes[place - columns].tick_params(labelbottom=True)
    return axes[:number]


def _headline(figure: Any, lines: list[str]) -> None:
    """Lines to go on with the title of a figure."""
    lines = [line for line in (figure.get_suptitle(), *lines) if line]
    if lines:
        figure.suptitle("\n".join(lines), fontsize="medium")
