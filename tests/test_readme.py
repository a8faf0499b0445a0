"""The README: its code gives what its comments say, and it fits on two screens. So does the code of
the first page of the site."""

import re

import jax
import numpy as np
import pytest
from helpers import ROOT

README = (ROOT / "README.md").read_text()


def run(text):
    """The code of a page, run in order; a figure is drawn without a display."""
    space: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile("\n".join(blocks), "page.md", "exec"), space)
    return space


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
def test_the_code_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run(README)
    hx, ds = space["hx"], space["ds"]
    moving = ds.kappa[ds.regime == hx.observables.REGIMES.index("sequence")]
    assert round(float(moving.min()), 9) == 3.3  # as shown
    exact = float(hx.theory.sequential.critical_gain(4, tau=100.0, bias=0.01))
    assert abs(exact - 3.238) < 5e-4
    assert space["found"].reproduced and space["timed"].error < 1e-6
    # every shape that is shown
    shown = re.findall(r"^([^\n#=]+\.shape)  # (\(\d+(?:, \d+)*,?\))", README, re.M)
    assert len(shown) == 2
    for code, shape in shown:
        assert str(eval(code, space)) == shape, code


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
def test_the_code_of_the_first_page():
    import matplotlib

    matplotlib.use("Agg")
    space = run((ROOT / "docs" / "index.md").read_text())
    hx, made = space["hx"], space["run"]
    assert hx.observables.visited(made).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    theory = float(hx.theory.sequential.dwell_time(5.0, 100.0, 4, 0.01)) / 100
    assert abs(float(space["dwell"][-1]) - theory) < 1e-3 and abs(theory - 1.3493) < 5e-5
    assert made.stats["reduction"] == "classes" and made.stats["method"] == "event-driven"
    # 3.0920043446 at EventDriven(order=24, tol=1e-14), and by a difference of its switch times
    derivative = float(jax.grad(space["second_switch"])(5.0))
    assert abs(derivative - 3.0920043446) < 1e-7  # the default `tol` of 1e-9, times the sensitivity


def test_it_is_two_screens_with_two_commands():
    lines = README.splitlines()
    assert len(lines) <= 110 and max(map(len, lines)) < 200
    assert len([line for line in lines if line.startswith("python -m venv ")]) == 2
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(examples) == 3 and all(len(code.splitlines()) <= 12 for code in examples)


def test_its_figures_are_those_of_the_benchmarks():
    table = (ROOT / "benchmarks" / "README.md").read_text()
    measured = README[README.index("## Measured") : README.index("## When not")]
    for command in re.findall(r"`(python -m benchmarks\.\w+)`", measured):
        assert command in table, command
    rows = re.findall(r"^\| (?:event-driven, order|diffrax, span and classes).*$", table, re.M)
    times, errors = ([float(re.findall(p, row)[0]) for row in rows[:2]] for p in (
        r"\| ([\d.]+) s", r"\| ([\d.]+e-\d+) \|"))  # fmt: skip
    assert np.round(times[1] / times[0]) == 10 and "10 times as fast" in measured
    assert f"{errors[0]:.0e}" == "2e-10" and f"{errors[1]:.0e}" == "3e-06"
    assert "| 42,100 |" in table and "42,000 points a second" in measured
    assert "| 5.25 (" in table and "5.3 times the run" in measured
    assert "18 s the first time and 8.4 s" in table and "18 s and 8.4 s" in measured
