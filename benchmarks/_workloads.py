"""The workloads on which solvers are compared: many gains of one cycling network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

BIAS = 0.01
NAMES = ("w1", "w1c", "wide", "widec")


class Workload(NamedTuple):
    """A network at many gains, each started on memory 0 with saliency kappa, and its save times."""

    patterns: hx.patterns.Patterns
    kappas: np.ndarray
    tau: float
    ts: np.ndarray
    seed: int | None  # of random memories
    tolerance: float  # of all adaptive solvers
    gate: float  # the largest error at which the event-driven time counts

    def spread(self, count: int) -> np.ndarray:
        """Indices of `count` evenly spaced gains."""
        return np.linspace(0, len(self.kappas) - 1, count).round().astype(int)

    def at(self, lanes: np.ndarray) -> "Workload":
        """The same at some of the gains only."""
        return self._replace(kappas=self.kappas[lanes])

    def network(self, kappa) -> hx.TwoTimescaleHopfield:
        """The network at one gain."""
        transition = hx.cyclic(self.patterns.P)
        return hx.TwoTimescaleHopfield(
            self.patterns, transition, kappa=kappa, tau=self.tau, bias=BIAS
        )

    def starts(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights y and saliencies z at the start, one lane a row."""
        z = np.outer(self.kappas, np.eye(self.patterns.P)[0])
        return z + BIAS, z

    def overlaps(self, method, kappas: jax.Array) -> jax.Array:
        """Overlaps (lanes, saves, P) at the given gains by `hopfax.simulate`."""

        def lane(kappa):
            network = self.network(kappa)
            start = network.init(saliency=kappa * jnp.eye(self.patterns.P)[0])
            return hx.simulate(network, start, self.ts, method=method, throw=False).overlaps

        return jax.vmap(lane)(kappas)


def workload(name: str, tau: float = 50.0) -> Workload:
    """256 gains over ten slow time constants, 201 saves.

    "w1": four Hadamard memories of 256 neurons, 8 site classes, tolerance 1e-9; "wide": eight of
    1024, 128 classes, tolerance 1e-7. With a "c" behind it: as many random memories, with signs
    that let each call the next.
    """
    P, N, tolerance, gate = (4, 256, 1e-9, 1e-6) if name.startswith("w1") else (8, 1024, 1e-7, 1e-1)
    seed, patterns = calling(P, N) if name.endswith("c") else (None, hx.patterns.hadamard(P, N))
    kappas, ts = np.linspace(4.5, 20.0, 256), np.linspace(0.0, 10 * tau, 201)
    return Workload(patterns, kappas, tau, ts, seed, tolerance, gate)


def calling(P: int, N: int, seed: int = 0) -> tuple[int, hx.patterns.Patterns]:
    """The first seed whose random memories can be flipped to call each other, and those."""
    try:
        return seed, hx.patterns.random(jax.random.key(seed), P, N).gauge_cycle()
    except ValueError:
        return calling(P, N, seed + 1)
