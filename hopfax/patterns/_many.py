"""More memories than floats can hold: packed into bits, made anew when needed, or spread over
devices."""

import abc
import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from equinox import AbstractVar
from jax.extend.random import threefry_2x32
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, UInt32

from .._errors import as_index, as_key, as_real, check_option, check_path, shown
from .._types import default_float, is_concrete
from ._base import WORD, AbstractPatterns, Index, check_block, check_sizes, pack_bits, unpack_bits
from ._packing import bits_of_array, bits_of_file

AXIS = "patterns"  # name of the axis of devices over which patterns are spread
_AT_ONCE = 4096  # rows packed at a time: more would exist as floats all at once


class _BitPatterns(AbstractPatterns):
    """Patterns of signs that are kept, or made, as bits."""

    neurons: AbstractVar[int]
    precision: AbstractVar[str]

    @property
    def N(self):
        return self.neurons

    @property
    def dtype(self):
        return np.dtype(self.precision)

    @abc.abstractmethod
    def words(self, first: Index, size: int) -> UInt32[Array, "size W"]:
        """The `size` patterns from number `first` on as bits, 32 neurons a word."""

    def rows(self, first, size):
        return unpack_bits(self.words(first, size), self.N, self.dtype)


class PackedPatterns(_BitPatterns):
    """Patterns of signs, one bit an entry: an eighth of a byte instead of four or eight bytes.

    Usually made by `hopfax.patterns.pack`. Rows are unpacked into floats of the kind that was the
    default when these patterns were made (`dtype`).

    **Arguments:** `bits`: uint32 of shape (P, W), W = N / 32 rounded up; bit j of word w is 1 where
    neuron 32 w + j is +1. `N`: the number of neurons.

    **Raises:** ValueError for another dtype or shape.

    **Example:**

    ```python
    packed = hx.PackedPatterns(jnp.array([[0b0101]], jnp.uint32), N=4)
    packed.pattern(0)  # 1, -1, 1, -1
    ```
    """

    bits: UInt32[Array, "P W"]
    neurons: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)
    binary = True

    def __init__(self, bits: Array, N: int):
        bits = jnp.asarray(as_real(bits, "bits"))
        _, N = check_sizes(1, N)
        _check_words(bits, N)
        self.bits = _without_padding(bits, N)
        self.neurons, self.precision = int(N), default_float().name

    def __check_init__(self):
        check_sizes(self.bits.shape[0], self.neurons)
        _check_words(self.bits, self.neurons)
        _check_precision(self.precision)

    @property
    def P(self):
        return self.bits.shape[0]

    def words(self, first, size):
        check_block(self, first, size)
        return jax.lax.dynamic_slice_in_dim(self.bits, first, size)

    def column(self, neuron):
        neuron = as_index(neuron, "neuron", self.N, "neurons")
        return _bit(self.bits[:, neuron // WORD], neuron % WORD, self.dtype)


class GeneratedPatterns(_BitPatterns):
    r"""Random patterns of signs, +1 and -1 equally likely, that are never stored: any block is made
    anew by a counter-based random number generator (Threefry) each time it is read.

    Entry i of pattern $\mu$ is a bit of the number that the generator gives for the counter
    $(\mu, \lfloor i/32 \rfloor)$ and the key. It does not depend on blocks or devices, and
    `pack(generated)` holds the very same patterns. Rows are floats of the kind that was the default
    when these patterns were made (`dtype`).

    **Arguments:** `key`: a PRNG key of the Threefry generator (JAX's default). `P`, `N`: how many
    patterns of how many neurons ($P < 2^{31}$).

    **Raises:** ValueError/TypeError for another kind of key, or sizes out of range.

    **Example:**

    ```python
    patterns = hx.GeneratedPatterns(jax.random.key(0), P=1000, N=16)
    packed = hx.patterns.pack(patterns)
    (packed.pattern(7) == patterns.pattern(7)).all()  # True
    ```
    """

    seed: UInt32[Array, "2"]
    count: int = eqx.field(static=True)
    neurons: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)
    binary = True

    def __init__(self, key: jax.Array, P: int, N: int):
        P, N = check_sizes(P, N)
        seed = jr.key_data(as_key(key))
        if seed.shape != (2,):
            raise ValueError(
                "`key` must be of the Threefry generator: jax.random.key(seed, impl='threefry2x32')"
            )
        self.seed, self.count, self.neurons = seed, int(P), int(N)
        self.precision = default_float().name

    def __check_init__(self):
        check_sizes(self.count, self.neurons)
        if self.count >= 2**31:
            raise ValueError(f"`P` must be below 2^31, got {self.count}.")
        _check_precision(self.precision)

    @property
    def P(self):
        return self.count

    def words(self, first, size):
        check_block(self, first, size)
        # Threefry turns a counter into two words: counter c gives words c and c + pairs of a row.
        words, pairs = _words_and_pairs(self.N)
        counters = jnp.asarray(np.arange(pairs), jnp.uint32)

        def of_row(row):  # one row at a time is twice as fast as the counters of all in one array
            return jnp.concatenate(_cipher(self.seed, row, counters))[:words]

        row = jnp.asarray(first).astype(jnp.uint32) + jnp.asarray(np.arange(size), jnp.uint32)
        return _without_padding(jax.vmap(of_row)(row), self.N)

    def column(self, neuron):
        neuron = as_index(neuron, "neuron", self.N, "neurons")
        _, pairs = _words_and_pairs(self.N)
        word = jnp.asarray(neuron) // WORD
        row = jnp.asarray(np.arange(self.P), jnp.uint32)
        low, high = _cipher(self.seed, row, (word % pairs).astype(jnp.uint32))
        return _bit(jnp.where(word < pairs, low, high), neuron % WORD, self.dtype)


class ShardedPatterns(AbstractPatterns):
    """Patterns spread over devices: each device adds up the fields of its own patterns, and the
    sums of all devices are added.

    Made by `hopfax.patterns.shard`.

    **Example:**

    ```python
    patterns = hx.patterns.shard(hx.patterns.hadamard(4, 16))
    memory = hx.DenseMemory(patterns, hx.Power(3))
    memory.overlaps(memory.init(patterns.pattern(0)))  # 1, 0, 0, 0
    ```
    """

    inner: AbstractPatterns
    count: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)

    def __init__(self, inner: AbstractPatterns, count: int, mesh: Mesh):
        self.inner, self.count, self.mesh = inner, count, mesh

    @property
    def binary(self):
        return self.inner.binary

    @property
    def P(self):
        return self.count

    @property
    def N(self):
        return self.inner.N

    @property
    def dtype(self):
        return self.inner.dtype

    def rows(self, first, size):
        return self.inner.rows(first, size)

    def words(self, first, size):
        return self.inner.words(first, size)

    def column(self, neuron):
        return self.inner.column(neuron)[: self.count]


def pack(*sources: AbstractPatterns | np.ndarray | str | os.PathLike) -> PackedPatterns:
    """Patterns of signs as bits; several sets of patterns are joined in the order given.

    **Arguments:** `sources`: any hopfax patterns of signs, arrays (P, N) of -1 and 1 or of
    booleans, or paths of .npy files with such an array; all with the same N. Arrays and files are
    read a piece at a time, so that those of many gigabytes take no more memory than their bits.

    **Returns:** `PackedPatterns`.

    **Raises:** ValueError if N differs, if a source is not known to be binary, or for a file that
    is damaged or holds anything else. TypeError for `Patterns` under a trace.

    **Example:**

    ```python
    stored = hx.patterns.hadamard(4, 16)
    packed = hx.patterns.pack(stored, hx.GeneratedPatterns(jax.random.key(0), 100, 16))
    packed.P, packed.bits.nbytes  # 104, 416

    np.save("signs.npy", np.asarray(stored.xi, np.int8))
    (hx.patterns.pack("signs.npy").rows(0, 4) == stored.xi).all()  # True
    ```
    """
    if not sources:
        raise ValueError("`sources`: pack at least one set of patterns.")
    found = [_as_bits(source) for source in sources]
    parts = []
    for source in found:
        if source.N != found[0].N:
            raise ValueError(f"`sources` must have the same N, got {[s.N for s in found]}.")
        if not source.binary:
            raise ValueError("`sources` must be patterns of +-1, not real-valued (or traced).")
        if not is_concrete(getattr(source, "xi", None)):
            raise TypeError(
                "`sources`: packing looks at the signs of patterns, which are not known under a "
                "trace, and bits cannot say that an entry is none: call it outside jit and grad."
            )
        if isinstance(source, PackedPatterns):
            parts.append(source.bits)
            continue
        for first in range(0, source.P, _AT_ONCE):
            size = min(_AT_ONCE, source.P - first)
            words = source.words(first, size)
            parts.append(pack_bits(source.rows(first, size) > 0) if words is None else words)
    return PackedPatterns(parts[0] if len(parts) == 1 else jnp.concatenate(parts), found[0].N)


def _as_bits(source: Any) -> AbstractPatterns:
    """A source as patterns: arrays and files as bits."""
    if isinstance(source, AbstractPatterns):
        return source
    if isinstance(source, np.ndarray):
        bits, N = bits_of_array(source)
        return PackedPatterns(jnp.asarray(bits), N)
    if isinstance(source, str | os.PathLike):
        check_path(source, "sources")
        bits, N = bits_of_file(source)
        return PackedPatterns(jnp.asarray(bits), N)
    raise TypeError(
        "`sources` must be hopfax patterns, arrays of NumPy or paths of .npy files, got "
        f"{shown(source)}."
    )


def shard(patterns: AbstractPatterns, devices: Sequence[Any] | None = None) -> ShardedPatterns:
    """Spread patterns evenly over devices. Generated patterns are made where they are used.

    **Arguments:** `patterns`: any but sharded ones. `devices`: default all of this process.

    **Returns:** `ShardedPatterns` that hold the same memories. Sums over them are the same to the
    last bit where they are sums of integers below 2^24; others differ by rounding, as the order of
    adding does.

    **Raises:** TypeError/ValueError for something else, or patterns with `counts`.

    **Example:**

    ```python
    patterns = hx.patterns.shard(hx.patterns.hadamard(4, 16), jax.devices()[:1])
    patterns.P, patterns.N  # 4, 16
    ```
    """
    if not isinstance(patterns, AbstractPatterns):
        raise TypeError(f"`patterns` must be hopfax patterns, got {shown(patterns)}.")
    if getattr(patterns, "counts", None) is not None:
        raise ValueError("`patterns` with `counts` are classes of neurons, too few to be spread.")
    devices = jax.devices() if devices is None else devices
    known = isinstance(devices, list | tuple) and all(isinstance(d, jax.Device) for d in devices)
    if not known or not devices:
        raise TypeError(f"`devices` must be a list of devices of JAX, got {shown(devices)}.")
    if isinstance(patterns, ShardedPatterns):
        raise TypeError("`patterns` are sharded already.")
    mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
    count, spare = patterns.P, -patterns.P % len(devices)

    def place(leaf):
        padded = jnp.pad(leaf, [(0, spare), *[(0, 0)] * (leaf.ndim - 1)])
        return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(AXIS)))

    inner = patterns if isinstance(patterns, GeneratedPatterns) else jax.tree.map(place, patterns)
    return ShardedPatterns(inner, count, mesh)


def _check_words(bits: Array, N: int) -> None:
    """ValueError unless these are the words of patterns of N neurons."""
    if bits.ndim != 2 or not len(bits) or bits.dtype != np.uint32 or bits.shape[1] != -(-N // WORD):
        raise ValueError(
            f"`bits` must be uint32 of shape (P, {-(-N // WORD)}) for `N` = {shown(N)}, got "
            f"{bits.dtype} {bits.shape}; pack signs with hopfax.patterns.pack."
        )


def _check_precision(name: str) -> None:
    """ValueError unless this is the name of a default float."""
    check_option(name, "precision", ("float32", "float64"))


def _without_padding(words: Array, N: int) -> Array:
    """`words` with zeros in the bits beyond the last neuron."""
    if N % WORD == 0:
        return words
    return words.at[..., -1].set(words[..., -1] & jnp.uint32(2 ** (N % WORD) - 1))


def _words_and_pairs(N: int) -> tuple[int, int]:
    """How many words a row has, and from how many counters they are made, two from each."""
    words = -(-N // WORD)
    return words, (words + 1) // 2


def _cipher(seed: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Two random words for each pair of counters, under the key `seed`."""
    first, second = jnp.broadcast_arrays(first, second)
    counters = jnp.concatenate([first.ravel(), second.ravel()])
    low, high = threefry_2x32(seed, counters).reshape(2, *first.shape)
    return low, high


def _bit(words: Array, place: Index, dtype: np.dtype) -> Array:
    """One bit of each word as a sign."""
    bit = (words >> jnp.asarray(place).astype(jnp.uint32)) & jnp.uint32(1)
    return (2 * bit.astype(jnp.int8) - 1).astype(dtype)
