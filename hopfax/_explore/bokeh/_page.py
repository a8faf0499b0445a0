"""The page: widgets on one side, what they lead to on the other.

A slider that moves notes its value and asks for a run. Runs are computed one after the other in
another thread, each from the values that stand when it begins, so that a slider never waits for the
runs of all the places that it passed:

    slider -> noted, `_ask` -> `_work`: compute -> `_show`
                                 ^        | wanted anew meanwhile: once more
                                 +--------+
                                          | else: what takes longer than a run, in a second thread

"""

import asyncio
import base64
import binascii
import functools
import html
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from bokeh.document import Document, without_document_lock
from bokeh.layouts import column
from bokeh.models import Column, FileInput, Select, Slider
from bokeh.themes import Theme

from .._memories import Source, uploaded
from .._model import Shown, View
from . import _draw
from ._template import TEMPLATE

_IMAGES = 10  # memories that are shown as images
_PANELS = 3
_OWN = "own"  # the source that is uploaded


class Page:
    """One open page. `sources` by name; `begin`: the names of the view and of the source that it
    begins with, and how many memories (None: as many as the view says). `pools`: threads for runs,
    and for what takes longer."""

    def __init__(
        self,
        document: Document,
        views: Sequence[View],
        sources: Mapping[str, Source],
        begin: tuple[str, str, int | None],
        pools: Sequence[ThreadPoolExecutor],
    ):
        self._document, self._pools = document, pools
        self._views = {view.name: view for view in views}
        self._sources = dict(sources)
        self._settings = {view.name: view.defaults() for view in views}
        self._wanted, self._busy, self._seconds = 0, [False, False], 0.0
        self._shown: Shown | None = None
        self._open = True
        self._count = begin[2]
        self._widgets(begin)
        self._places()
        self._offer()
        self._lay_out()
        document.on_session_destroyed(self._closed)
        self._ask()

    @property
    def _view(self) -> View:
        return self._views[str(self.network.value)]

    @property
    def _source(self) -> Source:
        return self._sources[str(self.memories.value)]

    def _widgets(self, begin: tuple[str, str, int | None]) -> None:
        wide: Any = dict(sizing_mode="stretch_width", stylesheets=[_draw.SHEET])
        networks: list[Any] = [(view.name, view.title) for view in self._views.values()]
        self.network = Select(
            name="network", title="Network", options=networks, value=begin[0], **wide
        )
        self.memories = Select(name="memories", title="Memories", value=begin[1], **wide)
        self.count = Select(name="count", title="Number of memories", **wide)
        self.upload = FileInput(
            *(), name="upload", title="Your own images (PNG, JPEG)",
            accept=".png,.jpg,.jpeg", multiple=True, **wide,
        )  # fmt: skip
        self.moment = Slider(
            *(), name="moment", title="Moment that is shown, part of the run",
            start=0.0, end=1.0, step=0.005, value=0.5, **wide,
        )  # fmt: skip
        self.network.on_change("value", _then(self._offer))
        self.memories.on_change("value", _then(self._offer))
        self.count.on_change("value", _then(self._ask))
        self.upload.on_change("value", _then(self._when_whole))
        self.moment.on_change("value", _then(self._at))
        self.controls = {name: self._knobs(view) for name, view in self._views.items()}

    def _knobs(self, view: View) -> Column:
        """The sliders and choices of one view."""
        wide: Any = dict(sizing_mode="stretch_width", stylesheets=[_draw.SHEET])
        found: list[Any] = []
        for knob in view.knobs:
            name, title, low, high, step, value = knob
            range_: Any = dict(start=low, end=high, step=step, value=value)
            style = "0[.]000" if step < 0.01 else "0[.]00"
            slider = Slider(name=f"{view.name}-{name}", title=title, format=style, **range_, **wide)
            slider.on_change("value", functools.partial(self._set, view.name, name))
            found.append(slider)
        for choice in view.choices:
            given: Any = dict(options=list(choice.options), value=choice.options[0])
            select = Select(name=f"{view.name}-{choice.name}", title=choice.title, **given, **wide)
            select.on_change("value", functools.partial(self._set, view.name, choice.name))
            found.append(select)
        return column(*found, sizing_mode="stretch_width")

    def _places(self) -> None:
        """Where results appear."""
        self.about, self.state = _draw.text("about"), _draw.text("outcome")
        self.trouble, self.table = _draw.text("trouble"), _draw.text("theory")
        self.key = _draw.text("key")
        self.panels = [_draw.Diagram(f"panel{k}") for k in range(_PANELS)]
        self.tiles = _draw.Tiles()

    def _lay_out(self) -> None:
        wide: Any = dict(sizing_mode="stretch_width")
        choice = [self.network, self.about, self.memories, self.count, self.upload, self.trouble]
        top = column(*choice, name="choice", **wide)
        controls = column(*self.controls.values(), name="controls", **wide)
        first = column(self.state, self.table, name="numbers", **wide)
        drawn = [panel.place for panel in self.panels]
        images = column(self.moment, self.tiles.place, name="images", **wide)
        lines = column(self.key, *drawn[:2], name="lines", **wide)
        for root in (top, controls, first, images, lines, column(drawn[2], name="law", **wide)):
            self._document.add_root(root)
        self._document.theme = Theme(json=_draw.THEME)
        self._document.title = "hopfax explore"
        template: Any = TEMPLATE
        self._document.template = template

    # What widgets do

    def _offer(self) -> None:
        """Show the view that is chosen, with the memories and the numbers of them that it has."""
        names = [(name, source.title) for name, source in self._sources.items()]
        self.memories.options = names  # pyright: ignore[reportAttributeAccessIssue]
        view, source = self._view, self._source
        for name, controls in self.controls.items():
            controls.visible = name == view.name
        self.about.text = f"<p><small>{html.escape(view.about)}</small></p>"
        counts = sorted({min(count, source.most) for count in view.counts})
        wanted = self._count or view.count
        self.count.options = [str(count) for count in counts]
        chosen = str(min(counts, key=lambda count: abs(count - wanted)))
        if self.count.value != chosen:
            self.count.value = chosen  # which asks
        self._ask()

    def _set(self, view: str, name: str, attribute: str, before: Any, value: Any) -> None:
        del attribute, before
        self._settings[view][name] = value
        self._ask()

    def _when_whole(self) -> None:
        """Contents arrive before the names of their files: take both when all of it is there."""
        document = self.upload.document
        if document is not None:
            document.add_next_tick_callback(self._uploaded)

    def _uploaded(self) -> None:
        """Take the images of the files that were chosen as memories, or say what is wrong."""
        names, contents = self.upload.filename, self.upload.value
        try:
            files = [
                (str(name), base64.b64decode(content, validate=True))
                for name, content in zip(names, contents, strict=True)
            ]
            source = uploaded(files)
        except (ValueError, ImportError, binascii.Error) as error:
            self.trouble.text = _draw.problem(_words(error))
            return
        self.trouble.text = ""
        name = next(n for k in range(10**6) if (n := f"{_OWN}{k}") not in self._sources)
        self._sources = {k: s for k, s in self._sources.items() if not k.startswith(_OWN)}
        self._sources[name] = source
        self._count = source.most
        self.memories.options = [(k, s.title) for k, s in self._sources.items()]  # pyright: ignore
        self.memories.value = name

    # Runs

    def _closed(self, context: Any) -> None:
        """Nobody looks any more."""
        del context
        self._open = False

    def _ask(self) -> None:
        """Have the run computed that the widgets describe now."""
        self._wanted += 1
        if not self.state.text:
            self.state.text = "<p>Making the program of this network ready.</p>"
        self._begin(False)

    def _begin(self, whole: bool) -> None:
        """Go to work, unless somebody is at it already. `whole`: with what takes longer."""
        if not self._busy[whole]:
            self._busy[whole] = True
            work: Any = functools.partial(self._work, whole)
            self._document.add_next_tick_callback(without_document_lock(work))

    async def _work(self, whole: bool) -> None:
        """Compute until nothing newer is wanted. What takes longer begins when runs are done, and
        counts only if it is still about the latest of them."""
        done = -1
        while done != self._wanted and self._open:
            done, asked = self._wanted, self._asked()
            computing = functools.partial(_computed, *asked, whole)
            pool = self._pools[whole]
            found, seconds = await asyncio.get_running_loop().run_in_executor(pool, computing)
            if whole and done != self._wanted:
                break
            shown = asyncio.Event()
            if not self._open:
                break
            show = functools.partial(self._show, found, seconds, whole, shown)
            self._document.add_next_tick_callback(show)
            await shown.wait()
        self._busy[whole] = False
        if not self._open:
            return
        if not whole or done != self._wanted:
            self._begin(True)

    def _asked(self) -> tuple[View, Source, int, dict[str, Any]]:
        view = self._view
        count = int(str(self.count.value))
        return view, self._source, count, dict(self._settings[view.name])

    def _show(self, found: Any, seconds: float, whole: bool, done: asyncio.Event) -> None:
        """Replace what is shown by a new run, or by what went wrong with it."""
        done.set()
        if not isinstance(found, tuple):
            self.state.text = _draw.problem(found)
            return
        shown, memories = found
        self._shown, self._memories = shown, memories
        self._seconds = self._seconds if whole else seconds
        self.state.text = _draw.outcome(shown, self._seconds)
        self.table.text = _draw.table(shown.rows)
        self.key.text = _draw.key(shown.overlaps.shape[1])
        timed = [panel for panel in shown.panels if panel.timed]
        others = [panel for panel in shown.panels if not panel.timed]
        places = [*timed, None][:2] + others[:1]
        for place, panel in zip(self.panels, places, strict=True):
            place.show(panel)
        self._at()

    def _at(self) -> None:
        """Show the chosen moment."""
        shown = self._shown
        if shown is None:
            return
        k = round(float(self.moment.value) * (len(shown.times) - 1))
        for panel in self.panels:
            panel.at(float(shown.times[k]))
        shape, patterns = self._memories
        self.tiles.place.visible = self.moment.visible = shape is not None
        if shape is None:
            return
        state = shown.frames.at(k).reshape(shape)
        images = patterns.reshape(-1, *shape)[:_IMAGES]
        when = f"{shown.times[k]:.4g} {shown.unit}"
        self.tiles.show(state, images, shown.overlaps[k, : len(images)], when)


def _then(action: Callable[[], None]) -> Callable[[str, Any, Any], None]:
    """A callback that does not ask what has changed."""

    def changed(attr: str, old: Any, new: Any) -> None:
        del attr, old, new
        action()

    return changed


def _computed(view: View, source: Source, count: int, settings: dict[str, Any], whole: bool) -> Any:
    """A run and its memories as they are shown, or a sentence of what went wrong; and how long it
    took."""
    begin = time.perf_counter()
    try:
        memories = source.first(count)
        shown = view.compute(memories, settings, whole)
        signs = shown.frames.signs
        drawn = np.sign(memories.signs.xi) if signs else 2 * np.asarray(memories.active.xi) - 1
        few = np.asarray(drawn)[: shown.overlaps.shape[1]]
        found: Any = shown, (memories.shape, few)
    except Exception as error:  # of one point, whatever it is: the page goes on
        found = _words(error)
    return found, time.perf_counter() - begin


def _words(error: Exception) -> str:
    """An error in one sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | TypeError | OSError | ImportError | RuntimeError):
        return text
    return f"This did not work, which is a fault of hopfax: {type(error).__name__}: {text}"
