"""What a softmax memory retrieves: one item, several, or the mean of many."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

#: What a state retrieves; the code is the place here.
RETRIEVED = ("one item", "several items", "the mean of many", "nothing")
_ONE, _SEVERAL, _MANY, _NOTHING = range(4)
_MOST = 0.9  # of the weight, by which what is retrieved is named


def kinds_of(
    weights: Float[Array, "*n S"], there: Int[Array, "*n"] | int
) -> tuple[Int[Array, "*n"], Int[Array, "*n"], Float[Array, "*n"]]:
    """The code of what is retrieved by some weights, the number of the largest that make up 0.9,
    and their effective number, the exponential of their entropy.

    **Arguments:** `there`: how many items may be retrieved.
    """
    down = jnp.sort(weights, axis=-1)[..., ::-1]
    items = (jnp.cumsum(down, axis=-1) < _MOST).sum(-1) + 1
    none = (jnp.asarray(there) == 0) | (weights.sum(-1) == 0)
    kinds = [_NOTHING, _ONE, _MANY]
    retrieved = jnp.select([none, items == 1, 2 * items > there], kinds, _SEVERAL)
    entropy = -jnp.where(weights > 0, weights * jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0)
    effective = jnp.where(none, 0.0, jnp.exp(entropy.sum(-1)))
    return retrieved, jnp.where(none, 0, items), effective
