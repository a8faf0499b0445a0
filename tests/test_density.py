"""Posterior densities for samplers, their Laplace approximation, and groups of subjects."""

import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import hopfax as hx
from hopfax import constraints, losses

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "howto" / "posteriors.md"
START = dict(saliency=[4.0, 0.0, 0.0, 0.0])


def both(net):
    return net.kappa, net.tau


def a(model):
    return model["a"]


def network(**changed):
    options = dict(kappa=5.0, tau=20.0, bias=0.01) | changed
    return hx.TwoTimescaleHopfield(hx.patterns.hadamard(4, 16), hx.cyclic(4), **options)


# Changes of variables


class Cubic(constraints.AbstractConstraint):
    """A map written outside the library, which leaves its volume to the default: a sum, cubed."""

    def free(self, value, name):
        root = jnp.cbrt(value)
        return root - jnp.array([0.0, 1.0]) * root[0]

    def value(self, free):
        both = free + jnp.array([0.0, 1.0]) * free[0]
        return both**3 + both

    def moves(self, value):
        return jnp.ones(value.shape, bool)


FREE = jnp.linspace(-12.0, 12.0, 481)


def mass(density):
    """The integral over two free parameters by the trapezoidal rule."""
    points = jnp.stack(jnp.meshgrid(FREE, FREE, indexing="ij"), -1).reshape(-1, 2)
    return jnp.exp(jax.lax.map(density, points, batch_size=4096)).sum() * (FREE[1] - FREE[0]) ** 2


def normal(v):
    """Its residuals, so that its integral is a product of error functions."""
    return (v - jnp.array([0.6, 0.3])) / jnp.array([0.5, 0.4])


def share(low, high, mean, sigma):
    """The integral of exp(-(v - mean)^2 / 2 sigma^2) from low to high."""
    from scipy.stats import norm

    inside = norm.cdf(high, mean, sigma) - norm.cdf(low, mean, sigma)
    return np.sqrt(2 * np.pi) * sigma * inside


@pytest.mark.parametrize(
    ("constraint", "ends"),
    [
        (None, (-np.inf, np.inf)),
        (constraints.Positive(), (0.0, np.inf)),
        (constraints.Box(jnp.array([-0.2, 0.1]), jnp.array([0.9, 1.3])), ((-0.2, 0.1), (0.9, 1.3))),
        (Cubic(), (-np.inf, np.inf)),
    ],
    ids=["free", "positive", "box", "own"],
)
def test_a_constraint_keeps_the_mass_of_the_density(constraint, ends):
    """Over all free parameters it is that of the likelihood over all that is allowed."""
    density = hx.log_density(
        {"a": jnp.array([0.5, 0.4])}, lambda m: normal(a(m)), where=a, constraint=constraint
    )
    low, high = (np.broadcast_to(end, 2) for end in ends)
    expected = np.prod([share(low[k], high[k], (0.6, 0.3)[k], (0.5, 0.4)[k]) for k in (0, 1)])
    np.testing.assert_allclose(mass(density), expected, rtol=2e-4)  # of the trapezoids in the tails


@pytest.mark.slow
def test_columns_that_sum_to_one_are_uniform_without_data():
    """And weighed by the likelihood with data: the mass over the simplex, here an interval."""
    density = hx.log_density(
        {"a": jnp.array([[0.5], [0.3], [0.0], [0.2]])},
        lambda m: (a(m)[0, 0] - jnp.array([0.4])) / 0.1,
        where=a,
        constraint=constraints.Simplex(),
    )
    assert density.labels == ("a[0, 0]", "a[1, 0]", "a[3, 0]")
    u = jr.normal(jr.key(0), (200_000, 3)) * 2.0 - 1.0  # importance sampling of the integral
    q = -jnp.square((u + 1.0) / 2.0).sum(1) / 2 - 3 * np.log(2.0 * np.sqrt(2 * np.pi))
    weights = jnp.exp(jax.vmap(density)(u) - q)
    v = np.linspace(0.0, 1.0, 20_001)
    expected = np.trapezoid(np.exp(-np.square((v - 0.4) / 0.1) / 2) * (1 - v), v)
    error = float(weights.std() / np.sqrt(u.shape[0]))
    assert error < 0.02 * expected
    np.testing.assert_allclose(weights.mean(), expected, atol=4 * error)
    np.testing.assert_allclose(density.values(u)["a"].sum(1), 1.0, rtol=1e-12)


def test_masked_entries_take_no_part():
    density = hx.log_density(
        {"a": jnp.array([2.0, 3.0])},
        lambda m: (a(m) - 1.0)[:1],
        where=a,
        constraint=constraints.Masked([True, False], constraints.Positive()),
    )
    assert density.labels == ("a[0]",)
    u = jnp.array([0.7])
    np.testing.assert_allclose(density(u), -np.square(np.exp(0.7) - 1) / 2 + 0.7, rtol=1e-12)
    np.testing.assert_array_equal(density.values(u)["a"][1], 3.0)


# What it is and what it refuses


def test_draws_go_back_to_parameters_and_models():
    net = network()
    density = hx.log_density(
        net,
        losses.switch_times([31.0], init=START, sigma=0.5),
        where=lambda net: (net.kappa, net.bias),
        constraint=(constraints.Positive(), None),
    )
    assert density.labels == ("kappa", "bias")
    np.testing.assert_allclose(density.start, [np.log(5.0), 0.01], rtol=1e-15)
    draws = jnp.array([[0.0, 0.1], [1.0, 0.2], [2.0, 0.3]])
    found = density.values(draws)
    np.testing.assert_allclose(found["kappa"], np.exp([0.0, 1.0, 2.0]), rtol=1e-15)
    np.testing.assert_array_equal(found["bias"], [0.1, 0.2, 0.3])
    model = density.model(draws[1])
    assert float(model.kappa) == pytest.approx(np.e) and float(model.bias) == 0.2
    assert model.patterns.xi.shape == net.patterns.xi.shape  # not that of its classes


def test_what_is_no_density_is_refused():
    net, times = network(), [31.0, 61.0]
    kappa = lambda net: net.kappa  # noqa: E731
    unknown = losses.switch_times(times, init=START)
    for loss in (unknown, losses.dwell_times([30.0], init=START) + losses.prior(kappa, sigma=1.0)):
        with pytest.raises(ValueError, match="standard deviation .* not known.*Give `sigma`"):
            hx.log_density(net, loss, where=kappa)
    batch = losses.stack([unknown, unknown])
    with pytest.raises(ValueError, match="Give `sigma`"):
        hx.log_density(net, losses.each, data=batch, where=kappa)
    for loss in (
        losses.order([0, 1, 2], P=4),
        losses.event_map(hx.Events([0, 1]), saliency=[4.0] * 4),
    ):
        with pytest.raises(ValueError, match="no probability of data"):
            hx.log_density(net, loss, where=kappa)
    known = losses.switch_times(times, init=START, sigma=1.0)
    with pytest.raises(TypeError, match="a projection is no change of variables"):
        hx.log_density(
            net, known, where=kappa, constraint=optax.projections.projection_non_negative
        )
    density = hx.log_density(net, known, where=kappa)
    with pytest.raises(ValueError, match="`free`"):
        density(jnp.zeros(2))


def test_a_number_is_minus_the_logarithm_of_a_density():
    density = hx.log_density({"a": jnp.array(1.0)}, lambda m: jnp.square(a(m)), where=a)
    np.testing.assert_allclose(density(jnp.array([3.0])), -9.0)
    np.testing.assert_allclose(jax.jacrev(jax.grad(density))(jnp.array([3.0])), [[-2.0]])


def test_what_is_no_number_has_density_zero():
    """Also for losses of one's own, and without a derivative that is none."""

    def loss(model):
        return jnp.log(a(model))[None] + jnp.array([0.0, 1.0])

    density = hx.log_density({"a": jnp.array(1.0)}, loss, where=a)
    for bad in (-1.0, 0.0, jnp.nan, jnp.inf):
        u = jnp.array([bad])
        assert density(u) == -np.inf
        assert jax.grad(density)(u) == 0 and jax.jacfwd(density)(u) == 0


def test_data_have_no_derivatives():
    def loss(model, data):
        return a(model) - data

    def of_data(data):
        density = hx.log_density({"a": jnp.array(1.0)}, loss, where=a, data=data)
        return density(density.start)

    with pytest.raises(TypeError, match="by its free parameters only"):
        jax.grad(of_data)(jnp.ones(3))


# The density of runs, against a grid


@pytest.fixture(scope="module")
def page():
    """What the first recipe of the page on posteriors makes."""
    space = {}
    exec(compile(_blocks()[0], "posteriors.md", "exec"), space)
    return space


def _blocks():
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def grid(page):
    """The posterior of kappa and tau on a grid, written apart: the times of the network's switches,
    Gaussian errors and the prior, uniform in tau."""
    kappas, taus = np.linspace(3.2, 7.8, 93), np.linspace(17.5, 23.0, 93)
    ts = jnp.array([0.0, 260.0])

    def times(pair):
        net = eqx.tree_at(both, page["network"], tuple(pair))
        run = hx.simulate(net, net.init(**START), ts, throw=False)
        return run.switches.time[:4]

    points = jnp.stack(jnp.meshgrid(kappas, taus, indexing="ij"), -1).reshape(-1, 2)
    found = np.asarray(jax.jit(lambda p: jax.lax.map(times, p, batch_size=256))(points))
    misfit = np.square((found - np.array(page["times"])) / 0.5).sum(1)
    log = -(misfit + np.square(np.asarray(points)[:, 0] - 5.0)) / 2
    weights = np.exp(np.where(np.isnan(log), -np.inf, log)).reshape(93, 93)  # NaN: no switch
    edge = max(weights[0].max(), weights[-1].max(), weights[:, 0].max(), weights[:, -1].max())
    assert edge < 1e-4 * weights.max()  # the grid holds all of it
    cell = (kappas[1] - kappas[0]) * (taus[1] - taus[0])
    return kappas, taus, weights, cell


def moments(grid):
    """Means, standard deviations and the integral."""
    kappas, taus, weights, cell = grid
    p = weights / weights.sum()
    marginals = {"kappa": (kappas, p.sum(1)), "tau": (taus, p.sum(0))}
    found = {}
    for name, (v, q) in marginals.items():
        mean = (v * q).sum()
        found[name] = mean, np.sqrt((np.square(v - mean) * q).sum())
    return found, weights.sum() * cell


@pytest.mark.slow
def test_the_density_is_that_of_the_grid(page, grid):
    kappas, taus, weights, _ = grid
    density = page["density"]
    picked = [(30, 40), (40, 30), (50, 60)]
    for i, k in picked:
        u = jnp.log(jnp.array([kappas[i], taus[k]]))
        np.testing.assert_allclose(
            density(u), np.log(weights[i, k]) + u.sum(), atol=1e-6, err_msg="to 1e-9 in time"
        )
    u = jnp.log(jnp.array([[kappas[i], taus[k]] for i, k in picked]))
    lanes = jax.vmap(density)(u)
    np.testing.assert_allclose(lanes, [float(density(one)) for one in u], rtol=1e-9)


@pytest.mark.slow
def test_a_run_that_fails_has_density_zero(page):
    density = hx.log_density(page["network"], page["seen"] + page["known"], where=both)
    assert density(jnp.array([5.0, -3.0])) == -np.inf  # no time constant
    assert np.isfinite(density(jnp.array([5.0, 20.0])))
    plain = jax.jit(lambda tau: page["seen"](network(tau=tau)))(-3.0)
    assert np.isfinite(plain).all()  # a fit has something to go by


@pytest.mark.slow
def test_the_slope_is_zero_where_the_density_is(page):
    first = jax.jit(jax.grad(page["density"]))
    assert page["density"](jnp.array([800.0, 3.0])) == -np.inf  # an infinite gain
    assert not first(jnp.array([800.0, 3.0])).any()
    assert first(page["density"].start).all()


@pytest.fixture(scope="module")
def gaussian(page):
    exec(compile(_blocks()[1], "posteriors.md", "exec"), page)
    return page["gaussian"]


@pytest.mark.long
def test_the_laplace_approximation_is_close_to_the_grid(page, grid, gaussian):
    density = page["density"]
    first, h = jax.jit(jax.grad(density)), 1e-5
    ends = [(gaussian.mode + h * e, gaussian.mode - h * e) for e in jnp.eye(2)]
    second = [(first(up) - first(down)) / (2 * h) for up, down in ends]
    left = first(gaussian.mode)
    assert left @ gaussian.covariance @ left < 1e-10  # squared, in standard errors
    inverse = np.linalg.inv(-np.stack(second))
    np.testing.assert_allclose(gaussian.covariance, inverse, rtol=1e-4)  # of the differences
    found, integral = moments(grid)
    # It is approximate: a mean off by a tenth of a standard deviation and a size by a tenth.
    sizes = np.sqrt(np.diag(gaussian.covariance))
    for k, name in enumerate(found):
        mean, sd = found[name]
        assert abs(np.exp(gaussian.mode[k]) - mean) < 0.25 * sd
        np.testing.assert_allclose(sizes[k] * np.exp(gaussian.mode[k]), sd, rtol=0.1)
    np.testing.assert_allclose(np.exp(gaussian.log_evidence), integral, rtol=0.1)
    # Weighted draws are exact but for chance: 1000 of them, 4 standard errors.
    assert abs(page["mean"] - found["kappa"][0]) < 4 * found["kappa"][1] / np.sqrt(500)
    np.testing.assert_allclose(
        np.exp(gaussian.log_evidence) * page["weights"].mean(),
        integral,
        rtol=4 * float(page["weights"].std()) / np.sqrt(1000) + 1e-3,
    )


def _like_the_grid(draws, grid):
    """Means and standard deviations of 400 draws that are worth a hundred independent ones."""
    found, _ = moments(grid)
    for name, (mean, sd) in found.items():
        seen = np.asarray(draws[name])
        assert seen.shape == (400,)
        assert abs(seen.mean() - mean) < 4 * sd / np.sqrt(100), name
        assert abs(seen.std() / sd - 1) < 4 / np.sqrt(2 * 100), name


@pytest.mark.long
def test_blackjax_finds_the_posterior(page, grid):
    pytest.importorskip("blackjax")
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(_blocks()[2], "posteriors.md", "exec"), page)
    assert int(page["divergent"].sum()) == 0
    _like_the_grid(page["by_blackjax"], grid)


@pytest.mark.slow
@pytest.mark.long  # as another sampler does in the test above
def test_numpyro_finds_the_posterior(page, grid):
    pytest.importorskip("numpyro")
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(_blocks()[3], "posteriors.md", "exec"), page)
    _like_the_grid(page["by_numpyro"], grid)


# The Laplace approximation


def test_the_laplace_approximation_of_a_gaussian_is_exact():
    J = jr.normal(jr.key(0), (7, 3))
    y = jr.normal(jr.key(1), (7,))
    density = hx.log_density({"a": jnp.zeros(3)}, lambda m: J @ a(m) - y, where=a)
    found = density.laplace()
    precision = np.asarray(J.T @ J)
    best = np.linalg.solve(precision, np.asarray(J.T @ y))
    np.testing.assert_allclose(found.mode, best, rtol=1e-8)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), rtol=1e-8)
    rest = np.square(np.asarray(J) @ best - np.asarray(y)).sum()
    evidence = 1.5 * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1] / 2 - rest / 2
    np.testing.assert_allclose(found.log_evidence, evidence, rtol=1e-8)
    u = jr.normal(jr.key(2), (5, 3))
    np.testing.assert_allclose(jax.vmap(found)(u), jax.vmap(density)(u), rtol=1e-8)
    draws = np.asarray(found.draws(jr.key(3), 20_000))
    unit = (draws - best) @ np.linalg.cholesky(precision)
    assert np.abs(unit.mean(0)).max() < 4 / np.sqrt(20_000)
    assert np.abs(np.cov(unit.T) - np.eye(3)).max() < 6 / np.sqrt(20_000)


def test_the_maximum_is_found_from_afar():
    """Where the density has no maximum along the first step, and beyond where it is zero."""
    density = hx.log_density(
        {"a": jnp.array(30.0)},
        lambda m: (jnp.sqrt(a(m)) - jnp.array([1.0, 1.2])) / 0.01,
        where=a,
    )
    np.testing.assert_allclose(density.laplace().mode, 1.1**2, rtol=1e-6)


def test_no_approximation_is_said_in_words():
    open_ = hx.log_density(
        {"a": jnp.array([1.0, 2.0, 3.0])},
        lambda m: jnp.stack([a(m)[0] - 1.0, a(m)[1] + a(m)[2] - 5.0]),
        where=a,
    )
    with pytest.raises(ValueError, match=r"0\.71 a\[\d\] -0\.71 a\[\d\].*losses\.prior"):
        open_.laplace()
    rising = hx.log_density({"a": jnp.array(1.0)}, lambda m: -jnp.square(a(m)), where=a)
    with pytest.raises(ValueError, match="not those of a maximum"):
        rising.laplace()
    with pytest.raises(ValueError, match="`start`: the density is zero there"):
        hx.log_density({"a": jnp.array(-1.0)}, lambda m: jnp.log(a(m))[None], where=a).laplace()
    kink = hx.log_density(
        {"a": jnp.array(1.0)}, lambda m: jnp.abs(a(m) - 0.3) + jnp.square(a(m)) / 2, where=a
    )
    with pytest.raises(ValueError, match="no maximum of the density was found: after"):
        kink.laplace()
    under = jax.jit(lambda u: open_.laplace(u))(jnp.ones(3))
    assert np.isnan(under.log_evidence) and np.isnan(under.mode).all()


# Several recordings, and several subjects


@pytest.mark.slow
def test_one_matrix_from_recordings_of_unequal_length():
    """Each with its own start, number of switches and noise; missing times are NaN."""
    net = network()
    starts = 4.0 * jnp.eye(4)[:3]
    lengths, sigmas = (2, 3, 1), (0.1, 0.2, 0.05)
    truth = net.transition.at[2, 1].set(1.1)
    whole = eqx.tree_at(lambda n: n.transition, net, truth)

    def times(start):
        run = hx.simulate(whole, net.init(saliency=start), jnp.array([0.0, 130.0]))
        return run.switches.time[:3]

    seen = np.array(jax.vmap(times)(starts))
    for row, length in zip(seen, lengths, strict=True):
        row[length:] = np.nan
    recordings = [
        losses.switch_times(row, init=dict(saliency=start), sigma=sigma)
        for row, start, sigma in zip(seen, starts, sigmas, strict=True)
    ]
    mask = jnp.zeros((4, 4), bool).at[jnp.array([1, 2, 3]), jnp.array([0, 1, 2])].set(True)
    found = hx.fit(
        net,
        losses.each,
        data=losses.stack(recordings),
        where=lambda n: n.transition,
        constraint=constraints.Masked(mask),
        absolute_sigma=True,
        progress=False,
    )
    np.testing.assert_allclose(found.model.transition, truth, atol=1e-5)  # to the tolerance
    assert int(found.goodness.degrees) == sum(lengths) - 3  # what is missing counts for nothing


@pytest.mark.slow
def test_subjects_are_the_recordings_one_by_one():
    """Against a loop over networks of their own; what they share has an entry for all."""
    times, kappas = [[31.0, 61.0], [29.0, np.nan], [33.0, 64.0]], [5.0, 5.5, 4.5]
    each = [
        losses.switch_times(row, init=START, sigma=s)
        for row, s in zip(times, (1, 2, 3), strict=True)
    ]
    group = eqx.tree_at(lambda n: n.kappa, network(), jnp.array(kappas))
    loss = losses.subjects(losses.stack(each), where=lambda n: n.kappa)
    found = loss(group)
    expected = [one(network(kappa=k)) for one, k in zip(each, kappas, strict=True)]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-9)
    with pytest.raises(ValueError, match=r"an entry for each of the 3 subjects .* shape \(\)"):
        loss(network())


def test_wrong_arguments_of_groups_are_named(as_a_user_runs_it):
    seen = losses.switch_times([31.0], init=START)
    with pytest.raises(TypeError, match="`recordings` .* what hopfax.losses.stack returns"):
        losses.subjects([seen, seen], where=lambda n: n.kappa)
    with pytest.raises(TypeError, match="`where`"):
        losses.subjects(seen, where="kappa")
    with pytest.raises(ValueError, match="`sigma`"):
        losses.pooled(a, sigma=-1.0)


def test_a_pooled_prior_is_that_with_its_mean_integrated_out():
    sigma, v = 0.7, np.array([1.0, 2.5, 2.0])
    loss = losses.pooled(a, sigma=sigma)
    means = np.linspace(-20.0, 20.0, 8001)

    def integral(v):
        square = np.square((v[:, None] - means) / sigma).sum(0)
        return np.log(np.trapezoid(np.exp(-square / 2), means))

    moved = v + np.array([0.3, -0.5, 0.9])
    before, after = (losses.value(loss({"a": jnp.asarray(x)})) for x in (v, moved))
    np.testing.assert_allclose(before - after, integral(moved) - integral(v), rtol=1e-9)
    with pytest.raises(ValueError, match="at least two members"):
        loss({"a": jnp.ones(1)})


@pytest.mark.slow
def test_partial_pooling_brings_subjects_nearer_to_the_truth(page):
    """Gains of twenty subjects, half of whom were hardly watched."""
    exec(compile(_blocks()[4], "posteriors.md", "exec"), page)
    gains, errors = page["gains"], {}
    for name in ("alone", "together"):
        off = np.asarray(page[name].values - gains)
        errors[name] = np.sqrt(np.mean(off**2)), np.sqrt(np.mean(off[10:] ** 2))
    assert 0.2 < page["spread"] < 0.8  # the truth is 0.4
    for before, after in zip(errors["alone"], errors["together"], strict=True):
        assert after < 0.85 * before
    assert page["together"].stderr.mean() < page["alone"].stderr.mean()
    assert np.var(page["together"].values) < np.var(page["alone"].values)


# Calibration


@pytest.mark.long
def test_shares_of_the_posterior_below_the_truth_are_uniform(monkeypatch):
    """By the benchmark; a right posterior fails once in 10,000 choices of seeds."""
    monkeypatch.syspath_prepend(PAGE.parents[1])
    from benchmarks import posteriors

    share, effective = posteriors.shares(50, seed=1)
    assert effective.min() > 50
    for k in (0, 1):
        p, counts = posteriors.p_value(share[:, k])
        assert counts.sum() == 50 and p > 5e-5
