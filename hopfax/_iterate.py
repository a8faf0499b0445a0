"""One run in discrete time: from a network, a start and a number of steps to a `Trajectory`."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float

from . import _status
from ._errors import (
    SimulationError,
    as_count,
    as_float,
    as_indices,
    as_key,
    check_bool,
    check_callable,
    check_finite,
    check_memory,
    filled,
    shown,
)
from ._programs import is_outermost, jitted
from ._progress import check_progress, progress as bar
from ._trajectory import Trajectory, check_observed, switches_of_steps
from ._types import ArrayLike, is_concrete
from .networks import AbstractMap, SpinState, check_domain, check_map, in_domain

_FEW = 4096  # memories whose overlaps are saved unless others are named


def iterate(
    network: AbstractMap,
    state0: SpinState,
    steps: int,
    *,
    key: jax.Array | None = None,
    stimulus: ArrayLike | None = None,
    clamped: ArrayLike | None = None,
    track: Sequence[int] | None = None,
    observe: Callable[..., Any] | None = None,
    throw: bool = True,
    progress: bool | Literal["auto"] = "auto",
) -> Trajectory:
    r"""Iterate a network in discrete time and save the overlaps at every step.

    Signs that are not random and no longer move rest for ever, and those that are again what they
    were two steps ago go on so: the steps that remain are not computed (of a batch, once this holds
    for all), so that `steps` may be generous.

    Works under `jit` and `vmap`. A batch of states, `jax.vmap(lambda s: iterate(network, s, 10))`,
    reads the patterns once a step for all of them. Runs of graded neurons can be differentiated.

    **Arguments:**

    - `network`: one in discrete time, such as `DenseMemory`.
    - `state0`: from `network.init(...)`, or `final` of an earlier run.
    - `steps`: how many, a Python int. One step updates every neuron.
    - `key`: a PRNG key, for networks that draw random numbers.
    - `stimulus`: (N,) input that sets the saliency of the memories (see `DenseMemory.field`).
    - `clamped`: (N,) True for neurons that stay as they are in `state0`, such as the pixels of an
      image whose class is asked for.
    - `track`: numbers of the memories whose overlaps are saved, in this order. Default: all, if
      there are no more than 4096.
    - `observe`: a function `(t, state, network) -> pytree` saved at every step. Define it once: a
      new function, such as a lambda in a loop, is compiled anew.
    - `throw`: raise if the run fails. Under a trace it never raises; look at `status`.
    - `progress`: show a bar, on a terminal or in a notebook; elsewhere a line every ten seconds
        (for True also at the end). A run of less than about a second shows none, and one inside
        `jit` or `vmap` cannot be looked into.

    **Returns:** a `Trajectory` with `ts` 0, 1, ..., `steps`, `overlaps` (steps + 1, memories
    tracked), no saliency, and the switches: the steps at which another of these memories, counted
    by the columns of `overlaps`, leads than before, so that `hopfax.observables.visited`,
    `dwell_times` and `classify` read it.
    `stats["moved"]` is how many neurons the last step changed: 0 at a fixed point; and
    `stats["last_change"]` the last step that changed any, 0 if none did.

    **Raises:** ValueError/TypeError for bad arguments; `SimulationError` if the run fails and
    `throw`.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    state = memory.init(memory.patterns.corrupt(jax.random.key(0), mu=0, flips=4))
    run = hx.iterate(memory, state, steps=2)
    run.overlaps[:, 0]  # 0.5, 1, 1
    run.stats["moved"], run.stats["last_change"]  # 0, 1

    seen = jnp.arange(16) < 12
    cue = jnp.where(seen, memory.patterns.pattern(2), 1.0)
    run = hx.iterate(memory, memory.init(cue), steps=2, clamped=seen)
    run.overlaps[-1]  # 0, 0, 1, 0
    ```
    """
    check_map(network)
    if not isinstance(state0, SpinState):
        raise TypeError(f"`state0` must come from network.init(...), got {type(state0).__name__}.")
    steps = as_count(steps, "steps", 0)
    check_bool(throw, "throw")
    check_progress(progress)
    if observe is not None:
        check_callable(observe, "observe")
    check_domain(network)
    patterns = network.patterns
    state0 = network.checked(state0)
    watched = jnp.asarray(_tracked(track, patterns.P), jnp.int32)
    _check_room(network, state0, steps, watched.size, observe)
    if stimulus is not None:
        stimulus = as_float(stimulus, "stimulus", patterns.dtype)
        stimulus = filled(stimulus, "stimulus", (patterns.N,), "(N,)")
        check_finite(stimulus, "stimulus")
    clamped = None if clamped is None else _mask(clamped, patterns.N)
    if key is not None:
        key = as_key(key)
        if not network.random:
            raise ValueError("`key` is not used by this network; leave it out.")
    valid = in_domain(network) & network.holds(state0)
    zero = jnp.zeros((), patterns.dtype)
    run = _Run(network, state0, stimulus, clamped, key, watched, valid, zero)
    piece = _piece(steps, patterns.P * patterns.N)
    if progress and piece and is_outermost(run):
        trajectory = _in_pieces(run, steps, piece, observe, progress)
    else:
        trajectory = _run(run, steps, observe)
    if throw:
        _raise_if_failed(trajectory)
    return trajectory


def _check_room(network, state: SpinState, steps: int, tracked: int, observe) -> None:
    """ValueError unless what is saved at every step fits into memory."""
    each = 2 * network.patterns.dtype.itemsize * tracked
    name = "steps" if steps > tracked else "track"
    check_memory(name, each * steps, f"{steps:,} steps of {tracked:,} overlaps")
    check_observed(observe, state, network, steps, "steps")


def _tracked(track: Sequence[int] | None, P: int) -> np.ndarray:
    """The numbers of the memories whose overlaps are saved."""
    if track is None:
        if P > _FEW:
            raise ValueError(
                f"`track` must name the memories whose overlaps are saved, as there are {P}; the "
                "first one: track=[0]."
            )
        return np.arange(P)
    found = np.asarray(as_indices(track, "track", P))
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"`track` must be a list of numbers of memories, got {shown(track)}.")
    return found


def _mask(clamped: ArrayLike, N: int) -> Array:
    """Which neurons are clamped."""
    mask: Any = clamped if hasattr(clamped, "dtype") else np.asarray(clamped)
    if mask.dtype != bool or mask.shape != (N,):
        raise ValueError(
            f"`clamped` must be True or False for each neuron, shape (N,) = ({N},), got "
            f"{mask.dtype} {mask.shape}; from numbers of neurons: jnp.zeros(N, bool).at[numbers]"
            ".set(True)."
        )
    return jnp.asarray(mask)


class _Run(eqx.Module):
    """What a run is given besides its number of steps."""

    network: AbstractMap
    state: SpinState
    stimulus: Float[Array, " N"] | None
    clamped: Bool[Array, " N"] | None
    key: jax.Array | None
    watched: Array
    valid: Bool[Array, ""]
    first: Float[Array, ""]


#: Entries of the memories that are read between two looks at how far a run is, about a second; and
#: of how few at least, so that looking costs nothing.
_LOOK, _LEAST = 10**9, 10**7


def _piece(steps: int, entries: int) -> int:
    """After how many steps, a divisor of them, a run of so many entries a step is looked at; 0 if
    it is not."""
    most = min(max(_LOOK // entries, 1), steps // 2)
    piece = next((k for k in range(most, 0, -1) if steps % k == 0), 0)
    return piece if piece * entries >= _LEAST else 0


def _in_pieces(run: _Run, steps: int, piece: int, observe: Any, show: Any) -> Trajectory:
    """A run by one program for so many of its steps, called again and again; its numbers are those
    of the whole, since the time of a step alone tells its random numbers."""
    parts = []
    with bar(steps, "step", show) as shown:
        for first in range(0, steps, piece):
            start = parts[-1].final if parts else run.state
            at = jnp.asarray(first, run.first.dtype)
            part = _run(dataclasses.replace(run, state=start, first=at), piece, observe)
            parts.append(jax.block_until_ready(part))
            shown.update(piece)

    def joined(first: Any, *later: Any) -> Any:
        return jnp.concatenate([first, *(x[1:] for x in later)])

    saved = [(part.ts, part.overlaps, part.observed) for part in parts]
    ts, overlaps, observed = jax.tree.map(joined, *saved)
    changes = jnp.stack([part.counters["last_change"] for part in parts])
    counters = parts[-1].counters | {"steps": jnp.int32(steps), "last_change": changes.max()}
    whole: dict[str, Any] = dict(ts=ts, overlaps=overlaps, observed=observed, counters=counters)
    return dataclasses.replace(parts[-1], switches=_switches(ts, overlaps), **whole)


@jitted
def _run(run: _Run, steps: int, observe: Callable[..., Any] | None) -> Trajectory:
    network, patterns = run.network, run.network.patterns
    mover = network.prepared() if run.clamped is None else network.prepared(run.clamped)
    memories = jax.vmap(patterns.pattern)(run.watched)
    dtype = patterns.dtype

    def seen(t, state):
        m = jnp.matmul(memories, state.spins, precision=jax.lax.Precision.HIGHEST) / patterns.N
        return m, None if observe is None else observe(t, state, network)

    def step(carry, t):
        state, moved, last, known = carry
        key = None if run.key is None else jr.fold_in(run.key, t.astype(jnp.uint32))
        if known is None:
            new = mover.step(state, run.stimulus, key)
        else:  # a loop of one round, or none: of a batch none once all are known
            one = lambda _: (jnp.bool_(True), mover.step(state, run.stimulus, key))  # noqa: E731
            new = jax.lax.while_loop(lambda found: ~found[0], one, known)[1]
            known = _same(new, state) | _same(new, known[1]), state
        moved = (new.spins != state.spins).sum(dtype=jnp.int32)
        last = jnp.where(moved > 0, (t + 1).astype(jnp.int32), last)
        return (new, moved, last, known), seen(t + 1, new)

    # Whether the next state is known, and which it is: that of the step before.
    known = (jnp.bool_(False), run.state) if network.signs and not network.random else None
    start = (run.state, jnp.int32(0), jnp.int32(0), known)
    ts = run.first + jnp.arange(steps + 1, dtype=dtype)
    (final, moved, last, _), later = jax.lax.scan(step, start, ts[:-1])
    first = seen(ts[0], run.state)
    overlaps, observed = jax.tree.map(
        lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, later
    )
    code = jnp.where(jnp.isfinite(final.spins).all(), _status.OK, _status.NONFINITE)
    code = jnp.where(run.valid, code, _status.INVALID_PARAMETER).astype(jnp.int32)
    overlaps = jnp.where(run.valid, overlaps, jnp.nan)
    return Trajectory(
        ts=ts,
        overlaps=overlaps,
        saliency=None,
        observed=observed,
        final=final,
        status=code,
        switches=switches_of_steps(ts, overlaps),
        counters={"steps": jnp.int32(steps), "moved": moved, "last_change": last},
        reduction="sites",
        method="iterate",
    )


_switches = jitted(switches_of_steps)


def _same(a: SpinState, b: SpinState) -> Bool[Array, ""]:
    """Whether two states, with all that they remember, are equal."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.stack([(x == y).all() for x, y in pairs]).all()


def _raise_if_failed(trajectory: Trajectory) -> None:
    if not is_concrete(trajectory.status):
        return
    code = int(trajectory.status)
    if code != _status.OK:
        raise SimulationError(
            f"the run ended with status {_status.name(code)}: {_status.meaning(code)}. "
            "`throw=False` returns what there is.",
            code,
        )
