"""Where in a sequence queries and items stand, as far as a retrieval sees it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._errors import as_count, as_key, as_number, check_at_least
from ._precision import check_weights, weights_dtype


class AbstractPositions(eqx.Module):
    """How the places of queries and items enter their scores. To write one of your own, give the
    method that matters: the other keeps its default, which does nothing.

    **Example:**

    ```python
    class NearOnes(hx.nn.AbstractPositions):
        def bias(self, queries, items):
            return -jnp.abs(queries[:, None] - items)[None].astype(float)


    layer = hx.nn.HopfieldRetrieval(2, 4, positions=NearOnes(), key=jax.random.key(0))
    layer(jnp.ones((3, 4)), jnp.ones((3, 4))).shape  # (3, 4)
    ```
    """

    def check(self, num_heads: int, qk_size: int) -> None:
        """ValueError if a layer of these sizes cannot have them."""

    def turned(
        self, heads: Float[Array, "n H d"], places: Int[Array, " n"]
    ) -> Float[Array, "n H d"]:
        """States or keys (n, H, d) at these places (n,), as they are compared."""
        return heads

    def bias(
        self, queries: Int[Array, " Q"], items: Int[Array, " S"]
    ) -> Float[Array, "_ Q S"] | None:
        """What is added to the scores of queries and items at these places, (1 or H, Q, S)."""
        return None


class Rotary(AbstractPositions):
    r"""Rotary positions: features $i$ and $i + d/2$ of a state or key at place $p$ are turned, as a
    vector in the plane, by the angle $p\, b^{-2 i/d}$ (Su et al. 2021, arXiv:2104.09864; in the
    order of Equinox's `RotaryPositionalEmbedding`).

    Scores then depend on the distance of query and item alone. What is stored are the turned keys:
    further steps need no further turn.

    **Arguments:** `base`: $b > 1$; the larger, the further apart places may be told.

    **Raises:** TypeError/ValueError naming the argument; a layer whose `qk_size` is odd.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 8, positions=hx.nn.Rotary(), key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 8))
    layer(x, x, mask="causal").shape  # (5, 8)
    ```
    """

    base: float = eqx.field(static=True)

    def __init__(self, base: float = 10_000.0):
        self.base = as_number(base, "base")
        check_at_least(self.base, "base", 1.0, strict=True)

    def check(self, num_heads, qk_size):
        if qk_size % 2:
            raise ValueError(f"`qk_size` must be even with `positions` = Rotary, got {qk_size}.")

    def turned(self, heads, places):
        half = heads.shape[-1] // 2
        rates = self.base ** (-np.arange(half) / half)
        angles = places[:, None].astype(heads.dtype) * jnp.asarray(rates, heads.dtype)
        cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
        first, second = heads[..., :half], heads[..., half:]
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


class RelativeBias(AbstractPositions):
    r"""A learned number for each head and distance, which is added to the scores:
    $z_{hqs} = \beta\, q \cdot k_s + b_{h,\, p_q - p_s}$ (in the simplest form of Raffel et al.
    2020, arXiv:1910.10683). Distances beyond `reach` count as `reach`.

    **Arguments:** `num_heads`: heads of the layer. `reach`: the largest distance with a number of
    its own, before and behind the query. `dtype`: default float. `key`: keyword only; numbers start
    with a standard deviation of 0.02.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    near = hx.nn.RelativeBias(2, reach=3, key=jax.random.key(0))
    near.numbers.shape  # (2, 7): distances of -3 to 3
    layer = hx.nn.HopfieldRetrieval(2, 8, positions=near, key=jax.random.key(1))
    ```
    """

    numbers: Float[Array, "H _"]

    def __init__(self, num_heads: int, reach: int = 128, *, dtype: Any = None, key: PRNGKeyArray):
        H, reach = as_count(num_heads, "num_heads"), as_count(reach, "reach")
        dtype = weights_dtype(dtype)
        check_weights(dtype, num_heads=H, reach=2 * reach + 1)
        self.numbers = 0.02 * jr.normal(as_key(key), (H, 2 * reach + 1), dtype)

    @property
    def reach(self) -> int:
        """The largest distance with a number of its own."""
        return self.numbers.shape[1] // 2

    def check(self, num_heads, qk_size):
        if (H := self.numbers.shape[0]) not in (1, num_heads):
            raise ValueError(f"`positions` has numbers for {H} heads, not for {num_heads}.")

    def bias(self, queries, items):
        apart = jnp.clip(queries[:, None] - items, -self.reach, self.reach)
        return self.numbers[:, apart + self.reach]
