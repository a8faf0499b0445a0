"""The claims of `hopfax reproduce input_driven`: from what was measured to theory beside it."""

from collections.abc import Iterator

import hopfax as hx

from ...theory import input_driven as theory
from .._claims import Claim, claim
from ._cases import (
    AMPLITUDE,
    LANES,
    MANY,
    NEURONS,
    ROUNDS,
    SETTLING,
    SIGMAS,
    SILENT,
    STEEP,
    STEP,
    STRONG,
    TIME,
    WEAK,
    WEIGHTS,
)
from ._measured import Results

_BISECTED = f"N = {NEURONS}, runs bisected {ROUNDS} times over {LANES} values"
_GROWTH = "growth over 50 time constants sees an edge to about 1e-4"
_STIMULUS = f"u = {STRONG:g} xi^1 + {WEAK:g} xi^2"


def claims(found: Results) -> list[Claim]:
    """All claims, in the order of the table."""
    return [made for check in _CHECKS for made in check(found)]


def _thresholds(found: Results) -> Iterator[Claim]:
    """From which saliency on a memory exists, and another one is too strong for it."""
    predicted = {
        "hard tanh": theory.retrieval_threshold(),
        "tanh of gain 10": theory.retrieval_threshold(activation=hx.Tanh(10.0)),
        "without self-couplings": theory.retrieval_threshold(1.6, N=NEURONS),
    }
    for name, value in found.thresholds.items():
        more = "; the two other memories have saliency 0.8" if "without" in name else ""
        yield claim(
            f"smallest saliency of a memory, {name}",
            predicted[name],
            value,
            2e-4,
            _GROWTH,
            f"P = 3, {_BISECTED}{more}",
        )
    yield claim(
        "saliency of another memory at which one of saliency 1 is unstable, tanh of gain 2",
        theory.rival_threshold(1.0, hx.Tanh(2.0)),
        found.rival,
        1e-3,
        "growth over 40 time constants of a slope of 0.3 or so",
        f"P = 3, {_BISECTED}",
    )


def _edges(found: Results) -> Iterator[Claim]:
    """Where memory 1 ends as the stimulus goes to memory 2."""
    for edge, measured in found.edges:
        overlap = edge.quarters / 4
        predicted = theory.competition(edge.amplitude, edge.activation, overlap=overlap)
        yield claim(
            f"mixture at which memory 1 ends: {edge.name}",
            predicted.first,
            measured,
            5e-4,
            "bisected to 1e-4; slow relaxation next to the edge",
            f"u = A ((1 - s) xi^1 + s xi^2), A = {edge.amplitude:g}, overlap {overlap:g}; "
            f"{_BISECTED}",
        )
    yield claim(
        "mixture at which nothing is retrieved any more, overlap 1/4",
        theory.competition(SILENT, overlap=0.25).silent_low,
        found.silent,
        5e-4,
        "growth over 100 time constants of a slope of 0.3 or so",
        f"u = A ((1 - s) xi^1 + s xi^2), A = {SILENT:g}, hard tanh; {_BISECTED}",
    )


def _saddles(found: Results) -> Iterator[Claim]:
    """The saddle between two memories, where bisected runs are slowest."""
    for s, overlaps, energy in found.saddles:
        predicted = theory.barrier(s, AMPLITUDE, hx.Tanh(2.0))
        conditions = (
            f"u = A ((1 - s) xi^1 + s xi^2), A = {AMPLITUDE:g}, s = {s:g}, tanh of gain 2, "
            f"N = {NEURONS}; runs bisected between both memories to 1e-6"
        )
        yield claim(
            f"energy per neuron at the saddle, s = {s:g}",
            predicted.saddle,
            energy,
            1e-5,
            "quadratic in the distance from the saddle, below 2e-3",
            conditions,
        )
        yield claim(
            f"overlap with memory 1 at the saddle, s = {s:g}",
            predicted.overlaps[0],
            overlaps[0],
            2e-3,
            "how near a bisected run comes to the saddle",
            conditions,
        )


def _correlated(found: Results) -> Iterator[Claim]:
    """What leaks, what undoes it, and what correlated memories need."""
    seen, undone, memories = found.leaked
    predicted = theory.leakage(memories, WEIGHTS)
    conditions = f"three random memories, N = {NEURONS}, weights {', '.join(map(str, WEIGHTS))}"
    for name, expected, value in (
        ("with leakage", predicted.saliency, seen),
        ("of the pseudo-inverse stimulus", WEIGHTS, undone),
    ):
        yield claim(
            f"saliency of the third memory, {name}",
            expected[2],
            value[2],
            1e-6,
            "rounding, also in float32",
            conditions,
        )
    for leaks, value in zip((True, False), found.factors, strict=True):
        factor = theory.correlated_retrieval(memories, WEIGHTS, leaks=leaks).factor[0]
        yield claim(
            f"factor of the {'plain' if leaks else 'pseudo-inverse'} stimulus that holds memory 0",
            factor,
            value,
            1e-3,
            f"bisected to {2.0 / (LANES - 1) ** ROUNDS:.0e}; slow relaxation next to the edge",
            f"{conditions}; hard tanh, {_BISECTED}",
        )


def _noise(found: Results) -> Iterator[Claim]:
    """Overlaps of both networks with the stimulated memory."""
    psi, conditions = (
        hx.HardTanh(STEEP),
        (
            f"{_STIMULUS}, hard tanh of gain {STEEP:g}, P = 3, N = {MANY}; averaged from t = "
            f"{SETTLING:g} to {TIME:g} at steps of {STEP:g}; theory for N -> infinity"
        ),
    )
    error = 4 * (3 / (TIME - SETTLING)) ** 0.5 / MANY**0.5
    why = "four standard errors of a neuron's rate, correlated for 3 time constants"
    for k, sigma in enumerate(SIGMAS):
        driven = theory.driven_overlap(STRONG, sigma, psi).overlap
        classic = theory.additive_overlaps([STRONG, WEAK, 0.0], sigma, psi).overlaps
        weaker = theory.driven_overlap(WEAK, sigma, psi, rival=STRONG)
        stays = bool(weaker.stable)
        left = found.driven[k, 1, 1 if stays else 0]
        kept = weaker.overlap if stays else driven
        for name, value, m in (
            ("input-driven", driven, found.driven[k, 0, 0]),
            (f"the same from memory 2, {'held' if stays else 'left for 1'}", kept, left),
            ("classic with a current: memory 1", classic[0], found.classic[k, 0, 0]),
            ("classic with a current: memory 2", classic[1], found.classic[k, 0, 1]),
        ):
            yield claim(f"overlap at noise {sigma:g}, {name}", value, m, error, why, conditions)


def _window(found: Results) -> Iterator[Claim]:
    """The noise at which the stronger memory is the only stable one."""
    window = theory.noise_window(STRONG, WEAK, hx.HardTanh(STEEP))
    conditions = f"{_STIMULUS}, hard tanh of gain {STEEP:g}, averaged over the noise; {_BISECTED}"
    names = ("the weaker memory is left for the stronger", "the stronger memory is lost")
    for name, predicted, measured in zip(names, window[:2], found.noises, strict=True):
        yield claim(f"noise at which {name}", predicted, measured, 1e-3, _GROWTH, conditions)


_CHECKS = (_thresholds, _edges, _saddles, _correlated, _noise, _window)
