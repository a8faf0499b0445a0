r"""Standard normal numbers that are functions of a key, a cell of time and a neuron.

`jax.random.normal` draws 64 random bits for each number and takes the inverse error function in
double precision, which in a noisy run costs several times what its dynamics do. Here the two words
of one evaluation of threefry (a hash of two counters: the cell and the neuron) become two numbers,

    words a, b of 32 bits  ->  radius r = sqrt(-2 log((a + 1/2) / 2^32)), angle 2 pi b / 2^32
                           ->  r cos, r sin                                    (Box and Muller 1958)

in single precision, also where a run is in double: the numbers then have 24 bits each, and none
lies further out than 6.7, which one number in 5e10 would.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, UInt32

_PARITY = 0x1BD11BDA
_TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))
_QUARTER = 30  # the bits of an angle that lie within a quarter of a turn

_SINE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880)
_COSINE = (1.0, -1 / 2, 1 / 24, -1 / 720, 1 / 40320)


def words_of(key: jax.Array) -> UInt32[Array, "2"]:
    """Two words of a key of any kind, for `normals`."""
    return jr.bits(key, (2,), jnp.uint32)


def normals(words: UInt32[Array, "2"], cells: UInt32[Array, " K"], count: int) -> Array:
    """`count` standard normal numbers (K, count) of each of K cells, in single precision.

    **Arguments:** `words`: of a key. `cells`: numbers, each of which is given once for a key."""
    number, pairs = cells.shape[0], -(-count // 2)
    # A loop, whose outputs are written down: what the compiler merges with the arithmetic that
    # follows it hashes anew for each of the two numbers. Loops of one turn are none to it.
    half = pairs if number > 1 else -(-pairs // 2)
    place = jnp.arange(half, dtype=jnp.uint32)
    turns = number if number > 1 else 2

    def turn(_, k):
        cell, begin = (cells[k], 0) if number > 1 else (cells[0], k * half)
        return None, threefry(words, place + jnp.uint32(begin), jnp.broadcast_to(cell, place.shape))

    drawn = jax.lax.scan(turn, None, jnp.arange(turns, dtype=jnp.uint32))[1]
    first, second = (part.reshape(number, -1)[:, :pairs] for part in drawn)
    share = (first.astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    radius = jnp.sqrt(np.float32(-2) * jnp.log(share))
    cosine, sine = _circle(second)
    return jnp.concatenate([radius * cosine, radius * sine], axis=1)[:, :count]


def threefry(words: UInt32[Array, "2"], first: Array, second: Array) -> tuple[Array, Array]:
    """Threefry-2x32 of two counters, 20 rounds, as JAX has it (Salmon et al., SC 2011), but written
    out: in a loop over rounds, as JAX compiles it for a CPU, it takes three times as long."""
    keys = words[0], words[1], words[0] ^ words[1] ^ np.uint32(_PARITY)
    first, second = first + keys[0], second + keys[1]
    for group in range(5):
        for turn in _TURNS[group % 2]:
            first = first + second
            second = (second << np.uint32(turn)) | (second >> np.uint32(32 - turn))
            second = first ^ second
        first = first + keys[(group + 1) % 3]
        second = second + keys[(group + 2) % 3] + np.uint32(group + 1)
    return first, second


def _circle(angle: UInt32[Array, "..."]) -> tuple[Array, Array]:
    """Cosine and sine of angles in units of 2^-32 of a turn, by their series within an eighth of a
    turn from the nearest axis."""
    axis = (angle + np.uint32(1 << (_QUARTER - 1))) >> np.uint32(_QUARTER)
    rest = (angle - (axis << np.uint32(_QUARTER))).astype(jnp.int32).astype(jnp.float32)
    x = rest * np.float32(2 * np.pi * 2.0**-32)
    cosine, sine = _series(_COSINE, x * x), x * _series(_SINE, x * x)
    swapped = (axis == 1) | (axis == 3)
    cosine, sine = jnp.where(swapped, sine, cosine), jnp.where(swapped, cosine, sine)
    cosine = jnp.where((axis == 1) | (axis == 2), -cosine, cosine)
    return cosine, jnp.where((axis == 2) | (axis == 3), -sine, sine)


def _series(coefficients: tuple[float, ...], square: Array) -> Array:
    total = jnp.full_like(square, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * square + np.float32(c)
    return total
