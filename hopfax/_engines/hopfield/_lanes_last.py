"""Batches with the lane axis last, which is the one that a compiler vectorises.

`jax.vmap` puts the axis of a batch first, and turns every `cond` into a select that evaluates both
of its branches. A function of `lanes_last` takes a tree of arrays whose last axis is that of the
lanes (of length 1 for what lanes share), and under `vmap` this axis is widened instead:

    vmap, axis of 5             one array            the tree that the function gets
        leaf (5, P, 1)   ->   (P, 1, 5)   ->         (P, 5)      a value of each lane
        leaf (P, 1)                       ->         (P, 1)      shared: not repeated

so that the function is traced and compiled once, with its loops and branches taken for the batch
as a whole. A `vmap` of a `vmap` widens the axis twice.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

_WIDTH = 64  # lanes that step together on a CPU: enough to vectorise, few enough to fit its cache

_Tree = TypeVar("_Tree")  # of arrays with lanes last
_Out = TypeVar("_Out")


def lane_count(tree: Any) -> int:
    """The number of lanes; 1 if all leaves are shared."""
    return max(leaf.shape[-1] for leaf in jax.tree.leaves(tree))


def lanes_last(
    function: Callable[[_Tree], _Out], varies: Callable[[Any], Any] | None = None
) -> Callable[[_Tree], _Out]:
    """The function with a `vmap` that widens its last axis, and with wide batches run in groups.

    Every output must have the lanes as its last axis. `varies` is given which inputs are batched
    (a tree of bools) and returns for a prefix of the output's tree whether it then is batched; by
    default all of it is. An output that is not is computed in all lanes and taken from the first.
    """

    @custom_vmap
    def call(tree):
        return _in_groups(function, tree)

    @call.def_vmap
    def rule(axis_size, in_batched, tree):
        (batched,) = in_batched
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(batched), strict=True)
        # Under a second `vmap` there are several lanes already. Each of them becomes as many as the
        # new axis is long, side by side.
        lanes = lane_count(tree)

        def widen(leaf, is_batched):
            if is_batched:
                leaf = jnp.moveaxis(leaf, 0, -1)
                leaf = jnp.broadcast_to(leaf, (*leaf.shape[:-2], lanes, axis_size))
                return leaf.reshape(*leaf.shape[:-2], lanes * axis_size)
            return leaf if leaf.shape[-1] == 1 else jnp.repeat(leaf, axis_size, axis=-1)

        wide = jax.tree.unflatten(jax.tree.structure(tree), [widen(*pair) for pair in pairs])
        out = call(wide)

        flags = True if varies is None else varies(batched)
        flags = jax.tree.map(lambda flag, part: jax.tree.map(lambda _: flag, part), flags, out)

        def split(leaf, flag):
            leaf = leaf.reshape(*leaf.shape[:-1], lanes, axis_size)
            return jnp.moveaxis(leaf, -1, 0) if flag else leaf[..., 0]

        return jax.tree.map(split, out, flags), flags

    return call


def _in_groups(function: Callable[[_Tree], _Out], tree: _Tree) -> _Out:
    """`function(tree)`; on a CPU group after group of lanes.

    The loop over steps goes on until the slowest lane is at its end: in groups a lane waits for the
    slowest of its own only, and the state of a group stays in the cache. A GPU wants all lanes at
    once."""
    lanes = lane_count(tree)
    groups, width = groups_of(lanes)
    if groups == 1 or jax.default_backend() != "cpu":
        return function(tree)
    wide = jax.tree.map(lambda leaf: leaf.shape[-1] > 1, tree)

    def cut(leaf):
        # All groups have the same shape, as they run in one compiled loop: the last one is filled
        # up with copies of the last lane, which is legal whatever the function requires.
        leaf = jnp.concatenate([leaf, *[leaf[..., -1:]] * (groups * width - lanes)], axis=-1)
        return jnp.moveaxis(leaf.reshape(*leaf.shape[:-1], groups, width), -2, 0)

    leaves, structure = jax.tree.flatten(tree)
    flags = jax.tree.leaves(wide)
    moving = [cut(leaf) for leaf, flag in zip(leaves, flags, strict=True) if flag]

    def one(parts):
        """The function on one group; leaves that lanes share are not cut."""
        parts = iter(parts)
        both = [next(parts) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        return function(jax.tree.unflatten(structure, both))

    def join(leaf):
        leaf = jnp.moveaxis(leaf, 0, -2)
        return leaf.reshape(*leaf.shape[:-2], groups * width)[..., :lanes]

    return jax.tree.map(join, lax.map(one, moving))


def groups_of(lanes: int) -> tuple[int, int]:
    """How many groups there are, and of how many lanes each: about `_WIDTH`, a multiple of 8.

    Groups of just `_WIDTH` would take a Jacobian of 65 numbers twice through the run, the second
    time for one of them."""
    groups = max(1, round(lanes / _WIDTH))
    return groups, -(-lanes // (8 * groups)) * 8
