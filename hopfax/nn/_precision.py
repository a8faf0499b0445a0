"""Mixed precision: what comes in leaves in its own dtype, and is computed in at least float32."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import (
    as_count,
    as_float,
    as_real,
    check_array,
    check_option,
    shown,
)
from .._programs import tidy
from .._types import default_float

Method = TypeVar("Method", bound=Callable[..., Any])


def of_any_rank(method: Method) -> Method:
    """The same function, whose own broadcasts are allowed where a user has forbidden them by
    `jax_numpy_rank_promotion="raise"`, to find those that were not meant."""

    @functools.wraps(method)
    def allowed(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_rank_promotion("allow"):
            return method(*args, **kwargs)

    return cast(Method, allowed)


def weights_dtype(dtype: Any) -> Any:
    """The dtype of the parameters of a layer, by default the default float.

    **Raises:** TypeError for anything but a floating dtype.
    """
    if dtype is None:
        return default_float()
    try:
        odd = isinstance(dtype, bytes | float | int | jax.Array | np.ndarray)
        if not odd and jnp.issubdtype(dtype, jnp.floating):
            return dtype
    except (TypeError, ValueError, RuntimeError):
        pass
    name = getattr(dtype, "__name__", None) or shown(dtype)
    raise TypeError(f"`dtype` must be a floating dtype, as jnp.float32, got {name}.")


def dtype_name(dtype: Any) -> str | None:
    """The name of a floating dtype to compute in; None for None."""
    if dtype is None:
        return None
    try:
        return jnp.dtype(weights_dtype(dtype)).name
    except TypeError as error:
        raise TypeError(str(error).replace("`dtype`", "`compute_dtype`")) from None


def check_weights(dtype: Any, **sizes: int) -> None:
    """ValueError unless an array of weights of these sizes fits into memory."""
    check_array("the weights", jnp.dtype(dtype).itemsize, **sizes)


def as_size(value: Any, name: str) -> int:
    """The size of an axis, as a Python int."""
    return as_count(value, name, most=2**31 - 1)


def check_names(names: Any, argument: str, known: tuple[str, ...]) -> None:
    """ValueError/TypeError unless `names` lists some of those that are known."""
    if not isinstance(names, list | tuple | set | frozenset):
        raise TypeError(f"`{argument}` must list some of {list(known)}, got {shown(names)}.")
    for name in names:
        check_option(name, argument, known)


def arrived(value: Any, name: str) -> jax.Array:
    """An input as a floating array, of whose dtype the output will be.

    It keeps its own dtype if that is floating. Integers, booleans and lists of numbers become the
    default float, as their outputs are no integers.
    """
    array = as_real(value, name)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return jnp.asarray(array)
    return as_float(value, name)


def check_state(state: Any, init: Callable[[], Any]) -> None:
    """ValueError unless a state has the structure and the shapes of one that `init` makes."""
    wanted = eqx.filter_eval_shape(init)
    same = jax.tree.structure(state) == jax.tree.structure(wanted)
    if not same or [jnp.shape(x) for x in jax.tree.leaves(state)] != [
        x.shape for x in jax.tree.leaves(wanted)
    ]:
        raise ValueError(
            "`state` must be one of this layer: from its `init()`, a step or another call; got "
            f"{shown(state)}{'' if not same else ', with arrays of other shapes'}."
        )


def widened(*trees: Any) -> tuple[Any, ...]:
    """The trees with all floating arrays in the widest of their dtypes, at least float32.

    A layer starts with `self, x = widened(self, x)` and ends with `.astype` of the dtype of what
    came in, so that bfloat16 inputs (or parameters) cost no accuracy inside.
    """
    tidy()  # every call of a layer passes here
    leaves = [leaf.dtype for leaf in jax.tree.leaves(trees) if eqx.is_inexact_array(leaf)]
    wide = jnp.dtype(jnp.float32)
    for dtype in leaves:
        wide = np.promote_types(wide, dtype)  # also where JAX forbids promotion

    def as_wide(leaf: Any) -> Any:
        return leaf.astype(wide) if eqx.is_inexact_array(leaf) else leaf

    return tuple(jax.tree.map(as_wide, tree) for tree in trees)


def on_last(layer, x, compute_dtype=None):
    """A layer on the last axis of `x`, if there is one; a `Linear` as `affine`."""
    if layer is None:
        return x
    if isinstance(layer, eqx.nn.Linear):
        return affine(layer.weight, layer.bias, x, compute_dtype)
    for _ in range(x.ndim - 1):
        layer = jax.vmap(layer)
    return layer(x)


def affine(weight: Any, bias: Any, x: Any, compute_dtype: Any = None) -> Any:
    """The map $x W^T + b$ of the last axis, or without b; factors of products are in
    `compute_dtype`, if that is given, and sums in the dtype of `x`."""
    dtype = x.dtype
    if compute_dtype is not None:
        x, weight = x.astype(compute_dtype), weight.astype(compute_dtype)
    x = jnp.matmul(x, weight.T, preferred_element_type=dtype)
    return x if bias is None else x + bias
