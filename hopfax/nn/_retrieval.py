"""The softmax memory as a layer: stored items given, learned, or pooled."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._errors import as_count, as_float, check_at_least, check_option, check_scalar_or, check_shape
from .._types import ArrayLike, default_float
from ._attend import attend, counted, fitting_block
from ._precision import arrived, widened

Norm: TypeAlias = Literal["query", "memory", "value", "association"]
Projection: TypeAlias = Literal["query", "memory", "value", "output"]
_NORMS = ("query", "memory", "value", "association")
_PROJECTIONS = ("query", "memory", "value", "output")


class HopfieldRetrieval(eqx.Module):
    r"""Retrieval from a softmax memory (Ramsauer et al. 2021, arXiv:2008.02217), in several heads.

    The queries $q = W_q x$ are states of a modern Hopfield network that stores the keys
    $k_s = W_k y_s$. After `steps - 1` updates of the state, values $v_s = W_v z_s$ are read:

    $$q \leftarrow \sum_s k_s\, \mathrm{softmax}_s(\beta\, q \cdot k_s), \qquad
    \mathrm{out} = W_o \sum_s v_s\, \mathrm{softmax}_s(\beta\, q \cdot k_s).$$

    With one step this is attention. More steps and a larger $\beta$ go on towards a single stored
    item; $\beta$ far below gives their mean. Queries, memory and values pass through layer norms
    first. With equal weights the results are those of the authors' PyTorch package, whose
    `update_steps_max` is `steps - 1`.

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
    - `learn_beta`: whether derivatives reach it (as those of its logarithm, so it stays positive).
      Otherwise they are zero; spare `log_beta` from weight decay, which needs no derivative.
    - `steps`: softmax means taken, at least 1.
    - `norms`: which layer norms there are, of "query", "memory", "value" (with weights and biases)
      and "association" (of the projected queries and keys in each head, without).
    - `projections`: which of $W_q, W_k, W_v, W_o$ there are, of "query", "memory", "value" and
      "output". Without one, all heads get its input as it is, which must then have the size of
      what it would have made; without "output", the heads are returned side by side.
    - `use_bias`: whether projections have biases.
    - `block`: items read at a time, or None: all of them. "auto": all, if there are at most 8192
      and they have few scores with the queries; else 64 to 2048, by the number of queries.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError/TypeError naming the argument.
    """

    query_norm: eqx.nn.LayerNorm | None
    memory_norm: eqx.nn.LayerNorm | None
    value_norm: eqx.nn.LayerNorm | None
    association_norm: eqx.nn.LayerNorm | None
    query_proj: eqx.nn.Linear | None
    memory_proj: eqx.nn.Linear | None
    value_proj: eqx.nn.Linear | None
    output_proj: eqx.nn.Linear | None
    log_beta: Float[Array, "*#H"]
    num_heads: int = eqx.field(static=True)
    query_size: int = eqx.field(static=True)
    memory_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)
    learn_beta: bool = eqx.field(static=True)
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
        dtype = default_float() if dtype is None else dtype
        for name in norms:
            check_option(name, "norms", _NORMS)
        for name in projections:
            check_option(name, "projections", _PROJECTIONS)
        H = num_heads = as_count(num_heads, "num_heads")
        query_size = as_count(query_size, "query_size")
        if qk_size is None and query_size % H and "query" in projections:
            raise ValueError(
                f"`query_size` must be a multiple of `num_heads` = {H}, got {query_size}; or give "
                "`qk_size`, the features of a head."
            )
        unprojected = query_size if "query" not in projections else query_size // H
        qk_size = as_count(unprojected if qk_size is None else qk_size, "qk_size")
        memory_size = as_count(query_size if memory_size is None else memory_size, "memory_size")
        value_size = as_count(memory_size if value_size is None else value_size, "value_size")
        unprojected = value_size if "value" not in projections else qk_size
        vo_size = as_count(unprojected if vo_size is None else vo_size, "vo_size")
        output_size = as_count(query_size if output_size is None else output_size, "output_size")
        for name, given, made, what in (
            ("query", query_size, qk_size, "qk_size"),
            ("memory", memory_size, qk_size, "qk_size"),
            ("value", value_size, vo_size, "vo_size"),
        ):
            if name not in projections and given != made:
                raise ValueError(
                    f"`{name}_size` must be `{what}` = {made} where `projections` leave out "
                    f"{name!r}, got {given}."
                )
        self.num_heads, self.query_size = num_heads, query_size
        self.memory_size, self.value_size = memory_size, value_size
        self.steps, self.learn_beta = as_count(steps, "steps"), learn_beta
        self.block = block if block in ("auto", None) else as_count(block, "block")
        beta = as_float(1 / math.sqrt(qk_size) if beta is None else beta, "beta", dtype)
        check_scalar_or(beta, "beta", H, "(num_heads,)")
        check_at_least(beta, "beta", 0.0, strict=True)
        self.log_beta = jnp.log(beta)

        def norm(name, size, affine=True):
            affine = dict(use_weight=affine, use_bias=affine)
            return eqx.nn.LayerNorm(size, dtype=dtype, **affine) if name in norms else None

        def linear(name, given, made, key):
            if name not in projections:
                return None
            return eqx.nn.Linear(given, made, use_bias=use_bias, dtype=dtype, key=key)

        self.query_norm = norm("query", query_size)
        self.memory_norm = norm("memory", memory_size)
        self.value_norm = norm("value", value_size)
        self.association_norm = norm("association", qk_size, affine=False)
        keys = jr.split(key, 4)
        self.query_proj = linear("query", query_size, H * qk_size, keys[0])
        self.memory_proj = linear("memory", memory_size, H * qk_size, keys[1])
        self.value_proj = linear("value", value_size, H * vo_size, keys[2])
        self.output_proj = linear("output", H * vo_size, output_size, keys[3])

    @property
    def beta(self) -> Float[Array, "*#H"]:
        r"""The inverse temperature $\beta$."""
        return jnp.exp(self.log_beta)

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
        - `mask`: True where an item may be retrieved, (S,), (Q, S) or (H, Q, S). A query that may
          retrieve nothing gives zeros, with zero derivatives; an item that none may retrieve may
          hold anything, NaN included.
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
        mask = self._mask(mask, query.shape[0], S)
        self, query, memory, values = widened(self, query, memory, values)
        out = self._retrieved(query, (memory, values), mask)
        out = _each(self.output_proj, out.reshape(out.shape[0], self.num_heads * out.shape[2]))
        if mask is not None:
            out = jnp.where(mask.any((0, 2))[:, None], out, 0.0)
        return (out[0] if single else out).astype(dtype)

    def _mask(self, mask, Q, S):
        """As (1 or H, 1 or Q, S), checked."""
        if mask is None:
            return None
        mask = jnp.asarray(mask)
        if mask.dtype != jnp.bool_:
            raise TypeError(f"`mask` must be boolean, True where an item counts, got {mask.dtype}.")
        full = (self.num_heads, Q, S)
        if mask.ndim not in (1, 2, 3) or mask.shape != full[3 - mask.ndim :]:
            raise ValueError(
                f"`mask` must have shape (S,), (Q, S) or (num_heads, Q, S) with (num_heads, Q, S) "
                f"= {full}, got {mask.shape}."
            )
        return mask.reshape((1,) * (3 - mask.ndim) + mask.shape)

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
        beta = self.beta if self.learn_beta else lax.stop_gradient(self.beta)
        beta = beta.reshape(-1, 1)
        query = self._in_heads(self.query_norm, self.query_proj, query)
        query = _each(self.association_norm, query)
        for _ in range(self.steps - 1):
            query = attend(beta * query, read_keys, stored, mask, block)
        return attend(beta * query, read, stored, mask, block)

    def _in_heads(self, norm, projection, x):
        x = _each(projection, _each(norm, x))
        if projection is None:
            return jnp.broadcast_to(x[:, None], (x.shape[0], self.num_heads, x.shape[1]))
        return x.reshape(x.shape[0], self.num_heads, x.shape[1] // self.num_heads)

    def _keys(self, memory):
        keys = self._in_heads(self.memory_norm, self.memory_proj, memory)
        return _each(self.association_norm, keys)

    def _read(self, stored):
        memory, values = stored
        values = memory if values is None else values
        return self._keys(memory), self._in_heads(self.value_norm, self.value_proj, values)

    def _read_keys(self, stored):
        keys = self._keys(stored[0])
        return keys, keys


class HopfieldLookup(eqx.Module):
    r"""A `HopfieldRetrieval` whose memory is learned: a table that is read by content.

    **Arguments:**

    - `num_memories`: how many items are stored, S.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`.
    - `separate_values`: learn values apart from what they are found by. Default: one table for
      both.
    - `dtype`, `key`: as there.
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
        dtype = default_float() if dtype is None else dtype
        keys = jr.split(key, 3)
        self.retrieval = HopfieldRetrieval(
            num_heads, query_size, dtype=dtype, key=keys[0], **options
        )
        S, made = as_count(num_memories, "num_memories"), self.retrieval
        self.memory = jr.normal(keys[1], (S, made.memory_size), dtype)
        self.values = jr.normal(keys[2], (S, made.value_size), dtype) if separate_values else None
        if made.value_size != made.memory_size and not separate_values:
            raise ValueError(
                f"`value_size` = {made.value_size} differs from `memory_size` = "
                f"{made.memory_size}; so values need a table of their own: separate_values=True."
            )

    def __call__(
        self,
        query: Float[Array, "*Q query_size"],
        *,
        mask: Bool[Array, "*H S"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        """What the queries, (Q, query_size) or (query_size,), retrieve; `mask` and what is
        returned as for `HopfieldRetrieval`."""
        query = arrived(query, "query")
        self, wide = widened(self, query)
        return self.retrieval(wide, self.memory, self.values, mask=mask).astype(query.dtype)


class HopfieldPooling(eqx.Module):
    r"""A `HopfieldRetrieval` whose queries are learned: it sums up a set of any size, in an order
    that does not matter.

    **Arguments:**

    - `num_queries`: how many means are taken, Q.
    - `num_heads`, `query_size`, `**options`: of the `HopfieldRetrieval`; `query_size` is also the
      default size of the items.
    - `dtype`, `key`: as there.
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
        dtype = default_float() if dtype is None else dtype
        keys = jr.split(key)
        self.retrieval = HopfieldRetrieval(
            num_heads, query_size, dtype=dtype, key=keys[0], **options
        )
        shape = (as_count(num_queries, "num_queries"), self.retrieval.query_size)
        self.queries = jr.normal(keys[1], shape, dtype)

    def __call__(
        self,
        memory: Float[Array, "S memory_size"],
        values: Float[Array, "S value_size"] | None = None,
        *,
        mask: Bool[Array, "*H S"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "Q output_size"]:
        """The set `memory`, (S, memory_size), summed up: (Q, output_size). `values` and `mask` as
        for `HopfieldRetrieval`."""
        memory = arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        self, wide, values = widened(self, memory, values)
        return self.retrieval(self.queries, wide, values, mask=mask).astype(memory.dtype)


def _as_read(stored):
    return stored


def _keys_twice(stored):
    return stored[0], stored[0]


def _each(layer, x):
    """A layer on the last axis of `x`, if there is one."""
    if layer is None:
        return x
    if isinstance(layer, eqx.nn.Linear):
        x = x @ layer.weight.T
        return x if layer.bias is None else x + layer.bias
    for _ in range(x.ndim - 1):
        layer = jax.vmap(layer)
    return layer(x)


def _check(value, name, shape, meaning):
    hint = "One example at a time; for a batch use jax.vmap." if value.ndim > 2 else ""
    check_shape(value, name, shape, meaning, hint)
