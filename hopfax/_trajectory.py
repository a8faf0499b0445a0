"""The result of a run: `Trajectory`, and the log of its switches."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from . import _status
from ._errors import as_float, check_memory, check_within, in_words, missing
from ._report import Report, Reported, in_brief, lines_svg
from ._types import ArrayLike, Dataset, Network, State, is_concrete

FLOOR = 0.1  # where all overlaps are below, no memory is in the lead
RETRIEVED = 0.5  # a memory with an overlap above this is retrieved
_LONGEST = 4096  # switches of a run in discrete time that are kept


_FEW = 2**24  # entries of all saves below which nobody asks whether they fit into memory


def check_observed(observe: Any, state: State, network: Network, saves: int, name: str) -> None:
    """ValueError unless what `observe` returns fits into memory at every save.

    **Arguments:** `name`: the argument that sets the number of saves.
    """
    if observe is None or saves * max(leaf.size for leaf in jax.tree.leaves(state)) < _FEW:
        return
    t = jnp.zeros((), network.patterns.dtype)
    seen = jax.tree.leaves(eqx.filter_eval_shape(observe, t, state, network))
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in seen if hasattr(leaf, "dtype"))
    check_memory(
        name, saves * each, f"what `observe` returns ({in_words(each)}) at {saves:,} times", _LESS
    )


_LESS = "Let `observe` return less, or save at fewer times."


class Switches(Reported, eqx.Module):
    r"""The switches of a run in order: a log of fixed size, padded with NaN and -1.

    A switch is a crossing of $|m_{source}|$ and $|m_{target}|$ at which a new memory takes the
    lead; crossings with all overlaps below 0.1 are not counted.

    - `time`: when they happened, in fast time constants; of a run of `hopfax.iterate` the step at
      which the new memory leads first. Of one that did not it is NaN, and so is
      its derivative.
    - `source`, `target`: from which memory to which, counted by the columns of `overlaps`.
    - `retrieved`: whether the new memory passes $|m| = 1/2$ before the next crossing.
    - `count`: how many there were; it is larger than the log where that was too short.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    run.switches.count  # 3
    run.switches.target[:4]  # 1, 2, 3, -1
    ```
    """

    time: Float[Array, " K"]
    source: Int[Array, " K"]
    target: Int[Array, " K"]
    retrieved: Bool[Array, " K"]
    count: Int[Array, ""]

    def _report(self) -> Report:
        there = np.flatnonzero(np.isfinite(np.asarray(self.time)))[:_VISITS]
        listed = (np.asarray(values)[there] for values in (self.source, self.target, self.time))
        rows = [(f"{a} -> {b}", f"at {t:.6g}") for a, b, t in zip(*listed, strict=True)]
        more = int(self.count) - len(rows)
        tail = [f"  and {more} more"] if more > 0 else []
        return Report(
            "1 switch" if int(self.count) == 1 else f"{int(self.count)} switches", rows, tail=tail
        )


class Trajectory(Reported, eqx.Module):
    r"""The result of a run: what was saved, how it ended, and its switches.

    - `ts`: (T,) the save times, in units of the fast time constant.
    - `overlaps`: (T, P).
    - `saliency`: (T, P) the saliencies that act on the field, None for a network without. With two
      timescales, the slow state plus the `evidence`.
    - `evidence`: (T, P) the overlaps of a stimulus, which add to the slow saliency; None without.
    - `observed`: what `observe` returned, stacked along T; None without.
    - `final`: the state at the end, from which a run can be continued.
    - `status`: how it ended, see `hopfax.STATUS`. Saves that were not reached are NaN.
    - `switches`: the log of switches.
    - `escapes`: (K,) times at which the active memory's saliency fell below $1/g$, where its
      state disappears; padded with NaN. None for a run by diffrax.
    - `stats`: which `method` ran and how many steps it took, and which exact `reduction`: "classes"
      of equal neurons, the "span" of the patterns, or all "sites".

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    run.overlaps[-1]  # 0, 0, 0, 1
    hx.STATUS[int(run.status)][0]  # ok
    ```
    """

    ts: Float[Array, " T"]
    overlaps: Float[Array, "T P"]
    saliency: Float[Array, "T P"] | None
    observed: Any
    final: State
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
        """The counters of the solver, and the method and the reduction of the run."""
        return {**self.counters, "method": self.method, "reduction": self.reduction}

    def _report(self) -> Report:
        *many, saves, P = self.overlaps.shape
        ts = np.asarray(self.ts)
        span = f"{ts.min():.6g} to {ts.max():.6g}" if ts.size else "no time"
        unit = "steps" if self.method == "iterate" else "fast time constants"
        title = f"run from {span} {unit}: {P} memories, {saves} saves"
        how = [f"{self.method}, on {self.reduction}"]
        if many:
            codes, counts = np.unique(np.asarray(self.status), return_counts=True)
            ends = ", ".join(
                f"{n} {_status.name(int(c))}" for c, n in zip(codes, counts, strict=True)
            )
            title = f"{' x '.join(map(str, many))} runs, each a {title}"
            return Report(title, [("status", ends), ("method", how[0])])
        how += [f"{name} {int(count):,}" for name, count in self.counters.items()]
        rows = [("status", _status.name(int(self.status)))]
        rows.append(("visited", _visits(self)))
        rows.append(("overlaps at the end", in_brief(self.overlaps[-1])))
        if self.saliency is not None:
            rows.append(("saliencies at the end", in_brief(self.saliency[-1])))
        rows.append(("method", ", ".join(how)))

        def picture() -> str:
            found = lines_svg(ts, np.asarray(self.overlaps), "overlaps")
            if self.saliency is not None:
                found += lines_svg(ts, np.asarray(self.saliency), "saliencies", 60)
            return found

        return Report(title, rows, picture=picture)

    def evaluate(self, t: ArrayLike) -> dict[str, Array]:
        r"""Overlaps and saliency at any time or times `t` inside the run.

        They are as exact as the run itself where it was event-driven, else interpolated by the
        solver.

        **Raises:** ValueError for a run that kept no dense output. It needs `dense=True` in its
        method, e.g. `hopfax.EventDriven(dense=True)`.
        """
        if self.dense is None:
            raise ValueError(
                "`t`: this run kept no dense output; repeat it with method=hopfax.EventDriven("
                "dense=True), or hopfax.Diffrax(dense=True) for what diffrax integrates."
            )
        t = as_float(t, "t", self.ts.dtype)
        if t.ndim > 1 or t.size == 0:
            raise ValueError(f"`t` must be one time or a list of times, got shape {t.shape}.")
        if is_concrete(t) and is_concrete(self.ts):
            check_within(t, "t", float(self.ts[0]), float(self.ts[-1]))
        out = self.dense(jnp.atleast_1d(t))
        return {k: v if t.ndim else v[0] for k, v in out.items() if v is not None}

    def to_xarray(self) -> Dataset:
        """The run as an `xarray.Dataset` with dimensions `time` and `memory` (extra `io`).

        **Raises:** ImportError without xarray; ValueError for a batch of runs.
        """
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
        unit = "steps" if self.method == "iterate" else "fast time constants"
        time = ("time", np.asarray(self.ts), {"units": unit})
        memory = np.arange(self.overlaps.shape[1])
        if self.escapes is not None:
            escapes = np.asarray(self.escapes)
            data["escape_time"] = ("escape", escapes[np.isfinite(escapes)])
        attributes = {"status": _status.name(int(self.status)), "reduction": self.reduction}
        attributes["method"] = self.method
        attributes |= {key: int(value) for key, value in self.counters.items()}
        return xr.Dataset(data, {"time": time, "memory": memory}, attributes)


_VISITS = 12  # that a report lists


def _visits(run: Trajectory) -> str:
    """Which memories were retrieved, in order, and when each took the lead."""
    log, start = run.switches, np.abs(np.asarray(run.overlaps)[0])
    kept = np.flatnonzero(np.asarray(log.retrieved))
    times, targets = np.asarray(log.time)[kept], np.asarray(log.target)[kept]
    first = [str(int(start.argmax()))] if np.nanmax(start, initial=0.0) > FLOOR else []
    later = [f"{mu} at {t:.5g}" for t, mu in zip(times, targets, strict=True)]
    words = (first + later)[:_VISITS]
    more = len(first) + len(later) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "") if words else "none"


def switches_of_steps(ts: Float[Array, " T"], overlaps: Float[Array, "T P"]) -> Switches:
    """The switches of a run in discrete time, all of whose states are saved: the steps at which
    another memory leads than before. Memories are counted by the columns of `overlaps`."""
    steps = len(ts) - 1
    if not steps:
        none, nobody = jnp.full(1, jnp.nan, ts.dtype), jnp.full(1, -1, jnp.int32)
        return Switches(none, nobody, nobody, jnp.zeros(1, bool), jnp.int32(0))
    size = jnp.abs(overlaps)
    top, leader = size.max(1), size.argmax(1).astype(jnp.int32)
    # where nothing leads, the memory that led last still does
    known = jnp.where(top < FLOOR, 0, jnp.arange(steps + 1, dtype=jnp.int32))
    leader = leader[jax.lax.cummax(known)]
    changed = leader[1:] != leader[:-1]
    order = jnp.nonzero(changed, size=min(steps, _LONGEST), fill_value=steps)[0]
    there = order < steps
    spell = jnp.cumsum(changed, dtype=jnp.int32)
    most = jax.ops.segment_max(top[1:], spell, num_segments=len(order) + 1)[1:]
    return Switches(
        time=jnp.where(there, ts[jnp.minimum(order + 1, steps)], jnp.nan),
        source=jnp.where(there, leader[order], -1),
        target=jnp.where(there, leader[jnp.minimum(order + 1, steps)], -1),
        retrieved=there & (most > RETRIEVED),
        count=changed.sum(dtype=jnp.int32),
    )
