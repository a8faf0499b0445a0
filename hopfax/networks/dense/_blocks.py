r"""A block of consecutive patterns: its overlaps with a state, and sums of what its memories call.

Memory $\mu$ acts on the neurons through the pattern $\eta^\mu$ that it calls: itself, in a static
memory, or another one (`_transitions`).
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...patterns import AbstractPatterns
from ...patterns._base import Index, pack_bits, unpack_bits

if TYPE_CHECKING:
    from ._transitions import AbstractTransition

_GROUP = 16  # words counted in one step of the loop over a row's words
_EXACT = lax.Precision.HIGHEST


class Source:
    """The patterns that one device reads: all of them, `count`, or its share from `begin` on.

    `near` and `whole` are what transitions read besides: the pattern with a number, and all of
    them, wherever they are kept.
    """

    def __init__(self, patterns: AbstractPatterns):
        self.whole, self.count = patterns, patterns.P
        self.begin, self.P, self.binary = jnp.int32(0), patterns.P, patterns.binary

    def rows(self, first: Index, size: int) -> Float[Array, "size N"]:
        return self.whole.rows(first, size)

    def words(self, first: Index, size: int) -> Array | None:
        return self.whole.words(first, size)

    def near(self, number: Index) -> Float[Array, " N"]:
        """The pattern with a number in the block, or next to it, or 0."""
        return self.whole.rows(number, 1)[0]


class MadeShare(Source):
    """A share of patterns that are made when they are read."""

    def __init__(self, patterns: AbstractPatterns, begin: Index, share: int):
        super().__init__(patterns)
        self.begin, self.P = begin, share

    def rows(self, first, size):
        return self.whole.rows(self.begin + first, size)

    def words(self, first, size):
        return self.whole.words(self.begin + first, size)


class KeptShare(Source):
    """A share of patterns that are kept by this device. Of the other devices `firsts` are the first
    patterns, one each, and `whole` has all if a transition reads them."""

    def __init__(
        self,
        patterns: AbstractPatterns,
        begin: Index,
        count: int,
        firsts: Float[Array, "devices N"],
        whole: AbstractPatterns,
    ):
        self.own, self.begin, self.count, self.P = patterns, begin, count, patterns.P
        self.binary, self.firsts, self.whole = patterns.binary, firsts, whole

    def rows(self, first, size):
        return self.own.rows(first, size)

    def words(self, first, size):
        return self.own.words(first, size)

    def near(self, number):
        mine = (number >= self.begin) & (number < self.begin + self.P)
        row = self.own.rows(jnp.clip(number - self.begin, 0, self.P - 1), 1)[0]
        return jnp.where(mine, row, self.firsts[number // self.P])


class Block:
    """Consecutive patterns, which are read (or made) each time that they are used."""

    def __init__(
        self,
        source: Source,
        first: Index,
        size: int,
        valid: Bool[Array, " b"],
        transition: "AbstractTransition | None",
    ):
        self.valid = valid  # False for rows of an earlier block, or beyond the last pattern
        self.source, self._first, self._size = source, first, size
        self._transition = transition

    @property
    def numbers(self) -> Int[Array, " b"]:
        """The numbers of the memories, those beyond the last pattern included."""
        return self.source.begin + self._first + jnp.arange(self._size, dtype=jnp.int32)

    def overlaps(self, state: Float[Array, " N"], signs: bool) -> Float[Array, " b"]:
        r"""$X_\mu = \sum_i \xi^\mu_i h_i$. Of a state of signs it is an exact integer: by counting
        bits on a CPU, elsewhere by products in bfloat16 that are added in float32."""
        if not (signs and self.source.binary):
            return _product(self.rows(), state)
        if jax.default_backend() == "cpu":
            words = self.words()
            return _product(self.rows(), state) if words is None else _counted(words, state)
        return _overlaps_of_signs(self.rows(), state)

    def rows(self) -> Float[Array, "b N"]:
        """The patterns of the block."""
        return self.source.rows(self._first, self._size)

    def words(self) -> Any:
        """The same as bits, if they are kept or made as such."""
        return self.source.words(self._first, self._size)

    def called(self) -> Float[Array, "b N"]:
        r"""$\eta$, what each memory of the block calls."""
        if self._transition is None:
            return self.rows()
        found = self._transition.words_of_block(self)
        if found is None:
            return self._transition.of_block(self)
        words, calls = found
        return self._unpacked(words) * calls[:, None]

    def squares(self) -> Float[Array, " b"]:
        r"""$|\xi^\mu|^2$ of the block."""
        if self.source.binary:
            return jnp.full(self._size, float(self.source.whole.N), self.source.whole.dtype)
        return (self.rows() ** 2).sum(-1)

    def project(self, weights: Float[Array, "*k b"]) -> Float[Array, "*k N"]:
        r"""$\sum_\mu w_\mu \eta^\mu$ over the block, never in less than float32."""
        if self._transition is None:
            return self.sum_of_rows(weights)
        found = self._transition.words_of_block(self)
        if found is None:
            return self._transition.project(self, weights)
        words, calls = found
        return self._summed(jnp.where(calls, weights, 0.0), self._unpacked(words), True)

    def sum_of_rows(self, weights: Float[Array, "*k b"]) -> Float[Array, "*k N"]:
        r"""$\sum_\mu w_\mu \xi^\mu$ over the block."""
        return self._summed(weights, self.rows(), self.source.binary)

    def _unpacked(self, words: Array) -> Array:
        return unpack_bits(words, self.source.whole.N, self.source.whole.dtype)

    def _summed(self, weights: Array, rows: Array, binary: bool) -> Array:
        cpu = jax.default_backend() == "cpu"
        if binary and not cpu and weights.dtype == jnp.float32:
            return _projected_signs(weights, rows)
        return _product(weights, rows)

    def split(self, weights: Float[Array, "*k b"]) -> Float[Array, "2 *k N"]:
        r"""$\sum_\mu w_\mu \eta^\mu$ over the memories with $\xi^\mu_i = 1$, and over those with
        $-1$, whose sums `project` would add to each other."""
        rows, called = self.rows(), self.called()
        parts = (_product(weights, jnp.where(s * rows > 0, called, 0.0)) for s in (1, -1))
        return jnp.stack(list(parts))

    def own(self, terms: Float[Array, "c b"]) -> Float[Array, "c #N"]:
        r"""$\sum_\mu v_\mu \xi^\mu_i \eta^\mu_i$ over the block, what the memories call by the
        neuron itself; $\sum_\mu v_\mu$, the same for all neurons, where they call themselves."""
        if self._transition is None or not len(terms):
            return terms.sum(-1)[:, None]
        itself = self._transition.itself(self.numbers).astype(terms.dtype)
        by_itself = (terms * itself).sum(-1)[:, None]
        found = self._transition.words_of_block(self)
        if found is None:
            return by_itself + _product(terms, self.rows() * self.called() - itself[:, None])
        words, calls = found
        agree = self._unpacked(~(self.words() ^ words))
        return by_itself + self._summed(jnp.where(calls & (itself == 0), terms, 0.0), agree, True)


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
