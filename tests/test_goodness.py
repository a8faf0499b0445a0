"""Whether a fit describes its data: chi-squared, correlated residuals, and what is said of it."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from helpers import assert_close

import hopfax as hx
from hopfax._fit import _goodness

TS = jnp.linspace(0.0, 1.0, 60)
SIGMA = 0.1
NOISE = SIGMA * jr.normal(jr.key(0), (60, 2))


def seen_of(slope, bend=0.0, noise=NOISE):
    return jnp.stack([slope * TS, slope * TS**2], axis=1) + bend * jnp.sin(6 * TS)[:, None] + noise


def lines(model, seen):
    """Two curves with one parameter; NaN where not observed."""
    known = ~jnp.isnan(seen)
    off = jnp.stack([model * TS, model * TS**2], axis=1) - jnp.where(known, seen, 0.0)
    return jnp.where(known, off, 0.0) / SIGMA


def fit(seen, **options):
    return hx.fit(jnp.zeros(()), lines, where=lambda m: m, data=seen, progress=False, **options)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_right_model_passes_and_a_wrong_one_is_named(absolute):
    fine = fit(seen_of(2.0), absolute_sigma=absolute)
    assert fine.ending == "converged" and np.isfinite(fine.stderr).all()
    assert not fine.goodness.poor and fine.goodness.p_value > 0.01
    with pytest.warns(hx.FitWarning, match="does not fit the data: .*starts=16"):
        poor = fit(seen_of(2.0, bend=0.15), absolute_sigma=absolute)
    assert poor.ending == "converged, poor fit" and poor.goodness.poor
    assert np.isnan(poor.stderr).all() and np.isnan(poor.covariance).all()
    assert " = " in str(poor) and "+-" not in str(poor) and "p = " in str(poor)


def test_chi_squared_is_that_of_the_observed_residuals():
    """A gap is no agreement: neither the test nor the scale of the errors counts it."""
    gap = seen_of(2.0).at[20:40].set(jnp.nan)
    found = fit(gap, absolute_sigma=True).goodness
    rows = np.asarray(lines(jnp.asarray(fit(gap).model), gap))
    assert found.test == "chi-squared" and int(found.degrees) == 79
    assert_close(found.chi_squared, np.sum(rows**2), 1e-9, "the same sum")
    p = scipy.stats.chi2.sf(float(found.chi_squared), 79)
    assert_close(found.p_value, p, 1e-10, "machine precision")

    def cut(model, seen):
        return jnp.concatenate([lines(model, seen)[:20], lines(model, seen)[40:]])

    options = dict(where=lambda m: m, data=seen_of(2.0), progress=False)
    assert_close(fit(gap).stderr, hx.fit(jnp.zeros(()), cut, **options).stderr, 1e-9, "one fit")


def test_ljung_box_is_the_published_statistic():
    r = np.asarray(jr.normal(jr.key(3), (50,))) + 0.3 * np.sin(np.arange(50.0))
    power = np.sum(r**2)
    rho = np.array([np.sum(r[k:] * r[:-k]) for k in range(1, 11)]) / power
    Q = 50 * 52 * np.sum(rho**2 / (50 - np.arange(1, 11)))
    found = _goodness.ljung_box(jnp.asarray(r)[:, None], jnp.ones((50, 1), bool))
    assert_close(found, scipy.stats.chi2.sf(Q, 10), 1e-10, "machine precision")


def test_a_systematic_misfit_that_chi_squared_does_not_see_is_named():
    """Errors as large as was said in sum, but of one sign for a while."""
    with pytest.warns(hx.FitWarning, match="neighbouring times are correlated"):
        found = fit(seen_of(2.0, bend=0.112), absolute_sigma=True)
    goodness = found.goodness
    assert goodness.poor and goodness.p_value > _goodness._POOR
    assert goodness.correlation < _goodness._UNLIKELY
    assert found.ending == "converged, poor fit" and np.isnan(found.stderr).all()


def test_correlations_far_below_the_known_errors_are_no_misfit():
    found = fit(seen_of(2.0, noise=0.01 * jnp.sin(6 * TS)[:, None]), absolute_sigma=True)
    assert not found.goodness.poor and found.goodness.correlation > 0.5
    with pytest.warns(hx.FitWarning, match="does not fit the data"):
        found = fit(seen_of(2.0, noise=0.01 * jnp.sin(6 * TS)[:, None]))
    assert found.goodness.poor and found.goodness.correlation == found.goodness.p_value


@pytest.mark.parametrize("variance", [0.0, 1.0])
@pytest.mark.parametrize("columns", [1, 4])
def test_ljung_box_is_calibrated_with_gaps(columns, variance):
    """p-values of white noise: 5 % lie below 0.05, also where a third is not observed."""
    draws = 4000
    noise = jr.normal(jr.key(1), (draws, 60, columns))
    seen = jr.uniform(jr.key(2), noise.shape) > 1 / 3
    test = functools.partial(_goodness.ljung_box, variance=variance)
    p = jax.vmap(test)(jnp.where(seen, noise, 0.0), seen)
    share = float((p < 0.05).mean())
    # Four standard errors, and what the distribution of short series differs from its limit; where
    # a smaller power counts as one, alarms are fewer.
    least = 0.05 - 4 * np.sqrt(0.05 * 0.95 / draws) - (0.01 if variance == 0 else 0.02)
    assert least < share < 0.05 + 4 * np.sqrt(0.05 * 0.95 / draws) + 0.01
    # One false alarm in a thousand is promised; few series are a little more liberal.
    assert float((p < _goodness._POOR).mean()) < 0.005
    assert float((p < _goodness._UNLIKELY).mean()) < 0.002


def test_residuals_of_the_size_of_the_tolerance_are_no_misfit():
    """Without noise the residuals are rounding and what the solver left, which is correlated."""
    found = fit(seen_of(2.0, noise=1e-9 * jnp.sin(TS)[:, None]))
    assert found.ending == "converged" and not found.goodness.poor
    assert np.isfinite(found.stderr).all()


def test_known_errors_tell_a_misfit_however_steep_the_residuals_are():
    """A run that is wrong altogether can have derivatives of any size, and a fit that was cut off
    is not right to its tolerance: its residuals are no rounding."""

    def steep(model):
        return 10.0 + jnp.sin(1e9 * model * TS)

    found = hx.fit(
        jnp.ones(()),
        steep,
        where=lambda m: m,
        absolute_sigma=True,
        steps=3,
        progress=False,
    )
    assert found.ending == "steps" and found.goodness.poor


def test_too_few_data_are_not_tested():
    found = hx.fit(
        jnp.zeros(()), lambda m: m - jnp.array([1.0, 2.0, 4.0]), where=lambda m: m, progress=False
    )
    assert np.isnan(found.goodness.p_value) and not found.goodness.poor
    assert np.isfinite(found.stderr).all() and "p =" not in str(found)


def test_goodness_is_an_array_under_vmap():
    def one(bend):
        found = fit(seen_of(2.0, bend), absolute_sigma=True)
        return found.goodness, found.status, found.stderr

    goodness, status, stderr = eqx.filter_jit(eqx.filter_vmap(one))(jnp.array([0.0, 0.15]))
    assert goodness.poor.tolist() == [False, True]
    assert [hx.ENDINGS[k] for k in status] == ["converged", "converged, poor fit"]
    assert np.isnan(stderr[:, 0]).tolist() == [False, True]


def test_margins_are_no_observations():
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), jnp.full((3, 3), 0.3), kappa=5.0, tau=20.0, bias=0.02
    )
    events = hx.Events(np.tile([0, 1, 2], 5))
    loss = hx.losses.event_map(events, saliency=[4.0, 0.0, 0.0])
    found = hx.fit(network, loss, where=lambda net: net.transition, progress=False, steps=3)
    assert found.goodness is None and "converged, poor fit" != found.ending


def test_the_profile_of_a_poor_fit_says_so():
    data = jnp.array([1.0, 2.0, 3.0, 4.0])
    with pytest.warns(hx.FitWarning, match="does not fit the data"):
        found = hx.fit(
            {"a": jnp.array(1.0)},
            lambda m: (m["a"] - data) / 0.1,
            where=lambda m: m["a"],
            absolute_sigma=True,
            progress=False,
        )
    assert np.isnan(found.interval().low).all()
    with pytest.warns(hx.FitWarning, match="its interval means nothing"):
        found.profile("a")


def test_an_overstated_sigma_is_said_and_ordinary_data_raise_no_alarm():
    noise = SIGMA * jr.normal(jr.key(7), (200, 60, 2))
    one = eqx.filter_vmap(lambda eps: fit(seen_of(2.0, noise=eps), absolute_sigma=True).goodness)
    ordinary, overstated = one(noise), one(0.1 * noise)
    assert not ordinary.overstated.any() and overstated.overstated.all()
    expected = scipy.stats.chi2.cdf(ordinary.chi_squared, 119)
    assert_close(ordinary.lower_tail, expected, 1e-9, "the distribution of chi-squared")
    found = fit(seen_of(2.0, noise=0.1 * noise[0]), absolute_sigma=True)
    assert "of the lower tail" in str(found.goodness) and "Give a smaller `sigma`" in str(found)
    assert "about 0.099 of it" in str(found.goodness)
    assert found.ending == "converged" and np.isfinite(found.stderr).all()


def test_data_without_noise_say_nothing_of_sigma():
    found = fit(seen_of(2.0, noise=0.0), absolute_sigma=True)
    assert not found.goodness.overstated
    unknown = fit(seen_of(2.0, noise=0.1 * NOISE))
    assert not unknown.goodness.overstated and np.isnan(unknown.goodness.lower_tail)


def test_a_result_is_shown_as_a_short_report():
    found = fit(seen_of(2.0), absolute_sigma=True)
    low, high = (float(end[0]) for end in found.interval(0.95))
    lines = repr(found).splitlines()
    assert len(lines) == 3 and lines[0].startswith("converged after ")
    assert "loss" in lines[0] and "chi-squared" in lines[1]
    assert lines[2].endswith(f"(95 %: {low:.6g} to {high:.6g})") and " +- " in lines[2]
    many = eqx.filter_vmap(lambda eps: fit(seen_of(2.0, noise=eps)))(jnp.stack([NOISE, NOISE]))
    assert repr(many).startswith("FitResult(")


@pytest.mark.parametrize("starts", [1, "auto"])
def test_errors_that_reach_beyond_the_parabola_are_doubted(starts):
    """A valley as bent as y = x^2: two errors of x away its floor lies 4 errors of y aside."""

    def bent(model, seen):
        x, y = model
        return jnp.concatenate([(x - seen) / 2.0, jnp.full(12, y - x**2) * 3.0])

    data = 3.0 + 2.0 * jr.normal(jr.key(0), (12,))
    options = dict(where=lambda m: m, data=data, absolute_sigma=True, progress=False)
    with pytest.warns(hx.FitWarning, match="the loss is no parabola .* `profile`") as said:
        found = hx.fit((jnp.asarray(3.5), jnp.zeros(())), bent, starts=starts, **options)
    assert found.ending == "converged" and np.isfinite(found.stderr).all() and len(said) == 1
    assert found.bent and "95 %" not in repr(found)
    # The valley is narrow: the interval of y is what the straight one of x becomes by y = x^2.
    mean, error = float(data.mean()), 1.959964 * 2.0 / np.sqrt(12.0)
    (low, lowest), (high, highest) = found.interval()
    np.testing.assert_allclose((low, high), (mean - error, mean + error), rtol=1e-3)
    np.testing.assert_allclose((lowest, highest), ((mean - error) ** 2, (mean + error) ** 2), 0.03)
    straight = fit(seen_of(2.0), absolute_sigma=True, starts=starts)
    assert straight.ending == "converged" and not straight.bent  # without a word
