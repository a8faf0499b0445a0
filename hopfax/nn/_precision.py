"""Mixed precision: what comes in leaves in its own dtype, and is computed in at least float32."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_float, check_array
from .._programs import tidy


def check_weights(dtype: Any, **sizes: int) -> None:
    """ValueError unless an array of weights of these sizes fits into memory."""
    check_array("the weights", jnp.dtype(dtype).itemsize, **sizes)


def arrived(value: Any, name: str) -> jax.Array:
    """An input as a floating array, of whose dtype the output will be.

    It keeps its own dtype if that is floating. Integers, booleans and lists of numbers become the
    default float, as their outputs are no integers.
    """
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return jnp.asarray(array)
    return as_float(value, name)


def widened(*trees: Any) -> tuple[Any, ...]:
    """The trees with all floating arrays in the widest of their dtypes, at least float32.

    A layer starts with `self, x = widened(self, x)` and ends with `.astype` of the dtype of what
    came in, so that bfloat16 inputs (or parameters) cost no accuracy inside.
    """
    tidy()  # every call of a layer passes here
    leaves = [leaf.dtype for leaf in jax.tree.leaves(trees) if eqx.is_inexact_array(leaf)]
    wide = jnp.dtype(jnp.float32)
    for dtype in leaves:
        wide = np.promote_types(wide, dtype)  # also where JAX forbids promotion

    def cast(leaf: Any) -> Any:
        return leaf.astype(wide) if eqx.is_inexact_array(leaf) else leaf

    return tuple(jax.tree.map(cast, tree) for tree in trees)
