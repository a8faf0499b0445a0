"""Numbers that belong to a model and are not learned."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._types import is_concrete


class Constant(eqx.Module):
    """A PyTree whose floating arrays are kept as the bits of their numbers, which are integers.

    What trains a model takes every floating array of it for a parameter: an optimiser given
    `eqx.filter(model, eqx.is_inexact_array)` applies weight decay to it, although a gradient of
    zero comes back. Integers are left alone by all, and still pass through `jit`, `vmap` and files.

    **Arguments:** `value`: an array, or a PyTree of them.

    **Example:**

    ```python
    table = hx.nn.Constant(jnp.array([0.5, 2.0]))
    table.value  # 0.5, 2.0
    ```
    """

    bits: Any
    kinds: tuple[str | None, ...] = eqx.field(static=True)

    def __init__(self, value: Any):
        leaves, structure = jax.tree.flatten(value)
        self.kinds = tuple(str(leaf.dtype) if _floating(leaf) else None for leaf in leaves)
        self.bits = jax.tree.unflatten(
            structure, [_as_bits(leaf) if _floating(leaf) else leaf for leaf in leaves]
        )

    @property
    def value(self) -> Any:
        """The tree itself."""
        leaves, structure = jax.tree.flatten(self.bits)
        pairs = zip(leaves, self.kinds, strict=True)
        return jax.tree.unflatten(
            structure,
            [
                leaf if kind is None else jax.lax.bitcast_convert_type(leaf, jnp.dtype(kind))
                for leaf, kind in pairs
            ],
        )

    def of_dtype(self, dtype: Any) -> Any:
        """The tree itself, with its floating arrays in this dtype."""
        return jax.tree.map(lambda x: x.astype(dtype) if _floating(x) else x, self.value)


def held(value: Any) -> Any:
    """What a constant holds; anything else as it is."""
    return value.value if isinstance(value, Constant) else value


def _floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _as_bits(leaf: Any) -> jax.Array:
    kind = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
    if is_concrete(leaf):  # without a program to be compiled
        return jnp.asarray(np.asarray(leaf).view(kind))
    return jax.lax.bitcast_convert_type(leaf, kind)
