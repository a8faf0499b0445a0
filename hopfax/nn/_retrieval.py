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
    as_real,
    check_at_least,
    check_bool,
    check_scalar_or,
    check_shape,
)
from .._types import ArrayLike, is_concrete
from ._attend import attend, counted, fitting_block
from ._precision import (
    arrived,
    check_names,
    check_weights,
    of_any_rank,
    on_last,
    weights_dtype,
    widened,
)
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
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        dtype = weights_dtype(dtype)
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
        mask: Bool[Array, "*H S"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        r"""What the queries retrieve.

        **Arguments:**

        - `query`: states $x$, (Q, query_size), or a single one, (query_size,).
        - `memory`: the stored $y$, (S, memory_size). Of no items the queries retrieve zeros.
        - `values`: the values $z$, (S, value_size). Default: `memory`.
        - `mask`: True where an item may be retrieved, (S,), (Q, S) or (H, Q, S), with 1 for H or Q
          where it is the same for all. A query that may retrieve nothing gives zeros, with zero
          derivatives; an item that none may retrieve may hold anything, NaN included.
        - `key`: not used.

        **Returns:** (Q, output_size), or (output_size,) for a single state, of the queries' dtype.
        """
        query, memory = arrived(query, "query"), arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        S = memory.shape[0] if memory.ndim else 0
        _check(query, "query", (*query.shape[:-1][:1], self.query_size), "(Q, query_size)")
        _check(memory, "memory", (S, self.memory_size), "(S, memory_size)")
        read = memory if values is None else values
        _check(read, "values", (S, self.value_size), "(S, value_size)")
        dtype, single = query.dtype, query.ndim == 1
        query = query[None] if single else query
        mask = jnp.zeros(0, bool) if isinstance(S, int) and S == 0 and mask is None else mask
        mask = _mask(mask, self.num_heads, query.shape[0], S)
        self, query, memory, values = widened(self, query, memory, values)
        out = self._retrieved(query, (memory, values), mask)
        out = on_last(self.output_proj, out.reshape(out.shape[0], self.num_heads * out.shape[2]))
        if mask is not None:
            out = jnp.where(mask.any((0, 2))[:, None], out, 0.0)
        return (out[0] if single else out).astype(dtype)

    def _retrieved(self, query, stored, mask):
        """Means of values, (Q, H, vo_size)."""
        S = stored[0].shape[0]
        block, read, read_keys = self.block, self._read, self._read_keys
        if isinstance(S, int) and S == 0:
            block = None
        elif block == "auto":
            block = fitting_block(query.shape[0], self.num_heads, S)
        if block is None:  # read once for all steps
            stored = self._read(counted(stored, mask))
            read, read_keys = _as_read, _keys_twice
        beta = self.beta.astype(query.dtype).reshape(-1, 1)
        query = self._in_heads(self.query_norm, self.query_proj, query)
        query = on_last(self.association_norm, query)
        for _ in range(self.steps - 1):
            query = attend(beta * query, read_keys, stored, mask, block)
        return attend(beta * query, read, stored, mask, block)

    def _in_heads(self, norm, projection, x):
        """Features (n, size), normed and projected, in heads: (n, H, size of one head)."""
        x = on_last(projection, on_last(norm, x))
        if projection is None:
            return jnp.broadcast_to(x[:, None], (x.shape[0], self.num_heads, x.shape[1]))
        return x.reshape(x.shape[0], self.num_heads, x.shape[1] // self.num_heads)

    def _keys(self, memory):
        keys = self._in_heads(self.memory_norm, self.memory_proj, memory)
        return on_last(self.association_norm, keys)

    def _read(self, stored):
        memory, values = stored
        values = memory if values is None else values
        return self._keys(memory), self._in_heads(self.value_norm, self.value_proj, values)

    def _read_keys(self, stored):
        keys = self._keys(stored[0])
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
        mask: Bool[Array, "*H S"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        """What the queries, (Q, query_size) or (query_size,), retrieve; see `HopfieldRetrieval`."""
        query = arrived(query, "query")
        self, wide = widened(self, query)
        return self.retrieval(wide, self.memory, self.values, mask=mask).astype(query.dtype)


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
        mask: Bool[Array, "*H S"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "Q output_size"]:
        """The means, (Q, output_size), of the set `memory`, (S, memory_size).

        `values` and `mask` are as in `HopfieldRetrieval`.
        """
        memory = arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        self, wide, values = widened(self, memory, values)
        return self.retrieval(self.queries, wide, values, mask=mask).astype(memory.dtype)


def _number(beta: ArrayLike) -> float | tuple[float, ...]:
    """An inverse temperature that is not learned, as a number or one for each head."""
    if not is_concrete(beta):
        raise TypeError("`beta` must be known if it is not learned; a traced one: learn_beta=True.")
    value = np.asarray(as_real(beta, "beta"), float)
    if value.ndim > 1:
        raise ValueError(f"`beta` must be a scalar or have shape (num_heads,), got {value.shape}.")
    return value.item() if value.ndim == 0 else tuple(value.tolist())


def _mask(mask: Any, heads: int, Q: Any, S: Any) -> Array | None:
    """The mask with all its axes, (1 or H, 1 or Q, S); ValueError or TypeError for no mask."""
    if mask is None:
        return None
    mask = jnp.asarray(as_real(mask, "mask"))
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`mask` must be boolean, True where an item counts, got {mask.dtype}.")
    full = (heads, Q, S)
    shape = (1,) * (3 - mask.ndim) + mask.shape
    if (
        mask.ndim not in (1, 2, 3)
        or any(n not in (1, most) for n, most in zip(shape[:2], full, strict=False))
        or shape[2] != S
    ):
        raise ValueError(
            f"`mask` must have shape (S,), (Q, S) or (num_heads, Q, S) with (num_heads, Q, S) "
            f"= {full}, or 1 for num_heads or Q, got {mask.shape}."
        )
    return mask.reshape(shape)


def _as_read(stored):
    return stored


def _keys_twice(stored):
    return stored[0], stored[0]


def _check(value: Array, name: str, shape: tuple, meaning: str) -> None:
    """ValueError unless the input has this shape, with a hint for batches."""
    hint = "One example at a time; for a batch use jax.vmap." if value.ndim > 2 else ""
    check_shape(value, name, shape, meaning, hint)
