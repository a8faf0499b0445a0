"""The parts of a `HopfieldRetrieval`, made and checked."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._errors import (
    as_count,
    as_float,
    as_key,
    as_number,
    as_real,
    check_at_least,
    check_bool,
    check_shape,
    shown,
)
from .._types import ArrayLike, is_concrete
from ._precision import check_names, check_weights, dtype_name, weights_dtype
from ._sizes import Sizes

#: Makes an array: of a key, a shape and a dtype, as those of `jax.nn.initializers`.
Initializer: TypeAlias = Callable[[Any, tuple[int, ...], Any], Array]

NORMS = ("query", "memory", "value", "association")
PROJECTIONS = ("query", "memory", "value", "output")


class Maker(NamedTuple):
    """What makes the parts: the dtype of parameters, an initializer or None, whether there are
    biases, and a key."""

    dtype: Any
    initializer: Initializer | None
    use_bias: bool
    key: Array

    def norms(self, names: Sequence[str], size: Sizes) -> list[eqx.nn.LayerNorm | None]:
        """The layer norms that are asked for, by their places in `NORMS`, and None for others."""
        check_names(names, "norms", NORMS)
        sizes = (size.query, size.memory, size.value, size.qk)

        def norm(name, size):
            affine = name != "association"
            options = dict(use_weight=affine, use_bias=affine, dtype=self.dtype)
            return eqx.nn.LayerNorm(size, **options) if name in names else None

        return [norm(name, size) for name, size in zip(NORMS, sizes, strict=True)]

    def projections(
        self, names: Sequence[str], size: Sizes, H: int, K: int
    ) -> list[eqx.nn.Linear | None]:
        """The projections that are asked for, by their places in `PROJECTIONS`; and None."""
        check_bool(self.use_bias, "use_bias")
        sizes = (
            (size.query, H * size.qk),
            (size.memory, K * size.qk),
            (size.value, K * size.vo),
            (H * size.vo, size.output),
        )
        keys = jr.split(self.key, 4)
        made = zip(PROJECTIONS, sizes, keys, strict=True)
        return [self._linear(n, *s, key) if n in names else None for n, s, key in made]

    def item(self, size: Sizes, K: int) -> tuple[Float[Array, "K d"], Float[Array, "K e"]]:
        """A key and a value in each head, which are learned."""
        keys = jr.split(jr.fold_in(self.key, 4))
        return self.array(keys[0], (K, size.qk)), self.array(keys[1], (K, size.vo))

    def array(self, key: Any, shape: tuple[int, ...]) -> Array:
        """Of normal numbers, unless there is an initializer."""
        if self.initializer is None:
            return jr.normal(key, shape, self.dtype)
        made = as_float(self.initializer(key, shape, self.dtype), "initializer(...)", self.dtype)
        check_shape(made, "initializer(...)", shape, "that which was asked for")
        return made

    def _linear(self, name: str, given: int, made: int, key: Any) -> eqx.nn.Linear:
        check_weights(
            self.dtype, **{f"{name}_size": max(given, made), "num_heads": min(given, made)}
        )
        linear = eqx.nn.Linear(given, made, use_bias=self.use_bias, dtype=self.dtype, key=key)
        if self.initializer is None:
            return linear
        linear = eqx.tree_at(lambda it: it.weight, linear, self.array(key, (given, made)).T)
        if linear.bias is None:
            return linear
        return eqx.tree_at(lambda it: it.bias, linear, jnp.zeros_like(linear.bias))


def maker(dtype: Any, initializer: Initializer | None, use_bias: Any, key: Any) -> Maker:
    """**Raises:** TypeError/ValueError naming the argument."""
    if initializer is not None and not callable(initializer):
        raise TypeError(
            "`initializer` must be a function of a key, a shape and a dtype, as "
            f"jax.nn.initializers.normal(0.02), got {shown(initializer)}."
        )
    return Maker(weights_dtype(dtype), initializer, use_bias, as_key(key))


def inverse_temperature(
    beta: ArrayLike | None, learn: bool, qk_size: int, dtype: Any
) -> tuple[Float[Array, "*#H"] | None, float | tuple[float, ...] | None]:
    """The logarithm of one that is learned, or the number or numbers of one that is not."""
    check_bool(learn, "learn_beta")
    beta = 1 / math.sqrt(qk_size) if beta is None else beta
    if not learn:
        return None, _number(beta)
    beta = as_float(beta, "beta", weights_dtype(dtype))
    check_at_least(beta, "beta", 0.0, strict=True)
    return jnp.log(beta), None


def _number(beta: ArrayLike) -> float | tuple[float, ...]:
    """An inverse temperature that is not learned, as a number or one for each head."""
    if not is_concrete(beta):
        raise TypeError("`beta` must be known if it is not learned; a traced one: learn_beta=True.")
    value = np.asarray(as_real(beta, "beta"), float)
    if value.ndim > 1:
        raise ValueError(f"`beta` must be a scalar or have shape (num_heads,), got {value.shape}.")
    return value.item() if value.ndim == 0 else tuple(value.tolist())


def dropped(share: Any, inference: Any) -> eqx.nn.Dropout | None:
    """What drops this share of the weights; None if none are dropped."""
    check_bool(inference, "inference")
    if not 0 <= (share := as_number(share, "dropout")) < 1:
        raise ValueError(f"`dropout` must lie in [0, 1), got {share:g}.")
    return eqx.nn.Dropout(share, inference) if share > 0 else None


def dropping(dropout: eqx.nn.Dropout | None, key: Any) -> Array | None:
    """The key by which weights are dropped; None if none are. ValueError if there is none."""
    if dropout is None or dropout.inference:
        return None
    if key is None:
        raise ValueError(
            "`key` is needed in training, by which weights are dropped. To retrieve without "
            "dropout take equinox.nn.inference_mode(layer), or inference=True."
        )
    return as_key(key)


def check_rest(layer: Any) -> None:
    """ValueError/TypeError unless the steps, what decides that a state rests, the extra items and
    the dtype of products make sense."""
    if layer.steps is not None:
        as_count(layer.steps, "steps")
    as_count(layer.max_steps, "max_steps")
    if layer.tol is not None and not 0 < layer.tol < 1:
        raise ValueError(f"`tol` must be between 0 and 1, got {layer.tol!r}.")
    if layer.compute_dtype is not None and dtype_name(layer.compute_dtype) != layer.compute_dtype:
        raise ValueError(f"`compute_dtype` must be the name of one, got {layer.compute_dtype!r}.")
    check_bool(layer.zero_item, "zero_item")
    if layer.bias_item is None:
        return
    if not isinstance(layer.bias_item, tuple) or len(layer.bias_item) != 2:
        raise ValueError(f"`bias_item` must be a key and a value, got {shown(layer.bias_item)}.")
    for name, part, size in zip(
        ("key", "value"), layer.bias_item, (layer.qk_size, layer.vo_size), strict=True
    ):
        shape = (layer.num_kv_heads, size)
        check_shape(part, f"bias_item: the {name}", shape, f"(num_kv_heads, size of a {name})")
