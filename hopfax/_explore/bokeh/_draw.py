"""How panels, images and numbers look on the page."""

import html
import math
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    Div,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from ..._palette import look_of
from .._model import PLAIN, THEORY, Panel, Row, Shown

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_GREY = "#5b5f66"
_GREYS = [f"#{k:02x}{k:02x}{k:02x}" for k in range(16, 256)]
_WHITE = 100  # the whole number that is white; its negative is black
_ACROSS, _TILE = 6, 92  # tiles in a row, pixels of one
_WORDS = {THEORY: "theory", PLAIN: ""}  # in place of a memory
_LONG = 2.0  # seconds that no run takes, but a program that is made for it
#: Of the text inside widgets, which styles of the page do not reach.
SHEET = f""":host {{ font-family: {FONT}; font-size: 14px; line-height: 1.45; color: #1b1b23; }}
h2 {{ font-size: 14px; font-weight: 600; margin: 8px 0 0; }} p {{ margin: 4px 0; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: 3px 8px 3px 0; text-align: left; border-bottom: 1px solid #d9dbde;
  font-variant-numeric: tabular-nums; }} th {{ font-weight: 600; }}
th[scope=col] {{ white-space: nowrap; }}
.failed {{ color: #9c1c1c; font-weight: 600; }} small {{ color: {_GREY}; }}
.key {{ white-space: nowrap; margin-right: 12px; display: inline-block; }}
svg {{ vertical-align: middle; margin-right: 4px; }}"""
#: Fonts and sizes of what is drawn.
_AXIS = dict(
    axis_label_text_font=FONT, major_label_text_font=FONT, axis_label_text_font_style="normal"
)
THEME = {
    "attrs": {
        "Axis": _AXIS | dict(axis_label_text_font_size="12px", major_label_text_font_size="11px"),
        "Grid": {"grid_line_color": "#e7e8ea"},
        "Plot": {"outline_line_color": None, "background_fill_color": "#ffffff"},
    }
}


def text(name: str) -> Div:
    """A piece of text of the page."""
    return Div(name=name, stylesheets=[SHEET], sizing_mode="stretch_width")


def _colour(look: int) -> str:
    return _GREY if look < 0 else look_of(look).colour


def _dash(look: int) -> str:
    return {THEORY: "dashed", PLAIN: "solid"}.get(look) or look_of(look).svg or "solid"


class Diagram:
    """A panel's place on the page: a heading and a plot, whose data are replaced."""

    def __init__(self, name: str, height: int = 230):
        self.title = text(f"{name}-title")
        self.lines = ColumnDataSource(_columns(None), name=f"{name}-lines")
        self.dots = ColumnDataSource(dict(x=[], y=[], edge=[], fill=[]), name=f"{name}-dots")
        plot = figure(
            height=height,
            sizing_mode="stretch_width",
            x_range=Range1d(start=0, end=1),
            y_range=Range1d(start=0, end=1),
            toolbar_location=None,
            tools=[HoverTool(tooltips=[("", "@what"), ("", "$x, $y")])],
            min_border_left=56,
            min_border_right=12,
        )
        look: Any = dict(line_color="edge", line_dash="dash", line_width="width")
        plot.multi_line("xs", "ys", source=self.lines, **look)
        dots: Any = dict(line_color="edge", fill_color="fill", line_width=2, size=10)
        plot.scatter("x", "y", source=self.dots, **dots)
        self.now = Span(dimension="height", line_color=_GREY, line_width=1, visible=False)
        plot.add_layout(self.now)
        self.plot, self.place = plot, column(self.title, plot, sizing_mode="stretch_width")

    def show(self, panel: Panel | None) -> None:
        """Draw a panel, or nothing."""
        self.place.visible = panel is not None
        if panel is None:
            return
        self.title.text = f"<h2>{html.escape(panel.title)}</h2>"
        self.plot.xaxis[0].axis_label, self.plot.yaxis[0].axis_label = panel.xlabel, panel.ylabel
        self.plot.x_range.update(start=panel.xs[0], end=panel.xs[1])
        self.plot.y_range.update(start=panel.ys[0], end=panel.ys[1])
        self.lines.data = _columns(panel)
        edges = [_colour(dot.look) for dot in panel.dots]
        fills = [_colour(d.look) if d.filled else "#ffffff" for d in panel.dots]
        places: dict[str, Any] = dict(
            x=[dot.x for dot in panel.dots], y=[dot.y for dot in panel.dots]
        )
        places |= dict(edge=edges, fill=fills)
        self.dots.data = places
        self.now.visible = panel.timed

    def at(self, moment: float) -> None:
        """Mark a time."""
        self.now.location = moment


def _columns(panel: Panel | None) -> dict[str, Any]:
    lines = panel.lines if panel is not None else ()
    return dict(
        xs=[line.x for line in lines],
        ys=[line.y for line in lines],
        edge=[_colour(line.look) for line in lines],
        dash=[_dash(line.look) for line in lines],
        width=[2.2 if line.look >= 0 else 1.5 for line in lines],
        what=[_WORDS.get(line.look, f"memory {line.look}") for line in lines],
    )


class Tiles:
    """The state at a moment and the memories, as images."""

    def __init__(self):
        self.title = text("images-title")
        self.images = ColumnDataSource(dict(image=[], x=[], y=[], w=[], h=[]), name="tiles")
        self.labels = ColumnDataSource(dict(x=[], y=[], text=[]), name="labels")
        self.frame = ColumnDataSource(dict(x=[], y=[], w=[], h=[], edge=[]), name="frame")
        plot = figure(
            width=_ACROSS * _TILE,
            height=_TILE,
            sizing_mode="scale_width",
            max_width=_ACROSS * _TILE,
            x_range=Range1d(start=-0.04, end=_ACROSS),
            y_range=Range1d(start=-1, end=0),
            toolbar_location=None,
            tools="",
            min_border=0,
        )
        plot.axis.visible = plot.grid.visible = False
        colours = LinearColorMapper(palette=_GREYS, low=-_WHITE, high=_WHITE)
        place: Any = dict(x="x", y="y", source=self.images, color_mapper=colours)
        plot.image(image="image", dw="w", dh="h", **place)
        plot.rect(
            *("x", "y"), width="w", height="h", source=self.frame, fill_color=None,
            line_color="edge", line_width=3,
        )  # fmt: skip
        plot.text(
            *("x", "y"), text="text", source=self.labels, text_align="center",
            text_baseline="top", text_font_size="11px", text_font=value(FONT),
        )  # fmt: skip
        self.plot, self.place = plot, column(self.title, plot, sizing_mode="stretch_width")

    def show(self, state: np.ndarray, memories: np.ndarray, m: np.ndarray, when: str) -> None:
        """Draw a state (height, width) and memories (K, height, width), from -1 to 1, and the
        overlaps of the state with these."""
        images = [state, *memories]
        rows = math.ceil(len(images) / _ACROSS)
        size = 0.86 / max(state.shape)
        h, w = size * state.shape[0], size * state.shape[1]
        x = [k % _ACROSS + (0.9 - w) / 2 for k in range(len(images))]
        y = [-1.2 * (k // _ACROSS) - 0.45 - h / 2 for k in range(len(images))]
        best = int(np.nanargmax(abs(m))) if np.isfinite(m).any() else -1
        self.plot.y_range.update(start=-1.2 * rows, end=0.0)
        self.plot.update(height=round(1.2 * rows * _TILE))
        self.images.data = dict(
            image=[_bytes(image) for image in images],
            x=x,
            y=y,
            w=[w] * len(images),
            h=[h] * len(images),
        )
        names = ["state", *(f"{k}: {round(value, 2) + 0.0:.2f}" for k, value in enumerate(m))]
        middles = [left + w / 2 for left in x]
        self.labels.data = dict(
            x=middles, y=[-1.2 * (k // _ACROSS) - 0.95 for k in range(len(images))], text=names
        )
        marked = [0, best + 1] if best >= 0 and abs(m[best]) > 0.5 else []
        self.frame.data = dict(
            x=[middles[k] for k in marked],
            y=[y[k] + h / 2 for k in marked],
            w=[w + 0.05] * len(marked),
            h=[h + 0.05] * len(marked),
            edge=[look_of(best).colour] * len(marked),
        )
        self.title.text = f"<h2>State at {html.escape(when)}, and memories with its overlaps</h2>"


def _bytes(image: np.ndarray) -> np.ndarray:
    """An image from -1 to 1 as whole numbers, which are sent with an eighth of the bytes; the
    first row is the lowest."""
    return np.rint(_WHITE * np.nan_to_num(image[::-1].clip(-1, 1))).astype(np.int8)


def outcome(shown: Shown, seconds: float) -> str:
    """How the run ended, as HTML."""
    kind = ' class="failed"' if shown.status else ""
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in shown.notes)
    took = f"computed in {1e3 * seconds:.0f} ms"
    if seconds > _LONG:
        took = f"made ready, once, and computed in {seconds:.0f} s"
    return f'<p role="status"{kind}>{html.escape(shown.outcome)} <small>{took}</small></p>{notes}'


def problem(words: str) -> str:
    """What is wrong, as HTML."""
    return f'<p role="alert" class="failed">{html.escape(words)}</p>'


def key(count: int) -> str:
    """Which colour is which memory, as HTML."""
    items = []
    for mu in range(count):
        look = look_of(mu)
        line = f'<line x1="0" y1="5" x2="22" y2="5" stroke="{look.colour}" stroke-width="3"'
        line += f' stroke-dasharray="{look.svg}"/>'
        picture = f'<svg width="22" height="10" aria-hidden="true">{line}</svg>'
        items.append(f'<span class="key">{picture}memory {mu}</span> ')
    return "<p>" + "".join(items) + "</p>"


def table(rows: tuple[Row, ...]) -> str:
    """The theory beside the run, as HTML."""
    cells = "".join(
        f"<tr><th scope=row>{html.escape(row.quantity)}</th><td>{_number(row.predicted)}</td>"
        f"<td>{_number(row.measured)}</td></tr>"
        for row in rows
    )
    head = "<tr><th scope=col></th><th scope=col>predicted</th><th scope=col>this run</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{cells}</tbody></table>"


def _number(value: float | str | None) -> str:
    if value is None:
        return "..."
    if isinstance(value, str):
        return html.escape(value)
    return "-" if math.isnan(value) else f"{value:.5g}"
