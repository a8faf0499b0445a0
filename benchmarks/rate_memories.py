"""What do rate memories cost: of classes, of random memories, from kink to kink?

`python -m benchmarks.rate_memories`: retrieval in a balanced set of a thousand and a million
neurons, in turns; the vector field of random memories beside a product with the N x N matrix, and a
whole retrieval; a sequence of a hard sigmoid by events and by diffrax, with errors.
"""

from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ._measure import interleaved, report

TS = np.linspace(0.0, 20.0, 21)


@eqx.filter_jit
def _run(network, start):
    return hx.simulate(network, start, TS, throw=False)


@eqx.filter_jit
def _target(network, wiring, x):
    return network.targets(wiring, x, None, None, None)[0]


def classes():
    """64 cues on both sizes: a sweep of start overlaps, and one run with its full final state."""
    cues = np.linspace(0.2, 1.0, 64)

    def sweep(network):
        point = hx.Point(network.merged(), {"weights": np.zeros(6)}, TS, observe=["overlaps_end"])
        grid = {"init.weights[0]": cues}
        return lambda: hx.sweep(point, grid, progress=False).overlaps_end.values

    def one(network):
        w = 0.6 * jnp.eye(6, dtype=network.patterns.dtype)[0]
        return lambda: _run(network, network.init(weights=w)).final.rates

    for make in (sweep, one):
        runs = {N: make(hx.RateMemory(hx.patterns.balanced(0.2, N))) for N in (1000, 10**6)}
        few, many = (np.asarray(run()) for run in runs.values())
        error = np.abs(few - many).max() if few.shape == many.shape else abs(few[0] - many[0])
        times = interleaved({str(N): run for N, run in runs.items()})
        for N, row in times.items():
            report(f"balanced set, {make.__name__}", N=N, difference=float(error), **row)


def random_memories():
    """O(NP) against O(N^2), in float32."""
    for N, P in ((10_000, 14), (10_000, 100), (100_000, 14), (100_000, 100)):
        patterns = hx.patterns.sparse(jr.key(0), P, N, 0.2)
        network = hx.RateMemory(hx.Patterns(np.asarray(patterns.xi, np.float32)))
        wiring = network.wiring()
        cue = hx.patterns.degrade(network.patterns, jr.key(1), 0, int(0.12 * N))

        start = network.init(rates=cue)
        runs = {
            "vector field": partial(_target, network, wiring, cue),
            "retrieval": partial(_run, network, start),
        }
        if N == 10_000:
            W = jr.normal(jr.key(2), (N, N), jnp.float32)
            product = jax.jit(lambda W, x: W @ x)
            runs["N x N product"] = partial(product, W, cue)
        error = float(jnp.abs(_run(network, start).overlaps[-1] - jnp.eye(P)[0]).max())
        for name, row in interleaved(runs, 5).items():
            report(f"random memories, {name}", N=N, P=P, error_of_overlaps=error, **row)


def kinks():
    """A sequence of five memories, tau = 50, ten slow time constants."""
    patterns = hx.patterns.sunflower(5, 0.2, 0.2, 100)
    network = hx.TwoTimescaleRateMemory(
        patterns, hx.cyclic(5), kappa=2.5, tau=50.0, bias=0.2, activation=hx.HardSigmoid()
    )
    ts = np.linspace(0.0, 500.0, 101)

    def by(method):
        run = jax.jit(
            lambda z: hx.simulate(network, network.init(saliency=z), ts, method=method, throw=False)
        )
        return lambda: run(jnp.array([1.5, 0, 0, 0, 0]))

    def tight(tol):
        return hx.Diffrax(controller=diffrax.PIDController(tol, tol, pcoeff=0.3, icoeff=0.4))

    runs = {
        "events": by(hx.EventDriven()),
        "diffrax 1e-8": by(tight(1e-8)),
        "diffrax 1e-11": by(tight(1e-11)),
    }
    exact = by(hx.EventDriven(order=24, tol=1e-14))()
    for name, row in interleaved(runs, 5).items():
        out = runs[name]()
        error = float(jnp.abs(out.saliency - exact.saliency).max())
        report(f"kinks, {name}", error_of_saliency=error, steps=int(out.counters["steps"]), **row)


if __name__ == "__main__":
    random_memories()
    jax.config.update("jax_enable_x64", True)
    classes()
    kinks()
