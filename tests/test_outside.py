"""A network that a user wrote, with six methods, goes everywhere that a network of hopfax goes."""

import re
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import outside
import pytest
from helpers import ROOT, assert_close
from scipy.integrate import solve_ivp

import hopfax as hx

TS = jnp.linspace(0.0, 30.0, 31)


@pytest.fixture(scope="module")
def run():
    network, state = outside.tiring()
    return hx.simulate(network, state, TS)


def test_it_runs_on_all_its_neurons_as_scipy_does(run):
    network, state = outside.tiring()
    xi, strength, tau = np.asarray(network.patterns.xi), 0.8, 10.0

    def slope(t, y):
        x, a = y[:16], y[16:]
        rates = np.tanh(3 * x)
        m = xi @ rates / 16
        return np.concatenate([-x + xi.T @ m - strength * a, (rates - a) / tau])

    start = np.concatenate([state.field, state.fatigue])
    exact = solve_ivp(slope, (0.0, 30.0), start, "DOP853", TS, rtol=1e-12, atol=1e-12)
    m = np.tanh(3 * exact.y[:16].T) @ xi.T / 16
    assert_close(run.overlaps, m, 2e-6, "diffrax at its tolerance of 1e-8")
    assert (run.reduction, run.method) == ("sites", "diffrax") and run.saliency is None
    assert m[:, 0].max() > 0.9 and m[:, 0].min() < -0.9  # it moves, from a memory to its negative


@pytest.mark.slow
def test_noise_inputs_and_events_reach_it():
    network, state = outside.tiring()
    key = jax.random.key(0)
    noisy = [hx.simulate(network, state, TS, noise=s, key=key).overlaps for s in (0.001, 0.002)]
    path = hx.simulate(network, state, TS).overlaps
    moved = [np.sqrt(np.square(one - path).mean()) for one in noisy]
    assert moved[0] > 1e-4
    # The same path of noise, twice as strong: to second order in it, twice the change.
    np.testing.assert_allclose(moved[1], 2 * moved[0], rtol=0.05)
    quiet = path[-1]
    pushed = hx.simulate(network, state, TS, current=0.3 * network.patterns.xi[2])
    assert np.abs(pushed.overlaps[-1] - quiet).max() > 0.01
    stopped = hx.simulate(network, state, TS, event=_turned)
    assert np.isnan(stopped.overlaps[-1]).all() and np.isfinite(stopped.overlaps[5]).all()


def _turned(t, state, network):
    return network.overlaps(state)[0] < 0


def test_an_exact_engine_says_why_not_and_so_does_a_smaller_form():
    network, state = outside.tiring()
    with pytest.raises(ValueError, match="the law of Tiring is not known"):
        hx.simulate(network, state, TS, method=hx.EventDriven())
    with pytest.raises(ValueError, match="Tiring has no smaller form"):
        hx.simulate(network, state, TS, method=hx.Diffrax(reduction="classes"))
    assert network.merged() is network


@pytest.mark.slow
def test_it_is_swept_stored_and_drawn(tmp_path):
    network, state = outside.tiring()
    point = hx.Point(network, dict(field=state.field), TS, observe=["regime", "overlaps_end"])
    grid = {"strength": [0.5, 0.8, -1.0], "tau": [5.0, 10.0]}
    with pytest.warns(hx.SweepWarning):  # the strength of -1
        ds = hx.sweep(point, grid, tile=8, store=tmp_path / "store")
    assert (ds.status.values[2] != 0).all() and (ds.status.values[:2] == 0).all()
    alone = hx.simulate(*outside.tiring(strength=0.5, tau=5.0), TS)
    assert_close(ds.overlaps_end[0, 0], alone.overlaps[-1], 1e-6, "steps of another batch")
    again = hx.sweep(point, grid, tile=8, store=tmp_path / "store", on_failure="ignore")
    assert again.load().identical(ds.load())
    assert len(hx.plots.trajectory(alone, network)) == 1


def test_a_boundary_of_it_is_refined():
    network, state = outside.tiring()
    point = hx.Point(network, dict(field=state.field), TS, observe=_whether_it_turns)
    found = hx.refine(
        point, {}, along="strength", between=(0.0, 1.0), of="turns", coarse=4, tol=0.02, tile=8
    )
    edge = float(found.strength.values.ravel()[0])
    sides = [
        hx.simulate(*outside.tiring(strength=edge + d), TS).overlaps.min() for d in (-0.02, 0.02)
    ]
    assert sides[0] > -0.5 > sides[1]


def _whether_it_turns(trajectory):
    return {"turns": (trajectory.overlaps[:, 0].min() < -0.5).astype(jnp.int32)}


@pytest.mark.slow
def test_its_parameters_are_fitted(run):
    network, state = outside.tiring(strength=0.75)
    loss = hx.losses.overlap_path(TS[1:], run.overlaps[1:], init=dict(field=state.field), sigma=0.1)
    found = hx.fit(network, loss, where=lambda net: net.strength)
    assert_close(found.model.strength, 0.8, 1e-3, "the solver's tolerance")


def test_it_goes_through_a_file_if_its_class_is_named(tmp_path):
    network, _ = outside.tiring()
    hx.save(tmp_path / "net", network)
    with pytest.raises(hx.LoadError, match=r"pass load\(..., classes=\[Tiring\]\)"):
        hx.load(tmp_path / "net")
    back = hx.load(tmp_path / "net", classes=[outside.Tiring])
    assert eqx.tree_equal(back, network)
    with pytest.raises(TypeError, match="classes derived from equinox.Module"):
        hx.load(tmp_path / "net", classes=[dict])


class Wrong(hx.AbstractFlow):
    """Physics with a fault of the user's choice."""

    patterns: hx.Patterns
    fault: str = eqx.field(static=True)

    def init(self, *, field):
        return jnp.asarray(field)

    def rates(self, state):
        return state

    def overlaps(self, state):
        return state[:2] if self.fault == "overlaps" else self.patterns.overlap(state)

    def vector_field(self, t, state, inputs=None):
        return (state, state) if self.fault == "vector_field" else -state

    def energy(self, state, inputs=None):
        return jnp.sum(state**2) / 2

    def domain(self):
        return ()


@pytest.mark.parametrize(
    ("fault", "size", "words"),
    [
        ("vector_field", 16, "Wrong.vector_field must return the derivative of every array"),
        ("overlaps", 16, r"Wrong.overlaps must return an array of shape \(P,\)"),
        ("", 3, "first array, one number a neuron"),
    ],
)
def test_what_is_wrong_with_it_is_said_by_name(fault, size, words):
    network = Wrong(hx.patterns.hadamard(3, 16), fault)
    with pytest.raises(ValueError, match=words):
        hx.simulate(network, network.init(field=np.ones(size)), TS)


def test_six_methods_are_all_it_owes():
    assert hx.AbstractFlow.__abstractmethods__ == {
        *("init", "overlaps", "vector_field", "rates", "energy", "domain")
    }


def test_the_page_on_ones_own_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "howto" / "own_network.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    lines = first[first.index("class Tiring") :].splitlines()
    assert len([line for line in lines if line]) <= 30
    module = types.ModuleType("my_networks")  # as a file of the user's
    monkeypatch.setitem(sys.modules, "my_networks", module)
    exec(compile("".join([first, *others]), "own_network.md", "exec"), vars(module))
    m = module.run.overlaps[:, 0]
    assert m[0] > 0.97 and m.min() < -0.99
    assert (module.ds.status == 0).all() and abs(module.found.model.strength - 0.8) < 1e-3
    assert eqx.tree_equal(module.same, module.network)
