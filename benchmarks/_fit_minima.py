"""Random truths, seen through noise, and fits from random starts: is the global minimum found?"""

import statistics
import time
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import hopfax as hx

P, N, SAVES = 4, 16, 201
AWAY = 0.3  # of every parameter, at most, is where a fit begins
LONGEST = 20  # dwells
NOISE = (0.02, 0.2)
GAP = 0.15  # of the trace, which is not observed
PULSE = 0.05  # of the current of a pulse
ROUNDING = 1e-3  # of a loss


def _three(network):
    return network.kappa, network.tau, network.bias


KINDS = {
    "kappa": ("overlaps", lambda network: network.kappa),
    "three": ("overlaps", _three),
    "transition": ("saliency", lambda network: network.transition),
}


class Case(NamedTuple):
    """A network, where a fit of it begins, what was seen of it, and over how many dwells."""

    network: hx.TwoTimescaleHopfield
    guess: hx.TwoTimescaleHopfield
    loss: hx.losses.Recording
    dwells: int


def case(kind: str, seed: int) -> Case:
    """Traces over 1 to 20 dwells with a gap; of every fourth truth with a pulse, too."""
    of, where = KINDS[kind]
    rng = np.random.default_rng(seed)
    kappa, tau, bias = rng.uniform(3.6, 6.0), rng.uniform(20.0, 50.0), rng.uniform(0.005, 0.03)
    patterns = hx.patterns.hadamard(list(range(1, P + 1)), N)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(P), kappa=kappa, tau=tau, bias=bias)
    dwells = int(rng.integers(1, LONGEST + 1))
    init = dict(saliency=4.0 * np.eye(P)[0])
    whole = hx.simulate(network, network.init(**init), [0.0, 3000.0], throw=False)
    end = float(hx.observables.switch_times(whole)[dwells - 1]) + 0.5 * tau
    ts, options = np.linspace(0.0, end, SAVES), {}
    if seed % 4 == 3:
        values = np.zeros((3, N))
        values[1] = PULSE * patterns.xi[int(rng.integers(P))]
        options["current"] = hx.Pulses([0.0, 0.3 * end, 0.4 * end, end], values)
    run = hx.simulate(network, network.init(**init), ts, throw=False, **options)
    noise = rng.uniform(*NOISE)
    seen = np.array(getattr(run, of)) + noise * rng.normal(size=(SAVES, P))
    first = int(rng.uniform(0.2, 0.8 - GAP) * SAVES)
    seen[first : first + int(GAP * SAVES)] = np.nan
    observed = hx.losses.saliency_path if of == "saliency" else hx.losses.overlap_path
    loss = observed(ts, seen, init=init, sigma=noise, **options)
    return Case(network, _moved(network, where, rng), loss, dwells)


def _moved(network, where, rng):
    """The network with each of these parameters off by up to 30 %, and zeros by up to 0.3."""
    values = where(network)

    def moved(value):
        draws = rng.uniform(-AWAY, AWAY, value.shape)
        return jnp.where(value == 0, draws, value * (1 + draws))

    several = isinstance(values, tuple)
    return eqx.tree_at(where, network, tuple(map(moved, values)) if several else moved(values))


def attempt(kind: str, seed: int) -> dict:
    """Whether a fit comes as low as the truth, what it says of itself, and its seconds."""
    given = case(kind, seed)
    true = float(hx.losses.value(given.loss(given.network)))
    begin = time.perf_counter()
    found = hx.fit(
        given.guess,
        given.loss,
        where=KINDS[kind][1],
        constraint=None if kind == "transition" else hx.constraints.Positive(),
        absolute_sigma=True,
        progress=False,
    )
    # Rounding of the simulation; the minimum lies below the truth wherever there is noise.
    arrived = float(found.loss) <= true + ROUNDING
    assert found.goodness is not None
    fine = not bool(found.goodness.poor)
    return {
        "arrived": arrived,
        "first_arrived": float(found.losses[0]) <= true + ROUNDING,
        "warned": not arrived and not fine,
        "unsaid": not arrived and fine,
        "alarm": arrived and not fine,
        "seconds": time.perf_counter() - begin,
        "first": float(found.losses[0]),
        "loss": float(found.loss),
        "true": true,
        "p_value": float(found.goodness.p_value),
        "dwells": given.dwells,
    }


def table(rows: list[dict]) -> dict:
    """How many of these truths are found."""
    times = [row["seconds"] for row in rows]
    names = ("arrived", "first_arrived", "warned", "unsaid", "alarm")
    counts = {name: sum(row[name] for row in rows) for name in names}
    return counts | {"median_s": statistics.median(times), "max_s": max(times)}
