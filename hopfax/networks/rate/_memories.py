"""Firing-rate memories without a slow variable."""

import equinox as eqx
from jaxtyping import Array, Float

from ..._rate_activations import AbstractRateActivation, Logistic
from ..._types import ArrayLike
from ...patterns import Patterns
from .._base import without_stimulus
from .._states import RateState
from ._checks import finish
from ._family import (
    AbstractRateMemory,
    NoiseIn,
    check_noise_in,
    design_told,
    rate_bounds,
    start,
)
from ._unequal import per_neuron, time_constants
from ._wiring import RateLearning, check_design


class RateMemory(AbstractRateMemory):
    r"""An associative memory of firing rates.

    $$\dot x = -x + \phi(W x + u)$$

    Memories are sets of active neurons, $\xi^\mu_i \in \{0, 1\}$. W holds them at *chosen currents*
    $a < b$ of silent and active neurons: the re-scaled memories $\phi(a) + (\phi(b) - \phi(a))\,
    \xi^\mu$ are exact equilibria at u = 0, with current $a + (b - a) \xi^\mu$. With activity q,
    $\langle\bar x\rangle = (1-q) \phi(a) + q \phi(b)$ and $\kappa = (b-a) / (\phi(b) - \phi(a))$,

    - "projection": $W = \kappa Z (Z^T Z)^{-1} Z^T + \frac{\gamma}{N} 1 1^T$, $Z = \xi - q$,
      $\gamma = ((1-q) a + q b) / \langle\bar x\rangle$: exact for linearly independent memories of
      equal activity;
    - "covariance": $W = \frac{\kappa}{N q (1-r)} (\xi - \beta)(\xi - \beta)^T + \frac{\gamma}{N}
      1 1^T$ with $\beta = q ((1-r) \phi(a) + r \phi(b)) / \langle\bar x\rangle$ and $\gamma =
      ((1-\beta) a + \beta b) / \langle\bar x\rangle$: exact if besides all pairs overlap in
      $r q N$ neurons, else with r (and q) their mean and a crosstalk that grows with P/N;
    - "pseudo_inverse": $W = H \bar X^+$ with currents H and re-scaled memories $\bar X$: exact for
      any independent memories, but not symmetric, so without an energy.

    With projection (or r = q) a memory is stable if $\phi$ is flat at a and b compared with its
    secant, $\max(\phi'(a), \phi'(b)) \max(\kappa, \gamma) < 1$; exact conditions, also for the
    others, are in `hopfax.theory.rate`. With $\gamma < 0$, there for the default currents and
    q < 0.24, the state in which all neurons fire is excluded.
    Rates stay positive, and in [0, 1] if $\phi$ does, without noise and with noise in the currents.
    The $N \times N$ matrix is never built. Time is in units of the neurons' time constant.

    *Unequal neurons.* With time constants `tau_rates` it is $T_i \dot x_i = -x_i + \phi(I_i)$:
    equilibria are the same, spectra are not. `a`, `b` and the activation's gain and threshold may
    have one value a neuron, too; "pseudo_inverse" alone then holds the memories exactly, at rates
    $\phi_i(a_i)$ and $\phi_i(b_i)$.

    *Noise* of `hopfax.simulate(..., noise=sigma)` acts on the rates, $dx_i = \dots + \sigma\,
    dB_i$, and makes some of them negative; or, with `noise_in="currents"`, inside the activation:

    $$\dot x_i = -x_i + \phi(I_i + \eta_i), \qquad d\eta_i = -\eta_i\, dt + \sigma\, dB_i,$$

    synaptic noise of standard deviation $\sigma/\sqrt 2$ and correlation time 1. Every run begins
    at $\eta = 0$. A neuron at the constant current I has the stationary mean $E\,\phi(I + \eta)$.
    Betteti, Baggio, Bullo, Zampieri 2025, Neural Computation 37(10), arXiv:2411.07388.

    **Arguments:**

    - `patterns`: the memories, entries 0 and 1 (`hopfax.patterns.balanced`, `sparse`, `active`).
    - `a`, `b`: currents of silent and active neurons, numbers or (N,).
    - `activation`: $\phi$, e.g. `Logistic(gain, threshold)`, the default with 4.8 and 0.2.
    - `learning`: the design, "projection", "covariance" or "pseudo_inverse".
    - `tau_rates`: time constants $T$ of the neurons, a number or (N,); None for 1.
    - `noise_in`: where private noise acts, "rates" or "currents".

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    network = hx.RateMemory(patterns)
    cue = network.init(weights=[0.8, 0.1, 0.1])
    hx.simulate(network, cue, jnp.array([0.0, 20.0])).overlaps[-1]  # 1, 0, 0
    ```
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, "*#N"]
    b: Float[Array, "*#N"]
    tau_rates: Float[Array, "*#N"] | None
    learning: RateLearning = eqx.field(static=True)
    noise_in: NoiseIn = eqx.field(static=True)

    def __init__(
        self,
        patterns: Patterns,
        *,
        a: ArrayLike = -0.3,
        b: ArrayLike = 0.95,
        activation: AbstractRateActivation | None = None,
        learning: RateLearning = "projection",
        tau_rates: ArrayLike | None = None,
        noise_in: NoiseIn = "rates",
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        self.patterns, self.learning = patterns, learning
        self.a, self.b = per_neuron(a, "a", patterns), per_neuron(b, "b", patterns)
        self.tau_rates, self.noise_in = time_constants(tau_rates, patterns), noise_in
        check_noise_in(noise_in)
        finish(self)

    def init(
        self, *, rates: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> RateState:
        r"""The state with these `rates` (N,), or with those of `rescaled(weights)` (P,): memory
        $\mu$ for the $\mu$-th unit vector, the quiescent background for zeros."""
        return RateState(start(self, rates, weights))

    def for_theory(self):
        """Activation, currents, design and memories."""
        return design_told(self)

    def domain(self):
        r"""$\rho > 0$, $\phi(b) > \phi(a)$, the rest finite."""
        yield from rate_bounds(self)


class InputDrivenRateMemory(AbstractRateMemory):
    r"""A rate memory whose synapses follow the stimulus (input-driven plasticity).

    $$\dot x = -x + \phi\Big(\Delta \sum_\mu s_\mu m_\mu (\xi^\mu - q) + \gamma \langle x \rangle +
    I\Big), \qquad s = s(u).$$

    The saliencies are calibrated: $u = \sum_\mu s_\mu \xi^\mu$, plus any constant, gives $s$ (for
    "covariance" and "pseudo_inverse" if $r = q$), and at $s_\mu = 1$ memory $\mu$ is held exactly
    as in `RateMemory`. It survives, at lower rates, down to a critical saliency
    (`hopfax.theory.rate.critical_saliency`). Saliency multiplies what the neurons send, so alone
    it does not bring a silent network to a memory: add a weak `current`.
    Betteti, Baggio, Bullo, Zampieri, arXiv:2411.05849 and arXiv:2411.07388.

    **Arguments:** as in `RateMemory`.

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    network = hx.InputDrivenRateMemory(patterns)
    cue, stimulus = network.init(weights=[0.8, 0.1, 0.1]), patterns.xi[0]
    run = hx.simulate(network, cue, jnp.array([0.0, 20.0]), stimulus=stimulus)
    run.overlaps[-1]  # 1, 0, 0
    ```
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, "*#N"]
    b: Float[Array, "*#N"]
    tau_rates: Float[Array, "*#N"] | None
    learning: RateLearning = eqx.field(static=True)
    noise_in: NoiseIn = eqx.field(static=True)
    stimulated = "required"

    def __init__(
        self,
        patterns: Patterns,
        *,
        a: ArrayLike = -0.3,
        b: ArrayLike = 0.95,
        activation: AbstractRateActivation | None = None,
        learning: RateLearning = "projection",
        tau_rates: ArrayLike | None = None,
        noise_in: NoiseIn = "rates",
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        self.patterns, self.learning = patterns, learning
        self.a, self.b = per_neuron(a, "a", patterns), per_neuron(b, "b", patterns)
        self.tau_rates, self.noise_in = time_constants(tau_rates, patterns), noise_in
        check_noise_in(noise_in)
        finish(self)

    def init(
        self, *, rates: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> RateState:
        """As `RateMemory.init`."""
        return RateState(start(self, rates, weights))

    def saliency(self, slow, evidence):
        """What the stimulus says."""
        if evidence is None:
            raise ValueError(without_stimulus(self))
        return evidence

    def for_theory(self):
        """Activation, currents, design and memories."""
        return design_told(self)

    def domain(self):
        r"""$\rho > 0$, $\phi(b) > \phi(a)$, the rest finite."""
        yield from rate_bounds(self)
