"""The reference against published numbers, closed forms and its own definitions."""

import ast
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from helpers import assert_close

RUNS = [name for name in ref.SCENARIOS if name != "S9"]


def test_the_reference_is_independent():
    tree = ast.parse(Path(ref.__file__).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported == {"collections", "dataclasses", "functools", "typing", "numpy", "scipy"}


@pytest.mark.parametrize("name", RUNS)
def test_scenario(name):
    scenario = ref.SCENARIOS[name]
    switches = np.array(scenario["switches"] or ())
    last = scenario.get("tenth", max(switches, default=0.0)) + 1
    ts = sorted({0.0, *scenario["m"], *scenario["z"], last})
    run = ref.run_scenario(scenario, ts)
    why = "digits to which the numbers are known"
    for quantity, values in (("m", scenario["m"]), ("z", scenario["z"])):
        for time, expected in values.items():
            actual = getattr(run, quantity)[ts.index(time)]
            assert_close(actual, expected, scenario["tol"], f"{why}: {quantity}({time:g})")
    if scenario["switches"]:
        assert_close(run.switches[: len(switches)], switches, scenario["tol"], why)
    if scenario.get("collapses"):
        assert len(run.switches) == len(switches)
    if "tenth" in scenario:
        assert_close(run.switches[9], scenario["tenth"], scenario["tol"], why)


def test_state_of_the_input_driven_network():
    s = ref.SCENARIOS["S9"]
    xi, x, why = ref.patterns_of(s), np.array(s["field"]), "all values are exact decimals"
    alpha = xi @ (xi.T @ np.array(s["stimulus"])) / s["N"]
    assert_close(alpha, s["alpha"], 1e-14, why)
    assert_close(ref.overlaps(xi, ref.hard_tanh(x)), s["overlaps"], 1e-14, why)
    assert_close(ref.energy(x, alpha, xi), s["energy"], 1e-14, why)


def test_switch_times_and_their_derivative():
    s = ref.SWITCH_GRADIENT
    h = 1e-3

    def times(kappa):
        return ref.run_scenario(s | {"kappa": kappa}, [0.0, 125.0]).switches[:4] / s["tau"]

    assert_close(times(s["kappa"]), s["times"], 1e-8, "printed digits")
    difference = (times(s["kappa"] + h) - times(s["kappa"] - h)) / (2 * h)
    assert_close(difference, s["by_kappa"], s["tol"], "central difference, error O(h^2) = 1e-6")


def test_integration_across_a_kink():
    # one site, x' = -x + clip(x) + I: x = I t up to 1, then 1 + I - I exp(-(t - 1 / I))
    xi, I = np.ones((1, 1)), 0.3
    ts = np.linspace(0.0, 9.0, 10)

    def rhs(t, x, activation):
        return ref.rhs_classic(t, x, activation, xi=xi, current=I)

    run = ref.integrate(rhs, xi, [0.0], None, ts)
    exact = np.where(ts < 1 / I, I * ts, 1 + I - I * np.exp(-(ts - 1 / I)))
    assert_close(run.x[:, 0], exact, 1e-11, "ten times the rtol of 1e-12")


def test_weights_are_the_double_sum():
    rng = np.random.default_rng(0)
    xi, alpha = rng.choice([-1.0, 1.0], (3, 7)), rng.normal(size=3)
    for keep in (True, False):
        W = ref.weights(xi, alpha, keep_diagonal=keep)
        for i in range(7):
            for j in range(7):
                expected = sum(alpha[k] * xi[k, i] * xi[k, j] for k in range(3)) / 7
                expected *= keep or i != j
                assert abs(W[i, j] - expected) < 1e-14


def test_pseudo_inverse_separates_correlated_memories():
    xi = np.random.default_rng(1).choice([-1.0, 1.0], (3, 9))
    assert np.abs(ref.overlaps(xi, xi[0])[1:]).max() > 0.05
    read = np.stack([ref.overlaps(xi, row, "pseudo_inverse") for row in xi])
    assert_close(read, np.eye(3), 1e-13, "machine precision")
    W = ref.weights(xi, np.array([2.0, 3.0, 4.0]), "pseudo_inverse")
    assert_close(W @ xi[1], 3.0 * xi[1], 1e-13, "each memory is an eigenvector of its own weight")


@pytest.mark.parametrize("keep_diagonal", [True, False])
@pytest.mark.parametrize("activation", [ref.tanh(1.5), ref.HardTanh(0.8)])
def test_the_flow_descends_the_energy(activation, keep_diagonal):
    # dE/dx_i = -psi'(x_i) x_i'
    rng = np.random.default_rng(2)
    xi, x = rng.choice([-1.0, 1.0], (3, 6)), rng.uniform(-2, 2, 6)
    alpha, current, h = np.array([2.0, 1.0, 0.5]), rng.normal(size=6), 1e-5
    W = ref.weights(xi, alpha, keep_diagonal=keep_diagonal)
    flow = -x + W @ activation(x) + current
    slope = (activation(x + h) - activation(x - h)) / (2 * h)

    def energy(x):
        return ref.energy(
            x, alpha, xi, activation=activation, current=current, keep_diagonal=keep_diagonal
        )

    gradient = np.array([(energy(x + h * e) - energy(x - h * e)) / (2 * h) for e in np.eye(6)])
    assert np.abs(gradient).max() > 0.1
    assert_close(gradient, -slope * flow, 1e-8, "central difference")


def test_euler_approaches_the_flow_at_first_order():
    rng = np.random.default_rng(3)
    xi, x0 = rng.choice([-1.0, 1.0], (2, 16)), rng.normal(size=16)
    stimulus = xi.T @ np.array([2.0, 1.0])

    def rhs(t, x, activation):
        return ref.rhs_idp(t, x, activation, xi=xi, stimulus=stimulus, keep_diagonal=False)

    exact = ref.integrate(rhs, xi, x0, None, [0.0, 1.0], activation=ref.tanh(10.0)).x[-1]
    errors = [
        np.abs(ref.euler_idp(xi, stimulus, x0, steps, dt=1 / steps)[-1] - exact).max()
        for steps in (800, 1600)
    ]
    assert 1.9 < errors[0] / errors[1] < 2.1  # halving the step halves the error
    assert errors[1] < 1e-3


def test_euler_adds_the_noise_of_each_step():
    xi = ref.hadamard((1, 2), 4)
    noise = np.arange(8.0).reshape(2, 4)
    path = ref.euler_idp(xi, np.zeros(4), np.zeros(4), 2, noise=noise)
    assert_close(path[1], noise[0], 0.0, "the flow of a zero state vanishes")
    assert_close(path[2], 0.99 * noise[0] + noise[1], 1e-14, "decay by dt = 0.01, then noise")
