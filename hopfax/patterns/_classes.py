r"""Which neurons are equal: those whose columns of $\xi$ agree, perhaps up to a sign.

Equal neurons that start equal stay equal, so one of them, counted as often as it occurs, stands for
all. With few patterns every class that *can* occur is written down, also those that are empty: the
result then has a shape that does not depend on the values of $\xi$, and so works under jit. With
more patterns only the classes that do occur are kept, which needs to look at the values.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._programs import jitted
from .._types import PerNeuron, is_concrete

#: Up to this many patterns every possible class is enumerated, 2^(P-1) or 2^P of them.
ENUMERATED = 7
_COUNTED = 20  # up to here the occurring classes are counted in a table of 2^(P-1) entries


class Groups(NamedTuple):
    """Classes of equal neurons: `xi` holds a column for each, `counts` the neurons in it, `index`
    the class of every neuron, and `sign` how a neuron differs from it."""

    xi: Float[Array, "P C"]
    counts: Float[Array, " C"]
    index: Int[Array, " N"]
    sign: Float[Array, " N"]


def by_site(xi: Float[Array, "P N"], weights: PerNeuron | None, binary: bool) -> Groups:
    """Neurons grouped by columns that agree up to a sign. `weights`: how many neurons each column
    already stands for.

    **Raises:** TypeError under a trace where the values are needed.
    """
    P = xi.shape[0]
    if binary and P <= ENUMERATED:
        return _every_site(xi, weights)
    if not is_concrete(xi):
        kind = "more than 7 binary" if binary else "real-valued"
        raise TypeError(
            f"site classes of {kind} patterns depend on their values, which a trace hides; "
            "call it outside jit, or declare `binary=True` where P <= 7."
        )
    if binary and P <= _COUNTED:
        with jax.ensure_compile_time_eval():  # known values, also inside a trace
            keys = np.asarray(_bit_keys(xi))
        present = np.flatnonzero(np.bincount(keys, minlength=2 ** (P - 1)))
        place = np.zeros(2 ** (P - 1), np.int32)
        place[present] = np.arange(len(present))
        index, sign = place[keys], xi[0]
    else:
        keys, sign = _signless_columns(np.asarray(xi))
        _, present, index = np.unique(keys, return_index=True, return_inverse=True)
    empty = np.ones((P, len(present)))  # no class is empty here
    return _grouped(xi, weights, jnp.asarray(index), jnp.asarray(sign), len(present), empty)


def by_column(xi: Float[Array, "P N"], weights: PerNeuron | None) -> Groups:
    """Neurons of active and silent memories (entries 1 and 0) grouped by equal columns.

    **Raises:** TypeError under a trace where the values are needed.
    """
    P, N = xi.shape
    if P <= ENUMERATED and may_be_active(xi):
        return _every_column(xi, weights)
    if not is_concrete(xi):
        raise TypeError(
            "column classes of more than 7 patterns depend on their values, which a trace "
            "hides; call it outside jit."
        )
    keys = _sortable(np.asarray(xi).T)
    _, present, index = np.unique(keys, return_index=True, return_inverse=True)
    classes = len(present)
    ones = jnp.ones(N, xi.dtype)
    return _grouped(xi, weights, jnp.asarray(index), ones, classes, np.zeros((P, classes)))


def may_be_active(xi: Array) -> bool:
    """Whether all entries are 0 or 1; True if they are hidden by a trace."""
    if not is_concrete(xi):
        return True
    values = np.asarray(xi)
    return bool(((values == 0) | (values == 1)).all())


@jitted
def _every_site(xi, weights) -> Groups:
    """All 2^(P-1) classes of signs, with pattern 0 at +1; class k has the bits of k in the rest."""
    P = xi.shape[0]
    classes = 2 ** (P - 1)
    bits = (np.arange(classes)[None, :] >> np.arange(P - 1)[:, None]) & 1
    every = np.concatenate([np.ones((1, classes)), 2.0 * bits - 1])
    return _grouped(xi, weights, _bit_keys(xi), xi[0], classes, every)


@jitted
def _every_column(xi, weights) -> Groups:
    """All 2^P classes of entries 0 and 1, the bits of their number; NaN if `xi` has others."""
    P, N = xi.shape
    places = np.arange(P)
    every = ((np.arange(2**P)[None, :] >> places[:, None]) & 1).astype(float)
    powers = jnp.asarray(2**places, jnp.int32)[:, None]
    keys = ((xi > 0.5).astype(jnp.int32) * powers).sum(0, dtype=jnp.int32)
    legal = ((xi == 0) | (xi == 1)).all()
    xi = jnp.where(legal, xi, jnp.nan)
    return _grouped(xi, weights, keys, jnp.ones(N, xi.dtype), 2**P, every)


@jitted
def _grouped(xi, weights, index, sign, classes: int, empty) -> Groups:
    """The columns of classes are averages of their members, equal as these are: so a change of one
    neuron's column changes its class, and derivatives reach `xi`. `empty`: columns of classes
    without members."""
    dtype = xi.dtype
    sign = jax.lax.stop_gradient(sign)
    weights = jnp.ones(xi.shape[1], dtype) if weights is None else weights
    counts = jax.ops.segment_sum(weights, index, classes)
    total = jax.vmap(lambda row: jax.ops.segment_sum(weights * sign * row, index, classes))
    columns = total(xi) / jnp.maximum(counts, 1)
    columns = jnp.where(counts > 0, columns, jnp.asarray(empty, dtype))
    return Groups(columns, counts, index, sign)


def _bit_keys(xi: Float[Array, "P N"]) -> Int[Array, " N"]:
    """The number of each neuron's class: bit `mu` says whether pattern `mu + 1` agrees with
    pattern 0 there."""
    agree = (xi[1:] * xi[:1] > 0).astype(jnp.int32)
    places = jnp.asarray(2 ** np.arange(xi.shape[0] - 1), jnp.int32)
    return (agree * places[:, None]).sum(0, dtype=jnp.int32)


def _signless_columns(xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every column a key that is equal for columns equal up to a sign, and that sign."""
    lead = np.argmax(xi != 0, axis=0)
    sign = np.sign(xi[lead, np.arange(xi.shape[1])])
    sign = np.where(sign == 0, np.ones_like(sign), sign)
    return _sortable((xi * sign + 0.0).T), sign  # + 0.0 makes -0.0 and 0.0 the same bytes


def _sortable(rows: np.ndarray) -> np.ndarray:
    """One item of raw bytes for each row, which `np.unique` can sort."""
    rows = np.ascontiguousarray(rows)
    return rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel()
