r"""What a retrieval does inside: its weights, the energy of its states, and what it retrieves."""

from typing import Any, NamedTuple, TypeAlias, overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._errors import check_shape, check_type
from .._types import ArrayLike
from ._attend import associations, counted, scores_of
from ._dense_layer import DenseMemoryLayer
from ._heads import beta_of, checked, keys_of, states_of
from ._inspect_dense import DenseInspection, inspect_dense
from ._kinds import kinds_of
from ._precision import arrived, of_any_rank, widened
from ._retrieval import HopfieldLookup, HopfieldPooling, HopfieldRetrieval
from ._separations import TopK


class Inspection(NamedTuple):
    r"""What `inspect` has seen, for each head h, state q and item s.

    - `weights`: (H, Q, S) the association matrix of the last step, by which values are read.
    - `energy`: (steps, H, Q) of the states, before each step:
      $E = \tfrac12 |q|^2 - \Omega^*(z)/\beta$ with $z_s = \beta\, q \cdot k_s$. It never rises from
      one update to the next. NaN for `TopK`, which has none.
    - `retrieved`: (H, Q) a code into `hopfax.nn.RETRIEVED`: by the number of the largest weights
      that make up 0.9, one item, several (a metastable state), or more than half of those that may
      be retrieved (a mean of many); or nothing, where a mask leaves none.
    - `items`: (H, Q) that number. `effective`: (H, Q) the effective number of items, the
      exponential of the entropy of the weights.
    - `ahead`: (H, Q) by how much the largest score is ahead of the second. Where the separation has
      a `margin` and it is ahead by more, one item is retrieved exactly.

    **Example:**

    ```python
    plain = dict(norms=(), projections=())  # states and items are compared as they are
    layer = hx.nn.HopfieldRetrieval(1, 2, beta=20.0, **plain, key=jax.random.key(0))
    seen = hx.nn.inspect(layer, jnp.array([1.0, 0.2]), jnp.eye(2))
    hx.nn.RETRIEVED[seen.retrieved[0, 0]]  # 'one item'
    ```
    """

    weights: Float[Array, "H Q S"]
    energy: Float[Array, "steps H Q"]
    retrieved: Int[Array, "H Q"]
    items: Int[Array, "H Q"]
    effective: Float[Array, "H Q"]
    ahead: Float[Array, "H Q"]


Retrieval: TypeAlias = HopfieldRetrieval | HopfieldLookup | HopfieldPooling


@overload
def inspect(layer: DenseMemoryLayer, *inputs: ArrayLike) -> DenseInspection: ...
@overload
def inspect(layer: Retrieval, *inputs: ArrayLike, mask: ArrayLike | None = ...) -> Inspection: ...
def inspect(
    layer: Retrieval | DenseMemoryLayer,
    *inputs: ArrayLike,
    mask: ArrayLike | None = None,
) -> Inspection | DenseInspection:
    r"""Look inside a retrieval: which items it reads, and whether it is at rest in one of them.

    Kinds of fixed points and the bound of 0.9: Ramsauer et al. 2021, arXiv:2008.02217, section 3.

    **Arguments:** `layer`: a `HopfieldRetrieval`, `HopfieldLookup`, `HopfieldPooling` or
    `DenseMemoryLayer`. `inputs`, `mask`: as of a call of it, but for values, which make no
    difference.

    **Returns:** an `Inspection`; of a `DenseMemoryLayer` a `DenseInspection`.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, steps=3, key=jax.random.key(0))
    query, memory = jax.random.normal(jax.random.key(1), (2, 3, 4))
    seen = hx.nn.inspect(layer, query, memory)
    seen.weights.shape, seen.energy.shape  # (2, 3, 3), (3, 2, 3)
    ```
    """
    kinds = (HopfieldRetrieval, HopfieldLookup, HopfieldPooling, DenseMemoryLayer)
    what = "a HopfieldRetrieval, HopfieldLookup, HopfieldPooling or DenseMemoryLayer"
    check_type(layer, "layer", kinds, what)
    if isinstance(layer, DenseMemoryLayer):
        if mask is not None or not 1 <= len(inputs) <= 2:
            raise TypeError("`inspect` of a DenseMemoryLayer takes a state, and what is `known`.")
        return inspect_dense(layer, *inputs)
    if isinstance(layer, HopfieldLookup):
        inputs = (*inputs[:1], layer.memory)
    if isinstance(layer, HopfieldPooling):
        inputs = (layer.queries, *inputs[:1])
    made = layer if isinstance(layer, HopfieldRetrieval) else layer.retrieval
    if len(inputs) < 2:
        raise TypeError("`inspect` needs the inputs of a call: the states, and what is stored.")
    query, memory = arrived(inputs[0], "query"), arrived(inputs[1], "memory")
    if memory.shape[:1] == (0,):
        raise ValueError("`memory` has no items to look at.")
    values = jnp.zeros((*memory.shape[:1], made.value_size), memory.dtype)
    query, full = checked(made, query, memory, values, mask)
    made, query, memory = widened(made, query, memory)
    keys = keys_of(made, counted(memory, full))
    state, beta = states_of(made, query), beta_of(made, query.dtype)
    energies, weights, scores = [], None, None
    for _ in range(made.steps):
        scores = scores_of(beta * state, keys, full)
        weights = associations(scores, made.separation)
        energies.append(energy_of(made, state, beta, scores))
        state = jnp.einsum("hqs,shd->qhd", weights, keys)
    return _seen(weights, jnp.stack(energies), scores)


def energy_of(layer: HopfieldRetrieval, state: Array, beta: Array, scores: Array) -> Array:
    """Of each head and state, (H, Q)."""
    some = jnp.isfinite(scores).any(-1)
    finite = jnp.where(some[..., None], scores, 0.0)
    if layer.separation is None:
        most = jax.nn.logsumexp(finite, axis=-1)
    elif isinstance(layer.separation, TopK):
        most = jnp.full(some.shape, jnp.nan, scores.dtype)
    else:
        most = layer.separation.conjugate(finite)
    energy = jnp.square(state).sum(-1).T / 2 - most / beta
    return jnp.where(some, energy, jnp.nan)


def _seen(weights: Any, energy: Array, scores: Any) -> Inspection:
    retrieved, items, effective = kinds_of(weights, jnp.isfinite(scores).sum(-1))
    best = jnp.sort(scores, axis=-1)[..., -2:]
    ahead = best[..., -1] - best[..., 0]
    if scores.shape[-1] == 1:  # there is no second
        ahead = jnp.full_like(ahead, jnp.inf)
    ahead = jnp.where(items == 0, jnp.nan, ahead)
    return Inspection(weights, energy, retrieved, items, effective, ahead)


@of_any_rank
def stored_keys(
    layer: HopfieldRetrieval | HopfieldLookup, memory: ArrayLike | None = None
) -> Float[Array, "H S _"]:
    r"""The keys of stored items in each head, with which states are compared: normed and projected.

    **Arguments:** `layer`: a `HopfieldRetrieval` or `HopfieldLookup`. `memory`: the items, (S,
    memory_size), of a `HopfieldRetrieval`; those of a `HopfieldLookup` are its own.

    **Returns:** (H, S, qk_size), in at least float32.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    table = hx.nn.HopfieldLookup(8, 2, 4, key=jax.random.key(0))
    hx.nn.stored_keys(table).shape  # (2, 8, 2)
    ```
    """
    kinds, what = (HopfieldRetrieval, HopfieldLookup), "a HopfieldRetrieval or HopfieldLookup"
    check_type(layer, "layer", kinds, what)
    made, items = stored_in(layer, memory)
    made, items = widened(made, items)
    return jnp.moveaxis(keys_of(made, items), 1, 0)


def stored_in(layer: Any, memory: Any) -> tuple[HopfieldRetrieval, Array]:
    """The retrieval, and the items that it reads; ValueError or TypeError for those that do not
    fit."""
    if isinstance(layer, HopfieldLookup):
        if memory is not None:
            raise TypeError("`memory` of a HopfieldLookup is its own, so it takes none.")
        return layer.retrieval, layer.memory
    if memory is None:
        raise TypeError("`memory` is needed: a HopfieldRetrieval does not store anything itself.")
    memory = arrived(memory, "memory")
    S = memory.shape[0] if memory.ndim == 2 else "S"
    check_shape(memory, "memory", (S, layer.memory_size), "(S, memory_size)")
    return layer, memory
