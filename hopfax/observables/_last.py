"""The last memory of a run: since when it was retrieved, and when it let go."""

from typing import NamedTuple

import numpy as np

from .._trajectory import RETRIEVED, Trajectory
from ._sequence import REGIMES, classify


class Last(NamedTuple):
    """What a run shows of its end, in NumPy, at the saves that were reached.

    - `ts`, `m`, `z`: times (T,), overlaps (T, P), saliencies (T, P) or None.
    - `memory`: the one that was retrieved last, -1 if there was none. `before`: the one before it,
      -1 for the first. `visits`: how many there were. `since`: when it took the lead.
    - `first`, `held`: the saves from the first to the last at which it was retrieved.
    - `end`: when it let go; NaN if it was there at the last save.
    - `regime`: as `classify` has it.
    - `small`: overlaps of at most this size are rounding.
    """

    ts: np.ndarray
    m: np.ndarray
    z: np.ndarray | None
    memory: int
    before: int
    visits: int
    since: float
    first: int
    held: int
    end: float
    regime: str
    small: float

    @property
    def others(self) -> np.ndarray:
        """The numbers of all memories but the last."""
        return np.delete(np.arange(self.m.shape[1]), max(self.memory, 0))

    def saliency_at(self, t: float) -> np.ndarray:
        """The saliencies between two saves, which lie close on the scale of `tau`."""
        assert self.z is not None
        return np.array([np.interp(t, self.ts, column) for column in self.z.T])

    @property
    def blend(self) -> slice | None:
        """The saves of the first rest in a mixture since the last memory took the lead: the same
        overlaps, of two memories or more that are new, lie between 1/4 and 3/4, and none is nearly
        1: memories that resemble the active one overlap with it as well."""
        size = np.abs(self.m)
        between = (size > 0.25) & (size < 0.75) & (size.max(axis=1) < 0.9)[:, None]
        if self.before >= 0:
            between &= np.arange(size.shape[1]) != self.before  # else it is a handover
        begin = None
        for k in range(self.first, len(self.ts) + 1):
            going = k < len(self.ts) and between[k].sum() >= 2
            same = going and begin is not None and (between[k] == between[begin]).all()
            if begin is not None and not same:
                long = self.ts[k - 1] - self.ts[begin] >= _REST
                later = size[k:].max(initial=0.0)
                if k - begin >= _SAVES and long and later < 0.9:  # else one memory won
                    return slice(begin, k)
                begin = None
            if going and begin is None:
                begin = k
        return None

    @property
    def at_rest(self) -> bool:
        """Whether the overlaps stood still at the end, for a tenth of the run at least."""
        late = self.m[self.ts >= self.ts[-1] - max(0.1 * (self.ts[-1] - self.ts[0]), _REST)]
        return len(late) >= _SAVES and bool(np.ptp(late, axis=0).max() < _STILL)


_STILL = 0.02  # change of an overlap: more than a memory changes while its saliency decays
_REST = 5.0  # fast time constants: the field relaxes in one, and only a rest lasts so long
_SAVES = 3


def last_of(trajectory: Trajectory) -> Last | None:
    """The end of a run; None if no save was reached."""
    m = np.asarray(trajectory.overlaps, float)
    there = np.isfinite(m).all(axis=1)
    if not there.any():
        return None
    ts, m = np.asarray(trajectory.ts, float)[there], m[there]
    z = None if trajectory.saliency is None else np.asarray(trajectory.saliency, float)[there]
    log = trajectory.switches
    kept = np.flatnonzero(np.asarray(log.retrieved) & np.isfinite(np.asarray(log.time)))
    kept = kept[np.argsort(np.asarray(log.time)[kept])]
    start = int(np.abs(m[0]).argmax())
    path = [start] if abs(m[0, start]) > RETRIEVED else []
    path += np.asarray(log.target)[kept].tolist()
    since = float(np.asarray(log.time)[kept[-1]]) if kept.size else float(ts[0])
    memory = path[-1] if path else -1
    first = min(int(np.searchsorted(ts, since)), len(ts) - 1)
    large = np.flatnonzero(np.abs(m[first:, memory]) > RETRIEVED) if path else np.empty(0, int)
    held = first + int(large[-1]) if large.size else first
    gone = held + 1 < len(ts) or not large.size
    end = float(ts[min(held + 1, len(ts) - 1)]) if gone else float("nan")
    if gone and trajectory.escapes is not None:
        escapes = np.asarray(trajectory.escapes, float)
        own = escapes[np.isfinite(escapes) & (escapes >= since) & (escapes <= end)]
        end = float(own[-1]) if own.size else end
    before = path[-2] if len(path) > 1 else -1
    regime = REGIMES[int(classify(trajectory))]
    small = 64 * float(np.finfo(np.asarray(trajectory.overlaps).dtype).eps)
    return Last(ts, m, z, memory, before, len(path), since, first, held, end, regime, small)
