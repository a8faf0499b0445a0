"""`hopfax run` and `hopfax reproduce`, in this process, and the film strip they draw."""

import json
import pathlib

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

import hopfax as hx
from hopfax.cli import main
from hopfax.cli._memories import digits
from hopfax.cli.reproduce import Reproduce
from hopfax.cli.sequential.run import Run
from hopfax.plots import film_strip

matplotlib.use("Agg")

KAPPA, TAU, BIAS, HORIZON = 5.0, 20.0, 0.01, 5.0
#: Shared by all tests that simulate, so that few programs are compiled.
SMALL = dict(kappa=KAPPA, tau=TAU, bias=BIAS, horizon=HORIZON)


def table_rows(text):
    """The rows of the first printed table: label, then four numbers."""
    lines = text.splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith("switch ")) + 2
    rows = []
    for line in lines[begin:]:
        if not line[:1].isdigit():
            break
        label, cells = line.split("  ", 1)
        rows.append((label, [float("nan" if c == "-" else c) for c in cells.split()]))
    return rows


@pytest.fixture(scope="module")
def orthogonal(tmp_path_factory):
    """Output folder of one run of four orthogonal memories."""
    folder = tmp_path_factory.mktemp("orthogonal") / "run"
    command = Run(memories=4, neurons=64, out=folder, **SMALL)
    assert command() == 0
    return command, folder


def direct():
    """The same run by the library itself."""
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 64), hx.cyclic(4), kappa=KAPPA, tau=TAU, bias=BIAS
    )
    ts = np.linspace(0.0, HORIZON * TAU, round(100 * HORIZON) + 1)
    return hx.simulate(network, network.init(saliency=np.array([4.0, 0.0, 0.0, 0.0])), ts)


@pytest.mark.slow
def test_a_run_writes_what_simulate_returns(orthogonal):
    _, folder = orthogonal
    names = {file.name for file in folder.iterdir()}
    results = {"trajectory.zarr", "model.hopfax", "run.png", "settings.toml"}
    assert names == results | {"written.json"}
    stored, trajectory = xr.open_zarr(folder / "trajectory.zarr", consolidated=False), direct()
    # two compiled programs of one run: rounding, amplified by the choice of steps
    for name, values in (("overlap", trajectory.overlaps), ("saliency", trajectory.saliency)):
        np.testing.assert_allclose(stored[name].values, values, rtol=0, atol=1e-9)
    for measured, predicted in (("switch", "predicted_switch"), ("escape", "predicted_escape")):
        assert f"{measured}_time" in stored.variables and predicted in stored.variables
    assert stored.attrs["regime"] == "sequence" and "frame" not in stored
    with Image.open(folder / "run.png") as picture:
        assert picture.width > 600 and np.asarray(picture.convert("L")).std() > 10


def test_the_table_agrees_with_the_library_and_a_saved_model_runs_again(
    orthogonal, tmp_path, capsys
):
    # The model that the first run saved gives the table; SMALL belongs to the model but for the
    # horizon.
    _, folder = orthogonal
    assert Run(model=folder / "model.hopfax", horizon=HORIZON, out=tmp_path / "again")() == 0
    rows = table_rows(capsys.readouterr().out)
    theory, trajectory = hx.theory.sequential, direct()
    times = np.asarray(hx.observables.switch_times(trajectory))
    assert len(rows) >= len(times) >= 3
    first = float(theory.switch_time(4.0, KAPPA, TAU, BIAS))
    dwell = float(theory.dwell_time(KAPPA, TAU, 4, BIAS))
    escapes = theory.itinerary(hx.cyclic(4), KAPPA, TAU, np.array([4.0, 0.0, 0.0, 0.0]), 8).time[1:]
    for k, (time, (label, numbers)) in enumerate(zip(times, rows, strict=False)):
        assert label.split() == [f"{k + 1}:", str(k % 4), "->", str((k + 1) % 4)]
        expected = [time, first + k * dwell, time - first - k * dwell, float(escapes[k])]
        # printed with three decimals
        np.testing.assert_allclose(numbers, expected, rtol=0, atol=6e-4, equal_nan=False)
        assert abs(numbers[2]) < 0.15 * TAU  # and the theory is near


@pytest.mark.slow
def test_it_says_why_a_sequence_ended(tmp_path, capsys):
    settings = SMALL | dict(kappa=2.0)
    assert Run(memories=4, neurons=64, out=tmp_path / "weak", **settings)() == 0
    critical = float(hx.theory.sequential.critical_gain(4, tau=TAU, bias=BIAS))
    text = capsys.readouterr().out
    assert "below threshold: memory 1 was retrieved" in text
    assert f"kappa = 2 is {critical - 2:.3g} below the critical gain {critical:.4g}" in text


def test_an_earlier_run_is_kept(orthogonal):
    command, folder = orthogonal
    before = (folder / "run.png").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="overwrite"):
        command()
    assert (folder / "run.png").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (dict(order=(0, 0, 1)), "order"),
        (dict(order=(0, 9)), "order"),
        (dict(saliency0=(1.0, 2.0)), "saliency0"),
        (dict(horizon=-1.0), "horizon"),
        (dict(model=pathlib.Path("x"), kappa=3.0), "kappa"),
        (dict(patterns="digits", memories=11), "memories"),
        (dict(image_shape=(3, 3)), "image_shape"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(settings, name, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=f"`{name}`"):
        Run(out=folder, **settings)()
    assert not folder.exists()


def test_the_command_line_names_a_bad_option_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ["run", "--order", "0", "0", "--out", str(tmp_path / "run")]
    for _ in range(2):  # and again: the first call must not spoil the second
        assert main(arguments) == 2
        assert "`order`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def draw_images(folder):
    """Four images of 8 x 8 pixels that share their left part; the memories in order of name."""
    folder.mkdir()
    rows, columns = np.indices((8, 8))
    shapes = [rows < 4, rows % 4 < 2, rows % 2 == 0, (rows + columns) % 2 == 0]
    images = []
    for mu, shape in enumerate(shapes):
        bright = np.where(columns < 3, rows < 5, shape)
        Image.fromarray((40 + 180 * bright).astype(np.uint8)).save(folder / f"{mu}.png")
        images.append(np.where(bright, 1.0, -1.0))
    return np.stack(images)


@pytest.mark.slow
def test_a_folder_of_images_passes_by_in_order_where_learning_undoes_correlations(tmp_path, capsys):
    images = draw_images(tmp_path / "images")
    folder = tmp_path / "out"
    command = Run(
        patterns=str(tmp_path / "images"), threshold="100", learning="both", out=folder, **SMALL
    )
    assert command() == 0
    stored = xr.open_zarr(folder / "trajectory-pseudo_inverse.zarr", consolidated=False)
    frames = stored["frame"].values
    assert frames.shape[0] >= 4 and frames.shape[1:] == (8, 8)
    for k, frame in enumerate(frames):  # saturated in mid-dwell: the image itself
        np.testing.assert_array_equal(frame, images[k % 4])
    assert np.all(np.diff(stored["frame_time"].values) > 0)
    assert (folder / "trajectory-hebbian.zarr").is_dir() and (folder / "run.png").is_file()

    text = capsys.readouterr().out
    gram = images.reshape(4, -1) @ images.reshape(4, -1).T / 64
    apart = gram[~np.eye(4, dtype=bool)]
    assert f"{apart.min():.2f} to {apart.max():.2f}" in text
    assert "pseudo_inverse: goes round, 0 -> 1 -> 2 -> 3" in text and "shows exactly" in text


def test_a_film_strip_shows_every_frame_in_order():
    frames = np.sign(np.random.default_rng(0).normal(size=(5, 6, 4)))
    ax = film_strip(frames, list("abcde"), colors=["C0"] * 5)
    titles = [child.get_title() for child in ax.child_axes]  # type: ignore[attr-defined]
    assert titles == list("abcde")
    for child, frame in zip(ax.child_axes, frames, strict=True):
        np.testing.assert_array_equal(child.images[0].get_array(), frame)
    pyplot.close(ax.figure)


@pytest.mark.parametrize("times", [[2.0, 5.0, 8.0], [0.0, 0.1, 0.2], [9.8, 9.9, 10.0]])
def test_frames_stand_above_their_times_and_never_overlap(times):
    figure = Figure(figsize=(8, 3))
    ax = figure.add_subplot()
    ax.set_xlim(0, 10)
    film_strip(np.ones((3, 8, 8)), times=times, ax=ax)
    figure.canvas.draw()
    boxes = [child.get_window_extent() for child in ax.child_axes]
    whole = ax.get_window_extent()
    assert all(left.x1 <= right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
    assert whole.x0 - 1 <= boxes[0].x0 and boxes[-1].x1 <= whole.x1 + 1  # a pixel of rounding
    wanted = ax.transData.transform([(t, 0) for t in times])[:, 0]
    if times == [2.0, 5.0, 8.0]:  # there is room: each above its time
        np.testing.assert_allclose([(box.x0 + box.x1) / 2 for box in boxes], wanted, atol=1)


def test_a_film_strip_names_what_does_not_fit():
    with pytest.raises(ValueError, match="`frames`"):
        film_strip(np.ones((3, 4)))
    with pytest.raises(ValueError, match="`labels`"):
        film_strip(np.ones((3, 4, 4)), ["a"])


def test_the_digits_are_one_of_each():
    images = digits()
    assert images.shape == (10, 8, 8)
    assert len({image.tobytes() for image in images}) == 10


@pytest.mark.slow
def test_every_claim_of_the_paper_holds(tmp_path, capsys):
    assert Reproduce(out=tmp_path / "rep")() == 0
    claims = json.loads((tmp_path / "rep" / "claims.json").read_text())
    assert all(claim["holds"] for claim in claims)
    assert len({claim["claim"] for claim in claims}) == len(claims) > 20
    for claim in claims:
        gap = claim["simulation"] - claim["theory"]
        assert gap == pytest.approx(claim["difference"], abs=1e-12)
        right = (
            gap < -claim["tolerance"]
            if claim["relation"] == "below"
            else (abs(gap) <= claim["tolerance"])
        )
        assert right and claim["conditions"]
    by_name = {claim["claim"]: claim for claim in claims}
    # roots of Z^P - kappa Z^(P-1) + kappa Z^(P-2) - 1, found apart from this package
    for P, gain in {
        2: 2.0,
        3: 3.0,
        4: 3.610718613276,
        5: 3.834437249029,
        6: 3.925387252467,
    }.items():
        assert by_name[f"critical gain of a cycle of {P}"]["theory"] == pytest.approx(
            gain, abs=1e-9
        )
    # an event-restarted reference integration gave 0.552
    assert by_name["one timescale: largest late overlap is far from a pure memory's 1"][
        "simulation"
    ] == pytest.approx(0.552, abs=1e-3)
    for name in ("fig2_map", "fig3_sequences", "one_timescale"):
        with Image.open(tmp_path / "rep" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    assert "NO" not in capsys.readouterr().out.split()
