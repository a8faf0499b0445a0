r"""Where the iteration of a layer comes to rest: its fixed points, and how many starts reach each.

All starts are iterated together until each is at rest. Those that end within a small distance of
each other are one fixed point. It is then pushed aside a little and iterated again: from an
unstable one, as a saddle on which a symmetric start has ended, the state goes elsewhere.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .._errors import as_count, as_key, as_number, check_at_least, check_shape, check_type
from .._programs import jitted
from .._report import Report, Reported
from .._types import ArrayLike
from ._attend import associations, products
from ._dense_layer import DenseMemoryLayer
from ._heads import beta_of, extra_of, states_of
from ._inspect import energy_of
from ._inspect_dense import shares_of, tolerance
from ._kinds import RETRIEVED, kinds_of
from ._precision import arrived, of_any_rank, widened
from ._retrieval import HopfieldRetrieval
from ._store import stored_keys
from ._tables import HopfieldLookup

_LISTED = 12  # fixed points that the report lists


class Attractors(Reported, eqx.Module):
    r"""The fixed points that `attractors` has found, those that most starts reach first.

    - `states`: (A, d) the fixed points.
    - `starts`: (A,) how many of all starts ended in each. `memories`: (A,) how many of the stored
      items did, started from themselves.
    - `retrieved`: (A,) codes into `hopfax.nn.RETRIEVED`, `items`: (A,) the number of items with the
      largest weights that make up 0.9, and `effective`: (A,) the effective number of items, as of
      `inspect`.
    - `nearest`: (A,) the item of the largest weight. `ahead`: (A,) by how much its score (of a
      `DenseMemoryLayer` its overlap) is ahead of the second.
    - `energy`: (A,). NaN for `TopK`.
    - `stable`: (A,) whether the state comes back when it is pushed aside a little.
    - `end`: (n,) the place here of the fixed point that each start has reached, the stored items
      first; -1 if it was not at rest in time.
    - `stored`: (S,) whether an item, started from itself, is retrieved alone.

    **Example:**

    ```python
    layer = hx.nn.DenseMemoryLayer(4, 16, interaction=hx.Softmax(0.01), key=jax.random.key(0))
    found = hx.nn.attractors(layer)
    hx.nn.RETRIEVED[found.retrieved[0]]  # 'the mean of many': a small beta stores nothing
    ```
    """

    states: Float[Array, "A d"]
    starts: Int[Array, " A"]
    memories: Int[Array, " A"]
    retrieved: Int[Array, " A"]
    items: Int[Array, " A"]
    effective: Float[Array, " A"]
    nearest: Int[Array, " A"]
    ahead: Float[Array, " A"]
    energy: Float[Array, " A"]
    stable: Bool[Array, " A"]
    end: Int[Array, " n"]
    stored: Bool[Array, " S"]

    def _report(self) -> Report:
        A, n, S = len(self.starts), len(self.end), len(self.stored)
        rows = [(str(k), self._line(k)) for k in range(min(A, _LISTED))]
        head = [f"  retrieved alone from themselves: {int(self.stored.sum())} of {S} memories"]
        if lost := int((self.end < 0).sum()):
            head.append(f"  not at rest in time: {_counted(lost, 'start')}")
        tail = [f"  and {A - _LISTED} more"] if A > _LISTED else []
        return Report(f"{_counted(A, 'fixed point')} from {_counted(n, 'start')}", rows, head, tail)

    def _line(self, k: int) -> str:
        """What is said of one fixed point."""
        kind = RETRIEVED[int(self.retrieved[k])]
        if kind == "one item":
            kind = f"item {int(self.nearest[k])}"
        elif kind == "several items":
            kind = f"{int(self.items[k])} items"
        n, share = int(self.starts[k]), 100 * int(self.starts[k]) / len(self.end)
        own = int(self.memories[k])
        effective, ahead, energy = (float(x[k]) for x in (self.effective, self.ahead, self.energy))
        text = (
            f"{kind}; {_counted(n, 'start')} ({share:.0f} %), {own} of them from memories; "
            f"effective {effective:.3g}, ahead {ahead:.3g}, energy {energy:.4g}"
        )
        return text if self.stable[k] else f"{text}; unstable"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@of_any_rank
def attractors(
    layer: DenseMemoryLayer | HopfieldLookup | HopfieldRetrieval,
    memory: ArrayLike | None = None,
    starts: ArrayLike | None = None,
    *,
    head: int = 0,
    random: int = 0,
    max_steps: int = 10_000,
    tol: float | None = None,
    apart: float = 1e-3,
    key: PRNGKeyArray | None = None,
) -> Attractors:
    r"""The fixed points of a layer's iteration, started from all that is stored and from elsewhere.

    Of a retrieval this is the iteration of one head, $q \leftarrow \sum_s k_s\,
    \mathrm{softmax}_s(\beta\, q \cdot k_s)$, whatever its `steps`, in the space of its keys. Kinds
    of fixed points: Ramsauer et al. 2021, arXiv:2008.02217, section 3. What no start has reached is
    not found.

    **Arguments:**

    - `layer`: a `DenseMemoryLayer`, `HopfieldLookup`, or `HopfieldRetrieval`.
    - `memory`: what a `HopfieldRetrieval` reads, (S, memory_size).
    - `starts`: further starts, (n, size) or, of a retrieval, queries, (n, query_size).
    - `head`: the head of a retrieval.
    - `random`: how many starts are made at random, normal numbers of the root mean square of what
      is stored; they need a `key`.
    - `max_steps`: the most updates. `tol`: a state is at rest if an update changes no entry by more
      than `tol * (1 + |entry|)`. Default: as of `DenseMemoryLayer`.
    - `apart`: states that are nearer than `apart` times the root mean square norm of what is stored
      are one fixed point.

    **Returns:** an `Attractors`, which prints as a report.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    layer = hx.nn.DenseMemoryLayer(4, 16, interaction=hx.Softmax(1.0), key=jax.random.key(0))
    found = hx.nn.attractors(layer, random=50, key=jax.random.key(1))
    found.stored  # True, True, True, False
    print(found)
    ```
    """
    kinds = (DenseMemoryLayer, HopfieldLookup, HopfieldRetrieval)
    what = "a DenseMemoryLayer, HopfieldLookup or HopfieldRetrieval"
    check_type(layer, "layer", kinds, what)
    random, max_steps = as_count(random, "random", 0), as_count(max_steps, "max_steps")
    check_at_least(apart := as_number(apart, "apart"), "apart", 0.0, strict=True)
    if isinstance(layer, DenseMemoryLayer):
        if memory is not None:
            raise TypeError("`memory` of a DenseMemoryLayer is its own, so it takes none.")
        moving, first = _of_dense(layer, starts)
        tol = layer.tol if tol is None else tol
    else:
        moving, first = _of_head(layer, memory, starts, head)
    stored = first[: moving.number]
    tol = tolerance(None if tol is None else as_number(tol, "tol"), stored.dtype)
    if random:
        if key is None:
            raise ValueError("`key` is needed for random starts.")
        size = jnp.sqrt(jnp.square(stored).mean())
        more = size * jr.normal(as_key(key), (random, stored.shape[1]), stored.dtype)
        first = jnp.concatenate([first, more])
    near = apart * float(jnp.sqrt(jnp.square(stored).sum(1).mean()))
    ends, rested = _rest(moving, first, max_steps, tol)
    places, end = _different(np.asarray(ends), np.asarray(rested), near)
    return _described(moving, ends[jnp.asarray(places, int)], end, near, (max_steps, tol))


class _Head(eqx.Module):
    """The iteration of one head."""

    layer: HopfieldRetrieval
    keys: Float[Array, "S d"]
    beta: Float[Array, "1 1 1"]

    @property
    def number(self):
        return self.keys.shape[0]

    def _scores(self, state):
        return products(self.beta * state[None, None], self.keys[None])

    def update(self, state):
        return associations(self._scores(state), self.layer.separation)[0, 0] @ self.keys

    def seen(self, state):
        scores = self._scores(state)
        weights = associations(scores, self.layer.separation)[0, 0]
        energy = energy_of(self.layer, state[None, None], self.beta, scores)[0, 0]
        best = jnp.sort(scores[0, 0])
        return weights, best[-1] - best[-2] if best.size > 1 else best[-1] * jnp.inf, energy


class _Dense(eqx.Module):
    """The iteration of a dense memory."""

    layer: DenseMemoryLayer

    @property
    def number(self):
        return self.layer.memories.shape[0]

    def update(self, state):
        return self.layer._updated(state, state, None)

    def seen(self, state):
        _, weights, ahead = shares_of(self.layer, state)
        return weights, ahead, self.layer.energy(state)


def _of_dense(layer: DenseMemoryLayer, starts: Any) -> tuple[_Dense, Array]:
    """The iteration, and what it starts from, the memories first."""
    size = layer.memories.shape[1]
    layer._checked(layer.memories[0], None)  # of the interaction
    others = _rows(starts, size, "(n, size)", layer.memories.dtype)
    layer, others = widened(layer, others)
    return _Dense(layer), jnp.concatenate([layer.memories, others])


def _of_head(layer: Any, memory: Any, starts: Any, head: Any) -> tuple[_Head, Array]:
    """The iteration of one head, and what it starts from, the keys first."""
    made = layer if isinstance(layer, HopfieldRetrieval) else layer.retrieval
    if made.positions is not None:
        raise ValueError(
            "`layer` must have no `positions`, by which what a state reaches depends on its place."
        )
    head = as_count(head, "head", 0)
    if head >= made.num_heads:
        raise ValueError(f"`head` must be below `num_heads` = {made.num_heads}, got {head}.")
    keys = stored_keys(layer, memory)[head * made.num_kv_heads // made.num_heads]
    if keys.shape[0] == 0:
        raise ValueError("`memory` has no items to look at.")
    others = _rows(starts, made.query_size, "(n, query_size)", keys.dtype)
    made, keys, others = widened(made, keys, others)
    if (extra := extra_of(made, keys.dtype)) is not None:
        more = extra.keys[head * made.num_kv_heads // made.num_heads]
        keys = jnp.concatenate([keys, more.astype(keys.dtype)])
    beta = jnp.broadcast_to(beta_of(made, keys.dtype), (made.num_heads, 1, 1))[head : head + 1]
    return _Head(made, keys, beta), jnp.concatenate([keys, states_of(made, others, None)[head]])


def _rows(starts: Any, size: int, meaning: str, dtype: Any) -> Array:
    if starts is None:
        return jnp.zeros((0, size), dtype)
    starts = arrived(starts, "starts")
    number = starts.shape[0] if starts.ndim == 2 else "n"
    check_shape(starts, "starts", (number, size), meaning)
    return starts


@jitted
def _rest(moving: Any, starts: Array, max_steps: int, tol: float) -> tuple[Array, Array]:
    """The states at rest, and which are; no state is moved once it is."""

    def going(carry):
        _, rested, k = carry
        return (k < max_steps) & ~rested.all()

    def step(carry):
        states, rested, k = carry
        after = jax.vmap(moving.update)(states)
        still = (jnp.abs(after - states) <= tol * (1 + jnp.abs(states))).all(1)
        return jnp.where(rested[:, None], states, after), rested | still, k + 1

    begin = (starts, jnp.zeros(len(starts), bool), 0)
    states, rested, _ = lax.while_loop(going, step, begin)
    return states, rested


def _different(ends: np.ndarray, rested: np.ndarray, near: float) -> tuple[list[int], np.ndarray]:
    """Places of different fixed points among the ends, those of most starts first, and which of
    them each start has reached, -1 for none."""
    places: list[int] = []
    end = np.full(len(ends), -1)
    for k in np.flatnonzero(rested):
        distance = np.linalg.norm(ends[places] - ends[k], axis=1)
        if distance.size and distance.min() <= near:
            end[k] = distance.argmin()
        else:
            end[k] = len(places)
            places.append(int(k))
    order = np.argsort(-np.bincount(end[end >= 0], minlength=len(places)), kind="stable")
    rank = np.append(np.argsort(order, kind="stable"), -1)  # the last is of -1
    return [places[k] for k in order], rank[end]


def _described(
    moving: Any, states: Array, end: np.ndarray, near: float, limits: tuple[int, float]
) -> Attractors:
    """What is to be said of each fixed point."""
    A, S = states.shape[0], moving.number
    push = jr.normal(jr.key(0), states.shape, states.dtype)
    push = 0.1 * near * push / jnp.linalg.norm(push, axis=1, keepdims=True)
    back, _ = _rest(moving, states + push, *limits)
    retrieved, items, effective, nearest, ahead, energy = _facts(moving, states)
    own = end[:S]
    alone = np.append(np.asarray(retrieved) == 0, False)[own]
    stored = alone & (np.append(np.asarray(nearest), -1)[own] == np.arange(S))
    return Attractors(
        states,
        jnp.asarray(np.bincount(end[end >= 0], minlength=A)),
        jnp.asarray(np.bincount(own[own >= 0], minlength=A)),
        retrieved,
        items,
        effective,
        nearest,
        ahead,
        energy,
        jnp.linalg.norm(back - states, axis=1) <= near,
        jnp.asarray(end),
        jnp.asarray(stored),
    )


@jitted
def _facts(moving: Any, states: Array) -> tuple[Array, ...]:
    """What each fixed point retrieves, by how much it is ahead, and its energy."""
    weights, ahead, energy = jax.vmap(moving.seen)(states)
    return *kinds_of(weights, moving.number), weights.argmax(1), ahead, energy
