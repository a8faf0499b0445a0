"""The softmax mean over stored items, of all of them at once or in blocks.

In blocks, items are read one block at a time and their scores forgotten, so that memory grows with
the size of a block. The mean needs two sums over all items, of the weights and of the weighted
values. Weights are exponentials of scores, which overflow; so each carries the largest score so far
and has its sums relative to that, and shrinks them when a larger one comes.

Derivatives would keep the scores of all blocks. Here they do not: with the logarithm of the sum of
exponentials, which is known after the first pass, the weights of a block can be computed anew, and
the tangent of the mean is again a sum over blocks. As that rule is itself written in JAX, it is
transposed for reverse mode and differentiated for higher orders.
"""

import abc
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._placed import beside
from ._precision import of_any_rank

#: Scores of a block, by kind of device: 1 MB in float32 on a CPU, where a block should stay in the
#: cache. Half or twice as many take up to 30 % more, all 4 million of them at once 3 times as long.
_SCORES = {"cpu": 2**18}
_MANY_SCORES = 2**25
#: The fewest queries for which it pays to compute them by themselves, with all items.
_QUERIES = 8
#: The most items of a block, so that what is computed of each of them stays small, too.
_ITEMS = 2048

Query = Float[Array, "H Q d"]
Out = Float[Array, "H Q e"]
Mask = Bool[Array, "#H #Q S"]
#: Largest score (H, Q), sum of exponentials (H, Q) and their sum with the values (H, Q, e).
Sums: TypeAlias = tuple[Array, Array, Array]


class Raw(NamedTuple):
    """Items as they came: (S, memory_size); their values, if they have others, (S, value_size); and
    their places, if these matter."""

    memory: Float[Array, "S _"]
    values: Float[Array, "S _"] | None
    places: Int[Array, " S"] | None


class Known(NamedTuple):
    """Items of which keys and values in each of K heads are known; and their places, if these
    matter."""

    keys: Float[Array, "K S d"]
    values: Float[Array, "K S e"]
    places: Int[Array, " S"] | None


Items: TypeAlias = Raw | Known


def number_of(items: Items) -> Any:
    """How many items there are, S."""
    return items.keys.shape[1] if isinstance(items, Known) else items.memory.shape[0]


class AbstractReader(eqx.Module):
    """What turns some items into keys and values, and gives the scores of queries with them."""

    @abc.abstractmethod
    def read(self, items: Items, mask: Mask | None) -> tuple[Array, Array]:
        """Keys (K, S, d) and values (K, S, e) of items."""

    @abc.abstractmethod
    def scores(
        self, query: Query, keys: Array, items: Items, mask: Mask | None
    ) -> Float[Array, "H Q S"]:
        """The scores, minus infinity where an item does not count."""


class Portion(NamedTuple):
    """How many queries, and how many items, are computed at a time; None: all of them."""

    queries: int | None
    items: int | None


def fitting(Q: Any, H: int, S: Any) -> Portion:
    """How much to compute at a time: all, if the items and their scores are few; some queries with
    all items, if these are few; or else all queries with some items."""
    if not all(isinstance(size, int) for size in (Q, H, S)):
        return Portion(None, None)  # sizes that are not known before the program runs
    most = _SCORES.get(jax.default_backend(), _MANY_SCORES)
    few = S <= 4 * _ITEMS
    if few and Q * H * S <= 2 * most:
        return Portion(None, None)
    queries = most // (H * S)
    if few and queries >= _QUERIES:
        return Portion(divisor(Q, queries), None)
    return Portion(None, min(max(most // max(Q * H, 1), 64), _ITEMS))


def attend(
    query: Query,
    reader: AbstractReader,
    items: Items,
    mask: Mask | None,
    block: int | None,
    extra: Known | None = None,
) -> Out:
    r"""$\sum_s p_{hqs}\, v_{sh}$ with $p_{hq} = \mathrm{softmax}_s(z_{hqs})$.

    A row of which `mask` leaves nothing is zero, and so are its derivatives. In blocks no array of
    all (H, Q, S) scores ever exists: a first pass carries the largest score and the sums relative
    to it (Milakov, Gimelshein 2018, arXiv:1805.02867), and derivatives, forward or reverse, of any
    order, compute each block's scores anew (Rabe, Staats 2021, arXiv:2112.05682; Dao et al. 2022,
    arXiv:2205.14135).

    **Arguments:**

    - `query`: q, times the inverse temperature.
    - `reader`: makes keys, values and scores z of some items; a PyTree.
    - `items`: what it reads, S of them.
    - `mask`: True where an item counts.
    - `block`: how many items are read at a time; None for all of them.
    - `extra`: further items, with keys and values, that each query retrieves.

    **Returns:** (H, Q, e).
    """
    if block is None:
        before = None if extra is None else _online(query, reader, extra, None)
        return _normalised(*_online(query, reader, items, mask, before))[0]
    S = number_of(items)
    block = divisor(S, min(block, S)) if isinstance(S, int) else block
    pad = -(-S // block) * block - S  # of a length that is not known yet, too
    if mask is None and not (isinstance(pad, int) and pad == 0):
        mask = jnp.ones((1, 1, S), bool)
    if mask is not None:
        mask = jnp.pad(mask, ((0, 0), (0, 0), (0, pad)))
        mask = jnp.moveaxis(mask.reshape(*mask.shape[:2], (S + pad) // block, block), 2, 0)
    blocks = _in_blocks(items, pad, block)
    return _blocked(query, reader, blocks, mask, extra)


def associations(scores: Array, separation: Any) -> Array:
    r"""The weights $p_{hqs}$ of all items, zero where all scores are minus infinity.

    **Arguments:** `separation`: what makes weights of scores; None for softmax.
    """
    some = jnp.isfinite(scores).any(-1, keepdims=True)
    scores = jnp.where(some, scores, 0.0)
    weights = jax.nn.softmax(scores) if separation is None else separation.weights(scores)
    return jnp.where(some, weights, 0.0)


def products(query: Query, keys: Float[Array, "K S d"]) -> Float[Array, "H Q S"]:
    """The products of queries in H heads and keys in K, of which each serves H/K heads; in the
    dtype of the queries, of factors in that of the keys."""
    (H, Q, d), (K, S, _) = query.shape, keys.shape
    wide: Any = dict(preferred_element_type=query.dtype)
    query = query.astype(keys.dtype)
    if K == H:
        return jnp.einsum("hqd,hsd->hqs", query, keys, **wide)
    grouped = query.reshape(K, H // K, Q, d)
    return jnp.einsum("kgqd,ksd->kgqs", grouped, keys, **wide).reshape(H, Q, S)


def sums(weights: Float[Array, "H Q S"], values: Float[Array, "K S e"]) -> Out:
    """The sums of values with these weights; as `products`."""
    (H, Q, S), (K, _, e) = weights.shape, values.shape
    wide: Any = dict(preferred_element_type=weights.dtype)
    weights = weights.astype(values.dtype)
    if K == H:
        return jnp.einsum("hqs,hse->hqe", weights, values, **wide)
    grouped = weights.reshape(K, H // K, Q, S)
    return jnp.einsum("kgqs,kse->kgqe", grouped, values, **wide).reshape(H, Q, e)


def divisor(S: int, block: int) -> int:
    """A block size that divides S, so that nothing needs padding (a copy), or else `block`."""
    return next((b for b in range(block, block // 2, -1) if S % b == 0), block)


def _in_blocks(items: Items, pad: Any, block: int) -> Items:
    """The items with an axis of blocks in front, the last block filled up with zeros."""

    def split(x, axis):
        if not isinstance(pad, int) or pad > 0:
            x = jnp.pad(x, [(0, pad if k == axis else 0) for k in range(x.ndim)])
        number = x.shape[axis] // block
        x = x.reshape(*x.shape[:axis], number, block, *x.shape[axis + 1 :])
        return jnp.moveaxis(x, axis, 0)

    return jax.tree.map(lambda x: split(x, 1 if x.ndim == 3 else 0), items)


def counted(items: Any, mask: Mask | None) -> Any:
    """The items with zeros for those that no query reads: 0 times NaN would be NaN."""
    if mask is None:
        return items
    some = mask.any((0, 1))
    return jax.tree.map(
        lambda x: jnp.where(some if x.ndim == 1 else some[:, None], x, jnp.zeros((), x.dtype)),
        items,
    )


def _online(
    query: Query,
    reader: AbstractReader,
    items: Items,
    mask: Mask | None,
    before: Sums | None = None,
) -> Sums:
    """The sums after some more items; `before`: those after the items before them."""
    keys, values = reader.read(items, mask)
    scores = reader.scores(query, keys, items, mask)
    largest = lax.stop_gradient(jnp.max(scores, -1, initial=-jnp.inf))
    if before is not None:
        largest = jnp.maximum(largest, before[0])
    finite = jnp.where(largest == -jnp.inf, 0.0, largest)  # nothing but masked items so far
    weights = jnp.exp(scores - finite[..., None])
    total, mean = weights.sum(-1), sums(weights, values)
    if before is not None:
        shrink = jnp.exp(before[0] - finite)
        total, mean = total + shrink * before[1], mean + shrink[..., None] * before[2]
    return largest, total, mean


def _normalised(largest: Array, total: Array, mean: Array) -> tuple[Out, Array]:
    """The mean of values, and the logarithm of the sum of exponentials."""
    total = jnp.where(total > 0, total, 1.0)
    return mean / total[..., None], jnp.where(largest == -jnp.inf, 0.0, largest) + jnp.log(total)


def _passed(
    query: Query, reader: AbstractReader, blocks: Items, mask: Array | None, extra: Known | None
) -> tuple[Out, Array]:
    """The mean of values, and the logarithm of the sum of exponentials, block by block."""

    def step(carry, xs):
        items, mask = xs
        return _online(query, reader, items, mask, carry), None

    if extra is None:
        first = jax.tree.map(lambda x: x[0], blocks)
        values = jax.eval_shape(reader.read, first, None)[1]
        H, Q, dtype = *query.shape[:2], query.dtype
        start = (
            jnp.full((H, Q), -jnp.inf, dtype),
            jnp.zeros((H, Q), dtype),
            jnp.zeros((H, Q, values.shape[-1]), dtype),
        )
    else:
        start = _online(query, reader, extra, None)
    start = beside(start, query, reader, blocks, mask)
    return _normalised(*lax.scan(step, start, (blocks, mask))[0])


@eqx.filter_custom_jvp
def _blocked(
    query: Query, reader: AbstractReader, blocks: Items, mask: Array | None, extra: Known | None
) -> Out:
    """The mean of values, block by block, with derivatives that keep no scores."""
    return _passed(query, reader, blocks, mask, extra)[0]


@_blocked.def_jvp
@of_any_rank
def _blocked_jvp(primals: tuple, tangents: tuple) -> tuple[Out, Out]:
    query, reader, blocks, mask, extra = primals
    d_query, d_reader, d_blocks, _, d_extra = tangents
    out, log_total = _passed(*primals)

    def terms(query, reader, items, mask):
        keys, values = reader.read(items, mask)
        weights = jnp.exp(reader.scores(query, keys, items, mask) - log_total[..., None])
        return weights.sum(-1), sums(weights, values)

    def changed(items, mask, d_items):
        """How the terms of some items change."""
        return eqx.filter_jvp(
            terms, (query, reader, items, mask), (d_query, d_reader, d_items, None)
        )[1]

    @jax.checkpoint
    def step(total: Any, xs: Any):
        return jax.tree.map(jnp.add, total, changed(*xs)), None

    start = (jnp.zeros_like(log_total), jnp.zeros_like(out))
    if extra is not None:
        start = changed(extra, None, d_extra)
    start = beside(start, primals)
    (d_total, d_sums), _ = lax.scan(step, start, (blocks, mask, d_blocks))
    return out, d_sums - d_total[..., None] * out
