"""Interactions of the distance between a state and the memories."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._interactions import AbstractInteraction, Softmax, positive
from ._types import ArrayLike


class Epanechnikov(AbstractInteraction):
    r"""A memory pulls at the states that are near it, and not at all at others (Hoover, Shi,
    Balasubramanian, Krotov, Ram 2025, arXiv:2506.10801), for real states $x$:

    $$E = -\frac1\beta \log \sum_\mu \max\big(1 - \tfrac\beta2 |\xi^\mu - x|^2,\, 0\big), \qquad
    x \leftarrow \text{mean of the } \xi^\mu \text{ with } |\xi^\mu - x|^2 < 2/\beta.$$

    The kernel of Epanechnikov stands where `Softmax` with `similarity="euclidean"` has a Gaussian
    one. One update is a step of mean shift: it never raises the energy, and runs rest after
    finitely many steps. A memory with no other within $\sqrt{2/\beta}$ is recalled exactly; where
    memories are nearer to each other, means of several are states of rest, too. A state that is
    near none stays as it is, at infinite energy.

    **Arguments:** `beta`: $\beta > 0$.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.Patterns([[1.0, 0.0], [2.0, 0.0], [9.0, 9.0]]), hx.Epanechnikov(0.5))
    memory.step(memory.init([1.2, 0.1])).spins  # 1.5, 0: the mean of the first two
    memory.step(memory.init([8.0, 8.5])).spins  # 9, 9
    memory.step(memory.init([5.0, 5.0])).spins  # 5, 5
    ```
    """

    beta: Float[Array, ""]
    exponential = False

    def __init__(self, beta: ArrayLike = 1.0):
        self.beta = positive(beta, "beta")

    def potential(self, X, N):
        return jnp.maximum(1 + self.beta.astype(X.dtype) * X, 0)

    def force(self, y, N):
        return jnp.where(1 + self.beta.astype(y.dtype) * y > 0, jnp.ones_like(y), 0.0)

    def scale(self, N):
        return 1.0

    def reduction(self):
        return self.beta

    def lagrangian(self, m, N):
        raise ValueError(
            "Epanechnikov is a function of distances, not of overlaps; a flow needs Quadratic, "
            "Power, RectifiedPower, Exponential or Softmax."
        )


def averages(interaction: Any) -> bool:
    """Whether states are means of memories, not signs."""
    return isinstance(interaction, Softmax | Epanechnikov)
