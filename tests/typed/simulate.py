"""A run, and what is read from it."""

import jax
import jax.numpy as jnp

import hopfax as hx

patterns = hx.patterns.hadamard(4, 64)
network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
run: hx.Trajectory = hx.simulate(network, start, jnp.linspace(0.0, 200.0, 41))
overlaps: jax.Array = run.overlaps
order: list[int] = hx.observables.visited(run).tolist()
dwell = float(hx.observables.dwell_times(run)[0])
predicted = float(hx.theory.sequential.dwell_time(5.0, 20.0, 4, 0.01))


def second_switch(kappa: jax.Array) -> jax.Array:
    """The time of the second switch."""
    net = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=kappa, tau=20.0, bias=0.01)
    begin = net.init(saliency=[4.0, 0.0, 0.0, 0.0])
    switches = hx.simulate(net, begin, jnp.array([0.0, 80.0])).switches
    assert switches is not None
    return switches.time[1]


slope: jax.Array = jax.grad(second_switch)(jnp.asarray(5.0))
dense = hx.DenseMemory(patterns, hx.Power(3))
steps = hx.iterate(dense, dense.init(patterns.xi[0]), 4)
