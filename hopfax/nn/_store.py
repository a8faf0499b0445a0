"""Items stored once for many calls of a retrieval."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._constant import held
from .._errors import check_shape, check_type
from ._heads import check_items, keys_of, values_of
from ._masked import as_mask, only
from ._precision import arrived, of_any_rank, widened
from ._retrieval import HopfieldRetrieval
from ._stored import Stored, empty, extended, room_for
from ._tables import HopfieldLookup, HopfieldPooling


@of_any_rank
def store(
    layer: HopfieldRetrieval | HopfieldLookup | HopfieldPooling,
    memory: Float[Array, "S memory_size"] | None = None,
    values: Float[Array, "S value_size"] | None = None,
    *,
    mask: Bool[Array, " S"] | None = None,
    room: int | None = None,
    into: Stored | None = None,
) -> Stored:
    """The keys and values of items, computed once for many calls of a retrieval: of a large memory
    that does not change, or of a sequence that grows (a cache of keys and values).

    A sequence is stored as far as it is known, and then one item after the other; by
    `mask="causal"` the last query is at the place of the last item stored.

    **Arguments:**

    - `layer`: a `HopfieldRetrieval`, `HopfieldPooling` or `HopfieldLookup`.
    - `memory`, `values`: as in a call. None for a `HopfieldLookup`, whose own are stored.
    - `mask`: (S,) True where an item counts, as padding does not.
    - `room`: for how many items there is room. Default: S.
    - `into`: what was stored before, behind whose items these are put.

    **Returns:** a `Stored`, which the layer (of a lookup its `retrieval`) takes in place of
    `memory`.

    **Raises:** ValueError/TypeError naming the argument; if there is no room. Where that is not
    known before the program runs, what is retrieved then is NaN.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (6, 4))
    stored = hx.nn.store(layer, x[:5], room=32)
    ys = layer(x[:5], stored, mask="causal")  # = layer(x[:5], x[:5], mask="causal")
    stored = hx.nn.store(layer, x[5:], into=stored)
    y = layer(x[5], stored)  # the last of layer(x, x, mask="causal")
    ```
    """
    kinds = (HopfieldRetrieval, HopfieldLookup, HopfieldPooling)
    check_type(layer, "layer", kinds, "a HopfieldRetrieval, HopfieldLookup or HopfieldPooling")
    made = layer if isinstance(layer, HopfieldRetrieval) else layer.retrieval
    if isinstance(layer, HopfieldLookup):
        if memory is not None:
            raise TypeError("`memory` of a HopfieldLookup is its own, so it takes none.")
        memory, values = held(layer.memory), held(layer.values)
    elif memory is None:
        raise TypeError("`memory` is needed: only a HopfieldLookup stores something itself.")
    memory = arrived(memory, "memory")
    values = None if values is None else arrived(values, "values")
    S = check_items(made, memory, values)
    counts = jnp.ones(S, bool) if mask is None else as_mask(mask, S, "an item counts")
    made, memory, values = widened(made, memory, values)
    memory = only(counts, jnp.asarray(memory))
    values = memory if values is None else only(counts, jnp.asarray(values))
    places = jnp.arange(S, dtype=jnp.int32) + (0 if into is None else into.size)
    keys, values = keys_of(made, memory, places), values_of(made, values)
    if into is None:
        return extended(empty(keys, values, room_for(room, S)), keys, values, counts)
    check_type(into, "into", Stored, "what `hopfax.nn.store` returns")
    if room is not None:
        raise ValueError("`room` must be given with the first items, and not with `into`.")
    for name, new in (("keys", keys), ("values", values)):
        shape = (new.shape[0], into.room, new.shape[2])
        check_shape(getattr(into, name), f"into.{name}", shape, "that of this layer")
    return extended(into, keys, values, counts)


def stored_keys(
    layer: HopfieldRetrieval | HopfieldLookup | HopfieldPooling,
    memory: Float[Array, "S memory_size"] | None = None,
) -> Float[Array, "K S _"]:
    r"""The keys of items in each head, with which states are compared: normed and projected.

    **Arguments:** as of `store`.

    **Returns:** (num_kv_heads, S, qk_size), in at least float32.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    table = hx.nn.HopfieldLookup(8, 2, 4, key=jax.random.key(0))
    hx.nn.stored_keys(table).shape  # (2, 8, 2)
    ```
    """
    (keys,) = widened(store(layer, memory).keys)
    return keys
