r"""Gains that lead along any sequences, by linear programming.

While memory $\mu$ is active every saliency relaxes to $s_\nu = \kappa_\nu A_{\nu\mu}$ (in the limit
$\tau \to \infty$). So along *given* sequences with *given* dwells all saliencies are linear in the
gains $G = \kappa A$ and in the saliencies at the start, and so is what the network must do:

- a memory gives way at the end of its dwell: $z_\mu = 1$, or less by what it loses during a
  handover; an equation;
- the wanted successor then leads all others: $z_\nu > 1$ and $z_\nu > z_\lambda$, inequalities;
- a cycle comes back to its start: equations.

The equations for the dwells have slack, which is expensive: a sequence may be possible though not
with exactly these dwells. Of all solutions the one with the least $\sum |G|$ is taken. The
programme is solved for several leads of the successor over its rivals, with and without inhibition
and self-loops, and all solutions are returned, for simulations to choose among them.

The unknowns stand in this order: $G$ row by row; the start of each sequence; the slack of each
dwell; and, where gains may be negative, the sizes of the negative ones.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ..losses import Events

_TIMING = 100.0  # what a unit of mistimed saliency costs, against one of gain
_LEADS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)  # of a successor over its rivals, as a share of it
_HOLD = 0.8  # the largest gain of a self-loop: a memory that holds itself at 1 never gives way


class Gains(NamedTuple):
    """A solution of the linear programme: the gains (P, P), the starts (S, P), and a demerit.

    The demerit is the sum of errors of the saliencies at the ends of dwells, less the lead of the
    successors; more if there is inhibition, and much more if there are self-loops: handovers, which
    take no time here but do in a network, upset those most.
    """

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
    chain: bool = False,
) -> list[Gains]:
    r"""Gains of smallest $\sum |G|$ that lead along all sequences, by linear programming.

    Among them: excitation only and no self-loops, then inhibition too, then self-loops too; each
    with every lead of the wanted successors over their rivals that is possible.

    **Arguments:**

    - `sequences`: what to lead along, through `P` memories.
    - `dwells`: for every sequence and transition, in the units of `taus`; one more where the dwell
      of the last memory is known, exactly (`end`) or at least (`until`).
    - `taus`: (P,), slow time constants.
    - `delay`: how long a handover takes, in slow time constants.
    - `saliency`: the starts, if they are given; else a cycle comes back to its own, and an open
      sequence begins with its first memory alone.
    - `chain`: only entries of transitions that the sequences make may be there, and excite. Of
      these the one with the largest lead is enough.

    **Returns:** all solutions, the one with the least demerit first; empty if there are none.
    """
    ended = any(len(d) > e.switches[0].size for e, d in zip(sequences, dwells, strict=True))
    kinds = ((False, False), (True, False), (False, True), (True, True))
    found = []
    for closed in (True, False) if ended else (False,):
        programme = _programme(sequences, dwells, P, taus, delay, saliency, closed)
        for signed, loops in kinds[:1] if chain else kinds:
            for lead in _LEADS:
                gains = _solved(programme, signed, loops, lead, chain)
                if gains is not None:
                    found.append(gains)
                    if chain:
                        break
    return sorted(found, key=lambda one: one.demerit)


#: A linear form of the unknowns: pairs of a column and its coefficient.
Form = list[tuple[int, float]]


def _times(form: Form, factor: float) -> Form:
    return [(column, factor * value) for column, value in form]


@dataclasses.dataclass
class _Rows:
    """Rows of a linear programme: forms that are at most, or exactly, a number."""

    upper: list[tuple[Form, float]] = dataclasses.field(default_factory=list)
    equal: list[tuple[Form, float]] = dataclasses.field(default_factory=list)

    def at_most(self, form: Form, bound: float) -> None:
        self.upper.append((form, bound))

    def exactly(self, form: Form, value: float) -> None:
        self.equal.append((form, value))

    def about(self, form: Form, value: float, slack: int) -> None:
        """|form - value| <= the unknown in column `slack`."""
        self.at_most([*form, (slack, -1.0)], value)
        self.at_most([*_times(form, -1.0), (slack, -1.0)], -value)

    def copy(self) -> "_Rows":
        return _Rows([*self.upper], [*self.equal])


@dataclasses.dataclass(frozen=True)
class _Programme:
    """The linear programme of some sequences, as far as it is the same for all leads.

    - `P`, `S`: memories and sequences.
    - `rows`: when memories give way, and that cycles come back.
    - `low`, `high`: bounds of the unknowns.
    - `steps`: for every transition the active memory, its successor, and the saliencies of all
      memories at the end of the dwell.
    """

    P: int
    S: int
    rows: _Rows
    low: np.ndarray
    high: np.ndarray
    steps: list[tuple[int, int, list[Form]]]


def _programme(
    sequences: Sequence[Events],
    dwells: Sequence[np.ndarray],
    P: int,
    taus: np.ndarray,
    delay: float,
    saliency: np.ndarray | None,
    closed: bool,
) -> _Programme:
    """The linear programme, by going along every sequence once. A last memory whose dwell is known
    gives way to anyone or, if `closed`, to a memory of our choice: to one that leads, a network
    switches for certain."""
    S = len(sequences)
    slack = P * P + S * P
    unknowns = slack + sum(len(d) for d in dwells)
    low, high = np.full(unknowns, -np.inf), np.full(unknowns, np.inf)
    low[slack:] = 0.0
    rows, steps = _Rows(), []
    for s, (events, stays) in enumerate(zip(sequences, dwells, strict=True)):
        order, target = np.asarray(events.memory), np.asarray(events.switches[0]).tolist()
        if len(stays) > len(target):
            target.append(_next(order) if closed and events.until is None else None)
        place = P * P + s * P  # the column of the start of memory 0
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
            z = [_saliency(m, gains, start, place) for m in range(P)]
            if k == len(events.memory) - 1 and events.until is not None:
                rows.at_most(_times(z[mu], -1.0), -math.exp(-delay))  # it has not given way yet
            else:
                rows.about(z[mu], math.exp(-delay), slack)
            slack += 1
            if nu is not None:
                steps.append((int(mu), int(nu), z))
        if events.cycle and saliency is None:
            for m in range(P):
                rows.exactly([*_saliency(m, gains, start, place), (place + m, -1.0)], 0.0)
    return _Programme(P, S, rows, low, high, steps)


def _next(order: np.ndarray) -> int:
    """Whom the last memory gives way to, where that is our choice: as it did before, or to the
    first one."""
    before = np.flatnonzero(order[:-1] == order[-1])
    return int(order[before[-1] + 1] if before.size else order[0])


def _saliency(m: int, gains: np.ndarray, start: np.ndarray, place: int) -> Form:
    """The saliency of memory m, as a form of its gains and its start."""
    P = len(start)
    pairs = [(m * P + int(j), float(gains[m, j])) for j in np.flatnonzero(gains[m])]
    return [*pairs, (place + m, float(start[m]))]


def _solved(
    programme: _Programme, signed: bool, loops: bool, lead: float, chain: bool
) -> Gains | None:
    """The cheapest gains with this lead, with inhibition if `signed`; None if there are none."""
    P, S = programme.P, programme.S
    rows = programme.rows.copy()
    for mu, nu, z in programme.steps:
        rows.at_most(_times(z[nu], -1.0), -1 - lead)
        for rival in set(range(P)) - {mu, nu}:
            rows.at_most([*z[rival], *_times(z[nu], lead - 1)], 0.0)
    low, high = programme.low.copy(), programme.high.copy()
    low[: P * P] = -np.inf if signed else 0.0
    diagonal = np.arange(P) * (P + 1)
    low[diagonal] = low[diagonal] if loops else 0.0
    high[diagonal] = _HOLD if loops else 0.0
    if chain:
        made = {nu * P + mu for mu, nu, _ in programme.steps}
        other = [entry for entry in range(P * P) if entry not in made]
        low[other] = high[other] = 0.0
    x = _minimum(rows, low, high, signed, P * P, P * P + S * P)
    if x is None:
        return None
    found, off = x[: P * P + S * P], float(x[P * P + S * P :].sum())
    demerit = off - lead + 0.1 * signed + 0.5 * loops
    return Gains(found[: P * P].reshape(P, P), found[P * P :].reshape(S, P), demerit)


def _minimum(
    rows: _Rows, low: np.ndarray, high: np.ndarray, signed: bool, gains: int, slack: int
) -> np.ndarray | None:
    """The unknowns of least cost, or None if there are none; the first `gains` are gains, those
    from `slack` on are slack."""
    unknowns = low.size
    (A, b), (E, e) = _matrix(rows.upper, unknowns), _matrix(rows.equal, unknowns)
    cost = np.zeros(unknowns)
    cost[:gains], cost[slack:] = 1.0, _TIMING
    if signed:  # the gains as differences of two positive parts, so that sizes are linear
        A, E = (None if M is None else sparse.hstack([M, -M[:, :gains]]) for M in (A, E))
        cost = np.concatenate([cost, np.ones(gains)])
        mirrored = -low[:gains]
        low, high = np.maximum(low, 0.0), np.concatenate([high, mirrored])
        low = np.concatenate([low, np.zeros(gains)])
    bounds = np.stack([low, high], axis=1)
    found = linprog(cost, A_ub=A, b_ub=b, A_eq=E, b_eq=e, bounds=bounds, method="highs")
    if found.status != 0:
        return None
    x = found.x[:unknowns]
    x[:gains] -= found.x[unknowns:] if signed else 0.0
    return x


def _matrix(rows: list[tuple[Form, float]], unknowns: int) -> tuple:
    """The rows as a sparse matrix and a right-hand side; None and None if there are no rows."""
    if not rows:
        return None, None
    lengths = [len(form) for form, _ in rows]
    column = np.array([c for form, _ in rows for c, _ in form], dtype=np.int64)
    value = np.array([v for form, _ in rows for _, v in form])
    row = np.repeat(np.arange(len(rows)), lengths)
    matrix = sparse.coo_matrix((value, (row, column)), shape=(len(rows), unknowns))
    return matrix.tocsr(), np.array([bound for _, bound in rows])
