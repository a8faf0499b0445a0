"""One time constant: the classic continuous network and one with a free coupling of memories."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_float, check_shape
from ..._types import ArrayLike, is_concrete
from ...patterns import Patterns
from .._base import Bound
from .._field import (
    AbstractQuadraticHopfield,
    Learning,
    check_options,
    shared_bounds,
    start,
)
from .._states import FieldState

#: Between 1, from where on memories are attractors, and 2, from where on mixtures of three are.
_GAIN = 1.8


class Hopfield(AbstractQuadraticHopfield):
    r"""The continuous Hopfield network: every memory has saliency 1.

    $$\dot x = -x + \sum_\mu m_\mu \xi^\mu + I(t), \qquad m_\mu = \xi^\mu \cdot \psi(x) / N.$$

    Memories are attractors if the gain $\psi'(0)$ is above 1 (a `PhysicsWarning` says if it is
    not). With hard tanh and orthogonal memories they are retrieved exactly then, and from a gain of
    2 on mixtures of three memories are attractors, too. Time is in units of the neurons' time
    constant. Hopfield, PNAS 81, 3088 (1984).

    **Arguments:**

    - `patterns`: the memories.
    - `activation`: the pointwise $\psi$, by default `HardTanh(1.8)`.
    - `learning`: "hebbian", or "pseudo_inverse" for correlated memories, which must be linearly
      independent.
    - `keep_diagonal`: keep the self-couplings $W_{ii}$.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.Hopfield(patterns)
    cue = network.init(field=patterns.corrupt(jax.random.key(0), mu=0, flips=3))
    hx.simulate(network, cue, jnp.array([0.0, 20.0])).overlaps[-1]  # 1, 0, 0, 0
    ```
    """

    patterns: Patterns
    activation: AbstractActivation
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)

    def __init__(
        self,
        patterns: Patterns,
        *,
        activation: AbstractActivation | None = None,
        learning: Learning = "hebbian",
        keep_diagonal: bool = True,
    ):
        self.patterns = patterns
        self.activation = HardTanh(_GAIN) if activation is None else activation
        self.learning, self.keep_diagonal = learning, keep_diagonal
        check_options(self)

    def init(
        self, *, field: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> FieldState:
        r"""The state with this `field` (N,), or with $x = \sum_\mu$ `weights`$_\mu \xi^\mu$."""
        return start(self, field, weights, None)

    def coupling(self, saliency):
        """The identity."""
        return jnp.ones(self.patterns.P, self.patterns.xi.dtype)

    def pitfalls(self, state, current, noise):
        """A gain at which no memory is an attractor."""
        if all(is_concrete(leaf) for leaf in jax.tree.leaves((self.activation, self.patterns))):
            with jax.ensure_compile_time_eval():  # their values are known, also inside a trace
                gain = float(self.activation.slope(jnp.zeros((), self.patterns.dtype)))
                own = 0 if self.keep_diagonal else self.patterns.P / float(self.patterns.size)
            if gain * (1 - own) <= 1:
                least = 1 / (1 - own) if own < 1 else float("inf")
                yield (
                    "no memory is an attractor: that needs an `activation` of gain above "
                    f"{least:.4g} at the origin, and this one has {gain:.4g}. Give a steeper one, "
                    "such as HardTanh(1.8) or Tanh(2.0)."
                )

    def domain(self):
        """That of activation and memories."""
        yield from shared_bounds(self)


class OneTimescaleHopfield(AbstractQuadraticHopfield):
    r"""Memories that call each other directly, without a slow variable.

    $$\dot x = -x + \frac1N \sum_{\mu\nu} Q_{\mu\nu}\, \xi^\mu\, \xi^\nu \cdot \psi(x) + I(t).$$

    `Q = s * eye + lam * cyclic(P)` is the instantaneous form of the asymmetric couplings of
    Kleinfeld (1986) and Sompolinsky, Kanter (1986). With hard tanh and orthogonal memories, memory
    $\mu$ is locked iff $Q_{\mu\mu} - \sum_{\nu\ne\mu} |Q_{\nu\mu}| > 1$; below that the network
    travels through *mixed* states, not through pure memories.

    **Arguments:** `patterns`, `activation`, `learning`, `keep_diagonal` as in `Hopfield`;
    `Q`: (P, P), entry [next, current].

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.OneTimescaleHopfield(patterns, 2 * jnp.eye(4) + 0.5 * hx.cyclic(4))
    cue = network.init(weights=[0.6, 0.0, 0.0, 0.0])
    hx.simulate(network, cue, jnp.array([0.0, 20.0])).overlaps[-1]  # locked in memory 0
    ```
    """

    patterns: Patterns
    Q: Float[Array, "P P"]
    activation: AbstractActivation
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)

    def __init__(
        self,
        patterns: Patterns,
        Q: ArrayLike,
        *,
        activation: AbstractActivation = HardTanh(),
        learning: Learning = "hebbian",
        keep_diagonal: bool = True,
    ):
        self.patterns, self.activation = patterns, activation
        self.learning, self.keep_diagonal = learning, keep_diagonal
        check_options(self)
        self.Q = as_float(Q, "Q", patterns.xi.dtype)
        check_shape(self.Q, "Q", (patterns.P, patterns.P), "(P, P)")

    def init(
        self, *, field: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> FieldState:
        r"""The state with this `field` (N,), or with $x = \sum_\mu$ `weights`$_\mu \xi^\mu$."""
        return start(self, field, weights, None)

    def coupling(self, saliency):
        """`Q`."""
        return self.Q

    def domain(self):
        """`Q` is finite."""
        yield Bound("Q", self.Q)
        yield from shared_bounds(self)
