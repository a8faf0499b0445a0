r"""Sequences whose next item depends on a long history: one memory for each item in its context.

The sequences are made an automaton (`_automaton`), and each of its states a memory of a larger
network: the item's pattern beside a code of its own on additional *context* neurons. Two copies of
an item are then different memories, each with one successor, so that any finite sequence is a
chain or a cycle of memories, which the network shows by construction.

- The codes are orthogonal, at least as many neurons as the items have, so that two copies of one
  item overlap by a half at most. With the pseudo-inverse rule, memories that overlap hand over like
  orthogonal ones: on the way from $\mu$ to $\nu$ the rates stay in the span of $\xi^\mu$ and
  $\xi^\nu$.
- A bias $b$ on all memories adds $b s_i$ to the input of neuron i, $s_i = \sum_\nu \xi^\nu_i$.
  With $s$ the largest of these, some neurons leave saturation $\tau b s$ fast time constants
  before the others, and what they do meanwhile is, for a memory that is not concerned, an overlap
  of either sign. At the sizes usual for few memories that ends a sequence (sixty fail at b = 0.003,
  fifteen at 0.01). It is of the order of $\tau (b s)^2 / \sqrt N$, while all together start the
  handover by $\dot m_\nu = (z_\nu - 1) m_\nu + b$, which has the right sign and grows for the
  successor alone. So $b = 0.1 \sqrt N / (\tau s^2)$, which costs a few fast time constants.
"""

import dataclasses
import math
from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._trajectory import Trajectory
from .._types import ArrayLike
from ..networks import TwoTimescaleHopfield
from ..observables import switch_times
from ..patterns import Patterns, hadamard
from ._automaton import END, Automaton, automaton
from ._proof import ROUNDS, compare, replay, without_end
from ._strategies import DWELL, Made, Task, chain_gain, designed
from ._trial import Trial

_EARLY = 0.1  # what neurons do that leave saturation before others, over what starts a handover
_ROUNDS = 12  # of corrections to the times
_PRECISE = 1e-7  # of a switch time, in slow time constants
_SLOW = 0.7  # of the error that a correction leaves, from which on no more are made


def enlarged(task: Task, item: np.ndarray) -> Task:
    """The task for a network with a memory for each of these items (Q,), each in a context."""
    network = cast(TwoTimescaleHopfield, task.network)  # `plan` refuses others
    patterns = _copies(network.patterns, item)
    Q, tau = item.size, np.asarray(network.tau)
    reach = float(np.abs(np.asarray(patterns.xi).sum(axis=0)).max())

    def of_state(value: ArrayLike) -> ArrayLike:
        """A parameter of the items, as one of the states."""
        return value if np.ndim(value) == 0 else np.asarray(value)[item]

    larger = TwoTimescaleHopfield(
        patterns,
        np.zeros((Q, Q)),
        kappa=of_state(network.kappa),
        tau=of_state(network.tau),
        bias=_EARLY * math.sqrt(patterns.N) / (tau.max() * reach**2 * task.gain),
        readout=network.readout,
        activation=network.activation,
        learning="pseudo_inverse",
        keep_diagonal=network.keep_diagonal,
    )
    return dataclasses.replace(task, network=larger)


def _copies(patterns: Patterns, item: np.ndarray) -> Patterns:
    """The items' patterns, each beside a code of its own on further neurons."""
    Q = item.size
    order = 1 << (Q - 1).bit_length()
    neurons = order * max(1, -(-patterns.N // order))
    code = np.asarray(hadamard(np.arange(Q), neurons).xi)
    # Rows of this matrix all begin with 1, so their sum is Q there. With the signs of a bent
    # function (Rothaus 1976) the sum of all of them has the same size everywhere, sqrt(Q).
    number = np.arange(Q)
    pairs = number & (number >> 1) & 0x5555555555555555
    code = code * (1.0 - 2.0 * (np.bitwise_count(pairs) & 1))[:, None]
    xi = jnp.concatenate([patterns.xi[item], jnp.asarray(code, patterns.xi.dtype)], axis=1)
    counts = patterns.counts
    if counts is not None:
        counts = jnp.concatenate([counts, jnp.ones(neurons, counts.dtype)])
    return Patterns(xi, binary=patterns.binary, counts=counts)


def contexts(task: Task) -> Made:
    """A larger network, which leads along all sequences.

    **Raises:** ValueError for a cycle of one item: a state that follows itself.
    """
    states = automaton(task.targets)
    alone = states.following == np.arange(states.item.size)
    if alone.any():
        raise ValueError(
            f"`target` shows memory {states.item[np.argmax(alone)]} alone, for ever; a sequence "
            "needs two."
        )
    larger = enlarged(task, states.item)
    taus = np.broadcast_to(np.asarray(larger.network.tau), states.item.shape)
    if not task.timed:
        trial = _chain(larger, states, taus, taus * np.log(steady(chain_gain(task))))
        return Made(trial, None, states.item)
    stays = np.full(states.item.size, np.nan)
    for events, path in zip(task.targets, states.paths, strict=True):
        stays[path] = np.asarray(events.dwells)
    stays = np.where(np.isnan(stays), DWELL * taus, stays)
    return Made(_paced(larger, states, taus, stays), None, states.item)


def steady(gain: float) -> float:
    """The saliency with which the memories of an endless chain are entered."""
    return 0.5 * gain * (1 + math.sqrt(1 - 4 / gain))


def _chain(task: Task, states: Automaton, taus: np.ndarray, stays: np.ndarray) -> Trial:
    r"""Gains and starts for these dwells, in the singular limit.

    State $q$ is entered with saliency $e^{T_q/\tau_q - d}$, where $d$ is the delay of a handover.
    Its predecessor $p$ charges it from what its last visit in a cycle has left, $r$, by the gain
    $(e^{T_q/\tau_q - d} - r) / (1 - e^{-T_p/\tau_q})$. Without times this is one gain for all, and
    the remainder $r$ is left out: it makes first dwells a little longer.
    """
    left = np.exp(-task.delay) if task.timed else 1.0
    source = np.flatnonzero(states.following != END)
    target = states.following[source]
    entered, rest = left * np.exp(stays / taus), np.zeros(taus.size)
    starts = np.zeros((len(task.targets), taus.size))
    for start, events, path in zip(starts, task.targets, states.paths, strict=True):
        if events.cycle:
            period, first = np.unique(path, return_index=True)
            period = period[np.argsort(first)]
            since = np.cumsum(stays[period][::-1])[::-1] - stays[period]
            start[period] = left * np.exp(-since / taus[period])
            whole = stays[period].sum()
            rest[period] = left * np.exp((stays[period] - whole) / taus[period])
        start[path[0]] = entered[path[0]]
    rest = rest if task.timed else np.zeros(taus.size)
    gains = np.zeros((taus.size, taus.size))
    gains[target, source] = (entered - rest)[target] / _charge(stays[source], taus[target])
    return designed(task, gains, starts)


def _charge(stay: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """How far a saliency comes towards its drive while the memory before is active."""
    return -np.expm1(-stay / tau)


def _paced(task: Task, states: Automaton, taus: np.ndarray, stays: np.ndarray) -> Trial:
    r"""The chain, corrected until its own simulation keeps the times.

    A dwell too long by $\delta$ was entered with a saliency too large by $e^{\delta/\tau}$. The
    gain that charged it is changed by that, and by what a predecessor of the right dwell would
    have charged more or less. In the singular limit one correction is exact.
    """
    best, least = None, np.inf
    trial = _chain(task, states, taus, stays)
    for _ in range(_ROUNDS):
        pairs = list(zip(map(without_end, task.targets), trial.saliency, strict=True))
        runs = [replay(trial.network, start, events) for events, start in pairs]
        seen = [
            compare(run, events, states.item) for run, (events, _) in zip(runs, pairs, strict=True)
        ]
        error = max(np.inf if score < 1 else error for score, error in seen)
        if best is not None and not error < least:
            break
        slow = error > _SLOW * least
        best, least = trial, min(error, least)
        if slow or not np.isfinite(error) or error < _PRECISE * task.tau:
            break
        trial = _corrected(task, states, trial, runs, taus, stays)
    return best if best is not None else trial


def _corrected(
    task: Task,
    states: Automaton,
    trial: Trial,
    runs: list[Trajectory],
    taus: np.ndarray,
    stays: np.ndarray,
) -> Trial:
    """The trial after one correction of its gains and starts, by the dwells in these runs."""
    total, count = np.zeros(taus.size), np.zeros(taus.size)
    starts = np.array(trial.saliency)
    for start, run, events, path in zip(starts, runs, task.targets, states.paths, strict=True):
        known = np.tile(path, ROUNDS) if events.cycle else path[:-1]
        shown = np.diff(np.asarray(switch_times(run)), prepend=0.0)[: known.size]
        np.add.at(total, known, shown)
        np.add.at(count, known, 1.0)
        start[path[0]] *= np.exp((stays[path[0]] - shown[0]) / taus[path[0]])
    seen = np.where(count > 0, total / np.maximum(count, 1.0), stays)
    factor = np.exp((stays - seen) / taus)[:, None]
    factor = factor * _charge(seen, taus[:, None]) / _charge(stays, taus[:, None])
    dtype = trial.saliency.dtype
    network = eqx.tree_at(
        lambda n: n.transition, trial.network, trial.network.transition * jnp.asarray(factor, dtype)
    )
    return Trial(network, jnp.asarray(starts, dtype))
