"""The softmax memory as a layer."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._errors import (
    as_count,
    as_number,
    check_at_least,
    check_scalar_or,
    check_type,
)
from .._types import ArrayLike
from ._parts import (
    PROJECTIONS,
    Initializer,
    check_rest,
    dropped,
    dropping,
    inverse_temperature,
    maker,
)
from ._positions import AbstractPositions
from ._precision import arrived, check_names, dtype_name, of_any_rank, on_last, widened
from ._recall import called, readers, recalled
from ._separations import AbstractSeparation
from ._sizes import Projection, all_sizes, check_sizes
from ._stored import Stored

Norm: TypeAlias = Literal["query", "memory", "value", "association"]


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

    Many queries are computed some at a time, or many items are read in blocks: memory grows with
    the size of a block, not with the number of items times that of queries.

    **Arguments:**

    - `num_heads`: heads $H$.
    - `query_size`, `memory_size`, `value_size`, `output_size`: features of the queries $x$, of the
      stored $y$, of their values $z$ and of what is returned. Default: `query_size`, and for
      values `memory_size`.
    - `qk_size`, `vo_size`: features of a query and key, and of a value, in one head. Default:
      `query_size // num_heads`, and `qk_size`.
    - `num_kv_heads`: heads of keys and values, of which each serves H / `num_kv_heads` heads of
      queries (multi- and grouped-query attention: Shazeer 2019, arXiv:1911.02150; Ainslie et al.
      2023, arXiv:2305.13245). Default: H.
    - `beta`: inverse temperature $> 0$, a scalar or (H,). Default: $1/\sqrt{\mathtt{qk\_size}}$.
    - `learn_beta`: whether $\beta$ is trained, by its logarithm, so that it stays positive.
      Otherwise it is no array of the layer but a number, `fixed_beta`, that no optimiser sees, and
      must not be traced.
    - `steps`: how many softmax means are taken, one after the other; at least 1. None: as many as
      bring all states to rest, and then one of the values. Derivatives are then those of the states
      at rest (by the implicit function theorem), and none reach the queries.
    - `max_steps`, `tol`: with `steps=None`, the most steps, and how little an entry may move at
      rest: by `tol * (1 + |entry|)`. Default: the machine's epsilon to the power of 3/4. If
      `max_steps` are not enough nothing is raised: the states are the last ones.
    - `norms`: which layer norms there are, of "query", "memory", "value" (with weights and biases)
      and "association" (of the projected queries and keys in each head, without).
    - `projections`: which of $W_q, W_k, W_v, W_o$ there are, of "query", "memory", "value" and
      "output". Without one of the first three, all heads get its input as it is, which must then
      have the size of what the projection would have made. Without "output", the heads are returned
      side by side.
    - `use_bias`: whether projections have biases.
    - `positions`: how places in the sequence enter, `Rotary()`, a `RelativeBias` or an
      `AbstractPositions` of your own. Items have the places 0, 1, ...; the last query is at the
      place of the last item, so that with as many queries as items each has the same. Default:
      places do not matter.
    - `extra_items`: what every query may retrieve beside the items, whatever `mask`: "bias", an
      item whose key and value in each head are learned, and "zero", one of zeros.
    - `block`: items read at a time, or None: all of them. "auto": all, if there are at most 8192
      and they have few scores with the queries, or at least with eight of them, which are then
      computed some at a time; else 64 to 2048, by the number of queries.
    - `compute_dtype`: of the factors of all products, as jnp.bfloat16; sums, norms and softmax stay
      in at least float32. Default: that of the other numbers. In bfloat16 a result is off by some
      1e-2 of its size.
    - `initializer`: makes the weights of projections and the bias item, as those of
      `jax.nn.initializers` do, of arrays (in, out); biases then start at zero. Default: as
      `equinox.nn.Linear` does.
    - `dtype`: of the parameters. Default: the default float.
    - `separation`: one of `Entmax`, `Normmax`, `KSubsets`, `TopK` or an `AbstractSeparation` of
      your own in place of softmax: weights are then exactly zero for most items, and items whose
      score is far enough ahead are retrieved exactly. All scores of a query are then held at once,
      whatever `block`.
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
    bias_item: tuple[Float[Array, "K d"], Float[Array, "K e"]] | None
    log_beta: Float[Array, "*#H"] | None
    fixed_beta: float | tuple[float, ...] | None = eqx.field(static=True)
    positions: AbstractPositions | None
    separation: AbstractSeparation | None
    dropout: eqx.nn.Dropout | None
    num_heads: int = eqx.field(static=True)
    num_kv_heads: int = eqx.field(static=True)
    query_size: int = eqx.field(static=True)
    memory_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)
    zero_item: bool = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tol: float | None = eqx.field(static=True)
    block: int | Literal["auto"] | None = eqx.field(static=True)
    compute_dtype: str | None = eqx.field(static=True)

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
        num_kv_heads: int | None = None,
        beta: ArrayLike | None = None,
        learn_beta: bool = False,
        steps: int | None = 1,
        max_steps: int = 256,
        tol: float | None = None,
        norms: Sequence[Norm] = ("query", "memory", "value"),
        projections: Sequence[Projection] = ("query", "memory", "value", "output"),
        use_bias: bool = True,
        positions: AbstractPositions | None = None,
        extra_items: Sequence[Literal["bias", "zero"]] = (),
        separation: AbstractSeparation | None = None,
        dropout: float = 0.0,
        inference: bool = False,
        block: int | Literal["auto"] | None = "auto",
        compute_dtype: Any = None,
        initializer: Initializer | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        H = self.num_heads = as_count(num_heads, "num_heads")
        K = self.num_kv_heads = (
            H if num_kv_heads is None else as_count(num_kv_heads, "num_kv_heads")
        )
        given = (query_size, memory_size, value_size, output_size, qk_size, vo_size)
        check_names(projections, "projections", PROJECTIONS)
        size = all_sizes(H, *given, projections)
        self.query_size, self.memory_size, self.value_size = size.query, size.memory, size.value
        self.log_beta, self.fixed_beta = inverse_temperature(beta, learn_beta, size.qk, dtype)
        self.steps = None if steps is None else as_count(steps, "steps")
        self.max_steps = as_count(max_steps, "max_steps")
        self.tol = None if tol is None else as_number(tol, "tol")
        self.block = block if isinstance(block, str | None) else as_count(block, "block")
        self.separation, self.positions = separation, positions
        self.dropout = dropped(dropout, inference)
        self.compute_dtype = dtype_name(compute_dtype)
        make = maker(dtype, initializer, use_bias, key)
        norms_made = make.norms(norms, size)
        self.query_norm, self.memory_norm, self.value_norm, self.association_norm = norms_made
        linears = make.projections(projections, size, H, K)
        self.query_proj, self.memory_proj, self.value_proj, self.output_proj = linears
        check_names(extra_items, "extra_items", ("bias", "zero"))
        self.bias_item = make.item(size, K) if "bias" in extra_items else None
        self.zero_item = "zero" in extra_items

    def __check_init__(self):
        as_count(self.num_heads, "num_heads")
        if self.block not in ("auto", None):
            as_count(self.block, "block")
        if (self.log_beta is None) == (self.fixed_beta is None):
            raise ValueError("there must be either `log_beta` or `fixed_beta`, and not both.")
        given = np.asarray(self.fixed_beta) if self.log_beta is None else self.log_beta
        check_scalar_or(given, "beta", self.num_heads, "(num_heads,)")
        if self.log_beta is None:
            check_at_least(given, "beta", 0.0, strict=True)
        for name, kind, example in (
            ("separation", AbstractSeparation, "as hopfax.nn.Entmax(1.5)"),
            ("positions", AbstractPositions, "as hopfax.nn.Rotary()"),
        ):
            if getattr(self, name) is not None:
                check_type(getattr(self, name), name, kind, example)
        check_sizes(self)
        check_rest(self)
        if self.positions is not None:
            self.positions.check(self.num_heads, self.qk_size)

    @property
    def beta(self) -> Float[Array, "*#H"]:
        r"""The inverse temperature $\beta$, a scalar or one for each head."""
        return jnp.asarray(self.fixed_beta) if self.log_beta is None else jnp.exp(self.log_beta)

    @property
    def learn_beta(self) -> bool:
        r"""Whether $\beta$ is trained."""
        return self.log_beta is not None

    @property
    def qk_size(self) -> int:
        """Features of a query and of a key in one head."""
        if self.memory_proj is None:
            return self.memory_size
        return self.memory_proj.weight.shape[0] // self.num_kv_heads

    @property
    def vo_size(self) -> int:
        """Features of a value in one head."""
        if self.value_proj is None:
            return self.value_size
        return self.value_proj.weight.shape[0] // self.num_kv_heads

    @of_any_rank
    def __call__(
        self,
        query: Float[Array, "*Q query_size"],
        memory: Float[Array, "S memory_size"] | Stored,
        values: Float[Array, "S value_size"] | None = None,
        *,
        mask: Bool[Array, "*H S"] | Literal["causal"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*Q output_size"]:
        r"""What the queries retrieve.

        **Arguments:**

        - `query`: states $x$, (Q, query_size), or a single one, (query_size,).
        - `memory`: the stored $y$, (S, memory_size). Of no items the queries retrieve zeros. Or
          what `hopfax.nn.store` returns; S is then its room.
        - `values`: the values $z$, (S, value_size). Default: `memory`.
        - `mask`: True where an item may be retrieved, (S,), (Q, S) or (H, Q, S), with 1 for H or Q
          where it is the same for all. Or "causal": each query retrieves the items up to its own
          place, the last query all of them. A query that may retrieve nothing gives zeros, with
          zero derivatives; an item that none may retrieve may hold anything, NaN included.
        - `key`: for `dropout` in training.

        **Returns:** (Q, output_size), or (output_size,) for a single state, of the queries' dtype.
        """
        query = arrived(query, "query")
        memory = memory if isinstance(memory, Stored) else arrived(memory, "memory")
        values = None if values is None else arrived(values, "values")
        dtype, single = query.dtype, query.ndim == 1
        self, query, memory, values = widened(self, query, memory, values)
        call = called(self, query, memory, values, mask)
        out = recalled(call, dropping(self.dropout, key))
        out = out.swapaxes(0, 1).reshape(out.shape[1], self.num_heads * out.shape[2])
        out = on_last(self.output_proj, out, self.compute_dtype)
        if (some := readers(call)) is not None:
            out = jnp.where(some[:, None], out, 0.0)
        return (out[0] if single else out).astype(dtype)
