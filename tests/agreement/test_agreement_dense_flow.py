"""Dense memories in continuous time: simulations of finite networks against the theory."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx
from hopfax.theory import dense as theory

TS = jnp.linspace(0.0, 4.0, 9)


def simulated(interaction, N, load, weight, spread, networks):
    """Mean overlaps at `TS` and their standard errors over networks with patterns of their own."""
    order = getattr(interaction, "order", 2)
    M = round(load * N ** (order - 1)) + (order == 2)
    runs = []
    for key in jr.split(jr.key(N), networks):
        memories, start = jr.split(key)
        patterns = hx.Patterns(jr.rademacher(memories, (M, N), float))
        network = hx.DenseFlow(patterns, interaction, activation=hx.Tanh(3.0))
        field = weight * patterns.xi[0] + spread * jr.normal(start, (N,), float)
        runs.append(hx.simulate(network, network.init(field=field), TS).overlaps[:, 0])
    return np.mean(runs, 0), np.std(runs, 0, ddof=1) / networks**0.5


@pytest.mark.parametrize(
    ("interaction", "load", "weight", "spread", "N", "networks", "c"),
    [
        pytest.param(hx.Quadratic(), 0.08, 0.4, 0.0, 1000, 4, 5.0, id="order 2, below capacity"),
        pytest.param(
            *(hx.Quadratic(), 0.3, 0.3, 0.5, 2000, 6, 5.0),
            id="order 2, above capacity",
            marks=pytest.mark.slow,
        ),
        pytest.param(hx.Power(3), 0.05, 0.6, 0.0, 120, 8, 2.0, id="order 3, below capacity"),
        pytest.param(
            *(hx.Power(3), 0.15, 0.5, 0.5, 160, 6, 4.0),
            id="order 3, above capacity",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_overlaps(interaction, load, weight, spread, N, networks, c):
    found, error = simulated(interaction, N, load, weight, spread, networks)
    units = {"activation": hx.Tanh(3.0), "paths": 2**11}
    run = theory.solve_flow(interaction, load, weight, 4.0, 40, spread=spread, **units)
    expected = run.overlap[::5]
    # c / N for the size, 2e-3 for time steps of 0.1, and the error of the theory
    bound = 4 * error + c / N + 2e-3 + 4 * np.asarray(run.error[::5])
    assert np.all(abs(found - expected) < bound), abs(found - expected) / bound
