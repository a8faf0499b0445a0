"""What every network has, and the family whose recurrent field has the rank of its patterns."""

import abc
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float

from .._activations import AbstractActivation, GaussianAverage
from .._errors import as_float, check_at_least, check_finite, check_option, check_shape
from .._types import ArrayLike, PerNeuron, PerPattern
from ..patterns import AbstractPatterns, Patterns

Learning: TypeAlias = Literal["hebbian", "pseudo_inverse"]
_Network = TypeVar("_Network", bound="AbstractHopfield")


class Bound(NamedTuple):
    """Domain of one parameter: finite and `>= lower` (`> lower` if `strict`)."""

    name: str
    value: Array
    lower: float = -np.inf
    strict: bool = False
    hint: str = ""


class Inputs(NamedTuple):
    """What reaches the neurons at one moment: `stimulus` sets saliency, `current` is added."""

    stimulus: PerNeuron | None = None
    current: PerNeuron | None = None


class FieldState(eqx.Module):
    r"""State of a Hopfield network.

    - `field`: $x$, one value a neuron.
    - `saliency`: $z$, one value a memory, where it is part of the dynamics; else None.
    - `weights`: $y$ with $x = \sum_\mu y_\mu \xi^\mu$ where the field is known to lie in the span
      of the patterns, else None. It says what `field` says, in P numbers, and exact reductions rely
      on it (and then ignore `field`): to change the field, make a new state with `network.init`.
    """

    field: PerNeuron
    saliency: PerPattern | None = None
    weights: PerPattern | None = None


class AbstractNetwork(eqx.Module):
    """Patterns, parameters and an equation of motion, for one network and one state.

    Batches are made with `jax.vmap`. Subclasses are final.
    """

    patterns: AbstractVar[AbstractPatterns]

    @abc.abstractmethod
    def overlaps(self, state: Any) -> PerPattern:
        r"""Overlaps $m_\mu$ of `state` with the memories."""

    @abc.abstractmethod
    def domain(self) -> Iterable[Bound]:
        """The domain of every parameter, checked before a run."""


class AbstractFlow(AbstractNetwork):
    """A network in continuous time."""

    @abc.abstractmethod
    def vector_field(self, t: Any, state: Any, inputs: Inputs | None = None) -> Any:
        r"""Time derivative of `state`, in units of the fast time constant $\tau_x = 1$."""


class AbstractMap(AbstractNetwork):
    """A network in discrete time."""

    @property
    @abc.abstractmethod
    def random(self) -> bool:
        """Whether a step draws random numbers."""

    @abc.abstractmethod
    def init(self, spins: ArrayLike) -> Any:
        """A start state."""

    @abc.abstractmethod
    def holds(self, state: Any) -> Bool[Array, ""]:
        """Whether `state` is a legal one, as an array (works under a trace)."""

    @abc.abstractmethod
    def step(
        self, state: Any, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> Any:
        """The state after one step."""


class AbstractHopfield(AbstractFlow):
    r"""The family with a leak and a recurrent field in the span of the patterns:

    $$\dot x = -x + \sum_\mu w_\mu(m, z)\, \xi^\mu + I(t), \qquad
    m = R\, \frac1N \Xi\, \psi(x).$$

    $R$ is the identity for Hebbian learning and $C^{-1}$, the inverse of the patterns' Gram matrix,
    for the pseudo-inverse rule (Personnaz, Guyon, Dreyfus 1985). All exact reductions rest on this
    shape.
    """

    patterns: AbstractVar[Patterns]
    activation: AbstractVar[AbstractActivation]
    learning: AbstractVar[Learning]
    keep_diagonal: AbstractVar[bool]

    @abc.abstractmethod
    def init(self, **start: Any) -> FieldState:
        """A start state, from named arrays that the subclass lists."""

    @abc.abstractmethod
    def saliency(
        self, slow: PerPattern | None, evidence: PerPattern | None
    ) -> Float[Array, " P"] | None:
        r"""Current saliency, from the state's `slow` part or the stimulus' overlaps `evidence`."""

    @abc.abstractmethod
    def recurrent(self, overlaps: PerPattern, saliency: PerPattern | None) -> PerPattern:
        """$w$, the weights of the recurrent field."""

    @abc.abstractmethod
    def slow_rate(self, overlaps: PerPattern, slow: PerPattern | None) -> PerPattern | None:
        """Time derivative of the state's slow part."""

    @abc.abstractmethod
    def residual(
        self,
        rates: PerNeuron,
        saliency: PerPattern | None,
        decoder: Float[Array, "P P"] | None,
    ) -> PerNeuron | None:
        """What the neurons feel of each other outside the patterns' span; None for nothing."""

    @abc.abstractmethod
    def energy(self, state: FieldState, inputs: Inputs | None = None) -> Float[Array, ""]:
        """The energy that the flow descends."""

    def decoder(self) -> Float[Array, "P P"] | None:
        """$R$; None for the identity."""
        if self.learning == "hebbian":
            return None
        return jnp.linalg.inv(self.patterns.gram())

    def read(self, rates: PerNeuron, decoder: Float[Array, "P P"] | None) -> PerPattern:
        """Overlaps of firing rates."""
        m = self.patterns.overlap(rates)
        return m if decoder is None else decoder @ m

    def overlaps(self, state: FieldState) -> PerPattern:
        r"""$m = R\, \Xi\, \psi(x) / N$, the overlaps that the slow equation reads."""
        return self.read(self.activation(state.field), self.decoder())

    def vector_field(self, t, state: FieldState, inputs: Inputs | None = None) -> FieldState:
        r"""$\dot x$, $\dot z$ and (where the state has them) $\dot y = w - y$.

        **Arguments:** `t` is not used, the networks are autonomous. `inputs`: the values now of
        stimulus and current, each of shape (N,) or None.
        """
        inputs = Inputs() if inputs is None else inputs
        decoder = self.decoder()
        rates = self.activation(state.field)
        m = self.read(rates, decoder)
        evidence = None if inputs.stimulus is None else self.patterns.overlap(inputs.stimulus)
        saliency = self.saliency(state.saliency, evidence)
        w = self.recurrent(m, saliency)
        field = self.patterns.field(w) - state.field
        if (rest := self.residual(rates, saliency, decoder)) is not None:
            field = field + rest
        if inputs.current is not None:
            field = field + inputs.current
        weights = None if state.weights is None else w - state.weights
        return FieldState(field, self.slow_rate(m, state.saliency), weights)

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
    """

    @abc.abstractmethod
    def coupling(self, saliency: PerPattern | None) -> Float[Array, "..."]:
        """$K$, of shape (P,) if diagonal, else (P, P)."""

    @abc.abstractmethod
    def offset(self) -> PerPattern | None:
        """$b$, the constant part of the weights; None for zero."""

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
        inputs = Inputs() if inputs is None else inputs
        evidence = None if inputs.stimulus is None else self.patterns.overlap(inputs.stimulus)
        saliency = self.saliency(state.saliency, evidence)
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
    """A `FieldState` from exactly one of `field`, `weights` or the network's `default` weights."""
    patterns, dtype = network.patterns, network.patterns.xi.dtype
    if field is not None and weights is not None:
        raise ValueError("give `field` (N,) or `weights` (P,), its coefficients, not both.")
    if field is not None:
        field = as_float(field, "field", dtype)
        check_shape(field, "field", (patterns.N,), "(N,)")
        check_finite(field, "field")
        return FieldState(field, saliency)
    if weights is None:
        if default is None:
            raise ValueError(
                f"{type(network).__name__}.init needs `field` (N,) or `weights` (P,), the "
                "coefficients of a start field in the span of the patterns."
            )
        weights = default
    weights = as_float(weights, "weights", dtype)
    check_shape(weights, "weights", (patterns.P,), "(P,)")
    check_finite(weights, "weights")
    kept = weights if network.keep_diagonal else None
    return FieldState(patterns.field(weights), saliency, kept)


def check_options(network: AbstractHopfield) -> None:
    """Structure that every network of the family shares."""
    check_option(network.learning, "learning", ("hebbian", "pseudo_inverse"))
    if not isinstance(network.patterns, Patterns):
        raise TypeError(
            f"`patterns` must be a hopfax Patterns, got {type(network.patterns).__name__}; "
            "wrap the array: Patterns(xi)."
        )
    if not isinstance(network.activation, AbstractActivation):
        raise TypeError(
            "`activation` must be a hopfax activation such as HardTanh(), got "
            f"{network.activation!r}."
        )


def parameter(value: ArrayLike, name: str, patterns: Patterns) -> Array:
    """A parameter in the dtype of the patterns: a scalar or one value a memory."""
    value = as_float(value, name, patterns.xi.dtype)
    if value.shape not in ((), (patterns.P,)):
        raise ValueError(
            f"`{name}` must be a scalar or have shape (P,) = ({patterns.P},), got {value.shape}."
        )
    return value


def activation_bounds(activation: AbstractActivation, where: str = "activation") -> Iterable[Bound]:
    """Domain of an activation's parameters, and of the one that it wraps."""
    for name in ("gain", "std"):
        if (value := getattr(activation, name, None)) is not None:
            yield Bound(f"{where}.{name}", value, 0.0, True)
    if (inner := getattr(activation, "activation", None)) is not None:
        yield from activation_bounds(inner, f"{where}.activation")


def check_domain(network: AbstractNetwork) -> None:
    """Raise ValueError naming the first concrete parameter outside its domain."""
    if isinstance(network.patterns, Patterns):
        check_finite(network.patterns.xi, "patterns.xi")
    for bound in network.domain():
        check_at_least(bound.value, bound.name, bound.lower, strict=bound.strict, hint=bound.hint)


def in_domain(network: AbstractNetwork) -> Bool[Array, ""]:
    """Whether every parameter is inside its domain, as an array (works under a trace)."""
    fine = jnp.asarray(True)
    if isinstance(network.patterns, Patterns):
        fine = jnp.isfinite(network.patterns.xi).all()
    for bound in network.domain():
        above = bound.value > bound.lower if bound.strict else bound.value >= bound.lower
        fine = fine & (jnp.isfinite(bound.value) & above).all()
    return fine
