"""What a run does not have, such as the time of a switch that it does not make: NaN, and so is its
derivative.

A NaN that is written as a constant has the derivative 0. The mean of some times of which one is
missing is then NaN with a finite gradient, that of the times which are there, and an optimiser
follows it. Here the NaN depends on all that the run depends on, by a linear map:

    zero -> zero, anything else -> NaN

The map is its own transpose, so that this holds in both modes. The derivative depends on all that
the run depends on, as the value does, and so derivatives of second and higher order are NaN, too.
Whoever leaves the missing value out (`jnp.where`, `jnp.nanmean`) sends it the cotangent zero, and
gets the derivatives of the rest.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def undefined(like: Float[Array, "..."], source: Any) -> Float[Array, "..."]:
    """NaN of the shape of `like`, with a derivative of NaN by every array of `source`."""
    leaves = [leaf for leaf in jax.tree.leaves(source) if eqx.is_inexact_array(leaf)]
    return _missing.bind(*leaves, shape=like.shape, dtype=like.dtype, lanes=0)


# NaN for each of the leading `lanes` axes of a batch, which all leaves have. (A `custom_jvp` will
# not do: its value has no axis of a batch, where its tangent has.)
_missing = Primitive("missing")


def _nothing(*leaves, shape, dtype, lanes):
    return jnp.full(shape, jnp.nan, dtype)


def _changed(leaves, tangents, *, shape, dtype, lanes):
    """NaN too, in every lane in which something that is differentiated by changes."""
    out = _missing.bind(*leaves, shape=shape, dtype=dtype, lanes=lanes)
    total = jnp.zeros(shape[:lanes], dtype)
    for tangent in tangents:
        if type(tangent) is not ad.Zero:
            spoilt = _spoilt(tangent).reshape(*tangent.shape[:lanes], -1)
            total = total + spoilt.sum(-1).astype(dtype)
    total = total.reshape(*total.shape, *(1 for _ in shape[lanes:]))
    # Spoilt once more, entry by entry: cotangents of two entries may add up to zero.
    return out, _both.bind(jnp.broadcast_to(total, shape), out)


def _in_batch(leaves, axes, *, shape, dtype, lanes):
    moved = _moved(leaves, axes)
    shape = (moved[0].shape[0], *shape)
    return _missing.bind(*moved, shape=shape, dtype=dtype, lanes=lanes + 1), 0


def _moved(leaves, axes):
    """All with the axis of the batch in front."""
    size = next(x.shape[axis] for x, axis in zip(leaves, axes, strict=True) if axis is not None)
    return [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(leaves, axes, strict=True)
    ]


_missing.def_impl(_nothing)
_missing.def_abstract_eval(lambda *leaves, shape, dtype, lanes: ShapedArray(shape, dtype))
ad.primitive_jvps[_missing] = _changed
batching.primitive_batchers[_missing] = _in_batch
mlir.register_lowering(_missing, mlir.lower_fun(_nothing, multiple_results=False))


_linear = Primitive("spoilt")


def _spoilt(change: Array) -> Array:
    """Zero where `change` is zero, elsewhere NaN."""
    return _linear.bind(change)


def _evaluated(change):
    return jnp.where(change == 0, change, jnp.nan)


_linear.def_impl(_evaluated)
_linear.def_abstract_eval(lambda change: change)
ad.deflinear(_linear, lambda cotangent: [_spoilt(cotangent)])
batching.defvectorized(_linear)
mlir.register_lowering(_linear, mlir.lower_fun(_evaluated, multiple_results=False))


# Of two arrays of one shape: NaN where neither is zero, else zero. Linear in each of them.
_both = Primitive("spoilt by another")


def _neither(change, other):
    return jnp.where((change == 0) | (other == 0), 0.0, jnp.nan).astype(change.dtype)


def _of_both(values, tangents):
    """By the rule for a product."""
    out = _both.bind(*values)
    pairs = zip(tangents, values[::-1], strict=True)
    parts = [_both.bind(moved, other) for moved, other in pairs if type(moved) is not ad.Zero]
    return out, functools.reduce(jnp.add, parts)


def _back(cotangent, change, other):
    """To the one in which it is linear."""
    if type(cotangent) is ad.Zero:
        return None, None
    if ad.is_undefined_primal(change):
        return _both.bind(cotangent, other), None
    return None, _both.bind(cotangent, change)


def _each_in_batch(values, axes):
    return _both.bind(*_moved(values, axes)), 0


_both.def_impl(_neither)
_both.def_abstract_eval(lambda change, other: change)
ad.primitive_jvps[_both] = _of_both
ad.primitive_transposes[_both] = _back
batching.primitive_batchers[_both] = _each_in_batch
mlir.register_lowering(_both, mlir.lower_fun(_neither, multiple_results=False))
