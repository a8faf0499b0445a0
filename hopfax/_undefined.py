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
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def undefined(like: Float[Array, "..."], source: Any) -> Float[Array, "..."]:
    """NaN of the shape of `like`, with a first derivative of NaN by every array of `source`."""
    return _undefined(jnp.full_like(like, jnp.nan), source)


@eqx.filter_custom_jvp
def _undefined(nothing, source):
    return nothing


@_undefined.def_jvp
def _(primals, tangents):
    nothing, source = primals
    changes = [jnp.sum(_spoilt(change)) for change in jax.tree.leaves(tangents[1])]
    change = sum((x.astype(nothing.dtype) for x in changes), jnp.zeros((), nothing.dtype))
    # Spoilt once more, entry by entry: cotangents of two entries may add up to zero.
    return _undefined(nothing, source), _spoilt(jnp.broadcast_to(change, nothing.shape))


_primitive = Primitive("undefined")


def _spoilt(change: Array) -> Array:
    """Zero where `change` is zero, elsewhere NaN."""
    return _primitive.bind(change)


def _evaluated(change):
    return jnp.where(change == 0, change, jnp.nan)


_primitive.def_impl(_evaluated)
_primitive.def_abstract_eval(lambda change: change)
ad.deflinear(_primitive, lambda cotangent: [_spoilt(cotangent)])
batching.defvectorized(_primitive)
mlir.register_lowering(_primitive, mlir.lower_fun(_evaluated, multiple_results=False))
