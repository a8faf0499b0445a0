"""Networks whose recurrent field lies in the span of the patterns: Hopfield's, and dense flows."""

import abc
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from .._activations import AbstractActivation, GaussianAverage
from .._errors import (
    as_float,
    check_bool,
    check_finite,
    check_option,
    check_shape,
    filled,
    shown,
)
from .._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ..patterns import Patterns
from ._base import AbstractFlow, Bound, check_patterns, check_state, checked_inputs, warn_unsigned
from ._field_forms import Couplings, FieldForms
from ._pseudo_inverse import check_independent, independence, inverse_gram
from ._states import FieldState, Inputs

Learning: TypeAlias = Literal["hebbian", "pseudo_inverse"]
_Network = TypeVar("_Network", bound="AbstractHopfield")


class Relaxation(NamedTuple):
    """What the field relaxes to, and how what is slow changes."""

    weights: PerPattern  # w, of the field in the patterns
    residual: PerNeuron | None  # of the field outside their span; None for nothing
    slow: Any  # time derivative of the state's slow part


class AbstractHopfield(AbstractFlow):
    r"""The family with a leak and a recurrent field in the span of the patterns:

    $$\dot x = -x + \sum_\mu w_\mu(m, z)\, \xi^\mu + I(t), \qquad
    m = R\, \frac1N \Xi\, \psi(x).$$

    $R$ is the identity for Hebbian learning and $C^{-1}$, the inverse of the patterns' Gram matrix,
    for the pseudo-inverse rule (Personnaz, Guyon, Dreyfus 1985). All exact reductions rest on this
    shape.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.DenseFlow(patterns, hx.Power(3))
    isinstance(network, hx.AbstractHopfield)  # True: its field lies in the span of the patterns
    state = network.init(weights=[0.5, 0.1, 0.0, 0.0])
    network.vector_field(0.0, state).weights  # -0.25, -0.09, 0, 0
    ```
    """

    patterns: AbstractVar[Patterns]
    activation: AbstractVar[AbstractActivation]
    learning: AbstractVar[Learning]
    keep_diagonal: AbstractVar[bool]
    forms = FieldForms()

    @abc.abstractmethod
    def recurrent(self, overlaps: PerPattern, saliency: PerPattern | None) -> PerPattern:
        """$w$, the weights of the recurrent field."""

    def saliency(self, slow: Any, evidence: PerPattern | None) -> PerPattern | None:
        r"""Current saliency, from the state's `slow` part or the overlaps `evidence` of the
        stimulus; None where no memory is more salient than another."""
        return None

    def slow_rate(self, overlaps: PerPattern, slow: Any) -> Any:
        """Time derivative of the state's slow part; None where nothing is slow."""
        return None

    def slow_part(self, state: FieldState) -> Any:
        """What of a state has a time constant of its own; None for nothing."""
        return state.saliency

    def joined(self, field: PerNeuron, slow: Any, weights: PerPattern | None) -> FieldState:
        """The state that has these parts."""
        return FieldState(field, slow, weights)

    def delayed(self, slow: Any) -> PerPattern | None:
        """What the slow part adds to the weights by itself; None for nothing."""
        return None

    def residual(
        self,
        rates: PerNeuron,
        saliency: PerPattern | None,
        decoder: Float[Array, "P P"] | None,
    ) -> PerNeuron | None:
        """What the neurons feel of each other outside the patterns' span; None for nothing."""
        return None

    def couplings(self, saliency: PerPattern | None) -> Couplings | str:
        """What an exact integrator needs of the recurrent field, or why there is none."""
        return f"the law of {type(self).__name__} is not known to it"

    def relax(
        self,
        rates: PerNeuron,
        slow: Any,
        saliency: PerPattern | None,
        decoder: Float[Array, "P P"] | None,
    ) -> Relaxation:
        r"""The equation of motion, but for the leak and the inputs: $w(m, z)$, what lies outside
        the patterns' span, and $\dot z$.

        Vector field, reduced forms and layers all call this. `rates` are those of all neurons, or
        of classes where the network's patterns are classes.
        """
        m = self.read(rates, decoder)
        weights = self.recurrent(m, saliency)
        if (more := self.delayed(slow)) is not None:
            weights = weights + more
        return Relaxation(weights, self.residual(rates, saliency, decoder), self.slow_rate(m, slow))

    def decoder(self) -> Float[Array, "P P"] | None:
        """$R$; None for the identity. NaN for memories that are not linearly independent, which is
        found out here only if they are traced."""
        return None if self.learning == "hebbian" else inverse_gram(self.patterns)

    def read(self, rates: PerNeuron, decoder: Float[Array, "P P"] | None) -> PerPattern:
        """Overlaps of firing rates."""
        m = self.patterns.overlap(rates)
        return m if decoder is None else decoder @ m

    def overlaps(self, state: FieldState) -> PerPattern:
        r"""$m = R\, \Xi\, \psi(x) / N$, the overlaps that the slow equation reads."""
        check_state(state, FieldState, self)
        return self.read(self.activation(state.field), self.decoder())

    def vector_field(self, t, state: FieldState, inputs: Inputs | None = None) -> FieldState:
        r"""$\dot x$, $\dot z$ and (where the state has them) $\dot y = w - y$.

        **Arguments:** `t` is not used, the networks are autonomous. `inputs`: the values now of
        stimulus and current, each of shape (N,) or None.
        """
        check_state(state, FieldState, self)
        inputs = checked_inputs(inputs)
        rates = self.activation(state.field)
        saliency = self.saliencies(state, inputs)
        pull = self.relax(rates, self.slow_part(state), saliency, self.decoder())
        field = self.patterns.field(pull.weights) - state.field
        for part in (pull.residual, inputs.current):
            field = field if part is None else field + part
        weights = None if state.weights is None else pull.weights - state.weights
        return self.joined(field, pull.slow, weights)

    def saliencies(self, state: FieldState, inputs: Inputs | None = None) -> PerPattern | None:
        """Saliency of every memory now, from the state and the stimulus."""
        check_state(state, FieldState, self)
        slow = self.slow_part(state)
        if slow is None and self.slow_constant() is not None:
            raise ValueError("`state` lacks its saliency; make it with network.init(...).")
        stimulus = checked_inputs(inputs).stimulus
        evidence = None if stimulus is None else self.patterns.overlap(stimulus)
        return self.saliency(slow, evidence)

    def rates(self, state: FieldState) -> PerNeuron:
        r"""$\psi(x)$."""
        check_state(state, FieldState, self)
        return self.activation(state.field)

    def checked(self, state: FieldState) -> FieldState:
        """`state` in the patterns' dtype. **Raises:** TypeError/ValueError if it is none of this
        network's."""
        return checked_state(self, state)

    def mean_field(self: _Network, noise: ArrayLike) -> _Network:
        r"""The noiseless network that this one becomes under private noise, $N \to \infty$.

        For SDE strength $\sigma$ = `noise` each field fluctuates with stationary standard deviation
        $\sigma/\sqrt2$, and averaging over neurons turns $\psi$ into its Gaussian average: exact
        for fixed P, once the fluctuations are stationary.
        """
        noise = as_float(noise, "noise", self.patterns.xi.dtype)
        averaged = GaussianAverage(self.activation, noise / 2**0.5)
        return eqx.tree_at(lambda network: network.activation, self, averaged)


class AbstractQuadraticHopfield(AbstractHopfield):
    r"""Couplings that do not depend on the state: $w = K(z)\, m + b$, a quadratic energy.

    $K$ is diagonal (given as a vector) or a matrix. `keep_diagonal=False` removes the
    self-couplings $W_{ii}$, adding $-W_{ii} \psi(x_i)$, which takes the field out of the span.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    isinstance(network, hx.AbstractQuadraticHopfield)  # True: its couplings are constant
    network.coupling(None)  # 1, 1, 1, 1
    ```
    """

    @abc.abstractmethod
    def coupling(self, saliency: PerPattern | None) -> Float[Array, "..."]:
        """$K$, of shape (P,) if diagonal, else (P, P)."""

    def offset(self) -> PerPattern | None:
        """$b$, the constant part of the weights; None for zero."""
        return None

    def couplings(self, saliency: PerPattern | None) -> Couplings | str:
        """$K$ and $b$, of a network without a slow equation."""
        return Couplings(self.coupling(saliency), self.offset())

    def recurrent(self, overlaps: PerPattern, saliency: PerPattern | None) -> PerPattern:
        """$w$, the weights of the recurrent field."""
        K, b = self.coupling(saliency), self.offset()
        w = K * overlaps if K.ndim == 1 else K @ overlaps
        return w if b is None else w + b

    def self_coupling(
        self, saliency: PerPattern | None, decoder: Float[Array, "P P"] | None
    ) -> PerNeuron:
        """$W_{ii}$ of every neuron."""
        xi, K = self.patterns.xi, self.coupling(saliency)
        dual = xi if decoder is None else decoder @ xi
        driven = K[:, None] * dual if K.ndim == 1 else K @ dual
        return (xi * driven).sum(0) / self.patterns.size

    def residual(self, rates, saliency, decoder):
        r"""$-W_{ii} \psi(x_i)$ without the diagonal."""
        return None if self.keep_diagonal else -self.self_coupling(saliency, decoder) * rates

    def energy(self, state: FieldState, inputs: Inputs | None = None) -> Float[Array, ""]:
        r"""The energy that the fast flow descends while saliency stands still:

        $$E = \sum_i \int_0^{\psi(x_i)} \psi^{-1}(s)\, ds - \frac N2\, m \cdot K m - N\, b \cdot m
        - I \cdot \psi(x),$$

        plus $\frac12 \sum_i W_{ii} \psi(x_i)^2$ without the diagonal. $dE/dt = -\sum_i \psi'(x_i)
        \dot x_i^2 \le 0$. Additive noise does *not* sample $e^{-E/T}$, because the flow is not a
        plain gradient. Hopfield, PNAS 81 (1984); for saliency, Betteti et al., arXiv:2411.05849.

        **Raises:** ValueError where the coupling matrix need not be symmetric: a matrix $K$, or
        pseudo-inverse learning with unequal saliencies (there is no such energy).
        """
        check_state(state, FieldState, self)
        inputs = checked_inputs(inputs)
        saliency = self.saliencies(state, inputs)
        K = self.coupling(saliency)
        if K.ndim != 1 or (self.learning == "pseudo_inverse" and saliency is not None):
            raise ValueError(
                f"{type(self).__name__} with learning={self.learning!r} has couplings that are not "
                "symmetric in general, so it has no energy of the quadratic form."
            )
        rates = self.activation(state.field)
        raw = self.patterns.overlap(rates)
        m = self.read(rates, self.decoder())
        density = (
            self.patterns.mean(self.activation.potential(state.field)) - (raw * K * m).sum() / 2
        )
        if (b := self.offset()) is not None:
            density = density - (b * raw).sum()
        if inputs.current is not None:
            density = density - self.patterns.mean(inputs.current * rates)
        if not self.keep_diagonal:
            own = self.self_coupling(saliency, self.decoder())
            density = density + self.patterns.mean(own * rates**2) / 2
        return self.patterns.size * density


def start(network: AbstractHopfield, field, weights, default, saliency=None) -> FieldState:
    """A `FieldState` from exactly one of `field`, `weights` or the network's `default` weights;
    one number stands for equal entries."""
    patterns, dtype = network.patterns, network.patterns.xi.dtype
    if field is not None and weights is not None:
        raise ValueError("give `field` (N,) or `weights` (P,), its coefficients, not both.")
    if field is not None:
        field = filled(as_float(field, "field", dtype), "field", (patterns.N,), "(N,)")
        check_finite(field, "field")
        return FieldState(field, saliency)
    if weights is None:
        if default is None:
            raise ValueError(
                f"{type(network).__name__}.init needs `field` (N,) or `weights` (P,), the "
                "coefficients of a start field in the span of the patterns."
            )
        weights = default
    weights = filled(as_float(weights, "weights", dtype), "weights", (patterns.P,), "(P,)")
    check_finite(weights, "weights")
    kept = weights if network.keep_diagonal else None
    return FieldState(patterns.field(weights), saliency, kept)


def checked_state(network: AbstractHopfield, state: Any) -> FieldState:
    """The arrays of a state in the patterns' dtype, of the right shapes and consistent."""
    if not isinstance(state, FieldState):
        raise TypeError(f"`state0` must come from network.init(...), got {type(state).__name__}.")
    dtype = network.patterns.xi.dtype
    P, N = network.patterns.xi.shape
    field = as_float(state.field, "state0.field", dtype)
    check_shape(field, "state0.field", (N,), "(N,)")
    check_finite(field, "state0.field")
    saliency, weights, trace = state.saliency, state.weights, state.trace
    if network.slow_part(state) is None and network.slow_constant() is not None:
        raise ValueError("`state0.saliency` is missing; make the state with network.init(...).")
    if trace is not None:
        trace = as_float(trace, "state0.trace", dtype)
        check_finite(trace, "state0.trace")
    if saliency is not None:
        saliency = as_float(saliency, "state0.saliency", dtype)
        check_shape(saliency, "state0.saliency", (P,), "(P,)")
        check_finite(saliency, "state0.saliency")
    if weights is not None:
        weights = as_float(weights, "state0.weights", dtype)
        check_shape(weights, "state0.weights", (P,), "(P,)")
        check_finite(weights, "state0.weights")
        spanned = network.patterns.field(weights)
        if is_concrete(field) and is_concrete(spanned):
            gap = np.max(np.abs(np.asarray(field) - np.asarray(spanned)))
            if gap > 1e-3 * (1 + np.max(np.abs(np.asarray(field)))):
                raise ValueError(
                    "`state0.field` and `state0.weights` disagree (field = sum_mu weights_mu "
                    "xi^mu); make the state with network.init(field=...) instead of editing it."
                )
    return FieldState(field, saliency, weights, trace)


def check_options(network: AbstractHopfield, signed: bool = True) -> None:
    """Structure that every network of the family shares. `signed`: its memories should have entries
    of both signs."""
    check_option(network.learning, "learning", ("hebbian", "pseudo_inverse"))
    check_patterns(network.patterns)
    if (keep := getattr(network, "keep_diagonal", None)) is not None:
        check_bool(keep, "keep_diagonal")
    if not isinstance(network.activation, AbstractActivation):
        raise TypeError(
            "`activation` must be a hopfax activation such as HardTanh(), got "
            f"{shown(network.activation)}."
        )
    if network.learning == "pseudo_inverse":
        check_independent(network.patterns)
    if signed:
        warn_unsigned(network.patterns)


def shared_bounds(network: AbstractHopfield) -> Iterable[Bound]:
    """Domain of what every network of the family has: an activation, and memories that its rule can
    store."""
    yield from activation_bounds(network.activation)
    if network.learning == "pseudo_inverse":
        yield from independence(network.patterns)


def activation_bounds(activation: AbstractActivation, where: str = "activation") -> Iterable[Bound]:
    """Domain of an activation's parameters, and of the one that it wraps."""
    for name in ("gain", "std"):
        if (value := getattr(activation, name, None)) is not None:
            yield Bound(f"{where}.{name}", value, 0.0, True)
    if (inner := getattr(activation, "activation", None)) is not None:
        yield from activation_bounds(inner, f"{where}.activation")
