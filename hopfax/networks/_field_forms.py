r"""Exact reductions: which ordinary differential equation a run really integrates.

With the diagonal kept, $x(t) = \sum_\mu y_\mu(t) \xi^\mu + r(t)$ with $\dot y = -y + w$ and a known
$r(t)$, so the state is $(y, z) \in R^{2P}$ whatever N ("span"; private noise adds an
Ornstein-Uhlenbeck process to $r$, which is sampled exactly). If besides $r = 0$, neurons with
equal patterns stay equal and weighted classes replace them ("classes"). Otherwise all neurons are
integrated ("sites").
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._activations import HardTanh
from .._inputs import Pulses
from .._types import Input, Network, PerPattern, is_concrete
from ..patterns import ENUMERATED, Patterns
from ._forms import (
    AbstractForms,
    AbstractLaw,
    AbstractSystem,
    Core,
    HardTanhCells,
    Reduction,
    value_at,
)
from ._slow import Readout
from ._states import FieldState


class SlowLaw(NamedTuple):
    r"""The slow equation $\dot z = \mathrm{rate}\,(\mathrm{drive}\, f(m) - z)$."""

    drive: Float[Array, "P P"]
    rate: Float[Array, "*#P"]
    readout: Readout


class SynapseLaw(NamedTuple):
    r"""Synapses with memory: $w$ has a part $F y$ too, and $\dot y = \mathrm{rate}\,(m - y)$."""

    feed: Float[Array, "P P"]
    rate: Float[Array, "1"]


class Couplings(NamedTuple):
    """Couplings that do not depend on the neurons: $w = K m + b$, and what changes or joins it."""

    matrix: Float[Array, "..."]  # K now, (P,) if diagonal
    offset: PerPattern | None  # b
    slow: SlowLaw | None = None  # where K is diagonal and has dynamics of its own
    synapse: SynapseLaw | None = None  # where K stands still, and older overlaps act as well


class HardTanhLaw(AbstractLaw):
    """A run of a network with hard tanh whose field stays in the span of the patterns and of its
    currents: between the times at which neurons saturate, a polynomial equation."""

    couplings: Couplings
    gain: Float[Array, ""]


class HopfieldSystem(AbstractSystem):
    """A run of an `AbstractHopfield`: `main` is y (P,) in the span form, which carries private
    noise along, else x (N,)."""

    network: Network  # its patterns are classes where those are used
    patterns: Patterns  # the full ones
    decoder: Float[Array, "P P"] | None
    stimulus: Input  # its overlaps if it is constant
    current: Input
    rest: Float[Array, " N"] | None  # r(t0), the start's part outside the span
    t0: Float[Array, ""]
    span: bool = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)

    @property
    def sites(self) -> Patterns | None:
        """Those of the neurons or classes; None in the span."""
        return None if self.span else self.network.patterns

    @property
    def small(self) -> bool:
        """Whether the span form is integrated, without noise."""
        return self.span and not self.noisy

    def outside(self, t) -> Float[Array, " N"] | None:
        """$r(t)$: the decaying part of the start and what currents have added since."""
        if self.rest is None and self.current is None:
            return None
        zero = jnp.zeros(self.patterns.N, self.patterns.xi.dtype)
        start = zero if self.rest is None else self.rest * jnp.exp(self.t0 - t)
        if self.current is None:
            return start
        if not isinstance(self.current, diffrax.AbstractPath):
            return start - self.current * jnp.expm1(self.t0 - t)
        assert isinstance(self.current, Pulses)  # other paths are integrated on all neurons
        # A pulse from a to b adds its value times the integral of exp(s - t) from a to b.
        inner = jnp.clip(self.current.edges[1:-1], self.t0, t)
        edges = jnp.concatenate([self.t0[None], inner, t[None]])
        return start + jnp.diff(jnp.exp(edges - t)) @ self.current.values

    def field(self, t, core: Core, patterns: Patterns) -> Float[Array, "..."]:
        """The field on the neurons (or classes) of `patterns`."""
        if not self.span:
            return core.main
        field = patterns.field(core.main)
        for part in (self.outside(t), core.noise):
            field = field if part is None else field + part
        return field

    def settled(self, core: Core) -> tuple[AbstractSystem, Core]:
        """Without the start's part outside the span, which decays, and with all that a constant
        current adds. What the field relaxes to takes the place of a start outside the span."""
        if not self.span or (self.rest is None and self.current is None):
            return self, core
        if self.rest is not None:
            main = self.derivative(self.t0, core).main + core.main
            core = Core(main, core.slow, core.noise)
        system = eqx.tree_at(lambda s: s.rest, self, None, is_leaf=lambda leaf: leaf is None)
        return eqx.tree_at(lambda s: s.t0, system, jnp.full_like(self.t0, -jnp.inf)), core

    def saliency(self, t, core: Core) -> PerPattern | None:
        """Saliency now: part of the state, or read from the stimulus."""
        return self.network.saliency(core.slow, self.evidence(t))

    def evidence(self, t) -> PerPattern | None:
        """Overlaps of the stimulus (already projected if it is constant)."""
        if isinstance(self.stimulus, diffrax.AbstractPath):
            return self.patterns.overlap(self.stimulus.evaluate(t, left=False))
        return self.stimulus

    def overlaps(self, t, core: Core) -> PerPattern:
        """Overlaps of the reduced state; equal to those of the full network."""
        rates = self.network.activation(self.field(t, core, self.network.patterns))
        return self.network.read(rates, self.decoder)

    def derivative(self, t, core: Core, args: Any = None) -> Core:
        """Right-hand side, in the form diffrax wants."""
        network = self.network
        rates = network.activation(self.field(t, core, network.patterns))
        pull = network.relax(rates, core.slow, self.saliency(t, core), self.decoder)
        if self.span:
            noise = None if core.noise is None else -core.noise
            return Core(pull.weights - core.main, pull.slow, noise)
        main = network.patterns.field(pull.weights) - core.main
        for part in (pull.residual, value_at(self.current, t)):
            main = main if part is None else main + part
        return Core(main, pull.slow)

    def law(self, core: Core) -> HardTanhLaw | str:
        """The couplings, if everything that moves is known between saturations."""
        network = self.network
        for name, value in (("stimulus", self.stimulus), ("current", self.current)):
            if isinstance(value, diffrax.AbstractPath) and not isinstance(value, Pulses):
                return f"`{name}` changes in time other than by hopfax.Pulses"
        couplings = network.couplings(self.saliency(self.t0, core))
        if isinstance(couplings, str):
            return couplings
        if not isinstance(network.activation, HardTanh):
            return f"{type(network.activation).__name__} is not piecewise linear"
        if not network.keep_diagonal:
            return "`keep_diagonal=False` takes the field out of the patterns' span"
        if core.slow is not None and couplings.slow is None and couplings.synapse is None:
            return f"the slow equation of {type(network).__name__} is not known to it"
        if core.slow is not None and self.stimulus is not None:
            return "a `stimulus` beside the slow saliency is not known to it"
        dtype, gain = network.patterns.xi.dtype, network.activation.gain
        gain = jnp.ones((), dtype) if gain is None else gain.astype(dtype)
        return HardTanhLaw(couplings, gain)

    def cells(self, core: Core) -> HardTanhCells | None:
        """The equation of constant couplings in the span, without a slow equation."""
        law = self.law(core)
        if isinstance(law, str) or core.slow is not None or not self.span:
            return None
        matrix, offset = law.couplings.matrix, law.couplings.offset
        matrix = jnp.diag(matrix) if matrix.ndim == 1 else matrix
        network, none = self.network, jnp.zeros_like(core.main)
        sites = network.patterns
        read = jax.jacfwd(lambda rates: network.read(rates, self.decoder))
        return HardTanhCells(
            into=sites.xi.T,
            base=self.field(jnp.zeros_like(self.t0), Core(none, None), sites),
            back=matrix @ read(jnp.zeros(sites.N, none.dtype)),
            offset=none if offset is None else offset,
            gain=law.gain,
        )

    def kinks(self) -> str | None:
        """A hard tanh, or a readout with a kink at 0."""
        if isinstance(self.network.activation, HardTanh):
            return "HardTanh"
        couplings = self.network.couplings(jnp.zeros(self.patterns.P, self.patterns.xi.dtype))
        slow = None if isinstance(couplings, str) else couplings.slow
        readout = None if slow is None else slow.readout
        return f"readout={readout!r}" if readout in ("abs", "relu") else None

    def state(self, t, core: Core) -> FieldState:
        """The full state that the user sees."""
        outside = (self.rest, self.current, core.noise)
        inside = self.span and all(part is None for part in outside)
        weights = core.main if inside else None
        return self.network.joined(self.field(t, core, self.patterns), core.slow, weights)


def has_classes(patterns: Patterns) -> bool:
    """Whether site classes can be found here and are worth it."""
    if patterns.counts is not None:
        return False
    if patterns.binary and patterns.P <= ENUMERATED:
        return 2 ** (patterns.P - 1) <= patterns.N
    return is_concrete(patterns.xi) and patterns.P < 64 and patterns.N > 2 * patterns.P


class FieldForms(AbstractForms):
    """All neurons, the span of the patterns, or classes of neurons with equal patterns."""

    def smallest(self, network, state: FieldState, current: Input, noise: Any) -> Reduction:
        """The smallest exact form of a run; decided by structure alone where P <= 7."""
        moving = isinstance(current, diffrax.AbstractPath) and not isinstance(current, Pulses)
        if not network.keep_diagonal or moving:
            return "sites"
        inside = state.weights is not None and current is None and noise is None
        if not inside or not has_classes(network.patterns):
            return "span"
        if not (network.patterns.binary and network.patterns.P <= ENUMERATED):
            classes = network.patterns.site_classes().patterns.N
            return "classes" if 2 * classes <= network.patterns.N else "span"
        return "classes"

    def inexact(
        self, wanted: Reduction, network, state: FieldState, current: Input, noise: Any
    ) -> str | None:
        """Why the asked form is not exact here; None if it is."""
        if wanted in ("auto", "sites"):
            return None
        if not network.keep_diagonal:
            return "`keep_diagonal=False` takes the field out of the patterns' span"
        if wanted == "classes" and noise is not None:
            return "private noise makes every neuron different"
        if isinstance(current, diffrax.AbstractPath) and not isinstance(current, Pulses):
            return "a time-dependent `current` acts outside the patterns' span"
        if wanted == "classes" and state.weights is None:
            return "the start `field` is not known to lie in the span (use `weights`)"
        if wanted == "classes" and current is not None:
            return "a `current` can differ between neurons with equal patterns"
        return None

    def reduced(
        self,
        network,
        state: FieldState,
        t0,
        stimulus: Input,
        current: Input,
        noisy: bool,
        reduction: Reduction,
    ) -> tuple[HopfieldSystem, Core]:
        """The reduced system of a run and its start."""
        full = network.patterns
        if reduction == "classes":
            merged = full.site_classes().patterns
            network = eqx.tree_at(lambda n: n.patterns, network, merged)
        span = reduction != "sites"
        if stimulus is not None and not isinstance(stimulus, diffrax.AbstractPath):
            stimulus = full.overlap(stimulus)
        # Weights say more than a field: with them the start follows the patterns' derivatives.
        field = state.field if state.weights is None else full.field(state.weights)
        rest = field if span and state.weights is None else None
        system = HopfieldSystem(
            network=network,
            patterns=full,
            decoder=network.decoder(),
            stimulus=stimulus,
            current=current,
            rest=rest,
            t0=t0,
            span=span,
            noisy=noisy,
        )
        slow = network.slow_part(state)
        if not span:
            return system, Core(field, slow)
        start = state.weights if state.weights is not None else jnp.zeros(full.P, full.xi.dtype)
        quiet = jnp.zeros(full.N, full.xi.dtype) if noisy else None
        return system, Core(start, slow, quiet)

    def merged(self, network):
        """Classes of neurons, where these are known; the same for starts in the span of the
        patterns."""
        patterns = network.patterns
        known = patterns.counts is None and is_concrete(patterns.xi) and patterns.P < 64
        if not known or not network.keep_diagonal:
            return network
        classes = patterns.site_classes().patterns
        smaller = 2 * classes.N <= patterns.N
        return eqx.tree_at(lambda n: n.patterns, network, classes) if smaller else network
