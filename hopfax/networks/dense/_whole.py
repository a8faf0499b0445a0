r"""Whole numbers that are too long for a float: forces of high order, and their sums.

A force of order n at N neurons is a whole number of up to $(n-1) \log_2 N$ bits, of which a float
keeps 24 or 53. Between the memories that agree with a neuron and those that do not most of it often
cancels, and with few memories or few neurons all of it does: then rounding alone would turn the
neuron, where a tie keeps it. `SignsExactly` therefore adds digits: each force is written in a base
so small that no sum of digits is rounded,

$$f(X) = \sum_l d_l(X)\, 2^{wl}, \qquad |d_l| < 2^w,$$

all digits of a block are added with one product, and only the digits of the end are put together to
a float, whose sign is that of the exact sum, and which is zero where the sum is.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._distinct import distinct_sums
from ..._interactions import (
    AbstractInteraction,
    ManyBody,
    Polynomial,
    Power,
    Quadratic,
    RectifiedPower,
    Simplicial,
)
from ...patterns import AbstractPatterns
from ._laws import AbstractLaw

#: Up to so many neurons or memories sums are exact: beyond, hardly any are near zero.
FEW = 64
_MOST_NEURONS = 8192  # of few memories: tables have an entry for each
MOST_AT_ONCE = 2**14  # memories of a block, whose digits are added before they are carried
#: Bits of a digit: so many memories, and the carried digits of earlier ones, add up exactly.
_BITS = {"float32": 8, "float64": 36}

Whole: TypeAlias = tuple[int, ...]


class Part(NamedTuple):
    """One of the sums that make a force: whole numbers times a power of N and a weight, that of
    `order` in a `Simplicial` or `Polynomial`, else 1."""

    forces: Whole  # at the overlaps N - 1, N - 3, ..., -(N - 1) without the neuron
    unit: float  # what 1 is in the field
    order: int | None


@lru_cache(maxsize=64)
def _parts(kind: type, orders: tuple[int, ...], N: int, rule: str) -> tuple[Part, ...] | None:
    """The force of an interaction as whole numbers; None where it is not made of such."""
    n = orders[-1]
    difference = rule == "difference"
    if kind in (ManyBody, Simplicial):
        found = []
        for k in orders:
            e = distinct_sums(N - 1, k - 1)[k - 1]
            # the difference of two potentials is 2 k times this, for every k
            unit = k / n * N ** ((n - k) / 2) / float(N) ** (n - 1)
            found.append(Part(e, unit, k if kind is Simplicial else None))
        return tuple(found)
    if kind not in (Quadratic, Power, RectifiedPower, Polynomial):
        return None

    def power(x: int, p: int) -> int:
        return max(x, 0) ** p if kind is RectifiedPower else x**p

    y = range(N - 1, -N, -2)
    found = []
    for k in orders:
        size = N ** ((n - k) / 2)  # 1 where there is one order
        if difference:
            forces = tuple(power(x + 1, k) - power(x - 1, k) for x in y)
            unit = float(Fraction(1, 2 * n * N ** (n - 1))) * size
        else:
            forces = tuple(power(x, k - 1) for x in y)
            unit = float(Fraction(k, n * N ** (n - 1))) * size
        found.append(Part(forces, unit, k if kind is Polynomial else None))
    return tuple(found)


def whole_parts(interaction: AbstractInteraction, N: int, rule: str) -> tuple[Part, ...] | None:
    """The force of `interaction` among N neurons as whole numbers; None where it is not made of
    such."""
    if isinstance(interaction, Simplicial | Polynomial):
        orders = tuple(interaction.weights)
    elif (order := getattr(interaction, "order", None)) is None:
        return None
    else:
        orders = (order,)
    return _parts(type(interaction), orders, N, rule)


def parts_to_add_exactly(
    interaction: AbstractInteraction, patterns: AbstractPatterns, rule: str
) -> tuple[Part, ...] | None:
    """The parts of a force whose sums are to be exact: where floats may round them, and memories or
    neurons are so few that what remains of a sum can be less than that. Else None."""
    P, N = patterns.P, patterns.N
    if N > FEW and (P > FEW or N > _MOST_NEURONS):
        return None
    order = getattr(interaction, "order", 0)
    if not isinstance(order, int):
        return None
    most = 2 * P * (N + 1) ** (order if rule == "difference" else order - 1) if order else 0
    exact = most <= 2 ** (jnp.finfo(patterns.dtype).nmant + 1)
    weighted = isinstance(interaction, Simplicial | Polynomial)  # by numbers that are not whole
    if exact and not weighted:
        return None
    return whole_parts(interaction, N, rule)


class _Tables(NamedTuple):
    """Digits of the forces, by number of neurons that disagree with a memory."""

    forces: np.ndarray  # (N, D) at the overlaps without the neuron
    even: np.ndarray  # (N + 1, D) f(X - 1) + f(X + 1), each where some neuron feels it
    odd: np.ndarray  # (N + 1, D) f(X + 1) - f(X - 1)
    lengths: tuple[int, ...]  # digits of each part
    units: tuple[np.ndarray, ...]  # what 1 in each of these digits is in the field


@lru_cache(maxsize=16)
def _tables(parts: tuple[Part, ...], P: int, dtype: str) -> _Tables:
    bits = _BITS[dtype]
    forces, even, odd, lengths, units = [], [], [], [], []
    for part in parts:
        f = part.forces
        up = [0, *f]  # f(X + 1) at X = N, N - 2, ..., -N; nobody feels it at X = N
        down = [*f, 0]
        both = [a + b for a, b in zip(down, up, strict=True)]
        apart = [b - a for a, b in zip(down, up, strict=True)]
        # the largest sum that can occur, of twice the field, and a digit for its sign
        length = (4 * P * max(1, *map(abs, f))).bit_length() // bits + 2
        for rows, numbers in ((forces, f), (even, both), (odd, apart)):
            rows.append(np.array([_digits(x, bits, length) for x in numbers], dtype))
        lengths.append(length)
        units.append(_sizes(part.unit, bits, length, dtype))
    a, b, c = (np.concatenate(rows, axis=1) for rows in (forces, even, odd))
    return _Tables(a, b, c, tuple(lengths), tuple(units))


def _digits(number: int, bits: int, length: int) -> list[int]:
    """Digits of a whole number, the lowest first, all with its sign."""
    sign, number, mask = (1 if number >= 0 else -1), abs(number), 2**bits - 1
    return [sign * (number >> (bits * k) & mask) for k in range(length)]


def _sizes(unit: float, bits: int, length: int, dtype: str) -> np.ndarray:
    """What 1 in each digit is; never so small that a sum of 1 would be taken for a tie."""
    info = np.finfo(dtype)
    exponents = [math.log2(unit) + bits * k for k in range(length)]
    most = math.log2(float(info.max)) - bits - 2  # digits beyond are never used
    sizes = [math.ldexp(unit, bits * k) if e < most else 0.0 for k, e in enumerate(exponents)]
    return np.maximum(np.array(sizes, np.float64), float(info.tiny)).astype(dtype)


class _Digits(eqx.Module):
    """Sums over blocks: of the forces on each neuron, and of what is the same for all."""

    forces: Float[Array, "D N"]
    terms: Float[Array, "D #N"]


class SignsExactly(AbstractLaw):
    r"""Signs that do not feel themselves, as `SignsWithoutSelf`, with exact sums of whole numbers.

    $2 u_i = \sum_\mu \xi_i [f(X+1) + f(X-1)] - h_i \sum_\mu [f(X+1) - f(X-1)]$.
    """

    interaction: AbstractInteraction
    parts: tuple[Part, ...] = eqx.field(static=True)
    P: int = eqx.field(static=True)
    N: int = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def _tables(self) -> _Tables:
        return _tables(self.parts, self.P, self.dtype)

    def _carried(self, t: Array) -> Array:
        """The same numbers with all digits below half the base, which makes them unique."""
        base, found, first = 2 ** _BITS[self.dtype], [], 0

        def carry(over, row):
            row = row + over
            over = (row + base // 2) // base
            return over, row - over * base

        for length in self._tables().lengths:
            rows = t[first : first + length]
            found.append(jax.lax.scan(carry, jnp.zeros_like(rows[0]), rows)[1])
            first += length
        return jnp.concatenate(found)

    def _value(self, t: Array, share: float) -> Array:
        """The field of carried digits, times `share`."""
        first, total, tables = 0, jnp.zeros(t.shape[1:], self.dtype), self._tables()
        for part, length, units in zip(self.parts, tables.lengths, tables.units, strict=True):
            value = jnp.zeros_like(total)
            for k in range(length):  # the lowest first
                value = value + t[first + k].astype(self.dtype) * units[k]
            first += length
            if part.order is not None:
                assert isinstance(self.interaction, Simplicial | Polynomial)
                value = value * self.interaction.weights[part.order].astype(self.dtype)
            total = total + value
        return share * total

    def factors(self, h):
        return (h,)

    def empty(self, factors):
        (h,) = factors
        D = sum(self._tables().lengths)
        none = jnp.zeros((D, *h.shape), h.dtype)
        return _Digits(none, none)

    def of_block(self, block, X, saliency):
        assert saliency is None  # the law of a network that is stimulated is another
        even, odd = (_looked_up(t, (self.N - X) / 2) for t in self._tables()[1:3])
        share = jnp.where(block.valid, jnp.ones_like(X), 0.0)
        return _Digits(block.project(share * even), block.own(share * odd))

    def merged(self, a, b):
        return _Digits(self._carried(a.forces + b.forces), self._carried(a.terms + b.terms))

    def field(self, total, factors):
        (h,) = factors
        twice = self._carried(total.forces - h * total.terms)
        return self._value(twice, 0.5)

    def field_of_one(self, X, xi, called, h, saliency):
        assert saliency is None
        digits = _looked_up(self._tables().forces, (self.N - 1 - (X - xi * h)) / 2)
        spare = -self.P % MOST_AT_ONCE if self.P > MOST_AT_ONCE else 0
        terms = jnp.pad(called * digits, [(0, 0), (0, spare)])
        blocks = terms.reshape(terms.shape[0], -1, min(self.P, MOST_AT_ONCE)).sum(-1)
        zero = jnp.zeros_like(blocks[:, 0])
        total = jax.lax.scan(lambda t, b: (self._carried(t + b), None), zero, blocks.T)[0]
        return self._value(total, 1.0)


def _looked_up(table: np.ndarray, place: Float[Array, " b"]) -> Float[Array, "D b"]:
    """Rows of a table at places that are whole numbers; NaN at NaN."""
    known = jnp.isfinite(place)
    rows = jnp.asarray(table)[jnp.where(known, place, 0.0).astype(jnp.int32)]
    return jnp.where(known, rows.T, jnp.nan)
