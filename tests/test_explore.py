"""`hopfax explore`: what it computes, who may ask its server, and the page in a browser."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from browser import Watched, browser
from cli_helpers import elsewhere as elsewhere, refusal
from helpers import ROOT, assert_close

import hopfax as hx
from hopfax import _status
from hopfax._explore import _dense, _memories, _model, _rate, _sequential


def panel(shown, k):
    return [line for line in shown.panels[k].lines if line.look >= 0]


@pytest.fixture(scope="module")
def orthogonal():
    return _memories.hadamard(10).first(3)


# What is computed


@pytest.mark.slow
def test_a_sequence_is_that_of_the_library_beside_its_theory(orthogonal):
    settings = _sequential.VIEW.defaults() | {"kappa": 4.0, "tau": 20.0}
    shown = _sequential.VIEW.compute(orthogonal, settings, True)
    network = hx.TwoTimescaleHopfield(
        orthogonal.signs, hx.cyclic(3), kappa=4.0, tau=20.0, bias=0.01
    )
    start = network.init(saliency=[4.0, 0.0, 0.0])
    run = hx.simulate(network, start, np.linspace(0.0, 240.0, 401), observe=_sequential._rates)
    # both runs are exact up to the integrator's tolerance
    lines = panel(shown, 0)
    assert_close(np.stack([line.y for line in lines], 1), run.overlaps, 1e-9, "event-driven")
    assert_close(lines[0].x, np.linspace(0.0, 12.0, 401), 1e-12, "rounding")
    image = shown.frames.at(150)
    assert_close(image, np.sign(run.observed[150]), 0.0, "signs of all neurons, from classes")
    rows = {row.quantity: row for row in shown.rows}
    dwell = rows["dwell at this tau"]
    theory = hx.theory.sequential
    assert_close(dwell.predicted, theory.dwell_time(4.0, 20.0, 3), 1e-9, "the same function")
    assert_close(dwell.measured, dwell.predicted, 0.005 * 20, "as `dwell_time` promises")
    gain = rows["critical gain at this tau"]
    assert_close(gain.predicted, theory.critical_gain(3, tau=20.0, bias=0.01), 1e-9, "the same")
    assert gain.measured == "sequence at 4" and shown.outcome == "Outcome of this run: sequence."
    assert not shown.notes and not shown.status
    few = _sequential.VIEW.compute(orthogonal, settings | {"kappa": 2.0, "bias": 0.03}, False)
    rows = {row.quantity: row for row in few.rows}
    assert rows["critical gain at this tau"].predicted is None  # it takes longer than the run
    assert few.outcome == "Outcome of this run: collapse." and "bias = 0.03" in few.notes[0]


@pytest.mark.slow
def test_a_run_that_fails_says_so_in_words(orthogonal):
    settings = _sequential.VIEW.defaults() | {"tau": -1.0}
    shown = _sequential.VIEW.compute(orthogonal, settings, False)
    assert shown.status == _status.INVALID_PARAMETER
    assert shown.outcome == (
        "The run failed with status invalid_parameter: a parameter or start value is outside its "
        "domain."
    )
    low, high = shown.panels[0].ys  # of which nothing is known, but that it is drawn
    assert np.isfinite([low, high]).all() and low < high


@pytest.mark.slow
def test_a_recall_is_that_of_the_library_beside_its_first_step():
    memories = _memories.random(256, 0).first(64)
    shown = _dense.VIEW.compute(memories, _dense.VIEW.defaults() | {"order": "3", "start": 0.7})
    lines = panel(shown, 0)
    m = lines[0].y
    network = hx.DenseMemory(memories.signs, hx.Power(3))
    state = network.init(shown.frames.at(0))
    assert_close(m[0], 0.7, 1 / 1024, "a whole number of signs is changed")
    run = hx.iterate(network, state, 12)
    assert_close(m, run.overlaps[:, 0], 1e-12, "sums of integers")
    step = next(row for row in shown.rows if row.quantity == "overlap after one step")
    expected = hx.theory.dense.finite_first_step(hx.Power(3), 1024, 64, m[0])
    assert_close(step.predicted, expected, 1e-12, "the same function")
    assert step.measured == m[1] and shown.outcome == "Memory 0 is recalled; at rest."
    warm = _dense.VIEW.compute(memories, _dense.VIEW.defaults() | {"temperature": 1.5})
    assert "not recalled" in warm.outcome and "temperature zero" in warm.notes[0]


@pytest.mark.slow
def test_a_rate_memory_ends_in_a_state_of_rest_of_the_theory(orthogonal):
    shown = _rate.VIEW.compute(orthogonal, _rate.VIEW.defaults())
    rest = shown.rows[0]
    # a run of 24 time constants, over which what is left decays by e^-24 or so
    assert_close(rest.measured, rest.predicted, 1e-6, "near the state of rest")
    assert "Memory 0 is retrieved" in shown.outcome
    image = shown.frames.at(240) > 0
    np.testing.assert_array_equal(image, np.asarray(orthogonal.active.xi[0]) > 0)


def picture(seed, shape=(20, 30), kind="PNG"):
    from PIL import Image

    levels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(levels).save(file, kind)
        return file.getvalue()


def test_uploaded_images_become_memories_of_one_size():
    files = [("a.png", picture(0, (128, 96))), ("b.png", picture(1, (50, 50)))]
    found = _memories.uploaded(files).first(8)
    assert found.shape == (64, 48) and found.P == 2 and found.signs.binary
    assert found.even and set(np.unique(found.active.xi)) == {0.0, 1.0}
    for wrong, words in (
        ([("a.png", b"GIF89a"), files[1]], "a.png is no PNG or JPEG image"),
        (files[:1], "choose from 2 to 64 images at once, got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            _memories.uploaded(wrong)


def test_classes_of_more_memories_keep_their_number():
    one, other = (_memories.random(16, seed).first(9) for seed in (0, 1))
    sizes = {found.by_sign.patterns.N for found in (one, other)}
    assert sizes == {256}  # however many of the 256 occur
    classes = one.by_sign
    again = classes.sign * np.asarray(classes.patterns.xi)[:, classes.index]
    np.testing.assert_array_equal(again, np.asarray(one.signs.xi))
    assert float(np.sum(classes.patterns.counts)) == one.N


def test_an_axis_has_room_for_what_is_known():
    assert _model.span([np.nan, 3.0], least=(0.0, 1.0)) == (-0.12, 3.12)
    assert _model.span([], least=(0.0, 1.0)) == (-0.04, 1.04)


# The command


def test_bad_options_are_refused_in_one_line(command, tmp_path):
    for options, words in (
        (("--port", 70000), "`port` must be from 0 (any free one) to 65535, got 70000."),
        (("--memories", 1), "`memories` must be at least 2, got 1."),
        (("--patterns", "nowhere"), "`patterns` must be hadamard"),
        (("--patterns", "a.png", "b.txt"), "several must be PNG or JPEG images"),
    ):
        status, _, err = command("explore", "--no-browser", *options)
        assert status == 2 and words in refusal(err)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, err = command("explore", "--no-browser", "--port", taken.getsockname()[1])
    assert status == 2 and "--port 0 picks a free one" in refusal(err)


# The server and its page


class Served:
    """A server in a process of its own."""

    def __init__(self, folder):
        code = (
            "import signal, sys\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from hopfax.cli import main\nsys.exit(main())"
        )
        # what tests have compiled, so that a page does not wait for it
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(folder / "programs"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "explore", "--no-browser", "--memories", "3"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": cache},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        first, second = self.process.stdout.readline(), self.process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)/ .*Ctrl-C ends it\n", first)
        assert found, first + self.process.stderr.read()
        self.port = int(found[1])
        self.address = f"http://127.0.0.1:{self.port}/"
        self.entrance = second.removeprefix("open ").strip()
        assert re.fullmatch(re.escape(self.address) + r"\?token=[0-9a-f]{48}", self.entrance)

    def ask(self, path, **headers):
        """The status and the headers of the answer to a request, as they are sent."""
        given = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"} | headers
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items()), "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as link:
            link.sendall("\r\n".join(lines).encode())
            answer = b""
            while b"\r\n\r\n" not in answer and (more := link.recv(65536)):
                answer += more
        head = answer.split(b"\r\n\r\n")[0].decode().split("\r\n")
        return int(head[0].split()[1]), head[1:]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    found = Served(tmp_path_factory.mktemp("served"))
    yield found
    found.process.kill()
    found.process.communicate()


@pytest.fixture(scope="module")
def cookie(served):
    status, headers = served.ask(served.entrance.removeprefix(served.address.rstrip("/")))
    (line,) = [h for h in headers if h.lower().startswith("set-cookie:")]
    assert status == 200 and {"HttpOnly", "SameSite=Strict"} <= set(line.split("; "))
    name = line.split(": ")[1].split("=")[0]
    assert name == f"hopfax-explore-{served.port}"
    return line.split(": ")[1].split(";")[0]


_SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Protocol": "bokeh, none",
}


@pytest.mark.slow
def test_nothing_is_answered_without_the_token(served, cookie):
    script = "/static/js/bokeh.min.js"
    paths = ("/", script, "/ws", "/favicon.ico", "/metadata", "/autoload.js", "/nothing")
    for path in (*paths, "/?token=", f"/?token={'0' * 48}", f"{script}?token=0"):
        assert served.ask(path)[0] == 403, path
    assert served.ask("/ws", **_SOCKET)[0] == 403
    name, value = cookie.split("=", 1)
    for forged in (f"{name}=in", cookie[:-4] + "0000", f"other={value}"):
        assert served.ask("/", Cookie=forged)[0] == 403
    status, headers = served.ask(script, Cookie=cookie)
    assert status == 200 and "X-Content-Type-Options: nosniff" in [h for h in headers]
    for path in ("/autoload.js", "/metadata"):  # for pages of other sites: not needed
        assert served.ask(path, Cookie=cookie)[0] == 403


@pytest.mark.slow
def test_a_foreign_name_or_page_is_refused_with_the_cookie_too(served, cookie):
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1", "127.0.0.1:1"):
        assert served.ask("/static/js/bokeh.min.js", Host=host, Cookie=cookie)[0] == 403
        assert served.ask(served.entrance.split("/")[-1].join(["/", ""]), Host=host)[0] == 403
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        asked = _SOCKET | {"Origin": origin, "Cookie": cookie}
        assert served.ask("/ws", **asked)[0] == 403
    own = _SOCKET | {"Origin": served.address.rstrip("/"), "Cookie": cookie}
    assert served.ask("/ws", **own)[0] == 101


def until(page, script, value=True, seconds=240):
    """Wait till a script has this value; Playwright's own way needs `eval`, refused here."""
    end = time.monotonic() + seconds
    while page.evaluate(script) != value:
        assert time.monotonic() < end, script
        time.sleep(0.05)


def model(name):
    return f"Bokeh.documents[0].get_model_by_name({json.dumps(name)})"


@pytest.mark.slow
def test_the_page_follows_its_sliders(served, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with browser() as started:
        watched = Watched(started)
        page = watched.page
        page.goto(served.entrance)
        page.wait_for_url(served.address)  # without the token
        lines, told = model("panel0-lines"), model("theory")
        until(page, f"window.Bokeh?.documents[0] != null && {lines} != null")
        until(page, f"{lines}.data.xs.length", 3)
        until(page, f"{told}.text.includes('...')", False)
        _drag(page, lines, told)
        moment = page.locator(".noUi-handle:visible").last
        _chosen(page, moment)
        page.locator("select[name=network]").select_option(label="dense memory (discrete time)")
        until(page, f"{model('outcome')}.text.includes('Memory 0 is')")
        files = page.locator("input[type=file]")
        files.set_input_files([tmp_path / "0.png", tmp_path / "broken.png"])
        until(page, f"{model('trouble')}.text.includes('broken.png is no PNG or JPEG image')")
        files.set_input_files([tmp_path / f"{number}.png" for number in range(3)])
        until(page, f"{model('memories')}.value", "own0")
        until(page, f"{model('tiles')}.data.image[0].shape.join()", "20,30")
        assert page.evaluate(f"{model('tiles')}.data.image.length") == 4
        page.set_viewport_size(dict(width=400, height=900))
        until(page, "document.documentElement.scrollWidth <= 400", seconds=20)
        other = Watched(started).page  # a second one, at the same time
        other.goto(served.entrance)
        other.wait_for_url(served.address)
        until(other, f"window.Bokeh?.documents[0] != null && {lines} != null")
        until(other, f"{lines}.data.xs.length", 3)
        assert not watched.errors
        assert all(url.startswith(served.address) for url in watched.requests)


def _drag(page, lines, told):
    """Move the first slider, of the gain, by the keyboard."""
    sums = f"{lines}.data.ys.map(y => y.reduce((a, b) => a + b)).join()"
    before, theory = page.evaluate(sums), page.evaluate(f"{told}.text")
    handle = page.locator(".noUi-handle:visible").first
    handle.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    until(page, f"{model('sequential-kappa')}.value", 6.0)
    until(page, f"{told}.text.includes('sequence at 6<')")
    until(page, f"{told}.text.includes('...')", False)
    assert page.evaluate(f"{told}.text") != theory
    assert page.evaluate(sums) != before
    dwell = hx.theory.sequential.dwell_time(6.0, 50.0, 3)
    assert f"<td>{float(dwell):.5g}</td>" in page.evaluate(f"{told}.text")


def _chosen(page, handle):
    """Another moment shows another memory's image."""
    script = f"Array.from({model('tiles')}.data.image[0]).join()"
    before = page.evaluate(script)
    handle.focus()
    page.keyboard.press("End")  # where it is not the first memory, as in the middle
    until(page, f"{model('moment')}.value", 1)
    until(page, f"{script} != {json.dumps(before)}")


@pytest.mark.slow
def test_ctrl_c_ends_it_with_one_line(served):
    served.process.send_signal(signal.SIGINT)
    out, err = served.process.communicate(timeout=60)
    assert served.process.returncode == 130 and out == ""
    assert err == "hopfax: interrupted\n"
    with socket.socket() as link:
        assert link.connect_ex(("127.0.0.1", served.port)) != 0
