"""Many runs, as a dataset."""

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

network = hx.TwoTimescaleHopfield(
    hx.patterns.hadamard(4, 64), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
)
point = hx.Point(network, {"saliency": [4.0, 0.0, 0.0, 0.0]}, jnp.linspace(0.0, 200.0, 41))
grid = {"kappa": np.linspace(2.0, 7.0, 5), "init.saliency[0]": [1.0, 4.0]}
print(hx.sweep_plan(point, grid))
dataset = hx.sweep(point, grid, store="gains", progress=False)
regime: np.ndarray = dataset["regime"].values
again = hx.open_sweep("gains")
curve = hx.refine(point, {"tau": [20.0, 50.0]}, along="kappa", between=(2.0, 6.0), into="sequence")


def cycle(P: int, correlation: float = 0.0) -> hx.Point:
    """A point of P memories."""
    memories = hx.patterns.correlated(jax.random.key(0), P, 64, correlation)
    made = hx.TwoTimescaleHopfield(memories, hx.cyclic(P), kappa=5.0, tau=20.0, bias=0.05)
    return hx.Point(made, {"saliency": 4.0 * jnp.eye(P)[0]}, jnp.linspace(0.0, 100.0, 51))


sizes = hx.sweep(hx.Recipe(cycle), {"P": [2, 3], "correlation": [0.0, 0.2]})
runs = hx.ensemble(point, seeds=4)
