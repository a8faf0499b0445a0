"""A path of noise is a function of its key and of time alone."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close
from jax.extend.random import threefry_2x32
from zoo import cycle

import hopfax as hx
from hopfax._engines._brownian import CellPath, GridPath, place
from hopfax._engines._normal import normals, threefry, words_of
from hopfax.networks import Core

KEY, SIGMA = jr.key(3), 0.3
NETWORK, STATE = cycle(P=3, N=16, kappa=5.0, tau=8.0, bias=0.02)
INIT = dict(saliency=jnp.array([4.0, 0.0, 0.0]))
SAVES = np.linspace(0.0, 30.0, 16)


def run(ts, state=STATE, key=KEY, **options):
    return hx.simulate(NETWORK, state, jnp.asarray(ts), noise=SIGMA, key=key, **options)


@pytest.fixture(scope="module")
def whole():
    return run(np.append(SAVES, 34.5))


@pytest.mark.slow
@pytest.mark.parametrize("end", [30.0, 30.01, 33.333, 40.0])
def test_the_end_of_a_run_changes_nothing_before_it(whole, end):
    """Overlaps, saliencies and switches are the same bits, whether or not steps fit the run."""
    found = run(np.append(SAVES, end))
    assert (found.overlaps[:16] == whole.overlaps[:16]).all()
    assert (found.saliency[:16] == whole.saliency[:16]).all()
    times = [np.asarray(hx.observables.switch_times(r)) for r in (found, whole)]
    first, second = (t[t < min(end, 34.5)] for t in times)
    assert len(first) >= 2 and np.array_equal(first, second)
    assert (times[0] <= end).all()


@pytest.mark.slow
def test_saves_within_a_step_are_the_same_in_every_run(whole):
    """Also in the last step of a run: it is not shortened, but read in between."""
    ts = np.array([0.0, 10.0, 21.012, 21.013, 21.04])
    short, long = run(ts), run(np.append(ts[:-1], [21.04, 25.0, 30.0])[:-1])
    assert (short.overlaps == long.overlaps[:5]).all()
    assert (short.final.field == run(ts).final.field).all()
    assert np.abs(long.overlaps[5] - long.overlaps[4]).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("form", ["auto", "sites"])
def test_a_run_goes_on_along_its_path(form):
    """A run that begins where another ended, at a point of the grid or within a step. In the span
    form (auto) the state is split anew into its part in the span, which takes Heun steps, and
    filtered noise, which is exact: errors of second order in the step."""
    method = hx.Diffrax(reduction=form)
    ts = np.array([0.0, 12.0, 17.02, 30.0])
    once = run(ts, method=method)
    for k, bound in ((1, 1e-10 if form == "sites" else 0.05**2), (2, 0.05**2)):
        begun = run(np.append(ts[:k], [ts[k]] * (4 - k)), method=method).final
        parts = run([ts[k], 30.0], begun, method=method)
        assert_close(parts.final.field, once.final.field, bound, "rounding; steps of 0.05")
        other = run([ts[k], 30.0], begun, jr.key(4), method=method)
        assert np.abs(other.final.field - once.final.field).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        hx.Diffrax(diffrax.ShARK(), dt0=0.1, reduction="sites"),
        hx.Diffrax(diffrax.SPaRK(), diffrax.PIDController(rtol=0.05, atol=0.05), reduction="sites"),
    ],
    ids=["constant", "adaptive"],
)
def test_other_methods_have_one_path_too(method):
    """The steps of a controller depend on the end only once they are cut by it."""
    short, long = (run(np.array([0.0, 5.0, 8.0, end]), method=method) for end in (10.03, 13.0))
    assert (short.overlaps[:3] == long.overlaps[:3]).all()


@pytest.mark.slow
def test_a_batch_has_the_paths_of_single_runs():
    keys = jr.split(KEY, 3)
    short, long = (
        jax.vmap(lambda k, ts=ts: run(ts, key=k, throw=False).saliency)(keys)
        for ts in (np.array([0.0, 5.0, 9.0]), np.array([0.0, 5.0, 9.01]))
    )
    assert (short[:, 1] == long[:, 1]).all()
    assert_close(short[1], run([0.0, 5.0, 9.0], key=keys[1]).saliency, 1e-12, "rounding")


@pytest.mark.slow
def test_paths_of_single_precision():
    network = jax.tree.map(
        lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, NETWORK
    )
    state = network.init(saliency=jnp.array([4.0, 0.0, 0.0], jnp.float32))
    ts = [np.array([0.0, 10.0, 20.0, end], np.float32) for end in (20.01, 27.7)]
    short, long = (hx.simulate(network, state, t, noise=SIGMA, key=KEY) for t in ts)
    assert short.overlaps.dtype == jnp.float32
    assert (short.overlaps[:3] == long.overlaps[:3]).all()


@pytest.mark.slow
@pytest.mark.parametrize("end", [None, 25.01, 33.0])
def test_losses_find_nothing_at_the_truth(end):
    """Data that were taken from a run of its own length, and a loss that runs as it likes."""
    ts = jnp.array([0.0, 6.0, 11.03, 20.01, 24.987])
    seen = run(ts)
    times = hx.observables.switch_times(seen)[:2]
    options = dict(init=INIT, noise=SIGMA, key=KEY, end=end)
    for loss in (
        hx.losses.overlap_path(ts, seen.overlaps, **options),
        hx.losses.saliency_path(ts, seen.saliency, **options),
        hx.losses.switch_times(times, **options),
        hx.losses.same_run(
            hx.losses.saliency_path(ts, seen.saliency, **options),
            hx.losses.switch_times(times, **options),
        ),
    ):
        assert (loss(NETWORK) == 0).all()
    wrong = hx.losses.switch_times(times, **(options | dict(key=jr.key(9))))
    assert np.abs(wrong(NETWORK)).max() > 0.01


def beyond(t, state, network):
    return t > 10.02


def test_an_event_after_the_end_does_not_stop_a_run():
    """The run goes on to the next point of its grid, 10.05."""
    found = run([0.0, 10.01], event=beyond)
    assert found.status == 0
    plain = run([0.0, 10.01])
    assert (found.final.field == plain.final.field).all()
    assert np.isfinite(run([0.0, 0.0]).overlaps).all()  # a run of no length
    assert run([0.0, 12.0], event=beyond).status == 6


SHAPE = jax.eval_shape(lambda: Core(jnp.zeros(2000), None))


def path(t0=0.0, area=diffrax.BrownianIncrement):
    return GridPath(KEY, jnp.asarray(0.25), jnp.asarray(t0), SHAPE, area)


def test_numbers_of_cells_are_standard_normal():
    """Moments within 4 standard errors; neighbours, halves and cells are independent; a cell is
    the same alone and beside others; the hash is JAX's."""
    words, cells = words_of(KEY), jnp.arange(64, dtype=jnp.uint32)
    found = normals(words, cells, 4001)
    assert (normals(words, cells[5:6], 4001)[0] == found[5]).all()
    z = np.asarray(found, float)
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs((z**power).mean() - mean) < 4 * (variance / z.size) ** 0.5
    pairs = ((z[:, :2000], z[:, 2001:]), (z[:, 1:], z[:, :-1]), (z[1:], z[:-1]))
    for a, b in pairs:
        assert abs((a * b).mean()) < 4 / a.size**0.5
        assert abs(((a**2 - 1) * (b**2 - 1)).mean()) < 4 * 2 / a.size**0.5
    first, second = threefry(words, cells[:32], cells[32:])
    assert (threefry_2x32(words, cells) == jnp.concatenate([first, second])).all()


def test_increments_over_steps_are_those_of_brownian_motion():
    """Variance h, no correlation between steps; 2000 paths, so 4 standard errors of a variance are
    13 % and of a correlation 9 %."""
    steps = np.arange(-3, 4) * 0.25
    of = path()
    W = np.array([of.evaluate(jnp.asarray(a), jnp.asarray(a + 0.25)).main for a in steps])
    assert np.abs(W.var(1) / 0.25 - 1).max() < 4 * (2 / 2000) ** 0.5
    assert np.abs(W.mean(1)).max() < 4 * 0.5 / 2000**0.5
    correlation = np.corrcoef(W) - np.eye(7)
    assert np.abs(correlation).max() < 4 / 2000**0.5


def test_values_within_a_step_are_those_of_brownian_motion():
    """The covariance of W at four times of one step is min(s, t)."""
    times = np.array([0.01, 0.1, 0.102, 0.2])  # 256ths of a step are told apart
    of, zero = path(), Core(jnp.zeros(2000), None)
    line = of.evaluate(jnp.asarray(0.0), jnp.asarray(0.25)).main
    W = np.array(
        [of.bent(jnp.asarray(t), Core(t / 0.25 * line, None), jnp.asarray(1.0)).main for t in times]
    )
    exact = np.minimum.outer(times, times)
    spread = np.sqrt((np.outer(times, times) + exact**2) / 2000)  # standard error of a covariance
    assert (np.abs(np.cov(W) - exact) < 4 * spread).all()
    jump = W[2] - W[1]
    assert abs(jump.var() / 0.002 - 1) < 4 * (2 / 2000) ** 0.5
    assert (of.bent(jnp.asarray(0.5), zero, jnp.asarray(1.0)).main == 0).all()


def test_the_first_step_of_a_run_is_the_rest_of_its_cell():
    whole, later = path(), path(0.1)
    zero = Core(jnp.zeros(2000), None)
    line = whole.evaluate(jnp.asarray(0.0), jnp.asarray(0.25)).main
    there = whole.bent(jnp.asarray(0.1), Core(0.4 * line, None), jnp.asarray(1.0)).main
    rest = later.evaluate(jnp.asarray(0.1), jnp.asarray(0.25)).main
    assert_close(there + rest, line, 1e-13, "rounding")
    assert_close(
        later.bent(jnp.asarray(0.1), zero, jnp.asarray(1.0)).main, zero.main, 1e-13, "begin"
    )
    later = later.evaluate(jnp.asarray(0.25), jnp.asarray(0.5)).main
    assert (later == whole.evaluate(jnp.asarray(0.25), jnp.asarray(0.5)).main).all()


def test_cells_of_any_length_add_up():
    """Increments and areas over 40 time constants, three cells, from those of their parts."""
    of = CellPath(key=KEY, shape=SHAPE, levy_area=diffrax.SpaceTimeLevyArea)
    cuts = [3.3, 9.0, 16.0, 30.5, 43.3]
    whole = of.evaluate(jnp.asarray(3.3), jnp.asarray(43.3), use_levy=True)
    parts = [
        of.evaluate(jnp.asarray(a), jnp.asarray(b), use_levy=True)
        for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    assert_close(sum(p.W.main for p in parts), whole.W.main, 1e-11, "rounding")
    W, integral = 0.0, 0.0
    for a, b, p in zip(cuts, cuts[1:], parts, strict=False):
        integral = integral + (b - a) * (W + p.H.main + p.W.main / 2)
        W = W + p.W.main
    assert_close(integral / 40 - W / 2, whole.H.main, 1e-10, "rounding")
    assert abs(whole.W.main.var() / 40 - 1) < 4 * (2 / 2000) ** 0.5
    assert abs(whole.H.main.var() / (40 / 12) - 1) < 4 * (2 / 2000) ** 0.5


def test_times_beside_a_point_of_the_grid_are_on_it():
    for t in (0.3, 3 * 0.1, 7 * 0.1, 1200 * 0.05):
        assert place(jnp.asarray(t), jnp.asarray(0.1)).passed == 0
    assert place(jnp.asarray(-0.025), jnp.asarray(0.1)).cell == -1


@pytest.mark.slow
def test_the_law_of_a_run_does_not_depend_on_where_it_ends():
    """The stationary variance of the field is sigma^2 / 2 at the end of a step and within one."""
    patterns = hx.patterns.hadamard(1, 4000)
    network, stimulus = hx.InputDrivenHopfield(patterns), 30.0 * patterns.xi[0]
    for end in (12.0, 12.02):
        found = hx.simulate(
            network,
            network.init(weights=[30.0]),
            jnp.array([0.0, end]),
            stimulus=stimulus,
            noise=0.8,
            key=KEY,
        )
        spread = float(jnp.var(found.final.field - stimulus))
        assert abs(spread / 0.32 - 1) < 4 * (2 / 4000) ** 0.5
