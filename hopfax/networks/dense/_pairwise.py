"""A memory in a matrix of synapses, which may be few, or hold few values."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from ..._errors import (
    as_key,
    as_number,
    check_array,
    check_callable,
    check_finite,
    check_option,
    check_shape,
    check_type,
)
from ..._misc import gaussian_moments
from ..._types import ArrayLike, PerNeuron, PerPattern
from ...patterns import AbstractPatterns
from .._base import AbstractMap, Bound
from ._checks import OPTIONS, checked_key, checked_spins, checked_temperature, known_spins
from ._spins import SpinState
from ._stream import overlap_sums, stream
from ._updates import Glauber, Sign, Update, kept, one_by_one

_BLOCK = 1024


class PairwiseMemory(AbstractMap):
    r"""The Hopfield model with a matrix of synapses, each a function of its Hebbian sum.

    $$h_i \leftarrow \mathrm{sgn} \sum_{j \ne i} W_{ij} h_j, \qquad W_{ij} = \frac{\sqrt P}{N}\,
    \frac{c_{ij}\, g(z_{ij})}{c\, \langle z\, g(z) \rangle}, \qquad
    z_{ij} = \frac1{\sqrt P} \sum_\mu \xi^\mu_i \xi^\mu_j,$$

    where z has unit variance for random memories of signs, the mean $\langle \cdot \rangle$ is that
    over a standard normal z, and each pair of neurons is connected, $c_{ij} = c_{ji} = 1$, with
    probability c. Memories then act with the strength of `DenseMemory(patterns, Quadratic())`,
    which this is for g(z) = z and c = 1; what the function and the missing pairs do is noise
    (`hopfax.theory.dense.synaptic_capacity`). Where $u_i = 0$ the spin stays as it is.
    Sompolinsky, Phys. Rev. A 34, 2571 (1986).

    **Arguments:**

    - `patterns`: memories of signs, of any kind; N is limited by the N x N matrix.
    - `synapses`: g, an odd function written with jax.numpy, such as `jnp.sign` (clipped synapses)
      or rounding to few values. Default: z as it is.
    - `kept`: c, in (0, 1]. `key`: a PRNG key that draws which pairs are kept.
    - `beta`, `update`: as of `DenseMemory`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    patterns = hx.patterns.random(jax.random.key(0), 10, 400)
    memory = hx.PairwiseMemory(patterns, synapses=jnp.sign, kept=0.5, key=jax.random.key(1))
    jnp.unique(memory.W).size  # 3: all synapses are weak, strong or missing
    state = memory.init(patterns.corrupt(jax.random.key(2), mu=0, flips=60))
    hx.iterate(memory, state, steps=5).overlaps[:, 0]  # 0.7, 0.995, 1, ...
    ```
    """

    patterns: AbstractPatterns
    W: Float[Array, "N N"]
    beta: Float[Array, ""] | None
    update: Update = eqx.field(static=True)

    def __init__(
        self,
        patterns: AbstractPatterns,
        *,
        synapses: Callable[[Array], Array] | None = None,
        kept: float = 1.0,
        key: jax.Array | None = None,
        beta: ArrayLike | None = None,
        update: Update = "parallel",
    ):
        check_type(patterns, "patterns", AbstractPatterns, "patterns of hopfax, as Patterns(xi)")
        if not patterns.binary or getattr(patterns, "counts", None) is not None:
            raise ValueError("`patterns` must be of +-1, one column a neuron.")
        check_option(update, "update", OPTIONS["update"])
        self.patterns, self.update = patterns, update
        self.beta = checked_temperature(beta, patterns)
        z = _hebbian(patterns) / math.sqrt(patterns.P)
        if synapses is not None:
            check_callable(synapses, "synapses", "an odd function of an array, such as jnp.sign")
            z = jnp.asarray(synapses(z), z.dtype) / gaussian_moments(synapses)[0]
            check_shape(z, "synapses(z)", (patterns.N,) * 2, "(N, N)")
            check_finite(z, "synapses(z)")
        kept = as_number(kept, "kept")
        if not 0 < kept <= 1:
            raise ValueError(f"`kept` must lie in (0, 1], got {kept}.")
        if (key is None) != (kept == 1):
            raise ValueError(
                "`key` draws which pairs are kept: give one with `kept` below 1, and none else."
            )
        if key is not None:
            upper = jnp.triu(jr.bernoulli(as_key(key), kept, z.shape), 1)
            z = jnp.where(upper | upper.T, z / kept, 0.0)
        W = math.sqrt(patterns.P) / patterns.N * z
        self.W = jnp.where(jnp.eye(patterns.N, dtype=bool), 0.0, W)

    def __check_init__(self):
        check_option(self.update, "update", OPTIONS["update"])
        check_shape(self.W, "W", (self.patterns.N,) * 2, "(N, N)")

    @property
    def signs(self) -> bool:
        """Whether the neurons are +-1: they are."""
        return True

    @property
    def random(self) -> bool:
        """Whether a step draws random numbers: at a temperature, or in random order."""
        return self.beta is not None or self.update == "random"

    def init(self, spins: ArrayLike) -> SpinState:
        """The state with these `spins` (N,).

        **Raises:** ValueError for another shape, or values other than +-1.
        """
        return SpinState(checked_spins(self, spins, "spins"))

    def checked(self, state: SpinState) -> SpinState:
        """`state` in the precision of the network. **Raises:** as `init` does."""
        return self.init(state.spins)

    def holds(self, state: SpinState) -> Bool[Array, ""]:
        """Whether `state` is legal: +-1."""
        return (jnp.abs(state.spins) == 1).all()

    def overlaps(self, state: SpinState) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot h / N$ for all memories."""
        spins, legal = known_spins(self, state)
        return legal(overlap_sums(self.patterns, spins, True, _BLOCK) / self.patterns.N)

    def field(self, state: SpinState) -> PerNeuron:
        """$u = W h$."""
        spins, legal = known_spins(self, state)
        return legal(_times(self.W, spins))

    def energy(self, state: SpinState) -> Float[Array, ""]:
        r"""$-\frac12 h \cdot W h$, which signs in turn (`update` "cyclic" or "random") never raise
        at temperature zero."""
        spins, legal = known_spins(self, state)
        return legal(-(spins * _times(self.W, spins)).sum() / 2)

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """The state after one update of every neuron.

        **Arguments:** `stimulus`: none, as synapses do not change; `key`: as of `DenseMemory.step`.
        """
        return self.prepared().step(state, stimulus, key)

    def prepared(self, clamped: Bool[Array, " N"] | None = None) -> "_Prepared":
        """What makes the steps of a run, in which neurons that are `clamped` stay as they are."""
        return _Prepared(self, clamped)

    def domain(self):
        """Synapses are finite, and temperature is positive."""
        yield Bound("W", self.W)
        if self.beta is not None:
            yield Bound("beta", self.beta, 0.0, True)


class _Prepared(eqx.Module):
    """A memory with the neurons that stay as they are."""

    memory: PairwiseMemory
    clamped: Bool[Array, " N"] | None

    def step(self, state: SpinState, stimulus: PerNeuron | None, key: jax.Array | None):
        """As that of the memory."""
        memory = self.memory
        if stimulus is not None:
            raise ValueError("`stimulus`: a PairwiseMemory has none, as its synapses are fixed.")
        key = checked_key(memory, key)
        respond = Sign() if memory.beta is None else Glauber(memory.beta)
        h, legal = known_spins(memory, state)
        u = _times(memory.W, h)
        if memory.update == "parallel":
            return SpinState(legal(kept(self.clamped, h, respond(u, h, key))))
        # fields in place of overlaps: a neuron that turns changes them by its column of W
        feel = lambda i, u, column, old: u[i]  # noqa: E731
        column = lambda i: memory.W[:, i]  # noqa: E731
        how = memory.update, key, self.clamped
        return SpinState(legal(one_by_one(feel, respond, column, h, u, *how)))


def _times(W: Array, h: Array) -> Array:
    return jnp.matmul(W, h, precision=jax.lax.Precision.HIGHEST)


def _hebbian(patterns: AbstractPatterns) -> Float[Array, "N N"]:
    r"""$\sum_\mu \xi^\mu_i \xi^\mu_j$, with patterns read in blocks."""
    N = patterns.N
    check_array("the synapses", 3 * patterns.dtype.itemsize, neurons=N, N=N)

    def use(block, given):
        rows = jnp.where(block.valid[:, None], block.rows(), 0.0)
        return jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)

    return stream(patterns, use, jnp.add, jnp.zeros((N, N), patterns.dtype), None, _BLOCK)
