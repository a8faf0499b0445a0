"""How far apart memories are, as a loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import as_number, check_at_least, check_bool, check_callable
from .._report import Report
from ._base import AbstractLoss


class Separation(AbstractLoss):
    """How far apart the memories of a model are; made by `separation`."""

    where: Callable = eqx.field(static=True)
    t: float = eqx.field(static=True)
    on_sphere: bool = eqx.field(static=True)

    def __call__(self, network: Any, *, derivative="reverse"):
        found = [self._of(leaf) for leaf in jax.tree.leaves(self.where(network))]
        if not found:
            raise ValueError("`where` selects no array.")
        return sum(found[1:], found[0]) / len(found)

    def _of(self, memories: Array) -> Float[Array, ""]:
        """Of sets of memories, (..., M, n), the mean of all."""
        M = memories.shape[-2] if memories.ndim > 1 else 0
        if M < 2:
            raise ValueError(
                "`where` must select arrays of at least two memories, (M, n) or (H, M, n), got "
                f"shape {memories.shape}."
            )
        if self.on_sphere:  # a memory of zeros stays where it is
            square = jnp.square(memories).sum(-1, keepdims=True)
            memories = memories / jnp.sqrt(jnp.where(square > 0, square, 1.0))
        square = jnp.square(memories).sum(-1)
        products = jnp.einsum("...mi,...ni->...mn", memories, memories)
        distance = square[..., :, None] + square[..., None, :] - 2 * products
        exponents = jnp.where(jnp.eye(M, dtype=bool), -jnp.inf, -self.t * distance)
        total = jax.nn.logsumexp(exponents, axis=(-2, -1))
        return total.mean() - jnp.log(M * (M - 1.0)).astype(total.dtype)

    def _report(self) -> Report:
        where = "on the sphere" if self.on_sphere else "as they are"
        return Report("separation of memories", [("t", f"{self.t:g}"), ("memories", where)])


def separation(where: Callable, *, t: float = 2.0, on_sphere: bool = True) -> Separation:
    r"""How crowded memories are; to minimise it spreads them over the sphere.

    $$L = \log \frac{1}{M (M - 1)} \sum_{\mu \ne \nu} e^{-t\, |u_\mu - u_\nu|^2}, \qquad
    u_\mu = \xi_\mu / |\xi_\mu|$$

    This is the separation loss of U-Hop (Wu et al. 2024, arXiv:2404.03827), of which a softmax
    memory retrieves more: what it can tell apart is bounded by the distance between its memories.
    There the memories themselves are data, and what is learned is the map to the keys by which they
    are compared: let `where` return the keys, as `hopfax.nn.stored_keys` makes them. On the sphere
    the least value is near that of points that lie evenly (Wang, Isola 2020, arXiv:2005.10242); a
    pair that is closer than $1/\sqrt{t}$ counts most.

    Two equal memories have equal gradients, so none sets them apart.

    **Arguments:**

    - `where`: a function of the model that returns memories, (M, n), or those of several heads,
      (H, M, n), or a PyTree of such arrays; the loss is then their mean.
    - `t`: $t > 0$.
    - `on_sphere`: whether memories are divided by their norms. Otherwise the loss has no least
      value, as they can grow.

    **Returns:** a loss, to be called with the model; it is a number, not residuals.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    import equinox as eqx

    table = hx.nn.HopfieldLookup(8, 2, 4, key=jax.random.key(0))
    crowded = hx.losses.separation(lambda layer: layer.memory)
    crowded(table)  # -1.93
    of_keys = hx.losses.separation(hx.nn.stored_keys)
    eqx.filter_grad(crowded)(table).memory.shape  # (8, 4)
    of_keys(table)  # of both heads
    ```
    """
    check_callable(where, "where", "a function of the model, as lambda layer: layer.memory")
    check_bool(on_sphere, "on_sphere")
    t = as_number(t, "t")
    check_at_least(t, "t", 0.0, strict=True)
    return Separation(where, t, on_sphere)
