"""How a retrieval is computed: its queries and items prepared, and one step after the other."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._roots import implicit_rows
from ._attend import (
    AbstractReader,
    Items,
    Known,
    Raw,
    associations,
    attend,
    counted,
    fitting,
    number_of,
    products,
    sums,
)
from ._heads import beta_of, checked, extra_of, keys_of, narrowed, states_of, values_of
from ._placed import beside
from ._precision import of_any_rank
from ._stored import Stored

Mask = Bool[Array, "_ _ S"] | None
_UNROLLED = 5  # with more steps than these a loop is compiled, not each of them


class HeadReader(AbstractReader):
    """Keys and values of the items of a retrieval, and their scores with queries at `places`."""

    layer: Any
    places: Int[Array, " Q"] | None
    causal: bool = eqx.field(static=True)
    keys_only: bool = eqx.field(static=True, default=False)

    def read(self, items: Items, mask: Mask) -> tuple[Array, Array]:
        """Keys and values; for the steps of a state keys take the place of values."""
        if isinstance(items, Known):
            return items.keys, items.keys if self.keys_only else items.values
        memory, values, places = counted(items, mask)
        keys = keys_of(self.layer, memory, places)
        if self.keys_only:
            return keys, keys
        return keys, values_of(self.layer, memory if values is None else values)

    def scores(self, query: Array, keys: Array, items: Items, mask: Mask) -> Array:
        """(H, Q, S), minus infinity for an item that does not count or is later than the query."""
        scores = products(query, keys)
        if self.places is not None and items.places is not None:
            positions = self.layer.positions
            bias = None if positions is None else positions.bias(self.places, items.places)
            if bias is not None:
                scores = scores + bias.astype(scores.dtype)
            if self.causal:
                scores = jnp.where(items.places <= self.places[:, None], scores, -jnp.inf)
        return scores if mask is None else jnp.where(mask, scores, -jnp.inf)


class Call(NamedTuple):
    """A call of a retrieval, prepared: states (H, Q, d) and what they retrieve."""

    states: Float[Array, "H Q d"]
    beta: Float[Array, "_ 1 1"]
    reader: HeadReader
    items: Items
    mask: Mask
    extra: Known | None

    @property
    def size(self) -> Any:
        """How many items there are, S, without the extra ones."""
        return number_of(self.items)

    def read(self) -> "Call":
        """The same with the keys and values of all items."""
        known = Known(*self.reader.read(self.items, self.mask), self.items.places)
        return self._replace(items=known)


def called(
    layer: Any, query: Array, memory: Array | Stored, values: Array | None, mask: Any
) -> Call:
    """The states and items of a call; ValueError or TypeError naming what does not fit."""
    query, whole = checked(layer, query, memory, values, mask)
    causal = isinstance(mask, str)
    stored = isinstance(memory, Stored)
    S = memory.room if stored else memory.shape[0]
    places = of_items = None
    if causal or layer.positions is not None:  # the last query is at the place of the last item
        Q = query.shape[0]
        places, of_items = _numbers(Q) + ((memory.size if stored else S) - Q), _numbers(S)
    if stored:
        counts = memory.counted[None, None]
        whole = counts if whole is None else counts & whole
        keys, read = counted((memory.keys, memory.values), whole)
        items: Items = Known(narrowed(layer, keys), narrowed(layer, read), of_items)
    else:
        items = Raw(memory, values, of_items)
    states = states_of(layer, query, places)
    reader = HeadReader(layer, places, causal)
    beta, extra = beta_of(layer, states.dtype), extra_of(layer, states.dtype)
    return Call(states, beta, reader, items, whole, extra)


def readers(call: Call) -> Bool[Array, " _"] | None:
    """Which queries have an item that they may retrieve, (Q,) or (1,); None if all have."""
    places: Any = call.reader.places
    of_items: Any = call.items.places
    mask: Any = call.mask
    causal = call.reader.causal
    if call.extra is not None or (mask is None and not causal):
        return None
    if not causal and mask is not None:
        return mask.any((0, 2))
    # Each may retrieve something if the first item that counts is not later.
    last = jnp.iinfo(places.dtype).max
    there = of_items[None, None]
    first = jnp.min(there if mask is None else jnp.where(mask, there, last), -1, initial=last)
    return (first <= places).any(0)


def recalled(call: Call, key: Any) -> Float[Array, "H Q e"]:
    """The means of values.

    **Arguments:** `key`: by which weights are dropped; None if none are.
    """
    layer, queries = call.reader.layer, None
    block = layer.block
    if _empty(call):
        block = None
    elif block == "auto":
        queries, block = fitting(call.states.shape[1], layer.num_heads, call.size)
    if layer.separation is not None or key is not None:
        block = None  # weights need the scores of all items
    call = call.read() if block is None else call  # once for all steps
    if queries is None or key is not None:
        return _stepped(call, block, key)
    return _in_parts(call, queries)


def _stepped(call: Call, block: int | None, key: Any) -> Float[Array, "H Q e"]:
    """The means of values after all steps."""
    layer, state = call.reader.layer, call.states
    if layer.steps is None:
        state = rested(call, block)
    elif layer.steps > 1:
        state, _ = lax.scan(
            lambda state, _: (moved(call, block, state), None),
            beside(state, call),
            length=layer.steps - 1,
            unroll=layer.steps <= _UNROLLED,
        )
    return _mean(call, block, state, keys_only=False, key=key)


def _in_parts(call: Call, size: int) -> Float[Array, "H Q e"]:
    """The same for some queries at a time, whose scores stay in the cache and are computed anew
    for derivatives. Softmax is then complete at once, which in blocks of items it is not."""
    H, Q, d = call.states.shape
    mask, reader = call.mask, call.reader
    by_query = None if mask is None or mask.shape[1] == 1 else jnp.moveaxis(mask, 1, 0)

    @jax.checkpoint
    def part(xs):
        states, places, rows = xs
        found = mask if rows is None else jnp.moveaxis(rows, 0, 1)
        some = HeadReader(reader.layer, places, reader.causal)
        return _stepped(call._replace(states=states, reader=some, mask=found), None, None)

    def parts(x):
        x = jnp.pad(x, ((0, -Q % size), *((0, 0) for _ in x.shape[1:])))
        return x.reshape(-1, size, *x.shape[1:])

    states = jnp.pad(call.states, ((0, 0), (0, -Q % size), (0, 0))).reshape(H, -1, size, d)
    rest = jax.tree.map(parts, (reader.places, by_query))
    found = lax.map(part, (jnp.moveaxis(states, 1, 0), *rest))  # (parts, H, size, e)
    return jnp.moveaxis(found, 0, 1).reshape(H, -1, found.shape[-1])[:, :Q]


def moved(call: Call, block: int | None, state: Array) -> Float[Array, "H Q d"]:
    """The states after one step."""
    return _mean(call, block, state, keys_only=True)


def rested(call: Call, block: int | None) -> Float[Array, "H Q d"]:
    """The states at rest, with the derivatives that the condition of rest gives."""
    layer = call.reader.layer
    tol = float(jnp.finfo(call.states.dtype).eps) ** 0.75 if layer.tol is None else layer.tol
    still: Any = jax.tree.map(_still, call)

    def unrest(carry):
        _, steps, at_rest = carry
        return (steps < layer.max_steps) & ~at_rest

    def step(carry):
        state, steps, _ = carry
        new = moved(still, block, state)
        return new, steps + 1, (jnp.abs(new - state) <= tol * (1 + jnp.abs(new))).all()

    start = (still.states, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    state, *_ = lax.while_loop(unrest, step, beside(start, still))
    return implicit_rows(eqx.Partial(_left, call, block), state)


def scored(
    call: Call, state: Array, *, keys_only: bool
) -> tuple[Float[Array, "H Q S"], Float[Array, "K S e"]]:
    """The scores of all items, of which keys and values have been read, the extra ones last; and
    their values."""
    reader = _reader(call, keys_only)
    keys, values = reader.read(call.items, call.mask)
    scores = reader.scores(call.beta * state, keys, call.items, call.mask)
    if call.extra is None:
        return scores, values
    extra_keys, extra_values = reader.read(call.extra, None)
    more = reader.scores(call.beta * state, extra_keys, call.extra, None)
    return jnp.concatenate([scores, more], -1), jnp.concatenate([values, extra_values], 1)


def _mean(
    call: Call, block: int | None, state: Array, *, keys_only: bool, key: Any = None
) -> Float[Array, "H Q _"]:
    """The means of the keys or the values."""
    layer = call.reader.layer
    if (layer.separation is None and key is None) or _empty(call):
        reader = _reader(call, keys_only)
        return attend(call.beta * state, reader, call.items, call.mask, block, call.extra)
    scores, values = scored(call, state, keys_only=keys_only)
    weights = associations(scores, layer.separation)
    return sums(weights if key is None else layer.dropout(weights, key=key), values)


def _numbers(n: Any) -> Int[Array, " n"]:
    return jnp.arange(n, dtype=jnp.int32)


def _reader(call: Call, keys_only: bool) -> HeadReader:
    reader = call.reader
    return HeadReader(reader.layer, reader.places, reader.causal, keys_only)


def _empty(call: Call) -> bool:
    return isinstance(call.size, int) and call.size == 0 and call.extra is None


@of_any_rank
def _left(call: Call, block: int | None, state: Array) -> Array:
    """How far a step goes: zero for states at rest."""
    return moved(call, block, state) - state


def _still(leaf: Any) -> Any:
    return lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf
