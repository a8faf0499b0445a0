"""Progress: a bar by tqdm on a terminal and in a notebook, elsewhere a line every ten seconds."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, amount: int = 1) -> None:
        del amount

    def set_postfix_str(self, text: str) -> None:
        del text


class _Lines:
    """Says every ten seconds how far it is: in a file or a pipe no bar can move.

    Where one such context is inside another, whichever has the word next says it for both.
    """

    last = 0.0  # when any of them last said something

    def __init__(self, total: int, unit: str, done: int):
        self.total, self.unit, self.done = total, unit, done
        self.first = done
        self.begun = _Lines.last = time.monotonic()
        self.note, self.said = "", False

    def update(self, amount: int = 1) -> None:
        self.done += amount
        self.say_if_due()

    def say_if_due(self) -> None:
        if time.monotonic() - _Lines.last >= _EVERY:
            self.say()

    def say(self) -> None:
        _Lines.last = time.monotonic()
        self.said = True
        far = f"{self.done}/{self.total} {self.unit}{self.note}, {_Lines.last - self.begun:.0f} s"
        sys.stderr.write(f"hopfax: {far}{self.rest(_Lines.last - self.begun)}\n")
        sys.stderr.flush()

    def rest(self, elapsed: float) -> str:
        """How long it will take from now on, if all units take as long as those so far; a fit may
        end before its last one."""
        made, left = self.done - self.first, self.total - self.done
        about = "at most" if self.unit in _EARLY else "about"
        return f", {about} {duration(elapsed / made * left)} left" if made > 0 and left > 0 else ""

    def set_postfix_str(self, text: str) -> None:
        self.note = f", {text}" if text else ""


@contextlib.contextmanager
def _ticking(look: Callable[[], Any]) -> Iterator[None]:
    """A context in which a thread calls `look` every second: a unit may take long, of which
    compiling is a part, and until it is over nothing else would show that anything goes on."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_TICK):
            look()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # Ctrl-C inside of tqdm leaves its lock with this thread, and the other one waits for it.
        thread.join(timeout=1.0)


_EVERY = 10.0  # seconds
_EARLY = ("step", "start", "strategy")  # units of fits, which end where they converge
_TICK = 1.0  # seconds between two looks


def check_progress(show: Any) -> None:
    """TypeError unless `show` is True, False or "auto"."""
    if not (isinstance(show, bool) or (isinstance(show, str) and show == "auto")):
        kind = repr(show) if isinstance(show, str | int | float | None) else type(show).__name__
        raise TypeError(f'`progress` must be True, False or "auto", got {kind}.')


@contextlib.contextmanager
def progress(
    total: int, unit: str, show: bool | Literal["auto"] = "auto", done: int = 0
) -> Iterator[Any]:
    """A bar of `total` units with a method `.update(k)`, of which `done` are done at the start.

    `show`: whether it is seen. On a terminal and in a notebook it is the bar of tqdm, if that is
    installed, which is redrawn every second. Elsewhere a line says every ten seconds how far it is,
    for True also at the end.
    """
    moving = show and (in_kernel() or sys.stderr.isatty() or (show is True and _prompted()))
    bar = _bar() if moving else None
    if bar is not None:
        options: Any = dict(unit=unit, dynamic_ncols=True, smoothing=0.1)
        with bar(total=total, initial=done, **options) as shown, _ticking(shown.refresh):
            yield shown
            _complete(shown)
    elif show:
        lines = _Lines(total, unit, done)
        with _ticking(lines.say_if_due):
            yield lines
        if show is True or lines.said:
            lines.say()
    else:
        yield _Silent()


def _complete(bar: Any) -> None:
    """Let a bar whose work needed fewer units than it might have end as complete: tqdm shows any
    other one in red, in a notebook."""
    if bar.total and bar.n < bar.total:
        bar.total = bar.n
        with contextlib.suppress(AttributeError):  # there is a container in a notebook alone
            bar.container.children[1].max = max(bar.n, 1)


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # which a kernel has imported
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _prompted() -> bool:
    """Whether Python was started with a prompt."""
    return hasattr(sys, "ps1")


def _bar() -> Any:
    """The bar of tqdm that fits here, as `tqdm.auto` chooses it but without its warning; None if
    tqdm is not installed. In a notebook without ipywidgets it is the one in letters."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    if in_kernel():
        from tqdm import notebook

        return tqdm if getattr(notebook, "IProgress", None) is None else notebook.tqdm
    return tqdm


def duration(seconds: float) -> str:
    """A number of seconds in the unit that reads best."""
    if math.isnan(seconds):
        return "an unknown time"
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
