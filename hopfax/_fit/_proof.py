"""Whether a network shows a sequence, by its own simulation."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._engines import Auto, Diffrax, EventDriven
from .._simulate import simulate
from .._trajectory import Trajectory
from ..losses import Events
from ..observables import switch_times, visited
from ._moving import Moving, slope
from ._trial import Trial

ROUNDS = 2  # of a cycle that are looked at
_LONGEST = 2.5  # a dwell that long, in slow time constants, is one too long, unless a gain is high
_ENOUGH = 5.0  # however high


def look(
    trial: Trial,
    targets: Sequence[Events],
    items: np.ndarray | None = None,
    lengths: Sequence[int] | None = None,
) -> tuple[float, float]:
    """How much of the targets a simulation shows, and the largest error of a switch time.

    **Arguments:** `items`: which item each memory shows, by default its own number. `lengths`: of
    how many entries of each target runs are made; by default of all.

    **Returns:** the score of the worst sequence, see `compare`, and the error, NaN without times.
    """
    lengths = [events.memory.size for events in targets] if lengths is None else lengths
    parts = [
        events if events.memory.size == length else Events(events.memory[:length])
        for events, length in zip(targets, lengths, strict=True)
    ]
    starts = [np.asarray(saliency).tobytes() for saliency in trial.saliency]
    runs: dict[bytes, Trajectory] = {}  # one for all that start alike, long enough for each
    for k in sorted(range(len(parts)), key=lambda k: -_length(trial.network, parts[k])):
        if starts[k] not in runs:
            runs[starts[k]] = replay(trial.network, trial.saliency[k], parts[k])
    seen = [compare(runs[z], events, items) for z, events in zip(starts, targets, strict=True)]
    return min(score for score, _ in seen), float(np.max([error for _, error in seen]))


def without_end(events: Events) -> Events:
    """An open sequence whose last memory may stay: where no memory comes after it, it gives way to
    none, and a log of switches does not tell when."""
    return events if events.cycle else Events(events.memory, events.time)


def replay(network: Moving, saliency: Float[Array, " P"], events: Events) -> Trajectory:
    """The network's own run, long enough to show a sequence (a cycle twice)."""
    count = events.switches[0].size * (ROUNDS if events.cycle else 1)
    slots = 1 << max(2 * count, 32).bit_length()
    method = Auto(EventDriven(switches=slots), Diffrax(switches=slots))
    ts = jnp.array([0.0, _length(network, events)], network.patterns.xi.dtype)
    return simulate(network, network.init(saliency=saliency), ts, method=method, throw=False)


def _length(network: Moving, events: Events) -> float:
    """How long such a run is."""
    rounds = ROUNDS if events.cycle else 1
    if events.time is None:
        tau = float(np.max(np.asarray(network.tau)))
        gain = np.max(np.asarray(network.kappa * network.transition.T))
        gain = gain * slope(network)
        stay = np.clip(np.log(max(gain, 1.0)) + 0.5, _LONGEST, _ENOUGH)  # the steady one is less
        return float((rounds * events.switches[0].size + 1) * stay * tau)
    known = (events.end, events.until, events.time[-1])
    last = float(next(time for time in known if time is not None))
    whole = last - float(events.time[0])
    return rounds * whole + 3 * whole / events.memory.size


def compare(
    run: Trajectory, events: Events, items: np.ndarray | None = None
) -> tuple[float, float]:
    """The share of transitions that are as they should be, up to the first that is not; and the
    largest error of their times, that of the end included (NaN without times, or if some
    transitions are missing)."""
    target = events.repeated(ROUNDS) if events.cycle else events
    wanted, seen = np.asarray(target.memory), np.asarray(visited(run, items))
    if events.cycle:
        wanted = np.append(wanted, wanted[0])
    count = min(len(wanted), len(seen))
    right = np.cumprod(wanted[:count] == seen[:count]).sum()
    score = max(right - 1, 0) / (len(wanted) - 1)
    if events.time is None or score < 1:
        return float(score), float("nan")
    times, found = target.switches[1], np.asarray(switch_times(run))
    assert times is not None and target.time is not None
    times = np.asarray(times)
    if target.end is not None and not events.cycle:
        times = np.append(times, target.end)
    begin = float(target.time[0])
    # A switch that does not take place does so after the end of the run.
    found = np.append(found, np.full(len(times) + 1, float(run.ts[-1])))
    errors = np.abs(found[: len(times)] - (times - begin))
    if target.until is not None:
        errors = np.append(errors, max(float(target.until) - begin - found[len(times)], 0.0))
    return 1.0, float(errors.max())
