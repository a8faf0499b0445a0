"""What a run returns."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from . import _status
from ._errors import missing

FLOOR = 0.1  # overlaps below this are no memory at all
RETRIEVED = 0.5


class Switches(eqx.Module):
    r"""The transitions of a run, in order: a log of fixed size, padded with NaN and -1.

    A switch is a crossing of $|m_{source}|$ and $|m_{target}|$ at which a new memory takes the
    lead; crossings with all overlaps below 0.1 are not counted. `retrieved` says whether the new
    memory passes $|m| = 1/2$ before the next crossing.
    """

    time: Float[Array, " K"]
    source: Int[Array, " K"]
    target: Int[Array, " K"]
    retrieved: Bool[Array, " K"]
    count: Int[Array, ""]


class Trajectory(eqx.Module):
    r"""A run, at the save times.

    - `ts`: (T,) in units of the fast time constant.
    - `overlaps`: (T, P). `saliency`: (T, P), or None for a network without: what the field feels,
      in two timescales the slow state and, under a stimulus, its overlaps, which are `evidence`.
    - `observed`: what `observe` returned, stacked along T; else None.
    - `final`: the state at the end; start there to continue.
    - `status`: how it ended, see `hopfax.STATUS`. Saves that were not reached are NaN.
    - `switches`: the log of transitions.
    - `escapes`: (K,) times at which the active memory's saliency fell below $1/g$, where its
      state disappears; padded with NaN. None for a run by diffrax.
    - `stats`: which `method` ran and the steps it took, and which exact `reduction`: "classes" of
      equal neurons, the "span" of the patterns, or all "sites".
    """

    ts: Float[Array, " T"]
    overlaps: Float[Array, "T P"]
    saliency: Float[Array, "T P"] | None
    observed: Any
    final: Any
    status: Int[Array, ""]
    switches: Switches
    counters: dict[str, Array]
    reduction: str = eqx.field(static=True)
    method: str = eqx.field(default="diffrax", static=True)
    escapes: Float[Array, " K"] | None = None
    dense: Any = None
    evidence: Float[Array, "T P"] | None = None

    @property
    def stats(self) -> dict[str, Any]:
        """Counters of the solver, and the method and reduction that ran."""
        return {**self.counters, "method": self.method, "reduction": self.reduction}

    def evaluate(self, t) -> dict[str, Array]:
        r"""Overlaps and saliency at any time(s) `t` inside the run.

        As exact as the run itself where it was event-driven, else from the solver's dense output.
        Only for a run made with `dense=True` in its method, e.g. `hopfax.EventDriven(dense=True)`.
        """
        if self.dense is None:
            raise ValueError(
                "this run kept no dense output; repeat it with method=hopfax.EventDriven("
                "dense=True), or hopfax.Diffrax(dense=True) for what diffrax integrates."
            )
        t = jnp.asarray(t, self.ts.dtype)
        out = self.dense(jnp.atleast_1d(t))
        return {k: v if t.ndim else v[0] for k, v in out.items() if v is not None}

    def to_xarray(self):
        """The run as an `xarray.Dataset` with dimensions `time` and `memory` (extra `io`)."""
        try:
            import xarray as xr
        except ImportError as error:
            raise missing("xarray", "io", "to_xarray") from error
        if self.ts.ndim != 1:
            raise ValueError("`to_xarray` is for one run; batches are made by hopfax.sweep.")
        label = {"long_name": "overlap with the memory"}
        data: dict[str, tuple] = {"overlap": (("time", "memory"), np.asarray(self.overlaps), label)}
        if self.saliency is not None:
            label = {"long_name": "saliency of the memory"}
            data["saliency"] = (("time", "memory"), np.asarray(self.saliency), label)
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.observed):
            name = "observed" + jax.tree_util.keystr(path)
            dims = ("time", *(f"{name}_{k}" for k in range(leaf.ndim - 1)))
            data[name] = (dims, np.asarray(leaf))
        count = int(self.switches.count)
        for key in ("time", "source", "target", "retrieved"):
            values = np.asarray(getattr(self.switches, key))[:count]
            data[f"switch_{key}"] = ("switch", values)
        time = ("time", np.asarray(self.ts), {"units": "fast time constants"})
        memory = np.arange(self.overlaps.shape[1])
        if self.escapes is not None:
            escapes = np.asarray(self.escapes)
            data["escape_time"] = ("escape", escapes[np.isfinite(escapes)])
        attributes = {"status": _status.name(int(self.status)), "reduction": self.reduction}
        attributes["method"] = self.method
        attributes |= {key: int(value) for key, value in self.counters.items()}
        return xr.Dataset(data, {"time": time, "memory": memory}, attributes)
