"""What a notebook shows: bars, interruptions and HTML, in a real kernel."""

import queue
import re
import time

import pytest

pytestmark = pytest.mark.slow

SETUP = """
import sys
{widgets}
import jax, jax.numpy as jnp, numpy as np
import hopfax as hx

def slow(a):
    return jax.lax.fori_loop(0, {loops}, lambda k, x: jnp.sin(x + a), a)

def swept(points, **options):
    grid = {{"a": np.linspace(0.0, 1.0, points)}}
    return hx.sweep(slow, grid, tile=8, chunk=8, tag="slow", **options)
"""


class Kernel:
    """A kernel of a notebook, and what it says to code that it is given."""

    def __init__(self, widgets):
        self.widgets = widgets
        manager = pytest.importorskip("jupyter_client.manager")
        self.manager, self.client = manager.start_new_kernel(kernel_name="python3")

    def run(self, code, until=None):
        """All messages to `code`; interrupted as soon as `until` of those so far is true."""
        number, found, end = self.client.execute(code), [], time.monotonic() + 240
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["msg_type"], message["content"]
            found.append((kind, content))
            if until is not None and until(found):
                until = None
                self.manager.interrupt_kernel()
            if kind == "status" and content["execution_state"] == "idle":
                return found
        raise AssertionError(f"no end of {code!r} after {len(found)} messages")


@pytest.fixture(
    scope="module", params=["", 'sys.modules["ipywidgets"] = None'], ids=["widgets", ""]
)
def kernel(request, tmp_path_factory):
    found = Kernel(not request.param)
    try:
        setup = SETUP.format(widgets=request.param, loops=400_000)
        assert not errors(found.run(setup))
        yield found
    finally:
        found.client.stop_channels()
        found.manager.shutdown_kernel(now=True)


def errors(messages):
    return [content for kind, content in messages if kind == "error"]


def shown(messages):
    """The texts in which a bar says how far it is."""
    streams = [content["text"] for kind, content in messages if kind == "stream"]
    states = [
        content["data"]["state"].get("value")
        for kind, content in messages
        if kind == "comm_msg" and content["data"].get("method") == "update"
    ]
    texts = [*streams, *(value for value in states if isinstance(value, str))]
    return [text.replace("\u2007", " ").replace("&lt;", "<") for text in texts]


def far(messages, least=1):
    """Whether a bar has moved by so many points."""
    return any(int(n) >= least for text in shown(messages) for n in re.findall(r"(\d+)/\d+", text))


def test_a_sweep_shows_a_bar_with_an_estimate_of_the_rest(kernel):
    messages = kernel.run("ds = swept(64)")
    assert not errors(messages)
    widgets = [
        content
        for kind, content in messages
        if kind == "display_data" and "application/vnd.jupyter.widget-view+json" in content["data"]
    ]
    assert len(widgets) == kernel.widgets
    text = "".join(shown(messages))
    assert "/64" in text and re.search(r"\[\d\d:\d\d<\d\d:\d\d", text)
    assert "Warning" not in text
    assert not shown(kernel.run("ds = swept(8, progress=False)"))


def test_an_interruption_says_what_is_stored_and_the_same_call_goes_on(kernel, tmp_path):
    call = f"ds = swept(400, store={str(tmp_path / 'store')!r})"
    (error,) = errors(kernel.run(call, until=lambda messages: far(messages, 16)))
    assert error["ename"] == "KeyboardInterrupt"
    found = re.match(r"(\d+) of 50 blocks are stored in .*store; (.*)", error["evalue"])
    assert found is not None, error["evalue"]
    assert 2 <= int(found[1]) < 50 and found[2] == "run the same sweep again to resume it."
    rest = kernel.run(call)
    assert not errors(rest)
    begun = re.search(r"(\d+)/400", "".join(shown(rest)))
    assert begun is not None and int(begun[1]) >= 8 * int(found[1])
    (said,) = [
        c["text"] for k, c in kernel.run("print(int((ds.status == 0).sum()))") if k == "stream"
    ]
    assert said.strip() == "400"


def test_an_interrupted_sweep_without_a_store_says_so(kernel):
    (error,) = errors(kernel.run("ds = swept(400)", until=far))
    assert error["ename"] == "KeyboardInterrupt"
    assert "nothing of it is kept. With sweep(..., store='a folder')" in error["evalue"]


def test_a_refinement_and_a_fit_show_bars(kernel):
    code = """
def exists(kappa):
    return {"exists": hx.theory.sequential.fixed_points(kappa, 4).exists}
ds = hx.refine(exists, {}, along="kappa", between=(1.0, 6.0), of="exists")
found = hx.fit(jnp.array(1.0), lambda m: m - jnp.array([1.0, 2.0]), where=lambda m: m)
"""
    messages = kernel.run(code)
    assert not errors(messages)
    text = "".join(shown(messages))
    assert "138 runs" in text and "loss" in text
    styles = [
        content["data"]["state"]["bar_style"]
        for kind, content in messages
        if kind == "comm_msg" and "bar_style" in content["data"].get("state", {})
    ]
    assert styles == (["success"] * 2 if kernel.widgets else [])


def test_things_show_themselves_in_html(kernel):
    code = "hx.TwoTimescaleHopfield(hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0)"
    (data,) = [c["data"] for k, c in kernel.run(code) if k == "execute_result"]
    assert "<table" in data["text/html"] and "<svg" in data["text/html"]
    assert data["text/plain"].startswith("TwoTimescaleHopfield of 3 memories")
