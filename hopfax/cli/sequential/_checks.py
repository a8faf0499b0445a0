"""The claims of `hopfax reproduce sequential`: each a function from what was measured to claims."""

import math
from collections.abc import Iterator

import numpy as np

from ...theory import sequential as theory
from .._claims import Claim, claim
from ._measured import (
    BIAS,
    HORIZON,
    LONG,
    Q_NEXT,
    Q_SELF,
    SAVES,
    SEPARATIONS,
    START,
    STEP,
    TAU,
    P,
    Results,
    edge_of_basin,
    purity,
)

_SETTINGS = f"P = {P}, tau = {TAU:g}, uniform bias {BIAS:g}, z(0) = {START:g} e_0"
_SINGULAR = "singular limit: tau -> infinity, vanishing seed, orthogonal memories, hard tanh"
_CREEP = "an orbit just below threshold survives the 4000 steps that are followed"
_SURVIVAL = f"survival to {HORIZON:g} tau from z(0) = {START:g} e_0, uniform bias {BIAS:g}"


def claims(found: Results) -> list[Claim]:
    """All claims, in the order of the table."""
    return [made for check in _CHECKS for made in check(found)]


def _critical_gains(found: Results) -> Iterator[Claim]:
    """Of the map, in closed form and from its orbits."""
    yield claim(
        "critical gain of an endless chain",
        4.0,
        found.chain,
        1e-2,
        _CREEP,
        f"P -> infinity; {_SINGULAR}; simulation: orbits of Z -> kappa (1 - 1/Z)",
    )
    for size, value in found.orbits.items():
        yield claim(
            f"critical gain of a cycle of {size}",
            found.gains[size],
            value,
            1e-2,
            _CREEP,
            f"P = {size}; {_SINGULAR}; simulation: orbits of the map with residuals",
        )


def _fixed_points(found: Results) -> Iterator[Claim]:
    """The stable saliency of the map and the unstable one, which is the edge of its basin."""
    del found
    fixed = theory.fixed_points(5.0)
    orbit = np.asarray(theory.saliency_orbit(START, 5.0, 60))
    yield claim(
        "stable saliency of the endless chain at kappa = 5",
        fixed.upper,
        orbit[-1],
        1e-6,
        "60 steps of a contraction by 0.38 each",
        f"P -> infinity; {_SINGULAR}; simulation: the orbit from Z = {START:g}",
    )
    yield claim(
        "smallest start saliency that lasts at kappa = 5",
        fixed.lower,
        edge_of_basin(5.0),
        1e-4,
        "bisected to 1e-6; an orbit starting that close is followed for 200 steps",
        f"P -> infinity; {_SINGULAR}; simulation: orbits, bisected over their start",
    )


def _outcomes(found: Results) -> Iterator[Claim]:
    """Collapse at a small gain, a sequence of pure memories at a large one."""
    yield claim(
        "kappa = 3 collapses: largest overlap in the last tenth, against a memory's 1",
        1.0,
        np.abs(found.collapse.overlaps[-SAVES // 10 :]).max(),
        0.9,
        "what is left is the response to the bias",
        f"{_SETTINGS}, horizon {HORIZON:g} tau; {len(found.collapse.switches)} switches before",
        "below",
    )
    yield claim(
        "kappa = 5 is entrained: largest overlap in mid-dwell, last five dwells",
        1.0,
        purity(found.entrained),
        2e-2,
        "the seed lowers the overlap by O(bias)",
        f"{_SETTINGS}, horizon {HORIZON:g} tau, {len(found.entrained.switches)} switches",
    )


def _dwells(found: Results) -> Iterator[Claim]:
    """At finite separations of timescales, and in their limit."""
    for tau, (predicted, measured) in found.dwells.items():
        yield claim(
            f"steady dwell / tau at kappa = 5, tau = {tau:g}",
            predicted / tau,
            measured / tau,
            1e-3,
            "the response of bystanders, O(bias), is not in the theory",
            f"P = {P}, uniform bias {BIAS:g}; theory with the handover at this tau",
        )
    tau = SEPARATIONS[-1]
    yield claim(
        f"limit of the steady dwell / tau at kappa = 5, measured at tau = {tau:g}",
        float(np.log(theory.fixed_points(5.0, P).upper)),
        found.dwells[tau][1] / tau,
        math.log(tau) / tau,
        "the handover lasts O(ln tau) fast time constants",
        f"P = {P}, tau -> infinity for the theory (ln Z); the simulation lies above",
    )


def _first_switches(found: Results) -> Iterator[Claim]:
    """With a seed on the next memory alone, as the formula assumes, and on all memories."""
    yield claim(
        "first switch / tau",
        found.first_switch / TAU,
        found.seeded.switches[0] / TAU,
        1e-3,
        "the formula is of first order in 1/tau",
        f"P = {P}, kappa = 5, tau = {TAU:g}, bias {BIAS:g} on memory 1 alone, z(0) = {START:g} e_0",
    )
    yield claim(
        "first switch / tau, seed on all memories",
        found.first_switch / TAU,
        found.entrained.switches[0] / TAU,
        (P - 2) * BIAS,
        "with it the first sites let go at z = 1 + (P - 2) bias instead of 1 + bias",
        f"{_SETTINGS}, kappa = 5; the formula is for a seed on memory 1 alone",
    )


def _thresholds(found: Results) -> Iterator[Claim]:
    """Critical gains at finite separations of timescales."""
    rows = zip(SEPARATIONS, found.thresholds, found.measured, found.resolution, strict=True)
    for tau, predicted, measured, resolution in rows:
        yield claim(
            f"critical gain of a cycle of {P} at tau = {tau:g}",
            predicted,
            measured,
            2 * BIAS + 0.02,
            "the theory leaves out bystanders, which costs 2 bias; slow collapse near "
            "threshold outlasts the horizon",
            f"{_SURVIVAL}; bisected to +-{resolution:.1g}",
        )


def _order_of_thresholds(found: Results) -> Iterator[Claim]:
    """They grow with the separation of timescales, towards the limit of this cycle."""
    for k, tau in enumerate(SEPARATIONS):
        yield claim(
            f"critical gain of a cycle of {P}: tau = {tau:g} lies below all larger tau",
            min([*found.measured[k + 1 :], found.gains[P]]),
            found.measured[k],
            float(found.resolution.max()),
            "the resolution of the measured gains",
            f"{_SURVIVAL}; the limit tau -> infinity is {found.gains[P]:.4f}, for this P, not 4",
            "below",
        )


def _exact_thresholds(found: Results) -> Iterator[Claim]:
    """Critical gains as folds of the orbit, and of runs that begin there."""
    rows = zip(found.orbits_of.items(), found.from_fold, strict=True)
    for (tau, exact), measured in rows:
        yield claim(
            f"critical gain of a cycle of {P} at tau = {tau:g}, exact",
            exact.gain,
            measured,
            1e-3,
            f"the gains that are tried lie {STEP:g} apart, and just below the fold a run is long",
            f"P = {P}, uniform bias {BIAS:g}; theory: hopfax.dynamics.critical_gain, the "
            f"{exact.end.kind} of the orbit; simulation: survival to {LONG:g} tau of runs that "
            "begin on the orbit at the fold",
        )


def _exact_orbits(found: Results) -> Iterator[Claim]:
    """The dwell and the leading multiplier of the orbit, and those of runs that settle on it."""
    for tau, exact in found.orbits_of.items():
        conditions = f"P = {P}, uniform bias {BIAS:g}; theory: hopfax.dynamics.orbit"
        yield claim(
            f"steady dwell / tau at kappa = 5, tau = {tau:g}, exact",
            exact.orbit.returns / tau,
            found.dwells[tau][1] / tau,
            1e-9,
            "what is left of the start after 28 dwells is rounding, as are the events' times",
            f"{conditions}; simulation: the last dwell within {HORIZON:g} tau",
        )
        first, second = np.abs(exact.orbit.multipliers[:2])
        factor, dwells = found.decays[tau]
        yield claim(
            f"leading Floquet multiplier at kappa = 5, tau = {tau:g}",
            first,
            factor,
            first * (second / first) ** dwells,
            f"the next multiplier, {second:.3f}, leaves ({second / first:.3f})^{dwells:g} of what "
            "it began with",
            f"{conditions}, of one dwell; simulation: by which factor the dwells' distance from "
            "the steady one shrinks, in the last dwells in which it is above 1e-8 tau",
        )


def _one_timescale(found: Results) -> Iterator[Claim]:
    """Without a slow variable no memory is reached."""
    overlaps = found.one[1]
    yield claim(
        "one timescale: largest late overlap is far from a pure memory's 1",
        1.0,
        np.abs(overlaps[len(overlaps) // 2 :]).max(),
        0.25,
        "a state within 1/4 of a memory would count as retrieved",
        f"Q = {Q_SELF:g} I + {Q_NEXT:g} Cyc, P = {P}, second half of 100 time constants; no "
        f"pure memory is an equilibrium because {Q_SELF:g} - {Q_NEXT:g} < 1",
        "below",
    )


_CHECKS = (
    *(_critical_gains, _fixed_points, _outcomes, _dwells, _first_switches, _thresholds),
    *(_order_of_thresholds, _exact_thresholds, _exact_orbits, _one_timescale),
)
