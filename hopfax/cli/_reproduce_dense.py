"""`hopfax reproduce dense`: the trajectories, basins and capacities of arXiv:2506.00851."""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from . import _common, _dense
from ._reproduce import Claim, Outcome, claim, new_figure

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


@dataclasses.dataclass(frozen=True)
class Run:
    """Means over the runs of each realisation, beside the theory."""

    load: float
    start: float
    neurons: int
    overlaps: np.ndarray  # (realisations, steps + 1)
    theory: np.ndarray
    error: np.ndarray  # of the theory
    map: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over realisations."""
        return self.overlaps.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard error over realisations, whose runs share their memories."""
        return self.overlaps.std(0, ddof=1) / len(self.overlaps) ** 0.5


@dataclasses.dataclass(frozen=True)
class _Noise:
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
class _Images:
    frames: np.ndarray  # (images, steps + 1, height, width)
    stored: np.ndarray  # (images, height, width)
    own: np.ndarray  # (images, steps + 1) overlap with the image itself
    other: float  # the largest with another, at the end
    between: float  # the largest overlap of two stored images
    load: float


@dataclasses.dataclass(frozen=True)
class Results:
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
    noise: list[_Noise]
    images: _Images


def reproduce() -> Outcome:
    """Claims, figures and the noise table."""
    from . import _reproduce_dense_figures as draw

    new_figure()  # rather find matplotlib missing now
    found = _results()
    figures = {
        "trajectories": draw.trajectories(found),
        "basin": draw.basin(found),
        "capacity": draw.capacity(found),
        "noise": draw.noise(found),
        "images": draw.images(found),
    }
    tables = {"noise_table": [_noise_json(row) for row in found.noise]}
    return Outcome(_claims(found), figures, _noise_table(found.noise), tables)


# Measurements


def _results() -> Results:
    from ..theory import dense

    law = _dense.law("power", ORDER)
    scale = _dense.scale(law)
    runs: list[Run] = []
    for load, starts in CASES.items():
        runs += _runs(load, starts, NEURONS, REALISATIONS, STEPS)
    more = REALISATIONS * max(NEURONS // SMALL, 1)
    small = _runs(0.15, (0.6,), SMALL, more, STEPS)[0]
    ends = [_runs(load, (1.0,), NEURONS // 2, REALISATIONS, 20)[0] for load in LOADS]
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
        capacity={n: float(dense.capacity(_dense.law("power", n)).scaled) for n in range(3, 7)},
        noise=[_noise(n, N) for n, N in NOISE.items()],
        images=_images(),
    )


def _runs(
    load: float, starts: tuple[float, ...], N: int, realisations: int, steps: int
) -> list[Run]:
    """Simulations at one load from several starts, in float32, and the theory of each."""
    import hopfax as hx

    from ..theory import dense

    law = _dense.law("power", ORDER)
    every = np.repeat(starts, RUNS)
    rows, true, M = [], every, 1
    with _common.precision("float32"):
        for r in range(realisations):
            memories, cues = jr.split(jr.fold_in(jr.key(N), r))
            patterns = _dense.memories(memories, law, load, N)
            states, true = _dense.starts(cues, patterns, every)
            found = _dense.recall(hx.DenseMemory(patterns, law), states, steps)
            rows.append(found.reshape(len(starts), RUNS, -1).mean(1))
            M = patterns.P
    results = []
    for k, m0 in enumerate(true[::RUNS]):
        alpha = M / N ** (ORDER - 1)  # what has been simulated, to the last memory
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
    import hopfax as hx

    point = _dense.Effective("power", ORDER, 20, PATHS // 4, 4, 0)
    grid = {
        "load": np.linspace(0.01, 0.40, GRID[0]),
        "m0": np.linspace(0.0, 1.0, GRID[1]),
    }
    found = hx.sweep(point, grid, tile=_dense.TILE, progress=False, on_failure="raise")
    return _dense.labelled(found, point).assign_coords(order=ORDER)


def _noise(order: int, N: int) -> _Noise:
    """Theory for some steps; variance and feedback of the fields at time 1, measured."""
    import hopfax as hx

    from ..theory import dense

    law = _dense.law("power", order)
    scale = _dense.scale(law)
    N = min(N, NEURONS)
    found, M = [], 1
    with _common.precision("float32"):
        for r in range(REALISATIONS):
            memories, cues = jr.split(jr.fold_in(jr.key(order), r))
            patterns = _dense.memories(memories, law, NOISE_LOAD, N)
            states, true = _dense.starts(cues, patterns, np.full(4 * RUNS, NOISE_START))
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
    return _Noise(
        order,
        N,
        np.asarray(solution.overlap)[:NOISE_STEPS],
        variance,
        np.concatenate([[0.0], np.diagonal(feedback, -1)]),
        feedback.sum(1),
        (float(values[:, 0].mean()), float(values[:, 1].mean())),
        (float(spread[0]), float(spread[1])),
    )


@eqx.filter_jit
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


def _images() -> _Images:
    """Digits among random memories, recalled from noisy cues."""
    import hopfax as hx

    law = _dense.law("power", ORDER)
    ink: Any = INK
    with _common.precision("float32"):
        images = hx.patterns.from_images(_large_digits(), threshold=ink)
        side = round(images.N**0.5)
        others = hx.GeneratedPatterns(jr.key(1), OTHERS, images.N)
        patterns = hx.patterns.pack(images, others)
        cues = np.full(images.P, 1 - 2 * FLIPPED)
        states, _ = _dense.starts(jr.key(2), patterns, cues)
        network = hx.DenseMemory(patterns, law)
        run = lambda spins: hx.iterate(  # noqa: E731
            network, network.init(spins), IMAGE_STEPS, track=range(images.P), observe=_spins
        )
        found = eqx.filter_jit(jax.vmap(run))(states)
        overlaps = np.asarray(found.overlaps)
        stored = np.asarray(images.xi)
        frames = np.asarray(found.observed)
    gram = stored @ stored.T / images.N - np.eye(images.P)
    each = np.arange(images.P)
    end = np.where(np.eye(images.P, dtype=bool), -1.0, overlaps[:, -1])
    load = patterns.P / patterns.N ** (ORDER - 1) * _dense.scale(law)
    return _Images(
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

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        from .._errors import missing

        raise missing("scikit-learn", "data", "hopfax reproduce dense") from error
    found: Any = load_digits()
    small = found.images[list(DIGITS.values())]
    return np.asarray(zoom(small, (1, 4, 4), order=1, mode="nearest", grid_mode=True))


# Claims


def _claims(found: Results) -> list[Claim]:
    exact = "zero temperature, parallel updates, no self-coupling, exact number of flips"
    sizes = f"{REALISATIONS} sets of memories with {RUNS} runs each"
    claims = []
    for run in found.runs:
        where = f"alpha' = {run.load:g} from m0 = {run.start:.2f}"
        inside = f"n = 3 power, N = {run.neurons}, {where}, {sizes} (keys fold_in(N, r)); {exact}"
        for t in (1, 4, STEPS):
            shift = _shift(run, t)
            claims.append(
                claim(
                    f"m({t}), {where}",
                    run.theory[t],
                    run.mean[t],
                    4 * float(np.hypot(run.spread[t], run.error[t])) + shift / run.neurons,
                    f"4 standard errors over realisations, and a shift of {shift:g}/N at finite N",
                    inside,
                )
            )
    near = next(run for run in found.runs if run.load == 0.15 and 0.55 < run.start < 0.65)
    late = [run for run in found.runs if run.load > 0.2 and run.start < 0.95]
    for run, t in ((near, 2), *((run, 4) for run in late)):
        claims.append(
            claim(
                f"memoryless map misses m({t}), alpha' = {run.load:g} from m0 = {run.start:.2f}",
                run.map[t],
                run.mean[t],
                2 * float(run.spread[t]),
                "2 standard errors: feedback of a neuron's past helps it, which the map leaves out",
                f"n = 3 power, N = {run.neurons}; the map is m -> erf(m^2 / sqrt(2 alpha'))",
                "above",
            )
        )
    far, close = (abs(run.mean[4] - run.theory[4]) for run in (found.small, near))
    errors = " and ".join(f"{run.spread[4]:.3f}" for run in (found.small, near))
    claims.append(
        claim(
            f"shift of m(4) near the edge: N = {near.neurons} against {found.small.neurons}",
            far,
            close,
            0.0,
            "the shift fades as N grows",
            "n = 3 power, alpha' = 0.15 from m0 = 0.60; |simulation - theory|, first at the "
            f"smaller N; standard errors {errors}",
            "below",
        )
    )
    for load, (edge, error), unstable in zip(EDGES, found.edges, found.unstable, strict=True):
        claims.append(
            claim(
                f"basin's edge lies below the map's unstable fixed point, alpha' = {load:g}",
                unstable,
                edge,
                2 * error,
                "2 standard errors over scrambles",
                f"n = 3 power; both theory: the edge is the least m0 that reaches {FRACTION:g} of "
                f"the plateau within {HORIZON} steps",
                "below",
            )
        )
    claims.append(
        claim(
            "replica-symmetric capacity, n = 3",
            RS,
            found.capacity[3],
            5e-4,
            "the digits in print",
            "fold of m = erf(m^2 / sqrt(2 alpha')), in alpha' = alpha (2n - 3)!!",
        )
    )
    crossings = [(T, float(crossing(found, T, 0.8))) for T in HORIZONS]
    for T, load in crossings:
        claims.append(
            claim(
                f"apparent capacity (T = {T}, threshold 0.8) exceeds the replica-symmetric one",
                found.capacity[3],
                load,
                0.01,
                "the accuracy to which it is read off the curves",
                f"n = 3 power, theory from m0 = 1: load where m({T}) = 0.8",
                "above",
            )
        )
    for (_, first), (T, load) in itertools.pairwise(crossings):
        claims.append(
            claim(
                f"apparent capacity falls with time: T = {T}, threshold 0.8",
                first,
                load,
                0.0,
                "retrieval above capacity is a slow decay",
                "n = 3 power, theory; first number at the horizon before",
                "below",
            )
        )
    for run in found.ends:
        T = run.overlaps.shape[1] - 1
        claims.append(
            claim(
                f"m({T}) from the memory itself, alpha' = {run.load:g}",
                run.theory[T],
                run.mean[T],
                4 * float(np.hypot(run.spread[T], run.error[T])) + 10 / run.neurons,
                "4 standard errors over realisations, and a shift of 10/N at finite N",
                f"n = 3 power, N = {run.neurons}, {sizes}; {exact}",
            )
        )
    for row in found.noise:
        at = f"n = {row.order}, N = {row.neurons}, alpha' = {NOISE_LOAD:g}, m0 = {NOISE_START:g}"
        what = "resummed, alpha (1 + 2 G C + G^2)" if row.order == 2 else "alpha K(1) = alpha'"
        values = (("noise R(1, 1)", row.variance[1]), ("feedback Gamma(1, 0)", row.feedback[1]))
        for (name, theory), measured, error in zip(values, row.measured, row.errors, strict=True):
            claims.append(
                claim(
                    f"{name}, n = {row.order}",
                    theory,
                    measured,
                    4 * error + 2 / row.neurons,
                    "4 standard errors over realisations, and a shift of 2/N at finite N",
                    f"{at}; R is {what}; measured among neurons that began alike, and between "
                    "those that began right and wrong",
                )
            )
    images = found.images
    claims.append(
        claim(
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
    )
    return claims


def _shift(run: Run, t: int) -> float:
    """What is allowed for finite N, times N: trajectories that still move amplify it."""
    if t == 1:
        return 6.0
    edge = run.load == 0.15 and run.start < 0.7
    return 40.0 if edge else 20.0 if run.load == 0.30 else 10.0


def crossing(found: Results, T: int, threshold: float) -> float:
    """The load at which the overlap after T steps crosses the threshold, from above."""
    values = found.curves[:, T]
    below = np.flatnonzero(values < threshold)
    if not below.size or below[0] == 0:
        return float("nan")
    k = below[0]
    (x0, x1), (y0, y1) = found.loads[k - 1 : k + 1], values[k - 1 : k + 1]
    return x0 + (y0 - threshold) / (y0 - y1) * (x1 - x0)


def _noise_json(row: _Noise) -> dict[str, Any]:
    plain = dataclasses.asdict(row) | {"load": NOISE_LOAD, "start": NOISE_START}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in plain.items()
    }


def _noise_table(rows: list[_Noise]) -> str:
    """Noise and feedback over time, an order beside the other."""
    head = ["t"]
    for row in rows:
        head += [f"n = {row.order}: R", "Gamma", "sum"]
    lines = []
    for t in range(NOISE_STEPS):
        parts = [[row.variance[t], row.feedback[t], row.total[t]] for row in rows]
        lines.append([str(t), *(_common.number(x) for part in parts for x in part)])
    measured: list[str] = ["1, measured"]
    for row in rows:
        measured += [_common.number(row.measured[0]), _common.number(row.measured[1]), ""]
    title = (
        f"Noise R(t,t), feedback Gamma(t,t-1) and its sum over all times before, at alpha' = "
        f"{NOISE_LOAD:g}\nfrom m0 = {NOISE_START:g}: resummed at n = 2, the noise alpha' at n >= 3"
    )
    return f"{title}\n\n{_common.table(head, [*lines, measured])}"
