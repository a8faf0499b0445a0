"""A dense associative memory with learned memories, as a layer."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .._distances import Epanechnikov
from .._errors import as_count, as_key, as_number, as_real, check_at_least, check_shape, shown
from .._interactions import (
    AbstractInteraction,
    ManyBody,
    Power,
    RectifiedPower,
    Simplicial,
    Softmax,
)
from .._roots import implicit_point
from .._types import is_concrete
from ._placed import beside
from ._precision import arrived, check_weights, of_any_rank, weights_dtype, widened


class Settled(NamedTuple):
    """Where `DenseMemoryLayer.settle` ended: the `state`, after how many `steps`, and whether it
    has `converged`.

    **Example:**

    ```python
    layer = hx.nn.DenseMemoryLayer(4, 16, interaction=hx.Softmax(1.0), key=jax.random.key(0))
    settled = layer.settle(layer.memories[2])
    settled.converged, settled.steps  # True, 3
    ```
    """

    state: Float[Array, " size"]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class DenseMemoryLayer(eqx.Module):
    r"""A dense associative memory that learns what it stores (Krotov, Hopfield 2021,
    arXiv:2008.06996): a state $x$ descends to a memory, or completes itself to one.

    With overlaps $m = \Xi x / N$ and the interaction's $f = \nabla L(m)$ the two-layer network
    with fast hidden neurons moves, in steps as long as its time constant, by

    $$x \leftarrow g\big(\Xi^T f(m)\big).$$

    - `Softmax(beta)`: $x \leftarrow \Xi^T \mathrm{softmax}(\beta\, \Xi x)$, $g$ the identity and
      $E = \frac12 x \cdot x - N L(m)$ (model B; Ramsauer et al. 2021, arXiv:2008.02217).
    - `Power(n)`, `RectifiedPower(n)`: $f = m^{n-1}$ or $\max(m, 0)^{n-1}$, with $g(v) = \sqrt N\,
      v / |v|$ and $E = -N L(m)$ (model C, spherical memory). Without $g$ the state would explode
      or vanish, as $f$ is homogeneous; with it the scale of the input does not matter. A state
      that meets no memory ($f = 0$) becomes zero. So it is with every other interaction that has a
      `lagrangian` and is not `exponential`, one of your own included; where its $f$ is not
      homogeneous, the scale of the input and of the memories matters.

    No step raises $E$ where $L$ is convex (all of these but `Power` of odd order). For the tangent
    of $L$ at a state lies below $L$; put in its place in $E$, it gives an upper bound of $E$, and
    the next state is the minimum of that bound, over all states or over the ball. So there is no
    step size to choose, and the layer is stable whatever it learns.

    **Arguments:**

    - `num_memories`: M memories, the rows of $\Xi$.
    - `size`: N, features of a state.
    - `interaction`: see above. Default: `Softmax` with $\beta = 1/\sqrt N$, of which derivatives
      reach $\beta$.
    - `steps`: updates, or None: until the state rests. Then derivatives are those of the fixed
      point $x^* = g(\Xi^T f(\Xi x^*/N))$ by the implicit function theorem, at the cost of one
      linear system of size N instead of a record of all steps. As a fixed point does not change
      with the start, **none reach the input** but through entries that are `known`.
    - `max_steps`: the most updates with `steps=None`. If they are not enough nothing is raised: the
      state is the last one, the derivatives are those that a fixed point there would have, and
      `settle` says that it did not converge.
    - `tol`: a state is at rest if an update changes no entry by more than `tol * (1 + |entry|)`.
      Default: the machine's epsilon to the power of 3/4, 6e-6 in float32, 2e-12 in float64.
    - `dtype`: of the memories. Default: the default float.
    - `key`: keyword only; makes the initial memories, of normal numbers.

    **Raises:** ValueError/TypeError naming the argument. A $\beta$ that training has made negative
    is an error, too; where it is traced, the results are NaN.

    **Example:**

    ```python
    layer = hx.nn.DenseMemoryLayer(4, 16, interaction=hx.Softmax(1.0), key=jax.random.key(0))
    memory = layer.memories[2]
    known = jnp.arange(16) < 8
    completed = layer(jnp.where(known, memory, 0.0), known)  # from the first half
    jnp.abs(completed - memory).max()  # 9e-5
    ```
    """

    memories: Float[Array, "M size"]
    interaction: AbstractInteraction
    steps: int | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tol: float | None = eqx.field(static=True)

    def __init__(
        self,
        num_memories: int,
        size: int,
        *,
        interaction: AbstractInteraction | None = None,
        steps: int | None = 1,
        max_steps: int = 256,
        tol: float | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        dtype = weights_dtype(dtype)
        num_memories, size = as_count(num_memories, "num_memories"), as_count(size, "size")
        if interaction is None:
            beta: Any = jnp.asarray(1 / math.sqrt(size), dtype)
            interaction = Softmax(beta)
        check_weights(dtype, num_memories=num_memories, size=size)
        self.memories = jr.normal(as_key(key), (num_memories, size), dtype)
        self.interaction = interaction
        self.steps = None if steps is None else as_count(steps, "steps")
        self.max_steps = as_count(max_steps, "max_steps")
        self.tol = None if tol is None else as_number(tol, "tol")

    def __check_init__(self):
        if self.steps is not None:
            as_count(self.steps, "steps")
        as_count(self.max_steps, "max_steps")
        if self.tol is not None and not 0 < self.tol < 1:
            raise ValueError(f"`tol` must be between 0 and 1, got {self.tol!r}.")
        interaction = self.interaction
        graded = isinstance(interaction, AbstractInteraction) and not interaction.exponential
        graded = graded and not isinstance(interaction, ManyBody | Simplicial | Epanechnikov)
        if not (graded or isinstance(interaction, Softmax)):
            raise TypeError(
                "`interaction` must be Softmax(beta), Power(order), RectifiedPower(order) or one "
                f"of your own with a `lagrangian`, not exponential; got {shown(interaction)}."
            )

    @of_any_rank
    def __call__(
        self,
        x: Float[Array, " size"],
        known: Bool[Array, " size"] | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, " size"]:
        r"""The state after `steps` updates, or at rest.

        **Arguments:**

        - `x`: the state to begin with, (size,).
        - `known`: True where an entry keeps its value; the rest is completed. Default: none is.
          On the sphere the free entries have a mean square of one, so known ones should, too.
        - `key`: not used.
        """
        if self.steps is None:
            return self.settle(x, known).state
        x, known = self._checked(x, known)
        (self, wide), dtype = widened(self, x), x.dtype
        start = beside(wide, self, known)

        def step(state, _):
            return self._updated(state, wide, known), None

        return lax.scan(step, start, None, length=self.steps)[0].astype(dtype)

    @of_any_rank
    def settle(
        self, x: Float[Array, " size"], known: Bool[Array, " size"] | None = None
    ) -> Settled:
        """The state at rest that updates from `x` lead to, whatever `steps` says.

        `Settled.converged` is False if `max_steps` were not enough.
        """
        x, known = self._checked(x, known)
        dtype = x.dtype
        tol = float(jnp.finfo(widened(x)[0].dtype).eps) ** 0.75 if self.tol is None else self.tol
        self, wide = widened(self, x)
        arguments = (self, wide, known)
        arrays, rest = eqx.partition(arguments, eqx.is_array)
        stopped, given, known = eqx.combine(lax.stop_gradient(arrays), rest)

        def unsettled(now: Any) -> Any:
            state, steps, resting = now
            return ~resting & (steps < self.max_steps) & jnp.isfinite(state).all()

        def step(now: Any) -> Any:
            state, steps, _ = now
            new = stopped._updated(state, given, known)
            resting = (jnp.abs(new - state) < tol * (1 + jnp.abs(new))).all()
            return new, steps + 1, resting

        start = beside((given, jnp.asarray(0), jnp.asarray(False)), arguments)
        state, steps, converged = lax.while_loop(unsettled, step, start)
        # The search has no derivatives: those at rest are the implicit ones.
        state = implicit_point(eqx.Partial(_left, arguments), state)
        return Settled(state.astype(dtype), steps, converged)

    @of_any_rank
    def energy(self, x: Float[Array, " size"]) -> Float[Array, ""]:
        r"""$E(x)$, which no step raises; on the sphere for states of mean square up to one."""
        x, _ = self._checked(x, None)
        (self, wide), dtype = widened(self, x), x.dtype
        N = wide.size
        lagrangian = self.interaction.lagrangian(self.memories @ wide / N, N)
        square = (wide @ wide) / 2 if isinstance(self.interaction, Softmax) else 0.0
        return (square - N * lagrangian).astype(dtype)

    def _updated(
        self, state: Array, given: Array, known: Bool[Array, " size"] | None
    ) -> Float[Array, " size"]:
        """The state after one update; entries that are `known` keep their `given` values."""
        N = state.size
        overlaps = in_units(self.interaction, self.memories @ state / N)
        forces = jax.grad(self.interaction.lagrangian)(overlaps, N)
        field = forces @ self.memories
        if not isinstance(self.interaction, Softmax):
            field = _on_sphere(field if known is None else jnp.where(known, 0.0, field), known)
        return field if known is None else jnp.where(known, given, field)

    def _checked(self, x: Any, known: Any) -> tuple[Array, Array | None]:
        """The input and the mask as arrays; ValueError or TypeError naming what does not fit."""
        x, size = arrived(x, "x"), self.memories.shape[1]
        hint = "One state at a time; for a batch use jax.vmap."
        check_shape(x, "x", (size,), "(size,)", hint)
        if isinstance(self.interaction, Softmax):
            beta, hint = self.interaction.beta, "Below, the energy rises; clip it in training."
            check_at_least(beta, "interaction.beta", 0.0, strict=True, hint=hint)
            x = x if is_concrete(beta) else jnp.where(beta > 0, x, jnp.nan)
        if known is not None:
            known = jnp.asarray(as_real(known, "known"))
            check_shape(known, "known", (size,), "(size,)")
            if known.dtype != jnp.bool_:
                raise TypeError(f"`known` must be boolean, True where kept, got {known.dtype}.")
        return x, known


def _left(arguments: tuple[Any, Any, Any], state: Array) -> Array:
    """How far an update goes from a state: zero where it rests."""
    layer, given, known = arguments
    return layer._updated(state, given, known) - state


def in_units(interaction: AbstractInteraction, overlaps: Float[Array, " M"]) -> Float[Array, " M"]:
    """The overlaps, of powers divided by the largest one, as high powers would overflow or
    underflow. It makes no difference, as $g$ divides by the norm of what follows."""
    if not isinstance(interaction, Power | RectifiedPower):
        return overlaps
    size = jnp.abs(overlaps) if isinstance(interaction, Power) else overlaps
    largest = lax.stop_gradient(size.max())
    return overlaps / jnp.where(largest > 0, largest, 1.0)


def _on_sphere(
    field: Float[Array, " size"], known: Bool[Array, " size"] | None
) -> Float[Array, " size"]:
    """The field with a mean square of one over its free entries; zero if it is zero."""
    free = field.size if known is None else jnp.sum(~known).astype(field.dtype)
    size = lax.stop_gradient(jnp.abs(field).max())
    field = field / jnp.where(size > 0, size, 1.0)  # squares may underflow
    square = field @ field
    return field * jnp.sqrt(free / jnp.where(square > 0, square, 1.0))
