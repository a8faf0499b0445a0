"""Progress bars, shown if tqdm is installed and the output goes to a terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Literal


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, amount: int = 1) -> None:
        del amount

    def set_postfix_str(self, text: str) -> None:
        del text


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

    It is that of tqdm, if installed. `show`: whether it is seen; "auto" shows it on a terminal.
    """
    if show == "auto":
        show = sys.stderr.isatty()
    if show:
        try:
            from tqdm import tqdm
        except ImportError:
            show = False
        else:
            with tqdm(
                total=total, initial=done, unit=unit, dynamic_ncols=True, smoothing=0.1
            ) as bar:
                yield bar
    if not show:
        yield _Silent()
