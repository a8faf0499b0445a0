"""Sweeps over any number of axes: colour maps, clouds of points, small multiples."""

import itertools
import math
from typing import Any

import numpy as np

from .._types import Dataset
from ._axes import (
    Artist,
    Figure,
    Line,
    Panels,
    Style,
    check_drawing,
    label,
    new_figure,
    panels,
)
from ._bifurcation import bifurcation, is_bifurcation
from ._cycle import boundaries, draw_edges, edges, heading
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
from ._legends import legend_above, legends_below
from ._paint import cloud, gap_handles, mesh, paint_of
from ._rate import is_storage, storage_diagram
from ._sweeps import curves, dwell_curve, phase_diagram, shown_scalars

_MOST = 6  # variables in one figure


def overview(dataset: Dataset, figure: Figure | None = None, *, theory: bool = True) -> Figure:
    r"""Draw a sweep over any axes in the way that fits them.

    Over one axis: `bifurcation` (below it, `curves` of what else was measured), or `curves`, or
    `scatter` for a cloud of points. Over two: `phase_diagram` (and `dwell_curve` over the gain), or
    `maps` where there is no `regime`. Over more: `facets`. Axes of one value go into the title. An
    axis `seed` is averaged over: numbers become their mean, and `regime` the share of seeds with a
    sequence (if there is none, with the most frequent regime). Of dense memories over load, start
    and order: a `retrieval_diagram` for every order. Of rate memories: `storage_diagram`.

    **Arguments:** `dataset`: of `hopfax.sweep`, in memory. `figure`: an empty figure to draw into;
    its size is changed. `theory`: whether to draw predictions, where there are any.

    **Returns:** the figure.

    **Raises:** ValueError for a dataset without points or variables.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))

    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})
    figure = hx.plots.overview(ds, theory=False)
    len(figure.axes)  # 2: the phase diagram and the dwell curve
    plt.close(figure)
    ```
    """
    check_drawing(dataset, figure=figure, theory=theory)
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
    single = cut = what = ""
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
    elif is_bifurcation(dataset) and not unstructured(dataset):
        _line(dataset, figure, theory)
    elif len(dims) == 1 and not unstructured(dataset):
        names = shown_scalars(dataset)
        figure.set_size_inches(6.4, 1.2 + 1.5 * len(names))
        curves(dataset, figure.subplots(len(names), 1, sharex=True))
        what = heading(dataset)
    elif len(dims) == 1 and has_regime(dataset):
        scatter(dataset, _split(figure, 1), theory=theory)
    else:
        draw = maps if len(dims) == 2 else scatter
        draw(dataset, _split(figure, len(names[:_MOST])))
        what = heading(dataset)
        cut = f"the first {_MOST} of {len(names)} variables" if len(names) > _MOST else ""
    _headline(figure, [what, single, cut, seeds])
    return figure


def _line(dataset: Dataset, figure: Figure, theory: bool) -> None:
    """Draw dwells and thresholds of a sweep over one axis, below them its other numbers."""
    rest = [name for name in shown_scalars(dataset) if name not in ("regime", "dwell")]
    figure.set_size_inches(6.8, 4.8 + 1.4 * len(rest))
    if not rest:
        bifurcation(dataset, figure.subplots(), theory=theory)
        return
    # Two figures, so that the legends below the first one keep their place.
    parts: Any = figure.subfigures(2, 1, height_ratios=[4.8, 1.4 * len(rest)])
    upper, lower = parts
    bifurcation(dataset, upper.subplots(), theory=theory)
    hidden = [name for name in ("regime", "dwell") if name in dataset]
    curves(dataset.drop_vars(hidden), lower.subplots(len(rest), 1, sharex=True))


def maps(dataset: Dataset, axes: Panels | None = None) -> np.ndarray:
    """Draw a colour map of every variable of a sweep over two axes, six at most.

    Drawn are the variables that are one number at every point; `status` only if some point failed.
    Points that failed or have not been run are marked as such.

    **Arguments:** `dataset`: of `hopfax.sweep` over two axes. `axes`: as many Axes as variables.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset without such variables over exactly two dimensions.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    def dwell(kappa, tau):  # in each memory of an endless chain, if tau is large
        return tau * jnp.log(hx.theory.sequential.fixed_points(kappa).upper)

    ds = hx.sweep(dwell, {"kappa": np.linspace(4.0, 8.0, 9), "tau": np.linspace(10.0, 50.0, 5)})
    axes = hx.plots.maps(ds)
    len(axes)  # 1
    plt.close(axes[0].figure)
    ```
    """
    check_drawing(dataset)
    names, axes = _panels_for(dataset, axes, 2, scalars(dataset))
    for ax, name in zip(axes, names, strict=True):
        paint = paint_of(dataset, name)
        mesh(ax, dataset, name, paint)
        paint.bar(ax.figure, ax)
        legend_above(ax, gap_handles(gaps(dataset, name)))
    return axes


def scatter(dataset: Dataset, axes: Panels | None = None, *, theory: bool = True) -> np.ndarray:
    r"""Draw the points of an unstructured sweep over the first two parameters of its one axis.

    They are coloured by `regime`; or, without one, in a panel for each variable that is one number
    at every point, six at most. Over the gain and one start saliency of a plain cycle the
    predictions of `phase_diagram` are drawn, if all other values are the same for all points.

    **Arguments:** `dataset`: of `hopfax.sweep` over one axis of several zipped parameters. `axes`:
    one Axes with `regime`, otherwise as many as variables. `theory`: whether to draw predictions.

    **Returns:** the array of Axes.

    **Raises:** ValueError for a dataset over more dimensions, or with less than two parameters.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))

    design = hx.designs.random({"kappa": (2.0, 6.0), "init.saliency[0]": (1.0, 4.0)}, 6)
    axes = hx.plots.scatter(hx.sweep(point, design), theory=False)
    len(axes)  # 1
    plt.close(axes[0].figure)
    ```
    """
    check_drawing(dataset, theory=theory)
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
        handles, lines = paint.handles() + handles, []
        limits = ax.get_xlim(), ax.get_ylim()
        if theory:
            lines = draw_edges(ax, edges(dataset, x.name, y.name, limits[0][1]), limits[1][1])
        ax.set(xlim=limits[0], ylim=limits[1])
        ax.set_title(heading(dataset), fontsize="medium")
        legends_below(ax, {"regime": handles, "theory": [*lines]})
    return axes


def facets(dataset: Dataset, figure: Figure | None = None, *, theory: bool = True) -> np.ndarray:
    r"""Draw a sweep over three axes or more as small multiples: maps with equal axes and colours.

    Every panel is spanned by the gain and a start saliency, or else by the two longest axes, and
    belongs to one value of each of the others. Of a long axis up to eight values are shown (of two
    axes up to four each), evenly spread from the first to the last, and the title says which. Drawn
    are the regimes, for a plain cycle with the predictions at each panel's own $\tau$ and bias; or,
    without regimes, the first variable that is one number at every point.

    **Arguments:** `dataset`: of `hopfax.sweep`, over three axes or more. `figure`: an empty figure
    to draw into; its size is changed. `theory`: whether to draw the predictions.

    **Returns:** the array of Axes, one for every panel.

    **Raises:** ValueError for a dataset over less than three dimensions.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    def switches(kappa, tau, horizon):  # of an endless chain, if tau is large
        return horizon / (tau * jnp.log(hx.theory.sequential.fixed_points(kappa).upper))

    grid = {"kappa": np.linspace(4.0, 8.0, 9), "tau": np.linspace(10.0, 50.0, 5)}
    axes = hx.plots.facets(hx.sweep(switches, grid | {"horizon": [100.0, 200.0]}))
    [ax.get_title() for ax in axes]  # horizon = 100, horizon = 200
    plt.close(axes[0].figure)
    ```
    """
    check_drawing(dataset, figure=figure, theory=theory)
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
    lines: list[list[Line]] = []
    for ax, place in zip(axes, itertools.product(*places.values()), strict=True):
        at = dict(zip(others, map(int, place), strict=True))
        panel = dataset.isel(at)
        across, up = mesh(ax, panel, name, paint)
        parts = [part for dim, k in at.items() for part in here(dataset, dim, k)]
        title = ",\n".join(", ".join(parts[k : k + 2]) for k in range(0, len(parts), 2))
        found = boundaries(panel, across, up) if theory and handles else []
        lines.append(draw_edges(ax, found, up.limits[1]))
        own = [edge.critical for edge in found if edge.finite and math.isfinite(edge.critical)]
        title += "".join(rf": $\kappa_c = {critical:.2f}$" for critical in own)
        ax.set(xlim=across.limits, ylim=up.limits)
        ax.set_title(title, fontsize="small")
    if name != "regime":
        paint.bar(figure, list(axes))
    handles += gap_handles(gaps(dataset.isel(places), name))
    _finish(figure, axes, {"regime" if name == "regime" else "": handles, "theory": _common(lines)})
    _headline(figure, [heading(dataset), *(shown(dataset, dim, k) for dim, k in places.items())])
    return axes


def _common(lines: list[list[Line]]) -> list[Artist]:
    """The entries of a legend for the predictions in all panels, one for each kind of line."""
    from matplotlib.lines import Line2D

    kinds: dict[Any, dict[str, Line]] = {}
    for line in itertools.chain(*lines):
        kinds.setdefault(line.get_linestyle(), {})[str(line.get_label())] = line
    entries: list[Artist] = []
    for found in kinds.values():
        text, line = next(iter(found.items()))
        if len(found) > 1:  # each panel has its own
            P = text.split(", ")[0]
            text = rf"{P}, $\tau$ and $b$ of the panel: $\kappa_c$ above it"
        style: Style = dict(
            ls=line.get_linestyle(), color=line.get_color(), lw=line.get_linewidth()
        )
        entries.append(Line2D([], [], label=text, **style))
    return entries


def _finish(figure: Figure, axes: np.ndarray, groups: dict[str, list[Artist]]) -> None:
    """Leave one label of y for the figure, those of x below the lowest panels, and a legend for
    each group of entries."""
    figure.supylabel(axes[0].get_ylabel(), fontsize="medium")
    for ax in axes:
        lowest = ax.xaxis.get_tick_params()["labelbottom"]
        ax.set(ylabel="", xlabel=ax.get_xlabel() if lowest else "")
    there = {title: handles for title, handles in groups.items() if handles}
    sides = ("center",) if len(there) == 1 else ("left", "right")[: len(there)]
    for side, (title, handles) in zip(sides, there.items(), strict=True):
        columns = 2 if title != "theory" and len(handles) > 3 else 1
        place: Style = dict(loc=f"outside lower {side}", ncols=columns, alignment="left")
        style: Style = dict(fontsize="small", title_fontsize="small", frameon=False)
        figure.legend(handles=handles, title=title, **style, **place)


def _panels_for(
    dataset: Dataset, axes: Panels | None, number: int, names: list[str]
) -> tuple[list[str], np.ndarray]:
    """The variables to draw and their Axes; new ones for None.

    **Raises:** ValueError unless the dataset has `number` axes, and there is one Axes a variable.
    """
    names = names[:_MOST]
    dims = dims_of(dataset)
    if len(dims) != number or not names:
        raise ValueError(
            f"`dataset` must have variables of one number a point over {number} "
            f"dimension{'s' * (number > 1)}, got dimensions {dims}."
        )
    axes = _split(new_figure(), len(names)) if axes is None else axes
    return names, panels(axes, len(names), "")


def _split(figure: Figure, number: int) -> np.ndarray:
    """Divide a figure into so many panels, each with room for a colour bar."""
    columns = {1: 1, 2: 2, 4: 2}.get(number, 3)
    rows = math.ceil(number / columns)
    figure.set_size_inches((6.6, 6.0) if number == 1 else (5.0 * columns, 4.0 * rows))
    figure.set_layout_engine("constrained", wspace=0.06)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[number:]:
        ax.remove()
    return axes[:number]


def _grid_of(figure: Figure, counts: list[int]) -> np.ndarray:
    """Divide a figure into small panels that share their axes.

    They are numbered by `counts` in row-major order: a single one of more than four goes over two
    rows, of several the last one counts the columns.
    """
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


def _headline(figure: Figure, lines: list[str]) -> None:
    """Add lines to the title of a figure."""
    lines = [line for line in (figure.get_suptitle(), *lines) if line]
    if lines:
        figure.suptitle("\n".join(lines), fontsize="medium")
