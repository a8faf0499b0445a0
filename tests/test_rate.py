"""Rate memories: against dense matrices written apart, reductions, energy, events, bad input."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo
from helpers import assert_close
from scipy.integrate import solve_ivp

import hopfax as hx
from hopfax._engines.kinks._series_step import expand

ROUNDING = "rounding of sums over neurons"
A, B = -0.3, 0.95
BALANCED = hx.patterns.balanced(0.2, 100)
FLOWER = hx.patterns.sunflower(4, 0.2, 0.4, 100)
RANDOM = hx.patterns.sparse(jr.key(0), 5, 100, 0.2)
UNEQUAL = jr.uniform(jr.key(1), (5, 100)) < jnp.linspace(0.1, 0.4, 5)[:, None]
UNEQUAL = hx.Patterns(UNEQUAL.astype(float))


def dense(network):
    """The N x N matrix of a design, from its definition, and the memories re-scaled."""
    xi = np.asarray(network.patterns.xi).T
    N, P = xi.shape
    a, b = float(network.a), float(network.b)
    silent, active = (float(network.activation(jnp.asarray(v))) for v in (a, b))
    bar = silent + (active - silent) * xi
    if network.learning == "pseudo_inverse":
        return (a + (b - a) * xi) @ np.linalg.pinv(bar), bar
    q, mean = xi[:, 0].mean(), bar[:, 0].mean()
    kappa = (b - a) / (active - silent)
    if network.learning == "projection":
        Z = xi - q
        W = kappa * Z @ np.linalg.inv(Z.T @ Z) @ Z.T
        return W + ((1 - q) * a + q * b) / mean / N, bar
    gram = xi.T @ xi / N
    r = (gram.sum() - np.trace(gram)) / (P * (P - 1)) / q
    beta = q * ((1 - r) * silent + r * active) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    return kappa / (N * q * (1 - r)) * (xi - beta) @ (xi - beta).T + gamma / N, bar


RUNAWAY = pytest.mark.filterwarnings("ignore:.*does not hold memory 0 at these currents")


@pytest.mark.slow
@RUNAWAY
@pytest.mark.parametrize("name", zoo.rate_activations())
@pytest.mark.parametrize(
    ("patterns", "learning"),
    [
        (BALANCED, "covariance"),
        (BALANCED, "projection"),
        (FLOWER, "covariance"),
        (FLOWER, "projection"),
        (RANDOM, "projection"),
        (UNEQUAL, "pseudo_inverse"),
    ],
)
def test_memories_are_exact_equilibria(name, patterns, learning):
    phi = zoo.rate_activations()[name]
    network = hx.RateMemory(patterns, a=A, b=B, activation=phi, learning=learning)
    W, bar = dense(network)
    P = patterns.P
    for mu in range(P):
        state = network.init(weights=jnp.eye(P)[mu])
        assert_close(state.rates, bar[:, mu], 1e-14, ROUNDING)
        assert np.abs(network.vector_field(0.0, state).rates).max() < 1e-12
        assert_close(network.overlaps(state), np.eye(P)[mu], 1e-12, ROUNDING)
    x, u = np.random.default_rng(0).uniform(0, 1, (2, 100))
    rate = network.vector_field(0.0, network.init(rates=x), hx.Inputs(current=jnp.asarray(u)))
    assert_close(rate.rates, np.asarray(phi(jnp.asarray(W @ x + u))) - x, 1e-12, ROUNDING)


@pytest.mark.filterwarnings("ignore:learning='covariance' does not hold")
def test_unequal_overlaps_leave_crosstalk_in_the_covariance_design():
    network = hx.RateMemory(RANDOM, learning="covariance")
    W, bar = dense(network)
    state = network.init(weights=jnp.eye(5)[0])
    found = network.vector_field(0.0, state).rates
    assert_close(
        found,
        np.asarray(network.activation(jnp.asarray(W @ bar[:, 0]))) - bar[:, 0],
        1e-12,
        ROUNDING,
    )
    assert np.abs(found).max() > 1e-4


@pytest.mark.slow
def test_classes_replace_neurons_whatever_the_start():
    """A start that differs inside classes, with a current and pulses that do not."""
    network = hx.RateMemory(FLOWER)
    state = network.init(rates=np.random.default_rng(1).uniform(0, 1, 100))
    edges, values = [-3.0, -2.0, 3.0], 0.3 * np.asarray(FLOWER.xi)[:2]
    ts = jnp.linspace(-3.0, 3.0, 4)
    runs = [
        hx.simulate(
            network,
            state,
            ts,
            method=zoo.fixed(reduction),
            current=hx.Pulses(edges, values),
            observe=lambda t, state, network: state.rates,
        )
        for reduction in ("classes", "sites")
    ]
    assert [run.stats["reduction"] for run in runs] == ["classes", "sites"]
    # differences in a class decay by the exact exponential, or by one of fixed steps of 1/4
    assert_close(runs[0].overlaps, runs[1].overlaps, 1e-12, ROUNDING)
    assert_close(runs[0].observed, runs[1].observed, 2e-5, "Tsit5 at steps of 1/4")
    assert np.abs(runs[0].overlaps[-1] - runs[0].overlaps[1]).max() > 1e-3
    uneven = hx.simulate(network, state, ts, method=zoo.fixed(), current=np.arange(100) / 1e3)
    assert uneven.stats["reduction"] == "sites"
    with pytest.raises(ValueError, match="differs between neurons with equal memories"):
        hx.simulate(network, state, ts, method=zoo.fixed("classes"), current=np.arange(100) / 1e3)
    with pytest.raises(ValueError, match="do not lie in the span"):
        hx.simulate(network, state, ts, method=zoo.fixed("span"))
    noisy = dict(noise=0.1, key=jr.key(0))
    with pytest.raises(ValueError, match="private noise"):
        hx.simulate(network, state, ts, method=zoo.fixed("classes"), **noisy)


def test_many_sparse_memories_are_independent_in_single_precision():
    xi = hx.patterns.sparse(jr.key(4), 100, 2000, 0.005).xi
    network = hx.RateMemory(hx.Patterns(jnp.asarray(xi, jnp.float32)))
    first = np.eye(100, dtype=np.float32)[0]
    found = network.overlaps(network.init(weights=first))
    assert_close(found, first, 1e-4, "rounding of float32 and an inverse of condition 10")


@pytest.mark.slow
def test_classes_are_not_assumed_where_they_are_not():
    """Patterns that are classes already, entries between 0 and 1, classes beyond counting."""
    xi = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    counted = hx.RateMemory(hx.Patterns(xi, counts=[2.0, 3.0, 3.0, 12.0]))
    state, ts = counted.init(rates=[0.1, 0.5, 0.9, 0.3]), jnp.array([0.0, 1.0])
    with pytest.raises(ValueError, match="are classes already"):
        hx.simulate(counted, state, ts, method=zoo.fixed("classes"))
    grey = hx.RateMemory(FLOWER)
    grey = eqx.tree_at(lambda n: n.patterns.xi, grey, FLOWER.xi.at[0, :3].set(jnp.array([0.7])))
    state = grey.init(rates=0.5 * FLOWER.xi[1])
    runs = [hx.simulate(grey, state, ts, method=zoo.fixed(f)) for f in ("auto", "sites")]
    assert_close(runs[0].overlaps, runs[1].overlaps, 1e-13, ROUNDING)
    hidden = eqx.filter_jit(
        lambda n: hx.simulate(n, state, ts, method=zoo.fixed(), throw=False).status
    )
    assert int(hidden(grey)) != 0  # no answer rather than that of other memories


@pytest.mark.slow
def test_a_log_of_many_classes_holds_times_and_no_states():
    for patterns, few in ((hx.patterns.sparse(jr.key(3), 9, 2000, 0.3), False), (BALANCED, True)):
        network = hx.RateMemory(patterns)
        state = network.init(weights=np.eye(patterns.P)[0])
        system, _ = network.forms.reduced(
            network, state, jnp.zeros(()), None, None, False, "classes"
        )
        assert system.small is few


@pytest.mark.slow
def test_a_million_neurons_cost_what_their_classes_do():
    ts = np.linspace(0.0, 5.0, 3)
    finals = []
    for N in (1000, 1_000_000):
        network = hx.RateMemory(hx.patterns.balanced(0.2, N))
        run = hx.simulate(network, network.init(weights=0.6 * jnp.eye(6)[2]), ts)
        assert run.stats["reduction"] == "classes" and run.final.rates.shape == (N,)
        finals.append(np.asarray(run.overlaps))
    assert_close(*finals, 1e-10, "sums over a million neurons, under an error control at 1e-8")


@pytest.mark.slow
@RUNAWAY
def test_energy_decreases_and_is_that_of_the_matrix():
    u = jnp.asarray(np.random.default_rng(2).uniform(-0.1, 0.1, 100))
    for name, phi in zoo.rate_activations().items():
        network = hx.RateMemory(FLOWER, activation=phi, learning="covariance")
        W = dense(network)[0]
        state = network.init(rates=np.random.default_rng(3).uniform(0.05, 0.95, 100))
        x = np.asarray(state.rates)
        expected = -x @ W @ x / 2 - np.asarray(u) @ x + np.asarray(phi.potential(state.rates)).sum()
        found, slope = jax.value_and_grad(
            lambda rates, network=network: network.energy(hx.RateState(rates), hx.Inputs(current=u))
        )(state.rates)
        assert_close(found, expected, 1e-11, ROUNDING)
        down = network.vector_field(0.0, state, hx.Inputs(current=u)).rates
        assert float(slope @ down) < -1e-3, name
    network = hx.RateMemory(FLOWER)
    run = hx.simulate(
        network,
        network.init(rates=np.random.default_rng(4).uniform(0, 1, 100)),
        np.linspace(0.0, 20.0, 41),
        observe=hx.observables.energy,
    )
    energies = np.asarray(run.observed)
    assert (np.diff(energies) < 1e-9).all() and energies[-1] < energies[0] - 1
    for other in (
        hx.RateMemory(UNEQUAL, learning="pseudo_inverse"),
        hx.DaleRateMemory(FLOWER, tau_inhibition=1.0),
    ):
        with pytest.raises(ValueError, match="no energy"):
            other.energy(other.init(weights=jnp.eye(other.patterns.P)[0]))
    driven = hx.InputDrivenRateMemory(FLOWER)
    with pytest.raises(ValueError, match="no energy"):
        driven.energy(driven.init(weights=jnp.eye(4)[0]), hx.Inputs(stimulus=FLOWER.xi[0]))


def test_energy_of_saliencies_and_what_they_add():
    """Its slope holds the currents: they lead from the rates to the flow."""
    x = jnp.asarray(np.random.default_rng(6).uniform(0.05, 0.95, 100))
    made = dict(learning="covariance")
    slow = hx.TwoTimescaleRateMemory(
        FLOWER, hx.cyclic(4), kappa=2.0, tau=3.0, bias=[0.3, 0.1, 0.2, 0.0], **made
    )
    driven = hx.InputDrivenRateMemory(FLOWER, **made)
    z = jnp.array([0.9, 0.4, -0.2, 0.3])
    u = 0.1 * FLOWER.xi[2]
    for network, state in ((slow, slow.init(saliency=z, rates=x)), (driven, driven.init(rates=x))):
        inputs = hx.Inputs(stimulus=FLOWER.field(z + 0.1), current=u)
        slope = jax.grad(
            lambda rates, network=network, state=state, inputs=inputs: network.energy(
                eqx.tree_at(lambda s: s.rates, state, rates), inputs
            )
        )(x)
        phi = network.activation
        flow = phi(phi.inverse(x) - slope) - x
        assert_close(network.vector_field(0.0, state, inputs).rates, flow, 1e-11, ROUNDING)


def test_every_driven_memory_has_its_own_gain_and_stimuli_add_to_saliency():
    kappa, tau, z = np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0, 8.0]), np.arange(4.0)
    network = hx.TwoTimescaleRateMemory(FLOWER, hx.cyclic(4), kappa=kappa, tau=tau, bias=0.1)
    state = network.init(saliency=z, weights=[0.9, 0.5, 0.2, 0.1])
    m = np.asarray(network.overlaps(state))
    slow = network.vector_field(0.0, state).saliency
    assert_close(slow, (kappa * np.roll(m, 1) - z) / tau, 1e-12, ROUNDING)
    more = network.init(saliency=z + 0.5, weights=[0.9, 0.5, 0.2, 0.1])
    pushed = network.vector_field(0.0, state, hx.Inputs(stimulus=FLOWER.field(jnp.full(4, 0.5))))
    assert_close(pushed.rates, network.vector_field(0.0, more).rates, 1e-12, ROUNDING)


@pytest.mark.slow
def test_least_inhibition_is_found_in_blocks_and_over_neurons_that_exist():
    far = np.zeros((2, 300))
    far[0, 260:280] = far[1, 280:] = 1  # the least synapses join these: they are in the last rows
    merged = hx.patterns.balanced(0.2, 1000)  # 64 classes, most of them empty
    for patterns in (hx.Patterns(far), merged):
        network = hx.RateMemory(patterns, learning="covariance")
        least = patterns.N * dense(network)[0].min()
        whole = network.wiring().most_negative(patterns)
        assert float(whole) == pytest.approx(least, rel=1e-10)
        dale = hx.DaleRateMemory(patterns, tau_inhibition=1.0, learning="covariance")
        assert float(dale.inhibition) == pytest.approx(-least, rel=1e-10)


@pytest.mark.slow
def test_gradients_of_the_final_overlap():
    """With respect to a and b, gain, threshold and an input, against central differences."""
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    where = ("a", "b", "gain", "threshold", "input")
    values = jnp.array([-0.2, 0.6, 2.0, 0.1, 0.05])

    def overlap(values, method):
        a, b, gain, threshold, push = values
        phi = hx.Logistic(gain, threshold)
        network = hx.RateMemory(patterns, a=a, b=b, activation=phi)
        rates = 0.6 * patterns.xi[0] + 0.1 * patterns.xi[1]
        run = hx.simulate(
            network,
            network.init(rates=rates),
            jnp.array([0.0, 3.0]),
            current=push * patterns.xi[1],
            method=method,
            throw=False,
        )
        return run.overlaps[-1] @ jnp.array([1.0, -0.5, 0.2])

    run = jax.jit(lambda v: overlap(v, zoo.fixed()))
    slopes = jax.jit(jax.grad(lambda v: overlap(v, zoo.fixed())))(values)
    for k, name in enumerate(where):
        h = 1e-5 * jnp.eye(5)[k]
        expected = (run(values + h) - run(values - h)) / 2e-5
        assert_close(slopes[k] / expected, 1.0, 1e-7, f"central differences in {name}")
        assert abs(float(expected)) > 1e-3


@pytest.mark.slow
def test_saliency_is_calibrated_and_steers():
    """Section on input-driven plasticity: five memories of the balanced set."""
    five = hx.Patterns(hx.patterns.balanced(0.2, 1000).xi[:5])
    network = hx.InputDrivenRateMemory(five)
    wiring = network.wiring()
    s = jnp.array([0.4, 1.0, 0.4, 0.4, 0.4])
    for learning in ("projection", "covariance", "pseudo_inverse"):
        wires = hx.InputDrivenRateMemory(five, learning=learning).wiring()
        assert_close(wires.evidence(five, five.field(s) + 0.7), s, 1e-12, ROUNDING)
    state = network.init(weights=jnp.eye(5)[0])
    ts = np.linspace(0.0, 60.0, 3)
    weak = hx.simulate(network, state, ts, stimulus=five.field(s))
    assert float(weak.final.rates.mean()) == pytest.approx(0.0029, abs=5e-5)
    both = dict(stimulus=five.field(s), current=0.15 * five.xi[1])
    moved = hx.simulate(network, state, ts, **both)
    assert_close(moved.overlaps[-1], np.eye(5)[1], 5e-4, "the current shifts silent rates a little")
    held = hx.simulate(network, state, ts, stimulus=five.field(s.at[0].set(0.7)))
    assert float(held.overlaps[-1, 0]) > 0.99
    ones = network.vector_field(0.0, state, hx.Inputs(stimulus=five.field(jnp.ones(5)))).rates
    assert np.abs(ones).max() < 1e-12  # the plain memory
    W = sum(
        float(s[mu]) * 1.25 / 160 * np.outer(*[np.asarray(five.xi[mu]) - 0.2] * 2)
        for mu in range(5)
    )
    x = np.random.default_rng(0).uniform(0, 1, 1000)
    gap = np.diff(np.asarray(network.activation(jnp.array([A, B]))))[0]
    W = W / gap + float(wiring.background) / 1000
    rate = network.vector_field(0.0, network.init(rates=x), hx.Inputs(stimulus=five.field(s)))
    assert_close(
        rate.rates, np.asarray(network.activation(jnp.asarray(W @ x))) - x, 1e-11, ROUNDING
    )


@pytest.mark.slow
def test_dale_has_excitatory_synapses_and_the_same_equilibria():
    network = hx.DaleRateMemory(FLOWER, tau_inhibition=2.0, learning="covariance")
    plain = hx.RateMemory(FLOWER, learning="covariance")
    W = dense(plain)[0]
    c = float(network.inhibition)
    assert c == pytest.approx(-100 * W.min(), rel=1e-12) and c > 0
    state = network.init(weights=jnp.eye(4)[1])
    rate = network.vector_field(0.0, state)
    assert np.abs(rate.rates).max() < 1e-12 and abs(float(rate.inhibition)) < 1e-15
    x, y = np.random.default_rng(5).uniform(0, 1, 100), 0.3
    rate = network.vector_field(0.0, network.init(rates=x, inhibition=y))
    excited = (W + c / 100) @ x - c * y
    assert_close(
        rate.rates, np.asarray(network.activation(jnp.asarray(excited))) - x, 1e-12, ROUNDING
    )
    assert float(rate.inhibition) == pytest.approx((x.mean() - y) / 2.0, rel=1e-12)
    quick = hx.DaleRateMemory(FLOWER, tau_inhibition=1e-3, inhibition=c, learning="covariance")
    ts = np.linspace(0.0, 2.0, 3)
    a, b = (hx.simulate(n, n.init(rates=x), ts).overlaps for n in (quick, plain))
    assert_close(a, b, 5e-3, "an inhibitory unit that lags by 1e-3 times c")


@pytest.mark.slow
def test_two_timescales_walk_through_memories():
    patterns = hx.patterns.sunflower(5, 0.2, 0.2, 1000)
    make = dict(kappa=2.5, tau=50.0)
    network = hx.TwoTimescaleRateMemory(patterns, hx.cyclic(5), bias=0.2, **make)
    state = network.init(saliency=[1.5, 0, 0, 0, 0])
    run = hx.simulate(network, state, np.linspace(0.0, 450.0, 3))
    count = int(run.switches.count)
    assert count >= 6 and run.stats["reduction"] == "classes"
    assert list(np.asarray(run.switches.target)[:6]) == [1, 2, 3, 4, 0, 1]
    assert np.asarray(run.switches.retrieved)[:6].all()
    still = hx.TwoTimescaleRateMemory(patterns, hx.cyclic(5), **make)
    with pytest.warns(hx.PhysicsWarning, match="falls silent"):
        ended = hx.simulate(still, still.init(saliency=[1.5, 0, 0, 0, 0]), np.array([0.0, 150.0]))
    assert float(ended.final.rates.max()) < 0.02
    hx.simulate(still, state, np.array([0.0, 1.0]), current=0.01 * patterns.xi[0])


@pytest.mark.slow
def test_noise_is_private_and_exact_at_any_step():
    """In a saturated memory a rate is its mean plus an Ornstein-Uhlenbeck process of variance
    sigma^2 / 2; overlaps average it away."""
    network = hx.RateMemory(hx.patterns.balanced(0.2, 1000), activation=hx.HardSigmoid())
    state = network.init(weights=jnp.eye(6)[0])
    run = hx.simulate(network, state, np.linspace(0.0, 10.0, 3), noise=0.1, key=jr.key(0))
    spread = np.asarray(run.final.rates - state.rates)
    assert run.stats["reduction"] == "sites"
    # 4 standard errors of a variance from 1000 numbers
    assert np.var(spread) == pytest.approx(0.005, rel=4 * np.sqrt(2 / 1000))
    assert abs(float(run.overlaps[-1, 0]) - 1) < 4 * 0.1 / np.sqrt(2) / np.sqrt(1000 * 0.16)
    assert network.mean_field(0.1) is network


def follow(network, state, ts, current=0.0):
    """A run by DOP853, in NumPy, with all neurons, from jump to jump of its current; for a cycle of
    two timescales, too."""
    phi, N, xi = network.activation, network.patterns.N, np.asarray(network.patterns.xi)
    rho, threshold = float(phi.gain), float(phi.threshold)
    slow = hasattr(network, "tau")
    W = None if slow else dense(network)[0]
    q, delta = xi[0].mean(), float(network.b - network.a)
    silent, active = np.asarray(phi(jnp.array([network.a, network.b])))
    gamma = ((1 - q) * float(network.a) + q * float(network.b)) / ((1 - q) * silent + q * active)
    read = np.linalg.inv((xi - q) @ (xi - q).T) @ (xi - q) / (active - silent)

    def rhs(t, y, push):
        x = y[:N]
        if not slow:
            return -x + np.clip(rho * (W @ x + push - threshold), 0, phi.ceiling)
        z, m = y[N:], read @ x
        now = delta * z * (m + float(network.bias)) @ (xi - q) + gamma * x.mean() + push
        dx = -x + np.clip(rho * (now - threshold), 0, phi.ceiling)
        calls = np.asarray(network.transition) @ m
        return np.r_[dx, (float(network.kappa) * calls - z) / float(network.tau)]

    pulses = isinstance(current, hx.Pulses)
    edges = np.asarray(current.edges) if pulses else ts[[0, -1]]
    values = np.asarray(current.values) if pulses else [current]
    y = np.concatenate([np.asarray(part) for part in zoo.parts(state)])
    found = []
    for begin, until, push in zip(edges[:-1], edges[1:], values, strict=True):
        saves = ts[(ts >= begin) & (ts < until)]
        tight = dict(rtol=3e-14, atol=1e-15, max_step=0.05)
        part = solve_ivp(rhs, (begin, until), y, "DOP853", [*saves, until], args=(push,), **tight)
        found.append(part.y[:, : len(saves)])
        y = part.y[:, -1]
    return np.concatenate([*found, y[:, None]], axis=1)


EXACT = hx.EventDriven(order=24, tol=1e-14)


@pytest.mark.slow
def test_series_solve_the_equation_of_every_network():
    """The slope of the series is the flow at its value, a little later as well."""
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    made = dict(activation=hx.HardSigmoid(2.0, 0.1), a=0.15, b=0.5)
    rates = 0.2 + 0.3 * patterns.xi[0] + 0.1 * patterns.xi[1]
    dale = hx.DaleRateMemory(patterns, tau_inhibition=0.5, **made)
    slow = hx.TwoTimescaleRateMemory(patterns, hx.cyclic(3), kappa=2.0, tau=3.0, bias=0.2, **made)
    driven = hx.InputDrivenRateMemory(patterns, **made)
    z = jnp.array([0.9, 0.4, 0.2])
    for network, state, stimulus in (
        (dale, dale.init(rates=rates, inhibition=0.3), None),
        (slow, slow.init(rates=rates, saliency=z), patterns.field(z / 10)),
        (driven, driven.init(rates=rates), patterns.field(z)),
    ):
        push = 0.05 * patterns.xi[2]
        system, core = network.forms.reduced(
            network, state, jnp.zeros(()), stimulus, push, False, "sites"
        )
        series = jax.jit(lambda core, system=system: expand(system, jnp.zeros(()), core, 12))(core)
        assert (np.asarray(series.side) == 0).any()
        h = jnp.asarray(0.01)
        later, slope = jax.jvp(series.at, (h,), (jnp.ones(()),))
        flow = system.derivative(h, later)
        for found, expected in zip(jax.tree.leaves(slope), jax.tree.leaves(flow), strict=True):
            assert_close(found, expected, 1e-12, "no kink is so near, and terms of order 12 vanish")


@RUNAWAY
@pytest.mark.parametrize(
    ("phi", "currents"),
    [
        (hx.HardSigmoid(4.8, 0.2), (-0.3, 0.95)),
        (hx.HardSigmoid(2.0, 0.1), (0.15, 0.5)),
        pytest.param(hx.ThresholdLinear(0.9, 0.1), (-0.3, 0.7), marks=pytest.mark.slow),
    ],
)
def test_steps_from_kink_to_kink(phi, currents):
    patterns = hx.patterns.sunflower(3, 0.2, 0.25, 40)
    network = hx.RateMemory(patterns, a=currents[0], b=currents[1], activation=phi)
    rng = np.random.default_rng(0)
    state = network.init(rates=rng.uniform(0, 1, 40))
    ts = np.linspace(0.0, 12.0, 7)
    push = 0.1 * np.asarray(patterns.xi[0])
    run = hx.simulate(network, state, ts, method=EXACT, current=push)
    expected = follow(network, state, ts, push)
    assert run.stats["method"] == "event-driven" and run.stats["reduction"] == "classes"
    assert_close(run.final.rates, expected[:, -1], 1e-12, "DOP853 at 3e-14 a step")
    found = [network.overlaps(hx.RateState(jnp.asarray(x))) for x in expected.T]
    assert_close(run.overlaps, np.stack(found), 1e-12, "saves in between")
    assert int(run.stats["steps"]) < 60


@pytest.mark.slow
def test_kinks_of_two_timescales_pulses_and_derivatives():
    patterns = hx.patterns.sunflower(3, 0.2, 0.25, 40)
    ts = np.linspace(0.0, 60.0, 4)

    def make(values):
        kappa, gain, height, edge = values
        network = hx.TwoTimescaleRateMemory(
            patterns,
            hx.cyclic(3),
            kappa=kappa,
            tau=20.0,
            bias=0.2,
            activation=hx.HardSigmoid(gain, 0.2),
        )
        pulse = jnp.stack([height * patterns.xi[1], 0 * patterns.xi[1]])
        return network, hx.Pulses(jnp.stack([0.0, edge, 60.0]), pulse)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def end(values):
        network, push = make(values)
        state = network.init(saliency=jnp.array([1.5, 0.2, 0]))
        run = hx.simulate(network, state, ts, method=EXACT, current=push, throw=False)
        return run.final.saliency @ jnp.array([1.0, 2.0, -1.0]) + run.overlaps[-1, 1], run

    values = jnp.array([2.5, 4.8, 0.03, 23.9])
    (_, run), slopes = end(values)
    network, push = make(values)
    expected = follow(network, network.init(saliency=jnp.array([1.5, 0.2, 0])), ts, push)
    assert int(run.switches.count) >= 2 and int(run.stats["steps"]) < 80
    assert_close(run.final.rates, expected[:40, -1], 1e-11, "DOP853 at 3e-14 a step")
    assert_close(run.final.saliency, expected[40:, -1], 5e-12, "DOP853 at 3e-14 a step")
    for k in range(4):
        h = 1e-6 * jnp.eye(4)[k]
        (above, _), _ = end(values + h)
        (below, _), _ = end(values - h)
        assert abs(float(slopes[k])) > 1e-3
        ratio = slopes[k] / ((above - below) / 2e-6)
        assert_close(ratio, 1.0, 1e-6, "central differences of a smooth function")


@pytest.mark.slow
def test_a_memory_at_a_kink_comes_to_rest():
    """b at the upper kink itself: the run ends there without endless tiny steps."""
    network = hx.RateMemory(FLOWER, b=0.2 + 1 / 4.8, activation=hx.HardSigmoid())
    state = network.init(weights=0.9 * jnp.eye(4)[0])
    run = hx.simulate(network, state, np.array([0.0, 300.0]))
    assert int(run.stats["steps"]) < 500 and run.stats["method"] == "event-driven"
    expected = follow(network, state, np.array([0.0, 300.0]))[:, -1]
    assert_close(run.final.rates, expected, 1e-8, "a tolerance of 1e-9")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "extra", "reason"),
    [
        (hx.RateMemory(FLOWER), {}, "Logistic is not piecewise linear"),
        (
            hx.RateMemory(FLOWER, activation=hx.HardSigmoid()),
            dict(noise=0.1, key=jr.key(0)),
            "`noise` has no events",
        ),
        (
            hx.RateMemory(FLOWER, activation=hx.HardSigmoid()),
            dict(event=lambda t, state, network: state.rates.mean() - 0.1),
            "stops a run at the end of a step",
        ),
        (
            hx.RateMemory(hx.patterns.sparse(jr.key(2), 9, 200, 0.3), activation=hx.HardSigmoid()),
            {},
            "do not fall into classes",
        ),
        (
            hx.TwoTimescaleRateMemory(
                FLOWER,
                hx.cyclic(4),
                kappa=2.0,
                tau=9.0,
                bias=0.1,
                readout="abs",
                activation=hx.HardSigmoid(),
            ),
            {},
            "a `readout` other than 'linear'",
        ),
    ],
)
def test_what_has_no_events_says_so(network, extra, reason):
    start = dict(weights=np.eye(network.patterns.P)[0])
    if hasattr(network, "tau"):
        start["saliency"] = np.eye(4)[0]
    with pytest.raises(ValueError, match=reason):
        hx.simulate(
            network, network.init(**start), np.array([0.0, 1.0]), method=hx.EventDriven(), **extra
        )


@pytest.mark.slow
def test_a_sweep_treats_a_bad_design_as_a_status():
    network = hx.RateMemory(FLOWER, activation=hx.HardSigmoid())
    point = hx.Point(network, {"weights": 0.7 * np.eye(4)[0]}, np.linspace(0, 20, 3))
    found = hx.sweep(
        point,
        {"activation.threshold": [0.2, 0.9], "b": [0.95, -0.5]},
        on_failure="ignore",
        progress=False,
    )
    status = found["status"].values
    assert (status[:, 0] == 0).all() and (status[:, 1] == 4).all()  # b < a is no design
    assert found["overlap"].values[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert found["overlap"].values[1, 0] < 0.1  # threshold above b's reach: it falls silent


@pytest.mark.slow
def test_a_fit_finds_the_gain_of_a_sequence():
    patterns = hx.patterns.sunflower(4, 0.2, 0.2, 100)

    def make(kappa):
        return hx.TwoTimescaleRateMemory(patterns, hx.cyclic(4), kappa=kappa, tau=20.0, bias=0.2)

    start = dict(saliency=[1.5, 0, 0, 0])
    run = hx.simulate(make(3.0), make(3.0).init(**start), np.array([0.0, 70.0]))
    loss = hx.losses.switch_times(run.switches.time[:3], init=start)
    fitted = hx.fit(make(2.6), loss, where=lambda n: n.kappa, steps=40, progress=False)
    assert float(fitted.model.kappa) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: hx.RateMemory(hx.patterns.hadamard(2, 8)),
            "entries 0 .* 1 .*active\\(patterns\\)",
        ),
        (lambda: hx.RateMemory(hx.Patterns([[1.0, 1.0], [1.0, 0.0]])), "no silent neuron"),
        (lambda: hx.RateMemory(UNEQUAL), "memories of equal activity"),
        (
            lambda: hx.RateMemory(hx.Patterns([[1.0, 1, 0, 0], [0, 0, 1, 1]])),
            "linearly independent",
        ),
        (
            lambda: hx.RateMemory(
                hx.Patterns([[1.0, 0.0], [1.0, 0.0]], check_patterns=False), learning="covariance"
            ),
            "must differ, but all of them are equal",
        ),
        (lambda: hx.RateMemory(FLOWER, a=1.0, b=0.5), "`phi\\(b\\) - phi\\(a\\)` must be > 1"),
        (
            lambda: hx.RateMemory(FLOWER, a=-1.0, b=0.1, activation=hx.HardSigmoid()),
            "`phi\\(b\\) - phi\\(a\\)` must be > 1",
        ),
        (lambda: hx.RateMemory(FLOWER, a=[0.0, 1.0]), "`a` must be a number or have shape"),
        (lambda: hx.RateMemory(FLOWER, learning="hebbian"), "`learning` must be one of"),
        (lambda: hx.RateMemory(FLOWER).init(), "`rates` .* or `weights`"),
        (lambda: hx.RateMemory(FLOWER).init(rates=np.ones(3)), "`rates` must have shape"),
        (lambda: hx.DaleRateMemory(FLOWER, tau_inhibition=0.0), "`tau_inhibition` must be > 0"),
        (
            lambda: hx.TwoTimescaleRateMemory(FLOWER, np.eye(3), kappa=1, tau=1),
            "`transition` must have shape",
        ),
        (
            lambda: hx.simulate(
                hx.InputDrivenRateMemory(FLOWER), hx.RateState(jnp.ones(100)), [0.0, 1.0]
            ),
            "needs a `stimulus`",
        ),
        (
            lambda: hx.simulate(
                hx.RateMemory(FLOWER), hx.RateState(jnp.ones(100), jnp.ones(4)), [0.0, 1.0]
            ),
            "`state0.saliency` is out of place",
        ),
        (
            lambda: hx.simulate(
                hx.DaleRateMemory(FLOWER, tau_inhibition=1.0), hx.RateState(jnp.ones(100)), [0.0]
            ),
            "`state0.inhibition` is missing",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_activations_of_the_other_family_are_refused():
    with pytest.raises(TypeError, match="HardTanh is odd"):
        hx.RateMemory(FLOWER, activation=hx.HardTanh())
    with pytest.raises(TypeError, match="must come from network.init"):
        hx.simulate(hx.RateMemory(FLOWER), hx.FieldState(jnp.ones(100)), [0.0, 1.0])
    small = eqx.tree_at(lambda n: n.a, hx.RateMemory(FLOWER), jnp.asarray(jnp.nan))
    with pytest.raises(ValueError, match="`a` must be finite"):
        hx.simulate(small, hx.RateState(jnp.ones(100)), [0.0, 1.0])
