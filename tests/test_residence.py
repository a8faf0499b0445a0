"""Residence times: stays of runs in memories, and what is concluded from many of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close

import hopfax as hx
from hopfax._sweep._ensemble import _summary
from hopfax._trajectory import Switches, Trajectory
from hopfax.observables import residence, stays

# Weeks to relapse under 6-mercaptopurine (Freireich et al. 1963), the textbooks' example.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = np.isin(np.arange(21), [0, 1, 2, 4, 6, 9, 10, 14, 15])


def by_hand(ts, overlaps):
    """A run with these overlaps; its log of switches is not read."""
    none = jnp.zeros(0, jnp.int32)
    log = Switches(jnp.zeros(0), none, none, none > 0, jnp.zeros((), jnp.int32))
    ts, zero = jnp.asarray(ts, float), jnp.zeros((), jnp.int32)
    return Trajectory(ts, jnp.asarray(overlaps, float), None, None, None, zero, log, {}, "classes")


def test_the_textbook_example_of_kaplan_and_meier():
    found = residence(WEEKS, RELAPSED)
    assert (found.count, found.left) == (21, 9)
    assert found.times.tolist() == [6, 7, 10, 13, 16, 22, 23]
    printed = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert_close(found.survival, printed, 5e-4, "digits printed")
    low = [0.620, 0.563, 0.503, 0.432, 0.368, 0.268, 0.188]  # survfit(conf.type = "log-log")
    high = [0.952, 0.923, 0.889, 0.849, 0.805, 0.747, 0.680]
    assert_close(found.survival_low, low, 5e-4, "digits printed")
    assert_close(found.survival_high, high, 5e-4, "digits printed")
    assert found.quantile(0.5) == 23.0 and np.isnan(found.quantile(0.6))
    assert found.until == 35.0
    assert_close(found.mean, 23.287, 5e-4, "digits printed")
    # survfit leaves out the factor 9 / 8
    assert_close(found.stderr, 2.83 * np.sqrt(9 / 8), 6e-3, "digits printed")
    law = residence(WEEKS, RELAPSED, law="exponential")
    assert law.mean == 359 / 9 and law.until == np.inf
    assert "21 stays, 12 of them censored" in str(law)


def test_without_censoring_the_mean_is_the_mean():
    times = np.array([1.0, 2.0, 2.0, 5.0, 7.5])
    found = residence(times, np.ones(5, bool))
    assert_close(found.mean, times.mean(), 1e-14, "rounding")
    assert_close(found.stderr, times.std(ddof=1) / np.sqrt(5), 1e-14, "rounding")
    assert found.until == np.inf and found.quantile(0.5) == 2.0
    none = residence(times, np.zeros(5, bool), law="exponential")
    # with 17.5 without a departure a rate r has the probability exp(-17.5 r), 2.5 % at most
    assert none.mean == np.inf and none.low == pytest.approx(17.5 / -np.log(0.025))


def test_intervals_cover_a_known_rate():
    """Exponential stays of mean 3, cut at 4: the true mean is inside of 95 in 100 intervals."""
    draws = np.random.default_rng(0).exponential(3.0, (400, 30))
    found = [residence(np.minimum(t, 4.0), t < 4.0, law="exponential") for t in draws]
    free = [residence(np.minimum(t, 4.0), t < 4.0) for t in draws]
    cut = 3 * (1 - np.exp(-4 / 3))  # E min(t, 4)
    for each, true in ((found, 3.0), (free, cut)):
        covered = np.mean([one.low <= true <= one.high for one in each])
        assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)
    error = 4 * np.std([one.mean for one in free]) / 20
    assert abs(np.mean([one.mean for one in free]) - cut) < error
    ten = residence(np.full(10, 2.0), np.ones(10, bool), law="exponential")
    # 40 over the quantiles .975 of chi squared with 22 and .025 with 20 degrees of freedom
    assert_close(np.array([ten.low, ten.high]), [1.0875265250, 4.1706733838], 1e-9, "tables")


def test_stays_of_a_run_by_hand():
    ts = np.arange(8.0)
    m = np.array(
        # memory 0, a dip that is no departure, its end; nothing; the negative of 1; memory 0
        [[0.9, 0], [0.4, 0], [0.9, 0], [0.0, 0.1], [0, -1], [0, -1], [1, 0], [1.0, 0]]
    )
    found = stays(by_hand(ts, m))
    assert found.memory.tolist() == [0, 1, 0] and found.left.tolist() == [True, True, False]
    # 0.9 to 0 passes 1/4 at 13/18 of the way, 0.1 to 1 passes 1/2 at 4/9, -1 to 0 1/4 at 3/4
    times = [2 + 13 / 18, 5.75 - (3 + 4 / 9), 7 - 5.75]
    assert_close(found.time, times, 1e-12, "rounding")
    both = jax.tree.map(lambda *x: jnp.stack(x), by_hand(ts, m), by_hand(ts, np.abs(m[::-1])))
    many = stays(both)
    assert many.time.shape == (2, 9) and np.isnan(many.time[:, 3:]).all()
    assert_close(many.time[0, :3], times, 1e-12, "rounding")


def test_an_ensemble_counts_stays_that_its_runs_cut_short():
    """Kaplan and Meier's mean of all seeds, not the mean of the times; a failed run is left out."""
    time = np.array([[[3.0, 2.0], [4.0, np.nan], [9.0, 9.0]], np.full((3, 2), np.nan)])
    left = np.array([[[True, False], [False, False], [True, True]], np.zeros((3, 2), bool)])
    dims = ("kappa", "seed")
    data = {"memory": ((*dims, "memory_0"), np.zeros((2, 3, 2), np.int32))}
    data |= {"time": ((*dims, "time_0"), time), "left": ((*dims, "left_0"), left)}
    data |= {"status": (dims, np.array([[0, 0, 5], [0, 0, 0]]))}
    runs = xr.Dataset(data, {"kappa": [1.0, 2.0], "seed": [0, 1, 2]})
    found = _summary(runs, np.array([0.0, 0.5, 1.0]), 0.9)
    alone = residence([3.0, 2.0, 4.0], [True, False, False], confidence=0.9)
    assert alone.mean == 3.5  # 2 is no departure: up to 3 all stay, then half of them to 4
    for name in ("mean", "stderr", "low", "high", "until"):
        shown = found["time" if name == "mean" else f"time_{name}"].values
        np.testing.assert_equal(shown, [getattr(alone, name), np.nan])
    np.testing.assert_equal(found["time_quantile"].values[:, 0], [3.0, 3.0, np.nan])
    assert found["stays"].values.tolist() == [3, 0] and found["left"].values.tolist() == [1, 0]
    assert found["failed"].values.tolist() == [1, 0] and "memory" not in found


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: residence([1.0, 2.0], [True]), "`left` must have the shape of `times`"),
        (lambda: residence([np.nan], [False]), "`times` has no stay"),
        (lambda: residence([-1.0], [True]), "`times` must be finite and not negative"),
        (lambda: residence([1.0], [0.5]), "`left` must be true or false"),
        (lambda: residence([1.0], [True], confidence=1.0), "`confidence` must lie between"),
        (lambda: residence([1.0], [True]).quantile(1.0), "`part` must lie between"),
        (lambda: stays(by_hand(np.arange(2.0), np.ones((2, 1))), 0.5), "`level` must be one"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.slow
def test_escapes_from_a_well_have_the_mean_of_kramers():
    """One neuron in $V = x^2/2 - \\ln\\cosh(2 x)/2$: the mean time from the well at 0.957 to where
    the overlap tanh(2 x) is -1/2, by the exact double integral. What is looked at in intervals
    passes a level as if that were lower by 0.5826 sigma times their root (Broadie et al. 1997)."""
    sigma, level, spacing = 0.4, -0.5, 0.1
    network = hx.Hopfield(hx.Patterns(jnp.ones((1, 1))), activation=hx.Tanh(2.0))
    ts = jnp.linspace(0.0, 1000 * spacing, 1001)

    def point(key):
        run = hx.simulate(network, network.init(weights=[0.957]), ts, noise=sigma, key=key)
        return stays(run, level)

    seen = jax.jit(jax.vmap(point))(jax.random.split(jax.random.key(0), 1024))
    found = residence(seen.time[:, 0], seen.left[:, 0], law="exponential")
    x = np.linspace(-4.0, 4.0, 8001)
    depth, spread = x**2 / 2 - np.log(np.cosh(2 * x)) / 2, sigma**2 / 2
    above = np.cumsum(np.exp(-depth / spread)[::-1])[::-1]
    end = np.arctanh(level) / 2 - 0.5826 * sigma * np.sqrt(spacing)
    way = (x > end) & (x < 0.957)
    exact = (np.exp(depth / spread) * above)[way].sum() * (x[1] - x[0]) ** 2 / spread
    assert 700 < found.left < 950  # some are censored
    assert abs(found.mean - exact) < 3 * found.stderr
    assert found.stderr < exact / 25
