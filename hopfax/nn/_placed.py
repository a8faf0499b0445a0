"""Arrays that a loop begins with, on a mesh of devices.

A loop keeps the type of its state. On a mesh that type says over which devices a value varies
(`jax.shard_map`) and how it is split (an explicit mesh), and zeros are the same on all devices:
what comes after them is not. Nor does JAX broadcast, for `jax.vmap` on an explicit mesh, scalars
and what was made without the mesh.
"""

import functools
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jaxtyping import Array

Start = TypeVar("Start")


def beside(start: Start, *given: Any) -> Start:
    """The same numbers, of the type that they have when they are combined with what is `given`.

    To each array a zero is added that depends on all that is given and lies on a mesh; nothing is
    done elsewhere. The compiler takes it out. NaN gives a zero, too, and derivatives do not see it.

    **Arguments:** `start`, `given`: PyTrees; of the first, arrays of numbers are changed.
    """
    nothing = [_nothing(leaf) for leaf in jax.tree.leaves(given) if _on_mesh(leaf)]
    if not nothing:
        return start
    zero = functools.reduce(jnp.logical_or, nothing)

    def moved(leaf: Any) -> Any:
        if not eqx.is_array(leaf) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return leaf | zero if leaf.dtype == jnp.bool_ else leaf + zero.astype(leaf.dtype)

    return jax.tree.map(moved, start)


def _on_mesh(leaf: Any) -> bool:
    """Whether the type of an array says where it lies."""
    if not eqx.is_array(leaf) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return False
    mesh = jax.typeof(leaf).sharding.mesh
    return not mesh.empty and any(kind != AxisType.Auto for kind in mesh.axis_types)


def _nothing(leaf: Array) -> Array:
    """False, whatever the entries are."""
    return ((leaf == leaf) & False).any()
