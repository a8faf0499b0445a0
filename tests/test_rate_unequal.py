"""Rate networks whose neurons differ, against plain NumPy; and noise that keeps rates positive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from helpers import assert_close
from scipy.stats import norm

import hopfax as hx

P, N = 3, 16
PATTERNS = hx.patterns.sunflower(P, 0.25, 0.5, N)
XI = np.asarray(PATTERNS.xi)
RNG = np.random.default_rng(1)
GAIN, THRESHOLD = RNG.uniform(1.5, 3.0, N), RNG.uniform(0.1, 0.3, N)
A, B, TAU = RNG.uniform(-0.4, -0.2, N), RNG.uniform(0.8, 1.1, N), RNG.uniform(0.5, 2.0, N)
OWN = dict(
    a=A, b=B, activation=hx.Logistic(GAIN, THRESHOLD), learning="pseudo_inverse", tau_rates=TAU
)
START = dict(weights=[0.8, 0.1, 0.1])


def phi(y):
    return 1 / (1 + np.exp(-4 * GAIN * (y - THRESHOLD) + 2))


STORED = np.stack([phi(A + (B - A) * row) for row in XI])  # (P, N)
CURRENTS = A + (B - A) * XI
READ = np.linalg.pinv(STORED.T)  # (P, N): overlaps are READ x
W = CURRENTS.T @ READ


def rate(x, drive=None, uniform=0.0):
    """The equation of motion with the matrix written out."""
    currents = W @ x if drive is None else CURRENTS.T @ drive
    return (-x + phi(currents + uniform)) / TAU


def network():
    return hx.RateMemory(PATTERNS, **OWN)


def test_unequal_neurons_hold_the_memories_they_are_made_for():
    for k, row in enumerate(STORED):
        state = network().init(weights=np.eye(P)[k])
        assert_close(state.rates, row, 1e-14, "phi(a) and phi(b) of each neuron")
        assert_close(network().overlaps(state), np.eye(P)[k], 1e-12, "rounding")
        assert abs(network().vector_field(0.0, state).rates).max() < 1e-13
        assert abs(rate(row)).max() < 1e-13


def test_the_equations_of_unequal_neurons_are_those_of_the_whole_matrix():
    x, z, bias = RNG.uniform(0, 1, N), RNG.uniform(0, 2, P), 0.2
    plain = network()
    assert_close(plain.vector_field(0.0, plain.init(rates=x)).rates, rate(x), 1e-12, "rounding")
    moving = hx.TwoTimescaleRateMemory(
        PATTERNS, hx.cyclic(P), kappa=3.0, tau=20.0, bias=bias, **OWN
    )
    found = moving.vector_field(0.0, moving.init(rates=x, saliency=z))
    assert_close(found.rates, rate(x, z * (READ @ x + bias)), 1e-12, "rounding")
    slow = (-z + 3.0 * np.asarray(hx.cyclic(P)) @ READ @ x) / 20.0
    assert_close(found.saliency, slow, 1e-12, "rounding")
    dale = hx.DaleRateMemory(PATTERNS, tau_inhibition=0.5, **OWN)
    least = max(0.0, -N * W.min())
    assert_close(dale.inhibition, least, 1e-12 * least, "the least for which all excite")
    found = dale.vector_field(0.0, dale.init(rates=x, inhibition=0.3))
    assert_close(found.rates, rate(x, uniform=least * (x.mean() - 0.3)), 1e-11, "rounding")


def test_rest_and_spectrum_of_unequal_neurons_are_those_of_the_whole_matrix():
    current = 0.05 * XI[1]
    found = hx.dynamics.steady_state(network(), network().init(**START), current=current)

    def rest(x):
        return -x + phi(W @ x + current)

    x = scipy.optimize.fsolve(rest, STORED[0], xtol=1e-14)
    assert_close(found.state.rates, x, 1e-11, "rounding of two Newton methods")
    y = phi(W @ x + current)
    slopes = 4 * GAIN * y * (1 - y)
    wanted = np.linalg.eigvals((-np.eye(N) + slopes[:, None] * W) / TAU[:, None])
    assert found.spectrum.others == 0 and found.stable
    ours = np.sort(np.real(found.spectrum.eigenvalues))
    assert_close(ours, np.sort(np.real(wanted)), 1e-8, "eigenvalues near each other")


def test_a_run_of_unequal_neurons_is_that_of_scipy():
    ts = np.linspace(0.0, 6.0, 4)
    run = hx.simulate(network(), network().init(**START), jnp.asarray(ts))
    first = np.asarray(network().init(**START).rates)
    wanted = scipy.integrate.solve_ivp(
        lambda t, x: rate(x), (0, 6), first, t_eval=ts, rtol=1e-10, atol=1e-12
    )
    assert_close(run.overlaps, (READ @ wanted.y).T, 1e-6, "the solver's tolerance of 1e-8")


@pytest.mark.slow
def test_neurons_that_are_equal_in_their_classes_may_be_merged():
    key = np.asarray(PATTERNS.column_classes().index)
    own = dict(
        learning="pseudo_inverse",
        activation=hx.HardSigmoid(threshold=0.1 + 0.02 * key),
        tau_rates=1 + 0.2 * key,
    )
    merging = hx.RateMemory(PATTERNS, **own)
    ts = jnp.linspace(0.0, 2.0, 3)
    start = merging.init(rates=RNG.uniform(0, 1, N))
    runs = [
        hx.simulate(merging, start, ts, method=hx.Diffrax(reduction=form))
        for form in ("sites", "classes")
    ]
    assert_close(runs[0].final.rates, runs[1].final.rates, 1e-6, "the solver's tolerance")
    with pytest.raises(ValueError, match="time constants of their own"):
        hx.simulate(merging, start, ts, method=hx.EventDriven())
    shifted = hx.RateMemory(PATTERNS, **(own | {"tau_rates": 1 + 0.2 * np.arange(N)}))
    with pytest.raises(ValueError, match="`tau_rates`, thresholds, gains or levels differ"):
        hx.simulate(shifted, start, ts, method=hx.Diffrax(reduction="classes"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (dict(a=A), "`a` for each neuron: learning='projection' holds memories only where"),
        (dict(activation=hx.Logistic(4.8, THRESHOLD)), "`activation.threshold` for each neuron"),
        (dict(b=B[:5]), r"`b` must be a number or have shape \(N,\) = \(16,\), got \(5,\)"),
        (dict(activation=hx.Logistic(GAIN[:5])), r"`activation.gain` must be a number or have"),
        (dict(tau_rates=-TAU), "`tau_rates` must be > 0"),
        (dict(tau_rates=np.ones((2, 2))), "`tau_rates` must be a number or have shape"),
    ],
)
def test_what_cannot_be_stored_is_refused(given, text):
    with pytest.raises(ValueError, match=text):
        hx.RateMemory(PATTERNS, **given)


def test_the_theory_refuses_unequal_neurons():
    with pytest.raises(ValueError, match="the theory of rate memories is for neurons with one"):
        hx.theory.rate.memory_eigenvalues(network(), mu=0)
    with pytest.raises(ValueError, match="`phi.threshold` must have shape"):
        hx.theory.rate.design(hx.Logistic(4.8, THRESHOLD), -0.3, 0.95, 0.25)
    linear = hx.ThresholdLinearNetwork(np.zeros((2, 2)), 1.0, tau_rates=[1.0, 2.0])
    with pytest.raises(ValueError, match="time constants 1"):
        hx.theory.rate.threshold_linear_fixed_points(linear)


def last(run):
    return run.overlaps[-1]


@pytest.mark.slow
def test_unequal_neurons_are_saved_and_swept(tmp_path):
    hx.save(tmp_path / "own.hopfax", network())
    back = hx.load(tmp_path / "own.hopfax")
    assert (np.asarray(back.tau_rates) == TAU).all() and back.noise_in == "rates"
    ts = jnp.linspace(0.0, 6.0, 4)  # those of the run against SciPy
    point = hx.Point(network(), START, ts, observe=last)
    swept = hx.sweep(point, {"tau_rates": [1.0, 2.0]}, progress=False)
    first = np.asarray(network().init(**START).rates)
    wanted = scipy.integrate.solve_ivp(
        lambda t, x: rate(x) * TAU / 2.0, (0, 6), first, rtol=1e-10, atol=1e-12
    )
    assert_close(swept["value"][1], READ @ wanted.y[:, -1], 1e-6, "the solver's tolerance")


def lone(noise_in, b, tau_rates):
    """Neurons without synapses, at their own currents, and samples of their stationary rates."""
    network = hx.ThresholdLinearNetwork(
        np.zeros((64, 64)), b, noise_in=noise_in, tau_rates=tau_rates
    )
    run = hx.simulate(
        network,
        network.init(rates=0.5),
        jnp.linspace(0.0, 200.0, 201),
        noise=0.6,
        key=jax.random.key(3),
    )
    return np.asarray(run.overlaps)[10:]


def four_errors(samples):
    """Four standard errors of mean and variance, of 64 neurons that do not know of each other."""
    return 4 * samples.mean(0).std() / 8, 4 * samples.var(0).std() / 8


@pytest.mark.slow
def test_noise_in_the_currents_has_the_exact_moments_and_keeps_rates_positive():
    r"""$T x' = -x + [b + s \xi]_+$ with $\langle \xi(0) \xi(u) \rangle = e^{-u}$: by the Hermite
    coefficients $c_k$ of the activation, $E x = c_0$, $V x = \sum_k c_k^2 / (k!\,(k T + 1))$."""
    b, s, T = 0.2, 0.6 / np.sqrt(2), 2.0
    x = lone("currents", b, T)
    assert x.min() >= 0
    mean, first = b * norm.cdf(b / s) + s * norm.pdf(b / s), s * norm.cdf(b / s)
    orders = np.arange(2, 120)
    above = [1.0, -b / s]  # He_k(-b/s) / sqrt(k!)
    for k in range(1, 120):
        above.append((-b / s * above[k] - np.sqrt(k) * above[k - 1]) / np.sqrt(k + 1))
    coefficients = (
        s * norm.pdf(b / s) * np.array(above)[orders - 2] / np.sqrt(orders * (orders - 1))
    )
    variance = first**2 / (T + 1) + (coefficients**2 / (orders * T + 1)).sum()
    of_mean, of_variance = four_errors(x)
    assert abs(x.mean() - mean) < of_mean < 0.06 * mean
    assert abs(x.var(0).mean() - variance) < of_variance + variance / 25  # of finite runs


@pytest.mark.slow
def test_noise_on_rates_with_time_constants_has_their_variance():
    """sigma^2 T / 2, of neurons at rest at their currents."""
    slow = 2.0
    x = lone("rates", 3.0, slow)
    _, of_variance = four_errors(x)
    wanted = 0.6**2 * slow / 2
    assert abs(x.var(0).mean() - wanted) < of_variance + wanted / 25  # of finite runs
