"""Two timescales on rates: slow saliency moves a rate memory through a sequence."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._errors import as_float, check_finite, check_option, check_shape, filled
from ..._rate_activations import AbstractRateActivation, Logistic
from ..._types import ArrayLike, is_concrete
from ...patterns import Patterns
from .._base import Bound, parameter
from .._slow import READOUTS, Readout, saliency_rate
from .._states import RateState
from ._checks import finish
from ._family import AbstractRateMemory, NoiseIn, check_noise_in, rate_bounds, start
from ._unequal import per_neuron, time_constants
from ._wiring import RateLearning, check_design


class TwoTimescaleRateMemory(AbstractRateMemory):
    r"""A rate memory steered by slow saliency $z$.

    $$\dot x = -x + \phi\Big(\Delta \sum_\mu z_\mu (m_\mu + b_\mu)(\xi^\mu - q) + \gamma \langle x
    \rangle + I\Big), \qquad \tau \dot z = -z + \kappa\, A f(m).$$

    The active memory's saliency decays until, at the critical saliency $s_c$
    (`hopfax.theory.rate.critical_saliency`), its active state disappears and the rates fall.
    Multiplied saliencies alone leave the network silent then, since there is nothing to multiply:
    the additive part $b_\mu$, which saliency scales as well, ignites the memory that A has charged
    meanwhile. While it waits for that, saliencies follow the map of `TwoTimescaleHopfield` with
    $s_c$ in place of 1. So the least gain that sustains a cycle of P memories tends to
    `hopfax.theory.sequential.critical_gain(P)` times $s_c$ (3, 3.61 and 3.83 $s_c$ for P = 3, 4 and
    5) for large $\tau$ and small bias. A bias also holds the active memory, to below $s_c$, and
    lowers that gain: to 3.63, 3.48, 3.31 and 3.18 $s_c$ for b = 0.05, 0.1, 0.2 and 0.3, with five
    memories, the default currents and $\tau = 50$. `hopfax.dynamics.critical_gain` computes it, and
    `hopfax.dynamics.orbit` the dwells, without approximation. At larger $\kappa b$ the called
    memory takes over before the active one ends, and dwells shorten. A stimulus adds to the
    saliencies, as in `InputDrivenRateMemory`.
    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the slow equation; arXiv:2411.07388 for
    the rates.

    **Arguments:** `patterns`, `a`, `b`, `activation`, `learning`, `tau_rates`, `noise_in` as in
    `RateMemory`, and

    - `transition`: $A$, (P, P); entry `[next, current]` is how strongly `current` calls `next`.
    - `kappa`: the gain $\kappa \ge 0$ of the slow equation, a scalar or (P,), one for each *driven*
      memory. (Not the inverse secant slope of $\phi$, which goes by the same letter.)
    - `tau`: slow over fast time constant, $> 0$, a scalar or (P,).
    - `bias`: $b_\mu$, a scalar or (P,), in units of the current that an active memory sends: 0.1
      to 0.3 at the default currents.
    - `readout`: $f$, "linear", "abs", "square" or "relu".

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    network = hx.TwoTimescaleRateMemory(patterns, hx.cyclic(3), kappa=3.0, tau=20.0, bias=0.2)
    start = network.init(saliency=[1.5, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.visited(run)  # 0, 1, 2, 0, 1
    ```
    """

    patterns: Patterns
    transition: Float[Array, "P P"]
    kappa: Float[Array, "*#P"]
    tau: Float[Array, "*#P"]
    bias: Float[Array, "*#P"]
    activation: AbstractRateActivation
    a: Float[Array, "*#N"]
    b: Float[Array, "*#N"]
    readout: Readout = eqx.field(static=True)
    tau_rates: Float[Array, "*#N"] | None
    learning: RateLearning = eqx.field(static=True)
    noise_in: NoiseIn = eqx.field(static=True)
    stimulated = "optional"

    def __init__(
        self,
        patterns: Patterns,
        transition: ArrayLike,
        *,
        kappa: ArrayLike,
        tau: ArrayLike,
        bias: ArrayLike = 0.0,
        readout: Readout = "linear",
        a: ArrayLike = -0.3,
        b: ArrayLike = 0.95,
        activation: AbstractRateActivation | None = None,
        learning: RateLearning = "projection",
        tau_rates: ArrayLike | None = None,
        noise_in: NoiseIn = "rates",
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        check_option(readout, "readout", tuple(READOUTS))
        self.patterns, self.learning, self.readout = patterns, learning, readout
        self.transition = as_float(transition, "transition", patterns.dtype)
        check_shape(self.transition, "transition", (patterns.P, patterns.P), "(P, P)")
        self.kappa = parameter(kappa, "kappa", patterns)
        self.tau = parameter(tau, "tau", patterns)
        self.bias = parameter(bias, "bias", patterns)
        self.a, self.b = per_neuron(a, "a", patterns), per_neuron(b, "b", patterns)
        self.tau_rates, self.noise_in = time_constants(tau_rates, patterns), noise_in
        check_noise_in(noise_in)
        finish(self)

    def init(
        self,
        *,
        saliency: ArrayLike,
        rates: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> RateState:
        r"""A start state.

        **Arguments:** `saliency`: $z(0)$, (P,) or one number. `rates` (N,) or `weights` (P,) as in
        `RateMemory.init`; by default the most salient memory is active.
        """
        saliency = as_float(saliency, "saliency", self.patterns.dtype)
        saliency = filled(saliency, "saliency", (self.patterns.P,), "(P,)")
        check_finite(saliency, "saliency")
        if rates is None and weights is None:
            weights = jax.nn.one_hot(jnp.argmax(saliency), self.patterns.P, dtype=saliency.dtype)
        return RateState(start(self, rates, weights), saliency)

    def saliency(self, slow, evidence):
        """The slow state, and what the stimulus says if there is one."""
        return slow if evidence is None else slow + evidence

    def added(self, saliency):
        """$z b$."""
        return None if saliency is None else saliency * self.bias

    def slow_rate(self, overlaps, mean, slow):
        r"""$(-z + \kappa A f(m)) / \tau$."""
        equation = (self.transition, self.kappa, self.tau, self.readout)
        return saliency_rate(overlaps, slow, *equation)

    def slow_constant(self):
        r"""$\tau$."""
        return self.tau

    def kinks(self):
        """A readout with kinks of its own, or a square."""
        if self.readout == "linear":
            return None
        return "a `readout` other than 'linear' has kinks, or is not bilinear"

    def slow_part(self, state):
        """$z$."""
        if state.saliency is None:
            raise ValueError("`state0.saliency` is missing; make the state with network.init(...).")
        return state.saliency

    def joined(self, rates, slow):
        """A state of rates and z."""
        return RateState(rates, slow)

    def pitfalls(self, state, current: Any, noise: Any):
        """Nothing that lights the next memory."""
        quiet = is_concrete(self.bias) and not np.asarray(self.bias).any()
        calls = is_concrete(self.transition) and np.asarray(self.transition).any()
        if quiet and calls and current is None and noise is None:
            yield (
                "saliency only multiplies what neurons send, so that the network falls silent when "
                "a memory ends: set a `bias` (0.1 to 0.3), or give a `current` or `noise`."
            )

    def domain(self):
        r"""$\kappa \ge 0$, $\tau > 0$, the rest as in `RateMemory`."""
        yield from rate_bounds(self)
        yield Bound("kappa", self.kappa, 0.0)
        fast = "For saliency without a delay use InputDrivenRateMemory."
        yield Bound("tau", self.tau, 0.0, True, fast)
        yield Bound("transition", self.transition)
        yield Bound("bias", self.bias)
