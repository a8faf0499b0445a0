"""`hopfax sweep --axis`: anything in place of gain and start saliency."""

import re
from typing import Any

import numpy as np
import pytest
from cli_helpers import elsewhere as elsewhere, refusal

import hopfax as hx
from hopfax.cli import _axes
from hopfax.cli.sequential.sweep import Sweep

#: Four memories in 16 neurons over three gains: all tests share one compiled program.
SMALL = ["sweep", "--tau", "20", "--horizon", "6", "--neurons", "16"]
GAINS = ["--axis", "kappa", "3", "6", "3"]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setattr("hopfax._sweep._program._WIDTH", {"cpu": 4})


@pytest.mark.slow
def test_axes_of_networks_and_of_runs_with_their_settings(command, tmp_path):
    made = ["--axis", "correlation", "0,0.2", *GAINS, "--readout", "abs"]
    status, out, err = command(*SMALL, *made, "--out", "a")
    assert status == 0 and not err
    assert re.match(r"6 runs: about .* to compute", out) and "kappa_c" not in out
    assert "exact threshold: none, it is computed for plain cycles" in out
    ds = hx.open_sweep("a/sweep").load()
    assert dict(ds.sizes) == {"correlation": 2, "kappa": 3} and (ds.status == 0).all()
    assert (tmp_path / "a/phase_diagram.png").stat().st_size > 1000
    patterns = hx.patterns.correlated(_key(), 4, 16, 0.2)
    np.testing.assert_array_equal(ds.dwell[1], _alone(patterns, readout="abs").dwell)

    # The settings that it wrote mean the same; a later axis of the same name wins.
    assert command("sweep", "--config", "a/settings.toml", "--out", "b")[0] == 0
    assert hx.open_sweep("b/sweep").load().identical(ds)
    status, *_ = command("sweep", "--config", "a/settings.toml", "--out", "c", "--axis", "kappa", 5)
    assert status == 0 and hx.open_sweep("c/sweep").kappa.values.tolist() == [5.0]


def _key():
    import jax

    return jax.random.key(0)


def _alone(patterns, **options):
    network: Any = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01, **options
    )
    start = dict(saliency=[4.0, 0, 0, 0])
    point = hx.Point(network, start, np.linspace(0.0, 6.0, 101), per_tau=True)
    return hx.sweep(point, {"kappa": np.linspace(3.0, 6.0, 3)}, tile=4)


@pytest.mark.slow
def test_a_saved_model_is_swept(command):
    patterns = hx.patterns.correlated(_key(), 4, 16, 0.3)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01, readout="abs"
    )
    hx.save("model.hopfax", network)
    model = ["sweep", "--model", "model.hopfax", "--horizon", "6", "--out", "m"]
    assert command(*model, *GAINS)[0] == 0
    ds = hx.open_sweep("m/sweep").load()
    np.testing.assert_array_equal(ds.dwell, _alone(patterns, readout="abs").dwell)
    for options, text in [
        (["--tau", "5"], "`tau` cannot be set together with `model`"),
        (["--axis", "memories", "3,4"], "memories says how a network is made"),
    ]:
        status, _, err = command(*model, *GAINS, *options, "--overwrite")
        assert status == 2 and text in refusal(err)


@pytest.mark.slow
def test_a_saved_network_of_another_kind_is_swept_by_its_inputs(command):
    patterns = hx.patterns.hadamard(3, 16)
    hx.save("driven.hopfax", hx.InputDrivenHopfield(patterns))
    options = ["--model", "driven.hopfax", "--init", "weights", "0.3,0.3,0", "--stimulus", "2"]
    axes = ["--axis", "stimulus.weights[1]", "0,3", "--axis", "gain", "1,2"]
    status, _, err = command("sweep", *options, *axes, "--horizon", "20", "--out", "d")
    assert status == 0 and not err
    ds = hx.open_sweep("d/sweep").load()
    start, times = dict(weights=[0.3, 0.3, 0]), np.linspace(0.0, 20.0, 101)
    point = hx.Point(
        hx.InputDrivenHopfield(patterns), start, times, stimulus=dict(weights=[2.0, 0, 0])
    )
    alone = hx.sweep(point, {"stimulus.weights[1]": [0.0, 3.0], "gain": [1.0, 2.0]}, tile=4)
    np.testing.assert_array_equal(ds.overlap, alone.overlap)
    hx.save("dense.hopfax", hx.DenseMemory(patterns, hx.Power(3)))
    for options, text in [
        (
            ["--network", "sequential", "--model", "dense.hopfax"],
            "`model` must hold a network in continuous time",
        ),
        (["--model", "driven.hopfax", "--stimulus", *"1111"], "4 coefficients, but there are 3"),
        (["--model", "dense.hopfax"], "there is no 'stimulus.weights[1]' of dense"),
        (["--model", "driven.hopfax", "--init", "weights"], "`init` must be NAME VALUE,VALUE"),
    ]:
        status, _, err = command("sweep", *axes, *options)
        assert status == 2 and text in refusal(err)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("x", "1", "3", "3"), [1.0, 2.0, 3.0]),
        (("x", "1", "100", "3", "log"), [1.0, 10.0, 100.0]),
        (("x", "2,1,4"), [2.0, 1.0, 4.0]),
        (("n", "2", "4", "5"), [2, 3, 4]),
        (("w", "b,a"), ["b", "a"]),
    ],
)
def test_the_forms_of_an_axis(given, expected):
    found = _axes.grid_of([("x", "0"), given], ("n",), {"w": ("a", "b")})
    assert list(found[given[0]]) == pytest.approx(expected) if given[0] != "w" else expected
    assert found["x"].dtype == float and (given[0] != "n" or found["n"].dtype == np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--axis", "kappa"], "`axis` must be NAME LO HI COUNT, "),
        (["--axis", "kappa", "1", "2"], "got 'kappa 1 2'"),
        (["--axis", "kappa", "1", "x", "3"], "got 'kappa 1 x 3'"),
        (["--axis", "kappa", "1", "2", "0"], "the COUNT of kappa must be at least 1"),
        (["--axis", "kappa", "1", "2", "3", "lin"], "got 'kappa 1 2 3 lin'"),
        (["--axis", "tau", "0", "2", "3", "log"], "LO and HI must be > 0"),
        (["--axis", "learning", "hebb"], "learning is one of hebbian, pseudo_inverse, got 'hebb'"),
        (["--axis", "kapa", "1", "2", "3"], "unknown parameter 'kapa'; did you mean 'kappa'?"),
        (["--axis", "neurns", "8,16"], "unknown parameter 'neurns'; did you mean 'neurons'?"),
        ([*GAINS, "--kappa", "2", "3"], "`kappa` is one number with --axis"),
        ([*GAINS, "--points", "3", "4"], "an --axis has its COUNT"),
        ([*GAINS, "--activation", "tanh:-1"], "`activation` must be one of hard_tanh"),
        ([*GAINS, "--patterns", "correlated:2"], "correlated:RHO needs an overlap in [0, 1)"),
        ([*GAINS, "--noise", "-1"], "`noise` must be finite and >= 0"),
        (["--axis", "correlation", "2,3", *GAINS, "--readout", "abs"], "got '2.0'"),
    ],
)
def test_bad_axes(command, arguments, text, tmp_path):
    status, _, err = command(*SMALL, *arguments)
    assert status == 2 and text in refusal(err)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}


def test_what_options_mean_to_a_point():
    axis = (("noise", "0", "0.1", "2"), ("saliency", "1", "4", "4"), ("transition[i,i]", "0,0.1"))
    asked = Sweep(axis=axis, kappa=(6.0,), saliency=(3.0,), neurons=16, activation="tanh:4")
    point, grid = asked.task(asked._memories())
    assert list(grid) == ["noise", "init.saliency[0]", "transition[i,i]"]
    assert point.network.kappa == 6.0 and point.init["saliency"].tolist() == [3.0, 0, 0, 0]
    assert point.network.activation.gain == 4.0 and asked.key() is not None
    assert Sweep(noise=0.1).key() is not None and Sweep().key() is None
    made, _ = Sweep(axis=(("P", "2,3"), ("activation", "tanh,erf")), kappa=(6.0,)).task(None)
    network = made(memories=3, activation="erf").network
    assert network.patterns.P == 3 and isinstance(network.activation, hx.Erf)
