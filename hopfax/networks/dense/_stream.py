r"""Sums over very many patterns, one block at a time.

Every block is read (or made), used and dropped, so memory is that of one block whatever their
number. The order of blocks is fixed, so sums are bit-identical however the patterns are kept on a
device. Sums of integers below $2^{24}$ (float32) do not depend on any order, so not on devices.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from ..._types import PerNeuron
from ...patterns import AbstractPatterns, GeneratedPatterns, ShardedPatterns
from ...patterns._many import AXIS
from ._blocks import Block, KeptShare, MadeShare, Source

if TYPE_CHECKING:
    from ._transitions import AbstractTransition

_Given = TypeVar("_Given")
_Sum = TypeVar("_Sum")


def stream(
    patterns: AbstractPatterns,
    use: Callable[[Block, _Given], _Sum],
    merge: Callable[[_Sum, _Sum], _Sum],
    start: _Sum,
    given: _Given,
    block: int,
    *,
    transition: "AbstractTransition | None" = None,
    recomputed: bool = False,
) -> _Sum:
    """`merge` of what `use(block, given)` returns for all blocks, from `start` on.

    **Arguments:** `given`: everything that `use` depends on, as a pytree (devices get copies).
    `transition`: what the memories of a block call. `recomputed`: whether derivatives compute each
    block once more, so that none is kept.
    """

    def step(total, block, given):
        return merge(total, use(block, given)), None

    def mine(source, given):
        given, transition = given
        return _scan(source, step, start, given, block, transition, recomputed=recomputed)[0]

    if not isinstance(patterns, ShardedPatterns):
        return mine(Source(patterns), (given, transition))

    def shared(source, given):
        total = mine(source, given)
        everyone = jax.tree.map(lambda leaf: lax.all_gather(leaf, AXIS), total)
        result = start
        for k in range(patterns.mesh.devices.size):
            result = merge(result, jax.tree.map(lambda leaf, k=k: leaf[k], everyone))
        return result

    far = transition is not None and transition.far
    return _spread(patterns, shared, (given, transition), PartitionSpec(), far)


def collect(
    patterns: AbstractPatterns, use: Callable[[Block, _Given], Array], given: _Given, block: int
) -> Float[Array, " P"]:
    """What `use(block, given)` returns for every pattern, one number each."""

    def step(_, block, given):
        return None, use(block, given)

    def mine(source, given):
        found = _scan(source, step, None, given, block, None)[1]
        spare = found.size - source.P  # rows of the last block that were in the one before
        return jnp.concatenate([found[:-1].ravel(), found[-1, spare:]])

    if not isinstance(patterns, ShardedPatterns):
        return mine(Source(patterns), given)
    return _spread(patterns, mine, given, PartitionSpec(AXIS), False)[: patterns.P]


def overlap_sums(
    patterns: AbstractPatterns, state: PerNeuron, signs: bool, block: int
) -> Float[Array, " P"]:
    """The overlaps of a state with all memories, not divided by N; `signs`: whether it is known to
    be +-1."""

    def use(block: Block, state):
        return block.overlaps(state, signs)

    return collect(patterns, use, state, block)


def _spread(
    patterns: ShardedPatterns, mine: Callable, given: Any, out: PartitionSpec, far: bool
) -> Any:
    """`mine(its patterns, given)` on every device; `far`: whether each needs to see all."""
    devices = patterns.mesh.devices.size
    inner = patterns.inner
    made = isinstance(inner, GeneratedPatterns)
    share = -(-patterns.P // devices) if made else inner.P // devices
    specs = jax.tree.map(lambda _: PartitionSpec() if made else PartitionSpec(AXIS), inner)

    def on_device(inner, given):
        begin = lax.axis_index(AXIS) * share
        if made:
            return mine(MadeShare(inner, begin, share), given)
        firsts = lax.all_gather(inner.rows(0, 1)[0], AXIS)
        gather = partial(lax.all_gather, axis_name=AXIS, tiled=True)
        whole = jax.tree.map(gather, inner) if far else inner
        return mine(KeptShare(inner, begin, patterns.P, firsts, whole), given)

    return jax.shard_map(
        on_device,
        mesh=patterns.mesh,
        in_specs=(specs, PartitionSpec()),
        out_specs=out,
        check_vma=False,
    )(inner, given)


def _scan(
    source: Source,
    step,
    start,
    given,
    block: int,
    transition: "AbstractTransition | None",
    *,
    recomputed: bool = False,
) -> Any:
    """Scan over the patterns of one device, in blocks. Those from number `count` on are padding."""
    P = source.P
    size = min(block, P)

    def one(total, k):
        first = jnp.minimum(k * size, P - size)  # the last block overlaps the one before
        row = first + jnp.arange(size, dtype=jnp.int32)
        valid = (row >= k * size) & (source.begin + row < source.count)
        return step(total, Block(source, first, size, valid, transition), given)

    one = jax.checkpoint(one) if recomputed else one
    return lax.scan(one, start, jnp.arange(-(-P // size), dtype=jnp.int32))
