"""Why a sequence ended: runs that are made to die in each of the known ways, and one that lives."""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.observables import CAUSES, diagnose

P, N, TAU = 4, 16, 20.0
CYCLE = np.roll(np.eye(P), 1, axis=0)
TS = np.linspace(0.0, 200.0, 201)


def changed(**entries):
    """The cycle with some entries changed, named as in to1_from0."""
    A = CYCLE.copy()
    for name, value in entries.items():
        to, source = (int(part[-1]) for part in name.split("_"))
        A[to, source] = value
    return A


def simulated(transition=CYCLE, first=4.0, ts=TS, patterns=None, **parameters):
    """A network and its run from a start in memory 0."""
    patterns = hx.patterns.hadamard(P, N) if patterns is None else patterns
    options = dict(kappa=5.0, tau=TAU, bias=0.01) | parameters
    network = hx.TwoTimescaleHopfield(patterns, transition, **options)
    start = network.init(saliency=[first, 0.0, 0.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.PhysicsWarning)  # the same, told before the run
        return hx.simulate(network, start, ts), network


def found(**settings):
    run, network = simulated(**settings)
    why = diagnose(run, network)
    assert why.cause == CAUSES[why.code] and str(why).startswith(why.cause)
    for name, value in why.evidence.items():
        assert isinstance(value, float), name
    return why


def test_a_sequence_that_goes_on():
    run, network = simulated()
    why = diagnose(run, network)
    assert why.cause == "goes on" and math.isnan(why.time)
    assert why.memory == hx.observables.visited(run)[-1]
    assert why.evidence["memories"] == hx.observables.visited(run).size
    assert diagnose(run).cause == "goes on"  # no network is needed for this


def test_no_seed():
    why = found(bias=0.0)
    assert (why.cause, why.memory) == ("no seed", 0)
    # an event of the run itself, whose roots are those of an exponential, to its tolerance of 1e-8
    assert_close(why.time, TAU * math.log(4.0), 1e-6, "tau ln Z")
    assert why.evidence["largest other overlap"] < 1e-14
    short = found(bias=0.0, ts=np.linspace(0.0, 20.0, 201))
    assert short.cause == "no seed" and short.time == 0.0  # told before it has let go
    run, _ = simulated(bias=0.0)
    assert diagnose(run).cause == "no seed"  # the overlaps alone show it


@pytest.mark.parametrize(("readout", "drive"), [("linear", -5.0), ("relu", 0.0)])
@pytest.mark.slow
def test_a_sign_flip(readout, drive):
    why = found(bias=-0.01, readout=readout)
    assert (why.cause, why.memory) == ("sign flip", 1)
    # saturated: rounding
    assert_close(why.evidence["overlap"], -1.0, 1e-9, "the overlap of -xi")
    assert_close(why.evidence["drive of successor"], drive, 1e-8, "kappa f(-1)")
    assert why.evidence["saliency of successor"] < 0.01


@pytest.mark.slow
def test_a_negative_seed_harms_no_even_readout():
    assert found(bias=-0.01, readout="abs").cause == "goes on"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_below_the_threshold_of_finite_tau(order):
    transition = np.zeros((P, P))
    transition[np.roll(order, -1), order] = 0.5  # which halves the gain
    why = found(transition=transition, kappa=4.4)
    critical = float(hx.theory.sequential.critical_gain(P, tau=TAU, bias=0.01))
    assert why.cause == "below threshold" and why.evidence["saliency of successor"] < 1.0
    assert why.evidence["kappa"] == pytest.approx(2.2, rel=1e-12)
    assert why.evidence["critical gain"] == pytest.approx(critical, rel=1e-12)
    assert why.evidence["above critical"] == pytest.approx(2.2 - critical, rel=1e-12)
    assert f"tau = {TAU:g} and bias = 0.01" in str(why) and "cycle of 4" in str(why)


def test_where_the_theory_of_finite_tau_ends_the_limit_is_named():
    why = found(kappa=2.0, bias=0.05)
    assert why.cause == "below threshold" and "the limit of tau to infinity" in str(why)
    limit = float(hx.theory.sequential.critical_gain(P))
    assert why.evidence["critical gain"] == pytest.approx(limit, rel=1e-12)


@pytest.mark.slow
def test_the_gain_of_an_activation_counts():
    critical = float(hx.theory.sequential.critical_gain(P, tau=TAU, bias=0.01)) / 2
    why = found(kappa=1.1, bias=0.005, first=2.0, activation=hx.HardTanh(2.0))
    assert why.cause == "below threshold" and why.evidence["level"] == 0.5
    assert why.evidence["critical gain"] == pytest.approx(critical, rel=1e-12)


@pytest.mark.parametrize("first", [1.03, 0.8])
def test_a_weak_start(first):
    why = found(first=first)
    edge = float(hx.theory.sequential.basin_edge(5.0, P, tau=TAU, bias=0.01))
    assert (why.cause, why.memory) == ("weak start", 0)
    assert why.evidence["start saliency"] == first < why.evidence["basin edge"]
    assert why.evidence["basin edge"] == pytest.approx(edge, rel=1e-12)


def test_a_start_at_rest():
    why = found(first=0.2)
    assert (why.cause, why.memory, why.time) == ("weak start", -1, 0.0)


def test_a_weak_successor():
    why = found(transition=changed(to2_from1=0.2))
    assert (why.cause, why.memory) == ("weak successor", 1)
    assert why.evidence["saliency of successor"] < 1.0
    assert "differ (1 to 5)" in str(why) and "critical gain" not in why.evidence


def test_a_weak_seed():
    why = found(bias=1e-20)
    assert why.cause == "weak seed" and why.evidence["seed"] == 1e-20
    assert why.evidence["saliency of successor"] > 1.0 and why.evidence["above critical"] > 0
    grown = why.evidence["seed"] * math.exp(why.evidence["growth"])
    assert grown < 0.01  # which is what these runs need


def test_no_successor():
    why = found(transition=changed(to0_from3=0.0))
    assert (why.cause, why.memory) == ("no successor", 3)
    run, _ = simulated(transition=changed(to0_from3=0.0))
    assert run.escapes is not None
    last = np.asarray(run.escapes)[np.isfinite(np.asarray(run.escapes))][-1]
    assert why.time == last


def test_a_self_loop():
    why = found(transition=changed(to2_from2=0.5))
    assert (why.cause, why.memory) == ("self-loop", 2)
    assert_close(why.evidence["drive of itself"], 2.5, 1e-9, "kappa A_22 at overlap 1, rounding")
    run, _ = simulated(transition=changed(to2_from2=0.5))
    assert why.time == float(hx.observables.switch_times(run)[-1])
    # below 1 it only stays longer
    assert found(transition=changed(to2_from2=0.1)).cause == "goes on"


@pytest.mark.slow
def test_crosstalk_holds_a_memory():
    xi = np.ones((P, N))
    xi[np.arange(P), np.arange(P)] = -1.0  # which differ in two neurons: overlaps of 3/4
    why = found(patterns=hx.Patterns(xi))
    assert why.cause == "crosstalk" and why.evidence["drive of itself"] > 1.0
    held = found(patterns=hx.Patterns(xi), learning="pseudo_inverse")
    assert held.cause == "goes on"


def test_a_tie_and_a_mixture():
    fork = np.zeros((P, P))
    fork[1:3, 0] = 1.0
    # Short: the state is a saddle, which rounding leaves at the rate z - 1 after some 15 more.
    why = found(transition=fork, ts=np.linspace(0.0, 42.0, 201))
    assert why.cause == "tie" and {"overlap 1", "overlap 2"} < set(why.evidence)
    assert why.evidence["saliency 1"] == pytest.approx(why.evidence["saliency 2"], rel=1e-9)
    assert why.time > TAU * math.log(4.0)
    # Each calls itself by 0.9: z = 5 * 0.9 / 2 each, of which (z + z + z) / 2 - z > 1 is stable.
    fork[1:, 0] = 1.0, 0.98, 0.96
    why = found(transition=fork + np.diag([0.0, 0.9, 0.9, 0.9]))
    assert why.cause == "mixture"
    for mu in (1, 2, 3):  # the odd mixture of three orthogonal memories, saturated
        assert_close(abs(why.evidence[f"overlap {mu}"]), 0.5, 1e-6, "the tolerance of the run")
    # Without that the mixture falls apart, and the memory that wins calls no other.
    why = found(transition=fork)
    assert (why.cause, why.memory) == ("no successor", 1)


def test_too_short():
    why = found(ts=np.linspace(0.0, 20.0, 201))
    assert (why.cause, why.memory) == ("too short", 0) and math.isnan(why.time)
    # z decays exactly as an exponential while the memory is saturated
    until = 20.0 + why.evidence["time to escape"]
    assert_close(until, TAU * math.log(4.0), 1e-6, "tau ln Z, to the tolerance of the run")


def test_failed_and_stopped():
    _, network = simulated()
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, TS, max_steps=3, throw=False)
    why = diagnose(run, network)
    assert why.cause == "failed" and why.evidence["status"] == 1.0 and "max_steps" in str(why)
    nothing = jnp.full_like(run.overlaps, jnp.nan)
    blank = eqx.tree_at(lambda run: run.overlaps, run, nothing)  # as if no save was reached
    assert diagnose(blank).cause == "failed" and diagnose(blank).memory == -1


def test_stopped():
    run, network = simulated(ts=np.linspace(0.0, 20.0, 201))
    ended = eqx.tree_at(lambda run: run.status, run, jnp.asarray(6, run.status.dtype))
    why = diagnose(ended, network)
    assert (why.cause, why.memory, why.time) == ("stopped", 0, 20.0) and "an event" in str(why)


def test_what_cannot_be_known_is_said():
    run, network = simulated(kappa=2.0)
    why = diagnose(run)
    assert why.cause == "unknown" and "give the network" in str(why) and why.memory == 1
    assert not math.isnan(why.time) and "'collapse'" in str(why)
    other = hx.OneTimescaleHopfield(network.patterns, np.eye(P))
    why = diagnose(run, other)
    assert why.cause == "unknown" and "OneTimescaleHopfield" in str(why)


def test_what_is_refused():
    run, network = simulated()
    with pytest.raises(ValueError, match="`network` has 3 memories, but the run has 4"):
        small = hx.patterns.hadamard(3, N)
        diagnose(run, hx.TwoTimescaleHopfield(small, hx.cyclic(3), kappa=5.0, tau=TAU))
    with pytest.raises(TypeError, match="`network` must be a hopfax network"):
        diagnose(run, 3.0)
    with pytest.raises(TypeError, match="`trajectory` must be known"):
        jax.jit(lambda run: diagnose(run, network).time)(run)
    several = jax.tree.map(lambda leaf: leaf[None], run)
    with pytest.raises(ValueError, match="`diagnose` is for one run"):
        diagnose(several, network)
