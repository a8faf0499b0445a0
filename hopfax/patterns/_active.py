"""Memories of active and silent neurons, entries 1 and 0, as firing-rate networks store them."""

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._errors import as_count, as_float, check_finite
from ._base import as_key, check_sizes
from ._stored import Patterns


def balanced(q: float, N: int) -> Patterns:
    r"""$P = 1 + 1/q$ memories of activity q whose pairwise overlaps are exactly $q^2 N$.

    A core of $q^2 N$ neurons is active in all of them; the others form $q(1-q)N$ blocks of P
    neurons, in each of which every memory has one. Neuron $i$ of a memory is as independent of the
    other memories as chance would have it ($r = q$).
    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.

    **Arguments:** `q`: activity, 1/2, 1/3, 1/4, ... `N`: neurons; $q^2 N$ must be whole.
    """
    check_sizes(1, N)
    inverse = round(1 / q) if 0 < q < 1 else 0
    if inverse < 2 or abs(1 / q - inverse) > 1e-9:
        raise ValueError(f"`q` must be 1/2, 1/3, 1/4, ..., got {q}.")
    if N % inverse**2:
        raise ValueError(f"`N` must be a multiple of 1/q^2 = {inverse**2}, got {N}.")
    P, core = inverse + 1, N // inverse**2
    xi = np.zeros((P, N))
    xi[:, :core] = 1
    xi[:, core:] = np.tile(np.eye(P), (N - core) // P)
    return Patterns(xi, binary=False)


def sunflower(P: int, q: float, r: float, N: int) -> Patterns:
    r"""P memories of activity q whose pairwise overlaps are exactly $r q N$: a common core of
    $r q N$ neurons, and for each memory $(1 - r) q N$ of its own.

    **Raises:** ValueError if these numbers are not whole, or if there are too few neurons:
    $N \ge q N (r + P (1 - r))$.
    """
    check_sizes(P, N)
    count, core = _whole(q, N), _whole(r * q, N)
    if count is None or core is None or not 0 < q < 1 or not 0 <= r < 1:
        raise ValueError(
            f"`q` and `r` must lie in (0, 1) and [0, 1) with q N and r q N whole, got q = {q}, "
            f"r = {r}, N = {N}."
        )
    own = count - core
    if core + P * own > N:
        raise ValueError(f"`N` must be at least {core + P * own} for that, got {N}.")
    xi = np.zeros((P, N))
    xi[:, :core] = 1
    for mu in range(P):
        xi[mu, core + mu * own : core + (mu + 1) * own] = 1
    return Patterns(xi, binary=False)


def sparse(key: Any, P: int, N: int, q: float) -> Patterns:
    """P independent memories, each with exactly qN active neurons drawn at random."""
    check_sizes(P, N)
    count = _whole(q, N)
    if count is None or not 0 < count < N:
        raise ValueError(f"`q` must give a whole number 0 < q N < N, got q = {q}, N = {N}.")
    keys = jr.split(as_key(key), P)
    rank = jax.vmap(lambda k: jr.permutation(k, N))(keys)
    return Patterns(rank < count, binary=False)


def active(values: Any, q: float | None = None) -> Patterns:
    """Memories from anything with a number for every neuron: 1 where it is among the qN greatest
    of its memory (of equals the first), or without `q` where it is positive.

    **Arguments:** `values`: `Patterns`, or an array (P, N) or (P, height, width), such as images.
    """
    values = as_float(values.xi if isinstance(values, Patterns) else values, "values")
    check_finite(values, "values")
    if values.ndim < 2:
        raise ValueError(
            f"`values` must have a row for every memory, shape (P, N), got {values.shape}."
        )
    values = values.reshape(len(values), -1)
    N = values.shape[1]
    if q is None:
        return Patterns(values > 0, binary=False)
    count = round(q * N)
    if not 0 < count < N:
        raise ValueError(f"`q` must leave some of the N = {N} neurons active, some not, got {q}.")
    order = jnp.argsort(-values, axis=1, stable=True)
    return Patterns(jnp.argsort(order, axis=1) < count, binary=False)


def degrade(patterns: Patterns, key: Any, mu: int, kept: int) -> Any:
    """Memory `mu` of which only `kept` active neurons, drawn at random, are left active: a cue.

    **Raises:** ValueError unless `kept` is between 0 and their number.
    """
    pattern = patterns.pattern(mu)
    kept = as_count(kept, "kept", 0)
    count = int(np.sum(np.asarray(pattern) > 0))
    if kept > count:
        raise ValueError(f"`kept` must be at most {count}, the active neurons, got {kept}.")
    rank = jr.permutation(as_key(key), patterns.N)
    order = jnp.argsort(jnp.where(pattern > 0, rank, patterns.N + rank))
    place = jnp.argsort(order)  # of every neuron, active ones first
    return jnp.where(place < kept, pattern, jnp.zeros_like(pattern))


def _whole(fraction: float, N: int) -> int | None:
    """`fraction * N` if it is whole, up to the rounding of a float."""
    value = Fraction(fraction).limit_denominator(10**6) * N
    return int(value) if value.denominator == 1 else None
