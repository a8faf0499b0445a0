r"""Inverse design: transition matrices for a wanted sequence, without gradients.

While memory $\mu$ is active every saliency relaxes to $s_\nu = \kappa_\nu A_{\nu\mu}$, so along a
*given* sequence with given dwells all saliencies are linear in the gains $G = \kappa A$. That a
memory gives way at the end of its dwell ($z_\mu = 1$) is a linear equation, and that the wanted
successor then leads is a linear inequality.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import as_float, check_at_least
from ..losses import Events, check_memories
from ..theory.sequential import itinerary, switch_time

_TIMING = 100.0  # what a unit of mistimed saliency costs, against one of gain
_LEADS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)  # of a successor over its rivals, as a share of it


class Design(NamedTuple):
    """A transition matrix for a sequence.

    - `kappa`: the largest gain. `transition`: (P, P), the gains over `kappa`, so that both together
      make a network.
    - `saliency`: (sequences, P) saliencies at the start of each sequence.
    - `multiplier`: for one cycle, the size of the largest Floquet multiplier of its event map:
      deviations shrink by this factor each round, below 1 it is stable. Else NaN.
    """

    kappa: Float[Array, ""]
    transition: Float[Array, "P P"]
    saliency: Float[Array, "S P"]
    multiplier: Float[Array, ""]


def design_cycle(
    order: Any, dwell: Any, *, P: int | None = None, tau: Any = 1.0, delay: Any = 0.0
) -> Design:
    r"""The transition matrix of a cycle with given dwells, in closed form.

    With $u_k = T_k/\tau$ the dwell of the $k$-th memory and $U = \sum_k u_k$, only the edges
    $k \to k + 1$ are needed, with gains

    $$g_k = e^{-d}\, \frac{e^{u_{k+1}} - e^{-(U - u_{k+1})}}{1 - e^{-u_k}},$$

    which for equal dwells is $\kappa = Z + \sum_{j=0}^{P-2} Z^{-j}$, $Z = e^u$. The start holds
    what every memory has left from its last visit, so that the cycle is steady from the beginning.

    **Arguments:**

    - `order`: the memories in turn, none twice (else `hopfax.fit_sequence`).
    - `dwell`: $T_k$, one for all or one a memory.
    - `P`: memories of the network (default: as `order` needs).
    - `tau`: slow time constant, in the units of `dwell`.
    - `delay`: $d$, how long a handover takes, in slow time constants; 0 is the singular limit. The
        difference of `theory.sequential.switch_time` and `escape_time`, over tau, is a good value.

    **Returns:** a `Design`. Exact for orthogonal memories, hard tanh of unit gain, a linear readout
    and $\tau \to \infty$.

    **Raises:** ValueError for a memory that occurs twice, or dwells that are not positive.

    Derived for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.
    """
    cycle = Events(np.asarray(order), cycle=True)
    memories = np.asarray(cycle.memory)
    K = memories.size
    if len(set(memories.tolist())) < K:
        raise ValueError(
            f"`order` must name every memory once, got {memories.tolist()}; sequences that pass a "
            "memory twice are for hopfax.fit_sequence."
        )
    P = int(memories.max()) + 1 if P is None else P
    check_memories(cycle, P)
    dwell, tau, delay = as_float(dwell, "dwell"), as_float(tau, "tau"), as_float(delay, "delay")
    check_at_least(dwell, "dwell", 0.0, strict=True)
    check_at_least(tau, "tau", 0.0, strict=True)
    if dwell.shape not in ((), (K,)):
        raise ValueError(f"`dwell` must be a number or have shape ({K},), got {dwell.shape}.")
    u = jnp.broadcast_to(dwell / tau, (K,))
    following = jnp.roll(u, -1)
    whole = u.sum()
    left = jnp.exp(-delay)
    gains = left * (jnp.exp(following) - jnp.exp(following - whole)) / -jnp.expm1(-u)
    matrix = jnp.zeros((P, P), u.dtype).at[np.roll(memories, -1), memories].set(gains)
    # A memory left with saliency exp(-d) has since seen the dwells from the next one on.
    since = jnp.cumsum(u[::-1])[::-1] - u
    start = jnp.zeros(P, u.dtype).at[memories].set(left * jnp.exp(-since))
    start = start.at[memories[0]].set(left * jnp.exp(u[0]))
    kappa = gains.max()
    multiplier = _multiplier(matrix, start, K)
    return Design(kappa, matrix / kappa, start[None], multiplier)


def _multiplier(matrix, start, K: int) -> Float[Array, ""]:
    """The size of the largest Floquet multiplier of the event map round a cycle."""

    def round_(z):
        return itinerary(matrix, 1.0, 1.0, z, K + 1).saliency[-1]

    jacobian = np.asarray(jax.jacfwd(round_)(start))
    if not np.isfinite(jacobian).all():
        return jnp.full((), jnp.nan, start.dtype)
    return jnp.asarray(np.abs(np.linalg.eigvals(jacobian)).max(), start.dtype)


def handover(tau: float, bias: float) -> float:
    """About how long a handover takes, in slow time constants: that of a chain at gain 5."""
    seed = bias if bias > 0 else 1 / tau
    if not tau > 1:
        return 0.0
    late = float(switch_time(4.0, 5.0, tau, seed)) / tau - math.log(4.0)
    return min(max(late, 0.0), 0.5) if math.isfinite(late) else 0.0


class Gains(NamedTuple):
    """What a linear programme found: gains, starts, and how little there is to be said for it: how
    much the saliencies that end the dwells are off in sum, less the lead of the successors; more if
    there is inhibition, and much more if memories hold themselves, which real handovers blur."""

    gains: np.ndarray
    saliency: np.ndarray
    demerit: float


def design_gains(
    sequences: Sequence[Events],
    dwells: Sequence[np.ndarray],
    P: int,
    *,
    taus: np.ndarray,
    delay: float,
    saliency: np.ndarray | None,
) -> list[Gains]:
    r"""Gains of smallest $\sum |G|$ that lead along all sequences, by linear programming.

    Among them: excitation only and no self-loops, then inhibition too, then self-loops too; each
    with every lead of the wanted successors over their rivals that is possible.

    **Arguments:** `dwells`: for every sequence and transition, in the units of `taus`. `saliency`:
    the starts, if they are given; else a cycle repeats itself, and before an open sequence nothing
    was active.

    **Returns:** what was found, the best first; empty if no gains do it.
    """
    programme = _programme(sequences, dwells, P, taus, delay, saliency)
    found = []
    for signed, loops in ((False, False), (True, False), (False, True), (True, True)):
        for lead in _LEADS:
            gains = programme(signed, loops, lead)
            if gains is not None:
                found.append(gains)
    return sorted(found, key=lambda one: one.demerit)


def _programme(sequences, dwells, P: int, taus, delay: float, saliency):
    """Where saliencies are at every switch, as linear forms; returns what solves for the gains."""
    S = len(sequences)
    spots = P * P
    columns = spots + S * P
    transitions = sum(len(d) for d in dwells)
    low, high = np.full(columns + transitions, -np.inf), np.full(columns + transitions, np.inf)
    low[columns:] = 0.0
    fixed, steps = _Rows(columns + transitions), []
    slack = columns
    for s, (events, stays) in enumerate(zip(sequences, dwells, strict=True)):
        order, target = np.asarray(events.memory), np.asarray(events.switches[0])
        place = spots + s * P
        own = slice(place, place + P)
        low[own] = 0.0
        if saliency is not None:
            low[own] = high[own] = saliency[s]
        elif not events.cycle:
            high[own] = np.where(np.arange(P) == order[0], np.inf, 0.0)
        gains, start = np.zeros((P, P)), np.ones(P)  # z_nu = gains[nu] @ G[nu] + start[nu] z0[nu]
        for k, nu in enumerate(target):
            mu, fade = order[k], np.exp(-stays[k] / taus)
            gains, start = gains * fade[:, None], start * fade
            gains[:, mu] += 1 - fade
            z = [_Row.of(m, gains, start, place, P) for m in range(P)]
            fixed.between(z[mu], math.exp(-delay), slack)
            slack += 1
            steps.append((mu, nu, z))
        if events.cycle and saliency is None:
            for m in range(P):
                fixed.exactly([*_Row.of(m, gains, start, place, P), (place + m, -1.0)], 0.0)

    def solve(signed: bool, loops: bool, lead: float) -> Gains | None:
        rows = fixed.copy()
        for mu, nu, z in steps:
            rows.at_most(z[nu].times(-1.0), -1 - lead)
            for rival in set(range(P)) - {int(mu), int(nu)}:
                rows.at_most(z[rival] + z[nu].times(lead - 1), 0.0)
        below, above = low.copy(), high.copy()
        below[:spots] = -np.inf if signed else 0.0
        diagonal = np.arange(P) * (P + 1)
        below[diagonal] = below[diagonal] if loops else 0.0
        above[diagonal] = 0.8 if loops else 0.0  # a memory that holds itself at 1 never gives way
        solved = rows.solve(below, above, signed, spots, columns)
        if solved is None:
            return None
        x, off = solved
        demerit = off - lead + 0.1 * signed + 0.5 * loops
        return Gains(x[:spots].reshape(P, P), x[spots:].reshape(S, P), demerit)

    return solve


class _Row(list):
    """A linear form as (column, coefficient) pairs."""

    @staticmethod
    def of(m: int, gains: np.ndarray, start: np.ndarray, place: int, P: int) -> "_Row":
        pairs = [(m * P + int(j), float(gains[m, j])) for j in np.flatnonzero(gains[m])]
        return _Row([*pairs, (place + m, float(start[m]))])

    def times(self, factor: float) -> "_Row":
        return _Row([(column, factor * value) for column, value in self])

    def __add__(self, other) -> "_Row":
        return _Row([*self, *other])


class _Rows:
    """The constraints of a linear programme, row by row."""

    def __init__(self, columns: int):
        self.columns = columns
        self.upper: list[tuple[list, float]] = []
        self.equal: list[tuple[list, float]] = []

    def at_most(self, pairs, bound: float) -> None:
        self.upper.append((pairs, bound))

    def exactly(self, pairs, value: float) -> None:
        self.equal.append((pairs, value))

    def between(self, pairs, value: float, slack: int) -> None:
        """|form - value| <= slack."""
        self.upper.append(([*pairs, (slack, -1.0)], value))
        self.upper.append(([*_Row(pairs).times(-1.0), (slack, -1.0)], -value))

    def _matrix(self, rows: list[tuple[list, float]]):
        from scipy import sparse  # here and below: what costs a tenth of a second is imported late

        if not rows:
            return None, None
        lengths = [len(pairs) for pairs, _ in rows]
        column = np.array([c for pairs, _ in rows for c, _ in pairs], dtype=np.int64)
        value = np.array([v for pairs, _ in rows for _, v in pairs])
        row = np.repeat(np.arange(len(rows)), lengths)
        matrix = sparse.coo_matrix((value, (row, column)), shape=(len(rows), self.columns))
        return matrix.tocsr(), np.array([bound for _, bound in rows])

    def copy(self) -> "_Rows":
        other = _Rows(self.columns)
        other.upper, other.equal = [*self.upper], [*self.equal]
        return other

    def solve(self, low, high, signed: bool, spots: int, columns: int):
        """The cheapest solution, up to `columns`, and the sum of its slack; None if there is
        none."""
        from scipy import sparse
        from scipy.optimize import linprog

        (A, b), (E, e) = self._matrix(self.upper), self._matrix(self.equal)
        cost = np.zeros(self.columns)
        cost[:spots], cost[columns:] = 1.0, _TIMING
        if signed:  # the gains as differences of two positive parts
            A, E = (None if M is None else sparse.hstack([M, -M[:, :spots]]) for M in (A, E))
            cost = np.concatenate([cost, np.ones(spots)])
            mirrored = -low[:spots]
            low, high = np.maximum(low, 0.0), np.concatenate([high, mirrored])
            low = np.concatenate([low, np.zeros(spots)])
        bounds = np.stack([low, high], axis=1)
        found = linprog(cost, A_ub=A, b_ub=b, A_eq=E, b_eq=e, bounds=bounds, method="highs")
        if found.status != 0:
            return None
        x = found.x[: self.columns]
        x[:spots] -= found.x[self.columns :] if signed else 0.0
        return x[:columns], float(x[columns:].sum())
