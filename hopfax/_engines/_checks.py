"""Checks of diffrax that hopfax has made before, left out of the programs of runs.

diffrax tests, each time that a program runs, whether the save times lie in order within the run and
the first step leads forward, and calls back into Python where they do not. For `hopfax.simulate`
that never happens: known values are refused before, and unknown ones replaced by harmless ones
whose runs have a status. But a program that may call back cannot be kept for the next process, and
makes a GPU wait for the host.

Only these checks are left out, and only while hopfax traces its own run. One that diffrax words in
another way stays where it is. Checks of yours, in a network or an observer, are `equinox.error_if`,
which is not touched.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import equinox.internal as eqxi

_MADE = (
    "saveat.ts must be increasing or decreasing",
    "saveat.ts must lie between t0 and t1",
    "Must have (t1 - t0) * dt0 >= 0",
)
_every = eqxi.error_if
_tracing = threading.local()


@contextlib.contextmanager
def without_checks_made() -> Iterator[None]:
    """Trace without these checks, in this thread. Whoever traces in another thread at the same time
    keeps them all."""
    before = getattr(_tracing, "here", False)
    _tracing.here = True
    eqxi.error_if = _other
    try:
        yield
    finally:
        _tracing.here = before
        eqxi.error_if = _every


def _other(x: Any, pred: Any, msg: str, **options: Any) -> Any:
    """`equinox.internal.error_if` but for the checks that have been made."""
    if getattr(_tracing, "here", False) and msg.startswith(_MADE):
        return x
    return _every(x, pred, msg, **options)
