"""How long a noisy run stays in a memory, and what many runs say of that."""

import dataclasses
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import as_float, as_number, check_option, shown
from .._programs import jitted
from .._report import Report, Reported
from .._trajectory import RETRIEVED, Trajectory
from .._types import ArrayLike, is_concrete
from ._sequence import _check_run

_STAYS = 64  # of a run that are kept
_Mean: TypeAlias = tuple[float, float, float, float, float]  # with error, interval and its limit
_Curve: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Stays(NamedTuple):
    """The stays of a run in memories, one after another.

    - `memory`: in which, -1 where there is none.
    - `time`: for how long, NaN where there is none.
    - `left`: whether the run left it. A stay that the end of the run cut short is censored: it
      lasts at least that long.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.stays(run).left  # True, True, True, False
    ```
    """

    memory: Int[Array, "... K"]
    time: Float[Array, "... K"]
    left: Bool[Array, "... K"]


def stays(trajectory: Trajectory, level: ArrayLike = 0.25) -> Stays:
    r"""How long a run stayed in each memory that it came to, and whether it left.

    A stay in memory $\mu$ begins where $|m_\mu|$ is the largest overlap and above 1/2 (or with the
    run), and ends where $m_\mu$, with the sign that it had, falls below `level`; both moments are
    interpolated linearly between saves, which must be close enough together to show them. Between
    1/2 and `level` nothing changes, so that fluctuations do not count as departures. Runs turn back
    from the saddle between two wells half of the time: a level well beyond it counts those alone
    that reach the other side. An excursion between two saves is not seen, which lengthens stays
    where noise is strong at the level itself: halve the spacing to see by how much.

    **Arguments:**

    - `trajectory`: a run, or a batch of runs as `jax.vmap` over keys makes it.
    - `level`: the overlap below which a memory is left, < 1/2.

    **Returns:** `Stays`, the first 64, under a trace or for a batch padded to that number. A run
    that failed counts up to its last good save.

    **Raises:** TypeError or ValueError for what is no run, or a `level`
    that is no number below 1/2.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    found = hx.observables.stays(run)
    found.memory, found.left  # [0, 1, 2, 3], [True, True, True, False]
    ```
    """
    _check_run(trajectory, "stays", batch=True)
    level = as_float(level, "level", trajectory.overlaps.dtype)
    if level.ndim or (is_concrete(level) and not float(level) < RETRIEVED):
        raise ValueError(f"`level` must be one number below {RETRIEVED}, got {shown(level)}.")
    run = _stays
    for _ in trajectory.overlaps.shape[:-2]:
        run = jax.vmap(run, (0, 0, None))
    found = run(trajectory.ts, trajectory.overlaps, level)
    if trajectory.overlaps.ndim > 2 or not is_concrete(found.time):
        return found
    return Stays(*(part[np.asarray(found.memory) >= 0] for part in found))


class _Now(NamedTuple):
    """The stay in which a run is: memory (-1 for none), the sign of its overlap, its begin."""

    memory: Array
    sign: Array
    begin: Array


@jitted
def _stays(ts, overlaps, level) -> Stays:
    there = jnp.isfinite(overlaps).all(1) & jnp.isfinite(ts)
    zero, none = jnp.zeros((), ts.dtype), jnp.asarray(-1, jnp.int32)

    def step(now: _Now, save):
        (t0, t), (before, m), good = save
        lasting = now.memory >= 0
        own0, own = (now.sign * each[now.memory] for each in (before, m))
        left = lasting & good & (own < level)
        ended = _crossing(t0, t, own0, own, level)
        found = _Record(left, now.memory, ended - now.begin)
        leader = jnp.argmax(jnp.abs(m)).astype(jnp.int32)
        enters = good & (left | ~lasting) & (jnp.abs(m[leader]) > RETRIEVED)
        begin = _crossing(t0, t, jnp.abs(before[leader]), jnp.abs(m[leader]), RETRIEVED)
        begin = jnp.where(left, jnp.maximum(begin, ended), begin)
        new = _Now(leader, jnp.sign(m[leader]), begin)
        out = _Now(jnp.where(left, none, now.memory), now.sign, now.begin)
        return jax.tree.map(lambda a, b: jnp.where(enters, a, b), new, out), found

    def pairs(values):
        return jnp.concatenate([values[:1], values[:-1]]), values

    saves = pairs(ts), pairs(overlaps), there
    now, found = jax.lax.scan(step, _Now(none, zero, zero), saves)
    end = jnp.max(jnp.where(there, ts, -jnp.inf))
    last = _Record(now.memory >= 0, now.memory, end - now.begin)
    found = jax.tree.map(lambda many, one: jnp.append(many, one), found, last)
    gone = jnp.arange(found.there.size) < found.there.size - 1
    size = min(_STAYS, found.there.size)
    first = jnp.argsort(~found.there, stable=True)[:size]
    kept = found.there[first]
    return Stays(
        jnp.where(kept, found.memory[first], -1),
        jnp.where(kept, found.time[first], jnp.nan),
        kept & gone[first],
    )


class _Record(NamedTuple):
    """At a save: whether a stay ended, in which memory, and how long it was."""

    there: Array
    memory: Array
    time: Array


def _crossing(t0, t, before, after, level):
    """When a line between two values is at a level; the later time if it does not cross it."""
    part = (before - level) / jnp.where(before == after, 1.0, before - after)
    return t0 + jnp.where((part >= 0) & (part <= 1) & (before != after), part, 1.0) * (t - t0)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Residence(Reported):
    r"""The time of residence in a memory, from stays of which some are censored.

    - `mean`, `stderr`, and `low`, `high`, its confidence interval at `confidence`.
    - `until`: the time up to which the mean counts a stay, $E[\min(t, \text{until})]$; infinite
      where it is the mean itself.
    - `count`: of stays; `left`: of those that were seen to end; the others are censored.
    - `times`, `survival`, `survival_low`, `survival_high`: Kaplan and Meier's estimate of the
      share of stays that last longer than each of `times`, with its confidence interval.

    **Example:**

    ```python
    found = hx.observables.residence([3.0, 5.0, 8.0, 8.0], [True, True, True, False])
    found.mean, found.until, found.left  # 6.0, 8.0, 3
    found.quantile(0.5)  # 5.0
    ```
    """

    law: str | None
    confidence: float
    mean: float
    stderr: float
    low: float
    high: float
    until: float
    count: int
    left: int
    times: np.ndarray
    survival: np.ndarray
    survival_low: np.ndarray
    survival_high: np.ndarray

    def quantile(self, part: float) -> float:
        """The time by which this part of the stays has ended, by Kaplan and Meier's estimate; NaN
        where so many were not seen to end."""
        part = as_number(part, "part")
        if not 0 < part < 1:
            raise ValueError(f"`part` must lie between 0 and 1, got {part}.")
        # Rounding of a product of many ratios must not decide.
        ended = np.flatnonzero(self.survival <= 1 - part + 1e-12)
        return float(self.times[ended[0]]) if ended.size else float("nan")

    def _report(self) -> Report:
        law = "exponential law" if self.law else "Kaplan and Meier's estimate"
        bound = "" if np.isinf(self.until) else f", of stays cut at {self.until:.6g}"
        rows = [
            ("mean", f"{self.mean:.6g} +- {self.stderr:.2g}{bound} ({law})"),
            (f"{self.confidence:.0%} interval", f"{self.low:.6g} to {self.high:.6g}"),
            ("median", f"{self.quantile(0.5):.6g}"),
        ]
        return Report(f"{self.count} stays, {self.count - self.left} of them censored", rows)


def residence(
    times: ArrayLike,
    left: ArrayLike,
    *,
    law: Literal["exponential"] | None = None,
    confidence: float = 0.95,
) -> Residence:
    r"""The time of residence in a memory: mean, quantiles and confidence intervals, from stays that
    were seen to end and such that were not.

    The share S(t) of stays that last longer than t is Kaplan and Meier's, with the interval of
    $\log(-\log S)$ and Greenwood's variance. Without a `law` the mean is the area under it, up to
    the longest stay if that is censored. Under an exponential law, that of rare escapes by noise
    from a memory which does not move, it is the maximum-likelihood estimate $T/d$, of d departures
    in the time T of all stays together, with standard error $T/d^{3/2}$ and the interval
    $2 T / \chi^2_{2d+2}$ to $2 T / \chi^2_{2d}$. Dwells in a moving sequence follow no such law.
    Kaplan, Meier 1958; Epstein, Sobel 1953.

    **Arguments:**

    - `times`, `left`: of `stays` of a batch of runs, or of a sweep over seeds, `hopfax.sweep(
      hopfax.Point(..., noise=..., observe=hopfax.observables.stays), {"seed": range(100)})`; of any
      shape, NaN for no stay. (`hopfax.ensemble` of that point gives the result without a `law`.)
    - `law`: None or "exponential".
    - `confidence`: of the intervals.

    **Returns:** a `Residence`. Where no stay ended, `mean` is `until` without a law and infinite
    under one, which still bounds it from below; what is not known is NaN.

    **Raises:** ValueError for arguments of different shapes, no stays, negative times, or a
    `confidence` outside (0, 1).

    **Example:**

    ```python
    times, left = [30.0, 50.0, 80.0, 80.0], [True, True, True, False]
    hx.observables.residence(times, left).mean  # 60, of stays cut at 80
    found = hx.observables.residence(times, left, law="exponential")
    found.mean, found.low, found.high  # 80, 27.4, 387.9
    ```
    """
    confidence = as_number(confidence, "confidence")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1, got {confidence}.")
    check_option(law, "law", (None, "exponential"))
    time, gone = _listed(times, left)
    curve = _kaplan_meier(time, gone, confidence)
    estimate = _exponential if law else _area
    mean = estimate(time, gone, confidence)
    return Residence(law, confidence, *mean, time.size, int(gone.sum()), *curve)


def _listed(times: Any, left: Any) -> tuple[np.ndarray, np.ndarray]:
    """All stays that there are. **Raises:** ValueError naming the argument at fault."""
    time, gone = np.asarray(times, float), np.asarray(left)
    if time.shape != gone.shape:
        raise ValueError(
            f"`left` must have the shape of `times`, {time.shape}, but has {gone.shape}."
        )
    if gone.dtype != bool and not np.isin(gone, (0, 1)).all():
        raise ValueError(f"`left` must be true or false for each stay, got {shown(left)}.")
    there = ~np.isnan(time)
    time, gone = time[there], gone[there].astype(bool)
    if not time.size:
        raise ValueError("`times` has no stay: it is empty, or NaN throughout.")
    if not ((time >= 0) & np.isfinite(time)).all():
        raise ValueError(f"`times` must be finite and not negative, got {shown(times)}.")
    return time, gone


def _counts(time: np.ndarray, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The times at which stays ended, how many did, and how many lasted until then."""
    at, ended = np.unique(time[gone], return_counts=True)
    return at, ended, time.size - np.searchsorted(np.sort(time), at)


def _kaplan_meier(time: np.ndarray, gone: np.ndarray, confidence: float) -> _Curve:
    """The times at which stays ended, the share that lasts longer, and its interval."""
    from scipy.special import ndtri

    at, ended, open_ = _counts(time, gone)
    survival = np.cumprod(1 - ended / open_)
    inner = (survival > 0) & (survival < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(ended / (open_ * (open_ - ended)))
        width = ndtri((1 + confidence) / 2) * np.sqrt(greenwood) / np.abs(np.log(survival))
        low, high = (np.where(inner, survival ** np.exp(s * width), np.nan) for s in (1, -1))
    return at, survival, low, high


def _area(time: np.ndarray, gone: np.ndarray, confidence: float) -> _Mean:
    """The mean as the area under the estimate of survival."""
    from scipy.special import ndtri

    at, ended, open_ = _counts(time, gone)
    last = float(time.max())
    survival = np.append(1.0, np.cumprod(1 - ended / open_))
    pieces = survival * np.diff(np.concatenate([[0.0], at, [last]]))
    mean = float(pieces.sum())
    beyond = np.cumsum(pieces[::-1])[::-1][1:]  # the area after each departure
    some = open_ > ended
    weight = np.where(some, ended / np.where(some, open_ * (open_ - ended), 1), 0.0)
    d = ended.sum()
    stderr = float(np.sqrt((beyond**2 * weight).sum() * d / (d - 1))) if d > 1 else float("nan")
    half = float(ndtri((1 + confidence) / 2)) * stderr
    until = float("inf") if survival[-1] == 0 else last
    return mean, stderr, mean - half, mean + half, until


def _exponential(time: np.ndarray, gone: np.ndarray, confidence: float) -> _Mean:
    """The maximum-likelihood mean of an exponential law."""
    from scipy.special import gammaincinv

    total, d = float(time.sum()), int(gone.sum())
    low = total / float(gammaincinv(d + 1, (1 + confidence) / 2))
    if d == 0:
        return float("inf"), float("nan"), low, float("inf"), float("inf")
    high = total / float(gammaincinv(d, (1 - confidence) / 2))
    return total / d, total / d**1.5, low, high, float("inf")
