"""Ctrl-C: the first one stops a command, the second one ends it at once.

What is inside compiled code, or waits for a thread, hears of an interruption late, and some code
that calls back into Python swallows it. So a thread listens, which the system tells of signals
whatever the main thread does. After the first Ctrl-C it interrupts the main thread until that gives
way. At the second one it says how to go on and ends the process: a sweep may be killed at any
moment without a loss, since its blocks count only when they are complete.
"""

import _thread
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ._console import complain

#: Exit status of a command that was interrupted.
STATUS = 130
_AGAIN = 0.5  # seconds until a main thread that does not give way is interrupted again


class _State:
    """What the interruptions of this process have come to."""

    def __init__(self):
        self.seen = False  # a first one
        self.ending = False  # it has led to the end of the command
        self.once = False  # what runs counts it, and comes to an end by itself
        self.said = False  # that there was one, and how to go on
        self.saying = threading.Lock()
        self.advice: Callable[[], list[str]] = list
        self.tell: socket.socket | None = None  # kept open


_state = _State()


def seen() -> bool:
    """Whether Ctrl-C was pressed in `interruptible`."""
    return _state.seen


def advise(advice: Callable[[], list[str]]) -> None:
    """From now on, an end by Ctrl-C prints these lines, whatever it comes upon."""
    _state.advice = advice


@contextlib.contextmanager
def once() -> Iterator[None]:
    """While inside, a first Ctrl-C interrupts the main thread once: for what counts it
    (`hopfax._interrupt`) and then returns what it has. That is not interrupted any more; a second
    Ctrl-C still ends the process."""
    _state.once = True
    try:
        yield
    finally:
        _state.once = False


def say(notes: list[str]) -> None:
    """Print that the command was interrupted, these lines and the advice, unless that was said
    before."""
    _state.ending = True
    lines = dict.fromkeys(["hopfax: interrupted", *notes, *_state.advice()])
    mine = _state.saying.acquire(timeout=2.0)  # else whoever has it cannot print either
    if not (_state.seen and _state.said):
        _state.said = True
        complain("\n".join(lines))
    if mine:
        _state.saying.release()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While inside, and afterwards if Ctrl-C was pressed, a second one ends the process.

    For a process that is there for a command alone. Nothing is changed in another thread than the
    main one, or where somebody else handles the signal.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    hear, tell = socket.socketpair()
    tell.setblocking(False)
    _state.tell = tell
    threading.Thread(target=_listen, args=(hear,), daemon=True).start()
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupt)
    shown, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    finally:
        _state.ending = True
        sys.unraisablehook = shown
        if _state.said:  # the end of Python would wait for threads
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(STATUS)
        if not _state.seen:  # else it would come too late
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(-1)
            tell.close()


def _unraisable(error: Any) -> None:
    """Say nothing of an interruption that was swallowed, since there will be another one."""
    if not issubclass(error.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(error)


def _interrupt(number: int, frame: object) -> None:
    """Interrupt the main thread, unless it is giving way."""
    del number, frame
    _state.seen = True
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None and not _state.ending:
        _state.ending = _state.once
        raise KeyboardInterrupt


def _listen(hear: socket.socket) -> None:
    """Wait for signals; interrupt the main thread again, and end the process at the second."""
    count = own = 0
    with hear:
        while True:
            try:
                heard = hear.recv(64)
            except TimeoutError:
                if not _state.ending:
                    own += 1
                    _thread.interrupt_main()
                continue
            if not heard:
                return
            count += heard.count(signal.SIGINT)
            hear.settimeout(_AGAIN if count else None)
            if count - own > 1:
                say([])
                os._exit(STATUS)
