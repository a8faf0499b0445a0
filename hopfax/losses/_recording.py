"""Losses of a recorded run: how it began, and what was seen of it."""

import abc
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._engines import Auto, Diffrax, EventDriven
from .._errors import as_float, check_at_least
from .._simulate import simulate
from .._trajectory import Trajectory
from .._types import ArrayLike, is_concrete
from ..networks import neurons_of
from ._base import LOST, AbstractLoss, Derivative, stack

_SLOTS = 64  # switches that a run logs by default
_MANY = 64  # classes beyond which transits are Runge-Kutta steps, to whose tolerance
_TIGHT = 1e-12  # derivatives are a thousand times more sensitive than times


class AbstractTerm(eqx.Module):
    """One kind of observation of a run."""

    @abc.abstractmethod
    def times(self) -> Float[Array, " S"]:
        """When the run must be saved."""

    @abc.abstractmethod
    def until(self) -> Float[Array, ""]:
        """How long the run must last."""

    @abc.abstractmethod
    def count(self) -> int:
        """How many switches the run must log."""

    @abc.abstractmethod
    def residuals(self, run: Trajectory, rows: Int[Array, " S"]) -> Float[Array, " R"]:
        """Differences over their standard deviations; `rows`: the saves at `times`."""


class SwitchTimes(AbstractTerm):
    """See `switch_times`."""

    time: Float[Array, " K"]
    order: Int[Array, " K"] | None
    sigma: Float[Array, "*#K"]

    def times(self):
        return jnp.zeros(0, self.time.dtype)

    def until(self):
        last = jnp.nanmax(self.time)
        return last + jnp.maximum(2 * last / self.time.size, 0.2 * last)

    def count(self):
        return self.time.size

    def residuals(self, run, rows):
        found = matched_switches(run, self.order, self.time.size)
        late = jnp.where(jnp.isnan(found), run.ts[-1], found)
        known = ~jnp.isnan(self.time)
        return jnp.where(known, late - jnp.where(known, self.time, 0.0), 0.0) / self.sigma


class DwellTimes(AbstractTerm):
    """See `dwell_times`."""

    dwell: Float[Array, " L"]
    order: Int[Array, " K"] | None
    sigma: Float[Array, "*#L"]

    def times(self):
        return jnp.zeros(0, self.dwell.dtype)

    def until(self):
        whole = jnp.nansum(self.dwell)
        return whole + 3 * whole / self.dwell.size

    def count(self):
        return self.dwell.size + 1

    def residuals(self, run, rows):
        found = matched_switches(run, self.order, self.dwell.size + 1)
        late = jnp.where(jnp.isnan(found), run.ts[-1], found)
        lost = jnp.isnan(found[1:]) & jnp.isnan(found[:-1])
        dwell = jnp.where(lost, run.ts[-1] - run.ts[0], jnp.diff(late))
        known = ~jnp.isnan(self.dwell)
        return jnp.where(known, dwell - jnp.where(known, self.dwell, 0.0), 0.0) / self.sigma


class Path(AbstractTerm):
    """See `saliency_path`, `overlap_path` and `field_path`."""

    ts: Float[Array, " T"]
    values: Float[Array, "T n"]
    sigma: Float[Array, "..."]
    of: str = eqx.field(static=True)

    def times(self):
        return self.ts

    def until(self):
        return self.ts[-1]

    def count(self):
        return 1

    def residuals(self, run, rows):
        path = {"saliency": run.saliency, "overlaps": run.overlaps, "field": run.observed}[self.of]
        if path is None:
            raise ValueError("`saliency_path` needs a network with saliency.")
        if path.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"`values` must have {path.shape[1]} columns for the {self.of}, got "
                f"{self.values.shape[1]}."
            )
        known = ~jnp.isnan(self.values)
        difference = path[rows] - jnp.where(known, self.values, 0.0)
        return (jnp.where(known, difference, 0.0) / self.sigma).ravel()


def matched_switches(run: Trajectory, order, count: int) -> Float[Array, " K"]:
    """The first `count` switches into a retrieved memory; NaN from the first that is missing or,
    if `order` is given, leads elsewhere."""
    log = run.switches
    first = jnp.argsort(~log.retrieved, stable=True)[:count]
    time = jnp.where(log.retrieved, log.time, jnp.nan)[first]
    right = log.retrieved[first]
    if order is not None:
        right = right & ((log.target[first] == order) | (order < 0))
    right = jnp.cumprod(right).astype(bool)
    return jnp.where(right, time, jnp.nan)


def _field(t, state, network):
    """The field, saved at every time."""
    return neurons_of(state)


class Recording(AbstractLoss):
    """A run, how it began, and what was seen of it. Made by the functions of `hopfax.losses`."""

    init: dict[str, Array]
    terms: tuple[AbstractTerm, ...]
    t0: Float[Array, ""]
    end: Float[Array, ""] | None
    stimulus: Any
    current: Any
    noise: Float[Array, ""] | None
    key: Any
    method: Any

    def run(self, network: Any, *, derivative: Derivative = "reverse") -> Trajectory:
        """The run of `network` that is compared, saved at the times that the terms need."""
        last = jnp.stack([term.until() for term in self.terms]).max()
        last = last if self.end is None else self.end
        ts = jnp.concatenate([self.t0[None], *(term.times() for term in self.terms), last[None]])
        paths = [term for term in self.terms if isinstance(term, Path)]
        return simulate(
            network,
            network.init(**self.init),
            jnp.sort(ts).astype(network.patterns.xi.dtype),
            stimulus=self.stimulus,
            current=self.current,
            noise=self.noise,
            key=self.key,
            method=self._method(network),
            derivative=derivative,
            observe=_field if any(term.of == "field" for term in paths) else None,
            throw=False,
        )

    def __call__(self, network: Any, *, derivative: Derivative = "reverse") -> Float[Array, " R"]:
        run = self.run(network, derivative=derivative)
        rows = (jnp.searchsorted(run.ts, term.times().astype(run.ts.dtype)) for term in self.terms)
        parts = [term.residuals(run, row) for term, row in zip(self.terms, rows, strict=True)]
        found = jnp.concatenate(parts)
        return jnp.where(jnp.isfinite(found), found, LOST)

    @property
    def sees_classes_only(self) -> bool:
        """Whether neurons with equal patterns stay equal and are not looked at one by one."""
        outside = (self.stimulus, self.current, self.noise)
        inside = set(self.init) <= {"saliency", "weights"}
        single = any(isinstance(term, Path) and term.of == "field" for term in self.terms)
        return inside and not single and all(part is None for part in outside)

    def _method(self, network: Any) -> Any:
        if self.method != "auto":
            return self.method
        count = max(term.count() for term in self.terms)
        slots = max(_SLOTS, 1 << (count + count // 4).bit_length())
        patterns = network.patterns
        many = min(patterns.N, 2 ** (patterns.P - 1)) > _MANY
        exact = EventDriven(tol=_TIGHT if many else 1e-9, switches=slots)
        return Auto(exact, Diffrax(switches=slots))


def same_run(*recordings: Recording) -> Recording:
    """Several losses of one and the same run, simulated once.

    **Arguments:** `recordings`: what the functions of this module return, for equal starts and
    inputs; those of the first are used, and the longest horizon.

    **Raises:** TypeError for anything else; ValueError if the starts are known to differ.
    """
    for recording in recordings:
        if not isinstance(recording, Recording):
            raise TypeError(f"`recordings` must be recordings, got {type(recording).__name__}.")
    first, *others = recordings
    ends = [r.end for r in recordings if r.end is not None]
    terms = first.terms
    for other in others:
        mine, its = (r for r in (first.init, other.init))
        known = all(is_concrete(leaf) for leaf in jax.tree.leaves((mine, its)))
        if set(mine) != set(its) or (
            known and any(not np.array_equal(mine[name], its[name]) for name in mine)
        ):
            raise ValueError("`recordings` must begin alike (`init`) to be of the same run.")
        terms = (*terms, *other.terms)
    end = jnp.stack(ends).max() if ends else None
    return Recording(
        first.init,
        terms,
        first.t0,
        end,
        first.stimulus,
        first.current,
        first.noise,
        first.key,
        first.method,
    )


def _recording(term: AbstractTerm, init: Mapping[str, ArrayLike], options: dict) -> Recording:
    if not isinstance(init, Mapping) or not init:
        raise TypeError(
            f"`init` must be a dict of arguments of network.init, e.g. dict(saliency=...), got "
            f"{init!r}."
        )
    known = {"t0", "end", "stimulus", "current", "noise", "key", "method"}
    if unknown := options.keys() - known:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {sorted(known)}.")
    noise, end = options.get("noise"), options.get("end")
    return Recording(
        {name: as_float(value, f"init.{name}") for name, value in init.items()},
        (term,),
        as_float(options.get("t0", 0.0), "t0"),
        None if end is None else as_float(end, "end"),
        options.get("stimulus"),
        options.get("current"),
        None if noise is None else as_float(noise, "noise"),
        options.get("key"),
        options.get("method", "auto"),
    )


def _sigma(sigma: ArrayLike, dtype) -> Array:
    sigma = as_float(sigma, "sigma", dtype)
    check_at_least(sigma, "sigma", 0.0, strict=True)
    return sigma


def _targets(order: Any, count: int) -> Array | None:
    if order is None:
        return None
    order = jnp.asarray(order, jnp.int32)
    if order.shape != (count,):
        raise ValueError(
            f"`order` must name the memory that each switch leads to, shape ({count},), got "
            f"{order.shape}. The memory of the start is not in it."
        )
    return order


def _vector(values: ArrayLike, name: str) -> Array:
    values = as_float(values, name)
    if values.ndim != 1 or values.size < 1:
        raise ValueError(f"`{name}` must be a vector of at least one time, got {values.shape}.")
    if is_concrete(values) and not np.isfinite(np.asarray(values)).any():
        raise ValueError(f"`{name}` holds no finite value.")
    return values


def switch_times(
    times: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    order: ArrayLike | None = None,
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""When memories give way to each other: $r_k = (t_k - \hat t_k)/\sigma_k$.

    $t_k$ is the network's $k$-th switch into a memory that is then retrieved, exact and with exact
    derivatives where the run is event-driven. A switch that does not take place, or leads
    elsewhere than `order` says, counts as one at the end of the run.

    **Where its gradient vanishes:** in all residuals from the first missing switch on; entirely if
    nothing moves (a locked or collapsed start). Then begin with `order` or `event_map`.

    **Arguments:**

    - `times`: (K,) the observed $\hat t_k$ in fast time constants; NaN for one not seen.
    - `init`: the start, as keyword arguments of `network.init`, e.g. `dict(saliency=...)`.
    - `order`: (K,) the memory that each switch leads to; -1 for any.
    - `sigma`: standard deviation of the observations, a scalar or (K,).
    - `run`: how the run is made: `t0` (0), `end` (a few dwells after the last time), `stimulus`,
        `current`, `noise` and `key` (a fixed path), `method`; as in `hopfax.simulate`.

    **Raises:** ValueError/TypeError naming the argument.
    """
    times = _vector(times, "times")
    term = SwitchTimes(times, _targets(order, times.size), _sigma(sigma, times.dtype))
    return _recording(term, init, run)


def dwell_times(
    dwells: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    order: ArrayLike | None = None,
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""How long memories are active: $r_k = (t_{k+1} - t_k - \hat d_k)/\sigma_k$.

    Differences of successive switch times, so the time before the first switch does not count. For
    independent errors of dwells (a clock that is read anew each time).

    **Where its gradient vanishes:** as for `switch_times`.

    **Arguments:** `dwells`: (L,) the observed $\hat d_k$; NaN for one not seen. `order`: (L + 1,)
    the memory that each switch leads to. The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.
    """
    dwells = _vector(dwells, "dwells")
    term = DwellTimes(dwells, _targets(order, dwells.size + 1), _sigma(sigma, dwells.dtype))
    return _recording(term, init, run)


def saliency_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""Saliencies at given times: $r_{k\mu} = (z_\mu(t_k) - \hat z_{k\mu})/\sigma$.

    Moves with the parameters everywhere, also while the field rests in a memory, so it is the loss
    of choice from a bad start. Over many dwells the phase of a periodic target repeats and there
    are local minima one period apart: cut a long trace into windows (`shooting`).

    **Where its gradient vanishes:** nowhere in the gain and in the columns of $A$ of memories that
    are visited; in the columns of those that are not.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, P), NaN where not observed.
    `sigma`: broadcast against `values`. The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.
    """
    return _recording(_path(ts, values, sigma, "saliency"), init, run)


def overlap_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""Overlaps at given times: $r_{k\mu} = (m_\mu(t_k) - \hat m_{k\mu})/\sigma$.

    **Where its gradient vanishes:** almost everywhere. Overlaps are saturated between switches, so
    only saves within a switch move with the parameters, and a network that stays in its first
    memory (a uniform or locking $A$) has exactly zero gradient. It has local minima in the gain.
    Use it to polish, after `switch_times`, `saliency_path` or `order`; or let
    `hopfax.fit_sequence` choose.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, P), NaN where not observed. The
    rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.
    """
    return _recording(_path(ts, values, sigma, "overlaps"), init, run)


def field_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""The field of the visible neurons at given times: $r_{ki} = (x_i(t_k) - \hat x_{ki})/\sigma$.

    For learning the memories themselves: $x = \sum_\mu y_\mu \xi^\mu$ is linear in them wherever
    the field rests.

    **Where its gradient vanishes:** in memories that are not visited.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, N), NaN where not observed
    (hidden neurons). The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.
    """
    return _recording(_path(ts, values, sigma, "field"), init, run)


def _path(ts: ArrayLike, values: ArrayLike, sigma: ArrayLike, of: str) -> Path:
    ts = _vector(ts, "ts")
    values = as_float(values, "values", ts.dtype)
    if values.ndim != 2 or values.shape[0] != ts.size:
        raise ValueError(
            f"`values` must have a row for each of the times, shape (T, ...) with T = {ts.size}, "
            f"got {values.shape}."
        )
    if is_concrete(ts) and bool((jnp.diff(ts) < 0).any()):
        raise ValueError("`ts` must not decrease.")
    return Path(ts, values, _sigma(sigma, ts.dtype), of)


def shooting(
    ts: ArrayLike,
    saliency: ArrayLike,
    *,
    windows: int,
    sigma: ArrayLike = 1.0,
    **run: Any,
) -> Recording:
    r"""A long trace of saliencies, cut into windows that each start from the observed values.

    Multiple shooting: errors do not build up along the trace, so that its length does no harm. Each
    window starts at the observed saliencies with the field in the memory that they support; the
    first saves of a window that starts within a transition therefore differ a little.

    **Arguments:** `ts`: (T,) times. `saliency`: (T, P) without gaps. `windows`: how many; the saves
    that are left over at the end are dropped. The rest as in `saliency_path`.

    **Returns:** recordings with a leading axis, for `hopfax.fit(network, hopfax.losses.each,
    data=...)`.

    **Raises:** ValueError if a window has less than two saves.
    """
    ts = _vector(ts, "ts")
    saliency = as_float(saliency, "saliency", ts.dtype)
    length = ts.size // windows if windows >= 1 else 0
    if length < 2:
        raise ValueError(
            f"`windows` must leave at least two saves each: {windows} for {ts.size} saves."
        )
    pieces = [slice(k * length, (k + 1) * length + (k + 1 < windows)) for k in range(windows)]
    if windows > 1:  # every window ends where the next begins, also the last is as long
        pieces[-1] = slice((windows - 1) * length - 1, windows * length)
    recordings = [
        saliency_path(
            ts[piece],
            saliency[piece],
            init=dict(saliency=saliency[piece.start], weights=_resting(saliency[piece])),
            sigma=sigma,
            t0=ts[piece.start],
            end=ts[piece][-1],
            **run,
        )
        for piece in pieces
    ]
    return stack(recordings)


def _resting(saliency: Array) -> Array:
    """Weights of the field that rests in the active memory: the largest saliency that falls."""
    now, then = saliency[0], saliency[1]
    falling = jnp.where(then < now, now, -jnp.inf)
    return jnp.where(jnp.arange(now.size) == jnp.argmax(falling), now, 0.0)
