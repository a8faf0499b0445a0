"""Reports as HTML files, tried in a real browser: what is seen, said and drawn there."""

import re
import sys

import numpy as np
import pytest
from browser import Watched, browser
from cli_helpers import elsewhere as elsewhere, refusal

import hopfax as hx
from hopfax._palette import REGIME_COLOURS
from hopfax.plots._html._diagram import diagram_of
from hopfax.plots._html._pack import BLANK, rounded
from hopfax.plots._html._rerun import Again, simulated, thinned
from hopfax.plots._html._words import as_html, as_text


def test_labels_are_read_without_mathematics():
    assert as_text(r"start saliency $z_{0}(0)$") == "start saliency z₀(0)"
    assert as_html(r"$P = 4$, $\tau \to \infty$: $\kappa_c = 3.61$ <b>") == (
        "<i>P</i> = 4, <i>τ</i> → ∞: <i>κ</i><sub><i>c</i></sub> = 3.61 &lt;b&gt;"
    )


def test_lines_of_few_points_stay_at_the_curves():
    time = np.linspace(0.0, 10.0, 801)
    curves = np.stack([np.tanh(20 * (time - 3)), np.exp(-time)], axis=1)
    at = thinned(time, curves)
    assert at[0] == 0 and at[-1] == 800 and len(at) < 80
    drawn = np.stack([np.interp(time, time[at], curve[at]) for curve in curves.T], axis=1)
    assert np.abs(drawn - curves).max() <= 0.003  # what is promised
    ended = np.where(time[:, None] < 4, curves, np.nan)  # a run that failed
    assert time[thinned(time, ended)].max() < 4
    steps, low, high = rounded(np.array([-1.0, 0.5, np.nan, 3.0]))
    assert steps.tolist() == [0, 24575, BLANK, 65534] and (low, high) == (-1.0, 3.0)


FAILED = REGIME_COLOURS["failed"]


def point_of(tau=20.0, **how):
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=tau, bias=0.01)
    return hx.Point(network, dict(saliency=[3.0, 0.0, 0.0]), np.linspace(0.0, 10.0, 41), **how)


GRID = {"kappa": np.linspace(2.0, 7.0, 6), "init.saliency[0]": [1.2, 2.0, 3.0], "tau": [20.0, 40.0]}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A sweep with a slider, with failed points and points that have not been run."""
    point = point_of(per_tau=True)
    dataset = hx.sweep(point, GRID).load()
    dataset["status"][0, 0, :] = -1
    dataset["status"][1, 0, :] = 4
    file = tmp_path_factory.mktemp("report") / "sweep.html"
    return dataset, hx.plots.report(dataset, file, point=point, runs=12)


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def opened(report, chromium, request):
    seen = Watched(chromium, getattr(request, "param", 1280))
    seen.page.goto(report[1].as_uri())
    seen.page.wait_for_selector("html[data-ready=yes]")
    yield seen
    assert not seen.errors
    assert seen.requests == [report[1].as_uri()]
    seen.page.close()


def place_of(page, cell):
    """Where a cell of the map lies in the window."""
    return page.evaluate(
        """(k) => {
          const named = (name) => Bokeh.documents[0].get_model_by_name(name);
          const view = Bokeh.index.find_one(named("diagram")), { x, y } = named("cells").data;
          const { x_scale, y_scale } = view.frame, box = view.el.getBoundingClientRect();
          return [box.x + x_scale.compute(x[k]), box.y + y_scale.compute(y[k])];
        }""",
        cell,
    )


def column(page, source, name):
    found = f"Bokeh.documents[0].get_model_by_name('{source}').data['{name}']"
    plain = "(v) => typeof v === 'object' ? Array.from(v) : v"
    return page.evaluate(f"Array.from({found}, {plain})")


@pytest.mark.slow
def test_hover_says_what_a_point_is(report, opened):
    page = opened.page
    regime = report[0].regime.values[4, 1, 0]
    words = hx.observables.REGIMES[regime]
    for cell, told in ((6 * 1 + 4, words), (0, "not_run"), (1, "invalid_parameter")):
        x, y = place_of(page, cell)
        page.mouse.move(x - 4, y)
        page.mouse.move(x, y, steps=3)
        said = "(word) => document.getElementById('tip').innerText.includes(word)"
        page.wait_for_function(said, arg=told)
        text = page.locator("#tip").inner_text()
        assert re.search(rf"gain κ\s+{GRID['kappa'][cell % 6]:g}\b", text)
        assert ("switches" in text) == (cell > 1)  # of a bad point nothing is made up
    assert column(page, "cells", "alpha")[0] == 0 and column(page, "cells", "fill")[1] == FAILED
    page.mouse.move(1, 1)
    page.wait_for_selector("#tip", state="hidden")


@pytest.mark.slow
def test_click_draws_the_run_and_the_slider_changes_the_map(report, opened):
    dataset, _ = report
    page = opened.page
    assert column(page, "theory", "text")  # the predictions are there
    before = column(page, "cells", "fill")
    x, y = place_of(page, 6 * 1 + 4)
    page.mouse.click(x, y)
    page.wait_for_function("window.hopfax.state.cell === 10")
    said = page.locator("#point").inner_text()
    assert re.search(r"gain κ\s+6\b", said) and re.search(r"status\s+ok", said)
    which = page.locator("#which").inner_text()
    found = re.search(r"κ = ([\d.]+), start saliency z0\(0\) = ([\d.]+), .* = (\d+)", which)
    values = {"kappa": float(found[1]), "init.saliency[0]": float(found[2]), "tau": float(found[3])}
    assert values["tau"] == 20.0  # that of the slider
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=values["kappa"], tau=20.0, bias=0.01
    )
    start = network.init(saliency=[values["init.saliency[0]"], 0.0, 0.0])
    xs, ys = column(page, "overlap curves", "xs"), column(page, "saliency curves", "ys")
    assert len(xs) == 3 and xs[0][-1] == 200.0
    times = np.array(xs[0])
    run = hx.simulate(network, start, times)
    # times are in single precision, values are steps of 1/65534 of their range
    assert np.abs(np.array(ys).T - run.saliency).max() < 1e-3
    page.locator("#slider0").fill("1")
    assert page.locator("#slider0-value").inner_text() == "40"
    after = column(page, "cells", "fill")
    regimes = np.asarray(dataset.regime.transpose("tau", "init.saliency[0]", "kappa").values)
    changed = (regimes[0] != regimes[1]).any()
    assert (before != after) == bool(changed)
    page.locator("#variable").select_option(label="switches")
    assert column(page, "cells", "fill") != after


@pytest.mark.slow
@pytest.mark.parametrize("opened", [1280, 400], indirect=True)
def test_the_page_fits_and_tells_the_statuses(opened):
    page = opened.page
    page.wait_for_function("document.querySelectorAll('#diagram .bk-Figure').length === 1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    table = page.locator("section", has_text="How the points ended").inner_text()
    for name, meaning in (hx.STATUS[code] for code in (-1, 0, 4)):
        assert name in table and meaning in table
    assert "failed" in page.locator("#legend").inner_text()


@pytest.mark.slow
def test_one_run_and_a_sweep_over_one_axis(tmp_path, chromium):
    point = point_of()
    run = hx.simulate(point.network, point.network.init(**point.init), np.linspace(0, 200.0, 201))
    dataset = hx.sweep(point, {"kappa": np.linspace(2.0, 7.0, 6)})
    files = [
        hx.plots.report(run, tmp_path / "run.html", network=point.network),
        hx.plots.report(dataset, tmp_path / "axis.html"),
    ]
    told = ("3 memories of 16 neurons", "No runs were made again")
    for file, words in zip(files, told, strict=True):
        seen = Watched(chromium, 400)
        seen.page.goto(file.as_uri())
        seen.page.wait_for_selector("html[data-ready=yes]")
        assert words in seen.page.inner_text("main")
        assert not seen.errors and seen.requests == [file.as_uri()]
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if file.stem == "run":
            assert len(column(seen.page, "overlap curves", "xs")) == 3
        else:
            dwell = dataset.dwell.values  # which a run without two switches has not
            assert np.allclose(column(seen.page, "values", "y"), dwell[np.isfinite(dwell)])
            seen.page.locator("#variable").select_option(label="switches")
            assert column(seen.page, "values", "y") == dataset.switches.values.tolist()
        seen.page.close()


def test_what_cannot_be_reported_is_said(tmp_path, monkeypatch):
    dataset = hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [4.0, 5.0]})
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    with pytest.raises(FileExistsError, match="no report of hopfax"):
        hx.plots.report(dataset, tmp_path / "mine.html")
    with pytest.raises(TypeError, match="`source` must be"):
        hx.plots.report([1.0], tmp_path / "new.html")
    with pytest.raises(TypeError, match="`point` must be a hopfax.Point"):
        hx.plots.report(dataset, tmp_path / "new.html", point=hx.theory.sequential.fixed_points)
    again = Again(hx.theory.sequential.fixed_points, None, {"kappa": [4.0, 5.0, 6.0]})
    with pytest.raises(ValueError, match="`point`: its sweep has the axes"):
        simulated(again, dataset, diagram_of(dataset), 4, 10**6)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(ImportError, match=r"hopfax\[web\]"):
        hx.plots.report(dataset, tmp_path / "new.html")
    assert not (tmp_path / "new.html").exists()


@pytest.mark.slow
def test_the_command_reports_what_others_wrote(command, tmp_path):
    small = ("--memories", 3, "--neurons", 16, "--tau", 20)
    status, _, err = command("sweep", *small, "--points", 4, 3, "--horizon", 6, "--out", "s")
    assert status == 0, err
    status, out, err = command("report", "s", "--runs", 4)
    assert status == 0 and "written to s/report.html" in out, err
    page = (tmp_path / "s" / "report.html").read_text()
    assert "All 4 runs that were made again ended as the sweep says." in page
    assert "<td>hadamard</td>" in page  # its settings
    status, _, err = command("report", "s", "--runs", 0)  # an own report is replaced
    assert status == 0 and "made again" not in (tmp_path / "s" / "report.html").read_text(), err
    (tmp_path / "s" / "report.html").write_text("mine")
    status, _, err = command("report", "s")
    assert status == 2 and "--overwrite" in refusal(err)
    status, _, err = command("report", "nothing")
    assert status == 2 and refusal(err) == "hopfax: error: `folder`: there is no folder 'nothing'."
