"""What every engine is given of a run, and what all do with its output."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._types import Network
from .._undefined import undefined
from ..networks import AbstractSystem, Core


class Task(eqx.Module):
    """A run: its equation and start in the chosen form, its save times, whether its values are
    legal, and the full network, which observers see."""

    system: AbstractSystem
    core: Core
    ts: Float[Array, " T"]
    valid: Bool[Array, ""]
    network: Network


class Settings(eqx.Module):
    """What the output says of the run, and which derivative it will serve."""

    reduction: str = eqx.field(static=True)
    derivative: Literal["reverse", "forward"] = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)


def blanked(saves: Any, reached: Bool[Array, " T"]) -> Any:
    """Saved values, NaN (-1 for integers) at the times that the run has not reached."""

    def blank(leaf):
        mask = reached.reshape(reached.shape + (1,) * (leaf.ndim - 1))
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.where(mask, leaf, jnp.nan)
        return leaf if leaf.dtype == bool else jnp.where(mask, leaf, -1)

    return jax.tree.map(blank, saves)


def dated(times: Float[Array, " K"], source: Any) -> Float[Array, " K"]:
    """The times of a log of switches. Those of switches that the run does not make are NaN, and so
    are their derivatives by all that the run depends on, `source`."""
    return jnp.where(jnp.isnan(times), undefined(times, source), times)
