"""Bad points among good ones: each gets its status, and no other changes by a bit."""

import functools
import threading
import time
import types
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import points
import pytest

import hopfax as hx
from hopfax._sweep._drive import by_threads
from hopfax._sweep._job import with_classes
from hopfax._sweep._program import Program, Stopped

LANES = 24
KAPPA, TAU, START = np.full(LANES, 5.0), np.full(LANES, 20.0), np.linspace(2.0, 5.0, LANES)

#: What can be wrong with a point: its parameter, the value, and the status it must get.
FAULTS = {
    "NaN gain": ("kappa", np.nan, "invalid_parameter"),
    "infinite gain": ("kappa", np.inf, "invalid_parameter"),
    "negative gain": ("kappa", -1.0, "invalid_parameter"),
    "gain that diverges": ("kappa", 1e12, "diverged"),
    "no slow time": ("tau", 0.0, "invalid_parameter"),
    "negative slow time": ("tau", -20.0, "invalid_parameter"),
    "NaN slow time": ("tau", np.nan, "invalid_parameter"),
    "NaN transition": ("transition[1,0]", np.nan, "invalid_parameter"),
    "infinite bias": ("bias", np.inf, "invalid_parameter"),
    "NaN start": ("init.saliency[0]", np.nan, "invalid_parameter"),
    "infinite start": ("init.saliency[0]", -np.inf, "invalid_parameter"),
    "start that has diverged": ("init.saliency[0]", 1e12, "diverged"),
}


def run(faults, base=None, lanes=LANES):
    values = {
        "kappa": KAPPA.copy(),
        "tau": TAU.copy(),
        "init.saliency[0]": START.copy(),
        "transition[1,0]": np.ones(LANES),
        "bias": np.full(LANES, 0.02),
    }
    for lane, fault in faults.items():
        name, value, _ = FAULTS[fault]
        values[name][lane] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.SweepWarning)
        return hx.sweep(
            points.network_point() if base is None else base,
            {tuple(values): tuple(value[:lanes] for value in values.values())},
            tile=8,
            progress=False,
        )


@functools.cache
def good():
    return run({})


#: Each fault alone in the middle tile, and all of them among good points of all three tiles.
FAULTY = {name: {11: name} for name in FAULTS}
FAULTY["all at once"] = {2 * k + (k > 5): name for k, name in enumerate(FAULTS)}


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTY.values(), ids=FAULTY)
def test_bad_points_get_a_status_and_cost_only_themselves(faults):
    ds = run(faults)
    bad = np.isin(np.arange(LANES), list(faults))
    for lane, fault in faults.items():
        assert hx.STATUS[int(ds.status[lane])][0] == FAULTS[fault][2], fault
    assert (ds.status[~bad] == 0).all()
    for name, values in good().data_vars.items():  # the steps of every point, too
        np.testing.assert_array_equal(ds[name].values[~bad], values.values[~bad])
    assert np.isnan(ds.dwell[bad]).all() and (ds.regime[bad] == -1).all()
    # A bad point takes no longer than a good one, so it never holds up its tile.
    assert (ds.steps.values[bad] <= good().steps.values.max()).all()


def test_a_lane_depends_only_on_its_tile():
    """The same bits in the first tile, however many others there are."""
    part = run({}, lanes=8)
    for name, values in good().data_vars.items():
        np.testing.assert_array_equal(part[name].values, values.values[:8])


def test_failures_are_warned_of_raised_or_ignored():
    options = dict(tile=8, progress=False)
    text = r"16 of 384 points failed \(16 nonfinite\); first at index \(8, 0\), \(8, 1\)"
    with pytest.warns(hx.SweepWarning, match=f"{text}.*NaN or infinity appeared"):
        ds = hx.sweep(points.wave, points.GRID, **options)
    with pytest.raises(hx.SweepFailed, match=text) as caught:
        hx.sweep(points.wave, points.GRID, on_failure="raise", **options)
    assert caught.value.dataset.identical(ds)
    assert hx.sweep(points.wave, points.GRID, on_failure="ignore", **options).identical(ds)


@pytest.mark.slow
def test_a_point_out_of_steps_says_so():
    """The longest runs among others that end in time."""
    limit = int(np.median(good().steps.values))
    limited = run({}, points.network_point(max_steps=limit))
    over = good().steps.values > limit
    assert over.any() and not over.all()
    assert (limited.status.values == np.where(over, 1, 0)).all()
    for name in ("dwell", "overlap"):
        np.testing.assert_array_equal(limited[name].values[~over], good()[name].values[~over])


def test_a_bad_network_is_refused_before_anything_is_compiled():
    base = points.network_point()
    for name, value in (("kappa", jnp.nan), ("tau", 0.0), ("tau", -1.0)):
        bad = eqx.tree_at(lambda p, n=name: getattr(p.network, n), base, jnp.asarray(value))
        with pytest.raises(ValueError, match=f"`{name}`"):
            hx.sweep(bad, {"init.saliency[0]": START}, progress=False)


def test_tiles_too_large_for_the_memory_are_refused():
    def huge(x):
        return x + jnp.zeros(2**28)  # 2 GiB a point

    with pytest.raises(ValueError, match=r"a tile of 4096 points needs .*TB.*smaller `tile`"):
        hx.sweep(huge, {"x": np.arange(4096.0)}, tile=4096, progress=False)


def test_a_call_runs_only_as_many_tiles_as_there_are():
    """A program's loop takes 8 tiles a call; fewer are not filled up."""
    ran = []

    def function(values, key):
        jax.debug.callback(lambda x: ran.append(int(x)), values["x"])
        return {"twice": 2 * values["x"]}

    struct = {"x": jax.ShapeDtypeStruct((), np.dtype(float))}
    program = Program(function, struct, None, 2, jax.devices()[:1])
    out = program.run({"x": np.arange(22.0)}, np.arange(22))
    jax.effects_barrier()
    assert sorted(ran) == list(range(22)) and (out["twice"] == 2 * np.arange(22.0)).all()


def test_a_million_points_are_planned_without_running_them():
    plan = hx.sweep_plan(points.wave, {"x": np.linspace(0, 3, 1000), "y": np.linspace(1, 2, 1000)})
    assert plan.points == 10**6 and plan.tile == 256 and plan.tiles == 3907
    assert plan.bytes == 10**6 * (8 + 24 + 1 + 1 + 4) and 0 < plan.seconds < np.inf
    assert plan.blocks > 1 and plan.compile_seconds > 0
    text = str(plan)
    for words in ("1,000,000 in 3,907 tiles of 256", "38 MB", "about", "powers (float64[3])"):
        assert words in text
    with pytest.raises(ValueError, match="nothing to plan"):
        hx.sweep_plan(points.wave, {"x": [], "y": [1.0]})


def test_seeds_are_an_axis():
    """The same seed is the same randomness at every point, whatever else is swept."""
    grid = {"scale": [1.0, 2.0, 3.0], "seed": np.arange(4)}
    ds = hx.sweep(points.draw, grid, progress=False)
    np.testing.assert_allclose(ds.value[1], 2 * ds.value[0], rtol=1e-15)
    assert len(np.unique(ds.value[0])) == 4
    part = hx.sweep(points.draw, {"seed": [3, 1], "scale": [2.0]}, progress=False)
    assert (part.value[:, 0].values == ds.value[1, [3, 1]].values).all()
    for bad in ([0.5], [-1], [[1, 2]]):
        with pytest.raises(ValueError, match="axis 'seed' must hold integers"):
            hx.sweep(points.draw, {"scale": [1.0], "seed": bad}, progress=False)
    with pytest.raises(ValueError, match='an axis "seed" is given, but the point has no `noise`'):
        hx.sweep(points.network_point(), {"seed": [1]}, progress=False)
    ours = hx.sweep(lambda seed: 2 * seed, {"seed": [1, 2]}, progress=False)  # its own argument
    assert ours.value.values.tolist() == [2, 4]


def test_observables_by_name():
    named = points.network_point(observe=["regime", "visited", "switch_times", "saliency_end"])
    ds = hx.sweep(named, {"kappa": []}, progress=False)  # shapes alone: nothing is compiled
    assert {name: ds[name].shape for name in ds.data_vars} == {
        "regime": (0,),
        "visited": (0, 65),
        "switch_times": (0, 64),
        "saliency_end": (0, 3),
        "status": (0,),
        "steps": (0,),
    }
    with pytest.raises(ValueError, match="no observable 'dwel'; is it 'dwell'"):
        points.network_point(observe="dwel")


def test_tiles_do_not_move_with_the_blocks(monkeypatch):
    """Blocks of 10 points, tiles of 4: a tile across a border is computed for both, whole."""
    grid = {"x": np.linspace(0.0, 3.0, 7), "y": np.linspace(1.0, 2.0, 5)}
    seen, run = [], Program.run

    def watched(self, values, numbers, stop=lambda: False):
        seen.append(numbers)
        return run(self, values, numbers, stop)

    monkeypatch.setattr(Program, "run", watched)
    options = dict(tile=4, progress=False, on_failure="ignore")
    ds = hx.sweep(points.wave, grid, chunk=10, **options)
    assert len(seen) == 4
    for numbers in seen:
        assert len(numbers) % 4 == 0 and numbers[0] % 4 == 0
        assert (numbers == np.minimum(numbers[0] + np.arange(len(numbers)), 34)).all()
    np.testing.assert_array_equal(ds.value, hx.sweep(points.wave, grid, **options).value)


def test_an_error_stops_the_blocks_in_hand(as_a_user_runs_it):
    """After one block's error the others end at their next call; the error is what is raised."""
    begun, stopped = threading.Event(), []

    def block(blocks, k, program, stop):
        if k == 0:
            begun.wait()
            raise OSError("the disk is gone")
        begun.set()
        for _ in range(10**6):  # until it is told to stop, which never takes a quarter of an hour
            if stop():
                stopped.append(k)
                raise Stopped
            time.sleep(0.001)

    prepared = types.SimpleNamespace(workers=2, job=types.SimpleNamespace(block=block), program=0)
    with pytest.raises(OSError, match="the disk is gone"):
        by_threads(prepared, None, [1, 0, 2, 3], None, None)
    assert 1 in stopped


def test_a_program_asks_before_every_call_whether_to_stop():
    struct = {"x": jax.ShapeDtypeStruct((), np.dtype(float))}
    program = Program(lambda values, key: values["x"], struct, None, 2, jax.devices()[:1])
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Stopped):  # 40 tiles are 5 calls
        program.run({"x": np.arange(80.0)}, np.arange(80), stop)
    assert len(asked) == 3


def test_small_sweeps_have_small_tiles():
    for number, width in ((1, 1), (6, 8), (64, 64), (200, 256), (5000, 256)):
        ds = hx.sweep(points.draw, {"scale": np.ones(number), "seed": [0]}, progress=False)
        assert ds.attrs["tile"] == width


@pytest.mark.parametrize(
    ("function", "grid", "error", "text"),
    [
        (
            lambda a: np.interp(a, [0, 1], [0, 1]),
            {"a": [1.0]},
            TypeError,
            "write it with jax.numpy",
        ),
        (lambda a: a if a > 0 else -a, {"a": [1.0]}, TypeError, "jnp.where in place of `if`"),
        (lambda a: float(a), {"a": [1.0]}, TypeError, "write it with jax.numpy"),
        (lambda a: None, {"a": [1.0]}, TypeError, "must return an array.* returned nothing"),
        (lambda a: {"b": "text"}, {"a": [1.0]}, TypeError, "must return an array.* returned str"),
        (lambda a, b: a, {"a": [1.0]}, ValueError, "`grid` lacks 'b', which the function needs"),
    ],
)
def test_functions_that_cannot_be_swept(function, grid, error, text):
    with pytest.raises(error, match=text):
        hx.sweep(function, grid, progress=False)


def test_a_bar_counts_the_failures(capsys):
    hx.sweep(points.wave, points.GRID, tile=8, progress=True, on_failure="ignore")
    err = capsys.readouterr().err
    assert "384/384" in err and "16 nonfinite" in err


def test_bad_points_speak_up_early(as_a_user_runs_it):
    for options, error, text in [
        (dict(ts=[20.0, 0.0]), ValueError, "`ts` must not decrease"),
        (dict(ts=20.0), ValueError, "`ts` must have shape"),
        (dict(init=dict(salience=[4.0, 0, 0])), TypeError, "`init`: .*takes .*'saliency'"),
    ]:
        given = dict(init=dict(saliency=[4.0, 0.0, 0.0]), ts=[0.0, 1.0]) | options
        with pytest.raises(error, match=text):
            hx.Point(points.network_point().network, **given)
    with pytest.raises(ValueError, match="with `noise` needs sweep"):
        hx.sweep(points.network_point(), {"noise": [0.1]}, progress=False)


@pytest.mark.slow
def test_sweeps_of_many_memories_run_on_classes_of_neurons():
    """Also where a program does not know the memories. What can make equal neurons different, or
    looks at single ones, keeps all of them."""
    xi = np.tile(np.asarray(hx.patterns.hadamard(list(range(8)), 8).xi), 8)
    network = hx.TwoTimescaleHopfield(
        hx.Patterns(xi, check_patterns=False), hx.cyclic(8), kappa=5.0, tau=10.0, bias=0.02
    )
    start, ts = dict(saliency=5.0 * np.eye(8)[0]), np.linspace(0.0, 60.0, 31)
    point = hx.Point(network, start, ts)
    assert with_classes(point, ["kappa"]).network.patterns.N == 8
    whole = dict(start, field=np.zeros(64))
    for other, names in (
        (point, ["noise"]),
        (point, ["current"]),
        (point, ["patterns.xi"]),
        (hx.Point(network, whole, ts), ["kappa"]),
        (hx.Point(network, start, ts, noise=0.1), ["kappa"]),
        (hx.Point(network, start, ts, observe=overlaps_of), ["kappa"]),
        (hx.Point(network, start, ts, method=hx.Diffrax(reduction="sites")), ["kappa"]),
    ):
        assert with_classes(other, names).network.patterns.N == 64
    found = hx.sweep(point, {"kappa": [5.0, 7.0]}, progress=False)
    every = hx.sweep(
        hx.Point(network, start, ts, method=hx.EventDriven(), observe=summary_of),
        {"kappa": [5.0, 7.0]},
        progress=False,
    )
    assert found["switches"].values.min() >= 2
    np.testing.assert_array_equal(found["switches"], every["switches"])
    # Rounding, which the escapes from memories enlarge (performance of classes: 1e-11 to 1e-10).
    np.testing.assert_allclose(found["dwell"], every["dwell"], rtol=1e-9)


def overlaps_of(run):
    return run.overlaps


def summary_of(run):
    return hx.observables.summary(run)
