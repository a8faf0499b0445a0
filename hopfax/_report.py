"""How things show themselves: one short report, printed as text and shown in HTML in a notebook.

A class that says what it is in `_report` gets `repr` and HTML from `Reported`, which never fail:
what has tracers or strange leaves for values, as inside of `jax.jit`, falls back to its tree.
"""

import dataclasses
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from ._palette import SVG_DASHES, look_of
from ._types import is_concrete

_LISTED = 8  # numbers that are written out
_MANY = 2**22  # numbers above which their range is not looked for
_CELLS = 32  # rows of a matrix up to which it is drawn
_POINTS = 600  # of a line that is drawn
_NAMED = 32  # lines up to which each is named below a picture
_LINES = 64  # lines in one picture
_STYLE = "border-collapse:collapse;margin:0.3em 0"
_CELL = "text-align:left;padding:0 0.9em 0 0;vertical-align:top"
_NAME = f"{_CELL};white-space:nowrap"


class Report(NamedTuple):
    """What is said of a thing.

    - `title`: what it is, in one line.
    - `head`: further lines. `rows`: names and values. `tail`: lines after them.
    - `join`: what stands between a name and its value in text; None for columns.
    - `picture`: makes an SVG, for HTML.
    - `parts`: reports of what belongs to it.
    """

    title: str
    rows: Sequence[tuple[str, str]] = ()
    head: Sequence[str] = ()
    tail: Sequence[str] = ()
    join: str | None = None
    picture: Callable[[], str] | None = None
    parts: Sequence["Report"] = ()

    @property
    def text(self) -> str:
        """The report in lines of text."""
        width = max((len(name) for name, _ in self.rows), default=0) + 2
        lines = [self.title] if self.title else []
        lines += self.head
        indent = "  " if self.title else ""
        for name, value in self.rows:
            between = f"{name:<{width}}" if self.join is None else f"{name}{self.join}"
            lines.append(f"{indent}{between}{value}")
        lines += self.tail
        lines += [part.text for part in self.parts]
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The report in HTML."""
        found = [f"<div><strong>{_escaped(self.title)}</strong></div>"] if self.title else []
        found += [f"<div>{_escaped(line.strip())}</div>" for line in self.head]
        if self.rows:
            cells = "".join(
                f'<tr><th style="{_NAME}">{_escaped(name)}</th>'
                f'<td style="{_CELL}">{_escaped(value)}</td></tr>'
                for name, value in self.rows
            )
            found.append(f'<table style="{_STYLE}">{cells}</table>')
        found += [f"<div>{_escaped(line.strip())}</div>" for line in self.tail]
        if self.picture is not None:
            found.append(f"<div>{self.picture()}</div>")
        found += [part.html for part in self.parts]
        return f'<div class="hopfax-report">{"".join(found)}</div>'


class Reported:
    """Shows itself by its `_report`, as text and, in a notebook, as HTML."""

    def _report(self) -> Report:
        return fields_report(self)

    def __repr__(self) -> str:
        try:
            return self._report().text
        except Exception:  # a tree whose leaves are anything: a printed error would hide another
            return eqx.tree_pformat(self)

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        try:
            return self._report().html
        except Exception:
            return f"<pre>{_escaped(repr(self))}</pre>"


def fields_report(thing: Any, title: str = "", without: Iterable[str] = ()) -> Report:
    """A report of the fields of a dataclass, those left out that are None."""
    skipped = set(without)
    rows = [
        (field.name, in_brief(value))
        for field in dataclasses.fields(thing)
        if field.name not in skipped and (value := getattr(thing, field.name)) is not None
    ]
    return Report(title or type(thing).__name__, rows)


def in_brief(value: Any) -> str:
    """A value in a few words: a number, a short list, or the shape and range of an array."""
    if isinstance(value, jax.Array | np.ndarray | np.generic) and is_concrete(value):
        return _array(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Reported):
        return value._report().title
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        known = {name: part for name, part in parts.items() if part is not None}
        inner = ", ".join(f"{name} = {in_brief(part)}" for name, part in known.items())
        return type(value).__name__ + (f" ({inner})" if inner else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {in_brief(part)}" for name, part in value.items())
    if isinstance(value, list | tuple) and any(map(_has_parts, value)):
        return "; ".join(map(in_brief, value))
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _has_parts(value: Any) -> bool:
    return isinstance(value, Reported | Mapping | tuple | list) or hasattr(value, "dtype")


def _array(value: Any) -> str:
    if not np.issubdtype(value.dtype, np.number) and value.dtype != np.bool_:
        return f"{value.dtype}{list(value.shape)}"  # PRNG keys
    if value.size > _MANY:
        return f"{' x '.join(map(str, value.shape))} {value.dtype}"
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array.item():.6g}" if array.dtype.kind == "f" else str(array.item())
    if array.ndim == 1 and 0 < array.size <= _LISTED:
        return ", ".join(
            f"{entry:.4g}" if array.dtype.kind in "fc" else str(entry) for entry in array
        )
    shape = " x ".join(map(str, array.shape))
    if array.ndim == 2 and (order := _permuted(array)) is not None:
        return f"{shape}, {order}"
    if array.dtype.kind not in "fiu" or array.size == 0:
        return f"{shape} {array.dtype}"
    low, high = np.nanmin(array), np.nanmax(array)
    shown = f"all {low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return f"{shape} numbers, {shown}" if array.ndim == 1 else f"{shape}, {shown}"


def _permuted(matrix: np.ndarray) -> str | None:
    """For a matrix in which each column has one entry, 1, that of a cycle: the cycle."""
    P = len(matrix)
    if matrix.shape != (P, P) or P < 2 or not np.isin(matrix, (0, 1)).all():
        return None
    if not (matrix.sum(axis=0) == 1).all():
        return None
    path, following = [0], matrix.argmax(axis=0)
    while len(path) <= P and (after := int(following[path[-1]])) != 0:
        path.append(after)
    if sorted(path) != list(range(P)):
        return None
    shown = path if P <= _LISTED else [*path[: _LISTED - 2], "...", path[-1]]
    return f"the cycle {' -> '.join(map(str, [*shown, 0]))}"


def lines_svg(x: np.ndarray, curves: np.ndarray, label: str, height: int = 90) -> str:
    """A small picture of lines over x, one for each column of `curves`, with the range of both.

    A line is drawn through at most some hundred points: of more, through the least and the largest
    in each part, so that no peak is lost.
    """
    width, curves = 460, np.asarray(curves, float)[:, :_LINES]
    fine = np.isfinite(curves)
    if not fine.any() or len(x) < 2:
        return ""
    low, high = float(curves[fine].min()), float(curves[fine].max())
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    left, right = float(x[0]), float(x[-1])
    across = 4 + (np.asarray(x, float) - left) / ((right - left) or 1.0) * (width - 8)
    up = 4 + (high - curves) / (high - low) * (height - 8)
    found = []
    for mu in range(curves.shape[1]):
        at = _thinned(up[:, mu])
        pairs = " ".join(f"{across[k]:.1f},{up[k, mu]:.1f}" for k in at)
        look = look_of(mu)
        found.append(
            f'<polyline points="{pairs}" fill="none" stroke="{look.colour}" stroke-width="1.6" '
            f'stroke-dasharray="{look.svg}"><title>{_escaped(label)} {mu}</title></polyline>'
        )
    frame = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" fill="white" '
    text = _escaped(f"{label}: {low:.3g} to {high:.3g}, over {left:.4g} to {right:.4g}")
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">{frame}'
        f'stroke="#999"/>{"".join(found)}</svg>'
        f'<div style="font-size:85%">{text}{_key(curves.shape[1])}</div>'
    )


def _key(number: int) -> str:
    """The numbers of some lines, each underlined as its line looks."""
    if not 1 < number <= _NAMED:
        return ""
    styles: dict[str, str] = dict(
        zip(SVG_DASHES, ("solid", "dashed", "dotted", "double"), strict=True)
    )
    found = []
    for k in range(number):
        look = look_of(k)
        line = f"border-bottom:3px {styles[look.svg]} {look.colour}"
        found.append(f'<span style="{line};padding:0 0.4em">{k}</span>')
    return "; " + " ".join(found)


def _thinned(values: np.ndarray) -> list[int]:
    """The places of at most some hundred points that show how a line runs; none of NaN."""
    places = np.flatnonzero(np.isfinite(values))
    if places.size <= _POINTS:
        return places.tolist()
    kept = set()
    for part in np.array_split(places, _POINTS // 2):
        kept |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return sorted(kept | {int(places[0]), int(places[-1])})


def matrix_svg(matrix: Any, label: str) -> str:
    """A small picture of a square matrix: a larger entry is darker, a negative one crossed."""
    P = len(matrix)
    if not 1 < P <= _CELLS or np.shape(matrix) != (P, P):
        return ""
    matrix = np.asarray(matrix, float)
    top = float(np.abs(matrix).max(initial=0.0))
    if not np.isfinite(top) or top == 0:
        return ""
    side = max(160 // P, 5)
    found = []
    for (row, column), entry in np.ndenumerate(matrix):
        if entry == 0:
            continue
        x, y = column * side, row * side
        shade = round(235 - 200 * abs(entry) / top)
        found.append(
            f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="rgb({shade},{shade},'
            f'{min(shade + 25, 255)})"><title>{column} to {row}: {entry:.4g}</title></rect>'
        )
        if entry < 0:
            ends = f'x1="{x}" y1="{y}" x2="{x + side}" y2="{y + side}"'
            found.append(f'<line {ends} stroke="#E37A26" stroke-width="1.5"/>')
    size = P * side
    return (
        f'<svg width="{size + 2}" height="{size + 2}" viewBox="-1 -1 {size + 2} {size + 2}"><rect '
        f'width="{size}" height="{size}" fill="white" stroke="#999"/>{"".join(found)}</svg>'
        f'<div style="font-size:85%">{_escaped(label)}</div>'
    )


def _escaped(text: str) -> str:
    return html.escape(text)
