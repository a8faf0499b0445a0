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
    parameters, made = opened(layer)

    def apply(parameters: dict[str, Array], *args: Any, method: str = "__call__", **kwargs: Any):
        return getattr(made(parameters), method)(*args, **kwargs)

    return parameters, apply


class Made:
    """Makes a layer from its parameters by dotted name. It can be pickled where the layer can."""

    def __init__(self, layer: eqx.Module):
        arrays, self._rest = eqx.partition(layer, eqx.is_inexact_array)
        self._shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays)
        self.names = [_name(path) for path, _ in jax.tree.leaves_with_path(arrays)]

    def __call__(self, parameters: dict[str, Array]) -> Any:
        leaves, structure = jax.tree.flatten(self._shapes)
        _check(parameters, {n: leaf.shape for n, leaf in zip(self.names, leaves, strict=True)})
        arrays = jax.tree.unflatten(structure, [parameters[name] for name in self.names])
        return eqx.combine(arrays, self._rest)


def opened(layer: Any) -> tuple[dict[str, Array], Made]:
    """The floating arrays of a layer by dotted name, and what makes a layer from such arrays.

    **Raises:** as `to_functional`.
    """
    if not isinstance(layer, eqx.Module):
        raise TypeError(f"`layer` must be an equinox.Module, got {type(layer).__name__}.")
    with_paths = jax.tree.leaves_with_path(eqx.filter(layer, eqx.is_inexact_array))
    parameters = {_name(path): x for path, x in with_paths}
    if len(parameters) < len(with_paths):
        names = [_name(path) for path, _ in with_paths]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"`layer` has several arrays of the name {twice}: avoid dots in keys.")
    return parameters, Made(layer)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


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
