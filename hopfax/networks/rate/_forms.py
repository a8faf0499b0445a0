r"""Exact reduction of firing-rate networks to classes of equal neurons.

Neurons whose columns of $\xi$ and inputs agree feel the same current for ever. So each is its
class's mean $X_c$ plus a difference from it that decays as $e^{-t}$, whatever the start, and as
these differences cancel in all overlaps, the means obey the network's equation among themselves.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._inputs import Pulses
from ..._rate_activations import HardSigmoid, RectifiedTanh, ThresholdLinear
from ..._types import Input, Network, PerPattern, is_concrete
from ...patterns import ENUMERATED, Patterns, SiteClasses
from ...patterns._classes import may_be_active
from .._forms import AbstractForms, AbstractLaw, AbstractSystem, Core, Reduction, value_at
from .._states import RateState
from ._checks import unstable_start
from ._unequal import equal_in_classes, in_classes, is_unequal
from ._wiring import Wiring

_MANY = 64  # neurons without classes beyond which each would have kinks of its own


class KinkLaw(AbstractLaw):
    """A run of rates with a piecewise-linear activation: between kinks linear, or with slow
    saliencies bilinear. The system itself is all that its engine needs."""


class RateSystem(AbstractSystem):
    """A run of an `AbstractRateMemory`: `main` is the rates, of classes or of all neurons; under
    noise its filtered part is carried along, so that `main` is smooth: noise on the rates, unless
    they have time constants of their own, or in the currents."""

    network: Network  # its patterns are classes where those are used
    patterns: Patterns  # the full ones
    wiring: Wiring
    stimulus: Input  # what it says of the memories if it is constant
    current: Input
    rest: Float[Array, " N"] | None  # of the start, what lies beside the means of classes
    index: Int[Array, " N"] | None
    t0: Float[Array, ""]

    @property
    def sites(self) -> Patterns | None:
        """Those of the neurons or classes."""
        return self.network.patterns

    @property
    def small(self) -> bool:
        """Whether a few classes are integrated."""
        return self.index is not None and self.network.patterns.N <= 2**ENUMERATED

    def rates(self, core: Core) -> Float[Array, "..."]:
        """Rates of the network's neurons (or classes)."""
        if core.noise is None or self.network.noise_in == "currents":
            return core.main
        return core.main + core.noise

    def saliency(self, t, core: Core) -> PerPattern | None:
        """Saliency now: part of the state, or read from the stimulus."""
        return self.network.saliency(core.slow, self.evidence(t))

    def evidence(self, t) -> PerPattern | None:
        """What the stimulus says of each memory (already read if it is constant)."""
        if isinstance(self.stimulus, diffrax.AbstractPath):
            now = self.stimulus.evaluate(t, left=False)
            return self.wiring.evidence(self.patterns, now)
        return self.stimulus

    def overlaps(self, t, core: Core) -> PerPattern:
        """Overlaps of the reduced state; equal to those of the full network."""
        return self.wiring.overlaps(self.network.patterns, self.rates(core))

    def derivative(self, t, core: Core, args: Any = None) -> Core:
        """Right-hand side, in the form diffrax wants."""
        current = value_at(self.current, t)
        noise = None if core.noise is None else -core.noise
        if core.noise is not None and self.network.noise_in == "currents":
            current = core.noise if current is None else current + core.noise
        target, slow = self.network.targets(
            self.wiring, self.rates(core), core.slow, self.saliency(t, core), current
        )
        return Core(self.network.relaxing(target - core.main), slow, noise)

    def settled(self, core: Core) -> tuple[AbstractSystem, Core]:
        """Without the differences between equal neurons, which decay."""
        return eqx.tree_at(lambda s: s.rest, self, None, is_leaf=lambda leaf: leaf is None), core

    def law(self, core: Core) -> KinkLaw | str:
        """Whether the motion between kinks is a series, and kinks are few."""
        network = self.network
        for name, value in (("stimulus", self.stimulus), ("current", self.current)):
            if isinstance(value, diffrax.AbstractPath) and not isinstance(value, Pulses):
                return f"`{name}` changes in time other than by hopfax.Pulses"
        if not isinstance(network.activation, HardSigmoid | ThresholdLinear):
            return f"{type(network.activation).__name__} is not piecewise linear"
        if network.tau_rates is not None:
            return "its rates have time constants of their own"
        if network.activation.gain.ndim or network.activation.threshold.ndim:
            return "its neurons have gains or thresholds of their own"
        if (reason := network.kinks()) is not None:
            return reason
        if self.index is None and network.patterns.N > _MANY:
            return "its neurons do not fall into classes, and each has kinks of its own"
        return KinkLaw()

    def kinks(self) -> str | None:
        """The activation, unless it is smooth."""
        activation = self.network.activation
        bent = isinstance(activation, HardSigmoid | ThresholdLinear | RectifiedTanh)
        return type(activation).__name__ if bent else None

    def state(self, t, core: Core) -> RateState:
        """The full state that the user sees."""
        rates = self.rates(core)
        if self.index is not None:
            rates = rates[self.index]
        if self.rest is not None:
            decay, tau = self.t0 - t, self.network.tau_rates
            if tau is not None:
                decay = decay / (tau[self.index] if tau.ndim else tau)
            rates = rates + self.rest * jnp.exp(decay)
        return self.network.joined(rates, core.slow)


def carried(network: Network) -> bool:
    """Whether the filtered noise is carried along, which relaxes with rate 1."""
    return network.noise_in == "currents" or network.tau_rates is None


def _has_classes(patterns: Patterns) -> bool:
    if patterns.counts is not None:
        return False
    if patterns.P <= ENUMERATED and may_be_active(patterns.xi):
        return 2 * 2**patterns.P <= patterns.N
    if not is_concrete(patterns.xi) or patterns.P >= 64:
        return False
    return 2 * patterns.column_classes().patterns.N <= patterns.N


def _equal_in_classes(patterns: Patterns, current: Any) -> bool:
    """Whether neurons of a class are known to get the same current."""
    if current is None:
        return True
    values = current.values if isinstance(current, Pulses) else current
    if isinstance(values, diffrax.AbstractPath):
        return False
    if not (is_concrete(values) and is_concrete(patterns.xi)):
        return False
    with jax.ensure_compile_time_eval():  # these values are known, also inside a trace
        classes = patterns.column_classes()
        rows = np.asarray(values).reshape(-1, patterns.N)
        means = np.asarray(jax.vmap(classes.average)(jnp.asarray(rows)))
        spread = np.abs(rows - means[:, np.asarray(classes.index)]).max()
    return bool(spread <= 8 * np.finfo(rows.dtype).eps * (1 + np.abs(rows).max()))


def _averaged(classes: SiteClasses, current: Any) -> Any:
    if isinstance(current, Pulses):
        values = jax.vmap(classes.average)(current.values)
        return eqx.tree_at(lambda pulses: pulses.values, current, values)
    return None if current is None else classes.average(current)


class RateForms(AbstractForms):
    """All neurons, or classes of neurons that have the same memories.

    Neurons with time constants of their own are integrated in classes only if that is asked for:
    what the classes leave out does not relax with rate 1 then, which spectra rely on.
    """

    def smallest(self, network, state, current: Input, noise: Any) -> Reduction:
        """Classes, where they are exact and worth it."""
        patterns = network.patterns
        fine = noise is None and network.tau_rates is None and _has_classes(patterns)
        fine = fine and _equal_in_classes(patterns, current) and equal_in_classes(network)
        return "classes" if fine else "sites"

    def inexact(self, wanted: Reduction, network, state, current: Input, noise: Any) -> str | None:
        """Why the asked form is not exact here; None if it is."""
        if wanted in ("auto", "sites"):
            return None
        if wanted == "span":
            return "rates do not lie in the span of the memories (they have 'classes')"
        if noise is not None:
            return "private noise makes every neuron different"
        if network.patterns.counts is not None:
            return "the `counts` of the patterns say that they are classes already"
        if not _equal_in_classes(network.patterns, current):
            return "the `current` differs between neurons with equal memories, or is not known here"
        if not equal_in_classes(network):
            return (
                "`tau_rates`, thresholds, gains or levels differ between neurons with equal "
                "memories, or are not known here"
            )
        return None

    def reduced(
        self,
        network,
        state: RateState,
        t0,
        stimulus: Input,
        current: Input,
        noisy: bool,
        reduction: Reduction,
    ) -> tuple[RateSystem, Core]:
        """The reduced system of a run and its start."""
        full = network.patterns
        wiring = network.wiring()
        if stimulus is not None and not isinstance(stimulus, diffrax.AbstractPath):
            stimulus = wiring.evidence(full, stimulus)
        main, rest, index = state.rates, None, None
        if reduction == "classes":
            classes = full.column_classes()
            index, main = classes.index, classes.average(state.rates)
            rest = state.rates - main[index]
            current = _averaged(classes, current)
            network = in_classes(network, classes)
            if wiring.levels is not None:
                wiring = network.wiring()  # the levels of classes
        system = RateSystem(
            network=network,
            patterns=full,
            wiring=wiring,
            stimulus=stimulus,
            current=current,
            rest=rest,
            index=index,
            t0=t0,
        )
        quiet = jnp.zeros(full.N, full.dtype) if noisy and carried(network) else None
        return system, Core(main, network.slow_part(state), quiet)

    def pitfalls(self, network, state: RateState, stimulus: Input, current: Input):
        """A start on an unstable equilibrium."""
        text = unstable_start(network, state, stimulus, current)
        return () if text is None else (text,)

    def merged(self, network):
        """Classes of neurons, where these are known; the same for starts in `weights`."""
        patterns = network.patterns
        if patterns.counts is not None or not is_concrete(patterns.xi) or patterns.P >= 64:
            return network
        if is_unequal(network):
            return network  # its parameters have a value for each neuron
        classes = patterns.column_classes().patterns
        smaller = 2 * classes.N <= patterns.N
        return eqx.tree_at(lambda n: n.patterns, network, classes) if smaller else network
