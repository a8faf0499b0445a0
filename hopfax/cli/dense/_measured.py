"""What `hopfax reproduce dense` measures: trajectories, basins, capacities, noise, images."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ..._programs import jitted
from ...theory import dense
from .._machine import precision
from .._memories import digit_images
from . import _points

ORDER = 3
#: Scaled loads of the trajectories, and their starts: inside the basin, near its edge, below it,
#: and above capacity.
CASES = {0.15: (0.8, 0.6, 0.4), 0.24: (1.0, 0.8), 0.30: (1.0, 0.9)}
STEPS = 12
EDGES = (0.05, 0.10, 0.15, 0.20, 0.24)  # loads at which the basin's edge is bisected
HORIZON, FRACTION = 30, 0.9  # of it
HORIZONS = (10, 20, 40, 60)  # after which capacity is read off
LOADS = (0.24, 0.27, 0.30, 0.33)  # simulated from the memory itself
RS, ONE_RSB, APPARENT = 0.252, 0.266, 0.3  # capacities in print
#: The noise table: order, neurons, scaled load and start.
NOISE = {2: 1024, 3: 1024, 4: 192}
NOISE_LOAD, NOISE_START, NOISE_STEPS = 0.12, 0.8, 6
#: Images of scikit-learn's digits that overlap little, by at most a quarter where grey levels (of
#: 0 to 16) above `INK` are white.
DIGITS, INK = {0: 565, 1: 1000, 7: 403, 8: 1195}, 6.0
IMAGE_STEPS, FLIPPED = 8, 0.15
OTHERS = 70_000  # random memories beside the images
NEURONS, SMALL = 1024, 256  # the latter to see the effect of their number
REALISATIONS, RUNS = 10, 10  # runs of a realisation: for each start
GRID, CURVE = (40, 40), 25  # points of the diagram, and of the curves over load
PATHS = 2**12  # a scramble; half as many at 60 steps


class Averaged:
    """Means over the runs of each realisation."""

    overlaps: np.ndarray  # (realisations, steps + 1)

    @property
    def mean(self) -> np.ndarray:
        """Over realisations."""
        return self.overlaps.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard error over realisations, whose runs share their memories."""
        return self.overlaps.std(0, ddof=1) / len(self.overlaps) ** 0.5


@dataclasses.dataclass(frozen=True)
class Run(Averaged):
    """Means over the runs of each realisation, beside the theory."""

    load: float
    start: float
    neurons: int
    overlaps: np.ndarray  # (realisations, steps + 1)
    theory: np.ndarray
    error: np.ndarray  # of the theory
    map: np.ndarray


@dataclasses.dataclass(frozen=True)
class Noise:
    """One order of the noise table: a number a time; `measured` at time 1, with its errors."""

    order: int
    neurons: int
    overlap: np.ndarray
    variance: np.ndarray  # R(t, t)
    feedback: np.ndarray  # Gamma(t, t - 1)
    total: np.ndarray  # the sum of Gamma(t, t') over t'
    measured: tuple[float, float]  # R(1, 1), Gamma(1, 0)
    errors: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Images:
    """Digits recalled among random memories."""

    frames: np.ndarray  # (images, steps + 1, height, width)
    stored: np.ndarray  # (images, height, width)
    own: np.ndarray  # (images, steps + 1) overlap with the image itself
    other: float  # the largest with another, at the end
    between: float  # the largest overlap of two stored images
    load: float


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that is measured, and the theory beside it."""

    runs: list[Run]
    small: Run
    diagram: Any
    edges: list[tuple[float, float]]  # overlap and error at EDGES
    unstable: np.ndarray  # of the map, there
    loads: np.ndarray
    curves: np.ndarray  # (loads, steps + 1)
    curve_errors: np.ndarray
    ends: list[Run]
    capacity: dict[int, float]
    noise: list[Noise]
    images: Images


def results() -> Results:
    """Everything that the claims, figures and tables are about."""
    law = hx.Power(ORDER)
    scale = _points.scale(law)
    runs: list[Run] = []
    for load, starts in CASES.items():
        runs += simulated(law, load, starts, NEURONS, REALISATIONS, STEPS)
    more = REALISATIONS * max(NEURONS // SMALL, 1)
    small = simulated(law, 0.15, (0.6,), SMALL, more, STEPS)[0]
    ends = [simulated(law, load, (1.0,), NEURONS // 2, REALISATIONS, 20)[0] for load in LOADS]
    edges = [
        dense.basin_edge(law, load / scale, HORIZON, fraction=FRACTION, paths=PATHS // 4)
        for load in EDGES
    ]
    loads = np.linspace(0.20, 0.38, CURVE)
    curves = [
        dense.solve_gfa(law, load / scale, 1.0, HORIZONS[-1], paths=PATHS // 2) for load in loads
    ]
    return Results(
        runs=runs,
        small=small,
        diagram=_diagram(),
        edges=[(float(edge.overlap), float(edge.error)) for edge in edges],
        unstable=np.asarray(dense.map_fixed_points(law, np.array(EDGES) / scale).unstable),
        loads=loads,
        curves=np.stack([np.asarray(curve.overlap) for curve in curves]),
        curve_errors=np.stack([np.asarray(curve.error) for curve in curves]),
        ends=ends,
        capacity={n: float(dense.capacity(hx.Power(n)).scaled) for n in range(3, 7)},
        noise=[_noise(n, N) for n, N in NOISE.items()],
        images=_images(),
    )


def simulated(
    law: Any, load: float, starts: tuple[float, ...], N: int, realisations: int, steps: int
) -> list[Run]:
    """Simulations at one load from several starts, in float32, and the theory of each."""
    every = np.repeat(starts, RUNS)
    rows, true, M = [], every, 1
    with precision("float32"):
        for r in range(realisations):
            memories, cues = jr.split(jr.fold_in(jr.key(N), r))
            patterns = _points.memories(memories, law, load, N)
            states, true = _points.starts(cues, patterns, every)
            found = _points.recall(hx.DenseMemory(patterns, law), states, steps)
            rows.append(found.reshape(len(starts), RUNS, -1).mean(1))
            M = patterns.P
    results = []
    for k, m0 in enumerate(true[::RUNS]):
        alpha = M / N ** (law.order - 1)  # what has been simulated, to the last memory
        solution = dense.solve_gfa(law, alpha, m0, steps, paths=PATHS)
        overlap, error = np.array(solution.overlap), np.array(solution.error)
        exact = np.asarray(dense.first_steps(law, alpha, m0).overlap)
        overlap[: len(exact)], error[: len(exact)] = exact, 0.0
        map_ = np.asarray(dense.map_trajectory(law, alpha, m0, steps))
        results.append(
            Run(load, float(m0), N, np.stack([row[k] for row in rows]), overlap, error, map_)
        )
    return results


def _diagram() -> Any:
    """Overlap after 20 steps over load and start."""
    point = _points.Effective("power", ORDER, 20, PATHS // 4, 4, 0)
    grid = {
        "load": np.linspace(0.01, 0.40, GRID[0]),
        "m0": np.linspace(0.0, 1.0, GRID[1]),
    }
    found = hx.sweep(point, grid, tile=_points.TILE, progress=False, on_failure="raise")
    return _points.labelled(found, point).assign_coords(order=ORDER)


def _noise(order: int, N: int) -> Noise:
    """Theory for some steps; variance and feedback of the fields at time 1, measured."""
    law = hx.Power(order)
    scale = _points.scale(law)
    N = min(N, NEURONS)
    found, M = [], 1
    with precision("float32"):
        for r in range(REALISATIONS):
            memories, cues = jr.split(jr.fold_in(jr.key(order), r))
            patterns = _points.memories(memories, law, NOISE_LOAD, N)
            states, true = _points.starts(cues, patterns, np.full(4 * RUNS, NOISE_START))
            network = hx.DenseMemory(patterns, law)
            found.append(np.asarray(_split_fields(network, states)).mean(0))
            M, m0 = patterns.P, float(true[0])
    alpha = (M - 1) / N ** (order - 1)  # the recalled memory makes no noise
    solution = dense.solve_gfa(law, alpha, m0, NOISE_STEPS, paths=PATHS)
    C, G, feedback = (
        np.asarray(part)[:NOISE_STEPS, :NOISE_STEPS]
        for part in (solution.correlation, solution.response, solution.feedback)
    )
    if order == 2:  # memories react to each other
        B = np.linalg.inv(np.eye(NOISE_STEPS) - G)
        variance = alpha * np.diagonal(B @ C @ B.T)
    else:
        variance = np.full(NOISE_STEPS, alpha * scale)
    values = np.stack(found)
    spread = values.std(0, ddof=1) / len(values) ** 0.5
    return Noise(
        order,
        N,
        np.asarray(solution.overlap)[:NOISE_STEPS],
        variance,
        np.concatenate([[0.0], np.diagonal(feedback, -1)]),
        feedback.sum(1),
        (float(values[:, 0].mean()), float(values[:, 1].mean())),
        (float(spread[0]), float(spread[1])),
    )


@jitted
def _split_fields(network, states):
    """Variance of the field at time 1 among neurons that began alike, and half the difference
    between those that began right and wrong."""

    def one(spins, mu):
        xi = network.patterns.pattern(mu)
        first = network.init(spins)
        u = xi * network.field(network.step(first))
        right = xi * spins > 0
        means = [jnp.mean(u, where=side) for side in (right, ~right)]
        rest = u - jnp.where(right, *means)
        return jnp.stack([(rest**2).mean(), (means[0] - means[1]) / 2])

    return jax.vmap(one)(states, jnp.arange(states.shape[0]) % network.patterns.P)


def _images() -> Images:
    """Digits among random memories, recalled from noisy cues."""
    law = hx.Power(ORDER)
    ink: Any = INK
    with precision("float32"):
        images = hx.patterns.from_images(_large_digits(), threshold=ink)
        side = round(images.N**0.5)
        others = hx.GeneratedPatterns(jr.key(1), OTHERS, images.N)
        patterns = hx.patterns.pack(images, others)
        cues = np.full(images.P, 1 - 2 * FLIPPED)
        states, _ = _points.starts(jr.key(2), patterns, cues)
        network = hx.DenseMemory(patterns, law)
        run = lambda spins: hx.iterate(  # noqa: E731
            network, network.init(spins), IMAGE_STEPS, track=range(images.P), observe=_spins
        )
        found = jitted(jax.vmap(run))(states)
        overlaps = np.asarray(found.overlaps)
        stored = np.asarray(images.xi)
        frames = np.asarray(found.observed)
    gram = stored @ stored.T / images.N - np.eye(images.P)
    each = np.arange(images.P)
    end = np.where(np.eye(images.P, dtype=bool), -1.0, overlaps[:, -1])
    load = patterns.P / patterns.N ** (ORDER - 1) * _points.scale(law)
    return Images(
        frames.reshape(images.P, IMAGE_STEPS + 1, side, side),
        stored.reshape(images.P, side, side),
        overlaps[each, :, each],
        float(end.max()),
        float(np.abs(gram).max()),
        load,
    )


def _spins(t, state, network):
    return state.spins


def _large_digits() -> np.ndarray:
    """Some of scikit-learn's digits, enlarged from 8 x 8 to 32 x 32 by linear interpolation."""
    from scipy.ndimage import zoom

    images, _ = digit_images("hopfax reproduce dense")
    small = images[list(DIGITS.values())]
    return np.asarray(zoom(small, (1, 4, 4), order=1, mode="nearest", grid_mode=True))


def crossing(found: Results, T: int, threshold: float) -> float:
    """The load at which the overlap after T steps crosses the threshold, from above."""
    values = found.curves[:, T]
    below = np.flatnonzero(values < threshold)
    if not below.size or below[0] == 0:
        return float("nan")
    k = below[0]
    (x0, x1), (y0, y1) = found.loads[k - 1 : k + 1], values[k - 1 : k + 1]
    return x0 + (y0 - threshold) / (y0 - y1) * (x1 - x0)
