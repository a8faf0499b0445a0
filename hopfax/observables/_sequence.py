"""Observables of a run: when it switched, what it visited, and what became of it."""

from collections.abc import Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import as_indices, check_shape, check_type, shown
from .._trajectory import Trajectory
from .._types import ArrayLike, is_concrete
from .._undefined import undefined
from ..networks import TwoTimescaleHopfield, check_kind

#: The names of the regimes that `classify` tells apart; the code of a regime is its place here.
REGIMES = ("sequence", "collapse", "locked", "mixed", "tie", "undecided", "spurious")


def regime_attributes() -> dict[str, Any]:
    """Attributes of a stored variable of regimes: its codes and names, after the CF conventions.

    **Example:**

    ```python
    hx.observables.regime_attributes()["flag_meanings"]  # 'sequence collapse locked mixed ...'
    ```
    """
    return {
        "flag_values": np.arange(len(REGIMES), dtype=np.int8),
        "flag_meanings": " ".join(REGIMES),
        "long_name": "regime of the trajectory within its horizon",
    }


def _check_run(trajectory: Trajectory, name: str, batch: bool = False) -> None:
    """TypeError for what is no run, ValueError (unless `batch`) for several at once."""
    check_type(trajectory, "trajectory", Trajectory, "a trajectory, as of hopfax.simulate")
    if trajectory.overlaps.ndim != 2 and not batch:
        raise ValueError(
            f"`{name}` is for one run, but the overlaps have shape {trajectory.overlaps.shape}; "
            f"use jax.vmap(hopfax.observables.{name}) for a batch."
        )


def switch_times(trajectory: Trajectory) -> Float[Array, "... K"]:
    r"""Times at which a new memory took the lead, $|m_{new}| = |m_{old}|$, and was then retrieved
    ($|m_{new}| > 1/2$ before the next crossing).

    They are roots of the solver's own interpolation between its steps, so as exact as the run, and
    differentiable; those of a run of `hopfax.iterate` are steps. In units of the fast time
    constant. Under a trace (or in a batch) padded with
    NaN to a fixed length, otherwise only as many as there were. The derivative of a time that is
    missing is NaN, too: a mean over many runs is `jnp.nanmean`, of those that made the switch.

    **Raises:** TypeError for what is no run.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.switch_times(run)  # 30.85, 61.18, 91.40
    ```
    """
    _check_run(trajectory, "switch_times", batch=True)
    log = trajectory.switches
    on = _kind(log.time)
    missing = undefined(log.time, log.time) if on is jnp else np.asarray(np.nan, log.time.dtype)
    return _cut(on.sort(on.where(log.retrieved, log.time, missing), axis=-1))


def dwell_times(trajectory: Trajectory) -> Float[Array, "... L"]:
    """How long each memory between two switches was active: differences of `switch_times`.

    The dwell in the first memory, which began with the run, is not among them.

    **Raises:** TypeError for what is no run.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.dwell_times(run)  # 30.33, 30.22
    ```
    """
    _check_run(trajectory, "dwell_times", batch=True)
    return jnp.diff(switch_times(trajectory), axis=-1)


@overload
def visited(trajectory: Trajectory, items: Sequence[str]) -> list[str]: ...
@overload
def visited(trajectory: Trajectory, items: ArrayLike | None = None) -> Int[Array, " K"]: ...
def visited(
    trajectory: Trajectory, items: ArrayLike | Sequence[str] | None = None
) -> Int[Array, " K"] | list[str]:
    """The memories in the order in which they were retrieved, that of the start included.

    Under a trace padded with -1 to a fixed length, otherwise only as many as there were.

    **Arguments:** `trajectory`: one run, no batch. `items`: (P,) by which number to name each
    memory, such as `hopfax.SequenceFit.items`; by default the column of its overlaps, which is its
    own number unless `hopfax.iterate` was told which memories to `track`: then `items=track`. Or a
    name for each, of which a list is then returned.

    **Raises:** ValueError for a batch, or for `items` that are not one for each memory; TypeError
    for names under a trace.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.visited(run)  # 0, 1, 2, 3
    hx.observables.visited(run, items=[7, 8, 7, 9])  # 7, 8, 7, 9
    hx.observables.visited(run, items=["do", "re", "mi", "fa"])  # ['do', 're', 'mi', 'fa']
    ```
    """
    _check_run(trajectory, "visited")
    log = trajectory.switches
    on = _kind(log.target, trajectory.overlaps)
    start = on.abs(on.asarray(trajectory.overlaps)[0])
    first, kind = on.argmax(start), log.target.dtype
    retrieved = on.asarray(log.retrieved)
    order = on.argsort(~retrieved, stable=True)
    later = on.where(retrieved, on.asarray(log.target), on.asarray(-1, kind))[order]
    sequence = on.concatenate([first[None].astype(kind), later])
    if (words := _names(items)) is not None:
        check_shape(np.asarray(words), "items", (trajectory.overlaps.shape[-1],), "(P,)")
        if on is jnp:
            raise TypeError("`items` must be numbers for a run under a trace, got names.")
        return [words[mu] for mu in sequence[sequence >= 0].tolist()]
    if items is not None:
        names = as_indices(items, "items")
        check_shape(names, "items", (trajectory.overlaps.shape[-1],), "(P,)")
        known = on.asarray(names, kind)[sequence]
        sequence = on.where(sequence >= 0, known, on.asarray(-1, kind))
    if on is np:
        sequence = sequence[sequence >= 0]
    return jnp.asarray(sequence)


def _names(items: Any) -> list[str] | None:
    """Names of memories as a list; None for numbers.

    **Raises:** TypeError for one string, and for names among other things.
    """
    if isinstance(items, str):
        raise TypeError(f"`items` must be one name for each memory, in a list, got {shown(items)}.")
    if items is None or isinstance(items, jax.Array):
        return None
    words = np.asarray(items, object).ravel().tolist()
    named = [isinstance(word, str) for word in words]
    if any(named) and not all(named):
        raise TypeError("`items` must all be names, or all numbers.")
    return words if any(named) else None


def escape_times(trajectory: Trajectory, network: TwoTimescaleHopfield) -> Float[Array, " E"]:
    r"""Times at which the active memory loses its stability.

    For hard tanh the saturated state $\xi^\mu$ disappears at $z_\mu = 1/g$; for smooth $\psi$ with
    amplitude $a = z_\mu \psi(a)$ it turns unstable towards $\nu$ at $z_\nu \psi'(a) = 1$. The
    switch follows O($\log\tau$) fast times later.

    Where the run was event-driven, the times are roots of the solution itself. Otherwise they are
    found by cubic Hermite interpolation of the saved saliencies, whose derivatives the slow
    equation gives: the relative error is about $(\Delta t/\tau)^4/400$ for saves $\Delta t$ apart,
    and dwells shorter than that are missed. A stimulus is taken to change linearly between saves.

    **Arguments:** `trajectory`: one run, no batch. `network`: which made it.

    **Raises:** TypeError for another network, such as one of rates; ValueError without saliency.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.escape_times(run, network)  # 27.73, 58.04, 88.26
    ```
    """
    _check_run(trajectory, "escape_times")
    why = ", whose memories lose their stability at a saliency that is not known"
    check_kind(network, TwoTimescaleHopfield, why=why)
    ts, m, z = trajectory.ts, trajectory.overlaps, trajectory.saliency
    if z is None:
        raise ValueError("`escape_times` needs a trajectory with saliency.")
    if trajectory.escapes is not None:
        return _cut(trajectory.escapes)
    given = jnp.zeros_like(z) if trajectory.evidence is None else trajectory.evidence
    slow = z - given
    rate = jax.vmap(network.slow_rate)(m, slow)
    leader = jnp.argmax(jnp.abs(m), axis=1)
    active = jnp.max(jnp.abs(m), axis=1) > 0.5

    def interval(t0, t1, z0, z1, v0, v1, e0, e1, lead, on):
        h = t1 - t0

        def margin(s):
            """How far the leader is from losing its stability, at the fraction `s` of the interval:
            on the cubic Hermite polynomial of the slow saliency, and the linear evidence."""
            a, b = (1 + 2 * s) * (1 - s) ** 2, s * (1 - s) ** 2 * h
            c, d = s**2 * (3 - 2 * s), s**2 * (s - 1) * h
            felt = a * z0 + b * v0 + c * z1 + d * v1 + (1 - s) * e0 + s * e1
            return _stability(felt, lead, network)

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            stable = margin(middle) > 0
            return jnp.where(stable, middle, low), jnp.where(stable, high, middle)

        zero, one = jnp.zeros_like(h), jnp.ones_like(h)
        # 52 halvings reach the resolution of float64.
        low, high = jax.lax.fori_loop(0, 52, halve, (zero, one))
        found = on & (margin(zero) > 0) & (margin(one) <= 0)
        return jnp.where(found, t0 + h * (low + high) / 2, jnp.nan)

    curves = (ts, slow, rate, given)
    (t0, z0, v0, e0), (t1, z1, v1, e1) = [x[:-1] for x in curves], [x[1:] for x in curves]
    pairs = (t0, t1, z0, z1, v0, v1, e0, e1, leader[:-1], active[:-1])
    return _cut(jnp.sort(jax.vmap(interval)(*pairs)))


def _stability(z, leader, network: TwoTimescaleHopfield):
    """Positive while the memory `leader` is a stable equilibrium, zero where it ceases to be."""
    from ..theory.sequential import retrieval_amplitude  # late: `import hopfax` needs no theory

    slope = network.activation.slope(jnp.zeros((), z.dtype))
    own = z[leader] * slope - 1
    a = retrieval_amplitude(z[leader], network.activation)
    others = jnp.where(jnp.arange(z.shape[0]) == leader, -jnp.inf, z)
    towards = 1 - jnp.max(others) * network.activation.slope(jnp.where(own > 0, a, 0.0))
    return jnp.where(own > 0, jnp.minimum(own, towards), own)


def classify(trajectory: Trajectory) -> Int[Array, ""]:
    r"""What became of the run until its last save, as a code into `REGIMES` (int8):

    - `sequence`: at least two memories were retrieved in turn, and the last switch lies no longer
      ago than three times the last dwell.
    - `collapse`: no overlap above 1/2 in the last tenth of the saves.
    - `locked`: one overlap between 0.9 and 1.1 in size throughout the last tenth, and no switch in
      the last half: a memory is held.
    - `spurious`: likewise, but the overlap is above 1.1 at some time: the run rests in an attractor
      that is not the memory as stored, as where a rate memory is unstable.
    - `mixed`: at least two overlaps between 1/4 and 3/4 in size throughout the last tenth; `tie`
      if they are exactly two and equal to 1e-3: a symmetric saddle point, which a run leaves only
      if something breaks the symmetry.
    - `undecided`: none of these, or the run failed. A longer run may decide.

    A longer run can also change the answer: a little below the critical gain a sequence lasts for
    long before it collapses.

    **Raises:** ValueError for a batch.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.REGIMES[hx.observables.classify(run)]  # sequence
    ```
    """
    _check_run(trajectory, "classify")
    m = jnp.abs(trajectory.overlaps)
    late = m[-max(m.shape[0] // 10, min(3, m.shape[0])) :]
    top = late.max(axis=1)
    between = ((late > 0.25) & (late < 0.75)).sum(axis=1)
    mixed = (between >= 2).all()
    ordered = jnp.sort(late[-1])
    second = ordered[-2] if m.shape[1] > 1 else jnp.zeros_like(ordered[-1])
    twins = (between == 2).all() & (ordered[-1] - second < 1e-3)
    collapse = (top < 0.5).all() & ~mixed

    log, ts = trajectory.switches, trajectory.ts
    times = jnp.sort(jnp.where(log.retrieved, log.time, jnp.nan))
    number = log.retrieved.sum()
    last = jnp.where(number > 0, times[jnp.maximum(number - 1, 0)], ts[0])
    before = jnp.where(number > 1, times[jnp.maximum(number - 2, 0)], ts[0])
    since, overflow = ts[-1] - last, log.count > log.time.shape[0]
    rest = (top > 0.9).all() & (since > (ts[-1] - ts[0]) / 2) & ~overflow
    locked = rest & (top <= 1.1).all()
    sequence = (number >= 2) & ((since <= 3 * (last - before)) | overflow)

    decided = {
        "tie": twins & mixed,
        "mixed": mixed,
        "collapse": collapse,
        "locked": locked,
        "spurious": rest,
        "sequence": sequence,
    }
    codes = [jnp.asarray(REGIMES.index(name), jnp.int8) for name in decided]
    undecided = jnp.int8(REGIMES.index("undecided"))
    code = jnp.select(list(decided.values()), codes, undecided)
    return jnp.where(jnp.isfinite(m).all(), code, undecided)


def summary(trajectory: Trajectory) -> dict[str, Array]:
    """A few numbers that say what a run did: what a sweep keeps of its points by default.

    `regime` (a code into `REGIMES`), `switches` (how many memories were retrieved after the first),
    `dwell` (the last one, NaN without two switches), `overlap` (the largest at the end). `switches`
    and `dwell` come from the log, which holds 64 switches (of `hopfax.iterate` 4096); for more of
    them pass a method with a longer one, such as `EventDriven(switches=...)`.

    **Raises:** ValueError for a batch.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.summary(run)  # regime 0, switches 3, dwell 30.22, overlap 1
    ```
    """
    _check_run(trajectory, "summary")
    log = trajectory.switches
    times = jnp.sort(jnp.where(log.retrieved, log.time, jnp.nan))
    number = log.retrieved.sum(dtype=jnp.int32)
    last, before = jnp.maximum(number - 1, 0), jnp.maximum(number - 2, 0)
    dwell = jnp.where(number > 1, times[last] - times[before], jnp.nan)
    return {
        "regime": classify(trajectory),
        "switches": number,
        "dwell": dwell,
        "overlap": jnp.max(jnp.abs(trajectory.overlaps[-1])),
    }


def _cut(times: ArrayLike) -> Float[Array, "..."]:
    """The times without the NaN that pad them, where their number may depend on their values."""
    if times.ndim == 1 and is_concrete(times):
        times = np.asarray(times)
        times = times[np.isfinite(times)]
    return jnp.asarray(times)


def _kind(*values: ArrayLike) -> Any:
    """NumPy for values that are known, `jax.numpy` for those of a trace: every operation of the
    latter would be a program of its own, which the first call compiles."""
    return np if all(is_concrete(value) for value in values) else jnp
