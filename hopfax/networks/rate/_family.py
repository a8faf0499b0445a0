"""Firing-rate memories: the family, and its members without a slow variable."""

import abc
from collections.abc import Iterable
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar, AbstractVar
from jaxtyping import Array, Float

from .._errors import as_float, check_at_least, check_finite, check_shape
from .._rate_activations import AbstractRateActivation, Logistic
from .._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ..patterns import Patterns
from . import _rate_reduction
from ._base import (
    AbstractFlow,
    Bound,
    Inputs,
    Reduction,
    check_domain,
    without_stimulus,
)
from ._states import RateState
from ._wiring import RateLearning, Wiring, check_design, wire

_Network = TypeVar("_Network", bound="AbstractRateMemory")


class AbstractRateMemory(AbstractFlow):
    r"""The family of firing-rate networks that store memories at rates:

    $$\dot x = -x + \phi(I), \qquad I_i = \Delta \sum_\mu (s_\mu m_\mu + o_\mu)(\xi^\mu_i + c_\mu) +
    \gamma \langle x \rangle + g + u_i.$$

    The recurrent currents have rank P + 1 (see `RateMemory` for the design); subclasses say what
    saliency s memories have, what o is added to it, and which uniform current g there is besides.
    """

    patterns: AbstractVar[Patterns]
    activation: AbstractVar[AbstractRateActivation]
    a: AbstractVar[Float[Array, ""]]
    b: AbstractVar[Float[Array, ""]]
    learning: AbstractVar[RateLearning]
    stimulated: AbstractClassVar[str]

    @abc.abstractmethod
    def saliency(self, slow: Any, evidence: PerPattern | None) -> PerPattern | None:
        """Current saliency, from the state's slow part or a stimulus; None for all ones."""

    @abc.abstractmethod
    def added(self, saliency: PerPattern | None) -> PerPattern | None:
        """$o$, linear in the saliencies; None for nothing."""

    @abc.abstractmethod
    def uniform(self, mean: Float[Array, ""], slow: Any) -> Float[Array, ""] | None:
        """$g$, a current that all neurons get; None for nothing."""

    @abc.abstractmethod
    def slow_rate(self, overlaps: PerPattern, mean: Float[Array, ""], slow: Any) -> Any:
        """Time derivative of the state's slow part."""

    @abc.abstractmethod
    def slow_part(self, state: RateState) -> Any:
        """What of a state has a time constant of its own; None for nothing."""

    @abc.abstractmethod
    def joined(self, rates: PerNeuron, slow: Any) -> RateState:
        """The state of these parts."""

    def wiring(self) -> Wiring:
        """The synapses, in factors."""
        return wire(self.patterns, self.activation, self.a, self.b, self.learning)

    def rescaled(self, weights: ArrayLike) -> PerNeuron:
        r"""Rates $\phi(a) + (\phi(b) - \phi(a)) \sum_\mu w_\mu \xi^\mu$: memory $\mu$ for the
        $\mu$-th unit vector."""
        weights = as_float(weights, "weights", self.patterns.dtype)
        check_shape(weights, "weights", (self.patterns.P,), "(P,)")
        check_finite(weights, "weights")
        silent, active = self.activation(self.a), self.activation(self.b)
        return silent + (active - silent) * self.patterns.field(weights)

    def overlaps(self, state: RateState) -> PerPattern:
        r"""$m = R\,\Xi x/N + \rho \langle x \rangle$, 1 at a memory and 0 at the others."""
        return self.wiring().overlaps(self.patterns, state.rates)

    def rates(self, state: RateState) -> PerNeuron:
        """$x$."""
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
        currents = wiring.currents(self.patterns, self.drive(m, saliency), mean)
        if (more := self.uniform(mean, slow)) is not None:
            currents = currents + more
        if current is not None:
            currents = currents + current
        return self.activation(currents), self.slow_rate(m, mean, slow)

    def vector_field(self, t, state: RateState, inputs: Inputs | None = None) -> RateState:
        r"""$-x + \phi(I)$, and the derivative of the slow part.

        **Arguments:** `t` is not used, the networks are autonomous. `inputs`: the values now of
        stimulus and current u, each of shape (N,) or None.
        """
        inputs = Inputs() if inputs is None else inputs
        wiring, slow = self.wiring(), self.slow_part(state)
        saliency = self.saliency(slow, self._evidence(wiring, inputs))
        target, slow = self.targets(wiring, state.rates, slow, saliency, inputs.current)
        return self.joined(target - state.rates, slow)

    def _evidence(self, wiring: Wiring, inputs: Inputs) -> PerPattern | None:
        if inputs.stimulus is None:
            return None
        return wiring.evidence(self.patterns, inputs.stimulus)

    def energy(self, state: RateState, inputs: Inputs | None = None) -> Float[Array, ""]:
        r"""The energy that the rates descend while all else stands still:

        $$E = -\tfrac12 x \cdot W x - u \cdot x + \sum_i \int_0^{x_i} \phi^{-1}(s)\, ds.$$

        $dE/dt = -\sum_i (I_i - \phi^{-1}(x_i))(\phi(I_i) - x_i) \le 0$ for symmetric W, so that
        nothing oscillates. Rates beyond the range of $\phi$ count as its ends. Cohen, Grossberg
        1983; for these networks Betteti et al. 2025, arXiv:2411.07388.

        **Raises:** ValueError where W need not be symmetric: pseudo-inverse learning, projection
        with saliencies, delayed inhibition.
        """
        inputs = Inputs() if inputs is None else inputs
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

    def smallest(self, state: RateState | None, current: Any, noise: Any) -> Reduction:
        """Classes of equal neurons, where inputs allow it and it pays."""
        return _rate_reduction.smallest(self, current, noise)

    def inexact(self, wanted: Reduction, state: RateState, current, noise) -> str | None:
        """Why a form is not exact here; None if it is."""
        return _rate_reduction.inexact(wanted, self, current, noise)

    def reduced(self, state, t0, stimulus, current, noisy, reduction):
        """The system of a run in this form, and its start."""
        return _rate_reduction.reduced(self, state, t0, stimulus, current, noisy, reduction)

    def merged(self: _Network) -> _Network:
        """The network with classes of equal neurons in place of neurons, where these are known and
        make it smaller. It is the same for starts in `weights`, and without private inputs or
        noise."""
        patterns = self.patterns
        if patterns.counts is not None or not is_concrete(patterns.xi) or patterns.P >= 64:
            return self
        classes = patterns.column_classes().patterns
        smaller = 2 * classes.N <= patterns.N
        return eqx.tree_at(lambda n: n.patterns, self, classes) if smaller else self

    def mean_field(self: _Network, noise: ArrayLike) -> _Network:
        r"""The noiseless network that this one becomes under private noise, $N \to \infty$: itself.

        Noise $\sigma\,dB$ on a rate reaches others only through averages over neurons, in which it
        vanishes as $1/\sqrt N$. (In a Hopfield network the field fluctuates *inside* $\psi$.)
        """
        check_at_least(as_float(noise, "noise"), "noise", 0.0, strict=False)
        return self


def rate_bounds(network: AbstractRateMemory) -> Iterable[Bound]:
    """Domain of what all of the family have."""
    phi = network.activation
    yield Bound("a", network.a)
    yield Bound("activation.gain", phi.gain, 0.0, True)
    yield Bound("activation.threshold", phi.threshold)
    yield Bound("b", network.b)
    gap = phi(network.b) - phi(network.a)
    hint = "Currents a < b must lie where the activation differs."
    yield Bound("b", gap, 0.0, True, hint, "phi(b) - phi(a)")


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
        return network.rescaled(weights)
    rates = as_float(rates, "rates", network.patterns.dtype)
    check_shape(rates, "rates", (network.patterns.N,), "(N,)")
    check_finite(rates, "rates")
    return rates


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
    Rates stay positive, and in [0, 1] if $\phi$ does, without noise. The $N \times N$ matrix is
    never built. Time is in units of the neurons' time constant.
    Betteti, Baggio, Bullo, Zampieri 2025, Neural Computation 37(10), arXiv:2411.07388.

    **Arguments:**

    - `patterns`: the memories, entries 0 and 1 (`hopfax.patterns.balanced`, `sparse`, `active`).
    - `a`, `b`: currents of silent and active neurons.
    - `activation`: $\phi$, e.g. `Logistic(gain, threshold)`, the default with 4.8 and 0.2.
    - `learning`: the design, "projection", "covariance" or "pseudo_inverse".

    **Raises:** ValueError/TypeError naming the argument.
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, ""]
    b: Float[Array, ""]
    learning: RateLearning = eqx.field(static=True)
    stimulated = "never"

    def __init__(
        self,
        patterns: Patterns,
        *,
        a: ArrayLike = -0.3,
        b: ArrayLike = 0.95,
        activation: AbstractRateActivation | None = None,
        learning: RateLearning = "projection",
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        self.patterns, self.learning = patterns, learning
        self.a, self.b = number(a, "a", patterns), number(b, "b", patterns)
        check_domain(self)

    def init(
        self, *, rates: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> RateState:
        r"""The state with these `rates` (N,), or with those of `rescaled(weights)` (P,): memory
        $\mu$ for the $\mu$-th unit vector, the quiescent background for zeros."""
        return RateState(start(self, rates, weights))

    def saliency(self, slow, evidence):
        """None: no memory is more salient than another."""
        return None

    def added(self, saliency):
        """None."""
        return None

    def uniform(self, mean, slow):
        """None."""
        return None

    def slow_rate(self, overlaps, mean, slow):
        """None: nothing is slow."""
        return None

    def slow_part(self, state):
        """None."""
        return None

    def joined(self, rates, slow):
        """A state of rates."""
        return RateState(rates)

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
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, ""]
    b: Float[Array, ""]
    learning: RateLearning = eqx.field(static=True)
    stimulated = "required"

    def __init__(
        self,
        patterns: Patterns,
        *,
        a: ArrayLike = -0.3,
        b: ArrayLike = 0.95,
        activation: AbstractRateActivation | None = None,
        learning: RateLearning = "projection",
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        self.patterns, self.learning = patterns, learning
        self.a, self.b = number(a, "a", patterns), number(b, "b", patterns)
        check_domain(self)

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

    def added(self, saliency):
        """None."""
        return None

    def uniform(self, mean, slow):
        """None."""
        return None

    def slow_rate(self, overlaps, mean, slow):
        """None: saliency follows the stimulus at once."""
        return None

    def slow_part(self, state):
        """None."""
        return None

    def joined(self, rates, slow):
        """A state of rates."""
        return RateState(rates)

    def domain(self):
        r"""$\rho > 0$, $\phi(b) > \phi(a)$, the rest finite."""
        yield from rate_bounds(self)


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
      stays as it is where a sweep or a fit changes other parameters of the network.
    """

    patterns: Patterns
    activation: AbstractRateActivation
    a: Float[Array, ""]
    b: Float[Array, ""]
    tau_inhibition: Float[Array, ""]
    inhibition: Float[Array, ""]
    learning: RateLearning = eqx.field(static=True)
    stimulated = "never"

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
    ):
        self.activation = Logistic() if activation is None else activation
        check_design(patterns, self.activation, learning)
        self.patterns, self.learning = patterns, learning
        self.a, self.b = number(a, "a", patterns), number(b, "b", patterns)
        self.tau_inhibition = number(tau_inhibition, "tau_inhibition", patterns)
        self.inhibition = self.a  # until the synapses are known
        if inhibition is None:
            inhibition = jnp.maximum(0.0, -self.wiring().most_negative(self.merged().patterns))
        self.inhibition = number(inhibition, "inhibition", patterns)
        check_domain(self)

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
        return RateState(rates, None, number(y, "inhibition", self.patterns))

    def saliency(self, slow, evidence):
        """None: no memory is more salient than another."""
        return None

    def added(self, saliency):
        """None."""
        return None

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
        r"""$\tau_I > 0$, $c \ge 0$, the rest as in `RateMemory`."""
        yield from rate_bounds(self)
        yield Bound("tau_inhibition", self.tau_inhibition, 0.0, True)
        yield Bound("inhibition", self.inhibition, 0.0)
