r"""What a retrieval does inside: its weights, the energy of its states, and what it retrieves."""

from typing import Any, NamedTuple, TypeAlias, overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._constant import held
from .._errors import check_type
from .._types import ArrayLike
from ._attend import associations, sums
from ._dense_layer import DenseMemoryLayer
from ._inspect_dense import DenseInspection, inspect_dense
from ._kinds import kinds_of
from ._precision import arrived, widened
from ._recall import called, rested, scored
from ._retrieval import HopfieldRetrieval
from ._separations import TopK
from ._stored import Stored
from ._tables import HopfieldLookup, HopfieldPooling


class Inspection(NamedTuple):
    r"""What `inspect` has seen, for each head h, state q and item s.

    - `weights`: (H, Q, S) the association matrix of the last step, by which values are read; extra
      items come last.
    - `energy`: (steps, H, Q) of the states, before each step (of a layer that iterates until they
      rest, (2, H, Q), at first and at rest):
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
        inputs = (*inputs[:1], held(layer.memory))
    if isinstance(layer, HopfieldPooling):
        inputs = (held(layer.queries), *inputs[:1])
    made = layer if isinstance(layer, HopfieldRetrieval) else layer.retrieval
    if len(inputs) < 2:
        raise TypeError("`inspect` needs the inputs of a call: the states, and what is stored.")
    query, memory = arrived(inputs[0], "query"), inputs[1]
    values = None
    if not isinstance(memory, Stored):
        memory = arrived(memory, "memory")
        if memory.shape[:1] == (0,):
            raise ValueError("`memory` has no items to look at.")
        values = jnp.zeros((*memory.shape[:1], made.value_size), memory.dtype)
    made, query, memory, values = widened(made, query, memory, values)
    call = called(made, query, memory, values, mask).read()
    state, energies, weights, scores = call.states, [], None, None
    steps = 1 if made.steps is None else made.steps
    if made.steps is None:  # as it comes, and at rest
        scores, _ = scored(call, state, keys_only=True)
        energies.append(energy_of(made, state, call.beta, scores))
        state = rested(call, None)
    for _ in range(steps):
        scores, keys = scored(call, state, keys_only=True)
        weights = associations(scores, made.separation)
        energies.append(energy_of(made, state, call.beta, scores))
        state = sums(weights, keys)
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
    energy = jnp.square(state).sum(-1) / 2 - most / beta[..., 0]
    return jnp.where(some, energy, jnp.nan)


def _seen(weights: Any, energy: Array, scores: Any) -> Inspection:
    retrieved, items, effective = kinds_of(weights, jnp.isfinite(scores).sum(-1))
    best = jnp.sort(scores, axis=-1)[..., -2:]
    ahead = best[..., -1] - best[..., 0]
    if scores.shape[-1] == 1:  # there is no second
        ahead = jnp.full_like(ahead, jnp.inf)
    ahead = jnp.where(items == 0, jnp.nan, ahead)
    return Inspection(weights, energy, retrieved, items, effective, ahead)
