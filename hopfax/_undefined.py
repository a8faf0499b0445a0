"""What a run does not have, such as the time of a switch that it does not make: NaN, and so is its
derivative.

A NaN that is written as a constant has the derivative 0. The mean of some times of which one is
missing is then NaN with a finite gradient, that of the times which are there, and an optimiser
follows it. Here the NaN depends on all that the run depends on, by a linear map:

    zero -> zero, anything else -> NaN

The map is its own transpose, so that this holds in both modes. Whoever leaves the missing value out
(`jnp.where`, `jnp.nanmean`) sends it the cotangent zero, and gets the derivatives of the rest.
"""

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
    return out, _spoilt(jnp.broadcast_to(total, shape))


def _in_batch(leaves, axes, *, shape, dtype, lanes):
    size = next(x.shape[axis] for x, axis in zip(leaves, axes, strict=True) if axis is not None)
    moved = [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(leaves, axes, strict=True)
    ]
    return _missing.bind(*moved, shape=(size, *shape), dtype=dtype, lanes=lanes + 1), 0


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
