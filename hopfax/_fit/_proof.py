"""Whether a network shows a sequence, by its own simulation."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._engines import Auto, Diffrax, EventDriven
from .._simulate import simulate
from .._trajectory import Trajectory
from ..losses import Events
from ..networks import TwoTimescaleHopfield
from ..observables import switch_times, visited
from ._trial import Trial

ROUNDS = 2  # of a cycle that are looked at
_LONGEST = 2.5  # a dwell that long, in slow time constants, is one too long


def look(trial: Trial, targets: Sequence[Events]) -> tuple[float, float]:
    """How much of the targets a simulation shows, and the largest error of a switch time.

    **Returns:** the score of the worst sequence, see `compare`, and the error, NaN without times.
    """
    scores, errors = [], []
    for events, saliency in zip(targets, trial.saliency, strict=True):
        score, error = compare(replay(trial.network, saliency, events), events)
        scores.append(score)
        errors.append(error)
    return min(scores), float(np.max(errors))


def replay(
    network: TwoTimescaleHopfield, saliency: Float[Array, " P"], events: Events
) -> Trajectory:
    """The network's own run, long enough to show a sequence (a cycle twice)."""
    tau = float(np.max(np.asarray(network.tau)))
    count = events.switches[0].size * (ROUNDS if events.cycle else 1)
    end = (count + 1) * _LONGEST * tau
    if events.time is not None:
        known = (events.end, events.until, events.time[-1])
        last = float(next(time for time in known if time is not None))
        whole = last - float(events.time[0])
        end = (ROUNDS if events.cycle else 1) * whole + 3 * whole / events.memory.size
    slots = 1 << max(2 * count, 32).bit_length()
    method = Auto(EventDriven(switches=slots), Diffrax(switches=slots))
    ts = jnp.array([0.0, end], network.patterns.xi.dtype)
    return simulate(network, network.init(saliency=saliency), ts, method=method, throw=False)


def compare(run: Trajectory, events: Events) -> tuple[float, float]:
    """The share of transitions that are as they should be, up to the first that is not; and the
    largest error of their times, that of the end included (NaN without times, or if some
    transitions are missing)."""
    target = events.repeated(ROUNDS) if events.cycle else events
    wanted, seen = np.asarray(target.memory), np.asarray(visited(run))
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
