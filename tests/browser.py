"""A real browser without a window, in which pages that hopfax writes are tried."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

#: The browsers that may be there, from the distribution.
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright. Skips the test where there is none, but fails
    where the variable CI is set, for there has to be one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        assert not os.environ.get("CI"), f"there is no browser: none of {', '.join(NAMES)}."
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        # a container's root user has no sandbox to put the browser in
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page whose errors and requests are kept.

    `errors` are the console's messages of level error and exceptions, `requests` the addresses
    that the page asked for, without those of data that it has itself.
    """

    def __init__(self, started: Any, width: int = 1280, height: int = 900, **options: Any) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = started.new_page(viewport=dict(width=width, height=height), **options)
        self.page.on(
            "console", lambda line: self.errors.append(line.text) if line.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.requests.append(url)
