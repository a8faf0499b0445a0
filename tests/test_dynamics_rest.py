"""States of rest, their spectra, and branches of them."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import normal_forms as nf
import numpy as np
import pytest
import scipy.optimize
import zoo
from jax.flatten_util import ravel_pytree

import hopfax as hx
from hopfax.dynamics import _cells

NETWORKS = zoo.networks()
#: Newton's method ends at the rounding of a residual of order 1.
ROUNDING = 1e-13
#: Special points are roots of smooth functions of the curve: 1e-8 is asked for.
LOCATED = 1e-8


def hopfield(gain=2.0):
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(gain))
    return network, network.init(weights=[0.9, 0.1, 0.0])


@pytest.mark.parametrize("gain", [1.2, 2.0, 5.0])
def test_a_memory_rests_where_its_equation_says(gain):
    rest = hx.dynamics.steady_state(*hopfield(gain))
    wanted = scipy.optimize.brentq(lambda m: np.tanh(gain * m) - m, 1e-3, 1.0, xtol=1e-15)
    assert np.abs(np.asarray(rest.overlaps) - [wanted, 0, 0]).max() < 1e-12
    assert rest.stable and rest.isolated and float(rest.residual) < ROUNDING
    slope = gain * (1 - wanted**2)
    assert np.allclose(rest.spectrum.eigenvalues, slope - 1) and rest.spectrum.others == 13
    assert str(rest).startswith("stable state of rest")


def test_states_that_are_unstable_are_found_too():
    network, _ = hopfield()
    mixed = hx.dynamics.steady_state(network, network.init(weights=[0.5, 0.5, 0.0]))
    assert not mixed.stable and mixed.spectrum.unstable == 2
    silent = hx.dynamics.steady_state(network, network.init(weights=[0.0, 0.0, 0.0]))
    assert np.allclose(silent.spectrum.eigenvalues, 1.0) and silent.spectrum.unstable == 3


def dense(network, state, inputs):
    """Eigenvalues of the whole Jacobian, from the vector field on all that moves."""
    if hasattr(state, "weights"):
        state = dataclasses.replace(state, weights=None)
    flat, unravel = ravel_pytree(state)

    def rate(v):
        return ravel_pytree(network.vector_field(0.0, unravel(v), inputs))[0]

    return np.linalg.eigvals(np.asarray(jax.jacfwd(rate)(flat)))


def apart(one, other):
    """The largest distance between two sets of eigenvalues, matched one to one."""
    assert len(one) == len(other)
    distance = np.abs(one[:, None] - other[None, :])
    return distance[scipy.optimize.linear_sum_assignment(distance)].max()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_small_spectrum_is_that_of_all_neurons(name):
    network, state, inputs = NETWORKS[name]
    found = hx.dynamics.spectrum(network, state, **inputs)
    small = np.concatenate([found.eigenvalues, np.full(found.others, -1.0 + 0j)])
    whole = dense(network, state, hx.Inputs(**inputs))
    # -1 is a multiple eigenvalue of a matrix that is not symmetric: known to the root of rounding
    assert apart(small, whole) < 1e-6


def test_memories_that_depend_on_each_other_have_no_eigenvalues_too_many():
    rows = [
        [1, 1, 1, 1],
        [1, 1, 1, -1],
        [1, 1, -1, 1],
        [1, -1, 1, 1],
        [1, -1, -1, 1],
        [1, 1, -1, -1],
    ]
    patterns = hx.Patterns(jnp.array(rows, float))
    network = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    state = network.init(weights=jnp.array([0.3, 0.1, 0.0, 0.0, 0.0, 0.0]))
    found = hx.dynamics.spectrum(network, state)
    assert found.others == 0 and apart(found.eigenvalues, dense(network, state, hx.Inputs())) < 1e-6


@pytest.mark.slow
def test_a_start_outside_the_span_and_a_current_are_taken_along():
    network, _ = hopfield()
    current = 0.1 * jax.random.normal(jax.random.key(0), (16,))
    start = network.init(field=network.patterns.xi[1] + jnp.linspace(-0.2, 0.2, 16))
    rest = hx.dynamics.steady_state(network, start, current=current)
    rate = network.vector_field(0.0, rest.state, hx.Inputs(current=current))
    assert np.abs(rate.field).max() < ROUNDING and rest.stable
    run = hx.simulate(network, start, jnp.array([0.0, 60.0]), current=current)
    assert np.abs(run.overlaps[-1] - rest.overlaps).max() < 1e-7  # of the run's tolerance
    whole = dense(network, rest.state, hx.Inputs(current=current))
    small = hx.dynamics.spectrum(network, rest.state, current=current)
    assert apart(np.append(small.eigenvalues, np.full(13, -1.0)), whole) < 1e-6


def test_derivatives_are_those_of_the_implicit_function_theorem():
    def overlap(gain):
        return hx.dynamics.steady_state(*hopfield(gain)).overlaps[0]

    central = (overlap(2.0 + 1e-5) - overlap(2.0 - 1e-5)) / 2e-5
    for derivative in (jax.grad, jax.jacfwd):
        # central differences of 1e-5 are exact to about 1e-10
        assert float(derivative(overlap)(2.0)) == pytest.approx(float(central), rel=1e-8)
    gains = jnp.array([1.5, 2.0])
    batch = jax.jit(jax.vmap(overlap))(gains)
    assert np.allclose(batch, [overlap(gain) for gain in gains], atol=ROUNDING)


def test_what_is_no_state_of_rest_is_not_called_one():
    network = nf.plane(nf.fold, -1.0)  # x' = -1 - x^2 rests nowhere
    start = network.init(x=[0.5, 0.0])
    with pytest.raises(hx.SimulationError, match="no state of rest was found from `state`"):
        hx.dynamics.steady_state(network, start)
    found = hx.dynamics.steady_state(network, start, throw=False)
    assert not found.converged and not found.stable and "no state of rest" in str(found)


def test_a_continuum_is_said_to_be_one():
    network = nf.plane(lambda x, y, p: (0.0 * x, -y))
    found = hx.dynamics.steady_state(network, network.init(x=[0.5, 0.3]))
    assert found.converged and not found.isolated and not found.stable
    assert "others lie arbitrarily near" in str(found)


# Branches


def followed(flow, start, between, **options):
    make = hx.dynamics.along(nf.plane(flow), "parameter")
    return hx.dynamics.branch(make, make(between[0]).init(x=start), between, **options)


def kinds(branch):
    return [point.kind for point in branch.special]


def test_a_fold_is_passed_and_located():
    found = followed(nf.fold, [1.0, 0.1], (1.0, -1.0), step=0.1)
    assert kinds(found) == ["fold"] and abs(found.special[0].parameter) < LOCATED
    x = 2 * found.overlaps[:, 0]  # the overlap is the mean of x and y = 0
    assert np.abs(x**2 - found.parameter).max() < 1e-10
    assert (found.stable == (x > 0)).all() and x[0] > 0 > x[-1]
    assert found.ended == "it leaves the interval at 1"


@pytest.mark.parametrize(
    ("flow", "start"), [(nf.transcritical, [0.0, 0.0]), (nf.pitchfork, [0.0, 0.0])]
)
def test_a_branch_point_is_located(flow, start):
    found = followed(flow, start, (-1.0, 0.7), step=0.1)
    assert kinds(found) == ["branch point"] and abs(found.special[0].parameter) < LOCATED
    assert found.stable[0] and not found.stable[-1]


def test_on_its_own_branch_a_pitchfork_is_one_point():
    found = followed(nf.pitchfork, [1.0, 0.0], (1.0, -1.0), step=0.1)
    assert kinds(found) == ["branch point"] and abs(found.special[0].parameter) < LOCATED


def test_a_hopf_point_is_located():
    found = followed(nf.hopf, [0.0, 0.0], (-1.0, 0.7), step=0.1)
    assert kinds(found) == ["Hopf point"] and abs(found.special[0].parameter) < LOCATED
    assert np.allclose(np.abs(np.imag(found.special[0].spectrum)), 2.0)


def test_both_folds_of_an_s_are_met():
    found = followed(nf.cusp, [-1.4, 0.0], (-1.0, 1.0), step=0.05)
    edge = 2 / (3 * np.sqrt(3))
    assert np.abs(found.folds() - [edge, -edge]).max() < LOCATED
    assert found.ended == "it leaves the interval at 1"
    first = followed(nf.cusp, [-1.4, 0.0], (-1.0, 1.0), step=0.05, until="fold")
    assert first.ended == "a fold, as asked" and abs(first.parameter[-1] - edge) < LOCATED


def test_branches_of_many_starts_are_those_of_each():
    network = nf.plane(nf.cusp)
    make = hx.dynamics.along(network, "parameter")
    starts = jax.vmap(lambda x: network.init(x=x))(jnp.array([[-1.4, 0.0], [9.0, 9.0]]))
    both = hx.dynamics.branch(make, starts, (-1.0, 1.0), step=0.05)
    one = followed(nf.cusp, [-1.4, 0.0], (-1.0, 1.0), step=0.05)
    assert both.parameter.shape[0] == 2 and len(both.ended) == 2
    first = [point for point in both.special if point.branch == 0]
    assert [point.kind for point in first] == kinds(one) == ["fold", "fold"]
    # steps differ, as states are measured by those of all starts; what they lead to does not
    places = [[point.parameter for point in points] for points in (first, one.special)]
    assert np.abs(np.subtract(*places)).max() < LOCATED
    assert both.ended[0] == one.ended


def test_a_branch_without_a_beginning_says_so():
    found = followed(nf.fold, [0.5, 0.0], (-0.5, 1.0))
    assert not np.isfinite(found.parameter).any()
    assert found.ended == "no solution was found near the start, at -0.5"
    assert "without points" in str(found)


def test_a_branch_that_cannot_go_on_says_where():
    def torn(x, y, p):  # the state of rest x = p is gone where p > 1/2
        return jnp.where(p > 0.5, jnp.nan, p - x), -y

    found = followed(torn, [0.0, 0.0], (0.0, 1.0), step=0.1)
    assert found.ended == "no next point was found from 0.5 on, in steps however short"
    assert 0.4999 < found.parameter[-1] <= 0.5


@pytest.mark.slow
def test_a_memory_ends_where_its_fold_is():
    """Instantaneous transitions end memories of random patterns at a fold."""
    patterns = hx.patterns.random(jax.random.key(1), 5, 64)

    def make(strength):
        couplings = (1 - strength) * jnp.eye(5) + strength * hx.cyclic(5)
        return hx.OneTimescaleHopfield(patterns, couplings, activation=hx.Tanh(10.0))

    network = make(0.0)
    starts = jax.vmap(lambda w: network.init(weights=w))(jnp.eye(5))
    found = hx.dynamics.branch(make, starts, (0.0, 1.0), until="fold")
    assert len(found.folds()) == 5
    for k, point in enumerate(sorted(found.special, key=lambda point: point.branch)):
        assert np.abs(np.real(point.spectrum)).min() < 1e-6  # an eigenvalue 0, at a root of it
        before, after = (make(point.parameter + d) for d in (-1e-5, 1e-5))
        near = hx.dynamics.steady_state(before, point.state)
        assert abs(near.overlaps[k] - point.overlaps[k]) < 0.01
        run = hx.simulate(after, point.state, jnp.array([0.0, 5000.0]))
        assert abs(run.overlaps[-1, k] - point.overlaps[k]) > 0.02  # it has left
    data = found.to_xarray()
    assert data.sizes["branch"] == 5 and (data.special_kind == "fold").all()


def test_a_parameter_is_named_as_in_sweeps():
    network, _ = zoo.cycle()
    assert hx.dynamics.along(network, "transition[1,0]")(0.7).transition[1, 0] == 0.7
    gains = hx.dynamics.along(network, "transition[i,i]")(0.3).transition
    assert np.allclose(np.diag(gains), 0.3)
    with pytest.raises(ValueError, match="did you mean 'kappa'"):
        hx.dynamics.along(network, "kapa")
    with pytest.raises(ValueError, match="unknown parameter 'noise'"):
        hx.dynamics.along(network, "noise")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(make=hopfield()[0]), "`make` must be a function of one number"),
        (dict(make=lambda p: 3), r"`make\(2\)` must be a Flow, got int"),
        (dict(between=(2.0, 2.0)), "`between` must be two different numbers"),
        (dict(between=3.0), "`between` must be two numbers"),
        (dict(step=2.0), "`step` is a part of the interval"),
        (dict(until="cusp"), "`until` must be one of"),
        (dict(max_steps=0), "`max_steps` must be a whole number >= 1"),
        (dict(stimulus=jnp.ones(16)), "has no `stimulus`"),
        (dict(current=hx.Pulses([0.0, 1.0], jnp.ones((1, 16)))), "`current` must be constant"),
    ],
)
def test_bad_arguments_are_named(change, text):
    network, start = hopfield()
    given = dict(make=hx.dynamics.along(network, "gain"), start=start, between=(2.0, 1.0))
    given |= change
    with pytest.raises((TypeError, ValueError), match=text):
        hx.dynamics.branch(given.pop("make"), given.pop("start"), given.pop("between"), **given)


# All that a search finds


@pytest.mark.slow
def test_two_memories_have_nine_states_of_rest():
    """With tanh and orthogonal memories the two combinations m_1 +- m_2 decouple: three each."""
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.Tanh(2.0))
    found = hx.dynamics.rest_states(network, network.init(weights=[1.0, 0.0]), count=64)
    assert set(found.names) == {
        *("memory 0", "memory 1", "-memory 0", "-memory 1", "silent"),
        *("mixture 0 1", "mixture 0 -1", "mixture -0 1", "mixture -0 -1"),
    }
    stable = [name for name, state in zip(found.names, found.states, strict=True) if state.stable]
    assert sorted(stable) == ["-memory 0", "-memory 1", "memory 0", "memory 1"]
    assert found.shares.sum() == pytest.approx(1.0) and found.unsettled == 0.0
    assert (found.shares[4:] == 0).all() and (found.shares[:4] > 0.1).all()
    assert np.allclose(found.energies[:4], found.energies[0]) and found.energies[0] < 0
    assert str(found).startswith("9 states of rest")


@pytest.mark.slow
def test_what_does_not_rest_is_counted():
    network = nf.plane(nf.hopf, 1.0)  # all runs but one end on the orbit
    like = network.init(x=[0.1, 0.1])
    found = hx.dynamics.rest_states(network, like, count=16, horizon=40.0)
    assert found.unsettled == 1.0 and found.energies is None
    assert found.names == ["silent"] and found.states[0].spectrum.unstable == 2
    for change, text in ((dict(size=0.0), "`size`"), (dict(count=0), "`count`")):
        with pytest.raises(ValueError, match=text):
            hx.dynamics.rest_states(network, like, **change)


def in_all_cells(xi, gain, current):
    """Overlaps of all states of rest of N neurons, by trying each of them below, in, and above the
    linear part."""
    P, N = xi.shape
    W, found = xi.T @ xi / N, []
    for signs in itertools.product((-1, 0, 1), repeat=N):
        s = np.array(signs)
        linear = np.diag(s == 0).astype(float)
        x = np.linalg.solve(np.eye(N) - gain * W @ linear, W @ s + current)
        fits = np.where(s == 0, np.abs(gain * x) < 1, s * gain * x > 1)
        if fits.all():
            found.append(xi @ np.clip(gain * x, -1, 1) / N)
    return np.array(found)


@pytest.mark.slow
def test_all_states_of_rest_of_hard_tanh_are_those_of_all_cells(monkeypatch):
    patterns = hx.patterns.random(jax.random.key(3), 3, 6)
    network = hx.Hopfield(patterns, activation=hx.HardTanh(1.7))
    current = 0.1 * jax.random.normal(jax.random.key(4), (6,))
    like = network.init(weights=jnp.zeros(3))
    found = hx.dynamics.rest_states(network, like, current=current, count=32)
    overlaps = np.array([state.overlaps for state in found.states])
    wanted = in_all_cells(np.asarray(patterns.xi), 1.7, np.asarray(current))
    assert found.exact and str(found).startswith(f"all {len(wanted)} states of rest")
    assert len(overlaps) == len(wanted) > 8
    assert np.abs(overlaps[:, None] - wanted).max(2).min(0).max() < 1e-12
    assert all(state.converged and state.isolated for state in found.states)
    assert found.shares.sum() == pytest.approx(1.0) and found.unsettled == 0.0
    # The search meets some of them, and nothing else.
    monkeypatch.setattr(_cells, "_MOST", 0)
    searched = hx.dynamics.rest_states(network, like, current=current, count=32)
    assert not searched.exact
    for state in searched.states:
        assert np.abs(overlaps - state.overlaps).max(1).min() < 1e-9


@pytest.mark.slow
def test_a_continuum_of_hard_tanh_is_told_as_one():
    """At gain 1 all overlaps with |m_0| + |m_1| <= 1 rest."""
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.HardTanh(1.0))
    found = hx.dynamics.rest_states(network, network.init(weights=[1.0, 0.0]), count=32)
    assert found.exact and found.names == ["continuum of dimension 2"]
    assert found.shares == pytest.approx([1.0]) and found.unsettled == 0.0
    assert not found.states[0].isolated and np.abs(found.states[0].overlaps).max() < 1e-9
