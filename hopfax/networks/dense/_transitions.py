r"""Which memory calls which: the transitions of a dense memory that moves.

Memory $\mu$ acts on the neurons not through itself but through the pattern that it calls,

$$\eta^\mu_i = \sum_\nu A_{\nu\mu}\, \xi^\nu_i, \qquad
u_i = \frac1s \sum_\mu \eta^\mu_i\, f(X^\mu_i),$$

so all that a transition has to say is what $\eta$ is: of the memories of a block, and at one neuron
for all memories.
"""

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jaxtyping import Array, Bool, Float, Int, UInt32

from ..._errors import as_count, as_float, as_real, check_finite, check_shape, shown
from ..._types import ArrayLike, PerPattern, is_concrete
from ...patterns import AbstractPatterns
from ...patterns._base import pack_bits
from .._base import Bound
from ._blocks import Block


class AbstractTransition(eqx.Module):
    """What memories call."""

    #: Whether a block needs other memories than its own, the one after it, and the first.
    far: AbstractClassVar[bool]

    @property
    def signs(self) -> bool:
        """Whether each memory calls one as it is, or none."""
        return True

    @abc.abstractmethod
    def of_block(self, block: Block) -> Float[Array, "b N"]:
        r"""$\eta$, what the memories of the block call."""

    @abc.abstractmethod
    def of_neuron(self, xi: PerPattern) -> PerPattern:
        r"""$\eta_i$ of all memories, at a neuron with entries `xi`."""

    def words_of_block(self, block: Block) -> tuple[UInt32[Array, "b W"], Bool[Array, " b"]] | None:
        """What the memories of the block call as bits, and which of them call any; None where it is
        not a memory as it is, or memories are not kept as bits."""
        return None

    @abc.abstractmethod
    def itself(self, numbers: Int[Array, " b"]) -> Float[Array, " b"]:
        r"""$A_{\mu\mu}$, how strongly the memories with these numbers call themselves."""

    def domain(self) -> Iterator[Bound]:
        """Strengths of calls are finite."""
        yield from ()

    def project(self, block: Block, weights: Float[Array, "*k b"]) -> Float[Array, "*k N"]:
        r"""$\sum_\mu w_\mu \eta^\mu$ over the block."""
        return jnp.matmul(weights, self.of_block(block), precision=jax.lax.Precision.HIGHEST)


class Successors(AbstractTransition):
    r"""Each memory calls the one after it, $\eta^\mu = \xi^{\mu+1}$; the last one calls the first
    if they are `closed` to a cycle, else none. Nothing is stored, however many there are, and only
    one pattern more is read for each block."""

    count: int = eqx.field(static=True)
    closed: bool = eqx.field(static=True)
    far: ClassVar[bool] = False

    def __check_init__(self):
        as_count(self.count, "count")

    def of_block(self, block):
        return self._moved(block, block.rows(), self._after(block), self._first(block))

    def words_of_block(self, block):
        if (words := block.words()) is None:
            return None
        after, first = (pack_bits(row > 0) for row in (self._after(block), self._first(block)))
        calls = self.closed | (block.numbers < self.count - 1)
        return self._moved(block, words, after, first), calls

    def _moved(self, block, rows, after, first):
        called = jnp.concatenate([rows[1:], after[None]])
        return jnp.where((block.numbers == self.count - 1)[:, None], first, called)

    def _after(self, block):
        """What the memory at the end of the block calls."""
        return block.source.near((block.numbers[-1] + 1) % self.count)

    def _first(self, block):
        """What the last of all memories calls."""
        first = block.source.near(0)
        return first if self.closed else jnp.zeros_like(first)

    def of_neuron(self, xi):
        called = jnp.roll(xi, -1)
        return called if self.closed else called.at[-1].set(0)

    def itself(self, numbers):
        alone = self.closed and self.count == 1
        return jnp.full(numbers.shape, float(alone))

    def project(self, block, weights):
        # weights move by one in place of patterns, which are far more
        numbers = block.numbers
        last = numbers == self.count - 1
        to_first = jnp.where(last, weights, 0.0).sum(-1, keepdims=True)
        weights = jnp.where(last, 0.0, weights)
        moved = jnp.concatenate([jnp.zeros_like(to_first), weights[..., :-1]], axis=-1)
        beside = weights[..., -1:] * self._after(block) + to_first * self._first(block)
        return block.sum_of_rows(moved) + beside


class Calls(AbstractTransition):
    r"""Each memory calls up to K others, where -1 is none:
    $\eta^\mu = \sum_k w_{\mu k}\, \xi^{\mathrm{next}(\mu, k)}$. Without `weight` each is called as
    it is."""

    next: Int[Array, "P K"]
    weight: Float[Array, "P K"] | None
    far: ClassVar[bool] = True

    @property
    def signs(self):
        return self.weight is None and self.next.shape[1] == 1

    def domain(self):
        if self.weight is not None:
            yield Bound("transition.weight", self.weight)

    def words_of_block(self, block):
        if block.words() is None or not self.signs:
            return None
        numbers = jnp.minimum(block.numbers, self.next.shape[0] - 1)
        called, whole = self.next[numbers, 0], block.source.whole

        def words_of(nu):
            words = whole.words(nu, 1)
            assert words is not None  # as was seen
            return words[0]

        return jax.vmap(words_of)(jnp.maximum(called, 0)), called >= 0

    def of_block(self, block):
        source = block.source
        numbers = jnp.minimum(block.numbers, self.next.shape[0] - 1)

        def add(total, calls):
            called, weight = calls
            rows = jax.vmap(lambda nu: source.whole.rows(nu, 1)[0])(jnp.maximum(called, 0))
            share = (called >= 0).astype(rows.dtype)
            share = share if weight is None else share * weight
            return total + share[:, None] * rows, None

        none = jnp.zeros((numbers.size, source.whole.N), source.whole.dtype)
        weight = None if self.weight is None else self.weight[numbers].T
        return jax.lax.scan(add, none, (self.next[numbers].T, weight))[0]

    def of_neuron(self, xi):
        called = jnp.where(self.next >= 0, xi[self.next], 0.0)
        return (called if self.weight is None else called * self.weight).sum(-1)

    def itself(self, numbers):
        numbers = jnp.minimum(numbers, self.next.shape[0] - 1)
        same = self.next[numbers] == numbers[:, None]
        weight = 1.0 if self.weight is None else self.weight[numbers]
        return jnp.where(same, weight, 0.0).sum(-1)


class Matrix(AbstractTransition):
    """Any memory calls any other: `values[next, current]`."""

    values: Float[Array, "P P"]
    far: ClassVar[bool] = True

    @property
    def signs(self):
        return False

    def domain(self):
        yield Bound("transition.values", self.values)

    def of_block(self, block):
        numbers = jnp.minimum(block.numbers, len(self.values) - 1)
        xi = block.source.whole.rows(0, len(self.values))
        return jnp.matmul(self.values[:, numbers].T, xi, precision=jax.lax.Precision.HIGHEST)

    def of_neuron(self, xi):
        return jnp.matmul(xi, self.values, precision=jax.lax.Precision.HIGHEST)

    def itself(self, numbers):
        return jnp.diagonal(self.values)[jnp.minimum(numbers, len(self.values) - 1)]


class Carried(AbstractTransition):
    """Each memory calls `values` of its own, K numbers of anything else than the neurons."""

    values: Float[Array, "P K"]
    far: ClassVar[bool] = False

    @property
    def signs(self):
        return False

    def of_block(self, block):
        return self.values[jnp.minimum(block.numbers, len(self.values) - 1)]

    def of_neuron(self, xi):
        raise NotImplementedError  # the values are at no neuron

    def itself(self, numbers):
        raise NotImplementedError


#: What says which memory calls which.
TransitionLike: TypeAlias = AbstractTransition | str | ArrayLike | None

_HOW = (
    '"cyclic", "chain", the numbers (P,) of the memories that each one calls (-1: none), or a '
    "matrix (P, P), full or sparse, with entries [next, current]"
)


def as_transition(given: TransitionLike, patterns: AbstractPatterns) -> AbstractTransition | None:
    """A transition among `patterns`.

    **Raises:** TypeError/ValueError for anything else, another shape, numbers of memories that do
    not exist, or a sparse matrix under a trace.
    """
    P = patterns.P
    if given is None:
        return None
    if isinstance(given, AbstractTransition):
        return _fitting(given, P)
    if isinstance(given, str):
        if given not in ("cyclic", "chain"):
            raise ValueError(f"`transition` must be {_HOW}, got {shown(given)}.")
        return Successors(P, given == "cyclic")
    if hasattr(given, "tocoo") or type(given).__module__.startswith("jax.experimental.sparse"):
        return _sparse(given, patterns)
    values = as_real(given, "transition")
    if values.ndim not in (1, 2):
        raise ValueError(f"`transition` must be {_HOW}, got shape {values.shape}.")
    if values.ndim == 1:
        return _numbered(values, P)
    check_shape(values, "transition", (P, P), "(P, P)")
    values = as_float(values, "transition", patterns.dtype)
    check_finite(values, "transition")
    return Matrix(values)


def _fitting(transition: AbstractTransition, P: int) -> AbstractTransition:
    """The same, if it is one among P memories."""
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(transition)}
    count = transition.count if isinstance(transition, Successors) else sizes.pop()
    if count != P:
        raise ValueError(f"`transition` is one among {count} memories, but `patterns` are {P}.")
    return transition


def _numbered(numbers: Any, P: int) -> AbstractTransition:
    """Each memory calls the one with this number."""
    check_shape(numbers, "transition", (P,), "(P,)", f"It may be {_HOW}.")
    if not jnp.issubdtype(numbers.dtype, jnp.integer):
        raise TypeError(
            f"`transition` of shape (P,) must be whole numbers, those of the memories that are "
            f"called, got {numbers.dtype}."
        )
    if is_concrete(numbers):
        known = np.asarray(numbers)
        if known.min() < -1 or known.max() >= P:
            wrong = known[(known < -1) | (known >= P)][0]
            raise ValueError(f"`transition` must name memories 0..{P - 1}, or -1, got {wrong}.")
        if (known[:-1] == np.arange(1, P)).all() and known[-1] in (-1, 0):
            return Successors(P, bool(known[-1] == 0))
    return Calls(jnp.asarray(numbers, jnp.int32)[:, None], None)


def _sparse(matrix: Any, patterns: AbstractPatterns) -> AbstractTransition:
    """The entries of a sparse matrix, by the memory that calls."""
    P = patterns.P
    if tuple(matrix.shape) != (P, P):
        raise ValueError(
            f"`transition` must have shape (P, P) = ({P}, {P}), got {tuple(matrix.shape)}."
        )
    entries = _entries(matrix)
    if not all(map(is_concrete, entries)):
        raise TypeError(
            "`transition`: how many memories each one calls is not known under a trace; make the "
            "network outside jit and grad, or give a full matrix."
        )
    row, column = (np.asarray(x) for x in entries[:2])
    value = np.asarray(as_real(entries[2], "transition"), float)
    kept = (value != 0) & (row < P) & (column < P)
    if (wrong := np.flatnonzero(kept & ~np.isfinite(value))).size:
        where = (int(row[wrong[0]]), int(column[wrong[0]]))
        raise ValueError(f"`transition` must be finite, but is {value[wrong[0]]} at index {where}.")
    order = np.argsort(column[kept], kind="stable")
    row, column, value = (x[kept][order] for x in (row, column, value))
    begin = np.searchsorted(column, np.arange(P))
    place = np.arange(len(column)) - begin[column]
    most = int(place.max(initial=0)) + 1
    called = np.full((P, most), -1, np.int32)
    weight = np.zeros((P, most))
    called[column, place], weight[column, place] = row, value
    return Calls(jnp.asarray(called), as_float(weight, "transition", patterns.dtype))


def _entries(matrix: Any) -> tuple[Any, Any, Any]:
    """Rows, columns and values of a sparse matrix of SciPy or JAX."""
    if hasattr(matrix, "tocoo"):
        matrix = matrix.tocoo()
        return matrix.row, matrix.col, matrix.data
    matrix = matrix.to_bcoo() if hasattr(matrix, "to_bcoo") else matrix
    if not hasattr(matrix, "n_batch"):  # the older kinds
        full = np.asarray(matrix.todense())
        row, column = np.nonzero(full)
        return row, column, full[row, column]
    if matrix.n_batch or matrix.n_dense:
        matrix = matrix.update_layout(n_batch=0, n_dense=0)
    return matrix.indices[:, 0], matrix.indices[:, 1], matrix.data
