"""The claims of `hopfax reproduce rate`: each a function from what was measured to claims."""

from collections.abc import Iterator

import numpy as np

from .._claims import Claim, claim
from . import _points
from ._cases import (
    DELAY_FACTOR,
    DELAY_THRESHOLD,
    GAIN,
    HORIZON,
    INHIBITED,
    LOW,
    NEURONS,
    RANDOM,
    SATURATED_DELAYS,
    SLOW,
    SMALL,
    STRETCH,
    STRETCHES,
    SURE,
    B,
    Q,
)
from ._diagram import swept, verdicts
from ._measured import Results

_BASE = f"N = {NEURONS}, q = {Q:g}, gain {GAIN:g}, b = {B:g}"


def claims(found: Results) -> list[Claim]:
    """All claims, in the order of the table."""
    return [made for check in _CHECKS for made in check(found)]


def _equilibria(found: Results) -> Iterator[Claim]:
    """Every design makes equilibria of its memories."""
    for name, value in found.residuals.items():
        yield claim(
            f"memories are exact equilibria: {name}",
            0.0,
            value,
            1e-12,
            "rounding of float64" if value < 1e-12 else "no more than rounding of float64",
            f"largest |dx/dt| over memories and neurons; {_BASE}, I* = 0.2, a = {INHIBITED:g}",
        )


def _eigenvalues(found: Results) -> Iterator[Claim]:
    """They are the rates at which differences grow, and their signs the stability."""
    for row in found.rows:
        where = f"{row.kind.replace('_', ' ')}, a = {row.a:g}, I* = {row.threshold:g}"
        yield claim(
            f"eigenvalue at a memory, {where}",
            row.eigenvalue,
            row.growth,
            2e-4,
            "neighbouring eigenvalues 1e-4 apart are not told from each other in this time",
            f"balanced set, {_BASE}; simulation: growth rate of a difference of {SMALL:g}, made "
            f"small again every {STRETCH:g}, after {STRETCH * STRETCHES:g}",
        )
    yield claim(
        "rows of the table in which the simulation has the stability of the eigenvalue",
        len(found.rows),
        sum((row.eigenvalue < 0) == row.stable for row in found.rows),
        0.0,
        "a count",
        f"a perturbation of {_points.NUDGE:g} is smaller at t = {_points.HORIZON:g}, or it is not",
    )


def _phase_diagrams(found: Results) -> Iterator[Claim]:
    """Simulations have the stability of the eigenvalue all over two diagrams."""
    for dataset in found.diagrams:
        rows = [row for row in verdicts(dataset) if abs(row[1]) > _points.MARGINAL]
        yield claim(
            f"phase diagram over {swept(dataset)}: simulations that agree",
            len(rows),
            sum(row[3] for row in rows),
            0.0,
            "a count",
            f"logistic, q = {Q:g}; all but those with an eigenvalue within "
            f"{_points.MARGINAL:g} of 0, which {_points.HORIZON:g} time constants do not tell",
        )


def _cues(found: Results) -> Iterator[Claim]:
    """Cues that suffice are completed, others forgotten."""
    cues = found.cues
    yield claim(
        f"overlap from cues that keep {SURE:.0%} of the active neurons or more, the least",
        1.0,
        cues.overlap[cues.kept >= SURE].min(),
        1e-3,
        "the memory is an equilibrium, to which runs converge",
        _seeds(found),
    )
    yield claim(
        f"mean rate from cues that keep {LOW:.0%} or less, the largest",
        _quiet(found),
        cues.mean[cues.kept <= LOW].max(),
        1e-4,
        "the quiescent state, to which runs converge",
        _seeds(found),
    )


def _spurious_states(found: Results) -> Iterator[Claim]:
    """Cues in between end in the core that memories share, or in a memory without it."""
    cues = found.cues
    spurious = cues.mean[(cues.mean > 2 * _quiet(found)) & (cues.overlap < 0.95)]
    for name, level in (("its support without the core", Q - Q**2), ("the core alone", Q**2)):
        near = spurious[np.abs(spurious - level) < Q / 10]
        yield claim(
            f"mean rate where a weaker cue ends in a spurious state, {name}",
            level,
            near.mean() if near.size else np.nan,
            2e-3,
            "active neurons not quite saturated, others not quite silent",
            f"{near.size} of {cues.mean.size} runs; {_seeds(found)}",
        )
    yield claim(
        "runs from cues that end elsewhere",
        0.0,
        len(spurious) - (np.abs(spurious[:, None] - [Q - Q**2, Q**2]) < Q / 10).sum(),
        0.0,
        "a count",
        _seeds(found),
    )


def _seeds(found: Results) -> str:
    number = found.cues.overlap.shape[1]
    return f"{number} seeds; {_BASE}, a = {INHIBITED:g}, I* = 0.2, t = {HORIZON:g}"


def _quiet(found: Results) -> float:
    """The rate of all neurons in the quiescent state."""
    return found.planes[0].equilibria[0, 0]


def _planes(found: Results) -> Iterator[Claim]:
    """Runs of a single memory end in the stable equilibria of its plane, and reach all of them."""
    for plane in found.planes:
        rest = plane.equilibria[plane.stable]
        ends = plane.paths[:, -1]
        gaps = np.abs(ends[:, None] - rest).max(-1)  # (starts, equilibria)
        on, off = plane.inputs
        where = f"a = {plane.a:g}, inputs {on:g} (active), {off:g} (silent)"
        conditions = (
            f"single memory, q = {Q:g}, logistic, gain {GAIN:g}, I* = 0.2, b = {B:g}; "
            f"{len(ends)} starts, t = 100"
        )
        yield claim(
            f"stable states of rest that runs end in, {where}",
            len(rest),
            len(np.unique(gaps.argmin(1))),
            0.0,
            "a count; theory: of all roots of the planar system",
            conditions,
        )
        yield claim(
            f"distance of an end from the nearest of them, the largest, {where}",
            0.0,
            gaps.min(1).max(),
            1e-6,
            "tolerance 1e-8 of the integrator",
            conditions,
        )


def _saliencies(found: Results) -> Iterator[Claim]:
    """The saliency that a memory needs."""
    for case in found.saliencies:
        yield claim(
            f"critical saliency, a = {case.a:g}, I* = {case.threshold:g}",
            case.predicted,
            case.measured,
            case.resolution + 1e-4,
            f"half a step of {2 * case.resolution:.1g}, and 1e-4 as a run of {SLOW:g} time "
            "constants does not leave at once where a memory has just vanished",
            f"input-driven network, balanced set, {_BASE}; theory: fold of the planar system",
        )


#: Runs under new saliencies: case, claim, memory whose overlap is taken, and what it is then.
_MOVES = (
    (
        "saliency alone",
        "saliency alone does not move the state: overlap with the salient memory",
        1,
        0.0,
    ),
    (
        "with a weak input",
        "saliency and a weak input do: overlap with the salient memory",
        1,
        1.0,
    ),
    (
        "old memory salient",
        "nor do they from a memory of saliency 0.7: overlap with that memory",
        0,
        1.0,
    ),
)


def _moves(found: Results) -> Iterator[Claim]:
    """Saliency and input together move the state."""
    for case, text, memory, expected in _MOVES:
        yield claim(
            text,
            expected,
            found.moved[case][memory],
            0.05,
            "rates at saliencies other than 1 differ a little from the stored ones",
            "five memories of the balanced set, from memory 0; saliency 0.4 (0.7) of memory 0, "
            "1 of memory 1, 0.4 of the others; input 0.15 to the neurons of memory 1",
        )


def _delays(found: Results) -> Iterator[Claim]:
    """What delayed inhibition does to saturated memories, and to one near its border."""
    for tau, far in zip(SATURATED_DELAYS, found.saturated, strict=True):
        yield claim(
            f"delayed inhibition, tau_I = {tau:g}: a saturated memory stays",
            SMALL,
            far,
            0.0,
            "a perturbation shrinks",
            f"Dale's law, balanced set, {_BASE}, a = {INHIBITED:g}, I* = 0.2; distance after 80",
            "below",
        )
    predicted, measured = found.critical_delay
    yield claim(
        "critical time constant of inhibition for a memory near its border",
        predicted,
        measured,
        0.01 * predicted,
        "growth is measured over 250 time constants, and interpolated",
        f"Dale's law, balanced set, {_BASE}, a = {INHIBITED:g}, I* = {DELAY_THRESHOLD:g}, "
        f"{DELAY_FACTOR:g} times the least inhibition; theory: Hurwitz criterion",
    )


def _crosstalk(found: Results) -> Iterator[Claim]:
    """Of random memories, by the covariance design; the projection design has none."""
    noise, deviation, error, residual = found.crosstalk
    conditions = (
        f"{RANDOM} random memories of exactly qN active neurons, {_BASE}, a = {INHIBITED:g}; all "
        "memories and neurons of several sets"
    )
    yield claim(
        "crosstalk: standard deviation of the current in a random memory",
        noise,
        deviation,
        4 * error,
        "4 standard errors over sets",
        f"covariance design that takes r = q for granted; {conditions}",
    )
    yield claim(
        "crosstalk of the projection design: largest |dx/dt|",
        0.0,
        residual,
        1e-12,
        "rounding of float64",
        conditions,
    )


_CHECKS = (
    *(_equilibria, _eigenvalues, _phase_diagrams, _cues, _spurious_states, _planes),
    *(_saliencies, _moves, _delays, _crosstalk),
)
