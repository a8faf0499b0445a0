"""The explorer's page and its server, made with Bokeh (extra `web`)."""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from bokeh.document import Document

from .. import _dense, _rate, _sequential
from .._memories import Source
from . import _server
from ._page import Page

VIEWS = (_sequential.VIEW, _dense.VIEW, _rate.VIEW)


@contextlib.contextmanager
def serving(
    sources: Mapping[str, Source], begin: tuple[str, str, int | None], port: int
) -> Iterator[tuple[str, str]]:
    """While inside, the explorer is served: its address, without and with the token.

    **Arguments:** `sources`: memories that it offers. `begin`: the view and the memories that a
    page begins with, and how many. `port`: 0 for any free one.

    **Raises:** OSError if the port cannot be had.
    """
    pools = [ThreadPoolExecutor(1, thread_name_prefix=f"hopfax-{name}") for name in ("run", "more")]

    def make(document: Document) -> None:
        Page(document, VIEWS, sources, begin, pools)

    try:
        with _server.serving(make, port) as found:
            yield found
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
