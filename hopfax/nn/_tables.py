"""A softmax memory that is learned, and one whose queries are."""

from typing import Any, Literal

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._constant import Constant, held
from .._errors import as_count, as_key, check_bool, check_shape
from ._parts import Initializer, maker
from ._precision import arrived, check_weights, of_any_rank, weights_dtype, widened
from ._retrieval import HopfieldRetrieval
from ._stored import Stored


class HopfieldLookup(eqx.Module):
    r"""A `HopfieldRetrieval` whose memory is learned: a table that is searched by content.

    **Arguments:**

    - `num_memories`: how many items are stored, S.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`.
    - `separate_values`: whether what is returned is learned in a table of its own. Default: the
      items that are compared with the query are also what is returned.
    - `learn_memory`: whether the tables are learned. Otherwise each is a `Constant`; items of your
      own are put in by `equinox.tree_at(lambda it: it.memory, layer, hx.nn.Constant(items))`.
    - `initializer`: of the tables, too. Default: normal numbers.
    - `dtype`, `key`: as in `HopfieldRetrieval`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    table = hx.nn.HopfieldLookup(64, 2, 4, key=jax.random.key(0))  # 64 items of size 4
    table(jnp.ones(4)).shape  # (4,)
    ```
    """

    retrieval: HopfieldRetrieval
    memory: Float[Array, "S memory_size"] | Constant
    values: Float[Array, "S value_size"] | Constant | None

    def __init__(
        self,
        num_memories: int,
        num_heads: int,
        query_size: int,
        *,
        separate_values: bool = False,
        learn_memory: bool = True,
        initializer: Initializer | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype = weights_dtype(dtype)
        check_bool(separate_values, "separate_values")
        check_bool(learn_memory, "learn_memory")
        keys = jr.split(as_key(key), 3)
        options |= dict(initializer=initializer, dtype=dtype, key=keys[0])
        self.retrieval = made = HopfieldRetrieval(num_heads, query_size, **options)
        S = as_count(num_memories, "num_memories")
        check_weights(dtype, num_memories=S, query_size=max(made.memory_size, made.value_size))
        make = maker(dtype, initializer, True, keys[0])
        table = make.array(keys[1], (S, made.memory_size))
        values = make.array(keys[2], (S, made.value_size)) if separate_values else None
        self.memory = table if learn_memory else Constant(table)
        self.values = values if learn_memory or values is None else Constant(values)

    def __check_init__(self):
        made, memory = self.retrieval, held(self.memory)
        S = memory.shape[0]
        if made.value_size != made.memory_size and self.values is None:
            raise ValueError(
                f"`value_size` = {made.value_size} differs from `memory_size` = "
                f"{made.memory_size}; so values need a table of their own: separate_values=True."
            )
        check_shape(memory, "memory", (S, made.memory_size), "(S, memory_size)")
        if self.values is not None:
            check_shape(held(self.values), "values", (S, made.value_size), "(S, value_size)")

    @of_any_rank
    def __call__(
        self,
        query: Float[Array, "*Q query_size"],
        *,
        mask: Bool[Array, "*H S"] | Literal["causal"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        """What the queries, (Q, query_size) or (query_size,), retrieve; see `HopfieldRetrieval`."""
        query = arrived(query, "query")
        self, wide, memory, values = widened(self, query, held(self.memory), held(self.values))
        found = self.retrieval(wide, memory, values, mask=mask, key=key)
        return found.astype(query.dtype)


class HopfieldPooling(eqx.Module):
    r"""A `HopfieldRetrieval` whose queries are learned: weighted means of a set of any size, in any
    order.

    **Arguments:**

    - `num_queries`: how many means are taken, Q.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`; `query_size` is also the
      default size of the items.
    - `learn_queries`: whether the queries are learned. Otherwise they are a `Constant`.
    - `initializer`: of the queries, too. Default: normal numbers.
    - `dtype`, `key`: as in `HopfieldRetrieval`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    pool = hx.nn.HopfieldPooling(3, 2, 4, key=jax.random.key(0))  # three means
    pool(jnp.ones((10, 4))).shape  # (3, 4), of a set of ten items
    ```
    """

    retrieval: HopfieldRetrieval
    queries: Float[Array, "Q query_size"] | Constant

    def __init__(
        self,
        num_queries: int,
        num_heads: int,
        query_size: int,
        *,
        learn_queries: bool = True,
        initializer: Initializer | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype = weights_dtype(dtype)
        check_bool(learn_queries, "learn_queries")
        keys = jr.split(as_key(key))
        options |= dict(initializer=initializer, dtype=dtype, key=keys[0])
        self.retrieval = HopfieldRetrieval(num_heads, query_size, **options)
        shape = (as_count(num_queries, "num_queries"), self.retrieval.query_size)
        check_weights(dtype, num_queries=shape[0], query_size=shape[1])
        queries = maker(dtype, initializer, True, keys[0]).array(keys[1], shape)
        self.queries = queries if learn_queries else Constant(queries)

    def __check_init__(self):
        queries = held(self.queries)
        shape = (queries.shape[0], self.retrieval.query_size)
        check_shape(queries, "queries", shape, "(Q, query_size)")

    @of_any_rank
    def __call__(
        self,
        memory: Float[Array, "S memory_size"] | Stored,
        values: Float[Array, "S value_size"] | None = None,
        *,
        mask: Bool[Array, "*H S"] | Literal["causal"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "Q output_size"]:
        """The means, (Q, output_size), of the set `memory`, (S, memory_size).

        `values` and `mask` are as in `HopfieldRetrieval`; `memory` may also be what
        `hopfax.nn.store` returns, as there.
        """
        memory = memory if isinstance(memory, Stored) else arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        dtype = memory.values.dtype if isinstance(memory, Stored) else memory.dtype
        self, queries, memory, values = widened(self, held(self.queries), memory, values)
        return self.retrieval(queries, memory, values, mask=mask, key=key).astype(dtype)
