"""`hopfax reproduce rate`: storage and retrieval of firing-rate memories, arXiv:2411.07388."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from . import _common, _rate
from ._reproduce import Claim, Outcome, claim, new_figure

NEURONS, Q, GAIN, B = 1000, 0.2, 4.8, 0.95
#: Two designs: net background inhibition, and net background excitation.
INHIBITED, EXCITED = -0.3, 0.1
#: The stability table: activation, a, threshold.
ROWS: tuple[tuple[_rate.Kind, float, float], ...] = (
    ("logistic", -0.3, 0.2),
    ("logistic", -0.3, 0.5),
    ("logistic", -0.3, 0.8),
    ("logistic", 0.1, 0.2),
    ("rectified_tanh", -0.3, 0.5),
    ("rectified_tanh", 0.1, 0.8),
    ("hard_sigmoid", -0.3, 0.2),
    ("hard_sigmoid", -0.3, 0.75),
)
#: How the growth of a small difference is measured: its size, how long till it is made small again,
#: how often, and how many of the last rates count.
SMALL, STRETCH, STRETCHES, LAST = 1e-6, 0.25, 1600, 80
KEPT = tuple(range(50, 1001, 50))  # of 1000 parts of the active neurons in a cue
SEEDS = 10
HORIZON = 60.0  # of retrieval
SURE, LOW = 0.45, 0.10  # shares of active neurons: of cues that suffice, and that are forgotten
#: Cases of the phase planes: a, input to active neurons, input to silent neurons.
PLANES = ((-0.3, 0.0, 0.0), (-0.3, 0.3, 0.0), (0.1, 0.0, 0.0), (0.1, 0.3, 0.3))
STARTS = 7  # along each side of a plane
#: Designs whose critical saliency is measured: a, threshold.
SALIENCIES = ((-0.3, 0.2), (-0.3, 0.5), (0.1, 0.2))
#: Saliencies between which it is sought, in three rounds of so many steps, ever slower.
SALIENCY, LANES, SLOW = (0.2, 1.3), 40, 400.0
#: Delayed inhibition: threshold of a design near its border, its inhibition over the least one, and
#: time constants around the critical one.
DELAY_THRESHOLD, DELAY_FACTOR, DELAYS = 0.68, 2.0, np.linspace(3.5, 7.0, 15)
SATURATED_DELAYS = (0.1, 1.0, 5.0)
RANDOM, DRAWS = 14, 40  # random memories, P = floor(N / (10 ln N)), and how many sets


class _Row(NamedTuple):
    kind: str
    a: float
    threshold: float
    kappa: float
    gamma: float
    block: float
    eigenvalue: float
    growth: float  # measured
    distance: float  # at t = 40, from 1e-3

    @property
    def stable(self) -> bool:
        return self.distance < _rate.NUDGE


class _Cues(NamedTuple):
    kept: np.ndarray  # shares
    overlap: np.ndarray  # (shares, seeds), with the memory at the end
    other: np.ndarray  # the greatest with another one
    mean: np.ndarray  # mean rate


class _Plane(NamedTuple):
    a: float
    inputs: tuple[float, float]
    equilibria: np.ndarray  # (n, 2), active and silent rate
    stable: np.ndarray
    paths: np.ndarray  # (starts, times, 2)


class _Saliency(NamedTuple):
    a: float
    threshold: float
    predicted: float
    measured: float
    resolution: float
    branch: np.ndarray  # (n, 3): saliency, overlap at the memory and at the saddle below it
    runs: np.ndarray  # (n, 2): saliency and simulated overlap


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that is measured."""

    residuals: dict[str, float]
    rows: list[_Row]
    diagrams: list[Any]
    cues: _Cues
    planes: list[_Plane]
    saliencies: list[_Saliency]
    moved: dict[str, tuple[float, float, float]]  # overlaps with memories 0 and 1, mean rate
    saturated: np.ndarray  # distances at the end with delayed inhibition
    delays: np.ndarray  # (n, 3): time constant, growth measured and predicted
    critical_delay: tuple[float, float]  # predicted, measured
    crosstalk: tuple[float, float, float, float]  # predicted, measured, error; of projection


def reproduce() -> Outcome:
    """Claims and figures."""
    from . import _reproduce_rate_figures as draw

    new_figure()  # rather find matplotlib missing now
    found = _results()
    figures = {
        "phase_diagrams": draw.phase_diagrams(found),
        "cues": draw.cues(found),
        "phase_planes": draw.phase_planes(found),
        "thresholds": draw.thresholds(found),
    }
    return Outcome(_claims(found), figures, _table(found), {"stability_table": _json(found)})


# Measurements


def _results() -> Results:
    import hopfax as hx

    balanced = hx.patterns.balanced(Q, NEURONS)
    saturated, growths, delay = _delays(balanced)
    return Results(
        residuals=_residuals(balanced),
        rows=_rows(ROWS),
        diagrams=_diagrams(),
        cues=_cues(balanced, KEPT, SEEDS),
        planes=_planes(STARTS),
        saliencies=_saliencies(balanced, SALIENCIES),
        moved=_moved(balanced),
        saturated=saturated,
        delays=growths,
        critical_delay=delay,
        crosstalk=_crosstalk(DRAWS),
    )


def _phi(threshold: Any, kind: _rate.Kind = "logistic") -> Any:
    return _rate.law(kind)(GAIN, threshold)


def _unit(P: int, mu: int = 0) -> np.ndarray:
    return np.eye(P)[mu]


def _residuals(balanced) -> dict[str, float]:
    """The largest derivative of any rate at any memory, for each design."""
    import hopfax as hx

    sparse = hx.patterns.sparse(jr.key(3), RANDOM, NEURONS, Q)
    uneven = hx.Patterns(jnp.concatenate([sparse.xi[:3], balanced.xi[:2, ::-1]]), binary=False)
    uneven = hx.Patterns(uneven.xi.at[0, :100].set(1.0), binary=False)
    cases = {
        "balanced set, covariance": (balanced, "covariance"),
        "balanced set, projection": (balanced, "projection"),
        "sunflower (P = 5, r = 0.4), covariance": (
            hx.patterns.sunflower(5, Q, 0.4, NEURONS),
            "covariance",
        ),
        "random memories (P = 14), projection": (sparse, "projection"),
        "unequal activities (P = 5), pseudo-inverse": (uneven, "pseudo_inverse"),
    }
    found = {}
    for name, (patterns, learning) in cases.items():
        network = hx.RateMemory(patterns, a=INHIBITED, b=B, learning=learning)
        found[name] = max(
            float(
                abs(
                    network.vector_field(0.0, network.init(weights=_unit(patterns.P, mu))).rates
                ).max()
            )
            for mu in range(patterns.P)
        )
    return found


def _tight() -> Any:
    import hopfax as hx

    return hx.Diffrax(diffrax.Tsit5(), diffrax.PIDController(rtol=1e-10, atol=1e-13))


@eqx.filter_jit
def _differences(test, a, threshold, size, shrink):
    """A difference from memory 0 after every stretch, over currents and thresholds: its largest
    entry, and the rate at which it grew. With `shrink` each stretch begins at `size` again."""
    import hopfax as hx

    ts, method = np.array([0.0, STRETCH]), _tight()
    first = test.direction * size / jnp.where(shrink, jnp.linalg.norm(test.direction), 1.0)

    def one(a, threshold):
        phi = _phi(threshold, test.kind)
        network = hx.RateMemory(test.patterns, a=a, b=B, activation=phi)
        memory = network.rescaled(_unit(network.patterns.P))

        def stretch(difference, _):
            start = network.init(rates=memory + difference)
            end = hx.simulate(network, start, ts, method=method, throw=False).final.rates - memory
            long = jnp.linalg.norm(end)
            growth = jnp.log(long / jnp.linalg.norm(difference)) / STRETCH
            return end * jnp.where(shrink, size / long, 1.0), (abs(end).max(), growth)

        return jax.lax.scan(stretch, first, length=STRETCHES)[1]

    return jax.vmap(one)(a, threshold)


def _rows(rows) -> list[_Row]:
    """The stability table: eigenvalues beside the growth of small differences."""
    from ..theory import rate

    found = {}
    for kind in dict.fromkeys(row[0] for row in rows):
        here = [row for row in rows if row[0] == kind]
        test = _rate.Perturbed(kind, Q, NEURONS)

        a, threshold = (jnp.array([row[k] for row in here]) for k in (1, 2))
        growth = _differences(test, a, threshold, jnp.asarray(SMALL), jnp.asarray(True))[1]
        nudge, plain = jnp.asarray(_rate.NUDGE), jnp.asarray(False)
        distance = _differences(test, a, threshold, nudge, plain)[0]
        growth = growth[:, -LAST:].mean(1)
        distance = distance[:, round(_rate.HORIZON / STRETCH) - 1]
        found |= {row: (growth[k], distance[k]) for k, row in enumerate(here)}
    result = []
    for kind, a, threshold in rows:
        phi = _phi(threshold, kind)
        plane, full = rate.stability(phi, a, B, Q), rate.balanced_spectrum(phi, a, B, Q)
        numbers = (plane.kappa, plane.gamma, plane.block, full.greatest)
        measured = found[(kind, a, threshold)]
        result.append(_Row(kind, a, threshold, *map(float, (*numbers, *measured))))
    return result


def _diagrams() -> list[Any]:
    """Two phase diagrams, with simulations on a coarse grid."""
    import hopfax as hx

    from ._sweep_rate import RateSweep, together

    asked = (
        RateSweep(threshold=(0.0, 1.0), a=(-0.6, 0.6)),
        RateSweep(gain=(1.0, 12.0), threshold=(0.0, 1.0), a=(EXCITED,)),
    )
    found = []
    how: Any = dict(progress=False, on_failure="ignore")
    for settings in asked:
        theory = hx.sweep(settings.theory(), settings.grid(), **how)
        beside = hx.sweep(settings.simulation(), settings.coarse_grid(), **how)
        found.append(together(theory, beside, settings))
    return found


@eqx.filter_jit
def _ends(network, starts, currents, ts):
    """Overlaps, rates at the end and the status of runs from many starts."""
    import hopfax as hx

    def one(rates, current):
        run = hx.simulate(network, network.init(rates=rates), ts, current=current, throw=False)
        return run.overlaps[-1], run.final.rates, run.status

    return jax.vmap(one, (0, None if currents is None else 0))(starts, currents)


def _cues(balanced, kept, seeds: int) -> _Cues:
    """Memory 0 from cues that keep some of its active neurons."""
    import hopfax as hx

    network = hx.RateMemory(balanced, a=INHIBITED, b=B)
    count = int(balanced.xi[0].sum())
    silent, active = network.activation(network.a), network.activation(network.b)
    cues = [
        hx.patterns.degrade(balanced, jr.key(seed), 0, round(count * parts / 1000))
        for parts in kept
        for seed in range(seeds)
    ]
    starts = silent + (active - silent) * jnp.stack(cues)
    overlaps, rates, _ = _ends(network, starts, None, np.array([0.0, HORIZON]))
    shape = (len(kept), seeds)
    overlaps = np.asarray(overlaps)
    return _Cues(
        np.array(kept) / 1000,
        overlaps[:, 0].reshape(shape),
        overlaps[:, 1:].max(1).reshape(shape),
        np.asarray(rates).mean(1).reshape(shape),
    )


def _groups(t, state, network):
    """Mean rates of active and silent neurons of memory 0."""
    xi = network.patterns.xi[0]
    return jnp.stack([state.rates @ xi / xi.sum(), state.rates @ (1 - xi) / (1 - xi).sum()])


@eqx.filter_jit
def _paths(patterns, starts, a, inputs, ts):
    """Rates of both groups over time: for each case, from each start."""
    import hopfax as hx

    def one(a, current, rates):
        network = hx.RateMemory(patterns, a=a, b=B)
        state = network.init(rates=rates)
        run = hx.simulate(network, state, ts, current=current, observe=_groups, throw=False)
        return run.observed

    return jax.vmap(lambda a, u: jax.vmap(lambda x: one(a, u, x))(starts))(a, inputs)


def _planes(side: int) -> list[_Plane]:
    """Runs of a single memory from a grid of starts, beside all equilibria of its plane."""
    import hopfax as hx

    from ..theory import rate

    N = 100
    xi = jnp.zeros((1, N)).at[0, : round(Q * N)].set(1.0)
    patterns = hx.Patterns(xi, binary=False)
    grid = jnp.linspace(0.0, 1.0, side)
    corners = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
    starts = corners[:, :1] * xi + corners[:, 1:] * (1 - xi)
    ts = np.concatenate([np.linspace(0.0, 12.0, 121), [100.0]])

    inputs = jnp.stack([on * xi[0] + off * (1 - xi[0]) for _, on, off in PLANES])
    a = jnp.array([case[0] for case in PLANES])
    paths = np.asarray(_paths(patterns, starts, a, inputs, ts))
    found = []
    for (a, on, off), path in zip(PLANES, paths, strict=True):
        rest = rate.planar_equilibria(_phi(0.2), a, B, Q, input_active=on, input_silent=off)
        there = np.asarray(rest.exists)
        points = np.stack([np.asarray(rest.active), np.asarray(rest.silent)], 1)[there]
        found.append(_Plane(a, (on, off), points, np.asarray(rest.stable)[there], path))
    return found


@eqx.filter_jit
def _lowered(patterns, rates, a, threshold, saliencies, horizon):
    """All rates, and the overlap with memory 0, as its saliency is lowered step by step."""
    import hopfax as hx

    network = hx.InputDrivenRateMemory(patterns, a=a, b=B, activation=_phi(threshold))
    ts = jnp.stack([jnp.zeros_like(horizon), horizon])

    def step(rates, s):
        state, stimulus = network.init(rates=rates), s * patterns.xi[0]
        run = hx.simulate(network, state, ts, stimulus=stimulus, throw=False)
        return run.final.rates, (run.final.rates, run.overlaps[-1, 0])

    return jax.lax.scan(step, rates, saliencies)[1]


def _saliencies(balanced, cases) -> list[_Saliency]:
    """The saliency at which a memory ends, and its overlap till then."""

    import hopfax as hx

    from ..theory import rate

    found = []
    for a, threshold in cases:
        phi, b = _phi(threshold), jnp.asarray(B)
        predicted = float(rate.critical_saliency_planar(phi, a, B, Q).saliency)
        low, high, every = *SALIENCY, []
        network = hx.RateMemory(balanced, a=a, b=B, activation=phi)
        rates = network.rescaled(_unit(balanced.P))
        for horizon in (HORIZON, SLOW / 4, SLOW):
            tried = np.linspace(high, low, LANES)
            numbers = map(jnp.asarray, (a, threshold, tried, horizon))
            states, overlap = _lowered(balanced, rates, *numbers)
            every.append(np.stack([tried, np.asarray(overlap)], 1))
            last = int(np.argmax(np.asarray(overlap) < 0.5))  # the first that does not hold it
            known = max(last - 2, 0)  # certainly held: at the last one it may have been leaving
            middle, half = (tried[last - 1] + tried[last]) / 2, (tried[last - 1] - tried[last]) / 2
            low, high, rates = tried[last], tried[known], states[known]
        branch = []
        for s in np.linspace(predicted * 1.0005, SALIENCY[1], 40):
            rest = rate.planar_equilibria(phi, a, B, Q, saliency=s)
            there = np.asarray(rest.exists)
            active, silent = (np.asarray(part)[there] for part in (rest.active, rest.silent))
            overlaps = np.sort(active - silent)[::-1] / float(phi(b) - phi(jnp.asarray(a)))
            branch.append((s, *overlaps[:2]))
        numbers = (predicted, float(middle), float(half))
        found.append(_Saliency(a, threshold, *numbers, np.array(branch), every[0]))
    return found


def _moved(balanced) -> dict[str, tuple[float, float, float]]:
    """Whether saliency alone moves the state: overlaps with memories 0 and 1, and the mean rate."""
    import hopfax as hx

    five = hx.Patterns(balanced.xi[:5], binary=False)
    cases = {
        "saliency alone": ((0.4, 1.0, 0.4, 0.4, 0.4), 0.0),
        "with a weak input": ((0.4, 1.0, 0.4, 0.4, 0.4), 0.15),
        "old memory salient": ((0.7, 1.0, 0.4, 0.4, 0.4), 0.15),
    }

    def one(five, saliency, weak):
        network = hx.InputDrivenRateMemory(five, a=INHIBITED, b=B)
        start = network.init(weights=_unit(5))
        stimulus, current = five.field(saliency), weak * five.xi[1]
        ts = np.array([0.0, HORIZON])
        run = hx.simulate(network, start, ts, stimulus=stimulus, current=current, throw=False)
        return run.overlaps[-1, 0], run.overlaps[-1, 1], run.final.rates.mean()

    values = jnp.array([case[0] for case in cases.values()])
    weak = jnp.array([case[1] for case in cases.values()])
    rows = np.stack(eqx.filter_jit(jax.vmap(one, (None, 0, 0)))(five, values, weak), 1)
    return {
        name: (float(row[0]), float(row[1]), float(row[2]))
        for name, row in zip(cases, rows, strict=True)
    }


@eqx.filter_jit
def _distances(test, tau, threshold, strength, ts):
    """Distances over time from a memory, for time constants of inhibition."""
    import hopfax as hx

    def one(tau):
        network = hx.DaleRateMemory(
            test.patterns,
            tau_inhibition=tau,
            inhibition=strength,
            a=INHIBITED,
            b=B,
            activation=_phi(threshold),
        )
        memory = network.rescaled(_unit(test.patterns.P))
        rates = memory + SMALL * test.direction
        start = network.init(rates=rates, inhibition=memory.mean())
        watch = _Distance(memory)
        run = hx.simulate(network, start, ts, method=_tight(), observe=watch, throw=False)
        return run.observed

    return jax.vmap(one)(tau)


def _delays(balanced):
    """Delayed inhibition: saturated memories, and one near its border."""
    from ..theory import rate

    test = _rate.Perturbed("logistic", Q, NEURONS)
    least = {
        threshold: float(rate.dale_inhibition(balanced.xi, _phi(threshold), INHIBITED, B))
        for threshold in (0.2, DELAY_THRESHOLD)
    }
    early, late = np.linspace(80.0, 130.0, 501), np.linspace(330.0, 380.0, 501)
    ts = np.concatenate([[0.0], early, late])
    taus = jnp.asarray(DELAYS)
    saturated = _distances(
        test, jnp.array(SATURATED_DELAYS), jnp.asarray(0.2), jnp.asarray(least[0.2]), ts
    )
    strength = DELAY_FACTOR * least[DELAY_THRESHOLD]
    far = np.asarray(
        _distances(test, taus, jnp.asarray(DELAY_THRESHOLD), jnp.asarray(strength), ts)
    )
    first, last = far[:, 1:502].max(1), far[:, 502:].max(1)
    growth = np.log(last / first) / 250.0
    predicted = float(rate.critical_inhibition(_phi(DELAY_THRESHOLD), INHIBITED, B, Q, strength))
    measured = float(np.interp(0.0, growth, np.asarray(taus)))
    theory = [
        float(
            rate.dale_eigenvalues(
                balanced.xi, _phi(DELAY_THRESHOLD), INHIBITED, B, 0, tau, strength
            ).greatest
        )
        for tau in DELAYS
    ]
    growths = np.stack([DELAYS, growth, theory], 1)
    return np.asarray(saturated)[:, 1], growths, (predicted, measured)


class _Distance(eqx.Module):
    memory: Any

    def __call__(self, t, state, network):
        return abs(state.rates - self.memory).max()


def _crosstalk(draws: int) -> tuple[float, float, float, float]:
    """Deviation of the current in memories from its targets, over random sets: predicted, measured
    and its error; and the largest derivative with the projection design."""
    import hopfax as hx

    from ..theory import rate

    phi = _phi(0.2)
    deviations, residual = [], 0.0
    for draw in range(draws):
        patterns = hx.patterns.sparse(jr.fold_in(jr.key(7), draw), RANDOM, NEURONS, Q)
        deviations.append(_deviation(patterns, phi))
        exact = hx.RateMemory(patterns, a=INHIBITED, b=B)
        field = exact.vector_field(0.0, exact.init(weights=_unit(RANDOM)))
        residual = max(residual, float(abs(field.rates).max()))
    values = np.array(deviations)
    predicted = rate.crosstalk(phi, INHIBITED, B, Q, RANDOM, NEURONS)
    error = float(values.std(ddof=1) / len(values) ** 0.5)
    measured = float((values**2).mean() ** 0.5)
    return float(predicted.deviation), measured, error, residual


@eqx.filter_jit
def _deviation(patterns, phi):
    """Root mean square of the current minus its target, over all memories and neurons, for weights
    that take the activity and overlap of the design for granted (r = q)."""
    from ..theory import rate

    made = rate.design(phi, INHIBITED, B, Q)
    xi = patterns.xi
    centred = xi - made.beta
    rates = made.silent + (made.active - made.silent) * xi  # (P, N)
    N = xi.shape[1]
    currents = made.alpha / N * (rates @ centred.T) @ centred
    currents = currents + made.gamma * rates.mean(1, keepdims=True)
    target = INHIBITED + (B - INHIBITED) * xi
    return jnp.sqrt(((currents - target) ** 2).mean())


# Claims


def _claims(found: Results) -> list[Claim]:
    base = f"N = {NEURONS}, q = {Q:g}, gain {GAIN:g}, b = {B:g}"
    claims = [
        claim(
            f"memories are exact equilibria: {name}",
            0.0,
            value,
            1e-12,
            "rounding of float64" if value < 1e-12 else "no more than rounding of float64",
            f"largest |dx/dt| over memories and neurons; {base}, I* = 0.2, a = {INHIBITED:g}",
        )
        for name, value in found.residuals.items()
    ]
    for row in found.rows:
        where = f"{row.kind.replace('_', ' ')}, a = {row.a:g}, I* = {row.threshold:g}"
        claims.append(
            claim(
                f"eigenvalue at a memory, {where}",
                row.eigenvalue,
                row.growth,
                2e-4,
                "neighbouring eigenvalues 1e-4 apart are not told from each other in this time",
                f"balanced set, {base}; simulation: growth rate of a difference of {SMALL:g}, made "
                f"small again every {STRETCH:g}, after {STRETCH * STRETCHES:g}",
            )
        )
    agree = sum((row.eigenvalue < 0) == row.stable for row in found.rows)
    claims.append(
        claim(
            "rows of the table in which the simulation has the stability of the eigenvalue",
            len(found.rows),
            agree,
            0.0,
            "a count",
            f"a perturbation of {_rate.NUDGE:g} is smaller at t = {_rate.HORIZON:g}, or it is not",
        )
    )
    from ._sweep_rate import verdicts

    for dataset in found.diagrams:
        rows = [row for row in verdicts(dataset) if abs(row[1]) > _rate.MARGINAL]
        swept = " and ".join(n for n in _rate.VALUES if dataset.sizes[n] > 1)
        claims.append(
            claim(
                f"phase diagram over {swept}: simulations that agree",
                len(rows),
                sum(row[3] for row in rows),
                0.0,
                "a count",
                f"logistic, q = {Q:g}; all but those with an eigenvalue within "
                f"{_rate.MARGINAL:g} of 0, which {_rate.HORIZON:g} time constants do not tell",
            )
        )
    claims += _retrieval_claims(found, base)
    claims += _plane_claims(found)
    claims += _threshold_claims(found, base)
    return claims


def _retrieval_claims(found: Results, base: str) -> list[Claim]:
    cues = found.cues
    enough = cues.kept >= SURE
    seeds = f"{cues.overlap.shape[1]} seeds; {base}, a = {INHIBITED:g}, I* = 0.2, t = {HORIZON:g}"
    claims = [
        claim(
            f"overlap from cues that keep {SURE:.0%} of the active neurons or more, the least",
            1.0,
            cues.overlap[enough].min(),
            1e-3,
            "the memory is an equilibrium, to which runs converge",
            seeds,
        )
    ]
    few = cues.kept <= LOW
    quiet = found.planes[0].equilibria[0, 0]
    claims.append(
        claim(
            f"mean rate from cues that keep {LOW:.0%} or less, the largest",
            quiet,
            cues.mean[few].max(),
            1e-4,
            "the quiescent state, to which runs converge",
            seeds,
        )
    )
    spurious = cues.mean[(cues.mean > 2 * quiet) & (cues.overlap < 0.95)]
    for name, level in (("its support without the core", Q - Q**2), ("the core alone", Q**2)):
        near = spurious[np.abs(spurious - level) < Q / 10]
        claims.append(
            claim(
                f"mean rate where a weaker cue ends in a spurious state, {name}",
                level,
                near.mean() if near.size else np.nan,
                2e-3,
                "active neurons not quite saturated, others not quite silent",
                f"{near.size} of {cues.mean.size} runs; {seeds}",
            )
        )
    claims.append(
        claim(
            "runs from cues that end elsewhere",
            0.0,
            len(spurious) - (np.abs(spurious[:, None] - [Q - Q**2, Q**2]) < Q / 10).sum(),
            0.0,
            "a count",
            seeds,
        )
    )
    return claims


def _plane_claims(found: Results) -> list[Claim]:
    claims = []
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
        claims += [
            claim(
                f"stable states of rest that runs end in, {where}",
                len(rest),
                len(np.unique(gaps.argmin(1))),
                0.0,
                "a count; theory: of all roots of the planar system",
                conditions,
            ),
            claim(
                f"distance of an end from the nearest of them, the largest, {where}",
                0.0,
                gaps.min(1).max(),
                1e-6,
                "tolerance 1e-8 of the integrator",
                conditions,
            ),
        ]
    return claims


def _threshold_claims(found: Results, base: str) -> list[Claim]:
    claims = [
        claim(
            f"critical saliency, a = {case.a:g}, I* = {case.threshold:g}",
            case.predicted,
            case.measured,
            case.resolution + 1e-4,
            f"half a step of {2 * case.resolution:.1g}, and 1e-4 as a run of {SLOW:g} time "
            "constants does not leave at once where a memory has just vanished",
            f"input-driven network, balanced set, {base}; theory: fold of the planar system",
        )
        for case in found.saliencies
    ]
    expected = {
        "saliency alone": (0.0, 0.0),
        "with a weak input": (0.0, 1.0),
        "old memory salient": (1.0, 0.0),
    }
    texts = {
        "saliency alone": "saliency alone does not move the state: overlap with the salient memory",
        "with a weak input": "saliency and a weak input do: overlap with the salient memory",
        "old memory salient": "nor do they from a memory of saliency 0.7: overlap with that memory",
    }
    for name, (old, new) in expected.items():
        k = 0 if name == "old memory salient" else 1
        claims.append(
            claim(
                texts[name],
                (old, new)[k],
                found.moved[name][k],
                0.05,
                "rates at saliencies other than 1 differ a little from the stored ones",
                "five memories of the balanced set, from memory 0; saliency 0.4 (0.7) of memory 0, "
                "1 of memory 1, 0.4 of the others; input 0.15 to the neurons of memory 1",
            )
        )
    for tau, far in zip(SATURATED_DELAYS, found.saturated, strict=True):
        claims.append(
            claim(
                f"delayed inhibition, tau_I = {tau:g}: a saturated memory stays",
                SMALL,
                far,
                0.0,
                "a perturbation shrinks",
                f"Dale's law, balanced set, {base}, a = {INHIBITED:g}, I* = 0.2; distance after 80",
                "below",
            )
        )
    predicted, measured = found.critical_delay
    claims.append(
        claim(
            "critical time constant of inhibition for a memory near its border",
            predicted,
            measured,
            0.01 * predicted,
            "growth is measured over 250 time constants, and interpolated",
            f"Dale's law, balanced set, {base}, a = {INHIBITED:g}, I* = {DELAY_THRESHOLD:g}, "
            f"{DELAY_FACTOR:g} times the least inhibition; theory: Hurwitz criterion",
        )
    )
    noise, deviation, error, residual = found.crosstalk
    conditions = (
        f"{RANDOM} random memories of exactly qN active neurons, {base}, a = {INHIBITED:g}; all "
        "memories and neurons of several sets"
    )
    claims += [
        claim(
            "crosstalk: standard deviation of the current in a random memory",
            noise,
            deviation,
            4 * error,
            "4 standard errors over sets",
            f"covariance design that takes r = q for granted; {conditions}",
        ),
        claim(
            "crosstalk of the projection design: largest |dx/dt|",
            0.0,
            residual,
            1e-12,
            "rounding of float64",
            conditions,
        ),
    ]
    return claims


def _table(found: Results) -> str:
    head = ("phi", "a", "I*", "kappa", "gamma", "plane", "eigenvalue", "growth", "at t = 40", "")
    rows = [
        (
            row.kind.replace("_", " "),
            f"{row.a:g}",
            f"{row.threshold:g}",
            *map(_common.number, row[3:8]),
            f"{row.distance:.1e}",
            "stable" if row.stable else "unstable",
        )
        for row in found.rows
    ]
    cues = found.cues
    lines = [
        (
            f"{share:.0%}",
            f"{(overlap > 0.95).mean():.0%}",
            *map(_common.number, (overlap.min(), overlap.max(), mean.min(), mean.max())),
        )
        for share, overlap, mean in zip(cues.kept, cues.overlap, cues.mean, strict=True)
    ]
    cue_head = ("kept", "recalled", "least overlap", "largest", "least mean rate", "largest")
    from ._sweep_rate import agreement, verdicts

    diagrams = [
        f"Phase diagram over {' and '.join(n for n in _rate.VALUES if dataset.sizes[n] > 1)}\n"
        f"{agreement(verdicts(dataset))}"
        for dataset in found.diagrams
    ]
    last = "\n\n".join(diagrams)
    return (
        f"Stability of a memory of the balanced set, N = {NEURONS}: theory and simulation\n\n"
        f"{_common.table(head, rows)}\n\nFrom cues that keep some of the active neurons\n\n"
        f"{_common.table(cue_head, lines)}\n\n{last}"
    )


def _json(found: Results) -> list[dict[str, Any]]:
    return [row._asdict() | {"stable": row.stable} for row in found.rows]
