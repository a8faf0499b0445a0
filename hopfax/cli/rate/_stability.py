"""Of rate memories: are they equilibria, stable ones, and what random overlaps do to them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ..._programs import jitted
from ...theory import rate
from . import _points
from ._cases import (
    EXCITED,
    INHIBITED,
    LAST,
    NEURONS,
    RANDOM,
    SMALL,
    STRETCH,
    STRETCHES,
    B,
    Q,
    phi_of,
    tight,
    unit,
)
from ._diagram import together
from ._points import NUDGE, Perturbed
from .sweep import Sweep


class Row(NamedTuple):
    """One design of the stability table."""

    kind: str
    a: float
    threshold: float
    kappa: float
    gamma: float
    block: float
    eigenvalue: float
    growth: float  # measured
    distance: float  # at t = 40, from 1e-3

    @property
    def stable(self) -> bool:
        """Whether the simulation came nearer to the memory."""
        return self.distance < NUDGE


def residuals(balanced) -> dict[str, float]:
    """The largest derivative of any rate at any memory, for each design."""
    sparse = hx.patterns.sparse(jr.key(3), RANDOM, NEURONS, Q)
    uneven = hx.Patterns(jnp.concatenate([sparse.xi[:3], balanced.xi[:2, ::-1]]), binary=False)
    uneven = hx.Patterns(uneven.xi.at[0, :100].set(1.0), binary=False)
    cases = {
        "balanced set, covariance": (balanced, "covariance"),
        "balanced set, projection": (balanced, "projection"),
        "sunflower (P = 5, r = 0.4), covariance": (
            hx.patterns.sunflower(5, Q, 0.4, NEURONS),
            "covariance",
        ),
        "random memories (P = 14), projection": (sparse, "projection"),
        "unequal activities (P = 5), pseudo-inverse": (uneven, "pseudo_inverse"),
    }
    found = {}
    for name, (patterns, learning) in cases.items():
        network = hx.RateMemory(patterns, a=INHIBITED, b=B, learning=learning)
        found[name] = max(_residual(network, mu) for mu in range(patterns.P))
    return found


def _residual(network: hx.RateMemory, mu: int) -> float:
    """The largest derivative of any rate at a memory."""
    field = network.vector_field(0.0, network.init(weights=unit(network.patterns.P, mu)))
    return float(abs(field.rates).max())


@jitted
def _differences(test, a, threshold, size, shrink):
    """A difference from memory 0 after every stretch, over currents and thresholds: its largest
    entry, and the rate at which it grew. With `shrink` each stretch begins at `size` again."""
    ts, method = np.array([0.0, STRETCH]), tight()
    first = test.direction * size / jnp.where(shrink, jnp.linalg.norm(test.direction), 1.0)

    def one(a, threshold):
        phi = phi_of(threshold, test.kind)
        network = hx.RateMemory(test.patterns, a=a, b=B, activation=phi)
        memory = network.rescaled(unit(network.patterns.P))

        def stretch(difference, _):
            start = network.init(rates=memory + difference)
            end = hx.simulate(network, start, ts, method=method, throw=False).final.rates - memory
            long = jnp.linalg.norm(end)
            growth = jnp.log(long / jnp.linalg.norm(difference)) / STRETCH
            return end * jnp.where(shrink, size / long, 1.0), (abs(end).max(), growth)

        return jax.lax.scan(stretch, first, length=STRETCHES)[1]

    return jax.vmap(one)(a, threshold)


def rows(rows) -> list[Row]:
    """The stability table: eigenvalues beside the growth of small differences."""
    found = {}
    for kind in dict.fromkeys(row[0] for row in rows):
        here = [row for row in rows if row[0] == kind]
        test = Perturbed(kind, Q, NEURONS)
        a, threshold = (jnp.array([row[k] for row in here]) for k in (1, 2))
        growth = _differences(test, a, threshold, jnp.asarray(SMALL), jnp.asarray(True))[1]
        nudge, plain = jnp.asarray(NUDGE), jnp.asarray(False)
        distance = _differences(test, a, threshold, nudge, plain)[0]
        growth = growth[:, -LAST:].mean(1)
        distance = distance[:, round(_points.HORIZON / STRETCH) - 1]
        found |= {row: (growth[k], distance[k]) for k, row in enumerate(here)}
    result = []
    for kind, a, threshold in rows:
        phi = phi_of(threshold, kind)
        plane, full = rate.stability(phi, a, B, Q), rate.balanced_spectrum(phi, a, B, Q)
        numbers = (plane.kappa, plane.gamma, plane.block, full.greatest)
        measured = found[(kind, a, threshold)]
        result.append(Row(kind, a, threshold, *map(float, (*numbers, *measured))))
    return result


def diagrams() -> list[Any]:
    """Two phase diagrams, with simulations on a coarse grid."""
    asked = (
        Sweep(threshold=(0.0, 1.0), a=(-0.6, 0.6)),
        Sweep(gain=(1.0, 12.0), threshold=(0.0, 1.0), a=(EXCITED,)),
    )
    found = []
    how: Any = dict(progress=False, on_failure="ignore")
    for settings in asked:
        theory = hx.sweep(settings.theory(), settings.grid(), **how)
        beside = hx.sweep(settings.simulation(), settings.coarse_grid(), **how)
        found.append(together(theory, beside, settings.asked()))
    return found


def crosstalk(draws: int) -> tuple[float, float, float, float]:
    """Deviation of the current in memories from its targets, over random sets: predicted, measured
    and its error; and the largest derivative with the projection design."""
    phi = phi_of(0.2)
    deviations, residual = [], 0.0
    for draw in range(draws):
        patterns = hx.patterns.sparse(jr.fold_in(jr.key(7), draw), RANDOM, NEURONS, Q)
        deviations.append(_deviation(patterns, phi))
        exact = hx.RateMemory(patterns, a=INHIBITED, b=B)
        residual = max(residual, _residual(exact, 0))
    values = np.array(deviations)
    predicted = rate.crosstalk(phi, INHIBITED, B, Q, RANDOM, NEURONS)
    error = float(values.std(ddof=1) / len(values) ** 0.5)
    measured = float((values**2).mean() ** 0.5)
    return float(predicted.deviation), measured, error, residual


@jitted
def _deviation(patterns, phi):
    """Root mean square of the current minus its target, over all memories and neurons, for weights
    that take the activity and overlap of the design for granted (r = q)."""
    made = rate.design(phi, INHIBITED, B, Q)
    xi = patterns.xi
    centred = xi - made.beta
    rates = made.silent + (made.active - made.silent) * xi  # (P, N)
    N = xi.shape[1]
    currents = made.alpha / N * (rates @ centred.T) @ centred
    currents = currents + made.gamma * rates.mean(1, keepdims=True)
    target = INHIBITED + (B - INHIBITED) * xi
    return jnp.sqrt(((currents - target) ** 2).mean())
