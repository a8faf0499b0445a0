"""The claims of `hopfax reproduce dense`: each a function from what was measured to claims."""

import itertools
from collections.abc import Iterator

import numpy as np

from .._claims import Claim, claim
from ._measured import (
    DIGITS,
    EDGES,
    FLIPPED,
    FRACTION,
    HORIZON,
    HORIZONS,
    IMAGE_STEPS,
    NOISE_LOAD,
    NOISE_START,
    OTHERS,
    REALISATIONS,
    RS,
    RUNS,
    STEPS,
    Results,
    Run,
    crossing,
)

_EXACT = "zero temperature, parallel updates, no self-coupling, exact number of flips"
_SIZES = f"{REALISATIONS} sets of memories with {RUNS} runs each"


def claims(found: Results) -> list[Claim]:
    """All claims, in the order of the table."""
    return [made for check in _CHECKS for made in check(found)]


def _trajectories(found: Results) -> Iterator[Claim]:
    """Overlaps over time, theory and simulation."""
    for run in found.runs:
        where = f"alpha' = {run.load:g} from m0 = {run.start:.2f}"
        for t in (1, 4, STEPS):
            shift = _shift(run, t)
            yield claim(
                f"m({t}), {where}",
                run.theory[t],
                run.mean[t],
                4 * float(np.hypot(run.spread[t], run.error[t])) + shift / run.neurons,
                f"4 standard errors over realisations, and a shift of {shift:g}/N at finite N",
                f"n = 3 power, N = {run.neurons}, {where}, {_SIZES} (keys fold_in(N, r)); {_EXACT}",
            )


def _shift(run: Run, t: int) -> float:
    """What is allowed for finite N, times N: trajectories that still move amplify it."""
    if t == 1:
        return 6.0
    edge = run.load == 0.15 and run.start < 0.7
    return 40.0 if edge else 20.0 if run.load == 0.30 else 10.0


def _memoryless_map(found: Results) -> Iterator[Claim]:
    """The map leaves out what a neuron's own past does, near the edge and above capacity."""
    late = [run for run in found.runs if run.load > 0.2 and run.start < 0.95]
    for run, t in ((_near_the_edge(found), 2), *((run, 4) for run in late)):
        yield claim(
            f"memoryless map misses m({t}), alpha' = {run.load:g} from m0 = {run.start:.2f}",
            run.map[t],
            run.mean[t],
            2 * float(run.spread[t]),
            "2 standard errors: feedback of a neuron's past helps it, which the map leaves out",
            f"n = 3 power, N = {run.neurons}; the map is m -> erf(m^2 / sqrt(2 alpha'))",
            "above",
        )


def _near_the_edge(found: Results) -> Run:
    return next(run for run in found.runs if run.load == 0.15 and 0.55 < run.start < 0.65)


def _finite_size(found: Results) -> Iterator[Claim]:
    """The theory is that of many neurons."""
    near = _near_the_edge(found)
    far, close = (abs(run.mean[4] - run.theory[4]) for run in (found.small, near))
    errors = " and ".join(f"{run.spread[4]:.3f}" for run in (found.small, near))
    yield claim(
        f"shift of m(4) near the edge: N = {near.neurons} against {found.small.neurons}",
        far,
        close,
        0.0,
        "the shift fades as N grows",
        "n = 3 power, alpha' = 0.15 from m0 = 0.60; |simulation - theory|, first at the "
        f"smaller N; standard errors {errors}",
        "below",
    )


def _basin(found: Results) -> Iterator[Claim]:
    """More is retrieved than the memoryless map says."""
    for load, (edge, error), unstable in zip(EDGES, found.edges, found.unstable, strict=True):
        yield claim(
            f"basin's edge lies below the map's unstable fixed point, alpha' = {load:g}",
            unstable,
            edge,
            2 * error,
            "2 standard errors over scrambles",
            f"n = 3 power; both theory: the edge is the least m0 that reaches {FRACTION:g} of "
            f"the plateau within {HORIZON} steps",
            "below",
        )


def _capacities(found: Results) -> Iterator[Claim]:
    """The replica-symmetric one, and what seems to be retrieved after some time."""
    yield claim(
        "replica-symmetric capacity, n = 3",
        RS,
        found.capacity[3],
        5e-4,
        "the digits in print",
        "fold of m = erf(m^2 / sqrt(2 alpha')), in alpha' = alpha (2n - 3)!!",
    )
    crossings = [(T, float(crossing(found, T, 0.8))) for T in HORIZONS]
    for T, load in crossings:
        yield claim(
            f"apparent capacity (T = {T}, threshold 0.8) exceeds the replica-symmetric one",
            found.capacity[3],
            load,
            0.01,
            "the accuracy to which it is read off the curves",
            f"n = 3 power, theory from m0 = 1: load where m({T}) = 0.8",
            "above",
        )
    for (_, first), (T, load) in itertools.pairwise(crossings):
        yield claim(
            f"apparent capacity falls with time: T = {T}, threshold 0.8",
            first,
            load,
            0.0,
            "retrieval above capacity is a slow decay",
            "n = 3 power, theory; first number at the horizon before",
            "below",
        )


def _ends(found: Results) -> Iterator[Claim]:
    """What is left of a memory after many steps, near capacity."""
    for run in found.ends:
        T = run.overlaps.shape[1] - 1
        yield claim(
            f"m({T}) from the memory itself, alpha' = {run.load:g}",
            run.theory[T],
            run.mean[T],
            4 * float(np.hypot(run.spread[T], run.error[T])) + 10 / run.neurons,
            "4 standard errors over realisations, and a shift of 10/N at finite N",
            f"n = 3 power, N = {run.neurons}, {_SIZES}; {_EXACT}",
        )


def _noise(found: Results) -> Iterator[Claim]:
    """Noise and feedback of the fields after one step."""
    for row in found.noise:
        at = f"n = {row.order}, N = {row.neurons}, alpha' = {NOISE_LOAD:g}, m0 = {NOISE_START:g}"
        what = "resummed, alpha (1 + 2 G C + G^2)" if row.order == 2 else "alpha K(1) = alpha'"
        values = (("noise R(1, 1)", row.variance[1]), ("feedback Gamma(1, 0)", row.feedback[1]))
        for (name, theory), measured, error in zip(values, row.measured, row.errors, strict=True):
            yield claim(
                f"{name}, n = {row.order}",
                theory,
                measured,
                4 * error + 2 / row.neurons,
                "4 standard errors over realisations, and a shift of 2/N at finite N",
                f"{at}; R is {what}; measured among neurons that began alike, and between "
                "those that began right and wrong",
            )


def _images(found: Results) -> Iterator[Claim]:
    """Images among random memories."""
    images = found.images
    yield claim(
        "images: every one is nearer to its own memory than to another",
        images.own[:, -1].min(),
        images.other,
        0.3,
        "what another image is like to begin with",
        f"digits {', '.join(map(str, DIGITS))} at N = 1024 among {OTHERS} random "
        f"memories, n = 3, alpha' = {images.load:.3f}, {FLIPPED:.0%} of pixels flipped, "
        f"{IMAGE_STEPS} steps; stored images overlap by up to {images.between:.2f}, random "
        "ones by 0.03",
        "below",
    )


_CHECKS = (
    *(_trajectories, _memoryless_map, _finite_size, _basin, _capacities, _ends),
    *(_noise, _images),
)
