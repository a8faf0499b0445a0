"""The README's code runs, and gives what its comments say."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*this start cannot move")
def test_the_code_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 12
    space: dict = {}
    source = "\n".join(blocks).replace("jnp.linspace(2, 7, 50)", "jnp.linspace(2, 7, 6)")
    source = source.replace("0.02, 40)", "0.02, 4)")
    exec(compile(source, "README.md", "exec"), space)
    hx, run = space["hx"], space["run"]
    assert hx.observables.visited(run).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    dwell = float(hx.observables.dwell_times(run)[-1]) / 100
    assert abs(dwell - 1.349) < 5e-4
    theory = float(hx.theory.sequential.dwell_time(5.0, 100.0, 4, 0.01)) / 100
    assert abs(theory - 1.3493) < 5e-5
    assert run.stats["reduction"] == "classes"
    # 3.0920043446 at EventDriven(order=24, tol=1e-14), and by a difference of its switch times
    derivative = float(space["jax"].grad(space["second_switch"])(5.0))
    (shown,) = re.findall(r"jax\.grad\(second_switch\)\(5\.0\)  # (\d+\.\d+)", text)
    assert abs(derivative - 3.0920043446) < 1e-7  # the default `tol` of 1e-9, times the sensitivity
    assert abs(derivative - float(shown)) < 0.5 * 10.0 ** -len(shown.split(".")[1])
    assert run.stats["method"] == "event-driven"
    assert space["sizes"].regime.shape == (2, 2, 2) and (space["sizes"].status == 0).all()
    assert float(space["runs"].regime_fraction.sum()) == 1.0 and space["runs"]["count"] == 4
    curve = space["curve"]
    np.testing.assert_allclose(curve.kappa[:, 0], [2.962, 3.085], rtol=0, atol=6e-4)  # as shown
    assert curve.attrs["points"] == 154 and curve.sizes["change"] == 1
    assert space["found"].reproduced and space["found"].error < 1e-6
    assert (
        4.5 < float(space["result"].model.kappa) < 5.5 and np.isfinite(space["result"].stderr).all()
    )
    shown = [0.609, 0.723, 0.914, 0.980, 0.994]
    np.testing.assert_allclose(space["recall"].overlaps[:, 0], shown, rtol=0, atol=6e-4)
    exact = space["exact"]
    np.testing.assert_allclose(exact.overlap, [0.609, 0.727, 0.907, 0.981, 0.995], atol=6e-4)
    assert exact.error.max() < 3e-4
    overlaps = np.asarray(space["recalled"].overlaps[-1])
    np.testing.assert_allclose(overlaps, np.eye(6)[0], rtol=0, atol=1e-6)  # the solver's 1e-8
    rates, numbers = hx.theory.rate, (space["phi"], -0.3, 0.95, 0.2)
    assert abs(float(rates.balanced_spectrum(*numbers).greatest) + 0.9998) < 5e-5
    assert abs(float(rates.critical_saliency(*numbers).saliency) - 0.5134) < 5e-5
    retrieved = space["layer"](space["states"], space["items"])
    (told,) = re.findall(r"layer\(states, items\)  # (\(.*?\));", text)
    assert str(retrieved.shape) == told
    ds = space["ds"].load()
    assert set(np.unique(ds.regime)) <= {0, 1, 2, 5} and set(ds.dims) == {"kappa", "bias"}
    assert hx.open_sweep("gains").load().identical(ds)
    assert hx.observables.visited(space["tuneful"], items=space["singer"].items).tolist() == (
        space["tune"].memory.tolist()
    )
