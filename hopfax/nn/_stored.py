"""Keys and values of items, computed once: what a retrieval has stored."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._errors import as_count
from .._types import is_concrete


class Stored(eqx.Module):
    """Items as `hopfax.nn.store` keeps them, for many calls: a cache of keys and values.

    - `keys`: (num_kv_heads, R, qk_size), `values`: (num_kv_heads, R, vo_size), with room for R
      items; what is not used is zero.
    - `counted`: (R,) where there is an item that may be retrieved. `size`: how many are stored,
      those that may not be retrieved included.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))
    stored = hx.nn.store(layer, jnp.ones((3, 4)), room=8)
    stored.size, stored.keys.shape  # 3, (2, 8, 2)
    ```
    """

    keys: Float[Array, "K R d"]
    values: Float[Array, "K R e"]
    counted: Bool[Array, " R"]
    size: Int[Array, ""]

    @property
    def room(self) -> int:
        """For how many items there is room, R."""
        return self.keys.shape[1]


def empty(keys: Array, values: Array, room: int) -> Stored:
    """Room for items with keys and values of these kinds."""
    return Stored(
        jnp.zeros((keys.shape[0], room, keys.shape[2]), keys.dtype),
        jnp.zeros((values.shape[0], room, values.shape[2]), values.dtype),
        jnp.zeros(room, bool),
        jnp.zeros((), jnp.int32),
    )


def extended(stored: Stored, keys: Array, values: Array, counted: Array) -> Stored:
    """These items behind those that are stored.

    **Raises:** ValueError if there is no room for them. Where their number is traced, all values
    become NaN instead.
    """
    S, size = keys.shape[1], stored.size
    if is_concrete(size) and int(size) + S > stored.room:
        raise ValueError(
            f"`into` has room for {stored.room} items, of which {int(size)} are stored: {S} more "
            "do not fit. Make it with a larger `room`."
        )
    if S > stored.room:
        raise ValueError(f"`into` has room for {stored.room} items, got {S}.")
    full = size + S > stored.room

    def put(old: Array, new: Array, axis: int = 1) -> Array:
        return lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), size, axis)

    values = jnp.where(full, jnp.nan, put(stored.values, values))
    return Stored(put(stored.keys, keys), values, put(stored.counted, counted, 0), size + S)


def room_for(room: int | None, S: int) -> int:
    """The room that is asked for. **Raises:** ValueError if S items do not fit."""
    room = S if room is None else as_count(room, "room", 0)
    if room < S:
        raise ValueError(f"`room` must be at least the number of items, {S}, got {room}.")
    return room
