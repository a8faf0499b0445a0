"""The softmax memory as a layer: stored items given, learned, or pooled."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._errors import (
    as_count,
    as_float,
    as_key,
    as_number,
    as_real,
    check_at_least,
    check_bool,
    check_scalar_or,
    check_shape,
    check_type,
)
from .._types import ArrayLike, is_concrete
from ._attend import associations, attend, counted, fitting_block, scores_of
from ._heads import beta_of, checked, keys_of, states_of, values_of
from ._precision import (
    arrived,
    check_names,
    check_weights,
    of_any_rank,
    on_last,
    weights_dtype,
    widened,
)
from ._separations import AbstractSeparation
from ._sizes import Projection, all_sizes, check_sizes

Norm: TypeAlias = Literal["query", "memory", "value", "association"]
_NORMS = ("query", "memory", "value", "association")
_PROJECTIONS = ("query", "memory", "value", "output")


class HopfieldRetrieval(eqx.Module):
    r"""Retrieval from a softmax memory (Ramsauer et al. 2021, arXiv:2008.02217), in several heads.

    The queries $q = W_q x$ are states of a modern Hopfield network that stores the keys
    $k_s = W_k y_s$. After `steps - 1` updates of the state, values $v_s = W_v z_s$ are read:

    $$q \leftarrow \sum_s k_s\, \mathrm{softmax}_s(\beta\, q \cdot k_s), \qquad
    \mathrm{out} = W_o \sum_s v_s\, \mathrm{softmax}_s(\beta\, q \cdot k_s).$$

    With one step this is attention. With more steps, or a larger $\beta$, the result approaches a
    single stored item; with a small $\beta$, the mean of all. Queries, memory and values pass
    through layer norms first. With equal weights the results are those of the authors' PyTorch
    package, whose `update_steps_max` is `steps - 1`.

    Many items are read in blocks: memory grows with the size of a block, not with the number of
    items times that of queries.

    **Arguments:**

    - `num_heads`: heads $H$.
    - `query_size`, `memory_size`, `value_size`, `output_size`: features of the queries $x$, of the
      stored $y$, of their values $z$ and of what is returned. Default: `query_size`, and for
      values `memory_size`.
    - `qk_size`, `vo_size`: features of a query and key, and of a value, in one head. Default:
      `query_size // num_heads`, and `qk_size`.
    - `beta`: inverse temperature $> 0$, a scalar or (H,). Default: $1/\sqrt{\mathtt{qk\_size}}$.
    - `learn_beta`: whether $\beta$ is trained, by its logarithm, so that it stays positive.
      Otherwise it is no array of the layer but a number, `fixed_beta`, that no optimiser sees, and
      must not be traced.
    - `steps`: how many softmax means are taken, one after the other; at least 1.
    - `norms`: which layer norms there are, of "query", "memory", "value" (with weights and biases)
      and "association" (of the projected queries and keys in each head, without).
    - `projections`: which of $W_q, W_k, W_v, W_o$ there are, of "query", "memory", "value" and
      "output". Without one of the first three, all heads get its input as it is, which must then
      have the size of what the projection would have made. Without "output", the heads are returned
      side by side.
    - `use_bias`: whether projections have biases.
    - `block`: items read at a time, or None: all of them. "auto": all, if there are at most 8192
      and they have few scores with the queries; else 64 to 2048, by the number of queries.
    - `dtype`: of the parameters. Default: the default float.
    - `separation`: one of `Entmax`, `Normmax`, `KSubsets`, `TopK` or an `AbstractSeparation` of
      your own in place of softmax: weights are then exactly zero for most items, and items whose
      score is far enough ahead are retrieved exactly. All scores are then held at once, whatever
      `block`.
    - `dropout`: the share of weights that are dropped in training, all others being larger by as
      much. A call then needs a `key`, unless `inference` is True. All scores are held at once.
    - `inference`: whether nothing is dropped at first; `equinox.nn.inference_mode` switches it.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))
    query, memory = jax.random.normal(jax.random.key(1), (2, 3, 4))
    layer(query, memory).shape  # (3, 4): what each of three queries retrieves
    layer(query[0], memory).shape  # (4,)
    ```
    """

    query_norm: eqx.nn.LayerNorm | None
    memory_norm: eqx.nn.LayerNorm | None
    value_norm: eqx.nn.LayerNorm | None
    association_norm: eqx.nn.LayerNorm | None
    query_proj: eqx.nn.Linear | None
    memory_proj: eqx.nn.Linear | None
    value_proj: eqx.nn.Linear | None
    output_proj: eqx.nn.Linear | None
    log_beta: Float[Array, "*#H"] | None
    fixed_beta: float | tuple[float, ...] | None = eqx.field(static=True)
    separation: AbstractSeparation | None
    dropout: eqx.nn.Dropout | None
    num_heads: int = eqx.field(static=True)
    query_size: int = eqx.field(static=True)
    memory_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    block: int | Literal["auto"] | None = eqx.field(static=True)

    def __init__(
        self,
        num_heads: int,
        query_size: int,
        *,
        memory_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        qk_size: int | None = None,
        vo_size: int | None = None,
        beta: ArrayLike | None = None,
        learn_beta: bool = False,
        steps: int = 1,
        norms: Sequence[Norm] = ("query", "memory", "value"),
        projections: Sequence[Projection] = ("query", "memory", "value", "output"),
        use_bias: bool = True,
        block: int | Literal["auto"] | None = "auto",
        separation: AbstractSeparation | None = None,
        dropout: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        dtype = weights_dtype(dtype)
        if separation is not None:
            check_type(separation, "separation", AbstractSeparation, "as hopfax.nn.Entmax(1.5)")
        check_bool(inference, "inference")
        self.separation = separation
        if not 0 <= (share := as_number(dropout, "dropout")) < 1:
            raise ValueError(f"`dropout` must lie in [0, 1), got {share:g}.")
        self.dropout = eqx.nn.Dropout(share, inference) if share > 0 else None
        check_names(norms, "norms", _NORMS)
        check_names(projections, "projections", _PROJECTIONS)
        check_bool(learn_beta, "learn_beta")
        check_bool(use_bias, "use_bias")
        H = self.num_heads = as_count(num_heads, "num_heads")
        size = all_sizes(
            H, query_size, memory_size, value_size, output_size, qk_size, vo_size, projections
        )
        self.query_size, self.memory_size, self.value_size = size.query, size.memory, size.value
        self.steps = as_count(steps, "steps")
        self.block = block if isinstance(block, str | None) else as_count(block, "block")
        beta = 1 / math.sqrt(size.qk) if beta is None else beta
        self.log_beta = self.fixed_beta = None
        if learn_beta:
            beta = as_float(beta, "beta", dtype)
            check_at_least(beta, "beta", 0.0, strict=True)
            self.log_beta = jnp.log(beta)
        else:
            self.fixed_beta = _number(beta)

        def norm(name, size, affine=True):
            affine = dict(use_weight=affine, use_bias=affine)
            return eqx.nn.LayerNorm(size, dtype=dtype, **affine) if name in norms else None

        def linear(name, given, made, key):
            if name not in projections:
                return None
            sizes = {f"{name}_size": max(given, made), "num_heads": min(given, made)}
            check_weights(dtype, **sizes)
            return eqx.nn.Linear(given, made, use_bias=use_bias, dtype=dtype, key=key)

        self.query_norm = norm("query", size.query)
        self.memory_norm = norm("memory", size.memory)
        self.value_norm = norm("value", size.value)
        self.association_norm = norm("association", size.qk, affine=False)
        keys = jr.split(as_key(key), 4)
        self.query_proj = linear("query", size.query, H * size.qk, keys[0])
        self.memory_proj = linear("memory", size.memory, H * size.qk, keys[1])
        self.value_proj = linear("value", size.value, H * size.vo, keys[2])
        self.output_proj = linear("output", H * size.vo, size.output, keys[3])

    def __check_init__(self):
        as_count(self.num_heads, "num_heads")
        as_count(self.steps, "steps")
        if self.block not in ("auto", None):
            as_count(self.block, "block")
        if (self.log_beta is None) == (self.fixed_beta is None):
            raise ValueError("there must be either `log_beta` or `fixed_beta`, and not both.")
        given = np.asarray(self.fixed_beta) if self.log_beta is None else self.log_beta
        check_scalar_or(given, "beta", self.num_heads, "(num_heads,)")
        if self.log_beta is None:
            check_at_least(given, "beta", 0.0, strict=True)
        check_sizes(self)

    @property
    def beta(self) -> Float[Array, "*#H"]:
        r"""The inverse temperature $\beta$, a scalar or one for each head."""
        return jnp.asarray(self.fixed_beta) if self.log_beta is None else jnp.exp(self.log_beta)

    @property
    def learn_beta(self) -> bool:
        r"""Whether $\beta$ is trained."""
        return self.log_beta is not None

    @of_any_rank
    def __call__(
        self,
        query: Float[Array, "*Q query_size"],
        memory: Float[Array, "S memory_size"],
        values: Float[Array, "S value_size"] | None = None,
        *,
        mask: Bool[Array, "*H S"] | Literal["causal"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        r"""What the queries retrieve.

        **Arguments:**

        - `query`: states $x$, (Q, query_size), or a single one, (query_size,).
        - `memory`: the stored $y$, (S, memory_size). Of no items the queries retrieve zeros.
        - `values`: the values $z$, (S, value_size). Default: `memory`.
        - `mask`: True where an item may be retrieved, (S,), (Q, S) or (H, Q, S), with 1 for H or Q
          where it is the same for all. Or "causal": each query retrieves the items up to its own
          place, the last query all of them. A query that may retrieve nothing gives zeros, with
          zero derivatives; an item that none may retrieve may hold anything, NaN included.
        - `key`: for `dropout` in training.

        **Returns:** (Q, output_size), or (output_size,) for a single state, of the queries' dtype.
        """
        query, memory = arrived(query, "query"), arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        dtype, single = query.dtype, query.ndim == 1
        query, mask = checked(self, query, memory, values, mask)
        self, query, memory, values = widened(self, query, memory, values)
        out = self._retrieved(query, (memory, values), mask, _dropping(self.dropout, key))
        out = on_last(self.output_proj, out.reshape(out.shape[0], self.num_heads * out.shape[2]))
        if mask is not None:
            out = jnp.where(mask.any((0, 2))[:, None], out, 0.0)
        return (out[0] if single else out).astype(dtype)

    def _retrieved(self, query, stored, mask, key):
        """Means of values, (Q, H, vo_size)."""
        S = stored[0].shape[0]
        block, read, read_keys = self.block, self._read, self._read_keys
        empty = isinstance(S, int) and S == 0
        whole = self.separation is not None or key is not None
        if whole or empty:
            block = None
        elif block == "auto":
            block = fitting_block(query.shape[0], self.num_heads, S)
        if block is None:  # read once for all steps
            stored = self._read(counted(stored, mask))
            read, read_keys = _as_read, _keys_twice
        beta, query = beta_of(self, query.dtype), states_of(self, query)
        if whole and not empty:
            return _at_once(self, query, beta, stored, mask, key)
        for _ in range(self.steps - 1):
            query = attend(beta * query, read_keys, stored, mask, block)
        return attend(beta * query, read, stored, mask, block)

    def _read(self, stored):
        memory, values = stored
        return keys_of(self, memory), values_of(self, memory if values is None else values)

    def _read_keys(self, stored):
        keys = keys_of(self, stored[0])
        return keys, keys


class HopfieldLookup(eqx.Module):
    r"""A `HopfieldRetrieval` whose memory is learned: a table that is searched by content.

    **Arguments:**

    - `num_memories`: how many items are stored, S.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`.
    - `separate_values`: whether what is returned is learned in a table of its own. Default: the
      items that are compared with the query are also what is returned.
    - `dtype`, `key`: as in `HopfieldRetrieval`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    table = hx.nn.HopfieldLookup(64, 2, 4, key=jax.random.key(0))  # 64 items of size 4
    table(jnp.ones(4)).shape  # (4,)
    ```
    """

    retrieval: HopfieldRetrieval
    memory: Float[Array, "S memory_size"]
    values: Float[Array, "S value_size"] | None

    def __init__(
        self,
        num_memories: int,
        num_heads: int,
        query_size: int,
        *,
        separate_values: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype = weights_dtype(dtype)
        check_bool(separate_values, "separate_values")
        keys = jr.split(as_key(key), 3)
        self.retrieval = HopfieldRetrieval(
            num_heads, query_size, dtype=dtype, key=keys[0], **options
        )
        S, made = as_count(num_memories, "num_memories"), self.retrieval
        check_weights(dtype, num_memories=S, query_size=max(made.memory_size, made.value_size))
        self.memory = jr.normal(keys[1], (S, made.memory_size), dtype)
        self.values = jr.normal(keys[2], (S, made.value_size), dtype) if separate_values else None

    def __check_init__(self):
        made, S = self.retrieval, self.memory.shape[0]
        if made.value_size != made.memory_size and self.values is None:
            raise ValueError(
                f"`value_size` = {made.value_size} differs from `memory_size` = "
                f"{made.memory_size}; so values need a table of their own: separate_values=True."
            )
        check_shape(self.memory, "memory", (S, made.memory_size), "(S, memory_size)")
        if self.values is not None:
            check_shape(self.values, "values", (S, made.value_size), "(S, value_size)")

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
        self, wide = widened(self, query)
        found = self.retrieval(wide, self.memory, self.values, mask=mask, key=key)
        return found.astype(query.dtype)


class HopfieldPooling(eqx.Module):
    r"""A `HopfieldRetrieval` whose queries are learned: weighted means of a set of any size, in any
    order.

    **Arguments:**

    - `num_queries`: how many means are taken, Q.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`; `query_size` is also the
      default size of the items.
    - `dtype`, `key`: as in `HopfieldRetrieval`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    pool = hx.nn.HopfieldPooling(3, 2, 4, key=jax.random.key(0))  # three means
    pool(jnp.ones((10, 4))).shape  # (3, 4), of a set of ten items
    ```
    """

    retrieval: HopfieldRetrieval
    queries: Float[Array, "Q query_size"]

    def __init__(
        self,
        num_queries: int,
        num_heads: int,
        query_size: int,
        *,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype = weights_dtype(dtype)
        keys = jr.split(as_key(key))
        self.retrieval = HopfieldRetrieval(
            num_heads, query_size, dtype=dtype, key=keys[0], **options
        )
        shape = (as_count(num_queries, "num_queries"), self.retrieval.query_size)
        check_weights(dtype, num_queries=shape[0], query_size=shape[1])
        self.queries = jr.normal(keys[1], shape, dtype)

    def __check_init__(self):
        shape = (self.queries.shape[0], self.retrieval.query_size)
        check_shape(self.queries, "queries", shape, "(Q, query_size)")

    @of_any_rank
    def __call__(
        self,
        memory: Float[Array, "S memory_size"],
        values: Float[Array, "S value_size"] | None = None,
        *,
        mask: Bool[Array, "*H S"] | Literal["causal"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "Q output_size"]:
        """The means, (Q, output_size), of the set `memory`, (S, memory_size).

        `values` and `mask` are as in `HopfieldRetrieval`.
        """
        memory = arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        self, wide, values = widened(self, memory, values)
        found = self.retrieval(self.queries, wide, values, mask=mask, key=key)
        return found.astype(memory.dtype)


def _number(beta: ArrayLike) -> float | tuple[float, ...]:
    """An inverse temperature that is not learned, as a number or one for each head."""
    if not is_concrete(beta):
        raise TypeError("`beta` must be known if it is not learned; a traced one: learn_beta=True.")
    value = np.asarray(as_real(beta, "beta"), float)
    if value.ndim > 1:
        raise ValueError(f"`beta` must be a scalar or have shape (num_heads,), got {value.shape}.")
    return value.item() if value.ndim == 0 else tuple(value.tolist())


def _dropping(dropout: eqx.nn.Dropout | None, key: Any) -> Array | None:
    """The key by which weights are dropped; None if none are. ValueError if there is none."""
    if dropout is None or dropout.inference:
        return None
    if key is None:
        raise ValueError(
            "`key` is needed in training, by which weights are dropped. To retrieve without "
            "dropout take equinox.nn.inference_mode(layer), or inference=True."
        )
    return as_key(key)


def _at_once(layer: HopfieldRetrieval, query, beta, read, mask, key):
    """Means of values with weights that need all items at once: sparse ones, or some dropped."""
    keys, values = read
    for step in range(layer.steps):
        scores = scores_of(beta * query, keys, mask)
        weights = associations(scores, layer.separation)
        last = step == layer.steps - 1
        if last and key is not None and layer.dropout is not None:
            weights = layer.dropout(weights, key=key)
        query = jnp.einsum("hqs,she->qhe", weights, values if last else keys)
    return query


def _as_read(stored):
    return stored


def _keys_twice(stored):
    return stored[0], stored[0]
