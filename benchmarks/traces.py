"""Do slow traces keep a long history, as contexts do? `python -m benchmarks.traces [--seeds 20]`

Cycles of 15 entries, five memories three times each, in random order. Contexts: `fit_sequence`,
proved by simulation. Traces: each saliency is a sum over several time scales,

$$z = \\sum_k z^{(k)}, \\qquad \\tau_k \\dot z^{(k)} = -z^{(k)} + A^{(k)} m,$$

so that slow ones tell by how far they have faded where in the cycle one is. In the limit of fast
handovers the saliencies along a cycle of given dwells are linear in all $A^{(k)}$, so whether there
are any that lead along it is a linear program, whose answer is exact: the gains of largest margin
by which each next memory exceeds all others, none above a bound. Those found are then run, event by
event, from saliencies that are wrong by a given share.
"""

import argparse

import jax
import numpy as np
from scipy.optimize import linprog

import hopfax as hx

from ._measure import report
from .sequences import network, shown, thrice

MEMORIES = 5
SCALES = {"one": (1.0,), "two": (1.0, 4.0), "three": (1.0, 3.0, 9.0), "four": (1.0, 2.5, 6.0, 15.0)}
DWELLS = (0.8, 1.0, 1.3, 1.6, 2.0)  # in the fastest of the slow time constants
LARGEST = 100.0  # gain
FINE = 2000  # looks at a dwell


def response(order: list[int], T: float, tau: np.ndarray, since: float) -> np.ndarray:
    """How the traces at `since` after the beginning of each entry depend on the gains from each
    memory, in the steady cycle: (entries, scales, memories)."""
    L, found = len(order), np.zeros((len(order), tau.size, MEMORIES))
    whole = -np.expm1(-L * T / tau)
    for n in range(L):
        for back in range(L):
            source = order[(n - 1 - back) % L]
            left = -np.expm1(-T / tau) * np.exp(-(back * T + since) / tau) / whole
            found[n, :, source] += left
        found[n, :, order[n]] += -np.expm1(-since / tau)
    return found


def designed(order: list[int], T: float, tau: np.ndarray) -> tuple[float, np.ndarray | None]:
    """The largest margin, and the gains that have it: (scales, memories to, memories from)."""
    L, K, P = len(order), tau.size, MEMORIES
    end, middle = response(order, T, tau, T), response(order, T, tau, T / 2)
    size = K * P * P

    def row(given: np.ndarray, memory: int, margin: float) -> np.ndarray:
        entry = np.zeros((K, P, P))
        entry[:, memory] = given
        return np.append(entry.ravel(), margin)

    above, least, equal = [], [], []
    for n in range(L):
        now, following = order[n], order[(n + 1) % L]
        equal.append(row(end[n], now, 0.0))
        above += [-row(middle[n], now, -1.0), -row(end[n], following, -1.0)]
        least += [-1.0, -1.0]
        for other in set(range(P)) - {now, following}:
            above.append(row(end[n], other, 1.0) - row(end[n], following, 0.0))
            least.append(0.0)
    bounds = [(-LARGEST, LARGEST)] * size + [(None, None)]
    found = linprog(
        -np.eye(size + 1)[-1], np.array(above), least, np.array(equal), np.ones(L), bounds
    )
    if found.x is None or found.x[-1] <= 1e-9:
        return 0.0, None
    return float(found.x[-1]), found.x[:-1].reshape(K, P, P)


def follows(order: list[int], T: float, tau: np.ndarray, gains: np.ndarray, wrong, rng) -> bool:
    """Whether the event map goes twice around, from traces that are wrong by this share."""
    entry = response(order, T, tau, 0.0)[0]
    traces = np.einsum("kij,kj->ki", gains, entry)
    traces = traces * (1 + wrong * rng.standard_normal(traces.shape))
    now, ts = order[0], np.linspace(0.0, 8 * T, FINE)
    for n in range(1, 2 * len(order) + 1):
        drive = gains[:, :, now]
        path = drive + (traces - drive) * np.exp(-ts[:, None, None] / tau[:, None])
        below = path.sum(axis=1)[:, now] < 1.0
        if below[0] or not below.any():
            return False
        high = np.argmax(below)
        low, t = ts[high - 1], ts[high]
        for _ in range(50):
            mean = (low + t) / 2
            z = drive + (traces - drive) * np.exp(-mean / tau[:, None])
            low, t = (low, mean) if z.sum(axis=0)[now] < 1.0 else (mean, t)
        traces = drive + (traces - drive) * np.exp(-t / tau[:, None])
        z = traces.sum(axis=0)
        z[now] = -np.inf
        now = int(np.argmax(z))
        if now != order[n % len(order)] or z[now] <= 1.0:
            return False
    return True


def main() -> None:
    """A row for contexts, and one for each number of time scales."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    orders = [thrice(MEMORIES, seed) for seed in range(given.seeds)]
    for name, scales in SCALES.items():
        tau = np.array(scales)
        margins, exact, share = [], 0, {0.001: 0, 0.01: 0, 0.05: 0}
        for seed, order in enumerate(orders):
            found = [(*designed(order, T, tau), T) for T in DWELLS]
            margin, gains, T = max(found, key=lambda each: each[0])
            if gains is None:
                continue
            margins.append(margin / float(np.exp(T)))  # of the saliency at entry
            exact += follows(order, T, tau, gains, 0.0, np.random.default_rng(seed))
            for wrong in share:
                share[wrong] += follows(order, T, tau, gains, wrong, np.random.default_rng(seed))
        row = {"of": len(orders), "gains_exist": len(margins), "run": exact}
        row |= {f"run_from_{wrong:g}": count for wrong, count in share.items()}
        margin = float(np.median(margins)) if margins else 0.0
        report("traces", scales=name, parameters=tau.size * MEMORIES**2, margin=margin, **row)
    right = 0
    for seed, order in enumerate(orders):
        found = hx.fit_sequence(network(MEMORIES), order, memory="contexts", progress=False)
        seen = shown(found, 2 * len(order), seed)
        right += seen[: 2 * len(order) + 1] == [*order, *order, order[0]]
    report("traces", scales="contexts", of=len(orders), run_from_noise=right)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
