"""Batches with the lane axis last, which is the one that a compiler vectorises.

`jax.vmap` puts the axis of a batch first and turns every `cond` into both of its branches. The
functions here take trees of arrays whose last axis is that of the lanes (of length 1 for what lanes
share) and are told by `vmap` to widen that axis instead.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

_WIDTH = 64  # lanes that step together on a CPU: enough to vectorise, few enough to fit its cache


def lane_count(tree: Any) -> int:
    """The length of the lane axis."""
    return max(leaf.shape[-1] for leaf in jax.tree.leaves(tree))


def lanes_last(function: Callable[[Any], Any], varies: Any = None) -> Callable[[Any], Any]:
    """Make `vmap` of a function of lanes widen its last axis, and run wide batches in blocks.

    Every output must have the lanes as its last axis. `varies`, given which inputs are batched,
    tells for a prefix of the output's tree whether it then is (default: all of it).
    """

    @custom_vmap
    def call(tree):
        return _in_blocks(function, tree)

    @call.def_vmap
    def rule(axis_size, in_batched, tree):
        (batched,) = in_batched
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(batched), strict=True)
        lanes = max(leaf.shape[-1] for leaf in jax.tree.leaves(tree))

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


def _in_blocks(function: Callable[[Any], Any], tree: Any) -> Any:
    """`function(tree)`, on a CPU in blocks of lanes: each ends with the slowest of its own."""
    lanes = lane_count(tree)
    if lanes <= _WIDTH or jax.default_backend() != "cpu":
        return function(tree)
    blocks = -(-lanes // _WIDTH)
    wide = jax.tree.map(lambda leaf: leaf.shape[-1] > 1, tree)

    def cut(leaf):
        leaf = jnp.concatenate([leaf, *[leaf[..., -1:]] * (blocks * _WIDTH - lanes)], axis=-1)
        return jnp.moveaxis(leaf.reshape(*leaf.shape[:-1], blocks, _WIDTH), -2, 0)

    leaves, structure = jax.tree.flatten(tree)
    flags = jax.tree.leaves(wide)
    moving = [cut(leaf) for leaf, flag in zip(leaves, flags, strict=True) if flag]

    def one(parts):
        parts = iter(parts)
        both = [next(parts) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        return function(jax.tree.unflatten(structure, both))

    def join(leaf):
        leaf = jnp.moveaxis(leaf, 0, -2)
        return leaf.reshape(*leaf.shape[:-2], blocks * _WIDTH)[..., :lanes]

    return jax.tree.map(join, lax.map(one, moving))
