"""Memories that call each other through synapses with memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_count, as_float, check_finite, check_shape, filled
from ..._types import ArrayLike, is_concrete
from ...patterns import Patterns
from .._base import Bound, parameter
from .._field import (
    AbstractQuadraticHopfield,
    Learning,
    check_options,
    shared_bounds,
    start,
)
from .._field_forms import Couplings, SynapseLaw
from .._states import FieldState

#: That of `Hopfield`: between 1, from where on memories are attractors, and 2.
_GAIN = 1.8
_MOST = 1000  # stages of a chain


class SlowSynapseHopfield(AbstractQuadraticHopfield):
    r"""Memories that hold themselves at once and call each other later, through slow synapses.

    $$\dot x = -x + \sum_\mu \Big( m_\mu + \sum_\nu \lambda_\mu Q_{\mu\nu} y_\nu + b_\mu \Big)
    \xi^\mu + I(t), \qquad \tau \dot y = -y + m, \qquad m_\mu = \xi^\mu \cdot \psi(x) / N.$$

    Fast symmetric synapses hold the active memory. The asymmetric ones answer to the trace $y$, an
    average of the overlaps over the last $\tau$, so that the active memory is left only when its
    trace has grown enough. With hard tanh of gain g and orthogonal memories in a cycle that takes a
    `strength` above $1 - 1/g$ and not far above twice that
    (`hopfax.theory.sequential.synapse_dwell`); no seed is needed.

    A chain of k `stages`, $\tau \dot y^{(j)} = k\,(y^{(j-1)} - y^{(j)})$ with $y^{(0)} = m$, of
    which the last one drives, has the same mean delay $\tau$ and approaches a pure delay as k
    grows. `HardTanh` runs of one stage are integrated exactly, from event to event; longer chains
    by diffrax.

    Time is in units of the neurons' time constant. Kleinfeld, PNAS 83, 9469 (1986); Sompolinsky,
    Kanter, PRL 57, 2861 (1986).

    **Arguments:**

    - `patterns`: the memories $\xi$, (P, N).
    - `transition`: $Q$, (P, P); entry `[next, current]` is how strongly `current` calls `next`.
    - `strength`: $\lambda$ of the slow synapses, a scalar or (P,), one for each *called* memory.
    - `tau`: the mean delay of the slow synapses, $> 0$, one number.
    - `stages`: k, the number of low-pass stages in a row.
    - `bias`: $b$, a scalar or (P,): the constant input $\sum_\mu b_\mu \xi^\mu$.
    - `activation`: the pointwise $\psi$, by default `HardTanh(1.8)`.
    - `learning`: "hebbian", or "pseudo_inverse", for which $m$ is replaced by $C^{-1} m$, also in
      the equation of the trace.
    - `keep_diagonal`: keep the self-couplings of the fast synapses. Those of slow ones stay.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.SlowSynapseHopfield(patterns, hx.cyclic(4), strength=0.6, tau=20.0)
    start = network.init(weights=[1.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.visited(run)  # 0, 1, 2, 3
    ```
    """

    patterns: Patterns
    transition: Float[Array, "P P"]
    strength: Float[Array, "*#P"]
    tau: Float[Array, ""]
    bias: Float[Array, "*#P"]
    activation: AbstractActivation
    stages: int = eqx.field(static=True)
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)

    def __init__(
        self,
        patterns: Patterns,
        transition: ArrayLike,
        *,
        strength: ArrayLike,
        tau: ArrayLike,
        stages: int = 1,
        bias: ArrayLike = 0.0,
        activation: AbstractActivation | None = None,
        learning: Learning = "hebbian",
        keep_diagonal: bool = True,
    ):
        self.patterns = patterns
        self.activation = HardTanh(_GAIN) if activation is None else activation
        self.learning, self.keep_diagonal = learning, keep_diagonal
        check_options(self)
        self.stages = as_count(stages, "stages", 1, most=_MOST)
        self.transition = as_float(transition, "transition", patterns.xi.dtype)
        check_shape(self.transition, "transition", (patterns.P, patterns.P), "(P, P)")
        self.strength = parameter(strength, "strength", patterns)
        self.tau = as_float(tau, "tau", patterns.xi.dtype)
        check_shape(self.tau, "tau", (), "()")
        self.bias = parameter(bias, "bias", patterns)

    def init(
        self,
        *,
        field: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        trace: ArrayLike = 0.0,
    ) -> FieldState:
        r"""The state with this `field` (N,), or with $x = \sum_\mu$ `weights`$_\mu \xi^\mu$.

        `trace`: of the overlaps in the past, (stages, P), (P,) for all stages alike, or one number;
        by default there was none.
        """
        state = start(self, field, weights, None)
        trace = as_float(trace, "trace", self.patterns.xi.dtype)
        shape = (self.stages, self.patterns.P)
        if trace.shape == shape[1:]:
            trace = jnp.broadcast_to(trace, shape)
        trace = filled(trace, "trace", shape, "(stages, P)")
        check_finite(trace, "trace")
        return self.joined(state.field, trace, state.weights)

    def coupling(self, saliency):
        """The identity, as a matrix: with the slow synapses the couplings are not symmetric."""
        return jnp.eye(self.patterns.P, dtype=self.patterns.xi.dtype)

    def offset(self):
        """$b$."""
        return jnp.broadcast_to(self.bias, (self.patterns.P,))

    def feed(self) -> Float[Array, "P P"]:
        r"""$\lambda Q$."""
        strength = jnp.broadcast_to(self.strength, (self.patterns.P,))
        return strength[:, None] * self.transition

    def delayed(self, slow):
        r"""$\lambda Q y$ of the last stage."""
        return self.feed() @ slow[-1]

    def slow_rate(self, overlaps, slow):
        r"""$\dot y$ of all stages."""
        before = jnp.concatenate([overlaps[None], slow[:-1]])
        return (before - slow) * (self.stages / self.tau)

    def slow_part(self, state):
        """$y$."""
        shape = (self.stages, self.patterns.P)
        if state.trace is None or jnp.shape(state.trace) != shape:
            found = "is missing" if state.trace is None else f"has shape {jnp.shape(state.trace)}"
            raise ValueError(
                f"`trace` of the state must have shape (stages, P) = {shape}, but {found}; make "
                "the state with network.init(...)."
            )
        return state.trace

    def joined(self, field, slow, weights):
        """A state of field, trace and weights."""
        return FieldState(field, None, weights, slow)

    def couplings(self, saliency):
        """The fast synapses, and of the slow ones a single stage."""
        if self.stages > 1:
            return "a chain of `stages` is not known to it"
        synapse = SynapseLaw(self.feed(), 1 / self.tau[None])
        return Couplings(self.coupling(saliency), self.offset(), synapse=synapse)

    def slow_constant(self):
        r"""$\tau$."""
        return self.tau

    def pitfalls(self, state, current, noise):
        """Slow synapses that are too weak to end a memory."""
        known = (self.activation, self.transition, self.strength, self.bias)
        undisturbed = current is None and noise is None and isinstance(self.activation, HardTanh)
        if undisturbed and all(is_concrete(leaf) for leaf in jax.tree.leaves(known)):
            with jax.ensure_compile_time_eval():
                gain = float(self.activation.slope(jnp.zeros((), self.patterns.dtype)))
                push = np.abs(np.asarray(self.feed())).sum(0).max()
                push = push + np.abs(np.asarray(self.offset())).sum()
            if gain > 1 and 0 < push <= 1 - 1 / gain:
                yield (
                    "the slow synapses are too weak to end a memory: `strength` times `transition` "
                    f"calls with at most {push:.3g}, and with orthogonal memories and this "
                    f"`activation` it takes more than 1 - 1/gain = {1 - 1 / gain:.3g}."
                )

    def domain(self):
        r"""$\tau > 0$, the rest finite."""
        yield Bound("strength", self.strength)
        fast = "For synapses without a delay use OneTimescaleHopfield."
        yield Bound("tau", self.tau, 0.0, True, fast)
        yield Bound("transition", self.transition)
        yield Bound("bias", self.bias)
        yield from shared_bounds(self)
