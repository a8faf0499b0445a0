"""A firing-rate memory that obeys Dale's law."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation, Logistic
from ..._types import ArrayLike
from ...patterns import Patterns
from .._base import Bound
from .._states import RateState
from ._checks import finish
from ._family import (
    AbstractRateMemory,
    NoiseIn,
    check_noise_in,
    number,
    possible,
    rate_bounds,
    start,
)
from ._unequal import per_neuron, time_constants
from ._wiring import RateLearning, Wiring, check_design


@jitted
def _lowest(wiring: Wiring, patterns: Patterns) -> Float[Array, ""]:
    return wiring.most_negative(patterns)


class DaleRateMemory(AbstractRateMemory):
    r"""A rate memory that obeys Dale's law: excitatory synapses and one inhibitory unit.

    $$\dot x = -x + \phi\Big(W_E x - c\, y + u\Big), \qquad \tau_I \dot y = -y + \langle x \rangle,
    \qquad W_E = W + \frac cN 1 1^T \ge 0,$$

    with the W of `RateMemory`. Equilibria are the same; $\tau_I \to 0$ is the same network. Slow
    inhibition can destabilise a memory (`hopfax.theory.rate` has the extended Jacobian), but not
    one whose neurons are saturated. arXiv:2411.07388 for W.

    **Arguments:** as in `RateMemory`, and

    - `tau_inhibition`: $\tau_I > 0$, in units of the neurons' time constant.
    - `inhibition`: $c \ge 0$; default the least for which all synapses of this design are
      excitatory, found once, in $O(N^2 P)$ operations, or $O(C^2 P)$ of C classes of neurons. It
      stays as it is where a sweep or a fit changes other parameters of the network; where it is
      too small for these, so that synapses would be inhibitory, a run is refused.

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    network = hx.DaleRateMemory(patterns, tau_inhibition=0.5)
    cue = network.init(weights=[0.8, 0.1, 0.1])
    hx.simulate(network, cue, jnp.array([0.0, 20.0])).overlaps[-1]  # 1, 0, 0
    ```
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, "*#N"]
    b: Float[Array, "*#N"]
    tau_inhibition: Float[Array, ""]
    inhibition: Float[Array, ""]
    tau_rates: Float[Array, "*#N"] | None
    learning: RateLearning = eqx.field(static=True)
    noise_in: NoiseIn = eqx.field(static=True)

    def __init__(
        self,
        patterns: Patterns,
        *,
        tau_inhibition: ArrayLike,
        inhibition: ArrayLike | None = None,
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
        self.tau_inhibition = number(tau_inhibition, "tau_inhibition", patterns)
        self.inhibition = self.tau_inhibition  # until the synapses are known
        if inhibition is None:
            inhibition = jnp.maximum(0.0, -self._lowest())
        self.inhibition = number(inhibition, "inhibition", patterns)
        finish(self)

    def init(
        self,
        *,
        rates: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        inhibition: ArrayLike | None = None,
    ) -> RateState:
        """As `RateMemory.init`; the inhibitory unit starts at `inhibition`, by default at rest."""
        rates = start(self, rates, weights)
        y = self.patterns.mean(rates) if inhibition is None else inhibition
        y = possible(number(y, "inhibition", self.patterns), "inhibition", "goes")
        return RateState(rates, None, y)

    def _lowest(self) -> Float[Array, ""]:
        r"""$N \min_{ij} W_{ij}$."""
        return _lowest(self.wiring(), self.merged().patterns)

    def uniform(self, mean, slow):
        r"""$c\,(\langle x \rangle - y)$: W holds the inhibition already, at rest."""
        return self.inhibition * (mean - slow)

    def slow_rate(self, overlaps, mean, slow):
        r"""$\dot y$."""
        return (mean - slow) / self.tau_inhibition

    def slow_part(self, state):
        """$y$."""
        if state.inhibition is None:
            raise ValueError(
                "`state0.inhibition` is missing; make the state with network.init(...)."
            )
        return state.inhibition

    def joined(self, rates, slow):
        """A state of rates and y."""
        return RateState(rates, None, slow)

    def domain(self):
        r"""$\tau_I > 0$, $c \ge 0$ and $W_E \ge 0$, the rest as in `RateMemory`."""
        yield from rate_bounds(self)
        yield Bound("tau_inhibition", self.tau_inhibition, 0.0, True)
        yield Bound("inhibition", self.inhibition, 0.0)
        lowest = self._lowest()
        rounding = 256 * jnp.finfo(lowest.dtype).eps * (abs(lowest) + abs(self.inhibition))
        hint = (
            "Some synapses would be inhibitory: the weights grow with `b` - `a`; give a larger "
            "`inhibition`, or none for the least."
        )
        label = "inhibition + N min W"
        yield Bound("inhibition", self.inhibition + lowest + rounding, 0.0, False, hint, label)
