r"""Sums over very many patterns, one block at a time.

Every block is read (or made), used and dropped, so memory is that of one block whatever their
number. The order of blocks is fixed, so sums are bit-identical however the patterns are kept on a
device. Sums of integers below $2^{24}$ (float32) do not depend on any order, so not on devices.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from ...patterns import AbstractPatterns, GeneratedPatterns, ShardedPatterns
from ...patterns._base import Index, pack_bits, unpack_bits
from ...patterns._many import AXIS

_Given = TypeVar("_Given")
_Sum = TypeVar("_Sum")

_GROUP = 16  # words counted in one step of the loop over a row's words
_EXACT = lax.Precision.HIGHEST


class _Share:
    """Patterns `begin` to `begin + P` of generated ones."""

    def __init__(self, patterns: AbstractPatterns, begin: Index, P: int):
        self._patterns, self._begin, self.P = patterns, begin, P
        self.binary = patterns.binary

    def rows(self, first, size):
        return self._patterns.rows(self._begin + first, size)

    def words(self, first, size):
        return self._patterns.words(self._begin + first, size)


class Block:
    """Consecutive patterns, which are read (or made) each time that they are used."""

    def __init__(
        self,
        patterns: AbstractPatterns | _Share,
        first: Index,
        size: int,
        valid: Bool[Array, " b"],
    ):
        self.valid = valid  # False for rows of an earlier block, or beyond the last pattern
        self._patterns, self._first, self._size = patterns, first, size

    def overlaps(self, state: Float[Array, " N"], signs: bool) -> Float[Array, " b"]:
        r"""$X_\mu = \sum_i \xi^\mu_i h_i$. Of a state of signs it is an exact integer: by counting
        bits on a CPU, elsewhere by products in bfloat16 that are added in float32."""
        if not (signs and self._patterns.binary):
            return _product(self.rows(), state)
        if jax.default_backend() == "cpu":
            words = self._patterns.words(self._first, self._size)
            return _product(self.rows(), state) if words is None else _counted(words, state)
        return _overlaps_of_signs(self.rows(), state)

    def rows(self) -> Float[Array, "b N"]:
        """The patterns of the block."""
        return self._patterns.rows(self._first, self._size)

    def project(self, weights: Float[Array, "*k b"]) -> Float[Array, "*k N"]:
        r"""$\sum_\mu w_\mu \xi^\mu$ over the block, never in less than float32."""
        cpu = jax.default_backend() == "cpu"
        if self._patterns.binary and not cpu and weights.dtype == jnp.float32:
            return _projected_signs(weights, self.rows())
        return _product(weights, self.rows())

    def split(self, weights: Float[Array, "*k b"]) -> Float[Array, "2 *k N"]:
        r"""$\sum_\mu w_\mu$ over the memories with $\xi^\mu_i = 1$, and over those with $-1$: sums
        of positive terms, where `project` would be the difference of the two."""
        rows = self.rows()
        parts = (
            jnp.matmul(weights, (s * rows > 0).astype(rows.dtype), precision=_EXACT)
            for s in (1, -1)
        )
        return jnp.stack(list(parts))


def _product(a: Array, b: Array) -> Array:
    """A product in the full precision of its factors."""
    return jnp.matmul(a, b, precision=_EXACT)


# Products with signs have faster forms, which are exact but have no derivatives, or rounded ones:
# theirs are those of the plain product.


@jax.custom_jvp
def _counted(words: Array, state: Array) -> Array:
    """The overlaps of rows of packed signs with a state of signs, by counting bits."""
    N = state.shape[0]
    return (N - 2 * count_bits(words, pack_bits(state > 0))).astype(state.dtype)


@_counted.defjvp
def _(primals, tangents):
    (words, state), (_, change) = primals, tangents
    rows = unpack_bits(words, state.shape[0], state.dtype)
    return _counted(words, state), _product(rows, change)


@jax.custom_jvp
def _overlaps_of_signs(rows: Array, state: Array) -> Array:
    """The overlaps of rows of signs with a state of signs, by products in bfloat16."""
    if state.dtype != jnp.float32:
        return _product(rows, state)
    rows, state = rows.astype(jnp.bfloat16), state.astype(jnp.bfloat16)
    return jnp.matmul(rows, state, preferred_element_type=jnp.float32)


@jax.custom_jvp
def _projected_signs(weights: Array, rows: Array) -> Array:
    """`weights @ rows` for rows of signs, in float32."""
    return project_in_pieces(weights, rows)


def _as_a_product(fast: Any) -> None:
    """Give a product with signs the derivatives of a product."""

    @fast.defjvp
    def _(primals, tangents):
        (a, b), (da, db) = primals, tangents
        return fast(a, b), _product(da, b) + _product(a, db)


_as_a_product(_overlaps_of_signs)
_as_a_product(_projected_signs)


def count_bits(words: Array, state: Array) -> Array:
    """How many bits differ between each row of `words` (b, W) and `state` (W,)."""
    size = words.shape[1]
    group = min(_GROUP, size)
    spare = -size % group
    words = jnp.pad(words, [(0, 0), (0, spare)])
    state = jnp.pad(state, (0, spare))

    def add(total, k):
        some = lax.dynamic_slice_in_dim(words, k * group, group, axis=1)
        mine = lax.dynamic_slice_in_dim(state, k * group, group)
        for j in range(group):
            total = total + lax.population_count(some[:, j] ^ mine[j]).astype(jnp.int32)
        return total, None

    zero = jnp.zeros(words.shape[0], jnp.int32)
    return lax.scan(add, zero, jnp.arange((size + spare) // group))[0]


def project_in_pieces(weights: Float[Array, "*k b"], rows: Float[Array, "b N"]) -> Array:
    """`weights @ rows` for rows of signs, as three products in bfloat16: the pieces of a float32
    (8 of its 24 bits each) times +-1 are exact, and are added in float32."""
    signs = rows.astype(jnp.bfloat16)
    total = None
    for _ in range(3):
        # an explicit rounding: the compiler may drop a conversion there and back
        piece = lax.reduce_precision(weights, exponent_bits=8, mantissa_bits=7)
        weights = weights - piece
        piece = piece.astype(jnp.bfloat16)
        part = jnp.matmul(piece, signs, preferred_element_type=jnp.float32)
        total = part if total is None else total + part
    assert total is not None
    return total


def stream(
    patterns: AbstractPatterns,
    use: Callable[[Block, _Given], _Sum],
    merge: Callable[[_Sum, _Sum], _Sum],
    start: _Sum,
    given: _Given,
    block: int,
    *,
    recomputed: bool = False,
) -> _Sum:
    """`merge` of what `use(block, given)` returns for all blocks, from `start` on.

    **Arguments:** `given`: everything that `use` depends on, as a pytree (devices get copies).
    `recomputed`: whether derivatives compute each block once more, so that none is kept.
    """

    def step(total, block, given):
        return merge(total, use(block, given)), None

    scan = partial(_scan, recomputed=recomputed)

    if not isinstance(patterns, ShardedPatterns):
        return scan(patterns, step, start, given, block, jnp.int32(0), patterns.P)[0]

    def mine(source, begin, given):
        total, _ = scan(source, step, start, given, block, begin, patterns.P)
        everyone = jax.tree.map(lambda leaf: lax.all_gather(leaf, AXIS), total)
        result = start
        for k in range(patterns.mesh.devices.size):
            result = merge(result, jax.tree.map(lambda leaf, k=k: leaf[k], everyone))
        return result

    return _spread(patterns, mine, given, PartitionSpec())


def collect(
    patterns: AbstractPatterns, use: Callable[[Block, _Given], Array], given: _Given, block: int
) -> Float[Array, " P"]:
    """What `use(block, given)` returns for every pattern, one number each."""

    def step(_, block, given):
        return None, use(block, given)

    def mine(source, begin, given):
        found = _scan(source, step, None, given, block, begin, patterns.P)[1]
        spare = found.size - source.P  # rows of the last block that were in the one before
        return jnp.concatenate([found[:-1].ravel(), found[-1, spare:]])

    if not isinstance(patterns, ShardedPatterns):
        return mine(patterns, jnp.int32(0), given)
    return _spread(patterns, mine, given, PartitionSpec(AXIS))[: patterns.P]


def _spread(patterns: ShardedPatterns, mine: Callable, given: Any, out: PartitionSpec) -> Any:
    """`mine(its patterns, number of the first, given)` on every device."""
    devices = patterns.mesh.devices.size
    inner = patterns.inner
    made = isinstance(inner, GeneratedPatterns)
    share = -(-patterns.P // devices) if made else inner.P // devices
    specs = jax.tree.map(lambda _: PartitionSpec() if made else PartitionSpec(AXIS), inner)

    def on_device(inner, given):
        begin = lax.axis_index(AXIS) * share
        return mine(_Share(inner, begin, share) if made else inner, begin, given)

    return jax.shard_map(
        on_device,
        mesh=patterns.mesh,
        in_specs=(specs, PartitionSpec()),
        out_specs=out,
        check_vma=False,
    )(inner, given)


def _scan(
    patterns: Any, step, start, given, block: int, begin, count: int, *, recomputed: bool = False
) -> Any:
    """Scan over the patterns of one device, in blocks. Their first is number `begin` of all, and
    those from number `count` on are padding."""
    P = patterns.P
    size = min(block, P)

    def one(total, k):
        first = jnp.minimum(k * size, P - size)  # the last block overlaps the one before
        row = first + jnp.arange(size, dtype=jnp.int32)
        valid = (row >= k * size) & (begin + row < count)
        return step(total, Block(patterns, first, size, valid), given)

    one = jax.checkpoint(one) if recomputed else one
    return lax.scan(one, start, jnp.arange(-(-P // size), dtype=jnp.int32))
