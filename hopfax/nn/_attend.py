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

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from ._placed import beside
from ._precision import of_any_rank

#: Scores of a block, by kind of device: 1 MB in float32 on a CPU, where a block should stay in the
#: cache. Half or twice as many take up to 30 % more, all 4 million of them at once 3 times as long.
_SCORES = {"cpu": 2**18}
_MANY_SCORES = 2**25
#: The most items of a block, so that what is computed of each of them stays small, too.
_ITEMS = 2048

Query = Float[Array, "Q H d"]
Out = Float[Array, "Q H e"]
Mask = Bool[Array, "#H #Q S"]
Read = Callable[[PyTree], tuple[Array, Array]]
#: Largest score (H, Q), sum of exponentials (H, Q) and their sum with the values (Q, H, e).
Sums: TypeAlias = tuple[Array, Array, Array]


def fitting_block(Q: Any, H: int, S: Any) -> int | None:
    """How many items to read at a time: None, all of them, if they and their scores are few."""
    if not all(isinstance(size, int) for size in (Q, H, S)):
        return None  # sizes that are not known before the program runs
    most = _SCORES.get(jax.default_backend(), _MANY_SCORES)
    if S <= 4 * _ITEMS and Q * H * S <= 2 * most:
        return None
    return min(max(most // max(Q * H, 1), 64), _ITEMS)


def attend(query: Query, read: Read, stored: PyTree, mask: Mask | None, block: int | None) -> Out:
    r"""$\sum_s p_{hqs}\, v_{sh}$ with $p_{hq} = \mathrm{softmax}_s(q_{qh} \cdot k_{sh})$.

    A row of which `mask` leaves nothing is zero, and so are its derivatives. In blocks no array of
    all (H, Q, S) scores ever exists: a first pass carries the largest score and the sums relative
    to it (Milakov, Gimelshein 2018, arXiv:1805.02867), and derivatives, forward or reverse, of any
    order, compute each block's scores anew (Rabe, Staats 2021, arXiv:2112.05682; Dao et al. 2022,
    arXiv:2205.14135).

    **Arguments:**

    - `query`: q, times the inverse temperature.
    - `read`: makes keys (B, H, d) and values (B, H, e) of B stored items; a PyTree.
    - `stored`: what it reads: arrays with S items along their first axis.
    - `mask`: True where an item counts.
    - `block`: how many items are read at a time; None for all of them.

    **Returns:** (Q, H, e).
    """
    if block is None:
        return _normalised(*_online(query, read, stored, mask))[0]
    S = jax.tree.leaves(stored)[0].shape[0]
    block = _divisor(S, min(block, S)) if isinstance(S, int) else block
    pad = -(-S // block) * block - S  # of a length that is not known yet, too
    if mask is None and not (isinstance(pad, int) and pad == 0):
        mask = jnp.ones((1, 1, S), bool)
    if mask is not None:
        mask = jnp.pad(mask, ((0, 0), (0, 0), (0, pad)))
        mask = jnp.moveaxis(mask.reshape(*mask.shape[:2], (S + pad) // block, block), 2, 0)
    blocks = jax.tree.map(lambda x: _in_blocks(x, pad, block), stored)
    return _blocked(query, read, blocks, mask)


def associations(scores: Array, separation: Any) -> Array:
    r"""The weights $p_{hqs}$ of all items, zero where all scores are minus infinity.

    **Arguments:** `separation`: what makes weights of scores; None for softmax.
    """
    some = jnp.isfinite(scores).any(-1, keepdims=True)
    scores = jnp.where(some, scores, 0.0)
    weights = jax.nn.softmax(scores) if separation is None else separation.weights(scores)
    return jnp.where(some, weights, 0.0)


def _divisor(S: int, block: int) -> int:
    """A block size that divides S, so that nothing needs padding (a copy), or else `block`."""
    return next((b for b in range(block, block // 2, -1) if S % b == 0), block)


def _in_blocks(x: Array, pad: Any, block: int) -> Array:
    if not isinstance(pad, int) or pad > 0:
        x = jnp.pad(x, ((0, pad),) + ((0, 0),) * (x.ndim - 1))
    return x.reshape(x.shape[0] // block, block, *x.shape[1:])


def counted(stored: PyTree, mask: Mask | None) -> PyTree:
    """What is stored, with zeros for items that no query reads: 0 times NaN would be NaN."""
    if mask is None:
        return stored
    some = mask.any((0, 1))
    return jax.tree.map(
        lambda x: jnp.where(some.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype)),
        stored,
    )


def scores_of(query: Query, keys: Array, mask: Mask | None) -> Array:
    """The products (H, Q, S), minus infinity where an item does not count."""
    scores = jnp.einsum("qhd,shd->hqs", query, keys)
    return scores if mask is None else jnp.where(mask, scores, -jnp.inf)


def _online(
    query: Query, read: Read, stored: PyTree, mask: Mask | None, before: Sums | None = None
) -> Sums:
    """The sums after some more items; `before`: those after the items before them."""
    keys, values = read(stored)
    scores = scores_of(query, keys, mask)
    largest = lax.stop_gradient(jnp.max(scores, -1, initial=-jnp.inf))
    if before is not None:
        largest = jnp.maximum(largest, before[0])
    finite = jnp.where(largest == -jnp.inf, 0.0, largest)  # nothing but masked items so far
    weights = jnp.exp(scores - finite[..., None])
    total, sums = weights.sum(-1), jnp.einsum("hqs,she->qhe", weights, values)
    if before is not None:
        shrink = jnp.exp(before[0] - finite)
        total, sums = total + shrink * before[1], sums + shrink.T[..., None] * before[2]
    return largest, total, sums


def _normalised(largest: Array, total: Array, sums: Array) -> tuple[Out, Array]:
    """The mean of values, and the logarithm of the sum of exponentials."""
    total = jnp.where(total > 0, total, 1.0)
    return sums / total.T[..., None], jnp.where(largest == -jnp.inf, 0.0, largest) + jnp.log(total)


def _passed(query: Query, read: Read, blocks: PyTree, mask: Array | None) -> tuple[Out, Array]:
    """The mean of values, and the logarithm of the sum of exponentials, block by block."""

    def step(carry, xs):
        stored, mask = xs
        return _online(query, read, counted(stored, mask), mask, carry), None

    first = jax.tree.map(lambda x: x[0], (blocks, None))[0]
    values = jax.eval_shape(read, first)[1]
    Q, H, dtype = *query.shape[:2], query.dtype
    start = (
        jnp.full((H, Q), -jnp.inf, dtype),
        jnp.zeros((H, Q), dtype),
        jnp.zeros((Q, H, values.shape[-1]), dtype),
    )
    start = beside(start, query, read, blocks, mask)
    return _normalised(*lax.scan(step, start, (blocks, mask))[0])


@eqx.filter_custom_jvp
def _blocked(query: Query, read: Read, blocks: PyTree, mask: Array | None) -> Out:
    """The mean of values, block by block, with derivatives that keep no scores."""
    return _passed(query, read, blocks, mask)[0]


@_blocked.def_jvp
@of_any_rank
def _blocked_jvp(primals: tuple, tangents: tuple) -> tuple[Out, Out]:
    query, read, blocks, mask = primals
    d_query, d_read, d_blocks, _ = tangents
    out, log_total = _passed(*primals)

    def terms(query, read, block, mask):
        keys, values = read(counted(block, mask))
        weights = jnp.exp(scores_of(query, keys, mask) - log_total[..., None])
        return weights.sum(-1), jnp.einsum("hqs,she->qhe", weights, values)

    @jax.checkpoint
    def step(sums: Any, xs: Any):
        block, mask, d_block = xs
        changes = eqx.filter_jvp(
            terms, (query, read, block, mask), (d_query, d_read, d_block, None)
        )[1]
        return jax.tree.map(jnp.add, sums, changes), None

    start = beside((jnp.zeros_like(log_total), jnp.zeros_like(out)), primals)
    (d_total, d_sums), _ = lax.scan(step, start, (blocks, mask, d_blocks))
    return out, d_sums - d_total.T[..., None] * out
