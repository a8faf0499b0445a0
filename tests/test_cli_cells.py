"""`sweep --axis` and `run` of rate and dense memories, and `--model` of any network."""

from typing import Any

import jax
import numpy as np
import pytest
from cli_helpers import elsewhere as elsewhere, refusal

import hopfax as hx
from hopfax.cli._models import family_of
from hopfax.cli.dense import _runs as dense_runs
from hopfax.cli.dense._networks import interaction_of
from hopfax.cli.dense.sweep import Sweep as DenseSweep
from hopfax.cli.rate import _runs as rate_runs
from hopfax.cli.rate.sweep import Sweep as RateSweep

RATE, DENSE = ["sweep", "--network", "rate"], ["sweep", "--network", "dense"]
GAIN, START = ["--axis", "gain", "2", "10", "3"], ["--axis", "start", "0", "1", "3"]
OWN = """
import hopfax as hx
import jax.numpy as jnp


class Own(hx.AbstractFlow):
    patterns: hx.Patterns

    def init(self, *, field):
        return jnp.asarray(field)

    def rates(self, state):
        return jnp.tanh(3 * state)

    def overlaps(self, state):
        return self.patterns.overlap(self.rates(state))

    def vector_field(self, t, state, inputs=None):
        return self.patterns.field(self.overlaps(state)) - state

    def energy(self, state, inputs=None):
        return jnp.sum(state**2) / 2

    def domain(self):
        return ()
"""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([*RATE, "--noise", "0.1"], "`noise` is of runs, which --axis sweeps"),
        ([*RATE, *GAIN, "--points", "3", "4"], "`points` is for diagrams"),
        ([*RATE, *GAIN, "--gain", "1", "2"], "`gain` is one number with --axis"),
        ([*RATE, *GAIN, "--patterns", "hadamard", "--q", "0.5"], "`q` is of balanced and sparse"),
        ([*RATE, *GAIN, "--active", "0.3"], "`active` is a share in (0, 1), for images and files"),
        ([*RATE, *GAIN, "--grey", "0.3"], "`grey` is for memories from images or files"),
        ([*RATE, *GAIN, "--seed", "1"], "`seed` is of noise and of random memories"),
        ([*RATE, *GAIN, "--input", "1", "--current", "1"], "`input` is the first coefficient"),
        ([*RATE, "--axis", "correlation", "0,0.2"], "correlation is of --patterns correlated:RHO"),
        ([*RATE, *GAIN, "--classes", "own.py"], "`classes` are those of a network in a file"),
        (["run", "--network", "rate", "--patterns", "none.npy"], "there is no 'none.npy'"),
        (["run", "--network", "rate", "--seed", "1"], "`seed` is of noise and of random memories"),
        (["run", "--seed", "1"], "`seed` is of noise and of random memories"),
        (["run", "--network", "dense", "--picture", "x.jpg"], "`picture` must end in .png, .pdf"),
        (["run", "--picture", "a/x.png"], "`picture` is the name of a file in the output folder"),
        ([*RATE, "--store", "there"], "`store` is of sweeps by --axis"),
        ([*DENSE, "--part", "0", "2"], "`part` is of sweeps by --axis"),
        ([*DENSE, *START, "--part", "2", "2"], "`part` must be K N with 0 <= K < N"),
        ([*RATE, *GAIN, "--devices", "1", "--dask", "tcp://x"], "leave them out with `dask`"),
        ([*RATE, "--axis", "gian", "1,2"], "'gian'; did you mean 'gain'?"),
        (["theory", "--classes", "own.py"], "`classes` are those of a network in a file"),
        ([*DENSE, "--temperature", "1"], "`temperature` is of runs, which --axis sweeps"),
        ([*DENSE, "--interaction", "softmax"], "`interaction` of a diagram must be power"),
        ([*DENSE, *START, "--orders", "4"], "`orders` is for diagrams"),
        ([*DENSE, *START, "--start", "0.5"], "`start` is swept by --axis start"),
        ([*DENSE, "--axis", "rate", "1,2"], "rate is of exponential, not of power"),
        ([*DENSE, "--axis", "stort", "1,2"], "there is no 'stort' of dense memories"),
        ([*DENSE, "--axis", "start", "0,2"], "start must lie from -1 to 1"),
        ([*DENSE, "--axis", "memory", "0,4"], "memory goes from 0 to 3, got 4"),
        (["run", "--network", "dense", "--interaction", "power:1"], "`interaction` must be quad"),
        (
            ["run", "--network", "dense", "--interaction", "softmax", "--temperature", "1"],
            "`temperature` is the temperature of signs",
        ),
        (["run", "--init", "weights", "1,0"], "`init` is for a `model` of another kind"),
        (["theory", "--network", "rate", "--input", "1", "--input-active", "1"], "one of them"),
    ],
)
def test_an_option_without_an_effect_is_refused_by_its_name(command, arguments, text, tmp_path):
    status, _, err = command(*arguments)
    assert status == 2 and text in refusal(err)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache"}


def test_what_options_mean_to_a_rate_memory():
    axis = (("cue", "0", "1", "3"), ("input", "0,0.1"))
    asked = RateSweep(axis=axis, gain=(5.0,), learning="covariance", noise=0.1, neurons=100)
    grid = rate_runs.grid_of(asked)
    point = rate_runs.task_of(asked, grid)
    assert list(grid) == ["init.weights[0]", "current.weights[0]"] and point.noise == 0.1
    assert point.network.activation.gain == 5.0 and point.network.learning == "covariance"
    assert point.current["weights"].tolist() == [0.0] * 6 and point.init["weights"][0] == 0.5
    made = rate_runs.task_of(asked, {"q": [0.5], "current.weights[0]": [0.1]})
    assert made(q=0.5).network.patterns.P == 3 and made(q=0.5).current is not None
    driven = RateSweep(stimulus=(1.0,), neurons=25)
    assert isinstance(rate_runs.point(driven, ()).network, hx.InputDrivenRateMemory)
    np.save("grey.npy", np.random.default_rng(0).normal(size=(3, 20)))
    own: Any = rate_runs.point(RateSweep(patterns="grey.npy", active=0.25), ()).network
    assert own.patterns.xi.sum(1).tolist() == [5.0] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quadratic", hx.Quadratic()),
        ("power", hx.Power(3)),
        ("rectified_power:4", hx.RectifiedPower(4)),
        ("many_body:5", hx.ManyBody(5)),
        ("exponential:0.5", hx.Exponential(0.5)),
        ("softmax", hx.Softmax(1.0)),
        ("simplicial:2=0.5,3=1", hx.Simplicial({2: 0.5, 3: 1.0})),
    ],
)
def test_every_interaction_has_a_name(text, expected):
    found = interaction_of(text)
    assert type(found) is type(expected)
    assert [np.asarray(x).tolist() for x in jax.tree.leaves(found)] == [
        np.asarray(x).tolist() for x in jax.tree.leaves(expected)
    ]
    assert getattr(found, "order", 0) == getattr(expected, "order", 0)


@pytest.mark.slow
def test_a_dense_memory_is_swept_as_it_is_iterated(command):
    """At temperature 0 as without one; the axes in a settings file mean the same."""
    options = ["--neurons", "16", "--memories", "3", "--steps", "2", "--seed", "1"]
    axes = ["--axis", "start", "0.5,1", "--axis", "temperature", "0,100"]
    status, _, err = command(*DENSE, *options, *axes, "--out", "a")
    assert status == 0, err
    ds = hx.open_sweep("a/sweep").load()
    assert ds.cued_overlap[1, 0] == 1.0 and ds.moved[1, 0] == 0 and abs(ds.cued_overlap[1, 1]) < 1
    asked = DenseSweep(axis=(("start", "0.5"),), neurons=16, memories=3, steps=2, seed=1)
    (recall, _), key = dense_runs.task_of(asked, {}), jax.random.key(1)
    one = hx.sweep(recall, {"start": [0.5, 1.0]}, key=key)
    assert one.cued_overlap[1] == 1.0 and (one.status == 0).all()
    network: Any = recall.network
    run = hx.iterate(network, network.init(network.patterns.xi[0]), 2)
    np.testing.assert_allclose(one.other_overlap[1], abs(run.overlaps[-1, 1:]).max(), rtol=1e-15)
    assert command("sweep", "--config", "a/settings.toml", "--out", "b")[0] == 0
    assert hx.open_sweep("b/sweep").load().identical(ds)

    # Networks that are made one after the other, in parts that know nothing of each other.
    made = [*DENSE, *options[:2], *options[4:6], "--axis", "memories", "2,3", *axes[:3]]
    made += ["--store", "there", "--out", "c"]
    status, out, err = command(*made, "--part", 0, 2)
    assert status == 0 and "part 0 of 2 is done" in out, err
    (again,) = [line for line in out.splitlines() if line.startswith("hopfax sweep")]
    assert command(*made, "--part", 1, 2)[0] == 0
    status, out, err = command(*again.split()[1:])
    assert status == 0 and "read from there" in out, err


@pytest.mark.slow
def test_a_model_of_any_family_is_run(command, tmp_path):
    (tmp_path / "own_net.py").write_text(OWN)
    from hopfax.cli._models import classes_in

    patterns = hx.patterns.hadamard(3, 16)
    (own,) = classes_in(tmp_path / "own_net.py")
    hx.save("own.hopfax", own(patterns))
    hx.save("rate.hopfax", hx.RateMemory(hx.patterns.balanced(0.5, 16)))
    hx.save("dense.hopfax", hx.DenseMemory(patterns, hx.Power(3)))
    families = [family_of(tmp_path / f"{name}.hopfax", "run") for name in ("own", "rate", "dense")]
    assert families == [None, "rate", "dense"]
    field = ",".join(["1", "0"] * 8)
    for model, options in [
        ("own", ["--classes", "own_net.py", "--init", "field", field]),
        ("rate", []),
        ("dense", ["--memory", "2", "--steps", "2"]),
    ]:
        place = ["--out", model, "--picture", "run.pdf"]
        status, out, err = command("run", "--model", f"{model}.hopfax", *options, *place)
        assert status == 0 and "outcome:" in out, err
        assert (tmp_path / model / "run.pdf").read_bytes().startswith(b"%PDF")
    assert "memory 2 is recalled" in out
    status, _, err = command("run", "--model", "own.hopfax")
    assert status == 2 and "--classes FILE.py" in err
    for family, kind in (("sequential", "a TwoTimescaleHopfield"), ("rate", "a rate memory")):
        model = ["--network", family, "--model", "own.hopfax"]
        assert "--classes FILE.py" in command("theory", *model)[2]
        status, _, err = command("theory", *model, "--classes", "own_net.py")
        assert status == 2 and f"hold {kind}, but own.hopfax holds a Own" in refusal(err)
    status, _, err = command("run", "--model", "dense.hopfax", "--neurons", "4")
    assert status == 2 and "`neurons` cannot be set together with `model`" in refusal(err)


@pytest.mark.slow
def test_theory_of_a_model_and_with_an_input(command):
    patterns = hx.patterns.hadamard(3, 16)
    hx.save(
        "two.hopfax",
        hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01),
    )
    _, out, err = command("theory", "--model", "two.hopfax")
    _, same, _ = command("theory", "--memories", "3", "--tau", "20")
    assert out.endswith(same) and "P = 3, kappa = 5, tau = 20" in out, err
    hx.save("dense.hopfax", hx.DenseMemory(patterns, hx.Power(3)))
    _, out, err = command("theory", "--model", "dense.hopfax")
    assert f"{3 / 256:.6f}" in out and "0.25" in out, err
    hx.save("rate.hopfax", hx.RateMemory(hx.patterns.balanced(0.2, 25)))
    _, out, err = command("theory", "--model", "rate.hopfax", "--input", "0")
    assert "rate.hopfax: 6 memories of 25 neurons" in out, err
    exact = hx.theory.rate.critical_saliency_planar(hx.Logistic(), -0.3, 0.95, 0.2).saliency
    assert out.count(f"{float(exact):.6f}") == 2, err  # by the fold, and by bisection
