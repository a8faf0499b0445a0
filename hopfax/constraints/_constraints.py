"""Smooth maps from free arrays onto allowed values of a parameter."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import (
    as_count,
    as_float,
    as_real,
    check_memory,
    check_not_nan,
    check_type,
)
from .._types import ArrayLike, is_concrete


class AbstractConstraint(eqx.Module):
    """A smooth map from free arrays, which may hold any real numbers, onto allowed parameters.

    To write one of your own, subclass this and give the map (`value`), its inverse (`free`) and
    which entries it can move (`moves`). `log_volume` follows from these.

    **Example:**

    ```python
    class Negative(hx.constraints.AbstractConstraint):
        def free(self, value, name):
            return jnp.log(-value)

        def value(self, free):
            return -jnp.exp(free)

        def moves(self, value):
            return jnp.ones(value.shape, bool)


    found = hx.fit(
        {"slope": jnp.array(-1.0)},
        lambda model: model["slope"][None] + 3.0,  # a residual, zero at -3
        where=lambda model: model["slope"],
        constraint=Negative(),
    )
    found.model["slope"]  # -3
    ```
    """

    @abc.abstractmethod
    def free(self, value: Float[Array, "..."], name: str) -> Float[Array, "..."]:
        """The free array that gives the parameter `value`.

        **Raises:** ValueError, with `name`, if `value` is not allowed.
        """

    @abc.abstractmethod
    def value(self, free: Float[Array, "..."]) -> Float[Array, "..."]:
        """The parameter that belongs to a free array."""

    @abc.abstractmethod
    def moves(self, value: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Which entries of the free array have an effect on the parameter."""

    def log_volume(self, free: Float[Array, "..."], entries: Int[Array, " n"]) -> Float[Array, ""]:
        r"""The logarithm of $|\det \partial v / \partial u|$, by which a density of the parameter
        becomes one of the free array.

        From all derivatives of the map; to be overridden where there is a cheaper formula.

        **Arguments:** `free`: the free array. `entries`: which of its entries move, as indices of
        the raveled array; the others are constants.
        """
        flat = free.ravel()

        def moved(part):
            return self.value(flat.at[entries].set(part).reshape(free.shape)).ravel()[entries]

        return jnp.linalg.slogdet(jax.jacfwd(moved)(flat[entries]))[1]


class Unconstrained(AbstractConstraint):
    """No constraint: the parameter may take any real value.

    **Example:**

    ```python
    anything = hx.constraints.Unconstrained()
    anything.value(jnp.array([-1.0, 2.0]))  # -1, 2
    ```
    """

    def free(self, value, name):
        return value

    def value(self, free):
        return free

    def moves(self, value):
        return jnp.ones(value.shape, bool)

    def log_volume(self, free, entries):
        return jnp.zeros((), free.dtype)


class Positive(AbstractConstraint):
    r"""Positive values, $v = e^u$. Steps in the free array $u$ change $v$ by factors.

    **Example:**

    ```python
    positive = hx.constraints.Positive()
    positive.free(jnp.array([1.0, 10.0]), "kappa")  # 0, 2.3026
    positive.value(jnp.array([0.0, -3.0]))  # 1, 0.0498
    ```
    """

    def free(self, value, name):
        _check(value > 0, value, name, "be positive to start a fit under Positive()")
        return jnp.log(value)

    def value(self, free):
        return jnp.exp(free)

    def moves(self, value):
        return jnp.ones(value.shape, bool)

    def log_volume(self, free, entries):
        return free.ravel()[entries].sum()


class Box(AbstractConstraint):
    r"""Values between two bounds, $v = l + (h - l) / (1 + e^{-u})$.

    **Arguments:** `low`, `high`: the bounds $l$ and $h$; they broadcast against the parameter.

    **Raises:** ValueError if `low` is not below `high`.

    **Example:**

    ```python
    box = hx.constraints.Box(2.0, 6.0)
    box.value(jnp.array([-100.0, 0.0, 100.0]))  # 2, 4, 6
    ```
    """

    low: Float[Array, "..."]
    high: Float[Array, "..."]

    def __init__(self, low: ArrayLike, high: ArrayLike):
        self.low, self.high = as_float(low, "low"), as_float(high, "high")
        if is_concrete(self.low) and is_concrete(self.high):
            if not (np.asarray(self.low) < np.asarray(self.high)).all():
                raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}.")
        check_not_nan(self.low, "low")
        check_not_nan(self.high, "high")

    def free(self, value, name):
        inside = (value > self.low) & (value < self.high)
        _check(inside, value, name, f"lie inside Box({self.low}, {self.high}) to start a fit")
        share = (value - self.low) / (self.high - self.low)
        return jnp.log(share) - jnp.log1p(-share)

    def value(self, free):
        return self.low + (self.high - self.low) * jax.nn.sigmoid(free)

    def moves(self, value):
        return jnp.ones(value.shape, bool)

    def log_volume(self, free, entries):
        width = (self.high - self.low).astype(free.dtype)
        each = jnp.log(width) + jax.nn.log_sigmoid(free) + jax.nn.log_sigmoid(-free)
        return each.ravel()[entries].sum()


class Simplex(AbstractConstraint):
    r"""Columns, along the first axis, of positive numbers that sum to one, by a softmax.

    For a transition matrix: every column is then a distribution over the memories that may come
    next, and the gain of the network stands in `kappa` alone. Entries that are zero at the start
    stay zero.

    **Example:**

    ```python
    simplex = hx.constraints.Simplex()
    start = jnp.array([[0.2, 1.0], [0.8, 0.0]])
    free = simplex.free(start, "transition")
    simplex.value(free)  # the start again
    simplex.moves(start)  # True, True; True, False
    ```
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

    def log_volume(self, free, entries):
        r"""The logarithm of the volume element of a column of $K$ positive entries.

        Softmax maps $K$ numbers to $K - 1$ that are free. The last one is the sum
        $S = \sum_k e^{u_k}$, on which the column does not depend: it is given the gamma
        distribution of shape $K$, as if all $e^{u_k}$ were independent exponential deviates. Then
        $\sum_k (u_k - e^{u_k}) - \ln \Gamma(K)$ turns a density of the column, per volume of its
        first $K - 1$ entries, into one of all $u$, whose integral over $S$ it is.
        """
        moving = jnp.zeros(free.size, bool).at[entries].set(True).reshape(free.shape)
        u = jnp.where(moving, free, 0.0)
        each = jnp.where(moving, u - jnp.exp(u), 0.0)
        count = moving.sum(0).astype(free.dtype)
        rest = jnp.where(count > 0, jax.lax.lgamma(jnp.maximum(count, 1.0)), 0.0)
        return each.sum() - rest.sum()


class Masked(AbstractConstraint):
    """Only some entries of a parameter are fitted; the others keep the value they start with.

    **Arguments:** `mask`: True where the parameter is free; it broadcasts against the parameter.
    `among`: the constraint on the free entries (not `Simplex`, in which entries that start at zero
    are left out already).

    **Raises:** ValueError if `among` is a `Simplex`.

    **Example:**

    ```python
    masked = hx.constraints.Masked([True, False])
    found = hx.fit(
        {"a": jnp.array([0.0, 0.0])},
        lambda model: model["a"] - jnp.array([1.0, 0.0]),
        where=lambda model: model["a"],
        constraint=masked,
    )
    found.model["a"]  # 1, 0
    ```
    """

    mask: Bool[Array, "..."]
    fixed: Float[Array, "..."] | None
    among: AbstractConstraint

    def __init__(self, mask: ArrayLike, among: AbstractConstraint = Unconstrained()):
        free = as_real(mask, "mask")
        if free.dtype != bool and not (is_concrete(free) and np.isin(free, (0, 1)).all()):
            raise TypeError(f"`mask` must hold True and False, but its dtype is {free.dtype}.")
        what = "one of hopfax.constraints"
        check_type(among, "among", AbstractConstraint, what)
        self.mask, self.fixed, self.among = jnp.asarray(free, bool), None, among

    def __check_init__(self):
        if isinstance(self.among, Simplex):
            raise ValueError(
                "`among` must not be Simplex(): give it alone, with zeros where the parameter "
                "shall stay zero."
            )
        if self.fixed is not None:
            jnp.broadcast_shapes(self.mask.shape, self.fixed.shape)

    def free(self, value, name):
        # Entries that stay need not obey `among`, whose inverse may not exist there (the logarithm
        # of a negative number): they take the place of the first free entry, and are not used.
        # Of known values by NumPy: with JAX every operation is a program to be compiled.
        on: Any = np if is_concrete(value) and is_concrete(self.mask) else jnp
        mask = on.broadcast_to(on.asarray(self.mask), value.shape)
        allowed = on.asarray(value).ravel()[on.argmax(mask)]
        inside = on.where(mask, value, allowed)
        return self.among.free(jnp.asarray(inside), name)

    def value(self, free):
        value = self.among.value(free)
        return value if self.fixed is None else jnp.where(self.mask, value, self.fixed)

    def moves(self, value):
        return jnp.broadcast_to(self.mask, value.shape) & self.among.moves(value)

    def log_volume(self, free, entries):
        return self.among.log_volume(free, entries)

    def around(self, value: Float[Array, "..."]) -> "Masked":
        """The same constraint, with the entries of `value` wherever the mask is False."""
        fixed = jax.lax.stop_gradient(value)
        return eqx.tree_at(lambda c: c.fixed, self, fixed, is_leaf=lambda leaf: leaf is None)


def zero_diagonal(P: int, among: AbstractConstraint = Unconstrained()) -> Masked:
    """A (P, P) matrix of which all but the diagonal is fitted.

    The diagonal keeps the values it starts with: zeros, if memories shall not call themselves.

    **Arguments:** `P`: memories. `among`: the constraint on the entries off the diagonal.

    **Example:**

    ```python
    hx.constraints.zero_diagonal(2).mask  # False, True; True, False
    ```
    """
    P = as_count(P, "P")
    check_memory("P", 2 * P * P, f"a matrix of {P:,} x {P:,}")
    return Masked(~np.eye(P, dtype=bool), among)


def _check(allowed: Any, value: Any, name: str, must: str) -> None:
    """ValueError naming the first entry of a known `value` that is not allowed."""
    if not is_concrete(value) or not is_concrete(allowed):
        return
    allowed = np.broadcast_to(np.asarray(allowed), np.shape(value))
    if not allowed.all():
        index = tuple(int(i) for i in np.argwhere(~allowed)[0])
        where = f" at index {index}" if index else ""
        raise ValueError(f"`{name}` must {must}, but is {np.asarray(value)[index]:g}{where}.")
