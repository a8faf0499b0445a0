"""Wide batches in groups of lanes, one after the other.

A batch of runs with N numbers each is larger than the cache of a processor: every operation of a
step then waits for the memory. On a CPU `vmap` of a function of `in_groups` maps over groups that
fit, each with its own loop over steps; a lane waits for the slowest of its group only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array

_CACHE = 2**17  # bytes of a group, one state for each lane; a block of steps has about ten each


def width(size: int) -> int:
    """How many lanes with states of `size` bytes step together on a CPU."""
    return max(_CACHE // max(size, 1), 1)


def in_groups(function: Callable[[Sequence[Array]], Any], lanes: int) -> Callable:
    """The function of a list of arrays, with a `vmap` that has at most `lanes` together on a CPU.
    The function is not differentiated."""

    @custom_vmap
    def call(leaves):
        return function(leaves)

    @call.def_vmap
    def rule(axis_size, in_batched, leaves):
        (batched,) = in_batched
        axes = [0 if flag else None for flag in batched]
        groups = -(-axis_size // lanes)
        alone = groups == 1 or jax.default_backend() != "cpu"

        def wide(leaves):
            size = axis_size if alone else lanes
            return jax.vmap(function, in_axes=(axes,), axis_size=size)(leaves)

        if alone:
            out = wide(leaves)
            return out, jax.tree.map(lambda _: True, out)

        index = np.minimum(np.arange(groups * lanes), axis_size - 1).reshape(groups, lanes)

        def cut(leaf):  # the last group is filled up with copies of the last lane
            return leaf[index]

        moving = [cut(leaf) for leaf, flag in zip(leaves, batched, strict=True) if flag]

        def one(parts):
            parts = iter(parts)
            pairs = zip(leaves, batched, strict=True)
            return wide([next(parts) if flag else leaf for leaf, flag in pairs])

        out = lax.map(one, moving)
        out = jax.tree.map(
            lambda leaf: leaf.reshape(groups * lanes, *leaf.shape[2:])[:axis_size], out
        )
        return out, jax.tree.map(lambda _: True, out)

    return call
