"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt in whatever the main thread does at that moment. In the middle of
tracing or compiling that may be a callback whose exceptions are dropped, or turned into another
error, and the work would go on as if nothing had been pressed. So it is also counted, and looked
for between any two steps.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class Stopped:
    """Whether Ctrl-C has ended what `until_stopped` encloses."""

    def __init__(self, check: Callable[[], None]):
        self.check = check  # raises KeyboardInterrupt if it was pressed
        self.pressed = False


@contextlib.contextmanager
def until_stopped() -> Iterator[Stopped]:
    """A context that Ctrl-C leaves at its end, without an exception.

    A KeyboardInterrupt that something inside has raised by itself passes through.
    """
    stopped = Stopped(lambda: None)
    try:
        with heard() as check:
            stopped.check = check
            yield stopped
    except KeyboardInterrupt:
        try:
            stopped.check()
        except KeyboardInterrupt:
            stopped.pressed = True
            return
        raise


@contextlib.contextmanager
def heard() -> Iterator[Callable[[], None]]:
    """A context in which Ctrl-C is remembered until it has been raised.

    What is entered is a function that raises KeyboardInterrupt if it was pressed. At the end of the
    context it is raised in any case, also in place of the error that it became.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None  # Ctrl-C does not come here, or is ignored
        return
    pressed = 0

    def handle(number, frame):
        nonlocal pressed
        pressed += 1
        before(number, frame)

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield check
        check()
    except Exception as error:
        if not pressed:
            raise
        stop = KeyboardInterrupt()
        for note in getattr(error, "__notes__", ()):
            tell(stop, note)
        raise stop from error
    finally:
        signal.signal(signal.SIGINT, before)


def tell(error: BaseException, text: str) -> None:
    """Have an error say what is kept and how to go on: a KeyboardInterrupt, which says nothing by
    itself, in its message, which notebooks show; any other in a note after its own message."""
    if isinstance(error, KeyboardInterrupt):
        error.args = ("\n".join([*map(str, error.args), text]),)
    else:
        error.add_note(text)
