"""Firing-rate memories: what the family shares."""

import abc
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, TypeVar

import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from ..._errors import (
    as_float,
    check_at_least,
    check_finite,
    check_option,
    check_shape,
    filled,
)
from ..._rate_activations import AbstractRateActivation, least_gap
from ..._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ...patterns import Patterns
from .._base import AbstractFlow, Bound, check_state, checked_inputs
from .._resting import name_by_rates
from .._states import Inputs, RateState
from ._checks import design_bounds
from ._forms import RateForms
from ._unequal import is_unequal, unequal_bounds
from ._wiring import RateLearning, Wiring, wire

NoiseIn: TypeAlias = Literal["rates", "currents"]
_Network = TypeVar("_Network", bound="AbstractRateMemory")


class AbstractRates(AbstractFlow):
    r"""Networks of firing rates whose currents are linear in overlaps, with saliencies if any:

    $$T \dot x = -x + \phi(I), \qquad I = \mathrm{currents}(s m + o) + g + u.$$

    A final class says by its `wiring` what the overlaps m are and which currents they send, and by
    the other methods what s, o and g are. `tau_rates`: $T$, a number or one for each neuron; None
    for 1. `noise_in`: whether private noise acts on the rates or in the currents.
    """

    patterns: AbstractVar[Patterns]
    activation: AbstractVar[AbstractRateActivation]
    tau_rates: AbstractVar[Float[Array, "*#N"] | None]
    noise_in: AbstractVar[NoiseIn]
    nonnegative = True

    @abc.abstractmethod
    def wiring(self) -> Wiring:
        """The synapses, in factors."""

    def saliency(self, slow: Any, evidence: PerPattern | None) -> PerPattern | None:
        """Current saliency s, from the state's slow part or a stimulus; None where all are 1."""
        return None

    def added(self, saliency: PerPattern | None) -> PerPattern | None:
        """$o$, linear in the saliencies; None for nothing."""
        return None

    def uniform(self, mean: Float[Array, ""], slow: Any) -> Float[Array, ""] | None:
        """$g$, a current that all neurons get, linear in both arguments; None for nothing."""
        return None

    def constant(self) -> PerNeuron | None:
        """Currents that neurons always get; None for nothing."""
        return None

    def slow_rate(self, overlaps: PerPattern, mean: Float[Array, ""], slow: Any) -> Any:
        """Time derivative of the state's slow part; None where nothing is slow."""
        return None

    def slow_part(self, state: RateState) -> Any:
        """What of a state has a time constant of its own; None for nothing."""
        return None

    def joined(self, rates: PerNeuron, slow: Any) -> RateState:
        """The state that has these parts."""
        return RateState(rates)

    def kinks(self) -> str | None:
        """Why, apart from the activation, the motion is not analytic between kinks of the
        activation; None if it is."""
        return None

    def overlaps(self, state: RateState) -> PerPattern:
        r"""$m = R\,\Xi x/N + \rho \langle x \rangle$, 1 at a memory and 0 at the others."""
        check_state(state, RateState, self)
        return self.wiring().overlaps(self.patterns, state.rates)

    def rates(self, state: RateState) -> PerNeuron:
        """$x$."""
        check_state(state, RateState, self)
        return state.rates

    def drive(self, overlaps: PerPattern, saliency: PerPattern | None) -> PerPattern:
        """$s m + o$."""
        drive = overlaps if saliency is None else saliency * overlaps
        return drive if (more := self.added(saliency)) is None else drive + more

    def targets(
        self,
        wiring: Wiring,
        rates: PerNeuron,
        slow: Any,
        saliency: PerPattern | None,
        current: PerNeuron | None,
    ) -> tuple[PerNeuron, Any]:
        r"""$\phi(I)$, which the rates relax to, and the derivative of the slow part."""
        m, mean = wiring.overlaps(self.patterns, rates), self.patterns.mean(rates)
        currents = self.currents(wiring, m, mean, slow, saliency, current)
        return self.activation(currents), self.slow_rate(m, mean, slow)

    def currents(
        self,
        wiring: Wiring,
        overlaps: PerPattern,
        mean: Float[Array, ""],
        slow: Any,
        saliency: PerPattern | None,
        current: PerNeuron | None,
    ) -> PerNeuron:
        """$I$."""
        currents = wiring.currents(self.patterns, self.drive(overlaps, saliency), mean)
        if (more := self.uniform(mean, slow)) is not None:
            currents = currents + more
        for more in (self.constant(), current):
            currents = currents if more is None else currents + more
        return currents

    def vector_field(self, t, state: RateState, inputs: Inputs | None = None) -> RateState:
        r"""$(-x + \phi(I)) / T$, and the derivative of the slow part.

        **Arguments:** `t` is not used, the networks are autonomous. `inputs`: the values now of
        stimulus and current u, each of shape (N,) or None.
        """
        check_state(state, RateState, self)
        inputs = checked_inputs(inputs)
        wiring, slow = self.wiring(), self.slow_part(state)
        saliency = self.saliency(slow, self._evidence(wiring, inputs))
        target, slow = self.targets(wiring, state.rates, slow, saliency, inputs.current)
        return self.joined(self.relaxing(target - state.rates), slow)

    def relaxing(self, gap: PerNeuron) -> PerNeuron:
        """The velocity of rates that are so far below where they relax to."""
        return gap if self.tau_rates is None else gap / self.tau_rates

    def _evidence(self, wiring: Wiring, inputs: Inputs) -> PerPattern | None:
        if inputs.stimulus is None:
            return None
        return wiring.evidence(self.patterns, inputs.stimulus)

    def saliencies(self, state: RateState, inputs: Inputs | None = None) -> PerPattern | None:
        """Saliency of every memory now, from the state and the stimulus."""
        check_state(state, RateState, self)
        evidence = self._evidence(self.wiring(), checked_inputs(inputs))
        return self.saliency(self.slow_part(state), evidence)

    def checked(self, state: RateState) -> RateState:
        """`state` in the patterns' dtype. **Raises:** TypeError/ValueError if it is none of this
        network's."""
        if not isinstance(state, RateState):
            raise TypeError(
                f"`state0` must come from network.init(...), got {type(state).__name__}."
            )
        patterns = self.patterns
        shapes = {
            "rates": ((patterns.N,), "(N,)"),
            "saliency": ((patterns.P,), "(P,)"),
            "inhibition": ((), "()"),
        }
        parts = {}
        for name, (shape, meaning) in shapes.items():
            value = getattr(state, name)
            if value is not None:
                value = as_float(value, f"state0.{name}", patterns.dtype)
                check_shape(value, f"state0.{name}", shape, meaning)
                check_finite(value, f"state0.{name}")
            parts[name] = value
        state = RateState(**parts)
        expected = self.joined(state.rates, self.slow_part(state))
        for name in ("saliency", "inhibition"):
            if (getattr(expected, name) is None) != (getattr(state, name) is None):
                raise ValueError(
                    f"`state0.{name}` is out of place in a {type(self).__name__}; make the state "
                    "with network.init(...)."
                )
        return state


class AbstractRateMemory(AbstractRates):
    r"""The family of firing-rate networks that store memories at rates:

    $$T_i \dot x_i = -x_i + \phi(I_i), \qquad I_i = \Delta \sum_\mu (s_\mu m_\mu + o_\mu)
    (\xi^\mu_i + c_\mu) + \gamma \langle x \rangle + g + u_i.$$

    The recurrent currents have rank P + 1 (see `RateMemory` for the design); subclasses say what
    saliency s memories have, what o is added to it, and which uniform current g there is besides.

    **Example:**

    ```python
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    network = hx.RateMemory(patterns)
    isinstance(network, hx.AbstractRateMemory)  # True
    network.overlaps(network.init(weights=[1.0, 0.0, 0.0]))  # 1, 0, 0
    ```
    """

    patterns: AbstractVar[Patterns]
    activation: AbstractVar[AbstractRateActivation]
    a: AbstractVar[Float[Array, "*#N"]]
    b: AbstractVar[Float[Array, "*#N"]]
    learning: AbstractVar[RateLearning]
    forms = RateForms()

    def wiring(self) -> Wiring:
        """The synapses, in factors."""
        return wire(self.patterns, self.activation, self.a, self.b, self.learning)

    def rescaled(self, weights: ArrayLike) -> PerNeuron:
        r"""Rates $\phi(a) + (\phi(b) - \phi(a)) \sum_\mu w_\mu \xi^\mu$: memory $\mu$ for the
        $\mu$-th unit vector."""
        weights = as_float(weights, "weights", self.patterns.dtype)
        weights = filled(weights, "weights", (self.patterns.P,), "(P,)")
        check_finite(weights, "weights")
        silent, active = self.activation(self.a), self.activation(self.b)
        return silent + (active - silent) * self.patterns.field(weights)

    def resting(self, state: RateState) -> str:
        """What a state of rest is called, by which neurons are active in it."""
        silent, active = (np.asarray(self.activation(v)) for v in (self.a, self.b))
        levels = (np.asarray(state.rates) - silent) / (active - silent)
        patterns = self.patterns
        counts = np.ones(patterns.N) if patterns.counts is None else np.asarray(patterns.counts)
        return name_by_rates(levels, np.asarray(patterns.xi), counts)

    def energy(self, state: RateState, inputs: Inputs | None = None) -> Float[Array, ""]:
        r"""The energy that the rates descend while all else stands still:

        $$E = -\tfrac12 x \cdot W x - u \cdot x + \sum_i \int_0^{x_i} \phi^{-1}(s)\, ds.$$

        $dE/dt = -\sum_i (I_i - \phi^{-1}(x_i))(\phi(I_i) - x_i) \le 0$ for symmetric W, so that
        nothing oscillates. Rates beyond the range of $\phi$ count as its ends. Cohen, Grossberg
        1983; for these networks Betteti et al. 2025, arXiv:2411.07388.

        **Raises:** ValueError where W need not be symmetric: pseudo-inverse learning, projection
        with saliencies, delayed inhibition.
        """
        check_state(state, RateState, self)
        inputs = checked_inputs(inputs)
        wiring, slow, x = self.wiring(), self.slow_part(state), state.rates
        saliency = self.saliency(slow, self._evidence(wiring, inputs))
        mean = self.patterns.mean(x)
        plain = self.learning == "covariance" or (
            self.learning == "projection" and saliency is None
        )
        if not plain or self.uniform(mean, slow) is not None:
            raise ValueError(
                f"{type(self).__name__} with learning={self.learning!r} has couplings that are not "
                "symmetric in general, or inhibition with a delay, and no energy of this form."
            )
        m, p = wiring.overlaps(self.patterns, x), self.patterns.overlap(x) + wiring.lift * mean
        constant = self.drive(jnp.zeros_like(m), saliency)  # o
        pull = (self.drive(m, saliency) + constant) / 2
        density = -wiring.step * (p * pull).sum() - wiring.background * mean**2 / 2
        density = density + self.patterns.mean(self.activation.potential(x))
        if inputs.current is not None:
            density = density - self.patterns.mean(inputs.current * x)
        return self.patterns.size * density

    def mean_field(self: _Network, noise: ArrayLike) -> _Network:
        r"""The noiseless network that this one becomes under private noise, $N \to \infty$: itself.

        Noise $\sigma\,dB$ on a rate reaches others only through averages over neurons, in which it
        vanishes as $1/\sqrt N$. (In a Hopfield network the field fluctuates *inside* $\psi$.)

        **Raises:** ValueError for noise in the currents, which shifts mean rates.
        """
        check_at_least(as_float(noise, "noise"), "noise", 0.0, strict=False)
        if self.noise_in == "currents":
            raise ValueError(
                "noise_in='currents': noise inside the activation shifts the mean rates, and no "
                "rate network without noise is known that has the same."
            )
        return self


def rate_bounds(network: AbstractRateMemory) -> Iterable[Bound]:
    """Domain of what all of the family have."""
    phi = network.activation
    yield from design_bounds(network.patterns, network.learning)
    yield Bound("a", network.a)
    yield Bound("activation.gain", phi.gain, 0.0, True)
    yield Bound("activation.threshold", phi.threshold)
    yield Bound("b", network.b)
    gap = phi(network.b) - phi(network.a)
    hint = "Currents `a` < `b` must lie where the activation differs."
    yield Bound("b", gap, least_gap(gap.dtype), True, hint, "phi(b) - phi(a)")
    yield from unequal_bounds(network)


def check_noise_in(noise_in: Any) -> None:
    """ValueError for anything that noise does not act on."""
    check_option(noise_in, "noise_in", ("rates", "currents"))


def number(value: ArrayLike, name: str, patterns: Patterns) -> Float[Array, ""]:
    """A scalar parameter in the dtype of the patterns."""
    value = as_float(value, name, patterns.dtype)
    check_shape(value, name, (), "()")
    return value


def start(network: AbstractRateMemory, rates: Any, weights: Any) -> PerNeuron:
    """Rates from exactly one of `rates` and `weights`."""
    if (rates is None) == (weights is None):
        raise ValueError(
            f"{type(network).__name__}.init needs `rates` (N,) or `weights` (P,), the unit vector "
            "mu for memory mu; give one of them."
        )
    if rates is None:
        return possible(network.rescaled(weights), "weights", "leads to rates")
    rates = as_float(rates, "rates", network.patterns.dtype)
    rates = filled(rates, "rates", (network.patterns.N,), "(N,)")
    check_finite(rates, "rates")
    return possible(rates, "rates", "has entries")


def design_told(network: AbstractRateMemory) -> dict[str, Any]:
    """What the theory of rate memories reads of a network without a slow variable.

    **Raises:** ValueError for neurons that differ, which it does not treat.
    """
    if is_unequal(network):
        raise ValueError(
            "`network`: the theory of rate memories is for neurons with one activation, one pair "
            "of currents a and b, and time constant 1, but these have some of their own. "
            "hopfax.dynamics.steady_state and spectrum are for any network."
        )
    own = dict(phi=network.activation, a=network.a, b=network.b, learning=network.learning)
    return network.patterns.for_theory() | own


#: How far below 0 a start may lie: a perturbation of a silent neuron.
_BELOW = 0.01


def possible(rates: Array, name: str, what: str) -> Array:
    """The rates of a start, which are not negative: ValueError where that is known, else NaN in
    their place, which makes the run invalid."""
    if is_concrete(rates):
        least = float(np.min(np.asarray(rates)))
        if least < -_BELOW:
            raise ValueError(
                f"`{name}` {what} down to {least:g}, but a firing rate is not negative (a "
                f"perturbation of {_BELOW:g} is let through)."
            )
        return rates
    return jnp.where(rates >= -_BELOW, rates, jnp.nan)
