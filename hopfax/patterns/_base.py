"""What every set of memories gives: blocks of rows, single columns, single memories."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float, UInt32

from .._types import PerNeuron, PerPattern

WORD = 32  # entries of a packed word: bit j of word w belongs to neuron 32 w + j


class AbstractPatterns(eqx.Module):
    """P memories of N neurons, wherever they are kept.

    Dense memories stream over them in blocks, so that no more than one block need exist.
    """

    binary: AbstractVar[bool]

    @property
    @abc.abstractmethod
    def P(self) -> int:
        """Number of patterns."""

    @property
    @abc.abstractmethod
    def N(self) -> int:
        """Number of neurons."""

    @property
    @abc.abstractmethod
    def dtype(self) -> Any:
        """Floating type of rows and of what is computed with them."""

    @abc.abstractmethod
    def rows(self, first: Any, size: int) -> Float[Array, "size N"]:
        """`size` patterns from number `first` on (which a trace may hide)."""

    @abc.abstractmethod
    def words(self, first: Any, size: int) -> UInt32[Array, "size W"] | None:
        """The same as bits, 32 neurons a word; None where they are not at hand."""

    @abc.abstractmethod
    def column(self, neuron: Any) -> PerPattern:
        """The entries of all patterns at one neuron."""

    def pattern(self, mu: Any) -> PerNeuron:
        """One memory. **Raises:** ValueError if there is no number `mu`."""
        if isinstance(mu, int | np.integer) and not 0 <= mu < self.P:
            raise ValueError(
                f"`mu` must be one of the {self.P} patterns, 0..{self.P - 1}, got {mu}."
            )
        return self.rows(mu, 1)[0]

    def corrupt(self, key: jax.Array, mu: int, flips: int) -> PerNeuron:
        """Pattern `mu` with exactly `flips` of its entries, drawn at random, changed in sign.

        **Raises:** TypeError/ValueError unless both are whole numbers in range.
        """
        for name, value in (("mu", mu), ("flips", flips)):
            if not isinstance(value, int | np.integer):
                raise TypeError(f"`{name}` must be a Python int, got {type(value).__name__}.")
        if not 0 <= flips <= self.N:
            raise ValueError(f"`flips` must lie between 0 and N = {self.N}, got {flips}.")
        rank = jr.permutation(as_key(key), self.N)
        pattern = self.pattern(mu)
        return jnp.where(rank < flips, -pattern, pattern)


def as_key(key) -> jax.Array:
    """A single typed PRNG key; TypeError with the cure for anything else."""
    hint = "make one with jax.random.key(seed)"
    if not isinstance(key, jax.Array) and not isinstance(key, np.ndarray):
        raise TypeError(f"`key` must be a PRNG key, got {type(key).__name__}; {hint}.")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.dtype != np.uint32 or key.shape[-1:] != (2,):
            raise TypeError(f"`key` must be a PRNG key, got dtype {key.dtype}; {hint}.")
        return jr.wrap_key_data(jnp.asarray(key)) if key.ndim == 1 else _one_key(key.shape[:-1])
    return jnp.asarray(key) if key.shape == () else _one_key(key.shape)


def _one_key(shape):
    raise ValueError(f"`key` must be one key, got a batch of shape {shape}; pass a single one.")


def check_sizes(P, N):
    """ValueError/TypeError unless there are P >= 1 patterns of N >= 1 neurons."""
    for name, value in (("P", P), ("N", N)):
        if not isinstance(value, int | np.integer):
            raise TypeError(f"`{name}` must be a Python int, got {type(value).__name__}.")
        if value < 1:
            raise ValueError(f"needs N >= 1 and P >= 1, got `{name}` = {value}.")


def pack_bits(positive: Array) -> UInt32[Array, "... W"]:
    """Booleans (..., N) as words, the last one filled up with zeros."""
    N = positive.shape[-1]
    words = -(-N // WORD)
    padding = [(0, 0)] * (positive.ndim - 1) + [(0, words * WORD - N)]
    bits = jnp.pad(positive, padding).reshape(*positive.shape[:-1], words, WORD)
    places = jnp.asarray(np.arange(WORD), jnp.uint32)
    return (bits.astype(jnp.uint32) << places).sum(-1, dtype=jnp.uint32)


def unpack_bits(words: UInt32[Array, "... W"], N: int, dtype: Any) -> Float[Array, "... N"]:
    """Words as signs +-1."""
    places = jnp.asarray(np.arange(WORD), jnp.uint32)
    bits = ((words[..., None] >> places) & jnp.uint32(1)).astype(jnp.int8)
    signs = (2 * bits - 1).astype(dtype)
    return signs.reshape(*words.shape[:-1], -1)[..., :N]
