"""What do exact thresholds and branches cost, and are they right?

    python -m benchmarks.dynamics                      # gains at which sequences are born
    python -m benchmarks.dynamics --limit              # for tau -> infinity, bias -> 0
    python -m benchmarks.dynamics --memories 2000 100  # folds of 100 memories of 2,000 neurons

A threshold is checked by two simulations from a state of the orbit at its fold: just above it the
sequence goes on, just below it dies. A fold of a memory is checked by the eigenvalue that is zero
there.
"""

import argparse
import itertools
import resource
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import report

MARGIN = 1e-3  # relative, of the gains just above and just below
GAIN = 20.0  # of tanh


def network(P: int, tau: float, bias: float, kappa: float = 5.0) -> hx.TwoTimescaleHopfield:
    """A cycle of Hadamard memories."""
    patterns = hx.patterns.hadamard(P, 2**P)
    return hx.TwoTimescaleHopfield(patterns, hx.cyclic(P), kappa=kappa, tau=tau, bias=bias)


def lives(made: hx.TwoTimescaleHopfield, state: hx.FieldState) -> bool:
    """Whether the sequence still goes on after 400 slow time constants."""
    horizon = 400.0 * float(made.tau)
    run = hx.simulate(made, state, jnp.array([0.0, horizon]), method=hx.EventDriven(switches=2048))
    times = hx.observables.switch_times(run)
    return len(times) > 0 and float(times[-1]) > 0.95 * horizon


def thresholds(sizes: list[int], taus: list[float], biases: list[float]) -> None:
    """One row a network."""
    for P, tau, bias in itertools.product(sizes, taus, biases):
        begin = time.perf_counter()
        try:
            found = hx.dynamics.critical_gain(network(P, tau, bias))
        except hx.SimulationError as error:
            report("threshold", P=P, tau=tau, bias=bias, failed=str(error))
            continue
        seconds = time.perf_counter() - begin
        gain = float(found.gain)
        sides = [
            lives(network(P, tau, bias, gain * (1 + side * MARGIN)), found.end.state)
            for side in (1, -1)
        ]
        report(
            "threshold",
            P=P,
            tau=tau,
            bias=bias,
            gain=round(gain, 10),
            kind=found.end.kind,
            folds=[round(float(fold), 8) for branch in found.branches for fold in branch.folds()],
            multiplier_off_1=float(np.abs(found.end.spectrum - 1).min()),
            lives_above=sides[0],
            lives_below=sides[1],
            below=found.below,
            seconds=round(seconds, 2),
        )


def limits(sizes: list[int]) -> None:
    """Thresholds at ever larger tau and a bias of 0.1 / tau, and what the last three tend to if
    they differ from it by (c ln tau + d) / tau, beside the theory's value."""
    taus = 1000.0 * 4.0 ** np.arange(5)
    for P in sizes:
        gains: list[float] = []
        for tau in taus:
            try:
                found = hx.dynamics.critical_gain(network(P, tau, 0.1 / tau), until="fold")
            except hx.SimulationError as error:
                report("limit", P=P, tau=tau, failed=str(error))
                break
            gains.append(float(found.gain))
            report("limit", P=P, tau=tau, gain=round(gains[-1], 10))
        if len(gains) < 3:
            continue
        last = taus[len(gains) - 3 : len(gains)]
        rows = np.stack([np.ones(3), np.log(last) / last, 1 / last], axis=1)
        limit = float(np.linalg.solve(rows, gains[-3:])[0])
        report(
            "limit", P=P, extrapolated=limit, theory=float(hx.theory.sequential.critical_gain(P))
        )


class Asymmetric(eqx.Module):
    """Q = (1 - lambda) I + lambda A, with A cyclic."""

    patterns: hx.Patterns

    def __call__(self, strength):
        P = self.patterns.P
        Q = (1 - strength) * jnp.eye(P) + strength * hx.cyclic(P)
        return hx.OneTimescaleHopfield(self.patterns, Q, activation=hx.Tanh(GAIN))


def memories(N: int, P: int, step: float) -> None:
    """All memories of random patterns, each to its own fold."""
    make = Asymmetric(hx.patterns.random(jax.random.key(0), P, N))
    made = make(0.0)
    starts = jax.vmap(lambda w: made.init(weights=w))(jnp.eye(P))
    begin = time.perf_counter()
    found = hx.dynamics.branch(make, starts, (0.0, 1.0), until="fold", step=step)
    seconds = time.perf_counter() - begin
    folds = found.folds()
    smallest = [float(np.abs(np.real(point.spectrum)).min()) for point in found.special]
    report(
        "memories to their folds",
        N=N,
        P=P,
        step=step,
        found=len(folds),
        least=float(folds.min()),
        median=float(np.median(folds)),
        most=float(folds.max()),
        eigenvalue_off_0=max(smallest),
        seconds=round(seconds, 1),
        peak_GiB=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    )


def main() -> None:
    """One JSON line for every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--tau", type=float, nargs="+", default=[20.0, 50.0, 100.0, 200.0])
    parser.add_argument("--bias", type=float, nargs="+", default=[0.001, 0.01, 0.05])
    parser.add_argument("--limit", action="store_true")
    parser.add_argument("--memories", type=int, nargs=2, metavar=("N", "P"))
    parser.add_argument("--step", type=float, default=0.02)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if given.limit:
        limits(given.sizes)
    elif given.memories:
        neurons, many = given.memories
        memories(neurons, many, given.step)
    else:
        thresholds(given.sizes, given.tau, given.bias)


if __name__ == "__main__":
    main()
