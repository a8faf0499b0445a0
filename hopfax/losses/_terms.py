"""Kinds of observations of a run: what each needs of the run, and its residuals."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._report import Report, Reported, fields_report
from .._trajectory import Trajectory


class Compared(NamedTuple):
    """What was seen, and what a run shows, for a picture; NaN for what is missing.

    - `name`: what it is. `x`: (K,) the time of each row, or for times themselves its number.
    - `seen`, `made`: (K, n). `sigma`: standard deviations, broadcast against them.
    - `moments`: whether the values are times.
    """

    name: str
    x: Array
    seen: Array
    made: Array
    sigma: Array
    moments: bool


class AbstractTerm(Reported, eqx.Module):
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

    @abc.abstractmethod
    def compared(self, run: Trajectory, rows: Int[Array, " S"]) -> Compared:
        """What was seen beside what the run shows, for a picture."""


class SwitchTimes(AbstractTerm):
    """When memories give way to each other, and until when the last one stays at least; made by
    `switch_times`."""

    time: Float[Array, " K"]
    order: Int[Array, " K"] | None
    sigma: Float[Array, "*#K"]
    stays: Float[Array, ""] | None = None

    def _report(self) -> Report:
        return fields_report(self, f"{self.time.shape[-1]} switch times")

    def times(self):
        return jnp.zeros(0, self.time.dtype)

    def until(self):
        last = jnp.nanmax(self.time)
        last = last if self.stays is None else jnp.maximum(last, self.stays)
        return last + jnp.maximum(2 * last / self.time.size, 0.2 * last)

    def count(self):
        return self.time.size + (self.stays is not None)

    def residuals(self, run, rows):
        K, order = self.time.size, self.order
        if self.stays is not None and order is not None:
            order = jnp.append(order, jnp.full(1, -1, order.dtype))  # whoever follows
        found = matched_switches(run, order, self.count())
        late = jnp.where(jnp.isnan(found[:K]), run.ts[-1], found[:K])
        known = ~jnp.isnan(self.time)
        off = jnp.where(known, late - jnp.where(known, self.time, 0.0), 0.0) / self.sigma
        if self.stays is None:
            return off
        next_ = jnp.where(jnp.isnan(found[K:]), jnp.inf, found[K:])
        early = jnp.where(next_ < self.stays, next_ - self.stays, 0.0)
        return jnp.concatenate([off, early / self.sigma.ravel()[-1:]])

    def compared(self, run, rows):
        found = matched_switches(run, self.order, self.time.size)
        number = jnp.arange(1.0, self.time.size + 1)
        seen, made, sigma = (v[:, None] for v in (self.time, found, self.sigma + 0 * self.time))
        return Compared("switch times", number, seen, made, sigma, True)


class DwellTimes(AbstractTerm):
    """How long memories are active; made by `dwell_times`."""

    dwell: Float[Array, " L"]
    order: Int[Array, " K"] | None
    sigma: Float[Array, "*#L"]

    def _report(self) -> Report:
        return fields_report(self, f"{self.dwell.shape[-1]} dwells")

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

    def compared(self, run, rows):
        found = jnp.diff(matched_switches(run, self.order, self.dwell.size + 1))
        number = jnp.arange(1.0, self.dwell.size + 1)
        seen, made, sigma = (v[:, None] for v in (self.dwell, found, self.sigma + 0 * self.dwell))
        return Compared("dwells", number, seen, made, sigma, True)


_PLURAL = dict(saliency="saliencies", overlaps="overlaps", field="fields")


class Path(AbstractTerm):
    """Saliencies, overlaps or the field at given times; made by `saliency_path` and the like."""

    ts: Float[Array, " T"]
    values: Float[Array, "T n"]
    sigma: Float[Array, "..."]
    of: str = eqx.field(static=True)

    def _report(self) -> Report:
        T, n = self.values.shape[-2:]
        return fields_report(self, f"a path of {n} {_PLURAL[self.of]} at {T} times")

    def times(self):
        return self.ts

    def until(self):
        return self.ts[-1]

    def count(self):
        return 1

    def compared(self, run, rows):
        made = self._path(run)[rows]
        return Compared(self.of, self.ts, self.values, made, self.sigma, False)

    def residuals(self, run, rows):
        path = self._path(run)
        # NaN is replaced before the subtraction: its derivative would be NaN, too, and 0 * NaN is.
        known = ~jnp.isnan(self.values)
        difference = path[rows] - jnp.where(known, self.values, 0.0)
        return (jnp.where(known, difference, 0.0) / self.sigma).ravel()

    def _path(self, run: Trajectory) -> Array:
        """What is compared, at all saves of the run."""
        path = {"saliency": run.saliency, "overlaps": run.overlaps, "field": run.observed}[self.of]
        if path is None:
            raise ValueError("`saliency_path` needs a network with saliency.")
        if path.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"`values` must have {path.shape[1]} columns for the {self.of}, got "
                f"{self.values.shape[1]}."
            )
        return path


def matched_switches(
    run: Trajectory, order: Int[Array, " K"] | None, count: int
) -> Float[Array, " K"]:
    """The times of the first `count` switches into a retrieved memory.

    NaN from the first one on that is missing or, if `order` is given, leads elsewhere.
    """
    log = run.switches
    first = jnp.argsort(~log.retrieved, stable=True)[:count]
    time = jnp.where(log.retrieved, log.time, jnp.nan)[first]
    right = log.retrieved[first]
    if order is not None:
        right = right & ((log.target[first] == order) | (order < 0))
    right = jnp.cumprod(right).astype(bool)
    return jnp.where(right, time, jnp.nan)
