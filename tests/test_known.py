"""What is known of a matrix found from a sequence: least norm, and errors of all entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax._fit._identify import with_all_free
from hopfax._fit._proof import look
from hopfax._fit._strategies import Task, _designs, designed

SIGMA = 0.3


def network(P, transition=None):
    patterns = hx.patterns.hadamard(list(range(1, P + 1)), 16)
    transition = jnp.zeros((P, P)) if transition is None else transition
    return hx.TwoTimescaleHopfield(patterns, transition, kappa=5.0, tau=20.0, bias=0.01)


# Least norm


@pytest.mark.slow
def test_of_the_designs_that_show_an_order_the_least_is_taken():
    """One with the largest lead of the successors has an entry of 5.6 here."""
    order = hx.Events([4, 2, 1, 2, 7, 6, 1, 0, 7, 6, 3, 5])
    found = hx.fit_sequence(network(8), order, memory="transition", progress=False)
    assert found.reproduced and [stage.name for stage in found.stages] == ["design"]
    norms, task = [], Task(network(8), [order], None, None, None, 1.0, False, False)
    for gains, starts in _designs(task):
        norms.append(float(np.linalg.norm(gains)))
        if look(designed(task, gains, starts), [order])[0] == 1.0:
            break
    assert norms == sorted(norms)
    np.testing.assert_allclose(5 * np.linalg.norm(found.network.transition), norms[-1], rtol=1e-12)
    assert float(jnp.abs(found.network.transition).max()) < 1.5


# Errors with all entries free

ROWS = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4)))
DATA = jnp.asarray(np.random.default_rng(1).standard_normal(6))


def linear(model):
    return (ROWS @ model["a"] - DATA) / 0.5


@pytest.mark.filterwarnings("ignore:the data hardly determine:hopfax.FitWarning")
@pytest.mark.parametrize("absolute", [True, False])
def test_errors_of_chosen_entries_are_those_with_all_entries_free(absolute):
    """Of a linear model: the inverse of the whole normal matrix, not of the fitted part."""
    mask = hx.constraints.Masked([True, True, False, False])
    where = lambda model: model["a"]  # noqa: E731
    options = dict(where=where, constraint=mask, absolute_sigma=absolute, progress=False)
    found = hx.fit({"a": jnp.zeros(4)}, linear, **options)
    wide, known = with_all_free(found, found.model, linear, where, None)
    J = np.asarray(ROWS) / 0.5
    spread = np.linalg.inv(J.T @ J)
    if not absolute:  # of the four degrees of freedom that the two fitted entries leave
        spread *= float(jnp.sum(jnp.square(linear(found.model)))) / 4
    np.testing.assert_allclose(known.errors, np.sqrt(np.diag(spread)), rtol=1e-8)
    np.testing.assert_allclose(wide.stderr, np.sqrt(np.diag(spread))[:2], rtol=1e-8)
    np.testing.assert_allclose(wide.covariance, spread[:2, :2], rtol=1e-8)
    assert (wide.stderr > found.stderr).all()
    low, high = wide.interval(0.95)
    assert (high - low > found.interval(0.95).high - found.interval(0.95).low).all()
    with pytest.raises(ValueError, match="would hold all entries"):
        wide.profile("a[0]")


def test_entries_that_are_open_have_no_error_however_few_are_fitted():
    """The fit of a[0] alone has an error; with a[1], of which only the sum is seen, it has none."""
    sees = lambda model: (model["a"][:1] + model["a"][1:2] - 1.0) / 0.1  # noqa: E731
    where = lambda model: model["a"]  # noqa: E731
    mask = hx.constraints.Masked([True, False])
    options = dict(where=where, constraint=mask, absolute_sigma=True, progress=False)
    found = hx.fit({"a": jnp.zeros(2)}, sees, **options)
    wide, known = with_all_free(found, found.model, sees, where, None)
    assert float(found.stderr[0]) == pytest.approx(0.1)
    assert bool(jnp.isinf(wide.stderr[0])) and bool(wide.undetermined[0])
    assert bool(jnp.isnan(wide.covariance).all()) and known.rank == 1
    assert "known together as 0.71 a[0] +0.71 a[1]" in str(known)


# From times


STARTS = 4.0 * jnp.eye(4)[0]
CHAIN = jnp.asarray([[0, 0, 0, 0.9], [1.1, 0, 0, 0], [0, 1.0, 0, 0.2], [0.3, 0, 1.2, 0]])


@pytest.fixture(scope="module")
def times():
    """Six switches, with errors."""
    run = simulated(CHAIN)
    noise = np.random.default_rng(4).normal(size=6)
    return np.asarray(hx.observables.visited(run))[:7], np.asarray(switches(run)) + SIGMA * noise


def simulated(transition):
    net = network(4, transition)
    return hx.simulate(net, net.init(saliency=STARTS), jnp.array([0.0, 240.0]))


def switches(run):
    return hx.observables.switch_times(run)[:6]


@pytest.fixture(scope="module")
def events(times):
    memory, seen = times
    return hx.Events(memory, np.append(0.0, seen))


@jax.jit
def times_of(transition):
    return switches(simulated(transition))


def differences(transition):
    """Central differences of the switch times, in units of their errors, by all 16 entries."""
    A, h, columns = np.asarray(transition), 1e-5, []
    for k in range(16):
        step = h * np.eye(16)[k].reshape(4, 4)
        columns.append(np.asarray(times_of(A + step)) - np.asarray(times_of(A - step)))
    return np.stack(columns, axis=1) / (2 * h * SIGMA)


@pytest.mark.slow
def test_errors_of_a_matrix_are_those_of_its_whole_jacobian(events):
    """Against central differences of simulated switch times, by all 16 entries."""
    found = hx.fit_sequence(
        network(4), events, saliency=STARTS, sigma=SIGMA, absolute_sigma=True, progress=False
    )
    J = differences(found.network.transition)
    _, sizes, rows = np.linalg.svd(J)
    open_ = np.square(rows[6:]).sum(axis=0) > 1e-4
    assert open_.any() and (sizes > 1e-3).all()  # six times know six combinations
    errors = np.where(open_, np.inf, np.sqrt(np.square(rows[:6] / sizes[:, None]).sum(axis=0)))
    np.testing.assert_allclose(found.known.errors, errors, rtol=1e-4)  # of the differences
    assert found.known.rank <= 6
    labels = list(found.known.labels)
    mine = [labels.index(label) for label in found.fit.labels]
    np.testing.assert_array_equal(found.fit.stderr, found.known.errors[jnp.asarray(mine)])
    assert "with all entries of the matrix free" in str(found)
    assert "the data say nothing of them" in str(found.known)


@pytest.mark.slow
def test_a_prior_closes_what_the_times_leave_open(events):
    """Errors are those of the posterior: of the information of the times, by central differences,
    and of the prior."""
    prior = hx.losses.prior(lambda net: net.transition, CHAIN, sigma=0.1)
    options = dict(saliency=STARTS, sigma=SIGMA, progress=False)
    found = hx.fit_sequence(network(4), events, prior=prior, absolute_sigma=True, **options)
    A = found.network.transition
    J = differences(A)
    covariance = np.linalg.inv(J.T @ J + np.eye(16) / 0.1**2)
    np.testing.assert_allclose(found.fit.stderr, np.sqrt(np.diag(covariance)), rtol=1e-4)
    slope = J.T @ (times_of(A) - events.time[1:]) / SIGMA + (A - CHAIN).ravel() / 0.1**2
    assert np.abs(covariance @ slope).max() < 1e-3  # a minimum of the sum
    assert found.reproduced == 1 and hx.plots.fit(found.fit).axes[0].get_title() == "data and model"
