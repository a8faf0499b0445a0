"""Where the runs of a network in discrete time end: its attractors, with names and shares."""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._errors import as_count, as_float, as_key, check_array, check_shape
from .._iterate import iterate
from .._misc import wilson
from .._programs import jitted
from .._report import Report, Reported
from .._types import ArrayLike
from ..networks import AbstractMap, check_map
from ..networks._resting import name_by_memories

_LISTED = 24
_LEVEL = 0.95  # of the confidence intervals of shares
_MIXED, _FIRST = 8, 64  # of so many memories mixtures are tried; of these themselves
_SAME = 1e-4  # distance, relative to the largest entry, below which graded states are one
_BESIDE = 1e-3  # relative to its size, how far beside a graded state it is tried for stability
_TOGETHER = 64  # runs at a time


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Attractors(Reported):
    """The attractors of a network in discrete time that a search has found, by their share.

    - `states`: (K, N) neurons. Of a cycle of two states that of them which comes first in order.
    - `names`: "memory 0", "-memory 0" (its negative), "mixture 0 -1 2", "spurious".
    - `overlaps`: (K,) how far each is what its name says: the overlap of signs, or the cosine, with
      that memory or mixture (of a spurious one with the nearest).
    - `periods`: (K,) 1 for a state of rest, 2 for a cycle of two states.
    - `shares`: (K,) the part of the starts whose runs end there; `intervals`: (K, 2) Wilson's 95 %
      confidence intervals of these; `unsettled`: the part whose runs do not end within `steps`,
      or at no attractor.
    - `energies`: (K,) where the network has an energy that floats hold, else None.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(3, 64), hx.Quadratic())
    found = hx.dynamics.attractors(memory, count=64)
    found.names[:6]  # memories and their negatives
    found.periods.max()  # 1
    ```
    """

    states: np.ndarray
    names: Sequence[str]
    overlaps: np.ndarray
    periods: np.ndarray
    shares: np.ndarray
    intervals: np.ndarray
    unsettled: float
    energies: np.ndarray | None

    def _report(self) -> Report:
        rows = []
        for k in range(min(len(self.states), _LISTED)):
            low, high = self.intervals[k]
            kind = f"overlap {self.overlaps[k]:.3f}"
            kind += ", cycle of two" if self.periods[k] == 2 else ""
            text = f"{kind}, share {self.shares[k]:.3f} ({low:.3f} to {high:.3f})"
            if self.energies is not None:
                text += f", energy {self.energies[k]:.6g}"
            rows.append((self.names[k], text))
        tail = [f"  and {len(self.states) - _LISTED} more"] if len(self.states) > _LISTED else []
        if self.unsettled:
            tail.append(f"  {self.unsettled:.3f} of the runs ended at no attractor")
        return Report(f"{len(self.states)} attractors", rows, tail=tail)


def attractors(
    network: AbstractMap,
    *,
    count: int = 256,
    starts: ArrayLike | None = None,
    steps: int = 256,
    stimulus: ArrayLike | None = None,
    key: jax.Array | None = None,
) -> Attractors:
    r"""The attractors of a network in discrete time: memories, mixtures of them, spurious states.

    `count` random starts are iterated until they rest, or go to and fro between two states, as
    neurons that move in parallel may. Beside them each memory, its negative and mixtures of three
    are tried (of the first ones, where there are many): what rests there is an attractor, too, if
    perhaps one that no random start has found. Graded states of rest that do not attract what is
    just beside them count as `unsettled`. There may be more: a search proves nothing about
    what it did not find. A state is named after the memory, or the majority of an odd number of
    memories (of graded neurons their sum), with which it has an overlap (a cosine) of 3/4 or more.

    **Arguments:**

    - `network`: one without noise, such as `DenseMemory`.
    - `count`: how many random starts: signs, each as likely; of graded neurons normal numbers as
      large as the first memories.
    - `starts`: (B, N) states to start from in place of random ones, such as noisy cues: the shares
      are those of the basins among these.
    - `steps`: how many steps a run has at most.
    - `stimulus`: as of `hopfax.iterate`.
    - `key`: for the random starts; by default `jax.random.key(0)`.

    **Returns:** `Attractors`.

    **Raises:** ValueError/TypeError for bad arguments, or a network that draws random numbers.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.random(jax.random.key(0), 4, 40), hx.Power(3))
    found = hx.dynamics.attractors(memory, count=64)
    found.names[:4]  # the four memories; with odd powers their negatives are none
    found.shares.sum() + found.unsettled  # 1.0
    ```
    """
    check_map(network)
    if network.random:
        raise ValueError(
            "`network` draws random numbers, so that its runs end nowhere for sure; leave out "
            '`beta`, and use update="parallel" or "cyclic".'
        )
    steps, patterns = as_count(steps, "steps"), network.patterns
    key = jax.random.key(0) if key is None else as_key(key)
    if starts is None:
        draws = _drawn(network, as_count(count, "count"), key)
    else:
        draws = _given(network, starts)
    count = len(draws)
    check_array("the runs", 4 * patterns.dtype.itemsize, starts=count, N=patterns.N)
    tried = jnp.concatenate([draws, _structured(network)])
    ends, after, known = (np.asarray(x) for x in _ends(network, tried, steps, stimulus))
    ended = np.flatnonzero(known)
    kept, group = _distinct(ends[ended], network.signs)
    index, belongs = ended[kept].tolist(), np.full(len(ends), -1)
    belongs[ended] = ended[group]
    hits = np.array([(belongs[:count] == k).sum() for k in index], float)
    order = sorted(range(len(index)), key=lambda k: (-hits[k], index[k]))
    index, hits = [index[k] for k in order], hits[order]
    states = ends[index]
    named = _named(network, states)
    differ = (np.abs(after[index] - states) > _tolerance(network) * (1 + np.abs(states))).any(1)
    intervals = np.stack(wilson(hits, count, _LEVEL), axis=-1)
    return Attractors(
        states=states,
        names=[name for name, _ in named],
        overlaps=np.array([overlap for _, overlap in named]),
        periods=1 + differ.astype(int),
        shares=hits / count,
        intervals=intervals,
        unsettled=float(1 - known[:count].mean()),
        energies=_energies(network, states),
    )


def _drawn(network: AbstractMap, count: int, key: jax.Array) -> Float[Array, "B N"]:
    """Random signs; normal numbers as large as the first memories where neurons are graded."""
    patterns = network.patterns
    shape = count, patterns.N
    if network.signs:
        return jax.random.rademacher(key, shape, patterns.dtype)
    first = patterns.rows(0, min(patterns.P, _FIRST))
    return first.mean() + first.std() * jax.random.normal(key, shape, patterns.dtype)


def _given(network: AbstractMap, starts: ArrayLike) -> Float[Array, "B N"]:
    """Starts of one's own. **Raises:** ValueError for those that the network cannot have."""
    given = as_float(starts, "starts", network.patterns.dtype)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"`starts` must have shape (B, N), a state a row, got {given.shape}.")
    check_shape(given, "starts", (len(given), network.patterns.N), "(B, N)")
    wrong = np.flatnonzero(~np.asarray(jax.vmap(lambda h: network.holds(network.init(h)))(given)))
    if wrong.size:
        raise ValueError(f"`starts` row {wrong[0]} is no state of this network: signs are +-1.")
    return given


def _structured(network: AbstractMap) -> Float[Array, "B N"]:
    """The first memories, their negatives, and mixtures of three of even fewer."""
    xi = np.asarray(network.patterns.rows(0, min(network.patterns.P, _FIRST)))
    few = range(min(len(xi), _MIXED))
    sums = [xi[i] + xi[j] + xi[k] for i in few for j in few for k in few if i < j < k]
    mixed = np.reshape(sums, (-1, xi.shape[1])) / (1 if network.signs else 3)
    rows = np.concatenate([xi, -xi, mixed])
    if network.signs:  # of patterns that need not be signs
        rows = np.where(rows >= 0, 1.0, -1.0)
    return jnp.asarray(rows, network.patterns.dtype)


def _tolerance(network: AbstractMap) -> float:
    """By how much entries of a state at rest may still change, relative to 1 and their size."""
    return 0.0 if network.signs else float(jnp.finfo(network.patterns.dtype).eps) ** 0.5


@jitted
def _ends(
    network: AbstractMap, starts: Float[Array, "B N"], steps: int, stimulus: Any
) -> tuple[Float[Array, "B N"], Float[Array, "B N"], Bool[Array, " B"]]:
    """Where runs end, what comes after it, and whether this is for ever."""
    tol = _tolerance(network)

    def same(a, b):
        """Of spins and past alike."""
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        near = [(jnp.abs(x - y) <= tol * (1 + jnp.abs(x))).all() for x, y in pairs]
        return jnp.stack(near).all()

    def run_from(h):
        start = network.init(h)
        return iterate(network, start, steps, track=[0], stimulus=stimulus, throw=False).final

    def stable(h):
        """Whether a graded state comes back from a little beside it, so that it attracts."""
        if network.signs:
            return jnp.bool_(True)
        beside = (
            _BESIDE * jnp.sqrt((h**2).mean()) * jnp.cos(2 * jnp.arange(h.size, dtype=h.dtype) ** 2)
        )
        back = run_from(h + beside).spins
        return jnp.abs(back - h).max() < jnp.abs(beside).max() / 2

    def end(h):
        final = run_from(h)
        one = network.step(final, stimulus)
        two = network.step(one, stimulus)
        a, b = final.spins, one.spins
        later = _comes_later(a, b, tol)
        first, second = jnp.where(later, b, a), jnp.where(later, a, b)
        return first, second, same(final, two) & jnp.isfinite(a).all() & stable(a)

    return jax.lax.map(end, starts, batch_size=_TOGETHER)


def _comes_later(a: Float[Array, " N"], b: Float[Array, " N"], tol: float) -> Bool[Array, ""]:
    """Whether `a` comes after `b` in the order of their first entries that differ."""
    differ = jnp.abs(a - b) > tol * (1 + jnp.abs(a))
    place = jnp.argmax(differ)
    return differ.any() & (a[place] > b[place])


def _distinct(ends: np.ndarray, signs: bool) -> tuple[list[int], np.ndarray]:
    """The first of each group of equal states, and of which each one is; of graded neurons equal
    up to what a run leaves of its way to rest."""
    if signs:
        _, first, group = np.unique(ends > 0, axis=0, return_index=True, return_inverse=True)
        return sorted(first.tolist()), first[group.ravel()]
    kept: list[int] = []
    belongs = np.empty(len(ends), int)
    for k, end in enumerate(ends):
        away = [np.abs(ends[j] - end).max() for j in kept]
        near = bool(away) and min(away) < _SAME * (1 + np.abs(end).max())
        belongs[k] = kept[int(np.argmin(away))] if near else k
        if not near:
            kept.append(k)
    return kept, belongs


def _named(network: AbstractMap, states: np.ndarray) -> list[tuple[str, float]]:
    """What states are called, and their overlaps with that."""
    overlaps = np.asarray(_overlaps(network, jnp.asarray(states)))
    row = lru_cache(maxsize=None)(lambda k: np.asarray(network.patterns.pattern(k), float))
    return [
        name_by_memories(state, m, row, network.signs)
        for state, m in zip(states.astype(float), overlaps, strict=True)
    ]


@jitted
def _overlaps(network: AbstractMap, states: Float[Array, "K N"]) -> Float[Array, "K P"]:
    return jax.lax.map(lambda h: network.overlaps(network.init(h)), states)


def _energies(network: AbstractMap, states: np.ndarray) -> np.ndarray | None:
    energy = getattr(type(network), "energy", None)
    if energy is None:
        return None
    try:
        found = np.asarray(_of_all(network, energy, jnp.asarray(states)))
    except ValueError:  # a memory that has none
        return None
    return None if np.isnan(found).any() else found  # beyond the largest float


@jitted
def _of_all(network: AbstractMap, energy: Any, states: Float[Array, "K N"]) -> Float[Array, " K"]:
    return jax.lax.map(lambda h: energy(network, network.init(h)), states)
