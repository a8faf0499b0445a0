"""Designs that do not hold what they promise: bounds under a trace, warnings of known values."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import PhysicsWarning, warn
from ..._rate_activations import AbstractRateActivation, steepest
from ..._types import is_concrete
from ...patterns import Patterns
from .._base import Bound, check_domain
from ._unequal import check_unequal, is_unequal
from ._wiring import Wiring

#: Memories whose currents are looked at, those of the most unusual activity first.
_LOOKED_AT = 64
#: Products that a look at a network may cost; beyond it no warning is given.
_MOST = 2**31
#: Eigenvalues below this are those of states that a run leaves too slowly to matter.
_SLOW = 1e-3


def design_bounds(patterns: Patterns, learning: str) -> Iterable[Bound]:
    """What constructors ask of known patterns (`check_design`), as bounds on traced ones."""
    if is_concrete(patterns.xi):
        return
    xi, q = patterns.xi, patterns.mean(patterns.xi)
    rounding = 64 * float(jnp.finfo(xi.dtype).eps)
    off = jnp.minimum(abs(xi), abs(xi - 1)).max()
    yield Bound("patterns.xi", -off, 0.0, False, label="distance from 0 and 1, negative")
    yield Bound("patterns.xi", q.min(), 0.0, True, label="least activity of a memory")
    yield Bound("patterns.xi", 1 - q.max(), 0.0, True, label="least share of silent neurons")
    if learning == "projection":
        even = rounding - (q.max() - q.min())
        yield Bound("patterns.xi", even, 0.0, False, label="equality of activities")
    if learning == "covariance":
        if patterns.P > 1:
            apart = abs(xi - xi[0]).max()
            yield Bound("patterns.xi", apart, 0.0, True, label="difference of memories")
        return
    gram = patterns.gram() - (q[:, None] * q if learning == "projection" else 0)
    least = jnp.linalg.eigvalsh(gram)[0] - 8 * jnp.trace(gram) * rounding
    yield Bound("patterns.xi", least, 0.0, False, label="independence of memories")


def finish(network: Any) -> None:
    """The last line of a constructor: check the domain, and warn of a design that holds less than
    it seems to. Nothing is said of values that are not known."""
    check_unequal(network)
    check_domain(network)
    leaves = jax.tree.leaves((network.patterns, network.activation, network.a, network.b))
    if not all(map(is_concrete, leaves)):
        return
    with jax.ensure_compile_time_eval():
        if network.learning == "covariance":
            _warn_of_crosstalk(network)
        if network.activation.ceiling != 1.0 and not is_unequal(network):
            _warn_of_runaway(network)


def _warn_of_crosstalk(network: Any) -> None:
    small = network.merged()
    patterns = small.patterns
    if _cost(patterns) > _MOST:
        return
    plain = _Plain.of(patterns, network.wiring())
    phi, a, b = network.activation, float(network.a), float(network.b)
    silent, active = (float(phi(v)) for v in (network.a, network.b))
    xi = np.asarray(patterns.xi)
    q = xi @ plain.share
    some = np.argsort(-abs(q - q.mean()), kind="stable")[:_LOOKED_AT]
    m, mean = plain.read_out(silent + (active - silent) * xi[some])
    currents = plain.currents(m, mean)
    off = float(abs(currents - a - (b - a) * xi[some]).max())
    rounding = 64 * np.finfo(xi.dtype).eps
    uneven = np.ptp(q) > rounding
    margin = _margin(phi, a, b)
    if not uneven and off <= max(margin, rounding**0.5 * max(abs(a), abs(b))):
        return
    room = (
        f"the activation changes within {margin:.2g} of the targets"
        if margin > 0
        else "the targets are where the activation changes"
    )
    cure = "'pseudo_inverse'" if uneven else "'projection'"
    why = "unequal activities" if uneven else "unequal overlaps"
    warn(
        f"learning='covariance' does not hold `patterns` of {why} exactly: their currents are up "
        f"to {off:.2g} off the targets a and b, and {room}. Memories are no equilibria, and runs "
        f"may lose them; learning={cure} holds them exactly if they are linearly independent.",
        PhysicsWarning,
    )


def _margin(phi: AbstractRateActivation, a: float, b: float) -> float:
    """How far a and b lie outside the steep part of the activation."""
    start = float(phi.threshold)
    end = start + 1 / float(phi.gain) if phi.ceiling == 1.0 else np.inf
    return min(start - a, b - end)


def _warn_of_runaway(network: Any) -> None:
    small = network.merged()
    if _cost(small.patterns) > _MOST:
        return
    slopes = steepest(
        network.activation, network.a + (network.b - network.a) * small.patterns.xi[0]
    )
    greatest = _greatest(small, network.wiring(), np.asarray(slopes), None)
    if greatest > _SLOW:
        warn(
            f"`activation`: {type(network.activation).__name__} with threshold "
            f"{float(network.activation.threshold):g} does not hold memory 0 at these currents "
            f"(greatest eigenvalue {greatest:.3g}), and as its rates have no upper bound, nothing "
            "stops them. It holds memories only at a threshold between `a` and 0, a single one or "
            "disjoint ones.",
            PhysicsWarning,
        )


def unstable_start(network: Any, state: Any, stimulus: Any, current: Any) -> str | None:
    """What to say of a run that starts on an unstable equilibrium; None for any other start, and
    where that is not known."""
    known = jax.tree.leaves((network, state, stimulus, current))
    constant = all(v is None or eqx.is_array(v) for v in (stimulus, current))
    if not constant or not all(map(is_concrete, known)) or _cost(network.patterns) > _MOST:
        return None
    patterns, slow = network.patterns, network.slow_part(state)
    if np.ndim(slow if slow is not None else 0.0):
        return None  # saliencies move, and what they hold with them
    if is_unequal(network):
        return None  # time constants of their own decide what is stable
    with jax.ensure_compile_time_eval():
        wiring = network.wiring()
        evidence = None if stimulus is None else wiring.evidence(patterns, stimulus)
        saliency = network.saliency(slow, evidence)
        m, mean = wiring.overlaps(patterns, state.rates), patterns.mean(state.rates)
        currents = network.currents(wiring, m, mean, slow, saliency, current)
        rest = float(jnp.finfo(patterns.dtype).eps) ** 0.6
        if not abs(network.activation(currents) - state.rates).max() < rest:
            return None
        if slow is not None and not abs(network.slow_rate(m, mean, slow)) < rest:
            return None
        slopes = np.asarray(steepest(network.activation, currents))
        greatest = _greatest(network, wiring, slopes, saliency)
    if not greatest > _SLOW:
        return None
    return (
        "the run starts exactly on an unstable equilibrium (greatest eigenvalue "
        f"{greatest:.3g}): it may stay there only because nothing disturbs it. To see what becomes "
        "of such a state start a little beside it, as from network.init(rates=state.rates + 1e-6)."
    )


def _cost(patterns: Patterns) -> int:
    return patterns.P**2 * patterns.N


class _Plain(NamedTuple):
    """Patterns and synapses in NumPy, for a look at a network that compiles nothing."""

    xi: np.ndarray
    share: np.ndarray  # of all neurons, for each column
    wiring: Wiring

    @classmethod
    def of(cls, patterns: Patterns, wiring: Wiring) -> "_Plain":
        """Those of a network."""
        xi = np.asarray(patterns.xi)
        counts = np.ones(patterns.N) if patterns.counts is None else np.asarray(patterns.counts)
        return cls(xi, (counts / counts.sum()).astype(xi.dtype), jax.tree.map(np.asarray, wiring))

    def read_out(self, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Overlaps (K, P) and means (K,) of rates (K, N)."""
        mean = rates @ self.share
        m = (rates * self.share) @ self.xi.T @ self.wiring.read.T
        return m + mean[:, None] * self.wiring.shift, mean

    def currents(self, m: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Currents (K, N)."""
        drive = self.wiring.step * m
        shared = drive @ self.wiring.lift + self.wiring.background * mean
        return np.asarray(drive @ self.xi + shared[:, None])


def _greatest(network: Any, wiring: Wiring, slopes: np.ndarray, saliency: Any) -> float:
    """The greatest real part of an eigenvalue of the Jacobian, outside -1.

    Currents are linear in overlaps and mean rate (and the inhibitory unit), and these are linear
    in the rates: so a matrix of their number has the same eigenvalues as that of all neurons.
    """
    plain = _Plain.of(network.patterns, wiring)
    P, dtype = network.patterns.P, slopes.dtype
    s = np.ones(P, dtype) if saliency is None else np.asarray(saliency)
    units = np.eye(P + 1, dtype=dtype)
    currents = plain.currents(units[:, :P] * s, units[:, P])
    zero, one, none = (jnp.asarray(v, dtype) for v in (0.0, 1.0, np.zeros(P)))
    at_once = network.uniform(one, zero)
    if at_once is None:
        m, mean = plain.read_out(currents * slopes)
        return _abscissa(np.concatenate([m, mean[:, None]], 1).T - units)
    currents[P] += np.asarray(at_once)
    later = np.full((1, len(slopes)), np.asarray(network.uniform(zero, one)))
    m, mean = plain.read_out(np.concatenate([currents, later]) * slopes)
    top = np.concatenate([m, mean[:, None]], 1).T - np.eye(P + 1, P + 2, dtype=dtype)
    bottom = np.zeros((1, P + 2), dtype)
    bottom[0, P:] = [network.slow_rate(none, one, zero), network.slow_rate(none, zero, one)]
    return _abscissa(np.concatenate([top, bottom]))


def _abscissa(matrix: np.ndarray) -> float:
    if not np.isfinite(matrix).all():
        return np.nan
    return float(np.linalg.eigvals(matrix).real.max())
