"""Interactions of different neurons in `hopfax reproduce dense`: slow recall and wide basins, as in
arXiv:2604.03115 (Sumikawa, Kabashima 2026), without any self-interaction."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

import hopfax as hx

from ...theory import dense
from .._claims import Claim, claim
from . import _points
from ._measured import FRACTION, HORIZON, PATHS, REALISATIONS, RUNS, Run, simulated

LAW = hx.ManyBody(3)
EDGES = (0.10, 0.20, 0.24)  # scaled loads at which the basin's edge is bisected
#: The runs: scaled load, starts towards the edge of the basin, neurons and steps. The last start
#: lies below the unstable fixed point of the map, 0.690.
LOAD, STARTS, NEURONS, STEPS = 0.22, (0.90, 0.75, 0.66), 512, 24
REACHED = 0.85  # an overlap that all of them reach
#: Scaled loads towards capacity at which recall is timed, and how.
TIMED, START, TOLERANCE = (0.05, 0.10, 0.15, 0.20), 0.6, 0.02


@dataclasses.dataclass(frozen=True)
class ManyBody:
    """Edges of the basin and times of convergence with their errors, and runs with theirs."""

    edges: list[tuple[float, float]]
    unstable: np.ndarray  # fixed points of the map at EDGES
    times: list[tuple[float, float]]
    runs: list[Run]
    below: float  # the unstable fixed point of the map at LOAD


def measured() -> ManyBody:
    """Simulations in float32, and the theory beside them."""
    scale, paths = _points.scale(LAW), {"paths": PATHS // 4}
    edges = [
        dense.basin_edge(LAW, load / scale, HORIZON, fraction=FRACTION, **paths) for load in EDGES
    ]
    times = [
        dense.convergence_time(LAW, load / scale, START, HORIZON, tolerance=TOLERANCE, **paths)
        for load in TIMED
    ]
    return ManyBody(
        edges=[(float(edge.overlap), float(edge.error)) for edge in edges],
        unstable=np.asarray(dense.map_fixed_points(LAW, np.array(EDGES) / scale).unstable),
        times=[(float(found.time), float(found.error)) for found in times],
        runs=simulated(LAW, LOAD, STARTS, NEURONS, REALISATIONS, STEPS),
        below=float(dense.map_fixed_points(LAW, LOAD / scale).unstable),
    )


def claims(found: ManyBody) -> Iterator[Claim]:
    """What theory and simulation say of three-body interactions."""
    for load, (edge, error), unstable in zip(EDGES, found.edges, found.unstable, strict=True):
        yield claim(
            f"3-body: basin's edge lies below the map's unstable fixed point, alpha' = {load:g}",
            unstable,
            edge,
            2 * error,
            "2 standard errors over scrambles",
            "no self-interactions; both theory: the edge is the least m0 that reaches "
            f"{FRACTION:g} of the plateau within {HORIZON} steps",
            "below",
        )
    for (a, (first, _)), (b, (time, error)) in itertools.pairwise(
        zip(TIMED, found.times, strict=True)
    ):
        yield claim(
            f"3-body: recall takes longer towards capacity, alpha' = {b:g} against {a:g}",
            first,
            time,
            2 * error,
            "2 standard errors over scrambles",
            f"theory: steps from m0 = {START:g} until m stays within {TOLERANCE:g} of "
            f"m({HORIZON}); first number at the lower load",
            "above",
        )
    yield from _trajectories(found)


def _trajectories(found: ManyBody) -> Iterator[Claim]:
    """Runs towards the edge of the basin."""
    near = found.runs[-1]
    for run in found.runs:
        where = f"alpha' = {run.load:g} from m0 = {run.start:.2f}"
        for t in (1, 4, STEPS):
            shift = 40.0 if run is near and t > 1 else 10.0
            yield claim(
                f"3-body: m({t}), {where}",
                run.theory[t],
                run.mean[t],
                4 * float(np.hypot(run.spread[t], run.error[t])) + shift / run.neurons,
                f"4 standard errors over realisations, and a shift of {shift:g}/N at finite N",
                f"n = 3, N = {run.neurons}, {where}, {REALISATIONS} sets of memories with {RUNS} "
                "runs each",
            )
    yield claim(
        f"3-body: recalled from below the map's unstable fixed point, m({STEPS})",
        found.below,
        near.mean[-1],
        2 * float(near.spread[-1]),
        f"2 standard errors; the start {near.start:.2f} lies below it, and the map loses it",
        f"n = 3, N = {near.neurons}, alpha' = {near.load:g}; first number: the fixed point",
        "above",
    )
    for first, run in itertools.pairwise(found.runs[1:]):
        yield claim(
            f"3-body: recall takes longer towards the edge, m0 = {run.start:.2f}",
            _steps(first.mean),
            _steps(run.mean),
            1.0,
            "one step",
            f"simulation, alpha' = {run.load:g}: steps until m = {REACHED:g}; first number from "
            f"m0 = {first.start:.2f}, theory {_steps(first.theory):.1f} and "
            f"{_steps(run.theory):.1f}",
            "above",
        )


def _steps(overlaps: np.ndarray) -> float:
    """When the overlap first reaches REACHED, between two steps in proportion."""
    after = int(np.argmax(overlaps >= REACHED))
    if after == 0:
        return float("nan")
    before, last = float(overlaps[after - 1]), float(overlaps[after])
    return after - 1 + (REACHED - before) / (last - before)
