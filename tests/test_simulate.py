"""One run, against the independent reference and exact identities."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import reference as ref
import zoo
from helpers import assert_close

import hopfax as hx

ORTHOGONAL = [name for name in ref.SCENARIOS if name != "S9"]


def run_scenario(name, reduction="auto"):
    s = ref.SCENARIOS[name]
    network, state = zoo.of_scenario(s)
    last = s.get("tenth") or max([*s["m"], *s["z"], *(s["switches"] or ())])
    ts = sorted({0.0, *s["m"], *s["z"], last + 1.0})
    # padded to one length, so that scenarios of one kind share a compilation
    ts = np.array(ts + [ts[-1]] * (6 - len(ts)))
    method = zoo.tight(reduction, tolerance=1e-11)
    return s, ts, hx.simulate(network, state, ts, method=method)


@pytest.mark.slow
@pytest.mark.parametrize("name", ORTHOGONAL)
def test_scenario(name):
    s, ts, trajectory = run_scenario(name)
    why = "1e-11 per step, amplified by the kinks"
    for key, values in (("overlaps", s["m"]), ("saliency", s["z"])):
        for time, expected in values.items():
            actual = getattr(trajectory, key)[np.searchsorted(ts, time)]
            assert_close(actual, expected, 2e-6, f"{why}: {key}({time:g})")
    expected = np.array(s["switches"] or ())
    found = np.asarray(trajectory.switches.time)[: len(expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg="switch times")
    if "tenth" in s:
        np.testing.assert_allclose(trajectory.switches.time[9], s["tenth"], rtol=1e-6)
    assert trajectory.stats["reduction"] == ("span" if "field" in s else "classes")


def test_collapse_is_told_from_retrieval():
    s, _, trajectory = run_scenario("S2")
    log = trajectory.switches
    assert int(log.count) == len(s["switches"]) == 9
    assert np.asarray(log.retrieved)[:9].tolist() == [True] * 8 + [False]
    assert int(hx.observables.classify(trajectory)) == hx.observables.REGIMES.index("collapse")
    assert hx.observables.visited(trajectory).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("learning", ["hebbian", "pseudo_inverse"])
def test_all_forms_agree_over_several_switches(learning):
    """Sites, span and classes are one and the same, for correlated patterns too."""
    patterns = hx.patterns.random(jr.key(0), 3, 65).gauge_cycle()
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.02, learning=learning
    )
    state = network.init(saliency=[4.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 100.0, 41)
    runs = {
        form: hx.simulate(network, state, ts, method=zoo.fixed(form))
        for form in ("sites", "span", "classes")
    }
    for form in ("span", "classes"):
        for key in ("overlaps", "saliency"):
            pair = getattr(runs[form], key), getattr(runs["sites"], key)
            assert_close(*pair, 1e-9, "rounding, amplified by the switches")
        times = runs[form].switches.time[:3], runs["sites"].switches.time[:3]
        assert_close(*times, 1e-9, "rounding, amplified by the switches")
        field = runs[form].final.field, runs["sites"].final.field
        assert_close(*field, 1e-9, "rounding, amplified by the switches")
    assert runs["classes"].stats["reduction"] == "classes"
    assert len(hx.observables.switch_times(runs["classes"])) >= 3


@pytest.mark.slow
def test_many_patterns_use_the_classes_that_occur():
    P, N = 9, 4096
    patterns = hx.patterns.random(jr.key(1), P, N)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(P), kappa=6.0, tau=20.0, bias=0.05, learning="pseudo_inverse"
    )
    state = network.init(saliency=jnp.zeros(P).at[0].set(4.0))
    ts = jnp.linspace(0.0, 60.0, 13)
    fast = hx.simulate(network, state, ts, method=zoo.fixed())
    full = hx.simulate(network, state, ts, method=zoo.fixed("sites"))
    assert fast.stats["reduction"] == "classes"
    assert_close(fast.overlaps, full.overlaps, 1e-9, "rounding, amplified by the switches")


@pytest.mark.slow
def test_many_patterns_known_outside_a_trace_use_their_classes_inside():
    """More than seven patterns are classified by their values, which must stay known under jit."""
    patterns = hx.patterns.random(jr.key(1), 8, 512)

    def run(kappa):
        network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(8), kappa=kappa, tau=20.0, bias=0.3)
        state = network.init(saliency=jnp.zeros(8).at[0].set(4.0))
        return hx.simulate(network, state, jnp.array([0.0, 5.0]))

    traced = jax.jit(run)(6.0)
    assert traced.reduction == "classes"
    assert_close(traced.overlaps, run(6.0).overlaps, 1e-12, "rounding")


@pytest.mark.slow
def test_a_start_outside_the_span_and_a_constant_current():
    network, _ = zoo.cycle()
    rng = np.random.default_rng(0)
    state = network.init(saliency=[2.0, 1.0, 0.5], field=rng.normal(size=16))
    current = 0.1 * rng.normal(size=16)
    ts = jnp.linspace(3.0, 23.0, 11)  # and a start at t != 0
    # The span form takes the part outside the span exactly, so only a fine step brings the
    # general form close: compare with the reference, both at tight tolerance.
    runs = [
        hx.simulate(network, state, ts, current=current, method=zoo.tight(form))
        for form in ("span", "sites")
    ]
    assert_close(runs[0].overlaps, runs[1].overlaps, 1e-7, "tolerance 1e-10 at kinks")
    assert_close(runs[0].final.field, runs[1].final.field, 1e-7, "tolerance 1e-10 at kinks")


@pytest.mark.slow
def test_a_stimulus_is_added_to_the_slow_saliency():
    patterns = hx.patterns.hadamard(3, 16)
    stimulus, ts = patterns.field(jnp.array([2.0, 1.5, 0.5])), jnp.linspace(0.0, 4.0, 5)
    weights = jnp.array([0.2, 0.3, -0.1])
    driven = hx.InputDrivenHopfield(patterns)
    alone = hx.simulate(
        driven, driven.init(weights=weights), ts, stimulus=stimulus, method=zoo.fixed()
    )
    quiet = hx.TwoTimescaleHopfield(patterns, jnp.zeros((3, 3)), kappa=5.0, tau=20.0)
    state = quiet.init(saliency=jnp.zeros(3), weights=weights)
    run = hx.simulate(quiet, state, ts, stimulus=stimulus, method=zoo.fixed())
    assert_close(run.overlaps, alone.overlaps, 1e-14, "nothing else is salient: the same equation")
    # Where both are there, they add.
    both = hx.simulate(
        quiet,
        quiet.init(saliency=jnp.array([0.0, 2.0, 0.0]), weights=weights),
        jnp.array([0.0, 1e-3]),
        stimulus=stimulus,
        method=zoo.fixed(),
    )
    expected = jnp.array([2.0, 1.5 + 2.0, 0.5])
    assert_close(both.saliency[0], expected, 1e-14, "exact at the start")
    assert hx.simulate(quiet, state, ts, stimulus=stimulus).stats["method"] == "diffrax"


@pytest.mark.slow
def test_a_stimulus_defers_the_escape():
    """It holds the memory until 4 exp(-t / 20) + 0.4 = 1."""
    network, state = zoo.cycle(start=4.0)
    stimulus = network.patterns.field(jnp.array([0.4, 0.1, 0.0]))
    ts = jnp.linspace(0.0, 40.0, 21)
    run = hx.simulate(network, state, ts, stimulus=stimulus, method=zoo.tight())
    escape = hx.observables.escape_times(run, network)[0]
    assert_close(escape, 20 * np.log(4 / 0.6), 1e-5, "Hermite interpolation, (2/20)^4 / 400 of 38")
    assert_close(run.saliency[-1] - run.evidence[-1], run.final.saliency, 1e-14, "the slow part")


@pytest.mark.slow
def test_a_run_continues_from_its_final_state():
    network, state = zoo.cycle()
    method = hx.Diffrax(diffrax.Tsit5(), diffrax.ConstantStepSize(), 0.25)
    whole = hx.simulate(network, state, jnp.array([0.0, 40.0, 80.0]), method=method)
    half = hx.simulate(network, state, jnp.array([0.0, 20.0, 40.0]), method=method)
    rest = hx.simulate(network, half.final, jnp.array([40.0, 60.0, 80.0]), method=method)
    assert_close(rest.overlaps[-1], whole.overlaps[-1], 1e-12, "the same steps")
    assert rest.stats["reduction"] == "classes"


def test_published_euler_steps_of_input_driven_plasticity():
    """Zero diagonal, tanh(10 x), dt = 0.01, alpha = Xi u / N: a plain loop, written apart."""
    rng = np.random.default_rng(3)
    xi = rng.choice([-1.0, 1.0], (4, 60))
    stimulus, field = xi.T @ [2.5, 1.0, 0.9, 0.1], rng.normal(size=60)
    expected = ref.euler_idp(xi, stimulus, field, 200)
    network = hx.InputDrivenHopfield(hx.Patterns(xi), activation=hx.Tanh(10.0), keep_diagonal=False)
    method = hx.Diffrax(diffrax.Euler(), diffrax.ConstantStepSize(), 0.01)
    ts = jnp.array([0.0, 2.0])
    run = hx.simulate(network, network.init(field=field), ts, stimulus=stimulus, method=method)
    assert_close(run.final.field, np.asarray(expected)[-1], 1e-12, "rounding of 200 steps")
    assert run.stats["reduction"] == "sites" and int(run.stats["steps"]) == 200


@pytest.mark.slow
def test_pulses_are_met_exactly():
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.InputDrivenHopfield(patterns)
    weights = np.array([[2.0, 0.5, 0.5], [0.5, 2.0, 0.5]])
    stimulus = hx.Pulses([0.0, 7.3, 20.0], weights @ np.asarray(patterns.xi))
    state = network.init(weights=[0.5, 0.4, 0.1])
    ts = jnp.array([0.0, 7.3, 20.0])
    whole = hx.simulate(network, state, ts, stimulus=stimulus, method=zoo.tight())
    pieces = state
    for k in range(2):
        run = hx.simulate(
            network, pieces, ts[k : k + 2], stimulus=stimulus.values[k], method=zoo.tight()
        )
        pieces = run.final
    assert_close(whole.overlaps[-1], run.overlaps[-1], 1e-8, "tolerance 1e-10 at kinks")
    assert_close(whole.saliency[0], weights[0], 1e-12, "orthogonal patterns read the weights")


@pytest.mark.slow
def test_dense_output():
    network, state = zoo.cycle()
    ts = jnp.array([0.0, 33.0])
    run = hx.simulate(network, state, ts, method=zoo.tight(dense=True))
    between = run.evaluate(jnp.array([0.0, 30.81287824, 33.0]))
    assert_close(between["overlaps"][0], run.overlaps[0], 1e-12, "a save time")
    assert_close(between["saliency"][2], run.saliency[1], 1e-12, "a save time")
    m = between["overlaps"][1]
    assert_close(m[0], m[1], 1e-6, "the first switch, known to 1e-8")
    with pytest.raises(ValueError, match="dense=True"):
        hx.simulate(network, state, ts).evaluate(1.0)


def energy_and_time(t, state, network):
    return {"energy": hx.observables.energy(t, state, network), "t": t}


def test_observe_sees_the_full_state_and_energy_descends():
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.Hopfield(patterns, activation=hx.Tanh(3.0))
    rng = np.random.default_rng(1)
    state = network.init(field=rng.normal(size=16))
    ts = jnp.linspace(0.0, 10.0, 101)
    run = hx.simulate(network, state, ts, observe=energy_and_time, method=zoo.tight())
    assert (np.diff(run.observed["energy"]) < 1e-9).all()
    assert run.observed["energy"][0] > run.observed["energy"][-1] + 1
    assert_close(run.observed["t"], ts, 0.0, "the save times themselves")
    xi = np.asarray(patterns.xi)
    expected = ref.energy(np.asarray(state.field), np.ones(3), xi, activation=ref.tanh(3.0))
    assert_close(run.observed["energy"][0], expected, 1e-9, "quadrature of the reference")


def memory_one_leads(t, state, network):
    m = network.overlaps(state)
    return m[0] - m[1]


def test_a_user_event_stops_the_run():
    network, state = zoo.cycle()
    ts = jnp.linspace(0.0, 60.0, 7)
    run = hx.simulate(network, state, ts, event=memory_one_leads, method=zoo.tight())
    assert int(run.status) == 6
    assert np.isfinite(run.overlaps[:4]).all() and np.isnan(run.overlaps[4:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("derivative", ["reverse", "forward"])
def test_derivatives_of_switch_times(derivative):
    """Against the derivatives of the reference, from event-restarted DOP853."""
    s = ref.SWITCH_GRADIENT
    base, start = zoo.of_scenario(s)

    def times(kappa):
        network = eqx.tree_at(lambda n: n.kappa, base, kappa)
        ts = jnp.array([0.0, 125.0])
        method = hx.EventDriven(order=24, tol=1e-14)
        run = hx.simulate(network, start, ts, method=method, derivative=derivative)
        return run.switches.time[:4] / s["tau"]

    jacobian = jax.jacfwd if derivative == "forward" else jax.jacrev
    kappa = jnp.asarray(5.0)
    assert_close(times(kappa), s["times"], 1e-6, "digits of the reference")
    by_kappa = jacobian(times)(kappa)
    np.testing.assert_allclose(
        by_kappa, s["by_kappa"], rtol=1e-6, err_msg="digits of the reference"
    )


@pytest.mark.slow
def test_gradients_are_those_of_the_discrete_solution():
    """On fixed steps, reverse mode meets central differences; with respect to xi too, which the
    class form sees only through class averages."""
    network, state = zoo.cycle(P=3, N=8, activation=hx.Tanh(2.0))
    ts = jnp.linspace(0.0, 40.0, 9)
    direction = jr.normal(jr.key(0), network.patterns.xi.shape)

    def loss(kappa, tau, shift):
        xi = network.patterns.xi + shift * direction
        changed = eqx.tree_at(lambda n: (n.kappa, n.tau, n.patterns.xi), network, (kappa, tau, xi))
        run = hx.simulate(changed, state, ts, method=zoo.fixed(form))
        return (run.overlaps * jnp.arange(3.0)).sum() + (run.saliency**2).sum()

    values = (jnp.asarray(5.0), jnp.asarray(20.0), jnp.asarray(0.0))
    gradients = {}
    for form in ("classes", "sites"):
        gradients[form] = jax.grad(loss, argnums=(0, 1, 2))(*values)
    for k in range(3):
        assert_close(gradients["classes"][k], gradients["sites"][k], 1e-8, "exact reductions")
    h = 1e-5
    for k in range(2):
        up = [v + (h if j == k else 0.0) for j, v in enumerate(values)]
        down = [v - (h if j == k else 0.0) for j, v in enumerate(values)]
        difference = (loss(*up) - loss(*down)) / (2 * h)
        why = "rounding of the loss, 1e-13, over the step 1e-5; the step's square"
        assert_close(gradients["sites"][k], difference, 3e-8, why)


def test_gauge_invariance_with_an_even_readout():
    """Flipping a pattern's sign, its bias and its start changes nothing but its overlap's sign."""
    signs = np.array([1.0, -1.0, 1.0])
    patterns = hx.patterns.hadamard(3, 16)
    flipped = hx.Patterns(np.asarray(patterns.xi) * signs[:, None])
    ts = jnp.linspace(0.0, 80.0, 9)
    runs = []
    for p, sign in ((patterns, np.ones(3)), (flipped, signs)):
        network = hx.TwoTimescaleHopfield(
            p, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.02 * sign, readout="abs"
        )
        z = jnp.array([4.0, 0.0, 0.0])
        state = network.init(saliency=z, weights=(np.asarray(z) + 0.02) * sign)
        runs.append(hx.simulate(network, state, ts, method=zoo.fixed()))
    assert_close(runs[1].overlaps * signs, runs[0].overlaps, 1e-9, "rounding over two switches")
    assert_close(runs[1].saliency, runs[0].saliency, 1e-9, "rounding over two switches")


@pytest.mark.slow
def test_scaling_of_gain_and_time():
    """(g, z, kappa, b) -> (1, g z, g kappa, g b): a gain is nothing but a unit."""
    ts = jnp.linspace(0.0, 80.0, 9)
    one, start = zoo.cycle()
    two, _ = zoo.cycle(kappa=2.5, bias=0.01, activation=hx.HardTanh(2.0))
    half = two.init(saliency=start.saliency / 2)
    runs = [hx.simulate(*pair, ts, method=zoo.fixed()) for pair in ((one, start), (two, half))]
    assert_close(runs[1].overlaps, runs[0].overlaps, 1e-9, "rounding over two switches")
    assert_close(2 * runs[1].saliency, runs[0].saliency, 1e-9, "rounding over two switches")


@pytest.mark.slow
def test_noise_of_a_saturated_well():
    """N = 4000 neurons held in a deep well are Ornstein-Uhlenbeck processes."""
    patterns = hx.patterns.hadamard(1, 4000)
    network = hx.InputDrivenHopfield(patterns)
    stimulus, sigma = 30.0 * patterns.xi[0], 0.8
    state = network.init(weights=[30.0])
    ts = jnp.array([0.0, 12.0])
    exact = sigma / 2**0.5
    error = 4 * exact / (2 * 4000) ** 0.5  # 4 standard errors of a standard deviation
    for method, expected in (
        (hx.Diffrax(dt0=0.5), exact),  # whatever the step
        (hx.Diffrax(diffrax.Euler(), dt0=0.2), exact / (1 - 0.2 / 2) ** 0.5),  # its known bias
        (hx.Diffrax(reduction="sites"), exact),  # ShARK, error O(dt^2)
    ):
        run = hx.simulate(
            network, state, ts, stimulus=stimulus, noise=sigma, key=jr.key(0), method=method
        )
        spread = float(jnp.std(run.final.field - 30.0 * patterns.xi[0]))
        assert abs(spread - expected) < error
        assert run.stats["reduction"] == ("sites" if method.reduction == "sites" else "span")


@pytest.mark.slow
def test_noise_moves_a_sequence_as_its_mean_field_does():
    P, N, sigma = 3, 4096, 0.2
    network, _ = zoo.cycle(P=P, N=N, kappa=6.0, tau=20.0, bias=0.05)
    state = network.init(saliency=[4.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 60.0, 13)
    noisy = hx.simulate(network, state, ts, noise=sigma, key=jr.key(1))
    twin = hx.simulate(network.mean_field(sigma), state, ts)
    assert_close(noisy.saliency, twin.saliency, 0.1, "4 sigma/sqrt(N), amplified by two switches")
    plain = hx.simulate(network, state, ts)
    assert np.abs(plain.saliency - twin.saliency).max() > 0.15  # the twin is no tautology


@pytest.mark.slow
def test_the_deviation_from_the_mean_field_falls_as_one_over_root_N():
    """Overlaps at rest under noise, of 16 runs at times so far apart that they are independent."""
    sigma, ts, sizes = 0.5, jnp.arange(0.0, 26.0, 5.0), (64, 1024)
    spread, error = [], []
    for N in sizes:
        network = hx.Hopfield(hx.patterns.hadamard(2, N), activation=hx.Tanh(2.0))
        psi = network.mean_field(sigma).activation  # its memory rests where m = psi(m)
        m = jax.lax.fori_loop(0, 200, lambda _, m, psi=psi: psi(m), jnp.ones(()))
        runs = jax.vmap(
            lambda key, net=network: hx.simulate(
                net, net.init(weights=[1.0, 0.0]), ts, noise=sigma, key=key
            )
        )(jr.split(jr.key(2), 16))
        squares = np.asarray((runs.overlaps[:, 2:] - jnp.array([m, 0.0])) ** 2).ravel()
        spread.append(np.log(squares.mean()) / 2)
        error.append(squares.std() / squares.mean() / 2 / np.sqrt(squares.size))
    width = np.log(sizes[1] / sizes[0])
    exponent, stderr = (spread[1] - spread[0]) / width, np.hypot(*error) / width
    assert stderr < 0.04 and abs(exponent + 0.5) < 3 * stderr


@pytest.mark.slow
def test_quiet_noise_is_reproducible_and_its_key_matters():
    network, state = zoo.cycle(readout="abs")
    ts = jnp.array([0.0, 10.0])
    run = [hx.simulate(network, state, ts, noise=0.1, key=jr.key(k)) for k in (0, 0, 1)]
    assert (run[0].final.field == run[1].final.field).all()
    assert (run[0].final.field != run[2].final.field).any()


def test_the_cost_does_not_depend_on_N():
    sizes = [hx.simulate(*zoo.cycle(N=N), jnp.array([0.0, 40.0])).stats for N in (16, 65536)]
    assert sizes[0]["steps"] == sizes[1]["steps"] and sizes[1]["reduction"] == "classes"


@pytest.mark.slow
def test_float32_stays_float32():
    patterns = hx.Patterns(np.asarray(hx.patterns.hadamard(3, 16).xi, np.float32))
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5, tau=20, bias=0.02)
    run = hx.simulate(network, network.init(saliency=[4, 0, 0]), np.linspace(0, 40, 5))
    floats = [x for x in jax.tree.leaves(run) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    reference = hx.simulate(*zoo.cycle(), jnp.linspace(0, 40, 5))
    assert_close(run.overlaps, np.asarray(reference.overlaps), 2e-3, "rtol 1e-5 over a switch")
