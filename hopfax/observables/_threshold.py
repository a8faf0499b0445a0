"""The gain that a network of two timescales would need, where the theory has one for it."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..networks import TwoTimescaleHopfield

_SAME = 1e-6  # relative difference of gains that count as equal
_ORTHOGONAL = 1e-6  # overlap of two memories up to which the theory takes them for orthogonal


class Threshold(NamedTuple):
    """The gain along the way, the critical one, and for what it holds.

    `P`: memories of the cycle, infinite for a chain that ends. `tau`, `bias`: as the theory took
    them. `error`: how far the critical gain may be off. `limit`: in which limit it holds, in words.
    """

    kappa: float
    critical: float
    P: float
    tau: float
    bias: float
    error: float
    limit: str


def slope_at_zero(network: TwoTimescaleHopfield) -> float:
    r"""$\psi'(0)$, below whose inverse no saliency keeps a memory."""
    return float(network.activation.slope(jnp.zeros((), network.patterns.xi.dtype)))


def threshold_of(network: TwoTimescaleHopfield, memory: int) -> Threshold | str:
    """The critical gain of the way that leads from this memory; a sentence where the theory has
    none."""
    from ..theory import sequential  # late: `import hopfax` needs no theory

    told = network.for_theory()
    gram = np.asarray(told["gram"], float)
    apart = np.abs(gram - np.diag(np.diag(gram))).max(initial=0.0)
    if apart > _ORTHOGONAL:
        return (
            f"No critical gain is derived for memories that overlap (by up to {apart:.3g}); that "
            "of orthogonal ones does not hold for them."
        )
    if network.readout != "linear" or not network.keep_diagonal:
        return "A critical gain is derived for readout='linear' and keep_diagonal=True alone."
    way = _way(network, memory)
    if isinstance(way, str):
        return way
    P, kappa, loop = way
    tau, bias = (np.unique(np.asarray(value, float)) for value in (network.tau, network.bias))
    hard = network.escape_level() is not None  # as of hard tanh alone
    gain = slope_at_zero(network) if hard else 1.0
    if hard and loop == 0 and P != math.inf and tau.size == bias.size == 1:
        seed = gain * float(bias[0])
        if not sequential.domain(int(P), float(tau[0]), seed, gain * kappa):
            options = dict(tau=tau[0], bias=bias[0], activation=network.activation)
            critical = float(sequential.critical_gain(int(P), **options))
            error = float(sequential.error_band(seed)) / gain
            limit = f"the theory of finite tau, at tau = {tau[0]:g} and bias = {bias[0]:g}"
            return Threshold(kappa, critical, P, float(tau[0]), float(bias[0]), error, limit)
    limit = "the limit of tau to infinity and a vanishing seed"
    if not hard:
        P = math.inf
    options = dict(activation=network.activation) | (dict(self_loop=loop) if loop else {})
    try:
        critical = float(sequential.critical_gain(_whole(P), **options))
    except ValueError as error:
        return str(error)
    return Threshold(kappa, critical, P, math.inf, 0.0, math.nan, limit)


def _whole(P: float) -> int | float:
    return P if P == math.inf else int(P)


def _way(network: TwoTimescaleHopfield, memory: int) -> tuple[float, float, float] | str:
    """The length, the gain and the self-loop of the cycle that this memory lies on or leads to;
    a sentence where memories branch or gains differ."""
    A = np.asarray(network.transition, float)
    gains = np.broadcast_to(np.asarray(network.kappa, float), (len(A),))[:, None] * A
    path, here, closed = [memory], memory, False
    while not closed:
        called = np.flatnonzero(gains[:, here] * (np.arange(len(A)) != here))
        if called.size > 1:
            names = " and ".join(map(str, called))
            return f"Memory {here} calls {names}, and no critical gain is derived for branches."
        if called.size == 0:
            break
        here = int(called[0])
        closed = here in path
        path.append(here)
    loop = path[path.index(here) : -1] if closed else path
    following = [*loop[1:], here] if closed else loop[1:]
    along = gains[following, loop[: len(following)]]
    own = np.unique(gains[loop, loop])
    if along.size == 0:
        return f"Memory {memory} calls no other."
    if np.ptp(along) > _SAME * np.abs(along).max() or own.size > 1:
        return (
            f"The gains along the way differ ({along.min():.4g} to {along.max():.4g}), and no "
            "critical gain is derived for unequal ones."
        )
    return float(len(loop)) if closed else math.inf, float(along[0]), float(own[0])


def edge_of(network: TwoTimescaleHopfield, found: Threshold, saliency: np.ndarray) -> float | None:
    """The least start saliency from which a sequence at this gain goes on; None where the theory
    has none for this start."""
    from ..theory import sequential

    hard = network.escape_level() is not None  # as of hard tanh alone
    looped = bool(np.diag(np.asarray(network.transition)).any())
    if not hard or looped or np.count_nonzero(saliency) != 1:
        return None
    gain = slope_at_zero(network)
    P = _whole(found.P)
    finite = math.isfinite(found.tau)
    options = dict(tau=found.tau, bias=gain * found.bias) if finite else {}
    try:
        return float(sequential.basin_edge(gain * found.kappa, P, **options)) / gain
    except ValueError:
        return None
