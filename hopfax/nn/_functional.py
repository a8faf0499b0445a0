"""Layers as a flat dictionary of arrays and a pure function."""

import difflib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from .._errors import check_shape


def to_functional(layer: eqx.Module) -> tuple[dict[str, Array], Callable[..., Any]]:
    """A layer as a dictionary of arrays and a pure function, for code without Equinox.

    The dictionary can be stored as it is, by safetensors or orbax, and the function goes through
    `jax.jit`, `jax.vmap` (`in_axes=(None, 0)`) and `jax.export`.

    **Arguments:** `layer`: any `equinox.Module`.

    **Returns:** the floating arrays by dotted name ("query.weight"), and
    `apply(parameters, *args, method="__call__", **kwargs)`. Whatever is no floating array
    (options, integers) stays inside `apply`.

    **Raises:** TypeError if `layer` is no Module, ValueError if two arrays have the same name (a
    dictionary with dots in its keys); `apply` raises ValueError for missing, unknown or
    misshapen parameters (their dtype is free).

    **Example:**

    ```python
    layer = hx.nn.HopfieldLookup(5, 2, 4, key=jax.random.key(0))
    parameters, apply = hx.nn.to_functional(layer)
    list(parameters)[-1]  # 'memory'
    x = jnp.ones(4)
    y = apply(parameters, x)  # = layer(x)
    gradient = jax.grad(lambda parameters: apply(parameters, x).sum())(parameters)
    gradient["memory"].shape  # (5, 4)
    ```
    """
    if not isinstance(layer, eqx.Module):
        raise TypeError(f"`layer` must be an equinox.Module, got {type(layer).__name__}.")
    arrays, rest = eqx.partition(layer, eqx.is_inexact_array)
    with_paths, structure = jax.tree.flatten_with_path(arrays)
    parameters = {jax.tree_util.keystr(p, simple=True, separator="."): x for p, x in with_paths}
    if len(parameters) < len(with_paths):
        names = [jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in with_paths]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"`layer` has several arrays of the name {twice}: avoid dots in keys.")
    shapes = {name: array.shape for name, array in parameters.items()}

    def apply(parameters: dict[str, Array], *args: Any, method: str = "__call__", **kwargs: Any):
        _check(parameters, shapes)
        arrays = jax.tree.unflatten(structure, [parameters[name] for name in shapes])
        return getattr(eqx.combine(arrays, rest), method)(*args, **kwargs)

    return parameters, apply


def _check(parameters: dict[str, Array], shapes: dict[str, tuple]) -> None:
    """ValueError for parameters that are missing, not known, or of another shape."""
    if missing := sorted(shapes.keys() - parameters.keys()):
        unknown = sorted(parameters.keys() - shapes.keys())
        near = difflib.get_close_matches(missing[0], unknown, 1)
        hint = f" Is it `{near[0]}`?" if near else ""
        raise ValueError(f"`parameters` must have {missing}, but has not.{hint}")
    if unknown := sorted(parameters.keys() - shapes.keys()):
        raise ValueError(f"`parameters` has {unknown}, which this layer does not know.")
    for name, shape in shapes.items():
        check_shape(parameters[name], f"parameters[{name!r}]", shape, "that of the layer")
