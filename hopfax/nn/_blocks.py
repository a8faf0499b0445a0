"""Encoder and decoder blocks of a transformer, whose attention is a softmax memory."""

from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._errors import as_key, check_bool, check_option, check_shape
from ._parts import dropped
from ._precision import (
    arrived,
    as_size,
    check_weights,
    of_any_rank,
    on_last,
    weights_dtype,
    widened,
)
from ._retrieval import HopfieldRetrieval

Activation: TypeAlias = Literal["relu", "gelu"]
Mask: TypeAlias = Bool[Array, "*H S"] | Literal["causal"]

_ACTIVATIONS = {"relu": jax.nn.relu, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}
_OURS = ("query_size", "memory_size", "value_size", "output_size")


class HopfieldEncoder(eqx.Module):
    r"""An encoder block of a transformer whose attention is a `HopfieldRetrieval`: tokens are
    associated with each other, then each passes through two linear maps.

    $$x \leftarrow \mathrm{norm}\big(x + \mathrm{retrieved}(x, x)\big), \qquad
    x \leftarrow \mathrm{norm}\big(x + W_2\, a(W_1 x)\big).$$

    With equal weights the results are those of the `HopfieldEncoderLayer` of hopfield-layers
    (Ramsauer et al. 2021, arXiv:2008.02217), which `from_torch` reads; with `norms=()` and one step
    those of PyTorch's `TransformerEncoderLayer` (Vaswani et al. 2017, arXiv:1706.03762).

    **Arguments:**

    - `num_heads`: heads of the retrieval.
    - `size`: features of a token.
    - `width`: features between the two linear maps. Default: four times `size`.
    - `activation`: $a$, "relu" or "gelu".
    - `norm_first`: whether tokens are normed before each half of the block instead of after it
      (Xiong et al. 2020, arXiv:2002.04745), so that nothing stands in the way of gradients through
      many blocks. The retrieval has layer norms of its own besides, unless `norms=()`.
    - `dropout`: the share of features, of what is added to the tokens and between the two linear
      maps, that are dropped in training. A call then needs a `key`, unless `inference` is True.
    - `weight_dropout`: `dropout` of the retrieval.
    - `inference`: whether nothing is dropped at first; `equinox.nn.inference_mode` switches it.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.
    - `options`: of the `HopfieldRetrieval`, as `steps` or `beta`; its `compute_dtype` is that of
      the two linear maps, too.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    block = hx.nn.HopfieldEncoder(2, 4, steps=2, key=jax.random.key(0))
    tokens = jax.random.normal(jax.random.key(1), (6, 4))
    block(tokens).shape  # (6, 4)
    block(tokens, mask="causal").shape  # each token sees those up to itself
    ```
    """

    association: HopfieldRetrieval
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    association_norm: eqx.nn.LayerNorm
    output_norm: eqx.nn.LayerNorm
    dropout: eqx.nn.Dropout | None
    size: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    norm_first: bool = eqx.field(static=True)

    def __init__(
        self,
        num_heads: int,
        size: int,
        *,
        width: int | None = None,
        activation: Activation = "relu",
        norm_first: bool = False,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype, keys = weights_dtype(dtype), jr.split(as_key(key), 2)
        self.size, self.norm_first = as_size(size, "size"), norm_first
        self.activation = activation
        self.dropout = dropped(dropout, inference)
        options |= dict(dropout=weight_dropout, inference=inference, dtype=dtype)
        self.association = _association(num_heads, self.size, {}, options, keys[0])
        self.inner, self.outer = _two_maps(self.size, width, dtype, keys[1])
        self.association_norm = eqx.nn.LayerNorm(self.size, dtype=dtype)
        self.output_norm = eqx.nn.LayerNorm(self.size, dtype=dtype)

    def __check_init__(self):
        _check(self, [self.association])

    @of_any_rank
    def __call__(
        self,
        x: Float[Array, "S size"],
        *,
        mask: Mask | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "S size"]:
        """The tokens after the block, (S, size), of the dtype of `x`.

        **Arguments:** `x`: the tokens, (S, size). `mask`: which of them each may be associated
        with, as of `HopfieldRetrieval`. `key`: for dropout in training.
        """
        x = _tokens(x, "x", self.size)
        (self, wide), dtype = widened(self, x), x.dtype
        keys = _keys(self.dropout, key, 4)

        def associated(x):
            found = self.association(x, x, mask=mask, key=keys[0])
            return _dropped(self.dropout, found, keys[1])

        wide = _added(wide, associated, self.association_norm, self.norm_first)
        return _fed(self, wide, keys[-2:]).astype(dtype)


class HopfieldDecoder(eqx.Module):
    r"""A decoder block of a transformer whose attention is a `HopfieldRetrieval`: tokens are
    associated with each other, then with a memory, then each passes through two linear maps.

    $$x \leftarrow \mathrm{norm}\big(x + \mathrm{retrieved}(x, x)\big), \qquad
    x \leftarrow \mathrm{norm}\big(x + \mathrm{retrieved}'(x, y)\big), \qquad
    x \leftarrow \mathrm{norm}\big(x + W_2\, a(W_1 x)\big).$$

    With equal weights the results are those of the `HopfieldDecoderLayer` of hopfield-layers
    (Ramsauer et al. 2021, arXiv:2008.02217), which `from_torch` reads; with `norms=()` and one step
    those of PyTorch's `TransformerDecoderLayer`.

    **Arguments:** those of `HopfieldEncoder`, and

    - `memory_size`: features of an item of the memory $y$. Default: `size`.

    `weight_dropout` and `options` are of both retrievals.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    block = hx.nn.HopfieldDecoder(2, 4, memory_size=3, key=jax.random.key(0))
    tokens = jax.random.normal(jax.random.key(1), (6, 4))
    memory = jax.random.normal(jax.random.key(2), (9, 3))
    block(tokens, memory, mask="causal").shape  # (6, 4)
    ```
    """

    association: HopfieldRetrieval
    memory_association: HopfieldRetrieval
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    association_norm: eqx.nn.LayerNorm
    memory_norm: eqx.nn.LayerNorm
    output_norm: eqx.nn.LayerNorm
    dropout: eqx.nn.Dropout | None
    size: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    norm_first: bool = eqx.field(static=True)

    def __init__(
        self,
        num_heads: int,
        size: int,
        *,
        memory_size: int | None = None,
        width: int | None = None,
        activation: Activation = "relu",
        norm_first: bool = False,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        dtype, keys = weights_dtype(dtype), jr.split(as_key(key), 3)
        self.size, self.norm_first = as_size(size, "size"), norm_first
        self.activation = activation
        self.dropout = dropped(dropout, inference)
        options |= dict(dropout=weight_dropout, inference=inference, dtype=dtype)
        self.association = _association(num_heads, self.size, {}, options, keys[0])
        stored = dict(memory_size=memory_size)
        self.memory_association = _association(num_heads, self.size, stored, options, keys[1])
        self.inner, self.outer = _two_maps(self.size, width, dtype, keys[2])
        self.association_norm = eqx.nn.LayerNorm(self.size, dtype=dtype)
        self.memory_norm = eqx.nn.LayerNorm(self.size, dtype=dtype)
        self.output_norm = eqx.nn.LayerNorm(self.size, dtype=dtype)

    def __check_init__(self):
        _check(self, [self.association, self.memory_association])

    @of_any_rank
    def __call__(
        self,
        x: Float[Array, "T size"],
        memory: Float[Array, "S memory_size"],
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "T size"]:
        """The tokens after the block, (T, size), of the dtype of `x`.

        **Arguments:**

        - `x`: the tokens, (T, size).
        - `memory`: what they are associated with in the second place, (S, memory_size), as the
          output of an encoder.
        - `mask`: which tokens each may be associated with, as of `HopfieldRetrieval`; "causal":
          those up to its own place. `memory_mask`: the same for the items of the memory.
        - `key`: for dropout in training.
        """
        x, memory = _tokens(x, "x", self.size), arrived(memory, "memory")
        (self, wide, memory), dtype = widened(self, x, memory), x.dtype
        keys = _keys(self.dropout, key, 6)

        def associated(x):
            found = self.association(x, x, mask=mask, key=keys[0])
            return _dropped(self.dropout, found, keys[1])

        def retrieved(x):
            found = self.memory_association(x, memory, mask=memory_mask, key=keys[2])
            return _dropped(self.dropout, found, keys[3])

        wide = _added(wide, associated, self.association_norm, self.norm_first)
        wide = _added(wide, retrieved, self.memory_norm, self.norm_first)
        return _fed(self, wide, keys[-2:]).astype(dtype)


def _added(x: Array, change: Any, norm: eqx.nn.LayerNorm, norm_first: bool) -> Array:
    """The tokens and what a half of the block adds to them, normed before it or after."""
    if norm_first:
        return x + change(on_last(norm, x))
    return on_last(norm, x + change(x))


def _fed(block: Any, x: Array, keys: Any) -> Array:
    """The last part of a block: two linear maps of each token."""

    def fed(x):
        narrow = block.association.compute_dtype
        hidden = _ACTIVATIONS[block.activation](on_last(block.inner, x, narrow))
        made = on_last(block.outer, _dropped(block.dropout, hidden, keys[0]), narrow)
        return _dropped(block.dropout, made, keys[1])

    return _added(x, fed, block.output_norm, block.norm_first)


def _dropped(dropout: eqx.nn.Dropout | None, x: Array, key: Any) -> Array:
    """Features of which some are dropped in training."""
    return x if dropout is None else dropout(x, key=key)


def _keys(dropout: eqx.nn.Dropout | None, key: Any, number: int) -> Any:
    """A key for everything that drops; ValueError if one is needed and there is none."""
    if key is not None:
        return jr.split(as_key(key), number)
    if dropout is not None and not dropout.inference:
        raise ValueError(
            "`key` is needed in training, by which features are dropped. To call the block without "
            "dropout take equinox.nn.inference_mode(block), or inference=True."
        )
    return [None] * number


def _check(block: Any, retrievals: list[HopfieldRetrieval]) -> None:
    """ValueError or TypeError unless the parts of a block fit each other."""
    as_size(block.size, "size")
    check_bool(block.norm_first, "norm_first")
    check_option(block.activation, "activation", tuple(_ACTIVATIONS))
    for made in retrievals:
        if made.query_size != block.size:
            raise ValueError(f"a retrieval takes {made.query_size} features, not {block.size}.")
    width = block.inner.weight.shape[0]
    check_shape(block.inner.weight, "inner.weight", (width, block.size), "(width, size)")
    check_shape(block.outer.weight, "outer.weight", (block.size, width), "(size, width)")
    for name in ("association_norm", "memory_norm", "output_norm"):
        norm = getattr(block, name, None)
        if norm is not None and norm.shape != (block.size,):
            raise ValueError(f"`{name}` must have shape {(block.size,)}, got {norm.shape}.")


def _association(
    num_heads: int, size: int, stored: dict, options: dict[str, Any], key: PRNGKeyArray
) -> HopfieldRetrieval:
    """A retrieval that returns as many features as a token has."""
    if given := [name for name in _OURS if name in options]:
        raise TypeError(f"`{given[0]}` is no option of a block: its tokens have `size` features.")
    made = HopfieldRetrieval(num_heads, size, **stored, output_size=size, **options, key=key)
    if "output" not in options.get("projections", ("output",)):
        alone = eqx.nn.inference_mode(made)
        memory = jax.ShapeDtypeStruct((1, made.memory_size), options["dtype"])
        found = eqx.filter_eval_shape(alone, jax.ShapeDtypeStruct((1, size), memory.dtype), memory)
        if found.shape[1] != size:
            raise ValueError(
                f"`projections` leave out 'output', so that the heads must have `size` = {size} "
                f"features together, but they have {found.shape[1]}; give `vo_size`."
            )
    return made


def _two_maps(
    size: int, width: int | None, dtype: Any, key: PRNGKeyArray
) -> tuple[eqx.nn.Linear, eqx.nn.Linear]:
    """To the features between the two maps, and back."""
    width = 4 * size if width is None else as_size(width, "width")
    check_weights(dtype, width=width, size=size)
    keys = jr.split(key)
    inner = eqx.nn.Linear(size, width, dtype=dtype, key=keys[0])
    return inner, eqx.nn.Linear(width, size, dtype=dtype, key=keys[1])


def _tokens(x: Any, name: str, size: int) -> Array:
    """Tokens as a floating array; ValueError unless they are (S, size)."""
    x = arrived(x, name)
    number = x.shape[0] if x.ndim == 2 else "S"
    check_shape(x, name, (number, size), "(S, size)", "A batch is vmapped, by jax.vmap.")
    return x
