"""Progress: a bar by tqdm on a terminal, and a line every ten seconds where there is none."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, amount: int = 1) -> None:
        del amount

    def set_postfix_str(self, text: str) -> None:
        del text


class _Lines:
    """Says every ten seconds and at the end how far it is: in a file or a pipe no bar can move.

    A thread looks, too, for a unit may take long, of which compiling is a part. Where one such
    context is inside another, whichever has the word next says it for both.
    """

    last = 0.0  # when any of them last said something

    def __init__(self, total: int, unit: str, done: int):
        self.total, self.unit, self.done = total, unit, done
        self.begun = _Lines.last = time.monotonic()
        self.note = ""

    def update(self, amount: int = 1) -> None:
        self.done += amount
        self.say_if_due()

    def say_if_due(self) -> None:
        if time.monotonic() - _Lines.last >= _EVERY:
            self.say()

    def say(self) -> None:
        _Lines.last = time.monotonic()
        far = f"{self.done}/{self.total} {self.unit}{self.note}, {_Lines.last - self.begun:.0f} s"
        sys.stderr.write(f"hopfax: {far}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """A context in which a thread looks whether something is to be said."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_TICK):
                self.say_if_due()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def set_postfix_str(self, text: str) -> None:
        self.note = f", {text}" if text else ""


_EVERY = 10.0  # seconds
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

    `show`: whether it is seen; "auto": on a terminal. The bar is that of tqdm, if installed. Where
    it could not move, True says every ten seconds and at the end how far it is.
    """
    terminal = sys.stderr.isatty()
    moving = terminal or (show is True and hasattr(sys, "ps1"))  # which notebooks have, too
    bar = _bar() if moving and show else None
    if bar is not None:
        options: Any = dict(unit=unit, dynamic_ncols=True, smoothing=0.1)
        with bar(total=total, initial=done, **options) as shown:
            yield shown
    elif show is True:
        lines = _Lines(total, unit, done)
        with lines.ticking():
            yield lines
        lines.say()
    else:
        yield _Silent()


def _bar() -> Any:
    """The bar of tqdm; None if that is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
