r"""Synaptic designs of firing-rate memories, as products of rank P + 1."""

from typing import Any, Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._activations import AbstractActivation
from ..._errors import check_option, shown
from ..._rate_activations import AbstractRateActivation
from ..._types import PerNeuron, PerPattern, is_concrete
from ...patterns import Patterns
from .._base import check_patterns

RateLearning: TypeAlias = Literal["projection", "covariance", "pseudo_inverse"]
_BLOCK = 2**16  # entries of the coupling matrix that are looked at together


class Levels(NamedTuple):
    r"""Of unequal neurons: the rates $\phi_i(a_i)$ at which they are silent and how much higher
    those are at which they are active; the currents $a_i$ and how much higher $b_i$ is."""

    silent: Float[Array, "*#N"]
    gap: Float[Array, "*#N"]
    base: Float[Array, "*#N"]
    span: Float[Array, "*#N"]


class Wiring(eqx.Module):
    r"""Synapses that store memories as given currents, without their $N \times N$ matrix:

    $$(W x)_i = \Delta \sum_\mu m_\mu\, (\xi^\mu_i + c_\mu) + \gamma \langle x \rangle, \qquad
    m = R\, \Xi x / N + \rho \langle x \rangle, \qquad \Delta = b - a.$$

    $m_\mu$ is 1 at memory $\mu$ and 0 at the others, wherever the design is exact. With `levels`
    neurons differ: they send $\bar x_i = \phi_i(a_i) + (\phi_i(b_i) - \phi_i(a_i))\, \xi^\mu_i$
    at memory $\mu$, and get the currents $a_i + (b_i - a_i)\, \xi^\mu_i$:

    $$(W x)_i = \sum_\mu m_\mu\, (a_i + (b_i - a_i)\, \xi^\mu_i), \qquad
    m = (\bar X \bar X^T)^{-1} \bar X x.$$
    """

    step: Float[Array, ""]  # Delta
    read: Float[Array, "P P"]  # R
    shift: Float[Array, " P"]  # rho
    lift: Float[Array, " P"]  # c
    background: Float[Array, ""]  # gamma
    judge: Float[Array, "P P"]  # evidence of a stimulus: like R and rho, free of uniform parts
    tilt: Float[Array, " P"]
    levels: Levels | None = None  # None where all neurons have the same

    def overlaps(self, patterns: Patterns, rates: PerNeuron) -> PerPattern:
        """$m$."""
        if (own := self.levels) is not None:
            seen = patterns.overlap(own.gap * rates)
            return self.read @ seen + self.shift * patterns.mean(own.silent * rates)
        return self.read @ patterns.overlap(rates) + self.shift * patterns.mean(rates)

    def evidence(self, patterns: Patterns, stimulus: PerNeuron) -> PerPattern:
        r"""Saliencies that a stimulus sets: $s$ for $u = \sum_\mu s_\mu \xi^\mu$ + const, exactly
        for projection, or if memories overlap as chance would have it."""
        return self.judge @ patterns.overlap(stimulus) + self.tilt * patterns.mean(stimulus)

    def currents(self, patterns: Patterns, drive: PerPattern, mean: Array) -> PerNeuron:
        r"""Currents of all neurons, with `drive` in place of $m$ and `mean` of
        $\langle x \rangle$."""
        weights = self.step * drive
        if (own := self.levels) is not None:
            return own.span * patterns.field(weights) + own.base * (self.lift @ weights)
        return patterns.field(weights) + (self.lift @ weights + self.background * mean)

    def most_negative(self, patterns: Patterns) -> Float[Array, ""]:
        r"""$N \min_{ij} W_{ij}$, in $O(N^2 P)$ operations."""
        xi = patterns.xi
        there = jnp.ones(patterns.N, bool) if patterns.counts is None else patterns.counts > 0
        senders = self.read @ xi + self.shift[:, None]  # (P, N)
        receivers = self.step * (xi.T + self.lift)  # (N, P)
        if (own := self.levels) is not None:
            senders = (self.read @ xi) * own.gap + self.shift[:, None] * own.silent
            receivers = (xi * own.span + self.lift[:, None] * own.base).T
        worst = jnp.asarray(jnp.inf, xi.dtype)
        size = min(max(_BLOCK // patterns.N, 1), patterns.N)
        blocks = -(-patterns.N // size)
        first = jnp.minimum(jnp.arange(blocks, dtype=jnp.int32) * size, patterns.N - size)

        def look(worst, k):
            rows = jax.lax.dynamic_slice_in_dim(receivers, k, size)
            here = jax.lax.dynamic_slice_in_dim(there, k, size)
            found = rows @ senders + self.background
            found = jnp.where(here[:, None] & there, found, jnp.inf)
            return jnp.minimum(worst, found.min()), None

        return jax.lax.scan(look, worst, first)[0]


def wire(patterns: Patterns, activation: AbstractRateActivation, a, b, learning) -> Wiring:
    """The synapses of a design; see `RateMemory`."""
    silent, active = activation(a), activation(b)
    gap = active - silent
    if gap.ndim:
        return _unequal(patterns, Levels(silent, gap, a, b - a))
    q = patterns.mean(patterns.xi)
    design = {"covariance": _covariance, "projection": _projection, "pseudo_inverse": _inverse}
    return design[learning](patterns, q, a, b, silent, gap)


def _covariance(patterns, q, a, b, silent, gap) -> Wiring:
    P, dtype = patterns.P, patterns.dtype
    mean_q = q.mean()
    r = mean_q
    if P > 1:  # mean overlap of different memories, from the number active in each neuron
        together = patterns.mean(patterns.xi.sum(0) ** 2) - q.sum()
        r = together / (P * (P - 1) * mean_q)
    mean = silent + mean_q * gap
    beta = mean_q * (silent + r * gap) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    eye, ones = jnp.eye(P, dtype=dtype), jnp.ones(P, dtype)
    width = mean_q * (1 - r)
    spread = q * (1 - q)
    return Wiring(
        step=b - a,
        read=eye / (width * gap),
        shift=-beta / (width * gap) * ones,
        lift=-beta * ones,
        background=gamma,
        judge=eye / spread[:, None],
        tilt=-q / spread,
    )


def _projection(patterns, q, a, b, silent, gap) -> Wiring:
    mean_q = q.mean()
    inverse = jnp.linalg.inv(patterns.gram() - q[:, None] * q)
    mean = silent + mean_q * gap
    read, tilt = inverse / gap, -inverse @ q
    background = ((1 - mean_q) * a + mean_q * b) / mean
    return Wiring(b - a, read, tilt / gap, -q, background, inverse, tilt)


def _inverse(patterns, q, a, b, silent, gap) -> Wiring:
    gram = patterns.gram()
    products = silent**2 + silent * gap * (q[:, None] + q) + gap**2 * gram
    inverse = jnp.linalg.inv(products)
    ones = jnp.ones(patterns.P, patterns.dtype)
    spread = q * (1 - q)
    return Wiring(
        step=b - a,
        read=inverse * gap,
        shift=silent * inverse.sum(1),
        lift=a / (b - a) * ones,
        background=jnp.zeros((), patterns.dtype),
        judge=jnp.eye(patterns.P, dtype=patterns.dtype) / spread[:, None],
        tilt=-q / spread,
    )


def _unequal(patterns, levels: Levels) -> Wiring:
    """The pseudo-inverse of memories in neurons with levels of their own."""
    P, dtype = patterns.P, patterns.dtype
    stored = levels.silent + levels.gap * patterns.xi
    products = jax.vmap(lambda x: patterns.mean(stored * x))(stored)
    inverse = jnp.linalg.inv(products)
    q = patterns.mean(patterns.xi)
    spread = q * (1 - q)
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    judge, tilt = jnp.eye(P, dtype=dtype) / spread[:, None], -q / spread
    lift = jnp.ones(P, dtype)
    return Wiring(one, inverse, inverse.sum(1), lift, zero, judge, tilt, levels)


def check_design(patterns: Any, activation: Any, learning: Any) -> None:
    """TypeError/ValueError unless `learning` can store these memories."""
    check_option(learning, "learning", ("projection", "covariance", "pseudo_inverse"))
    check_patterns(patterns)
    if isinstance(activation, AbstractActivation):
        raise TypeError(
            f"`activation` must turn currents into rates, such as Logistic(4.8, 0.2); "
            f"{type(activation).__name__} is odd, for Hopfield networks."
        )
    if not isinstance(activation, AbstractRateActivation):
        raise TypeError(
            "`activation` must be one of rates, such as Logistic(4.8, 0.2), got "
            f"{shown(activation)}."
        )
    if is_concrete(patterns.xi):
        with jax.ensure_compile_time_eval():  # values are known, also inside a trace
            _check_values(patterns, learning)


def _check_values(patterns: Patterns, learning: str) -> None:
    xi = np.asarray(patterns.xi)
    if not ((xi == 0) | (xi == 1)).all():
        bad = tuple(int(i) for i in np.argwhere((xi != 0) & (xi != 1))[0])
        hint = " Make them with hopfax.patterns.active(patterns)." if patterns.binary else ""
        raise ValueError(
            f"`patterns` of a rate memory must have entries 0 (silent) and 1 (active), but "
            f"`patterns.xi` is {xi[bad]:g} at index {bad}.{hint}"
        )
    q = np.asarray(patterns.mean(patterns.xi))
    if (q >= 1).any():
        raise ValueError(f"`patterns`: memory {int(np.argmax(q >= 1))} has no silent neuron.")
    if (q <= 0).any():
        raise ValueError(f"`patterns`: memory {int(np.argmax(q <= 0))} has no active neuron.")
    rounding = 64 * np.finfo(xi.dtype).eps
    if learning == "projection" and np.ptp(q) > rounding:
        raise ValueError(
            "learning='projection' needs memories of equal activity, but theirs lie between "
            f"{q.min():.4g} and {q.max():.4g}. Use learning='pseudo_inverse', or "
            "hopfax.patterns.active(values, q) for memories of activity q."
        )
    if learning == "covariance":
        if patterns.P > 1 and (xi == xi[0]).all():
            raise ValueError("`patterns` of a rate memory must differ, but all of them are equal.")
    else:
        gram = np.asarray(patterns.gram()) - (q[:, None] * q if learning == "projection" else 0)
        small = np.linalg.eigvalsh(gram)[0]
        if small < 8 * np.trace(gram) * rounding:
            raise ValueError(
                f"learning={learning!r} needs linearly independent memories, but the least "
                f"eigenvalue of their {'covariance' if learning == 'projection' else 'Gram'} "
                f"matrix is {small:.2g}. Leave some out, or use learning='covariance'."
            )
