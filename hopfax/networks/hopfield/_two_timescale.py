"""Two timescales: slow saliency moves a fast Hopfield field through a sequence of memories."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_float, check_finite, check_option, check_shape, filled
from ..._types import ArrayLike, PerPattern, is_concrete
from ...patterns import Patterns
from .._base import Bound, parameter
from .._field import (
    AbstractQuadraticHopfield,
    Learning,
    check_options,
    shared_bounds,
    start,
)
from .._field_forms import Couplings, SlowLaw
from .._slow import READOUTS, Readout, saliency_rate
from .._states import FieldState


class TwoTimescaleHopfield(AbstractQuadraticHopfield):
    r"""Fast Hopfield field $x$ steered by slow saliency $z$.

    $$\dot x = -x + \sum_\mu (z_\mu m_\mu + b_\mu)\, \xi^\mu + I(t), \qquad
    \tau \dot z = -z + \kappa\, A f(m), \qquad m_\mu = \xi^\mu \cdot \psi(x) / N.$$

    A stimulus $u$ adds its overlaps to the saliencies that the field feels, $z_\mu + \xi^\mu \cdot
    u / N$ in place of $z_\mu$, as in `InputDrivenHopfield`; $z$ itself is not moved by it.

    The active memory's saliency decays; at $z = 1/\psi'(0)$ (hard tanh) its well disappears and the
    field moves to the memory that $A$ has charged meanwhile. Time is in units of the fast time
    constant, so $\tau$ is the separation of the two.

    For orthogonal memories, hard tanh, $\tau \to \infty$ and an *endless* chain the sequence is
    sustained for $\kappa \ge 4$; a cycle of P memories needs less (2, 3, 3.61, 3.83, ... for
    P = 2, 3, 4, 5) and finite $\tau$ lowers it further: see `hopfax.theory.sequential`.

    Something must seed each transition, because exactly orthogonal memories started on one of them
    never move: a `bias`, noise, or correlations. Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Arguments:**

    - `patterns`: the memories $\xi$, (P, N).
    - `transition`: $A$, (P, P); entry `[next, current]` is how strongly `current` calls `next`.
    - `kappa`: the gain $\kappa \ge 0$, a scalar or (P,), one for each *driven* memory.
    - `tau`: slow over fast time constant, $> 0$, a scalar or (P,).
    - `bias`: $b$, a scalar or (P,): the constant input $\sum_\mu b_\mu \xi^\mu$ that seeds
      transitions.
    - `readout`: $f$, "linear" (the paper's), "abs", "square" or "relu". With "linear" a transition
      into $-\xi$ drives all later saliencies negative and ends the sequence.
    - `activation`: the pointwise $\psi$.
    - `learning`: "hebbian", or "pseudo_inverse", for which $m$ is replaced by $C^{-1} m$, also in
      the slow equation; the memories must be linearly independent.
    - `keep_diagonal`: keep the self-couplings $W_{ii} = \sum_\mu z_\mu / N$.

    **Raises:** ValueError/TypeError naming the argument, also for dependent memories.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    hx.observables.visited(run)  # 0, 1, 2, 3
    ```
    """

    patterns: Patterns
    transition: Float[Array, "P P"]
    kappa: Float[Array, "*#P"]
    tau: Float[Array, "*#P"]
    bias: Float[Array, "*#P"]
    activation: AbstractActivation
    readout: Readout = eqx.field(static=True)
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
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
        activation: AbstractActivation = HardTanh(),
        learning: Learning = "hebbian",
        keep_diagonal: bool = True,
    ):
        self.patterns, self.activation = patterns, activation
        self.readout, self.learning, self.keep_diagonal = readout, learning, keep_diagonal
        check_options(self)
        check_option(readout, "readout", tuple(READOUTS))
        self.transition = as_float(transition, "transition", patterns.xi.dtype)
        P, N = patterns.xi.shape
        hint = ""
        if P != N and self.transition.shape == (N, N):
            hint = "It fits the transposed patterns: did you pass xi.T?"
        check_shape(self.transition, "transition", (P, P), "(P, P)", hint)
        self.kappa = parameter(kappa, "kappa", patterns)
        self.tau = parameter(tau, "tau", patterns)
        self.bias = parameter(bias, "bias", patterns)

    def init(
        self,
        *,
        saliency: ArrayLike,
        field: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> FieldState:
        r"""A start state.

        **Arguments:** `saliency`: $z(0)$, (P,) or one number. Then the field: by default
        $x(0) = \sum_\mu (z_\mu + b_\mu) \xi^\mu$; or `weights` (P,) in place of $z + b$; or any
        `field` (N,), which excludes the reduction to site classes.
        """
        check_finite(self.bias, "bias")
        saliency = as_float(saliency, "saliency", self.patterns.xi.dtype)
        saliency = filled(saliency, "saliency", (self.patterns.P,), "(P,)")
        return start(self, field, weights, saliency + self.bias, saliency)

    def saliency(self, slow, evidence):
        """The slow state, and the overlaps of the stimulus if there is one."""
        if slow is None or evidence is None:
            return slow
        return slow + evidence

    def coupling(self, saliency: PerPattern) -> PerPattern:
        """The saliencies, on the diagonal."""
        return saliency

    def offset(self) -> PerPattern:
        """The bias of every memory."""
        return jnp.broadcast_to(self.bias, (self.patterns.P,))

    def slow_rate(self, overlaps: PerPattern, slow: PerPattern) -> PerPattern:
        r"""$(-z + \kappa A f(m)) / \tau$."""
        equation = (self.transition, self.kappa, self.tau, self.readout)
        return saliency_rate(overlaps, slow, *equation)

    def couplings(self, saliency: PerPattern) -> Couplings:
        """The saliencies, the bias, and the slow equation."""
        drive = jnp.broadcast_to(self.kappa, (self.patterns.P,))[:, None] * self.transition
        slow = SlowLaw(drive, jnp.atleast_1d(1 / self.tau), self.readout)
        return Couplings(self.coupling(saliency), self.offset(), slow)

    def slow_constant(self):
        r"""$\tau$."""
        return self.tau

    def escape_level(self):
        r"""$1 / \psi'(0)$ with hard tanh, whose saturated state ends there; None with others: they
        lose stability before, where $z_\nu \psi'(a)$ of the next memory reaches 1."""
        if not isinstance(self.activation, HardTanh):
            return None
        return 1 / self.activation.slope(jnp.zeros((), self.patterns.xi.dtype))

    def for_theory(self):
        """All parameters; the memories count as orthogonal with the pseudo-inverse rule."""
        patterns = self.patterns.for_theory()
        if self.learning == "pseudo_inverse":
            patterns["gram"] = jnp.eye(self.patterns.P, dtype=self.patterns.xi.dtype)
        numbers = dict(transition=self.transition, kappa=self.kappa, tau=self.tau, bias=self.bias)
        how = dict(readout=self.readout, keep_diagonal=self.keep_diagonal)
        return patterns | numbers | how | {"activation": self.activation}

    def pitfalls(self, state, current, noise):
        """A start that cannot move, or seeds of the wrong sign."""
        looked_at = (self.patterns, self.bias, self.transition, self.activation, state)
        if current is None and all(is_concrete(leaf) for leaf in jax.tree.leaves(looked_at)):
            with jax.ensure_compile_time_eval():  # these values are known, also inside a trace
                yield from _bad_seeds(self, state, noise)

    def domain(self):
        r"""$\kappa \ge 0$, $\tau > 0$, the rest finite."""
        yield Bound("kappa", self.kappa, 0.0)
        fast = "For an instantaneous saliency use OneTimescaleHopfield."
        yield Bound("tau", self.tau, 0.0, True, fast)
        yield Bound("transition", self.transition)
        yield Bound("bias", self.bias)
        yield from shared_bounds(self)


_DROWNED = 0.2  # of what noise makes: a seed that leaves it the sign of two handovers in five


def _crosstalk(network: TwoTimescaleHopfield) -> np.ndarray:
    """The overlaps of the memories as the network's learning rule leaves them, (P, P)."""
    if network.learning == "pseudo_inverse":
        return np.eye(network.patterns.P)
    return np.asarray(network.patterns.gram())


def seeds_of(network: TwoTimescaleHopfield) -> np.ndarray:
    """What pushes memory `next` while `current` is active, at entry [next, current]: its bias, and
    its overlap, which a saliency above 1 multiplies. Zero where `current` does not call `next`.

    The parameters must be known, not be traced.
    """
    called = np.asarray(network.transition) != 0
    called &= ~np.eye(network.patterns.P, dtype=bool)
    return np.where(called, _crosstalk(network) + np.asarray(network.offset())[:, None], 0.0)


def _bad_seeds(network: TwoTimescaleHopfield, state: FieldState, noise: Any) -> Iterator[str]:
    if not np.asarray(network.transition).any():
        return
    gram, bias = _crosstalk(network), np.asarray(network.offset())
    noisy = noise is not None and (not is_concrete(noise) or float(noise) > 0)
    seeds = seeds_of(network)
    m = np.asarray(network.overlaps(state))
    small = 64 * np.finfo(m.dtype).eps
    drowned = small
    if noise is not None and is_concrete(noise):  # this is its standard deviation in an overlap
        drowned = max(small, _DROWNED * float(noise) / np.sqrt(2 * network.patterns.N))
    alone = np.abs(m).max() > 0.5 and np.sum(np.abs(m) > small) == 1
    if alone and not noisy and not (np.abs(seeds) > small).any():
        yield (
            "this start cannot move: the memories are exactly orthogonal and the field lies on one "
            "of them, so no other overlap ever differs from zero. Seed the transitions with a "
            "small `bias` (e.g. 0.01), with `noise`, or with correlated patterns."
        )
    elif network.readout == "linear" and (seeds < -small).any():
        where = np.argwhere(seeds < -small)[0]
        yield (
            f"`readout='linear'` with a negative seed: memory {where[1]} calls memory {where[0]} "
            f"through overlap {gram[tuple(where)]:.3g} and bias {bias[where[0]]:.3g}. A transition "
            "into -xi makes the next saliencies negative and ends the sequence. Use a larger "
            "`bias`, patterns.gauge_cycle(), learning='pseudo_inverse', or `readout='abs'` or "
            "'square'."
        )
    elif network.readout == "linear" and noisy and not (seeds > drowned).any():
        yield (
            "`readout='linear'` with noise as the strongest seed, which has no sign: a transition "
            "into -xi makes the next saliencies negative and ends the sequence. Use a larger "
            "`bias`, or `readout='abs'` or 'square'."
        )
