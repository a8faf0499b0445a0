r"""How neurons answer the fields that they feel, and in which order: one response a class."""

import abc
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation
from ..._misc import not_differentiable
from ..._types import PerNeuron, PerPattern

Update: TypeAlias = Literal["parallel", "cyclic", "random"]
Values: TypeAlias = Float[Array, "..."]

_NO_DERIVATIVE = (
    "steps of signs have no derivative, neither in the field nor in `beta`: what they return are "
    "signs, which do not move with the parameters, and a derivative of 0 would be wrong. "
    "Differentiate `field` or `energy`, or a run of graded neurons (`activation=Tanh(...)`)."
)


class AbstractResponse(eqx.Module):
    """The new value of neurons, all or one, that are at `h` and feel the field `u`."""

    @abc.abstractmethod
    def __call__(self, u: Values, h: Values, key: jax.Array | None) -> Values:
        """The new value, drawn with `key` where it is random."""


class Sign(AbstractResponse):
    """The sign of the field; neurons that feel none keep theirs."""

    def __call__(self, u, h, key):
        u = not_differentiable(u, _NO_DERIVATIVE)
        return jnp.where(u == 0, h, jnp.sign(u))


class Glauber(AbstractResponse):
    r"""Signs at a temperature: $+1$ with probability $\frac12 (1 + \tanh \beta u)$."""

    beta: Float[Array, ""]

    def __call__(self, u, h, key):
        assert key is not None  # `DenseMemory.step` has seen to it
        draw = jr.uniform(key, u.shape, u.dtype)
        up = not_differentiable((1 + jnp.tanh(self.beta * u)) / 2, _NO_DERIVATIVE)
        spins = jnp.where(draw < up, 1.0, -1.0).astype(u.dtype)
        return jnp.where(jnp.isnan(up), up, spins)


class Graded(AbstractResponse):
    r"""$\psi(u)$, between $-1$ and 1."""

    activation: AbstractActivation

    def __call__(self, u, h, key):
        return self.activation(u)


class Field(AbstractResponse):
    """The field itself: with `Softmax` a weighted mean of the memories."""

    def __call__(self, u, h, key):
        return u


def kept(clamped: Bool[Array, "..."] | None, old: Values, new: Values) -> Values:
    """The new values of neurons, the old ones of those that are clamped."""
    return new if clamped is None else jnp.where(clamped, old, new)


#: The field of neuron i at the overlaps X, with entries xi in the memories, that is at h.
Feel: TypeAlias = Callable[[Any, PerPattern, PerPattern, Float[Array, ""]], Float[Array, ""]]


def one_by_one(
    feel: Feel,
    respond: AbstractResponse,
    column: Callable[[Any], PerPattern],
    h: PerNeuron,
    X: PerPattern,
    update: Update,
    key: jax.Array | None,
    clamped: Bool[Array, " N"] | None = None,
) -> PerNeuron:
    r"""Every neuron once, in turn ("cyclic") or in "random" order; each feels those before it.
    Those that are `clamped` stay as they are.

    A neuron that changes by $\Delta$ changes the overlaps `X` by $\xi_i \Delta$, `column` i of the
    patterns. Keeping them up to
    date costs P operations a neuron, where computing them anew would cost NP.
    """
    order, keys = jnp.arange(h.size), None
    if key is not None:
        shuffle, draws = jr.split(key)
        keys = jr.split(draws, h.size)
        if update == "random":
            order = jr.permutation(shuffle, order)

    def visit(carry: tuple[PerNeuron, PerPattern], site: Any):
        h, X = carry
        i, key = site
        xi, old = column(i), h[i]
        new = respond(feel(i, X, xi, old), old, key)
        new = kept(None if clamped is None else clamped[i], old, new)
        return (h.at[i].set(new), X + xi * (new - old)), None

    (h, _), _ = jax.lax.scan(visit, (h, X), (order, keys))
    return h
