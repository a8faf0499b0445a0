"""Figures of Bokeh: the diagram, and the run of the point that was clicked.

What is in their data sources is put there by page.js, for the places of the sliders; here stand
their axes and looks, and what happens at a click.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._errors import missing
from .._grid import Scale
from ._diagram import Diagram
from ._words import as_text

_INK, _GRID, _FRAME = "#1B1B23", "#ECECEC", "#B8B8BE"
_TOOLS = "pan,box_zoom,wheel_zoom,reset,save"


class Figures(NamedTuple):
    """Figures by the names of their places in the page, and what the script works with."""

    roots: dict[str, Any]
    models: dict[str, Any]


def require() -> None:
    """ImportError naming the extra where Bokeh is not installed."""
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise missing("Bokeh", "web", "a report") from error


def diagram(shown: Diagram) -> Figures:
    """The figure of a sweep."""
    from bokeh.models import BoxAnnotation, ColumnDataSource, HoverTool, TapTool

    figure = new_figure(shown.x, shown.y, 460, limits=shown.kind != "cloud")
    names = ("left", "right", "bottom", "top", "x", "y", "fill", "alpha")
    cells = ColumnDataSource({name: [] for name in names}, name="cells")
    theory = _no_lines("theory")
    marks = {name: ColumnDataSource(dict(x=[], y=[]), name=name) for name in ("chosen", "nearest")}
    if shown.kind != "cloud":  # the ground, which shows where points have not been run
        (left, right), hatch = shown.x.limits, dict(hatch_pattern="/", hatch_color="#B9B9C1")
        sides: dict[str, Any] = dict(left=left, right=right, fill_alpha=0.0, line_alpha=0.0)
        if shown.y is not None:
            sides |= dict(zip(("bottom", "top"), shown.y.limits, strict=True))
        figure.add_layout(BoxAnnotation(level="underlay", **hatch, **sides))
    fill: dict[str, Any] = dict(fill_color="fill", fill_alpha="alpha")
    if shown.kind == "cloud":
        glyph = figure.scatter("x", "y", size=10, line_color="#55555E", source=cells, **fill)
    else:
        edges: dict[str, Any] = dict(line_color="fill", line_alpha="alpha", line_width=0.6)
        corners = dict(left="left", right="right", bottom="bottom", top="top")
        glyph = figure.quad(**corners, source=cells, **edges, **fill)
    glyph.nonselection_glyph = None
    glyph.selection_glyph = None
    _draw(figure, theory)
    models: dict[str, Any] = {"cells": cells, "theory": theory, **marks}
    if shown.kind == "axis":
        models |= _values_over_axis(figure)
    circle: dict[str, Any] = dict(fill_alpha=0.0, size=13)
    for colour, width in (("white", 4.5), (_INK, 1.8)):
        ring = dict(line_color=colour, line_width=width)
        figure.scatter("x", "y", source=marks["nearest"], **ring, **circle)
        figure.scatter("x", "y", source=marks["chosen"], marker="cross", **ring, size=15)
    hover = HoverTool(renderers=[glyph], tooltips=None, callback=_script("hovered", "cb_data"))
    figure.add_tools(hover, TapTool(renderers=[glyph]))
    cells.selected.js_on_change("indices", _script("chose", "cb_obj.indices"))
    models |= {"diagram": figure}
    return Figures({"diagram": figure}, models)


def run(unit: str, saliency: bool, height: int = 230) -> Figures:
    """The figures of one run: overlaps, and below them saliencies if it has any."""
    from bokeh.models import HoverTool

    roots, models, first = {}, {}, None
    for name, label in (("overlap", "overlap m"), ("saliency", "saliency z"))[: 1 + saliency]:
        x = Scale("", f"time ({unit})" if unit != "steps" else "steps", np.array([0.0, 1.0]))
        figure = new_figure(x, Scale("", label, np.array([0.0, 1.0])), height)
        if first is not None:
            figure.x_range = first.x_range
        figure.x_range.range_padding = 0.0
        first = first or figure
        curves = _no_lines(f"{name} curves")
        renderer = _draw(figure, curves, halo=False)
        tips = [("", "@text"), ("time", "$x{0.00}"), (name, "$y{0.000}")]
        hover = HoverTool(renderers=[renderer], tooltips=tips, line_policy="nearest")
        figure.add_tools(hover)
        roots[name], models[name], models[f"{name}_figure"] = figure, curves, figure
    return Figures(roots, models)


def matrix(values: np.ndarray, label: str) -> Figures:
    """A square matrix, in red where positive and in blue where negative."""
    from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, SingleIntervalTicker
    from bokeh.palettes import Blues, Reds, diverging_palette
    from bokeh.plotting import figure as new

    P = len(values)
    ends = (-0.5, P - 0.5)
    figure: Any = new  # what it takes for a range or a kind of axis is wider than its types say
    made = figure(
        x_range=ends,
        y_range=ends[::-1],
        height=300,
        sizing_mode="stretch_width",
        tools="hover,reset,save",
        x_axis_label="from memory",
        y_axis_label="to memory",
    )
    down, across = np.indices(values.shape)
    source = ColumnDataSource(
        dict(column=across.ravel(), row=down.ravel(), value=values.ravel()), name="matrix values"
    )
    top = float(np.abs(values).max()) or 1.0
    palette: Any = diverging_palette(Blues[256], Reds[256], 256)
    colours: Any = LinearColorMapper(palette=palette, low=-top, high=top)
    fill = dict(field="value", transform=colours)
    made.rect("column", "row", 1, 1, source=source, fill_color=fill, line_color="white")
    tips = [(label, "@value{0.000}"), ("from", "@column"), ("to", "@row")]
    made.select(HoverTool)[0].tooltips = tips
    _dress(made)
    made.axis.ticker = SingleIntervalTicker(interval=max(P // 12, 1), num_minor_ticks=0)
    made.grid.visible = False
    return Figures({"matrix": made}, {"matrix": source})


def _script(function: str, argument: str) -> Any:
    """What calls a function of page.js."""
    from bokeh.models import CustomJS

    return CustomJS(code=f"window.hopfax.{function}({argument})")


def new_figure(x: Scale, y: Scale | None, height: int, limits: bool = False) -> Any:
    """An empty figure with these axes."""
    from bokeh.plotting import figure as new

    label = as_text(y.label) if y is not None else "value"
    ends: dict[str, Any] = {}
    for side, one in (("x", x), ("y", y)):
        if one is not None and limits:
            ends[f"{side}_range"] = one.limits
    kinds = ["log" if one is not None and one.log else "linear" for one in (x, y)]
    figure: Any = new  # what it takes for a kind of axis is wider than its types say
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        tools=_TOOLS,
        x_axis_label=as_text(x.label),
        y_axis_label=label,
        x_axis_type=kinds[0],
        y_axis_type=kinds[1],
        min_border_right=12,
        min_border_left=58,
        **ends,
    )
    for axis, one in ((made.xaxis[0], x), (made.yaxis[0], y)):
        if one is not None and one.words:
            axis.ticker = one.values.tolist()
            axis.major_label_overrides = dict(zip(one.values.tolist(), one.words, strict=True))
    _dress(made)
    return made


def _dress(figure: Any) -> None:
    """Fonts of the system, quiet lines."""
    font = "system-ui, sans-serif"
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.outline_line_color = _FRAME
    figure.grid.grid_line_color = _GRID
    figure.axis.axis_line_color = _FRAME
    figure.axis.major_tick_line_color = figure.axis.minor_tick_line_color = _FRAME
    figure.axis.axis_label_text_font = figure.axis.major_label_text_font = font
    figure.axis.axis_label_text_font_size = "13px"
    figure.axis.major_label_text_font_size = "12px"
    figure.axis.axis_label_text_font_style = "normal"
    figure.axis.axis_label_text_color = figure.axis.major_label_text_color = "#3A3A44"


def _values_over_axis(figure: Any) -> dict[str, Any]:
    """The values of a sweep over one axis, with their errors, over the bands."""
    from bokeh.models import ColumnDataSource, Whisker

    values = ColumnDataSource(dict(x=[], y=[], low=[], high=[]), name="values")
    bars: Any = Whisker(base="x", lower="low", upper="high", source=values, line_color=_INK)
    bars.upper_head.line_color = bars.lower_head.line_color = _INK
    figure.add_layout(bars)
    figure.line("x", "y", source=values, color=_INK, line_width=1.2)
    figure.scatter("x", "y", source=values, size=6, fill_color="white", line_color=_INK)
    return {"values": values}


def _no_lines(name: str) -> Any:
    from bokeh.models import ColumnDataSource

    names = ("xs", "ys", "colour", "dash", "width", "text")
    return ColumnDataSource({column: [] for column in names}, name=name)


def _draw(figure: Any, lines: Any, halo: bool = True) -> Any:
    """Draw lines, over a pale outline so that they are seen on dark fills."""
    if halo:
        figure.multi_line("xs", "ys", source=lines, line_color="white", line_width=4.0)
    look = dict(line_color="colour", line_dash="dash", line_width="width")
    return figure.multi_line("xs", "ys", source=lines, **look)
