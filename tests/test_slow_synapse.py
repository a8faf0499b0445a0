"""Memories that call each other through synapses with memory: the equation, events, derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref
import zoo
from helpers import assert_close

import hopfax as hx

TS = np.linspace(0.0, 100.0, 51)
EXACT = hx.EventDriven(order=16, tol=1e-14)


def ring(P=3, **options):
    """A cycle of Hadamard memories and its start in memory 0."""
    settings = dict(strength=0.7, tau=20.0) | options
    network = hx.SlowSynapseHopfield(hx.patterns.hadamard(P, 16), hx.cyclic(P), **settings)
    return network, network.init(weights=jnp.zeros(P).at[0].set(1.0))


def by_reference(network, current=0.0):
    """The reference's right-hand side of a network."""
    pairs = ((k, getattr(network, k)) for k in ("transition", "strength", "tau", "bias"))
    return partial(
        ref.rhs_slow_synapse,
        xi=np.asarray(network.patterns.xi),
        stages=network.stages,
        current=current,
        learning=network.learning,
        keep_diagonal=network.keep_diagonal,
        **{k: np.asarray(v) for k, v in pairs},
    )


@pytest.mark.parametrize(
    "options",
    [
        dict(stages=3, bias=np.array([0.1, 0.0, -0.2])),
        dict(learning="pseudo_inverse", strength=np.array([0.7, 0.5, 0.9])),
        dict(keep_diagonal=False),
    ],
)
def test_the_equation_is_that_of_the_reference(options):
    rng = np.random.default_rng(0)
    patterns = hx.Patterns(rng.choice([-1.0, 1.0], (3, 16)))
    settings = dict(strength=0.7, tau=5.0) | options
    network = hx.SlowSynapseHopfield(patterns, hx.cyclic(3), **settings)
    trace = rng.normal(size=(network.stages, 3))
    state = network.init(field=rng.normal(size=16), trace=trace)
    current = rng.normal(size=16)
    rate = network.vector_field(0.0, state, hx.Inputs(current=current))
    y = np.concatenate([state.field, np.ravel(state.trace)])
    wanted = by_reference(network, current)(0.0, y, ref.HardTanh(1.8))
    assert_close(np.concatenate([rate.field, np.ravel(rate.trace)]), wanted, 1e-13, "rounding")


@pytest.fixture(scope="module")
def correlated():
    """Correlated memories with a bias and a current, from a start outside their span."""
    rng = np.random.default_rng(6)
    patterns = hx.Patterns(rng.choice([-1.0, 1.0], (3, 16)))
    network = hx.SlowSynapseHopfield(
        patterns, hx.cyclic(3), strength=[1.2, 1.1, 1.3], tau=7.0, bias=0.03
    )
    field = np.asarray(patterns.xi[0]) + 0.4 * rng.normal(size=16)
    return network, network.init(field=field, trace=[0.1, 0.0, 0.3]), 0.1 * rng.normal(size=16)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ring", "correlated"])
def test_events_are_those_of_the_reference(case, correlated):
    network, state, current = (*ring(), None) if case == "ring" else correlated
    run = hx.simulate(network, state, TS, current=current, method=EXACT)
    expected = ref.integrate(
        by_reference(network, 0.0 if current is None else current),
        np.asarray(network.patterns.xi),
        np.asarray(state.field),
        np.ravel(state.trace),
        TS,
        activation=ref.HardTanh(1.8),
        rtol=3e-14,
    )
    assert run.method == "event-driven" and run.escapes is None and run.saliency is None
    # The reference's dense output has order 7, and its steps on plateaus are long.
    why = "the reference's location of events"
    assert_close(run.overlaps, expected.m, 1e-7, why)
    assert_close(run.final.trace.ravel(), expected.z[-1], 1e-7, why)
    number = int(run.switches.count)
    assert number >= 2
    found = np.asarray(run.switches.time)[:number]
    assert_close(found, expected.switches[:number], 1e-6, why)


def switch(free, derivative, method=EXACT):
    """The time of the second switch and the overlaps of a run of these numbers."""
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.SlowSynapseHopfield(
        patterns,
        hx.cyclic(3),
        strength=free["strength"],
        tau=free["tau"],
        activation=hx.HardTanh(free["gain"]),
    )
    state = network.init(weights=[1.0, 0.0, 0.0], trace=free["trace"])
    run = hx.simulate(network, state, TS, method=method, derivative=derivative)
    return run.switches.time[1], run.overlaps


FREE = {
    "strength": np.array([0.7, 0.75, 0.8]),
    "tau": np.array(20.0),
    "gain": np.array(1.8),
    "trace": np.array([0.0, 0.1, 0.2]),
}


def time(free, derivative="reverse"):
    return switch(free, derivative)[0]


def onward(free):
    return jax.jacfwd(partial(time, derivative="forward"))(free)


@pytest.fixture(scope="module")
def both():
    """The time of the second switch and its gradient, in reverse mode."""
    return jax.jit(jax.value_and_grad(time))


def differences(both, name):
    """Half the difference, over h, of the two in the first entry of a parameter."""
    h, value = 1e-4, FREE[name]
    step = np.zeros(value.shape)
    step[(0,) * value.ndim] = h
    (up, rise), (down, fall) = (both(FREE | {name: value + s * step}) for s in (1, -1))
    return (up - down) / (2 * h), (rise[name] - fall[name])[(0,) * value.ndim] / (2 * h)


@pytest.mark.slow
def test_derivatives_in_both_modes(both):
    _, backward = both(FREE)
    forward = jax.jit(onward)(FREE)
    for name, value in FREE.items():
        wanted, slope = differences(both, name)[0], backward[name][(0,) * value.ndim]
        # The third derivative times h^2; times have errors of 1e-12, which are divided by 2 h.
        assert abs(wanted - slope) < 1e-5 * abs(slope)
        assert_close(forward[name], backward[name], 1e-8, "rounding, amplified by the transits")


@pytest.mark.slow
@pytest.mark.long
def test_derivatives_of_second_order(both):
    second = jax.jit(jax.jacfwd(onward))(FREE)
    for name, value in FREE.items():
        wanted, found = differences(both, name)[1], second[name][name][(0,) * (2 * value.ndim)]
        assert abs(found - wanted) < 1e-4 * (abs(wanted) + 1e-2), "as above, one order higher"


@pytest.mark.slow
def test_many_kinds_of_neurons_take_runge_kutta_steps():
    rng = np.random.default_rng(8)
    patterns = hx.Patterns(rng.choice([-1.0, 1.0], (3, 72)) * (1 + 0.2 * rng.random(72)))
    network = hx.SlowSynapseHopfield(patterns, hx.cyclic(3), strength=0.8, tau=10.0)
    state = network.init(weights=[1.0, 0.0, 0.0])
    ts = np.linspace(0.0, 40.0, 41)
    run = hx.simulate(network, state, ts, method=hx.EventDriven(tol=1e-10))
    other = hx.simulate(network, state, ts, method=zoo.tight())
    assert run.method == "event-driven" and int(run.switches.count) >= 2
    assert_close(run.overlaps, other.overlaps, 1e-5, "steps over kinks, amplified by transits")


def test_one_stage_takes_events_and_a_chain_diffrax():
    network, state = ring(stages=2)
    assert state.trace.shape == (2, 3)
    ts = np.linspace(0.0, 1.0, 3)
    assert hx.simulate(network, state, ts).method == "diffrax"
    with pytest.raises(ValueError, match="a chain of `stages` is not known"):
        hx.simulate(network, state, ts, method=hx.EventDriven())


def test_observables_of_a_ring():
    network, state = ring()
    run = hx.simulate(network, state, TS)
    assert hx.observables.visited(run).tolist()[:4] == [0, 1, 2, 0]
    assert (hx.observables.dwell_times(run)[1:3] > 20).all()


def test_what_is_refused_and_what_is_warned_of():
    network, state = ring()
    with pytest.raises(ValueError, match="not symmetric in general, so it has no energy"):
        network.energy(state)
    assert network.saliencies(state) is None
    patterns = network.patterns
    other = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0)
    with pytest.raises(ValueError, match=r"`trace`.*\(stages, P\) = \(1, 3\), but is missing"):
        hx.simulate(network, other.init(saliency=1.0), TS)
    with pytest.raises(ValueError, match=r"`trace` must .*\(stages, P\)"):
        network.init(weights=1.0, trace=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`stages`"):
        ring(stages=0)
    with pytest.raises(ValueError, match=r"`tau` must .*\(\)"):
        ring(tau=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="`tau` must be > 0.*OneTimescaleHopfield"):
        hx.simulate(*ring(tau=0.0), TS)
    with pytest.warns(hx.PhysicsWarning, match="too weak to end a memory"):
        hx.simulate(*ring(strength=0.4), TS)


@pytest.mark.slow
def test_a_sweep():
    network, _ = ring()
    init = dict(weights=jnp.array([1.0, 0.0, 0.0]))
    found = hx.sweep(hx.Point(network, init, ts=TS), {"strength": [0.6, 0.8], "tau": [10.0, 20.0]})
    assert found.sizes["strength"] == 2 and (np.asarray(found.status) == 0).all()
