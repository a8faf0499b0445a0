"""`hopfax fit`, in this process, and the replay of its model by `hopfax run`."""

import os
import signal

import matplotlib
import numpy as np
import pytest
import xarray as xr

import hopfax as hx
from hopfax._fit import _loop
from hopfax._serialise import notes
from hopfax.cli import _interrupt
from hopfax.cli.sequential import _fit_picture

matplotlib.use("Agg")

CYCLE = "time,memory\n0,0\n1.0,2\n2.2,1\n3.1,3\n4.4,\n"


@pytest.fixture
def table(tmp_path):
    """Writes a table of events."""

    def write(text, name="events.csv"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.mark.slow
def test_a_table_is_fitted_and_replayed(command, table, tmp_path):
    file, model = table(CYCLE), tmp_path / "model.eqx"
    options = ("--cycle", "--tau", "20", "--neurons", "64", "--out", model)
    status, out, err = command("fit", file, *options)
    assert status == 0, err
    assert "the order is reproduced: 100% of the transitions" in out and "refinement" in out
    assert f"hopfax run --model {model}" in out
    network = hx.load(model)
    found = notes(model)
    unit = 1.3 * 20.0 / 1.1  # a mean dwell of 1.1 lasts 1.3 slow time constants
    assert found["unit"] == pytest.approx(unit) and len(found["saliency0"]) == 4
    assert np.count_nonzero(network.transition) == 4
    assert (tmp_path / "model.png").stat().st_size > 10_000
    status, out, err = command("run", "--model", model, "--out", tmp_path / "replay")
    assert status == 0, err
    replay = xr.open_zarr(tmp_path / "replay" / "trajectory.zarr", consolidated=False)
    assert replay.switch_target.values[:8].tolist() == [2, 1, 3, 0, 2, 1, 3, 0]
    wanted = unit * np.array([1.0, 2.2, 3.1, 4.4, 5.4, 6.6, 7.5, 8.8])
    assert np.abs(replay.switch_time.values[:8] - wanted).max() < 0.1
    status, _, err = command("fit", file, *options)
    assert status == 2 and "--overwrite" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default::hopfax.FitWarning")
def test_it_is_said_how_little_few_times_decide(command, table, tmp_path):
    file = table("time,memory\n0,0\n31,1\n60,2\n93,3\n122,\n")
    options = ("--tau", "20", "--neurons", "16", "--out", tmp_path / "model.eqx")
    status, out, err = command("fit", file, *options)
    assert status == 0 and "+- inf" in out
    assert "with all entries of the matrix free, 0 of 17 entries have errors of at most" in out
    assert "FitWarning" not in err
    for name in ("model.png", "model-fit.png"):
        assert (tmp_path / name).stat().st_size > 10_000 and name in out


@pytest.mark.slow
@pytest.mark.filterwarnings("default::hopfax.FitWarning")
def test_ctrl_c_writes_the_best_so_far(command, table, tmp_path, monkeypatch, ctrl_c):
    advance = _loop.advance

    def pressed(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return advance(*arguments)

    monkeypatch.setattr(_loop, "advance", pressed)
    model = tmp_path / "model.eqx"
    options = ("--cycle", "--tau", "20", "--neurons", "64", "--out", model)
    status, out, err = command("fit", table(CYCLE), *options)
    assert status == 130 and "interrupted; this is the best so far" in out
    assert "FitWarning: the search was interrupted" in err
    assert np.count_nonzero(hx.load(model).transition) == 4  # the design


def test_what_counts_ctrl_c_by_itself_is_interrupted_once(monkeypatch):
    monkeypatch.setattr(_interrupt, "_state", _interrupt._State())
    with _interrupt.once():
        with pytest.raises(KeyboardInterrupt):
            _interrupt._interrupt(signal.SIGINT, None)
        _interrupt._interrupt(signal.SIGINT, None)  # again, by the thread that listens
    assert _interrupt.seen()


@pytest.mark.slow
@pytest.mark.parametrize("end", [None, 110.0])
def test_the_picture_leaves_an_end_that_was_not_seen_open(end):
    from matplotlib import pyplot

    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    events = hx.Events([0, 1, 2, 3], [0.0, 27.0, 54.0, 81.0], end=end)
    found = hx.fit_sequence(
        network, [0, 1, 2, 3], strategy="design", memory="transition", progress=False
    )
    ax = _fit_picture.draw(found, [events]).axes[0]
    wanted = [bar for bar in ax.patches if bar.get_y() > 0.5]  # the upper strip, of the target
    dashed = [bar for bar in wanted if bar.get_linestyle() == "--"]
    solid = [bar.get_x() + bar.get_width() for bar in wanted if bar not in dashed]
    names = [text.get_text() for text in ax.texts if text.get_position()[1] > 0.5]
    assert names == ["0", "1", "2", "3"]
    if end is None:
        assert solid == [27.0, 54.0, 81.0, 81.0]  # of the last memory nothing but its begin
        (bar,) = dashed
        assert bar.get_x() == 81.0 and bar.get_x() + bar.get_width() > ax.get_xlim()[1]
    else:
        assert solid == [27.0, 54.0, 81.0, end] and not dashed
    pyplot.close("all")


@pytest.mark.slow
def test_kappa_alone_is_fitted(command, table, tmp_path):
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 64), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    run = hx.simulate(network, network.init(saliency=[4.0, 0, 0, 0]), np.array([0.0, 160.0]))
    times = np.asarray(hx.observables.switch_times(run))
    rows = zip([0.0, *times.tolist()], [0, 1, 2, 3, 0, 1][: len(times) + 1], strict=True)
    file = table("\n".join(f"{time!r},{memory}" for time, memory in rows))
    status, out, err = command(
        *("fit", file, "--parameters", "kappa", "--kappa", "9", "--tau", "20", "--neurons", "64"),
        *("--unit", "1", "--sigma", "0.1", "--saliency0", "4", "0", "0", "0"),
        *("--out", tmp_path / "kappa.eqx"),
    )
    assert status == 0, err
    assert float(hx.load(tmp_path / "kappa.eqx").kappa) == pytest.approx(5.0, abs=1e-6)
    assert "kappa = 5 +- 0.0" in out


@pytest.mark.slow
def test_a_long_history_makes_a_memory_for_each_context(command, table, tmp_path):
    """The reason is printed, and the replay, read by the items of its memories, is the tune."""
    tune, model = [0, 1, 2, 0, 1, 2, 0, 1, 3], tmp_path / "model.eqx"
    file = table("time,memory\n" + "\n".join(f"{k},{memory}" for k, memory in enumerate(tune)))
    options = ("--order-only", "--tau", "20", "--neurons", "16", "--out", model)
    status, out, err = command("fit", file, *options)
    assert status == 0, err
    assert "memory: contexts, the next one depends on the last 6" in out
    assert "9 memories of 32 neurons" in out
    assert "its memories show 0 1 2 0 1 2 0 1 3" in out
    status, out, err = command("run", "--model", model, "--out", tmp_path / "replay")
    assert status == 0, err
    replay = xr.open_zarr(tmp_path / "replay" / "trajectory.zarr", consolidated=False)
    items = np.asarray(notes(model)["items"])
    assert items[replay.switch_target.values[:8]].tolist() == tune[1:]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_cannot_be_shown_ends_with_status_1(command, table, tmp_path):
    order = [0, 1, 2, 3, 0, 1, 2, 4] * 2
    file = table("\n".join(f"{k},{memory}" for k, memory in enumerate(order)))
    options = ("--order-only", "--memory", "transition", "--strategy", "design")
    options += ("--tau", "20", "--neurons", "64", "--out", tmp_path / "model.eqx")
    status, out, err = command("fit", file, *options)
    assert status == 1 and "FitWarning: only" in err
    assert "design: " in out and "100%" not in out


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        (CYCLE, ("--memories", "3"), "names memory 3, but there are only 3"),
        (CYCLE, ("--unit", "-1"), "`unit` must be > 0"),
        (CYCLE.replace("4.4,\n", ""), ("--cycle",), "`cycle` needs a last row"),
        (CYCLE, ("--order-only", "--parameters", "kappa"), "`order_only` says nothing about"),
        (CYCLE, ("--memory", "suffixes"), "`memory`: suffixes keeps no times; add --order-only"),
        (CYCLE, ("--out", "model.png"), "use another ending"),
        ("time,note\n0,1\n", (), "needs columns named `time` and `memory`"),
        (CYCLE, ("--patterns", "nowhere.npy"), "there is no 'nowhere.npy'"),
    ],
)
def test_bad_input_is_named(command, table, tmp_path, monkeypatch, text, options, match):
    monkeypatch.chdir(tmp_path)
    status, _, err = command("fit", table(text), *options)
    assert status == 2 and match in err, err
    assert not (tmp_path / "hopfax-out").exists()


def test_a_missing_table_is_named(command, tmp_path):
    status, _, err = command("fit", tmp_path / "none.csv")
    assert status == 2 and "`targets`: there is no file" in err and "none.csv" in err


def test_the_door_names_what_rows_cannot_mean(command, table, tmp_path):
    out = ("--out", tmp_path / "model.eqx")
    status, _, err = command("fit", table("time,memory\n0,0\n1,1\n2,2\n3,100\n"), *out)
    assert status == 2 and "names memory 100, and 4 memories in all" in err
    assert "--memories 101" in err
    status, _, err = command("fit", table("time,memory\n0,1\n1,2\n2,3\n"), *out)
    assert status == 2 and "1 to 3 and never 0" in err and "say --first 1" in err
    assert "PATH: " in err and "`" not in err
    status, _, err = command("fit", table("time,memory\n0,1\n1,1\n2,0\n"), *out)
    assert status == 2 and "use --join" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default::hopfax.FitWarning")  # such a stay cannot be had
def test_names_units_and_gaps_are_printed(command, table, tmp_path):
    rows = "time,memory\n0,rest\n1,left\n2,right\n3,rest\n40,left\n41,\n"
    options = ("--tau", "20", "--unit", "26", "--neurons", "16", "--strategy", "design")
    _, out, _ = command("fit", table(rows), *options, "--out", tmp_path / "model.eqx")
    assert "memories: 0 is rest, 1 is left, 2 is right" in out
    assert "a unit of the file has 26 of them" in out
    assert "memory 0 stays 37 from 3 on, where a median stay is 1" in out
