"""Confidence intervals, profiles, what data identify, priors, and what to record next."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import hopfax as hx
from hopfax._fit import _profile
from hopfax._fit._intervals import quantile
from hopfax._progress import progress

X = np.linspace(0.0, 3.0, 12)


def decay(model, data):
    """Residuals of an amplitude and a rate, in units of the noise."""
    return (model["a"] * jnp.exp(-model["b"] * X) - data) / 0.05


def fitted(data, **options):
    return hx.fit(
        {"a": jnp.array(1.2), "b": jnp.array(0.8)},
        decay,
        where=lambda m: (m["a"], m["b"]),
        constraint=hx.constraints.Positive(),
        data=data,
        absolute_sigma=True,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def decaying():
    rng = np.random.default_rng(0)
    return fitted(jnp.asarray(np.exp(-X) + 0.05 * rng.standard_normal(12)))


def straight(**options):
    """A line through points of unknown errors."""
    y = jnp.array([0.1, 1.2, 1.9, 3.2, 3.9])
    return hx.fit(
        {"c": jnp.zeros(2)},
        lambda m: m["c"][0] + m["c"][1] * jnp.arange(5.0) - y,
        where=lambda m: m["c"],
        progress=False,
        **options,
    )


def test_quantiles_are_those_of_the_normal_and_of_students_distribution():
    for left in (1.0, 2.0, 5.0, 30.0, 1e4):
        for level in (0.5, 0.95, 0.999):
            expected = stats.t.ppf((1 + level) / 2, left)
            np.testing.assert_allclose(quantile(level, jnp.asarray(left)), expected, rtol=1e-9)
    np.testing.assert_allclose(quantile(0.95, jnp.asarray(jnp.inf)), stats.norm.ppf(0.975))


@pytest.mark.slow
def test_intervals_of_a_straight_line_are_those_of_linear_regression():
    found = straight()
    x, y = np.arange(5.0), np.array([0.1, 1.2, 1.9, 3.2, 3.9])
    line, covariance = np.polyfit(x, y, 1, cov=True)  # the slope first
    errors = np.sqrt(np.diagonal(covariance))
    q = stats.t.ppf(0.975, 3)
    low, high = found.interval(0.95)
    for k, value, error in ((0, line[1], errors[1]), (1, line[0], errors[0])):
        np.testing.assert_allclose((low[k], high[k]), (value - q * error, value + q * error), 1e-6)
        # The likelihood of a linear model is a parabola: its profile says the same.
        profile = found.profile(found.labels[k])
        np.testing.assert_allclose(profile.interval(0.95), (low[k], high[k]), rtol=2e-5)


def test_intervals_are_symmetric_on_the_free_scale(decaying):
    low, high = decaying.interval(0.9)
    q = stats.norm.ppf(0.95)
    relative = decaying.stderr / decaying.values  # of the logarithms
    np.testing.assert_allclose(low, decaying.values * np.exp(-q * relative), rtol=1e-9)
    np.testing.assert_allclose(high, decaying.values * np.exp(q * relative), rtol=1e-9)


@pytest.mark.slow
def test_ends_of_a_profile_have_the_deviance_of_the_level(decaying):
    """Compared with a fit of the other parameter by SciPy, at the ends."""
    from scipy.optimize import brent

    data = decaying.origin.data
    for k, label in enumerate(decaying.labels):
        for end in decaying.profile(label).interval(0.95):

            def loss(other, k=k, end=end):
                pair = (end, other) if k == 0 else (other, end)
                r = decay({"a": pair[0], "b": pair[1]}, data)
                return float(r @ r)

            least = loss(brent(loss, brack=(0.5, 1.5), tol=1e-10))
            rise = least - 2 * float(decaying.loss)
            np.testing.assert_allclose(rise, stats.chi2.ppf(0.95, 1), rtol=0.02)  # interpolated


def test_a_profile_fits_the_other_parameters_again(decaying):
    """At every value of the amplitude, against a search for the best rate by SciPy."""
    from scipy.optimize import brent

    profile = decaying.profile("a")
    for value, deviance in zip(profile.values, profile.deviance, strict=True):

        def loss(rate, value=value):
            r = decay({"a": value, "b": rate}, decaying.origin.data)
            return float(r @ r)

        least = loss(brent(loss, brack=(0.5, 1.5), tol=1e-10))
        np.testing.assert_allclose(deviance, least - 2 * float(decaying.loss), atol=1e-6)


@pytest.mark.slow
def test_intervals_cover_what_they_promise():
    """400 seeds: 4 standard errors of a share of 95 % are 4.4 %."""
    rng = np.random.default_rng(1)
    data = jnp.asarray(np.exp(-X) + 0.05 * rng.standard_normal((400, 12)))
    found = eqx.filter_vmap(fitted)(data)
    low, high = found.interval(0.95)
    inside = ((low <= 1) & (high >= 1)).mean(0)
    assert low.shape == (400, 2) and np.all(np.abs(inside - 0.95) < 0.044), inside


def test_what_the_data_do_not_limit_has_no_end():
    with pytest.warns(hx.FitWarning, match="do not determine b"):
        found = hx.fit(
            {"a": jnp.array(1.0), "b": jnp.array(2.0)},
            lambda m: m["a"] - jnp.array([1.0, 2.0, 3.0]) + 0 * m["b"],
            where=lambda m: (m["a"], m["b"]),
            constraint=(None, hx.constraints.Positive()),
            progress=False,
        )
    low, high = found.interval()
    assert (low[1], high[1]) == (0.0, np.inf)
    assert tuple(map(float, found.profile("b").interval())) == (0.0, np.inf)


@pytest.mark.filterwarnings("ignore:the data do not determine:hopfax.FitWarning")
def test_what_the_data_do_not_limit_has_no_end_without_data_to_spare_either():
    """Two residuals for three numbers: nothing is left to tell the noise by."""
    found = hx.fit(
        jnp.array([1.0, 0.5, 0.2]),
        lambda m: jnp.stack([m[0] - 2.0, m[0] + m[1] + m[2] - 3.0]),
        where=lambda m: m,
        progress=False,
    )
    low, high = (np.asarray(end) for end in found.interval(0.95))
    assert np.isinf(found.stderr[1:]).all()
    assert (low[1:] == -np.inf).all() and (high[1:] == np.inf).all()


def test_columns_that_sum_to_one_have_intervals_between_zero_and_one():
    share = jnp.array([[0.5], [0.3], [0.2]])
    found = hx.fit(
        {"p": share},
        lambda m: (m["p"].ravel() - jnp.array([0.9, 0.05, 0.05])) / 0.04,
        where=lambda m: m["p"],
        constraint=hx.constraints.Simplex(),
        absolute_sigma=True,
        progress=False,
    )
    low, high = found.interval(0.99)
    assert np.all(low > 0) and np.all(high < 1) and np.all(low < found.values)
    assert float(found.values[0] - low[0]) > float(high[0] - found.values[0])  # towards the middle


def test_a_profile_finds_the_other_minimum():
    def loss(model):
        a = model["a"]
        return jnp.stack([(a**2 - 1) / 0.3, (a - 1) / 2])

    found = hx.fit({"a": jnp.array(-1.2)}, loss, where=lambda m: m["a"], absolute_sigma=True)
    assert float(found.model["a"]) < 0
    with pytest.warns(hx.FitWarning, match="another minimum"):
        found.profile("a", level=0.999999)


@pytest.mark.slow
def test_the_bar_of_intervals_can_be_switched_off(monkeypatch):
    """Of a loss that is taken for no parabola, so that each end is searched for."""
    found = hx.fit(
        {"a": jnp.array(0.3)},
        lambda m: (m["a"] ** 3 - jnp.array([0.2, 0.3, 0.1])) / 0.5,
        where=lambda m: m["a"],
        absolute_sigma=True,
        progress=False,
    )
    found = dataclasses.replace(found, bent=True)
    asked = []

    def bar(total, unit, show, **options):
        asked.append((unit, show))
        return progress(total, unit, False, **options)

    monkeypatch.setattr(_profile, "bar", bar)
    expected = found.interval()
    np.testing.assert_array_equal(found.interval(progress=False), expected)
    assert asked == [("profile", "auto"), ("profile", False)]


def test_wrong_arguments_of_intervals_are_named(decaying, as_a_user_runs_it):
    with pytest.raises(ValueError, match="`level` .* 95.* Did you mean 0.95"):
        decaying.interval(95.0)
    with pytest.raises((TypeError, ValueError), match="`progress`"):
        decaying.interval(progress="never")
    with pytest.raises(ValueError, match="`label` must be one of a, b, but is 'c'"):
        decaying.profile("c")
    with pytest.raises(TypeError, match="`label`"):
        decaying.profile(0)
    number = hx.fit({"a": jnp.array(1.0)}, lambda m: m["a"] ** 2, where=lambda m: m["a"], steps=3)
    with pytest.raises(ValueError, match="has no standard errors"):
        number.interval()
    traced = eqx.filter_vmap(fitted)(jnp.stack([jnp.exp(-X), jnp.exp(-X)]))
    with pytest.raises(ValueError, match="not made under jit or vmap"):
        traced.profile("a")


# What the data identify


def test_identifiable_combinations_of_a_linear_model():
    rows = jnp.array([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    known = hx.identifiability(
        {"a": jnp.ones(4)}, lambda m: rows @ m["a"], where=lambda m: m["a"], within=1.0
    )
    assert known.rank == 2
    np.testing.assert_array_equal(known.known, [True, False, False, False])
    np.testing.assert_allclose(known.errors, [0.5, np.inf, np.inf, np.inf])
    text = str(known)
    assert "a[1], a[2]: known together as 0.71 a[1] +0.71 a[2] +- 0.71" in text
    assert "a[3]: the data say nothing of them" in text


def test_the_error_of_a_combination_is_that_of_the_inverse_matrix():
    J = np.random.default_rng(3).standard_normal((9, 4)) @ np.diag([1.0, 1.0, 0.1, 0.1])
    J[:, 3] = J[:, 2] + 1e-3 * J[:, 3]  # only the sum of the last two is known well
    known = hx.identifiability(
        {"a": jnp.ones(4)}, lambda m: J @ (m["a"] - 1.0), where=lambda m: m["a"], within=5.0
    )
    row = np.array([0.0, 0.0, 0.5, 0.5]) * 2**0.5
    wanted = np.sqrt(row @ np.linalg.inv(J.T @ J) @ row)
    assert f"0.71 a[2] +0.71 a[3] +- {wanted:.2g}" in str(known)


def test_no_two_combinations_say_the_same():
    """Two rows that are nearly equal: the sum of c and d, and, a hundred times less, a and b. They
    span the same as that sum and the difference of a and b."""
    J = 1e4 * np.array([[0.01, 0.0, 1.0, 1.0], [0.0, 0.01, 1.0, 1.0]])
    known = hx.identifiability(
        {"a": jnp.ones(4)}, lambda m: jnp.asarray(J) @ (m["a"] - 1.0), where=lambda m: m["a"]
    )
    lines = [line.split(": ", 1)[1] for line in str(known).splitlines()[1:]]
    terms = [line.split(" +- ")[0].removesuffix(" and a little of others") for line in lines]
    assert terms == [
        "known together as 0.71 a[0] -0.71 a[1]",
        "known together as 0.71 a[2] +0.71 a[3]",
    ]
    # J says 100 (a - b) of these two, so that (a - b) / sqrt(2) has the error of two rows / 200
    assert lines[0].endswith("+- 0.01")


def test_errors_with_all_entries_free_are_those_of_the_inverse_matrix():
    J = jnp.asarray(np.random.default_rng(2).standard_normal((9, 4)))
    known = hx.identifiability(
        {"a": jnp.ones(4)}, lambda m: J @ (m["a"] - 1.0), where=lambda m: m["a"]
    )
    np.testing.assert_allclose(known.errors, np.sqrt(np.diag(np.linalg.inv(J.T @ J))), rtol=1e-10)


@pytest.fixture(scope="module")
def network():
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )


def watched(network, start, end):
    ts = jnp.linspace(0.0, end, 13)
    values = hx.simulate(network, network.init(saliency=start), ts).saliency
    return hx.losses.saliency_path(ts, values, init=dict(saliency=start), sigma=0.05)


@pytest.mark.slow
def test_columns_of_memories_that_are_not_visited_stay_open(network):
    """To time 50 memories 0 and 1 are active: nothing is seen of what 2 and 3 call."""
    seen = watched(network, jnp.array([4.0, 0.0, 0.0, 0.0]), 50.0)
    known = hx.identifiability(network, seen, where=lambda net: net.transition)
    open_ = np.asarray(~known.known).reshape(4, 4)
    np.testing.assert_array_equal(open_.all(axis=0), [False, False, True, True])
    np.testing.assert_array_equal(open_.any(axis=0), [False, False, True, True])


def test_the_next_experiment_visits_what_is_open(network):
    starts = 4.0 * jnp.eye(4)
    candidates = [watched(network, start, 50.0) for start in starts]
    plan = hx.designs.next_experiment(
        network, candidates, where=lambda net: net.transition, known=candidates[:1], number=1
    )
    assert plan.chosen == (2,)  # the run in which the other two memories are active
    assert float(plan.before.max()) > 1 and float(plan.after.max()) < 0.1
    assert "record candidate 2" in str(plan)


def test_the_next_experiment_is_d_optimal():
    """Against determinants of all choices, for losses that are linear."""
    rng = np.random.default_rng(3)
    rows = [jnp.asarray(rng.standard_normal((2, 3))) for _ in range(6)]

    class Seen(hx.losses.AbstractLoss):
        rows: jax.Array

        def __call__(self, network, *, derivative="reverse"):
            return self.rows @ network["a"]

    plan = hx.designs.next_experiment(
        {"a": jnp.ones(3)},
        [Seen(J) for J in rows],
        where=lambda m: m["a"],
        known=[Seen(rows[0])],
        number=2,
        prior=2.0,
    )
    M = np.eye(3) / 4 + rows[0].T @ rows[0]
    for k, gain in zip(plan.chosen, plan.gains, strict=True):
        volumes = [np.linalg.slogdet(M + J.T @ J)[1] for J in rows]
        assert k == int(np.argmax(volumes))
        np.testing.assert_allclose(gain, max(volumes) - np.linalg.slogdet(M)[1], rtol=1e-9)
        M = M + rows[k].T @ rows[k]
    np.testing.assert_allclose(plan.after, np.sqrt(np.diag(np.linalg.inv(M))), rtol=1e-9)


# Priors


def test_a_gaussian_prior_gives_the_posterior():
    """Of a normal mean: precisions add."""
    where = lambda m: m["a"]  # noqa: E731

    class Data(hx.losses.AbstractLoss):
        def __call__(self, network, *, derivative="reverse"):
            return (network["a"] - jnp.array([2.6, 3.0, 3.4])) / 0.5

    loss = Data() + hx.losses.prior(where, 2.8, sigma=0.25)
    found = hx.fit({"a": jnp.array(0.0)}, loss, where=where, absolute_sigma=True, progress=False)
    precision = 3 / 0.25 + 1 / 0.0625
    np.testing.assert_allclose(found.model["a"], (9 / 0.25 + 2.8 / 0.0625) / precision, rtol=1e-6)
    np.testing.assert_allclose(found.stderr, precision**-0.5, rtol=1e-6)


def test_a_wide_prior_takes_the_least_norm_of_what_is_open():
    where = lambda m: m["a"]  # noqa: E731

    class Sum(hx.losses.AbstractLoss):
        def __call__(self, network, *, derivative="reverse"):
            return ((network["a"] @ jnp.array([3.0, 4.0])) - 10.0)[None] / 0.01

    loss = Sum() + hx.losses.prior(where, sigma=100.0)
    with pytest.warns(hx.FitWarning, match=r"hardly determine a\[0\], a\[1\]"):  # but their sum
        found = hx.fit({"a": jnp.array([7.0, 1.0])}, loss, where=where, absolute_sigma=True)
    np.testing.assert_allclose(found.model["a"], [1.2, 1.6], rtol=1e-5)


def test_a_sparse_prior_keeps_few_entries():
    """Half its squared residual is |v| / s, and the lasso of independent data is a threshold."""
    where = lambda m: m["a"]  # noqa: E731
    few = hx.losses.sparsity(where, scale=0.5)
    size = few({"a": jnp.array([3.0, -2.0])})
    np.testing.assert_allclose(0.5 * size**2, [6.0, 4.0], rtol=3e-3)  # less the rounding, 0.01

    class Data(hx.losses.AbstractLoss):
        def __call__(self, network, *, derivative="reverse"):
            return network["a"] - jnp.array([3.0, 0.5])

    found = hx.fit({"a": jnp.ones(2)}, Data() + few, where=where, absolute_sigma=True)
    np.testing.assert_allclose(found.model["a"], [1.0, 0.0], atol=5e-3)


def test_wrong_arguments_of_priors_and_experiments_are_named(network, as_a_user_runs_it):
    with pytest.raises(ValueError, match="`sigma`"):
        hx.losses.prior(lambda net: net.kappa, sigma=0.0)
    with pytest.raises(TypeError, match="`where`"):
        hx.losses.sparsity("transition", scale=1.0)
    seen = watched(network, jnp.array([4.0, 0.0, 0.0, 0.0]), 50.0)
    with pytest.raises(TypeError, match="`candidates` must be a list"):
        hx.designs.next_experiment(network, seen, where=lambda net: net.kappa)
    with pytest.raises(ValueError, match="`within`"):
        hx.identifiability(network, seen, where=lambda net: net.kappa, within=0.0)
