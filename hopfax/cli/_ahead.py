"""What a command needs at its end, made ready in a thread while its runs are compiled and computed.

Compiled code, the compiler and the reading of kept programs leave Python alone, so that meanwhile
another thread can import what draws, and have the theory of the picture traced and compiled.
"""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax

#: What stores and draws: it takes seconds to import. Nothing else that runs meanwhile imports them.
_LARGE = ("matplotlib.figure", "xarray", "zarr")


@contextlib.contextmanager
def ahead(*steps: Callable[[], Any]) -> Iterator[None]:
    """While inside, import the large packages and then take these steps, in double precision.

    Their results count for nothing: what stays are modules and programs. A step that fails does so
    again, and says why, where it is taken in earnest. Waits for the step that is being taken.
    """
    left = threading.Event()

    def work() -> None:
        with jax.enable_x64(True):
            for step in (*(partial(importlib.import_module, name) for name in _LARGE), *steps):
                if left.is_set():
                    return
                with contextlib.suppress(Exception):
                    step()

    thread = threading.Thread(target=work, name="hopfax-ahead")
    thread.start()
    try:
        yield
    except BaseException:
        left.set()
        raise
    thread.join()
