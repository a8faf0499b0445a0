"""The built site in a browser, wide and narrow, light and dark. First: `python -m docs build`."""

import functools
import http.server
import threading

import pytest
from browser import Watched, browser
from helpers import ROOT

SITE = ROOT / "build" / "site" / "site"
PAGES = sorted(file.parent.relative_to(SITE).as_posix() for file in SITE.rglob("index.html"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the site is not built: python -m docs build"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_page_is_shown_whole_with_all_its_pictures(chromium, address, width, scheme):
    shown = Watched(chromium, width, color_scheme=scheme)
    wrong = []
    for name in PAGES:
        shown.page.goto(address + name + "/")
        wide = shown.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        # pictures further down are loaded when they are scrolled to
        images = shown.page.evaluate(
            """async () => {
                const all = [...document.querySelectorAll('article img')];
                all.forEach(image => image.loading = 'eager');
                await Promise.all(all.map(image => image.decode().catch(() => null)));
                return all.filter(image => !image.naturalWidth || !image.alt).map(i => i.src);
            }"""
        )
        if wide > 0 or images:
            wrong.append((name, wide, images))
    assert not wrong and not shown.errors
    assert [url for url in shown.requests if not url.startswith(address)] == []


def test_a_name_is_found_and_the_page_is_turned_dark_by_keys_alone(chromium, address):
    page = Watched(chromium).page
    page.goto(address)
    page.keyboard.press("Control+k")
    page.keyboard.type("dwell_time")
    # a heading of the API, which the first page does not show
    page.wait_for_selector("text=theory.sequential.dwell_time", timeout=20_000)
    page.keyboard.press("Escape")
    light = page.evaluate("document.body.dataset.mdColorScheme")
    page.evaluate("document.querySelector('label[for^=__palette]:not([hidden])').focus()")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.body.dataset.mdColorScheme != '{light}'")
