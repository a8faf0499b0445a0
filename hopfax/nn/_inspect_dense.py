r"""What a `DenseMemoryLayer` does inside: energies, overlaps, and what its state has retrieved."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._interactions import Power
from .._types import is_concrete
from ._dense_layer import DenseMemoryLayer, in_units
from ._kinds import kinds_of
from ._precision import of_any_rank, widened


class DenseInspection(NamedTuple):
    r"""What `inspect` has seen in a `DenseMemoryLayer`, at the state after its updates.

    - `state`: (size,) that state. `overlaps`: (M,) its $m = \Xi x / N$.
    - `energy`: (steps + 1,) before each update and after the last. It never rises where the
      interaction is convex. With `steps=None` as many as it took to come to rest; under a trace
      `max_steps`, of which the last are equal.
    - `weights`: (M,) the share of each memory in the force, $|f_\mu| / \sum_\nu |f_\nu|$: the
      softmax weights of `Softmax`.
    - `retrieved`: a code into `hopfax.nn.RETRIEVED`, by the number of the largest weights that make
      up 0.9: one memory, several (a metastable state), more than half (a mean of many); or nothing,
      where the state meets no memory. `items`: that number.
    - `effective`: the effective number of memories, the exponential of the entropy of the weights.
    - `nearest`: the memory of the largest weight.
    - `ahead`: by how much its overlap is ahead of the second largest, in absolute value for
      `Power`, whose forces do not tell a memory from its negative.
    - `converged`: whether the state is at rest, within the `tol` of the layer.

    **Example:**

    ```python
    layer = hx.nn.DenseMemoryLayer(4, 16, interaction=hx.Softmax(1.0), key=jax.random.key(0))
    seen = hx.nn.inspect(layer, layer.memories[2])
    hx.nn.RETRIEVED[seen.retrieved], seen.nearest  # 'one item', 2
    ```
    """

    state: Float[Array, " size"]
    overlaps: Float[Array, " M"]
    energy: Float[Array, " steps"]
    weights: Float[Array, " M"]
    retrieved: Int[Array, ""]
    items: Int[Array, ""]
    effective: Float[Array, ""]
    nearest: Int[Array, ""]
    ahead: Float[Array, ""]
    converged: Bool[Array, ""]


@of_any_rank
def inspect_dense(layer: DenseMemoryLayer, x: Any, known: Any = None) -> DenseInspection:
    """See `inspect`."""
    x, known = layer._checked(x, known)
    steps = layer.steps
    if steps is None:
        settled = layer.settle(x, known)
        steps = int(settled.steps) if is_concrete(settled.steps) else layer.max_steps
    layer, x = widened(layer, x)

    def step(state, _):
        return layer._updated(state, x, known), layer.energy(state)

    state, energies = lax.scan(step, x, None, length=steps)
    energy = jnp.append(energies, layer.energy(state))
    overlaps, weights, ahead = shares_of(layer, state)
    retrieved, items, effective = kinds_of(weights, weights.size)
    left = jnp.abs(layer._updated(state, x, known) - state)
    converged = (left <= tolerance(layer.tol, state.dtype) * (1 + jnp.abs(state))).all()
    return DenseInspection(
        state,
        overlaps,
        energy,
        weights,
        retrieved,
        items,
        effective,
        weights.argmax(),
        ahead,
        converged,
    )


def tolerance(tol: float | None, dtype: Any) -> float:
    """Of a state at rest: the machine's epsilon to the power of 3/4 unless it is given."""
    return float(jnp.finfo(dtype).eps) ** 0.75 if tol is None else tol


def shares_of(layer: DenseMemoryLayer, state: Array) -> tuple[Array, Array, Array]:
    """Overlaps of a state, the shares of memories in the force, and by how much the first is
    ahead."""
    N = state.size
    overlaps = layer.memories @ state / N
    units = in_units(layer.interaction, overlaps)  # in which a share does not change
    forces = jnp.abs(jax.grad(layer.interaction.lagrangian)(units, N))
    total = forces.sum()
    weights = forces / jnp.where(total > 0, total, 1.0)
    first = weights.argmax()
    size = jnp.abs(overlaps) if isinstance(layer.interaction, Power) else overlaps
    others = jnp.where(jnp.arange(size.size) == first, -jnp.inf, size)
    return overlaps, weights, size[first] - others.max()
