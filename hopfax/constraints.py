"""What values a fitted parameter may take: reparametrisations for `hopfax.fit`.

Each maps a free array, over which the optimiser moves, to the constrained parameter and back.
A projection, such as those of `optax.projections`, can be given in place of one: it is applied
after every step of an optax optimiser.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._errors import as_float
from ._types import ArrayLike, is_concrete


class AbstractConstraint(eqx.Module):
    """A smooth map from free arrays onto allowed parameters."""

    @abc.abstractmethod
    def free(self, value: Float[Array, "..."], name: str) -> Float[Array, "..."]:
        """The free array of a parameter; ValueError naming it if it is not allowed."""

    @abc.abstractmethod
    def value(self, free: Float[Array, "..."]) -> Float[Array, "..."]:
        """The parameter of a free array."""

    @abc.abstractmethod
    def moves(self, value: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Which entries of the free array have an effect."""


class Unconstrained(AbstractConstraint):
    """Any real value."""

    def free(self, value, name):
        return value

    def value(self, free):
        return free

    def moves(self, value):
        return jnp.ones(value.shape, bool)


class Positive(AbstractConstraint):
    r"""Positive values, $v = e^u$: relative errors are what counts."""

    def free(self, value, name):
        _check(value > 0, value, name, "be positive to start a fit under Positive()")
        return jnp.log(value)

    def value(self, free):
        return jnp.exp(free)

    def moves(self, value):
        return jnp.ones(value.shape, bool)


class Box(AbstractConstraint):
    r"""Values between two bounds, $v = l + (h - l) / (1 + e^{-u})$.

    **Arguments:** `low`, `high`: broadcast against the parameter.
    """

    low: Float[Array, "..."]
    high: Float[Array, "..."]

    def __init__(self, low: ArrayLike, high: ArrayLike):
        self.low, self.high = as_float(low, "low"), as_float(high, "high")
        if is_concrete(self.low) and is_concrete(self.high):
            if not (np.asarray(self.low) < np.asarray(self.high)).all():
                raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}.")

    def free(self, value, name):
        inside = (value > self.low) & (value < self.high)
        _check(inside, value, name, f"lie inside Box({self.low}, {self.high}) to start a fit")
        share = (value - self.low) / (self.high - self.low)
        return jnp.log(share) - jnp.log1p(-share)

    def value(self, free):
        return self.low + (self.high - self.low) * jax.nn.sigmoid(free)

    def moves(self, value):
        return jnp.ones(value.shape, bool)


class Simplex(AbstractConstraint):
    r"""Columns (the first axis) that are positive and sum to one, by softmax.

    For a transition matrix: from every memory a distribution over the next ones, so that the gain
    cannot hide in the matrix. Entries that are zero at the start stay so.
    """

    def free(self, value, name):
        total = value.sum(0)
        close = jnp.abs(total - 1) < 1e-3
        _check((value >= 0) & close, value, name, "have columns that sum to 1 under Simplex()")
        return jnp.where(value > 0, jnp.log(jnp.where(value > 0, value, 1.0)), -jnp.inf)

    def value(self, free):
        return jax.nn.softmax(free, axis=0)

    def moves(self, value):
        return value > 0


class Masked(AbstractConstraint):
    """Only some entries move, the others keep the value they have at the start.

    **Arguments:** `mask`: True where the parameter is free; broadcast against it. `among`: what the
    free entries obey (no `Simplex`: there zeros at the start say which entries stay).
    """

    mask: Bool[Array, "..."]
    fixed: Float[Array, "..."] | None
    among: AbstractConstraint

    def __init__(self, mask: ArrayLike, among: AbstractConstraint = Unconstrained()):
        if isinstance(among, Simplex):
            raise ValueError(
                "`among` must not be Simplex(): give it alone, with zeros where the parameter "
                "shall stay zero."
            )
        self.mask, self.fixed, self.among = jnp.asarray(mask, bool), None, among

    def free(self, value, name):
        mask = jnp.broadcast_to(self.mask, value.shape)
        allowed = value.ravel()[jnp.argmax(mask)]  # what the free entries obey, the others need not
        inside = jnp.where(mask, value, allowed)
        return self.among.free(inside, name)

    def value(self, free):
        value = self.among.value(free)
        return value if self.fixed is None else jnp.where(self.mask, value, self.fixed)

    def moves(self, value):
        return jnp.broadcast_to(self.mask, value.shape) & self.among.moves(value)

    def around(self, value: Float[Array, "..."]) -> "Masked":
        """With the entries of `value` where the mask is False."""
        fixed = jax.lax.stop_gradient(value)
        return eqx.tree_at(lambda c: c.fixed, self, fixed, is_leaf=lambda leaf: leaf is None)


def zero_diagonal(P: int, among: AbstractConstraint = Unconstrained()) -> Masked:
    """A (P, P) matrix whose diagonal stays as it is at the start (zero, for no self-loops)."""
    return Masked(~np.eye(P, dtype=bool), among)


def _check(allowed, value, name: str, must: str) -> None:
    if not is_concrete(value) or not is_concrete(allowed):
        return
    allowed = np.broadcast_to(np.asarray(allowed), np.shape(value))
    if not allowed.all():
        index = tuple(int(i) for i in np.argwhere(~allowed)[0])
        where = f" at index {index}" if index else ""
        raise ValueError(f"`{name}` must {must}, but is {np.asarray(value)[index]:g}{where}.")
