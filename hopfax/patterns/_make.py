"""Memories that are made: orthogonal, random or correlated signs, and sets of active neurons."""

import math
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool

from .._errors import (
    as_count,
    as_float,
    as_index,
    as_indices,
    as_key,
    as_number,
    check_array,
    check_finite,
    check_type,
    shown,
)
from .._types import ArrayLike, PerNeuron, default_float
from ._base import AbstractPatterns, check_sizes
from ._stored import Patterns


def hadamard(columns: int | Sequence[int] | np.ndarray, N: int) -> Patterns:
    """Exactly orthogonal memories: columns of a Sylvester-Hadamard matrix.

    **Arguments:** `columns`: which columns, counted from 0 (column 0 is all ones), or how many. In
    the second case columns 1, 2, 4, ... are taken; every combination of their signs then occurs
    equally often among the neurons. `N`: the number of neurons. The smallest matrix that has the
    columns is repeated, so N must be a multiple of its order, a power of 2.

    **Returns:** `Patterns` of shape (number of columns, N).

    **Raises:** ValueError for columns that occur twice or are negative, or if N is no such
    multiple.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    patterns.overlap(patterns.xi[0])  # 1, 0, 0, 0
    ```
    """
    _, N = _check_room(1, N)
    if isinstance(columns, int | np.integer) or getattr(columns, "shape", None) == ():
        columns = as_count(columns, "columns", 0)
        if columns < 1:
            raise ValueError(f"`columns` must be at least 1, got {columns}.")
        if columns >= max(N, 1).bit_length():
            raise ValueError(
                f"`columns`: {shown(columns)} columns 1, 2, 4, ... need `N` >= 2^P, got {N}; name "
                "the columns instead (any distinct ones below N, e.g. list(range(1, P + 1))), or "
                "use patterns.random."
            )
        columns = [2**k for k in range(columns)]
    columns = np.asarray(as_indices(columns, "columns"))
    if columns.ndim != 1 or columns.size == 0:
        raise ValueError(f"`columns` must be a number or a list of integers, got {columns!r}.")
    if len(set(columns.tolist())) < columns.size:
        raise ValueError(f"`columns` must be distinct and not negative, got {columns.tolist()}.")
    order = 2 ** int(columns.max()).bit_length()
    if N < 1 or N % order:
        raise ValueError(
            f"`N` must be a multiple of {order}, the order of the smallest Sylvester-Hadamard "
            f"matrix with column {columns.max()}, got {N}."
        )
    _check_room(columns.size, N)
    common = columns[:, None] & np.arange(order)[None, :]
    parity = np.bitwise_count(common.astype(np.uint64)) & 1
    return Patterns(np.tile(1.0 - 2.0 * parity, (1, N // order)), binary=True)


def random(key: jax.Array, P: int, N: int) -> Patterns:
    """`P` patterns of `N` independent signs, +1 and -1 equally likely.

    **Example:**

    ```python
    patterns = hx.patterns.random(jax.random.key(0), 4, 16)
    patterns.xi.shape, patterns.binary  # (4, 16), True
    ```
    """
    P, N = _check_room(P, N)
    return Patterns(jr.rademacher(as_key(key), (P, N), int), binary=True)


def correlated(key: jax.Array, P: int, N: int, rho: float) -> Patterns:
    r"""Random patterns of signs with mean overlap `rho` $\in [0, 1)$ between any two.

    One random pattern serves as a template. Every entry of every memory agrees with it with
    probability $(1 + \sqrt\rho)/2$, independently of all others.

    **Example:**

    ```python
    patterns = hx.patterns.correlated(jax.random.key(0), 4, 4096, rho=0.25)
    patterns.gram()  # 1 on the diagonal, 0.25 elsewhere, within a few times 1/64
    ```
    """
    P, N = _check_room(P, N)
    rho = as_number(rho, "rho")
    if not 0 <= rho < 1:
        raise ValueError(f"`rho` must lie in [0, 1), got {rho}.")
    common, own = jr.split(as_key(key))
    template = jr.rademacher(common, (N,), int)
    agree = jr.bernoulli(own, (1 + math.sqrt(rho)) / 2, (P, N))
    return Patterns(jnp.where(agree, template, -template), binary=True)


def balanced(q: float, N: int) -> Patterns:
    r"""$P = 1 + 1/q$ memories of activity q in which any two share exactly $q^2 N$ active neurons,
    as many as two independent memories share on average.

    A core of $q^2 N$ neurons is active in all memories. The others form $q(1-q)N$ groups of P
    neurons; in each group every memory has one active neuron of its own.
    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.

    **Arguments:** `q`: activity, 1/2, 1/3, 1/4, ... `N`: neurons; $q^2 N$ must be whole.

    **Raises:** ValueError for another q or N.

    **Example:**

    ```python
    patterns = hx.patterns.balanced(1 / 2, 16)
    patterns.P  # 3
    patterns.xi @ patterns.xi.T  # 8 active neurons in each, 4 shared by any two
    ```
    """
    (_, N), q = _check_room(1, N), as_number(q, "q")
    inverse = round(1 / q) if 0 < q < 1 else 0
    if inverse < 2 or abs(1 / q - inverse) > 1e-9:
        raise ValueError(f"`q` must be 1/2, 1/3, 1/4, ..., got {q}.")
    if N % inverse**2:
        raise ValueError(f"`N` must be a multiple of 1/q^2 = {inverse**2}, got {N}.")
    P, core = inverse + 1, N // inverse**2
    _check_room(P, N)
    xi = np.zeros((P, N))
    xi[:, :core] = 1
    xi[:, core:] = np.tile(np.eye(P), (N - core) // P)
    return Patterns(xi, binary=False)


def sunflower(P: int, q: float, r: float, N: int) -> Patterns:
    r"""P memories of activity q in which any two share exactly $r q N$ active neurons: a core of
    $r q N$ neurons is active in all memories, and each has $(1 - r) q N$ active neurons of its own,
    as a sunflower has petals.

    **Raises:** ValueError if these numbers are not whole, or if there are too few neurons:
    $N \ge q N (r + P (1 - r))$ is needed.

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, q=0.25, r=0.5, N=16)
    patterns.xi @ patterns.xi.T  # 4 active neurons in each, 2 shared by any two
    ```
    """
    P, N = _check_room(P, N)
    q, r = as_number(q, "q"), as_number(r, "r")
    if not (0 < q < 1 and 0 <= r < 1):
        raise ValueError(f"`q` and `r` must lie in (0, 1) and [0, 1), got q = {q}, r = {r}.")
    count, core = _whole(q, N), _whole(r * q, N)
    if count is None or core is None:
        raise ValueError(
            f"`q` and `r` must make q N and r q N whole, got q = {q}, r = {r}, N = {N}."
        )
    own = count - core
    if core + P * own > N:
        raise ValueError(f"`N` must be at least {core + P * own} for that, got {N}.")
    xi = np.zeros((P, N))
    xi[:, :core] = 1
    for mu in range(P):
        xi[mu, core + mu * own : core + (mu + 1) * own] = 1
    return Patterns(xi, binary=False)


def sparse(key: jax.Array, P: int, N: int, q: float) -> Patterns:
    """P independent memories, each with exactly q N active neurons drawn at random.

    **Raises:** ValueError unless q N is whole and lies between 0 and N.

    **Example:**

    ```python
    patterns = hx.patterns.sparse(jax.random.key(0), 4, 16, q=0.25)
    patterns.xi.sum(1)  # 4, 4, 4, 4
    ```
    """
    (P, N), q = _check_room(P, N), as_number(q, "q")
    count = _whole(q, N) if 0 < q < 1 else None
    if count is None or not 0 < count < N:
        raise ValueError(f"`q` must give a whole number 0 < q N < N, got q = {q}, N = {N}.")
    keys = jr.split(as_key(key), P)
    rank = jax.vmap(lambda k: jr.permutation(k, N))(keys)
    return _sets(rank < count)


def active(values: Patterns | ArrayLike, q: float | None = None) -> Patterns:
    """Memories of active and silent neurons from any numbers, one a neuron, such as grey values.

    A neuron is active where its number is among the q N greatest of its memory (of equal numbers
    the first ones are taken), or without `q` where its number is positive.

    **Arguments:** `values`: `Patterns`, or an array (P, N) or (P, height, width), such as images.

    **Raises:** ValueError for values without a row for each memory, or if `q` leaves no neuron
    active, or none silent.

    **Example:**

    ```python
    hx.patterns.active(jnp.array([[0.9, 0.1, 0.4, 0.7]]), q=0.5).xi  # 1, 0, 0, 1
    hx.patterns.active(hx.patterns.hadamard(1, 4)).xi  # 1, 0, 1, 0
    ```
    """
    numbers = as_float(values.xi if isinstance(values, Patterns) else values, "values")
    check_finite(numbers, "values")
    if numbers.ndim not in (2, 3) or numbers.size == 0:
        raise ValueError(
            "`values` must have a row for every memory, shape (P, N) or (P, height, width), got "
            f"{numbers.shape}."
        )
    numbers = numbers.reshape(len(numbers), -1)
    N = numbers.shape[1]
    if q is None:
        return _sets(numbers > 0)
    q = as_number(q, "q")
    count = round(q * N) if 0 < q < 1 else 0
    if not 0 < count < N:
        raise ValueError(f"`q` must leave some of the N = {N} neurons active, some not, got {q}.")
    order = jnp.argsort(-numbers, axis=1, stable=True)
    return _sets(jnp.argsort(order, axis=1) < count)


def degrade(patterns: Patterns, key: jax.Array, mu: int, kept: int) -> PerNeuron:
    """A cue: memory `mu` with only `kept` of its active neurons, drawn at random, left active.

    **Raises:** ValueError unless `kept` is between 0 and the number of active neurons, or for
    entries other than 0 and 1 (signs are flipped by `patterns.corrupt`).

    **Example:**

    ```python
    patterns = hx.patterns.balanced(1 / 2, 16)
    cue = hx.patterns.degrade(patterns, jax.random.key(0), mu=1, kept=5)
    cue.sum(), cue @ patterns.xi[1]  # 5 of the 8 active neurons of memory 1, and no other
    ```
    """
    check_type(patterns, "patterns", AbstractPatterns, "patterns of hopfax, as Patterns(xi)")
    pattern = patterns.pattern(as_index(mu, "mu", patterns.P, "patterns"))
    kept = as_count(kept, "kept", 0)
    entries = np.asarray(pattern)
    if (other := (entries != 0) & (entries != 1)).any():
        raise ValueError(
            f"`patterns` must be sets of active neurons, entries 1 and 0, but memory {mu} has "
            f"{entries[other][0]:g}. Signs are flipped by patterns.corrupt(key, mu, flips)."
        )
    count = int(np.sum(entries))
    if kept > count:
        raise ValueError(f"`kept` must be at most {count}, the active neurons, got {kept}.")
    rank = jr.permutation(as_key(key), patterns.N)
    order = jnp.argsort(jnp.where(pattern > 0, rank, patterns.N + rank))
    place = jnp.argsort(order)  # of every neuron, active ones first
    return jnp.where(place < kept, pattern, jnp.zeros_like(pattern))


def _sets(active: Bool[Array, "P N"]) -> Patterns:
    """Active neurons as 1, silent ones as 0."""
    return Patterns(active.astype(default_float()), binary=False)


def _check_room(P: int, N: int) -> tuple[int, int]:
    """P and N; ValueError for numbers that are no sizes, or patterns that do not fit into memory:
    what is drawn, signs made of it, and the patterns are there at one time."""
    P, N = check_sizes(P, N)
    check_array("the memories", 3 * default_float().itemsize, P=P, N=N)
    return P, N


def _whole(fraction: float, N: int) -> int | None:
    """`fraction * N` if it is whole, up to the rounding of a float."""
    value = Fraction(fraction).limit_denominator(10**6) * N
    return int(value) if value.denominator == 1 else None
