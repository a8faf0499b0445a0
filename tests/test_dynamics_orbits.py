"""Closed orbits, branches of them, and the gains at which sequences are born."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import normal_forms as nf
import numpy as np
import pytest
import zoo

import hopfax as hx
from hopfax.dynamics._reduced import reduced
from hopfax.dynamics._shooting import is_symmetric, relabelled, relabelling

EXACT = hx.EventDriven(order=24, tol=1e-14)


def network(tau=20.0, bias=0.02, kappa=5.0, **options):
    return zoo.cycle(tau=tau, bias=bias, kappa=kappa, **options)


@pytest.fixture(scope="module")
def cycle():
    """The orbit of three equal memories."""
    return hx.dynamics.orbit(*network())


@pytest.fixture(scope="module")
def threshold():
    """Where that orbit ends."""
    return hx.dynamics.critical_gain(network()[0])


@pytest.mark.slow
def test_the_orbit_is_where_a_long_run_ends(cycle):
    assert cycle.stable and cycle.residual < 1e-12
    assert cycle.order.tolist() == [1, 2, 0]
    assert float(cycle.period) == pytest.approx(3 * float(cycle.returns), rel=1e-15)
    run = hx.simulate(*network(), jnp.linspace(0.0, 900.0, 10), method=EXACT)
    # after 30 dwells nothing is left of the start but rounding, 1e-14 of times of 1e3
    assert np.abs(hx.observables.dwell_times(run)[-3:] - cycle.returns).max() < 1e-9
    back = hx.simulate(
        network()[0], cycle.state, jnp.stack([0.0 * cycle.period, cycle.period]), method=EXACT
    )
    assert np.abs(back.final.weights - cycle.state.weights).max() < 1e-11
    assert str(cycle).startswith("stable closed orbit")


@pytest.mark.slow
def test_multipliers_are_the_measured_decay_of_perturbations(cycle):
    made, _ = network()
    kicked = made.init(
        saliency=cycle.saliency + jnp.array([0.0, 0.01, 0.02]), weights=cycle.state.weights
    )
    run = hx.simulate(made, kicked, jnp.linspace(0.0, 300.0, 10), method=EXACT)
    off = np.asarray(hx.observables.dwell_times(run)) - float(cycle.returns)
    largest = np.abs(cycle.multipliers[0])
    # of three dwells on, the second multiplier has left less than 5 % of what it began with
    measured = np.abs(off[6] / off[3]) ** (1 / 3)
    assert measured == pytest.approx(largest, rel=0.05)


@pytest.mark.slow
def test_the_whole_period_has_powers_of_the_multipliers(cycle):
    whole = hx.dynamics.orbit(*network(), relabel="never")
    assert whole.order is None
    assert float(whole.returns) == pytest.approx(float(cycle.period), rel=1e-12)
    # the cube of a multiplier of order 0.3
    assert np.abs(whole.multipliers[0] - cycle.multipliers[0] ** 3) < 1e-10


@pytest.mark.slow
def test_unequal_gains_have_an_orbit_of_the_whole_period():
    gains = jnp.array([5.0, 5.6, 5.2])
    found = hx.dynamics.orbit(*network(kappa=gains))
    assert found.order is None and found.stable
    run = hx.simulate(*network(kappa=gains), jnp.linspace(0.0, 900.0, 10), method=EXACT)
    dwells = np.asarray(hx.observables.dwell_times(run))[-3:]
    assert np.ptp(dwells) > 1.0
    assert dwells.sum() == pytest.approx(float(found.period), rel=1e-11)


@pytest.mark.slow
def test_van_der_pol():
    made = nf.plane(nf.van_der_pol, 1.0)
    found = hx.dynamics.orbit(made, made.init(x=[2.0, 0.0]), horizon=60.0)
    assert float(found.period) == pytest.approx(6.6632868593231302, abs=1e-8)  # known
    # the multiplier is exp of the integral of the divergence along the orbit
    ts = jnp.linspace(0.0, found.period, 4001)
    run = hx.simulate(made, found.state, ts, observe=lambda t, x, net: x[0])
    divergence = np.trapezoid(1 - np.asarray(run.observed) ** 2, np.asarray(ts))
    assert np.log(np.abs(found.multipliers[0])) == pytest.approx(divergence, abs=1e-4)


@pytest.mark.slow
def test_an_orbit_is_born_at_a_hopf_point():
    make = hx.dynamics.along(nf.plane(nf.hopf), "parameter")
    start = hx.dynamics.orbit(make(0.5), make(0.5).init(x=[0.7, 0.0]), horizon=40.0)
    assert float(start.period) == pytest.approx(np.pi, rel=1e-10)
    assert start.multipliers[0] == pytest.approx(np.exp(-np.pi), rel=1e-9)
    found = hx.dynamics.orbit_branch(make, start, (0.5, 0.1), step=0.2)
    radius = np.linalg.norm(found.vectors[:, :2], axis=1)
    assert np.abs(radius - np.sqrt(found.parameter)).max() < 1e-9
    assert np.abs(np.real(found.spectrum[:, 0]) - np.exp(-2 * np.pi * found.parameter)).max() < 1e-8
    assert found.stable.all() and found.ended == "it leaves the interval at 0.1"
    assert found.to_xarray().attrs["kind"] == "orbits"


@pytest.mark.slow
def test_what_happens_to_an_orbit_is_named_and_located():
    make = hx.dynamics.along(nf.plane(nf.round_trips, N=7), "parameter")
    start = make(0.0).init(x=[1.0, *[0.0] * 6])
    cycle = hx.dynamics.orbit(make(0.0), start, horizon=40.0)
    assert float(cycle.period) == pytest.approx(2 * np.pi, rel=1e-10) and cycle.stable
    found = hx.dynamics.orbit_branch(make, cycle, (0.0, 0.8), step=0.25)
    places = {point.kind: point.parameter for point in found.special}
    wanted = {"branch point": 0.3, "period doubling": 0.5, "Neimark-Sacker point": 0.7}
    assert len(found.special) == 3 and list(places) == list(wanted)
    assert places == pytest.approx(wanted, abs=1e-8)
    assert (found.stable == (found.parameter < 0.3)).all()
    p = 2 * np.pi * (0.8 - np.array([0.3, 0.5, 0.7 - 0.3j, 0.7 + 0.3j]))
    multipliers = [*np.exp(p) * [1, -1, 1, 1], -np.exp(-np.pi), np.exp(-4 * np.pi)]
    distance = np.abs(found.spectrum[-1][:, None] - np.array(multipliers))
    assert distance.min(0).max() < 1e-7 and distance.min(1).max() < 1e-7  # of at most 23


@pytest.mark.slow
def test_what_is_no_orbit_is_not_called_one():
    made = nf.plane(nf.fold, 1.0)  # comes to rest
    start = made.init(x=[0.5, 0.0])
    with pytest.raises(hx.SimulationError, match="the run comes to rest"):
        hx.dynamics.orbit(made, start, horizon=40.0)
    found = hx.dynamics.orbit(made, start, horizon=40.0, throw=False)
    assert not found.converged and not found.stable and "no closed orbit" in str(found)
    with pytest.raises(ValueError, match="`start` is no closed orbit"):
        hx.dynamics.orbit_branch(hx.dynamics.along(made, "parameter"), found, (1.0, 0.0))
    with pytest.raises(ValueError, match="`horizon` is needed"):
        hx.dynamics.orbit(made, start)
    with pytest.raises(ValueError, match="`horizon` must be a time > 0"):
        hx.dynamics.orbit(made, start, horizon=-1.0)


def lives(made, state, dwells=400.0):
    """Whether a run from a state on the orbit goes on."""
    run = hx.simulate(made, state, jnp.array([0.0, dwells * 27.0]), method=hx.EventDriven())
    return int(run.switches.count) > 64 and float(jnp.abs(run.overlaps[-1]).max()) > 0.2


@pytest.mark.slow
def test_the_critical_gain_is_the_fold_of_the_orbit(threshold):
    found = threshold
    assert found.end.kind == "fold" and found.below == "the sequence dies"
    gain = float(found.gain)
    assert np.abs(np.abs(found.end.spectrum) - 1).min() < 1e-6  # a second multiplier is 1
    for factor, alive in ((1 + 1e-4, True), (1 - 1e-3, False)):
        assert lives(network(kappa=gain * factor)[0], found.end.state) == alive
    lower = hx.dynamics.critical_gain(network(kappa=2.0)[0])  # begins below it
    assert float(lower.gain) == pytest.approx(gain, rel=1e-10)

    def born(bias, tau):
        return hx.dynamics.critical_gain(network(bias=bias, tau=tau)[0]).gain

    by_bias, by_tau = jax.grad(born, argnums=(0, 1))(0.02, 20.0)
    central = (born(0.0201, 20.0) - born(0.0199, 20.0)) / 2e-4
    # central differences: the third derivative, of order 1e3, times 1e-8
    assert float(by_bias) == pytest.approx(float(central), rel=1e-4)
    central = (near(threshold, tau=20.1) - near(threshold, tau=19.9)) / 0.2
    assert float(by_tau) == pytest.approx(float(central), rel=1e-3)
    forward = jax.jvp(lambda tau: near(threshold, tau=tau), (20.0,), (1.0,))[1]
    assert float(forward) == pytest.approx(float(by_tau), rel=1e-6)


def near(threshold, derivative="forward", **options):
    return threshold.near(network(**options)[0], derivative=derivative)


@pytest.mark.slow
def test_a_threshold_is_followed_to_other_networks(threshold):
    """In a program too: so that a fit can hold a network at a distance from its threshold."""
    far = hx.dynamics.critical_gain(network(tau=22.0, bias=0.025)[0])  # not in one leap
    assert float(near(threshold, tau=22.0, bias=0.025)) == pytest.approx(float(far.gain), abs=1e-9)
    within = jax.jit(lambda bias: near(threshold, bias=bias))
    assert float(within(0.02)) == pytest.approx(float(threshold.gain), abs=1e-9)
    assert jnp.isnan(within(0.024))  # it met another fold at a bias of .0235 and is no more
    with pytest.raises(hx.SimulationError, match="the fold at 2.64317 could not be followed"):
        near(threshold, bias=0.024)
    with pytest.raises(ValueError, match="`network` must have the sizes and options"):
        threshold.near(zoo.cycle(P=4)[0])
    other = dataclasses.replace(threshold.end, kind="period doubling")
    with pytest.raises(ValueError, match="ends in a period doubling; only a fold"):
        dataclasses.replace(threshold, end=other).near(threshold.network)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tau", "bias", "wanted"), [(100.0, 0.01, 3.2169484849), (50.0, 0.05, 2.7930511132)]
)
def test_known_critical_gains(tau, bias, wanted):
    """Of a cycle of four: from another search, with a phase condition and a code of its own."""
    made, _ = zoo.cycle(P=4, tau=tau, bias=bias)
    assert float(hx.dynamics.critical_gain(made).gain) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.slow
def test_a_threshold_that_cannot_be_found_says_why():
    still = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), jnp.zeros((3, 3)), kappa=5.0, tau=20.0, bias=0.02
    )
    with pytest.raises(hx.SimulationError, match="no stable sequence was found at gains from 5"):
        hx.dynamics.critical_gain(still)
    with pytest.raises(TypeError, match="`network` is traced"):
        jax.jit(lambda b: hx.dynamics.critical_gain(network(bias=b)[0]).gain)(0.02)
    with pytest.raises(
        TypeError, match="`network` must be a TwoTimescaleHopfield or a TwoTimescaleRateMemory"
    ):
        hx.dynamics.critical_gain(hx.Hopfield(hx.patterns.hadamard(3, 16)))


@pytest.mark.slow
def test_a_saddle_orbit_lies_on_the_edge_of_the_basin_of_the_sequence(threshold):
    """The unstable orbit of the branch, found without any run along an edge."""
    branch = threshold.branches[-1]
    k = int(np.flatnonzero(~branch.stable & (branch.parameter > 3.0))[-1])
    assert (np.abs(branch.spectrum[k]) > 1).sum() == 1  # so that its manifold divides the space
    made, saddle = network(kappa=branch.parameter[k])[0], branch.state(k)
    below, above = (jax.tree.map(lambda x, by=by: by * x, saddle) for by in (0.8, 1.3))
    found = hx.dynamics.basin_edge(made, below, above)
    assert found.converged and found.fates == ("collapse", "sequence")
    assert found.fraction == pytest.approx(0.4, abs=1e-9) and found.width < 1e-9
    assert "before it" in str(found)
    for off, alive in ((-1e-6, False), (1e-6, True)):
        start = jax.tree.map(lambda a, b, f=0.4 + off: a + f * (b - a), below, above)
        assert lives(made, start) == alive
    with pytest.raises(ValueError, match="the same one after 1800 .*: 'sequence'"):
        hx.dynamics.basin_edge(made, above, above)
    silent = made.init(saliency=jnp.zeros(3))
    early = hx.dynamics.basin_edge(made, silent, network()[1], horizon=0.1, throw=False)
    assert not early.converged and str(early).startswith("no edge of a basin")
    with pytest.raises(hx.SimulationError, match="are not decided after 1.6"):
        hx.dynamics.basin_edge(made, silent, network()[1], horizon=0.1)


@pytest.mark.slow
def test_the_edge_of_a_basin_is_a_known_separatrix():
    made = nf.plane(nf.pitchfork, 4.0)  # x = 0 lies between the basins of x = -2 and x = 2
    a, b = made.init(x=[-2.0, 1.0]), made.init(x=[1.3, -0.5])
    found = hx.dynamics.basin_edge(made, a, b, horizon=20.0)
    assert found.fates == ("locked in -memory 0", "locked in memory 0")
    assert found.fraction == pytest.approx(2 / 3.3, abs=1e-9)
    assert found.states[0][0] < 0 < found.states[1][0]


def test_arguments_of_the_edge_of_a_basin():
    made, start = network()
    other = made.init(saliency=[1.0, 0.0, 0.0], field=jnp.zeros(16))
    with pytest.raises(ValueError, match="`a` and `b` must be states of the same form"):
        hx.dynamics.basin_edge(made, start, other)
    with pytest.raises(ValueError, match="`tol` is a part of the way"):
        hx.dynamics.basin_edge(made, start, start, tol=2.0)


def rates(kappa=2.5, **options):
    """Three logistic rate memories in turn, of which classes are integrated."""
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    made = hx.TwoTimescaleRateMemory(
        patterns, hx.cyclic(3), kappa=kappa, tau=20.0, bias=0.1, **options
    )
    return made, made.init(saliency=jnp.array([2.5, 0.0, 0.0]))


@pytest.mark.long
def test_a_sequence_of_rate_memories_ends_at_the_fold_of_its_orbit():
    found = hx.dynamics.critical_gain(rates()[0], until="fold")
    assert found.end.kind == "fold" and found.below == "the sequence dies"
    # classes of neurons are renamed with the memories, so that one dwell is the orbit
    assert found.orbit.order.tolist() == [1, 2, 0] and found.orbit.residual < 1e-12
    gain, ts = float(found.gain), jnp.linspace(0.0, 3600.0, 3601)
    levels = []
    for factor in (1.001, 0.999):
        run = hx.simulate(rates(gain * factor)[0], found.end.state, ts)
        levels.append(float(jnp.abs(run.overlaps[-100:]).max()))
    assert levels[0] > 0.9 and levels[1] < 0.1
    run = hx.simulate(*rates(), ts)
    dwell = hx.observables.dwell_times(run)[-3:]
    assert np.abs(dwell - found.orbit.returns).max() < 1e-3  # the run's tolerance
    # in the limit of large tau and no bias it is three critical saliencies
    limit = 3 * hx.theory.rate.critical_saliency_planar(hx.Logistic(), -0.3, 0.95, 0.25).saliency
    assert 0.9 * float(limit) < gain < float(limit)


@pytest.mark.slow
def test_neurons_are_renamed_with_their_memories():
    form = reduced(*rates())
    order = np.array([1, 2, 0])
    places = relabelling(form, order)
    renamed = np.asarray(form.overlaps(relabelled(form.start, places)))
    assert np.abs(renamed - np.asarray(form.overlaps(form.start))[order]).max() < 1e-12
    assert is_symmetric(form, places, jax.random.key(0))
    unequal = reduced(*rates(jnp.array([2.5, 2.6, 2.5])))
    assert not is_symmetric(unequal, relabelling(unequal, order), jax.random.key(0))
    other = form.system.sites.xi.at[0, 0].set(2.0)
    uneven = eqx.tree_at(lambda f: f.system.network.patterns.xi, form, other)
    assert relabelling(uneven, order) is None
